//! The node: workers, shards and what they tell of themselves. Knows no sockets of clients; those are the
//! server's.

pub mod catch_up;
mod clients;
mod cluster_port;
mod cycle;
pub mod digests;
pub mod early;
mod fan;
mod farewell;
mod follower_reads;
mod forward;
mod forward_wire;
mod gather;
mod group;
mod guests;
mod handover;
mod host;
mod io;
pub mod links_table;
mod look_ahead;
pub mod loopback;
pub mod meta;
pub mod move_pace;
pub mod operator;
pub mod outbox;
mod outward;
mod patience;
pub mod peer;
pub mod process;
mod recover;
pub mod recovery;
pub mod replay;
mod replicas;
pub mod report;
mod rounds;
mod router;
mod scan;
pub mod shard;
mod shared;
mod slots;
mod slowlog;
mod snapshots;
mod spread;
pub mod stats;
mod suspects;
#[cfg(test)]
mod testing;
mod tidying;
pub mod topology;
pub mod view;
mod worker;
mod write_times;

use std::sync::Arc;

use ringfort_cluster::topology::{Leaders, Topology};

use crate::settings::{Durability, LiveView, Settings};

pub use clients::Client;
pub use cycle::CYCLE_MS;
pub use io::ConnKey;
pub use recovery::StartError;
pub use router::{Prepared, PREPARED_MAX};
pub use shared::Shared;
pub use slots::SlotWalk;
pub use tidying::yield_to_others;
pub use topology::{described_node, peers_of, removal};
pub use worker::{monotonic_clock, wall_clock, Worker};

// What the server needs of the commands room, so that it depends on the node alone.
pub use crate::commands::{registry, Pending, Session, Shutdown};

use io::Io;
use recovery::{Directory, Disk};
use slowlog::Slow;
use snapshots::Snapshots;
use worker::Parts;

/// Commands of one connection that may wait for their replies; beyond it the connection is not read from.
pub const PIPELINE_MAX: usize = 16_384;

/// Ends the process because the disk has failed it: what was acknowledged is in the log, and going on could
/// acknowledge what is not (REPLICATION "Disk").
pub fn stop_the_process(error: &dyn std::fmt::Display) -> ! {
    tracing::error!("the log cannot be kept, the process stops: {error}");
    std::process::abort();
}

/// A node whose data is loaded and whose workers are ready to be started on their threads.
pub struct Node {
    pub shared: Arc<Shared>,
    disk: Option<Disk>,
    /// Held where there is no `disk` that holds it.
    _lock: Option<crate::durability::DiskLock>,
    parts: Vec<Parts>,
}

#[cfg(test)]
impl Node {
    /// A node that founds a cluster of its own in the directory of its settings, unless it has done so before.
    pub fn load_alone(shared: Arc<Shared>) -> Result<Self, StartError> {
        let startup = shared.settings.startup().clone();
        let directory = recovery::open_directory(&startup)?;
        let described = described_node(directory.node_id, &startup, &shared.identity, 0);
        let topology = match directory.topology()? {
            Some(topology) => topology,
            None => recovery::found_alone(&directory, described, &startup)?,
        };
        Self::load(shared, directory, &topology)
    }
}

impl Node {
    /// Reads the data back. HTTP can already ask `shared` how far it is. `known` is the topology of its
    /// cluster as far as the node knows it.
    ///
    /// # Errors
    /// Damage, settings that do not fit the data.
    pub fn load(
        shared: Arc<Shared>,
        directory: Directory,
        known: &Topology,
    ) -> Result<Self, StartError> {
        let settings = shared.settings.clone();
        let startup = settings.startup().clone();
        let limits = cycle::limits(&settings.live());
        let loaded = recovery::load(directory, &startup, known, limits)?;
        shared.set_node_id(loaded.node_id);
        shared.set_cluster_state(loaded.state.clone());
        shared.topology.set_doubts(topology::Doubts {
            lost: loaded.lost.clone(),
            suspect: loaded.suspect.clone(),
        });
        shared
            .keys_loaded
            .store(loaded.keys, std::sync::atomic::Ordering::Relaxed);
        let nobody = Default::default();
        let view = view::of_topology(known, &Leaders::default(), loaded.node_id, &nobody);
        shared.view.publish(Arc::new(view));
        let workers = startup.threads as u16;
        let map = known
            .shard_map()
            .ok_or_else(|| StartError("the topology names no shards".into()))?;
        for (shard, present) in (0..).zip(&loaded.snapshots) {
            shared.note_loaded_snapshot(shard, *present);
        }
        for shard in &loaded.shards {
            // Before any worker serves: the others go by it.
            shared.note_alone(shard.id.0, shard.decides_alone());
            let place = &shared.snapshot_indexes[usize::from(shard.id.0)];
            place.store(shard.snapshot_index.0, std::sync::atomic::Ordering::Release);
        }
        let mut by_worker: Vec<Vec<shard::Shard>> = (0..workers).map(|_| Vec::new()).collect();
        for shard in loaded.shards {
            by_worker[usize::from(shard.id.0 % workers)].push(shard);
        }
        let mut parts = Vec::new();
        for (number, shards) in by_worker.into_iter().enumerate() {
            let number = number as u16;
            let wal = match &loaded.disk {
                Some(disk) => {
                    Some(disk.open_wal(number, &shards.iter().collect::<Vec<_>>(), &startup)?)
                }
                None => None,
            };
            let snapshots = Snapshots::on(loaded.disk.as_ref(), workers);
            let stats = shared.stats.workers()[usize::from(number)].clone();
            let io = Io::new(number, workers, stats, Slow::new(shared.clone()));
            let live = LiveView::new(settings.clone());
            parts.push(Parts {
                number,
                workers,
                map,
                shards,
                io,
                shared: shared.clone(),
                live,
                wal,
                sync_always: startup.durability == Durability::Always,
                snapshots,
                seed: recovery::random_seed()?,
            });
        }
        Ok(Self {
            shared,
            disk: loaded.disk,
            _lock: loaded.lock,
            parts,
        })
    }

    /// The workers' makings, each to be taken to its thread and given to [`Worker::start`].
    pub fn take_parts(&mut self) -> Vec<Parts> {
        std::mem::take(&mut self.parts)
    }

    /// As if the process had died.
    #[cfg(test)]
    pub fn kill(self) {
        if let Some(disk) = self.disk {
            disk.end();
        }
    }

    /// After all workers have stopped and closed their logs: says so in the data directory.
    pub fn close(self) {
        let Some(disk) = self.disk else { return };
        if let Err(error) = disk.mark_clean() {
            tracing::error!("{error}");
        }
        disk.end();
    }
}

pub use worker::Parts as WorkerParts;

/// The settings of this node, for those who only know the node.
pub fn settings(shared: &Shared) -> &Settings {
    &shared.settings
}
