//! The state of the meta group: which nodes there are, which replicas they hold, what is wished, and the settings, users and
//! functions of the whole cluster. Every node keeps a copy. It changes through `meta` alone, and knows nothing of
//! how it travels.

mod check;
mod leaders;
mod node;
mod place;

pub(crate) use check::shelf_fits;
pub use check::TopologyError;
pub use leaders::Leaders;
pub use node::{
    Node, NodeError, Ports, HOST_BYTES_MAX, PEER_PORT_NONE, VERSION_BYTES_MAX, ZONE_BYTES_MAX,
};
pub use place::{Members, Place, Replica, ReplicaFate, Wish, REPLICAS_OF_SHARD_MAX};

use crate::codec::{self, CodecError};
use crate::slot::ShardMap;
use crate::types::{Epoch, ReplicaId, ShardId};
use crate::NodeId;
use bincode::{Decode, Encode};
use std::collections::BTreeMap;
use std::fmt;

/// The meta group, numbered as no shard can be: there are at most 16,384 of those.
pub const META_GROUP: ShardId = ShardId(u16::MAX);

/// How many nodes a cluster may have.
pub const NODES_MAX: usize = 1024;

/// How many removed nodes are remembered, so that they can be told when they come back. The oldest are forgotten
/// first; one of those that comes back then joins as if it were new, and its replicas are refused by their ids.
pub const NODES_REMOVED_MAX: usize = 4096;

/// Copies of a shard that may be asked for.
pub const REPLICAS_MAX: u8 = 7;

/// How many settings, users and functions there may be, each.
pub const ITEMS_MAX: usize = 4096;

/// Length of the name of a setting, a user or a function.
pub const NAME_BYTES_MAX: usize = 256;

/// Bytes of all names and values of the settings, of the users, and of the functions, each.
pub const SHELF_BYTES_MAX: usize = 1024 * 1024;

/// The layout of an encoded topology.
const SCHEMA: u16 = 1;

/// The identity of a cluster, drawn when it is formed. Two clusters never become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Named bytes that belong to the whole cluster and mean nothing here.
pub type Shelf = BTreeMap<String, Vec<u8>>;

/// Everything that the nodes of a cluster must agree upon. The default is the state before a cluster is formed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Topology {
    /// Rises with every change. Zero: no cluster yet.
    pub epoch: Epoch,
    pub cluster_id: ClusterId,
    /// Copies that every shard should have, when there are as many nodes.
    pub replicas: u8,
    /// The version of the semantics under which entries are written. All nodes know it.
    pub semantics: u32,
    pub nodes: BTreeMap<NodeId, Node>,
    /// Nodes that were removed, and when.
    pub removed: BTreeMap<NodeId, Epoch>,
    /// Where each shard is, in the order of their numbers.
    pub shards: Vec<Place>,
    /// Where the meta group is.
    pub meta: Place,
    pub settings: Shelf,
    pub users: Shelf,
    pub functions: Shelf,
}

impl Topology {
    /// Whether there is a cluster.
    #[must_use]
    pub fn is_formed(&self) -> bool {
        self.epoch > Epoch::ZERO
    }

    /// Which shard owns which slots; `None` before the cluster is formed.
    #[must_use]
    pub fn shard_map(&self) -> Option<ShardMap> {
        ShardMap::new(u32::try_from(self.shards.len()).ok()?).ok()
    }

    /// Where a shard, or the [`META_GROUP`], is.
    #[must_use]
    pub fn place(&self, shard: ShardId) -> Option<&Place> {
        match shard {
            META_GROUP => self.is_formed().then_some(&self.meta),
            _ => self.shards.get(shard.as_usize()),
        }
    }

    pub(crate) fn place_mut(&mut self, shard: ShardId) -> Option<&mut Place> {
        match shard {
            META_GROUP => Some(&mut self.meta),
            _ => self.shards.get_mut(shard.as_usize()),
        }
    }

    /// All groups with their places: the shards, then the meta group.
    pub fn places(&self) -> impl Iterator<Item = (ShardId, &Place)> {
        let shards = (0..).map(ShardId).zip(&self.shards);
        shards.chain(self.is_formed().then_some((META_GROUP, &self.meta)))
    }

    /// What became of a replica id. Ids are given out in order and never again (invariant 7), so the ones that are
    /// neither ahead nor in use are tombstones without a list of them.
    #[must_use]
    pub fn fate(&self, shard: ShardId, replica: ReplicaId) -> ReplicaFate {
        self.place(shard)
            .map_or(ReplicaFate::Unknown, |place| place.fate(replica))
    }

    /// The replicas that a node holds or is about to, by group.
    pub fn held_by(&self, node: NodeId) -> impl Iterator<Item = (ShardId, ReplicaId, &Replica)> {
        self.places().flat_map(move |(shard, place)| {
            (place.replicas.iter())
                .filter(move |(_, replica)| replica.node == node)
                .map(move |(&id, replica)| (shard, id, replica))
        })
    }

    /// The whole state as bytes, for a snapshot.
    ///
    /// # Errors
    /// Never for a state within the bounds of this module.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let mut bytes = codec::encode(&SCHEMA)?;
        codec::encode_into(self, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads what [`Topology::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of another version, damaged, or hold a state that cannot be.
    pub fn decode(bytes: &[u8]) -> Result<Self, TopologyError> {
        let (schema, length) = codec::decode_prefix::<u16>(bytes)?;
        if schema != SCHEMA {
            return Err(TopologyError::Schema(schema));
        }
        let topology: Self = codec::decode(&bytes[length..])?;
        topology.check()?;
        Ok(topology)
    }
}

#[cfg(test)]
pub(crate) mod tests;
