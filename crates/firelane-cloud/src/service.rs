//! The services: how a request names one, and how each words its errors.

use std::str::FromStr;

/// A service of AWS that the endpoint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Service {
    /// ECR: the token for images.
    Ecr,
    /// Data Firehose.
    Firehose,
    /// Kinesis Data Streams.
    Kinesis,
    /// CloudWatch Logs.
    Logs,
    /// S3.
    S3,
    /// Secrets Manager.
    SecretsManager,
    /// SSM: the Parameter Store.
    Ssm,
    /// STS.
    Sts,
}

/// How a service takes requests and gives errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// AWS JSON 1.1, the operation in `X-Amz-Target`.
    Json,
    /// AWS query, answers in XML.
    Query,
    /// REST with XML.
    RestXml,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Ecr,
        Self::Firehose,
        Self::Kinesis,
        Self::Logs,
        Self::S3,
        Self::SecretsManager,
        Self::Ssm,
        Self::Sts,
    ];

    /// Its name in signatures and ARNs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ecr => "ecr",
            Self::Firehose => "firehose",
            Self::Kinesis => "kinesis",
            Self::Logs => "logs",
            Self::S3 => "s3",
            Self::SecretsManager => "secretsmanager",
            Self::Ssm => "ssm",
            Self::Sts => "sts",
        }
    }

    /// What stands before the dot of `X-Amz-Target`.
    fn target(self) -> &'static str {
        match self {
            Self::Ecr => "AmazonEC2ContainerRegistry_V20150921",
            Self::Firehose => "Firehose_20150804",
            Self::Kinesis => "Kinesis_20131202",
            Self::Logs => "Logs_20140328",
            Self::S3 | Self::Sts => "",
            Self::SecretsManager => "secretsmanager",
            Self::Ssm => "AmazonSSM",
        }
    }

    /// Service and operation of an `X-Amz-Target`.
    pub(crate) fn of_target(target: &str) -> Option<(Self, &str)> {
        let (prefix, operation) = target.split_once('.')?;
        let mut all = Self::ALL.into_iter();
        let service = all.find(|service| !prefix.is_empty() && service.target() == prefix)?;
        Some((service, operation))
    }

    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::S3 => Protocol::RestXml,
            Self::Sts => Protocol::Query,
            _ => Protocol::Json,
        }
    }

    /// Its operations here.
    pub(crate) fn operations(self) -> &'static [&'static str] {
        match self {
            Self::Ecr => crate::ecr::OPERATIONS,
            Self::Firehose => crate::firehose::OPERATIONS,
            Self::Kinesis => crate::kinesis::OPERATIONS,
            Self::Logs => crate::logs::OPERATIONS,
            Self::S3 => crate::s3::OPERATIONS,
            Self::SecretsManager => crate::secrets::OPERATIONS,
            Self::Ssm => crate::ssm::OPERATIONS,
            Self::Sts => crate::sts::OPERATIONS,
        }
    }
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// No service of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no service `{0}` here, only ecr, firehose, kinesis, logs, s3, secretsmanager, ssm, sts")]
pub struct UnknownService(pub String);

impl FromStr for Service {
    type Err = UnknownService;

    fn from_str(text: &str) -> Result<Self, UnknownService> {
        let mut all = Self::ALL.into_iter();
        all.find(|service| service.name() == text)
            .ok_or_else(|| UnknownService(text.to_owned()))
    }
}
