//! One run: takes event after event to whom it concerns until the plan is through, then judges.

use std::collections::BTreeSet;
use std::panic::{catch_unwind, AssertUnwindSafe};

use ringfort_cluster::sim::network::NetworkCounts;
use ringfort_cluster::{NodeId, ShardId};

use crate::clients::{Clients, Seen};
use crate::cluster::machine_of;
use crate::context::{Context, Event};
use crate::node::{NoStart, Node};
use crate::plan::{Bug, Fault, Plan, MILLISECOND, SECOND};
use crate::reads::Question;
use crate::worker::{Ended, Worker};

/// A run.
pub struct Simulation {
    pub context: Context,
    pub nodes: Vec<Node>,
    pub clients: Clients,
    /// Nodes that were told to leave.
    pub leaving: BTreeSet<NodeId>,
}

/// What a run came to.
pub struct Report {
    pub seed: u64,
    pub failure: Option<String>,
    pub trace: u64,
    pub faults: Vec<(Fault, u64)>,
    pub network: NetworkCounts,
    pub seen: Seen,
    pub events: u64,
    pub entries: u64,
    pub digests: u64,
    pub elections: u64,
    pub snapshots: u64,
    pub snapshots_sent: u64,
    pub restarts: u64,
    pub refused_starts: u64,
    pub newcomers: u64,
    pub strays: u64,
    pub lease_reads: u64,
    pub settled_us: u64,
    pub story: Vec<String>,
}

/// Runs one seed; what panics is a failure like any other.
pub fn run(seed: u64, bug: Option<Bug>, tell: bool) -> Report {
    let mut simulation = Simulation::new(Plan::new(seed, bug));
    simulation.context.story = tell.then(Vec::new);
    simulation.context.oracle.keeps_keys = tell;
    let outcome = catch_unwind(AssertUnwindSafe(|| simulation.go()));
    let failure = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(violation),
        Err(_) => Some(crate::campaign::last_panic()),
    };
    simulation.report(failure)
}

impl Simulation {
    fn new(plan: Plan) -> Self {
        let machines = plan.nodes + plan.spares;
        let mut context = Context::new(plan, machines);
        context.network.settings = context.plan.network;
        let nodes = (0..machines).map(|number| Node::new(number, &mut context));
        let nodes: Vec<Node> = nodes.collect();
        let clients = Clients::new(&mut context);
        for node in 0..context.plan.nodes {
            context.agenda.at(0, Event::Restart { node });
        }
        context.agenda.at(SECOND, Event::Operate);
        for client in 0..context.plan.clients {
            let at = 300 * MILLISECOND + client as u64;
            context.agenda.at(at, Event::NextOp { client });
        }
        context.agenda.at(SECOND, Event::Fault);
        let calm_at = context.plan.calm_at;
        context.agenda.at(calm_at, Event::Calm);
        Self {
            context,
            nodes,
            clients,
            leaving: BTreeSet::new(),
        }
    }

    fn go(&mut self) -> Result<(), String> {
        while let Some((_, event)) = self.context.agenda.pop() {
            self.context.events += 1;
            if matches!(event, Event::End) {
                match self.at_the_end()? {
                    true => return Ok(()),
                    false => continue,
                }
            }
            self.happens(event)?;
        }
        Err("nothing happens any more".to_string())
    }

    fn happens(&mut self, event: Event) -> Result<(), String> {
        let now = self.context.now();
        self.context.note(now);
        let (event, node) = match self.awake(event) {
            Some(due) => due,
            None => return Ok(()),
        };
        match event {
            Event::Tick { .. } => self.tick(node),
            Event::Turn { worker, .. } => {
                let clock = self.nodes[node].now(&self.context);
                self.with_worker(node, worker, |worker, context| worker.turn(clock, context))
            }
            Event::Written { worker, .. } => {
                self.with_worker(node, worker, |worker, context| worker.written(context))
            }
            Event::SyncAll { life, .. } => {
                let event = Event::SyncAll { node, life };
                self.context.agenda.after(SECOND, event);
                self.with_workers(node, |worker, _| worker.sync())
            }
            Event::Deliver {
                from,
                to,
                mut envelope,
                message,
            } => {
                // Whoever dials a machine sees which node it is.
                if self.nodes[node].id() != to {
                    return Ok(());
                }
                envelope.shard = self.perhaps_another(envelope.shard);
                let clock = self.nodes[node].monotonic(&self.context);
                let mut message = Some(*message);
                self.with_workers(node, |worker, context| match worker.has(envelope.shard) {
                    true => {
                        let message = message.take().expect("of one worker");
                        worker.step(from, envelope, message, clock, context)
                    }
                    false => Ok(()),
                })
            }
            Event::Say { to, word } => match self.nodes[node].id() == to {
                true => self.hears(node, &word),
                false => Ok(()),
            },
            Event::Govern { .. } => {
                self.govern(node);
                Ok(())
            }
            Event::Request { op, attempt, .. } => {
                self.request(node, op, attempt);
                Ok(())
            }
            Event::Answer {
                op,
                attempt,
                answer,
            } => self
                .clients
                .answered(op, attempt, &answer, self.nodes.len(), &mut self.context),
            Event::NextOp { client } => {
                self.clients.next(client, &mut self.context);
                Ok(())
            }
            Event::GiveUp { op } => self.clients.give_up(op, &mut self.context),
            Event::Restart { .. } => self.restart(node),
            other => self.of_the_plan(other),
        }
    }

    fn of_the_plan(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Fault => return self.fault(),
            Event::CutOff { node } if !self.context.calm => self.cut_off(node),
            Event::Split { nodes } if !self.context.calm => self.split(nodes),
            Event::Operate => self.operate(),
            Event::Rebuild { node } => self.rebuild(node),
            Event::Relief { what, node } if !self.context.calm => self.relief(what, node),
            Event::Calm => self.calm(),
            Event::LastReads => self.clients.last_reads(&mut self.context),
            _ => {}
        }
        Ok(())
    }

    /// Gives the event back with its node, unless the node is another one by now or stands still; then the event waits.
    fn awake(&mut self, event: Event) -> Option<(Event, usize)> {
        let (node, life) = match &event {
            Event::Tick { node, life }
            | Event::Turn { node, life, .. }
            | Event::Written { node, life, .. }
            | Event::Govern { node, life }
            | Event::SyncAll { node, life } => (*node, Some(*life)),
            Event::Deliver { to, .. } | Event::Say { to, .. } => (machine_of(*to), None),
            Event::Request { node, .. } => (*node, None),
            Event::Restart { node } => {
                let node = *node;
                return Some((event, node));
            }
            _ => return Some((event, 0)),
        };
        let found = &self.nodes[node];
        if life.is_some_and(|life| life != found.life) {
            return None;
        }
        if found.paused_until > self.context.now() && found.process.is_some() {
            // What waits in several sockets is read in any order.
            let until = found.paused_until + self.context.rng.below(2 * MILLISECOND);
            self.context.agenda.at(until, event);
            return None;
        }
        Some((event, node))
    }

    fn perhaps_another(&mut self, shard: ShardId) -> ShardId {
        if self.context.has_bug(Bug::MessageOfAnotherShard) && self.context.rng.one_in(20) {
            return ShardId((shard.0 + 1) % self.context.plan.shards);
        }
        shard
    }

    fn tick(&mut self, node: usize) -> Result<(), String> {
        let found = &self.nodes[node];
        let life = found.life;
        let delay = found.clock.true_length(self.context.plan.tick_us);
        self.context.agenda.after(delay, Event::Tick { node, life });
        self.follow(node)?;
        let clock = self.nodes[node].monotonic(&self.context);
        self.with_workers(node, |worker, context| worker.tick(clock, context))
    }

    fn request(&mut self, node: usize, op: u32, attempt: u32) {
        let clock = self.nodes[node].now(&self.context);
        let monotonic = self.nodes[node].monotonic(&self.context);
        let life = self.nodes[node].life;
        let context = &mut self.context;
        let Some(process) = &mut self.nodes[node].process else {
            let answer = b"-DOWN the connection is refused\r\n".to_vec();
            let answer = Event::Answer {
                op,
                attempt,
                answer,
            };
            context.agenda.after(context.network.delay(), answer);
            return;
        };
        let Some((args, shard)) = self.clients.arrives(op, attempt, (node, life)) else {
            return;
        };
        let question = Question {
            op,
            attempt,
            args,
            shard,
        };
        for worker in &mut process.workers {
            if worker.place(shard).is_some() {
                worker.ask(&question, (clock, monotonic), context);
            }
        }
    }

    fn restart(&mut self, node: usize) -> Result<(), String> {
        if self.nodes[node].process.is_some() || self.nodes[node].is_gone {
            return Ok(());
        }
        match self.nodes[node].start(&mut self.context) {
            Ok(()) => {
                let found = &mut self.nodes[node];
                self.context.restarts += 1;
                found.paused_until = 0;
                let life = found.life;
                let context = &mut self.context;
                context.tell(|| format!("node {node} starts"));
                context.agenda.after(1, Event::Tick { node, life });
                context.agenda.after(2, Event::Govern { node, life });
                if context.plan.mode == ringfort::durability::DurabilityMode::Everysec {
                    context.agenda.after(SECOND, Event::SyncAll { node, life });
                }
                Ok(())
            }
            Err(NoStart::Disk) => {
                let power = self.may_lose_power(node);
                self.ends(node, power);
                self.plan_restart(node);
                Ok(())
            }
            Err(NoStart::Refused(why)) if self.nodes[node].is_damaged => {
                self.context
                    .tell(|| format!("node {node} refuses to start: {why}"));
                self.context.refused_starts += 1;
                self.nodes[node].is_gone = true;
                let delay = self.context.rng.between(50, 1500) * MILLISECOND;
                self.context.agenda.after(delay, Event::Rebuild { node });
                Ok(())
            }
            Err(NoStart::Refused(why)) => Err(format!("node {node} does not start: {why}")),
            Err(NoStart::Violation(why)) => Err(why),
        }
    }

    fn with_worker(
        &mut self,
        node: usize,
        number: usize,
        run: impl FnOnce(&mut Worker, &mut Context) -> Result<(), Ended>,
    ) -> Result<(), String> {
        let Some(process) = &mut self.nodes[node].process else {
            return Ok(());
        };
        let done = run(&mut process.workers[number], &mut self.context);
        self.ended(node, done)
    }

    pub fn with_workers(
        &mut self,
        node: usize,
        mut run: impl FnMut(&mut Worker, &mut Context) -> Result<(), Ended>,
    ) -> Result<(), String> {
        let Some(process) = &mut self.nodes[node].process else {
            return Ok(());
        };
        let mut workers = process.workers.iter_mut();
        let done = workers.try_for_each(|worker| run(worker, &mut self.context));
        self.ended(node, done)
    }

    pub fn ended(&mut self, node: usize, done: Result<(), Ended>) -> Result<(), String> {
        match done {
            Ok(()) => Ok(()),
            Err(Ended::Violation(violation)) => Err(violation),
            Err(Ended::Died) => {
                self.context
                    .tell(|| format!("node {node} dies by its disk"));
                let power = self.may_lose_power(node);
                self.end_process(node, power);
                Ok(())
            }
        }
    }

    fn report(self, failure: Option<String>) -> Report {
        let mut seen = Seen::default();
        let judged = match &failure {
            None => self.clients.judge(&mut seen).err(),
            Some(_) => None,
        };
        let context = self.context;
        Report {
            seed: context.plan.seed,
            failure: failure.or(judged),
            trace: context.trace(),
            faults: context.counts.iter().map(|(kind, n)| (*kind, *n)).collect(),
            network: context.network.counts,
            seen,
            events: context.events,
            entries: context.oracle.entries,
            digests: context.oracle.digests,
            elections: context.oracle.elections,
            snapshots: context.snapshots,
            snapshots_sent: context.snapshots_sent,
            restarts: context.restarts,
            refused_starts: context.refused_starts,
            newcomers: context.newcomers,
            strays: context.strays,
            lease_reads: context.lease_reads,
            settled_us: context.now().saturating_sub(context.calm_at),
            story: context.story.unwrap_or_default(),
        }
    }
}
