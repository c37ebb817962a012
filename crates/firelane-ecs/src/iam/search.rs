//! Services that an output signs for with `aws_auth`: search domains and collections, Prometheus, gateways.

use crate::text::Text;

use super::names::{Dialect, Name};
use super::outputs::Sink;

/// By the name in the signature.
pub(super) fn by_service(sink: Sink<'_, '_>, service: &str) {
    match service.to_ascii_lowercase().as_str() {
        "es" => domain(sink),
        "aoss" => collection(sink),
        "aps" => workspace(sink),
        "osis" => pipeline(sink),
        "execute-api" => gateway(sink),
        "logs" => otlp_logs(sink),
        other => {
            let mut sink = sink;
            let what = match other {
                "" => "`aws_service` is not given".to_string(),
                other => format!("`aws_service {other}` is not known here"),
            };
            sink.unknown(&what, "add its permission to the task role");
        }
    }
}

/// The host as a name, without scheme and port.
fn host(sink: &Sink<'_, '_>) -> Option<Name> {
    let mut name = sink.name("host", Dialect::Plain)?;
    let bare = name.pattern.split("://").last().unwrap_or_default();
    let bare = bare.split(['/', ':']).next().unwrap_or_default();
    // A placeholder like `${Domain.Endpoint}` or `${AWS::Region}` has its own colons.
    if !name.pattern.contains("${") {
        name.pattern = bare.to_string();
    }
    Some(name)
}

/// First label of a host of AWS whose address has `.service.` in it.
fn label(host: &Name, services: &[&str]) -> Option<String> {
    let fits = services.iter().any(|service| host.pattern.contains(service));
    let label = host.pattern.split('.').next()?;
    (fits && !label.is_empty() && !label.contains('$')).then(|| label.to_string())
}

/// `search-NAME-HASH.REGION.es.amazonaws.com`, `vpc-…`; the dual-stack form ends in `.aos.REGION.on.aws`
/// (`docs.aws.amazon.com/opensearch-service/latest/developerguide/ac.html`).
fn domain(mut sink: Sink<'_, '_>) {
    // Documents go by `_bulk`, a POST; PUT is what the same address also takes.
    const ACTIONS: &[&str] = &["es:ESHttpPost", "es:ESHttpPut"];
    let host = host(&sink);
    if let Some(id) = host.as_ref().and_then(|host| attribute(&host.pattern)) {
        let what = "a domain of this template";
        sink.grant("WriteSearch", ACTIONS, format!("${{{id}.Arn}}/*"), what, None);
        return;
    }
    let label = host.as_ref().and_then(|host| label(host, &[".es.", ".aos."]));
    let name = label.as_deref().and_then(|label| {
        let inner = label.strip_prefix("search-").or(label.strip_prefix("vpc-"))?;
        inner.rsplit_once('-').map(|(name, _)| name)
    });
    let Some(name) = name else {
        sink.unknown(
            "the host does not tell the domain",
            "allow `es:ESHttpPost` and `es:ESHttpPut` on `arn:aws:es:REGION:ACCOUNT:domain/NAME/*`",
        );
        return;
    };
    let resource = sink.scope.arn("es", &format!("domain/{name}/*"));
    sink.grant(
        "WriteSearch",
        ACTIONS,
        resource,
        &format!("search domain `{name}`"),
        None,
    );
}

/// The logical id of `${Id.DomainEndpoint}`, as the host of a template.
fn attribute(host: &str) -> Option<&str> {
    let inner = host.strip_prefix("${")?.strip_suffix('}')?;
    inner
        .strip_suffix(".DomainEndpoint")
        .or(inner.strip_suffix(".CollectionEndpoint"))
}

/// `ID.REGION.aoss.amazonaws.com`
fn collection(mut sink: Sink<'_, '_>) {
    const ACTIONS: &[&str] = &["aoss:APIAccessAll"];
    let host = host(&sink);
    let why = || Some("a data access policy of the collection must allow the role to write, too".to_string());
    if let Some(id) = host.as_ref().and_then(|host| attribute(&host.pattern)) {
        let what = "a collection of this template";
        sink.grant("WriteSearch", ACTIONS, format!("${{{id}.Arn}}"), what, why());
        return;
    }
    match host.as_ref().and_then(|host| label(host, &[".aoss."])) {
        Some(id) => {
            let resource = sink.scope.arn("aoss", &format!("collection/{id}"));
            sink.grant(
                "WriteSearch",
                ACTIONS,
                resource,
                &format!("collection `{id}`"),
                why(),
            );
        }
        None => sink.unknown(
            "the host does not tell the collection",
            "allow `aoss:APIAccessAll` on `arn:aws:aoss:REGION:ACCOUNT:collection/ID`",
        ),
    }
}

/// `/workspaces/WORKSPACE/api/v1/remote_write`
fn workspace(mut sink: Sink<'_, '_>) {
    const ACTIONS: &[&str] = &["aps:RemoteWrite"];
    let uri = sink.name("uri", Dialect::Plain);
    let id = uri.as_ref().and_then(|uri| {
        let tail = uri.pattern.split_once("workspaces/")?.1;
        tail.split('/').next().filter(|id| !id.is_empty())
    });
    let Some(id) = id else {
        sink.unknown(
            "`uri` does not tell the workspace",
            "write it as `/workspaces/WORKSPACE/api/v1/remote_write`",
        );
        return;
    };
    let resource = sink.scope.arn("aps", &format!("workspace/{id}"));
    sink.grant(
        "WriteMetrics",
        ACTIONS,
        resource,
        &format!("workspace `{id}`"),
        None,
    );
}

/// `NAME-HASH.REGION.osis.amazonaws.com`
fn pipeline(mut sink: Sink<'_, '_>) {
    let label = host(&sink).as_ref().and_then(|host| label(host, &[".osis."]));
    let Some(name) = label.as_deref().and_then(|label| Some(label.rsplit_once('-')?.0)) else {
        sink.unknown(
            "the host does not tell the pipeline",
            "allow `osis:Ingest` on `arn:aws:osis:REGION:ACCOUNT:pipeline/NAME`",
        );
        return;
    };
    let resource = sink.scope.arn("osis", &format!("pipeline/{name}"));
    let what = format!("ingestion pipeline `{name}`");
    sink.grant("WriteSearch", &["osis:Ingest"], resource, &what, None);
}

/// `API.execute-api.REGION.amazonaws.com/STAGE/PATH`; the resource is `API/STAGE/METHOD/PATH`.
fn gateway(mut sink: Sink<'_, '_>) {
    const ACTIONS: &[&str] = &["execute-api:Invoke"];
    let Some(api) = host(&sink)
        .as_ref()
        .and_then(|host| label(host, &[".execute-api."]))
    else {
        sink.unknown(
            "the host does not tell the API",
            "allow `execute-api:Invoke` on `arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/POST/PATH`",
        );
        return;
    };
    let uri = sink
        .name("uri", Dialect::Plain)
        .map_or("/".into(), |uri| uri.pattern);
    let (stage, path) = uri.trim_start_matches('/').split_once('/').unwrap_or(("*", ""));
    let path = path.split('?').next().unwrap_or_default();
    let method = sink.output.get("http_method").map_or("POST", Text::as_str);
    let name = format!("{api}/{stage}/{}/{path}", method.to_ascii_uppercase());
    let resource = sink.scope.arn("execute-api", name.trim_end_matches('/'));
    sink.grant("InvokeApi", ACTIONS, resource, &format!("API `{api}`"), None);
}

/// The OTLP address of CloudWatch Logs takes group and stream from headers
/// (`docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-OTLPEndpoint.html`).
fn otlp_logs(mut sink: Sink<'_, '_>) {
    let header = |wanted: &str| {
        let all = sink.output.options.iter();
        let headers = all.filter(|(key, _)| key.eq_ignore_ascii_case("header"));
        let mut fits = headers.filter_map(|(_, text)| {
            let (name, value) = text.as_str().trim().split_once(char::is_whitespace)?;
            name.eq_ignore_ascii_case(wanted).then(|| Text {
                value: value.trim().to_string(),
                ..text.clone()
            })
        });
        let text = fits.next_back()?;
        Some(sink.builder.known.name(&text, Dialect::Plain).pattern)
    };
    let Some(group) = header("x-aws-log-group") else {
        sink.unknown(
            "no header names the log group",
            "allow `logs:PutLogEvents` on the stream that `x-aws-log-group` and `x-aws-log-stream` name",
        );
        return;
    };
    let stream = header("x-aws-log-stream").unwrap_or_else(|| "*".into());
    let resource = sink
        .scope
        .arn("logs", &format!("log-group:{group}:log-stream:{stream}"));
    let what = format!("log group `{group}`, stream `{stream}`");
    sink.grant("WriteLogEvents", &["logs:PutLogEvents"], resource, &what, None);
}
