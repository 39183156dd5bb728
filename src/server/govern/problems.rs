//! What an operator should look at, in words. Pure.

use std::collections::BTreeSet;

use ringfort_cluster::topology::Node;
use ringfort_cluster::ShardId;

use super::overview::Overview;

/// Shards that a line names; of more their number is told.
const NAMED_MAX: usize = 8;

/// All of it; nothing where all is well.
pub(super) fn of(all: &Overview) -> Vec<String> {
    let mut problems: Vec<String> = all
        .topology
        .nodes
        .values()
        .flat_map(|node| of_node(all, node))
        .collect();
    problems.extend(of_shards(all));
    problems.extend(of_zones(all));
    problems
}

/// A node in a line of text: enough of its id to name it by, and where it is.
pub(super) fn short(node: &Node) -> String {
    let id = node.id.to_string();
    format!("{} ({}:{})", &id[..8], node.host, node.port)
}

fn of_node(all: &Overview, node: &Node) -> Vec<String> {
    let mut problems = Vec::new();
    let name = short(node);
    let holds = all.topology.groups_that_need(node.id) > 0;
    if node.suspect {
        problems.push(format!(
            "another node has turned up at the address of node {name}: if that one is gone for good, run `ringfort node remove` with its id"
        ));
    } else if !all.is_up(node.id) && (holds || !node.draining) {
        problems.push(match all.silent_ms(node.id) {
            Some(ms) => format!(
                "node {name} is down: nothing was heard of it for {} s",
                ms / 1000
            ),
            None => format!(
                "node {name} is down: nothing was heard of it since this leader was elected"
            ),
        });
    }
    let staying = all.topology.staying();
    let up = staying.filter(|node| all.is_up(node.id)).count();
    let copies = usize::from(all.topology.replicas).min(all.topology.staying().count());
    if node.draining && holds && up < copies {
        problems.push(format!(
            "node {name} cannot be emptied: {copies} nodes are to take its copies, of which {up} are up"
        ));
    }
    let Some(report) = all.report(node.id).filter(|_| all.is_up(node.id)) else {
        return problems;
    };
    if report.load.refuses_writes {
        problems.push(format!(
            "node {name} refuses writes because its disk is full or fails: see /readyz on its HTTP port"
        ));
    }
    let suspect = report.suspect.len();
    if suspect > 0 {
        problems.push(format!(
            "node {name} may have lost the newest writes of {suspect} groups when its machine stopped: they wait for their other copies"
        ));
    }
    problems
}

fn of_shards(all: &Overview) -> Vec<String> {
    let mut problems = Vec::new();
    let wanted = all.voters_wanted();
    let shards = || all.shards();
    let leaderless: Vec<ShardId> = shards()
        .map(|(shard, _)| shard)
        .filter(|shard| all.led(*shard).is_none())
        .collect();
    if !leaderless.is_empty() {
        problems.push(format!("nobody leads {}", named(&leaderless)));
    }
    let is_short =
        |shard, place| all.led(shard).is_some() && all.sound_voters(shard, place) < wanted;
    let short: Vec<ShardId> = shards()
        .filter(|(shard, place)| is_short(*shard, place))
        .map(|(shard, _)| shard)
        .collect();
    if !short.is_empty() {
        problems.push(format!(
            "fewer than {wanted} voting copies are up and complete of {}",
            named(&short)
        ));
    }
    problems
}

fn of_zones(all: &Overview) -> Option<String> {
    let staying: Vec<&Node> = all.topology.staying().collect();
    let copies = usize::from(all.topology.replicas);
    let zone = |node: &&Node| match node.zone.as_str() {
        "" => node.id.to_string(),
        zone => format!("zone {zone}"),
    };
    let zones: BTreeSet<String> = staying.iter().map(zone).collect();
    let are_too_few = zones.len() < copies && staying.len() >= copies;
    are_too_few.then(|| {
        format!(
            "{copies} copies of each shard lie in {} zones: some that are in one zone may fail together",
            zones.len()
        )
    })
}

fn named(shards: &[ShardId]) -> String {
    let names: Vec<String> = shards
        .iter()
        .take(NAMED_MAX)
        .map(ToString::to_string)
        .collect();
    let names = names.join(", ");
    match shards.len() {
        1 => format!("shard {names}"),
        count if count <= NAMED_MAX => format!("shards {names}"),
        count => format!("{count} shards: {names}, ..."),
    }
}
