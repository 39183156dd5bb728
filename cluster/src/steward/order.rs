//! What the steward orders of the leader of a group, and how that leader carries it out or refuses. An order may come late or twice: it
//! names the term and the membership that it was made for, and is void for any other.

use super::{decode, encode, WireError};
use crate::replica::{ChangeError, ChangeTicket, MembershipChange, Replica, TransferError};
use crate::topology::REPLICAS_MAX;
use crate::types::{Epoch, Monotonic, ReplicaId, ShardId, Term};
use crate::NodeId;
use bincode::{Decode, Encode};

/// Votes that one order gives or takes, each.
const VOTES_MAX: usize = REPLICAS_MAX as usize * 2;

/// One thing for the leader of a group to do.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Order {
    /// The node that leads the group.
    pub to: NodeId,
    pub shard: ShardId,
    /// The term in which it leads.
    pub term: Term,
    /// The epoch of the membership that this builds on.
    pub based_on: Epoch,
    pub task: Task,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Task {
    /// Add a learner, whose id the meta group has given out.
    AddLearner(ReplicaId),
    /// Promote and demote, all at once.
    ChangeVoters {
        promote: Vec<ReplicaId>,
        demote: Vec<ReplicaId>,
    },
    /// Remove a learner.
    Remove(ReplicaId),
    /// Hand the leadership over.
    TransferLeader(ReplicaId),
}

/// What carrying out an order has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// The ticket tells what becomes of the change.
    Change(ChangeTicket),
    Transfer,
}

/// Why an order is not carried out. Nothing has changed; the next report makes a new one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefused {
    #[error("order for shard {0} given to another")]
    OtherShard(ShardId),
    #[error("this replica does not lead the shard in term {0}")]
    OtherTerm(Term),
    #[error("order for membership {based_on}, but {now} holds")]
    OtherMembership { based_on: Epoch, now: Epoch },
    #[error("{0}")]
    Change(#[from] ChangeError),
    #[error("{0}")]
    Transfer(#[from] TransferError),
}

impl Order {
    /// The order as bytes.
    ///
    /// # Errors
    /// Never for an order within its bounds.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        encode(self)
    }

    /// Reads what [`Order::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of another version, damaged, or no order.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let order: Self = decode(bytes)?;
        match &order.task {
            Task::ChangeVoters { promote, demote }
                if promote.len() > VOTES_MAX || demote.len() > VOTES_MAX =>
            {
                Err(WireError::Unsound("number of votes"))
            }
            _ => Ok(order),
        }
    }
}

/// Whether an order is for this replica, as it stands now, and whether a transfer that it asks for could begin.
///
/// # Errors
/// [`OrderRefused`].
pub fn check(order: &Order, replica: &Replica) -> Result<(), OrderRefused> {
    if replica.shard() != order.shard {
        return Err(OrderRefused::OtherShard(order.shard));
    }
    if !replica.is_leader() || replica.term() != order.term {
        return Err(OrderRefused::OtherTerm(order.term));
    }
    // Invariant 8: one step at a time, each on the membership that it was meant for.
    let (based_on, epoch) = (order.based_on, replica.epoch());
    if based_on != epoch {
        let now = epoch;
        return Err(OrderRefused::OtherMembership { based_on, now });
    }
    match order.task {
        Task::TransferLeader(to) => Ok(replica.check_transfer(to)?),
        _ => Ok(()),
    }
}

/// Carries out an order on the replica that leads its group.
///
/// # Errors
/// [`OrderRefused`]; nothing has changed then.
pub fn carry_out(
    order: &Order,
    replica: &mut Replica,
    now: Monotonic,
) -> Result<Begun, OrderRefused> {
    check(order, replica)?;
    let change = match &order.task {
        Task::AddLearner(id) => MembershipChange::AddLearner(*id),
        Task::Remove(id) => MembershipChange::Remove(*id),
        Task::TransferLeader(to) => {
            replica.transfer_leadership(*to, now)?;
            return Ok(Begun::Transfer);
        }
        Task::ChangeVoters { promote, demote } => match (&promote[..], &demote[..]) {
            // One vote alone needs no joint state.
            ([id], []) => MembershipChange::Promote(*id),
            ([], [id]) => MembershipChange::Demote(*id),
            _ => MembershipChange::ChangeVoters {
                promote: promote.clone(),
                demote: demote.clone(),
            },
        },
    };
    Ok(Begun::Change(replica.propose_change(change)?))
}
