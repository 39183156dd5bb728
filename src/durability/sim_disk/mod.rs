//! A disk in memory that does what disks do on bad days: it forgets what was not synced, fills up, fails and tears
//! writes. The same seed and the same calls give the same faults. For the simulator and for tests.
//!
//! What a power cut may do: any subset of the 512-byte sectors written since the last sync keeps its old content (or
//! that of an earlier unsynced write), the length may fall back, and of the names changed since the last `sync_dir` only
//! the first few changes hold, as journaling file systems keep their order.

mod file;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile, DiskLock, SharedFile};
use file::SimFile;
use names::Names;

/// The unit that a power cut keeps or drops.
pub const SECTOR_BYTES: usize = 512;

/// The calls that change something, for aiming faults at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskCall {
    Create,
    Write,
    Sync,
    Allocate,
    SetLen,
    Rename,
    Remove,
    SyncDir,
}

/// A simulated disk; clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    random: u64,
    files: BTreeMap<u64, SimFile>,
    names: Names,
    locked: BTreeSet<PathBuf>,
    /// Counts crashes: handles opened before one are dead.
    life: u64,
    calls: u64,
    stopped: bool,
    stop_at_call: Option<u64>,
    failing: Vec<Planned>,
    short_writes: bool,
    capacity: u64,
}

/// An error that waits for its call.
struct Planned {
    call: DiskCall,
    /// So many such calls go well before.
    after: u64,
    error: io::ErrorKind,
}

impl SimDisk {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: seed,
            files: BTreeMap::new(),
            names: Names::default(),
            locked: BTreeSet::new(),
            life: 0,
            calls: 0,
            stopped: false,
            stop_at_call: None,
            failing: Vec::new(),
            short_writes: false,
            capacity: u64::MAX,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Changing calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// The process dies, the machine goes on: everything written stays, open files and locks are gone.
    pub fn process_crash(&self) {
        self.state().restart();
    }

    /// The machine dies: of what was not synced, anything may be missing.
    pub fn power_cut(&self) {
        let mut state = self.state();
        let state = &mut *state;
        let keep = below(&mut state.random, state.names.pending() as u64 + 1);
        state.names.fall_back(keep as usize);
        for file in state.files.values_mut() {
            file.power_cut(&mut state.random);
        }
        state.restart();
    }

    /// The process dies in that changing call (counted from now, 1 is the next): it takes effect in part or not at all, and
    /// every later call fails until `process_crash` or `power_cut`.
    pub fn stop_at_call(&self, nth: u64) {
        let mut state = self.state();
        state.stop_at_call = Some(state.calls + nth);
    }

    /// Whether the planned stop has come.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Fails one call of that kind with that error after `after` more of them. A failed sync leaves what it should have
    /// made durable undurable for good, as Linux does, and lets later syncs succeed.
    pub fn fail(&self, call: DiskCall, after: u64, error: io::ErrorKind) {
        self.state().failing.push(Planned { call, after, error });
    }

    /// Lets writes be short at random.
    pub fn set_short_writes(&self, on: bool) {
        self.state().short_writes = on;
    }

    /// Sets the bytes that all files together may have.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// Bytes that all files together have.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Turns one bit of a file over, on the disk and in the cache. False: there is no such bit.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> bool {
        let mut state = self.state();
        let Some(inode) = state.names.get(path) else {
            return false;
        };
        state
            .files
            .get_mut(&inode)
            .is_some_and(|file| file.flip_bit(bit))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, state: &State, inode: u64) -> SharedFile {
        Arc::new(Handle {
            disk: self.clone(),
            inode,
            life: state.life,
        })
    }
}

impl State {
    fn restart(&mut self) {
        self.life += 1;
        self.stopped = false;
        self.stop_at_call = None;
        self.failing.clear();
        self.short_writes = false;
        self.locked.clear();
        let names = &self.names;
        self.files.retain(|inode, _| names.holds(*inode));
    }

    fn alive(&self) -> io::Result<()> {
        if self.stopped {
            return Err(io::Error::other("the process has stopped"));
        }
        Ok(())
    }

    /// Counts a changing call, and fails it if that was planned. `Ok(false)`: the process stops in this call.
    fn call(&mut self, call: DiskCall) -> io::Result<bool> {
        self.alive()?;
        self.calls += 1;
        if self.stop_at_call.is_some_and(|at| self.calls >= at) {
            self.stopped = true;
            return Ok(false);
        }
        let mut error = None;
        self.failing.retain_mut(|planned| {
            if planned.call != call || error.is_some() {
                return true;
            }
            if planned.after > 0 {
                planned.after -= 1;
                return true;
            }
            error = Some(planned.error);
            false
        });
        error.map_or(Ok(true), |error| Err(error.into()))
    }

    /// A changing call on names: done, or with even odds not done when the process stops in it.
    fn names_call(
        &mut self,
        call: DiskCall,
        change: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let goes_on = self.call(call)?;
        if goes_on || below(&mut self.random, 2) == 0 {
            change(self)?;
        }
        if goes_on {
            Ok(())
        } else {
            self.alive()
        }
    }

    fn used(&self) -> u64 {
        self.files
            .iter()
            .filter(|(inode, _)| self.names.holds(**inode))
            .map(|(_, file)| file.len())
            .sum()
    }

    fn room(&self) -> u64 {
        self.capacity.saturating_sub(self.used())
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<SharedFile> {
        let state = self.state();
        state.alive()?;
        let inode = state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(&state, inode))
    }

    fn create(&self, path: &Path) -> io::Result<SharedFile> {
        let mut state = self.state();
        state.names_call(DiskCall::Create, |state| {
            match state
                .names
                .get(path)
                .and_then(|inode| state.files.get_mut(&inode))
            {
                Some(file) => file.set_len(0),
                None => {
                    let inode = state.names.create(path);
                    state.files.insert(inode, SimFile::default());
                }
            }
            Ok(())
        })?;
        let inode = state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(&state, inode))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive()?;
        Ok(state.names.list(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state()
            .names_call(DiskCall::Rename, |state| state.names.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state()
            .names_call(DiskCall::Remove, |state| state.names.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.state().names_call(DiskCall::SyncDir, |state| {
            state.names.sync(dir);
            Ok(())
        })
    }

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        self.state().alive()
    }

    fn free(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.state();
        state.alive()?;
        Ok(state.room())
    }

    fn lock(&self, path: &Path) -> io::Result<DiskLock> {
        let mut state = self.state();
        state.alive()?;
        if !state.locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (disk, life) = (self.clone(), state.life);
        Ok(DiskLock::new(Locked {
            disk,
            path: path.to_owned(),
            life,
        }))
    }
}

struct Locked {
    disk: SimDisk,
    path: PathBuf,
    life: u64,
}

impl Drop for Locked {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.life == self.life {
            state.locked.remove(&self.path);
        }
    }
}

struct Handle {
    disk: SimDisk,
    inode: u64,
    life: u64,
}

impl Handle {
    fn with<T>(
        &self,
        run: impl FnOnce(&mut State, &mut SimFile) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.disk.state();
        if state.life != self.life {
            return Err(io::Error::other("opened before the crash"));
        }
        let mut file = state
            .files
            .remove(&self.inode)
            .ok_or(io::ErrorKind::NotFound)?;
        // Without the file's own length; `run` adds it where it matters.
        let result = run(&mut state, &mut file);
        state.files.insert(self.inode, file);
        result
    }
}

impl DiskFile for Handle {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.with(|state, file| {
            let goes_on = state.call(DiskCall::Write)?;
            let mut len = bytes.len() as u64;
            if !goes_on {
                len = below(&mut state.random, len + 1);
            } else if state.short_writes && len > 1 && below(&mut state.random, 2) == 0 {
                len = 1 + below(&mut state.random, len - 1);
            }
            let end_max = file.len().max(state.room());
            if offset + len > end_max {
                len = end_max.saturating_sub(offset);
                if len == 0 && !bytes.is_empty() {
                    return Err(io::ErrorKind::StorageFull.into());
                }
            }
            file.write(offset, &bytes[..len as usize], &mut state.random);
            state.alive().map(|()| len as usize)
        })
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.with(|state, file| {
            state.alive()?;
            Ok(file.read(offset, into))
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|state, file| match state.call(DiskCall::Sync) {
            Ok(goes_on) => {
                if goes_on || below(&mut state.random, 2) == 0 {
                    file.sync();
                }
                state.alive()
            }
            Err(error) => {
                file.sync_failed();
                Err(error)
            }
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.with(|state, file| {
            let goes_on = state.call(DiskCall::Allocate)?;
            if len > file.len() && (goes_on || below(&mut state.random, 2) == 0) {
                if len > state.room() {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                file.set_len(len);
            }
            state.alive()
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|state, file| {
            if state.call(DiskCall::SetLen)? || below(&mut state.random, 2) == 0 {
                file.set_len(len);
            }
            state.alive()
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|state, file| {
            state.alive()?;
            Ok(file.len())
        })
    }
}

/// SplitMix64: the disk's chance is a function of its seed alone.
fn next(random: &mut u64) -> u64 {
    *random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *random;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A number below `bound`, which must not be 0.
fn below(random: &mut u64, bound: u64) -> u64 {
    next(random) % bound
}

#[cfg(test)]
mod tests;
