//! The files of one input: finding them, reading them in turn, noticing rotation, keeping their positions.
//!
//! Runs on a thread of its own, because all of it blocks. Nothing waits here: batches that find no room stay
//! in the [`Outbox`], and reading stops until it is empty.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use firelane_core::InputCounts;
use firelane_record::{MapWriter, RecordsBuf, Timestamp};
use tracing::{debug, info, warn};

use super::batch::{Batch, Mark, Message, Outbox};
use super::form::{Form, Origin};
use super::lines::{LongLines, Splitter};
use super::naming::Naming;
use super::positions::{DbOptions, FileId, Head, Positions, Row};
use super::source::{Growth, Source, Step, growth, head_of, id_of, longer_head, resume, step};
use super::{finding, finding::name_of};

/// Bytes of one read; one read makes at most one batch.
const CHUNK: usize = 256 * 1024;

/// What the properties come to.
pub(super) struct Settings {
    pub(super) patterns: Vec<String>,
    pub(super) exclude: Vec<glob::Pattern>,
    pub(super) refresh: Duration,
    pub(super) from_head: bool,
    pub(super) new_from_head: bool,
    pub(super) rotate_wait: Duration,
    pub(super) ignore_older: Option<Duration>,
    pub(super) ignore_active_older: bool,
    pub(super) line_max: usize,
    pub(super) long: LongLines,
    /// Bytes that one file may give before the next one's turn, until it was read to its end once, and then.
    pub(super) turn_bytes: (u64, u64),
    pub(super) exit_on_eof: bool,
    pub(super) db: Option<(PathBuf, DbOptions)>,
}

/// A closed file whose last records are not safe yet: its row stays until they are.
#[derive(Debug)]
struct Closing {
    id: FileId,
    row: Row,
    life: u32,
    end: u64,
}

/// The files of one input.
pub(super) struct Tailer {
    name: Arc<str>,
    settings: Settings,
    form: Form,
    naming: Naming,
    counts: Arc<InputCounts>,
    positions: Option<Positions>,
    sources: BTreeMap<u64, Source>,
    by_id: HashMap<FileId, u64>,
    closing: BTreeMap<u64, Closing>,
    /// Files whose delivered position is newer than the database.
    moved: BTreeSet<u64>,
    /// Paths that could not be opened and were named in a warning.
    named: BTreeSet<PathBuf>,
    keys: u64,
    turn: u64,
    scanned: bool,
    chunk: Vec<u8>,
    map: MapWriter,
}

/// Paths named in warnings; later ones are not remembered and so named again.
const NAMED_MAX: usize = 1024;

impl Tailer {
    pub(super) fn new(
        name: Arc<str>,
        counts: Arc<InputCounts>,
        (settings, form, naming): (Settings, Form, Naming),
        positions: Option<Positions>,
    ) -> Self {
        Self {
            name,
            settings,
            form,
            naming,
            counts,
            positions,
            sources: BTreeMap::new(),
            by_id: HashMap::new(),
            closing: BTreeMap::new(),
            moved: BTreeSet::new(),
            named: BTreeSet::new(),
            keys: 0,
            turn: 0,
            scanned: false,
            chunk: vec![0; CHUNK],
            map: MapWriter::new(),
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether no file has more to read that is known of.
    pub(super) fn is_caught_up(&self) -> bool {
        self.sources.values().all(|source| source.caught_up)
    }

    /// How many files are followed.
    pub(super) fn files(&self) -> usize {
        self.sources.len()
    }

    /// Looks for files. The first time, what the database knows and no path leads to any more is looked for
    /// too.
    pub(super) fn scan(&mut self, now: Instant) {
        for path in finding::find(&self.settings.patterns, &self.settings.exclude) {
            self.consider(&path);
        }
        if !std::mem::replace(&mut self.scanned, true) {
            self.adopt_orphans(now);
        }
    }

    fn consider(&mut self, path: &Path) {
        let Ok(metadata) = std::fs::metadata(path) else {
            return;
        };
        if !metadata.is_file() {
            return;
        }
        if let Some(source) = self
            .by_id
            .get(&id_of(&metadata))
            .and_then(|key| self.sources.get_mut(key))
        {
            if source.path != path && !source.path_leads_here() {
                source.path = path.to_path_buf();
                source.rotated = None;
                note_name(self.positions.as_ref(), source);
            }
            return;
        }
        if is_older(&metadata, self.settings.ignore_older) {
            return;
        }
        if let Err(error) = self.register(path, None) {
            if self.named.len() < NAMED_MAX && self.named.insert(path.to_path_buf()) {
                warn!(target: "input", instance = %self.name, path = %path.display(), %error, "file is not read");
            }
        } else {
            self.named.remove(path);
        }
    }

    /// Begins to follow the file at `path`. `was`: the path it had before a rename, and the row it goes on
    /// from.
    fn register(&mut self, path: &Path, was: Option<(&Path, Row)>) -> std::io::Result<()> {
        let file = std::fs::File::open(path)?;
        let metadata = file.metadata()?;
        let (id, size) = (id_of(&metadata), metadata.len());
        let named = finding::path_bytes(was.map_or(path, |(old, _)| old));
        let tag = self
            .naming
            .tag(named)
            .ok_or_else(|| std::io::Error::other("no tag can be made of its path"))?;
        let from_head = if self.scanned {
            self.settings.new_from_head
        } else {
            self.settings.from_head
        };
        let fresh = if from_head { 0 } else { size };
        let (row, head, offset) = match was {
            Some((_, row)) => (Some(row.id), row.head, row.offset),
            None => self.place(id, path, &file, (fresh, size)),
        };
        self.keys += 1;
        self.counts.files_opened.add(1);
        info!(target: "input", instance = %self.name, path = %path.display(), inode = id.inode, offset, "following");
        let source = Source {
            id,
            path: was.map_or(path, |(old, _)| old).to_path_buf(),
            tag,
            path_pair: self.form.path_pair(named),
            file,
            splitter: Splitter::new(offset, self.settings.line_max, self.settings.long),
            life: 0,
            rotated: None,
            row,
            head,
            seen: Head::default(),
            delivered: offset,
            caught_up: false,
        };
        self.by_id.insert(id, self.keys);
        self.sources.insert(self.keys, source);
        Ok(())
    }

    /// The row, known head and first offset of a file; without a row it starts at `fresh`.
    fn place(
        &self,
        id: FileId,
        path: &Path,
        file: &std::fs::File,
        at: (u64, u64),
    ) -> (Option<i64>, Head, u64) {
        let (fresh, size) = at;
        let Some(db) = &self.positions else {
            return (None, Head::default(), fresh);
        };
        let name = name_of(path);
        let placed = || -> rusqlite::Result<_> {
            // The inode of a file that was just closed may be in use again.
            let reused = self.closing.values().any(|closing| closing.id == id);
            if let (Some(row), false) = (db.find(id, &name)?, reused) {
                let now = head_of(file, row.head.len).filter(|_| row.head.len > 0);
                let offset = resume(row.offset, row.head, now, size);
                db.know(row.id, id)?;
                let head = if offset == row.offset {
                    row.head
                } else {
                    Head::default()
                };
                return Ok((Some(row.id), head, offset));
            }
            let created = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |now| now.as_secs().cast_signed());
            Ok((
                Some(db.insert(id, &name, fresh, created)?),
                Head::default(),
                fresh,
            ))
        };
        placed().unwrap_or_else(|error| {
            warn!(target: "input", instance = %self.name, %name, %error, "the position database did not answer");
            (None, Head::default(), fresh)
        })
    }

    /// Files that were renamed while nothing ran: the rest of each is read under its old name. Rows without a
    /// file are forgotten, where their names are ours.
    fn adopt_orphans(&mut self, now: Instant) {
        let Some(db) = &self.positions else { return };
        let stored = db.all().unwrap_or_default();
        for stored in stored {
            let known = self
                .sources
                .values()
                .any(|source| source.row == Some(stored.row.id));
            let path = Path::new(&stored.name);
            if known || !finding::matches(&self.settings.patterns, &self.settings.exclude, path) {
                continue;
            }
            let found = finding::renamed(path, stored.inode)
                .filter(|found| !self.by_id.contains_key(&found.id) && stored.row.head.len > 0)
                .filter(|found| head_of(&found.file, stored.row.head.len) == Some(stored.row.head));
            let adopted =
                found.is_some_and(|found| self.register(&found.path, Some((path, stored.row))).is_ok());
            if adopted {
                if let Some(source) = self.sources.get_mut(&self.keys) {
                    source.rotated = Some(now);
                }
            } else if let Some(db) = &self.positions
                && let Err(error) = db.forget(stored.row.id)
            {
                warn!(target: "input", instance = %self.name, %error, "the position database did not answer");
            }
        }
    }

    /// Reads every file that has more, one after the other, until the outbox is full. Whether anything came.
    pub(super) fn poll(&mut self, out: &mut Outbox) -> bool {
        let keys: Vec<u64> = self
            .sources
            .range(self.turn + 1..)
            .chain(self.sources.range(..=self.turn))
            .map(|(key, _)| *key)
            .collect();
        let mut progress = false;
        for key in keys {
            if out.is_full() {
                return true;
            }
            self.turn = key;
            match self.read(key, out) {
                Ok(more) => progress |= more,
                Err(error) => {
                    let path = self
                        .sources
                        .get(&key)
                        .map(|source| source.path.display().to_string());
                    warn!(target: "input", instance = %self.name, path, %error, "file cannot be read any more");
                    self.close(key, out);
                }
            }
        }
        // Everyone had a turn: a file is read ahead of the one that took its name.
        self.turn = 0;
        progress
    }

    fn read(&mut self, key: u64, out: &mut Outbox) -> std::io::Result<bool> {
        let Some(source) = self.sources.get_mut(&key) else {
            return Ok(false);
        };
        let metadata = source.file.metadata()?;
        if self.settings.ignore_active_older && is_older(&metadata, self.settings.ignore_older) {
            return Ok(false);
        }
        match growth(source.splitter.next(), metadata.len()) {
            Growth::None => {
                source.caught_up = true;
                return Ok(false);
            }
            Growth::Cut => self.cut(key, out),
            Growth::More(_) if !source.begins_as_before() => self.cut(key, out),
            Growth::More(_) => {}
        }
        let Some(source) = self.sources.get_mut(&key) else {
            return Ok(false);
        };
        let (first, then) = self.settings.turn_bytes;
        let mut left = if source.caught_up { then } else { first };
        while left > 0 && !out.is_full() {
            let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let Some(buf) = self.chunk.get_mut(..want) else {
                break;
            };
            let n = source.read(buf)?;
            if source.rotated.is_some() {
                // Whoever writes it has not changed over to the new file yet.
                source.rotated = Some(Instant::now());
            }
            if let Some(batch) = pack(&self.form, (key, source), Some(&buf[..n]), &mut self.map) {
                out.push(Message::Batch(batch));
            }
            if n < want {
                source.caught_up = true;
                break;
            }
            left -= n as u64;
        }
        source.seen = longer_head(&source.file, source.seen, source.splitter.next());
        Ok(true)
    }

    /// The file was cut to nothing or less than was read: what waited for its line end goes on, and reading
    /// starts at 0.
    fn cut(&mut self, key: u64, out: &mut Outbox) {
        let Some(source) = self.sources.get_mut(&key) else {
            return;
        };
        debug!(target: "input", instance = %self.name, path = %source.path.display(), "file was truncated");
        let rest = pack(&self.form, (key, source), None, &mut self.map);
        source.life = source.life.wrapping_add(1);
        source.splitter = Splitter::new(0, self.settings.line_max, self.settings.long);
        (source.head, source.seen) = (Head::default(), Head::default());
        source.delivered = 0;
        if let Some(mut batch) = rest {
            batch.mark = Mark {
                key,
                life: source.life,
                offset: 0,
            };
            out.push(Message::Batch(batch));
        }
        // A position behind new content would lose it at the next start.
        self.moved.insert(key);
        self.save();
    }

    /// Looks where the paths lead; whether a new file is to be expected at one of them.
    pub(super) fn check_paths(&mut self, now: Instant, out: &mut Outbox) -> bool {
        let mut expecting = false;
        let mut ended = Vec::new();
        for (&key, source) in &mut self.sources {
            let at_end = source
                .file
                .metadata()
                .is_ok_and(|file| file.len() == source.splitter.next());
            let leads_here = source.path_leads_here();
            match step(leads_here, source.rotated, at_end, now, self.settings.rotate_wait) {
                Step::Follow => source.rotated = None,
                Step::Rotated => {
                    self.counts.files_rotated.add(1);
                    source.rotated = Some(now);
                    expecting = true;
                }
                Step::Linger => expecting = true,
                Step::Close => ended.push(key),
            }
        }
        for key in ended {
            if !out.is_full() {
                self.close(key, out);
            }
        }
        expecting
    }

    /// Ends a file; what waited for its line end goes on.
    fn close(&mut self, key: u64, out: &mut Outbox) {
        let Some(mut source) = self.sources.remove(&key) else {
            return;
        };
        if let Some(batch) = pack(&self.form, (key, &mut source), None, &mut self.map) {
            out.push(Message::Batch(batch));
        }
        out.push(Message::Closed(key));
        self.by_id.remove(&source.id);
        self.moved.remove(&key);
        self.counts.files_closed.add(1);
        info!(target: "input", instance = %self.name, path = %source.path.display(), "no longer following");
        if let Some(id) = source.row {
            let row = Row {
                id,
                offset: source.delivered,
                head: source.head,
            };
            let closing = Closing {
                id: source.id,
                row,
                life: source.life,
                end: source.splitter.safe(),
            };
            self.closing.insert(key, closing);
            self.moved.insert(key);
        }
    }

    /// What waits for line ends goes on: nothing more will come.
    pub(super) fn finish(&mut self, out: &mut Outbox) {
        for (&key, source) in &mut self.sources {
            if let Some(batch) = pack(&self.form, (key, source), None, &mut self.map) {
                out.push(Message::Batch(batch));
            }
        }
    }

    /// The records before `mark` are safe.
    pub(super) fn settled(&mut self, mark: Mark) {
        if let Some(source) = self.sources.get_mut(&mark.key) {
            if source.life == mark.life {
                source.delivered = source.delivered.max(mark.offset);
            }
        } else if let Some(closing) = self.closing.get_mut(&mark.key)
            && closing.life == mark.life
        {
            closing.row.offset = closing.row.offset.max(mark.offset);
        }
        self.moved.insert(mark.key);
    }

    /// Whether the database is behind.
    pub(super) fn is_behind(&self) -> bool {
        self.positions.is_some() && !self.moved.is_empty()
    }

    /// Writes the positions that moved; false when that failed, and is to be tried again.
    pub(super) fn save(&mut self) -> bool {
        let Some(db) = &mut self.positions else {
            return true;
        };
        let mut rows = Vec::with_capacity(self.moved.len());
        let mut done = Vec::new();
        for key in &self.moved {
            if let Some(source) = self.sources.get_mut(key) {
                // Only over what is delivered: the rest may still be cut away.
                source.head = longer_head(&source.file, source.head, source.delivered);
                rows.extend(source.row.map(|id| Row {
                    id,
                    offset: source.delivered,
                    head: source.head,
                }));
            } else if let Some(closing) = self.closing.get(key) {
                rows.push(closing.row);
                if closing.row.offset >= closing.end {
                    done.push((*key, closing.row.id));
                }
            }
        }
        let saved = db
            .commit(&rows)
            .and_then(|()| done.iter().try_for_each(|(_, row)| db.forget(*row)));
        if let Err(error) = saved {
            warn!(target: "input", instance = %self.name, %error, "positions were not saved, trying again");
            return false;
        }
        for (key, _) in done {
            self.closing.remove(&key);
        }
        self.moved.clear();
        true
    }
}

/// Turns `bytes` (none: what waits for its line end) into a batch, if anything came of them.
fn pack(form: &Form, file: (u64, &mut Source), bytes: Option<&[u8]>, map: &mut MapWriter) -> Option<Batch> {
    let (key, source) = file;
    let before = source.splitter.safe();
    let room = bytes.map_or(0, |bytes| bytes.len() + bytes.len() / 2 + 64);
    let mut records = RecordsBuf::with_capacity(room);
    let of = Origin {
        now: Timestamp::from_system(SystemTime::now()),
        path_pair: &source.path_pair,
        file: source.id,
    };
    let mut each = |line: super::lines::Line<'_>| {
        form.push(&line, &of, map, &mut records);
    };
    match bytes {
        Some(bytes) => source.splitter.feed(bytes, &mut each),
        None => source.splitter.finish(&mut each),
    }
    let offset = source.splitter.safe();
    let mark = Mark {
        key,
        life: source.life,
        offset,
    };
    let skipped = source.splitter.take_skipped();
    (offset > before).then(|| Batch {
        tag: source.tag.clone(),
        records: records.take(),
        skipped,
        mark,
    })
}

fn is_older(metadata: &std::fs::Metadata, limit: Option<Duration>) -> bool {
    let age = metadata
        .modified()
        .ok()
        .and_then(|changed| changed.elapsed().ok());
    age.zip(limit).is_some_and(|(age, limit)| age > limit)
}

fn note_name(db: Option<&Positions>, source: &Source) {
    if let (Some(db), Some(row)) = (db, source.row)
        && let Err(error) = db.rename(row, &name_of(&source.path))
    {
        warn!(target: "input", %error, "the position database did not answer");
    }
}
