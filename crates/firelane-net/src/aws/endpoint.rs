//! Host names of services.

use std::net::Ipv6Addr;

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

/// Which variants of host names are asked for
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-endpoints.html>).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// `AWS_USE_FIPS_ENDPOINT`
    pub(super) fips: bool,
    /// `AWS_USE_DUALSTACK_ENDPOINT`
    pub(super) dual_stack: bool,
}

impl Flags {
    /// What the environment says.
    pub(super) fn of_env(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let is_on = |name| env(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Self {
            fips: is_on("AWS_USE_FIPS_ENDPOINT"),
            dual_stack: is_on("AWS_USE_DUALSTACK_ENDPOINT"),
        }
    }
}

/// `AWS_ENDPOINT_URL_<SERVICE>`, then `AWS_ENDPOINT_URL`, unless `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` is
/// true (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>).
pub(super) fn endpoint_of_env(service: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let ignored = env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
    if service.is_empty() || ignored.is_some_and(|on| on.eq_ignore_ascii_case("true")) {
        return None;
    }
    let names = [
        format!("AWS_ENDPOINT_URL_{service}"),
        "AWS_ENDPOINT_URL".to_owned(),
    ];
    let mut urls = names.iter().filter_map(|name| env(name));
    urls.find(|url| !url.is_empty())
}

/// Services whose plain host names in us-gov regions are the FIPS ones.
const GOV_IS_FIPS: &[&str] = &["kinesis", "logs", "ssm", "sts"];

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
    /// The service's own host in `region`. China has no FIPS endpoint of S3: the name that comes out does
    /// not exist.
    pub fn of(prefix: &str, region: &str, fips: bool, dual_stack: bool) -> Self {
        let partition = Partition::of(region);
        // The plain names of Secrets Manager have addresses of both kinds.
        let is_both = prefix == "secretsmanager" && ["aws", "aws-cn", "aws-us-gov"].contains(&partition.name);
        let dual_stack = dual_stack && !is_both;
        let is_plain = partition.name == "aws-us-gov" && !dual_stack && GOV_IS_FIPS.contains(&prefix);
        let fips = if fips && !is_plain { "-fips" } else { "" };
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
        let bare = rest.parse::<Ipv6Addr>().map(|ip| format!("[{ip}]"));
        let rest = bare.as_deref().unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, number)) if !number.contains(']') => {
                let number = number.parse();
                (
                    host,
                    number.map_err(|_| error("the port is no number up to 65535"))?,
                )
            }
            _ => (rest, default),
        };
        if host.is_empty() {
            return Err(error("there is no host"));
        }
        if !is_host(host) {
            return Err(error("that is no name or address of a host"));
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

/// A name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()),
        None => text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The four names of a service in a region: plain, dual stack, FIPS, both; `*` stands for `.<region>.`.
    /// As the endpoint rules of the AWS SDKs give them.
    const NAMES: &[(&str, &str, [&str; 4])] = &[
        (
            "us-east-1",
            "logs",
            [
                "logs*amazonaws.com",
                "logs*api.aws",
                "logs-fips*amazonaws.com",
                "logs-fips*api.aws",
            ],
        ),
        (
            "us-gov-west-1",
            "logs",
            [
                "logs*amazonaws.com",
                "logs*api.aws",
                "logs*amazonaws.com",
                "logs-fips*api.aws",
            ],
        ),
        (
            "us-gov-east-1",
            "sts",
            [
                "sts*amazonaws.com",
                "sts*api.aws",
                "sts*amazonaws.com",
                "sts-fips*api.aws",
            ],
        ),
        (
            "us-gov-west-1",
            "ssm",
            [
                "ssm*amazonaws.com",
                "ssm*api.aws",
                "ssm*amazonaws.com",
                "ssm-fips*api.aws",
            ],
        ),
        (
            "us-gov-west-1",
            "kinesis",
            [
                "kinesis*amazonaws.com",
                "kinesis*api.aws",
                "kinesis*amazonaws.com",
                "kinesis-fips*api.aws",
            ],
        ),
        (
            "us-gov-west-1",
            "firehose",
            [
                "firehose*amazonaws.com",
                "firehose*api.aws",
                "firehose-fips*amazonaws.com",
                "firehose-fips*api.aws",
            ],
        ),
        (
            "us-east-1",
            "s3",
            [
                "s3*amazonaws.com",
                "s3.dualstack*amazonaws.com",
                "s3-fips*amazonaws.com",
                "s3-fips.dualstack*amazonaws.com",
            ],
        ),
        (
            "us-gov-west-1",
            "s3",
            [
                "s3*amazonaws.com",
                "s3.dualstack*amazonaws.com",
                "s3-fips*amazonaws.com",
                "s3-fips.dualstack*amazonaws.com",
            ],
        ),
        (
            "us-iso-east-1",
            "s3",
            [
                "s3*c2s.ic.gov",
                "s3.dualstack*c2s.ic.gov",
                "s3-fips*c2s.ic.gov",
                "s3-fips.dualstack*c2s.ic.gov",
            ],
        ),
        (
            "us-east-1",
            "secretsmanager",
            [
                "secretsmanager*amazonaws.com",
                "secretsmanager*amazonaws.com",
                "secretsmanager-fips*amazonaws.com",
                "secretsmanager-fips*amazonaws.com",
            ],
        ),
        (
            "us-iso-east-1",
            "secretsmanager",
            [
                "secretsmanager*c2s.ic.gov",
                "secretsmanager*api.aws.ic.gov",
                "secretsmanager-fips*c2s.ic.gov",
                "secretsmanager-fips*api.aws.ic.gov",
            ],
        ),
        (
            "cn-north-1",
            "logs",
            [
                "logs*amazonaws.com.cn",
                "logs*api.amazonwebservices.com.cn",
                "logs-fips*amazonaws.com.cn",
                "logs-fips*api.amazonwebservices.com.cn",
            ],
        ),
        (
            "us-iso-east-1",
            "logs",
            [
                "logs*c2s.ic.gov",
                "logs*api.aws.ic.gov",
                "logs-fips*c2s.ic.gov",
                "logs-fips*api.aws.ic.gov",
            ],
        ),
        (
            "us-isob-east-1",
            "logs",
            [
                "logs*sc2s.sgov.gov",
                "logs*api.aws.scloud",
                "logs-fips*sc2s.sgov.gov",
                "logs-fips*api.aws.scloud",
            ],
        ),
        (
            "eu-isoe-west-1",
            "firehose",
            [
                "firehose*cloud.adc-e.uk",
                "firehose*api.cloud-aws.adc-e.uk",
                "firehose-fips*cloud.adc-e.uk",
                "firehose-fips*api.cloud-aws.adc-e.uk",
            ],
        ),
        (
            "us-isof-south-1",
            "kinesis",
            [
                "kinesis*csp.hci.ic.gov",
                "kinesis*api.aws.hci.ic.gov",
                "kinesis-fips*csp.hci.ic.gov",
                "kinesis-fips*api.aws.hci.ic.gov",
            ],
        ),
        (
            "eusc-de-east-1",
            "sts",
            [
                "sts*amazonaws.eu",
                "sts*api.amazonwebservices.eu",
                "sts-fips*amazonaws.eu",
                "sts-fips*api.amazonwebservices.eu",
            ],
        ),
    ];

    #[test]
    fn names_are_those_of_the_sdks() {
        for (region, prefix, names) in NAMES {
            let kinds = [(false, false), (false, true), (true, false), (true, true)];
            for ((fips, dual_stack), name) in kinds.into_iter().zip(names) {
                let got = Endpoint::of(prefix, region, fips, dual_stack);
                let want = name.replace('*', &format!(".{region}."));
                assert_eq!((got.host, got.port, got.is_tls), (want, 443, true));
            }
        }
    }

    #[test]
    fn regions_belong_to_partitions() {
        let is = |region, name| assert_eq!(Partition::of(region).name, name, "{region}");
        is("us-east-1", "aws");
        is("mx-central-1", "aws");
        is("cn-northwest-1", "aws-cn");
        is("us-gov-east-1", "aws-us-gov");
        is("us-iso-west-1", "aws-iso");
        is("us-isob-east-1", "aws-iso-b");
        is("us-isof-east-1", "aws-iso-f");
        is("eu-isoe-west-1", "aws-iso-e");
        is("eusc-de-east-1", "aws-eusc");
    }

    #[test]
    fn what_users_write() {
        let is = |text, port, want: (&str, u16, bool)| {
            let got = Endpoint::parse(text, port).unwrap();
            assert_eq!((got.host.as_str(), got.port, got.is_tls), want, "{text}");
        };
        is("logs.example", None, ("logs.example", 443, true));
        is("logs.example", Some(8443), ("logs.example", 8443, true));
        is("logs.example:1", Some(8443), ("logs.example", 1, true));
        is("https://logs.example/", None, ("logs.example", 443, true));
        is("HTTP://logs.example", None, ("logs.example", 80, false));
        is("http://127.0.0.1:4566", Some(1), ("127.0.0.1", 4566, false));
        is("http://[::1]:4566", None, ("[::1]", 4566, false));
        is("[::1]", None, ("[::1]", 443, true));
        is("::1", None, ("[::1]", 443, true));
        for (text, reason) in [
            ("", "no host"),
            ("http://", "no host"),
            (":80", "no host"),
            ("host:http", "no number"),
            ("a host", "no name"),
            ("h\u{fc}st:1", "no name"),
            ("[::g]:1", "no name"),
            ("host:65536", "no number"),
            ("host/path", "only a host"),
            ("user@host", "only a host"),
            ("ftp://host", "http:// or https://"),
        ] {
            let error = Endpoint::parse(text, None).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert_eq!(Endpoint::parse("http://h", None).unwrap().url(), "http://h:80");
    }

    fn env<'a>(pairs: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| {
            pairs
                .iter()
                .find(|(own, _)| *own == name)
                .map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn endpoints_of_the_environment() {
        let both = [
            ("AWS_ENDPOINT_URL", "http://a"),
            ("AWS_ENDPOINT_URL_S3", "http://b"),
        ];
        assert_eq!(endpoint_of_env("S3", &env(&both)).as_deref(), Some("http://b"));
        assert_eq!(endpoint_of_env("SSM", &env(&both)).as_deref(), Some("http://a"));
        assert_eq!(endpoint_of_env("", &env(&both)), None);
        let empty = [("AWS_ENDPOINT_URL", "http://a"), ("AWS_ENDPOINT_URL_S3", "")];
        assert_eq!(endpoint_of_env("S3", &env(&empty)).as_deref(), Some("http://a"));
        let ignored = [
            ("AWS_ENDPOINT_URL", "http://a"),
            ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "True"),
        ];
        assert_eq!(endpoint_of_env("S3", &env(&ignored)), None);
        let flags = Flags::of_env(&env(&[("AWS_USE_FIPS_ENDPOINT", "TRUE")]));
        assert!(flags.fips && !flags.dual_stack);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*", region in "\\PC*") {
            if let Ok(endpoint) = Endpoint::parse(&text, None) {
                prop_assert!(!endpoint.host.is_empty());
                prop_assert_eq!(Endpoint::parse(&endpoint.url(), None), Ok(endpoint));
            }
            Endpoint::of("logs", &region, true, true);
        }
    }
}
