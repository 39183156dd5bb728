//! What the log should hold: every record that was attempted, and what must have become of it.

use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::Bytes;
use ringfort::durability::wal::{recover, Item, RecordNumber, RecoverError, Recovered};
use ringfort::durability::{RecoverOptions, SharedDisk};
use ringfort_cluster::{HardState, Index, LogEntry, ShardId};

/// What one record holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    pub entries: Vec<(ShardId, Index, LogEntry)>,
    pub hard_states: Vec<(ShardId, HardState)>,
}

impl Content {
    /// The unique number that every record of the tests carries at the start of its first entry; none in the log's own records.
    pub fn id(&self) -> Option<u64> {
        let data = &self.entries.first()?.2.data;
        Some(u64::from_le_bytes(data.get(..8)?.try_into().ok()?))
    }
}

/// A record that was handed to the log.
#[derive(Clone)]
pub struct Attempt {
    pub content: Content,
    /// `write` said yes.
    pub written: bool,
    /// Its number, once it is written.
    pub number: Option<RecordNumber>,
    /// A sync that came after said yes.
    pub synced: bool,
}

/// The records of one worker in one run of the process.
#[derive(Clone, Default)]
pub struct Chain {
    pub attempts: Vec<Attempt>,
}

impl Chain {
    /// A new attempt takes the place of one that failed: what that left on the disk is written over.
    pub fn attempt(&mut self, content: Content) {
        self.drop_failed();
        self.attempts.push(Attempt {
            content,
            written: false,
            number: None,
            synced: false,
        });
    }

    /// The log says that it is durable up to here: it also syncs by itself, before it frees a segment.
    pub fn synced_until(&mut self, last: RecordNumber) {
        for attempt in &mut self.attempts {
            attempt.synced |= attempt.number.is_some_and(|number| number <= last);
        }
    }

    pub fn drop_failed(&mut self) {
        if self.attempts.last().is_some_and(|last| !last.written) {
            self.attempts.pop();
        }
    }
}

/// What recovery gave.
pub struct Read {
    pub recovered: Recovered,
    pub records: Vec<Content>,
}

pub fn read(
    disk: &SharedDisk,
    dir: &std::path::Path,
    options: RecoverOptions,
) -> Result<Read, RecoverError> {
    let mut records = Vec::new();
    let recovered = recover(disk, dir, options, |view| {
        let mut content = Content::default();
        for item in view.items.iter() {
            match item {
                Item::HardState { shard, state } => content.hard_states.push((shard, state)),
                Item::Forget(shard) => panic!("nobody forgot shard {shard}"),
                Item::Entries(run) => content.entries.extend(run.entries().map(|entry| {
                    let data = Bytes::copy_from_slice(entry.data);
                    let (index, kind) = (entry.index, entry.kind);
                    (
                        run.shard,
                        run.commit,
                        LogEntry {
                            index,
                            term: run.term,
                            kind,
                            data,
                        },
                    )
                })),
            }
        }
        records.push(content);
        Ok::<(), Infallible>(())
    })?;
    Ok(Read { recovered, records })
}

/// The log of one shard by index, as replaying the records makes it.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct ShardLog {
    pub entries: BTreeMap<u64, LogEntry>,
}

impl ShardLog {
    /// An index that comes again replaces the entry and cuts off those after it, whether the snapshot covers it or not.
    pub fn put(&mut self, entry: &LogEntry) {
        self.entries.split_off(&entry.index.0);
        self.entries.insert(entry.index.0, entry.clone());
    }

    pub fn last(&self) -> u64 {
        self.entries.keys().next_back().copied().unwrap_or(0)
    }

    pub fn above(&self, covered: u64) -> Vec<&LogEntry> {
        self.entries
            .range(covered + 1..)
            .map(|(_, entry)| entry)
            .collect()
    }
}

/// All shards' logs.
pub fn replay<'a>(shards: u16, records: impl Iterator<Item = &'a Content>) -> Vec<ShardLog> {
    let mut logs = vec![ShardLog::default(); usize::from(shards)];
    for record in records {
        for (shard, _, entry) in &record.entries {
            logs[usize::from(shard.0)].put(entry);
        }
    }
    logs
}
