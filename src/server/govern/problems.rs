//! What an operator should look at, in words. Pure.

use std::collections::BTreeSet;

use ringfort_cluster::topology::Node;

use crate::node::recovery::named_few;

use super::overview::{Lacking, Overview, Tallies};

/// Shards that a line names; of more their number is told.
const NAMED_MAX: usize = 8;

/// All of it; nothing where all is well.
pub(super) fn of(all: &Overview, tallies: &Tallies, lacking: &Lacking) -> Vec<String> {
    let holds = |node: &Node| {
        tallies
            .get(&node.id)
            .is_some_and(|tally| tally.needed_by > 0)
    };
    let nodes = all.topology.nodes.values();
    let mut problems: Vec<String> = nodes
        .flat_map(|node| of_node(all, node, holds(node)))
        .collect();
    problems.extend(of_shards(all, lacking));
    problems.extend(of_zones(all));
    problems
}

/// A node in a line of text: enough of its id to name it by, and where it is.
pub(super) fn short(node: &Node) -> String {
    let id = node.id.to_string();
    format!("{} ({}:{})", &id[..8], node.host, node.port)
}

/// `holds`: there are groups that would miss it.
fn of_node(all: &Overview, node: &Node, holds: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let name = short(node);
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
    if node.draining && holds {
        problems.extend(of_draining(all, &name));
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

fn of_draining(all: &Overview, name: &str) -> Option<String> {
    let staying = || all.topology.staying();
    let up = staying().filter(|node| all.is_up(node.id)).count();
    let copies = usize::from(all.topology.replicas).min(staying().count());
    (up < copies).then(|| {
        format!(
            "node {name} cannot be emptied: {copies} nodes are to take its copies, of which {up} are up"
        )
    })
}

fn of_shards(all: &Overview, lacking: &Lacking) -> Vec<String> {
    let mut problems = Vec::new();
    if !lacking.leaderless.is_empty() {
        let which = named_few(&lacking.leaderless, NAMED_MAX);
        problems.push(format!("nobody leads {which}"));
    }
    if !lacking.short.is_empty() {
        problems.push(format!(
            "fewer than {} voting copies are up and complete of {}",
            all.voters_wanted(),
            named_few(&lacking.short, NAMED_MAX)
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
