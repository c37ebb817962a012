//! Fake destinations on loopback: each connection is served by a script.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the fake HTTP server does with the next request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Reads it and answers with these bytes.
    Answer(&'static str),
    /// Reads the head, then closes.
    CloseAfterHead,
    /// Reads all of it, then closes without an answer.
    CloseAfterBody,
    /// Reads all of it and says nothing.
    Hang,
}

/// `200 OK`
pub(crate) const OK: Act = Act::Answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");

/// A request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// Values of a header, in order.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
            .collect()
    }
}

/// A fake server; it ends when dropped.
pub(crate) struct Server<T> {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<T>>>,
    pub(crate) connections: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl<T> Drop for Server<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T: Clone> Server<T> {
    pub(crate) fn seen(&self) -> Vec<T> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

/// A port that nobody listens on.
pub(crate) async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// An HTTP server that does `acts` with one request after the other, then keeps doing the last.
pub(crate) async fn http(acts: Vec<Act>) -> Server<Seen> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let connections = Arc::new(Mutex::new(0));
    let acts = Arc::new(Mutex::new(acts));
    let (list, count) = (seen.clone(), connections.clone());
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            *count.lock().unwrap() += 1;
            tokio::spawn(serve(stream, acts.clone(), list.clone()));
        }
    });
    Server {
        address,
        seen,
        connections,
        task,
    }
}

async fn serve(mut stream: TcpStream, acts: Arc<Mutex<Vec<Act>>>, seen: Arc<Mutex<Vec<Seen>>>) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            fill(&mut stream, &mut buffer).await?;
        };
        let act = {
            let mut acts = acts.lock().unwrap();
            if acts.len() > 1 {
                acts.remove(0)
            } else {
                acts[0].clone()
            }
        };
        if matches!(act, Act::CloseAfterHead) {
            return None;
        }
        let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
        let mut request = Seen {
            head,
            body: Vec::new(),
        };
        let len: usize = request.header("content-length")[0].parse().unwrap();
        while buffer.len() < end + len {
            fill(&mut stream, &mut buffer).await?;
        }
        request.body = buffer[end..end + len].to_vec();
        buffer.drain(..end + len);
        seen.lock().unwrap().push(request);
        match act {
            Act::Answer(text) => stream.write_all(text.as_bytes()).await.ok()?,
            Act::Hang => std::future::pending().await,
            Act::CloseAfterHead | Act::CloseAfterBody => return None,
        }
    }
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    (stream.read_buf(buffer).await.ok()? > 0).then_some(())
}

/// A server that only reads; what each connection sent is in `seen`, by connection, once it has ended.
pub(crate) async fn reader() -> Server<Vec<u8>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let connections = Arc::new(Mutex::new(0));
    let (list, count) = (seen.clone(), connections.clone());
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            *count.lock().unwrap() += 1;
            let list = list.clone();
            tokio::spawn(async move {
                let mut all = Vec::new();
                let _ = stream.read_to_end(&mut all).await;
                list.lock().unwrap().push(all);
            });
        }
    });
    Server {
        address,
        seen,
        connections,
        task,
    }
}

/// What the fake Forward server does with messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acks {
    /// Acknowledges each.
    Right,
    /// Acknowledges with another id.
    Wrong,
    /// Reads and says nothing.
    Never,
    /// Closes in place of an acknowledgement.
    Close,
}

/// A Forward server that says `hello` first, answers the next message with `pong` where there is one, and
/// then keeps whole messages in `seen`.
pub(crate) async fn forward(acks: Acks, hello: Option<Vec<u8>>, pong: Option<Pong>) -> Server<Vec<u8>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let connections = Arc::new(Mutex::new(0));
    let (list, count) = (seen.clone(), connections.clone());
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            *count.lock().unwrap() += 1;
            tokio::spawn(serve_forward(stream, acks, hello.clone(), pong, list.clone()));
        }
    });
    Server {
        address,
        seen,
        connections,
        task,
    }
}

/// Makes the PONG to a PING.
pub(crate) type Pong = fn(&[u8]) -> Vec<u8>;

async fn serve_forward(
    mut stream: TcpStream,
    acks: Acks,
    hello: Option<Vec<u8>>,
    mut pong: Option<Pong>,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
) -> Option<()> {
    if let Some(hello) = hello {
        stream.write_all(&hello).await.ok()?;
    }
    let mut buffer = Vec::new();
    loop {
        while let Ok(end) = firelane_record::msgpack::skip(&buffer, 0) {
            let message: Vec<u8> = buffer.drain(..end).collect();
            if let Some(pong) = pong.take() {
                stream.write_all(&pong(&message)).await.ok()?;
                continue;
            }
            let answer = match (acks, chunk_of(&message)) {
                (Acks::Close, _) => return None,
                (Acks::Right, Some(id)) => Some(id),
                (Acks::Wrong, Some(_)) => Some("nonsense".to_owned()),
                _ => None,
            };
            seen.lock().unwrap().push(message);
            if let Some(id) = answer {
                let mut ack = b"\x81\xa3ack".to_vec();
                firelane_record::msgpack::write_str(&mut ack, id.as_bytes());
                // In two pieces, as a network may cut it.
                let (head, tail) = ack.split_at(5);
                stream.write_all(head).await.ok()?;
                stream.flush().await.ok()?;
                stream.write_all(tail).await.ok()?;
            }
        }
        fill(&mut stream, &mut buffer).await?;
    }
}

/// The id in the options of a message.
fn chunk_of(message: &[u8]) -> Option<String> {
    use firelane_record::msgpack::{self, Reader, Token};
    let mut reader = Reader::new(message);
    let Some(Token::Array(count)) = reader.token() else {
        return None;
    };
    for _ in 1..count {
        reader.value()?;
    }
    let (_, id) = msgpack::pairs(reader.value()?).find(|(key, _)| msgpack::text(key) == Some(b"chunk"))?;
    Some(String::from_utf8(msgpack::text(id)?.to_vec()).unwrap())
}
