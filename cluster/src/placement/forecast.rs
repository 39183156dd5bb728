//! What would move if nodes came or one went, told before anything moves. Pure: it decides on a copy of the topology what the placement
//! would decide, and compares. Knows nothing of how long it takes, nor of the steps on the way.

use super::{wishes, Limits, Observed};
use crate::meta::{MetaCommand, MetaError};
use crate::topology::{Node, Ports, Topology};
use crate::types::ShardId;
use crate::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes that one forecast may add: each is decided about in turn, as when they really join.
pub const FORECAST_NODES_MAX: usize = 64;

/// Of this number and the node's place in the list its id is made: like a drawn one, it tells nothing of its order on the ring.
const NEW_ID: u128 = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;

/// What an operator thinks of doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nodes join, one after the other, each with its weight and zone.
    Add { nodes: Vec<(u16, String)> },
    /// A node leaves.
    Remove { node: NodeId, force: bool },
}

/// A copy that would be made, given up, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub shard: ShardId,
    /// Gives its copy up when the other has it.
    pub from: Option<NodeId>,
    /// Gets a copy.
    pub to: Option<NodeId>,
    /// What is sent; 0 where nobody gets a copy.
    pub bytes: u64,
}

/// What a node holds, apart from the topology.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holds {
    pub replicas: usize,
    pub bytes: u64,
}

/// Why a change would not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForecastRefused {
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error("{0} nodes are too many for one forecast: at most {FORECAST_NODES_MAX} are possible")]
    TooMany(usize),
}

/// What would happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forecast {
    /// In the order of the shards. The topology itself, which goes everywhere, is not counted.
    pub moves: Vec<Move>,
    /// The shards whose leader must move, because it votes no more. The balance of the leaders may move others too.
    pub leaders: Vec<ShardId>,
    /// The ids under which the nodes that would join are named here, in the order in which they were given.
    pub new_nodes: Vec<NodeId>,
    /// What every node holds now, or will when all is done that is decided already.
    pub holds_before: BTreeMap<NodeId, Holds>,
    pub holds_after: BTreeMap<NodeId, Holds>,
    /// Why nothing of it would happen. The rest is as if nothing were done then.
    pub refused: Option<ForecastRefused>,
}

impl Forecast {
    /// How many copies would be made.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.moves.iter().filter(|to_do| to_do.to.is_some()).count()
    }

    /// How many bytes would be sent.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let bytes = self.moves.iter().map(|to_do| to_do.bytes);
        bytes.fold(0, u64::saturating_add)
    }
}

/// What would move with a change, beyond what is decided already.
///
/// `bytes` is the size of each shard and `leaders` the node that leads it, as far as they are known. `given_up` are the nodes that have
/// been silent for so long that they are being replaced ([`Steward::given_up`](crate::steward::Steward::given_up)): nothing goes there.
#[must_use]
pub fn forecast(
    topology: &Topology,
    change: &Change,
    bytes: &BTreeMap<ShardId, u64>,
    leaders: &BTreeMap<ShardId, NodeId>,
    given_up: &BTreeSet<NodeId>,
) -> Forecast {
    let mut before = topology.clone();
    decide(&mut before, given_up);
    let mut after = before.clone();
    let mut new_nodes = Vec::new();
    let refused = make(change, &mut after, &mut new_nodes, given_up).err();
    if refused.is_some() {
        after = before.clone();
        new_nodes.clear();
    }
    let size = |shard: ShardId| bytes.get(&shard).copied().unwrap_or(0);
    Forecast {
        moves: moves(&before, &after, size),
        leaders: leaders_that_go(&after, leaders),
        holds_before: holds(&before, size),
        holds_after: holds(&after, size),
        new_nodes,
        refused,
    }
}

/// Makes the change on a copy of the topology.
fn make(
    change: &Change,
    topology: &mut Topology,
    new_nodes: &mut Vec<NodeId>,
    given_up: &BTreeSet<NodeId>,
) -> Result<(), ForecastRefused> {
    match change {
        Change::Remove { node, force } => {
            let (node, force) = (*node, *force);
            topology.apply(&MetaCommand::Leave { node, force })?;
            decide(topology, given_up);
        }
        Change::Add { nodes } if nodes.len() > FORECAST_NODES_MAX => {
            return Err(ForecastRefused::TooMany(nodes.len()));
        }
        Change::Add { nodes } => {
            for (weight, zone) in nodes {
                let node = newcomer(topology, *weight, zone);
                new_nodes.push(node.id);
                let cluster_id = None;
                topology.apply(&MetaCommand::Join { cluster_id, node })?;
                // Each is decided about before the next comes, as it is when operators start them.
                decide(topology, given_up);
            }
        }
    }
    Ok(())
}

/// A node under an id and an address that nobody has.
fn newcomer(topology: &Topology, weight: u16, zone: &str) -> Node {
    let is_free = |id: &NodeId| {
        let known = topology.nodes.contains_key(id) || topology.removed.contains_key(id);
        *id != NodeId::ZERO && !known
    };
    let mut ids = (1..).map(|nth: u128| NodeId(nth.wrapping_mul(NEW_ID)));
    let id = ids.find(is_free).unwrap_or(NodeId::ZERO);
    Node {
        weight,
        zone: zone.to_owned(),
        semantics: topology.semantics,
        ..Node::new(id, format!("new-{id}"), Ports::default())
    }
}

/// Decides what the leader of the meta group would.
fn decide(topology: &mut Topology, given_up: &BTreeSet<NodeId>) {
    let silent = |id: &NodeId| (*id, if given_up.contains(id) { u64::MAX } else { 0 });
    let observed = Observed {
        silent_ticks: topology.nodes.keys().map(silent).collect(),
        ..Observed::default()
    };
    for command in wishes(topology, &observed, &Limits::default()) {
        // What is wished is sound: it names nodes and groups of this very topology.
        let applied = topology.apply(&command);
        debug_assert!(applied.is_ok(), "{applied:?}");
    }
}

fn shards(topology: &Topology) -> impl Iterator<Item = (ShardId, BTreeSet<NodeId>)> + '_ {
    let shards = (0..).map(ShardId).zip(&topology.shards);
    shards.map(|(shard, place)| (shard, place.wish.nodes().collect()))
}

fn moves(before: &Topology, after: &Topology, size: impl Fn(ShardId) -> u64) -> Vec<Move> {
    let mut moves = Vec::new();
    for ((shard, old), (_, new)) in shards(before).zip(shards(after)) {
        let mut gone = old.difference(&new).copied();
        for to in new.difference(&old).copied() {
            let (from, to, bytes) = (gone.next(), Some(to), size(shard));
            moves.push(Move {
                shard,
                from,
                to,
                bytes,
            });
        }
        moves.extend(gone.map(|from| Move {
            shard,
            from: Some(from),
            to: None,
            bytes: 0,
        }));
    }
    moves
}

fn leaders_that_go(after: &Topology, leaders: &BTreeMap<ShardId, NodeId>) -> Vec<ShardId> {
    let goes = |&(shard, node): &(&ShardId, &NodeId)| {
        let place = after.shards.get(shard.as_usize());
        place.is_some_and(|place| !place.wish.voters.contains(node))
    };
    let leaders = leaders.iter().filter(goes);
    leaders.map(|(&shard, _)| shard).collect()
}

fn holds(topology: &Topology, size: impl Fn(ShardId) -> u64) -> BTreeMap<NodeId, Holds> {
    let nothing = |&id: &NodeId| (id, Holds::default());
    let mut holds: BTreeMap<NodeId, Holds> = topology.nodes.keys().map(nothing).collect();
    for (shard, nodes) in shards(topology) {
        for node in nodes {
            let of_node = holds.entry(node).or_default();
            of_node.replicas += 1;
            of_node.bytes = of_node.bytes.saturating_add(size(shard));
        }
    }
    holds
}
