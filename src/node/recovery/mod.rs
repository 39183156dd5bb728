//! Brings the node back from its data directory: who it is in its cluster, then the shards from snapshots and log, each with the
//! replica that it had. Every entry is applied by [`Shard::apply`], as it was the first time.

mod directory;
mod disk;
mod extra;
mod rebuild;
#[cfg(test)]
mod rebuild_tests;
mod replicas;
mod snapshots;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringfort_cluster::topology::Topology;
use ringfort_cluster::{NodeId, ReplicaId, ShardId};

use crate::durability::wal::{recover_sparing, Headroom, Loss, Recovered};
use crate::durability::{
    boot_id, DiskLock, DiskWorker, DurabilityMode, LastStop, Marker, RecoverOptions, SharedDisk,
    StateKeeper,
};
use crate::settings::{Durability, Startup};
use crate::store::Limits;

use super::replay::Replay;
use super::shard::Shard;
use super::snapshots::{room_needed, Present};

pub(in crate::node) use directory::random_seed;
pub use directory::{found, found_alone, hash_seed, open_directory, Directory};
pub use disk::Disk;
pub use extra::{describe, read_snapshot, LoadedSnapshot, SnapshotExtra};
pub use replicas::{group_of, restored};
pub(in crate::node) use replicas::{newcomer, placeholder};

use rebuild::Rebuild;
pub(crate) use rebuild::{named, named_few};
use replicas::Makings;
use snapshots::{load_snapshots, Snapshots};

const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Why a node does not start; the text says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

impl StartError {
    fn from(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Shards ready to serve, and the disk under them (none with `--durability none`).
pub struct Loaded {
    pub node_id: NodeId,
    /// The shards in order, and behind them the copy of the meta group.
    pub shards: Vec<Shard>,
    pub disk: Option<Disk>,
    /// Of a directory that holds the node's identity and no data; else `disk` has it.
    pub lock: Option<DiskLock>,
    pub keys: u64,
    /// By shard.
    pub snapshots: Vec<Present>,
    pub state: Arc<StateKeeper>,
    /// Replicas whose data is gone: they never start again.
    pub lost: Vec<(ShardId, ReplicaId)>,
    /// Replicas that may have forgotten what they acknowledged. They have what is left, and take part in nothing.
    pub suspect: Vec<(ShardId, ReplicaId)>,
}

/// Reads everything back. `topology` is what the node knows of its cluster; `limits` are those of shards that are new.
///
/// Where other nodes serve meanwhile, this one may share a machine with them: it takes the time that they leave.
///
/// # Errors
/// Damage, settings that do not fit the data: with what to do about it.
pub fn load(
    directory: Directory,
    startup: &Startup,
    topology: &Topology,
    limits: Limits,
) -> Result<Loaded, StartError> {
    let read = || read_back(directory, startup, topology, limits);
    let (mut loaded, log) = match topology.nodes.len() > 1 {
        true => super::process::in_the_background(read).map_err(StartError::from)??,
        false => read()?,
    };
    if let Some((log, marker)) = log {
        loaded.start_disk(startup, log, marker)?;
    }
    Ok(loaded)
}

/// What was read back, and of what was on a disk the log and the marker to go on with.
type ReadBack = (Loaded, Option<(Log, Marker)>);

fn read_back(
    directory: Directory,
    startup: &Startup,
    topology: &Topology,
    limits: Limits,
) -> Result<ReadBack, StartError> {
    if directory.old_data().is_some() && startup.durability != Durability::None {
        return Err(StartError(format!(
            "{} holds the data of a node that stood alone, which no other cluster can take in: start without --join, or with another --dir",
            directory.dir.display()
        )));
    }
    check_settings(&directory, startup, topology)?;
    let makings = Makings::new(&directory, startup, topology, limits)?;
    let all = 0..=makings.shards();
    let mut shards: Vec<Shard> = all.map(|id| makings.empty(ShardId(id))).collect();
    if startup.durability == Durability::None {
        makings.start_all(&mut shards, None, &mut Rebuild::new(&makings, false))?;
        let lost = makings.all_lost(&directory.lost);
        return Ok((loaded(directory, shards, Vec::new(), lost), None));
    }
    let [snapshots, logs] = directories(&directory.disk, &directory.dir)?;
    let marker = new_marker(&directory, &makings);
    let last = directory.last.as_ref();
    let is_suspect = last.is_some_and(|last| last.is_suspect(&marker.boot_id));
    let last_stop = LastStop::of(last, &marker.boot_id);
    let mut rebuild = Rebuild::new(&makings, is_suspect);
    let disk = &directory.disk;
    let mut found = load_snapshots(disk, &snapshots, &makings, &mut shards, &mut rebuild)?;
    let mut lost = directory.lost.clone();
    for number in &found.damaged {
        let shard = &mut shards[usize::from(number.0)];
        // It knew more once, and others build on that.
        if makings.has_others(makings.group(*number), &shard.membership) {
            lost.extend(makings.lose(*number)?);
            *shard = makings.empty(*number);
        }
    }
    let mut log = replay(disk, &logs, last_stop, &found, &mut shards, &mut rebuild)?;
    let states = log.recovered.hard_states();
    lost.extend(makings.lose_second_beginnings(&mut shards, states)?);
    tell_losses(&log.recovered.losses);
    doubt(is_suspect, &log.recovered.losses, &makings, &shards)?;
    makings.start_all(&mut shards, Some(&log.recovered), &mut rebuild)?;
    rebuild.note()?;
    rebuild.clear(disk, &snapshots, &mut shards)?;
    for number in rebuild.numbers() {
        found.present[usize::from(number.0)] = Present::default();
        log.traces.insert(number);
    }
    lost.extend(rebuild.replicas());
    // Now: an interrupted recovery had to learn how the run before it ended; logs that are open have no end yet.
    let written = marker.write(disk, &directory.dir);
    written.map_err(StartError::from)?;
    let lost = makings.all_lost(&lost);
    for number in &log.traces {
        directory.state.litter(makings.group(*number));
    }
    let loaded = loaded(directory, shards, found.present, lost);
    Ok((loaded, Some((log, marker))))
}

/// Notes which replicas may have forgotten what they acknowledged.
fn doubt(
    is_suspect: bool,
    losses: &[Loss],
    makings: &Makings,
    shards: &[Shard],
) -> Result<(), StartError> {
    if is_suspect {
        tracing::warn!(
            "the machine stopped without a clean shutdown: writes of its last second may be gone"
        );
    }
    if is_suspect || losses.iter().any(|loss| loss.damage.is_some()) {
        makings.suspect(shards)?;
    }
    Ok(())
}

fn loaded(
    directory: Directory,
    shards: Vec<Shard>,
    snapshots: Vec<Present>,
    lost: Vec<(ShardId, ReplicaId)>,
) -> Loaded {
    let keyspaces = shards.iter().flat_map(|shard| shard.databases.iter());
    Loaded {
        node_id: directory.node_id,
        keys: keyspaces.map(|keyspace| keyspace.len() as u64).sum(),
        shards,
        disk: None,
        lock: Some(directory.lock),
        snapshots,
        suspect: directory.state.suspects(),
        state: directory.state,
        lost,
    }
}

impl Loaded {
    fn start_disk(
        &mut self,
        startup: &Startup,
        log: Log,
        marker: Marker,
    ) -> Result<(), StartError> {
        let Some(lock) = self.lock.take() else {
            return Ok(());
        };
        let sync_every = (startup.durability == Durability::Everysec).then_some(SYNC_EVERY);
        let failed =
            Box::new(|error: crate::durability::wal::WalError| super::stop_the_process(&error));
        let (worker, thread) = DiskWorker::start(sync_every, failed).map_err(StartError::from)?;
        let sizes = self.shards.iter().zip(&self.snapshots);
        let headroom = Arc::new(Headroom::default());
        headroom.set(room_needed(
            sizes.map(|(shard, present)| (shard.databases.bytes() as u64, *present)),
        ));
        self.disk = Some(Disk {
            disk: log.disk,
            dir: startup.dir.clone(),
            worker,
            thread,
            recovered: log.recovered,
            headroom,
            marker,
            state: self.state.clone(),
            traces: log.traces,
            _lock: lock,
        });
        Ok(())
    }
}

/// What was read of the log.
struct Log {
    disk: SharedDisk,
    recovered: Recovered,
    /// Shards without a replica of which the log holds something.
    traces: BTreeSet<ShardId>,
}

/// Reads the log. Replicas that are given up are noted as such before any file is changed.
fn replay<'m>(
    disk: &SharedDisk,
    logs: &Path,
    last_stop: LastStop,
    snapshots: &Snapshots,
    shards: &mut [Shard],
    rebuild: &mut Rebuild<'m, '_>,
) -> Result<Log, StartError> {
    let makings = rebuild.makings();
    let options = RecoverOptions {
        last_stop,
        accept_data_loss: makings.startup.accept_data_loss,
    };
    let ids = shards.iter().map(|shard| shard.id);
    let is_stranger = |id: &ShardId| !makings.is_held(*id) || rebuild.is_given_up(*id);
    let strangers = ids.filter(is_stranger).collect();
    let mut start_over = |number| snapshots.start_over(disk, makings, number);
    let replay = Replay::new(shards, options.accept_data_loss, &mut start_over);
    let replay = RefCell::new(replay.without(strangers));
    let rebuild = RefCell::new(rebuild);
    let recovered = recover_sparing(
        disk,
        logs,
        options,
        |record| {
            let mut items = record.items.iter();
            items.try_for_each(|item| replay.borrow_mut().item(&item))
        },
        |damaged| {
            let mut rebuild = rebuild.borrow_mut();
            rebuild.log(damaged, &mut replay.borrow_mut())
        },
        || {
            let (mut rebuild, mut replay) = (rebuild.borrow_mut(), replay.borrow_mut());
            while let Some((number, gap)) = replay.take_gap() {
                let shard = replay.shard(number);
                let membership = shard.map(|shard| shard.membership.clone());
                if !rebuild.unfit(number, &gap, &membership.unwrap_or_default()) {
                    return Err(gap);
                }
                replay.give_up(number);
            }
            rebuild.note()
        },
    );
    Ok(Log {
        disk: disk.clone(),
        recovered: recovered.map_err(StartError::from)?,
        traces: replay.into_inner().into_traces(),
    })
}

fn tell_losses(losses: &[Loss]) {
    for loss in losses {
        tracing::warn!(
            "the log was cut in {} at byte {}: {} records and {} segments behind it are gone",
            loss.path.display(),
            loss.offset,
            loss.records,
            loss.segments
        );
    }
}

fn new_marker(directory: &Directory, makings: &Makings) -> Marker {
    let startup = makings.startup;
    Marker {
        boot_id: boot_id(),
        clean: false,
        durability: match startup.durability {
            Durability::Always => DurabilityMode::Always,
            Durability::Everysec => DurabilityMode::Everysec,
            Durability::None => DurabilityMode::None,
        },
        threads: startup.threads as u32,
        shards: u32::from(makings.shards()),
        databases: startup.databases,
        hash_seed: makings.seed,
        node_id: directory.node_id,
        cluster_state: true,
    }
}

fn check_settings(
    directory: &Directory,
    startup: &Startup,
    topology: &Topology,
) -> Result<(), StartError> {
    if topology.shard_map().is_none() {
        return Err(StartError("the topology names no shards".into()));
    }
    let last = directory.last.as_ref();
    let Some(last) = last.filter(|_| startup.durability != Durability::None) else {
        return Ok(());
    };
    let dir = startup.dir.display();
    let is_alone = topology.nodes.len() == 1;
    let asked = match is_alone {
        true => u32::from(startup.shards),
        // What the cluster has counts, whatever this node was told for the case that it founds one.
        false => topology.shards.len() as u32,
    };
    if last.shards != asked || last.shards as usize != topology.shards.len() {
        return Err(StartError(format!(
            "shards: {dir} was made with {} shards, and their number is fixed then: start with --shards {}, or with another --dir",
            last.shards, last.shards
        )));
    }
    if last.databases > startup.databases {
        return Err(StartError(format!(
            "databases: {dir} was made with {} databases, which may hold keys: start with --databases {} or more",
            last.databases, last.databases
        )));
    }
    Ok(())
}

fn directories(disk: &SharedDisk, dir: &Path) -> Result<[std::path::PathBuf; 2], StartError> {
    let both = [dir.join("snapshots"), dir.join("wal")];
    for dir in &both {
        disk.create_dir(dir)
            .map_err(|error| StartError(format!("cannot create {}: {error}", dir.display())))?;
    }
    disk.sync_dir(dir)
        .map_err(|error| StartError(format!("cannot sync {}: {error}", dir.display())))?;
    Ok(both)
}
