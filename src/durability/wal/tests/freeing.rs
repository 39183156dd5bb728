//! Segments come and go, and nothing goes with them that is still needed.

use super::*;

#[test]
fn freed_segments_are_recycled_and_their_old_records_stay_dead() {
    let (disk, shared, mut wal) = fresh();
    let mut index = fill_to(&mut wal, 1, 1, 12);
    wal.sync().unwrap();
    assert_eq!(wal.release(&all), 11);
    let names = shared.list(dir()).unwrap();
    assert_eq!(
        names.iter().filter(|name| name.ends_with(".spare")).count(),
        8,
        "{names:?}"
    );
    // Besides the file in use and the next one.
    assert_eq!(names.len(), 10, "the others are gone: {names:?}");
    index = fill_to(&mut wal, 1, index + 1, 14);
    disk.process_crash();
    let (_, seen) = read(&shared, dir());
    assert_eq!(seen.last().map(|e| e.2), Some(index));
    assert!(seen.windows(2).all(|pair| pair[0].2 + 1 == pair[1].2));
}

/// The renaming of a freed file was not durable when its new header was: after a power cut the file was back under its old
/// name with the header of its next life, and the start took it for damage.
#[test]
fn a_power_cut_while_a_file_is_recycled_does_no_harm() {
    for seed in 0..400 {
        let disk = SimDisk::new(seed);
        let shared: SharedDisk = Arc::new(disk.clone());
        let (recovered, _) = read(&shared, dir());
        let mut wal = open(&shared, &recovered);
        let index = fill_to(&mut wal, 1, 1, 4);
        wal.sync().unwrap();
        disk.stop_at_call(1 + seed % 20);
        wal.release(&all);
        for index in index + 1..index + 20 {
            wal.begin();
            wal.push(ShardId(1), Index(0), &entry(1, index, &[0; 2_000]));
            if wal.write().is_err() {
                break;
            }
        }
        disk.power_cut();
        try_read(&shared, dir(), after(LastStop::PowerCut)).unwrap();
    }
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
    let second = fill_to(&mut wal, 1, index + 1, 5);
    drop(wal);
    thread.join().unwrap();
    let (_, seen) = read(&disk, dir.path());
    assert_eq!(seen.last().map(|e| e.2), Some(second));
}

/// A log that goes on to its next segment once waited for all that the disk's thread had to do before: half a second, for clients.
#[test]
fn the_next_segment_does_not_wait_behind_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let disk: SharedDisk = Arc::new(RealDisk);
    let (worker, thread) = DiskWorker::start(None, Box::new(|_| {})).unwrap();
    let (go_on, busy) = std::sync::mpsc::channel::<()>();
    let wait = move || assert!(busy.recv().is_err());
    worker.submit(wait).unwrap();
    let (recovered, _) = read(&disk, dir.path());
    let options = WalOptions {
        disk_worker: worker,
        ..options()
    };
    let mut wal = Wal::open(disk, dir.path(), 0, options, &recovered, &[]).unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    let writer = std::thread::spawn(move || {
        fill_to(&mut wal, 1, 1, 4);
        done.send(()).unwrap();
    });
    let in_time = is_done.recv_timeout(std::time::Duration::from_secs(20));
    drop(go_on);
    writer.join().unwrap();
    thread.join().unwrap();
    assert!(in_time.is_ok(), "the log waited for the disk's other work");
}
