//! The cluster as its nodes see it: how it begins, who is who, and what nodes say to each other about it. What follows from
//! that is in `govern.rs`.

use std::rc::Rc;

use ringfort_cluster::placement::Limits;
use ringfort_cluster::steward::{NodeReport, Order, Steward, StewardLimits};
use ringfort_cluster::topology::{
    ClusterId, Members, Node as Described, Place, Ports, Replica, Wish, META_GROUP,
};
use ringfort_cluster::{
    Epoch, Membership, MetaCommand, NodeId, ReplicaId, ShardId, Term, Topology,
};

use crate::plan::{Plan, VOTERS};

/// A machine's nodes are numbered in steps of this.
const GENERATION: u128 = 100;

/// What nodes, and whoever runs the cluster, say about it. The flag: it was passed on once and goes no further.
pub enum Word {
    Report(Box<NodeReport>, bool),
    Propose(MetaCommand, bool),
    Order(Order),
    Topology(Rc<Topology>),
}

/// What a process knows of its cluster.
pub struct Office {
    pub topology: Rc<Topology>,
    /// What it had and has no more.
    pub lost: Vec<(ShardId, ReplicaId)>,
    /// What it doubts, as found at the start.
    pub suspect: Vec<(ShardId, ReplicaId)>,
    /// Kept while it leads the meta group in that term.
    pub steward: Option<(Term, Steward)>,
}

/// The node that a machine is, with that many disks lost before.
pub fn node_id(machine: usize, generation: u64) -> NodeId {
    NodeId(machine as u128 + 1 + GENERATION * u128::from(generation))
}

/// The machine of a node.
pub fn machine_of(node: NodeId) -> usize {
    ((node.0 - 1) % GENERATION) as usize
}

/// A node as it describes itself: by its machine's address.
pub fn described(id: NodeId) -> Described {
    let host = format!("machine{}", machine_of(id));
    Described::new(id, host, Ports::default())
}

/// The cluster as every run begins with it: three voters of everything.
pub fn beginning(plan: &Plan) -> Topology {
    let nodes: Vec<NodeId> = (0..plan.nodes).map(|machine| node_id(machine, 0)).collect();
    let shards = 0..usize::from(plan.shards);
    Topology {
        epoch: Epoch(1),
        cluster_id: ClusterId(7),
        replicas: VOTERS as u8,
        semantics: 1,
        shards: shards.map(|shard| place(&nodes, shard)).collect(),
        meta: place(&nodes, 0),
        nodes: nodes.iter().map(|&id| (id, described(id))).collect(),
        ..Topology::default()
    }
}

fn place(nodes: &[NodeId], first: usize) -> Place {
    let ids: Vec<ReplicaId> = first_voters().voters;
    let held: Vec<NodeId> = (0..VOTERS)
        .map(|at| nodes[(first + at) % nodes.len()])
        .collect();
    let replica = |node| Replica {
        node,
        based_on: Epoch::ZERO,
        lost: false,
    };
    Place {
        next_replica: ReplicaId(VOTERS as u64 + 1),
        replicas: (ids.iter().copied())
            .zip(held.iter().copied().map(replica))
            .collect(),
        members: Members::new(&ids, &[]),
        changed: Epoch::ZERO,
        wish: Wish::new(&held, &[]),
    }
}

/// Who belongs to a group at its beginning.
pub fn first_voters() -> Membership {
    Membership::of_voters((1..=VOTERS as u64).map(ReplicaId))
}

/// The number of a group on its nodes, and back.
pub fn number_of(group: ShardId, shards: u16) -> ShardId {
    match group {
        META_GROUP => ShardId(shards),
        shard => shard,
    }
}

/// How careful the stewards are: as in production, in the ticks of the run.
pub fn limits(plan: &Plan) -> StewardLimits {
    StewardLimits {
        placement: Limits {
            replace_after_ticks: plan.replace_after_ticks,
            ..Limits::default()
        },
        tick_us: plan.tick_us,
        node_down_after_us: 20 * plan.tick_us,
        repeat_after_us: 10 * plan.tick_us,
        order_timeout_us: 40 * plan.tick_us,
        ..StewardLimits::default()
    }
}
