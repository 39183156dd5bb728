//! LMOVE between shards of different workers lost acknowledged writes: the two lists were read, the command ran on the
//! copies, and both were written back whole, over whatever other clients had pushed in between. Of 7,500 pushes about
//! 600 were gone. Now the workers stand still while one command runs over keys of several.

mod support;

use std::io::{BufRead, Read, Write};

use support::connection::Connection;
use support::Node;

const PUSHES: usize = 400;

fn two_workers() -> Node {
    Node::start(&["--threads", "2"])
}

trait Ask {
    fn ask(&mut self, command: &str) -> String;
}

impl Ask for Connection {
    /// Sends an inline command and gives the reply: the line of an integer or error, the text of a bulk string.
    fn ask(&mut self, command: &str) -> String {
        self.0
            .get_mut()
            .write_all(format!("{command}\r\n").as_bytes())
            .expect("the node reads");
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the node answers");
        if line.starts_with('$') {
            line.clear();
            self.0.read_line(&mut line).expect("the node answers");
        }
        line.trim_end().to_string()
    }
}

#[test]
fn pushes_survive_moves_between_workers() {
    let node = two_workers();
    std::thread::scope(|scope| {
        let mover = scope.spawn(|| {
            let mut connection = node.connect();
            for number in 0..PUSHES {
                assert!(connection
                    .ask(&format!("RPUSH src a{number}"))
                    .starts_with(':'));
                assert_eq!(
                    connection.ask("LMOVE src dst LEFT RIGHT"),
                    format!("a{number}")
                );
            }
        });
        for name in ["b", "c"] {
            let node = &node;
            scope.spawn(move || {
                let mut connection = node.connect();
                for number in 0..PUSHES {
                    assert!(connection
                        .ask(&format!("RPUSH dst {name}{number}"))
                        .starts_with(':'));
                }
            });
        }
        mover.join().expect("the mover is through");
    });
    assert_eq!(node.connect().ask("LLEN dst"), format!(":{}", 3 * PUSHES));
}

#[test]
fn commands_over_keys_of_both_workers_do_not_wait_for_each_other() {
    let node = two_workers();
    std::thread::scope(|scope| {
        for client in 0..4 {
            let node = &node;
            scope.spawn(move || {
                let mut connection = node.connect();
                for number in 0..PUSHES / 4 {
                    let (from, to) = (number % 7, (number + client) % 7);
                    connection.ask(&format!("SADD s{from} {client}:{number}"));
                    for command in ["SUNIONSTORE", "SDIFFSTORE", "SINTERSTORE"] {
                        let reply = connection.ask(&format!("{command} t{to} s{from} s{to}"));
                        assert!(reply.starts_with(':'), "{command}: {reply}");
                    }
                }
            });
        }
    });
}

/// `printf ... | nc` sends, closes its half and reads: replies that the end of the turn brings, or another worker, came
/// too late for it, because the end of the input ended the connection.
#[test]
fn who_sends_nothing_more_still_hears_the_replies() {
    let node = two_workers();
    for round in 0..50 {
        let mut connection = node.connect();
        let stream = connection.0.get_mut();
        let commands = format!("SET a{round} 1\r\nGET a{round}\r\nINCR b{round}\r\nPING\r\n");
        stream
            .write_all(commands.as_bytes())
            .and_then(|()| stream.shutdown(std::net::Shutdown::Write))
            .expect("the node reads");
        let mut replies = String::new();
        connection
            .0
            .read_to_string(&mut replies)
            .expect("the node answers and closes");
        assert_eq!(replies, "+OK\r\n$1\r\n1\r\n:1\r\n+PONG\r\n", "{round}");
    }
}
