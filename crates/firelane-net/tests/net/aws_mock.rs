//! A mock of AWS's endpoints: answers by a function, and remembers what it was asked. And the program
//! `examples/aws-call`, run with an environment of its own.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_smithy_types::date_time::{DateTime, Format};
use firelane_net::{ListenAddr, Listener, NetConfig, ServerTls, Stream, TlsConfig};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::peer::request;

/// Longest that anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A request that was read.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query as they were on the wire.
    pub(crate) target: String,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) at: SystemTime,
}

impl Seen {
    fn read(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Some(Self {
            method: words.next()?.to_owned(),
            target: words.next()?.to_owned(),
            headers: lines.filter_map(header).collect(),
            body: bytes[end + 4..].to_vec(),
            at: SystemTime::now(),
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(own, _)| own == name);
        found.next().map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The scope of its signature: `KEY/DATE/REGION/SERVICE/aws4_request`.
    pub(crate) fn scope(&self) -> Vec<String> {
        let header = self.header("authorization").unwrap_or_default();
        let scope = header.split("Credential=").nth(1).unwrap_or_default();
        let scope = scope.split(',').next().unwrap_or_default();
        scope.split('/').map(ToOwned::to_owned).collect()
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    after: Duration,
    never: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            after: Duration::ZERO,
            never: false,
        }
    }

    /// The connection stays open, and nothing comes.
    pub(crate) fn never() -> Self {
        Self {
            never: true,
            ..Self::new(500, "")
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// A `Date` that is so many seconds ahead of our clock.
    pub(crate) fn dated(self, ahead: i64) -> Self {
        let now = DateTime::from(SystemTime::now()).secs() + ahead;
        let date = DateTime::from_secs(now).fmt(Format::HttpDate).unwrap();
        self.header("Date", date)
    }

    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.after = wait;
        self
    }
}

/// The answer of a container credentials endpoint: keys `id` that end in `life` seconds.
pub(crate) fn credentials(id: &str, life: u64) -> Answer {
    let end = SystemTime::now() + Duration::from_secs(life);
    let end = DateTime::from(end).fmt(Format::DateTime).unwrap();
    let body = format!(
        r#"{{"AccessKeyId":"{id}","SecretAccessKey":"secret-of-{id}","Token":"token-of-{id}","Expiration":"{end}"}}"#
    );
    Answer::new(200, body)
}

/// The answer of STS to `call`, with keys `id` for an hour.
pub(crate) fn assumed(call: &str, id: &str) -> Answer {
    let end = DateTime::from(SystemTime::now()).secs() + 3600;
    let end = DateTime::from_secs(end).fmt(Format::DateTime).unwrap();
    Answer::new(
        200,
        format!(
            "<{call}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{call}Result><AssumedRoleUser>\
             <AssumedRoleId>AROA:s</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn>\
             </AssumedRoleUser><Credentials><AccessKeyId>{id}</AccessKeyId>\
             <SecretAccessKey>secret-of-{id}</SecretAccessKey><SessionToken>token-of-{id}</SessionToken>\
             <Expiration>{end}</Expiration></Credentials></{call}Result></{call}Response>"
        ),
    )
    .header("Content-Type", "text/xml")
}

/// An error of STS or S3.
pub(crate) fn xml_error(status: u16, code: &str, message: &str) -> Answer {
    let error = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    Answer::new(status, format!("<ErrorResponse>{error}</ErrorResponse>"))
}

/// A server; it ends when it is dropped.
pub(crate) struct Mock {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mock {
    /// Answers each request by `answer`, which gets how many came before it.
    pub(crate) async fn new(answer: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", answer).await
    }

    pub(crate) async fn at(
        place: &str,
        answer: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::listen(place, None, answer).await
    }

    /// With the certificate of `server`.
    pub(crate) async fn tls(
        server: &TlsConfig,
        answer: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::listen("127.0.0.1:0", Some(ServerTls::build(server).unwrap()), answer).await
    }

    async fn listen(
        place: &str,
        tls: Option<ServerTls>,
        answer: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let (host, port) = place.rsplit_once(':').unwrap();
        let place = ListenAddr::tcp(host, port.parse().unwrap());
        let listener = Listener::bind(place, tls, &NetConfig::default()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (seen.clone(), Arc::new(answer));
        let task = tokio::spawn(async move {
            // Connections end with the set.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let incoming = listener.accept().await;
                let (log, answer) = (log.clone(), answer.clone());
                connections.spawn(async move {
                    if let Ok((stream, _)) = incoming.establish().await {
                        serve(stream, log, answer).await;
                    }
                });
            }
        });
        Self { port, seen, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

async fn serve(mut stream: Stream, log: Arc<Mutex<Vec<Seen>>>, answer: Arc<impl Fn(usize, &Seen) -> Answer>) {
    loop {
        let bytes = request(&mut stream).await;
        let Some(seen) = Seen::read(&bytes) else { return };
        let answer = {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = answer(log.len(), &seen);
            log.push(seen);
            answer
        };
        if answer.never {
            return std::future::pending().await;
        }
        tokio::time::sleep(answer.after).await;
        let mut text = format!(
            "HTTP/1.1 {} X\r\nContent-Length: {}\r\n",
            answer.status,
            answer.body.len()
        );
        for (name, value) in &answer.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend(&answer.body);
        if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// `examples/aws-call`, which Cargo builds with all tests.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let folder = tests.ancestors().nth(2).unwrap().join("examples");
    let binary = folder.join("aws-call");
    assert!(
        binary.exists(),
        "{} is not there; build it: `cargo build -p firelane-net --example aws-call` (plain `cargo test` does)",
        binary.display()
    );
    binary
}

/// Runs `aws-call` with no environment but `env`; gives the lines that it said.
pub(crate) async fn aws_call(env: &[(&str, &str)], arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new(program());
    command
        .args(arguments)
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, command.output()).await;
    let ended = ended.expect("it ends in time").unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{arguments:?}: {stderr}");
    let said = String::from_utf8_lossy(&ended.stdout);
    said.lines().map(ToOwned::to_owned).collect()
}
