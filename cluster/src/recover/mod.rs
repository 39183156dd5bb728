//! What becomes of the groups of a cluster whose operator says that some of its nodes are gone for ever, and with them the majority of groups. Pure:
//! one survivor, whichever was asked, asks all others how their replicas stand, [`decide`]s about every group, and has it carried out.
//!
//! A group that can have a majority without the lost nodes is left alone. Of any other the most advanced replica that is left is chosen. The
//! others are asked to [`Yield`]: from then on, restarts included, they help nobody else into office before they have an entry of the
//! new term. Then the chosen one decides alone (`Replica::force`), under a membership in which the others learn; the placement makes it
//! whole again. The meta group comes first. As soon as it has a leader it takes over the newest topology that any survivor knows, and puts
//! the lost nodes out (`MetaCommand::Recover`). Each step may be repeated, and what a step was told must still hold when it is carried out.
//!
//! What is kept, and why: Raft commits nothing that a later leader lacks, so the survivor with the newest last term, and among these with
//! the longest log, has all that any survivor knows to be committed. What it has beyond that, committed or not, becomes so, because it may
//! have been acknowledged. What may be lost: whatever only lost nodes had.
//!
//! What the operator must see to: a lost node never comes back with its old data. Here it is refused; but enough of them together,
//! by themselves, would go on as the cluster that they remember.

mod wire;

pub use wire::{Choose, RecoverAnswer, RecoverQuestion, Yield};

use crate::replica::{Force, NUMBER_MAX};
use crate::suspects::{
    believed, is_majority, newest_members, Believed, Heard, Told, TERMS_FORGOTTEN_MAX,
};
use crate::topology::{Members, Place};
use crate::types::{Epoch, ReplicaId, Term};
use crate::NodeId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// More changes of a membership than those that are gone can have made without any survivor hearing of one.
const CHANGES_UNHEARD_MAX: u64 = 1000;

/// What becomes of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It has, or can have, a leader without those that are lost.
    GoesOn,
    /// This replica is to decide alone.
    Force(Box<Chosen>),
    /// Nobody has anything of it: it has to begin again, empty.
    Anew,
}

/// Who is to decide alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub node: NodeId,
    /// As it was told to stand.
    pub told: Told,
    /// The others yield under this term; what is forced begins the next one.
    pub term: Term,
    pub force: Force,
    /// Who yields, and how they stood.
    pub others: BTreeMap<NodeId, Told>,
}

/// Why nothing can be decided about a group now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// These survivors have not answered.
    Silent(BTreeSet<NodeId>),
    /// This replica leads, or hears its leader.
    Led(ReplicaId),
    /// What the replicas say of the group does not fit together.
    Unclear,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(nodes) => {
                let nodes: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
                write!(
                    f,
                    "node {} has not told how its copy stands",
                    nodes.join(", ")
                )
            }
            Self::Led(id) => write!(
                f,
                "replica {id} still hears a leader: is a node that is named lost running?"
            ),
            Self::Unclear => write!(f, "its copies disagree about who belongs to it"),
        }
    }
}

/// Decides about a group whose place is `place`. `survivors` are all nodes that are not lost, `heard` is what they say.
///
/// # Errors
/// When nothing can be decided now.
pub fn decide(
    place: &Place,
    survivors: &BTreeSet<NodeId>,
    heard: &Heard,
) -> Result<Fate, Obstacle> {
    let told = believed(place, heard);
    let told: Believed = told
        .into_iter()
        .filter(|(_, (node, _))| survivors.contains(node))
        .collect();
    let placed = place.replicas.values().filter(|held| !held.lost);
    let silent: BTreeSet<NodeId> = placed
        .map(|held| held.node)
        .filter(|node| survivors.contains(node) && !heard.contains_key(node))
        .collect();
    let members = newest_members(place, &told).ok_or(Obstacle::Unclear)?;
    // One that waits for its first snapshot knows nobody, and cannot help.
    let is_sound = |id: &ReplicaId| {
        let told = told.get(id).map(|(_, told)| *told);
        told.is_some_and(|told| !told.suspect && knows_members(told))
    };
    // Where all are there, suspects elect the most advanced among them by themselves.
    let all = members.all();
    let are_there = all.iter().all(|id| told.contains_key(id));
    let know = told.values().any(|(_, told)| knows_members(told));
    if is_majority(&members, is_sound) || (are_there && know) {
        return Ok(Fate::GoesOn);
    }
    if !silent.is_empty() {
        return Err(Obstacle::Silent(silent));
    }
    if let Some((id, _)) = told.iter().find(|(_, (_, told))| told.has_leader) {
        return Err(Obstacle::Led(*id));
    }
    choose(place, &members, &told)
}

fn knows_members(told: &Told) -> bool {
    !told.members.voters.is_empty()
}

/// Whether a replica is the only one of a group that begins again, and has not begun.
fn is_to_begin(place: &Place, told: &Told) -> bool {
    place.members == Members::new(&[told.replica], &[])
}

fn choose(place: &Place, members: &Members, told: &Believed) -> Result<Fate, Obstacle> {
    let has_vote = |id: &ReplicaId| members.voters.contains(id) || members.outgoing.contains(id);
    let rank = |(id, (node, told)): &(&ReplicaId, &(NodeId, &Told))| {
        (told.last, has_vote(id), Reverse(*node))
    };
    let counts = |told: &Told| knows_members(told) || is_to_begin(place, told);
    let candidates = told.iter().filter(|(_, (_, told))| counts(told));
    let Some((&chosen, &(node, best))) = candidates.max_by_key(rank) else {
        return Ok(Fate::Anew);
    };
    let all = members.all();
    let others = told
        .iter()
        .filter(|(id, _)| **id != chosen && all.contains(id));
    let others: BTreeMap<NodeId, Told> = others
        .map(|(_, (node, told))| (*node, (*told).clone()))
        .collect();
    let reached = told.values().map(|(_, told)| told.term.max(told.last.0));
    let reached = reached.max().unwrap_or_default().0;
    let changed = told.values().map(|(_, told)| told.changed);
    let changed = changed.chain([place.changed]).max().unwrap_or_default();
    let term = reached.saturating_add(TERMS_FORGOTTEN_MAX);
    let epoch = changed.0.saturating_add(CHANGES_UNHEARD_MAX);
    if term.max(epoch) > NUMBER_MAX / 2 {
        return Err(Obstacle::Unclear);
    }
    let force = Force {
        term: Term(term + 1),
        learners: others.values().map(|told| told.replica).collect(),
        epoch: Epoch(epoch),
    };
    Ok(Fate::Force(Box::new(Chosen {
        node,
        told: best.clone(),
        term: Term(term),
        force,
        others,
    })))
}

/// Members of a group that the topology does not know. No survivor has them.
#[must_use]
pub fn strangers(place: &Place, heard: &Heard) -> BTreeSet<ReplicaId> {
    let members = newest_members(place, &believed(place, heard));
    let all = members.map(|members| members.all()).unwrap_or_default();
    all.into_iter()
        .filter(|id| !place.replicas.contains_key(id))
        .collect()
}

#[cfg(test)]
mod tests;
