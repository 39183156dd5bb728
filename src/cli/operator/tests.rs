//! The commands from the command line to what they print, against a small HTTP server.

use std::ffi::OsString;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::testing::{cluster, id, json, reply, Printed, Server};
use super::*;
use crate::admin::api::{
    ClusterView, Done, NodeState, NodeView, OperatorError, PlanView, RecoverView, Refusal,
    ShardView, VerifyView,
};

/// What a command line means, against this address.
fn operation(address: &str, words: &[&str]) -> Operation {
    let words = ["ringfort"]
        .iter()
        .chain(words)
        .copied()
        .chain(["--http", address]);
    match crate::cli::parse(words.map(OsString::from), []) {
        Ok(crate::cli::Invocation::Operate(operation)) => *operation,
        Ok(_) => panic!("no operation"),
        Err(error) => panic!("{error}"),
    }
}

/// Exit code, standard output, standard error.
fn ran(address: &str, words: &[&str]) -> (u8, String, String) {
    let mut printed = Printed::default();
    let code = run_on(&operation(address, words), &mut printed.terminal());
    (code, printed.out(), printed.err())
}

fn refused(kind: Refusal, reason: &str) -> String {
    serde_json::to_string(&OperatorError::new(kind, reason)).unwrap()
}

fn order(words: &[&str]) -> Order {
    operation("h:1", words).order
}

#[test]
fn every_command_line_means_what_it_says() {
    let leave = |is_forced, waits, within: Option<u64>| Leave {
        node: "3f2a".into(),
        is_forced,
        waits,
        within: within.map(Duration::from_secs),
    };
    let seconds = Duration::from_secs;
    let text = String::from;
    let cases: Vec<(&str, Order)> = vec![
        (
            "status",
            Order::Status {
                watch: None,
                is_check: false,
            },
        ),
        (
            "status --check",
            Order::Status {
                watch: None,
                is_check: true,
            },
        ),
        (
            "status --watch",
            Order::Status {
                watch: Some(seconds(2)),
                is_check: false,
            },
        ),
        (
            "status --watch 7 -o json",
            Order::Status {
                watch: Some(seconds(7)),
                is_check: false,
            },
        ),
        ("top", Order::Top),
        ("shards", Order::Shards { shard: None }),
        ("shards 17", Order::Shards { shard: Some(17) }),
        (
            "shard transfer 17 h:6379",
            Order::Transfer {
                shard: 17,
                to: text("h:6379"),
            },
        ),
        ("node list", Order::NodeList),
        ("node show 3f2a", Order::NodeShow { node: text("3f2a") }),
        (
            "node remove 3f2a",
            Order::NodeRemove(leave(false, true, None)),
        ),
        (
            "node remove 3f2a --force --yes --no-wait",
            Order::NodeRemove(leave(true, false, None)),
        ),
        (
            "node drain 3f2a --timeout 2h",
            Order::NodeDrain(leave(false, true, Some(7200))),
        ),
        (
            "node undrain 3f2a",
            Order::NodeUndrain { node: text("3f2a") },
        ),
        (
            "plan add",
            Order::PlanAdd {
                count: 1,
                weight: 100,
                zone: text(""),
            },
        ),
        (
            "plan add --count 2 --weight 50 --zone b",
            Order::PlanAdd {
                count: 2,
                weight: 50,
                zone: text("b"),
            },
        ),
        (
            "plan remove 3f2a --force",
            Order::PlanRemove {
                node: text("3f2a"),
                is_forced: true,
            },
        ),
        ("rebalance", Order::Rebalance),
        (
            "verify",
            Order::Verify {
                shard: None,
                within: seconds(3600),
            },
        ),
        (
            "verify 3 --timeout 90s",
            Order::Verify {
                shard: Some(3),
                within: seconds(90),
            },
        ),
        (
            "recover --lost a --lost b,c",
            Order::Recover {
                lost: vec![text("a"), text("b"), text("c")],
                has_consent: false,
            },
        ),
        (
            "recover --lost a b --accept-data-loss",
            Order::Recover {
                lost: vec![text("a"), text("b")],
                has_consent: true,
            },
        ),
    ];
    for (line, meant) in cases {
        assert_eq!(order(&line.split(' ').collect::<Vec<_>>()), meant, "{line}");
    }
    assert_eq!(
        operation("h:1", &["node", "list", "-o", "json"]).format,
        Format::Json
    );
    assert_eq!(operation("h:1", &["node", "list"]).format, Format::Text);
}

#[test]
fn wrong_usage_ends_with_two() {
    let wrong = [
        "node",
        "node remove",
        "node evict x",
        "status --watch 0",
        "shards x",
        "shards -1",
        "plan",
        "plan add --count 0",
        "shard transfer 1",
        "status -o xml",
        "recover --accept-data-loss",
        "node remove x --timeout soon",
        "status --http https://h",
        "status --check --watch",
        "status --password-file /nonexistent/p",
        "node show x y",
        "verify --timeout 0",
    ];
    for line in wrong {
        let words = std::iter::once("ringfort")
            .chain(line.split(' '))
            .map(OsString::from);
        let error = match crate::cli::parse(words, []) {
            Err(error) => error,
            Ok(_) => panic!("{line} was taken"),
        };
        assert!(
            matches!(error, crate::cli::CliError::Usage(_)),
            "{line}: {error}"
        );
    }
    assert_eq!(crate::cli::CliError::EXIT_CODE, 2);
}

#[test]
fn what_is_asked_is_printed_as_text_and_as_json() {
    let server = Server::start(|request| match request.split(' ').nth(1) {
        Some("/v1/cluster") => json(&cluster()),
        Some("/v1/nodes") => json(&cluster().nodes),
        Some("/v1/nodes/a1") => json(&cluster().nodes[2]),
        Some("/v1/shards") => json(&vec![ShardView::default()]),
        Some("/v1/shards/0") => json(&ShardView::default()),
        Some("/v1/plan/add?count=2&weight=100&zone=a%20b") => json(&PlanView::default()),
        _ => reply(
            404,
            &refused(Refusal::NotFound, "there is nothing like that"),
        ),
    });
    let text = |words: &[&str], begins: &str| {
        let (code, out, err) = ran(&server.address, words);
        assert_eq!((code, err.as_str()), (0, ""), "{words:?}");
        assert!(out.starts_with(begins), "{words:?}: {out}");
    };
    text(&["status"], "Cluster c1000000, epoch 1,012");
    text(&["node", "list"], "NODE ");
    text(&["node", "show", "a1"], "NODE\nid ");
    text(&["shards"], "SHARD ");
    text(&["shards", "0"], "Shard 0, slots 0-0, led by nobody");
    text(
        &["plan", "add", "--count", "2", "--zone", "a b"],
        "What would move: no copy",
    );
    let body = format!("{}\n", serde_json::to_string(&cluster()).unwrap());
    assert_eq!(
        ran(&server.address, &["status", "-o", "json"]),
        (0, body, String::new())
    );
    let (code, out, err) = ran(&server.address, &["node", "show", "zz"]);
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (1, "", "ringfort: there is nothing like that\n")
    );
}

#[test]
fn what_is_wrong_is_an_exit_code_where_it_is_asked_for() {
    let server = Server::start(|request| {
        if request.starts_with("POST /v1/verify ") {
            let differ = u32::from(request.ends_with("{\"shard\":3}"));
            return json(&VerifyView {
                equal: 5,
                differ,
                ..VerifyView::default()
            });
        }
        json(&ClusterView {
            problems: vec!["a disk is full".into()],
            ..cluster()
        })
    });
    assert_eq!(ran(&server.address, &["status"]).0, 0);
    assert_eq!(ran(&server.address, &["status", "--check"]).0, 1);
    assert_eq!(ran(&server.address, &["verify"]).0, 0);
    assert_eq!(ran(&server.address, &["verify", "3"]).0, 1);
    let refused_plan = PlanView {
        refused: Some("too few nodes remain".into()),
        ..PlanView::default()
    };
    let (code, _, err) = ran(
        &Server::start(move |_| json(&refused_plan)).address,
        &["plan", "remove", "a1"],
    );
    assert_eq!(
        (code, err.as_str()),
        (1, "It would be refused: too few nodes remain\n")
    );
}

#[test]
fn orders_are_told_in_the_cluster_s_words() {
    let server = Server::start(|request| {
        let message = request.lines().next().unwrap_or_default().to_string()
            + " "
            + request.lines().last().unwrap_or_default();
        json(&Done {
            message,
            ..Done::default()
        })
    });
    let said = |words: &[&str]| {
        let (code, out, err) = ran(&server.address, words);
        assert_eq!((code, err.as_str()), (0, ""), "{words:?}");
        out
    };
    assert_eq!(said(&["rebalance"]), "POST /v1/rebalance HTTP/1.1 {}\n");
    assert_eq!(
        said(&["shard", "transfer", "7", "b2"]),
        "POST /v1/shards/7/transfer HTTP/1.1 {\"to\":\"b2\"}\n"
    );
    assert_eq!(
        said(&["node", "undrain", "b2"]),
        "POST /v1/nodes/b2/undrain HTTP/1.1 {}\n"
    );
}

#[test]
fn nothing_is_recovered_without_consent() {
    let server = Server::start(|request| {
        json(&RecoverView {
            done: request.ends_with("{\"accept_data_loss\":true,\"lost\":[\"b2\"]}"),
            lost: vec![id("b2")],
            ..RecoverView::default()
        })
    });
    let (code, out, err) = ran(&server.address, &["recover", "--lost", "b2"]);
    assert_eq!(code, 2);
    assert!(
        out.starts_with("What would be done to go on without b2000000:\n"),
        "{out}"
    );
    assert!(
        err.contains("nothing was done") && err.contains("--accept-data-loss"),
        "{err}"
    );
    let consent = ["recover", "--lost", "b2", "--accept-data-loss"];
    let (code, out, err) = ran(&server.address, &consent);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.starts_with("The cluster goes on without b2000000.\n"),
        "{out}"
    );
    let failing = Server::fixed(
        409,
        &refused(Refusal::Conflict, "node b2 answers: it is not lost"),
    );
    let (code, out, err) = ran(&failing.address, &["recover", "--lost", "b2"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.contains("it is not lost") && err.contains("may be lost by it"),
        "{err}"
    );
    assert_eq!(ran(&failing.address, &consent).0, 1);
}

#[test]
fn a_password_on_the_command_line_is_warned_of() {
    let server = Server::start(|_| json(&cluster()));
    let (code, _, err) = ran(&server.address, &["status", "-a", "secret"]);
    assert_eq!(code, 0);
    assert!(
        err.starts_with("Warning: ") && err.contains("--password-file") && !err.contains("secret"),
        "{err}"
    );
}

/// Whoever had mistyped the password was told so again and again, and a script that waited for the end waited for good.
#[test]
fn watching_bears_a_silence_and_ends_with_a_refusal() {
    let asked = AtomicU32::new(0);
    let server = Server::start(move |_| match asked.fetch_add(1, Relaxed) {
        0 => json(&cluster()),
        1 => reply(500, "a proxy"),
        _ => reply(401, "{}"),
    });
    let (tell, told) = std::sync::mpsc::channel();
    let words = ["status", "--watch", "1"];
    std::thread::spawn(move || tell.send(ran(&server.address, &words)));
    let ended = told.recv_timeout(Duration::from_secs(30));
    let (code, out, err) = ended.expect("it ends");
    assert_eq!(code, 1, "{err}");
    assert_eq!(out.matches("3 nodes").count(), 1, "{out}");
    let lines: Vec<&str> = err.lines().collect();
    assert!(lines[0].contains("HTTP status 500"), "{err}");
    assert!(lines[1].starts_with("ringfort: ") && lines[1].contains("asks for a password"));
    assert_eq!(lines.len(), 2, "{err}");
}

/// A cluster in which node a1 gives away a copy with each look, once it is told to.
struct Shrinking {
    looks: AtomicU32,
}

impl Shrinking {
    fn node(&self) -> NodeView {
        let looks = self.looks.load(Relaxed);
        let left = 3u32.saturating_sub(looks);
        let state = match (looks, left) {
            (0, _) => NodeState::Up,
            (_, 0) => NodeState::Drained,
            _ => NodeState::Draining,
        };
        NodeView {
            id: id("a1"),
            state,
            leads: left / 2,
            holds: left,
            needed_by: left,
            ..cluster().nodes[2].clone()
        }
    }

    fn answer(&self, request: &str) -> Vec<u8> {
        let line = request.lines().next().unwrap_or_default();
        let gone = self.looks.load(Relaxed) > 3;
        match line.rsplit_once(' ').map_or("", |(line, _)| line) {
            "GET /v1/nodes/a1" => json(&self.node()),
            line if line == format!("GET /v1/plan/remove/{}?force=false", id("a1")) => {
                json(&PlanView {
                    copies: 3,
                    copies_percent: 1.5,
                    bytes: 3 << 20,
                    seconds: 1,
                    ..PlanView::default()
                })
            }
            line if line == format!("POST /v1/nodes/{}/drain", id("a1")) => json(&Done::default()),
            "GET /v1/cluster" => {
                self.looks.fetch_add(1, Relaxed);
                let mut view = cluster();
                view.nodes[2] = self.node();
                json(&view)
            }
            line if line == format!("DELETE /v1/nodes/{}", id("a1")) && !gone => reply(
                409,
                &refused(Refusal::Conflict, "the meta group still counts on it"),
            ),
            line if line == format!("DELETE /v1/nodes/{}", id("a1")) => json(&Done {
                message: "node a1 is forgotten".into(),
                ..Done::default()
            }),
            _ => reply(404, &refused(Refusal::NotFound, line)),
        }
    }
}

#[test]
fn a_node_is_removed_once_it_holds_nothing() {
    let cluster = Shrinking {
        looks: AtomicU32::new(0),
    };
    let server = Server::start(move |request| cluster.answer(request));
    let (code, out, err) = ran(&server.address, &["node", "remove", "a1"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        out,
        "Node a1000000 (10.0.0.9:6379) gives everything away: 3 copies are made anew (1.5 % of all, 3.0 MiB); 1 s or more.\n\
         node a1 is forgotten\n"
    );
    let lines: Vec<&str> = err
        .lines()
        .map(|line| line.split(';').next().unwrap_or_default())
        .collect();
    assert_eq!(
        lines,
        [
            "1 leader, 2 of 2 copies left",
            "1 of 2 copies left",
            "nothing left",
            "the meta group still counts on it",
        ]
    );
}

#[test]
fn a_removal_that_was_done_before_is_done() {
    let server = Server::start(|request| match request.starts_with("DELETE /v1/nodes/a1") {
        true => json(&Done {
            message: "it was removed before".into(),
            ..Done::default()
        }),
        false => reply(404, &refused(Refusal::NotFound, "there is no such node")),
    });
    let (code, out, _) = ran(&server.address, &["node", "remove", &id("a1")]);
    assert_eq!((code, out.as_str()), (0, "it was removed before\n"));
    // It is shown by the beginning of its id, and repeated by that.
    assert_eq!(ran(&server.address, &["node", "remove", "a100"]).0, 0);
    assert_eq!(
        ran(&server.address, &["node", "remove", "a1.example:1"]).0,
        1
    );
    assert_eq!(ran(&server.address, &["node", "drain", &id("a1")]).0, 1);
}

#[test]
fn a_removal_is_refused_with_the_cluster_s_reason_before_anything_moves() {
    let server = Server::start(|request| match request.starts_with("GET /v1/plan/") {
        true => json(&PlanView {
            refused: Some("two nodes are too few for 3 copies; --force".into()),
            ..PlanView::default()
        }),
        false => json(&cluster().nodes[2]),
    });
    let (code, out, err) = ran(&server.address, &["node", "remove", "a1"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(
        err,
        "ringfort: two nodes are too few for 3 copies; --force\n"
    );
    assert!(!server
        .seen()
        .iter()
        .any(|request| request.starts_with("POST")));
}

#[test]
fn a_removal_that_takes_too_long_says_that_it_goes_on() {
    let server = Server::start(|request| match request {
        request if request.starts_with("GET /v1/cluster") => {
            let mut view = cluster();
            view.nodes[2].state = NodeState::Draining;
            json(&view)
        }
        request if request.starts_with("POST") => json(&Done::default()),
        _ => json(&NodeView {
            state: NodeState::Draining,
            ..cluster().nodes[2].clone()
        }),
    });
    let (code, out, err) = ran(
        &server.address,
        &["node", "remove", "a1", "--timeout", "1s"],
    );
    assert_eq!(code, 4);
    assert!(out.contains("is being drained already"), "{out}");
    assert!(
        err.contains("`ringfort node undrain a1000000` takes it back"),
        "{err}"
    );
    let (code, out, _) = ran(&server.address, &["node", "drain", "a1", "--no-wait"]);
    assert_eq!(code, 0);
    assert!(out.contains("ringfort status"), "{out}");
}

/// A reader that has gone away.
struct Closed;

impl std::io::Write for Closed {
    fn write(&mut self, _bytes: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_hides_neither_what_is_wrong_nor_that_nothing_was_done() {
    let well = Server::fixed(200, &serde_json::to_string(&cluster()).unwrap());
    let mut ill = cluster();
    ill.shards_short = 1;
    let ill = Server::fixed(200, &serde_json::to_string(&ill).unwrap());
    let node = json(&cluster().nodes[2]);
    let plan = json(&PlanView::default());
    let nodes = Server::start(move |request| match request.starts_with("GET /v1/plan/") {
        true => plan.clone(),
        false => node.clone(),
    });
    for (server, words, expected) in [
        (&well, &["status"][..], 0),
        (&ill, &["status", "--check"], 1),
        (&nodes, &["node", "remove", "a1"], 4),
        (&nodes, &["node", "drain", "a1"], 4),
    ] {
        let (mut out, mut err) = (Closed, Vec::new());
        let code = run_on(
            &operation(&server.address, words),
            &mut Terminal::new(&mut out, &mut err),
        );
        assert_eq!(
            code,
            expected,
            "{words:?}: {}",
            String::from_utf8_lossy(&err)
        );
    }
    let seen = nodes.seen();
    assert!(
        !seen.iter().any(|request| request.contains("/drain")),
        "{seen:?}"
    );
}
