//! What would move if nodes came or one went, for operators: reckoned on a thread of its own, because it goes over all shards.
//! Decides nothing: `ringfort_cluster::placement` does.

use std::collections::{BTreeMap, BTreeSet};

use ringfort_cluster::placement::{
    forecast, Change, Forecast, Holds, Limits, Move, FORECAST_NODES_MAX,
};
use ringfort_cluster::topology::{Node, Ports};
use ringfort_cluster::{NodeId, ShardId};

use crate::node::operator::{
    OperatorAnswer, OperatorError, PlanView, PlannedMove, Refusal, ShareView,
};

use super::names::find_node;
use super::operate::Answer;
use super::Govern;

/// Making a copy of little data takes so long: it is added, fills itself, is counted as a voter and another one goes, each by a decision of
/// the steward that rests on fresh reports.
const ROUND_MS: u64 = 1_500;

/// What a forecast goes by beside the topology.
struct Seen {
    bytes: BTreeMap<ShardId, u64>,
    leaders: BTreeMap<ShardId, NodeId>,
}

impl Govern {
    pub(super) async fn plan_add(&self, count: u16, weight: u16, zone: &str) -> Answer {
        let invalid = |reason: String| Err(OperatorError::new(Refusal::Invalid, reason));
        if count == 0 || usize::from(count) > FORECAST_NODES_MAX {
            return invalid(format!("a plan is for 1 to {FORECAST_NODES_MAX} nodes"));
        }
        let mut node = Node::new(NodeId(1), "new", Ports::default());
        (node.zone, node.weight) = (zone.to_string(), weight);
        if let Err(error) = node.check() {
            return invalid(error.to_string());
        }
        if weight == 0 {
            return invalid("the weight of a node is at least 1".into());
        }
        let nodes = vec![(weight, zone.to_string()); usize::from(count)];
        self.plan(Change::Add { nodes }).await
    }

    pub(super) async fn plan_remove(&self, name: &str, force: bool) -> Answer {
        let node = find_node(&self.topology(), name)?.id;
        self.plan(Change::Remove { node, force }).await
    }

    async fn plan(&self, change: Change) -> Answer {
        let topology = self.topology();
        let seen = self.overview(|all| {
            let led = all
                .shards()
                .filter_map(|(shard, _)| Some((shard, all.led(shard)?)));
            let led: Vec<_> = led
                .map(|(shard, led)| (shard, led.report.bytes, led.node))
                .collect();
            Ok(Seen {
                bytes: led
                    .iter()
                    .map(|(shard, bytes, _)| (*shard, *bytes))
                    .collect(),
                leaders: led.iter().map(|(shard, _, node)| (*shard, *node)).collect(),
            })
        });
        let Seen { bytes, leaders } = seen.await?;
        let given_up: Option<BTreeSet<NodeId>> =
            self.with_stewardship(|held, now| held.steward.given_up(now, &topology));
        let given_up = given_up.unwrap_or_default();
        let reckoned = tokio::task::spawn_blocking(move || {
            let forecast = forecast(&topology, &change, &bytes, &leaders, &given_up);
            (forecast, leaders)
        });
        let (forecast, leaders) = reckoned
            .await
            .map_err(|_| OperatorError::new(Refusal::Unavailable, "the plan was not reckoned"))?;
        let live = self.local.shared.settings.live();
        let bytes_per_sec = match live.move_bytes_per_sec {
            0 => live.snapshot_send_bytes_per_sec,
            all_together => all_together,
        };
        Ok(OperatorAnswer::Plan(view(
            &forecast,
            &leaders,
            bytes_per_sec,
        )))
    }
}

/// The bytes that the node sends which sends most: each copy comes from its shard's leader.
fn bytes_of_one(forecast: &Forecast, leaders: &BTreeMap<ShardId, NodeId>) -> u64 {
    let mut sent: BTreeMap<Option<NodeId>, u64> = BTreeMap::new();
    for to_do in &forecast.moves {
        let leader = leaders.get(&to_do.shard).copied();
        let bytes = sent.entry(leader).or_default();
        *bytes = bytes.saturating_add(to_do.bytes);
    }
    sent.into_values().max().unwrap_or(0)
}

/// How long it takes at least: by what the nodes send, and by the rounds in which copies are made, so many at once at each node.
fn seconds(forecast: &Forecast, leaders: &BTreeMap<ShardId, NodeId>, bytes_per_sec: u64) -> u64 {
    let mut taken_in: BTreeMap<NodeId, usize> = BTreeMap::new();
    for to in forecast.moves.iter().filter_map(|to_do| to_do.to) {
        *taken_in.entry(to).or_default() += 1;
    }
    let most = taken_in.into_values().max().unwrap_or(0);
    let rounds = most.div_ceil(Limits::default().copies_of_node_max) as u64;
    let sending = bytes_of_one(forecast, leaders).div_ceil(bytes_per_sec.max(1));
    sending.max((rounds * ROUND_MS).div_ceil(1000))
}

/// What is told of a forecast, where each node sends at this pace.
fn view(forecast: &Forecast, leaders: &BTreeMap<ShardId, NodeId>, bytes_per_sec: u64) -> PlanView {
    let name = |id: &NodeId| match forecast.new_nodes.iter().position(|new| new == id) {
        Some(at) => format!("new-{}", at + 1),
        None => id.to_string(),
    };
    let moved = |to_do: &Move| PlannedMove {
        shard: u32::from(to_do.shard.0),
        from: to_do.from.as_ref().map(name),
        to: to_do.to.as_ref().map(name),
        bytes: to_do.bytes,
    };
    let share = |id: &NodeId| {
        let before = held(&forecast.holds_before, id);
        let after = held(&forecast.holds_after, id);
        ShareView {
            node: name(id),
            holds_before: count(before.replicas),
            holds_after: count(after.replicas),
            bytes_before: before.bytes,
            bytes_after: after.bytes,
        }
    };
    let copies_now: usize = forecast
        .holds_before
        .values()
        .map(|holds| holds.replicas)
        .sum();
    let (copies, bytes) = (forecast.copies(), forecast.bytes());
    PlanView {
        moves: forecast.moves.iter().map(moved).collect(),
        copies: count(copies),
        copies_percent: 100.0 * copies as f64 / copies_now.max(1) as f64,
        bytes,
        leaders: count(forecast.leaders.len()),
        bytes_per_sec,
        seconds: seconds(forecast, leaders, bytes_per_sec),
        nodes: {
            let before = forecast.holds_before.keys();
            let all: BTreeSet<&NodeId> = before.chain(forecast.holds_after.keys()).collect();
            all.into_iter().map(share).collect()
        },
        refused: forecast.refused.as_ref().map(ToString::to_string),
    }
}

fn held(holds: &BTreeMap<NodeId, Holds>, id: &NodeId) -> Holds {
    holds.get(id).copied().unwrap_or_default()
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfort_cluster::placement::ForecastRefused;

    #[test]
    fn a_plan_names_new_nodes_by_number_and_reckons_its_time() {
        let (old, new) = (NodeId(7), NodeId(99));
        let to_do = |to, bytes| Move {
            shard: ShardId(3),
            from: Some(old),
            to,
            bytes,
        };
        let holds = |replicas, bytes| Holds { replicas, bytes };
        let forecast = Forecast {
            moves: vec![to_do(Some(new), 1_000), to_do(None, 0)],
            leaders: vec![ShardId(3)],
            new_nodes: vec![new],
            holds_before: [(old, holds(4, 4_000))].into(),
            holds_after: [(old, holds(2, 2_000)), (new, holds(1, 1_000))].into(),
            refused: Some(ForecastRefused::TooMany(65)),
        };
        let led = [(ShardId(3), old)].into();
        // Nothing to send takes a round all the same.
        assert_eq!(view(&forecast, &led, u64::MAX).seconds, 2);
        let plan = view(&forecast, &led, 300);
        assert_eq!(
            (plan.copies, plan.copies_percent, plan.bytes),
            (1, 25.0, 1_000)
        );
        assert_eq!((plan.leaders, plan.seconds), (1, 4));
        assert_eq!(plan.moves[0].to.as_deref(), Some("new-1"));
        assert_eq!(
            (plan.moves[1].to.as_deref(), plan.moves[1].from.clone()),
            (None, Some(old.to_string()))
        );
        let after: Vec<_> = plan
            .nodes
            .iter()
            .map(|share| (share.node.as_str(), share.holds_before, share.holds_after))
            .collect();
        let old = old.to_string();
        assert_eq!(after, [(old.as_str(), 4, 2), ("new-1", 0, 1)]);
        assert!(plan.refused.unwrap().contains("too many"));
    }
}
