//! Which replicas are given up because a file of theirs is damaged, so that the node starts and their groups rebuild them under new ids.
//! Only where the group can go on without them; gathers first, and notes all of them at once before any file is changed.

use std::collections::BTreeMap;
use std::path::Path;

use ringfort_cluster::replica::Membership;
use ringfort_cluster::topology::{Place, META_GROUP};
use ringfort_cluster::{ReplicaId, ShardId};

use crate::durability::snapshot::{remove_snapshots, SnapshotError};
use crate::durability::wal::DamagedLog;
use crate::durability::SharedDisk;
use crate::node::replay::Replay;
use crate::node::shard::Shard;

use super::replicas::Makings;
use super::StartError;

/// Replicas to be given up, by the numbers of their shards here.
pub(super) struct Rebuild<'m, 'a> {
    makings: &'m Makings<'a>,
    /// All replicas here may be needed, whatever is left of them.
    is_suspect: bool,
    given_up: BTreeMap<ShardId, (ShardId, ReplicaId)>,
}

impl<'m, 'a> Rebuild<'m, 'a> {
    /// `is_suspect`: the node lost power, and may have forgotten what it acknowledged.
    pub fn new(makings: &'m Makings<'a>, is_suspect: bool) -> Self {
        Self {
            makings,
            is_suspect,
            given_up: BTreeMap::new(),
        }
    }

    pub fn makings(&self) -> &'m Makings<'a> {
        self.makings
    }

    /// The numbers of the shards whose replicas are given up.
    pub fn numbers(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.given_up.keys().copied()
    }

    pub fn is_given_up(&self, number: ShardId) -> bool {
        self.given_up.contains_key(&number)
    }

    /// Their groups and ids.
    pub fn replicas(&self) -> impl Iterator<Item = (ShardId, ReplicaId)> + '_ {
        self.given_up.values().copied()
    }

    /// A shard's snapshot is damaged. Says whether its replica is given up for that.
    pub fn snapshot(&mut self, number: ShardId, error: &SnapshotError) -> bool {
        let SnapshotError::Damaged { path, offset, what } = error else {
            return false;
        };
        let is_taken = self.take([number], |makings, number| {
            makings.can_be_rebuilt(number, &Membership::default())
        });
        if let Some(taken) = &is_taken {
            tracing::warn!(
                "snapshot {} is corrupt at byte {offset}: {what}. {}",
                path.display(),
                self.told(taken)
            );
        }
        is_taken.is_some()
    }

    /// A log is damaged. Says whether the replicas that may have lost something in it are all given up.
    pub fn log(&mut self, damaged: &DamagedLog, replay: &mut Replay) -> bool {
        let all = || (0..=self.makings.shards()).map(ShardId).collect();
        let reached = damaged.shards.clone().unwrap_or_else(all);
        let held = |number: &ShardId| self.makings.is_held(*number) && !self.is_given_up(*number);
        let concerned: Vec<ShardId> = reached.into_iter().filter(held).collect();
        let Some(taken) = self.take(concerned, |makings, number| {
            let shard = replay.shard(number);
            shard.is_some_and(|shard| makings.can_be_rebuilt(number, &shard.membership))
        }) else {
            return false;
        };
        tracing::warn!(
            "WAL segment {} is corrupt at byte {}: {}. {}",
            damaged.damage.path.display(),
            damaged.damage.offset,
            damaged.damage.what,
            self.told(&taken)
        );
        taken.iter().for_each(|number| replay.give_up(*number));
        true
    }

    /// What was found of a shard is sound and makes no replica, because a part is missing. Says whether its replica is given up
    /// for that.
    pub fn unfit(&mut self, number: ShardId, why: &StartError, membership: &Membership) -> bool {
        let taken = self.take([number], |makings, number| {
            makings.can_be_rebuilt(number, membership)
        });
        if let Some(taken) = &taken {
            tracing::warn!("{why}. {}", self.told(taken));
        }
        taken.is_some()
    }

    /// Notes, durably, that these replicas never start again. Before any of their files is touched: a start that is
    /// interrupted from here on finds them given up, and does the rest.
    pub fn note(&self) -> Result<(), StartError> {
        if self.given_up.is_empty() {
            return Ok(());
        }
        let noted = self.makings.state.change(|state| {
            for (group, id) in self.replicas() {
                state.give_up(group, id);
            }
        });
        noted.map_err(StartError::from)
    }

    /// Nothing of them is left: neither in memory nor, but for what the log will be told to forget, on the disk.
    pub fn clear(
        &self,
        disk: &SharedDisk,
        dir: &Path,
        shards: &mut [Shard],
    ) -> Result<(), StartError> {
        for number in self.numbers() {
            shards[usize::from(number.0)] = self.makings.empty(number);
            remove_snapshots(disk, dir, number).map_err(StartError::from)?;
        }
        Ok(())
    }

    /// Takes replicas onto the list, all or none of them.
    fn take(
        &mut self,
        numbers: impl IntoIterator<Item = ShardId>,
        mut can_be: impl FnMut(&Makings, ShardId) -> bool,
    ) -> Option<Vec<ShardId>> {
        let mut taken = Vec::new();
        for number in numbers {
            let group = self.makings.group(number);
            let id = self.makings.state.replica(group)?;
            if !can_be(self.makings, number) {
                return None;
            }
            // If the others are suspect too, the group may have to go on with what this one knows.
            if self.is_suspect || self.makings.state.is_suspect(group) {
                tracing::warn!(
                    "{}: what is damaged here is not given up by itself, because this machine lost power and others may have done so too. If the other nodes serve, empty this node's directory and start it again",
                    named(&[group])
                );
                return None;
            }
            taken.push((number, (group, id)));
        }
        self.given_up.extend(taken.iter().copied());
        Some(taken.into_iter().map(|(number, _)| number).collect())
    }

    fn told(&self, taken: &[ShardId]) -> String {
        if taken.is_empty() {
            return "No replica of this node depends on it; what is left of it goes.".into();
        }
        let groups: Vec<ShardId> = taken
            .iter()
            .map(|number| self.makings.group(*number))
            .collect();
        format!(
            "What this node has of it is given up whole, so that nothing is silently shortened, and rebuilt from its peers under new ids: {}",
            named(&groups)
        )
    }
}

/// Groups by their names.
pub fn named(groups: &[ShardId]) -> String {
    named_few(groups, groups.len())
}

/// Groups by their names; where there are more than `max` shards, by their number and the first ones.
pub fn named_few(groups: &[ShardId], max: usize) -> String {
    let shards = groups.iter().filter(|group| **group != META_GROUP);
    let shards: Vec<String> = shards.map(ShardId::to_string).collect();
    let text = match &shards[..] {
        [] => return "the meta group".into(),
        [one] => format!("shard {one}"),
        few if few.len() <= max => format!("shards {}", few.join(", ")),
        many => format!("{} shards: {}, ...", many.len(), many[..max].join(", ")),
    };
    match groups.contains(&META_GROUP) {
        true => format!("{text} and the meta group"),
        false => text,
    }
}

impl Makings<'_> {
    /// Whether a group can go on without the replica that this node has of it, and give the node a new one: most of its voters are
    /// others that nobody has given up. `membership` is the group's as far as the replica itself knows it; of that and the
    /// topology's the newer one counts.
    pub fn can_be_rebuilt(&self, number: ShardId, membership: &Membership) -> bool {
        let group = self.group(number);
        let (Some(own), Some(place)) = (self.state.replica(group), self.topology.place(group))
        else {
            return false;
        };
        let knows_newer = !membership.is_unknown() && membership.epoch > place.changed;
        let (voters, outgoing) = match knows_newer {
            true => (&membership.voters, &membership.outgoing),
            false => (&place.members.voters, &place.members.outgoing),
        };
        let most_are_others = |voters: &[ReplicaId]| {
            let others = voters.iter().filter(|id| **id != own);
            let good = others.filter(|id| is_sound(place, **id, self.node_id));
            good.count() > voters.len() / 2
        };
        most_are_others(voters) && (outgoing.is_empty() || most_are_others(outgoing))
    }
}

/// Whether a voter is on another node that has not lost it, as far as is known.
fn is_sound(place: &Place, id: ReplicaId, me: ringfort_cluster::NodeId) -> bool {
    match place.replicas.get(&id) {
        Some(held) => !held.lost && held.node != me,
        // One that is newer than the topology which this node kept.
        None => id >= place.next_replica,
    }
}
