//! What is done to a simulated group whose majority is gone for ever. Decides nothing.

use super::Group;
use bytes::Bytes;
use ringfort_cluster::replica::{EntryKind, Force, Outputs};
use ringfort_cluster::{Index, ReplicaId, Term};
use std::collections::BTreeSet;

impl Group {
    /// Has a replica help nobody else into office before it has an entry of a newer term.
    pub fn confine(&mut self, id: u64, to: u64, term: Term) -> bool {
        self.replica(id).confine(ReplicaId(to), term)
    }

    /// Has a replica decide alone from now on.
    pub fn force(&mut self, id: u64, force: &Force) -> bool {
        let forced = self.replica(id).force(force);
        self.turn(id);
        forced
    }

    /// As [`Group::force`], but the replica ends before any of it is written; what it has sent is on its way.
    pub fn force_and_crash(&mut self, id: u64, force: &Force) {
        let node = self.nodes.get_mut(&id).expect("a node");
        let replica = node.replica.as_mut().expect("it runs");
        assert!(replica.force(force), "seed {}", self.seed);
        let mut outputs = Outputs::default();
        assert!(replica.ready(&mut outputs));
        node.outbox.append(&mut outputs.messages);
        self.send(id);
        self.crash(id);
    }

    pub fn has_leader(&mut self, id: u64) -> bool {
        self.replica(id).hears_leader()
    }

    pub fn last(&mut self, id: u64) -> (Term, Index) {
        self.replica(id).last_entry()
    }

    /// What only others than these have written is gone for good.
    pub fn lose_all_but(&mut self, survivors: &[u64]) {
        let written = |id: &u64| {
            let node = &self.nodes[id];
            let entries = node.disk.entries.iter();
            let commands = entries.filter(|entry| entry.kind == EntryKind::Commands);
            let number = |data: &Bytes| u64::from_le_bytes(data.as_ref().try_into().expect("one"));
            let mut all: Vec<u64> = commands.map(|entry| number(&entry.data)).collect();
            all.extend(&node.snapshot);
            all
        };
        let kept: BTreeSet<u64> = survivors.iter().flat_map(written).collect();
        self.acknowledged.retain(|proposal| kept.contains(proposal));
        let timed = self.acknowledgements.iter().zip(&self.acknowledged_at);
        let timed = timed.filter(|(proposal, _)| kept.contains(proposal));
        (self.acknowledgements, self.acknowledged_at) = timed.unzip();
        for node in self.nodes.values_mut() {
            (node.found, node.found_by_age) = (0, 0);
        }
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }
}
