//! The short way of a leader that is alone: nobody is to be asked, told or waited for, so its entries are committed by
//! being written, and `raft` would only count along. Gives what the long way gives, in the same order.
//!
//! # When
//!
//! From the moment in which such a leader has applied an entry of its own term and everything else that is in its log, until
//! a change of the membership is proposed. Nothing but a change can end it: there is nobody to hand the leadership
//! to and nobody who may know of a higher term, so messages are dropped and ticks have no effect.
//!
//! # How it goes back
//!
//! `raft` is not touched meanwhile and cannot be pushed forward from outside: it keeps counters of its own. So it is made
//! anew from the log in memory, which is kept as always, and put at once where it would stand now: the leader of the same
//! term with the same log. No new term begins and no entry is written for it: that would only repeat what holds
//! already, an own entry that is committed and applied, and reads would have to wait for it. What was proposed and not
//! handed out yet is proposed again and gets the same places.

use super::config::COMMITTED_BYTES_MAX;
use super::{no_logger, EntryKind, HardState, LogEntry, LogStore, Outputs, ProposeError, Replica};
use crate::types::{Index, Term};
use bytes::Bytes;
use raft::{RawNode, StateRole};

/// What `raft` would keep.
#[derive(Debug)]
pub(super) struct Solo {
    /// The term of all that is proposed.
    term: Term,
    /// Proposed and not handed out to be written. What was handed out is in the log.
    pending: Vec<LogEntry>,
    /// All that is written.
    committed: Index,
    /// Between `ready` and `persisted`.
    pub(super) is_writing: bool,
    /// Bytes of what is proposed and not handed out to be applied; bounded by `uncommitted_bytes_max`.
    uncommitted_bytes: usize,
    uncommitted_bytes_max: usize,
}

impl Solo {
    /// The last index that is known to be committed.
    #[inline]
    pub(super) fn committed(&self) -> Index {
        self.committed
    }

    /// How many entries stand behind the end of the log in memory.
    #[inline]
    pub(super) fn pending(&self) -> u64 {
        self.pending.len() as u64
    }

    /// Appends an entry behind `last`, the end of the log in memory.
    #[inline]
    pub(super) fn propose(&mut self, data: Bytes, last: Index) -> Result<(), ProposeError> {
        let bytes = self.uncommitted_bytes + data.len();
        // One entry is always allowed.
        let too_much = self.uncommitted_bytes > 0 && bytes > self.uncommitted_bytes_max;
        if self.is_writing || too_much {
            return Err(ProposeError::Busy);
        }
        assert!(!data.is_empty(), "an empty entry is a new leader's mark");
        self.uncommitted_bytes = bytes;
        self.pending.push(LogEntry {
            index: Index(last.get() + self.pending() + 1),
            term: self.term,
            kind: EntryKind::Commands,
            data,
        });
        Ok(())
    }

    /// Hands out what is to be written and puts it into the log; `false` when there is nothing to write and nothing left to
    /// apply.
    #[inline]
    pub(super) fn ready(
        &mut self,
        store: &mut LogStore,
        delivered: Index,
        outputs: &mut Outputs,
    ) -> bool {
        outputs.must_sync = !self.pending.is_empty();
        self.is_writing = outputs.must_sync || delivered < self.committed;
        for entry in self.pending.drain(..) {
            outputs.entries.push(entry.clone());
            store.append(entry);
        }
        self.is_writing
    }
}

impl Replica {
    /// [`persisted`](Self::persisted), when it is alone.
    #[inline]
    pub(super) fn persisted_solo(&mut self, outputs: &mut Outputs) {
        let written = self.raw.raft.store().last();
        let Some(solo) = &mut self.solo else {
            return;
        };
        assert!(solo.is_writing, "persisted() without ready()");
        solo.is_writing = false;
        // Invariant 1: what is written is committed, and nothing else is handed out.
        let before = std::mem::replace(&mut solo.committed, written);
        assert!(
            before <= written,
            "invariant 1: shard {} had commit {before} and has written {written}",
            self.shard
        );
        // What was too much for one time before comes first, in a piece of its own.
        self.deliver_up_to(before, outputs);
        self.deliver_up_to(written, outputs);
    }

    /// Hands out what is committed, as much as goes at once.
    #[inline]
    fn deliver_up_to(&mut self, to: Index, outputs: &mut Outputs) {
        let mut bytes = 0;
        while self.delivered < to {
            let next = self.raw.raft.store().get(self.delivered.next());
            let entry = next.expect("kept until it is applied").clone();
            let is_first = bytes == 0;
            bytes += entry.data.len();
            if !is_first && bytes as u64 > COMMITTED_BYTES_MAX {
                return;
            }
            if let Some(solo) = &mut self.solo {
                solo.uncommitted_bytes -= entry.data.len();
            }
            self.deliver(entry, outputs);
        }
    }

    /// Takes the short way from now on, if there is nothing left that `raft` would have to do.
    pub(super) fn enter_solo(&mut self) {
        #[cfg(test)]
        if self.never_solo {
            return;
        }
        let log = &self.raw.raft.raft_log;
        let leads = self.alone && self.is_leader() && self.has_applied_own_term();
        let at_rest = self.in_flight.is_none()
            && self.applied == self.delivered
            && self.applied.get() == log.last_index()
            && self.transfer.is_none()
            && self.raw.raft.lead_transferee.is_none()
            // What is on its way to a member that has gone is still sent.
            && !self.raw.has_ready();
        if !leads || !at_rest {
            return;
        }
        // Whoever a snapshot was on its way to belongs to the shard no more.
        self.sending.clear();
        self.solo = Some(Solo {
            term: self.term(),
            pending: Vec::new(),
            committed: self.applied,
            is_writing: false,
            uncommitted_bytes: 0,
            uncommitted_bytes_max: self.raft_config.max_uncommitted_size as usize,
        });
    }

    /// Goes back to `raft`. Not while a write is under way.
    pub(super) fn leave_solo(&mut self) {
        let state = self.hard_state();
        let Some(solo) = self.solo.take() else {
            return;
        };
        assert!(!solo.is_writing, "leave_solo() while a write is under way");
        self.lead_again(state);
        for entry in solo.pending {
            let mut again = [entry.to_raft()];
            let taken = self.raw.raft.append_entry(&mut again);
            let place = (Index(again[0].index), Term(again[0].term));
            // Invariant 9: the driver may know its place already.
            assert!(
                taken && place == (entry.index, entry.term),
                "invariant 9: shard {} would move entry {}",
                self.shard,
                entry.index
            );
        }
    }

    /// Makes a `raft` that leads in the same term over the same log and has handed out the same.
    fn lead_again(&mut self, state: HardState) {
        let mut store = std::mem::take(self.raw.raft.mut_store());
        // Invariant 5: term and vote have been written since it was elected.
        assert!(
            !store.note_hard_state(state) && state.term == self.term && state.vote == self.id(),
            "invariant 5: shard {} would go on with {state:?} in term {}",
            self.shard,
            self.term
        );
        let config = raft::Config {
            // `raft` hands out all that lies behind this.
            applied: self.delivered.get(),
            ..self.raft_config.clone()
        };
        self.raw =
            RawNode::new(&config, store, &no_logger()).expect("settings and log were good before");
        let raft = &mut self.raw.raft;
        // What `Raft::become_leader` comes to, without its empty entry: one of this term is applied already.
        let id = raft.id;
        raft.state = StateRole::Leader;
        raft.leader_id = id;
        if let Some(progress) = raft.mut_prs().get_mut(id) {
            progress.become_replicate();
        }
    }
}
