//! A replica that is forced to decide alone: what it writes, what of its log it carries out before, and what others make of it.

use super::*;

const TERM: Term = Term(1004);

fn force(learners: &[u64]) -> Force {
    Force {
        term: TERM,
        learners: learners.iter().copied().map(ReplicaId).collect(),
        epoch: crate::types::Epoch(1000),
    }
}

fn change(index: u64, change: &MembershipChange) -> LogEntry {
    LogEntry {
        kind: EntryKind::Membership,
        data: crate::codec::encode(change).unwrap().into(),
        ..entry(index, 2)
    }
}

/// Replica 1 of three, with entries of which none is known to be committed.
fn of_three(entries: Vec<LogEntry>) -> Replica {
    let state = Restored {
        entries,
        hard_state: HardState {
            term: Term(3),
            vote: ReplicaId(2),
            commit: Index::ZERO,
        },
        ..voters(&[1, 2, 3])
    };
    Replica::new(&config(1), state).unwrap()
}

/// One turn; gives what was written, and the memberships that were carried out.
fn write(replica: &mut Replica) -> (Vec<LogEntry>, Option<HardState>, Vec<Membership>) {
    let (mut outputs, mut written, mut state) = (Outputs::default(), Vec::new(), None);
    let mut memberships = Vec::new();
    while replica.ready(&mut outputs) {
        written.append(&mut outputs.entries);
        state = state.or(outputs.hard_state);
        replica.persisted(&mut outputs);
        for entry in outputs.committed.drain(..) {
            if entry.kind == EntryKind::Membership {
                memberships.push(replica.apply_membership(&entry).unwrap());
            }
            replica.applied(entry.index);
        }
    }
    (written, state, memberships)
}

#[test]
fn all_that_makes_it_so_is_one_record_and_a_replay_of_the_log_comes_to_the_same() {
    let pending = MembershipChange::ChangeVoters {
        promote: vec![ReplicaId(4)],
        demote: vec![ReplicaId(1)],
    };
    let learner = MembershipChange::AddLearner(ReplicaId(4));
    let entries = vec![
        entry(1, 1),
        change(2, &learner),
        change(3, &pending),
        entry(4, 2),
    ];
    let mut replica = of_three(entries.clone());
    assert!(replica.force(&force(&[4])));
    assert!(replica.is_leader() && !replica.can_read(START));
    let commit = replica.last_index();
    let (written, state, memberships) = write(&mut replica);
    let state = state.unwrap();
    assert_eq!((state.term, state.vote), (TERM, ReplicaId(1)));
    let kinds: Vec<EntryKind> = written.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [EntryKind::Empty, EntryKind::Membership]);
    assert_eq!(
        (replica.committed(), replica.applied_index()),
        (commit, commit)
    );
    // The changes before it were carried out as they stood, though they never held here.
    assert!(memberships[1].is_joint() && memberships[1].outgoing.contains(&ReplicaId(1)));
    let last = memberships.last().unwrap();
    assert_eq!(
        (&last.voters[..], &last.learners[..]),
        (&[ReplicaId(1)][..], &[ReplicaId(4)][..])
    );
    assert_eq!(last, &replica.membership());
    let all = entries.iter().chain(&written);
    let mut replayed = voters(&[1, 2, 3]).membership;
    for entry in all.filter(|entry| entry.kind == EntryKind::Membership) {
        let change: MembershipChange = crate::codec::decode(&entry.data).unwrap();
        replayed = replayed.after(&change).unwrap();
    }
    assert_eq!(&replayed, last);
}

#[test]
fn it_takes_proposals_and_changes_of_the_membership_at_once() {
    let mut replica = of_three(vec![entry(1, 2)]);
    assert!(replica.force(&force(&[])));
    write(&mut replica);
    replica.propose(&b"SET k v"[..]).unwrap();
    write(&mut replica);
    let learner = MembershipChange::AddLearner(ReplicaId(9));
    replica.propose_change(learner).unwrap();
    let (_, _, memberships) = write(&mut replica);
    assert_eq!(memberships[0].learners, [ReplicaId(9)]);
    assert!(memberships[0].epoch > crate::types::Epoch(1000));
}

#[test]
fn until_it_is_applied_nobody_is_heard() {
    let mut replica = of_three(vec![entry(1, 2)]);
    assert!(replica.force(&force(&[])));
    let heartbeat = Message {
        msg_type: MessageType::MsgHeartbeat,
        from: 2,
        to: 1,
        term: TERM.get() + 5,
        ..Message::default()
    };
    replica.step(heartbeat, START);
    write(&mut replica);
    assert!(replica.is_leader());
    assert_eq!(replica.term(), TERM);
}

#[test]
fn a_replica_that_never_had_anything_begins_its_group_anew() {
    let mut replica = Replica::new(&config(7), Restored::joining()).unwrap();
    assert!(replica.force(&force(&[])));
    let (written, _, memberships) = write(&mut replica);
    assert_eq!(written[0].index, Index(1));
    assert_eq!(memberships.last().unwrap().voters, [ReplicaId(7)]);
    assert!(replica.is_leader() && replica.can_read(START));
}

#[test]
fn nobody_proposes_it() {
    let (mut replica, _) = alone();
    let forced = MembershipChange::Force {
        voter: ReplicaId(1),
        learners: Vec::new(),
        epoch: crate::types::Epoch(9),
    };
    assert_eq!(replica.propose_change(forced), Err(ChangeError::Forced));
}
