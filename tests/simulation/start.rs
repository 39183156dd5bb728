//! How a process of a node starts on what its disk holds, by the production recovery code and in its order
//! (`node/recovery`).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use ringfort::durability::snapshot::{find_snapshots, SnapshotFile};
use ringfort::durability::wal::{recover_checked, Recovered};
use ringfort::durability::{
    lock_directory, DiskWorker, LastStop, Marker, NodeState, RecoverOptions, StateKeeper, Wal,
    WalOptions,
};
use ringfort::node::recovery::{group_of, read_snapshot, restored};
use ringfort::node::replay::Replay;
use ringfort::node::shard::Shard;
use ringfort::node::StartError;
use ringfort::store::Timestamp;
use ringfort_cluster::steward::{duties, Since};
use ringfort_cluster::topology::META_GROUP;
use ringfort_cluster::{
    Config, HardState, Index, Membership, Replica, ReplicaId, Restored, ShardId, Term, Topology,
};

use crate::cluster::{beginning, first_voters, Office};
use crate::context::{empty_databases, Context, DATABASES};
use crate::node::{NoStart, Node, Process, DIR, LOGS};
use crate::plan::{Bug, VOTERS};
use crate::snapshots::{spare_replica, SNAPSHOTS};
use crate::worker::{Home, Place, Worker};

const ELECTION_TICKS: usize = 10;

/// The settings of a replica in the simulation.
pub fn config(group: ShardId, id: ReplicaId, context: &mut Context) -> Config {
    let tick_us = context.plan.tick_us;
    // A fifth of an election timeout: the simulated clocks drift by less.
    let margin = tick_us * ELECTION_TICKS as u64 / 5;
    Config {
        tick_us,
        election_ticks: ELECTION_TICKS,
        election_ticks_own: ELECTION_TICKS,
        election_jitter_ticks: ELECTION_TICKS,
        // Drawn anew for every life, from the run's own seed.
        seed: context.rng.next_u64(),
        // Little, so that followers that lag need snapshots.
        tail_bytes_max: 12 * 1024,
        absence_us: 500_000,
        tail_bytes_small: 4 * 1024,
        drift_margin_us: margin,
        lease_interval_us: tick_us / 2,
        promote_lag_entries_max: 32,
        ..Config::new(group, id)
    }
}

fn refused(error: &dyn std::fmt::Display) -> NoStart {
    NoStart::Refused(error.to_string())
}

/// What a start is made from.
struct Start {
    state: std::sync::Arc<StateKeeper>,
    shards: u16,
    hash_seed: u64,
    files: BTreeMap<ShardId, SnapshotFile>,
}

impl Start {
    fn group(&self, number: ShardId) -> ShardId {
        group_of(number, self.shards)
    }

    fn held(&self, number: ShardId) -> Option<ReplicaId> {
        self.state.replica(self.group(number))
    }

    /// A shard without snapshot and log.
    fn empty(&self, number: ShardId, context: &Context) -> Shard {
        let (group, start) = (self.group(number), (Index::ZERO, Term(0)));
        let databases = empty_databases(self.hash_seed);
        let mut shard = Shard::new(number, databases, spare_replica(group), start, Timestamp(0));
        let began = self
            .held(number)
            .is_some_and(|id| id.get() <= VOTERS as u64);
        if began && !context.has_bug(Bug::ReplicaIdReused) {
            shard.membership = first_voters();
            let is_meta = group == META_GROUP;
            shard.meta = is_meta.then(|| Box::new(beginning(&context.plan)));
        }
        shard
    }
}

impl Node {
    /// Starts a process on what the disk holds.
    pub fn start(&mut self, context: &mut Context) -> Result<(), NoStart> {
        let started = self.load(context);
        match started {
            Ok(process) => {
                self.is_damaged = false;
                self.process = Some(process);
                Ok(())
            }
            Err(NoStart::Refused(_)) if self.sim.is_stopped() || self.is_full => Err(NoStart::Disk),
            Err(refusal) => Err(refusal),
        }
    }

    fn load(&mut self, context: &mut Context) -> Result<Process, NoStart> {
        let dir = Path::new(DIR);
        let lock = lock_directory(&self.disk, dir).map_err(|error| refused(&error))?;
        let last = Marker::read(&self.disk, dir).map_err(|error| refused(&error))?;
        let state = self.open_state(context)?;
        let boot = format!("boot {}", self.boot);
        let hash_seed = context.plan.seed ^ self.number as u64;
        let workers = 1 + context.rng.index(context.plan.workers);
        let marker = Marker {
            boot_id: boot.clone(),
            clean: false,
            durability: context.plan.mode,
            threads: workers as u32,
            shards: u32::from(context.plan.shards),
            databases: DATABASES,
            hash_seed,
            node_id: self.id(),
            cluster_state: true,
        };
        self.disk.sync_dir(dir).map_err(|error| refused(&error))?;
        let mut start = Start {
            state,
            shards: context.plan.shards,
            hash_seed,
            files: BTreeMap::new(),
        };
        let mut shards = self.load_snapshots(&mut start, context)?;
        let stop = LastStop::of(last.as_ref(), &boot);
        let (recovered, traces) = self.replay(&start, &mut shards, stop, context)?;
        let suspicious = last.is_some_and(|last| last.is_suspect(&boot));
        if suspicious && !context.has_bug(Bug::SuspectIgnored) {
            let suspect = |state: &mut NodeState| state.suspects.extend(state.replicas.keys());
            let noted = start.state.change(suspect);
            noted.map_err(|error| refused(&error))?;
        }
        marker
            .write(&self.disk, dir)
            .map_err(|error| refused(&error))?;
        self.start_replicas(&start, &mut shards, &recovered, context)?;
        for number in &traces {
            start.state.litter(start.group(*number));
        }
        let office = self.office(&start)?;
        let workers = self.open_logs(shards, workers, &recovered, (&start, &traces), context)?;
        Ok(Process {
            workers,
            office,
            marker,
            _lock: lock,
        })
    }

    /// Reads what the node is in its cluster; the first nodes find it in the beginning.
    fn open_state(&mut self, context: &Context) -> Result<std::sync::Arc<StateKeeper>, NoStart> {
        let opened = StateKeeper::open(&self.disk, Path::new(DIR), self.id());
        let (state, existed) = opened.map_err(|error| refused(&error))?;
        if existed {
            return Ok(state);
        }
        let first = match &self.remembers {
            Some(remembered) => remembered.clone(),
            None if self.generation > 0 || self.number >= context.plan.nodes => return Ok(state),
            None => {
                let topology = beginning(&context.plan);
                let held = topology.held_by(self.id());
                NodeState {
                    replicas: held.map(|(group, id, _)| (group, id)).collect(),
                    topology: topology.encode().ok(),
                    ..NodeState::default()
                }
            }
        };
        let noted = state.change(|state| *state = first);
        noted.map_err(|error| refused(&error))?;
        Ok(state)
    }

    fn office(&self, start: &Start) -> Result<Office, NoStart> {
        let state = start.state.state();
        let topology = match &state.topology {
            Some(bytes) => Topology::decode(bytes).map_err(|error| refused(&error))?,
            None => Topology::default(),
        };
        let lost = duties(&topology, self.id(), &state.replicas, Since::Restart).lost;
        Ok(Office {
            topology: Rc::new(topology),
            lost,
            suspect: start.state.suspects(),
            steward: None,
        })
    }

    fn load_snapshots(&self, start: &mut Start, context: &Context) -> Result<Vec<Shard>, NoStart> {
        let numbers = (0..=start.shards).map(ShardId);
        let mut shards: Vec<Shard> = numbers.map(|id| start.empty(id, context)).collect();
        let dir = Path::new(SNAPSHOTS);
        for file in find_snapshots(&self.disk, dir).map_err(|error| refused(&error))? {
            if start.held(file.shard).is_none() {
                // Of a replica that is gone. Durably, before the log says so.
                let removed = self.disk.remove(&file.path);
                let removed = removed.and_then(|()| self.disk.sync_dir(dir));
                removed.map_err(|error| refused(&error))?;
                continue;
            }
            let loaded = read_snapshot(&self.disk, &file, DATABASES, start.hash_seed);
            let loaded = loaded.map_err(|error| refused(&error))?;
            let spare = spare_replica(start.group(file.shard));
            shards[usize::from(file.shard.0)] = loaded.into_shard(spare);
            start.files.insert(file.shard, file);
        }
        Ok(shards)
    }

    fn replay(
        &self,
        start: &Start,
        shards: &mut [Shard],
        last_stop: LastStop,
        context: &Context,
    ) -> Result<(Recovered, BTreeSet<ShardId>), NoStart> {
        let options = RecoverOptions {
            last_stop,
            accept_data_loss: context.has_bug(Bug::DamageAccepted),
        };
        let ids = shards.iter().map(|shard| shard.id);
        let strangers = ids.filter(|id| start.held(*id).is_none()).collect();
        let mut start_over = |number: ShardId| match start.files.get(&number) {
            None => Ok(start.empty(number, context)),
            Some(file) => {
                let loaded = read_snapshot(&self.disk, file, DATABASES, start.hash_seed)?;
                Ok::<Shard, StartError>(loaded.into_shard(spare_replica(start.group(number))))
            }
        };
        let replay = Replay::new(shards, options.accept_data_loss, &mut start_over);
        let replay = RefCell::new(replay.without(strangers));
        let recovered = recover_checked(
            &self.disk,
            Path::new(LOGS),
            options,
            |record| {
                let mut items = record.items.iter();
                items.try_for_each(|item| replay.borrow_mut().item(&item))
            },
            || replay.borrow_mut().check(),
        );
        let recovered = recovered.map_err(|error| refused(&error))?;
        Ok((recovered, replay.into_inner().into_traces()))
    }

    fn start_replicas(
        &self,
        start: &Start,
        shards: &mut [Shard],
        recovered: &Recovered,
        context: &mut Context,
    ) -> Result<(), NoStart> {
        let suspects = start.state.state().suspects;
        for shard in shards {
            let group = start.group(shard.id);
            let Some(id) = start.held(shard.id) else {
                continue;
            };
            context.oracle.restored(shard).map_err(NoStart::Violation)?;
            let found = recovered.hard_states().get(&shard.id).copied();
            let membership = match context.has_bug(Bug::MembershipForgotten) {
                true => first_voters(),
                false => shard.membership.clone(),
            };
            shard.replica = self.replica((group, id), shard, found, membership, context)?;
            shard.standing.is_held = !suspects.contains(&group);
            context.losses.begins((group, id), self.number);
            context.losses.holds(group, &shard.membership);
        }
        Ok(())
    }

    fn replica(
        &self,
        (group, replica): (ShardId, ReplicaId),
        shard: &mut Shard,
        found: Option<HardState>,
        membership: Membership,
        context: &mut Context,
    ) -> Result<Replica, NoStart> {
        let mut restored: Restored = restored(shard, found, membership);
        if context.has_bug(Bug::TermLostAtRestart) && restored.has_run() {
            let last = restored.entries.last().map(|entry| entry.term);
            restored.hard_state.term = last.unwrap_or(restored.snapshot_term);
            restored.hard_state.vote = ReplicaId(0);
        }
        if context.has_bug(Bug::LogTruncatedAtRecovery) {
            restored.entries.pop();
            let last = restored.last_index();
            restored.hard_state.commit = restored.hard_state.commit.min(last);
        }
        let (node, id) = (self.number, shard.id);
        context.tell(|| {
            let state = restored.hard_state;
            format!(
                "node {node} shard {id} replica {replica}: snapshot {} log to {} term {} vote {} commit {}",
                restored.snapshot_index,
                restored.last_index(),
                state.term,
                state.vote,
                state.commit
            )
        });
        let config = config(group, replica, context);
        Replica::new(&config, restored).map_err(|error| NoStart::Refused(error.to_string()))
    }

    fn open_logs(
        &self,
        shards: Vec<Shard>,
        workers: usize,
        recovered: &Recovered,
        (start, traces): (&Start, &BTreeSet<ShardId>),
        context: &mut Context,
    ) -> Result<Vec<Worker>, NoStart> {
        let covered = shards.iter().map(|shard| (shard.id, shard.snapshot_index));
        let covered: BTreeMap<ShardId, Index> = covered.collect();
        let home = Home {
            node: self.number,
            id: self.id(),
            state: start.state.clone(),
            life: self.life,
            sim: self.sim.clone(),
            disk: self.disk.clone(),
            hash_seed: start.hash_seed,
            covered: Rc::new(RefCell::new(covered)),
        };
        let mut places: Vec<Vec<Place>> = (0..workers).map(|_| Vec::new()).collect();
        for shard in shards {
            places[usize::from(shard.id.0) % workers].push(Place::new(shard));
        }
        let mut opened = Vec::new();
        for (number, places) in places.into_iter().enumerate() {
            let options = WalOptions {
                segment_bytes: context.plan.segment_bytes,
                salt_seed: context.rng.next_u64(),
                ..WalOptions::new(DiskWorker::inline())
            };
            let states = places.iter().map(|place| &place.shard);
            let states: Vec<(ShardId, HardState)> = states
                .map(|shard| (shard.id, shard.replica.hard_state()))
                .collect();
            let disk = self.disk.clone();
            let logs = Path::new(LOGS);
            let mut wal = Wal::open(disk, logs, number as u32, options, recovered, &states)
                .map_err(|error| refused(&error))?;
            tidy(&mut wal, &places, start, traces)?;
            let mut worker = Worker::new(number, places, wal, home.clone());
            worker.slowness_us = self.slowness_us;
            opened.push(worker);
        }
        Ok(opened)
    }
}

/// What earlier replicas have left in the log must never be taken for a later one's.
fn tidy(
    wal: &mut Wal,
    places: &[Place],
    start: &Start,
    traces: &BTreeSet<ShardId>,
) -> Result<(), NoStart> {
    let numbers = places.iter().map(|place| place.shard.id);
    let left: Vec<ShardId> = numbers.filter(|number| traces.contains(number)).collect();
    match wal.forget(&left) {
        Ok(()) => {
            let groups = left.iter().map(|number| start.group(*number));
            groups.for_each(|group| start.state.tidied(group));
            Ok(())
        }
        // Until there is room no replica of them begins.
        Err(error) if error.is_full() => Ok(()),
        Err(error) => Err(refused(&error)),
    }
}
