//! What a replica that is gone for good has left in the log stays dead.

use super::*;

/// What a replay of shard 1 comes to: its entries' terms and indexes.
fn replayed(disk: &SharedDisk, last_stop: LastStop) -> (Recovered, Vec<(u64, u64)>) {
    let mut entries = Vec::new();
    let recovered = recover(disk, dir(), after(last_stop), |view| {
        for item in view.items.iter() {
            match item {
                Item::Forget(ShardId(1)) => entries.clear(),
                Item::Entries(run) if run.shard == ShardId(1) => {
                    entries.extend(run.entries().map(|entry| (run.term.0, entry.index.0)));
                }
                _ => {}
            }
        }
        Ok::<(), io::Error>(())
    });
    (recovered.unwrap(), entries)
}

fn put_state(wal: &mut Wal, shard: u16, state: HardState) {
    wal.begin();
    wal.push_hard_state(ShardId(shard), state);
    wal.write().unwrap();
}

#[test]
fn nothing_of_a_forgotten_shard_comes_back_and_all_of_its_successor_does() {
    let (disk, shared, mut wal) = fresh();
    put_state(&mut wal, 1, state(7, 3));
    put_state(&mut wal, 2, state(5, 1));
    for index in 1..4 {
        put(&mut wal, 1, 7, index, 10);
    }
    wal.forget(&[ShardId(1)]).unwrap();
    put(&mut wal, 1, 2, 2, 10);
    disk.process_crash();
    let (recovered, entries) = replayed(&shared, LastStop::Crash);
    assert_eq!(entries, [(2, 2)]);
    let terms = |recovered: &Recovered| {
        let states = recovered.hard_states().iter();
        states.map(|(s, h)| (s.0, h.term.0)).collect::<Vec<_>>()
    };
    // The successor has written no hard state yet.
    assert_eq!(terms(&recovered), [(1, 0), (2, 5)]);
    // The next generation's checkpoints do not bring it back either.
    let states: Vec<_> = recovered
        .hard_states()
        .iter()
        .map(|(s, h)| (*s, *h))
        .collect();
    let mut wal = Wal::open(shared.clone(), dir(), 0, options(), &recovered, &states).unwrap();
    put_state(&mut wal, 1, state(3, 4));
    let end = wal.sequence() + 3;
    fill_to(&mut wal, 2, 1, end);
    disk.process_crash();
    let (recovered, entries) = replayed(&shared, LastStop::Crash);
    assert_eq!(entries, [(2, 2)]);
    assert_eq!(terms(&recovered), [(1, 3), (2, 5)]);
}

#[test]
fn a_checkpoint_says_nothing_of_a_forgotten_shard() {
    let (disk, shared, mut wal) = fresh();
    put_state(&mut wal, 1, state(7, 3));
    wal.forget(&[ShardId(1)]).unwrap();
    let end = wal.sequence() + 2;
    fill_to(&mut wal, 2, 1, end);
    wal.sync().unwrap();
    assert!(wal.release(&all) > 0);
    disk.process_crash();
    let (recovered, _) = replayed(&shared, LastStop::Crash);
    assert!(!recovered.hard_states().contains_key(&ShardId(1)));
}

/// No snapshot ever covers the entries of a shard that is gone.
#[test]
fn a_forgotten_shard_keeps_no_segment_alive() {
    let none = |_: ShardId| Index(0);
    let (disk, shared, mut wal) = fresh();
    fill_to(&mut wal, 1, 1, 3);
    wal.sync().unwrap();
    assert_eq!(wal.release(&none), 0);
    assert_eq!(wal.oldest_holders(&none), [ShardId(1)]);
    wal.forget(&[ShardId(1)]).unwrap();
    assert_eq!(wal.release(&none), 2);
    disk.process_crash();

    let (recovered, _) = replayed(&shared, LastStop::Crash);
    assert_eq!(recovered.old_segments().release(&none), 1);

    // Where a later generation says so too.
    let (disk, shared, mut wal) = fresh();
    fill_to(&mut wal, 1, 1, 3);
    disk.process_crash();
    let (recovered, _) = replayed(&shared, LastStop::Crash);
    let old = recovered.old_segments();
    let mut wal = open(&shared, &recovered);
    assert_eq!(old.release(&none), 0);
    wal.forget(&[ShardId(1)]).unwrap();
    assert_eq!(old.release(&none), 3);
}

#[test]
fn a_crash_or_power_cut_anywhere_brings_back_all_of_a_replica_or_nothing_and_never_two() {
    for seed in 0..300 {
        let disk = SimDisk::new(seed);
        let shared: SharedDisk = Arc::new(disk.clone());
        let (recovered, _) = read(&shared, dir());
        let mut wal = open(&shared, &recovered);
        put_state(&mut wal, 1, state(7, 3));
        let last = fill_to(&mut wal, 1, 1, 2);
        wal.sync().unwrap();
        disk.stop_at_call(1 + seed % 12);
        let forgotten = wal.forget(&[ShardId(1)]).is_ok();
        let mut later = 0;
        if forgotten {
            wal.release(&|_| Index(0));
            for index in 1..4 {
                wal.begin();
                wal.push(ShardId(1), Index(0), &entry(2, index, b"later"));
                // One that fails may be there all the same.
                later += 1;
                let _ = wal.write();
            }
        }
        let stop = match seed % 2 {
            0 => {
                disk.process_crash();
                LastStop::Crash
            }
            _ => {
                disk.power_cut();
                LastStop::PowerCut
            }
        };
        let (recovered, entries) = replayed(&shared, stop);
        let is_old = entries.len() as u64 == last && entries.iter().all(|(term, _)| *term == 1);
        let is_new = entries.len() as u64 <= later && entries.iter().all(|(term, _)| *term == 2);
        assert!(is_new || (is_old && !forgotten), "seed {seed}: {entries:?}");
        let state = recovered.hard_states().get(&ShardId(1));
        let term = state.map_or(0, |state| state.term.0);
        assert_eq!(term, if is_old { 7 } else { 0 }, "seed {seed}");
    }
}
