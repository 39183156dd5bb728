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

fn is_well(view: &ClusterView) -> bool {
    view.problems.is_empty() && view.moves.copying + view.moves.waiting == 0
}

#[test]
fn every_node_shows_the_same_cluster() {
    let members = three();
    for member in &members {
        until("all is well", || is_well(&member.cluster()));
        let view = member.cluster();
        assert_eq!((view.nodes.len(), view.shards as usize), (3, SHARDS));
        assert_eq!((view.shards_without_leader, view.shards_short), (0, 0));
        let led: u32 = view.nodes.iter().map(|node| node.leads).sum();
        assert_eq!(led as usize, SHARDS);
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
