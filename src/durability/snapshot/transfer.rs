//! Snapshot files on their way between nodes: one that is read while newer ones may replace it, and one that is received aside and
//! put in place as a whole. Knows nothing of who sends and who decides.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ringfort_cluster::{Index, ShardId};

use super::reader::open_head;
use super::{format, SnapshotError, SnapshotFile, SnapshotMeta};
use crate::durability::disk::{read_full_at, write_all_at, SharedDisk, SharedFile};

/// Left free on the disk beside a file that is received.
pub const ROOM_LEFT_BYTES: u64 = 1 << 20;
/// Synced along the way each time so much was written, as a snapshot of this node's own is.
const SYNC_EVERY_BYTES: u64 = 16 << 20;
/// How often the directory is looked at when the newest file is replaced between a look and its opening.
const LOOKS_MAX: usize = 5;

/// A snapshot in place, held open: it can be read to its end also after a newer one has replaced it.
pub struct OutgoingFile {
    file: SharedFile,
    path: PathBuf,
    meta: SnapshotMeta,
    bytes: u64,
}

impl OutgoingFile {
    /// A shard's newest snapshot in that directory. Only its head is checked: the receiver checks all of it.
    ///
    /// # Errors
    /// A damaged head, an unknown version, a failing disk.
    pub fn newest(
        disk: &SharedDisk,
        dir: &Path,
        shard: ShardId,
    ) -> Result<Option<Self>, SnapshotError> {
        let mut looks = 0;
        loop {
            let Some(path) = newest_path(disk, dir, shard)? else {
                return Ok(None);
            };
            looks += 1;
            let file = match disk.open(&path) {
                Ok(file) => file,
                // Replaced by a newer one, which the next look finds.
                Err(error) if error.kind() == ErrorKind::NotFound && looks < LOOKS_MAX => continue,
                Err(error) => return Err(SnapshotError::io("open", &path, error)),
            };
            let (meta, bytes) = open_head(file.clone(), &path)?;
            return Ok(Some(Self {
                file,
                path,
                meta,
                bytes,
            }));
        }
    }

    /// What it says about itself.
    #[must_use]
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Its length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Up to `bytes_max` bytes from `offset` on; fewer only at its end.
    ///
    /// # Errors
    /// A failing disk, or a file that has become shorter.
    pub fn read(&self, offset: u64, bytes_max: usize) -> Result<Vec<u8>, SnapshotError> {
        let wanted = self.bytes.saturating_sub(offset).min(bytes_max as u64) as usize;
        let mut bytes = vec![0; wanted];
        let read = read_full_at(&*self.file, offset, &mut bytes)
            .map_err(|error| SnapshotError::io("read", &self.path, error))?;
        if read < wanted {
            return Err(SnapshotError::Damaged {
                path: self.path.clone(),
                offset: offset + read as u64,
                what: "its end is missing",
            });
        }
        Ok(bytes)
    }
}

fn newest_path(
    disk: &SharedDisk,
    dir: &Path,
    shard: ShardId,
) -> Result<Option<PathBuf>, SnapshotError> {
    let names = disk
        .list(dir)
        .map_err(|error| SnapshotError::io("list", dir, error))?;
    let of_shard = names.into_iter().filter_map(|name| {
        let (of, index) = format::parse_name(&name)?;
        (of == shard).then_some((index, name))
    });
    Ok(of_shard.max().map(|(_, name)| dir.join(name)))
}

/// A snapshot that is being received. Dropped before it is put in place, it leaves nothing behind.
pub struct IncomingFile {
    disk: SharedDisk,
    dir: PathBuf,
    temp: SnapshotFile,
    file: SharedFile,
    /// As announced.
    bytes: u64,
    written: u64,
    unsynced: u64,
    in_place: bool,
}

impl IncomingFile {
    /// Makes a temporary file with room for `bytes`. `number` tells apart what is received for a shard at the same time.
    ///
    /// # Errors
    /// A full or failing disk.
    pub fn begin(
        disk: &SharedDisk,
        dir: &Path,
        (shard, index): (ShardId, Index),
        number: u64,
        bytes: u64,
    ) -> Result<Self, SnapshotError> {
        let path = dir.join(format::part_name(shard, index, number));
        let free = disk
            .free(dir)
            .map_err(|error| SnapshotError::io("find room for", &path, error))?;
        if free < bytes.saturating_add(ROOM_LEFT_BYTES) {
            return Err(SnapshotError::Full { path });
        }
        let file = disk
            .create(&path)
            .map_err(|error| SnapshotError::io("create", &path, error))?;
        let incoming = Self {
            disk: disk.clone(),
            dir: dir.to_owned(),
            temp: SnapshotFile { shard, index, path },
            file,
            bytes,
            written: 0,
            unsynced: 0,
            in_place: false,
        };
        // Others may take what is free: a full disk shows now, not when most of it has come.
        let allocated = incoming.file.allocate(bytes);
        allocated.map_err(|error| incoming.failed("find room for", error))?;
        Ok(incoming)
    }

    /// Adds what came next.
    ///
    /// # Errors
    /// A failing disk, or more than was announced.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        if bytes.len() as u64 > self.bytes - self.written {
            return Err(self.damaged("it is longer than announced"));
        }
        write_all_at(&*self.file, self.written, bytes)
            .map_err(|error| self.failed("write", error))?;
        self.written += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_EVERY_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    /// All has come: makes the contents durable, and says where they can be read and checked.
    ///
    /// # Errors
    /// A failing disk, or less than was announced.
    pub fn complete(&mut self) -> Result<&SnapshotFile, SnapshotError> {
        if self.written < self.bytes {
            return Err(self.damaged("it is shorter than announced"));
        }
        self.sync()?;
        Ok(&self.temp)
    }

    /// Gives the snapshot its name, durably. To be called when it was found to be sound. The shard's older ones stay.
    ///
    /// # Errors
    /// A failing disk.
    pub fn put_in_place(mut self) -> Result<(), SnapshotError> {
        let path = self
            .dir
            .join(format::name(self.temp.shard, self.temp.index));
        let renamed = self.disk.rename(&self.temp.path, &path);
        renamed.map_err(|error| self.failed("put in place", error))?;
        self.in_place = true;
        let synced = self.disk.sync_dir(&self.dir);
        synced.map_err(|error| self.failed("put in place", error))
    }

    fn sync(&mut self) -> Result<(), SnapshotError> {
        let synced = self.file.sync();
        self.unsynced = 0;
        synced.map_err(|error| self.failed("sync", error))
    }

    fn failed(&self, action: &'static str, error: std::io::Error) -> SnapshotError {
        SnapshotError::io(action, &self.temp.path, error)
    }

    fn damaged(&self, what: &'static str) -> SnapshotError {
        SnapshotError::Damaged {
            path: self.temp.path.clone(),
            offset: self.written,
            what,
        }
    }
}

impl Drop for IncomingFile {
    fn drop(&mut self) {
        if !self.in_place {
            // Best effort: the next start clears leftovers away.
            let _ = self.disk.remove(&self.temp.path);
        }
    }
}

/// Removes a shard's snapshots below an index, which a newer, durable one has replaced. What cannot be removed now is removed
/// at the next start.
pub fn remove_older(disk: &SharedDisk, dir: &Path, shard: ShardId, below: Index) {
    let Ok(names) = disk.list(dir) else {
        return;
    };
    for name in names {
        let older =
            format::parse_name(&name).is_some_and(|(of, index)| of == shard && index < below);
        if older && disk.remove(&dir.join(&name)).is_err() {
            tracing::warn!(%name, "cannot remove an old snapshot; it stays until the next start");
        }
    }
}

/// Removes the one snapshot of a shard at an index.
///
/// # Errors
/// A failing disk, or there is none.
pub fn remove_snapshot(
    disk: &SharedDisk,
    dir: &Path,
    shard: ShardId,
    index: Index,
) -> Result<(), SnapshotError> {
    let path = dir.join(format::name(shard, index));
    disk.remove(&path)
        .and_then(|()| disk.sync_dir(dir))
        .map_err(|error| SnapshotError::io("remove", &path, error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::meta;
    use super::super::{find_snapshots, SnapshotReader, SnapshotWriter};
    use super::*;
    use crate::durability::{MemoryDisk, RealDisk};

    const DIR: &str = "/snapshots";

    fn memory(bytes_max: u64) -> SharedDisk {
        Arc::new(MemoryDisk::new(bytes_max))
    }

    fn write(disk: &SharedDisk, dir: &Path, index: u64) -> u64 {
        let mut writer = SnapshotWriter::begin(disk.clone(), dir, meta(1, index)).unwrap();
        writer.append(&[7; 300_000]).unwrap();
        writer.finish(1).unwrap().bytes
    }

    fn newest(disk: &SharedDisk, dir: &Path) -> OutgoingFile {
        let newest = OutgoingFile::newest(disk, dir, ShardId(1)).unwrap();
        newest.expect("a snapshot")
    }

    fn all(file: &OutgoingFile) -> Vec<u8> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < file.bytes() {
            bytes.extend(file.read(bytes.len() as u64, 100_000).unwrap());
        }
        bytes
    }

    #[test]
    fn a_file_that_was_replaced_can_be_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let real: SharedDisk = Arc::new(RealDisk);
        for (disk, dir) in [(real, dir.path()), (memory(1 << 30), Path::new(DIR))] {
            assert!(OutgoingFile::newest(&disk, dir, ShardId(1))
                .unwrap()
                .is_none());
            let bytes = write(&disk, dir, 9);
            let held = newest(&disk, dir);
            write(&disk, dir, 10);
            assert_eq!(held.meta(), &meta(1, 9));
            assert_eq!(all(&held).len() as u64, bytes);
            assert_eq!(newest(&disk, dir).meta(), &meta(1, 10));
        }
    }

    #[test]
    fn what_was_received_takes_its_place_when_all_of_it_is_there() {
        let (disk, dir) = (memory(1 << 30), Path::new(DIR));
        write(&disk, dir, 10);
        let bytes = all(&newest(&disk, dir));
        remove_snapshot(&disk, dir, ShardId(1), Index(10)).unwrap();
        write(&disk, dir, 5);
        let to = (ShardId(1), Index(10));
        let mut file = IncomingFile::begin(&disk, dir, to, 1, bytes.len() as u64).unwrap();
        for chunk in bytes.chunks(70_000) {
            assert!(file.complete().is_err(), "something is missing");
            file.append(chunk).unwrap();
        }
        assert!(file.append(b"x").is_err(), "more than was announced");
        let temp = file.complete().unwrap().clone();
        assert!(SnapshotReader::open(&disk, &temp).is_ok());
        file.put_in_place().unwrap();
        assert_eq!(disk.list(dir).unwrap().len(), 2, "the older one stays");
        remove_older(&disk, dir, ShardId(1), Index(10));
        assert_eq!(disk.list(dir).unwrap(), ["shard-1-10.snap"]);
    }

    #[test]
    fn what_was_received_in_part_leaves_nothing_behind() {
        let (disk, dir) = (memory(1 << 30), Path::new(DIR));
        let to = (ShardId(1), Index(10));
        let mut file = IncomingFile::begin(&disk, dir, to, 1, 100).unwrap();
        file.append(b"half").unwrap();
        drop(file);
        assert!(disk.list(dir).unwrap().is_empty());
        // The process ends: nothing is dropped.
        let mut file = IncomingFile::begin(&disk, dir, to, 2, 100).unwrap();
        file.append(b"half").unwrap();
        std::mem::forget(file);
        assert_eq!(disk.list(dir).unwrap(), ["shard-1-10.snap.2.part"]);
        assert!(find_snapshots(&disk, dir).unwrap().is_empty());
        assert!(disk.list(dir).unwrap().is_empty());
    }

    #[test]
    fn a_file_for_which_there_is_no_room_is_not_begun() {
        let (disk, dir) = (memory(ROOM_LEFT_BYTES + 1000), Path::new(DIR));
        let begin = |bytes| IncomingFile::begin(&disk, dir, (ShardId(1), Index(1)), 1, bytes);
        for bytes in [1001, u64::MAX] {
            assert!(matches!(begin(bytes), Err(SnapshotError::Full { .. })));
        }
        assert!(disk.list(dir).unwrap().is_empty());
        assert!(begin(1000).is_ok());
    }
}
