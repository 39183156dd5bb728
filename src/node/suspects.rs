//! Suspect replicas of a worker: how they stand, and how they take part again when their group has agreed on whom to elect. Who that is
//! `ringfort_cluster::suspects` decides.

use ringfort_cluster::suspects::{Agree, Told};
use ringfort_cluster::topology::Members;
use ringfort_cluster::{ReplicaId, ShardId, Term};

use crate::durability::DirectoryError;

use super::worker::Worker;

impl Worker {
    /// How the replicas of these groups stand that this worker has, or would have; nothing about those of others.
    pub fn tell_standings(&self, groups: &[ShardId]) -> Vec<(ShardId, Option<Told>)> {
        let told = groups.iter().filter_map(|group| {
            let place = self.place_of_group(*group).ok()?;
            Some((*group, self.told(place, *group)))
        });
        told.collect()
    }

    fn told(&self, place: usize, group: ShardId) -> Option<Told> {
        let shard = &self.shards[place];
        let replica = &shard.replica;
        let keeper = self.shared.cluster_state();
        let suspect = keeper.is_suspect(group);
        let is_here = keeper.replica(group) == Some(replica.id());
        let is_known = is_here && (suspect || shard.standing.is_held);
        let membership = replica.membership();
        is_known.then(|| Told {
            replica: replica.id(),
            suspect,
            has_leader: replica.hears_leader(),
            term: replica.term(),
            last: replica.last_entry(),
            committed: replica.committed(),
            members: Members::from(&membership),
            changed: membership.epoch,
        })
    }

    /// Whether a replica here is what it was told to be and agrees to an election. One that is suspect, and the one that is to be
    /// elected, take part from now on. The note that it is suspect stays until [`Worker::settle_suspects`].
    pub fn agree(&mut self, ask: &Agree) -> bool {
        let Ok(place) = self.place_of_group(ask.shard) else {
            return false;
        };
        let Some(told) = self.told(place, ask.shard) else {
            return false;
        };
        let is_as_told = (told.replica, told.suspect, told.last, told.has_leader)
            == (ask.replica, ask.suspect, ask.last, false);
        let takes_part = ask.suspect || ask.elected == ask.replica;
        if !is_as_told || !takes_part {
            return is_as_told;
        }
        self.take_part(ask.shard, ask.elected, ask.term)
    }

    /// A replica here takes part from now on, and helps nobody but that one, in terms after this one.
    pub(super) fn take_part(&mut self, group: ShardId, helps: ReplicaId, term: Term) -> bool {
        let Ok(place) = self.place_of_group(group) else {
            return false;
        };
        let taken = self.shards[place].replica.confine(helps, term);
        if taken {
            self.takes_part(place);
            if self.shards[place].standing.decides_alone {
                self.shards[place].replica.campaign();
                self.look_at_leadership(place);
            }
        }
        taken
    }

    /// A replica here takes part, whether it was suspect or not.
    pub(super) fn takes_part(&mut self, place: usize) {
        let shard = &mut self.shards[place];
        shard.standing.is_held = true;
        let replica = (shard.replica.shard(), shard.replica.id());
        self.shared.topology.trust(replica);
        self.look_at_membership(place);
        self.look_at_leadership(place);
        self.stir(place);
    }

    /// Notes of the replicas that take part again and have what the elected one had that they are suspect no more.
    ///
    /// # Errors
    /// A disk that fails or is full: what is noted stays as it was.
    pub fn settle_suspects(&mut self) -> Result<(), DirectoryError> {
        let keeper = self.shared.cluster_state();
        let suspects = keeper.suspects();
        // What is applied is written: a restart finds it again.
        let is_settled = |group: &ShardId| {
            let place = self.place_of_group(*group).ok();
            let shard = place.map(|place| &self.shards[place]);
            shard.is_some_and(|shard| {
                let under = shard.replica.confined_in();
                let has_it = under.is_some_and(|term| shard.applied().1 > term);
                // Nobody can know more than the only one who decides.
                let decides = shard.leads() && shard.membership.is_one_voter();
                shard.standing.is_held && (has_it || decides)
            })
        };
        let groups = suspects.into_iter().map(|(group, _)| group);
        let settled: Vec<ShardId> = groups.filter(is_settled).collect();
        if settled.is_empty() {
            return Ok(());
        }
        keeper.change(|state| state.suspects.retain(|group| !settled.contains(group)))
    }
}
