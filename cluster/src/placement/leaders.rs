//! Spreads leaders over nodes by weight. Sticky: a leader moves only when that clearly evens things out, so that it never
//! moves back.

use super::steps::Group;
use super::{Limits, Step};
use crate::topology::{Topology, META_GROUP};
use crate::types::ShardId;
use crate::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// How many shards each node leads. The meta group does not count: it is no load.
pub(super) struct Led {
    nodes: BTreeMap<NodeId, Leads>,
}

struct Leads {
    shards: u64,
    weight: u64,
    staying: bool,
}

impl Led {
    pub fn count(groups: &[Group], topology: &Topology) -> Self {
        let mut nodes: BTreeMap<NodeId, Leads> = (topology.nodes.values())
            .map(|node| {
                let leads = Leads {
                    shards: 0,
                    weight: u64::from(node.weight.max(1)),
                    staying: !node.draining,
                };
                (node.id, leads)
            })
            .collect();
        for group in groups.iter().filter(|group| group.shard != META_GROUP) {
            if let Some(leads) = (group.sender()).and_then(|node| nodes.get_mut(&node)) {
                leads.shards += 1;
            }
        }
        Self { nodes }
    }

    /// How much a node leads for its weight, for comparison.
    pub fn fullness(&self, node: NodeId) -> u64 {
        self.nodes
            .get(&node)
            .map_or(u64::MAX, |leads| leads.shards * 1_000_000 / leads.weight)
    }

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

    /// What each node would lead if all led as much.
    fn even_split(&self) -> u64 {
        let staying = self.nodes.values().filter(|leads| leads.staying).count() as u64;
        let shards: u64 = self.nodes.values().map(|leads| leads.shards).sum();
        shards / staying.max(1)
    }

    /// The nodes that lead so much that some other should take from them, if it has a replica: nearly always nobody.
    fn givers(&self, slack: u64) -> BTreeSet<NodeId> {
        let would_lead = |leads: &Leads| leads.shards + 1 + slack;
        let staying = self.nodes.values().filter(|leads| leads.staying);
        let emptiest = staying.min_by(|one, other| {
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
    fn is_better(&self, from: NodeId, to: NodeId, slack: u64) -> bool {
        match (self.nodes.get(&from), self.nodes.get(&to)) {
            (Some(from), Some(to)) => {
                to.staying && from.shards * to.weight > (to.shards + 1 + slack) * from.weight
            }
            _ => false,
        }
    }
}

/// Transfers that balance the leaders of groups for which there is nothing else to do.
pub(super) fn balance(idle: &[&Group], led: &mut Led, limits: &Limits) -> Vec<Step> {
    let mut steps = Vec::new();
    let slack = led.even_split() * limits.leader_slack_percent / 100;
    let mut givers = led.givers(slack);
    for group in idle.iter().filter(|group| group.shard != META_GROUP) {
        if givers.is_empty() || steps.len() >= limits.transfers_max {
            break;
        }
        let from = group.sender().filter(|from| givers.contains(from));
        let Some(from) = from.filter(|_| group.is_at_rest() && group.can_commit()) else {
            continue;
        };
        let others = group.seen.members.voters.iter().copied();
        let best = others
            .filter(|&id| id != group.seen.leader && group.is_ready(id))
            .filter_map(|id| Some((group.place.node_of(id)?, id)))
            .filter(|&(node, _)| led.is_better(from, node, slack))
            .min_by_key(|&(node, id)| (led.fullness(node), id));
        if let Some((node, to)) = best {
            led.moved(group.shard, Some(from), Some(node));
            givers = led.givers(slack);
            steps.push(Step::TransferLeader {
                shard: group.shard,
                to,
            });
        }
    }
    steps
}
