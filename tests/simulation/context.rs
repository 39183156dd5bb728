//! What all parts of a run share: the agenda, the network, chance, the oracle, and the trace that makes two runs comparable.

use std::collections::BTreeMap;
use std::rc::Rc;

use ringfort::store::Databases;
use ringfort_cluster::replica::wire::Envelope;
use ringfort_cluster::replica::Message;
use ringfort_cluster::sim::rng::mix;
use ringfort_cluster::sim::{Agenda, Micros, Network, SimRng};
use ringfort_cluster::NodeId;

use crate::cluster::{machine_of, Word};
use crate::losses::Losses;
use crate::oracle::{sum, Oracle};
use crate::plan::{Bug, Fault, Plan};

/// What happens.
pub enum Event {
    Tick {
        node: usize,
        life: u64,
    },
    /// A worker has something to do.
    Turn {
        node: usize,
        life: u64,
        worker: usize,
    },
    /// The disk has done what a worker waits for.
    Written {
        node: usize,
        life: u64,
        worker: usize,
    },
    SyncAll {
        node: usize,
        life: u64,
    },
    /// A message from replica to replica.
    Deliver {
        from: NodeId,
        to: NodeId,
        envelope: Envelope,
        message: Box<Message>,
    },
    /// What nodes say to each other about the cluster.
    Say {
        to: NodeId,
        word: Rc<Word>,
    },
    /// A node reports, and does what the leader of the meta group does.
    Govern {
        node: usize,
        life: u64,
    },
    /// Whoever runs the cluster looks after it.
    Operate,
    /// A machine gets a new disk and becomes a new node.
    Rebuild {
        node: usize,
    },
    Request {
        node: usize,
        op: u32,
        attempt: u32,
    },
    Answer {
        op: u32,
        attempt: u32,
        answer: Vec<u8>,
    },
    NextOp {
        client: usize,
    },
    GiveUp {
        op: u32,
    },
    Fault,
    /// A node is cut off while it does something that must not be interrupted.
    CutOff {
        node: usize,
    },
    /// Some nodes, a bit each, are cut off from the others.
    Split {
        nodes: u32,
    },
    /// The partition, the bad network, the full disk or the slow disk is over.
    Relief {
        what: Fault,
        node: usize,
    },
    Restart {
        node: usize,
    },
    Calm,
    /// Clients ask for every key once more.
    LastReads,
    /// Looks whether everything has come to rest.
    End,
}

/// A snapshot on its way from one node to another.
pub struct Transfer {
    pub meta: ringfort::durability::SnapshotMeta,
    pub records: Vec<u8>,
}

/// Shared by all parts of a run.
pub struct Context {
    pub plan: Plan,
    pub agenda: Agenda<Event>,
    pub network: Network,
    pub rng: SimRng,
    pub oracle: Oracle,
    pub transfers: Vec<Rc<Transfer>>,
    pub counts: BTreeMap<Fault, u64>,
    /// Faults have stopped.
    pub calm: bool,
    /// Since when.
    pub calm_at: Micros,
    pub events: u64,
    pub snapshots: u64,
    pub snapshots_sent: u64,
    pub restarts: u64,
    pub refused_starts: u64,
    /// What is gone, and what must not be lost therefore.
    pub losses: Losses,
    /// Replicas that began after the cluster did.
    pub newcomers: u64,
    /// Messages that were meant for a replica that is not there.
    pub strays: u64,
    /// Reads under a lease.
    pub lease_reads: u64,
    trace: u64,
    /// The last lines of the story, when somebody wants to read it.
    pub story: Option<Vec<String>>,
}

impl Context {
    pub fn new(plan: Plan, nodes: usize) -> Self {
        let mut rng = SimRng::new(plan.seed);
        let network = Network::new(nodes, rng.fork());
        Self {
            agenda: Agenda::default(),
            network,
            rng,
            oracle: Oracle::default(),
            transfers: Vec::new(),
            counts: BTreeMap::new(),
            calm: false,
            calm_at: 0,
            events: 0,
            snapshots: 0,
            snapshots_sent: 0,
            restarts: 0,
            refused_starts: 0,
            losses: Losses::default(),
            newcomers: 0,
            lease_reads: 0,
            strays: 0,
            trace: plan.seed,
            story: None,
            plan,
        }
    }

    pub fn now(&self) -> Micros {
        self.agenda.now()
    }

    pub fn has_bug(&self, bug: Bug) -> bool {
        self.plan.bug == Some(bug)
    }

    /// Adds to the trace.
    pub fn note(&mut self, number: u64) {
        self.trace = mix(self.trace ^ number).wrapping_add(1);
    }

    pub fn note_bytes(&mut self, bytes: &[u8]) {
        self.note(sum(bytes));
    }

    pub fn trace(&self) -> u64 {
        self.trace
    }

    pub fn count(&mut self, fault: Fault) {
        *self.counts.entry(fault).or_default() += 1;
    }

    /// Adds a line to the story, if it is told.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        let now = self.agenda.now();
        if let Some(story) = &mut self.story {
            story.push(format!("{:>9.3} ms  {}", now as f64 / 1000.0, line()));
        }
    }

    /// Gives a replica's message to the network.
    pub fn send(&mut self, (from, to): (NodeId, NodeId), envelope: Envelope, message: Message) {
        self.note(message.msg_type as u64 ^ message.index << 8 ^ message.term << 40);
        let now = self.agenda.now();
        let arrivals = self.network.send(now, machine_of(from), machine_of(to));
        for at in arrivals.into_iter().flatten() {
            let message = Box::new(message.clone());
            let event = Event::Deliver {
                from,
                to,
                envelope,
                message,
            };
            self.agenda.at(at, event);
        }
    }

    /// Gives what a machine says to a node to the network.
    pub fn say(&mut self, from: usize, to: NodeId, word: Word) {
        let now = self.agenda.now();
        let arrivals = self.network.send(now, from, machine_of(to));
        let word = Rc::new(word);
        for at in arrivals.into_iter().flatten() {
            let word = word.clone();
            self.agenda.at(at, Event::Say { to, word });
        }
    }
}

/// Databases of a shard in the simulation: few, so that a start is cheap.
pub const DATABASES: u32 = 2;

pub fn empty_databases(seed: u64) -> Databases {
    Databases::new(
        DATABASES as usize,
        (seed, !seed.rotate_left(32)),
        ringfort::store::Limits::default(),
    )
}
