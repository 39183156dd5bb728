//! Compares the copies of shards, for an operator: has every copy look at the state behind one entry, and asks what it found
//! (`node/digests`). The node that was asked does this itself, whoever leads. What follows from the answers is in `compare`.

mod compare;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use ringfort_cluster::topology::Replica;
use ringfort_cluster::{Index, NodeId, ReplicaId, ShardId};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout, Instant};

use crate::node::digests::{DigestAnswer, DigestAsk, DigestQuestion};
use crate::node::operator::{OperatorAnswer, OperatorError, Refusal, VerifiedShard};

use self::compare::{is_mark_lost, is_worth_again, note_passed_by, verified, view, Copy, Stand};
use super::super::control::{Request, Response};
use super::operate::{conflict, no_shard, Answer};
use super::{encoded, Govern};

/// Shards that are compared at the same time.
const SHARDS_AT_ONCE: usize = 8;
/// For all shards together; what is known then is told.
const WHOLE_LIMIT: Duration = Duration::from_secs(50 * 60);
/// For a copy to be ready for the comparison: a snapshot of it may be under way.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// How often a node that does not answer is asked to be ready.
const READY_TRIES: usize = 2;
/// For the leader to put the mark into the log, over changes of the leader.
const MARK_LIMIT: Duration = Duration::from_secs(15);
/// How often a shard is compared whose copies move or change their leader meanwhile, and how long to wait before it is compared again.
const COMPARISONS_MAX: usize = 5;
const AGAIN_PAUSE: Duration = Duration::from_secs(1);
/// Marks that may be lost with their leaders.
const MARKS_MAX: usize = 3;
/// A copy that does not answer, or comes no nearer to the mark, for so long is not waited for.
const STALL_LIMIT: Duration = Duration::from_secs(20);
/// For one question.
const ASK_LIMIT: Duration = Duration::from_secs(3);
/// For a worker of this node to answer one.
const WORKER_LIMIT: Duration = Duration::from_secs(2);
/// Between two rounds of questions: soon at first.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// The comparison of one shard.
struct Comparing {
    shard: ShardId,
    token: u64,
    copies: Vec<Copy>,
    /// When each copy last moved.
    moved: Vec<Instant>,
    until: Instant,
}

impl Govern {
    /// Compares the copies of all shards, or of one.
    pub(super) async fn verify(self: &Rc<Self>, only: Option<u32>) -> Answer {
        let shards = self.shards_to_verify(only)?;
        let Ok(_turn) = self.verifying.try_acquire() else {
            return Err(conflict(
                "this node is comparing copies already: wait until it is done",
            ));
        };
        let until = Instant::now() + WHOLE_LIMIT;
        let mut waiting = shards.into_iter();
        let mut under_way = JoinSet::new();
        let mut all = Vec::new();
        loop {
            let places = SHARDS_AT_ONCE - under_way.len();
            for shard in waiting.by_ref().take(places) {
                under_way.spawn_local(self.clone().verify_shard(shard, until));
            }
            match under_way.join_next().await {
                Some(Ok(shard)) => all.push(shard),
                Some(Err(error)) => tracing::error!("the comparison of a shard ended: {error}"),
                None => return Ok(OperatorAnswer::Verify(view(all))),
            }
        }
    }

    fn shards_to_verify(&self, only: Option<u32>) -> Result<Vec<ShardId>, OperatorError> {
        let topology = self.topology();
        if !topology.is_formed() {
            return Err(OperatorError::new(
                Refusal::Unavailable,
                "this node knows no topology yet: ask again in a moment",
            ));
        }
        let count = topology.shards.len();
        let all = (0..count as u16).map(ShardId);
        let Some(only) = only else {
            return Ok(all.collect());
        };
        let found: Vec<ShardId> = all.filter(|shard| u32::from(shard.0) == only).collect();
        match found.is_empty() {
            true => Err(no_shard(only, count)),
            false => Ok(found),
        }
    }

    /// Compares the copies of a shard, and does it again where it was not all compared because it was changing.
    async fn verify_shard(self: Rc<Self>, shard: ShardId, until: Instant) -> VerifiedShard {
        for _ in 1..COMPARISONS_MAX {
            let copies = self.compare(shard, until).await;
            let now = self.copies_of(shard);
            let now = now.iter().map(|copy| copy.replica).collect();
            let found = verified(shard, &copies);
            let is_late = Instant::now() + AGAIN_PAUSE >= until;
            if is_late || !is_worth_again(&copies, &found, &now) {
                return found;
            }
            sleep(AGAIN_PAUSE).await;
        }
        verified(shard, &self.compare(shard, until).await)
    }

    async fn compare(self: &Rc<Self>, shard: ShardId, until: Instant) -> Vec<Copy> {
        let copies = self.copies_of(shard);
        let mut all = Comparing {
            shard,
            token: RandomState::new().build_hasher().finish(),
            moved: vec![Instant::now(); copies.len()],
            copies,
            until,
        };
        self.make_ready(&mut all).await;
        for _ in 0..MARKS_MAX {
            let is_ready = all.copies.iter().any(|copy| copy.stand.awaits());
            if !is_ready {
                break;
            }
            match self.put_mark(&all).await {
                Ok(index) => self.collect_digests(&mut all, index).await,
                Err(why) => all.fail(|stand| stand.awaits(), &why),
            }
        }
        // Else the next comparison would find them busy.
        let left_open = |stand: &Stand| stand.is_left_open();
        self.ask_copies(&all, DigestAsk::End, left_open).await;
        all.copies
    }

    fn copies_of(&self, shard: ShardId) -> Vec<Copy> {
        let topology = self.topology();
        let place = topology.shards.get(shard.as_usize());
        let replicas = place.into_iter().flat_map(|place| &place.replicas);
        let votes = |id: &ReplicaId| place.is_some_and(|place| place.members.voters.contains(id));
        let down = self.down.borrow();
        let copy = |(id, held): (&ReplicaId, &Replica)| Copy {
            replica: *id,
            node: held.node,
            votes: votes(id),
            stand: match () {
                () if held.lost => Stand::Failed("its node has lost it".into()),
                () if down.contains(&held.node) => Stand::Failed("its node is down".into()),
                () => Stand::Asked("it was not asked in time".into()),
            },
        };
        replicas.map(copy).collect()
    }

    /// Has all copies await the mark.
    async fn make_ready(self: &Rc<Self>, all: &mut Comparing) {
        let ends = (Instant::now() + READY_LIMIT).min(all.until);
        let mut unheard = vec![0; all.copies.len()];
        while Instant::now() < ends {
            // Those that await it already are asked too, so that they go on awaiting it.
            for (at, answer) in self.ask_open(all, DigestAsk::Await).await {
                match answer {
                    Ok(answer) => all.heard(at, answer),
                    Err(why) => {
                        unheard[at] += 1;
                        all.copies[at].stand = match unheard[at] < READY_TRIES {
                            true => Stand::Asked(why),
                            false => Stand::Failed(why),
                        };
                    }
                }
            }
            let is_asked = |copy: &Copy| matches!(copy.stand, Stand::Asked(_));
            if !all.copies.iter().any(is_asked) {
                return;
            }
            sleep(PAUSE_MAX).await;
        }
        for copy in &mut all.copies {
            if let Stand::Asked(why) = &copy.stand {
                copy.stand = Stand::Failed(why.clone());
            }
        }
    }

    /// Has the leader put the mark into the log; gives the index that it will have if the leader stays.
    async fn put_mark(&self, all: &Comparing) -> Result<Index, String> {
        let ends = (Instant::now() + MARK_LIMIT).min(all.until);
        let mut why = "there was no time left".to_owned();
        let mut turn = 0;
        while Instant::now() < ends {
            let topology = self.topology();
            let known = self.leaders.borrow().leader(&topology, all.shard);
            // Where that one is not it, any of the others may be.
            let others = all.copies.iter().map(|copy| copy.node);
            let mut nodes = known.into_iter().chain(others).cycle().skip(turn);
            let Some(node) = nodes.next() else { break };
            let question = all.question(DigestAsk::Mark);
            match self.ask_digest(node, question).await {
                Ok(DigestAnswer::Marked(index)) => return Ok(index),
                Ok(DigestAnswer::Busy(reason) | DigestAnswer::Failed(reason)) | Err(reason) => {
                    why = format!("the leader of the shard was not found: {reason}");
                }
                Ok(other) => why = format!("node {node} gives another answer: {other:?}"),
            }
            turn += 1;
            sleep(PAUSE_MIN).await;
        }
        Err(why)
    }

    /// Asks until all copies have answered, or nothing more is to be hoped for. Where some still await a mark at the end, it was lost.
    async fn collect_digests(self: &Rc<Self>, all: &mut Comparing, mark: Index) {
        all.moved.fill(Instant::now());
        let mut pause = PAUSE_MIN;
        loop {
            sleep(pause).await;
            pause = (pause * 3 / 2).min(PAUSE_MAX);
            for (at, answer) in self.ask_open(all, DigestAsk::Tell).await {
                match answer {
                    Ok(answer) => all.heard(at, answer),
                    Err(why) => all.unheard(at, &why),
                }
            }
            note_passed_by(&mut all.copies);
            all.give_up_standing();
            let is_over = all.copies.iter().all(|copy| copy.stand.is_over());
            let is_late = Instant::now() >= all.until;
            if is_over || is_late || is_mark_lost(&all.copies, mark) {
                return;
            }
        }
    }

    /// Asks all copies of which something is still to be heard, at once.
    async fn ask_open(
        self: &Rc<Self>,
        all: &Comparing,
        ask: DigestAsk,
    ) -> Vec<(usize, Result<DigestAnswer, String>)> {
        self.ask_copies(all, ask, |stand| !stand.is_over()).await
    }

    async fn ask_copies(
        self: &Rc<Self>,
        all: &Comparing,
        ask: DigestAsk,
        which: impl Fn(&Stand) -> bool,
    ) -> Vec<(usize, Result<DigestAnswer, String>)> {
        let question = all.question(ask);
        let mut asked = JoinSet::new();
        for (at, copy) in all.copies.iter().enumerate() {
            if which(&copy.stand) {
                let (govern, node) = (self.clone(), copy.node);
                asked.spawn_local(async move { (at, govern.ask_digest(node, question).await) });
            }
        }
        asked.join_all().await
    }

    /// Asks one node about its copy.
    async fn ask_digest(
        &self,
        node: NodeId,
        question: DigestQuestion,
    ) -> Result<DigestAnswer, String> {
        if node == self.me() {
            return Ok(self.answer_digest(question).await);
        }
        let address = self.address_of(node).ok_or("its node is gone")?;
        let request = encoded(&Request::Digest(question)).ok_or("it cannot be asked")?;
        match self.ask((node, &address), &request, ASK_LIMIT).await {
            Ok((_, Response::Digest(answer))) => Ok(answer),
            Ok((_, Response::Refused(why))) => Err(format!("its node refuses: {why}")),
            Ok(_) => Err("its node gives another answer".into()),
            Err(error) => Err(format!("its node does not answer: {error}")),
        }
    }

    /// What a worker of this node says of its copy.
    pub(super) async fn answer_digest(&self, question: DigestQuestion) -> DigestAnswer {
        let (sender, answered) = oneshot::channel();
        {
            let mut worker = self.local.worker.borrow_mut();
            let Some(number) = worker.worker_of_group(question.shard) else {
                return DigestAnswer::failed("there is no such shard");
            };
            worker.task(number, move |there| {
                let _ = sender.send(there.answer_digest(question));
            });
        }
        self.local.want_turn();
        match timeout(WORKER_LIMIT, answered).await {
            Ok(Ok(answer)) => answer,
            _ => DigestAnswer::busy("the worker does not answer"),
        }
    }
}

impl Comparing {
    fn question(&self, ask: DigestAsk) -> DigestQuestion {
        DigestQuestion {
            shard: self.shard,
            token: self.token,
            ask,
        }
    }

    fn heard(&mut self, at: usize, answer: DigestAnswer) {
        // A worker that is slow now has not forgotten what it was asked.
        let is_slow = matches!(answer, DigestAnswer::Busy(_)) && self.copies[at].stand.is_begun();
        if !is_slow && self.copies[at].heard(answer) {
            self.moved[at] = Instant::now();
        }
    }

    fn unheard(&mut self, at: usize, why: &str) {
        if self.moved[at].elapsed() >= STALL_LIMIT {
            self.copies[at].stand = Stand::Failed(why.into());
        }
    }

    /// Gives up the copies that come no nearer.
    fn give_up_standing(&mut self) {
        let copies = self.copies.iter_mut().zip(&self.moved);
        for (copy, _) in copies.filter(|(_, moved)| moved.elapsed() >= STALL_LIMIT) {
            copy.give_up();
        }
    }

    fn fail(&mut self, which: impl Fn(&Stand) -> bool, why: &str) {
        let copies = self.copies.iter_mut();
        for copy in copies.filter(|copy| which(&copy.stand)) {
            copy.stand = Stand::Failed(why.into());
        }
    }
}
