//! What can be asked, and how it is refused. One layout, JSON, for HTTP and between nodes: fields that an older program does not know are
//! passed over, those that it does not send have defaults.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::recover::RecoverView;
use super::views::{ClusterView, Done, NodeView, PlanView, ShardView, VerifyView};

/// A question or an order of an operator. Whatever names a node (`node`, `to`) does so by its id of 40 digits, by the beginning of that if
/// no other node has the same, or by `host:port` of one of its ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum OperatorQuestion {
    /// Answered by [`OperatorAnswer::Cluster`].
    Cluster,
    /// Answered by [`OperatorAnswer::Node`].
    Node { node: String },
    /// Answered by [`OperatorAnswer::Shards`].
    Shards,
    /// The shards from this one on, as many as go into one answer. Answered by [`OperatorAnswer::Shards`], empty behind the last.
    ShardsFrom { first: u32 },
    /// One shard alone. Answered by [`OperatorAnswer::Shards`].
    Shard { shard: u32 },
    /// The node is to hold nothing any more. Refused where the others are too few for all copies, unless `force`.
    Drain {
        node: String,
        #[serde(default)]
        force: bool,
    },
    /// Takes a `Drain` back.
    Undrain { node: String },
    /// A drained node that holds nothing is forgotten, and never let in again.
    Remove { node: String },
    /// What would move if so many nodes came.
    PlanAdd {
        count: u16,
        weight: u16,
        #[serde(default)]
        zone: String,
    },
    /// What would move if the node left.
    PlanRemove {
        node: String,
        #[serde(default)]
        force: bool,
    },
    /// Leaders and copies are spread evenly again, beyond what the placement would do by itself.
    Rebalance,
    /// The shard is to be led by the node, which must have a copy that votes.
    Transfer { shard: u32, to: String },
    /// The digests of all copies are compared at one index of each shard. Answered by [`OperatorAnswer::Verify`].
    Verify {
        /// All of them if there is none.
        #[serde(default)]
        shard: Option<u32>,
    },
    /// These nodes are gone for ever, and groups that lost their majority with them go on with what is left. Answered by
    /// [`OperatorAnswer::Recover`], by the node that is asked: there may be nobody who leads the cluster.
    Recover {
        lost: Vec<String>,
        /// What only the lost nodes had is gone. Without this word nothing is done, and the answer tells what would be.
        #[serde(default)]
        accept_data_loss: bool,
    },
}

impl OperatorQuestion {
    /// Whether it is an order: one that is lost on its way may have been carried out.
    pub fn changes(&self) -> bool {
        match self {
            Self::Drain { .. }
            | Self::Undrain { .. }
            | Self::Remove { .. }
            | Self::Rebalance
            | Self::Transfer { .. } => true,
            Self::Recover {
                accept_data_loss, ..
            } => *accept_data_loss,
            Self::Cluster
            | Self::Node { .. }
            | Self::Shards
            | Self::ShardsFrom { .. }
            | Self::Shard { .. }
            | Self::PlanAdd { .. }
            | Self::PlanRemove { .. }
            | Self::Verify { .. } => false,
        }
    }
}

/// What an operator is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "tell", content = "of", rename_all = "snake_case")]
pub enum OperatorAnswer {
    Cluster(Box<ClusterView>),
    Node(Box<NodeView>),
    Shards(Vec<ShardView>),
    Plan(PlanView),
    Done(Done),
    Verify(VerifyView),
    Recover(Box<RecoverView>),
    Refused(OperatorError),
}

/// What kind of refusal it is; HTTP's status and the exit code follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// There is no such node or shard.
    NotFound,
    /// What is asked for cannot be: malformed, or out of bounds.
    Invalid,
    /// The state of the cluster forbids it.
    Conflict,
    /// It was certainly not done, because nobody leads the cluster or the leader cannot be reached; try again.
    Unavailable,
    /// It may have been done: the leader was lost while it was under way. Look, and repeat it if it was not.
    Unknown,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{reason}")]
pub struct OperatorError {
    pub kind: Refusal,
    /// For people: what is wrong and what to do.
    pub reason: String,
}

impl OperatorError {
    pub fn new(kind: Refusal, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { kind, reason }
    }
}

impl From<OperatorError> for OperatorAnswer {
    fn from(error: OperatorError) -> Self {
        Self::Refused(error)
    }
}
