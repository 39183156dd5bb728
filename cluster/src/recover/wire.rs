//! What survivors ask each other, and the answers, as bytes. Reads nothing that no node says.

use crate::meta::Recovery;
use crate::replica::{Force, MEMBERS_MAX, NUMBER_MAX};
use crate::steward::{decode, encode, WireError};
use crate::suspects::{is_sound_told, Told, GROUPS_OF_QUESTION_MAX};
use crate::topology::NODES_MAX;
use crate::types::{Epoch, Index, ReplicaId, ShardId, Term};
use crate::NodeId;
use bincode::{Decode, Encode};

/// What a survivor is asked. None of it is asked of others on its behalf.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum RecoverQuestion {
    /// How the replicas of these groups stand, which of the lost nodes it has links to, and the topology if it knows a newer one.
    Tell {
        lost: Vec<NodeId>,
        known: Epoch,
        groups: Vec<ShardId>,
    },
    /// These replicas help nobody else into office from now on.
    Yield(Vec<Yield>),
    /// These replicas decide alone from now on.
    Choose(Vec<Choose>),
    /// The leader of the meta group proposes this.
    Settle(Recovery),
}

/// The answer to a question of the same kind.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum RecoverAnswer {
    Told {
        linked: Vec<NodeId>,
        newest: Option<Vec<u8>>,
        groups: Vec<(ShardId, Option<Told>)>,
    },
    /// The groups whose replicas have yielded.
    Yielded(Vec<ShardId>),
    /// The groups whose replicas decide alone, and have written and applied it.
    Chosen(Vec<ShardId>),
    /// Why it was not done, if it was not.
    Settled(Option<String>),
}

/// What one replica is asked to yield to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Yield {
    pub shard: ShardId,
    /// Who is asked.
    pub replica: ReplicaId,
    /// As it was told; what has changed since does not yield.
    pub last: (Term, Index),
    /// To whom, in a newer term than this.
    pub to: ReplicaId,
    pub term: Term,
}

/// What one replica is to become.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Choose {
    pub shard: ShardId,
    /// Who is asked.
    pub replica: ReplicaId,
    /// As it was told; what has changed since is not chosen.
    pub last: (Term, Index),
    pub term: Term,
    pub learners: Vec<ReplicaId>,
    pub epoch: Epoch,
}

impl Choose {
    /// What the replica is to do.
    #[must_use]
    pub fn force(&self) -> Force {
        Force {
            term: self.term,
            learners: self.learners.clone(),
            epoch: self.epoch,
        }
    }

    fn is_sound(&self) -> bool {
        let numbers = [self.term.0, self.epoch.0];
        let learners = self.learners.len() < MEMBERS_MAX;
        learners && self.term > Term(0) && numbers.iter().all(|&number| number <= NUMBER_MAX)
    }
}

impl RecoverQuestion {
    /// The question as bytes.
    ///
    /// # Errors
    /// When it is larger than anything that is encoded.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        encode(self)
    }

    /// Reads what [`RecoverQuestion::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of another version, damaged, or ask what no node asks.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let question: Self = decode(bytes)?;
        let (count, is_sound) = match &question {
            Self::Tell { lost, groups, .. } => (groups.len(), lost.len() <= NODES_MAX),
            Self::Yield(all) => (all.len(), all.iter().all(|one| one.term.0 <= NUMBER_MAX)),
            Self::Choose(all) => (all.len(), all.iter().all(Choose::is_sound)),
            Self::Settle(recovery) => (0, recovery.lost.len() <= NODES_MAX),
        };
        match () {
            () if count > GROUPS_OF_QUESTION_MAX => Err(WireError::Unsound("number of groups")),
            () if !is_sound => Err(WireError::Unsound("term, epoch or number of nodes")),
            () => Ok(question),
        }
    }
}

impl RecoverAnswer {
    /// The answer as bytes.
    ///
    /// # Errors
    /// When it is larger than anything that is encoded.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        encode(self)
    }

    /// Reads what [`RecoverAnswer::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of another version, damaged, or say what no node says.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let answer: Self = decode(bytes)?;
        let (count, is_sound) = match &answer {
            Self::Told { linked, groups, .. } => {
                let mut told = groups.iter().filter_map(|(_, told)| told.as_ref());
                let is_sound = linked.len() <= NODES_MAX && told.all(is_sound_told);
                (groups.len(), is_sound)
            }
            Self::Yielded(groups) | Self::Chosen(groups) => (groups.len(), true),
            Self::Settled(_) => (0, true),
        };
        match () {
            () if count > GROUPS_OF_QUESTION_MAX => Err(WireError::Unsound("number of groups")),
            () if !is_sound => Err(WireError::Unsound("replica")),
            () => Ok(answer),
        }
    }
}
