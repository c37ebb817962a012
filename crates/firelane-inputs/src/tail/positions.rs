//! The position database: how far each file was delivered, so that a restart goes on from there.
//!
//! The table is Fluent Bit's `in_tail_files`, so an existing database keeps working, in both directions. What
//! we know beside it stands in a table of our own: the device, and a fingerprint of the file's head, because
//! inode numbers are used again and a stale offset in a new file would lose its lines.
//!
//! Source of the layout: fluent-bit `plugins/in_tail/tail_sql.h`.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS in_tail_files (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, offset INTEGER, inode INTEGER, created INTEGER,
  rotated INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS firelane_tail_files (
  id INTEGER PRIMARY KEY, device INTEGER NOT NULL, head_len INTEGER NOT NULL DEFAULT 0,
  head_hash INTEGER NOT NULL DEFAULT 0);
";

/// How long to wait for another process's lock, as when the old router is just ending.
const BUSY: Duration = Duration::from_secs(5);

/// Names a file whatever its path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileId {
    /// Device number.
    pub(super) device: u64,
    /// Inode number on it.
    pub(super) inode: u64,
}

/// The first bytes of a file, to know it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Head {
    /// How many bytes, up to [`Head::LEN_MAX`]; 0: unknown.
    pub(super) len: u64,
    /// FNV-1a of them.
    pub(super) hash: u64,
}

impl Head {
    /// Most bytes that are looked at.
    pub(super) const LEN_MAX: u64 = 256;

    /// The fingerprint of `bytes`.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            len: bytes.len() as u64,
            hash,
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Its id.
    pub(super) id: i64,
    /// Everything before it was delivered.
    pub(super) offset: u64,
    /// What the file's head was.
    pub(super) head: Head,
}

/// A row with the name and inode of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// The position.
    pub(super) row: Row,
    /// The path it had.
    pub(super) name: String,
    /// Its inode.
    pub(super) inode: u64,
}

/// `db.sync` and the like, as SQLite's words.
#[derive(Debug, Clone)]
pub(super) struct DbOptions {
    /// `PRAGMA synchronous`
    pub(super) sync: &'static str,
    /// `PRAGMA journal_mode`
    pub(super) journal_mode: &'static str,
    /// `PRAGMA locking_mode = EXCLUSIVE`
    pub(super) locking: bool,
    /// A row counts only when the name is the same too.
    pub(super) compare_filename: bool,
}

/// The open database.
#[derive(Debug)]
pub(super) struct Positions {
    db: Connection,
    compare_filename: bool,
}

impl Positions {
    /// Opens or creates the database at `path`.
    pub(super) fn open(path: &std::path::Path, options: &DbOptions) -> rusqlite::Result<Self> {
        let db = Connection::open(path)?;
        db.busy_timeout(BUSY)?;
        if options.locking {
            db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        }
        // Answers with the mode that is in force, which some file systems decide.
        db.pragma_update_and_check(None, "journal_mode", options.journal_mode, |_| Ok(()))?;
        db.pragma_update(None, "synchronous", options.sync)?;
        db.execute_batch(TABLES)?;
        Ok(Self {
            db,
            compare_filename: options.compare_filename,
        })
    }

    /// The newest row of `file`. A row that knows no device, or another one under the same name (a file
    /// system mounted again), counts too.
    pub(super) fn find(&self, file: FileId, name: &str) -> rusqlite::Result<Option<Row>> {
        let mut query = self.db.prepare_cached(
            "SELECT f.id, f.offset, d.head_len, d.head_hash FROM in_tail_files f \
             LEFT JOIN firelane_tail_files d ON d.id = f.id \
             WHERE f.inode = ?1 AND (d.device IS NULL OR d.device = ?2 OR f.name = ?3) \
             AND (?4 = 0 OR f.name = ?3) ORDER BY f.id DESC LIMIT 1",
        )?;
        let key = params![sql(file.inode), sql(file.device), name, self.compare_filename];
        query.query_row(key, read_row).optional()
    }

    /// Adds a file and gives the id of its row. `created` in seconds since the epoch.
    pub(super) fn insert(
        &self,
        file: FileId,
        name: &str,
        offset: u64,
        created: i64,
    ) -> rusqlite::Result<i64> {
        self.db
            .prepare_cached(
                "INSERT INTO in_tail_files (name, offset, inode, created) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![name, sql(offset), sql(file.inode), created])?;
        let id = self.db.last_insert_rowid();
        self.know(id, file)?;
        Ok(id)
    }

    /// Notes the device of a row that another program, or an earlier mount, wrote.
    pub(super) fn know(&self, id: i64, file: FileId) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT INTO firelane_tail_files (id, device) VALUES (?1, ?2) \
                 ON CONFLICT (id) DO UPDATE SET device = ?2",
            )?
            .execute(params![id, sql(file.device)])?;
        Ok(())
    }

    /// Moves positions, all in one transaction.
    pub(super) fn commit(&mut self, moved: &[Row]) -> rusqlite::Result<()> {
        let change = self.db.transaction()?;
        for row in moved {
            change
                .prepare_cached("UPDATE in_tail_files SET offset = ?2 WHERE id = ?1")?
                .execute(params![row.id, sql(row.offset)])?;
            change
                .prepare_cached("UPDATE firelane_tail_files SET head_len = ?2, head_hash = ?3 WHERE id = ?1")?
                .execute(params![row.id, sql(row.head.len), sql(row.head.hash)])?;
        }
        change.commit()
    }

    /// Notes that a file has another name now.
    pub(super) fn rename(&self, id: i64, name: &str) -> rusqlite::Result<()> {
        self.db
            .prepare_cached("UPDATE in_tail_files SET name = ?2, rotated = 1 WHERE id = ?1")?
            .execute(params![id, name])?;
        Ok(())
    }

    /// Forgets a file.
    pub(super) fn forget(&self, id: i64) -> rusqlite::Result<()> {
        for table in ["in_tail_files", "firelane_tail_files"] {
            self.db
                .prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))?
                .execute([id])?;
        }
        Ok(())
    }

    /// All rows with the names and inodes they had, for those that no path of ours leads to any more.
    pub(super) fn all(&self) -> rusqlite::Result<Vec<Stored>> {
        self.db
            .prepare(
                "SELECT f.id, f.offset, d.head_len, d.head_hash, f.name, f.inode FROM in_tail_files f \
                 LEFT JOIN firelane_tail_files d ON d.id = f.id ORDER BY f.id",
            )?
            .query_map([], |row| {
                Ok(Stored {
                    row: read_row(row)?,
                    name: row.get(4)?,
                    inode: row.get::<_, Option<i64>>(5)?.map_or(0, i64::cast_unsigned),
                })
            })?
            .collect()
    }
}

fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let number = |at| row.get::<_, Option<i64>>(at);
    Ok(Row {
        id: row.get(0)?,
        offset: number(1)?.map_or(0, |offset| offset.max(0).cast_unsigned()),
        head: Head {
            len: number(2)?.map_or(0, i64::cast_unsigned),
            hash: number(3)?.map_or(0, i64::cast_unsigned),
        },
    })
}

/// SQLite's integers are signed; the bits are kept.
fn sql(n: u64) -> i64 {
    n.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: DbOptions = DbOptions {
        sync: "NORMAL",
        journal_mode: "WAL",
        locking: false,
        compare_filename: false,
    };
    const FILE: FileId = FileId {
        device: u64::MAX,
        inode: 7,
    };

    fn row(id: i64, offset: u64) -> Row {
        Row {
            id,
            offset,
            head: Head::of(b"head"),
        }
    }

    #[test]
    fn positions_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tail.db");
        let mut db = Positions::open(&path, &OPTIONS).unwrap();
        let id = db.insert(FILE, "a.log", 10, 1).unwrap();
        db.commit(&[row(id, 4096)]).unwrap();
        db.rename(id, "a.log.1").unwrap();
        drop(db);
        let db = Positions::open(&path, &OPTIONS).unwrap();
        assert_eq!(db.find(FILE, "a.log.1").unwrap(), Some(row(id, 4096)));
        assert_eq!(db.find(FileId { device: 1, inode: 7 }, "other").unwrap(), None);
        assert_eq!(db.find(FileId { device: 1, inode: 8 }, "a.log.1").unwrap(), None);
    }

    #[test]
    fn a_database_of_fluent_bit_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flb.db");
        let theirs = Connection::open(&path).unwrap();
        let table = "CREATE TABLE in_tail_files (id INTEGER PRIMARY KEY, name TEXT NOT NULL, offset INTEGER, \
                     inode INTEGER, created INTEGER, rotated INTEGER DEFAULT 0)";
        theirs.execute_batch(table).unwrap();
        let insert = "INSERT INTO in_tail_files (name, offset, inode, created) VALUES ('x.log', 99, 7, 1)";
        theirs.execute_batch(insert).unwrap();
        drop(theirs);
        let mut db = Positions::open(&path, &OPTIONS).unwrap();
        let found = db.find(FILE, "x.log").unwrap().unwrap();
        assert_eq!((found.offset, found.head), (99, Head::default()));
        db.know(found.id, FILE).unwrap();
        db.commit(&[row(found.id, 120)]).unwrap();
        assert_eq!(db.find(FILE, "renamed").unwrap(), Some(row(found.id, 120)));
    }

    #[test]
    fn the_name_counts_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let options = DbOptions {
            compare_filename: true,
            ..OPTIONS
        };
        let db = Positions::open(&dir.path().join("tail.db"), &options).unwrap();
        db.insert(FILE, "a.log", 10, 1).unwrap();
        assert!(db.find(FILE, "a.log").unwrap().is_some());
        assert!(db.find(FILE, "b.log").unwrap().is_none());
    }

    #[test]
    fn a_file_that_is_gone_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let db = Positions::open(&dir.path().join("tail.db"), &OPTIONS).unwrap();
        let gone = db.insert(FILE, "gone", 1, 1).unwrap();
        let other = FileId { device: 1, inode: 9 };
        db.insert(other, "kept", 2, 1).unwrap();
        db.forget(gone).unwrap();
        let left: Vec<_> = db
            .all()
            .unwrap()
            .into_iter()
            .map(|stored| (stored.name, stored.inode))
            .collect();
        assert_eq!(left, [("kept".to_owned(), 9)]);
    }
}
