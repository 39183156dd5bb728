//! Commands of the meta group against small topologies: what is accepted, what is refused and changes nothing.

use super::*;
use crate::topology::tests::node;
use crate::topology::{ReplicaFate, Topology, META_GROUP};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn formed() -> Topology {
    let mut topology = Topology::default();
    let init = MetaCommand::Init {
        cluster_id: ClusterId(9),
        shards: 2,
        replicas: 3,
        node: node(1),
    };
    topology.apply(&init).unwrap();
    topology
}

/// A cluster of nodes 1 to `count`.
fn of_nodes(count: u128) -> Topology {
    let mut topology = formed();
    for id in 2..=count {
        topology.apply(&join(node(id))).unwrap();
    }
    topology
}

fn join(node: Node) -> MetaCommand {
    MetaCommand::Join {
        cluster_id: None,
        node,
    }
}

fn leave(id: u128) -> MetaCommand {
    MetaCommand::Leave {
        node: NodeId(id),
        force: false,
    }
}

fn wish(shard: ShardId, voters: &[u128]) -> MetaCommand {
    let voters: Vec<NodeId> = voters.iter().copied().map(NodeId).collect();
    MetaCommand::SetWishes {
        wishes: vec![(shard, Wish::new(&voters, &[]))],
    }
}

fn allot(node: u128, replica: u64) -> MetaCommand {
    MetaCommand::Allot {
        shard: ShardId(0),
        node: NodeId(node),
        replica: ReplicaId(replica),
    }
}

fn record(voters: &[u64], learners: &[u64], changed: u64) -> MetaCommand {
    let ids = |list: &[u64]| list.iter().copied().map(ReplicaId).collect::<Vec<_>>();
    MetaCommand::RecordMembership {
        shard: ShardId(0),
        members: Members::new(&ids(voters), &ids(learners)),
        changed: Epoch(changed),
    }
}

/// Applies what must be accepted.
fn accept(topology: &mut Topology, command: &MetaCommand) -> bool {
    let before = topology.epoch;
    let reply = topology
        .apply(command)
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert_eq!(
        reply.epoch,
        if reply.changed { before.next() } else { before }
    );
    reply.changed
}

/// Applies what must be refused, and gives the reason.
fn refuse(topology: &mut Topology, command: &MetaCommand) -> String {
    let before = topology.clone();
    let error = topology.apply(command).expect_err("refused");
    assert_eq!(*topology, before, "a refused command changes nothing");
    error.to_string()
}

#[test]
fn a_cluster_begins_with_one_node_that_votes_alone() {
    let topology = formed();
    assert_eq!((topology.epoch, topology.shards.len()), (Epoch(1), 2));
    for (_, place) in topology.places() {
        assert_eq!(place.members, Members::new(&[ReplicaId(1)], &[]));
        assert_eq!(place.wish, Wish::new(&[NodeId(1)], &[]));
    }
}

#[test]
fn before_there_is_a_cluster_nothing_else_is_taken() {
    let error = refuse(&mut Topology::default(), &join(node(2)));
    assert!(error.contains("there is no cluster yet"), "{error}");
}

#[test]
fn a_cluster_is_formed_once() {
    let mut topology = formed();
    let init = |cluster_id, shards| MetaCommand::Init {
        cluster_id,
        shards,
        replicas: 3,
        node: node(1),
    };
    assert!(!accept(&mut topology, &init(ClusterId(9), 2)));
    let error = refuse(&mut topology, &init(ClusterId(8), 2));
    assert!(
        error.contains("already belongs to cluster 00000000000000000000000000000009"),
        "{error}"
    );
    let error = refuse(&mut Topology::default(), &init(ClusterId(8), 0));
    assert!(error.contains("0 shards"), "{error}");
}

#[test]
fn a_node_that_comes_back_elsewhere_is_still_itself() {
    let mut topology = of_nodes(2);
    let mut moved = node(2);
    moved.host = "elsewhere".into();
    assert!(accept(&mut topology, &join(moved.clone())));
    assert_eq!(topology.nodes[&NodeId(2)], moved);
    assert_eq!(topology.nodes.len(), 2);
    assert!(!accept(&mut topology, &join(moved)), "said once more");
}

#[test]
fn a_new_identity_at_an_old_address_is_a_new_node_and_the_old_one_suspect() {
    let mut topology = of_nodes(2);
    let mut newcomer = node(3);
    newcomer.host = node(2).host;
    assert!(accept(&mut topology, &join(newcomer)));
    assert_eq!(topology.nodes.len(), 3);
    let suspects = |topology: &Topology| [1, 2, 3].map(|id| topology.nodes[&NodeId(id)].suspect);
    assert_eq!(suspects(&topology), [false, true, false]);
    let mut found = node(2);
    found.host = "node2-again".into();
    assert!(accept(&mut topology, &MetaCommand::Update { node: found }));
    assert_eq!(suspects(&topology), [false, false, false]);
}

#[test]
fn two_clusters_never_merge() {
    let mut topology = formed();
    let error = refuse(
        &mut topology,
        &MetaCommand::Join {
            cluster_id: Some(ClusterId(0xAB)),
            node: node(2),
        },
    );
    assert!(error.contains("000ab") && error.contains("0009"), "{error}");
    let ours = MetaCommand::Join {
        cluster_id: Some(ClusterId(9)),
        node: node(2),
    };
    assert!(accept(&mut topology, &ours));
}

#[test]
fn a_node_too_old_for_the_cluster_is_not_let_in() {
    let mut topology = of_nodes(2);
    let raise = MetaCommand::RaiseSemantics { semantics: 2 };
    let error = refuse(&mut topology, &raise);
    assert!(error.contains("knows semantics up to 1"), "{error}");
    for id in [1, 2] {
        accept(
            &mut topology,
            &MetaCommand::Update {
                node: Node {
                    semantics: 2,
                    ..node(id)
                },
            },
        );
    }
    assert!(accept(&mut topology, &raise));
    let error = refuse(&mut topology, &join(node(3)));
    assert!(error.contains("start a newer ringfort"), "{error}");
    refuse(&mut topology, &MetaCommand::RaiseSemantics { semantics: 1 });
}

#[test]
fn a_node_leaves_only_where_enough_stay() {
    let mut topology = of_nodes(4);
    assert!(accept(&mut topology, &leave(4)));
    assert!(!accept(&mut topology, &leave(4)), "said once more");
    let error = refuse(&mut topology, &leave(3));
    assert!(
        error.contains("2 nodes would be left for 3 replicas"),
        "{error}"
    );
    for id in [3, 2] {
        accept(
            &mut topology,
            &MetaCommand::Leave {
                node: NodeId(id),
                force: true,
            },
        );
    }
    let error = refuse(
        &mut topology,
        &MetaCommand::Leave {
            node: NodeId(1),
            force: true,
        },
    );
    assert!(error.contains("last node"), "{error}");
    assert!(accept(
        &mut topology,
        &MetaCommand::Stay { node: NodeId(2) }
    ));
    assert!(!topology.nodes[&NodeId(2)].draining);
}

#[test]
fn a_node_is_removed_when_it_holds_nothing_and_stays_out() {
    let mut topology = of_nodes(4);
    let remove = |id| MetaCommand::Remove { node: NodeId(id) };
    let error = refuse(&mut topology, &remove(4));
    assert!(error.contains("drain it first"), "{error}");
    accept(&mut topology, &leave(1));
    let error = refuse(&mut topology, &remove(1));
    assert!(
        error.contains("still holds a replica of 3 groups"),
        "{error}"
    );
    let forced = MetaCommand::Leave {
        node: NodeId(4),
        force: true,
    };
    accept(&mut topology, &forced);
    assert!(accept(&mut topology, &remove(4)));
    assert!(!accept(&mut topology, &remove(4)));
    let error = refuse(&mut topology, &join(node(4)));
    assert!(
        error.contains("was removed from the cluster at epoch 7"),
        "{error}"
    );
}

#[test]
fn a_node_that_drains_goes_on_draining_when_it_describes_itself_anew() {
    let mut topology = of_nodes(4);
    accept(&mut topology, &leave(4));
    accept(
        &mut topology,
        &join(Node {
            host: "elsewhere".into(),
            ..node(4)
        }),
    );
    assert!(topology.nodes[&NodeId(4)].draining);
}

#[test]
fn a_replica_id_is_given_out_once_whatever_is_proposed_twice() {
    let mut topology = of_nodes(3);
    let error = refuse(&mut topology, &allot(2, 2));
    assert!(error.contains("not wished for"), "{error}");
    accept(&mut topology, &wish(ShardId(0), &[1, 2, 3]));
    assert!(accept(&mut topology, &allot(2, 2)));
    assert!(!accept(&mut topology, &allot(2, 2)), "the same step again");
    let error = refuse(&mut topology, &allot(3, 2));
    assert!(error.contains("has id 3, not 2"), "{error}");
    let error = refuse(&mut topology, &allot(2, 3));
    assert!(error.contains("has replica 2"), "{error}");
    refuse(&mut topology, &allot(9, 3));
}

#[test]
fn what_is_no_member_when_the_membership_moves_on_is_gone_for_ever() {
    let mut topology = of_nodes(3);
    accept(&mut topology, &wish(ShardId(0), &[1, 2, 3]));
    accept(&mut topology, &allot(2, 2));
    accept(&mut topology, &allot(3, 3));
    assert!(accept(&mut topology, &record(&[1], &[3], 10)));
    assert_eq!(
        topology.fate(ShardId(0), ReplicaId(2)),
        ReplicaFate::Removed
    );
    assert_eq!(
        topology.fate(ShardId(0), ReplicaId(3)),
        ReplicaFate::Held(NodeId(3))
    );
    let error = refuse(&mut topology, &record(&[1, 2], &[3], 11));
    assert!(error.contains("no replica 2"), "{error}");
    assert!(accept(&mut topology, &allot(2, 4)));
}

#[test]
fn an_older_membership_does_not_replace_a_newer() {
    let mut topology = of_nodes(2);
    accept(&mut topology, &wish(ShardId(0), &[1, 2]));
    accept(&mut topology, &allot(2, 2));
    accept(&mut topology, &record(&[1], &[2], 10));
    assert!(
        !accept(&mut topology, &record(&[1], &[2], 10)),
        "told twice"
    );
    let error = refuse(&mut topology, &record(&[1, 2], &[], 10));
    assert!(error.contains("as of 10"), "{error}");
    refuse(&mut topology, &record(&[1], &[], 9));
    let error = refuse(&mut topology, &record(&[], &[1, 2], 11));
    assert!(error.contains("cannot have such"), "{error}");
}

#[test]
fn a_lost_replica_makes_room_for_another_on_its_node() {
    let mut topology = formed();
    accept(
        &mut topology,
        &MetaCommand::MarkLost {
            shard: ShardId(0),
            replica: ReplicaId(1),
        },
    );
    assert!(accept(&mut topology, &allot(1, 2)));
    assert!(!accept(
        &mut topology,
        &MetaCommand::MarkLost {
            shard: ShardId(0),
            replica: ReplicaId(1)
        }
    ));
    refuse(
        &mut topology,
        &MetaCommand::MarkLost {
            shard: ShardId(0),
            replica: ReplicaId(7),
        },
    );
}

#[test]
fn wishes_that_cannot_be_are_refused() {
    let mut topology = of_nodes(2);
    let wishes = |wishes| MetaCommand::SetWishes { wishes };
    let one = Wish::new(&[NodeId(1)], &[]);
    refuse(&mut topology, &wishes(vec![]));
    refuse(
        &mut topology,
        &wishes(vec![(ShardId(0), one.clone()), (ShardId(0), one.clone())]),
    );
    refuse(
        &mut topology,
        &wishes(vec![
            (ShardId(0), one),
            (ShardId(2), Wish::new(&[NodeId(1)], &[])),
        ]),
    );
    refuse(
        &mut topology,
        &wishes(vec![(ShardId(0), Wish::new(&[NodeId(1)], &[NodeId(1)]))]),
    );
    refuse(
        &mut topology,
        &wishes(vec![(ShardId(0), Wish::new(&[], &[NodeId(1)]))]),
    );
    refuse(&mut topology, &wish(ShardId(0), &[7]));
    assert!(accept(&mut topology, &wish(META_GROUP, &[1, 2])));
}

#[test]
fn named_bytes_are_set_changed_and_removed_within_their_bounds() {
    let mut topology = formed();
    let set = |name: &str, value: Option<usize>| MetaCommand::SetItem {
        shelf: ShelfName::Users,
        name: name.into(),
        value: value.map(|length| vec![7; length]),
    };
    assert!(accept(&mut topology, &set("default", Some(3))));
    assert!(!accept(&mut topology, &set("default", Some(3))));
    for refused in [
        set("", Some(1)),
        set(&"n".repeat(257), Some(1)),
        set("big", Some(1 << 20)),
        set("default", Some(1 << 20)),
    ] {
        refuse(&mut topology, &refused);
    }
    assert!(accept(&mut topology, &set("default", None)));
    assert!(!accept(&mut topology, &set("default", None)));
    assert!(topology.users.is_empty());
}

#[test]
fn a_command_of_another_layout_or_too_many_bytes_is_not_read() {
    let mut bytes = leave(1).encode().unwrap();
    assert_eq!(MetaCommand::decode(&bytes), Ok(leave(1)));
    bytes[1] = 2;
    let error = MetaCommand::decode(&bytes).unwrap_err().to_string();
    assert!(error.contains("layout 2"), "{error}");
    let long = vec![1; COMMAND_BYTES_MAX + 1];
    assert_eq!(
        MetaCommand::decode(&long),
        Err(CodecError::TooLarge(long.len()))
    );
    let large = MetaCommand::SetItem {
        shelf: ShelfName::Settings,
        name: "x".into(),
        value: Some(long),
    };
    assert!(matches!(large.encode(), Err(CodecError::TooLarge(_))));
}

fn any_command() -> impl Strategy<Value = MetaCommand> {
    let id = || (1u128..7).prop_map(NodeId);
    let shard = || prop::sample::select(vec![ShardId(0), ShardId(1), ShardId(2), META_GROUP]);
    let some_node = || {
        (1u128..7, 1u128..7).prop_map(|(id, at)| Node {
            host: format!("node{at}"),
            ..node(id)
        })
    };
    let replicas = || prop::collection::btree_set((1u64..12).prop_map(ReplicaId), 0..4);
    let members = (replicas(), replicas()).prop_map(|(voters, learners)| {
        let voters: Vec<_> = voters.into_iter().collect();
        Members::new(&voters, &learners.into_iter().collect::<Vec<_>>())
    });
    let wish = (
        prop::collection::vec(id(), 0..4),
        prop::collection::vec(id(), 0..2),
    )
        .prop_map(|(voters, learners)| Wish::new(&voters, &learners));
    prop_oneof![
        1 => (0u128..3, 0u32..3, 0u8..9, some_node()).prop_map(|(cluster, shards, replicas, node)| {
            MetaCommand::Init { cluster_id: ClusterId(cluster), shards, replicas, node }
        }),
        3 => (prop::option::weighted(0.1, (0u128..3).prop_map(ClusterId)), some_node())
            .prop_map(|(cluster_id, node)| MetaCommand::Join { cluster_id, node }),
        1 => some_node().prop_map(|node| MetaCommand::Update { node }),
        2 => (id(), any::<bool>()).prop_map(|(node, force)| MetaCommand::Leave { node, force }),
        1 => id().prop_map(|node| MetaCommand::Stay { node }),
        2 => id().prop_map(|node| MetaCommand::Remove { node }),
        1 => (0u8..9).prop_map(|replicas| MetaCommand::SetReplicas { replicas }),
        1 => (0u32..3).prop_map(|semantics| MetaCommand::RaiseSemantics { semantics }),
        4 => prop::collection::vec((shard(), wish), 1..3).prop_map(|wishes| MetaCommand::SetWishes { wishes }),
        6 => (shard(), id(), 1u64..9).prop_map(|(shard, node, replica)| {
            MetaCommand::Allot { shard, node, replica: ReplicaId(replica) }
        }),
        6 => (shard(), members, 0u64..40).prop_map(|(shard, members, changed)| {
            MetaCommand::RecordMembership { shard, members, changed: Epoch(changed) }
        }),
        1 => (shard(), 1u64..9).prop_map(|(shard, replica)| MetaCommand::MarkLost { shard, replica: ReplicaId(replica) }),
        1 => ("[a-c]", prop::option::of(prop::collection::vec(any::<u8>(), 0..5))).prop_map(|(name, value)| {
            MetaCommand::SetItem { shelf: ShelfName::Functions, name, value }
        }),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_the_state_stays_sound_and_no_id_has_two_owners(
        commands in prop::collection::vec(any_command(), 0..120)
    ) {
        let mut topology = formed();
        let mut owners: BTreeMap<(ShardId, ReplicaId), NodeId> = BTreeMap::new();
        for command in &commands {
            let command = MetaCommand::decode(&command.encode().unwrap()).unwrap();
            let before = topology.clone();
            match topology.apply(&command) {
                Ok(reply) => {
                    prop_assert_eq!(reply.changed, topology != before);
                    prop_assert_eq!(topology.epoch > before.epoch, reply.changed);
                    prop_assert!(!topology.apply(&command).is_ok_and(|reply| reply.changed), "twice is once");
                }
                Err(_) => prop_assert_eq!(&topology, &before),
            }
            for (shard, place) in topology.places() {
                for (&id, replica) in &place.replicas {
                    prop_assert_eq!(*owners.entry((shard, id)).or_insert(replica.node), replica.node);
                }
            }
            let bytes = topology.encode().unwrap();
            prop_assert_eq!(&Topology::decode(&bytes).unwrap(), &topology);
        }
    }

    #[test]
    fn garbage_is_a_command_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 4..200)) {
        bytes[..4].copy_from_slice(&[1, 1, 0, 1]);
        let _ = MetaCommand::decode(&bytes);
    }
}
