//! The steward on hand-made reports, orders on single replicas, and the bytes of both.

use super::*;
use crate::replica::{ChangeError, Config, Outputs, Replica, Restored};
use crate::topology::tests::node;
use crate::topology::{ClusterId, Members, META_GROUP};
use crate::types::{Epoch, Index};
use proptest::prelude::*;

const SHARD: ShardId = ShardId(0);

fn at(ms: u64) -> Monotonic {
    Monotonic(5_000_000_000 + ms * 1_000)
}

/// A cluster of nodes 1 to `count`, of one shard; all on node 1 yet.
fn cluster(count: u128) -> Topology {
    let mut topology = Topology::default();
    let init = MetaCommand::Init {
        cluster_id: ClusterId(9),
        shards: 1,
        replicas: 3,
        node: node(1),
    };
    topology.apply(&init).unwrap();
    for id in 2..=count {
        let node = node(id);
        let cluster_id = None;
        topology
            .apply(&MetaCommand::Join { cluster_id, node })
            .unwrap();
    }
    topology
}

fn report(id: u128, groups: Vec<GroupReport>) -> NodeReport {
    NodeReport {
        node: node(id),
        epoch: Epoch(1),
        groups,
        lost: vec![],
        suspect: vec![],
        load: NodeLoad::default(),
    }
}

/// Replica 1 leads a group, as the topology has it.
fn led(topology: &Topology, shard: ShardId) -> GroupReport {
    let place = topology.place(shard).unwrap();
    GroupReport {
        shard,
        replica: ReplicaId(1),
        term: Term(3),
        bytes: 0,
        applied: Index::ZERO,
        leads: Some(LedGroup {
            members: place.members.clone(),
            changed: place.changed,
            changing: false,
            caught_up: place.members.all().into_iter().collect(),
        }),
    }
}

fn leads_all(topology: &Topology) -> NodeReport {
    report(1, vec![led(topology, SHARD), led(topology, META_GROUP)])
}

/// Applies what is proposed, and gives what is ordered.
fn apply(topology: &mut Topology, actions: Vec<StewardAction>) -> Vec<Order> {
    let mut orders = Vec::new();
    for action in actions {
        match action {
            StewardAction::Propose(command) => {
                topology.apply(&command).unwrap();
            }
            StewardAction::Order(order) => orders.push(order),
        }
    }
    orders
}

/// A steward that has decided where all should be, and whose next step is to add learners on node 2.
fn deciding() -> (Steward, Topology) {
    let mut topology = cluster(2);
    let mut steward = Steward::new(StewardLimits::default());
    steward.heard(leads_all(&topology), at(0));
    steward.heard(report(2, vec![]), at(0));
    let actions = steward.tick(at(0), &topology);
    assert!(
        matches!(
            actions[..],
            [StewardAction::Propose(MetaCommand::SetWishes { .. })]
        ),
        "{actions:?}"
    );
    apply(&mut topology, actions);
    (steward, topology)
}

#[test]
fn an_id_is_given_out_before_the_group_hears_of_it() {
    let (mut steward, mut topology) = deciding();
    let actions = steward.tick(at(100), &topology);
    assert_eq!(actions.len(), 2);
    assert!(
        actions
            .iter()
            .all(|action| matches!(action, StewardAction::Propose(MetaCommand::Allot { .. }))),
        "{actions:?}"
    );
    assert!(
        steward.tick(at(200), &topology).is_empty(),
        "not yet applied"
    );
    apply(&mut topology, actions);
    let actions = steward.tick(at(300), &topology);
    let orders = apply(&mut topology, actions);
    let shards: Vec<ShardId> = orders.iter().map(|order| order.shard).collect();
    assert_eq!(shards, [META_GROUP, SHARD]);
    for order in orders {
        assert_eq!((order.to, order.term), (NodeId(1), Term(3)));
        assert_eq!(order.based_on, Epoch::ZERO);
        assert_eq!(order.task, Task::AddLearner(ReplicaId(2)));
    }
}

#[test]
fn what_was_ordered_is_repeated_only_when_nothing_shows_for_long() {
    let (mut steward, mut topology) = deciding();
    let actions = steward.tick(at(100), &topology);
    apply(&mut topology, actions);
    assert_eq!(steward.tick(at(200), &topology).len(), 2);
    for ms in (300..1_700).step_by(100) {
        assert!(steward.tick(at(ms), &topology).is_empty(), "at {ms}");
    }
    assert_eq!(steward.tick(at(1_700), &topology).len(), 2);
}

#[test]
fn a_membership_that_the_topology_has_not_heard_of_is_recorded() {
    let (mut steward, mut topology) = deciding();
    for _ in 0..2 {
        let actions = steward.tick(at(100), &topology);
        apply(&mut topology, actions);
    }
    let mut reported = leads_all(&topology);
    let members = Members::new(&[ReplicaId(1)], &[ReplicaId(2)]);
    let group = reported.groups[0].leads.as_mut().unwrap();
    (group.members, group.changed) = (members.clone(), Epoch(1));
    steward.heard(reported, at(200));
    let actions = steward.tick(at(200), &topology);
    let record = MetaCommand::RecordMembership {
        shard: SHARD,
        members,
        changed: Epoch(1),
    };
    assert_eq!(actions, [StewardAction::Propose(record)]);
}

#[test]
fn of_two_that_say_they_lead_the_newer_term_counts_and_strangers_never() {
    let mut topology = cluster(2);
    let wishes = vec![(
        SHARD,
        crate::topology::Wish::new(&[NodeId(1), NodeId(2)], &[]),
    )];
    topology.apply(&MetaCommand::SetWishes { wishes }).unwrap();
    let allot = MetaCommand::Allot {
        shard: SHARD,
        node: NodeId(2),
        replica: ReplicaId(2),
    };
    topology.apply(&allot).unwrap();
    let mut steward = Steward::new(StewardLimits::default());
    let of = |replica, term| GroupReport {
        replica: ReplicaId(replica),
        term: Term(term),
        ..led(&topology, SHARD)
    };
    steward.heard(report(1, vec![of(1, 3)]), at(0));
    steward.heard(report(2, vec![of(2, 4)]), at(0));
    let leader =
        |steward: &Steward| steward.seen(at(0), &topology, &Doubted::new()).groups[&SHARD].leader;
    assert_eq!(leader(&steward), ReplicaId(2));
    steward.heard(report(2, vec![of(1, 9)]), at(0));
    assert_eq!(leader(&steward), ReplicaId(1));
    let seen = steward.seen(at(0), &topology, &Doubted::new());
    assert_eq!(seen.terms[&SHARD], Term(3), "replica 1 is not on node 2");
}

#[test]
fn a_group_that_loses_its_leader_was_led_lately_until_it_is_led_again_or_time_passes() {
    let topology = cluster(1);
    let mut steward = Steward::new(StewardLimits::default());
    let mut lately = |report: &NodeReport, ms: u64| -> Vec<ShardId> {
        steward.heard(report.clone(), at(ms));
        steward.tick(at(ms), &topology);
        steward.lately_led(2_000_000, at(ms)).collect()
    };
    let whole = leads_all(&topology);
    let mut without = whole.clone();
    without.groups[0].leads = None;
    let nobody: [ShardId; 0] = [];
    assert_eq!(lately(&without, 0), nobody, "nobody has ever led it");
    assert_eq!(lately(&whole, 100), nobody);
    assert_eq!(lately(&without, 1_000), [SHARD]);
    assert_eq!(lately(&without, 2_900), [SHARD]);
    assert_eq!(lately(&without, 3_000), nobody, "for too long");
    assert_eq!(lately(&whole, 3_100), nobody);
    assert_eq!(lately(&without, 3_200), [SHARD]);
    assert_eq!(lately(&whole, 3_300), nobody);
}

#[test]
fn a_node_without_reports_is_down_and_its_groups_are_left_alone() {
    let (mut steward, topology) = deciding();
    assert!(steward.is_up(NodeId(2), at(3_000)));
    steward.heard(leads_all(&topology), at(3_000));
    assert!(!steward.is_up(NodeId(2), at(3_100)));
    assert!(
        steward.tick(at(3_100), &topology).is_empty(),
        "nothing is added on a node that is down"
    );
    assert!(
        steward.tick(at(60_000), &topology).is_empty(),
        "nobody is heard of"
    );
}

#[test]
fn a_new_leader_waits_for_reports_before_it_gives_anybody_up() {
    let topology = cluster(3);
    let mut steward = Steward::new(StewardLimits::default());
    let silent = |steward: &Steward, ms| steward.silent(at(ms), at(0), &topology);
    assert!(silent(&steward, 3_000).is_empty());
    steward.heard(report(2, vec![]), at(2_000));
    let known = silent(&steward, 3_100);
    assert_eq!(known[&NodeId(2)], 11);
    assert_eq!(known[&NodeId(1)], 31);
}

#[test]
fn a_node_that_describes_itself_anew_is_taken_at_its_word() {
    let topology = cluster(2);
    let mut steward = Steward::new(StewardLimits::default());
    let mut moved = report(2, vec![]);
    moved.node.host = "elsewhere".into();
    steward.heard(moved.clone(), at(0));
    let update = |node: &crate::topology::Node| {
        StewardAction::Propose(MetaCommand::Update { node: node.clone() })
    };
    assert!(steward
        .tick(at(0), &topology)
        .contains(&update(&moved.node)));
    moved.node.host = node(1).host;
    steward.heard(moved.clone(), at(2_000));
    steward.heard(report(1, vec![]), at(2_000));
    let actions = steward.tick(at(2_000), &topology);
    assert!(!actions.contains(&update(&moved.node)), "an address of two");
}

#[test]
fn a_lost_replica_is_marked_and_a_suspect_one_only_when_it_is_not_needed() {
    let mut topology = cluster(2);
    let wishes = vec![(
        SHARD,
        crate::topology::Wish::new(&[NodeId(1), NodeId(2)], &[]),
    )];
    topology.apply(&MetaCommand::SetWishes { wishes }).unwrap();
    let allot = MetaCommand::Allot {
        shard: SHARD,
        node: NodeId(2),
        replica: ReplicaId(2),
    };
    topology.apply(&allot).unwrap();
    let marks = |steward: &mut Steward| {
        let actions = steward.tick(at(0), &topology).into_iter();
        let marks = actions.filter_map(|action| match action {
            StewardAction::Propose(MetaCommand::MarkLost { replica, .. }) => Some(replica.get()),
            _ => None,
        });
        marks.collect::<Vec<_>>()
    };
    let says = |lost: &[u64], suspect: &[u64]| {
        let of = |ids: &[u64]| ids.iter().map(|&id| (SHARD, ReplicaId(id))).collect();
        NodeReport {
            lost: of(lost),
            suspect: of(suspect),
            ..report(2, vec![])
        }
    };
    let mut steward = Steward::new(StewardLimits::default());
    steward.heard(says(&[1, 2, 7], &[]), at(0));
    assert_eq!(marks(&mut steward), [2], "others are not its own");
    let mut steward = Steward::new(StewardLimits::default());
    steward.heard(says(&[], &[2]), at(0));
    assert!(marks(&mut steward).is_empty(), "nobody leads");
    steward.heard(leads_all(&topology), at(0));
    assert_eq!(marks(&mut steward), [2]);
}

#[test]
fn a_replica_in_doubt_is_not_counted_on_though_its_leader_still_does() {
    let mut topology = cluster(2);
    let (shard, node, replica) = (SHARD, NodeId(2), ReplicaId(2));
    let wishes = vec![(shard, crate::topology::Wish::new(&[NodeId(1), node], &[]))];
    let members = Members::new(&[ReplicaId(1)], &[replica]);
    let allot = MetaCommand::Allot {
        shard,
        node,
        replica,
    };
    let record = MetaCommand::RecordMembership {
        shard,
        members,
        changed: Epoch(1),
    };
    for command in [MetaCommand::SetWishes { wishes }, allot, record] {
        topology.apply(&command).unwrap();
    }
    let counts = |teller: u128, lost: &[(ShardId, ReplicaId)], suspect: &[(ShardId, ReplicaId)]| {
        let mut steward = Steward::new(StewardLimits::default());
        steward.heard(report(1, vec![led(&topology, SHARD)]), at(0));
        let says = NodeReport {
            lost: lost.to_vec(),
            suspect: suspect.to_vec(),
            ..report(teller, vec![])
        };
        steward.heard(says, at(0));
        let doubted = steward.doubted(at(0), &topology);
        let seen = steward.seen(at(0), &topology, &doubted);
        seen.groups[&SHARD].caught_up.contains(&replica)
    };
    assert!(counts(2, &[], &[]));
    assert!(!counts(2, &[(shard, replica)], &[]), "lost");
    assert!(!counts(2, &[], &[(shard, replica)]), "suspect");
    assert!(counts(3, &[(shard, replica)], &[]), "not its own");
}

#[test]
fn a_report_that_says_nothing_new_is_not_decided_upon_again() {
    let (mut steward, topology) = deciding();
    let look = |steward: &Steward, ms| steward.look(at(ms), at(0), &topology);
    let before = look(&steward, 100);
    let mut same = leads_all(&topology);
    same.load.ops_per_sec = 7;
    same.groups[0].bytes = 9;
    same.groups[0].applied = Index(3);
    steward.heard(same.clone(), at(900));
    assert_eq!(look(&steward, 900), before);
    let changes: [fn(&mut NodeReport); 5] = [
        |report| report.groups[0].term = Term(4),
        |report| report.groups[0].leads = None,
        |report| report.lost.push((SHARD, ReplicaId(1))),
        |report| report.suspect.push((SHARD, ReplicaId(1))),
        |report| report.node.host = "elsewhere".into(),
    ];
    for change in changes {
        let before = look(&steward, 900);
        change(&mut same);
        steward.heard(same.clone(), at(900));
        assert_ne!(look(&steward, 900), before, "{same:?}");
    }
    let before = look(&steward, 900);
    assert_ne!(
        look(&steward, 3_100),
        before,
        "node 2 is not fresh any more"
    );
    let later = look(&steward, 299_900);
    assert_ne!(look(&steward, 301_000), later, "now it is replaced");
    let mut newer = topology.clone();
    newer.epoch = newer.epoch.next();
    assert_ne!(steward.look(at(900), at(0), &newer), before);
}

#[test]
fn what_the_operator_says_of_leaders_holds_for_a_while() {
    let topology = cluster(1);
    let limits = StewardLimits {
        hold_leader_us: 1_000_000,
        ..StewardLimits::default()
    };
    let mut steward = Steward::new(limits);
    steward.heard(leads_all(&topology), at(0));
    steward.hold_leader(SHARD, at(0));
    steward.tick(at(900), &topology);
    assert!(steward.held.contains_key(&SHARD));
    steward.tick(at(1_000), &topology);
    assert!(steward.held.is_empty());
    steward.hold_leader(SHARD, at(1_000));
    steward.rebalance(at(1_000));
    assert!(steward.held.is_empty() && steward.is_rebalancing());
    steward.tick(at(1_100), &topology);
    assert!(!steward.is_rebalancing(), "everything is even");
}

#[test]
fn evening_out_goes_on_until_all_is_in_its_place_or_for_a_bounded_time() {
    let (mut steward, topology) = deciding();
    steward.rebalance(at(0));
    steward.tick(at(100), &topology);
    assert!(steward.is_rebalancing(), "node 2 has no copies yet");
    let hour_ms = StewardLimits::default().rebalance_us_max / 1_000;
    steward.tick(at(hour_ms), &topology);
    assert!(!steward.is_rebalancing());
}

#[test]
fn a_node_is_never_replaced_before_it_counts_as_down() {
    let limits = StewardLimits::default();
    let ticks = |us| limits.replacing_after(us).placement.replace_after_ticks;
    assert_eq!(ticks(300_000_000), 3_000, "as it is by default");
    assert_eq!(limits.placement.replace_after_ticks, 3_000);
    assert_eq!(ticks(60_000_000), 600);
    assert_eq!(ticks(0), 31);
}

#[test]
fn before_there_is_a_cluster_there_is_nothing_to_do() {
    let mut steward = Steward::new(StewardLimits::default());
    assert!(steward.tick(at(0), &Topology::default()).is_empty());
}

/// A replica that leads a shard alone.
fn leader() -> Replica {
    let config = Config::new(SHARD, ReplicaId(1));
    let mut replica = Replica::new(&config, Restored::fresh([ReplicaId(1)])).unwrap();
    replica.campaign();
    turn(&mut replica);
    replica
}

fn turn(replica: &mut Replica) {
    let mut outputs = Outputs::default();
    while replica.ready(&mut outputs) {
        replica.persisted(&mut outputs);
        for entry in outputs.committed.drain(..) {
            if entry.kind == crate::replica::EntryKind::Membership {
                replica.apply_membership(&entry).unwrap();
            }
            replica.applied(entry.index);
        }
    }
}

fn order(task: Task, based_on: u64) -> Order {
    Order {
        to: NodeId(1),
        shard: SHARD,
        term: Term(1),
        based_on: Epoch(based_on),
        task,
    }
}

#[test]
fn an_order_is_carried_out_once_whatever_comes_late_or_twice() {
    let mut replica = leader();
    let add = order(Task::AddLearner(ReplicaId(2)), 0);
    let begun = carry_out(&add, &mut replica, at(0));
    assert!(matches!(begun, Ok(Begun::Change(_))), "{begun:?}");
    let again = carry_out(&add, &mut replica, at(0));
    assert_eq!(again, Err(OrderRefused::Change(ChangeError::Running)));
    turn(&mut replica);
    let (based_on, now) = (Epoch(0), Epoch(1));
    let late = carry_out(&add, &mut replica, at(0));
    assert_eq!(late, Err(OrderRefused::OtherMembership { based_on, now }));
    let remove = order(Task::Remove(ReplicaId(2)), 1);
    assert!(carry_out(&remove, &mut replica, at(0)).is_ok());
}

#[test]
fn an_order_for_another_term_or_shard_or_beyond_reason_is_refused() {
    let mut replica = leader();
    let refused = |order: &Order, replica: &mut Replica| {
        let refused = carry_out(order, replica, at(0)).unwrap_err();
        refused.to_string()
    };
    let add = order(Task::AddLearner(ReplicaId(2)), 0);
    let other = Order {
        shard: ShardId(5),
        ..add.clone()
    };
    assert!(refused(&other, &mut replica).contains("another"));
    let later = Order {
        term: Term(2),
        ..add
    };
    assert!(refused(&later, &mut replica).contains("term 2"));
    for (task, why) in [
        (Task::Remove(ReplicaId(1)), "transfer the leadership first"),
        (Task::TransferLeader(ReplicaId(2)), "not another voter"),
        (
            Task::ChangeVoters {
                promote: vec![ReplicaId(2), ReplicaId(3)],
                demote: vec![],
            },
            "does not belong",
        ),
    ] {
        let refused = refused(&order(task, 0), &mut replica);
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn the_epoch_of_a_membership_is_the_same_behind_a_restart_and_a_snapshot() {
    let mut replica = leader();
    carry_out(
        &order(Task::AddLearner(ReplicaId(2)), 0),
        &mut replica,
        at(0),
    )
    .unwrap();
    turn(&mut replica);
    carry_out(&order(Task::Remove(ReplicaId(2)), 1), &mut replica, at(0)).unwrap();
    turn(&mut replica);
    assert_eq!(replica.epoch(), Epoch(2));
    let restored = Restored {
        hard_state: replica.hard_state(),
        snapshot_index: replica.applied_index(),
        snapshot_term: replica.term(),
        membership: replica.membership(),
        applied: replica.applied_index(),
        entries: vec![],
    };
    let config = Config::new(SHARD, ReplicaId(1));
    let mut again = Replica::new(&config, restored).unwrap();
    assert_eq!(again.epoch(), Epoch(2));
    again.campaign();
    turn(&mut again);
    let task = Task::AddLearner(ReplicaId(3));
    let term = again.term();
    let next = Order {
        term,
        ..order(task, 2)
    };
    assert!(carry_out(&next, &mut again, at(0)).is_ok());
}

#[test]
fn a_node_starts_what_is_new_and_drops_what_is_gone() {
    let mut topology = cluster(2);
    let wishes = vec![(
        SHARD,
        crate::topology::Wish::new(&[NodeId(1)], &[NodeId(2)]),
    )];
    topology.apply(&MetaCommand::SetWishes { wishes }).unwrap();
    let allot = |replica| MetaCommand::Allot {
        shard: SHARD,
        node: NodeId(2),
        replica: ReplicaId(replica),
    };
    topology.apply(&allot(2)).unwrap();
    let here = BTreeMap::from([(SHARD, ReplicaId(2))]);
    let (none, me) = (BTreeMap::new(), NodeId(2));
    let new = duties(&topology, me, &none, Since::Running);
    assert_eq!(new.start, [(SHARD, ReplicaId(2))]);
    let restarted = duties(&topology, me, &none, Since::Restart);
    assert_eq!(restarted.lost, [(SHARD, ReplicaId(2))]);
    assert!(restarted.start.is_empty());
    let nothing = duties(&topology, me, &here, Since::Restart);
    assert_eq!(nothing, Duties::default());

    let (shard, replica) = (SHARD, ReplicaId(2));
    topology
        .apply(&MetaCommand::MarkLost { shard, replica })
        .unwrap();
    topology.apply(&allot(3)).unwrap();
    let exchanged = duties(&topology, me, &here, Since::Running);
    assert_eq!(exchanged.drop, [(SHARD, ReplicaId(2))]);
    assert_eq!(exchanged.start, [(SHARD, ReplicaId(3))]);
    let unknown = BTreeMap::from([(SHARD, ReplicaId(9))]);
    let ahead = duties(&topology, me, &unknown, Since::Running);
    assert!(ahead.drop.is_empty(), "the topology may be older");
}

#[test]
fn orders_under_way_are_bounded_and_few_of_them_move_leaders() {
    let limits = StewardLimits {
        orders_max: 6,
        ..StewardLimits::default()
    };
    let mut under_way = UnderWay::default();
    let mut begin = |shard: u16, task: Task| {
        let order = Order {
            shard: ShardId(shard),
            ..order(task, 0)
        };
        under_way.begin(&StewardAction::Order(order), at(0), &limits)
    };
    let moved = (0..9).filter(|&shard| begin(shard, Task::TransferLeader(ReplicaId(2))));
    assert_eq!(moved.count(), limits.placement.transfers_max);
    let added = (10..19).filter(|&shard| begin(shard, Task::AddLearner(ReplicaId(2))));
    assert_eq!(added.count(), 2);
    under_way.forget(at(5_000), &limits, &Seen::default());
    assert!(under_way.begin(
        &StewardAction::Order(order(Task::Remove(ReplicaId(2)), 0)),
        at(5_000),
        &limits
    ));
}

proptest! {
    #[test]
    fn reports_and_orders_come_back_as_they_went(
        ids in prop::collection::btree_set(1u64..20, 1..6), numbers in any::<(u16, u64, u64)>(), kind in 0..4
    ) {
        let ids: Vec<ReplicaId> = ids.into_iter().map(ReplicaId).collect();
        let (shard, term, based_on) = numbers;
        let task = match kind {
            0 => Task::AddLearner(ids[0]),
            1 => Task::Remove(ids[0]),
            2 => Task::TransferLeader(ids[0]),
            _ => Task::ChangeVoters { promote: ids.clone(), demote: vec![] },
        };
        let sent = Order { shard: ShardId(shard), term: Term(term), ..order(task, based_on) };
        prop_assert_eq!(Order::decode(&sent.encode().unwrap()), Ok(sent));
        let leads = LedGroup {
            members: Members::new(&ids, &[]), changed: Epoch(based_on), changing: kind == 0, caught_up: ids,
        };
        let group = GroupReport {
            shard: ShardId(shard), replica: ReplicaId(1), term: Term(term), bytes: 7, applied: Index(9), leads: Some(leads),
        };
        let sent = NodeReport { lost: vec![(SHARD, ReplicaId(4))], ..report(3, vec![group]) };
        prop_assert_eq!(NodeReport::decode(&sent.encode().unwrap()), Ok(sent));
    }

    #[test]
    fn garbage_is_an_error_or_a_value(mut bytes in prop::collection::vec(any::<u8>(), 4..300)) {
        bytes[..4].copy_from_slice(&[1, 2, 0, 1]);
        let _ = (NodeReport::decode(&bytes), Order::decode(&bytes));
    }
}

#[test]
fn what_is_beyond_its_bounds_is_not_read() {
    let many = vec![(SHARD, ReplicaId(1)); GROUPS_OF_REPORT_MAX + 1];
    let sent = NodeReport {
        lost: many,
        ..report(1, vec![])
    };
    assert!(NodeReport::decode(&sent.encode().unwrap()).is_err());
    let mut sent = report(1, vec![led(&cluster(1), SHARD)]);
    sent.groups[0]
        .leads
        .as_mut()
        .unwrap()
        .members
        .voters
        .clear();
    assert!(NodeReport::decode(&sent.encode().unwrap()).is_err());
    let promote = vec![ReplicaId(1); 99];
    let demote = vec![];
    let sent = order(Task::ChangeVoters { promote, demote }, 0);
    assert!(Order::decode(&sent.encode().unwrap()).is_err());
    let mut newer = sent.encode().unwrap();
    newer[1] = 9;
    assert_eq!(Order::decode(&newer), Err(WireError::Schema(9)));
}
