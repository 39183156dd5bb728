//! What a replica can be asked. Nothing here changes anything.

use super::{HardState, Membership, Replica};
use crate::types::{Epoch, Index, Monotonic, ReplicaId, ShardId, Term};
use raft::{StateRole, INVALID_ID};

impl Replica {
    /// The shard it belongs to.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Who it is.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        ReplicaId(self.raw.raft.id)
    }

    /// Whether it leads the shard, as far as it knows.
    #[inline]
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// Who leads the shard, as far as it knows.
    #[must_use]
    pub fn leader(&self) -> Option<ReplicaId> {
        match self.raw.raft.leader_id {
            INVALID_ID => None,
            id => Some(ReplicaId(id)),
        }
    }

    /// Whether it leads, or has heard of its leader within an election timeout. Who stands for no election never forgets whom it followed.
    #[must_use]
    pub fn hears_leader(&self) -> bool {
        let hears = self.leader().is_some() && self.has_promised();
        self.is_leader() || hears
    }

    /// Whether what is applied here may be read at this time: it leads under a lease (invariant 6) and has applied an
    /// entry of its own term, so that it knows all that was ever committed. About `now` see
    /// [`lease_valid`](Self::lease_valid).
    #[inline]
    #[must_use]
    pub fn can_read(&self, now: Monotonic) -> bool {
        self.lease_valid(now) && self.has_applied_own_term()
    }

    /// Its term.
    #[must_use]
    pub fn term(&self) -> Term {
        Term(self.raw.raft.term)
    }

    /// The last index of its log, written or not.
    #[inline]
    #[must_use]
    pub fn last_index(&self) -> Index {
        match &self.solo {
            Some(solo) => self.last_proposed(solo),
            None => Index(self.raw.raft.raft_log.last_index()),
        }
    }

    /// The term and the index of the last entry of its log, written or not.
    #[must_use]
    pub fn last_entry(&self) -> (Term, Index) {
        let last = self.last_index();
        match &self.solo {
            // Whoever decides alone has led since its first entry of this term.
            Some(_) => (self.term(), last),
            None => (Term(self.raw.raft.raft_log.last_term()), last),
        }
    }

    /// The last index known to be committed.
    #[inline]
    #[must_use]
    pub fn committed(&self) -> Index {
        match &self.solo {
            Some(solo) => solo.committed(),
            None => Index(self.raw.raft.raft_log.committed),
        }
    }

    /// The last index that was applied, as told by [`applied`](Self::applied).
    #[inline]
    #[must_use]
    pub fn applied_index(&self) -> Index {
        self.applied
    }

    /// The first index whose entry is still in memory, or would be the next.
    #[must_use]
    pub fn first_index(&self) -> Index {
        match &self.solo {
            Some(_) => self.applied.next(),
            None => Index(self.raw.raft.raft_log.first_index()),
        }
    }

    /// Bytes that the log holds in memory.
    #[must_use]
    pub fn log_bytes(&self) -> usize {
        match &self.solo {
            Some(solo) => solo.log_bytes(),
            None => self.raw.raft.store().bytes(),
        }
    }

    /// Who belongs to the shard, as far as this replica has applied its log.
    #[must_use]
    pub fn membership(&self) -> Membership {
        self.raw.raft.store().membership().clone()
    }

    /// Whether this replica belongs to the shard; when it does not any more the driver destroys it. One that does
    /// not know the others yet belongs to them.
    #[must_use]
    pub fn is_member(&self) -> bool {
        let membership = self.raw.raft.store().membership();
        membership.is_unknown() || membership.contains(self.id())
    }

    /// Whether a change of the membership may be in the log and not carried out yet, as this leader knows.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.raw.raft.has_pending_conf()
    }

    /// Whether a member lacks nothing but the newest entries and has answered within an election timeout, as this leader knows; it may be
    /// promoted then.
    #[must_use]
    pub fn has_caught_up(&self, id: ReplicaId) -> bool {
        let (last, lag_max) = (self.last_index(), self.promote_lag_entries_max);
        let matched = self.matched(id);
        matched.is_some_and(|matched| matched.has_caught_up(last, lag_max))
    }

    /// The version of its membership: how many changes led to it. Every replica that has applied as much has the same, and so has one
    /// that was restored from a snapshot or from its log, because the membership carries it. Messages carry it too.
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.raw.raft.store().membership().epoch
    }

    /// Term, vote and commit as they are now; for a write-ahead log that starts a new segment.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        HardState {
            commit: self.committed(),
            ..HardState::from_raft(&self.raw.raft.hard_state())
        }
    }
}
