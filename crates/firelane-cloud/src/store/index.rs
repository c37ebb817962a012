//! The index: SQLite with a document per resource and a row per frame.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};

use super::block::{Span, Summary};
use super::catalog::Catalog;
use super::series::{Frame, SeriesId};

/// Format of the tables; others are refused.
const FORMAT: i64 = 1;
/// Wait for another process that reads or writes.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS documents (
    kind TEXT NOT NULL, parent TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (kind, parent, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS frames (
    series INTEGER NOT NULL, seq INTEGER NOT NULL, segment INTEGER NOT NULL, offset INTEGER NOT NULL,
    len INTEGER NOT NULL, raw INTEGER NOT NULL, count INTEGER NOT NULL, payload INTEGER NOT NULL,
    first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, arrived_ms INTEGER NOT NULL,
    PRIMARY KEY (series, seq)) WITHOUT ROWID;
";

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("it has format {0}, this version knows {FORMAT}")]
    Format(i64),
    #[error("the {kind} `{name}` cannot be read: {reason}")]
    Document {
        kind: String,
        name: String,
        reason: String,
    },
}

/// A change that must outlive the process.
#[derive(Debug)]
pub(crate) enum Op {
    Put {
        kind: &'static str,
        parent: String,
        name: String,
        body: String,
    },
    Delete {
        kind: &'static str,
        parent: String,
        name: String,
    },
    DropSeries(SeriesId),
    RemoveFile(u64),
}

/// A change of frames, in the same transaction.
#[derive(Debug)]
pub(crate) enum FrameOp {
    Add(SeriesId, Frame),
    Remove(SeriesId, u64),
}

/// What an index holds.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) catalog: Catalog,
    /// In the order of their numbers.
    pub(crate) frames: HashMap<SeriesId, Vec<Frame>>,
    pub(crate) next_series: SeriesId,
}

/// An open index.
#[derive(Debug)]
pub(crate) struct Index {
    db: Connection,
}

impl Index {
    /// Opens or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, IndexError> {
        let db = Connection::open(path)?;
        db.busy_timeout(BUSY)?;
        db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        db.pragma_update(None, "synchronous", "NORMAL")?;
        let format: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if format == 0 {
            db.execute_batch(TABLES)?;
            db.pragma_update(None, "user_version", FORMAT)?;
        }
        Self { db }.checked()
    }

    /// Opens it to read.
    pub(crate) fn peek(path: &Path) -> Result<Self, IndexError> {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        db.busy_timeout(BUSY)?;
        Self { db }.checked()
    }

    fn checked(self) -> Result<Self, IndexError> {
        match self
            .db
            .pragma_query_value(None, "user_version", |row| row.get(0))?
        {
            FORMAT => Ok(self),
            other => Err(IndexError::Format(other)),
        }
    }

    /// Everything.
    pub(crate) fn load(&mut self) -> Result<Loaded, IndexError> {
        let db = self.db.transaction()?;
        let mut catalog = Catalog::default();
        let mut query = db.prepare("SELECT parent, name, body FROM documents WHERE kind = ?1")?;
        for kind in Catalog::KINDS {
            let mut rows = query.query([kind])?;
            while let Some(row) = rows.next()? {
                let (parent, name): (String, String) = (row.get(0)?, row.get(1)?);
                let body = row.get_ref(2)?.as_str().unwrap_or_default();
                if let Err(error) = catalog.restore(kind, &parent, &name, body) {
                    let (kind, reason) = ((*kind).to_owned(), error.to_string());
                    return Err(IndexError::Document { kind, name, reason });
                }
            }
        }
        let mut frames: HashMap<SeriesId, Vec<Frame>> = HashMap::new();
        let mut next_series = 0;
        let mut query = db.prepare("SELECT * FROM frames ORDER BY series, seq")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let number = |at: usize| row.get::<_, i64>(at);
            let series = number(0)? as SeriesId;
            next_series = next_series.max(series);
            frames.entry(series).or_default().push(Frame {
                seq: number(1)? as u64,
                segment: number(2)? as u32,
                offset: number(3)? as u64,
                len: number(4)? as u32,
                raw: number(5)? as u32,
                summary: Summary {
                    count: number(6)? as u32,
                    payload: number(7)? as u64,
                    span: Span {
                        first: number(8)?,
                        last: number(9)?,
                    },
                    arrived: number(10)?,
                },
            });
        }
        Ok(Loaded {
            catalog,
            frames,
            next_series,
        })
    }

    /// Commits changes, all or none.
    pub(crate) fn commit(&mut self, ops: &[Op], frames: &[FrameOp]) -> Result<(), IndexError> {
        let db = self.db.transaction()?;
        for op in ops {
            match op {
                Op::Put {
                    kind,
                    parent,
                    name,
                    body,
                } => {
                    db.prepare_cached("REPLACE INTO documents VALUES (?1, ?2, ?3, ?4)")?
                        .execute([*kind, parent, name, body])?;
                }
                Op::Delete { kind, parent, name } => {
                    db.prepare_cached("DELETE FROM documents WHERE kind = ?1 AND parent = ?2 AND name = ?3")?
                        .execute([*kind, parent, name])?;
                }
                Op::DropSeries(series) => {
                    db.prepare_cached("DELETE FROM frames WHERE series = ?1")?
                        .execute([*series as i64])?;
                }
                Op::RemoveFile(_) => {}
            }
        }
        for op in frames {
            match op {
                FrameOp::Add(series, frame) => {
                    let Summary {
                        count,
                        payload,
                        span,
                        arrived,
                    } = frame.summary;
                    db.prepare_cached(
                        "REPLACE INTO frames VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                    )?
                    .execute(params![
                        *series as i64,
                        frame.seq as i64,
                        frame.segment,
                        frame.offset as i64,
                        frame.len,
                        frame.raw,
                        count,
                        payload as i64,
                        span.first,
                        span.last,
                        arrived
                    ])?;
                }
                FrameOp::Remove(series, seq) => {
                    db.prepare_cached("DELETE FROM frames WHERE series = ?1 AND seq = ?2")?
                        .execute([*series as i64, *seq as i64])?;
                }
            }
        }
        db.commit()?;
        Ok(())
    }
}
