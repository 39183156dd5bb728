//! A shard's replica is gone for good, and another one of the shard may come later: the log says from where on it speaks of
//! that one. A record of its own, durable before the caller goes on.

use ringfort_cluster::ShardId;

use super::{RecordNumber, Wal, WalError};

impl Wal {
    /// Has recovery drop all that this log and those of earlier generations hold of these shards, hard states too. Durable when
    /// this returns. A record that was begun and not written is dropped.
    ///
    /// The shards' snapshots must be gone by then, durably: recovery takes one that it finds for that of a later replica.
    ///
    /// # Errors
    /// `Full`: nothing was written. Any other error is final, as that of [`Wal::sync`] is.
    pub fn forget(&mut self, shards: &[ShardId]) -> Result<(), WalError> {
        if shards.is_empty() {
            return Ok(());
        }
        self.begin_to_forget(shards)?;
        self.sync()?;
        self.forgotten(shards);
        Ok(())
    }

    /// The first half of [`Wal::forget`], which does not wait for the disk: writes the record that says so, and gives its number.
    ///
    /// # Errors
    /// As [`Wal::forget`].
    pub fn begin_to_forget(&mut self, shards: &[ShardId]) -> Result<RecordNumber, WalError> {
        self.begin();
        for shard in shards {
            self.builder.push_forget(*shard);
        }
        self.write()?;
        Ok(self.written())
    }

    /// The second half, when that record is durable. Nothing of the shards may have been written since.
    pub fn forgotten(&mut self, shards: &[ShardId]) {
        // Only now: a segment that is freed by it must not be missed.
        for shard in shards {
            for segment in &mut self.closed {
                segment.holdings.forget(*shard);
            }
            self.current.holdings.forget(*shard);
            self.old.forget(*shard);
        }
    }
}
