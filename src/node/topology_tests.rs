//! The cell of the newest topology, and what follows from one for a worker.

use super::super::report::RINGFORT_VERSION;
use super::*;
use crate::settings::Builder;
use ringfort_cluster::topology::ClusterId;
use ringfort_cluster::MetaCommand;

fn node(id: u128) -> Node {
    let settings = Builder::new().build();
    let host = Node {
        host: format!("h{id}"),
        ..described_node(NodeId(id), settings.startup(), &Identity::default(), 16379)
    };
    assert_eq!(host.check(), Ok(()));
    host
}

#[test]
fn a_node_without_flags_has_the_weight_and_the_ports_of_any_new_one() {
    let settings = Builder::new().build();
    let (startup, usual) = (settings.startup(), Ports::default());
    let ports = Ports {
        plain: startup.port,
        cluster: startup.cluster.cluster_port,
        peer: startup.cluster.peer_port,
        http: startup.http_port,
    };
    assert_eq!(ports, usual);
    let described = node(1);
    let new = Node::new(described.id, "h1", usual);
    assert_eq!((&described.zone, described.weight), (&new.zone, new.weight));
    assert_eq!(described.version, RINGFORT_VERSION);
}

/// A cluster of that id with so many nodes.
fn topology(cluster: u128, nodes: u128) -> Arc<Topology> {
    let mut topology = Topology::default();
    let init = MetaCommand::Init {
        cluster_id: ClusterId(cluster),
        shards: 2,
        replicas: 3,
        node: node(1),
    };
    topology.apply(&init).unwrap();
    for id in 2..=nodes {
        let (cluster_id, node) = (None, node(id));
        topology
            .apply(&MetaCommand::Join { cluster_id, node })
            .unwrap();
    }
    Arc::new(topology)
}

#[test]
fn the_cell_takes_newer_topologies_of_its_own_cluster_alone() {
    let cell = TopologyCell::default();
    assert_eq!(cell.epoch(), Epoch::ZERO);
    assert!(!cell.offer(Arc::default()));
    assert!(cell.offer(topology(1, 2)));
    assert!(!cell.offer(topology(1, 2)), "known");
    assert!(!cell.offer(topology(1, 1)), "older");
    assert!(!cell.offer(topology(2, 3)), "of another cluster");
    assert_eq!(cell.epoch(), topology(1, 2).epoch);
    assert!(cell.offer(topology(1, 3)));
    assert_eq!(cell.current(), topology(1, 3));
    assert_eq!(cell.epoch(), cell.current().epoch);
}

#[test]
fn replicas_that_were_heard_of_before_the_topology_names_them_stay_known() {
    let topology = topology(1, 1);
    let place = topology.place(ShardId(0)).unwrap();
    let heard = [(ReplicaId(1), NodeId(9)), (ReplicaId(5), NodeId(4))];
    let expected = [(ReplicaId(1), NodeId(1)), (ReplicaId(5), NodeId(4))];
    assert_eq!(nodes_of(place, &heard), expected);
}

#[test]
fn the_other_nodes_are_called_at_their_peer_ports() {
    let peers = peers_of(&topology(1, 3), NodeId(2));
    let expected = [(NodeId(1), "h1:16379"), (NodeId(3), "h3:16379")];
    assert_eq!(peers, expected.map(|(id, at)| (id, at.to_string())));
}

#[test]
fn a_replica_that_may_have_lost_data_is_never_taken_for_a_new_one() {
    let replica = (ShardId(3), ReplicaId(2));
    let none = Doubts::default();
    let lost = Doubts {
        lost: vec![replica],
        ..Doubts::default()
    };
    let suspect = Doubts {
        suspect: vec![replica],
        ..Doubts::default()
    };
    assert!(lost.has(replica) && suspect.has(replica) && !none.has(replica));
    assert!(
        !lost.has((ShardId(3), ReplicaId(3))),
        "its successor is another"
    );
}
