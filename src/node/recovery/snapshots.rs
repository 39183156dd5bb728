//! The snapshot files of a node at its start: those of its replicas are read, those of replicas that are gone are removed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ringfort_cluster::ShardId;

use crate::durability::snapshot::{find_snapshots, SnapshotFile};
use crate::durability::{SharedDisk, SnapshotReader};
use crate::node::shard::Shard;
use crate::node::snapshots::Present;

use super::extra::read_snapshot;
use super::rebuild::Rebuild;
use super::replicas::{placeholder, Makings};
use super::StartError;

/// What there was.
pub(super) struct Snapshots {
    /// By shard.
    pub present: Vec<Present>,
    /// Those that could not be read, with the operator's consent to go on without.
    pub damaged: BTreeSet<ShardId>,
    files: BTreeMap<ShardId, SnapshotFile>,
}

impl Snapshots {
    /// The shard as its snapshot has it, for a replay that begins again.
    pub fn start_over(
        &self,
        disk: &SharedDisk,
        makings: &Makings,
        number: ShardId,
    ) -> Result<Shard, StartError> {
        match self.files.get(&number) {
            Some(file) => Ok(load_snapshot(disk, file, makings)?.0),
            None => Ok(makings.empty(number)),
        }
    }
}

pub(super) fn load_snapshots(
    disk: &SharedDisk,
    dir: &Path,
    makings: &Makings,
    shards: &mut [Shard],
    rebuild: &mut Rebuild,
) -> Result<Snapshots, StartError> {
    let mut found = Snapshots {
        present: vec![Present::default(); shards.len()],
        damaged: BTreeSet::new(),
        files: BTreeMap::new(),
    };
    for file in find_snapshots(disk, dir).map_err(StartError::from)? {
        let Some(shard) = shards.get_mut(usize::from(file.shard.0)) else {
            return Err(StartError(format!(
                "{} belongs to no shard of this node",
                file.path.display()
            )));
        };
        if !makings.is_held(file.shard) {
            // Of a replica that is gone. Durably, before the log says so: see `Item::Forget`.
            let removed = disk.remove(&file.path).and_then(|()| disk.sync_dir(dir));
            removed.map_err(|error| {
                StartError(format!("cannot remove {}: {error}", file.path.display()))
            })?;
            continue;
        }
        match load_snapshot(disk, &file, makings) {
            Ok((loaded, bytes)) => {
                *shard = loaded;
                found.present[usize::from(file.shard.0)] = Present {
                    bytes,
                    memory_bytes: shard.databases.bytes() as u64,
                };
                found.files.insert(file.shard, file);
            }
            Err(_) if is_given_up(disk, &file, rebuild) => {}
            Err(error) if makings.startup.accept_data_loss => {
                tracing::error!("{error}; going on without it, as --accept-data-loss says");
                put_aside(disk, dir, &file)?;
                found.damaged.insert(file.shard);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Whether a snapshot that cannot be read is damaged, and its group rebuilds the replica. The file goes later, with all others of
/// replicas that are gone.
fn is_given_up(disk: &SharedDisk, file: &SnapshotFile, rebuild: &mut Rebuild) -> bool {
    let damaged = SnapshotReader::open(disk, file).err();
    damaged.is_some_and(|error| rebuild.snapshot(file.shard, &error))
}

/// Out of the way, so that the next start needs no consent; kept, because it may yet be of use.
fn put_aside(disk: &SharedDisk, dir: &Path, file: &SnapshotFile) -> Result<(), StartError> {
    let mut aside = file.path.clone().into_os_string();
    aside.push(".damaged");
    let renamed = disk.rename(&file.path, Path::new(&aside));
    renamed
        .and_then(|()| disk.sync_dir(dir))
        .map_err(|error| StartError(format!("cannot rename {}: {error}", file.path.display())))
}

fn load_snapshot(
    disk: &SharedDisk,
    file: &SnapshotFile,
    makings: &Makings,
) -> Result<(Shard, u64), StartError> {
    let loaded = read_snapshot(disk, file, makings.startup.databases, makings.seed)?;
    let bytes = loaded.bytes;
    let replica = placeholder(makings.group(loaded.meta.shard));
    Ok((loaded.into_shard(replica), bytes))
}
