//! The view in the words of Redis Cluster: SLOTS, SHARDS, NODES and INFO. The same from every node, but for `myself`.

use std::fmt::Write;

use crate::protocol::Reply;

use super::view::{ClusterView, SlotRange, ViewNode, SLOTS};

/// CLUSTER SLOTS: each range with its leader.
pub fn slots(view: &ClusterView, reply: &mut Reply) {
    let ranges: Vec<(SlotRange, &ViewNode)> = view.ranges().collect();
    reply.array(ranges.len());
    for (range, leader) in ranges {
        reply.array(3);
        reply.int(i64::from(range.first));
        reply.int(i64::from(range.last));
        reply.array(4);
        reply.bulk(leader.host.as_bytes());
        reply.int(i64::from(leader.port));
        reply.bulk(leader.id.as_bytes());
        // What else is known of the address: nothing.
        reply.map(0);
    }
}

/// CLUSTER SHARDS: each node with what it leads. What Redis calls a shard, a master with its replicas, is a node here.
pub fn shards(view: &ClusterView, reply: &mut Reply) {
    reply.array(view.nodes().len());
    for node in view.nodes() {
        reply.map(2);
        reply.bulk(b"slots");
        reply.array(node.ranges.len() * 2);
        for range in &node.ranges {
            reply.int(i64::from(range.first));
            reply.int(i64::from(range.last));
        }
        reply.bulk(b"nodes");
        reply.array(1);
        shard_node(node, reply);
    }
}

fn shard_node(node: &ViewNode, reply: &mut Reply) {
    reply.map(7);
    reply.bulk(b"id");
    reply.bulk(node.id.as_bytes());
    reply.bulk(b"port");
    reply.int(i64::from(node.port));
    reply.bulk(b"ip");
    reply.bulk(node.host.as_bytes());
    reply.bulk(b"endpoint");
    reply.bulk(node.host.as_bytes());
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"replication-offset");
    reply.int(0);
    reply.bulk(b"health");
    reply.bulk(if node.is_up { b"online" } else { b"failed" });
}

/// CLUSTER NODES: a line a node.
pub fn nodes(view: &ClusterView) -> String {
    let mut text = String::new();
    for node in view.nodes() {
        let myself = if node.id == view.own_id {
            "myself,"
        } else {
            ""
        };
        let link = if node.is_up {
            "connected"
        } else {
            "disconnected"
        };
        // Writing into a string does not fail, here and below.
        let _ = write!(
            text,
            "{} {}:{}@{} {myself}master - 0 0 {} {link}",
            node.id, node.host, node.port, node.peer_port, view.epoch
        );
        for range in &node.ranges {
            let _ = match range.first == range.last {
                true => write!(text, " {}", range.first),
                false => write!(text, " {}-{}", range.first, range.last),
            };
        }
        text.push('\n');
    }
    text
}

/// CLUSTER INFO.
pub fn info(view: &ClusterView) -> String {
    let assigned = view.slots(|_| true);
    let served = view.slots(|node| node.is_up);
    let state = match served == usize::from(SLOTS) {
        true => "ok",
        false => "fail",
    };
    let leaders = view.nodes().iter().filter(|node| !node.ranges.is_empty());
    let fields = [
        ("slots_assigned", assigned as u64),
        ("slots_ok", served as u64),
        ("slots_pfail", 0),
        ("slots_fail", (assigned - served) as u64),
        ("known_nodes", view.nodes().len() as u64),
        ("size", leaders.count() as u64),
        ("current_epoch", view.epoch),
        ("my_epoch", view.epoch),
        ("stats_messages_sent", 0),
        ("stats_messages_received", 0),
    ];
    let mut text = format!("cluster_state:{state}\r\n");
    for (name, value) in fields {
        let _ = write!(text, "cluster_{name}:{value}\r\n");
    }
    text.push_str("total_cluster_links_buffer_limit_exceeded:0\r\n");
    text
}
