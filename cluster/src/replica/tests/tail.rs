//! How much of the log stays in memory, and for whom.

use super::several::{answer, leader_with};
use super::*;

const TAIL: usize = 2_000;
const SMALL: usize = 500;
const LAG: usize = 4 * TAIL;
const LOG: usize = 20_000;
const ENTRY_BYTES: usize = 100;

fn small() -> Config {
    Config {
        tail_bytes_max: TAIL,
        absence_us: 0,
        tail_bytes_small: SMALL,
        log_bytes_max: LOG,
        ..config(1)
    }
}

fn acknowledge(replica: &mut Replica, from: u64, index: Index) {
    acknowledge_at(replica, from, index, START);
}

fn acknowledge_at(replica: &mut Replica, from: u64, index: Index, now: Monotonic) {
    let mut written = answer(MessageType::MsgAppendResponse, from);
    written.index = index.get();
    replica.step(written, now);
}

fn is_heard(replica: &mut Replica, from: u64) {
    replica.step(answer(MessageType::MsgHeartbeatResponse, from), START);
}

/// Writes entries that replica 2 acknowledges at once; gives the most bytes that the log had.
fn write(replica: &mut Replica, outputs: &mut Outputs, count: usize) -> usize {
    write_at(replica, outputs, count, START)
}

fn write_at(replica: &mut Replica, outputs: &mut Outputs, count: usize, now: Monotonic) -> usize {
    let mut most = 0;
    for _ in 0..count {
        replica.propose(vec![0; ENTRY_BYTES]).unwrap();
        turn(replica, outputs);
        acknowledge_at(replica, 2, replica.last_index(), now);
        turn(replica, outputs);
        assert_eq!(replica.applied_index(), replica.last_index());
        most = most.max(replica.log_bytes());
    }
    most
}

#[test]
fn a_follower_keeps_a_bounded_tail() {
    let mut settings = small();
    (settings.tail_bytes_max, settings.tail_bytes_small) = (20_000, 10_000);
    let state = Restored {
        membership: voters(&[1, 2, 3]).membership,
        ..restored(11..=1000, 1000, 1000)
    };
    let replica = Replica::new(&settings, state).unwrap();
    assert!(replica.log_bytes() <= 10_000 && replica.log_bytes() > 7_000);
    assert!(replica.first_index() > Index(11) && !replica.wants_snapshot());
}

/// Tails of 16 MiB a shard, with nobody behind, were a GiB of memory on every node, and each entry went to memory that no cache knew.
#[test]
fn while_nobody_is_behind_hardly_anything_is_kept() {
    let (mut replica, mut outputs) = leader_with(&small());
    let mut most = 0;
    for _ in 0..300 {
        most = most.max(write(&mut replica, &mut outputs, 1));
        let last = replica.last_index();
        acknowledge(&mut replica, 3, last);
        turn(&mut replica, &mut outputs);
    }
    assert!(most <= SMALL + 3 * ENTRY_BYTES, "{most}");
    assert!(replica.log_bytes() <= SMALL + ENTRY_BYTES);
}

#[test]
fn a_silent_follower_costs_no_memory_and_no_snapshot() {
    let (mut replica, mut outputs) = leader_with(&small());
    let most = write(&mut replica, &mut outputs, 1_000);
    assert!(most <= TAIL + 2 * ENTRY_BYTES, "{most}");
    assert!(!replica.wants_snapshot());
}

/// A node that was killed and came back seconds later was sent every shard anew by snapshot, 770 MB at once, because a silent follower's tail
/// was full after five seconds of writes.
#[test]
fn for_a_follower_that_may_soon_be_back_as_much_is_kept_as_for_one_that_is_behind() {
    const ABSENCE_US: u64 = 10_000_000;
    let mut settings = small();
    settings.absence_us = ABSENCE_US;
    let (mut replica, mut outputs) = leader_with(&settings);
    let last = replica.last_index();
    acknowledge(&mut replica, 3, last);
    let before = START.plus_us(ABSENCE_US - 1);
    let most = write_at(&mut replica, &mut outputs, 30, before);
    assert!(
        most > TAIL && replica.first_index() <= last.next(),
        "{most}"
    );

    let after = START.plus_us(ABSENCE_US);
    write_at(&mut replica, &mut outputs, 3, after);
    assert!(replica.log_bytes() <= TAIL + 2 * ENTRY_BYTES);
}

#[test]
fn who_is_known_to_need_a_snapshot_has_nothing_of_the_log_while_it_is_away() {
    let mut settings = small();
    settings.absence_us = 10_000_000;
    let (mut replica, mut outputs) = leader_with(&settings);
    let last = replica.last_index();
    acknowledge(&mut replica, 3, last);
    let soon = START.plus_us(settings.election_timeout_us());
    let most = write_at(&mut replica, &mut outputs, 300, soon);
    assert!(most > LAG / 2 && most <= LAG + 2 * ENTRY_BYTES, "{most}");
    assert!(replica.first_index() > last.next());
    assert!(replica.log_bytes() <= TAIL + 2 * ENTRY_BYTES);
}

#[test]
fn for_a_follower_that_is_behind_more_is_kept_and_not_without_bound() {
    let (mut replica, mut outputs) = leader_with(&small());
    acknowledge(&mut replica, 3, Index(1));
    let most = write(&mut replica, &mut outputs, 30);
    assert!(most > TAIL && replica.first_index() <= Index(2), "{most}");
    let most = write(&mut replica, &mut outputs, 1_000);
    assert!(most > LAG / 2 && most <= LAG + 2 * ENTRY_BYTES, "{most}");
}

#[test]
fn behind_a_snapshot_that_is_wanted_or_on_its_way_the_log_is_kept() {
    let (mut replica, mut outputs) = leader_with(&small());
    write(&mut replica, &mut outputs, 200);
    is_heard(&mut replica, 3);
    turn(&mut replica, &mut outputs);
    assert!(replica.wants_snapshot());
    let first = replica.first_index();
    let place = SnapshotPlace {
        index: replica.applied_index(),
        term: replica.term(),
        membership: replica.membership(),
    };
    write(&mut replica, &mut outputs, 70);
    assert_eq!(replica.first_index(), first);
    replica.snapshot_is_durable(place.clone());
    assert_eq!(replica.first_index(), place.index.next());
    assert!(replica.log_bytes() > TAIL && !replica.wants_snapshot());

    is_heard(&mut replica, 3);
    assert!(replica.ready(&mut outputs));
    let mut asked = outputs.snapshot_requests.clone();
    replica.persisted(&mut outputs);
    asked.append(&mut outputs.snapshot_requests);
    assert_eq!(asked.len(), 1);
    write(&mut replica, &mut outputs, 20);
    assert_eq!(replica.first_index(), place.index.next());

    replica.report_snapshot(ReplicaId(3), true);
    for _ in 0..2 {
        let last = replica.last_index();
        acknowledge(&mut replica, 3, last);
        write(&mut replica, &mut outputs, 1);
    }
    assert!(replica.log_bytes() <= TAIL + 2 * ENTRY_BYTES);
}

#[test]
fn writes_go_on_when_a_snapshot_takes_longer_than_the_log_can_wait() {
    let (mut replica, mut outputs) = leader_with(&small());
    write(&mut replica, &mut outputs, 200);
    is_heard(&mut replica, 3);
    turn(&mut replica, &mut outputs);
    let most = write(&mut replica, &mut outputs, 1_000);
    assert!(most > LAG && most <= LOG + 2 * ENTRY_BYTES, "{most}");
}

/// A newcomer's answer: it asks for a snapshot until it has one.
fn asks_for_snapshot(replica: &mut Replica, from: u64) {
    let mut asking = answer(MessageType::MsgAppendResponse, from);
    (asking.reject, asking.request_snapshot) = (true, 1);
    replica.step(asking, START);
}

/// How many snapshots are asked for in a turn.
fn snapshots_asked(replica: &mut Replica, outputs: &mut Outputs) -> usize {
    let mut asked = 0;
    while replica.ready(outputs) {
        asked += outputs.snapshot_requests.len();
        replica.persisted(outputs);
        asked += outputs.snapshot_requests.len();
    }
    asked
}

/// The newcomer's word that it has the snapshot came before the driver's report, as it does by links that are fast, and what it had
/// asked meanwhile made the leader send the whole snapshot once more.
#[test]
fn a_newcomer_gets_one_snapshot_however_often_it_asks_while_that_is_on_its_way() {
    let (mut replica, mut outputs) = leader_with(&config(1));
    write(&mut replica, &mut outputs, 5);
    let place = SnapshotPlace {
        index: replica.applied_index(),
        term: replica.term(),
        membership: replica.membership(),
    };
    replica.snapshot_is_durable(place.clone());
    asks_for_snapshot(&mut replica, 3);
    assert_eq!(snapshots_asked(&mut replica, &mut outputs), 1);
    asks_for_snapshot(&mut replica, 3);
    assert_eq!(snapshots_asked(&mut replica, &mut outputs), 0);
    acknowledge(&mut replica, 3, place.index);
    assert_eq!(snapshots_asked(&mut replica, &mut outputs), 0);
    replica.report_snapshot(ReplicaId(3), true);
    assert_eq!(snapshots_asked(&mut replica, &mut outputs), 0);

    // One that did not reach it is another matter.
    asks_for_snapshot(&mut replica, 3);
    assert_eq!(snapshots_asked(&mut replica, &mut outputs), 1);
    replica.report_snapshot(ReplicaId(3), false);
    asks_for_snapshot(&mut replica, 3);
    assert_eq!(snapshots_asked(&mut replica, &mut outputs), 1);
}

/// `raft` takes its mark of who was heard from everybody once in an election timeout. For the moment until the next answer a follower that was
/// taking a large snapshot in counted as silent, what it would need next was dropped, and it was sent another one, for ever.
#[test]
fn what_comes_behind_a_snapshot_is_kept_while_raft_counts_who_is_there() {
    let (mut replica, mut outputs) = leader_with(&small());
    write(&mut replica, &mut outputs, 5);
    let place = SnapshotPlace {
        index: replica.applied_index(),
        term: replica.term(),
        membership: replica.membership(),
    };
    replica.snapshot_is_durable(place.clone());
    asks_for_snapshot(&mut replica, 3);
    assert_eq!(snapshots_asked(&mut replica, &mut outputs), 1);
    let timing = small();
    let ticks = 2 * timing.election_timeout_us() / timing.tick_us;
    for tick in 1..=ticks {
        let now = START.plus_us(tick * timing.tick_us);
        replica.tick(now);
        turn(&mut replica, &mut outputs);
        write(&mut replica, &mut outputs, 2);
        assert!(replica.first_index() <= place.index.next(), "tick {tick}");
        for from in [2, 3] {
            replica.step(answer(MessageType::MsgHeartbeatResponse, from), now);
        }
    }
    assert!(replica.log_bytes() > TAIL);

    // It has come, and what was written meanwhile is more than followers that lag are given: this one is given all of it.
    replica.report_snapshot(ReplicaId(3), true);
    write(&mut replica, &mut outputs, 30);
    assert!(replica.first_index() <= place.index.next());
    acknowledge(&mut replica, 3, place.index);
    write(&mut replica, &mut outputs, 30);
    assert!(replica.log_bytes() > LAG && replica.first_index() <= place.index.next());
    for _ in 0..2 {
        let last = replica.last_index();
        acknowledge(&mut replica, 3, last);
        write(&mut replica, &mut outputs, 1);
    }
    assert!(replica.log_bytes() <= TAIL + 2 * ENTRY_BYTES);
}
