//! A folder that is only looked at.

use std::io;

use crate::disk::{Disk, DiskFile};

/// A folder in which nothing is changed: whatever would change it is passed over as if it had been done. So
/// the same code reads a log for a start and for somebody who only wants to know what a start would find.
#[derive(Debug)]
pub struct Look<'a, D> {
    disk: &'a D,
    only: Option<&'a str>,
}

impl<D> Clone for Look<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D> Copy for Look<'_, D> {}

impl<'a, D> Look<'a, D> {
    /// All of `disk`.
    pub fn new(disk: &'a D) -> Self {
        Self { disk, only: None }
    }

    /// One file of `disk`, as if it were alone there.
    pub fn only(disk: &'a D, file: &'a str) -> Self {
        let only = Some(file);
        Self { disk, only }
    }
}

/// A file of a [`Look`].
#[derive(Debug)]
pub enum LookFile<F> {
    /// One that is there.
    There(F),
    /// One that would have been made.
    Nowhere,
}

impl<D: Disk> Disk for Look<'_, D> {
    type File = LookFile<D::File>;

    fn create(&self, _: &str) -> io::Result<Self::File> {
        Ok(LookFile::Nowhere)
    }

    fn open(&self, name: &str) -> io::Result<Self::File> {
        self.disk.open(name).map(LookFile::There)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = self.disk.list()?;
        if let Some(only) = self.only {
            names.retain(|name| name == only);
        }
        Ok(names)
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: DiskFile> DiskFile for LookFile<F> {
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::There(file) => file.read_at(offset, buf),
            Self::Nowhere => Ok(0),
        }
    }

    fn len(&self) -> io::Result<u64> {
        match self {
            Self::There(file) => file.len(),
            Self::Nowhere => Ok(0),
        }
    }

    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}
