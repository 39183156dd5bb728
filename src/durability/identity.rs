//! The file that says which node lives in a data directory. It outlives the data: also a node that keeps nothing
//! (`--durability none`) is the same one after a restart.

use std::io;
use std::path::Path;

use ringfort_cluster::NodeId;

use super::disk::{read_full_at, write_all_at, SharedDisk};
use super::marker::{DirectoryError, Marker};

const NAME: &str = "node-id";
const TEMP_NAME: &str = "node-id.tmp";
/// An id and a line feed are far shorter; anything longer is something else.
const BYTES_MAX: usize = 256;

/// What markers held before nodes had identities.
const UNNAMED: NodeId = NodeId(1);

/// The identity of the node in this (locked) directory; drawn and written durably when there is none yet.
///
/// # Errors
/// A damaged file, one that contradicts the marker, a failing disk, or no chance to draw by.
pub fn node_identity(
    disk: &SharedDisk,
    dir: &Path,
    marker: Option<&Marker>,
    draw: impl FnOnce() -> io::Result<u128>,
) -> Result<NodeId, DirectoryError> {
    let path = dir.join(NAME);
    let marked = marker.map(|marker| marker.node_id);
    let marked = marked.filter(|&id| id != UNNAMED && id != NodeId::ZERO);
    match (read(disk, &path)?, marked) {
        (Some(id), None) => Ok(id),
        (Some(id), Some(marked)) if id == marked => Ok(id),
        (Some(id), Some(marked)) => Err(DirectoryError::Damaged {
            path,
            what: format!("it says {id}, the marker beside it {marked}"),
        }),
        (None, Some(marked)) => write(disk, dir, marked),
        (None, None) => {
            let drawn =
                draw().map_err(|error| DirectoryError::io("draw an id for", &path, error))?;
            // The few ids that mean something else are as good as impossible; 2 is as good as any other.
            let id = NodeId(drawn.max(2));
            write(disk, dir, id)
        }
    }
}

fn read(disk: &SharedDisk, path: &Path) -> Result<Option<NodeId>, DirectoryError> {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DirectoryError::io("open", path, error)),
    };
    let mut bytes = vec![0; BYTES_MAX];
    let len = read_full_at(&*file, 0, &mut bytes)
        .map_err(|error| DirectoryError::io("read", path, error))?;
    let damaged = |what: String| DirectoryError::Damaged {
        path: path.to_owned(),
        what,
    };
    let text = std::str::from_utf8(&bytes[..len]).map_err(|_| damaged("not text".into()))?;
    let id: NodeId = text
        .trim_end()
        .parse()
        .map_err(|error| damaged(format!("{error}")))?;
    match id {
        NodeId::ZERO => Err(damaged("no node has this id".into())),
        id => Ok(Some(id)),
    }
}

fn write(disk: &SharedDisk, dir: &Path, id: NodeId) -> Result<NodeId, DirectoryError> {
    let (temp, path) = (dir.join(TEMP_NAME), dir.join(NAME));
    let written = disk.create(&temp).and_then(|file| {
        write_all_at(&*file, 0, format!("{id}\n").as_bytes())?;
        file.sync()
    });
    written
        .and_then(|()| disk.rename(&temp, &path))
        // The name is not durable until the directory is.
        .and_then(|()| disk.sync_dir(dir))
        .map_err(|error| DirectoryError::io("write", &path, error))?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::durability::{DurabilityMode, RealDisk};

    fn disk() -> SharedDisk {
        Arc::new(RealDisk)
    }

    fn marker(node_id: NodeId) -> Marker {
        Marker {
            boot_id: "b00t".into(),
            clean: true,
            durability: DurabilityMode::Everysec,
            threads: 1,
            shards: 64,
            databases: 16,
            hash_seed: 0,
            node_id,
            cluster_state: false,
        }
    }

    fn never() -> io::Result<u128> {
        panic!("an id was drawn although there is one")
    }

    #[test]
    fn an_identity_is_drawn_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = node_identity(&disk(), dir.path(), None, || Ok(77)).unwrap();
        assert_eq!(first, NodeId(77));
        let again = node_identity(&disk(), dir.path(), None, never).unwrap();
        assert_eq!(again, first);
        let text = std::fs::read_to_string(dir.path().join(NAME)).unwrap();
        assert_eq!(text, format!("{first}\n"));
    }

    #[test]
    fn directories_of_before_get_one_and_a_marker_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let old = marker(UNNAMED);
        let id = node_identity(&disk(), dir.path(), Some(&old), || Ok(0)).unwrap();
        assert_eq!(id, NodeId(2));
        std::fs::remove_file(dir.path().join(NAME)).unwrap();
        let known = marker(NodeId(5));
        let id = node_identity(&disk(), dir.path(), Some(&known), never).unwrap();
        assert_eq!(id, NodeId(5));
        assert_eq!(node_identity(&disk(), dir.path(), None, never).unwrap(), id);
    }

    #[test]
    fn a_file_that_names_nobody_or_another_node_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let refused = |marker: Option<&Marker>| {
            node_identity(&disk(), dir.path(), marker, never)
                .unwrap_err()
                .to_string()
        };
        let good = NodeId(9).to_string();
        for bad in [
            "",
            "x",
            &good[1..],
            &good.replace('9', "8"),
            &NodeId::ZERO.to_string(),
        ] {
            std::fs::write(&path, bad).unwrap();
            assert!(refused(None).contains("node-id is damaged"), "{bad}");
        }
        std::fs::write(&path, good).unwrap();
        assert!(refused(Some(&marker(NodeId(8)))).contains("the marker beside it"));
    }
}
