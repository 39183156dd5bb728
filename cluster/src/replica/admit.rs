//! Which messages `raft` gets to see. It trusts its peers and panics over what cannot be; a message comes from a socket
//! (invariant 11), so that what cannot be is found here.

use super::follower::{context_of, QUESTIONS_PENDING_MAX};
use super::snapshot::SnapshotPlace;
use super::{LogStore, Message};
use crate::types::{Index, Term};
use raft::eraftpb::{EntryType, MessageType};
use raft::{Raft, StateRole};

/// The highest term, index or id that a message may name: sums of them must not overflow.
pub const NUMBER_MAX: u64 = u64::MAX / 4;

/// Whether a message may be given to `raft`.
pub(super) fn is_sound(message: &Message, raft: &Raft<LogStore>) -> bool {
    let numbers = [
        message.term,
        message.index,
        message.log_term,
        message.commit,
        message.commit_term,
        message.from,
        message.reject_hint,
        message.request_snapshot,
    ];
    let addressed = message.to == raft.id && message.from != raft.id && message.from != 0;
    if !addressed || message.term == 0 || numbers.iter().any(|&number| number > NUMBER_MAX) {
        return false;
    }
    match message.msg_type {
        MessageType::MsgAppend => entries_are_sound(message, raft),
        MessageType::MsgHeartbeat => {
            // The leader knows what this replica has. More than that means that its log became shorter.
            message.term < raft.term || message.commit <= raft.raft_log.last_index()
        }
        MessageType::MsgAppendResponse => {
            let concerns = raft.state == StateRole::Leader && message.term == raft.term;
            !concerns || message.reject || message.index <= raft.raft_log.last_index()
        }
        MessageType::MsgSnapshot => snapshot_is_sound(message),
        MessageType::MsgTimeoutNow => {
            message.term < raft.term || message.term == raft.term && message.from == raft.leader_id
        }
        MessageType::MsgHeartbeatResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse => true,
        MessageType::MsgReadIndex => {
            let pending = raft.read_only.read_index_queue.len();
            let leads = raft.state == StateRole::Leader && message.term == raft.term;
            leads && pending < QUESTIONS_PENDING_MAX && context_of(message).is_some()
        }
        MessageType::MsgReadIndexResp => {
            let follows = raft.state == StateRole::Follower && message.from == raft.leader_id;
            follows && message.term == raft.term && context_of(message).is_some()
        }
        // Only leaders take proposals, and only their own: a forwarded one could be applied twice. The others are
        // orders of the driver, not of a peer.
        _ => false,
    }
}

fn entries_are_sound(message: &Message, raft: &Raft<LogStore>) -> bool {
    let (mut index, mut term) = (message.index, message.log_term);
    for entry in &message.entries {
        let kept = match entry.entry_type {
            EntryType::EntryConfChange => false,
            EntryType::EntryConfChangeV2 => !entry.data.is_empty(),
            EntryType::EntryNormal => true,
        };
        let follows = entry.index == index + 1 && entry.term >= term && entry.term <= message.term;
        // What is committed stays: Raft guarantees it, and panics when it is not so.
        let committed = entry.index <= raft.raft_log.committed;
        let ours = raft.raft_log.store().term_of(Index(entry.index));
        let conflicts = committed && ours.is_some_and(|ours| ours != Term(entry.term));
        if !kept || !follows || entry.term == 0 || conflicts {
            return false;
        }
        (index, term) = (entry.index, entry.term);
    }
    true
}

fn snapshot_is_sound(message: &Message) -> bool {
    SnapshotPlace::from_raft(message.get_snapshot()).is_some_and(|(place, _)| {
        place.term.get() <= message.term && place.index.get() <= NUMBER_MAX
    })
}
