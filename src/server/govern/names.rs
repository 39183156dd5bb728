//! How an operator names a node: by its id, by the beginning of that, or by one of its addresses. Pure.

use ringfort_cluster::meta::MetaError;
use ringfort_cluster::topology::{Node, Topology};
use ringfort_cluster::NodeId;

use crate::node::operator::{OperatorError, Refusal};

/// Fewer digits of an id are taken for a slip.
const DIGITS_MIN: usize = 4;
const DIGITS_MAX: usize = 40;
/// Of a name that is repeated in a refusal.
const SHOWN_MAX: usize = 80;

/// The node that is meant.
///
/// # Errors
/// What is no name of a node, names several, or none.
pub(super) fn find_node<'a>(topology: &'a Topology, name: &str) -> Result<&'a Node, OperatorError> {
    let found: Vec<&Node> = match name.rsplit_once(':') {
        Some((host, port)) => at_address(topology, host, port)?,
        None => by_digits(topology, name)?,
    };
    let shown = shown(name);
    match found[..] {
        [node] => Ok(node),
        [] => Err(OperatorError::new(
            Refusal::NotFound,
            match find_removed(topology, name) {
                Some(id) => MetaError::Removed(id, topology.removed[&id]).to_string(),
                None => format!(
                    "there is no node {shown} in this cluster: `ringfort status` lists the nodes"
                ),
            },
        )),
        _ => Err(OperatorError::new(
            Refusal::Invalid,
            format!(
                "{shown} stands for {} nodes: give more digits of the id",
                found.len()
            ),
        )),
    }
}

/// The removed node that is meant by its id, or by a beginning of it with which no other begins. Whoever repeats an order does so with the
/// name that was good when it was given first.
pub(super) fn find_removed(topology: &Topology, name: &str) -> Option<NodeId> {
    let digits = name.to_ascii_lowercase();
    let begins = |id: &&NodeId| id.to_string().starts_with(&digits);
    let mut removed = topology.removed.keys().filter(begins);
    let found = removed.next().copied();
    let is_one = digits.len() >= DIGITS_MIN
        && removed.next().is_none()
        && !topology.nodes.keys().any(|id| begins(&id));
    found.filter(|_| is_one)
}

fn at_address<'a>(
    topology: &'a Topology,
    host: &str,
    port: &str,
) -> Result<Vec<&'a Node>, OperatorError> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host = bare.unwrap_or(host);
    let port: u16 = port.parse().map_err(|_| malformed(port))?;
    let is_there = |node: &&Node| {
        let peer_port = node.open_peer_port().unwrap_or(0);
        let ports = [node.port, node.cluster_port, peer_port, node.http_port];
        port > 0 && node.host.eq_ignore_ascii_case(host) && ports.contains(&port)
    };
    Ok(topology.nodes.values().filter(is_there).collect())
}

fn by_digits<'a>(topology: &'a Topology, name: &str) -> Result<Vec<&'a Node>, OperatorError> {
    let digits = name.to_ascii_lowercase();
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || !(DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()) {
        return Err(malformed(name));
    }
    if digits.len() == DIGITS_MAX {
        let id: NodeId = digits
            .parse()
            .map_err(|error| OperatorError::new(Refusal::Invalid, format!("{error}")))?;
        return Ok(topology.nodes.get(&id).into_iter().collect());
    }
    let begins = |node: &&Node| node.id.to_string().starts_with(&digits);
    Ok(topology.nodes.values().filter(begins).collect())
}

fn malformed(name: &str) -> OperatorError {
    OperatorError::new(
        Refusal::Invalid,
        format!(
            "{} names no node: give its id of {DIGITS_MAX} hexadecimal digits, the first {DIGITS_MIN} or more of them, or host:port",
            shown(name)
        ),
    )
}

fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(SHOWN_MAX).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfort_cluster::topology::{ClusterId, Ports};
    use ringfort_cluster::MetaCommand;

    const IDS: [u128; 3] = [0xABCD_0001 << 96, 0xABCD_0002 << 96, 0x1234_5678 << 96];

    fn topology() -> Topology {
        let node = |id: u128, host: &str, plain| {
            let ports = Ports {
                plain,
                ..Ports::default()
            };
            Node::new(NodeId(id), host, ports)
        };
        let mut topology = Topology::default();
        let init = MetaCommand::Init {
            cluster_id: ClusterId(1),
            shards: 2,
            replicas: 3,
            node: node(IDS[0], "a.example", 7001),
        };
        topology.apply(&init).unwrap();
        for (id, host, port) in [(IDS[1], "a.example", 7002), (IDS[2], "::1", 7003)] {
            let node = Node {
                peer_port: port + 10_000,
                http_port: port + 2_000,
                ..node(id, host, port)
            };
            topology.nodes.insert(node.id, node);
        }
        topology
    }

    fn found(name: &str) -> Result<u128, Refusal> {
        let topology = topology();
        let found = find_node(&topology, name);
        found.map(|node| node.id.get()).map_err(|error| error.kind)
    }

    #[test]
    fn a_node_is_named_by_its_id_its_beginning_or_an_address() {
        let id = NodeId(IDS[1]).to_string();
        for (name, expected) in [
            (id.as_str(), IDS[1]),
            (&id.to_uppercase(), IDS[1]),
            ("abcd0002", IDS[1]),
            ("1234", IDS[2]),
            ("a.example:7001", IDS[0]),
            ("A.EXAMPLE:7002", IDS[1]),
            ("a.example:17002", IDS[1]),
            ("a.example:9002", IDS[1]),
            ("[::1]:7003", IDS[2]),
            ("::1:7003", IDS[2]),
        ] {
            assert_eq!(found(name), Ok(expected), "{name}");
        }
    }

    #[test]
    fn what_names_no_node_or_several_is_told_apart() {
        let stranger = NodeId(77).to_string();
        let mistyped = stranger.replacen('4', "5", 1);
        for name in ["ffff", &stranger, "a.example:9", "b.example:7001"] {
            assert_eq!(found(name), Err(Refusal::NotFound), "{name}");
        }
        // Two nodes listen on that port of that host.
        let several = ["abcd", "a.example:7379"];
        let none = [
            "",
            "abc",
            "wxyz",
            "a.example",
            "a.example:x",
            &mistyped,
            "a:99999",
        ];
        for name in several.into_iter().chain(none) {
            assert_eq!(found(name), Err(Refusal::Invalid), "{name}");
        }
    }

    #[test]
    fn of_a_removed_node_it_is_said_that_it_was_removed() {
        let mut topology = topology();
        let gone = NodeId(0xEEEE_0001 << 96);
        topology.removed.insert(gone, topology.epoch);
        for name in [&gone.to_string(), "EEEE0001", "eeee"] {
            let error = find_node(&topology, name).unwrap_err();
            assert_eq!(error.kind, Refusal::NotFound);
            assert!(error.reason.contains("was removed"), "{error}");
            assert_eq!(find_removed(&topology, name), Some(gone), "{name}");
        }
        // It may mean another as well.
        topology
            .removed
            .insert(NodeId(0xABCD_0003 << 96), topology.epoch);
        for name in ["abcd", "eee", "eeee:1", "", "ffff"] {
            assert_eq!(find_removed(&topology, name), None, "{name}");
        }
        assert!(find_removed(&topology, "abcd0003").is_some());
        let other = NodeId(0xEEEE_0002 << 96);
        topology.removed.insert(other, topology.epoch);
        assert_eq!(find_removed(&topology, "eeee"), None);
    }
}
