//! The log's promises one by one. What happens between any two calls is in `tests/fuzz_durability`.

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

#[test]
fn entries_and_hard_states_survive_restarts_on_real_files() {
    let dir = tempfile::tempdir().unwrap();
    let disk: SharedDisk = Arc::new(RealDisk);
    let mut expected: Seen = Vec::new();
    for round in 1..=3u64 {
        let (recovered, seen) = read(&disk, dir.path());
        assert_eq!(seen, expected);
        let states: Vec<(ShardId, HardState)> = recovered
            .hard_states()
            .iter()
            .map(|(shard, state)| (*shard, *state))
            .collect();
        let last_term = states.iter().map(|(_, state)| state.term.0).max();
        assert_eq!(last_term, (round > 1).then_some(round - 1));
        let mut wal =
            Wal::open(disk.clone(), dir.path(), 0, options(), &recovered, &states).unwrap();
        for index in (round * 1000)..(round * 1000 + 300) {
            let data = vec![index as u8; 300];
            wal.begin();
            wal.push(ShardId(3), Index(index - 1), &entry(round, index, &data));
            wal.push(ShardId(5), Index(index - 1), &entry(round, index, b"x"));
            if index % 100 == 0 {
                wal.push_hard_state(ShardId(3), state(round, 1));
            }
            wal.write().unwrap();
            expected.push((3, round, index, data));
            expected.push((5, round, index, b"x".to_vec()));
        }
    }
}

#[test]
fn a_torn_record_vanishes_for_all_its_shards() {
    let (disk, shared, mut wal) = fresh();
    put(&mut wal, 1, 1, 1, 100);
    wal.begin();
    wal.push(ShardId(1), Index(1), &entry(1, 2, &[2; 400]));
    wal.push(ShardId(2), Index(0), &entry(1, 1, &[2; 400]));
    let torn = wal.write().unwrap();
    let path = dir().join("wal-0-000001.log");
    // As if the process had died with most of the record written.
    shared
        .open(&path)
        .unwrap()
        .write_at(torn.offset + 800, &[0; 64])
        .unwrap();
    disk.process_crash();
    let (recovered, seen) = read(&shared, dir());
    assert_eq!(seen, [(1, 1, 1, vec![1; 100])]);
    assert_eq!(recovered.losses, []);
    assert_eq!(
        shared.open(&path).unwrap().len().unwrap(),
        torn.offset + 48,
        "the file ends there"
    );
}

#[test]
fn a_damaged_record_before_sound_ones_is_an_error_that_says_what_to_do() {
    let (disk, shared, mut wal) = fresh();
    put(&mut wal, 1, 1, 1, 100);
    let bad = put(&mut wal, 1, 1, 2, 100);
    put(&mut wal, 1, 1, 3, 100);
    disk.process_crash();
    let path = dir().join("wal-0-000001.log");
    assert!(disk.flip_bit(&path, (bad.offset + 90) * 8));
    let error = try_read(&shared, dir(), after(LastStop::Crash))
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "WAL segment /data/wal-0-000001.log is corrupt at byte {}: a record is damaged and later ones are not; this \
             node is the only replica: restore the directory from a backup, or start once with --accept-data-loss to \
             drop everything from that record on",
            bad.offset
        )
    );
    let options = RecoverOptions {
        accept_data_loss: true,
        ..after(LastStop::Crash)
    };
    let (recovered, seen) = try_read(&shared, dir(), options).unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (recovered.losses.len(), recovered.losses[0].records),
        (1, 1)
    );
    assert_eq!(
        read(&shared, dir()).1,
        seen,
        "accepted once, accepted for good"
    );
}

#[test]
fn after_a_power_cut_only_what_was_never_synced_may_be_missing() {
    for synced in [false, true] {
        let (disk, shared, mut wal) = fresh();
        put(&mut wal, 1, 1, 1, 100);
        let bad = put(&mut wal, 1, 1, 2, 100);
        if synced {
            wal.sync().unwrap();
        }
        put(&mut wal, 1, 1, 3, 100);
        disk.process_crash();
        assert!(disk.flip_bit(&dir().join("wal-0-000001.log"), bad.offset * 8));
        match try_read(&shared, dir(), after(LastStop::PowerCut)) {
            Ok((recovered, seen)) => {
                assert!(!synced);
                assert_eq!(seen.len(), 1);
                let loss = &recovered.losses[0];
                assert_eq!((loss.offset, loss.records), (bad.offset, 1));
                assert_eq!(loss.damage, None);
            }
            Err(error) => assert!(synced, "{error}"),
        }
    }
}

#[test]
fn a_log_that_ended_in_order_must_have_its_end() {
    let (disk, shared, mut wal) = fresh();
    let last = put(&mut wal, 1, 1, 1, 100);
    wal.close().unwrap();
    let (_, seen) = try_read(&shared, dir(), after(LastStop::Orderly)).unwrap();
    assert_eq!(seen.len(), 1);
    let file = shared.open(&dir().join("wal-0-000001.log")).unwrap();
    file.set_len(last.offset).unwrap();
    disk.process_crash();
    let error = try_read(&shared, dir(), after(LastStop::Orderly))
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, RecoverError::Damaged(_)), "{error}");
}

#[test]
fn a_full_disk_refuses_before_anything_is_written_and_works_again_when_freed() {
    let (disk, shared, mut wal) = fresh();
    disk.set_capacity(disk.used());
    let mut index = 0;
    let refused = loop {
        match wal.reserve(record_bytes(1, 1, 2_000)) {
            Ok(()) => index += 1,
            Err(error) => break error,
        }
        put(&mut wal, 1, 1, index, 2_000);
    };
    assert!(refused.is_full());
    let message = refused.to_string();
    assert!(
        message.starts_with("the disk is full") && message.contains("/data"),
        "{message}"
    );
    assert!(
        wal.reserve(100_000).unwrap_err().is_full(),
        "and says so again"
    );
    disk.set_capacity(u64::MAX);
    wal.reserve(record_bytes(1, 1, 2_000)).unwrap();
    put(&mut wal, 1, 1, index + 1, 2_000);
    disk.process_crash();
    let (_, seen) = read(&shared, dir());
    assert_eq!(
        seen.iter().map(|e| e.2).collect::<Vec<_>>(),
        (1..=index + 1).collect::<Vec<_>>()
    );
}

#[test]
fn a_nearly_full_disk_gets_smaller_segments() {
    let disk = SimDisk::new(1);
    let shared: SharedDisk = Arc::new(disk.clone());
    disk.set_capacity(600_000);
    let (recovered, _) = read(&shared, dir());
    let options = WalOptions {
        segment_bytes: SEGMENT_BYTES_DEFAULT,
        ..options()
    };
    let mut wal = Wal::open(shared, dir(), 0, options, &recovered, &[]).unwrap();
    assert_eq!(disk.used(), 524_288);
    let mut index = 0;
    while wal.reserve(record_bytes(1, 1, 2_000)).is_ok() {
        index += 1;
        put(&mut wal, 1, 1, index, 2_000);
    }
    assert!(disk.used() > 560_000, "{}", disk.used());
}

#[test]
fn a_record_longer_than_a_segment_gets_one_of_its_size() {
    let (disk, shared, mut wal) = fresh();
    put(&mut wal, 1, 1, 1, 10_000);
    let large = put(&mut wal, 1, 1, 2, 100_000);
    put(&mut wal, 1, 1, 3, 10_000);
    assert_eq!(large.sequence, 2);
    disk.process_crash();
    let (_, seen) = read(&shared, dir());
    assert_eq!(
        seen.iter().map(|e| (e.2, e.3.len())).collect::<Vec<_>>(),
        [(1, 10_000), (2, 100_000), (3, 10_000)]
    );
    let (_, _, mut wal) = fresh();
    let refused = wal.reserve(RECORD_BYTES_MAX + 1).unwrap_err();
    assert!(matches!(refused, WalError::TooLarge { .. }) && !refused.is_full());
}

#[test]
fn a_failed_write_may_be_tried_again() {
    let (disk, shared, mut wal) = fresh();
    wal.begin();
    wal.push(ShardId(1), Index(0), &entry(1, 1, b"first"));
    disk.fail(DiskCall::Write, 0, io::ErrorKind::Other);
    let error = wal.write().unwrap_err();
    assert!(
        error.to_string().contains("/data/wal-0-000001.log"),
        "{error}"
    );
    assert!(!wal.is_record_empty());
    wal.push(ShardId(1), Index(0), &entry(1, 2, b"and one more"));
    wal.write().unwrap();
    disk.process_crash();
    assert_eq!(read(&shared, dir()).1.len(), 2);
}

#[test]
fn a_failed_sync_is_final() {
    let (disk, _, mut wal) = fresh();
    put(&mut wal, 1, 1, 1, 10);
    let syncer = wal.syncer();
    disk.fail(DiskCall::Sync, 0, io::ErrorKind::Other);
    for _ in 0..3 {
        assert!(matches!(syncer.sync(), Err(WalError::SyncFailed { .. })));
        assert!(matches!(wal.sync(), Err(WalError::SyncFailed { .. })));
        wal.begin();
        assert!(matches!(wal.write(), Err(WalError::SyncFailed { .. })));
    }
    assert!(wal.synced() < wal.written());
}

#[test]
fn freed_segments_are_recycled_and_their_old_records_stay_dead() {
    let (disk, shared, mut wal) = fresh();
    let mut index = fill_to(&mut wal, 1, 1, 6);
    wal.sync().unwrap();
    assert_eq!(wal.release(&all), 5);
    let names = shared.list(dir()).unwrap();
    assert_eq!(
        names.iter().filter(|name| name.ends_with(".spare")).count(),
        2,
        "{names:?}"
    );
    assert_eq!(names.len(), 3, "the others are gone: {names:?}");
    index = fill_to(&mut wal, 1, index + 1, 8);
    disk.process_crash();
    let (_, seen) = read(&shared, dir());
    assert_eq!(seen.last().map(|e| e.2), Some(index));
    assert!(seen.windows(2).all(|pair| pair[0].2 + 1 == pair[1].2));
}

/// Segments were once freed wherever all their entries were covered. A new leader's entry in a freed one had cut off the
/// tail that an older segment, kept for another shard, still held: the tail came back after a restart.
#[test]
fn segments_are_freed_oldest_first_so_that_replaced_entries_stay_dead() {
    let (disk, shared, mut wal) = fresh();
    put(&mut wal, 2, 1, 1, 100);
    put(&mut wal, 1, 1, 1, 100);
    put(&mut wal, 1, 1, 2, 100);
    let filled = fill_to(&mut wal, 3, 1, 2);
    put(&mut wal, 1, 2, 1, 100);
    fill_to(&mut wal, 3, filled + 1, 3);
    wal.sync().unwrap();
    let covered = |shard: ShardId| Index([0, 1, 0, u64::MAX][usize::from(shard.0)]);
    assert_eq!(wal.release(&covered), 0);
    assert_eq!(wal.oldest_holders(&covered), [ShardId(1), ShardId(2)]);
    disk.process_crash();
    let (_, seen) = read(&shared, dir());
    let of_shard: Vec<(u64, u64)> = seen
        .iter()
        .filter(|e| e.0 == 1)
        .map(|e| (e.1, e.2))
        .collect();
    assert_eq!(
        of_shard,
        [(1, 1), (1, 2), (2, 1)],
        "the replacement comes after what it replaces"
    );
}

/// The same over a restart, which may give the shard to another worker: its new log must not be freed while an older one
/// still holds the tail that the new log cuts off.
#[test]
fn a_new_log_is_freed_only_after_the_old_ones() {
    let (disk, shared, mut wal) = fresh();
    put(&mut wal, 2, 1, 1, 100);
    put(&mut wal, 1, 1, 1, 100);
    put(&mut wal, 1, 1, 2, 100);
    disk.process_crash();
    let (recovered, _) = read(&shared, dir());
    let mut wal = open(&shared, &recovered);
    put(&mut wal, 1, 2, 1, 100);
    fill_to(&mut wal, 3, 1, 5);
    wal.sync().unwrap();
    let covered = |shard: ShardId| Index([0, 1, 0, u64::MAX][usize::from(shard.0)]);
    assert_eq!(
        (wal.old_segments().release(&covered), wal.release(&covered)),
        (0, 0)
    );
    assert_eq!(wal.oldest_holders(&covered), [ShardId(1), ShardId(2)]);
    let covered = |shard: ShardId| Index([0, 2, 1, u64::MAX][usize::from(shard.0)]);
    assert_eq!(
        (wal.old_segments().release(&covered), wal.release(&covered)),
        (1, 3)
    );
}

/// RedisRaft lost term and vote when it rewrote its log, and committed data with them.
#[test]
fn votes_outlive_the_segments_they_were_written_in() {
    let (disk, shared, mut wal) = fresh();
    wal.begin();
    wal.push_hard_state(ShardId(9), state(5, 3));
    wal.write().unwrap();
    fill_to(&mut wal, 1, 1, 4);
    assert_eq!(
        wal.release(&all),
        0,
        "the hard states in the next segment are not synced yet"
    );
    wal.sync().unwrap();
    assert_eq!(wal.release(&all), 3);
    disk.power_cut();
    let (recovered, _) = try_read(&shared, dir(), after(LastStop::PowerCut)).unwrap();
    assert_eq!(recovered.hard_states()[&ShardId(9)], state(5, 3));
}

#[test]
fn another_number_of_workers_takes_over_the_old_logs() {
    let disk = SimDisk::new(3);
    let shared: SharedDisk = Arc::new(disk.clone());
    for workers in [2u32, 3, 1] {
        let (recovered, seen) = read(&shared, dir());
        let first = seen.iter().map(|e| e.2).max().unwrap_or(0) + 1;
        let mut wals: Vec<Wal> = (0..workers)
            .map(|worker| {
                Wal::open(shared.clone(), dir(), worker, options(), &recovered, &[]).unwrap()
            })
            .collect();
        for (worker, wal) in wals.iter_mut().enumerate() {
            for shard in (0..6).filter(|shard| shard % workers as usize == worker) {
                put(wal, shard as u16, u64::from(workers), first, 50);
            }
            // Not before all shards of all workers are covered: the old logs hold them all.
            assert_eq!(wal.release(&all), 0);
        }
        disk.process_crash();
    }
    let (recovered, seen) = read(&shared, dir());
    for shard in 0..6u16 {
        let of_shard: Vec<(u64, u64)> = seen
            .iter()
            .filter(|e| e.0 == shard)
            .map(|e| (e.1, e.2))
            .collect();
        assert_eq!(of_shard, [(2, 1), (3, 2), (1, 3)]);
    }
    let old = recovered.old_segments();
    assert!(old.bytes() > 0);
    let covered = |shard: ShardId| Index(if shard.0 == 5 { 0 } else { 99 });
    assert_eq!(old.oldest_holders(&covered), []);
    assert_eq!(
        old.release(&covered),
        1,
        "only the first log has no entry of shard 5"
    );
    old.release(&all);
    assert!(old.is_empty());
    assert_eq!(shared.list(dir()).unwrap(), Vec::<String>::new());
}

#[test]
fn the_next_segment_is_made_ahead_on_the_background_thread() {
    let dir = tempfile::tempdir().unwrap();
    let disk: SharedDisk = Arc::new(RealDisk);
    let (worker, thread) = DiskWorker::start(None, Box::new(|_| {})).unwrap();
    let (recovered, _) = read(&disk, dir.path());
    let options = WalOptions {
        disk_worker: worker,
        ..options()
    };
    let mut wal = Wal::open(disk.clone(), dir.path(), 0, options, &recovered, &[]).unwrap();
    let mut index = 0;
    while index < 6 {
        index += 1;
        put(&mut wal, 1, 1, index, 2_000);
    }
    while !disk
        .list(dir.path())
        .unwrap()
        .contains(&"wal-0-000002.log".to_owned())
    {
        std::thread::yield_now();
    }
    let second = fill_to(&mut wal, 1, index + 1, 20);
    drop(wal);
    thread.join().unwrap();
    let (_, seen) = read(&disk, dir.path());
    assert_eq!(seen.last().map(|e| e.2), Some(second));
}

#[test]
fn what_the_consumer_refuses_is_named_by_file_and_offset() {
    let (disk, shared, mut wal) = fresh();
    let position = put(&mut wal, 1, 1, 5, 100);
    disk.process_crash();
    let refused = recover(&shared, dir(), after(LastStop::Crash), |view| {
        match view.items.iter().next() {
            Some(Item::Entries(_)) => Err(io::Error::other("entries 1 to 4 are missing")),
            _ => Ok(()),
        }
    });
    let expected = format!(
        "WAL segment /data/wal-0-000001.log holds at byte {} what cannot be replayed: entries 1 to 4 are missing",
        position.offset
    );
    assert_eq!(refused.map(|_| ()).unwrap_err().to_string(), expected);
}
