//! What follows from what the copies of a shard say of their digests. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ringfort_cluster::{Index, NodeId, ReplicaId, ShardId};

use crate::node::digests::{Digest, DigestAnswer};
use crate::node::operator::{VerifiedReplica, VerifiedShard, VerifyView};

/// How a copy stands, as far as was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It has not agreed to await the mark, and why.
    Asked(String),
    /// It awaits the mark. The last entry that it has applied.
    Awaiting(Index),
    /// It adds up what is behind the entry.
    Walking(Index),
    Done(Index, Digest),
    /// It changed too much to be compared this time: it may be the next time.
    Missed(String),
    Failed(String),
}

impl Stand {
    /// Nothing more is to be heard of it.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Done(..) | Self::Missed(_) | Self::Failed(_))
    }

    /// Its node may await the mark still when all is over.
    pub fn is_left_open(&self) -> bool {
        matches!(self, Self::Awaiting(_) | Self::Missed(_))
    }

    pub fn awaits(&self) -> bool {
        matches!(self, Self::Awaiting(_))
    }

    /// It has agreed to the comparison, and is not done.
    pub fn is_begun(&self) -> bool {
        matches!(self, Self::Awaiting(_) | Self::Walking(_))
    }

    /// The entry behind which it looks.
    pub fn index(&self) -> Option<Index> {
        match self {
            Self::Walking(index) | Self::Done(index, _) => Some(*index),
            _ => None,
        }
    }
}

/// A copy of a shard.
#[derive(Clone, Debug)]
pub struct Copy {
    pub replica: ReplicaId,
    pub node: NodeId,
    /// It may be so new that it has got nothing yet.
    pub votes: bool,
    pub stand: Stand,
}

impl Copy {
    /// It awaits a mark, and comes no nearer to it: one that has a vote should; another may still be waiting for a snapshot.
    pub fn give_up(&mut self) {
        if let Stand::Awaiting(applied) = self.stand {
            let why = format!("it has not come to the entry: its last is {applied}");
            self.stand = match self.votes {
                true => Stand::Failed(why),
                false => Stand::Missed(why),
            };
        }
    }

    /// Takes an answer in. Returns whether the copy is alive and moves: it has come further, or is adding up.
    pub fn heard(&mut self, answer: DigestAnswer) -> bool {
        let next = match answer {
            DigestAnswer::Awaiting(replica, _) if replica != self.replica => {
                Stand::Missed(format!("the node has replica {replica} in its place"))
            }
            DigestAnswer::Awaiting(_, applied) => Stand::Awaiting(applied),
            DigestAnswer::Walking(index, _) => {
                self.stand = Stand::Walking(index);
                return true;
            }
            DigestAnswer::Done { index, sum, keys } => Stand::Done(index, Digest { sum, keys }),
            DigestAnswer::Busy(why) => Stand::Asked(why),
            DigestAnswer::Failed(why) => Stand::Missed(why),
            DigestAnswer::Marked(_) => Stand::Failed("it gives another answer".into()),
        };
        let moves = next != self.stand;
        self.stand = next;
        moves
    }
}

/// Copies that await a mark which the others have passed, and that have themselves applied entries behind it, will never meet it.
pub fn note_passed_by(copies: &mut [Copy]) {
    let Some(index) = copies.iter().filter_map(|copy| copy.stand.index()).min() else {
        return;
    };
    for copy in copies {
        if matches!(copy.stand, Stand::Awaiting(applied) if applied >= index) {
            let why = format!("it got past entry {index} by a snapshot: compare again");
            copy.stand = Stand::Missed(why);
        }
    }
}

/// Whether the mark that was put into the log at this index went with its leader: somebody has come further and nobody has met it.
pub fn is_mark_lost(copies: &[Copy], index: Index) -> bool {
    let met = copies.iter().any(|copy| copy.stand.index().is_some());
    let is_behind =
        |copy: &Copy| matches!(copy.stand, Stand::Awaiting(applied) if applied >= index);
    !met && copies.iter().any(is_behind)
}

/// Whether to compare a shard again, where that was `found` of its copies and the topology has these replicas now: it was not all compared,
/// and what kept it from being so may have passed. Copies that differ do so whatever became of the others.
pub fn is_worth_again(copies: &[Copy], found: &VerifiedShard, now: &BTreeSet<ReplicaId>) -> bool {
    let has_passed = |(copy, shown): (&Copy, &VerifiedReplica)| match copy.stand {
        Stand::Failed(_) | Stand::Asked(_) => !now.contains(&copy.replica),
        _ => shown.digest.is_none(),
    };
    let mut pairs = copies.iter().zip(&found.replicas);
    verdict(found) == Verdict::Incomplete && (copies.is_empty() || pairs.any(has_passed))
}

/// What was found of a shard. Compared is what most copies looked at, the state behind one entry.
pub fn verified(shard: ShardId, copies: &[Copy]) -> VerifiedShard {
    let mut looked = BTreeMap::<Index, usize>::new();
    for copy in copies {
        if let Stand::Done(index, _) = copy.stand {
            *looked.entry(index).or_default() += 1;
        }
    }
    let index = looked.into_iter().max_by_key(|&(_, count)| count);
    let index = index.map_or(Index::ZERO, |(index, _)| index);
    VerifiedShard {
        shard: u32::from(shard.0),
        index: index.0,
        replicas: copies.iter().map(|copy| shown(copy, index)).collect(),
    }
}

fn shown(copy: &Copy, index: Index) -> VerifiedReplica {
    let (digest, error) = match &copy.stand {
        Stand::Done(at, digest) if *at == index => (Some(*digest), None),
        Stand::Done(at, _) => (
            None,
            Some(format!(
                "it looked at the state behind entry {at}: compare again"
            )),
        ),
        Stand::Asked(why) | Stand::Missed(why) | Stand::Failed(why) => (None, Some(why.clone())),
        Stand::Awaiting(applied) => (
            None,
            Some(format!(
                "it has not come to the entry in time: its last is {applied}"
            )),
        ),
        Stand::Walking(_) => (None, Some("it was not done in time".into())),
    };
    VerifiedReplica {
        replica: copy.replica.get(),
        node: copy.node.to_string(),
        digest: digest.map(|digest| digest.to_string()),
        keys: digest.map_or(0, |digest| digest.keys),
        error,
    }
}

#[derive(PartialEq, Eq)]
enum Verdict {
    Equal,
    Differ,
    Incomplete,
}

fn verdict(shard: &VerifiedShard) -> Verdict {
    let digests = || shard.replicas.iter().map(|copy| copy.digest.as_ref());
    let first = digests().flatten().next();
    match () {
        () if digests().flatten().any(|digest| Some(digest) != first) => Verdict::Differ,
        () if first.is_none() || digests().any(|digest| digest.is_none()) => Verdict::Incomplete,
        () => Verdict::Equal,
    }
}

/// All that was found, counted.
pub fn view(mut shards: Vec<VerifiedShard>) -> VerifyView {
    shards.sort_by_key(|shard| shard.shard);
    let mut view = VerifyView::default();
    for shard in &shards {
        let count = match verdict(shard) {
            Verdict::Equal => &mut view.equal,
            Verdict::Differ => &mut view.differ,
            Verdict::Incomplete => &mut view.incomplete,
        };
        *count += 1;
    }
    view.shards = shards;
    view
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies<const N: usize>(stands: [Stand; N]) -> Vec<Copy> {
        let copy = |(number, stand): (u64, Stand)| Copy {
            replica: ReplicaId(number + 1),
            node: NodeId(u128::from(number) + 1),
            votes: true,
            stand,
        };
        (0..).zip(stands).map(copy).collect()
    }

    fn done(index: u64, sum: u128) -> Stand {
        Stand::Done(Index(index), Digest { sum, keys: 7 })
    }

    fn counts(stands: [Stand; 3]) -> (u32, u32, u32) {
        let view = view(vec![verified(ShardId(4), &copies(stands))]);
        assert_eq!((view.shards.len(), view.shards[0].shard), (1, 4));
        (view.equal, view.differ, view.incomplete)
    }

    #[test]
    fn copies_are_equal_when_all_have_one_digest_of_one_entry() {
        assert_eq!(counts([done(5, 1), done(5, 1), done(5, 1)]), (1, 0, 0));
        assert_eq!(counts([done(5, 1), done(5, 2), done(5, 1)]), (0, 1, 0));
        assert_eq!(counts([done(5, 1), done(6, 1), done(5, 1)]), (0, 0, 1));
    }

    #[test]
    fn copies_that_differ_are_told_also_where_one_is_missing() {
        let gone = || Stand::Failed("gone".into());
        assert_eq!(counts([done(5, 1), gone(), done(5, 2)]), (0, 1, 0));
        assert_eq!(counts([done(5, 1), gone(), done(5, 1)]), (0, 0, 1));
        assert_eq!(counts([gone(), gone(), gone()]), (0, 0, 1));
        assert_eq!(view(vec![verified(ShardId(0), &[])]).incomplete, 1);
    }

    #[test]
    fn every_copy_without_a_digest_says_why() {
        let stands = [
            Stand::Asked("busy".into()),
            Stand::Awaiting(Index(3)),
            Stand::Walking(Index(5)),
            Stand::Failed("gone".into()),
            done(9, 1),
            done(5, 1),
            done(5, 1),
        ];
        let shard = verified(ShardId(0), &copies(stands));
        assert_eq!(shard.index, 5);
        for copy in &shard.replicas {
            assert_ne!(copy.digest.is_some(), copy.error.is_some(), "{copy:?}");
        }
        assert_eq!(shard.replicas[5].keys, 7);
        let digest = shard.replicas[5].digest.as_ref().unwrap();
        assert_eq!(digest.len(), 40);
    }

    #[test]
    fn a_copy_that_got_past_the_mark_is_not_waited_for() {
        let mut all = copies([
            Stand::Walking(Index(5)),
            Stand::Awaiting(Index(4)),
            Stand::Awaiting(Index(5)),
        ]);
        note_passed_by(&mut all);
        assert!(all[1].stand.awaits());
        assert!(matches!(&all[2].stand, Stand::Missed(why) if why.contains("entry 5")));
    }

    #[test]
    fn a_mark_is_lost_when_somebody_came_further_and_nobody_met_it() {
        let lost = |stands| is_mark_lost(&copies(stands), Index(5));
        assert!(lost([Stand::Awaiting(Index(6)), Stand::Awaiting(Index(4))]));
        assert!(!lost([
            Stand::Awaiting(Index(4)),
            Stand::Awaiting(Index(4))
        ]));
        assert!(!lost([Stand::Awaiting(Index(6)), done(5, 1)]));
    }

    #[test]
    fn another_replica_in_the_place_of_the_one_asked_is_not_taken_for_it() {
        let mut all = copies([Stand::Asked(String::new())]);
        assert!(all[0].heard(DigestAnswer::Awaiting(ReplicaId(1), Index(3))));
        assert!(!all[0].heard(DigestAnswer::Awaiting(ReplicaId(1), Index(3))));
        assert!(all[0].heard(DigestAnswer::Awaiting(ReplicaId(1), Index(4))));
        all[0].heard(DigestAnswer::Awaiting(ReplicaId(9), Index(3)));
        assert!(matches!(&all[0].stand, Stand::Missed(why) if why.contains('9')));
    }

    #[test]
    fn a_shard_is_compared_again_when_what_kept_it_from_being_compared_may_have_passed() {
        let all: BTreeSet<ReplicaId> = (1..4).map(ReplicaId).collect();
        let is_again = |copies: &[Copy], now: &BTreeSet<ReplicaId>| {
            is_worth_again(copies, &verified(ShardId(4), copies), now)
        };
        let again = |stands| is_again(&copies::<3>(stands), &all);
        let missed = || Stand::Missed("moved".into());
        let failed = || Stand::Failed("down".into());
        assert!(!again([done(5, 1), done(5, 1), done(5, 1)]));
        assert!(again([done(5, 1), missed(), done(5, 1)]));
        assert!(again([done(5, 1), done(6, 1), done(5, 1)]));
        assert!(again([failed(), Stand::Awaiting(Index(3)), done(5, 1)]));
        assert!(!again([done(5, 1), failed(), done(5, 1)]));
        assert!(!again([done(5, 1), missed(), done(5, 2)]), "they differ");
        // The one that failed is none of the shard's any more.
        let now = (2..4).map(ReplicaId).collect();
        let stands = copies([failed(), done(5, 1), done(5, 1)]);
        assert!(is_again(&stands, &now));
    }
}
