//! Signed requests against a service that verifies them, and what the client does about refusals.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_types::date_time::{DateTime, Format};
use firelane_net::aws::{AwsClient, AwsSettings, Class, Failure, Service, encoded};
use firelane_net::{ClientTls, Method, NetConfig, Request, TlsConfig};

use crate::aws_mock::{Answer, Mock, Seen, credentials, xml_error};
use crate::aws_sigv4::Verifier;

/// A client whose credentials come from `keys`, for a service at `endpoint`.
pub(crate) fn client(service: Service, keys: &Mock, endpoint: &Mock) -> AwsClient {
    let settings = AwsSettings {
        region: Some("eu-west-1".to_owned()),
        endpoint: Some(endpoint.url()),
        sts_endpoint: Some(endpoint.url()),
        credentials_endpoint: Some(keys.url()),
        user_agent: "tests".to_owned(),
        ..AwsSettings::default()
    };
    with(service, settings)
}

pub(crate) fn with(service: Service, settings: AwsSettings) -> AwsClient {
    let tls = TlsConfig {
        tls: true.into(),
        ..TlsConfig::default()
    };
    let tls = ClientTls::build(&tls).unwrap();
    AwsClient::new(service, settings, tls, NetConfig::default())
}

/// Endless keys `AK`.
async fn keys() -> Mock {
    Mock::new(|_, _| credentials("AK", 3600)).await
}

fn verifier(service: &'static str) -> Verifier {
    Verifier {
        secret: "secret-of-AK".to_owned(),
        region: "eu-west-1",
        service,
    }
}

/// A service that takes what is signed, and says what is wrong with the rest.
async fn strict(service: &'static str) -> Mock {
    Mock::new(move |_, seen| match verifier(service).verify(seen) {
        Ok(()) => Answer::new(200, "{}"),
        Err(why) => Answer::new(403, why),
    })
    .await
}

fn request(method: Method, target: &str, body: impl Into<Vec<u8>>) -> Request {
    Request {
        method,
        target: target.to_owned(),
        headers: Vec::new(),
        body: body.into().into(),
    }
}

#[track_caller]
fn taken(answer: &firelane_net::Response, what: &str) {
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 200, "{what}: {text}");
}

#[tokio::test]
async fn json_calls_are_signed() {
    let (keys, service) = (keys().await, strict("logs").await);
    let client = client(Service::LOGS, &keys, &service);
    for size in [0, 1, 4096, 1 << 20] {
        let answer = client.call("Logs_20140328.PutLogEvents", vec![b'x'; size]).await;
        taken(&answer.unwrap(), &format!("a body of {size}"));
    }
    let seen = service.seen();
    assert_eq!(seen.len(), 4);
    let header = |name| seen[1].header(name);
    assert_eq!(header("x-amz-target"), Some("Logs_20140328.PutLogEvents"));
    assert_eq!(header("content-type"), Some("application/x-amz-json-1.1"));
    assert_eq!(header("x-amz-security-token"), Some("token-of-AK"));
    assert_eq!(header("user-agent"), Some("tests"));
    assert_eq!(header("x-amz-content-sha256"), None);
    assert_eq!(keys.count(), 1);
}

#[tokio::test]
async fn keys_of_s3_are_signed_as_they_are() {
    let (keys, service) = (keys().await, strict("s3").await);
    let client = client(Service::S3, &keys, &service);
    let odd = [
        "plain.log",
        "a b+c",
        "ünï/日本 1.gz",
        "double//slash/",
        "dots/../up/./here",
        "100%=&?#;:@,$!'()*[]{}|\\^`\"<>~",
        "$TAG/%Y/",
        "new\nline\ttab",
    ];
    for key in odd {
        let target = format!("/bucket/{}", encoded(key));
        let answer = client.send(request(Method::PUT, &target, "body")).await.unwrap();
        taken(&answer, key);
    }
    let seen = service.seen();
    assert_eq!(seen[3].target, "/bucket/double//slash/");
    assert_eq!(seen[1].target, "/bucket/a%20b%2Bc");
    assert!(
        seen.iter()
            .all(|seen| seen.header("x-amz-content-sha256").is_some())
    );
}

#[tokio::test]
async fn queries_are_signed() {
    let (keys, service) = (keys().await, strict("s3").await);
    let client = client(Service::S3, &keys, &service);
    for query in [
        "uploads=",
        "uploads",
        "partNumber=1&uploadId=x",
        "uploadId=b.c-_~%2F%2B%3D&partNumber=10",
        "list-type=2&prefix=a%20b%2Fc&delimiter=%2F",
        "x=2&x=1&X=3",
    ] {
        let target = format!("/bucket/key?{query}");
        let answer = client.send(request(Method::POST, &target, "")).await.unwrap();
        taken(&answer, query);
    }
}

#[tokio::test]
async fn large_objects_are_hashed_whole() {
    // The body is above what is hashed on the spot.
    let (keys, service) = (keys().await, strict("s3").await);
    let client = client(Service::S3, &keys, &service);
    let body: Vec<u8> = (0..6_u32 << 20).map(|at| (at % 251) as u8).collect();
    let answer = client
        .send(request(Method::PUT, "/bucket/key?partNumber=1&uploadId=u", body))
        .await;
    taken(&answer.unwrap(), "six MiB");
}

#[tokio::test]
async fn other_services_and_headers_are_signed() {
    let (keys, service) = (keys().await, strict("es").await);
    let client = client(Service::named("es"), &keys, &service);
    for target in [
        "/_bulk",
        "/my%20index/_bulk?refresh=false",
        "/a//b/../c/",
        "/caf%C3%A9",
    ] {
        let mut request = request(Method::POST, target, "{}\n");
        let header = |name: &'static str, value: &str| (name.parse().unwrap(), value.parse().unwrap());
        request.headers = vec![
            header("content-type", "application/x-ndjson"),
            header("x-custom", "  two   words "),
            header("x-amz-meta-b", "1"),
        ];
        taken(&client.send(request).await.unwrap(), target);
    }
}

#[tokio::test]
async fn expired_credentials_are_fetched_anew_once() {
    // Scenario: the service finds the token expired, once. Guarantees: the caller sees the success of the
    // second try.
    let count = Arc::new(AtomicUsize::new(0));
    let given = count.clone();
    let keys =
        Mock::new(move |_, _| credentials(&format!("AK{}", given.fetch_add(1, Ordering::Relaxed)), 3600))
            .await;
    let service = Mock::new(|_, seen: &Seen| match seen.scope()[0].as_str() {
        "AK0" => Answer::new(
            400,
            r#"{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}"#,
        )
        .dated(0),
        _ => Answer::new(200, "{}"),
    })
    .await;
    let client = client(Service::LOGS, &keys, &service);
    let answers = at_once(&client, 20).await;
    assert!(answers.iter().all(|status| *status == Ok(200)), "{answers:?}");
    // All twenty were refused with the same keys: one more fetch serves them all.
    assert_eq!(keys.count(), 2);
    let by_old = service
        .seen()
        .iter()
        .filter(|seen| seen.scope()[0] == "AK0")
        .count();
    assert_eq!(service.count(), 20 + by_old);
}

/// Statuses of `count` calls at the same time.
pub(crate) async fn at_once(client: &AwsClient, count: usize) -> Vec<Result<u16, String>> {
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..count {
        let client = client.clone();
        calls.spawn(async move {
            let answer = client.call("x.y", "{}").await;
            answer
                .map(|answer| answer.status)
                .map_err(|error| error.to_string())
        });
    }
    calls.join_all().await
}

#[tokio::test]
async fn what_stays_refused_is_returned() {
    for code in [
        "ExpiredTokenException",
        "UnrecognizedClientException",
        "InvalidSignatureException",
    ] {
        let keys = keys().await;
        let body = format!(r#"{{"__type":"{code}","message":"no"}}"#);
        let service = Mock::new(move |_, _| Answer::new(400, body.clone()).dated(0)).await;
        let client = client(Service::LOGS, &keys, &service);
        let answer = client.call("x.y", "{}").await.unwrap();
        let failure = Failure::of(&answer).unwrap();
        assert_eq!((failure.class, failure.code.as_str()), (Class::Credentials, code));
        assert_eq!((service.count(), keys.count()), (2, 2), "{code}");
    }
}

#[tokio::test]
async fn keys_that_stay_refused_are_fetched_once() {
    // Scenario: wrong keys, and a chunk after the other. Guarantees: neither endpoint nor service is asked
    // twice for each.
    let keys = keys().await;
    let body = r#"{"__type":"UnrecognizedClientException","message":"no"}"#;
    let service = Mock::new(move |_, _| Answer::new(400, body).dated(0)).await;
    let client = client(Service::LOGS, &keys, &service);
    for _ in 0..10 {
        assert_eq!(client.call("x.y", "{}").await.unwrap().status, 400);
    }
    assert_eq!((service.count(), keys.count()), (11, 2));
}

#[tokio::test]
async fn other_failures_are_not_sent_again() {
    let keys = keys().await;
    let service = Mock::new(|_, _| Answer::new(503, "").dated(4000)).await;
    let client = client(Service::LOGS, &keys, &service);
    assert_eq!(client.call("x.y", "{}").await.unwrap().status, 503);
    assert_eq!((service.count(), keys.count()), (1, 1));
    // Its date was that of a proxy, perhaps: nothing was refused for its time.
    assert_eq!(client.call("x.y", "{}").await.unwrap().status, 503);
    let signed = service.seen().iter().map(signed_at).collect::<Vec<_>>();
    let now = DateTime::from(SystemTime::now()).secs();
    assert!(signed.iter().all(|at| (now - at).abs() < 60), "{signed:?}");
}

/// Seconds since 1970 of a request's `X-Amz-Date`.
pub(crate) fn signed_at(seen: &Seen) -> i64 {
    let text = seen.header("x-amz-date").unwrap();
    let part = |from: usize, to: usize| &text[from..to];
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(9, 11),
        part(11, 13),
        part(13, 15)
    );
    DateTime::from_str(&text, Format::DateTime).unwrap().secs()
}

#[tokio::test]
async fn a_clock_that_is_off_is_corrected() {
    // Scenario: the service's clock is ten minutes ahead of ours, or behind, or years. Guarantees: the
    // second try succeeds, the next requests at once; the credentials are not fetched again.
    for ahead in [600, -600, 900_000_000] {
        let keys = keys().await;
        let service = Mock::new(move |_, seen: &Seen| {
            let there = DateTime::from(SystemTime::now()).secs() + ahead;
            if (signed_at(seen) - there).abs() > 300 {
                let body = r#"{"__type":"InvalidSignatureException","message":"Signature expired"}"#;
                return Answer::new(400, body).dated(ahead);
            }
            match verifier("logs").verify(seen) {
                Ok(()) => Answer::new(200, "{}").dated(ahead),
                Err(why) => Answer::new(403, why),
            }
        })
        .await;
        let client = client(Service::LOGS, &keys, &service);
        taken(&client.call("x.y", "{}").await.unwrap(), "the second try");
        assert_eq!(service.count(), 2);
        taken(&client.call("x.y", "{}").await.unwrap(), "the next request");
        assert_eq!((service.count(), keys.count()), (3, 1), "{ahead}");
    }
}

#[tokio::test]
async fn a_clock_that_is_behind_has_kept_expired_credentials() {
    // Scenario: our clock is behind, so the credentials seem to hold; the service says that they have
    // expired. Guarantees: time and credentials are mended in the same second try.
    let keys = Mock::new(|at, _| credentials(&format!("AK{at}"), 3600)).await;
    let service = Mock::new(|_, seen: &Seen| match seen.scope()[0].as_str() {
        "AK0" => Answer::new(400, r#"{"__type":"ExpiredTokenException"}"#).dated(7200),
        _ => Answer::new(200, "{}"),
    })
    .await;
    let client = client(Service::LOGS, &keys, &service);
    taken(&client.call("x.y", "{}").await.unwrap(), "the second try");
    assert_eq!((service.count(), keys.count()), (2, 2));
}

#[tokio::test]
async fn a_denial_is_explained() {
    let keys = keys().await;
    let message = "User: arn:aws:sts::1:assumed-role/web/0f is not authorized to perform: \
                   logs:PutLogEvents on resource: arn:aws:logs:eu-west-1:1:log-group:app because no \
                   identity-based policy allows the logs:PutLogEvents action";
    let body = format!(r#"{{"__type":"AccessDeniedException","Message":"{message}"}}"#);
    let service = Mock::new(move |_, _| Answer::new(400, body.clone())).await;
    let client = client(Service::LOGS, &keys, &service);
    let failure = Failure::of(&client.call("x.y", "{}").await.unwrap()).unwrap();
    assert_eq!(failure.class, Class::Denied);
    let help = client.explain(&failure, None, None).await;
    assert!(
        help.starts_with(
            "role web may not logs:PutLogEvents on arn:aws:logs:eu-west-1:1:log-group:app; missing: {"
        ),
        "{help}"
    );
    // Nobody had to be asked who we are.
    assert_eq!(service.count(), 1);
}

#[tokio::test]
async fn who_we_are_is_asked_once() {
    let keys = keys().await;
    let service = Mock::new(|_, seen: &Seen| {
        if !seen.text().contains("Action=GetCallerIdentity") {
            return xml_error(403, "AccessDenied", "Access Denied");
        }
        assert_eq!(verifier("sts").verify(seen), Ok(()));
        Answer::new(
            200,
            "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::1:assumed-role/task-role/s</Arn>\
             </GetCallerIdentityResult></GetCallerIdentityResponse>",
        )
    })
    .await;
    let client = client(Service::S3, &keys, &service);
    for _ in 0..3 {
        let answer = client.send(request(Method::GET, "/b/k", "")).await.unwrap();
        let failure = Failure::of(&answer).unwrap();
        let help = client.explain(&failure, None, None).await;
        assert_eq!(
            help,
            "role task-role may not do this; `firelane iam TASK` prints the whole policy"
        );
    }
    assert_eq!(service.count(), 4);
}

#[tokio::test]
async fn who_we_are_may_stay_unknown() {
    // Scenario: STS refuses too. Guarantees: an answer without a name, and STS is left alone for a while.
    let keys = keys().await;
    let service = Mock::new(|_, _| xml_error(403, "AccessDenied", "Access Denied")).await;
    let client = client(Service::S3, &keys, &service);
    let answer = client.send(request(Method::GET, "/b/k", "")).await.unwrap();
    let failure = Failure::of(&answer).unwrap();
    for _ in 0..3 {
        assert!(
            client
                .explain(&failure, None, None)
                .await
                .starts_with("the caller's role may not")
        );
    }
    assert_eq!(service.count(), 2);
}

#[tokio::test]
async fn long_answers_are_cut_and_slow_ones_end() {
    let keys = keys().await;
    let service = Mock::new(|at, _| match at {
        0 => Answer::new(200, vec![b'x'; 5000]),
        _ => Answer::new(200, "late").after(Duration::from_secs(30)),
    })
    .await;
    let client = client(Service::LOGS, &keys, &service)
        .answer_kept(1000)
        .response_timeout(Duration::from_millis(200));
    let answer = client.call("x.y", "{}").await.unwrap();
    assert!(answer.is_cut && answer.body.len() == 1000);
    let error = client.call("x.y", "{}").await.unwrap_err();
    assert!(error.is_ambiguous(), "{error}");
    assert!(
        error.to_string().contains("no progress waiting for the response"),
        "{error}"
    );
}
