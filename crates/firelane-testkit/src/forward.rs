//! A forward client: MessagePack written by hand, sent over TCP or a Unix socket.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A MessagePack value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// nil
    Nil,
    /// An integer that is not negative.
    Int(u64),
    /// A string, not always UTF-8.
    Str(Vec<u8>),
    /// Bytes.
    Bin(Vec<u8>),
    /// EventTime: seconds and nanoseconds.
    Time(u32, u32),
    /// An array.
    Array(Vec<Value>),
    /// A map.
    Map(Vec<(Value, Value)>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.into())
    }
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Self::Int(n)
    }
}

impl Value {
    /// Appends the value's bytes to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nil => out.push(0xc0),
            Self::Int(n @ 0..=0x7f) => out.push(*n as u8),
            Self::Int(n) => {
                out.push(0xcf);
                out.extend(n.to_be_bytes());
            }
            Self::Str(text) => {
                header(out, text.len(), 0xa0, 32, &[0xd9, 0xda, 0xdb]);
                out.extend(text);
            }
            Self::Bin(bytes) => {
                header(out, bytes.len(), 0, 0, &[0xc4, 0xc5, 0xc6]);
                out.extend(bytes);
            }
            Self::Time(seconds, nanoseconds) => {
                out.extend([0xd7, 0x00]);
                out.extend(seconds.to_be_bytes());
                out.extend(nanoseconds.to_be_bytes());
            }
            Self::Array(values) => {
                header(out, values.len(), 0x90, 16, &[0, 0xdc, 0xdd]);
                values.iter().for_each(|value| value.write(out));
            }
            Self::Map(pairs) => {
                header(out, pairs.len(), 0x80, 16, &[0, 0xde, 0xdf]);
                for (key, value) in pairs {
                    key.write(out);
                    value.write(out);
                }
            }
        }
    }

    /// The value's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

/// The short form below `short` entries, else the smallest of the three wide ones (0: there is none).
fn header(out: &mut Vec<u8>, len: usize, fix: u8, short: usize, wide: &[u8; 3]) {
    if len < short {
        out.push(fix | len as u8);
    } else if len < 0x100 && wide[0] != 0 {
        out.extend([wide[0], len as u8]);
    } else if len < 0x1_0000 {
        out.push(wide[1]);
        out.extend((len as u16).to_be_bytes());
    } else {
        out.push(wide[2]);
        out.extend((len as u32).to_be_bytes());
    }
}

/// A map of strings.
pub fn record(pairs: &[(&str, &str)]) -> Value {
    Value::Map(
        pairs
            .iter()
            .map(|(key, value)| (Value::from(*key), Value::from(*value)))
            .collect(),
    )
}

/// One event in Message mode, as Docker's driver writes it: four elements, options empty.
pub fn message(tag: &str, record: Value) -> Vec<u8> {
    let time = Value::Time(1_700_000_000, 123_456_789);
    Value::Array(vec![tag.into(), time, record, Value::Map(Vec::new())]).bytes()
}

/// A numbered record with a payload of `pad` bytes; [`crate::Sink`] counts the number.
pub fn numbered(sequence: &str, pad: usize) -> Value {
    record(&[("seq", sequence), ("log", &"x".repeat(pad))])
}

/// Forward mode with an ack asked for under `chunk`.
pub fn forward_with_ack(tag: &str, records: &[Value], chunk: &str) -> Vec<u8> {
    let entry = |record: &Value| Value::Array(vec![Value::Time(1_700_000_000, 1), record.clone()]);
    let options = record(&[("chunk", chunk)]);
    Value::Array(vec![
        tag.into(),
        Value::Array(records.iter().map(entry).collect()),
        options,
    ])
    .bytes()
}

/// A connection of a forward client. It never reads unless told to.
#[derive(Debug)]
pub enum Forward {
    /// TCP
    Tcp(TcpStream),
    /// Unix socket
    Unix(UnixStream),
}

impl Forward {
    /// Connects to a port of the loopback.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn tcp(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// Connects to a Unix socket.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn unix(path: &Path) -> io::Result<Self> {
        Ok(Self::Unix(UnixStream::connect(path)?))
    }

    /// Writes all bytes, however long the router lets it wait, up to `limit` a write.
    ///
    /// # Errors
    /// If the router closed the connection, or took nothing for `limit`.
    pub fn send(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_write_timeout(Some(limit))?;
                stream.write_all(bytes)
            }
            Self::Unix(stream) => {
                stream.set_write_timeout(Some(limit))?;
                stream.write_all(bytes)
            }
        }
    }

    /// Reads what comes within `limit`: `Ok` with no bytes if the router closed the connection.
    ///
    /// # Errors
    /// `WouldBlock` or `TimedOut` if nothing came; others if the connection broke.
    pub fn receive(&mut self, limit: Duration) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 4096];
        let n = match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(limit))?;
                stream.read(&mut buffer)?
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(limit))?;
                stream.read(&mut buffer)?
            }
        };
        buffer.truncate(n);
        Ok(buffer)
    }

    /// Whether the router closes the connection within `limit`.
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        loop {
            match self.receive(limit) {
                Ok(bytes) if bytes.is_empty() => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                }
            }
        }
    }

    /// Says that nothing more will come.
    pub fn finish(&self) {
        // The router may have closed first.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &Value, start: &[u8]) {
        let bytes = value.bytes();
        assert_eq!(&bytes[..start.len()], start);
    }

    #[test]
    fn headers_are_the_shortest() {
        check(&"".into(), &[0xa0]);
        check(&Value::from("x".repeat(31).as_str()), &[0xbf, b'x']);
        check(&Value::from("x".repeat(32).as_str()), &[0xd9, 32, b'x']);
        check(&Value::from("x".repeat(300).as_str()), &[0xda, 1, 44, b'x']);
        check(&Value::Bin(vec![7; 2]), &[0xc4, 2, 7, 7]);
        check(&Value::Array(vec![Value::Nil; 20]), &[0xdc, 0, 20, 0xc0]);
        check(&Value::Int(200), &[0xcf, 0, 0, 0, 0, 0, 0, 0, 200]);
        check(&record(&[("a", "b")]), &[0x81, 0xa1, b'a', 0xa1, b'b']);
    }
}
