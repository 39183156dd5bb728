//! The log's promises one by one. What happens between any two calls is in `tests/fuzz_durability`.

mod forgetting;
mod freeing;
mod full_disk;
mod reading;

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ringfort_cluster::replica::EntryKind;
use ringfort_cluster::{ReplicaId, Term};

use super::*;
use crate::durability::marker::LastStop;
use crate::durability::sim_disk::{DiskCall, SimDisk};
use crate::durability::RealDisk;

const SEGMENT_BYTES: u64 = 16_384;

fn options() -> WalOptions {
    WalOptions {
        segment_bytes: SEGMENT_BYTES,
        salt_seed: 1,
        disk_worker: DiskWorker::inline(),
        headroom: Arc::default(),
        expects_small_writes: false,
    }
}

fn dir() -> &'static Path {
    Path::new("/data")
}

fn entry(term: u64, index: u64, data: &[u8]) -> LogEntry {
    let (kind, data) = (EntryKind::Commands, Bytes::copy_from_slice(data));
    LogEntry {
        index: Index(index),
        term: Term(term),
        kind,
        data,
    }
}

fn state(term: u64, vote: u64) -> HardState {
    HardState {
        term: Term(term),
        vote: ReplicaId(vote),
        commit: Index(0),
    }
}

/// Shard, term, index, data.
type Seen = Vec<(u16, u64, u64, Vec<u8>)>;

fn try_read(
    disk: &SharedDisk,
    dir: &Path,
    options: RecoverOptions,
) -> Result<(Recovered, Seen), RecoverError> {
    let mut seen = Vec::new();
    let recovered = recover(disk, dir, options, |view| {
        for item in view.items.iter() {
            if let Item::Entries(run) = item {
                let (shard, term) = (run.shard.0, run.term.0);
                seen.extend(
                    run.entries()
                        .map(|e| (shard, term, e.index.0, e.data.to_vec())),
                );
            }
        }
        Ok::<(), io::Error>(())
    })?;
    Ok((recovered, seen))
}

fn after(last_stop: LastStop) -> RecoverOptions {
    RecoverOptions {
        last_stop,
        accept_data_loss: false,
    }
}

fn read(disk: &SharedDisk, dir: &Path) -> (Recovered, Seen) {
    try_read(disk, dir, after(LastStop::Crash)).unwrap()
}

fn open(disk: &SharedDisk, recovered: &Recovered) -> Wal {
    Wal::open(disk.clone(), dir(), 0, options(), recovered, &[]).unwrap()
}

fn fresh() -> (SimDisk, SharedDisk, Wal) {
    let disk = SimDisk::new(7);
    let shared: SharedDisk = Arc::new(disk.clone());
    let (recovered, _) = read(&shared, dir());
    let wal = open(&shared, &recovered);
    (disk, shared, wal)
}

/// One record with one entry.
fn put(wal: &mut Wal, shard: u16, term: u64, index: u64, len: usize) -> RecordPosition {
    wal.begin();
    wal.push(
        ShardId(shard),
        Index(0),
        &entry(term, index, &vec![index as u8; len]),
    );
    wal.write().unwrap()
}

/// Writes 2,000-byte entries until the log is in its `sequence`-th segment; says the last index.
fn fill_to(wal: &mut Wal, shard: u16, first: u64, sequence: u64) -> u64 {
    (first..)
        .find(|index| put(wal, shard, 1, *index, 2_000).sequence == sequence)
        .unwrap()
}

fn all(_: ShardId) -> Index {
    Index(u64::MAX)
}
