//! A disk that the log alone had filled had no room for the snapshots that would have shortened the log: writes were
//! refused for ever.

use super::*;

const DISK_BYTES: u64 = 1 << 20;
/// What the snapshots of the tests need.
const NEEDED_BYTES: u64 = 300_000;
const RECORD: usize = 2_000;

/// A log on a small disk.
fn small() -> (SimDisk, SharedDisk, Wal) {
    let disk = SimDisk::new(11);
    disk.set_capacity(DISK_BYTES);
    let shared: SharedDisk = Arc::new(disk.clone());
    let (recovered, _) = read(&shared, dir());
    let options = options();
    options.headroom.set(NEEDED_BYTES);
    let wal = Wal::open(shared.clone(), dir(), 0, options, &recovered, &[]).unwrap();
    (disk, shared, wal)
}

fn reserve(wal: &mut Wal, purpose: Purpose) -> Result<(), WalError> {
    wal.reserve(record_bytes(1, 1, RECORD), purpose)
}

/// Writes until there is no room; says the last index.
fn fill(wal: &mut Wal, mut index: u64) -> u64 {
    while reserve(wal, Purpose::Grows).is_ok() {
        index += 1;
        put(wal, 1, 1, index, RECORD);
    }
    index
}

/// Takes room as a snapshot does, and gives back that of the one before.
fn snapshot(disk: &SharedDisk, number: u64) {
    let path = |number: u64| Path::new("/snapshots").join(number.to_string());
    let file = disk.create(&path(number)).unwrap();
    file.allocate(NEEDED_BYTES).expect("room was left for it");
    if number > 1 {
        disk.remove(&path(number - 1)).unwrap();
    }
    disk.sync_dir(Path::new("/snapshots")).unwrap();
}

#[test]
fn the_log_leaves_the_room_that_the_snapshots_need() {
    let (disk, shared, mut wal) = small();
    let index = fill(&mut wal, 0);
    assert!(index > 200, "only {index} records of 2 kB in 700 kB");
    assert!(shared.free(dir()).unwrap() >= NEEDED_BYTES);
    assert!(disk.used() > DISK_BYTES / 2);
}

#[test]
fn snapshots_free_a_log_that_has_filled_its_part_of_the_disk() {
    let (_, shared, mut wal) = small();
    let mut index = 0;
    for round in 1..30 {
        let before = index;
        index = fill(&mut wal, index);
        assert!(index > before + 50, "round {round}: {before} to {index}");
        snapshot(&shared, round);
        // The first call asks for the sync without which nothing can be freed.
        wal.release(&all);
        assert!(wal.release(&all) > 0, "round {round}");
    }
}

#[test]
fn a_log_that_is_shortened_in_time_is_never_refused() {
    let (disk, shared, mut wal) = small();
    let (mut snapshots, mut written) = (0, 0);
    for index in 1..5_000 {
        reserve(&mut wal, Purpose::Grows).unwrap_or_else(|error| panic!("{index}: {error}"));
        put(&mut wal, 1, 1, index, RECORD);
        written += RECORD as u64;
        if wal.room() < wal.bytes() {
            snapshots += 1;
            snapshot(&shared, snapshots);
            wal.release(&all);
            wal.release(&all);
        }
    }
    assert!(
        written > 9 * DISK_BYTES && snapshots < 200,
        "{snapshots} snapshots"
    );
    drop(wal);
    disk.process_crash();
    let (_, seen) = read(&shared, dir());
    assert_eq!(seen.last().map(|e| e.2), Some(4_999));
}

#[test]
fn refused_writes_are_taken_again_only_when_there_is_room_for_many() {
    let (disk, _, mut wal) = small();
    let index = fill(&mut wal, 0);
    let mut changes = 0;
    let mut refused = true;
    for step in 1..=100u64 {
        disk.set_capacity(DISK_BYTES + step * 5_000);
        let now = reserve(&mut wal, Purpose::Grows).is_err();
        changes += u64::from(now != refused);
        refused = now;
        if step < 40 {
            assert!(refused, "taken again with {} bytes", step * 5_000);
        }
    }
    assert_eq!((changes, refused), (1, false));
    assert!(fill(&mut wal, index) > index + 100);
}

#[test]
fn records_that_free_memory_are_taken_on_a_full_disk() {
    let (disk, shared, mut wal) = small();
    let index = fill(&mut wal, 0);
    // Others took what was left.
    disk.set_capacity(disk.used());
    let small = record_bytes(1, 1, 50);
    assert!(wal.reserve(small, Purpose::Grows).unwrap_err().is_full());
    let mut last = index;
    while wal.reserve(small, Purpose::Frees).is_ok() {
        last += 1;
        put(&mut wal, 1, 1, last, 50);
    }
    assert!(last - index > 20, "{}", last - index);
    assert!(wal.reserve(small, Purpose::Grows).unwrap_err().is_full());
    disk.process_crash();
    let (_, seen) = read(&shared, dir());
    assert_eq!(seen.last().map(|e| e.2), Some(last));
}

#[test]
fn the_room_of_freeing_records_is_not_used_while_there_is_other() {
    let (disk, _, mut wal) = small();
    let record = record_bytes(1, 1, 50);
    for index in 1..2_000 {
        wal.reserve(record, Purpose::Frees).unwrap();
        put(&mut wal, 1, 1, index, 50);
    }
    let index = fill(&mut wal, 1_999);
    disk.set_capacity(disk.used());
    let taken = (index + 1..).take_while(|index| {
        let reserved = wal.reserve(record, Purpose::Frees).is_ok();
        if reserved {
            put(&mut wal, 1, 1, *index, 50);
        }
        reserved
    });
    assert!(taken.count() > 20);
}

/// A large record had the log go on in a new segment and found no room in that one either.
#[test]
fn a_segment_that_was_made_for_a_record_too_large_for_the_disk_is_used() {
    let (disk, shared, mut wal) = small();
    put(&mut wal, 1, 1, 1, RECORD);
    wal.reserve(900_000, Purpose::Grows).unwrap_err();
    assert!(wal.reserve(100, Purpose::Frees).is_ok());
    put(&mut wal, 1, 1, 2, 50);
    disk.process_crash();
    let (_, seen) = read(&shared, dir());
    assert_eq!(seen.last().map(|e| e.2), Some(2));
}

/// The one segment was made when the disk was empty, and then others filled it.
#[test]
fn a_large_segment_that_is_the_whole_log_is_freed_too() {
    let disk = SimDisk::new(12);
    let shared: SharedDisk = Arc::new(disk.clone());
    let (recovered, _) = read(&shared, dir());
    let options = WalOptions {
        segment_bytes: 4 << 20,
        ..options()
    };
    // The smallest segment comes out of it as well.
    let headroom = NEEDED_BYTES + SEGMENT_BYTES;
    options.headroom.set(headroom);
    let mut wal = Wal::open(shared.clone(), dir(), 0, options, &recovered, &[]).unwrap();
    let mut index = 1;
    put(&mut wal, 1, 1, index, RECORD);
    disk.set_capacity(disk.used() + headroom);
    index = fill(&mut wal, index);
    assert_eq!(wal.sequence(), 1);
    let none = |_: ShardId| Index(0);
    assert_eq!(wal.oldest_holders(&none), [ShardId(1)]);
    assert_eq!(wal.release(&none), 0);
    snapshot(&shared, 1);
    wal.release(&all);
    assert_eq!((wal.sequence(), wal.release(&all)), (2, 1));
    let last = fill(&mut wal, index);
    assert!(last > index + 1_000, "{index} to {last}");
    disk.process_crash();
    let (_, seen) = read(&shared, dir());
    assert_eq!(seen.last().map(|e| e.2), Some(last));
}

#[test]
fn a_log_opens_where_only_the_room_for_snapshots_is_left() {
    let (disk, shared, mut wal) = small();
    let index = fill(&mut wal, 0);
    drop(wal);
    disk.process_crash();
    let (recovered, _) = read(&shared, dir());
    let options = options();
    options.headroom.set(shared.free(dir()).unwrap());
    let mut wal = Wal::open(shared.clone(), dir(), 0, options, &recovered, &[]).unwrap();
    put(&mut wal, 1, 1, index + 1, 100);
    assert!(wal.segments() == 1 && wal.room() == 0);
}
