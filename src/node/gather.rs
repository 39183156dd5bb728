//! Commands whose keys lie in several shards and must be seen together (RENAME, SINTERSTORE, LMOVE ...).
//!
//! The values are gathered in a scratch keyspace, the command's own handler runs there, and what it did to the
//! keys it may write goes back to their shards as effects: one entry a shard. Where all shards live on this
//! worker nothing can come between, and one log record holds all effects: atomic, also over a crash. Across
//! workers each step is a message; other commands may come between them.

use crate::commands::{registry, Call};
use crate::protocol::OwnedArgs;
use crate::store::rdb::put_record;
use crate::store::{Databases, Deadline, Limits, Timestamp, Value};

use super::io::ConnKey;
use super::outbox::{Target, Waiter};
use super::router::{written_keys, Question};
use super::worker::Worker;

/// A key's value on its way to the scratch keyspace.
struct Gathered {
    database: u16,
    key: Vec<u8>,
    value: Value,
    deadline: Option<Timestamp>,
}

/// A change that goes back to a key's shard.
struct Effect {
    shard: u16,
    database: u16,
    args: OwnedArgs,
}

/// A gather across workers, waiting for values.
struct Gather {
    target: Target,
    database: u16,
    command: &'static crate::commands::Registered,
    args: OwnedArgs,
    found: Vec<Gathered>,
    missing: usize,
    round: Round,
}

/// Which keys are gathered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Those that the arguments name.
    Named,
    /// Those that the values of the first tell (SORT's BY and GET).
    Further,
}

impl Worker {
    /// An empty scratch keyspace.
    pub(super) fn scratch(&self) -> Databases {
        let (count, limits) = self
            .shards
            .first()
            .map_or((16, Limits::default()), |shard| {
                (shard.databases.count(), *shard.databases.limits())
            });
        Databases::new(count, (0, 0), limits)
    }

    pub(super) fn gather(&mut self, question: Question, conn: ConnKey, wanted: bool) {
        let target = self.io.target(conn, question.proto, wanted);
        let named = written_keys(&question).into_iter();
        let keys = named.map(|(at, _)| question.args.at(at).to_vec()).collect();
        self.gather_keys(question, keys, Vec::new(), Round::Named, target);
    }

    /// Adds the keys' values to `found` and goes on, at once where all of them are here.
    fn gather_keys(
        &mut self,
        question: Question,
        keys: Vec<Vec<u8>>,
        mut found: Vec<Gathered>,
        round: Round,
        target: Target,
    ) {
        let mut by_worker: Vec<(u16, Vec<Vec<u8>>)> = Vec::new();
        for key in keys {
            let worker = self.worker_of(self.shard_of(&key));
            match by_worker.iter_mut().find(|(of, _)| *of == worker) {
                Some((_, keys)) => keys.push(key),
                None => by_worker.push((worker, vec![key])),
            }
        }
        if let [(worker, keys)] = &by_worker[..] {
            if *worker == self.number {
                found.extend(self.fetch(keys, question.database, spans_databases(&question)));
                return self.have_gathered(&question, found, round, target);
            }
        }
        let gather = Gather {
            target,
            database: question.database,
            command: question.command,
            args: OwnedArgs::new(question.args.from(0)),
            found,
            missing: by_worker.len(),
            round,
        };
        self.gather_from(gather, by_worker);
    }

    /// Asks each worker for its keys and goes on when the last has answered.
    fn gather_from(&mut self, gather: Gather, by_worker: Vec<(u16, Vec<Vec<u8>>)>) {
        let (home, database) = (self.number, gather.database);
        let all = matches!(
            gather.command.command.run,
            crate::commands::Run::Databases(_)
        );
        let number = self.gathers.insert(gather);
        for (worker, keys) in by_worker {
            self.task(worker, move |there| {
                let found = there.fetch(&keys, database, all);
                there.task(home, move |back| back.gathered(number, found));
            });
        }
    }

    fn gathered(&mut self, number: usize, found: Vec<Gathered>) {
        let gather = self.gathers.get_mut(number);
        gather.found.extend(found);
        gather.missing -= 1;
        if gather.missing > 0 {
            return;
        }
        let gather = self.gathers.remove(number);
        let Gather {
            target,
            database,
            command,
            args,
            found,
            round,
            ..
        } = gather;
        let question = Question {
            command,
            args: args.as_args(),
            database,
            proto: target.proto,
        };
        self.have_gathered(&question, found, round, target);
    }

    /// The command runs, unless the values say that it reads further keys.
    fn have_gathered(
        &mut self,
        question: &Question,
        found: Vec<Gathered>,
        round: Round,
        target: Target,
    ) {
        let further = match round {
            Round::Named => self.further_keys(question, &found),
            Round::Further => Vec::new(),
        };
        match further.is_empty() {
            true => self.run_gathered(question, found, target),
            false => self.gather_keys(*question, further, found, Round::Further, target),
        }
    }

    fn further_keys(&mut self, question: &Question, found: &[Gathered]) -> Vec<Vec<u8>> {
        let Some(more_keys) = question.command.command.more_keys else {
            return Vec::new();
        };
        let mut scratch = self.scratch();
        let now = self.now();
        for Gathered {
            database,
            key,
            value,
            ..
        } in found
        {
            scratch
                .keyspace_mut(*database)
                .set(key, value.clone(), Deadline::None, now);
        }
        let Question {
            args,
            database,
            proto,
            ..
        } = *question;
        let bulk_len_max = scratch.limits().bulk_len_max as usize;
        let call = Call {
            args,
            now,
            seed: 0,
            database,
            bulk_len_max,
            proto,
        };
        // Where the call is wrong its handler says so.
        let mut keys = more_keys(scratch.keyspace(database), &call).unwrap_or_default();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Copies of the keys' values as of all that this worker was asked before.
    fn fetch(&mut self, keys: &[Vec<u8>], database: u16, all_databases: bool) -> Vec<Gathered> {
        self.flush();
        let now = self.now();
        let mut found = Vec::new();
        for key in keys {
            let shard = &self.shards[self.place(self.shard_of(key))];
            let now = shard.read_clock(now);
            let databases = if all_databases {
                0..shard.databases.count() as u16
            } else {
                database..database + 1
            };
            for database in databases {
                let keyspace = shard.databases.keyspace(database);
                if let Some(value) = keyspace.get(key, now) {
                    let deadline = keyspace.deadline(key, now).flatten();
                    found.push(Gathered {
                        database,
                        key: key.clone(),
                        value: value.to_value(),
                        deadline,
                    });
                }
            }
        }
        found
    }

    fn run_gathered(&mut self, question: &Question, found: Vec<Gathered>, target: Target) {
        let started = self.io.ticks.raw();
        let now = self.now();
        let mut scratch = self.scratch();
        let mut before: Vec<(u16, Vec<u8>, Vec<u8>)> = Vec::new();
        let writes = question.command.command.is_write();
        for Gathered {
            database,
            key,
            value,
            deadline,
        } in found
        {
            if writes {
                before.push((database, key.clone(), image(value.as_value_ref(), deadline)));
            }
            let until = deadline.map_or(Deadline::None, Deadline::At);
            scratch.keyspace_mut(database).set(&key, value, until, now);
        }
        let mut out = Vec::new();
        if let Err(error) = self.run_on_scratch(&mut scratch, question, &mut out) {
            return self.complete_error(target, error.text());
        }
        self.io
            .count(question.command, &question.args, started, &out, None);
        if !writes {
            return self.io.complete(target, &out);
        }
        let effects = self.effects(question, &scratch, &before, now);
        self.carry_out(effects, target, out);
    }

    /// What the command did to the keys that it may write.
    fn effects(
        &self,
        question: &Question,
        scratch: &Databases,
        before: &[(u16, Vec<u8>, Vec<u8>)],
        now: Timestamp,
    ) -> Vec<Effect> {
        let databases = match spans_databases(question) {
            true => 0..scratch.count() as u16,
            false => question.database..question.database + 1,
        };
        let mut effects = Vec::new();
        let mut done: Vec<&[u8]> = Vec::new();
        for (at, _) in written_keys(question)
            .into_iter()
            .filter(|(_, written)| *written)
        {
            let key = question.args.at(at);
            if done.contains(&key) {
                continue;
            }
            done.push(key);
            for database in databases.clone() {
                let keyspace = scratch.keyspace(database);
                let old = before
                    .iter()
                    .find(|(of, name, _)| *of == database && name == key);
                let shard = self.shard_of(key);
                let args = match keyspace.peek(key, now) {
                    Some(value) => {
                        let deadline = keyspace.deadline(key, now).flatten();
                        let image = image(value, deadline);
                        if old.is_some_and(|(_, _, old)| *old == image) {
                            continue;
                        }
                        OwnedArgs::new([&b"RF.PUT"[..], key, &image])
                    }
                    None if old.is_some() => OwnedArgs::new([&b"RF.REMOVE"[..], key]),
                    None => continue,
                };
                effects.push(Effect {
                    shard,
                    database,
                    args,
                });
            }
        }
        effects
    }

    /// Proposes the effects and answers when they are applied.
    fn carry_out(&mut self, effects: Vec<Effect>, target: Target, reply: Vec<u8>) {
        if effects
            .iter()
            .all(|effect| self.worker_of(effect.shard) == self.number)
        {
            self.hold_turn = true;
            effects
                .iter()
                .for_each(|effect| self.propose_effect(effect));
            self.hold_turn = false;
            // Nothing was asked since the values were fetched, and nothing is before the flush.
            if self.flush() {
                return self.io.complete(target, &reply);
            }
            let text = self.write_error.clone().unwrap_or_default();
            return self.complete_error(target, &text);
        }
        let mut by_worker: Vec<(u16, Vec<Effect>)> = Vec::new();
        for effect in effects {
            let worker = self.worker_of(effect.shard);
            match by_worker.iter_mut().find(|(of, _)| *of == worker) {
                Some((_, effects)) => effects.push(effect),
                None => by_worker.push((worker, vec![effect])),
            }
        }
        let collector =
            super::fan::Collector::new(target, super::fan::Join::First(reply), by_worker.len());
        let number = self.io.collect(collector);
        let home = self.number;
        for (part, (worker, effects)) in by_worker.into_iter().enumerate() {
            let waiter = Waiter::Part {
                collector: number,
                part: part as u32,
            };
            self.task(worker, move |there| {
                effects
                    .iter()
                    .for_each(|effect| there.propose_effect(effect));
                let target = Target {
                    worker: home,
                    waiter,
                    ..target
                };
                match there.flush() {
                    true => there.io.complete(target, b"+OK\r\n"),
                    false => {
                        there.complete_error(target, &there.write_error.clone().unwrap_or_default())
                    }
                }
            });
        }
    }

    fn propose_effect(&mut self, effect: &Effect) {
        let args = effect.args.as_args();
        let command = registry()
            .find(args.at(0))
            .expect("internal commands are declared");
        let question = Question {
            command,
            args,
            database: effect.database,
            proto: Target::NOBODY.proto,
        };
        self.ask(question, effect.shard, Target::NOBODY);
    }
}

/// Deadline and value in one: what RF.PUT carries.
fn image(value: crate::store::ValueRef<'_>, deadline: Option<Timestamp>) -> Vec<u8> {
    let mut image = Vec::new();
    put_record(0, &[], deadline, value, &mut image);
    image
}

/// Whether the command reaches databases other than the selected one.
fn spans_databases(question: &Question) -> bool {
    matches!(
        question.command.command.run,
        crate::commands::Run::Databases(_)
    )
}

/// Gathers under way, by number.
#[derive(Default)]
pub(super) struct Gathers {
    running: Vec<Option<Gather>>,
}

impl Gathers {
    fn insert(&mut self, gather: Gather) -> usize {
        let free = self
            .running
            .iter()
            .position(Option::is_none)
            .unwrap_or_else(|| {
                self.running.push(None);
                self.running.len() - 1
            });
        self.running[free] = Some(gather);
        free
    }

    fn get_mut(&mut self, number: usize) -> &mut Gather {
        self.running[number].as_mut().expect("a gather ends once")
    }

    fn remove(&mut self, number: usize) -> Gather {
        self.running[number].take().expect("a gather ends once")
    }
}
