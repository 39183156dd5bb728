//! What is written is read back, whole or not at all; what cannot be written is refused.

use super::*;

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
        for index in (round * 1000)..(round * 1000 + 150) {
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
fn a_crash_between_opening_the_logs_and_saying_so_does_no_harm() {
    let (disk, shared, mut wal) = fresh();
    put(&mut wal, 1, 1, 1, 100);
    wal.close().unwrap();
    let (recovered, _) = try_read(&shared, dir(), after(LastStop::Orderly)).unwrap();
    let wal = open(&shared, &recovered);
    disk.process_crash();
    drop(wal);
    let (recovered, seen) = try_read(&shared, dir(), after(LastStop::Orderly)).unwrap();
    assert_eq!(seen.len(), 1);
    // But a log that was used must have its end.
    let mut wal = open(&shared, &recovered);
    put(&mut wal, 1, 1, 2, 100);
    disk.process_crash();
    let error = try_read(&shared, dir(), after(LastStop::Orderly))
        .map(|_| ())
        .unwrap_err();
    assert!(
        error.to_string().contains("the end of the log is missing"),
        "{error}"
    );
}

#[test]
fn a_full_disk_refuses_before_anything_is_written_and_works_again_when_freed() {
    let (disk, shared, mut wal) = fresh();
    disk.set_capacity(disk.used());
    let mut index = 0;
    let refused = loop {
        match wal.reserve(record_bytes(1, 1, 2_000), Purpose::Grows) {
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
        wal.reserve(100_000, Purpose::Grows).unwrap_err().is_full(),
        "and says so again"
    );
    disk.set_capacity(u64::MAX);
    wal.reserve(record_bytes(1, 1, 2_000), Purpose::Grows)
        .unwrap();
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
    assert_eq!(
        disk.used(),
        150_000,
        "a quarter, so that the log can be freed in parts"
    );
    let mut index = 0;
    while wal
        .reserve(record_bytes(1, 1, 2_000), Purpose::Grows)
        .is_ok()
    {
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
    let refused = wal
        .reserve(RECORD_BYTES_MAX + 1, Purpose::Grows)
        .unwrap_err();
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
