//! How replicas give the leadership of their groups away: all of them before a planned stop, so that no group has to find out by its
//! election timeout, and one where the steward orders it. A group first ends what is on its way through its log, so that nobody who waits
//! is left without an answer; commands that come meanwhile wait for the next leader. When to begin with a stop and how long to wait for
//! it is the server's.

use std::collections::BTreeMap;

use ringfort_cluster::replica::TransferError;
use ringfort_cluster::steward::{self, Order, OrderRefused, Task};
use ringfort_cluster::{Monotonic, NodeId, ReplicaId, Term};

use super::group::Standing;
use super::peer::Channel;
use super::worker::Worker;

/// So long a transfer that was ordered waits for what is under way; then the group goes on as before. With the time that the transfer itself
/// has it is below what commands wait for a leader.
const DRAIN_US_MAX: u64 = 500_000;

/// A transfer that the steward has ordered.
#[derive(Clone, Debug)]
pub(super) struct Ordered {
    order: Order,
    /// Then it must have begun.
    until: Monotonic,
    has_begun: bool,
}

impl Ordered {
    /// Whether the group serves again, here or elsewhere: `leads` is the term in which this replica leads.
    fn is_over(&self, leads: Option<Term>, is_transferring: bool, now: Monotonic) -> bool {
        let has_ended = match self.has_begun {
            true => !is_transferring,
            false => now >= self.until,
        };
        has_ended || leads != Some(self.order.term)
    }
}

impl Standing {
    /// Whether it takes no commands because it gives its leadership away.
    pub(super) fn gives_away(&self) -> bool {
        self.is_leaving || self.ordered.is_some()
    }
}

/// What a worker that leaves keeps.
#[derive(Default)]
pub(super) struct Leaving {
    /// The groups have been looked at.
    has_begun: bool,
    /// By node: groups that it was given.
    given: BTreeMap<NodeId, usize>,
}

impl Worker {
    /// From the next tick on the replicas here give their leadership away, where another voter has caught up.
    pub fn begin_to_leave(&mut self) {
        self.leaving.get_or_insert_default();
    }

    /// Groups that are to be led by others and are not yet. To be asked after [`Worker::begin_to_leave`].
    pub fn left_to_hand_over(&self) -> usize {
        let has_begun = self.leaving.as_ref().is_some_and(|all| all.has_begun);
        let is_left = |place: &usize| match has_begun {
            true => self.shards[*place].standing.is_leaving,
            false => self.could_leave(*place),
        };
        (0..self.shards.len()).filter(is_left).count()
    }

    /// Groups that were given to others.
    pub fn handed_over(&self) -> usize {
        let given = self.leaving.as_ref().map(|leaving| leaving.given.values());
        given.into_iter().flatten().sum()
    }

    /// Goes on with leaving, if it was begun; with every tick, before time passes for the replicas.
    pub(super) fn leave_on(&mut self) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        leaving.has_begun = true;
        // What has joined the turn is proposed before the replica refuses to.
        self.flush();
        for place in 0..self.shards.len() {
            let standing = &self.shards[place].standing;
            if !standing.is_held || standing.decides_alone {
                continue;
            }
            let me = self.shared.node_id();
            let leader = self.shards[place].leader_node();
            let is_under_way = standing.is_leaving && leader.is_none();
            self.shards[place].standing.is_leaving = is_under_way
                || leader == Some(me) && (self.is_handing_over(place) || self.could_leave(place));
            self.look_at_leadership(place);
        }
    }

    fn is_handing_over(&self, place: usize) -> bool {
        self.shards[place].replica.transferring_to().is_some()
    }

    fn could_leave(&self, place: usize) -> bool {
        self.heir(place).is_some()
    }

    /// Has the leadership of a group handed over as the steward orders, as soon as what is under way has ended.
    ///
    /// # Errors
    /// [`OrderRefused`]; nothing has changed then.
    pub(super) fn begin_to_hand_over(
        &mut self,
        place: usize,
        order: &Order,
    ) -> Result<(), OrderRefused> {
        steward::check(order, &self.shards[place].replica)?;
        if let Task::TransferLeader(to) = order.task {
            // The steward may not know yet: it sees a node that leads nothing, and would give it back whatever it hands over.
            let heir = self.shards[place].node_of(to);
            if heir.is_some_and(|node| self.forwarding.farewells.has_left(node)) {
                return Err(TransferError::NotFollowing(to).into());
            }
        }
        if self.shards[place].standing.gives_away() {
            return Err(TransferError::Busy.into());
        }
        // What has joined the turn is proposed before the replica refuses to.
        self.flush();
        let until = self.refresh_monotonic().plus_us(DRAIN_US_MAX);
        let ordered = Ordered {
            order: order.clone(),
            until,
            has_begun: false,
        };
        self.shards[place].standing.ordered = Some(Box::new(ordered));
        self.look_at_leadership(place);
        Ok(())
    }

    /// Forgets a transfer that was ordered, when it has come about, or has failed, or could not begin.
    pub(super) fn look_at_order(&mut self, place: usize) {
        let Some(ordered) = &self.shards[place].standing.ordered else {
            return;
        };
        let replica = &self.shards[place].replica;
        let leads = replica.is_leader().then(|| replica.term());
        let is_transferring = replica.transferring_to().is_some();
        if ordered.is_over(leads, is_transferring, self.monotonic()) {
            self.shards[place].standing.ordered = None;
        }
    }

    /// Begins a transfer that was ordered.
    fn hand_on_as_ordered(&mut self, place: usize) {
        let now = self.refresh_monotonic();
        let shard = &mut self.shards[place];
        let Some(ordered) = &mut shard.standing.ordered else {
            return;
        };
        match steward::carry_out(&ordered.order, &mut shard.replica, now) {
            Ok(_) => {
                ordered.has_begun = true;
                self.stir(place);
            }
            // Tried again when the write is done.
            Err(OrderRefused::Transfer(TransferError::Busy)) => {}
            Err(error) => {
                tracing::debug!("shard {}: {error}", shard.id);
                shard.standing.ordered = None;
                self.look_at_leadership(place);
            }
        }
    }

    /// Transfers the leadership of a group that leaves as soon as nobody waits for an entry of it.
    pub(super) fn hand_on(&mut self, place: usize) {
        if !self.shards[place].is_drained() || self.is_handing_over(place) {
            return;
        }
        if self.shards[place].standing.ordered.is_some() {
            return self.hand_on_as_ordered(place);
        }
        let Some((to, node)) = self.heir(place) else {
            return;
        };
        let now = self.refresh_monotonic();
        let shard = &mut self.shards[place];
        match shard.replica.transfer_leadership(to, now) {
            Ok(()) => {
                let leaving = self.leaving.get_or_insert_default();
                *leaving.given.entry(node).or_default() += 1;
                self.stir(place);
            }
            // The next tick tries again.
            Err(error) => tracing::debug!("shard {}: {error}", shard.id),
        }
    }

    /// Who takes the leadership over: of the voters that have caught up and can be reached, one whose node was given least.
    fn heir(&self, place: usize) -> Option<(ReplicaId, NodeId)> {
        let shard = &self.shards[place];
        let peers = self.peers.as_ref()?;
        let fit = |(id, node): &&(ReplicaId, NodeId)| {
            peers.links.is_up(*node, Channel::Raft)
                && !self.forwarding.farewells.has_left(*node)
                && shard.replica.could_take_over(*id)
        };
        let heirs: Vec<_> = shard.standing.nodes.iter().filter(fit).collect();
        let given = |node| self.leaving.as_ref()?.given.get(node).copied();
        let turn = usize::from(shard.id.0);
        let ranked = heirs.iter().enumerate();
        let first = ranked.min_by_key(|(at, (_, node))| {
            // Each worker counts for itself: they do not all begin with the same node.
            let order = (at + turn) % heirs.len();
            (given(node).unwrap_or(0), order)
        });
        first.map(|(_, heir)| **heir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfort_cluster::steward::Task;
    use ringfort_cluster::{Epoch, ShardId};

    fn ordered(has_begun: bool) -> Ordered {
        let order = Order {
            to: NodeId(1),
            shard: ShardId(0),
            term: Term(3),
            based_on: Epoch(1),
            task: Task::TransferLeader(ReplicaId(2)),
        };
        Ordered {
            order,
            until: Monotonic(DRAIN_US_MAX),
            has_begun,
        }
    }

    #[test]
    fn a_group_whose_commands_do_not_end_in_time_takes_new_ones_again() {
        let (leads, waits) = (Some(Term(3)), ordered(false));
        assert!(!waits.is_over(leads, false, Monotonic(DRAIN_US_MAX - 1)));
        assert!(waits.is_over(leads, false, Monotonic(DRAIN_US_MAX)));
    }

    #[test]
    fn a_transfer_that_has_begun_has_its_own_time() {
        let (leads, begun) = (Some(Term(3)), ordered(true));
        assert!(!begun.is_over(leads, true, Monotonic(2 * DRAIN_US_MAX)));
        assert!(begun.is_over(leads, false, Monotonic(0)));
    }

    #[test]
    fn whoever_leads_no_more_or_leads_anew_has_nothing_to_hand_over() {
        for order in [ordered(false), ordered(true)] {
            assert!(order.is_over(None, true, Monotonic(0)));
            assert!(order.is_over(Some(Term(4)), true, Monotonic(0)));
        }
    }
}
