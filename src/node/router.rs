//! Brings a command to its data: a shard here, a shard of another worker, several shards, or none.

use ringfort_cluster::slot_of;

use crate::commands::{
    for_each_key, gate, registry, Call, CommandResult, Flags, KeyFlags, Pause, Registered, Replies,
    Run, Session, Spread,
};
use crate::protocol::{Args, OwnedArgs, Proto, ProtocolError, Reply, Span};

use super::io::{ConnKey, Forwarded, Message};
use super::look_ahead::{step_on, while_running, Step};
use super::outbox::Target;
use super::shard::Shard;
use super::worker::Worker;
use crate::store::hash_key;

/// A command on its way to its data: what stays the same whatever shard it meets.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    pub command: &'static Registered,
    pub args: Args<'a>,
    pub database: u16,
    pub proto: Proto,
}

/// Commands of one connection that are prepared together: enough for look-ups to overlap, few enough for the nearest cache to keep
/// what was fetched for them.
pub const PREPARED_MAX: usize = 24;

/// A command that was looked up, with the look-up of its key under way.
#[derive(Clone, Copy)]
pub struct Prepared {
    /// None where the arguments call no command: [`Worker::dispatch`] says why.
    command: Option<&'static Registered>,
    /// The hash of the one key, if it belongs to a shard of this worker.
    hash: Option<u64>,
    /// The shard of the key of a command that has exactly one.
    shard: Option<u16>,
    /// What the second step of the look-up gave.
    place: Option<u8>,
}

impl Prepared {
    /// Whether CLIENT PAUSE holds the command back. CLIENT itself is let through, so that the pause can be ended.
    pub fn waits_for(&self, pause: Pause) -> bool {
        let Some(command) = self.command else {
            return false;
        };
        let is_client = command.full_name.starts_with("client|");
        !is_client && (!pause.writes_only || command.is_write)
    }
}

/// Where the keys of a command lie.
enum Homes {
    None,
    One(u16),
    Several,
}

impl Worker {
    /// Looks a command up and begins the look-up of its key. `before`: the one before it.
    #[inline]
    pub fn prepare(&self, session: &Session, args: &Args, before: Option<&Prepared>) -> Prepared {
        let guess = before.and_then(|before| before.command);
        let mut prepared = Prepared {
            command: registry().called(args, guess),
            hash: None,
            shard: None,
            place: None,
        };
        let Some(command) = prepared.command else {
            return prepared;
        };
        let Some(key) = command.single_key.and_then(|at| args.get(at)) else {
            return prepared;
        };
        let shard = self.shard_of(key);
        prepared.shard = Some(shard);
        if self.worker_of(shard) == self.number {
            let hash = hash_key(self.hash_seed, key);
            prepared.hash = Some(hash);
            // A write's look-up begins when its shard is applied; until then its memory would be forgotten again.
            if !command.is_write {
                let databases = &self.shards[self.place(shard)].databases;
                databases
                    .keyspace(session.database)
                    .prefetch_directory(hash);
            }
        }
        prepared
    }

    /// Takes the look-ups of reads a step further while the commands of a group are parsed; to be called behind each.
    #[inline]
    pub fn look_ahead(&self, session: &Session, prepared: &mut [Prepared]) {
        let now = prepared.len() - 1;
        step_on(prepared, now, |of, step| self.take(session, of, step));
    }

    /// As [`Worker::look_ahead`], while they run: to be called before each.
    #[inline]
    pub fn look_ahead_running(&self, session: &Session, prepared: &mut [Prepared], at: usize) {
        for now in while_running(prepared.len(), at) {
            step_on(prepared, now, |of, step| self.take(session, of, step));
        }
    }

    #[inline]
    fn take(&self, session: &Session, prepared: &mut Prepared, step: Step) {
        let Some((shard, hash, is_write)) = self.looked_up(prepared) else {
            return;
        };
        // A write's own look-up begins when it is applied; here it joins a turn.
        match (step, is_write) {
            (Step::Place, true) => return shard.expect_write(),
            (Step::Entry, true) => return shard.expect_write_soon(),
            (_, true) => return,
            _ => {}
        }
        let keyspace = shard.databases.keyspace(session.database);
        match step {
            Step::Directory => keyspace.prefetch_directory(hash),
            Step::Segment => keyspace.prefetch_segment(hash),
            Step::Place => prepared.place = keyspace.prefetch_place(hash),
            Step::Entry => {
                if let Some(place) = prepared.place {
                    keyspace.prefetch_entry(hash, place);
                }
            }
        }
    }

    fn looked_up(&self, prepared: &Prepared) -> Option<(&Shard, u64, bool)> {
        let (command, hash) = (prepared.command?, prepared.hash?);
        let shard = &self.shards[self.place(prepared.shard?)];
        Some((shard, hash, command.is_write))
    }

    /// Runs one command of a connection, whose arguments are `spans` of `buf`. Its reply comes to the connection's outbox, now or when the turn ends.
    pub fn dispatch(
        &mut self,
        session: &mut Session,
        conn: ConnKey,
        (buf, spans): (&[u8], &[Span]),
        prepared: Prepared,
    ) {
        // Made anew wherever it is handed on: one copy that all share would have to lie in memory and be fetched from there.
        let args = || Args::new(buf, spans);
        let wanted = session.replies == Replies::On || self.reply_wanted(session, args());
        let command = match prepared.command {
            Some(command) if !command.command.flags.has(Flags::INTERNAL) => command,
            _ => return self.unresolved(session, conn, wanted, args()),
        };
        if let Some(refusal) = gate::refusal(command.command, session, &self.host) {
            self.io.stats.rejected(command.id);
            return self.answer_error(conn, wanted, refusal.text());
        }
        if session.is_cluster {
            if let Some(text) = self.misdirected(command, &args()) {
                let question = Question {
                    command,
                    args: args(),
                    database: session.database,
                    proto: session.proto,
                };
                if session.is_readonly && self.read_at_follower(session, &question, conn, wanted) {
                    return;
                }
                self.io.stats.rejected(command.id);
                return self.answer_error(conn, wanted, &text);
            }
        }
        session.last_command = command.id;
        self.io.untouched = session.no_touch;
        self.io.led_only = session.is_cluster;
        let question = Question {
            command,
            args: args(),
            database: session.database,
            proto: session.proto,
        };
        if !command.runs_on_shards {
            return self.run_here(session, conn, &question, wanted);
        }
        if command.command.flags.has(Flags::DENYOOM) && !self.make_room() {
            self.io.stats.rejected(command.id);
            let text = "OOM command not allowed when used memory > 'maxmemory'.";
            return self.answer_error(conn, wanted, text);
        }
        match prepared.shard {
            Some(shard) => self.one_shard(&question, shard, conn, wanted, prepared.hash),
            None => self.route(&question, conn, wanted),
        }
    }

    /// A command that is none. Words that begin an HTTP request end the connection, as in Redis: a browser must not
    /// be tricked into speaking to us.
    #[cold]
    fn unresolved(&mut self, session: &mut Session, conn: ConnKey, wanted: bool, args: Args) {
        let text = match registry().resolve(&args) {
            Err(text) => text,
            // Ours alone, and not to be told from a command that is none.
            Ok(_) => registry().unknown(&args),
        };
        if [&b"post"[..], b"host:"]
            .iter()
            .any(|word| args.at(0).eq_ignore_ascii_case(word))
        {
            tracing::warn!(
                "client {} speaks HTTP to the Redis port, which may be an attack: closed",
                session.id
            );
            session.close_after_reply = true;
            return;
        }
        self.answer_error(conn, wanted, &text);
    }

    /// CLIENT REPLY: whether this command's reply goes out.
    fn reply_wanted(&self, session: &mut Session, args: Args) -> bool {
        match session.replies {
            Replies::On => true,
            // CLIENT REPLY itself decides afterwards, see `run_here`.
            Replies::Off => false,
            Replies::SkipNext => {
                let is_word = |at, word: &[u8]| {
                    args.get(at)
                        .is_some_and(|arg| arg.eq_ignore_ascii_case(word))
                };
                if !(is_word(0, b"client") && is_word(1, b"reply")) {
                    session.replies = Replies::On;
                }
                false
            }
        }
    }

    fn route(&mut self, question: &Question, conn: ConnKey, wanted: bool) {
        match question.command.command.spread {
            Spread::Everywhere(merge) => return self.everywhere(question, conn, wanted, merge),
            Spread::Cursor => return self.scan(question, conn, wanted),
            Spread::Draw => return self.draw(question, conn, wanted),
            Spread::Together | Spread::ByKey(_) => {}
        }
        match self.homes(question) {
            Homes::One(_) if may_read_more(question) => self.gather(question, conn, wanted),
            Homes::One(shard) => self.its_shard(question, shard, conn, wanted),
            Homes::None => self.no_keys(question, conn, wanted),
            Homes::Several => match question.command.command.spread {
                Spread::ByKey(merge) => self.by_key(question, conn, wanted, merge),
                _ => self.gather(question, conn, wanted),
            },
        }
    }

    #[inline]
    fn homes(&self, question: &Question) -> Homes {
        let mut homes = Homes::None;
        for_each_key(question.command.command, &question.args, |at, _| {
            let shard = self.shard_of(question.args.at(at));
            homes = match homes {
                Homes::None => Homes::One(shard),
                Homes::One(first) if first == shard => Homes::One(shard),
                _ => Homes::Several,
            };
        });
        homes
    }

    /// The shard of a key.
    #[inline]
    pub fn shard_of(&self, key: &[u8]) -> u16 {
        self.map.shard_of(slot_of(key)).0
    }

    #[inline(always)]
    fn one_shard(
        &mut self,
        question: &Question,
        shard: u16,
        conn: ConnKey,
        wanted: bool,
        hash: Option<u64>,
    ) {
        let Some(place) = self.place_here(shard) else {
            let target = self.io.target(conn, question.proto, wanted);
            return self.send(question, shard, target);
        };
        let may_read_now = !question.command.is_write && !self.io.untouched;
        if may_read_now && self.reads_here(place, shard) && !self.io.outbox(conn).is_waiting() {
            return self.read_now(question, place, conn, wanted, hash);
        }
        let target = self.io.target(conn, question.proto, wanted);
        self.ask_at(question, (place, shard), hash, target);
    }

    /// [`Worker::one_shard`] of a command whose key's hash is not known.
    fn its_shard(&mut self, question: &Question, shard: u16, conn: ConnKey, wanted: bool) {
        self.one_shard(question, shard, conn, wanted, None);
    }

    /// Whether a read of a shard of this worker may be answered from what is applied here, now.
    #[inline]
    fn reads_here(&self, place: usize, shard: u16) -> bool {
        let may_read = self.shards[place].may_read(self.monotonic());
        may_read && !self.forwarding.has_waiting(shard)
    }

    /// Whether a command for a shard of this worker may join its turn.
    #[inline(always)]
    fn runs_here(&self, question: &Question, place: usize, shard: u16) -> bool {
        match question.command.is_write {
            true => self.shards[place].leads() && !self.forwarding.has_waiting(shard),
            false => self.reads_here(place, shard),
        }
    }

    /// The shortest way: a read of a local shard whose connection waits for nothing.
    #[inline]
    fn read_now(
        &mut self,
        question: &Question,
        place: usize,
        conn: ConnKey,
        wanted: bool,
        hash: Option<u64>,
    ) {
        let seed = self.rng.next_u64();
        let now = self.now();
        let command = question.command;
        // The output buffer is lent out while the shard writes into it.
        let mut out = std::mem::take(&mut self.io.outbox(conn).out);
        let mark = out.len();
        let shard = &self.shards[place];
        let call = shard.read_call(question.args, question.database, now, seed, question.proto);
        match hash.zip(command.single_key) {
            Some((hash, at)) => {
                shard
                    .databases
                    .keyspace(question.database)
                    .expect_read(call.arg(at), hash, |_| shard.read(command, &call, &mut out))
            }
            None => shard.read(command, &call, &mut out),
        }
        let client = Some((self.number, conn.place));
        self.io.count(command, &question.args, &out[mark..], client);
        if !wanted {
            out.truncate(mark);
        }
        self.io.outbox(conn).out = out;
    }

    /// Sends a command to a shard, wherever it lives. The reply goes to `target`.
    pub(super) fn send(&mut self, question: &Question, shard: u16, target: Target) {
        let to = self.worker_of(shard);
        if to == self.number {
            return self.ask(question, shard, None, target);
        }
        self.hand_over(Forwarded {
            shard,
            database: question.database,
            command: question.command,
            target,
            args: OwnedArgs::copy_of(&question.args),
        });
    }

    /// Gives a command to the worker of its shard.
    pub(super) fn hand_over(&mut self, forwarded: Forwarded) {
        let to = self.worker_of(forwarded.shard);
        if to == self.number {
            return self.run_forwarded(&forwarded);
        }
        self.io.outgoing[usize::from(to)].push(Message::Run(forwarded));
        self.flush_wanted = true;
    }

    /// Adds a command to the turn of a shard of this worker. `hash` is that of its one key, if it is known.
    pub fn ask(&mut self, question: &Question, shard: u16, hash: Option<u64>, target: Target) {
        self.ask_at(question, (self.place(shard), shard), hash, target);
    }

    /// As [`Worker::ask`], where the shard's place is known.
    #[inline(always)]
    fn ask_at(
        &mut self,
        question: &Question,
        (place, shard): (usize, u16),
        hash: Option<u64>,
        target: Target,
    ) {
        if !self.runs_here(question, place, shard) {
            return self.ask_elsewhere(question, shard, target);
        }
        self.join_turn(question, place, hash, target);
    }

    /// Adds a command to the turn of the shard at `place`, which this node leads.
    #[inline(always)]
    pub(super) fn join_turn(
        &mut self,
        question: &Question,
        place: usize,
        hash: Option<u64>,
        target: Target,
    ) {
        let (command, args, database) = (question.command, &question.args, question.database);
        let shard = &mut self.shards[place];
        let was_idle = shard.is_idle();
        let asked = if command.is_write {
            self.io.stats.changes.add(1);
            shard.ask_write(database, args, command, hash, target)
        } else {
            shard.ask_read(database, args, command, target)
        };
        match asked {
            Ok(bytes) => self.mark_dirty(place, was_idle, bytes),
            Err(error) => self.complete_error(target, error.text()),
        }
    }

    /// Runs what another worker's connection asked.
    pub fn run_forwarded(&mut self, forwarded: &Forwarded) {
        let Forwarded {
            shard,
            database,
            command,
            target,
            args,
        } = forwarded;
        if target.worker != self.number && self.forwarding.was_refused(target, *shard) {
            return self.refuse_remote(*target, *shard);
        }
        let question = Question {
            command,
            args: args.as_args(),
            database: *database,
            proto: target.proto,
        };
        if command.command.flags.has(Flags::DENYOOM) && !self.make_room() {
            let text = "OOM command not allowed when used memory > 'maxmemory'.";
            return self.complete_error(*target, text);
        }
        self.ask(&question, *shard, None, *target);
    }

    /// A command whose arguments name no key: it can only fail, or answer for an empty keyspace.
    pub(super) fn no_keys(&mut self, question: &Question, conn: ConnKey, wanted: bool) {
        let mut scratch = self.scratch();
        let mut out = Vec::new();
        let result = self.run_on_scratch(&mut scratch, question, &mut out);
        if let Err(error) = result {
            return self.answer_error(conn, wanted, error.text());
        }
        self.answer(conn, wanted, &out);
    }

    /// Commands on the connection or the node run at once.
    fn run_here(
        &mut self,
        session: &mut Session,
        conn: ConnKey,
        question: &Question,
        wanted: bool,
    ) {
        let (command, args) = (question.command, question.args);
        self.io.settle(); // It may show or forget what was counted.
        if command.command.name == "INFO" {
            self.publish(); // Figures of this moment.
        }
        let call = Call {
            args,
            now: self.now(),
            seed: self.rng.next_u64(),
            database: session.database,
            proto: session.proto,
        };
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, session.proto);
        let result = match command.command.run {
            Run::Session(run) => run(session, &self.host, &call, &mut reply),
            Run::Admin(run) => run(&self.host, &call, &mut reply),
            _ => unreachable!("{} runs on shards", command.full_name),
        };
        if let Err(error) = result {
            reply.rewind(0);
            error.write(&mut reply);
        }
        session.is_changed = true;
        self.io
            .count(command, &args, &out, Some((self.number, conn.place)));
        if session.pending.is_some() {
            return; // The reply comes when the work is done.
        }
        // CLIENT REPLY ON answers although replies were off a moment ago; OFF and SKIP have written nothing.
        let switched_on = session.replies == Replies::On && command.full_name == "client|reply";
        self.answer(conn, wanted || switched_on, &out);
        self.run_host_tasks();
        // The next command of a pipeline behind CONFIG SET runs under the new settings.
        self.spread_changed_settings();
    }

    /// Puts a reply behind those that the connection still waits for.
    pub fn answer(&mut self, conn: ConnKey, wanted: bool, reply: &[u8]) {
        let outbox = self.io.outbox(conn);
        if outbox.is_waiting() {
            let seq = outbox.reserve(wanted);
            outbox.fill(seq, reply);
        } else if wanted {
            outbox.out.extend_from_slice(reply);
        }
    }

    pub fn answer_error(&mut self, conn: ConnKey, wanted: bool, text: &str) {
        let mut out = Vec::new();
        Reply::new(&mut out, Proto::Resp2).error(text);
        self.io.stats.error_reply(&out[1..]);
        self.answer(conn, wanted, &out);
    }

    /// The last reply of a connection.
    pub fn answer_protocol_error(&mut self, conn: ConnKey, error: ProtocolError) {
        let mut out = Vec::new();
        error.write_reply(&mut out);
        self.io.stats.error_reply(&out[1..]);
        self.answer(conn, true, &out);
    }

    pub(super) fn complete_error(&mut self, target: Target, text: &str) {
        let mut out = Vec::new();
        Reply::new(&mut out, target.proto).error(text);
        self.io.stats.error_reply(&out[1..]);
        self.io.complete(target, &out);
    }

    /// Runs a command on a scratch keyspace, whatever kind it is.
    pub(super) fn run_on_scratch(
        &mut self,
        scratch: &mut crate::store::Databases,
        question: &Question,
        out: &mut Vec<u8>,
    ) -> CommandResult {
        let Question {
            command,
            args,
            database,
            proto,
        } = *question;
        let call = Call {
            args,
            now: self.now(),
            seed: self.rng.next_u64(),
            database,
            proto,
        };
        let mut reply = Reply::new(out, proto);
        match command.command.run {
            Run::Read(run) => run(scratch.keyspace(database), &call, &mut reply),
            Run::Write(run) => run(scratch.keyspace_mut(database), &call, &mut reply),
            Run::Databases(run) => run(scratch, &call, &mut reply),
            _ => unreachable!("{} does not run on shards", command.full_name),
        }
    }
}

/// Whether the call reads keys that its arguments do not name: those come from patterns.
#[inline]
fn may_read_more(question: &Question) -> bool {
    question.command.command.more_keys.is_some()
        && question.args.from(2).any(|arg| arg.contains(&b'*'))
}

/// Whether the command may change the key at `at`.
pub(super) fn written_keys(question: &Question) -> Vec<(usize, bool)> {
    let mut keys = Vec::new();
    for_each_key(
        question.command.command,
        &question.args,
        |at, flags: KeyFlags| keys.push((at, flags.writes())),
    );
    keys
}
