//! The farewell of a node that goes down: it tells the others that it takes no more commands, and ends when each of their workers has heard what
//! became of those that it had sent before. Knows no command; the bytes are in `forward_wire`, when to say it is the server's.

use std::collections::BTreeMap;

use ringfort_cluster::NodeId;

use super::forward_wire::{put_farewell, put_release};
use super::peer::Peer;
use super::worker::Worker;

/// The farewells of other nodes, and this one's, as one worker sees them.
#[derive(Default)]
pub struct Farewells {
    /// Nodes that take no more commands, until they come anew. Whether they were released since they said so last.
    left: BTreeMap<NodeId, bool>,
    /// This node takes no more commands itself.
    is_said: bool,
    /// Workers of other nodes whose commands come to this worker. Whether they have released this node.
    askers: BTreeMap<(NodeId, u16), bool>,
}

impl Farewells {
    /// Whether a node takes no more commands.
    pub fn has_left(&self, node: NodeId) -> bool {
        self.left.contains_key(&node)
    }

    /// A worker of another node will send no more commands.
    pub fn released(&mut self, by: Peer) {
        if let Some(released) = self.askers.get_mut(&(by.node, by.worker)) {
            *released = true;
        }
    }

    /// A worker of another node cannot send here any more.
    pub fn asker_gone(&mut self, peer: Peer) {
        self.askers.remove(&(peer.node, peer.worker));
    }

    fn unreleased(&self) -> usize {
        self.askers.values().filter(|released| !**released).count()
    }
}

impl Worker {
    /// Tells all other nodes that this one takes no more commands. What they had sent before is answered as ever.
    pub fn say_farewell(&mut self) {
        if std::mem::replace(&mut self.forwarding.farewells.is_said, true) {
            return;
        }
        let nodes = self.peers.as_ref().map(|peers| peers.links.nodes());
        for node in nodes.into_iter().flatten() {
            self.repeat_farewell(node);
        }
    }

    /// Workers of other nodes that still wait for something, or may send more. To be asked after [`Worker::say_farewell`].
    pub fn left_to_release(&self) -> usize {
        self.forwarding.farewells.unreleased()
    }

    /// Says it to one node, where it was said: a link that came up since has not brought it.
    pub fn repeat_farewell(&mut self, to: NodeId) {
        if !self.forwarding.farewells.is_said {
            return;
        }
        if let Some(peers) = self.peers.as_mut().filter(|peers| peers.can_forward(to)) {
            peers.send_apart(to, put_farewell);
            self.flush_wanted = true;
        }
    }

    /// Another node's worker can send to this one. A node that had said farewell has been started again, or says it again.
    pub fn asker_came(&mut self, peer: Peer) {
        let key = (peer.node, peer.worker);
        self.forwarding.farewells.askers.insert(key, false);
        self.task_everywhere(move |there| {
            if there.forwarding.farewells.left.remove(&peer.node).is_some() {
                there.forwarding.is_to_retry = true;
                there.flush_wanted = true;
            }
        });
        self.repeat_farewell(peer.node);
    }

    /// A node takes no more commands.
    pub(super) fn take_farewell(&mut self, from: NodeId) {
        self.task_everywhere(move |there| there.hear_farewell(from));
    }

    fn hear_farewell(&mut self, from: NodeId) {
        let left = &mut self.forwarding.farewells.left;
        if left.insert(from, false).is_none() {
            tracing::debug!("node {from} takes no more commands");
        }
        if let Some(peers) = &self.peers {
            peers.links.expect_end(from);
        }
        self.forwarding.queue_behind(from);
        self.flush_wanted = true;
    }

    /// Releases nodes that have said farewell and have answered everything. With every turn, behind the commands that it has brought.
    pub(super) fn release_the_left(&mut self) {
        let forwarding = &mut self.forwarding;
        let left = forwarding.farewells.left.iter();
        let kept = left.filter(|(_, is_released)| !**is_released);
        let done: Vec<NodeId> = kept
            .map(|(node, _)| *node)
            .filter(|node| !forwarding.has_sent_to(*node))
            .collect();
        for node in done {
            // Without a link there is nobody to tell: when it comes the node says farewell again.
            if let Some(peers) = self.peers.as_mut().filter(|peers| peers.can_forward(node)) {
                peers.push_forward(node, put_release);
            }
            self.forwarding.farewells.left.insert(node, true);
        }
    }
}
