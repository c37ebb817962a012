//! Hostile clients: each harms only itself, and is counted.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use firelane_testkit::forward::{Value, message, numbered, record};
use firelane_testkit::{Forward, Router, Sink, free_port, until};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::{PATIENCE, numbers, router};

/// Records of the honest client beside the hostile one.
const RECORDS: u64 = 2000;
/// What the router may hold at its highest while it is attacked: it starts below 16 MiB.
const MEMORY_MAX: u64 = 64 << 20;

struct Scene {
    router: Router,
    sink: Sink,
    port: u16,
    admin: u16,
}

fn scene() -> Scene {
    let (sink, port, admin) = (Sink::start(), free_port(), free_port());
    let service = format!(
        "    Flush 0.2\n    Grace 5\n    HTTP_Server On\n    HTTP_Listen 127.0.0.1\n    HTTP_Port {admin}\n"
    );
    let input = format!("    Name forward\n    Listen 127.0.0.1\n    Port {port}\n");
    let output = format!(
        "    Name http\n    Match *\n    Host 127.0.0.1\n    Port {}\n    Format json_lines\n",
        sink.port()
    );
    let router = router().start(&format!("[SERVICE]\n{service}[INPUT]\n{input}[OUTPUT]\n{output}"));
    Scene {
        router,
        sink,
        port,
        admin,
    }
}

impl Scene {
    /// Lets `attack` go while an honest client sends; `faults` is what must be counted at least.
    #[track_caller]
    fn check(self, faults: u64, attack: impl FnOnce(u16) + Send) {
        let port = self.port;
        thread::scope(|scope| {
            let attacker = scope.spawn(move || attack(port));
            let mut honest = Forward::tcp(port).unwrap();
            for sequence in numbers("honest", RECORDS) {
                honest
                    .send(&message("app", numbered(&sequence, 100)), PATIENCE)
                    .unwrap();
            }
            attacker.join().expect("the attack itself");
        });
        self.sink.wait_for(RECORDS, PATIENCE);
        self.sink.assert_once(numbers("honest", RECORDS));
        let mut counted = 0.0;
        until("the faults are counted", PATIENCE, || {
            counted = self
                .router
                .metric(self.admin, "firelane_input_faults_total", "forward.0");
            (counted >= faults as f64).then_some(())
        });
        let (_, peak) = self.router.memory();
        assert!(
            peak < MEMORY_MAX,
            "the router held {} MiB at its highest",
            peak >> 20
        );
        let ended = self.router.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let ledgers = ended.ledgers();
        assert_eq!(ledgers.output("http.0").get("delivered"), RECORDS);
    }
}

#[track_caller]
fn assert_closed(client: &mut Forward) {
    assert!(
        client.is_closed_within(Duration::from_secs(20)),
        "the connection stays open"
    );
}

#[test]
fn garbage_ends_that_connection() {
    let attacks: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xc1],
        &[0xff; 4096],
        &[0x81, 0xa1, b'a', 0x01],
    ];
    scene().check(4, move |port| {
        for bytes in attacks {
            let mut client = Forward::tcp(port).unwrap();
            // The router may close before all is written.
            let _ = client.send(bytes, PATIENCE);
            assert_closed(&mut client);
        }
    });
}

#[test]
fn half_a_message_is_counted() {
    scene().check(1, |port| {
        let bytes = message("app", record(&[("seq", "half"), ("log", "never whole")]));
        let mut client = Forward::tcp(port).unwrap();
        client.send(&bytes[..bytes.len() / 2], PATIENCE).unwrap();
        client.finish();
        assert_closed(&mut client);
    });
}

/// Scenario: lengths of 1 GiB announced for the payload, a string of a record, an array of entries and a map.
#[test]
fn an_announced_gibibyte_is_not_believed() {
    const GIB: [u8; 4] = [0x40, 0, 0, 0];
    let time = Value::Time(1_700_000_000, 0).bytes();
    let heads: [Vec<u8>; 4] = [
        [&[0x92, 0xa1, b't', 0xc6][..], &GIB].concat(),
        [&[0x93, 0xa1, b't'], &time[..], &[0x81, 0xa1, b'k', 0xdb], &GIB].concat(),
        [&[0x92, 0xa1, b't', 0xdd][..], &GIB].concat(),
        [&[0x93, 0xa1, b't'], &time[..], &[0xdf], &GIB].concat(),
    ];
    scene().check(4, move |port| {
        for head in heads {
            let mut client = Forward::tcp(port).unwrap();
            client.send(&head, PATIENCE).unwrap();
            // Those that are believed at first must run into the limit of a message, 6 144 000 bytes; a
            // router that took 13 MB would wait for the rest. The writes may succeed: sockets hold a lot.
            let block = vec![0xc0; 1 << 16];
            let _ = (0..200).try_for_each(|_| client.send(&block, PATIENCE));
            assert_closed(&mut client);
        }
    });
}

fn compressed(payload: Vec<u8>, name: &str) -> Vec<u8> {
    let options = record(&[("compressed", name)]);
    Value::Array(vec!["app".into(), Value::Bin(payload), options]).bytes()
}

/// Scenario: gzip of 1 GiB of zeros in one megabyte, as 64 members, and zstd of 1 GiB in one frame.
#[test]
fn zip_bombs_are_not_blown_up() {
    let zeros = vec![0; 16 << 20];
    let mut member = GzEncoder::new(Vec::new(), Compression::best());
    member.write_all(&zeros).unwrap();
    let gzip = member.finish().unwrap().repeat(64);
    let mut frame = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    for _ in 0..64 {
        frame.write_all(&zeros).unwrap();
    }
    let bombs = [
        compressed(gzip, "gzip"),
        compressed(frame.finish().unwrap(), "zstd"),
    ];
    drop(zeros);
    scene().check(2, move |port| {
        for bomb in bombs {
            assert!(bomb.len() < 2 << 20, "the bomb has {} bytes", bomb.len());
            let mut client = Forward::tcp(port).unwrap();
            // The router may close before all is written.
            let _ = client.send(&bomb, PATIENCE);
            assert_closed(&mut client);
        }
    });
}

/// Scenario: 200 clients that begin a message, send a byte now and then, and never end it.
#[test]
fn slow_clients_hold_up_nobody() {
    let bytes = message("app", record(&[("seq", "slow"), ("log", "never whole")]));
    scene().check(0, move |port| {
        let mut clients: Vec<Forward> = (0..200).map(|_| Forward::tcp(port).unwrap()).collect();
        for byte in bytes.iter().take(10) {
            for client in &mut clients {
                client.send(&[*byte], PATIENCE).unwrap();
            }
        }
    });
}

/// Scenario: connections that never say a word, as health checks do, stay uncounted.
#[test]
fn health_checks_are_no_faults() {
    let scene = scene();
    for _ in 0..50 {
        drop(Forward::tcp(scene.port).unwrap());
    }
    let mut client = Forward::tcp(scene.port).unwrap();
    client
        .send(&message("app", numbered("one", 10)), PATIENCE)
        .unwrap();
    scene.sink.wait_for(1, PATIENCE);
    assert_eq!(
        scene
            .router
            .metric(scene.admin, "firelane_input_faults_total", "forward.0"),
        0.0
    );
    let ended = scene.router.stop();
    ended.ledgers().all_delivered("http.0", 1);
    assert!(!ended.stderr.contains("[error]"), "{}", ended.stderr);
}
