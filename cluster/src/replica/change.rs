//! Changes of the membership and of the leadership: what the leader proposes, and what every replica does when a change
//! is committed.

use super::membership::{
    check_change, ChangeError, ChangeTicket, Matched, Membership, MembershipChange, Situation,
    UnreadableChange,
};
use super::{EntryKind, LogEntry, Replica};
use crate::codec;
use crate::sim::Mistake;
use crate::types::{Epoch, Index, Monotonic, ReplicaId, Term};
use raft::eraftpb::{ConfState, Entry, EntryType, Message, MessageType};
use raft::{Progress, ProgressState, StateRole};

/// A transfer of the leadership that is under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer {
    to: ReplicaId,
    term: u64,
    deadline: Monotonic,
}

/// Why leadership is not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Another replica leads, or none.
    #[error("this replica does not lead the shard")]
    NotLeader,
    /// A write is under way: try again soon.
    #[error("the shard is busy")]
    Busy,
    /// One transfer at a time.
    #[error("leadership is being handed over to replica {0} already")]
    Running(ReplicaId),
    /// Only another voter can lead.
    #[error("replica {0} cannot lead the shard: it is not another voter that stays")]
    NotAnotherVoter(ReplicaId),
    /// It has not been heard of, waits for a snapshot or has not seen the last change of the membership.
    #[error("replica {0} is not far enough to lead the shard: try again soon")]
    NotFollowing(ReplicaId),
}

impl Replica {
    /// Proposes a change of the membership. What becomes of it is told by the ticket, from the entries that are applied.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing was proposed then.
    pub fn propose_change(
        &mut self,
        change: MembershipChange,
    ) -> Result<ChangeTicket, ChangeError> {
        self.check_may_change()?;
        // Before that it may not know of a change that is committed.
        if !self.has_applied_own_term() {
            return Err(ChangeError::TooNew);
        }
        if self.raw.raft.has_pending_conf() {
            return Err(ChangeError::Running);
        }
        self.propose_checked(change)
    }

    /// As [`propose_change`](Self::propose_change), without the check that no other change may be under way: a mistake that the simulator
    /// makes on purpose, to see that it is found. Nobody else has the token.
    ///
    /// # Errors
    /// As above, but for [`ChangeError::TooNew`] and [`ChangeError::Running`].
    #[doc(hidden)]
    pub fn propose_change_meanwhile(
        &mut self,
        change: MembershipChange,
        _: Mistake,
    ) -> Result<ChangeTicket, ChangeError> {
        self.check_may_change()?;
        self.propose_checked(change)
    }

    fn check_may_change(&self) -> Result<(), ChangeError> {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            return Err(ChangeError::NotLeader);
        }
        let is_busy = self.is_writing() || !self.may_leave_solo();
        match is_busy || raft.lead_transferee.is_some() {
            true => Err(ChangeError::Busy),
            false => Ok(()),
        }
    }

    fn propose_checked(&mut self, change: MembershipChange) -> Result<ChangeTicket, ChangeError> {
        let situation = Situation {
            membership: self.raw.raft.store().membership(),
            leader: self.id(),
            first_index: self.first_index(),
            last_index: self.last_index(),
            lag_max: self.promote_lag_entries_max,
            progress: &|id| self.matched(id),
        };
        check_change(&change, &situation)?;
        self.leave_solo();
        self.append_change(&change)
    }

    /// What `RawNode::propose_conf_change` comes to, with bytes of our own instead of protobuf's.
    pub(super) fn append_change(
        &mut self,
        change: &MembershipChange,
    ) -> Result<ChangeTicket, ChangeError> {
        let data = codec::encode(change).expect("a change is a few bytes long");
        let entry = Entry {
            entry_type: EntryType::EntryConfChangeV2,
            data: data.into(),
            ..Default::default()
        };
        let raft = &mut self.raw.raft;
        if !raft.append_entry(&mut [entry]) {
            return Err(ChangeError::Busy);
        }
        let index = raft.raft_log.last_index();
        raft.pending_conf_index = index;
        raft.bcast_append();
        Ok(ChangeTicket {
            index: Index(index),
            term: Term(raft.term),
        })
    }

    /// Carries out a committed change, exactly once, when its turn to be applied has come: before
    /// [`applied`](Self::applied) is told of its index. Gives the membership that holds from now on; the driver makes it
    /// durable together with the applied index (invariant 9).
    ///
    /// A change that cannot be carried out, on any replica, leaves the membership as it was, epoch included.
    ///
    /// # Errors
    /// When the entry is damaged. The replica must not be used any more then.
    pub fn apply_membership(&mut self, entry: &LogEntry) -> Result<Membership, UnreadableChange> {
        assert!(
            !self.is_writing(),
            "apply_membership() while a write is under way"
        );
        // Invariant 9: once, and in order.
        assert!(
            self.changes_due.front() == Some(&entry.index) && entry.index > self.applied,
            "invariant 9: shard {} would carry out the membership change at {} out of its turn",
            self.shard,
            entry.index
        );
        let unreadable = |source| UnreadableChange {
            index: entry.index,
            source,
        };
        let change: MembershipChange = codec::decode(&entry.data).map_err(unreadable)?;
        self.changes_due.pop_front();
        self.last_change = entry.index;
        // Who answered under the old membership says nothing about the new one.
        self.lease.reset();
        self.raw.raft.read_only.pending_read_index.clear();
        self.raw.raft.read_only.read_index_queue.clear();
        if let Some(membership) = self.apply_while_forcing(entry.index, &change) {
            return Ok(membership);
        }
        let before = self.membership();
        if let Some((state, epoch)) = self.change_raft(&before, &change) {
            let membership = Membership::from_raft(&state, epoch);
            self.raw.raft.mut_store().set_membership(membership);
            self.note_membership();
        }
        let membership = self.membership();
        // Invariant 8: a replay, which has no `raft`, comes to the same.
        assert!(
            before.after(&change).as_ref().unwrap_or(&before) == &membership,
            "invariant 8: shard {} has {membership:?} after {change:?} on {before:?}",
            self.shard
        );
        Ok(membership)
    }

    /// Has `raft` carry a change out; `None` when it cannot be.
    fn change_raft(
        &mut self,
        before: &Membership,
        change: &MembershipChange,
    ) -> Option<(ConfState, Epoch)> {
        let MembershipChange::Force {
            voter,
            learners,
            epoch,
        } = change
        else {
            let state = self.raw.apply_conf_change(&change.to_raft()).ok()?;
            return Some((state, before.epoch.next()));
        };
        before.after(change)?;
        let state = self.follow_forced(before, *voter, learners)?;
        Some((state, (*epoch).max(before.epoch.next())))
    }

    /// Takes up what follows from the membership alone.
    pub(super) fn note_membership(&mut self) {
        let (id, raft) = (self.id(), &mut self.raw.raft);
        let membership = raft.store().membership();
        self.one_voter = membership.is_one_voter() && membership.voters == [id];
        self.alone = self.one_voter && membership.learners.is_empty();
        self.heard.retain(|member| membership.contains(member));
        if raft.state == StateRole::Leader && !membership.votes(id) {
            // `raft` goes on as if it led, and fails when it counts itself.
            let term = raft.term;
            raft.become_follower(term, raft::INVALID_ID);
        }
    }

    /// Ends a joint state as soon as that is possible, also one that an earlier leader left behind. A leader without a
    /// vote after it hands over first.
    pub(super) fn end_joint_state(&mut self) {
        let raft = &self.raw.raft;
        let membership = raft.store().membership();
        let possible = membership.is_joint()
            && raft.state == StateRole::Leader
            && !self.is_writing()
            && raft.lead_transferee.is_none()
            && !raft.has_pending_conf()
            && self.has_applied_own_term();
        if !possible {
            return;
        }
        if membership.voters.contains(&self.id()) {
            // Refused when too much is uncommitted; the next tick tries again.
            let _ = self.append_change(&MembershipChange::Leave);
            return;
        }
        let ready = |&id: &ReplicaId| self.could_lead(id);
        let voters = membership.voters.iter().copied().filter(ready);
        let furthest = voters.max_by_key(|&id| self.matched(id).map(|matched| matched.index));
        if let Some(to) = furthest {
            let _ = self.transfer_leadership(to, self.now);
        }
    }

    /// How far a member is, as the leader sees it; `None` for strangers and on other replicas.
    #[must_use]
    pub fn matched(&self, id: ReplicaId) -> Option<Matched> {
        if !self.is_leader() {
            return None;
        }
        if let Some(solo) = &self.solo {
            let itself = Matched {
                index: solo.committed(),
                follows: true,
                answers: true,
            };
            return (id == self.id()).then_some(itself);
        }
        let progress = self.raw.raft.prs().get(id.get())?;
        Some(Matched {
            index: Index(progress.matched),
            follows: self.follows(progress),
            answers: self.answers(id),
        })
    }

    /// Hands the leadership to another voter. The lease is given up first, for the rest of this term. It fails after one
    /// election timeout; this replica then stands for election again at once.
    ///
    /// # Errors
    /// [`TransferError`]; nothing has changed then, the lease included.
    pub fn transfer_leadership(
        &mut self,
        to: ReplicaId,
        now: Monotonic,
    ) -> Result<(), TransferError> {
        let now = self.note_time(now);
        self.check_transfer(to)?;
        // Invariant 6: the lease first.
        self.give_up_lease();
        self.transfer = Some(Transfer {
            to,
            term: self.raw.raft.term,
            deadline: now.plus_us(self.timing.election_timeout_us),
        });
        self.raw.transfer_leader(to.get());
        Ok(())
    }

    /// Whether the leadership could be handed to another voter now.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn check_transfer(&self, to: ReplicaId) -> Result<(), TransferError> {
        if !self.is_leader() {
            return Err(TransferError::NotLeader);
        }
        if let Some(transfer) = self.transfer {
            return Err(TransferError::Running(transfer.to));
        }
        if self.is_writing() {
            return Err(TransferError::Busy);
        }
        let membership = self.raw.raft.store().membership();
        if to == self.id() || !membership.voters.contains(&to) {
            return Err(TransferError::NotAnotherVoter(to));
        }
        if !self.could_lead(to) {
            return Err(TransferError::NotFollowing(to));
        }
        Ok(())
    }

    /// Whether a member takes the log entry by entry. One whose place is known to be the end of the log does, too: after a snapshot `raft`
    /// goes on searching for it until there is a new entry, and a shard without writes has none.
    fn follows(&self, progress: &Progress) -> bool {
        let is_at_end = progress.matched == self.raw.raft.raft_log.last_index();
        match progress.state {
            ProgressState::Replicate => true,
            ProgressState::Probe => is_at_end,
            ProgressState::Snapshot => false,
        }
    }

    /// Whether a follower is close enough to take over: it could not stand for election before it has carried out the
    /// changes of the membership that it knows to be committed.
    fn could_lead(&self, id: ReplicaId) -> bool {
        let progress = self.raw.raft.prs().get(id.get());
        progress.is_some_and(|progress| {
            self.follows(progress) && progress.committed_index >= self.last_change.get()
        })
    }

    /// Whether another voter lacks so little that it could take the leadership over now, as this leader knows.
    #[must_use]
    pub fn could_take_over(&self, id: ReplicaId) -> bool {
        let membership = self.raw.raft.store().membership();
        let is_other_voter = id != self.id() && membership.voters.contains(&id);
        is_other_voter && self.has_caught_up(id) && self.could_lead(id)
    }

    /// To whom the leadership is being handed over.
    #[must_use]
    pub fn transferring_to(&self) -> Option<ReplicaId> {
        self.transfer.map(|transfer| transfer.to)
    }

    /// Ends a transfer that has succeeded or taken too long.
    pub(super) fn look_after_transfer(&mut self) {
        let Some(transfer) = self.transfer else {
            return;
        };
        let raft = &mut self.raw.raft;
        if raft.state != StateRole::Leader || raft.term != transfer.term {
            self.transfer = None;
            return;
        }
        if raft.lead_transferee.is_some() && self.now < transfer.deadline {
            return;
        }
        self.transfer = None;
        // The order to stand for election may still be on its way, and whoever gets it is elected against all
        // promises. In a new term it is void. Nobody else need be asked first: this is the leader.
        raft.abort_leader_transfer();
        let term = raft.term;
        raft.become_follower(term, raft::INVALID_ID);
        let stand = Message {
            msg_type: MessageType::MsgTimeoutNow,
            from: raft.id,
            ..Default::default()
        };
        let _ = raft.step(stand);
    }

    /// Whether it has applied an entry of its own term: a leader that has not knows neither all that is committed nor the last
    /// stamp of its log, and must not propose commands.
    #[inline]
    #[must_use]
    pub fn has_applied_own_term(&self) -> bool {
        self.applied_term.get() == self.raw.raft.term
    }

    pub(super) fn note_delivered(&mut self, entry: &LogEntry) {
        if entry.kind == EntryKind::Membership {
            self.changes_due.push_back(entry.index);
        }
    }
}
