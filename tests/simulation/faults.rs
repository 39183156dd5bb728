//! Carries faults out, and takes them back. Which come how often is the plan's.

use std::io::ErrorKind;

use ringfort::durability::{DiskCall, DurabilityMode};
use ringfort_cluster::sim::{NetworkSettings, Shape};

use crate::context::{Context, Event};
use crate::plan::{Bug, Fault, MILLISECOND, SECOND};
use crate::simulation::Simulation;

impl Simulation {
    /// Something goes wrong.
    pub fn fault(&mut self) -> Result<(), String> {
        if self.context.calm {
            return Ok(());
        }
        let machines = self.nodes.len();
        let context = &mut self.context;
        let fault = context.plan.faults[context.rng.index(context.plan.faults.len())];
        let node = context.rng.index(machines);
        context.tell(|| format!("fault: {fault:?} at node {node}"));
        if self.carry_out(fault, node)? {
            self.context.count(fault);
        }
        let context = &mut self.context;
        let next = context.rng.below(2 * context.plan.fault_every) + 1;
        context.agenda.after(next, Event::Fault);
        Ok(())
    }

    fn carry_out(&mut self, fault: Fault, node: usize) -> Result<bool, String> {
        let done = match fault {
            Fault::Crash => self.end_process(node, false),
            Fault::PowerCut => self.power_cut(node),
            Fault::OrderlyRestart => self.orderly_restart(node),
            Fault::FlippedBit => self.flip_bit(node),
            Fault::Wipe => self.wipe(node),
            Fault::Partition | Fault::FlappingPartition => self.partition(fault),
            Fault::LeaderCutOff => self.leader_cut_off(node),
            Fault::BadNetwork => self.bad_network(),
            Fault::ClockJump => self.clock_jump(node),
            Fault::Pause => self.pause(node),
            Fault::Join => self.join(node),
            Fault::Leave => self.leave(node),
            Fault::ChangeCutOff => false,
            Fault::Transfer | Fault::TransferCutOff => return self.transfer(fault, node),
            Fault::CrashInDiskCall
            | Fault::FullDisk
            | Fault::FailedSync
            | Fault::FailedWrite
            | Fault::ShortWrites
            | Fault::SlowDisk => self.disk_fault(fault, node),
        };
        Ok(done)
    }

    /// Ends a process, with or without the machine, and has it come back some time later.
    pub fn end_process(&mut self, node: usize, power: bool) -> bool {
        if self.nodes[node].process.is_none() {
            return false;
        }
        let life = self.nodes[node].life;
        self.clients.lost((node, life), &mut self.context);
        self.ends(node, power);
        self.plan_restart(node);
        true
    }

    /// The process is gone, and with `power` what the machine had not synced.
    pub fn ends(&mut self, node: usize, power: bool) {
        if power && self.context.plan.mode == DurabilityMode::Everysec {
            self.context.losses.loses(node);
        }
        self.nodes[node].crash(power);
    }

    /// Whether a node may forget what it has promised: the others must be enough to go on. Bugs may do what they like.
    fn may_forget(&self, node: usize) -> bool {
        let plan = &self.context.plan;
        self.context.losses.may_lose(node) || plan.bug == Some(Bug::SuspectIgnored)
    }

    pub fn plan_restart(&mut self, node: usize) {
        let context = &mut self.context;
        let delay = match context.calm {
            true => 50 * MILLISECOND,
            false => context.rng.between(5, 1500) * MILLISECOND,
        };
        context.agenda.after(delay, Event::Restart { node });
    }

    /// Whether a process that dies now may take its machine with it.
    pub fn may_lose_power(&mut self, node: usize) -> bool {
        let plan = &self.context.plan;
        let safe = plan.mode == DurabilityMode::Always;
        let may = safe || plan.faults.contains(&Fault::PowerCut) && self.may_forget(node);
        may && self.context.rng.one_in(2)
    }

    fn power_cut(&mut self, node: usize) -> bool {
        if self.context.plan.mode == DurabilityMode::Everysec && !self.may_forget(node) {
            return false;
        }
        let all_may = self.context.plan.mode == DurabilityMode::Always
            || self.context.has_bug(Bug::SuspectIgnored);
        if all_may && self.context.rng.one_in(6) {
            let mut any = false;
            for node in 0..self.nodes.len() {
                any |= self.end_process(node, true);
            }
            return any;
        }
        self.end_process(node, true)
    }

    fn orderly_restart(&mut self, node: usize) -> bool {
        if self.nodes[node].process.is_none() {
            return false;
        }
        let life = self.nodes[node].life;
        self.clients.lost((node, life), &mut self.context);
        self.nodes[node].stop();
        self.plan_restart(node);
        true
    }

    /// What a node is damaged in it will not come back with; the others must be a majority of everything.
    fn flip_bit(&mut self, node: usize) -> bool {
        if self.nodes[node].is_damaged || !self.may_forget(node) || !self.end_process(node, false) {
            return false;
        }
        let is_damaged = self.nodes[node].flip(&mut self.context);
        if is_damaged {
            self.context.losses.loses(node);
        }
        is_damaged
    }

    fn wipe(&mut self, number: usize) -> bool {
        let bug = self.context.plan.bug;
        let returns = matches!(bug, Some(Bug::WipedVoterReturns | Bug::ReplicaIdReused));
        let is_up = self.nodes[number].process.is_some();
        if !is_up || self.nodes[number].is_damaged || !self.may_forget(number) {
            return false;
        }
        let node = &mut self.nodes[number];
        let generation = node.generation;
        if returns {
            let worker = node.process.as_ref().and_then(|it| it.workers.first());
            node.remembers = worker.map(|worker| worker.home.state.state());
        }
        self.context.losses.loses(number);
        self.end_process(number, true);
        let node = &mut self.nodes[number];
        node.wipe(&mut self.context);
        if returns {
            node.generation = generation;
        }
        true
    }

    /// Has a leader hand over, and perhaps be cut off while it does.
    fn transfer(&mut self, fault: Fault, node: usize) -> Result<bool, String> {
        let now = self.nodes[node].monotonic(&self.context);
        let Self { nodes, context, .. } = self;
        let Some(process) = &mut nodes[node].process else {
            return Ok(false);
        };
        let mut begun = false;
        for worker in &mut process.workers {
            for at in 0..worker.places.len() {
                if worker.places[at].shard.leads() {
                    match worker.hand_over(at, now, context) {
                        Ok(done) => begun |= done,
                        Err(end) => return self.ended(node, Err(end)).map(|()| false),
                    }
                }
            }
        }
        if begun && fault == Fault::TransferCutOff {
            let after = self.context.rng.below(8 * MILLISECOND);
            self.context.agenda.after(after, Event::CutOff { node });
        }
        Ok(begun)
    }

    fn leader_cut_off(&mut self, first: usize) -> bool {
        let leads = |node: &usize| {
            let process = self.nodes[*node].process.as_ref();
            process.is_some_and(|process| process.places().any(|place| place.shard.leads()))
        };
        let machines = self.nodes.len();
        let found = (first..first + machines)
            .map(|node| node % machines)
            .find(leads);
        if let Some(node) = found {
            self.cut_off(node);
        }
        found.is_some()
    }

    /// One node is cut off from the others, in one direction or in both.
    pub fn cut_off(&mut self, node: usize) {
        let shape = match self.context.rng.below(3) {
            0 => Shape::Isolated(node),
            1 => Shape::Deaf(node),
            _ => Shape::Mute(node),
        };
        self.context.network.links.set(shape, 0);
        self.relieve_after(Fault::Partition, 0, SECOND);
    }

    /// Some nodes are cut off from the others, for longer than it takes these to elect their own leader.
    pub fn split(&mut self, nodes: u32) {
        self.context.count(Fault::ChangeCutOff);
        self.context.network.links.set(Shape::Halves(nodes), 0);
        self.relieve_after(Fault::Partition, 0, 4 * SECOND);
    }

    fn partition(&mut self, fault: Fault) -> bool {
        let context = &mut self.context;
        let shape = context.network.links.draw(&mut context.rng);
        let flap = match fault {
            Fault::FlappingPartition => context.rng.between(10, 400) * MILLISECOND,
            _ => 0,
        };
        context.tell(|| format!("partition {shape:?}"));
        context.network.links.set(shape, flap);
        self.relieve_after(fault, 0, 3 * SECOND);
        true
    }

    fn bad_network(&mut self) -> bool {
        let context = &mut self.context;
        context.network.settings = NetworkSettings {
            delay_us: (50, context.rng.between(1, 60) * MILLISECOND),
            loss_per_mille: context.rng.below(300),
            duplicate_per_mille: context.rng.below(200),
            late_per_mille: context.rng.below(100),
            late_us_max: 3 * SECOND,
        };
        self.relieve_after(Fault::BadNetwork, 0, 3 * SECOND);
        true
    }

    fn clock_jump(&mut self, node: usize) -> bool {
        let rng = &mut self.context.rng;
        let longest = 1 << rng.between(10, 32);
        let by = rng.between(1, longest) as i64;
        let by = if rng.one_in(2) { by } else { -by };
        self.nodes[node].clock.jump(by);
        true
    }

    fn pause(&mut self, node: usize) -> bool {
        let until = self.context.now() + self.context.rng.between(20, 2500) * MILLISECOND;
        let node = &mut self.nodes[node];
        node.paused_until = node.paused_until.max(until);
        node.process.is_some()
    }

    fn disk_fault(&mut self, fault: Fault, number: usize) -> bool {
        let rng = &mut self.context.rng;
        let node = &mut self.nodes[number];
        let (disk, is_up) = (&node.sim, node.process.is_some());
        match fault {
            // Also while the node is down: then it dies as it starts.
            Fault::CrashInDiskCall => disk.stop_at_call(rng.between(1, 40)),
            Fault::FullDisk => {
                disk.set_capacity(disk.used() + rng.below(8 * 1024));
                node.is_full = true;
                self.relieve_after(fault, number, 2 * SECOND);
            }
            _ if !is_up => return false,
            Fault::FailedSync => disk.fail(DiskCall::Sync, rng.below(3), ErrorKind::Other),
            Fault::FailedWrite => disk.fail(DiskCall::Write, rng.below(6), ErrorKind::Other),
            Fault::ShortWrites => disk.set_short_writes(true),
            _ => {
                let slowness_us = MILLISECOND << rng.between(2, 11);
                self.set_slowness(number, slowness_us);
                self.relieve_after(fault, number, 2 * SECOND);
            }
        }
        true
    }

    fn set_slowness(&mut self, node: usize, slowness_us: u64) {
        let node = &mut self.nodes[node];
        node.slowness_us = slowness_us;
        if let Some(process) = &mut node.process {
            for worker in &mut process.workers {
                worker.slowness_us = slowness_us;
            }
        }
    }

    fn relieve_after(&mut self, what: Fault, node: usize, longest: u64) {
        let context = &mut self.context;
        let after = context.rng.between(50 * MILLISECOND, longest);
        context.agenda.after(after, Event::Relief { what, node });
    }

    /// A fault that lasts is over.
    pub fn relief(&mut self, what: Fault, node: usize) {
        match what {
            Fault::Partition | Fault::FlappingPartition => {
                self.context.network.links.set(Shape::Whole, 0);
            }
            Fault::BadNetwork => {
                self.context.network.settings = self.context.plan.network;
            }
            Fault::FullDisk => {
                self.nodes[node].sim.set_capacity(u64::MAX);
                self.nodes[node].is_full = false;
            }
            _ => self.set_slowness(node, 0),
        }
    }

    /// All faults are over.
    pub fn calm(&mut self) {
        self.context.calm = true;
        self.context.calm_at = self.context.now();
        self.context.tell(|| "all faults are over".to_string());
        self.relief(Fault::Partition, 0);
        self.relief(Fault::BadNetwork, 0);
        for node in 0..self.nodes.len() {
            self.relief(Fault::FullDisk, node);
            self.relief(Fault::SlowDisk, node);
            let now = self.context.now();
            let node = &mut self.nodes[node];
            node.paused_until = node.paused_until.min(now + SECOND);
        }
        schedule_end(&mut self.context);
    }
}

/// What must be reached after the last fault, and when.
fn schedule_end(context: &mut Context) {
    context.agenda.after(2 * SECOND, Event::LastReads);
    context
        .agenda
        .after(2 * SECOND + 200 * MILLISECOND, Event::End);
}
