//! The disk of the operating system. Knows nothing of logs and snapshots.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{fallocate, flock, FallocateFlags, FlockOperation};

use super::disk::{write_all_at, Disk, DiskFile, DiskLock, SharedFile};
use super::window::Window;

/// How much is zeroed at once where the file system has no `fallocate`.
const ZERO_FILL_BYTES: usize = 1 << 20;

/// Files and directories as the operating system has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> io::Result<SharedFile> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(RealFile::new(file)))
    }

    fn create(&self, path: &Path) -> io::Result<SharedFile> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        Ok(Arc::new(RealFile::new(file)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // A name that is not UTF-8 is not one of ours.
            if let (true, Ok(name)) = (
                entry.file_type()?.is_file(),
                entry.file_name().into_string(),
            ) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(dir)?;
        // The new directory's own name is durable only once its parent is synced.
        match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.sync_dir(parent),
            _ => self.sync_dir(Path::new(".")),
        }
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<DiskLock> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(DiskLock::new(file))
    }
}

struct RealFile {
    file: File,
    /// Once small writes are expected.
    window: Mutex<Option<Window>>,
}

impl RealFile {
    fn new(file: File) -> Self {
        Self {
            file,
            window: Mutex::new(None),
        }
    }

    fn window(&self) -> MutexGuard<'_, Option<Window>> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        if let Some(window) = &mut *self.window() {
            if window.write(&self.file, offset, bytes) {
                return Ok(bytes.len());
            }
        }
        self.file.write_at(bytes, offset)
    }

    fn expect_small_writes(&self) {
        *self.window() = Window::for_file(&self.file);
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let before = self.len()?;
        match fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                zero_fill(self, before, len)
            }
            Err(error) => {
                // A partly allocated file would keep the last free blocks of a full disk for nothing.
                self.set_len(before)?;
                Err(error.into())
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        // A mapped page behind the end of its file must not be touched.
        if let Some(window) = &mut *self.window() {
            window.close();
        }
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

/// Allocation by writing, for file systems without `fallocate`.
fn zero_fill(file: &RealFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; ZERO_FILL_BYTES];
    let mut offset = from;
    while offset < to {
        let bytes = (to - offset).min(ZERO_FILL_BYTES as u64) as usize;
        if let Err(error) = write_all_at(file, offset, &zeros[..bytes]) {
            file.set_len(from)?;
            return Err(error);
        }
        offset += bytes as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocation_by_writing_lengthens_the_file_and_keeps_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"kept").unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        zero_fill(&RealFile::new(file), 4, ZERO_FILL_BYTES as u64 + 100).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), ZERO_FILL_BYTES + 100);
        assert!(bytes.starts_with(b"kept") && bytes[4..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn allocation_never_shortens_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join("file")).unwrap();
        file.allocate(8192).unwrap();
        file.allocate(4096).unwrap();
        assert_eq!(file.len().unwrap(), 8192);
    }

    #[test]
    fn expected_small_writes_and_long_ones_make_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = RealDisk.create(&path).unwrap();
        file.allocate(1 << 20).unwrap();
        file.expect_small_writes();
        let mut expected = vec![0; 1 << 20];
        for (at, len) in [
            (0, 30),
            (30, 9000),
            (9030, 100),
            (262_000, 300),
            (262_300, 5),
        ] {
            let bytes = vec![at as u8 | 1; len];
            write_all_at(&*file, at as u64, &bytes).unwrap();
            expected[at..at + len].copy_from_slice(&bytes);
        }
        file.sync().unwrap();
        let mut read = vec![0; 1 << 20];
        assert_eq!(file.read_at(0, &mut read).unwrap(), 1 << 20);
        assert!(read == expected && fs::read(&path).unwrap() == expected);
        file.set_len(100).unwrap();
        write_all_at(&*file, 90, b"0123456789abcdef").unwrap();
        assert_eq!(file.len().unwrap(), 106);
    }

    #[test]
    fn what_a_file_takes_is_not_free_any_more() {
        let dir = tempfile::tempdir().unwrap();
        assert!(RealDisk.free(dir.path()).unwrap() > 0);
        assert!(RealDisk.free(&dir.path().join("none")).is_err());
    }

    #[test]
    fn only_files_are_listed_in_order() {
        let dir = tempfile::tempdir().unwrap();
        RealDisk.create_dir(&dir.path().join("deep/er")).unwrap();
        for name in ["b", "a"] {
            RealDisk.create(&dir.path().join(name)).unwrap();
        }
        assert_eq!(RealDisk.list(dir.path()).unwrap(), ["a", "b"]);
        RealDisk
            .rename(&dir.path().join("a"), &dir.path().join("c"))
            .unwrap();
        RealDisk.remove(&dir.path().join("b")).unwrap();
        RealDisk.sync_dir(dir.path()).unwrap();
        assert_eq!(RealDisk.list(dir.path()).unwrap(), ["c"]);
    }
}
