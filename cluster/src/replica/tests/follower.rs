//! What a follower knows of its age: one replica of three, its leader played by the test.

use super::*;
use raft::eraftpb::Entry;

const LEADER: u64 = 2;

fn of_leader(msg_type: MessageType) -> Message {
    Message {
        msg_type,
        from: LEADER,
        to: 1,
        term: 1,
        ..Default::default()
    }
}

/// A follower with one entry that is committed.
fn follower() -> (Replica, Outputs) {
    let mut replica = Replica::new(&config(1), voters(&[1, 2, 3])).unwrap();
    let mut outputs = Outputs::default();
    append(&mut replica, 1, 1);
    assert_eq!(turn(&mut replica, &mut outputs).len(), 1);
    (replica, outputs)
}

fn append(replica: &mut Replica, index: u64, commit: u64) {
    let entry = Entry {
        index,
        term: 1,
        data: Bytes::from_static(b"data"),
        ..Default::default()
    };
    let message = Message {
        index: index - 1,
        log_term: u64::from(index > 1),
        commit,
        entries: vec![entry].into(),
        ..of_leader(MessageType::MsgAppend)
    };
    replica.step(message, START);
}

/// The question that a turn sends.
fn question(replica: &mut Replica, outputs: &mut Outputs) -> Option<Message> {
    let mut sent = Vec::new();
    while replica.ready(outputs) {
        replica.persisted(outputs);
        sent.append(&mut outputs.messages);
        if let Some(last) = outputs.committed.last() {
            replica.applied(last.index);
        }
    }
    sent.retain(|message| message.msg_type == MessageType::MsgReadIndex);
    sent.pop()
}

fn answer(question: &Message, index: u64) -> Message {
    Message {
        index,
        context: question.context.clone(),
        ..of_leader(MessageType::MsgReadIndexResp)
    }
}

#[test]
fn a_follower_is_as_old_as_its_question_once_the_answer_s_index_is_applied() {
    let (mut replica, mut outputs) = follower();
    append(&mut replica, 2, 1);
    turn(&mut replica, &mut outputs);
    assert_eq!(replica.fresh_as_of(), None);
    assert!(replica.ask_how_fresh(ticks(3)));
    let asked = question(&mut replica, &mut outputs).unwrap();
    assert_eq!((asked.to, asked.term), (LEADER, 1));
    let mut told = answer(&asked, 2);
    told.term = 1;
    replica.step(told, ticks(4));
    assert!(replica.ready(&mut outputs));
    replica.persisted(&mut outputs);
    // It learns by the answer that the entry is committed.
    assert_eq!(outputs.committed.last().unwrap().index, Index(2));
    assert_eq!(replica.fresh_as_of(), None, "the entry is not applied");
    replica.applied(Index(2));
    assert_eq!(replica.fresh_as_of(), Some(ticks(3)));
    assert!(replica.is_fresh(ticks(5), 2 * TICK_US));
    assert!(!replica.is_fresh(Monotonic(ticks(5).get() + 1), 2 * TICK_US));
}

#[test]
fn heartbeats_and_appends_alone_prove_nothing() {
    let (mut replica, mut outputs) = follower();
    replica.step(of_leader(MessageType::MsgHeartbeat), ticks(1));
    append(&mut replica, 2, 2);
    turn(&mut replica, &mut outputs);
    assert_eq!(replica.fresh_as_of(), None);
}

#[test]
fn an_answer_to_a_question_that_was_given_up_proves_nothing() {
    let (mut replica, mut outputs) = follower();
    replica.ask_how_fresh(ticks(1));
    let first = question(&mut replica, &mut outputs).unwrap();
    // One at a time, until it has taken half an election timeout.
    assert!(replica.ask_how_fresh(ticks(5)) && question(&mut replica, &mut outputs).is_none());
    replica.ask_how_fresh(ticks(6));
    let second = question(&mut replica, &mut outputs).unwrap();
    assert_ne!(first.context, second.context);
    replica.step(answer(&first, 1), ticks(6));
    turn(&mut replica, &mut outputs);
    assert_eq!(replica.fresh_as_of(), None);
    replica.step(answer(&second, 1), ticks(7));
    turn(&mut replica, &mut outputs);
    assert_eq!(replica.fresh_as_of(), Some(ticks(6)));
}

#[test]
fn an_answer_of_an_earlier_term_or_of_another_node_is_dropped() {
    let (mut replica, mut outputs) = follower();
    replica.ask_how_fresh(ticks(1));
    let asked = question(&mut replica, &mut outputs).unwrap();
    let mut other = answer(&asked, 1);
    other.from = 3;
    replica.step(other, ticks(1));
    let mut next_term = of_leader(MessageType::MsgHeartbeat);
    next_term.term = 2;
    replica.step(next_term, ticks(1));
    replica.step(answer(&asked, 1), ticks(1));
    turn(&mut replica, &mut outputs);
    assert_eq!(replica.fresh_as_of(), None);
}

#[test]
fn a_follower_that_knows_no_leader_has_nobody_to_ask() {
    let mut replica = Replica::new(&config(1), voters(&[1, 2, 3])).unwrap();
    assert!(!replica.ask_how_fresh(ticks(1)));
    let (mut leader, _) = alone();
    assert!(!leader.ask_how_fresh(ticks(1)));
}
