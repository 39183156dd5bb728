//! With what a replica starts: its settings, and what it had on disk. Everything is checked here, because
//! `raft` itself panics over a state that cannot be.

use super::membership::Membership;
use super::outputs::{EntryKind, HardState, LogEntry};
use crate::types::{Index, ReplicaId, ShardId, Term};
use raft::ReadOnlyOption;

/// Entries of one append message together, in bytes.
pub const APPEND_BYTES_MAX: u64 = 256 * 1024;

/// Append messages to one follower that are on the way at once.
pub const APPENDS_INFLIGHT_MAX: usize = 256;

/// Committed entries handed out at once, in bytes: what bounds the memory of a long replay.
pub const COMMITTED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The settings of a replica. All replicas of a shard must agree on those that are marked "agreed".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The shard, for messages to people.
    pub shard: ShardId,
    /// Who this replica is; never 0.
    pub id: ReplicaId,
    /// How often the driver calls [`tick`](super::Replica::tick), in microseconds. Agreed.
    pub tick_us: u64,
    /// Between two heartbeats of a leader.
    pub heartbeat_ticks: usize,
    /// The election timeout: how long a leader counts as alive, and a voter keeps its promise to it. Agreed.
    pub election_ticks: usize,
    /// How long this replica waits at least before it stands for election itself; not less than `election_ticks`.
    pub election_ticks_own: usize,
    /// What is added to that, drawn anew from `seed` for every attempt: 0 up to this many ticks. Without it two
    /// candidates could get into each other's way for ever.
    pub election_jitter_ticks: usize,
    /// Where the jitter comes from. `raft` would take it from the thread's random source, which no simulator
    /// could repeat.
    pub seed: u64,
    /// What the clocks of two nodes may differ by while an election timeout passes, in microseconds; a lease ends
    /// so much earlier. Agreed.
    pub drift_margin_us: u64,
    /// Leases are renewed on demand at most once in so many microseconds. With every heartbeat they are renewed anyway.
    pub lease_interval_us: u64,
    /// A snapshot that has not reached its follower after so many microseconds is given up.
    pub snapshot_timeout_us: u64,
    /// A learner that is further behind is not promoted, in entries.
    pub promote_lag_entries_max: u64,
    /// Entries proposed and not yet committed, in bytes; beyond it proposals are refused as busy. One entry is
    /// always allowed.
    pub uncommitted_bytes_max: u64,
    /// Applied entries kept in memory for followers that are silent, in bytes; four times as much for those that are behind and take
    /// part, or have done so within `absence_us`. A group of one replica keeps none.
    pub tail_bytes_max: usize,
    /// How long a silent follower counts as one that may soon be back, in microseconds: as a process takes that is started anew. Log costs
    /// less than a snapshot, for everybody, as long as it is less than the shard's data.
    pub absence_us: u64,
    /// Applied entries kept in memory while nobody is behind, in bytes. So little that they stay in the processor's cache: what is
    /// written again and again costs a fraction of what goes to memory that was long not used.
    pub tail_bytes_small: usize,
    /// The log in memory while a follower gets a snapshot, in bytes: what comes behind it is kept so long. Beyond it the
    /// follower needs another snapshot, and while so much is not applied proposals are refused as busy.
    pub log_bytes_max: usize,
}

impl Config {
    /// Settings for failover in about one second.
    ///
    /// A voter keeps its promise for 500 ms. Where it is known that the leader's process has ended ([`Replica::note_gone`](super::Replica::note_gone)), a
    /// follower stands for election within two ticks of its end. Otherwise it stands 700 to 1050 ms after the last heartbeat, which came at most
    /// 100 ms before the leader died; of two followers the faster one decides, and the election takes some round trips. The
    /// tick is 50 ms and not 100 so that the followers' waits spread over eight values, and only a few elections are split.
    /// Shorter waits would turn a pause of a busy machine into an election.
    #[must_use]
    pub fn new(shard: ShardId, id: ReplicaId) -> Self {
        Self {
            shard,
            id,
            tick_us: 50_000,
            heartbeat_ticks: 2,
            election_ticks: 10,
            election_ticks_own: 14,
            election_jitter_ticks: 7,
            seed: u64::from(shard.get()) << 48 ^ id.get(),
            drift_margin_us: 50_000,
            lease_interval_us: 20_000,
            snapshot_timeout_us: 600_000_000,
            promote_lag_entries_max: 256,
            uncommitted_bytes_max: 64 * 1024 * 1024,
            tail_bytes_max: 2 * 1024 * 1024,
            absence_us: 30_000_000,
            tail_bytes_small: 128 * 1024,
            log_bytes_max: 512 * 1024 * 1024,
        }
    }

    /// How long a voter keeps its promise to a leader, in microseconds.
    #[must_use]
    pub fn election_timeout_us(&self) -> u64 {
        self.tick_us.saturating_mul(self.election_ticks as u64)
    }

    pub(super) fn timing(&self) -> Result<Timing, RestoreError> {
        let election_timeout_us = self.election_timeout_us();
        if self.drift_margin_us >= election_timeout_us {
            return Err(RestoreError::Config(format!(
                "a drift margin of {} us leaves nothing of an election timeout of {election_timeout_us} us",
                self.drift_margin_us
            )));
        }
        Ok(Timing {
            tick_us: self.tick_us,
            election_timeout_us,
            lease_us: election_timeout_us - self.drift_margin_us,
            lease_interval_us: self.lease_interval_us,
            round_timeout_us: election_timeout_us / 2,
            snapshot_timeout_us: self.snapshot_timeout_us,
        })
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

/// The settings in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub tick_us: u64,
    pub election_timeout_us: u64,
    /// From the sending of a round to the end of the lease.
    pub lease_us: u64,
    pub lease_interval_us: u64,
    pub round_timeout_us: u64,
    pub snapshot_timeout_us: u64,
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
    /// Who belongs to the shard, as of `applied`. Nobody as long as that is not known.
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
            membership: Membership::of_voters(voters),
            ..Self::default()
        }
    }

    /// Nothing at all: a replica that was added to a shard as a learner. It learns from a snapshot who the others are.
    #[must_use]
    pub fn joining() -> Self {
        Self::default()
    }

    /// Whether this replica may have made promises to a leader that it has forgotten. One that decides alone makes
    /// none; what is behind `applied` may have made it one of several.
    pub(super) fn may_have_promised(&self) -> bool {
        let kind = |entry: &LogEntry| entry.kind == EntryKind::Membership;
        self.has_run() && (!self.membership.is_one_voter() || self.entries.iter().any(kind))
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
        let nothing_yet = index == Index::ZERO && self.membership == Membership::default();
        match nothing_yet {
            true => Ok(()),
            false => self.membership.check(),
        }
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
    #[error("no shard can have these members: {0}")]
    Membership(String),
    /// `raft` refuses the settings.
    #[error("settings of the replica: {0}")]
    Config(String),
}
