//! What was proposed and ordered lately, so that nothing is repeated before it can have shown, and not too much is under way. Decides
//! nothing else.

use super::{Order, Seen, StewardAction, StewardLimits, Task};
use crate::meta::MetaCommand;
use crate::types::{Monotonic, ShardId};
use crate::NodeId;
use std::collections::BTreeMap;

/// What a proposal is about: of each there is one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Node(NodeId),
    Group(ShardId),
    Lost(ShardId, crate::ReplicaId),
    Wishes(ShardId),
}

#[derive(Debug, Default)]
pub(super) struct UnderWay {
    proposals: BTreeMap<About, (MetaCommand, Monotonic)>,
    orders: BTreeMap<ShardId, (Order, Monotonic)>,
}

impl UnderWay {
    /// Forgets what has shown in the reports, or took too long.
    pub fn forget(&mut self, now: Monotonic, limits: &StewardLimits, seen: &Seen) {
        self.proposals
            .retain(|_, (_, at)| now.since_us(*at) < limits.repeat_after_us);
        self.orders.retain(|shard, (order, at)| {
            let newer_term = seen.terms.get(shard).is_some_and(|term| *term > order.term);
            let group = seen.groups.get(shard);
            let shows = newer_term || group.is_some_and(|group| group.changed > order.based_on);
            !shows && now.since_us(*at) < limits.order_timeout_us
        });
    }

    /// Whether an action is to be taken now; it is under way then.
    pub fn begin(
        &mut self,
        action: &StewardAction,
        now: Monotonic,
        limits: &StewardLimits,
    ) -> bool {
        match action {
            StewardAction::Propose(command) => {
                let Some(about) = about(command) else {
                    return true;
                };
                let known = self.proposals.get(&about);
                let new = known.is_none_or(|(known, _)| known != command);
                if new {
                    self.proposals.insert(about, (command.clone(), now));
                }
                new
            }
            StewardAction::Order(order) => self.begin_order(order, now, limits),
        }
    }

    fn begin_order(&mut self, order: &Order, now: Monotonic, limits: &StewardLimits) -> bool {
        let transfers = |order: &Order| matches!(order.task, Task::TransferLeader(_));
        let known = self.orders.get(&order.shard);
        let again = known.is_some_and(|(known, at)| {
            known == order && now.since_us(*at) < limits.repeat_after_us
        });
        let others = || {
            let others = self.orders.iter();
            others.filter(|(shard, _)| **shard != order.shard)
        };
        let moving = others().filter(|(_, (other, _))| transfers(other)).count();
        let too_many = others().count() >= limits.orders_max
            || transfers(order) && moving >= limits.placement.transfers_max;
        if again || too_many {
            return false;
        }
        self.orders.insert(order.shard, (order.clone(), now));
        true
    }
}

fn about(command: &MetaCommand) -> Option<About> {
    match command {
        MetaCommand::Update { node } => Some(About::Node(node.id)),
        MetaCommand::MarkLost { shard, replica } => Some(About::Lost(*shard, *replica)),
        MetaCommand::Allot { shard, .. } | MetaCommand::RecordMembership { shard, .. } => {
            Some(About::Group(*shard))
        }
        MetaCommand::SetWishes { wishes } => {
            let first = wishes.first().map(|(shard, _)| *shard);
            first.map(About::Wishes)
        }
        _ => None,
    }
}
