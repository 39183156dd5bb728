//! Proposals of replica sets: distinct, even in load, spread over zones, and stable when nodes come and go.

use super::*;
use crate::ring::WEIGHT_DEFAULT;
use proptest::prelude::*;
use std::collections::BTreeSet;

type Held = Vec<(ShardId, Vec<NodeId>)>;

fn node(id: u128, zone: &str) -> Candidate {
    Candidate {
        id: NodeId(id),
        weight: WEIGHT_DEFAULT,
        zone: zone.into(),
    }
}

/// Nodes whose ids tell nothing of their order.
fn nodes(range: std::ops::Range<usize>) -> Vec<Candidate> {
    let id = |n: usize| (n as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    range.map(|n| node(id(n), "")).collect()
}

fn nothing_held(shards: u16) -> Held {
    (0..shards)
        .map(|shard| (ShardId(shard), Vec::new()))
        .collect()
}

fn step(held: &Held, candidates: &[Candidate], replicas: usize) -> Held {
    let sets = propose(held, candidates, replicas);
    held.iter().map(|(shard, _)| *shard).zip(sets).collect()
}

fn loads(held: &Held, candidates: &[Candidate]) -> Vec<usize> {
    let holds = |id: &NodeId| held.iter().filter(|(_, set)| set.contains(id)).count();
    candidates.iter().map(|node| holds(&node.id)).collect()
}

/// Replicas that are where none was.
fn moved(before: &Held, after: &Held) -> usize {
    (before.iter().zip(after))
        .map(|((_, old), (_, new))| new.iter().filter(|id| !old.contains(id)).count())
        .sum()
}

fn check_sets(held: &Held, candidates: &[Candidate], replicas: usize) {
    let zones: BTreeSet<String> = candidates.iter().map(zone).collect();
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    for node in candidates {
        *sizes.entry(zone(node)).or_default() += 1;
    }
    for (shard, set) in held {
        assert_eq!(set.len(), replicas.min(candidates.len()), "shard {shard}");
        let distinct: BTreeSet<_> = set.iter().collect();
        assert_eq!(distinct.len(), set.len(), "shard {shard} twice on a node");
        let used: BTreeSet<String> = (candidates.iter())
            .filter(|node| set.contains(&node.id))
            .map(zone)
            .collect();
        assert_eq!(
            used.len(),
            replicas.min(zones.len()).min(set.len()),
            "zones of shard {shard}"
        );
    }
}

fn zone(node: &Candidate) -> String {
    match node.zone.as_str() {
        "" => node.id.to_string(),
        zone => zone.to_owned(),
    }
}

#[test]
fn three_nodes_hold_everything_and_five_share_it_evenly() {
    let three = step(&nothing_held(64), &nodes(0..3), 3);
    assert_eq!(loads(&three, &nodes(0..3)), [64, 64, 64]);
    let five = step(&step(&three, &nodes(0..4), 3), &nodes(0..5), 3);
    let mut loads = loads(&five, &nodes(0..5));
    loads.sort_unstable();
    // The mean is 38.4; a seventh more than the mean would be the bound.
    assert_eq!(loads, [38, 38, 38, 39, 39]);
}

#[test]
fn the_proposal_of_today_is_that_of_tomorrow() {
    let few: Vec<Candidate> = (1..=5).map(|id| node(id, "")).collect();
    let held = step(&nothing_held(12), &few, 3);
    let written: Vec<String> = (held.iter())
        .map(|(_, set)| set.iter().map(|id| id.0.to_string()).collect())
        .collect();
    assert_eq!(
        written.join(" "),
        "124 124 125 345 123 235 145 123 135 345 234 145"
    );
    assert_eq!(step(&held, &few, 3), held, "nothing changes, nothing moves");
}

#[test]
fn fewer_nodes_than_replicas_hold_one_each() {
    let two = step(&nothing_held(64), &nodes(0..2), 3);
    assert_eq!(loads(&two, &nodes(0..2)), [64, 64]);
    assert!(propose(&two, &[], 3).iter().all(Vec::is_empty));
    assert!(propose(&Vec::new(), &nodes(0..3), 3).is_empty());
}

#[test]
fn every_zone_gets_a_replica_even_when_it_has_one_node_only() {
    let zoned: Vec<Candidate> = [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "c")]
        .map(|(id, zone)| node(id, zone))
        .into();
    let held = step(&nothing_held(60), &zoned, 3);
    check_sets(&held, &zoned, 3);
    assert_eq!(loads(&held, &zoned), [20, 20, 20, 60, 60]);
}

#[test]
fn a_third_zone_is_used_as_soon_as_it_is_there() {
    let mut zoned: Vec<Candidate> = [(1, "a"), (2, "a"), (3, "b")]
        .map(|(id, zone)| node(id, zone))
        .into();
    let before = step(&nothing_held(60), &zoned, 3);
    zoned.push(node(4, "c"));
    let after = step(&before, &zoned, 3);
    check_sets(&after, &zoned, 3);
    assert_eq!(loads(&after, &zoned), [30, 30, 60, 60]);
    assert_eq!(moved(&before, &after), 60);
}

#[test]
fn a_node_of_twice_the_weight_holds_twice_as_much() {
    let mut unequal = nodes(0..5);
    unequal[2].weight = 200;
    let held = step(&nothing_held(100), &unequal, 3);
    assert_eq!(loads(&held, &unequal), [50, 50, 100, 50, 50]);
}

#[test]
fn a_quota_leaves_room_for_all_replicas_and_no_more() {
    assert_eq!(zone_quota(&[3, 1, 1], 3), 1);
    assert_eq!(zone_quota(&[3, 1], 3), 2);
    assert_eq!(zone_quota(&[1, 5], 5), 4);
    assert_eq!(zone_quota(&[9], 3), 3);
}

#[test]
fn from_one_node_to_two_hundred_each_takes_its_share_and_no_more() {
    let all = nodes(0..200);
    let mut held = nothing_held(128);
    for count in 1..=all.len() {
        let after = step(&held, &all[..count], 3);
        let mut loads = loads(&after, &all[..count]);
        loads.sort_unstable();
        let total = 128 * count.min(3);
        assert!(loads[0] >= total / count, "{count} nodes: {loads:?}");
        assert!(
            loads[count - 1] <= total.div_ceil(count),
            "{count} nodes: {loads:?}"
        );
        if count > 1 {
            assert!(
                moved(&held, &after) * count <= total,
                "more than 1/{count} moved"
            );
        }
        held = after;
    }
}

#[test]
fn among_a_thousand_nodes_and_eight_thousand_shards_one_share_moves() {
    let all = nodes(0..1001);
    let held = step(&nothing_held(8192), &all[..1000], 3);
    check_sets(&held[..64].to_vec(), &all[..1000], 3);
    let more = step(&held, &all, 3);
    assert_eq!(moved(&held, &more), 8192 * 3 / 1001);
    let less = step(&more, &all[1..], 3);
    assert!(moved(&more, &less) <= 25, "{} moved", moved(&more, &less));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_new_node_takes_its_share_and_the_others_exchange_nothing(
        count in 3usize..40, shards in 1u16..300, first in 0usize..1000
    ) {
        let all = nodes(first..first + count + 1);
        let before = step(&nothing_held(shards), &all[..count], 3);
        let after = step(&before, &all, 3);
        check_sets(&after, &all, 3);
        let newcomer = loads(&after, &all)[count];
        prop_assert_eq!(moved(&before, &after), newcomer);
        prop_assert!(newcomer * (count + 1) <= usize::from(shards) * 3);
        let (total, loads) = (usize::from(shards) * 3, loads(&after, &all));
        prop_assert!(loads.iter().all(|&load| (total / (count + 1)..=total.div_ceil(count + 1)).contains(&load)));
    }

    #[test]
    fn when_a_node_goes_only_what_it_held_moves(
        count in 4usize..40, shards in 1u16..300, first in 0usize..1000, gone in any::<prop::sample::Index>()
    ) {
        let mut left = nodes(first..first + count);
        let before = step(&nothing_held(shards), &left, 3);
        let gone = left.remove(gone.index(count));
        let after = step(&before, &left, 3);
        check_sets(&after, &left, 3);
        let held_there = loads(&before, std::slice::from_ref(&gone))[0];
        // Where one holds all that lies near it, some other must make room.
        let bound = held_there + held_there.div_ceil(4);
        prop_assert!(moved(&before, &after) <= bound, "{} moved, {} were there", moved(&before, &after), held_there);
        let (total, loads) = (usize::from(shards) * 3, loads(&after, &left));
        prop_assert!(loads.iter().all(|&load| (total / (count - 1)..=total.div_ceil(count - 1)).contains(&load)));
    }

    #[test]
    fn zones_and_weights_come_and_go_and_the_sets_stay_sound(
        steps in prop::collection::vec(prop::collection::vec((0u128..12, 0usize..5, 1u16..400), 1..12), 1..6),
        shards in 1u16..80, replicas in 1usize..6
    ) {
        let mut held = nothing_held(shards);
        for members in steps {
            let members: BTreeMap<u128, Candidate> = members.into_iter().map(|(id, zone, weight)| {
                let zone = ["", "a", "b", "c", "d"][zone].to_owned();
                (id, Candidate { id: NodeId(id + 1), weight, zone })
            }).collect();
            let members: Vec<Candidate> = members.into_values().collect();
            held = step(&held, &members, replicas);
            let distinct_zones = members.iter().map(zone).collect::<BTreeSet<_>>().len();
            if distinct_zones >= replicas || members.len() <= replicas {
                check_sets(&held, &members, replicas);
            }
            prop_assert_eq!(&step(&held, &members, replicas), &held, "a second look moves nothing");
        }
    }

    #[test]
    fn equal_nodes_in_equal_zones_hold_equally_much(per_zone in 1usize..6, zones in 3usize..6, shards in 1u16..200) {
        let members: Vec<Candidate> = (0..per_zone * zones)
            .map(|n| node(n as u128 + 1, ["a", "b", "c", "d", "e"][n % zones]))
            .collect();
        let held = step(&nothing_held(shards), &members, 3);
        check_sets(&held, &members, 3);
        let (total, loads) = (usize::from(shards) * 3, loads(&held, &members));
        let range = total / members.len()..=total.div_ceil(members.len());
        prop_assert!(loads.iter().all(|load| range.contains(load)), "{:?} not in {:?}", loads, range);
    }
}
