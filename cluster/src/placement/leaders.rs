//! Spreads leaders over nodes by weight. Sticky: a leader moves only when that clearly evens things out, so that it never
//! moves back.

use super::steps::Group;
use super::{Health, Limits, Step};
use crate::topology::META_GROUP;
use crate::types::{ReplicaId, ShardId};
use crate::NodeId;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// From so many of the nodes that lead too much a chain of transfers is looked for.
const CHAIN_BEGINNINGS_MAX: usize = 8;

/// How many shards each node leads. The meta group does not count: it is no load.
pub(super) struct Led {
    nodes: BTreeMap<NodeId, Leads>,
    /// Of all groups that are led.
    shards: u64,
    /// Of all nodes that stay.
    weight: u64,
}

struct Leads {
    shards: u64,
    weight: u64,
    staying: bool,
    /// It could take from others now.
    alive: bool,
}

impl Led {
    pub fn count(groups: &[Group], health: &Health) -> Self {
        let mut nodes: BTreeMap<NodeId, Leads> = (health.topology.nodes.values())
            .map(|node| {
                let leads = Leads {
                    shards: 0,
                    weight: u64::from(node.weight.max(1)),
                    staying: !node.draining,
                    alive: health.is_alive(node.id),
                };
                (node.id, leads)
            })
            .collect();
        let mut shards = 0;
        for group in groups.iter().filter(|group| group.shard != META_GROUP) {
            shards += 1;
            // One that is to go leads for nobody: it is handed over soon, and others must not make room for it.
            let stays = |node: &NodeId| group.place.wish.voters.contains(node);
            if let Some(leads) =
                (group.sender().filter(stays)).and_then(|node| nodes.get_mut(&node))
            {
                leads.shards += 1;
            }
        }
        let staying = nodes.values().filter(|leads| leads.staying);
        Self {
            weight: staying.map(|leads| leads.weight).sum(),
            shards,
            nodes,
        }
    }

    /// How much a node leads for its weight, for comparison.
    pub fn fullness(&self, node: NodeId) -> u64 {
        self.nodes
            .get(&node)
            .map_or(u64::MAX, |leads| leads.shards * 1_000_000 / leads.weight)
    }

    /// A shard goes to another node; `from` where its leader was counted there.
    pub fn moved(&mut self, shard: ShardId, from: Option<NodeId>, to: Option<NodeId>) {
        if shard == META_GROUP {
            return;
        }
        if let Some(leads) = from.and_then(|node| self.nodes.get_mut(&node)) {
            leads.shards = leads.shards.saturating_sub(1);
        }
        if let Some(leads) = to.and_then(|node| self.nodes.get_mut(&node)) {
            leads.shards += 1;
        }
    }

    fn is_staying(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|leads| leads.staying)
    }

    /// What each node would lead if all led as much.
    fn even_split(&self) -> u64 {
        let staying = self.nodes.values().filter(|leads| leads.staying).count() as u64;
        self.shards / staying.max(1)
    }

    /// The nodes that lead so much that some other should take from them, if it has a replica: nearly always nobody. A node that is down
    /// leads nothing and can take nothing: beside it all others would seem to lead too much, for as long as it is waited for.
    fn givers(&self, slack: u64) -> BTreeSet<NodeId> {
        let would_lead = |leads: &Leads| leads.shards + 1 + slack;
        let nodes = self.nodes.values();
        let takes = nodes.filter(|leads| leads.staying && leads.alive);
        let emptiest = takes.min_by(|one, other| {
            let one_full = would_lead(one) * other.weight;
            one_full.cmp(&(would_lead(other) * one.weight))
        });
        let gives = |from: &Leads| {
            emptiest.is_some_and(|to| from.shards * to.weight > would_lead(to) * from.weight)
        };
        let givers = self.nodes.iter().filter(|(_, leads)| gives(leads));
        givers.map(|(&node, _)| node).collect()
    }

    /// Whether the two are more even after the move than before, by more than the slack.
    fn evens_out(&self, from: NodeId, to: NodeId, slack: u64) -> bool {
        match (self.nodes.get(&from), self.nodes.get(&to)) {
            (Some(from), Some(to)) => {
                to.staying && from.shards * to.weight > (to.shards + 1 + slack) * from.weight
            }
            _ => false,
        }
    }

    /// Whether that brings both nearer to their share of all. Of two that are both above it, or both below, neither gives to the other:
    /// while replicas still move that would soon be taken back.
    fn is_better(&self, from: NodeId, to: NodeId, slack: u64) -> bool {
        let compared = |node: NodeId| {
            let leads = self.nodes.get(&node);
            leads.map(|leads| (leads.shards * self.weight).cmp(&(self.shards * leads.weight)))
        };
        self.evens_out(from, to, slack)
            && compared(from) == Some(Ordering::Greater)
            && compared(to) == Some(Ordering::Less)
    }
}

/// Transfers that balance the leaders of groups for which there is nothing else to do. Only when that is so for all groups, leaders move over
/// nodes in between too.
pub(super) fn balance(
    idle: &[&Group],
    held: &BTreeSet<ShardId>,
    led: &mut Led,
    is_at_rest: bool,
    limits: &Limits,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let slack = led.even_split() * limits.leader_slack_percent / 100;
    let mut givers = led.givers(slack);
    let movable = |group: &&&Group| group.shard != META_GROUP && !held.contains(&group.shard);
    for group in idle.iter().filter(movable) {
        if givers.is_empty() || steps.len() >= limits.transfers_max {
            break;
        }
        let Some(from) = group.sender().filter(|from| givers.contains(from)) else {
            continue;
        };
        let best = (takers(group).into_iter())
            .filter(|&(node, _)| led.is_better(from, node, slack))
            .min_by_key(|&(node, id)| (led.fullness(node), id));
        if let Some((node, to)) = best {
            led.moved(group.shard, Some(from), Some(node));
            givers = led.givers(slack);
            let shard = group.shard;
            steps.push(Step::TransferLeader { shard, to });
        }
    }
    if is_at_rest && steps.is_empty() {
        let mut by_leader: BTreeMap<NodeId, Vec<&Group>> = BTreeMap::new();
        for group in idle.iter().filter(movable) {
            if let Some(leader) = group.sender() {
                by_leader.entry(leader).or_default().push(group);
            }
        }
        let mut fullest: Vec<NodeId> = givers.into_iter().collect();
        fullest.sort_by_key(|&node| (Reverse(led.fullness(node)), node));
        fullest.truncate(CHAIN_BEGINNINGS_MAX);
        // Where the fullest came in vain, one that leads less finds no end either.
        let mut seen = BTreeSet::new();
        let chains = fullest.into_iter();
        let mut chains = chains.filter_map(|from| chain(&by_leader, led, from, slack, &mut seen));
        steps = chains.next().unwrap_or_default();
        steps.truncate(limits.transfers_max);
    }
    steps
}

/// Who else could lead a group now, and on which node.
fn takers(group: &Group) -> Vec<(NodeId, ReplicaId)> {
    if !group.is_at_rest() || !group.can_commit() {
        return Vec::new();
    }
    let others = group.seen.members.voters.iter().copied();
    others
        .filter(|&id| id != group.seen.leader && group.is_ready(id))
        .filter_map(|id| Some((group.place.node_of(id)?, id)))
        .collect()
}

/// The shortest chain of transfers from a node that leads too much, over others that give one on for the one that they take, to one
/// that leads too little. The last is the first to be made: the others then find it done. What was `seen` already is not looked at again.
fn chain(
    by_leader: &BTreeMap<NodeId, Vec<&Group>>,
    led: &Led,
    from: NodeId,
    slack: u64,
    seen: &mut BTreeSet<NodeId>,
) -> Option<Vec<Step>> {
    let mut came: BTreeMap<NodeId, (NodeId, Step)> = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        for group in by_leader.get(&node).into_iter().flatten() {
            for (next, to) in takers(group) {
                if next == from || !led.is_staying(next) || !seen.insert(next) {
                    continue;
                }
                let shard = group.shard;
                came.insert(next, (node, Step::TransferLeader { shard, to }));
                if led.evens_out(from, next, slack) {
                    let mut steps = Vec::new();
                    let mut at = next;
                    while let Some((before, step)) = came.remove(&at) {
                        steps.push(step);
                        at = before;
                    }
                    return Some(steps);
                }
                queue.push_back(next);
            }
        }
    }
    None
}
