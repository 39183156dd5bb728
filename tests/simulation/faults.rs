//! Carries faults out, and takes them back. Which come how often is the plan's.

use std::io::ErrorKind;

use ringfort::durability::{DiskCall, DurabilityMode};
use ringfort_cluster::sim::{NetworkSettings, Shape};

use crate::context::{Context, Event};
use crate::plan::{Fault, MILLISECOND, NODES, SECOND};
use crate::simulation::Simulation;

impl Simulation {
    /// Something goes wrong.
    pub fn fault(&mut self) {
        if self.context.calm {
            return;
        }
        let context = &mut self.context;
        let fault = context.plan.faults[context.rng.index(context.plan.faults.len())];
        let node = context.rng.index(NODES);
        context.tell(|| format!("fault: {fault:?} at node {node}"));
        if self.carry_out(fault, node) {
            self.context.count(fault);
        }
        let context = &mut self.context;
        let next = context.rng.below(2 * context.plan.fault_every) + 1;
        context.agenda.after(next, Event::Fault);
    }

    fn carry_out(&mut self, fault: Fault, node: usize) -> bool {
        match fault {
            Fault::Crash => self.end_process(node, false),
            Fault::PowerCut => self.power_cut(node),
            Fault::OrderlyRestart => self.orderly_restart(node),
            Fault::FlippedBit => self.flip_bit(node),
            Fault::Wipe => self.wipe(node),
            Fault::Partition | Fault::FlappingPartition => self.partition(fault),
            Fault::BadNetwork => self.bad_network(),
            Fault::ClockJump => self.clock_jump(node),
            Fault::Pause => self.pause(node),
            Fault::CrashInDiskCall
            | Fault::FullDisk
            | Fault::FailedSync
            | Fault::FailedWrite
            | Fault::ShortWrites
            | Fault::SlowDisk => self.disk_fault(fault, node),
        }
    }

    /// Ends a process, with or without the machine, and has it come back some time later.
    pub fn end_process(&mut self, node: usize, power: bool) -> bool {
        if self.nodes[node].process.is_none() {
            return false;
        }
        let life = self.nodes[node].life;
        self.clients.lost((node, life), &mut self.context);
        self.nodes[node].crash(power);
        self.plan_restart(node);
        true
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
    pub fn may_lose_power(&mut self) -> bool {
        let plan = &self.context.plan;
        let safe = plan.mode == DurabilityMode::Always;
        (safe || plan.faults.contains(&Fault::PowerCut)) && self.context.rng.one_in(2)
    }

    fn power_cut(&mut self, node: usize) -> bool {
        if self.context.rng.one_in(6) {
            let mut any = false;
            for node in 0..NODES {
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

    /// At most one node is damaged for good: it stays away, and the others are a majority.
    fn flip_bit(&mut self, node: usize) -> bool {
        let hurt = |node: &crate::node::Node| node.is_damaged || node.is_gone;
        if self.nodes.iter().any(hurt) || !self.end_process(node, false) {
            return false;
        }
        self.nodes[node].flip(&mut self.context)
    }

    fn wipe(&mut self, node: usize) -> bool {
        self.end_process(node, true) && {
            self.nodes[node].wipe(&mut self.context);
            true
        }
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
        self.context.tell(|| "all faults are over".to_string());
        self.relief(Fault::Partition, 0);
        self.relief(Fault::BadNetwork, 0);
        for node in 0..NODES {
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
    context.agenda.after(4 * SECOND, Event::LastReads);
    context.agenda.after(8 * SECOND, Event::End);
}
