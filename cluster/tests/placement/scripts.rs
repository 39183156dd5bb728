//! Plays the scripts in `tests/scenarios/placement/`. As with the other scenarios, what a command prints stands indented
//! below it and must match; `REWRITE_SCENARIOS=1` rewrites it.
//!
//! | command | does |
//! |---|---|
//! | `cluster SHARDS REPLICAS [ZONE]` | forms a cluster of node 1 |
//! | `join N [ZONE]`, `leave N [force]`, `stay N`, `remove N` | as the commands of the meta group |
//! | `down N`, `up N` | stops and starts a node |
//! | `lost N` | a node comes back without its data |
//! | `taken N M` | node N joins under the address of node M, which is gone |
//! | `pass TICKS` | lets time pass |
//! | `round [times]` | turns of the placement; prints what it decided or did |
//! | `settle` | turns until there is nothing to do; prints how many copies that took |
//! | `show SHARD` | on which nodes the voters and learners of a shard are; `*` leads |
//! | `loads` | for each node how many shards it holds and leads |

use super::model::{node, World};
use super::{script, ROUNDS_MAX};
use ringfort_cluster::placement::Step;
use ringfort_cluster::topology::{Node, META_GROUP};
use ringfort_cluster::{MetaCommand, NodeId, ReplicaId, ShardId};
use std::fmt::Write as _;

#[derive(Default)]
struct Player {
    world: Option<World>,
    printed: String,
}

impl Player {
    fn world(&mut self) -> &mut World {
        self.world.as_mut().expect("`cluster` comes first")
    }

    fn print(&mut self, line: &str) {
        writeln!(self.printed, "  {line}").expect("a string takes everything");
    }

    fn run(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| -> u64 {
            let word = words.get(at).unwrap_or(&"1");
            word.parse().expect("a number")
        };
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        let id = NodeId(if words.len() > 1 && words[0] != "show" {
            number(1).into()
        } else {
            0
        });
        match words[0] {
            "cluster" => {
                let first = node(1, word(3));
                self.world = Some(World::new(number(1) as u32, number(2) as u8, first));
            }
            "join" => self.join(node(id.0, word(2))),
            "taken" => {
                let host = node(number(2).into(), "").host;
                self.world().down.insert(NodeId(number(2).into()));
                self.join(Node {
                    host,
                    ..node(id.0, "")
                });
            }
            "leave" => self.apply(&MetaCommand::Leave {
                node: id,
                force: word(2) == "force",
            }),
            "stay" => self.apply(&MetaCommand::Stay { node: id }),
            "remove" => self.apply(&MetaCommand::Remove { node: id }),
            "down" => assert!(self.world().take_down(id), "{line}: a group would be lost"),
            "up" => assert!(self.world().down.remove(&id), "{line}: it is up"),
            "lost" => assert!(
                self.world().lose_data_of(id),
                "{line}: a group would be lost"
            ),
            "pass" => self.world().pass(number(1)),
            "round" => (0..number(1)).for_each(|_| self.round()),
            "settle" => {
                let before = self.world().tally.copies;
                self.world().settle(ROUNDS_MAX);
                let copies = self.world().tally.copies - before;
                self.print(&format!("{copies} copies"));
            }
            "show" => self.show(if word(1) == "meta" {
                META_GROUP
            } else {
                ShardId(number(1) as u16)
            }),
            "loads" => self.loads(),
            _ => panic!("no such command: {line}"),
        }
    }

    fn apply(&mut self, command: &MetaCommand) {
        match self.world().apply(command) {
            Ok(true) => {}
            Ok(false) => self.print("nothing changed"),
            Err(error) => self.print(&format!("refused: {error}")),
        }
    }

    fn join(&mut self, node: Node) {
        self.apply(&MetaCommand::Join {
            cluster_id: None,
            node,
        });
    }

    fn round(&mut self) {
        let (decided, steps) = self.world().round();
        if decided > 0 {
            self.print(&format!("wishes for {decided} groups"));
        } else if steps.is_empty() {
            self.print("nothing to do");
        }
        for step in steps {
            let line = self.describe(&step);
            self.print(&line);
        }
    }

    fn describe(&mut self, step: &Step) -> String {
        let shard = step.shard();
        let name = if shard == META_GROUP {
            "meta".into()
        } else {
            format!("shard {shard}")
        };
        let place = self.world().topology.place(shard).expect("a group").clone();
        let node = |id: &ReplicaId| place.node_of(*id).map_or(0, |node| node.0);
        let nodes = |ids: &[ReplicaId]| ids.iter().map(node).collect::<Vec<_>>();
        match step {
            Step::Record { changed, .. } => format!("{name}: record change {changed}"),
            Step::AddLearner { node, replica, .. } => {
                format!("{name}: add learner {replica} on node {}", node.0)
            }
            Step::ChangeVoters {
                promote, demote, ..
            } => {
                format!(
                    "{name}: promote {:?} demote {:?}",
                    nodes(promote),
                    nodes(demote)
                )
            }
            Step::Remove { replica, .. } => {
                format!("{name}: remove {replica} from node {}", node(replica))
            }
            Step::TransferLeader { to, .. } => format!("{name}: node {} is to lead", node(to)),
        }
    }

    fn show(&mut self, shard: ShardId) {
        let group = self.world().groups[&shard].clone();
        let place = self.world().topology.place(shard).expect("a group").clone();
        let list = |ids: &[ReplicaId]| {
            let name = |id: &ReplicaId| {
                let held = &place.replicas[id];
                let leads = if group.leader == Some(*id) { "*" } else { "" };
                let lost = if held.lost { "(lost)" } else { "" };
                format!(" {}{leads}{lost}", held.node.0)
            };
            let mut names: Vec<String> = ids.iter().map(name).collect();
            names.sort();
            names.concat()
        };
        let (voters, learners) = (list(&group.members.voters), list(&group.members.learners));
        let learners = if learners.is_empty() {
            learners
        } else {
            format!(" learners{learners}")
        };
        self.print(&format!("voters{voters}{learners}"));
    }

    fn loads(&mut self) {
        for (node, (held, led)) in self.world().loads() {
            self.print(&format!("node {}: holds {held} leads {led}", node.0));
        }
    }
}

#[test]
fn every_script_goes_as_it_is_written() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/placement");
    script::every_file_goes_as_written(directory, || {
        let mut player = Player::default();
        move |line: &str| {
            player.run(line);
            std::mem::take(&mut player.printed)
        }
    });
}
