//! One outgoing link: a connection to one node for one channel, dialed again whenever it is gone, with the bytes that wait to
//! be sent. Knows nothing of the other links, nor of what the bytes mean.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use ringfort_cluster::NodeId;
use tokio::time::{sleep, Instant};

use super::dial::{dial, DialError, Target};
use super::frame::{put_frame, FRAME_BYTES_MAX, HEAD_BYTES};
use super::hello::HandshakeError;
use super::links::SendError;
use super::pace::{jittered, Backoff, Beats};
use super::stream::PeerStream;
use super::wake::Wake;
use super::wire::Wire;
use super::{Channel, Home, Incoming, Purpose};

/// A buffer that grew beyond this is given back once it is empty.
const OUT_KEPT_BYTES: usize = 1 << 20;
/// Writes in a row for a peer that takes everything, before others on this thread have their turn.
const WRITES_MAX: usize = 16;

/// What a link's task does its work with.
pub(super) struct Surroundings {
    pub home: Arc<Home>,
    pub worker: u16,
    pub sink: Rc<dyn Incoming>,
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
    /// There while the link is up.
    wire: RefCell<Option<Rc<Wire>>>,
    /// Why the link was taken down.
    fault: RefCell<Option<String>>,
    /// Frames for the wire, of which the first `sent` bytes are gone.
    out: RefCell<Vec<u8>>,
    sent: Cell<usize>,
    /// All bytes that wires have ever taken.
    taken_bytes: Cell<u64>,
    /// The wire took less than it was given: the task sends on.
    is_blocked: Cell<bool>,
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
            wire: RefCell::default(),
            fault: RefCell::default(),
            out: RefCell::default(),
            sent: Cell::new(0),
            taken_bytes: Cell::new(0),
            is_blocked: Cell::new(false),
            is_listed: Cell::new(false),
            task: Wake::default(),
        })
    }

    /// Appends a frame to what is to be sent.
    pub fn put(&self, frame: &[u8]) -> Result<(), SendError> {
        if !self.is_up() {
            return Err(SendError::Down);
        }
        if frame.len() > FRAME_BYTES_MAX {
            return Err(SendError::TooLong);
        }
        let waiting = self.backlog_bytes();
        // The largest frame is larger than what may wait: it goes when nothing waits.
        if waiting > 0 && waiting + HEAD_BYTES + frame.len() > self.backlog_bytes_max {
            return Err(SendError::Full);
        }
        put_frame(&mut self.out.borrow_mut(), frame);
        Ok(())
    }

    /// One write, unless the task is at it already.
    pub fn flush(&self) {
        if !self.is_blocked.get() {
            self.write_once();
        }
    }

    /// Frames can be sent.
    pub fn is_up(&self) -> bool {
        self.wire.borrow().is_some()
    }

    /// Bytes that wait to be sent.
    pub fn backlog_bytes(&self) -> usize {
        self.out.borrow().len() - self.sent.get()
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

    fn put_up(&self, stream: PeerStream) -> Rc<Wire> {
        let wire = Rc::new(Wire::new(stream));
        self.fault.take();
        *self.wire.borrow_mut() = Some(wire.clone());
        wire
    }

    /// From now on `send` says `Down`; what waited is gone. The task tells the owner of it.
    pub fn take_down(&self, why: &str) {
        if self.wire.take().is_some() {
            *self.fault.borrow_mut() = Some(why.to_owned());
            *self.out.borrow_mut() = Vec::new();
            self.sent.set(0);
            self.is_blocked.set(false);
        }
        self.task.wake();
    }

    /// Gives the wire what waits; leaves to the task what it does not take.
    fn write_once(&self) {
        let written = match &*self.wire.borrow() {
            Some(wire) if self.backlog_bytes() > 0 => {
                wire.try_write(&self.out.borrow()[self.sent.get()..])
            }
            _ => return,
        };
        match written {
            Ok(bytes) if bytes > 0 => {
                self.took(bytes);
                if self.backlog_bytes() > 0 {
                    self.block();
                }
            }
            Ok(_) => self.take_down("the connection takes no more"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.block(),
            Err(error) => self.take_down(&error.to_string()),
        }
    }

    fn block(&self) {
        self.is_blocked.set(true);
        self.task.wake();
    }

    fn took(&self, bytes: usize) {
        self.taken_bytes.set(self.taken_bytes.get() + bytes as u64);
        let mut out = self.out.borrow_mut();
        let sent = self.sent.get() + bytes;
        self.sent.set(0);
        if sent < out.len() {
            // Moved up only when as much is gone as is left, so that every byte moves once or twice.
            if sent >= out.len() - sent {
                out.drain(..sent);
            } else {
                self.sent.set(sent);
            }
        } else if out.capacity() > OUT_KEPT_BYTES {
            *out = Vec::new();
        } else {
            out.clear();
        }
    }

    /// Everything that a link which is up does by itself. Ends with the reason why it is down.
    fn poll_carry(&self, cx: &mut Context<'_>, wire: &Wire, pulse: &mut Pulse) -> Poll<String> {
        self.task.remember(cx);
        if !self.is_up() {
            return Poll::Ready(self.fault.take().unwrap_or_default());
        }
        if let Poll::Ready(why) = wire.poll_end(cx) {
            return Poll::Ready(why);
        }
        // Before the clock: after a pause of this process the wire takes more, and nothing stood still.
        if self.is_blocked.get() {
            if let Poll::Ready(Err(error)) = self.poll_send_on(cx, wire) {
                return Poll::Ready(error.to_string());
            }
        }
        while pulse.beats.poll(cx).is_ready() {
            if self.is_standing_still(pulse) {
                return Poll::Ready("the other side takes nothing".to_owned());
            }
        }
        Poll::Pending
    }

    /// Sends what the wire did not take before.
    fn poll_send_on(&self, cx: &mut Context<'_>, wire: &Wire) -> Poll<io::Result<()>> {
        for _ in 0..WRITES_MAX {
            if self.backlog_bytes() == 0 {
                ready!(wire.poll_flush(cx))?;
                self.is_blocked.set(false);
                return Poll::Ready(Ok(()));
            }
            let written = wire.poll_write(cx, &self.out.borrow()[self.sent.get()..]);
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.took(bytes),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One beat: says on an idle link that we are there; notices one that is stuck.
    fn is_standing_still(&self, pulse: &mut Pulse) -> bool {
        let taken_bytes = self.taken_bytes.get();
        let moves = taken_bytes != pulse.taken_bytes;
        pulse.taken_bytes = taken_bytes;
        let waits = self.backlog_bytes() > 0;
        if !moves && !waits {
            put_frame(&mut self.out.borrow_mut(), &[]);
        }
        self.flush();
        if moves || !waits {
            pulse.beats.moved();
            return false;
        }
        pulse.beats.missed()
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

/// The beats of a link that is up, and what had been sent at the last one.
struct Pulse {
    beats: Beats,
    taken_bytes: u64,
}

/// The task of a link: dials, carries, and dials again, until the link leads nowhere.
async fn run(link: Rc<Link>, context: Surroundings) {
    let timing = &context.home.timing;
    let mut backoff = Backoff::new(timing);
    // What an operator has been told last, so that a node that is gone fills no log.
    let mut told = String::new();
    while let Some(address) = link.address() {
        link.is_nudged.set(false);
        let changes = link.changes.get();
        let target = Target {
            address: &address,
            node: link.node,
            worker: context.worker,
        };
        let dialed = tokio::select! {
            biased;
            () = link.changed(changes) => {
                backoff.reset();
                continue;
            }
            dialed = dial(&context.home, target, Purpose::Link(link.channel)) => dialed,
        };
        let pause = match dialed {
            Ok((stream, _)) => {
                told.clear();
                let since = Instant::now();
                serve(&link, &context, stream, &address).await;
                if since.elapsed() >= timing.backoff_last {
                    backoff.reset();
                }
                backoff.pause()
            }
            Err(error) => {
                failed(&link, &context, &error, &address, &mut told);
                match error.is_refusal() {
                    true => jittered(timing.refused_pause),
                    false => backoff.pause(),
                }
            }
        };
        tokio::select! {
            biased;
            () = link.changed(changes) => backoff.reset(),
            () = link.nudged() => {}
            () = sleep(pause) => {}
        }
    }
    link.has_task.set(false);
}

/// From up to down.
async fn serve(link: &Link, context: &Surroundings, stream: PeerStream, address: &str) {
    let wire = link.put_up(stream);
    let (node, channel) = (link.node, link.channel);
    tracing::debug!("{channel:?} link to node {node} at {address} is up");
    context.sink.link_up(node, channel);
    let mut pulse = Pulse {
        beats: Beats::new(&context.home.timing),
        taken_bytes: link.taken_bytes.get(),
    };
    let why = poll_fn(|cx| link.poll_carry(cx, &wire, &mut pulse)).await;
    link.take_down(&why);
    tracing::info!("{channel:?} link to node {node} at {address} is down: {why}");
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
    let text = format!("no connection to node {node} at {address}: {error}");
    // All links to a node fail for the same reason: one speaks for them.
    let is_news = *told != text;
    if is_news && context.worker == 0 && link.channel == Channel::Raft {
        tracing::warn!("{text}");
    } else {
        tracing::debug!("{text}");
    }
    *told = text;
    if !is_news {
        return;
    }
    if let DialError::Handshake(HandshakeError::WrongNode { expected, found }) = error {
        context.sink.wrong_node(*expected, *found, address);
    }
}
