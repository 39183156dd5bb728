//! What the leader of the meta group does beside answering: has its steward decide, proposes, orders, and brings every newer topology to
//! all nodes.

use std::rc::Rc;
use std::time::Duration;

use ringfort_cluster::meta::MetaCommand;
use ringfort_cluster::steward::{Order, StewardAction};
use ringfort_cluster::{Epoch, NodeId};
use tokio::task::spawn_local;
use tokio::time::{timeout, Instant};

use crate::node::meta::Proposed;

use super::super::control::{Request, Response};
use super::{encoded, Govern};

/// How often the steward looks, when nothing changes.
const STEER_EVERY: Duration = Duration::from_millis(250);
/// At most this often.
const STEER_PAUSE: Duration = Duration::from_millis(20);
const ORDER_LIMIT: Duration = Duration::from_secs(3);
const OFFER_LIMIT: Duration = Duration::from_secs(2);

impl Govern {
    pub(super) async fn steers(self: Rc<Self>) {
        loop {
            let _ = timeout(STEER_EVERY, self.steer_now.notified()).await;
            self.clone().steer();
            tokio::time::sleep(STEER_PAUSE).await;
        }
    }

    fn steer(self: Rc<Self>) {
        let waits = self
            .steers_from
            .get()
            .is_some_and(|from| Instant::now() < from);
        if waits || self.local.shared.shutdown_asked().is_some() {
            return;
        }
        let topology = self.topology();
        let limits = self.limits();
        let decided = self.with_stewardship(|held, now| {
            held.steward.set_limits(limits);
            let actions = held.steward.tick(now, &topology);
            // Of a node that had no time to report yet nothing is known.
            let grace_us = limits.node_down_after_us;
            let nodes = topology.nodes.keys().copied();
            let down = (now.since_us(held.since) >= grace_us)
                .then(|| nodes.filter(|id| !held.steward.is_up(*id, now)).collect());
            (actions, down)
        });
        let Some((actions, down)) = decided else {
            return;
        };
        if let Some(down) = down {
            if self.down.replace(down) != *self.down.borrow() {
                self.publish();
            }
        }
        for action in actions {
            match action {
                StewardAction::Propose(command) => self.propose_and_go_on(command),
                StewardAction::Order(order) => {
                    spawn_local(self.clone().order(order));
                }
            }
        }
        self.tell_topology();
    }

    /// What becomes of it shows in the topology; what does not is decided again.
    fn propose_and_go_on(&self, command: MetaCommand) {
        tracing::debug!("proposes {command:?}");
        let mut worker = self.local.worker.borrow_mut();
        let what = command.clone();
        let done = move |reply: &[u8]| match Proposed::read(reply) {
            Proposed::Done(_) => {}
            Proposed::Refused(reason) => tracing::warn!("refused ({reason}): {what:?}"),
            Proposed::NotApplied(reason) | Proposed::Unknown(reason) => {
                tracing::info!("a decision of the cluster is to be made again: {reason}");
            }
        };
        worker.propose_meta(&command, Box::new(done));
        drop(worker);
        self.local.want_turn();
    }

    async fn order(self: Rc<Self>, order: Order) {
        let (to, shard) = (order.to, order.shard);
        tracing::debug!("orders of node {to}, shard {shard}: {:?}", order.task);
        let done = match to == self.me() {
            true => self.obey(order).await,
            false => self.send_order(order).await,
        };
        if let Err(reason) = done {
            tracing::debug!("node {to} has not carried out an order for shard {shard}: {reason}");
        }
        // What it has changed is reported soon.
        self.steer_now.notify_one();
    }

    pub(super) async fn send_order(&self, order: Order) -> Result<(), String> {
        let address = self.address_of(order.to).ok_or("it is gone")?;
        let to = order.to;
        let request = encoded(&Request::Order(order)).ok_or("it is too long")?;
        match self.ask((to, &address), &request, ORDER_LIMIT).await {
            Ok((_, Response::Order(done))) => done,
            Ok((_, other)) => Err(format!("answered by {other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(super) fn address_of(&self, node: NodeId) -> Option<String> {
        let topology = self.topology();
        topology.nodes.get(&node).map(|node| node.peer_address())
    }

    /// Brings the topology to all nodes that know an older one. Whoever does not get it asks with its next report.
    fn tell_topology(self: Rc<Self>) {
        let topology = self.topology();
        let (epoch, me) = (topology.epoch, self.me());
        let others = topology.nodes.keys().copied().filter(|id| *id != me);
        let behind: Option<Vec<NodeId>> = self.with_stewardship(|held, _| {
            let is_behind = |id: &NodeId| {
                let known = held.told.get(id).copied().unwrap_or_default();
                known < epoch && held.telling.insert(*id)
            };
            others.filter(is_behind).collect()
        });
        let behind = behind.unwrap_or_default();
        if behind.is_empty() {
            return;
        }
        let Some(request) = encoded(&Request::Offer(Box::new((*topology).clone()))) else {
            return;
        };
        let request: Rc<[u8]> = request.into();
        for node in behind {
            spawn_local(self.clone().tell(node, epoch, request.clone()));
        }
    }

    async fn tell(self: Rc<Self>, node: NodeId, epoch: Epoch, request: Rc<[u8]>) {
        let known = match self.address_of(node) {
            Some(address) => match self.ask((node, &address), &request, OFFER_LIMIT).await {
                Ok((_, Response::Offer(known))) => known,
                Ok(_) => epoch,
                Err(error) => {
                    tracing::debug!("node {node} has not got the topology: {error}");
                    epoch
                }
            },
            None => epoch,
        };
        self.with_stewardship(|held, _| {
            held.telling.remove(&node);
            held.told.insert(node, known.max(epoch));
        });
        self.steer_now.notify_one();
    }
}
