//! Secrets Manager: secrets, their versions and stages. Values lie in the index as they are: the endpoint
//! encrypts nothing. <https://docs.aws.amazon.com/secretsmanager/latest/apireference/>

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::cloud::{Answer, Call, Cloud, Inner, done, ok};
use crate::error::ApiError;
use crate::params::{Params, Rule};
use crate::service::Service;
use crate::store::State;
use crate::store::catalog::{Secret, SecretVersion};
use crate::time;

pub(crate) const OPERATIONS: &[&str] = &[
    "CreateSecret",
    "DeleteSecret",
    "DescribeSecret",
    "GetSecretValue",
    "ListSecrets",
    "PutSecretValue",
];

const NAME: Rule = Rule {
    min: 1,
    max: 512,
    chars: Some(("[a-zA-Z0-9/_+=.@-]+", |c| {
        c.is_ascii_alphanumeric() || "/_+=.@-".contains(c)
    })),
};
const ID: Rule = Rule::any(1, 2048);
const TOKEN: Rule = Rule::any(32, 64);
/// Most bytes of a value.
const VALUE_MAX: usize = 65_536;
/// Versions without a stage that are kept.
const VERSIONS_MAX: usize = 100;
const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

pub(crate) async fn call(cloud: &Arc<Inner>, call: Call) -> Answer {
    let params = Params::read(Service::SecretsManager, &call.body)?;
    match call.operation.as_str() {
        "CreateSecret" => create(cloud, params, call.now).await,
        "DeleteSecret" => delete(cloud, params, call.now).await,
        "DescribeSecret" => describe(cloud, params),
        "GetSecretValue" => get(cloud, params),
        "ListSecrets" => list(cloud, params),
        "PutSecretValue" => put(cloud, params, call.now).await,
        other => Err(crate::server::unknown_operation(Service::SecretsManager, other)),
    }
}

impl Cloud {
    /// Makes a secret, or gives it a new value; its ARN. `name` as Secrets Manager allows it.
    pub async fn put_secret(&self, name: &str, value: &str) -> String {
        let now = time::now_ms();
        let (suffix, id) = (self.0.letters(6, false), self.0.uuid());
        let version = SecretVersion {
            created: now,
            stages: Vec::new(),
            text: Some(value.to_owned()),
            binary: None,
        };
        let suffix = self.0.store.change(|state| {
            let known = state.catalog.secrets.get(name);
            let mut secret = known.cloned().unwrap_or_else(|| new_secret(suffix, now));
            add(&mut secret, id, version, &[CURRENT.to_owned()], now);
            let suffix = secret.suffix.clone();
            save(state, name, secret);
            suffix
        });
        arn(&self.0, name, &suffix.await)
    }
}

fn new_secret(suffix: String, now: i64) -> Secret {
    Secret {
        suffix,
        created: now,
        changed: now,
        description: None,
        kms: None,
        tags: Vec::new(),
        versions: BTreeMap::new(),
    }
}

fn save(state: &mut State, name: &str, secret: Secret) {
    state.put("", name, &secret);
    state.catalog.secrets.insert(name.to_owned(), secret);
}

/// Adds a version and moves the stages to it; what was current becomes the previous one.
fn add(secret: &mut Secret, id: String, mut version: SecretVersion, stages: &[String], now: i64) {
    let moves_current = stages.iter().any(|stage| stage == CURRENT);
    for (known, other) in &mut secret.versions {
        if *known == id {
            continue;
        }
        if moves_current {
            other.stages.retain(|stage| stage != PREVIOUS);
            other
                .stages
                .iter_mut()
                .filter(|stage| *stage == CURRENT)
                .for_each(|stage| *stage = PREVIOUS.into());
        }
        other.stages.retain(|stage| !stages.contains(stage));
    }
    version.stages = stages.to_vec();
    secret.versions.insert(id, version);
    secret.changed = now;
    let spare = secret
        .versions
        .iter()
        .filter(|(_, version)| version.stages.is_empty());
    let mut spare: Vec<_> = spare.map(|(id, version)| (version.created, id.clone())).collect();
    spare.sort();
    let surplus = spare.len().saturating_sub(VERSIONS_MAX);
    for (_, id) in spare.into_iter().take(surplus) {
        secret.versions.remove(&id);
    }
}

fn arn(cloud: &Inner, name: &str, suffix: &str) -> String {
    cloud.arn(Service::SecretsManager, &format!("secret:{name}-{suffix}"))
}

fn missing() -> ApiError {
    ApiError::bad(
        "ResourceNotFoundException",
        "Secrets Manager can't find the specified secret.",
    )
}

/// The secret with this name, ARN, or ARN without its last six characters.
fn find<'s>(state: &'s State, id: &str) -> Result<(&'s String, &'s Secret), ApiError> {
    let name = id.split_once(":secret:").map(|(_, name)| name);
    let found = match name {
        None => state.catalog.secrets.get_key_value(id),
        Some(name) => {
            let full = name.rsplit_once('-').and_then(|(name, suffix)| {
                let found = state.catalog.secrets.get_key_value(name)?;
                (found.1.suffix == suffix).then_some(found)
            });
            full.or_else(|| state.catalog.secrets.get_key_value(name))
        }
    };
    found.ok_or_else(missing)
}

/// The value of a request; `required`: there must be one.
fn value(params: &mut Params, now: i64, required: bool) -> Result<Option<SecretVersion>, ApiError> {
    let text = params.text("SecretString", Rule::any(0, usize::MAX))?;
    let binary = params.text("SecretBinary", Rule::any(0, usize::MAX))?;
    let len = text.as_deref().or(binary.as_deref()).map_or(0, str::len);
    if len > VALUE_MAX {
        let constraint = format!("Member must have length less than or equal to {VALUE_MAX}");
        params.fault("SecretString", "*****", &constraint);
    }
    if text.is_some() && binary.is_some() {
        return Err(ApiError::bad(
            "InvalidParameterException",
            "You can't specify both a binary secret value and a string secret value in the same secret.",
        ));
    }
    if required && text.is_none() && binary.is_none() {
        return Err(ApiError::bad(
            "InvalidRequestException",
            "You must provide either SecretString or SecretBinary.",
        ));
    }
    let is_given = text.is_some() || binary.is_some();
    Ok(is_given.then(|| SecretVersion {
        created: now,
        stages: Vec::new(),
        text,
        binary,
    }))
}

async fn create(cloud: &Arc<Inner>, mut params: Params, now: i64) -> Answer {
    let name = params.required("Name", NAME)?;
    let token = params.text("ClientRequestToken", TOKEN)?;
    let description = params.text("Description", Rule::any(0, 2048))?;
    let kms = params.text("KmsKeyId", Rule::any(0, 2048))?;
    let tags = params.tag_list("Tags")?;
    let version = value(&mut params, now, false)?;
    params.check()?;
    let id = token.unwrap_or_else(|| cloud.uuid());
    let mut secret = Secret {
        description,
        kms,
        tags,
        ..new_secret(cloud.letters(6, false), now)
    };
    let has_version = version.is_some();
    if let Some(version) = version {
        add(&mut secret, id.clone(), version, &[CURRENT.to_owned()], now);
    }
    let arn = arn(cloud, &name, &secret.suffix);
    let is_new = cloud.store.change(|state| {
        let is_new = !state.catalog.secrets.contains_key(&name);
        if is_new {
            save(state, &name, secret);
        }
        is_new
    });
    if !is_new.await {
        let text = format!("The operation failed because the secret {name} already exists.");
        return Err(ApiError::bad("ResourceExistsException", text));
    }
    let mut answer = json!({"ARN": arn, "Name": name});
    if has_version {
        answer["VersionId"] = json!(id);
    }
    ok(&answer)
}

async fn put(cloud: &Arc<Inner>, mut params: Params, now: i64) -> Answer {
    let secret_id = params.required("SecretId", ID)?;
    let token = params.text("ClientRequestToken", TOKEN)?;
    let stages = params.texts("VersionStages", 20)?;
    let version = value(&mut params, now, true)?;
    params.check()?;
    let id = token.unwrap_or_else(|| cloud.uuid());
    let stages = stages.unwrap_or_else(|| vec![CURRENT.to_owned()]);
    let Some(version) = version else { return done() };
    let change = cloud.store.change(|state| -> Result<_, ApiError> {
        let (name, secret) = find(state, &secret_id)?;
        let (name, mut secret) = (name.clone(), secret.clone());
        if let Some(known) = secret.versions.get(&id)
            && (known.text != version.text || known.binary != version.binary)
        {
            let text = format!(
                "You can't use ClientRequestToken {id} because that value is already in use for a version of secret {name}."
            );
            return Err(ApiError::bad("ResourceExistsException", text));
        }
        // A first value is the current one, whatever its stages.
        let mut stages = stages.clone();
        if secret.versions.is_empty() && !stages.iter().any(|stage| stage == CURRENT) {
            stages.push(CURRENT.to_owned());
        }
        add(&mut secret, id.clone(), version, &stages, now);
        let suffix = secret.suffix.clone();
        save(state, &name, secret);
        Ok((name, suffix, stages))
    });
    let (name, suffix, stages) = change.await?;
    ok(&json!({"ARN": arn(cloud, &name, &suffix), "Name": name, "VersionId": id, "VersionStages": stages}))
}

fn get(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let secret_id = params.required("SecretId", ID)?;
    let version_id = params.text("VersionId", TOKEN)?;
    let stage = params.text("VersionStage", Rule::any(1, 256))?;
    params.check()?;
    let (name, secret) = cloud
        .store
        .look(|state| find(state, &secret_id).map(|(name, secret)| (name.clone(), secret.clone())))?;
    let wanted_stage = stage.as_deref().unwrap_or(CURRENT);
    let found = match &version_id {
        Some(id) => secret.versions.get_key_value(id),
        None => secret
            .versions
            .iter()
            .find(|(_, version)| version.stages.iter().any(|own| own == wanted_stage)),
    };
    let not_found = || {
        let what = match &version_id {
            Some(id) => format!("VersionId: {id}"),
            None => format!("staging label: {wanted_stage}"),
        };
        let text = format!("Secrets Manager can't find the specified secret value for {what}");
        ApiError::bad("ResourceNotFoundException", text)
    };
    let (id, version) = found.ok_or_else(not_found)?;
    if let (Some(_), Some(stage)) = (&version_id, &stage)
        && !version.stages.contains(stage)
    {
        return Err(ApiError::bad(
            "InvalidRequestException",
            "You provided a VersionStage that is not associated to the provided VersionId.",
        ));
    }
    let mut answer = json!({
        "ARN": arn(cloud, &name, &secret.suffix),
        "Name": name,
        "VersionId": id,
        "VersionStages": version.stages,
        "CreatedDate": time::seconds(version.created),
    });
    if let Some(text) = &version.text {
        answer["SecretString"] = json!(text);
    }
    if let Some(binary) = &version.binary {
        answer["SecretBinary"] = json!(binary);
    }
    ok(&answer)
}

async fn delete(cloud: &Arc<Inner>, mut params: Params, now: i64) -> Answer {
    let secret_id = params.required("SecretId", ID)?;
    params.number("RecoveryWindowInDays", 7, 30)?;
    let force = params.flag("ForceDeleteWithoutRecovery")?.unwrap_or(false);
    params.check()?;
    if !force {
        return Err(ApiError::bad(
            "InvalidRequestException",
            "The local endpoint has no recovery window: set ForceDeleteWithoutRecovery.",
        ));
    }
    let change = cloud.store.change(|state| {
        let (name, suffix) =
            find(state, &secret_id).map(|(name, secret)| (name.clone(), secret.suffix.clone()))?;
        state.catalog.secrets.remove(&name);
        state.delete::<Secret>("", &name);
        Ok((name, suffix))
    });
    let (name, suffix) = change.await?;
    let arn = arn(cloud, &name, &suffix);
    ok(&json!({"ARN": arn, "Name": name, "DeletionDate": time::seconds(now)}))
}

fn described(cloud: &Inner, name: &str, secret: &Secret, stages: &str) -> Value {
    let versions = secret
        .versions
        .iter()
        .filter(|(_, version)| !version.stages.is_empty());
    let versions: serde_json::Map<_, _> = versions
        .map(|(id, version)| (id.clone(), json!(version.stages)))
        .collect();
    let tags = secret
        .tags
        .iter()
        .map(|(key, value)| json!({"Key": key, "Value": value}));
    let mut out = json!({
        "ARN": arn(cloud, name, &secret.suffix),
        "Name": name,
        "CreatedDate": time::seconds(secret.created),
        "LastChangedDate": time::seconds(secret.changed),
        "Tags": tags.collect::<Vec<_>>(),
        stages: versions,
    });
    for (member, value) in [("Description", &secret.description), ("KmsKeyId", &secret.kms)] {
        if let Some(value) = value {
            out[member] = json!(value);
        }
    }
    out
}

fn describe(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let secret_id = params.required("SecretId", ID)?;
    params.check()?;
    let out = cloud.store.look(|state| {
        let (name, secret) = find(state, &secret_id)?;
        Ok::<_, ApiError>(described(cloud, name, secret, "VersionIdsToStages"))
    })?;
    ok(&out)
}

fn list(cloud: &Arc<Inner>, mut params: Params) -> Answer {
    let limit = params.number("MaxResults", 1, 100)?.unwrap_or(100) as usize;
    let token = params.text("NextToken", Rule::any(1, 4096))?;
    let filters = params.take("Filters");
    params.check()?;
    let prefixes = name_filters(filters.as_ref())?;
    let (secrets, next) = cloud.store.look(|state| {
        let wanted = state.catalog.secrets.iter().filter(|(name, _)| {
            token.as_ref().is_none_or(|token| *name > token)
                && (prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix)))
        });
        let mut page: Vec<_> = wanted.take(limit + 1).collect();
        let more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| more).map(|(name, _)| (*name).clone());
        let shown = page
            .into_iter()
            .map(|(name, secret)| described(cloud, name, secret, "SecretVersionsToStages"));
        (shown.collect::<Vec<_>>(), next)
    });
    let mut answer = json!({"SecretList": secrets});
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    ok(&answer)
}

/// Prefixes of names; other filters are refused.
fn name_filters(filters: Option<&Value>) -> Result<Vec<String>, ApiError> {
    let mut prefixes = Vec::new();
    for filter in filters.and_then(Value::as_array).into_iter().flatten() {
        if filter.get("Key").and_then(Value::as_str) != Some("name") {
            return Err(ApiError::bad(
                "InvalidParameterException",
                "The local endpoint filters secrets by name only.",
            ));
        }
        let values = filter.get("Values").and_then(Value::as_array);
        let values = values.into_iter().flatten().filter_map(Value::as_str);
        prefixes.extend(values.map(str::to_owned));
    }
    Ok(prefixes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_move() {
        let version = |created| SecretVersion {
            created,
            stages: Vec::new(),
            text: Some("v".into()),
            binary: None,
        };
        let mut secret = new_secret("abcdef".into(), 0);
        let current = [CURRENT.to_owned()];
        for (at, id) in ["one", "two", "three"].into_iter().enumerate() {
            add(&mut secret, id.into(), version(at as i64), &current, 5);
        }
        let stages = |id: &str| secret.versions[id].stages.clone();
        assert_eq!(stages("three"), [CURRENT]);
        assert_eq!(stages("two"), [PREVIOUS]);
        assert!(stages("one").is_empty());
        for at in 0..150 {
            add(&mut secret, format!("n{at}"), version(10 + at), &current, 5);
        }
        assert_eq!(
            secret.versions.len(),
            VERSIONS_MAX + 2,
            "the oldest without a stage go"
        );
    }
}
