//! What a node answers to another that has groups go on which lost their majority for good, and how that one asks. Decides nothing:
//! `ringfort_cluster::recover` does, and `recover.rs` beside this file has it carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringfort_cluster::meta::{MetaCommand, Recovery};
use ringfort_cluster::recover::{Choose, RecoverAnswer, RecoverQuestion, Yield};
use ringfort_cluster::suspects::{Told, GROUPS_OF_QUESTION_MAX};
use ringfort_cluster::topology::{Topology, META_GROUP};
use ringfort_cluster::{Epoch, NodeId, ShardId};
use tokio::task::spawn_local;
use tokio::time::{sleep, Instant};

use crate::node::meta::Proposed;

use super::super::control::{Request, Response};
use super::{encoded, Govern};

/// For one question; what is asked for is written and applied before it is answered.
const QUESTION_LIMIT: Duration = Duration::from_secs(12);
/// For what was chosen to be written and applied.
const CHOSEN_LIMIT: Duration = Duration::from_secs(5);
/// For the meta group, which begins with what one node has of it, to be told what others know.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Govern {
    pub(super) async fn answer_recover(&self, question: RecoverQuestion) -> RecoverAnswer {
        match question {
            RecoverQuestion::Tell {
                lost,
                known,
                groups,
            } => self.tell_survivor(&lost, known, groups).await,
            RecoverQuestion::Yield(all) => RecoverAnswer::Yielded(self.yield_to(all).await),
            RecoverQuestion::Choose(all) => RecoverAnswer::Chosen(self.choose(all).await),
            RecoverQuestion::Settle(recovery) => {
                RecoverAnswer::Settled(self.settle(recovery).await)
            }
        }
    }

    async fn tell_survivor(
        &self,
        lost: &[NodeId],
        known: Epoch,
        groups: Vec<ShardId>,
    ) -> RecoverAnswer {
        let links = &self.local.shared.links;
        let topology = self.topology();
        let is_newer = topology.epoch > known;
        RecoverAnswer::Told {
            linked: lost.iter().copied().filter(|id| links.has(*id)).collect(),
            newest: is_newer.then(|| topology.encode().ok()).flatten(),
            groups: self.tell_own(groups).await,
        }
    }

    async fn yield_to(&self, all: Vec<Yield>) -> Vec<ShardId> {
        let yielded = self.of_all_workers(move |there| there.yield_to(&all)).await;
        let mut groups = Vec::new();
        for yielded in yielded {
            match yielded {
                Ok(yielded) => groups.extend(yielded),
                Err(error) => tracing::warn!("that replicas yield cannot be noted: {error}"),
            }
        }
        groups
    }

    /// Those that have written and applied it by now, so that a restart finds it.
    async fn choose(&self, all: Vec<Choose>) -> Vec<ShardId> {
        if all.iter().any(|asked| asked.shard == META_GROUP) {
            self.steers_from.set(Some(Instant::now() + SETTLE_LIMIT));
        }
        let asked = all.clone();
        let chosen = self.of_all_workers(move |there| there.choose(&asked)).await;
        let mut waiting: BTreeSet<ShardId> = chosen.into_iter().flatten().collect();
        // The worker that forced them is to end its turn.
        self.local.want_turn();
        let until = Instant::now() + CHOSEN_LIMIT;
        let mut done = Vec::new();
        while !waiting.is_empty() && Instant::now() < until {
            sleep(LOOK_EVERY).await;
            let told = self.tell_own(waiting.iter().copied().collect()).await;
            let told: BTreeMap<ShardId, Told> = told
                .into_iter()
                .filter_map(|(group, told)| Some((group, told?)))
                .collect();
            for asked in all.iter().filter(|asked| waiting.contains(&asked.shard)) {
                let is_done = told
                    .get(&asked.shard)
                    .is_some_and(|told| told.last.0 >= asked.term && told.committed > asked.last.1);
                if is_done {
                    done.push(asked.shard);
                }
            }
            waiting.retain(|group| !done.contains(group));
        }
        done
    }

    /// As the leader of the meta group; what kept it from being done, if anything did.
    async fn settle(&self, recovery: Recovery) -> Option<String> {
        let until = Instant::now() + CHOSEN_LIMIT;
        // Who was chosen a moment ago is about to lead.
        while !self.leads() && Instant::now() < until {
            sleep(LOOK_EVERY).await;
        }
        let outcome = self.propose(&MetaCommand::Recover(recovery)).await;
        self.steers_from.set(None);
        match outcome {
            Proposed::Done(_) => None,
            Proposed::Refused(why) | Proposed::NotApplied(why) | Proposed::Unknown(why) => {
                Some(why)
            }
        }
    }

    // ---- asking --------------------------------------------------------------------------------------

    /// Asks nodes at once, this one too.
    pub(super) async fn ask_survivors(
        self: &Rc<Self>,
        topology: &Arc<Topology>,
        questions: Vec<(NodeId, RecoverQuestion)>,
    ) -> Vec<(NodeId, Result<RecoverAnswer, String>)> {
        let mut asked = Vec::new();
        for (node, question) in questions {
            let (govern, topology) = (self.clone(), topology.clone());
            asked.push(spawn_local(async move {
                let answer = govern.ask_survivor(&topology, node, question).await;
                (node, answer)
            }));
        }
        let mut answers = Vec::new();
        for answer in asked {
            answers.extend(answer.await);
        }
        answers
    }

    async fn ask_survivor(
        &self,
        topology: &Topology,
        node: NodeId,
        question: RecoverQuestion,
    ) -> Result<RecoverAnswer, String> {
        if node == self.me() {
            return Ok(self.answer_recover(question).await);
        }
        let address = topology.nodes.get(&node).map(|node| node.peer_address());
        let address = address.ok_or("it does not belong to the cluster")?;
        let request = encoded(&Request::Recover(question)).ok_or("the question is too long")?;
        let answer = self.ask((node, &address), &request, QUESTION_LIMIT).await;
        match answer {
            Ok((_, Response::Recover(answer))) => Ok(answer),
            Ok((_, Response::Refused(why))) => Err(why),
            Ok(_) => Err("it gives another answer".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether there is anybody at the address of a node that should be gone. Whatever is there, but for another node.
    pub(super) async fn is_there(
        &self,
        topology: &Topology,
        node: NodeId,
        limit: Duration,
    ) -> bool {
        let Some(address) = topology.nodes.get(&node).map(|node| node.peer_address()) else {
            return false;
        };
        let question = RecoverQuestion::Tell {
            lost: Vec::new(),
            known: topology.epoch,
            groups: Vec::new(),
        };
        let Some(request) = encoded(&Request::Recover(question)) else {
            return false;
        };
        self.ask((node, &address), &request, limit).await.is_ok()
    }

    /// How the replicas of all groups stand, by all these nodes.
    pub(super) async fn tell_all(
        self: &Rc<Self>,
        topology: &Arc<Topology>,
        survivors: &BTreeSet<NodeId>,
        lost: &BTreeSet<NodeId>,
    ) -> Vec<(NodeId, Result<RecoverAnswer, String>)> {
        let groups: Vec<ShardId> = topology.places().map(|(group, _)| group).collect();
        let mut answers = Vec::new();
        for groups in groups.chunks(GROUPS_OF_QUESTION_MAX) {
            let ask = |node: &NodeId| {
                let question = RecoverQuestion::Tell {
                    lost: lost.iter().copied().collect(),
                    known: topology.epoch,
                    groups: groups.to_vec(),
                };
                (*node, question)
            };
            let questions = survivors.iter().map(ask).collect();
            answers.extend(self.ask_survivors(topology, questions).await);
        }
        answers
    }
}
