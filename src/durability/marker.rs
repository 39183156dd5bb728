//! The directory's marker file, which says who lives here and how the last run ended, and the lock against a second
//! process. Knows nothing of logs and snapshots.

use std::io;
use std::path::{Path, PathBuf};

use ringfort_cluster::NodeId;
use serde::{Deserialize, Serialize};

use super::disk::{read_full_at, write_all_at, DiskLock, SharedDisk};

const MARKER_NAME: &str = "ringfort.marker";
const MARKER_TEMP_NAME: &str = "ringfort.marker.tmp";
const FIRST_LINE: &str = "ringfort data directory, format ";
const LAST_LINE: &str = "crc32 ";
const LOCK_NAME: &str = "ringfort.lock";
/// Raised when the directory's files change in a way that older programs cannot read.
const FORMAT_VERSION: u32 = 1;
/// A marker is a few hundred bytes; anything longer is not one.
const MARKER_BYTES_MAX: usize = 64 << 10;

/// When written entries are made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DurabilityMode {
    /// Synced before the acknowledgement.
    Always,
    /// Written before the acknowledgement, synced every second.
    Everysec,
    /// Memory only.
    None,
}

/// How the run before this one ended, as far as the disk is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastStop {
    /// Everything was synced and every log ended in order.
    Orderly,
    /// The process died, the machine went on: everything written is there.
    Crash,
    /// The machine stopped: what was not synced may be gone.
    PowerCut,
}

/// What a data directory says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    /// Of the run that wrote this. See `boot_id`.
    pub boot_id: String,
    /// Set as the very last act of an orderly stop.
    pub clean: bool,
    pub durability: DurabilityMode,
    pub threads: u32,
    pub shards: u32,
    /// Databases of each shard; may grow.
    pub databases: u32,
    pub hash_seed: u64,
    pub node_id: NodeId,
    /// There is a cluster state beside it: where that is missing, nobody knows what this node had promised whom.
    #[serde(default)]
    pub cluster_state: bool,
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("another ringfort process uses the data directory {}: stop it, or start this one with another --dir", dir.display())]
    InUse { dir: PathBuf },
    #[error("{} is damaged ({what}): restore the data directory from a backup, or move it away to start empty", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("{} has format version {version}, this program knows version {known}: start the version that wrote it", path.display())]
    Version {
        path: PathBuf,
        version: String,
        known: u32,
    },
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl DirectoryError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// Creates the data directory if need be and locks it for as long as the result lives.
///
/// # Errors
/// `InUse` when another process has it.
pub fn lock_directory(disk: &SharedDisk, dir: &Path) -> Result<DiskLock, DirectoryError> {
    disk.create_dir(dir)
        .map_err(|error| DirectoryError::io("create", dir, error))?;
    let path = dir.join(LOCK_NAME);
    disk.lock(&path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => DirectoryError::InUse {
            dir: dir.to_owned(),
        },
        _ => DirectoryError::io("lock", &path, error),
    })
}

/// What names this boot of the machine; empty where the system does not say.
#[must_use]
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

impl LastStop {
    /// How the run that left this marker ended, seen from this boot. No marker: nothing ran here before.
    #[must_use]
    pub fn of(marker: Option<&Marker>, boot_id: &str) -> Self {
        match marker {
            Some(marker) if marker.clean => Self::Orderly,
            // Not knowing the boot is no reason to call unsynced records damage.
            Some(marker) if marker.boot_id != boot_id || boot_id.is_empty() => Self::PowerCut,
            _ => Self::Crash,
        }
    }
}

impl Marker {
    /// Whether the run that left this marker may have acknowledged writes that the disk has forgotten.
    #[must_use]
    pub fn is_suspect(&self, boot_id: &str) -> bool {
        self.durability != DurabilityMode::Always
            && LastStop::of(Some(self), boot_id) == LastStop::PowerCut
    }

    /// The directory's marker, if there is one.
    ///
    /// # Errors
    /// A damaged or unknown marker, or a failing disk.
    pub fn read(disk: &SharedDisk, dir: &Path) -> Result<Option<Self>, DirectoryError> {
        let path = dir.join(MARKER_NAME);
        let file = match disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DirectoryError::io("open", &path, error)),
        };
        let mut bytes = vec![0; MARKER_BYTES_MAX];
        let len = read_full_at(&*file, 0, &mut bytes)
            .map_err(|error| DirectoryError::io("read", &path, error))?;
        Self::decode(&bytes[..len], &path).map(Some)
    }

    /// Replaces the directory's marker, durably. At a start: only after recovery is through, because a recovery
    /// that is interrupted must learn the next time how the run before it ended.
    ///
    /// # Errors
    /// A failing or full disk; the former marker is still there then.
    pub fn write(&self, disk: &SharedDisk, dir: &Path) -> Result<(), DirectoryError> {
        let (temp, path) = (dir.join(MARKER_TEMP_NAME), dir.join(MARKER_NAME));
        let bytes = self.encode();
        disk.create(&temp)
            .and_then(|file| {
                write_all_at(&*file, 0, &bytes)?;
                file.sync()
            })
            .and_then(|()| disk.rename(&temp, &path))
            .and_then(|()| disk.sync_dir(dir))
            .map_err(|error| DirectoryError::io("write", &path, error))
    }

    /// A line with the version, the marker for people to read, a line with the checksum of both.
    fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_string_pretty(self).unwrap_or_default();
        let text = format!("{FIRST_LINE}{FORMAT_VERSION}\n{json}\n");
        format!(
            "{text}{LAST_LINE}{:08x}\n",
            crc32fast::hash(text.as_bytes())
        )
        .into_bytes()
    }

    fn decode(bytes: &[u8], path: &Path) -> Result<Self, DirectoryError> {
        let damaged = |what: &str| DirectoryError::Damaged {
            path: path.to_owned(),
            what: what.to_owned(),
        };
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("not text"))?;
        let end = text
            .rfind(LAST_LINE)
            .ok_or_else(|| damaged("its end is missing"))?;
        let (body, last) = text.split_at(end);
        if last != format!("{LAST_LINE}{:08x}\n", crc32fast::hash(body.as_bytes())) {
            return Err(damaged("its checksum is wrong"));
        }
        let (first, json) = body.split_once('\n').unwrap_or((body, ""));
        let version = first
            .strip_prefix(FIRST_LINE)
            .ok_or_else(|| damaged("not a marker"))?;
        if version != FORMAT_VERSION.to_string() {
            return Err(DirectoryError::Version {
                path: path.to_owned(),
                version: version.to_owned(),
                known: FORMAT_VERSION,
            });
        }
        serde_json::from_str(json).map_err(|error| damaged(&error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::durability::RealDisk;

    fn marker() -> Marker {
        Marker {
            boot_id: "b00t".into(),
            clean: false,
            durability: DurabilityMode::Everysec,
            threads: 2,
            shards: 64,
            databases: 16,
            hash_seed: u64::MAX,
            node_id: NodeId(7),
            cluster_state: true,
        }
    }

    #[test]
    fn a_marker_comes_back_as_it_was_written_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let disk: SharedDisk = Arc::new(RealDisk);
        assert_eq!(Marker::read(&disk, dir.path()).unwrap(), None);
        marker().write(&disk, dir.path()).unwrap();
        let clean = Marker {
            clean: true,
            ..marker()
        };
        clean.write(&disk, dir.path()).unwrap();
        assert_eq!(Marker::read(&disk, dir.path()).unwrap(), Some(clean));
    }

    #[test]
    fn every_flipped_bit_of_a_marker_is_noticed() {
        let good = marker().encode();
        let path = Path::new("/data/marker");
        assert_eq!(Marker::decode(&good, path).unwrap(), marker());
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Marker::decode(&bad, path).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(
                Marker::decode(&good[..len], path).is_err(),
                "cut to {len} bytes"
            );
        }
    }

    #[test]
    fn how_the_last_run_ended_follows_from_the_marker_and_the_boot() {
        let clean = Marker {
            clean: true,
            ..marker()
        };
        assert_eq!(LastStop::of(None, "b00t"), LastStop::Crash);
        assert_eq!(LastStop::of(Some(&marker()), "b00t"), LastStop::Crash);
        assert_eq!(LastStop::of(Some(&marker()), "other"), LastStop::PowerCut);
        assert_eq!(LastStop::of(Some(&clean), "other"), LastStop::Orderly);
        assert!(marker().is_suspect("other"));
        assert!(!marker().is_suspect("b00t"));
        assert!(!clean.is_suspect("other"));
        assert!(!Marker {
            durability: DurabilityMode::Always,
            ..marker()
        }
        .is_suspect("other"));
    }

    #[test]
    fn a_directory_has_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let disk: SharedDisk = Arc::new(RealDisk);
        let data = dir.path().join("data");
        let lock = lock_directory(&disk, &data).unwrap();
        let refused = lock_directory(&disk, &data).unwrap_err();
        assert!(matches!(refused, DirectoryError::InUse { .. }), "{refused}");
        drop(lock);
        lock_directory(&disk, &data).unwrap();
    }
}
