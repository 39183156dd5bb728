//! Requests as they come over HTTP, against a node that is made up: what each route asks, which status each answer has, and who is let in.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{json, Value};

use crate::admin::{bind, AdminServer};
use crate::node::operator::{
    Answering, ClusterView, Done, NodeView, PlanView, ShardView, VerifyView,
};
use crate::node::report::{NodeReport, State};
use crate::settings::{Builder, Settings};

use super::*;

/// Answers what fits each question, or what it was told to, and keeps what it was asked.
struct FakeNode {
    settings: Settings,
    asked: Mutex<Vec<OperatorQuestion>>,
    answer: Mutex<Option<OperatorAnswer>>,
    takes: Duration,
}

impl NodeHandle for FakeNode {
    fn state(&self) -> State {
        State::Ready
    }

    fn report(&self) -> NodeReport {
        NodeReport::default()
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn operate(&self, question: OperatorQuestion) -> Answering {
        let told = self.answer.lock().unwrap().clone();
        let answer = told.unwrap_or_else(|| fitting(&question));
        self.asked.lock().unwrap().push(question);
        let takes = self.takes;
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            answer
        })
    }
}

fn fitting(question: &OperatorQuestion) -> OperatorAnswer {
    match question {
        OperatorQuestion::Cluster => OperatorAnswer::Cluster(Box::new(ClusterView {
            shards: 64,
            nodes: vec![NodeView::default(); 2],
            ..ClusterView::default()
        })),
        OperatorQuestion::Node { node } => OperatorAnswer::Node(Box::new(NodeView {
            id: node.clone(),
            ..NodeView::default()
        })),
        OperatorQuestion::Shard { .. } => OperatorAnswer::Shards(vec![ShardView::default()]),
        OperatorQuestion::Shards | OperatorQuestion::ShardsFrom { .. } => {
            OperatorAnswer::Shards(vec![ShardView::default(); 3])
        }
        OperatorQuestion::PlanAdd { .. } | OperatorQuestion::PlanRemove { .. } => {
            OperatorAnswer::Plan(PlanView::default())
        }
        OperatorQuestion::Verify { .. } => OperatorAnswer::Verify(VerifyView::default()),
        _ => OperatorAnswer::Done(Done {
            epoch: 7,
            changed: true,
            message: "done".into(),
        }),
    }
}

struct Served {
    server: AdminServer,
    node: Arc<FakeNode>,
}

fn serve(flags: &[(&str, &str)]) -> Served {
    serve_slowly(flags, Duration::ZERO)
}

fn serve_slowly(flags: &[(&str, &str)], takes: Duration) -> Served {
    let settings = Builder::new().flags(flags.iter().copied()).unwrap().build();
    let node = Arc::new(FakeNode {
        settings,
        asked: Mutex::default(),
        answer: Mutex::default(),
        takes,
    });
    let listeners = bind(&node.settings.startup().http_bind, 0).unwrap();
    let server = AdminServer::start(listeners, node.clone()).unwrap();
    Served { server, node }
}

const JSON: &str = "content-type: application/json";

impl Served {
    /// Status, headers and body.
    fn request(&self, line: &str, headers: &[&str], body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.server.addresses()[0]).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut text = format!("{line} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|header| header.starts_with("host:")) {
            text.push_str("host: localhost\r\n");
        }
        for header in headers {
            text.push_str(&format!("{header}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        // Who is refused early may find the connection closed.
        let _ = stream.write_all(text.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{answer:?}"));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        (status.unwrap(), head.to_string(), body.to_string())
    }

    fn get(&self, path: &str) -> (u16, Value) {
        let (status, _, body) = self.request(&format!("GET {path}"), &[], "");
        (
            status,
            serde_json::from_str(&body).unwrap_or_else(|_| panic!("{body}")),
        )
    }

    fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let (status, _, body) = self.request(&format!("POST {path}"), &[JSON], body);
        (
            status,
            serde_json::from_str(&body).unwrap_or_else(|_| panic!("{body}")),
        )
    }

    fn last_asked(&self) -> OperatorQuestion {
        let mut asked = self.node.asked.lock().unwrap();
        asked.pop().expect("it was asked")
    }

    fn nothing_was_asked(&self) -> bool {
        self.node.asked.lock().unwrap().is_empty()
    }

    fn answers(&self, answer: OperatorAnswer) {
        *self.node.answer.lock().unwrap() = Some(answer);
    }
}

#[test]
fn every_route_asks_its_question_and_shows_the_answer() {
    let served = serve(&[]);
    let node = || "abcd".to_string();
    let (status, cluster) = served.get("/v1/cluster");
    assert_eq!((status, &cluster["shards"]), (200, &json!(64)));
    assert_eq!(served.get("/v1/nodes").1.as_array().unwrap().len(), 2);
    assert_eq!(served.get("/v1/nodes/abcd").1["id"], "abcd");
    assert_eq!(served.last_asked(), OperatorQuestion::Node { node: node() });
    assert_eq!(served.get("/v1/nodes/%5B::1%5D:7").0, 200);
    assert_eq!(
        served.last_asked(),
        OperatorQuestion::Node {
            node: "[::1]:7".into()
        }
    );
    assert_eq!(served.get("/v1/shards").1.as_array().unwrap().len(), 3);
    assert_eq!(served.get("/v1/shards/5").1["shard"], 0);
    assert_eq!(served.last_asked(), OperatorQuestion::Shard { shard: 5 });
    let (status, done) = served.post("/v1/nodes/abcd/drain", r#"{"force": true}"#);
    assert_eq!(
        (status, done),
        (200, json!({"epoch": 7, "changed": true, "message": "done"}))
    );
    assert_eq!(
        served.last_asked(),
        OperatorQuestion::Drain {
            node: node(),
            force: true
        }
    );
    assert_eq!(served.post("/v1/nodes/abcd/drain", "{}").0, 200);
    assert_eq!(
        served.last_asked(),
        OperatorQuestion::Drain {
            node: node(),
            force: false
        }
    );
    assert_eq!(served.post("/v1/nodes/abcd/undrain", "").0, 200);
    assert_eq!(
        served.last_asked(),
        OperatorQuestion::Undrain { node: node() }
    );
    assert_eq!(served.request("DELETE /v1/nodes/abcd", &[], "").0, 200);
    assert_eq!(
        served.last_asked(),
        OperatorQuestion::Remove { node: node() }
    );
    assert_eq!(served.post("/v1/rebalance", "{}").0, 200);
    assert_eq!(served.last_asked(), OperatorQuestion::Rebalance);
    assert_eq!(
        served.post("/v1/shards/3/transfer", r#"{"to": "abcd"}"#).0,
        200
    );
    assert_eq!(
        served.last_asked(),
        OperatorQuestion::Transfer {
            shard: 3,
            to: node()
        }
    );
    assert_eq!(served.post("/v1/verify", r#"{"shard": 2}"#).0, 200);
    assert_eq!(
        served.last_asked(),
        OperatorQuestion::Verify { shard: Some(2) }
    );
    assert_eq!(served.post("/v1/verify", r#"{"shard": null}"#).0, 200);
    assert_eq!(
        served.last_asked(),
        OperatorQuestion::Verify { shard: None }
    );
}

#[test]
fn plans_are_asked_for_by_their_query() {
    let served = serve(&[]);
    let plan = |count, weight, zone: &str| OperatorQuestion::PlanAdd {
        count,
        weight,
        zone: zone.into(),
    };
    assert_eq!(served.get("/v1/plan/add").0, 200);
    assert_eq!(served.last_asked(), plan(1, 100, ""));
    assert_eq!(served.get("/v1/plan/add?count=2&weight=50&zone=a").0, 200);
    assert_eq!(served.last_asked(), plan(2, 50, "a"));
    assert_eq!(served.get("/v1/plan/remove/abcd?force=true").0, 200);
    let remove = OperatorQuestion::PlanRemove {
        node: "abcd".into(),
        force: true,
    };
    assert_eq!(served.last_asked(), remove);
    for wrong in [
        "add?count=0",
        "add?count=x",
        "add?cuont=1",
        "add?zone=%ff",
        "remove/abcd?force=1",
    ] {
        let (status, error) = served.get(&format!("/v1/plan/{wrong}"));
        assert_eq!(
            (status, &error["kind"]),
            (400, &json!("invalid")),
            "{wrong}"
        );
    }
    assert!(served.nothing_was_asked());
}

#[test]
fn each_kind_of_refusal_has_its_status_and_says_why() {
    let served = serve(&[]);
    for (kind, name, status) in [
        (Refusal::NotFound, "not_found", 404),
        (Refusal::Invalid, "invalid", 400),
        (Refusal::Conflict, "conflict", 409),
        (Refusal::Unavailable, "unavailable", 503),
        (Refusal::Unknown, "unknown", 504),
    ] {
        served.answers(OperatorError::new(kind, "this is why").into());
        let expected = json!({"kind": name, "reason": "this is why"});
        assert_eq!(served.get("/v1/cluster"), (status, expected.clone()));
        assert_eq!(
            served.post("/v1/nodes/abcd/drain", "{}"),
            (status, expected)
        );
    }
    // What another version might answer.
    served.answers(OperatorAnswer::Shards(Vec::new()));
    let (status, error) = served.get("/v1/cluster");
    assert!(
        status == 500 && error["reason"].as_str().unwrap().contains("version"),
        "{error}"
    );
}

#[test]
fn a_body_that_makes_no_sense_is_refused_and_nothing_is_asked() {
    let served = serve(&[]);
    for (path, body) in [
        ("/v1/nodes/abcd/drain", "{"),
        ("/v1/nodes/abcd/drain", r#"{"forced": true}"#),
        ("/v1/nodes/abcd/drain", r#"{"force": "yes"}"#),
        ("/v1/nodes/abcd/undrain", r#"{"force": true}"#),
        ("/v1/nodes/abcd/undrain", "[1]"),
        ("/v1/shards/3/transfer", "{}"),
        ("/v1/shards/x/transfer", r#"{"to": "abcd"}"#),
        ("/v1/shards/-1/transfer", r#"{"to": "abcd"}"#),
        ("/v1/verify", r#"{"shard": -1}"#),
        ("/v1/verify", "\u{0}"),
    ] {
        let (status, error) = served.post(path, body);
        assert_eq!(
            (status, &error["kind"]),
            (400, &json!("invalid")),
            "{path} {body}"
        );
    }
    let (status, error) = served.get("/v1/shards/70000000000");
    assert_eq!((status, &error["kind"]), (400, &json!("invalid")));
    assert!(served.nothing_was_asked());
}

#[test]
fn a_body_must_say_that_it_is_json_and_be_short() {
    let served = serve(&[]);
    // What a web page can have a browser send to another site.
    for headers in [
        &[][..],
        &["content-type: text/plain"],
        &["content-type: application/x-www-form-urlencoded"],
    ] {
        let (status, _, body) = served.request("POST /v1/nodes/abcd/undrain", headers, "{}");
        assert!(
            status == 415 && body.contains("application/json"),
            "{status} {body}"
        );
    }
    let long = format!("{{\"to\": \"{}\"}}", "a".repeat(70_000));
    let (status, error) = served.post("/v1/shards/3/transfer", &long);
    assert!(status == 413 && error["kind"] == "invalid", "{error}");
    let charset = "content-type: application/json; charset=utf-8";
    assert_eq!(
        served
            .request("POST /v1/nodes/abcd/undrain", &[charset], "{}")
            .0,
        200
    );
}

#[test]
fn unknown_routes_and_wrong_methods_are_told_as_refusals() {
    let served = serve(&[]);
    for path in ["/v1", "/v1/nothing", "/v2/cluster", "/nothing"] {
        let (status, error) = served.get(path);
        assert_eq!(
            (status, &error["kind"]),
            (404, &json!("not_found")),
            "{path}"
        );
    }
    for line in [
        "POST /v1/cluster",
        "GET /v1/rebalance",
        "PUT /v1/nodes/abcd",
        "POST /metrics",
    ] {
        let (status, _, body) = served.request(line, &[JSON], "{}");
        let error: Value = serde_json::from_str(&body).unwrap_or_default();
        assert_eq!(
            (status, &error["kind"]),
            (405, &json!("invalid")),
            "{line} {body}"
        );
    }
    assert!(served.nothing_was_asked());
}

#[test]
fn where_a_password_is_set_it_must_be_given() {
    let served = serve(&[("requirepass", "s3:cret")]);
    let ask = |headers: &[&str]| served.request("GET /v1/cluster", headers, "");
    for wrong in [
        &[][..],
        &["authorization: Bearer wrong"],
        &["authorization: Bearer"],
        &["authorization: Basic !!!"],
        // default:wrong, bob:s3:cret
        &["authorization: Basic ZGVmYXVsdDp3cm9uZw=="],
        &["authorization: Basic Ym9iOnMzOmNyZXQ="],
    ] {
        let (status, head, body) = ask(wrong);
        assert_eq!(status, 401, "{wrong:?}");
        assert!(head.contains("www-authenticate: Basic"), "{head}");
        assert!(body.contains("password") && !body.contains("s3"), "{body}");
    }
    assert!(served.nothing_was_asked());
    for right in [
        "authorization: Bearer s3:cret",
        // default:s3:cret and :s3:cret
        "authorization: Basic ZGVmYXVsdDpzMzpjcmV0",
        "authorization: basic OnMzOmNyZXQ=",
    ] {
        assert_eq!(ask(&[right]).0, 200, "{right}");
    }
    // Probes and metrics are for whoever reaches the port.
    assert_eq!(served.request("GET /healthz", &[], "").0, 200);
    // A password that is set while the node runs counts at once.
    served
        .node
        .settings
        .set(&[("requirepass", "other")])
        .unwrap();
    assert_eq!(ask(&["authorization: Bearer s3:cret"]).0, 401);
    assert_eq!(ask(&["authorization: Bearer other"]).0, 200);
}

#[test]
fn without_a_password_nobody_asks_by_a_name_that_a_web_page_could_have_given() {
    let served = serve(&[]);
    let ask = |host: &str| {
        served
            .request("GET /v1/cluster", &[&format!("host: {host}")], "")
            .0
    };
    assert_eq!(
        (ask("127.0.0.1:8379"), ask("localhost"), ask("[::1]:8379")),
        (200, 200, 200)
    );
    assert_eq!(ask("page.example"), 403);
    served
        .node
        .settings
        .set(&[("protected-mode", "no")])
        .unwrap();
    assert_eq!(ask("page.example"), 200);
}

/// An address of this machine that is not loopback, if it has one.
fn outer_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing: the kernel only picks the address that it would send from.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn without_a_password_other_machines_are_refused_while_protected_mode_is_on() {
    use axum::http::{HeaderMap, Request};
    let from = |address: &str, flags: &[(&str, &str)]| {
        let settings = Builder::new().flags(flags.iter().copied()).unwrap().build();
        let node: Node = Arc::new(FakeNode {
            settings,
            asked: Mutex::default(),
            answer: Mutex::default(),
            takes: Duration::ZERO,
        });
        let caller = Caller::at(address.parse().unwrap());
        let (mut parts, ()) = Request::builder().body(()).unwrap().into_parts();
        parts.headers = HeaderMap::new();
        parts.extensions.insert(ConnectInfo(caller));
        gate::admit(&node, &parts).map_err(|failure| failure.status().as_u16())
    };
    for here in [
        "127.0.0.1:1",
        "127.9.9.9:1",
        "[::1]:1",
        "[::ffff:127.0.0.1]:1",
    ] {
        assert_eq!(from(here, &[]), Ok(()), "{here}");
    }
    for there in ["10.0.0.1:1", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:1"] {
        assert_eq!(from(there, &[]), Err(403), "{there}");
        assert_eq!(from(there, &[("protected-mode", "no")]), Ok(()), "{there}");
        assert_eq!(from(there, &[("requirepass", "x")]), Err(401), "{there}");
    }
    // The same through a real socket, where this machine has an address that others reach.
    let Some(address) = outer_address() else {
        return;
    };
    let served = serve(&[("http-bind", "0.0.0.0")]);
    let port = served.server.addresses()[0].port();
    let Ok(mut stream) = TcpStream::connect((address, port)) else {
        return;
    };
    stream
        .write_all(b"GET /v1/cluster HTTP/1.0\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 403"), "{answer}");
}

#[test]
fn the_document_and_the_index_name_the_routes() {
    let served = serve(&[]);
    let (status, document) = served.get("/v1/openapi.json");
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    let (status, _, index) = served.request("GET /", &[], "");
    assert_eq!(status, 200);
    for path in document["paths"].as_object().unwrap().keys() {
        // The index names the most of them whole, and those below a node or a shard beside it.
        let name = path.trim_end_matches("/undrain");
        assert!(index.contains(name), "{path} is missing in\n{index}");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_an_answer_does_not_run_out_of_time() {
    use crate::admin::guard::{places, GuardedListener};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let patience = Duration::from_millis(200);
    let node: Node = Arc::new(FakeNode {
        settings: Builder::new().build(),
        asked: Mutex::default(),
        answer: Mutex::default(),
        takes: patience * 5,
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = GuardedListener::new(listener, places(), patience);
    let app = crate::admin::router(node).into_make_service_with_connect_info::<Caller>();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /v1/cluster HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer:?}");
    // One that says nothing does.
    let mut idle = tokio::net::TcpStream::connect(address).await.unwrap();
    assert_eq!(idle.read_to_string(&mut answer).await.unwrap_or(0), 0);
    serving.abort();
}
