//! The sans-IO core of ringfort: no sockets, files, clocks, threads or randomness of its own.

pub mod codec;
mod crc16;
pub mod entry;
pub mod forming;
pub mod meta;
pub mod node_id;
pub mod placement;
pub mod recover;
pub mod replica;
pub mod ring;
pub mod sim;
pub mod slot;
pub mod steward;
pub mod suspects;
pub mod topology;
pub mod types;

pub use entry::{Batch, BatchBuilder, EntryError, Stamp};
pub use meta::{MetaCommand, MetaError, MetaReply};
pub use node_id::NodeId;
pub use replica::{
    Config, HardState, LogEntry, Membership, MembershipChange, Outputs, ProposeError, Replica,
    Restored,
};
pub use slot::{slot_of, ShardMap, SLOTS};
pub use topology::Topology;
pub use types::{Epoch, Index, Monotonic, ReplicaId, ShardId, Slot, Term};
