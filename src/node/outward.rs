//! What a worker has to say to other nodes: collected over a turn, one frame for a node and channel, one write for a link. Knows
//! nothing of what commands and messages mean.

use std::rc::Rc;

use bytes::Bytes;
use ringfort_cluster::replica::wire::{FrameBuilder, WireError};
use ringfort_cluster::replica::Message;
use ringfort_cluster::{Epoch, NodeId, ShardId};

use super::peer::{Channel, Links, SendError};

/// A frame of forwarded commands or replies is sent when it has grown to this size, in bytes.
const FORWARD_BYTES_SOFT: usize = 1 << 20;
/// Bytes of replies that are kept for a node until there is a link to it. Beyond it they are lost: a node that asks that much and cannot be
/// reached is as good as gone, and finds its own links broken before long.
const REPLIES_KEPT_BYTES_MAX: usize = 16 << 20;

/// To one node.
struct ToNode {
    node: NodeId,
    raft: FrameBuilder,
    forward: Vec<u8>,
    /// Replies that were there before the link was.
    kept: Vec<u8>,
}

/// The other nodes, as one worker speaks to them.
pub struct Outward {
    pub links: Rc<Links>,
    nodes: Vec<ToNode>,
    /// Nodes for which a frame of commands and replies was not taken.
    lost: Vec<NodeId>,
    /// A frame in one piece.
    joined: Vec<u8>,
}

impl Outward {
    pub fn new(links: Rc<Links>) -> Self {
        Self {
            links,
            nodes: Vec::new(),
            lost: Vec::new(),
            joined: Vec::new(),
        }
    }

    fn to(&mut self, node: NodeId) -> usize {
        if let Some(at) = self.nodes.iter().position(|to| to.node == node) {
            return at;
        }
        self.nodes.push(ToNode {
            node,
            raft: FrameBuilder::new(),
            forward: Vec::new(),
            kept: Vec::new(),
        });
        self.nodes.len() - 1
    }

    /// The frame of Raft messages that is being filled for a node.
    pub fn raft_to(&mut self, node: NodeId) -> &mut FrameBuilder {
        let at = self.to(node);
        &mut self.nodes[at].raft
    }

    /// Adds a replica's message; false when it cannot be sent.
    pub fn push_raft(
        &mut self,
        node: NodeId,
        group: ShardId,
        epoch: Epoch,
        message: &Message,
    ) -> bool {
        if !self.links.is_up(node, Channel::Raft) {
            return false;
        }
        let at = self.to(node);
        let mut pushed = self.nodes[at].raft.push(group, epoch, message);
        if pushed == Err(WireError::Full) {
            self.send_raft(at);
            pushed = self.nodes[at].raft.push(group, epoch, message);
        }
        if let Err(error) = &pushed {
            tracing::error!("shard {group}: {error}");
        }
        if self.nodes[at].raft.is_large() {
            self.send_raft(at);
        }
        pushed.is_ok()
    }

    /// Bytes of Raft messages that wait for [`Outward::flush`].
    pub fn waiting_bytes(&self) -> usize {
        self.nodes.iter().map(|to| to.raft.bytes()).sum()
    }

    /// Lost frames are what Raft is made for.
    fn send_raft(&mut self, at: usize) {
        let to = &mut self.nodes[at];
        let pieces: Vec<Bytes> = to.raft.finish();
        let sent = match &pieces[..] {
            [] => Ok(()),
            [whole] => self.links.send(to.node, Channel::Raft, whole),
            pieces => {
                self.joined.clear();
                pieces
                    .iter()
                    .for_each(|piece| self.joined.extend_from_slice(piece));
                self.links.send(to.node, Channel::Raft, &self.joined)
            }
        };
        if let Err(error) = sent {
            tracing::debug!("messages to node {}: {error}", to.node);
        }
    }

    /// Whether commands and replies can be sent to a node.
    pub fn can_forward(&self, node: NodeId) -> bool {
        self.links.is_up(node, Channel::Forward)
    }

    /// Adds a reply, written by `put`. The two directions between nodes are links of their own, and a node that has just started may ask
    /// before it can be answered: its replies wait for the link. What is lost with a link, the asker learns from its end.
    pub fn push_reply(&mut self, node: NodeId, put: impl FnOnce(&mut Vec<u8>)) {
        if self.can_forward(node) {
            return self.push_forward(node, put);
        }
        let at = self.to(node);
        let kept = &mut self.nodes[at].kept;
        if kept.len() < REPLIES_KEPT_BYTES_MAX {
            put(kept);
        }
    }

    /// Adds a forwarded command, written by `put`. Whether it could be sent is told by [`Outward::flush`].
    pub fn push_forward(&mut self, node: NodeId, put: impl FnOnce(&mut Vec<u8>)) {
        let at = self.to(node);
        put(&mut self.nodes[at].forward);
        if self.nodes[at].forward.len() >= FORWARD_BYTES_SOFT {
            self.send_forward(at);
        }
    }

    fn send_kept(&mut self, at: usize) {
        let to = &mut self.nodes[at];
        if !to.kept.is_empty() && self.links.is_up(to.node, Channel::Forward) {
            let kept = std::mem::take(&mut to.kept);
            if let Err(error) = self.links.send(to.node, Channel::Forward, &kept) {
                tracing::warn!("replies to node {}: {error}", to.node);
            }
        }
    }

    fn send_forward(&mut self, at: usize) {
        let to = &mut self.nodes[at];
        if to.forward.is_empty() {
            return;
        }
        let sent = self.links.send(to.node, Channel::Forward, &to.forward);
        if sent.is_err() {
            self.lost.push(to.node);
        }
        // Replies may be in it: the end of the link tells the asker.
        if matches!(sent, Err(SendError::Full)) {
            self.links
                .cut(to.node, Channel::Forward, "it takes too little");
        }
        to.forward.clear();
        if to.forward.capacity() > 2 * FORWARD_BYTES_SOFT {
            to.forward = Vec::new();
        }
    }

    /// Sends everything; gives the nodes whose frame of commands and replies was not taken.
    pub fn flush(&mut self) -> Vec<NodeId> {
        for at in 0..self.nodes.len() {
            if !self.nodes[at].raft.is_empty() {
                self.send_raft(at);
            }
            self.send_kept(at);
            self.send_forward(at);
        }
        self.links.flush();
        std::mem::take(&mut self.lost)
    }
}
