//! Whether a topology that was read from a file or a peer can be: nothing of what `meta` keeps true is taken on trust.

use super::{
    Members, Node, Place, Shelf, Topology, Wish, ITEMS_MAX, NAME_BYTES_MAX, NODES_MAX,
    NODES_REMOVED_MAX, REPLICAS_MAX, REPLICAS_OF_SHARD_MAX, SHELF_BYTES_MAX,
};
use crate::codec::CodecError;
use crate::slot::SLOTS;
use crate::types::{ReplicaId, ShardId};
use crate::NodeId;

/// Why bytes are not a topology.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    #[error("topology of layout {0}, but this program knows only layout 1: it was written by a newer ringfort")]
    Schema(u16),
    #[error("topology cannot be read: {0}")]
    Codec(#[from] CodecError),
    #[error("damaged topology: {0}")]
    Unsound(&'static str),
    #[error("damaged topology: shard {0}: {1}")]
    Shard(ShardId, &'static str),
}

/// Whether a shelf is within its bounds.
pub(crate) fn shelf_fits(shelf: &Shelf) -> bool {
    let bytes: usize = shelf
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    shelf.len() <= ITEMS_MAX
        && bytes <= SHELF_BYTES_MAX
        && shelf
            .keys()
            .all(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX)
}

impl Topology {
    /// Whether the state can be.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub(super) fn check(&self) -> Result<(), TopologyError> {
        if !self.is_formed() {
            let empty = *self == Self::default();
            return if empty {
                Ok(())
            } else {
                Err(TopologyError::Unsound(
                    "parts of a cluster that is not formed",
                ))
            };
        }
        let node_sound = |(id, node): (&NodeId, &Node)| *id == node.id && node.check().is_ok();
        let facts = [
            (
                self.replicas >= 1 && self.replicas <= REPLICAS_MAX,
                "number of replicas",
            ),
            (
                (1..=usize::from(SLOTS)).contains(&self.shards.len()),
                "number of shards",
            ),
            (
                (1..=NODES_MAX).contains(&self.nodes.len()),
                "number of nodes",
            ),
            (self.nodes.iter().all(node_sound), "description of a node"),
            (
                self.nodes
                    .values()
                    .all(|node| node.semantics >= self.semantics),
                "semantics of a node",
            ),
            (
                self.removed.len() <= NODES_REMOVED_MAX,
                "number of removed nodes",
            ),
            (
                !self.nodes.keys().any(|id| self.removed.contains_key(id)),
                "node both here and removed",
            ),
            (
                [&self.settings, &self.users, &self.functions]
                    .into_iter()
                    .all(shelf_fits),
                "settings, users or functions",
            ),
        ];
        if let Some((_, what)) = facts.into_iter().find(|(holds, _)| !holds) {
            return Err(TopologyError::Unsound(what));
        }
        for (shard, place) in self.places() {
            let max = if shard == super::META_GROUP {
                2 * NODES_MAX
            } else {
                REPLICAS_OF_SHARD_MAX
            };
            place
                .check(max)
                .map_err(|what| TopologyError::Shard(shard, what))?;
        }
        Ok(())
    }
}

impl Place {
    fn check(&self, replicas_max: usize) -> Result<(), &'static str> {
        let Members { voters, .. } = &self.members;
        let Wish {
            voters: wished,
            learners,
        } = &self.wish;
        let given_out = |id: &ReplicaId| *id > ReplicaId::ZERO && *id < self.next_replica;
        let facts = [
            (self.replicas.len() <= replicas_max, "too many replicas"),
            (
                self.replicas.keys().all(given_out),
                "replica id that was not given out",
            ),
            (
                self.members.is_sound() && voters.len() <= usize::from(REPLICAS_MAX) * 2,
                "membership",
            ),
            (
                self.members
                    .all()
                    .iter()
                    .all(|id| self.replicas.contains_key(id)),
                "member without a node",
            ),
            (
                self.wish.is_sound() && wished.len() + learners.len() <= NODES_MAX,
                "wish",
            ),
        ];
        match facts.into_iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(what),
            None => Ok(()),
        }
    }
}
