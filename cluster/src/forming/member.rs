//! How a node that belongs to a cluster answers those that do not, or that come back. Decides nothing: who is let in is for the
//! meta group to say.

use super::message::{shortened, About, FormingMessage, JoinAnswer};
use crate::meta::{MetaCommand, MetaError, MetaReply};
use crate::topology::{Node, Topology};
use crate::NodeId;

/// What a member knows when it answers.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// The newest topology that it knows, of a formed cluster.
    pub topology: &'a Topology,
    /// The node that leads the meta group, if it knows one.
    pub leader: Option<NodeId>,
    /// Whether that is this node, and it may propose.
    pub leads: bool,
}

/// What to do about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberAnswer {
    /// Send this.
    Now(FormingMessage),
    /// Propose this; when its outcome is known send [`join_answer`].
    Propose(MetaCommand),
}

/// What became of the command that a [`MemberAnswer::Propose`] held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposalOutcome {
    /// It was applied.
    Accepted,
    /// It was applied and changed nothing, for this reason.
    Refused(String),
    /// It was not applied, or nobody here knows. To propose it again is harmless.
    Unknown,
}

impl From<Result<MetaReply, MetaError>> for ProposalOutcome {
    /// From what the topology says to the command.
    fn from(reply: Result<MetaReply, MetaError>) -> Self {
        match reply {
            Ok(_) => Self::Accepted,
            Err(error) => Self::Refused(error.to_string()),
        }
    }
}

/// Answers a request. `about` is what this node says of itself. `None` for what is no request.
#[must_use]
pub fn answer(
    request: &FormingMessage,
    about: &About,
    standing: Standing<'_>,
) -> Option<MemberAnswer> {
    match request {
        FormingMessage::Hello { .. } => Some(MemberAnswer::Now(FormingMessage::HelloAnswer {
            about: about.clone(),
            others: Vec::new(),
            leader: address_of(standing),
        })),
        FormingMessage::Join { about: asker } => Some(join(asker, about.node.id, standing)),
        FormingMessage::HelloAnswer { .. } | FormingMessage::JoinAnswer(_) => None,
    }
}

fn address_of(standing: Standing<'_>) -> Option<String> {
    let leader = standing.topology.nodes.get(&standing.leader?)?;
    Some(leader.peer_address())
}

fn join(asker: &About, me: NodeId, standing: Standing<'_>) -> MemberAnswer {
    let topology = standing.topology;
    let now = |answer| MemberAnswer::Now(FormingMessage::JoinAnswer(answer));
    if let Some(theirs) = asker.cluster_id.filter(|&id| id != topology.cluster_id) {
        let ours = topology.cluster_id;
        let error = MetaError::OtherCluster { theirs, ours };
        return now(refusal(&error.to_string(), topology));
    }
    // That is for ever, and any member can say so.
    if let Some(epoch) = topology.removed.get(&asker.node.id) {
        let error = MetaError::Removed(asker.node.id, *epoch);
        return now(refusal(&error.to_string(), topology));
    }
    if !standing.leads {
        return now(match address_of(standing) {
            Some(address) if standing.leader != Some(me) => JoinAnswer::Redirect { address },
            _ => JoinAnswer::TryAgain,
        });
    }
    let node = asker.node.clone();
    match topology.nodes.get(&node.id) {
        Some(known) if is_described_by(known, &node) => now(welcome(topology)),
        Some(_) => MemberAnswer::Propose(MetaCommand::Update { node }),
        None => MemberAnswer::Propose(MetaCommand::Join {
            cluster_id: asker.cluster_id,
            node,
        }),
    }
}

/// Whether a node is known exactly as it describes itself.
pub(crate) fn is_described_by(known: &Node, described: &Node) -> bool {
    let described = Node {
        draining: known.draining,
        suspect: false,
        ..described.clone()
    };
    *known == described
}

/// The answer to a join, from what became of the command that it led to.
#[must_use]
pub fn join_answer(outcome: &ProposalOutcome, topology: &Topology) -> FormingMessage {
    FormingMessage::JoinAnswer(match outcome {
        ProposalOutcome::Accepted => welcome(topology),
        ProposalOutcome::Refused(reason) => refusal(reason, topology),
        ProposalOutcome::Unknown => JoinAnswer::TryAgain,
    })
}

fn welcome(topology: &Topology) -> JoinAnswer {
    match topology.encode() {
        Ok(topology) => JoinAnswer::Welcome { topology },
        Err(_) => JoinAnswer::TryAgain,
    }
}

fn refusal(reason: &str, topology: &Topology) -> JoinAnswer {
    JoinAnswer::Refused {
        cluster_id: topology.cluster_id,
        reason: shortened(reason),
    }
}
