//! A node that was removed from its cluster while it runs: it says so once, to its operator and to whoever asks whether it is ready. Its
//! replicas go by its duties, its clients are told by the workers.

use crate::node::removal;
use crate::node::report::State;

use super::Govern;

impl Govern {
    /// Looks whether the newest topology has put this node out. It stays until it is stopped: a process manager would only start
    /// it again, and it must not be.
    pub(super) fn look_whether_removed(&self) {
        if self.is_removed.get() {
            return;
        }
        let Some(text) = removal(&self.topology(), self.me()) else {
            return;
        };
        self.is_removed.set(true);
        tracing::error!("{text}");
        if self.local.shared.shutdown_asked().is_none() {
            self.local.shared.set_state(State::Waiting(text));
        }
    }
}
