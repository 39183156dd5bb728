//! What the meta group takes over by the word of the operator when nodes are gone for ever: see [`crate::recover`].

use super::apply::Changed;
use super::MetaError;
use crate::topology::{Members, Place, Replica, Topology, REPLICAS_OF_SHARD_MAX};
use crate::types::{Epoch, ReplicaId, ShardId};
use crate::NodeId;
use bincode::{Decode, Encode};
use std::collections::BTreeMap;

/// What is lost may have decided more than anybody is left to know. Whatever that was is passed over: as many epochs, and as many ids of every
/// group, as cannot have been given out in the meantime.
pub const EPOCHS_PASSED_OVER: u64 = 1 << 20;
/// See [`EPOCHS_PASSED_OVER`].
pub const IDS_PASSED_OVER: u64 = 1 << 10;

/// Nodes are gone for ever, and what follows from that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Recovery {
    /// They are removed at once, and their replicas lost.
    pub lost: Vec<NodeId>,
    /// The newest topology that any survivor knows, encoded: the copy of the meta group that goes on may be older.
    pub newest: Option<Vec<u8>>,
    /// Groups of which no survivor has anything: each begins again, empty, on that node, under the next id.
    pub anew: Vec<(ShardId, NodeId, ReplicaId)>,
    /// Members of groups that no survivor has, and that the topology does not know: they were given out by those that are gone.
    pub strangers: Vec<(ShardId, ReplicaId)>,
}

impl Topology {
    pub(super) fn recover(&mut self, recovery: &Recovery) -> Changed {
        let mut next = self.newer_of(recovery.newest.as_deref())?;
        let mut changed = next.epoch > self.epoch;
        for id in &recovery.lost {
            changed |= next.lose(*id)?;
        }
        if next.nodes.is_empty() {
            return Err(MetaError::LastNode);
        }
        for &(shard, node, id) in &recovery.anew {
            next.node(node)?;
            let place = next.place_mut(shard);
            let place = place.ok_or(MetaError::NoSuchShard(shard))?;
            begin_anew(shard, place, node, id)?;
            changed = true;
        }
        for &(shard, id) in &recovery.strangers {
            let place = next.place_mut(shard);
            let place = place.ok_or(MetaError::NoSuchShard(shard))?;
            let node = recovery.lost.first().copied().unwrap_or_default();
            changed |= note_stranger(place, id, node);
        }
        if changed {
            next.epoch = Epoch(next.epoch.0.saturating_add(EPOCHS_PASSED_OVER));
            next.shards.iter_mut().for_each(pass_ids_over);
            pass_ids_over(&mut next.meta);
            *self = next;
        }
        Ok(changed)
    }

    fn newer_of(&self, newest: Option<&[u8]>) -> Result<Self, MetaError> {
        let Some(newest) = newest else {
            return Ok(self.clone());
        };
        let newest =
            Self::decode(newest).map_err(|error| MetaError::Topology(error.to_string()))?;
        if newest.cluster_id != self.cluster_id {
            let (theirs, ours) = (newest.cluster_id, self.cluster_id);
            return Err(MetaError::OtherCluster { theirs, ours });
        }
        match newest.epoch > self.epoch {
            true => Ok(newest),
            false => Ok(self.clone()),
        }
    }

    /// Takes a node out, whatever it holds.
    fn lose(&mut self, id: NodeId) -> Changed {
        if self.removed.contains_key(&id) {
            return Ok(false);
        }
        self.node(id)?;
        self.note_removed(id);
        let places = self.shards.iter_mut().chain([&mut self.meta]);
        let replicas = places.flat_map(|place| place.replicas.values_mut());
        for replica in replicas.filter(|replica| replica.node == id) {
            replica.lost = true;
        }
        Ok(true)
    }
}

fn pass_ids_over(place: &mut Place) {
    place.next_replica = ReplicaId(place.next_replica.0.saturating_add(IDS_PASSED_OVER));
}

fn begin_anew(
    shard: ShardId,
    place: &mut Place,
    node: NodeId,
    id: ReplicaId,
) -> Result<(), MetaError> {
    // A second proposal of the same must not put an end to what the first one began.
    if place.next_replica != id {
        let (next, asked) = (place.next_replica, id);
        return Err(MetaError::NotNext { shard, next, asked });
    }
    let first = Replica {
        node,
        based_on: place.changed,
        lost: false,
    };
    place.replicas = BTreeMap::from([(id, first)]);
    place.members = Members::new(&[id], &[]);
    place.changed = place.changed.next();
    place.next_replica = id.next();
    Ok(())
}

fn note_stranger(place: &mut Place, id: ReplicaId, node: NodeId) -> bool {
    if place.replicas.contains_key(&id) || place.replicas.len() >= REPLICAS_OF_SHARD_MAX {
        return false;
    }
    let stranger = Replica {
        node,
        based_on: place.changed,
        lost: true,
    };
    place.replicas.insert(id, stranger);
    place.next_replica = place.next_replica.max(id.next());
    true
}
