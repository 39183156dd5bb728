//! Replicas that may have forgotten what they acknowledged elect the most advanced, and never another.

use super::*;
use std::collections::BTreeMap;

const AGREED: Term = Term(1003);

/// A replica of three that has this many entries, of term 2.
fn suspect(id: u64, last: u64) -> Replica {
    let state = Restored {
        entries: (1..=last).map(|index| entry(index, 2)).collect(),
        hard_state: HardState {
            term: Term(3),
            vote: ReplicaId(id),
            commit: Index::ZERO,
        },
        ..voters(&[1, 2, 3])
    };
    Replica::new(&config(id), state).unwrap()
}

struct Group {
    replicas: BTreeMap<u64, Replica>,
    now: u64,
    /// A replica that neither hears nor is heard.
    cut_off: u64,
}

impl Group {
    /// Lets a tick pass and messages go to and fro until there are no more.
    fn pass(&mut self) {
        self.now += 1;
        for replica in self.replicas.values_mut() {
            replica.tick(ticks(self.now));
        }
        loop {
            let mut sent = Vec::new();
            for replica in self.replicas.values_mut() {
                let mut outputs = Outputs::default();
                while replica.ready(&mut outputs) {
                    sent.append(&mut outputs.messages);
                    replica.persisted(&mut outputs);
                    sent.append(&mut outputs.messages);
                    if let Some(last) = outputs.committed.last() {
                        replica.applied(last.index);
                    }
                }
            }
            sent.retain(|message| ![message.from, message.to].contains(&self.cut_off));
            if sent.is_empty() {
                return;
            }
            for message in sent {
                let to = self.replicas.get_mut(&message.to).unwrap();
                to.step(message, ticks(self.now));
            }
        }
    }

    fn leader(&self) -> Option<u64> {
        let leads = self
            .replicas
            .iter()
            .find(|(_, replica)| replica.is_leader());
        leads.map(|(id, _)| *id)
    }
}

/// Three of which replica 2 is the most advanced, all confined to it.
fn group() -> Group {
    let replicas = [(1, 10), (2, 12), (3, 11)].map(|(id, last)| (id, suspect(id, last)));
    let mut replicas = BTreeMap::from(replicas);
    for replica in replicas.values_mut() {
        assert!(replica.confine(ReplicaId(2), AGREED));
    }
    Group {
        replicas,
        now: 0,
        cut_off: 0,
    }
}

#[test]
fn the_most_advanced_is_elected_in_a_term_that_nobody_has_voted_in() {
    let mut group = group();
    (0..60).for_each(|_| group.pass());
    assert_eq!(group.leader(), Some(2));
    for replica in group.replicas.values() {
        assert!(replica.term() > AGREED && replica.is_past(AGREED));
        assert_eq!(replica.applied_index(), Index(13));
        assert_eq!(replica.confined_in(), Some(AGREED));
    }
}

/// Replica 3 knows more than replica 1, and has its vote for the asking; the most advanced is not heard.
#[test]
fn a_less_advanced_one_never_wins() {
    let mut group = group();
    group.cut_off = 2;
    for _ in 0..300 {
        group.pass();
        for id in [1, 3] {
            group.replicas.get_mut(&id).unwrap().campaign();
        }
        assert!(group
            .replicas
            .iter()
            .all(|(id, replica)| *id == 2 || !replica.is_leader()));
    }
    // Nor does one that was not asked whether it agrees.
    let stranger = suspect(3, 11);
    group.replicas.insert(3, stranger);
    for _ in 0..300 {
        group.pass();
        assert_ne!(group.leader(), Some(3));
        assert_ne!(group.leader(), Some(1));
    }
    group.cut_off = 0;
    (0..60).for_each(|_| group.pass());
    assert_eq!(group.leader(), Some(2));
}

#[test]
fn who_has_an_entry_of_the_elected_may_follow_it_in_office() {
    let mut group = group();
    group.cut_off = 3;
    (0..60).for_each(|_| group.pass());
    assert_eq!(group.leader(), Some(2));
    // Replica 1 has all that 2 had, replica 3 has heard nothing: it helps 1 all the same.
    group.cut_off = 2;
    (0..100).for_each(|_| group.pass());
    assert!(group.replicas[&1].is_leader());
    assert_eq!(
        group.replicas[&3].last_entry(),
        group.replicas[&1].last_entry()
    );
}

#[test]
fn a_replica_with_a_leader_or_a_newer_term_is_not_confined() {
    let (mut lone, _) = alone();
    assert!(!lone.confine(ReplicaId(1), AGREED));
    let mut replica = suspect(1, 4);
    assert!(!replica.confine(ReplicaId(2), Term(2)), "it is further");
    let heartbeat = Message {
        msg_type: MessageType::MsgHeartbeat,
        from: 2,
        to: 1,
        term: 4,
        ..Default::default()
    };
    replica.step(heartbeat, START);
    assert!(!replica.confine(ReplicaId(2), AGREED));
    assert_eq!(replica.term(), Term(4));
}

#[test]
fn the_order_to_stand_is_not_for_the_confined() {
    let mut group = group();
    let order = Message {
        msg_type: MessageType::MsgTimeoutNow,
        from: 2,
        to: 1,
        term: AGREED.get(),
        ..Default::default()
    };
    let replica = group.replicas.get_mut(&1).unwrap();
    replica.step(order, ticks(100));
    let mut outputs = Outputs::default();
    turn(replica, &mut outputs);
    assert_eq!(replica.term(), AGREED);
}
