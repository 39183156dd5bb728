//! Applies a command to a topology. Whatever is refused is refused before anything is changed. Nodes, names and numbers
//! are here, groups and their replicas in `record`.

use super::{MetaCommand, MetaError, MetaReply, ShelfName};
use crate::slot::ShardMap;
use crate::topology::{
    shelf_fits, ClusterId, Node, Place, Topology, NAME_BYTES_MAX, NODES_MAX, NODES_REMOVED_MAX,
    REPLICAS_MAX,
};
use crate::types::Epoch;
use crate::NodeId;

/// Whether anything changed.
pub(super) type Changed = Result<bool, MetaError>;

impl Topology {
    /// Applies a command.
    ///
    /// # Errors
    /// Why it is refused; the topology is as it was.
    pub fn apply(&mut self, command: &MetaCommand) -> Result<MetaReply, MetaError> {
        let changed = match command {
            MetaCommand::Init {
                cluster_id,
                shards,
                replicas,
                node,
            } => self.init(*cluster_id, *shards, *replicas, node)?,
            _ if !self.is_formed() => return Err(MetaError::NotFormed),
            MetaCommand::Join { cluster_id, node } => self.join(*cluster_id, node)?,
            MetaCommand::Update { node } => self.update(node)?,
            MetaCommand::Leave { node, force } => self.leave(*node, *force)?,
            MetaCommand::Stay { node } => self.stay(*node)?,
            MetaCommand::Remove { node } => self.remove(*node)?,
            MetaCommand::SetItem { shelf, name, value } => {
                self.set_item(*shelf, name, value.as_deref())?
            }
            MetaCommand::SetReplicas { replicas } => self.set_replicas(*replicas)?,
            MetaCommand::RaiseSemantics { semantics } => self.raise_semantics(*semantics)?,
            MetaCommand::SetWishes { wishes } => self.set_wishes(wishes)?,
            MetaCommand::Allot {
                shard,
                node,
                replica,
            } => self.allot(*shard, *node, *replica)?,
            MetaCommand::RecordMembership {
                shard,
                members,
                changed,
            } => self.record_membership(*shard, members, *changed)?,
            MetaCommand::MarkLost { shard, replica } => self.mark_lost(*shard, *replica)?,
            MetaCommand::Recover(recovery) => self.recover(recovery)?,
        };
        if changed {
            self.epoch = self.epoch.next();
        }
        let epoch = self.epoch;
        Ok(MetaReply { epoch, changed })
    }

    fn init(&mut self, cluster_id: ClusterId, shards: u32, replicas: u8, node: &Node) -> Changed {
        if self.is_formed() {
            let again = cluster_id == self.cluster_id && self.nodes.contains_key(&node.id);
            return if again {
                Ok(false)
            } else {
                Err(MetaError::AlreadyFormed(self.cluster_id))
            };
        }
        let map = ShardMap::new(shards)?;
        check_replicas(replicas)?;
        node.check()?;
        *self = Self {
            epoch: Epoch::ZERO,
            cluster_id,
            replicas,
            semantics: node.semantics,
            nodes: [(node.id, as_new(node))].into(),
            shards: map.iter().map(|_| Place::beginning_on(node.id)).collect(),
            meta: Place::beginning_on(node.id),
            ..Self::default()
        };
        Ok(true)
    }

    fn join(&mut self, cluster_id: Option<ClusterId>, node: &Node) -> Changed {
        let ours = self.cluster_id;
        if let Some(theirs) = cluster_id.filter(|&theirs| theirs != ours) {
            return Err(MetaError::OtherCluster { theirs, ours });
        }
        if let Some(&epoch) = self.removed.get(&node.id) {
            return Err(MetaError::Removed(node.id, epoch));
        }
        if self.nodes.contains_key(&node.id) {
            return self.update(node);
        }
        if self.nodes.len() >= NODES_MAX {
            return Err(MetaError::TooManyNodes);
        }
        self.check_node(node)?;
        self.nodes.insert(node.id, as_new(node));
        self.suspect_others_at(node);
        Ok(true)
    }

    fn update(&mut self, node: &Node) -> Changed {
        let known = self.node(node.id)?;
        let next = Node {
            draining: known.draining,
            ..as_new(node)
        };
        if *known == next {
            return Ok(false);
        }
        self.check_node(node)?;
        self.nodes.insert(node.id, next);
        self.suspect_others_at(node);
        Ok(true)
    }

    fn check_node(&self, node: &Node) -> Result<(), MetaError> {
        node.check()?;
        if node.semantics < self.semantics {
            return Err(MetaError::TooOld {
                node: node.id,
                knows: node.semantics,
                uses: self.semantics,
            });
        }
        Ok(())
    }

    /// Whoever has this address now, the nodes that had it before do not.
    fn suspect_others_at(&mut self, node: &Node) {
        for other in self.nodes.values_mut() {
            other.suspect |= other.id != node.id && other.has_address_of(node);
        }
    }

    pub(super) fn node(&self, id: NodeId) -> Result<&Node, MetaError> {
        self.nodes.get(&id).ok_or(MetaError::NoSuchNode(id))
    }

    fn leave(&mut self, id: NodeId, force: bool) -> Changed {
        if self.node(id)?.draining {
            return Ok(false);
        }
        let left = self.staying().filter(|node| node.id != id).count();
        let needed = usize::from(self.replicas).min(left + 1);
        match left {
            0 => return Err(MetaError::LastNode),
            left if left < needed && !force => {
                let replicas = self.replicas;
                return Err(MetaError::TooFewNodes { left, replicas });
            }
            _ => {}
        }
        Ok(self.set_draining(id, true))
    }

    fn stay(&mut self, id: NodeId) -> Changed {
        let draining = self.node(id)?.draining;
        Ok(draining && self.set_draining(id, false))
    }

    fn set_draining(&mut self, id: NodeId, draining: bool) -> bool {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.draining = draining;
        }
        true
    }

    fn remove(&mut self, id: NodeId) -> Changed {
        if self.removed.contains_key(&id) {
            return Ok(false);
        }
        if !self.node(id)?.draining {
            return Err(MetaError::NotDraining(id));
        }
        let groups = self.groups_that_need(id);
        if groups > 0 {
            return Err(MetaError::StillHolds { node: id, groups });
        }
        self.note_removed(id);
        Ok(true)
    }

    /// Never let in again.
    pub(super) fn note_removed(&mut self, id: NodeId) {
        self.nodes.remove(&id);
        if self.removed.len() >= NODES_REMOVED_MAX {
            let oldest = self.removed.iter().min_by_key(|&(_, epoch)| epoch);
            if let Some(oldest) = oldest.map(|(&id, _)| id) {
                self.removed.remove(&oldest);
            }
        }
        self.removed.insert(id, self.epoch.next());
    }

    /// The nodes that are not to leave.
    pub fn staying(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| !node.draining)
    }

    fn set_item(&mut self, shelf: ShelfName, name: &str, value: Option<&[u8]>) -> Changed {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(MetaError::NameLength(name.len()));
        }
        let shelf = match shelf {
            ShelfName::Settings => &mut self.settings,
            ShelfName::Users => &mut self.users,
            ShelfName::Functions => &mut self.functions,
        };
        let Some(value) = value else {
            return Ok(shelf.remove(name).is_some());
        };
        let before = shelf.insert(name.to_owned(), value.to_owned());
        if shelf_fits(shelf) {
            return Ok(before.as_deref() != Some(value));
        }
        match before {
            Some(before) => shelf.insert(name.to_owned(), before),
            None => shelf.remove(name),
        };
        Err(MetaError::ShelfFull)
    }

    fn set_replicas(&mut self, replicas: u8) -> Changed {
        check_replicas(replicas)?;
        Ok(std::mem::replace(&mut self.replicas, replicas) != replicas)
    }

    fn raise_semantics(&mut self, asked: u32) -> Changed {
        let current = self.semantics;
        if asked == current {
            return Ok(false);
        }
        if asked < current {
            return Err(MetaError::SemanticsNotNewer { asked, current });
        }
        if let Some(old) = self.nodes.values().find(|node| node.semantics < asked) {
            return Err(MetaError::TooOld {
                node: old.id,
                knows: old.semantics,
                uses: asked,
            });
        }
        self.semantics = asked;
        Ok(true)
    }
}

fn check_replicas(replicas: u8) -> Result<(), MetaError> {
    match replicas {
        1..=REPLICAS_MAX => Ok(()),
        _ => Err(MetaError::Replicas(replicas)),
    }
}

/// A node as it describes itself, without what only the cluster says of it.
fn as_new(node: &Node) -> Node {
    Node {
        draining: false,
        suspect: false,
        ..node.clone()
    }
}
