//! Damage to a node's files costs it the replicas that its peers can rebuild, and nothing else; where they cannot it refuses. On a
//! simulated disk that dies in every call.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringfort_cluster::meta::MetaCommand;
use ringfort_cluster::topology::{Node, META_GROUP};
use ringfort_cluster::{Epoch, HardState, Index, Term};

use super::directory::open_directory_on;
use super::tests::{applied, empty_entry, held, node, wal_of, ONE, ZERO};
use super::*;
use crate::durability::snapshot::find_snapshots;
use crate::durability::{SimDisk, SnapshotWriter};
use crate::settings::Builder;

const FIRST: ReplicaId = ReplicaId(1);
const NEXT: ReplicaId = ReplicaId(4);
const ALL: [ShardId; 3] = [ZERO, ONE, META_GROUP];
const LOG: &str = "/data/wal/wal-0-000001.log";

fn startup_with(flags: &[(&str, &str)]) -> Arc<Startup> {
    let all = [
        ("dir", "/data"),
        ("shards", "2"),
        ("threads", "1"),
        ("wal-segment-bytes", "256kb"),
    ];
    let settings = Builder::new().flags(all.iter().chain(flags).copied());
    settings.expect("good settings").build().startup().clone()
}

fn startup() -> Arc<Startup> {
    startup_with(&[])
}

fn load_on(disk: &SimDisk, startup: &Startup) -> Result<Loaded, StartError> {
    let shared: SharedDisk = Arc::new(disk.clone());
    let directory = open_directory_on(shared, startup)?;
    let topology = match directory.topology()? {
        Some(topology) => topology,
        None => found_alone(&directory, node(directory.node_id), startup)?,
    };
    load(directory, startup, &topology, Limits::default())
}

fn stop(disk: &SimDisk, loaded: Loaded) {
    loaded.disk.expect("a disk").end();
    disk.process_crash();
}

/// Puts two more nodes into the topology, with replicas 2 and 3 of these groups on them. `voters` vote.
fn grown(topology: &Topology, groups: &[ShardId], voters: &[u64]) -> Topology {
    let mut grown = topology.clone();
    for (id, peer_port) in [(98, 8), (99, 9)] {
        let node = Node {
            peer_port,
            ..node(NodeId(id))
        };
        let join = MetaCommand::Join {
            cluster_id: None,
            node,
        };
        grown.apply(&join).unwrap();
    }
    for group in groups {
        let place = match *group {
            META_GROUP => &mut grown.meta,
            shard => &mut grown.shards[shard.as_usize()],
        };
        let first = place.replicas[&FIRST].clone();
        for (id, node) in [(2, 98), (3, 99)] {
            let node = NodeId(node);
            let held = ringfort_cluster::topology::Replica {
                node,
                ..first.clone()
            };
            place.replicas.insert(ReplicaId(id), held);
        }
        place.next_replica = NEXT;
        let ids: Vec<ReplicaId> = voters.iter().copied().map(ReplicaId).collect();
        let others = (1..4)
            .map(ReplicaId)
            .filter(|id| !ids.contains(id))
            .collect();
        place.members.voters = ids;
        place.members.learners = others;
        place.changed = Epoch(9);
    }
    grown.epoch = Epoch(grown.epoch.0 + 1);
    grown
}

/// A node that founded, wrote entries of every group and has heard of two others. Says where the sixth of the records is.
fn damaged_node(groups: &[ShardId], voters: &[u64]) -> (SimDisk, u64) {
    let disk = SimDisk::new(5);
    let startup = startup();
    let loaded = load_on(&disk, &startup).unwrap();
    let mut wal = wal_of(&loaded, &startup);
    let mut places = Vec::new();
    for index in 1..=6 {
        let hard_state = HardState {
            term: Term(4),
            vote: FIRST,
            commit: Index(index),
        };
        for shard in 0..=2 {
            wal.begin();
            wal.push(ShardId(shard), Index(index), &empty_entry(4, index));
            wal.push_hard_state(ShardId(shard), hard_state);
            places.push(wal.write().unwrap().offset);
        }
    }
    wal.sync().unwrap();
    // It says of all before it that they are synced: no power cut has taken them.
    wal.begin();
    let vote = HardState {
        term: Term(5),
        vote: FIRST,
        commit: Index(6),
    };
    wal.push_hard_state(ZERO, vote);
    wal.write().unwrap();
    let founding = loaded.state.state().founding.unwrap();
    let grown = grown(&Topology::decode(&founding).unwrap(), groups, voters);
    let bytes = grown.encode().unwrap();
    let kept = loaded.state.change(|state| state.topology = Some(bytes));
    kept.unwrap();
    drop(wal);
    stop(&disk, loaded);
    (disk, places[5])
}

fn flip(disk: &SimDisk, offset: u64) {
    assert!(disk.flip_bit(Path::new(LOG), (offset + 60) * 8));
}

fn snapshots(disk: &SimDisk) -> Vec<PathBuf> {
    let shared: SharedDisk = Arc::new(disk.clone());
    let found = find_snapshots(&shared, Path::new("/data/snapshots")).unwrap();
    found.into_iter().map(|file| file.path).collect()
}

/// Writes a snapshot of the first two shards as they are.
fn write_snapshots(disk: &SimDisk, loaded: &Loaded) {
    let shared: SharedDisk = Arc::new(disk.clone());
    for shard in &loaded.shards[..2] {
        let dir = Path::new("/data/snapshots");
        let writer = SnapshotWriter::begin(shared.clone(), dir, describe(shard)).unwrap();
        writer.finish(0).unwrap();
    }
}

/// What a node is that has given up all its replicas: it can begin others, and they stay.
fn gave_up_all(disk: &SimDisk, startup: &Startup) {
    let loaded = load_on(disk, startup).unwrap();
    assert_eq!(loaded.lost, ALL.map(|group| (group, FIRST)));
    assert_eq!(
        (held(&loaded), applied(&loaded)),
        (vec![false; 3], vec![0; 3])
    );
    assert_eq!(snapshots(disk), Vec::<PathBuf>::new());
    let wal = wal_of(&loaded, startup);
    for group in ALL {
        assert!(loaded.state.begin_replicas(&[(group, FIRST)]).is_err());
    }
    let begun = ALL.map(|group| (group, NEXT));
    loaded.state.begin_replicas(&begun).unwrap();
    drop(wal);
    stop(disk, loaded);
    let again = load_on(disk, startup).unwrap();
    assert_eq!((held(&again), applied(&again)), (vec![true; 3], vec![0; 3]));
    for shard in &again.shards {
        assert_eq!(shard.replica.id(), NEXT);
        assert_eq!(shard.replica.hard_state(), HardState::default());
    }
    stop(disk, again);
}

#[test]
fn a_node_with_a_damaged_log_gives_its_replicas_up_and_starts() {
    let (disk, record) = damaged_node(&ALL, &[1, 2, 3]);
    flip(&disk, record);
    gave_up_all(&disk, &startup());
}

#[test]
fn a_log_whose_header_or_first_record_is_damaged_may_have_held_anything() {
    for offset in [0, 512] {
        let (disk, _) = damaged_node(&ALL, &[1, 2, 3]);
        flip(&disk, offset);
        gave_up_all(&disk, &startup());
    }
}

#[test]
fn the_only_copy_of_a_shard_keeps_a_node_with_a_damaged_log_from_starting() {
    for (groups, voters) in [(&ALL[..1], &[1, 2, 3][..]), (&ALL, &[1]), (&ALL, &[1, 2])] {
        let (disk, record) = damaged_node(groups, voters);
        flip(&disk, record);
        let calls = disk.calls();
        let refused = load_on(&disk, &startup()).err().expect("a refusal");
        let text = refused.to_string();
        assert!(
            text.contains(&format!("corrupt at byte {record}")),
            "{text}"
        );
        assert!(text.contains("--accept-data-loss"), "{text}");
        disk.process_crash();
        let again = load_on(&disk, &startup()).err().expect("a refusal");
        assert_eq!(
            again.to_string(),
            text,
            "after {} calls",
            disk.calls() - calls
        );
        disk.process_crash();
        let accepts = startup_with(&[("accept-data-loss", "yes")]);
        let loaded = load_on(&disk, &accepts).unwrap();
        assert!(loaded.lost.is_empty());
        assert_eq!(loaded.shards[0].replica.id(), FIRST);
        stop(&disk, loaded);
    }
}

#[test]
fn a_learner_is_rebuilt_where_another_decides_alone() {
    let (disk, record) = damaged_node(&ALL, &[2]);
    flip(&disk, record);
    gave_up_all(&disk, &startup());
}

#[test]
fn voters_that_are_given_up_elsewhere_rebuild_nothing() {
    let (disk, record) = damaged_node(&ALL, &[1, 2, 3]);
    let loaded = load_on(&disk, &startup()).unwrap();
    let bytes = loaded.state.state().topology.unwrap();
    let mut topology = Topology::decode(&bytes).unwrap();
    let other = topology.shards[0].replicas.get_mut(&ReplicaId(2));
    other.unwrap().lost = true;
    let bytes = topology.encode().unwrap();
    let kept = loaded.state.change(|state| state.topology = Some(bytes));
    kept.unwrap();
    drop(wal_of(&loaded, &startup()));
    stop(&disk, loaded);
    flip(&disk, record);
    assert!(load_on(&disk, &startup()).is_err());
}

#[test]
fn a_damaged_snapshot_costs_its_own_shard_alone() {
    let (disk, _) = damaged_node(&ALL, &[1, 2, 3]);
    let loaded = load_on(&disk, &startup()).unwrap();
    write_snapshots(&disk, &loaded);
    stop(&disk, loaded);
    let files = snapshots(&disk);
    assert!(disk.flip_bit(&files[0], 8 * 30));
    let loaded = load_on(&disk, &startup()).unwrap();
    assert_eq!(loaded.lost, [(ZERO, FIRST)]);
    assert_eq!(held(&loaded), [false, true, true]);
    assert_eq!(applied(&loaded), [0, 6, 6]);
    assert_eq!(snapshots(&disk), files[1..]);
    drop(wal_of(&loaded, &startup()));
    stop(&disk, loaded);
    // Nothing is left to complain about, and nothing of the replica comes back.
    let loaded = load_on(&disk, &startup()).unwrap();
    assert_eq!(
        (&loaded.lost[..], applied(&loaded)),
        (&[(ZERO, FIRST)][..], vec![0, 6, 6])
    );
    stop(&disk, loaded);
}

#[test]
fn a_damaged_snapshot_of_the_only_copy_keeps_the_node_from_starting() {
    let (disk, _) = damaged_node(&ALL[1..], &[1, 2, 3]);
    let loaded = load_on(&disk, &startup()).unwrap();
    write_snapshots(&disk, &loaded);
    stop(&disk, loaded);
    let files = snapshots(&disk);
    assert!(disk.flip_bit(&files[0], 8 * 30) && disk.flip_bit(&files[1], 8 * 30));
    let refused = load_on(&disk, &startup()).err().expect("a refusal");
    assert!(
        refused.to_string().contains("--accept-data-loss"),
        "{refused}"
    );
    disk.process_crash();
    assert_eq!(snapshots(&disk), files, "nothing was touched");
}

/// Its group may have nobody who knows more.
#[test]
fn a_node_that_lost_power_gives_nothing_up_by_itself() {
    let (disk, record) = damaged_node(&ALL, &[1, 2, 3]);
    flip(&disk, record);
    let shared: SharedDisk = Arc::new(disk.clone());
    let dir = Path::new("/data");
    let marker = Marker::read(&shared, dir).unwrap().unwrap();
    let boot_id = "another".into();
    let cut = Marker {
        boot_id,
        ..marker.clone()
    };
    cut.write(&shared, dir).unwrap();
    let refused = load_on(&disk, &startup()).err().expect("a refusal");
    assert!(refused.to_string().contains("corrupt at byte"), "{refused}");
    disk.process_crash();
    // Whoever keeps nothing back has forgotten nothing.
    let durability = DurabilityMode::Always;
    let always = Marker { durability, ..cut };
    always.write(&shared, dir).unwrap();
    gave_up_all(&disk, &startup());
}

/// A snapshot that is gone whose entries are gone too: the rest of the log has nothing to stand on.
#[test]
fn a_replica_with_a_hole_in_its_history_is_rebuilt() {
    let disk = SimDisk::new(9);
    let startup = startup();
    let loaded = load_on(&disk, &startup).unwrap();
    let mut wal = wal_of(&loaded, &startup);
    for index in [1, 5] {
        wal.begin();
        wal.push(ONE, Index(index), &empty_entry(1, index));
        wal.write().unwrap();
    }
    let founding = Topology::decode(&loaded.state.state().founding.unwrap()).unwrap();
    drop(wal);
    stop(&disk, loaded);
    let refused = load_on(&disk, &startup).err().expect("a refusal");
    assert!(
        refused.to_string().contains("goes on at entry 5"),
        "{refused}"
    );
    disk.process_crash();
    let shared: SharedDisk = Arc::new(disk.clone());
    let directory = open_directory_on(shared, &startup).unwrap();
    let topology = grown(&founding, &ALL, &[1, 2, 3]);
    let loaded = load(directory, &startup, &topology, Limits::default()).unwrap();
    assert!(loaded.lost.contains(&(ONE, FIRST)));
    assert!(!held(&loaded)[1]);
    stop(&disk, loaded);
}

/// Given up half, a replica would come back with what is left of it.
#[test]
fn a_start_that_dies_anywhere_while_replicas_are_given_up_is_made_up_for() {
    let startup = startup();
    let prepared = || {
        let (disk, record) = damaged_node(&ALL, &[1, 2, 3]);
        let loaded = load_on(&disk, &startup).unwrap();
        write_snapshots(&disk, &loaded);
        stop(&disk, loaded);
        flip(&disk, record);
        let files = snapshots(&disk);
        assert!(disk.flip_bit(&files[1], 8 * 30));
        disk
    };
    let mut nth = 0;
    loop {
        nth += 1;
        let disk = prepared();
        disk.stop_at_call(nth);
        let loaded = load_on(&disk, &startup);
        if let Ok(loaded) = loaded {
            let logs: Vec<&Shard> = loaded.shards.iter().collect();
            let opened = loaded.disk.as_ref().unwrap().open_wal(0, &logs, &startup);
            let is_through = opened.is_ok() && !disk.is_stopped();
            drop(opened);
            stop(&disk, loaded);
            if is_through {
                break;
            }
        }
        match nth % 2 {
            0 => disk.process_crash(),
            _ => disk.power_cut(),
        }
        gave_up_all(&disk, &startup);
    }
    assert!(nth > 10, "the disk was stopped in {nth} calls only");
}
