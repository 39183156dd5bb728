//! What nodes with suspects ask each other, and the answers, as bytes. Reads nothing that no node says.

use super::Told;
use crate::replica::NUMBER_MAX;
use crate::steward::{decode, encode, WireError};
use crate::topology::REPLICAS_OF_SHARD_MAX;
use crate::types::{Index, ReplicaId, ShardId, Term};
use bincode::{Decode, Encode};

/// Groups of one question; others are asked about in the next round.
pub const GROUPS_OF_QUESTION_MAX: usize = 1024;

/// A question about many groups at once.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum SuspectsQuestion {
    /// How the replicas of these groups stand.
    Tell(Vec<ShardId>),
    /// Whether these replicas agree to an election.
    Agree(Vec<Agree>),
}

/// What one replica is asked to agree to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Agree {
    pub shard: ShardId,
    /// Who is asked.
    pub replica: ReplicaId,
    /// As it was told; what has changed since does not agree.
    pub suspect: bool,
    pub last: (Term, Index),
    /// Who is to be elected, in a newer term than this.
    pub elected: ReplicaId,
    pub term: Term,
}

/// The answer to a question of the same kind.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum SuspectsAnswer {
    Told(Vec<(ShardId, Option<Told>)>),
    /// The groups whose replicas agree.
    Agreed(Vec<ShardId>),
}

/// Whether a replica can stand so.
pub(crate) fn is_sound_told(told: &Told) -> bool {
    let numbers = [told.term.0, told.last.0 .0, told.last.1 .0, told.replica.0];
    let lists = [
        &told.members.voters,
        &told.members.outgoing,
        &told.members.learners,
        &told.members.learners_next,
    ];
    numbers.iter().all(|&number| number <= NUMBER_MAX)
        && lists.iter().all(|list| list.len() <= REPLICAS_OF_SHARD_MAX)
}

impl SuspectsQuestion {
    /// The question as bytes.
    ///
    /// # Errors
    /// When it is larger than anything that is encoded.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        encode(self)
    }

    /// Reads what [`SuspectsQuestion::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of another version, damaged, or ask what no node asks.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let question: Self = decode(bytes)?;
        let (count, is_sound) = match &question {
            Self::Tell(groups) => (groups.len(), true),
            Self::Agree(all) => (all.len(), all.iter().all(|one| one.term.0 <= NUMBER_MAX)),
        };
        match () {
            () if count > GROUPS_OF_QUESTION_MAX => Err(WireError::Unsound("number of groups")),
            () if !is_sound => Err(WireError::Unsound("term")),
            () => Ok(question),
        }
    }
}

impl SuspectsAnswer {
    /// The answer as bytes.
    ///
    /// # Errors
    /// When it is larger than anything that is encoded.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        encode(self)
    }

    /// Reads what [`SuspectsAnswer::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of another version, damaged, or say what no node says.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let answer: Self = decode(bytes)?;
        let (count, is_sound) = match &answer {
            Self::Told(all) => {
                let mut told = all.iter().filter_map(|(_, told)| told.as_ref());
                (all.len(), told.all(is_sound_told))
            }
            Self::Agreed(groups) => (groups.len(), true),
        };
        match () {
            () if count > GROUPS_OF_QUESTION_MAX => Err(WireError::Unsound("number of groups")),
            () if !is_sound => Err(WireError::Unsound("replica")),
            () => Ok(answer),
        }
    }
}
