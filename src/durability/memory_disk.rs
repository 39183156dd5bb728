//! A disk in memory, of bounded size: where snapshots lie on their way between nodes that keep nothing. Nothing on it survives the
//! process; a removed file's memory is free when nobody holds it open any more.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile, DiskLock, SharedFile};

/// Files in memory.
pub struct MemoryDisk {
    files: Mutex<BTreeMap<PathBuf, Arc<MemoryFile>>>,
    room: Arc<Room>,
}

/// What all files together may take.
struct Room {
    used: AtomicU64,
    max: u64,
}

impl Room {
    fn take(&self, bytes: u64) -> io::Result<()> {
        let add = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.max);
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, add)
            .map(drop)
            .map_err(|_| io::ErrorKind::StorageFull.into())
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl MemoryDisk {
    /// An empty disk for up to `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        let room = Room {
            used: AtomicU64::new(0),
            max: bytes_max,
        };
        Self {
            files: Mutex::default(),
            room: Arc::new(room),
        }
    }

    fn take(&self, path: &Path) -> io::Result<Arc<MemoryFile>> {
        lock(&self.files).remove(path).ok_or_else(not_found)
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path) -> io::Result<SharedFile> {
        let file = lock(&self.files).get(path).cloned();
        Ok(file.ok_or_else(not_found)?)
    }

    fn create(&self, path: &Path) -> io::Result<SharedFile> {
        let file = Arc::new(MemoryFile {
            bytes: Mutex::default(),
            room: self.room.clone(),
        });
        lock(&self.files).insert(path.to_owned(), file.clone());
        Ok(file)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let files = lock(&self.files);
        let inside = files.keys().filter(|path| path.parent() == Some(dir));
        let names = inside.filter_map(|path| path.file_name()?.to_str());
        Ok(names.map(str::to_owned).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.take(from)?;
        lock(&self.files).insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.take(path).map(drop)
    }

    /// Nothing here is durable, and nobody expects it.
    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Directories are nothing but parts of names here.
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn free(&self, _dir: &Path) -> io::Result<u64> {
        let used = self.room.used.load(Ordering::Acquire);
        Ok(self.room.max - used)
    }

    /// No other process can reach it.
    fn lock(&self, _path: &Path) -> io::Result<DiskLock> {
        Ok(DiskLock::new(()))
    }
}

struct MemoryFile {
    bytes: Mutex<Vec<u8>>,
    room: Arc<Room>,
}

impl MemoryFile {
    fn grow(&self, bytes: &mut Vec<u8>, len: u64) -> io::Result<()> {
        let more = len.saturating_sub(bytes.len() as u64);
        self.room.take(more)?;
        if more > 0 {
            bytes.resize(len as usize, 0);
        }
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<usize> {
        let mut bytes = lock(&self.bytes);
        let end = offset.saturating_add(from.len() as u64);
        self.grow(&mut bytes, end)?;
        bytes[offset as usize..end as usize].copy_from_slice(from);
        Ok(from.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let bytes = lock(&self.bytes);
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.grow(&mut lock(&self.bytes), len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut bytes = lock(&self.bytes);
        self.grow(&mut bytes, len)?;
        self.room.give_back(bytes.len() as u64 - len);
        bytes.truncate(len as usize);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.bytes).len() as u64)
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        self.room.give_back(lock(&self.bytes).len() as u64);
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        Path::new("dir").join(name)
    }

    #[test]
    fn files_come_back_under_the_name_that_they_have_last() {
        let disk = MemoryDisk::new(100);
        let file = disk.create(&path("a")).unwrap();
        assert_eq!(file.write_at(3, b"text").unwrap(), 4);
        disk.rename(&path("a"), &path("b")).unwrap();
        assert_eq!(disk.list(Path::new("dir")).unwrap(), ["b"]);
        assert!(disk.list(Path::new("other")).unwrap().is_empty());
        let mut read = [9; 10];
        let file = disk.open(&path("b")).unwrap();
        assert_eq!(file.read_at(2, &mut read).unwrap(), 5);
        assert_eq!(&read[..5], b"\0text");
        assert_eq!(file.read_at(100, &mut read).unwrap(), 0);
        for gone in [disk.open(&path("a")).err(), disk.remove(&path("a")).err()] {
            assert_eq!(gone.expect("no file").kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn all_files_together_have_a_bound() {
        let disk = MemoryDisk::new(100);
        let first = disk.create(&path("a")).unwrap();
        first.allocate(60).unwrap();
        let second = disk.create(&path("b")).unwrap();
        let full = second.write_at(0, &[1; 41]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert!(second.write_at(u64::MAX, b"x").is_err());
        second.write_at(0, &[1; 40]).unwrap();
        first.set_len(10).unwrap();
        assert_eq!(disk.free(Path::new("dir")).unwrap(), 50);
        disk.remove(&path("b")).unwrap();
        assert_eq!(disk.free(Path::new("dir")).unwrap(), 50, "it is held open");
        drop(second);
        assert_eq!(disk.free(Path::new("dir")).unwrap(), 90);
    }
}
