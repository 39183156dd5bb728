//! The clients and their minimal router: random commands on few keys, retried only when it is certain that nothing was
//! applied, and what became of them, by key.

use std::collections::BTreeMap;

use ringfort::protocol::OwnedArgs;
use ringfort_cluster::sim::history::CallId;
use ringfort_cluster::sim::{check, Command, History, Micros, Register, Reply, SimRng, Verdict};
use ringfort_cluster::{ShardId, ShardMap};

use crate::context::{Context, Event};
use crate::plan::{Bug, MILLISECOND, SECOND};

/// How long a client waits for one command.
const GIVE_UP_US: Micros = 2 * SECOND;

/// What a command is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Judged with the others on that key.
    Judged(usize, CallId),
    /// Other types and commands: judged by the replicas' digests.
    Noise,
}

/// A command under way or done.
struct Op {
    client: usize,
    args: OwnedArgs,
    shard: ShardId,
    purpose: Purpose,
    attempt: u32,
    /// The node and life that has taken the attempt.
    taken_by: Option<(usize, u64)>,
    /// Sent, and not answered.
    is_out: bool,
    is_done: bool,
    /// At the end it must succeed.
    must_succeed: bool,
    succeeded: bool,
}

/// All clients.
pub struct Clients {
    rng: SimRng,
    keys: Vec<(String, ShardId)>,
    ops: Vec<Op>,
    histories: Vec<History<Command, Reply>>,
    /// Whom each client takes for the leader of a shard.
    hints: BTreeMap<(usize, ShardId), usize>,
    values: u64,
    stopped: bool,
    map: ShardMap,
}

/// What the clients saw, counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub ok: u64,
    pub failed: u64,
    pub unknown: u64,
    pub undecided: u64,
}

impl Clients {
    pub fn new(context: &mut Context) -> Self {
        let map = ShardMap::new(u32::from(context.plan.shards)).expect("a few shards");
        let mut keys: Vec<(String, ShardId)> = Vec::new();
        for number in 0.. {
            if keys.len() >= context.plan.keys.max(usize::from(context.plan.shards)) {
                break;
            }
            let key = format!("key{number}");
            let shard = map.shard_of_key(key.as_bytes());
            // Every shard gets its share, whatever the hash says.
            if usize::from(shard.0) == keys.len() % usize::from(context.plan.shards) {
                keys.push((key, shard));
            }
        }
        Self {
            rng: context.rng.fork(),
            histories: keys.iter().map(|_| History::default()).collect(),
            keys,
            ops: Vec::new(),
            hints: BTreeMap::new(),
            values: 0,
            stopped: false,
            map,
        }
    }

    /// A client thinks of its next command.
    pub fn next(&mut self, client: usize, context: &mut Context) {
        if self.stopped {
            return;
        }
        // Every other client mostly reads: one that waits for a write at a leader that is cut off sees nothing stale.
        let reads = client % 2 == 1 && !self.rng.one_in(10);
        let op = match self.rng.one_in(4) {
            _ if reads => {
                let key = self.rng.index(self.keys.len());
                self.on_key(client, key, Command::Get, context.now())
            }
            true => self.noise(client),
            false => self.judged(client, context.now()),
        };
        self.begin(op, context);
    }

    /// Every key is read once more, and that must succeed.
    pub fn last_reads(&mut self, context: &mut Context) {
        self.stopped = true;
        for key in 0..self.keys.len() {
            let client = context.plan.clients + key;
            let mut op = self.on_key(client, key, Command::Get, context.now());
            op.must_succeed = true;
            self.begin(op, context);
        }
    }

    fn judged(&mut self, client: usize, now: Micros) -> Op {
        let key = self.rng.index(self.keys.len());
        self.values += 1;
        let value: std::rc::Rc<str> = self.values.to_string().into();
        let command = match self.rng.below(14) {
            0..=3 => Command::Get,
            4..=6 => Command::Set(value),
            7 => Command::Del,
            8 | 9 => Command::Incr,
            10 => Command::Append(value),
            11 => Command::SetNx(value),
            12 => Command::GetSet(value),
            _ => Command::GetDel,
        };
        self.on_key(client, key, command, now)
    }

    fn on_key(&mut self, client: usize, key: usize, command: Command, now: Micros) -> Op {
        let (name, shard) = &self.keys[key];
        let args: Vec<&str> = match &command {
            Command::Get => vec!["GET", name],
            Command::Set(value) => vec!["SET", name, value],
            Command::Del => vec!["DEL", name],
            Command::Incr => vec!["INCR", name],
            Command::Append(value) => vec!["APPEND", name, value],
            Command::SetNx(value) => vec!["SETNX", name, value],
            Command::GetSet(value) => vec!["GETSET", name, value],
            Command::GetDel => vec!["GETDEL", name],
        };
        let (args, shard) = (OwnedArgs::new(args), *shard);
        let call = self.histories[key].call(client as u32, command, now);
        new_op(client, args, shard, Purpose::Judged(key, call))
    }

    /// A command whose effect depends on chance, time or order: replicas must still agree.
    fn noise(&mut self, client: usize) -> Op {
        self.values += 1;
        let value = self.values.to_string();
        let tag = self.rng.below(4);
        let name = |kind: &str| format!("{kind}{{{tag}}}");
        let words: Vec<String> = match self.rng.below(14) {
            0 => vec!["RPUSH".into(), name("list"), value],
            1 => vec!["LPOP".into(), name("list")],
            2 | 3 => vec!["SADD".into(), name("set"), value],
            4 => vec!["SPOP".into(), name("set")],
            5 => vec![
                "HSET".into(),
                name("hash"),
                format!("f{}", self.rng.below(9)),
                value,
            ],
            6 => vec!["ZADD".into(), name("zset"), value.clone(), value],
            7 => vec!["ZPOPMIN".into(), name("zset")],
            8 => vec![
                "SET".into(),
                name("mortal"),
                value,
                "PX".into(),
                "300".into(),
            ],
            9 => vec!["PEXPIRE".into(), name("set"), "2000".into()],
            10 => vec!["APPEND".into(), name("mortal"), value],
            11 => vec!["RF.SWEEP".into(), "0".into(), "-1".into()],
            12 => vec![
                "HINCRBYFLOAT".into(),
                name("hash"),
                "g".into(),
                "0.1".into(),
            ],
            _ => vec!["SPOP".into(), name("set"), "2".into()],
        };
        let shard = match words[0].as_str() {
            "RF.SWEEP" => self.keys[self.rng.index(self.keys.len())].1,
            _ => self.map.shard_of_key(words[1].as_bytes()),
        };
        new_op(client, OwnedArgs::new(&words), shard, Purpose::Noise)
    }

    fn begin(&mut self, op: Op, context: &mut Context) {
        let number = self.ops.len() as u32;
        self.ops.push(op);
        context
            .agenda
            .after(GIVE_UP_US, Event::GiveUp { op: number });
        self.send(number, 0, context);
    }

    fn send(&mut self, number: u32, wait: Micros, context: &mut Context) {
        let op = &mut self.ops[number as usize];
        op.attempt += 1;
        op.is_out = true;
        let node = match self.hints.get(&(op.client, op.shard)) {
            Some(&hint) if !self.rng.one_in(10) => hint,
            _ => self.rng.index(context.plan.nodes + context.plan.spares),
        };
        let at = context.now() + wait + context.network.delay();
        let request = Event::Request {
            node,
            op: number,
            attempt: op.attempt,
        };
        context.agenda.at(at, request);
    }

    /// Whether the last reads have their answers.
    pub fn have_all_answers(&self) -> bool {
        self.stopped && !self.ops.iter().any(|op| op.must_succeed && !op.succeeded)
    }

    /// What arrives at a node; none when nobody waits for it any more.
    pub fn arrives(
        &mut self,
        number: u32,
        attempt: u32,
        by: (usize, u64),
    ) -> Option<(&OwnedArgs, ShardId)> {
        let op = &mut self.ops[number as usize];
        // A request that its client has given up still runs: nobody can call it back.
        if op.attempt != attempt {
            return None;
        }
        op.taken_by = Some(by);
        Some((&op.args, op.shard))
    }

    /// A process is gone: what it had taken is unknown.
    pub fn lost(&mut self, by: (usize, u64), context: &mut Context) {
        for (number, op) in self.ops.iter().enumerate() {
            if op.taken_by == Some(by) && op.is_out && !op.is_done {
                let answer = Event::Answer {
                    op: number as u32,
                    attempt: op.attempt,
                    answer: b"-UNKNOWN the connection is lost\r\n".to_vec(),
                };
                context.agenda.after(context.network.delay(), answer);
            }
        }
    }

    pub fn answered(
        &mut self,
        number: u32,
        attempt: u32,
        answer: &[u8],
        node_count: usize,
        context: &mut Context,
    ) -> Result<(), String> {
        let op = &mut self.ops[number as usize];
        if op.is_done || !op.is_out || op.attempt != attempt {
            return Ok(());
        }
        op.is_out = false;
        let key = (op.client, op.shard);
        let taken_by = op.taken_by.take();
        if answer.starts_with(b"-UNKNOWN") {
            self.hints.remove(&key);
            if context.has_bug(Bug::UnknownRepeated) || self.ops[number as usize].must_succeed {
                self.send(number, 5 * MILLISECOND, context);
                return Ok(());
            }
            return self.end(number, context);
        }
        let refusals: [&[u8]; 4] = [b"-NOTLEADER", b"-TRYAGAIN", b"-MISCONF", b"-DOWN"];
        if refusals.iter().any(|start| answer.starts_with(start)) {
            match answer
                .strip_prefix(b"-NOTLEADER ")
                .and_then(|rest| rest.first())
            {
                Some(id @ b'1'..=b'9') => {
                    self.hints.insert(key, usize::from(id - b'1') % node_count);
                }
                _ => drop(self.hints.remove(&key)),
            }
            // Most clients try again; some take no for an answer, and then there must be no phantom of it.
            if self.rng.one_in(8) && !self.ops[number as usize].must_succeed {
                return self.refused(number, context);
            }
            let wait = self.rng.between(1, 40) * MILLISECOND;
            self.send(number, wait, context);
            return Ok(());
        }
        if let Some((node, _)) = taken_by {
            self.hints.insert(key, node);
        }
        self.succeeded(number, answer, context)
    }

    fn succeeded(
        &mut self,
        number: u32,
        answer: &[u8],
        context: &mut Context,
    ) -> Result<(), String> {
        let op = &mut self.ops[number as usize];
        op.succeeded = true;
        if let Purpose::Judged(key, call) = op.purpose {
            let reply = parse(answer).ok_or_else(|| {
                format!("a strange answer: {:?}", String::from_utf8_lossy(answer))
            })?;
            self.histories[key].answered(call, context.now(), reply);
        }
        context.note_bytes(answer);
        self.end(number, context)
    }

    /// The client has waited for long enough.
    pub fn give_up(&mut self, number: u32, context: &mut Context) -> Result<(), String> {
        let op = &mut self.ops[number as usize];
        if op.is_done || op.must_succeed {
            return Ok(());
        }
        // An attempt that no node has taken yet may still be taken.
        match op.is_out {
            true => self.end(number, context),
            false => self.refused(number, context),
        }
    }

    fn refused(&mut self, number: u32, context: &mut Context) -> Result<(), String> {
        if let Purpose::Judged(key, call) = self.ops[number as usize].purpose {
            self.histories[key].failed(call);
        }
        self.end(number, context)
    }

    fn end(&mut self, number: u32, context: &mut Context) -> Result<(), String> {
        let op = &mut self.ops[number as usize];
        op.is_done = true;
        let client = op.client;
        if client < context.plan.clients {
            let think = self.rng.below(context.plan.think_us) + 1;
            context.agenda.after(think, Event::NextOp { client });
        }
        Ok(())
    }

    /// What was not answered that had to be.
    pub fn no_progress(&self) -> Option<String> {
        let mut unanswered = self
            .ops
            .iter()
            .filter(|op| op.must_succeed && !op.succeeded);
        unanswered.next().map(|op| {
            let shard = op.shard;
            format!("no progress: shard {shard} does not answer though all faults are over")
        })
    }

    /// Judges everything.
    pub fn judge(&self, seen: &mut Seen) -> Result<(), String> {
        use ringfort_cluster::sim::Outcome;
        for ((name, _), history) in self.keys.iter().zip(&self.histories) {
            let operations = history.operations();
            for operation in operations {
                match operation.outcome {
                    Outcome::Ok(..) => seen.ok += 1,
                    Outcome::Failed => seen.failed += 1,
                    Outcome::Unknown => seen.unknown += 1,
                }
            }
            match check(&Register, operations) {
                Verdict::Linearizable => {}
                Verdict::Undecided => seen.undecided += 1,
                Verdict::Violation { stuck_at } => {
                    return Err(format!(
                        "{name} is not linearizable; about here:\n{}",
                        around(operations, stuck_at)
                    ));
                }
            }
        }
        Ok(())
    }
}

fn new_op(client: usize, args: OwnedArgs, shard: ShardId, purpose: Purpose) -> Op {
    Op {
        client,
        args,
        shard,
        purpose,
        attempt: 0,
        taken_by: None,
        is_out: false,
        is_done: false,
        must_succeed: false,
        succeeded: false,
    }
}

/// The operations about a place, for people.
fn around(operations: &[ringfort_cluster::sim::Operation<Command, Reply>], place: usize) -> String {
    let from = place.saturating_sub(12);
    let lines = operations.iter().skip(from).take(16).enumerate();
    let lines = lines.map(|(number, operation)| {
        let mark = if from + number == place { ">" } else { " " };
        format!(
            "  {mark} {:>9.3} ms client {} {:?} -> {:?}",
            operation.called as f64 / 1000.0,
            operation.client,
            operation.command,
            operation.outcome
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A reply of RESP2, as far as the commands here give them.
fn parse(answer: &[u8]) -> Option<Reply> {
    let text = std::str::from_utf8(answer).ok()?.strip_suffix("\r\n")?;
    let (kind, rest) = text.split_at_checked(1)?;
    match kind {
        "+" if rest == "OK" => Some(Reply::Ok),
        ":" => rest.parse().ok().map(Reply::Int),
        "$" if rest == "-1" => Some(Reply::Nil),
        "$" => {
            let (_, body) = rest.split_once("\r\n")?;
            Some(Reply::Text(body.into()))
        }
        "-" if rest.contains("not an integer") || rest.contains("overflow") => {
            Some(Reply::NotAnInteger)
        }
        _ => None,
    }
}
