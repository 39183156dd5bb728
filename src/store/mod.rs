//! The data of a shard: keyspaces, value types, expiry, memory accounting. Knows no RESP, reads no clock
//! and no random source (invariant 2): time and chance come in as arguments.

pub mod list;
pub mod listpack;
pub mod memory;
mod types;

pub use types::{Limits, Rng, Timestamp, WrongType};
