//! The small form of a sorted set: one listpack of member, score, member, score, in order. Knows no limits.
//!
//! Every operation walks; the owner keeps it short. Integral scores are listpack integers, others their
//! shortest decimal that reads back as the same double. As in Redis, -0 becomes 0.

use super::bounds::compare;
use crate::store::listpack::{self, Element, Listpack, Position, ELEMENT_OVERHEAD_MAX};
use crate::store::member_table::MemberTable;
use std::ops::Range;

/// The longest decimal that a score takes.
const SCORE_BYTES_MAX: usize = 24;

/// Up to here every integral double is an `i64` with the same value.
const INTEGRAL_SCORE_MAX: f64 = 4_611_686_018_427_387_904.0;

#[derive(Clone)]
pub(super) struct Compact {
    pairs: Listpack,
}

/// A member's place: its rank, its position in the listpack and its score.
pub(super) struct Place {
    pub rank: usize,
    pub score: f64,
    at: Position,
}

impl Compact {
    pub fn new() -> Self {
        Self {
            pairs: Listpack::new(),
        }
    }

    /// Takes a listpack from outside: pairs, readable scores, strictly in order, no member twice.
    pub fn from_listpack(pairs: Listpack) -> Option<Self> {
        let mut seen = MemberTable::with_capacity(0);
        let mut last: Option<(f64, Vec<u8>)> = None;
        let mut elements = pairs.iter();
        while let Some(member) = elements.next() {
            let member = member.to_vec();
            let score = parse_score(elements.next()?)?;
            if let Some((last_score, last_member)) = &last {
                if compare((*last_score, last_member), (score, &member)).is_ge() {
                    return None;
                }
            }
            seen.insert(&member, ()).ok()?;
            last = Some((score, member));
        }
        last.map(|_| Self { pairs })
    }

    pub fn listpack(&self) -> &Listpack {
        &self.pairs
    }

    pub fn len(&self) -> usize {
        self.pairs.len() / 2
    }

    pub fn heap_bytes(&self) -> usize {
        self.pairs.heap_bytes()
    }

    /// Whether the buffer can take one more member of so many bytes.
    pub fn has_room_for(&self, member_bytes: usize) -> bool {
        self.pairs
            .has_room_for(member_bytes + SCORE_BYTES_MAX + 2 * ELEMENT_OVERHEAD_MAX)
    }

    pub fn find(&self, member: &[u8]) -> Option<Place> {
        let needle = listpack::Needle::new(member);
        let mut next = self.pairs.first();
        let mut rank = 0;
        while let Some(at) = next {
            let score_at = self.score_position(at);
            if needle.matches(self.pairs.get(at)) {
                let score = self.score_at(score_at);
                return Some(Place { rank, score, at });
            }
            next = self.pairs.next(score_at);
            rank += 1;
        }
        None
    }

    /// Adds a member that is not there yet.
    pub fn insert(&mut self, member: &[u8], score: f64) {
        let mut text = ScoreText::new();
        let text = text.format(score);
        let mut next = self.pairs.first();
        while let Some(at) = next {
            let score_at = self.score_position(at);
            let here = self.score_at(score_at);
            let before = self
                .pairs
                .get(at)
                .with_bytes(|bytes| compare((here, bytes), (score, member)).is_lt());
            if !before {
                self.pairs.insert_before(at, text);
                self.pairs.insert_before(at, member);
                return;
            }
            next = self.pairs.next(score_at);
        }
        self.push(member, score);
    }

    /// Appends a member that comes after all others.
    pub fn push(&mut self, member: &[u8], score: f64) {
        self.pairs.push_back(member);
        self.pairs.push_back(ScoreText::new().format(score));
    }

    pub fn remove(&mut self, place: &Place) {
        self.pairs.remove_range(place.at, 2);
    }

    pub fn remove_ranks(&mut self, ranks: Range<usize>) {
        if let Some(at) = self.pairs.seek(2 * ranks.start as i64) {
            self.pairs.remove_range(at, 2 * ranks.len());
        }
    }

    /// How many members come first for which `before` holds.
    pub fn count(&self, mut before: impl FnMut(Element<'_>, f64) -> bool) -> usize {
        self.pairs(0..self.len())
            .take_while(|&(member, score)| before(member, score))
            .count()
    }

    /// Members and scores in order of rank; `ranks` must lie within the length.
    pub fn pairs(&self, ranks: Range<usize>) -> CompactPairs<'_> {
        let mut elements = self.pairs.iter();
        if ranks.start > 0 {
            elements.nth(2 * ranks.start - 1);
        }
        let behind = self.len() - ranks.end;
        if behind > 0 {
            elements.nth_back(2 * behind - 1);
        }
        CompactPairs {
            elements,
            left: ranks.len(),
        }
    }

    fn score_position(&self, member: Position) -> Position {
        self.pairs.next(member).expect("a score after each member")
    }

    fn score_at(&self, at: Position) -> f64 {
        stored_score(self.pairs.get(at))
    }
}

/// Members and scores by rank, from both ends.
#[derive(Clone)]
pub(super) struct CompactPairs<'a> {
    elements: listpack::Iter<'a>,
    left: usize,
}

impl<'a> Iterator for CompactPairs<'a> {
    type Item = (Element<'a>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let member = self.elements.next()?;
        Some((member, stored_score(self.elements.next()?)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for CompactPairs<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let score = stored_score(self.elements.next_back()?);
        Some((self.elements.next_back()?, score))
    }
}

/// Room to write a score in.
struct ScoreText {
    int: itoa::Buffer,
    real: ryu::Buffer,
}

impl ScoreText {
    fn new() -> Self {
        Self {
            int: itoa::Buffer::new(),
            real: ryu::Buffer::new(),
        }
    }

    fn format(&mut self, score: f64) -> &[u8] {
        let text = if score.fract() == 0.0 && score.abs() < INTEGRAL_SCORE_MAX {
            self.int.format(score as i64)
        } else {
            // Infinities included: they read back as themselves.
            self.real.format(score)
        };
        text.as_bytes()
    }
}

/// A score that this module wrote, or checked when it came in.
fn stored_score(element: Element<'_>) -> f64 {
    parse_score(element).expect("every second element is a score")
}

fn parse_score(element: Element<'_>) -> Option<f64> {
    let score = match element {
        Element::Int(value) => value as f64,
        Element::Bytes(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
    };
    (!score.is_nan()).then_some(score)
}
