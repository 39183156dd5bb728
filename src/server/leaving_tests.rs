//! A node of three that goes down in order: the others lead at once what it has led, and their clients are told of no error. Until it
//! handed over, its groups had no leader for an election timeout, and writes that were on their way had an unknown outcome. The same holds
//! where the steward has the leadership of a group go to another node: what was queued meanwhile got TRYAGAIN.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringfort_cluster::steward::{Order, Task};
use ringfort_cluster::ReplicaId;

use super::super::peers_tests::{keys, three, Client, Member, DEADLINE, SHARDS};
use super::HANDOVER_MAX;
use crate::node::Worker;

fn led_by(nodes: &[Member]) -> usize {
    nodes.iter().map(|node| node.led().len()).sum()
}

/// Nodes of which the first leads most.
fn with_leaders() -> Vec<Member> {
    let mut nodes = three([1, 2, 1]);
    let mut client = nodes[0].client();
    keys().for_each(|key| assert_eq!(client.ask(&format!("SET {key} 0")), "+OK"));
    nodes.sort_by_key(|node| std::cmp::Reverse(node.led().len()));
    assert!(!nodes[0].led().is_empty());
    nodes
}

/// Counts up in pipelines until told to stop. Returns how far.
fn count_up(mut client: Client, key: String, stop: &AtomicBool) -> u64 {
    const TOGETHER: u64 = 4;
    let command = format!("INCR {key}");
    let mut count = 0;
    while !stop.load(Relaxed) {
        client.send(&[command.as_str(); TOGETHER as usize]);
        for _ in 0..TOGETHER {
            count += 1;
            assert_eq!(client.reply(), format!(":{count}"));
        }
    }
    count
}

type Counting = Vec<JoinHandle<(String, u64)>>;

/// So many clients that count up, some at each of the nodes.
fn counting(nodes: &[Member], clients: usize, stop: &Arc<AtomicBool>) -> Counting {
    let count = |number: usize| {
        let client = nodes[number % nodes.len()].client();
        let (key, stop) = (format!("count:{number}"), stop.clone());
        std::thread::spawn(move || (key.clone(), count_up(client, key, &stop)))
    };
    let counting = (0..clients).map(count).collect();
    std::thread::sleep(Duration::from_millis(200));
    counting
}

fn assert_counted(counting: Counting, client: &mut Client) {
    for thread in counting {
        let (key, count) = thread.join().expect("no error");
        assert!(count > 0);
        assert_eq!(client.ask(&format!("GET {key}")), count.to_string());
    }
}

#[test]
fn whoever_counts_at_the_other_nodes_notices_no_error_and_no_repetition() {
    let mut nodes = with_leaders();
    let stop = Arc::new(AtomicBool::new(false));
    let counting = counting(&nodes[1..], 12, &stop);
    nodes[0].hand_over();
    assert_eq!(nodes[0].led(), Vec::<u16>::new());
    assert_eq!(led_by(&nodes[1..]), usize::from(SHARDS));
    nodes.remove(0).end();
    std::thread::sleep(Duration::from_millis(200));
    stop.store(true, Relaxed);
    assert_counted(counting, &mut nodes[0].client());
}

/// A key whose shard a node leads.
fn key_led_by(node: &Member, client: &mut Client) -> String {
    let leads = |slot: u16| node.led().contains(&(slot / (16_384 / SHARDS)));
    let slot = |key: &str, client: &mut Client| client.ask(&format!("CLUSTER KEYSLOT {key}"));
    let led = keys().find(|key| leads(slot(key, client)[1..].parse().expect("a slot")));
    led.expect("a key of each shard")
}

/// What each worker of a node answers, when all have.
fn of_all_workers<T: Send + 'static>(
    node: &Member,
    ask: impl Fn(&mut Worker) -> T + Clone + Send + 'static,
) -> Vec<T> {
    let (tell, told) = std::sync::mpsc::channel();
    for worker in 0..node.shared.inboxes.len() as u16 {
        let (tell, ask) = (tell.clone(), ask.clone());
        node.shared
            .task(worker, move |there| drop(tell.send(ask(there))));
    }
    drop(tell);
    told.into_iter().collect()
}

/// Says farewell while it still leads, which no node does that goes down in order: so it shows what the others do about it.
fn say_farewell(node: &Member) {
    of_all_workers(node, Worker::say_farewell);
}

/// Waits until nobody expects anything of a node that has said farewell.
fn until_released(node: &Member) {
    let ends = Instant::now() + DEADLINE;
    let left = || of_all_workers(node, |there| there.left_to_release());
    while left().iter().any(|left| *left > 0) {
        assert!(Instant::now() < ends, "it is released");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A node lost what others sent it in its last milliseconds, and their clients were told that the outcome was unknown.
#[test]
fn what_is_asked_before_a_farewell_is_answered_and_what_is_asked_after_it_waits_for_the_next_leader(
) {
    const BEFORE: usize = 500;
    let nodes = with_leaders();
    let (mut before, mut after) = (nodes[1].client(), nodes[1].client());
    let key = key_led_by(&nodes[0], &mut after);
    let command = format!("INCR {key}");
    assert_eq!(before.ask(&format!("SET {key} 0")), "+OK");
    before.send(&vec![command.as_str(); BEFORE]);
    say_farewell(&nodes[0]);
    for count in 1..=BEFORE {
        assert_eq!(before.reply(), format!(":{count}"));
    }
    until_released(&nodes[0]);
    // The node leads still, and would answer.
    let began = Instant::now();
    let waiting = std::thread::spawn(move || (after.ask(&command), began.elapsed()));
    std::thread::sleep(Duration::from_millis(300));
    let read = nodes[0].client().ask(&format!("GET {key}"));
    assert_eq!(read, BEFORE.to_string());
    nodes[0].hand_over();
    let (reply, took) = waiting.join().expect("a reply");
    assert_eq!(reply, format!(":{}", BEFORE + 1));
    assert!(took >= Duration::from_millis(300), "{took:?}");
}

#[test]
fn a_node_that_has_said_farewell_is_given_no_leadership() {
    let nodes = with_leaders();
    say_farewell(&nodes[1]);
    until_released(&nodes[1]);
    let had = nodes[1].led();
    order_all(&nodes[0], nodes[1].shared.node_id().0 as u64);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(nodes[1].led(), had);
    nodes[0].hand_over();
    assert_eq!(nodes[1].led(), had);
}

/// Counts up in pipelines until the connection ends. Returns how far the replies came.
fn count_to_the_end(mut client: Client, key: &str) -> u64 {
    const TOGETHER: u64 = 4;
    let commands = format!("INCR {key}\r\n").repeat(TOGETHER as usize);
    let mut count = 0;
    while client.try_send(commands.as_bytes()) {
        for nth in 0..TOGETHER {
            let Some(reply) = client.try_reply() else {
                assert_eq!(nth, 0, "some of what was sent together was answered");
                return count;
            };
            count += 1;
            assert_eq!(reply, format!(":{count}"));
        }
    }
    count
}

/// Connections of a node that went down were cut wherever they were: between a command and its reply, so that a client had to ask whether
/// it had been done.
#[test]
fn whoever_counts_at_the_node_itself_gets_every_reply_and_then_the_end_of_the_connection() {
    let mut nodes = with_leaders();
    let count = |number: usize| {
        let (client, key) = (nodes[0].client(), format!("count:{number}"));
        std::thread::spawn(move || (count_to_the_end(client, &key), key))
    };
    let counting: Vec<_> = (0..12).map(count).collect();
    std::thread::sleep(Duration::from_millis(200));
    nodes[0].hand_over();
    nodes.remove(0).end();
    let mut client = nodes[0].client();
    for thread in counting {
        let (count, key) = thread.join().expect("no error");
        assert!(count > 0);
        assert_eq!(client.ask(&format!("GET {key}")), count.to_string());
    }
}

/// Whoever had just connected to the peer port and said nothing yet held the end of the node up for good: its handshake kept a way to hand
/// connections to the workers.
#[test]
fn a_handshake_under_way_does_not_hold_up_the_end() {
    let mut nodes = three([1, 1, 2]);
    let silent = std::net::TcpStream::connect(("127.0.0.1", nodes[0].peer_port));
    let silent = silent.expect("a node that listens");
    std::thread::sleep(Duration::from_millis(100));
    let (mut node, (tell, told)) = (nodes.remove(0), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        node.end();
        let _ = tell.send(());
    });
    told.recv_timeout(DEADLINE).expect("a node that ends");
    drop(silent);
}

/// Has a node give all that it leads to another, as the steward would.
fn order_all(from: &Member, to: u64) {
    let node = from.shared.node_id();
    of_all_workers(from, move |there| {
        for report in there.group_reports() {
            let Some(led) = report.leads else { continue };
            let order = Order {
                to: node,
                shard: report.shard,
                term: report.term,
                based_on: led.changed,
                task: Task::TransferLeader(ReplicaId(to)),
            };
            // Where the other has not caught up this one goes on.
            let _ = there.obey(&order);
        }
    });
}

#[test]
fn whoever_counts_anywhere_notices_no_error_while_the_steward_moves_leaders() {
    let nodes = with_leaders();
    let stop = Arc::new(AtomicBool::new(false));
    let counting = counting(&nodes, 12, &stop);
    let mut moved = 0;
    for round in 0..12 {
        let id = |at: usize| nodes[at].shared.node_id().0 as u64;
        for at in 0..nodes.len() {
            let before = nodes[at].led();
            order_all(&nodes[at], id((at + 1 + round % 2) % nodes.len()));
            std::thread::sleep(Duration::from_millis(60));
            let after = nodes[at].led();
            moved += before.iter().filter(|shard| !after.contains(shard)).count();
        }
    }
    stop.store(true, Relaxed);
    assert_counted(counting, &mut nodes[0].client());
    assert!(moved > 0);
}

#[test]
fn a_group_whose_transfer_does_not_come_about_goes_on() {
    let mut nodes = with_leaders();
    let mut client = nodes[0].client();
    let gone = nodes[2].shared.node_id().0 as u64;
    nodes.remove(2).end();
    // The one that is to lead does not answer any more.
    order_all(&nodes[0], gone);
    for round in ["1", "2"] {
        for key in keys() {
            assert_eq!(client.ask(&format!("SET {key} {round}")), "+OK");
        }
    }
}

#[test]
fn leadership_is_spread_over_the_other_nodes() {
    let nodes = with_leaders();
    let before = nodes[0].led().len();
    let had: Vec<usize> = nodes.iter().map(|node| node.led().len()).collect();
    nodes[0].hand_over();
    assert_eq!(led_by(&nodes), usize::from(SHARDS));
    let given: Vec<usize> = (1..3).map(|at| nodes[at].led().len() - had[at]).collect();
    assert_eq!(given.iter().sum::<usize>(), before);
    // Each of its workers, two at most, spreads what it leads.
    assert!(given[0].abs_diff(given[1]) <= 2, "{given:?}");
}

#[test]
fn a_node_that_nobody_can_succeed_does_not_wait() {
    let mut nodes = with_leaders();
    nodes.remove(2).end();
    nodes.remove(1).end();
    let deadline = Instant::now() + DEADLINE;
    // The first time the links may not know yet that nobody is there.
    let is_quick = || {
        let began = Instant::now();
        nodes[0].hand_over();
        began.elapsed() < HANDOVER_MAX
    };
    while !is_quick() {
        assert!(Instant::now() < deadline);
    }
}
