//! Nodes form a cluster over loopback, by formation alone: each on its own thread, its promises kept in memory. Whoever belongs to a
//! cluster answers as the meta group's leader does, on a topology of its own.

#[path = "../../tests/support/ports.rs"]
mod ports;

use super::*;
use std::collections::BTreeMap;
use std::sync::mpsc as std_mpsc;
use std::sync::Mutex;
use std::time::Instant;

use ringfort_cluster::forming::member::{answer, join_answer, MemberAnswer, Standing};
use ringfort_cluster::MetaCommand;

use self::ports::free_port;
use crate::node::peer::{PeerSecurity, Timing};
use crate::settings::Builder;

/// Longer than anything here takes, also on a machine that stands still for a while.
const PATIENCE: Duration = Duration::from_secs(40);
const CLUSTER: ClusterId = ClusterId(77);

/// What survives a restart of a node.
#[derive(Clone)]
struct Kept {
    id: u128,
    port: u16,
    stored: Arc<Mutex<Stored>>,
}

/// What became of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Founded(ClusterId),
    Joined(ClusterId),
    Member(Option<ClusterId>),
    Failed(String),
    Stopped,
}

struct Running {
    end: std_mpsc::Receiver<End>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn end(&self) -> End {
        self.end
            .recv_timeout(PATIENCE)
            .expect("the node comes to an end")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

fn listen(port: u16) -> TcpListener {
    let address: std::net::SocketAddr = ([127, 0, 0, 1], port).into();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(64).unwrap();
    socket.into()
}

fn kept(id: u128) -> Kept {
    Kept {
        id,
        port: free_port(),
        stored: Arc::default(),
    }
}

fn described(kept: &Kept) -> Node {
    let settings = Builder::new().build();
    let identity = crate::node::report::Identity::default();
    let id = NodeId(kept.id);
    let node = crate::node::topology::described_node(id, settings.startup(), &identity, kept.port);
    Node {
        host: "127.0.0.1".into(),
        ..node
    }
}

fn addresses(nodes: &[&Kept]) -> Vec<String> {
    nodes
        .iter()
        .map(|node| format!("127.0.0.1:{}", node.port))
        .collect()
}

fn start(kept: &Kept, join: Vec<String>, expect: Option<u32>) -> Running {
    let (told, end) = std_mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let kept = kept.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let life = LocalSet::new();
        life.block_on(&runtime, async {
            tokio::select! {
                () = live(kept, join, expect, &told) => {}
                _ = stopped => { let _ = told.send(End::Stopped); }
            }
        });
    });
    Running {
        end,
        stop: Some(stop),
        thread: Some(thread),
    }
}

async fn live(kept: Kept, join: Vec<String>, expect: Option<u32>, told: &std_mpsc::Sender<End>) {
    let (node, listener) = (described(&kept), listen(kept.port));
    let timing = Timing::default();
    let home = Arc::new(Home::new(node.id, PeerSecurity::default(), timing));
    let keeping = kept.stored.clone();
    let stored = keeping.lock().unwrap().clone();
    let formation = Formation {
        home: home.clone(),
        setup: Setup {
            node: node.clone(),
            incarnation: u64::from(std::process::id()) + kept.port as u64,
            join,
            peers: Vec::new(),
            bootstrap_expect: expect,
        },
        stored,
        store: Box::new(move |stored| {
            *keeping.lock().unwrap() = stored.clone();
            Ok(())
        }),
        found: Box::new(|| Ok(CLUSTER)),
        waits: Box::new(|_| {}),
    };
    let mut topology = Topology::default();
    match form(formation, &[listener.try_clone().unwrap()], 64).await {
        Ok(Formed::Founded(cluster_id)) => {
            let init = MetaCommand::Init {
                cluster_id,
                shards: 4,
                replicas: 3,
                node: node.clone(),
            };
            topology.apply(&init).unwrap();
            let _ = told.send(End::Founded(home.cluster()));
        }
        Ok(Formed::Joined(joined)) => {
            assert_eq!(home.cluster(), joined.cluster_id);
            let _ = told.send(End::Joined(joined.cluster_id));
            return std::future::pending().await;
        }
        Ok(Formed::Member(announcing)) => {
            let found = announcing.announce().await.unwrap();
            let _ = told.send(End::Member(found.map(|topology| topology.cluster_id)));
            return std::future::pending().await;
        }
        Err(error) => {
            let _ = told.send(End::Failed(error.to_string()));
            return std::future::pending().await;
        }
    }
    lead(home, listener, node, topology).await;
}

/// Answers as the leader of the meta group.
async fn lead(home: Arc<Home>, listener: TcpListener, node: Node, topology: Topology) {
    let about = About {
        incarnation: 1,
        expects: None,
        cluster_id: Some(topology.cluster_id),
        pledge: None,
        gave_up: 0,
        node,
    };
    let topology = Rc::new(RefCell::new(topology));
    let control: ControlHandler = Rc::new(move |_, request| {
        let Ok(Request::Forming(message)) = Request::decode(&request) else {
            panic!("only members report");
        };
        let mut topology = topology.borrow_mut();
        let standing = Standing {
            topology: &topology,
            leader: Some(about.node.id),
            leads: true,
        };
        let answer = match answer(&message, &about, standing).unwrap() {
            MemberAnswer::Now(answer) => answer,
            MemberAnswer::Propose(command) => {
                let outcome = topology.apply(&command).into();
                join_answer(&outcome, &topology)
            }
        };
        let answer = Response::forming(answer).encode().unwrap();
        Box::pin(async move { answer })
    });
    let serving = Serving::new(home.clone(), Rc::new(Deaf), control, Rc::new(drop));
    let (hand_over, mut accepted) = mpsc::channel(ACCEPTED_MAX);
    let take = move |_, connection| drop(hand_over.try_send(connection));
    tokio::task::spawn_local(accept_loop(listener, home, 1, take));
    while let Some(connection) = accepted.recv().await {
        serving.take_over(connection);
    }
}

/// How many came to each end.
fn count(ends: impl IntoIterator<Item = End>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for end in ends {
        *counts.entry(format!("{end:?}")).or_default() += 1;
    }
    counts
}

fn one_founds_two_join() -> BTreeMap<String, usize> {
    let joined = End::Joined(CLUSTER);
    count([End::Founded(CLUSTER), joined.clone(), joined])
}

#[test]
fn a_node_without_join_forms_a_cluster_at_once() {
    let alone = kept(1);
    let started = Instant::now();
    assert_eq!(start(&alone, Vec::new(), None).end(), End::Founded(CLUSTER));
    assert!(started.elapsed() < PATIENCE / 2);
    assert_eq!(alone.stored.lock().unwrap().cluster_id, Some(CLUSTER));
    // And from then on it is a member that has nobody to tell it to.
    let again = start(&alone, Vec::new(), None);
    assert_eq!(again.end(), End::Member(None));
}

#[test]
fn three_nodes_with_one_list_form_one_cluster() {
    let nodes = [kept(1), kept(2), kept(3)];
    let list = addresses(&nodes.each_ref());
    let running = nodes
        .each_ref()
        .map(|node| start(node, list.clone(), Some(3)));
    assert_eq!(
        count(running.iter().map(Running::end)),
        one_founds_two_join()
    );
}

#[test]
fn nodes_join_one_that_stands_alone_and_announce_themselves_when_they_come_back() {
    let nodes = [kept(1), kept(2), kept(3)];
    let first = start(&nodes[0], Vec::new(), None);
    assert_eq!(first.end(), End::Founded(CLUSTER));
    let list = addresses(&[&nodes[0]]);
    let joined = End::Joined(CLUSTER);
    assert_eq!(start(&nodes[1], list.clone(), None).end(), joined);
    assert_eq!(start(&nodes[2], list.clone(), None).end(), joined);
    // The second comes back under another address: still itself.
    let moved = Kept {
        port: free_port(),
        ..nodes[1].clone()
    };
    assert_eq!(start(&moved, list, None).end(), End::Member(Some(CLUSTER)));
}

#[test]
fn a_restart_in_between_changes_nothing_but_the_time() {
    let nodes = [kept(1), kept(2), kept(3)];
    let list = addresses(&nodes.each_ref());
    // Two of three are there: nothing can be formed, and the third comes only after one of them was away.
    let first = start(&nodes[0], list.clone(), Some(3));
    let second = start(&nodes[1], list.clone(), Some(3));
    std::thread::sleep(Duration::from_millis(1500));
    drop(first);
    let first = start(&nodes[0], list.clone(), Some(3));
    let third = start(&nodes[2], list, Some(3));
    let ends = [first, second, third].map(|node| (node.end(), node));
    assert_eq!(
        count(ends.iter().map(|(end, _)| end.clone())),
        one_founds_two_join()
    );
}

#[test]
fn a_promise_that_cannot_be_kept_stops_the_node() {
    let node = kept(1);
    let home = Home::new(NodeId(1), PeerSecurity::default(), Timing::default());
    let formation = Formation {
        home: Arc::new(home),
        setup: Setup {
            node: described(&node),
            incarnation: 1,
            join: Vec::new(),
            peers: Vec::new(),
            bootstrap_expect: None,
        },
        stored: Stored::default(),
        store: Box::new(|_| Err("the disk is full".into())),
        found: Box::new(|| Ok(CLUSTER)),
        waits: Box::new(|_| {}),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let error = runtime
        .block_on(form(formation, &[], 64))
        .err()
        .expect("a failure");
    assert!(error.to_string().contains("the disk is full"), "{error}");
}
