//! The topology as bytes and back, and what no bytes may say.

use super::*;
use crate::types::{Epoch, Term};
use proptest::prelude::*;

pub(crate) fn node(id: u128) -> Node {
    Node::new(NodeId(id), format!("node{id}"), Ports::default())
}

fn one_node(shards: usize) -> Topology {
    Topology {
        epoch: Epoch(1),
        cluster_id: ClusterId(9),
        replicas: 3,
        semantics: 1,
        nodes: [(NodeId(1), node(1))].into(),
        shards: vec![Place::beginning_on(NodeId(1)); shards],
        meta: Place::beginning_on(NodeId(1)),
        ..Topology::default()
    }
}

#[test]
fn a_topology_comes_back_as_it_went() {
    for topology in [Topology::default(), one_node(1), one_node(64)] {
        let bytes = topology.encode().unwrap();
        assert_eq!(Topology::decode(&bytes), Ok(topology));
    }
}

#[test]
fn the_largest_topology_fits() {
    let mut topology = one_node(16_384);
    let long = "x".repeat(HOST_BYTES_MAX);
    for id in 1..=NODES_MAX as u128 {
        let described = Node {
            host: long.clone(),
            ..node(id)
        };
        topology.nodes.insert(NodeId(id), described);
    }
    let held = Replica {
        node: NodeId(1),
        based_on: Epoch(7),
        lost: false,
    };
    let ids: Vec<ReplicaId> = (1..=14).map(ReplicaId).collect();
    for place in &mut topology.shards {
        place.next_replica = ReplicaId(15);
        place.replicas = ids.iter().map(|&id| (id, held.clone())).collect();
        place.members = Members::new(&ids[..7], &ids[7..]);
        place.wish = Wish::new(&[1, 2, 3, 4, 5, 6, 7].map(NodeId), &[]);
    }
    let shelf: Shelf = [("all".into(), vec![0; SHELF_BYTES_MAX - 3])].into();
    (topology.users, topology.settings, topology.functions) = (shelf.clone(), shelf.clone(), shelf);
    let bytes = topology.encode().unwrap();
    assert!(Topology::decode(&bytes).is_ok());
}

#[test]
fn a_topology_that_cannot_be_is_refused_with_the_reason() {
    type Damage = (fn(&mut Topology), &'static str);
    let cases: [Damage; 9] = [
        (|t| t.epoch = Epoch::ZERO, "not formed"),
        (|t| t.shards.clear(), "number of shards"),
        (|t| t.replicas = 0, "number of replicas"),
        (|t| t.semantics = 2, "semantics"),
        (
            |t| t.nodes.get_mut(&NodeId(1)).unwrap().host.clear(),
            "description of a node",
        ),
        (
            |t| _ = t.removed.insert(NodeId(1), Epoch(1)),
            "both here and removed",
        ),
        (
            |t| t.shards[1].next_replica = ReplicaId(1),
            "shard 1: replica id",
        ),
        (
            |t| t.meta.members.learners.push(ReplicaId(1)),
            "shard 65535: membership",
        ),
        (|t| t.shards[0].replicas.clear(), "shard 0: member without"),
    ];
    for (damage, reason) in cases {
        let mut topology = one_node(2);
        damage(&mut topology);
        let error = Topology::decode(&topology.encode().unwrap()).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}, not {reason}");
    }
}

#[test]
fn another_layout_is_named_and_not_read() {
    let mut bytes = one_node(1).encode().unwrap();
    bytes[1] = 9;
    assert_eq!(Topology::decode(&bytes), Err(TopologyError::Schema(9)));
}

#[test]
fn a_replica_id_is_ahead_or_held_or_gone_for_ever() {
    let mut topology = one_node(2);
    let fate = |topology: &Topology, id| topology.fate(ShardId(1), ReplicaId(id));
    assert_eq!(fate(&topology, 1), ReplicaFate::Held(NodeId(1)));
    assert_eq!(fate(&topology, 2), ReplicaFate::Unknown);
    topology.shards[1].next_replica = ReplicaId(3);
    assert_eq!(fate(&topology, 2), ReplicaFate::Removed);
    assert_eq!(
        topology.fate(ShardId(2), ReplicaId(1)),
        ReplicaFate::Unknown
    );
    assert_eq!(
        topology.fate(META_GROUP, ReplicaId(1)),
        ReplicaFate::Held(NodeId(1))
    );
}

#[test]
fn the_last_known_leader_stands_until_a_newer_term_names_another() {
    let (mut topology, mut leaders) = (one_node(2), Leaders::default());
    topology.nodes.insert(NodeId(2), node(2));
    assert_eq!(
        leaders.leader(&topology, ShardId(1)),
        Some(NodeId(1)),
        "the first voter's"
    );
    assert!(leaders.heard(&topology, ShardId(1), Term(5), NodeId(2)));
    assert!(
        !leaders.heard(&topology, ShardId(1), Term(4), NodeId(1)),
        "an old word"
    );
    assert!(
        !leaders.heard(&topology, ShardId(1), Term(6), NodeId(2)),
        "the same node again"
    );
    assert_eq!(leaders.leader(&topology, ShardId(1)), Some(NodeId(2)));
    topology.nodes.remove(&NodeId(2));
    assert_eq!(
        leaders.leader(&topology, ShardId(1)),
        Some(NodeId(1)),
        "never a node that left"
    );
    assert!(!leaders.heard(&topology, ShardId(900), Term(1), NodeId(1)));
    assert_eq!(leaders.leader(&topology, ShardId(900)), None);
}

#[test]
fn a_node_that_cannot_stand_in_a_reply_is_refused() {
    type Damage = (fn(&mut Node), &'static str);
    let cases: [Damage; 5] = [
        (|n| n.id = NodeId::ZERO, "identity"),
        (|n| n.host.clear(), "--announce-host"),
        (|n| n.host = "a b".into(), "space or a control"),
        (|n| n.zone = "z".repeat(65), "at most 64"),
        (|n| n.peer_port = 0, "peer port"),
    ];
    assert_eq!(node(1).check(), Ok(()));
    for (damage, reason) in cases {
        let mut damaged = node(1);
        damage(&mut damaged);
        let error = damaged.check().unwrap_err().to_string();
        assert!(error.contains(reason), "{error}, not {reason}");
    }
}

proptest! {
    #[test]
    fn damaged_bytes_are_an_error_or_a_sound_topology(
        at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<prop::sample::Index>()
    ) {
        let mut bytes = one_node(3).encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(topology) = Topology::decode(&bytes) {
            prop_assert!(topology.check().is_ok());
        }
        prop_assert!(Topology::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }
}
