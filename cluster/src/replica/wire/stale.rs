//! What a node does with a message that may come from another time: to or from a replica that is no more. Pure: replica
//! ids are never reused and grow (invariant 7), epochs grow, and that decides everything.

use super::Envelope;
use crate::replica::{Membership, Message};
use crate::types::ReplicaId;
use raft::eraftpb::MessageType;

/// The replica of the shard on this node.
#[derive(Debug, Clone, Copy)]
pub struct Mine<'a> {
    pub id: ReplicaId,
    pub membership: &'a Membership,
}

/// What is to be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Give it to the replica.
    Deliver,
    /// It was meant for an earlier replica of this node.
    Drop,
    /// It is meant for a later replica of this node: the one that is here was removed and must be destroyed, with a
    /// tombstone in its place.
    IAmStale,
    /// Answer that this replica is gone for good.
    TellGone(ReplicaId),
    /// Nothing is known of such a replica here: whether there should be one, the meta group knows.
    Unknown,
}

/// Decides over a message. `tombstone` is the highest id of the shard that was destroyed on this node.
#[must_use]
pub fn judge(
    envelope: &Envelope,
    message: &Message,
    mine: Option<Mine<'_>>,
    tombstone: Option<ReplicaId>,
) -> Verdict {
    let Some(mine) = mine else {
        return match tombstone {
            Some(tombstone) if envelope.to <= tombstone => Verdict::TellGone(envelope.to),
            _ => Verdict::Unknown,
        };
    };
    match envelope.to.cmp(&mine.id) {
        std::cmp::Ordering::Less => Verdict::Drop,
        std::cmp::Ordering::Greater => Verdict::IAmStale,
        std::cmp::Ordering::Equal if is_removed(envelope, message, mine.membership) => {
            Verdict::TellGone(envelope.from)
        }
        std::cmp::Ordering::Equal => Verdict::Deliver,
    }
}

/// Whether the sender was a member once and is not any more. Only candidates are judged so: they have been voters at
/// their epoch, so a later membership without them means that they were removed. A newcomer, whom this replica may not
/// know yet, stands for nothing.
fn is_removed(envelope: &Envelope, message: &Message, membership: &Membership) -> bool {
    let candidate = matches!(
        message.msg_type,
        MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
    );
    candidate && envelope.epoch < membership.epoch && !membership.contains(envelope.from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Epoch, ShardId};

    fn envelope(from: u64, to: u64, epoch: u64) -> Envelope {
        Envelope {
            shard: ShardId(3),
            epoch: Epoch(epoch),
            from: ReplicaId(from),
            to: ReplicaId(to),
        }
    }

    fn message(msg_type: MessageType) -> Message {
        Message {
            msg_type,
            ..Default::default()
        }
    }

    fn judged(envelope: Envelope, msg_type: MessageType) -> Verdict {
        let membership = Membership {
            epoch: Epoch(9),
            ..Membership::of_voters([1, 5, 6].map(ReplicaId))
        };
        let mine = Mine {
            id: ReplicaId(5),
            membership: &membership,
        };
        judge(
            &envelope,
            &message(msg_type),
            Some(mine),
            Some(ReplicaId(4)),
        )
    }

    #[test]
    fn a_message_to_an_earlier_replica_of_this_node_is_dropped() {
        let verdict = judged(envelope(1, 4, 9), MessageType::MsgAppend);
        assert_eq!(verdict, Verdict::Drop);
    }

    #[test]
    fn a_message_to_a_later_replica_of_this_node_says_that_this_one_is_stale() {
        let verdict = judged(envelope(1, 7, 12), MessageType::MsgHeartbeat);
        assert_eq!(verdict, Verdict::IAmStale);
    }

    #[test]
    fn a_candidate_that_was_removed_is_told_so() {
        let verdict = judged(envelope(2, 5, 8), MessageType::MsgRequestPreVote);
        assert_eq!(verdict, Verdict::TellGone(ReplicaId(2)));
    }

    #[test]
    fn a_candidate_that_is_a_member_is_heard_whatever_its_epoch() {
        let verdict = judged(envelope(6, 5, 2), MessageType::MsgRequestVote);
        assert_eq!(verdict, Verdict::Deliver);
    }

    #[test]
    fn a_candidate_of_a_later_epoch_is_heard_though_it_is_not_known_yet() {
        let verdict = judged(envelope(8, 5, 10), MessageType::MsgRequestVote);
        assert_eq!(verdict, Verdict::Deliver);
    }

    #[test]
    fn a_newcomer_that_knows_no_epoch_is_heard() {
        let verdict = judged(envelope(8, 5, 0), MessageType::MsgAppendResponse);
        assert_eq!(verdict, Verdict::Deliver);
    }

    #[test]
    fn a_shard_that_is_not_here_is_answered_with_its_tombstone_or_is_unknown() {
        let message = message(MessageType::MsgAppend);
        let judged = |to, tombstone: Option<u64>| {
            judge(
                &envelope(1, to, 9),
                &message,
                None,
                tombstone.map(ReplicaId),
            )
        };
        assert_eq!(judged(4, Some(4)), Verdict::TellGone(ReplicaId(4)));
        assert_eq!(judged(3, Some(4)), Verdict::TellGone(ReplicaId(3)));
        assert_eq!(judged(5, Some(4)), Verdict::Unknown);
        assert_eq!(judged(5, None), Verdict::Unknown);
    }
}
