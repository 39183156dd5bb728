//! Union, intersection and difference over weighted inputs. Knows no arguments and no replies.

use crate::store::listpack::Element;
use crate::store::{Set, ZSet};
use indexmap::IndexMap;
use std::cmp::Ordering;

/// Members with their scores, none twice, in the order in which they were found.
pub type Scored = Vec<(Box<[u8]>, f64)>;

/// One input of an operation.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    members: Members<'a>,
    /// Every score of this input counts so many times.
    pub weight: f64,
}

#[derive(Clone, Copy)]
enum Members<'a> {
    Absent,
    /// Every member has the score 1.
    Set(&'a Set),
    ZSet(&'a ZSet),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Union,
    Intersection,
    Difference,
}

/// How the weighted scores that a member has in several inputs become one.
#[derive(Clone, Copy)]
pub enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Operation {
    /// The result over these inputs; none of its scores is NaN.
    pub fn run(self, inputs: Vec<Input>, aggregate: Aggregate) -> Scored {
        match self {
            Operation::Union => union(inputs, aggregate),
            Operation::Intersection => {
                let mut result = Scored::new();
                intersect(inputs, aggregate, |member, score| {
                    result.push((member.to_box(), score));
                    true
                });
                result
            }
            Operation::Difference => difference(&inputs),
        }
    }

    /// How many members an intersection has; counts to `wanted`.
    pub fn count(self, inputs: Vec<Input>, wanted: usize) -> usize {
        debug_assert!(self == Operation::Intersection);
        let mut count = 0;
        intersect(inputs, Aggregate::Sum, |_, _| {
            count += 1;
            count < wanted
        });
        count
    }
}

/// A result in the order of a sorted set.
pub fn in_order(mut result: Scored) -> Scored {
    let by_score = |a: f64, b: f64| a.partial_cmp(&b).unwrap_or(Ordering::Equal);
    result.sort_unstable_by(|a, b| by_score(a.1, b.1).then_with(|| a.0.cmp(&b.0)));
    result
}

/// Adds up input after input, the smallest first: the order decides how sums are rounded.
fn union(mut inputs: Vec<Input>, aggregate: Aggregate) -> Scored {
    inputs.sort_by_key(Input::len);
    let mut union: IndexMap<Box<[u8]>, f64> = IndexMap::new();
    for input in inputs {
        input.for_each(|member, score| {
            let score = or_zero(score * input.weight);
            member.with_bytes(|bytes| match union.get_mut(bytes) {
                Some(sum) => *sum = aggregate.both(*sum, score),
                None => drop(union.insert(bytes.into(), score)),
            });
            true
        });
    }
    union.into_iter().collect()
}

/// Shows what all inputs have, with its score, as long as `show` says to go on.
fn intersect(
    mut inputs: Vec<Input>,
    aggregate: Aggregate,
    mut show: impl FnMut(Element<'_>, f64) -> bool,
) {
    inputs.sort_by_key(Input::len);
    let Some((smallest, others)) = inputs.split_first() else {
        return;
    };
    smallest.for_each(|member, score| {
        let mut sum = or_zero(score * smallest.weight);
        for other in others {
            match other.score(member) {
                Some(score) => sum = aggregate.both(sum, score * other.weight),
                None => return true,
            }
        }
        show(member, sum)
    });
}

/// What the first input has and no other.
fn difference(inputs: &[Input]) -> Scored {
    let mut result = Scored::new();
    let Some((first, others)) = inputs.split_first() else {
        return result;
    };
    first.for_each(|member, score| {
        if !others.iter().any(|other| other.score(member).is_some()) {
            result.push((member.to_box(), score));
        }
        true
    });
    result
}

impl<'a> Input<'a> {
    pub fn absent() -> Self {
        Self::of(Members::Absent)
    }

    pub fn set(set: &'a Set) -> Self {
        Self::of(Members::Set(set))
    }

    pub fn zset(zset: &'a ZSet) -> Self {
        Self::of(Members::ZSet(zset))
    }

    fn of(members: Members<'a>) -> Self {
        Self {
            members,
            weight: 1.0,
        }
    }

    fn len(&self) -> usize {
        match self.members {
            Members::Absent => 0,
            Members::Set(set) => set.len(),
            Members::ZSet(zset) => zset.len(),
        }
    }

    fn score(&self, member: Element<'_>) -> Option<f64> {
        match self.members {
            Members::Absent => None,
            Members::Set(set) => set.has(member).then_some(1.0),
            Members::ZSet(zset) => member.with_bytes(|bytes| zset.score(bytes)),
        }
    }

    /// Calls `each` with members and scores as long as it says to go on.
    fn for_each(&self, mut each: impl FnMut(Element<'a>, f64) -> bool) {
        match self.members {
            Members::Absent => {}
            Members::Set(set) => {
                set.iter().all(|member| each(member, 1.0));
            }
            Members::ZSet(zset) => {
                zset.iter().all(|(member, score)| each(member, score));
            }
        }
    }
}

impl Aggregate {
    fn both(self, a: f64, b: f64) -> f64 {
        match self {
            // Infinity and its opposite add up to 0, as in Redis.
            Aggregate::Sum => or_zero(a + b),
            // Comparisons that a NaN makes false keep what was there.
            Aggregate::Min if b < a => b,
            Aggregate::Max if b > a => b,
            Aggregate::Min | Aggregate::Max => a,
        }
    }
}

/// 0 times infinity has no value: it counts as 0, as in Redis.
fn or_zero(score: f64) -> f64 {
    if score.is_nan() {
        0.0
    } else {
        score
    }
}
