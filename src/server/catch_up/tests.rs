//! Snapshots between two nodes of one process, over loopback: what is taken in, what is refused, and what is left behind.

use std::net::TcpListener;
use std::sync::Arc;

use ringfort_cluster::replica::{Membership, MembershipChange, SnapshotPlace, SnapshotRequest};
use ringfort_cluster::{Config, Index, NodeId, Replica, ReplicaId, Restored, ShardId, Term};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::*;
use crate::node::outbox::Target as ReplyTo;
use crate::node::peer::{accept_loop, ControlHandler, Home, PeerSecurity, StreamSender, Timing};
use crate::node::report::Identity;
use crate::node::{registry, Node, Shared, Worker};
use crate::protocol::OwnedArgs;
use crate::settings::Builder;

use super::super::{peers, turn, Arrival, PeerSetup};

const PATIENCE: Duration = Duration::from_secs(20);
const LEADER: NodeId = NodeId(1);
const FOLLOWER: NodeId = NodeId(2);
const KEYS: usize = 3000;

fn home(node: NodeId) -> Arc<Home> {
    let home = Home::new(node, PeerSecurity::default(), Timing::default());
    Arc::new(home)
}

fn on_a_worker(test: impl std::future::Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        timeout(PATIENCE * 3, test).await.expect("it ends in time");
    });
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A node of one worker and one shard.
struct Seat {
    local: Rc<Local>,
    dir: tempfile::TempDir,
    address: String,
    _node: Node,
}

/// Where both nodes listen.
fn listeners() -> [TcpListener; 2] {
    [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap())
}

fn nodes(listeners: &[TcpListener; 2]) -> Vec<(NodeId, String)> {
    let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
    vec![
        (LEADER, address(&listeners[0])),
        (FOLLOWER, address(&listeners[1])),
    ]
}

fn shared(dir: &std::path::Path, durability: &str) -> Arc<Shared> {
    let flags = [
        ("dir", dir.to_str().unwrap()),
        ("shards", "1"),
        ("threads", "1"),
        ("durability", durability),
    ];
    let settings = Builder::new().flags(flags).unwrap().build();
    Shared::new(Arc::new(settings), Identity::default(), 2)
}

/// A node. The leader is the one voter of its shard; the follower waits for its first snapshot.
fn seat(me: NodeId, durability: &str, listener: &TcpListener) -> Seat {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path(), durability);
    let mut node = Node::load_alone(shared.clone()).unwrap();
    let mut parts = node.take_parts().remove(0);
    // Without the meta group: its topology knows of no second node, and would have the follower's replica dropped.
    parts.shards[1].standing.is_held = false;
    parts.shards[1].meta = None;
    let shard = &mut parts.shards[0];
    shard.standing.nodes = vec![(ReplicaId(1), LEADER), (ReplicaId(2), FOLLOWER)];
    if me == FOLLOWER {
        let config = Config::new(ShardId(0), ReplicaId(2));
        shard.replica = Replica::new(&config, Restored::joining()).unwrap();
        shard.membership = Membership::default();
    }
    let local = Rc::new(Local {
        worker: RefCell::new(Worker::start(parts)),
        shared,
        number: 0,
        conns: RefCell::default(),
        peers: std::cell::OnceCell::new(),
        catch_up: CatchUp::default(),
        leaves_clients: Cell::default(),
        requests: Cell::new(0),
        read_buffer: RefCell::default(),
    });
    Seat {
        local,
        dir,
        address: listener.local_addr().unwrap().to_string(),
        _node: node,
    }
}

/// A node that serves.
fn start(me: NodeId, durability: &str, listener: TcpListener, peers: &[(NodeId, String)]) -> Seat {
    let seat = seat(me, durability, &listener);
    let home = home(me);
    let setup = PeerSetup {
        home: home.clone(),
        peers: peers.to_vec(),
        office: None,
    };
    let (arrivals, arrived) = mpsc::channel(16);
    spawn_local(turn::serve(
        seat.local.clone(),
        Some(setup),
        arrived,
        Arc::default(),
    ));
    spawn_local(accept_loop(listener, home, 1, move |_, accepted| {
        let _ = arrivals.try_send(Arrival::Node(Box::new(accepted)));
    }));
    seat
}

impl Seat {
    fn write(&self, keys: std::ops::Range<usize>) {
        let mut worker = self.local.worker.borrow_mut();
        for key in keys {
            let text = format!("key:{key}");
            let args = OwnedArgs::new([b"SET", text.as_bytes(), &[7; 1000]]);
            let args = args.as_args();
            let set = registry().find(b"SET").unwrap();
            let shard = &mut worker.shards[0];
            let was_idle = shard.is_idle();
            shard
                .ask_write(0, &args, set, None, ReplyTo::NOBODY)
                .unwrap();
            worker.mark_dirty(0, was_idle, 1000);
        }
        worker.flush();
    }

    /// Gives the follower's replica a place in the group.
    fn add_learner(&self) {
        let change = MembershipChange::AddLearner(ReplicaId(2));
        let mut worker = self.local.worker.borrow_mut();
        worker.shards[0].replica.propose_change(change).unwrap();
        drop(worker);
        self.write(0..1);
    }

    fn keys(&self) -> usize {
        let worker = self.local.worker.borrow();
        worker.shards[0].databases.keyspace(0).len()
    }

    fn applied(&self) -> Index {
        self.local.worker.borrow().shards[0].applied().0
    }

    /// The names of its snapshots and of what is being received.
    fn files(&self) -> Vec<String> {
        let listed = std::fs::read_dir(self.dir.path().join("snapshots"));
        let names = listed.unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }

    fn wanted(&self, at_least: u64) -> WantedSnapshot {
        let place = SnapshotPlace {
            index: Index(at_least),
            ..SnapshotPlace::default()
        };
        WantedSnapshot {
            shard: 0,
            to: FOLLOWER,
            request: SnapshotRequest {
                to: ReplicaId(2),
                term: self.local.worker.borrow().shards[0].replica.term(),
                place,
            },
        }
    }

    /// A snapshot as the leader would send it.
    async fn snapshot(&self) -> (Header, Vec<u8>) {
        let wanted = self.wanted(1);
        let file = find(&self.local, &wanted).await.unwrap();
        let header = self.local.worker.borrow().announce(&wanted).unwrap();
        let header = Header {
            bytes: file.bytes(),
            index: file.meta().index,
            index_term: file.meta().term,
            ..header
        };
        (header, file.read(0, usize::MAX).unwrap())
    }
}

/// A leader with keys that has made a place for the follower, and a follower that it does not know how to reach.
async fn apart() -> (Seat, Seat) {
    let [one, other] = listeners();
    let leader = start(LEADER, "everysec", one, &[]);
    let follower = start(FOLLOWER, "everysec", other, &[]);
    leader.write(0..KEYS);
    leader.add_learner();
    (leader, follower)
}

async fn offer(to: &Seat, header: &Header) -> StreamSender {
    let target = Target {
        address: &to.address,
        node: FOLLOWER,
        worker: 0,
    };
    let opened = open_stream(&home(LEADER), target, &header.encode()).await;
    opened.unwrap()
}

async fn answer(stream: StreamSender) -> Answer {
    Answer::decode(&stream.finish(PATIENCE).await.unwrap()).unwrap()
}

/// Sends all of it, as far as the receiver wants it.
async fn send_all(to: &Seat, header: &Header, bytes: &[u8]) -> Answer {
    let mut stream = offer(to, header).await;
    for chunk in bytes.chunks(100_000) {
        if stream.send(chunk).await.is_err() {
            break;
        }
    }
    answer(stream).await
}

fn assert_refused(answer: &Answer, why: &str) {
    match answer {
        Answer::Refused(reason) if reason.contains(why) => {}
        other => panic!("{other:?} instead of {why:?}"),
    }
}

#[test]
fn a_replica_that_has_nothing_gets_a_snapshot_and_follows_the_log_from_there() {
    for durability in ["everysec", "none"] {
        on_a_worker(async move {
            let both = listeners();
            let peers = nodes(&both);
            let [one, other] = both;
            let leader = start(LEADER, durability, one, &peers);
            let follower = start(FOLLOWER, durability, other, &peers);
            leader.write(0..KEYS);
            leader.add_learner();
            until("the snapshot", || follower.keys() == KEYS).await;
            leader.write(KEYS..KEYS + 10);
            until("the log", || follower.keys() == KEYS + 10).await;
            until("all of it", || follower.applied() == leader.applied()).await;
            let digest = |seat: &Seat| {
                let worker = seat.local.worker.borrow();
                worker.shards[0].databases.digest()
            };
            assert_eq!(digest(&leader), digest(&follower));
            if durability == "none" {
                let gone = |seat: &Seat| {
                    let files = seat.local.worker.borrow().snapshot_files();
                    let newest = files.newest(0, Index::ZERO, ReplicaId(2));
                    newest.unwrap().is_none()
                };
                until("the memory", || gone(&leader) && gone(&follower)).await;
            } else {
                let index = follower.local.worker.borrow().shards[0].snapshot_index;
                let name = format!("shard-0-{index}.snap");
                until("order", || follower.files() == [name.clone()]).await;
            }
        });
    }
}

#[test]
fn a_byte_that_changed_on_the_way_is_found_before_anything_is_replaced() {
    on_a_worker(async {
        let (leader, follower) = apart().await;
        let (header, bytes) = leader.snapshot().await;
        for at in [20, bytes.len() / 2, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let answer = send_all(&follower, &header, &damaged).await;
            assert_refused(&answer, "corrupt at byte");
            assert!(follower.files().is_empty());
        }
        let shorter = send_all(&follower, &header, &bytes[..bytes.len() - 1]).await;
        assert_refused(&shorter, "shorter than announced");
        let longer = [&bytes[..], b"x"].concat();
        assert_refused(
            &send_all(&follower, &header, &longer).await,
            "longer than announced",
        );
        assert_eq!((follower.keys(), follower.applied()), (0, Index::ZERO));
        let whole = send_all(&follower, &header, &bytes).await;
        assert_eq!(whole, Answer::TakenIn);
        assert_eq!(follower.keys(), KEYS);
        let again = send_all(&follower, &header, &bytes).await;
        assert_eq!(again, Answer::NotNeeded);
    });
}

#[test]
fn a_sender_that_leaves_in_the_middle_leaves_no_file_behind() {
    on_a_worker(async {
        let (leader, follower) = apart().await;
        let (header, bytes) = leader.snapshot().await;
        let mut stream = offer(&follower, &header).await;
        stream.send(&bytes[..1000]).await.unwrap();
        until("a file", || follower.files().len() == 1).await;
        drop(stream);
        until("no file", || follower.files().is_empty()).await;
        assert!(follower.local.catch_up.receiving.borrow().is_empty());
    });
}

#[test]
fn of_two_transfers_of_a_shard_the_newer_one_counts() {
    on_a_worker(async {
        let (leader, follower) = apart().await;
        let (header, bytes) = leader.snapshot().await;
        let mut first = offer(&follower, &header).await;
        first.send(&bytes[..1000]).await.unwrap();
        until("a file", || follower.files().len() == 1).await;
        let mut second = offer(&follower, &header).await;
        second.send(&bytes[..1000]).await.unwrap();
        until("another file", || follower.files().len() == 2).await;
        let _ = first.send(&bytes[1000..2000]).await;
        assert_refused(&answer(first).await, "another transfer");
        for chunk in bytes[1000..].chunks(100_000) {
            second.send(chunk).await.unwrap();
        }
        assert_eq!(answer(second).await, Answer::TakenIn);
        assert_eq!(follower.keys(), KEYS);
        assert_eq!(follower.files().len(), 1);
    });
}

#[test]
fn what_does_not_belong_here_or_finds_no_room_is_refused_at_once() {
    on_a_worker(async {
        let (leader, follower) = apart().await;
        let (header, bytes) = leader.snapshot().await;
        let change = |change: fn(&mut Header)| {
            let mut header = header.clone();
            change(&mut header);
            header
        };
        for (header, why) in [
            (change(|header| header.to = ReplicaId(9)), "is not here"),
            (change(|header| header.group = ShardId(7)), "live here"),
            (
                change(|header| header.from = ReplicaId(2)),
                "on another node",
            ),
            (change(|header| header.bytes = u64::MAX / 2), "disk is full"),
        ] {
            assert_refused(&send_all(&follower, &header, &bytes).await, why);
        }
        let other = change(|header| header.index_term = Term(header.index_term.get() + 1));
        assert_refused(
            &send_all(&follower, &other, &bytes).await,
            "not what was announced",
        );
        assert!(follower.files().is_empty());
        assert_eq!(follower.applied(), Index::ZERO);
    });
}

#[test]
fn a_receiver_that_dies_in_the_middle_is_an_error_for_the_sender() {
    on_a_worker(async {
        let [one, other] = listeners();
        let peers = vec![(FOLLOWER, other.local_addr().unwrap().to_string())];
        let leader = start(LEADER, "everysec", one, &peers);
        leader.write(0..KEYS);
        leader.add_learner();
        let received = Rc::new(Cell::new(0));
        let count = received.clone();
        let dying: SnapshotHandler = Rc::new(move |mut stream| {
            let count = count.clone();
            spawn_local(async move {
                let chunk = stream.next_chunk().await.unwrap();
                count.set(count.get() + chunk.unwrap().len());
            });
        });
        let follower = seat(FOLLOWER, "everysec", &other);
        let setup = PeerSetup {
            home: home(FOLLOWER),
            peers: Vec::new(),
            office: None,
        };
        let control: ControlHandler = Rc::new(|_, _| Box::pin(std::future::pending()));
        peers::start(&follower.local, &setup, control, dying);
        let (accepted, mut taken) = mpsc::unbounded_channel();
        spawn_local(accept_loop(other, setup.home, 1, move |_, node| {
            let _ = accepted.send(node);
        }));
        let local = follower.local.clone();
        spawn_local(async move {
            while let Some(node) = taken.recv().await {
                local.peers.get().unwrap().take_over(node);
            }
        });
        until("the leader", || leader.local.peers.get().is_some()).await;
        let error = transfer(&leader.local, &leader.wanted(1))
            .await
            .unwrap_err();
        assert_eq!(received.get(), CHUNK_BYTES, "{error}");
        let nowhere = WantedSnapshot {
            to: NodeId(9),
            ..leader.wanted(1)
        };
        let error = transfer(&leader.local, &nowhere).await.unwrap_err();
        assert!(error.contains("where that node is"), "{error}");
    });
}

#[test]
fn a_transfer_keeps_to_its_rate_and_all_together_to_that_of_the_node() {
    on_a_worker(async {
        let [one, _] = listeners();
        let leader = start(LEADER, "everysec", one, &[]);
        let settings = &leader.local.shared.settings;
        let mib = u64::from(1u32 << 20);
        for (pairs, both_take) in [
            (
                [
                    ("snapshot-send-bytes-per-sec", "1mb"),
                    ("move-bytes-per-sec", "0"),
                ],
                0.1,
            ),
            (
                [
                    ("snapshot-send-bytes-per-sec", "1gb"),
                    ("move-bytes-per-sec", "1mb"),
                ],
                0.2,
            ),
        ] {
            settings.set(&pairs).unwrap();
            leader.local.worker.borrow_mut().take_up_changes();
            let before = leader.local.shared.move_pace.sent_bytes();
            let (began, paces) = (Instant::now(), [Pace::new(mib), Pace::new(mib)]);
            let bytes = mib / 10;
            let [first, second] = paces.each_ref();
            tokio::join!(
                first.keep(&leader.local, bytes, bytes),
                second.keep(&leader.local, bytes, bytes)
            );
            let took = began.elapsed().as_secs_f64();
            assert!(took >= both_take - 0.01, "{pairs:?}: {took}");
            let sent = leader.local.shared.move_pace.sent_bytes() - before;
            assert_eq!(sent, 2 * bytes);
        }
    });
}
