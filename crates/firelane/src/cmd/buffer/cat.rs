//! `firelane buffer cat` and `export`: records as lines of JSON, or as they are.

use std::ops::ControlFlow;
use std::path::Path;

use firelane_buffer::store::format::{BlockImage, Epitaph};
use firelane_buffer::store::inspect::{self, Inspection, Needed, Unread};
use firelane_record::json::{DateFormat, JsonOptions};
use firelane_record::{Event, Match, Tag, Timestamp};

use super::place::Place;
use super::{Select, Trouble, tell_unread};
use crate::exit::Exit;
use crate::say::Stream;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Lines of JSON.
    Json,
    /// Entries of MessagePack.
    Msgpack,
}

/// Prints records.
pub(super) fn run(path: &Path, select: &Select, format: Format, limit: Option<u64>) -> Result<Exit, Trouble> {
    let place = Place::find(path)?;
    let mut printer = Printer {
        tag: select.tag.as_ref(),
        format,
        json: JsonOptions::new(false),
        left: limit.unwrap_or(u64::MAX),
        stream: Stream::new(),
        line: Vec::new(),
    };
    let mut unread = Unread::default();
    // A folder of dead letters was named.
    let dead = select.dead || (!place.is_root && place.log.is_none());
    let route = select.route.as_deref();
    if dead {
        for folder in &place.dead {
            let found = inspect::letters(folder.look(), true, |_, letter| {
                let (epitaph, image) = (&letter.epitaph, &letter.image);
                match route.is_none_or(|route| is_of(route, epitaph, image)) {
                    true => printer.letter(epitaph, image),
                    false => ControlFlow::Continue(()),
                }
            });
            unread.add(found.map_err(place.unreadable())?);
        }
    } else if let Some(folder) = &place.log {
        let inspection = Inspection::open(folder.look()).map_err(place.unreadable())?;
        let found = inspection.blocks(true, |needed| printer.block(needed, route));
        unread.add(found.map_err(place.unreadable())?);
    }
    let exit = printer.stream.end();
    Ok(exit.max(tell_unread(unread)))
}

/// Whether a dead letter is of the route with this name or key.
pub(super) fn is_of(route: &str, epitaph: &Epitaph, image: &BlockImage) -> bool {
    *epitaph.route == *route || image.only.as_deref() == Some(route)
}

struct Printer<'a> {
    tag: Option<&'a Match>,
    format: Format,
    json: JsonOptions,
    /// Records until the limit.
    left: u64,
    stream: Stream,
    line: Vec<u8>,
}

/// Seconds of the marker that begins a group of OTLP records.
const GROUP_START: i64 = 0xFFFF_FFFF;

impl Printer<'_> {
    fn block(&mut self, needed: &Needed<'_>, route: Option<&str>) -> ControlFlow<()> {
        let other = |only: &str| route.is_some_and(|route| route != only);
        if needed.image.only.as_deref().is_some_and(other) {
            return ControlFlow::Continue(());
        }
        let settled_by = |number: u32| {
            let settled = needed.settled().filter(move |(_, set)| set.contains(number));
            settled.map(|(key, _)| key)
        };
        let wanted = |number: u32| {
            needed.is_left(number) && !route.is_some_and(|route| settled_by(number).any(|key| key == route))
        };
        let mut group = None;
        for (range, entry) in needed.runs() {
            let events = entry.records.iter().flat_map(|records| records.events());
            for (number, event) in range.zip(events) {
                let about = |out: &mut Vec<u8>, json: &JsonOptions| {
                    texts(out, json, "settled", settled_by(number));
                    if let Some(only) = &needed.image.only {
                        text(out, json, "only", only);
                    }
                };
                if wanted(number) {
                    self.record(&entry.tag, &event, &mut group, about)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn letter(&mut self, epitaph: &Epitaph, image: &BlockImage) -> ControlFlow<()> {
        let about = |out: &mut Vec<u8>, json: &JsonOptions| {
            text(out, json, "route", &epitaph.route);
            if let Some(key) = &image.only {
                text(out, json, "key", key);
            }
            text(out, json, "reason", &epitaph.reason);
            text(out, json, "cause", &epitaph.cause);
            out.extend_from_slice(format!(",\"attempts\":{},\"given_up\":", epitaph.attempts).as_bytes());
            DateFormat::Iso8601.write(out, wall(epitaph.wall_ms));
        };
        let mut group = None;
        for entry in &image.entries {
            for event in entry.records.iter().flat_map(|records| records.events()) {
                self.record(&entry.tag, &event, &mut group, about)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Prints a record. Markers around groups are no records to people, and go into the records between them.
    fn record<'e>(
        &mut self,
        tag: &Tag,
        event: &Event<'e>,
        group: &mut Option<&'e [u8]>,
        about: impl Fn(&mut Vec<u8>, &JsonOptions),
    ) -> ControlFlow<()> {
        let marker = event.time.is_group_marker();
        if marker {
            *group = (event.time.secs == GROUP_START).then_some(event.body);
        }
        if self.tag.is_some_and(|pattern| !pattern.matches(tag)) {
            return ControlFlow::Continue(());
        }
        if self.format == Format::Msgpack {
            return self.stream.push(event.raw);
        }
        if marker {
            return ControlFlow::Continue(());
        }
        if self.left == 0 {
            return ControlFlow::Break(());
        }
        self.left -= 1;
        let (line, json) = (&mut self.line, &self.json);
        line.clear();
        line.extend_from_slice(b"{\"time\":");
        DateFormat::Iso8601.write(line, event.time);
        line.extend_from_slice(b",\"tag\":");
        json.encode_str(tag.as_bytes(), line);
        line.extend_from_slice(b",\"record\":");
        json.encode_body(event.body, line);
        for (key, map) in [("metadata", event.metadata_filled()), ("group", *group)] {
            if let Some(map) = map {
                line.extend_from_slice(format!(",\"{key}\":").as_bytes());
                json.encode_body(map, line);
            }
        }
        about(line, json);
        line.extend_from_slice(b"}\n");
        self.stream.push(line)
    }
}

fn text(out: &mut Vec<u8>, json: &JsonOptions, key: &str, value: &str) {
    out.extend_from_slice(format!(",\"{key}\":").as_bytes());
    json.encode_str(value.as_bytes(), out);
}

/// A list of texts, if there are any.
fn texts<'a>(out: &mut Vec<u8>, json: &JsonOptions, key: &str, values: impl Iterator<Item = &'a str>) {
    let mut any = false;
    for value in values {
        match any {
            true => out.push(b','),
            false => out.extend_from_slice(format!(",\"{key}\":[").as_bytes()),
        }
        any = true;
        json.encode_str(value.as_bytes(), out);
    }
    if any {
        out.push(b']');
    }
}

fn wall(ms: u64) -> Timestamp {
    Timestamp {
        secs: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
        nanos: (ms % 1000) as u32 * 1_000_000,
    }
}
