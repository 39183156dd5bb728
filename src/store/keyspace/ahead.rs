//! Look-ups begun ahead of need: what memory they will touch is on its way before the command runs. Changes nothing.

use super::Keyspace;

impl Keyspace {
    /// Begins the look-up of a key that is about to be used. A look-up waits for memory four times; with its steps taken while
    /// other commands run nothing is left to wait for.
    #[inline]
    pub fn prefetch_directory(&self, hash: u64) {
        self.table.prefetch_directory(hash);
    }

    /// First step.
    #[inline]
    pub fn prefetch_segment(&self, hash: u64) {
        self.table.prefetch_segment(hash);
    }

    /// Second step; gives what the third needs, if there may be such a key.
    #[inline]
    pub fn prefetch_place(&self, hash: u64) -> Option<u8> {
        self.table.prefetch_place(hash)
    }

    /// Third step.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64, place: u8) {
        self.table.prefetch_entry(hash, place);
    }
}
