//! The seam between the durability code and storage. `RealDisk` stands behind it in production, `SimDisk`
//! in the simulator and in tests that cut the power. Knows nothing of logs, snapshots or their bytes.

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A disk as everyone in this room holds it.
pub type SharedDisk = Arc<dyn Disk>;
/// An open file; the background thread may sync it while its owner writes on.
pub type SharedFile = Arc<dyn DiskFile>;

/// What the durability code asks of a file system.
///
/// A created, renamed or removed name is durable only after `sync_dir` of its directory.
pub trait Disk: Send + Sync {
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<SharedFile>;
    /// Creates an empty file, or empties the one that is there.
    fn create(&self, path: &Path) -> io::Result<SharedFile>;
    /// The names of the files in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Gives a file another name, replacing the file that had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the directory's names durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Creates a directory and those above it; no error if it is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that files in the directory may still take, as far as the file system knows.
    fn free(&self, dir: &Path) -> io::Result<u64>;
    /// Takes an exclusive lock on a file (created if need be). `WouldBlock`: another process holds it.
    fn lock(&self, path: &Path) -> io::Result<DiskLock>;
}

/// One open file. Offsets and lengths are in bytes.
pub trait DiskFile: Send + Sync {
    /// Writes some of `bytes` and says how many: fewer than asked is no error.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;
    /// Says that many small writes follow, each behind the last, into space that `allocate` has given: a disk may take
    /// them by a cheaper way. For the contents of the file, and for what survives, it makes no difference.
    fn expect_small_writes(&self) {}
    /// Reads some bytes and says how many; 0 at the end of the file.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// `fdatasync`: the contents, and the length as far as reading them needs it, are durable.
    fn sync(&self) -> io::Result<()>;
    /// Makes the file at least `len` long with space on the disk for all of it. A full disk shows here, not at a later write.
    fn allocate(&self, len: u64) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Held as long as the lock is to last.
pub struct DiskLock {
    _held: Box<dyn Any + Send + Sync>,
}

impl DiskLock {
    pub(super) fn new(held: impl Any + Send + Sync) -> Self {
        Self {
            _held: Box::new(held),
        }
    }
}

impl std::fmt::Debug for DiskLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DiskLock")
    }
}

/// Writes all of `bytes`, going on after short writes and interruptions.
pub(super) fn write_all_at(
    file: &dyn DiskFile,
    mut offset: u64,
    mut bytes: &[u8],
) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(offset, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                bytes = bytes.get(written..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `into` as far as the file reaches; says how many bytes there were.
pub(super) fn read_full_at(file: &dyn DiskFile, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read_at(offset + filled as u64, &mut into[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Whether the error means that there is no room: bad luck that may pass, unlike a failing device.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
