//! Credentials over time: who fetches, who waits, what a broken endpoint costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use firelane_net::aws::Service;
use tokio::time::{Instant, sleep};

use crate::aws_calls::{at_once, client};
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
async fn they_are_renewed_while_calls_go_on() {
    // Scenario: keys of four seconds; each renewal takes most of the second that is left for it. Guarantees: no call
    // waits for a renewal, none is signed with keys that have ended, one renewal at a time.
    let keys = Mock::new(|at, _| {
        let wait = if at == 0 { 0 } else { 400 };
        credentials(&format!("AK{at}"), 4).after(Duration::from_millis(wait))
    })
    .await;
    let service = service().await;
    let client = client(Service::LOGS, &keys, &service);
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < Duration::from_secs(8) {
        let started = Instant::now();
        let answers = at_once(&client, 5).await;
        assert!(answers.iter().all(|status| *status == Ok(200)), "{answers:?}");
        if service.count() > 5 {
            longest = longest.max(started.elapsed());
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(longest < Duration::from_millis(300), "a call took {longest:?}");
    let fetched = keys.seen();
    assert!((3..=4).contains(&fetched.len()), "{} fetches", fetched.len());
    for seen in service.seen() {
        let id = seen.scope()[0].clone();
        let number: usize = id["AK".len()..].parse().unwrap();
        let age = seen.at - fetched[number].at;
        assert!(age < Duration::from_secs(4), "{id} was used after {age:?}");
    }
}

#[tokio::test]
async fn old_ones_serve_while_renewals_fail() {
    // Scenario: when the keys are due the endpoint is broken. Guarantees: calls go on, the endpoint is asked about once
    // in two seconds, and the next success ends it.
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = broken.clone();
    let keys = Mock::new(move |at, _| match is_broken.load(Ordering::Relaxed) {
        true => Answer::new(500, "no"),
        false => credentials(&format!("AK{at}"), 12),
    })
    .await;
    let service = service().await;
    let client = client(Service::LOGS, &keys, &service);
    assert_eq!(at_once(&client, 1).await, [Ok(200)]);
    broken.store(true, Ordering::Relaxed);
    // They are due after nine seconds, and given for one and a half more.
    let begun = Instant::now();
    sleep(Duration::from_millis(9200)).await;
    while begun.elapsed() < Duration::from_millis(9800) {
        let answers = at_once(&client, 5).await;
        assert!(answers.iter().all(|status| *status == Ok(200)), "{answers:?}");
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(keys.count(), 2);
    broken.store(false, Ordering::Relaxed);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(at_once(&client, 1).await, [Ok(200)]);
    assert_eq!(keys.count(), 3);
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
    assert!(failures > 100, "{failures}");
    assert_eq!((keys.count(), service.count()), (2, 0));
}

#[tokio::test]
async fn a_stuck_endpoint_costs_a_deadline() {
    // Scenario: the endpoint takes the connection and says nothing. Guarantees: all who wait hear of it at the
    // deadline, together, with the name of the one who said nothing.
    let keys = Mock::new(|_, _| Answer::never()).await;
    let service = service().await;
    let client = client(Service::LOGS, &keys, &service);
    let begun = Instant::now();
    let answers = at_once(&client, 10).await;
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(4) && took < Duration::from_secs(8),
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
