//! Three nodes, asked by their cluster ports: who said READONLY may read what other nodes lead, as long as it is fresh enough; everybody
//! else is sent to the leader. And what each node says of its own keys and links.

use std::time::{Duration, Instant};

use super::peers_tests::{keys, show_leaders, three, Client, Member, DEADLINE};

/// Some threads, so that keys belong to the connection's own worker and to another.
fn with_data() -> Vec<Member> {
    let nodes = three([1, 2, 2]);
    let mut client = nodes[0].client();
    keys().for_each(|key| assert_eq!(client.ask(&format!("SET {key} old")), "+OK"));
    show_leaders(&nodes);
    nodes
}

/// Asks until it is answered from here.
fn read(client: &mut Client, key: &str) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let reply = client.ask(&format!("GET {key}"));
        if !reply.starts_with("-MOVED") {
            return reply;
        }
        assert!(Instant::now() < deadline, "{reply}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn moved(client: &mut Client, command: &str) -> usize {
    let replies = keys().map(|key| client.ask(&command.replace("KEY", &key)));
    replies.filter(|reply| reply.starts_with("-MOVED")).count()
}

#[test]
fn every_node_answers_whoever_reads_only() {
    let nodes = with_data();
    for node in &nodes {
        let mut client = node.cluster_client();
        let elsewhere = moved(&mut client, "GET KEY");
        assert!(elsewhere > 0 || node.led().len() == 8);
        assert_eq!(client.ask("READONLY"), "+OK");
        keys().for_each(|key| assert_eq!(read(&mut client, &key), "old"));
        // Several keys of one slot, and what is no read.
        assert_eq!(read(&mut client, "{key:1}missing"), "(nil)");
        assert_eq!(client.ask("EXISTS key:1 {key:1}missing"), ":1");
        assert_eq!(moved(&mut client, "PERSIST KEY"), elsewhere);
        assert_eq!(client.ask("READWRITE"), "+OK");
        assert_eq!(moved(&mut client, "GET KEY"), elsewhere);
    }
}

#[test]
fn what_was_written_is_read_at_followers_within_the_bound() {
    let nodes = with_data();
    let mut writer = nodes[0].client();
    let mut readers: Vec<Client> = nodes.iter().map(Member::cluster_client).collect();
    for reader in &mut readers {
        reader.ask("READONLY");
    }
    for round in 0..3 {
        for key in keys().take(16) {
            assert_eq!(writer.ask(&format!("SET {key} {round}")), "+OK");
        }
        let acknowledged = Instant::now();
        // The setting's default, in milliseconds.
        while acknowledged.elapsed() <= Duration::from_millis(1000) {
            std::thread::sleep(Duration::from_millis(20));
        }
        for reader in &mut readers {
            for key in keys().take(16) {
                assert_eq!(read(reader, &key), round.to_string());
            }
        }
    }
}

#[test]
fn a_node_that_hears_of_nobody_sends_its_readers_away() {
    let mut nodes = with_data();
    nodes.sort_by_key(|node| node.led().len());
    let mut client = nodes[0].cluster_client();
    let is_elsewhere = |key: &String| client.ask(&format!("GET {key}")).starts_with("-MOVED");
    let key = keys().find(is_elsewhere).expect("others lead more");
    client.ask("READONLY");
    assert_eq!(read(&mut client, &key), "old");
    nodes.truncate(1);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(moved(&mut client, &format!("GET {key}")), keys().count());
}

#[test]
fn a_key_that_expires_is_absent_at_followers_too() {
    let nodes = with_data();
    let mut writer = nodes[0].client();
    let mut readers: Vec<Client> = nodes.iter().map(Member::cluster_client).collect();
    for reader in &mut readers {
        reader.ask("READONLY");
        keys().for_each(|key| drop(read(reader, &key)));
    }
    for key in keys().take(8) {
        assert_eq!(writer.ask(&format!("PEXPIRE {key} 100")), ":1");
    }
    std::thread::sleep(Duration::from_millis(1100));
    for reader in &mut readers {
        for key in keys().take(8) {
            assert_eq!(read(reader, &key), "(nil)");
        }
    }
}

#[test]
fn commands_over_all_keys_mean_those_that_the_node_leads() {
    let nodes = with_data();
    let (mut counted, mut seen) = (0, 0);
    for node in &nodes {
        let mut client = node.cluster_client();
        let size: usize = client.ask("DBSIZE")[1..].parse().expect("a number");
        counted += size;
        client.send(&["KEYS *"]);
        let count: usize = client.reply()[1..].parse().expect("a count");
        let own: Vec<String> = (0..count).map(|_| client.reply()).collect();
        assert_eq!(own.len(), size);
        seen += own.len();
        for _ in 0..40 {
            let key = client.ask("RANDOMKEY");
            let is_own = own.contains(&key) || own.is_empty() && key == "(nil)";
            assert!(is_own, "{key} of {own:?}");
        }
    }
    assert_eq!((counted, seen), (64, 64));
}

#[test]
fn links_lead_to_and_from_every_other_node() {
    let nodes = with_data();
    let mut client = nodes[1].cluster_client();
    client.send(&["CLUSTER LINKS"]);
    let count: usize = client.reply()[1..].parse().expect("a count");
    let mut links = Vec::new();
    for _ in 0..count {
        assert_eq!(client.reply(), "*12");
        let fields: Vec<String> = (0..12).map(|_| client.reply()).collect();
        assert_eq!(fields[8], "send-buffer-allocated");
        links.push((fields[1].clone(), fields[3].clone()));
    }
    for other in [&nodes[0], &nodes[2]] {
        let id = other.shared.node_id().to_string();
        for direction in ["to", "from"] {
            let link = (direction.to_string(), id.clone());
            assert!(links.contains(&link), "{link:?} of {links:?}");
        }
    }
}
