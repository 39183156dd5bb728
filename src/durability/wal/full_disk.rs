//! A log on a disk that is or will soon be full: what each segment keeps for records that free memory, and how the
//! log gets shorter when there is hardly room for it. How much is left free is `headroom`'s.

use ringfort_cluster::{Index, ShardId};

use super::headroom::Headroom;
use super::segment::SEGMENT_BYTES_MIN;
use super::{first_bytes, opening_bytes, Purpose, RecordNumber, Wal, WalError};

/// The end of each segment that is kept for records that free memory: a fixed part, and one for each shard.
const FREEING_BYTES: usize = 4 << 10;
const FREEING_BYTES_SHARD: usize = 128;

/// For a log of so many shards.
pub(super) fn freeing_bytes(shards: usize) -> usize {
    FREEING_BYTES + shards * FREEING_BYTES_SHARD
}

impl Wal {
    /// The end of each segment that only `Purpose::Frees` may use: a FLUSHALL over all shards fits, and some more.
    pub(super) fn freeing_bytes(&self) -> usize {
        freeing_bytes(self.hard_states.len())
    }

    /// On a full disk: the end of the segment, for a record that may use it.
    pub(super) fn take_last_room(
        &mut self,
        bytes: usize,
        purpose: Purpose,
        full: WalError,
    ) -> Result<(), WalError> {
        let begun = self.current.first_record.0 > 0;
        let opening = opening_bytes(self.hard_states.len(), bytes);
        let needed = if begun { bytes } else { opening };
        if purpose == Purpose::Grows || !self.current.has_room(needed) {
            return Err(full);
        }
        if !begun {
            // It was made for a large record, which then found no room in it.
            self.write_checkpoint()?;
        }
        Ok(())
    }

    pub(super) fn full(&self, bytes: usize) -> WalError {
        WalError::Full {
            dir: self.dir.clone(),
            bytes: bytes as u64,
        }
    }

    /// What all logs together may still take of the disk.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.options.headroom.room(&*self.disk, &self.dir)
    }

    /// What the logs leave free, for setting it.
    #[must_use]
    pub fn headroom(&self) -> &Headroom {
        &self.options.headroom
    }

    /// Number of the segment that is being written.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.current.sequence
    }

    /// On a full disk, when one large segment is the whole log and the snapshots cover it: goes on in the smallest one, so
    /// that the large one can be freed. The little that it takes comes back many times.
    pub(super) fn close_covered(&mut self, covered: &dyn Fn(ShardId) -> Index) {
        let needed = first_bytes(self.hard_states.len(), self.freeing_bytes());
        let is_large = self.current.capacity >= 2 * needed.max(SEGMENT_BYTES_MIN);
        let holds_nothing = self.current.holdings.uncovered(covered).next().is_none();
        if self.refusing
            && self.current.first_record.0 > 0
            && self.closed.is_empty()
            && is_large
            && holds_nothing
        {
            let closed = self.switch(0, true).and_then(|()| self.write_checkpoint());
            if let Err(error) = closed {
                tracing::debug!(%error, "a covered WAL segment stays");
            }
        }
    }

    /// Without room nobody waits for the sync of every second: segments are freed behind it.
    pub(super) fn ask_for_sync(&mut self) {
        let has_time = !self.refusing && self.room() > self.bytes();
        if has_time || self.sync_asked >= self.last {
            return;
        }
        self.sync_asked = self.last;
        let syncer = self.syncer();
        // Who syncs or writes next learns of a failure.
        let asked = self.options.disk_worker.submit(move || {
            let _ = syncer.sync();
        });
        if asked.is_err() {
            self.sync_asked = RecordNumber(0);
        }
    }
}
