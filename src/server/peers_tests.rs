//! Three nodes in one process, on real sockets: what one acknowledges the others have, any of them answers, and one may go. The replicas'
//! places are given here; how nodes agree on them is tested elsewhere.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringfort_cluster::replica::Membership;
use ringfort_cluster::{Config, NodeId, Replica, ReplicaId, Restored};

use crate::commands::cluster::{ClusterView, SlotRange, ViewNode};
use crate::node::peer::{accept_loop, Home, PeerSecurity, Timing};
use crate::node::report::Identity;
use crate::node::{Node, Shared, WorkerParts};
use crate::settings::Builder;

use super::leaving::{hand_over_to_others, leave_clients};
use super::{bind, Arrival, Listener, PeerSetup, Port, Workers};

const NODES: u64 = 3;
pub(super) const SHARDS: u16 = 8;
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// A node of the group.
pub(super) struct Member {
    pub port: u16,
    cluster_port: u16,
    /// Where other nodes reach it.
    pub peer_port: u16,
    pub shared: Arc<Shared>,
    dir: tempfile::TempDir,
    /// Has it hand over what it leads; dropped, it ends the node.
    stop: Option<tokio::sync::mpsc::Sender<()>>,
    handed_over: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

fn free_listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

/// Every shard has a voter on every node.
fn place_replicas(parts: &mut [WorkerParts], me: u64) {
    let voters = || (1..=NODES).map(ReplicaId);
    for shard in parts.iter_mut().flat_map(|parts| &mut parts.shards) {
        // Where a node has a topology it goes by that.
        if shard.meta.take().is_some() {
            shard.standing.is_held = false;
            continue;
        }
        let restored = Restored::fresh(voters());
        let config = Config::new(shard.replica.shard(), ReplicaId(me));
        shard.replica = Replica::new(&config, restored).expect("a fresh replica");
        shard.membership = Membership::of_voters(voters());
        // What each of them has founded for itself knows of no others.
        shard.meta = None;
        let nodes = voters().map(|id| (id, NodeId(id.get().into())));
        shard.standing.nodes = nodes.collect();
    }
}

fn start(me: u64, threads: u16, listener: TcpListener, peers: Vec<(NodeId, String)>) -> Member {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("text").to_string();
    let peer_port = listener.local_addr().expect("an address").port();
    let (tell, told) = channel();
    let (stop, mut stopped) = tokio::sync::mpsc::channel::<()>(1);
    let (tell_handed_over, handed_over) = channel();
    let thread = std::thread::spawn(move || {
        let flags = [
            ("dir", path.as_str()),
            ("shards", &SHARDS.to_string()),
            ("threads", &threads.to_string()),
            ("port", "0"),
            ("unavailable-wait-ms", "5000"),
        ];
        let settings = Arc::new(Builder::new().flags(flags).expect("settings").build());
        let startup = settings.startup().clone();
        let clients = bind(&startup.bind, 0, 64).expect("a port");
        let cluster_clients = bind(&startup.bind, 0, 64).expect("a port");
        let shared = Shared::new(
            settings,
            Identity::default(),
            usize::from(startup.shards) + 1,
        );
        shared.set_node_id(NodeId(me.into()));
        let mut node = Node::load_alone(shared.clone()).expect("an empty directory");
        let mut parts = node.take_parts();
        place_replicas(&mut parts, me);
        let home = Arc::new(Home::new(
            NodeId(me.into()),
            PeerSecurity::default(),
            Timing::default(),
        ));
        let setup = PeerSetup {
            home: home.clone(),
            peers,
            office: None,
        };
        let workers = Workers::start(parts, &shared, Some(setup)).expect("threads");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let accepted = workers.accepted.clone();
            let nodes = tokio::spawn(accept_loop(listener, home, threads, move |worker, node| {
                let _ = accepted[usize::from(worker)].try_send(Arrival::Node(Box::new(node)));
            }));
            let ports = [&clients, &cluster_clients].map(|from| from.addresses()[0].port());
            let accept = |from: Listener, port| {
                let accepting = from.accept(port, &shared, &workers.accepted);
                accepting.expect("a listener")
            };
            let mut accepting = accept(clients, Port::Plain);
            accepting.extend(accept(cluster_clients, Port::Cluster));
            tell.send((ports, shared.clone())).expect("the test waits");
            while stopped.recv().await.is_some() {
                hand_over_to_others(&shared).await;
                let _ = tell_handed_over.send(());
            }
            accepting.iter().for_each(tokio::task::JoinHandle::abort);
            for task in accepting {
                let _ = task.await;
            }
            leave_clients(&workers).await;
            nodes.abort();
            let _ = nodes.await;
        });
        workers.stop();
        node.close();
    });
    let ([port, cluster_port], shared) = told.recv().expect("a node that starts");
    Member {
        port,
        cluster_port,
        peer_port,
        shared,
        dir,
        stop: Some(stop),
        handed_over,
        thread: Some(thread),
    }
}

impl Member {
    /// Waits until it has handed over what it leads.
    pub fn hand_over(&self) {
        let stop = self.stop.as_ref().expect("a node that runs");
        stop.blocking_send(()).expect("a node that runs");
        self.handed_over.recv().expect("a node that runs");
    }

    /// The shards that it leads.
    pub fn led(&self) -> Vec<u16> {
        let shards = 0..SHARDS;
        shards.filter(|&shard| self.shared.leads(shard)).collect()
    }

    pub fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a node that ends in order");
        }
    }

    pub fn client(&self) -> Client {
        Client::of(self.port)
    }

    /// By the port for cluster-aware clients.
    pub fn cluster_client(&self) -> Client {
        Client::of(self.cluster_port)
    }
}

impl Client {
    pub fn of(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a node that listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Client(BufReader::new(stream))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.end();
        let _ = &self.dir;
    }
}

pub(super) struct Client(BufReader<TcpStream>);

impl Client {
    pub fn send(&mut self, commands: &[&str]) {
        let text: String = commands.iter().map(|line| format!("{line}\r\n")).collect();
        self.0.get_mut().write_all(text.as_bytes()).expect("sent");
    }

    /// False where the other side has closed the connection.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.0.get_mut().write_all(bytes).is_ok()
    }

    /// A line; `None` where the connection has ended before it began.
    pub fn try_reply(&mut self) -> Option<String> {
        let mut line = String::new();
        let is_there = self.0.read_line(&mut line).is_ok_and(|bytes| bytes > 0);
        is_there.then(|| line.trim_end().to_string())
    }

    /// A simple string, an error, a number or a bulk string.
    pub fn reply(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a reply in time");
        let line = line.trim_end();
        match line.strip_prefix('$').map(|len| len.parse::<i64>()) {
            Some(Ok(-1)) => "(nil)".into(),
            Some(Ok(len)) => {
                let mut bulk = vec![0; len as usize + 2];
                self.0.read_exact(&mut bulk).expect("a whole reply");
                String::from_utf8_lossy(&bulk[..len as usize]).into_owned()
            }
            _ => line.to_string(),
        }
    }

    pub fn ask(&mut self, command: &str) -> String {
        self.send(&[command]);
        self.reply()
    }
}

pub(super) fn three(threads: [u16; 3]) -> Vec<Member> {
    let listeners: Vec<TcpListener> = (0..NODES).map(|_| free_listener()).collect();
    let peers: Vec<(NodeId, String)> = listeners
        .iter()
        .zip(1u128..)
        .map(|(listener, id)| (NodeId(id), listener.local_addr().unwrap().to_string()))
        .collect();
    let starts = listeners.into_iter().zip(1..).zip(threads);
    starts
        .map(|((listener, me), threads)| start(me, threads, listener, peers.clone()))
        .collect()
}

/// Shows cluster clients of all nodes who leads what now: here nobody else does.
pub(super) fn show_leaders(nodes: &[Member]) {
    let per_shard = 16_384 / SHARDS;
    let range = |shard: u16| SlotRange {
        first: shard * per_shard,
        last: (shard + 1) * per_shard - 1,
    };
    let shown = |node: &Member| ViewNode {
        id: node.shared.node_id().to_string(),
        host: "127.0.0.1".into(),
        port: node.cluster_port,
        plain_port: node.port,
        peer_port: 0,
        ranges: node.led().into_iter().map(range).collect(),
        is_up: true,
    };
    for node in nodes {
        let all = nodes.iter().map(shown).collect();
        let view = ClusterView::new(1_000, node.shared.node_id().to_string(), all);
        assert!(node.shared.view.publish(Arc::new(view)));
    }
}

/// Keys of all shards.
pub(super) fn keys() -> impl Iterator<Item = String> {
    (0..64).map(|number| format!("key:{number}"))
}

#[test]
fn what_one_node_acknowledges_every_node_answers() {
    for threads in [[1, 1, 1], [2, 1, 3]] {
        let nodes = three(threads);
        let mut clients: Vec<Client> = nodes.iter().map(Member::client).collect();
        for (number, key) in keys().enumerate() {
            let writer = number % clients.len();
            assert_eq!(clients[writer].ask(&format!("SET {key} {number}")), "+OK");
        }
        for client in &mut clients {
            for (number, key) in keys().enumerate() {
                assert_eq!(client.ask(&format!("GET {key}")), number.to_string());
            }
            assert_eq!(client.ask("DBSIZE"), ":64");
        }
    }
}

#[test]
fn a_pipeline_is_answered_in_its_order_whoever_leads() {
    let nodes = three([1, 1, 1]);
    for node in &nodes {
        let mut client = node.client();
        client.ask("FLUSHALL");
        let mut sent = Vec::new();
        for round in 1..=20 {
            for key in keys() {
                sent.push((format!("INCR {key}"), format!(":{round}")));
                sent.push((format!("GET {key}"), round.to_string()));
            }
        }
        let commands: Vec<&str> = sent.iter().map(|(command, _)| command.as_str()).collect();
        client.send(&commands);
        for (command, reply) in &sent {
            assert_eq!(client.reply(), *reply, "{command}");
        }
    }
}

#[test]
fn two_of_three_nodes_go_on_with_all_that_was_acknowledged() {
    let mut nodes = three([1, 1, 1]);
    let mut client = nodes[0].client();
    for key in keys() {
        assert_eq!(client.ask(&format!("SET {key} before")), "+OK");
    }
    nodes.remove(1).end();
    let began = Instant::now();
    for key in keys() {
        assert_eq!(client.ask(&format!("GET {key}")), "before");
        assert_eq!(client.ask(&format!("SET {key} after")), "+OK");
    }
    assert!(began.elapsed() < DEADLINE);
    let mut other = nodes[1].client();
    for key in keys() {
        assert_eq!(other.ask(&format!("GET {key}")), "after");
    }
}

/// All that a SCAN from one node finds, with `between` before each of its steps.
fn scan(client: &mut Client, mut between: impl FnMut()) -> Vec<String> {
    let (mut cursor, mut found) = ("0".to_string(), Vec::new());
    loop {
        between();
        client.send(&[&format!("SCAN {cursor} COUNT 5")]);
        assert_eq!(client.reply(), "*2");
        cursor = client.reply();
        let count: usize = client.reply()[1..].parse().expect("a count");
        found.extend((0..count).map(|_| client.reply()));
        if cursor == "0" {
            found.sort();
            return found;
        }
    }
}

#[test]
fn a_scan_from_any_node_returns_every_key_once() {
    let nodes = three([1, 1, 1]);
    let mut client = nodes[0].client();
    for key in keys() {
        assert_eq!(client.ask(&format!("SET {key} value")), "+OK");
    }
    let mut expected: Vec<String> = keys().collect();
    expected.sort();
    for node in &nodes {
        let mut client = node.client();
        assert_eq!(scan(&mut client, || {}), expected);
        assert!(expected.contains(&client.ask("RANDOMKEY")));
    }
    // Clients of the cluster port see a node's own keys alone. That one of them was served last says nothing of the next SCAN.
    let mut others: Vec<Client> = nodes.iter().map(Member::cluster_client).collect();
    for node in &nodes {
        let among_others = || {
            for other in &mut others {
                assert_eq!(other.ask("PING"), "+PONG");
            }
        };
        assert_eq!(scan(&mut node.client(), among_others), expected);
    }
}

#[test]
fn commands_that_several_nodes_cannot_run_together_are_refused() {
    let nodes = three([1, 1, 1]);
    let mut client = nodes[0].client();
    assert_eq!(client.ask("MSET key:1 a key:2 b key:3 c"), "+OK");
    let answer = client.ask("RENAME key:1 key:2");
    assert!(
        answer.starts_with("-ERR the keys of 'rename' lie in several shards"),
        "{answer}"
    );
    assert_eq!(client.ask("RENAME key:1 {key:1}2"), "+OK");
    assert_eq!(client.ask("GET {key:1}2"), "a");
    assert_eq!(client.ask("DEL key:1 key:2 key:3"), ":2");
}

#[test]
fn a_node_without_a_majority_says_that_nobody_leads() {
    let mut nodes = three([1, 1, 1]);
    let mut client = nodes[2].client();
    assert_eq!(client.ask("SET key value"), "+OK");
    nodes.remove(0).end();
    nodes.remove(0).end();
    let answer = client.ask("SET key other");
    let is_told = answer.starts_with("-CLUSTERDOWN") || answer.starts_with("-UNKNOWN");
    assert!(is_told, "{answer}");
    let answer = client.ask("GET key");
    assert!(answer.starts_with("-CLUSTERDOWN"), "{answer}");
}
