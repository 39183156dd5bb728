//! The loop of the meta group's leader: from what the nodes report to what is proposed to the meta group and ordered of the leaders of the
//! other groups. Pure; the node sends, proposes and reports.
//!
//! Every node sends a [`NodeReport`] to the leader of the meta group about once a second and after changes, the leader to itself too.
//! There each goes to [`Steward::heard`], and [`Steward::tick`] gives what to do. An [`Order`] goes to the node that it names, which hands
//! it to [`carry_out`] and forgets it: what was not done will be ordered again. A node looks by [`duties`] which replicas to
//! start and to drop whenever it has a newer topology.
//!
//! Nothing here is remembered for long: a new leader of the meta group begins with a new `Steward`, waits for reports, and goes on.

mod duties;
mod look;
mod members;
mod order;
mod report;
mod under_way;
mod vacancies;

pub use duties::{duties, Duties, Since};
pub use order::{carry_out, check, Begun, Order, OrderRefused, Task};
pub use report::{GroupReport, LedGroup, NodeLoad, NodeReport, GROUPS_OF_REPORT_MAX};

use crate::codec::{self, CodecError};
use crate::forming::member::is_described_by;
use crate::meta::MetaCommand;
use crate::placement::{given_up, plan, rebalance, wishes, GroupSeen, Limits, Observed, Step};
use crate::topology::{Members, Topology, NODES_MAX};
use crate::types::{Monotonic, ReplicaId, ShardId, Term};
use crate::NodeId;
use crate::SLOTS;
use bincode::{Decode, Encode};
use look::{Decided, Look};
use std::collections::{BTreeMap, BTreeSet};
use under_way::UnderWay;
use vacancies::Vacancies;

/// The layout of reports and orders, and of what nodes with suspects ask.
const SCHEMA: u16 = 2;

/// Why bytes are no report and no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("of layout {0}, but this program knows only layout {SCHEMA}: it was sent by a newer ringfort")]
    Schema(u16),
    #[error("cannot be read: {0}")]
    Codec(#[from] CodecError),
    #[error("what no node sends: {0}")]
    Unsound(&'static str),
}

pub(crate) fn encode<T: Encode>(value: &T) -> Result<Vec<u8>, WireError> {
    let mut bytes = codec::encode(&SCHEMA)?;
    codec::encode_into(value, &mut bytes)?;
    Ok(bytes)
}

pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, WireError> {
    let (schema, length) = codec::decode_prefix::<u16>(bytes)?;
    if schema != SCHEMA {
        return Err(WireError::Schema(schema));
    }
    Ok(codec::decode(&bytes[length..])?)
}

/// How careful the steward is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StewardLimits {
    /// `alive_ticks_max` is set from `node_down_after_us`.
    pub placement: Limits,
    /// The tick in which `placement` counts.
    pub tick_us: u64,
    /// A node without a report for so long is down.
    pub node_down_after_us: u64,
    /// What was proposed or ordered is not repeated within so long.
    pub repeat_after_us: u64,
    /// An order of which nothing was seen for so long is not counted as under way any more.
    pub order_timeout_us: u64,
    /// Orders under way at once.
    pub orders_max: usize,
    /// A leader that was moved by hand is left where it is for so long, as far as balance goes.
    pub hold_leader_us: u64,
    /// Evening out by the word of an operator ends after so long, whether everything is even or not.
    pub rebalance_us_max: u64,
}

impl Default for StewardLimits {
    fn default() -> Self {
        Self {
            placement: Limits::default(),
            tick_us: 100_000,
            node_down_after_us: 3_000_000,
            repeat_after_us: 1_500_000,
            order_timeout_us: 5_000_000,
            orders_max: 64,
            hold_leader_us: 600_000_000,
            rebalance_us_max: 3_600_000_000,
        }
    }
}

impl StewardLimits {
    /// With nodes replaced that have been silent for so long. Never before they count as down.
    #[must_use]
    pub fn replacing_after(mut self, silent_us: u64) -> Self {
        let tick_us = self.tick_us.max(1);
        let alive_ticks_max = self.node_down_after_us / tick_us;
        self.placement.replace_after_ticks = (silent_us / tick_us).max(alive_ticks_max + 1);
        self
    }
}

/// One thing to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StewardAction {
    /// Propose it to the meta group, here.
    Propose(MetaCommand),
    /// Send it to the node that it names, which may be this one.
    Order(Order),
}

/// A report and when it came.
#[derive(Debug)]
struct Heard {
    report: NodeReport,
    at: Monotonic,
}

/// What the leader of the meta group keeps while it leads.
#[derive(Debug)]
pub struct Steward {
    limits: StewardLimits,
    since: Option<Monotonic>,
    reports: BTreeMap<NodeId, Heard>,
    /// How often the reports have changed in what matters here.
    news_count: u64,
    /// What was decided last.
    decided: Option<Decided>,
    under_way: UnderWay,
    vacancies: Vacancies,
    /// Leaders that were moved by hand, and when.
    held: BTreeMap<ShardId, Monotonic>,
    /// Since when all is being evened out.
    rebalancing: Option<Monotonic>,
}

/// The groups as their newest leaders see them, and in which terms these lead.
#[derive(Debug, Default)]
struct Seen {
    terms: BTreeMap<ShardId, Term>,
    groups: BTreeMap<ShardId, GroupSeen>,
}

/// Replicas that are suspect or lost.
type Doubted = BTreeSet<(ShardId, ReplicaId)>;

impl Steward {
    /// For a node that has just become the leader of the meta group.
    #[must_use]
    pub fn new(mut limits: StewardLimits) -> Self {
        limits.placement.alive_ticks_max = limits.node_down_after_us / limits.tick_us.max(1);
        Self {
            limits,
            since: None,
            reports: BTreeMap::new(),
            news_count: 0,
            decided: None,
            under_way: UnderWay::default(),
            vacancies: Vacancies::default(),
            held: BTreeMap::new(),
            rebalancing: None,
        }
    }

    /// From now on it is as careful as this says.
    pub fn set_limits(&mut self, mut limits: StewardLimits) {
        limits.placement.alive_ticks_max = limits.node_down_after_us / limits.tick_us.max(1);
        if self.limits != limits {
            self.limits = limits;
            self.decided = None;
        }
    }

    /// The newest report of each node, and when it came.
    pub fn reports(&self) -> impl Iterator<Item = (&NodeReport, Monotonic)> {
        self.reports.values().map(|heard| (&heard.report, heard.at))
    }

    /// Takes in the report of a node.
    pub fn heard(&mut self, report: NodeReport, now: Monotonic) {
        let id = report.node.id;
        if self.reports.len() < NODES_MAX || self.reports.contains_key(&id) {
            let known = self.reports.get(&id);
            let says_the_same = known.is_some_and(|known| known.report.decides_as(&report));
            self.news_count += u64::from(!says_the_same);
            self.reports.insert(id, Heard { report, at: now });
        }
    }

    /// Takes the operator's word that copies, votes and leaders are to be spread evenly again: until they are, leaders move for less than
    /// they do by themselves. A new leader of the meta group knows nothing of it.
    pub fn rebalance(&mut self, now: Monotonic) {
        self.rebalancing = Some(now);
        self.held.clear();
    }

    /// Whether all is still being evened out.
    #[must_use]
    pub fn is_rebalancing(&self) -> bool {
        self.rebalancing.is_some()
    }

    /// Takes note that an operator has moved the leader of a shard: balance leaves it there for a while, and moves others instead.
    pub fn hold_leader(&mut self, shard: ShardId, now: Monotonic) {
        if self.held.len() < usize::from(SLOTS) || self.held.contains_key(&shard) {
            self.held.insert(shard, now);
        }
    }

    /// Whether a node has reported lately.
    #[must_use]
    pub fn is_up(&self, node: NodeId, now: Monotonic) -> bool {
        let heard = self.reports.get(&node);
        heard.is_some_and(|heard| self.is_fresh(heard, now))
    }

    /// What to do now; to be called every 100 ms or so, with the topology as the meta group has applied it.
    pub fn tick(&mut self, now: Monotonic, topology: &Topology) -> Vec<StewardAction> {
        let since = *self.since.get_or_insert(now);
        if !topology.is_formed() {
            return Vec::new();
        }
        self.reports.retain(|id, _| topology.nodes.contains_key(id));
        let patience_us = self.limits.hold_leader_us;
        self.held.retain(|_, at| now.since_us(*at) < patience_us);
        let patience_us = self.limits.rebalance_us_max;
        self.rebalancing
            .take_if(|begun| now.since_us(*begun) >= patience_us);
        let look = self.look(now, since, topology);
        // Mostly nothing has changed since: what was decided still is, and is only repeated where it has had no effect.
        let decided = match self.decided.take() {
            Some(decided) if decided.look == look => decided,
            _ => {
                let decided = self.decide(now, since, look, topology);
                self.vacancies.note(&decided.seen, now);
                decided
            }
        };
        self.under_way.forget(now, &self.limits, &decided.seen);
        let begin = |action: &&StewardAction| self.under_way.begin(action, now, &self.limits);
        let actions = decided.actions.iter().filter(begin).cloned().collect();
        if decided.is_even && self.rebalancing.take().is_some() {
            return actions;
        }
        self.decided = Some(decided);
        actions
    }

    fn decide(&self, now: Monotonic, since: Monotonic, look: Look, topology: &Topology) -> Decided {
        let doubted = self.doubted(now, topology);
        let Seen { terms, groups } = self.seen(now, topology, &doubted);
        let observed = Observed {
            silent_ticks: self.silent(now, since, topology),
            groups,
            held_leaders: self.held.keys().copied().collect(),
        };
        let mut limits = self.limits.placement;
        let wished = match self.rebalancing {
            Some(_) => rebalance(topology, &observed, &limits),
            None => wishes(topology, &observed, &limits),
        };
        if self.rebalancing.is_some() {
            limits.leader_slack_percent = 0;
        }
        let steps = match wished[..] {
            [] => plan(topology, &observed, &limits),
            _ => Vec::new(),
        };
        // Of a group of which nothing is heard one cannot say that it is where it should be.
        let all_heard = topology
            .places()
            .all(|(shard, _)| observed.groups.contains_key(&shard));
        let is_even = wished.is_empty() && steps.is_empty() && all_heard;
        let seen = Seen {
            terms,
            groups: observed.groups,
        };
        let news = self.news(now, topology, &seen, &doubted);
        let mut actions: Vec<StewardAction> = news.map(StewardAction::Propose).collect();
        actions.extend(wished.into_iter().map(StewardAction::Propose));
        let steps = steps.into_iter();
        actions.extend(steps.filter_map(|step| act(step, topology, &seen)));
        Decided {
            look,
            seen,
            actions,
            is_even,
        }
    }

    /// The nodes that have been silent for so long that they are replaced where there is room.
    #[must_use]
    pub fn given_up(&self, now: Monotonic, topology: &Topology) -> BTreeSet<NodeId> {
        let observed = Observed {
            silent_ticks: self.silent(now, self.since.unwrap_or(now), topology),
            ..Observed::default()
        };
        given_up(topology, &observed, &self.limits.placement)
    }

    fn is_fresh(&self, heard: &Heard, now: Monotonic) -> bool {
        now.since_us(heard.at) <= self.limits.node_down_after_us
    }

    fn fresh(&self, now: Monotonic) -> impl Iterator<Item = &NodeReport> {
        let fresh = self.reports.values();
        fresh
            .filter(move |heard| self.is_fresh(heard, now))
            .map(|heard| &heard.report)
    }

    /// For how long each node has been silent. Of one that has not reported yet nothing is known until it would be down.
    fn silent(
        &self,
        now: Monotonic,
        since: Monotonic,
        topology: &Topology,
    ) -> BTreeMap<NodeId, u64> {
        let silent = |id: &NodeId| {
            let heard = self.reports.get(id);
            let us = now.since_us(heard.map_or(since, |heard| heard.at));
            let known = heard.is_some() || us > self.limits.node_down_after_us;
            known.then(|| (*id, us / self.limits.tick_us.max(1)))
        };
        topology.nodes.keys().filter_map(silent).collect()
    }

    /// The replicas that may not have, or have not, what they acknowledged, as their nodes say.
    fn doubted(&self, now: Monotonic, topology: &Topology) -> Doubted {
        let mut doubted = Doubted::new();
        for report in self.fresh(now) {
            let own = |(shard, id): &&(ShardId, ReplicaId)| {
                let place = topology.place(*shard);
                place.and_then(|place| place.node_of(*id)) == Some(report.node.id)
            };
            let all = report.suspect.iter().chain(&report.lost);
            doubted.extend(all.filter(own).copied());
        }
        doubted
    }

    /// The groups that somebody leads: of several that say so the one of the newest term does. Who is not the node of its replica is not
    /// believed. What a leader knows of a replica was so before that one came into doubt: who is in doubt cannot be counted on.
    fn seen(&self, now: Monotonic, topology: &Topology, doubted: &Doubted) -> Seen {
        let mut seen = Seen::default();
        for report in self.fresh(now) {
            for group in &report.groups {
                let (Some(led), Some(place)) = (&group.leads, topology.place(group.shard)) else {
                    continue;
                };
                let newest = seen.terms.get(&group.shard).copied();
                if newest >= Some(group.term)
                    || place.node_of(group.replica) != Some(report.node.id)
                {
                    continue;
                }
                let sound = |id: &ReplicaId| !doubted.contains(&(group.shard, *id));
                let caught_up = led.caught_up.iter().copied();
                let group_seen = GroupSeen {
                    leader: group.replica,
                    members: led.members.clone(),
                    changed: led.changed,
                    changing: led.changing,
                    caught_up: caught_up.filter(sound).collect(),
                };
                seen.terms.insert(group.shard, group.term);
                seen.groups.insert(group.shard, group_seen);
            }
        }
        seen
    }

    /// What the reports say that the topology does not.
    fn news(
        &self,
        now: Monotonic,
        topology: &Topology,
        seen: &Seen,
        doubted: &Doubted,
    ) -> impl Iterator<Item = MetaCommand> {
        let mut commands = Vec::new();
        for report in self.fresh(now) {
            let node = &report.node;
            let known = topology.nodes.get(&node.id);
            let differs = known.is_some_and(|known| !is_described_by(known, node));
            // Two that claim one address would call each other suspect for ever.
            let mut others = self.fresh(now).map(|other| &other.node);
            if differs && !others.any(|other| other.id != node.id && other.has_address_of(node)) {
                let node = node.clone();
                commands.push(MetaCommand::Update { node });
            }
            // A suspect replica comes back as a new one where the others could elect a leader without it; else it may be needed. Who
            // is suspect is known by reports that may be older than the leader's.
            let suspects = report.suspect.iter();
            let given_up = suspects.filter(|(shard, id)| {
                let group = seen.groups.get(shard);
                group.is_some_and(|group| {
                    group.leader != *id && is_without_doubt(topology, *shard, group, doubted)
                })
            });
            for &(shard, replica) in report.lost.iter().chain(given_up) {
                let place = topology.place(shard);
                let held = place.and_then(|place| place.replicas.get(&replica));
                if held.is_some_and(|held| held.node == node.id && !held.lost) {
                    commands.push(MetaCommand::MarkLost { shard, replica });
                }
            }
        }
        commands.into_iter()
    }
}

/// Whether most voters of a group are neither suspect nor given up: then it loses nothing with those that are.
fn is_without_doubt(
    topology: &Topology,
    shard: ShardId,
    group: &GroupSeen,
    doubted: &Doubted,
) -> bool {
    let place = topology.place(shard);
    let is_sound = |id: &&ReplicaId| {
        let held = place.and_then(|place| place.replicas.get(id));
        held.is_some_and(|held| !held.lost) && !doubted.contains(&(shard, **id))
    };
    let most = |voters: &[ReplicaId]| voters.iter().filter(is_sound).count() > voters.len() / 2;
    let Members {
        voters, outgoing, ..
    } = &group.members;
    most(voters) && (outgoing.is_empty() || most(outgoing))
}

/// A step of the placement as something to do.
fn act(step: Step, topology: &Topology, seen: &Seen) -> Option<StewardAction> {
    let shard = step.shard();
    let (term, group) = (seen.terms.get(&shard)?, seen.groups.get(&shard)?);
    let place = topology.place(shard)?;
    let order = |based_on, task| {
        let to = place.node_of(group.leader)?;
        let term = *term;
        Some(StewardAction::Order(Order {
            to,
            shard,
            term,
            based_on,
            task,
        }))
    };
    match step {
        Step::Record {
            shard,
            members,
            changed,
        } => Some(StewardAction::Propose(MetaCommand::RecordMembership {
            shard,
            members,
            changed,
        })),
        // The meta group gives the id out before the group hears of it.
        Step::AddLearner { node, replica, .. } if place.node_of(replica) != Some(node) => {
            Some(StewardAction::Propose(MetaCommand::Allot {
                shard,
                node,
                replica,
            }))
        }
        Step::AddLearner {
            replica, based_on, ..
        } => order(based_on, Task::AddLearner(replica)),
        Step::ChangeVoters {
            promote,
            demote,
            based_on,
            ..
        } => order(based_on, Task::ChangeVoters { promote, demote }),
        Step::Remove {
            replica, based_on, ..
        } => order(based_on, Task::Remove(replica)),
        Step::TransferLeader { to, .. } => order(group.changed, Task::TransferLeader(to)),
    }
}

#[cfg(test)]
mod tests;
