//! A model of S3 for one bucket or many: objects, uploads in parts, the limits that S3 keeps, faults by a
//! script. Signatures are not looked at.
//!
//! Kept: parts but the last have 5 MiB (`EntityTooSmall`), a completion names parts that are there by
//! number and ETag (`InvalidPart`) in order (`InvalidPartOrder`), an upload that is complete, aborted or
//! unknown is not there (`NoSuchUpload`).

mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use self::wire::{Answer, head};
use crate::wire::sequences;

/// Smallest part but the last.
const PART_MIN: usize = 5 << 20;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// `PutObject`
    Put,
    /// `CreateMultipartUpload`
    Create,
    /// `UploadPart` with its number.
    Part(u32),
    /// `CompleteMultipartUpload`
    Complete,
    /// `AbortMultipartUpload`
    Abort,
    /// `HeadObject`
    Head,
    /// Anything else.
    Other,
}

/// A request as it was seen.
#[derive(Debug, Clone)]
pub struct Call {
    /// What it asks for.
    pub op: Op,
    /// Bucket and key, decoded: `bucket/key`.
    pub path: String,
    /// Its headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Bytes of its body.
    pub length: usize,
    /// When its head had come.
    pub at: Instant,
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is done after so long.
    After(Duration),
    /// It is refused with this status and code.
    Refuse(u16, &'static str),
    /// It fails with this code behind a status of 200, as completions may.
    Late(&'static str),
    /// It is read and neither done nor answered.
    Hang,
    /// It is done, and the connection is reset without an answer.
    Lost,
}

/// An object.
#[derive(Debug, Clone)]
pub struct S3Object {
    /// Its content; empty where bodies are not kept.
    pub body: Vec<u8>,
    /// Bytes of it.
    pub length: usize,
    /// Numbers of its records, in order; none where it is compressed.
    pub sequences: Vec<String>,
    /// Parts that it was made of; 0 if it was put whole.
    pub parts: usize,
    /// Headers of the request that put or began it.
    pub headers: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
struct Piece {
    etag: String,
    body: Vec<u8>,
    length: usize,
    sequences: Vec<String>,
}

#[derive(Debug, Default)]
struct Upload {
    path: String,
    parts: BTreeMap<u32, Piece>,
    headers: BTreeMap<String, String>,
}

type Script = Box<dyn Fn(&Call, u64) -> Fault + Send>;

struct State {
    script: Script,
    keeps_bodies: bool,
    calls: Vec<Call>,
    objects: BTreeMap<String, S3Object>,
    /// Objects that were put in place of others.
    replaced: Vec<String>,
    uploads: BTreeMap<String, Upload>,
    begun: u64,
}

/// The model. Its threads end with the process.
#[derive(Clone)]
pub struct S3 {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl S3 {
    /// A model without faults.
    ///
    /// # Panics
    /// If no port can be had.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let state = State {
            script: Box::new(|_, _| Fault::None),
            keeps_bodies: true,
            calls: Vec::new(),
            objects: BTreeMap::new(),
            replaced: Vec::new(),
            uploads: BTreeMap::new(),
            begun: 0,
        };
        let this = Self {
            port,
            state: Arc::new(Mutex::new(state)),
        };
        let shared = this.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                // The router may hang up at any moment.
                thread::spawn(move || shared.serve(&stream));
            }
        });
        this
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics in here")
    }

    /// Its port on the loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Follows a script from now on: it is asked with each request and the number of earlier requests of the
    /// same kind (parts of all numbers are one kind).
    pub fn script(&self, script: impl Fn(&Call, u64) -> Fault + Send + 'static) {
        self.state().script = Box::new(script);
    }

    /// Keeps numbers and sizes only, for long tests.
    pub fn keep_no_bodies(&self) {
        self.state().keeps_bodies = false;
    }

    /// Throws all unfinished uploads away, as a rule of the bucket does.
    pub fn forget_uploads(&self) {
        self.state().uploads.clear();
    }

    /// All requests so far.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Requests of a kind (parts of all numbers are one).
    pub fn count(&self, op: &Op) -> usize {
        self.state()
            .calls
            .iter()
            .filter(|call| same(&call.op, op))
            .count()
    }

    /// The objects, by `bucket/key`.
    pub fn objects(&self) -> BTreeMap<String, S3Object> {
        self.state().objects.clone()
    }

    /// Paths of objects that took the place of others.
    pub fn replaced(&self) -> Vec<String> {
        self.state().replaced.clone()
    }

    /// Uploads that were begun and neither completed nor aborted, with their parts.
    pub fn unfinished(&self) -> Vec<(String, usize)> {
        let state = self.state();
        let uploads = state.uploads.values();
        uploads
            .map(|upload| (upload.path.clone(), upload.parts.len()))
            .collect()
    }

    /// Records in all objects.
    pub fn records(&self) -> usize {
        self.state()
            .objects
            .values()
            .map(|object| object.sequences.len())
            .sum()
    }

    /// Waits until the objects have `n` records.
    ///
    /// # Panics
    /// If `limit` passes first.
    #[track_caller]
    pub fn wait_for(&self, n: usize, limit: Duration) {
        let start = Instant::now();
        while self.records() < n {
            assert!(
                start.elapsed() < limit,
                "waited {limit:?} in vain for {n} records, {} are there; unfinished: {:?}",
                self.records(),
                self.unfinished()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asserts that each record of `wanted` stands in one object once, and no other does.
    ///
    /// # Panics
    /// With the count of lost, repeated and foreign records.
    #[track_caller]
    pub fn assert_once(&self, wanted: impl IntoIterator<Item = String>) {
        let repeated = self.assert_none_lost(wanted);
        let first = repeated.first_key_value();
        assert!(
            repeated.is_empty(),
            "{} records are repeated (first {first:?})",
            repeated.len()
        );
    }

    /// Asserts that each record of `wanted` stands in an object, and no other does; gives those that stand
    /// there more than once, and how often more.
    ///
    /// # Panics
    /// With the count of lost and foreign records.
    #[track_caller]
    pub fn assert_none_lost(&self, wanted: impl IntoIterator<Item = String>) -> BTreeMap<String, u32> {
        let mut there: BTreeMap<String, u32> = BTreeMap::new();
        for object in self.state().objects.values() {
            for sequence in &object.sequences {
                *there.entry(sequence.clone()).or_default() += 1;
            }
        }
        let (mut lost, mut repeated) = (Vec::new(), BTreeMap::new());
        for sequence in wanted {
            match there.remove(&sequence) {
                None => lost.push(sequence),
                Some(1) => {}
                Some(n) => {
                    repeated.insert(sequence, n - 1);
                }
            }
        }
        assert!(
            lost.is_empty() && there.is_empty(),
            "{} records are lost (first {:?}), {} foreign (first {:?})",
            lost.len(),
            lost.first(),
            there.len(),
            there.first_key_value()
        );
        repeated
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some((mut call, query)) = head(&mut reader)? {
            let mut body = vec![0; call.length];
            reader.read_exact(&mut body)?;
            let (index, fault) = {
                let mut state = self.state();
                let before = state.calls.iter().filter(|seen| same(&seen.op, &call.op));
                let before = before.count() as u64;
                let fault = (state.script)(&call, before);
                call.status = None;
                state.calls.push(call.clone());
                (state.calls.len() - 1, fault)
            };
            let answer = match fault {
                Fault::Hang => {
                    // Until the router hangs up.
                    let _ = reader.read(&mut [0]);
                    return Ok(());
                }
                Fault::Refuse(status, code) => Answer::error(status, code),
                Fault::Late(code) => Answer {
                    status: 200,
                    ..Answer::error(200, code)
                },
                Fault::After(wait) => {
                    thread::sleep(wait);
                    self.apply(&call, &query, body)
                }
                Fault::None | Fault::Lost => self.apply(&call, &query, body),
            };
            if fault == Fault::Lost {
                // Without lingering a close is a reset.
                set_socket_linger(stream, Some(Duration::ZERO))?;
                return Ok(());
            }
            self.state().calls[index].status = Some(answer.status);
            answer.write(stream, call.op == Op::Head)?;
            if call
                .headers
                .get("connection")
                .is_some_and(|value| value.eq_ignore_ascii_case("close"))
            {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, call: &Call, query: &BTreeMap<String, String>, body: Vec<u8>) -> Answer {
        let mut state = self.state();
        let id = query.get("uploadId").cloned().unwrap_or_default();
        match call.op {
            Op::Put => {
                let piece = state.piece(body);
                state.put(
                    call.path.clone(),
                    S3Object {
                        body: piece.body,
                        length: piece.length,
                        sequences: piece.sequences,
                        parts: 0,
                        headers: call.headers.clone(),
                    },
                );
                Answer::tagged(piece.etag)
            }
            Op::Create => {
                state.begun += 1;
                let id = format!("upload/{}+x", state.begun);
                let upload = Upload {
                    path: call.path.clone(),
                    headers: call.headers.clone(),
                    ..Upload::default()
                };
                state.uploads.insert(id.clone(), upload);
                Answer::xml(format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ))
            }
            Op::Part(number) => {
                let piece = state.piece(body);
                match state
                    .uploads
                    .get_mut(&id)
                    .filter(|upload| upload.path == call.path)
                {
                    Some(upload) => {
                        let etag = piece.etag.clone();
                        upload.parts.insert(number, piece);
                        Answer::tagged(etag)
                    }
                    None => Answer::error(404, "NoSuchUpload"),
                }
            }
            Op::Complete => state.complete(&call.path, &id, &String::from_utf8_lossy(&body)),
            Op::Abort => match state.uploads.remove(&id) {
                Some(_) => Answer {
                    status: 204,
                    ..Answer::default()
                },
                None => Answer::error(404, "NoSuchUpload"),
            },
            Op::Head => match state.objects.get(&call.path) {
                Some(object) => Answer {
                    etag: Some(format!("e-{}", object.parts)),
                    length: Some(object.length),
                    ..Answer::default()
                },
                None => Answer {
                    status: 404,
                    ..Answer::default()
                },
            },
            Op::Other => Answer::error(405, "MethodNotAllowed"),
        }
    }
}

/// Whether two requests are of one kind.
fn same(one: &Op, other: &Op) -> bool {
    matches!((one, other), (Op::Part(_), Op::Part(_))) || one == other
}

impl State {
    fn piece(&self, body: Vec<u8>) -> Piece {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        Piece {
            etag: format!("{:032x}", hasher.finish()),
            length: body.len(),
            sequences: sequences(&body),
            body: if self.keeps_bodies { body } else { Vec::new() },
        }
    }

    fn put(&mut self, path: String, object: S3Object) {
        if self.objects.insert(path.clone(), object).is_some() {
            self.replaced.push(path);
        }
    }

    fn complete(&mut self, path: &str, id: &str, body: &str) -> Answer {
        let Some(upload) = self.uploads.get(id).filter(|upload| upload.path == path) else {
            return Answer::error(404, "NoSuchUpload");
        };
        let mut pieces = Vec::new();
        let (mut before, mut last) = (0, usize::MAX);
        for part in body.split("<Part>").skip(1) {
            let field = |name: &str| {
                let (_, rest) = part.split_once(&format!("<{name}>"))?;
                Some(rest.split_once("</")?.0)
            };
            let number: u32 = field("PartNumber").and_then(|n| n.parse().ok()).unwrap_or(0);
            let etag = field("ETag").unwrap_or_default().replace("&quot;", "");
            if number <= before {
                return Answer::error(400, "InvalidPartOrder");
            }
            if last < PART_MIN {
                return Answer::error(400, "EntityTooSmall");
            }
            let Some(piece) = upload.parts.get(&number).filter(|piece| piece.etag == etag) else {
                return Answer::error(400, "InvalidPart");
            };
            (before, last) = (number, piece.length);
            pieces.push(piece.clone());
        }
        if pieces.is_empty() {
            return Answer::error(400, "MalformedXML");
        }
        let object = S3Object {
            length: pieces.iter().map(|piece| piece.length).sum(),
            parts: pieces.len(),
            headers: upload.headers.clone(),
            sequences: pieces.iter().flat_map(|piece| piece.sequences.clone()).collect(),
            body: pieces.iter().flat_map(|piece| piece.body.clone()).collect(),
        };
        self.uploads.remove(id);
        self.put(path.to_owned(), object);
        Answer::xml("<CompleteMultipartUploadResult></CompleteMultipartUploadResult>".to_owned())
    }
}
