//! Answers to other nodes' questions. Everything that changes the cluster is proposed to the meta group, and nothing is said before it is
//! applied.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringfort_cluster::forming::member::{
    answer, join_answer, MemberAnswer, ProposalOutcome, Standing,
};
use ringfort_cluster::forming::FormingMessage;
use ringfort_cluster::meta::MetaCommand;
use ringfort_cluster::steward::{NodeReport, Order};
use ringfort_cluster::NodeId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::node::meta::Proposed;

use super::super::control::{ReportAnswer, Request, Response};
use super::{Govern, Question};

/// For a proposal to become applied.
const PROPOSAL_LIMIT: Duration = Duration::from_secs(5);
/// For a worker of this node to do what it was ordered.
const OBEY_LIMIT: Duration = Duration::from_secs(2);

impl Govern {
    pub(super) async fn answers(self: Rc<Self>, mut asked: mpsc::Receiver<Question>) {
        // How many are open at a time is bounded where they come in, by `CONTROL_INFLIGHT_MAX` for each worker.
        while let Some(question) = asked.recv().await {
            let govern = self.clone();
            spawn_local(async move {
                let response = govern.answer(question.from, &question.bytes).await;
                let bytes = response.encode().unwrap_or_default();
                let _ = question.answer.send(bytes);
            });
        }
    }

    async fn answer(&self, from: NodeId, bytes: &[u8]) -> Response {
        let request = match Request::decode(bytes) {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!("node {from} asks a question that is none: {error}");
                return Response::Refused(error.to_string());
            }
        };
        match request {
            Request::Forming(message) => self.answer_forming(&message).await,
            Request::Report(report) if report.node.id != from => {
                Response::Refused(format!("a report of another node than {from}"))
            }
            Request::Report(report) => self.answer_report(*report),
            Request::Order(order) if order.to != self.me() => {
                Response::Order(Err(format!("an order for node {}", order.to)))
            }
            Request::Order(order) => Response::Order(self.obey(order).await),
            Request::Offer(topology) => {
                let cell = &self.local.shared.topology;
                cell.offer(Arc::from(topology));
                Response::Offer(cell.epoch())
            }
            Request::Suspects(question) => Response::Suspects(self.answer_suspects(question).await),
            Request::Recover(question) => Response::Recover(self.answer_recover(question).await),
            Request::Operate(question) => {
                Response::Operate(Box::new(self.operate_here(&question).await))
            }
            Request::Digest(question) => Response::Digest(self.answer_digest(question).await),
        }
    }

    async fn answer_forming(&self, message: &FormingMessage) -> Response {
        let topology = self.topology();
        if !topology.is_formed() {
            return Response::Refused("this node knows no topology yet".into());
        }
        let standing = Standing {
            topology: &topology,
            leader: self.leader(),
            leads: self.leads(),
        };
        match answer(message, &self.about(), standing) {
            Some(MemberAnswer::Now(answer)) => Response::forming(answer),
            Some(MemberAnswer::Propose(command)) => {
                let outcome = self.propose(&command).await;
                Response::forming(self.join_answer(outcome))
            }
            None => Response::Refused("no question".into()),
        }
    }

    fn join_answer(&self, outcome: Proposed) -> FormingMessage {
        let outcome = match outcome {
            Proposed::Done(_) => ProposalOutcome::Accepted,
            Proposed::Refused(reason) => ProposalOutcome::Refused(reason),
            Proposed::NotApplied(_) | Proposed::Unknown(_) => ProposalOutcome::Unknown,
        };
        join_answer(&outcome, &self.topology())
    }

    /// Proposes a command to the meta group, which this node leads, and waits for what becomes of it.
    pub(super) async fn propose(&self, command: &MetaCommand) -> Proposed {
        let (sender, outcome) = oneshot::channel();
        let done = Box::new(move |reply: &[u8]| drop(sender.send(Proposed::read(reply))));
        self.local.worker.borrow_mut().propose_meta(command, done);
        self.local.want_turn();
        match timeout(PROPOSAL_LIMIT, outcome).await {
            Ok(Ok(outcome)) => outcome,
            _ => Proposed::Unknown("the meta group is too slow".into()),
        }
    }

    fn answer_report(&self, report: NodeReport) -> Response {
        let topology = self.topology();
        let leads = self.leads();
        let leader = self.leader();
        let address = |id: NodeId| Some((id, topology.nodes.get(&id)?.peer_address()));
        let newer = (report.epoch < topology.epoch).then(|| topology.encode().ok());
        if leads {
            self.hear(report);
        }
        let leaders = self.leaders.borrow();
        Response::Report(Box::new(ReportAnswer {
            taken: leads,
            leader: leader.and_then(address),
            topology: newer.flatten(),
            leaders: leaders.known().collect(),
            down: self.down.borrow().iter().copied().collect(),
        }))
    }

    /// Takes a report in, as the leader of the meta group.
    pub(super) fn hear(&self, report: NodeReport) {
        if self.learn_leaders(&report) {
            self.publish();
        }
        self.with_stewardship(|held, now| {
            // The answer brings what is newer.
            let topology = self.topology();
            if topology.nodes.contains_key(&report.node.id) {
                held.told.insert(report.node.id, topology.epoch);
            }
            held.steward.heard(report, now);
        });
        self.steer_now.notify_one();
    }

    /// Has an order carried out by the worker of its group.
    pub(super) async fn obey(&self, order: Order) -> Result<(), String> {
        let (sender, done) = oneshot::channel();
        {
            let mut worker = self.local.worker.borrow_mut();
            let Some(number) = worker.worker_of_group(order.shard) else {
                return Err(format!("there is no shard {}", order.shard));
            };
            worker.task(number, move |there| {
                let begun = there.obey(&order);
                let _ = sender.send(begun.map(drop).map_err(|error| error.to_string()));
            });
        }
        self.local.want_turn();
        match timeout(OBEY_LIMIT, done).await {
            Ok(Ok(done)) => done,
            _ => Err("the worker does not answer".into()),
        }
    }
}
