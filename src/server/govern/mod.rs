//! What every node does for its cluster, on the worker of its copy of the meta group: it tells the leader of the meta group how it is, shows
//! its clients who leads what, and answers other nodes' questions; where it leads the meta group it is the steward. The loops are here,
//! what they say to others in `answers`, `report`, `steer` and `suspects`, what they tell
//! operators in `operate`. Decides nothing itself: `ringfort_cluster::steward` does.

mod answers;
mod names;
mod operate;
mod orders;
mod overview;
mod plans;
mod problems;
mod recover;
mod removed;
mod report;
mod steer;
mod survivor;
mod suspects;
mod verify;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringfort_cluster::forming::{About, Setup};
use ringfort_cluster::steward::{NodeReport, Steward, StewardLimits};
use ringfort_cluster::topology::{Leaders, Topology, META_GROUP};
use ringfort_cluster::{Epoch, Monotonic, NodeId, ShardId, Term};
use tokio::sync::{mpsc, oneshot, Notify, Semaphore};
use tokio::task::spawn_local;
use tokio::time::{timeout, timeout_at, Instant};

use crate::node::meta::Account;
use crate::node::peer::{ask, AskError, ControlHandler, Home, Target};
use crate::node::{monotonic_clock, view, Worker};

use super::control::{ControlError, Request, Response};
use super::formation::Announcing;
use super::Local;

/// Between two reports, when nothing changes.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// What changes within so long is told at once.
const COALESCE: Duration = Duration::from_millis(50);
/// A worker that does not tell how it is within so long is left out of the report.
const ACCOUNT_LIMIT: Duration = Duration::from_millis(500);
/// Questions of other nodes that wait to be looked at, over all workers; further ones wait at their connections.
const QUESTIONS_MAX: usize = 256;

/// A question of another node.
struct Question {
    from: NodeId,
    bytes: Vec<u8>,
    answer: oneshot::Sender<Vec<u8>>,
}

/// What all workers are given: questions come in by any of them, and the one with the copy of the meta group answers.
#[derive(Clone)]
pub struct Office {
    questions: mpsc::Sender<Question>,
    /// Until the worker that answers has taken it.
    governing: Arc<Mutex<Option<Governing>>>,
}

/// What goes to the thread of the meta group's worker.
struct Governing {
    home: Arc<Home>,
    setup: Setup,
    announcing: Option<Box<Announcing>>,
    asked: mpsc::Receiver<Question>,
}

impl Office {
    /// For a node with the setup with which it was started; `announcing` is that of a member that came back.
    pub fn new(home: Arc<Home>, setup: Setup, announcing: Option<Box<Announcing>>) -> Self {
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let governing = Governing {
            home,
            setup,
            announcing,
            asked,
        };
        Self {
            questions,
            governing: Arc::new(Mutex::new(Some(governing))),
        }
    }

    /// For the [`Serving`](crate::node::peer::Serving) of a worker, on its thread.
    pub fn handler(&self) -> ControlHandler {
        let questions = self.questions.clone();
        Rc::new(move |from, bytes| {
            let questions = questions.clone();
            Box::pin(async move {
                let (answer, answered) = oneshot::channel();
                let question = Question {
                    from,
                    bytes,
                    answer,
                };
                match questions.send(question).await {
                    Ok(()) => answered.await.unwrap_or_default(),
                    Err(_) => Vec::new(),
                }
            })
        })
    }

    /// Begins, if this is the worker that answers. To be called on every worker's thread, within its `LocalSet`; the tasks end with that.
    pub(crate) fn open(&self, local: &Rc<Local>) {
        let home = local.worker.borrow().worker_of_group(META_GROUP);
        if home.map(usize::from) != Some(local.number) {
            return;
        }
        let mut governing = self
            .governing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(governing) = governing.take() {
            start(local, governing);
        }
    }
}

/// What the tasks share.
struct Govern {
    local: Rc<Local>,
    home: Arc<Home>,
    setup: Setup,
    /// Of all workers, as of the last look.
    account: RefCell<Account>,
    leaders: RefCell<Leaders>,
    down: RefCell<BTreeSet<NodeId>>,
    /// Who leads the meta group, by the word of others.
    heard_leader: Cell<Option<NodeId>>,
    /// Whom to report to next, where the leader is not known.
    turns: Cell<usize>,
    /// The topology that was written down last, or is being written.
    kept: Cell<Epoch>,
    /// Groups with suspects elsewhere, about which others have asked, and when.
    asked_about: RefCell<BTreeMap<ShardId, Instant>>,
    stewardship: RefCell<Option<Stewardship>>,
    /// One comparison of copies at a time.
    verifying: Semaphore,
    /// The operator's word about lost nodes is being carried out.
    recovering: Cell<bool>,
    /// It is known, and was told, that this node was removed.
    is_removed: Cell<bool>,
    /// Before that this node decides nothing for the cluster: what it goes on with may be older than what others know.
    steers_from: Cell<Option<Instant>>,
    report_now: Notify,
    steer_now: Notify,
}

/// What this node keeps while it leads the meta group.
struct Stewardship {
    term: Term,
    since: Monotonic,
    steward: Steward,
    /// By node: the topology that it knows.
    told: BTreeMap<NodeId, Epoch>,
    /// Nodes to which a topology is on its way.
    telling: BTreeSet<NodeId>,
}

fn start(local: &Rc<Local>, governing: Governing) {
    let Governing {
        home,
        setup,
        announcing,
        asked,
    } = governing;
    let govern = Rc::new(Govern {
        local: local.clone(),
        home,
        setup,
        account: RefCell::default(),
        leaders: RefCell::default(),
        down: RefCell::default(),
        heard_leader: Cell::default(),
        turns: Cell::default(),
        kept: Cell::default(),
        asked_about: RefCell::default(),
        stewardship: RefCell::default(),
        verifying: Semaphore::new(1),
        recovering: Cell::default(),
        is_removed: Cell::default(),
        steers_from: Cell::default(),
        report_now: Notify::new(),
        steer_now: Notify::new(),
    });
    spawn_local(govern.clone().answers(asked));
    spawn_local(govern.clone().observes());
    spawn_local(govern.clone().reports());
    spawn_local(govern.clone().steers());
    spawn_local(govern.clone().settles_suspects());
    if let Some(asked) = govern.local.shared.desk.open() {
        spawn_local(govern.clone().operates(asked));
    }
    if let Some(announcing) = announcing {
        spawn_local(govern.announces(announcing));
    }
}

impl Govern {
    fn me(&self) -> NodeId {
        self.setup.node.id
    }

    fn topology(&self) -> Arc<Topology> {
        self.local.shared.topology.current()
    }

    /// Whether this node leads the meta group.
    fn leads(&self) -> bool {
        self.local.worker.borrow().leads_meta()
    }

    /// Who leads the meta group, as far as is known.
    fn leader(&self) -> Option<NodeId> {
        let own = self.local.worker.borrow().meta_leader();
        own.or(self.heard_leader.get())
    }

    /// How careful the steward is, as the settings say now.
    fn limits(&self) -> StewardLimits {
        let live = self.local.shared.settings.live();
        StewardLimits::default().replacing_after(live.replace_after_seconds * 1_000_000)
    }

    /// Acts on the steward of this term, where this node leads the meta group.
    fn with_stewardship<T>(&self, act: impl FnOnce(&mut Stewardship, Monotonic) -> T) -> Option<T> {
        let term = self.local.worker.borrow().meta_term();
        let mut stewardship = self.stewardship.borrow_mut();
        let Some(term) = term else {
            *stewardship = None;
            return None;
        };
        let now = monotonic_clock();
        // A new term begins with what is reported in it: in between another may have decided.
        if stewardship.as_ref().is_none_or(|held| held.term != term) {
            tracing::info!("this node leads the meta group in term {term}");
            *stewardship = Some(Stewardship {
                term,
                since: now,
                steward: Steward::new(self.limits()),
                told: BTreeMap::new(),
                telling: BTreeSet::new(),
            });
        }
        stewardship.as_mut().map(|held| act(held, now))
    }

    /// Asks one node; `node` may be zero for whoever is there.
    async fn ask(
        &self,
        (node, address): (NodeId, &str),
        request: &[u8],
        limit: Duration,
    ) -> Result<(NodeId, Response), Unanswered> {
        // Questions are answered on one worker of each node. This is it where all have as many workers.
        let worker = self.local.number as u16;
        let target = Target {
            address,
            node,
            worker,
        };
        let (found, bytes) = ask(&self.home, target, request, limit).await?;
        Ok((found, Response::decode(&bytes)?))
    }

    // ---- what this node sees -------------------------------------------------------------------------

    /// Looks at the workers regularly and when something has changed, and passes it on.
    async fn observes(self: Rc<Self>) {
        loop {
            let account = self.collect().await;
            self.take_account(account);
            self.publish();
            self.look_whether_removed();
            self.keep_topology();
            self.report_now.notify_one();
            self.steer_now.notify_one();
            tokio::time::sleep(COALESCE).await;
            let _ = timeout(REPORT_EVERY, self.local.shared.topology.woken()).await;
        }
    }

    /// Has a newer topology written down, by a thread that may wait for the disk: a start decides by it which replicas others can
    /// rebuild.
    fn keep_topology(&self) {
        let epoch = self.local.shared.topology.epoch();
        if self.kept.replace(epoch) == epoch {
            return;
        }
        let shared = self.local.shared.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = shared.topology.keep_newest() {
                tracing::warn!("the topology cannot be kept: {error}");
            }
        });
    }

    async fn collect(&self) -> Account {
        let mut whole = Account::default();
        for part in self.of_all_workers(|there| there.account()).await {
            whole.groups.extend(part.groups);
            whole.leaders.extend(part.leaders);
        }
        whole
    }

    /// What each worker answers in time.
    async fn of_all_workers<T: Send + 'static>(
        &self,
        ask: impl Fn(&mut Worker) -> T + Clone + Send + 'static,
    ) -> Vec<T> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let tell = move |there: &mut Worker| drop(sender.send(ask(there)));
        self.local.worker.borrow_mut().task_everywhere(tell);
        self.local.want_turn();
        let deadline = Instant::now() + ACCOUNT_LIMIT;
        let mut all = Vec::new();
        while let Ok(Some(part)) = timeout_at(deadline, receiver.recv()).await {
            all.push(part);
        }
        all
    }

    fn take_account(&self, account: Account) {
        let topology = self.topology();
        let mut leaders = self.leaders.borrow_mut();
        for &(shard, term, node) in &account.leaders {
            leaders.heard(&topology, shard, term, node);
        }
        drop(leaders);
        *self.account.borrow_mut() = account;
    }

    /// Takes in who leads what by a report.
    fn learn_leaders(&self, report: &NodeReport) -> bool {
        let topology = self.topology();
        let mut leaders = self.leaders.borrow_mut();
        let mut changed = false;
        for group in report.groups.iter().filter(|group| group.leads.is_some()) {
            changed |= leaders.heard(&topology, group.shard, group.term, report.node.id);
        }
        changed
    }

    /// Shows clients what is known now, where it differs from what they see.
    fn publish(&self) {
        let topology = self.topology();
        if !topology.is_formed() {
            return;
        }
        let (leaders, down) = (self.leaders.borrow(), self.down.borrow());
        let view = view::of_topology(&topology, &leaders, self.me(), &down);
        let cell = &self.local.shared.view;
        if *cell.current() != view {
            cell.publish(Arc::new(view));
        }
    }

    // ---- at the start --------------------------------------------------------------------------------

    fn about(&self) -> About {
        About {
            node: self.setup.node.clone(),
            incarnation: self.setup.incarnation,
            expects: None,
            cluster_id: Some(self.topology().cluster_id),
            pledge: None,
            gave_up: 0,
        }
    }

    async fn announces(self: Rc<Self>, announcing: Box<Announcing>) {
        match announcing.announce().await {
            Ok(Some(topology)) => {
                self.local.shared.topology.offer(Arc::from(topology));
            }
            Ok(None) => {}
            Err(error) => {
                // Nobody takes what it would hand over.
                self.local.shared.fail(error.to_string());
            }
        }
    }
}

/// Why a question has no answer that can be used.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("{0}")]
    Ask(#[from] AskError),
    #[error("an answer that is none: {0}")]
    Answer(#[from] ControlError),
}

fn encoded(request: &Request) -> Option<Vec<u8>> {
    let encoded = request.encode();
    encoded
        .map_err(|error| tracing::error!("a question to another node: {error}"))
        .ok()
}

#[cfg(test)]
mod tests;
