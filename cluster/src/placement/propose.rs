//! Which nodes should hold which shard. From what is held today and the nodes there are, it proposes replica sets that
//! are distinct in nodes, spread over zones, even in load, and as close to today's as that allows. It knows nothing of how to
//! get there, nor of who votes.
//!
//! What holds for the proposal, in the order of precedence:
//!
//! 1. a shard has its replicas on distinct nodes;
//! 2. no zone has more replicas of a shard than it must, given how many zones there are;
//! 3. a node holds its share of all replicas by weight, rounded down or up (where zones or very unequal weights
//!    stand against it, as near as chains of moves come);
//! 4. what need not move stays, so a new node takes over no more than its share, and only from others;
//! 5. what moves goes where the ring would have it.

use super::shares::{share_out, UNIT};
use crate::ring::Ring;
use crate::types::ShardId;
use crate::NodeId;
use std::collections::{BTreeMap, VecDeque};

/// How many chains of moves are tried to even out what single moves cannot.
pub(super) const CHAINS_MAX: usize = 256;

/// A node that may hold replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub id: NodeId,
    /// How much it should hold, relative to the others.
    pub weight: u16,
    /// Nodes of one zone may fail together. A node without a label is a zone of its own.
    pub zone: String,
}

/// Proposes for every shard `replicas` nodes, or all of them where there are not as many. `held` says who holds it
/// today, in any order; nodes that are no candidates are left. The result is in the order of `held`.
#[must_use]
pub fn propose(
    held: &[(ShardId, Vec<NodeId>)],
    candidates: &[Candidate],
    replicas: usize,
) -> Vec<Vec<NodeId>> {
    propose_with(held, candidates, replicas, CHAINS_MAX)
}

/// The same with so many chains of moves at most.
pub(super) fn propose_with(
    held: &[(ShardId, Vec<NodeId>)],
    candidates: &[Candidate],
    replicas: usize,
    chains_max: usize,
) -> Vec<Vec<NodeId>> {
    let mut candidates: Vec<&Candidate> = candidates.iter().collect();
    candidates.sort_by_key(|candidate| candidate.id);
    candidates.dedup_by_key(|candidate| candidate.id);
    let mut board = Board::new(held, &candidates, replicas.min(candidates.len()));
    board.release_surplus();
    board.fill();
    board.pull_to_floors();
    board.push_from_ceilings();
    board.chain(chains_max);
    (board.sets.iter())
        .map(|set| set.iter().map(|&node| candidates[node].id).collect())
        .collect()
}

/// The least number of replicas of a shard that some zone must take, so that all find room.
fn zone_quota(sizes: &[usize], replicas: usize) -> usize {
    (1..replicas)
        .find(|&quota| sizes.iter().map(|&size| size.min(quota)).sum::<usize>() >= replicas)
        .unwrap_or(replicas)
}

struct Board {
    shards: Vec<ShardId>,
    replicas: usize,
    ring: Ring,
    /// For each shard the nodes of its replicas, in order.
    sets: Vec<Vec<usize>>,
    /// For each node the shards that it holds, in order.
    holds: Vec<Vec<usize>>,
    zone_of: Vec<usize>,
    zone_quota: usize,
    /// For each node its share, in [`UNIT`]s.
    shares: Vec<u64>,
}

impl Board {
    fn new(held: &[(ShardId, Vec<NodeId>)], candidates: &[&Candidate], replicas: usize) -> Self {
        let offset = |id: &NodeId| candidates.binary_search_by_key(id, |node| node.id).ok();
        let in_order = |nodes: &[NodeId]| {
            let mut set: Vec<usize> = nodes.iter().filter_map(offset).collect();
            set.sort_unstable();
            set.dedup();
            set
        };
        let sets: Vec<Vec<usize>> = held.iter().map(|(_, nodes)| in_order(nodes)).collect();
        let mut holds = vec![Vec::new(); candidates.len()];
        for (shard, set) in sets.iter().enumerate() {
            for &node in set {
                holds[node].push(shard);
            }
        }
        let mut zones: BTreeMap<(&str, Option<NodeId>), usize> = BTreeMap::new();
        let zone_of: Vec<usize> = (candidates.iter())
            .map(|node| {
                let alone = node.zone.is_empty().then_some(node.id);
                let next = zones.len();
                *zones.entry((&node.zone, alone)).or_insert(next)
            })
            .collect();
        let mut sizes = vec![0; zones.len()];
        for &zone in &zone_of {
            sizes[zone] += 1;
        }
        let weights: Vec<u64> = candidates
            .iter()
            .map(|node| node.weight.max(1).into())
            .collect();
        let quota = zone_quota(&sizes, replicas);
        let shares = shares(held.len(), replicas, &zone_of, &sizes, &weights, quota);
        let weights: Vec<_> = candidates
            .iter()
            .map(|node| (node.id, node.weight))
            .collect();
        Self {
            shards: held.iter().map(|(shard, _)| *shard).collect(),
            replicas,
            ring: Ring::new(&weights),
            sets,
            holds,
            zone_of,
            zone_quota: quota,
            shares,
        }
    }

    fn load(&self, node: usize) -> u64 {
        self.holds[node].len() as u64
    }

    fn floor(&self, node: usize) -> u64 {
        self.shares[node] / UNIT
    }

    fn ceiling(&self, node: usize) -> u64 {
        self.shares[node].div_ceil(UNIT)
    }

    /// How full a node is, for comparison.
    fn fullness(&self, node: usize) -> u128 {
        u128::from(self.load(node)) * u128::from(UNIT) * 1000 / u128::from(self.shares[node].max(1))
    }

    /// Whether a shard may have a replica on a node once it has left another.
    fn fits(&self, shard: usize, node: usize, leaving: Option<usize>) -> bool {
        let set = &self.sets[shard];
        let same_zone = |other: &&usize| {
            Some(**other) != leaving && self.zone_of[**other] == self.zone_of[node]
        };
        !set.contains(&node) && set.iter().filter(same_zone).count() < self.zone_quota
    }

    fn take(&mut self, shard: usize, node: usize) {
        for (list, item) in [
            (&mut self.sets[shard], node),
            (&mut self.holds[node], shard),
        ] {
            if let Err(at) = list.binary_search(&item) {
                list.insert(at, item);
            }
        }
    }

    fn leave(&mut self, shard: usize, node: usize) {
        for (list, item) in [
            (&mut self.sets[shard], node),
            (&mut self.holds[node], shard),
        ] {
            if let Ok(at) = list.binary_search(&item) {
                list.remove(at);
            }
        }
    }

    /// Gives up what a shard has too much of, in all or in a zone, where it is fullest.
    fn release_surplus(&mut self) {
        for shard in 0..self.sets.len() {
            loop {
                let set = &self.sets[shard];
                let crowded = |node: &usize| {
                    let same = |other: &&usize| self.zone_of[**other] == self.zone_of[*node];
                    set.iter().filter(same).count() > self.zone_quota
                };
                let surplus = set.len() > self.replicas;
                let nodes = set.iter().copied().filter(|node| surplus || crowded(node));
                // Where both are too many, the crowded zone gives first.
                let Some(node) =
                    nodes.max_by_key(|node| (crowded(node), self.fullness(*node), *node))
                else {
                    break;
                };
                self.leave(shard, node);
            }
        }
    }

    /// Finds a node for every replica that is missing: the first on the shard's walk that has less than its share
    /// rounded down, else rounded up.
    fn fill(&mut self) {
        for shard in 0..self.sets.len() {
            while self.sets[shard].len() < self.replicas {
                let fits = |node: &usize| self.fits(shard, *node, None);
                let below = |bound: fn(&Self, usize) -> u64| {
                    let room = |node: &usize| self.load(*node) < bound(self, *node);
                    // The walk around the whole circle is long.
                    (0..self.shares.len()).find(room)?;
                    (self.ring.walk(self.shards[shard])).find(|node| room(node) && fits(node))
                };
                let node = below(Self::floor)
                    .or_else(|| below(Self::ceiling))
                    // Those with room hold the shard already. What this overfills is evened out afterwards.
                    .or_else(|| {
                        let all = (0..self.shares.len()).filter(fits);
                        all.min_by_key(|&node| (self.fullness(node), node))
                    });
                let Some(node) = node else { break };
                self.take(shard, node);
            }
        }
    }

    /// Gives every node that has less than its share what lies nearest to it on the ring: first of nodes that
    /// have too much, then of those that have more than the least.
    fn pull_to_floors(&mut self) {
        for node in 0..self.shares.len() {
            if self.load(node) >= self.floor(node) {
                continue;
            }
            let mut near: Vec<(u64, usize)> = (0..self.sets.len())
                .map(|shard| (self.ring.distance(self.shards[shard], node), shard))
                .collect();
            near.sort_unstable();
            for bound in [Self::ceiling, Self::floor] {
                for &(_, shard) in &near {
                    if self.load(node) >= self.floor(node) {
                        break;
                    }
                    let giver = (self.sets[shard].iter().copied())
                        .filter(|&from| self.load(from) > bound(self, from))
                        .filter(|&from| self.fits(shard, node, Some(from)))
                        .max_by_key(|&from| (self.fullness(from), from));
                    if let Some(from) = giver {
                        self.leave(shard, from);
                        self.take(shard, node);
                    }
                }
            }
        }
    }

    /// Moves what a node has beyond its share along the ring to nodes with room.
    fn push_from_ceilings(&mut self) {
        for node in 0..self.shares.len() {
            if self.load(node) <= self.ceiling(node) {
                continue;
            }
            for shard in self.holds[node].clone() {
                if self.load(node) <= self.ceiling(node) {
                    break;
                }
                let taker = self.ring.walk(self.shards[shard]).find(|&to| {
                    self.load(to) < self.ceiling(to) && self.fits(shard, to, Some(node))
                });
                if let Some(to) = taker {
                    self.leave(shard, node);
                    self.take(shard, to);
                }
            }
        }
    }

    /// Evens out the rest by chains: one gives to the next, which gives another shard on.
    fn chain(&mut self, chains_max: usize) {
        // From or to which no chain leads.
        let mut stuck = vec![false; self.shares.len()];
        for _ in 0..chains_max {
            let nodes = || (0..self.shares.len()).filter(|&node| !stuck[node]);
            let over = nodes().find(|&node| self.load(node) > self.ceiling(node));
            let under = nodes().find(|&node| self.load(node) < self.floor(node));
            let (end, path) = match (over, under) {
                (Some(from), _) => {
                    let room = |node| self.load(node) < self.ceiling(node);
                    (from, self.path(&[from], room))
                }
                (None, Some(to)) => {
                    let gives = |&node: &usize| self.load(node) > self.floor(node);
                    let from: Vec<usize> = (0..self.shares.len()).filter(gives).collect();
                    (to, self.path(&from, |node| node == to))
                }
                (None, None) => return,
            };
            match path.filter(|path| self.is_open(path)) {
                // From the end: what a node gives on makes the room for what it takes.
                Some(path) => {
                    for (shard, from, to) in path.into_iter().rev() {
                        self.leave(shard, from);
                        self.take(shard, to);
                    }
                }
                None => stuck[end] = true,
            }
        }
    }

    /// Whether all moves of a chain can be made: two of one shard could stand in each other's way.
    fn is_open(&self, path: &[(usize, usize, usize)]) -> bool {
        let mut shards: Vec<usize> = path.iter().map(|&(shard, _, _)| shard).collect();
        shards.sort_unstable();
        let distinct = shards.windows(2).all(|pair| pair[0] != pair[1]);
        distinct
            && (path.iter()).all(|&(shard, from, to)| {
                self.sets[shard].contains(&from) && self.fits(shard, to, Some(from))
            })
    }

    /// The shortest chain of moves from one of some nodes, in order, to one that will do.
    fn path(
        &self,
        from: &[usize],
        will_do: impl Fn(usize) -> bool,
    ) -> Option<Vec<(usize, usize, usize)>> {
        let mut came: Vec<Option<(usize, usize)>> = vec![None; self.shares.len()];
        let mut queue: VecDeque<usize> = from.iter().copied().collect();
        // Nearly all are reached from the first shards, and what is reached is not looked at again.
        let mut open: Vec<usize> = (0..self.shares.len()).collect();
        open.retain(|node| from.binary_search(node).is_err());
        while let Some(node) = queue.pop_front() {
            for &shard in &self.holds[node] {
                if open.is_empty() {
                    return None;
                }
                let fits = |to: &usize| self.fits(shard, *to, Some(node));
                let reached: Vec<usize> = open.iter().copied().filter(fits).collect();
                open.retain(|to| reached.binary_search(to).is_err());
                for to in reached {
                    came[to] = Some((shard, node));
                    if will_do(to) {
                        return Some(trace(&came, to));
                    }
                    queue.push_back(to);
                }
            }
        }
        None
    }
}

/// The moves (shard, from, to) that lead to a node, first to last.
fn trace(came: &[Option<(usize, usize)>], mut node: usize) -> Vec<(usize, usize, usize)> {
    let mut moves = Vec::new();
    while let Some((shard, from)) = came[node] {
        moves.push((shard, from, node));
        node = from;
    }
    moves.reverse();
    moves
}

/// Every node's share: over the zones by weight, as far as a zone may take replicas, and in the zones over the nodes.
fn shares(
    shards: usize,
    replicas: usize,
    zone_of: &[usize],
    sizes: &[usize],
    weights: &[u64],
    quota: usize,
) -> Vec<u64> {
    let shards = shards as u64;
    let mut zones: Vec<(u64, u64)> = (sizes.iter())
        .map(|&size| (0, shards * size.min(quota) as u64))
        .collect();
    for (node, &zone) in zone_of.iter().enumerate() {
        zones[zone].0 += weights[node];
    }
    let of_zones = share_out(shards * replicas as u64 * UNIT, &zones);
    let mut shares = vec![0; weights.len()];
    let mut members = vec![Vec::new(); sizes.len()];
    for (node, &zone) in zone_of.iter().enumerate() {
        members[zone].push(node);
    }
    for (nodes, share) in members.into_iter().zip(of_zones) {
        let parts: Vec<(u64, u64)> = nodes.iter().map(|&node| (weights[node], shards)).collect();
        for (node, share) in nodes.into_iter().zip(share_out(share, &parts)) {
            shares[node] = share;
        }
    }
    shares
}

#[cfg(test)]
#[path = "propose_tests.rs"]
mod tests;
