//! Nodes in one process govern their cluster on real sockets. The first one leads the meta group; those that join have no replicas, and
//! learn all they know by reports and by what they are told.

use std::net::TcpListener;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;

use ringfort_cluster::forming::Stored;
use ringfort_cluster::replica::Membership;
use ringfort_cluster::topology::{ClusterId, Node};
use ringfort_cluster::{
    Config, Index, MetaCommand, Replica, ReplicaId, Restored, ShardId, Term as ClusterTerm,
};

use super::*;
use crate::commands::cluster::ClusterView;
use crate::node::meta::Proposed;
use crate::node::peer::{accept_loop, PeerSecurity, Timing};
use crate::node::report::Identity;
use crate::node::shard::Shard;
use crate::node::topology::{described_node, peers_of};
use crate::node::{wall_clock, Node as LoadedNode, Shared, WorkerParts};
use crate::settings::{Builder, Settings};
use crate::store::{Databases, Limits};

use super::super::formation::{form, Formation, Formed};
use super::super::{Arrival, PeerSetup, Workers};

const PATIENCE: Duration = Duration::from_secs(40);
const SHARDS: u16 = 4;
const CLUSTER: ClusterId = ClusterId(5);

struct Member {
    shared: Arc<Shared>,
    address: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Member {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

impl Member {
    fn topology(&self) -> Arc<Topology> {
        self.shared.topology.current()
    }

    fn view(&self) -> Arc<ClusterView> {
        self.shared.view.current()
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn settings(threads: u16) -> (Arc<Settings>, tempfile::TempDir) {
    let (shards, threads) = (SHARDS.to_string(), threads.to_string());
    let dir = tempfile::tempdir().unwrap();
    let flags = [
        ("dir", dir.path().to_str().unwrap()),
        ("shards", shards.as_str()),
        ("threads", threads.as_str()),
        ("port", "0"),
        ("durability", "none"),
    ];
    let settings = Builder::new().flags(flags).unwrap().build();
    (Arc::new(settings), dir)
}

fn meta_shard(voters: &[u64]) -> Shard {
    let voters = || voters.iter().copied().map(ReplicaId);
    let config = Config::new(META_GROUP, ReplicaId(1));
    let replica = Replica::new(&config, Restored::fresh(voters())).unwrap();
    let databases = Databases::new(1, (1, 2), Limits::default());
    let nowhere = (Index::ZERO, ClusterTerm(0));
    let time = wall_clock();
    let mut shard = Shard::new(ShardId(SHARDS), databases, replica, nowhere, time);
    shard.membership = Membership::of_voters(voters());
    shard.meta = Some(Box::default());
    shard.standing.is_held = true;
    shard
}

/// The first node holds everything, the others hold nothing.
fn give_replicas(parts: &mut [WorkerParts], is_first: bool) {
    for shard in parts.iter_mut().flat_map(|parts| &mut parts.shards) {
        shard.standing.is_held = is_first;
        // Nobody leads what nobody holds.
        shard.standing.nodes = vec![(ReplicaId(1), NodeId(1))];
    }
    // The node may have brought a place for the meta group already.
    for parts in parts.iter_mut() {
        parts.shards.retain(|shard| shard.id != ShardId(SHARDS));
    }
    let home = usize::from(SHARDS) % parts.len();
    let mut shard = meta_shard(&[1]);
    shard.standing.is_held = is_first;
    parts[home].shards.push(shard);
}

fn start(id: u128, threads: u16, join: Option<&str>) -> Member {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let join: Vec<String> = join.map(str::to_owned).into_iter().collect();
    let (tell, told) = std_mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || run(id, threads, join, listener, &tell, stopped));
    Member {
        shared: told.recv_timeout(PATIENCE).expect("a node that starts"),
        address: address.to_string(),
        stop: Some(stop),
        thread: Some(thread),
    }
}

fn run(
    id: u128,
    threads: u16,
    join: Vec<String>,
    listener: TcpListener,
    tell: &std_mpsc::Sender<Arc<Shared>>,
    stopped: oneshot::Receiver<()>,
) {
    let (settings, _dir) = settings(threads);
    let shared = Shared::new(
        settings.clone(),
        Identity::default(),
        usize::from(SHARDS) + 1,
    );
    shared.set_node_id(NodeId(id));
    let port = listener.local_addr().unwrap().port();
    let node = Node {
        host: "127.0.0.1".into(),
        ..described_node(NodeId(id), settings.startup(), &Identity::default(), port)
    };
    let home = Arc::new(Home::new(
        NodeId(id),
        PeerSecurity::default(),
        Timing::default(),
    ));
    let setup = Setup {
        node: node.clone(),
        incarnation: id as u64,
        join,
        peers: Vec::new(),
        bootstrap_expect: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let formation = Formation {
        home: home.clone(),
        setup: setup.clone(),
        stored: Stored::default(),
        store: Box::new(|_| Ok(())),
        found: Box::new(|| Ok(CLUSTER)),
        waits: Box::new(|_| {}),
    };
    let listeners = [listener.try_clone().unwrap()];
    let formed = runtime.block_on(form(formation, &listeners, 64)).unwrap();
    let is_first = match formed {
        Formed::Founded(_) => true,
        Formed::Joined(topology) => !shared.topology.offer(Arc::from(topology)),
        Formed::Member(_) => panic!("nothing is stored"),
    };
    let mut loaded = LoadedNode::load_alone(shared.clone()).unwrap();
    let mut parts = loaded.take_parts();
    give_replicas(&mut parts, is_first);
    let peers = peers_of(&shared.topology.current(), NodeId(id));
    let office = Some(Office::new(home.clone(), setup, None));
    let setup = PeerSetup {
        home: home.clone(),
        peers,
        office,
    };
    let workers = Workers::start(parts, &shared, Some(setup)).unwrap();
    if is_first {
        init(&shared, node);
    }
    tell.send(shared).unwrap();
    let accepted = workers.accepted.clone();
    runtime.block_on(async {
        let accepting = accept_loop(listener, home, threads, move |worker, connection| {
            let _ = accepted[usize::from(worker)].try_send(Arrival::Node(Box::new(connection)));
        });
        tokio::select! {
            _ = stopped => {}
            ended = accepting => panic!("the listener ended: {ended:?}"),
        }
    });
    drop(runtime);
    workers.stop();
    loaded.close();
}

/// Forms the cluster in the meta group.
fn init(shared: &Arc<Shared>, node: Node) {
    let (sender, done) = std_mpsc::channel();
    let home = usize::from(SHARDS) % shared.inboxes.len();
    shared.task(home as u16, move |worker| {
        let init = MetaCommand::Init {
            cluster_id: CLUSTER,
            shards: u32::from(SHARDS),
            replicas: 3,
            node,
        };
        let done = move |reply: &[u8]| drop(sender.send(Proposed::read(reply)));
        worker.propose_meta(&init, Box::new(done));
    });
    let done = done.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(done, Proposed::Done(_)), "{done:?}");
}

fn slots_of(view: &ClusterView, id: u128) -> usize {
    let id = NodeId(id).to_string();
    view.slots(|node| node.id == id)
}

#[test]
fn nodes_that_join_know_what_the_leader_of_the_meta_group_knows() {
    for threads in [[1, 1, 1], [2, 1, 3]] {
        let first = start(1, threads[0], None);
        until("the first shows itself", || {
            slots_of(&first.view(), 1) == 16_384
        });
        let second = start(2, threads[1], Some(&first.address));
        let third = start(3, threads[2], Some(&first.address));
        let nodes = [&first, &second, &third];
        until("all know of all", || {
            nodes.iter().all(|node| node.topology().nodes.len() == 3)
        });
        // The steward wishes for copies on the others, and the first is ordered to take them as learners.
        until("the decisions have reached everybody", || {
            let is_decided = |node: &&Member| {
                let topology = node.topology();
                let mut places = topology.places();
                // Nothing is ever filled here, and one node fills only a few copies at a time.
                let some_learn = topology
                    .places()
                    .any(|(_, place)| place.members.all().len() == 3);
                some_learn && places.all(|(_, place)| place.wish.nodes().count() == 3)
            };
            nodes.iter().all(is_decided)
        });
        until("every node shows the same", || {
            let views = nodes.map(Member::view);
            views
                .iter()
                .all(|view| slots_of(view, 1) == 16_384 && view.nodes().len() == 3)
        });
    }
}

#[test]
fn a_node_that_is_gone_is_shown_as_down_by_the_others() {
    let first = start(1, 1, None);
    let second = start(2, 1, Some(&first.address));
    let third = start(3, 1, Some(&first.address));
    let is_up = |at: &Member, id: u128| {
        let id = NodeId(id).to_string();
        let view = at.view();
        view.node(id.as_bytes()).is_some_and(|node| node.is_up)
    };
    until("all are up", || is_up(&first, 3) && is_up(&second, 3));
    drop(third);
    until("the third is down", || {
        !is_up(&first, 3) && !is_up(&second, 3)
    });
    assert!(is_up(&first, 2) && is_up(&second, 1));
}
