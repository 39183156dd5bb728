//! A worker's links to all other nodes. This is the hot path: a frame is copied once into its link's buffer, and one write a
//! turn sends what all shards had to say. Knows nothing of what the frames mean.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use ringfort_cluster::NodeId;

use super::inbound::Inbound;
use super::link::{Link, Surroundings};
use super::{Channel, Home, Incoming};

/// Bytes that may wait on a Raft link; a message beyond is lost, as on any network. A frame that finds nothing waiting is always taken.
pub const RAFT_BACKLOG_BYTES_MAX: usize = 64 << 20;
/// Bytes that may wait on a Forward link; what is beyond was certainly not sent. A frame that finds nothing waiting is always taken.
pub const FORWARD_BACKLOG_BYTES_MAX: usize = 64 << 20;

/// Why a frame was not taken. It has certainly not been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no connection, or no such node.
    #[error("the node cannot be reached now")]
    Down,
    /// Too much waits already.
    #[error("the node is behind: too much waits to be sent to it")]
    Full,
    /// Longer than [`FRAME_BYTES_MAX`](super::FRAME_BYTES_MAX).
    #[error("the frame is too long")]
    TooLong,
}

/// The links of one worker. Dropping it closes them.
pub struct Links {
    home: Arc<Home>,
    worker: u16,
    /// Weak, because the owner of the links is usually what it leads to. Their tasks hold it as long as they run.
    sink: Weak<dyn Incoming>,
    /// By what connections others send to this worker: links may borrow from them.
    inbound: Rc<Inbound>,
    /// Sorted by node.
    peers: RefCell<Vec<PeerLinks>>,
    /// Links with something to send.
    unsent: RefCell<Vec<Rc<Link>>>,
}

struct PeerLinks {
    node: NodeId,
    address: String,
    links: [Rc<Link>; Channel::ALL.len()],
}

impl Links {
    /// For the worker with this number. `sink` is told of what becomes of the links, and must live as long as they are wanted.
    pub fn new(home: Arc<Home>, worker: u16, sink: &Rc<dyn Incoming>) -> Self {
        Self {
            home,
            worker,
            sink: Rc::downgrade(sink),
            inbound: Rc::default(),
            peers: RefCell::default(),
            unsent: RefCell::default(),
        }
    }

    /// Which nodes there should be links to, and their addresses (`host:port`): new ones are dialed, those that are not named any more
    /// closed, those with another address dialed there. To be called within a `LocalSet`; links that go down are told of later, by
    /// their tasks. This node itself is left out.
    pub fn set_peers(&self, wanted: &[(NodeId, String)]) {
        let mut peers = self.peers.borrow_mut();
        for peer in peers.iter_mut() {
            if !wanted.iter().any(|(node, _)| *node == peer.node) {
                peer.address.clear();
                self.lead(peer);
            }
        }
        for (node, address) in wanted.iter().filter(|(node, _)| *node != self.home.node()) {
            let place = match peers.binary_search_by_key(node, |peer| peer.node) {
                Ok(place) => place,
                Err(place) => {
                    peers.insert(place, PeerLinks::new(*node));
                    place
                }
            };
            peers[place].address.clone_from(address);
            self.lead(&peers[place]);
        }
        peers.retain(|peer| !peer.links.iter().all(|link| link.is_over()));
    }

    fn lead(&self, peer: &PeerLinks) {
        let address = (!peer.address.is_empty()).then_some(&*peer.address);
        for link in &peer.links {
            link.lead_to(address, || {
                Some(Surroundings {
                    home: self.home.clone(),
                    worker: self.worker,
                    sink: self.sink.upgrade()?,
                    inbound: self.inbound.clone(),
                })
            });
        }
    }

    /// Appends a frame to what is to be sent to `to`; [`Links::flush`] sends it. An empty frame does not reach the other worker.
    ///
    /// # Errors
    /// When the frame was not taken.
    pub fn send(&self, to: NodeId, channel: Channel, frame: &[u8]) -> Result<(), SendError> {
        self.with(to, channel, |link| {
            link.put(frame)?;
            if !link.is_listed.replace(true) {
                self.unsent.borrow_mut().push(link.clone());
            }
            Ok(())
        })
        .unwrap_or(Err(SendError::Down))
    }

    /// One write for each link that has something to send. What a connection does not take goes out as soon as it does.
    pub fn flush(&self) {
        for link in self.unsent.borrow_mut().drain(..) {
            link.is_listed.set(false);
            link.flush();
        }
    }

    /// Takes a link down, with all that waits on it; it is dialed again.
    pub fn cut(&self, to: NodeId, channel: Channel, why: &str) {
        self.with(to, channel, |link| link.take_down(why));
    }

    /// Whether frames can be sent.
    pub fn is_up(&self, to: NodeId, channel: Channel) -> bool {
        self.with(to, channel, |link| link.is_up()) == Some(true)
    }

    /// Bytes that wait to be sent, for figures and for whoever can hold back.
    pub fn backlog_bytes(&self, to: NodeId, channel: Channel) -> usize {
        self.with(to, channel, |link| link.backlog_bytes())
            .unwrap_or(0)
    }

    /// The nodes that there are links to.
    pub fn nodes(&self) -> Vec<NodeId> {
        let peers = self.peers.borrow();
        let wanted = peers.iter().filter(|peer| !peer.address.is_empty());
        wanted.map(|peer| peer.node).collect()
    }

    /// The node has said that it goes down: that its links end is no news to an operator, until they are up again.
    pub fn expect_end(&self, node: NodeId) {
        for channel in Channel::ALL {
            self.with(node, channel, |link| link.is_to_end.set(true));
        }
    }

    /// Whether the end of a link was announced.
    pub(super) fn is_end_expected(&self, node: NodeId, channel: Channel) -> bool {
        self.with(node, channel, |link| link.is_to_end.get()) == Some(true)
    }

    /// Where a node is, as [`Links::set_peers`] was told last.
    pub fn address(&self, node: NodeId) -> Option<String> {
        let peers = self.peers.borrow();
        let place = peers.binary_search_by_key(&node, |peer| peer.node).ok()?;
        let address = &peers[place].address;
        (!address.is_empty()).then(|| address.clone())
    }

    /// The node gives signs of life (it has dialed us, say): links to it that wait before they try again, try now.
    pub fn nudge(&self, node: NodeId) {
        for channel in Channel::ALL {
            self.with(node, channel, |link| link.nudge());
        }
    }

    /// By what connections others send to this worker.
    pub(super) fn inbound(&self) -> Rc<Inbound> {
        self.inbound.clone()
    }

    /// The node has a connection to this worker by which frames may go too.
    pub(super) fn lent(&self, node: NodeId, channel: Channel) {
        self.with(node, channel, |link| link.lent());
    }

    fn with<T>(
        &self,
        node: NodeId,
        channel: Channel,
        act: impl FnOnce(&Rc<Link>) -> T,
    ) -> Option<T> {
        let peers = self.peers.borrow();
        let place = peers.binary_search_by_key(&node, |peer| peer.node).ok()?;
        Some(act(&peers[place].links[channel.place()]))
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        for peer in self.peers.get_mut() {
            for link in &peer.links {
                link.lead_to(None, || None);
            }
        }
    }
}

impl PeerLinks {
    fn new(node: NodeId) -> Self {
        let link = |channel| {
            let bytes_max = match channel {
                Channel::Raft => RAFT_BACKLOG_BYTES_MAX,
                Channel::Forward => FORWARD_BACKLOG_BYTES_MAX,
            };
            Link::new(node, channel, bytes_max)
        };
        Self {
            node,
            address: String::new(),
            links: Channel::ALL.map(link),
        }
    }
}
