//! A fake HTTP destination that fails by a script and logs every request, so that a test can work out what
//! may have arrived twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use crate::wait::{free_port, until};
use crate::wire::{Head, sequences};

/// Longest wait for a port that was given up and is wanted again.
const REBIND: Duration = Duration::from_secs(20);

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Taken: 200.
    Accept,
    /// Taken, after so long.
    After(Duration),
    /// Refused with this status.
    Status(u16),
    /// Refused with this status and a `Retry-After` of so many seconds.
    Later(u16, u64),
    /// Read to its end, never answered; the connection stays open.
    Hang,
    /// The connection is reset when half of the body was read.
    ResetMidBody,
    /// The connection is reset when the whole body was read.
    ResetAfterBody,
}

/// A request as it was seen.
#[derive(Debug, Clone)]
pub struct Request {
    /// When its head had come.
    pub at: Instant,
    /// Numbers of the records in the part that was read.
    pub sequences: Vec<String>,
    /// Its whole body was read.
    pub whole: bool,
    /// Status of the answer and when it was written; none if it never was.
    pub answer: Option<(u16, Instant)>,
}

impl Request {
    /// The records were taken, and the router was told so.
    pub fn is_taken(&self) -> bool {
        self.whole && self.answer.is_some_and(|(status, _)| status < 300)
    }

    /// The records may have been taken, and the router cannot know.
    pub fn is_lost(&self) -> bool {
        self.whole && self.answer.is_none()
    }
}

type Script = Box<dyn Fn(u64) -> Act + Send>;

struct State {
    script: Script,
    seen: u64,
    requests: Vec<Request>,
    /// How often each record was taken.
    taken: BTreeMap<String, u32>,
    /// Connections that live, by number.
    streams: BTreeMap<u64, TcpStream>,
    connections: u64,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// Nobody listens.
    closed: AtomicBool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics in here")
    }
}

/// The destination. Dropped, it stops listening.
pub struct Destination {
    port: u16,
    shared: Arc<Shared>,
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Destination {
    /// Has a port where nobody listens until [`Destination::open`]; connections are refused.
    ///
    /// # Panics
    /// If no port can be had.
    pub fn closed() -> Self {
        let state = State {
            script: Box::new(|_| Act::Accept),
            seen: 0,
            requests: Vec::new(),
            taken: BTreeMap::new(),
            streams: BTreeMap::new(),
            connections: 0,
            listener: None,
        };
        Self {
            port: free_port(),
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                closed: AtomicBool::new(true),
            }),
        }
    }

    /// Listens; `script` is asked with the number of each request, from 0.
    ///
    /// # Panics
    /// If no port can be had.
    pub fn start(script: impl Fn(u64) -> Act + Send + 'static) -> Self {
        let this = Self::closed();
        this.script(script);
        this.open();
        this
    }

    /// Follows another script from now on; the count goes on.
    pub fn script(&self, script: impl Fn(u64) -> Act + Send + 'static) {
        self.shared.state().script = Box::new(script);
    }

    /// Listens (again) on its port.
    ///
    /// # Panics
    /// If somebody else took the port meanwhile and keeps it.
    pub fn open(&self) {
        let listener = until("the port is free", REBIND, || {
            TcpListener::bind(("127.0.0.1", self.port)).ok()
        });
        self.shared.closed.store(false, Ordering::Release);
        let shared = self.shared.clone();
        let thread = thread::spawn(move || accept(&listener, &shared));
        self.shared.state().listener = Some(thread);
    }

    /// Stops listening and ends all connections: new ones are refused.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        let Some(thread) = self.shared.state().listener.take() else {
            return;
        };
        // Wakes the listener, so that it sees the flag.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = thread.join();
        for stream in self.shared.state().streams.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All requests seen so far, in the order of their heads.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// Requests for which `is` holds.
    pub fn count(&self, is: impl Fn(&Request) -> bool) -> u64 {
        self.shared
            .state()
            .requests
            .iter()
            .filter(|request| is(request))
            .count() as u64
    }

    /// Different records that were taken.
    pub fn taken(&self) -> u64 {
        self.shared.state().taken.len() as u64
    }

    /// Numbers of the taken records, in the order of the answers' requests.
    pub fn order(&self) -> Vec<String> {
        let requests = self.requests();
        requests
            .into_iter()
            .filter(Request::is_taken)
            .flat_map(|request| request.sequences)
            .collect()
    }

    /// Waits until `n` different records were taken.
    ///
    /// # Panics
    /// If `limit` passes first.
    #[track_caller]
    pub fn wait_for(&self, n: u64, limit: Duration) {
        let what = || format!("{n} records at the destination, {} are there", self.taken());
        let start = Instant::now();
        while self.taken() < n {
            assert!(start.elapsed() < limit, "waited {limit:?} in vain: {}", what());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asserts that each record of `wanted` was taken once: none is lost, and none came again after its
    /// answer. What came before in requests that were refused, broken off or lost does not count.
    ///
    /// # Panics
    /// With the count of lost, repeated and foreign records.
    #[track_caller]
    pub fn assert_once(&self, wanted: impl IntoIterator<Item = String>) {
        self.assert_taken(wanted, &BTreeMap::new());
    }

    /// Asserts that each record of `wanted` was taken, once and at most so often more as `again` says.
    ///
    /// # Panics
    /// With the count of lost, repeated and foreign records.
    #[track_caller]
    pub fn assert_taken(&self, wanted: impl IntoIterator<Item = String>, again: &BTreeMap<String, u32>) {
        let taken = self.shared.state().taken.clone();
        let wanted: BTreeSet<String> = wanted.into_iter().collect();
        let lost: Vec<_> = wanted.iter().filter(|own| !taken.contains_key(*own)).collect();
        let allowed = |own: &str| 1 + again.get(own).copied().unwrap_or(0);
        let repeated: Vec<_> = taken.iter().filter(|(own, n)| **n > allowed(own)).collect();
        let foreign: Vec<_> = taken.keys().filter(|own| !wanted.contains(*own)).collect();
        assert!(
            lost.is_empty() && repeated.is_empty() && foreign.is_empty(),
            "of {} records {} are lost (first {:?}), {} repeated (first {:?}), {} foreign (first {:?})",
            wanted.len(),
            lost.len(),
            lost.first(),
            repeated.len(),
            repeated.first(),
            foreign.len(),
            foreign.first(),
        );
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        self.close();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.closed.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(copy) = stream.try_clone() else { continue };
        let shared = shared.clone();
        let number = {
            let mut state = shared.state();
            state.connections += 1;
            let number = state.connections;
            state.streams.insert(number, copy);
            number
        };
        thread::spawn(move || {
            // The router may hang up at any moment.
            let _ = serve(&stream, &shared);
            // The connection ends with its last copy, `stream`.
            shared.state().streams.remove(&number);
        });
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(Head { length, close }) = Head::read(&mut reader)? {
        let at = Instant::now();
        let act = {
            let mut state = shared.state();
            state.seen += 1;
            (state.script)(state.seen - 1)
        };
        let part = if act == Act::ResetMidBody {
            length / 2
        } else {
            length
        };
        let mut body = Vec::new();
        (&mut reader).take(part as u64).read_to_end(&mut body)?;
        let whole = body.len() == length;
        let index = {
            let mut state = shared.state();
            state.requests.push(Request {
                at,
                sequences: sequences(&body),
                whole,
                answer: None,
            });
            state.requests.len() - 1
        };
        if !whole && act != Act::ResetMidBody {
            return Ok(());
        }
        let (status, more) = match act {
            Act::ResetMidBody | Act::ResetAfterBody => {
                // Without lingering a close is a reset.
                set_socket_linger(stream, Some(Duration::ZERO))?;
                return Ok(());
            }
            Act::Hang => {
                // Until the router hangs up.
                let _ = reader.read(&mut [0]);
                return Ok(());
            }
            Act::Accept => (200, String::new()),
            Act::After(wait) => {
                thread::sleep(wait);
                (200, String::new())
            }
            Act::Status(status) => (status, String::new()),
            Act::Later(status, seconds) => (status, format!("retry-after: {seconds}\r\n")),
        };
        answer(stream, shared, index, status, &more)?;
        if close {
            break;
        }
    }
    Ok(())
}

/// Writes an answer; what the request carried counts as taken before anybody can see it.
fn answer(mut stream: &TcpStream, shared: &Shared, index: usize, status: u16, more: &str) -> io::Result<()> {
    let mut state = shared.state();
    let text = format!("HTTP/1.1 {status} x\r\n{more}content-length: 0\r\n\r\n");
    stream.write_all(text.as_bytes())?;
    state.requests[index].answer = Some((status, Instant::now()));
    if status < 300 {
        for sequence in state.requests[index].sequences.clone() {
            *state.taken.entry(sequence).or_default() += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    fn post(port: u16, sequence: &str) -> Option<u16> {
        let body = format!("{{\"seq\":\"{sequence}\",\"log\":\"{}\"}}", "x".repeat(100_000));
        let reply = http::request(port, "POST", "/", "application/json", body.as_bytes());
        reply.ok().map(|reply| reply.status)
    }

    /// Guarantees: what was answered is told from what was lost, refused or broken off.
    #[test]
    fn a_script_is_followed_and_logged() {
        let acts = [
            Act::Status(503),
            Act::ResetMidBody,
            Act::ResetAfterBody,
            Act::Later(429, 7),
            Act::Accept,
        ];
        let destination = Destination::start(move |n| acts[n as usize]);
        let got: Vec<_> = (0..5).map(|_| post(destination.port(), "a-1")).collect();
        assert_eq!(got, [Some(503), None, None, Some(429), Some(200)]);
        let seen: Vec<_> = destination
            .requests()
            .iter()
            .map(|request| (request.whole, request.is_lost(), request.is_taken()))
            .collect();
        let (no, yes) = (false, true);
        assert_eq!(
            seen,
            [
                (yes, no, no),
                (no, no, no),
                (yes, yes, no),
                (yes, no, no),
                (yes, no, yes)
            ]
        );
        destination.assert_once(["a-1".to_string()]);
    }

    #[test]
    fn it_can_be_closed_and_opened() {
        let destination = Destination::closed();
        assert_eq!(post(destination.port(), "a-1"), None);
        destination.open();
        assert_eq!(post(destination.port(), "a-1"), Some(200));
        destination.close();
        assert_eq!(post(destination.port(), "a-2"), None);
        destination.open();
        assert_eq!(post(destination.port(), "a-2"), Some(200));
        destination.assert_once(["a-1", "a-2"].map(String::from));
    }

    #[test]
    #[should_panic(expected = "1 are lost (first Some(\"b\")), 1 repeated (first Some((\"a\", 2)))")]
    fn losses_and_repeats_are_named() {
        let destination = Destination::start(|_| Act::Accept);
        for _ in 0..2 {
            post(destination.port(), "a");
        }
        destination.assert_once(["a", "b"].map(String::from));
    }
}
