//! Why a command of the meta group is refused, in words for whoever typed it.

use crate::slot::ShardCountError;
use crate::topology::{ClusterId, NodeError, ITEMS_MAX, NODES_MAX, REPLICAS_MAX, SHELF_BYTES_MAX};
use crate::types::{Epoch, ReplicaId, ShardId};
use crate::NodeId;

/// Why a command was refused. It changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    #[error("there is no cluster yet: start one node without --join, or several with --bootstrap-expect")]
    NotFormed,
    #[error("this node already belongs to cluster {0}")]
    AlreadyFormed(ClusterId),
    #[error(
        "this node holds data of cluster {theirs} and cannot join cluster {ours}, two clusters never merge: \
         to give its data up, start it with an empty --dir"
    )]
    OtherCluster { theirs: ClusterId, ours: ClusterId },
    #[error("{0}")]
    Shards(#[from] ShardCountError),
    #[error("{0} replicas: there must be at least 1 and at most {REPLICAS_MAX}")]
    Replicas(u8),
    #[error("{0}")]
    Node(#[from] NodeError),
    #[error("the cluster has {NODES_MAX} nodes already, no more are possible")]
    TooManyNodes,
    #[error("node {0} was removed from the cluster at epoch {1} and stays out: start it with an empty --dir to let it join as a new node")]
    Removed(NodeId, Epoch),
    #[error("no node {0} in the cluster")]
    NoSuchNode(NodeId),
    #[error("node {node} knows semantics up to {knows}, the cluster uses {uses}: start a newer ringfort on it")]
    TooOld { node: NodeId, knows: u32, uses: u32 },
    #[error("semantics {asked} are not newer than {current}")]
    SemanticsNotNewer { asked: u32, current: u32 },
    #[error("the last node that holds data cannot leave: add another node first")]
    LastNode,
    #[error("{} would be left for {replicas} replicas of each shard: add a node first, or force it (--force), and each shard has {}", counted(*left, "node", "nodes"), counted(*left, "copy", "copies"))]
    TooFewNodes { left: usize, replicas: u8 },
    #[error("node {0} has not left: drain it first (ringfort node drain)")]
    NotDraining(NodeId),
    #[error("node {node} still holds a replica of {groups} groups: wait until it is drained (ringfort status shows it)")]
    StillHolds { node: NodeId, groups: usize },
    #[error("a name has 1 to 256 bytes, this one has {0}")]
    NameLength(usize),
    #[error("more than {ITEMS_MAX} items or {SHELF_BYTES_MAX} bytes of them: remove some first")]
    ShelfFull,
    #[error("no shard {0}")]
    NoSuchShard(ShardId),
    #[error("{0} wishes in one command: there must be 1 to 1024, each of another shard")]
    WishCount(usize),
    #[error("the wish for shard {0} names no voter, too many nodes, or a node twice")]
    UnsoundWish(ShardId),
    #[error("shard {0} is not wished for on node {1}")]
    NotWished(ShardId, NodeId),
    #[error("node {node} has replica {replica} of shard {shard} already")]
    AlreadyThere {
        shard: ShardId,
        node: NodeId,
        replica: ReplicaId,
    },
    #[error("the next replica of shard {shard} has id {next}, not {asked}: ids are given out in order and once")]
    NotNext {
        shard: ShardId,
        next: ReplicaId,
        asked: ReplicaId,
    },
    #[error("shard {0} has too many replicas at once")]
    TooManyReplicas(ShardId),
    #[error("membership of shard {shard} as of {told}, but that of {known} is known")]
    StaleMembership {
        shard: ShardId,
        told: Epoch,
        known: Epoch,
    },
    #[error("shard {0} cannot have such a membership")]
    UnsoundMembership(ShardId),
    #[error("the newest topology that a node knows: {0}")]
    Topology(String),
    #[error("shard {0} has no replica {1}")]
    NoSuchReplica(ShardId, ReplicaId),
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
