//! The commands about groups: where they should be, which ids their replicas get, and who belongs to them.

use super::apply::Changed;
use super::{MetaError, WISHES_MAX};
use crate::topology::{
    Members, Place, Replica, Topology, Wish, META_GROUP, NODES_MAX, REPLICAS_MAX,
    REPLICAS_OF_SHARD_MAX,
};
use crate::types::{Epoch, ReplicaId, ShardId};
use crate::NodeId;
use std::collections::BTreeSet;

impl Topology {
    pub(super) fn set_wishes(&mut self, wishes: &[(ShardId, Wish)]) -> Changed {
        let shards: BTreeSet<ShardId> = wishes.iter().map(|(shard, _)| *shard).collect();
        if wishes.is_empty() || wishes.len() > WISHES_MAX || shards.len() < wishes.len() {
            return Err(MetaError::WishCount(wishes.len()));
        }
        for (shard, wish) in wishes {
            self.known_place(*shard)?;
            let nodes_max = match *shard {
                META_GROUP => NODES_MAX,
                _ => usize::from(REPLICAS_MAX),
            };
            let voters_max = usize::from(REPLICAS_MAX);
            let count = wish.nodes().count();
            if !wish.is_sound() || count > nodes_max || wish.voters.len() > voters_max {
                return Err(MetaError::UnsoundWish(*shard));
            }
            for node in wish.nodes() {
                self.node(node)?;
            }
        }
        let mut changed = false;
        for (shard, wish) in wishes {
            if let Some(place) = self.place_mut(*shard).filter(|place| place.wish != *wish) {
                place.wish = wish.clone();
                changed = true;
            }
        }
        Ok(changed)
    }

    pub(super) fn allot(&mut self, shard: ShardId, node: NodeId, replica: ReplicaId) -> Changed {
        self.node(node)?;
        let place = self.known_place(shard)?;
        let next = place.next_replica;
        match place.replica_on(node) {
            Some(there) if there == replica => return Ok(false),
            Some(there) => {
                return Err(MetaError::AlreadyThere {
                    shard,
                    node,
                    replica: there,
                })
            }
            None => {}
        }
        if !place.wish.nodes().any(|wished| wished == node) {
            return Err(MetaError::NotWished(shard, node));
        }
        if replica != next {
            return Err(MetaError::NotNext {
                shard,
                next,
                asked: replica,
            });
        }
        if place.replicas.len() >= replicas_max(shard) {
            return Err(MetaError::TooManyReplicas(shard));
        }
        let given = Replica {
            node,
            based_on: place.changed,
            lost: false,
        };
        if let Some(place) = self.place_mut(shard) {
            place.replicas.insert(replica, given);
            place.next_replica = next.next();
            assert!(place.next_replica > replica); // Invariant 7: an id is given out once.
        }
        Ok(true)
    }

    pub(super) fn record_membership(
        &mut self,
        shard: ShardId,
        members: &Members,
        changed: Epoch,
    ) -> Changed {
        let place = self.known_place(shard)?;
        if changed == place.changed && *members == place.members {
            return Ok(false);
        }
        if changed <= place.changed {
            return Err(MetaError::StaleMembership {
                shard,
                told: changed,
                known: place.changed,
            });
        }
        let all = members.all();
        if let Some(&stranger) = all.iter().find(|id| !place.replicas.contains_key(id)) {
            return Err(MetaError::NoSuchReplica(shard, stranger));
        }
        if !members.is_sound() || members.voters.len() > 2 * usize::from(REPLICAS_MAX) {
            return Err(MetaError::UnsoundMembership(shard));
        }
        if let Some(place) = self.place_mut(shard) {
            place.members = members.clone();
            place.changed = changed;
            // What is no member now can never become one: the step that would make it one builds on an older membership.
            place
                .replicas
                .retain(|id, replica| all.contains(id) || replica.based_on >= changed);
        }
        Ok(true)
    }

    pub(super) fn mark_lost(&mut self, shard: ShardId, replica: ReplicaId) -> Changed {
        self.known_place(shard)?;
        let held = (self.place_mut(shard)).and_then(|place| place.replicas.get_mut(&replica));
        match held {
            Some(held) => Ok(!std::mem::replace(&mut held.lost, true)),
            None => Err(MetaError::NoSuchReplica(shard, replica)),
        }
    }

    /// How many groups would miss a node: those of which it is a member, if only to learn. A learner of the last membership that is
    /// recorded may be a voter by now, and whoever is removed votes no more.
    #[must_use]
    pub fn groups_that_need(&self, node: NodeId) -> usize {
        let needing = self.places().filter(|(_, place)| place.has_member_on(node));
        needing.count()
    }

    /// Whether a node has a part of the data, apart from the topology.
    #[must_use]
    pub fn holds_data(&self, node: NodeId) -> bool {
        self.shards.iter().any(|place| place.has_member_on(node))
    }

    fn known_place(&self, shard: ShardId) -> Result<&Place, MetaError> {
        self.place(shard).ok_or(MetaError::NoSuchShard(shard))
    }
}

/// How many replicas a group may have at one time.
fn replicas_max(shard: ShardId) -> usize {
    match shard {
        META_GROUP => 2 * NODES_MAX,
        _ => REPLICAS_OF_SHARD_MAX,
    }
}
