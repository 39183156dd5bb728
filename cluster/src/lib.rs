//! The sans-IO core of ringfort: no sockets, files, clocks, threads or randomness of its own.

pub mod codec;
pub mod entry;
pub mod replica;
pub mod slot;
pub mod types;

pub use entry::{Batch, BatchBuilder, EntryError, Stamp};
pub use replica::{
    Config, HardState, LogEntry, Membership, MembershipChange, Outputs, ProposeError, Replica,
    Restored,
};
pub use slot::{slot_of, ShardMap, SLOTS};
pub use types::{Epoch, Index, Monotonic, NodeId, ReplicaId, ShardId, Slot, Term};
