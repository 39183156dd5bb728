//! What operators ask of a cluster and what they are told: the same values stand in the bodies of the REST API, travel between nodes, and
//! are printed by the command line. Knows no sockets and no HTTP; what is asked is answered in `server/govern`.

mod desk;
mod question;
mod recover;
mod views;

pub(in crate::node) use desk::refused;
pub use desk::{Answering, Asked, Desk};
pub use question::{OperatorAnswer, OperatorError, OperatorQuestion, Refusal};
pub use recover::{RecoverView, RecoveredGroup};
pub use views::{
    ClusterView, Done, MovesView, NodeState, NodeView, PlanView, PlannedMove, ReplicaState,
    ReplicaView, Role, ShardView, ShareView, VerifiedReplica, VerifiedShard, VerifyView,
};
