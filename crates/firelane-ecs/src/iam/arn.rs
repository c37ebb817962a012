//! ARNs of what a policy names, with what only the deployment knows left open in them.

use crate::context::{self, Context};

/// A resource of a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// The ARN or pattern, region and account of the task filled in; an account that is not known is `*`.
    pub arn: String,
    /// The same with `${AWS::Partition}`, `${AWS::Region}`, `${AWS::AccountId}` where the task's own are
    /// meant, and with `${LogicalId}` of a template.
    pub template: String,
}

impl Resource {
    /// A resource from its template.
    pub(super) fn new(template: String, context: &Context) -> Self {
        Self {
            arn: fill(&template, context),
            template,
        }
    }

    /// `*`
    pub(super) fn any() -> Self {
        Self {
            arn: "*".into(),
            template: "*".into(),
        }
    }

    /// Whether something in it is left to the deployment, whatever the context says.
    pub fn is_open(&self) -> bool {
        self.arn.contains("${")
    }
}

/// The pseudo parameters that a context can fill.
pub(super) const PARTITION: &str = "${AWS::Partition}";
pub(super) const REGION: &str = "${AWS::Region}";
pub(super) const ACCOUNT: &str = "${AWS::AccountId}";
const URL_SUFFIX: &str = "${AWS::URLSuffix}";

fn fill(template: &str, context: &Context) -> String {
    template
        .replace(PARTITION, context.partition())
        .replace(REGION, &context.region)
        .replace(ACCOUNT, context.account.as_deref().unwrap_or("*"))
        .replace(URL_SUFFIX, context::url_suffix(context.partition()))
}

/// Where a resource is: the fields of an ARN that stand before its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) partition: String,
    pub(super) region: String,
    pub(super) account: String,
}

impl Scope {
    /// The task's own.
    pub(super) fn task() -> Self {
        Self {
            partition: PARTITION.into(),
            region: REGION.into(),
            account: ACCOUNT.into(),
        }
    }

    /// The same in a region that is said.
    pub(super) fn region(mut self, region: &str) -> Self {
        if !region.is_empty() && region != REGION {
            // A region with a variable in it is not told; it is in the task's partition.
            if !region.contains(['$', '*']) {
                self.partition = context::partition(region).into();
            }
            self.region = region.into();
        }
        self
    }

    /// The same in the account of an ARN, and in its partition.
    pub(super) fn account_of(mut self, arn: &str) -> Self {
        let parts = split(arn);
        if let Some(account) = parts.get(4).filter(|account| !account.is_empty()) {
            self.account = (*account).into();
        }
        self
    }

    /// `arn:P:SERVICE:R:A:NAME`
    pub(super) fn arn(&self, service: &str, name: &str) -> String {
        let Self {
            partition,
            region,
            account,
        } = self;
        format!("arn:{partition}:{service}:{region}:{account}:{name}")
    }

    /// `arn:P:SERVICE:::NAME`, for services whose names are unique in a partition.
    pub(super) fn global(&self, service: &str, name: &str) -> String {
        format!("arn:{}:{service}:::{name}", self.partition)
    }
}

/// The fields of a text between colons, not those inside `${…}`; the sixth holds all the rest.
pub(super) fn split(text: &str) -> Vec<&str> {
    let mut fields = cut(text, 6);
    fields.truncate(6);
    fields
}

/// At most `max` fields.
pub(super) fn cut(text: &str, max: usize) -> Vec<&str> {
    let mut fields = Vec::new();
    let (mut start, mut depth) = (0, 0_u32);
    for (at, c) in text.char_indices() {
        match c {
            '{' if text[..at].ends_with('$') => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ':' if depth == 0 && fields.len() + 1 < max => {
                fields.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    fields.push(&text[start..]);
    fields
}

/// Bucket ARN and object ARN of `arn:P:s3:::bucket/key`, or of `${Bucket.Arn}/key`
/// (agent: `agent/s3/s3.go`, the bucket ends at the first slash).
pub(super) fn s3_object(text: &str) -> Option<(String, String)> {
    let whole = text.starts_with("arn:");
    let fits = match split(text).as_slice() {
        ["arn", _, "s3", _, _, name] if whole => name.split_once('/'),
        _ if text.starts_with("${") => text.split_once('/'),
        _ => None,
    };
    let (bucket, key) = fits.filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())?;
    let head = text.len() - key.len() - 1;
    debug_assert!(text[..head].ends_with(bucket));
    Some((text[..head].to_string(), text.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_cut_outside_of_placeholders() {
        let arn = "arn:${AWS::Partition}:s3:::b/a:b";
        assert_eq!(split(arn), ["arn", "${AWS::Partition}", "s3", "", "", "b/a:b"]);
        assert_eq!(
            s3_object(arn),
            Some(("arn:${AWS::Partition}:s3:::b".into(), arn.into()))
        );
        assert_eq!(s3_object("s3://b/k"), None);
        assert_eq!(s3_object("arn:aws:s3:::b"), None);
        assert_eq!(s3_object("${B.Arn}/k").unwrap().0, "${B.Arn}");
    }

    #[test]
    fn a_region_brings_its_partition() {
        let scope = Scope::task().region("cn-north-1");
        assert_eq!(
            scope.arn("logs", "x"),
            "arn:aws-cn:logs:cn-north-1:${AWS::AccountId}:x"
        );
        let scope = Scope::task()
            .region("${R}")
            .account_of("arn:aws:iam::111122223333:role/x");
        assert_eq!(
            scope.arn("logs", "x"),
            "arn:${AWS::Partition}:logs:${R}:111122223333:x"
        );
    }
}
