//! What a node of the model has of the meta group, held as production holds it: a copy whose state is the topology, and beside it, never
//! in its place, the newest topology that the node knows.

use ringfort_cluster::replica::{EntryKind, LogEntry, ProposeError, Replica};
use ringfort_cluster::{MetaCommand, Topology};

#[derive(Default)]
pub struct Meta {
    /// The copy of this node, if it holds one, and what that has applied.
    pub copy: Option<(Replica, Topology)>,
    newest: Topology,
}

impl Meta {
    /// The newest topology that this node knows.
    pub fn topology(&self) -> &Topology {
        &self.newest
    }

    /// Takes a topology that is newer.
    pub fn offer(&mut self, topology: &Topology) {
        if topology.epoch > self.newest.epoch {
            self.newest = topology.clone();
        }
    }

    /// From now on this node holds a copy, which has applied so much.
    pub fn hold(&mut self, replica: Replica, applied: Topology) {
        self.offer(&applied);
        self.copy = Some((replica, applied));
    }

    /// Whether this node leads the meta group and knows all that was committed before.
    pub fn leads(&self) -> bool {
        let leads = |replica: &Replica| replica.is_leader() && replica.has_applied_own_term();
        self.copy
            .as_ref()
            .is_some_and(|(replica, _)| leads(replica))
    }

    /// Proposes a command, where the meta group is led.
    pub fn propose(&mut self, command: &MetaCommand) -> Result<(), ProposeError> {
        let leads = self.leads();
        let copy = self.copy.as_mut().filter(|_| leads);
        let (replica, _) = copy.ok_or(ProposeError::NotLeader)?;
        replica.propose(command.encode().expect("a small command"))
    }

    /// Applies the next committed entry.
    pub fn apply(&mut self, entry: &LogEntry) {
        let Some((replica, topology)) = &mut self.copy else {
            return;
        };
        match entry.kind {
            EntryKind::Empty => {}
            EntryKind::Commands => {
                let command = MetaCommand::decode(&entry.data).expect("a sound entry");
                if let Err(error) = topology.apply(&command) {
                    panic!("the steward proposed what is refused: {error}");
                }
            }
            EntryKind::Membership => drop(replica.apply_membership(entry).expect("a sound entry")),
        }
        let applied = topology.clone();
        self.offer(&applied);
    }

    /// Takes a snapshot in place of what was applied.
    pub fn install(&mut self, snapshot: Topology) {
        self.offer(&snapshot);
        if let Some((_, topology)) = &mut self.copy {
            *topology = snapshot;
        }
    }
}
