//! The cluster governed as in production (`server/govern`): nodes report to the leader of the meta group, its steward decides,
//! proposes and orders, and newer topologies come back with the answers. And whoever runs the cluster.

use std::rc::Rc;

use ringfort_cluster::meta::MetaCommand;
use ringfort_cluster::steward::{NodeReport, Steward, StewardAction};
use ringfort_cluster::topology::META_GROUP;
use ringfort_cluster::{NodeId, Topology};

use crate::cluster::{described, limits, machine_of, Word};
use crate::context::{Context, Event};
use crate::node::{Node, Process};
use crate::plan::{MILLISECOND, VOTERS};
use crate::simulation::Simulation;

/// In ticks, how often a node reports and the steward looks.
const GOVERN_TICKS: u64 = 4;
const OPERATE_EVERY: u64 = 250 * MILLISECOND;

impl Process {
    /// Proposes to the meta group, if it is led here.
    fn propose(&mut self, command: &MetaCommand, context: &mut Context) {
        if self.leads_meta() {
            context.tell(|| format!("proposed to the meta group: {command:?}"));
            let worker = self
                .workers
                .iter_mut()
                .find(|worker| worker.has(META_GROUP));
            if let Some(worker) = worker {
                worker.propose_meta(command, context);
            }
        }
    }

    /// Takes a report in, as the leader of the meta group.
    fn hear(&mut self, report: NodeReport, now: ringfort_cluster::Monotonic, context: &Context) {
        let Some(term) = self.meta().map(|place| place.shard.replica.term()) else {
            return;
        };
        let steward = &mut self.office.steward;
        if steward.as_ref().is_none_or(|(known, _)| *known != term) {
            *steward = Some((term, Steward::new(limits(&context.plan))));
        }
        if let Some((_, steward)) = steward {
            steward.heard(report, now);
        }
    }
}

impl Simulation {
    /// A node's regular work for the cluster.
    pub fn govern(&mut self, number: usize) {
        let Self { nodes, context, .. } = self;
        let Node { life, clock, .. } = nodes[number];
        let delay = clock.true_length(GOVERN_TICKS * context.plan.tick_us);
        let again = Event::Govern { node: number, life };
        context.agenda.after(delay, again);
        let (id, now) = (nodes[number].id(), nodes[number].monotonic(context));
        // To whom one turns that knows no leader: an address, whoever is there.
        let any_node = nodes[context.rng.index(context.plan.nodes)].id();
        let Some(process) = &mut nodes[number].process else {
            return;
        };
        process.look_at_meta();
        let topology = process.office.topology.clone();
        let is_removed = topology.removed.contains_key(&id);
        if is_removed || !process.leads_meta() {
            process.office.steward = None;
            let word = match is_removed || topology.nodes.contains_key(&id) {
                true => Word::Report(Box::new(process.report(id)), false),
                false => Word::Propose(
                    MetaCommand::Join {
                        cluster_id: topology.is_formed().then_some(topology.cluster_id),
                        node: described(id),
                    },
                    false,
                ),
            };
            // To one that was removed nobody in the meta group speaks any more: who was the leader for it may be no more. Where production
            // turns to others when that one does not answer, here some words go to others at once, who pass them on.
            let may_be_old = is_removed || context.rng.one_in(4);
            let to = process.meta_leader().filter(|_| !may_be_old);
            let to = to.unwrap_or(any_node);
            context.say(number, to, word);
            if is_removed {
                self.may_be_rebuilt(number);
            }
            return;
        }
        let report = process.report(id);
        process.hear(report, now, context);
        let Some((_, steward)) = &mut process.office.steward else {
            return;
        };
        for action in steward.tick(now, &topology) {
            match action {
                StewardAction::Propose(command) => process.propose(&command, context),
                StewardAction::Order(order) => context.say(number, order.to, Word::Order(order)),
            }
        }
    }

    /// A node hears what another says about the cluster.
    pub fn hears(&mut self, number: usize, word: &Word) -> Result<(), String> {
        let Self { nodes, context, .. } = self;
        let now = nodes[number].monotonic(context);
        let Some(process) = &mut nodes[number].process else {
            return Ok(());
        };
        process.look_at_meta();
        let leader = process.meta_leader();
        match word {
            Word::Topology(topology) => process.offer(topology),
            Word::Report(report, passed_on) => {
                let topology = process.office.topology.clone();
                let to = report.node.id;
                if report.epoch < topology.epoch {
                    context.say(number, to, Word::Topology(topology));
                }
                if process.leads_meta() {
                    process.hear((**report).clone(), now, context);
                } else if let (Some(leader), false) = (leader, *passed_on) {
                    context.say(number, leader, Word::Report(report.clone(), true));
                }
            }
            Word::Propose(command, passed_on) => {
                if let MetaCommand::Join { node, .. } = command {
                    // Whoever is let in learns of it so, and whoever is refused because it was removed while it was down.
                    let topology = process.office.topology.clone();
                    let is_removed = topology.removed.contains_key(&node.id);
                    if is_removed || topology.nodes.contains_key(&node.id) {
                        context.say(number, node.id, Word::Topology(topology));
                        return Ok(());
                    }
                }
                if process.leads_meta() {
                    process.propose(command, context);
                } else if let (Some(leader), false) = (leader, *passed_on) {
                    context.say(number, leader, Word::Propose(command.clone(), true));
                }
            }
            Word::Order(order) => {
                let obey = |worker: &mut crate::worker::Worker, context: &mut Context| {
                    worker.obey(order, now, context)
                };
                return self.with_workers(number, obey);
            }
        }
        Ok(())
    }

    /// Does what the newest topology asks for.
    pub fn follow(&mut self, number: usize) -> Result<(), String> {
        let Self { nodes, context, .. } = self;
        let Some(process) = &mut nodes[number].process else {
            return Ok(());
        };
        process.look_at_meta();
        let Process {
            workers, office, ..
        } = process;
        let mut workers = workers.iter_mut();
        let done = workers.try_for_each(|worker| worker.follow(office, context));
        self.ended(number, done)
    }

    /// The newest topology that any process knows.
    pub fn newest_topology(&self) -> Option<Rc<Topology>> {
        let processes = self.nodes.iter().filter_map(|node| node.process.as_ref());
        let topologies = processes.map(|process| process.office.topology.clone());
        topologies.max_by_key(|topology| topology.epoch)
    }

    /// Has a command reach the leader of the meta group, as that of a person.
    pub fn command(&mut self, command: MetaCommand) {
        let processes = self.nodes.iter().filter_map(|node| node.process.as_ref());
        let leader = processes.filter_map(Process::meta_leader).next();
        let Some(to) = leader else {
            return;
        };
        let word = Rc::new(Word::Propose(command, true));
        self.context
            .agenda
            .after(MILLISECOND, Event::Say { to, word });
    }

    /// Nodes that were emptied are removed, and so are those whose machine is another node by now.
    pub fn operate(&mut self) {
        self.context.agenda.after(OPERATE_EVERY, Event::Operate);
        let Some(topology) = self.newest_topology() else {
            return;
        };
        for node in topology.nodes.values() {
            let is_empty = topology.groups_that_need(node.id) == 0;
            let (node, force) = (node.id, true);
            let described = &topology.nodes[&node];
            if described.draining && is_empty {
                self.command(MetaCommand::Remove { node });
            } else if self.is_replaced(node) && !topology.holds_data(node) && !described.draining {
                self.command(MetaCommand::Leave { node, force });
            }
        }
    }

    /// Whether the machine of a node is another node by now. That the topology calls a node suspect is not enough: a report of the old
    /// one that comes late has the new one called so for a while.
    fn is_replaced(&self, node: NodeId) -> bool {
        self.nodes[machine_of(node)].id() != node
    }

    /// A machine that was removed from the cluster comes back as a new node some time later.
    fn may_be_rebuilt(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let holds = |process: &Process| process.places().any(|place| place.shard.standing.is_held);
        let is_empty = node.process.as_ref().is_some_and(|process| !holds(process));
        // An id that was given out and never used stays with it for as long as the group is as it was.
        let is_free = is_empty || self.context.losses.may_lose(number);
        if is_free && !node.is_to_be_rebuilt {
            node.is_to_be_rebuilt = true;
            self.context
                .agenda
                .after(300 * MILLISECOND, Event::Rebuild { node: number });
        }
    }

    /// The machine gets an empty disk.
    pub fn rebuild(&mut self, number: usize) {
        self.end_process(number, false);
        self.context.losses.loses(number);
        self.nodes[number].wipe(&mut self.context);
        let id = self.nodes[number].id();
        self.context
            .tell(|| format!("machine {number} is node {id} now"));
        self.plan_restart(number);
    }

    /// A machine that is not used yet starts as a node that is to join.
    pub fn join(&mut self, number: usize) -> bool {
        let plan = &self.context.plan;
        let spare = plan.nodes + number % plan.spares.max(1);
        if plan.spares == 0 || self.nodes[spare].life > 0 || self.nodes[spare].process.is_some() {
            return false;
        }
        self.context.agenda.after(1, Event::Restart { node: spare });
        true
    }

    /// A node is told to leave, if enough others stay: what is lost, or was told so and has not heard it yet, is not counted.
    pub fn leave(&mut self, number: usize) -> bool {
        let id = self.nodes[number].id();
        let Some(topology) = self.newest_topology() else {
            return false;
        };
        let stays = |node: &&ringfort_cluster::topology::Node| {
            let is_lost = node.suspect || self.is_replaced(node.id);
            !is_lost && !self.nodes[machine_of(node.id)].is_gone && !self.leaving.contains(&node.id)
        };
        let mut staying = topology.staying().filter(stays);
        let is_one = staying.any(|node| node.id == id);
        if !is_one || topology.staying().filter(stays).count() <= VOTERS {
            return false;
        }
        self.leaving.insert(id);
        let (node, force) = (id, false);
        self.command(MetaCommand::Leave { node, force });
        true
    }
}
