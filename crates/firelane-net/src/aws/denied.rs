//! What a role may not do, in the words that mend it.

use std::fmt::Write as _;

/// Who was refused what, as far as the service's message tells.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Denial {
    /// ARN of the caller.
    pub(super) caller: Option<String>,
    /// As in `logs:PutLogEvents`.
    pub(super) action: Option<String>,
    /// ARN of what it was for.
    pub(super) resource: Option<String>,
    /// A policy forbids it, whatever others allow: which kind of policy.
    pub(super) forbidden_by: Option<String>,
}

impl Denial {
    /// Reads the sentence that IAM gives:
    /// `User: ARN is not authorized to perform: ACTION on resource: ARN because no identity-based policy …`
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>).
    pub(super) fn read(message: &str) -> Self {
        let behind = |mark: &str| {
            let rest = &message[message.find(mark)? + mark.len()..];
            // S3 quotes its resources: keys may hold blanks.
            if let Some((quoted, _)) = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
                return Some(quoted.to_owned());
            }
            let word = rest.split_whitespace().next()?;
            Some(word.trim_matches(|c| matches!(c, '"' | ',' | '.')).to_owned())
        };
        let policy = |mark: &str| {
            let rest = &message[message.find(mark)? + mark.len()..];
            let rest = rest.trim_start_matches("an ").trim_start_matches("a ");
            let end = rest.find("policy").map(|at| at + "policy".len());
            Some(rest[..end.or_else(|| rest.find(['.', ';', ','])).unwrap_or(rest.len())].to_owned())
        };
        Self {
            forbidden_by: policy("explicit deny in "),
            caller: behind("User: ").filter(|word| word.starts_with("arn:")),
            action: behind("not authorized to perform: ").filter(|word| word.contains(':')),
            resource: behind("on resource: ").filter(|word| word.starts_with("arn:") || word == "*"),
        }
    }

    /// What to do about it.
    pub(super) fn help(&self) -> String {
        let action = self.action.as_deref().unwrap_or("do this");
        let mut text = String::new();
        let who = self
            .caller
            .as_deref()
            .map_or("the caller's role".to_owned(), role_of);
        let _ = write!(text, "{who} may not {action}");
        if let Some(resource) = &self.resource {
            let _ = write!(text, " on {resource}");
        }
        if let Some(policy) = &self.forbidden_by {
            let _ = write!(
                text,
                "; its {policy} denies it: change that statement, allowing it elsewhere does not help"
            );
            return text;
        }
        if let Some(action) = &self.action {
            let resource = self.resource.as_deref().unwrap_or("*");
            let _ = write!(
                text,
                "; missing: {{\"Effect\":\"Allow\",\"Action\":\"{action}\",\"Resource\":\"{resource}\"}}"
            );
        }
        text.push_str("; `firelane iam TASK` prints the whole policy");
        text
    }
}

/// The role of a session's ARN: `arn:aws:sts::1:assumed-role/NAME/SESSION` is role NAME.
fn role_of(caller: &str) -> String {
    match caller.split_once(":assumed-role/") {
        Some((_, rest)) => format!("role {}", rest.split('/').next().unwrap_or(rest)),
        None => caller.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_of_iam_is_read() {
        let denial = Denial::read(
            "User: arn:aws:sts::123456789012:assumed-role/web-task/0f1e is not authorized to perform: \
             logs:PutLogEvents on resource: \
             arn:aws:logs:us-east-1:123456789012:log-group:app:log-stream:s because no identity-based policy allows the logs:PutLogEvents action",
        );
        assert_eq!(
            denial.help(),
            "role web-task may not logs:PutLogEvents on \
             arn:aws:logs:us-east-1:123456789012:log-group:app:log-stream:s; missing: \
             {\"Effect\":\"Allow\",\"Action\":\"logs:PutLogEvents\",\"Resource\":\
             \"arn:aws:logs:us-east-1:123456789012:log-group:app:log-stream:s\"}; \
             `firelane iam TASK` prints the whole policy"
        );
    }

    #[test]
    fn what_is_not_told_is_left_out() {
        let denial = Denial::read("Access Denied");
        assert_eq!(denial, Denial::default());
        assert_eq!(
            denial.help(),
            "the caller's role may not do this; `firelane iam TASK` prints the whole policy"
        );
        let partly = Denial::read("is not authorized to perform: es:ESHttpPost");
        assert_eq!(partly.action.as_deref(), Some("es:ESHttpPost"));
        let user = Denial {
            caller: Some("arn:aws:iam::1:user/ann".to_owned()),
            ..Denial::default()
        };
        assert!(user.help().starts_with("arn:aws:iam::1:user/ann may not"));
    }

    #[test]
    fn resources_may_hold_blanks() {
        let denial = Denial::read(
            "User: arn:aws:sts::1:assumed-role/r/s is not authorized to perform: s3:PutObject on resource: \
             \"arn:aws:s3:::b/a key\" because no identity-based policy allows the s3:PutObject action",
        );
        assert_eq!(denial.resource.as_deref(), Some("arn:aws:s3:::b/a key"));
    }

    #[test]
    fn an_explicit_deny_lacks_no_statement() {
        let denial = |policy| {
            Denial::read(&format!(
                "User: arn:aws:sts::1:assumed-role/r/s is not authorized to perform: logs:PutLogEvents on resource: \
                 arn:aws:logs:x with an explicit deny in {policy}"
            ))
        };
        assert_eq!(
            denial("a service control policy").help(),
            "role r may not logs:PutLogEvents on arn:aws:logs:x; its service control policy denies it: change that statement, \
             allowing it elsewhere does not help"
        );
        let other = denial("an identity-based policy: arn:aws:iam::1:policy/x");
        assert_eq!(other.forbidden_by.as_deref(), Some("identity-based policy"));
    }

    proptest::proptest! {
        #[test]
        fn no_message_panics(start in "\\PC*", end in "\\PC*") {
            for mark in ["User: ", "perform: ", "on resource: \"", "explicit deny in "] {
                let _ = Denial::read(&format!("{start}{mark}{end}")).help();
            }
        }
    }
}
