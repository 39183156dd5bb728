//! A shard's replica is gone for good, and another one of the shard may come later: the log says from where on it speaks of
//! that one. A record of its own, durable before the caller goes on.

use ringfort_cluster::ShardId;

use super::{Wal, WalError};

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
        self.begin();
        for shard in shards {
            self.builder.push_forget(*shard);
        }
        self.write()?;
        self.sync()?;
        // Only now: a segment that is freed by it must not be missed.
        for shard in shards {
            for segment in &mut self.closed {
                segment.holdings.forget(*shard);
            }
            self.current.holdings.forget(*shard);
            self.old.forget(*shard);
        }
        Ok(())
    }
}
