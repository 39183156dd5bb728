//! Where this node has replicas that may have forgotten what they acknowledged, it asks the nodes of all others of their groups, until there
//! is a leader or one can be elected. Decides nothing: `ringfort_cluster::suspects` does.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use ringfort_cluster::suspects::{
    decide, Agree, Election, Heard, SuspectsAnswer, SuspectsQuestion, Told, Verdict,
    GROUPS_OF_QUESTION_MAX,
};
use ringfort_cluster::topology::Topology;
use ringfort_cluster::{NodeId, ShardId};
use tokio::task::spawn_local;
use tokio::time::Instant;

use crate::node::recovery::named;

use super::super::control::{Request, Response};
use super::{encoded, Govern};

/// Between two rounds of questions.
const ROUND_EVERY: Duration = Duration::from_secs(1);
/// For one question of a round.
const QUESTION_LIMIT: Duration = Duration::from_secs(2);
/// For so long this node helps to decide about a group without a suspect of its own, after another has asked about it.
const ASKED_LAST: Duration = Duration::from_secs(5);
/// How often the operator is told for what suspects wait.
const WAITING_EVERY: Duration = Duration::from_secs(30);

/// Questions of one kind, by the node that they go to.
type Questions = BTreeMap<NodeId, SuspectsQuestion>;

impl Govern {
    /// Goes on as long as the node runs: another may come back at any time.
    pub(super) async fn settles_suspects(self: Rc<Self>) {
        let mut waiting = Waiting::default();
        let mut turn = 0usize;
        loop {
            tokio::time::sleep(ROUND_EVERY).await;
            let mut groups = self.doubtful();
            if groups.is_empty() {
                continue;
            }
            let settled = self.of_all_workers(|there| there.settle_suspects()).await;
            for error in settled.into_iter().filter_map(Result::err) {
                tracing::warn!("replicas that are suspect no more cannot be noted: {error}");
            }
            let count = groups.len();
            groups.rotate_left(turn % count);
            groups.truncate(GROUPS_OF_QUESTION_MAX);
            turn = turn.wrapping_add(groups.len());
            self.clone().round(groups, &mut waiting).await;
        }
    }

    /// The groups about which something is to be decided, as far as this node is concerned.
    fn doubtful(&self) -> Vec<ShardId> {
        let mut asked = self.asked_about.borrow_mut();
        asked.retain(|_, at| at.elapsed() < ASKED_LAST);
        let own = self.local.shared.cluster_state().suspects();
        let own = own.into_iter().map(|(group, _)| group);
        let all: BTreeSet<ShardId> = own.chain(asked.keys().copied()).collect();
        all.into_iter().collect()
    }

    async fn round(self: Rc<Self>, groups: Vec<ShardId>, waiting: &mut Waiting) {
        let topology = self.topology();
        let heard = self.clone().hear_all(&topology, &groups).await;
        let mut elections = Vec::new();
        for (group, heard) in heard {
            let Some(place) = topology.place(group) else {
                continue;
            };
            let own = heard.get(&self.me()).cloned().flatten();
            match (decide(place, &heard), own) {
                (Verdict::Elect(election), Some(own)) if election.node == self.me() => {
                    elections.push((group, own, election));
                }
                (Verdict::Waits(waits), Some(own)) if own.suspect => {
                    waiting.note(group, waits.to_string());
                }
                _ => {}
            }
        }
        waiting.tell();
        if !elections.is_empty() {
            self.hold(&topology, elections).await;
        }
    }

    /// What all nodes with replicas of these groups say of them.
    async fn hear_all(
        self: Rc<Self>,
        topology: &Topology,
        groups: &[ShardId],
    ) -> BTreeMap<ShardId, Heard> {
        let mut questions = BTreeMap::<NodeId, BTreeSet<ShardId>>::new();
        for group in groups {
            let places = topology.place(*group).into_iter();
            let nodes = places.flat_map(|place| place.replicas.values().map(|held| held.node));
            for node in nodes.filter(|node| *node != self.me()) {
                questions.entry(node).or_default().insert(*group);
            }
        }
        let ask = |(node, groups): (NodeId, BTreeSet<ShardId>)| {
            let groups = groups.into_iter().collect();
            (node, SuspectsQuestion::Tell(groups))
        };
        let questions = questions.into_iter().map(ask).collect();
        let mut heard = BTreeMap::<ShardId, Heard>::new();
        let mut note = |node, all: Vec<(ShardId, Option<Told>)>| {
            for (group, told) in all {
                heard.entry(group).or_default().insert(node, told);
            }
        };
        for (node, answer) in self.clone().ask_all(topology, questions).await {
            if let SuspectsAnswer::Told(all) = answer {
                note(node, all);
            }
        }
        // Last, so that it is no older than what the others say.
        note(self.me(), self.tell_own(groups.to_vec()).await);
        heard
    }

    /// Asks several nodes at once. Those that do not answer are left out.
    async fn ask_all(
        self: Rc<Self>,
        topology: &Topology,
        questions: Questions,
    ) -> Vec<(NodeId, SuspectsAnswer)> {
        let mut asked = Vec::new();
        for (node, question) in questions {
            let address = topology.nodes.get(&node).map(|node| node.peer_address());
            let request = encoded(&Request::Suspects(question));
            let (Some(address), Some(request)) = (address, request) else {
                continue;
            };
            let govern = self.clone();
            let answer = async move {
                let answer = govern.ask((node, &address), &request, QUESTION_LIMIT);
                (node, answer.await)
            };
            asked.push(spawn_local(answer));
        }
        let mut answers = Vec::new();
        for answer in asked {
            match answer.await {
                Ok((node, Ok((_, Response::Suspects(answer))))) => answers.push((node, answer)),
                Ok((node, Ok((_, other)))) => {
                    tracing::debug!("node {node} says nothing of its replicas: {other:?}");
                }
                Ok((node, Err(error))) => {
                    tracing::debug!("node {node} says nothing of its replicas: {error}");
                }
                Err(_) => {}
            }
        }
        answers
    }

    /// Asks all others for their word, and has the replicas here stand of whose groups everybody has given it.
    async fn hold(self: Rc<Self>, topology: &Topology, elections: Vec<(ShardId, Told, Election)>) {
        let mut asks = BTreeMap::<NodeId, Vec<Agree>>::new();
        for (group, _, election) in &elections {
            for (node, told) in &election.others {
                asks.entry(*node)
                    .or_default()
                    .push(ask(*group, told, election));
            }
        }
        let ask_node = |(node, asks)| (node, SuspectsQuestion::Agree(asks));
        let questions = asks.into_iter().map(ask_node).collect();
        let mut agreed = BTreeSet::new();
        for (node, answer) in self.clone().ask_all(topology, questions).await {
            if let SuspectsAnswer::Agreed(groups) = answer {
                agreed.extend(groups.into_iter().map(|group| (group, node)));
            }
        }
        let is_unanimous = |(group, _, election): &&(ShardId, Told, Election)| {
            let mut others = election.others.keys();
            others.all(|node| agreed.contains(&(*group, *node)))
        };
        let own: Vec<Agree> = (elections.iter().filter(is_unanimous))
            .map(|(group, own, election)| ask(*group, own, election))
            .collect();
        let standing = self.agree(own).await;
        if !standing.is_empty() {
            tracing::warn!(
                "{}: most voters may have forgotten the last second before their machines stopped. All are there; what this node has is the most advanced, and is elected",
                named(&standing)
            );
        }
    }

    // ---- answers -------------------------------------------------------------------------------------

    pub(super) async fn answer_suspects(&self, question: SuspectsQuestion) -> SuspectsAnswer {
        match question {
            SuspectsQuestion::Tell(groups) => {
                let told = self.tell_own(groups).await;
                self.note_asked(&told);
                SuspectsAnswer::Told(told)
            }
            SuspectsQuestion::Agree(asks) => SuspectsAnswer::Agreed(self.agree(asks).await),
        }
    }

    /// The most advanced of a group may be a replica here that nobody doubts.
    fn note_asked(&self, told: &[(ShardId, Option<Told>)]) {
        let mut asked = self.asked_about.borrow_mut();
        for (group, told) in told {
            if told
                .as_ref()
                .is_some_and(|told| !told.suspect && !told.has_leader)
            {
                asked.insert(*group, Instant::now());
            }
        }
    }

    pub(super) async fn tell_own(&self, groups: Vec<ShardId>) -> Vec<(ShardId, Option<Told>)> {
        let told = self.of_all_workers(move |there| there.tell_standings(&groups));
        told.await.into_iter().flatten().collect()
    }

    /// The groups whose replicas here agree.
    async fn agree(&self, asks: Vec<Agree>) -> Vec<ShardId> {
        if asks.is_empty() {
            return Vec::new();
        }
        let agreed = self.of_all_workers(move |there| {
            let agreed = asks.iter().filter(|ask| there.agree(ask));
            agreed.map(|ask| ask.shard).collect::<Vec<_>>()
        });
        agreed.await.into_iter().flatten().collect()
    }
}

fn ask(shard: ShardId, told: &Told, election: &Election) -> Agree {
    Agree {
        shard,
        replica: told.replica,
        suspect: told.suspect,
        last: told.last,
        elected: election.elected,
        term: election.term,
    }
}

/// For whom the suspects here wait, told once in a while.
#[derive(Default)]
struct Waiting {
    reasons: BTreeMap<String, Vec<ShardId>>,
    told: Option<Instant>,
}

impl Waiting {
    fn note(&mut self, group: ShardId, reason: String) {
        self.reasons.entry(reason).or_default().push(group);
    }

    /// Not at the first look: the others may be starting too.
    fn tell(&mut self) {
        let reasons = std::mem::take(&mut self.reasons);
        let since = *self.told.get_or_insert_with(Instant::now);
        if reasons.is_empty() || since.elapsed() < WAITING_EVERY {
            return;
        }
        self.told = Some(Instant::now());
        for (reason, groups) in reasons {
            tracing::warn!(
                "{}: most voters may have forgotten the last second before their machines stopped, and the most advanced of all is to be elected. Waiting for {reason}",
                named(&groups)
            );
        }
    }
}
