//! The log as `raft` reads it: the entries since the last compaction, in memory. What is here has been handed to the
//! driver for writing; whether it is on disk already is `raft`'s to count.

use super::config::Restored;
use super::membership::Membership;
use super::outputs::{EntryKind, HardState, LogEntry};
use super::snapshot::SnapshotPlace;
use crate::types::{Index, ReplicaId, Term};
use raft::eraftpb::{Entry, Snapshot};
use raft::util::limit_size;
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use std::cell::Cell;
use std::collections::VecDeque;

/// Entries whose memory is kept when the log runs empty.
const CAPACITY_KEPT: usize = 64;

/// The tail of a shard's log.
#[derive(Debug, Default)]
pub(super) struct LogStore {
    hard_state: HardState,
    membership: Membership,
    /// The snapshot that the driver can send; index 0 for none.
    durable: SnapshotPlace,
    /// A follower needs a snapshot newer than that.
    wants_newer: Cell<bool>,
    /// The last index that is no longer here, and its term.
    compacted_index: Index,
    compacted_term: Term,
    entries: VecDeque<LogEntry>,
    entry_bytes: usize,
}

impl LogStore {
    pub(super) fn new(restored: Restored) -> Self {
        let durable = durable_of(&restored);
        let mut store = Self {
            hard_state: restored.hard_state,
            membership: restored.membership,
            durable,
            wants_newer: Cell::new(false),
            compacted_index: restored.snapshot_index,
            compacted_term: restored.snapshot_term,
            entries: VecDeque::new(),
            entry_bytes: 0,
        };
        for entry in restored.entries {
            store.append(entry);
        }
        store
    }

    /// Appends an entry; one whose index is already there voids what stands from it on.
    #[inline]
    pub(super) fn append(&mut self, entry: LogEntry) {
        if entry.index != self.last().next() {
            self.truncate_from(entry.index);
        }
        // Invariant 9: no gap, no repeat.
        assert!(
            entry.index == self.last().next(),
            "invariant 9: entry {} does not follow {}",
            entry.index,
            self.last()
        );
        self.entry_bytes += entry.bytes();
        self.entries.push_back(entry);
    }

    /// Starts again behind an index up to which everything is applied. Nothing is left here by then.
    pub(super) fn begin_behind(&mut self, index: Index, term: Term) {
        // Invariant 9: no gap, no repeat.
        assert!(
            self.entries.is_empty() && index >= self.compacted_index,
            "invariant 9: the log goes on behind {index} and still begins behind {}",
            self.compacted_index
        );
        (self.compacted_index, self.compacted_term) = (index, term);
    }

    /// Drops entries up to `to`, oldest first, as long as more than `tail_bytes_max` are kept.
    #[inline]
    pub(super) fn compact(&mut self, to: Index, tail_bytes_max: usize) {
        while self.entry_bytes > tail_bytes_max {
            match self.entries.front() {
                Some(entry) if entry.index <= to => {}
                _ => break,
            }
            let Some(entry) = self.entries.pop_front() else {
                break;
            };
            self.entry_bytes -= entry.bytes();
            self.compacted_index = entry.index;
            self.compacted_term = entry.term;
        }
        if self.entries.is_empty() && self.entries.capacity() > CAPACITY_KEPT {
            self.entries.shrink_to(CAPACITY_KEPT);
        }
    }

    /// Takes up a hard state and tells whether its term or vote are new.
    pub(super) fn note_hard_state(&mut self, state: HardState) -> bool {
        let changed = state.term != self.hard_state.term || state.vote != self.hard_state.vote;
        self.hard_state = state;
        changed
    }

    /// Starts again behind a snapshot.
    pub(super) fn restore(&mut self, place: SnapshotPlace) {
        self.entries.clear();
        self.entry_bytes = 0;
        self.compacted_index = place.index;
        self.compacted_term = place.term;
        self.membership = place.membership.clone();
        self.durable = place;
        self.wants_newer.set(false);
    }

    /// Takes up that a snapshot can be sent.
    pub(super) fn note_durable(&mut self, place: SnapshotPlace) {
        if place.index > self.durable.index {
            self.durable = place;
            self.wants_newer.set(false);
        }
    }

    pub(super) fn durable(&self) -> &SnapshotPlace {
        &self.durable
    }

    pub(super) fn wants_newer(&self) -> bool {
        self.wants_newer.get()
    }

    pub(super) fn set_membership(&mut self, membership: Membership) {
        self.membership = membership;
    }

    pub(super) fn last(&self) -> Index {
        Index(self.compacted_index.get() + self.entries.len() as u64)
    }

    pub(super) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The last index that is no longer here.
    pub(super) fn compacted(&self) -> Index {
        self.compacted_index
    }

    /// The entries that are here.
    pub(super) fn all(&self) -> impl Iterator<Item = &LogEntry> {
        self.entries.iter()
    }

    /// Bytes that the entries hold in memory, their overhead included.
    pub(super) fn bytes(&self) -> usize {
        self.entry_bytes
    }

    /// The term of an index from the last compacted one on.
    #[inline]
    pub(super) fn term_of(&self, index: Index) -> Option<Term> {
        if index == self.compacted_index {
            return Some(self.compacted_term);
        }
        self.position(index)
            .and_then(|position| self.entries.get(position))
            .map(|entry| entry.term)
    }

    fn truncate_from(&mut self, index: Index) {
        let Some(position) = self.position(index) else {
            return;
        };
        for entry in self.entries.drain(position.min(self.entries.len())..) {
            self.entry_bytes -= entry.bytes();
        }
    }

    /// Where an index stands in `entries`, or would stand; `None` when it is compacted.
    #[inline]
    fn position(&self, index: Index) -> Option<usize> {
        index
            .get()
            .checked_sub(self.compacted_index.get() + 1)
            .map(|offset| offset as usize)
    }
}

impl Storage for LogStore {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(
            self.hard_state.to_raft(),
            self.membership.to_raft(),
        ))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let Some(first) = self.position(Index(low)) else {
            return Err(StorageError::Compacted.into());
        };
        let length = high.saturating_sub(low) as usize;
        if first + length > self.entries.len() {
            return Err(StorageError::Unavailable.into());
        }
        let mut entries: Vec<Entry> = self
            .entries
            .range(first..first + length)
            .map(LogEntry::to_raft)
            .collect();
        limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.term_of(Index(index)) {
            Some(term) => Ok(term.get()),
            None if index < self.compacted_index.get() => Err(StorageError::Compacted.into()),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.compacted_index.get() + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last().get())
    }

    /// The place of the durable snapshot, without data. When that is of no use, because the receiver does not stand in
    /// it or the log has moved on, `raft` asks again at the next heartbeat, until the driver has made another.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let place = &self.durable;
        let useful = place.index > Index::ZERO
            && place.index >= self.compacted_index
            && place.index.get() >= request_index
            && place.membership.contains(ReplicaId(to));
        if !useful {
            self.wants_newer.set(true);
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        Ok(place.to_raft(&[]))
    }
}

/// The snapshot that a restored state begins with, as far as it is known who belonged to the shard there.
fn durable_of(restored: &Restored) -> SnapshotPlace {
    let changed = restored
        .entries
        .iter()
        .any(|entry| entry.index <= restored.applied && entry.kind == EntryKind::Membership);
    match changed {
        true => SnapshotPlace::default(),
        false => SnapshotPlace {
            index: restored.snapshot_index,
            term: restored.snapshot_term,
            membership: restored.membership.clone(),
        },
    }
}
