//! A worker's other nodes: what comes from them goes to the worker, the links follow the topology, time passes for the groups. Knows no
//! command and no shard.

use std::cell::{Cell, OnceCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringfort_cluster::NodeId;

use crate::node::links_table::LinkName;
use crate::node::peer::{
    Accepted, Channel, ControlHandler, Home, Incoming, Links, Peer, Serving, SnapshotHandler,
};

use super::govern::Office;
use super::Local;

/// How often time passes for the groups: `Config::tick_us`.
const TICK: Duration = Duration::from_millis(50);

/// What a worker is given to meet other nodes with.
#[derive(Clone)]
pub struct PeerSetup {
    pub home: Arc<Home>,
    /// The nodes that are known at the start, and where they are.
    pub peers: Vec<(NodeId, String)>,
    /// Who answers their questions.
    pub office: Option<Office>,
}

/// The other nodes, on one worker's thread.
pub(crate) struct Peers {
    pub home: Arc<Home>,
    pub links: Rc<Links>,
    serving: Rc<Serving>,
    /// The links hold it weakly.
    _sink: Rc<dyn Incoming>,
}

impl Peers {
    /// Takes over a connection that another node has opened.
    pub fn take_over(&self, accepted: Accepted) {
        self.serving.take_over(accepted);
    }
}

/// Brings what other nodes send to the worker.
struct Sink {
    local: Weak<Local>,
    links: OnceCell<Rc<Links>>,
}

impl Sink {
    fn with(&self, act: impl FnOnce(&Local)) {
        if let Some(local) = self.local.upgrade() {
            act(&local);
        }
    }
}

fn outgoing(local: &Local, node: NodeId, channel: Channel) -> LinkName {
    LinkName {
        node,
        is_outgoing: true,
        worker: local.number as u16,
        their_worker: 0,
        channel: channel.place(),
    }
}

fn incoming(local: &Local, from: Peer, channel: Channel) -> LinkName {
    LinkName {
        node: from.node,
        is_outgoing: false,
        their_worker: from.worker,
        ..outgoing(local, from.node, channel)
    }
}

impl Incoming for Sink {
    fn frame(&self, from: Peer, channel: Channel, frame: Bytes) {
        self.with(|local| {
            let mut worker = local.worker.borrow_mut();
            worker.refresh_clock();
            match channel {
                Channel::Raft => worker.take_raft_frame(from.node, frame),
                Channel::Forward => worker.take_forward_frame(from, &frame),
            }
        });
    }

    fn end_of_batch(&self) {
        self.with(|local| {
            if local.worker.borrow().flush_wanted {
                local.want_turn();
            }
        });
    }

    fn incoming_up(&self, from: Peer, channel: Channel) {
        if let Some(links) = self.links.get() {
            links.nudge(from.node);
        }
        self.with(|local| {
            local.shared.links.up(incoming(local, from, channel));
            if channel == Channel::Forward {
                local.worker.borrow_mut().asker_came(from);
                local.want_turn();
            }
        });
    }

    fn incoming_down(&self, from: Peer, channel: Channel) {
        self.with(|local| local.shared.links.down(&incoming(local, from, channel)));
        if channel == Channel::Forward {
            self.with(|local| {
                local.worker.borrow_mut().asker_gone(from);
                local.want_turn();
            });
        }
    }

    fn link_up(&self, to: NodeId, channel: Channel) {
        tracing::debug!("the {channel:?} link to node {to} is up");
        self.with(|local| {
            local.shared.links.up(outgoing(local, to, channel));
            let mut worker = local.worker.borrow_mut();
            if channel == Channel::Forward {
                worker.repeat_farewell(to);
            }
            worker.retry_waiting();
            local.want_turn();
        });
    }

    fn link_down(&self, to: NodeId, channel: Channel) {
        tracing::debug!("the {channel:?} link to node {to} is down");
        self.with(|local| {
            local.shared.links.down(&outgoing(local, to, channel));
            if channel == Channel::Forward {
                local.worker.borrow_mut().forward_down(to);
            }
            local.want_turn();
        });
    }

    fn nobody_listens(&self, to: NodeId) {
        self.with(|local| local.worker.borrow_mut().node_is_gone(to));
    }

    fn wrong_node(&self, expected: NodeId, found: NodeId, address: &str) {
        tracing::warn!("at {address} node {found} answers, not node {expected}");
    }
}

/// Meets the other nodes. To be called on the worker's thread, within its `LocalSet`.
pub(super) fn start(
    local: &Rc<Local>,
    setup: &PeerSetup,
    control: ControlHandler,
    snapshots: SnapshotHandler,
) {
    let sink = Rc::new(Sink {
        local: Rc::downgrade(local),
        links: OnceCell::new(),
    });
    let incoming: Rc<dyn Incoming> = sink.clone();
    let number = local.number as u16;
    let links = Rc::new(Links::new(setup.home.clone(), number, &incoming));
    let _ = sink.links.set(links.clone());
    links.set_peers(&setup.peers);
    local.worker.borrow_mut().meet(links.clone());
    let home = setup.home.clone();
    let serving = Serving::lending_to(&links, home, incoming.clone(), control, snapshots);
    let _ = local.peers.set(Peers {
        home: setup.home.clone(),
        links,
        serving,
        _sink: incoming,
    });
    tokio::task::spawn_local(ticks(Rc::downgrade(local)));
}

/// Does what a newer topology asks for: links, and replicas that come and go.
fn follow_topology(local: &Local) {
    let mut worker = local.worker.borrow_mut();
    let Some(taken) = worker.take_up_topology() else {
        return;
    };
    if let Some(peers) = local.peers.get() {
        peers.links.set_peers(&taken.peers);
    }
    let state = worker.shared.cluster_state().clone();
    let mut done = Ok(());
    // All at once: each note is synced. What cannot be noted so is told below, one by one.
    let _ = state.end_replicas(&taken.drop);
    for (group, id) in taken.drop {
        done = done.and(worker.drop_replica_soon(group, id));
    }
    let _ = state.begin_replicas(&taken.start);
    for (group, id) in taken.start {
        done = done.and(worker.start_replica(group, id));
    }
    if let Err(error) = done {
        if worker.may_complain_of(&error) {
            tracing::warn!("{error}");
        }
        worker.take_up_topology_again();
    }
}

/// As [`follow_topology`], with the waiting for the disk done elsewhere before: a worker has other groups, whose time must not stand still.
async fn follow_ahead(local: Rc<Local>, following: Rc<Cell<bool>>) {
    let ahead = local.worker.borrow().replicas_ahead();
    if let Some(ahead) = ahead {
        // What cannot be noted is found out, and told, by whoever needs the note.
        let _ = tokio::task::spawn_blocking(move || ahead.note()).await;
    }
    follow_topology(&local);
    local.want_turn();
    following.set(false);
}

async fn ticks(local: Weak<Local>) {
    let following = Rc::new(Cell::new(false));
    let mut tick = tokio::time::interval(TICK);
    // Ticks of a pause are not made up for (invariant 6).
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(local) = local.upgrade() else {
            return;
        };
        if local.worker.borrow().topology_is_newer() && !following.replace(true) {
            tokio::task::spawn_local(follow_ahead(local.clone(), following.clone()));
        }
        {
            let mut worker = local.worker.borrow_mut();
            worker.tidy_on();
            worker.tick_groups();
        }
        local.want_turn();
    }
}
