//! The services that are called, and how their requests are signed.

use std::borrow::Cow;

/// A service: its names, and what its signatures want.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Service {
    /// In the credential scope of a signature.
    pub signing_name: Cow<'static, str>,
    /// First label of its host names.
    pub host_prefix: Cow<'static, str>,
    /// As in `AWS_ENDPOINT_URL_<NAME>`; empty where there is none.
    pub env_name: &'static str,
    /// Its signatures need `x-amz-content-sha256`.
    pub signs_body_header: bool,
    /// Paths are signed as they are, neither encoded again nor normalised (S3).
    pub path_as_is: bool,
    /// For people.
    pub title: &'static str,
}

impl Service {
    /// CloudWatch Logs.
    pub const LOGS: Self = Self::json("logs", "CLOUDWATCH_LOGS", "CloudWatch Logs");
    /// Amazon Data Firehose.
    pub const FIREHOSE: Self = Self::json("firehose", "FIREHOSE", "Firehose");
    /// Kinesis Data Streams.
    pub const KINESIS: Self = Self::json("kinesis", "KINESIS", "Kinesis");
    /// Secrets Manager.
    pub const SECRETS: Self = Self::json("secretsmanager", "SECRETS_MANAGER", "Secrets Manager");
    /// Systems Manager (parameters).
    pub const SSM: Self = Self::json("ssm", "SSM", "Systems Manager");
    /// Security Token Service.
    pub const STS: Self = Self::json("sts", "STS", "STS");
    /// S3.
    pub const S3: Self = Self {
        signing_name: Cow::Borrowed("s3"),
        host_prefix: Cow::Borrowed("s3"),
        env_name: "S3",
        signs_body_header: true,
        path_as_is: true,
        title: "S3",
    };

    const fn json(name: &'static str, env_name: &'static str, title: &'static str) -> Self {
        Self {
            signing_name: Cow::Borrowed(name),
            host_prefix: Cow::Borrowed(name),
            env_name,
            signs_body_header: false,
            path_as_is: false,
            title,
        }
    }

    /// The IAM action of a call, by its `X-Amz-Target`: that of `Logs_20140328.PutLogEvents` is
    /// `logs:PutLogEvents`. `None` for a text of another form.
    pub fn action(&self, target: &str) -> Option<String> {
        let (_, call) = target.rsplit_once('.')?;
        (!call.is_empty()).then(|| format!("{}:{call}", self.signing_name))
    }

    /// A service behind an address of its own (`es`, `aoss`, `aps`, anything that takes SigV4).
    pub fn named(name: &str) -> Self {
        Self {
            signing_name: Cow::Owned(name.to_owned()),
            host_prefix: Cow::Owned(name.to_owned()),
            env_name: "",
            signs_body_header: true,
            path_as_is: false,
            title: "AWS",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_actions() {
        let is =
            |service: Service, target, want| assert_eq!(service.action(target).as_deref(), want, "{target}");
        is(
            Service::LOGS,
            "Logs_20140328.PutLogEvents",
            Some("logs:PutLogEvents"),
        );
        is(
            Service::FIREHOSE,
            "Firehose_20150804.PutRecordBatch",
            Some("firehose:PutRecordBatch"),
        );
        is(Service::KINESIS, "PutRecords", None);
        is(Service::KINESIS, "Kinesis_20131202.", None);
    }
}
