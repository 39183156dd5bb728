//! Brings the entries of the log back into the shards while recovery reads them. Knows no files and no snapshots: a
//! shard tells by what it has applied where its snapshot ends.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ringfort_cluster::{HardState, Index, LogEntry, ShardId, Term};

use crate::durability::wal::{Entry, Item, Run};
use crate::protocol::Args;

use super::recovery::StartError;
use super::shard::{Asked, Replies, Shard};

/// Applies the log while it is read. What is committed goes through at once; the rest waits in the replica's log.
pub struct Replay<'a> {
    shards: &'a mut [Shard],
    /// The operator's consent to go on where entries are missing.
    accept_data_loss: bool,
    /// A shard as its snapshot has it, empty without one.
    start_over: &'a mut dyn FnMut(ShardId) -> Result<Shard, StartError>,
    /// Shards of which this node has no replica.
    strangers: BTreeSet<ShardId>,
    /// Those of them of which the log holds something.
    traces: BTreeSet<ShardId>,
    /// Where entries are missing. It does not matter where they belonged to a replica that is gone.
    gaps: BTreeMap<ShardId, StartError>,
}

impl<'a> Replay<'a> {
    /// `shards` are as their snapshots have them; `start_over` brings one back to that.
    pub fn new(
        shards: &'a mut [Shard],
        accept_data_loss: bool,
        start_over: &'a mut dyn FnMut(ShardId) -> Result<Shard, StartError>,
    ) -> Self {
        Self {
            shards,
            accept_data_loss,
            start_over,
            strangers: BTreeSet::new(),
            traces: BTreeSet::new(),
            gaps: BTreeMap::new(),
        }
    }

    /// Takes in nothing of these shards.
    #[must_use]
    pub fn without(mut self, strangers: BTreeSet<ShardId>) -> Self {
        self.strangers = strangers;
        self
    }

    /// Takes in what a record says.
    ///
    /// # Errors
    /// When it speaks of a shard that is none of this node, or the shard's snapshot cannot be read again.
    pub fn item(&mut self, item: &Item) -> Result<(), StartError> {
        let is_stranger = |shard: &ShardId| self.strangers.contains(shard);
        match item {
            Item::Entries(run) if is_stranger(&run.shard) => {
                self.traces.insert(run.shard);
                Ok(())
            }
            Item::Entries(run) => self.run(run),
            Item::HardState { shard, state } => {
                // Every log begins with the states of all shards, also of those that are not there.
                if is_stranger(shard) && *state != HardState::default() {
                    self.traces.insert(*shard);
                }
                Ok(())
            }
            Item::Forget(shard) => self.forget(*shard),
        }
    }

    /// Asked when all was read.
    ///
    /// # Errors
    /// When entries are missing.
    pub fn check(&mut self) -> Result<(), StartError> {
        match self.take_gap() {
            Some((_, gap)) => Err(gap),
            None => Ok(()),
        }
    }

    /// One of the shards whose entries are missing, with the words for it; to be asked when all was read, until there is none.
    pub fn take_gap(&mut self) -> Option<(ShardId, StartError)> {
        self.gaps.pop_first()
    }

    /// A shard as far as it has come back.
    pub fn shard(&self, number: ShardId) -> Option<&Shard> {
        self.shards.get(usize::from(number.0))
    }

    /// Takes in nothing more of a shard, whose replica is given up. What it has by now means nothing.
    pub fn give_up(&mut self, number: ShardId) {
        self.strangers.insert(number);
        self.traces.insert(number);
        self.gaps.remove(&number);
    }

    /// The shards without a replica of which the log holds something that must not come back to life.
    pub fn into_traces(self) -> BTreeSet<ShardId> {
        self.traces
    }

    /// What was read belonged to a replica that is gone, the snapshot belongs to a later one.
    fn forget(&mut self, shard: ShardId) -> Result<(), StartError> {
        self.traces.remove(&shard);
        self.gaps.remove(&shard);
        if self.strangers.contains(&shard) {
            return Ok(());
        }
        let Some(held) = self.shards.get_mut(usize::from(shard.0)) else {
            return Ok(());
        };
        held.unapplied.clear();
        if held.applied().0 > held.snapshot_index {
            *held = (self.start_over)(shard)?;
        }
        Ok(())
    }

    /// Takes in entries as they were written: one that comes again replaces what was read before, and what followed that.
    ///
    /// # Errors
    /// When the shard is none of this node.
    fn run(&mut self, run: &Run) -> Result<(), StartError> {
        let shard = self.shards.get_mut(usize::from(run.shard.0));
        let shard = shard.ok_or_else(|| {
            StartError(format!("the log holds shard {}, which is none", run.shard))
        })?;
        if self.gaps.contains_key(&run.shard) {
            return Ok(());
        }
        for entry in run.entries() {
            // Also where a snapshot covers the entry: its writer knew of none behind it.
            shard
                .unapplied
                .retain(|earlier| earlier.index < entry.index);
            let (applied, term) = shard.applied();
            if entry.index <= applied {
                continue;
            }
            let waiting = shard.unapplied.last();
            let (last, last_term) = waiting.map_or((applied, term), |last| (last.index, last.term));
            // Terms never fall along a log: a leader whose snapshot came in between has cut this entry off.
            if run.term < last_term {
                continue;
            }
            if entry.index.0 > last.0 + 1 && self.accept_data_loss {
                tracing::warn!(
                    "shard {}: entries up to {} are gone",
                    run.shard,
                    entry.index
                );
                shard.skip_to(Index(entry.index.0 - 1), run.term);
            } else if entry.index.0 > last.0 + 1 {
                let gap = StartError(format!(
                    "shard {}: the log goes on at entry {} after {last}; restore the data directory from a backup",
                    run.shard, entry.index
                ));
                self.gaps.insert(run.shard, gap);
                return Ok(());
            }
            shard.unapplied.push(log_entry(&entry, run.term));
            shard.apply_until(run.commit);
        }
        Ok(())
    }
}

fn log_entry(entry: &Entry, term: Term) -> LogEntry {
    LogEntry {
        index: entry.index,
        term,
        kind: entry.kind,
        data: Bytes::copy_from_slice(entry.data),
    }
}

/// Nobody waits for replies during a replay.
pub struct Silence;

impl Replies for Silence {
    fn reply(&mut self, _asked: &Asked, _args: &Args, _reply: &[u8]) {}
}

impl Shard {
    /// Applies what the replay has read, as far as it is known to be committed.
    fn apply_until(&mut self, commit: Index) {
        let mut unapplied = std::mem::take(&mut self.unapplied);
        let ready = unapplied
            .iter()
            .take_while(|entry| entry.index <= commit)
            .count();
        for entry in unapplied.drain(..ready) {
            self.apply(&entry, &mut Silence);
        }
        self.unapplied = unapplied;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::Path;
    use std::sync::Arc;

    use ringfort_cluster::replica::EntryKind;
    use ringfort_cluster::{BatchBuilder, Config, Replica, ReplicaId, Restored, ShardId, Stamp};

    use super::*;
    use crate::durability::wal::{recover_checked, RecordView, RecoverError};
    use crate::durability::{
        recover, DiskWorker, LastStop, RecoverOptions, SharedDisk, SimDisk, Wal, WalOptions,
    };
    use crate::store::{Databases, Limits, StrRef, Timestamp};

    const DIR: &str = "/data";
    const OPTIONS: RecoverOptions = RecoverOptions {
        last_stop: LastStop::Crash,
        accept_data_loss: false,
    };

    /// A shard whose snapshot ends at that index and term.
    fn shard(index: u64, term: u64) -> Shard {
        let databases = Databases::new(1, (1, 2), Limits::default());
        let restored = Restored::fresh([ReplicaId(1)]);
        let replica = Replica::new(&Config::new(ShardId(0), ReplicaId(1)), restored).unwrap();
        let applied = (Index(index), Term(term));
        Shard::new(ShardId(0), databases, replica, applied, Timestamp(0))
    }

    /// Term, index, and what was known to be committed.
    type Written = (u64, u64, u64);
    /// In place of one: the replica is gone.
    const FORGET: Written = (0, 0, 0);

    /// One entry that sets the key `index` to its term.
    fn entry((term, index, _): Written) -> LogEntry {
        let mut batch = BatchBuilder::new();
        let (key, value) = (index.to_string(), term.to_string());
        let set = crate::protocol::OwnedArgs::new(["SET", &key, &value]);
        let (bytes, spans) = set.as_args().parts();
        batch.push(0, bytes, spans).unwrap();
        LogEntry {
            index: Index(index),
            term: Term(term),
            kind: EntryKind::Commands,
            data: batch.finish(Stamp {
                clock_ms: 1,
                seed: 0,
            }),
        }
    }

    /// Writes each generation's entries into a log of its own, then reads all of them back behind the snapshot.
    fn replayed(generations: &[&[Written]], mut shard: Shard) -> Result<Shard, RecoverError> {
        let snapshot = shard.applied();
        shard.snapshot_index = snapshot.0;
        let sim = SimDisk::new(1);
        let disk: SharedDisk = Arc::new(sim.clone());
        for entries in generations {
            let found = recover(&disk, Path::new(DIR), OPTIONS, |_| Ok::<(), StartError>(()))?;
            let options = WalOptions::new(DiskWorker::inline());
            let mut wal = Wal::open(disk.clone(), Path::new(DIR), 0, options, &found, &[]).unwrap();
            for written in *entries {
                if *written == FORGET {
                    wal.forget(&[ShardId(0)]).unwrap();
                    continue;
                }
                wal.begin();
                wal.push(ShardId(0), Index(written.2), &entry(*written));
                wal.write().unwrap();
            }
            sim.process_crash();
        }
        let mut start_over = |_| Ok(self::shard(snapshot.0 .0, snapshot.1 .0));
        let shards = std::slice::from_mut(&mut shard);
        let replay = RefCell::new(Replay::new(shards, false, &mut start_over));
        let consume = |record: &RecordView| {
            let mut items = record.items.iter();
            items.try_for_each(|item| replay.borrow_mut().item(&item))
        };
        let check = || replay.borrow_mut().check();
        recover_checked(&disk, Path::new(DIR), OPTIONS, consume, check)?;
        drop(replay);
        Ok(shard)
    }

    fn waiting(shard: &Shard) -> Vec<(u64, u64)> {
        let pair = |entry: &LogEntry| (entry.term.0, entry.index.0);
        shard.unapplied.iter().map(pair).collect()
    }

    /// What the applied entries have set: index and term.
    fn data(shard: &Shard) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        for index in 1..20u64 {
            let key = index.to_string();
            let keyspace = shard.databases.keyspace(0);
            match keyspace.get_str(key.as_bytes(), Timestamp(1)) {
                Ok(Some(StrRef::Int(term))) => found.push((term as u64, index)),
                other => assert!(matches!(other, Ok(None)), "{index}: a number was set"),
            }
        }
        found
    }

    #[test]
    fn entries_of_a_newer_term_replace_the_tail_that_was_read_before() {
        let entries = [(1, 1, 0), (1, 2, 1), (1, 3, 1), (2, 2, 1), (2, 3, 3)];
        let shard = replayed(&[&entries], shard(0, 0)).unwrap();
        assert_eq!(data(&shard), [(1, 1), (2, 2), (2, 3)]);
        assert!(shard.unapplied.is_empty());
    }

    #[test]
    fn a_shorter_replacement_leaves_nothing_of_the_longer_tail() {
        let entries = [(1, 1, 1), (1, 2, 1), (1, 3, 1), (1, 4, 1), (3, 2, 1)];
        let shard = replayed(&[&entries], shard(0, 0)).unwrap();
        assert_eq!(data(&shard), [(1, 1)]);
        assert_eq!(waiting(&shard), [(3, 2)]);
    }

    #[test]
    fn a_tail_is_replaced_over_a_restart_too() {
        let (before, after) = ([(1, 1, 1), (1, 2, 1), (1, 3, 1)], [(2, 2, 2)]);
        let shard = replayed(&[&before, &after], shard(0, 0)).unwrap();
        assert_eq!(data(&shard), [(1, 1), (2, 2)]);
        assert!(shard.unapplied.is_empty());
    }

    #[test]
    fn a_commit_index_never_applies_an_entry_that_was_cut_off() {
        let entries = [(1, 1, 1), (1, 2, 1), (1, 3, 1), (2, 2, 3), (2, 3, 3)];
        let shard = replayed(&[&entries], shard(0, 0)).unwrap();
        assert_eq!(data(&shard), [(1, 1), (2, 2), (2, 3)]);
    }

    #[test]
    fn entries_that_the_snapshot_covers_are_skipped() {
        let entries = [(1, 1, 1), (1, 2, 2), (1, 3, 3), (1, 4, 4), (1, 5, 4)];
        let shard = replayed(&[&entries], shard(3, 1)).unwrap();
        assert_eq!(data(&shard), [(1, 4)]);
        assert_eq!(waiting(&shard), [(1, 5)]);
    }

    /// A replacement at an index that the snapshot covers was skipped, and the old tail behind it waited in the log again.
    #[test]
    fn a_replacement_that_the_snapshot_covers_still_cuts_off_what_it_replaced() {
        let entries = [(1, 1, 1), (1, 2, 1), (1, 3, 1), (2, 2, 2)];
        let shard = replayed(&[&entries], shard(2, 2)).unwrap();
        assert_eq!(waiting(&shard), []);
        let entries = [(1, 1, 1), (1, 2, 1), (1, 3, 1), (2, 2, 2), (2, 3, 2)];
        let shard = replayed(&[&entries], self::shard(2, 2)).unwrap();
        assert_eq!(waiting(&shard), [(2, 3)]);
    }

    /// A snapshot from a leader cuts the whole log off, and nothing in the log says so.
    #[test]
    fn entries_older_than_the_snapshot_before_them_are_no_continuation() {
        let entries = [(1, 1, 1), (1, 2, 1), (1, 3, 1), (1, 4, 1)];
        let shard = replayed(&[&entries], shard(2, 5)).unwrap();
        assert_eq!(waiting(&shard), []);
        let entries = [(1, 2, 1), (1, 3, 1), (1, 4, 1), (5, 3, 2), (5, 4, 3)];
        let shard = replayed(&[&entries], self::shard(2, 5)).unwrap();
        assert_eq!(
            (data(&shard), waiting(&shard)),
            (vec![(5, 3)], vec![(5, 4)])
        );
    }

    #[test]
    fn a_missing_entry_is_refused_with_its_index() {
        let Err(error) = replayed(&[&[(1, 1, 1), (1, 3, 1)]], shard(0, 0)) else {
            panic!("a gap was taken");
        };
        assert!(
            error.to_string().contains("goes on at entry 3 after 1"),
            "{error}"
        );
    }

    #[test]
    fn what_a_replica_that_is_gone_has_left_is_undone() {
        let entries = [
            (1, 1, 0),
            (1, 2, 2),
            (1, 3, 2),
            FORGET,
            (2, 1, 0),
            (2, 2, 1),
        ];
        let shard = replayed(&[&entries], shard(0, 0)).unwrap();
        assert_eq!(
            (data(&shard), waiting(&shard)),
            (vec![(2, 1)], vec![(2, 2)])
        );
        let shard = replayed(&[&entries[..4]], self::shard(0, 0)).unwrap();
        assert_eq!((data(&shard), waiting(&shard)), (vec![], vec![]));
    }

    /// The later replica's snapshot may lie before the end of what the earlier one had, or behind its beginning.
    #[test]
    fn a_snapshot_after_a_replica_was_dropped_is_that_of_its_successor() {
        let (before, after) = (
            [(1, 3, 3), (1, 4, 4), (1, 5, 4), FORGET],
            [(2, 3, 2), (2, 4, 3)],
        );
        let shard = replayed(&[&before, &after], shard(2, 1)).unwrap();
        assert_eq!(
            (data(&shard), waiting(&shard)),
            (vec![(2, 3)], vec![(2, 4)])
        );
        // There is a gap in front of what the earlier one has left, which matters to nobody.
        let before = [(1, 7, 7), (1, 8, 7), FORGET];
        let shard = replayed(&[&before, &after], self::shard(2, 1)).unwrap();
        assert_eq!(
            (data(&shard), waiting(&shard)),
            (vec![(2, 3)], vec![(2, 4)])
        );
        assert!(replayed(&[&before[..2]], self::shard(2, 1)).is_err());
    }
}
