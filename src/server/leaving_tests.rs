//! A node of three that goes down in order: the others lead at once what it has led, and their clients are told of no error. Until it
//! handed over, its groups had no leader for an election timeout, and writes that were on their way had an unknown outcome.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Instant;

use super::super::peers_tests::{keys, three, Client, Member, DEADLINE, SHARDS};
use super::HANDOVER_MAX;

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

#[test]
fn whoever_counts_at_the_other_nodes_notices_no_error_and_no_repetition() {
    let mut nodes = with_leaders();
    let stop = Arc::new(AtomicBool::new(false));
    let counting: Vec<_> = (0..12)
        .map(|number| {
            let client = nodes[1 + number % 2].client();
            let (key, stop) = (format!("count:{number}"), stop.clone());
            std::thread::spawn(move || (key.clone(), count_up(client, key, &stop)))
        })
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(200));
    nodes[0].hand_over();
    assert_eq!(nodes[0].led(), Vec::<u16>::new());
    assert_eq!(led_by(&nodes[1..]), usize::from(SHARDS));
    nodes.remove(0).end();
    std::thread::sleep(std::time::Duration::from_millis(200));
    stop.store(true, Relaxed);
    let mut client = nodes[0].client();
    for thread in counting {
        let (key, count) = thread.join().expect("no error");
        assert!(count > 0);
        assert_eq!(client.ask(&format!("GET {key}")), count.to_string());
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
