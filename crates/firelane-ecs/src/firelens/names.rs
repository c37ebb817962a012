//! Small grammars of the agent: Go's booleans, ARNs of objects, users.

/// A boolean as Go's `strconv.ParseBool` takes it; anything else is none.
pub fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Bucket and key of an object's ARN. As in the agent the pattern is not anchored: it may start anywhere.
pub fn s3_object(text: &str) -> Option<(&str, &str)> {
    // arn:<partition>:s3:::<bucket>/<key>
    text.match_indices("arn:").find_map(|(at, _)| {
        let rest = &text[at + 4..];
        let (partition, rest) = rest.split_once(':')?;
        let (bucket, key) = rest.strip_prefix("s3:::")?.split_once('/')?;
        // In Go's patterns `.` takes everything but a line end.
        let key = key.split('\n').next().unwrap_or_default();
        (!partition.is_empty() && !bucket.is_empty() && !key.is_empty()).then_some((bucket, key))
    })
}

/// Whether a text has the six parts of an ARN.
pub fn is_arn(text: &str) -> bool {
    let parts: Vec<_> = text.splitn(6, ':').collect();
    matches!(parts.as_slice(), ["arn", partition, service, _, _, resource]
        if !partition.is_empty() && !service.is_empty() && !resource.is_empty())
}

/// Which store a secret is in: `asm` for ARNs of Secrets Manager, else `ssm`.
pub fn secret_provider(value_from: &str) -> &'static str {
    match value_from.split(':').nth(2) {
        Some("secretsmanager") if value_from.starts_with("arn:") => "asm",
        _ => "ssm",
    }
}

/// Owner of the socket's folder for a router's `user`: `uid:gid`, `uid:agent` for the agent's own group.
///
/// # Errors
/// The agent's words for a user that it cannot take.
pub fn socket_owner(user: &str) -> Result<String, String> {
    const PARSE: &str = "unable to parse Firelens user: ";
    let invalid = || Err(format!("{PARSE}invalid format: expected 'user' or 'user:group'"));
    let mut parts = user.split(':');
    let (name, group) = (parts.next().unwrap_or_default(), parts.next());
    if parts.next().is_some() || name.is_empty() {
        return invalid();
    }
    if group == Some("") {
        let reason = "invalid format: group part cannot be empty when using 'user:group' format";
        return Err(format!("{PARSE}{reason}"));
    }
    let uid = match atoi(name) {
        Ok(uid) => uid,
        Err(why) => {
            let reason = format!("strconv.Atoi: parsing {name:?}: {why}");
            return Err(format!("unable to determine the user ID: {reason}"));
        }
    };
    let gid = group.and_then(|group| atoi(group).ok());
    Ok(match gid {
        Some(gid) => format!("{uid}:{gid}"),
        None => format!("{uid}:agent"),
    })
}

/// Go's `strconv.Atoi` on 64 bits.
fn atoi(text: &str) -> Result<i64, &'static str> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("invalid syntax");
    }
    text.parse().map_err(|_| "value out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_as_the_agent_finds_them() {
        assert_eq!(s3_object("arn:aws:s3:::b/k/x y.conf"), Some(("b", "k/x y.conf")));
        assert_eq!(s3_object("xarn:aws-cn:s3:::b/k"), Some(("b", "k")));
        assert_eq!(s3_object("arn:aws:s3:::b"), None);
        assert_eq!(s3_object("arn:aws:s3:::b/"), None);
        assert_eq!(s3_object("arn:aws:s3:us-east-1::b/k"), None);
        assert_eq!(s3_object("s3://b/k"), None);
    }

    #[test]
    fn users_are_taken_as_the_agent_takes_them() {
        assert_eq!(socket_owner("0"), Ok("0:agent".into()));
        assert_eq!(socket_owner("1000:2000"), Ok("1000:2000".into()));
        assert_eq!(socket_owner("1000:logs"), Ok("1000:agent".into()));
        let error = socket_owner("fluent").unwrap_err();
        assert!(
            error.ends_with("strconv.Atoi: parsing \"fluent\": invalid syntax"),
            "{error}"
        );
        assert!(
            socket_owner("1:2:3")
                .unwrap_err()
                .ends_with("expected 'user' or 'user:group'")
        );
        assert!(
            socket_owner("1:")
                .unwrap_err()
                .contains("group part cannot be empty")
        );
    }

    #[test]
    fn providers_are_told_by_the_arn() {
        assert_eq!(
            secret_provider("arn:aws:secretsmanager:r:1:secret:x-AbCdEf:k::"),
            "asm"
        );
        assert_eq!(secret_provider("arn:aws:ssm:r:1:parameter/x"), "ssm");
        assert_eq!(secret_provider("/app/key"), "ssm");
    }
}
