//! Which groups go on, who is chosen where one does not, and when nothing is decided.

use super::*;
use crate::meta::{MetaCommand, Recovery, EPOCHS_PASSED_OVER, IDS_PASSED_OVER};
use crate::steward::{duties, Duties, Since, WireError};
use crate::suspects::GROUPS_OF_QUESTION_MAX;
use crate::topology::{ClusterId, Node, Replica as Held, ReplicaFate, Topology, Wish};
use crate::types::{Index, ShardId};

/// Replica `n` is on node `n`; these vote, those learn.
fn place(voters: &[u64], learners: &[u64]) -> Place {
    let ids = |ids: &[u64]| -> Vec<ReplicaId> { ids.iter().copied().map(ReplicaId).collect() };
    let held = |id: &ReplicaId| Held {
        node: NodeId(id.0.into()),
        based_on: Epoch::ZERO,
        lost: false,
    };
    let members = Members::new(&ids(voters), &ids(learners));
    Place {
        next_replica: ReplicaId(9),
        replicas: members.all().iter().map(|id| (*id, held(id))).collect(),
        members,
        changed: Epoch(2),
        ..Place::default()
    }
}

fn told(place: &Place, id: u64, last: (u64, u64)) -> Told {
    Told {
        replica: ReplicaId(id),
        suspect: false,
        has_leader: false,
        term: Term(last.0 + 1),
        last: (Term(last.0), Index(last.1)),
        committed: Index(last.1 / 2),
        members: place.members.clone(),
        changed: place.changed,
    }
}

fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().map(|id| NodeId((*id).into())).collect()
}

fn heard(place: &Place, lasts: &[(u64, (u64, u64))]) -> Heard {
    let one = |(id, last): &(u64, (u64, u64))| {
        let told = told(place, *id, *last);
        (NodeId((*id).into()), Some(told))
    };
    lasts.iter().map(one).collect()
}

fn chosen(fate: Result<Fate, Obstacle>) -> Chosen {
    match fate {
        Ok(Fate::Force(chosen)) => *chosen,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_group_that_has_a_majority_without_the_lost_is_left_alone() {
    let place = place(&[1, 2, 3], &[]);
    let heard = heard(&place, &[(1, (3, 10)), (3, (3, 9))]);
    assert_eq!(decide(&place, &nodes(&[1, 3]), &heard), Ok(Fate::GoesOn));
}

#[test]
fn of_unequal_survivors_the_most_advanced_is_chosen_and_the_others_yield() {
    let place = place(&[1, 2, 3, 4, 5], &[]);
    for (lasts, expected) in [
        ([(2, (3, 10)), (5, (3, 12))], 5),
        ([(2, (4, 10)), (5, (3, 12))], 2),
        ([(2, (3, 10)), (5, (3, 10))], 2),
    ] {
        let heard = heard(&place, &lasts);
        let chosen = chosen(decide(&place, &nodes(&[2, 5]), &heard));
        assert_eq!(chosen.told.replica, ReplicaId(expected));
        assert_eq!(chosen.others.len(), 1);
        assert!(chosen.term > Term(4 + TERMS_FORGOTTEN_MAX - 1));
        assert_eq!(chosen.force.term.0, chosen.term.0 + 1);
        assert!(chosen.force.epoch > Epoch(2));
        assert_eq!(chosen.force.learners, [ReplicaId(7 - expected)]);
    }
}

#[test]
fn a_learner_that_knows_more_than_the_voter_that_is_left_is_chosen() {
    let place = place(&[1, 2, 3], &[4]);
    let told = heard(&place, &[(3, (3, 10)), (4, (3, 12))]);
    let by_length = chosen(decide(&place, &nodes(&[3, 4]), &told));
    assert_eq!(by_length.told.replica, ReplicaId(4));
    let told = heard(&place, &[(3, (3, 12)), (4, (3, 12))]);
    let by_vote = chosen(decide(&place, &nodes(&[3, 4]), &told));
    assert_eq!(by_vote.told.replica, ReplicaId(3));
}

#[test]
fn suspects_do_not_make_a_majority_and_may_be_chosen() {
    let place = place(&[1, 2, 3], &[]);
    let mut heard = heard(&place, &[(1, (3, 10)), (2, (3, 12))]);
    for told in heard.values_mut().flatten() {
        told.suspect = true;
    }
    let fate = decide(&place, &nodes(&[1, 2]), &heard);
    assert_eq!(chosen(fate).told.replica, ReplicaId(2));
    // With the third one they elect somebody by themselves.
    let mut third = told(&place, 3, (3, 9));
    third.suspect = true;
    heard.insert(NodeId(3), Some(third));
    let fate = decide(&place, &nodes(&[1, 2, 3]), &heard);
    assert_eq!(fate, Ok(Fate::GoesOn));
}

#[test]
fn nothing_is_decided_while_a_survivor_is_silent_or_hears_a_leader() {
    let place = place(&[1, 2, 3, 4, 5], &[]);
    let mut heard = heard(&place, &[(2, (3, 10)), (5, (3, 12))]);
    let fate = decide(&place, &nodes(&[1, 2, 5]), &heard);
    // Three of five are left; two of them are no majority until the third says how it stands.
    assert_eq!(fate, Err(Obstacle::Silent(nodes(&[1]))));
    heard.values_mut().flatten().next().unwrap().has_leader = true;
    let fate = decide(&place, &nodes(&[2, 5]), &heard);
    assert_eq!(fate, Err(Obstacle::Led(ReplicaId(2))));
}

#[test]
fn what_lost_nodes_say_counts_for_nothing() {
    let place = place(&[1, 2, 3], &[]);
    let heard = heard(&place, &[(1, (9, 99)), (2, (9, 99)), (3, (3, 10))]);
    let chosen = chosen(decide(&place, &nodes(&[3]), &heard));
    assert_eq!((chosen.node, chosen.others.len()), (NodeId(3), 0));
}

#[test]
fn a_group_of_which_nobody_has_anything_begins_again_and_is_found_when_it_has() {
    let mut begun = place(&[1, 2, 3], &[4]);
    let newcomer = |place: &Place, id| {
        let told = Told {
            members: Members::default(),
            changed: Epoch::ZERO,
            ..told(place, id, (0, 0))
        };
        Heard::from([(NodeId(u128::from(id)), Some(told))])
    };
    // One that was to learn and never got anything has nothing either.
    let heard = newcomer(&begun, 4);
    assert_eq!(decide(&begun, &nodes(&[4]), &heard), Ok(Fate::Anew));
    begun = place(&[7], &[]);
    begun.replicas.get_mut(&ReplicaId(7)).unwrap().node = NodeId(4);
    let mut heard = newcomer(&begun, 7);
    let told = heard.remove(&NodeId(7)).unwrap();
    heard.insert(NodeId(4), told);
    let chosen = chosen(decide(&begun, &nodes(&[4]), &heard));
    assert_eq!(chosen.told.replica, ReplicaId(7));
}

#[test]
fn members_that_only_the_lost_knew_are_strangers() {
    let known = place(&[1, 2, 3], &[]);
    let mut heard = heard(&known, &[(1, (3, 10)), (2, (3, 10))]);
    assert!(strangers(&known, &heard).is_empty());
    let told = heard.values_mut().flatten().next().unwrap();
    told.changed = Epoch(3);
    told.members.learners.push(ReplicaId(9));
    assert_eq!(strangers(&known, &heard), BTreeSet::from([ReplicaId(9)]));
}

#[test]
fn questions_and_answers_come_back_as_they_were_and_no_others() {
    let place = place(&[1, 2, 3], &[]);
    let choose = Choose {
        shard: ShardId(3),
        replica: ReplicaId(1),
        last: (Term(3), Index(10)),
        term: Term(1004),
        learners: vec![ReplicaId(2)],
        epoch: Epoch(1002),
    };
    let tell = RecoverQuestion::Tell {
        lost: vec![NodeId(2)],
        known: Epoch(7),
        groups: vec![ShardId(1)],
    };
    for question in [tell, RecoverQuestion::Choose(vec![choose.clone()])] {
        let bytes = question.encode().unwrap();
        assert_eq!(RecoverQuestion::decode(&bytes), Ok(question));
        assert!(RecoverQuestion::decode(&bytes[..bytes.len() - 1]).is_err());
    }
    let answer = RecoverAnswer::Told {
        linked: Vec::new(),
        newest: None,
        groups: vec![(ShardId(1), Some(told(&place, 1, (3, 10))))],
    };
    let bytes = answer.encode().unwrap();
    assert_eq!(RecoverAnswer::decode(&bytes), Ok(answer));
    let beyond = Choose {
        term: Term(u64::MAX),
        ..choose.clone()
    };
    let too_many = vec![choose; GROUPS_OF_QUESTION_MAX + 1];
    for all in [vec![beyond], too_many] {
        let bytes = RecoverQuestion::Choose(all).encode().unwrap();
        let error = RecoverQuestion::decode(&bytes).unwrap_err();
        assert!(matches!(error, WireError::Unsound(_)), "{error}");
    }
}

// ---- what the meta group takes over ------------------------------------------------------------------

fn node(id: u128) -> Node {
    Node::new(
        NodeId(id),
        format!("node{id}"),
        crate::topology::Ports::default(),
    )
}

/// Three nodes; shard 0 is on all of them, shard 1 and the meta group on the first.
fn topology() -> Topology {
    let mut topology = Topology::default();
    let init = MetaCommand::Init {
        cluster_id: ClusterId(9),
        shards: 2,
        replicas: 3,
        node: node(1),
    };
    topology.apply(&init).unwrap();
    for id in [2, 3] {
        let (cluster_id, node) = (None, node(id));
        topology
            .apply(&MetaCommand::Join { cluster_id, node })
            .unwrap();
    }
    let wish = Wish::new(&[1, 2, 3].map(NodeId), &[]);
    let wishes = vec![(ShardId(0), wish)];
    topology.apply(&MetaCommand::SetWishes { wishes }).unwrap();
    for id in [2, 3] {
        let allot = MetaCommand::Allot {
            shard: ShardId(0),
            node: NodeId(u128::from(id)),
            replica: ReplicaId(id),
        };
        topology.apply(&allot).unwrap();
    }
    topology
}

fn lost(ids: &[u128]) -> Recovery {
    Recovery {
        lost: ids.iter().copied().map(NodeId).collect(),
        ..Recovery::default()
    }
}

#[test]
fn lost_nodes_are_out_at_once_and_ids_and_epochs_go_on_beyond_what_they_may_have_given_out() {
    let mut topology = topology();
    let before = topology.epoch;
    let recover = MetaCommand::Recover(lost(&[1, 3]));
    assert!(topology.apply(&recover).unwrap().changed);
    assert!(topology.epoch.0 > before.0 + EPOCHS_PASSED_OVER);
    assert_eq!(topology.nodes.len(), 1);
    let shard = topology.place(ShardId(0)).unwrap();
    assert_eq!(shard.next_replica.0, 4 + IDS_PASSED_OVER);
    let is_lost = |id: &u64| shard.replicas[&ReplicaId(*id)].lost;
    assert!(is_lost(&1) && is_lost(&3) && !is_lost(&2));
    assert_eq!(
        topology.fate(ShardId(0), ReplicaId(5)),
        ReplicaFate::Removed
    );
    let back = MetaCommand::Join {
        cluster_id: None,
        node: node(3),
    };
    let error = topology.apply(&back).unwrap_err().to_string();
    assert!(error.contains("was removed from the cluster"), "{error}");
    assert_eq!(
        Topology::decode(&topology.encode().unwrap()),
        Ok(topology.clone())
    );
    let again = topology.clone();
    assert!(!topology.apply(&recover).unwrap().changed, "said twice");
    assert_eq!(topology, again);
}

#[test]
fn the_last_node_and_one_that_nobody_knows_cannot_be_lost() {
    let mut topology = topology();
    let before = topology.clone();
    for ids in [&[1, 2, 3][..], &[8]] {
        assert!(topology.apply(&MetaCommand::Recover(lost(ids))).is_err());
        assert_eq!(topology, before);
    }
}

#[test]
fn the_newest_topology_that_a_survivor_knows_is_taken_over() {
    let mut topology = topology();
    let mut newest = topology.clone();
    let (cluster_id, node) = (None, node(4));
    let join = MetaCommand::Join { cluster_id, node };
    newest.apply(&join).unwrap();
    let recovery = Recovery {
        newest: Some(newest.encode().unwrap()),
        ..lost(&[2])
    };
    let old = Recovery {
        newest: Some(topology.encode().unwrap()),
        ..lost(&[3])
    };
    topology.apply(&MetaCommand::Recover(recovery)).unwrap();
    assert!(topology.nodes.contains_key(&NodeId(4)));
    topology.apply(&MetaCommand::Recover(old)).unwrap();
    assert!(
        topology.nodes.contains_key(&NodeId(4)),
        "an older one is not"
    );
}

#[test]
fn a_group_that_is_gone_begins_once_on_a_survivor() {
    let mut topology = topology();
    let recovery = Recovery {
        anew: vec![(ShardId(1), NodeId(2), ReplicaId(2))],
        ..lost(&[1])
    };
    let recover = MetaCommand::Recover(recovery);
    topology.apply(&recover).unwrap();
    let place = topology.place(ShardId(1)).unwrap();
    assert_eq!(place.members, Members::new(&[ReplicaId(2)], &[]));
    assert_eq!(place.node_of(ReplicaId(2)), Some(NodeId(2)));
    let error = topology.apply(&recover).unwrap_err().to_string();
    assert!(
        error.contains("ids are given out in order and once"),
        "{error}"
    );
}

/// A replica that was given out, and was no member when its node was removed, stayed there for ever.
#[test]
fn a_node_that_is_out_drops_whatever_it_has_and_begins_nothing() {
    let mut topology = topology();
    let here = BTreeMap::from([(ShardId(0), ReplicaId(3))]);
    let me = NodeId(3);
    let before = duties(&topology, me, &here, Since::Running);
    assert!(before.drop.is_empty());
    topology.nodes.remove(&me);
    topology.removed.insert(me, topology.epoch);
    let (running, again) = (
        duties(&topology, me, &here, Since::Running),
        duties(&topology, me, &BTreeMap::new(), Since::Restart),
    );
    assert_eq!(running.drop, [(ShardId(0), ReplicaId(3))]);
    assert!(running.start.is_empty());
    assert_eq!(again, Duties::default());
}
