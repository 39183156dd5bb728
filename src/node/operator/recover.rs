//! What an operator is told who says that nodes are gone for ever. Plain values.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was done to go on without lost nodes, or what would be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RecoverView {
    /// False: nothing was changed, because the operator has not accepted the loss of data. The rest is what would be done.
    pub done: bool,
    /// The nodes that are gone: 40 hexadecimal digits each.
    pub lost: Vec<String>,
    /// Groups that lost their majority, and who goes on with each.
    pub groups: Vec<RecoveredGroup>,
    /// Shards of which no node that is left has anything: they begin again, empty.
    pub empty_shards: Vec<u32>,
    /// Groups that have a majority without the lost nodes, and were left alone.
    pub left_alone: u32,
    /// What the operator should know, in words.
    pub notes: Vec<String>,
}

/// A group that goes on with what one node has of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RecoveredGroup {
    /// There is none: it is the meta group, which holds what the cluster is and its settings.
    pub shard: Option<u32>,
    /// The node with the most advanced copy of those that are left.
    pub node: String,
    /// The term and the index of the last entry of its log: all of it is kept.
    pub term: u64,
    pub index: u64,
    /// The entries behind this index may never have been acknowledged. They are kept too.
    pub committed: u64,
    /// It lost power, and may have forgotten its last second.
    pub suspect: bool,
    /// Other nodes that are left with a copy; they take over from the first.
    pub others: Vec<String>,
}
