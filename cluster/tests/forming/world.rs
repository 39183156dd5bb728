//! Nodes that are to become one cluster, with their disks and a network, all simulated and seeded. The network loses, delays, repeats
//! and reorders; a node may crash before and after everything that it stores or sends. After every step there is at most one cluster.

use ringfort_cluster::forming::member::{self, MemberAnswer, Standing};
use ringfort_cluster::forming::{
    Forming, FormingError, FormingMessage, FormingOutputs, JoinAnswer, Setup, Stored, Verdict,
};
use ringfort_cluster::topology::{ClusterId, Node as Described, Ports};
use ringfort_cluster::{MetaCommand, Monotonic, NodeId, Topology};
use std::collections::{BTreeMap, BTreeSet};

const MS: u64 = 1_000;
const TICK_US: u64 = 100 * MS;

pub fn described(id: u64) -> Described {
    let host = format!("node{id}");
    Described::new(NodeId(id.into()), host, Ports::default())
}

pub fn address(id: u64) -> String {
    described(id).peer_address()
}

/// What a node is started with.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub join: Vec<u64>,
    pub expect: Option<u32>,
}

#[derive(Default)]
pub struct Node {
    pub flags: Flags,
    pub stored: Stored,
    pub topology: Option<Topology>,
    forming: Option<Forming>,
    life: u64,
    next_tick: u64,
    /// When the cluster that it was told to form will be on its disk.
    forms_at: Option<u64>,
    pub refused: Option<FormingError>,
}

impl Node {
    pub fn is_up(&self) -> bool {
        self.forming.is_some()
    }

    pub fn cluster(&self) -> Option<ClusterId> {
        self.topology.as_ref().map(|topology| topology.cluster_id)
    }
}

enum Post {
    Request {
        from: u64,
        life: u64,
        to: String,
        bytes: Vec<u8>,
    },
    Answer {
        to: u64,
        life: u64,
        from: String,
        bytes: Vec<u8>,
    },
}

/// What goes wrong.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    pub loss_percent: u64,
    pub repeat_percent: u64,
    pub delay_us_max: u64,
    /// At everything that a node stores or sends.
    pub crash_permille: u64,
}

pub struct World {
    pub seed: u64,
    random: u64,
    pub time: u64,
    pub nodes: BTreeMap<u64, Node>,
    post: BTreeMap<(u64, u64), Post>,
    posted: u64,
    pub faults: Faults,
    /// Pairs that do not hear each other.
    pub cut: BTreeSet<(u64, u64)>,
    /// Every cluster that was ever on a disk.
    pub clusters: BTreeSet<ClusterId>,
    pub give_ups: u64,
    /// What happened, for scripts.
    pub told: Vec<String>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            time: 0,
            nodes: BTreeMap::new(),
            post: BTreeMap::new(),
            posted: 0,
            faults: Faults::default(),
            cut: BTreeSet::new(),
            clusters: BTreeSet::new(),
            give_ups: 0,
            told: Vec::new(),
        }
    }

    pub fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }

    fn chance(&mut self, of: u64, in_all: u64) -> bool {
        of > 0 && self.draw() % in_all < of
    }

    /// Starts a node with what is on its disk.
    pub fn start(&mut self, id: u64, flags: Flags) {
        let (incarnation, late) = (self.draw(), self.draw() % TICK_US);
        let node = self.nodes.entry(id).or_default();
        node.flags = flags;
        node.life += 1;
        // The topology on the disk says more than the record beside it.
        let mut stored = node.stored.clone();
        stored.cluster_id = stored.cluster_id.or(node.cluster());
        let topology = node.topology.iter();
        let peers = topology.flat_map(|topology| topology.nodes.values());
        let setup = Setup {
            node: described(id),
            incarnation,
            join: node.flags.join.iter().copied().map(address).collect(),
            peers: peers.map(Described::peer_address).collect(),
            bootstrap_expect: node.flags.expect,
        };
        node.forming = Some(Forming::new(setup, stored));
        node.refused = None;
        node.next_tick = self.time + late;
    }

    pub fn crash(&mut self, id: u64) {
        let lands = self.draw() % 2 == 0;
        let forms = self.node(id).forms_at.take().is_some();
        self.node(id).forming = None;
        if forms && lands {
            // It got to the disk, and nobody was told.
            self.put_cluster_on_disk(id);
        }
    }

    pub fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("a node")
    }

    pub fn run(&mut self, us: u64) {
        let end = self.time + us;
        while self.time < end {
            self.step();
        }
    }

    pub fn step(&mut self) {
        self.time += 5 * MS;
        while let Some(first) = self.post.first_entry() {
            if first.key().0 > self.time {
                break;
            }
            let post = first.remove();
            self.arrive(post);
        }
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            if self.nodes[&id].forms_at.is_some_and(|at| at <= self.time) {
                self.node(id).forms_at = None;
                let cluster = self.put_cluster_on_disk(id);
                let formed = |forming: &mut Forming| forming.formed(cluster);
                let out = self
                    .nodes
                    .get_mut(&id)
                    .and_then(|node| node.forming.as_mut());
                let out = out.map(formed).unwrap_or_default();
                self.carry_out(id, out);
            }
            if self.nodes[&id].next_tick <= self.time {
                self.node(id).next_tick += TICK_US;
                let now = Monotonic(self.time);
                if let Some(forming) = &mut self.node(id).forming {
                    let out = forming.tick(now);
                    self.carry_out(id, out);
                }
            }
        }
    }

    fn put_cluster_on_disk(&mut self, id: u64) -> ClusterId {
        let cluster_id = ClusterId(u128::from(id) << 64 | u128::from(self.draw()));
        let init = MetaCommand::Init {
            cluster_id,
            shards: 1,
            replicas: 3,
            node: described(id),
        };
        let mut topology = Topology::default();
        topology.apply(&init).expect("a sound beginning");
        self.told.push(format!("node {id} forms a cluster"));
        self.keep(id, topology);
        cluster_id
    }

    /// A topology gets to a disk.
    fn keep(&mut self, id: u64, topology: Topology) {
        self.clusters.insert(topology.cluster_id);
        assert!(
            self.clusters.len() <= 1,
            "seed {}: two clusters, the second on node {id}",
            self.seed
        );
        self.node(id).topology = Some(topology);
    }

    /// Does what a node wants, in the order of its contract. False when it crashed over it.
    fn carry_out(&mut self, id: u64, out: FormingOutputs) -> bool {
        if let Some(stored) = out.store {
            if self.chance(self.faults.crash_permille, 1000) {
                self.crash(id);
                return false;
            }
            self.give_ups += u64::from(stored.gave_up > self.nodes[&id].stored.gave_up);
            self.tell_pledge(id, &stored);
            self.node(id).stored = stored;
        }
        let life = self.nodes[&id].life;
        for (to, request) in out.requests {
            if self.chance(self.faults.crash_permille, 1000) {
                self.crash(id);
                return false;
            }
            let bytes = request.encode().expect("a small message");
            let from = id;
            self.send(move || Post::Request {
                from,
                life,
                to: to.clone(),
                bytes: bytes.clone(),
            });
        }
        if let Some(verdict) = out.verdict {
            self.decided(id, verdict);
        }
        true
    }

    fn tell_pledge(&mut self, id: u64, stored: &Stored) {
        if stored.pledge != self.nodes[&id].stored.pledge {
            self.told.push(match stored.pledge {
                Some(pledge) => format!("node {id} is pledged to {}", pledge.to.0),
                None => format!("node {id} is free"),
            });
        }
    }

    fn decided(&mut self, id: u64, verdict: Verdict) {
        match verdict {
            Verdict::FormAlone | Verdict::Form => {
                let delay = self.draw() % (500 * MS);
                self.node(id).forms_at = Some(self.time + delay);
            }
            Verdict::Member => {}
            Verdict::Joined { topology } => {
                let topology = Topology::decode(&topology).expect("checked");
                if self.nodes[&id].topology.is_none() {
                    self.told.push(format!("node {id} has joined"));
                }
                self.keep(id, topology);
            }
            Verdict::Refused(error) => {
                self.told.push(format!("node {id} stops: {error}"));
                self.node(id).refused = Some(error);
                self.crash(id);
            }
        }
    }

    fn send(&mut self, post: impl Fn() -> Post) {
        let repeated = self.chance(self.faults.repeat_percent, 100);
        for _ in 0..=u64::from(repeated) {
            if self.chance(self.faults.loss_percent, 100) {
                continue;
            }
            let delay = match self.faults.delay_us_max {
                0 => MS,
                max => self.draw() % max,
            };
            self.posted += 1;
            self.post.insert((self.time + delay, self.posted), post());
        }
    }

    fn hears(&self, one: u64, other: u64) -> bool {
        !self.cut.contains(&(one, other)) && !self.cut.contains(&(other, one))
    }

    fn arrive(&mut self, post: Post) {
        match post {
            Post::Request {
                from,
                life,
                to,
                bytes,
            } => {
                let at = self.nodes.keys().copied().find(|&id| address(id) == to);
                let at = at.filter(|&id| self.hears(from, id) && self.nodes[&id].is_up());
                if let Some(id) = at {
                    let request = FormingMessage::decode(&bytes).expect("as it was sent");
                    let answer = self.answer_of(id, &request);
                    if let Some(answer) = answer {
                        let bytes = answer.encode().expect("a message");
                        self.send(move || Post::Answer {
                            to: from,
                            life,
                            from: to.clone(),
                            bytes: bytes.clone(),
                        });
                    }
                }
            }
            Post::Answer {
                to,
                life,
                from,
                bytes,
            } => {
                let now = Monotonic(self.time);
                let answer = FormingMessage::decode(&bytes).expect("as it was sent");
                // The connection of an earlier life is gone.
                let node = self.node(to);
                if let Some(forming) = node.forming.as_mut().filter(|_| node.life == life) {
                    let out = forming.answer(&from, &answer, now);
                    self.carry_out(to, out);
                }
            }
        }
    }

    fn answer_of(&mut self, id: u64, request: &FormingMessage) -> Option<FormingMessage> {
        let now = Monotonic(self.time);
        let node = self.node(id);
        let forming = node.forming.as_mut()?;
        let belongs = forming.about().cluster_id.is_some();
        if let Some(topology) = node.topology.clone().filter(|_| belongs) {
            return self.answer_as_member(id, request, &topology);
        }
        let mut out = forming.request(request, now);
        let answer = out.answer.take();
        let alive = self.carry_out(id, out);
        answer.filter(|_| alive)
    }

    /// The node that began the cluster leads the meta group.
    fn answer_as_member(
        &mut self,
        id: u64,
        request: &FormingMessage,
        topology: &Topology,
    ) -> Option<FormingMessage> {
        let voter = topology.meta.members.voters[0];
        let leader = topology.meta.node_of(voter)?;
        let standing = Standing {
            topology,
            leader: Some(leader),
            leads: leader == NodeId(id.into()),
        };
        let about = self.nodes[&id].forming.as_ref()?.about();
        match member::answer(request, &about, standing)? {
            MemberAnswer::Now(answer) => Some(answer),
            MemberAnswer::Propose(command) => {
                let mut topology = topology.clone();
                let outcome = topology.apply(&command).into();
                let answer = member::join_answer(&outcome, &topology);
                if matches!(
                    answer,
                    FormingMessage::JoinAnswer(JoinAnswer::Welcome { .. })
                ) {
                    self.keep(id, topology);
                }
                Some(answer)
            }
        }
    }

    pub fn all_belong(&self) -> bool {
        self.nodes
            .values()
            .all(|node| node.is_up() && node.topology.is_some())
    }

    pub fn waiting(&self, id: u64) -> Option<String> {
        let forming = self.nodes[&id].forming.as_ref()?;
        forming.waiting(Monotonic(self.time))
    }
}
