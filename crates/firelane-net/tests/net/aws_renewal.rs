//! Credentials over time: who fetches, who waits, what a broken endpoint costs.

use std::time::{Duration, UNIX_EPOCH};

use firelane_net::aws::Service;
use tokio::time::{Instant, sleep};

use crate::aws_calls::{at_once, client, signed_at};
use crate::aws_mock::{Answer, Mock, credentials};

/// A service that takes everything.
async fn service() -> Mock {
    Mock::new(|_, _| Answer::new(200, "{}")).await
}

#[tokio::test]
async fn many_callers_share_a_fetch() {
    let keys = Mock::new(|_, _| credentials("AK", 3600).after(Duration::from_millis(300))).await;
    let service = service().await;
    // Two clients of the same wishes share them too.
    let (one, other) = (
        client(Service::LOGS, &keys, &service),
        client(Service::KINESIS, &keys, &service),
    );
    let (first, second) = tokio::join!(at_once(&one, 30), at_once(&other, 30));
    assert!(first.iter().chain(&second).all(|status| *status == Ok(200)));
    assert_eq!((keys.count(), service.count()), (1, 60));
}

#[tokio::test]
async fn calls_go_on_over_many_renewals() {
    // Scenario: keys of four seconds. Guarantees: every call succeeds, none is signed with keys that have
    // ended.
    let keys = Mock::new(|at, _| credentials(&format!("AK{at}"), 4)).await;
    let service = service().await;
    let client = client(Service::LOGS, &keys, &service);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(7) {
        let answers = at_once(&client, 5).await;
        assert!(answers.iter().all(|status| *status == Ok(200)), "{answers:?}");
        sleep(Duration::from_millis(20)).await;
    }
    let fetched = keys.seen();
    assert!((2..=4).contains(&fetched.len()), "{} fetches", fetched.len());
    for seen in service.seen() {
        let id = seen.scope()[0].clone();
        let number: usize = id["AK".len()..].parse().unwrap();
        let end = fetched[number].at + Duration::from_secs(4);
        let end = end.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((signed_at(&seen) as f64) < end, "{id} was used after its end");
    }
}

#[tokio::test]
async fn a_failing_endpoint_is_asked_seldom() {
    let keys = Mock::new(|_, _| Answer::new(500, "no")).await;
    let service = service().await;
    let client = client(Service::LOGS, &keys, &service);
    let begun = Instant::now();
    let mut failures = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        for answer in at_once(&client, 20).await {
            let why = answer.unwrap_err();
            assert!(
                why.contains(&format!("127.0.0.1:{} answered 500", keys.port)),
                "{why}"
            );
            failures += 1;
        }
        sleep(Duration::from_millis(20)).await;
    }
    // At 0 and 2 s; on a machine that stood still, once more.
    assert!(
        (2..=3).contains(&keys.count()),
        "asked {} times for {failures} calls",
        keys.count()
    );
    assert!(failures > 20 * keys.count(), "{failures}");
    assert_eq!(service.count(), 0);
}

#[tokio::test]
async fn a_stuck_endpoint_costs_a_deadline() {
    // Scenario: the endpoint takes the connection and says nothing. Guarantees: all who wait hear of it at
    // the deadline, together, with the name of the one who said nothing.
    let keys = Mock::new(|_, _| Answer::never()).await;
    let service = service().await;
    let client = client(Service::LOGS, &keys, &service);
    let begun = Instant::now();
    let answers = at_once(&client, 10).await;
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(4) && took < Duration::from_secs(10),
        "{took:?}"
    );
    for answer in answers {
        let why = answer.unwrap_err();
        assert!(why.starts_with("no AWS credentials: "), "{why}");
        let place = format!(
            "127.0.0.1:{}: no progress waiting for the response within 5 s",
            keys.port
        );
        assert!(why.contains(&place) && why.contains("taskRoleArn"), "{why}");
    }
    assert_eq!((keys.count(), service.count()), (1, 0));
}

#[tokio::test]
async fn what_an_endpoint_may_say() {
    for (body, want) in [
        ("", "no credentials"),
        ("<html>", "no credentials"),
        (r#"{"AccessKeyId":"AK"}"#, "no credentials"),
        (
            r#"{"AccessKeyId":"AK","SecretAccessKey":"hidden","Expiration":"soon"}"#,
            "the expiration `soon` is no time",
        ),
    ] {
        let keys = Mock::new(move |_, _| Answer::new(200, body)).await;
        let service = service().await;
        let why = client(Service::LOGS, &keys, &service)
            .call("x.y", "{}")
            .await
            .unwrap_err()
            .to_string();
        assert!(why.contains(want) && !why.contains("hidden"), "{body}: {why}");
    }
    // Without an end, and with the other name of the token.
    let keys = Mock::new(|_, _| {
        Answer::new(
            200,
            r#"{"AccessKeyId":"AK","SecretAccessKey":"s","SessionToken":"T","Expiration":null}"#,
        )
    })
    .await;
    let service = service().await;
    let client = client(Service::LOGS, &keys, &service);
    assert_eq!(client.call("x.y", "{}").await.unwrap().status, 200);
    assert_eq!(service.seen()[0].header("x-amz-security-token"), Some("T"));
}
