//! One page of lines: planned under the lock, read without it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use memchr::memmem::Finder;

use super::{Kind, Line, Page, Position, Wanted, shard_label};
use crate::store::block::Stored;
use crate::store::read::{self, Place, Record, by_number, search};
use crate::store::segment::Frames;
use crate::store::series::{SeriesId, Source};
use crate::store::{Layout, State};

/// Lines and bytes of a page.
const PAGE: read::Page = read::Page {
    records: 20_000,
    bytes: 8 << 20,
};
/// Longest line of an object; more is a line of its own.
const LINE_MAX: u64 = 1 << 20;
/// Most bytes that the window of a zstd object may have: 2^27.
const WINDOW_LOG_MAX: u32 = 27;
/// Blocks that a page looks at for what came new.
const SOURCES_MAX: usize = 64;

/// An object that may have lines.
#[derive(Debug)]
struct ObjectAt {
    key: String,
    modified: i64,
    files: Vec<(u64, u64)>,
}

/// What a page is made of.
#[derive(Debug)]
pub(crate) struct Plan {
    wanted: Wanted,
    position: Position,
    names: HashMap<SeriesId, String>,
    sources: Vec<(SeriesId, Source)>,
    objects: Vec<ObjectAt>,
}

impl Plan {
    /// Finds what may hold the wanted lines; `None` where there is no such thing.
    pub(crate) fn new(state: &State, wanted: Wanted, position: Position) -> Option<Self> {
        let mut plan = Self {
            wanted,
            position,
            names: HashMap::new(),
            sources: Vec::new(),
            objects: Vec::new(),
        };
        if plan.wanted.kind == Kind::Bucket {
            plan.objects = objects(state, &plan.wanted)?;
            return Some(plan);
        }
        plan.names = series(state, &plan.wanted)?;
        let mut ids: Vec<_> = plan.names.keys().copied().collect();
        ids.sort_unstable();
        let found = |id: &SeriesId| state.series.get(id);
        if plan.position.ends.is_empty() && !plan.position.follows {
            let ends = ids.iter().filter_map(|id| Some((*id, found(id)?.next_seq())));
            plan.position.ends = ends.collect();
        }
        let ends: HashMap<_, _> = plan.position.ends.iter().copied().collect();
        let since = plan.wanted.since_ms.unwrap_or(i64::MIN);
        for id in ids {
            let Some(series) = found(&id) else { continue };
            let end = ends.get(&id).copied().unwrap_or(0);
            let sources = match plan.position.follows {
                true => series.sources_from(end, SOURCES_MAX),
                false => {
                    let from = plan.position.after.map_or(since, |(time, ..)| time.max(since));
                    let mut sources = series.sources_between(from, i64::MAX);
                    sources.retain(|source| source.seq() < end);
                    sources
                }
            };
            plan.sources
                .extend(sources.into_iter().map(|source| (id, source)));
        }
        Some(plan)
    }

    /// Reads the page.
    pub(crate) fn read(mut self, frames: &mut Frames, layout: &Layout) -> io::Result<Page> {
        let grep = self.wanted.grep.clone().filter(|text| !text.is_empty());
        let needle = grep.as_ref().map(|text| Finder::new(text.as_bytes()));
        if self.wanted.kind == Kind::Bucket {
            return self.objects(layout, needle.as_ref());
        }
        let (records, more) = match self.position.follows {
            true => self.follow(frames, needle.as_ref())?,
            false => self.history(frames, needle.as_ref())?,
        };
        let lines = records.iter().map(|record| Line {
            time_ms: record.place.time,
            part: self.names.get(&record.place.series).cloned().unwrap_or_default(),
            text: String::from_utf8_lossy(&record.data).into_owned(),
        });
        Ok(Page {
            lines: lines.collect(),
            position: self.position,
            more,
        })
    }

    fn history(
        &mut self,
        frames: &mut Frames,
        needle: Option<&Finder<'_>>,
    ) -> io::Result<(Vec<Record>, bool)> {
        let ends: HashMap<_, _> = self.position.ends.iter().copied().collect();
        let (after, since) = (self.position.place(), self.wanted.since_ms.unwrap_or(i64::MIN));
        let sources = std::mem::take(&mut self.sources);
        let wanted = |place: &Place, _: &Stored<'_>| {
            let was_there = ends.get(&place.series).is_some_and(|end| place.seq < *end);
            was_there && place.time >= since && after.is_none_or(|after| *place > after)
        };
        let (records, more) = search(frames, sources, PAGE, (false, needle), wanted)?;
        match records.last().filter(|_| more) {
            Some(last) => {
                let Place { time, series, seq } = last.place;
                self.position.after = Some((time, series, seq));
            }
            None => self.position.follows = true,
        }
        Ok((records, more))
    }

    fn follow(
        &mut self,
        frames: &mut Frames,
        needle: Option<&Finder<'_>>,
    ) -> io::Result<(Vec<Record>, bool)> {
        let mut ends: HashMap<_, _> = self.position.ends.iter().copied().collect();
        let since = self.wanted.since_ms.unwrap_or(i64::MIN);
        let mut by_series: HashMap<SeriesId, Vec<Source>> = HashMap::new();
        for (id, source) in std::mem::take(&mut self.sources) {
            by_series.entry(id).or_default().push(source);
        }
        let (mut all, mut more) = (Vec::new(), false);
        for (id, sources) in by_series {
            let start = ends.get(&id).copied().unwrap_or(0);
            let last = sources.last().map_or(start, Source::end);
            let (records, next) = by_number(frames, id, &sources, start, PAGE)?;
            ends.insert(id, next);
            more |= next < last || sources.len() == SOURCES_MAX;
            all.extend(records.into_iter().filter(|record| {
                record.place.time >= since && needle.is_none_or(|needle| needle.find(&record.data).is_some())
            }));
        }
        all.sort_by_key(|record: &Record| record.place);
        self.position.ends = ends.into_iter().collect();
        Ok((all, more))
    }

    fn objects(mut self, layout: &Layout, needle: Option<&Finder<'_>>) -> io::Result<Page> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        let last = self.position.object.take();
        self.objects
            .sort_by(|a, b| (a.modified, &a.key).cmp(&(b.modified, &b.key)));
        let mut more = false;
        let mut reached = last.clone();
        for object in &self.objects {
            let here = (object.modified, object.key.as_str());
            let mut skip = 0;
            if let Some((modified, key, given)) = &last {
                match here.cmp(&(*modified, key.as_str())) {
                    std::cmp::Ordering::Less => continue,
                    std::cmp::Ordering::Equal => skip = *given,
                    std::cmp::Ordering::Greater => {}
                }
            }
            if skip == u64::MAX {
                continue;
            }
            let mut text = open(layout, &object.files)?;
            io::copy(&mut text.by_ref().take(skip), &mut io::sink())?;
            let mut at = skip;
            let whole = loop {
                let mut line = Vec::new();
                let read = text.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? as u64;
                if read == 0 {
                    break true;
                }
                at += read;
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                if !line.is_empty() && needle.is_none_or(|needle| needle.find(line).is_some()) {
                    bytes += line.len();
                    lines.push(Line {
                        time_ms: object.modified,
                        part: object.key.clone(),
                        text: String::from_utf8_lossy(line).into_owned(),
                    });
                }
                if bytes >= PAGE.bytes || lines.len() >= PAGE.records {
                    break false;
                }
            };
            reached = Some((
                object.modified,
                object.key.clone(),
                if whole { u64::MAX } else { at },
            ));
            if !whole {
                more = true;
                break;
            }
        }
        let position = Position {
            object: reached,
            ..self.position
        };
        Ok(Page {
            lines,
            position,
            more,
        })
    }
}

/// Series and their labels.
fn series(state: &State, wanted: &Wanted) -> Option<HashMap<SeriesId, String>> {
    let catalog = &state.catalog;
    let name = &wanted.name;
    Some(match wanted.kind {
        Kind::LogGroup => {
            let streams = catalog.groups.get(name)?.streams.iter();
            let chosen =
                streams.filter(|(name, _)| wanted.stream.as_ref().is_none_or(|stream| *name == stream));
            let chosen: HashMap<_, _> = chosen
                .map(|(name, stream)| (stream.series, name.clone()))
                .collect();
            if chosen.is_empty() && wanted.stream.is_some() {
                return None;
            }
            chosen
        }
        Kind::DeliveryStream => HashMap::from([(catalog.delivery_streams.get(name)?.series, String::new())]),
        Kind::DataStream => {
            let shards = catalog.data_streams.get(name)?.shards.iter().enumerate();
            shards.map(|(at, series)| (*series, shard_label(at))).collect()
        }
        Kind::Bucket => HashMap::new(),
    })
}

fn objects(state: &State, wanted: &Wanted) -> Option<Vec<ObjectAt>> {
    let bucket = state.catalog.buckets.get(&wanted.name)?;
    let since = wanted.since_ms.unwrap_or(i64::MIN);
    let objects = bucket
        .objects
        .iter()
        .filter(|(_, object)| object.modified >= since);
    let objects = objects.map(|(key, object)| ObjectAt {
        key: key.clone(),
        modified: object.modified,
        files: object.files.clone(),
    });
    Some(objects.collect())
}

/// The text of an object: decompressed where it is gzip or zstd, whatever its headers say.
fn open(layout: &Layout, files: &[(u64, u64)]) -> io::Result<Box<dyn BufRead>> {
    let mut all: Box<dyn Read> = Box::new(io::empty());
    for (file, _) in files {
        all = Box::new(all.chain(File::open(layout.object(*file))?));
    }
    let mut all = BufReader::with_capacity(64 << 10, all);
    let head = all.fill_buf()?;
    if head.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::new(MultiGzDecoder::new(all))));
    }
    if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(all)?;
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        return Ok(Box::new(BufReader::new(decoder)));
    }
    Ok(Box::new(all))
}
