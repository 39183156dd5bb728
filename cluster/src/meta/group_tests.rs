//! The meta group on one node: proposals and what becomes of them, snapshots, and topologies that others offer.

use super::*;
use crate::replica::{Config, MembershipChange, Message, Outputs, Restored};
use crate::topology::tests::node;
use crate::types::{Epoch, Monotonic, ReplicaId};
use raft::eraftpb::MessageType;

fn init(cluster: u128) -> MetaCommand {
    MetaCommand::Init {
        cluster_id: ClusterId(cluster),
        shards: 2,
        replicas: 3,
        node: node(1),
    }
}

fn join(id: u128) -> MetaCommand {
    MetaCommand::Join {
        cluster_id: None,
        node: node(id),
    }
}

fn replica(restored: Restored) -> Replica {
    let config = Config::new(META_GROUP, ReplicaId(1));
    Replica::new(&config, restored).unwrap()
}

/// A turn with a driver that writes at once; gives what was applied.
fn turn(group: &mut MetaGroup) -> Vec<(LogEntry, MetaApplied)> {
    let (mut outputs, mut all) = (Outputs::default(), Vec::new());
    while group.replica.as_mut().unwrap().ready(&mut outputs) {
        group.replica.as_mut().unwrap().persisted(&mut outputs);
        for entry in outputs.committed.drain(..) {
            let applied = group.apply(&entry).unwrap();
            group.replica.as_mut().unwrap().applied(entry.index);
            all.push((entry, applied));
        }
    }
    all
}

/// A node that leads the meta group alone; there is no cluster yet.
fn alone() -> MetaGroup {
    let mut group = MetaGroup::new();
    group.start(replica(Restored::fresh([ReplicaId(1)])));
    group.replica.as_mut().unwrap().campaign();
    turn(&mut group);
    group
}

fn formed() -> MetaGroup {
    let mut group = alone();
    done(&mut group, &init(9)).unwrap();
    group
}

/// Proposes and applies, and gives the reply.
fn done(group: &mut MetaGroup, command: &MetaCommand) -> Result<MetaReply, MetaError> {
    let ticket = group.propose(command).unwrap();
    assert_eq!(group.outcome(ticket), ProposalOutcome::Pending);
    turn(group);
    match group.outcome(ticket) {
        ProposalOutcome::Done(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn bytes_of(group: &MetaGroup) -> Vec<u8> {
    group.topology().encode().unwrap()
}

#[test]
fn a_proposal_is_applied_and_its_outcome_told_once() {
    let mut group = alone();
    let ticket = group.propose(&init(9)).unwrap();
    turn(&mut group);
    let reply = MetaReply {
        epoch: Epoch(1),
        changed: true,
    };
    assert_eq!(group.outcome(ticket), ProposalOutcome::Done(Ok(reply)));
    assert_eq!(group.outcome(ticket), ProposalOutcome::Unknown);
    assert!(group.topology().is_formed());
}

#[test]
fn a_refused_command_is_an_entry_that_changes_nothing_on_any_node() {
    let mut group = alone();
    let (mut follower, mut entries) = (MetaGroup::new(), Vec::new());
    follower.apply(&first_entry()).unwrap();
    for command in [join(2), init(9), init(8), join(2)] {
        group.propose(&command).unwrap();
        entries.extend(turn(&mut group));
    }
    let refused = entries
        .iter()
        .filter(|(_, applied)| matches!(applied, MetaApplied::Command(Err(_))));
    assert_eq!(refused.count(), 2);
    for (entry, applied) in &entries {
        assert_eq!(follower.apply(entry).as_ref(), Ok(applied));
    }
    assert_eq!(follower.topology(), group.topology());
    assert_eq!(follower.applied, group.applied);
}

fn first_entry() -> LogEntry {
    LogEntry {
        index: Index(1),
        term: Term(1),
        kind: EntryKind::Empty,
        ..LogEntry::default()
    }
}

#[test]
fn only_the_leader_proposes() {
    let mut group = MetaGroup::new();
    assert_eq!(group.propose(&join(2)), Err(MetaProposeError::NotLeader));
    group.start(replica(Restored::fresh([ReplicaId(1), ReplicaId(2)])));
    assert_eq!(group.propose(&join(2)), Err(MetaProposeError::NotLeader));
    assert!(!group.leads());
}

#[test]
fn a_command_too_large_for_the_log_is_not_proposed() {
    let mut group = formed();
    let large = MetaCommand::SetItem {
        shelf: super::super::ShelfName::Settings,
        name: "x".into(),
        value: Some(vec![1; super::super::COMMAND_BYTES_MAX + 1]),
    };
    let error = group.propose(&large).unwrap_err();
    assert!(matches!(error, MetaProposeError::Command(_)), "{error}");
}

#[test]
fn a_proposal_whose_place_another_leader_took_is_lost() {
    let mut group = MetaGroup::new();
    let waits = |index, term| ProposalTicket {
        index: Index(index),
        term: Term(term),
    };
    let entry = |index: u64, data: Vec<u8>| LogEntry {
        index: Index(index),
        term: Term(2),
        data: data.into(),
        ..LogEntry::default()
    };
    for ticket in [waits(1, 1), waits(1, 2), waits(2, 2)] {
        group.open.insert(ticket, None);
    }
    group.apply(&entry(1, init(9).encode().unwrap())).unwrap();
    assert_eq!(group.outcome(waits(1, 1)), ProposalOutcome::Lost);
    let done = group.outcome(waits(1, 2));
    assert!(matches!(done, ProposalOutcome::Done(Ok(_))), "{done:?}");
    let unknown = group.outcome(waits(2, 2));
    assert_eq!(unknown, ProposalOutcome::Unknown, "it leads no more");
}

#[test]
fn who_leads_no_more_does_not_know_what_becomes_of_a_proposal() {
    let mut group = formed();
    add_learner(&mut group);
    let ticket = group.propose(&join(2)).unwrap();
    let newer = Message {
        msg_type: MessageType::MsgHeartbeat,
        from: 2,
        to: 1,
        term: 9,
        ..Message::default()
    };
    let replica = group.replica.as_mut().unwrap();
    replica.step(newer, Monotonic(1));
    assert!(!replica.is_leader());
    assert_eq!(group.outcome(ticket), ProposalOutcome::Unknown);
}

fn add_learner(group: &mut MetaGroup) {
    let change = MembershipChange::AddLearner(ReplicaId(2));
    let replica = group.replica.as_mut().unwrap();
    replica.propose_change(change).unwrap();
    turn(group);
}

#[test]
fn a_change_of_its_own_membership_goes_through_the_same_door() {
    let mut group = formed();
    let before = group.topology().clone();
    add_learner(&mut group);
    let place = group.place().unwrap();
    assert_eq!(place.membership.learners, [ReplicaId(2)]);
    assert_eq!(place.index, group.replica.as_ref().unwrap().applied_index());
    assert_eq!(
        *group.topology(),
        before,
        "the topology learns of it by a command"
    );
}

#[test]
fn proposals_that_nobody_asks_for_are_forgotten_and_undecided_ones_bounded() {
    let mut group = formed();
    let first = group.propose(&join(2)).unwrap();
    for _ in 0..PROPOSALS_MAX {
        turn(&mut group);
        group.propose(&join(2)).unwrap();
    }
    assert_eq!(group.open.len(), PROPOSALS_MAX);
    assert_eq!(group.outcome(first), ProposalOutcome::Unknown);
    for outcome in group.open.values_mut() {
        *outcome = None;
    }
    group.open.insert(first, None);
    assert_eq!(group.propose(&join(2)), Err(MetaProposeError::Busy));
}

#[test]
fn a_snapshot_brings_another_node_to_the_same_place() {
    let mut group = formed();
    done(&mut group, &join(2)).unwrap();
    let bytes = group.encode_snapshot().unwrap();
    let mut other = MetaGroup::new();
    other.offer(&bytes_of(&formed())).unwrap();
    other.install(&bytes).unwrap();
    assert_eq!(other.applied, group.applied);
    assert_eq!(other.topology(), group.topology());
    let again = MetaGroup::restored(MetaSnapshot::decode(&bytes).unwrap());
    assert_eq!(again.topology(), group.topology());

    group.propose(&join(3)).unwrap();
    for (entry, _) in turn(&mut group) {
        other.apply(&entry).unwrap();
    }
    assert_eq!(other.topology(), group.topology());
}

#[test]
fn a_snapshot_that_goes_past_a_proposal_leaves_its_outcome_unknown() {
    let mut group = formed();
    let ticket = group.propose(&join(2)).unwrap();
    let snapshot = MetaSnapshot {
        index: Index(50),
        term: Term(1),
        topology: group.topology().clone(),
    };
    group.install(&snapshot.encode().unwrap()).unwrap();
    assert_eq!(group.outcome(ticket), ProposalOutcome::Unknown);
}

#[test]
fn a_restart_goes_on_behind_its_snapshot() {
    let mut group = formed();
    let snapshot = group.encode_snapshot().unwrap();
    let place = group.place().unwrap();
    let mut entries = Vec::new();
    for id in 2..5 {
        group.propose(&join(id)).unwrap();
        entries.extend(turn(&mut group).into_iter().map(|(entry, _)| entry));
    }
    let mut hard_state = group.replica.as_ref().unwrap().hard_state();
    hard_state.commit = Index(4);
    let restored = Restored {
        hard_state,
        snapshot_index: place.index,
        snapshot_term: place.term,
        membership: place.membership,
        entries,
        applied: place.index,
    };
    let mut again = MetaGroup::restored(MetaSnapshot::decode(&snapshot).unwrap());
    again.start(replica(restored));
    assert_eq!(again.topology().nodes.len(), 1);
    again.replica.as_mut().unwrap().campaign();
    turn(&mut again);
    assert_eq!(again.topology(), group.topology());
}

#[test]
fn a_newer_topology_is_taken_as_a_whole_and_an_older_is_not() {
    let mut group = formed();
    let old = bytes_of(&group);
    let mut other = MetaGroup::new();
    assert_eq!(other.offer(&old), Ok(true), "it belonged to none");
    assert_eq!(other.offer(&old), Ok(false));
    done(&mut group, &join(2)).unwrap();
    assert_eq!(other.offer(&bytes_of(&group)), Ok(true));
    assert_eq!(other.offer(&old), Ok(false));
    assert_eq!(other.topology(), group.topology());
    assert_eq!(other.offer(&bytes_of(&MetaGroup::new())), Ok(false));
    assert!(matches!(
        other.offer(b"no topology"),
        Err(OfferError::Topology(_))
    ));
}

#[test]
fn a_topology_of_another_cluster_is_never_taken() {
    let mut stranger = alone();
    done(&mut stranger, &init(8)).unwrap();
    done(&mut stranger, &join(2)).unwrap();
    let mut group = formed();
    let before = group.topology().clone();
    let error = group.offer(&bytes_of(&stranger)).unwrap_err();
    assert!(matches!(error, OfferError::OtherCluster { .. }), "{error}");
    assert_eq!(*group.topology(), before);
}

#[test]
fn what_was_heard_never_gets_into_the_way_of_the_log() {
    let mut leader = formed();
    let mut entries = vec![];
    for id in 2..5 {
        leader.propose(&join(id)).unwrap();
        entries.extend(turn(&mut leader));
    }
    let mut lagging = MetaGroup::restored(formed().applied);
    assert_eq!(lagging.offer(&bytes_of(&leader)), Ok(true));
    for (entry, applied) in &entries {
        assert_eq!(
            lagging.apply(entry).as_ref(),
            Ok(applied),
            "as it was the first time"
        );
        assert_eq!(lagging.topology(), leader.topology(), "never goes back");
    }
    assert!(lagging.heard.is_none(), "one copy is enough");
    assert_eq!(lagging.applied, leader.applied);
}

#[test]
fn a_copy_that_is_taken_away_leaves_what_it_knew() {
    let mut group = formed();
    let before = group.topology().clone();
    assert!(group.stop().is_some());
    assert_eq!(*group.topology(), before);
    group.start(replica(Restored::joining()));
    assert_eq!(*group.topology(), before);
}

#[test]
fn bytes_that_are_no_snapshot_or_command_are_an_error() {
    let mut group = formed();
    let before = group.applied.clone();
    let mut bytes = group.encode_snapshot().unwrap();
    bytes.pop();
    assert!(group.install(&bytes).is_err());
    bytes[1] = 7;
    assert_eq!(group.install(&bytes), Err(TopologyError::Schema(7)));
    assert_eq!(group.applied, before);
    let damaged = LogEntry {
        index: before.index.next(),
        term: Term(1),
        data: b"damaged".as_slice().into(),
        ..LogEntry::default()
    };
    let error = group.apply(&damaged).unwrap_err().to_string();
    assert!(error.contains("entry 3 of the meta group"), "{error}");
}

#[test]
#[should_panic(expected = "invariant 9")]
fn an_entry_is_never_applied_twice() {
    let mut group = MetaGroup::new();
    group.apply(&first_entry()).unwrap();
    let _ = group.apply(&first_entry());
}
