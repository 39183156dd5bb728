//! What can go wrong with the WAL, in words for the operator.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the WAL could not take or keep a record.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// Bad luck that may pass: refuse writes, go on serving reads, try again with the next write.
    #[error("the disk is full: no room for {bytes} more bytes of log in {} beside what snapshots need; writes are refused until space is freed", dir.display())]
    Full { dir: PathBuf, bytes: u64 },
    #[error("a log record of {bytes} bytes is longer than the {max} bytes that one may have; send smaller batches")]
    TooLarge { bytes: usize, max: usize },
    /// The record is not in the log. It stays in the buffer: `write` may be tried again.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Nothing may be acknowledged any more, and no second sync may be hoped for: stop the process.
    #[error("syncing the log {} failed ({reason}): what it held may be lost, so the node must stop; check the disk, then restart", path.display())]
    SyncFailed { path: PathBuf, reason: String },
}

impl WalError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// Whether trying again later makes sense: the disk was full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// A part of the log that was on disk and is not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub path: PathBuf,
    /// Byte offset of the first bad record.
    pub offset: u64,
    pub what: &'static str,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "WAL segment {} is corrupt at byte {}: {}; this node is the only replica: restore the directory from a backup, \
             or start once with --accept-data-loss to drop everything from that record on",
            self.path.display(),
            self.offset,
            self.what
        )
    }
}

/// Why the log could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error("{0}")]
    Damaged(Damage),
    #[error("WAL segment {} has format version {version}, this program knows version {known}; start the version that wrote it", path.display())]
    Version {
        path: PathBuf,
        version: u32,
        known: u32,
    },
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The consumer found a sound record that it cannot use.
    #[error("WAL segment {} holds at byte {offset} what cannot be replayed: {source}", path.display())]
    Refused {
        path: PathBuf,
        offset: u64,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the log in {} cannot be used: {source}", dir.display())]
    Unfit {
        dir: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl RecoverError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
