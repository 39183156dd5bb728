//! The node's state over crashes, power cuts and damage, and which replicas may begin.

use super::*;
use crate::durability::SimDisk;
use ringfort_cluster::topology::{Node, Ports};

const ME: NodeId = NodeId(7);
const META: ShardId = ShardId(u16::MAX);

fn dir() -> &'static Path {
    Path::new("/data")
}

fn sim(seed: u64) -> (SimDisk, SharedDisk) {
    let sim = SimDisk::new(seed);
    let disk: SharedDisk = Arc::new(sim.clone());
    disk.create_dir(dir()).unwrap();
    (sim, disk)
}

fn open(disk: &SharedDisk) -> Arc<StateKeeper> {
    StateKeeper::open(disk, dir(), ME).unwrap().0
}

fn state() -> NodeState {
    NodeState {
        forming: vec![1, 2],
        founding: Some(vec![]),
        topology: None,
        replicas: [(ShardId(0), ReplicaId(1)), (META, ReplicaId(3))].into(),
        tombstones: [(ShardId(1), ReplicaId(4))].into(),
        suspects: [META].into(),
        in_memory: true,
    }
}

#[test]
fn a_state_comes_back_as_it_was_put() {
    let (_, disk) = sim(1);
    let (keeper, existed) = StateKeeper::open(&disk, dir(), ME).unwrap();
    assert!(!existed && keeper.state() == NodeState::default());
    keeper.change(|kept| *kept = state()).unwrap();
    let (keeper, existed) = StateKeeper::open(&disk, dir(), ME).unwrap();
    assert!(existed);
    assert_eq!(keeper.state(), state());
    assert_eq!(keeper.replica(META), Some(ReplicaId(3)));
    assert_eq!(keeper.tombstone(ShardId(1)), Some(ReplicaId(4)));
}

#[test]
fn a_power_cut_anywhere_leaves_the_state_before_or_the_one_after() {
    for seed in 0..60 {
        let (sim, disk) = sim(seed);
        open(&disk).change(|kept| *kept = state()).unwrap();
        sim.stop_at_call(1 + seed % 6);
        let keeper = open(&disk);
        let changed = keeper.change(|kept| kept.topology = Some(vec![9; 5000]));
        sim.power_cut();
        let after = open(&disk).state();
        let is_new = after.topology.is_some();
        assert!(is_new || changed.is_err(), "seed {seed}");
        let topology = is_new.then(|| vec![9; 5000]);
        assert_eq!(
            after,
            NodeState {
                topology,
                ..state()
            }
        );
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let good = state().encode(ME).unwrap();
    let path = Path::new("/data/cluster-state");
    let read = |bytes: &[u8]| NodeState::decode(bytes, ME, path);
    assert_eq!(read(&good).unwrap(), state());
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&bad).is_err(), "bit {bit}");
    }
    for len in 0..good.len() {
        assert!(read(&good[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn damage_another_node_and_another_version_are_told_apart() {
    let (_, disk) = sim(1);
    let path = dir().join(NAME);
    let put = |bytes: &[u8]| {
        write_all_at(&*disk.create(&path).unwrap(), 0, bytes).unwrap();
        let refused = StateKeeper::open(&disk, dir(), ME).err();
        refused.expect("a refusal").to_string()
    };
    assert!(put(b"").contains("cluster-state is damaged (no cluster state has 0 bytes)"));
    assert!(put(&[7; 100]).contains("not a cluster state"));
    let other = state().encode(NodeId(8)).unwrap();
    assert!(put(&other).contains("it is that of node"));
    let mut newer = state().encode(ME).unwrap();
    newer[8] = 9;
    let end = newer.len() - CRC_BYTES;
    let crc = crc32fast::hash(&newer[..end]);
    newer[end..].copy_from_slice(&crc.to_le_bytes());
    assert!(put(&newer).contains("format version 9"));
}

#[test]
fn a_replica_that_was_given_up_never_begins_again() {
    let (_, disk) = sim(1);
    let (zero, one) = (ShardId(0), ShardId(1));
    let keeper = open(&disk);
    keeper
        .begin_replicas(&[(zero, ReplicaId(2)), (one, ReplicaId(5))])
        .unwrap();
    // Again: whoever starts replicas need not know whether it was noted.
    keeper.begin_replicas(&[(zero, ReplicaId(2))]).unwrap();
    let refused = keeper.begin_replicas(&[(zero, ReplicaId(3))]);
    assert!(matches!(
        refused,
        Err(ReplicaError::Occupied(_, ReplicaId(2)))
    ));
    keeper.end_replicas(&[(zero, ReplicaId(2))]).unwrap();
    let refused = keeper.begin_replicas(&[(zero, ReplicaId(3))]);
    assert!(matches!(refused, Err(ReplicaError::NotGone(_))));
    keeper.tidied(zero);
    let refused = keeper.begin_replicas(&[(zero, ReplicaId(2))]);
    assert!(matches!(refused, Err(ReplicaError::GivenUp(..))));
    keeper.begin_replicas(&[(zero, ReplicaId(3))]).unwrap();
    let kept = open(&disk).state();
    assert_eq!(
        kept.replicas,
        [(zero, ReplicaId(3)), (one, ReplicaId(5))].into()
    );
    assert_eq!(kept.tombstones, [(zero, ReplicaId(2))].into());
}

#[test]
fn an_id_that_is_given_up_late_does_not_end_its_successor() {
    let mut state = state();
    state.give_up(META, ReplicaId(2));
    assert_eq!(state.replicas.get(&META), Some(&ReplicaId(3)));
    state.give_up(META, ReplicaId(3));
    assert!(!state.replicas.contains_key(&META) && state.suspects.is_empty());
    state.give_up(META, ReplicaId(1));
    assert_eq!(state.tombstones[&META], ReplicaId(3));
}

#[test]
fn an_older_topology_never_replaces_a_newer_one() {
    let (_, disk) = sim(1);
    let keeper = open(&disk);
    let topology = |epoch| Topology {
        epoch: ringfort_cluster::Epoch(epoch),
        ..formed()
    };
    for epoch in [3, 5, 4] {
        keeper.keep_topology(&topology(epoch)).unwrap();
    }
    let kept = open(&disk).state().topology.unwrap();
    assert_eq!(Topology::decode(&kept).unwrap(), topology(5));
}

fn formed() -> Topology {
    let node = Node::new(ME, "a", Ports::default());
    let mut topology = Topology::default();
    let init = ringfort_cluster::MetaCommand::Init {
        cluster_id: ringfort_cluster::topology::ClusterId(1),
        shards: 2,
        replicas: 3,
        node,
    };
    topology.apply(&init).unwrap();
    topology
}

#[test]
fn a_full_disk_leaves_the_state_as_it_was() {
    let (sim, disk) = sim(1);
    let keeper = open(&disk);
    keeper.change(|kept| *kept = state()).unwrap();
    sim.set_capacity(sim.used() + 100);
    assert!(keeper
        .change(|kept| kept.topology = Some(vec![9; 100_000]))
        .is_err());
    assert_eq!(keeper.state(), state());
    assert_eq!(open(&disk).state(), state());
}
