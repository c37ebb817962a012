//! `firelane buffer ls`: what is on disk.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use firelane_buffer::store::inspect::totals::{Graves, LetterFile, Sum, Totals};
use firelane_buffer::store::inspect::{Inspection, SegmentSummary};
use firelane_record::Tag;
use serde_json::{Value, json};

use super::place::Place;
use super::text::{bytes, number, plain, span, table};
use super::{Trouble, tell_unread};
use crate::exit::Exit;
use crate::say;

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Tables.
    Human,
    /// One JSON object.
    Json,
}

/// Tags that are listed.
const TAGS_MAX: usize = 20;

/// Everything that is listed.
#[derive(Default)]
struct Found {
    /// Segments of the log.
    segments: Vec<SegmentSummary>,
    totals: Totals,
    graves: Graves,
}

/// Lists.
pub(super) fn run(path: &Path, format: Format) -> Result<Exit, Trouble> {
    let place = Place::find(path)?;
    let mut found = Found::default();
    if let Some(folder) = &place.log {
        let inspection = Inspection::open(folder.look()).map_err(place.unreadable())?;
        let listed = inspection.segments(|segment| {
            let file = folder.file(&segment.file);
            found.segments.push(SegmentSummary { file, ..segment });
        });
        listed.map_err(place.unreadable())?;
        found.totals = Totals::of(&inspection).map_err(place.unreadable())?;
    }
    for folder in &place.dead {
        let mut graves = Graves::of(folder.look(), |_| true).map_err(place.unreadable())?;
        for file in &mut graves.files {
            file.file = folder.file(&file.file);
        }
        found.graves.add(graves);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| now.as_millis() as u64);
    let exit = match format {
        Format::Human => say::out(&found.text(now_ms)),
        Format::Json => say::out(&format!("{:#}\n", found.json())),
    };
    let mut unread = found.totals.unread;
    unread.add(found.graves.unread);
    // What is damaged stands in the list.
    let _ = tell_unread(unread);
    Ok(exit)
}

impl Found {
    fn text(&self, now_ms: u64) -> String {
        let mut out = String::new();
        if !self.segments.is_empty() {
            out.push_str(&self.segments_text());
            out.push('\n');
        }
        out.push_str(&self.waiting_text(now_ms));
        out.push_str(&self.dead_text(now_ms));
        out
    }

    fn segments_text(&self) -> String {
        let row = |segment: &SegmentSummary| {
            let mut notes = Vec::new();
            if segment.torn > 0 {
                notes.push(format!("{} of a write cut off", bytes(segment.torn)));
            }
            if segment.damaged > 0 {
                notes.push(format!("{} damaged", bytes(segment.damaged)));
            }
            notes.extend(segment.problem.clone());
            vec![
                segment.file.clone(),
                bytes(segment.bytes),
                segment.blocks.to_string(),
                segment.needed_blocks.to_string(),
                segment.records.to_string(),
                segment.needed.to_string(),
                notes.join(", "),
            ]
        };
        let rows: Vec<_> = self.segments.iter().map(row).collect();
        let heads = [
            "SEGMENT", ">BYTES", ">BLOCKS", ">NEEDED", ">RECORDS", ">WAITING", "",
        ];
        table(&heads, &rows)
    }

    fn waiting_text(&self, now_ms: u64) -> String {
        let totals = &self.totals;
        if totals.sum.records == 0 {
            return "no records wait\n".into();
        }
        let records = number(totals.sum.records, "record waits", "records wait");
        let blocks = number(totals.blocks, "block", "blocks");
        let size = bytes(totals.sum.bytes);
        let oldest = totals.times.map_or(0, |(first, _)| now_ms.saturating_sub(first));
        let mut out = format!(
            "{records} ({size}) in {blocks}, the oldest for {}\n\n",
            span(oldest)
        );
        let (tags, rest) = top(totals);
        let row = |(tag, sum): &(String, Sum)| vec![plain(tag), sum.records.to_string(), bytes(sum.bytes)];
        let mut rows: Vec<_> = tags.iter().map(row).collect();
        if rest.records > 0 {
            rows.push(row(&("(other tags)".into(), rest)));
        }
        out.push_str(&table(&["TAG", ">RECORDS", ">BYTES"], &rows));
        if !totals.routes.is_empty() {
            let routes = totals.routes.iter();
            let rows: Vec<_> = routes
                .map(|(key, route)| vec![plain(key), route.settled.to_string(), route.alone.to_string()])
                .collect();
            out.push('\n');
            out.push_str(&table(&["OUTPUT", ">IS DONE WITH", ">WAIT FOR IT ALONE"], &rows));
        }
        out
    }

    fn dead_text(&self, now_ms: u64) -> String {
        let graves = &self.graves;
        if graves.files.is_empty() {
            return "no dead letters\n".into();
        }
        let row = |file: &LetterFile| {
            let (letters, records) = (file.letters.to_string(), file.records.to_string());
            vec![file.file.clone(), bytes(file.bytes), letters, records]
        };
        let rows: Vec<_> = graves.files.iter().map(row).collect();
        let mut out = String::from("\n");
        out.push_str(&table(&["DEAD LETTERS", ">BYTES", ">LETTERS", ">RECORDS"], &rows));
        let rows: Vec<_> = graves
            .graves
            .iter()
            .map(|(grave, sum)| {
                let last = sum.times.map_or(0, |(_, last)| now_ms.saturating_sub(last));
                vec![
                    plain(&grave.route),
                    plain(grave.key.as_deref().unwrap_or_default()),
                    plain(&grave.reason),
                    sum.records.to_string(),
                    format!("{} ago", span(last)),
                    plain(&sum.cause),
                ]
            })
            .collect();
        let heads = ["OUTPUT", "KEY", "REASON", ">RECORDS", ">LAST", "CAUSE"];
        out.push('\n');
        out.push_str(&table(&heads, &rows));
        out
    }

    fn json(&self) -> Value {
        let totals = &self.totals;
        let segment = |segment: &SegmentSummary| {
            json!({
                "file": segment.file, "bytes": segment.bytes,
                "blocks": segment.blocks, "needed_blocks": segment.needed_blocks,
                "records": segment.records, "waiting": segment.needed, "waiting_bytes": segment.needed_bytes,
                "oldest_ms": segment.times.map(|times| times.0), "newest_ms": segment.times.map(|times| times.1),
                "cut_off_bytes": segment.torn, "damaged_bytes": segment.damaged, "problem": segment.problem,
            })
        };
        let (tags, rest) = top(totals);
        let tag =
            |(tag, sum): &(String, Sum)| json!({ "tag": tag, "records": sum.records, "bytes": sum.bytes });
        let routes = totals
            .routes
            .iter()
            .map(|(key, route)| json!({ "key": key, "settled": route.settled, "alone": route.alone }));
        let graves = self.graves.graves.iter().map(|(grave, sum)| {
            json!({
                "route": grave.route, "key": grave.key, "reason": grave.reason,
                "letters": sum.letters, "records": sum.records, "cause": sum.cause,
                "oldest_ms": sum.times.map(|times| times.0), "newest_ms": sum.times.map(|times| times.1),
            })
        });
        let files = self.graves.files.iter().map(|file| {
            json!({
                "file": file.file, "bytes": file.bytes, "letters": file.letters, "records": file.records,
            })
        });
        json!({
            "segments": self.segments.iter().map(segment).collect::<Vec<_>>(),
            "waiting": {
                "blocks": totals.blocks, "records": totals.sum.records, "bytes": totals.sum.bytes,
                "oldest_ms": totals.times.map(|times| times.0), "newest_ms": totals.times.map(|times| times.1),
                "tags": tags.iter().map(tag).collect::<Vec<_>>(), "other_tags": rest.records,
                "routes": routes.collect::<Vec<_>>(),
            },
            "dead_letters": {
                "files": files.collect::<Vec<_>>(), "by_route_and_reason": graves.collect::<Vec<_>>(),
            },
        })
    }
}

/// The tags with the most records, and the sum of the others.
fn top(totals: &Totals) -> (Vec<(String, Sum)>, Sum) {
    let mut tags: Vec<(&Tag, &Sum)> = totals.tags.iter().collect();
    tags.sort_by(|a, b| b.1.records.cmp(&a.1.records).then(a.0.cmp(b.0)));
    let mut rest = totals.other_tags;
    for (_, sum) in tags.iter().skip(TAGS_MAX) {
        rest.records += sum.records;
        rest.bytes += sum.bytes;
    }
    let tags = tags.iter().take(TAGS_MAX);
    (
        tags.map(|(tag, sum)| (tag.to_text().into_owned(), **sum))
            .collect(),
        rest,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use firelane_buffer::store::inspect::totals::{Grave, GraveSum, RouteSum};

    use super::*;

    fn found() -> Found {
        let sum = |records| Sum {
            records,
            bytes: records * 100,
        };
        let mut tags: BTreeMap<Tag, Sum> = (1..=21)
            .map(|n| (Tag::new(format!("app.{n}")).unwrap(), sum(n)))
            .collect();
        tags.insert(Tag::new("evil\x1b[2J").unwrap(), sum(500));
        let route = |settled, alone| RouteSum { settled, alone };
        let grave = Grave {
            route: "http.0".into(),
            key: Some("http#0123456789abcdef".into()),
            reason: "refused".into(),
        };
        let letter = GraveSum {
            letters: 1,
            records: 12,
            times: Some((1_000_000, 2_000_000)),
            cause: "HTTP 400\n".into(),
        };
        Found {
            segments: vec![
                SegmentSummary {
                    file: "log/0000000000000001.seg".into(),
                    bytes: 33_554_432,
                    blocks: 120,
                    needed_blocks: 3,
                    records: 40_000,
                    needed: 731,
                    damaged: 280,
                    ..SegmentSummary::default()
                },
                SegmentSummary {
                    file: "log/0000000000000002.seg".into(),
                    bytes: 900,
                    torn: 17,
                    problem: Some("it is odd".into()),
                    ..SegmentSummary::default()
                },
            ],
            totals: Totals {
                blocks: 3,
                sum: sum(731),
                times: Some((10_000_000, 20_000_000)),
                tags,
                routes: [
                    ("http#0123456789abcdef".into(), route(30, 0)),
                    ("old".into(), route(0, 7)),
                ]
                .into(),
                ..Totals::default()
            },
            graves: Graves {
                files: vec![LetterFile {
                    file: "rejected/0000000000000001.seg".into(),
                    bytes: 4096,
                    letters: 1,
                    records: 12,
                }],
                graves: [(grave, letter)].into(),
                ..Graves::default()
            },
        }
    }

    #[test]
    fn the_list_for_people() {
        insta::assert_snapshot!("list", found().text(96_400_000));
        insta::assert_snapshot!("empty_list", Found::default().text(0));
    }

    #[test]
    fn the_list_for_programs() {
        insta::assert_snapshot!("list_json", format!("{:#}", found().json()));
    }
}
