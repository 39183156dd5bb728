//! The disk side of a running node: its logs, its marker, and the thread that does the file work.

use std::collections::BTreeSet;
use std::sync::Arc;

use ringfort_cluster::{HardState, ShardId};

use crate::durability::wal::{Headroom, Recovered};
use crate::durability::{DiskLock, DiskWorker, Marker, SharedDisk, StateKeeper, Wal, WalOptions};
use crate::node::shard::Shard;
use crate::settings::{Durability, Startup};

use super::StartError;

/// The disk side of a node that keeps its data.
pub struct Disk {
    pub disk: SharedDisk,
    pub dir: std::path::PathBuf,
    pub worker: DiskWorker,
    pub thread: std::thread::JoinHandle<()>,
    pub recovered: Recovered,
    pub(super) headroom: Arc<Headroom>,
    pub(super) marker: Marker,
    pub(super) state: Arc<StateKeeper>,
    /// Shards without a replica of which the log holds something.
    pub(super) traces: BTreeSet<ShardId>,
    pub(super) _lock: DiskLock,
}

impl Disk {
    /// Opens the log of one worker behind what was recovered.
    ///
    /// # Errors
    /// No room, or a failing disk.
    pub fn open_wal(
        &self,
        worker: u16,
        shards: &[&Shard],
        startup: &Startup,
    ) -> Result<Wal, StartError> {
        let options = WalOptions {
            segment_bytes: startup.wal_segment_bytes,
            headroom: self.headroom.clone(),
            expects_small_writes: startup.durability == Durability::Everysec,
            ..WalOptions::new(self.worker.clone())
        };
        let states: Vec<(ShardId, HardState)> = shards
            .iter()
            .map(|shard| (shard.id, shard.replica.hard_state()))
            .collect();
        let logs = self.dir.join("wal");
        let mut wal = Wal::open(
            self.disk.clone(),
            &logs,
            u32::from(worker),
            options,
            &self.recovered,
            &states,
        )
        .map_err(StartError::from)?;
        self.tidy(&mut wal, shards)?;
        if startup.durability == Durability::Everysec {
            self.worker.sync_regularly(wal.syncer());
        }
        Ok(wal)
    }

    /// What earlier replicas have left in the log must never be taken for a later one's.
    fn tidy(&self, wal: &mut Wal, shards: &[&Shard]) -> Result<(), StartError> {
        let has_traces = |shard: &&&Shard| self.traces.contains(&shard.id);
        let left: Vec<&Shard> = shards.iter().filter(has_traces).copied().collect();
        let numbers: Vec<ShardId> = left.iter().map(|shard| shard.id).collect();
        match wal.forget(&numbers) {
            Ok(()) => left
                .iter()
                .for_each(|shard| self.state.tidied(shard.replica.shard())),
            // A node must be able to start so that it can be freed; until then no replica of them begins.
            Err(error) if error.is_full() => tracing::warn!("{error}"),
            Err(error) => return Err(StartError::from(error)),
        }
        Ok(())
    }

    /// Waits for the disk thread to end; every handle to it must be gone.
    pub fn end(self) {
        let Disk {
            worker,
            thread,
            recovered,
            ..
        } = self;
        drop((worker, recovered));
        if thread.join().is_err() {
            tracing::error!("the disk thread ended badly");
        }
    }

    /// Says that everything is synced and closed.
    ///
    /// # Errors
    /// A failing disk.
    pub fn mark_clean(&self) -> Result<(), StartError> {
        let marker = Marker {
            clean: true,
            ..self.marker.clone()
        };
        marker
            .write(&self.disk, &self.dir)
            .map_err(StartError::from)
    }
}
