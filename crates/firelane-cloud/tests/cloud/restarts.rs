//! What is on disk: after a stop, after a cut, for a reader beside a running endpoint.

use std::path::Path;
use std::time::Duration;

use firelane_cloud::view::{Kind, Local, Position, Remote, Wanted};
use firelane_cloud::{Endpoint, Missing, Options, StartError};
use serde_json::json;

use crate::client::{PATIENCE, call, s3};
use crate::{now_ms, start};

fn options(folder: &Path) -> Options {
    Options {
        data: Some(folder.to_path_buf()),
        missing: Missing::Create,
        ..Options::default()
    }
}

async fn put(endpoint: &Endpoint, stream: &str, messages: &[String]) {
    let now = now_ms();
    let events: Vec<_> = messages
        .iter()
        .map(|message| json!({"timestamp": now, "message": message}))
        .collect();
    let body = json!({"logGroupName": "g", "logStreamName": stream, "logEvents": events});
    let answer = call(endpoint.address(), "Logs_20140328.PutLogEvents", &body)
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn messages(endpoint: &Endpoint, stream: &str) -> Vec<String> {
    let events = endpoint.cloud().log_events("g", stream).await.unwrap();
    events.into_iter().map(|event| event.message).collect()
}

fn wanted(grep: Option<&str>) -> Wanted {
    Wanted {
        kind: Kind::LogGroup,
        name: "g".into(),
        stream: None,
        grep: grep.map(str::to_owned),
        since_ms: None,
    }
}

/// Guarantees: a second run has what the first took and goes on behind it; one folder has one writer; a
/// folder that was not named goes with the endpoint.
#[tokio::test]
async fn a_second_run_has_it_all() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(options(folder.path())).await;
    let long: Vec<_> = (0..400).map(|n| format!("{n} {}", "y".repeat(2000))).collect();
    put(&first, "s", &long).await;
    s3(first.address(), "PUT", "/bucket/key", "", b"object").await;
    let locked = Endpoint::start("127.0.0.1:0", options(folder.path()))
        .await
        .unwrap_err();
    assert!(
        matches!(&locked, StartError::Open(_)) && locked.to_string().contains("another endpoint"),
        "{locked}"
    );
    first.stop().await.unwrap();
    let second = start(options(folder.path())).await;
    assert_eq!(messages(&second, "s").await, long);
    assert_eq!(
        second.cloud().object("bucket", "key").await.unwrap().unwrap(),
        b"object"
    );
    put(&second, "s", &["behind".into()]).await;
    second.stop().await.unwrap();
    let third = start(options(folder.path())).await;
    assert_eq!(messages(&third, "s").await.len(), 401);
    let temporary = start(Options::default()).await;
    let path = temporary.cloud().folder().to_path_buf();
    assert!(path.is_dir());
    temporary.stop().await.unwrap();
    let gone = async {
        while path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

/// Scenario: bytes behind the last frame that the index knows, as a process leaves them that died while it
/// wrote, and files of objects that nobody refers to. Guarantees: they are cut off and removed; the rest is
/// there.
#[tokio::test]
async fn torn_tails_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(options(folder.path())).await;
    put(&first, "s", &["whole".into()]).await;
    first.stop().await.unwrap();
    let segment = folder.path().join("segments/00000001.seg");
    let whole = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, [&whole[..], b"FLAW torn"].concat()).unwrap();
    std::fs::write(folder.path().join("objects/000000000099"), b"orphan").unwrap();
    let second = start(options(folder.path())).await;
    assert_eq!(messages(&second, "s").await, ["whole"]);
    assert_eq!(std::fs::read(&segment).unwrap(), whole);
    assert!(!folder.path().join("objects/000000000099").exists());
    put(&second, "s", &["more".into()]).await;
    second.stop().await.unwrap();
    // A damaged frame is an error that is told, not a wrong answer.
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(&segment, damaged).unwrap();
    let third = start(options(folder.path())).await;
    let error = third.cloud().log_events("g", "s").await.unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
}

/// Scenario: a reader beside the endpoint and one at its address follow a group while it is written.
/// Guarantees: both see every event once; a search gives what has the text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_follow() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = start(options(folder.path())).await;
    let remote = Remote::new(&endpoint.url()).unwrap();
    let local = Local::new(folder.path());
    let (mut from_remote, mut from_local) = (Vec::new(), Vec::new());
    let (mut at_remote, mut at_local) = (Position::default(), Position::default());
    let mut sent = 0;
    for round in 0..6 {
        let batch: Vec<_> = (0..50).map(|n| format!("round {round} event {n}")).collect();
        put(&endpoint, if round % 2 == 0 { "even" } else { "odd" }, &batch).await;
        sent += batch.len();
        let begin = std::time::Instant::now();
        while from_remote.len() < sent || from_local.len() < sent {
            let page = remote.page(&wanted(None), at_remote).await.unwrap();
            from_remote.extend(page.lines.into_iter().map(|line| line.text));
            at_remote = page.position;
            // The folder is written a moment later.
            if let Ok(page) = local.page(&wanted(None), at_local.clone()) {
                from_local.extend(page.lines.into_iter().map(|line| line.text));
                at_local = page.position;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "{} and {} of {sent}",
                from_remote.len(),
                from_local.len()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for mut seen in [from_remote, from_local] {
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), sent);
    }
    let found = remote
        .page(&wanted(Some("3 event 7")), Position::default())
        .await
        .unwrap();
    let texts: Vec<_> = found.lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["round 3 event 7"]);
    let listed = remote.list().await.unwrap();
    assert_eq!(listed.iter().map(|entry| entry.count).sum::<u64>(), sent as u64);
}
