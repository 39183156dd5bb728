//! What survives a restart: the write-ahead log, snapshots, the marker of the data directory, the node's identity and what
//! it is in its cluster, over a `Disk` that
//! is files in production and a fault-injecting memory in the simulator. Knows nothing of what entries and snapshots
//! mean. `README.md` here draws the bytes.

pub mod disk;
pub mod identity;
pub mod marker;
pub mod memory_disk;
pub mod sim_disk;
pub mod snapshot;
pub mod state;
pub mod wal;

mod real_disk;
mod window;
mod worker;

pub use disk::{Disk, DiskFile, DiskLock, SharedDisk, SharedFile};
pub use identity::node_identity;
pub use marker::{boot_id, lock_directory, DirectoryError, DurabilityMode, LastStop, Marker};
pub use memory_disk::MemoryDisk;
pub use real_disk::RealDisk;
pub use sim_disk::{DiskCall, SimDisk};
pub use snapshot::{
    BackgroundSnapshot, SnapshotInfo, SnapshotMeta, SnapshotReader, SnapshotWriter,
};
pub use state::{NodeState, ReplicaError, StateKeeper};
pub use wal::{recover, RecoverOptions, Wal, WalOptions};
pub use worker::{DiskWorker, QueueFull, SyncFailed, DISK_JOBS_MAX};
