//! `stdin`: JSON objects, or `[time, object]`, or lines for a parser, from standard input.
//!
//! Objects are found by their structure. What is no JSON costs its line and is counted. With `parser`
//! each line is a record; what does not parse is dropped and counted, as in Fluent Bit. The end of the
//! input ends the process.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Buf, BytesMut};
use firelane_conf::Diagnostic;
use firelane_conf::units::{ByteSize, Located};
use firelane_core::{
    AckOn, BoxFuture, BuildCx, Input, InputConfig, InputCx, InputError, InputPlugin, Stability,
};
use firelane_parse::Parser;
use firelane_record::msgpack::{self, Reader, Token};
use firelane_record::{MapWriter, RecordsBuf, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::json_stream::JsonStream;
use crate::serve::parser;

/// The plugin.
pub static PLUGIN: InputPlugin =
    InputPlugin::new::<Config>("stdin", "JSON or lines from standard input", Stability::Stable);

/// Properties of `[INPUT] Name stdin`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Config {
    /// Parser for each line. Absent: JSON.
    parser: Option<Located<String>>,
    /// Largest record. Absent: 4 MB.
    #[serde(default = "default_size")]
    buffer_size: ByteSize,
}

fn default_size() -> ByteSize {
    ByteSize(4_000_000)
}

/// Smallest limit that is taken.
const SIZE_MIN: usize = 16_000;
/// Bytes of one read.
const READ: usize = 64 * 1024;
/// Reads that may wait for the engine.
const QUEUE: usize = 4;

impl InputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Box<dyn Input>, Vec<Diagnostic>> {
        let parser = self.parser.as_ref().map(|name| parser(cx, name)).transpose();
        let parser = parser.map_err(|error| vec![error])?;
        let limit = usize::try_from(self.buffer_size.0).unwrap_or(usize::MAX);
        Ok(Box::new(Stdin {
            decoder: Decoder::new(parser, limit.max(SIZE_MIN)),
        }))
    }
}

struct Stdin {
    decoder: Decoder,
}

impl Input for Stdin {
    fn run(self: Box<Self>, cx: InputCx) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(self.follow(cx))
    }

    fn ends_process(&self) -> bool {
        true
    }
}

impl Stdin {
    async fn follow(self, cx: InputCx) -> Result<(), InputError> {
        let Self { mut decoder } = self;
        let mut pieces = reader()?;
        let to = cx.ingest.stream(AckOn::Append);
        let mut buffer = BytesMut::new();
        loop {
            let piece = tokio::select! {
                piece = pieces.recv() => piece,
                // Whoever writes need not hang up: what is already read is taken.
                () = async { cx.stop.draining().await; tokio::time::sleep(cx.quiet).await } => None,
            };
            let ended = match piece {
                Some(Ok(piece)) => {
                    buffer.extend_from_slice(&piece);
                    false
                }
                Some(Err(error)) => {
                    tracing::error!(target: "input", instance = %cx.name, %error, "cannot read standard input");
                    true
                }
                None => true,
            };
            let bad = decoder.decode(&mut buffer, ended);
            let records = decoder.records.take();
            if bad > 0 {
                cx.malformed(bad);
                tracing::warn!(target: "input", instance = %cx.name, dropped = bad, "what is no record was dropped");
            }
            // An error means that the engine has ended: so does this.
            if cx.append(&to, &cx.tag, records).await.is_err() || ended {
                return Ok(());
            }
        }
    }
}

/// Reads standard input in a thread of its own: a read of a terminal or pipe cannot be given up, and must
/// not hold the end of the process.
fn reader() -> Result<mpsc::Receiver<io::Result<Vec<u8>>>, InputError> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let read = move || {
        let mut input = io::stdin().lock();
        let mut buffer = vec![0; READ];
        loop {
            let piece = match input.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => Ok(buffer[..count].to_vec()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let last = piece.is_err();
            if sender.blocking_send(piece).is_err() || last {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("stdin".into())
        .spawn(read)
        .map_err(|error| InputError::new(format!("cannot start a thread: {error}")))?;
    Ok(receiver)
}

/// Bytes to records.
struct Decoder {
    parser: Option<Arc<dyn Parser>>,
    limit: usize,
    json: JsonStream,
    map: MapWriter,
    /// In a line that is over the limit.
    skipping: bool,
    records: RecordsBuf,
}

impl Decoder {
    fn new(parser: Option<Arc<dyn Parser>>, limit: usize) -> Self {
        Self {
            parser,
            limit,
            json: JsonStream::default(),
            map: MapWriter::new(),
            skipping: false,
            records: RecordsBuf::default(),
        }
    }

    /// Takes the records of `buffer`; the number of pieces that were none.
    fn decode(&mut self, buffer: &mut BytesMut, ended: bool) -> u64 {
        let now = Timestamp::from_system(SystemTime::now());
        if let Some(parser) = self.parser.clone() {
            return self.decode_lines(buffer, ended, now, &*parser);
        }
        let records = &mut self.records;
        self.json
            .drain(buffer, self.limit, ended, |value| push(records, now, value))
    }

    fn decode_lines(
        &mut self,
        buffer: &mut BytesMut,
        ended: bool,
        now: Timestamp,
        parser: &dyn Parser,
    ) -> u64 {
        let (mut at, mut bad) = (0, 0);
        while let Some(hit) = memchr::memchr(b'\n', &buffer[at..]) {
            bad += self.line(&buffer[at..at + hit], now, parser);
            at += hit + 1;
        }
        buffer.advance(at);
        if ended {
            let rest = buffer.split();
            if !rest.is_empty() || self.skipping {
                bad += self.line(&rest, now, parser);
            }
        } else if self.skipping || buffer.len() > self.limit {
            self.skipping = true;
            buffer.clear();
        }
        bad
    }

    /// One line, without its end; 1 if it is no record.
    fn line(&mut self, line: &[u8], now: Timestamp, parser: &dyn Parser) -> u64 {
        if std::mem::take(&mut self.skipping) || line.len() > self.limit {
            return 1;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return 0;
        }
        self.map.clear();
        let Ok(time) = parser.parse(line, &mut self.map) else {
            return 1;
        };
        let map = &self.map;
        self.records
            .push_with(time.unwrap_or(now), None, |out| map.write(out));
        0
    }
}

/// Appends an object, or `[time, object]`, or `[[time, metadata], object]`. False: it is none of these.
fn push(records: &mut RecordsBuf, now: Timestamp, value: &[u8]) -> bool {
    let is_map = |raw: &[u8]| matches!(msgpack::read(raw), Some((Token::Map(_), _)));
    if is_map(value) {
        records.push(now, None, value);
        return true;
    }
    let mut reader = Reader::new(value);
    if reader.token() != Some(Token::Array(2)) {
        return false;
    }
    let (Some(head), Some(body)) = (reader.value(), reader.value()) else {
        return false;
    };
    let mut head = Reader::new(head);
    let (time, metadata) = match head.token() {
        Some(Token::Array(2)) => (head.token(), head.value()),
        token => (token, None),
    };
    let time = time.and_then(|token| Timestamp::from_token(&token));
    let Some(time) = time.filter(|_| is_map(body) && metadata.is_none_or(is_map)) else {
        return false;
    };
    records.push(time, metadata, body);
    true
}

#[cfg(test)]
mod tests {
    use firelane_record::text;

    use super::*;

    struct Word;

    impl Parser for Word {
        fn parse(
            &self,
            text: &[u8],
            out: &mut MapWriter,
        ) -> Result<Option<Timestamp>, firelane_parse::Unparsed> {
            if !text.iter().all(u8::is_ascii_lowercase) {
                return Err(firelane_parse::Unparsed);
            }
            out.str(b"w", text);
            Ok(Timestamp::new(5, 0))
        }
    }

    #[track_caller]
    fn check(parser: bool, sent: &str, want: &[&str], bad: u64) {
        for size in [sent.len().max(1), 1] {
            let parser = parser.then(|| Arc::new(Word) as Arc<dyn Parser>);
            let mut decoder = Decoder::new(parser, 40);
            let (mut buffer, mut faults) = (BytesMut::new(), 0);
            for piece in sent.as_bytes().chunks(size) {
                buffer.extend_from_slice(piece);
                faults += decoder.decode(&mut buffer, false);
            }
            faults += decoder.decode(&mut buffer, true);
            let records = decoder.records.take();
            let print = |event: firelane_record::Event<'_>| {
                let mut out = Vec::new();
                // The present is far from the times that the cases give.
                if event.time.secs < 1_000_000 {
                    out.extend_from_slice(format!("{}.{} ", event.time.secs, event.time.nanos).as_bytes());
                }
                for raw in event.metadata.iter().chain([&event.body]) {
                    text::write_value(&mut out, raw);
                }
                String::from_utf8_lossy(&out).into_owned()
            };
            let got: Vec<_> = records.events().map(print).collect();
            assert_eq!(
                (got, faults),
                (want.iter().map(ToString::to_string).collect(), bad),
                "{sent}"
            );
        }
    }

    #[test]
    fn json_with_and_without_time() {
        check(false, "{\"a\":1}{\"a\":2}\n", &[r#"{"a"=>1}"#, r#"{"a"=>2}"#], 0);
        check(false, "[7, {\"a\":1}]", &[r#"7.0 {"a"=>1}"#], 0);
        check(false, "[7.5, {\"a\":1}]", &[r#"7.500000000 {"a"=>1}"#], 0);
        check(
            false,
            "[[7,{\"m\":1}],{\"a\":1}]",
            &[r#"7.0 {"m"=>1}{"a"=>1}"#],
            0,
        );
        check(false, "[1] 5 [\"x\",{}]\nno\n{\"a\":1}", &[r#"{"a"=>1}"#], 4);
    }

    #[test]
    fn lines_for_a_parser() {
        check(
            true,
            "one\r\n\nTWO\nthree",
            &[r#"5.0 {"w"=>"one"}"#, r#"5.0 {"w"=>"three"}"#],
            1,
        );
        check(
            true,
            &format!("{}\nb\n", "a".repeat(50)),
            &[r#"5.0 {"w"=>"b"}"#],
            1,
        );
        check(true, &"a".repeat(50), &[], 1);
    }
}
