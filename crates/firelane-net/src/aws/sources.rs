//! What configurations are made of: objects of S3, secrets of Secrets Manager, parameters of Systems Manager.
//!
//! The rules are those of the ECS agent: which form a reference may have, from which region it is
//! fetched, and the words of the errors.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{AwsClient, AwsSettings, Class, Failure, Service, user_agent, xml};
use crate::http::{Request, Response};
use crate::net_config::NetConfig;
use crate::page;
use crate::proxy::process_env;
use crate::tls::ClientTls;

/// Largest object that is taken: configurations are small (Fluent Bit takes no line above 32 MiB).
const OBJECT_MAX: usize = 32 << 20;
/// Time for a whole object, as the ECS agent gives it; and for a secret.
const LIMIT: Duration = Duration::from_secs(30);
/// Most names in a `GetParameters` call.
const PARAMETERS_MAX: usize = 10;

/// Fetches parts of configurations with the process's own credentials.
#[derive(Debug, Clone)]
pub struct Sources {
    settings: AwsSettings,
    tls: ClientTls,
}

/// A reference to a secret of Secrets Manager: name or ARN, and what may stand behind an ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SecretId<'a> {
    id: String,
    region: Option<&'a str>,
    key: Option<&'a str>,
    stage: Option<&'a str>,
    version: Option<&'a str>,
}

impl<'a> SecretId<'a> {
    /// `NAME`, `ARN`, or `ARN:json-key:version-stage:version-id` with all three colons
    /// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html>).
    fn parse(text: &'a str) -> Result<Self, String> {
        let plain = Self {
            id: text.to_owned(),
            region: None,
            key: None,
            stage: None,
            version: None,
        };
        if !text.starts_with("arn:") {
            return Ok(plain);
        }
        let parts: Vec<&str> = text.split(':').collect();
        let region = parts.get(3).copied().filter(|region| !region.is_empty());
        let filled = |at: usize| parts.get(at).copied().filter(|part| !part.is_empty());
        match parts.len() {
            7 => Ok(Self { region, ..plain }),
            10 => Ok(Self {
                id: parts[..7].join(":"),
                region,
                key: filled(7),
                stage: filled(8),
                version: filled(9),
            }),
            _ => Err(format!(
                "`{text}`: behind the ARN of a secret stand all of :json-key:version-stage:version-id, or nothing"
            )),
        }
    }

    fn body(&self) -> String {
        let mut body = json!({ "SecretId": self.id });
        for (name, value) in [("VersionStage", self.stage), ("VersionId", self.version)] {
            if let Some(value) = value {
                body[name] = value.into();
            }
        }
        body.to_string()
    }

    /// The value in the service's answer.
    fn value(&self, answer: &[u8]) -> Result<String, String> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "SecretString")]
            text: Option<String>,
        }
        let answer: Answer = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
        let text = answer.text.ok_or("it is binary, not text")?;
        let Some(key) = self.key else { return Ok(text) };
        let values: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).map_err(|_| {
            "retrieved secret from Secrets Manager, but unable to marshal the JSON response: it is no JSON object".to_owned()
        })?;
        match values.get(key) {
            Some(serde_json::Value::String(value)) => Ok(value.clone()),
            Some(value) => Ok(value.to_string()),
            None => Err(format!(
                "retrieved secret from Secrets Manager did not contain json key {key}"
            )),
        }
    }
}

/// Name and region of a parameter: `NAME`, or an ARN.
fn parameter(text: &str) -> (String, Option<&str>) {
    let Some(rest) = text.strip_prefix("arn:") else {
        return (text.to_owned(), None);
    };
    let mut parts = rest.splitn(5, ':');
    let region = parts.nth(2).filter(|region| !region.is_empty());
    let name = parts
        .nth(1)
        .and_then(|resource| resource.strip_prefix("parameter/"))
        .unwrap_or(text);
    // A name with folders begins with a slash; the ARN has only one.
    let name = if name.contains('/') && name != text {
        format!("/{name}")
    } else {
        name.to_owned()
    };
    (name, region)
}

impl Sources {
    /// With the credentials of the process, and `region` where a reference has none.
    ///
    /// # Errors
    /// The system's root certificates cannot be read.
    pub fn new(region: Option<&str>) -> Result<Self, String> {
        let settings = AwsSettings {
            region: region.map(ToOwned::to_owned),
            user_agent: user_agent("firelane", &process_env),
            ..AwsSettings::default()
        };
        Ok(Self {
            settings,
            tls: page::tls()?,
        })
    }

    fn client(&self, service: Service, region: Option<&str>) -> AwsClient {
        let region = region
            .map(ToOwned::to_owned)
            .or_else(|| self.settings.region.clone());
        let settings = AwsSettings {
            region,
            ..self.settings.clone()
        };
        AwsClient::new(service, settings, self.tls.clone(), NetConfig::default())
            .answer_kept(OBJECT_MAX)
            .response_timeout(LIMIT)
    }

    /// An object of S3. Where its bucket is in another region, the service says so, and it is asked there.
    ///
    /// # Errors
    /// For people: what S3 said, and what is missing.
    pub async fn object(&self, bucket: &str, key: &str) -> Result<Bytes, String> {
        let mut region = None;
        let resource = format!("s3:::{bucket}/{key}");
        for _ in 0..2 {
            let client = self.client(Service::S3, region.as_deref());
            let answer = client.send(get(&format!("/{bucket}/{}", encoded(key)))).await;
            let answer = answer.map_err(|error| format!("s3://{bucket}/{key}: {error}"))?;
            if answer.status == 200 {
                return match answer.is_cut {
                    true => Err(format!("s3://{bucket}/{key} is larger than {OBJECT_MAX} bytes")),
                    false => Ok(answer.body),
                };
            }
            match region_of(&answer) {
                Some(other) if region.is_none() => region = Some(other),
                _ => {
                    return Err(format!(
                        "s3://{bucket}/{key}: {}",
                        told(&client, &answer, "s3:GetObject", Some(&resource)).await
                    ));
                }
            }
        }
        Err(format!(
            "s3://{bucket}/{key}: S3 names one region after the other"
        ))
    }

    /// The value of a secret: by name, or by ARN with what may stand behind it.
    ///
    /// # Errors
    /// As the ECS agent words them, and what is missing.
    pub async fn secret(&self, text: &str) -> Result<String, String> {
        let id = SecretId::parse(text)?;
        let client = self.client(Service::SECRETS, id.region);
        let answer = client.call("secretsmanager.GetSecretValue", id.body()).await;
        let answer = answer.map_err(|error| format!("{}: {error}", id.id))?;
        if answer.status != 200 {
            let why = told(&client, &answer, "secretsmanager:GetSecretValue", None).await;
            return Err(format!(
                "fetching secret data from AWS Secrets Manager: {}: {why}",
                id.id
            ));
        }
        id.value(&answer.body).map_err(|why| format!("{}: {why}", id.id))
    }

    /// The values of parameters, decrypted, in the order of `texts` (names or ARNs): ten in a call, a
    /// call for each region.
    ///
    /// # Errors
    /// As the ECS agent words them: all that are missing, by name.
    pub async fn parameters(&self, texts: &[&str]) -> Result<Vec<String>, String> {
        let parsed: Vec<_> = texts.iter().map(|text| parameter(text)).collect();
        let mut regions: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
        for (name, region) in &parsed {
            let names = regions.entry(*region).or_default();
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let mut values = BTreeMap::new();
        for (region, names) in regions {
            for names in names.chunks(PARAMETERS_MAX) {
                for (name, value) in self.some_parameters(region, names).await? {
                    values.insert((region, name), value);
                }
            }
        }
        let value = |(name, region): &(String, Option<&str>)| {
            let value = values.get(&(*region, name.clone())).cloned();
            value.ok_or_else(|| {
                format!("fetching secret data from SSM Parameter Store: invalid parameters: {name}")
            })
        };
        parsed.iter().map(value).collect()
    }

    async fn some_parameters(
        &self,
        region: Option<&str>,
        names: &[&str],
    ) -> Result<Vec<(String, String)>, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        #[derive(Default)]
        struct Answer {
            parameters: Vec<Parameter>,
            invalid_parameters: Vec<String>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Parameter {
            name: String,
            value: String,
            /// `:3` or `:label` where that was asked for.
            #[serde(default)]
            selector: String,
        }
        let place = region.unwrap_or("the default region");
        let failed = |why: String| format!("fetching secret data from SSM Parameter Store in {place}: {why}");
        let client = self.client(Service::SSM, region);
        let body = json!({ "Names": names, "WithDecryption": true }).to_string();
        let answer = client.call("AmazonSSM.GetParameters", body).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        if answer.status != 200 {
            return Err(failed(told(&client, &answer, "ssm:GetParameters", None).await));
        }
        let answer: Answer =
            serde_json::from_slice(&answer.body).map_err(|error| failed(error.to_string()))?;
        if !answer.invalid_parameters.is_empty() {
            return Err(failed(format!(
                "invalid parameters: {}",
                answer.invalid_parameters.join(",")
            )));
        }
        Ok(answer
            .parameters
            .into_iter()
            .map(|parameter| (parameter.name + &parameter.selector, parameter.value))
            .collect())
    }
}

fn get(target: &str) -> Request {
    Request {
        method: ::http::Method::GET,
        target: target.to_owned(),
        headers: Vec::new(),
        body: Bytes::new(),
    }
}

/// A key in a path: everything but unreserved characters and slashes as `%XX`.
pub fn encoded(key: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(key.len());
    for &byte in key.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The region that S3 sends us to.
fn region_of(answer: &Response) -> Option<String> {
    if let Some(region) = answer
        .headers
        .get("x-amz-bucket-region")
        .and_then(|value| value.to_str().ok())
    {
        return matches!(answer.status, 301 | 307 | 400 | 403).then(|| region.to_owned());
    }
    let text = String::from_utf8_lossy(&answer.body);
    xml::element(&text, "Region")
}

/// What a failure says, and what is missing where it is a denial.
async fn told(client: &AwsClient, answer: &Response, action: &str, resource: Option<&str>) -> String {
    match Failure::of(answer) {
        Some(failure) if failure.class == Class::Denied => {
            format!(
                "{failure}; {}",
                client.explain(&failure, Some(action), resource).await
            )
        }
        Some(failure) => failure.to_string(),
        None => format!("status {}", answer.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_four_forms() {
        let arn = "arn:aws:secretsmanager:eu-west-1:1:secret:db-AbCdEf";
        let plain = SecretId::parse("db").unwrap();
        assert_eq!((plain.id.as_str(), plain.region), ("db", None));
        let bare = SecretId::parse(arn).unwrap();
        assert_eq!(
            (bare.id.as_str(), bare.region, bare.key),
            (arn, Some("eu-west-1"), None)
        );
        let text = format!("{arn}:password:AWSPREVIOUS:");
        let full = SecretId::parse(&text).unwrap();
        assert_eq!((full.id.as_str(), full.key), (arn, Some("password")));
        let want = format!("{{\"SecretId\":\"{arn}\",\"VersionStage\":\"AWSPREVIOUS\"}}");
        assert_eq!(full.body(), want);
        assert!(
            SecretId::parse(&format!("{arn}:password"))
                .unwrap_err()
                .contains("all of")
        );
    }

    #[test]
    fn values_of_secrets() {
        let id = |key| SecretId {
            key,
            ..SecretId::parse("x").unwrap()
        };
        let answer = br#"{"Name":"x","SecretString":"{\"user\":\"u\",\"port\":5432}"}"#;
        assert_eq!(id(Some("user")).value(answer).unwrap(), "u");
        assert_eq!(id(Some("port")).value(answer).unwrap(), "5432");
        assert_eq!(id(None).value(answer).unwrap(), r#"{"user":"u","port":5432}"#);
        let missing = id(Some("none")).value(answer).unwrap_err();
        assert_eq!(
            missing,
            "retrieved secret from Secrets Manager did not contain json key none"
        );
        assert!(id(Some("a")).value(br#"{"SecretString":"text"}"#).is_err());
        assert!(
            id(None)
                .value(br#"{"SecretBinary":"AA=="}"#)
                .unwrap_err()
                .contains("binary")
        );
    }

    #[test]
    fn parameters_by_name_and_arn() {
        let is = |text, name: &str, region| assert_eq!(parameter(text), (name.to_owned(), region), "{text}");
        is("/a/b", "/a/b", None);
        is("plain", "plain", None);
        is(
            "arn:aws:ssm:us-west-2:1:parameter/plain",
            "plain",
            Some("us-west-2"),
        );
        is("arn:aws:ssm:us-west-2:1:parameter/a/b", "/a/b", Some("us-west-2"));
    }

    #[test]
    fn keys_are_encoded_for_paths() {
        assert_eq!(encoded("a b/ü~-._+"), "a%20b/%C3%BC~-._%2B");
    }

    #[test]
    fn s3_names_the_region() {
        let answer = |status, header: Option<&str>, body: &str| Response {
            status,
            headers: header
                .map(|value| ("x-amz-bucket-region".parse().unwrap(), value.parse().unwrap()))
                .into_iter()
                .collect(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            is_cut: false,
        };
        assert_eq!(
            region_of(&answer(301, Some("eu-west-1"), "")).as_deref(),
            Some("eu-west-1")
        );
        assert_eq!(region_of(&answer(404, Some("eu-west-1"), "")), None);
        let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>";
        assert_eq!(region_of(&answer(400, None, body)).as_deref(), Some("eu-west-1"));
        assert_eq!(region_of(&answer(403, None, "<Error/>")), None);
    }

    proptest::proptest! {
        #[test]
        fn encoded_keys_are_plain_ascii_and_come_back(key in "\\PC{0,60}") {
            let text = encoded(&key);
            let mut bytes = Vec::new();
            let mut rest = text.bytes();
            while let Some(byte) = rest.next() {
                proptest::prop_assert!(byte.is_ascii_graphic() && !b"+?#".contains(&byte));
                let hex = |digit: u8| char::from(digit).to_digit(16).unwrap() as u8;
                bytes.push(match byte {
                    b'%' => hex(rest.next().unwrap()) * 16 + hex(rest.next().unwrap()),
                    byte => byte,
                });
            }
            proptest::prop_assert_eq!(bytes, key.into_bytes());
        }
    }
}
