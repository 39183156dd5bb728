//! The log over real files: what goes in comes out, segments come and go.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ringfort_cluster::replica::EntryKind;
use ringfort_cluster::{ReplicaId, Term};

use super::*;
use crate::durability::marker::LastStop;
use crate::durability::RealDisk;

fn options(segment_bytes: u64) -> WalOptions {
    WalOptions {
        segment_bytes,
        salt_seed: 1,
        disk_worker: DiskWorker::inline(),
    }
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

type Seen = Vec<(u16, u64, u64, Vec<u8>)>;

fn read(disk: &SharedDisk, dir: &Path) -> (Recovered, Seen) {
    let mut seen = Vec::new();
    let options = RecoverOptions {
        last_stop: LastStop::Crash,
        accept_data_loss: false,
    };
    let recovered = recover(disk, dir, options, |view| {
        for item in view.items.iter() {
            if let Item::Entries(run) = item {
                seen.extend(
                    run.entries()
                        .map(|e| (run.shard.0, run.term.0, e.index.0, e.data.to_vec())),
                );
            }
        }
        Ok::<(), std::io::Error>(())
    })
    .unwrap();
    (recovered, seen)
}

#[test]
fn entries_and_hard_states_survive_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let disk: SharedDisk = Arc::new(RealDisk);
    let mut expected: Seen = Vec::new();
    for round in 1..=3u64 {
        let (recovered, seen) = read(&disk, dir.path());
        assert_eq!(seen, expected);
        let mut states: Vec<(ShardId, HardState)> = recovered
            .hard_states()
            .iter()
            .map(|(shard, state)| (*shard, *state))
            .collect();
        if round > 1 {
            assert_eq!(
                states.iter().map(|(_, state)| state.term.0).max(),
                Some(round - 1)
            );
        }
        states.retain(|(shard, _)| shard.0 < 64);
        let mut wal = Wal::open(
            disk.clone(),
            dir.path(),
            0,
            options(1 << 16),
            &recovered,
            &states,
        )
        .unwrap();
        for index in (round * 1000)..(round * 1000 + 500) {
            let data = vec![index as u8; 300];
            wal.begin();
            wal.push(ShardId(3), Index(index - 1), &entry(round, index, &data));
            wal.push(ShardId(5), Index(index - 1), &entry(round, index, b"x"));
            if index % 100 == 0 {
                let state = HardState {
                    term: Term(round),
                    vote: ReplicaId(1),
                    commit: Index(0),
                };
                wal.push_hard_state(ShardId(3), state);
            }
            wal.write().unwrap();
            expected.push((3, round, index, data));
            expected.push((5, round, index, b"x".to_vec()));
        }
    }
}
