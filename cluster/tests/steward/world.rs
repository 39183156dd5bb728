//! Nodes on a network without delay, and the loop from reports to orders over them. Time passes in steps; the same run always goes the
//! same way.

use super::node::{Node, Sent};
use ringfort_cluster::replica::{Message, Restored};
use ringfort_cluster::steward::{
    carry_out, NodeReport, Order, Steward, StewardAction, StewardLimits,
};
use ringfort_cluster::topology::{ClusterId, Members, Node as Described, Ports, META_GROUP};
use ringfort_cluster::{MetaCommand, Monotonic, NodeId, Replica, ReplicaId, ShardId, Topology};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const STEP_US: u64 = 10_000;
const TICK_US: u64 = 50_000;
const LOOP_US: u64 = 100_000;
const REPORT_US: u64 = 500_000;

/// Late messages that are kept.
const LATE_MAX: usize = 5_000;

pub const SECOND_US: u64 = 1_000_000;

pub fn described(id: u128) -> Described {
    Described::new(NodeId(id), format!("node{id}"), Ports::default())
}

pub struct World {
    pub time: u64,
    pub nodes: BTreeMap<NodeId, Node>,
    pub limits: StewardLimits,
    shards: u32,
    writes: u64,
    /// Written and applied on a leader, by shard.
    pub acknowledged: BTreeMap<ShardId, BTreeSet<u64>>,
    waiting: Vec<(NodeId, ShardId, u64)>,
    pub orders: usize,
    pub refused: Vec<String>,
    /// Nodes that reach nobody and are reached by nobody.
    pub cut: BTreeSet<NodeId>,
    /// What was sent to or from those, the newest last: it may come in much later.
    pub late: VecDeque<(NodeId, ShardId, Message)>,
}

impl World {
    /// A cluster of node 1, formed.
    pub fn new(shards: u32) -> Self {
        let mut limits = StewardLimits::default();
        limits.placement.replace_after_ticks = 100;
        let mut world = Self {
            time: 1_000_000,
            nodes: BTreeMap::new(),
            limits,
            shards,
            writes: 0,
            acknowledged: BTreeMap::new(),
            waiting: Vec::new(),
            orders: 0,
            refused: Vec::new(),
            cut: BTreeSet::new(),
            late: VecDeque::new(),
        };
        let mut first = Node::new(described(1));
        first.begin(META_GROUP, ReplicaId(1), Restored::fresh([ReplicaId(1)]));
        first.replica(META_GROUP).expect("begun").campaign();
        first.turn(META_GROUP);
        let init = MetaCommand::Init {
            cluster_id: ClusterId(7),
            shards,
            replicas: 3,
            node: described(1),
        };
        first.meta.propose(&init).expect("it leads");
        first.turn(META_GROUP);
        for (shard, _) in first.meta.topology().clone().places() {
            if shard != META_GROUP {
                first.begin(shard, ReplicaId(1), Restored::fresh([ReplicaId(1)]));
                first.replica(shard).expect("begun").campaign();
                first.turn(shard);
            }
        }
        world.nodes.insert(NodeId(1), first);
        world
    }

    pub fn node(&mut self, id: u128) -> &mut Node {
        self.nodes.get_mut(&NodeId(id)).expect("a node")
    }

    /// The node that leads the meta group.
    pub fn leader(&self) -> Option<NodeId> {
        let leads = |node: &&Node| self.reaches(node) && node.meta.leads();
        self.nodes.values().find(leads).map(Node::id)
    }

    fn reaches(&self, node: &Node) -> bool {
        node.up && !self.cut.contains(&node.id())
    }

    /// All that was sent while nodes were cut off comes in now, at whoever has the replica that it was meant for.
    pub fn deliver_late(&mut self) -> usize {
        let late = std::mem::take(&mut self.late);
        let (count, now) = (late.len(), Monotonic(self.time));
        for (node, shard, message) in late {
            if let Some(node) = self.nodes.get_mut(&node).filter(|node| node.up) {
                node.take_in(shard, message, now);
            }
        }
        self.deliver();
        count
    }

    pub fn topology(&self) -> Topology {
        let newest = self.nodes.values().map(|node| node.meta.topology());
        newest
            .max_by_key(|topology| topology.epoch)
            .expect("a node")
            .clone()
    }

    /// Proposes to the meta group, as soon as somebody leads it.
    pub fn propose(&mut self, command: &MetaCommand) {
        for _ in 0..500 {
            if let Some(leader) = self.leader() {
                let node = self.nodes.get_mut(&leader).expect("a node");
                if node.meta.propose(command).is_ok() {
                    node.turn(META_GROUP);
                    return;
                }
            }
            self.step();
        }
        panic!("nobody leads the meta group");
    }

    pub fn join(&mut self, id: u128) {
        let node = described(id);
        self.nodes.insert(NodeId(id), Node::new(node.clone()));
        let cluster_id = None;
        self.propose(&MetaCommand::Join { cluster_id, node });
    }

    pub fn run(&mut self, us: u64) {
        let end = self.time + us;
        while self.time < end {
            self.step();
        }
    }

    pub fn step(&mut self) {
        self.time += STEP_US;
        let now = Monotonic(self.time);
        for node in self.nodes.values_mut().filter(|node| node.up) {
            for shard in node.groups() {
                if self.time % TICK_US == 0 {
                    if let Some(replica) = node.replica(shard) {
                        replica.tick(now);
                    }
                }
                node.turn(shard);
            }
        }
        self.deliver();
        if self.time % LOOP_US == 0 {
            self.gossip();
            self.steward();
        }
        if self.time % SECOND_US == 0 {
            self.write();
        }
        self.acknowledge();
    }

    /// Brings everything to where it goes, until nothing is under way.
    fn deliver(&mut self) {
        for _ in 0..1_000 {
            let mut under_way = Vec::new();
            for node in self.nodes.values_mut() {
                let from = node.id();
                under_way.extend(node.outbox.drain(..).map(|sent| (from, sent)));
            }
            if under_way.is_empty() {
                return;
            }
            for (from, sent) in under_way {
                self.bring(from, sent);
            }
        }
        panic!("messages without end");
    }

    fn bring(&mut self, from: NodeId, sent: Sent) {
        let now = Monotonic(self.time);
        let sender = &self.nodes[&from];
        let (shard, to) = match &sent {
            Sent::Message(shard, message) => (*shard, ReplicaId(message.to)),
            Sent::Snapshot(_, shard, request, ..) => (*shard, request.to),
        };
        let place = sender.meta.topology().place(shard);
        let node = place.and_then(|place| place.node_of(to));
        let is_cut = |node: NodeId| self.cut.contains(&node);
        let cut = node.filter(|&node| is_cut(from) || is_cut(node));
        if let (Some(node), Sent::Message(_, message)) = (cut, &sent) {
            self.late.push_back((node, shard, message.clone()));
            if self.late.len() > LATE_MAX {
                self.late.pop_front();
            }
        }
        let receiver = node.filter(|_| cut.is_none());
        let receiver = receiver.and_then(|node| self.nodes.get_mut(&node));
        let receiver = receiver.filter(|node| node.up);
        match sent {
            Sent::Message(shard, message) => match receiver {
                Some(node) => node.take_in(shard, message, now),
                None => {
                    if let Some(replica) =
                        self.nodes.get_mut(&from).and_then(|it| it.replica(shard))
                    {
                        replica.unreachable(to);
                    }
                }
            },
            Sent::Snapshot(sender, shard, request, place, bytes) => {
                let ok = receiver.is_some_and(|node| {
                    node.take_snapshot((shard, sender), &request, &place, bytes, now)
                });
                if let Some(replica) = self.nodes.get_mut(&from).and_then(|it| it.replica(shard)) {
                    replica.report_snapshot(request.to, ok);
                }
            }
        }
    }

    /// The newest topology of all goes to those that know an older one.
    fn gossip(&mut self) {
        let (newest, up) = (self.topology(), self.nodes.values_mut());
        for node in up.filter(|node| node.up && !self.cut.contains(&node.id())) {
            let knows = node.meta.topology().epoch;
            let welcome =
                newest.nodes.contains_key(&node.id()) || newest.removed.contains_key(&node.id());
            if knows < newest.epoch && welcome {
                node.meta.offer(&newest);
            }
            node.do_duties();
        }
    }

    fn steward(&mut self) {
        let now = Monotonic(self.time);
        for node in self.nodes.values_mut() {
            if !node.up || !node.meta.leads() {
                node.steward = None;
            }
        }
        let Some(leader) = self.leader() else {
            return;
        };
        let limits = self.limits;
        let reports: Vec<NodeReport> = match self.time % REPORT_US {
            0 => {
                let up = self.nodes.values_mut().filter(|node| node.up);
                let heard = up.filter(|node| !self.cut.contains(&node.id()));
                heard.map(Node::report).collect()
            }
            _ => Vec::new(),
        };
        let node = self.nodes.get_mut(&leader).expect("a node");
        let steward = node.steward.get_or_insert_with(|| Steward::new(limits));
        for report in reports {
            let bytes = report.encode().expect("a report");
            steward.heard(NodeReport::decode(&bytes).expect("as it was sent"), now);
        }
        for action in steward.tick(now, node.meta.topology()) {
            match action {
                StewardAction::Propose(command) => {
                    let node = self.nodes.get_mut(&leader).expect("a node");
                    let _ = node.meta.propose(&command);
                    node.turn(META_GROUP);
                }
                StewardAction::Order(order) => self.order(&order),
            }
        }
    }

    fn order(&mut self, order: &Order) {
        let order = Order::decode(&order.encode().expect("an order")).expect("as it was sent");
        let now = Monotonic(self.time);
        self.orders += 1;
        let there = !self.cut.contains(&order.to);
        let node = self.nodes.get_mut(&order.to);
        let node = node.filter(|node| node.up && there);
        if let Some(replica) = node.and_then(|node| node.replica(order.shard)) {
            if let Err(refused) = carry_out(&order, replica, now) {
                self.refused.push(format!("{:?}: {refused}", order.task));
            }
        }
    }

    pub fn shards(&self) -> impl Iterator<Item = ShardId> {
        (0..self.shards as u16).map(ShardId)
    }

    /// Who leads a shard now.
    pub fn leader_of(&self, shard: ShardId) -> Option<(NodeId, &Replica)> {
        let up = self.nodes.values().filter(|node| self.reaches(node));
        let copies = up.filter_map(|node| match shard {
            META_GROUP => Some((node.id(), &node.meta.copy.as_ref()?.0)),
            _ => Some((node.id(), &node.shards.get(&shard)?.0)),
        });
        copies
            .filter(|(_, replica)| replica.is_leader())
            .max_by_key(|(_, replica)| replica.term())
    }

    /// Writes to every shard that is led.
    fn write(&mut self) {
        for shard in self.shards() {
            let Some(leader) = self.leader_of(shard).map(|(node, _)| node) else {
                continue;
            };
            self.writes += 1;
            let write = self.writes;
            let node = self.nodes.get_mut(&leader).expect("a node");
            let replica = node.replica(shard).expect("it leads");
            if replica.propose(write.to_le_bytes().to_vec()).is_ok() {
                self.waiting.push((leader, shard, write));
            }
        }
    }

    /// What the leader that took a write has applied is acknowledged.
    fn acknowledge(&mut self) {
        let nodes = &self.nodes;
        let acknowledged = &mut self.acknowledged;
        self.waiting.retain(|(node, shard, write)| {
            let Some((_, state)) = nodes[node].shards.get(shard) else {
                return false;
            };
            let done = state.contains(write);
            if done {
                acknowledged.entry(*shard).or_default().insert(*write);
            }
            !done
        });
    }

    /// Until every group is where it is wished and recorded so.
    pub fn settle(&mut self, what: &str) {
        let end = self.time + 120 * SECOND_US;
        while !self.is_settled() {
            assert!(
                self.time < end,
                "{what}: not settled; refused {:?}; {:?}",
                self.refused.iter().rev().take(5).collect::<Vec<_>>(),
                self.topology()
                    .places()
                    .map(|(shard, place)| (shard, place.members.clone(), place.wish.clone()))
                    .collect::<Vec<_>>()
            );
            self.step();
        }
        self.run(3 * SECOND_US);
        // Between two writes: followers hear of a commit with the next heartbeat.
        while self.time % SECOND_US != SECOND_US / 2 {
            self.step();
        }
        self.check(what);
    }

    fn is_settled(&self) -> bool {
        let topology = self.topology();
        let mut places = topology.places();
        places.all(|(shard, place)| {
            let on = |ids: &[ReplicaId]| {
                let mut nodes: Vec<NodeId> =
                    ids.iter().filter_map(|&id| place.node_of(id)).collect();
                nodes.sort_unstable();
                nodes
            };
            let Some((_, leader)) = self.leader_of(shard) else {
                return false;
            };
            let recorded = Members::from(&leader.membership()) == place.members;
            recorded
                && on(&place.members.voters) == place.wish.voters
                && on(&place.members.learners) == place.wish.learners
                && place.wish.nodes().count() == self.copies(shard)
        })
    }

    /// How many copies there should be, with the nodes that the topology has.
    fn copies(&self, shard: ShardId) -> usize {
        let nodes = self.topology().nodes.len();
        if shard == META_GROUP {
            nodes
        } else {
            nodes.min(3)
        }
    }

    /// What is recorded is so, and nothing that was acknowledged is missing anywhere.
    pub fn check(&self, what: &str) {
        let topology = self.topology();
        for (shard, place) in topology.places() {
            let (_, leader) = self.leader_of(shard).expect("a leader");
            let membership = leader.membership();
            assert_eq!(
                place.members.to_membership(place.changed),
                Members::from(&membership).to_membership(membership.epoch),
                "{what}: shard {shard}"
            );
            for node in self.nodes.values().filter(|node| self.reaches(node)) {
                let Some((_, state)) = node.shards.get(&shard) else {
                    continue;
                };
                let has: BTreeSet<u64> = state.iter().copied().collect();
                assert_eq!(has.len(), state.len(), "{what}: applied twice");
                let acknowledged = self.acknowledged.get(&shard);
                assert!(
                    acknowledged.is_none_or(|writes| writes.is_subset(&has)),
                    "{what}: node {} lacks writes of shard {shard}",
                    node.id().0
                );
            }
        }
    }

    /// How many shards each node leads.
    pub fn led(&self) -> BTreeMap<NodeId, usize> {
        let mut led: BTreeMap<NodeId, usize> = self.nodes.keys().map(|&id| (id, 0)).collect();
        for shard in self.shards() {
            if let Some((node, _)) = self.leader_of(shard) {
                *led.entry(node).or_default() += 1;
            }
        }
        led
    }
}
