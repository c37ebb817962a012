//! Faults: what is done and what is not, and that a seed decides.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use firelane_cloud::{Endpoint, Fault, Faults, Injected, Missing, Options, Service, Share};
use serde_json::json;

use crate::client::{call, s3};
use crate::{now_ms, start};

async fn with(faults: Faults, seed: u64) -> Endpoint {
    start(Options {
        missing: Missing::Create,
        faults,
        seed,
        ..Options::default()
    })
    .await
}

fn put(message: &str) -> serde_json::Value {
    let events = json!([{"timestamp": now_ms(), "message": message}]);
    json!({"logGroupName": "g", "logStreamName": "s", "logEvents": events})
}

/// Guarantees: a lost answer was carried out, an error was not; both are counted.
#[tokio::test]
async fn lost_answers_are_done_and_errors_are_not() {
    let endpoint = with(
        Faults::none().with(Some(Service::Logs), Fault::Lost, Share::ALWAYS),
        1,
    )
    .await;
    let target = "Logs_20140328.PutLogEvents";
    assert!(call(endpoint.address(), target, &put("lost")).await.is_none());
    endpoint
        .cloud()
        .set_faults(Faults::none().with(None, Fault::Error, Share::ALWAYS));
    let failed = call(endpoint.address(), target, &put("failed")).await.unwrap();
    assert_eq!(
        (failed.status, &*failed.code()),
        (500, "ServiceUnavailableException")
    );
    let events = endpoint.cloud().log_events("g", "s").await.unwrap();
    let messages: Vec<_> = events.iter().map(|event| event.message.as_str()).collect();
    assert_eq!(messages, ["lost"]);
    let want = [
        ((Service::Logs, Fault::Error), 1),
        ((Service::Logs, Fault::Lost), 1),
    ];
    assert_eq!(endpoint.cloud().injected(), Injected::from(want));
    // A large body of S3 is read, so that the client sees the answer.
    let refused = s3(endpoint.address(), "PUT", "/bucket/k", "", &vec![0; 3 << 20]).await;
    assert_eq!((refused.status, &*refused.code()), (500, "InternalError"));
}

/// Guarantees: the same seed and the same requests meet the same faults.
#[tokio::test]
async fn a_seed_decides() {
    let faults = Faults::none()
        .with(None, Fault::Throttle, "30%".parse().unwrap())
        .with(None, Fault::Lost, "10%".parse().unwrap());
    let mut runs = Vec::new();
    for seed in [5, 5, 6] {
        let endpoint = with(faults.clone(), seed).await;
        let mut fates = Vec::new();
        for n in 0..40 {
            let answer = call(
                endpoint.address(),
                "Logs_20140328.PutLogEvents",
                &put(&n.to_string()),
            )
            .await;
            fates.push(answer.map(|answer| answer.status));
        }
        runs.push(fates);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    let kinds: BTreeSet<_> = runs[0].iter().collect();
    assert_eq!(kinds.len(), 3, "done, throttled and lost: {kinds:?}");
}

/// Scenario: requests hang while the endpoint is stopped. Guarantees: it stops soon, and they get no answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_requests_do_not_hold_the_end() {
    let endpoint = with(Faults::none().with(None, Fault::Hang, Share::ALWAYS), 0).await;
    let address = endpoint.address();
    let hanging = tokio::spawn(async move {
        call(address, "Logs_20140328.PutLogEvents", &put("x"))
            .await
            .is_none()
    });
    while endpoint.cloud().injected().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begin = Instant::now();
    endpoint.stop().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(hanging.await.unwrap());
}

/// Guarantees: what fails alone has a code and is not stored; what is sent again until nothing fails is
/// there once.
#[tokio::test]
async fn partial_failures_are_not_stored() {
    let endpoint = with(
        Faults::none().with(None, Fault::Partial, "40%".parse().unwrap()),
        3,
    )
    .await;
    let mut left: Vec<_> = (0..200).map(|n| format!("{n:03}")).collect();
    let mut failed = 0;
    while !left.is_empty() {
        let data = |text: &String| base64(text.as_bytes());
        let records: Vec<_> = left.iter().map(|text| json!({"Data": data(text)})).collect();
        let body = json!({"DeliveryStreamName": "d", "Records": records});
        let answer = call(endpoint.address(), "Firehose_20150804.PutRecordBatch", &body)
            .await
            .unwrap()
            .json();
        let fates = answer["RequestResponses"].as_array().unwrap();
        left = left
            .into_iter()
            .zip(fates)
            .filter(|(_, fate)| fate.get("ErrorCode").is_some())
            .map(|(text, _)| text)
            .collect();
        assert_eq!(answer["FailedPutCount"], left.len());
        failed += left.len() as u64;
    }
    let mut stored = endpoint.cloud().firehose_records("d").await.unwrap();
    stored.sort();
    let want: Vec<_> = (0..200).map(|n| format!("{n:03}").into_bytes()).collect();
    assert_eq!(stored, want);
    assert_eq!(
        endpoint.cloud().injected()[&(Service::Firehose, Fault::Partial)],
        failed
    );
}

/// Base64 of three bytes at a time.
fn base64(bytes: &[u8]) -> String {
    const ALL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    assert_eq!(bytes.len() % 3, 0);
    let threes = bytes.chunks(3).flat_map(|three| {
        let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        [18, 12, 6, 0].map(|shift| char::from(ALL[(bits >> shift & 63) as usize]))
    });
    threes.collect()
}
