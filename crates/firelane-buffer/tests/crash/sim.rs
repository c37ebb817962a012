//! A folder on a disk that fails, fills up, and loses what was not synced.
//!
//! What a process sees and what is on the platter are kept apart. A power loss leaves of each file what was
//! synced and, of the rest, each unit independently: there, zeros, noise, or cut off. Creations, removals and
//! renames that were not synced happen or not, in any order. A killed process loses nothing, but what was
//! not synced is still not synced. What a failed sync was to write may be lost even after a sync that
//! succeeds, as on Linux.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use firelane_buffer::disk::{Disk, DiskFile};

use crate::rng::Rng;

/// How often operations fail, in so many of 1000.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Those that change something.
    pub(crate) writes: usize,
    /// Those that only look.
    pub(crate) reads: usize,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    /// As the process sees it.
    seen: Vec<u8>,
    /// On the platter, whatever happens.
    synced: Vec<u8>,
    /// What was seen before it was cut, until the next sync.
    uncut: Option<Vec<u8>>,
    /// Parts that a failed sync was to write: never safe any more.
    limbo: Vec<Range<usize>>,
}

#[derive(Debug, Clone)]
enum NameOp {
    Create(String, usize),
    Remove(String),
    Rename(String, String, usize),
}

fn apply(names: &mut BTreeMap<String, usize>, op: &NameOp) {
    match op {
        NameOp::Create(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        NameOp::Remove(name) => {
            names.remove(name);
        }
        NameOp::Rename(from, to, inode) => {
            names.remove(from);
            names.insert(to.clone(), *inode);
        }
    }
}

#[derive(Debug)]
struct State {
    rng: Rng,
    faults: Faults,
    capacity: Option<usize>,
    /// Changes left until the process dies in the middle of one.
    dies_in: Option<usize>,
    dead: bool,
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pending: Vec<NameOp>,
    trace: bool,
}

/// What a change is to do.
enum Turn {
    Go,
    Fail(bool),
    Die,
}

impl State {
    fn used(&self) -> usize {
        self.names
            .values()
            .map(|&inode| self.inodes[inode].seen.len())
            .sum()
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("    disk: {}", text());
        }
    }

    fn look(&mut self) -> io::Result<()> {
        if self.dead || self.rng.chance(self.faults.reads, 1000) {
            return Err(eio());
        }
        Ok(())
    }

    /// Decides about a change; `Fail(true)` where an error hides that it was done.
    fn turn(&mut self) -> io::Result<Turn> {
        if self.dead {
            return Err(eio());
        }
        if let Some(left) = &mut self.dies_in {
            if *left == 0 {
                self.dead = true;
                return Ok(Turn::Die);
            }
            *left -= 1;
        }
        if self.rng.chance(self.faults.writes, 1000) {
            let done = self.rng.chance(1, 3);
            return Ok(Turn::Fail(done));
        }
        Ok(Turn::Go)
    }

    /// Decides about a change of names that is done or not.
    fn name_op(&mut self, op: NameOp) -> io::Result<()> {
        let turn = self.turn()?;
        let (done, result) = match turn {
            Turn::Go => (true, Ok(())),
            Turn::Fail(done) => (done, Err(eio())),
            Turn::Die => (self.rng.chance(1, 2), Err(eio())),
        };
        self.say(|| format!("{op:?} done {done}, {}", told(&result)));
        if done {
            apply(&mut self.names, &op);
            self.pending.push(op);
        }
        result
    }

    /// Some of the names that were not synced reach the platter, in any order.
    fn some_names(&mut self) {
        let mut pending = self.pending.clone();
        self.rng.shuffle(&mut pending);
        for op in &pending {
            if self.rng.chance(1, 2) {
                apply(&mut self.durable, op);
            }
        }
    }

    /// What is left of a file.
    fn survivor(&mut self, inode: &Inode, unit: usize) -> Vec<u8> {
        let mut out = match &inode.uncut {
            Some(uncut) if self.rng.chance(1, 2) => uncut.clone(),
            _ => inode.seen.clone(),
        };
        if out.len() < inode.synced.len() && self.rng.chance(1, 2) {
            // Cut, but not durably so.
            out.clone_from(&inode.synced);
        }
        let len = out.len();
        let safe = inode.synced.len().min(len);
        let mut risks: Vec<Range<usize>> = inode.limbo.clone();
        risks.push(safe..len);
        let mut floor = len;
        for risk in risks.iter().rev().filter(|risk| !risk.is_empty()) {
            if risk.end >= floor {
                floor = floor.min(risk.start);
            }
            let mut at = risk.start;
            while at < risk.end.min(len) {
                let end = ((at / unit + 1) * unit).min(risk.end).min(len);
                match self.rng.below(6) {
                    0 => out[at..end].fill(0),
                    1 => out[at..end]
                        .iter_mut()
                        .for_each(|byte| *byte = self.rng.next() as u8),
                    _ => {}
                }
                at = end;
            }
        }
        if floor < len && self.rng.chance(1, 2) {
            let cut = self.rng.between(floor, len);
            let cut = if self.rng.chance(1, 2) {
                cut
            } else {
                (cut / unit * unit).max(floor)
            };
            out.truncate(cut);
        }
        out
    }
}

fn eio() -> io::Error {
    io::Error::other("the simulated disk fails")
}

fn told(result: &io::Result<()>) -> &'static str {
    if result.is_ok() { "ok" } else { "error" }
}

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng: Rng::new(seed),
            faults: Faults::default(),
            capacity: None,
            dies_in: None,
            dead: false,
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            trace,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    pub(crate) fn set_capacity(&self, capacity: Option<usize>) {
        self.state().capacity = capacity;
    }

    /// The process dies in the middle of its change number `changes` from now.
    pub(crate) fn die_in(&self, changes: usize) {
        self.state().dies_in = Some(changes);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// A new process comes after one that was killed. The machine ran on.
    pub(crate) fn restart(&self) {
        let mut state = self.state();
        state.dead = false;
        state.dies_in = None;
    }

    /// The power fails and comes back.
    pub(crate) fn power_loss(&self) {
        let mut state = self.state();
        state.some_names();
        let unit = state.rng.pick(&[1, 8, 64, 512, 512, 4096]);
        state.pending.clear();
        state.names = state.durable.clone();
        let kept: BTreeSet<usize> = state.names.values().copied().collect();
        for inode in kept {
            let old = std::mem::take(&mut state.inodes[inode]);
            let seen = state.survivor(&old, unit);
            let (before, safe, now) = (old.seen.len(), old.synced.len(), seen.len());
            state.say(|| format!("power loss: file {inode} had {before} bytes, {safe} synced, has {now}"));
            state.inodes[inode] = Inode {
                synced: seen.clone(),
                seen,
                ..Inode::default()
            };
        }
        let names = state.names.clone();
        state.say(|| format!("power loss, units of {unit}: {names:?}"));
        drop(state);
        self.restart();
    }

    /// Names and bytes of the files, as a process sees them.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let state = self.state();
        let file = |(name, &inode): (&String, &usize)| (name.clone(), state.inodes[inode].seen.clone());
        state.names.iter().map(file).collect()
    }

    /// Changes one byte of a file, on the platter too.
    pub(crate) fn rot(&self, name: &str, offset: usize, mask: u8) {
        let mut state = self.state();
        let inode = state.names[name];
        let inode = &mut state.inodes[inode];
        inode.seen[offset] ^= mask;
        inode.synced = inode.seen.clone();
    }
}

/// A file of it.
#[derive(Debug)]
pub(crate) struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl Disk for SimDisk {
    type File = SimFile;

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.state();
        if state.names.contains_key(name) && !state.dead {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.name_op(NameOp::Create(name.to_string(), inode))?;
        drop(state);
        let disk = self.clone();
        Ok(SimFile { disk, inode })
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.state();
        state.look()?;
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        drop(state);
        let disk = self.clone();
        Ok(SimFile { disk, inode })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.look()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(name) && !state.dead {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.name_op(NameOp::Remove(name.to_string()))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let inode = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.name_op(NameOp::Rename(from.to_string(), to.to_string(), inode))
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        match state.turn()? {
            Turn::Go => {
                state.say(|| "names synced".to_string());
                state.durable = state.names.clone();
                state.pending.clear();
                Ok(())
            }
            _ => {
                state.say(|| "names not synced, or some".to_string());
                state.some_names();
                Err(eio())
            }
        }
    }
}

impl DiskFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let turn = state.turn()?;
        let room = state
            .capacity
            .map_or(usize::MAX, |capacity| capacity.saturating_sub(state.used()));
        let (take, result) = match turn {
            Turn::Go if bytes.len() > room => (room, Err(io::ErrorKind::StorageFull.into())),
            Turn::Go => (bytes.len(), Ok(())),
            Turn::Fail(true) => (bytes.len().min(room), Err(eio())),
            _ => (state.rng.below(bytes.len() + 1).min(room), Err(eio())),
        };
        let inode = self.inode;
        state.say(|| format!("append {} of {} to {inode}: {}", take, bytes.len(), told(&result)));
        state.inodes[inode].seen.extend_from_slice(&bytes[..take]);
        result
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.look()?;
        let seen = &state.inodes[self.inode].seen;
        let part = seen.get(offset as usize..).unwrap_or_default();
        let take = part.len().min(buf.len());
        buf[..take].copy_from_slice(&part[..take]);
        Ok(take)
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.look()?;
        Ok(state.inodes[self.inode].seen.len() as u64)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let turn = state.turn()?;
        let done = match turn {
            Turn::Go => true,
            Turn::Fail(done) => done,
            Turn::Die => state.rng.chance(1, 2),
        };
        let inode = self.inode;
        state.say(|| format!("cut {inode} to {len}: done {done}"));
        let inode = &mut state.inodes[inode];
        if done && (len as usize) < inode.seen.len() {
            if inode.uncut.is_none() {
                inode.uncut = Some(inode.seen.clone());
            }
            inode.seen.truncate(len as usize);
        }
        if matches!(turn, Turn::Go) {
            Ok(())
        } else {
            Err(eio())
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        let number = self.inode;
        let turn = state.turn()?;
        if matches!(turn, Turn::Go) {
            let inode = &mut state.inodes[number];
            inode.synced = inode.seen.clone();
            inode.uncut = None;
            let len = inode.seen.len();
            inode.limbo.retain_mut(|range| {
                range.end = range.end.min(len);
                range.start < range.end
            });
            state.say(|| format!("sync {number}: ok"));
            return Ok(());
        }
        let kind = state.rng.below(3);
        let inode = &mut state.inodes[number];
        let (safe, len) = (inode.synced.len(), inode.seen.len());
        if kind == 0 && safe < len && !state.dead {
            // The system forgets that these are not written.
            state.inodes[number].limbo.push(safe..len);
        } else if kind == 1 && safe < len && state.inodes[number].uncut.is_none() {
            let part = state.rng.between(safe, len);
            let inode = &mut state.inodes[number];
            inode.synced = inode.seen[..part].to_vec();
        }
        state.say(|| format!("sync {number}: error, kind {kind}"));
        Err(eio())
    }
}
