//! Whether a history is linearizable: some order of the operations, each at an instant between its call and its answer,
//! explains every answer. The search of Wing and Gong with Lowe's memory of states that were tried before, for one key.
//!
//! An operation of unknown outcome may be placed anywhere after its call, once, or left out. A refused one takes no part.

use super::history::{Operation, Outcome};
use super::time::Micros;
use std::collections::HashSet;
use std::hash::Hash;

/// What the commands on one key must do.
pub trait Model {
    type State: Clone + Eq + Hash + Default;
    type Command;
    type Reply: PartialEq;

    /// The state afterwards, and the answer.
    fn apply(&self, state: &Self::State, command: &Self::Command) -> (Self::State, Self::Reply);

    /// Whether the command never changes anything: one of unknown outcome need not be looked at then.
    fn changes_nothing(&self, command: &Self::Command) -> bool;
}

/// The judgement on a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    /// No order explains it. The place (in the history) of the earliest answer that no order tried could get past.
    Violation {
        stuck_at: usize,
    },
    /// The search was given up at its limit.
    Undecided,
}

/// States of the search that are remembered at most; a history that needs more is `Undecided`.
pub const STATES_MAX: usize = 1_000_000;

/// Judges the operations of one key, which stand in the order of their calls.
pub fn check<M: Model>(model: &M, operations: &[Operation<M::Command, M::Reply>]) -> Verdict {
    check_within(model, operations, STATES_MAX)
}

/// Judges with another limit of states.
pub fn check_within<M: Model>(
    model: &M,
    operations: &[Operation<M::Command, M::Reply>],
    states_max: usize,
) -> Verdict {
    Search::new(model, operations).run(states_max)
}

/// An operation that takes part.
struct Part<'a, M: Model> {
    /// In the history.
    place: usize,
    command: &'a M::Command,
    called: Micros,
    /// When it was answered, and what; none when nobody knows.
    answer: Option<(Micros, &'a M::Reply)>,
}

struct Search<'a, M: Model> {
    model: &'a M,
    parts: Vec<Part<'a, M>>,
    answered: usize,
    done: Done,
    seen: HashSet<(Done, M::State)>,
}

/// Which parts have their place in the order, as bits.
type Done = Vec<u64>;

/// One step of the order under construction, and what else could stand there.
struct Frame<S> {
    state: S,
    /// Parts that can come next, the best guess last.
    candidates: Vec<usize>,
    /// The one that was put here.
    taken: Option<usize>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, operations: &'a [Operation<M::Command, M::Reply>]) -> Self {
        let mut parts: Vec<Part<'a, M>> = Vec::new();
        for (place, operation) in operations.iter().enumerate() {
            let answer = match &operation.outcome {
                Outcome::Ok(at, reply) => Some((*at, reply)),
                Outcome::Unknown if !model.changes_nothing(&operation.command) => None,
                Outcome::Unknown | Outcome::Failed => continue,
            };
            parts.push(Part {
                place,
                command: &operation.command,
                called: operation.called,
                answer,
            });
        }
        let answered = parts.iter().filter(|part| part.answer.is_some()).count();
        let done = vec![0; parts.len().div_ceil(64)];
        Self {
            model,
            parts,
            answered,
            done,
            seen: HashSet::new(),
        }
    }

    fn run(mut self, states_max: usize) -> Verdict {
        let mut answered = 0;
        let mut furthest = (0, 0);
        let state = M::State::default();
        let candidates = self.candidates();
        let mut frames = vec![Frame {
            state,
            candidates,
            taken: None,
        }];
        while answered < self.answered {
            let Some(frame) = frames.last_mut() else {
                return Verdict::Violation {
                    stuck_at: furthest.1,
                };
            };
            if let Some(taken) = frame.taken.take() {
                self.done[taken / 64] &= !(1 << (taken % 64));
                answered -= usize::from(self.parts[taken].answer.is_some());
            }
            let Some(next) = frame.candidates.pop() else {
                frames.pop();
                continue;
            };
            let part = &self.parts[next];
            let (state, reply) = self.model.apply(&frame.state, part.command);
            let explains = part.answer.is_none_or(|(_, given)| *given == reply);
            // One of unknown outcome that would change nothing here need not be placed here.
            let is_idle = part.answer.is_none() && state == frame.state;
            if !explains || is_idle {
                continue;
            }
            self.done[next / 64] |= 1 << (next % 64);
            if !self.seen.insert((self.done.clone(), state.clone())) {
                self.done[next / 64] &= !(1 << (next % 64));
                continue;
            }
            if self.seen.len() > states_max {
                return Verdict::Undecided;
            }
            frame.taken = Some(next);
            answered += usize::from(part.answer.is_some());
            if answered >= furthest.0 {
                furthest = (answered, self.first_open());
            }
            let candidates = self.candidates();
            frames.push(Frame {
                state,
                candidates,
                taken: None,
            });
        }
        Verdict::Linearizable
    }

    /// The parts that have no place yet, in the order of their calls.
    fn open(&self) -> impl Iterator<Item = usize> + '_ {
        let parts = self.parts.len();
        let words = self.done.iter().enumerate();
        let places = words.flat_map(|(word, &done)| {
            let mut open = !done;
            std::iter::from_fn(move || {
                let bit = open.trailing_zeros() as usize;
                open &= open.wrapping_sub(1);
                (bit < 64).then_some(word * 64 + bit)
            })
        });
        places.take_while(move |&number| number < parts)
    }

    /// The parts that may stand next: called before the first of the open answers came. Those of unknown outcome are tried
    /// last, and those that were answered in the order of their answers.
    fn candidates(&self) -> Vec<usize> {
        let mut first_answer = Micros::MAX;
        let mut open = Vec::new();
        for number in self.open() {
            let part = &self.parts[number];
            if part.called > first_answer {
                break;
            }
            if let Some((at, _)) = part.answer {
                first_answer = first_answer.min(at);
            }
            open.push(number);
        }
        open.retain(|&number| self.parts[number].called <= first_answer);
        open.sort_by_key(|&number| {
            let at = self.parts[number].answer.map_or(Micros::MAX, |(at, _)| at);
            std::cmp::Reverse((at, number))
        });
        open
    }

    /// The open answer that came first, as its place in the history.
    fn first_open(&self) -> usize {
        let open = self.open().filter_map(|number| {
            let part = &self.parts[number];
            part.answer.map(|(at, _)| (at, part.place))
        });
        open.min().map_or(0, |(_, place)| place)
    }
}

#[cfg(test)]
mod tests;
