//! The state of a cluster as an operator sees it. Plain values.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The cluster at one moment, as the leader of its meta group sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ClusterView {
    pub id: String,
    /// Raised by every change of what is decided.
    pub epoch: u64,
    /// The node that leads the meta group, and so sees all this.
    pub leader: String,
    /// Copies that every shard should have.
    pub replicas: u8,
    pub shards: u32,
    /// Shards that nobody is known to lead, but for those that had a leader a moment ago.
    pub shards_without_leader: u32,
    /// Shards with fewer voters that are up and have caught up than they should have.
    pub shards_short: u32,
    pub moves: MovesView,
    /// What an operator should look at, in words. Empty: all is well.
    pub problems: Vec<String>,
    pub nodes: Vec<NodeView>,
}

/// What is moving between nodes now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct MovesView {
    /// Copies that are being filled.
    pub copying: u32,
    /// Copies that still have to be made or given up.
    pub waiting: u32,
    /// Leaders that are not where they should be for balance are not counted. About how much data has still to be copied.
    pub bytes_left: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    #[default]
    Up,
    /// Nothing was heard of it lately.
    Down,
    /// It is told to hold nothing, and still holds something.
    Draining,
    /// It was told to hold nothing, and holds nothing: it can be removed.
    Drained,
    /// Another node has turned up at its address.
    Suspect,
}

/// One node of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NodeView {
    /// 40 hexadecimal digits.
    pub id: String,
    pub host: String,
    pub port: u16,
    /// 0: it has none. So of the HTTP port.
    pub cluster_port: u16,
    /// None where it listens for no other nodes.
    pub peer_port: Option<u16>,
    pub http_port: u16,
    pub zone: String,
    pub weight: u16,
    pub version: String,
    pub state: NodeState,
    /// Since when nothing was heard of it; none if nothing ever was.
    pub silent_ms: Option<u64>,
    /// Shards that it leads.
    pub leads: u32,
    /// Shards that it has a copy of, and how many of these vote.
    pub holds: u32,
    pub votes: u32,
    /// Shards that it is to have a copy of.
    pub wished: u32,
    /// Groups, the meta group among them, that keep it from being removed.
    pub needed_by: u32,
    /// Entries that its copies lack at most.
    pub lag_entries_max: u64,
    /// Of the process, and of all keys that it holds.
    pub memory_bytes: u64,
    pub data_bytes: u64,
    pub ops_per_sec: u64,
    pub clients: u32,
    /// Of commands of its clients, over the last seconds; none where nobody knows.
    pub p99_us: Option<u64>,
    pub uptime_s: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Leader,
    Voter,
    #[default]
    Learner,
    /// Given an id, but no member of the group.
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaState {
    /// It lacks nothing but the newest entries.
    CaughtUp,
    /// It is being filled.
    #[default]
    Behind,
    /// Its node has lost it.
    Lost,
    /// Its node is down.
    Down,
    /// It is not wished for any more and will be removed.
    Leaving,
}

/// One copy of a shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ReplicaView {
    pub replica: u64,
    pub node: String,
    pub role: Role,
    pub state: ReplicaState,
    /// The last entry that it has applied; none where nobody knows.
    pub applied: Option<u64>,
    /// Entries that it lacks of what its leader has applied.
    pub lag_entries: Option<u64>,
    pub bytes: Option<u64>,
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ShardView {
    pub shard: u32,
    /// First and last slot.
    pub slots: (u16, u16),
    /// None while nobody is known to lead it.
    pub leader: Option<String>,
    pub term: u64,
    /// As its leader counts them.
    pub bytes: u64,
    /// It is not where it should be yet.
    pub moving: bool,
    pub replicas: Vec<ReplicaView>,
}

/// What would move, before anything does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct PlanView {
    pub moves: Vec<PlannedMove>,
    /// Copies to be made, and their part of all copies in percent.
    pub copies: u32,
    pub copies_percent: f64,
    pub bytes: u64,
    /// Leaders that move at least, because their replica goes.
    pub leaders: u32,
    /// At what pace it was reckoned, and how long it takes at that, at least.
    pub bytes_per_sec: u64,
    pub seconds: u64,
    pub nodes: Vec<ShareView>,
    /// Why it would not be done as asked.
    pub refused: Option<String>,
}

/// A copy that would be made, or given up where `to` is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct PlannedMove {
    pub shard: u32,
    /// The node that gives its copy up afterwards, if one does.
    pub from: Option<String>,
    pub to: Option<String>,
    pub bytes: u64,
}

/// What a node holds before and after a plan. A node that is not there yet is called `new-1`, `new-2` ...
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ShareView {
    pub node: String,
    pub holds_before: u32,
    pub holds_after: u32,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// An order was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Done {
    /// Of the topology that has it.
    pub epoch: u64,
    /// False: it held before.
    pub changed: bool,
    /// In words.
    pub message: String,
}

/// What a comparison of all copies found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct VerifyView {
    /// Shards whose copies were all there and equal.
    pub equal: u32,
    /// Shards with copies that differ.
    pub differ: u32,
    /// Shards of which not all copies could be compared.
    pub incomplete: u32,
    pub shards: Vec<VerifiedShard>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct VerifiedShard {
    pub shard: u32,
    /// The entry behind which the copies were looked at.
    pub index: u64,
    pub replicas: Vec<VerifiedReplica>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct VerifiedReplica {
    pub replica: u64,
    pub node: String,
    /// 40 hexadecimal digits.
    pub digest: Option<String>,
    pub keys: u64,
    /// Why there is no digest.
    pub error: Option<String>,
}
