//! The cluster as its operator sees it, made from the topology and from what the nodes report. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ringfort_cluster::steward::{GroupReport, LedGroup, NodeReport};
use ringfort_cluster::topology::{Members, Node, Place, Topology, META_GROUP};
use ringfort_cluster::{NodeId, ReplicaId, ShardId};

use crate::node::operator::{
    ClusterView, MovesView, NodeState, NodeView, ReplicaState, ReplicaView, Role, ShardView,
};

use super::problems;

/// A report, and how long ago it came.
pub(super) type Heard<'a> = (&'a NodeReport, u64);

/// A group as the newest of its leaders sees it.
pub(super) struct Led<'a> {
    pub node: NodeId,
    pub report: &'a GroupReport,
    pub group: &'a LedGroup,
}

/// All that is known at one moment.
pub(super) struct Overview<'a> {
    pub topology: &'a Topology,
    me: NodeId,
    heard: BTreeMap<NodeId, Heard<'a>>,
    down_after_us: u64,
    led: BTreeMap<ShardId, Led<'a>>,
    /// Their leaders move just now: nothing is said of them that could pass within a moment.
    passing: BTreeSet<ShardId>,
    copies: BTreeMap<(ShardId, NodeId), &'a GroupReport>,
}

/// What a node has of the shards.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    leads: u32,
    holds: u32,
    votes: u32,
    wished: u32,
    /// Groups that would miss it, the meta group among them.
    pub needed_by: u32,
    lag_entries_max: u64,
    data_bytes: u64,
}

pub(super) type Tallies = BTreeMap<NodeId, Tally>;

/// Shards that are not served as they should be.
pub(super) struct Lacking {
    pub leaderless: Vec<ShardId>,
    /// Somebody leads them, with fewer voters that are up and have caught up than there should be.
    pub short: Vec<ShardId>,
}

impl<'a> Overview<'a> {
    /// `heard` are the newest reports of the nodes and how many microseconds ago they came; who is silent for `down_after_us` is down.
    pub fn new(
        topology: &'a Topology,
        me: NodeId,
        heard: impl Iterator<Item = Heard<'a>>,
        down_after_us: u64,
    ) -> Self {
        let mut all = Self {
            topology,
            me,
            heard: heard.map(|heard| (heard.0.node.id, heard)).collect(),
            down_after_us,
            led: BTreeMap::new(),
            passing: BTreeSet::new(),
            copies: BTreeMap::new(),
        };
        all.look_at_groups();
        all
    }

    /// With these shards, which had a leader a moment ago, taken as such that have one.
    pub fn with_passing(mut self, shards: impl Iterator<Item = ShardId>) -> Self {
        self.passing = shards.collect();
        self
    }

    fn look_at_groups(&mut self) {
        for (&id, &(report, silent_us)) in &self.heard {
            for group in &report.groups {
                let place = self.topology.place(group.shard);
                if place.and_then(|place| place.node_of(group.replica)) != Some(id) {
                    continue;
                }
                self.copies.insert((group.shard, id), group);
                let Some(led) = group
                    .leads
                    .as_ref()
                    .filter(|_| silent_us < self.down_after_us)
                else {
                    continue;
                };
                let known = self.led.get(&group.shard);
                if known.is_none_or(|known| known.report.term < group.term) {
                    let led = Led {
                        node: id,
                        report: group,
                        group: led,
                    };
                    self.led.insert(group.shard, led);
                }
            }
        }
    }

    pub fn is_up(&self, node: NodeId) -> bool {
        let heard = self.heard.get(&node);
        heard.is_some_and(|&(_, silent_us)| silent_us < self.down_after_us)
    }

    pub fn report(&self, node: NodeId) -> Option<&'a NodeReport> {
        self.heard.get(&node).map(|&(report, _)| report)
    }

    pub fn silent_ms(&self, node: NodeId) -> Option<u64> {
        self.heard.get(&node).map(|&(_, us)| us / 1000)
    }

    /// Who leads a group, if anybody is known to.
    pub fn led(&self, shard: ShardId) -> Option<&Led<'a>> {
        self.led.get(&shard)
    }

    /// The newest membership of a group that is known.
    pub fn members(&self, shard: ShardId, place: &'a Place) -> &'a Members {
        match self.led(shard) {
            Some(led) if led.group.changed > place.changed => &led.group.members,
            _ => &place.members,
        }
    }

    /// How many voters each shard should have: an odd number, and no more than there are nodes that stay.
    pub fn voters_wanted(&self) -> usize {
        let nodes = self.topology.staying().count();
        let copies = usize::from(self.topology.replicas).min(nodes).max(1);
        (copies - 1) / 2 * 2 + 1
    }

    pub fn shards(&self) -> impl Iterator<Item = (ShardId, &'a Place)> {
        let topology = self.topology;
        (0..).map(ShardId).zip(&topology.shards)
    }

    /// How many of a shard's voters are up and have caught up.
    pub fn sound_voters(&self, shard: ShardId, place: &Place) -> usize {
        let Some(led) = self.led(shard) else { return 0 };
        let is_sound = |id: &&ReplicaId| {
            let is_up = place.node_of(**id).is_some_and(|node| self.is_up(node));
            is_up && led.group.caught_up.contains(id)
        };
        led.group.members.voters.iter().filter(is_sound).count()
    }

    // ---- views ---------------------------------------------------------------------------------------

    pub fn cluster(&self) -> ClusterView {
        let count = |shards: usize| u32::try_from(shards).unwrap_or(u32::MAX);
        let (tallies, lacking) = (self.tallies(), self.lacking());
        ClusterView {
            id: self.topology.cluster_id.to_string(),
            epoch: self.topology.epoch.0,
            leader: self.me.to_string(),
            replicas: self.topology.replicas,
            shards: count(self.topology.shards.len()),
            shards_without_leader: count(lacking.leaderless.len()),
            shards_short: count(lacking.leaderless.len() + lacking.short.len()),
            moves: self.moves(),
            problems: problems::of(self, &tallies, &lacking),
            nodes: self.nodes(&tallies),
        }
    }

    fn lacking(&self) -> Lacking {
        let wanted = self.voters_wanted();
        let (led, leaderless): (Vec<_>, Vec<_>) = self
            .shards()
            .filter(|(shard, _)| self.led(*shard).is_some() || !self.passing.contains(shard))
            .partition(|(shard, _)| self.led(*shard).is_some());
        let is_short =
            |(shard, place): &(ShardId, &Place)| self.sound_voters(*shard, place) < wanted;
        let number = |(shard, _)| shard;
        Lacking {
            leaderless: leaderless.into_iter().map(number).collect(),
            short: led.into_iter().filter(is_short).map(number).collect(),
        }
    }

    fn nodes(&self, tallies: &Tallies) -> Vec<NodeView> {
        let tally = |id| tallies.get(&id).copied().unwrap_or_default();
        let nodes = self.topology.nodes.values();
        nodes
            .map(|node| self.node_with(node, tally(node.id)))
            .collect()
    }

    pub fn node(&self, node: &Node) -> NodeView {
        let tallies = self.tallies();
        self.node_with(node, tallies.get(&node.id).copied().unwrap_or_default())
    }

    fn node_with(&self, node: &Node, tally: Tally) -> NodeView {
        let load = self
            .report(node.id)
            .map(|report| report.load)
            .unwrap_or_default();
        NodeView {
            id: node.id.to_string(),
            host: node.host.clone(),
            port: node.port,
            cluster_port: node.cluster_port,
            peer_port: node.open_peer_port(),
            http_port: node.http_port,
            zone: node.zone.clone(),
            weight: node.weight,
            version: node.version.clone(),
            state: self.state(node, &tally),
            silent_ms: self.silent_ms(node.id),
            leads: tally.leads,
            holds: tally.holds,
            votes: tally.votes,
            wished: tally.wished,
            needed_by: tally.needed_by,
            lag_entries_max: tally.lag_entries_max,
            memory_bytes: load.memory_bytes,
            data_bytes: tally.data_bytes,
            ops_per_sec: load.ops_per_sec,
            clients: load.clients,
            p99_us: (load.p99_us > 0).then_some(load.p99_us),
            uptime_s: load.uptime_s,
        }
    }

    fn state(&self, node: &Node, tally: &Tally) -> NodeState {
        let is_empty = tally.holds == 0 && tally.needed_by == 0;
        match () {
            () if node.draining && is_empty => NodeState::Drained,
            () if node.suspect => NodeState::Suspect,
            () if !self.is_up(node.id) => NodeState::Down,
            () if node.draining => NodeState::Draining,
            () => NodeState::Up,
        }
    }

    /// All nodes in one go over the groups.
    fn tallies(&self) -> Tallies {
        let mut tallies = Tallies::new();
        for (shard, place) in self.topology.places() {
            let members = place.members.all();
            let nodes: BTreeSet<NodeId> =
                members.iter().filter_map(|id| place.node_of(*id)).collect();
            for node in nodes {
                tallies.entry(node).or_default().needed_by += 1;
            }
            if shard == META_GROUP {
                continue;
            }
            for node in place.wish.nodes() {
                tallies.entry(node).or_default().wished += 1;
            }
            for replica in self.replicas(shard, place) {
                let tally = tallies.entry(replica.node).or_default();
                let is_held = replica.state != ReplicaState::Lost;
                tally.holds += u32::from(is_held);
                tally.leads += u32::from(replica.role == Role::Leader);
                tally.votes += u32::from(matches!(replica.role, Role::Leader | Role::Voter));
                tally.lag_entries_max = tally.lag_entries_max.max(replica.lag_entries.unwrap_or(0));
                tally.data_bytes += replica.bytes.unwrap_or(0);
            }
        }
        tallies
    }

    /// A shard's view; `None` for what is no shard.
    pub fn shard(&self, shard: ShardId) -> Option<ShardView> {
        let place = self.topology.shards.get(shard.as_usize())?;
        let slots = self.topology.shard_map()?.range(shard)?;
        let led = self.led(shard);
        let replicas = self.replicas(shard, place).into_iter();
        Some(ShardView {
            shard: u32::from(shard.0),
            slots: (*slots.start(), *slots.end()),
            leader: led.map(|led| led.node.to_string()),
            term: led.map_or(0, |led| led.report.term.0),
            bytes: led.map_or(0, |led| led.report.bytes),
            moving: self.is_moving(shard, place),
            replicas: replicas.map(ReplicaSeen::view).collect(),
        })
    }

    fn replicas(&self, shard: ShardId, place: &'a Place) -> Vec<ReplicaSeen> {
        let members = self.members(shard, place);
        let led = self.led(shard);
        let wished: Vec<NodeId> = place.wish.nodes().collect();
        let seen = |(&replica, held): (&ReplicaId, &ringfort_cluster::topology::Replica)| {
            let copy = self.copies.get(&(shard, held.node));
            let copy = copy.filter(|copy| copy.replica == replica);
            let has_caught_up = led.is_some_and(|led| led.group.caught_up.contains(&replica));
            let state = match () {
                () if held.lost => ReplicaState::Lost,
                () if !self.is_up(held.node) => ReplicaState::Down,
                () if !wished.contains(&held.node) => ReplicaState::Leaving,
                () if has_caught_up => ReplicaState::CaughtUp,
                () => ReplicaState::Behind,
            };
            let ahead = led.map(|led| led.report.applied.0);
            let applied = copy.map(|copy| copy.applied.0);
            let lag = ahead
                .zip(applied)
                .map(|(ahead, own)| ahead.saturating_sub(own));
            ReplicaSeen {
                replica,
                node: held.node,
                role: role(replica, members, led),
                state,
                applied,
                // The reports are not of one moment: what lies between them is no lag.
                lag_entries: if has_caught_up { Some(0) } else { lag },
                bytes: copy.map(|copy| copy.bytes),
            }
        };
        place.replicas.iter().map(seen).collect()
    }

    // ---- what moves ----------------------------------------------------------------------------------

    fn moves(&self) -> MovesView {
        let mut moves = MovesView::default();
        for (shard, place) in self.shards() {
            let (filling, waiting) = self.copies_to_make(shard, place);
            let bytes = self.led(shard).map_or(0, |led| led.report.bytes);
            moves.copying += filling;
            moves.waiting += waiting + self.copies_to_give_up(place);
            moves.bytes_left += bytes * u64::from(filling + waiting);
        }
        moves
    }

    /// Copies of a shard that are being filled, and those that are not begun.
    fn copies_to_make(&self, shard: ShardId, place: &Place) -> (u32, u32) {
        let mut counts = (0, 0);
        for node in place.wish.nodes() {
            let Some(replica) = place.replica_on(node) else {
                counts.1 += 1;
                continue;
            };
            let led = self.led(shard);
            let is_filled = led.is_none_or(|led| led.group.caught_up.contains(&replica));
            let votes = self.members(shard, place).voters.contains(&replica);
            counts.0 += u32::from(!is_filled && !votes);
        }
        counts
    }

    fn copies_to_give_up(&self, place: &Place) -> u32 {
        let is_wished = |node| place.wish.nodes().any(|wished| wished == node);
        let held = place.replicas.values();
        held.filter(|held| held.lost || !is_wished(held.node))
            .count() as u32
    }

    pub fn is_moving(&self, shard: ShardId, place: &Place) -> bool {
        let members = self.members(shard, place);
        let voting = members.voters.iter().filter_map(|id| place.node_of(*id));
        let voting: BTreeSet<NodeId> = voting.collect();
        let wished: BTreeSet<NodeId> = place.wish.voters.iter().copied().collect();
        voting != wished
            || members.is_joint()
            || self.copies_to_make(shard, place) != (0, 0)
            || self.copies_to_give_up(place) > 0
    }
}

/// A copy of a shard.
struct ReplicaSeen {
    replica: ReplicaId,
    node: NodeId,
    role: Role,
    state: ReplicaState,
    applied: Option<u64>,
    lag_entries: Option<u64>,
    bytes: Option<u64>,
}

impl ReplicaSeen {
    fn view(self) -> ReplicaView {
        ReplicaView {
            replica: self.replica.get(),
            node: self.node.to_string(),
            role: self.role,
            state: self.state,
            applied: self.applied,
            lag_entries: self.lag_entries,
            bytes: self.bytes,
        }
    }
}

fn role(replica: ReplicaId, members: &Members, led: Option<&Led>) -> Role {
    let is_in = |list: &[ReplicaId]| list.contains(&replica);
    match () {
        () if led.is_some_and(|led| led.report.replica == replica) => Role::Leader,
        () if is_in(&members.voters) || is_in(&members.outgoing) => Role::Voter,
        () if is_in(&members.learners) || is_in(&members.learners_next) => Role::Learner,
        () => Role::None,
    }
}

#[cfg(test)]
#[path = "overview_tests.rs"]
mod tests;
