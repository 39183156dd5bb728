//! The client against a small HTTP server that behaves, misbehaves, or is not there.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::testing::{cluster, json, reply, Server};
use super::*;
use crate::admin::api::{ClusterView, Done};

const HASTE: Patience = Patience {
    connect: Duration::from_millis(300),
    question: Duration::from_millis(500),
    order: Duration::from_millis(500),
    election: Duration::ZERO,
};

fn target(addresses: &[&str]) -> Target {
    Target {
        addresses: addresses
            .iter()
            .map(|address| address.to_string())
            .collect(),
        password: None,
        is_password_shown: false,
    }
}

fn client(addresses: &[&str]) -> Client {
    Client::new(&target(addresses), HASTE)
}

fn asked(server: &Server) -> Failure {
    client(&[&server.address])
        .get::<ClusterView>("/v1/cluster")
        .unwrap_err()
}

fn ordered(server: &Server) -> Failure {
    client(&[&server.address])
        .post::<Done>("/v1/rebalance", &json!({}))
        .unwrap_err()
}

fn error(kind: &str, reason: &str) -> String {
    json!({ "kind": kind, "reason": reason }).to_string()
}

/// An address where nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

#[test]
fn an_answer_comes_as_value_and_as_it_was_sent() {
    let server = Server::start(|_| json(&cluster()));
    let answer = client(&[&server.address])
        .get::<ClusterView>("/v1/cluster")
        .unwrap();
    assert_eq!(answer.value, cluster());
    assert_eq!(answer.body, serde_json::to_string(&cluster()).unwrap());
    let request = server.seen().remove(0);
    assert!(
        request.starts_with("GET /v1/cluster HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        !request.to_lowercase().contains("authorization"),
        "{request}"
    );
}

#[test]
fn orders_are_json_and_carry_the_password() {
    let server = Server::start(|_| json(&Done::default()));
    let mut target = target(&[&server.address]);
    target.password = Some(b"se:cr\xffet".to_vec());
    let client = Client::new(&target, HASTE);
    client
        .post::<Done>("/v1/nodes/a/drain", &json!({ "force": true }))
        .unwrap();
    client.delete::<Done>("/v1/nodes/a").unwrap();
    let seen = server.seen();
    let post = seen[0].to_lowercase();
    assert!(post.starts_with("post /v1/nodes/a/drain "), "{post}");
    assert!(
        post.contains("content-type: application/json\r\n")
            && post.ends_with("\r\n\r\n{\"force\":true}"),
        "{post}"
    );
    assert!(
        seen[0].contains("Basic ZGVmYXVsdDpzZTpjcv9ldA==\r\n"),
        "{}",
        seen[0]
    );
    assert!(
        seen[1].starts_with("DELETE /v1/nodes/a ") && seen[1].contains("Basic "),
        "{}",
        seen[1]
    );
}

#[test]
fn a_node_s_word_decides_the_exit_code() {
    let cases = [
        (404, "not_found", 1),
        (400, "invalid", 1),
        (409, "conflict", 1),
        (503, "unavailable", 3),
        (504, "unknown", 4),
    ];
    for (status, kind, code) in cases {
        let server = Server::fixed(status, &error(kind, "because\x1b[31m of this"));
        let failure = asked(&server);
        assert_eq!((kind, failure.exit_code()), (kind, code));
        assert_eq!(failure.to_string(), "because?[31m of this");
        assert_eq!(ordered(&server).exit_code(), code, "{kind}");
    }
}

#[test]
fn a_password_that_is_missing_or_wrong_is_named_as_such() {
    let server = Server::fixed(401, &error("invalid", "no"));
    let failure = asked(&server);
    assert_eq!(failure.exit_code(), 1);
    assert!(failure.to_string().contains("--password-file"), "{failure}");
    let mut target = target(&[&server.address]);
    target.password = Some(b"x".to_vec());
    let failure = Client::new(&target, HASTE)
        .get::<ClusterView>("/")
        .unwrap_err();
    assert!(
        failure.to_string().contains("does not take this password"),
        "{failure}"
    );
    let failure = asked(&Server::fixed(403, "loopback alone\nmore"));
    assert_eq!(failure.exit_code(), 1);
    assert!(
        failure.to_string().ends_with("refuses: loopback alone"),
        "{failure}"
    );
}

#[test]
fn the_next_address_is_asked_when_one_cannot_be_reached() {
    let server = Server::start(|_| json(&cluster()));
    let elsewhere = Server::fixed(404, "<html>not here</html>");
    let (gone, node) = (nobody(), server.address.as_str());
    let client = client(&[&gone, "no-such-host.invalid:1", &elsewhere.address, node]);
    for _ in 0..3 {
        client.get::<ClusterView>("/v1/cluster").unwrap();
    }
    // The one that answered is asked first from then on.
    assert_eq!((elsewhere.seen().len(), server.seen().len()), (1, 3));
    let failure = self::client(&[&gone, &elsewhere.address])
        .get::<ClusterView>("/v1/cluster")
        .unwrap_err();
    let text = failure.to_string();
    assert_eq!(failure.exit_code(), 3);
    assert!(
        text.contains(&format!("{gone}: nobody listens there\n")),
        "{text}"
    );
    assert!(
        text.contains("HTTP status 404") && text.contains("RINGFORT_HTTP"),
        "{text}"
    );
}

#[test]
fn an_order_is_sent_on_only_where_it_certainly_was_not_taken() {
    let deaf = Server::start(|_| Vec::new());
    let server = Server::start(|_| json(&Done::default()));
    let client = client(&[&nobody(), &deaf.address, &server.address]);
    let failure = client
        .post::<Done>("/v1/rebalance", &json!({}))
        .unwrap_err();
    assert_eq!(failure.exit_code(), 4);
    assert!(
        failure.to_string().contains("may have been done or not"),
        "{failure}"
    );
    assert_eq!(server.seen().len(), 0);
    client.get::<Done>("/").unwrap();
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_cluster_without_a_leader_is_waited_for() {
    let times = AtomicUsize::new(0);
    let server = Server::start(move |_| match times.fetch_add(1, Relaxed) {
        0 => reply(503, "joining"),
        1 => reply(503, &error("unavailable", "nobody leads")),
        _ => json(&cluster()),
    });
    let patience = Patience {
        election: Duration::from_secs(30),
        ..HASTE
    };
    let client = Client::new(&target(&[&server.address]), patience);
    client.get::<ClusterView>("/v1/cluster").unwrap();
    assert_eq!(server.seen().len(), 3);
    let failure = asked(&Server::fixed(503, "joining\nmore"));
    assert!(
        failure.to_string().ends_with("is not ready: joining"),
        "{failure}"
    );
    assert_eq!(failure.exit_code(), 3);
}

#[test]
fn garbage_is_no_answer_and_no_reason_to_panic() {
    let deep = "[".repeat(100_000);
    let garbage: [Vec<u8>; 9] = [
        reply(200, "<html>"),
        reply(200, ""),
        reply(200, "[{}]"),
        reply(200, &deep),
        reply(500, "oops"),
        reply(302, ""),
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Type: \xff\xfe\r\nContent-Length: 2\r\n\r\n\xff\xfe".to_vec(),
    ];
    for answer in garbage {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        let server = Server::start(move |_| answer.clone());
        let failure = asked(&server);
        assert_eq!(failure.exit_code(), 3, "{shown}: {failure}");
        let code = ordered(&server).exit_code();
        // A redirection says that it was not done here.
        assert_eq!(code, if shown.contains("302") { 3 } else { 4 }, "{shown}");
    }
}

#[test]
fn too_large_answers_are_not_read_to_their_end() {
    let large = Server::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\nConnection: close\r\n\r\n\"";
        let mut answer = head.as_bytes().to_vec();
        answer.resize(90_000_000, b'x');
        answer
    });
    let patience = Patience {
        question: Duration::from_secs(60),
        ..HASTE
    };
    let client = Client::new(&target(&[&large.address]), patience);
    let failure = client.get::<ClusterView>("/v1/cluster").unwrap_err();
    assert!(failure.to_string().contains("too large"), "{failure}");
    let heads = Server::start(|_| {
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000)).into_bytes()
    });
    assert_eq!(asked(&heads).exit_code(), 3);
}

#[test]
fn slow_answers_are_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
            open.push(stream);
        }
    });
    let began = Instant::now();
    let failure = client(&[&address])
        .get::<ClusterView>("/v1/cluster")
        .unwrap_err();
    assert_eq!(failure.exit_code(), 3);
    assert!(
        failure.to_string().contains("no answer in time"),
        "{failure}"
    );
    let failure = client(&[&address])
        .post::<Done>("/v1/rebalance", &json!({}))
        .unwrap_err();
    assert_eq!(failure.exit_code(), 4);
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}
