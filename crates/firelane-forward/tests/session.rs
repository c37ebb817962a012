//! The session against the golden cases, and against itself cut into pieces.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy exempts only the tests themselves"
)]

use std::path::Path;
use std::sync::Arc;

use firelane_forward::auth::digest;
use firelane_forward::{Auth, ServerOptions, Session, SessionError};
use firelane_record::msgpack::{self, Token};
use firelane_record::{Tag, Timestamp};
use proptest::prelude::*;
use serde_json::Value;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

/// What a session gave: (tag, time) of events, acks, and the error's kind.
#[derive(Debug, Default, PartialEq, Clone)]
struct Seen {
    events: Vec<(Tag, Timestamp, Vec<u8>)>,
    acks: Vec<Vec<u8>>,
    error: Option<SessionError>,
}

fn feed(session: &mut Session, bytes: &[u8], seen: &mut Seen) {
    if seen.error.is_some() {
        return;
    }
    session.input().extend_from_slice(bytes);
    loop {
        match session.receive() {
            Ok(Some(run)) => {
                for event in run.records.events() {
                    seen.events
                        .push((run.tag.clone(), event.time, event.body.to_vec()));
                }
                seen.acks.extend(run.acks.iter().map(|ack| ack.to_vec()));
            }
            Ok(None) => return,
            Err(error) => {
                seen.error = Some(error);
                return;
            }
        }
    }
}

fn open() -> Session {
    Session::new(
        Arc::new(ServerOptions {
            message_size_max: 6_144_000,
            auth: None,
        }),
        [0; 32],
    )
}

/// Scenario: the steps of every golden case of a plain TCP connection. Guarantees: as many events, in order,
/// with their times; the acks that are expected; closed where it says closed.
#[test]
fn golden_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/forward");
    let mut played = 0;
    for entry in std::fs::read_dir(&folder).expect("the golden cases lie beside the repository") {
        let path = entry.unwrap().path();
        let case: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if name.starts_with("handshake") || name.starts_with("tcp-") || case.get("unix").is_some() {
            continue;
        }
        play(&name, &case);
        played += 1;
    }
    assert!(played >= 20, "{played} cases");
}

fn play(name: &str, case: &Value) {
    let mut events = Vec::new();
    for connection in case["connections"].as_array().unwrap() {
        let (mut session, mut seen) = (open(), Seen::default());
        for step in connection.as_array().unwrap() {
            if let Some(bytes) = step["send"].as_str() {
                feed(&mut session, &hex(bytes), &mut seen);
            } else if let Some(size) = step["send_each"].as_u64() {
                for piece in hex(step["hex"].as_str().unwrap()).chunks(size as usize) {
                    feed(&mut session, piece, &mut seen);
                }
            } else if let Some(part) = step["send_repeat"].as_str() {
                let mut all = hex(step["prefix"].as_str().unwrap_or_default());
                all.extend(hex(part).repeat(step["times"].as_u64().unwrap() as usize));
                all.extend(hex(step["suffix"].as_str().unwrap_or_default()));
                feed(&mut session, &all, &mut seen);
            } else if let Some(ack) = step["recv"]["ack"].as_str() {
                assert!(!seen.acks.is_empty(), "{name}: an ack is missing");
                assert_eq!(
                    msgpack::text(&seen.acks.remove(0)),
                    Some(ack.as_bytes()),
                    "{name}"
                );
            } else if let Some(state) = step["state"].as_str() {
                assert_eq!(
                    seen.error.is_some(),
                    state == "closed",
                    "{name}: {:?}",
                    seen.error
                );
            }
        }
        assert!(seen.acks.is_empty(), "{name}: an ack too many");
        events.extend(seen.events);
    }
    let ignored: Vec<_> = case["ignore_tags"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|tag| tag.as_str().unwrap())
        .collect();
    let tags_of_sender = case.get("input").is_none();
    let got: Vec<_> = events
        .iter()
        .filter(|(tag, ..)| !ignored.contains(&tag.to_text().as_ref()))
        .map(|(tag, time, _)| (tag.to_text().into_owned(), time.secs, u64::from(time.nanos)))
        .collect();
    let want = case["expect"]["events"].as_array().into_iter().flatten();
    let want: Vec<(String, i64, u64)> = want
        .map(|event| {
            let tag = event[0].as_str().unwrap().to_string();
            (tag, event[1][0].as_i64().unwrap(), event[1][1].as_u64().unwrap())
        })
        .collect();
    assert_eq!(got.len(), want.len(), "{name}");
    for tag in want.iter().map(|(tag, ..)| tag) {
        let of = |all: &[(String, i64, u64)]| {
            let of_tag = all.iter().filter(|(known, ..)| !tags_of_sender || known == tag);
            of_tag.map(|(_, secs, nanos)| (*secs, *nanos)).collect::<Vec<_>>()
        };
        assert_eq!(of(&got), of(&want), "{name}");
    }
}

fn message(tag: &str, secs: i64, text: &[u8], chunk: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    msgpack::write_array_head(&mut out, 4);
    msgpack::write_str(&mut out, tag.as_bytes());
    Timestamp { secs, nanos: 1 }.write(&mut out);
    msgpack::write_map_head(&mut out, 1);
    msgpack::write_str(&mut out, b"log");
    msgpack::write_str(&mut out, text);
    msgpack::write_map_head(&mut out, u32::from(chunk.is_some()));
    if let Some(chunk) = chunk {
        msgpack::write_str(&mut out, b"chunk");
        msgpack::write_str(&mut out, chunk.as_bytes());
    }
    out
}

fn packed(tag: &str, count: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    for n in 0..count {
        payload.push(0x92);
        Timestamp {
            secs: n as i64,
            nanos: 0,
        }
        .write(&mut payload);
        payload.extend_from_slice(&[0x81, 0xa1, b'n', 7]);
    }
    let mut out = Vec::new();
    msgpack::write_array_head(&mut out, 2);
    msgpack::write_str(&mut out, tag.as_bytes());
    msgpack::write_bin(&mut out, &payload);
    out
}

proptest! {
    /// However the bytes are cut, the same comes out.
    #[test]
    fn pieces_do_not_matter(
        kinds in prop::collection::vec((0u8..4, 0u8..2, 0usize..3000), 1..30),
        cuts in prop::collection::vec(1usize..5000, 0..40),
        bad in any::<bool>(),
    ) {
        let mut stream = Vec::new();
        for (index, (kind, tag, size)) in kinds.iter().enumerate() {
            let tag = if *tag == 0 { "a" } else { "b" };
            match kind {
                0 => stream.extend(message(tag, index as i64, &vec![b'x'; *size], None)),
                1 => stream.extend(message(tag, index as i64, b"ack", Some(&format!("c{index}")))),
                2 => stream.extend(packed(tag, *size + 1)),
                _ => stream.push(0xc0),
            }
        }
        if bad {
            stream.extend([0x93, 0xa1, b'a', 0xc3, 0x80]);
        }
        let mut whole = Seen::default();
        feed(&mut open(), &stream, &mut whole);
        let (mut session, mut pieces) = (open(), Seen::default());
        let mut rest = &stream[..];
        for cut in cuts {
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            feed(&mut session, head, &mut pieces);
            rest = tail;
        }
        feed(&mut session, rest, &mut pieces);
        prop_assert_eq!(whole.error.is_some(), bad);
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn any_bytes_are_survived(data in prop::collection::vec(any::<u8>(), 0..2000)) {
        firelane_forward::fuzz_session(&data);
        firelane_forward::fuzz_handshake(&data);
    }

    /// A seed of the handshake with a few bytes changed: nothing is heard before the key is proved.
    #[test]
    fn damaged_handshakes_are_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        users in any::<bool>(),
    ) {
        let name = if users { "user-then-events" } else { "key-then-event" };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/handshake");
        let mut data = std::fs::read(folder.join(name)).unwrap();
        for (at, byte) in changes {
            let at = at.index(data.len());
            data[at] = byte;
        }
        firelane_forward::fuzz_handshake(&data);
    }
}

#[track_caller]
fn fails(bytes: &[u8], kind: &str) {
    let mut seen = Seen::default();
    feed(&mut open(), bytes, &mut seen);
    assert_eq!(seen.error.map(|error| error.kind()), Some(kind));
}

#[test]
fn hostile_bytes_end_the_connection_by_name() {
    fails(b"GET / HTTP/1.1\r\n", "not_an_array");
    fails(&[0x16, 3, 1], "not_an_array");
    // A bin of 1 GiB is refused before it is read.
    fails(&[0x92, 0xa1, b't', 0xc6, 0x40, 0, 0, 0], "too_large");
    fails(&[0x93, 0xa1, b't', 0xca, 0, 0, 0, 0, 0x80], "time");
    fails(&[0x93, 0xa1, b't', 0xff, 0x80], "time");
    fails(&[0x92, 0xa1, b't', 0xc4, 0], "entry");
    let deep = [vec![0x93, 0xa1, b't', 1], [0x81, 0xa1, b'a'].repeat(40), vec![1]].concat();
    fails(&deep, "msgpack");
}

#[test]
fn a_zip_bomb_is_refused() {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![0; 20_000_000]).unwrap();
    let payload = gzip.finish().unwrap();
    let mut bytes = vec![0x93, 0xa1, b't'];
    msgpack::write_bin(&mut bytes, &payload);
    bytes.push(0x80);
    fails(&bytes, "bomb");
    bytes.truncate(bytes.len() - 10);
    bytes[3..8].copy_from_slice(&[0xc5, 0, 16, 0x1f, 0x8b]);
    fails(&[0x93, 0xa1, b't', 0xc4, 3, 0x1f, 0x8b, 8, 0x80], "corrupt");
}

fn ping(helo: &[u8], key: &str, user: Option<(&str, &str)>) -> Vec<u8> {
    let (_, map) = (msgpack::read(helo), msgpack::Reader::new(helo));
    let mut reader = map;
    assert_eq!(reader.token(), Some(Token::Array(2)));
    assert_eq!(reader.token(), Some(Token::Str(b"HELO")));
    let options = &helo[reader.at()..];
    let option = |name: &[u8]| {
        let found = msgpack::pairs(options).find(|(key, _)| msgpack::text(key) == Some(name));
        msgpack::text(found.unwrap().1).unwrap().to_vec()
    };
    let (nonce, salt) = (option(b"nonce"), option(b"auth"));
    let mut out = vec![0x96];
    let (name, password) = user.unwrap_or_default();
    let proof = if name.is_empty() {
        String::new()
    } else {
        digest(&[&salt, name.as_bytes(), password.as_bytes()])
    };
    let key = digest(&[b"salt", b"client", &nonce, key.as_bytes()]);
    for text in ["PING", "client", "salt", &key, name, &proof] {
        msgpack::write_str(&mut out, text.as_bytes());
    }
    out
}

fn auth() -> Auth {
    let user = |name: &str, password: &str| (name.to_string(), password.as_bytes().to_vec());
    Auth {
        shared_key: b"key".to_vec(),
        users: vec![user("ann", "hunter2"), user("bob", "pw")],
        self_hostname: "server".into(),
    }
}

fn secured() -> Session {
    Session::new(
        Arc::new(ServerOptions {
            message_size_max: 6_144_000,
            auth: Some(auth()),
        }),
        [9; 32],
    )
}

#[test]
fn keys_and_passwords_are_not_in_debug_texts() {
    let text = format!("{:?} {:?}", auth(), secured());
    assert!(!text.contains("hunter2") && !text.contains("104, 117"), "{text}");
    assert!(!text.contains("107, 101, 121"), "the key as numbers: {text}");
}

#[test]
fn a_long_or_endless_ping_is_refused() {
    // A string of 1 GiB, and a message of nothing but nested arrays, before anything is proved.
    let string = [0x96, 0xdb, 0x40, 0, 0, 0];
    let mut long = vec![0x96, 0xc6, 0, 0, 0x40, 0];
    long.extend([0; 0x4000]);
    for bytes in [&string[..], &long, &[0x91; 20_000]] {
        let (mut session, mut seen) = (secured(), Seen::default());
        feed(&mut session, bytes, &mut seen);
        let kind = seen.error.map(|error| error.kind());
        assert!(matches!(kind, Some("too_large" | "msgpack")), "{kind:?}");
        assert!(session.is_greeting());
    }
}

/// Scenario: the parts of another user's or no user's proof, and digests that are cut, empty or in capitals.
#[test]
fn near_misses_are_refused() {
    let helo = std::mem::take(secured().transmit());
    let good = ping(&helo, "key", Some(("bob", "pw")));
    let at = |needle: &[u8]| {
        good.windows(needle.len())
            .position(|part| part == needle)
            .unwrap()
    };
    let mut ann = good.clone();
    let name = at(b"\xa3bob");
    ann[name + 1..name + 4].copy_from_slice(b"ann");
    let cut = good[..good.len() - 130].iter().copied().chain([0xa0]).collect();
    let (head, proof) = good.split_at(good.len() - 128);
    let capitals = [head, &proof.to_ascii_uppercase()].concat();
    // `bobp` with `w` has the digest of `bob` with `pw`: user and password stand behind each other.
    let moved = ping(&helo, "key", Some(("bobp", "w")));
    for bytes in [ann, cut, capitals, moved] {
        let (mut session, mut seen) = (secured(), Seen::default());
        feed(&mut session, &bytes, &mut seen);
        assert_eq!(seen.error.map(|error| error.kind()), Some("auth"));
    }
    let (mut session, mut seen) = (secured(), Seen::default());
    feed(&mut session, &good, &mut seen);
    assert_eq!(seen.error, None);
}

#[test]
fn events_behind_a_split_ping_are_kept() {
    let mut session = secured();
    let helo = std::mem::take(session.transmit());
    let mut bytes = ping(&helo, "key", Some(("bob", "pw")));
    bytes.extend(message("t", 5, b"pipelined", None));
    let mut seen = Seen::default();
    for piece in bytes.chunks(7) {
        feed(&mut session, piece, &mut seen);
    }
    assert_eq!((seen.events.len(), seen.error), (1, None));
    let pong = std::mem::take(session.transmit());
    let want = digest(&[b"salt", b"server", &[9; 16], b"key"]);
    assert!(
        pong.windows(128).any(|window| window == want.as_bytes()),
        "the server proves the key too"
    );
}

#[test]
fn wrong_keys_and_users_get_a_pong_and_an_end() {
    for (key, user) in [
        ("nope", Some(("bob", "pw"))),
        ("key", Some(("bob", "no"))),
        ("key", None),
    ] {
        let mut session = secured();
        let helo = std::mem::take(session.transmit());
        let mut seen = Seen::default();
        feed(&mut session, &ping(&helo, key, user), &mut seen);
        assert_eq!(seen.error.map(|error| error.kind()), Some("auth"));
        let pong = std::mem::take(session.transmit());
        assert_eq!(&pong[..7], b"\x95\xa4PONG\xc2");
    }
    let mut seen = Seen::default();
    feed(&mut secured(), &message("t", 1, b"no ping", None), &mut seen);
    assert_eq!(seen.error.map(|error| error.kind()), Some("auth"));
    assert!(seen.events.is_empty());
}

/// Replays the seeds of the fuzz target `handshake`; those that prove the key must get through.
#[test]
fn seeds_of_the_handshake() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut heard = Vec::new();
    for kind in ["corpus/handshake", "regressions/handshake"] {
        for entry in std::fs::read_dir(folder.join(kind)).into_iter().flatten() {
            let path = entry.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            firelane_forward::fuzz_handshake(&data);
            let users = data[0] % 2 == 1;
            let auth = Auth {
                users: auth().users.into_iter().filter(|_| users).collect(),
                ..auth()
            };
            let options = ServerOptions {
                message_size_max: 64 * 1024,
                auth: Some(auth),
            };
            let (mut session, mut seen) = (Session::new(Arc::new(options), [7; 32]), Seen::default());
            feed(&mut session, &data[1..], &mut seen);
            if !seen.events.is_empty() {
                heard.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
    }
    heard.sort();
    assert_eq!(
        heard,
        ["binary-salt", "key-then-event", "nil-before", "user-then-events"]
    );
}
