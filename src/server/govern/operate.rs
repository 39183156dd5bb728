//! Questions of operators: where this node leads the meta group they are answered here, else by the node that does. What is only read is
//! asked again when the leader is lost; of an order nobody knows then whether it was carried out.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringfort_cluster::{NodeId, ShardId};
use tokio::sync::{mpsc, Semaphore};
use tokio::task::spawn_local;
use tokio::time::{sleep, Instant};

use crate::node::operator::{
    Asked, OperatorAnswer, OperatorError, OperatorQuestion, Refusal, ShardView,
};

use super::super::control::{Request, Response};
use super::names::find_node;
use super::overview::Overview;
use super::{encoded, Govern, Unanswered};

/// Questions that are being answered at a time; further ones wait.
const UNDER_WAY_MAX: usize = 64;
/// For so long a question is asked again while nobody leads: an election takes less.
const LEADER_WAIT: Duration = Duration::from_secs(5);
/// Before a question is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// For the leader to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// A leader that was elected just now waits a little for the reports of the nodes, and looks so often whether they are there.
const SETTLE_LOOK: Duration = Duration::from_millis(50);
/// A shard without a leader for less than this has been handed over or is electing one, and is no problem.
const LEADERLESS_US: u64 = 2_000_000;
/// Shards of one answer between nodes, which has a bound in bytes.
const SHARDS_OF_ANSWER_MAX: usize = 2048;

pub(super) type Answer = Result<OperatorAnswer, OperatorError>;

pub(super) fn not_leading() -> OperatorError {
    OperatorError::new(
        Refusal::Unavailable,
        "nobody leads the cluster now: its nodes elect a leader as soon as most of them reach each other; ask again then",
    )
}

pub(super) fn conflict(reason: impl Into<String>) -> OperatorError {
    OperatorError::new(Refusal::Conflict, reason)
}

/// Nobody knows whether an order was carried out.
pub(super) fn unknown(reason: &str) -> OperatorError {
    OperatorError::new(
        Refusal::Unknown,
        format!("{reason}; it may have been done: look with `ringfort status`, and repeat it if it was not"),
    )
}

fn answer_of(answer: Answer) -> OperatorAnswer {
    answer.unwrap_or_else(OperatorAnswer::Refused)
}

fn is_unavailable(answer: &OperatorAnswer) -> bool {
    matches!(answer, OperatorAnswer::Refused(error) if error.kind == Refusal::Unavailable)
}

impl Govern {
    /// Answers what is asked of this node.
    pub(super) async fn operates(self: Rc<Self>, mut asked: mpsc::Receiver<Asked>) {
        let places = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        while let Some(mut asked) = asked.recv().await {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let govern = self.clone();
            spawn_local(async move {
                let question = asked.question.clone();
                let answer = govern.operate(&question);
                let answer = match question {
                    // Nobody has a use for what takes so long.
                    OperatorQuestion::Verify { .. } => tokio::select! {
                        answer = answer => answer,
                        () = asked.gone() => return,
                    },
                    _ => answer.await,
                };
                asked.answer(answer);
                drop(place);
            });
        }
    }

    async fn operate(self: &Rc<Self>, question: &OperatorQuestion) -> OperatorAnswer {
        match question {
            OperatorQuestion::Recover {
                lost,
                accept_data_loss,
            } => answer_of(self.recover(lost, *accept_data_loss).await),
            OperatorQuestion::Shards => answer_of(self.all_shards().await),
            // Any node can: there is no need to pass it on, nor for the leader to stay.
            OperatorQuestion::Verify { shard } => answer_of(self.verify(*shard).await),
            question => self.ask_leader(question).await,
        }
    }

    /// All shards, in parts.
    async fn all_shards(&self) -> Answer {
        let mut all: Vec<ShardView> = Vec::new();
        loop {
            let first = all.len() as u32;
            let question = OperatorQuestion::ShardsFrom { first };
            match self.ask_leader(&question).await {
                OperatorAnswer::Shards(part) if part.is_empty() => {
                    return Ok(OperatorAnswer::Shards(all));
                }
                OperatorAnswer::Shards(part) => all.extend(part),
                other => return Ok(other),
            }
        }
    }

    /// Has the leader answer, whoever that is, and waits a while for there to be one.
    async fn ask_leader(&self, question: &OperatorQuestion) -> OperatorAnswer {
        let until = Instant::now() + LEADER_WAIT;
        loop {
            let answer = match self.leads() {
                true => self.operate_here(question).await,
                false => answer_of(self.operate_there(question).await),
            };
            if !is_unavailable(&answer) || Instant::now() >= until {
                return answer;
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn operate_there(&self, question: &OperatorQuestion) -> Answer {
        let leader = self.leader().filter(|id| *id != self.me());
        let leader = leader.ok_or_else(not_leading)?;
        let address = self.address_of(leader).ok_or_else(not_leading)?;
        let request = encoded(&Request::Operate(Box::new(question.clone())));
        let request = request
            .ok_or_else(|| OperatorError::new(Refusal::Invalid, "the question is too long"))?;
        let place = || format!("node {leader} at {address}, which leads the cluster");
        match self.ask((leader, &address), &request, ANSWER_LIMIT).await {
            Ok((_, Response::Operate(answer))) => Ok(*answer),
            Ok((_, Response::Refused(why))) => Err(OperatorError::new(
                Refusal::Unavailable,
                format!("{}, refuses the question: {why}", place()),
            )),
            Ok(_) => Err(lost(
                question,
                &format!("{}, gives another answer", place()),
            )),
            Err(Unanswered::Ask(error)) if error.is_certainly_unseen() => {
                self.heard_leader.set(None);
                Err(OperatorError::new(
                    Refusal::Unavailable,
                    format!("{}, cannot be reached: {error}", place()),
                ))
            }
            Err(error) => Err(lost(question, &format!("{}: {error}", place()))),
        }
    }

    /// Answers as the leader of the meta group.
    pub(super) async fn operate_here(&self, question: &OperatorQuestion) -> OperatorAnswer {
        if !self.leads() {
            return not_leading().into();
        }
        answer_of(self.answer_operator(question).await)
    }

    async fn answer_operator(&self, question: &OperatorQuestion) -> Answer {
        match question {
            OperatorQuestion::Cluster => {
                self.overview(|all| Ok(OperatorAnswer::Cluster(Box::new(all.cluster()))))
                    .await
            }
            OperatorQuestion::Node { node } => {
                self.overview(|all| {
                    let node = find_node(all.topology, node)?;
                    Ok(OperatorAnswer::Node(Box::new(all.node(node))))
                })
                .await
            }
            OperatorQuestion::ShardsFrom { first } => {
                self.overview(|all| shards_from(all, *first)).await
            }
            OperatorQuestion::Shard { shard } => {
                let found = |all: &Overview| {
                    let id = u16::try_from(*shard).ok().map(ShardId);
                    let view = id.and_then(|id| all.shard(id));
                    view.ok_or_else(|| no_shard(*shard, all.topology.shards.len()))
                };
                self.overview(|all| Ok(OperatorAnswer::Shards(vec![found(all)?])))
                    .await
            }
            OperatorQuestion::Drain { node, force } => self.drain(node, *force).await,
            OperatorQuestion::Undrain { node } => self.undrain(node).await,
            OperatorQuestion::Remove { node } => self.remove(node).await,
            OperatorQuestion::Transfer { shard, to } => self.transfer(*shard, to).await,
            OperatorQuestion::PlanAdd {
                count,
                weight,
                zone,
            } => self.plan_add(*count, *weight, zone).await,
            OperatorQuestion::PlanRemove { node, force } => self.plan_remove(node, *force).await,
            OperatorQuestion::Rebalance => self.rebalance(),
            // The node that is asked answers these itself, the shards in parts.
            OperatorQuestion::Shards
            | OperatorQuestion::Verify { .. }
            | OperatorQuestion::Recover { .. } => Err(OperatorError::new(
                Refusal::Invalid,
                "this version has no answer to it",
            )),
        }
    }

    /// Looks at the cluster as the leader of the meta group sees it. One that leads only just now waits until all nodes have reported,
    /// or are taken for down.
    pub(super) async fn overview<T>(
        &self,
        look: impl Fn(&Overview) -> Result<T, OperatorError>,
    ) -> Result<T, OperatorError> {
        let down_after_us = self.limits().node_down_after_us;
        loop {
            let topology = self.topology();
            let looked = self.with_stewardship(|held, now| {
                let reported = || -> BTreeSet<NodeId> {
                    let reports = held.steward.reports();
                    reports.map(|(report, _)| report.node.id).collect()
                };
                let is_settled = now.since_us(held.since) >= down_after_us || {
                    let reported = reported();
                    topology.nodes.keys().all(|id| reported.contains(id))
                };
                if !is_settled {
                    return None;
                }
                let heard = held.steward.reports();
                let heard = heard.map(|(report, at)| (report, now.since_us(at)));
                let heard =
                    heard.filter(|(report, _)| topology.nodes.contains_key(&report.node.id));
                let passing = held.steward.lately_led(LEADERLESS_US, now);
                let all = Overview::new(&topology, self.me(), heard, down_after_us);
                Some(look(&all.with_passing(passing)))
            });
            match looked {
                None => return Err(not_leading()),
                Some(Some(answer)) => return answer,
                Some(None) => sleep(SETTLE_LOOK).await,
            }
        }
    }
}

/// An answer that did not come.
fn lost(question: &OperatorQuestion, what: &str) -> OperatorError {
    match question.changes() {
        true => unknown(what),
        false => OperatorError::new(Refusal::Unavailable, what),
    }
}

fn shards_from(all: &Overview, first: u32) -> Answer {
    let shards = all.shards().map(|(shard, _)| shard);
    let part = shards.skip_while(|shard| u32::from(shard.0) < first);
    let part = part.take(SHARDS_OF_ANSWER_MAX);
    Ok(OperatorAnswer::Shards(
        part.filter_map(|shard| all.shard(shard)).collect(),
    ))
}

pub(super) fn no_shard(shard: u32, count: usize) -> OperatorError {
    OperatorError::new(
        Refusal::NotFound,
        format!(
            "there is no shard {shard}: this cluster has the shards 0 to {}",
            count.saturating_sub(1)
        ),
    )
}
