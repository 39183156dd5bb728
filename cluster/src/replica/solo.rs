//! The short way of a leader that is alone: nobody is to be asked, told or waited for, so its entries are committed by
//! being written, and `raft` would only count along. Gives what the long way gives, in the same order.
//!
//! # When
//!
//! From the moment in which such a leader has applied an entry of its own term and all else that is in its log, until a
//! change of the membership is proposed. Nothing but that can end it: there is nobody to hand the leadership to, and
//! nobody who may know of a higher term. So messages are dropped, and ticks have no effect.
//!
//! # How it goes back
//!
//! `raft` is not touched meanwhile and cannot be pushed forward from outside: it keeps counters of its own. So it is made
//! anew over a log that begins where everything is applied, and put at once where it would stand now: leading in the
//! same term. No new term begins and no empty entry is written. Those would only bring about what holds already, an entry
//! of its own term that is committed and applied, and reads would have to wait for them. What was proposed and not
//! handed out yet is proposed again and gets the same places.
//!
//! What is handed out to be applied is in the driver's hands alone. Until it is applied a change of the membership is
//! refused as busy; that is all the driver could notice.

use super::config::COMMITTED_BYTES_MAX;
use super::{
    next_delivered, no_logger, EntryKind, HardState, LogEntry, LogStore, Outputs, ProposeError,
    Replica,
};
use crate::types::{Index, Term};
use bytes::Bytes;
use raft::{Raft, RawNode, StateRole};

/// What `raft` would keep.
#[derive(Debug)]
pub(super) struct Solo {
    /// The term of all that is proposed.
    term: Term,
    /// What is not handed out to be applied, in order; the first `written` of it is handed out to be written.
    pending: Vec<LogEntry>,
    written: usize,
    /// The last entry that is written, and so committed.
    committed: Index,
    /// Between `ready` and `persisted`.
    pub(super) is_writing: bool,
    /// Bytes of the data in `pending`.
    uncommitted_bytes: usize,
    uncommitted_bytes_max: usize,
    /// Bytes of what is handed out to be written and not applied. The log would keep it.
    log_bytes: usize,
}

impl Solo {
    /// The last index that is known to be committed.
    #[inline]
    pub(super) fn committed(&self) -> Index {
        self.committed
    }

    /// Bytes of the entries that are handed out and not applied; while only a part of those that were handed out
    /// together is applied, that part too.
    pub(super) fn log_bytes(&self) -> usize {
        self.log_bytes
    }

    #[inline]
    pub(super) fn propose(&mut self, data: Bytes, delivered: Index) -> Result<(), ProposeError> {
        let bytes = self.uncommitted_bytes + data.len();
        // One entry is always allowed.
        let too_much = self.uncommitted_bytes > 0 && bytes > self.uncommitted_bytes_max;
        if self.is_writing || too_much {
            return Err(ProposeError::Busy);
        }
        assert!(!data.is_empty(), "an empty entry is a new leader's mark");
        self.uncommitted_bytes = bytes;
        self.pending.push(LogEntry {
            index: behind(delivered, self.pending.len() + 1),
            term: self.term,
            kind: EntryKind::Commands,
            data,
        });
        Ok(())
    }

    #[inline]
    pub(super) fn ready(&mut self, outputs: &mut Outputs) -> bool {
        let new = &self.pending[self.written..];
        outputs.must_sync = !new.is_empty();
        outputs.entries.extend_from_slice(new);
        self.log_bytes += new.iter().map(LogEntry::bytes).sum::<usize>();
        self.written = self.pending.len();
        // Also when it is only the rest of what was too much to be applied at once.
        self.is_writing = self.written > 0;
        self.is_writing
    }

    /// How many entries of those up to `to` go out at once.
    fn piece(&self, to: Index) -> usize {
        let mut bytes = 0;
        let fits = |(number, entry): &(usize, &LogEntry)| {
            bytes += entry.data.len() as u64;
            entry.index <= to && (*number == 0 || bytes <= COMMITTED_BYTES_MAX)
        };
        self.pending.iter().enumerate().take_while(fits).count()
    }

    /// To be called when all that was handed out to be applied is applied.
    #[inline]
    pub(super) fn forget_applied(&mut self) {
        let rest = self.pending[..self.written].iter();
        self.log_bytes = rest.map(LogEntry::bytes).sum();
    }
}

/// The index so many places behind another.
#[inline]
fn behind(index: Index, places: usize) -> Index {
    Index(index.get() + places as u64)
}

impl Replica {
    /// The last index of the log, handed out to be written or not.
    #[inline]
    pub(super) fn last_proposed(&self, solo: &Solo) -> Index {
        behind(self.delivered, solo.pending.len())
    }

    /// The last index that is handed out to be written.
    #[inline]
    pub(super) fn last_to_write(&self, solo: &Solo) -> Index {
        behind(self.delivered, solo.written)
    }

    /// [`persisted`](Self::persisted), when it is alone.
    #[inline]
    pub(super) fn persisted_solo(&mut self, outputs: &mut Outputs) {
        let Some(solo) = &mut self.solo else {
            return;
        };
        assert!(solo.is_writing, "persisted() without ready()");
        solo.is_writing = false;
        // Invariant 1: what is written is committed, and nothing else is handed out.
        let written = behind(self.delivered, solo.written);
        let before = std::mem::replace(&mut solo.committed, written);
        assert!(
            before <= written,
            "invariant 1: shard {} had commit {before} and has written {written}",
            self.shard
        );
        if solo.uncommitted_bytes as u64 <= COMMITTED_BYTES_MAX {
            let all = solo.written;
            return self.deliver_first(all, outputs);
        }
        // What was too much the last time is a piece of its own.
        for to in [before, written] {
            let piece = self.solo.as_ref().map_or(0, |solo| solo.piece(to));
            self.deliver_first(piece, outputs);
        }
    }

    #[inline]
    fn deliver_first(&mut self, count: usize, outputs: &mut Outputs) {
        let Some(solo) = &mut self.solo else {
            return;
        };
        for entry in &solo.pending[..count] {
            self.delivered = next_delivered(self.shard, self.delivered, entry.index);
            solo.uncommitted_bytes -= entry.data.len();
        }
        solo.written -= count;
        match count == solo.pending.len() {
            true => outputs.committed.append(&mut solo.pending),
            false => outputs.committed.extend(solo.pending.drain(..count)),
        }
    }

    /// Takes the short way from now on, if there is nothing left that `raft` would have to do.
    pub(super) fn enter_solo(&mut self) {
        #[cfg(test)]
        if self.never_solo {
            return;
        }
        if !self.is_leader() || !self.has_applied_own_term() {
            return;
        }
        let log = &self.raw.raft.raft_log;
        let at_rest = self.in_flight.is_none()
            && self.applied == self.delivered
            && self.applied.get() == log.last_index()
            && self.transfer.is_none()
            && self.raw.raft.lead_transferee.is_none()
            // What is on its way to a member that has gone is still sent.
            && !self.raw.has_ready();
        if !at_rest {
            return;
        }
        // Whoever a snapshot was on its way to belongs to the shard no more.
        self.sending.clear();
        self.settling.clear();
        self.solo = Some(Solo {
            term: self.term(),
            pending: Vec::new(),
            written: 0,
            committed: self.applied,
            is_writing: false,
            uncommitted_bytes: 0,
            uncommitted_bytes_max: self.raft_config.max_uncommitted_size as usize,
            log_bytes: 0,
        });
    }

    /// Whether `raft` can be made anew: all that is not only proposed is applied.
    pub(super) fn may_leave_solo(&self) -> bool {
        let rests = |solo: &Solo| solo.written == 0 && self.applied == self.delivered;
        self.solo.as_ref().is_none_or(rests)
    }

    /// Goes back to `raft`, if it may.
    pub(super) fn leave_solo(&mut self) {
        let state = self.hard_state();
        assert!(
            self.may_leave_solo(),
            "leave_solo() in the middle of a turn"
        );
        let Some(solo) = self.solo.take() else {
            return;
        };
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

    /// Makes a `raft` that leads in the same term, with a log that begins behind what is applied.
    fn lead_again(&mut self, state: HardState) {
        let mut store = std::mem::take(self.raw.raft.mut_store());
        store.begin_behind(self.applied, self.applied_term);
        // Invariant 5: term and vote have been written since it was elected.
        assert!(
            !store.note_hard_state(state) && state.term == self.term && state.vote == self.id(),
            "invariant 5: shard {} would go on with {state:?} in term {}",
            self.shard,
            self.term
        );
        let raft = self.renew_raft(store);
        // What `Raft::become_leader` comes to, without its empty entry.
        let id = raft.id;
        raft.state = StateRole::Leader;
        raft.leader_id = id;
        if let Some(progress) = raft.mut_prs().get_mut(id) {
            progress.become_replicate();
        }
    }

    /// Makes a new `raft`, which follows, over the log of the one before.
    pub(super) fn renew_raft(&mut self, store: LogStore) -> &mut Raft<LogStore> {
        let config = raft::Config {
            applied: self.applied.get(),
            ..self.raft_config.clone()
        };
        self.raw =
            RawNode::new(&config, store, &no_logger()).expect("settings and log were good before");
        &mut self.raw.raft
    }
}
