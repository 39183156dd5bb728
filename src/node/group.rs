//! How a replica stands in its group, and what the node does with all of them: messages to and from other nodes, ticks, and the
//! moments at which leadership comes and goes. Knows no sockets: frames come in, and go out by [`super::peer::Links`].

use ringfort_cluster::replica::wire::{judge, FrameReader, Mine, Packet, Verdict};
use ringfort_cluster::replica::{EntryKind, Message};
use ringfort_cluster::topology::META_GROUP;
use ringfort_cluster::{Index, LogEntry, Monotonic, NodeId, ReplicaId, ShardId, Term};

use std::rc::Rc;

use bytes::Bytes;

use super::digests::Awaited;
use super::handover::Ordered;
use super::io::Message as WorkerMessage;
use super::outward::Outward;
use super::patience::is_awaited;
use super::peer::{Channel, Links};
use super::shard::Shard;
use super::worker::Worker;

/// What waiters are told when the leader they asked leads no more.
pub(super) const LEADER_LOST: &[u8] = b"-UNKNOWN the shard's leader was lost while the command was under way: it may have been applied or not\r\n";
/// What queued commands are told that were not proposed.
pub(super) const NOT_PROPOSED: &[u8] =
    b"-TRYAGAIN the shard's leader has changed; the command was not applied\r\n";

/// Below this much room for the log replicas do not follow their leaders: more than one round of messages can bring.
const FOLLOW_ROOM_BYTES: u64 = 8 << 20;

/// How a replica stands in its group.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// This node has a copy of the shard.
    pub is_held: bool,
    /// It leads, and knows all that was ever committed: commands may be proposed.
    pub leads: bool,
    /// Nobody else has a say: what is applied may be read at any time.
    pub decides_alone: bool,
    /// In which term it leads.
    term: Option<Term>,
    /// The node of the leader.
    leader: Option<NodeId>,
    /// Waits to be driven on.
    is_stirred: bool,
    /// The node goes down: it takes no commands any more, and gives its leadership away.
    pub(super) is_leaving: bool,
    /// The steward has it give its leadership away: until that is over it takes no commands either.
    pub(super) ordered: Option<Box<Ordered>>,
    /// By a comparison of the copies.
    pub(super) awaited: Awaited,
    /// The index of a snapshot that replaced the data in this round.
    pub(super) taken_in: Option<Index>,
    /// Where the other replicas are.
    pub nodes: Vec<(ReplicaId, NodeId)>,
}

impl Shard {
    /// Whether commands may be asked of this replica: its group's leader.
    #[inline]
    pub fn leads(&self) -> bool {
        self.standing.leads
    }

    /// Whether no other node has a say, or a copy, by the membership.
    pub(super) fn decides_alone(&self) -> bool {
        let members = &self.membership;
        members.is_one_voter() && members.learners.is_empty() && self.standing.is_held
    }

    /// Whether what is applied may be read now (invariant 6).
    #[inline]
    pub fn may_read(&self, now: Monotonic) -> bool {
        let standing = &self.standing;
        standing.leads && (standing.decides_alone || self.replica.can_read(now))
    }

    /// The node of a replica of this group, as far as is known.
    pub(super) fn node_of(&self, replica: ReplicaId) -> Option<NodeId> {
        let nodes = self.standing.nodes.iter();
        nodes
            .copied()
            .find(|(id, _)| *id == replica)
            .map(|(_, node)| node)
    }

    /// The node that leads the group, as far as this replica knows.
    pub(super) fn leader_node(&self) -> Option<NodeId> {
        match self.standing.is_held {
            true => self.replica.leader().and_then(|id| self.node_of(id)),
            false => None,
        }
    }
}

fn is_membership(entry: &LogEntry) -> bool {
    entry.kind == EntryKind::Membership
}

impl Worker {
    /// Has a replica driven on with the turn.
    pub(super) fn stir(&mut self, place: usize) {
        if !std::mem::replace(&mut self.shards[place].standing.is_stirred, true) {
            self.stirred.push(place);
        }
        self.flush_wanted = true;
    }

    /// The replicas to be driven in this turn: those with writes, and those that time or a message has moved.
    pub(super) fn take_stirred(&mut self, active: &mut Vec<usize>) {
        let may_follow = self.may_follow;
        let shards = &mut self.shards;
        self.stirred.retain(|&place| {
            let shard = &mut shards[place];
            // What a leader sends must find room in the log: until then this replica is silent, and the others decide.
            let must_wait = !may_follow && !shard.replica.is_leader();
            if must_wait {
                return true;
            }
            shard.standing.is_stirred = false;
            if shard.standing.is_held && !active.contains(&place) {
                active.push(place);
            }
            false
        });
    }

    /// Lets time pass for the groups with several replicas.
    pub fn tick_groups(&mut self) {
        self.leave_on();
        let now = self.refresh_monotonic();
        for place in 0..self.shards.len() {
            let shard = &mut self.shards[place];
            if !shard.standing.is_held || shard.standing.decides_alone {
                continue;
            }
            shard.replica.tick(now);
            self.look_at_leadership(place);
            self.stir(place);
        }
        self.keep_followers_fresh(now);
        self.retry_waiting();
        self.flush_wanted = true;
    }

    /// A node's process has ended, as far as can be told from here: the groups that it led need not wait until they notice.
    pub fn node_is_gone(&mut self, node: NodeId) {
        for shard in &mut self.shards {
            if let (Some(leader), true) =
                (shard.replica.leader(), shard.leader_node() == Some(node))
            {
                shard.replica.note_gone(leader);
            }
        }
    }

    /// Followers cannot refuse what they are sent, so they stop before the disk is full.
    pub(super) fn look_whether_to_follow(&mut self) {
        let follows = |shard: &Shard| shard.standing.is_held && !shard.standing.decides_alone;
        if !self.shards.iter().any(follows) {
            return;
        }
        let room = self.wal.as_ref().map_or(u64::MAX, |wal| wal.room());
        let may_follow = room >= FOLLOW_ROOM_BYTES;
        if may_follow != std::mem::replace(&mut self.may_follow, may_follow) {
            match may_follow {
                true => tracing::info!("there is room again: this node's replicas follow their leaders"),
                false => tracing::error!(
                    "the disk is nearly full ({room} bytes left for the log): this node's replicas are silent until space is freed"
                ),
            }
        }
    }

    /// Notices that a replica has become its group's leader or is it no more: nobody else can answer for what it proposed.
    pub(super) fn look_at_leadership(&mut self, place: usize) {
        self.look_at_order(place);
        let shard = &mut self.shards[place];
        let replica = &shard.replica;
        let term = replica.is_leader().then(|| replica.term());
        let leads = term.is_some()
            && replica.has_applied_own_term()
            && replica.transferring_to().is_none()
            && !shard.standing.gives_away();
        let had = std::mem::replace(&mut shard.standing.term, term);
        let led = std::mem::replace(&mut shard.standing.leads, leads);
        if had.is_some() && had != term {
            shard.abandon(LEADER_LOST, &mut self.io);
        }
        if led && !leads {
            shard.refuse(NOT_PROPOSED, &mut self.io);
        }
        let leader = shard.leader_node();
        let number = shard.id.0;
        if led != leads {
            self.shared.note_leads(number, leads);
            self.leadership_changed = true;
            self.shared.topology.wake();
        }
        if leader != std::mem::replace(&mut self.shards[place].standing.leader, leader) {
            self.leadership_changed = true;
            self.shared.topology.wake();
            self.leader_moved(number, leader);
        }
        if self.shards[place].standing.gives_away() {
            self.hand_on(place);
        }
    }

    /// Whether nobody else has a say may have changed with the membership.
    pub(super) fn look_at_membership(&mut self, place: usize) {
        let shard = &mut self.shards[place];
        shard.standing.decides_alone = shard.decides_alone();
        self.shared
            .note_alone(shard.id.0, shard.standing.decides_alone);
    }

    /// From now on other nodes can be spoken to.
    pub fn meet(&mut self, links: Rc<Links>) {
        self.peers = Some(Outward::new(links));
    }

    // ---- messages ------------------------------------------------------------------------------------

    /// Takes in a frame of Raft messages.
    pub fn take_raft_frame(&mut self, from: NodeId, frame: Bytes) {
        let now = self.refresh_monotonic();
        let mut reader = match FrameReader::new(frame) {
            Ok(reader) => reader,
            Err(error) => return tracing::warn!("node {from} sent {error}"),
        };
        let mut is_patient = false;
        loop {
            match reader.next() {
                None => break,
                Some(Ok(Packet::Patient)) => is_patient = true,
                Some(Ok(packet)) => self.take_packet(from, packet, now),
                Some(Err(error)) => return tracing::warn!("node {from} sent a frame: {error}"),
            }
        }
        if !is_patient {
            self.answer_at_once(from);
        }
    }

    /// A node waits for the answers to what it has sent.
    pub(super) fn answer_at_once(&mut self, node: NodeId) {
        if let Some(peers) = &mut self.peers {
            peers.is_waited_for_by(node);
        }
    }

    fn take_packet(&mut self, from: NodeId, packet: Packet, now: Monotonic) {
        let group = match &packet {
            Packet::Message(envelope, _) => envelope.shard,
            Packet::Gone { shard, .. } => *shard,
            Packet::Patient => return,
        };
        let Some(shard) = self.local_number(group) else {
            return tracing::warn!("node {from} speaks of shard {group}, which is none");
        };
        let home = self.worker_of(shard);
        if home != self.number {
            let message = WorkerMessage::Raft(from, Box::new(packet));
            self.io.outgoing[usize::from(home)].push(message);
            self.flush_wanted = true;
            return;
        }
        self.take_here(from, packet, now);
    }

    /// As [`Worker::take_packet`], for a shard of this worker.
    pub(super) fn take_here(&mut self, from: NodeId, packet: Packet, now: Monotonic) {
        let (envelope, message) = match packet {
            Packet::Message(envelope, message) => (envelope, message),
            Packet::Gone { shard, replica } => return self.heard_gone(shard, replica),
            Packet::Patient => return,
        };
        // Snapshots come a way of their own; a message alone would stand for data that is not here.
        if message.get_snapshot().get_metadata().index > 0 {
            return tracing::warn!("node {from} sent a snapshot of no data");
        }
        let Some(shard) = self.local_number(envelope.shard) else {
            return;
        };
        let place = self.place(shard);
        let held = &mut self.shards[place];
        let mine = held.standing.is_held.then(|| Mine {
            id: held.replica.id(),
            membership: &held.membership,
        });
        // The ids of replicas that were here once.
        let tombstone = match mine {
            Some(_) => None,
            None => self.shared.tombstone(envelope.shard),
        };
        match judge(&envelope, &message, mine, tombstone) {
            Verdict::Deliver => {
                // A newcomer hears of the others by their messages before the topology names them.
                if held.node_of(envelope.from).is_none() {
                    held.standing.nodes.push((envelope.from, from));
                }
                held.replica.step(message, now);
                self.look_at_leadership(place);
                self.stir(place);
            }
            Verdict::TellGone(replica) => {
                let frames = self.peers.as_mut().map(|peers| peers.raft_to(from));
                if let Some(frames) = frames {
                    let _ = frames.push_gone(envelope.shard, replica);
                }
                self.flush_wanted = true;
            }
            // Which replicas belong here the topology says; until it does there is none.
            Verdict::Unknown | Verdict::IAmStale => self.topology_wanted = true,
            Verdict::Drop => {}
        }
    }

    fn heard_gone(&mut self, group: ShardId, replica: ReplicaId) {
        let Some(shard) = self.local_number(group) else {
            return;
        };
        let held = &self.shards[self.place(shard)];
        if held.standing.is_held && held.replica.id() == replica {
            tracing::warn!("shard {group}: replica {replica} was removed from its group");
            self.topology_wanted = true;
        }
    }

    /// The number under which this node keeps a group.
    #[inline]
    pub(super) fn local_number(&self, group: ShardId) -> Option<u16> {
        match group {
            META_GROUP => Some(self.map.shards()),
            ShardId(number) if number < self.map.shards() => Some(number),
            _ => None,
        }
    }

    /// Puts a replica's messages on their way to the nodes of their receivers.
    pub(super) fn post(&mut self, place: usize, messages: &mut Vec<Message>) {
        let shard = &mut self.shards[place];
        let group = (shard.replica.shard(), shard.replica.epoch());
        let me = self.shared.node_id();
        for message in messages.drain(..) {
            let to = ReplicaId(message.to);
            let sent = match (shard.node_of(to), &mut self.peers) {
                (Some(node), Some(peers)) => {
                    let is_up = |node| peers.links.is_up(node, Channel::Raft);
                    let is_awaited = is_awaited(shard, &message, me, node, is_up);
                    peers.push_raft(node, group, &message, is_awaited)
                }
                _ => false,
            };
            if !sent {
                shard.replica.unreachable(to);
            }
        }
    }

    /// Applies what is committed, in order, and tells the replica.
    pub(super) fn apply_all(&mut self, place: usize) {
        let shard = &mut self.shards[place];
        let mut last = shard.standing.taken_in.take();
        for entry in &self.outputs.committed {
            shard.apply(entry, &mut self.io);
            shard.look_for_mark(entry);
            if is_membership(entry) {
                let carried_out = shard.replica.apply_membership(entry);
                let membership = carried_out.expect("a committed change can be read");
                // Invariant 8: what a replay would come to is what holds.
                assert!(
                    membership == shard.membership,
                    "invariant 8: shard {} has {membership:?} and {:?}",
                    shard.id,
                    shard.membership
                );
                self.topology_wanted = true;
            }
            last = Some(entry.index);
        }
        if let Some(index) = last {
            shard.replica.applied(index);
        }
        if self.outputs.committed.iter().any(is_membership) {
            self.look_at_membership(place);
            self.shared.topology.wake();
        }
        if self.shards[place].meta.is_some() {
            self.meta_applied(place);
        }
    }
}
