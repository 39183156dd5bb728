//! A group of replicas with their disks, clocks and a network, all simulated and seeded. After every step it is checked that
//! no leader that may read lacks anything that was acknowledged, and no replica anything of the time as of which it says to be fresh.

mod forced;

use bytes::Bytes;
use ringfort_cluster::replica::wire::{FrameBuilder, FrameReader, Packet};
use ringfort_cluster::replica::{
    ChangeError, ChangeTicket, Config, EntryKind, Membership, MembershipChange, Message, Outputs,
    Replica, Restored, SnapshotPlace, SnapshotRequest,
};
use ringfort_cluster::{Index, Monotonic, ReplicaId, ShardId};
use std::collections::{BTreeMap, BTreeSet};

pub const TICK_US: u64 = 50_000;

/// The network's and the drivers' step.
const STEP_US: u64 = 5_000;

/// What is fresh enough for whoever reads at a follower.
pub const FRESH_US: u64 = 1_000_000;

const SHARD: ShardId = ShardId(0);

/// The state of a replica: the proposals that it has applied, in order.
type State = Vec<u64>;

#[derive(Default)]
struct Node {
    replica: Option<Replica>,
    paused: bool,
    disk: Restored,
    /// What is applied, and what of it is in the snapshot on disk.
    state: State,
    snapshot: State,
    /// The same as a set, and how many of the acknowledged ones have been found in it.
    has: BTreeSet<u64>,
    found: usize,
    found_by_age: usize,
    /// Snapshots that have arrived, by their token.
    arrived: BTreeMap<Vec<u8>, State>,
    outbox: Vec<Message>,
    requests: Vec<SnapshotRequest>,
    /// Its clock: where it started, and how many microseconds of it make 1,000 of the world's.
    clock_start: u64,
    clock_speed: u64,
    last_tick: u64,
    /// Proposals made here in this life, to be acknowledged when they are applied in their term.
    waiting: BTreeMap<(u64, u64), u64>,
}

impl Node {
    fn now(&self, time: u64) -> Monotonic {
        Monotonic(self.clock_start + time * self.clock_speed / 1000)
    }

    fn set_state(&mut self, state: State) {
        self.has = state.iter().copied().collect();
        (self.state, self.found, self.found_by_age) = (state, 0, 0);
    }

    fn runs(&self) -> bool {
        self.replica.is_some() && !self.paused
    }
}

#[allow(clippy::large_enum_variant)]
enum Post {
    Frame(u64, Bytes),
    Snapshot(u64, SnapshotRequest, SnapshotPlace, State),
}

pub struct Group {
    time: u64,
    random: u64,
    loss_percent: u64,
    nodes: BTreeMap<u64, Node>,
    /// What is under way, by the time of its arrival.
    post: BTreeMap<(u64, u64), Post>,
    posted: u64,
    isolated: BTreeSet<u64>,
    proposals: u64,
    acknowledged: BTreeSet<u64>,
    /// The same, in order of time, and when.
    acknowledgements: Vec<u64>,
    acknowledged_at: Vec<u64>,
    changes: u64,
    seed: u64,
}

impl Group {
    pub fn new(seed: u64, ids: &[u64]) -> Self {
        let mut group = Self {
            time: 0,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            loss_percent: 0,
            nodes: BTreeMap::new(),
            post: BTreeMap::new(),
            posted: 0,
            isolated: BTreeSet::new(),
            proposals: 0,
            acknowledged: BTreeSet::new(),
            acknowledgements: Vec::new(),
            acknowledged_at: Vec::new(),
            changes: 0,
            seed,
        };
        let voters = || ids.iter().copied().map(ReplicaId);
        for &id in ids {
            group.add(id, Restored::fresh(voters()));
        }
        group
    }

    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn add(&mut self, id: u64, disk: Restored) {
        // Clocks differ by up to one percent; the margin of the lease is a tenth of the election timeout.
        let (clock_start, clock_speed) = (self.draw() % 1_000_000_000, 995 + self.draw() % 11);
        let node = Node {
            disk,
            clock_start,
            clock_speed,
            last_tick: self.draw() % TICK_US,
            ..Node::default()
        };
        self.nodes.insert(id, node);
        self.restart(id);
    }

    pub fn join(&mut self, id: u64) {
        self.add(id, Restored::joining());
    }

    pub fn restart(&mut self, id: u64) {
        let config = Config {
            seed: self.seed << 8 | id,
            tail_bytes_max: 2_000,
            absence_us: 0,
            snapshot_timeout_us: 2_000_000,
            ..Config::new(SHARD, ReplicaId(id))
        };
        let node = self.nodes.get_mut(&id).expect("a node");
        let replica = Replica::new(&config, node.disk.clone()).expect("what was written is sound");
        node.replica = Some(replica);
        node.paused = false;
        node.set_state(node.snapshot.clone());
    }

    pub fn crash(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).expect("a node");
        node.replica = None;
        node.outbox.clear();
        node.requests.clear();
        node.arrived.clear();
        node.waiting.clear();
    }

    /// Tells the replicas that run that this one's process has ended, whether it has or not.
    pub fn tell_gone(&mut self, id: u64) {
        for node in self.nodes.values_mut().filter(|node| !node.paused) {
            if let Some(replica) = &mut node.replica {
                replica.note_gone(ReplicaId(id));
            }
        }
    }

    pub fn pause(&mut self, id: u64) {
        self.nodes.get_mut(&id).expect("a node").paused = true;
    }

    pub fn resume(&mut self, id: u64) {
        self.nodes.get_mut(&id).expect("a node").paused = false;
    }

    pub fn isolate(&mut self, id: u64) {
        self.isolated.insert(id);
    }

    pub fn heal(&mut self) {
        self.isolated.clear();
    }

    pub fn lose(&mut self, percent: u64) {
        self.loss_percent = percent;
    }

    pub fn time_us(&self) -> u64 {
        self.time
    }

    pub fn changes(&self) -> u64 {
        self.changes
    }

    fn replica(&mut self, id: u64) -> &mut Replica {
        let node = self.nodes.get_mut(&id).expect("a node");
        node.replica.as_mut().expect("it runs")
    }

    pub fn membership(&mut self, id: u64) -> Membership {
        self.replica(id).membership()
    }

    pub fn term(&mut self, id: u64) -> u64 {
        self.replica(id).term().get()
    }

    pub fn is_acknowledged(&self, proposal: u64) -> bool {
        self.acknowledged.contains(&proposal)
    }

    /// Who believes to lead, the paused excepted.
    pub fn leaders(&self) -> Vec<u64> {
        let leads =
            |node: &Node| node.runs() && node.replica.as_ref().is_some_and(Replica::is_leader);
        let leaders = self.nodes.iter().filter(|(_, node)| leads(node));
        leaders.map(|(&id, _)| id).collect()
    }

    pub fn can_read(&self, id: u64) -> bool {
        let node = &self.nodes[&id];
        let replica = node.replica.as_ref();
        replica.is_some_and(|replica| replica.can_read(node.now(self.time)))
    }

    pub fn propose(&mut self, id: u64) -> u64 {
        self.proposals += 1;
        let proposal = self.proposals;
        let node = self.nodes.get_mut(&id).expect("a node");
        if let Some(replica) = &mut node.replica {
            let data = Bytes::copy_from_slice(&proposal.to_le_bytes());
            if replica.propose(data).is_ok() {
                let place = (replica.last_index().get(), replica.term().get());
                node.waiting.insert(place, proposal);
            }
        }
        self.turn(id);
        proposal
    }

    pub fn transfer(&mut self, id: u64, to: u64) {
        let node = self.nodes.get_mut(&id).expect("a node");
        let now = node.now(self.time);
        if let Some(replica) = &mut node.replica {
            if replica.transfer_leadership(ReplicaId(to), now).is_ok() {
                assert!(!replica.lease_valid(now), "the lease goes first");
            }
        }
        self.turn(id);
    }

    pub fn change(
        &mut self,
        id: u64,
        change: MembershipChange,
    ) -> Result<ChangeTicket, ChangeError> {
        let ticket = self.replica(id).propose_change(change);
        self.turn(id);
        ticket
    }

    /// Proposes a change drawn by lot, growing to five replicas and shrinking to two voters. Gives the newest id.
    pub fn wander(&mut self, id: u64, draw: u64, newest: u64) -> u64 {
        let membership = self.membership(id);
        let (voters, learners) = (&membership.voters, &membership.learners);
        let voter = voters[(draw / 8) as usize % voters.len()];
        let learner = learners
            .get((draw / 8) as usize % learners.len().max(1))
            .copied();
        let change = match (draw % 8, learner) {
            (0 | 1, _) if voters.len() + learners.len() < 5 => {
                MembershipChange::AddLearner(ReplicaId(newest + 1))
            }
            (2, Some(_)) if voters.len() > 2 => MembershipChange::Demote(voter),
            (3 | 4, Some(learner)) => MembershipChange::Promote(learner),
            (5, Some(learner)) => MembershipChange::ChangeVoters {
                promote: vec![learner],
                demote: vec![voter],
            },
            // As many at once as there are.
            (6, Some(_)) => MembershipChange::ChangeVoters {
                promote: learners.clone(),
                demote: Vec::new(),
            },
            (7, Some(learner)) => MembershipChange::Remove(learner),
            _ => return newest,
        };
        match (self.change(id, change.clone()), change) {
            (Ok(_), MembershipChange::AddLearner(id)) => {
                self.join(id.get());
                id.get()
            }
            _ => newest,
        }
    }

    /// One step of time: what has arrived is taken in, clocks tick, what is to be sent is sent.
    pub fn step(&mut self) {
        self.time += STEP_US;
        while let Some(first) = self.post.first_entry() {
            if first.key().0 > self.time {
                break;
            }
            let post = first.remove();
            self.arrive(post);
        }
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            self.tick_if_due(id);
            self.turn(id);
            self.snapshot_if_wanted(id);
            self.send(id);
        }
        self.check();
    }

    pub fn run(&mut self, us: u64) {
        let end = self.time + us;
        while self.time < end {
            self.step();
        }
    }

    pub fn wait_until(&mut self, what: &str, us_max: u64, mut done: impl FnMut(&mut Self) -> bool) {
        let end = self.time + us_max;
        while !done(self) {
            assert!(
                self.time < end,
                "seed {}: no {what} in {us_max} us",
                self.seed
            );
            self.step();
        }
    }

    pub fn wait_for_leader(&mut self, us_max: u64) -> u64 {
        self.wait_until("leader", us_max, |group| !group.leaders().is_empty());
        self.leaders()[0]
    }

    /// Crashes, pauses, partitions and proposals by lot, and whatever else is to be done every 10 steps.
    pub fn chaos(&mut self, us: u64, mut also: impl FnMut(&mut Self, u64)) {
        let end = self.time + us;
        while self.time < end {
            self.run(10 * STEP_US);
            let ids: Vec<u64> = self.nodes.keys().copied().collect();
            let draw = self.draw();
            let id = ids[(draw >> 32) as usize % ids.len()];
            match draw % 100 {
                0 if self.nodes[&id].replica.is_some() => self.crash(id),
                1 => self.isolate(id),
                2 => self.pause(id),
                10..=19 => self.tell_gone(id),
                3..=9 => {
                    self.heal();
                    for id in ids {
                        self.resume(id);
                        if self.nodes[&id].replica.is_none() {
                            self.restart(id);
                        }
                    }
                }
                _ => {}
            }
            for id in self.leaders() {
                self.propose(id);
            }
            let draw = self.draw() >> 8;
            also(self, draw);
        }
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            self.resume(id);
            if self.nodes[&id].replica.is_none() {
                self.restart(id);
            }
        }
    }

    /// When the faults have stopped there must be progress, and in the end all members must have the same.
    pub fn settle(&mut self) {
        self.run(5_000_000);
        let mut proposal = 0;
        self.wait_until("write", 10_000_000, |group| {
            if let [leader] = group.leaders()[..] {
                if proposal == 0 && group.can_read(leader) {
                    proposal = group.propose(leader);
                }
            }
            group.is_acknowledged(proposal)
        });
        self.run(2_000_000);
        let leader = self.wait_for_leader(1);
        assert!(self.can_read(leader), "seed {}", self.seed);
        let (state, membership) = (self.nodes[&leader].state.clone(), self.membership(leader));
        assert!(!membership.is_joint(), "seed {}", self.seed);
        for (&id, node) in &self.nodes {
            if membership.contains(ReplicaId(id)) {
                assert_eq!(node.state, state, "seed {}: replica {id}", self.seed);
            }
        }
        let applied: BTreeSet<u64> = state.iter().copied().collect();
        assert_eq!(
            applied.len(),
            state.len(),
            "seed {}: applied twice",
            self.seed
        );
        assert!(
            self.acknowledged.is_subset(&applied),
            "seed {}: lost",
            self.seed
        );
    }

    /// Whether this replica may answer who accepts data of [`FRESH_US`] ago.
    pub fn is_fresh(&self, id: u64) -> bool {
        let node = &self.nodes[&id];
        let replica = node.replica.as_ref();
        replica.is_some_and(|replica| replica.is_fresh(node.now(self.time), FRESH_US))
    }

    fn check_age(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).expect("a node");
        let as_of = node.replica.as_ref().and_then(Replica::fresh_as_of);
        let Some(as_of) = as_of else {
            return;
        };
        while let Some(&at) = self.acknowledged_at.get(node.found_by_age) {
            if node.now(at) >= as_of {
                break;
            }
            let proposal = self.acknowledgements[node.found_by_age];
            let found = node.has.contains(&proposal);
            assert!(found, "seed {}: {id} is older than it says", self.seed);
            node.found_by_age += 1;
        }
    }

    fn check(&mut self) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            self.check_age(id);
            if !self.can_read(id) {
                continue;
            }
            let node = self.nodes.get_mut(&id).expect("a node");
            for proposal in &self.acknowledgements[node.found..] {
                let found = node.has.contains(proposal);
                assert!(found, "seed {}: {id} would not read {proposal}", self.seed);
            }
            node.found = self.acknowledgements.len();
        }
    }

    fn tick_if_due(&mut self, id: u64) {
        let time = self.time;
        let late = self.draw() % (TICK_US / 2);
        let node = self.nodes.get_mut(&id).expect("a node");
        if !node.runs() || time < node.last_tick + TICK_US + late {
            return;
        }
        node.last_tick = (node.last_tick + TICK_US).max(time.saturating_sub(TICK_US));
        let now = node.now(time);
        if let Some(replica) = &mut node.replica {
            replica.tick(now);
            if !replica.is_fresh(now, FRESH_US / 2) {
                replica.ask_how_fresh(now);
            }
        }
    }

    fn turn(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).expect("a node");
        if !node.runs() {
            return;
        }
        let mut replica = node.replica.take().expect("it runs");
        let mut outputs = Outputs::default();
        while replica.ready(&mut outputs) {
            node.outbox.append(&mut outputs.messages);
            node.requests.append(&mut outputs.snapshot_requests);
            write(node, &mut outputs, replica.known_commit_if_persisted());
            let applied = replica.applied_index();
            replica.persisted(&mut outputs);
            if node.disk.applied > applied {
                replica.applied(node.disk.applied);
            }
            node.outbox.append(&mut outputs.messages);
            node.requests.append(&mut outputs.snapshot_requests);
            for entry in outputs.committed.drain(..) {
                match entry.kind {
                    EntryKind::Empty => {}
                    EntryKind::Membership => {
                        let before = replica.epoch();
                        let membership = replica.apply_membership(&entry).expect("sound");
                        self.changes += u64::from(membership.epoch > before && replica.is_leader());
                    }
                    EntryKind::Commands => {
                        let data: [u8; 8] = entry.data.as_ref().try_into().expect("a number");
                        let proposal = u64::from_le_bytes(data);
                        node.state.push(proposal);
                        assert!(
                            node.has.insert(proposal),
                            "seed {}: applied twice",
                            self.seed
                        );
                    }
                }
                let place = (entry.index.get(), entry.term.get());
                if let Some(proposal) = node.waiting.remove(&place) {
                    self.acknowledged.insert(proposal);
                    self.acknowledgements.push(proposal);
                    self.acknowledged_at.push(self.time);
                }
                replica.applied(entry.index);
            }
        }
        node.replica = Some(replica);
    }

    fn snapshot_if_wanted(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).expect("a node");
        let Some(replica) = node
            .replica
            .as_mut()
            .filter(|replica| replica.wants_snapshot())
        else {
            return;
        };
        let applied = replica.applied_index();
        let disk = &mut node.disk;
        let term = match disk.entries.iter().find(|entry| entry.index == applied) {
            Some(entry) => entry.term,
            None => disk.snapshot_term,
        };
        (disk.snapshot_index, disk.snapshot_term) = (applied, term);
        (disk.applied, disk.membership) = (applied, replica.membership());
        disk.entries.retain(|entry| entry.index > applied);
        disk.hard_state.commit = disk.hard_state.commit.max(applied);
        node.snapshot = node.state.clone();
        replica.snapshot_is_durable(SnapshotPlace {
            index: applied,
            term,
            membership: disk.membership.clone(),
        });
    }

    fn send(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).expect("a node");
        let outbox = std::mem::take(&mut node.outbox);
        let requests = std::mem::take(&mut node.requests);
        let Some(epoch) = node.replica.as_ref().map(Replica::epoch) else {
            return;
        };
        for message in outbox {
            let mut frame = FrameBuilder::new();
            frame.push(SHARD, epoch, &message).expect("small");
            let bytes = Bytes::from(frame.finish().concat());
            self.post(id, message.to, Post::Frame(message.to, bytes), 100);
        }
        for request in requests {
            let node = &self.nodes[&id];
            let place = SnapshotPlace {
                index: node.disk.snapshot_index,
                term: node.disk.snapshot_term,
                membership: node.disk.membership.clone(),
            };
            let (to, state) = (request.to.get(), node.snapshot.clone());
            self.post(id, to, Post::Snapshot(id, request, place, state), 10);
        }
    }

    /// Puts something under way, or loses it and reports that now and then, as a transport would.
    fn post(&mut self, from: u64, to: u64, post: Post, reported_percent: u64) {
        let cut = self.isolated.contains(&from) != self.isolated.contains(&to);
        if cut || self.draw() % 100 < self.loss_percent {
            let reported = self.draw() % 100 < reported_percent / 2;
            if let Some(replica) = &mut self.nodes.get_mut(&from).expect("a node").replica {
                match post {
                    Post::Frame(..) if reported => replica.unreachable(ReplicaId(to)),
                    Post::Frame(..) => {}
                    // Half of them are never reported: the replica has a time limit of its own.
                    Post::Snapshot(..) if reported => replica.report_snapshot(ReplicaId(to), false),
                    Post::Snapshot(..) => {}
                }
            }
            return;
        }
        self.posted += 1;
        let delay = match self.draw() % 200 {
            0 => 3_000_000,
            1..=5 => 100_000 + self.draw() % 200_000,
            _ => self.draw() % 6_000,
        };
        self.post.insert((self.time + delay, self.posted), post);
    }

    fn arrive(&mut self, post: Post) {
        let time = self.time;
        match post {
            Post::Frame(to, bytes) => {
                let Some(node) = self.nodes.get_mut(&to).filter(|node| node.runs()) else {
                    return;
                };
                let now = node.now(time);
                let Some(replica) = &mut node.replica else {
                    return;
                };
                for packet in FrameReader::new(bytes).expect("as it was sent") {
                    if let Packet::Message(_, message) = packet.expect("as it was sent") {
                        replica.step(message, now);
                    }
                }
                self.turn(to);
            }
            Post::Snapshot(from, request, place, state) => {
                let to = request.to.get();
                let arrives = self.nodes.get(&to).is_some_and(Node::runs);
                if arrives {
                    self.take_snapshot(from, &request, &place, state);
                }
                if let Some(replica) = &mut self.nodes.get_mut(&from).expect("a node").replica {
                    replica.report_snapshot(request.to, arrives);
                }
            }
        }
    }

    fn take_snapshot(
        &mut self,
        from: u64,
        request: &SnapshotRequest,
        place: &SnapshotPlace,
        state: State,
    ) {
        let (time, to) = (self.time, request.to.get());
        let node = self.nodes.get_mut(&to).expect("a node");
        let now = node.now(time);
        let token = place.index.get().to_le_bytes().to_vec();
        node.arrived.insert(token.clone(), state);
        if let Some(replica) = &mut node.replica {
            replica.install(ReplicaId(from), request.term, place, &token, now);
        }
        self.turn(to);
    }
}

/// Writes what `ready` gave. The disk of this world loses nothing that was written.
fn write(node: &mut Node, outputs: &mut Outputs, commit: Index) {
    if let Some(snapshot) = outputs.snapshot.take() {
        let token = snapshot.data.to_vec();
        let state = node.arrived.remove(&token);
        node.set_state(state.expect("its data came first"));
        node.snapshot = node.state.clone();
        let disk = &mut node.disk;
        (disk.snapshot_index, disk.snapshot_term) = (snapshot.index, snapshot.term);
        (disk.applied, disk.membership) = (snapshot.index, snapshot.membership);
        disk.entries.clear();
    }
    let disk = &mut node.disk;
    if let Some(state) = outputs.hard_state {
        (disk.hard_state.term, disk.hard_state.vote) = (state.term, state.vote);
    }
    for entry in outputs.entries.drain(..) {
        disk.entries.retain(|old| old.index < entry.index);
        disk.entries.push(entry);
    }
    disk.hard_state.commit = disk.hard_state.commit.max(commit);
}
