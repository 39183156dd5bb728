//! A planned stop: before the node goes down its replicas give the leadership of their groups away, so that no group has to find out by
//! its election timeout. A group first ends what is on its way through its log, so that nobody who waits is left without an answer;
//! commands that come meanwhile wait for the next leader. When to begin and how long to wait is the server's.

use std::collections::BTreeMap;

use ringfort_cluster::{NodeId, ReplicaId};

use super::peer::Channel;
use super::worker::Worker;

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

    /// Transfers the leadership of a group that leaves as soon as nobody waits for an entry of it.
    pub(super) fn hand_on(&mut self, place: usize) {
        if !self.shards[place].is_drained() || self.is_handing_over(place) {
            return;
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
            peers.links.is_up(*node, Channel::Raft) && shard.replica.could_take_over(*id)
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
