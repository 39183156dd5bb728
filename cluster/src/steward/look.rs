//! What a decision of the steward rests on, so that it is not made again while all of that is as it was. With many nodes a report comes
//! every millisecond, and nearly none says anything new. Decides nothing.

use super::{NodeReport, Seen, Steward, StewardAction};
use crate::placement::{counted_on, given_up, Observed};
use crate::topology::Topology;
use crate::types::{Epoch, Monotonic, ShardId};
use crate::NodeId;
use std::collections::BTreeSet;

/// All that a decision depends on, or a number that changes with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Look {
    topology: Epoch,
    news_count: u64,
    /// Whose reports count.
    fresh: BTreeSet<NodeId>,
    /// Who counts as alive, and who is replaced: of the time of silence nothing else matters.
    alive: BTreeSet<NodeId>,
    given_up: BTreeSet<NodeId>,
    held: BTreeSet<ShardId>,
    is_rebalancing: bool,
}

/// What was decided.
#[derive(Debug)]
pub(super) struct Decided {
    /// Upon what.
    pub look: Look,
    pub seen: Seen,
    pub actions: Vec<StewardAction>,
    /// There is nothing more to move.
    pub is_even: bool,
}

impl Steward {
    pub(super) fn look(&self, now: Monotonic, since: Monotonic, topology: &Topology) -> Look {
        let observed = Observed {
            silent_ticks: self.silent(now, since, topology),
            ..Observed::default()
        };
        let limits = &self.limits.placement;
        Look {
            topology: topology.epoch,
            news_count: self.news_count,
            fresh: self.fresh(now).map(|report| report.node.id).collect(),
            alive: counted_on(topology, &observed, limits),
            given_up: given_up(topology, &observed, limits),
            held: self.held.keys().copied().collect(),
            is_rebalancing: self.rebalancing.is_some(),
        }
    }
}

impl NodeReport {
    /// Whether the same follows from another report: neither loads nor sizes are decided upon.
    pub(super) fn decides_as(&self, other: &Self) -> bool {
        let same_groups = || {
            let mut pairs = self.groups.iter().zip(&other.groups);
            pairs.all(|(one, other)| {
                (one.shard, one.replica, one.term) == (other.shard, other.replica, other.term)
                    && one.leads == other.leads
            })
        };
        self.node == other.node
            && self.lost == other.lost
            && self.suspect == other.suspect
            && self.groups.len() == other.groups.len()
            && same_groups()
    }
}
