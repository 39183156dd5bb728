//! The node: workers, shards and what they tell of themselves.

pub mod process;
pub mod report;
pub mod stats;
