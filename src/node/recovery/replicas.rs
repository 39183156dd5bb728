//! From what each replica starts: its snapshot, its log, or nothing. And which must not start: those that may have forgotten what
//! they promised.

use std::collections::{BTreeMap, BTreeSet};

use ringfort_cluster::replica::Membership;
use ringfort_cluster::steward::{duties, Since};
use ringfort_cluster::topology::{Topology, META_GROUP};
use ringfort_cluster::{
    Config, HardState, Index, NodeId, Replica, ReplicaId, Restored, ShardId, Term,
};

use crate::durability::wal::Recovered;
use crate::durability::StateKeeper;
use crate::node::shard::Shard;
use crate::node::worker::wall_clock;
use crate::settings::Startup;
use crate::store::{Databases, Limits, Timestamp};

use super::directory::{hash_seed, Directory};
use super::rebuild::Rebuild;
use super::StartError;

/// In place of a replica that this node has not got. No replica is ever given this id.
const NOBODY: ReplicaId = ReplicaId(u64::MAX);

/// From what the shards of a node are made.
pub(super) struct Makings<'a> {
    pub startup: &'a Startup,
    pub topology: &'a Topology,
    pub state: &'a StateKeeper,
    pub limits: Limits,
    pub seed: u64,
    pub node_id: NodeId,
    /// Of a node that founded its cluster.
    founding: Option<Topology>,
}

impl<'a> Makings<'a> {
    pub fn new(
        directory: &'a Directory,
        startup: &'a Startup,
        topology: &'a Topology,
        limits: Limits,
    ) -> Result<Self, StartError> {
        Ok(Self {
            startup,
            topology,
            state: &directory.state,
            limits,
            seed: hash_seed(topology),
            node_id: directory.node_id,
            founding: directory.founding()?,
        })
    }

    /// Of the shards, without the meta group.
    pub fn shards(&self) -> u16 {
        self.topology.shards.len() as u16
    }

    /// The group that this node keeps under a number.
    pub fn group(&self, number: ShardId) -> ShardId {
        group_of(number, self.shards())
    }

    pub fn is_held(&self, number: ShardId) -> bool {
        self.state.replica(self.group(number)).is_some()
    }

    /// Whether the group began with this very replica.
    fn is_founders(&self, group: ShardId) -> bool {
        let place = self
            .founding
            .as_ref()
            .and_then(|founding| founding.place(group));
        let held = self.state.replica(group);
        let first = place.and_then(|place| place.replicas.keys().next().copied());
        held.is_some() && held == first
    }

    /// A shard without snapshot and log.
    pub fn empty(&self, number: ShardId) -> Shard {
        let group = self.group(number);
        let databases = new_databases(self.startup.databases, self.seed, self.limits);
        let start = (Index::ZERO, Term(0));
        let mut shard = Shard::new(number, databases, placeholder(group), start, Timestamp(0));
        if self.is_founders(group) {
            shard.membership = Membership::of_voters(self.state.replica(group));
            let founding = self.founding.as_ref().filter(|_| group == META_GROUP);
            shard.meta = founding.map(|founding| Box::new(founding.clone()));
        }
        shard
    }

    /// Whether others belong to the group of a replica, or may by now.
    pub fn has_others(&self, group: ShardId, membership: &Membership) -> bool {
        let Membership {
            voters,
            outgoing,
            learners,
            learners_next,
            ..
        } = membership;
        let own = self.state.replica(group);
        let lists = [voters, outgoing, learners, learners_next];
        let mut members = lists.into_iter().flatten();
        let place = self.topology.place(group);
        let mut placed = place.into_iter().flat_map(|place| place.replicas.keys());
        members.any(|id| Some(*id) != own) || placed.any(|id| Some(*id) != own)
    }

    /// Gives a replica up that has nothing left of what it may have promised. It stays lost.
    pub fn lose(&self, number: ShardId) -> Result<Option<(ShardId, ReplicaId)>, StartError> {
        let group = self.group(number);
        let Some(id) = self.state.replica(group) else {
            return Ok(None);
        };
        tracing::error!("shard {group}: replica {id} has lost its data, it does not start again");
        let noted = self.state.change(|state| state.give_up(group, id));
        noted.map_err(StartError::from)?;
        Ok(Some((group, id)))
    }

    /// What founders have lost that others know of: a group must not begin a second time.
    pub fn lose_second_beginnings(
        &self,
        shards: &mut [Shard],
        states: &BTreeMap<ShardId, HardState>,
    ) -> Result<Vec<(ShardId, ReplicaId)>, StartError> {
        let mut lost = Vec::new();
        for shard in shards {
            let group = self.group(shard.id);
            let state = states.get(&shard.id).copied().unwrap_or_default();
            let has_nothing = shard.applied().0 == Index::ZERO && shard.unapplied.is_empty();
            let begins = has_nothing && state == HardState::default() && self.is_founders(group);
            if begins && self.has_others(group, &shard.membership) {
                lost.extend(self.lose(shard.id)?);
                *shard = self.empty(shard.id);
            }
        }
        Ok(lost)
    }

    /// Notes, durably, that the replicas of groups with others may have forgotten what they acknowledged.
    pub fn suspect(&self, shards: &[Shard]) -> Result<(), StartError> {
        let groups = shards.iter().filter(|shard| self.is_held(shard.id));
        let groups = groups.map(|shard| (self.group(shard.id), &shard.membership));
        let suspects: BTreeSet<ShardId> = groups
            .filter(|(group, membership)| self.has_others(*group, membership))
            .map(|(group, _)| group)
            .collect();
        let noted = self.state.change(|state| state.suspects.extend(&suspects));
        noted.map_err(StartError::from)
    }

    /// Gives every shard that is held, but for those of `rebuild`, the replica that its log and hard state make.
    pub fn start_all(
        &self,
        shards: &mut [Shard],
        recovered: Option<&Recovered>,
        rebuild: &mut Rebuild,
    ) -> Result<(), StartError> {
        let started = wall_clock();
        let suspects = self.state.state().suspects;
        for shard in shards {
            let group = self.group(shard.id);
            let Some(id) = self.state.replica(group) else {
                continue;
            };
            let states = recovered.map(Recovered::hard_states);
            let found = states.and_then(|states| states.get(&shard.id)).copied();
            let membership = shard.membership.clone();
            let restored = restored(shard, found, membership);
            match Replica::new(&Config::new(group, id), restored) {
                Ok(replica) => shard.replica = replica,
                Err(error) => {
                    let error = StartError(format!("shard {group} cannot start: {error}"));
                    if !rebuild.unfit(shard.id, &error, &shard.membership) {
                        return Err(error);
                    }
                    continue;
                }
            }
            // It keeps what it has, and takes part in nothing.
            shard.standing.is_held = !suspects.contains(&group);
            if shard.applied_clock() > Timestamp(started.0 + 60_000) {
                tracing::warn!("the clock is more than a minute behind the log of shard {group}");
            }
        }
        Ok(())
    }

    /// Everything that this node should have and has not.
    pub fn all_lost(&self, lost: &[(ShardId, ReplicaId)]) -> Vec<(ShardId, ReplicaId)> {
        let here = self.state.state().replicas;
        let missing = duties(self.topology, self.node_id, &here, Since::Restart).lost;
        let all: BTreeSet<_> = missing.iter().chain(lost).copied().collect();
        all.into_iter().collect()
    }
}

/// The group that a node keeps under a number: the meta group stands behind the last shard.
pub fn group_of(number: ShardId, shards: u16) -> ShardId {
    match number.0 {
        last if last == shards => META_GROUP,
        _ => number,
    }
}

/// Stands where this node has no replica. It knows nobody, so it neither votes nor asks for votes.
pub fn placeholder(group: ShardId) -> Replica {
    newcomer(group, NOBODY)
}

/// A replica that was given its id, and nothing else yet.
pub fn newcomer(group: ShardId, id: ReplicaId) -> Replica {
    Replica::new(&Config::new(group, id), Restored::joining())
        .expect("nothing can be wrong with it")
}

pub(super) fn new_databases(count: u32, seed: u64, limits: Limits) -> Databases {
    Databases::new(count as usize, (seed, !seed.rotate_left(32)), limits)
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
