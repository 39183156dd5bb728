//! Marks in a log: entries without a command, told apart by their seed, which nothing draws from. An entry of no commands changes nothing
//! but the clock, and every program that has ever read entries applies it so: a mark needs no newer semantics, and nodes of a version that
//! does not know marks pass it by.

use super::{Batch, BatchBuilder, Stamp, HEADER_BYTES};
use bytes::Bytes;

/// An entry that changes nothing. `stamp.seed` is what it is known by.
#[must_use]
pub fn mark(stamp: Stamp) -> Bytes {
    BatchBuilder::new().finish(stamp)
}

/// What the mark is known by, if the entry is one.
#[must_use]
pub fn mark_of(data: &[u8]) -> Option<u64> {
    if data.len() != HEADER_BYTES {
        return None;
    }
    let batch = Batch::decode(data).ok()?;
    batch.is_empty().then(|| batch.stamp().seed)
}
