//! STS: who a caller is, and temporary credentials. Query protocol, GET and POST, answers in XML. The
//! credentials that it gives are known here until they end: their signatures are verified where signatures
//! are, and after their end they are refused as expired.
//! <https://docs.aws.amazon.com/STS/latest/APIReference/>

use std::sync::Arc;

use bytes::Bytes;

use crate::auth::Signature;
use crate::cloud::{Cloud, Credentials, Inner, partition};
use crate::error::ApiError;
use crate::params::{Rule, absent, fault, validation};
use crate::service::Service;
use crate::time;
use crate::xml;

pub(crate) const OPERATIONS: &[&str] = &["AssumeRole", "AssumeRoleWithWebIdentity", "GetCallerIdentity"];
pub(crate) const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// Operations that need no signature.
pub(crate) const UNSIGNED: &str = "AssumeRoleWithWebIdentity";

const ROLE: Rule = Rule::any(20, 2048);
const SESSION: Rule = Rule {
    min: 2,
    max: 64,
    chars: Some(("[\\w+=,.@-]*", |c| c.is_alphanumeric() || "_+=,.@-".contains(c))),
};

/// Parameters of a query, checked as the service does.
struct Query {
    members: Vec<(String, String)>,
    faults: Vec<String>,
}

impl Query {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.members.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn required(&mut self, name: &str, rule: Rule) -> String {
        let value = self.get(name).map(str::to_owned);
        match &value {
            None => self.faults.push(absent(name)),
            Some(value) => {
                let found = rule.faults(value);
                self.faults
                    .extend(found.iter().map(|text| fault(name, value, text)));
            }
        }
        value.unwrap_or_default()
    }

    fn seconds(&mut self) -> i64 {
        let Some(value) = self.get("DurationSeconds").map(str::to_owned) else {
            return 3600;
        };
        let seconds = value.parse().unwrap_or(0);
        if !(900..=43_200).contains(&seconds) {
            let constraint = match seconds < 900 {
                true => "Member must have value greater than or equal to 900",
                false => "Member must have value less than or equal to 43200",
            };
            self.faults.push(fault("DurationSeconds", &value, constraint));
        }
        seconds
    }

    fn check(&mut self) -> Result<(), ApiError> {
        validation(Service::Sts, std::mem::take(&mut self.faults))
    }
}

/// A call: the members of the query or the form, and who signed.
pub(crate) fn call(
    cloud: &Arc<Inner>,
    members: Vec<(String, String)>,
    signature: Option<&Signature>,
    (now, request_id): (i64, &str),
) -> Result<Bytes, ApiError> {
    let mut query = Query {
        members,
        faults: Vec::new(),
    };
    let action = query.get("Action").unwrap_or_default().to_owned();
    let result = match action.as_str() {
        "AssumeRole" => assume(cloud, &mut query, now)?,
        "AssumeRoleWithWebIdentity" => web_identity(cloud, &mut query, now)?,
        "GetCallerIdentity" => identity(cloud, signature),
        other => return Err(crate::server::unknown_operation(Service::Sts, other)),
    };
    Ok(format!(
        "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{result}</{action}Result>\
         <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    )
    .into())
}

fn identity(cloud: &Inner, signature: Option<&Signature>) -> String {
    let key = signature.map_or("", |signature| signature.access_key.as_str());
    let account = &cloud.options.account;
    let session = cloud.session_arn(key);
    let (arn, id) = match session {
        Some((arn, id)) => (arn, id),
        None => {
            let partition = partition(&cloud.options.region);
            (format!("arn:{partition}:iam::{account}:root"), account.clone())
        }
    };
    let mut out = String::new();
    xml::element(&mut out, "Arn", &arn);
    xml::element(&mut out, "UserId", &id);
    xml::element(&mut out, "Account", account);
    out
}

/// The role's name in its ARN.
fn role_name(arn: &str) -> Option<&str> {
    let name = arn.strip_prefix("arn:")?.split_once(":role/")?.1;
    name.rsplit('/').next().filter(|name| !name.is_empty())
}

fn assume(cloud: &Arc<Inner>, query: &mut Query, now: i64) -> Result<String, ApiError> {
    let role = query.required("RoleArn", ROLE);
    let session = query.required("RoleSessionName", SESSION);
    let seconds = query.seconds();
    if let Some(external) = query.get("ExternalId").map(str::to_owned) {
        let rule = Rule::any(2, 1224);
        let found = rule.faults(&external);
        query
            .faults
            .extend(found.iter().map(|text| fault("ExternalId", &external, text)));
    }
    query.check()?;
    let issued = issue(cloud, &role, &session, now + seconds * 1000)?;
    Ok(issued)
}

fn web_identity(cloud: &Arc<Inner>, query: &mut Query, now: i64) -> Result<String, ApiError> {
    let role = query.required("RoleArn", ROLE);
    let session = query.required("RoleSessionName", SESSION);
    query.required("WebIdentityToken", Rule::any(4, 20_000));
    let seconds = query.seconds();
    query.check()?;
    let mut out = issue(cloud, &role, &session, now + seconds * 1000)?;
    xml::element(&mut out, "SubjectFromWebIdentityToken", "local");
    xml::element(&mut out, "Provider", "local");
    xml::element(&mut out, "Audience", "sts.amazonaws.com");
    Ok(out)
}

fn issue(cloud: &Arc<Inner>, role: &str, session: &str, expires: i64) -> Result<String, ApiError> {
    let bad = || ApiError::bad("ValidationError", format!("{role} is invalid"));
    role_name(role).ok_or_else(bad)?;
    let credentials = Cloud(cloud.clone()).issue(role, session, expires);
    let (arn, id) = cloud.session_arn(&credentials.access_key).ok_or_else(bad)?;
    let mut out = String::from("<Credentials>");
    xml::element(&mut out, "AccessKeyId", &credentials.access_key);
    xml::element(&mut out, "SecretAccessKey", &credentials.secret_key);
    xml::element(
        &mut out,
        "SessionToken",
        credentials.token.as_deref().unwrap_or_default(),
    );
    xml::element(&mut out, "Expiration", &time::iso_seconds(expires));
    out.push_str("</Credentials><AssumedRoleUser>");
    xml::element(&mut out, "AssumedRoleId", &id);
    xml::element(&mut out, "Arn", &arn);
    out.push_str("</AssumedRoleUser><PackedPolicySize>0</PackedPolicySize>");
    Ok(out)
}

impl Cloud {
    /// Temporary credentials of a role, known here until `expires_ms` (ms since the epoch): what a
    /// credentials endpoint of a task gives its containers.
    pub fn issue(&self, role_arn: &str, session: &str, expires_ms: i64) -> Credentials {
        let cloud = &self.0;
        // The token says whose it is, as AWS's does, only readably; so the sessions need no table of their
        // own.
        let id = format!("AROA{}", cloud.letters(17, true));
        let credentials = Credentials {
            access_key: format!("ASIA{}", cloud.letters(16, true)),
            secret_key: cloud.letters(40, false),
            token: Some(format!("{}/{id}/{session}/{role_arn}", cloud.letters(180, false))),
            expires_ms: Some(expires_ms),
        };
        cloud.remember(credentials.clone());
        credentials
    }
}

impl Inner {
    /// ARN and id of the session that an access key belongs to.
    fn session_arn(&self, access_key: &str) -> Option<(String, String)> {
        let token = self.credentials(access_key)?.token?;
        let mut parts = token.splitn(4, '/').skip(1);
        let (id, session, role) = (parts.next()?, parts.next()?, parts.next()?);
        let partition = role.split(':').nth(1)?;
        let account = role.split(':').nth(4)?;
        let name = role_name(role)?;
        let arn = format!("arn:{partition}:sts::{account}:assumed-role/{name}/{session}");
        Some((arn, format!("{id}:{session}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_roles() {
        assert_eq!(role_name("arn:aws:iam::1:role/a/b"), Some("b"));
        assert_eq!(role_name("arn:aws:iam::1:user/b"), None);
        assert_eq!(role_name("arn:aws:iam::1:role/"), None);
    }
}
