//! What a node comes back with: its replicas, and none that it must not have any more.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ringfort_cluster::meta::MetaCommand;
use ringfort_cluster::replica::EntryKind;
use ringfort_cluster::topology::{Node, Ports, META_GROUP};
use ringfort_cluster::{Epoch, HardState, Index, LogEntry, Outputs, Term};

use super::*;
use crate::durability::snapshot::find_snapshots;
use crate::durability::{NodeState, RealDisk, SnapshotWriter, Wal};
use crate::settings::Builder;

pub(super) const ZERO: ShardId = ShardId(0);
pub(super) const ONE: ShardId = ShardId(1);

fn startup_with(dir: &Path, flags: &[(&str, &str)]) -> Arc<Startup> {
    let dir = dir.to_str().expect("a path of text");
    let all = [("dir", dir), ("shards", "2")];
    let settings = Builder::new().flags(all.iter().chain(flags).copied());
    settings.expect("good settings").build().startup().clone()
}

fn startup(dir: &Path) -> Arc<Startup> {
    startup_with(dir, &[])
}

pub(super) fn node(id: NodeId) -> Node {
    Node::new(id, "127.0.0.1", Ports::default())
}

/// As the program does it.
fn load_new(startup: &Startup) -> Result<Loaded, StartError> {
    let directory = open_directory(startup)?;
    let topology = match directory.topology()? {
        Some(topology) => topology,
        None => found_alone(&directory, node(directory.node_id), startup)?,
    };
    load(directory, startup, &topology, Limits::default())
}

fn marker(dir: &Path) -> Marker {
    let disk: SharedDisk = Arc::new(RealDisk);
    Marker::read(&disk, dir).unwrap().expect("a marker")
}

pub(super) fn wal_of(loaded: &Loaded, startup: &Startup) -> Wal {
    let disk = loaded.disk.as_ref().expect("a disk");
    let shards: Vec<&Shard> = loaded.shards.iter().collect();
    disk.open_wal(0, &shards, startup).unwrap()
}

/// The process ends: in order, or not.
fn stop(loaded: Loaded, clean: bool) {
    let disk = loaded.disk.expect("a disk");
    if clean {
        disk.mark_clean().unwrap();
    }
    disk.end();
}

pub(super) fn empty_entry(term: u64, index: u64) -> LogEntry {
    LogEntry {
        index: Index(index),
        term: Term(term),
        kind: EntryKind::Empty,
        data: Bytes::new(),
    }
}

/// Gives every shard entries up to that index. A replay applies all but the last: no later entry says that it is committed.
fn write_entries(wal: &mut Wal, last: u64) {
    let hard_state = HardState {
        term: Term(4),
        vote: ReplicaId(1),
        commit: Index(last),
    };
    for shard in 0..=2 {
        wal.begin();
        for index in 1..=last {
            wal.push(ShardId(shard), Index(index - 1), &empty_entry(4, index));
        }
        wal.push_hard_state(ShardId(shard), hard_state);
        wal.write().unwrap();
    }
    wal.sync().unwrap();
}

/// Puts a node into the topology, and a replica of shard 0 on it.
fn with_another(topology: &Topology) -> Topology {
    let mut grown = topology.clone();
    let other = Node {
        peer_port: 9,
        ..node(NodeId(99))
    };
    let id = other.id;
    let join = MetaCommand::Join {
        cluster_id: None,
        node: other,
    };
    grown.apply(&join).unwrap();
    let place = &mut grown.shards[0];
    let first = place.replicas[&ReplicaId(1)].clone();
    let next = place.next_replica;
    let replica = ringfort_cluster::topology::Replica { node: id, ..first };
    place.replicas.insert(next, replica);
    place.next_replica = ReplicaId(next.0 + 1);
    grown.epoch = Epoch(grown.epoch.0 + 1);
    grown
}

/// A node that founded, wrote entries and then heard of another node. Says its directory's topology.
fn grown_node(startup: &Startup) -> Topology {
    let loaded = load_new(startup).unwrap();
    let mut wal = wal_of(&loaded, startup);
    write_entries(&mut wal, 5);
    let founding = loaded.state.state().founding.unwrap();
    let grown = with_another(&Topology::decode(&founding).unwrap());
    let bytes = grown.encode().unwrap();
    loaded
        .state
        .change(|state| state.topology = Some(bytes))
        .unwrap();
    drop(wal);
    stop(loaded, false);
    grown
}

/// As if the machine had lost power since.
fn cut_power(startup: &Startup) {
    let marker = Marker {
        boot_id: "another".into(),
        clean: false,
        ..marker(&startup.dir)
    };
    let disk: SharedDisk = Arc::new(RealDisk);
    marker.write(&disk, &startup.dir).unwrap();
}

pub(super) fn held(loaded: &Loaded) -> Vec<bool> {
    let shards = loaded.shards.iter();
    shards.map(|shard| shard.standing.is_held).collect()
}

pub(super) fn applied(loaded: &Loaded) -> Vec<u64> {
    let shards = loaded.shards.iter();
    shards.map(|shard| shard.applied().0 .0).collect()
}

/// The marker came behind the opening of the logs. A start that ended in between left logs without their end under a
/// marker that told of an orderly stop.
#[test]
fn the_directory_says_that_a_run_has_begun_before_any_log_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let startup = startup(dir.path());
    for _ in 0..2 {
        let loaded = load_new(&startup).unwrap();
        assert!(!marker(dir.path()).clean);
        let logs = std::fs::read_dir(dir.path().join("wal")).unwrap();
        assert_eq!(logs.count(), 0, "no log is open yet");
        stop(loaded, true);
        assert!(marker(dir.path()).clean);
    }
}

#[test]
fn a_node_is_the_same_in_its_directory_with_and_without_data() {
    let dir = tempfile::tempdir().unwrap();
    let kept = startup(dir.path());
    let memory = startup_with(dir.path(), &[("durability", "none")]);
    let first = load_new(&memory).unwrap();
    assert!(first.disk.is_none());
    assert!(load_new(&memory).is_err(), "it is in use");
    let (id, cluster) = (first.node_id, cluster_of(&first));
    drop(first);
    let second = load_new(&kept).unwrap();
    assert_eq!((second.node_id, cluster_of(&second)), (id, cluster));
    assert_eq!(marker(dir.path()).node_id, id);
    stop(second, true);
    let third = load_new(&memory).unwrap();
    assert_eq!((third.node_id, cluster_of(&third)), (id, cluster));
}

fn cluster_of(loaded: &Loaded) -> ringfort_cluster::topology::ClusterId {
    loaded.shards[2]
        .meta
        .as_ref()
        .expect("the meta group")
        .cluster_id
}

#[test]
fn a_recovery_that_fails_leaves_the_marker_of_the_run_before() {
    let dir = tempfile::tempdir().unwrap();
    let startup = startup(dir.path());
    stop(load_new(&startup).unwrap(), true);
    std::fs::write(dir.path().join("wal/wal-0-000001.log"), [7; 4096]).unwrap();
    assert!(load_new(&startup).is_err());
    assert!(marker(dir.path()).clean);
}

#[test]
fn a_founder_leads_every_group_and_its_meta_group_begins_with_what_it_founded() {
    let dir = tempfile::tempdir().unwrap();
    let startup = startup(dir.path());
    let mut loaded = load_new(&startup).unwrap();
    assert_eq!(held(&loaded), [true; 3]);
    let groups: Vec<ShardId> = loaded.shards.iter().map(|s| s.replica.shard()).collect();
    assert_eq!(groups, [ZERO, ONE, META_GROUP]);
    for shard in &mut loaded.shards {
        shard.replica.campaign();
        assert!(shard.replica.is_leader());
    }
    let founded = loaded.shards[2].meta.clone().unwrap();
    assert_eq!(founded.shards.len(), 2);
    assert!(founded.nodes.contains_key(&loaded.node_id));
    assert!(loaded.lost.is_empty() && loaded.suspect.is_empty());
    let seed = hash_seed(&founded);
    stop(loaded, true);
    assert_eq!(marker(dir.path()).hash_seed, seed);
    let again = load_new(&startup).unwrap();
    assert_eq!(again.shards[2].meta.as_ref(), Some(&founded));
    stop(again, true);
}

#[test]
fn data_from_before_clusters_is_taken_over_with_its_shards_and_seed() {
    let dir = tempfile::tempdir().unwrap();
    let startup = startup(dir.path());
    let loaded = load_new(&startup).unwrap();
    let mut wal = wal_of(&loaded, &startup);
    write_entries(&mut wal, 5);
    drop(wal);
    stop(loaded, false);
    // As such a node has left it: without the meta group's entries too, but these are ahead of no snapshot.
    std::fs::remove_file(dir.path().join("cluster-state")).unwrap();
    let refused = load_new(&startup).err().expect("a refusal").to_string();
    assert!(refused.contains("cluster-state is missing"), "{refused}");
    let old = Marker {
        cluster_state: false,
        hash_seed: 0xABCD,
        ..marker(dir.path())
    };
    let disk: SharedDisk = Arc::new(RealDisk);
    old.write(&disk, dir.path()).unwrap();

    let other = startup_with(dir.path(), &[("shards", "4")]);
    let refused = load_new(&other).err().expect("a refusal").to_string();
    assert!(refused.contains("start with --shards 2"), "{refused}");
    let loaded = load_new(&startup).unwrap();
    assert_eq!(hash_seed(loaded.shards[2].meta.as_ref().unwrap()), 0xABCD);
    assert_eq!(marker(dir.path()).hash_seed, 0xABCD);
    assert_eq!(applied(&loaded)[..2], [4, 4]);
    stop(loaded, true);
}

#[test]
fn data_from_before_clusters_joins_no_other_cluster() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let startup = startup(old.path());
    stop(load_new(&startup).unwrap(), true);
    std::fs::remove_file(old.path().join("cluster-state")).unwrap();
    let marker = Marker {
        cluster_state: false,
        ..marker(old.path())
    };
    let disk: SharedDisk = Arc::new(RealDisk);
    marker.write(&disk, old.path()).unwrap();
    let other = self::startup(new.path());
    let there = open_directory(&other).unwrap();
    let topology = found_alone(&there, node(there.node_id), &other).unwrap();
    let refused = load(
        open_directory(&startup).unwrap(),
        &startup,
        &topology,
        Limits::default(),
    );
    let refused = refused.err().expect("a refusal").to_string();
    assert!(refused.contains("stood alone"), "{refused}");
}

#[test]
fn a_node_founds_one_cluster_only() {
    let dir = tempfile::tempdir().unwrap();
    let startup = startup(dir.path());
    let directory = open_directory(&startup).unwrap();
    let me = node(directory.node_id);
    let bad = Node {
        host: String::new(),
        ..me.clone()
    };
    assert!(found(&directory, bad, 2, 3, 1).is_err());
    let topology = found(&directory, me.clone(), 2, 3, 0xFEED).unwrap();
    assert_eq!((topology.replicas, hash_seed(&topology)), (3, 0xFEED));
    assert!(found(&directory, me, 2, 3, 1).is_err());
    drop(directory);
    // It was durable before anything of the data was there.
    let again = open_directory(&startup).unwrap();
    assert_eq!(again.topology().unwrap(), Some(topology));
    assert_eq!(again.state.state().replicas.len(), 3);
}

#[test]
fn what_is_not_held_is_a_placeholder_that_never_speaks() {
    let dir = tempfile::tempdir().unwrap();
    let startup = startup(dir.path());
    let grown = grown_node(&startup);
    let directory = open_directory(&startup).unwrap();
    directory
        .state
        .end_replicas(&[(ONE, ReplicaId(1))])
        .unwrap();
    let mut loaded = load(directory, &startup, &grown, Limits::default()).unwrap();
    assert_eq!(held(&loaded), [true, false, true]);
    let idle = &mut loaded.shards[1];
    assert_eq!(idle.applied().0, Index::ZERO);
    idle.replica.campaign();
    let mut outputs = Outputs::default();
    for tick in 0..200 {
        idle.replica
            .tick(ringfort_cluster::Monotonic(tick * 50_000));
        while idle.replica.ready(&mut outputs) {
            assert!(outputs.messages.is_empty() && outputs.hard_state.is_none());
            idle.replica.persisted(&mut outputs);
            assert!(outputs.messages.is_empty());
        }
    }
    assert!(!idle.replica.is_leader());
    assert_eq!(idle.replica.hard_state(), HardState::default());
    stop(loaded, true);
}

#[test]
fn what_a_dropped_replica_has_left_is_gone_for_its_successor() {
    let dir = tempfile::tempdir().unwrap();
    let startup = startup(dir.path());
    let grown = grown_node(&startup);
    let directory = open_directory(&startup).unwrap();
    let group = (ZERO, ReplicaId(1));
    // The process ended between the note and the rest.
    directory.state.end_replicas(&[group]).unwrap();
    let snapshots = dir.path().join("snapshots");
    let disk: SharedDisk = Arc::new(RealDisk);
    let loaded = load(directory, &startup, &grown, Limits::default()).unwrap();
    let refused = loaded.state.begin_replicas(&[(ZERO, ReplicaId(7))]);
    assert!(refused.is_err(), "the log may still bring it back");
    let wal = wal_of(&loaded, &startup);
    loaded
        .state
        .begin_replicas(&[(ZERO, ReplicaId(7))])
        .unwrap();
    drop(wal);
    stop(loaded, false);

    let loaded = load(
        open_directory(&startup).unwrap(),
        &startup,
        &grown,
        Limits::default(),
    );
    let loaded = loaded.unwrap();
    let shard = &loaded.shards[0];
    assert!(shard.standing.is_held);
    assert_eq!(shard.replica.id(), ReplicaId(7));
    assert_eq!(shard.replica.hard_state(), HardState::default());
    assert!(shard.membership.is_unknown() && shard.applied().0 == Index::ZERO);
    assert_eq!(applied(&loaded)[1], 4);
    assert!(find_snapshots(&disk, &snapshots).unwrap().is_empty());
    stop(loaded, true);
}

#[test]
fn a_snapshot_of_a_replica_that_is_gone_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let startup = startup(dir.path());
    let grown = grown_node(&startup);
    let loaded = load(
        open_directory(&startup).unwrap(),
        &startup,
        &grown,
        Limits::default(),
    );
    let loaded = loaded.unwrap();
    let disk: SharedDisk = Arc::new(RealDisk);
    let snapshots = dir.path().join("snapshots");
    for shard in &loaded.shards[..2] {
        let writer = SnapshotWriter::begin(disk.clone(), &snapshots, describe(shard)).unwrap();
        writer.finish(0).unwrap();
    }
    loaded.state.end_replicas(&[(ZERO, ReplicaId(1))]).unwrap();
    stop(loaded, true);
    let loaded = load(
        open_directory(&startup).unwrap(),
        &startup,
        &grown,
        Limits::default(),
    );
    let loaded = loaded.unwrap();
    assert_eq!(
        (held(&loaded), applied(&loaded)[1]),
        (vec![false, true, true], 4)
    );
    let left = find_snapshots(&disk, &snapshots).unwrap();
    assert_eq!(
        left.iter().map(|file| file.shard).collect::<Vec<_>>(),
        [ONE]
    );
    stop(loaded, true);
}

#[test]
fn what_the_topology_gives_to_a_node_that_does_not_know_of_it_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let startup = startup(dir.path());
    let grown = grown_node(&startup);
    let directory = open_directory(&startup).unwrap();
    let state = NodeState {
        replicas: [(ONE, ReplicaId(1)), (META_GROUP, ReplicaId(1))].into(),
        ..directory.state.state()
    };
    directory.save_state(&state).unwrap();
    let loaded = load(directory, &startup, &grown, Limits::default()).unwrap();
    assert_eq!(loaded.lost, [(ZERO, ReplicaId(1))]);
    assert_eq!(held(&loaded), [false, true, true]);
    stop(loaded, true);
}

#[test]
fn after_a_power_cut_replicas_with_others_wait_until_that_is_decided() {
    let dir = tempfile::tempdir().unwrap();
    let startup = startup(dir.path());
    grown_node(&startup);
    cut_power(&startup);
    // Also over further restarts, which were no power cuts.
    for _ in 0..3 {
        let loaded = load_new(&startup).unwrap();
        assert_eq!(loaded.suspect, [(ZERO, ReplicaId(1))]);
        assert_eq!(held(&loaded), [false, true, true]);
        // It has kept what it has: its group may need it yet.
        assert_eq!(applied(&loaded)[0], 4);
        assert_eq!(loaded.shards[0].replica.hard_state().term, Term(4));
        drop(wal_of(&loaded, &startup));
        stop(loaded, false);
    }
    let always = startup_with(dir.path(), &[("durability", "always")]);
    let loaded = load_new(&always).unwrap();
    loaded.state.change(|state| state.suspects.clear()).unwrap();
    stop(loaded, false);
    cut_power(&always);
    let loaded = load_new(&always).unwrap();
    assert!(
        loaded.suspect.is_empty(),
        "what was acknowledged was synced"
    );
    stop(loaded, true);
}

#[test]
fn a_node_alone_goes_on_after_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let startup = startup(dir.path());
    stop(load_new(&startup).unwrap(), false);
    cut_power(&startup);
    let loaded = load_new(&startup).unwrap();
    assert!(loaded.suspect.is_empty());
    assert_eq!(held(&loaded), [true; 3]);
    stop(loaded, true);
}

/// A founder without data would found the group a second time, and lead it against the others.
#[test]
fn a_founder_whose_data_is_gone_begins_no_group_again_that_others_know() {
    let dir = tempfile::tempdir().unwrap();
    let startup = startup(dir.path());
    grown_node(&startup);
    std::fs::remove_dir_all(dir.path().join("wal")).unwrap();
    let loaded = load_new(&startup).unwrap();
    assert_eq!(loaded.lost, [(ZERO, ReplicaId(1))]);
    assert_eq!(held(&loaded), [false, true, true]);
    assert_eq!(loaded.state.tombstone(ZERO), Some(ReplicaId(1)));
    stop(loaded, true);
}

#[test]
fn a_replica_whose_snapshot_is_damaged_is_lost_where_there_are_others() {
    let dir = tempfile::tempdir().unwrap();
    let flags = [("accept-data-loss", "yes")];
    let startup = startup_with(dir.path(), &flags);
    let grown = grown_node(&startup);
    let directory = || open_directory(&startup).unwrap();
    let loaded = load(directory(), &startup, &grown, Limits::default()).unwrap();
    let disk: SharedDisk = Arc::new(RealDisk);
    let snapshots = dir.path().join("snapshots");
    let meta = describe(&loaded.shards[0]);
    let writer = SnapshotWriter::begin(disk.clone(), &snapshots, meta).unwrap();
    writer.finish(0).unwrap();
    stop(loaded, true);
    let file = find_snapshots(&disk, &snapshots).unwrap().remove(0);
    std::fs::write(&file.path, [0; 64]).unwrap();
    let loaded = load(directory(), &startup, &grown, Limits::default()).unwrap();
    assert_eq!(loaded.lost, [(ZERO, ReplicaId(1))]);
    assert_eq!(applied(&loaded)[..2], [0, 4]);
    stop(loaded, true);
}

#[test]
fn a_process_without_data_has_lost_what_it_had_in_a_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let memory = startup_with(dir.path(), &[("durability", "none")]);
    let first = load_new(&memory).unwrap();
    let founding = Topology::decode(&first.state.state().founding.unwrap()).unwrap();
    let grown = with_another(&founding);
    let bytes = grown.encode().unwrap();
    first
        .state
        .change(|state| state.topology = Some(bytes))
        .unwrap();
    drop(first);
    let second = load_new(&memory).unwrap();
    let all = [
        (ZERO, ReplicaId(1)),
        (ONE, ReplicaId(1)),
        (META_GROUP, ReplicaId(1)),
    ];
    assert_eq!(
        (&second.lost[..], held(&second)),
        (&all[..], vec![false; 3])
    );
    second
        .state
        .begin_replicas(&[(ZERO, ReplicaId(5))])
        .unwrap();
    drop(second);
    // The next one keeps its data, but the one before did not.
    let third = load_new(&startup(dir.path())).unwrap();
    assert!(third.lost.contains(&(ZERO, ReplicaId(5))));
    assert_eq!(held(&third), [false; 3]);
    stop(third, true);
}

#[test]
fn a_node_alone_without_data_begins_the_same_cluster_anew() {
    let dir = tempfile::tempdir().unwrap();
    let memory = startup_with(dir.path(), &[("durability", "none")]);
    let first = load_new(&memory).unwrap();
    let mut topology = Topology::decode(&first.state.state().founding.unwrap()).unwrap();
    topology.settings.insert("a".into(), b"b".to_vec());
    let bytes = topology.encode().unwrap();
    first
        .state
        .change(|state| state.topology = Some(bytes))
        .unwrap();
    drop(first);
    let again = load_new(&memory).unwrap();
    let meta = again.shards[2].meta.as_ref().unwrap();
    assert_eq!(meta.cluster_id, topology.cluster_id);
    assert!(meta.epoch > topology.epoch && meta.settings.contains_key("a"));
    assert_eq!(hash_seed(meta), hash_seed(&topology));
    assert!(again.lost.is_empty());
    assert_eq!(held(&again), [true; 3]);
    drop(again);
    let other = startup_with(dir.path(), &[("durability", "none"), ("shards", "4")]);
    assert_eq!(load_new(&other).unwrap().shards.len(), 5);
}
