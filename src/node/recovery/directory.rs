//! The data directory before anything of its data is read: whose it is, to which cluster it belongs, and the founding of one.

use std::path::PathBuf;
use std::sync::Arc;

use ringfort_cluster::meta::{MetaCommand, ShelfName};
use ringfort_cluster::topology::{ClusterId, Node, Topology};
use ringfort_cluster::{Epoch, NodeId, ReplicaId, ShardId};

use crate::durability::{
    lock_directory, node_identity, DiskLock, Marker, NodeState, RealDisk, SharedDisk, StateKeeper,
};
use crate::settings::{Durability, Startup};

use super::StartError;

/// Under which name the cluster's settings hold the seed of its hashes.
const HASH_SEED: &str = "ringfort.hash-seed";

/// A data directory that this process has locked.
pub struct Directory {
    pub disk: SharedDisk,
    pub dir: PathBuf,
    pub node_id: NodeId,
    pub state: Arc<StateKeeper>,
    /// Replicas of the run before that kept nothing.
    pub(super) lost: Vec<(ShardId, ReplicaId)>,
    /// As the last run that kept its data left it.
    pub(super) last: Option<Marker>,
    pub(super) lock: DiskLock,
}

/// Locks the data directory and reads who lives there.
///
/// # Errors
/// Damage, or a directory in use: with what to do about it.
pub fn open_directory(startup: &Startup) -> Result<Directory, StartError> {
    let disk: SharedDisk = Arc::new(RealDisk);
    open_directory_on(disk, startup)
}

pub(super) fn open_directory_on(
    disk: SharedDisk,
    startup: &Startup,
) -> Result<Directory, StartError> {
    let dir = startup.dir.clone();
    let lock = lock_directory(&disk, &dir).map_err(StartError::from)?;
    let keeps = startup.durability != Durability::None;
    let last = match Marker::read(&disk, &dir) {
        Err(error) if keeps => return Err(StartError::from(error)),
        // Of a run that kept its data, perhaps; whether that can still be read matters no more.
        read => read.ok().flatten(),
    };
    let node_id = node_identity(&disk, &dir, last.as_ref(), draw).map_err(StartError::from)?;
    let (state, existed) = StateKeeper::open(&disk, &dir, node_id).map_err(StartError::from)?;
    if !existed && last.as_ref().is_some_and(|last| last.cluster_state) {
        return Err(StartError(format!(
            "{} is missing, without which nobody knows what this node has promised: restore the data directory from a backup, or move it away to start empty",
            dir.join("cluster-state").display()
        )));
    }
    let mut directory = Directory {
        disk,
        dir,
        node_id,
        state,
        lost: Vec::new(),
        last,
        lock,
    };
    directory.leave_memory_behind(startup)?;
    Ok(directory)
}

fn draw() -> std::io::Result<u128> {
    let mut bytes = [0; 16];
    crate::node::process::fill_random(&mut bytes)?;
    Ok(u128::from_be_bytes(bytes))
}

fn decoded(bytes: Option<&Vec<u8>>) -> Result<Option<Topology>, StartError> {
    let decoded = bytes.map(|bytes| Topology::decode(bytes)).transpose();
    decoded.map_err(|error| {
        StartError(format!("the topology in the cluster state: {error}: start the version that wrote it, or restore the data directory from a backup"))
    })
}

fn encoded(topology: &Topology) -> Result<Vec<u8>, StartError> {
    topology.encode().map_err(StartError::from)
}

impl Directory {
    /// What is known of the node's cluster: the newest topology that was kept, else the one that it founded; none before.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn topology(&self) -> Result<Option<Topology>, StartError> {
        let state = self.state.state();
        let newest = state.topology.as_ref().or(state.founding.as_ref());
        decoded(newest)
    }

    /// The topology with which this node founded its cluster, if it did.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn founding(&self) -> Result<Option<Topology>, StartError> {
        decoded(self.state.state().founding.as_ref())
    }

    /// Replaces the node's state, durably.
    ///
    /// # Errors
    /// A failing or full disk.
    pub fn save_state(&self, state: &NodeState) -> Result<(), StartError> {
        let saved = self.state.change(|kept| kept.clone_from(state));
        saved.map_err(StartError::from)
    }

    /// Number of shards and hash seed of data from before nodes belonged to clusters. Its node stands alone.
    pub fn old_data(&self) -> Option<(u32, u64)> {
        let last = self.last.as_ref().filter(|last| !last.cluster_state)?;
        let is_unclaimed = self.state.state() == NodeState::default();
        is_unclaimed.then_some((last.shards, last.hash_seed))
    }

    /// What a process that kept nothing has held is lost. A cluster of this node alone begins anew.
    fn leave_memory_behind(&mut self, startup: &Startup) -> Result<(), StartError> {
        let mut state = self.state.state();
        let forgets = startup.durability == Durability::None;
        let before = std::mem::replace(&mut state.in_memory, forgets);
        let topology = self.topology()?;
        let is_alone = topology
            .as_ref()
            .is_some_and(|topology| is_alone(topology, self.node_id));
        match topology {
            Some(topology) if forgets && is_alone => {
                begin_anew(&topology, self.node_id, startup, &mut state)?
            }
            _ if (forgets || before) && !is_alone => {
                self.lost = state
                    .replicas
                    .iter()
                    .map(|(&group, &id)| (group, id))
                    .collect();
                for &(group, id) in &self.lost {
                    state.give_up(group, id);
                }
            }
            _ => {}
        }
        self.save_state(&state)
    }
}

/// Whether no other node has ever had a part of what the topology names.
fn is_alone(topology: &Topology, me: NodeId) -> bool {
    let has_no_others = |(_, place): (_, &ringfort_cluster::topology::Place)| {
        place.replicas.len() == 1 && place.replicas.values().all(|replica| replica.node == me)
    };
    topology.nodes.keys().eq([&me]) && topology.places().all(has_no_others)
}

/// The same cluster without its data: under the ids that its replicas have, because nobody else has heard of them.
fn begin_anew(
    before: &Topology,
    me: NodeId,
    startup: &Startup,
    state: &mut NodeState,
) -> Result<(), StartError> {
    let mut again = Topology::default();
    let init = MetaCommand::Init {
        cluster_id: before.cluster_id,
        shards: u32::from(startup.shards),
        replicas: before.replicas,
        node: before.nodes[&me].clone(),
    };
    again.apply(&init).map_err(StartError::from)?;
    again.epoch = before.epoch.next();
    again.removed.clone_from(&before.removed);
    again.settings.clone_from(&before.settings);
    again.users.clone_from(&before.users);
    again.functions.clone_from(&before.functions);
    if again.shards.len() == before.shards.len() {
        for ((_, place), at) in before.places().zip(0..) {
            let place_again = again.shards.get_mut(at).unwrap_or(&mut again.meta);
            place_again.next_replica = place.next_replica;
            place_again.replicas.clone_from(&place.replicas);
            place_again.members.clone_from(&place.members);
        }
    }
    state.replicas = sole_replicas(&again);
    state.suspects.clear();
    state.tombstones.clear();
    state.founding = Some(encoded(&again)?);
    state.topology = None;
    Ok(())
}

fn sole_replicas(topology: &Topology) -> std::collections::BTreeMap<ShardId, ReplicaId> {
    let places = topology.places();
    places
        .filter_map(|(group, place)| Some((group, *place.replicas.keys().next()?)))
        .collect()
}

/// Founds a cluster of this node, which holds and decides everything. Durable when it returns, before anything else is.
///
/// # Errors
/// Where the directory belongs to a cluster or holds data with another number of shards, for a node that no cluster can have, or
/// a failing disk.
pub fn found(
    directory: &Directory,
    node: Node,
    shards: u32,
    replicas: u8,
    hash_seed: u64,
) -> Result<Topology, StartError> {
    let state = directory.state.state();
    if state.founding.is_some() || state.topology.is_some() {
        return Err(StartError(format!(
            "{} belongs to a cluster already",
            directory.dir.display()
        )));
    }
    let cluster_id = draw().map_err(|error| StartError(format!("/dev/urandom: {error}")))?;
    let mut topology = Topology::default();
    let commands = [
        MetaCommand::Init {
            cluster_id: ClusterId(cluster_id.max(1)),
            shards,
            replicas,
            node,
        },
        MetaCommand::SetItem {
            shelf: ShelfName::Settings,
            name: HASH_SEED.into(),
            value: Some(format!("{hash_seed:016x}").into_bytes()),
        },
    ];
    for command in commands {
        topology.apply(&command).map_err(StartError::from)?;
    }
    // It is one step for all others: nobody sees it without its settings.
    topology.epoch = Epoch(1);
    directory.save_state(&NodeState {
        founding: Some(encoded(&topology)?),
        replicas: sole_replicas(&topology),
        ..state
    })?;
    Ok(topology)
}

/// Founds a cluster of this node as its settings say. Data from before nodes belonged to clusters is taken over as it is.
///
/// # Errors
/// As [`found`].
pub fn found_alone(
    directory: &Directory,
    node: Node,
    startup: &Startup,
) -> Result<Topology, StartError> {
    let keeps = startup.durability != Durability::None;
    let (shards, seed) = match directory.old_data().filter(|_| keeps) {
        Some(old) => old,
        None => (u32::from(startup.shards), random_seed()?),
    };
    found(directory, node, shards, startup.cluster.replicas, seed)
}

/// The seed of all keys' hashes in a cluster.
pub fn hash_seed(topology: &Topology) -> u64 {
    let hex = topology.settings.get(HASH_SEED);
    let seed = hex.and_then(|hex| u64::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
    // One that was founded without: any number that all nodes know.
    seed.unwrap_or(topology.cluster_id.0 as u64)
}

pub(in crate::node) fn random_seed() -> Result<u64, StartError> {
    let mut bytes = [0; 8];
    crate::node::process::fill_random(&mut bytes)
        .map_err(|error| StartError(format!("/dev/urandom: {error}")))?;
    Ok(u64::from_le_bytes(bytes))
}
