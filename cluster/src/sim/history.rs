//! What clients asked, when, and what they know of the outcome. Knows neither commands nor how a history is judged.

use super::time::Micros;

/// What a client knows of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<R> {
    /// Answered at that instant.
    Ok(Micros, R),
    /// Refused: it certainly had no effect, nor will it have one.
    Failed,
    /// Nobody knows: it had its effect at some time after the call, or will have it, once, or never.
    Unknown,
}

/// One call of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<C, R> {
    pub client: u32,
    pub command: C,
    pub called: Micros,
    pub outcome: Outcome<R>,
}

/// The operations on one key, in the order of their calls.
#[derive(Debug, Clone)]
pub struct History<C, R> {
    operations: Vec<Operation<C, R>>,
}

/// An operation's place in its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallId(usize);

impl<C, R> Default for History<C, R> {
    fn default() -> Self {
        Self {
            operations: Vec::new(),
        }
    }
}

impl<C, R> History<C, R> {
    /// Notes a call. Until more is heard its outcome is unknown.
    pub fn call(&mut self, client: u32, command: C, now: Micros) -> CallId {
        // Calls are noted as they are made, and that is what the judge relies on.
        assert!(
            self.operations.last().is_none_or(|last| last.called <= now),
            "a call was noted late"
        );
        self.operations.push(Operation {
            client,
            command,
            called: now,
            outcome: Outcome::Unknown,
        });
        CallId(self.operations.len() - 1)
    }

    /// Notes an answer.
    pub fn answered(&mut self, call: CallId, now: Micros, reply: R) {
        self.end(call, Outcome::Ok(now, reply));
    }

    /// Notes that a call was refused and certainly has no effect.
    pub fn failed(&mut self, call: CallId) {
        self.end(call, Outcome::Failed);
    }

    /// All operations so far.
    #[must_use]
    pub fn operations(&self) -> &[Operation<C, R>] {
        &self.operations
    }

    fn end(&mut self, call: CallId, outcome: Outcome<R>) {
        let operation = &mut self.operations[call.0];
        let is_open = matches!(operation.outcome, Outcome::Unknown);
        assert!(is_open, "a call ended twice");
        operation.outcome = outcome;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_unknown_until_more_is_heard() {
        let mut history = History::default();
        let one = history.call(1, "a", 10);
        let two = history.call(2, "b", 11);
        history.call(3, "c", 12);
        history.answered(one, 20, 7);
        history.failed(two);
        let outcomes: Vec<&Outcome<i32>> =
            history.operations().iter().map(|op| &op.outcome).collect();
        assert_eq!(
            outcomes,
            [&Outcome::Ok(20, 7), &Outcome::Failed, &Outcome::Unknown]
        );
    }

    #[test]
    #[should_panic(expected = "ended twice")]
    fn a_second_answer_is_a_bug() {
        let mut history = History::default();
        let call = history.call(1, "a", 10);
        history.answered(call, 20, 7);
        history.failed(call);
    }
}
