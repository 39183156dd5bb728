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
//! | `show N` | the replica's view of the shard |

use ringfort_cluster::replica::{Config, EntryKind, LogEntry, Message, Outputs, Replica, Restored};
use ringfort_cluster::{Index, ReplicaId, ShardId};
use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Default)]
struct Node {
    replica: Option<Replica>,
    /// What would survive a crash.
    disk: Restored,
    /// What is applied, by index; of it `disk.applied` survives.
    applied: BTreeMap<Index, String>,
    /// What `ready` gave and what `persisted` gave.
    to_write: Option<Outputs>,
    to_apply: Vec<LogEntry>,
}

impl Node {
    fn start(&mut self, id: u64) {
        let mut config = Config::new(ShardId(0), ReplicaId(id));
        config.election_ticks_own = 10 + id as usize;
        let replica = Replica::new(&config, self.disk.clone()).expect("what was written is sound");
        self.replica = Some(replica);
        self.applied.retain(|&index, _| index <= self.disk.applied);
    }

    fn replica(&mut self) -> &mut Replica {
        self.replica.as_mut().expect("the replica runs")
    }

    fn write(&mut self) {
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
        for entry in std::mem::take(&mut self.to_apply) {
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
        disk.entries.retain(|entry| entry.index > applied);
    }
}

fn text(entry: &LogEntry) -> String {
    match entry.kind {
        EntryKind::Empty => "(empty)".into(),
        _ => String::from_utf8_lossy(&entry.data).into_owned(),
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
        self.send(&mut outputs);
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
        self.send(&mut outputs);
        let lines: Vec<String> = self.node(id).to_apply.iter().map(text).collect();
        for line in lines {
            self.print(format_args!("apply {line}"));
        }
    }

    fn turn(&mut self, id: u64) {
        let mut outputs = Outputs::default();
        while self.node(id).replica().ready(&mut outputs) {
            self.send(&mut outputs);
            self.node(id).to_write = Some(std::mem::take(&mut outputs));
            self.node(id).write();
            self.persisted(id);
            self.node(id).apply();
        }
    }

    fn tick(&mut self, id: u64, times: usize) {
        for _ in 0..times {
            self.node(id).replica().tick();
            self.turn(id);
        }
    }

    fn send(&mut self, outputs: &mut Outputs) {
        for message in outputs.messages.drain(..) {
            let kind = format!("{:?}", message.msg_type);
            let refusal = if message.reject { " refused" } else { "" };
            self.print(format_args!(
                "{} -> {} {}{refusal}",
                message.from,
                message.to,
                kind.trim_start_matches("Msg")
            ));
            self.network.push(message);
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
            self.node(to).replica().step(message);
        }
        self.turn(to);
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
                if let Some(replica) = &mut self.node(message.to).replica {
                    replica.step(message);
                }
            }
        }
    }

    fn show(&mut self, id: u64) {
        let node = self.node(id);
        let replica = node.replica.as_ref().expect("the replica runs");
        let leader = replica
            .leader()
            .map_or("nobody".into(), |id| id.to_string());
        let line = format!(
            "term {} leader {leader} last {} committed {} applied {}{}",
            replica.term(),
            replica.last_index(),
            replica.committed(),
            replica.applied_index(),
            if replica.can_read() { " readable" } else { "" },
        );
        let data: Vec<&str> = node.applied.values().map(String::as_str).collect();
        let data = format!("data {}", data.join(" "));
        self.print(format_args!("{line}"));
        self.print(format_args!("{data}"));
    }
}

/// Plays a script and gives it back with what the commands printed this time.
fn play(script: &str) -> String {
    let (mut world, mut played) = (World::default(), String::new());
    for line in script.lines() {
        if line.starts_with("  ") {
            continue;
        }
        played.push_str(line);
        played.push('\n');
        if !line.is_empty() && !line.starts_with('#') {
            world.run(line);
            played.push_str(&std::mem::take(&mut world.printed));
        }
    }
    played
}

#[test]
fn every_scenario_goes_as_it_is_written() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios");
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .expect("the scenarios")
        .map(|file| file.expect("a readable directory").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        println!("playing {}", path.display());
        let script = std::fs::read_to_string(&path).expect("a readable script");
        let played = play(&script);
        if std::env::var_os("REWRITE_SCENARIOS").is_some() {
            std::fs::write(&path, played).expect("a writable script");
            continue;
        }
        for (number, (expected, found)) in script.lines().zip(played.lines()).enumerate() {
            assert_eq!(found, expected, "{}:{}", path.display(), number + 1);
        }
        assert_eq!(
            script.lines().count(),
            played.lines().count(),
            "{}",
            path.display()
        );
    }
}
