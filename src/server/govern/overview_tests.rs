//! What an operator sees of clusters that are well, and of such that are not.

use ringfort_cluster::placement::{wishes, Limits, Observed};
use ringfort_cluster::steward::NodeLoad;
use ringfort_cluster::topology::{ClusterId, Ports};
use ringfort_cluster::{Epoch, Index, MetaCommand, Term};

use super::*;

const DOWN_AFTER_US: u64 = 3_000_000;
const SHARDS: u16 = 4;

fn described(id: u128, zone: &str) -> Node {
    Node {
        zone: zone.into(),
        ..Node::new(NodeId(id), format!("host{id}"), Ports::default())
    }
}

fn apply(topology: &mut Topology, command: MetaCommand) {
    let applied = topology.apply(&command);
    applied.unwrap_or_else(|error| panic!("{command:?}: {error}"));
}

fn decide(topology: &mut Topology) {
    let observed = Observed {
        silent_ticks: topology.nodes.keys().map(|id| (*id, 0)).collect(),
        ..Observed::default()
    };
    for command in wishes(topology, &observed, &Limits::default()) {
        apply(topology, command);
    }
}

/// Everything is where it is wished, on nodes 1 to `nodes`, each in its zone.
fn whole(zones: &[&str]) -> Topology {
    let mut topology = Topology::default();
    apply(
        &mut topology,
        MetaCommand::Init {
            cluster_id: ClusterId(9),
            shards: u32::from(SHARDS),
            replicas: 3,
            node: described(1, zones[0]),
        },
    );
    for (id, zone) in (2..).zip(&zones[1..]) {
        let node = described(id, zone);
        apply(
            &mut topology,
            MetaCommand::Join {
                cluster_id: None,
                node,
            },
        );
    }
    decide(&mut topology);
    settle(&mut topology);
    topology
}

/// Every wished copy is there and votes as wished; the others are gone.
fn settle(topology: &mut Topology) {
    let groups: Vec<ShardId> = topology.places().map(|(shard, _)| shard).collect();
    for shard in groups {
        let wish = topology.place(shard).unwrap().wish.clone();
        for node in wish.nodes() {
            allot(topology, shard, node);
        }
        let place = topology.place(shard).unwrap();
        let ids = |nodes: &[NodeId]| -> Vec<ReplicaId> {
            nodes
                .iter()
                .filter_map(|node| place.replica_on(*node))
                .collect()
        };
        let members = Members::new(&ids(&wish.voters), &ids(&wish.learners));
        let changed = Epoch(place.changed.0 + 1);
        apply(
            topology,
            MetaCommand::RecordMembership {
                shard,
                members,
                changed,
            },
        );
    }
}

fn allot(topology: &mut Topology, shard: ShardId, node: NodeId) {
    let place = topology.place(shard).unwrap();
    if place.replica_on(node).is_none() {
        let replica = place.next_replica;
        apply(
            topology,
            MetaCommand::Allot {
                shard,
                node,
                replica,
            },
        );
    }
}

/// What all nodes report: the first voter of each group leads it, and the copies of nodes in `behind` lack ten entries.
fn reports(topology: &Topology, behind: &[u128]) -> Vec<NodeReport> {
    let report = |node: &Node| NodeReport {
        node: node.clone(),
        epoch: topology.epoch,
        groups: topology
            .held_by(node.id)
            .map(|(shard, replica, _)| group(topology, shard, replica, behind))
            .collect(),
        lost: Vec::new(),
        suspect: Vec::new(),
        load: NodeLoad {
            memory_bytes: 1_000,
            ops_per_sec: 5,
            ..NodeLoad::default()
        },
    };
    topology.nodes.values().map(report).collect()
}

fn group(topology: &Topology, shard: ShardId, replica: ReplicaId, behind: &[u128]) -> GroupReport {
    let place = topology.place(shard).unwrap();
    let is_behind = |id: ReplicaId| behind.contains(&place.node_of(id).unwrap().get());
    let members = place.members.clone();
    let leads = members.voters.first() == Some(&replica);
    let caught_up = members.all().into_iter().filter(|id| !is_behind(*id));
    GroupReport {
        shard,
        replica,
        term: Term(2),
        bytes: 100,
        applied: Index(if is_behind(replica) { 90 } else { 100 }),
        leads: leads.then(|| LedGroup {
            caught_up: caught_up.collect(),
            changed: place.changed,
            changing: false,
            members,
        }),
    }
}

fn look(topology: &Topology, reports: &[NodeReport], silent: &[u128]) -> ClusterView {
    overview(topology, reports, silent).cluster()
}

fn overview<'a>(
    topology: &'a Topology,
    reports: &'a [NodeReport],
    silent: &[u128],
) -> Overview<'a> {
    let is_silent = |report: &NodeReport| silent.contains(&report.node.id.get());
    let heard = reports.iter().map(|report| {
        let us = if is_silent(report) {
            2 * DOWN_AFTER_US
        } else {
            500_000
        };
        (report, us)
    });
    let heard: Vec<Heard> = heard.collect();
    Overview::new(topology, NodeId(1), heard.into_iter(), DOWN_AFTER_US)
}

fn view_of(view: &ClusterView, id: u128) -> &NodeView {
    let id = NodeId(id).to_string();
    view.nodes.iter().find(|node| node.id == id).unwrap()
}

#[test]
fn of_a_cluster_that_is_well_there_is_nothing_to_say() {
    let topology = whole(&["", "", ""]);
    let view = look(&topology, &reports(&topology, &[]), &[]);
    assert_eq!(view.problems, Vec::<String>::new());
    assert_eq!(view.moves, MovesView::default());
    assert_eq!(
        (view.shards, view.shards_short, view.shards_without_leader),
        (4, 0, 0)
    );
    for node in &view.nodes {
        assert_eq!(
            (node.holds, node.votes, node.wished, node.needed_by),
            (4, 4, 4, 5)
        );
        assert_eq!((node.state, node.silent_ms), (NodeState::Up, Some(500)));
        assert_eq!(
            (node.data_bytes, node.memory_bytes, node.p99_us),
            (400, 1_000, None)
        );
    }
    let leads: u32 = view.nodes.iter().map(|node| node.leads).sum();
    assert_eq!(leads, 4);
}

#[test]
fn a_node_that_is_silent_is_down_and_what_it_led_has_no_leader() {
    let topology = whole(&["", "", ""]);
    let reports = reports(&topology, &[]);
    let led_by_first = |shard: &ShardId| {
        let place = topology.place(*shard).unwrap();
        place.node_of(place.members.voters[0]) == Some(NodeId(1))
    };
    let led = (0..SHARDS).map(ShardId).filter(led_by_first).count() as u32;
    assert!(led > 0);
    let view = look(&topology, &reports, &[1]);
    assert_eq!(view_of(&view, 1).state, NodeState::Down);
    assert_eq!((view.shards_without_leader, view.shards_short), (led, 4));
    let text = view.problems.join("\n");
    assert!(
        text.contains("host1:6379) is down: nothing was heard of it for 6 s"),
        "{text}"
    );
    assert!(text.contains("nobody leads shard"), "{text}");
    let shard = overview(&topology, &reports, &[1])
        .shard(ShardId(0))
        .unwrap();
    let down = shard
        .replicas
        .iter()
        .find(|copy| copy.state == ReplicaState::Down);
    assert_eq!(
        down.map(|copy| copy.node.clone()),
        Some(NodeId(1).to_string())
    );
}

#[test]
fn a_shard_whose_leader_moves_is_no_problem() {
    let topology = whole(&["", "", ""]);
    let mut reports = reports(&topology, &[]);
    let of_second = |group: &&mut GroupReport| group.shard == ShardId(1);
    let groups = reports.iter_mut().flat_map(|report| &mut report.groups);
    groups
        .filter(of_second)
        .for_each(|group| group.leads = None);
    let view = look(&topology, &reports, &[]);
    assert_eq!((view.shards_without_leader, view.shards_short), (1, 1));
    assert_eq!(view.problems, ["nobody leads shard 1"]);
    let all = overview(&topology, &reports, &[]);
    let view = all.with_passing([ShardId(1)].into_iter()).cluster();
    assert_eq!((view.shards_without_leader, view.shards_short), (0, 0));
    assert_eq!(view.problems, Vec::<String>::new());
}

#[test]
fn a_copy_that_lags_is_shown_with_the_entries_that_it_lacks() {
    let topology = whole(&["", "", ""]);
    let reports = reports(&topology, &[3]);
    let view = look(&topology, &reports, &[]);
    assert_eq!(
        (
            view_of(&view, 2).lag_entries_max,
            view_of(&view, 3).lag_entries_max
        ),
        (0, 10)
    );
    assert_eq!(view.shards_short, 4);
    assert!(
        view.problems[0].contains("fewer than 3 voting copies"),
        "{:?}",
        view.problems
    );
    let shard = overview(&topology, &reports, &[])
        .shard(ShardId(2))
        .unwrap();
    assert_eq!(shard.slots, (8192, 12287));
    let behind = shard
        .replicas
        .iter()
        .find(|copy| copy.state == ReplicaState::Behind)
        .unwrap();
    assert_eq!(
        (behind.applied, behind.lag_entries, behind.role),
        (Some(90), Some(10), Role::Voter)
    );
    assert!(!shard.moving, "all are where they should be");
}

#[test]
fn copies_that_are_to_be_made_and_filled_are_counted_with_their_bytes() {
    let mut topology = whole(&["", "", ""]);
    let node = described(4, "");
    apply(
        &mut topology,
        MetaCommand::Join {
            cluster_id: None,
            node,
        },
    );
    decide(&mut topology);
    let to_make = topology
        .shards
        .iter()
        .filter(|place| place.wish.nodes().any(|id| id == NodeId(4)));
    let to_make = to_make.count() as u32;
    let view = look(&topology, &reports(&topology, &[]), &[]);
    // Each is to be made on the newcomer and given up elsewhere.
    assert_eq!((view.moves.copying, view.moves.waiting), (0, 2 * to_make));
    assert_eq!(view.moves.bytes_left, 100 * u64::from(to_make));
    assert_eq!(
        (view_of(&view, 4).holds, view_of(&view, 4).wished),
        (0, to_make)
    );
    let shards = (0..SHARDS).map(ShardId);
    let first = shards.clone().find(|shard| {
        let wish = &topology.place(*shard).unwrap().wish;
        wish.nodes().any(|id| id == NodeId(4))
    });
    allot(&mut topology, first.unwrap(), NodeId(4));
    let reports = reports(&topology, &[4]);
    let view = look(&topology, &reports, &[]);
    assert_eq!(
        (view.moves.copying, view.moves.waiting),
        (1, 2 * to_make - 1)
    );
    assert_eq!(view.moves.bytes_left, 100 * u64::from(to_make));
    let all = overview(&topology, &reports, &[]);
    let moving = shards
        .filter(|shard| all.shard(*shard).unwrap().moving)
        .count();
    assert_eq!(moving as u32, to_make);
}

#[test]
fn a_node_drains_until_nothing_needs_it() {
    let mut topology = whole(&["", "", "", ""]);
    let leave = MetaCommand::Leave {
        node: NodeId(4),
        force: false,
    };
    apply(&mut topology, leave);
    decide(&mut topology);
    let view = look(&topology, &reports(&topology, &[]), &[]);
    assert_eq!(view_of(&view, 4).state, NodeState::Draining);
    assert_eq!(view_of(&view, 4).wished, 0);
    assert!(view_of(&view, 4).holds > 0);
    let is_held_by_it = |shard: &ShardView| {
        let mut copies = shard.replicas.iter();
        copies.any(|copy| copy.state == ReplicaState::Leaving)
    };
    let all = reports(&topology, &[]);
    let leaving =
        (0..SHARDS).filter_map(|shard| overview(&topology, &all, &[]).shard(ShardId(shard)));
    assert_eq!(
        leaving.filter(is_held_by_it).count() as u32,
        view_of(&view, 4).holds
    );
    settle(&mut topology);
    // Only now that it holds no data the copy of the meta group goes.
    decide(&mut topology);
    settle(&mut topology);
    let view = look(&topology, &reports(&topology, &[]), &[]);
    assert_eq!(view_of(&view, 4).state, NodeState::Drained);
    assert_eq!(view.problems, Vec::<String>::new());
    // Also when it is stopped.
    let view = look(&topology, &reports(&topology, &[]), &[4]);
    assert_eq!(
        (view_of(&view, 4).state, view.problems.len()),
        (NodeState::Drained, 0)
    );
}

#[test]
fn a_node_that_cannot_be_emptied_is_told_of() {
    let mut topology = whole(&["", "", "", ""]);
    let leave = MetaCommand::Leave {
        node: NodeId(4),
        force: false,
    };
    apply(&mut topology, leave);
    let reports = reports(&topology, &[]);
    let text = look(&topology, &reports, &[3]).problems.join("\n");
    assert!(
        text.contains("cannot be emptied: 3 nodes are to take its copies, of which 2 are up"),
        "{text}"
    );
}

#[test]
fn fewer_zones_than_copies_are_told_of() {
    let topology = whole(&["a", "b", "a"]);
    let text = look(&topology, &reports(&topology, &[]), &[])
        .problems
        .join("\n");
    assert!(
        text.contains("3 copies of each shard lie in 2 zones"),
        "{text}"
    );
    let topology = whole(&["a", "b", "c"]);
    assert!(look(&topology, &reports(&topology, &[]), &[])
        .problems
        .is_empty());
}

#[test]
fn a_node_whose_disk_fails_or_forgot_something_is_told_of() {
    let topology = whole(&["", "", ""]);
    let mut reports = reports(&topology, &[]);
    reports[1].load.refuses_writes = true;
    reports[2].suspect = vec![(ShardId(0), ReplicaId(3))];
    let text = look(&topology, &reports, &[]).problems.join("\n");
    assert!(text.contains("host2:6379) refuses writes"), "{text}");
    assert!(
        text.contains("host3:6379) may have lost the newest writes of 1 groups"),
        "{text}"
    );
}

#[test]
fn who_is_no_node_of_a_replica_is_not_believed_to_lead() {
    let topology = whole(&["", "", ""]);
    let mut reports = reports(&topology, &[]);
    for report in &mut reports {
        for group in &mut report.groups {
            group.replica = ReplicaId(77);
        }
    }
    assert_eq!(look(&topology, &reports, &[]).shards_without_leader, 4);
}

#[test]
fn of_two_that_say_that_they_lead_the_one_of_the_newer_term_does() {
    let topology = whole(&["", "", ""]);
    let mut reports = reports(&topology, &[]);
    let leader = |reports: &[NodeReport]| {
        overview(&topology, reports, &[])
            .led(ShardId(0))
            .unwrap()
            .node
    };
    let old = leader(&reports);
    let at = reports
        .iter()
        .position(|report| report.node.id != old)
        .unwrap();
    let led = reports
        .iter()
        .flat_map(|report| &report.groups)
        .find_map(|group| {
            (group.shard == ShardId(0))
                .then(|| group.leads.clone())
                .flatten()
        });
    let group = reports[at]
        .groups
        .iter_mut()
        .find(|group| group.shard == ShardId(0))
        .unwrap();
    (group.term, group.leads) = (Term(3), led);
    assert_eq!(leader(&reports), reports[at].node.id);
}
