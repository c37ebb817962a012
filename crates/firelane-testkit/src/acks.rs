//! A forward client that wants acks: it sends chunks of numbered records, and sends again what was not
//! acknowledged when its connection ended, as Fluent Bit and Fluentd do.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::forward::{Forward, forward_with_ack, numbered, record};

/// Chunks under way at once.
const WINDOW: usize = 8;
/// Longest time without an ack, restarts of the router included.
const PATIENCE: Duration = Duration::from_secs(90);
/// Longest wait of one read: then it looks whether there is something else to do.
const LOOK: Duration = Duration::from_millis(20);

/// The client.
#[derive(Debug, Clone)]
pub struct AckClient {
    /// The socket of the router.
    pub socket: PathBuf,
    /// Tag, and first part of the numbers: `name-0000000`, …
    pub name: String,
    /// Records in a chunk.
    pub records: u64,
    /// Bytes of payload in a record.
    pub pad: usize,
    /// Wait after each chunk.
    pub pause: Duration,
}

/// What was sent in the end: all of it was acknowledged.
#[derive(Debug, Clone, Default)]
pub struct Acked {
    /// Records; their numbers begin at 0.
    pub records: u64,
    /// How often records were sent again, because their ack had not come.
    pub again: BTreeMap<String, u32>,
}

impl AckClient {
    fn sequences(&self, chunk: u64) -> impl Iterator<Item = String> + use<'_> {
        let first = chunk * self.records;
        (first..first + self.records).map(|n| format!("{}-{n:07}", self.name))
    }

    fn chunk(&self, chunk: u64) -> Vec<u8> {
        let records: Vec<_> = self
            .sequences(chunk)
            .map(|sequence| numbered(&sequence, self.pad))
            .collect();
        forward_with_ack(&self.name, &records, &chunk.to_string())
    }

    /// Sends until `is_over`, asked with the number of acknowledged records, and until all is acknowledged.
    ///
    /// # Panics
    /// If no ack comes for long, or one that nobody waits for.
    #[track_caller]
    pub fn run(&self, is_over: impl Fn(u64) -> bool) -> Acked {
        let mut acked = Acked::default();
        let mut open: VecDeque<u64> = VecDeque::new();
        let (mut next, mut last) = (0, Instant::now());
        loop {
            // An error is the end of the connection: the router was killed, or is not there yet.
            match self.talk(&mut open, &mut next, &mut acked, &mut last, &is_over) {
                Ok(()) => return acked,
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
            assert!(
                last.elapsed() < PATIENCE,
                "{}: no ack for {PATIENCE:?}",
                self.name
            );
        }
    }

    /// One connection, to its end or to that of the work.
    fn talk(
        &self,
        open: &mut VecDeque<u64>,
        next: &mut u64,
        acked: &mut Acked,
        last: &mut Instant,
        is_over: &impl Fn(u64) -> bool,
    ) -> io::Result<()> {
        let mut client = Forward::unix(&self.socket)?;
        for &chunk in open.iter() {
            for sequence in self.sequences(chunk) {
                *acked.again.entry(sequence).or_default() += 1;
            }
            client.send(&self.chunk(chunk), PATIENCE)?;
        }
        let mut got = Vec::new();
        loop {
            while open.len() < WINDOW && !is_over(acked.records) {
                // Before it is sent: what was sent in part may have been read.
                open.push_back(*next);
                *next += 1;
                client.send(&self.chunk(*next - 1), PATIENCE)?;
                thread::sleep(self.pause);
            }
            if open.is_empty() {
                return Ok(());
            }
            match client.receive(LOOK) {
                Ok(bytes) if bytes.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => got.extend(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && last.elapsed() < PATIENCE => {}
                Err(error) => return Err(error),
            }
            while let Some(chunk) = open.front() {
                let ack = record(&[("ack", &chunk.to_string())]).bytes();
                let known = got.len().min(ack.len());
                assert_eq!(got[..known], ack[..known], "{}: an ack out of order", self.name);
                if known < ack.len() {
                    break;
                }
                got.drain(..known);
                open.pop_front();
                acked.records += self.records;
                *last = Instant::now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    /// Guarantees: a chunk whose connection ended before its ack comes again, and is counted.
    #[test]
    fn what_was_not_acknowledged_is_sent_again() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("in.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = thread::spawn(move || {
            let mut read = [0; 4096];
            let (mut first, _) = listener.accept().unwrap();
            assert!(first.read(&mut read).unwrap() > 0);
            drop(first);
            let (mut second, _) = listener.accept().unwrap();
            assert!(second.read(&mut read).unwrap() > 0);
            second.write_all(&record(&[("ack", "0")]).bytes()).unwrap();
            // Until the client hangs up.
            let _ = second.read(&mut read);
        });
        let client = AckClient {
            socket,
            name: "a".into(),
            records: 2,
            pad: 1,
            pause: Duration::ZERO,
        };
        let first = std::cell::Cell::new(true);
        let acked = client.run(|_| !first.replace(false));
        server.join().unwrap();
        assert_eq!(acked.records, 2);
        let again: Vec<_> = acked.again.into_iter().collect();
        assert_eq!(
            again,
            [("a-0000000".to_string(), 1), ("a-0000001".to_string(), 1)]
        );
    }
}
