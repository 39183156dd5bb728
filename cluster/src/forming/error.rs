//! Why a node cannot become part of a cluster, in words for its operator.

use crate::topology::ClusterId;
use crate::NodeId;

/// The node must not go on: somebody has to change something first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormingError {
    #[error("the cluster does not take this node: {0}")]
    Refused(String),
    #[error("--join leads to two clusters, {0} and {1}: name nodes of one cluster only")]
    TwoClusters(ClusterId, ClusterId),
    #[error(
        "this node holds data of cluster {ours}, and --join leads to cluster {theirs}: two clusters never merge. \
         To give this node's data up, start it with an empty --dir"
    )]
    OwnData { ours: ClusterId, theirs: ClusterId },
    #[error(
        "another process runs with the identity of this node, {0}: its --dir was copied. Start this node with an empty --dir"
    )]
    Twin(NodeId),
    #[error(
        "this node has promised to form a cluster together with node {0}: start it with the --join that it had, or with an empty --dir"
    )]
    Pledged(NodeId),
    #[error("--join names {0} addresses: at most {max} are possible", max = super::JOIN_MAX)]
    TooManyAddresses(usize),
}
