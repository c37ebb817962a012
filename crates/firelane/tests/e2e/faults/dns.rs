//! Names that cannot be resolved, for a while or for good.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use firelane_testkit::{Act, Destination, RouterBuilder, free_port, until};

use super::{SERVICE, http_output, left_out, monitor, send, stop_after_all, unix_input, with_mount};
use crate::{PATIENCE, numbers, router};

const RECORDS: u64 = 100;

/// Scenario: a name that does not exist, as long as the router lives.
/// Guarantees: records are kept and tried again; at the end they are counted as left, and the exit code says
/// so.
#[test]
fn a_name_that_never_resolves() {
    let admin = free_port();
    let output = http_output(1, "    net.connect_timeout 1s\n").replace("127.0.0.1", "logs.firelane.invalid");
    let service = SERVICE.replace("Grace 10", "Grace 1") + &monitor(admin);
    let router = router().start(&format!("[SERVICE]\n{service}{}{output}", unix_input("")));
    send(&router, "a", RECORDS, 10, Duration::ZERO);
    until("two tries", PATIENCE, || {
        (router.metric(admin, "fluentbit_output_retries_total", "http.0") >= 2.0).then_some(())
    });
    let ended = router.stop();
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    let ledgers = ended.ledgers();
    assert_eq!(ledgers.ingest.get("appended"), RECORDS);
    assert_eq!(ledgers.output("http.0").get("buffered"), RECORDS, "{ledgers:?}");
    assert!(ended.stderr.contains("logs.firelane.invalid"), "{}", ended.stderr);
}

/// No answer to speak of: the server has failed.
const SERVFAIL: u8 = 2;
/// There is no such name.
const NXDOMAIN: u8 = 3;
/// The name is 127.0.0.1.
const NOERROR: u8 = 0;

/// A name server on `127.53.0.1` that answers all questions with `code`; `Err` says why there is none.
fn name_server(code: Arc<AtomicU8>) -> Result<(), String> {
    let socket = UdpSocket::bind("127.53.0.1:53").map_err(|error| format!("port 53: {error}"))?;
    thread::spawn(move || {
        let mut query = [0; 1500];
        // Ends with the tests.
        while let Ok((n, peer)) = socket.recv_from(&mut query) {
            if let Some(reply) = reply(&query[..n], code.load(Ordering::Relaxed)) {
                let _ = socket.send_to(&reply, peer);
            }
        }
    });
    Ok(())
}

fn reply(query: &[u8], code: u8) -> Option<Vec<u8>> {
    let labels = query.get(12..)?.iter().position(|&byte| byte == 0)?;
    let question = query.get(12..12 + labels + 5)?;
    let is_v4 = question[labels + 1..labels + 3] == [0, 1];
    let answers = u8::from(is_v4 && code == NOERROR);
    let mut out = query[..2].to_vec();
    out.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
    out.extend(question);
    if answers > 0 {
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some(out)
}

/// Lets the router see a `/etc/resolv.conf` of its own.
fn with_resolv_conf(builder: RouterBuilder) -> Result<RouterBuilder, String> {
    let script = "mount --bind resolv.conf /etc/resolv.conf && exec \"$@\"";
    let builder = builder.file("resolv.conf", "nameserver 127.53.0.1\n");
    with_mount(builder, script)
}

/// Scenario: the name server fails, then does not know the name, then does: the router came up before its
/// neighbour.
/// Guarantees: 0 lost, 0 twice, without a restart.
#[test]
fn a_name_that_resolves_later() {
    let destination = Destination::start(|_| Act::Accept);
    let code = Arc::new(AtomicU8::new(SERVFAIL));
    let prepared = name_server(code.clone()).and_then(|()| with_resolv_conf(router()));
    let builder = match prepared {
        Ok(builder) => builder,
        Err(why) => return left_out("a name server that fails", &why),
    };
    let admin = free_port();
    let output = http_output(destination.port(), "").replace("127.0.0.1", "logs.firelane.test");
    let service = format!("{SERVICE}{}", monitor(admin));
    let router = builder.start(&format!("[SERVICE]\n{service}{}{output}", unix_input("")));
    let retries = || router.metric(admin, "fluentbit_output_retries_total", "http.0");
    send(&router, "a", RECORDS, 10, Duration::ZERO);
    until("a try", PATIENCE, || (retries() >= 1.0).then_some(()));
    code.store(NXDOMAIN, Ordering::Relaxed);
    let before = retries();
    until("another try", PATIENCE, || (retries() > before).then_some(()));
    code.store(NOERROR, Ordering::Relaxed);
    destination.wait_for(RECORDS, PATIENCE);
    stop_after_all(router, &destination, RECORDS);
    destination.assert_once(numbers("a", RECORDS));
}
