//! Log lines on standard error, or in a file, in Fluent Bit's shape:
//! `[2025/01/31 12:00:00.123] [ info] [output:http.0] text key=value`.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use firelane_parse::timefmt::Civil;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Nothing.
    Off,
    /// Errors.
    Error,
    /// And warnings.
    Warn,
    /// And what happens.
    Info,
    /// And why.
    Debug,
    /// And every step.
    Trace,
}

impl Verbosity {
    /// From `log_level`'s words.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "off" => Self::Off,
            "error" => Self::Error,
            "warn" | "warning" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return None,
        })
    }

    /// So many steps more (`-v`) or less (`-q` is one step to errors only).
    pub(crate) fn more(self, steps: u8) -> Self {
        let all = [
            Self::Off,
            Self::Error,
            Self::Warn,
            Self::Info,
            Self::Debug,
            Self::Trace,
        ];
        let at = all.iter().position(|&level| level == self).unwrap_or(3);
        all[(at + usize::from(steps)).min(all.len() - 1)]
    }

    fn filter(self) -> LevelFilter {
        match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

/// Starts logging. A second call has no effect: the first one stays.
pub(crate) fn start(level: Verbosity, file: Option<File>) {
    let builder = tracing_subscriber::fmt()
        .event_format(Shape)
        .with_max_level(level.filter());
    // An error means that logging runs already.
    let _ = match file {
        Some(file) => builder.with_writer(Mutex::new(file)).try_init(),
        None => builder.with_writer(std::io::stderr).try_init(),
    };
}

/// Writes one line in Fluent Bit's shape.
pub(crate) fn line(level: &str, text: &str) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_stamp(&mut out, SystemTime::now());
    let _ = write!(out, " [{level:>5}] {text}");
    out
}

struct Shape;

impl<S, N> FormatEvent<S, N> for Shape
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        write_stamp(&mut out, SystemTime::now())?;
        // Targets of our own are short words; those of crates are paths.
        let target = event.metadata().target();
        let target = target.rsplit("::").next().unwrap_or(target);
        write!(out, " [{level:>5}] [{target}")?;
        if !fields.instance.is_empty() {
            write!(out, ":{}", fields.instance)?;
        }
        writeln!(out, "] {}{}", fields.message, fields.rest)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    instance: String,
    rest: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        // One event is one line, whatever a peer sent.
        let text = if text.contains(['\n', '\r']) {
            text.escape_debug().to_string()
        } else {
            text
        };
        let _ = match field.name() {
            "message" => write!(self.message, "{text}"),
            "instance" => write!(self.instance, "{text}"),
            name => write!(self.rest, " {name}={text}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if !value.is_empty() {
            self.record_debug(field, &format_args!("{value}"));
        }
    }
}

/// `[2025/01/31 12:00:00.123]`, UTC.
fn write_stamp(out: &mut impl fmt::Write, now: SystemTime) -> fmt::Result {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ..
    } = Civil::from_epoch(since.as_secs() as i64);
    let millis = since.subsec_millis();
    write!(
        out,
        "[{year:04}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03}]"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn stamps_are_utc() {
        let mut out = String::new();
        write_stamp(&mut out, UNIX_EPOCH + Duration::from_millis(1_738_324_800_123)).unwrap();
        assert_eq!(out, "[2025/01/31 12:00:00.123]");
        out.clear();
        write_stamp(&mut out, UNIX_EPOCH + Duration::from_secs(11_016 * 86_400)).unwrap();
        assert_eq!(out, "[2000/02/29 00:00:00.000]");
    }

    #[test]
    fn verbosity_moves_in_steps() {
        assert_eq!(Verbosity::Info.more(1), Verbosity::Debug);
        assert_eq!(Verbosity::Info.more(9), Verbosity::Trace);
        assert_eq!(Verbosity::parse("WARNING"), Some(Verbosity::Warn));
        assert_eq!(Verbosity::parse("loud"), None);
        for word in firelane_conf::service::LEVELS {
            assert!(Verbosity::parse(word).is_some(), "{word}");
        }
    }
}
