//! One shard's snapshots through several lives: stopped at any call, on full and failing disks, with power cuts.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use ringfort::durability::snapshot::{find_snapshots, BackgroundSnapshot, SnapshotReader};
use ringfort::durability::{
    DiskCall, DiskWorker, SharedDisk, SimDisk, SnapshotInfo, SnapshotMeta, SnapshotWriter,
};
use ringfort_cluster::replica::Membership;
use ringfort_cluster::{Index, ReplicaId, ShardId, Term};

use crate::random::Random;

fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        shard: ShardId(2),
        index: Index(index),
        term: Term(index / 3),
        membership: Membership {
            voters: vec![ReplicaId(1)],
            learners: Vec::new(),
            ..Membership::default()
        },
        semantics: 1,
        extra: index.to_le_bytes().to_vec(),
    }
}

/// What the snapshot of an index holds.
fn state(seed: u64, index: u64) -> Vec<u8> {
    let mut random = Random(seed ^ index);
    let len = random.below(400_000) as usize;
    random.bytes(len)
}

pub fn run(seed: u64) {
    let mut random = Random(seed);
    let disk = SimDisk::new(random.next());
    let shared: SharedDisk = Arc::new(disk.clone());
    let dir = Path::new("/data");
    let mut durable = 0;
    let mut next = 1;
    for _ in 0..4 {
        check(&shared, dir, seed, durable, next);
        disk.set_short_writes(random.one_in(2));
        if random.one_in(2) {
            disk.stop_at_call(1 + random.below(30));
        }
        for _ in 0..random.below(5) {
            match random.below(6) {
                0 => disk.set_capacity(disk.used() + random.below(500_000)),
                1 => disk.fail(DiskCall::Write, random.below(4), ErrorKind::Other),
                2 => disk.fail(DiskCall::Sync, 0, ErrorKind::Other),
                3 => disk.fail(DiskCall::SyncDir, 0, ErrorKind::Other),
                _ => {}
            }
            let data = state(seed, next);
            if let Some(info) = take(&mut random, &shared, dir, next, &data) {
                assert_eq!(info.meta, meta(next));
                durable = next;
            }
            next += 1;
            disk.set_capacity(u64::MAX);
        }
        match random.one_in(2) {
            true => disk.process_crash(),
            false => disk.power_cut(),
        }
    }
    check(&shared, dir, seed, durable, next);
}

/// The snapshot of an index, if the disk lets it be.
fn take(
    random: &mut Random,
    disk: &SharedDisk,
    dir: &Path,
    index: u64,
    data: &[u8],
) -> Option<SnapshotInfo> {
    let piece = 1 + random.below(100_000) as usize;
    if random.one_in(2) {
        let mut writer = SnapshotWriter::begin(disk.clone(), dir, meta(index)).ok()?;
        for piece in data.chunks(piece) {
            writer.append(piece).ok()?;
        }
        return writer.finish(index).ok();
    }
    let worker = DiskWorker::inline();
    let snapshot = BackgroundSnapshot::begin(worker, disk.clone(), dir, meta(index));
    for piece in data.chunks(piece) {
        assert!(
            snapshot.append(piece.to_vec()).is_ok(),
            "nothing waits without a thread"
        );
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let finished = snapshot.finish(index, move |result| sender.send(result).unwrap_or(()));
    assert!(finished.is_ok());
    receiver.recv().unwrap().ok()
}

/// What is there is whole, and not older than the last one that was reported as durable.
fn check(disk: &SharedDisk, dir: &Path, seed: u64, durable: u64, next: u64) {
    let found = find_snapshots(disk, dir).unwrap();
    let index = found.first().map_or(0, |file| file.index.0);
    assert!(
        found.len() <= 1 && durable <= index && index < next,
        "{found:?} after {durable}"
    );
    assert_eq!(
        disk.list(dir).unwrap().len(),
        found.len(),
        "leftovers are gone"
    );
    if let Some(file) = found.first() {
        let mut reader = SnapshotReader::open(disk, file).unwrap();
        assert_eq!((reader.meta(), reader.records()), (&meta(index), index));
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert!(bytes == state(seed, index), "snapshot {index} changed");
    }
}
