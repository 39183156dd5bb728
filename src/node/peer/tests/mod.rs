//! The peer transport over loopback: what the tests share. A [`Remote`] is another node on a thread of its own, which can be
//! killed; [`Recorder`] writes down what a worker is told.

mod frames;
mod handshake;
mod links;
mod outward;
mod requests;
mod serving;
mod tls;
mod two_way;

use std::future::Future;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfort_cluster::NodeId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use super::frame::{send_frame, FrameReader};
use super::hello::{examine, Examined};
use super::stream::PeerStream;
use super::*;

/// Longer than anything here takes, also on a machine that stands still for a while.
const PATIENCE: Duration = Duration::from_secs(20);
const LOCAL: NodeId = NodeId(0xA);
const REMOTE: NodeId = NodeId(0xB);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    Frame(Peer, Channel, Bytes),
    EndOfBatch,
    IncomingUp(Peer, Channel),
    IncomingDown(Peer, Channel),
    LinkUp(NodeId, Channel),
    LinkDown(NodeId, Channel),
    WrongNode(NodeId, NodeId),
    NobodyListens(NodeId),
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Recorder {
    fn push(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }

    fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    fn count(&self, event: &Event) -> usize {
        self.0
            .lock()
            .unwrap()
            .iter()
            .filter(|it| *it == event)
            .count()
    }

    /// The frames that have come, without the ends of batches.
    fn frames(&self) -> Vec<Bytes> {
        let events = self.0.lock().unwrap();
        let frame = |event: &Event| match event {
            Event::Frame(_, _, frame) => Some(frame.clone()),
            _ => None,
        };
        events.iter().filter_map(frame).collect()
    }

    /// Everything but frames and the ends of batches.
    fn changes(&self) -> Vec<Event> {
        let mut events = self.events();
        events.retain(|event| !matches!(event, Event::Frame(..) | Event::EndOfBatch));
        events
    }

    async fn wait_for(&self, event: Event) {
        self.wait_for_times(event, 1).await;
    }

    async fn wait_for_times(&self, event: Event, times: usize) {
        until(&format!("{times} times {event:?}"), || {
            self.count(&event) >= times
        })
        .await;
    }

    async fn wait_for_frames(&self, count: usize) {
        until(&format!("{count} frames"), || self.frames().len() >= count).await;
    }
}

impl Incoming for Recorder {
    fn frame(&self, from: Peer, channel: Channel, frame: Bytes) {
        self.push(Event::Frame(from, channel, frame));
    }

    fn end_of_batch(&self) {
        self.push(Event::EndOfBatch);
    }

    fn incoming_up(&self, from: Peer, channel: Channel) {
        self.push(Event::IncomingUp(from, channel));
    }

    fn incoming_down(&self, from: Peer, channel: Channel) {
        self.push(Event::IncomingDown(from, channel));
    }

    fn link_up(&self, to: NodeId, channel: Channel) {
        self.push(Event::LinkUp(to, channel));
    }

    fn link_down(&self, to: NodeId, channel: Channel) {
        self.push(Event::LinkDown(to, channel));
    }

    fn nobody_listens(&self, to: NodeId) {
        self.push(Event::NobodyListens(to));
    }

    fn wrong_node(&self, expected: NodeId, found: NodeId, _address: &str) {
        self.push(Event::WrongNode(expected, found));
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs a test, or another node, as a worker's thread runs; not for good.
fn on_a_worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ended = LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(PATIENCE * 3, test).await
    });
    ended.expect("the test ends");
}

/// Quick to try again, so that tests are quick; patient otherwise.
fn timing() -> Timing {
    Timing {
        backoff_first: Duration::from_millis(10),
        backoff_last: Duration::from_millis(40),
        refused_pause: Duration::from_millis(40),
        ping: Duration::from_millis(100),
        stalled: PATIENCE * 3,
        ..Timing::default()
    }
}

/// Gives up quickly.
fn impatient() -> Timing {
    Timing {
        ping: Duration::from_millis(25),
        stalled: Duration::from_millis(400),
        step: Duration::from_millis(200),
        ..timing()
    }
}

fn secret(text: &str) -> PeerSecurity {
    PeerSecurity {
        secret: Some(Secret::new(text).unwrap()),
        tls: None,
    }
}

fn home(node: NodeId, timing: Timing) -> Arc<Home> {
    Arc::new(Home::new(node, secret("the secret"), timing))
}

fn peer(worker: u16) -> Peer {
    Peer {
        node: LOCAL,
        worker,
    }
}

fn at(address: &str) -> Target<'_> {
    Target {
        address,
        node: REMOTE,
        worker: 0,
    }
}

/// What a remote node does with questions and streams.
type MakeServing = Box<dyn FnOnce(Arc<Home>, Rc<dyn Incoming>) -> Rc<Serving> + Send>;

/// Another node with one worker. Dropping it kills it: all its connections break.
struct Remote {
    address: String,
    recorder: Recorder,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Remote {
    fn start(home: Arc<Home>) -> Self {
        Self::start_at("127.0.0.1:0", home)
    }

    fn start_at(address: &str, home: Arc<Home>) -> Self {
        let idle = |home, incoming| {
            let control: ControlHandler = Rc::new(|_, _| Box::pin(std::future::pending()));
            Serving::new(home, incoming, control, Rc::new(drop))
        };
        Self::start_with(address, home, Box::new(idle))
    }

    fn start_with(address: &str, home: Arc<Home>, make: MakeServing) -> Self {
        let listener = listen(address);
        let address = listener.local_addr().unwrap().to_string();
        let recorder = Recorder::default();
        let (stop, stopped) = oneshot::channel();
        let incoming = recorder.clone();
        let thread = std::thread::spawn(move || {
            on_a_worker(async move {
                let serving = make(home.clone(), Rc::new(incoming));
                let (hand_over, mut accepted) = mpsc::unbounded_channel();
                let accepting = accept_loop(listener, home, 1, move |worker, connection| {
                    assert_eq!(worker, 0);
                    let _ = hand_over.send(connection);
                });
                let serve = async {
                    while let Some(connection) = accepted.recv().await {
                        serving.take_over(connection);
                    }
                };
                tokio::select! {
                    _ = stopped => {}
                    ended = accepting => panic!("the listener ended: {ended:?}"),
                    () = serve => {}
                }
            });
        });
        Self {
            address,
            recorder,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

/// Listens as the product does: on a port that was just used, too.
fn listen(address: &str) -> StdListener {
    let address: SocketAddr = address.parse().unwrap();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(64).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

/// The next frame that is no ping.
async fn next_frame(reader: &mut FrameReader, stream: &mut PeerStream) -> Bytes {
    loop {
        let frame = reader.read(stream).await.unwrap();
        if !frame.is_empty() {
            return frame;
        }
    }
}

/// Says again and again that this side is there.
async fn ping_for_ever(stream: &mut PeerStream) {
    while send_frame(stream, &[]).await.is_ok() {
        tokio::time::sleep(impatient().ping).await;
    }
    std::future::pending().await
}

/// A node of which the test reads every byte itself, or none.
struct Raw {
    listener: TcpListener,
    address: String,
    home: Arc<Home>,
}

impl Raw {
    fn start() -> Self {
        let listener = listen("127.0.0.1:0");
        Self {
            address: listener.local_addr().unwrap().to_string(),
            listener: TcpListener::from_std(listener).unwrap(),
            home: home(REMOTE, timing()),
        }
    }

    /// The next connection, let in and at its first frame.
    async fn accept(&self) -> (PeerStream, Examined) {
        use tokio::io::AsyncWriteExt;
        let (stream, _): (TcpStream, _) = self.listener.accept().await.unwrap();
        let mut stream = PeerStream::Plain(stream);
        let examined = examine(&mut stream, &self.home).await.unwrap();
        stream.write_all(&examined.welcome()).await.unwrap();
        (stream, examined)
    }

    /// The next two connections, sorted by channel; dropping one breaks its link.
    async fn accept_both(&self) -> [PeerStream; 2] {
        let mut both = [self.accept().await, self.accept().await];
        both.sort_by_key(|(_, examined)| match examined.purpose {
            Purpose::Link(channel) => channel.place(),
            other => panic!("{other:?}"),
        });
        both.map(|(stream, _)| stream)
    }
}

/// The links of [`LOCAL`]'s worker 0, and what it is told.
struct Local {
    links: Links,
    recorder: Recorder,
    _sink: Rc<dyn Incoming>,
}

impl Local {
    fn new(timing: Timing) -> Self {
        Self::at_home(home(LOCAL, timing), 0)
    }

    fn at_home(home: Arc<Home>, worker: u16) -> Self {
        let recorder = Recorder::default();
        let sink: Rc<dyn Incoming> = Rc::new(recorder.clone());
        Self {
            links: Links::new(home, worker, &sink),
            recorder,
            _sink: sink,
        }
    }

    fn lead_to(&self, address: &str) {
        self.links.set_peers(&[(REMOTE, address.to_owned())]);
    }

    async fn is_up(&self, times: usize) {
        for channel in Channel::ALL {
            let up = Event::LinkUp(REMOTE, channel);
            self.recorder.wait_for_times(up, times).await;
        }
    }

    fn send(&self, channel: Channel, frame: &[u8]) {
        self.links.send(REMOTE, channel, frame).unwrap();
        self.links.flush();
    }
}
