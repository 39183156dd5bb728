//! The short way of a replica that is alone. It must not be told from the long one: two replicas are driven in step, one of which is
//! kept from it, through random proposals, writes, partial applies, snapshots, crashes and changes of the membership, and
//! whatever the driver sees is compared after every step.

use super::*;
use crate::types::Epoch;
use proptest::prelude::*;

/// A group that sends heartbeats with every tick and never holds an election, so that it does not matter when the last
/// heartbeat was: a leader that begins anew counts its ticks anew.
fn steady() -> Config {
    Config {
        heartbeat_ticks: 1,
        election_ticks: 1000,
        election_ticks_own: 1000,
        tail_bytes_max: 1_000,
        absence_us: 0,
        log_bytes_max: 2_000,
        ..config(1)
    }
}

const LARGE: &[u8] = &[b'x'; 5 * 1024 * 1024];

/// What a step can be; the number decides about details.
#[derive(Debug, Clone, Copy)]
enum Step {
    Propose(u8),
    /// So much that it is not applied at once.
    ProposeLarge,
    Ready,
    Persisted,
    Apply(u8),
    Turn,
    Tick,
    Campaign,
    Change(u8),
    /// Replica 2 says that it has all that is written here.
    Answer,
    Snapshot,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => any::<u8>().prop_map(Step::Propose),
        1 => Just(Step::ProposeLarge),
        4 => Just(Step::Ready),
        4 => Just(Step::Persisted),
        4 => any::<u8>().prop_map(Step::Apply),
        6 => Just(Step::Turn),
        2 => Just(Step::Tick),
        1 => Just(Step::Campaign),
        3 => any::<u8>().prop_map(Step::Change),
        3 => Just(Step::Answer),
        2 => Just(Step::Snapshot),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..150)
}

/// An entry, told by its place and the beginning of its data.
type Told = (Index, Term, EntryKind, usize, Vec<u8>);

fn told(entries: &[LogEntry]) -> Vec<Told> {
    let tell = |entry: &LogEntry| {
        let beginning = entry.data[..entry.data.len().min(16)].to_vec();
        let length = entry.data.len();
        (entry.index, entry.term, entry.kind, length, beginning)
    };
    entries.iter().map(tell).collect()
}

/// What a driver sees of one call.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    answer: String,
    entries: Vec<Told>,
    committed: Vec<Told>,
    messages: Vec<Message>,
    requests: Vec<SnapshotRequest>,
    hard_state: Option<HardState>,
    must_sync: bool,
}

/// What a driver can ask.
#[derive(Debug, PartialEq)]
struct Asked {
    led: (Term, bool, Option<ReplicaId>, HardState),
    log: [Index; 6],
    reads: [bool; 4],
    membership: (Membership, Epoch, bool),
    matched: [Option<Matched>; 3],
    wants_snapshot: bool,
    lease_end: Option<Monotonic>,
    transferring_to: Option<ReplicaId>,
}

/// A replica with its disk and its driver.
struct Driven {
    replica: Replica,
    outputs: Outputs,
    disk: Restored,
    is_writing: bool,
    to_apply: VecDeque<LogEntry>,
    last_applied: (Index, Term),
    now: u64,
    change_is_due: bool,
}

impl Driven {
    fn new(never_solo: bool) -> Self {
        let mut driven = Self {
            replica: Replica::new(&steady(), voters(&[1])).unwrap(),
            outputs: Outputs::default(),
            disk: voters(&[1]),
            is_writing: false,
            to_apply: VecDeque::new(),
            last_applied: (Index::ZERO, Term::ZERO),
            now: 0,
            change_is_due: false,
        };
        driven.replica.never_solo = never_solo;
        driven.replica.campaign();
        driven.turn();
        driven
    }

    fn seen(&mut self, answer: String) -> Seen {
        let outputs = &mut self.outputs;
        assert!(outputs.snapshot.is_none());
        Seen {
            answer,
            entries: told(&outputs.entries),
            committed: told(&outputs.committed),
            messages: std::mem::take(&mut outputs.messages),
            requests: std::mem::take(&mut outputs.snapshot_requests),
            hard_state: outputs.hard_state,
            must_sync: outputs.must_sync,
        }
    }

    fn ready(&mut self) -> Seen {
        self.is_writing = self.replica.ready(&mut self.outputs);
        let commit = self.replica.known_commit_if_persisted();
        self.seen(format!("{} {commit}", self.is_writing))
    }

    fn persisted(&mut self) -> Seen {
        // The record is on the disk.
        let commit = self.replica.known_commit_if_persisted();
        if let Some(state) = self.outputs.hard_state {
            self.disk.hard_state = state;
        }
        self.disk.entries.append(&mut self.outputs.entries);
        self.disk.hard_state.commit = commit;
        self.replica.persisted(&mut self.outputs);
        self.is_writing = false;
        self.to_apply.extend(self.outputs.committed.iter().cloned());
        self.seen(String::new())
    }

    fn apply(&mut self, most: usize) {
        for _ in 0..most {
            let Some(entry) = self.to_apply.pop_front() else {
                return;
            };
            if entry.kind == EntryKind::Membership {
                self.replica.apply_membership(&entry).unwrap();
                self.change_is_due = false;
            }
            self.replica.applied(entry.index);
            self.last_applied = (entry.index, entry.term);
        }
    }

    fn turn(&mut self) -> Seen {
        let mut all = Seen::default();
        if self.is_writing {
            all.committed.extend(self.persisted().committed);
        }
        self.apply(usize::MAX);
        loop {
            let seen = self.ready();
            all.answer.push_str(&seen.answer);
            all.entries.extend(seen.entries);
            all.messages.extend(seen.messages);
            if !self.is_writing {
                return all;
            }
            let seen = self.persisted();
            all.committed.extend(seen.committed);
            all.messages.extend(seen.messages);
            self.apply(usize::MAX);
        }
    }

    fn change(&mut self, draw: u8) -> Seen {
        // In the middle of a turn the short way is busy where the long one is not.
        if self.replica.committed() != self.replica.applied_index() {
            return Seen::default();
        }
        let (two, membership) = (ReplicaId(2), self.replica.membership());
        let change = if !membership.contains(two) {
            MembershipChange::AddLearner(two)
        } else if membership.voters.contains(&two) {
            MembershipChange::Demote(two)
        } else if draw.is_multiple_of(2) {
            MembershipChange::Promote(two)
        } else {
            MembershipChange::Remove(two)
        };
        let ticket = self.replica.propose_change(change);
        self.change_is_due |= ticket.is_ok();
        Seen {
            answer: format!("{ticket:?}"),
            ..Seen::default()
        }
    }

    fn snapshot(&mut self) {
        let (index, term) = self.last_applied;
        let place = SnapshotPlace {
            index,
            term,
            membership: self.replica.membership(),
        };
        self.disk.entries.retain(|entry| entry.index > index);
        (self.disk.snapshot_index, self.disk.snapshot_term) = (index, term);
        (self.disk.applied, self.disk.membership) = (index, place.membership.clone());
        self.replica.snapshot_is_durable(place);
    }

    /// What was not written is gone. Nobody else may have to vote for it afterwards.
    fn crash(&mut self) {
        if self.change_is_due || !self.replica.alone {
            return;
        }
        let never_solo = self.replica.never_solo;
        self.replica = Replica::new(&steady(), self.disk.clone()).expect("sound");
        self.replica.never_solo = never_solo;
        (self.is_writing, self.last_applied) =
            (false, (self.disk.snapshot_index, self.disk.snapshot_term));
        self.to_apply.clear();
        self.turn();
        // Promises that it may have forgotten have ended.
        self.replica.tick(ticks(self.now));
        self.now += 1001;
        self.replica.tick(ticks(self.now));
        self.replica.campaign();
        self.turn();
    }

    fn answer(&mut self) {
        let written = self.disk.entries.last().map(|entry| entry.index);
        let message = Message {
            msg_type: MessageType::MsgAppendResponse,
            from: 2,
            to: 1,
            term: self.replica.term().get(),
            index: written.unwrap_or(self.disk.snapshot_index).get(),
            ..Default::default()
        };
        if self.replica.membership().contains(ReplicaId(2)) {
            self.replica.step(message, ticks(self.now));
        }
    }

    fn propose(&mut self, data: Bytes) -> String {
        format!("{:?}", self.replica.propose(data))
    }

    fn take(&mut self, step: Step) -> Seen {
        let mut seen = Seen::default();
        match step {
            Step::Propose(draw) => {
                seen.answer = self.propose(Bytes::from(vec![draw; 1 + usize::from(draw)]));
            }
            Step::ProposeLarge => {
                for _ in 0..8 {
                    seen.answer += &self.propose(Bytes::from_static(LARGE));
                }
            }
            Step::Ready if !self.is_writing => return self.ready(),
            Step::Persisted if self.is_writing => return self.persisted(),
            Step::Apply(draw) if !self.is_writing => self.apply(1 + usize::from(draw) % 3),
            Step::Turn => return self.turn(),
            Step::Tick => {
                self.now += 1;
                self.replica.tick(ticks(self.now));
            }
            Step::Campaign => self.replica.campaign(),
            Step::Change(draw) => return self.change(draw),
            Step::Answer => self.answer(),
            Step::Snapshot => self.snapshot(),
            Step::Crash => self.crash(),
            _ => {}
        }
        seen
    }

    fn ask(&self) -> Asked {
        let (replica, now) = (&self.replica, ticks(self.now));
        Asked {
            led: (
                replica.term(),
                replica.is_leader(),
                replica.leader(),
                replica.hard_state(),
            ),
            log: [
                replica.first_index(),
                replica.last_index(),
                replica.committed(),
                replica.applied_index(),
                replica.known_commit_if_persisted(),
                replica.durable_snapshot(),
            ],
            reads: [
                replica.can_read(now),
                replica.lease_valid(now),
                replica.has_applied_own_term(),
                replica.is_member(),
            ],
            membership: (replica.membership(), replica.epoch(), replica.alone),
            matched: [1, 2, 3].map(|id| replica.matched(ReplicaId(id))),
            wants_snapshot: replica.wants_snapshot(),
            lease_end: replica.lease_end(),
            transferring_to: replica.transferring_to(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_short_way_cannot_be_told_from_the_long_one(steps in steps()) {
        let (mut short, mut long) = (Driven::new(false), Driven::new(true));
        for (number, &step) in steps.iter().enumerate() {
            let (term, committed) = (short.replica.term(), short.replica.committed());
            let seen = (short.take(step), long.take(step));
            prop_assert_eq!(seen.0, seen.1, "step {} {:?}", number, step);
            let asked = (short.ask(), long.ask());
            prop_assert_eq!(asked.0, asked.1, "after step {} {:?}", number, step);
            prop_assert_eq!(&short.disk.hard_state, &long.disk.hard_state);
            let bytes = (short.replica.log_bytes(), long.replica.log_bytes());
            // A part of what was handed out together counts until all of it is applied.
            let exact = short.to_apply.is_empty();
            prop_assert!(bytes.0 == bytes.1 || !exact && bytes.0 > bytes.1, "{:?}", bytes);
            let went_on = (short.replica.term(), short.replica.committed()) >= (term, committed);
            // A crash forgets a candidacy that was not written.
            prop_assert!(went_on || matches!(step, Step::Crash));
            prop_assert!(long.replica.solo.is_none());
        }
        // After a change there may have been something left to send; then the next entry is the last to go the long way.
        for driven in [&mut short, &mut long] {
            driven.turn();
            driven.take(Step::Propose(1));
            driven.turn();
        }
        let at_rest = short.replica.alone && short.replica.is_leader();
        prop_assert!(!at_rest || short.replica.solo.is_some(), "no way back");
        prop_assert_eq!(told(&short.disk.entries), told(&long.disk.entries));
    }
}

#[test]
fn a_lone_leader_takes_the_short_way_from_its_first_applied_entry_on() {
    let mut replica = Replica::new(&config(1), voters(&[1])).unwrap();
    let mut outputs = Outputs::default();
    replica.campaign();
    assert!(replica.ready(&mut outputs));
    replica.persisted(&mut outputs);
    assert!(replica.solo.is_none());
    replica.applied(Index(1));
    assert!(replica.solo.is_some());
}

#[test]
fn what_was_written_on_the_short_way_is_there_after_a_crash() {
    let mut driven = Driven::new(false);
    for draw in 0..5 {
        driven.take(Step::Propose(draw));
        driven.take(Step::Turn);
    }
    driven.take(Step::Snapshot);
    for draw in 5..8 {
        driven.take(Step::Propose(draw));
        driven.take(Step::Turn);
    }
    driven.take(Step::Propose(8));
    driven.take(Step::Ready);
    // Since its election nothing but the commit index is new.
    assert_eq!(driven.disk.hard_state, driven.replica.hard_state());
    assert_eq!(driven.disk.hard_state.term, Term(1));
    let mut again = Replica::new(&steady(), driven.disk).unwrap();
    let applied = turn(&mut again, &mut driven.outputs);
    let lengths: Vec<usize> = applied.iter().map(|entry| entry.data.len()).collect();
    assert_eq!(lengths, [6, 7, 8]);
    again.campaign();
    turn(&mut again, &mut driven.outputs);
    assert_eq!((again.term(), again.last_index()), (Term(2), Index(10)));
    assert!(again.solo.is_some());
}

#[test]
fn a_lone_leader_heeds_neither_messages_nor_candidacies_nor_time() {
    let (mut replica, mut outputs) = alone();
    assert!(replica.solo.is_some());
    let mut message = Message {
        msg_type: MessageType::MsgHeartbeat,
        to: 1,
        from: 9,
        term: 8,
        ..Default::default()
    };
    for passed in 1..100 {
        replica.tick(ticks(passed));
        replica.step(message.clone(), ticks(passed));
        message.msg_type = MessageType::MsgRequestVote;
        replica.campaign();
        replica.unreachable(ReplicaId(9));
        replica.report_snapshot(ReplicaId(9), false);
        assert!(!replica.renew_lease(ticks(passed)) && replica.can_read(ticks(passed)));
    }
    let refused = replica.transfer_leadership(ReplicaId(9), ticks(100));
    assert_eq!(refused, Err(TransferError::NotAnotherVoter(ReplicaId(9))));
    assert_eq!((replica.term(), replica.is_leader()), (Term(1), true));
    assert!(!replica.ready(&mut outputs));
}

#[test]
fn a_change_that_is_refused_leaves_the_short_way_alone() {
    let (mut replica, _) = alone();
    let refused = replica.propose_change(MembershipChange::AddLearner(ReplicaId(1)));
    assert_eq!(refused, Err(ChangeError::Duplicate(ReplicaId(1))));
    assert!(replica.solo.is_some());
}

#[test]
fn a_change_follows_what_was_proposed_before_it_in_the_same_term() {
    let (mut replica, mut outputs) = alone();
    replica.propose("a").unwrap();
    replica.propose("b").unwrap();
    assert_eq!(replica.last_index(), Index(3));
    let add = MembershipChange::AddLearner(ReplicaId(2));
    let ticket = replica.propose_change(add).unwrap();
    assert_eq!((ticket.index, ticket.term), (Index(4), Term(1)));
    assert!(replica.can_read(START) && replica.solo.is_none());
    assert!(replica.ready(&mut outputs));
    assert_eq!(outputs.hard_state, None);
    let places: Vec<_> = told(&outputs.entries);
    assert_eq!(
        places
            .iter()
            .map(|told| (told.0, told.2))
            .collect::<Vec<_>>(),
        [
            (Index(2), EntryKind::Commands),
            (Index(3), EntryKind::Commands),
            (Index(4), EntryKind::Membership)
        ]
    );
    replica.persisted(&mut outputs);
    assert_eq!(outputs.committed.len(), 3);
}

#[test]
fn in_the_middle_of_a_turn_a_change_is_busy() {
    let (mut replica, mut outputs) = alone();
    let change =
        |replica: &mut Replica| replica.propose_change(MembershipChange::AddLearner(ReplicaId(2)));
    replica.propose("a").unwrap();
    assert!(replica.ready(&mut outputs));
    assert_eq!(change(&mut replica), Err(ChangeError::Busy));
    replica.persisted(&mut outputs);
    assert_eq!(change(&mut replica), Err(ChangeError::Busy));
    replica.applied(Index(2));
    assert!(change(&mut replica).is_ok());
}

#[test]
fn what_is_too_much_to_be_applied_at_once_comes_in_pieces() {
    let mut driven = Driven::new(false);
    assert!(driven.replica.solo.is_some());
    driven.take(Step::ProposeLarge);
    let mut pieces = Vec::new();
    while driven.replica.ready(&mut driven.outputs) {
        // The rest is written already.
        assert_eq!(driven.outputs.must_sync, pieces.is_empty());
        driven.replica.persisted(&mut driven.outputs);
        pieces.push(driven.outputs.committed.len());
    }
    assert_eq!(pieces, [3, 5]);
}

#[test]
#[should_panic(expected = "persisted() without ready()")]
fn persisted_without_ready_is_a_bug_when_alone() {
    let (mut replica, mut outputs) = alone();
    replica.persisted(&mut outputs);
}

#[test]
#[should_panic(expected = "ready() before persisted()")]
fn ready_before_persisted_is_a_bug_when_alone() {
    let (mut replica, mut outputs) = alone();
    replica.propose("a").unwrap();
    assert!(replica.ready(&mut outputs));
    replica.ready(&mut outputs);
}

#[test]
#[should_panic(expected = "invariant 9")]
fn applying_what_is_written_and_not_handed_out_is_a_bug_when_alone() {
    let (mut replica, mut outputs) = alone();
    replica.propose("a").unwrap();
    assert!(replica.ready(&mut outputs));
    replica.applied(Index(2));
}
