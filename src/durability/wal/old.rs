//! Segments of earlier generations: read at the start, written no more, removed when the snapshots cover them.
//! They belong to the node and not to a worker, because a start may spread the shards differently.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ringfort_cluster::{Index, ShardId};

use super::segment::Closed;
use crate::durability::disk::SharedDisk;

/// The segments in replay order.
pub struct OldSegments {
    disk: SharedDisk,
    segments: Mutex<VecDeque<Closed>>,
    gone: AtomicBool,
}

impl OldSegments {
    pub(super) fn new(disk: SharedDisk, segments: VecDeque<Closed>) -> Self {
        let gone = AtomicBool::new(segments.is_empty());
        Self {
            disk,
            segments: Mutex::new(segments),
            gone,
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Bytes of records in these segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.lock().iter().map(|segment| segment.bytes).sum()
    }

    /// How many there are.
    #[must_use]
    pub fn segments(&self) -> u64 {
        self.lock().len() as u64
    }

    /// The shards that keep the oldest segment alive: snapshot these to get rid of it.
    #[must_use]
    pub fn oldest_holders(&self, covered: &dyn Fn(ShardId) -> Index) -> Vec<ShardId> {
        self.lock()
            .front()
            .map(|oldest| oldest.holdings.uncovered(covered).collect())
            .unwrap_or_default()
    }

    /// Whatever entries of the shard are here, nobody needs them any more: the log that is written now says so, durably.
    pub(super) fn forget(&self, shard: ShardId) {
        for segment in self.lock().iter_mut() {
            segment.holdings.forget(shard);
        }
    }

    /// Removes the oldest segments as far as `covered` (the index of each shard's durable snapshot, for the shards of
    /// all workers) allows; says how many. A segment behind one that must stay is never removed: it may hold the
    /// replacement of entries in the one that stays, and these would come back to life.
    pub fn release(&self, covered: &dyn Fn(ShardId) -> Index) -> usize {
        let mut segments = self.lock();
        let mut removed = 0;
        while let Some(oldest) = segments.front() {
            if oldest.holdings.uncovered(covered).next().is_some() {
                break;
            }
            if let Err(error) = self.disk.remove(&oldest.path) {
                tracing::warn!(path = %oldest.path.display(), %error, "cannot remove an old WAL segment");
                break;
            }
            segments.pop_front();
            removed += 1;
        }
        self.gone.store(segments.is_empty(), Ordering::Release);
        removed
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Closed>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for OldSegments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OldSegments")
            .field("segments", &self.lock().len())
            .finish()
    }
}
