//! How a node that belongs to a cluster answers those that do not, or that come back. Decides nothing: who is let in is for the
//! meta group to say.

use super::message::{About, FormingMessage, JoinAnswer, REASON_BYTES_MAX};
use crate::meta::{MetaCommand, MetaError, ProposalOutcome};
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
        return now(refusal(&MetaError::OtherCluster { theirs, ours }, topology));
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

/// The answer to a join, from what became of the command that it led to; `None` as long as that is not known.
#[must_use]
pub fn join_answer(outcome: &ProposalOutcome, topology: &Topology) -> Option<FormingMessage> {
    let answer = match outcome {
        ProposalOutcome::Pending => return None,
        ProposalOutcome::Done(Ok(_)) => welcome(topology),
        ProposalOutcome::Done(Err(error)) => refusal(error, topology),
        ProposalOutcome::Lost | ProposalOutcome::Unknown => JoinAnswer::TryAgain,
    };
    Some(FormingMessage::JoinAnswer(answer))
}

fn welcome(topology: &Topology) -> JoinAnswer {
    match topology.encode() {
        Ok(topology) => JoinAnswer::Welcome { topology },
        Err(_) => JoinAnswer::TryAgain,
    }
}

fn refusal(error: &MetaError, topology: &Topology) -> JoinAnswer {
    let mut reason = error.to_string();
    let end = (0..=REASON_BYTES_MAX).rev();
    let end = end.into_iter().find(|&end| reason.is_char_boundary(end));
    reason.truncate(end.unwrap_or_default());
    JoinAnswer::Refused {
        cluster_id: topology.cluster_id,
        reason,
    }
}
