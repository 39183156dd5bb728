//! Brings the shards back from snapshots and log, and opens the log for what comes. Every entry is applied by
//! [`Shard::apply`], as it was the first time.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringfort_cluster::replica::Membership;
use ringfort_cluster::topology::Topology;
use ringfort_cluster::{
    codec, Config, HardState, Index, NodeId, Replica, ReplicaId, Restored, ShardId, Term,
};

use crate::durability::snapshot::{find_snapshots, SnapshotFile, SnapshotMeta};
use crate::durability::wal::{Headroom, Item, Recovered};
use crate::durability::{
    boot_id, lock_directory, node_identity, recover, DiskLock, DiskWorker, DurabilityMode,
    LastStop, Marker, RealDisk, RecoverOptions, SharedDisk, SnapshotReader, Wal, WalOptions,
};
use crate::settings::{Durability, Startup};
use crate::store::rdb::Records;
use crate::store::{Databases, Deadline, Limits, Timestamp};

use super::replay::Replay;
use super::shard::Shard;
use super::snapshots::{room_needed, Present};
use super::worker::wall_clock;

/// The replica of a group of one voter.
const ONLY_REPLICA: ReplicaId = ReplicaId(1);
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

/// What a snapshot says beside its data.
#[derive(bincode::Encode, bincode::Decode)]
struct ExtraWire {
    last_clock_ms: u64,
    databases: u16,
    limits: [i64; 9],
}

/// What a snapshot says beside its data.
pub struct SnapshotExtra {
    pub last_clock_ms: u64,
    pub databases: u16,
    pub limits: Limits,
    /// The state of the meta group, in its snapshot.
    pub topology: Option<Topology>,
}

impl SnapshotExtra {
    pub fn encode(&self) -> Vec<u8> {
        let wire = ExtraWire {
            last_clock_ms: self.last_clock_ms,
            databases: self.databases,
            limits: self.limits.to_numbers(),
        };
        let mut bytes = codec::encode(&wire).expect("a few numbers");
        if let Some(topology) = &self.topology {
            let encoded = topology.encode();
            bytes.extend(encoded.expect("a topology is within its bounds"));
        }
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (wire, length) = codec::decode_prefix::<ExtraWire>(bytes).ok()?;
        let topology = match &bytes[length..] {
            [] => None,
            encoded => Some(Topology::decode(encoded).ok()?),
        };
        let limits = Limits::from_numbers(wire.limits);
        Some(Self {
            last_clock_ms: wire.last_clock_ms,
            databases: wire.databases,
            limits,
            topology,
        })
    }
}

/// What a snapshot of the shard as it is now says of itself.
pub fn describe(shard: &Shard) -> SnapshotMeta {
    let (index, term) = shard.applied();
    let extra = SnapshotExtra {
        last_clock_ms: shard.applied_clock().0,
        databases: shard.databases.count() as u16,
        limits: *shard.databases.limits(),
        topology: shard.meta.as_deref().cloned(),
    };
    SnapshotMeta {
        shard: shard.id,
        index,
        term,
        membership: shard.membership.clone(),
        semantics: ringfort_cluster::entry::SEMANTICS_VERSION,
        extra: extra.encode(),
    }
}

/// The disk side of a node that keeps its data.
pub struct Disk {
    pub disk: SharedDisk,
    pub dir: std::path::PathBuf,
    pub worker: DiskWorker,
    pub thread: std::thread::JoinHandle<()>,
    pub recovered: Recovered,
    headroom: Arc<Headroom>,
    marker: Marker,
    _lock: DiskLock,
}

/// Shards ready to serve, and the disk under them (none with `--durability none`).
pub struct Loaded {
    pub node_id: NodeId,
    pub shards: Vec<Shard>,
    pub disk: Option<Disk>,
    /// Of a directory that holds the node's identity and no data; else `disk` has it.
    pub lock: Option<DiskLock>,
    pub keys: u64,
    /// By shard.
    pub snapshots: Vec<Present>,
}

/// Reads everything back. `limits` are those of shards that are new.
///
/// # Errors
/// Damage, a directory in use, settings that do not fit the data: with what to do about it.
pub fn load(startup: &Startup, limits: Limits) -> Result<Loaded, StartError> {
    let disk: SharedDisk = Arc::new(RealDisk);
    let dir = &startup.dir;
    let lock = lock_directory(&disk, dir).map_err(StartError::from)?;
    if startup.durability == Durability::None {
        return load_nothing(&disk, lock, startup, limits);
    }
    let last = Marker::read(&disk, dir).map_err(StartError::from)?;
    check_marker(last.as_ref(), startup)?;
    let node_id =
        node_identity(&disk, dir, last.as_ref(), draw_identity).map_err(StartError::from)?;
    let seed = last
        .as_ref()
        .map_or_else(random_seed, |marker| Ok(marker.hash_seed))?;
    let marker = Marker {
        boot_id: boot_id(),
        clean: false,
        durability: mode(startup.durability),
        threads: startup.threads as u32,
        shards: u32::from(startup.shards),
        databases: startup.databases,
        hash_seed: seed,
        node_id,
    };
    let mut shards: Vec<Shard> = (0..startup.shards)
        .map(|id| new_shard(ShardId(id), startup, seed, limits))
        .collect();
    let [snapshots, logs] = directories(&disk, dir)?;
    let present = load_snapshots(&disk, &snapshots, startup, seed, &mut shards)?;
    let last_stop = LastStop::of(last.as_ref(), &marker.boot_id);
    if last
        .as_ref()
        .is_some_and(|last| last.is_suspect(&marker.boot_id))
    {
        tracing::warn!(
            "the machine stopped without a clean shutdown: writes of its last second may be gone"
        );
    }
    let options = RecoverOptions {
        last_stop,
        accept_data_loss: startup.accept_data_loss,
    };
    let mut replay = Replay {
        shards: &mut shards,
        accept_data_loss: startup.accept_data_loss,
    };
    let recovered = recover(&disk, &logs, options, |record| {
        record.items.iter().try_for_each(|item| match item {
            Item::Entries(run) => replay.run(&run),
            Item::HardState { .. } => Ok(()),
        })
    })
    .map_err(StartError::from)?;
    for loss in &recovered.losses {
        tracing::warn!(
            "the log was cut in {} at byte {}: {} records and {} segments behind it are gone",
            loss.path.display(),
            loss.offset,
            loss.records,
            loss.segments
        );
    }
    // Now: an interrupted recovery had to learn how the run before it ended; logs that are open have no end yet.
    marker.write(&disk, dir).map_err(StartError::from)?;
    let shards = start_all(shards, Some(&recovered))?;
    let keys = shards
        .iter()
        .flat_map(|shard| shard.databases.iter())
        .map(|keyspace| keyspace.len() as u64)
        .sum();
    let sync_every = (startup.durability == Durability::Everysec).then_some(SYNC_EVERY);
    let failed =
        Box::new(|error: crate::durability::wal::WalError| super::stop_the_process(&error));
    let (worker, thread) = DiskWorker::start(sync_every, failed).map_err(StartError::from)?;
    let sizes = shards.iter().zip(&present);
    let headroom = Arc::new(Headroom::default());
    headroom.set(room_needed(
        sizes.map(|(shard, present)| (shard.databases.bytes() as u64, *present)),
    ));
    let disk = Disk {
        headroom,
        disk,
        dir: dir.clone(),
        worker,
        thread,
        recovered,
        marker,
        _lock: lock,
    };
    Ok(Loaded {
        node_id,
        shards,
        disk: Some(disk),
        lock: None,
        keys,
        snapshots: present,
    })
}

/// Empty shards for `--durability none`. The directory says who this node is; what else it holds is left alone.
fn load_nothing(
    disk: &SharedDisk,
    lock: DiskLock,
    startup: &Startup,
    limits: Limits,
) -> Result<Loaded, StartError> {
    // Of a run that kept its data, perhaps; whether that can still be read matters no more.
    let last = Marker::read(disk, &startup.dir).ok().flatten();
    let node_id = node_identity(disk, &startup.dir, last.as_ref(), draw_identity)
        .map_err(StartError::from)?;
    let seed = random_seed()?;
    let shards = (0..startup.shards)
        .map(|id| new_shard(ShardId(id), startup, seed, limits))
        .collect();
    Ok(Loaded {
        node_id,
        shards: start_all(shards, None)?,
        disk: None,
        lock: Some(lock),
        keys: 0,
        snapshots: Vec::new(),
    })
}

fn draw_identity() -> std::io::Result<u128> {
    let mut bytes = [0; 16];
    super::process::fill_random(&mut bytes)?;
    Ok(u128::from_be_bytes(bytes))
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
        let wal = Wal::open(
            self.disk.clone(),
            &logs,
            u32::from(worker),
            options,
            &self.recovered,
            &states,
        )
        .map_err(StartError::from)?;
        if startup.durability == Durability::Everysec {
            self.worker.sync_regularly(wal.syncer());
        }
        Ok(wal)
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

fn mode(durability: Durability) -> DurabilityMode {
    match durability {
        Durability::Always => DurabilityMode::Always,
        Durability::Everysec => DurabilityMode::Everysec,
        Durability::None => DurabilityMode::None,
    }
}

fn check_marker(last: Option<&Marker>, startup: &Startup) -> Result<(), StartError> {
    let Some(last) = last else { return Ok(()) };
    if last.shards != u32::from(startup.shards) {
        return Err(StartError(format!(
            "shards: {} was made with {} shards, and their number is fixed then: start with --shards {}, or with another --dir",
            startup.dir.display(), last.shards, last.shards
        )));
    }
    if last.databases > startup.databases {
        return Err(StartError(format!(
            "databases: {} was made with {} databases, which may hold keys: start with --databases {} or more",
            startup.dir.display(), last.databases, last.databases
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

pub(super) fn random_seed() -> Result<u64, StartError> {
    let id = super::process::random_id()
        .map_err(|error| StartError(format!("/dev/urandom: {error}")))?;
    Ok(u64::from_str_radix(&id[..16], 16).expect("hexadecimal digits"))
}

/// An empty shard with a replica that has not started.
fn new_shard(id: ShardId, startup: &Startup, seed: u64, limits: Limits) -> Shard {
    let databases = new_databases(startup.databases, seed, limits);
    let replica = fresh_replica(id);
    Shard::new(id, databases, replica, (Index::ZERO, Term(0)), Timestamp(0))
}

fn new_databases(count: u32, seed: u64, limits: Limits) -> Databases {
    Databases::new(count as usize, (seed, !seed.rotate_left(32)), limits)
}

fn fresh_replica(id: ShardId) -> Replica {
    replica(id, Restored::fresh([ONLY_REPLICA])).expect("a fresh replica starts")
}

fn replica(id: ShardId, restored: Restored) -> Result<Replica, StartError> {
    Replica::new(&Config::new(id, ONLY_REPLICA), restored)
        .map_err(|error| StartError(format!("shard {id} cannot start: {error}")))
}

fn load_snapshots(
    disk: &SharedDisk,
    dir: &Path,
    startup: &Startup,
    seed: u64,
    shards: &mut [Shard],
) -> Result<Vec<Present>, StartError> {
    let mut sizes = vec![Present::default(); shards.len()];
    for file in find_snapshots(disk, dir).map_err(StartError::from)? {
        let Some(shard) = shards.get_mut(usize::from(file.shard.0)) else {
            return Err(StartError(format!(
                "{} belongs to no shard of this node",
                file.path.display()
            )));
        };
        match load_snapshot(disk, &file, startup, seed) {
            Ok((loaded, bytes)) => {
                *shard = loaded;
                sizes[usize::from(file.shard.0)] = Present {
                    bytes,
                    memory_bytes: shard.databases.bytes() as u64,
                };
            }
            Err(error) if startup.accept_data_loss => {
                tracing::error!("{error}; going on without it, as --accept-data-loss says");
                // Out of the way, so that the next start needs no consent; kept, because it may yet be of use.
                let mut aside = file.path.clone().into_os_string();
                aside.push(".damaged");
                disk.rename(&file.path, Path::new(&aside))
                    .and_then(|()| disk.sync_dir(dir))
                    .map_err(|error| {
                        StartError(format!("cannot rename {}: {error}", file.path.display()))
                    })?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(sizes)
}

fn load_snapshot(
    disk: &SharedDisk,
    file: &SnapshotFile,
    startup: &Startup,
    seed: u64,
) -> Result<(Shard, u64), StartError> {
    let loaded = read_snapshot(disk, file, startup.databases, seed)?;
    let bytes = loaded.bytes;
    let replica = fresh_replica(loaded.meta.shard);
    Ok((loaded.into_shard(replica), bytes))
}

/// A snapshot's data, and what it says about itself.
pub struct LoadedSnapshot {
    pub meta: SnapshotMeta,
    pub extra: SnapshotExtra,
    pub databases: Databases,
    /// Of the data.
    pub bytes: u64,
}

impl LoadedSnapshot {
    /// The shard as of the snapshot's index.
    pub fn into_shard(self, replica: Replica) -> Shard {
        let meta = self.meta;
        let start = Timestamp(self.extra.last_clock_ms);
        let applied = (meta.index, meta.term);
        let mut shard = Shard::new(meta.shard, self.databases, replica, applied, start);
        shard.snapshot_index = meta.index;
        shard.membership = meta.membership;
        shard.meta = self.extra.topology.map(Box::new);
        shard
    }
}

/// Reads a snapshot into keyspaces of a node whose hashes have that seed.
///
/// # Errors
/// Damage, or a failing disk.
pub fn read_snapshot(
    disk: &SharedDisk,
    file: &SnapshotFile,
    databases_max: u32,
    seed: u64,
) -> Result<LoadedSnapshot, StartError> {
    let mut reader = SnapshotReader::open(disk, file).map_err(StartError::from)?;
    let meta = reader.meta().clone();
    let bad = |what: &str| {
        StartError(format!("snapshot {} {what}: restore the directory from a backup, or start once with --accept-data-loss to go on without this shard's data", file.path.display()))
    };
    let extra = SnapshotExtra::decode(&meta.extra)
        .ok_or_else(|| bad("has a description that makes no sense"))?;
    let mut databases = new_databases(databases_max, seed, extra.limits);
    let mut bytes = Vec::with_capacity(reader.stream_bytes() as usize);
    reader
        .read_to_end(&mut bytes)
        .map_err(|error| bad(&format!("cannot be read ({error})")))?;
    for record in Records::new(&bytes) {
        let record = record.map_err(|_| bad("holds a key that makes no sense"))?;
        if u32::from(record.database) >= databases_max {
            return Err(bad(&format!("holds a key of database {}", record.database)));
        }
        let deadline = record.deadline.map_or(Deadline::None, Deadline::At);
        let keyspace = databases.keyspace_mut(record.database);
        // At time 0 nothing is due: what the snapshot holds comes back as it was (invariant 3).
        keyspace.set(&record.key, record.value, deadline, Timestamp(0));
    }
    Ok(LoadedSnapshot {
        meta,
        extra,
        databases,
        bytes: bytes.len() as u64,
    })
}

/// Gives every shard the replica that its log and hard state make.
fn start_all(shards: Vec<Shard>, recovered: Option<&Recovered>) -> Result<Vec<Shard>, StartError> {
    let started = wall_clock();
    shards
        .into_iter()
        .map(|mut shard| {
            let found = recovered
                .and_then(|recovered| recovered.hard_states().get(&shard.id))
                .copied();
            let restored = restored(
                &mut shard,
                found,
                Restored::fresh([ONLY_REPLICA]).membership,
            );
            shard.replica = replica(shard.id, restored)?;
            shard.standing.is_held = true;
            if shard.applied_clock() > Timestamp(started.0 + 60_000) {
                tracing::warn!(
                    "the clock is more than a minute behind the log of shard {}",
                    shard.id
                );
            }
            Ok(shard)
        })
        .collect()
}

/// What a shard's replica starts from: its snapshot and the log have been replayed, and `hard_state` is the last one that
/// the log holds.
pub fn restored(
    shard: &mut Shard,
    hard_state: Option<HardState>,
    membership: Membership,
) -> Restored {
    let (applied, term) = shard.applied();
    let mut hard_state = hard_state.unwrap_or_default();
    hard_state.commit = hard_state.commit.max(applied);
    hard_state.term = hard_state.term.max(term);
    Restored {
        hard_state,
        snapshot_index: applied,
        snapshot_term: term,
        membership,
        entries: std::mem::take(&mut shard.unapplied),
        applied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Builder;

    fn startup(dir: &Path) -> Arc<Startup> {
        let dir = dir.to_str().expect("a path of text");
        let settings = Builder::new().flags([("dir", dir), ("shards", "2")]);
        settings.expect("good settings").build().startup().clone()
    }

    fn load_new(startup: &Startup) -> Result<Loaded, StartError> {
        load(startup, Limits::default())
    }

    fn marker(dir: &Path) -> Marker {
        let disk: SharedDisk = Arc::new(RealDisk);
        Marker::read(&disk, dir).unwrap().expect("a marker")
    }

    /// The marker came behind the opening of the logs. A start that ended in between left logs without their end under a
    /// marker that told of an orderly stop.
    #[test]
    fn the_directory_says_that_a_run_has_begun_before_any_log_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let startup = startup(dir.path());
        for _ in 0..2 {
            let disk = load_new(&startup).unwrap().disk.expect("a disk");
            assert!(!marker(dir.path()).clean);
            let logs = std::fs::read_dir(dir.path().join("wal")).unwrap();
            assert_eq!(logs.count(), 0, "no log is open yet");
            disk.mark_clean().unwrap();
            assert!(marker(dir.path()).clean);
            disk.end();
        }
    }

    #[test]
    fn a_node_is_the_same_in_its_directory_with_and_without_data() {
        let dir = tempfile::tempdir().unwrap();
        let kept = startup(dir.path());
        let flags = [
            ("dir", dir.path().to_str().unwrap()),
            ("durability", "none"),
        ];
        let settings = Builder::new().flags(flags).unwrap().build();
        let first = load_new(settings.startup()).unwrap();
        assert!(first.disk.is_none());
        assert!(load_new(settings.startup()).is_err(), "it is in use");
        let id = first.node_id;
        drop(first);
        let second = load_new(&kept).unwrap();
        assert_eq!(second.node_id, id);
        assert_eq!(marker(dir.path()).node_id, id);
        second.disk.expect("a disk").end();
        assert_eq!(load_new(settings.startup()).unwrap().node_id, id);
    }

    #[test]
    fn a_recovery_that_fails_leaves_the_marker_of_the_run_before() {
        let dir = tempfile::tempdir().unwrap();
        let startup = startup(dir.path());
        let disk = load_new(&startup).unwrap().disk.expect("a disk");
        disk.mark_clean().unwrap();
        disk.end();
        std::fs::write(dir.path().join("wal/wal-0-000001.log"), [7; 4096]).unwrap();
        assert!(load_new(&startup).is_err());
        assert!(marker(dir.path()).clean);
    }
}
