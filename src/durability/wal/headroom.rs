//! The part of the disk that the logs leave to the snapshots that will shorten them. Knows nothing of shards: how much
//! the snapshots need is told to it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::durability::disk::Disk;

/// Once writes were refused, so much room must have come before they are taken again: a log that fills the last
/// kilobytes one by one would be refused and taken in turns.
const RESUME_BYTES: u64 = 256 << 10;
/// The same as a part of what the snapshots need.
const RESUME_PART: u64 = 8;

/// Shared by the logs of all workers.
#[derive(Debug, Default)]
pub struct Headroom {
    keep_free: AtomicU64,
}

impl Headroom {
    /// Sets the bytes of the disk that logs may not take.
    pub fn set(&self, bytes: u64) {
        self.keep_free.store(bytes, Ordering::Relaxed);
    }

    /// What the logs may still take of the disk. A disk that does not tell counts as endless: it shows its end at the
    /// next allocation.
    #[must_use]
    pub fn room(&self, disk: &dyn Disk, dir: &Path) -> u64 {
        disk.free(dir).map_or(u64::MAX, |free| {
            free.saturating_sub(self.keep_free.load(Ordering::Relaxed))
        })
    }

    /// Whether there is enough room to go on after a refusal.
    pub(super) fn may_resume(&self, disk: &dyn Disk, dir: &Path) -> bool {
        let part = self.keep_free.load(Ordering::Relaxed) / RESUME_PART;
        self.room(disk, dir) >= RESUME_BYTES.max(part)
    }
}
