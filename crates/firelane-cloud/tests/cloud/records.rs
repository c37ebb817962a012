//! Events and records: what came is what is read, whoever sends at once.

use std::collections::BTreeSet;

use firelane_cloud::view::{Kind, Position, Wanted};
use firelane_cloud::{Created, Missing, Options};
use serde_json::json;

use crate::client::call;
use crate::{now_ms, start};

/// Scenario: many clients put into few streams at once, with small and large requests. Guarantees: every
/// event is read once, by the library, by pages and by a search.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_once() {
    let endpoint = start(Options {
        missing: Missing::Create,
        ..Options::default()
    })
    .await;
    let (address, now) = (endpoint.address(), now_ms());
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..8 {
        tasks.spawn(async move {
            for round in 0..10 {
                let count = if round % 5 == 4 { 600 } else { 3 };
                let events: Vec<_> = (0..count)
                    .map(|n| {
                        let message = format!("{client}-{round}-{n} {}", "x".repeat(n % 700));
                        json!({"timestamp": now + n as i64, "message": message})
                    })
                    .collect();
                let stream = format!("s{}", client % 3);
                let body = json!({"logGroupName": "g", "logStreamName": stream, "logEvents": events});
                let answer = call(address, "Logs_20140328.PutLogEvents", &body).await.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert!(answer.head.contains("x-amzn-requestid: "), "{}", answer.head);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let total = 8 * (8 * 3 + 2 * 600);
    let mut seen = BTreeSet::new();
    for stream in ["s0", "s1", "s2"] {
        let events = endpoint.cloud().log_events("g", stream).await.unwrap();
        assert!(events.is_sorted_by_key(|event| event.time_ms));
        seen.extend(events.into_iter().map(|event| event.message));
    }
    assert_eq!(seen.len(), total);
    let mut paged = BTreeSet::new();
    let mut body = json!({"logGroupName": "g", "limit": 777});
    loop {
        let answer = call(address, "Logs_20140328.FilterLogEvents", &body)
            .await
            .unwrap()
            .json();
        for event in answer["events"].as_array().unwrap() {
            assert!(
                paged.insert(event["message"].as_str().unwrap().to_owned()),
                "twice: {event}"
            );
        }
        match answer.get("nextToken") {
            Some(token) => body["nextToken"] = token.clone(),
            None => break,
        }
    }
    assert_eq!(paged, seen);
    let created: BTreeSet<_> = endpoint
        .cloud()
        .created()
        .into_iter()
        .map(|made| made.name)
        .collect();
    let want = ["g", "g:s0", "g:s1", "g:s2"].map(String::from);
    assert_eq!(created, BTreeSet::from(want));
    endpoint.stop().await.unwrap();
}

/// Guarantees: what is missing is refused in AWS's words, or made and listed; secrets never are.
#[tokio::test]
async fn what_is_missing() {
    let put = json!({"StreamName": "k", "Records": [{"Data": "eA==", "PartitionKey": "p"}]});
    let refusing = start(Options::default()).await;
    let answer = call(refusing.address(), "Kinesis_20131202.PutRecords", &put)
        .await
        .unwrap();
    assert_eq!(
        (answer.status, &*answer.code()),
        (400, "ResourceNotFoundException")
    );
    assert!(
        answer
            .head
            .contains("x-amzn-errortype: resourcenotfoundexception")
    );
    assert_eq!(
        answer.json()["message"],
        "Stream k under account 123456789012 not found."
    );
    let creating = start(Options {
        missing: Missing::Create,
        ..Options::default()
    })
    .await;
    let answer = call(creating.address(), "Kinesis_20131202.PutRecords", &put)
        .await
        .unwrap();
    assert_eq!(answer.json()["FailedRecordCount"], 0);
    let made = Created {
        kind: "data stream",
        name: "k".into(),
    };
    assert_eq!(creating.cloud().created(), [made]);
    assert_eq!(creating.cloud().kinesis_records("k").await.unwrap(), [b"x"]);
    let secret = json!({"SecretId": "s"});
    let answer = call(creating.address(), "secretsmanager.GetSecretValue", &secret)
        .await
        .unwrap();
    assert_eq!(answer.code(), "ResourceNotFoundException");
}

/// Guarantees: what the library seeds, the APIs give.
#[tokio::test]
async fn seeds_are_seen() {
    let endpoint = start(Options::default()).await;
    let arn = endpoint.cloud().put_secret("app/key", "v1").await;
    assert_eq!(endpoint.cloud().put_secret("app/key", "v2").await, arn);
    endpoint.cloud().put_parameter("/a/b", "w", true).await;
    endpoint
        .cloud()
        .put_object("config", "x/extra.conf", b"[FILTER]\n")
        .await
        .unwrap();
    endpoint.cloud().make_log_group("g", Some("s")).await;
    endpoint.cloud().make_delivery_stream("d").await;
    endpoint.cloud().make_data_stream("k", 3).await;
    let names: Vec<_> = endpoint
        .cloud()
        .list()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(names, ["g", "d", "k", "k", "k", "config"]);
    let address = endpoint.address();
    let secret = call(
        address,
        "secretsmanager.GetSecretValue",
        &json!({"SecretId": arn}),
    )
    .await
    .unwrap();
    assert_eq!(secret.json()["SecretString"], "v2");
    let names = json!({"Names": ["/a/b"], "WithDecryption": true});
    let parameters = call(address, "AmazonSSM.GetParameters", &names).await.unwrap();
    assert_eq!(parameters.json()["Parameters"][0]["Value"], "w");
    let object = crate::client::s3(address, "GET", "/config/x/extra.conf", "", b"").await;
    assert_eq!(object.body, b"[FILTER]\n");
    let put = json!({"DeliveryStreamName": "d", "Record": {"Data": "eA=="}});
    let answer = call(address, "Firehose_20150804.PutRecord", &put).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let wanted = Wanted {
        kind: Kind::DeliveryStream,
        name: "d".into(),
        stream: None,
        grep: None,
        since_ms: None,
    };
    let page = endpoint.cloud().page(&wanted, Position::default()).await.unwrap();
    assert_eq!(
        page.lines
            .iter()
            .map(|line| line.text.as_str())
            .collect::<Vec<_>>(),
        ["x"]
    );
}
