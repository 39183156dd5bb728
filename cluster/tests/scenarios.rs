//! Plays the scripts in `tests/scenarios/` against real replicas, with disks and a network made of vectors.
//!
//! A script is a list of commands, one a line. What a command prints stands indented below it and must match. After a
//! meant change run the test with `REWRITE_SCENARIOS=1` and read the difference before committing it.
//!
//! | command | does |
//! |---|---|
//! | `group 1 2 3` | starts fresh replicas that are the voters of one shard |
//! | `campaign N`, `tick N [times]` | as the replica's methods; `tick` does a turn after each |
//! | `propose N text` | proposes |
//! | `ready N` | takes what there is to write, prints it, writes nothing |
//! | `write N` | puts what `ready` gave on the disk |
//! | `persisted N` | reports the write and prints what there is to apply |
//! | `apply N` | applies it |
//! | `turn N` | all four until there is nothing more to do |
//! | `deliver A B`, `drop A B` | takes or loses the messages from A to B |
//! | `settle` | turns and deliveries for all until nothing moves |
//! | `snapshot N` | makes what is applied durable and cuts the written log behind it |
//! | `crash N`, `restart N` | forgets all that is not on the disk; starts again from it |
//! | `renew N` | asks for a round that renews the lease |
//! | `transfer N M` | hands the leadership to M |
//! | `change N add 4`, `promote 4`, `demote 3`, `remove 3`, `replace 4 3`, `replace 2,3 -` | proposes a change of the membership |
//! | `join N` | starts a replica that knows nobody |
//! | `carry A B`, `fail A B` | brings the snapshot that A was asked for to B; says that it was lost |
//! | `show N` | the replica's view of the shard |
//!
//! Every replica has a clock of its own, which its ticks alone move on.

mod script;

use ringfort_cluster::replica::{
    Config, EntryKind, LogEntry, Membership, MembershipChange, Message, Outputs, Replica, Restored,
    SnapshotPlace, SnapshotRequest,
};
use ringfort_cluster::{Index, Monotonic, ReplicaId, ShardId};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const TICK_US: u64 = 100_000;

#[derive(Default)]
struct Node {
    replica: Option<Replica>,
    /// What would survive a crash.
    disk: Restored,
    /// What is applied, by index; of it `disk.applied` survives.
    applied: BTreeMap<Index, String>,
    /// What `ready` gave and what `persisted` gave.
    to_write: Option<Outputs>,
    /// Its clock, which stands still but for its ticks.
    now: Monotonic,
    to_apply: Vec<LogEntry>,
    /// Snapshots that it was asked to send.
    requests: Vec<SnapshotRequest>,
    /// What a snapshot under way to it will make of `applied`.
    arriving: BTreeMap<Index, String>,
}

impl Node {
    fn start(&mut self, id: u64) {
        let config = Config {
            tick_us: TICK_US,
            election_ticks: 10,
            election_ticks_own: 10 + id as usize,
            election_jitter_ticks: 0,
            ..Config::new(ShardId(0), ReplicaId(id))
        };
        let replica = Replica::new(&config, self.disk.clone()).expect("what was written is sound");
        self.replica = Some(replica);
        self.applied.retain(|&index, _| index <= self.disk.applied);
    }

    fn replica(&mut self) -> &mut Replica {
        self.replica.as_mut().expect("the replica runs")
    }

    fn step(&mut self, message: Message) {
        let now = self.now;
        self.replica().step(message, now);
    }

    fn write(&mut self) {
        let outputs = self.to_write.as_mut().expect("`ready` comes first");
        if let Some(snapshot) = outputs.snapshot.take() {
            let disk = &mut self.disk;
            (disk.snapshot_index, disk.snapshot_term) = (snapshot.index, snapshot.term);
            (disk.applied, disk.membership) = (snapshot.index, snapshot.membership);
            disk.entries.clear();
            self.applied = std::mem::take(&mut self.arriving);
        }
        let outputs = self.to_write.as_mut().expect("`ready` comes first");
        if let Some(state) = outputs.hard_state {
            self.disk.hard_state = state;
        }
        for entry in outputs.entries.drain(..) {
            self.disk.entries.retain(|old| old.index < entry.index);
            self.disk.entries.push(entry);
        }
        let commit = self.replica().known_commit_if_persisted();
        self.disk.hard_state.commit = commit;
    }

    fn apply(&mut self) {
        let snapshot = self.disk.snapshot_index;
        if self.replica().applied_index() < snapshot {
            self.replica().applied(snapshot);
        }
        for entry in std::mem::take(&mut self.to_apply) {
            if entry.kind == EntryKind::Membership {
                self.replica().apply_membership(&entry).expect("sound");
            }
            let repeated = self.applied.insert(entry.index, text(&entry));
            assert_eq!(repeated, None, "applied twice: {entry:?}");
            self.replica().applied(entry.index);
        }
    }

    fn snapshot(&mut self) {
        let replica = self.replica.as_ref().expect("the replica runs");
        let applied = replica.applied_index();
        let disk = &mut self.disk;
        if let Some(last) = disk.entries.iter().find(|entry| entry.index == applied) {
            (disk.snapshot_index, disk.snapshot_term) = (last.index, last.term);
        }
        disk.applied = applied;
        disk.membership = replica.membership();
        disk.entries.retain(|entry| entry.index > applied);
        let place = SnapshotPlace {
            index: disk.snapshot_index,
            term: disk.snapshot_term,
            membership: disk.membership.clone(),
        };
        self.replica().snapshot_is_durable(place);
    }
}

fn text(entry: &LogEntry) -> String {
    match entry.kind {
        EntryKind::Empty => "(empty)".into(),
        EntryKind::Membership => "(membership)".into(),
        _ => String::from_utf8_lossy(&entry.data).into_owned(),
    }
}

fn members(membership: &Membership) -> String {
    let list = |ids: &[ReplicaId]| {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        ids.join(" ")
    };
    let mut text = format!("voters {}", list(&membership.voters));
    for (name, ids) in [
        ("outgoing", &membership.outgoing),
        ("learners", &membership.learners),
        ("next learners", &membership.learners_next),
    ] {
        if !ids.is_empty() {
            text.push_str(&format!(", {name} {}", list(ids)));
        }
    }
    text
}

fn change(words: &[&str]) -> MembershipChange {
    let id = |word: &str| ReplicaId(word.parse().expect("an id"));
    match *words {
        ["add", who] => MembershipChange::AddLearner(id(who)),
        ["promote", who] => MembershipChange::Promote(id(who)),
        ["demote", who] => MembershipChange::Demote(id(who)),
        ["remove", who] => MembershipChange::Remove(id(who)),
        ["replace", who, whom] => MembershipChange::ChangeVoters {
            promote: who.split(',').map(id).collect(),
            demote: whom
                .split(',')
                .filter(|word| *word != "-")
                .map(id)
                .collect(),
        },
        _ => panic!("no such change: {words:?}"),
    }
}

#[derive(Default)]
struct World {
    nodes: BTreeMap<u64, Node>,
    network: Vec<Message>,
    printed: String,
}

impl World {
    fn run(&mut self, command: &str) {
        let mut words = command.split_whitespace();
        let verb = words.next().expect("a command");
        if verb == "group" {
            return self.group(words.map(|word| word.parse().expect("an id")).collect());
        }
        if verb == "settle" {
            return self.settle();
        }
        let id: u64 = words
            .next()
            .and_then(|word| word.parse().ok())
            .expect("an id");
        let word = words.next().unwrap_or_default();
        match verb {
            "campaign" => self.node(id).replica().campaign(),
            "tick" => self.tick(id, word.parse().unwrap_or(1)),
            "propose" => match self.node(id).replica().propose(word.as_bytes().to_vec()) {
                Ok(()) => {}
                Err(error) => self.print(format_args!("refused: {error}")),
            },
            "ready" => self.ready(id),
            "write" => self.node(id).write(),
            "persisted" => self.persisted(id),
            "apply" => self.node(id).apply(),
            "turn" => self.turn(id),
            "deliver" => self.deliver(id, word.parse().expect("an id")),
            "drop" => {
                let lost = self.take_messages(id, word.parse().expect("an id"));
                self.print(format_args!("{} lost", lost.len()));
            }
            "snapshot" => self.node(id).snapshot(),
            "renew" => {
                let node = self.node(id);
                let now = node.now;
                if !node.replica().renew_lease(now) {
                    self.print(format_args!("no round"));
                }
            }
            "transfer" => {
                let (node, to) = (self.node(id), ReplicaId(word.parse().expect("an id")));
                let now = node.now;
                if let Err(error) = node.replica().transfer_leadership(to, now) {
                    self.print(format_args!("refused: {error}"));
                }
            }
            "change" => {
                let words: Vec<&str> = std::iter::once(word).chain(words).collect();
                if let Err(error) = self.node(id).replica().propose_change(change(&words)) {
                    self.print(format_args!("refused: {error}"));
                }
            }
            "join" => {
                let mut node = Node::default();
                node.start(id);
                self.nodes.insert(id, node);
            }
            "carry" => self.carry(id, word.parse().expect("an id")),
            "fail" => {
                let to = word.parse().expect("an id");
                self.request(id, to);
                self.node(id)
                    .replica()
                    .report_snapshot(ReplicaId(to), false);
                self.turn(id);
            }
            "crash" => {
                let node = self.node(id);
                (node.replica, node.to_write) = (None, None);
                node.to_apply.clear();
                self.network
                    .retain(|message| message.to != id && message.from != id);
            }
            "restart" => self.node(id).start(id),
            "show" => self.show(id),
            _ => panic!("no such command: {verb}"),
        }
    }

    fn group(&mut self, ids: Vec<u64>) {
        for &id in &ids {
            let mut node = Node {
                disk: Restored::fresh(ids.iter().copied().map(ReplicaId)),
                ..Node::default()
            };
            node.start(id);
            self.nodes.insert(id, node);
        }
    }

    fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("a replica of the group")
    }

    fn print(&mut self, line: std::fmt::Arguments) {
        writeln!(self.printed, "  {line}").expect("a string takes everything");
    }

    fn ready(&mut self, id: u64) {
        let mut outputs = Outputs::default();
        if !self.node(id).replica().ready(&mut outputs) {
            return self.print(format_args!("nothing"));
        }
        self.send(id, &mut outputs);
        if let Some(state) = outputs.hard_state {
            self.print(format_args!(
                "write term {} vote {}",
                state.term, state.vote
            ));
        }
        for entry in &outputs.entries {
            let line = format!("write {}@{} {}", entry.index, entry.term, text(entry));
            self.print(format_args!("{line}"));
        }
        let commit = self.node(id).replica().known_commit_if_persisted();
        self.print(format_args!("then commit {commit}"));
        self.node(id).to_write = Some(outputs);
    }

    fn persisted(&mut self, id: u64) {
        let node = self.node(id);
        let mut outputs = node.to_write.take().expect("`ready` comes first");
        node.replica().persisted(&mut outputs);
        node.to_apply.append(&mut outputs.committed);
        self.send(id, &mut outputs);
        let lines: Vec<String> = self.node(id).to_apply.iter().map(text).collect();
        for line in lines {
            self.print(format_args!("apply {line}"));
        }
    }

    fn turn(&mut self, id: u64) {
        let mut outputs = Outputs::default();
        while self.node(id).replica().ready(&mut outputs) {
            self.send(id, &mut outputs);
            self.node(id).to_write = Some(std::mem::take(&mut outputs));
            self.node(id).write();
            self.persisted(id);
            self.node(id).apply();
        }
    }

    fn tick(&mut self, id: u64, times: usize) {
        for _ in 0..times {
            let node = self.node(id);
            node.now = node.now.plus_us(TICK_US);
            let now = node.now;
            node.replica().tick(now);
            self.turn(id);
        }
    }

    fn send(&mut self, id: u64, outputs: &mut Outputs) {
        for request in outputs.snapshot_requests.drain(..) {
            let (to, index) = (request.to, request.place.index);
            self.print(format_args!("{id} -> {to} wants the snapshot at {index}"));
            self.node(id).requests.push(request);
        }
        for message in outputs.messages.drain(..) {
            let kind = format!("{:?}", message.msg_type);
            let refusal = if message.reject { " refused" } else { "" };
            self.print(format_args!(
                "{} -> {} {}{refusal}",
                message.from,
                message.to,
                kind.trim_start_matches("Msg")
            ));
            if self.nodes.contains_key(&message.to) {
                self.network.push(message);
            }
        }
    }

    fn take_messages(&mut self, from: u64, to: u64) -> Vec<Message> {
        let (taken, left) = std::mem::take(&mut self.network)
            .into_iter()
            .partition(|message| message.from == from && message.to == to);
        self.network = left;
        taken
    }

    fn deliver(&mut self, from: u64, to: u64) {
        for message in self.take_messages(from, to) {
            self.node(to).step(message);
        }
        self.turn(to);
    }

    fn request(&mut self, from: u64, to: u64) -> SnapshotRequest {
        let requests = &mut self.node(from).requests;
        let place = requests.iter().position(|request| request.to.get() == to);
        requests.remove(place.expect("a snapshot was asked for"))
    }

    fn carry(&mut self, from: u64, to: u64) {
        let request = self.request(from, to);
        let sender = self.node(from);
        let place = SnapshotPlace {
            index: sender.disk.snapshot_index,
            term: sender.disk.snapshot_term,
            membership: sender.disk.membership.clone(),
        };
        let mut data = sender.applied.clone();
        data.retain(|&index, _| index <= place.index);
        let receiver = self.node(to);
        receiver.arriving = data;
        let now = receiver.now;
        let replica = receiver.replica();
        replica.install(ReplicaId(from), request.term, &place, b"", now);
        self.turn(to);
        self.node(from)
            .replica()
            .report_snapshot(ReplicaId(to), true);
        self.turn(from);
    }

    fn settle(&mut self) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        loop {
            for &id in &ids {
                if self.node(id).replica.is_some() {
                    self.turn(id);
                }
            }
            if self.network.is_empty() {
                return;
            }
            for message in std::mem::take(&mut self.network) {
                let node = self.node(message.to);
                if node.replica.is_some() {
                    node.step(message);
                }
            }
        }
    }

    fn show(&mut self, id: u64) {
        let node = self.node(id);
        let (replica, now) = (node.replica.as_ref().expect("the replica runs"), node.now);
        let leader = replica
            .leader()
            .map_or("nobody".into(), |id| id.to_string());
        let line = format!(
            "term {} leader {leader} last {} committed {} applied {}{}",
            replica.term(),
            replica.last_index(),
            replica.committed(),
            replica.applied_index(),
            if replica.can_read(now) {
                " readable"
            } else {
                ""
            },
        );
        let membership = replica.membership();
        let membership = (membership.epoch.get() > 0).then(|| members(&membership));
        let data: Vec<&str> = node.applied.values().map(String::as_str).collect();
        let data = format!("data {}", data.join(" "));
        self.print(format_args!("{line}"));
        if let Some(membership) = membership {
            self.print(format_args!("{membership}"));
        }
        self.print(format_args!("{data}"));
    }
}

#[test]
fn every_scenario_goes_as_it_is_written() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios");
    script::every_file_goes_as_written(directory, || {
        let mut world = World::default();
        move |line: &str| {
            world.run(line);
            std::mem::take(&mut world.printed)
        }
    });
}
