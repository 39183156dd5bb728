//! What to do next for each group to bring it where it is wished. One change at a time for each group (invariant 8), a
//! bounded number of copies in all, and never one by which the group would depend on replicas that cannot be counted on.

use super::leaders::{balance, Led};
use super::{GroupSeen, Health, Limits, Observed, Step};
use crate::topology::{Place, Topology, META_GROUP};
use crate::types::{ReplicaId, ShardId};
use crate::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// A group with as many replicas first loses one that is not wished for any more before it gets another.
const REPLICAS_TIDY_MAX: usize = 12;

/// The next steps, at most one for each group: first what brings replicas where they are wished, then what balances leaders.
#[must_use]
pub fn plan(topology: &Topology, observed: &Observed, limits: &Limits) -> Vec<Step> {
    let health = Health::new(topology, observed, limits);
    let mut groups: Vec<Group> = (topology.places())
        .filter_map(|(shard, place)| {
            let seen = observed.groups.get(&shard)?;
            let health = &health;
            Some(Group {
                shard,
                place,
                seen,
                health,
            })
        })
        .collect();
    // Everything else depends on the meta group.
    groups.sort_by_key(|group| group.shard != META_GROUP);
    let mut led = Led::count(&groups, &health);
    let mut copies = Copies::under_way(&groups);
    let (mut steps, mut idle) = (Vec::new(), Vec::new());
    for group in &groups {
        match group.step(&mut copies, limits, &mut led) {
            Next::Do(step) => steps.push(step),
            Next::Wait => {}
            Next::Nothing => idle.push(group),
        }
    }
    let held = &observed.held_leaders;
    let is_at_rest = idle.len() == groups.len();
    steps.extend(balance(&idle, held, &mut led, is_at_rest, limits));
    steps.truncate(limits.steps_max);
    steps
}

/// The copies that are being made.
struct Copies {
    all: usize,
    /// By the node that gets them.
    to: BTreeMap<NodeId, usize>,
    /// By the node that sends them.
    from: BTreeMap<NodeId, usize>,
}

impl Copies {
    fn under_way(groups: &[Group]) -> Self {
        let mut copies = Self {
            all: 0,
            to: BTreeMap::new(),
            from: BTreeMap::new(),
        };
        for group in groups.iter().filter(|group| group.shard != META_GROUP) {
            let learners = group.seen.members.learners.iter();
            for &learner in learners.filter(|id| !group.seen.caught_up.contains(id)) {
                // A copy to a node that is away does not progress, and must not hold up the others.
                if let Some(node) = group.usable_node(learner) {
                    copies.count(group.sender(), node);
                }
            }
        }
        copies
    }

    fn count(&mut self, from: Option<NodeId>, to: NodeId) {
        self.all += 1;
        *self.to.entry(to).or_default() += 1;
        if let Some(from) = from {
            *self.from.entry(from).or_default() += 1;
        }
    }

    /// Takes room for one more.
    fn begin(&mut self, group: &Group, to: NodeId, limits: &Limits) -> bool {
        // The topology is small and needed everywhere: it does not wait.
        if group.shard == META_GROUP {
            return true;
        }
        let from = group.sender();
        let of = |nodes: &BTreeMap<NodeId, usize>, node| nodes.get(&node).copied().unwrap_or(0);
        let room = self.all < limits.copies_max
            && of(&self.to, to) < limits.copies_of_node_max
            && from.is_none_or(|from| of(&self.from, from) < limits.copies_from_node_max);
        if room {
            self.count(from, to);
        }
        room
    }
}

enum Next {
    Do(Step),
    /// Not where it is wished, but there is nothing to do now.
    Wait,
    /// It is where it is wished.
    Nothing,
}

/// A group with what is known of it.
pub(super) struct Group<'a> {
    pub shard: ShardId,
    pub place: &'a Place,
    pub seen: &'a GroupSeen,
    health: &'a Health<'a>,
}

impl Group<'_> {
    /// The members that are, as voters, on nodes that are wished as such.
    fn wished_voters(&self) -> Vec<ReplicaId> {
        let voters = self.place.wish.voters.iter();
        voters
            .filter_map(|&node| self.place.replica_on(node))
            .collect()
    }

    /// The node that leads.
    pub fn sender(&self) -> Option<NodeId> {
        self.place.node_of(self.seen.leader)
    }

    /// The node of a replica that is there and alive.
    pub fn usable_node(&self, replica: ReplicaId) -> Option<NodeId> {
        let held = self.place.replicas.get(&replica)?;
        (!held.lost && self.health.is_alive(held.node)).then_some(held.node)
    }

    /// Whether a replica is alive and up to date: it can vote for the next entries, or lead.
    pub fn is_ready(&self, replica: ReplicaId) -> bool {
        self.seen.caught_up.contains(&replica) && self.usable_node(replica).is_some()
    }

    /// Whether nothing is known to be under way.
    pub fn is_at_rest(&self) -> bool {
        let GroupSeen {
            members, changing, ..
        } = self.seen;
        !changing && !members.is_joint() && self.seen.changed == self.place.changed
    }

    fn step(&self, copies: &mut Copies, limits: &Limits, led: &mut Led) -> Next {
        let seen = self.seen;
        if seen.changing || seen.members.is_joint() || seen.changed < self.place.changed {
            return Next::Wait;
        }
        if seen.changed > self.place.changed {
            return Next::Do(Step::Record {
                shard: self.shard,
                members: seen.members.clone(),
                changed: seen.changed,
            });
        }
        // Nearly all groups are, nearly always.
        if self.is_where_wished() {
            return Next::Nothing;
        }
        // What cannot commit must not be changed, and what we do not understand neither.
        if !self.can_commit() {
            return Next::Wait;
        }
        let step = (self.change_voters())
            .or_else(|| self.hand_over(led))
            .or_else(|| self.remove())
            .or_else(|| self.add(copies, limits));
        step.map_or(Next::Wait, Next::Do)
    }

    /// Whether a majority could answer now.
    pub fn can_commit(&self) -> bool {
        self.has_quorum(self.seen.members.voters.iter().copied())
    }

    /// Whether of these voters a majority could answer now.
    fn has_quorum(&self, voters: impl ExactSizeIterator<Item = ReplicaId>) -> bool {
        let needed = voters.len() / 2 + 1;
        voters.filter(|&voter| self.is_ready(voter)).count() >= needed
    }

    fn voters_are_wished(&self) -> bool {
        self.are_on(&self.seen.members.voters, &self.place.wish.voters)
    }

    fn is_where_wished(&self) -> bool {
        let (members, wish) = (&self.seen.members, &self.place.wish);
        self.voters_are_wished() && self.are_on(&members.learners, &wish.learners)
    }

    /// Whether these replicas are there, and on just these nodes.
    fn are_on(&self, replicas: &[ReplicaId], nodes: &[NodeId]) -> bool {
        let is_on = |&node: &NodeId| {
            let there = |id: &&ReplicaId| self.place.node_of(**id) == Some(node);
            let replica = replicas.iter().find(there);
            // A new one may stand beside a lost one on a node.
            replica.is_some_and(|&id| !self.is_lost(id))
        };
        replicas.len() == nodes.len() && nodes.iter().all(is_on)
    }

    fn is_lost(&self, replica: ReplicaId) -> bool {
        let held = self.place.replicas.get(&replica);
        held.is_none_or(|held| held.lost)
    }

    /// Promotes and demotes as many as are ready, in one joint change.
    ///
    /// The number of voters stays odd and between today's and the wished one, so that on the way no node more is needed
    /// than before. The one exception is a single voter that gives its place to another: the leader cannot demote
    /// itself, so for a moment both vote.
    fn change_voters(&self) -> Option<Step> {
        let members = &self.seen.members;
        let wished_voters = self.wished_voters();
        let promotable: Vec<ReplicaId> = (members.learners.iter().copied())
            .filter(|id| wished_voters.contains(id) && self.is_ready(*id))
            .collect();
        let mut demotable: Vec<ReplicaId> = (members.voters.iter().copied())
            .filter(|id| !wished_voters.contains(id) && *id != self.seen.leader)
            .collect();
        // Those that are of no use go first.
        demotable.sort_by_key(|&id| (self.is_ready(id), id));
        let (now, wished) = (members.voters.len(), self.place.wish.voters.len());
        let choices = (0..=promotable.len()).rev().flat_map(|promote| {
            (0..=demotable.len())
                .rev()
                .map(move |demote| (promote, demote))
        });
        for (promote, demote) in choices.filter(|&choice| choice != (0, 0)) {
            let (promote, demote) = (&promotable[..promote], &demotable[..demote]);
            let then: BTreeSet<ReplicaId> = (members.voters.iter().chain(promote).copied())
                .filter(|id| !demote.contains(id))
                .collect();
            let between = now.min(wished) <= then.len() && then.len() <= now.max(wished);
            let exchange = now == 1 && wished == 1 && then.len() == 2;
            let fit = exchange || (between && (then.len() % 2 == 1 || then.len() == wished));
            if fit && self.has_quorum(then.iter().copied()) {
                return Some(Step::ChangeVoters {
                    shard: self.shard,
                    promote: promote.to_vec(),
                    demote: demote.to_vec(),
                    based_on: self.place.changed,
                });
            }
        }
        None
    }

    /// Moves leadership off a replica that is to go, to one that stays.
    fn hand_over(&self, led: &mut Led) -> Option<Step> {
        let (from, wished_voters) = (self.seen.leader, self.wished_voters());
        if wished_voters.contains(&from) {
            return None;
        }
        let staying = self.seen.members.voters.iter().copied();
        let ready = staying.filter(|id| wished_voters.contains(id) && self.is_ready(*id));
        let to =
            ready.min_by_key(|&id| (self.place.node_of(id).map(|node| led.fullness(node)), id))?;
        led.moved(self.shard, None, self.place.node_of(to));
        Some(Step::TransferLeader {
            shard: self.shard,
            to,
        })
    }

    /// Removes a learner that is not wished for, once it is not needed as a spare copy any more.
    fn remove(&self) -> Option<Step> {
        let place = self.place;
        let wished: BTreeSet<ReplicaId> = place
            .wish
            .nodes()
            .filter_map(|node| place.replica_on(node))
            .collect();
        let spares_wait = |&node: &NodeId| {
            self.health.is_alive(node)
                && !place.replica_on(node).is_some_and(|id| self.is_ready(id))
        };
        // A single voter's learners are all the copies that there are besides it.
        let copied = place.wish.voters.len() > 1 || !place.wish.learners.iter().any(spares_wait);
        let tidy = self.voters_are_wished() && copied;
        if !tidy && place.replicas.len() < REPLICAS_TIDY_MAX {
            return None;
        }
        let learners = &self.seen.members.learners;
        let replica = *learners.iter().find(|id| !wished.contains(id))?;
        Some(Step::Remove {
            shard: self.shard,
            replica,
            based_on: place.changed,
        })
    }

    /// Adds a learner on a wished node that has no replica yet.
    fn add(&self, copies: &mut Copies, limits: &Limits) -> Option<Step> {
        let (place, members) = (self.place, self.seen.members.all());
        for node in place.wish.nodes() {
            let there = place.replica_on(node);
            let lacks = !there.is_some_and(|id| members.contains(&id));
            if lacks && self.health.is_alive(node) && copies.begin(self, node, limits) {
                return Some(Step::AddLearner {
                    shard: self.shard,
                    node,
                    replica: there.unwrap_or(place.next_replica),
                    based_on: place.changed,
                });
            }
        }
        None
    }
}
