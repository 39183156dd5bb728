//! Commands whose keys lie in several shards and must be seen together (RENAME, SINTERSTORE, LMOVE ...).
//!
//! The values are gathered in a scratch keyspace, the command's own handler runs there, and what it did to the
//! keys it may write goes back to their shards as effects: one entry a shard. Where all shards live on this
//! worker nothing can come between, and one log record holds all effects: atomic, also over a crash. Where
//! they live on several workers, those stand still meanwhile (`guests.rs`): no other command comes between, but
//! each worker writes its own record, so a crash in the midst may keep one half.

use crate::commands::{put_args, registry, Call};
use crate::protocol::OwnedArgs;
use crate::store::rdb::put_record;
use crate::store::{Databases, Held, Limits, StringForm, Timestamp, ValueRef};

use super::guests::Guests;
use super::io::ConnKey;
use super::outbox::Target;
use super::router::{written_keys, Question};
use super::worker::Worker;

/// A key's value on its way to the scratch keyspace.
pub(super) struct Gathered {
    database: u16,
    key: Vec<u8>,
    held: Held,
}

/// Where keys are gathered, and for whom.
#[derive(Clone, Copy)]
pub(super) struct Scope {
    database: u16,
    all_databases: bool,
    /// The looks leave no mark of use (CLIENT NO-TOUCH).
    untouched: bool,
}

/// A change that goes back to a key's shard.
pub(super) struct Effect {
    shard: u16,
    database: u16,
    args: OwnedArgs,
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

    pub(super) fn gather(&mut self, question: &Question, conn: ConnKey, wanted: bool) {
        let target = self.io.target(conn, question.proto, wanted);
        let keys: Vec<Vec<u8>> = written_keys(question)
            .into_iter()
            .map(|(at, _)| question.args.at(at).to_vec())
            .collect();
        // Effects would have to wait for other nodes, and leaders of several nodes to stand still.
        let decided_here = |key: &Vec<u8>| self.shared.decides_alone(self.shard_of(key));
        if !keys.iter().all(decided_here) {
            let text = format!("ERR the keys of '{}' lie in several shards, which this version runs on a cluster of one node only; give them one {{hash tag}}", question.command.full_name);
            return self.complete_error(target, &text);
        }
        let home = self.worker_of(self.shard_of(&keys[0]));
        let together = keys
            .iter()
            .all(|key| self.worker_of(self.shard_of(key)) == home);
        // A command that may turn to further keys waits for its turn to gather, which a forwarded one must not:
        // what this connection sends behind it would overtake it there.
        let may_go_on = question.command.command.more_keys.is_some();
        if !together || home == self.number || may_go_on {
            return self.gather_here(question, keys, target);
        }
        // All keys live on one other worker: there they are one turn and one record.
        let args = OwnedArgs::new(question.args.from(0));
        let Question {
            command,
            database,
            proto,
            ..
        } = *question;
        self.task(home, move |there| {
            let question = Question {
                command,
                args: args.as_args(),
                database,
                proto,
            };
            there.gather_here(&question, keys, target);
            there.flush_wanted = true;
        });
    }

    fn gather_here(&mut self, question: &Question, mut keys: Vec<Vec<u8>>, target: Target) {
        let shared = self.shared.clone();
        let mut lock = None;
        let mut guests = Guests::default();
        let named = keys.len();
        let scope = Scope {
            database: question.database,
            all_databases: spans_databases(question),
            untouched: target.untouched,
        };
        let found = loop {
            let elsewhere = keys
                .iter()
                .any(|key| self.worker_of(self.shard_of(key)) != self.number);
            if elsewhere && lock.is_none() {
                lock = Some(self.lock_gathers(&shared));
            }
            let found = match self.fetch_all(&keys, scope, &mut guests) {
                Ok(found) => found,
                Err(error) => return self.complete_error(target, &error),
            };
            // Values that name further keys are read again with them: others may have been at work while
            // this worker waited for its turn to gather.
            let further = self.further_keys(question, &found);
            if keys.len() > named || further.is_empty() {
                break found;
            }
            keys.extend(further);
        };
        self.run_gathered(question, found, &mut guests, target);
    }

    /// The values of keys here and on other workers, which stand still from then on.
    fn fetch_all(
        &mut self,
        keys: &[Vec<u8>],
        scope: Scope,
        guests: &mut Guests,
    ) -> Result<Vec<Gathered>, String> {
        let mut by_worker: Vec<(u16, Vec<Vec<u8>>)> = Vec::new();
        for key in keys {
            let worker = self.worker_of(self.shard_of(key));
            match by_worker.iter_mut().find(|(of, _)| *of == worker) {
                Some((_, keys)) => keys.push(key.clone()),
                None => by_worker.push((worker, vec![key.clone()])),
            }
        }
        // What this connection sent to those workers before has to be there before they stand still.
        self.flush();
        let mut found = Vec::new();
        for (worker, keys) in by_worker {
            found.extend(match worker == self.number {
                true => self.fetch(&keys, scope),
                false => guests.fetch(self, worker, keys, scope)?,
            });
        }
        Ok(found)
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
            held,
        } in found
        {
            let keyspace = scratch.keyspace_mut(*database);
            keyspace.set_held(key, held.clone(), now);
        }
        let Question {
            args,
            database,
            proto,
            ..
        } = *question;
        let call = Call {
            args,
            now,
            seed: 0,
            database,
            proto,
        };
        // Where the call is wrong its handler says so.
        let mut keys = more_keys(scratch.keyspace(database), &call).unwrap_or_default();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Copies of the keys' values as of all that this worker was asked before.
    pub(super) fn fetch(&mut self, keys: &[Vec<u8>], scope: Scope) -> Vec<Gathered> {
        self.flush();
        let now = self.now();
        let mut found = Vec::new();
        for key in keys {
            let shard = &self.shards[self.place(self.shard_of(key))];
            let now = shard.read_clock(now);
            let databases = if scope.all_databases {
                0..shard.databases.count() as u16
            } else {
                scope.database..scope.database + 1
            };
            for database in databases {
                let keyspace = shard.databases.keyspace(database);
                if let Some(held) = keyspace.held(key, now) {
                    if !scope.untouched {
                        keyspace.mark_used(key, now);
                    }
                    found.push(Gathered {
                        database,
                        key: key.clone(),
                        held,
                    });
                }
            }
        }
        found
    }

    fn run_gathered(
        &mut self,
        question: &Question,
        found: Vec<Gathered>,
        guests: &mut Guests,
        target: Target,
    ) {
        self.io.start_clock();
        let now = self.now();
        let mut scratch = self.scratch();
        let mut before: Vec<(u16, Vec<u8>, Image)> = Vec::new();
        let writes = question.command.command.is_write();
        for Gathered {
            database,
            key,
            held,
        } in found
        {
            if writes {
                let value = held.value.as_value_ref();
                let image = Image::new(value, held.deadline, held.form);
                before.push((database, key.clone(), image));
            }
            let keyspace = scratch.keyspace_mut(database);
            keyspace.set_held(&key, held, now);
        }
        let mut out = Vec::new();
        let result = self.run_on_scratch(&mut scratch, question, &mut out);
        self.count_looks(&mut scratch);
        if let Err(error) = result {
            return self.complete_error(target, error.text());
        }
        self.io.count(question.command, &question.args, &out, None);
        if !writes {
            return self.io.complete(target, &out);
        }
        let effects = self.effects(question, &scratch, &before, now);
        match self.carry_out(effects, guests) {
            Ok(()) => self.io.complete(target, &out),
            Err(error) => self.complete_error(target, &error),
        }
    }

    /// Hits and misses are what the command looked up, not what was gathered for it.
    fn count_looks(&self, scratch: &mut Databases) {
        for keyspace in scratch.iter_mut() {
            let (hits, misses, _) = keyspace.take_counts();
            self.io.stats.keyspace_hits.add(hits);
            self.io.stats.keyspace_misses.add(misses);
        }
    }

    /// What the command did to the keys that it may write.
    fn effects(
        &self,
        question: &Question,
        scratch: &Databases,
        before: &[(u16, Vec<u8>, Image)],
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
                        let form = keyspace.string_form(key, now);
                        let image = Image::new(value, deadline, form.expect("just found"));
                        if old.is_some_and(|(_, _, old)| *old == image) {
                            continue;
                        }
                        put_args(key, &image.record, image.form)
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

    /// Has the effects applied, here and on the workers that stand still for it.
    fn carry_out(&mut self, effects: Vec<Effect>, guests: &mut Guests) -> Result<(), String> {
        let mut by_worker: Vec<(u16, Vec<Effect>)> = Vec::new();
        for effect in effects {
            let worker = self.worker_of(effect.shard);
            match by_worker.iter_mut().find(|(of, _)| *of == worker) {
                Some((_, effects)) => effects.push(effect),
                None => by_worker.push((worker, vec![effect])),
            }
        }
        for (worker, effects) in by_worker {
            match worker == self.number {
                true => self.apply_effects(&effects)?,
                false => guests.apply(worker, effects)?,
            }
        }
        Ok(())
    }

    /// Has effects on shards of this worker applied, in one record of the log.
    pub(super) fn apply_effects(&mut self, effects: &[Effect]) -> Result<(), String> {
        self.hold_turn = true;
        effects
            .iter()
            .for_each(|effect| self.propose_effect(effect));
        self.hold_turn = false;
        match self.flush() {
            true => Ok(()),
            false => Err(self.write_error.clone().unwrap_or_default()),
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
        self.ask(&question, effect.shard, None, Target::NOBODY);
    }
}

/// All that RF.PUT carries of a key.
#[derive(PartialEq, Eq)]
struct Image {
    /// Deadline and value.
    record: Vec<u8>,
    form: StringForm,
}

impl Image {
    fn new(value: ValueRef<'_>, deadline: Option<Timestamp>, form: StringForm) -> Self {
        let mut record = Vec::new();
        put_record(0, &[], deadline, value, &mut record);
        Self { record, form }
    }
}

/// Whether the command reaches databases other than the selected one.
fn spans_databases(question: &Question) -> bool {
    matches!(
        question.command.command.run,
        crate::commands::Run::Databases(_)
    )
}
