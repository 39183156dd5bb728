//! What recovery does to the files once all logs are read: removes what was dropped, and ends every log with an end
//! record, so that a later start takes a missing end for what it is. In an order that a crash may interrupt anywhere.

use std::path::{Path, PathBuf};

use super::error::RecoverError;
use super::layout::{RecordKind, SegmentHeader, END_RECORD_BYTES};
use super::record::RecordBuilder;
use super::RecordNumber;
use crate::durability::disk::{read_full_at, write_all_at, SharedDisk};

/// Written again at once.
const RESYNC_BYTES: usize = 1 << 20;

/// Where a log is to end.
pub(super) struct Cut {
    pub path: PathBuf,
    pub offset: u64,
    /// Number of the end record.
    pub number: RecordNumber,
    pub header: SegmentHeader,
}

impl Cut {
    /// Length of the file afterwards.
    pub fn end(&self) -> u64 {
        self.offset + END_RECORD_BYTES as u64
    }
}

/// Sound records that may not be durable. They are written once more before they are synced: where the process ended because a
/// sync had failed, the system's cache takes them for clean and would sync nothing.
pub(super) struct Resync {
    pub path: PathBuf,
    pub from: u64,
    pub end: u64,
}

#[derive(Default)]
pub(super) struct Changes {
    /// In replay order.
    pub remove: Vec<PathBuf>,
    pub resync: Vec<Resync>,
    pub cuts: Vec<Cut>,
    /// Files that end in order, with the length that they need.
    pub trim: Vec<(PathBuf, u64)>,
}

impl Changes {
    pub fn carry_out(&self, disk: &SharedDisk, dir: &Path) -> Result<(), RecoverError> {
        // The last first: what remains after a crash in between is a log without its end, never one with a hole.
        for path in self.remove.iter().rev() {
            disk.remove(path)
                .map_err(|error| RecoverError::io("remove", path, error))?;
        }
        disk.sync_dir(dir)
            .map_err(|error| RecoverError::io("sync", dir, error))?;
        // Before any log gets its end record: a power cut must not take what stands before one.
        for part in &self.resync {
            resync(disk, part).map_err(|error| RecoverError::io("sync", &part.path, error))?;
        }
        for cut in &self.cuts {
            end_log(disk, cut).map_err(|error| RecoverError::io("cut", &cut.path, error))?;
        }
        for (path, len) in &self.trim {
            trim(disk, path, *len).map_err(|error| RecoverError::io("cut", path, error))?;
        }
        Ok(())
    }
}

fn resync(disk: &SharedDisk, part: &Resync) -> std::io::Result<()> {
    let file = disk.open(&part.path)?;
    let mut buffer = vec![0; RESYNC_BYTES.min((part.end - part.from) as usize)];
    let mut offset = part.from;
    while offset < part.end {
        let len = buffer.len().min((part.end - offset) as usize);
        let read = read_full_at(&*file, offset, &mut buffer[..len])?;
        if read == 0 {
            break;
        }
        write_all_at(&*file, offset, &buffer[..read])?;
        offset += read as u64;
    }
    file.sync()
}

fn end_log(disk: &SharedDisk, cut: &Cut) -> std::io::Result<()> {
    let mut builder = RecordBuilder::default();
    builder.begin();
    let synced_through = RecordNumber(cut.number.0.saturating_sub(1));
    let seed = cut.header.crc_seed();
    let bytes = builder.finish(
        RecordKind::Final,
        cut.header.sequence,
        cut.number,
        synced_through,
        seed,
    );
    let file = disk.open(&cut.path)?;
    // Into the space that every segment keeps for it: no new room is needed, even on a full disk.
    write_all_at(&*file, cut.offset, bytes)?;
    file.sync()?;
    file.set_len(cut.end())?;
    file.sync()
}

fn trim(disk: &SharedDisk, path: &Path, len: u64) -> std::io::Result<()> {
    let file = disk.open(path)?;
    if file.len()? > len {
        file.set_len(len)?;
        file.sync()?;
    }
    Ok(())
}
