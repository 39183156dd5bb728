//! The sorted set type: which encoding it is in, when that changes, and one interface to both. Knows no
//! commands.
//!
//! | encoding | while |
//! |---|---|
//! | listpack | at most `zset_max_listpack_entries`, none longer than `zset_max_listpack_value` bytes |
//! | skiplist | always; the name is Redis', the order is kept in a counted B+ tree |
//!
//! A sorted set never goes back to the smaller encoding while it lives, as in Redis, except where a command
//! stores a new one ([`ZSet::compact`]).
//!
//! Ranks count from the lowest (score, member). Ranges of every kind become a range of ranks first:
//! counting, reading in either direction and removing all go on from there.

mod bounds;
mod compact;
mod full;
#[cfg(test)]
mod tests;
mod tree;

pub use bounds::{LexBound, LexRange, ScoreBound, ScoreRange};

use super::listpack::{Element, Listpack};
use super::memory::allocation_bytes;
use super::{Limits, Rng};
use compact::Compact;
use full::Full;
use std::iter::FusedIterator;
use std::ops::Range;

/// Members with a score each, in order of (score, member). No score is NaN.
#[derive(Clone)]
pub struct ZSet(Encoded);

#[derive(Clone)]
enum Encoded {
    Compact(Compact),
    /// Boxed: most sorted sets are small, and each key carries this enum's size.
    Full(Box<Full>),
}

/// What a snapshot or DUMP keeps of a sorted set: enough to bring it back exactly.
pub enum ZSetView<'a> {
    /// Member, score, member, score, in order.
    Listpack(&'a Listpack),
    /// Members and scores in the order to restore them in, which is not that of rank.
    Table(&'a [(Box<[u8]>, f64)]),
}

/// The bytes or members given are not a sorted set: out of order, a member twice, a score that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a sorted set")]
pub struct BadZSet;

/// What [`ZSet::update`] did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Updated {
    /// The member is new.
    Added,
    /// The member's score is another one now.
    Changed,
    /// Nothing changed.
    Unchanged,
}

impl ZSet {
    /// An empty sorted set for `expected` members, the first of `first_bytes` bytes: where they cannot fit
    /// the listpack encoding it starts without.
    pub fn expecting(expected: usize, first_bytes: usize, limits: &Limits) -> Self {
        if expected <= limits.zset_max_listpack_entries as usize
            && first_bytes <= limits.zset_max_listpack_value as usize
            && limits.zset_max_listpack_entries > 0
        {
            Self(Encoded::Compact(Compact::new()))
        } else {
            Self(Encoded::Full(Box::new(Full::with_capacity(0))))
        }
    }

    /// To be called before `expected` members are added at once: a compact sorted set that those alone
    /// would outgrow changes its encoding.
    pub fn expect(&mut self, expected: usize, limits: &Limits) {
        if expected > limits.zset_max_listpack_entries as usize {
            self.become_full();
        }
    }

    /// A sorted set in the listpack encoding.
    pub fn from_listpack(pairs: Listpack) -> Result<Self, BadZSet> {
        let compact = Compact::from_listpack(pairs).ok_or(BadZSet)?;
        Ok(Self(Encoded::Compact(compact)))
    }

    /// A sorted set in the skiplist encoding, from members in the order of [`ZSetView::Table`].
    pub fn from_members<'a>(
        members: impl IntoIterator<Item = (&'a [u8], f64)>,
    ) -> Result<Self, BadZSet> {
        let full = Full::from_members(members.into_iter()).ok_or(BadZSet)?;
        Ok(Self(Encoded::Full(Box::new(full))))
    }

    pub fn view(&self) -> ZSetView<'_> {
        match &self.0 {
            Encoded::Compact(compact) => ZSetView::Listpack(compact.listpack()),
            Encoded::Full(full) => ZSetView::Table(full.as_slice()),
        }
    }

    /// The name that OBJECT ENCODING shows.
    pub fn encoding(&self) -> &'static str {
        match self.0 {
            Encoded::Compact(_) => "listpack",
            Encoded::Full(_) => "skiplist",
        }
    }

    /// Whether all is in one listpack: then [`ZSet::at`] and [`ZSet::score`] walk.
    pub fn is_compact(&self) -> bool {
        matches!(self.0, Encoded::Compact(_))
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Encoded::Compact(compact) => compact.len(),
            Encoded::Full(full) => full.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the allocator holds for this sorted set. O(1).
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Encoded::Compact(compact) => compact.heap_bytes(),
            Encoded::Full(full) => allocation_bytes(size_of::<Full>()) + full.heap_bytes(),
        }
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.0 {
            Encoded::Compact(compact) => compact.find(member).map(|place| place.score),
            Encoded::Full(full) => full.find(member).map(|index| full.at(index).1),
        }
    }

    /// How many members come before this one, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match &self.0 {
            Encoded::Compact(compact) => compact.find(member).map(|p| (p.rank, p.score)),
            Encoded::Full(full) => full
                .find(member)
                .map(|index| (full.rank_of(index), full.at(index).1)),
        }
    }

    /// Gives the member a score, adding it where it is not there; the encoding may change.
    ///
    /// `decide` sees the score the member has and answers the one it shall have, or none to leave all as
    /// it is. NaN counts as none: it has no place in the order.
    pub fn update(
        &mut self,
        member: &[u8],
        limits: &Limits,
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Updated {
        match &mut self.0 {
            Encoded::Compact(compact) => match compact.find(member) {
                Some(place) => match wanted(Some(place.score), decide) {
                    Some(score) => {
                        compact.remove(&place);
                        compact.insert(member, score);
                        Updated::Changed
                    }
                    None => Updated::Unchanged,
                },
                None => match wanted(None, decide) {
                    Some(score) => {
                        self.insert_compact(member, score, limits);
                        Updated::Added
                    }
                    None => Updated::Unchanged,
                },
            },
            Encoded::Full(full) => {
                let found = full.find(member);
                let current = found.map(|index| full.at(index).1);
                match (found, wanted(current, decide)) {
                    (_, None) => Updated::Unchanged,
                    (Some(index), Some(score)) => {
                        full.rescore(index, score);
                        Updated::Changed
                    }
                    (None, Some(score)) => {
                        full.insert(member, score);
                        Updated::Added
                    }
                }
            }
        }
    }

    /// Sets a member's score; a NaN is left out. See [`ZSet::update`].
    pub fn insert(&mut self, member: &[u8], score: f64, limits: &Limits) -> Updated {
        self.update(member, limits, |_| Some(score))
    }

    /// Takes a member out and answers its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.0 {
            Encoded::Compact(compact) => {
                let place = compact.find(member)?;
                compact.remove(&place);
                Some(place.score)
            }
            Encoded::Full(full) => full.find(member).map(|index| full.remove(index).1),
        }
    }

    /// The ranks of the members whose scores lie in `range`.
    pub fn ranks_by_score(&self, range: &ScoreRange) -> Range<usize> {
        let (start, end) = match &self.0 {
            Encoded::Compact(compact) => (
                compact.count(|_, score| range.starts_after(score)),
                compact.count(|_, score| !range.ends_before(score)),
            ),
            Encoded::Full(full) => (
                full.count_scores(|score| range.starts_after(score)),
                full.count_scores(|score| !range.ends_before(score)),
            ),
        };
        start..end.max(start)
    }

    /// The ranks of the members that lie in `range`. Means something only where all scores are alike.
    pub fn ranks_by_lex(&self, range: &LexRange<'_>) -> Range<usize> {
        let (start, end) = match &self.0 {
            Encoded::Compact(compact) => (
                compact.count(|member, _| member.with_bytes(|m| range.starts_after(m))),
                compact.count(|member, _| member.with_bytes(|m| !range.ends_before(m))),
            ),
            Encoded::Full(full) => (
                full.count_members(|member| range.starts_after(member)),
                full.count_members(|member| !range.ends_before(member)),
            ),
        };
        start..end.max(start)
    }

    /// Members and scores from `ranks.start` up to but without `ranks.end`; `.rev()` goes downwards.
    pub fn pairs(&self, ranks: Range<usize>) -> Pairs<'_> {
        let end = ranks.end.min(self.len());
        let ranks = ranks.start.min(end)..end;
        Pairs(match &self.0 {
            Encoded::Compact(compact) => Walk::Compact(compact.pairs(ranks)),
            Encoded::Full(full) => Walk::Full(full.pairs(ranks)),
        })
    }

    /// Members and scores from the lowest to the highest.
    pub fn iter(&self) -> Pairs<'_> {
        self.pairs(0..self.len())
    }

    /// Takes out the members with these ranks and answers how many they were.
    pub fn remove_ranks(&mut self, ranks: Range<usize>) -> usize {
        let end = ranks.end.min(self.len());
        let ranks = ranks.start.min(end)..end;
        let removed = ranks.len();
        match &mut self.0 {
            Encoded::Compact(compact) => compact.remove_ranks(ranks),
            Encoded::Full(full) => {
                for _ in ranks.clone() {
                    full.remove(full.index_at(ranks.start));
                }
            }
        }
        removed
    }

    /// Takes out the lowest member.
    pub fn pop_first(&mut self) -> Option<(Box<[u8]>, f64)> {
        (!self.is_empty()).then(|| self.pop(0))?
    }

    /// Takes out the highest member.
    pub fn pop_last(&mut self) -> Option<(Box<[u8]>, f64)> {
        let last = self.len().checked_sub(1)?;
        self.pop(last)
    }

    /// The member at `index`, which must be below [`ZSet::len`], in an order that depends on the
    /// operation history alone: for random picks. A walk for listpacks, else O(1).
    pub fn at(&self, index: usize) -> (Element<'_>, f64) {
        match &self.0 {
            Encoded::Compact(compact) => compact
                .pairs(index..compact.len())
                .next()
                .unwrap_or_else(|| panic!("member {index} of {}", compact.len())),
            Encoded::Full(full) => {
                let (member, score) = full.at(index);
                (Element::Bytes(member), score)
            }
        }
    }

    /// Any member, each as likely as the next; none when there is none.
    pub fn random(&self, rng: &mut Rng) -> Option<(Element<'_>, f64)> {
        let len = self.len();
        (len > 0).then(|| self.at(rng.below(len)))
    }

    /// Shows about `count` members and answers the cursor to go on from; 0 begins and 0 ends a walk.
    /// The listpack encoding shows all at once, as in Redis. Members that stay are never missed.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut show: impl FnMut(Element<'a>, f64),
    ) -> u64 {
        match &self.0 {
            Encoded::Compact(_) => {
                self.iter().for_each(|(member, score)| show(member, score));
                0
            }
            Encoded::Full(full) => full.scan(cursor, count, |member, score| {
                show(Element::Bytes(member), score)
            }),
        }
    }

    /// Goes back to the listpack encoding where `limits` allow it: for a sorted set that a command has
    /// built and is about to store.
    pub fn compact(&mut self, limits: &Limits) {
        let Encoded::Full(full) = &self.0 else {
            return;
        };
        let fits = |(member, _): &(Box<[u8]>, f64)| {
            member.len() <= limits.zset_max_listpack_value as usize
        };
        if full.len() > limits.zset_max_listpack_entries as usize
            || !full.as_slice().iter().all(fits)
        {
            return;
        }
        let mut pairs = Compact::new();
        for (member, score) in full.pairs(0..full.len()) {
            if !pairs.has_room_for(member.len()) {
                return;
            }
            pairs.push(member, score);
        }
        self.0 = Encoded::Compact(pairs);
    }

    fn pop(&mut self, rank: usize) -> Option<(Box<[u8]>, f64)> {
        match &mut self.0 {
            Encoded::Compact(compact) => {
                let (member, score) = compact.pairs(rank..rank + 1).next()?;
                let member = member.to_box();
                compact.remove_ranks(rank..rank + 1);
                Some((member, score))
            }
            Encoded::Full(full) => Some(full.remove(full.index_at(rank))),
        }
    }

    /// Adds a member that is not there to a sorted set in the listpack encoding.
    fn insert_compact(&mut self, member: &[u8], score: f64, limits: &Limits) {
        match &mut self.0 {
            Encoded::Compact(compact)
                if compact.len() < limits.zset_max_listpack_entries as usize
                    && member.len() <= limits.zset_max_listpack_value as usize
                    && compact.has_room_for(member.len()) =>
            {
                compact.insert(member, score);
            }
            _ => {
                self.become_full().insert(member, score);
            }
        }
    }

    /// Changes to the skiplist encoding, members by rank.
    fn become_full(&mut self) -> &mut Full {
        if let Encoded::Compact(compact) = &self.0 {
            let mut full = Box::new(Full::with_capacity(compact.len() + 1));
            for (member, score) in compact.pairs(0..compact.len()) {
                member.with_bytes(|bytes| full.insert(bytes, score));
            }
            self.0 = Encoded::Full(full);
        }
        match &mut self.0 {
            Encoded::Full(full) => full,
            Encoded::Compact(_) => unreachable!("it was just made one"),
        }
    }
}

impl Default for ZSet {
    fn default() -> Self {
        Self(Encoded::Compact(Compact::new()))
    }
}

impl std::fmt::Debug for ZSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.encoding())?;
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The score to set, if it is one and another than the current.
fn wanted(current: Option<f64>, decide: impl FnOnce(Option<f64>) -> Option<f64>) -> Option<f64> {
    decide(current).filter(|score| !score.is_nan() && current != Some(*score))
}

/// Members and scores by rank, from both ends; see [`ZSet::pairs`].
#[derive(Clone)]
pub struct Pairs<'a>(Walk<'a>);

#[derive(Clone)]
enum Walk<'a> {
    Compact(compact::CompactPairs<'a>),
    Full(full::FullPairs<'a>),
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Element<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Walk::Compact(pairs) => pairs.next(),
            Walk::Full(pairs) => pairs.next().map(|(m, score)| (Element::Bytes(m), score)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Walk::Compact(pairs) => pairs.size_hint(),
            Walk::Full(pairs) => pairs.size_hint(),
        }
    }
}

impl DoubleEndedIterator for Pairs<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Walk::Compact(pairs) => pairs.next_back(),
            Walk::Full(pairs) => pairs
                .next_back()
                .map(|(m, score)| (Element::Bytes(m), score)),
        }
    }
}

impl ExactSizeIterator for Pairs<'_> {}
impl FusedIterator for Pairs<'_> {}
