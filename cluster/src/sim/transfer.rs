//! The message by which a leader announces a snapshot. The simulator plays the sender of snapshots with it.

use crate::replica::{IncomingSnapshot, Message};
use crate::types::{ReplicaId, Term};
use raft::eraftpb::{MessageType, Snapshot};

/// An announcement from one replica to another, in the sender's term.
#[must_use]
pub fn announce(
    from: ReplicaId,
    to: ReplicaId,
    term: Term,
    snapshot: &IncomingSnapshot,
) -> Message {
    let mut announced = Snapshot {
        data: snapshot.data.clone(),
        ..Default::default()
    };
    let metadata = announced.mut_metadata();
    metadata.index = snapshot.index.get();
    metadata.term = snapshot.term.get();
    let members = metadata.mut_conf_state();
    members.voters = ids(&snapshot.membership.voters);
    members.learners = ids(&snapshot.membership.learners);
    Message {
        msg_type: MessageType::MsgSnapshot,
        from: from.get(),
        to: to.get(),
        term: term.get(),
        snapshot: Some(announced).into(),
        ..Default::default()
    }
}

fn ids(replicas: &[ReplicaId]) -> Vec<u64> {
    replicas.iter().map(|id| id.get()).collect()
}
