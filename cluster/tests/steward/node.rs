//! One node of the model: real replicas, those of the meta group with a real topology, a disk that keeps what is written, and the driver between them, in the
//! order of its contract. Sends by putting into an outbox.

use super::meta::Meta;
use ringfort_cluster::replica::{
    Config, EntryKind, Message, Outputs, Replica, Restored, SnapshotPlace, SnapshotRequest,
};
use ringfort_cluster::steward::{duties, GroupReport, NodeLoad, NodeReport, Since, Steward};
use ringfort_cluster::topology::{Node as Described, META_GROUP};
use ringfort_cluster::{Index, Monotonic, NodeId, ReplicaId, ShardId, Topology};
use std::collections::BTreeMap;

/// The state of a shard: what was written to it, in order.
pub type State = Vec<u64>;

/// What is kept of a replica when its process ends.
#[derive(Clone)]
pub struct Disk {
    pub id: ReplicaId,
    pub restored: Restored,
    /// The state at the restored index, as bytes.
    pub snapshot: Vec<u8>,
}

pub enum Sent {
    Message(ShardId, Message),
    /// From that replica, the durable one, with its data.
    Snapshot(ReplicaId, ShardId, SnapshotRequest, SnapshotPlace, Vec<u8>),
}

pub struct Node {
    pub described: Described,
    pub up: bool,
    pub meta: Meta,
    pub shards: BTreeMap<ShardId, (Replica, State)>,
    pub disks: BTreeMap<ShardId, Disk>,
    /// The topology on the disk, kept before anything is done for it.
    pub kept: Vec<u8>,
    pub since: Since,
    pub lost: Vec<(ShardId, ReplicaId)>,
    pub steward: Option<Steward>,
    pub outbox: Vec<Sent>,
    /// Snapshots that have come, by group; one at a time.
    arrived: BTreeMap<ShardId, Vec<u8>>,
}

fn encode(state: &State) -> Vec<u8> {
    state.iter().flat_map(|write| write.to_le_bytes()).collect()
}

fn decode(bytes: &[u8]) -> State {
    let writes = bytes.chunks_exact(8);
    let number = |write: &[u8]| u64::from_le_bytes(write.try_into().expect("eight bytes"));
    writes.map(number).collect()
}

fn topology_of(bytes: &[u8]) -> Topology {
    Topology::decode(bytes).expect("what was written")
}

impl Node {
    pub fn new(described: Described) -> Self {
        Self {
            described,
            up: true,
            meta: Meta::default(),
            shards: BTreeMap::new(),
            disks: BTreeMap::new(),
            kept: Vec::new(),
            since: Since::Running,
            lost: Vec::new(),
            steward: None,
            outbox: Vec::new(),
            arrived: BTreeMap::new(),
        }
    }

    pub fn id(&self) -> NodeId {
        self.described.id
    }

    /// Begins a replica with nothing but what `restored` says.
    pub fn begin(&mut self, shard: ShardId, id: ReplicaId, restored: Restored) {
        let snapshot = match shard {
            META_GROUP => Topology::default().encode().expect("nothing"),
            _ => Vec::new(),
        };
        let disk = Disk {
            id,
            restored,
            snapshot,
        };
        self.disks.insert(shard, disk);
        self.start(shard);
    }

    fn start(&mut self, shard: ShardId) {
        let disk = &self.disks[&shard];
        let config = Config {
            seed: u64::from(shard.get()) << 8 | disk.id.get(),
            tail_bytes_max: 4_000,
            absence_us: 0,
            ..Config::new(shard, disk.id)
        };
        let replica = Replica::new(&config, disk.restored.clone()).expect("what was written");
        if shard == META_GROUP {
            self.meta.hold(replica, topology_of(&disk.snapshot));
        } else {
            let state = decode(&disk.snapshot);
            self.shards.insert(shard, (replica, state));
        }
    }

    /// The process ends; what is on the disk stays.
    pub fn crash(&mut self) {
        self.up = false;
        self.meta = Meta::default();
        self.shards.clear();
        self.steward = None;
        self.outbox.clear();
        self.arrived.clear();
    }

    pub fn restart(&mut self) {
        self.up = true;
        self.since = Since::Restart;
        self.lost.clear();
        if !self.kept.is_empty() {
            self.meta.offer(&topology_of(&self.kept));
        }
        for shard in self.disks.keys().copied().collect::<Vec<_>>() {
            self.start(shard);
        }
    }

    pub fn replica(&mut self, shard: ShardId) -> Option<&mut Replica> {
        match shard {
            META_GROUP => self.meta.copy.as_mut().map(|(replica, _)| replica),
            _ => self.shards.get_mut(&shard).map(|(replica, _)| replica),
        }
    }

    pub fn groups(&self) -> Vec<ShardId> {
        self.disks.keys().copied().collect()
    }

    /// Starts and drops replicas until this node holds what the topology says.
    pub fn do_duties(&mut self) {
        let topology = self.meta.topology();
        // A node that was removed has a last duty: to drop what it holds.
        let known = [
            topology.nodes.contains_key(&self.id()),
            topology.removed.contains_key(&self.id()),
        ];
        if known == [false, false] {
            return;
        }
        self.kept = topology.encode().expect("a topology");
        let here = self.disks.iter().map(|(&shard, disk)| (shard, disk.id));
        let here: BTreeMap<ShardId, ReplicaId> = here.collect();
        let due = duties(topology, self.id(), &here, self.since);
        self.since = Since::Running;
        if !due.lost.is_empty() {
            self.lost = due.lost;
        }
        for (shard, _) in due.drop {
            self.disks.remove(&shard);
            self.shards.remove(&shard);
            if shard == META_GROUP {
                self.meta.copy = None;
            }
        }
        for (shard, id) in due.start {
            if !self.lost.contains(&(shard, id)) {
                self.begin(shard, id, Restored::joining());
            }
        }
    }

    pub fn report(&mut self) -> NodeReport {
        let mut groups = Vec::new();
        for shard in self.groups() {
            if let Some(replica) = self.replica(shard) {
                groups.push(GroupReport::of(replica, 0));
            }
        }
        NodeReport {
            node: self.described.clone(),
            epoch: self.meta.topology().epoch,
            groups,
            lost: self.lost.clone(),
            suspect: Vec::new(),
            load: NodeLoad::default(),
        }
    }

    /// One turn of the driver for one group.
    pub fn turn(&mut self, shard: ShardId) {
        let mut outputs = Outputs::default();
        while self.replica(shard).is_some_and(|it| it.ready(&mut outputs)) {
            self.post(shard, &mut outputs);
            let taken_in = self.write(shard, &mut outputs);
            let replica = self.replica(shard).expect("it gave something");
            replica.persisted(&mut outputs);
            if let Some(index) = taken_in {
                replica.applied(index);
            }
            self.post(shard, &mut outputs);
            self.apply(shard, &mut outputs);
        }
        self.snapshot_if_wanted(shard);
    }

    fn post(&mut self, shard: ShardId, outputs: &mut Outputs) {
        let messages = outputs.messages.drain(..);
        self.outbox
            .extend(messages.map(|message| Sent::Message(shard, message)));
        for request in outputs.snapshot_requests.drain(..) {
            let disk = &self.disks[&shard];
            let place = SnapshotPlace {
                index: disk.restored.snapshot_index,
                term: disk.restored.snapshot_term,
                membership: disk.restored.membership.clone(),
            };
            let (from, bytes) = (disk.id, disk.snapshot.clone());
            let snapshot = Sent::Snapshot(from, shard, request, place, bytes);
            self.outbox.push(snapshot);
        }
    }

    /// Writes what `ready` gave; gives the place of a snapshot that was taken in.
    fn write(&mut self, shard: ShardId, outputs: &mut Outputs) -> Option<Index> {
        let commit = self.replica(shard)?.known_commit_if_persisted();
        let taken_in = outputs.snapshot.take();
        if let Some(snapshot) = &taken_in {
            let bytes = self.arrived.remove(&shard).expect("its data came first");
            match shard {
                META_GROUP => self.meta.install(topology_of(&bytes)),
                _ => self.shards.get_mut(&shard)?.1 = decode(&bytes),
            }
            let disk = self.disks.get_mut(&shard)?;
            disk.snapshot = bytes;
            disk.restored.entries.clear();
            disk.cover(snapshot.index, snapshot.term, snapshot.membership.clone());
        }
        let restored = &mut self.disks.get_mut(&shard)?.restored;
        if let Some(state) = outputs.hard_state {
            (restored.hard_state.term, restored.hard_state.vote) = (state.term, state.vote);
        }
        for entry in outputs.entries.drain(..) {
            restored.entries.retain(|old| old.index < entry.index);
            restored.entries.push(entry);
        }
        restored.hard_state.commit = restored.hard_state.commit.max(commit);
        taken_in.map(|snapshot| snapshot.index)
    }

    fn apply(&mut self, shard: ShardId, outputs: &mut Outputs) {
        for entry in outputs.committed.drain(..) {
            if shard == META_GROUP {
                self.meta.apply(&entry);
            } else if let Some((replica, state)) = self.shards.get_mut(&shard) {
                match entry.kind {
                    EntryKind::Empty => {}
                    EntryKind::Commands => state.extend(decode(&entry.data)),
                    EntryKind::Membership => {
                        _ = replica.apply_membership(&entry).expect("a sound entry")
                    }
                }
            }
            let replica = self.replica(shard).expect("it gave something");
            replica.applied(entry.index);
        }
    }

    fn snapshot_if_wanted(&mut self, shard: ShardId) {
        let wanted = self.replica(shard).is_some_and(|it| it.wants_snapshot());
        if !wanted {
            return;
        }
        let bytes = match shard {
            META_GROUP => {
                let copy = self.meta.copy.as_ref().expect("it wants one");
                copy.1.encode().expect("a topology")
            }
            _ => encode(&self.shards[&shard].1),
        };
        let replica = self.replica(shard).expect("it wants one");
        let (index, membership) = (replica.applied_index(), replica.membership());
        let entries = &self.disks[&shard].restored.entries;
        let entry = entries.iter().find(|entry| entry.index == index);
        let place = SnapshotPlace {
            index,
            term: entry.expect("it is in the log").term,
            membership,
        };
        let disk = self.disks.get_mut(&shard).expect("it runs");
        disk.snapshot = bytes;
        disk.cover(place.index, place.term, place.membership.clone());
        let replica = self.replica(shard).expect("it wanted one");
        replica.snapshot_is_durable(place);
    }

    /// A message has come for a group.
    pub fn take_in(&mut self, shard: ShardId, message: Message, now: Monotonic) {
        let to = message.to;
        if let Some(replica) = self.replica(shard).filter(|it| it.id().get() == to) {
            replica.step(message, now);
            self.turn(shard);
        }
    }

    /// A snapshot has come for a group; false when nobody here wants it.
    pub fn take_snapshot(
        &mut self,
        (shard, from): (ShardId, ReplicaId),
        request: &SnapshotRequest,
        place: &SnapshotPlace,
        bytes: Vec<u8>,
        now: Monotonic,
    ) -> bool {
        let to = request.to;
        if self.replica(shard).is_none_or(|it| it.id() != to) {
            return false;
        }
        self.arrived.insert(shard, bytes);
        let replica = self.replica(shard).expect("it is here");
        replica.install(from, request.term, place, b"token", now);
        self.turn(shard);
        true
    }
}

impl Disk {
    /// The snapshot reaches so far: the log in front of it goes.
    fn cover(
        &mut self,
        index: Index,
        term: ringfort_cluster::Term,
        membership: ringfort_cluster::Membership,
    ) {
        let restored = &mut self.restored;
        (restored.snapshot_index, restored.snapshot_term) = (index, term);
        (restored.applied, restored.membership) = (index, membership);
        restored.entries.retain(|entry| entry.index > index);
    }
}
