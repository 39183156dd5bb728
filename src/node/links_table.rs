//! Which links to and from other nodes are up, over all workers, for CLUSTER LINKS. Told by those who see them come and go; not on the path
//! of any frame.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ringfort_cluster::NodeId;

use crate::protocol::{Proto, Reply};
use crate::store::Timestamp;

use super::peer::Channel;
use super::worker::{wall_clock, Worker};

/// A link between a worker here and another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkName {
    pub node: NodeId,
    /// Frames go out by it. Else frames come in. A connection on which both sides send is both, as two links.
    pub is_outgoing: bool,
    /// The worker here.
    pub worker: u16,
    /// The worker there; of an outgoing link 0, which goes to whichever the other node chooses.
    pub their_worker: u16,
    /// The place of its [`Channel`].
    pub channel: usize,
}

/// The links that are up, and since when.
#[derive(Default)]
pub struct LinksTable(Mutex<BTreeMap<LinkName, Timestamp>>);

impl LinksTable {
    pub fn up(&self, link: LinkName) {
        self.with(|links| links.insert(link, wall_clock()));
    }

    pub fn down(&self, link: &LinkName) {
        self.with(|links| links.remove(link));
    }

    /// Whether there is any link to or from a node.
    pub fn has(&self, node: NodeId) -> bool {
        self.with(|links| links.keys().any(|link| link.node == node))
    }

    fn all(&self) -> Vec<(LinkName, Timestamp)> {
        self.with(|links| links.iter().map(|(link, since)| (*link, *since)).collect())
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<LinkName, Timestamp>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Bytes that wait on an outgoing link.
pub type Backlog = (LinkName, u64);

impl Worker {
    /// What waits on the outgoing links of this worker.
    pub fn backlogs(&self) -> Vec<Backlog> {
        let Some(peers) = &self.peers else {
            return Vec::new();
        };
        let all = self.shared.links.all();
        let own = all
            .into_iter()
            .map(|(link, _)| link)
            .filter(|link| link.is_outgoing && link.worker == self.number);
        let bytes = |link: LinkName| {
            let channel = Channel::ALL[link.channel];
            (link, peers.links.backlog_bytes(link.node, channel) as u64)
        };
        own.map(bytes).collect()
    }

    /// The reply of CLUSTER LINKS.
    pub fn write_links(&self, backlogs: &[Backlog], proto: Proto) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, proto);
        let all = self.shared.links.all();
        reply.array(all.len());
        for (link, since) in &all {
            let waiting = backlogs.iter().find(|(name, _)| name == link);
            write_link(
                link,
                *since,
                waiting.map_or(0, |(_, bytes)| *bytes),
                &mut reply,
            );
        }
        out
    }
}

/// In the words of Redis. What is allocated is not known apart from what waits.
fn write_link(link: &LinkName, since: Timestamp, waiting: u64, reply: &mut Reply) {
    let text = |flag, yes, no| if flag { yes } else { no };
    reply.map(6);
    reply.bulk(b"direction");
    reply.bulk(text(link.is_outgoing, &b"to"[..], b"from"));
    reply.bulk(b"node");
    reply.bulk(link.node.to_string().as_bytes());
    reply.bulk(b"create-time");
    reply.int(since.0 as i64);
    reply.bulk(b"events");
    // A link that has nothing to send waits for being readable alone.
    reply.bulk(text(waiting > 0, &b"rw"[..], b"r"));
    reply.bulk(b"send-buffer-allocated");
    reply.int(waiting as i64);
    reply.bulk(b"send-buffer-used");
    reply.int(waiting as i64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(node: u128, is_outgoing: bool) -> LinkName {
        LinkName {
            node: NodeId(node),
            is_outgoing,
            worker: 0,
            their_worker: 0,
            channel: 0,
        }
    }

    #[test]
    fn links_are_shown_while_they_are_up() {
        let table = LinksTable::default();
        table.up(link(1, true));
        table.up(link(1, false));
        table.up(link(2, true));
        table.down(&link(1, true));
        let names: Vec<LinkName> = table.all().into_iter().map(|(link, _)| link).collect();
        assert_eq!(names, [link(1, false), link(2, true)]);
    }

    #[test]
    fn a_link_is_written_as_redis_does() {
        let mut out = Vec::new();
        write_link(
            &link(7, true),
            Timestamp(5),
            0,
            &mut Reply::new(&mut out, Proto::Resp2),
        );
        let id = NodeId(7).to_string();
        let expected = format!(
            "*12\r\n$9\r\ndirection\r\n$2\r\nto\r\n$4\r\nnode\r\n$40\r\n{id}\r\n$11\r\ncreate-time\r\n:5\r\n$6\r\nevents\r\n$1\r\nr\r\n$21\r\nsend-buffer-allocated\r\n:0\r\n$16\r\nsend-buffer-used\r\n:0\r\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
