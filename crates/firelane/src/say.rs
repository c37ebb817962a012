//! What commands write. A reader that has gone (`firelane plugins | head -1`) is the end of the text and no
//! error; `println!` would panic.

use std::io::{self, ErrorKind, Write as _};
use std::ops::ControlFlow;

use crate::exit::Exit;

/// Writes a text to standard output as it is.
pub(crate) fn out(text: &str) -> Exit {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            line(&format!("error: standard output: {error}"));
            Exit::Failed
        }
        _ => Exit::Ok,
    }
}

/// Writes a text to standard error as it is.
pub(crate) fn error(text: &str) {
    // Where that is closed there is nobody left to tell.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Writes a line to standard error.
pub(crate) fn line(text: &str) {
    error(&format!("{text}\n"));
}

/// Much that goes to standard output, piece by piece.
pub(crate) struct Stream {
    buf: Vec<u8>,
    exit: Option<Exit>,
}

impl Stream {
    /// Bytes that are written at once.
    const STEP: usize = 64 * 1024;

    /// Nothing written yet.
    pub(crate) fn new() -> Self {
        let buf = Vec::new();
        Self { buf, exit: None }
    }

    /// Appends bytes. Break: nobody takes them any more.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        self.buf.extend_from_slice(bytes);
        if self.buf.len() >= Self::STEP {
            self.flush();
        }
        match self.exit {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    /// Writes what was appended so far. Break: nobody takes it any more.
    #[cfg(feature = "control")]
    pub(crate) fn flushed(&mut self) -> ControlFlow<()> {
        self.flush();
        match self.exit {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    fn flush(&mut self) {
        if self.exit.is_none() {
            let mut stdout = io::stdout().lock();
            let written = stdout.write_all(&self.buf).and_then(|()| stdout.flush());
            self.exit = written.err().map(|error| match error.kind() {
                ErrorKind::BrokenPipe => Exit::Ok,
                _ => {
                    line(&format!("error: standard output: {error}"));
                    Exit::Failed
                }
            });
        }
        self.buf.clear();
    }

    /// The end.
    pub(crate) fn end(mut self) -> Exit {
        self.flush();
        self.exit.unwrap_or(Exit::Ok)
    }
}
