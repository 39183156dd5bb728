//! What a snapshot says beside its data, and how one is read back. Also for snapshots that come from other nodes.

use std::io::Read;

use ringfort_cluster::topology::Topology;
use ringfort_cluster::{codec, Replica};

use crate::durability::snapshot::{SnapshotFile, SnapshotMeta};
use crate::durability::{SharedDisk, SnapshotReader};
use crate::store::rdb::Records;
use crate::store::{Databases, Deadline, Limits, Timestamp};

use super::replicas::new_databases;
use super::StartError;
use crate::node::shard::Shard;

/// What a snapshot says beside its data.
#[derive(bincode::Encode, bincode::Decode)]
struct ExtraWire {
    last_clock_ms: u64,
    databases: u16,
    limits: [i64; 9],
}

/// What a snapshot says beside its data.
pub struct SnapshotExtra {
    pub last_clock_ms: u64,
    pub databases: u16,
    pub limits: Limits,
    /// The state of the meta group, in its snapshot.
    pub topology: Option<Topology>,
}

impl SnapshotExtra {
    pub fn encode(&self) -> Vec<u8> {
        let wire = ExtraWire {
            last_clock_ms: self.last_clock_ms,
            databases: self.databases,
            limits: self.limits.to_numbers(),
        };
        let mut bytes = codec::encode(&wire).expect("a few numbers");
        if let Some(topology) = &self.topology {
            let encoded = topology.encode();
            bytes.extend(encoded.expect("a topology is within its bounds"));
        }
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (wire, length) = codec::decode_prefix::<ExtraWire>(bytes).ok()?;
        let topology = match &bytes[length..] {
            [] => None,
            encoded => Some(Topology::decode(encoded).ok()?),
        };
        let limits = Limits::from_numbers(wire.limits);
        Some(Self {
            last_clock_ms: wire.last_clock_ms,
            databases: wire.databases,
            limits,
            topology,
        })
    }
}

/// What a snapshot of the shard as it is now says of itself.
pub fn describe(shard: &Shard) -> SnapshotMeta {
    let (index, term) = shard.applied();
    let extra = SnapshotExtra {
        last_clock_ms: shard.applied_clock().0,
        databases: shard.databases.count() as u16,
        limits: *shard.databases.limits(),
        topology: shard.meta.as_deref().cloned(),
    };
    SnapshotMeta {
        shard: shard.id,
        index,
        term,
        membership: shard.membership.clone(),
        semantics: ringfort_cluster::entry::SEMANTICS_VERSION,
        extra: extra.encode(),
    }
}

/// A snapshot's data, and what it says about itself.
pub struct LoadedSnapshot {
    pub meta: SnapshotMeta,
    pub extra: SnapshotExtra,
    pub databases: Databases,
    /// Of the data.
    pub bytes: u64,
}

impl LoadedSnapshot {
    /// The shard as of the snapshot's index.
    pub fn into_shard(self, replica: Replica) -> Shard {
        let meta = self.meta;
        let start = Timestamp(self.extra.last_clock_ms);
        let applied = (meta.index, meta.term);
        let mut shard = Shard::new(meta.shard, self.databases, replica, applied, start);
        shard.snapshot_index = meta.index;
        shard.membership = meta.membership;
        shard.meta = self.extra.topology.map(Box::new);
        shard
    }
}

/// Reads a snapshot into keyspaces of a node whose hashes have that seed.
///
/// # Errors
/// Damage, or a failing disk.
pub fn read_snapshot(
    disk: &SharedDisk,
    file: &SnapshotFile,
    databases_max: u32,
    seed: u64,
) -> Result<LoadedSnapshot, StartError> {
    let mut reader = SnapshotReader::open(disk, file).map_err(StartError::from)?;
    let meta = reader.meta().clone();
    let bad = |what: &str| {
        StartError(format!("snapshot {} {what}: restore the directory from a backup, or start once with --accept-data-loss to go on without this shard's data", file.path.display()))
    };
    let extra = SnapshotExtra::decode(&meta.extra)
        .ok_or_else(|| bad("has a description that makes no sense"))?;
    let mut databases = new_databases(databases_max, seed, extra.limits);
    let mut bytes = Vec::with_capacity(reader.stream_bytes() as usize);
    reader
        .read_to_end(&mut bytes)
        .map_err(|error| bad(&format!("cannot be read ({error})")))?;
    for record in Records::new(&bytes) {
        let record = record.map_err(|_| bad("holds a key that makes no sense"))?;
        if u32::from(record.database) >= databases_max {
            return Err(bad(&format!("holds a key of database {}", record.database)));
        }
        let deadline = record.deadline.map_or(Deadline::None, Deadline::At);
        let keyspace = databases.keyspace_mut(record.database);
        // At time 0 nothing is due: what the snapshot holds comes back as it was (invariant 3).
        keyspace.set(&record.key, record.value, deadline, Timestamp(0));
    }
    Ok(LoadedSnapshot {
        meta,
        extra,
        databases,
        bytes: bytes.len() as u64,
    })
}
