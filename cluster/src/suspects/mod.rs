//! Who is to be elected where most voters of a group may have forgotten what they acknowledged, because their machines lost power: the
//! most advanced of all, and nobody else. Pure: the nodes ask each other directly, so that it works for the meta group too, which has no
//! steward before it has a leader.
//!
//! A replica that is *suspect* takes part in nothing. Where the sound voters are a majority the group goes on, and a suspect is replaced.
//! Where they are not, every node with a suspect asks the nodes of all replicas how theirs stand ([`Told`]), and [`decide`]s. Only the
//! node of the replica that is to be elected acts on that: it asks all others to [`Agree`]. Each looks whether it is still what it was
//! told to be. A suspect that agrees takes part from then on, but helps nobody into office other than the elected, before it has an entry
//! of a newer term than [`Election::term`] (`Replica::confine`): whoever has one has all that the elected one had. When all have agreed
//! the elected one takes part too, and stands.
//!
//! What could go wrong, and why it does not:
//! - Two nodes decide differently, or on old answers: a suspect's log stands still until it agrees, and then it is confined; a sound one
//!   agrees only if it is where it was. So whoever has the word of all is the most advanced of all.
//! - Terms and votes are forgotten too: all that agree go on from a term that nobody can have reached, in which nobody has voted.
//! - A node restarts in between: its replica is suspect again, until it has an entry of the new term, and refuses if its log changed.
//! - A membership that only some know: whoever belongs to the newest one that anybody knows, or has a place in the topology, must answer.
//!
//! In doubt nothing happens, and the nodes say for whom they wait.

mod wire;

pub(crate) use wire::is_sound_told;
pub use wire::{Agree, SuspectsAnswer, SuspectsQuestion, GROUPS_OF_QUESTION_MAX};

use crate::replica::NUMBER_MAX;
use crate::topology::{Members, Place};
use crate::types::{Epoch, Index, ReplicaId, Term};
use crate::NodeId;
use bincode::{Decode, Encode};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// More terms than can pass between two syncs of a log: an election takes at least a tenth of a second.
pub const TERMS_FORGOTTEN_MAX: u64 = 1000;

/// How a replica stands, as its node says.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Told {
    pub replica: ReplicaId,
    /// It may have forgotten what it acknowledged.
    pub suspect: bool,
    /// It leads its group, or hears who does.
    pub has_leader: bool,
    pub term: Term,
    /// The term and the index of its last entry.
    pub last: (Term, Index),
    /// Up to here it knows that its log is committed.
    pub committed: Index,
    /// Who belongs to the group, as far as it knows.
    pub members: Members,
    /// The epoch of `members`.
    pub changed: Epoch,
}

/// What the nodes have said of one group: `None` from a node that has no replica of it.
pub type Heard = BTreeMap<NodeId, Option<Told>>;

/// What becomes of a group with suspects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody leads it, or can be elected without those that are suspect.
    GoesOn,
    /// Nothing is to be done now.
    Waits(Waits),
    Elect(Election),
}

/// Why a group with suspects has to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waits {
    /// For the answers of these nodes.
    ForNodes(BTreeSet<NodeId>),
    /// For these replicas, which their nodes have not got, or of which nobody knows where they are.
    ForReplicas(BTreeSet<ReplicaId>),
    /// This replica, which has no vote, knows more than every voter.
    BehindLearner(ReplicaId),
    /// What the replicas say of the group does not fit together.
    Unclear,
}

/// Who is to be elected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Election {
    pub elected: ReplicaId,
    pub node: NodeId,
    /// All take part under this term or a newer one.
    pub term: Term,
    /// Of whom the word is needed, and how they stood.
    pub others: BTreeMap<NodeId, Told>,
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: Vec<String>| names.join(", ");
        match self {
            Self::ForNodes(nodes) => {
                write!(
                    f,
                    "node {}",
                    list(nodes.iter().map(NodeId::to_string).collect())
                )
            }
            Self::ForReplicas(ids) => {
                let ids = list(ids.iter().map(ReplicaId::to_string).collect());
                write!(f, "replica {ids}, which is gone from its node")
            }
            Self::BehindLearner(id) => {
                write!(
                    f,
                    "the operator: replica {id}, which has no vote, knows more than the voters"
                )
            }
            Self::Unclear => write!(f, "replicas that disagree about who belongs to the group"),
        }
    }
}

/// Decides about one group, whose place is `place` as far as this node knows.
#[must_use]
pub fn decide(place: &Place, heard: &Heard) -> Verdict {
    let told = believed(place, heard);
    if told.values().any(|(_, told)| told.has_leader) {
        return Verdict::GoesOn;
    }
    let Some(members) = newest_members(place, &told) else {
        return Verdict::Waits(Waits::Unclear);
    };
    let is_sound = |id: &ReplicaId| told.get(id).is_some_and(|(_, told)| !told.suspect);
    if is_majority(&members, is_sound) {
        return Verdict::GoesOn;
    }
    match missing(place, heard, &told, &members) {
        Some(waits) => Verdict::Waits(waits),
        None => elect(&members, &told),
    }
}

/// What nodes say of replicas that are theirs.
pub(crate) type Believed<'h> = BTreeMap<ReplicaId, (NodeId, &'h Told)>;

pub(crate) fn believed<'h>(place: &Place, heard: &'h Heard) -> Believed<'h> {
    let told = heard.iter();
    let told = told.filter_map(|(node, told)| Some((*node, told.as_ref()?)));
    let is_its_own = |(node, told): &(NodeId, &Told)| {
        let held = place.replicas.get(&told.replica);
        held.is_some_and(|held| held.node == *node && !held.lost)
    };
    told.filter(is_its_own)
        .map(|(node, told)| (told.replica, (node, told)))
        .collect()
}

/// The members by the newest change that anybody knows of; none where two know different ones of the same epoch.
pub(crate) fn newest_members(place: &Place, told: &Believed) -> Option<Members> {
    let known = told.values().map(|(_, told)| (told.changed, &told.members));
    let known = known.chain([(place.changed, &place.members)]);
    let known: Vec<(Epoch, &Members)> = known
        .filter(|(_, members)| !members.voters.is_empty())
        .collect();
    let newest = known.iter().map(|(changed, _)| *changed).max()?;
    let mut of_newest = known.iter().filter(|(changed, _)| *changed == newest);
    let (_, members) = of_newest.next()?;
    of_newest
        .all(|(_, others)| others == members)
        .then(|| (*members).clone())
}

pub(crate) fn is_majority(members: &Members, counts: impl Fn(&ReplicaId) -> bool) -> bool {
    let most =
        |voters: &[ReplicaId]| voters.iter().filter(|id| counts(id)).count() > voters.len() / 2;
    most(&members.voters) && (members.outgoing.is_empty() || most(&members.outgoing))
}

/// Whoever must answer first. Also a replica that nobody counts among the members yet: it may be one, and the others have forgotten.
fn missing(place: &Place, heard: &Heard, told: &Believed, members: &Members) -> Option<Waits> {
    let (mut nodes, mut replicas) = (BTreeSet::new(), BTreeSet::new());
    let all = members.all();
    let placed = place.replicas.iter().filter(|(_, held)| !held.lost);
    let required: BTreeSet<ReplicaId> = all
        .iter()
        .copied()
        .chain(placed.map(|(id, _)| *id))
        .collect();
    for id in required {
        if told.contains_key(&id) {
            continue;
        }
        match place.replicas.get(&id) {
            Some(held) if !held.lost && !heard.contains_key(&held.node) => {
                nodes.insert(held.node);
            }
            // It has never begun.
            Some(_) if !all.contains(&id) => {}
            _ => {
                replicas.insert(id);
            }
        }
    }
    match (nodes.is_empty(), replicas.is_empty()) {
        (_, false) => Some(Waits::ForReplicas(replicas)),
        (false, true) => Some(Waits::ForNodes(nodes)),
        (true, true) => None,
    }
}

fn elect(members: &Members, told: &Believed) -> Verdict {
    let all = members.all();
    let has_vote =
        |members: &Members, id| members.voters.contains(&id) || members.outgoing.contains(&id);
    // Of two that know as much one that votes, and of these the one on the lowest node.
    let rank = |(id, (node, told)): &(&ReplicaId, &(NodeId, &Told))| {
        (told.last, has_vote(members, **id), Reverse(*node))
    };
    let members_told = told.iter().filter(|(id, _)| all.contains(id));
    let Some((&elected, &(node, best))) = members_told.clone().max_by_key(rank) else {
        return Verdict::Waits(Waits::Unclear);
    };
    if !has_vote(members, elected) {
        return Verdict::Waits(Waits::BehindLearner(elected));
    }
    let highest = told
        .values()
        .map(|(_, told)| told.term.max(told.last.0))
        .max();
    let term = Term(
        highest
            .unwrap_or_default()
            .0
            .saturating_add(TERMS_FORGOTTEN_MAX),
    );
    if !has_vote(&best.members, elected) || term.0 > NUMBER_MAX / 2 {
        return Verdict::Waits(Waits::Unclear);
    }
    let others = members_told.filter(|(id, _)| **id != elected);
    Verdict::Elect(Election {
        elected,
        node,
        term,
        others: others
            .map(|(_, (node, told))| (*node, (*told).clone()))
            .collect(),
    })
}

#[cfg(test)]
mod tests;
