//! `firelane logs`: what a local AWS endpoint holds.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use firelane_cloud::view::{Kind, Line, Listed, Local, Page, Position, Remote, ViewError, Wanted};
use firelane_record::Timestamp;
use firelane_record::json::{DateFormat, JsonOptions};

use crate::exit::Exit;
use crate::report;
use crate::say::{self, Stream};

/// What is read, and how it is printed.
#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    /// Folder that `firelane aws --data` was given; an endpoint may run on it.
    #[arg(long, value_name = "DIR", conflicts_with = "endpoint")]
    data: Option<PathBuf>,
    /// Address of a running endpoint; else that of AWS_ENDPOINT_URL, else http://127.0.0.1:4566.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Print the events of this log group.
    #[arg(long, value_name = "GROUP", group = "selected")]
    group: Option<String>,
    /// Only this stream of the group.
    #[arg(long, value_name = "STREAM", requires = "group")]
    stream: Option<String>,
    /// Print the lines of this bucket's objects; gzip and zstd are decompressed.
    #[arg(long, value_name = "BUCKET", group = "selected")]
    bucket: Option<String>,
    /// Print the records of this Firehose delivery stream.
    #[arg(long, value_name = "NAME", group = "selected")]
    delivery_stream: Option<String>,
    /// Print the records of this Kinesis data stream.
    #[arg(long, value_name = "NAME", group = "selected")]
    kinesis_stream: Option<String>,
    /// Only what holds this text.
    #[arg(long, value_name = "TEXT", requires = "selected")]
    grep: Option<String>,
    /// Only from then on: `10m` ago (s, m, h, d), or milliseconds since 1970.
    #[arg(long, value_name = "TIME", requires = "selected", value_parser = since)]
    since: Option<i64>,
    /// Wait for more.
    #[arg(short, long, requires = "selected")]
    follow: bool,
    /// How it is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Time, part and text; of the list a table.
    Text,
    /// A JSON object a line.
    Json,
}

/// Pause between two looks for more.
const PAUSE: Duration = Duration::from_millis(300);
/// The port of `firelane aws`.
const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:4566";

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970.
fn since(text: &str) -> Result<i64, String> {
    let bad = || format!("`{text}` is no time: write 30s, 10m, 2h or 1d, or milliseconds since 1970");
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(ms);
    }
    let unit = text.chars().next_back().ok_or_else(bad)?;
    let factor = match unit {
        's' => 1000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return Err(bad()),
    };
    let number = text.strip_suffix(unit).and_then(|text| text.parse::<i64>().ok());
    let ms = number
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(bad)?;
    Ok(now_ms() - ms)
}

impl LogsArgs {
    fn wanted(&self) -> Option<Wanted> {
        let choices = [
            (Kind::LogGroup, &self.group),
            (Kind::Bucket, &self.bucket),
            (Kind::DeliveryStream, &self.delivery_stream),
            (Kind::DataStream, &self.kinesis_stream),
        ];
        let (kind, name) = choices
            .into_iter()
            .find_map(|(kind, name)| Some((kind, name.clone()?)))?;
        Some(Wanted {
            kind,
            name,
            stream: self.stream.clone(),
            grep: self.grep.clone(),
            since_ms: self.since,
        })
    }
}

/// Where it is read.
enum From {
    Folder(Local),
    Endpoint(Remote, tokio::runtime::Runtime),
}

impl From {
    fn new(args: &LogsArgs) -> Result<Self, ViewError> {
        if let Some(folder) = &args.data {
            return Ok(Self::Folder(Local::new(folder)));
        }
        let from_env = std::env::var("AWS_ENDPOINT_URL")
            .ok()
            .filter(|url| !url.is_empty());
        let url = args.endpoint.clone().or(from_env);
        let remote = Remote::new(url.as_deref().unwrap_or(DEFAULT_ENDPOINT))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self::Endpoint(remote, runtime.map_err(ViewError::Read)?))
    }

    fn list(&self) -> Result<Vec<Listed>, ViewError> {
        match self {
            Self::Folder(local) => local.list(),
            Self::Endpoint(remote, runtime) => runtime.block_on(remote.list()),
        }
    }

    fn page(&self, wanted: &Wanted, position: Position) -> Result<Page, ViewError> {
        match self {
            Self::Folder(local) => local.page(wanted, position),
            Self::Endpoint(remote, runtime) => runtime.block_on(remote.page(wanted, position)),
        }
    }
}

/// Prints what is asked for.
pub(crate) fn run(args: &LogsArgs) -> Exit {
    let done = From::new(args).and_then(|from| match args.wanted() {
        None => Ok(list(&from.list()?, args.format)),
        Some(wanted) => print(&from, &wanted, args),
    });
    done.unwrap_or_else(|error| refused(&error))
}

fn refused(error: &ViewError) -> Exit {
    if let ViewError::Address(_) = error {
        report::usage(&error.to_string());
        return Exit::Usage;
    }
    let (code, help, exit) = match error {
        ViewError::Missing { .. } => ("FL0033", "`firelane logs` lists what is there", Exit::NoInput),
        ViewError::Open(_) | ViewError::Read(_) => (
            "FL0034",
            "DIR is the folder that `firelane aws --data` was given",
            Exit::NoInput,
        ),
        _ => (
            "FL0035",
            "`firelane aws` prints its address; without an endpoint that runs, `--data DIR` reads its folder",
            Exit::NoInput,
        ),
    };
    say::line(&format!("error[{code}]: {error}\n   help: {help}"));
    exit
}

/// The list as a table, or as lines of JSON.
fn list(all: &[Listed], format: Format) -> Exit {
    if format == Format::Json {
        let lines = all.iter().filter_map(|entry| serde_json::to_string(entry).ok());
        return say::out(&lines.map(|line| line + "\n").collect::<String>());
    }
    let names: Vec<_> = all
        .iter()
        .map(|entry| match entry.part.as_str() {
            "" => entry.name.clone(),
            part => format!("{}:{part}", entry.name),
        })
        .collect();
    let width = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0)
        .max(4);
    let mut out = format!(
        "{:15}  {:width$}  {:>9}  {:>12}  LAST\n",
        "KIND", "NAME", "COUNT", "BYTES"
    );
    for (entry, name) in all.iter().zip(&names) {
        let last = entry.last_ms.map_or_else(|| "-".into(), iso);
        let (kind, count, bytes) = (entry.kind.name(), entry.count, entry.bytes);
        out.push_str(&format!(
            "{kind:15}  {name:width$}  {count:>9}  {bytes:>12}  {last}\n"
        ));
    }
    say::out(&out)
}

fn iso(ms: i64) -> String {
    let mut out = Vec::new();
    DateFormat::Iso8601.write(&mut out, timestamp(ms));
    String::from_utf8_lossy(&out).trim_matches('"').to_owned()
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp {
        secs: ms.div_euclid(1000),
        nanos: (ms.rem_euclid(1000) as u32) * 1_000_000,
    }
}

fn print(from: &From, wanted: &Wanted, args: &LogsArgs) -> Result<Exit, ViewError> {
    let mut stream = Stream::new();
    let mut position = Position::default();
    let json = JsonOptions::new(false);
    loop {
        let page = from.page(wanted, position)?;
        let mut line = Vec::new();
        for found in &page.lines {
            line.clear();
            match args.format {
                Format::Text => text_line(found, wanted, &mut line),
                Format::Json => json_line(found, &json, &mut line),
            }
            if stream.push(&line) == ControlFlow::Break(()) {
                return Ok(stream.end());
            }
        }
        position = page.position;
        if page.more {
            continue;
        }
        if !args.follow {
            return Ok(stream.end());
        }
        if stream.flushed() == ControlFlow::Break(()) {
            return Ok(stream.end());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Time, part where there are several, text.
fn text_line(line: &Line, wanted: &Wanted, out: &mut Vec<u8>) {
    let part = match (line.part.as_str(), &wanted.stream) {
        ("", _) | (_, Some(_)) => String::new(),
        (part, None) => format!("{part} "),
    };
    let text = line.text.trim_end_matches(['\n', '\r']);
    out.extend_from_slice(format!("{} {part}{text}\n", iso(line.time_ms)).as_bytes());
}

fn json_line(line: &Line, json: &JsonOptions, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":");
    DateFormat::Iso8601.write(out, timestamp(line.time_ms));
    if !line.part.is_empty() {
        out.extend_from_slice(b",\"part\":");
        json.encode_str(line.part.as_bytes(), out);
    }
    out.extend_from_slice(b",\"text\":");
    json.encode_str(line.text.as_bytes(), out);
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(since("1767323045678").unwrap(), 1_767_323_045_678);
        let ago = now_ms() - since("10m").unwrap();
        assert!((590_000..=610_000).contains(&ago), "{ago}");
        for bad in ["", "m", "10x", "é"] {
            assert!(since(bad).is_err(), "{bad}");
        }
        assert_eq!(iso(1_767_323_045_678), "2026-01-02T03:04:05.678000Z");
    }
}
