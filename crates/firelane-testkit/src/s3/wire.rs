//! HTTP as the model of S3 reads and writes it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::{Call, Op};

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) etag: Option<String>,
    /// Of an answer to `HEAD`.
    pub(super) length: Option<usize>,
    pub(super) body: String,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            status: 200,
            etag: None,
            length: None,
            body: String::new(),
        }
    }
}

impl Answer {
    pub(super) fn error(status: u16, code: &str) -> Self {
        Self {
            status,
            body: format!(
                "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>by script</Message></Error>"
            ),
            ..Self::default()
        }
    }

    pub(super) fn xml(body: String) -> Self {
        Self {
            body,
            ..Self::default()
        }
    }

    pub(super) fn tagged(etag: String) -> Self {
        Self {
            etag: Some(etag),
            ..Self::default()
        }
    }

    pub(super) fn write(&self, mut stream: &TcpStream, is_head: bool) -> io::Result<()> {
        let etag = self.etag.as_ref();
        let etag = etag.map_or_else(String::new, |etag| format!("ETag: \"{etag}\"\r\n"));
        let length = self.length.unwrap_or(self.body.len());
        let body = if is_head { "" } else { &self.body };
        let text = format!(
            "HTTP/1.1 {} x\r\n{etag}Content-Length: {length}\r\n\r\n{body}",
            self.status
        );
        stream.write_all(text.as_bytes())
    }
}

/// Reads the head of a request; gives it with its query.
pub(super) fn head(reader: &mut impl BufRead) -> io::Result<Option<(Call, BTreeMap<String, String>)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let query: BTreeMap<_, _> = pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), decoded(value))
        })
        .collect();
    let part = query.get("partNumber").and_then(|number| number.parse().ok());
    let op = match (method, part, query.contains_key("uploadId")) {
        ("PUT", Some(number), true) => Op::Part(number),
        ("PUT", None, false) => Op::Put,
        ("POST", None, true) => Op::Complete,
        ("POST", None, false) if query.contains_key("uploads") => Op::Create,
        ("DELETE", None, true) => Op::Abort,
        ("HEAD", None, false) => Op::Head,
        _ => Op::Other,
    };
    let path = decoded(path.trim_start_matches('/'));
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok());
    let call = Call {
        op,
        path,
        length: length.unwrap_or(0),
        headers,
        at: Instant::now(),
        status: None,
    };
    Ok(Some((call, query)))
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match byte {
            b'%' => match (hex(rest.next()), hex(rest.next())) {
                (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
                _ => out.push(b'%'),
            },
            byte => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
