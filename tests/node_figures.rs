//! What a whole node tells of itself is true: the memory that eviction goes by against what the allocator handed out,
//! and the figures of turns and log.

mod support;

use std::io::{BufRead, Read, Write};
use std::time::Duration;

use support::connection::{Connection, START_MAX};
use support::Node;

const KEYS: usize = 200_000;
const PIPELINE: usize = 500;
/// Longer than the time between two publications of a worker's figures.
const PUBLISHED: Duration = Duration::from_millis(300);

/// What these tests ask.
trait Figures {
    fn line(&mut self) -> String;
    fn all(&mut self, commands: &[String]);
    fn figure(&mut self, section: &str, name: &str) -> u64;
    fn memory(&mut self) -> (u64, u64);
}

impl Figures for Connection {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the node answers");
        line.trim_end().to_string()
    }

    /// Sends inline commands together; none may answer with an error or more than a line.
    fn all(&mut self, commands: &[String]) {
        let text = commands.join("\r\n") + "\r\n";
        let sent = self.0.get_mut().write_all(text.as_bytes());
        sent.expect("the node reads");
        for command in commands {
            let reply = self.line();
            assert!(!reply.starts_with(['-', '$', '*']), "{command}: {reply}");
        }
    }

    /// A figure of a section of INFO.
    fn figure(&mut self, section: &str, name: &str) -> u64 {
        let command = format!("INFO {section}\r\n");
        let sent = self.0.get_mut().write_all(command.as_bytes());
        sent.expect("the node reads");
        let length: usize = self.line()[1..].parse().expect("a bulk string");
        let mut text = vec![0; length + 2];
        self.0.read_exact(&mut text).expect("all of it");
        let text = String::from_utf8_lossy(&text).into_owned();
        let value = text.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(':')?;
            value.trim_end().parse().ok()
        });
        value.unwrap_or_else(|| panic!("INFO {section} has no {name}:\n{text}"))
    }

    /// What the keyspaces say they take, and what the allocator has handed out.
    fn memory(&mut self) -> (u64, u64) {
        std::thread::sleep(PUBLISHED);
        (
            self.figure("memory", "used_memory_dataset"),
            self.figure("memory", "allocator_allocated"),
        )
    }
}

/// A key of one of the types, its members as many and as long as `number` says.
fn fill(number: usize, commands: &mut Vec<String>) {
    let members = |count: usize, of: &dyn Fn(usize) -> String| {
        (0..count).map(of).collect::<Vec<_>>().join(" ")
    };
    let count = 1 + number % 7 + if number % 1_000 == 0 { 400 } else { 0 };
    let value = "x".repeat(number * 7 % 200);
    commands.push(match number % 8 {
        0 | 1 => format!("SET string:{number} v{value}"),
        2 => format!("SET number:{number} {number}"),
        3 => format!("SET due:{number} v{value} EX 100000"),
        4 => format!(
            "RPUSH list:{number} {}",
            members(count, &|n| format!("{value}{n}"))
        ),
        5 => format!(
            "HSET hash:{number} {}",
            members(count, &|n| format!("field{n} {value}{n}"))
        ),
        6 => format!(
            "SADD set:{number} {}",
            members(count, &|n| format!("{}", n * number))
        ),
        _ => format!(
            "ZADD zset:{number} {}",
            members(count, &|n| format!("{n} member{n}{value}"))
        ),
    });
}

#[track_caller]
fn assert_close(before: (u64, u64), after: (u64, u64)) {
    let (told, taken) = (
        after.0 as f64 - before.0 as f64,
        after.1 as f64 - before.1 as f64,
    );
    let apart = (told - taken).abs() / taken.abs();
    assert!(
        apart < 0.05,
        "{told} bytes told, {taken} taken: {:.1} % apart",
        apart * 100.0
    );
}

#[test]
fn the_memory_of_all_keys_is_what_the_allocator_handed_out() {
    let node = Node::start(&["--threads", "1"]);
    let mut connection = node.connect();
    let empty = connection.memory();
    let mut commands = Vec::new();
    for number in 0..KEYS {
        fill(number, &mut commands);
        if commands.len() == PIPELINE {
            connection.all(&commands);
            commands.clear();
        }
    }
    let full = connection.memory();
    assert!(
        full.1 - empty.1 > 40 << 20,
        "too little to be compared: {full:?}"
    );
    assert_close(empty, full);
    // Overwritten, grown and removed, it still agrees.
    for number in (0..KEYS).step_by(2) {
        match number % 8 {
            0 => commands.push(format!(
                "APPEND string:{number} {}",
                "y".repeat(number % 90 + 1)
            )),
            2 => commands.push(format!(
                "SET number:{number} {}",
                "z".repeat(number % 50 + 30)
            )),
            4 => commands.push(format!("DEL list:{number}")),
            _ => commands.push(format!("SADD set:{number} a{number} b{number}")),
        }
        if commands.len() == PIPELINE {
            connection.all(&commands);
            commands.clear();
        }
    }
    assert_close(empty, connection.memory());
}

#[test]
fn turns_and_log_segments_are_counted() {
    let node = Node::start(&["--threads", "1", "--wal-segment-bytes", "64kb"]);
    let mut connection = node.connect();
    let commands: Vec<String> = (0..200)
        .map(|number| format!("SET key:{number} {}", "x".repeat(2_000)))
        .collect();
    // A turn is one record, and a record lies in one segment.
    for few in commands.chunks(20) {
        connection.all(few);
    }
    std::thread::sleep(PUBLISHED);
    let turns_us = connection.figure("stats", "eventloop_duration_sum");
    let commands_us = connection.figure("stats", "eventloop_duration_cmd_sum");
    assert!(turns_us > 0 && turns_us < START_MAX.as_micros() as u64);
    // The commands ran within the turns; INFO itself did not.
    assert!(
        turns_us * 10 > commands_us,
        "{turns_us} us of turns, {commands_us} us of commands"
    );
    let segments = connection.figure("ringfort", "wal_segments");
    assert!(
        (4..100).contains(&segments),
        "{segments} segments of 64 kB for 400 kB"
    );
}
