//! The sans-IO core of ringfort: no sockets, files, clocks, threads or randomness of its own.

pub mod codec;
pub mod entry;
pub mod replica;
pub mod sim;
pub mod slot;
pub mod types;

pub use entry::{Batch, BatchBuilder, EntryError, Stamp};
pub use replica::{Config, HardState, LogEntry, Outputs, ProposeError, Replica, Restored};
pub use slot::{slot_of, ShardMap, SLOTS};
pub use types::{Epoch, Index, NodeId, ReplicaId, ShardId, Slot, Term};
