//! What the AWS outputs share: their common properties, and what an answer of AWS means for a chunk.

use firelane_conf::Diagnostic;
use firelane_core::{BuildCx, Cause, CauseKind, HttpResponse, Judgement};
use firelane_net::aws::{AwsClient, AwsEndpoint, AwsSettings, Class, Failure, Service, user_agent};
use firelane_net::proxy::process_env;
use firelane_net::{ClientTls, Endpoint, Response, TlsConfig};

use crate::settings::{Network, refuse};

/// What Fluent Bit calls itself towards AWS.
const USER_AGENT: &str = "aws-fluent-bit-plugin";

/// A client for `service` with the plugin's settings; `tls.*` and `net.*` are read here. Nothing is asked
/// before the first request, so building stays without effects.
pub(crate) fn client(
    cx: &BuildCx<'_>,
    service: Service,
    mut settings: AwsSettings,
) -> Result<AwsClient, Vec<Diagnostic>> {
    let network = Network::read_forced(cx)?;
    let endpoint = checked(cx, "endpoint", settings.endpoint.as_deref(), settings.port);
    let sts = checked(cx, "sts_endpoint", settings.sts_endpoint.as_deref(), None);
    let errors: Vec<_> = [endpoint, sts].into_iter().filter_map(Result::err).collect();
    if settings.user_agent.is_empty() {
        settings.user_agent = user_agent(USER_AGENT, &process_env);
    }
    let Some(tls) = network.tls.filter(|_| errors.is_empty()) else {
        return Err(errors);
    };
    Ok(AwsClient::new(service, settings, tls, network.net))
}

/// A client for a service behind an address of the user's own; it speaks TLS where `tls` is on.
pub(crate) fn client_at(
    cx: &BuildCx<'_>,
    service: Service,
    mut settings: AwsSettings,
    network: Network,
    endpoint: &Endpoint,
) -> Result<AwsClient, Vec<Diagnostic>> {
    checked(cx, "aws_sts_endpoint", settings.sts_endpoint.as_deref(), None).map_err(|error| vec![error])?;
    let scheme = if network.tls.is_some() { "https" } else { "http" };
    settings.endpoint = Some(format!("{scheme}://{endpoint}"));
    settings.user_agent = user_agent(USER_AGENT, &process_env);
    let unused = || {
        let config = TlsConfig {
            tls: true.into(),
            ..TlsConfig::default()
        };
        ClientTls::build(&config)
    };
    let tls = network.tls.map_or_else(unused, Ok);
    let tls = tls.map_err(|error| vec![refuse(cx, "tls", &error.to_string())])?;
    Ok(AwsClient::new(service, settings, tls, network.net))
}

/// Refuses an endpoint that is none.
fn checked(cx: &BuildCx<'_>, key: &str, text: Option<&str>, port: Option<u16>) -> Result<(), Diagnostic> {
    match text.map(|text| AwsEndpoint::parse(text, port)) {
        Some(Err(error)) => Err(refuse(cx, key, error.reason)),
        _ => Ok(()),
    }
}

/// What to do about a denial, if the answer is one: for its text.
pub(crate) async fn help(
    client: &AwsClient,
    answer: &Response,
    action: Option<&str>,
    resource: Option<&str>,
) -> Option<String> {
    let failure = Failure::of(answer).filter(|failure| failure.class == Class::Denied)?;
    Some(client.explain(&failure, action, resource).await)
}

/// The failure in an answer, if it is one.
pub(crate) fn failure(response: &HttpResponse<'_>) -> Option<Failure> {
    let headers = response
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    Failure::read(response.status, headers, response.body)
}

/// What a failure means for the request's records. What somebody may mend (policies, missing resources,
/// credentials) is tried again; what the service will never take is refused.
pub(crate) fn judgement(service: &Service, failure: &Failure) -> Judgement {
    let text = format!("{} answered {failure}", service.title);
    let cause = |kind| Cause::new(kind, text.clone());
    match failure.class {
        Class::Throttled => Judgement::Throttled {
            after: failure.after,
            why: cause(CauseKind::Throttled),
        },
        Class::Credentials | Class::Denied => Judgement::Unavailable(cause(CauseKind::Auth)),
        Class::Unavailable | Class::Missing => Judgement::Unavailable(cause(CauseKind::Unavailable)),
        Class::Refused => Judgement::Refused(cause(CauseKind::Refused)),
    }
}
