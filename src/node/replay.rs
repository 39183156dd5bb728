//! Brings the entries of the log back into the shards while recovery reads them. Knows no files and no snapshots: a
//! shard tells by what it has applied where its snapshot ends.

use bytes::Bytes;
use ringfort_cluster::{Index, LogEntry, Term};

use crate::durability::wal::{Entry, Run};
use crate::protocol::Args;

use super::recovery::StartError;
use super::shard::{Asked, Replies, Shard};

/// Applies the log while it is read. What is committed goes through at once; the rest waits in the replica's log.
pub struct Replay<'a> {
    pub shards: &'a mut [Shard],
    /// The operator's consent to go on where entries are missing.
    pub accept_data_loss: bool,
}

impl Replay<'_> {
    /// Takes in entries as they were written: one that comes again replaces what was read before, and what followed that.
    ///
    /// # Errors
    /// When entries are missing, or the shard is none of this node.
    pub fn run(&mut self, run: &Run) -> Result<(), StartError> {
        let shard = self.shards.get_mut(usize::from(run.shard.0));
        let shard = shard.ok_or_else(|| {
            StartError(format!("the log holds shard {}, which is none", run.shard))
        })?;
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
                return Err(StartError(format!(
                    "shard {}: the log goes on at entry {} after {last}; restore the data directory from a backup",
                    run.shard, entry.index
                )));
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
    use std::path::Path;
    use std::sync::Arc;

    use ringfort_cluster::replica::EntryKind;
    use ringfort_cluster::{BatchBuilder, Config, Replica, ReplicaId, Restored, ShardId, Stamp};

    use super::*;
    use crate::durability::wal::{Item, RecoverError};
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

    /// One entry that sets the key `index` to its term.
    fn entry((term, index, _): Written) -> LogEntry {
        let mut batch = BatchBuilder::new();
        let (key, value) = (index.to_string(), term.to_string());
        let argv = [&b"SET"[..], key.as_bytes(), value.as_bytes()];
        batch.push(0, argv).unwrap();
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
        let sim = SimDisk::new(1);
        let disk: SharedDisk = Arc::new(sim.clone());
        for entries in generations {
            let found = recover(&disk, Path::new(DIR), OPTIONS, |_| Ok::<(), StartError>(()))?;
            let options = WalOptions::new(DiskWorker::inline());
            let mut wal = Wal::open(disk.clone(), Path::new(DIR), 0, options, &found, &[]).unwrap();
            for written in *entries {
                wal.begin();
                wal.push(ShardId(0), Index(written.2), &entry(*written));
                wal.write().unwrap();
            }
            sim.process_crash();
        }
        let mut replay = Replay {
            shards: std::slice::from_mut(&mut shard),
            accept_data_loss: false,
        };
        recover(&disk, Path::new(DIR), OPTIONS, |record| {
            record.items.iter().try_for_each(|item| match item {
                Item::Entries(run) => replay.run(&run),
                Item::HardState { .. } => Ok(()),
            })
        })?;
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
}
