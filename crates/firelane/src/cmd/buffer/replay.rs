//! `firelane buffer replay`: dead letters go back into the log.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use firelane_buffer::disk::RealDisk;
use firelane_buffer::store::inspect::Letter;
use firelane_buffer::store::inspect::replay::{Replay, Returned};
use firelane_buffer::store::inspect::totals::Graves;
use firelane_engine::storage::LOG;

use super::cat::is_of;
use super::place::{LOCK, Place};
use super::text::{number, plain, table};
use super::{Trouble, tell_unread};
use crate::exit::Exit;
use crate::{privileges, say};

/// Which dead letters.
pub(super) struct Wanted {
    /// Those of the route with this name or key.
    pub(super) route: Option<String>,
    /// Those with this reason.
    pub(super) reason: Option<String>,
}

impl Wanted {
    fn takes(&self, letter: &Letter) -> bool {
        let Letter { epitaph, image, .. } = letter;
        let route = self.route.as_deref();
        let reason = self.reason.as_deref();
        image.only.is_some()
            && route.is_none_or(|route| is_of(route, epitaph, image))
            && reason.is_none_or(|reason| *epitaph.reason == *reason)
    }
}

/// Moves dead letters, or says which.
pub(super) fn run(path: &Path, wanted: &Wanted, dry_run: bool) -> Result<Exit, Trouble> {
    let place = Place::find(path)?;
    if !place.is_root {
        let help = "`replay` needs the folder of `storage.path`: the log and the dead letters are in it";
        return Err(Trouble {
            help,
            ..Trouble::nothing(path)
        });
    }
    if !dry_run {
        become_owner(path)?;
    }
    // Held until the end.
    let _lock = match dry_run {
        true => None,
        false => Some(lock(path)?),
    };
    let mut graves = Graves::default();
    for folder in &place.dead {
        let found = Graves::of(folder.look(), |letter| wanted.takes(letter));
        graves.add(found.map_err(place.unreadable())?);
    }
    let exit = tell_unread(graves.unread);
    if graves.graves.is_empty() {
        return Ok(exit.max(say::out(&nothing(wanted))));
    }
    if dry_run {
        let sums = graves.graves.values();
        let counts = sums.fold((0, 0), |(letters, records), sum| {
            (letters + sum.letters, records + sum.records)
        });
        return Ok(exit.max(say::out(&told(&graves, counts, "would be moved"))));
    }
    let moved = put_back(path, &place, wanted).map_err(|error| Trouble::unwritable(path, &error))?;
    let mut text = told(&graves, (moved.letters, moved.records), "were moved");
    let exit = if moved.damaged > 0 { Exit::LeftOver } else { exit };
    if moved.damaged > 0 {
        let parts = number(moved.damaged, "damaged part stays", "damaged parts stay");
        text.push_str(&format!("{parts} in the folder of dead letters\n"));
    }
    Ok(exit.max(say::out(&text)))
}

fn nothing(wanted: &Wanted) -> String {
    match (&wanted.route, &wanted.reason) {
        (None, None) => "there are no dead letters\n".into(),
        _ => "there are no such dead letters: `firelane buffer ls` lists outputs and reasons\n".into(),
    }
}

/// What is moved, by route.
fn told(graves: &Graves, (letters, records): (u64, u64), verb: &str) -> String {
    let rows: Vec<_> = graves
        .graves
        .iter()
        .map(|(grave, sum)| {
            let key = grave.key.as_deref().unwrap_or_default();
            vec![
                plain(&grave.route),
                plain(key),
                plain(&grave.reason),
                sum.records.to_string(),
            ]
        })
        .collect();
    let records = number(records, "record", "records");
    let letters = number(letters, "dead letter", "dead letters");
    let table = table(&["OUTPUT", "KEY", "REASON", ">RECORDS"], &rows);
    format!(
        "{records} of {letters} {verb} into the log\n{table}\
         The next start of the router delivers them, each to the output that has this key: its `Alias`, or \
         what\nits properties make. Where no output has it, they stay in the log.\n"
    )
}

/// Locks the folder as a router does.
fn lock(root: &Path) -> Result<File, Trouble> {
    let path = root.join(LOCK);
    let unwritable = |error: io::Error| Trouble::unwritable(root, &error);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Trouble::locked(&path)),
        Err(TryLockError::Error(error)) => Err(unwritable(error)),
    }
}

fn put_back(root: &Path, place: &Place, wanted: &Wanted) -> io::Result<Returned> {
    let log = RealDisk::new(&root.join(LOG))?;
    let mut sum = Returned::default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| now.as_millis() as u64);
    let (mut replay, _) = Replay::open(log)?;
    for folder in &place.dead {
        let dead = RealDisk::new(&folder.path)?;
        let take = |letter: &Letter| wanted.takes(letter);
        replay.folder(&dead, now_ms, take, |file| {
            sum.letters += file.letters;
            sum.records += file.records;
            sum.damaged += file.damaged;
        })?;
    }
    Ok(sum)
}

/// Root becomes the user whom the folder belongs to: the router that runs as that user must be able to open
/// what is written here.
fn become_owner(root: &Path) -> Result<(), Trouble> {
    let owner = fs::metadata(root).map_err(|error| Trouble::unreadable(root, &error))?;
    if !rustix::process::geteuid().is_root() || owner.uid() == 0 {
        return Ok(());
    }
    let user = format!("{}:{}", owner.uid(), owner.gid());
    match privileges::switch(Some(&user)) {
        Ok(_) => Ok(()),
        Err(refused) => Err(Trouble::unwritable(root, &io::Error::other(refused.text))),
    }
}
