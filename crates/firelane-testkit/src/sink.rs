//! A fake HTTP destination that counts the numbered records it accepted and fails on command.

use std::collections::HashMap;
use std::io::{self, BufReader, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::wait::until;
use crate::wire::{Head, sequences};

/// How requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// This status; records count as accepted below 300.
    Status(u16),
    /// The connection is closed before anything is read.
    Close,
    /// Accepted, after so long.
    After(Duration),
}

#[derive(Debug)]
struct State {
    answer: Answer,
    requests: u64,
    refused: u64,
    /// Accepted numbers in the order of arrival.
    order: Vec<String>,
}

/// The destination. Dropped, it stops listening.
#[derive(Debug)]
pub struct Sink {
    port: u16,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// Listens on a port of its own and accepts everything.
    ///
    /// # Panics
    /// If no port can be had.
    pub fn start() -> Self {
        Self::start_with(Answer::Status(200))
    }

    /// Listens on a port of its own.
    ///
    /// # Panics
    /// If no port can be had.
    pub fn start_with(answer: Answer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let state = Arc::new(Mutex::new(State {
            answer,
            requests: 0,
            refused: 0,
            order: Vec::new(),
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (state, stop) = (state.clone(), stop.clone());
            move || accept(&listener, &state, &stop)
        });
        Self {
            port,
            state,
            stop,
            thread: Some(thread),
        }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().expect("no test panics in here"))
    }

    /// Answers so from now on.
    pub fn answer(&self, answer: Answer) {
        self.with(|state| state.answer = answer);
    }

    /// Requests seen whole, accepted or not.
    pub fn requests(&self) -> u64 {
        self.with(|state| state.requests)
    }

    /// Requests and connections refused.
    pub fn refused(&self) -> u64 {
        self.with(|state| state.refused)
    }

    /// Records accepted, repeated ones as often as they came.
    pub fn records(&self) -> u64 {
        self.with(|state| state.order.len() as u64)
    }

    /// Accepted numbers in the order of arrival.
    pub fn order(&self) -> Vec<String> {
        self.with(|state| state.order.clone())
    }

    /// Waits until `n` records were accepted.
    ///
    /// # Panics
    /// If `limit` passes first.
    #[track_caller]
    pub fn wait_for(&self, n: u64, limit: Duration) {
        let mut seen = 0;
        until(&format!("{n} records at the sink"), limit, || {
            seen = self.records();
            (seen >= n).then_some(())
        });
    }

    /// Asserts that every number of `wanted` was accepted once, and nothing else.
    ///
    /// # Panics
    /// With the count of lost, repeated and foreign records.
    #[track_caller]
    pub fn assert_once(&self, wanted: impl IntoIterator<Item = String>) {
        let mut count: HashMap<String, u64> = HashMap::new();
        for sequence in self.order() {
            *count.entry(sequence).or_default() += 1;
        }
        let wanted: Vec<String> = wanted.into_iter().collect();
        let lost: Vec<&String> = wanted
            .iter()
            .filter(|sequence| !count.contains_key(*sequence))
            .collect();
        let repeated: Vec<&String> = count
            .iter()
            .filter(|(_, n)| **n > 1)
            .map(|(sequence, _)| sequence)
            .collect();
        let foreign = count.len() + lost.len() - wanted.len();
        assert!(
            lost.is_empty() && repeated.is_empty() && foreign == 0,
            "of {} records {} are lost (first {:?}), {} repeated (first {:?}), {foreign} foreign",
            wanted.len(),
            lost.len(),
            lost.first(),
            repeated.len(),
            repeated.first(),
        );
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener, so that it sees the flag.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, state: &Arc<Mutex<State>>, stop: &Arc<AtomicBool>) {
    for stream in listener.incoming() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let (state, stop) = (state.clone(), stop.clone());
        thread::spawn(move || {
            // The router may hang up at any moment.
            let _ = serve(stream, &state, &stop);
        });
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>, stop: &AtomicBool) -> io::Result<()> {
    let look = || state.lock().expect("no test panics in here");
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        if look().answer == Answer::Close {
            look().refused += 1;
            return Ok(());
        }
        let Some(Head { length, close }) = Head::read(&mut reader)? else {
            return Ok(());
        };
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let status = {
            let mut state = look();
            state.requests += 1;
            match state.answer {
                Answer::Close => {
                    state.refused += 1;
                    return Ok(());
                }
                Answer::Status(status) => {
                    if status < 300 {
                        state.order.extend(sequences(&body));
                    } else {
                        state.refused += 1;
                    }
                    status
                }
                Answer::After(takes) => {
                    drop(state);
                    thread::sleep(takes);
                    look().order.extend(sequences(&body));
                    200
                }
            }
        };
        write!(writer, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n")?;
        if close {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    #[test]
    fn numbers_are_counted_once_accepted() {
        let sink = Sink::start_with(Answer::Status(503));
        let post = |body: &[u8]| {
            http::request(sink.port(), "POST", "/", "application/json", body)
                .unwrap()
                .status
        };
        assert_eq!(post(b"{\"seq\":\"a-1\",\"log\":\"x\"}\n"), 503);
        assert_eq!(sink.records(), 0);
        sink.answer(Answer::Status(201));
        assert_eq!(
            post(b"{\"seq\":\"a-1\",\"log\":\"x\"}\n{\"log\":\"\",\"seq\":\"a-2\"}\n"),
            201
        );
        assert_eq!(sink.order(), ["a-1", "a-2"]);
        sink.assert_once(["a-1", "a-2"].map(String::from));
        assert_eq!((sink.requests(), sink.refused()), (2, 1));
    }

    #[test]
    #[should_panic(expected = "1 are lost (first Some(\"2\")), 1 repeated (first Some(\"1\")), 0 foreign")]
    fn losses_and_repeats_are_named() {
        let sink = Sink::start();
        for _ in 0..2 {
            http::request(sink.port(), "POST", "/", "application/json", b"{\"seq\":\"1\"}").unwrap();
        }
        sink.assert_once(["1", "2"].map(String::from));
    }
}
