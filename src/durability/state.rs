//! The file that says what a node is in its cluster: which cluster it is pledged to, the newest topology that it knows, and which
//! replicas it has begun and given up. Written durably whatever the durability mode. Knows nothing of what follows from that.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bincode::{Decode, Encode};
use ringfort_cluster::topology::Topology;
use ringfort_cluster::{codec, NodeId, ReplicaId, ShardId};

use super::disk::{read_full_at, write_all_at, SharedDisk};
use super::marker::DirectoryError;

const NAME: &str = "cluster-state";
const TEMP_NAME: &str = "cluster-state.tmp";
const MAGIC: [u8; 8] = *b"RINGFCST";
/// Raised with every change of the bytes that an older program cannot read.
const FORMAT_VERSION: u32 = 1;
/// Magic and version.
const HEAD_BYTES: usize = 12;
const CRC_BYTES: usize = 4;
/// Where a part has its length: there is no such part.
const ABSENT: u32 = u32::MAX;
/// Two topologies of the largest size, and the rest.
const STATE_BYTES_MAX: usize = 3 * codec::VALUE_BYTES_MAX;

/// What a node is in its cluster. Groups are the shards, and the meta group under its own number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// What the forming of the cluster has to remember, encoded by it. Empty: nothing.
    pub forming: Vec<u8>,
    /// The topology with which this node founded its cluster, if it did.
    pub founding: Option<Vec<u8>>,
    /// The newest topology that was kept.
    pub topology: Option<Vec<u8>>,
    /// The replicas that this node has begun and not given up.
    pub replicas: BTreeMap<ShardId, ReplicaId>,
    /// The last replica of a group that was given up here: none up to it ever begins again.
    pub tombstones: BTreeMap<ShardId, ReplicaId>,
    /// Replicas that may have forgotten what they acknowledged, and take part in nothing until that is decided.
    pub suspects: BTreeSet<ShardId>,
    /// The replicas were begun by a process that kept nothing of them.
    pub in_memory: bool,
}

/// The part of a state that is small.
#[derive(Encode, Decode)]
struct Rest {
    node: NodeId,
    replicas: BTreeMap<ShardId, ReplicaId>,
    tombstones: BTreeMap<ShardId, ReplicaId>,
    suspects: BTreeSet<ShardId>,
    in_memory: bool,
}

impl NodeState {
    /// Takes a replica off the list for good.
    pub fn give_up(&mut self, group: ShardId, id: ReplicaId) {
        if self.replicas.get(&group) == Some(&id) {
            self.replicas.remove(&group);
            self.suspects.remove(&group);
        }
        let tombstone = self.tombstones.entry(group).or_default();
        *tombstone = id.max(*tombstone);
    }

    fn encode(&self, node: NodeId) -> Result<Vec<u8>, String> {
        let rest = Rest {
            node,
            replicas: self.replicas.clone(),
            tombstones: self.tombstones.clone(),
            suspects: self.suspects.clone(),
            in_memory: self.in_memory,
        };
        let rest = codec::encode(&rest).map_err(|error| error.to_string())?;
        let parts = [
            Some(&rest),
            Some(&self.forming),
            self.founding.as_ref(),
            self.topology.as_ref(),
        ];
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        for part in parts {
            let len = part.map_or(ABSENT, |part| part.len() as u32);
            bytes.extend_from_slice(&len.to_le_bytes());
            bytes.extend(part.into_iter().flatten());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        match bytes.len() {
            len if len > STATE_BYTES_MAX => Err(format!("{len} bytes are too many")),
            _ => Ok(bytes),
        }
    }

    fn decode(bytes: &[u8], node: NodeId, path: &Path) -> Result<Self, DirectoryError> {
        let damaged = |what: &str| DirectoryError::Damaged {
            path: path.to_owned(),
            what: what.to_owned(),
        };
        let body = bytes.strip_prefix(&MAGIC);
        let body = body.ok_or_else(|| damaged("not a cluster state"))?;
        let (version, body) = body
            .split_first_chunk()
            .ok_or_else(|| damaged("its end is missing"))?;
        let version = u32::from_le_bytes(*version);
        let (mut body, crc) = body
            .split_last_chunk::<CRC_BYTES>()
            .ok_or_else(|| damaged("its end is missing"))?;
        if u32::from_le_bytes(*crc) != crc32fast::hash(&bytes[..bytes.len() - CRC_BYTES]) {
            return Err(damaged("its checksum is wrong"));
        }
        if version != FORMAT_VERSION {
            return Err(DirectoryError::Version {
                path: path.to_owned(),
                version: version.to_string(),
                known: FORMAT_VERSION,
            });
        }
        let mut part = || take_part(&mut body).ok_or_else(|| damaged("its parts make no sense"));
        let (rest, forming, founding, topology) = (part()?, part()?, part()?, part()?);
        let rest = codec::decode::<Rest>(&rest.unwrap_or_default());
        let rest = rest.map_err(|error| damaged(&error.to_string()))?;
        if rest.node != node {
            return Err(damaged(&format!("it is that of node {}", rest.node)));
        }
        Ok(Self {
            forming: forming.unwrap_or_default(),
            founding,
            topology,
            replicas: rest.replicas,
            tombstones: rest.tombstones,
            suspects: rest.suspects,
            in_memory: rest.in_memory,
        })
    }
}

/// The next part: `None` where there is no sense in the bytes.
fn take_part(body: &mut &[u8]) -> Option<Option<Vec<u8>>> {
    let (len, rest) = body.split_first_chunk()?;
    let len = u32::from_le_bytes(*len);
    if len == ABSENT {
        *body = rest;
        return Some(None);
    }
    let (part, rest) = rest.split_at_checked(len as usize)?;
    *body = rest;
    Some(Some(part.to_vec()))
}

/// Why a replica does not begin or end here.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    #[error("group {0}: replica {1} was given up here and never begins again")]
    GivenUp(ShardId, ReplicaId),
    #[error("group {0}: replica {1} is still here")]
    Occupied(ShardId, ReplicaId),
    #[error("group {0}: what an earlier replica has left is not gone yet")]
    NotGone(ShardId),
    #[error("group {0} is none of this node, or lives elsewhere on it")]
    NoPlace(ShardId),
    #[error("group {0}: {1}")]
    Log(ShardId, String),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// The state of a node as all its threads see it. What it says is durable.
pub struct StateKeeper {
    disk: SharedDisk,
    dir: PathBuf,
    node: NodeId,
    kept: Mutex<Kept>,
    /// Held through a change, its sync included. Always taken before `kept`, which nobody holds while the disk works: whoever only asks
    /// does not wait for it.
    changing: Mutex<()>,
}

#[derive(Default)]
struct Kept {
    state: NodeState,
    /// Groups of which snapshots and log may still hold what an earlier replica has left.
    littered: BTreeSet<ShardId>,
}

impl StateKeeper {
    /// Reads the state of the node in this (locked) directory; `None` in the second place: there is none yet.
    ///
    /// # Errors
    /// A damaged file or that of another node, or a failing disk.
    pub fn open(
        disk: &SharedDisk,
        dir: &Path,
        node: NodeId,
    ) -> Result<(Arc<Self>, bool), DirectoryError> {
        let found = read(disk, &dir.join(NAME), node)?;
        let existed = found.is_some();
        let kept = Kept {
            state: found.unwrap_or_default(),
            ..Kept::default()
        };
        let keeper = Self {
            disk: disk.clone(),
            dir: dir.to_owned(),
            node,
            kept: Mutex::new(kept),
            changing: Mutex::default(),
        };
        Ok((Arc::new(keeper), existed))
    }

    /// As it is now.
    pub fn state(&self) -> NodeState {
        self.lock().state.clone()
    }

    /// The replica that this node has of a group.
    pub fn replica(&self, group: ShardId) -> Option<ReplicaId> {
        self.lock().state.replicas.get(&group).copied()
    }

    /// The last replica of a group that was given up here.
    pub fn tombstone(&self, group: ShardId) -> Option<ReplicaId> {
        self.lock().state.tombstones.get(&group).copied()
    }

    /// The replicas that take part in nothing until somebody has decided about them.
    pub fn suspects(&self) -> Vec<(ShardId, ReplicaId)> {
        let kept = self.lock();
        let id = |group: &ShardId| Some((*group, *kept.state.replicas.get(group)?));
        kept.state.suspects.iter().filter_map(id).collect()
    }

    /// Whether the replica that this node has of a group is one of them.
    pub fn is_suspect(&self, group: ShardId) -> bool {
        self.lock().state.suspects.contains(&group)
    }

    /// Changes the state. It is durable when this returns.
    ///
    /// # Errors
    /// A failing or full disk. What holds is what held before.
    pub fn change(&self, change: impl FnOnce(&mut NodeState)) -> Result<(), DirectoryError> {
        let _changing = self.begin_change();
        let mut next = self.lock().state.clone();
        change(&mut next);
        self.put(next)
    }

    /// Keeps a topology, unless one is kept that is at least as new: before anything is done because of it.
    ///
    /// # Errors
    /// A failing or full disk.
    pub fn keep_topology(&self, topology: &Topology) -> Result<(), DirectoryError> {
        let _changing = self.begin_change();
        let before = self.lock().state.topology.clone();
        let before = before.and_then(|bytes| Topology::decode(&bytes).ok());
        if before.is_some_and(|before| before.epoch >= topology.epoch) {
            return Ok(());
        }
        let path = self.dir.join(NAME);
        let encoded = topology.encode().map_err(io::Error::other);
        let encoded = encoded.map_err(|error| DirectoryError::io("write", &path, error))?;
        let next = NodeState {
            topology: Some(encoded),
            ..self.lock().state.clone()
        };
        self.put(next)
    }

    /// Notes that these replicas begin, all at once: before the first of them takes part in anything.
    ///
    /// # Errors
    /// When one of them must not begin here, or a failing disk: nothing was noted then.
    pub fn begin_replicas(&self, begun: &[(ShardId, ReplicaId)]) -> Result<(), ReplicaError> {
        let has_begun = |kept: &Kept, (group, id)| kept.state.replicas.get(&group) == Some(&id);
        // Without waiting for a change of others: it is noted already.
        if begun.iter().all(|&one| has_begun(&self.lock(), one)) {
            return Ok(());
        }
        let _changing = self.begin_change();
        let kept = self.lock();
        let mut next = kept.state.clone();
        for &(group, id) in begun {
            match next.replicas.get(&group) {
                Some(&here) if here == id => continue,
                Some(&here) => return Err(ReplicaError::Occupied(group, here)),
                None => {}
            }
            let tombstone = next.tombstones.get(&group);
            if tombstone.is_some_and(|&tombstone| id <= tombstone) {
                return Err(ReplicaError::GivenUp(group, id));
            }
            if kept.littered.contains(&group) {
                return Err(ReplicaError::NotGone(group));
            }
            next.replicas.insert(group, id);
        }
        drop(kept);
        Ok(self.put(next)?)
    }

    /// Notes that these replicas end, all at once. None of their groups begins here again before [`StateKeeper::tidied`] says
    /// that nothing is left of them.
    ///
    /// # Errors
    /// A failing disk: nothing was noted then.
    pub fn end_replicas(&self, ended: &[(ShardId, ReplicaId)]) -> Result<(), DirectoryError> {
        let has_ended = |kept: &Kept, (group, id)| {
            kept.state.replicas.get(&group) != Some(&id)
                && kept.state.tombstones.get(&group) >= Some(&id)
        };
        // Without waiting for a change of others: it is noted already.
        if ended.iter().all(|&one| has_ended(&self.lock(), one)) {
            return Ok(());
        }
        let _changing = self.begin_change();
        let mut next = self.lock().state.clone();
        let mut littered = BTreeSet::new();
        for &(group, id) in ended {
            if next.replicas.get(&group) == Some(&id) {
                littered.insert(group);
            }
            next.give_up(group, id);
        }
        self.put(next)?;
        self.lock().littered.append(&mut littered);
        Ok(())
    }

    /// Snapshots and log may hold what an earlier replica of the group has left.
    pub fn litter(&self, group: ShardId) {
        self.lock().littered.insert(group);
    }

    /// Whether they may.
    pub fn is_littered(&self, group: ShardId) -> bool {
        self.lock().littered.contains(&group)
    }

    /// Neither snapshots nor log bring back, from now on, what earlier replicas of the group have left.
    pub fn tidied(&self, group: ShardId) {
        self.lock().littered.remove(&group);
    }

    /// To be called by whoever is changing the state.
    fn put(&self, next: NodeState) -> Result<(), DirectoryError> {
        if next != self.lock().state {
            self.write(&next)?;
            self.lock().state = next;
        }
        Ok(())
    }

    fn begin_change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, state: &NodeState) -> Result<(), DirectoryError> {
        let (temp, path) = (self.dir.join(TEMP_NAME), self.dir.join(NAME));
        let failed = |error| DirectoryError::io("write", &path, error);
        let bytes = state.encode(self.node);
        let bytes = bytes.map_err(|error| failed(io::Error::other(error)))?;
        let written = self.disk.create(&temp).and_then(|file| {
            write_all_at(&*file, 0, &bytes)?;
            file.sync()
        });
        written
            .and_then(|()| self.disk.rename(&temp, &path))
            // The name is not durable until the directory is.
            .and_then(|()| self.disk.sync_dir(&self.dir))
            .map_err(failed)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(disk: &SharedDisk, path: &Path, node: NodeId) -> Result<Option<NodeState>, DirectoryError> {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DirectoryError::io("open", path, error)),
    };
    let failed = |error| DirectoryError::io("read", path, error);
    let len = file.len().map_err(failed)?;
    if !(HEAD_BYTES as u64..=STATE_BYTES_MAX as u64).contains(&len) {
        return Err(DirectoryError::Damaged {
            path: path.to_owned(),
            what: format!("no cluster state has {len} bytes"),
        });
    }
    let mut bytes = vec![0; len as usize];
    let read = read_full_at(&*file, 0, &mut bytes).map_err(failed)?;
    NodeState::decode(&bytes[..read], node, path).map(Some)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
