//! redis-rs against three nodes: blocking and asynchronous, plain and cluster-aware, one after the other command. The same steps as
//! three_nodes/common.py; what it prints is read by three_nodes.py. Ends with a panic at the first reply that is not what Redis would answer.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClient, ClusterConnection};
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{
    cluster_async, cmd, pipe, Client, Cmd, Connection, FromRedisValue, Pipeline, RedisResult, Value,
};
use tokio::runtime::{Builder, Runtime};

const BIG_BYTES: usize = 4 << 20;
const PIPELINED: usize = 300;
const RETRY: Duration = Duration::from_millis(20);
/// A node that sleeps must not hold a client up for long.
const ANSWER: Duration = Duration::from_secs(3);

/// A client, whatever its kind.
trait Link {
    fn ask(&mut self, command: &Cmd) -> RedisResult<Value>;
    fn pipeline(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>>;
    /// SCAN begins anew on each of these.
    fn nodes(&mut self) -> Vec<Option<RoutingInfo>> {
        vec![None]
    }
    fn ask_node(&mut self, command: &Cmd, _: &Option<RoutingInfo>) -> RedisResult<Value> {
        self.ask(command)
    }

    fn get<T: FromRedisValue>(&mut self, key: &str) -> RedisResult<T> {
        Ok(redis::from_redis_value(self.ask(cmd("GET").arg(key))?)?)
    }
}

/// A blocking connection, opened anew by its client once it is broken.
struct Blocking {
    client: Client,
    connection: Option<Connection>,
}

impl Blocking {
    fn with<T>(&mut self, act: impl FnOnce(&mut Connection) -> RedisResult<T>) -> RedisResult<T> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = self.client.get_connection_with_timeout(ANSWER)?;
                connection.set_read_timeout(Some(ANSWER))?;
                connection
            }
        };
        let done = act(&mut connection);
        let is_broken = matches!(&done, Err(error) if error.is_io_error() || error.is_timeout());
        self.connection = (!is_broken).then_some(connection);
        done
    }
}

impl Link for Blocking {
    fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        self.with(|connection| command.query(connection))
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        self.with(|connection| pipeline.query(connection))
    }
}

struct Asynchronous {
    runtime: Runtime,
    manager: ConnectionManager,
}

impl Link for Asynchronous {
    fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        let asked = command.query_async(&mut self.manager);
        self.runtime.block_on(asked)
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let asked = pipeline.query_async(&mut self.manager);
        self.runtime.block_on(asked)
    }
}

impl Link for ClusterConnection {
    fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        command.query(self)
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let mut spread = redis::cluster::cluster_pipe();
        pipeline.cmd_iter().for_each(|command| {
            spread.add_command(command.clone());
        });
        spread.query(self)
    }

    fn nodes(&mut self) -> Vec<Option<RoutingInfo>> {
        masters(self)
    }

    fn ask_node(&mut self, command: &Cmd, node: &Option<RoutingInfo>) -> RedisResult<Value> {
        match node {
            Some(node) => self.route_command(command, node.clone()),
            None => self.ask(command),
        }
    }
}

struct ClusterAsynchronous {
    runtime: Runtime,
    connection: cluster_async::ClusterConnection,
}

impl Link for ClusterAsynchronous {
    fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        let asked = command.query_async(&mut self.connection);
        self.runtime.block_on(asked)
    }

    /// The asynchronous cluster client takes pipelines for one node alone: here one slot's commands.
    fn pipeline(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let asked = pipeline.query_async(&mut self.connection);
        self.runtime.block_on(asked)
    }

    fn nodes(&mut self) -> Vec<Option<RoutingInfo>> {
        masters(self)
    }

    fn ask_node(&mut self, command: &Cmd, node: &Option<RoutingInfo>) -> RedisResult<Value> {
        match node {
            Some(node) => {
                let asked = self.connection.route_command(command.clone(), node.clone());
                self.runtime.block_on(asked)
            }
            None => self.ask(command),
        }
    }
}

/// Every node that CLUSTER SLOTS names.
fn masters(link: &mut impl Link) -> Vec<Option<RoutingInfo>> {
    type Range = (u16, u16, (String, u16, String, Vec<String>));
    let slots = link
        .ask(cmd("CLUSTER").arg("SLOTS"))
        .expect("CLUSTER SLOTS");
    let ranges: Vec<Range> = redis::from_redis_value(slots).expect("one leader for each range");
    let nodes: BTreeSet<(String, u16)> = ranges
        .into_iter()
        .map(|(_, _, (host, port, _, _))| (host, port))
        .collect();
    let by_address = |(host, port)| SingleNodeRoutingInfo::ByAddress { host, port };
    let nodes = nodes.into_iter().map(by_address);
    nodes
        .map(|node| Some(RoutingInfo::SingleNode(node)))
        .collect()
}

/// `kind` is sync, async, cluster or cluster-async.
pub fn run(kind: &str, prefix: &str) {
    let password = crate::variable("PASSWORD");
    let url = |variable| {
        format!(
            "redis://:{password}@127.0.0.1:{}/",
            crate::variable(variable)
        )
    };
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let cluster = || {
        ClusterClient::builder(vec![url("CLUSTER_PORT")])
            .connection_timeout(ANSWER)
            .response_timeout(ANSWER)
            // By default it sleeps for more than a second before the first attempt, and twice as long before each further one.
            .min_retry_wait(20)
            .max_retry_wait(200)
            .build()
            .unwrap()
    };
    match kind {
        "sync" => {
            let client = Client::open(url("PORT")).unwrap();
            let connection = None;
            all(Blocking { client, connection }, prefix, true);
        }
        "async" => {
            let runtime = runtime();
            let client = Client::open(url("PORT")).unwrap();
            let config = ConnectionManagerConfig::new().set_response_timeout(Some(ANSWER));
            let manager = ConnectionManager::new_with_config(client, config);
            let manager = runtime.block_on(manager).unwrap();
            all(Asynchronous { runtime, manager }, prefix, true);
        }
        "cluster" => all(cluster().get_connection().unwrap(), prefix, true),
        "cluster-async" => {
            let runtime = runtime();
            let client = cluster();
            let connection = runtime.block_on(client.get_async_connection()).unwrap();
            all(
                ClusterAsynchronous {
                    runtime,
                    connection,
                },
                prefix,
                false,
            );
        }
        other => panic!("no client {other}"),
    }
}

fn all(mut link: impl Link, prefix: &str, spreads_pipelines: bool) {
    everyday(&mut link, prefix, spreads_pipelines);
    follow(&mut link, prefix);
}

fn everyday(link: &mut impl Link, prefix: &str, spreads_pipelines: bool) {
    let mut written = BTreeSet::new();
    let mut key = |name: String| {
        let key = format!("{prefix}:{name}");
        written.insert(key.clone());
        key
    };
    for number in 0..200 {
        link.ask(cmd("SET").arg(key(number.to_string())).arg(number))
            .unwrap();
    }
    for number in 0..200 {
        assert_eq!(
            link.get::<u32>(&format!("{prefix}:{number}")).unwrap(),
            number
        );
    }
    let missing = format!("{prefix}:missing");
    assert_eq!(link.get::<Option<u32>>(&missing).unwrap(), None);
    for tag in [format!("{{{prefix}}}"), String::new()] {
        if tag.is_empty() && !spreads_pipelines {
            continue;
        }
        let names = (0..PIPELINED).map(|number| key(format!("{tag}pipe:{number}")));
        let names: Vec<String> = names.collect();
        let mut pipeline = pipe();
        for name in &names {
            pipeline.cmd("SET").arg(name).arg(format!("{name}!"));
        }
        for name in &names {
            pipeline.cmd("GET").arg(name);
        }
        let replies = link.pipeline(&pipeline).unwrap();
        for (name, reply) in names.iter().zip(&replies[PIPELINED..]) {
            let found: Option<String> = redis::from_redis_value_ref(reply).unwrap();
            assert_eq!(found, Some(format!("{name}!")));
        }
    }
    let [a, b] = ["a", "b"].map(|letter| key(format!("{{{prefix}}}{letter}")));
    link.ask(cmd("MSET").arg(&a).arg("a").arg(&b).arg("b"))
        .unwrap();
    let mut asked = cmd("MGET");
    asked.arg(&a).arg(&b).arg(format!("{{{prefix}}}missing"));
    let found: Vec<Option<String>> = redis::from_redis_value(link.ask(&asked).unwrap()).unwrap();
    assert_eq!(found, [Some("a".into()), Some("b".into()), None]);
    let big: Vec<u8> = (0..BIG_BYTES as u32)
        .map(|number| (number.wrapping_mul(31) >> 3) as u8)
        .collect();
    let name = key("big".into());
    link.ask(cmd("SET").arg(&name).arg(&big)).unwrap();
    assert!(
        link.get::<Vec<u8>>(&name).unwrap() == big,
        "a big value came back changed"
    );
    assert_eq!(scan(link, prefix), written);
}

fn scan(link: &mut impl Link, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for node in link.nodes() {
        let mut cursor = 0u64;
        loop {
            let asked = link.ask_node(cmd("SCAN").arg(cursor).arg("COUNT").arg(500), &node);
            let page: (u64, Vec<String>) = redis::from_redis_value(asked.unwrap()).unwrap();
            let own = page
                .1
                .into_iter()
                .filter(|key| key.starts_with(&format!("{prefix}:")));
            found.extend(own);
            cursor = page.0;
            if cursor == 0 {
                break;
            }
        }
    }
    found
}

fn follow(link: &mut impl Link, prefix: &str) {
    let is_over = Arc::new(AtomicBool::new(false));
    let ends = is_over.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ends.store(true, Ordering::Relaxed);
    });
    println!("following {prefix}");
    let mut number = 0u32;
    while !is_over.load(Ordering::Relaxed) {
        let name = format!("{prefix}:follow:{number}");
        let set = link.ask(cmd("SET").arg(&name).arg(number));
        match set.and_then(|_| link.get::<Option<u32>>(&name)) {
            Ok(found) => assert_eq!(found, Some(number)),
            Err(error) => {
                println!("error {}", error.to_string().replace('\n', " "));
                sleep(RETRY);
                continue;
            }
        }
        println!("ok {number}");
        number += 1;
    }
    let is_lost = |at: &u32| {
        let found = link.get::<Option<u32>>(&format!("{prefix}:follow:{at}"));
        found.unwrap() != Some(*at)
    };
    let lost: Vec<u32> = (0..number).filter(is_lost).collect();
    assert!(lost.is_empty(), "acknowledged writes are missing: {lost:?}");
    println!("right {number}");
}
