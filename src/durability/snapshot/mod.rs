//! Snapshot files: the state of one shard at one index, written aside and put in place as a whole, checked as a whole
//! before anybody may use it. Knows nothing of what the bytes in it mean.

mod format;
mod reader;
#[cfg(test)]
mod tests;
mod transfer;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

use bincode::{Decode, Encode};
use ringfort_cluster::replica::Membership;
use ringfort_cluster::{Index, ShardId, Term};

use super::disk::SharedDisk;

pub use format::{CHUNK_BYTES_MAX, META_BYTES_MAX};
pub use reader::SnapshotReader;
pub use transfer::{remove_older, remove_snapshot, IncomingFile, OutgoingFile, ROOM_LEFT_BYTES};
pub use writer::{BackgroundSnapshot, SnapshotInfo, SnapshotWriter, CHUNKS_WAITING_MAX};

/// What a snapshot says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotMeta {
    pub shard: ShardId,
    /// The last index whose effects are in it.
    pub index: Index,
    /// The term of that index.
    pub term: Term,
    /// Who belonged to the shard at that index.
    pub membership: Membership,
    /// Version of the commands' meaning that the state was made with.
    pub semantics: u16,
    /// The owner's own; up to `META_BYTES_MAX` with everything else.
    pub extra: Vec<u8>,
}

/// Why a snapshot could not be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(
        "snapshot {} is corrupt at byte {offset}: {what}; restore the directory from a backup, or start once with \
         --accept-data-loss to go on without this shard's data", path.display()
    )]
    Damaged {
        path: PathBuf,
        offset: u64,
        what: &'static str,
    },
    #[error("snapshot {} has format version {version}, this program knows version {known}; start the version that wrote it", path.display())]
    Version {
        path: PathBuf,
        version: u32,
        known: u32,
    },
    /// The former snapshot and the log are untouched: try again when there is room.
    #[error("the disk is full: snapshot {} was given up", path.display())]
    Full { path: PathBuf },
    #[error("cannot {action} snapshot {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the description of snapshot {} cannot be stored: {what}", path.display())]
    Meta { path: PathBuf, what: String },
}

impl SnapshotError {
    /// What is wrong, for another node: paths and what to do about it are no concern of its.
    #[must_use]
    pub fn in_short(&self) -> String {
        match self {
            Self::Damaged { offset, what, .. } => format!("corrupt at byte {offset}: {what}"),
            Self::Version { version, known, .. } => {
                format!("format version {version}, but only {known} is known here")
            }
            Self::Full { .. } => "the disk is full".into(),
            Self::Io { action, source, .. } => format!("cannot {action} it: {source}"),
            Self::Meta { what, .. } => format!("its description: {what}"),
        }
    }

    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        if super::disk::is_full(&source) {
            Self::Full {
                path: path.to_owned(),
            }
        } else {
            Self::Io {
                action,
                path: path.to_owned(),
                source,
            }
        }
    }
}

/// A snapshot file in the directory; nothing of it has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    pub shard: ShardId,
    pub index: Index,
    pub path: PathBuf,
}

/// Removes all snapshots of a shard, durably. Those that are being written stay what they are.
///
/// # Errors
/// A failing disk; some may be left.
pub fn remove_snapshots(
    disk: &SharedDisk,
    dir: &Path,
    shard: ShardId,
) -> Result<(), SnapshotError> {
    let names = disk.list(dir);
    for name in names.map_err(|error| SnapshotError::io("list", dir, error))? {
        if format::parse_name(&name).is_some_and(|(of, _)| of == shard) {
            let path = dir.join(name);
            disk.remove(&path)
                .map_err(|error| SnapshotError::io("remove", &path, error))?;
        }
    }
    disk.sync_dir(dir)
        .map_err(|error| SnapshotError::io("sync the names of", dir, error))
}

/// The newest snapshot of every shard, in order of shards. Removes what a crash left behind: half-written files, and
/// snapshots that a newer one has replaced.
///
/// # Errors
/// A failing disk.
pub fn find_snapshots(disk: &SharedDisk, dir: &Path) -> Result<Vec<SnapshotFile>, SnapshotError> {
    let names = disk
        .list(dir)
        .map_err(|error| SnapshotError::io("list", dir, error))?;
    let remove = |path: &Path| {
        disk.remove(path)
            .map_err(|error| SnapshotError::io("remove", path, error))
    };
    for name in names.iter().filter(|name| format::is_leftover(name)) {
        remove(&dir.join(name))?;
    }
    let mut files: Vec<SnapshotFile> = names
        .iter()
        .filter_map(|name| {
            let (shard, index) = format::parse_name(name)?;
            Some(SnapshotFile {
                shard,
                index,
                path: dir.join(name),
            })
        })
        .collect();
    files.sort_by_key(|file| (file.shard, std::cmp::Reverse(file.index)));
    let mut newest: Vec<SnapshotFile> = Vec::new();
    for file in files {
        if newest.last().is_some_and(|last| last.shard == file.shard) {
            // It has its name, so the newer one is complete and durable.
            remove(&file.path)?;
        } else {
            newest.push(file);
        }
    }
    Ok(newest)
}
