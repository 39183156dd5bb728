//! A worker's end of the connections that others have dialed: receives what comes on links, answers questions, takes streams in. Knows
//! nothing of what the bytes mean.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use ringfort_cluster::NodeId;
use tokio::io::AsyncWriteExt;

use super::accept::Accepted;
use super::connection::{Connection, End, Ways};
use super::control::{answer, CONTROL_INFLIGHT_MAX};
use super::frame::{FrameError, FrameReader};
use super::hello::{Examined, VERDICT_BYTES};
use super::inbound::{hand_over, Inbound};
use super::links::Links;
use super::stream::{Parked, PeerStream};
use super::transfer::{StreamReceiver, STREAMS_INFLIGHT_MAX};
use super::{Channel, Home, Incoming, LocalFuture, Peer, Purpose};

/// Answers a question of a node. Its answer may have [`CONTROL_BYTES_MAX`](super::CONTROL_BYTES_MAX) bytes.
pub type ControlHandler = Rc<dyn Fn(NodeId, Vec<u8>) -> LocalFuture<Vec<u8>>>;
/// Takes a stream in, usually in a task of its own.
pub type SnapshotHandler = Rc<dyn Fn(StreamReceiver)>;

/// What a worker serves other nodes with.
pub struct Serving {
    home: Arc<Home>,
    incoming: Rc<dyn Incoming>,
    control: ControlHandler,
    snapshots: SnapshotHandler,
    inbound: Rc<Inbound>,
    /// What borrows connections on which both sides send. Weak: it ends when its owner wants, not when the last connection does.
    links: Weak<Links>,
    questions: Rc<Cell<usize>>,
    streams: Rc<Cell<usize>>,
}

/// A place among a bounded number, free again when it is dropped.
pub(super) struct Slot(Rc<Cell<usize>>);

impl Slot {
    fn take(used: &Rc<Cell<usize>>, max: usize) -> Option<Self> {
        if used.get() >= max {
            return None;
        }
        used.set(used.get() + 1);
        Some(Self(used.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Serving {
    /// For one worker that has no links, or lends them nothing: who gets what comes in.
    pub fn new(
        home: Arc<Home>,
        incoming: Rc<dyn Incoming>,
        control: ControlHandler,
        snapshots: SnapshotHandler,
    ) -> Rc<Self> {
        let (inbound, links) = (Rc::default(), Weak::new());
        Self::made_of(home, incoming, control, snapshots, inbound, links)
    }

    /// For the worker that has these links, which are lent what others have dialed. `incoming` must be what they tell, too.
    pub fn lending_to(
        links: &Rc<Links>,
        home: Arc<Home>,
        incoming: Rc<dyn Incoming>,
        control: ControlHandler,
        snapshots: SnapshotHandler,
    ) -> Rc<Self> {
        let (inbound, links) = (links.inbound(), Rc::downgrade(links));
        Self::made_of(home, incoming, control, snapshots, inbound, links)
    }

    fn made_of(
        home: Arc<Home>,
        incoming: Rc<dyn Incoming>,
        control: ControlHandler,
        snapshots: SnapshotHandler,
        inbound: Rc<Inbound>,
        links: Weak<Links>,
    ) -> Rc<Self> {
        Rc::new(Self {
            home,
            incoming,
            control,
            snapshots,
            inbound,
            links,
            questions: Rc::default(),
            streams: Rc::default(),
        })
    }

    /// Takes an accepted connection over and serves it on this thread's `LocalSet`.
    pub fn take_over(self: &Rc<Self>, accepted: Accepted) {
        let serving = self.clone();
        tokio::task::spawn_local(async move {
            let Accepted { parked, examined } = accepted;
            match examined.purpose {
                Purpose::Link(channel) => serving.link(parked, &examined, channel).await,
                Purpose::Control => serving.question(parked, &examined).await,
                Purpose::Snapshot => serving.stream(parked, &examined).await,
            }
        });
    }

    async fn link(&self, parked: Parked, examined: &Examined, channel: Channel) {
        let from = examined.from;
        let connection = Rc::new(Connection::new(match channel {
            Channel::Raft => Ways::Both,
            Channel::Forward => Ways::In,
        }));
        // Before the verdict: when the dialer sees its link up, nothing of the old one can come any more.
        let incoming = &*self.incoming;
        self.inbound.follow(from, channel, &connection, incoming);
        let end = match self.open(parked, &examined.welcome()).await {
            Ok(stream) => {
                connection.open(stream);
                let is_lent = Cell::new(false);
                let take = |reader: &mut _| self.take(reader, from, channel, &is_lent);
                connection.carry(&self.home.timing, take).await
            }
            Err(error) => End::Failed(error),
        };
        let Peer { node, worker } = from;
        let links = self.links.upgrade();
        let is_expected = links.is_some_and(|links| links.is_end_expected(node, channel));
        match &end {
            // Told of by whoever wanted it.
            End::Cut(_) => {}
            End::Failed(FrameError::Closed) => {
                tracing::debug!("node {node} closed its {channel:?} link of worker {worker}");
            }
            _ if is_expected => {
                tracing::info!(
                    "closed the {channel:?} link of node {node}, which goes down: {end}"
                );
            }
            End::Silent => {
                tracing::info!("closed the {channel:?} link of node {node}: {end}");
            }
            _ => tracing::warn!("closed the {channel:?} link of node {node}: {end}"),
        }
        connection.end(&end.to_string());
        self.inbound.leave(from, channel, &connection, incoming);
    }

    /// Takes what one read has brought.
    fn take(
        &self,
        reader: &mut FrameReader,
        from: Peer,
        channel: Channel,
        is_lent: &Cell<bool>,
    ) -> Result<(), FrameError> {
        if !is_lent.replace(true) {
            // Only now: the dialer speaks as soon as it takes nothing of an older connection any more.
            if let Some(links) = self.links.upgrade() {
                links.lent(from.node, channel);
            }
        }
        hand_over(reader, from, channel, &*self.incoming)
    }

    async fn question(&self, parked: Parked, examined: &Examined) {
        let slot = Slot::take(&self.questions, CONTROL_INFLIGHT_MAX);
        let verdict = match &slot {
            Some(_) => examined.welcome(),
            None => examined.busy(),
        };
        let result = match self.open(parked, &verdict).await {
            Ok(stream) if slot.is_some() => {
                answer(stream, examined.from, &self.control, self.home.timing.step).await
            }
            Ok(_) => {
                tracing::warn!("refused a question: {CONTROL_INFLIGHT_MAX} are open");
                return;
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            let node = examined.from.node;
            tracing::info!("a question of node {node} was not answered: {error}");
        }
    }

    async fn stream(&self, parked: Parked, examined: &Examined) {
        let from = examined.from;
        let slot = Slot::take(&self.streams, STREAMS_INFLIGHT_MAX);
        let verdict = match &slot {
            Some(_) => examined.welcome(),
            None => examined.busy(),
        };
        let opened = self.open(parked, &verdict).await;
        let Some(slot) = slot else {
            tracing::warn!("refused a stream: {STREAMS_INFLIGHT_MAX} are open");
            return;
        };
        let receiver = match opened {
            Ok(stream) => StreamReceiver::open(stream, from, self.home.timing.step, slot).await,
            Err(error) => Err(error.into()),
        };
        match receiver {
            Ok(receiver) => (self.snapshots)(receiver),
            Err(error) => tracing::info!("a stream of node {} failed: {error}", from.node),
        }
    }

    /// Takes the connection up on this thread and sends the verdict.
    async fn open(
        &self,
        parked: Parked,
        verdict: &[u8; VERDICT_BYTES],
    ) -> Result<PeerStream, FrameError> {
        let mut stream = parked.resume()?;
        let send = async {
            stream.write_all(verdict).await?;
            stream.flush().await
        };
        tokio::time::timeout(self.home.timing.handshake, send)
            .await
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        Ok(stream)
    }
}
