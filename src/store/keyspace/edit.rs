//! A container under change: the guard that keeps the keyspace's books when the change is over. Knows no commands.

use std::ops::{Deref, DerefMut};

use super::Keyspace;
use crate::store::table::Place;
use crate::store::value::{Container, Value};

/// A container under change; see [`Keyspace::edit`].
pub struct Edit<'a, T: Container> {
    pub(super) keyspace: &'a mut Keyspace,
    pub(super) hash: u64,
    pub(super) place: Place,
    pub(super) bytes_before: usize,
    pub(super) inner: *mut T,
}

impl<T: Container> Deref for Edit<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the entry stays where it is while the guard borrows the keyspace.
        unsafe { &*self.inner }
    }
}

impl<T: Container> DerefMut for Edit<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is the only way to the value.
        unsafe { &mut *self.inner }
    }
}

impl<T: Container> Drop for Edit<'_, T> {
    fn drop(&mut self) {
        let bytes_after = {
            let entry = self.keyspace.table.entry_at(self.place);
            entry.boxed().map_or(0, Value::total_bytes)
        };
        self.keyspace.entry_bytes = self.keyspace.entry_bytes + bytes_after - self.bytes_before;
        if !self.has_elements() {
            self.keyspace.remove_at(self.hash, self.place);
        }
    }
}
