//! The names of the simulated disk, and which of their changes are durable.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

type Map = BTreeMap<PathBuf, u64>;

#[derive(Clone)]
enum Change {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Change {
    fn apply(&self, names: &mut Map) {
        match self {
            Self::Create(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        let path = match self {
            Self::Create(path, _) | Self::Rename(_, path) | Self::Remove(path) => path,
        };
        path.parent() == Some(dir)
    }
}

#[derive(Default)]
pub(super) struct Names {
    current: Map,
    durable: Map,
    /// Changes since the last sync of their directory, oldest first.
    changes: Vec<Change>,
    inodes: u64,
}

impl Names {
    pub fn get(&self, path: &Path) -> Option<u64> {
        self.current.get(path).copied()
    }

    /// Whether a name leads to the file, or could again after a power cut.
    pub fn holds(&self, inode: u64) -> bool {
        let named = self
            .current
            .values()
            .chain(self.durable.values())
            .any(|known| *known == inode);
        // A power cut may keep its creation and lose its removal.
        let pending =
            |change: &Change| matches!(change, Change::Create(_, created) if *created == inode);
        named || self.changes.iter().any(pending)
    }

    pub fn list(&self, dir: &Path) -> Vec<String> {
        let paths = self
            .current
            .keys()
            .filter(|path| path.parent() == Some(dir));
        paths
            .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
            .collect()
    }

    pub fn create(&mut self, path: &Path) -> u64 {
        self.inodes += 1;
        self.change(Change::Create(path.to_owned(), self.inodes));
        self.inodes
    }

    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.get(from).ok_or(io::ErrorKind::NotFound)?;
        self.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    pub fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.get(path).ok_or(io::ErrorKind::NotFound)?;
        self.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    pub fn sync(&mut self, dir: &Path) {
        let (durable, pending) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|change| change.is_in(dir));
        self.changes = pending;
        let durable: Vec<Change> = durable;
        for change in durable {
            change.apply(&mut self.durable);
        }
    }

    /// Changes that are not durable.
    pub fn pending(&self) -> usize {
        self.changes.len()
    }

    /// Keeps only the first `keep` of the changes that are not durable.
    pub fn fall_back(&mut self, keep: usize) {
        for change in self.changes.drain(..).take(keep) {
            change.apply(&mut self.durable);
        }
        self.current = self.durable.clone();
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.changes.push(change);
    }
}
