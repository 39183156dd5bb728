//! Commands of the meta group on its copies: what is refused, what a snapshot brings, and what becomes of a proposal.

use ringfort_cluster::topology::{ClusterId, Node, Ports};

use super::super::recovery::{describe, LoadedSnapshot, SnapshotExtra};
use super::super::shard::tests::Lone;
use super::*;
use crate::store::{Databases, Limits};

fn node(id: u128) -> Node {
    Node::new(NodeId(id), format!("h{id}"), Ports::default())
}

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

/// A copy that has applied nothing; it leads where it is asked.
fn copy() -> Lone {
    let mut lone = Lone::new();
    lone.shard.meta = Some(Box::default());
    lone
}

/// Carries a command through the log, and gives what became of it.
fn propose(copy: &mut Lone, bytes: &[u8]) -> Proposed {
    copy.ask(&[COMMAND, bytes]);
    copy.end_turn();
    copy.persist();
    Proposed::read(copy.told.0.pop().expect("a reply").as_bytes())
}

fn accepted(copy: &mut Lone, command: &MetaCommand) {
    let done = propose(copy, &command.encode().unwrap());
    assert!(matches!(done, Proposed::Done(_)), "{done:?}");
}

/// Applies what `leader` has applied beyond it.
fn follow(copy: &mut Lone, leader: &Lone) {
    let (here, _) = copy.shard.applied();
    for entry in leader.entries.iter().filter(|entry| entry.index > here) {
        copy.shard.apply(entry, &mut copy.told);
    }
    assert_eq!(copy.shard.applied(), leader.shard.applied());
    assert_eq!(copy.shard.meta, leader.shard.meta);
}

#[test]
fn a_refused_command_is_an_entry_that_changes_nothing_on_any_copy() {
    let (mut leader, mut follower) = (copy(), copy());
    let mut refused = 0;
    for command in [join(2), init(9), init(8), join(2)] {
        let before = leader.shard.meta.clone();
        if let Proposed::Refused(_) = propose(&mut leader, &command.encode().unwrap()) {
            assert_eq!(leader.shard.meta, before);
            refused += 1;
        }
        follow(&mut follower, &leader);
    }
    assert_eq!(refused, 2);
    assert_eq!(leader.shard.meta.unwrap().nodes.len(), 2);
}

#[test]
fn bytes_that_are_no_command_are_an_error_and_change_nothing() {
    let (mut leader, mut follower) = (copy(), copy());
    accepted(&mut leader, &init(9));
    let before = leader.shard.meta.clone();
    let error = propose(&mut leader, b"damaged");
    assert!(matches!(error, Proposed::NotApplied(_)), "{error:?}");
    assert_eq!(leader.shard.meta, before);
    follow(&mut follower, &leader);
}

#[test]
fn a_snapshot_brings_another_copy_to_the_same_place() {
    let (mut leader, mut other) = (copy(), copy());
    accepted(&mut leader, &init(9));
    accepted(&mut leader, &join(2));
    let meta = describe(&leader.shard);
    other.shard.replace_data(LoadedSnapshot {
        extra: SnapshotExtra::decode(&meta.extra).unwrap(),
        meta,
        databases: Databases::new(1, (1, 2), Limits::default()),
        bytes: 0,
    });
    assert_eq!(other.shard.applied(), leader.shard.applied());
    assert_eq!(other.shard.meta, leader.shard.meta);
    accepted(&mut leader, &join(3));
    follow(&mut other, &leader);
}

#[test]
fn what_became_of_a_proposal_is_read_from_its_reply() {
    let done = |epoch, changed| {
        let epoch = Epoch(epoch);
        Proposed::Done(MetaReply { epoch, changed })
    };
    assert_eq!(Proposed::read(b"*2\r\n:7\r\n:1\r\n"), done(7, true));
    assert_eq!(Proposed::read(b"*2\r\n:8\r\n:0\r\n"), done(8, false));
    let refused = Proposed::Refused("node gone".into());
    assert_eq!(Proposed::read(b"-META node gone\r\n"), refused);
}

#[test]
fn what_was_certainly_not_applied_differs_from_what_may_have_been() {
    for reply in [
        NOT_LEADER,
        super::super::group::NOT_PROPOSED,
        b"-MISCONF full\r\n",
    ] {
        assert!(matches!(Proposed::read(reply), Proposed::NotApplied(_)));
    }
    for reply in [
        super::super::group::LEADER_LOST,
        b"+OK\r\n",
        b"",
        b"*2\r\n:1\r\n",
    ] {
        assert!(matches!(Proposed::read(reply), Proposed::Unknown(_)));
    }
}
