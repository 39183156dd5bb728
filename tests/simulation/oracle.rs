//! Sees all replicas at once and holds what must be true of them together: one leader a term, one entry an index, one digest
//! an index, stamps that never go back, nothing acknowledged that is not there in the end.

use std::collections::BTreeMap;
use std::hash::Hasher;

use ringfort::store::rdb::put_record;
use ringfort::store::Timestamp;
use ringfort_cluster::replica::EntryKind;
use ringfort_cluster::{Batch, Index, LogEntry, ReplicaId, ShardId, Stamp, Term};

use ringfort::node::shard::Shard;

/// What is known about one place of a shard's log.
struct Applied {
    term: Term,
    data: u64,
    digest: u64,
    /// A sum for every key, kept when the story is told.
    keys: Vec<(String, u64)>,
}

/// The truth about all shards.
#[derive(Default)]
pub struct Oracle {
    leaders: BTreeMap<(ShardId, Term), ReplicaId>,
    applied: BTreeMap<(ShardId, Index), Applied>,
    /// Of what came back from a log before anybody had applied it.
    restored: BTreeMap<(ShardId, Index), u64>,
    stamps: BTreeMap<ShardId, (Index, Stamp)>,
    /// The highest index at which something was acknowledged.
    acknowledged: BTreeMap<ShardId, Index>,
    pub entries: u64,
    pub digests: u64,
    pub elections: u64,
    /// Keep what is needed to say where replicas differ.
    pub keeps_keys: bool,
}

/// A sum of bytes, the same in every run.
pub fn sum(bytes: &[u8]) -> u64 {
    #[allow(deprecated)]
    let mut hasher = std::hash::SipHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

impl Oracle {
    /// To be told whenever a replica may have become the leader.
    pub fn leads(&mut self, shard: ShardId, term: Term, replica: ReplicaId) -> Result<(), String> {
        let known = self.leaders.entry((shard, term)).or_insert_with(|| {
            self.elections += 1;
            replica
        });
        if *known == replica {
            return Ok(());
        }
        Err(format!(
            "shard {shard} has two leaders in term {term}: replicas {known} and {replica}"
        ))
    }

    /// To be told of every entry that a replica has applied, with the shard as it is behind it.
    pub fn applied(&mut self, entry: &LogEntry, shard: &Shard) -> Result<(), String> {
        let data = sum(&entry.data);
        let digest = digest(shard);
        self.digests += 1;
        let key = (shard.id, entry.index);
        if self
            .restored
            .get(&key)
            .is_some_and(|known| *known != digest)
        {
            return Err(came_back(shard));
        }
        let keys = match self.keeps_keys {
            true => keys(shard),
            false => Vec::new(),
        };
        if let Some(known) = self.applied.get(&key) {
            return agree(known, entry, (data, digest), &keys, shard);
        }
        self.entries += 1;
        let applied = Applied {
            term: entry.term,
            data,
            digest,
            keys,
        };
        self.applied.insert(key, applied);
        self.check_stamp(shard.id, entry)
    }

    /// To be told of a shard that came back from a snapshot or from its log.
    pub fn restored(&mut self, shard: &Shard) -> Result<(), String> {
        let key = (shard.id, shard.applied().0);
        // Before its first entry a replica has nothing, or what its shard began with.
        if key.1 == Index::ZERO {
            return Ok(());
        }
        let digest = digest(shard);
        let known = match self.applied.get(&key) {
            Some(applied) => applied.digest,
            // Known to be committed, and nobody has applied it yet.
            None => *self.restored.entry(key).or_insert(digest),
        };
        match known == digest {
            true => Ok(()),
            false => Err(came_back(shard)),
        }
    }

    pub fn acknowledged(&mut self, shard: ShardId, index: Index) {
        let highest = self.acknowledged.entry(shard).or_default();
        *highest = (*highest).max(index);
    }

    /// At the end: what was acknowledged is there.
    pub fn holds(&self, shard: &Shard) -> Result<(), String> {
        let index = self.acknowledged.get(&shard.id).copied();
        let index = index.unwrap_or_default();
        if shard.applied().0 >= index {
            return Ok(());
        }
        Err(format!(
            "shard {}: entry {index} was acknowledged, and in the end there are only {}",
            shard.id,
            shard.applied().0
        ))
    }

    fn check_stamp(&mut self, shard: ShardId, entry: &LogEntry) -> Result<(), String> {
        if entry.kind != EntryKind::Commands {
            return Ok(());
        }
        let batch = Batch::decode(&entry.data).map_err(|error| error.to_string())?;
        let stamp = batch.stamp();
        let (index, last) = self.stamps.get(&shard).copied().unwrap_or_default();
        if entry.index <= index {
            return Ok(());
        }
        self.stamps.insert(shard, (entry.index, stamp));
        if stamp.clock_ms >= last.clock_ms {
            return Ok(());
        }
        Err(format!(
            "invariant 2: shard {shard} stamps entry {} with {} after {}",
            entry.index, stamp.clock_ms, last.clock_ms
        ))
    }
}

fn came_back(shard: &Shard) -> String {
    format!(
        "shard {} came back at {} with other data than its peers had there",
        shard.id,
        shard.applied().0
    )
}

fn agree(
    known: &Applied,
    entry: &LogEntry,
    (data, digest): (u64, u64),
    keys: &[(String, u64)],
    shard: &Shard,
) -> Result<(), String> {
    let (id, replica, index) = (shard.id, shard.replica.id(), entry.index);
    if (known.term, known.data) != (entry.term, data) {
        return Err(format!(
            "shard {id}: replica {replica} applied another entry than its peers at {index}"
        ));
    }
    if known.digest == digest {
        return Ok(());
    }
    let differ = |(one, other): &(&(String, u64), &(String, u64))| one != other;
    let first = known.keys.iter().zip(keys).find(differ);
    let which = first.map_or(String::new(), |(one, other)| {
        format!(": {} and {}", one.0, other.0)
    });
    Err(format!(
        "invariant 4: shard {id}: replica {replica} has other data than its peers at {index}{which}"
    ))
}

/// A sum of all that a shard holds.
fn digest(shard: &Shard) -> u64 {
    match &shard.meta {
        Some(topology) => sum(&topology.encode().expect("a topology")),
        None => shard.databases.digest().sum as u64,
    }
}

/// All keys with their sums, in order.
fn keys(shard: &Shard) -> Vec<(String, u64)> {
    let mut keys = Vec::new();
    for keyspace in shard.databases.iter() {
        keyspace.for_each(Timestamp(0), |key, value, deadline| {
            let mut bytes = Vec::new();
            put_record(0, key, deadline, value, &mut bytes);
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            keys.push((shown, sum(&bytes)));
        });
    }
    keys.sort();
    keys
}
