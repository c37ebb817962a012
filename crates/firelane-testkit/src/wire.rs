//! HTTP/1.1 as our fake destinations read it.

use std::io::{self, BufRead};

/// What the head of a request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of the body.
    pub(crate) length: usize,
    /// The connection ends with this request.
    pub(crate) close: bool,
}

impl Head {
    /// The next head; `None` at the connection's end.
    pub(crate) fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let (mut length, mut close, mut first) = (0, false, true);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end();
            if line.is_empty() && !first {
                return Ok(Some(Self { length, close }));
            }
            first = false;
            match line
                .split_once(':')
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
            {
                Some((name, value)) if name == "content-length" => {
                    length = value.parse().map_err(io::Error::other)?;
                }
                Some((name, value)) if name == "connection" => close = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
    }
}

/// The values of `"seq":"..."` in a JSON text of any layout.
pub(crate) fn sequences(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    text.split("\"seq\":\"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"'))
        .map(|(value, _)| value.into())
        .collect()
}
