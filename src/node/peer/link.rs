//! One link: the way from a worker to one node for one channel. Dials, where nobody lends it a connection, and again whenever that is gone.
//! Knows nothing of the other links, nor of what the bytes mean.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ringfort_cluster::NodeId;
use tokio::time::{sleep, Instant};

use super::connection::{Connection, Ways};
use super::dial::{dial, DialError, Target};
use super::hello::HandshakeError;
use super::inbound::{hand_over, Inbound};
use super::links::SendError;
use super::pace::{jittered, Backoff};
use super::stream::PeerStream;
use super::wake::Wake;
use super::{Channel, Home, Incoming, Peer, Purpose};

/// What a link's task does its work with.
pub(super) struct Surroundings {
    pub home: Arc<Home>,
    pub worker: u16,
    pub sink: Rc<dyn Incoming>,
    pub inbound: Rc<Inbound>,
}

/// A link, as its worker and its task share it.
pub(super) struct Link {
    node: NodeId,
    channel: Channel,
    backlog_bytes_max: usize,
    /// Where to dial; `None` when the link is to end.
    address: RefCell<Option<Rc<str>>>,
    /// How often `address` has changed.
    changes: Cell<u64>,
    /// The node is said to be there: the pause before the next attempt ends.
    is_nudged: Cell<bool>,
    /// A task looks after the link.
    has_task: Cell<bool>,
    /// There while the link is up; may be over already.
    connection: RefCell<Option<Rc<Connection>>>,
    /// The other node has said that it goes down.
    pub is_to_end: Cell<bool>,
    /// The owner's list of links to flush holds this one.
    pub is_listed: Cell<bool>,
    task: Wake,
}

impl Link {
    pub fn new(node: NodeId, channel: Channel, backlog_bytes_max: usize) -> Rc<Self> {
        Rc::new(Self {
            node,
            channel,
            backlog_bytes_max,
            address: RefCell::default(),
            changes: Cell::new(0),
            is_nudged: Cell::new(false),
            has_task: Cell::new(false),
            connection: RefCell::default(),
            is_to_end: Cell::new(false),
            is_listed: Cell::new(false),
            task: Wake::default(),
        })
    }

    /// Appends a frame to what is to be sent.
    pub fn put(&self, frame: &[u8]) -> Result<(), SendError> {
        match &*self.connection.borrow() {
            Some(connection) => connection.put(frame, self.backlog_bytes_max),
            None => Err(SendError::Down),
        }
    }

    /// One write, unless the connection's task is at it already.
    pub fn flush(&self) {
        if let Some(connection) = &*self.connection.borrow() {
            connection.flush();
        }
    }

    /// Frames can be sent.
    pub fn is_up(&self) -> bool {
        let connection = self.connection.borrow();
        connection.as_ref().is_some_and(|it| !it.is_over())
    }

    /// Bytes that wait to be sent.
    pub fn backlog_bytes(&self) -> usize {
        let connection = self.connection.borrow();
        connection.as_ref().map_or(0, |it| it.backlog_bytes())
    }

    /// Where to dial.
    fn address(&self) -> Option<Rc<str>> {
        self.address.borrow().clone()
    }

    /// Where the link leads from now on. Starts the task where there is none.
    pub fn lead_to(
        self: &Rc<Self>,
        address: Option<&str>,
        context: impl FnOnce() -> Option<Surroundings>,
    ) {
        if self.address.borrow().as_deref() == address {
            return;
        }
        *self.address.borrow_mut() = address.map(Rc::from);
        self.changes.set(self.changes.get() + 1);
        self.take_down("the topology has changed");
        if address.is_some() && !self.has_task.get() {
            if let Some(context) = context() {
                self.has_task.set(true);
                tokio::task::spawn_local(run(self.clone(), context));
            }
        }
    }

    /// Nothing is left of the link.
    pub fn is_over(&self) -> bool {
        self.address.borrow().is_none() && !self.has_task.get()
    }

    /// Ends the pause before the next attempt to connect.
    pub fn nudge(&self) {
        if !self.is_up() {
            self.is_nudged.set(true);
            self.task.wake();
        }
    }

    /// There may be a connection to borrow.
    pub fn lent(&self) {
        self.task.wake();
    }

    /// From now on `send` says `Down`; what waited is gone. The task tells the owner of it.
    pub fn take_down(&self, why: &str) {
        if let Some(connection) = self.connection.take() {
            connection.end(why);
        }
        self.task.wake();
    }

    fn put_up(&self, connection: &Rc<Connection>) {
        self.is_to_end.set(false);
        *self.connection.borrow_mut() = Some(connection.clone());
    }

    /// Whether whoever is reached sends by the same connection.
    fn is_two_way(&self) -> bool {
        self.channel == Channel::Raft
    }

    /// Whom the connection is shared with, where it is: workers of the same number.
    fn peer(&self, context: &Surroundings) -> Peer {
        Peer {
            node: self.node,
            worker: context.worker,
        }
    }

    /// Resolves when the link is to lead elsewhere than it did after so many `changes`.
    async fn changed(&self, changes: u64) {
        poll_fn(|cx| {
            self.task.remember(cx);
            match self.changes.get() == changes {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
    }

    async fn nudged(&self) {
        poll_fn(|cx| {
            self.task.remember(cx);
            match self.is_nudged.take() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

/// How a link came to its connection.
enum Found {
    Dialed(PeerStream),
    /// The other side has dialed it.
    Lent(Rc<Connection>),
    Failed(DialError),
}

/// The task of a link: finds a connection, carries it, and finds the next, until the link leads nowhere.
async fn run(link: Rc<Link>, context: Surroundings) {
    let timing = &context.home.timing;
    let mut backoff = Backoff::new(timing);
    let mut pause = Duration::ZERO;
    let mut changes = link.changes.get();
    // What an operator has been told last, so that a node that is gone fills no log.
    let mut told = String::new();
    while let Some(address) = link.address() {
        if changes != link.changes.get() {
            changes = link.changes.get();
            backoff.reset();
            pause = Duration::ZERO;
        }
        let found = tokio::select! {
            biased;
            () = link.changed(changes) => continue,
            connection = borrow(&link, &context) => Found::Lent(connection),
            dialed = dial_after(pause, &link, &context, &address) => match dialed {
                Ok(stream) => Found::Dialed(stream),
                Err(error) => Found::Failed(error),
            },
        };
        let since = Instant::now();
        match found {
            Found::Dialed(stream) => {
                told.clear();
                serve_dialed(&link, &context, stream, &address).await;
            }
            Found::Lent(connection) => {
                told.clear();
                serve_lent(&link, &context, &connection).await;
            }
            Found::Failed(error) => {
                failed(&link, &context, &error, &address, &mut told);
                pause = match error.is_refusal() {
                    true => jittered(timing.refused_pause),
                    false => backoff.pause(),
                };
                continue;
            }
        }
        if since.elapsed() >= timing.backoff_last {
            backoff.reset();
        }
        pause = backoff.pause();
    }
    link.has_task.set(false);
}

/// Resolves when the worker with this one's number on the other node has a connection to here by which this side may send too. Between two such
/// workers there is never a second one, so what has been sent by an older one cannot come after what is sent by this one.
async fn borrow(link: &Link, context: &Surroundings) -> Rc<Connection> {
    poll_fn(|cx| {
        link.task.remember(cx);
        let lendable = context.inbound.lendable(link.peer(context), link.channel);
        lendable.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// Dials when the pause is over and it is this side's turn.
async fn dial_after(
    pause: Duration,
    link: &Link,
    context: &Surroundings,
    address: &str,
) -> Result<PeerStream, DialError> {
    if !pause.is_zero() {
        tokio::select! {
            biased;
            () = link.nudged() => {}
            () = sleep(pause) => {}
        }
    }
    // Both would be at it otherwise, and each would end what the other has dialed.
    if link.is_two_way() && link.node < context.home.node() {
        sleep(context.home.timing.lend).await;
    }
    link.is_nudged.set(false);
    let target = Target {
        address,
        node: link.node,
        worker: context.worker,
    };
    let dialed = dial(&context.home, target, Purpose::Link(link.channel)).await;
    dialed.map(|(stream, _)| stream)
}

/// From up to down, on a connection that was dialed here.
async fn serve_dialed(link: &Link, context: &Surroundings, stream: PeerStream, address: &str) {
    let (node, channel, sink) = (link.node, link.channel, &*context.sink);
    let ways = match link.is_two_way() {
        true => Ways::Both,
        false => Ways::Out,
    };
    let connection = Rc::new(Connection::new(ways));
    connection.open(stream);
    let from = link.peer(context);
    if link.is_two_way() {
        context.inbound.follow(from, channel, &connection, sink);
        // The other side sends only from here on: nothing that it has sent otherwise is handed over any more.
        connection.ping();
    }
    link.put_up(&connection);
    tracing::debug!("{channel:?} link to node {node} at {address} is up");
    sink.link_up(node, channel);
    let take = |reader: &mut _| hand_over(reader, from, channel, sink);
    let end = connection.carry(&context.home.timing, take).await;
    link.take_down(&end.to_string());
    connection.end(&end.to_string());
    tracing::info!("{channel:?} link to node {node} at {address} is down: {end}");
    if link.is_two_way() {
        context.inbound.leave(from, channel, &connection, sink);
    }
    sink.link_down(node, channel);
}

/// From up to down, on a connection that the other node has dialed and [`Serving`](super::Serving) carries.
async fn serve_lent(link: &Link, context: &Surroundings, connection: &Rc<Connection>) {
    let (node, channel) = (link.node, link.channel);
    link.put_up(connection);
    tracing::debug!("{channel:?} link to node {node} is up, by a connection from there");
    context.sink.link_up(node, channel);
    let why = connection.ended().await;
    link.take_down(&why);
    tracing::info!("{channel:?} link to node {node} is down: {why}");
    context.sink.link_down(node, channel);
}

fn failed(
    link: &Link,
    context: &Surroundings,
    error: &DialError,
    address: &str,
    told: &mut String,
) {
    let node = link.node;
    // The other link may be lent its connections, and then dials late.
    if link.channel == Channel::Forward && error.is_nobody_there() {
        context.sink.nobody_listens(node);
    }
    let text = format!("no connection to node {node} at {address}: {error}");
    // All links to a node fail for the same reason: one that always dials speaks for them.
    let is_news = *told != text;
    let is_told = is_news && context.worker == 0 && link.channel == Channel::Forward;
    match is_told {
        true if link.is_to_end.get() => tracing::info!("{text}: it has said that it goes down"),
        true => tracing::warn!("{text}"),
        false => tracing::debug!("{text}"),
    }
    *told = text;
    if !is_news {
        return;
    }
    if let DialError::Handshake(HandshakeError::WrongNode { expected, found }) = error {
        context.sink.wrong_node(*expected, *found, address);
    }
}
