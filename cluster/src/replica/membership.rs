//! Who belongs to a shard, and what a change of that is: pure values, their encoding, and which changes are refused.
//! Knows nothing of the log that carries them.

use super::config::RestoreError;
use crate::codec::CodecError;
use crate::types::{Epoch, Index, ReplicaId, Term};
use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use raft::eraftpb::{self, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};

/// Replicas of one shard, learners included.
pub const MEMBERS_MAX: usize = 64;

/// Where the encoding of a membership once had the number of its voters. No shard had that many.
const VERSIONED: u64 = u64::MAX;

/// The encoding of a [`Membership`] behind [`VERSIONED`]. Without it: voters and learners, nothing else.
const MEMBERSHIP_VERSION: u8 = 1;

/// Who votes and who only learns, the state between two sets of voters included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    /// Who votes; while the membership is joint, who will vote alone after it.
    pub voters: Vec<ReplicaId>,
    /// While the membership is joint: who voted before. A majority of them is needed as well.
    pub outgoing: Vec<ReplicaId>,
    /// Who gets the log without having a say.
    pub learners: Vec<ReplicaId>,
    /// While the membership is joint: outgoing voters that will be learners after it.
    pub learners_next: Vec<ReplicaId>,
    /// How many changes led here. Messages carry it.
    pub epoch: Epoch,
}

impl Membership {
    /// Voters alone, before any change.
    #[must_use]
    pub fn of_voters(voters: impl IntoIterator<Item = ReplicaId>) -> Self {
        Self {
            voters: voters.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Whether a single replica decides alone.
    #[must_use]
    pub fn is_one_voter(&self) -> bool {
        self.voters.len() == 1 && self.outgoing.is_empty()
    }

    /// Whether two sets of voters decide together, in the middle of a replacement.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether a replica has a vote, also when it is about to lose it.
    #[must_use]
    pub fn votes(&self, id: ReplicaId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether a replica belongs to the shard at all.
    #[must_use]
    pub fn contains(&self, id: ReplicaId) -> bool {
        self.votes(id) || self.learners.contains(&id)
    }

    /// Whether nobody is known yet: the state of a replica that waits for its first snapshot.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.voters.is_empty()
    }

    /// The membership after a committed change; `None` when the change cannot be carried out, which leaves it as it was. What
    /// `raft` makes of the same change is compared with this (invariant 8), so that a replay needs no `raft`.
    #[must_use]
    pub fn after(&self, change: &MembershipChange) -> Option<Self> {
        let mut next = self.clone();
        match change {
            MembershipChange::Force {
                voter,
                learners,
                epoch,
            } => return self.after_force(*voter, learners, *epoch),
            MembershipChange::Leave if self.is_joint() => {
                next.outgoing.clear();
                next.learners.append(&mut next.learners_next);
            }
            MembershipChange::Leave => return None,
            _ if self.is_joint() => return None,
            MembershipChange::AddLearner(id) | MembershipChange::Demote(id) => next.learn(*id),
            MembershipChange::Promote(id) => next.vote(*id),
            MembershipChange::Remove(id) => {
                next.voters.retain(|member| member != id);
                next.learners.retain(|member| member != id);
            }
            MembershipChange::ChangeVoters { promote, demote } => {
                next.outgoing.clone_from(&self.voters);
                promote.iter().for_each(|id| next.vote(*id));
                demote.iter().for_each(|id| next.learn(*id));
            }
        }
        if next.voters.is_empty() {
            return None;
        }
        let Self {
            voters,
            outgoing,
            learners,
            learners_next,
            epoch,
        } = &mut next;
        for ids in [voters, outgoing, learners, learners_next] {
            ids.sort_unstable();
        }
        *epoch = epoch.next();
        Some(next)
    }

    fn after_force(&self, voter: ReplicaId, learners: &[ReplicaId], epoch: Epoch) -> Option<Self> {
        let mut next = Self {
            learners: learners.to_vec(),
            epoch: epoch.max(self.epoch.next()),
            ..Self::of_voters([voter])
        };
        next.learners.sort_unstable();
        next.check().is_ok().then_some(next)
    }

    fn vote(&mut self, id: ReplicaId) {
        self.learners.retain(|member| *member != id);
        self.learners_next.retain(|member| *member != id);
        if !self.voters.contains(&id) {
            self.voters.push(id);
        }
    }

    fn learn(&mut self, id: ReplicaId) {
        self.voters.retain(|member| *member != id);
        let place = match self.outgoing.contains(&id) {
            true => &mut self.learners_next,
            false => &mut self.learners,
        };
        if !place.contains(&id) {
            place.push(id);
        }
    }

    pub(super) fn check(&self) -> Result<(), RestoreError> {
        let mut ids: Vec<ReplicaId> = [&self.voters, &self.learners, &self.learners_next]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        let outgoing_fits = distinct(&self.outgoing)
            && self.learners.iter().all(|id| !self.outgoing.contains(id))
            && self
                .learners_next
                .iter()
                .all(|id| self.outgoing.contains(id));
        let zero = ids.iter().chain(&self.outgoing).any(|id| id.get() == 0);
        ids.sort_unstable();
        let members = ids.len() + self.outgoing.len();
        if self.voters.is_empty()
            || !distinct(&ids)
            || zero
            || !outgoing_fits
            || members > MEMBERS_MAX
        {
            return Err(RestoreError::Membership(format!("{self:?}")));
        }
        Ok(())
    }

    pub(super) fn to_raft(&self) -> eraftpb::ConfState {
        let numbers = |ids: &[ReplicaId]| ids.iter().map(|id| id.get()).collect();
        eraftpb::ConfState {
            voters: numbers(&self.voters),
            voters_outgoing: numbers(&self.outgoing),
            learners: numbers(&self.learners),
            learners_next: numbers(&self.learners_next),
            ..Default::default()
        }
    }

    /// From `raft`'s form, whose sets come in no particular order.
    pub(super) fn from_raft(state: &eraftpb::ConfState, epoch: Epoch) -> Self {
        let ids = |numbers: &[u64]| {
            let mut ids: Vec<ReplicaId> = numbers.iter().copied().map(ReplicaId).collect();
            ids.sort_unstable();
            ids
        };
        Self {
            voters: ids(&state.voters),
            outgoing: ids(&state.voters_outgoing),
            learners: ids(&state.learners),
            learners_next: ids(&state.learners_next),
            epoch,
        }
    }
}

fn distinct(ids: &[ReplicaId]) -> bool {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).all(|pair| pair[0] != pair[1])
}

impl Encode for Membership {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        VERSIONED.encode(encoder)?;
        MEMBERSHIP_VERSION.encode(encoder)?;
        self.epoch.encode(encoder)?;
        self.voters.encode(encoder)?;
        self.outgoing.encode(encoder)?;
        self.learners.encode(encoder)?;
        self.learners_next.encode(encoder)
    }
}

impl<Context> Decode<Context> for Membership {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let first = u64::decode(decoder)?;
        if first != VERSIONED {
            let voters = ids(decoder, first)?;
            let learners = counted_ids(decoder)?;
            return Ok(Self {
                voters,
                learners,
                ..Self::default()
            });
        }
        if u8::decode(decoder)? != MEMBERSHIP_VERSION {
            return Err(DecodeError::Other("membership of a newer ringfort"));
        }
        Ok(Self {
            epoch: Epoch::decode(decoder)?,
            voters: counted_ids(decoder)?,
            outgoing: counted_ids(decoder)?,
            learners: counted_ids(decoder)?,
            learners_next: counted_ids(decoder)?,
        })
    }
}

bincode::impl_borrow_decode!(Membership);

fn counted_ids<D: Decoder>(decoder: &mut D) -> Result<Vec<ReplicaId>, DecodeError> {
    let count = u64::decode(decoder)?;
    ids(decoder, count)
}

fn ids<D: Decoder>(decoder: &mut D, count: u64) -> Result<Vec<ReplicaId>, DecodeError> {
    if count > MEMBERS_MAX as u64 {
        return Err(DecodeError::Other("more members than a shard can have"));
    }
    (0..count)
        .map(|_| u64::decode(decoder).map(ReplicaId))
        .collect()
}

/// One step from a membership to the next.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum MembershipChange {
    /// A new replica, which gets the log and has no vote. The first step of every newcomer.
    AddLearner(ReplicaId),
    /// A learner that has caught up gets a vote.
    Promote(ReplicaId),
    /// A voter becomes a learner.
    Demote(ReplicaId),
    /// A learner leaves the shard. A voter is demoted first.
    Remove(ReplicaId),
    /// Learners that have caught up get votes while voters become learners, all at once. Leads into the joint state; the
    /// leader leaves it again by itself.
    ChangeVoters {
        promote: Vec<ReplicaId>,
        demote: Vec<ReplicaId>,
    },
    /// Ends the joint state. Proposed by the leader itself.
    Leave,
    /// By the word of the operator, from whatever there was: the others are gone for ever. Only [`force`](super::Replica::force) makes it.
    Force {
        voter: ReplicaId,
        learners: Vec<ReplicaId>,
        /// The membership is of this epoch, or of a newer one.
        epoch: Epoch,
    },
}

impl MembershipChange {
    pub(super) fn to_raft(&self) -> ConfChangeV2 {
        let change = |id: &ReplicaId, kind| ConfChangeSingle {
            node_id: id.get(),
            change_type: kind,
            ..Default::default()
        };
        let vote = |id| change(id, ConfChangeType::AddNode);
        let learn = |id| change(id, ConfChangeType::AddLearnerNode);
        let mut changes: Vec<_> = self.promoted().iter().map(vote).collect();
        changes.extend(self.demoted().iter().map(learn));
        match self {
            Self::AddLearner(id) => changes.push(learn(id)),
            Self::Remove(id) => changes.push(change(id, ConfChangeType::RemoveNode)),
            _ => {}
        }
        let transition = match self {
            // Left explicitly: a leader that dies in between may never leave by itself.
            Self::ChangeVoters { .. } => ConfChangeTransition::Explicit,
            _ => ConfChangeTransition::Auto,
        };
        ConfChangeV2 {
            changes: changes.into(),
            transition,
            ..Default::default()
        }
    }

    fn promoted(&self) -> &[ReplicaId] {
        match self {
            Self::Promote(id) => std::slice::from_ref(id),
            Self::ChangeVoters { promote, .. } => promote,
            _ => &[],
        }
    }

    fn demoted(&self) -> &[ReplicaId] {
        match self {
            Self::Demote(id) => std::slice::from_ref(id),
            Self::ChangeVoters { demote, .. } => demote,
            _ => &[],
        }
    }

    /// The voters that decide alone after the change.
    fn voters_after(&self, membership: &Membership) -> Vec<ReplicaId> {
        let mut voters = membership.voters.clone();
        voters.retain(|id| !self.demoted().contains(id));
        voters.extend(self.promoted());
        voters
    }
}

/// How far a member of the shard is, as its leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched {
    /// The last index known to be written there.
    pub index: Index,
    /// Whether it takes the log entry by entry, neither searching for its place nor waiting for a snapshot.
    pub follows: bool,
    /// Whether it has answered the leader lately.
    pub answers: bool,
}

impl Matched {
    /// Entries that it lacks of a log that ends at `last`.
    fn behind(self, last: Index) -> u64 {
        last.get().saturating_sub(self.index.get())
    }

    /// Whether it lacks nothing but the newest entries, at most `lag_max`, and is there: a group might wait for the vote of one that is not.
    pub(super) fn has_caught_up(self, last: Index, lag_max: u64) -> bool {
        self.answers && self.follows && self.behind(last) <= lag_max
    }
}

/// What a change is judged by.
pub(super) struct Situation<'a> {
    pub membership: &'a Membership,
    pub leader: ReplicaId,
    pub first_index: Index,
    pub last_index: Index,
    pub lag_max: u64,
    pub progress: &'a dyn Fn(ReplicaId) -> Option<Matched>,
}

/// Why a change of the membership is refused. It is certain then that it will not take effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Another replica leads, or none.
    #[error("this replica does not lead the shard")]
    NotLeader,
    /// A write is under way, too much is uncommitted, or leadership is being handed over: try again soon.
    #[error("the shard is busy")]
    Busy,
    /// The leader has not applied an entry of its own term: try again soon.
    #[error("the leader is too new to change the membership")]
    TooNew,
    /// One change at a time (invariant 8).
    #[error("another change of the membership is under way")]
    Running,
    /// In the joint state nothing but its end is possible.
    #[error("a replacement has not ended yet")]
    Joint,
    /// There is no joint state to leave.
    #[error("no replacement is under way")]
    NotJoint,
    /// The id is in use. Ids are never reused (invariant 7).
    #[error("replica {0} belongs to the shard already")]
    Duplicate(ReplicaId),
    /// Not a member.
    #[error("replica {0} does not belong to the shard")]
    Unknown(ReplicaId),
    /// Only learners are promoted and removed.
    #[error("replica {0} is not a learner: demote it first")]
    NotLearner(ReplicaId),
    /// Only voters are demoted.
    #[error("replica {0} is not a voter")]
    NotVoter(ReplicaId),
    /// A leader does not take its own vote.
    #[error("replica {0} leads the shard: transfer the leadership first")]
    Leader(ReplicaId),
    /// Nobody could decide any more.
    #[error("replica {0} is the last voter")]
    LastVoter(ReplicaId),
    /// The learner would hold up commits (invariant 8).
    #[error("replica {id} has not caught up: it is {behind} entries behind (at most {max}) or waits for a snapshot, or is silent")]
    NotCaughtUp {
        id: ReplicaId,
        behind: u64,
        max: u64,
    },
    /// Too few of the new voters have what the leader no longer keeps in its log.
    #[error(
        "a majority of the new voters has only index {matched}, and the log begins with {first}"
    )]
    BeforeLog { matched: Index, first: Index },
    /// [`MEMBERS_MAX`].
    #[error("a shard has at most {MEMBERS_MAX} replicas")]
    TooMany,
    /// The same replica in both lists, or twice in one.
    #[error("replica {0} is named twice")]
    Twice(ReplicaId),
    /// Neither promotes nor demotes anybody.
    #[error("the change changes nothing")]
    Nothing,
    /// Nobody proposes that.
    #[error("a majority is not overruled by a proposal")]
    Forced,
    /// The id 0 stands for nobody.
    #[error("0 is not the id of a replica")]
    NoId,
}

/// Decides whether a change may be proposed (invariant 8). Whether one is under way is the caller's to know.
pub(super) fn check_change(
    change: &MembershipChange,
    situation: &Situation<'_>,
) -> Result<(), ChangeError> {
    let membership = situation.membership;
    if *change == MembershipChange::Leave {
        return match membership.is_joint() {
            true => Ok(()),
            false => Err(ChangeError::NotJoint),
        };
    }
    if membership.is_joint() {
        return Err(ChangeError::Joint);
    }
    match *change {
        MembershipChange::Force { .. } => return Err(ChangeError::Forced),
        MembershipChange::AddLearner(id) if id.get() == 0 => return Err(ChangeError::NoId),
        MembershipChange::AddLearner(id) if membership.contains(id) => {
            return Err(ChangeError::Duplicate(id))
        }
        MembershipChange::AddLearner(_) => {
            let members = membership.voters.len() + membership.learners.len();
            return check_count(members + 1, membership.voters.len());
        }
        MembershipChange::Remove(id) => {
            check_leaves(id, situation)?;
            return check_learner(id, membership);
        }
        _ => {}
    }
    check_voters(change, situation)
}

/// In the joint state voters count twice.
fn check_count(members: usize, voters: usize) -> Result<(), ChangeError> {
    match members + voters <= MEMBERS_MAX {
        true => Ok(()),
        false => Err(ChangeError::TooMany),
    }
}

fn check_voters(change: &MembershipChange, situation: &Situation<'_>) -> Result<(), ChangeError> {
    let membership = situation.membership;
    let (promoted, demoted) = (change.promoted(), change.demoted());
    let mut named: Vec<ReplicaId> = promoted.iter().chain(demoted).copied().collect();
    named.sort_unstable();
    if let Some(pair) = named.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(ChangeError::Twice(pair[0]));
    }
    let voters = change.voters_after(membership);
    for &id in demoted {
        check_leaves(id, situation)?;
        if !membership.voters.contains(&id) {
            return Err(ChangeError::NotVoter(id));
        }
        if voters.is_empty() {
            return Err(ChangeError::LastVoter(id));
        }
    }
    for &id in promoted {
        check_caught_up(id, situation)?;
    }
    if named.is_empty() {
        return Err(ChangeError::Nothing);
    }
    let members = membership.voters.len() + membership.learners.len();
    check_count(members, membership.voters.len().max(voters.len()))?;
    check_quorum(&voters, situation)
}

fn check_leaves(id: ReplicaId, situation: &Situation<'_>) -> Result<(), ChangeError> {
    if !situation.membership.contains(id) {
        return Err(ChangeError::Unknown(id));
    }
    match id == situation.leader {
        true => Err(ChangeError::Leader(id)),
        false => Ok(()),
    }
}

fn check_learner(id: ReplicaId, membership: &Membership) -> Result<(), ChangeError> {
    if !membership.contains(id) {
        return Err(ChangeError::Unknown(id));
    }
    match membership.learners.contains(&id) {
        true => Ok(()),
        false => Err(ChangeError::NotLearner(id)),
    }
}

fn check_caught_up(id: ReplicaId, situation: &Situation<'_>) -> Result<(), ChangeError> {
    check_learner(id, situation.membership)?;
    let matched = (situation.progress)(id).ok_or(ChangeError::Unknown(id))?;
    match matched.has_caught_up(situation.last_index, situation.lag_max) {
        true => Ok(()),
        false => Err(ChangeError::NotCaughtUp {
            id,
            behind: matched.behind(situation.last_index),
            max: situation.lag_max,
        }),
    }
}

/// What a majority of the new voters has must reach to the leader's log, or commits would wait for snapshots.
fn check_quorum(voters: &[ReplicaId], situation: &Situation<'_>) -> Result<(), ChangeError> {
    let mut matched: Vec<Index> = voters
        .iter()
        .map(|&id| (situation.progress)(id).map_or(Index::ZERO, |matched| matched.index))
        .collect();
    matched.sort_unstable();
    // The highest index that a majority has: as many are at or above it as a majority needs.
    let place = matched.len() - (matched.len() / 2 + 1);
    let matched = matched.get(place).copied().unwrap_or_default();
    match matched.next() >= situation.first_index {
        true => Ok(()),
        false => Err(ChangeError::BeforeLog {
            matched,
            first: situation.first_index,
        }),
    }
}

/// A change that is on its way: the place in the log where it stands as long as no other leader takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeTicket {
    /// Where the change was put into the log.
    pub index: Index,
    /// The term in which that was done.
    pub term: Term,
}

/// What became of a proposed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// Its place in the log has not been reached.
    Pending,
    /// It took effect.
    Done,
    /// Another entry has its place, an empty one perhaps: it never took effect and never will.
    Lost,
}

impl ChangeTicket {
    /// What an entry that is being applied says about the change.
    #[must_use]
    pub fn outcome(&self, entry: &super::LogEntry) -> ChangeOutcome {
        if entry.index < self.index {
            return ChangeOutcome::Pending;
        }
        let kept = entry.index == self.index
            && entry.term == self.term
            && entry.kind == super::EntryKind::Membership;
        match kept {
            true => ChangeOutcome::Done,
            false => ChangeOutcome::Lost,
        }
    }
}

/// A committed change cannot be read. This replica cannot go on: its membership would differ from the others'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the membership change at index {index} cannot be read ({source}); this replica must be rebuilt from its peers")]
pub struct UnreadableChange {
    pub index: Index,
    pub source: CodecError,
}
