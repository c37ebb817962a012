//! Output `s3` against a model of S3: objects are whole, every record stands in one of them once, whatever
//! fails and whoever is killed; memory and disk are bounded.

mod pressure;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use firelane_testkit::forward::{message, numbered, record};
use firelane_testkit::{AckClient, Fault, Forward, Op, Router, RouterBuilder, S3, until};

use crate::faults::{Dice, soak};
use crate::{PATIENCE, binary, numbers};

const SERVICE: &str = "    Flush 0.1\n    Grace 20\n    scheduler.base 1\n    scheduler.cap 2\n";
/// About 6 MB of lines.
const PART: u64 = 5_500;
const PAD: usize = 1_000;

fn input(more: &str) -> String {
    format!("[INPUT]\n    Name forward\n    unix_path {{dir}}/in.sock\n{more}")
}

fn output(s3: &S3, more: &str) -> String {
    let port = s3.port();
    format!(
        "[OUTPUT]\n    Name s3\n    Match *\n    Region eu-west-1\n    Bucket logs\n    Endpoint http://127.0.0.1:{port}\n    \
         Store_Dir {{dir}}/s3\n{more}"
    )
}

fn conf(s3: &S3, service: &str, more: &str) -> String {
    format!("[SERVICE]\n{SERVICE}{service}{}{}", input(""), output(s3, more))
}

fn builder() -> RouterBuilder {
    credentials(RouterBuilder::new(binary()))
}

fn credentials(builder: RouterBuilder) -> RouterBuilder {
    builder
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_EC2_METADATA_DISABLED", "true")
}

/// Sends records `from..to` under the tag `name`, over a connection that must never break.
#[track_caller]
fn send(router: &Router, name: &str, from: u64, to: u64) {
    let mut client = Forward::unix(&router.path("in.sock")).unwrap();
    let records: Vec<_> = numbers(name, to).skip(from as usize).collect();
    for some in records.chunks(50) {
        let bytes: Vec<u8> = some
            .iter()
            .flat_map(|sequence| message(name, numbered(sequence, PAD)))
            .collect();
        let sent = client.send(&bytes, PATIENCE);
        sent.unwrap_or_else(|error| panic!("disconnected: {error}\n{}", router.log()));
    }
}

/// The journals of uploads below `store_dir` of a folder.
fn journals(folder: &Path) -> usize {
    let entries = fs::read_dir(folder.join("s3/logs")).into_iter().flatten();
    let names = entries.flatten().map(|entry| entry.file_name());
    names
        .filter(|name| name.to_string_lossy().ends_with(".journal"))
        .count()
}

#[track_caller]
fn parts_done(s3: &S3, n: usize) {
    until(&format!("{n} parts"), PATIENCE, || {
        let done = s3
            .calls()
            .into_iter()
            .filter(|call| matches!(call.op, Op::Part(_)) && call.status.is_some_and(|status| status == 200));
        (done.count() >= n).then_some(())
    });
}

/// Guarantees: an object has the size that was asked for, parts that S3 takes, the key of its first record;
/// what is left at the end is there too.
#[test]
fn objects_are_made_of_parts() {
    let s3 = S3::start();
    let more = "    total_file_size 11M\n    s3_key_format /a/$TAG/%Y\n    storage_class STANDARD_IA\n    sse aws:kms\n    \
                sse_kms_key_id key-1\n    send_content_md5 on\n";
    let router = builder().start(&conf(&s3, "", more));
    send(&router, "app", 0, 5 * PART);
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.ledgers().all_delivered("s3.0", 5 * PART);
    s3.assert_once(numbers("app", 5 * PART));
    let objects = s3.objects();
    assert_eq!((s3.unfinished(), s3.replaced()), (vec![], vec![]));
    let first = &objects["logs/a/app/2023"];
    assert_eq!(
        (first.parts, first.sequences.first()),
        (2, numbers("app", 1).next().as_ref())
    );
    assert!(
        (11_000_000..17_000_000).contains(&first.length),
        "{}",
        first.length
    );
    assert_eq!(first.headers["x-amz-storage-class"], "STANDARD_IA");
    assert_eq!(first.headers["x-amz-server-side-encryption"], "aws:kms");
    assert_eq!(
        first.headers["x-amz-server-side-encryption-aws-kms-key-id"],
        "key-1"
    );
    for (path, object) in objects.iter().filter(|(path, _)| *path != "logs/a/app/2023") {
        // The same second, another object.
        assert!(path.starts_with("logs/a/app/2023-object"), "{path}");
        let order: Vec<_> = object.sequences.clone();
        assert!(order.is_sorted(), "{path} is out of order");
    }
    let calls = s3.calls();
    let mut parts = calls.iter().filter(|call| matches!(call.op, Op::Part(_)));
    assert!(parts.all(|call| call.headers.contains_key("content-md5")));
    assert_eq!(
        journals(ended.into_folder().path()),
        0,
        "nothing is left to finish"
    );
}

/// Guarantees: an object whose parts were compressed one by one is one gzip stream of lines for any reader.
#[test]
fn a_compressed_object_is_one_stream() {
    let s3 = S3::start();
    let more = "    compression gzip\n    total_file_size 30M\n    s3_key_format /$TAG.gz\n";
    let router = builder().start(&conf(&s3, "", more));
    let mut client = Forward::unix(&router.path("in.sock")).unwrap();
    let mut seed = 1_u64;
    let mut noise = || -> String {
        let digits = (0..63).map(|_| {
            // Knuth, MMIX: digits that gzip can halve and no more.
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            format!("{seed:016x}")
        });
        digits.collect()
    };
    const RECORDS: u64 = 26_000;
    for sequence in numbers("app", RECORDS) {
        let record = record(&[("seq", &sequence), ("log", &noise())]);
        client.send(&message("app", record), PATIENCE).unwrap();
    }
    parts_done(&s3, 1);
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.ledgers().all_delivered("s3.0", RECORDS);
    let mut there = BTreeSet::new();
    for (path, object) in s3.objects() {
        assert_eq!(object.headers["content-encoding"], "gzip");
        let mut text = String::new();
        let mut gzip = flate2::read::MultiGzDecoder::new(&object.body[..]);
        gzip.read_to_string(&mut text)
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        for line in text.lines() {
            let (_, rest) = line.split_once("\"seq\":\"").unwrap();
            let fresh = there.insert(rest[..11].to_owned());
            assert!(fresh && line.ends_with("\"}"), "{path}: {line}");
        }
    }
    assert_eq!(there, numbers("app", RECORDS).collect());
    let parts = s3.objects().values().map(|object| object.parts).max();
    assert!(parts >= Some(2), "{parts:?} parts");
}

/// Guarantees: with `format parquet` each chunk is a whole file, and nothing says that it is encoded.
#[cfg(feature = "parquet")]
#[test]
fn parquet_files_are_put_whole() {
    let s3 = S3::start();
    let more = "    use_put_object on\n    format parquet\n    compression zstd\n    total_file_size 40M\n    \
                upload_timeout 1s\n    s3_key_format /$TAG/$INDEX.parquet\n";
    let router = builder().start(&conf(&s3, "", more));
    send(&router, "app", 0, 2 * PART);
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.ledgers().all_delivered("s3.0", 2 * PART);
    let objects = s3.objects();
    assert!(objects.contains_key("logs/app/0.parquet"), "{:?}", objects.keys());
    for (path, object) in objects {
        assert!(path.ends_with(".parquet"), "{path}");
        let body = object.body;
        assert!(body.starts_with(b"PAR1") && body.ends_with(b"PAR1"), "{path}");
        assert_eq!(object.parts, 0, "{path}");
        assert!(!object.headers.contains_key("content-encoding"), "{path}");
    }
}

/// Scenario: a part goes out at once, one more record comes much later.
/// Guarantees: the object is finished `upload_timeout` after its first record, with both.
#[test]
fn the_timeout_counts_from_the_first_record_of_the_object() {
    let s3 = S3::start();
    let more = "    upload_timeout 6s\n    s3_key_format /$TAG/$INDEX\n";
    let router = builder().start(&conf(&s3, "", more));
    let start = Instant::now();
    send(&router, "app", 0, PART);
    parts_done(&s3, 1);
    thread::sleep(Duration::from_secs(5).saturating_sub(start.elapsed()));
    send(&router, "app", PART, PART + 1);
    s3.wait_for(PART as usize + 1, PATIENCE);
    let took = start.elapsed();
    let (early, late) = (Duration::from_millis(5900), Duration::from_secs(10));
    assert!(took > early && took < late, "finished after {took:?}");
    let objects = s3.objects();
    assert_eq!(objects["logs/app/0"].parts, 2);
    // A quiet tag is not forgotten either.
    send(&router, "quiet", 0, 1);
    s3.wait_for(PART as usize + 2, PATIENCE);
    assert_eq!(s3.objects()["logs/quiet/1"].parts, 0);
    router.stop().ledgers().all_delivered("s3.0", PART + 2);
}

/// Scenario: SIGKILL while the third part of an object is under way, and the fourth waits.
/// Guarantees: the next start finishes the object with the parts that S3 had, and delivers the rest; every
/// record stands in one object once.
#[test]
fn a_kill_in_the_middle_of_an_upload_costs_nothing() {
    let s3 = S3::start();
    s3.script(|call, _| match call.op {
        Op::Part(n) if n >= 3 => Fault::Hang,
        _ => Fault::None,
    });
    let service = "    storage.path {dir}/log\n";
    let input = input("    storage.type filesystem\n");
    let conf = format!("[SERVICE]\n{SERVICE}{service}{input}{}", output(&s3, ""));
    let router = builder().start(&conf);
    let client = AckClient {
        socket: router.path("in.sock"),
        name: "app".into(),
        records: 100,
        pad: PAD,
        pause: Duration::ZERO,
    };
    let acked = client.run(|acked| acked >= 4 * PART);
    until("the third part", PATIENCE, || {
        s3.calls().iter().any(|call| call.op == Op::Part(3)).then_some(())
    });
    // More than a commit interval: what was parked is known to the log too.
    thread::sleep(Duration::from_millis(500));
    let (log, folder) = router.kill();
    assert_eq!(s3.records(), 0, "{log}");
    assert_eq!(s3.unfinished().len(), 1);
    s3.script(|_, _| Fault::None);
    let before = s3.calls().len();
    let router = credentials(RouterBuilder::in_folder(binary(), folder)).start(&conf);
    until("the object is finished", PATIENCE, || {
        (s3.records() > 0).then_some(())
    });
    let calls = s3.calls();
    assert_eq!(
        calls[before..]
            .iter()
            .filter(|call| call.op == Op::Complete)
            .count(),
        1
    );
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ledgers = ended.ledgers();
    // Of a run that was cut between two parts all records are read back, those that are settled too.
    let recovered = ledgers.ingest.get("recovered");
    let most = acked.records + 300;
    assert!((acked.records..most).contains(&recovered), "{}", ended.stderr);
    assert_eq!(ledgers.output("s3.0").get("delivered"), acked.records);
    s3.assert_once(numbers("app", acked.records));
    let objects: Vec<_> = s3.objects().into_values().collect();
    assert!(objects.iter().any(|object| object.parts == 2));
    assert_eq!(s3.unfinished(), []);
    assert_eq!(journals(ended.into_folder().path()), 0);
}

/// Scenario: SIGKILL at random moments after the first request, some times in a row, under clients that want
/// acks and an S3 that is slow and refuses every ninth request.
/// Guarantees: what was acknowledged is there. What is there twice was under way, sent twice by its client,
/// or answered within the last commit interval before a kill: far less than what was sent.
#[test]
fn kills_at_any_moment_lose_nothing() {
    let times = if soak() { 40 } else { 5 };
    let s3 = S3::start();
    s3.script(|_, before| match before % 9 {
        5 => Fault::Refuse(503, "SlowDown"),
        _ => Fault::After(Duration::from_millis(30)),
    });
    let service = "    storage.path {dir}/log\n";
    let input = input("    storage.type filesystem\n");
    let more = "    total_file_size 15M\n    upload_timeout 3s\n    s3_key_format /$TAG/%Y\n";
    let conf = format!("[SERVICE]\n{SERVICE}{service}{input}{}", output(&s3, more));
    let mut folder = tempfile::tempdir().unwrap();
    let over = AtomicBool::new(false);
    let clients = ["a", "b"].map(|name| AckClient {
        socket: folder.path().join("in.sock"),
        name: name.into(),
        records: 100,
        pad: PAD,
        pause: Duration::from_millis(20),
    });
    let (router, acked) = thread::scope(|scope| {
        let over = &over;
        let threads = clients
            .each_ref()
            .map(|client| scope.spawn(move || client.run(|_| over.load(Ordering::Relaxed))));
        let mut dice = Dice::new();
        for _ in 0..times {
            let router = credentials(RouterBuilder::in_folder(binary(), folder)).start(&conf);
            // A life in which nothing is sent shows nothing.
            let before = s3.calls().len();
            until("something is sent", PATIENCE, || {
                (s3.calls().len() > before).then_some(())
            });
            thread::sleep(Duration::from_millis(dice.below(2000)));
            let (log, left) = router.kill();
            eprintln!("{log}");
            folder = left;
        }
        let router = credentials(RouterBuilder::in_folder(binary(), folder)).start(&conf);
        over.store(true, Ordering::Relaxed);
        let acked = threads.map(|thread| thread.join().expect("a client"));
        (router, acked)
    });
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ledgers = ended.ledgers();
    let output = ledgers.output("s3.0");
    assert_eq!(
        (output.get("dropped"), output.get("buffered")),
        (0, 0),
        "{}",
        ended.stderr
    );
    let sent = ["a", "b"].iter().zip(&acked);
    let repeated = s3.assert_none_lost(sent.flat_map(|(name, acked)| numbers(name, acked.records)));
    let all: u64 = acked.iter().map(|acked| acked.records).sum();
    eprintln!("{} of {all} records are there more than once", repeated.len());
    assert!(s3.count(&Op::Part(0)) > 0, "no part was sent");
    // One that S3 has just begun, and nobody knows its id, stays: it has no parts.
    let unfinished = s3.unfinished();
    assert!(unfinished.iter().all(|(_, parts)| *parts == 0), "{unfinished:?}");
    assert_eq!(s3.replaced(), [""; 0]);
    assert_eq!(journals(ended.into_folder().path()), 0);
}

/// Scenario: S3 takes parts and completes nothing until the router has ended; the next one finds it well.
/// Guarantees: what is parked is neither delivered nor lost, and the ledgers say so.
#[test]
fn an_upload_that_cannot_be_finished_waits_for_the_next_start() {
    let s3 = S3::start();
    s3.script(|call, _| match call.op {
        Op::Complete => Fault::Refuse(503, "SlowDown"),
        _ => Fault::None,
    });
    let short = conf(&s3, "", "").replace("Grace 20", "Grace 2");
    let router = builder().start(&short);
    send(&router, "app", 0, PART);
    parts_done(&s3, 1);
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ledgers = ended.ledgers();
    let first = ledgers.output("s3.0");
    let parked = first.get("parked");
    assert!(parked > PART / 2, "{}", ended.stderr);
    assert_eq!(first.get("delivered") + parked, PART);
    s3.script(|_, _| Fault::None);
    let folder = ended.into_folder();
    let router = credentials(RouterBuilder::in_folder(binary(), folder)).start(&short);
    s3.wait_for(PART as usize, PATIENCE);
    let ledgers = router.stop().ledgers();
    assert_eq!(ledgers.ingest.get("recovered"), parked);
    assert_eq!(ledgers.output("s3.0").get("delivered"), parked);
    s3.assert_once(numbers("app", PART));
}

/// Scenario: a rule of the bucket throws an unfinished upload away.
/// Guarantees: its records are counted as lost and named; all others are delivered.
#[test]
fn an_upload_that_is_gone_is_named() {
    let s3 = S3::start();
    let router = builder().start(&conf(&s3, "", ""));
    send(&router, "app", 0, PART);
    parts_done(&s3, 1);
    s3.forget_uploads();
    send(&router, "app", PART, 3 * PART);
    let ended = router.stop();
    let ledgers = ended.ledgers();
    let output = ledgers.output("s3.0");
    let lost = output.get("dropped.upload_lost");
    assert!(lost > PART / 2 && lost <= PART, "{}", ended.stderr);
    assert_eq!(output.get("delivered") + lost, 3 * PART);
    assert_eq!(s3.records() as u64, 3 * PART - lost);
    for word in ["NoSuchUpload", "upload_lost"] {
        assert!(ended.stderr.contains(word), "{}", ended.stderr);
    }
    assert_eq!(ended.code, Some(75), "records were lost");
}

/// Scenario: every call fails in each way once before it works: throttled, refused for a time, an answer that
/// is lost, a failure behind a status of 200.
/// Guarantees: nothing is lost and nothing stands there twice.
#[test]
fn faults_of_every_call_cost_nothing() {
    let s3 = S3::start();
    s3.script(|call, before| match (&call.op, before) {
        (Op::Create, 0) => Fault::Refuse(403, "AccessDenied"),
        (Op::Put | Op::Part(_), 0) => Fault::Refuse(503, "SlowDown"),
        (Op::Put | Op::Part(_), 1) => Fault::Lost,
        (Op::Part(_), 2) => Fault::Refuse(400, "RequestTimeout"),
        (Op::Create, 1) => Fault::Refuse(500, "InternalError"),
        (Op::Complete, 0) => Fault::Late("InternalError"),
        (Op::Complete, 1) => Fault::Refuse(403, "AccessDenied"),
        (Op::Complete, 2) => Fault::Lost,
        _ => Fault::None,
    });
    let router = builder().start(&conf(&s3, "", "    total_file_size 10485760\n"));
    send(&router, "app", 0, 2 * PART);
    send(&router, "small", 0, 10);
    until("the object is complete", PATIENCE, || {
        (s3.count(&Op::Head) > 0).then_some(())
    });
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.ledgers().all_delivered("s3.0", 2 * PART + 10);
    s3.assert_once(numbers("app", 2 * PART).chain(numbers("small", 10)));
    // Sent again after a lost answer, under the same key.
    assert_eq!((s3.unfinished().len(), s3.replaced().len()), (0, 1));
    assert_eq!(s3.count(&Op::Head), 1, "it looked whether the object is complete");
    assert!(ended.stderr.contains("s3:PutObject"), "{}", ended.stderr);
}

/// Scenario: the parts of an upload are refused for good when it is completed.
/// Guarantees: it is aborted, its records are named, and the router goes on.
#[test]
fn an_upload_that_is_refused_is_aborted() {
    let s3 = S3::start();
    s3.script(|call, before| match (&call.op, before) {
        (Op::Complete, 0) => Fault::Refuse(400, "InvalidPart"),
        _ => Fault::None,
    });
    let router = builder().start(&conf(&s3, "", "    total_file_size 10485760\n"));
    send(&router, "app", 0, 2 * PART);
    until("it is aborted", PATIENCE, || {
        (s3.count(&Op::Abort) > 0).then_some(())
    });
    send(&router, "late", 0, 10);
    let ended = router.stop();
    let ledgers = ended.ledgers();
    let lost = ledgers.output("s3.0").get("dropped.upload_lost");
    assert_eq!(s3.records() as u64 + lost, 2 * PART + 10, "{}", ended.stderr);
    assert!(
        lost > 0 && ended.stderr.contains("InvalidPart"),
        "{}",
        ended.stderr
    );
    assert_eq!(s3.unfinished(), []);
}

/// Scenario: a reload changes the output while an upload is open.
/// Guarantees: the old output finishes its object; nothing is lost or repeated.
#[test]
fn a_reload_finishes_what_is_open() {
    let s3 = S3::start();
    let router = builder().start(&conf(&s3, "", ""));
    send(&router, "app", 0, PART);
    parts_done(&s3, 1);
    router.write("router.conf", &conf(&s3, "", "    storage_class GLACIER_IR\n"));
    router.reload();
    s3.wait_for(PART as usize, PATIENCE);
    send(&router, "app", PART, PART + 10);
    let ended = router.stop();
    let ledgers = ended.ledgers();
    assert_eq!(
        ledgers.output("s3.0").get("delivered"),
        PART + 10,
        "{}",
        ended.stderr
    );
    s3.assert_once(numbers("app", PART + 10));
}

/// Guarantees: a folder that cannot be used is named at the start.
#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let s3 = S3::start();
    let text = conf(&s3, "", "").replace("{dir}/s3", "router.conf/s3");
    let ended = builder()
        .file("router.conf", &text)
        .args(&["router", "-c", "router.conf"])
        .run();
    assert_ne!(ended.code, Some(0));
    let said = ["`store_dir` cannot be used", "router.conf/s3", "s3.0"];
    assert!(
        said.iter().all(|word| ended.stderr.contains(word)),
        "{}",
        ended.stderr
    );
}
