//! Where replicas are proposed to be, with every number of nodes from 1 to 200 and for small and large numbers of shards: nobody
//! holds more than its share, a newcomer takes no more than its own, and what need not move stays.

use proptest::prelude::*;
use ringfort_cluster::placement::{propose, Candidate};
use ringfort_cluster::{NodeId, ShardId};
use std::collections::{BTreeMap, BTreeSet};

type Held = Vec<(ShardId, Vec<NodeId>)>;

const REPLICAS: usize = 3;

/// Nodes whose ids tell nothing of their order.
fn node(nth: usize, weight: u16, zone: String) -> Candidate {
    let id = (nth as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    let id = NodeId(id);
    Candidate { id, weight, zone }
}

fn equal(count: usize) -> Vec<Candidate> {
    (0..count)
        .map(|nth| node(nth, 100, String::new()))
        .collect()
}

fn next(held: &Held, nodes: &[Candidate]) -> Held {
    let sets = propose(held, nodes, REPLICAS);
    held.iter().map(|(shard, _)| *shard).zip(sets).collect()
}

fn nothing(shards: u16) -> Held {
    (0..shards).map(|shard| (ShardId(shard), vec![])).collect()
}

fn loads(held: &Held) -> BTreeMap<NodeId, usize> {
    let mut loads = BTreeMap::new();
    for node in held.iter().flat_map(|(_, nodes)| nodes) {
        *loads.entry(*node).or_default() += 1;
    }
    loads
}

/// The nodes that get a replica, once for each.
fn takers(before: &Held, after: &Held) -> Vec<NodeId> {
    let pairs = before.iter().zip(after);
    pairs
        .flat_map(|((_, old), (_, new))| new.iter().filter(|node| !old.contains(node)))
        .copied()
        .collect()
}

/// Every replica on a node of its own, in a zone of its own where there are enough; by weight nobody beyond its share, rounded up.
fn check(held: &Held, nodes: &[Candidate]) {
    let copies = REPLICAS.min(nodes.len());
    let zone_of: BTreeMap<NodeId, String> = (nodes.iter())
        .map(|node| match node.zone.as_str() {
            "" => (node.id, node.id.to_string()),
            zone => (node.id, zone.to_owned()),
        })
        .collect();
    let zones: BTreeSet<&String> = zone_of.values().collect();
    for (shard, set) in held {
        let distinct: BTreeSet<NodeId> = set.iter().copied().collect();
        assert_eq!((set.len(), distinct.len()), (copies, copies), "{shard}");
        let of_set: BTreeSet<&String> = set.iter().map(|id| &zone_of[id]).collect();
        assert_eq!(of_set.len(), copies.min(zones.len()), "zones of {shard}");
    }
}

fn check_equal_loads(held: &Held, count: usize) {
    let total = held.len() * REPLICAS.min(count);
    let loads = loads(held);
    let fair = total / count..=total.div_ceil(count);
    let mut all = loads.values();
    assert!(all.all(|load| fair.contains(load)), "{count}: {loads:?}");
    assert!(
        loads.len() == count || total < count,
        "somebody has nothing"
    );
}

#[test]
fn growing_to_two_hundred_nodes_each_takes_its_share_from_the_others_alone() {
    for shards in [16, 64, 256, 1024] {
        let nodes = equal(200);
        let mut held = nothing(shards);
        for count in 1..=nodes.len() {
            let after = next(&held, &nodes[..count]);
            let total = usize::from(shards) * REPLICAS.min(count);
            let takers = takers(&held, &after);
            if count > 1 {
                // At most 1.25/N of all replicas.
                let moved = takers.len();
                assert!(
                    moved * count * 4 <= total * 5,
                    "{count}: {moved} of {total}"
                );
                let newcomer = nodes[count - 1].id;
                assert!(takers.iter().all(|&taker| taker == newcomer), "{count}");
            }
            check_equal_loads(&after, count);
            held = after;
        }
        check(&held, &nodes);
    }
}

#[test]
fn at_64_shards_on_5_nodes_nobody_is_above_a_seventh_more_than_the_mean() {
    let nodes = equal(5);
    let mut held = nothing(64);
    for count in 1..=5 {
        held = next(&held, &nodes[..count]);
    }
    let mean = 64.0 * 3.0 / 5.0;
    let loads = loads(&held);
    let mut all = loads.values();
    assert!(all.all(|&load| load as f64 <= 1.15 * mean), "{loads:?}");
}

#[test]
fn shrinking_from_two_hundred_nodes_only_what_was_there_moves_or_nearly() {
    for shards in [16, 64, 256] {
        let mut nodes = equal(200);
        let mut held = next(&nothing(shards), &nodes);
        let mut whose = 0;
        while nodes.len() > 1 {
            // Now an old one goes, now a young one.
            whose = (whose * 7 + 3) % nodes.len();
            let gone = nodes.remove(whose);
            let after = next(&held, &nodes);
            let was_there = loads(&held).get(&gone.id).copied().unwrap_or(0);
            let moved = takers(&held, &after).len();
            let count = nodes.len();
            assert!(
                moved <= was_there + was_there.div_ceil(4),
                "{count}: {moved} for {was_there}"
            );
            check_equal_loads(&after, count);
            held = after;
        }
        check(&held, &nodes);
    }
}

#[test]
fn through_zones_and_weights_each_takes_little_more_than_its_share() {
    for shards in [64, 256] {
        let zone = |nth: usize| format!("zone{}", nth % 7);
        let weight = |nth: usize| [100, 200, 50, 100][nth % 4];
        let nodes: Vec<Candidate> = (0..60)
            .map(|nth| node(nth, weight(nth), zone(nth)))
            .collect();
        let mut held = next(&nothing(shards), &nodes[..21]);
        for count in 22..=nodes.len() {
            let after = next(&held, &nodes[..count]);
            check(&after, &nodes[..count]);
            let total = f64::from(shards) * REPLICAS as f64;
            let all: f64 = nodes[..count].iter().map(|it| f64::from(it.weight)).sum();
            let share = |node: &Candidate| total * f64::from(node.weight) / all;
            let moved = takers(&held, &after).len() as f64;
            let newcomer = &nodes[count - 1];
            let allowed = 1.25 * total / count as f64;
            let allowed = allowed.max(1.25 * share(newcomer)) + 1.0;
            assert!(moved <= allowed, "{count}: {moved}, not {allowed}");
            let loads = loads(&after);
            for node in &nodes[..count] {
                let load = loads.get(&node.id).copied().unwrap_or(0) as f64;
                assert!(load <= share(node).ceil(), "{count}: {load}");
                assert!(load >= share(node).floor(), "{count}: {load}");
            }
            held = after;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nodes_come_and_go_in_any_order_and_all_stays_even(
        first in 3usize..60, shards in 1u16..200, goes in prop::collection::vec(any::<(bool, usize)>(), 1..12)
    ) {
        let mut nodes = equal(first);
        let mut fresh = first;
        let mut held = next(&nothing(shards), &nodes);
        for (joins, whose) in goes {
            if joins || nodes.len() <= 3 {
                nodes.push(node(fresh, 100, String::new()));
                fresh += 1;
            } else {
                nodes.remove(whose % nodes.len());
            }
            held = next(&held, &nodes);
            check(&held, &nodes);
            check_equal_loads(&held, nodes.len());
        }
    }
}
