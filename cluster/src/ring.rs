//! The consistent-hash ring: virtual nodes of all nodes in a circle, on which every shard has a place. It says in which
//! order a shard prefers the nodes. Knows nothing of zones, loads or what is held where today: see `placement`.
//!
//! The crate `hashring` orders the circle and finds where a walk begins. What it is fed are bytes of our own choice
//! and a hasher of our own, so that neither a platform nor a compiler nor an upgrade can move a shard; and because
//! its replicas may name one node twice, the walk to distinct nodes is our own. A test pins the outcome.

use crate::types::ShardId;
use crate::NodeId;
use hashring::HashRing;
use std::cell::OnceCell;
use std::hash::{BuildHasher, Hash, Hasher};

/// The weight of a node for which nothing else is said.
pub const WEIGHT_DEFAULT: u16 = 100;

/// Virtual nodes of a node of [`WEIGHT_DEFAULT`].
pub const VIRTUAL_NODES: u32 = 64;

/// Virtual nodes of the heaviest node. Beyond that a weight still counts for a node's share, which the ring does not decide.
pub const VIRTUAL_NODES_MAX: u32 = 1024;

/// Where the hash begins. It is part of every placement: it never changes.
const SEED: u64 = 0x7269_6E67_666F_7274;

/// A hash of bytes that is the same everywhere and for ever: FNV-1a from a fixed seed, then the 64-bit finish of
/// MurmurHash3, because FNV alone leaves the high bits of short inputs close together.
struct StableHasher(u64);

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    fn finish(&self) -> u64 {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
        hash ^ (hash >> 33)
    }
}

#[derive(Clone)]
struct StableHashes;

impl BuildHasher for StableHashes {
    type Hasher = StableHasher;

    fn build_hasher(&self) -> StableHasher {
        StableHasher(SEED)
    }
}

/// What stands on the circle. Hashed as bytes that we write, never by a derived `Hash`.
enum Point {
    Virtual { id: NodeId, nth: u32 },
    Shard(ShardId),
}

impl Hash for Point {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        match self {
            Self::Virtual { id, nth } => {
                hasher.write(b"node");
                hasher.write(&id.0.to_le_bytes());
                hasher.write(&nth.to_le_bytes());
            }
            Self::Shard(shard) => {
                hasher.write(b"shard");
                hasher.write(&shard.0.to_le_bytes());
            }
        }
    }
}

/// The ring of some nodes. Nodes are named by their offset in the list that it was made from. Nothing is computed before it is asked for:
/// most looks at the placement of a cluster end without one at the ring.
pub struct Ring {
    nodes: Vec<(NodeId, u16)>,
    circle: OnceCell<Circle>,
    /// For each node the hashes of its own virtual nodes, in order.
    own: Vec<OnceCell<Vec<u64>>>,
}

/// All virtual nodes.
struct Circle {
    ring: HashRing<Point, StableHashes>,
    /// The circle once more, in order: the hash of each virtual node and whose it is.
    order: Vec<(u64, usize)>,
}

/// How many virtual nodes a weight makes.
fn virtual_nodes(weight: u16) -> u32 {
    let count = u32::from(weight) * VIRTUAL_NODES / u32::from(WEIGHT_DEFAULT);
    count.clamp(1, VIRTUAL_NODES_MAX)
}

impl Circle {
    fn new(nodes: &[(NodeId, u16)]) -> Self {
        let mut points: Vec<(NodeId, usize, u32)> = Vec::new();
        for (node, &(id, weight)) in nodes.iter().enumerate() {
            points.extend((0..virtual_nodes(weight)).map(|nth| (id, node, nth)));
        }
        // Two points of one hash keep the order in which they came: it must not be that of the list.
        points.sort_unstable();
        let point = |(id, _, nth)| Point::Virtual { id, nth };
        let mut order: Vec<(u64, usize)> = (points.iter())
            .map(|&at| (StableHashes.hash_one(point(at)), at.1))
            .collect();
        order.sort_by_key(|&(hash, _)| hash);
        let mut ring = HashRing::with_hasher(StableHashes);
        ring.batch_add(points.into_iter().map(point).collect());
        Self { ring, order }
    }
}

impl Ring {
    /// A ring of nodes with their weights. The order of the list does not change what is where.
    #[must_use]
    pub fn new(nodes: &[(NodeId, u16)]) -> Self {
        Self {
            nodes: nodes.to_vec(),
            circle: OnceCell::new(),
            own: vec![OnceCell::new(); nodes.len()],
        }
    }

    /// All nodes in the order in which a shard prefers them, each once.
    pub fn walk(&self, shard: ShardId) -> impl Iterator<Item = usize> + '_ {
        let circle = self.circle.get_or_init(|| Circle::new(&self.nodes));
        let first = match circle.ring.get(&Point::Shard(shard)) {
            Some(point @ Point::Virtual { .. }) => StableHashes.hash_one(point),
            _ => 0,
        };
        let start = circle.order.partition_point(|&(hash, _)| hash < first);
        let (before, after) = circle.order.split_at(start);
        let mut seen = vec![false; self.nodes.len()];
        (after.iter().chain(before))
            .map(|&(_, node)| node)
            .filter(move |&node| !std::mem::replace(&mut seen[node], true))
            .take(self.nodes.len())
    }

    /// How far a walk from the shard's place goes until it meets the node: the smaller, the more it belongs there.
    #[must_use]
    pub fn distance(&self, shard: ShardId, node: usize) -> u64 {
        let place = StableHashes.hash_one(Point::Shard(shard));
        let own = self.own[node].get_or_init(|| self.hashes_of(node));
        let next = own.partition_point(|&hash| hash < place);
        own.get(next)
            .or(own.first())
            .map_or(u64::MAX, |&hash| hash.wrapping_sub(place))
    }

    fn hashes_of(&self, node: usize) -> Vec<u64> {
        let (id, weight) = self.nodes[node];
        let points = (0..virtual_nodes(weight)).map(|nth| Point::Virtual { id, nth });
        let mut hashes: Vec<u64> = points.map(|point| StableHashes.hash_one(point)).collect();
        hashes.sort_unstable();
        hashes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ring(ids: &[u128]) -> Ring {
        let nodes: Vec<_> = ids.iter().map(|&id| (NodeId(id), WEIGHT_DEFAULT)).collect();
        Ring::new(&nodes)
    }

    #[test]
    fn an_upgrade_cannot_move_a_shard_unnoticed() {
        let ring = ring(&[1, 2, 3, 4, 5]);
        let walks: Vec<String> = (0..8)
            .map(|shard| {
                ring.walk(ShardId(shard))
                    .map(|node| char::from(b'1' + node as u8))
                    .collect()
            })
            .collect();
        assert_eq!(
            walks.join(" "),
            "31254 51234 51234 54321 31254 25314 12534 31254"
        );
    }

    #[test]
    fn a_ring_without_nodes_leads_nowhere() {
        assert_eq!(ring(&[]).walk(ShardId(0)).count(), 0);
    }

    #[test]
    fn a_heavy_node_comes_first_more_often() {
        let ring = Ring::new(&[(NodeId(1), 100), (NodeId(2), 300), (NodeId(3), 0)]);
        let mut first = [0; 3];
        for shard in 0..4000 {
            first[ring.walk(ShardId(shard)).next().unwrap()] += 1;
        }
        assert!(
            first[1] > 2 * first[0] && first[0] > 5 * first[2],
            "{first:?}"
        );
    }

    proptest! {
        #[test]
        fn a_walk_meets_every_node_once_and_nearer_ones_first(
            ids in proptest::collection::hash_set(any::<u128>(), 1..20), shard in any::<u16>()
        ) {
            let ids: Vec<u128> = ids.into_iter().collect();
            let (ring, shard) = (ring(&ids), ShardId(shard));
            let walk: Vec<usize> = ring.walk(shard).collect();
            let distances: Vec<u64> = walk.iter().map(|&node| ring.distance(shard, node)).collect();
            prop_assert!(distances.is_sorted());
            let mut met = walk.clone();
            met.sort_unstable();
            prop_assert_eq!(met, (0..ids.len()).collect::<Vec<_>>());
        }

        #[test]
        fn the_order_of_the_list_does_not_matter(
            ids in proptest::collection::hash_set(any::<u128>(), 1..20), shard in any::<u16>()
        ) {
            let ids: Vec<u128> = ids.into_iter().collect();
            let reversed: Vec<u128> = ids.iter().rev().copied().collect();
            let one: Vec<u128> = ring(&ids).walk(ShardId(shard)).map(|node| ids[node]).collect();
            let other: Vec<u128> = ring(&reversed).walk(ShardId(shard)).map(|node| reversed[node]).collect();
            prop_assert_eq!(one, other);
        }

        #[test]
        fn a_new_node_changes_nothing_between_the_others(
            ids in proptest::collection::hash_set(any::<u128>(), 2..20), shard in any::<u16>()
        ) {
            let ids: Vec<u128> = ids.into_iter().collect();
            let before: Vec<usize> = ring(&ids[..ids.len() - 1]).walk(ShardId(shard)).collect();
            let after: Vec<usize> = ring(&ids).walk(ShardId(shard)).filter(|&node| node != ids.len() - 1).collect();
            prop_assert_eq!(before, after);
        }
    }
}
