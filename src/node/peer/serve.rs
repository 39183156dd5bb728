//! A worker's end of the connections that others have dialed: receives what comes on links, answers questions, takes streams in. Knows
//! nothing of what the bytes mean.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use ringfort_cluster::NodeId;
use tokio::io::AsyncWriteExt;

use super::accept::Accepted;
use super::control::{answer, CONTROL_INFLIGHT_MAX};
use super::frame::{FrameError, FrameReader, FRAME_BYTES_MAX};
use super::hello::{Examined, VERDICT_BYTES};
use super::pace::Beats;
use super::stream::{Parked, PeerStream};
use super::transfer::{StreamReceiver, STREAMS_INFLIGHT_MAX};
use super::wake::Wake;
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
    /// The links that others have to this worker: one for each worker of theirs and channel.
    links: RefCell<HashMap<(Peer, Channel), Rc<Cut>>>,
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

/// Ends a link that another one follows.
#[derive(Default)]
struct Cut {
    is_cut: Cell<bool>,
    task: Wake,
}

impl Cut {
    fn cut(&self) {
        self.is_cut.set(true);
        self.task.wake();
    }
}

/// Why a link ended.
enum End {
    /// Another one follows it.
    Cut,
    Silent,
    Failed(FrameError),
}

impl Serving {
    /// For one worker: who gets what comes in.
    pub fn new(
        home: Arc<Home>,
        incoming: Rc<dyn Incoming>,
        control: ControlHandler,
        snapshots: SnapshotHandler,
    ) -> Rc<Self> {
        Rc::new(Self {
            home,
            incoming,
            control,
            snapshots,
            links: RefCell::default(),
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
        let cut = Rc::new(Cut::default());
        // Before the verdict: when the dialer sees its link up, nothing of the old one can come any more.
        let old = self.links.borrow_mut().insert((from, channel), cut.clone());
        if let Some(old) = old {
            tracing::info!(
                "a new {channel:?} link of node {} follows one that was open",
                from.node
            );
            old.cut();
            self.incoming.incoming_down(from, channel);
        }
        self.incoming.incoming_up(from, channel);
        let end = match self.open(parked, &examined.welcome()).await {
            Ok(stream) => self.receive(stream, from, channel, &cut).await,
            Err(error) => End::Failed(error),
        };
        let Peer { node, worker } = from;
        match end {
            // Told of by whoever cut it.
            End::Cut => return,
            End::Failed(FrameError::Closed) => {
                tracing::debug!("node {node} closed its {channel:?} link of worker {worker}");
            }
            End::Silent => {
                tracing::info!("closed the {channel:?} link of node {node}: nothing came");
            }
            End::Failed(error) => {
                tracing::warn!("closed the {channel:?} link of node {node}: {error}");
            }
        }
        if !cut.is_cut.get() {
            self.links.borrow_mut().remove(&(from, channel));
            self.incoming.incoming_down(from, channel);
        }
    }

    /// Hands over what comes until the link ends.
    async fn receive(
        &self,
        mut stream: PeerStream,
        from: Peer,
        channel: Channel,
        cut: &Cut,
    ) -> End {
        let mut reader = FrameReader::new(FRAME_BYTES_MAX);
        let mut beats = Beats::new(&self.home.timing);
        loop {
            let read = poll_fn(|cx| {
                if cut.is_cut.get() {
                    return Poll::Ready(Err(End::Cut));
                }
                // Before the clock: after a pause of this process the bytes lie there already.
                if let Poll::Ready(read) = reader.poll_fill(cx, &mut stream) {
                    return Poll::Ready(match read {
                        Ok(0) => Err(End::Failed(FrameError::Closed)),
                        Ok(_) => Ok(()),
                        Err(error) => Err(End::Failed(error.into())),
                    });
                }
                cut.task.remember(cx);
                while beats.poll(cx).is_ready() {
                    if beats.missed() {
                        return Poll::Ready(Err(End::Silent));
                    }
                }
                Poll::Pending
            });
            if let Err(end) = read.await {
                return end;
            }
            beats.moved();
            if let Err(error) = self.hand_over(&mut reader, from, channel) {
                return End::Failed(error);
            }
        }
    }

    fn hand_over(
        &self,
        reader: &mut FrameReader,
        from: Peer,
        channel: Channel,
    ) -> Result<(), FrameError> {
        let mut any = false;
        let end = loop {
            match reader.next() {
                Ok(Some(frame)) if frame.is_empty() => {} // A ping.
                Ok(Some(frame)) => {
                    any = true;
                    self.incoming.frame(from, channel, frame);
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if any {
            self.incoming.end_of_batch();
        }
        end
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
