//! The load: what is asked when, to which node it goes, and what becomes of what was refused: it is sent again, to whomever the cluster names,
//! until it is acknowledged or its patience ends.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::spawn_local;
use tokio::time::{sleep, MissedTickBehavior};

use crate::connection::{ask_for_nodes, Connection};
use crate::keys::{Keys, Outcome, What};
use crate::record::Phase;
use crate::slots::{slot, Map, SLOTS};

const STEP: Duration = Duration::from_millis(1);
/// Of the commands of a load: on shared keys, in thousandths.
const SHARED_PER_MILLE: u64 = 20;
/// Commands under way while all keys are filled or read.
const WALK_DEPTH: usize = 1024;
/// Commands that are made up for in one step after the machine let this process not run.
const LATE_MAX: u64 = 50_000;
/// From the first try on: then the command counts as an error.
const PATIENCE_US: u64 = 15_000_000;
const RETRY_US_MIN: u64 = 2_000;
const RETRY_US_MAX: u64 = 50_000;
/// Redirections that are followed at once; further ones after a pause, as other refusals.
const MOVES_MAX: u32 = 5;
/// Between two questions for the list of nodes.
const MAP_PAUSE: Duration = Duration::from_millis(100);

/// A command, until it is acknowledged.
#[derive(Clone, Copy)]
pub struct Operation {
    pub what: What,
    /// When it should have been sent, had nothing been in the way: its time counts from there.
    due_us: u64,
    tries: u32,
    pub sent_us: u64,
    slot: usize,
    number: u64,
}

/// What is asked for now.
#[derive(Clone, Copy, PartialEq)]
pub enum Mode {
    Idle,
    /// So many under way.
    Closed(usize),
    /// A second, since when, and how many were asked since.
    Open(u64, u64, u64),
    Fill,
    Check,
}

/// The connections to one node.
struct Pool {
    connections: Vec<Rc<Connection>>,
    turn: Cell<usize>,
}

pub struct Options {
    pub seed: u64,
    pub keys: usize,
    pub value_bytes: usize,
    pub get_per_mille: u64,
    /// To each node.
    pub connections: usize,
    /// The gap of each is looked at by itself.
    pub shards: usize,
}

pub struct Load {
    start: Instant,
    options: Options,
    /// Nodes that are asked for all others.
    pub seeds: RefCell<Vec<String>>,
    listed: RefCell<BTreeSet<String>>,
    map: RefCell<Map>,
    map_is_wanted: Cell<bool>,
    /// By their numbers in the map.
    pools: RefCell<Vec<Pool>>,
    pub keys: RefCell<Keys>,
    phase: RefCell<Phase>,
    mode: Cell<Mode>,
    /// The next key of a walk over all of them.
    walk: Cell<usize>,
    /// Commands that are not acknowledged yet.
    open: Cell<usize>,
    numbers: Cell<u64>,
    /// To be sent again, and when.
    later: RefCell<Vec<(u64, Operation)>>,
    /// By shard: when it last acknowledged anything.
    answered_us: RefCell<Vec<u64>>,
}

impl Load {
    pub fn new(options: Options) -> Rc<Self> {
        Rc::new(Self {
            start: Instant::now(),
            seeds: RefCell::default(),
            listed: RefCell::default(),
            map: RefCell::default(),
            map_is_wanted: Cell::new(true),
            pools: RefCell::default(),
            keys: RefCell::new(Keys::new(options.keys, options.seed)),
            phase: RefCell::new(Phase::begin("start", 0)),
            mode: Cell::new(Mode::Idle),
            walk: Cell::new(0),
            open: Cell::new(0),
            numbers: Cell::new(0),
            later: RefCell::default(),
            answered_us: RefCell::new(vec![0; options.shards]),
            options,
        })
    }

    pub fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    // ---- asking ------------------------------------------------------------------------------------------

    /// One more command of an even load.
    fn ask(&self, due_us: u64) {
        let mut keys = self.keys.borrow_mut();
        let drawn = keys.draw(1000);
        let what = if drawn < SHARED_PER_MILLE {
            keys.shared()
        } else {
            let Some(key) = keys.take() else { return };
            match drawn < SHARED_PER_MILLE + self.options.get_per_mille {
                true => keys.read(key),
                false => keys.write(key),
            }
        };
        drop(keys);
        self.begin_one(what, due_us);
    }

    fn begin_one(&self, what: What, due_us: u64) {
        self.open.set(self.open.get() + 1);
        self.numbers.set(self.numbers.get() + 1);
        self.dispatch(Operation {
            what,
            due_us,
            tries: 0,
            sent_us: 0,
            slot: slot(&what.name()),
            number: self.numbers.get(),
        });
    }

    /// A command is over: where a number is kept under way, the next one follows.
    fn one_is_over(&self) {
        self.open.set(self.open.get() - 1);
        match self.mode.get() {
            Mode::Closed(_) => self.ask(self.now()),
            Mode::Fill | Mode::Check => self.walk_on(),
            Mode::Idle | Mode::Open(..) => {}
        }
    }

    fn walk_on(&self) {
        let key = self.walk.get();
        let mut keys = self.keys.borrow_mut();
        if key >= keys.count() {
            return;
        }
        self.walk.set(key + 1);
        let what = match self.mode.get() {
            Mode::Fill => keys.write(key as u32),
            _ => keys.read(key as u32),
        };
        drop(keys);
        self.begin_one(what, self.now());
    }

    pub fn begin(&self, mode: Mode) {
        self.mode.set(mode);
        match mode {
            Mode::Closed(depth) => (self.open.get()..depth).for_each(|_| self.ask(self.now())),
            Mode::Fill | Mode::Check => {
                self.walk.set(0);
                (0..WALK_DEPTH).for_each(|_| self.walk_on());
            }
            Mode::Idle | Mode::Open(..) => {}
        }
    }

    /// Asks what is due by now of an even stream.
    fn pour(&self) {
        let Mode::Open(per_second, since, mut asked) = self.mode.get() else {
            return;
        };
        let due = (self.now() - since) * per_second / 1_000_000;
        for _ in 0..due.saturating_sub(asked).min(LATE_MAX) {
            self.ask(since + asked * 1_000_000 / per_second);
            asked += 1;
        }
        self.mode.set(Mode::Open(per_second, since, asked));
    }

    pub async fn until_idle(&self) {
        while self.open.get() > 0 {
            sleep(STEP).await;
        }
    }

    /// Fills or reads every key.
    pub async fn walk_all(&self, mode: Mode) {
        self.begin(Mode::Idle);
        self.until_idle().await;
        self.begin(mode);
        self.until_idle().await;
        self.begin(Mode::Idle);
    }

    /// Begins a phase; gives the report on the one before.
    pub fn next_phase(&self, name: &str) -> String {
        let now = self.now();
        let ended = self.phase.replace(Phase::begin(name, now));
        ended.report(now)
    }

    // ---- sending -----------------------------------------------------------------------------------------

    /// Gives a command to a connection to the node that leads its slot; later, when there is none.
    fn dispatch(&self, operation: Operation) {
        let node = self.map.borrow().node_of(operation.slot);
        let pools = self.pools.borrow();
        let connection = node.and_then(|node| pools.get(node)).and_then(Pool::next);
        let now = self.now();
        match connection {
            Some(connection) => connection.send(operation, now, self.options.value_bytes),
            None => {
                self.ask_for_map();
                self.again(operation, now);
            }
        }
    }

    /// Sends it once more after a pause, unless it was tried for long enough.
    fn again(&self, mut operation: Operation, now: u64) {
        operation.tries += 1;
        if now > operation.due_us + PATIENCE_US {
            self.phase.borrow_mut().gave_up();
            self.keys.borrow_mut().given_up(operation.what);
            return self.one_is_over();
        }
        let pause = (RETRY_US_MIN << operation.tries.min(8)).min(RETRY_US_MAX);
        self.later.borrow_mut().push((now + pause, operation));
    }

    fn send_later_ones(&self) {
        let now = self.now();
        let mut due = Vec::new();
        self.later.borrow_mut().retain(|(at, operation)| {
            if *at <= now {
                due.push(*operation);
            }
            *at > now
        });
        due.into_iter()
            .for_each(|operation| self.dispatch(operation));
    }

    pub fn write_all(&self) {
        let now = self.now();
        for pool in self.pools.borrow().iter() {
            pool.connections.iter().for_each(|one| one.write(now));
        }
    }

    // ---- what comes back ---------------------------------------------------------------------------------

    pub fn answered(&self, operation: Operation, value: Option<&[u8]>, now: u64) {
        let shard = operation.slot * self.options.shards / SLOTS;
        let before = std::mem::replace(&mut self.answered_us.borrow_mut()[shard], now);
        let mut phase = self.phase.borrow_mut();
        phase.answered(now, operation.due_us, before);
        drop(phase);
        let mut keys = self.keys.borrow_mut();
        match operation.what {
            What::Set { key, version } => keys.written(key, version),
            What::Get { key } => keys.seen(key, value),
            What::SharedSet { .. } | What::SharedGet { .. } => {
                let read = value.map(|value| String::from_utf8_lossy(value).parse().unwrap_or(0));
                let outcome = Outcome::Answered(now, read);
                keys.note(operation.number, operation.what, operation.sent_us, outcome);
            }
        }
        drop(keys);
        self.one_is_over();
    }

    pub fn refused(&self, operation: Operation, text: &str, now: u64) {
        let mut words = text.split_whitespace();
        let first = words.next().unwrap_or_default();
        // What says that the command was certainly not applied.
        let definite = [
            "MOVED",
            "TRYAGAIN",
            "CLUSTERDOWN",
            "BUSY",
            "LOADING",
            "MISCONF",
            "OOM",
        ];
        let outcome = match definite.contains(&first) {
            true => Outcome::Refused(now),
            false => Outcome::Unknown,
        };
        let is_unknown = matches!(outcome, Outcome::Unknown);
        self.note(&operation, outcome);
        self.phase.borrow_mut().retried(text);
        if is_unknown && operation.what.is_shared() {
            return self.one_is_over();
        }
        if let (true, Some(address)) = (first == "MOVED", words.nth(1)) {
            self.map.borrow_mut().moved(operation.slot, address);
            self.ask_for_map();
            if operation.tries < MOVES_MAX {
                let tries = operation.tries + 1;
                return self.dispatch(Operation { tries, ..operation });
            }
        }
        self.again(operation, now);
    }

    /// The connection is gone: whether the command was carried out is not known.
    pub fn lost(&self, operation: Operation) {
        self.note(&operation, Outcome::Unknown);
        self.phase.borrow_mut().retried("disconnected");
        if operation.what.is_shared() {
            return self.one_is_over();
        }
        self.again(operation, self.now());
    }

    fn note(&self, operation: &Operation, outcome: Outcome) {
        let (number, what, sent) = (operation.number, operation.what, operation.sent_us);
        self.keys.borrow_mut().note(number, what, sent, outcome);
    }

    // ---- who leads what ----------------------------------------------------------------------------------

    pub fn ask_for_map(&self) {
        self.map_is_wanted.set(true);
    }

    /// Whether the cluster names a node.
    pub fn is_listed(&self, address: &str) -> bool {
        self.listed.borrow().contains(address)
    }

    fn take_up(self: &Rc<Self>, text: &str) {
        let listed = self.map.borrow_mut().take_up(text);
        *self.listed.borrow_mut() = listed;
        self.meet();
    }

    /// Connects to nodes that are new in the map.
    fn meet(self: &Rc<Self>) {
        let nodes = self.map.borrow().nodes.clone();
        let mut pools = self.pools.borrow_mut();
        for (at, node) in nodes.iter().enumerate() {
            let is_gone = |pool: &Pool| {
                pool.connections
                    .iter()
                    .all(|one| Rc::strong_count(one) == 1)
            };
            if pools.get(at).is_some_and(|pool| !is_gone(pool)) {
                continue;
            }
            if at < pools.len() && !self.is_listed(node) {
                continue;
            }
            let connections: Vec<_> = (0..self.options.connections)
                .map(|_| Connection::new(node))
                .collect();
            for connection in &connections {
                spawn_local(connection.clone().run(self.clone()));
            }
            let pool = Pool {
                connections,
                turn: Cell::new(0),
            };
            match pools.get_mut(at) {
                Some(place) => *place = pool,
                None => pools.push(pool),
            }
        }
    }

    /// Keeps the map up to date, when somebody asks for that.
    pub async fn keep_map(self: Rc<Self>) {
        loop {
            if self.map_is_wanted.replace(false) {
                let listed: Vec<String> = self.listed.borrow().iter().cloned().collect();
                let nodes = [self.seeds.borrow().clone(), listed].concat();
                let first = self.keys.borrow_mut().draw(nodes.len() as u64) as usize;
                match ask_for_nodes(&nodes[first % nodes.len()]).await {
                    Some(text) => self.take_up(&text),
                    None => self.ask_for_map(),
                }
            }
            self.meet();
            sleep(MAP_PAUSE).await;
        }
    }

    /// Every millisecond: sends what is due.
    pub async fn keep_pouring(self: Rc<Self>) {
        let mut tick = tokio::time::interval(STEP);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.pour();
            self.send_later_ones();
            self.write_all();
        }
    }
}

impl Pool {
    /// One that is up, each in its turn.
    fn next(&self) -> Option<&Rc<Connection>> {
        let count = self.connections.len();
        let turn = self.turn.replace((self.turn.get() + 1) % count);
        (0..count)
            .map(|step| &self.connections[(turn + step) % count])
            .find(|connection| connection.is_up())
    }
}
