//! What commands write. A reader that has gone (`firelane plugins | head -1`) is the end of the text and no
//! error; `println!` would panic.

use std::io::{self, ErrorKind, Write as _};

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
