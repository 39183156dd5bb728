//! Who leads which shard, as far as one has heard. Soft state: every node has its own, nothing of it is agreed upon, and
//! it is worth a redirect, never a decision.

use super::Topology;
use crate::types::{ShardId, Term};
use crate::NodeId;

/// The last known leader of every shard.
#[derive(Debug, Clone, Default)]
pub struct Leaders {
    heard: Vec<Option<(Term, NodeId)>>,
}

impl Leaders {
    /// Takes the word that a node leads a shard in a term, unless a newer one is known. Tells whether that changed who
    /// leads. Shards beyond the topology's are ignored, so nothing grows by what others say.
    pub fn heard(&mut self, topology: &Topology, shard: ShardId, term: Term, node: NodeId) -> bool {
        self.heard.resize(topology.shards.len(), None);
        let Some(known) = self.heard.get_mut(shard.as_usize()) else {
            return false;
        };
        if known.is_some_and(|(newest, _)| newest >= term) {
            return false;
        }
        let changed = known.map(|(_, leader)| leader) != Some(node);
        *known = Some((term, node));
        changed
    }

    /// What was heard, so that others can hear it too.
    pub fn known(&self) -> impl Iterator<Item = (ShardId, Term, NodeId)> + '_ {
        let known = (0..).map(ShardId).zip(&self.heard);
        known.filter_map(|(shard, heard)| heard.map(|(term, node)| (shard, term, node)))
    }

    /// The last known leader, while it still is in the cluster; before any is known, the node of the first voter that is in it: the
    /// view of cluster clients never has a hole. `None` only for a shard that is not there, or has lost all.
    #[must_use]
    pub fn leader(&self, topology: &Topology, shard: ShardId) -> Option<NodeId> {
        let known = self.heard.get(shard.as_usize()).copied().flatten();
        if let Some((_, node)) = known.filter(|(_, node)| topology.nodes.contains_key(node)) {
            return Some(node);
        }
        let place = topology.shards.get(shard.as_usize())?;
        let voters = place.members.voters.iter();
        let mut nodes = voters.filter_map(|&voter| place.node_of(voter));
        nodes.find(|node| topology.nodes.contains_key(node))
    }
}
