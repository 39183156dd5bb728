//! Wakes the one task that looks after a connection, from elsewhere on the same thread.

use std::cell::RefCell;
use std::task::{Context, Waker};

/// Where a task leaves word of how it is woken.
#[derive(Default)]
pub(super) struct Wake(RefCell<Option<Waker>>);

impl Wake {
    /// To be called in every poll that may end in waiting.
    pub fn remember(&self, cx: &Context<'_>) {
        let mut place = self.0.borrow_mut();
        let is_known = |known: &Waker| known.will_wake(cx.waker());
        if !place.as_ref().is_some_and(is_known) {
            *place = Some(cx.waker().clone());
        }
    }

    /// Has the task polled soon.
    pub fn wake(&self) {
        if let Some(waker) = &*self.0.borrow() {
            waker.wake_by_ref();
        }
    }
}
