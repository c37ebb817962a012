//! Names of failures of AWS, and what they mean. Names beat statuses: services answer 400 for nearly all.

use super::Class;

/// What a code means; the status decides where the code is not known.
pub(super) fn classify(status: u16, code: &str) -> Class {
    let known = TABLE.iter().find(|(_, codes)| codes.contains(&code));
    known.map_or_else(|| by_status(status), |(class, _)| *class)
}

fn by_status(status: u16) -> Class {
    match status {
        429 => Class::Throttled,
        401 | 403 => Class::Denied,
        404 => Class::Missing,
        408 | 409 | 425 => Class::Unavailable,
        400..=499 => Class::Refused,
        _ => Class::Unavailable,
    }
}

const TABLE: &[(Class, &[&str])] = &[
    (
        Class::Throttled,
        &[
            "BandwidthLimitExceeded",
            "EC2ThrottledException",
            "KMSThrottlingException",
            "LimitExceededException",
            "PriorRequestNotComplete",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestThrottledException",
            "SlowDown",
            "ThrottledException",
            "Throttling",
            "ThrottlingException",
            "TooManyRequests",
            "TooManyRequestsException",
            "TransactionInProgressException",
        ],
    ),
    (
        Class::Credentials,
        &[
            "AuthFailure",
            "AuthMissingFailure",
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "IncompleteSignatureException",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidSignature",
            "InvalidSignatureException",
            "InvalidToken",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "NotSignedUp",
            "RequestExpired",
            "RequestTimeTooSkewed",
            "SignatureDoesNotMatch",
            "TokenRefreshRequired",
            "UnrecognizedClientException",
        ],
    ),
    (
        Class::Denied,
        &[
            "AccessDenied",
            "AccessDeniedException",
            "AccountProblem",
            "AllAccessDisabled",
            "AuthorizationError",
            "AuthorizationErrorException",
            "Client.UnauthorizedOperation",
            "ForbiddenException",
            "KMSAccessDeniedException",
            "KMSOptInRequired",
            "NotAuthorized",
            "NotAuthorizedException",
            "OptInRequired",
            "SubscriptionRequiredException",
            "UnauthorizedException",
            "UnauthorizedOperation",
        ],
    ),
    (
        Class::Missing,
        &[
            // A key that is switched off, or gone.
            "KMS.DisabledException",
            "KMS.KMSInvalidStateException",
            "KMS.NotFoundException",
            "KMSDisabledException",
            "KMSInvalidStateException",
            "KMSNotFoundException",
            "NoSuchBucket",
            "NoSuchEntity",
            "NoSuchKey",
            "NoSuchUpload",
            "NoSuchVersion",
            "NotFound",
            "NotFoundException",
            "ParameterNotFound",
            "ParameterVersionNotFound",
            "ResourceNotFound",
            "ResourceNotFoundException",
        ],
    ),
    // What comes with a status that would say "never": broken transport, states that pass, and what is
    // mended in the configuration (the bucket is in another region).
    (
        Class::Unavailable,
        &[
            "AuthorizationHeaderMalformed",
            "BadDigest",
            "ConcurrentModificationException",
            "IDPCommunicationError",
            "IncompleteBody",
            "InternalError",
            "InternalFailure",
            "InternalFailureException",
            "InternalServerError",
            "InternalServiceError",
            "InternalServiceException",
            "InvalidKMSResourceException",
            "OperationAborted",
            "OperationAbortedException",
            "PermanentRedirect",
            "Redirect",
            "RequestTimeout",
            "RequestTimeoutException",
            "ResourceInUseException",
            "ServiceQuotaExceededException",
            "ServiceUnavailable",
            "ServiceUnavailableException",
            "TemporaryRedirect",
            "XAmzContentSHA256Mismatch",
        ],
    ),
    (
        Class::Refused,
        &[
            "InvalidAction",
            "InvalidParameterException",
            "MalformedXML",
            "SerializationException",
            "UnknownOperationException",
            "ValidationError",
            "ValidationException",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_stands_once_and_in_order() {
        for (class, codes) in TABLE {
            assert!(codes.is_sorted(), "{class:?}");
        }
        let mut all: Vec<_> = TABLE.iter().flat_map(|(_, codes)| *codes).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn codes_beat_statuses() {
        for (status, code, want) in [
            (400, "ThrottlingException", Class::Throttled),
            (503, "SlowDown", Class::Throttled),
            (403, "ExpiredToken", Class::Credentials),
            (400, "AccessDeniedException", Class::Denied),
            (400, "ResourceNotFoundException", Class::Missing),
            (400, "RequestTimeout", Class::Unavailable),
            (404, "UnknownOperationException", Class::Refused),
            (400, "SomethingNew", Class::Refused),
            (403, "403", Class::Denied),
            (404, "404", Class::Missing),
            (429, "429", Class::Throttled),
            (408, "408", Class::Unavailable),
            (301, "301", Class::Unavailable),
            (500, "SomethingNew", Class::Unavailable),
        ] {
            assert_eq!(classify(status, code), want, "{status} {code}");
        }
    }
}
