//! Commands that several shards run side by side, each its part: by their keys, or everywhere. What becomes of the replies is in `fan`.

use crate::commands::{for_each_key, Merge};
use crate::protocol::{OwnedArgs, Proto};

use super::fan::{Collector, Join};
use super::io::ConnKey;
use super::outbox::{Target, Waiter};
use super::router::Question;
use super::worker::Worker;

impl Worker {
    /// Each shard gets the command with its own keys; the replies are merged.
    pub(super) fn by_key(
        &mut self,
        question: &Question,
        conn: ConnKey,
        wanted: bool,
        merge: Merge,
    ) {
        if let Err(text) = check_split(question) {
            return self.answer_error(conn, wanted, &text);
        }
        let mut parts: Vec<(u16, Vec<u32>)> = Vec::new();
        let mut place = 0;
        for_each_key(question.command.command, &question.args, |at, _| {
            let shard = self.shard_of(question.args.at(at));
            match parts.iter_mut().find(|part| part.0 == shard) {
                Some(part) => part.1.push(at as u32),
                None => parts.push((shard, vec![at as u32])),
            }
            place += 1;
        });
        let (first, step) = split_shape(question);
        let join = match merge {
            Merge::InKeyOrder => {
                let key_number = |at: &u32| (*at - first as u32) / step as u32;
                Join::InOrder(
                    parts
                        .iter()
                        .map(|part| part.1.iter().map(key_number).collect())
                        .collect(),
                )
            }
            merge => Join::Merge(merge),
        };
        let collector = self.open_collector(conn, question.proto, wanted, join, parts.len());
        // The parts of one turn share one log record: MSET over shards is atomic, also over a crash.
        self.hold_turn = true;
        for (number, (shard, keys)) in parts.iter().enumerate() {
            let with_values = keys
                .iter()
                .flat_map(|&at| (at as usize..at as usize + step).map(|at| question.args.at(at)));
            let name = (0..first).map(|at| question.args.at(at));
            let args = OwnedArgs::new(name.chain(with_values));
            let part = Question {
                args: args.as_args(),
                ..*question
            };
            self.send(
                &part,
                *shard,
                self.part_target(collector, number, question.proto),
            );
        }
        self.hold_turn = false;
    }

    /// Every shard runs the command; the replies are merged.
    pub(super) fn everywhere(
        &mut self,
        question: &Question,
        conn: ConnKey,
        wanted: bool,
        merge: Merge,
    ) {
        // A cluster client asks every node and adds the answers up.
        let led_only = self.io.led_only;
        let shards: Vec<u16> = (0..self.map.shards())
            .filter(|&shard| !led_only || self.shared.leads(shard))
            .collect();
        if shards.is_empty() {
            return self.no_keys(question, conn, wanted);
        }
        let join = Join::Merge(merge);
        let collector = self.open_collector(conn, question.proto, wanted, join, shards.len());
        self.hold_turn = true;
        for (part, shard) in shards.into_iter().enumerate() {
            self.send(
                question,
                shard,
                self.part_target(collector, part, question.proto),
            );
        }
        self.hold_turn = false;
    }

    fn open_collector(
        &mut self,
        conn: ConnKey,
        proto: Proto,
        wanted: bool,
        join: Join,
        parts: usize,
    ) -> u32 {
        let target = self.io.target(conn, proto, wanted);
        self.io.collect(Collector::new(target, join, parts))
    }

    fn part_target(&self, collector: u32, part: usize, proto: Proto) -> Target {
        Target {
            worker: self.number,
            waiter: Waiter::Part {
                collector,
                part: part as u32,
            },
            proto,
            untouched: self.io.untouched,
        }
    }
}

/// First key and step of a command that splits by key: it has one key specification, a range.
fn split_shape(question: &Question) -> (usize, usize) {
    use crate::commands::{Begin, Find};
    let spec = &question.command.command.keys[0];
    match (spec.begin, spec.find) {
        (Begin::Index(first), Find::Range { step, .. }) => (first, step),
        _ => unreachable!(
            "{} splits by key and has no range of keys",
            question.command.full_name
        ),
    }
}

/// A key without all its arguments (MSET a 1 b) is the command's own arity error.
fn check_split(question: &Question) -> Result<(), String> {
    let (first, step) = split_shape(question);
    match (question.args.len() - first) % step {
        0 => Ok(()),
        _ => Err(crate::commands::wrong_arity(question.command)),
    }
}
