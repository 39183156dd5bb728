//! A cluster in which everything works but nothing is real: groups have members and a leader and no log, copying takes one
//! round, a node is up or down. Carries out the steps of the placement, refuses what a real group would refuse, and counts what
//! deciding costs. `benches/placement.rs` uses it too, with many nodes.

use ringfort_cluster::placement::{plan, wishes, GroupSeen, Limits, Observed, Step};
use ringfort_cluster::topology::{ClusterId, Members, Node, Ports, Wish, META_GROUP};
use ringfort_cluster::{Epoch, MetaCommand, NodeId, ReplicaId, ShardId, Topology};
use rustix::time::{clock_gettime, ClockId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What was decided, and how long deciding took.
#[derive(Debug, Clone, Copy, Default)]
#[allow(dead_code, reason = "not every user of the model reads all of it")]
pub struct Tally {
    /// Turns of the placement.
    pub rounds: usize,
    pub steps: usize,
    /// Places of copies of shards that were decided anew.
    pub wished: usize,
    /// Copies of shards that were begun.
    pub copies: usize,
    pub transfers: usize,
    pub wishes: Spent,
    pub plans: Spent,
}

/// Time for one function: the processor's, so that it does not matter what else a machine does.
#[derive(Debug, Clone, Copy, Default)]
#[allow(dead_code, reason = "not every user of the model reads all of it")]
pub struct Spent {
    pub calls: u32,
    pub all: Duration,
    pub longest: Duration,
}

impl Spent {
    fn on<T>(&mut self, act: impl FnOnce() -> T) -> T {
        let begun = computed();
        let done = act();
        let took = computed().saturating_sub(begun);
        self.calls += 1;
        self.all += took;
        self.longest = self.longest.max(took);
        done
    }
}

/// For how long the processor has worked for this thread.
pub fn computed() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// A group as it really is.
#[derive(Debug, Clone)]
pub struct Group {
    pub members: Members,
    pub changed: Epoch,
    pub leader: Option<ReplicaId>,
    /// Those that have all the data.
    pub copied: BTreeSet<ReplicaId>,
}

#[derive(Debug)]
pub struct World {
    pub topology: Topology,
    pub limits: Limits,
    pub groups: BTreeMap<ShardId, Group>,
    pub down: BTreeSet<NodeId>,
    /// What the placement sees. Nodes that are up are silent for zero ticks.
    observed: Observed,
    /// Groups in which something may happen by itself, as far as `down` is as it was.
    restless: BTreeSet<ShardId>,
    known_down: BTreeSet<NodeId>,
    pub tally: Tally,
}

pub fn node(id: u128, zone: &str) -> Node {
    Node {
        zone: zone.into(),
        ..Node::new(NodeId(id), format!("node{id}"), Ports::default())
    }
}

impl World {
    /// A cluster of one node.
    pub fn new(shards: u32, replicas: u8, first: Node) -> Self {
        let mut topology = Topology::default();
        let id = first.id;
        let init = MetaCommand::Init {
            cluster_id: ClusterId(1),
            shards,
            replicas,
            node: first,
        };
        topology.apply(&init).expect("a sound beginning");
        let groups: Vec<(ShardId, Group)> = (topology.places())
            .map(|(shard, place)| {
                let group = Group {
                    members: place.members.clone(),
                    changed: place.changed,
                    leader: Some(ReplicaId(1)),
                    copied: [ReplicaId(1)].into(),
                };
                (shard, group)
            })
            .collect();
        let mut world = Self {
            topology,
            limits: Limits {
                replace_after_ticks: 100,
                ..Limits::default()
            },
            groups: BTreeMap::new(),
            down: BTreeSet::new(),
            observed: Observed::default(),
            restless: BTreeSet::new(),
            known_down: BTreeSet::new(),
            tally: Tally::default(),
        };
        world.observed.silent_ticks.insert(id, 0);
        for (shard, group) in groups {
            world.set_group(shard, group);
        }
        world
    }

    /// The one place where a group changes: what is seen of it changes too.
    fn set_group(&mut self, shard: ShardId, group: Group) {
        self.restless.insert(shard);
        let seen = group.leader.map(|leader| GroupSeen {
            leader,
            members: group.members.clone(),
            changed: group.changed,
            changing: false,
            caught_up: group.copied.clone(),
        });
        match seen {
            Some(seen) => _ = self.observed.groups.insert(shard, seen),
            None => _ = self.observed.groups.remove(&shard),
        }
        self.groups.insert(shard, group);
    }

    pub fn apply(&mut self, command: &MetaCommand) -> Result<bool, String> {
        let reply = self.topology.apply(command);
        if let MetaCommand::Join { node, .. } = command {
            self.observed.silent_ticks.entry(node.id).or_default();
        }
        reply
            .map(|reply| reply.changed)
            .map_err(|error| error.to_string())
    }

    pub fn is_up(&self, shard: ShardId, replica: ReplicaId) -> bool {
        let place = self.topology.place(shard).expect("a group of the topology");
        let held = place.replicas.get(&replica);
        held.is_some_and(|held| !held.lost && !self.down.contains(&held.node))
    }

    /// Whether a majority of some voters are up and have the data.
    pub fn has_quorum(&self, shard: ShardId, voters: &[ReplicaId]) -> bool {
        let copied = &self.groups[&shard].copied;
        let up = voters
            .iter()
            .filter(|&&id| self.is_up(shard, id) && copied.contains(&id));
        up.count() > voters.len() / 2
    }

    pub fn all_have_quorum(&self) -> bool {
        let mut groups = self.groups.iter();
        groups.all(|(&shard, group)| self.can_commit(shard, group))
    }

    /// Whether it can commit something: in a joint change with both majorities.
    fn can_commit(&self, shard: ShardId, group: &Group) -> bool {
        let Members {
            voters, outgoing, ..
        } = &group.members;
        let ends = outgoing.is_empty() || self.has_quorum(shard, outgoing);
        ends && self.has_quorum(shard, voters)
    }

    /// Takes a node down unless a group would be lost with it.
    pub fn take_down(&mut self, node: NodeId) -> bool {
        let new = self.down.insert(node);
        if new && !self.all_have_quorum() {
            self.down.remove(&node);
            return false;
        }
        new
    }

    /// The node has lost its data, unless a group would be lost with it.
    #[allow(dead_code, reason = "not every user of the model tries this")]
    pub fn lose_data_of(&mut self, node: NodeId) -> bool {
        if !self.down.contains(&node) && !self.take_down(node) {
            return false;
        }
        self.down.remove(&node);
        let held: Vec<_> = self
            .topology
            .held_by(node)
            .map(|(shard, id, _)| (shard, id))
            .collect();
        for (shard, replica) in held {
            let _ = self.apply(&MetaCommand::MarkLost { shard, replica });
            let mut group = self.groups[&shard].clone();
            group.copied.remove(&replica);
            self.set_group(shard, group);
        }
        true
    }

    /// Lets time pass: who is up catches up, and groups without a leader elect one.
    pub fn pass(&mut self, ticks: u64) {
        for (node, silent) in &mut self.observed.silent_ticks {
            *silent = if self.down.contains(node) {
                *silent + ticks
            } else {
                0
            };
        }
        if self.known_down != self.down {
            self.known_down = self.down.clone();
            self.restless = self.groups.keys().copied().collect();
        }
        for shard in std::mem::take(&mut self.restless) {
            if !self.is_as_it_was(shard, &self.groups[&shard]) {
                let group = self.caught_up(shard, self.groups[&shard].clone());
                self.set_group(shard, group);
            }
        }
    }

    /// Whether everybody is there and has everything.
    fn is_as_it_was(&self, shard: ShardId, group: &Group) -> bool {
        let Members {
            voters, learners, ..
        } = &group.members;
        let well = |id: &ReplicaId| group.copied.contains(id) && self.is_up(shard, *id);
        let leads = group.leader.is_some_and(|leader| voters.contains(&leader));
        leads
            && !group.members.is_joint()
            && group.copied.len() == voters.len() + learners.len()
            && voters.iter().chain(learners).all(well)
    }

    fn caught_up(&self, shard: ShardId, mut group: Group) -> Group {
        let leads = |id: &ReplicaId| {
            group.members.voters.contains(id) && self.is_up(shard, *id) && group.copied.contains(id)
        };
        let has_quorum = self.can_commit(shard, &group);
        if !group.leader.is_some_and(|id| leads(&id)) {
            let mut voters = group.members.voters.iter().copied();
            group.leader = voters.find(|id| has_quorum && leads(id));
        }
        if group.leader.is_some() && has_quorum {
            let all = group.members.all().into_iter();
            let (up, behind): (BTreeSet<_>, BTreeSet<_>) =
                all.partition(|&id| self.is_up(shard, id));
            group.copied.extend(up);
            // What is written now, those that are down do not have.
            group.copied.retain(|id| !behind.contains(id));
            leave_joint(&mut group);
        }
        group
    }

    #[allow(dead_code, reason = "not every user of the model looks itself")]
    pub fn observe(&self) -> &Observed {
        &self.observed
    }

    /// One turn of the placement. Gives the wishes that were decided, or else the steps that were taken.
    pub fn round(&mut self) -> (usize, Vec<Step>) {
        self.pass(1);
        let (topology, observed, limits) = (&self.topology, &self.observed, &self.limits);
        let spent = &mut self.tally.wishes;
        let decided = spent.on(|| wishes(topology, observed, limits));
        self.tally.rounds += 1;
        let mut count = 0;
        for command in &decided {
            if let MetaCommand::SetWishes { wishes } = command {
                count += wishes.len();
                self.tally.wished += wishes
                    .iter()
                    .map(|wish| self.new_places(wish))
                    .sum::<usize>();
            }
            assert_eq!(self.apply(command), Ok(true), "a wish is sound, and new");
        }
        if count > 0 {
            return (count, Vec::new());
        }
        let (topology, observed, limits) = (&self.topology, &self.observed, &self.limits);
        let spent = &mut self.tally.plans;
        let steps = spent.on(|| plan(topology, observed, limits));
        let groups: BTreeSet<ShardId> = steps.iter().map(Step::shard).collect();
        assert_eq!(groups.len(), steps.len(), "one step for a group at a time");
        for step in &steps {
            assert!(self.carry_out(step), "{step:?} is out of date at once");
        }
        self.tally.steps += steps.len();
        (0, steps)
    }

    /// How many nodes are to hold a shard that were not before.
    fn new_places(&self, (shard, wish): &(ShardId, Wish)) -> usize {
        let place = self.topology.shards.get(shard.as_usize());
        let is_new =
            |node: &NodeId| place.is_some_and(|place| !place.wish.nodes().any(|old| old == *node));
        wish.nodes().filter(is_new).count()
    }

    /// Rounds until there is nothing to do, or panics.
    pub fn settle(&mut self, rounds_max: usize) -> usize {
        for round in 0..rounds_max {
            if self.round() == (0, Vec::new()) {
                return round;
            }
        }
        panic!("still busy after {rounds_max} rounds: {:?}", self.round());
    }

    /// Does what a step says. False when it comes too late, as a group's leader would say.
    pub fn carry_out(&mut self, step: &Step) -> bool {
        let shard = step.shard();
        let Some(mut group) = self.groups.get(&shard).cloned() else {
            return false;
        };
        match step {
            Step::Record {
                members, changed, ..
            } => {
                let record = MetaCommand::RecordMembership {
                    shard,
                    members: members.clone(),
                    changed: *changed,
                };
                return self.apply(&record).is_ok();
            }
            Step::AddLearner {
                node,
                replica,
                based_on,
                ..
            } => {
                let (node, replica) = (*node, *replica);
                let allot = MetaCommand::Allot {
                    shard,
                    node,
                    replica,
                };
                if self.apply(&allot).is_err() || *based_on != group.changed {
                    return false;
                }
                assert!(!group.members.all().contains(&replica), "added twice");
                group.members.learners.push(replica);
                group.members.learners.sort_unstable();
                self.tally.copies += usize::from(shard != META_GROUP);
            }
            Step::ChangeVoters {
                promote,
                demote,
                based_on,
                ..
            } => {
                if *based_on != group.changed {
                    return false;
                }
                self.change_voters(shard, &mut group, promote, demote);
            }
            Step::Remove {
                replica, based_on, ..
            } => {
                if *based_on != group.changed {
                    return false;
                }
                assert!(
                    group.members.learners.contains(replica),
                    "only learners are removed"
                );
                group.members.learners.retain(|id| id != replica);
                group.copied.remove(replica);
            }
            Step::TransferLeader { to, .. } => {
                let can = group.members.voters.contains(to) && group.copied.contains(to);
                if can && self.is_up(shard, *to) {
                    group.leader = Some(*to);
                    self.tally.transfers += 1;
                }
                self.set_group(shard, group);
                return can;
            }
        }
        group.changed = group.changed.next();
        self.check_distinct(shard, &group);
        self.set_group(shard, group);
        true
    }

    fn change_voters(
        &self,
        shard: ShardId,
        group: &mut Group,
        promote: &[ReplicaId],
        demote: &[ReplicaId],
    ) {
        assert!(
            group.leader.is_some_and(|leader| !demote.contains(&leader)),
            "the leader stays"
        );
        assert!(promote.iter().all(|id| group.members.learners.contains(id)));
        assert!(
            promote.iter().all(|id| group.copied.contains(id)),
            "a voter is caught up first"
        );
        assert!(demote.iter().all(|id| group.members.voters.contains(id)));
        assert!(
            self.has_quorum(shard, &group.members.voters),
            "the old voters must agree"
        );
        let kept = |list: &[ReplicaId], gone: &[ReplicaId], come: &[ReplicaId]| {
            let kept = list.iter().filter(|id| !gone.contains(id));
            kept.chain(come).copied().collect::<Vec<_>>()
        };
        let voters = kept(&group.members.voters, demote, promote);
        let learners = kept(&group.members.learners, promote, demote);
        assert!(
            self.has_quorum(shard, &voters),
            "the new voters must be able to go on"
        );
        group.members = match promote.len() + demote.len() {
            1 => Members::new(&voters, &learners),
            // The joint state is entered, and left when time passes: until then much can happen.
            _ => Members {
                outgoing: std::mem::take(&mut group.members.voters),
                learners_next: Members::new(demote, &[]).voters,
                ..Members::new(&voters, &kept(&group.members.learners, promote, &[]))
            },
        };
    }

    fn check_distinct(&self, shard: ShardId, group: &Group) {
        let place = self.topology.place(shard).expect("a group of the topology");
        let held = group
            .members
            .all()
            .into_iter()
            .map(|id| &place.replicas[&id]);
        let mut nodes: Vec<NodeId> = held
            .filter(|held| !held.lost)
            .map(|held| held.node)
            .collect();
        nodes.sort_unstable();
        let count = nodes.len();
        nodes.dedup();
        assert_eq!(
            nodes.len(),
            count,
            "two replicas of shard {shard} on a node"
        );
    }

    /// For each node how many shards it holds and how many it leads.
    pub fn loads(&self) -> BTreeMap<NodeId, (usize, usize)> {
        let mut loads: BTreeMap<NodeId, (usize, usize)> = BTreeMap::new();
        for &node in self.topology.nodes.keys() {
            loads.insert(node, (0, 0));
        }
        for (&shard, group) in self.groups.iter().filter(|(&shard, _)| shard != META_GROUP) {
            let place = self.topology.place(shard).expect("a group of the topology");
            for id in group.members.all() {
                loads.entry(place.replicas[&id].node).or_default().0 += 1;
            }
            if let Some(node) = group.leader.and_then(|id| place.node_of(id)) {
                loads.entry(node).or_default().1 += 1;
            }
        }
        loads
    }
}

/// Whoever leads ends the joint state, also one that another has entered.
fn leave_joint(group: &mut Group) {
    if group.members.is_joint() {
        let Members {
            voters,
            learners,
            learners_next,
            ..
        } = &group.members;
        let learners: Vec<ReplicaId> = learners.iter().chain(learners_next).copied().collect();
        group.members = Members::new(voters, &learners);
        group.changed = group.changed.next();
    }
}
