//! With what a replica starts: its settings, and what it had on disk. Everything is checked here, because
//! `raft` itself panics over a state that cannot be.

use super::outputs::{EntryKind, HardState, LogEntry, Membership};
use crate::types::{Index, ReplicaId, ShardId, Term};
use raft::ReadOnlyOption;

/// Entries of one append message together, in bytes.
pub const APPEND_BYTES_MAX: u64 = 256 * 1024;

/// Append messages to one follower that are on the way at once.
pub const APPENDS_INFLIGHT_MAX: usize = 256;

/// Committed entries handed out at once, in bytes: what bounds the memory of a long replay.
pub const COMMITTED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The settings of a replica. All times are in ticks, whose length the driver decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The shard, for messages to people.
    pub shard: ShardId,
    /// Who this replica is; never 0.
    pub id: ReplicaId,
    /// Between two heartbeats of a leader.
    pub heartbeat_ticks: usize,
    /// The election timeout that all replicas of the shard agree on: how long a leader counts as alive.
    pub election_ticks: usize,
    /// This replica's own timeout, drawn from its own seed: from `election_ticks` to about twice that.
    /// `raft` would draw it from the thread's random source, which no simulator could repeat.
    pub election_ticks_own: usize,
    /// Entries proposed and not yet committed, in bytes; beyond it proposals are refused as busy. One entry is
    /// always allowed.
    pub uncommitted_bytes_max: u64,
    /// Applied entries kept in memory for followers that lag, in bytes. A group of one voter keeps none.
    pub tail_bytes_max: usize,
}

impl Config {
    /// Settings that suit a tick of 100 ms.
    #[must_use]
    pub fn new(shard: ShardId, id: ReplicaId) -> Self {
        Self {
            shard,
            id,
            heartbeat_ticks: 2,
            election_ticks: 10,
            election_ticks_own: 10,
            uncommitted_bytes_max: 64 * 1024 * 1024,
            tail_bytes_max: 16 * 1024 * 1024,
        }
    }

    pub(super) fn to_raft(&self, applied: Index) -> raft::Config {
        raft::Config {
            id: self.id.get(),
            election_tick: self.election_ticks,
            heartbeat_tick: self.heartbeat_ticks,
            applied: applied.get(),
            max_size_per_msg: APPEND_BYTES_MAX,
            max_inflight_msgs: APPENDS_INFLIGHT_MAX,
            check_quorum: true,
            pre_vote: true,
            min_election_tick: self.election_ticks_own,
            max_election_tick: self.election_ticks_own.saturating_add(1),
            read_only_option: ReadOnlyOption::Safe,
            // Halves the messages: followers hear of a commit with the next append or heartbeat.
            skip_bcast_commit: true,
            // Never: 0.7 joins entries to an empty append of another place, and the follower then acknowledges entries that
            // it has not got (`is_continuous_ents` takes whatever follows an empty message for its continuation).
            batch_append: false,
            priority: 0,
            max_uncommitted_size: self.uncommitted_bytes_max.max(APPEND_BYTES_MAX),
            max_committed_size_per_ready: COMMITTED_BYTES_MAX,
        }
    }
}

/// What a replica finds on its disk when it starts; `Restored::fresh` for one that has never run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restored {
    /// Term, vote and the highest index known to be committed.
    pub hard_state: HardState,
    /// The last index that the snapshot covers; 0 without one.
    pub snapshot_index: Index,
    /// The term of that index.
    pub snapshot_term: Term,
    /// Who votes and who learns, as of `applied`.
    pub membership: Membership,
    /// The log behind the snapshot, without gaps.
    pub entries: Vec<LogEntry>,
    /// The last index whose effects are in the restored data. Entries behind it are handed out again, those up
    /// to it never (invariant 9).
    pub applied: Index,
}

impl Restored {
    /// Nothing but the voters of a new shard. Every replica of the shard must be given the same.
    #[must_use]
    pub fn fresh(voters: impl IntoIterator<Item = ReplicaId>) -> Self {
        Self {
            membership: Membership {
                voters: voters.into_iter().collect(),
                learners: Vec::new(),
            },
            ..Self::default()
        }
    }

    /// Whether this replica has run before, and so may have promised something that it no longer remembers.
    #[must_use]
    pub fn has_run(&self) -> bool {
        self.hard_state != HardState::default() || self.snapshot_index > Index::ZERO
    }

    /// The last index of the log.
    #[must_use]
    pub fn last_index(&self) -> Index {
        self.entries
            .last()
            .map_or(self.snapshot_index, |entry| entry.index)
    }

    pub(super) fn check(&self) -> Result<(), RestoreError> {
        let (mut index, mut term) = (self.snapshot_index, self.snapshot_term);
        for entry in &self.entries {
            if entry.index != index.next() {
                return Err(RestoreError::Gap {
                    after: index,
                    found: entry.index,
                });
            }
            if entry.term < term || entry.term > self.hard_state.term {
                return Err(RestoreError::Term {
                    index: entry.index,
                    term: entry.term,
                    hard_state: self.hard_state.term,
                });
            }
            if entry.kind == EntryKind::Empty && !entry.data.is_empty() {
                return Err(RestoreError::Kind(entry.index));
            }
            (index, term) = (entry.index, entry.term);
        }
        if self.snapshot_term > self.hard_state.term {
            return Err(RestoreError::Term {
                index: self.snapshot_index,
                term: self.snapshot_term,
                hard_state: self.hard_state.term,
            });
        }
        let commit = self.hard_state.commit;
        let ordered =
            self.snapshot_index <= self.applied && self.applied <= commit && commit <= index;
        if !ordered {
            return Err(RestoreError::Order {
                snapshot: self.snapshot_index,
                applied: self.applied,
                commit,
                last: index,
            });
        }
        self.membership.check()
    }
}

/// Why a replica cannot start from what it found. None of these comes from a crash: the files are damaged,
/// mixed up or written by a bug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// An entry is missing.
    #[error("the log goes from index {after} to {found}: entries are missing")]
    Gap { after: Index, found: Index },
    /// An entry's term goes backwards or is beyond the replica's own.
    #[error("entry {index} has term {term}, which cannot be where the replica's own term is {hard_state}")]
    Term {
        index: Index,
        term: Term,
        hard_state: Term,
    },
    /// An entry that should be empty is not.
    #[error("entry {0} is marked empty and is not")]
    Kind(Index),
    /// The indexes do not stand in the only possible order.
    #[error("snapshot {snapshot} <= applied {applied} <= committed {commit} <= last {last} does not hold")]
    Order {
        snapshot: Index,
        applied: Index,
        commit: Index,
        last: Index,
    },
    /// Nobody votes, somebody is there twice, or somebody has the id 0.
    #[error("the list of voters {voters:?} and learners {learners:?} cannot be")]
    Membership {
        voters: Vec<u64>,
        learners: Vec<u64>,
    },
    /// `raft` refuses the settings.
    #[error("settings of the replica: {0}")]
    Config(String),
}
