//! SSM Parameter Store. `SecureString` values lie in the index as they are: the endpoint encrypts nothing,
//! but without `WithDecryption` it gives a text that is not the value.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/>

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cloud::{Answer, Call, Cloud, Inner, done, ok};
use crate::error::ApiError;
use crate::params::{Params, Rule};
use crate::service::Service;
use crate::store::State;
use crate::store::catalog::{Parameter, ParameterVersion, Tags};
use crate::time;

pub(crate) const OPERATIONS: &[&str] = &[
    "DeleteParameter",
    "DescribeParameters",
    "GetParameter",
    "GetParameters",
    "GetParametersByPath",
    "PutParameter",
];

const NAME: Rule = Rule::any(1, 2048);
/// Versions that are kept.
const VERSIONS_MAX: usize = 100;
/// Most characters of a value, by tier.
const STANDARD_MAX: usize = 4096;
const ADVANCED_MAX: usize = 8192;
const TYPES: [&str; 3] = ["String", "StringList", "SecureString"];

pub(crate) async fn call(cloud: &Arc<Inner>, call: Call) -> Answer {
    let params = Params::read(Service::Ssm, &call.body)?;
    match call.operation.as_str() {
        "DeleteParameter" => delete(cloud, params).await,
        "DescribeParameters" => describe(cloud, params),
        "GetParameter" => get(cloud, params),
        "GetParameters" => get_many(cloud, params),
        "GetParametersByPath" => by_path(cloud, params),
        "PutParameter" => put(cloud, params, call.now).await,
        other => Err(crate::server::unknown_operation(Service::Ssm, other)),
    }
}

impl Cloud {
    /// Makes a parameter, or gives it a new value. `secure`: of type `SecureString`, else `String`.
    pub async fn put_parameter(&self, name: &str, value: &str, secure: bool) {
        let now = time::now_ms();
        let kind = if secure { "SecureString" } else { "String" };
        let change = self.0.store.change(|state| {
            let known = state.catalog.parameters.get(name);
            let mut parameter = known.cloned().unwrap_or_else(|| new_parameter(kind));
            parameter.kind = kind.to_owned();
            add(&mut parameter, value.to_owned(), now);
            save(state, name, parameter);
        });
        change.await;
    }
}

fn new_parameter(kind: &str) -> Parameter {
    Parameter {
        kind: kind.to_owned(),
        description: None,
        key_id: None,
        pattern: None,
        data_type: "text".into(),
        tier: "Standard".into(),
        tags: Tags::new(),
        versions: Vec::new(),
    }
}

/// Adds a version; its number.
fn add(parameter: &mut Parameter, value: String, now: i64) -> u64 {
    let number = parameter.versions.last().map_or(0, |version| version.number) + 1;
    parameter.versions.push(ParameterVersion {
        number,
        value,
        modified: now,
    });
    let surplus = parameter.versions.len().saturating_sub(VERSIONS_MAX);
    parameter.versions.drain(..surplus);
    number
}

fn save(state: &mut State, name: &str, parameter: Parameter) {
    state.put("", name, &parameter);
    state.catalog.parameters.insert(name.to_owned(), parameter);
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::bad("ValidationException", message)
}

/// What a name may be.
fn check_name(name: &str) -> Result<(), ApiError> {
    let plain = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_.-/".contains(c));
    if !plain || (name.contains('/') && !name.starts_with('/')) {
        return Err(invalid(
            "Parameter name must be a fully qualified name. Only a mix of letters, numbers and the following 4 symbols .-_/ are allowed.",
        ));
    }
    let first = name.trim_start_matches('/').to_ascii_lowercase();
    if first.starts_with("aws") || first.starts_with("ssm") {
        return Err(invalid(
            "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive).",
        ));
    }
    if name.split('/').filter(|part| !part.is_empty()).count() > 15 {
        let text = "Parameter name exceeds the maximum of 15 levels.";
        return Err(ApiError::bad("HierarchyLevelLimitExceededException", text));
    }
    Ok(())
}

async fn put(cloud: &Arc<Inner>, mut params: Params, now: i64) -> Answer {
    let name = params.required("Name", NAME)?;
    let value = params.required("Value", Rule::any(0, usize::MAX))?;
    let kind = params.word("Type", &TYPES)?;
    let description = params.text("Description", Rule::any(0, 1024))?;
    let key_id = params.text("KeyId", Rule::any(1, 256))?;
    let pattern = params.text("AllowedPattern", Rule::any(0, 1024))?;
    let overwrite = params.flag("Overwrite")?.unwrap_or(false);
    let tier = params.word("Tier", &["Standard", "Advanced", "Intelligent-Tiering"])?;
    let data_type = params.text("DataType", Rule::any(0, 128))?;
    let tags = params.tag_list("Tags")?;
    params.check()?;
    check_name(&name)?;
    if pattern.is_some() {
        return Err(invalid("The local endpoint has no AllowedPattern."));
    }
    let len = value.chars().count();
    if len == 0 {
        return Err(invalid("The parameter value must not be empty."));
    }
    let tier = match tier.as_deref() {
        Some("Advanced") => "Advanced",
        Some("Intelligent-Tiering") if len > STANDARD_MAX => "Advanced",
        _ => "Standard",
    };
    let most = if tier == "Advanced" {
        ADVANCED_MAX
    } else {
        STANDARD_MAX
    };
    if len > most {
        return Err(invalid(format!(
            "{tier} tier parameters support a maximum parameter value of {most} characters."
        )));
    }
    let change = cloud.store.change(|state| {
        let known = state.catalog.parameters.get(&name);
        if known.is_some() && !overwrite {
            return Err(ApiError::bad(
                "ParameterAlreadyExists",
                "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.",
            ));
        }
        let missing_type = || invalid("A parameter type is required when you create a parameter.");
        let mut parameter = match (known, &kind) {
            (Some(known), _) => known.clone(),
            (None, Some(kind)) => new_parameter(kind),
            (None, None) => return Err(missing_type()),
        };
        if let Some(kind) = kind {
            parameter.kind = kind;
        }
        parameter.description = description.or(parameter.description);
        parameter.key_id = key_id.or(parameter.key_id);
        parameter.data_type = data_type.unwrap_or(parameter.data_type);
        parameter.tier = tier.to_owned();
        parameter.tags.extend(tags);
        let number = add(&mut parameter, value, now);
        save(state, &name, parameter);
        Ok(number)
    });
    ok(&json!({"Version": change.await?, "Tier": tier}))
}

/// A parameter as it was asked for: name, ARN, each with a version behind a colon.
fn find(cloud: &Inner, state: &State, asked: &str, decrypt: bool) -> Result<Value, &'static str> {
    let (asked_name, selector) = match asked.strip_prefix("arn:") {
        Some(_) => {
            let name = asked.split_once(":parameter").map_or("", |(_, name)| name);
            (name, "")
        }
        None => asked.split_once(':').unwrap_or((asked, "")),
    };
    let all = &state.catalog.parameters;
    let found = all.get_key_value(asked_name);
    // In an ARN the slash of a plain name is one of its own.
    let found = found.or_else(|| all.get_key_value(asked_name.strip_prefix('/')?));
    let (name, parameter) = found.ok_or("ParameterNotFound")?;
    let version = match selector {
        "" => parameter.versions.last(),
        number => {
            let number = number.parse::<u64>().ok();
            let mut versions = parameter.versions.iter();
            versions.find(|version| Some(version.number) == number)
        }
    };
    let version = version.ok_or("ParameterVersionNotFound")?;
    let value = match (parameter.kind.as_str(), decrypt) {
        ("SecureString", false) => sealed(name, &version.value),
        _ => version.value.clone(),
    };
    let mut out = json!({
        "Name": name,
        "Type": parameter.kind,
        "Value": value,
        "Version": version.number,
        "LastModifiedDate": time::seconds(version.modified),
        "ARN": arn(cloud, name),
        "DataType": parameter.data_type,
    });
    if !selector.is_empty() {
        out["Selector"] = json!(format!(":{selector}"));
    }
    Ok(out)
}

fn arn(cloud: &Inner, name: &str) -> String {
    let slash = if name.starts_with('/') { "" } else { "/" };
    cloud.arn(Service::Ssm, &format!("parameter{slash}{name}"))
}

/// What stands for an encrypted value: nobody can read it, and it is the same each time.
fn sealed(name: &str, value: &str) -> String {
    let digest = Sha256::digest(format!("{name}\0{value}"));
    let mut blob = b"AQICAHh".to_vec();
    blob.extend_from_slice(&digest);
    blob.extend_from_slice(&Sha256::digest(digest));
    STANDARD.encode(blob)
}

fn get(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let name = params.required("Name", NAME)?;
    let decrypt = params.flag("WithDecryption")?.unwrap_or(false);
    params.check()?;
    match cloud.store.look(|state| find(cloud, state, &name, decrypt)) {
        Ok(parameter) => ok(&json!({"Parameter": parameter})),
        Err("ParameterVersionNotFound") => {
            let text = format!("Systems Manager could not find version of {name}.");
            Err(ApiError::bad("ParameterVersionNotFound", text))
        }
        Err(code) => Err(ApiError::bad(code, "")),
    }
}

fn get_many(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let names = params.texts("Names", 10)?;
    let decrypt = params.flag("WithDecryption")?.unwrap_or(false);
    if names.as_ref().is_none_or(Vec::is_empty) {
        params.fault(
            "Names",
            "[]",
            "Member must have length greater than or equal to 1",
        );
    }
    params.check()?;
    let names = names.unwrap_or_default();
    let (found, bad) = cloud.store.look(|state| {
        let (mut found, mut bad) = (Vec::new(), Vec::new());
        for name in &names {
            match find(cloud, state, name, decrypt) {
                Ok(parameter) => found.push(parameter),
                Err(_) => bad.push(name.clone()),
            }
        }
        (found, bad)
    });
    ok(&json!({"Parameters": found, "InvalidParameters": bad}))
}

fn by_path(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let path = params.required("Path", NAME)?;
    let recursive = params.flag("Recursive")?.unwrap_or(false);
    let decrypt = params.flag("WithDecryption")?.unwrap_or(false);
    let limit = params.number("MaxResults", 1, 10)?.unwrap_or(10) as usize;
    let token = params.text("NextToken", Rule::any(0, 4096))?;
    if params.take("ParameterFilters").is_some() {
        return Err(invalid("The local endpoint has no ParameterFilters here."));
    }
    params.check()?;
    if !path.starts_with('/') {
        return Err(invalid(
            "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward slash \"/\".",
        ));
    }
    let prefix = format!("{}/", path.trim_end_matches('/'));
    let wanted = |name: &str| {
        let rest = name.strip_prefix(&prefix);
        rest.is_some_and(|rest| recursive || !rest.contains('/'))
    };
    let (names, next) = page(cloud, token.as_deref(), limit, |name, _| wanted(name));
    let found = cloud.store.look(|state| {
        let found = names
            .iter()
            .filter_map(|name| find(cloud, state, name, decrypt).ok());
        found.collect::<Vec<_>>()
    });
    let mut answer = json!({"Parameters": found});
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    ok(&answer)
}

/// Names of a page, and the token of the next.
fn page(
    cloud: &Inner,
    token: Option<&str>,
    limit: usize,
    wanted: impl Fn(&str, &Parameter) -> bool,
) -> (Vec<String>, Option<String>) {
    cloud.store.look(|state| {
        let all = state.catalog.parameters.iter();
        let wanted = all.filter(|(name, parameter)| {
            token.is_none_or(|token| name.as_str() > token) && wanted(name, parameter)
        });
        let mut names: Vec<_> = wanted.map(|(name, _)| name.clone()).take(limit + 1).collect();
        let more = names.len() > limit;
        names.truncate(limit);
        let next = names.last().filter(|_| more).cloned();
        (names, next)
    })
}

/// A filter of `DescribeParameters`.
struct Filter {
    key: String,
    option: String,
    values: Vec<String>,
}

fn filters(value: Option<&Value>) -> Result<Vec<Filter>, ApiError> {
    let mut filters = Vec::new();
    for filter in value.and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| filter.get(name).and_then(Value::as_str).map(str::to_owned);
        let values = filter.get("Values").and_then(Value::as_array);
        let values = values
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned);
        let read = Filter {
            key: text("Key").unwrap_or_default(),
            option: text("Option").unwrap_or_else(|| "Equals".into()),
            values: values.collect(),
        };
        if !["Name", "Type"].contains(&read.key.as_str()) {
            let text = format!(
                "The local endpoint filters by Name and Type, not by {}.",
                read.key
            );
            return Err(ApiError::bad("InvalidFilterKey", text));
        }
        if !["Equals", "BeginsWith", "Contains"].contains(&read.option.as_str()) {
            let text = format!("The filter option {} is not valid.", read.option);
            return Err(ApiError::bad("InvalidFilterOption", text));
        }
        filters.push(read);
    }
    Ok(filters)
}

impl Filter {
    fn takes(&self, name: &str, parameter: &Parameter) -> bool {
        let own = if self.key == "Name" { name } else { &parameter.kind };
        let hit = |value: &String| match self.option.as_str() {
            "BeginsWith" => own.starts_with(value.as_str()),
            "Contains" => own.contains(value.as_str()),
            _ => own == value,
        };
        self.values.is_empty() || self.values.iter().any(hit)
    }
}

fn describe(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let limit = params.number("MaxResults", 1, 50)?.unwrap_or(10) as usize;
    let token = params.text("NextToken", Rule::any(0, 4096))?;
    let wanted = params.take("ParameterFilters");
    let old = params.take("Filters");
    params.check()?;
    if old.is_some() {
        return Err(invalid(
            "The local endpoint has no Filters: use ParameterFilters.",
        ));
    }
    let filters = filters(wanted.as_ref())?;
    let (names, next) = page(cloud, token.as_deref(), limit, |name, parameter| {
        filters.iter().all(|filter| filter.takes(name, parameter))
    });
    let shown = cloud.store.look(|state| {
        let all = names
            .iter()
            .filter_map(|name| Some((name, state.catalog.parameters.get(name)?)));
        let shown = all.map(|(name, parameter)| {
            let last = parameter.versions.last();
            let mut out = json!({
                "Name": name,
                "ARN": arn(cloud, name),
                "Type": parameter.kind,
                "Version": last.map_or(0, |version| version.number),
                "LastModifiedDate": time::seconds(last.map_or(0, |version| version.modified)),
                "Tier": parameter.tier,
                "Policies": [],
                "DataType": parameter.data_type,
            });
            for (member, value) in [
                ("Description", &parameter.description),
                ("KeyId", &parameter.key_id),
            ] {
                if let Some(value) = value {
                    out[member] = json!(value);
                }
            }
            out
        });
        shown.collect::<Vec<_>>()
    });
    let mut answer = json!({"Parameters": shown});
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    ok(&answer)
}

async fn delete(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let name = params.required("Name", NAME)?;
    params.check()?;
    let change = cloud.store.change(|state| {
        let is_there = state.catalog.parameters.remove(&name).is_some();
        if is_there {
            state.delete::<Parameter>("", &name);
        }
        is_there
    });
    if change.await {
        done()
    } else {
        Err(ApiError::bad("ParameterNotFound", ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "/a/b-c_d.e", "net.key"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["a b", "a/b", "awsx", "/ssm/x", &"/a".repeat(16)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn old_versions_go() {
        let mut parameter = new_parameter("String");
        for at in 0..150 {
            assert_eq!(add(&mut parameter, "v".into(), at), at as u64 + 1);
        }
        assert_eq!(parameter.versions.len(), VERSIONS_MAX);
        assert_eq!(parameter.versions[0].number, 51);
    }
}
