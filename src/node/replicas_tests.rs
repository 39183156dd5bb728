//! Replicas that end and begin on a node that runs, over its restarts.

use std::path::Path;
use std::sync::Arc;

use ringfort_cluster::meta::{ShelfName, COMMAND_BYTES_MAX};
use ringfort_cluster::suspects::Agree;
use ringfort_cluster::topology::{Topology, META_GROUP};
use ringfort_cluster::{HardState, Index, MetaCommand, ReplicaId, ShardId, Term};

use crate::durability::snapshot::find_snapshots;
use crate::durability::{RealDisk, ReplicaError, SharedDisk};
use crate::node::meta::Proposed;
use crate::node::testing::Alone;

const ZERO: ShardId = ShardId(0);
const FIRST: ReplicaId = ReplicaId(1);

impl Alone {
    /// Sets keys of one shard, and ends the turn.
    fn set(&mut self, place: usize, keys: std::ops::Range<usize>) {
        self.write(place, keys, "value");
        self.worker.flush();
    }

    fn propose(&mut self, command: &MetaCommand) -> Proposed {
        let (sender, done) = std::sync::mpsc::channel();
        let done_with = move |reply: &[u8]| sender.send(Proposed::read(reply)).unwrap();
        self.worker.propose_meta(command, Box::new(done_with));
        self.worker.flush();
        done.try_recv()
            .expect("a node that is alone decides at once")
    }

    fn keys(&self, place: usize) -> usize {
        let databases = &self.worker.shards[place].databases;
        databases.keyspace(0).len()
    }

    fn snapshot_all(&mut self) {
        self.worker.snapshot_all();
        while self.worker.snapshot_step() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

fn snapshots(dir: &Path) -> Vec<u16> {
    let disk: SharedDisk = Arc::new(RealDisk);
    let found = find_snapshots(&disk, &dir.join("snapshots")).unwrap();
    found.iter().map(|file| file.shard.0).collect()
}

#[test]
fn a_replica_that_was_dropped_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(dir.path(), "everysec");
    alone.set(0, 0..10);
    alone.set(1, 0..20);
    alone.snapshot_all();
    alone.set(0, 10..15);
    assert_eq!((alone.keys(0), snapshots(dir.path())), (15, vec![0, 1, 2]));
    assert!(alone.node.shared.leads(0));
    alone.worker.drop_replica(ZERO, FIRST).unwrap();
    // Again: whoever does not know whether it was done.
    alone.worker.drop_replica(ZERO, FIRST).unwrap();
    assert_eq!((alone.keys(0), alone.keys(1)), (0, 20));
    assert_eq!(snapshots(dir.path()), [1, 2]);
    assert!(!alone.node.shared.leads(0) && !alone.worker.shards[0].leads());
    assert!(alone.worker.leadership_changed);
    alone.worker.tick_groups();
    alone.worker.cycle();
    alone.snapshot_all();
    assert_eq!(snapshots(dir.path()), [1, 2], "there is nothing to keep");
    let refused = alone.worker.start_replica(ZERO, FIRST);
    assert!(matches!(refused, Err(ReplicaError::GivenUp(..))));
    alone.stop();

    let alone = Alone::start(dir.path(), "everysec");
    assert!(!alone.worker.shards[0].standing.is_held);
    assert_eq!((alone.keys(0), alone.keys(1)), (0, 20));
    alone.stop();
}

#[test]
fn a_new_replica_begins_with_nothing_and_stays_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(dir.path(), "everysec");
    alone.set(0, 0..10);
    let next = ReplicaId(4);
    let refused = alone.worker.start_replica(ZERO, next);
    assert!(matches!(refused, Err(ReplicaError::Occupied(_, FIRST))));
    alone.worker.drop_replica(ZERO, FIRST).unwrap();
    alone.worker.start_replica(ZERO, next).unwrap();
    alone.worker.start_replica(ZERO, next).unwrap();
    // The end of the replica before it comes late.
    alone.worker.drop_replica(ZERO, FIRST).unwrap();
    let check = |alone: &mut Alone| {
        alone.worker.tick_groups();
        alone.worker.flush();
        let shard = &alone.worker.shards[0];
        assert!(shard.standing.is_held && !shard.leads());
        assert_eq!((shard.replica.id(), shard.replica.shard()), (next, ZERO));
        assert_eq!(shard.replica.hard_state(), HardState::default());
        assert!(shard.membership.is_unknown());
        assert_eq!(alone.keys(0), 0);
    };
    check(&mut alone);
    // The process is killed.
    drop(alone.worker);
    alone.node.kill();
    let mut alone = Alone::start(dir.path(), "everysec");
    check(&mut alone);
    alone.stop();
}

/// Replica 2 was noted ahead of its beginning; then the topology gave its place to replica 3. Nothing named 2 any more, and 3 was told for
/// ever that 2 was still here: a cluster of three did not get whole.
#[test]
fn a_replica_that_was_noted_and_never_began_gives_way_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(dir.path(), "everysec");
    alone.worker.drop_replica(ZERO, FIRST).unwrap();
    let state = alone.worker.shared.cluster_state().clone();
    state.begin_replicas(&[(ZERO, ReplicaId(2))]).unwrap();
    alone.worker.start_replica(ZERO, ReplicaId(3)).unwrap();
    assert_eq!(state.replica(ZERO), Some(ReplicaId(3)));
    // What began is not pushed aside: it has to be dropped first.
    let refused = alone.worker.start_replica(ZERO, ReplicaId(4));
    assert!(
        matches!(refused, Err(ReplicaError::Occupied(..))),
        "{refused:?}"
    );
}

/// The node was removed between the note and the beginning: it held that replica for ever, in its state, and never came to hold nothing.
#[test]
fn a_replica_that_was_noted_and_never_began_is_dropped_with_its_node() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(dir.path(), "everysec");
    alone.worker.drop_replica(ZERO, FIRST).unwrap();
    let shared = alone.worker.shared.clone();
    let state = shared.cluster_state().clone();
    let second = ReplicaId(2);
    state.begin_replicas(&[(ZERO, second)]).unwrap();
    let _ = alone.worker.take_up_topology();
    let mut topology = Topology::clone(&shared.topology.current());
    topology.epoch = topology.epoch.next();
    topology.removed.insert(shared.node_id(), topology.epoch);
    assert!(shared.topology.offer(Arc::new(topology)));
    let taken = alone.worker.take_up_topology().expect("it is newer");
    assert!(taken.drop.contains(&(ZERO, second)), "{:?}", taken.drop);
    alone.worker.drop_replica_soon(ZERO, second).unwrap();
    assert_eq!(state.replica(ZERO), None);
}

#[test]
fn a_snapshot_under_way_does_not_outlive_its_replica() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(dir.path(), "everysec");
    for _ in 0..20 {
        alone.set(0, 0..500);
        alone.worker.snapshot_all();
        alone.worker.snapshot_step();
        alone.worker.snapshot_step();
        let id = alone.worker.shards[0].replica.id();
        alone.worker.drop_replica(ZERO, id).unwrap();
        alone.snapshot_all();
        assert!(!snapshots(dir.path()).contains(&0));
        alone.stop();
        std::fs::remove_dir_all(dir.path()).unwrap();
        alone = Alone::start(dir.path(), "everysec");
    }
    alone.stop();
}

#[test]
fn the_meta_group_ends_and_begins_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(dir.path(), "none");
    assert!(alone.worker.shards[2].meta.is_some());
    alone.worker.drop_replica(META_GROUP, FIRST).unwrap();
    assert!(alone.worker.shards[2].meta.is_none());
    alone
        .worker
        .start_replica(META_GROUP, ReplicaId(2))
        .unwrap();
    assert_eq!(alone.worker.shards[2].replica.shard(), META_GROUP);
    let refused = alone.worker.start_replica(ShardId(2), ReplicaId(2));
    assert!(matches!(refused, Err(ReplicaError::NoPlace(_))));
    alone.stop();
}

#[test]
fn only_who_leads_the_meta_group_proposes_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(dir.path(), "none");
    let done = alone.propose(&MetaCommand::SetReplicas { replicas: 2 });
    assert!(matches!(done, Proposed::Done(_)), "{done:?}");
    let too_large = alone.propose(&MetaCommand::SetItem {
        shelf: ShelfName::Settings,
        name: "x".into(),
        value: Some(vec![1; COMMAND_BYTES_MAX + 1]),
    });
    assert!(matches!(too_large, Proposed::NotApplied(_)));
    let known = alone.worker.shared.topology.current();
    alone.worker.drop_replica(META_GROUP, FIRST).unwrap();
    let refused = alone.propose(&MetaCommand::SetReplicas { replicas: 3 });
    assert!(matches!(refused, Proposed::NotApplied(_)), "{refused:?}");
    let still = alone.worker.shared.topology.current();
    assert_eq!(still, known, "what the copy knew stays known");
    assert_eq!(known.replicas, 2);
    alone.stop();
}

#[test]
fn what_was_heard_of_the_cluster_never_gets_into_the_way_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(dir.path(), "none");
    let applied = alone.worker.shards[2].meta.clone().unwrap();
    let mut heard = Topology::clone(&applied);
    for replicas in [2, 3, 4] {
        heard.apply(&MetaCommand::SetReplicas { replicas }).unwrap();
    }
    let heard = Arc::new(heard);
    assert!(alone.worker.shared.topology.offer(heard.clone()));
    for replicas in [2, 3, 4] {
        let Proposed::Done(reply) = alone.propose(&MetaCommand::SetReplicas { replicas }) else {
            panic!("refused");
        };
        assert!(reply.changed && reply.epoch <= heard.epoch);
        let newest = alone.worker.shared.topology.current();
        assert_eq!(newest, heard, "never goes back");
    }
    assert_eq!(alone.worker.shards[2].meta.as_deref(), Some(&*heard));
    alone.stop();
}

#[test]
fn a_suspect_that_is_trusted_goes_on_with_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(dir.path(), "everysec");
    alone.set(0, 0..10);
    let state = alone.node.shared.cluster_state().clone();
    state.change(|state| state.suspects.extend([ZERO])).unwrap();
    alone.stop();
    let mut alone = Alone::start(dir.path(), "everysec");
    let doubts = alone.node.shared.topology.doubts();
    assert_eq!(doubts.suspect, [(ZERO, FIRST)]);
    let refused = alone.worker.start_replica(ZERO, FIRST);
    assert!(matches!(refused, Err(ReplicaError::Occupied(..))));
    alone.worker.tick_groups();
    alone.worker.flush();
    assert!(!alone.worker.shards[0].leads() && alone.worker.shards[1].leads());
    let told = alone.worker.tell_standings(&[ZERO]).remove(0).1.unwrap();
    assert!(told.suspect && !told.has_leader);
    let ask = Agree {
        shard: ZERO,
        replica: FIRST,
        suspect: true,
        last: told.last,
        elected: FIRST,
        term: Term(told.term.0 + 1000),
    };
    let other = ReplicaId(9);
    let elsewhere = Index(told.last.1 .0 + 1);
    for wrong in [
        Agree {
            replica: other,
            elected: other,
            ..ask.clone()
        },
        Agree {
            suspect: false,
            ..ask.clone()
        },
        Agree {
            last: (told.last.0, elsewhere),
            ..ask.clone()
        },
    ] {
        assert!(!alone.worker.agree(&wrong));
    }
    assert!(alone.worker.agree(&ask));
    assert!(alone.node.shared.topology.doubts().suspect.is_empty());
    // A restart from here on would doubt it again.
    alone.worker.settle_suspects().unwrap();
    assert_eq!(
        alone.node.shared.cluster_state().suspects(),
        [(ZERO, FIRST)]
    );
    alone.worker.flush();
    assert!(!alone.worker.agree(&ask), "it leads");
    alone.worker.settle_suspects().unwrap();
    assert_eq!(alone.node.shared.cluster_state().suspects(), []);
    assert!(alone.worker.shards[0].leads());
    assert_eq!(alone.keys(0), 10);
    alone.set(0, 10..12);
    alone.stop();
    let alone = Alone::start(dir.path(), "everysec");
    assert_eq!(alone.keys(0), 12);
    alone.stop();
}
