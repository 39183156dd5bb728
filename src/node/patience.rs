//! Whose answers a leader waits for. An entry is committed when a majority has it, and of three nodes one answer is enough; the other
//! may come a moment later, together with what its node has to say anyway, and costs no message of its own. So a leader tells one
//! follower that it waits and the other that it does not (`FrameBuilder::push_patient`); a follower that nobody waits for keeps its
//! answers for a millisecond at most ([`super::outward`]). That is also all that is lost when the one that is waited for is silent.

use ringfort_cluster::replica::{Message, MessageType};
use ringfort_cluster::{NodeId, ReplicaId};

use super::shard::Shard;

/// Whether the sender of this message waits for its answer. `to`: the receiver's node; `is_up`: whether a node can be spoken to.
pub(super) fn is_awaited(
    shard: &Shard,
    message: &Message,
    me: NodeId,
    to: NodeId,
    is_up: impl Fn(NodeId) -> bool,
) -> bool {
    match message.msg_type {
        // Answers themselves.
        MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse => false,
        MessageType::MsgAppend => {
            let last = message.entries.last().map(|entry| entry.index);
            let is_newest = last == Some(shard.replica.last_index().get());
            // Whoever catches up is sent more with each answer.
            !is_newest || is_needed_by(shard, ReplicaId(message.to), (me, to), is_up)
        }
        _ => true,
    }
}

fn is_needed_by(
    shard: &Shard,
    follower: ReplicaId,
    nodes: (NodeId, NodeId),
    is_up: impl Fn(NodeId) -> bool,
) -> bool {
    let members = &shard.membership;
    if !members.outgoing.is_empty() {
        return true;
    }
    let voters = members.voters.iter().filter_map(|&id| shard.node_of(id));
    members.voters.contains(&follower) && is_needed(voters, members.voters.len(), nodes, is_up)
}

/// Whether a majority of `count` voters is reached with the one on node `to`. Followers come in the order of their nodes behind the
/// leader's, so that all groups which a node leads wait for the same others.
fn is_needed(
    voters: impl Iterator<Item = NodeId>,
    count: usize,
    (me, to): (NodeId, NodeId),
    is_up: impl Fn(NodeId) -> bool,
) -> bool {
    let behind_me = |node: NodeId| node.0.wrapping_sub(me.0);
    let comes_first =
        |node: &NodeId| *node != me && behind_me(*node) < behind_me(to) && is_up(*node);
    voters.filter(comes_first).count() < count / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(nodes: &[u128], me: u128, up: &[u128]) -> Vec<u128> {
        let voters = || nodes.iter().copied().map(NodeId);
        let is_up = |node: NodeId| up.contains(&node.0);
        let is_it = |&to: &u128| {
            to != me && is_needed(voters(), nodes.len(), (NodeId(me), NodeId(to)), is_up)
        };
        nodes.iter().copied().filter(is_it).collect()
    }

    #[test]
    fn a_leader_waits_for_as_many_as_make_a_majority_with_it() {
        let all = [10, 20, 30, 40, 50];
        assert_eq!(needed(&all[..3], 10, &all), [20]);
        assert_eq!(needed(&all[..3], 20, &all), [30]);
        assert_eq!(needed(&all[..3], 30, &all), [10]);
        assert_eq!(needed(&all[..2], 20, &all), [10]);
        assert_eq!(needed(&all[..4], 40, &all), [10, 20]);
        assert_eq!(needed(&all, 30, &all), [40, 50]);
    }

    #[test]
    fn nodes_that_cannot_be_spoken_to_are_not_relied_upon() {
        assert_eq!(needed(&[10, 20, 30], 10, &[30]), [20, 30]);
        assert_eq!(
            needed(&[10, 20, 30, 40, 50], 10, &[20, 40, 50]),
            [20, 30, 40]
        );
    }
}
