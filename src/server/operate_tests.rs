//! What operators ask of real nodes in one process: whichever node is asked, the leader of the meta group answers; nodes are drained and
//! removed, and shards handed over.

use std::time::{Duration, Instant};

use crate::node::operator::{
    ClusterView, Done, NodeState, NodeView, OperatorAnswer, OperatorError, OperatorQuestion,
    Refusal, ReplicaState, Role, ShardView,
};
use crate::node::report::NodeHandle;

use super::revival_tests::{three, until, Member, SHARDS};

impl Member {
    fn operate(&self, question: OperatorQuestion) -> OperatorAnswer {
        let answer = self.shared().operate(question);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(answer)
    }

    fn id(&self) -> String {
        self.shared().node_id().to_string()
    }

    fn cluster(&self) -> ClusterView {
        match self.operate(OperatorQuestion::Cluster) {
            OperatorAnswer::Cluster(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    fn shards(&self) -> Vec<ShardView> {
        match self.operate(OperatorQuestion::Shards) {
            OperatorAnswer::Shards(shards) => shards,
            other => panic!("{other:?}"),
        }
    }

    fn node(&self, of: &Member) -> NodeView {
        match self.operate(OperatorQuestion::Node { node: of.id() }) {
            OperatorAnswer::Node(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    fn order(&self, question: OperatorQuestion) -> Result<Done, OperatorError> {
        match self.operate(question) {
            OperatorAnswer::Done(done) => Ok(done),
            OperatorAnswer::Refused(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }
}

/// Nothing is wrong and nothing moves, leaders neither.
fn is_well(view: &ClusterView) -> bool {
    let led: u32 = view.nodes.iter().map(|node| node.leads).sum();
    view.problems.is_empty() && view.moves.copying + view.moves.waiting == 0 && led == view.shards
}

#[test]
fn every_node_shows_the_same_cluster() {
    let members = three();
    for member in &members {
        let mut view = ClusterView::default();
        until("all is well", || {
            view = member.cluster();
            !view.nodes.is_empty() && is_well(&view)
        });
        assert_eq!((view.nodes.len(), view.shards as usize), (3, SHARDS));
        assert_eq!((view.shards_without_leader, view.shards_short), (0, 0));
        for node in &view.nodes {
            let held = (
                node.holds as usize,
                node.votes as usize,
                node.wished as usize,
            );
            assert_eq!(held, (SHARDS, SHARDS, SHARDS), "{node:?}");
            assert_eq!(
                (node.state, node.needed_by as usize),
                (NodeState::Up, SHARDS + 1)
            );
            assert!(node.memory_bytes > 0 && node.silent_ms.unwrap() < 3_000);
        }
        assert!(view.nodes.iter().any(|node| node.id == view.leader));
        let shards = member.shards();
        assert_eq!(shards.len(), SHARDS);
        for (number, shard) in shards.iter().enumerate() {
            assert_eq!(shard.shard as usize, number);
            assert_eq!(shard.replicas.len(), 3);
            let leads = shard
                .replicas
                .iter()
                .filter(|copy| copy.role == Role::Leader);
            assert_eq!(
                leads.map(|copy| Some(&copy.node)).collect::<Vec<_>>(),
                [shard.leader.as_ref()]
            );
            let is_sound = |copy: &crate::node::operator::ReplicaView| {
                copy.state == ReplicaState::CaughtUp && copy.lag_entries == Some(0)
            };
            assert!(shard.replicas.iter().all(is_sound), "{shard:?}");
        }
    }
}

fn reason(refused: Result<Done, OperatorError>, kind: Refusal) -> String {
    let error = refused.expect_err("refused");
    assert_eq!(error.kind, kind, "{error}");
    error.reason
}

fn drain(of: &Member, force: bool) -> OperatorQuestion {
    let node = of.id();
    OperatorQuestion::Drain { node, force }
}

fn undrain(of: &Member) -> OperatorQuestion {
    OperatorQuestion::Undrain { node: of.id() }
}

fn remove(of: &Member) -> OperatorQuestion {
    OperatorQuestion::Remove { node: of.id() }
}

#[test]
fn a_fourth_node_is_drained_and_removed_and_stays_out() {
    let mut members = three();
    members.push(Member::new(Some(members[0].peer_port)));
    let fourth = &members[3];
    until("the fourth has its share", || {
        let view = members[1].cluster();
        view.nodes.len() == 4 && is_well(&view) && members[1].node(fourth).holds > 0
    });
    let asked = &members[2];
    let text = reason(asked.order(remove(fourth)), Refusal::Conflict);
    assert!(text.contains("drain it first"), "{text}");
    let done = asked.order(drain(fourth, false)).unwrap();
    assert!(done.changed && done.message.contains("drains"), "{done:?}");
    assert!(asked.cluster().epoch >= done.epoch);
    assert!(!asked.order(drain(fourth, false)).unwrap().changed);
    let text = reason(asked.order(remove(fourth)), Refusal::Conflict);
    assert!(text.contains("still holds a replica of"), "{text}");
    until("it is drained", || {
        asked.node(fourth).state == NodeState::Drained
    });
    assert_eq!(
        (asked.node(fourth).holds, asked.node(fourth).needed_by),
        (0, 0)
    );
    // It may be asked itself.
    let done = fourth.order(remove(fourth)).unwrap();
    assert!(done.changed && done.message.contains("removed"), "{done:?}");
    assert!(
        !asked.order(remove(fourth)).unwrap().changed,
        "it was done before"
    );
    assert_eq!(asked.cluster().nodes.len(), 3);
    let text = reason(asked.order(drain(fourth, false)), Refusal::NotFound);
    assert!(text.contains("was removed"), "{text}");
    until("the others are well", || is_well(&members[0].cluster()));
}

#[test]
fn a_drain_below_the_number_of_copies_is_refused_unless_it_is_forced_and_can_be_taken_back() {
    let members = three();
    let text = reason(
        members[1].order(drain(&members[2], false)),
        Refusal::Conflict,
    );
    assert!(
        text.contains("2 nodes would be left for 3 replicas") && text.contains("--force"),
        "{text}"
    );
    assert!(!members[1].order(undrain(&members[2])).unwrap().changed);
    assert!(members[1].order(drain(&members[2], true)).unwrap().changed);
    until("it holds less than all", || {
        members[0].node(&members[2]).votes < SHARDS as u32
    });
    assert!(members[2].order(undrain(&members[2])).unwrap().changed);
    until("it has its share again", || {
        let node = members[0].node(&members[2]);
        node.votes as usize == SHARDS
            && node.state == NodeState::Up
            && is_well(&members[0].cluster())
    });
}

#[test]
fn a_shard_is_handed_to_the_node_that_is_named() {
    let members = three();
    until("all is well", || is_well(&members[0].cluster()));
    let leader = members[0].id();
    let transfer = |shard, to: &str| OperatorQuestion::Transfer {
        shard,
        to: to.to_string(),
    };
    // The balance of leaders may have the shard moving just then; from then on it leaves it.
    until(
        "it is where it was sent, and asking again changes nothing",
        || {
            let answer = members[1].order(transfer(0, &leader));
            answer.is_ok_and(|done| !done.changed)
        },
    );
    let ordered = until_done("it is handed over", || {
        members[1].order(transfer(0, &members[2].id()))
    });
    assert!(ordered.message.contains("is led now by"), "{ordered:?}");
    let text = reason(members[1].order(transfer(99, &leader)), Refusal::NotFound);
    assert!(text.contains("shards 0 to 3"), "{text}");
    let text = reason(members[1].order(transfer(0, "ffff0000")), Refusal::NotFound);
    assert!(text.contains("there is no node"), "{text}");
    reason(members[1].order(transfer(0, "xyz")), Refusal::Invalid);
    let refused = members[2].operate(OperatorQuestion::Shard { shard: 4 });
    assert!(matches!(refused, OperatorAnswer::Refused(error) if error.kind == Refusal::NotFound));
}

fn until_done(what: &str, mut order: impl FnMut() -> Result<Done, OperatorError>) -> Done {
    let mut done = None;
    until(what, || {
        done = order().ok().filter(|done| done.changed);
        done.is_some()
    });
    done.unwrap()
}

#[test]
fn while_the_leader_changes_questions_are_answered_and_nothing_hangs() {
    let mut members = three();
    let leader = members[0].cluster().leader;
    let at = members
        .iter()
        .position(|member| member.id() == leader)
        .unwrap();
    members[at].end();
    let others: Vec<&Member> = members.iter().filter(|member| member.runs()).collect();
    let limit = Duration::from_secs(12);
    for other in &others {
        let asked = Instant::now();
        let answer = other.operate(OperatorQuestion::Cluster);
        assert!(asked.elapsed() < limit, "{:?}", asked.elapsed());
        // Nobody may have been elected in time on a busy machine.
        let is_told = match &answer {
            OperatorAnswer::Cluster(view) => view.leader != leader,
            OperatorAnswer::Refused(error) => error.kind == Refusal::Unavailable,
            _ => false,
        };
        assert!(is_told, "{answer:?}");
    }
    until("the others know that it is down", || {
        let answer = others[0].operate(OperatorQuestion::Cluster);
        let OperatorAnswer::Cluster(view) = answer else {
            return false;
        };
        let down = view.nodes.iter().find(|node| node.id == leader).unwrap();
        down.state == NodeState::Down && view.problems.iter().any(|line| line.contains("is down"))
    });
    // An order goes through all the same.
    assert!(!others[1].order(undrain(others[0])).unwrap().changed);
}

#[test]
fn without_a_majority_nobody_answers_and_nobody_waits_for_ever() {
    let mut members = three();
    members[0].end();
    members[1].end();
    let started = Instant::now();
    let text = reason(
        members[2].order(drain(&members[2], true)),
        Refusal::Unavailable,
    );
    assert!(
        started.elapsed() < Duration::from_secs(25),
        "{:?}",
        started.elapsed()
    );
    assert!(!text.is_empty());
    let answer = members[2].operate(OperatorQuestion::Shards);
    assert!(matches!(answer, OperatorAnswer::Refused(error) if error.kind == Refusal::Unavailable));
}

#[test]
fn plans_say_what_would_move_and_move_nothing() {
    let members = three();
    until("all is well", || is_well(&members[0].cluster()));
    let before = members[0].cluster().epoch;
    let plan = |question| match members[1].operate(question) {
        OperatorAnswer::Plan(plan) => plan,
        other => panic!("{other:?}"),
    };
    let add = |count, weight, zone: &str| OperatorQuestion::PlanAdd {
        count,
        weight,
        zone: zone.into(),
    };
    let added = plan(add(1, 100, ""));
    assert!(added.refused.is_none() && added.copies > 0);
    assert!(added
        .nodes
        .iter()
        .any(|share| share.node == "new-1" && share.holds_after == added.copies));
    let remove = |force| OperatorQuestion::PlanRemove {
        node: members[2].id(),
        force,
    };
    assert!(plan(remove(false))
        .refused
        .unwrap()
        .contains("2 nodes would be left"));
    let removed = plan(remove(true));
    assert_eq!((removed.refused, removed.copies), (None, 0));
    for wrong in [
        add(0, 100, ""),
        add(65, 100, ""),
        add(1, 0, ""),
        add(1, 100, "a b"),
    ] {
        let refused = members[1].operate(wrong);
        assert!(
            matches!(refused, OperatorAnswer::Refused(error) if error.kind == Refusal::Invalid)
        );
    }
    assert_eq!(members[0].cluster().epoch, before);
}

#[test]
fn a_node_alone_answers_for_itself() {
    let alone = Member::new(None);
    until("it answers", || {
        let answer = alone.operate(OperatorQuestion::Cluster);
        matches!(answer, OperatorAnswer::Cluster(_))
    });
    let view = alone.cluster();
    assert_eq!(
        (view.nodes.len(), view.nodes[0].id.clone()),
        (1, alone.id())
    );
    assert_eq!((view.problems, view.shards_short), (Vec::new(), 0));
    assert_eq!(alone.node(&alone).leads as usize, SHARDS);
    let text = reason(alone.order(drain(&alone, true)), Refusal::Conflict);
    assert!(text.contains("last node"), "{text}");
}

#[test]
fn leaders_that_were_moved_by_hand_are_spread_again_by_a_rebalance() {
    let members = three();
    until("all is well", || is_well(&members[0].cluster()));
    let to = members[2].id();
    // Balance may have ordered one away before it was told to leave it.
    until("all are handed over", || {
        for shard in 0..SHARDS as u32 {
            let to = to.clone();
            let _ = members[0].order(OperatorQuestion::Transfer { shard, to });
        }
        members[1].node(&members[2]).leads as usize == SHARDS
    });
    // Balance leaves them where they were put, until it is told otherwise.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(members[1].node(&members[2]).leads as usize, SHARDS);
    assert!(
        members[1]
            .order(OperatorQuestion::Rebalance)
            .unwrap()
            .changed
    );
    until("they are spread again", || {
        members
            .iter()
            .all(|member| members[0].node(member).leads > 0)
    });
}
