//! Reads at followers and learners, for connections of the cluster port that said READONLY: answered here while the replica can prove that
//! its data is no older than `follower-read-staleness-ms`. What proves it is [`ringfort_cluster::Replica::fresh_as_of`]; here it is renewed
//! as long as somebody reads so. Expired keys read as absent by this node's clock, which is never behind that of the last write applied,
//! and are not removed (invariant 3).

use ringfort_cluster::{Monotonic, Slot};

use crate::commands::{Flags, Run, Session};
use crate::protocol::OwnedArgs;

use super::cluster_port::Slots;
use super::io::{ConnKey, Forwarded};
use super::router::Question;
use super::worker::Worker;

/// Replicas are kept fresh for so long after the last such read, or the last READONLY.
const WANTED_US: u64 = 10_000_000;

/// What a worker keeps of this.
#[derive(Default)]
pub(super) struct FollowerReads {
    wanted_until: Monotonic,
}

impl Worker {
    /// Tries to answer a command here that another node's leader would answer. False when that is not possible: nothing was done then.
    pub(super) fn read_at_follower(
        &mut self,
        session: &mut Session,
        question: &Question,
        conn: ConnKey,
        wanted: bool,
    ) -> bool {
        let Some(shard) = self.shard_to_read(question) else {
            return false;
        };
        if self.worker_of(shard) == self.number {
            if !self.may_read_at_follower(shard) {
                return false;
            }
            session.last_command = question.command.id;
            let mut out = Vec::new();
            self.read_what_is_here(question, shard, &mut out);
            let client = Some((self.number, conn.place));
            self.io
                .count(question.command, &question.args, &out, client);
            self.answer(conn, wanted, &out);
            return true;
        }
        session.last_command = question.command.id;
        self.io.untouched = session.no_touch;
        let forwarded = Forwarded {
            shard,
            database: question.database,
            command: question.command,
            target: self.io.target(conn, question.proto, wanted),
            args: OwnedArgs::copy_of(&question.args),
        };
        self.task(self.worker_of(shard), move |there| {
            there.read_for_other_worker(&forwarded);
        });
        true
    }

    /// The shard of all keys of a command that reads nothing else.
    fn shard_to_read(&self, question: &Question) -> Option<u16> {
        let command = question.command;
        let is_plain = matches!(command.command.run, Run::Read(_))
            && !command.command.flags.has(Flags::CLUSTER_LIMITED)
            && command.command.more_keys.is_none();
        if !is_plain || self.live.follower_read_staleness_ms == 0 {
            return None;
        }
        match Slots::of(command, &question.args) {
            Slots::One(slot) => Some(self.map.shard_of(Slot(slot)).0),
            Slots::None | Slots::Several => None,
        }
    }

    /// For a connection of another worker, which has looked at all but the replica.
    fn read_for_other_worker(&mut self, forwarded: &Forwarded) {
        let question = Question {
            command: forwarded.command,
            args: forwarded.args.as_args(),
            database: forwarded.database,
            proto: forwarded.target.proto,
        };
        if self.may_read_at_follower(forwarded.shard) {
            let mut out = Vec::new();
            self.read_what_is_here(&question, forwarded.shard, &mut out);
            self.io.count(question.command, &question.args, &out, None);
            return self.io.complete(forwarded.target, &out);
        }
        match self.misdirected(question.command, &question.args) {
            Some(text) => self.complete_error(forwarded.target, &text),
            // It leads by now.
            None => self.run_forwarded(forwarded),
        }
    }

    fn read_what_is_here(&mut self, question: &Question, shard: u16, out: &mut Vec<u8>) {
        let seed = self.rng.next_u64();
        let (now, shard) = (self.now(), &self.shards[self.place(shard)]);
        let call = shard.read_call(question.args, question.database, now, seed, question.proto);
        shard.read(question.command, &call, out);
    }

    /// Whether what is applied here is as fresh as the setting asks for. Has it kept so.
    fn may_read_at_follower(&mut self, shard: u16) -> bool {
        let (place, now) = (self.place(shard), self.monotonic());
        self.follower_reads.wanted_until = now.plus_us(WANTED_US);
        let bound_us = self.staleness_us();
        let shard = &self.shards[place];
        let is_fresh = shard.standing.is_held && shard.replica.is_fresh(now, bound_us);
        self.renew_freshness(place, now, bound_us);
        is_fresh
    }

    fn staleness_us(&self) -> u64 {
        self.live.follower_read_staleness_ms.saturating_mul(1000)
    }

    /// Asks in time for the next proof to be there when the last one ends.
    fn renew_freshness(&mut self, place: usize, now: Monotonic, bound_us: u64) {
        let standing = &self.shards[place].standing;
        if !standing.is_held || standing.leads || standing.decides_alone {
            return;
        }
        let replica = &mut self.shards[place].replica;
        if !replica.is_fresh(now, bound_us / 2) && replica.ask_how_fresh(now) {
            self.stir(place);
        }
    }

    /// Somebody will read at followers: their proofs are to be there.
    pub(super) fn want_follower_reads(&mut self) {
        let now = self.refresh_monotonic();
        self.follower_reads.wanted_until = now.plus_us(WANTED_US);
        self.keep_followers_fresh(now);
    }

    /// With every tick.
    pub(super) fn keep_followers_fresh(&mut self, now: Monotonic) {
        let bound_us = self.staleness_us();
        if now >= self.follower_reads.wanted_until || bound_us == 0 {
            return;
        }
        for place in 0..self.shards.len() {
            self.renew_freshness(place, now, bound_us);
        }
    }
}
