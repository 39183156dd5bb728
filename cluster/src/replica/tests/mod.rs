//! One replica at a time: its driver's contract, restarts, bounds, and the bugs that its assertions name.

mod confined;
mod follower;
mod forced;
mod several;
mod solo;
mod tail;

use super::*;

/// Times that are easy to count with: a tick of 100 ms, an election timeout of ten, no jitter.
fn config(id: u64) -> Config {
    Config {
        tick_us: TICK_US,
        election_ticks: 10,
        election_ticks_own: 10,
        election_jitter_ticks: 0,
        ..Config::new(ShardId(7), ReplicaId(id))
    }
}

const TICK_US: u64 = 100_000;

fn ticks(count: u64) -> Monotonic {
    Monotonic(count * TICK_US)
}

/// No time has passed yet.
const START: Monotonic = Monotonic::ZERO;

fn voters(ids: &[u64]) -> Restored {
    Restored::fresh(ids.iter().copied().map(ReplicaId))
}

/// A fresh leader of a group of one that has applied its first, empty entry.
fn alone() -> (Replica, Outputs) {
    let mut replica = Replica::new(&config(1), voters(&[1])).unwrap();
    let mut outputs = Outputs::default();
    replica.campaign();
    turn(&mut replica, &mut outputs);
    (replica, outputs)
}

/// One turn with a driver that writes and applies at once; gives what was applied.
fn turn(replica: &mut Replica, outputs: &mut Outputs) -> Vec<LogEntry> {
    let mut applied = Vec::new();
    while replica.ready(outputs) {
        replica.persisted(outputs);
        if let Some(last) = outputs.committed.last() {
            replica.applied(last.index);
        }
        applied.append(&mut outputs.committed);
    }
    applied
}

fn entry(index: u64, term: u64) -> LogEntry {
    LogEntry {
        index: Index(index),
        term: Term(term),
        kind: EntryKind::Commands,
        data: Bytes::from(format!("entry {index}")),
    }
}

fn restored(entries: std::ops::RangeInclusive<u64>, commit: u64, applied: u64) -> Restored {
    Restored {
        hard_state: HardState {
            term: Term(3),
            vote: ReplicaId(1),
            commit: Index(commit),
        },
        snapshot_index: Index(entries.start() - 1),
        snapshot_term: Term(u64::from(*entries.start() > 1)),
        entries: entries.map(|index| entry(index, 2)).collect(),
        applied: Index(applied),
        ..voters(&[1])
    }
}

#[test]
fn a_lone_voter_leads_at_once_and_reads_after_its_first_entry() {
    let mut replica = Replica::new(&config(1), voters(&[1])).unwrap();
    let mut outputs = Outputs::default();
    assert!(!replica.ready(&mut outputs));
    replica.campaign();
    assert!(replica.is_leader() && !replica.can_read(START));

    assert!(replica.ready(&mut outputs));
    let state = outputs.hard_state.unwrap();
    assert_eq!((state.term, state.vote), (Term(1), ReplicaId(1)));
    assert!(outputs.must_sync);
    assert_eq!(outputs.entries.len(), 1);
    assert_eq!(outputs.entries[0].kind, EntryKind::Empty);
    assert_eq!(replica.known_commit_if_persisted(), Index(1));

    replica.persisted(&mut outputs);
    assert_eq!(outputs.committed.len(), 1);
    assert!(!replica.can_read(START));
    replica.applied(Index(1));
    assert!(replica.can_read(START));
    assert_eq!(replica.leader(), Some(ReplicaId(1)));
    assert!(!replica.ready(&mut outputs));
}

#[test]
fn a_proposal_is_handed_out_to_write_and_then_to_apply_without_a_copy() {
    let (mut replica, mut outputs) = alone();
    let data = Bytes::from(b"SET k v".to_vec());
    replica.propose(data.clone()).unwrap();
    assert!(replica.ready(&mut outputs));
    assert_eq!(outputs.hard_state, None);
    assert_eq!(outputs.entries[0].index, Index(2));
    assert_eq!(outputs.entries[0].data.as_ptr(), data.as_ptr());
    assert_eq!(replica.committed(), Index(1));
    assert_eq!(replica.known_commit_if_persisted(), Index(2));
    replica.persisted(&mut outputs);
    assert_eq!(outputs.committed[0].data.as_ptr(), data.as_ptr());
    assert_eq!(outputs.committed[0].term, Term(1));
    replica.applied(Index(2));
    assert_eq!(
        (replica.committed(), replica.applied_index()),
        (Index(2), Index(2))
    );
}

#[test]
fn while_a_write_is_under_way_proposals_are_refused_as_busy() {
    let (mut replica, mut outputs) = alone();
    replica.propose("a").unwrap();
    assert!(replica.ready(&mut outputs));
    assert_eq!(replica.propose("b"), Err(ProposeError::Busy));
    replica.persisted(&mut outputs);
    replica.propose("b").unwrap();
}

#[test]
fn uncommitted_entries_are_bounded_but_one_is_always_taken() {
    let mut config = config(1);
    config.uncommitted_bytes_max = 0; // rises to the size of one append message
    let mut replica = Replica::new(&config, voters(&[1])).unwrap();
    let mut outputs = Outputs::default();
    replica.campaign();
    turn(&mut replica, &mut outputs);
    let large = Bytes::from(vec![1; 2 * APPEND_BYTES_MAX as usize]);
    replica.propose(large.clone()).unwrap();
    assert_eq!(replica.propose(large.clone()), Err(ProposeError::Busy));
    assert_eq!(turn(&mut replica, &mut outputs).len(), 1);
    replica.propose(large).unwrap();
}

#[test]
fn a_lone_voter_keeps_nothing_in_memory_that_is_applied() {
    let (mut replica, mut outputs) = alone();
    for _ in 0..1000 {
        replica.propose(vec![0; 100]).unwrap();
        turn(&mut replica, &mut outputs);
    }
    assert_eq!(replica.log_bytes(), 0);
    assert_eq!(replica.first_index(), Index(1002));
    assert_eq!(replica.last_index(), Index(1001));
    // Nor does it drop what is not applied.
    replica.propose("pending").unwrap();
    assert!(replica.ready(&mut outputs));
    replica.persisted(&mut outputs);
    assert_eq!(replica.first_index(), Index(1002));
    assert!(replica.log_bytes() > 0);
}

#[test]
fn a_restart_hands_out_exactly_the_committed_entries_that_were_not_applied() {
    let mut replica = Replica::new(&config(1), restored(11..=20, 17, 14)).unwrap();
    let mut outputs = Outputs::default();
    let replayed = turn(&mut replica, &mut outputs);
    let indexes: Vec<u64> = replayed.iter().map(|entry| entry.index.get()).collect();
    assert_eq!(indexes, [15, 16, 17]);
    assert_eq!(replayed[0].data, "entry 15");
    assert!(!replica.can_read(START));

    // Written by a lone voter, so committed: it only could not know before it led.
    replica.campaign();
    let rest = turn(&mut replica, &mut outputs);
    assert_eq!(rest.first().unwrap().index, Index(18));
    assert_eq!(rest.last().unwrap().index, Index(21));
    assert_eq!(rest.last().unwrap().term, Term(4));
    assert!(replica.can_read(START));
}

#[test]
fn a_restart_with_everything_applied_hands_out_nothing_twice() {
    let mut replica = Replica::new(&config(1), restored(11..=20, 20, 20)).unwrap();
    let mut outputs = Outputs::default();
    assert!(turn(&mut replica, &mut outputs).is_empty());
    replica.campaign();
    let applied = turn(&mut replica, &mut outputs);
    assert_eq!(applied.len(), 1);
    assert_eq!(
        (applied[0].index, applied[0].kind),
        (Index(21), EntryKind::Empty)
    );
}

#[test]
fn a_long_replay_comes_in_bounded_pieces() {
    let mut state = restored(11..=110, 110, 10);
    for entry in &mut state.entries {
        entry.data = Bytes::from(vec![7; 1024 * 1024]);
    }
    let mut replica = Replica::new(&config(1), state).unwrap();
    let mut outputs = Outputs::default();
    let (mut pieces, mut entries) = (0, 0);
    while replica.ready(&mut outputs) {
        replica.persisted(&mut outputs);
        let bytes: usize = outputs.committed.iter().map(|entry| entry.data.len()).sum();
        assert!(bytes as u64 <= 2 * COMMITTED_BYTES_MAX);
        entries += outputs.committed.len();
        pieces += 1;
        replica.applied(outputs.committed.last().unwrap().index);
    }
    assert_eq!(entries, 100);
    assert!(pieces > 3);
}

#[test]
fn a_state_that_cannot_be_is_refused_with_its_reason() {
    type Break = fn(&mut Restored);
    let cases: [(Break, &str); 9] = [
        (|r| drop(r.entries.remove(3)), "from index 13 to 15"),
        (|r| r.entries[0].index = Index(10), "from index 10 to 10"),
        (|r| r.entries[5].term = Term(1), "entry 16 has term 1"),
        (|r| r.entries[9].term = Term(4), "entry 20 has term 4"),
        (
            |r| r.entries[2].kind = EntryKind::Empty,
            "entry 13 is marked empty",
        ),
        (|r| r.hard_state.commit = Index(21), "does not hold"),
        (|r| r.applied = Index(9), "does not hold"),
        (|r| r.membership.voters.clear(), "no shard can"),
        (
            |r| r.membership.learners = vec![ReplicaId(1)],
            "no shard can",
        ),
    ];
    for (number, (damage, reason)) in cases.into_iter().enumerate() {
        let mut state = restored(11..=20, 17, 14);
        damage(&mut state);
        let error = Replica::new(&config(1), state).err().unwrap().to_string();
        assert!(error.contains(reason), "case {number}: {error}");
    }
    let mut settings = config(1);
    settings.heartbeat_ticks = settings.election_ticks;
    let error = Replica::new(&settings, voters(&[1])).err().unwrap();
    assert!(matches!(error, RestoreError::Config(_)), "{error}");
}

#[test]
#[should_panic(expected = "invariant 9")]
fn applying_what_was_not_handed_out_is_a_bug() {
    let (mut replica, _) = alone();
    replica.applied(Index(2));
}

#[test]
#[should_panic(expected = "invariant 9")]
fn applying_backwards_is_a_bug() {
    let (mut replica, mut outputs) = alone();
    replica.propose("a").unwrap();
    turn(&mut replica, &mut outputs);
    replica.applied(Index(1));
}

#[test]
fn a_follower_keeps_its_messages_until_its_write_is_done() {
    let mut replica = Replica::new(&config(2), voters(&[1, 2, 3])).unwrap();
    let mut outputs = Outputs::default();
    let ask = Message {
        msg_type: MessageType::MsgRequestVote,
        to: 2,
        from: 1,
        term: 1,
        ..Default::default()
    };
    replica.step(ask, START);
    assert!(replica.ready(&mut outputs));
    // Invariant 5: term and vote are on disk before the answer leaves.
    assert!(outputs.messages.is_empty() && outputs.must_sync);
    let state = outputs.hard_state.unwrap();
    assert_eq!((state.term, state.vote), (Term(1), ReplicaId(1)));
    replica.persisted(&mut outputs);
    assert_eq!(outputs.messages.len(), 1);
    assert!(!outputs.messages[0].reject);
}

#[test]
fn messages_that_come_during_a_write_are_taken_in_after_it() {
    let mut replica = Replica::new(&config(2), voters(&[1, 2, 3])).unwrap();
    let mut outputs = Outputs::default();
    let ask = |from, term| Message {
        msg_type: MessageType::MsgRequestVote,
        to: 2,
        from,
        term,
        ..Default::default()
    };
    replica.step(ask(1, 1), START);
    assert!(replica.ready(&mut outputs));
    for _ in 0..2 * MESSAGES_HELD_MAX {
        replica.step(ask(3, 2), START);
    }
    assert_eq!(replica.term(), Term(1));
    replica.persisted(&mut outputs);
    assert_eq!(replica.term(), Term(2));
    assert!(replica.ready(&mut outputs));
    assert_eq!(outputs.hard_state.unwrap().vote, ReplicaId(3));
    replica.persisted(&mut outputs);
    assert_eq!(outputs.messages.len(), MESSAGES_HELD_MAX);
}

#[test]
fn a_restarted_voter_grants_no_vote_for_one_election_timeout() {
    let state = Restored {
        membership: voters(&[1, 2, 3]).membership,
        ..restored(11..=20, 17, 17)
    };
    let mut replica = Replica::new(&config(2), state).unwrap();
    let mut outputs = Outputs::default();
    let ask = Message {
        msg_type: MessageType::MsgRequestVote,
        to: 2,
        from: 1,
        term: 9,
        index: 20,
        log_term: 2,
        ..Default::default()
    };
    for passed in 0..10 {
        replica.tick(ticks(passed));
        replica.step(ask.clone(), ticks(passed));
        assert!(!replica.ready(&mut outputs));
    }
    replica.tick(ticks(10));
    replica.step(ask, ticks(10));
    assert!(replica.ready(&mut outputs));
    assert_eq!(outputs.hard_state.unwrap().vote, ReplicaId(1));
}

#[test]
fn conflicting_entries_of_an_old_leader_are_voided() {
    let state = Restored {
        membership: voters(&[1, 2, 3]).membership,
        ..restored(11..=20, 17, 17)
    };
    let mut replica = Replica::new(&config(2), state).unwrap();
    let mut outputs = Outputs::default();
    let append = Message {
        msg_type: MessageType::MsgAppend,
        to: 2,
        from: 1,
        term: 5,
        index: 18,
        log_term: 2,
        commit: 19,
        entries: vec![entry(19, 5).to_raft()].into(),
        ..Default::default()
    };
    replica.step(append, START);
    assert!(replica.ready(&mut outputs));
    assert_eq!(outputs.entries, [entry(19, 5)]);
    replica.persisted(&mut outputs);
    assert_eq!(replica.last_index(), Index(19));
    let committed: Vec<Index> = outputs.committed.iter().map(|entry| entry.index).collect();
    assert_eq!(committed, [Index(18), Index(19)]);
}

#[test]
fn a_snapshot_replaces_the_log_and_what_was_delivered() {
    let mut replica = Replica::new(&config(2), voters(&[1, 2, 3])).unwrap();
    let mut outputs = Outputs::default();
    let place = SnapshotPlace {
        index: Index(50),
        term: Term(4),
        membership: Membership {
            epoch: crate::types::Epoch(6),
            ..voters(&[1, 2, 3]).membership
        },
    };
    replica.install(ReplicaId(1), Term(4), &place, b"where it lies", START);
    assert!(replica.ready(&mut outputs));
    let taken = outputs.snapshot.take().unwrap();
    assert_eq!((taken.index, taken.term), (Index(50), Term(4)));
    assert_eq!(taken.data, "where it lies");
    assert_eq!(taken.membership, place.membership);
    replica.persisted(&mut outputs);
    replica.applied(Index(50));
    assert_eq!(
        (replica.first_index(), replica.last_index()),
        (Index(51), Index(50))
    );
    assert_eq!(replica.committed(), Index(50));
    assert_eq!(replica.membership(), place.membership);
    assert_eq!(replica.durable_snapshot(), Index(50));
}
