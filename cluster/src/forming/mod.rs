//! How nodes become one cluster, and never two. A state machine that sends nothing and stores nothing itself; it ends
//! with a [`Verdict`], and a node that belongs to a cluster answers by [`member`] from then on.
//!
//! # What happens
//!
//! Every node asks all addresses of `--join`, and those that it hears of, how they stand, and answers the same question ([`About`]).
//!
//! - Without `--join` and without a cluster of its own a node forms one alone, at once.
//! - A node that finds a cluster joins it; the leader of the meta group says whether it may.
//! - With `bootstrap_expect`, once so many nodes without a cluster were heard lately, itself included, the one with the lowest identity
//!   of those that have the setting becomes the initiator. What it says of itself then asks the others for a pledge, and what they say of
//!   themselves gives it. It forms the cluster, on itself alone, when it has pledges of as many nodes as are expected, and of a majority
//!   of the listed addresses; its own counts, among the listed ones only when it is listed, that is, when it has reached
//!   itself under such an address. The others find the cluster and join it.
//! - Without `bootstrap_expect` a node keeps asking, and helps others to form, but never forms.
//!
//! Why there are never two is said in `pledge.rs`. It takes that an address of `--join` leads to one node and that all nodes have the
//! same list, or each the list of all others.
//!
//! # The driver's contract
//!
//! After every call: make [`FormingOutputs::store`] durable, synced whatever the durability mode; only then send `answer` and `requests`
//! and act upon `verdict`. An answer to a request of an earlier life of the process is not handed in. After
//! [`Verdict::Form`] or `FormAlone` the node applies `MetaCommand::Init` in its own log, syncs that, and says
//! [`formed`](Forming::formed); not before that does it answer as a member.

mod error;
mod find;
pub mod member;
mod message;
mod peers;
mod pledge;

pub use error::FormingError;
pub use message::{
    shortened, About, FormingMessage, JoinAnswer, MessageError, Pledge, ADDRESS_BYTES_MAX,
    OTHERS_MAX, REASON_BYTES_MAX,
};
pub use peers::{HEARD_MAX, JOIN_MAX};
pub use pledge::Stored;

use crate::topology::{ClusterId, Node, Topology};
use crate::types::Monotonic;
use crate::NodeId;
use find::Finder;
use peers::Peers;
use std::collections::BTreeSet;

/// Between two questions to an address.
const HELLO_EVERY_US: u64 = 300_000;

/// An initiator gives listed addresses so much time to answer that there is a cluster already.
const SETTLE_US: u64 = 1_000_000;

/// A member that finds none of its own cluster looks for so long before it says that `--join` leads to another.
const STRANGERS_US: u64 = 5_000_000;

/// After so long without a verdict there is something to tell the operator.
const WAITING_US: u64 = 10_000_000;

/// How a node is started.
#[derive(Debug, Clone)]
pub struct Setup {
    pub node: Node,
    /// Drawn anew for every start of the process.
    pub incarnation: u64,
    /// The addresses of `--join`, `host:port`.
    pub join: Vec<String>,
    /// Of a member: where its own topology says that the others are.
    pub peers: Vec<String>,
    /// With how many nodes a new cluster begins; without it none is formed.
    pub bootstrap_expect: Option<u32>,
}

/// What is to become of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Form a cluster of one.
    FormAlone,
    /// Form the cluster that the others will join.
    Form,
    /// It belongs to a cluster already and can go on at once. It announces itself meanwhile.
    Member,
    /// It belongs to the cluster, or has announced itself there; this is the topology.
    Joined { topology: Vec<u8> },
    /// It cannot go on.
    Refused(FormingError),
}

/// What the driver has to do, in this order.
#[derive(Debug, Default)]
pub struct FormingOutputs {
    /// Make this durable before anything else.
    pub store: Option<Stored>,
    /// The answer to the request that was handed in.
    pub answer: Option<FormingMessage>,
    /// Send these; answers come back through [`Forming::answer`].
    pub requests: Vec<(String, FormingMessage)>,
    /// Given once each.
    pub verdict: Option<Verdict>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No cluster yet.
    Looking,
    /// Told to form one.
    Forming,
    /// It belongs to a cluster and says where it is now.
    Announcing,
    Settled,
    Failed,
}

/// One node on its way into a cluster.
#[derive(Debug)]
pub struct Forming {
    setup: Setup,
    stored: Stored,
    /// Changed, and not handed out yet.
    unstored: bool,
    phase: Phase,
    verdict: Option<Verdict>,
    peers: Peers,
    finder: Finder,
    /// Who is pledged to this node's attempt.
    pledged: BTreeSet<NodeId>,
    started: Option<Monotonic>,
    next_hello: Monotonic,
}

impl Forming {
    /// A node starts with what it has stored.
    #[must_use]
    pub fn new(setup: Setup, stored: Stored) -> Self {
        let mut addresses = setup.join.clone();
        if stored.cluster_id.is_some() {
            addresses.extend(setup.peers.iter().cloned());
        }
        let mut forming = Self {
            peers: Peers::new(&addresses),
            setup,
            stored,
            unstored: false,
            phase: Phase::Looking,
            verdict: None,
            finder: Finder::default(),
            pledged: BTreeSet::new(),
            started: None,
            next_hello: Monotonic::ZERO,
        };
        forming.begin();
        forming
    }

    fn begin(&mut self) {
        let me = self.me();
        let join = self.setup.join.len();
        let pledged_to = self.stored.pledge.map(|pledge| pledge.to);
        if join > JOIN_MAX {
            self.fail(FormingError::TooManyAddresses(join));
        } else if self.stored.cluster_id.is_some() {
            self.verdict = Some(Verdict::Member);
            self.phase = match self.peers.listed_count() {
                0 => Phase::Settled,
                _ => Phase::Announcing,
            };
        } else if join == 0 {
            match pledged_to.filter(|&to| to != me) {
                Some(other) => self.fail(FormingError::Pledged(other)),
                None => self.decide(Verdict::FormAlone),
            }
        } else if self.setup.bootstrap_expect.is_none() {
            self.set_stored(self.stored.give_up(me));
        }
    }

    fn me(&self) -> NodeId {
        self.setup.node.id
    }

    /// What this node says of itself.
    #[must_use]
    pub fn about(&self) -> About {
        About {
            node: self.setup.node.clone(),
            incarnation: self.setup.incarnation,
            expects: self.setup.bootstrap_expect,
            cluster_id: self.stored.cluster_id,
            pledge: self.stored.pledge,
            gave_up: self.stored.gave_up,
        }
    }

    /// Lets time pass; to be called every 100 ms or so.
    pub fn tick(&mut self, now: Monotonic) -> FormingOutputs {
        let mut out = FormingOutputs::default();
        let started = *self.started.get_or_insert(now);
        if matches!(self.phase, Phase::Looking | Phase::Announcing) {
            if let Some(address) = &self.stored.initiator_at {
                self.peers.learn(address, now);
            }
            self.peers.forget(now);
            self.finder.forget(now);
            self.look_at_clusters(now, started);
            self.maybe_initiate(now, started);
            self.maybe_form();
            self.ask(now, &mut out);
        }
        self.finish(out)
    }

    /// Takes in a request of another node, and answers it.
    pub fn request(&mut self, request: &FormingMessage, now: Monotonic) -> FormingOutputs {
        let mut out = FormingOutputs::default();
        match request {
            FormingMessage::Hello { about } => {
                self.hear(about, now);
                out.answer = Some(FormingMessage::HelloAnswer {
                    about: self.about(),
                    others: self.peers.others(),
                    leader: None,
                });
            }
            FormingMessage::Join { .. } => {
                let answer = match self.stored.cluster_id {
                    Some(_) => JoinAnswer::TryAgain,
                    None => JoinAnswer::NoCluster,
                };
                out.answer = Some(FormingMessage::JoinAnswer(answer));
            }
            FormingMessage::HelloAnswer { .. } | FormingMessage::JoinAnswer(_) => {}
        }
        self.finish(out)
    }

    /// Takes in the answer to a request that was sent to an address.
    pub fn answer(
        &mut self,
        address: &str,
        answer: &FormingMessage,
        now: Monotonic,
    ) -> FormingOutputs {
        let mut out = FormingOutputs::default();
        match answer {
            FormingMessage::HelloAnswer {
                about,
                others,
                leader,
            } => self.hello_answered(address, about, others, leader.clone(), now),
            FormingMessage::JoinAnswer(answer) => {
                self.join_answered(address, answer, &mut out);
            }
            FormingMessage::Hello { .. } | FormingMessage::Join { .. } => {}
        }
        self.finish(out)
    }

    /// Says that the cluster which this node was told to form is formed, and durable.
    pub fn formed(&mut self, cluster_id: ClusterId) -> FormingOutputs {
        assert!(
            self.phase == Phase::Forming,
            "nobody told node {} to form a cluster",
            self.me()
        );
        self.belong(cluster_id);
        self.finish(FormingOutputs::default())
    }

    /// What to tell the operator when it takes long.
    #[must_use]
    pub fn waiting(&self, now: Monotonic) -> Option<String> {
        let waited_us = now.since_us(self.started?);
        if waited_us < WAITING_US || !matches!(self.phase, Phase::Looking | Phase::Announcing) {
            return None;
        }
        let (listed, answered) = (self.peers.listed_count(), self.peers.listed_answered());
        let asked = format!(
            "asked {listed} addresses for {} s, {answered} have answered",
            waited_us / 1_000_000
        );
        let here = self.peers.seen() + 1;
        let me = self.me();
        Some(match (self.stored.pledge, self.setup.bootstrap_expect) {
            _ if self.phase == Phase::Announcing => {
                format!("{asked}, and none took the announcement that this node is back")
            }
            _ if self.finder.has(None) => format!("{asked}, and a cluster was found that is busy"),
            (Some(pledge), _) if pledge.to != me => format!(
                "{asked}; this node has promised to help node {} to form a cluster and waits for it",
                pledge.to
            ),
            (_, Some(expect)) => format!(
                "{asked}; there is no cluster, {here} of {expect} expected nodes are here and {} have agreed",
                self.pledged.len()
            ),
            (_, None) => format!(
                "{asked}, and none belongs to a cluster; to form a new one start the nodes with --bootstrap-expect"
            ),
        })
    }
}

impl Forming {
    fn finish(&mut self, mut out: FormingOutputs) -> FormingOutputs {
        if std::mem::take(&mut self.unstored) {
            out.store = Some(self.stored.clone());
        }
        out.verdict = self.verdict.take();
        out
    }

    fn set_stored(&mut self, next: Stored) {
        if self.stored.initiates(self.me()) != next.initiates(self.me()) {
            self.pledged.clear();
        }
        self.unstored |= next != self.stored;
        self.stored = next;
    }

    fn fail(&mut self, error: FormingError) {
        self.phase = Phase::Failed;
        self.verdict = Some(Verdict::Refused(error));
    }

    /// Nothing that this node has stored changes from here on until the cluster is formed.
    fn decide(&mut self, verdict: Verdict) {
        self.phase = Phase::Forming;
        self.verdict = Some(verdict);
    }

    fn belong(&mut self, cluster_id: ClusterId) {
        self.phase = Phase::Settled;
        self.set_stored(Stored {
            cluster_id: Some(cluster_id),
            pledge: None,
            initiator_at: None,
            ..self.stored.clone()
        });
    }

    /// Takes in what another node says of itself.
    fn hear(&mut self, about: &About, now: Monotonic) {
        let me = self.me();
        if about.node.id == me || self.phase != Phase::Looking {
            return;
        }
        self.peers.heard(about, now);
        if about.cluster_id.is_some() {
            return;
        }
        self.set_stored(self.stored.after(me, about));
        let own = self.stored.initiates(me);
        let granted = about.pledge.filter(|pledge| pledge.to == me);
        if own.is_some() && granted.map(|pledge| pledge.attempt) == own {
            self.pledged.insert(about.node.id);
            self.maybe_form();
        }
    }

    fn hello_answered(
        &mut self,
        address: &str,
        about: &About,
        others: &[String],
        leader: Option<String>,
        now: Monotonic,
    ) {
        if !matches!(self.phase, Phase::Looking | Phase::Announcing) || !self.peers.asks(address) {
            return;
        }
        if about.node.id == self.me() && about.incarnation != self.setup.incarnation {
            return self.fail(FormingError::Twin(about.node.id));
        }
        self.peers.answered(address, about.node.id);
        match about.cluster_id {
            Some(cluster_id) => self.finder.heard(address, cluster_id, leader, now),
            None => self.finder.gone(address),
        }
        for other in others.iter().take(OTHERS_MAX) {
            self.peers.learn(other, now);
        }
        self.hear(about, now);
        self.maybe_form();
    }

    fn join_answered(&mut self, address: &str, answer: &JoinAnswer, out: &mut FormingOutputs) {
        if !matches!(self.phase, Phase::Looking | Phase::Announcing) {
            return;
        }
        match answer {
            JoinAnswer::Welcome { topology } => self.welcomed(topology),
            JoinAnswer::Redirect { address } if self.finder.may_follow() => {
                let join = FormingMessage::Join {
                    about: self.about(),
                };
                out.requests.push((address.clone(), join));
            }
            JoinAnswer::Refused { cluster_id, reason } => {
                if self
                    .stored
                    .cluster_id
                    .is_none_or(|ours| ours == *cluster_id)
                {
                    self.fail(FormingError::Refused(reason.clone()));
                }
            }
            JoinAnswer::NoCluster => self.finder.gone(address),
            JoinAnswer::TryAgain | JoinAnswer::Redirect { .. } => {}
        }
    }

    fn welcomed(&mut self, bytes: &[u8]) {
        let Ok(topology) = Topology::decode(bytes) else {
            return;
        };
        let id = topology.cluster_id;
        let ours = self.stored.cluster_id.is_none_or(|ours| ours == id);
        if ours && topology.nodes.contains_key(&self.me()) {
            self.belong(id);
            let topology = bytes.to_vec();
            self.verdict = Some(Verdict::Joined { topology });
        }
    }

    /// Whether what was found fits together.
    fn look_at_clusters(&mut self, now: Monotonic, started: Monotonic) {
        let found: Vec<ClusterId> = self.finder.clusters().into_iter().collect();
        match (self.stored.cluster_id, &found[..]) {
            (None, [one, another, ..]) => self.fail(FormingError::TwoClusters(*one, *another)),
            (Some(ours), [theirs, ..])
                if !found.contains(&ours) && now.since_us(started) >= STRANGERS_US =>
            {
                let theirs = *theirs;
                self.fail(FormingError::OwnData { ours, theirs });
            }
            _ => {}
        }
    }

    fn maybe_initiate(&mut self, now: Monotonic, started: Monotonic) {
        let me = self.me();
        let Some(expect) = self.setup.bootstrap_expect else {
            return;
        };
        let settled = self.peers.all_listed_answered() || now.since_us(started) >= SETTLE_US;
        let free = self.stored.pledge.is_none() && !self.finder.has(None);
        let enough = self.peers.seen() + 1 >= expect as usize;
        if self.phase == Phase::Looking
            && settled
            && free
            && enough
            && !self.peers.any_initiates_before(me)
        {
            self.set_stored(self.stored.initiate(me));
            self.next_hello = now;
        }
    }

    /// Forms the cluster when nobody else can any more.
    fn maybe_form(&mut self) {
        let me = self.me();
        let Some(expect) = self.setup.bootstrap_expect else {
            return;
        };
        if self.phase != Phase::Looking
            || self.stored.initiates(me).is_none()
            || self.finder.has(None)
        {
            return;
        }
        let mut pledged = self.pledged.clone();
        pledged.insert(me);
        let majority = self.peers.listed_count() / 2 + 1;
        if pledged.len() >= expect as usize && self.peers.listed_among(&pledged) >= majority {
            self.decide(Verdict::Form);
        }
    }

    fn ask(&mut self, now: Monotonic, out: &mut FormingOutputs) {
        if !matches!(self.phase, Phase::Looking | Phase::Announcing) {
            return;
        }
        let about = self.about();
        if now >= self.next_hello {
            self.next_hello = now.plus_us(HELLO_EVERY_US);
            let hello = |address: &String| {
                let about = about.clone();
                (address.clone(), FormingMessage::Hello { about })
            };
            out.requests.extend(self.peers.addresses().map(hello));
        }
        if let Some(address) = self.finder.next(self.stored.cluster_id, now) {
            out.requests.push((address, FormingMessage::Join { about }));
        }
    }
}

#[cfg(test)]
mod tests;
