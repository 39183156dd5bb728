//! Where the questions of operators wait for whoever answers them on this node: a bounded queue from the thread of the HTTP port to the
//! worker that governs. Knows no answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::question::{OperatorAnswer, OperatorError, OperatorQuestion, Refusal};

/// Questions that wait to be looked at; further ones are refused.
const WAITING_MAX: usize = 64;

/// An answer that is on its way.
pub type Answering = Pin<Box<dyn Future<Output = OperatorAnswer> + Send>>;

/// A question, and where its answer goes.
pub struct Asked {
    pub question: OperatorQuestion,
    answer: oneshot::Sender<OperatorAnswer>,
}

impl Asked {
    /// Ends when whoever asked does not wait any more.
    pub async fn gone(&mut self) {
        self.answer.closed().await;
    }

    /// Whoever asked may be gone.
    pub fn answer(self, answer: OperatorAnswer) {
        let _ = self.answer.send(answer);
    }
}

/// One for each node.
pub struct Desk {
    questions: mpsc::Sender<Asked>,
    /// Until somebody answers.
    waiting: Mutex<Option<mpsc::Receiver<Asked>>>,
}

impl Default for Desk {
    fn default() -> Self {
        let (questions, waiting) = mpsc::channel(WAITING_MAX);
        Self {
            questions,
            waiting: Mutex::new(Some(waiting)),
        }
    }
}

impl Desk {
    /// Whoever answers takes what was asked and will be. `None` when somebody has done so.
    pub fn open(&self) -> Option<mpsc::Receiver<Asked>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.take()
    }

    /// Whether somebody answers.
    pub fn is_open(&self) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.is_none()
    }

    /// Asks. There is an answer in any case, also when the node goes down meanwhile.
    pub fn ask(&self, question: OperatorQuestion) -> Answering {
        let lost = match question.changes() {
            true => Refusal::Unknown,
            false => Refusal::Unavailable,
        };
        let (answer, answered) = oneshot::channel();
        match self.questions.try_send(Asked { question, answer }) {
            Ok(()) => Box::pin(async move {
                answered.await.unwrap_or_else(|_| {
                    OperatorError::new(lost, "this node goes down: ask another one").into()
                })
            }),
            Err(mpsc::error::TrySendError::Full(_)) => refused(
                Refusal::Unavailable,
                "too many questions wait on this node: ask again in a moment",
            ),
            Err(mpsc::error::TrySendError::Closed(_)) => {
                refused(Refusal::Unavailable, "this node goes down: ask another one")
            }
        }
    }
}

/// An answer that is there at once.
pub(in crate::node) fn refused(kind: Refusal, reason: impl Into<String>) -> Answering {
    let error = OperatorError::new(kind, reason);
    Box::pin(std::future::ready(error.into()))
}

#[cfg(test)]
mod tests {
    use super::super::Done;
    use super::*;

    fn kind(answer: OperatorAnswer) -> Refusal {
        match answer {
            OperatorAnswer::Refused(error) => error.kind,
            other => panic!("{other:?}"),
        }
    }

    fn order() -> OperatorQuestion {
        OperatorQuestion::Undrain {
            node: "abcd".into(),
        }
    }

    #[tokio::test]
    async fn one_answers_also_what_was_asked_before() {
        let desk = Desk::default();
        let answer = desk.ask(order());
        assert!(!desk.is_open());
        let mut asked = desk.open().unwrap();
        assert!(desk.open().is_none() && desk.is_open());
        asked
            .try_recv()
            .unwrap()
            .answer(OperatorAnswer::Done(Done::default()));
        assert_eq!(answer.await, OperatorAnswer::Done(Done::default()));
    }

    #[tokio::test]
    async fn what_is_asked_is_answered() {
        let desk = Desk::default();
        let mut asked = desk.open().unwrap();
        let answer = desk.ask(OperatorQuestion::Shards);
        let question = asked.recv().await.unwrap();
        assert_eq!(question.question, OperatorQuestion::Shards);
        question.answer(OperatorAnswer::Shards(Vec::new()));
        assert_eq!(answer.await, OperatorAnswer::Shards(Vec::new()));
    }

    #[tokio::test]
    async fn of_an_order_that_got_no_answer_nobody_knows_what_became() {
        let desk = Desk::default();
        let mut asked = desk.open().unwrap();
        let (ordered, read) = (desk.ask(order()), desk.ask(OperatorQuestion::Cluster));
        drop((asked.recv().await, asked.recv().await));
        assert_eq!(kind(ordered.await), Refusal::Unknown);
        assert_eq!(kind(read.await), Refusal::Unavailable);
        drop(asked);
        assert_eq!(kind(desk.ask(order()).await), Refusal::Unavailable);
    }

    #[tokio::test]
    async fn questions_beyond_the_bound_are_refused() {
        let desk = Desk::default();
        let _asked = desk.open().unwrap();
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| desk.ask(order())).collect();
        assert_eq!(kind(desk.ask(order()).await), Refusal::Unavailable);
        drop(waiting);
    }
}
