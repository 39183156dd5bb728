//! Raft links on which both sides send: who dials, what is lent, and that every rule of a link holds in both directions.

use std::cell::RefCell;

use super::super::dial::dial;
use super::*;

const RAFT: Purpose = Purpose::Link(Channel::Raft);
/// The node that waits for the other one to dial.
const LARGE: NodeId = REMOTE;
const SMALL: NodeId = LOCAL;

/// A whole node: each of its workers has links and serves, all on the test's thread. Dropping it ends its links and its listener.
pub(super) struct WholeNode {
    home: Arc<Home>,
    pub address: String,
    pub workers: Vec<NodeWorker>,
    /// Who has come with a Raft link.
    raft_dialers: Rc<RefCell<Vec<Peer>>>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

pub(super) struct NodeWorker {
    pub links: Rc<Links>,
    pub recorder: Recorder,
    _sink: Rc<dyn Incoming>,
}

impl WholeNode {
    pub fn start(home: Arc<Home>, workers: u16) -> Self {
        let listener = listen("127.0.0.1:0");
        let address = listener.local_addr().unwrap().to_string();
        let (hand_over, mut accepted) = mpsc::unbounded_channel();
        let accepting = accept_loop(listener, home.clone(), workers, move |worker, it| {
            let _ = hand_over.send((worker, it));
        });
        let mut serving = Vec::new();
        let made = (0..workers).map(|worker| {
            let (made, serves) = NodeWorker::new(&home, worker);
            serving.push(serves);
            made
        });
        let made = made.collect();
        let raft_dialers: Rc<RefCell<Vec<Peer>>> = Rc::default();
        let dialers = raft_dialers.clone();
        let serve = async move {
            while let Some((worker, connection)) = accepted.recv().await {
                if connection.examined.purpose == RAFT {
                    dialers.borrow_mut().push(connection.examined.from);
                }
                serving[usize::from(worker)].take_over(connection);
            }
        };
        let accept = async { accepting.await.unwrap() };
        Self {
            home,
            address,
            workers: made,
            raft_dialers,
            tasks: [
                tokio::task::spawn_local(accept),
                tokio::task::spawn_local(serve),
            ],
        }
    }

    fn one(node: NodeId, timing: Timing) -> Self {
        Self::start(home(node, timing), 1)
    }

    pub fn meets(&self, other: &Self) {
        self.finds(other.home.node(), &other.address);
    }

    fn finds(&self, node: NodeId, address: &str) {
        for worker in &self.workers {
            worker.links.set_peers(&[(node, address.to_owned())]);
        }
    }

    pub async fn is_up(&self, to: NodeId, times: usize) {
        for worker in &self.workers {
            let up = Event::LinkUp(to, Channel::Raft);
            worker.recorder.wait_for_times(up, times).await;
        }
    }

    pub fn dialers(&self) -> Vec<Peer> {
        self.raft_dialers.borrow().clone()
    }
}

impl Drop for WholeNode {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|task| task.abort());
    }
}

impl NodeWorker {
    fn new(home: &Arc<Home>, number: u16) -> (Self, Rc<Serving>) {
        let recorder = Recorder::default();
        let sink: Rc<dyn Incoming> = Rc::new(recorder.clone());
        let links = Rc::new(Links::new(home.clone(), number, &sink));
        let control: ControlHandler = Rc::new(|_, _| Box::pin(std::future::pending()));
        let (home, serves) = (home.clone(), Rc::new(drop));
        let serving = Serving::lending_to(&links, home, sink.clone(), control, serves);
        let worker = Self {
            links,
            recorder,
            _sink: sink,
        };
        (worker, serving)
    }

    pub fn send(&self, to: NodeId, frame: &[u8]) {
        self.links.send(to, Channel::Raft, frame).unwrap();
        self.links.flush();
    }

    fn is_up(&self, to: NodeId) -> bool {
        self.links.is_up(to, Channel::Raft)
    }

    /// What has been told of Raft links to and from a node's worker 0.
    fn raft_changes(&self) -> Vec<Event> {
        let mut changes = self.recorder.changes();
        changes.retain(|event| match event {
            Event::LinkUp(_, channel) | Event::LinkDown(_, channel) => *channel == Channel::Raft,
            Event::IncomingUp(_, channel) | Event::IncomingDown(_, channel) => {
                *channel == Channel::Raft
            }
            _ => false,
        });
        changes
    }
}

/// Whoever waits for the other side to dial waits longer than a test takes.
fn only_the_small_one_dials() -> Timing {
    Timing {
        lend: PATIENCE * 10,
        ..timing()
    }
}

fn at_once() -> Timing {
    Timing {
        lend: Duration::from_millis(20),
        ..timing()
    }
}

fn worker_of(node: NodeId, worker: u16) -> Peer {
    Peer { node, worker }
}

fn raft_frame(from: Peer, frame: &[u8]) -> Event {
    Event::Frame(from, Channel::Raft, Bytes::copy_from_slice(frame))
}

fn raft_up(to: NodeId) -> Event {
    Event::LinkUp(to, Channel::Raft)
}

fn raft_down(to: NodeId) -> Event {
    Event::LinkDown(to, Channel::Raft)
}

/// A Raft link that the test itself dials as a node's worker 0.
async fn dial_as(node: NodeId, to: &WholeNode) -> PeerStream {
    let target = Target {
        address: &to.address,
        node: to.home.node(),
        worker: 0,
    };
    let home = home(node, timing());
    dial(&home, target, RAFT).await.unwrap().0
}

/// Frames go in both directions between the two's workers of the same number.
async fn speak_both_ways(small: &WholeNode, large: &WholeNode) {
    for (from, to) in [(small, large), (large, small)] {
        let (here, there) = (from.home.node(), to.home.node());
        until("the link is up", || from.workers[0].is_up(there)).await;
        from.workers[0].send(there, b"a frame");
        let arrived = raft_frame(worker_of(here, 0), b"a frame");
        to.workers[0].recorder.wait_for(arrived).await;
    }
}

#[test]
fn frames_go_both_ways_over_one_connection_which_the_smaller_node_dials() {
    on_a_worker(async {
        let small = WholeNode::one(SMALL, only_the_small_one_dials());
        let large = WholeNode::one(LARGE, only_the_small_one_dials());
        large.meets(&small);
        small.meets(&large);
        speak_both_ways(&small, &large).await;
        assert_eq!(large.dialers(), [worker_of(SMALL, 0)]);
        assert_eq!(small.dialers(), []);
        // Both are told of both directions, as with a connection for each.
        for (node, other) in [(&small, LARGE), (&large, SMALL)] {
            let incoming = Event::IncomingUp(worker_of(other, 0), Channel::Raft);
            let mut changes = node.workers[0].raft_changes();
            changes.sort_by_key(|event| *event == raft_up(other));
            assert_eq!(changes, [incoming, raft_up(other)]);
        }
    });
}

#[test]
fn both_directions_end_together_and_come_back() {
    on_a_worker(async {
        let small = WholeNode::one(SMALL, only_the_small_one_dials());
        let large = WholeNode::one(LARGE, only_the_small_one_dials());
        large.meets(&small);
        small.meets(&large);
        for (round, breaks) in [&large, &small].into_iter().enumerate() {
            speak_both_ways(&small, &large).await;
            let other = match breaks.home.node() {
                SMALL => LARGE,
                _ => SMALL,
            };
            breaks.workers[0].links.cut(other, Channel::Raft, "a test");
            small.is_up(LARGE, round + 2).await;
            large.is_up(SMALL, round + 2).await;
        }
        speak_both_ways(&small, &large).await;
        for (node, other) in [(&small, LARGE), (&large, SMALL)] {
            let recorder = &node.workers[0].recorder;
            let gone = Event::IncomingDown(worker_of(other, 0), Channel::Raft);
            assert_eq!(recorder.count(&raft_down(other)), 2);
            assert_eq!(recorder.count(&gone), 2);
        }
    });
}

#[test]
fn the_larger_node_dials_when_nobody_lends_and_the_smaller_one_borrows_that() {
    on_a_worker(async {
        let small = WholeNode::one(SMALL, timing());
        let large = WholeNode::one(LARGE, at_once());
        // The smaller one does not know the larger one yet.
        large.meets(&small);
        large.is_up(SMALL, 1).await;
        large.workers[0].send(SMALL, b"first");
        small.workers[0].recorder.wait_for_frames(1).await;
        small.meets(&large);
        speak_both_ways(&small, &large).await;
        assert_eq!(small.dialers(), [worker_of(LARGE, 0)]);
        assert_eq!(large.dialers(), []);
    });
}

#[test]
fn nodes_that_both_dial_at_once_end_up_with_one_connection() {
    on_a_worker(async {
        let both = || Timing {
            lend: Duration::ZERO,
            ..timing()
        };
        let small = WholeNode::one(SMALL, both());
        let large = WholeNode::one(LARGE, both());
        for round in [b"1", b"2", b"3", b"4", b"5"] {
            small.meets(&large);
            large.meets(&small);
            for (from, to) in [(&small, &large), (&large, &small)] {
                let (here, there) = (from.home.node(), to.home.node());
                let arrived = raft_frame(worker_of(here, 0), round);
                let links = &from.workers[0].links;
                until("a frame arrives", || {
                    // Some are lost with connections that another one follows.
                    let _ = links.send(there, Channel::Raft, round);
                    links.flush();
                    to.workers[0].recorder.count(&arrived) > 0
                })
                .await;
            }
            small.workers[0].links.set_peers(&[]);
            large.workers[0].links.set_peers(&[]);
        }
        for (node, other) in [(&small, LARGE), (&large, SMALL)] {
            let recorder = &node.workers[0].recorder;
            let from = worker_of(other, 0);
            let ups = [Event::IncomingUp(from, Channel::Raft), raft_up(other)];
            let downs = [Event::IncomingDown(from, Channel::Raft), raft_down(other)];
            for (up, down) in ups.into_iter().zip(downs) {
                let ends = || recorder.count(&down) == recorder.count(&up);
                until("what is up is down", ends).await;
                let mut changes = node.workers[0].raft_changes();
                changes.retain(|event| *event == up || *event == down);
                let in_turn = |(place, event): (usize, &Event)| match place % 2 {
                    0 => *event == up,
                    _ => *event == down,
                };
                assert!(changes.iter().enumerate().all(in_turn), "{changes:?}");
            }
        }
    });
}

#[test]
fn a_worker_without_a_counterpart_dials_by_itself_and_is_only_read() {
    on_a_worker(async {
        for (small_workers, large_workers) in [(3, 1), (1, 3)] {
            let small = WholeNode::start(home(SMALL, at_once()), small_workers);
            let large = WholeNode::start(home(LARGE, at_once()), large_workers);
            small.meets(&large);
            large.meets(&small);
            small.is_up(LARGE, 1).await;
            large.is_up(SMALL, 1).await;
            speak_both_ways(&small, &large).await;
            for (from, to) in [(&small, &large), (&large, &small)] {
                let (here, there) = (from.home.node(), to.home.node());
                for (number, worker) in (0..).zip(&from.workers).skip(1) {
                    worker.send(there, b"alone");
                    let arrived = raft_frame(worker_of(here, number), b"alone");
                    to.workers[0].recorder.wait_for(arrived).await;
                }
            }
            // The workers 0 share one; the others have one each.
            let mut dialers = [small.dialers(), large.dialers()].concat();
            dialers.sort_by_key(|from| from.worker);
            let numbers: Vec<_> = dialers.iter().map(|from| from.worker).collect();
            assert_eq!(numbers, [0, 1, 2]);
        }
    });
}

#[test]
fn pings_go_both_ways_also_where_nobody_borrows() {
    on_a_worker(async {
        let small = WholeNode::one(SMALL, impatient());
        let large = WholeNode::one(LARGE, impatient());
        small.meets(&large);
        small.is_up(LARGE, 1).await;
        tokio::time::sleep(impatient().stalled * 2).await;
        assert_eq!(small.workers[0].raft_changes().len(), 2);
        large.meets(&small);
        large.is_up(SMALL, 1).await;
        tokio::time::sleep(impatient().stalled * 2).await;
        assert_eq!(small.workers[0].raft_changes().len(), 2);
        assert_eq!(large.workers[0].raft_changes().len(), 2);
    });
}

#[test]
fn a_dialer_that_hears_nothing_gives_the_connection_up() {
    on_a_worker(async {
        let raw = Raw::start();
        let small = WholeNode::one(SMALL, impatient());
        small.finds(LARGE, &raw.address);
        let [mut raft, forward] = raw.accept_both().await;
        small.is_up(LARGE, 1).await;
        tokio::select! {
            () = ping_for_ever(&mut raft) => {}
            () = tokio::time::sleep(impatient().stalled * 2) => {}
        }
        assert!(small.workers[0].is_up(LARGE));
        small.workers[0].recorder.wait_for(raft_down(LARGE)).await;
        assert!(small.workers[0].links.is_up(LARGE, Channel::Forward));
        drop(forward);
    });
}

#[test]
fn a_lent_connection_is_given_up_when_nothing_comes_or_nothing_is_taken() {
    on_a_worker(async {
        let large = WholeNode::one(LARGE, impatient());
        large.finds(SMALL, "127.0.0.1:1");
        let mut silent = dial_as(SMALL, &large).await;
        send_frame(&mut silent, &[]).await.unwrap();
        large.is_up(SMALL, 1).await;
        large.workers[0].recorder.wait_for(raft_down(SMALL)).await;
        let gone = Event::IncomingDown(worker_of(SMALL, 0), Channel::Raft);
        large.workers[0].recorder.wait_for(gone).await;

        let mut full = dial_as(SMALL, &large).await;
        send_frame(&mut full, &[]).await.unwrap();
        large.is_up(SMALL, 2).await;
        for _ in 0..16 {
            large.workers[0].send(SMALL, &vec![1; 1 << 20]);
        }
        let recorder = &large.workers[0].recorder;
        tokio::select! {
            () = recorder.wait_for_times(raft_down(SMALL), 2) => {}
            () = ping_for_ever(&mut full) => {}
        }
    });
}

#[test]
fn what_is_lent_is_used_when_the_other_side_has_spoken_and_nothing_of_before_goes_by_it() {
    on_a_worker(async {
        let large = WholeNode::one(LARGE, only_the_small_one_dials());
        large.finds(SMALL, "127.0.0.1:1");
        let worker = &large.workers[0];
        let mut old = dial_as(SMALL, &large).await;
        // The dialer may still read by an older one.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!worker.is_up(SMALL));
        send_frame(&mut old, &[]).await.unwrap();
        large.is_up(SMALL, 1).await;
        for _ in 0..16 {
            worker.send(SMALL, &vec![1; 1 << 20]);
        }
        assert!(worker.links.backlog_bytes(SMALL, Channel::Raft) > 0);
        let mut new = dial_as(SMALL, &large).await;
        worker.recorder.wait_for(raft_down(SMALL)).await;
        let refused = worker.links.send(SMALL, Channel::Raft, b"lost");
        assert_eq!(refused, Err(SendError::Down));
        // What the older one still brings is not handed over.
        let _ = send_frame(&mut old, b"late").await;
        send_frame(&mut new, b"new").await.unwrap();
        large.is_up(SMALL, 2).await;
        worker.send(SMALL, b"after");
        let mut reader = FrameReader::new(FRAME_BYTES_MAX);
        let first = next_frame(&mut reader, &mut new).await;
        assert_eq!(first, &b"after"[..]);
        worker.recorder.wait_for_frames(1).await;
        assert_eq!(worker.recorder.frames(), ["new"]);
        let mut changes = worker.raft_changes();
        changes.retain(|event| matches!(event, Event::LinkUp(..) | Event::LinkDown(..)));
        let expected = [raft_up(SMALL), raft_down(SMALL), raft_up(SMALL)];
        assert_eq!(changes, expected);
    });
}

/// The larger node has lost the connection and dials, while the smaller one has not noticed: what it would still read by the old one was sent before.
#[test]
fn a_connection_from_the_other_side_follows_the_one_that_was_dialed_here() {
    on_a_worker(async {
        let raw = Raw::start();
        let small = WholeNode::one(SMALL, timing());
        small.finds(LARGE, &raw.address);
        let [mut old, _forward] = raw.accept_both().await;
        let worker = &small.workers[0];
        small.is_up(LARGE, 1).await;
        send_frame(&mut old, b"old").await.unwrap();
        worker.recorder.wait_for_frames(1).await;

        let mut new = dial_as(LARGE, &small).await;
        let _ = send_frame(&mut old, b"late").await;
        send_frame(&mut new, b"new").await.unwrap();
        small.is_up(LARGE, 2).await;
        worker.recorder.wait_for_frames(2).await;
        worker.send(LARGE, b"back");
        let mut reader = FrameReader::new(FRAME_BYTES_MAX);
        assert_eq!(next_frame(&mut reader, &mut new).await, &b"back"[..]);
        assert_eq!(worker.recorder.frames(), ["old", "new"]);
        let from = worker_of(LARGE, 0);
        let mut changes = worker.raft_changes();
        changes.retain(|event| matches!(event, Event::IncomingUp(..) | Event::IncomingDown(..)));
        let up = Event::IncomingUp(from, Channel::Raft);
        let down = Event::IncomingDown(from, Channel::Raft);
        assert_eq!(changes, [up.clone(), down, up]);
    });
}

#[test]
fn a_node_that_left_or_moved_is_not_spoken_to_by_what_it_has_lent() {
    on_a_worker(async {
        let large = WholeNode::one(LARGE, only_the_small_one_dials());
        let worker = &large.workers[0];
        let wanted: [&[(NodeId, String)]; 2] = [&[], &[(SMALL, "127.0.0.1:2".to_owned())]];
        for (times, wanted) in (1..).zip(wanted) {
            large.finds(SMALL, "127.0.0.1:1");
            let mut lent = dial_as(SMALL, &large).await;
            send_frame(&mut lent, &[]).await.unwrap();
            large.is_up(SMALL, times).await;
            worker.links.set_peers(wanted);
            let refused = worker.links.send(SMALL, Channel::Raft, b"x");
            assert_eq!(refused, Err(SendError::Down));
            let gone = Event::IncomingDown(worker_of(SMALL, 0), Channel::Raft);
            worker.recorder.wait_for_times(gone, times).await;
            let down = raft_down(SMALL);
            worker.recorder.wait_for_times(down, times).await;
        }
    });
}
