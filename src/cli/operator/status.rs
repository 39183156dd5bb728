//! `ringfort status`, and the list of nodes that others print too. The text is made from values alone.

use std::net::IpAddr;
use std::time::Duration;

use super::failure::{Failure, Outcome};
use super::table::{Align, Cell, Mood, Paint, Table};
use super::terminal::Terminal;
use super::text::{
    bytes, clean, clean_json, count, counted, digits_to_tell_apart, duration, micros, short,
};
use super::watch::{observe, Stop};
use super::{Format, Session};
use crate::admin::api::{ClusterView, NodeState, NodeView};

const CLUSTER: &str = "/v1/cluster";

/// Once, or every `watch` until it is stopped or refused. With `is_check`, problems are something wrong.
pub(super) fn status(
    session: &Session,
    terminal: &mut Terminal,
    watch: Option<Duration>,
    is_check: bool,
) -> Result<Outcome, Failure> {
    let Some(every) = watch else {
        let answer = session.client.get::<ClusterView>(CLUSTER)?;
        session.print(terminal, &answer, |paint| render(&answer.value, paint))?;
        return Ok(match is_check && has_problems(&answer.value) {
            true => Outcome::Found,
            false => Outcome::Done,
        });
    };
    let stop = Stop::catch()?;
    let client = session.polling_client();
    let observations = observe(every, move || client.get::<ClusterView>(CLUSTER));
    while let Some(observation) = observations.next(&stop) {
        match observation {
            Ok(answer) => match session.format {
                Format::Json => terminal.print(&format!("{}\n", clean_json(&answer.body)))?,
                Format::Text => terminal.redraw(&render(&answer.value, terminal.paint))?,
            },
            Err(failure) if failure.may_pass() => terminal.note(&failure.to_string())?,
            Err(failure) => return Err(failure),
        }
    }
    Ok(Outcome::Done)
}

fn has_problems(cluster: &ClusterView) -> bool {
    !cluster.problems.is_empty() || cluster.shards_without_leader > 0 || cluster.shards_short > 0
}

/// The cluster in some lines and a table.
pub(super) fn render(cluster: &ClusterView, paint: Paint) -> String {
    let digits = digits(cluster);
    let leader = cluster.nodes.iter().find(|node| node.id == cluster.leader);
    let leader = match leader {
        Some(node) => format!("{} ({})", short(&node.id, digits), address(node)),
        None => short(&cluster.leader, digits),
    };
    let ops = cluster
        .nodes
        .iter()
        .fold(0u64, |sum, node| sum.saturating_add(node.ops_per_sec));
    let mut text = format!(
        "Cluster {}, epoch {}, led by {leader}\n{}, {}, {} each, {} ops/s\n",
        short(&cluster.id, 8),
        count(cluster.epoch),
        counted(cluster.nodes.len() as u64, "node", "nodes"),
        counted(cluster.shards.into(), "shard", "shards"),
        counted(cluster.replicas.into(), "copy", "copies"),
        count(ops),
    );
    text.push_str(&shards_line(cluster, paint));
    text.push_str(&format!("{}\n", moves_line(cluster)));
    for problem in &cluster.problems {
        text.push_str(&format!(
            "{}\n",
            paint.apply(&format!("! {}", clean(problem)), Mood::Bad)
        ));
    }
    text.push('\n');
    text.push_str(&nodes_table(&cluster.nodes, digits, paint));
    text
}

fn shards_line(cluster: &ClusterView, paint: Paint) -> String {
    let mut parts = Vec::new();
    if cluster.shards_without_leader > 0 {
        let what = counted(
            cluster.shards_without_leader.into(),
            "shard has",
            "shards have",
        );
        parts.push(paint.apply(&format!("{what} no leader"), Mood::Bad));
    }
    if cluster.shards_short > 0 {
        let what = counted(cluster.shards_short.into(), "shard lacks", "shards lack");
        parts.push(paint.apply(&format!("{what} copies"), Mood::Doubtful));
    }
    match parts.is_empty() {
        true => format!(
            "{}\n",
            paint.apply("All shards have a leader and all their copies.", Mood::Good)
        ),
        false => format!("{}\n", parts.join(", ")),
    }
}

/// What moves now, in words.
pub(super) fn moves_line(cluster: &ClusterView) -> String {
    let moves = &cluster.moves;
    if moves.copying == 0 && moves.waiting == 0 {
        return "Nothing moves.".into();
    }
    let left = match moves.bytes_left {
        0 => String::new(),
        left => format!(", {} left", bytes(left)),
    };
    let copying = counted(moves.copying.into(), "copy is", "copies are");
    format!(
        "{copying} being filled, {} waiting{left}",
        count(moves.waiting.into())
    )
}

/// How many digits of the nodes' ids are shown.
pub(super) fn digits(cluster: &ClusterView) -> usize {
    digits_to_tell_apart(cluster.nodes.iter().map(|node| node.id.as_str()))
}

pub(super) fn address(node: &NodeView) -> String {
    match node.host.contains(':') {
        true => format!("[{}]:{}", clean(&node.host), node.port),
        false => format!("{}:{}", clean(&node.host), node.port),
    }
}

/// By address, as people count.
pub(super) fn sorted(nodes: &[NodeView]) -> Vec<&NodeView> {
    let mut nodes: Vec<&NodeView> = nodes.iter().collect();
    nodes.sort_by_key(|node| {
        (
            node.host.parse::<IpAddr>().ok(),
            node.host.clone(),
            node.port,
            node.id.clone(),
        )
    });
    nodes
}

pub(super) fn state(node: &NodeView) -> Cell {
    let (word, mood) = match node.state {
        NodeState::Up => ("up", Mood::Good),
        NodeState::Down => ("down", Mood::Bad),
        NodeState::Draining => ("draining", Mood::Doubtful),
        NodeState::Drained => ("drained", Mood::Doubtful),
        NodeState::Suspect => ("suspect", Mood::Bad),
    };
    match (node.state, node.silent_ms) {
        (NodeState::Down, Some(silent)) => Cell::new(
            format!("{word} {}", duration(Duration::from_millis(silent))),
            mood,
        ),
        _ => Cell::new(word, mood),
    }
}

pub(super) fn p99(node: &NodeView) -> String {
    node.p99_us.map_or("-".into(), micros)
}

pub(super) fn nodes_table(nodes: &[NodeView], digits: usize, paint: Paint) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("NODE", Left),
        ("ADDRESS", Left),
        ("ZONE", Left),
        ("STATE", Left),
        ("LEADS", Right),
        ("HOLDS", Right),
        ("LAG", Right),
        ("MEMORY", Right),
        ("OPS/S", Right),
        ("P99", Right),
    ]);
    for node in sorted(nodes) {
        table.row(vec![
            short(&node.id, digits).into(),
            address(node).into(),
            clean(&node.zone).into(),
            state(node),
            count(node.leads.into()).into(),
            count(node.holds.into()).into(),
            count(node.lag_entries_max).into(),
            bytes(node.memory_bytes).into(),
            count(node.ops_per_sec).into(),
            p99(node).into(),
        ]);
    }
    table.render(paint)
}

#[cfg(test)]
mod tests {
    use super::super::testing::cluster;
    use super::*;

    #[test]
    fn a_sound_cluster_is_told_in_few_lines() {
        assert_eq!(
            render(&cluster(), Paint(false)),
            "Cluster c1000000, epoch 1,012, led by b2000000 (10.0.0.10:6379)\n\
             3 nodes, 64 shards, 3 copies each, 81,330 ops/s\n\
             All shards have a leader and all their copies.\n\
             Nothing moves.\n\
             \n\
             NODE      ADDRESS         STATE  LEADS  HOLDS  LAG   MEMORY   OPS/S     P99\n\
             a1000000  10.0.0.9:6379   up        22     64    0  1.2 GiB  81,200  1.2 ms\n\
             b2000000  10.0.0.10:6379  up        21     64    0   98 MiB     130  870 us\n\
             c3000000  10.0.0.11:6379  up        21     64    7   98 MiB       0       -\n"
        );
    }

    #[test]
    fn what_is_wrong_and_what_moves_stands_above_the_nodes() {
        let mut cluster = cluster();
        cluster.shards_without_leader = 1;
        cluster.shards_short = 12;
        cluster.moves.copying = 2;
        cluster.moves.waiting = 10;
        cluster.moves.bytes_left = 3 << 30;
        cluster.problems = vec!["node c3 is\x1b[2J down".into()];
        cluster.nodes[0].state = NodeState::Down;
        cluster.nodes[0].silent_ms = Some(185_000);
        cluster.nodes[0].zone = "north".into();
        let text = render(&cluster, Paint(false));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "1 shard has no leader, 12 shards lack copies");
        assert_eq!(
            lines[3],
            "2 copies are being filled, 10 waiting, 3.0 GiB left"
        );
        assert_eq!(lines[4], "! node c3 is?[2J down");
        assert_eq!(lines[6], "NODE      ADDRESS         ZONE   STATE           LEADS  HOLDS  LAG   MEMORY   OPS/S     P99");
        assert!(
            text.contains("\nc3000000  10.0.0.11:6379  north  down 3 min 5 s     21"),
            "{text}"
        );
        assert!(has_problems(&cluster));
        assert!(render(&cluster, Paint(true)).contains("\x1b[31m"));
    }

    #[test]
    fn an_empty_or_odd_view_does_no_harm() {
        let text = render(&ClusterView::default(), Paint(false));
        assert!(text.starts_with("Cluster , epoch 0"), "{text}");
        let mut odd = cluster();
        odd.leader = "\u{9b}x".into();
        odd.nodes[0].ops_per_sec = u64::MAX;
        odd.nodes[1].ops_per_sec = u64::MAX;
        odd.nodes[1].host = "::1".into();
        let text = render(&odd, Paint(false));
        assert!(
            text.contains("led by ?x") && text.contains("[::1]:6379"),
            "{text}"
        );
    }
}
