//! One run: takes event after event to whom it concerns until the plan is through, then judges.

use std::panic::{catch_unwind, AssertUnwindSafe};

use ringfort_cluster::sim::network::NetworkCounts;
use ringfort_cluster::ShardId;

use crate::clients::{Clients, Seen};
use crate::context::{Context, Event};
use crate::node::{NoStart, Node};
use crate::plan::{Bug, Fault, Plan, MILLISECOND, NODES, SECOND};
use crate::worker::{Ended, Question, Worker};

/// A run.
pub struct Simulation {
    pub context: Context,
    pub nodes: Vec<Node>,
    pub clients: Clients,
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
        let mut context = Context::new(plan, NODES);
        context.network.settings = context.plan.network;
        let nodes = (0..NODES).map(|number| Node::new(number, &mut context));
        let nodes: Vec<Node> = nodes.collect();
        let clients = Clients::new(&mut context);
        for node in 0..NODES {
            context.agenda.at(0, Event::Restart { node });
        }
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
        }
    }

    fn go(&mut self) -> Result<(), String> {
        while let Some((_, event)) = self.context.agenda.pop() {
            self.context.events += 1;
            if matches!(event, Event::End) {
                return self.at_the_end();
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
            Event::Deliver { shard, message, .. } => {
                let shard = self.perhaps_another(shard);
                let clock = self.nodes[node].monotonic(&self.context);
                self.with_workers(node, |worker, context| {
                    match worker.place(shard).is_some() {
                        true => worker.step(shard, (*message).clone(), clock, context),
                        false => Ok(()),
                    }
                })
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
                .answered(op, attempt, &answer, NODES, &mut self.context),
            Event::NextOp { client } => {
                self.clients.next(client, &mut self.context);
                Ok(())
            }
            Event::GiveUp { op } => self.clients.give_up(op, &mut self.context),
            Event::Restart { .. } => self.restart(node),
            other => {
                self.of_the_plan(other);
                Ok(())
            }
        }
    }

    fn of_the_plan(&mut self, event: Event) {
        match event {
            Event::Fault => self.fault(),
            Event::Relief { what, node } if !self.context.calm => self.relief(what, node),
            Event::Calm => self.calm(),
            Event::LastReads => self.clients.last_reads(&mut self.context),
            _ => {}
        }
    }

    /// Gives the event back with its node, unless the node is another one by now or stands still; then the event waits.
    fn awake(&mut self, event: Event) -> Option<(Event, usize)> {
        let (node, life) = match &event {
            Event::Tick { node, life }
            | Event::Turn { node, life, .. }
            | Event::Written { node, life, .. }
            | Event::SyncAll { node, life } => (*node, Some(*life)),
            Event::Deliver { to, .. } => (*to, None),
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
        if self.context.has_bug(Bug::MessageOfAnotherShard) && self.context.rng.one_in(100) {
            return ShardId((shard.0 + 1) % self.context.plan.shards);
        }
        shard
    }

    fn tick(&mut self, node: usize) -> Result<(), String> {
        let found = &self.nodes[node];
        let life = found.life;
        let delay = found.clock.true_length(self.context.plan.tick_us);
        self.context.agenda.after(delay, Event::Tick { node, life });
        let clock = self.nodes[node].monotonic(&self.context);
        self.with_workers(node, |worker, context| worker.tick(clock, context))
    }

    fn request(&mut self, node: usize, op: u32, attempt: u32) {
        let clock = self.nodes[node].now(&self.context);
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
                worker.ask(&question, clock, context);
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
                if context.plan.mode == ringfort::durability::DurabilityMode::Everysec {
                    context.agenda.after(SECOND, Event::SyncAll { node, life });
                }
                Ok(())
            }
            Err(NoStart::Disk) => {
                let power = self.may_lose_power();
                self.nodes[node].crash(power);
                self.plan_restart(node);
                Ok(())
            }
            Err(NoStart::Refused(why)) if self.nodes[node].is_damaged => {
                self.context
                    .tell(|| format!("node {node} refuses to start: {why}"));
                self.context.refused_starts += 1;
                self.nodes[node].is_gone = true;
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

    fn with_workers(
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

    fn ended(&mut self, node: usize, done: Result<(), Ended>) -> Result<(), String> {
        match done {
            Ok(()) => Ok(()),
            Err(Ended::Violation(violation)) => Err(violation),
            Err(Ended::Died) => {
                self.context
                    .tell(|| format!("node {node} dies by its disk"));
                let power = self.may_lose_power();
                self.end_process(node, power);
                Ok(())
            }
        }
    }

    /// Everything has come to rest: the replicas are equal, and what clients saw makes sense.
    fn at_the_end(&mut self) -> Result<(), String> {
        let mut ends: Vec<Option<ringfort_cluster::Index>> =
            vec![None; usize::from(self.context.plan.shards)];
        for node in self.nodes.iter().filter(|node| !node.is_gone) {
            let process = node.process.as_ref();
            let process = process.ok_or_else(|| format!("node {} is down", node.number))?;
            for place in process.workers.iter().flat_map(|worker| &worker.places) {
                let shard = &place.shard;
                self.context.oracle.holds(shard)?;
                self.context.oracle.restored(shard)?;
                let applied = shard.applied().0;
                let end = ends[usize::from(shard.id.0)].get_or_insert(applied);
                if *end != applied {
                    return Err(format!(
                        "no progress: at rest shard {} has applied {end} and, on node {}, {applied}",
                        shard.id, node.number
                    ));
                }
            }
        }
        Ok(())
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
            story: context.story.unwrap_or_default(),
        }
    }
}
