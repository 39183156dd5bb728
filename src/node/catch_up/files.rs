//! A worker's snapshot files as the transfer between nodes needs them. Everything here waits for the disk: it belongs on a thread that may.

use std::path::PathBuf;
use std::sync::Arc;

use ringfort_cluster::{Index, ReplicaId, ShardId};

use crate::durability::snapshot::{
    remove_older, remove_snapshot, IncomingFile, OutgoingFile, SnapshotError, SnapshotFile,
};
use crate::durability::{SharedDisk, SnapshotReader};
use crate::node::recovery::{read_snapshot, LoadedSnapshot};

use super::wire::Header;

/// Where a worker's snapshots lie, and how they are read. Clones are the same place.
#[derive(Clone)]
pub struct SnapshotFiles {
    pub(super) disk: SharedDisk,
    pub(super) dir: PathBuf,
    /// Databases of every shard.
    pub(super) databases: u32,
    /// Of all keyspaces of the node.
    pub(super) seed: u64,
    /// The files outlive their use: they are what a restart begins with.
    pub(super) are_kept: bool,
}

/// A snapshot to be sent, held open.
pub type Outgoing = Arc<OutgoingFile>;

/// A snapshot that is coming in.
pub struct Incoming {
    files: SnapshotFiles,
    shard: ShardId,
    header: Header,
    file: IncomingFile,
}

impl SnapshotFiles {
    /// A shard's newest snapshot, if it reaches that far and `to` stands in it.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    pub fn newest(
        &self,
        shard: u16,
        at_least: Index,
        to: ReplicaId,
    ) -> Result<Option<Outgoing>, String> {
        let newest = OutgoingFile::newest(&self.disk, &self.dir, ShardId(shard))
            .map_err(|error| error.to_string())?;
        let is_good = |file: &OutgoingFile| {
            let meta = file.meta();
            meta.index >= at_least && meta.membership.contains(to)
        };
        Ok(newest.filter(is_good).map(Arc::new))
    }

    /// Makes room for a snapshot that is announced. `number` tells apart what comes for a shard at the same time.
    ///
    /// # Errors
    /// Why there is none, for the sender.
    pub fn begin(&self, shard: u16, header: &Header, number: u64) -> Result<Incoming, String> {
        let shard = ShardId(shard);
        let to = (shard, header.index);
        let file = IncomingFile::begin(&self.disk, &self.dir, to, number, header.bytes);
        Ok(Incoming {
            files: self.clone(),
            shard,
            header: header.clone(),
            file: file.map_err(|error| error.in_short())?,
        })
    }

    /// A snapshot that was received and taken in has replaced those before it. Where nothing is kept it is of no more use itself.
    pub fn clear_below(&self, shard: u16, index: Index) {
        let below = if self.are_kept { index } else { index.next() };
        remove_older(&self.disk, &self.dir, ShardId(shard), below);
    }

    /// Where nothing is kept: the snapshots of a shard have been sent.
    pub fn clear_sent(&self, shard: u16) {
        if !self.are_kept {
            remove_older(&self.disk, &self.dir, ShardId(shard), Index(u64::MAX));
        }
    }

    /// A snapshot that was received and is not wanted after all.
    pub fn remove(&self, shard: u16, index: Index) {
        if let Err(error) = remove_snapshot(&self.disk, &self.dir, ShardId(shard), index) {
            tracing::warn!("{error}");
        }
    }
}

impl Incoming {
    /// Adds what came next.
    ///
    /// # Errors
    /// Why not, for the sender.
    pub fn append(&mut self, chunk: &[u8]) -> Result<(), String> {
        self.file.append(chunk).map_err(|error| error.in_short())
    }

    /// All has come: reads it, which checks all of it, and puts it in place, durably.
    ///
    /// # Errors
    /// What is wrong with it, for the sender. Nothing of it is left then.
    pub fn check_and_place(mut self) -> Result<LoadedSnapshot, String> {
        let in_short = |error: SnapshotError| error.in_short();
        let files = self.files.clone();
        let temp = self.file.complete().map_err(in_short)?;
        let loaded = match read_snapshot(&files.disk, temp, files.databases, files.seed) {
            Ok(loaded) => loaded,
            Err(_) => return Err(files.why_unsound(temp)),
        };
        let meta = &loaded.meta;
        if (meta.shard, meta.term) != (self.shard, self.header.index_term) {
            return Err("it is not what was announced".into());
        }
        if !meta.membership.contains(self.header.to) {
            let to = self.header.to;
            return Err(format!("replica {to} does not belong to the group in it"));
        }
        self.file.put_in_place().map_err(in_short)?;
        Ok(loaded)
    }
}

impl SnapshotFiles {
    fn why_unsound(&self, file: &SnapshotFile) -> String {
        match SnapshotReader::open(&self.disk, file) {
            Err(error) => error.in_short(),
            Ok(_) => "it holds what makes no sense here".into(),
        }
    }
}
