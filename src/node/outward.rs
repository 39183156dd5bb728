//! What a worker has to say to other nodes: collected over a turn, one frame for a node and channel, one write for a link. Knows
//! nothing of what commands and messages mean.

use std::rc::Rc;

use bytes::Bytes;
use ringfort_cluster::replica::wire::{FrameBuilder, WireError};
use ringfort_cluster::replica::{Message, MessageType};
use ringfort_cluster::{Epoch, NodeId, ShardId};

use super::peer::{Channel, Links, SendError};

/// A frame of forwarded commands or replies is sent when it has grown to this size, in bytes.
const FORWARD_BYTES_SOFT: usize = 1 << 20;
/// Bytes of replies that are kept for a node until there is a link to it. Beyond it they are lost: a node that asks that much and cannot be
/// reached is as good as gone, and finds its own links broken before long.
const REPLIES_KEPT_BYTES_MAX: usize = 16 << 20;

/// How long answers that nobody waits for are kept for company, in nanoseconds.
const PATIENCE_NS: u64 = 1_000_000;

/// To one node.
struct ToNode {
    node: NodeId,
    raft: FrameBuilder,
    /// It waits for the answers to what it has sent since the last turn.
    is_waiting: bool,
    /// There is something in `raft` that must not be kept.
    is_urgent: bool,
    /// Since when there is anything in `raft` that was kept.
    kept_since: Option<u64>,
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
            is_waiting: false,
            is_urgent: false,
            kept_since: None,
            forward: Vec::new(),
            kept: Vec::new(),
        });
        self.nodes.len() - 1
    }

    /// The frame of Raft messages that is being filled for a node; what is put into it goes with this turn.
    pub fn raft_to(&mut self, node: NodeId) -> &mut FrameBuilder {
        let at = self.to(node);
        let to = &mut self.nodes[at];
        to.is_urgent = true;
        &mut to.raft
    }

    /// A node waits for the answers to what it has just sent.
    pub fn is_waited_for_by(&mut self, node: NodeId) {
        let at = self.to(node);
        self.nodes[at].is_waiting = true;
    }

    /// Adds a replica's message; false when it cannot be sent. `is_awaited`: whether somebody here waits for its answer.
    pub fn push_raft(
        &mut self,
        node: NodeId,
        (group, epoch): (ShardId, Epoch),
        message: &Message,
        is_awaited: bool,
    ) -> bool {
        if !self.links.is_up(node, Channel::Raft) {
            return false;
        }
        let at = self.to(node);
        let push = |frame: &mut FrameBuilder| match is_awaited {
            true => frame.push(group, epoch, message),
            false => frame.push_patient(group, epoch, message),
        };
        let mut pushed = push(&mut self.nodes[at].raft);
        if pushed == Err(WireError::Full) {
            self.send_raft(at);
            pushed = push(&mut self.nodes[at].raft);
        }
        let may_be_kept = message.msg_type == MessageType::MsgAppendResponse && !message.reject;
        let to = &mut self.nodes[at];
        to.is_urgent |= !may_be_kept || to.is_waiting;
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
        (to.is_urgent, to.kept_since) = (false, None);
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

    /// Sends a frame that holds nothing but what `put` writes to a node, behind what was said before.
    pub fn send_apart(&mut self, node: NodeId, put: impl FnOnce(&mut Vec<u8>)) {
        let at = self.to(node);
        self.send_kept(at);
        self.send_forward(at);
        put(&mut self.nodes[at].forward);
        self.send_forward(at);
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

    /// Sends everything, but for answers that nobody waits for and that are not older than a millisecond at `now` (a clock in
    /// nanoseconds; without it they go as well). Gives the nodes whose frame of commands and replies was not taken.
    pub fn flush(&mut self, now: Option<u64>) -> Vec<NodeId> {
        for at in 0..self.nodes.len() {
            if !self.nodes[at].raft.is_empty() && !self.nodes[at].keeps(now) {
                self.send_raft(at);
            }
            self.send_kept(at);
            self.send_forward(at);
        }
        self.links.flush();
        std::mem::take(&mut self.lost)
    }

    /// The turn has ended: who waited has got its answers.
    pub fn end_turn(&mut self) {
        self.nodes.iter_mut().for_each(|to| to.is_waiting = false);
    }

    /// Whether answers are kept: then another turn is due within a millisecond.
    pub fn keeps_answers(&self) -> bool {
        self.nodes.iter().any(|to| to.kept_since.is_some())
    }
}

impl ToNode {
    /// Whether the Raft messages may stay for company.
    fn keeps(&mut self, now: Option<u64>) -> bool {
        let Some(now) = now.filter(|_| !self.is_urgent) else {
            return false;
        };
        let since = *self.kept_since.get_or_insert(now);
        now.saturating_sub(since) < PATIENCE_NS
    }
}
