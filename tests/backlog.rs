//! `tcp-backlog` holds for every port: how many connections may wait while the node is busy. The peer port had a bound of its own.

mod support;

use std::io::{BufRead, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use support::connection::connect_to;
use support::ports::free_port;
use support::Node;

/// With a backlog of one; the system takes a little more than it is told.
const BACKLOG: &str = "1";
const WAITING_MAX: usize = 3;
/// A connection over loopback comes about at once, or not before the first repetition.
const CONNECT_MAX: Duration = Duration::from_millis(500);

/// How many connections to the port of a node that stands still come about, of so many that none would be refused without a bound.
fn waiting(port: u16) -> usize {
    let address = ([127, 0, 0, 1], port).into();
    let connect = |_| TcpStream::connect_timeout(&address, CONNECT_MAX).ok();
    let waiting: Vec<TcpStream> = (0..2 * WAITING_MAX).filter_map(connect).collect();
    waiting.len()
}

fn stand_still(node: &Node) {
    let id = node.process.id().to_string();
    let told = Command::new("kill").args(["-STOP", &id]).status();
    assert!(told.expect("kill").success());
}

fn assert_bounded(port: u16) {
    let waiting = waiting(port);
    assert!((1..=WAITING_MAX).contains(&waiting), "{waiting} at {port}");
}

#[test]
fn no_more_connections_wait_at_any_port_of_a_node_than_the_setting_says() {
    let ports = ["--cluster-port", "--http-port", "--peer-port"].map(|flag| (flag, free_port()));
    let texts = ports.map(|(flag, port)| [flag.to_string(), port.to_string()]);
    let mut flags: Vec<&str> = texts.iter().flatten().map(String::as_str).collect();
    flags.extend(["--tcp-backlog", BACKLOG, "--threads", "1"]);
    let node = Node::start(&flags);
    let mut client = node.connect().0;
    client.get_mut().write_all(b"PING\r\n").expect("it reads");
    client.read_line(&mut String::new()).expect("it answers");
    let connected = ports.map(|(_, port)| connect_to(port));
    stand_still(&node);
    drop(connected);
    for (_, port) in ports {
        assert_bounded(port);
    }
}

#[test]
fn the_same_holds_for_a_node_that_looks_for_its_cluster() {
    let (peer_port, nobody) = (free_port(), free_port());
    let (port, join) = (peer_port.to_string(), format!("127.0.0.1:{nobody}"));
    let forming = ["--join", &join, "--bootstrap-expect", "3"];
    let own = ["--peer-port", &port, "--tcp-backlog", BACKLOG];
    let node = Node::start(&[&forming[..], &own].concat());
    let connected = connect_to(peer_port);
    stand_still(&node);
    drop(connected);
    assert_bounded(peer_port);
}
