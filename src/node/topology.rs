//! The newest topology that this node knows, for all its threads, and what follows from it for a worker: where the other replicas are,
//! and which ones to start and to drop. Decides nothing about the cluster.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use ringfort_cluster::steward::{duties, Since};
use ringfort_cluster::topology::{Node, Place, Ports, ReplicaFate, Topology, PEER_PORT_NONE};
use ringfort_cluster::{Epoch, MetaError, NodeId, ReplicaId, ShardId};
use tokio::sync::Notify;

use crate::settings::Startup;

use super::report::Identity;
use super::view::described;
use super::worker::Worker;
use super::Shared;

/// What clients are told by a node that was removed from its cluster.
pub(super) const REMOVED: &str = "CLUSTERDOWN this node was removed from the cluster; the command was not applied: ask another node";

/// Between two messages about a topology that cannot be followed.
const COMPLAIN_EVERY_US: u64 = 5_000_000;

/// Writes a topology down; the text of a failure is for the operator.
pub type Keeper = Box<dyn Fn(&Topology) -> Result<(), String> + Send + Sync>;

/// Replicas that the topology gives this node, and that it must not start anew under their ids: they may have acknowledged what is not
/// known here any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    /// Their data is gone.
    pub lost: Vec<(ShardId, ReplicaId)>,
    /// Their data may lack its newest part.
    pub suspect: Vec<(ShardId, ReplicaId)>,
}

impl Doubts {
    fn has(&self, replica: (ShardId, ReplicaId)) -> bool {
        self.lost.contains(&replica) || self.suspect.contains(&replica)
    }
}

/// The topology of now, and what the node knows about its own part in it.
#[derive(Default)]
pub struct TopologyCell {
    /// Of `newest`: asking whether there is something new costs one load.
    epoch: AtomicU64,
    newest: RwLock<Arc<Topology>>,
    doubts: Mutex<Doubts>,
    keeper: OnceLock<Keeper>,
    news: Notify,
}

impl TopologyCell {
    /// Takes a topology when it is newer and of the same cluster, and says whether it was.
    pub fn offer(&self, topology: Arc<Topology>) -> bool {
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        let is_newer = topology.epoch > newest.epoch;
        let is_ours = !newest.is_formed() || newest.cluster_id == topology.cluster_id;
        if is_newer && !is_ours {
            let (ours, theirs) = (newest.cluster_id, topology.cluster_id);
            tracing::error!("a topology of cluster {theirs} came to a node of cluster {ours}: is a peer address wrong?");
        }
        if !is_newer || !is_ours {
            return false;
        }
        let epoch = topology.epoch.0;
        *newest = topology;
        // After the topology is there: whoever sees the new epoch finds at least this one.
        self.epoch.store(epoch, Ordering::Release);
        drop(newest);
        self.wake();
        true
    }

    /// The epoch of the newest topology; zero before any is known.
    #[inline]
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// The newest topology.
    pub fn current(&self) -> Arc<Topology> {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        newest.clone()
    }

    /// What this node has lost or doubts, as found at the start.
    pub fn set_doubts(&self, doubts: Doubts) {
        *self.doubts.lock().unwrap_or_else(PoisonError::into_inner) = doubts;
    }

    /// See [`TopologyCell::set_doubts`].
    pub fn doubts(&self) -> Doubts {
        let doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        doubts.clone()
    }

    /// A suspect replica takes part again.
    pub fn trust(&self, replica: (ShardId, ReplicaId)) {
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        doubts.suspect.retain(|suspect| *suspect != replica);
        drop(doubts);
        self.wake();
    }

    /// Who writes a topology down before a replica is started by it. To be set once, before the workers start.
    pub fn set_keeper(&self, keeper: Keeper) {
        let _ = self.keeper.set(keeper);
    }

    /// Writes the newest topology down, so that a start finds what is not much older. Waits for the disk.
    ///
    /// # Errors
    /// A failing or full disk, in words.
    pub fn keep_newest(&self) -> Result<(), String> {
        self.keep(&self.current())
    }

    fn keep(&self, topology: &Topology) -> Result<(), String> {
        self.keeper.get().map_or(Ok(()), |keep| keep(topology))
    }

    /// Leadership, a membership or the topology has changed: others should hear of it soon.
    pub fn wake(&self) {
        self.news.notify_one();
    }

    /// Waits for [`TopologyCell::wake`]; one task may.
    pub async fn woken(&self) {
        self.news.notified().await;
    }
}

/// What a newer topology asks of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenUp {
    /// The other nodes, for [`super::peer::Links::set_peers`].
    pub peers: Vec<(NodeId, String)>,
    /// Replicas of this worker to drop with their data, before any is started.
    pub drop: Vec<(ShardId, ReplicaId)>,
    /// Replicas of this worker to start: joining, without data.
    pub start: Vec<(ShardId, ReplicaId)>,
}

/// The other nodes of a topology and where they are.
pub fn peers_of(topology: &Topology, me: NodeId) -> Vec<(NodeId, String)> {
    let others = topology.nodes.values().filter(|node| node.id != me);
    others.map(|node| (node.id, node.peer_address())).collect()
}

/// That a node was removed from its cluster and what to do, in words for its operator; `None` where it was not.
pub fn removal(topology: &Topology, me: NodeId) -> Option<String> {
    let epoch = topology.removed.get(&me)?;
    Some(MetaError::Removed(me, *epoch).to_string())
}

/// This node as it describes itself to the cluster. `peer_port` is the one on which it listens, 0 if it does not.
pub fn described_node(id: NodeId, startup: &Startup, identity: &Identity, peer_port: u16) -> Node {
    let cluster = &startup.cluster;
    let shown = described(id, cluster, identity);
    let peer_port = match cluster.announce_peer_port {
        0 => peer_port,
        announced => announced,
    };
    let ports = Ports {
        plain: shown.plain_port,
        cluster: shown.port,
        // A node of a cluster has one; where nobody listens nobody is looked for, as long as the node stays alone.
        peer: match peer_port {
            0 => PEER_PORT_NONE,
            port => port,
        },
        http: startup.http_port,
    };
    Node {
        zone: cluster.zone.clone(),
        weight: cluster.weight,
        ..Node::new(id, shown.host, ports)
    }
}

/// Where the replicas of a group are: by the topology, and those that it does not know yet as they were heard of.
fn nodes_of(place: &Place, heard: &[(ReplicaId, NodeId)]) -> Vec<(ReplicaId, NodeId)> {
    let known = place.replicas.iter().map(|(&id, held)| (id, held.node));
    let newcomers = heard.iter().copied();
    let newcomers = newcomers.filter(|(id, _)| place.fate(*id) == ReplicaFate::Unknown);
    known.chain(newcomers).collect()
}

/// Replicas that are about to begin and end: what must be durable first, for a thread that may wait for that.
pub struct Ahead {
    shared: Arc<Shared>,
    topology: Arc<Topology>,
    drop: Vec<(ShardId, ReplicaId)>,
    start: Vec<(ShardId, ReplicaId)>,
}

impl Ahead {
    /// # Errors
    /// A failing disk, or a replica that must not begin.
    pub fn note(&self) -> Result<(), String> {
        let state = self.shared.cluster_state();
        let ended = state.end_replicas(&self.drop);
        ended.map_err(|error| error.to_string())?;
        if self.start.is_empty() {
            return Ok(());
        }
        self.shared.topology.keep(&self.topology)?;
        let begun = state.begin_replicas(&self.start);
        begun.map_err(|error| error.to_string())
    }
}

impl Worker {
    /// Whether there is a topology that this worker has not taken up.
    #[inline]
    pub fn topology_is_newer(&self) -> bool {
        self.shared.topology.epoch() > self.topology_epoch
    }

    /// Takes up the newest topology, and says what is to be done about links and replicas; `None` when there is none that is
    /// newer. To be called again with every tick while [`Worker::topology_is_newer`].
    pub fn take_up_topology(&mut self) -> Option<TakenUp> {
        if !self.topology_is_newer() {
            return None;
        }
        let topology = self.shared.topology.current();
        let me = self.shared.node_id();
        self.learn_places(&topology);
        let mut taken = self.duties_here(&topology, me);
        taken.peers = peers_of(&topology, me);
        self.topology_epoch = topology.epoch;
        let is_removed = topology.removed.contains_key(&me);
        if is_removed && !std::mem::replace(&mut self.is_removed, is_removed) {
            self.give_up_as_removed();
        }
        if taken.start.is_empty() {
            return Some(taken);
        }
        // A start that was forgotten would be taken for a replica that never was.
        if let Err(error) = self.shared.topology.keep(&topology) {
            if self.may_complain() {
                tracing::error!("replicas cannot be started: {error}");
            }
            taken.start.clear();
            self.take_up_topology_again();
        }
        Some(taken)
    }

    /// The replicas that the newest topology has begin and end on this worker, if it has any.
    pub fn replicas_ahead(&self) -> Option<Ahead> {
        let topology = self.shared.topology.current();
        let TakenUp { drop, start, .. } = self.duties_here(&topology, self.shared.node_id());
        let has_any = !drop.is_empty() || !start.is_empty();
        has_any.then(|| Ahead {
            shared: self.shared.clone(),
            topology,
            drop,
            start,
        })
    }

    /// What the newest topology asks for could not be done: it is to be taken up once more.
    pub fn take_up_topology_again(&mut self) {
        self.topology_epoch = Epoch::ZERO;
    }

    /// What cannot be done is tried again with every tick; it is told once in [`COMPLAIN_EVERY_US`].
    pub fn may_complain(&mut self) -> bool {
        let now = self.refresh_monotonic();
        let last = self.topology_complained;
        let may = last.is_none_or(|at| now.since_us(at) >= COMPLAIN_EVERY_US);
        if may {
            self.topology_complained = Some(now);
        }
        may
    }

    fn learn_places(&mut self, topology: &Topology) {
        for shard in &mut self.shards {
            if let Some(place) = topology.place(shard.replica.shard()) {
                shard.standing.nodes = nodes_of(place, &shard.standing.nodes);
            }
        }
    }

    fn duties_here(&self, topology: &Topology, me: NodeId) -> TakenUp {
        let held = self.shards.iter().filter(|shard| shard.standing.is_held);
        let mut here: BTreeMap<ShardId, ReplicaId> = held
            .map(|shard| (shard.replica.shard(), shard.replica.id()))
            .collect();
        let doubts = self.shared.topology.doubts();
        // Those stand still, but they are here: what the cluster decides about them is to be done.
        let is_here = |(group, id): &&(ShardId, ReplicaId)| {
            let shard = self
                .worker_of_group(*group)
                .filter(|&worker| worker == self.number);
            let shard = shard.and(self.local_number(*group));
            shard.is_some_and(|number| self.shards[self.place(number)].replica.id() == *id)
        };
        here.extend(doubts.suspect.iter().filter(is_here).copied());
        let all = duties(topology, me, &here, Since::Running);
        let is_for_here = |replica: &(ShardId, ReplicaId)| {
            self.worker_of_group(replica.0) == Some(self.number) && !doubts.has(*replica)
        };
        let mut drop = all.drop;
        drop.extend(self.never_begun(topology, me, &here));
        TakenUp {
            peers: Vec::new(),
            drop,
            start: all.start.into_iter().filter(is_for_here).collect(),
        }
    }

    /// Replicas of this worker that were noted ahead ([`Worker::replicas_ahead`]) and are to be dropped before they have begun: the cluster has
    /// thought better of it meanwhile.
    fn never_begun(
        &self,
        topology: &Topology,
        me: NodeId,
        here: &BTreeMap<ShardId, ReplicaId>,
    ) -> Vec<(ShardId, ReplicaId)> {
        let keeper = self.shared.cluster_state();
        let groups = self.shards.iter().map(|shard| shard.replica.shard());
        let noted = groups.filter_map(|group| Some((group, keeper.replica(group)?)));
        let noted = noted
            .filter(|(group, id)| here.get(group) != Some(id))
            .collect();
        duties(topology, me, &noted, Since::Running).drop
    }
}

#[cfg(test)]
#[path = "topology_tests.rs"]
mod tests;
