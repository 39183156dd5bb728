//! One simulated machine: a disk that outlives its processes, the node that it is in the cluster, and the process of the
//! moment. How that starts is in `start.rs`.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use ringfort::durability::wal::RecordPosition;
use ringfort::durability::{DiskLock, Marker, SharedDisk, SimDisk};
use ringfort::store::Timestamp;
use ringfort_cluster::sim::{Clock, Micros};
use ringfort_cluster::steward::{GroupReport, NodeLoad, NodeReport};
use ringfort_cluster::topology::META_GROUP;
use ringfort_cluster::{Monotonic, NodeId, Topology};

use crate::cluster::{described, node_id, Office};
use crate::context::Context;
use crate::snapshots::SNAPSHOTS;
use crate::worker::{Place, Worker};

pub const DIR: &str = "/data";
pub const LOGS: &str = "/data/wal";

/// A process.
pub struct Process {
    pub workers: Vec<Worker>,
    pub office: Office,
    pub marker: Marker,
    pub _lock: DiskLock,
}

impl Process {
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.workers.iter().flat_map(|worker| &worker.places)
    }

    /// The copy of the meta group, if there is one.
    pub fn meta(&self) -> Option<&Place> {
        let is_it = |place: &&Place| {
            place.shard.replica.shard() == META_GROUP && place.shard.standing.is_held
        };
        self.places().find(is_it)
    }

    pub fn leads_meta(&self) -> bool {
        self.meta().is_some_and(|place| place.shard.leads())
    }

    /// The node that leads the meta group, as far as this one's copy knows.
    pub fn meta_leader(&self) -> Option<NodeId> {
        let shard = &self.meta()?.shard;
        let leader = shard.replica.leader()?;
        let mut nodes = shard.standing.nodes.iter();
        let known = nodes.find(|(id, _)| *id == leader);
        known.map(|(_, node)| *node)
    }

    /// Takes up a topology that is newer than the one it knows.
    pub fn offer(&mut self, topology: &Rc<Topology>) {
        if topology.epoch > self.office.topology.epoch {
            self.office.topology = topology.clone();
        }
    }

    /// Takes up what its own copy of the meta group has come to.
    pub fn look_at_meta(&mut self) {
        let epoch = self.office.topology.epoch;
        let meta = self.meta().and_then(|place| place.shard.meta.as_deref());
        let newer = meta.filter(|topology| topology.epoch > epoch).cloned();
        if let Some(topology) = newer {
            self.office.topology = Rc::new(topology);
        }
    }

    pub fn report(&self, id: NodeId) -> NodeReport {
        let held = self.places().filter(|place| place.shard.standing.is_held);
        let groups = held.map(|place| GroupReport::of(&place.shard.replica, 0));
        NodeReport {
            node: described(id),
            epoch: self.office.topology.epoch,
            groups: groups.collect(),
            lost: self.office.lost.clone(),
            suspect: self.office.suspect.clone(),
            load: NodeLoad::default(),
        }
    }
}

/// A machine, and the node that it is.
pub struct Node {
    pub number: usize,
    pub sim: SimDisk,
    pub disk: SharedDisk,
    pub clock: Clock,
    /// Counts the disks that it has lost: with a new one it is a new node.
    pub generation: u64,
    /// It is to get a new disk soon.
    pub is_to_be_rebuilt: bool,
    /// What it held when it lost its disk (for deliberate bugs).
    pub remembers: Option<ringfort::durability::NodeState>,
    /// Counts processes.
    pub life: u64,
    /// Counts boots of the machine.
    pub boot: u64,
    pub process: Option<Process>,
    pub paused_until: Micros,
    pub slowness_us: u64,
    /// A bit of its disk was turned over and not found yet.
    pub is_damaged: bool,
    /// It refuses to start, and rightly so.
    pub is_gone: bool,
    /// The capacity of its disk is bounded at the moment.
    pub is_full: bool,
    /// Where the last life's logs ended.
    last_records: Vec<(usize, RecordPosition)>,
}

/// Why a node did not start.
pub enum NoStart {
    /// The disk failed or is full, or the process was meant to die: it tries again.
    Disk,
    /// It refuses, with its words to the operator.
    Refused(String),
    Violation(String),
}

impl Node {
    pub fn new(number: usize, context: &mut Context) -> Self {
        let sim = SimDisk::new(context.rng.next_u64());
        let drift_max = context.plan.drift_ppm;
        let drift = context.rng.between(0, 2 * drift_max) as i64 - drift_max as i64;
        Self {
            number,
            disk: Arc::new(sim.clone()),
            sim,
            clock: Clock::new(drift, 1_700_000_000_000_000 + context.rng.below(50_000_000)),
            generation: 0,
            is_to_be_rebuilt: false,
            remembers: None,
            life: 0,
            boot: 0,
            process: None,
            paused_until: 0,
            slowness_us: 0,
            is_damaged: false,
            is_gone: false,
            is_full: false,
            last_records: Vec::new(),
        }
    }

    pub fn id(&self) -> NodeId {
        node_id(self.number, self.generation)
    }

    pub fn now(&self, context: &Context) -> Timestamp {
        Timestamp(self.clock.wall_ms(context.now()))
    }

    pub fn monotonic(&self, context: &Context) -> Monotonic {
        Monotonic(self.clock.monotonic_us(context.now()))
    }

    /// The process is gone; with `power` the machine too.
    pub fn crash(&mut self, power: bool) {
        if let Some(process) = self.process.take() {
            let ends = process.workers.iter();
            self.last_records = ends
                .filter_map(|worker| worker.last_record.map(|at| (worker.number, at)))
                .collect();
        }
        self.life += 1;
        if power {
            self.boot += 1;
            self.sim.power_cut();
        } else {
            self.sim.process_crash();
        }
    }

    /// Ends the process in order.
    pub fn stop(&mut self) {
        let Some(process) = self.process.take() else {
            return;
        };
        let Process {
            workers, marker, ..
        } = process;
        let mut closed = true;
        for worker in workers {
            closed &= worker.wal.close().is_ok();
        }
        if closed {
            let marker = Marker {
                clean: true,
                ..marker
            };
            // A marker that could not be written leaves the one of a crash, which is as good.
            let _ = marker.write(&self.disk, Path::new(DIR));
        }
        self.last_records.clear();
        self.life += 1;
        self.sim.process_crash();
    }

    /// Gives the machine an empty disk: it is another node from then on.
    pub fn wipe(&mut self, context: &mut Context) {
        self.sim = SimDisk::new(context.rng.next_u64());
        self.disk = Arc::new(self.sim.clone());
        self.generation += 1;
        (self.is_damaged, self.is_gone, self.is_full) = (false, false, false);
        self.is_to_be_rebuilt = false;
        self.last_records.clear();
    }

    /// Turns a bit over where damage cannot be taken for a torn end: before the last record of a log, or in a snapshot.
    pub fn flip(&mut self, context: &mut Context) -> bool {
        let mut places: Vec<(PathBuf, u64)> = Vec::new();
        for (dir, is_log) in [(LOGS, true), (SNAPSHOTS, false)] {
            for name in self.disk.list(Path::new(dir)).unwrap_or_default() {
                let path = Path::new(dir).join(&name);
                let len = self.disk.open(&path).and_then(|file| file.len());
                let len = match is_log {
                    true => self.settled(&name).min(len.unwrap_or(0)),
                    false => len.unwrap_or(0),
                };
                if len > 0 {
                    places.push((path, len));
                }
            }
        }
        if places.is_empty() {
            return false;
        }
        let (path, len) = &places[context.rng.index(places.len())];
        // Logs are mostly empty towards their end.
        let bit = context.rng.below(len * 8);
        let node = self.number;
        context.tell(|| format!("node {node}: bit {bit} of {} turns over", path.display()));
        self.is_damaged = self.sim.flip_bit(path, bit);
        self.is_damaged
    }

    /// How much of a segment lies before the last record of its log.
    fn settled(&self, name: &str) -> u64 {
        let mut parts = name.trim_end_matches(".log").split('-').skip(1);
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
        let (Some(worker), Some(sequence)) = (number(), number()) else {
            return 0;
        };
        let last = self.last_records.iter();
        let last = last.clone().find(|(of, _)| *of as u64 == worker);
        match last {
            Some((_, at)) if sequence < at.sequence => u64::MAX,
            Some((_, at)) if sequence == at.sequence => at.offset,
            _ => 0,
        }
    }
}
