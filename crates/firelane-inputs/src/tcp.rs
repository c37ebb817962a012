//! `tcp`: JSON objects, or lines of text, over a TCP connection that nobody answers, as Log4j's `Socket`
//! appender and the health check of Amazon ECS use it.
//!
//! - `format json`: objects are found by their structure, however they are printed or cut; an array
//!   becomes `{"msg": [...]}`. What is no JSON costs its line and is counted (Fluent Bit throws away all
//!   that came with it).
//! - `format none`: what stands between separators becomes `{"log": text}`, or what `parser` makes of it.
//!   Empty pieces are left out; what is not ended when the client hangs up is dropped and counted.
//!
//! The time of a record is its arrival. A record over `buffer_size` is skipped and counted; the
//! connection stays (Fluent Bit closes it). Not here: answers, frames with a length in front.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Buf, BytesMut};
use firelane_conf::Diagnostic;
use firelane_conf::units::{ByteSize, Located};
use firelane_core::{
    AckOn, BoxFuture, BuildCx, Input, InputConfig, InputCx, InputError, InputPlugin, Stability,
};
use firelane_net::Stream;
use firelane_net::listen::{ListenAddr, Peer};
use firelane_parse::Parser;
use firelane_record::msgpack::{self, Token};
use firelane_record::{MapWriter, RecordsBuf, Timestamp};
use memchr::memmem::Finder;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::json_stream::JsonStream;
use crate::serve::{Got, Server, parser, read, refuse, warn, without_effect};

/// The plugin.
pub static PLUGIN: InputPlugin =
    InputPlugin::new::<Config>("tcp", "JSON objects or lines over TCP", Stability::Stable).network();

/// Properties of `[INPUT] Name tcp`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Config {
    /// Address to listen on.
    #[serde(default = "any_address")]
    listen: String,
    /// Port to listen on.
    #[serde(default = "default_port")]
    port: u16,
    /// `json`, or `none`: text between separators. `json` where it is absent, unless there is a `parser`.
    format: Option<Located<String>>,
    /// What ends a record of `format none`; takes `\n`, `\r`, `\t`, `\0`, `\\` and `\x0a`.
    separator: Option<Located<String>>,
    /// Parser for the text of a record; implies `format none`. Text that it does not fit stays under `log`.
    parser: Option<Located<String>>,
    /// Used for `buffer_size` where that is absent; buffers grow by themselves.
    chunk_size: Option<Located<String>>,
    /// Largest record: KiB, or bytes with a unit (`64K`, `1M`). Absent: 1024 KiB (Fluent Bit: 32).
    buffer_size: Option<Located<String>>,
    /// Adds the client's address (`tcp://10.0.0.7:51234`) under this key.
    source_address_key: Option<String>,
    /// Every connection is a task of its own: no effect.
    #[expect(dead_code, reason = "named in a warning")]
    workers: Option<u32>,
    /// Used by clients only: no effect.
    #[expect(dead_code, reason = "named in a warning")]
    host: Option<String>,
}

fn any_address() -> String {
    "0.0.0.0".into()
}

fn default_port() -> u16 {
    5170
}

/// Largest record where nothing is said: stack traces are longer than Fluent Bit's 32 KiB.
const SIZE_DEFAULT: usize = 1 << 20;
/// Smallest limit that is taken.
const SIZE_MIN: usize = 1 << 10;

const UNUSED: &[(&str, &str)] = &[
    ("workers", "every connection is a task of its own"),
    ("host", "a server listens on `listen`"),
];

impl InputConfig for Config {
    fn build(self, cx: &BuildCx<'_>) -> Result<Box<dyn Input>, Vec<Diagnostic>> {
        without_effect(cx, UNUSED);
        let (format, limit) = (self.format(cx), self.limit(cx));
        let server = Server::read(cx, ListenAddr::tcp(&self.listen, self.port));
        match (format, limit, server) {
            (Ok(format), Ok(limit), Ok(server)) => Ok(Box::new(Tcp {
                server,
                settings: Arc::new(Settings {
                    format,
                    limit,
                    address_key: self.source_address_key,
                }),
            })),
            (format, limit, server) => {
                let own = format.err().into_iter().chain(limit.err());
                Err(own.chain(server.err().into_iter().flatten()).collect())
            }
        }
    }
}

impl Config {
    fn format(&self, cx: &BuildCx<'_>) -> Result<Format, Diagnostic> {
        let given = self.format.as_ref().map(|given| given.value.as_str());
        let json = match given {
            Some(text) if text.eq_ignore_ascii_case("json") => true,
            Some(text) if text.eq_ignore_ascii_case("none") => false,
            Some(text) => {
                let error = refuse(cx, "format", &format!("unrecognized format value '{text}'"));
                return Err(error.help("write `json`, or `none` for lines of text"));
            }
            None => self.parser.is_none(),
        };
        if json && self.parser.is_some() {
            warn(cx, "format", "`parser` reads lines of text: taken as `none`");
        } else if json {
            if self.separator.is_some() {
                warn(
                    cx,
                    "separator",
                    "has no effect: `format json` finds records by their structure",
                );
            }
            return Ok(Format::Json);
        }
        let separator = match &self.separator {
            Some(given) => unescape(&given.value).map_err(|reason| refuse(cx, "separator", reason))?,
            None => b"\n".to_vec(),
        };
        let parser = self.parser.as_ref().map(|name| parser(cx, name)).transpose()?;
        Ok(Format::Lines {
            separator: Box::new(Finder::new(&separator).into_owned()),
            parser,
        })
    }

    fn limit(&self, cx: &BuildCx<'_>) -> Result<usize, Diagnostic> {
        let sizes = [
            ("buffer_size", &self.buffer_size),
            ("chunk_size", &self.chunk_size),
        ];
        let mut limit = None;
        for (key, given) in sizes {
            let Some(given) = given else { continue };
            let size = size(&given.value).map_err(|error| refuse(cx, key, &error.to_string()))?;
            limit.get_or_insert(size.max(SIZE_MIN));
        }
        Ok(limit.unwrap_or(SIZE_DEFAULT))
    }
}

/// A number of KiB, or of bytes with a unit behind it.
fn size(text: &str) -> Result<usize, firelane_conf::units::UnitError> {
    let text = text.trim();
    if let Ok(kib) = text.parse::<u32>() {
        return Ok(usize::try_from(u64::from(kib) * 1024).unwrap_or(usize::MAX));
    }
    let bytes: ByteSize = text.parse()?;
    Ok(usize::try_from(bytes.0).unwrap_or(usize::MAX))
}

/// The bytes of a separator, escapes resolved.
fn unescape(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'x') => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                match (digit(bytes.next()), digit(bytes.next())) {
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                    _ => return Err("`\\x` takes two hexadecimal digits"),
                }
            }
            Some(other) => other,
            None => return Err("ends in a lone `\\`; write `\\\\` for one"),
        });
    }
    if out.is_empty() {
        return Err("is empty");
    }
    Ok(out)
}

enum Format {
    Json,
    Lines {
        separator: Box<Finder<'static>>,
        parser: Option<Arc<dyn Parser>>,
    },
}

struct Settings {
    format: Format,
    /// Largest record, in bytes.
    limit: usize,
    address_key: Option<String>,
}

struct Tcp {
    server: Server,
    settings: Arc<Settings>,
}

impl Input for Tcp {
    fn open(&mut self) -> BoxFuture<'_, Result<(), InputError>> {
        Box::pin(self.server.open())
    }

    fn run(self: Box<Self>, cx: InputCx) -> BoxFuture<'static, Result<(), InputError>> {
        let Self { server, settings } = *self;
        Box::pin(server.run(cx, move |stream, peer, cx| {
            serve(stream, peer, cx, settings.clone())
        }))
    }
}

/// One connection, to its end.
async fn serve(mut stream: Stream, peer: Peer, cx: InputCx, settings: Arc<Settings>) {
    let to = cx.ingest.stream(AckOn::Append);
    let mut decoder = Decoder::new(&settings, &peer);
    let mut buffer = BytesMut::new();
    loop {
        let got = match read(&mut stream, &mut buffer, &cx).await {
            Ok(got) => got,
            Err(error) => {
                tracing::debug!(target: "input", instance = %cx.name, %peer, %error, "connection lost");
                Got::End
            }
        };
        let ended = got != Got::Bytes;
        let bad = decoder.decode(&mut buffer, ended);
        let records = decoder.records.take();
        if bad > 0 {
            cx.malformed(bad);
            decoder.complain(&cx, &peer);
        }
        // An error means that the engine has ended: so does this.
        if cx.append(&to, &cx.tag, records).await.is_err() || ended {
            return;
        }
    }
}

/// Bytes of one connection to records.
struct Decoder<'s> {
    settings: &'s Settings,
    /// The pair to add, as MessagePack.
    address: Vec<u8>,
    json: JsonStream,
    lines: Lines,
    records: RecordsBuf,
    complained: bool,
}

#[derive(Default)]
struct Lines {
    /// Bytes at the start of the buffer that hold no separator.
    searched: usize,
    /// In a record that is over the limit.
    skipping: bool,
    map: MapWriter,
}

impl<'s> Decoder<'s> {
    fn new(settings: &'s Settings, peer: &Peer) -> Self {
        let mut address = Vec::new();
        if let Some(key) = &settings.address_key {
            msgpack::write_str(&mut address, key.as_bytes());
            msgpack::write_str(&mut address, format!("tcp://{peer}").as_bytes());
        }
        Self {
            settings,
            address,
            json: JsonStream::default(),
            lines: Lines::default(),
            records: RecordsBuf::default(),
            complained: false,
        }
    }

    /// Takes the records of `buffer`; the number of pieces that were none.
    fn decode(&mut self, buffer: &mut BytesMut, ended: bool) -> u64 {
        let now = Timestamp::from_system(SystemTime::now());
        match &self.settings.format {
            Format::Json => {
                let (records, address) = (&mut self.records, &self.address);
                let take = |value: &[u8]| push_value(records, now, value, address);
                self.json.drain(buffer, self.settings.limit, ended, take)
            }
            Format::Lines { separator, parser } => {
                self.decode_lines(buffer, ended, now, separator, parser.as_deref())
            }
        }
    }

    fn decode_lines(
        &mut self,
        buffer: &mut BytesMut,
        ended: bool,
        now: Timestamp,
        separator: &Finder<'_>,
        parser: Option<&dyn Parser>,
    ) -> u64 {
        let (mut at, mut bad) = (0, 0);
        let width = separator.needle().len();
        while let Some(hit) = separator.find(&buffer[at + self.lines.searched..]) {
            let end = at + self.lines.searched + hit;
            let text = &buffer[at..end];
            if std::mem::take(&mut self.lines.skipping) || text.len() > self.settings.limit {
                bad += 1;
            } else if !text.is_empty() {
                push_text(
                    &mut self.records,
                    now,
                    text,
                    parser,
                    &self.address,
                    &mut self.lines.map,
                );
            }
            at = end + width;
            self.lines.searched = 0;
        }
        buffer.advance(at);
        if ended {
            bad += u64::from(self.lines.skipping || !buffer.is_empty());
            buffer.clear();
        } else if self.lines.skipping || buffer.len() >= self.settings.limit + width {
            // The beginning of a separator may stand at the end.
            self.lines.skipping = true;
            buffer.advance(buffer.len().saturating_sub(width - 1));
        }
        self.lines.searched = buffer.len().saturating_sub(width - 1);
        bad
    }

    /// Says once per connection that it sends what is no record.
    fn complain(&mut self, cx: &InputCx, peer: &Peer) {
        if !std::mem::replace(&mut self.complained, true) {
            let limit = self.settings.limit;
            tracing::warn!(target: "input", instance = %cx.name, %peer, limit, "data that is no record, or over \
                `buffer_size`, was skipped; more of this connection is only counted");
        }
    }
}

/// Appends a JSON value: an object as it is, an array under `msg`. False: it is neither.
fn push_value(records: &mut RecordsBuf, now: Timestamp, value: &[u8], address: &[u8]) -> bool {
    let more = u32::from(!address.is_empty());
    match msgpack::read(value) {
        Some((Token::Map(_), _)) if address.is_empty() => records.push(now, None, value),
        Some((Token::Map(count), head)) => records.push_with(now, None, |out| {
            msgpack::write_map_head(out, count.saturating_add(more));
            out.extend_from_slice(&value[head..]);
            out.extend_from_slice(address);
        }),
        Some((Token::Array(_), _)) => records.push_with(now, None, |out| {
            msgpack::write_map_head(out, 1 + more);
            msgpack::write_str(out, b"msg");
            out.extend_from_slice(value);
            out.extend_from_slice(address);
        }),
        _ => return false,
    }
    true
}

/// Appends a piece of text: what the parser makes of it, else `{"log": text}`.
fn push_text(
    records: &mut RecordsBuf,
    now: Timestamp,
    text: &[u8],
    parser: Option<&dyn Parser>,
    address: &[u8],
    map: &mut MapWriter,
) {
    map.clear();
    let parsed = parser.and_then(|parser| parser.parse(text, map).ok());
    if parsed.is_none() {
        map.str(b"log", text);
    }
    let more = u32::from(!address.is_empty());
    records.push_with(parsed.flatten().unwrap_or(now), None, |out| {
        msgpack::write_map_head(out, map.count() + more);
        out.extend_from_slice(map.pairs());
        out.extend_from_slice(address);
    });
}

#[cfg(test)]
mod tests {
    use firelane_record::json::object_to_map;
    use firelane_record::text;
    use proptest::prelude::*;

    use super::*;

    struct Json;

    impl Parser for Json {
        fn parse(
            &self,
            text: &[u8],
            out: &mut MapWriter,
        ) -> Result<Option<Timestamp>, firelane_parse::Unparsed> {
            let read = object_to_map(text, out);
            read.map(|_| None).map_err(|_| firelane_parse::Unparsed)
        }
    }

    fn settings(separator: Option<&str>, parser: bool, address: bool) -> Settings {
        let lines = |separator| Format::Lines {
            separator: Box::new(Finder::new(&unescape(separator).unwrap()).into_owned()),
            parser: parser.then(|| Arc::new(Json) as Arc<dyn Parser>),
        };
        Settings {
            format: separator.map_or(Format::Json, lines),
            limit: 20,
            address_key: address.then(|| "from".into()),
        }
    }

    /// The records of a connection, printed, and the number of faults.
    fn decode(settings: &Settings, pieces: &[&[u8]]) -> (Vec<String>, u64) {
        let mut decoder = Decoder::new(settings, &Peer::Tcp(([10, 0, 0, 7], 9).into()));
        let (mut buffer, mut bad) = (BytesMut::new(), 0);
        for piece in pieces {
            buffer.extend_from_slice(piece);
            bad += decoder.decode(&mut buffer, false);
            assert!(
                buffer.len() <= settings.limit + 1,
                "{} bytes are kept",
                buffer.len()
            );
        }
        bad += decoder.decode(&mut buffer, true);
        assert!(buffer.is_empty());
        let records = decoder.records.take();
        let print = |event: firelane_record::Event<'_>| {
            let mut out = Vec::new();
            text::write_value(&mut out, event.body);
            String::from_utf8_lossy(&out).into_owned()
        };
        (records.events().map(print).collect(), bad)
    }

    #[track_caller]
    fn check(settings: &Settings, sent: &str, want: &[&str], bad: u64) {
        let want: Vec<_> = want.iter().map(ToString::to_string).collect();
        assert_eq!(
            decode(settings, &[sent.as_bytes()]),
            (want.clone(), bad),
            "{sent:?}"
        );
        let bytes: Vec<_> = sent.as_bytes().chunks(1).collect();
        assert_eq!(decode(settings, &bytes), (want, bad), "byte by byte: {sent:?}");
    }

    #[test]
    fn json_objects_and_arrays() {
        let sent = "{\"a\":1}\n[2,3]{\"b\":{}} 7 ";
        let want = [r#"{"a"=>1}"#, r#"{"msg"=>[2, 3]}"#, r#"{"b"=>{}}"#];
        check(&settings(None, false, false), sent, &want, 1);
        let want = [
            r#"{"a"=>1, "from"=>"tcp://10.0.0.7:9"}"#,
            r#"{"msg"=>[2], "from"=>"tcp://10.0.0.7:9"}"#,
        ];
        check(&settings(None, false, true), "{\"a\":1}[2]", &want, 0);
    }

    #[test]
    fn text_between_separators() {
        let lines = settings(Some("\\n"), false, false);
        check(
            &lines,
            "one\r\n\n\ntwo\nrest",
            &["{\"log\"=>\"one\r\"}", "{\"log\"=>\"two\"}"],
            1,
        );
        let two = settings(Some("||"), false, true);
        let want = [
            r#"{"log"=>"a|b", "from"=>"tcp://10.0.0.7:9"}"#,
            r#"{"log"=>"c", "from"=>"tcp://10.0.0.7:9"}"#,
        ];
        check(&two, "a|b||c||", &want, 0);
        let parsed = settings(Some("\\x0a"), true, false);
        check(
            &parsed,
            "{\"a\":1}\nno\n",
            &[r#"{"a"=>1}"#, r#"{"log"=>"no"}"#],
            0,
        );
    }

    #[test]
    fn long_records_cost_themselves() {
        let long = "x".repeat(50);
        let lines = settings(Some("||"), false, false);
        check(&lines, &format!("{long}||a||{long}"), &[r#"{"log"=>"a"}"#], 2);
        let json = settings(None, false, false);
        let sent = format!("{{\"b\":[\"{long}\",1.5e3,\"}}{long}\"]}}{{\"a\":1}}");
        check(&json, &sent, &[r#"{"a"=>1}"#], 1);
    }

    #[test]
    fn separators() {
        assert_eq!(unescape("\\r\\n").unwrap(), b"\r\n");
        assert_eq!(unescape("\\x00\\\\;").unwrap(), b"\0\\;");
        for text in ["", "\\", "\\x0", "\\xzz"] {
            assert!(unescape(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_kib_without_unit() {
        assert_eq!(size("32").unwrap(), 32 * 1024);
        assert_eq!(size("64K").unwrap(), 64_000);
        assert!(size("much").is_err());
    }

    proptest! {
        /// Scenario: any text arrives in any pieces. Guarantees: the same records and faults as in one piece.
        #[test]
        fn pieces_do_not_matter(
            text in "(\\|\\||[a|]|[a-z]{5}){0,16}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let settings = settings(Some("||"), false, false);
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(decode(&settings, &pieces), decode(&settings, &[bytes]));
        }
    }
}
