//! `ringfort node list`, `show`, `undrain`. Removing is in `remove.rs`.

use std::time::Duration;

use serde_json::json;

use super::client::segment;
use super::failure::{Failure, Outcome};
use super::order;
use super::status::{address, nodes_table, p99, state};
use super::table::{Align, Cell, Paint, Table};
use super::terminal::Terminal;
use super::text::{bytes, clean, count, digits_to_tell_apart, duration};
use super::Session;
use crate::admin::api::NodeView;

/// The path of a node, by whatever names it.
pub(super) fn path(node: &str) -> String {
    format!("/v1/nodes/{}", segment(node))
}

pub(super) fn list(session: &Session, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let answer = session.client.get::<Vec<NodeView>>("/v1/nodes")?;
    let digits = digits_to_tell_apart(answer.value.iter().map(|node| node.id.as_str()));
    session.print(terminal, &answer, |paint| {
        nodes_table(&answer.value, digits, paint)
    })?;
    Ok(Outcome::Done)
}

pub(super) fn show(
    session: &Session,
    terminal: &mut Terminal,
    node: &str,
) -> Result<Outcome, Failure> {
    let answer = session.client.get::<NodeView>(&path(node))?;
    session.print(terminal, &answer, |paint| render(&answer.value, paint))?;
    Ok(Outcome::Done)
}

pub(super) fn undrain(
    session: &Session,
    terminal: &mut Terminal,
    node: &str,
) -> Result<Outcome, Failure> {
    let done = session
        .client
        .post(&format!("{}/undrain", path(node)), &json!({}))?;
    order::print_done(session, terminal, &done)
}

fn render(node: &NodeView, paint: Paint) -> String {
    let silent = node
        .silent_ms
        .map(|ms| format!("{} ago", duration(Duration::from_millis(ms))));
    let groups = match node.needed_by {
        0 => "no group: it can be removed".to_string(),
        groups => format!("{} groups, the meta group counted", count(groups.into())),
    };
    let rows: Vec<(&str, Cell)> = vec![
        ("id", clean(&node.id).into()),
        ("address", address(node).into()),
        (
            "ports",
            format!(
                "cluster {}, peers {}, HTTP {}",
                port(node.cluster_port),
                port(node.peer_port.unwrap_or(0)),
                port(node.http_port)
            )
            .into(),
        ),
        ("zone", or_none(&node.zone).into()),
        ("weight", node.weight.to_string().into()),
        ("version", or_none(&node.version).into()),
        ("state", state(node)),
        ("last heard of", silent.unwrap_or("-".into()).into()),
        (
            "up for",
            duration(Duration::from_secs(node.uptime_s)).into(),
        ),
        ("leads", count(node.leads.into()).into()),
        (
            "holds",
            format!(
                "{}, of which {} vote; {} wished",
                count(node.holds.into()),
                count(node.votes.into()),
                count(node.wished.into())
            )
            .into(),
        ),
        ("needed by", groups.into()),
        (
            "lag",
            format!("{} entries at most", count(node.lag_entries_max)).into(),
        ),
        (
            "memory",
            format!(
                "{}, of which keys {}",
                bytes(node.memory_bytes),
                bytes(node.data_bytes)
            )
            .into(),
        ),
        ("clients", count(node.clients.into()).into()),
        ("ops/s", count(node.ops_per_sec).into()),
        ("p99", p99(node).into()),
    ];
    let mut table = Table::new(&[("NODE", Align::Left), ("", Align::Left)]);
    for (name, value) in rows {
        table.row(vec![name.into(), value]);
    }
    table.render(paint)
}

/// 0 is no port.
fn port(number: u16) -> String {
    match number {
        0 => "-".into(),
        number => number.to_string(),
    }
}

fn or_none(text: &str) -> String {
    match text.is_empty() {
        true => "none".into(),
        false => clean(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::cluster;
    use super::*;

    #[test]
    fn a_node_is_shown_line_by_line() {
        assert_eq!(
            render(&cluster().nodes[2], Paint(false)),
            "NODE\n\
             id             a100000000000000000000000000000000000000\n\
             address        10.0.0.9:6379\n\
             ports          cluster 7379, peers 16379, HTTP 8379\n\
             zone           none\n\
             weight         100\n\
             version        0.1.0\n\
             state          up\n\
             last heard of  -\n\
             up for         2 h 5 min\n\
             leads          22\n\
             holds          64, of which 64 vote; 64 wished\n\
             needed by      65 groups, the meta group counted\n\
             lag            0 entries at most\n\
             memory         1.2 GiB, of which keys 64 MiB\n\
             clients        0\n\
             ops/s          81,200\n\
             p99            1.2 ms\n"
        );
    }

    #[test]
    fn ports_that_a_node_has_not_got_are_not_shown_as_numbers() {
        let mut node = cluster().nodes[2].clone();
        (node.peer_port, node.cluster_port) = (None, 0);
        let text = render(&node, Paint(false));
        let line = "ports          cluster -, peers -, HTTP 8379\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn whatever_names_a_node_stays_one_part_of_the_path() {
        assert_eq!(path("host:6379"), "/v1/nodes/host:6379");
        assert_eq!(path("../x?y#z é"), "/v1/nodes/..%2Fx%3Fy%23z%20%C3%A9");
    }
}
