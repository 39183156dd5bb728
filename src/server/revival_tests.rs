//! Three nodes in one process that form a cluster as the program does, are stopped, lose power or find their files damaged, and come back:
//! with all that was acknowledged, or not before it is certain who has it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, Sender};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringfort_cluster::forming::Stored;
use ringfort_cluster::topology::{Node as Described, Topology};
use ringfort_cluster::{NodeId, ReplicaId, ShardId};
use tokio::sync::oneshot;

use crate::durability::{Marker, RealDisk, SharedDisk};
use crate::node::peer::{accept_loop, Home, PeerSecurity, Timing};
use crate::node::report::Identity;
use crate::node::{described_node, peers_of, recovery, Node, Shared};
use crate::settings::{Builder, Settings};

use super::formation::{form, setup, Formation, Formed};
use super::peers_tests::Client;
use super::{bind, Arrival, Office, PeerSetup, Port, Workers};

const PATIENCE: Duration = Duration::from_secs(90);
pub(super) const SHARDS: usize = 4;
pub(super) const KEYS: usize = 32;

/// A node that runs.
pub(super) struct Running {
    shared: Arc<Shared>,
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

fn settings(dir: &Path, peer_port: u16, join: Option<u16>) -> Arc<Settings> {
    let (shards, peer_port) = (SHARDS.to_string(), peer_port.to_string());
    let join = join.map(|port| format!("127.0.0.1:{port}"));
    let mut flags = vec![
        ("dir", dir.to_str().unwrap()),
        ("shards", shards.as_str()),
        ("threads", "1"),
        ("port", "0"),
        ("peer-port", peer_port.as_str()),
        ("unavailable-wait-ms", "1000"),
    ];
    flags.extend(join.as_deref().map(|join| ("join", join)));
    Arc::new(Builder::new().flags(flags).unwrap().build())
}

/// What the program does to find its cluster.
async fn find_place(
    directory: &Arc<recovery::Directory>,
    settings: &Settings,
    described: Described,
    listener: &TcpListener,
) -> (Topology, Arc<Home>, Office) {
    let startup = settings.startup();
    let home = Arc::new(Home::new(
        directory.node_id,
        PeerSecurity::default(),
        Timing::default(),
    ));
    let known = directory.topology().unwrap();
    let mut stored = match &directory.state.state().forming[..] {
        [] => Stored::default(),
        bytes => Stored::decode(bytes).unwrap(),
    };
    let mut others = Vec::new();
    if let Some(topology) = &known {
        stored.cluster_id = Some(topology.cluster_id);
        let peers = peers_of(topology, directory.node_id).into_iter();
        others = peers.map(|(_, address)| address).collect();
    }
    let setup = setup(described.clone(), &startup.cluster, others).unwrap();
    let keeper = directory.state.clone();
    let (founder, at) = (directory.clone(), startup.clone());
    let formation = Formation {
        home: home.clone(),
        setup: setup.clone(),
        stored,
        store: Box::new(move |stored| {
            let bytes = stored.encode().unwrap();
            keeper.change(|state| state.forming = bytes).unwrap();
            Ok(())
        }),
        found: Box::new(move || {
            let founded = recovery::found_alone(&founder, described, &at);
            Ok(founded.unwrap().cluster_id)
        }),
        waits: Box::new(|_| {}),
    };
    let listeners = [listener.try_clone().unwrap()];
    let (topology, announcing) = match form(formation, &listeners, 64).await.unwrap() {
        Formed::Founded(_) => (directory.topology().unwrap(), None),
        Formed::Joined(topology) => (Some(*topology), None),
        Formed::Member(announcing) => (known, Some(announcing)),
    };
    let topology = topology.expect("a topology");
    directory.state.keep_topology(&topology).unwrap();
    let office = Office::new(home.clone(), setup, announcing);
    (topology, home, office)
}

fn run(
    settings: Arc<Settings>,
    listener: TcpListener,
    tell: &Sender<(Arc<Shared>, u16)>,
    stopped: oneshot::Receiver<()>,
) {
    let startup = settings.startup().clone();
    let clients = bind(&startup.bind, 0, 64).unwrap();
    let identity = Identity::default();
    let directory = Arc::new(recovery::open_directory(&startup).unwrap());
    let peer_port = listener.local_addr().unwrap().port();
    let described = Described {
        host: "127.0.0.1".into(),
        ..described_node(directory.node_id, &startup, &identity, peer_port)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let place = find_place(&directory, &settings, described, &listener);
    let (topology, home, office) = runtime.block_on(place);
    let shared = Shared::new(settings, identity, topology.shards.len() + 1);
    shared.topology.offer(Arc::new(topology.clone()));
    let keeper = directory.state.clone();
    shared.topology.set_keeper(Box::new(move |topology| {
        let kept = keeper.keep_topology(topology);
        kept.map_err(|error| error.to_string())
    }));
    let directory = Arc::into_inner(directory).expect("nobody else has it");
    let mut node = Node::load(shared.clone(), directory, &topology).unwrap();
    let meeting = PeerSetup {
        home: home.clone(),
        peers: peers_of(&topology, shared.node_id()),
        office: Some(office),
    };
    let workers = Workers::start(node.take_parts(), &shared, Some(meeting)).unwrap();
    runtime.block_on(async {
        let accepted = workers.accepted.clone();
        let nodes = tokio::spawn(accept_loop(listener, home, 1, move |worker, node| {
            let _ = accepted[usize::from(worker)].try_send(Arrival::Node(Box::new(node)));
        }));
        let port = clients.addresses()[0].port();
        let accepting = clients.accept(Port::Plain, &shared, &workers.accepted);
        let accepting = accepting.unwrap();
        tell.send((shared.clone(), port)).unwrap();
        let _ = stopped.await;
        for task in accepting {
            task.abort();
            let _ = task.await;
        }
        nodes.abort();
        let _ = nodes.await;
    });
    drop(runtime);
    workers.stop();
    node.close();
}

/// A node over all its lives.
pub(super) struct Member {
    dir: tempfile::TempDir,
    pub peer_port: u16,
    join: Option<u16>,
    pub(super) running: Option<Running>,
}

impl Member {
    pub fn new(join: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut member = Self {
            dir: tempfile::tempdir().unwrap(),
            peer_port: listener.local_addr().unwrap().port(),
            join,
            running: None,
        };
        member.start_on(listener);
        member
    }

    fn start_on(&mut self, listener: TcpListener) {
        let settings = settings(self.dir.path(), self.peer_port, self.join);
        let (tell, told) = channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || run(settings, listener, &tell, stopped));
        let (shared, port) = told.recv_timeout(PATIENCE).expect("a node that starts");
        self.running = Some(Running {
            shared,
            port,
            stop: Some(stop),
            thread: Some(thread),
        });
    }

    pub fn start(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.peer_port)).unwrap();
        self.start_on(listener);
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.running.as_ref().expect("it runs").shared
    }

    pub fn topology(&self) -> Arc<Topology> {
        self.shared().topology.current()
    }

    pub fn client(&self) -> Client {
        Client::of(self.running.as_ref().expect("it runs").port)
    }

    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// The node ends in order, without handing anything over.
    pub fn end(&mut self) {
        self.running = None;
    }

    /// The node ends with the power of its machine.
    pub(super) fn lose_power(&mut self) {
        self.running = None;
        let disk: SharedDisk = Arc::new(RealDisk);
        let marker = Marker::read(&disk, self.dir.path()).unwrap().unwrap();
        let marker = Marker {
            boot_id: "another".into(),
            clean: false,
            ..marker
        };
        marker.write(&disk, self.dir.path()).unwrap();
    }

    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.dir.path().join(folder)).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    }
}

pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Every group has a voter on each of the nodes, and nothing else.
fn is_whole(topology: &Topology) -> bool {
    topology.places().all(|(_, place)| {
        let members = &place.members;
        let nodes = members
            .voters
            .iter()
            .filter_map(|id| place.replicas.get(id));
        let nodes: std::collections::BTreeSet<NodeId> = nodes
            .filter(|held| !held.lost)
            .map(|held| held.node)
            .collect();
        let is_simple = members.outgoing.is_empty() && members.learners.is_empty();
        is_simple && members.voters.len() == 3 && nodes.len() == 3
    })
}

pub(super) fn all_whole(members: &[Member]) {
    until("every group has its three voters", || {
        members.iter().all(|member| is_whole(&member.topology()))
    });
}

pub(super) fn three() -> Vec<Member> {
    let first = Member::new(None);
    let join = Some(first.peer_port);
    let members = vec![first, Member::new(join), Member::new(join)];
    all_whole(&members);
    let mut client = members[0].client();
    for key in 0..KEYS {
        until("a write is taken", || {
            client.ask(&format!("SET key:{key} {key}")) == "+OK"
        });
    }
    members
}

/// Everything is there and can be changed, by way of any node.
pub(super) fn check_keys(members: &[Member]) {
    for member in members {
        let mut client = member.client();
        for key in 0..KEYS {
            until("all is there", || {
                client.ask(&format!("GET key:{key}")) == key.to_string()
            });
            until("a write is taken", || {
                client.ask(&format!("SET key:{key} {key}")) == "+OK"
            });
        }
    }
}

fn replicas_on(topology: &Topology, node: NodeId) -> Vec<(ShardId, ReplicaId)> {
    let held = topology.held_by(node);
    held.map(|(group, id, _)| (group, id)).collect()
}

#[test]
fn a_node_with_a_damaged_log_is_rebuilt_by_its_peers_and_nothing_is_lost() {
    let mut members = three();
    let me = members[1].shared().node_id();
    let before = replicas_on(&members[0].topology(), me);
    members[1].running = None;
    for path in members[1].files("wal") {
        let mut bytes = std::fs::read(&path).unwrap();
        // Far from the end, behind which a torn record would be nothing to speak of.
        bytes[1024] ^= 0xFF;
        std::fs::write(&path, bytes).unwrap();
    }
    members[1].start();
    let doubts = members[1].shared().topology.doubts();
    assert_eq!(doubts.lost, before, "all of them were in the one log");
    until("none of the old replicas is left", || {
        let now = replicas_on(&members[0].topology(), me);
        now.len() == SHARDS + 1 && !now.iter().any(|held| before.contains(held))
    });
    all_whole(&members);
    check_keys(&members);
    // Also without the others' help: the new replicas have everything.
    members[0].running = None;
    check_keys(&members[1..]);
}

#[test]
fn after_a_power_cut_of_all_nodes_they_wait_for_each_other_and_serve_what_was_there() {
    let mut members = three();
    let before = members[0].topology();
    for member in &mut members {
        member.lose_power();
    }
    members[0].start();
    members[1].start();
    let suspects = members[0].shared().topology.doubts().suspect;
    assert_eq!(suspects.len(), SHARDS + 1);
    // Two could elect a leader, and the third may have known more.
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(6) {
        for member in &members[..2] {
            let shared = member.shared();
            assert_eq!(shared.topology.doubts().suspect.len(), suspects.len());
            assert!((0..=SHARDS as u16).all(|shard| !shared.leads(shard)));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // Who asks meanwhile is told so, in time.
    for member in &members[..2] {
        let mut client = member.client();
        for key in 0..2 {
            let answer = client.ask(&format!("GET key:{key}"));
            assert!(answer.starts_with("-CLUSTERDOWN"), "{answer}");
        }
    }
    members[2].start();
    until("nobody is doubted any more", || {
        members.iter().all(|member| {
            let shared = member.shared();
            shared.topology.doubts().suspect.is_empty()
                && shared.cluster_state().suspects().is_empty()
        })
    });
    all_whole(&members);
    check_keys(&members);
    for (group, place) in members[0].topology().places() {
        let now = &place.members.voters;
        assert_eq!(
            Some(now),
            before.place(group).map(|place| &place.members.voters)
        );
    }
}

#[test]
fn a_node_that_lost_power_alone_comes_back_under_new_ids() {
    let mut members = three();
    let me = members[2].shared().node_id();
    let before = replicas_on(&members[0].topology(), me);
    members[2].lose_power();
    members[2].start();
    until("none of the old replicas is left", || {
        let now = replicas_on(&members[0].topology(), me);
        now.len() == SHARDS + 1 && !now.iter().any(|held| before.contains(held))
    });
    all_whole(&members);
    check_keys(&members);
}
