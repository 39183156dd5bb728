//! The peer transport: connections between nodes and the bytes on them. Knows nodes, addresses, channels and frames of
//! bytes; nothing of shards, Raft messages or commands.
//!
//! Every worker of a node has [`Links`]: one to every other node for each [`Channel`]. A connection arrives at the worker with the dialer's
//! number modulo the number of own workers ([`accept_loop`], [`Serving`]). Besides there are single questions ([`ask`]) and streams of bulk
//! data ([`open_stream`]), each on a connection of its own, so that they delay no frame of a link.
//!
//! On a Forward connection only the side that dialed sends. A Raft connection between two workers of the same number serves both: the node with
//! the smaller identity dials, and the other's [`Serving`] lends the connection to its link, which sends by it what it has to say. For where only
//! one side sends, the kernel answers each small segment with a packet of its own that merely confirms it; where both do, that rides on what goes
//! back. When nothing was lent for [`Timing::lend`], the larger node dials, and the smaller one borrows. A worker without a counterpart of its number
//! dials a connection that it alone uses. So there is never more than one Raft connection between two workers: a new one ends the one before it.
//!
//! ```text
//! connection   [TLS 1.3 handshake, where certificates are used] | handshake | what the purpose says
//!
//! handshake    dialer    Hello      "ringfort" | version u16 | purpose u8 | 0 u8 | worker u16 | 0 u16 | node u128 |
//!                                   cluster u128 | expected node u128 | nonce 32 bytes                      (96 bytes)
//!              acceptor  Challenge  "ringfort" | version u16 | 0 6 bytes | node u128 | cluster u128 | nonce 32 bytes
//!                                                                                                         (80 bytes)
//!              dialer    proof      HMAC-SHA256(secret, "ringfort peer dialer"   | Hello | Challenge)     (32 bytes)
//!              acceptor  verdict    u8 | HMAC-SHA256(secret, "ringfort peer acceptor" | Hello | Challenge | verdict)
//!                                                                                                         (33 bytes)
//!
//! frame        payload length u32 | CRC-32 of the payload u32 | payload
//!
//! Raft link    both      frames; an empty one says that the sender is there. The dialer begins with one; the acceptor sends
//!                        frames with something in them only after the first of the dialer's
//! Forward link dialer    frames; an empty one says that the dialer is there
//! control      dialer    one frame, the request      acceptor  one frame, the response
//! snapshot     dialer    one frame, the header; one frame for each chunk; an empty frame as the end
//!              acceptor  one frame, the answer, which may come before the end
//! ```
//!
//! Numbers are little-endian. A node or cluster of 0 is "whichever" or "none yet". The two first fields of Hello and Challenge stay as
//! they are in every version, so that two versions can say which they are. The dialer proves first: whoever may merely connect
//! gets no value that a guess of the secret could be tried on. A verdict other than "wrong secret" counts only with its
//! proof. The secret keeps strangers out; against somebody who alters traffic on its way, only TLS helps.
//!
//! The worker of the acceptor sends the verdict after it has cut the connection that this one follows, and the dialer its first frame after it has done
//! the same. So when a link is up again, whichever side has dialed, nothing that was sent before it went down can arrive any more.

mod accept;
mod connection;
mod control;
mod dial;
mod frame;
mod hello;
mod inbound;
mod link;
mod links;
mod pace;
mod security;
mod serve;
mod stream;
mod transfer;
mod wake;
mod wire;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ringfort_cluster::topology::ClusterId;
use ringfort_cluster::NodeId;

pub use accept::{accept_loop, Accepted};
pub use control::{ask, AskError, CONTROL_BYTES_MAX, CONTROL_INFLIGHT_MAX};
pub use dial::{DialError, Target};
pub use frame::{FrameError, FRAME_BYTES_MAX};
pub use hello::HandshakeError;
pub use links::{Links, SendError, FORWARD_BACKLOG_BYTES_MAX, RAFT_BACKLOG_BYTES_MAX};
pub use security::{PeerSecurity, PeerTls, Secret, SecurityError};
pub use serve::{ControlHandler, Serving, SnapshotHandler};
pub use transfer::{
    open_stream, StreamError, StreamReceiver, StreamSender, STREAMS_INFLIGHT_MAX,
    STREAM_ANSWER_BYTES_MAX, STREAM_CHUNK_BYTES_MAX, STREAM_HEADER_BYTES_MAX,
};

/// What an asynchronous handler of this thread returns.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// Which of a worker's two links to a node: Raft never queues behind client traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Raft messages.
    Raft,
    /// Clients' commands on their way to the leader, and their replies.
    Forward,
}

impl Channel {
    /// Both, in the order of their place in tables.
    pub const ALL: [Self; 2] = [Self::Raft, Self::Forward];

    /// Its place in [`Channel::ALL`].
    pub fn place(self) -> usize {
        self as usize
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Link(Channel),
    Control,
    Snapshot,
}

/// A worker of another node: who sends on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    pub node: NodeId,
    /// Its number on that node.
    pub worker: u16,
}

/// What a worker is told by the transport. All of it happens on the worker's thread, from the transport's tasks and never from
/// within a call to [`Links`], so an implementation may borrow what it likes and call [`Links`] itself.
pub trait Incoming {
    /// A frame has arrived. It is a part of the read buffer: whoever keeps it for long copies it. What comes by a connection that was dialed here
    /// (Raft alone) is said to be from the worker with this one's number there: no other one sends by it.
    fn frame(&self, from: Peer, channel: Channel, frame: Bytes);
    /// All frames of one read have been handed over.
    fn end_of_batch(&self);
    /// Another worker can send to this one. Of a Raft link that was dialed here it is told too, with the worker that has this one's number, though
    /// the other node may have none such.
    fn incoming_up(&self, from: Peer, channel: Channel);
    /// What it sent before and was not handed over is lost. Comes once for every `incoming_up`, and before the next.
    fn incoming_down(&self, from: Peer, channel: Channel);
    /// From now on frames can be sent to `to`.
    fn link_up(&self, to: NodeId, channel: Channel);
    /// What was sent since `link_up` and not answered may have arrived or not; nothing of it arrives after the next `link_up`.
    /// Comes once for every `link_up`. From the failure on, `send` has answered `Down`.
    fn link_down(&self, to: NodeId, channel: Channel);
    /// Nobody listens where `to` should be: its process has ended, or has not begun to answer. Told again with every attempt, and by nothing but
    /// the word of the machine there, or of something on the way.
    fn nobody_listens(&self, to: NodeId);
    /// Where `expected` should be, `found` answers, and has proved that it belongs to this cluster's secret: a new node
    /// under an old address. Told once, until something else is found there.
    fn wrong_node(&self, expected: NodeId, found: NodeId, address: &str);
}

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Timing {
    /// For connecting and the handshake together.
    pub handshake: Duration,
    /// Between two attempts to connect: the first pause, doubled up to the last.
    pub backoff_first: Duration,
    pub backoff_last: Duration,
    /// After an attempt that the other side refused: only an operator changes that.
    pub refused_pause: Duration,
    /// A link that was idle for so long sends a ping.
    pub ping: Duration,
    /// A link that could not send, or heard nothing, for so long is closed.
    pub stalled: Duration,
    /// A Raft link to a node with a smaller identity waits so long for a connection from there, before it dials by itself.
    pub lend: Duration,
    /// For each step of a question or a stream that has no limit of its own.
    pub step: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(2),
            backoff_first: Duration::from_millis(50),
            backoff_last: Duration::from_secs(1),
            refused_pause: Duration::from_secs(2),
            ping: Duration::from_millis(500),
            // Behind a partition the kernel would try again only after as long as it had tried in vain: a new connection is quicker.
            stalled: Duration::from_secs(2),
            lend: Duration::from_secs(1),
            step: Duration::from_secs(30),
        }
    }
}

impl Timing {
    /// Pings without progress after which a link is given up.
    fn beats_max(&self) -> u32 {
        (self.stalled.as_nanos() / self.ping.as_nanos().max(1)).clamp(1, 1_000_000) as u32
    }
}

/// This node as others see it: shared by all its threads.
pub struct Home {
    node: NodeId,
    /// Changes once, when the node joins or forms a cluster. Read in handshakes only.
    cluster: Mutex<ClusterId>,
    security: PeerSecurity,
    timing: Timing,
}

impl Home {
    /// A node with its identity, of no cluster yet.
    pub fn new(node: NodeId, security: PeerSecurity, timing: Timing) -> Self {
        Self {
            node,
            cluster: Mutex::default(),
            security,
            timing,
        }
    }

    /// From now on the node belongs to `cluster`; connections that exist stay.
    pub fn set_cluster(&self, cluster: ClusterId) {
        *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) = cluster;
    }

    /// The cluster it belongs to; 0 while it belongs to none.
    pub fn cluster(&self) -> ClusterId {
        *self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its identity.
    pub fn node(&self) -> NodeId {
        self.node
    }
}
