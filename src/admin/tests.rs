//! Real HTTP requests against a node that is made up.

use super::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::commands::histogram::Histogram;
use crate::node::operator::{Answering, OperatorError, OperatorQuestion, Refusal};
use crate::node::report::{CommandUse, DatabaseSize, NodeReport, WorkerReport};
use crate::settings::{Builder, Settings};
use crate::store::Timestamp;

struct FakeNode {
    state: Mutex<State>,
    settings: Settings,
}

impl NodeHandle for FakeNode {
    fn state(&self) -> State {
        self.state.lock().unwrap().clone()
    }

    fn report(&self) -> NodeReport {
        let mut report = NodeReport {
            now: Timestamp(20_000),
            state: self.state(),
            commands: vec![CommandUse {
                name: "config|get".into(),
                calls: 3,
                nanoseconds: 4_500_000,
                rejected: 1,
                failed: 2,
                latency: Histogram::from_counts(vec![3]),
            }],
            errors: vec![("ERR".into(), 7)],
            databases: vec![DatabaseSize {
                number: 5,
                keys: 10,
                expires: 4,
                ttl_ms_mean: 1_500,
            }],
            workers: vec![
                WorkerReport::default(),
                WorkerReport {
                    commands_processed: 9,
                    shards_led: 3,
                    shards_learning: 2,
                    ..WorkerReport::default()
                },
            ],
            ..NodeReport::default()
        };
        report.identity.started = Timestamp(5_000);
        report.identity.run_id = "abc".into();
        report.identity.os = "Linux \"x\"".into();
        report.totals.keyspace_hits = 12;
        report.clients.connected = 2;
        report
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn operate(&self, question: OperatorQuestion) -> Answering {
        let error = OperatorError::new(Refusal::Unavailable, format!("{question:?}"));
        Box::pin(std::future::ready(error.into()))
    }
}

fn start(state: State) -> (AdminServer, Arc<FakeNode>) {
    let node = Arc::new(FakeNode {
        state: Mutex::new(state),
        settings: Builder::new().build(),
    });
    let listeners = bind(&node.settings.startup().http_bind, 0).unwrap();
    (AdminServer::start(listeners, node.clone()).unwrap(), node)
}

fn connect(server: &AdminServer) -> TcpStream {
    let stream = TcpStream::connect(server.addresses()[0]).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// Status line, headers and body of one request.
fn request(server: &AdminServer, head: &str) -> String {
    let mut stream = connect(server);
    stream
        .write_all(format!("{head}\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_living_process_is_healthy_whatever_its_state() {
    let (server, _) = start(State::Loading);
    let answer = request(&server, "GET /healthz HTTP/1.1");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("ok\n"));
}

#[test]
fn readiness_follows_the_node_and_names_the_reason() {
    let (server, node) = start(State::Loading);
    let answer = request(&server, "GET /readyz HTTP/1.1");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("loading"));
    *node.state.lock().unwrap() = State::Waiting("waiting for two more nodes".into());
    let answer = request(&server, "GET /readyz HTTP/1.1");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("waiting for two more nodes"));
    *node.state.lock().unwrap() = State::WritesRefused("the disk of /data is full".into());
    let answer = request(&server, "GET /readyz HTTP/1.1");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("the disk of /data is full"));
    *node.state.lock().unwrap() = State::Ready;
    assert!(request(&server, "GET /readyz HTTP/1.1").starts_with("HTTP/1.1 200"));
    *node.state.lock().unwrap() = State::Stopping;
    assert!(request(&server, "GET /readyz HTTP/1.1").starts_with("HTTP/1.1 503"));
}

#[test]
fn metrics_have_the_names_of_redis_exporter() {
    let (server, _) = start(State::Ready);
    let page = request(&server, "GET /metrics HTTP/1.1");
    for line in [
        "content-type: text/plain; version=0.0.4",
        "redis_up 1",
        "redis_uptime_in_seconds 15",
        "redis_connected_clients 2",
        "# TYPE redis_keyspace_hits counter",
        "redis_keyspace_hits_total 12",
        "redis_commands_total{cmd=\"config|get\"} 3",
        "redis_commands_duration_seconds_total{cmd=\"config|get\"} 0.0045",
        "redis_commands_rejected_calls_total{cmd=\"config|get\"} 1",
        "redis_commands_failed_calls_total{cmd=\"config|get\"} 2",
        "redis_commands_latencies_usec_bucket{le=\"+Inf\",cmd=\"config|get\"} 3",
        "redis_errors_total{err=\"ERR\"} 7",
        "redis_db_keys{db=\"db5\"} 10",
        "redis_db_keys_expiring{db=\"db5\"} 4",
        "redis_db_avg_ttl_seconds{db=\"db5\"} 1.5",
        "redis_config_maxclients 10000",
        "os=\"Linux \\\"x\\\"\"",
        "ringfort_ready 1",
        "ringfort_shards_led 3",
        "ringfort_worker_shards_learning{worker=\"1\"} 2",
        "ringfort_worker_commands_processed_total{worker=\"1\"} 9",
        "# EOF",
    ] {
        assert!(page.contains(line), "{line} is missing in\n{page}");
    }
}

#[test]
fn each_metric_is_described_once_and_its_samples_follow() {
    let (server, _) = start(State::Ready);
    let page = request(
        &server,
        "GET /metrics HTTP/1.1\r\naccept: application/openmetrics-text",
    );
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"));
    let mut seen = std::collections::HashSet::new();
    let mut family = String::new();
    for line in body.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap().to_string();
            assert!(seen.insert(family.clone()), "{family} stands twice");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&family), "{line} stands under {family}");
            let value = line.rsplit(' ').next().unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    assert!(seen.len() > 60);
}

#[test]
fn other_paths_and_methods_are_refused() {
    let (server, _) = start(State::Ready);
    assert!(request(&server, "GET /nothing HTTP/1.1").starts_with("HTTP/1.1 404"));
    assert!(request(&server, "DELETE /metrics HTTP/1.1").starts_with("HTTP/1.1 405"));
    assert!(request(&server, "rubbish").starts_with("HTTP/1.1 400"));
}

#[test]
fn a_request_without_end_is_cut_off() {
    let (server, _) = start(State::Ready);
    let mut stream = connect(&server);
    let mut sent = 0;
    let began = Instant::now();
    let cut_off = loop {
        match stream.write(b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n") {
            Ok(n) => sent += n,
            Err(_) => break true,
        }
        if sent > 64 << 20 || began.elapsed() > Duration::from_secs(10) {
            break false;
        }
    };
    assert!(cut_off, "{sent} bytes were taken");
    assert!(request(&server, "GET /healthz HTTP/1.1").starts_with("HTTP/1.1 200"));
}

#[test]
fn idle_connections_take_a_bounded_number_of_places() {
    let (server, _) = start(State::Ready);
    let idle: Vec<TcpStream> = (0..guard::CONNECTIONS_MAX)
        .map(|_| connect(&server))
        .collect();
    let mut refused = connect(&server);
    let mut byte = [0];
    let end = refused.read(&mut byte);
    assert!(!matches!(end, Ok(1..)), "{end:?}");
    drop(idle);
    let began = Instant::now();
    loop {
        let mut stream = connect(&server);
        // The refused connection may already be closed when the request is written.
        let _ = stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        if answer.starts_with("HTTP/1.0 200") {
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "no place came free"
        );
    }
}

#[test]
fn a_dropped_server_frees_its_port() {
    let (server, _) = start(State::Ready);
    let address = server.addresses()[0];
    drop(server);
    assert!(TcpListener::bind(address).is_ok());
}

#[tokio::test]
async fn a_client_that_sends_byte_by_byte_runs_out_of_time() {
    use axum::serve::Listener;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let patience = Duration::from_millis(300);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut guarded = GuardedListener::new(listener, guard::places(), patience);
    let (client, accepted) =
        tokio::join!(tokio::net::TcpStream::connect(address), guarded.accept());
    let (mut client, mut stream) = (client.unwrap(), accepted.0);
    let dribble = tokio::spawn(async move {
        while client.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut byte = [0];
    let mut bytes = 0;
    let error = loop {
        match stream.read_exact(&mut byte).await {
            Ok(_) => bytes += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(bytes > 0);
    drop(stream);
    dribble.await.unwrap();
}
