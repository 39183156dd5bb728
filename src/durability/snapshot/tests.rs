//! Snapshots over real files.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::durability::{DiskWorker, RealDisk};

pub(super) fn meta(shard: u16, index: u64) -> SnapshotMeta {
    SnapshotMeta {
        shard: ShardId(shard),
        index: Index(index),
        term: Term(3),
        membership: Membership {
            voters: vec![ringfort_cluster::ReplicaId(1)],
            learners: vec![],
            ..Membership::default()
        },
        semantics: 1,
        extra: b"extra".to_vec(),
    }
}

fn write(disk: &SharedDisk, dir: &Path, meta: SnapshotMeta, data: &[u8]) -> SnapshotInfo {
    let mut writer = SnapshotWriter::begin(disk.clone(), dir, meta).unwrap();
    for piece in data.chunks(70_001) {
        writer.append(piece).unwrap();
    }
    writer.finish(data.len() as u64 / 10).unwrap()
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 % 251) as u8).collect()
}

#[test]
fn a_snapshot_comes_back_as_the_stream_that_was_appended() {
    let dir = tempfile::tempdir().unwrap();
    let disk: SharedDisk = Arc::new(RealDisk);
    for len in [0, 1, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, 3_000_000] {
        let data = data(len);
        let info = write(&disk, dir.path(), meta(4, len as u64 + 1), &data);
        let found = find_snapshots(&disk, dir.path()).unwrap();
        assert_eq!(found.len(), 1, "the older one is gone");
        assert_eq!(found[0].path, info.path);
        let mut reader = SnapshotReader::open(&disk, &found[0]).unwrap();
        assert_eq!(
            (reader.meta(), reader.stream_bytes()),
            (&info.meta, len as u64)
        );
        assert_eq!(reader.records(), len as u64 / 10);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == data, "{len} bytes");
    }
}

#[test]
fn a_snapshot_given_up_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let disk: SharedDisk = Arc::new(RealDisk);
    let kept = write(&disk, dir.path(), meta(1, 5), b"kept");
    let mut writer = SnapshotWriter::begin(disk.clone(), dir.path(), meta(1, 6)).unwrap();
    writer.append(b"half").unwrap();
    writer.abort();
    assert_eq!(disk.list(dir.path()).unwrap().len(), 1);
    assert_eq!(
        find_snapshots(&disk, dir.path()).unwrap()[0].path,
        kept.path
    );
}

#[test]
fn the_start_removes_half_written_and_replaced_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let disk: SharedDisk = Arc::new(RealDisk);
    let newest = write(&disk, dir.path(), meta(1, 10), b"new");
    for name in ["shard-1-9.snap", "shard-1-11.snap.tmp"] {
        std::fs::write(dir.path().join(name), b"left").unwrap();
    }
    let found = find_snapshots(&disk, dir.path()).unwrap();
    assert_eq!(
        found.iter().map(|file| &file.path).collect::<Vec<_>>(),
        [&newest.path]
    );
    assert_eq!(disk.list(dir.path()).unwrap(), ["shard-1-10.snap"]);
}

#[test]
fn a_background_snapshot_reports_when_it_is_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let disk: SharedDisk = Arc::new(RealDisk);
    let (worker, thread) = DiskWorker::start(None, Box::new(|_| {})).unwrap();
    let snapshot = BackgroundSnapshot::begin(worker.clone(), disk.clone(), dir.path(), meta(2, 7));
    let data = data(2_000_000);
    for chunk in data.chunks(100_000) {
        let mut chunk = chunk.to_vec();
        while let Err(back) = snapshot.append(chunk) {
            chunk = back;
            std::thread::yield_now();
        }
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let finished = snapshot.finish(20, move |result| sender.send(result).unwrap());
    assert!(finished.is_ok());
    let info = receiver.recv().unwrap().unwrap();
    assert_eq!(info.meta, meta(2, 7));
    let mut reader =
        SnapshotReader::open(&disk, &find_snapshots(&disk, dir.path()).unwrap()[0]).unwrap();
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert!(read == data);
    drop(worker);
    thread.join().unwrap();
}
