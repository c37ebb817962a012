//! Host names of services.

/// A group of regions with a domain and ARNs of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// As in ARNs: `aws`, `aws-cn`, …
    pub name: &'static str,
    /// Domain of its host names.
    pub suffix: &'static str,
    /// Domain of its dual-stack host names.
    pub dual_stack_suffix: &'static str,
}

/// Region prefixes, the longest first where one begins another, and what they belong to.
/// Source: `partitions.json` of the AWS SDKs.
const PARTITIONS: &[(&str, Partition)] = &[
    (
        "cn-",
        Partition {
            name: "aws-cn",
            suffix: "amazonaws.com.cn",
            dual_stack_suffix: "api.amazonwebservices.com.cn",
        },
    ),
    (
        "us-gov-",
        Partition {
            name: "aws-us-gov",
            suffix: "amazonaws.com",
            dual_stack_suffix: "api.aws",
        },
    ),
    (
        "us-isob-",
        Partition {
            name: "aws-iso-b",
            suffix: "sc2s.sgov.gov",
            dual_stack_suffix: "api.aws.scloud",
        },
    ),
    (
        "us-isof-",
        Partition {
            name: "aws-iso-f",
            suffix: "csp.hci.ic.gov",
            dual_stack_suffix: "api.aws.hci.ic.gov",
        },
    ),
    (
        "us-iso-",
        Partition {
            name: "aws-iso",
            suffix: "c2s.ic.gov",
            dual_stack_suffix: "api.aws.ic.gov",
        },
    ),
    (
        "eu-isoe-",
        Partition {
            name: "aws-iso-e",
            suffix: "cloud.adc-e.uk",
            dual_stack_suffix: "api.cloud-aws.adc-e.uk",
        },
    ),
    (
        "eusc-",
        Partition {
            name: "aws-eusc",
            suffix: "amazonaws.eu",
            dual_stack_suffix: "api.amazonwebservices.eu",
        },
    ),
];

/// All other regions.
const AWS: Partition = Partition {
    name: "aws",
    suffix: "amazonaws.com",
    dual_stack_suffix: "api.aws",
};

impl Partition {
    /// The partition of a region.
    pub fn of(region: &str) -> Self {
        let found = PARTITIONS.iter().find(|(prefix, _)| region.starts_with(prefix));
        found.map_or(AWS, |(_, partition)| *partition)
    }
}

/// Where a service is: host, port, and whether it speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `https`.
    pub is_tls: bool,
}

/// Why an endpoint cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no endpoint: {reason}")]
pub struct EndpointError {
    /// As it was written.
    pub text: String,
    /// What is wrong.
    pub reason: &'static str,
}

impl Endpoint {
    /// The service's own host in `region`.
    pub fn of(prefix: &str, region: &str, fips: bool, dual_stack: bool) -> Self {
        let partition = Partition::of(region);
        let fips = if fips { "-fips" } else { "" };
        let host = match (dual_stack, prefix) {
            (true, "s3") => format!("s3{fips}.dualstack.{region}.{}", partition.suffix),
            (true, _) => format!("{prefix}{fips}.{region}.{}", partition.dual_stack_suffix),
            (false, _) => format!("{prefix}{fips}.{region}.{}", partition.suffix),
        };
        Self {
            host,
            port: 443,
            is_tls: true,
        }
    }

    /// What a user wrote: `host`, `host:port`, `http://host:port`, `https://host`. `port` is taken where
    /// the text has none.
    ///
    /// # Errors
    /// A path behind it, no host, or a port that is no number.
    pub fn parse(text: &str, port: Option<u16>) -> Result<Self, EndpointError> {
        let error = |reason| EndpointError {
            text: text.to_owned(),
            reason,
        };
        let (is_tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some(_) => return Err(error("use http:// or https://")),
            None => (true, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(error("only a host and a port"));
        }
        let default = port.unwrap_or(if is_tls { 443 } else { 80 });
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, number)) if !number.contains(']') && (!host.contains(':') || host.ends_with(']')) => {
                (
                    host,
                    number
                        .parse()
                        .map_err(|_| error("the port is no number up to 65535"))?,
                )
            }
            _ => (rest, default),
        };
        if host.is_empty() {
            return Err(error("there is no host"));
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            is_tls,
        })
    }

    /// As a URL.
    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}
