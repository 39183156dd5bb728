//! Groups that lost their majority for good go on by the word of the operator: this node, whichever was asked, asks all survivors, and has
//! carried out what `ringfort_cluster::recover` decides. Every step may be repeated, by any survivor, wherever it was interrupted.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringfort_cluster::meta::Recovery;
use ringfort_cluster::recover::{
    decide, strangers, Choose, Chosen, Fate, Obstacle, RecoverAnswer, RecoverQuestion, Yield,
};
use ringfort_cluster::suspects::{Heard, GROUPS_OF_QUESTION_MAX};
use ringfort_cluster::topology::{Topology, META_GROUP};
use ringfort_cluster::{NodeId, ReplicaId, ShardId};
use tokio::time::{sleep, Instant};

use crate::node::operator::{OperatorAnswer, OperatorError, RecoverView, RecoveredGroup, Refusal};
use crate::node::recovery::named;

use super::names::{find_node, find_removed};
use super::operate::{conflict, not_leading, Answer};
use super::Govern;

/// A lost node that has not answered for so long is not there.
const LOST_LIMIT: Duration = Duration::from_secs(2);
/// For those that followed a lost leader to notice that it is gone.
const PEACE_LIMIT: Duration = Duration::from_secs(10);
/// For everything to be carried out.
const WHOLE_LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);
/// Topologies that are newer than the one known before, one after another.
const NEWER_MAX: usize = 5;
/// Groups and nodes that are named in one message.
const NAMED_MAX: usize = 5;

/// How all groups stand.
struct Survey {
    topology: Arc<Topology>,
    survivors: BTreeSet<NodeId>,
    fates: BTreeMap<ShardId, Result<Fate, Obstacle>>,
    strangers: Vec<(ShardId, ReplicaId)>,
}

impl Survey {
    fn chosen(&self) -> impl Iterator<Item = (ShardId, &Chosen)> {
        self.fates.iter().filter_map(|(group, fate)| match fate {
            Ok(Fate::Force(chosen)) => Some((*group, &**chosen)),
            _ => None,
        })
    }

    fn anew(&self) -> impl Iterator<Item = ShardId> + '_ {
        let anew = self.fates.iter();
        anew.filter(|(_, fate)| matches!(fate, Ok(Fate::Anew)))
            .map(|(group, _)| *group)
    }

    fn obstacle(&self) -> Option<(ShardId, &Obstacle)> {
        self.fates
            .iter()
            .find_map(|(group, fate)| Some((*group, fate.as_ref().err()?)))
    }

    fn view(&self, lost: &BTreeSet<NodeId>, done: bool) -> RecoverView {
        let group = |(group, chosen): (ShardId, &Chosen)| RecoveredGroup {
            shard: (group != META_GROUP).then_some(group.0.into()),
            node: chosen.node.to_string(),
            term: chosen.told.last.0 .0,
            index: chosen.told.last.1 .0,
            committed: chosen.told.committed.0,
            suspect: chosen.told.suspect,
            others: chosen.others.keys().map(NodeId::to_string).collect(),
        };
        let anew: Vec<u32> = self.anew().map(|group| group.0.into()).collect();
        let groups: Vec<RecoveredGroup> = self.chosen().map(group).collect();
        RecoverView {
            done,
            lost: lost.iter().map(NodeId::to_string).collect(),
            left_alone: (self.fates.len() - groups.len() - anew.len()) as u32,
            notes: notes(done, !anew.is_empty()),
            groups,
            empty_shards: anew,
        }
    }
}

fn notes(done: bool, some_are_empty: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if !done {
        notes.push("Nothing was changed: repeat it with your consent to the loss of data (--accept-data-loss).".to_owned());
    }
    notes.push("Kept is all that any node that is left has. Whether the lost nodes had acknowledged more than that nobody can know.".to_owned());
    if some_are_empty {
        notes.push(
            "The empty shards were on the lost nodes alone: all their keys are gone.".to_owned(),
        );
    }
    notes.push("Never start a lost node again with its data: enough of them together would go on as the cluster that they remember. With an empty --dir each may join as a new node.".to_owned());
    notes
}

fn list(nodes: impl IntoIterator<Item = NodeId>) -> String {
    let all: Vec<String> = nodes.into_iter().map(|id| id.to_string()).collect();
    match all.len() {
        few if few <= NAMED_MAX => all.join(", "),
        many => format!(
            "{} and {} more",
            all[..NAMED_MAX].join(", "),
            many - NAMED_MAX
        ),
    }
}

impl Govern {
    /// Goes on without the lost nodes; without the operator's consent tells what that would mean.
    pub(super) async fn recover(self: &Rc<Self>, names: &[String], accepted: bool) -> Answer {
        let lost = self.lost_nodes(names)?;
        if self.recovering.replace(true) {
            return Err(conflict(
                "this node is at it already: ask again when it has ended",
            ));
        }
        let recovered = self.recover_once(&lost, accepted).await;
        self.recovering.set(false);
        recovered.map(|view| OperatorAnswer::Recover(Box::new(view)))
    }

    fn lost_nodes(&self, names: &[String]) -> Result<BTreeSet<NodeId>, OperatorError> {
        let topology = self.topology();
        let mut lost = BTreeSet::new();
        for name in names {
            // Who repeats it, because it was interrupted, names nodes that are out already.
            match find_removed(&topology, name) {
                Some(id) => lost.insert(id),
                None => lost.insert(find_node(&topology, name)?.id),
            };
        }
        let invalid = |reason: &str| Err(OperatorError::new(Refusal::Invalid, reason));
        match () {
            () if lost.is_empty() => invalid("name the nodes that are gone for ever"),
            () if lost.contains(&self.me()) => {
                invalid("the node that was asked is not lost: it answers")
            }
            () => Ok(lost),
        }
    }

    async fn recover_once(
        self: &Rc<Self>,
        lost: &BTreeSet<NodeId>,
        accepted: bool,
    ) -> Result<RecoverView, OperatorError> {
        self.check_gone(lost).await?;
        let survey = self.survey_in_peace(lost).await?;
        if survey.chosen().next().is_none() && survey.anew().next().is_none() {
            return Err(conflict(format!(
                "nothing is to be recovered: every group has a majority without {}; `ringfort node remove ID --force` takes a dead node out",
                list(lost.iter().copied())
            )));
        }
        if matches!(survey.fates.get(&META_GROUP), Some(Ok(Fate::Anew))) {
            return Err(conflict(
                "no node that is left has a copy of the meta group, without which nobody knows what the cluster is: it cannot be recovered",
            ));
        }
        let view = survey.view(lost, accepted);
        if accepted {
            tracing::warn!(
                "by the word of the operator the cluster goes on without {}",
                list(lost.iter().copied())
            );
            self.carry_out(lost, &survey).await?;
        }
        Ok(view)
    }

    /// A node that is named lost must not be there.
    async fn check_gone(self: &Rc<Self>, lost: &BTreeSet<NodeId>) -> Result<(), OperatorError> {
        let topology = self.topology();
        let looks = lost.iter().map(|id| {
            let (govern, topology, id) = (self.clone(), topology.clone(), *id);
            tokio::task::spawn_local(async move {
                let is_there = govern.is_there(&topology, id, LOST_LIMIT).await;
                is_there.then_some(id)
            })
        });
        let looks: Vec<_> = looks.collect();
        for look in looks {
            if let Ok(Some(id)) = look.await {
                return Err(conflict(format!(
                    "node {id} is named lost, but answers: if it is to go, stop it first"
                )));
            }
        }
        Ok(())
    }

    /// Looks until nobody hears a lost leader any more.
    async fn survey_in_peace(
        self: &Rc<Self>,
        lost: &BTreeSet<NodeId>,
    ) -> Result<Survey, OperatorError> {
        let until = Instant::now() + PEACE_LIMIT;
        loop {
            let survey = self.survey(lost).await?;
            let Some((group, obstacle)) = survey.obstacle() else {
                return Ok(survey);
            };
            if Instant::now() >= until {
                return Err(conflict(format!("{}: {obstacle}", named(&[group]))));
            }
            sleep(PAUSE).await;
        }
    }

    /// Asks all that are not lost.
    async fn survey(self: &Rc<Self>, lost: &BTreeSet<NodeId>) -> Result<Survey, OperatorError> {
        for _ in 0..NEWER_MAX {
            let topology = self.topology();
            let nodes = topology.nodes.keys().copied();
            let survivors: BTreeSet<NodeId> = nodes.filter(|id| !lost.contains(id)).collect();
            let answers = self.tell_all(&topology, &survivors, lost).await;
            let mut heard = BTreeMap::<ShardId, Heard>::new();
            let mut silent = BTreeSet::new();
            for (node, answer) in answers {
                let Ok(RecoverAnswer::Told {
                    linked,
                    newest,
                    groups,
                }) = answer
                else {
                    silent.insert(node);
                    continue;
                };
                if let Some(id) = linked.first() {
                    return Err(conflict(format!(
                        "node {id} is named lost, but node {node} is connected to it: if it is to go, stop it first"
                    )));
                }
                if let Some(Ok(newer)) = newest.map(|bytes| Topology::decode(&bytes)) {
                    self.local.shared.topology.offer(Arc::new(newer));
                }
                for (group, told) in groups {
                    heard.entry(group).or_default().insert(node, told);
                }
            }
            if !silent.is_empty() {
                return Err(conflict(format!(
                    "node {} does not answer, and may have what others lack: start it, or name it lost too",
                    list(silent)
                )));
            }
            if self.topology().epoch == topology.epoch {
                return Ok(surveyed(topology, survivors, &heard));
            }
        }
        Err(conflict(
            "the cluster is changing all the time: so it has a majority",
        ))
    }

    async fn carry_out(
        self: &Rc<Self>,
        lost: &BTreeSet<NodeId>,
        survey: &Survey,
    ) -> Result<(), OperatorError> {
        let meta: Vec<(ShardId, &Chosen)> = survey
            .chosen()
            .filter(|(group, _)| *group == META_GROUP)
            .collect();
        let leader = match meta.first() {
            Some((_, chosen)) => {
                self.force(&survey.topology, &meta).await;
                Some(chosen.node)
            }
            None => self.leader(),
        };
        let leader = leader.ok_or_else(not_leading)?;
        self.have_settled(lost, survey, leader).await?;
        let begun: BTreeSet<ShardId> = survey.anew().collect();
        let until = Instant::now() + WHOLE_LIMIT;
        loop {
            let (open, why) = match self.survey(lost).await {
                Ok(survey) => {
                    let chosen: Vec<_> = survey.chosen().collect();
                    self.force(&survey.topology, &chosen).await;
                    let anew = survey.anew().find(|group| begun.contains(group));
                    let obstacle = survey.obstacle();
                    let why = obstacle.map(|(group, why)| format!("{}: {why}", named(&[group])));
                    let open = !chosen.is_empty() || anew.is_some() || obstacle.is_some();
                    (open, why.unwrap_or_default())
                }
                Err(error) => (true, error.reason),
            };
            if !open {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(OperatorError::new(
                    Refusal::Unknown,
                    format!(
                        "not all of it was done in time ({why}): repeat it with the same nodes"
                    ),
                ));
            }
            sleep(PAUSE).await;
        }
    }

    /// Has the meta group take over what follows for the cluster as a whole.
    async fn have_settled(
        self: &Rc<Self>,
        lost: &BTreeSet<NodeId>,
        survey: &Survey,
        leader: NodeId,
    ) -> Result<(), OperatorError> {
        let topology = &survey.topology;
        let staying: Vec<NodeId> = survey.survivors.iter().copied().collect();
        let anew = survey.anew().filter_map(|group| {
            let next = topology.place(group)?.next_replica;
            Some((group, staying[group.as_usize() % staying.len()], next))
        });
        let recovery = Recovery {
            lost: lost.iter().copied().collect(),
            newest: topology.encode().ok(),
            anew: anew.collect(),
            strangers: survey.strangers.clone(),
        };
        let question = vec![(leader, RecoverQuestion::Settle(recovery))];
        let answers = self.ask_survivors(topology, question).await;
        let failed = match answers.into_iter().next() {
            Some((_, Ok(RecoverAnswer::Settled(None)))) => return Ok(()),
            Some((_, Ok(RecoverAnswer::Settled(Some(why))) | Err(why))) => why,
            _ => "no answer".to_owned(),
        };
        Err(OperatorError::new(
            Refusal::Unknown,
            format!("node {leader}, which leads the meta group, has not taken it over ({failed}): repeat it with the same nodes"),
        ))
    }

    /// Has all others of a group yield, and where all have, the chosen replica decide alone. What does not come about is decided again.
    async fn force(self: &Rc<Self>, topology: &Arc<Topology>, groups: &[(ShardId, &Chosen)]) {
        let mut yields = BTreeMap::<NodeId, Vec<Yield>>::new();
        for (shard, chosen) in groups {
            for (node, told) in &chosen.others {
                yields.entry(*node).or_default().push(Yield {
                    shard: *shard,
                    replica: told.replica,
                    last: told.last,
                    to: chosen.told.replica,
                    term: chosen.term,
                });
            }
        }
        let ask = parts(yields, RecoverQuestion::Yield);
        let mut yielded = BTreeSet::new();
        for (node, answer) in self.ask_survivors(topology, ask).await {
            if let Ok(RecoverAnswer::Yielded(groups)) = answer {
                yielded.extend(groups.into_iter().map(|group| (group, node)));
            }
        }
        let mut chooses = BTreeMap::<NodeId, Vec<Choose>>::new();
        for (shard, chosen) in groups {
            let mut others = chosen.others.keys();
            if !others.all(|node| yielded.contains(&(*shard, *node))) {
                continue;
            }
            chooses.entry(chosen.node).or_default().push(Choose {
                shard: *shard,
                replica: chosen.told.replica,
                last: chosen.told.last,
                term: chosen.force.term,
                learners: chosen.force.learners.clone(),
                epoch: chosen.force.epoch,
            });
        }
        let ask = parts(chooses, RecoverQuestion::Choose);
        for (node, answer) in self.ask_survivors(topology, ask).await {
            match answer {
                Ok(RecoverAnswer::Chosen(groups)) if !groups.is_empty() => {
                    tracing::warn!("{}: what node {node} has is what is left", named(&groups));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!("node {node} does not take groups over: {error}"),
            }
        }
    }
}

fn surveyed(
    topology: Arc<Topology>,
    survivors: BTreeSet<NodeId>,
    heard: &BTreeMap<ShardId, Heard>,
) -> Survey {
    let nothing = Heard::new();
    let (mut fates, mut unknown) = (BTreeMap::new(), Vec::new());
    for (group, place) in topology.places() {
        let heard = heard.get(&group).unwrap_or(&nothing);
        fates.insert(group, decide(place, &survivors, heard));
        let strangers = strangers(place, heard).into_iter();
        unknown.extend(strangers.map(|id| (group, id)));
    }
    Survey {
        topology,
        survivors,
        fates,
        strangers: unknown,
    }
}

/// Questions of at most as many groups as fit into one.
fn parts<T: Clone>(
    all: BTreeMap<NodeId, Vec<T>>,
    question: impl Fn(Vec<T>) -> RecoverQuestion,
) -> Vec<(NodeId, RecoverQuestion)> {
    let mut questions = Vec::new();
    for (node, all) in all {
        for part in all.chunks(GROUPS_OF_QUESTION_MAX) {
            questions.push((node, question(part.to_vec())));
        }
    }
    questions
}
