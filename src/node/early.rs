//! The node as the HTTP port sees it before there is one: while the cluster is looked for, and until the shared state is there. Afterwards it
//! is that.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::settings::Settings;

use super::operator::{refused, Answering, OperatorQuestion, Refusal};
use super::report::{NodeHandle, NodeReport, State};
use super::Shared;

/// Before anything else is known.
const LOOKING: &str = "waiting for the node's cluster to be found";

/// What there is to ask of a node that starts.
pub struct Early {
    settings: Arc<Settings>,
    /// For what it waits; nothing while it only begins.
    waiting: Mutex<Option<String>>,
    node: OnceLock<Arc<Shared>>,
}

impl Early {
    pub fn new(settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Self {
            settings,
            waiting: Mutex::default(),
            node: OnceLock::new(),
        })
    }

    /// Says for what the node waits, in words for its operator.
    pub fn waits(&self, why: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.as_deref() != Some(why) {
            *waiting = Some(why.to_owned());
        }
    }

    /// From now on the node answers itself.
    pub fn hand_to(&self, node: Arc<Shared>) {
        let _ = self.node.set(node);
    }
}

impl NodeHandle for Early {
    fn state(&self) -> State {
        if let Some(node) = self.node.get() {
            return node.state();
        }
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match &*waiting {
            Some(why) => State::Waiting(why.clone()),
            None => State::Waiting(LOOKING.into()),
        }
    }

    fn report(&self) -> NodeReport {
        match self.node.get() {
            Some(node) => node.report(),
            None => NodeReport {
                state: self.state(),
                ..NodeReport::default()
            },
        }
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn operate(&self, question: OperatorQuestion) -> Answering {
        match (self.node.get(), self.state()) {
            (Some(node), _) => node.operate(question),
            (None, State::Waiting(why)) => refused(Refusal::Unavailable, why),
            (None, _) => refused(Refusal::Unavailable, LOOKING),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::report::Identity;
    use crate::settings::Builder;

    #[test]
    fn a_node_that_waits_says_for_what_until_it_answers_itself() {
        let settings = Arc::new(Builder::new().build());
        let early = Early::new(settings.clone());
        assert_eq!(early.state(), State::Waiting(LOOKING.into()));
        early.waits("waiting for two more nodes");
        let waiting = State::Waiting("waiting for two more nodes".into());
        assert_eq!(
            (early.state(), early.report().state),
            (waiting.clone(), waiting)
        );
        let shared = Shared::new(settings, Identity::default(), 2);
        early.hand_to(shared.clone());
        assert_eq!(early.state(), State::Loading);
        shared.set_state(State::Ready);
        assert_eq!(
            (early.state(), early.report().state),
            (State::Ready, State::Ready)
        );
    }
}
