//! Orders of operators, carried out by the leader of the meta group: what changes the topology is proposed and answered when it is applied;
//! what concerns one shard is ordered of its leader.

use std::time::Duration;

use ringfort_cluster::meta::{MetaCommand, MetaError, MetaReply};
use ringfort_cluster::steward::{Order, Task};
use ringfort_cluster::topology::{Node, Topology};
use ringfort_cluster::{NodeId, ShardId};
use tokio::time::{sleep, Instant};

use crate::node::meta::Proposed;
use crate::node::operator::{Done, OperatorAnswer, OperatorError, Refusal};

use super::names::{find_node, find_removed};
use super::operate::{conflict, no_shard, not_leading, unknown, Answer};
use super::overview::{Led, Overview};
use super::problems::short;
use super::Govern;

/// For a shard's leadership to arrive where it was ordered to.
const TRANSFER_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks whether it has.
const TRANSFER_LOOK: Duration = Duration::from_millis(50);
/// For so long a transfer is ordered anew when the shard has no leader, or that one refuses because it is busy.
const TRANSFER_TRY: Duration = Duration::from_secs(3);

fn refused(error: &MetaError) -> OperatorError {
    let kind = match error {
        MetaError::NoSuchNode(_) | MetaError::NoSuchShard(_) => Refusal::NotFound,
        _ => Refusal::Conflict,
    };
    OperatorError::new(kind, error.to_string())
}

fn done(reply: MetaReply, message: String) -> OperatorAnswer {
    OperatorAnswer::Done(Done {
        epoch: reply.epoch.0,
        changed: reply.changed,
        message,
    })
}

impl Govern {
    pub(super) async fn drain(&self, name: &str, force: bool) -> Answer {
        let node = self.node_named(name)?;
        let reply = self
            .decide(&MetaCommand::Leave {
                node: node.id,
                force,
            })
            .await?;
        let message = match reply.changed {
            true => format!(
                "node {} drains: its leaders go first, then its copies",
                short(&node)
            ),
            false => format!("node {} drains already", short(&node)),
        };
        Ok(done(reply, message))
    }

    pub(super) async fn undrain(&self, name: &str) -> Answer {
        let node = self.node_named(name)?;
        let reply = self.decide(&MetaCommand::Stay { node: node.id }).await?;
        let message = match reply.changed {
            true => format!("node {} stays, and takes its share again", short(&node)),
            false => format!("node {} does not drain", short(&node)),
        };
        Ok(done(reply, message))
    }

    pub(super) async fn remove(&self, name: &str) -> Answer {
        let topology = self.topology();
        // Who asks again because the answer was lost is told that it is done.
        if let Some(id) = find_removed(&topology, name) {
            let reply = self.decide(&MetaCommand::Remove { node: id }).await?;
            return Ok(done(reply, format!("node {id} was removed before")));
        }
        let node = find_node(&topology, name)?;
        let reply = self.decide(&MetaCommand::Remove { node: node.id }).await?;
        let message = format!("node {} is removed, and can be stopped", short(node));
        Ok(done(reply, message))
    }

    /// The steward goes about it from now on.
    pub(super) fn rebalance(&self) -> Answer {
        let begun = self.with_stewardship(|held, now| {
            let was_under_way = held.steward.is_rebalancing();
            held.steward.rebalance(now);
            !was_under_way
        });
        let changed = begun.ok_or_else(not_leading)?;
        self.steer_now.notify_one();
        let message = match changed {
            true => "what can be spread more evenly moves from now on",
            false => "what can be spread more evenly moves already",
        };
        Ok(OperatorAnswer::Done(Done {
            epoch: self.topology().epoch.0,
            changed,
            message: message.into(),
        }))
    }

    fn node_named(&self, name: &str) -> Result<Node, OperatorError> {
        find_node(&self.topology(), name).cloned()
    }

    /// Proposes a command to the meta group and waits until it is applied.
    async fn decide(&self, command: &MetaCommand) -> Result<MetaReply, OperatorError> {
        // The topology says the reason better than its text alone: which kind it is.
        if let Err(error) = Topology::clone(&self.topology()).apply(command) {
            return Err(refused(&error));
        }
        match self.propose(command).await {
            Proposed::Done(reply) => Ok(reply),
            Proposed::Refused(reason) => Err(conflict(reason)),
            Proposed::NotApplied(reason) => Err(OperatorError::new(Refusal::Unavailable, reason)),
            Proposed::Unknown(reason) => Err(unknown(&reason)),
        }
    }

    // ---- leadership of a shard -----------------------------------------------------------------------

    pub(super) async fn transfer(&self, shard: u32, to: &str) -> Answer {
        let topology = self.topology();
        let count = topology.shards.len();
        let id = u16::try_from(shard).ok().map(ShardId);
        let id = id
            .filter(|id| id.as_usize() < count)
            .ok_or_else(|| no_shard(shard, count))?;
        let node = find_node(&topology, to)?.clone();
        let done = |changed, message: &str| {
            Ok(OperatorAnswer::Done(Done {
                epoch: self.topology().epoch.0,
                changed,
                message: format!("shard {shard} {message} {}", short(&node)),
            }))
        };
        let until = Instant::now() + TRANSFER_TRY;
        loop {
            let order = self.find_transfer(id, &node, until).await?;
            let hold = || self.with_stewardship(|held, now| held.steward.hold_leader(id, now));
            let Some(order) = order else {
                hold();
                return done(false, "is led by");
            };
            match self.give(order).await {
                Ok(()) => {
                    // Balance would take it back.
                    hold();
                    self.wait_for_leader(id, node.id).await?;
                    return done(true, "is led now by");
                }
                Err(reason) if Instant::now() >= until => {
                    return Err(conflict(format!(
                        "the leader of shard {shard} does not hand it over now: {reason}; try again"
                    )));
                }
                Err(_) => sleep(TRANSFER_LOOK).await,
            }
        }
    }

    /// What to order of the shard's leader, as soon as it has one; nothing where the node leads it already.
    async fn find_transfer(
        &self,
        shard: ShardId,
        to: &Node,
        until: Instant,
    ) -> Result<Option<Order>, OperatorError> {
        loop {
            let found = self.overview(|all| {
                let led = all.led(shard);
                Ok(led.map(|led| transfer_order(all, led, shard, to)))
            });
            match found.await? {
                Some(order) => return order,
                // Its leader may be moving just now.
                None if Instant::now() < until => sleep(TRANSFER_LOOK).await,
                None => {
                    return Err(conflict(format!(
                        "nobody leads shard {shard} now: wait until it has a leader"
                    )));
                }
            }
        }
    }

    async fn give(&self, order: Order) -> Result<(), String> {
        match order.to == self.me() {
            true => self.obey(order).await,
            false => self.send_order(order).await,
        }
    }

    async fn wait_for_leader(&self, shard: ShardId, node: NodeId) -> Result<(), OperatorError> {
        let until = Instant::now() + TRANSFER_LIMIT;
        loop {
            let leader = self
                .overview(|all| Ok(all.led(shard).map(|led| led.node)))
                .await?;
            if leader == Some(node) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(conflict(format!(
                    "shard {shard} was not handed over within {} s: commands under way did not end in time, or the node did not take it; try again",
                    TRANSFER_LIMIT.as_secs()
                )));
            }
            sleep(TRANSFER_LOOK).await;
        }
    }
}

/// What to order of a shard's leader; nothing where the node leads it already.
fn transfer_order(
    all: &Overview,
    led: &Led,
    shard: ShardId,
    to: &Node,
) -> Result<Option<Order>, OperatorError> {
    if led.node == to.id {
        return Ok(None);
    }
    let name = short(to);
    let place = all.topology.place(shard);
    let replica = place.and_then(|place| place.replica_on(to.id));
    let replica = replica.ok_or_else(|| {
        conflict(format!(
            "node {name} has no copy of shard {shard}: see `ringfort shards`"
        ))
    })?;
    if !led.group.members.voters.contains(&replica) {
        return Err(conflict(format!(
            "the copy of shard {shard} on node {name} has no vote yet"
        )));
    }
    if !all.is_up(to.id) {
        return Err(conflict(format!("node {name} is down")));
    }
    if !led.group.caught_up.contains(&replica) {
        return Err(conflict(format!(
            "the copy of shard {shard} on node {name} lacks entries that the leader has: wait until it has caught up"
        )));
    }
    if to.draining {
        return Err(conflict(format!(
            "node {name} drains: it is to lead nothing"
        )));
    }
    Ok(Some(Order {
        to: led.node,
        shard,
        term: led.report.term,
        based_on: led.group.changed,
        task: Task::TransferLeader(replica),
    }))
}
