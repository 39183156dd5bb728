//! This node's report to the leader of the meta group, and what it is told in return. Knows no steward.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringfort_cluster::steward::NodeReport;
use ringfort_cluster::topology::Topology;
use ringfort_cluster::NodeId;

use super::super::control::{ReportAnswer, Request, Response};
use super::{encoded, Govern};

/// For one report to be answered.
const REPORT_LIMIT: Duration = Duration::from_millis(700);
/// Nodes that are tried for one report; the next one goes on with others.
const ATTEMPTS_MAX: usize = 3;

/// Whom to report to: zero stands for whoever is there.
type Candidate = (NodeId, String);

impl Govern {
    pub(super) async fn reports(self: Rc<Self>) {
        loop {
            self.report_now.notified().await;
            self.report().await;
        }
    }

    fn own_report(&self) -> NodeReport {
        let cell = &self.local.shared.topology;
        let doubts = cell.doubts();
        NodeReport {
            node: self.setup.node.clone(),
            epoch: cell.epoch(),
            groups: self.account.borrow().groups.clone(),
            lost: doubts.lost,
            suspect: doubts.suspect,
            load: self.local.shared.load(),
        }
    }

    async fn report(&self) {
        // Nobody is to count on a node that goes down: it would be given back what it hands over.
        if self.local.shared.shutdown_asked().is_some() {
            return;
        }
        let report = self.own_report();
        if self.leads() {
            return self.hear(report);
        }
        let Some(request) = encoded(&Request::Report(Box::new(report))) else {
            return;
        };
        let mut candidates = self.candidates();
        let mut attempts = 0;
        while let Some(candidate) = candidates.pop() {
            attempts += 1;
            match self.report_to(&candidate, &request).await {
                Some(answer) if answer.taken => return,
                Some(answer) => candidates.extend(
                    // Who was named leads, or will not answer either.
                    answer.leader.filter(|(node, _)| *node != self.me()),
                ),
                None => {}
            }
            if attempts >= ATTEMPTS_MAX {
                return;
            }
        }
    }

    /// Whom to try, the last one first: the leader; then those who should know it, in turn; then whoever was named at the start.
    fn candidates(&self) -> Vec<Candidate> {
        let topology = self.topology();
        let me = self.me();
        let place = |id: &NodeId| Some((*id, topology.nodes.get(id)?.peer_address()));
        let members = topology.meta.replicas.values().map(|held| held.node);
        let members = members.filter(|id| *id != me);
        let joined = self.setup.join.iter();
        let mut all: Vec<Candidate> = members.filter_map(|id| place(&id)).collect();
        all.extend(joined.map(|address| (NodeId::ZERO, address.clone())));
        let turn = self.turns.get();
        self.turns.set(turn.wrapping_add(ATTEMPTS_MAX - 1));
        let count = all.len().max(1);
        all.rotate_left(turn % count);
        all.truncate(ATTEMPTS_MAX);
        let leader = self.leader().filter(|id| *id != me);
        all.extend(leader.as_ref().and_then(place));
        all
    }

    async fn report_to(&self, (node, address): &Candidate, request: &[u8]) -> Option<ReportAnswer> {
        match self.ask((*node, address), request, REPORT_LIMIT).await {
            Ok((_, Response::Report(answer))) => {
                self.told(&answer);
                Some(*answer)
            }
            Ok((found, other)) => {
                tracing::debug!("node {found} answers a report by {other:?}");
                None
            }
            Err(error) => {
                if self.heard_leader.get() == Some(*node) {
                    self.heard_leader.set(None);
                }
                tracing::debug!("no report to {address}: {error}");
                None
            }
        }
    }

    fn told(&self, answer: &ReportAnswer) {
        if let Some(bytes) = &answer.topology {
            match Topology::decode(bytes) {
                Ok(topology) => drop(self.local.shared.topology.offer(Arc::new(topology))),
                Err(error) => tracing::warn!("a topology that cannot be read: {error}"),
            }
        }
        if let Some((node, _)) = &answer.leader {
            self.heard_leader.set(Some(*node));
        }
        let topology = self.topology();
        let mut leaders = self.leaders.borrow_mut();
        for &(shard, term, node) in &answer.leaders {
            leaders.heard(&topology, shard, term, node);
        }
        drop(leaders);
        if answer.taken {
            *self.down.borrow_mut() = answer.down.iter().copied().collect();
        }
        self.publish();
    }
}
