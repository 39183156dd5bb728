//! Leases, ticks, changes of the membership, and messages that cannot be, on one replica of several.

use super::*;
use crate::codec;
use crate::types::Epoch;
use raft::eraftpb::Entry;

/// Replica 2 votes for a candidate and answers its first entry, which is committed by that.
fn elect(replica: &mut Replica, outputs: &mut Outputs) {
    elect_in(1, START, replica, outputs);
}

fn elect_in(term: u64, now: Monotonic, replica: &mut Replica, outputs: &mut Outputs) {
    let of_term = |kind| Message {
        term,
        ..answer(kind, 2)
    };
    replica.campaign();
    turn(replica, outputs);
    for kind in [
        MessageType::MsgRequestPreVoteResponse,
        MessageType::MsgRequestVoteResponse,
    ] {
        replica.step(of_term(kind), now);
        turn(replica, outputs);
    }
    let mut written = of_term(MessageType::MsgAppendResponse);
    written.index = replica.last_index().get();
    replica.step(written, now);
}

/// A replica 1 of three that has been elected; its first entry is committed by replica 2's answer.
fn leader_of_three() -> (Replica, Outputs) {
    leader_with(&config(1))
}

pub(super) fn leader_with(config: &Config) -> (Replica, Outputs) {
    let mut replica = Replica::new(config, voters(&[1, 2, 3])).unwrap();
    let mut outputs = Outputs::default();
    elect(&mut replica, &mut outputs);
    assert_eq!(turn(&mut replica, &mut outputs).len(), 1);
    (replica, outputs)
}

pub(super) fn answer(msg_type: MessageType, from: u64) -> Message {
    Message {
        msg_type,
        from,
        to: 1,
        term: 1,
        ..Default::default()
    }
}

/// The heartbeats that a turn sends.
fn heartbeats(replica: &mut Replica, outputs: &mut Outputs) -> Vec<Message> {
    let mut sent = Vec::new();
    while replica.ready(outputs) {
        sent.append(&mut outputs.messages);
        replica.persisted(outputs);
        sent.append(&mut outputs.messages);
    }
    sent.retain(|message| message.msg_type == MessageType::MsgHeartbeat);
    sent
}

fn echo(heartbeat: &Message, from: u64) -> Message {
    Message {
        context: heartbeat.context.clone(),
        ..answer(MessageType::MsgHeartbeatResponse, from)
    }
}

#[test]
fn a_lease_counts_from_the_sending_of_its_round() {
    let (mut replica, mut outputs) = leader_of_three();
    assert!(!replica.can_read(START));
    assert!(replica.renew_lease(ticks(5)));
    let sent = heartbeats(&mut replica, &mut outputs);
    replica.step(echo(&sent[0], 2), ticks(8));
    turn(&mut replica, &mut outputs);
    let end = Monotonic(15 * TICK_US - config(1).drift_margin_us);
    assert_eq!(replica.lease_end(), Some(end));
    assert!(replica.can_read(Monotonic(end.get() - 1)));
    assert!(!replica.can_read(end));
}

#[test]
fn a_late_answer_to_an_earlier_round_renews_nothing() {
    let (mut replica, mut outputs) = leader_of_three();
    replica.renew_lease(ticks(1));
    let first = heartbeats(&mut replica, &mut outputs);
    // Given up after half an election timeout; the next has a context of its own.
    assert!(replica.renew_lease(ticks(5)) && heartbeats(&mut replica, &mut outputs).is_empty());
    replica.renew_lease(ticks(6));
    let second = heartbeats(&mut replica, &mut outputs);
    assert_ne!(first[0].context, second[0].context);
    replica.step(echo(&first[0], 2), ticks(6));
    turn(&mut replica, &mut outputs);
    assert_eq!(replica.lease_end(), None);
    replica.step(echo(&second[0], 2), ticks(6));
    turn(&mut replica, &mut outputs);
    assert!(replica.lease_valid(ticks(15)));
}

#[test]
fn a_learner_s_answer_is_no_quorum() {
    let (mut replica, mut outputs) = leader_with_learner();
    replica.renew_lease(START);
    let sent = heartbeats(&mut replica, &mut outputs);
    replica.step(echo(&sent[0], 4), START);
    turn(&mut replica, &mut outputs);
    assert!(!replica.lease_valid(START));
}

#[test]
fn ticks_in_a_burst_count_once_and_one_that_falls_into_a_write_comes_after_it() {
    let (mut replica, mut outputs) = leader_of_three();
    replica.tick(ticks(1));
    for _ in 0..20 {
        replica.tick(ticks(1));
    }
    assert!(heartbeats(&mut replica, &mut outputs).is_empty());
    replica.propose("a").unwrap();
    assert!(replica.ready(&mut outputs));
    for passed in 2..30 {
        replica.tick(ticks(passed));
    }
    replica.persisted(&mut outputs);
    // Two ticks make a heartbeat; twenty-eight more would have made it step down.
    assert!(replica.is_leader());
    assert_eq!(heartbeats(&mut replica, &mut outputs).len(), 2);
}

#[test]
fn reports_that_come_during_a_write_are_taken_in_after_it() {
    let (mut replica, mut outputs) = leader_of_three();
    assert!(replica.matched(ReplicaId(2)).unwrap().follows);
    replica.propose("a").unwrap();
    assert!(replica.ready(&mut outputs));
    replica.unreachable(ReplicaId(2));
    replica.report_snapshot(ReplicaId(3), false);
    assert!(replica.matched(ReplicaId(2)).unwrap().follows);
    replica.persisted(&mut outputs);
    assert!(!replica.matched(ReplicaId(2)).unwrap().follows);
}

#[test]
fn messages_that_cannot_be_are_dropped_without_a_panic() {
    type Break = fn(&mut Message);
    let entry = |index, term| Entry {
        index,
        term,
        data: Bytes::from_static(b"x"),
        ..Default::default()
    };
    let sound = Message {
        msg_type: MessageType::MsgAppend,
        to: 2,
        from: 1,
        term: 5,
        index: 20,
        log_term: 2,
        commit: 20,
        entries: vec![entry(21, 5), entry(22, 5)].into(),
        ..Default::default()
    };
    let state = || Restored {
        membership: voters(&[1, 2, 3]).membership,
        ..restored(11..=20, 17, 17)
    };
    let cases: [Break; 15] = [
        |m| m.to = 3,
        |m| m.from = 2,
        |m| m.from = 0,
        |m| m.term = 0,
        |m| m.term = u64::MAX,
        |m| m.index = u64::MAX,
        |m| m.entries[0].index = 22,
        |m| m.entries[1].index = 21,
        |m| m.entries[1].term = 4,
        |m| m.entries[1].term = 6,
        |m| m.entries[0].entry_type = raft::eraftpb::EntryType::EntryConfChange,
        // What is committed here is something else.
        |m| {
            (m.index, m.log_term) = (11, 2);
            (m.entries[0].index, m.entries[0].term) = (12, 3);
            m.entries[1].index = 13;
        },
        |m| {
            m.msg_type = MessageType::MsgHeartbeat;
            (m.entries, m.commit) = (Vec::new().into(), 21);
        },
        |m| m.msg_type = MessageType::MsgSnapshot,
        |m| m.msg_type = MessageType::MsgPropose,
    ];
    for (number, damage) in cases.into_iter().enumerate() {
        let mut replica = Replica::new(&config(2), state()).unwrap();
        let mut message = sound.clone();
        damage(&mut message);
        replica.step(message, START);
        let mut outputs = Outputs::default();
        assert!(!replica.ready(&mut outputs), "case {number}");
    }
    let mut replica = Replica::new(&config(2), state()).unwrap();
    replica.step(sound, START);
    assert!(replica.ready(&mut Outputs::default()));
}

#[test]
fn a_membership_is_read_in_its_old_and_its_new_form() {
    let old = (vec![ReplicaId(1), ReplicaId(2)], vec![ReplicaId(7)]);
    let read: Membership = codec::decode(&codec::encode(&old).unwrap()).unwrap();
    assert_eq!((read.voters, read.learners), old);
    let joint = Membership {
        voters: [1, 2, 4].map(ReplicaId).to_vec(),
        outgoing: [1, 2, 3].map(ReplicaId).to_vec(),
        learners: vec![ReplicaId(5)],
        learners_next: vec![ReplicaId(3)],
        epoch: Epoch(9),
    };
    let bytes = codec::encode(&joint).unwrap();
    assert_eq!(codec::decode(&bytes), Ok(joint.clone()));
    assert!(joint.check().is_ok() && joint.is_joint() && !joint.is_one_voter());
    // A count beyond all bounds is refused without allocating.
    let many = codec::encode(&(MEMBERS_MAX as u64 + 1)).unwrap();
    assert!(codec::decode::<Membership>(&many).is_err());
}

#[test]
fn a_replica_starts_again_in_the_middle_of_a_replacement() {
    let membership = Membership {
        voters: [1, 2, 4].map(ReplicaId).to_vec(),
        outgoing: [1, 2, 3].map(ReplicaId).to_vec(),
        learners: Vec::new(),
        learners_next: vec![ReplicaId(3)],
        epoch: Epoch(2),
    };
    let state = Restored {
        membership: membership.clone(),
        ..restored(11..=20, 17, 17)
    };
    let replica = Replica::new(&config(1), state).unwrap();
    assert_eq!(replica.membership(), membership);
    assert_eq!(replica.epoch(), Epoch(2));
}

#[test]
fn a_change_whose_place_another_entry_took_is_lost() {
    let ticket = ChangeTicket {
        index: Index(5),
        term: Term(3),
    };
    let outcome = |index, term, kind| {
        ticket.outcome(&LogEntry {
            kind,
            ..entry(index, term)
        })
    };
    assert_eq!(outcome(4, 3, EntryKind::Membership), ChangeOutcome::Pending);
    assert_eq!(outcome(5, 3, EntryKind::Membership), ChangeOutcome::Done);
    assert_eq!(outcome(5, 3, EntryKind::Empty), ChangeOutcome::Lost);
    assert_eq!(outcome(5, 4, EntryKind::Membership), ChangeOutcome::Lost);
    assert_eq!(outcome(6, 4, EntryKind::Commands), ChangeOutcome::Lost);
}

/// A leader of one with a change that is handed out and waits to be carried out.
fn with_a_change_due() -> (Replica, LogEntry) {
    let (mut replica, mut outputs) = alone();
    let change = MembershipChange::AddLearner(ReplicaId(2));
    replica.propose_change(change).unwrap();
    assert!(replica.ready(&mut outputs));
    replica.persisted(&mut outputs);
    let entry = outputs.committed.pop().unwrap();
    assert_eq!(entry.kind, EntryKind::Membership);
    (replica, entry)
}

#[test]
fn a_leader_of_one_with_a_learner_decides_alone_and_keeps_a_tail() {
    let (mut replica, entry) = with_a_change_due();
    let membership = replica.apply_membership(&entry).unwrap();
    replica.applied(entry.index);
    assert_eq!(membership.learners, [ReplicaId(2)]);
    assert!(replica.can_read(START));
    let mut outputs = Outputs::default();
    turn(&mut replica, &mut outputs);
    replica.propose("a").unwrap();
    assert_eq!(turn(&mut replica, &mut outputs).len(), 1);
    assert!(replica.log_bytes() > 0);
}

#[test]
fn a_damaged_change_is_named() {
    let (mut replica, mut entry) = with_a_change_due();
    entry.data = Bytes::from_static(b"\x01\xff");
    let error = replica.apply_membership(&entry).unwrap_err().to_string();
    assert!(
        error.contains("index 2") && error.contains("rebuilt"),
        "{error}"
    );
}

#[test]
#[should_panic(expected = "invariant 9")]
fn a_change_is_not_carried_out_twice() {
    let (mut replica, entry) = with_a_change_due();
    replica.apply_membership(&entry).unwrap();
    let _ = replica.apply_membership(&entry);
}

#[test]
#[should_panic(expected = "without its membership change")]
fn a_change_is_not_passed_over() {
    let (mut replica, entry) = with_a_change_due();
    replica.applied(entry.index);
}

#[test]
fn a_voter_gone_with_its_quorum_is_not_demoted_when_the_rest_lacks_the_log() {
    use super::super::membership::{check_change, Situation};
    let membership = voters(&[1, 2, 3]).membership;
    let progress = |id: ReplicaId| {
        let index = Index(if id.get() == 3 { 4 } else { 100 });
        let follows = id.get() != 3;
        Some(Matched {
            index,
            follows,
            answers: true,
        })
    };
    let situation = Situation {
        membership: &membership,
        leader: ReplicaId(1),
        first_index: Index(50),
        last_index: Index(100),
        lag_max: 10,
        progress: &progress,
    };
    let demote = |id| check_change(&MembershipChange::Demote(ReplicaId(id)), &situation);
    assert_eq!(demote(3), Ok(()));
    let refused = demote(2).unwrap_err();
    assert!(
        matches!(refused, ChangeError::BeforeLog { .. }),
        "{refused}"
    );
}

/// A leader of three voters and learner 4, which has everything.
fn leader_with_learner() -> (Replica, Outputs) {
    let state = Restored {
        membership: Membership {
            learners: vec![ReplicaId(4)],
            ..voters(&[1, 2, 3]).membership
        },
        ..Restored::default()
    };
    let mut replica = Replica::new(&config(1), state).unwrap();
    let mut outputs = Outputs::default();
    elect(&mut replica, &mut outputs);
    let mut written = answer(MessageType::MsgAppendResponse, 4);
    written.index = 1;
    replica.step(written, START);
    turn(&mut replica, &mut outputs);
    (replica, outputs)
}

/// A learner that went down with everything in its log, in a group without writes, counted as caught up until its node counted as down. It
/// could be promoted, and where another voter was lost too the group waited for it.
#[test]
fn a_learner_that_answers_no_more_has_not_caught_up() {
    let (mut replica, mut outputs) = leader_with_learner();
    let learner = ReplicaId(4);
    assert!(replica.has_caught_up(learner));
    for passed in 1..=10 {
        replica.step(answer(MessageType::MsgHeartbeatResponse, 2), ticks(passed));
        replica.tick(ticks(passed));
        turn(&mut replica, &mut outputs);
    }
    assert!(replica.is_leader() && replica.has_caught_up(ReplicaId(2)));
    assert!(!replica.has_caught_up(learner));
    let refused = replica.propose_change(MembershipChange::Promote(learner));
    let is_silent = matches!(refused, Err(ChangeError::NotCaughtUp { behind: 0, .. }));
    assert!(is_silent, "{refused:?}");
    replica.step(answer(MessageType::MsgHeartbeatResponse, 4), ticks(11));
    assert!(replica.has_caught_up(learner));
    let promoted = replica.propose_change(MembershipChange::Promote(learner));
    assert!(promoted.is_ok(), "{promoted:?}");
}

#[test]
fn a_new_leader_knows_nobody_who_has_caught_up_before_they_answer_it() {
    let (mut replica, mut outputs) = leader_with_learner();
    let of_another = Message {
        term: 2,
        ..answer(MessageType::MsgHeartbeat, 3)
    };
    replica.step(of_another, ticks(1));
    turn(&mut replica, &mut outputs);
    replica.tick(ticks(20));
    elect_in(3, ticks(20), &mut replica, &mut outputs);
    turn(&mut replica, &mut outputs);
    // An answer to what it was before.
    replica.step(answer(MessageType::MsgHeartbeatResponse, 4), ticks(20));
    assert!(replica.is_leader() && replica.has_caught_up(ReplicaId(2)));
    assert!(!replica.has_caught_up(ReplicaId(4)));
}

#[test]
fn several_votes_change_at_once_or_none_of_them() {
    use super::super::membership::{check_change, Situation};
    let ids = |ids: &[u64]| ids.iter().copied().map(ReplicaId).collect::<Vec<_>>();
    let membership = Membership {
        learners: ids(&[4, 5, 6]),
        ..voters(&[1, 2, 3]).membership
    };
    let progress = |id: ReplicaId| {
        let index = Index(if id.get() == 6 { 4 } else { 100 });
        Some(Matched {
            index,
            follows: true,
            answers: true,
        })
    };
    let situation = Situation {
        membership: &membership,
        leader: ReplicaId(1),
        first_index: Index(1),
        last_index: Index(100),
        lag_max: 10,
        progress: &progress,
    };
    let check = |promote: &[u64], demote: &[u64]| {
        let (promote, demote) = (ids(promote), ids(demote));
        let change = MembershipChange::ChangeVoters { promote, demote };
        check_change(&change, &situation)
    };
    assert_eq!(check(&[4, 5], &[2, 3]), Ok(()));
    assert_eq!(check(&[4, 5], &[]), Ok(()));
    assert_eq!(check(&[], &[2, 3]), Ok(()));
    let lags = check(&[4, 6], &[2]).unwrap_err();
    assert!(matches!(lags, ChangeError::NotCaughtUp { .. }), "{lags}");
    for (promote, demote, why) in [
        (&[4, 4][..], &[][..], ChangeError::Twice(ReplicaId(4))),
        (&[2], &[2], ChangeError::Twice(ReplicaId(2))),
        (&[], &[], ChangeError::Nothing),
        (&[4], &[1, 2], ChangeError::Leader(ReplicaId(1))),
        (&[4], &[5], ChangeError::NotVoter(ReplicaId(5))),
        (&[3], &[], ChangeError::NotLearner(ReplicaId(3))),
    ] {
        assert_eq!(check(promote, demote), Err(why), "{promote:?} {demote:?}");
    }
}
