//! ECR: the token with which images are pulled. There is no registry behind it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::cloud::{Answer, Call, Inner, ok, partition};
use crate::params::Params;
use crate::service::Service;
use crate::time;

pub(crate) const OPERATIONS: &[&str] = &["GetAuthorizationToken"];

/// A token holds for twelve hours.
const TOKEN_MS: i64 = 12 * 3_600_000;

pub(crate) fn call(cloud: &Arc<Inner>, call: &Call) -> Answer {
    if call.operation != "GetAuthorizationToken" {
        return Err(crate::server::unknown_operation(Service::Ecr, &call.operation));
    }
    let mut params = Params::read(Service::Ecr, &call.body)?;
    let registries = params.texts("registryIds", 10)?;
    params.check()?;
    let own = vec![cloud.options.account.clone()];
    let registries = registries.filter(|given| !given.is_empty()).unwrap_or(own);
    let region = &cloud.options.region;
    let suffix = match partition(region) {
        "aws-cn" => "amazonaws.com.cn",
        _ => "amazonaws.com",
    };
    let data = registries.iter().map(|registry| {
        json!({
            "authorizationToken": STANDARD.encode(format!("AWS:{}", cloud.letters(256, false))),
            "expiresAt": time::seconds(call.now + TOKEN_MS),
            "proxyEndpoint": format!("https://{registry}.dkr.ecr.{region}.{suffix}"),
        })
    });
    ok(&json!({"authorizationData": data.collect::<Vec<_>>()}))
}
