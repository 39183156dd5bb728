//! The cluster as this node knows it, where commands and the cluster port find it. Whoever learns something new puts a
//! whole new [`ClusterView`] in place; workers notice by a number and keep their own reference, so that nobody waits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use ringfort_cluster::topology::{Leaders, Node, Topology};
use ringfort_cluster::NodeId;

use crate::commands::cluster::{ClusterView, SlotRange, ViewNode};
use crate::settings::ClusterSettings;

use super::report::Identity;

/// The view that holds now.
#[derive(Default)]
pub struct ViewCell {
    /// Grows by one with each new view.
    version: AtomicU64,
    view: RwLock<Arc<ClusterView>>,
}

impl ViewCell {
    /// Puts a view in place of the one before; one of an older epoch comes too late and is dropped. Says which it was.
    pub fn publish(&self, view: Arc<ClusterView>) -> bool {
        let mut current = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if view.epoch < current.epoch {
            return false;
        }
        *current = view;
        // After the view is there: whoever sees the new number finds at least this one.
        self.version.fetch_add(1, Ordering::Release);
        true
    }

    /// The view, for those who ask rarely.
    pub fn current(&self) -> Arc<ClusterView> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        view.clone()
    }
}

/// A worker's own reference to the view: asking whether it is current costs one load.
pub struct ViewReader {
    version: u64,
    view: Arc<ClusterView>,
}

impl ViewReader {
    pub fn new(cell: &ViewCell) -> Self {
        // The number first: a view that comes in between is taken up at the next look.
        let version = cell.version.load(Ordering::Acquire);
        Self {
            version,
            view: cell.current(),
        }
    }

    /// The view of this moment.
    #[inline]
    pub fn current(&mut self, cell: &ViewCell) -> &ClusterView {
        let version = cell.version.load(Ordering::Acquire);
        if version != self.version {
            *self = Self::new(cell);
        }
        &self.view
    }
}

/// The view of a cluster: every slot with the last known leader of its shard, and never a hole (DESIGN 7).
pub fn of_topology(
    topology: &Topology,
    leaders: &Leaders,
    me: NodeId,
    down: &BTreeSet<NodeId>,
) -> ClusterView {
    let mut led: BTreeMap<NodeId, Vec<SlotRange>> = BTreeMap::new();
    if let Some(map) = topology.shard_map() {
        for shard in map.iter() {
            // Whoever knows no leader shows some node: it will say who leads.
            let any = || topology.nodes.keys().next().copied();
            let leader = leaders.leader(topology, shard).or_else(any);
            if let (Some(leader), Some(range)) = (leader, map.range(shard)) {
                let (first, last) = (*range.start(), *range.end());
                led.entry(leader)
                    .or_default()
                    .push(SlotRange { first, last });
            }
        }
    }
    let shown = |node: &Node| ViewNode {
        id: node.id.to_string(),
        host: node.host.clone(),
        port: node.cluster_port,
        plain_port: node.port,
        peer_port: node.peer_port,
        ranges: led.remove(&node.id).unwrap_or_default(),
        is_up: !down.contains(&node.id),
    };
    let nodes = topology.nodes.values().map(shown).collect();
    ClusterView::new(topology.epoch.0, me.to_string(), nodes)
}

/// This node as others reach it, leading nothing yet.
pub fn described(id: NodeId, settings: &ClusterSettings, identity: &Identity) -> ViewNode {
    let announced = |announced: u16, port: u16| if announced > 0 { announced } else { port };
    let bound = |listeners: &[SocketAddr]| listeners.first().map_or(0, SocketAddr::port);
    let cluster_port = bound(&identity.cluster_listeners);
    ViewNode {
        id: id.to_string(),
        host: announced_host(settings, identity),
        port: announced(settings.announce_cluster_port, cluster_port),
        plain_port: announced(settings.announce_port, bound(&identity.listeners)),
        peer_port: announced(settings.announce_peer_port, settings.peer_port),
        ranges: Vec::new(),
        is_up: true,
    }
}

/// What the operator says, or an address on which the node listens. Where it listens on all of them: the one from which
/// this machine speaks to others.
fn announced_host(settings: &ClusterSettings, identity: &Identity) -> String {
    if !settings.announce_host.is_empty() {
        return settings.announce_host.clone();
    }
    let listeners = identity.cluster_listeners.iter().chain(&identity.listeners);
    let bound = listeners.map(|at| at.ip()).find(|ip| !ip.is_unspecified());
    bound
        .or_else(outward_address)
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .to_string()
}

/// The address that the system would send from. Nothing is sent: a datagram socket that connects only looks the route up.
fn outward_address() -> Option<IpAddr> {
    // A network that is set aside for documentation, so beyond every router.
    const FAR: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(FAR).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::super::topology::described_node;
    use super::*;
    use crate::settings::Builder;
    use ringfort_cluster::topology::{ClusterId, Ports};
    use ringfort_cluster::{MetaCommand, ShardId, Term};

    fn view(epoch: u64) -> Arc<ClusterView> {
        Arc::new(ClusterView::new(epoch, "a".into(), Vec::new()))
    }

    fn identity(plain: &str, cluster: &str) -> Identity {
        Identity {
            listeners: vec![plain.parse().unwrap()],
            cluster_listeners: vec![cluster.parse().unwrap()],
            ..Identity::default()
        }
    }

    fn described_with(flags: &[(&str, &str)], identity: &Identity) -> ViewNode {
        let builder = Builder::new().flags(flags.iter().copied());
        let settings = builder.unwrap().build();
        described(NodeId(7), &settings.startup().cluster, identity)
    }

    #[test]
    fn a_reader_takes_up_each_new_view_and_no_older_one() {
        let cell = ViewCell::default();
        let mut reader = ViewReader::new(&cell);
        assert_eq!(reader.current(&cell).epoch, 0);
        assert!(cell.publish(view(3)));
        assert_eq!(reader.current(&cell).epoch, 3);
        assert!(!cell.publish(view(2)));
        assert_eq!(reader.current(&cell).epoch, 3);
        // Leaders change without the epoch.
        assert!(cell.publish(view(3)));
        assert_eq!(cell.current().epoch, 3);
    }

    #[test]
    fn a_node_alone_leads_every_slot() {
        let settings = Builder::new().build();
        let startup = settings.startup();
        let identity = identity("127.0.0.1:6379", "127.0.0.1:7379");
        let node = described_node(NodeId(7), startup, &identity, startup.cluster.peer_port);
        let mut topology = Topology::default();
        let init = MetaCommand::Init {
            cluster_id: ClusterId(1),
            shards: 64,
            replicas: 3,
            node,
        };
        topology.apply(&init).unwrap();
        let view = of_topology(&topology, &Leaders::default(), NodeId(7), &BTreeSet::new());
        assert!((0..ringfort_cluster::SLOTS).all(|slot| view.leads(slot)));
        let own = view.own().unwrap();
        assert_eq!(own.id, NodeId(7).to_string());
        assert_eq!(own.host, "127.0.0.1");
        assert_eq!(
            (own.port, own.plain_port, own.peer_port),
            (7379, 6379, 16379)
        );
    }

    fn three_nodes() -> Topology {
        let node = |id: u128| Node::new(NodeId(id), format!("h{id}"), Ports::default());
        let mut topology = Topology::default();
        let init = MetaCommand::Init {
            cluster_id: ClusterId(1),
            shards: 4,
            replicas: 3,
            node: node(1),
        };
        topology.apply(&init).unwrap();
        for id in [2, 3] {
            let (cluster_id, node) = (None, node(id));
            topology
                .apply(&MetaCommand::Join { cluster_id, node })
                .unwrap();
        }
        topology
    }

    fn slots_led(view: &ClusterView, id: u128) -> usize {
        let id = NodeId(id).to_string();
        view.slots(|node| node.id == id)
    }

    #[test]
    fn the_view_of_a_topology_has_no_hole_whatever_is_known_of_leaders() {
        let topology = three_nodes();
        let mut leaders = Leaders::default();
        let view = |leaders: &Leaders, down: &[u128]| {
            let down = down.iter().copied().map(NodeId).collect();
            of_topology(&topology, leaders, NodeId(2), &down)
        };
        let before = view(&leaders, &[]);
        assert_eq!(
            (slots_led(&before, 1), before.epoch),
            (16_384, topology.epoch.0)
        );
        leaders.heard(&topology, ShardId(1), Term(3), NodeId(2));
        leaders.heard(&topology, ShardId(3), Term(3), NodeId(3));
        // A node that is gone leads nothing; the shard goes back to its first voter.
        leaders.heard(&topology, ShardId(2), Term(9), NodeId(77));
        let view = view(&leaders, &[3]);
        assert_eq!(view.slots(|_| true), 16_384);
        assert_eq!([1, 2, 3].map(|id| slots_led(&view, id)), [8192, 4096, 4096]);
        assert!(view.leads(4096) && !view.leads(0));
        let third = view.node(NodeId(3).to_string().as_bytes()).unwrap();
        assert!(!third.is_up, "it keeps its slots until another leads them");
        let ports = (third.plain_port, third.port, third.peer_port);
        assert_eq!(ports, (6379, 7379, 16379));
    }

    #[test]
    fn what_is_announced_stands_over_what_is_bound() {
        let identity = identity("10.0.0.1:6379", "10.0.0.1:7379");
        let node = described_with(&[("announce-cluster-port", "30001")], &identity);
        assert_eq!((node.host.as_str(), node.port), ("10.0.0.1", 30_001));
        let flags = [("announce-host", "a.example"), ("announce-port", "30002")];
        let node = described_with(&flags, &identity);
        assert_eq!(node.host, "a.example");
        assert_eq!((node.port, node.plain_port), (7379, 30_002));
    }

    #[test]
    fn a_node_that_listens_everywhere_names_an_address_that_can_be_reached() {
        let node = described_with(&[], &identity("0.0.0.0:6379", "0.0.0.0:7379"));
        let ip: IpAddr = node.host.parse().unwrap();
        assert!(!ip.is_unspecified());
    }
}
