//! The sans-IO core of ringfort: no sockets, files, clocks, threads or randomness of its own.

pub mod types;

pub use types::{Epoch, Index, NodeId, ReplicaId, ShardId, Slot, Term};
