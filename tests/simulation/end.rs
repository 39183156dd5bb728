//! The end of a run: whether everything has come to rest, with every shard on as many voters as it should have, and equal.

use ringfort_cluster::steward::GroupReport;
use ringfort_cluster::topology::{Members, Place as Wished, ReplicaFate};
use ringfort_cluster::{Index, NodeId, ReplicaId, ShardId};

use crate::context::Event;
use crate::node::Process;
use crate::plan::{MILLISECOND, SECOND, VOTERS};
use crate::simulation::Simulation;
use crate::worker::Place;

/// After the last fault every key answers within so long.
const ANSWERS_WITHIN: u64 = 8 * SECOND;
/// And everything is where it should be within so long.
const SETTLES_WITHIN: u64 = 16 * SECOND;
const LOOKS_EVERY: u64 = 200 * MILLISECOND;

impl Simulation {
    /// Looks whether everything has come to rest; true when it has and all was judged.
    pub fn at_the_end(&mut self) -> Result<bool, String> {
        let since = self.context.now() - self.context.calm_at;
        if since > ANSWERS_WITHIN {
            if let Some(what) = self.clients.no_progress() {
                return Err(what);
            }
        }
        let unsettled = match self.clients.have_all_answers() {
            true => self.unsettled(),
            false => Some("keys do not answer".to_string()),
        };
        match unsettled {
            None => self.all_holds().map(|()| true),
            Some(what) if since > SETTLES_WITHIN => Err(format!("no progress: {what}")),
            Some(_) => {
                self.context.agenda.after(LOOKS_EVERY, Event::End);
                Ok(false)
            }
        }
    }

    /// What is not as it should be when all is done.
    fn unsettled(&self) -> Option<String> {
        let Some(topology) = self.newest_topology() else {
            return Some("no node is there".to_string());
        };
        for node in &self.nodes {
            let is_used = node.life > 0 || node.process.is_some();
            let is_member = topology.nodes.contains_key(&node.id());
            if is_used && (node.process.is_none() || !is_member) {
                let (machine, up) = (node.number, node.process.is_some());
                return Some(format!(
                    "machine {machine} is not part of the cluster (up: {up})"
                ));
            }
        }
        let mut places = topology.places();
        places.find_map(|(group, place)| self.unsettled_group(group, place))
    }

    fn copies(&self, group: ShardId) -> impl Iterator<Item = (NodeId, &Place)> {
        let processes = self.nodes.iter();
        let processes = processes.filter_map(|node| Some((node.id(), node.process.as_ref()?)));
        processes.flat_map(move |(id, process): (NodeId, &Process)| {
            let held = process.places().filter(move |place| {
                place.shard.replica.shard() == group && place.shard.standing.is_held
            });
            held.map(move |place| (id, place))
        })
    }

    fn unsettled_group(&self, group: ShardId, wished: &Wished) -> Option<String> {
        let leaders = self.copies(group).filter(|(_, place)| place.shard.leads());
        let leader = leaders.max_by_key(|(_, place)| place.shard.replica.term());
        let Some((_, leader)) = leader else {
            return Some(format!("nobody leads shard {group}"));
        };
        let membership = leader.shard.replica.membership();
        let members = Members::from(&membership);
        let report = GroupReport::of(&leader.shard.replica, 0);
        let on = |ids: &[ReplicaId]| {
            let nodes = ids.iter().filter_map(|&id| wished.node_of(id));
            let mut nodes: Vec<NodeId> = nodes.collect();
            nodes.sort_unstable();
            nodes
        };
        let is_so = members == wished.members
            && !members.is_joint()
            && members.voters.len() == VOTERS
            && on(&members.voters) == wished.wish.voters
            && on(&members.learners) == wished.wish.learners;
        if !is_so || report.leads.is_none_or(|led| led.changing) {
            return Some(format!(
                "shard {group} has {membership:?}, recorded is {wished:?}"
            ));
        }
        let applied = leader.shard.applied().0;
        let is_equal = |id: &ReplicaId| {
            let copy = self.copies(group).find(|(_, place)| {
                place.shard.replica.id() == *id && place.shard.applied().0 == applied
            });
            copy.is_some()
        };
        let all = members.all();
        let behind = all.iter().find(|id| !is_equal(id));
        if let Some(id) = behind {
            return Some(format!(
                "at rest replica {id} of shard {group} is not at {applied}"
            ));
        }
        // What was removed while its node could not hear of it is dropped when it does.
        let mut held = self
            .copies(group)
            .map(|(_, place)| place.shard.replica.id());
        let left_over = held.find(|&id| wished.fate(id) == ReplicaFate::Removed);
        left_over.map(|id| format!("replica {id} of shard {group} was removed and is still there"))
    }

    /// Nothing that was acknowledged is missing, and all replicas are equal.
    fn all_holds(&mut self) -> Result<(), String> {
        let Self { nodes, context, .. } = self;
        let processes = nodes.iter().filter_map(|node| node.process.as_ref());
        for place in processes.flat_map(Process::places) {
            if place.shard.standing.is_held && place.shard.applied().0 > Index::ZERO {
                context.oracle.holds(&place.shard)?;
                context.oracle.restored(&place.shard)?;
            }
        }
        Ok(())
    }
}
