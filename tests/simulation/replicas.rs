//! Replicas that begin and end while their process runs, in the steps of production (`node/replicas.rs`), and orders for those
//! that lead.

use std::path::Path;

use ringfort::durability::snapshot::remove_snapshots;
use ringfort::durability::ReplicaError;
use ringfort::node::shard::Shard;
use ringfort::store::Timestamp;
use ringfort_cluster::replica::{MembershipChange, TransferError};
use ringfort_cluster::sim::Mistake;
use ringfort_cluster::steward::{carry_out, duties, Begun, Order, OrderRefused, Since, Task};
use ringfort_cluster::topology::ReplicaFate;
use ringfort_cluster::{Epoch, Index, Monotonic, Replica, ReplicaId, Restored, ShardId, Term};

use crate::cluster::{machine_of, number_of, Office};
use crate::context::{empty_databases, Context, Event};
use crate::plan::Bug;
use crate::snapshots::{spare_replica, SNAPSHOTS};
use crate::start::config;
use crate::worker::{Answers, Ended, Worker};

impl Worker {
    /// Does what a newer topology asks for. Between turns: nothing is being written then.
    pub fn follow(&mut self, office: &Office, context: &mut Context) -> Result<(), Ended> {
        let topology = &office.topology;
        if self.topology_epoch >= topology.epoch || self.is_writing() {
            return Ok(());
        }
        let me = self.home.id;
        let mut here = std::collections::BTreeMap::new();
        for place in &mut self.places {
            let (group, id) = (place.shard.replica.shard(), place.shard.replica.id());
            if let Some(known) = topology.place(group) {
                let heard = place.shard.standing.nodes.clone();
                let newcomers = heard
                    .into_iter()
                    .filter(|(id, _)| known.fate(*id) == ReplicaFate::Unknown);
                let replicas = known.replicas.iter().map(|(&id, held)| (id, held.node));
                place.shard.standing.nodes = replicas.chain(newcomers).collect();
            }
            if place.shard.standing.is_held || office.suspect.contains(&(group, id)) {
                here.insert(group, id);
            }
        }
        let due = duties(topology, me, &here, Since::Running);
        let in_doubt = |replica| office.lost.contains(replica) || office.suspect.contains(replica);
        let is_here = |(group, _): &&(ShardId, ReplicaId)| {
            let number = number_of(*group, context.plan.shards);
            self.places.iter().any(|place| place.shard.id == number)
        };
        let start = due.start.iter().filter(|replica| !in_doubt(replica));
        let start: Vec<_> = start.filter(is_here).copied().collect();
        self.topology_epoch = topology.epoch;
        let done = self.drop_and_start(office, &due.drop, &start, context);
        if self.home.sim.is_stopped() {
            return Err(Ended::Died);
        }
        if done.is_err() {
            // A full disk: once more with the next tick.
            self.topology_epoch = Epoch::ZERO;
        }
        Ok(())
    }

    fn drop_and_start(
        &mut self,
        office: &Office,
        drop: &[(ShardId, ReplicaId)],
        start: &[(ShardId, ReplicaId)],
        context: &mut Context,
    ) -> Result<(), ReplicaError> {
        let state = self.home.state.clone();
        // A start that was forgotten would be taken for a replica that never was.
        if !start.is_empty() {
            state.keep_topology(&office.topology)?;
        }
        let mut done = Ok(());
        let _ = state.end_replicas(drop);
        for &(group, id) in drop {
            done = done.and(self.drop_replica(group, id, context));
        }
        let _ = state.begin_replicas(start);
        for &(group, id) in start {
            done = done.and(self.start_replica(group, id, context));
        }
        done
    }

    fn start_replica(
        &mut self,
        group: ShardId,
        id: ReplicaId,
        context: &mut Context,
    ) -> Result<(), ReplicaError> {
        let state = self.home.state.clone();
        let at = self.at(group).ok_or(ReplicaError::NoPlace(group))?;
        let held = &self.places[at].shard;
        if held.standing.is_held && held.replica.id() == id {
            return Ok(());
        }
        if state.suspects().contains(&(group, id)) {
            return Err(ReplicaError::Occupied(group, id));
        }
        self.tidy(at, group)?;
        state.begin_replicas(&[(group, id)])?;
        let node = self.home.node;
        context.tell(|| format!("node {node} begins replica {id} of shard {group}"));
        context.losses.begins((group, id), node);
        context.newcomers += 1;
        let config = config(group, id, context);
        let shard = &mut self.places[at].shard;
        shard.replica = Replica::new(&config, Restored::joining()).expect("a fresh replica starts");
        shard.standing.is_held = true;
        Ok(())
    }

    fn drop_replica(
        &mut self,
        group: ShardId,
        id: ReplicaId,
        context: &mut Context,
    ) -> Result<(), ReplicaError> {
        let state = self.home.state.clone();
        let Some(at) = self.at(group) else {
            return Ok(());
        };
        state.end_replicas(&[(group, id)])?;
        if self.places[at].shard.replica.id() == id {
            let node = self.home.node;
            context.tell(|| format!("node {node} drops replica {id} of shard {group}"));
            context.losses.ends((group, id));
            self.vacate(at, group, context);
        }
        self.tidy(at, group)
    }

    fn vacate(&mut self, at: usize, group: ShardId, context: &mut Context) {
        let mut answers = Answers::default();
        let place = &mut self.places[at];
        let shard = &mut place.shard;
        shard.abandon(b"-UNKNOWN the leader is lost\r\n", &mut answers);
        shard.refuse(b"-TRYAGAIN the replica is gone\r\n", &mut answers);
        place.refuse_waiting(b"-TRYAGAIN the replica is gone\r\n", &mut answers);
        answers.send(context);
        let databases = empty_databases(self.home.hash_seed);
        let start = (Index::ZERO, Term(0));
        let nodes = std::mem::take(&mut place.shard.standing.nodes);
        let id = place.shard.id;
        place.shard = Shard::new(id, databases, spare_replica(group), start, Timestamp(0));
        place.shard.standing.nodes = nodes;
        place.vacate();
        self.home.covered.borrow_mut().remove(&id);
    }

    /// Neither a snapshot nor the log brings back what earlier replicas have left, if they have left anything.
    fn tidy(&mut self, at: usize, group: ShardId) -> Result<(), ReplicaError> {
        if !self.home.state.is_littered(group) {
            return Ok(());
        }
        let number = self.places[at].shard.id;
        let failed = |error: String| ReplicaError::Log(group, error);
        let removed = remove_snapshots(&self.home.disk, Path::new(SNAPSHOTS), number);
        removed.map_err(|error| failed(error.to_string()))?;
        match self.wal.forget(&[number]) {
            Ok(()) => {}
            Err(error) if error.is_full() => return Err(failed(error.to_string())),
            Err(error) => {
                self.is_dead = true;
                return Err(failed(error.to_string()));
            }
        }
        self.home.state.tidied(group);
        Ok(())
    }

    fn at(&self, group: ShardId) -> Option<usize> {
        let mut places = self.places.iter();
        places.position(|place| place.shard.replica.shard() == group)
    }

    /// Carries an order out, where its group is led here.
    pub fn obey(
        &mut self,
        order: &Order,
        now: Monotonic,
        context: &mut Context,
    ) -> Result<(), Ended> {
        let Some(at) = self.at(order.shard) else {
            return Ok(());
        };
        let place = &mut self.places[at];
        if !place.shard.standing.is_held {
            return Ok(());
        }
        if matches!(order.task, Task::TransferLeader(_)) {
            place.note_lease(context);
        }
        let begun = match context.has_bug(Bug::ChangeUncheckedForOthers) {
            true => carry_out_hastily(order, &mut place.shard.replica, now),
            false => carry_out(order, &mut place.shard.replica, now),
        };
        let node = self.home.node;
        context.tell(|| format!("node {node} is ordered {order:?}: {begun:?}"));
        if let (Ok(_), Task::ChangeVoters { promote, .. }) = (&begun, &order.task) {
            self.perhaps_cut_off(at, promote, context);
        }
        self.look_at_leadership(at, context)?;
        self.wake(context);
        Ok(())
    }

    /// The network parts before everybody knows of a change of the voters.
    fn perhaps_cut_off(&self, at: usize, promoted: &[ReplicaId], context: &mut Context) {
        if !context.plan.cuts_changes || context.calm {
            return;
        }
        let nodes = self.places[at].shard.standing.nodes.iter();
        let promoted = nodes.filter(|(id, _)| promoted.contains(id));
        let machines = promoted.map(|(_, node)| machine_of(*node));
        let nodes = machines.fold(1 << self.home.node, |all, machine| all | 1 << machine);
        let within = 1 << context.rng.between(9, 14);
        let after = context.rng.below(within);
        context.agenda.after(after, Event::Split { nodes });
    }

    /// Hands the leadership of a shard to another voter, whom chance decides.
    pub fn hand_over(
        &mut self,
        at: usize,
        now: Monotonic,
        context: &mut Context,
    ) -> Result<bool, Ended> {
        let place = &mut self.places[at];
        let voters = place.shard.replica.membership().voters;
        let to = voters[context.rng.index(voters.len())];
        place.note_lease(context);
        let begun: Result<(), TransferError> = place.shard.replica.transfer_leadership(to, now);
        self.look_at_leadership(at, context)?;
        self.wake(context);
        Ok(begun.is_ok())
    }
}

/// Carries out an order as somebody would who forgot that one change must be committed before the next is proposed: vote by vote,
/// without a joint state.
fn carry_out_hastily(
    order: &Order,
    replica: &mut Replica,
    now: Monotonic,
) -> Result<Begun, OrderRefused> {
    let (promote, demote) = match &order.task {
        Task::ChangeVoters { promote, demote } if promote.len() + demote.len() > 1 => {
            (promote, demote)
        }
        _ => return carry_out(order, replica, now),
    };
    let first = Order {
        task: Task::ChangeVoters {
            promote: promote[..1.min(promote.len())].to_vec(),
            demote: match promote.is_empty() {
                true => demote[..1].to_vec(),
                false => Vec::new(),
            },
        },
        ..order.clone()
    };
    let begun = carry_out(&first, replica, now)?;
    let rest = demote.iter().skip(usize::from(promote.is_empty()));
    let changes = promote
        .iter()
        .skip(1)
        .map(|&id| MembershipChange::Promote(id));
    for change in changes.chain(rest.map(|&id| MembershipChange::Demote(id))) {
        replica.propose_change_meanwhile(change, Mistake::on_purpose())?;
    }
    Ok(begun)
}
