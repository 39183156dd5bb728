//! Runs before the workers: brings the node into its cluster, or forms one, by [`Forming`], and answers others on the peer port
//! meanwhile. Knows no shard and no client.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringfort_cluster::forming::{
    About, Forming, FormingError, FormingMessage, FormingOutputs, Setup, Stored, Verdict,
};
use ringfort_cluster::topology::{ClusterId, Node, Topology, TopologyError};
use ringfort_cluster::NodeId;
use tokio::sync::{mpsc, Notify};
use tokio::task::LocalSet;

use crate::node::monotonic_clock;
use crate::node::peer::{
    accept_loop, ask, Channel, ControlHandler, Home, Incoming, Peer, Serving, Target,
};
use crate::settings::{ClusterSettings, HostPort};

use super::control::{Request, Response};
use super::listener::listen;

/// How often [`Forming::tick`] is called.
const TICK: Duration = Duration::from_millis(100);
/// For one question of how a node stands.
const HELLO_LIMIT: Duration = Duration::from_secs(2);
/// For being taken in: the meta group must agree.
const JOIN_LIMIT: Duration = Duration::from_secs(8);
/// How often the operator is told for what the node waits.
const WAITING_EVERY: Duration = Duration::from_secs(10);
/// Connections that have gone through the handshake and are not taken over yet.
const ACCEPTED_MAX: usize = 64;

/// Why there is no cluster for this node, in words for its operator.
#[derive(Debug, thiserror::Error)]
pub enum FormationError {
    #[error("{0}")]
    Refused(#[from] FormingError),
    #[error("what this node promised to others cannot be kept: {0}")]
    Store(String),
    #[error("the cluster cannot be formed here: {0}")]
    Found(String),
    #[error("the topology of the cluster cannot be read: {0}")]
    Topology(#[from] TopologyError),
    #[error("the peer port cannot be listened on: {0}")]
    Listen(std::io::Error),
}

/// Keeps what must not be forgotten: synced when it returns, whatever the durability mode. An error's text is for the operator.
pub type Store = Box<dyn FnMut(&Stored) -> Result<(), String> + Send>;
/// Forms a cluster of this node alone: `MetaCommand::Init` is applied in its log, and synced, when it returns.
pub type Found = Box<dyn FnOnce() -> Result<ClusterId, String> + Send>;

/// Is told for what the node waits, while it does.
pub type Waits = Box<dyn Fn(&str)>;

/// What [`form`] is made from.
pub struct Formation {
    pub home: Arc<Home>,
    pub setup: Setup,
    pub stored: Stored,
    pub store: Store,
    pub found: Found,
    pub waits: Waits,
}

/// What became of the node.
pub enum Formed {
    /// It has formed a cluster, as its `found` has written it.
    Founded(ClusterId),
    /// It belongs to a cluster already. The rest says so to the others, while the node serves.
    Member(Box<Announcing>),
    /// It was taken in; this is the topology.
    Joined(Box<Topology>),
}

/// What the settings say of forming a cluster. `peers` are the other nodes of a topology that is on the disk.
///
/// # Errors
/// When the system has no random bytes.
pub fn setup(node: Node, settings: &ClusterSettings, peers: Vec<String>) -> std::io::Result<Setup> {
    let mut incarnation = [0; 8];
    crate::node::process::fill_random(&mut incarnation)?;
    let expect = u32::from(settings.bootstrap_expect);
    Ok(Setup {
        node,
        incarnation: u64::from_le_bytes(incarnation),
        join: settings.join.iter().map(address_of).collect(),
        peers,
        bootstrap_expect: (expect > 0).then_some(expect),
    })
}

fn address_of(place: &HostPort) -> String {
    match place.host.contains(':') {
        true => format!("[{}]:{}", place.host, place.port),
        false => format!("{}:{}", place.host, place.port),
    }
}

/// Brings the node into a cluster. Answers other nodes at `sockets` (those of the peer port, which need not listen yet) meanwhile; nothing of
/// that is left when it returns or is dropped, but that they listen, with this backlog. Waits as long as it takes, and returns at once where
/// there is nobody to ask.
///
/// # Errors
/// [`FormationError`]: the node cannot go on.
pub async fn form(
    formation: Formation,
    sockets: &[TcpListener],
    backlog: u32,
) -> Result<Formed, FormationError> {
    let Formation {
        home,
        setup,
        stored,
        store,
        found,
        waits,
    } = formation;
    if let Some(cluster) = stored.cluster_id {
        home.set_cluster(cluster);
    }
    let has_addresses = !setup.join.is_empty() || !setup.peers.is_empty();
    let driver = Driver::new(home, Forming::new(setup, stored), store, waits);
    let driver = Rc::new(driver);
    let tasks = LocalSet::new();
    let verdict = tasks.run_until(driver.decide(sockets, backlog)).await?;
    drop(tasks);
    driver.follow(verdict, found, has_addresses)
}

/// A member that has come back, and says where it is now.
pub struct Announcing {
    home: Arc<Home>,
    forming: Forming,
    store: Store,
    /// There is somebody to tell it to.
    has_addresses: bool,
}

impl Announcing {
    /// What this node says of itself.
    pub fn about(&self) -> About {
        self.forming.about()
    }

    /// Announces the node until somebody took it; returns the topology that came with it, if any. To be run within a `LocalSet`.
    ///
    /// # Errors
    /// When the node does not belong where it is told to join, or does not belong to its cluster any more.
    pub async fn announce(self) -> Result<Option<Box<Topology>>, FormationError> {
        if !self.has_addresses {
            return Ok(None);
        }
        let driver = Rc::new(Driver::new(
            self.home,
            self.forming,
            self.store,
            Box::new(|_| {}),
        ));
        loop {
            match driver.clone().tick_to_verdict().await? {
                Verdict::Joined { topology } => return Ok(Some(decode(&topology)?)),
                Verdict::Refused(error) => return Err(error.into()),
                Verdict::Member | Verdict::FormAlone | Verdict::Form => {}
            }
        }
    }
}

fn decode(topology: &[u8]) -> Result<Box<Topology>, FormationError> {
    Ok(Box::new(Topology::decode(topology)?))
}

/// Carries [`Forming`] by its contract: stores, then sends, then acts.
struct Driver {
    home: Arc<Home>,
    state: RefCell<State>,
    /// A verdict or a failure is there.
    decided: Notify,
    /// Questions under way, so that nobody who is slow is asked twice at a time.
    asked: RefCell<HashSet<(String, bool)>>,
    told_waiting: Cell<Option<tokio::time::Instant>>,
    waits: Waits,
}

struct State {
    forming: Forming,
    store: Store,
    outcome: Option<Result<Verdict, FormationError>>,
}

impl Driver {
    fn new(home: Arc<Home>, forming: Forming, store: Store, waits: Waits) -> Self {
        let outcome = None;
        let state = State {
            forming,
            store,
            outcome,
        };
        Self {
            home,
            state: RefCell::new(state),
            decided: Notify::new(),
            asked: RefCell::default(),
            told_waiting: Cell::default(),
            waits,
        }
    }

    /// Serves and asks until there is a verdict.
    async fn decide(
        self: &Rc<Self>,
        sockets: &[TcpListener],
        backlog: u32,
    ) -> Result<Verdict, FormationError> {
        let serving = self.serving();
        let (hand_over, mut accepted) = mpsc::channel(ACCEPTED_MAX);
        let (failed, mut failure) = mpsc::unbounded_channel();
        // The first tick decides where there is nobody to ask.
        self.act(|forming| forming.tick(monotonic_clock()));
        if let Some(outcome) = self.take_outcome() {
            return outcome;
        }
        for socket in sockets {
            listen(socket, backlog).map_err(FormationError::Listen)?;
            let listener = socket.try_clone().map_err(FormationError::Listen)?;
            let (home, hand_over, failed) = (self.home.clone(), hand_over.clone(), failed.clone());
            // Beyond the bound it is dropped: whoever asks asks again.
            let take = move |_, connection| drop(hand_over.try_send(connection));
            tokio::task::spawn_local(async move {
                if let Err(error) = accept_loop(listener, home, 1, take).await {
                    let _ = failed.send(error);
                }
            });
        }
        let deciding = self.clone().tick_to_verdict();
        tokio::pin!(deciding);
        loop {
            tokio::select! {
                verdict = &mut deciding => return verdict,
                Some(error) = failure.recv() => return Err(FormationError::Listen(error)),
                Some(connection) = accepted.recv() => serving.take_over(connection),
            }
        }
    }

    fn serving(self: &Rc<Self>) -> Rc<Serving> {
        let driver = self.clone();
        let control: ControlHandler = Rc::new(move |_, request| {
            let answer = driver.answer(&request);
            Box::pin(async move { answer.encode().unwrap_or_default() })
        });
        Serving::new(self.home.clone(), Rc::new(Deaf), control, Rc::new(drop))
    }

    fn answer(self: &Rc<Self>, request: &[u8]) -> Response {
        let not_yet = || Response::Refused("this node is not part of its cluster yet".into());
        match Request::decode(request) {
            Ok(Request::Forming(message)) => self
                .act(|forming| forming.request(&message, monotonic_clock()))
                .map_or_else(not_yet, Response::forming),
            Ok(_) => not_yet(),
            Err(error) => Response::Refused(error.to_string()),
        }
    }

    async fn tick_to_verdict(self: Rc<Self>) -> Result<Verdict, FormationError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    self.act(|forming| forming.tick(monotonic_clock()));
                    self.tell_waiting();
                }
                () = self.decided.notified() => {}
            }
            if let Some(outcome) = self.take_outcome() {
                return outcome;
            }
        }
    }

    fn take_outcome(&self) -> Option<Result<Verdict, FormationError>> {
        self.state.borrow_mut().outcome.take()
    }

    /// One call of the state machine, and what it asks for. Returns the answer to a request.
    fn act(
        self: &Rc<Self>,
        call: impl FnOnce(&mut Forming) -> FormingOutputs,
    ) -> Option<FormingMessage> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        // What could not be stored must not be built upon, nor what comes after a verdict that is not carried out yet.
        if state.outcome.is_some() {
            return None;
        }
        let out = call(&mut state.forming);
        if let Some(stored) = &out.store {
            if let Err(error) = (state.store)(stored) {
                state.outcome = Some(Err(FormationError::Store(error)));
                self.decided.notify_one();
                return None;
            }
            if let Some(cluster) = stored.cluster_id {
                self.home.set_cluster(cluster);
            }
        }
        for (address, request) in out.requests {
            self.ask(address, request);
        }
        if let Some(verdict) = out.verdict {
            state.outcome = Some(Ok(verdict));
            self.decided.notify_one();
        }
        out.answer
    }

    fn ask(self: &Rc<Self>, address: String, message: FormingMessage) {
        let is_join = matches!(message, FormingMessage::Join { .. });
        let limit = match is_join {
            true => JOIN_LIMIT,
            false => HELLO_LIMIT,
        };
        let Ok(request) = Request::Forming(message).encode() else {
            return;
        };
        let key = (address, is_join);
        if !self.asked.borrow_mut().insert(key.clone()) {
            return;
        }
        let driver = self.clone();
        tokio::task::spawn_local(async move {
            let target = Target {
                address: &key.0,
                node: NodeId::ZERO,
                worker: 0,
            };
            let answer = ask(&driver.home, target, &request, limit).await;
            driver.asked.borrow_mut().remove(&key);
            match answer.map(|(_, bytes)| Response::decode(&bytes)) {
                Ok(Ok(Response::Forming(answer))) => {
                    driver.act(|forming| forming.answer(&key.0, &answer, monotonic_clock()));
                }
                Ok(Ok(other)) => tracing::debug!("{} answers {other:?}", key.0),
                Ok(Err(error)) => tracing::warn!("{} gives an answer: {error}", key.0),
                Err(error) => tracing::debug!("{} does not answer: {error}", key.0),
            }
        });
    }

    fn tell_waiting(&self) {
        let Some(text) = self.state.borrow().forming.waiting(monotonic_clock()) else {
            return;
        };
        (self.waits)(&text);
        let now = tokio::time::Instant::now();
        let last = self.told_waiting.get();
        if last.is_none_or(|at| now.duration_since(at) >= WAITING_EVERY) {
            tracing::warn!("{text}");
            self.told_waiting.set(Some(now));
        }
    }

    /// Carries the verdict out.
    fn follow(
        self: Rc<Self>,
        verdict: Verdict,
        found: Found,
        has_addresses: bool,
    ) -> Result<Formed, FormationError> {
        match verdict {
            Verdict::FormAlone | Verdict::Form => {
                let cluster = found().map_err(FormationError::Found)?;
                self.act(|forming| forming.formed(cluster));
                match self.take_outcome() {
                    Some(Err(error)) => Err(error),
                    _ => Ok(Formed::Founded(cluster)),
                }
            }
            Verdict::Joined { topology } => Ok(Formed::Joined(decode(&topology)?)),
            Verdict::Refused(error) => Err(error.into()),
            Verdict::Member => Ok(Formed::Member(Box::new(
                self.into_announcing(has_addresses),
            ))),
        }
    }

    fn into_announcing(self: Rc<Self>, has_addresses: bool) -> Announcing {
        let Some(driver) = Rc::into_inner(self) else {
            unreachable!("the tasks that hold the driver have ended");
        };
        let state = driver.state.into_inner();
        Announcing {
            home: driver.home,
            forming: state.forming,
            store: state.store,
            has_addresses,
        }
    }
}

/// Before there are replicas, links bring nothing.
struct Deaf;

impl Incoming for Deaf {
    fn frame(&self, _: Peer, _: Channel, _: Bytes) {}
    fn end_of_batch(&self) {}
    fn incoming_up(&self, _: Peer, _: Channel) {}
    fn incoming_down(&self, _: Peer, _: Channel) {}
    fn link_up(&self, _: NodeId, _: Channel) {}
    fn link_down(&self, _: NodeId, _: Channel) {}
    fn nobody_listens(&self, _: NodeId) {}
    fn wrong_node(&self, _: NodeId, _: NodeId, _: &str) {}
}

#[cfg(test)]
#[path = "formation_tests.rs"]
mod tests;
