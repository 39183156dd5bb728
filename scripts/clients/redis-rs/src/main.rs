//! Everyday operations through redis-rs, over RESP2 and RESP3. Reads PORT and PASSWORD from the environment
//! and ends with a panic at the first reply that is not what Redis would answer. With the argument `cluster` it is the
//! cluster client, on CLUSTER_PORT; with `follow KIND PREFIX` one of three nodes' clients.

mod cluster;
mod follow;

use std::collections::{HashMap, HashSet};
use std::thread::sleep;
use std::time::Duration;

use redis::{Client, Commands, Connection, ErrorKind, RedisResult, ServerErrorKind};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => {}
        ["cluster"] => return cluster::run(&variable("CLUSTER_PORT"), &variable("PASSWORD")),
        ["follow", kind, prefix] => return follow::run(kind, prefix),
        _ => panic!("no such arguments"),
    }
    let port = variable("PORT");
    let password = variable("PASSWORD");
    for protocol in ["resp2", "resp3"] {
        let url = format!("redis://:{password}@127.0.0.1:{port}/0?protocol={protocol}");
        let mut connection = connect(&url).expect("a connection with the password");
        let () = redis::cmd("FLUSHALL")
            .query(&mut connection)
            .expect("FLUSHALL");
        strings(&mut connection);
        binary_and_big_values(&mut connection);
        hashes_lists_and_sets(&mut connection);
        sorted_sets(&mut connection);
        expiry(&mut connection);
        pipelines(&mut connection);
        scanning(&mut connection);
        databases(&url, &mut connection);
        errors(&mut connection);
        println!("redis-rs over {protocol}: ok");
    }
    authentication(&port);
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

fn connect(url: &str) -> RedisResult<Connection> {
    Client::open(url)?.get_connection()
}

fn authentication(port: &str) {
    let wrong = connect(&format!("redis://:wrong@127.0.0.1:{port}/"));
    let error = wrong.err().expect("a wrong password is refused");
    assert!(
        error.to_string().contains("assword") || error.kind() == ErrorKind::AuthenticationFailed,
        "{error}"
    );
    let mut stranger = connect(&format!("redis://127.0.0.1:{port}/")).expect("a bare connection");
    let refused: RedisResult<Option<String>> = stranger.get("key");
    assert_eq!(refused.unwrap_err().code(), Some("NOAUTH"));
}

fn strings(connection: &mut Connection) {
    let () = connection.set("name", "ringfort").unwrap();
    assert_eq!(connection.get::<_, String>("name").unwrap(), "ringfort");
    assert_eq!(
        connection.get::<_, Option<String>>("missing").unwrap(),
        None
    );
    assert_eq!(connection.incr::<_, _, i64>("counter", 41).unwrap(), 41);
    assert_eq!(connection.incr::<_, _, i64>("counter", 1).unwrap(), 42);
    assert_eq!(connection.incr::<_, _, f64>("float", 1.5).unwrap(), 1.5);
    let () = connection.mset(&[("a", 1), ("b", 2), ("c", 3)]).unwrap();
    let many: Vec<Option<i64>> = connection.mget(&["a", "missing", "c"]).unwrap();
    assert_eq!(many, [Some(1), None, Some(3)]);
    assert!(!connection.set_nx::<_, _, bool>("name", "other").unwrap());
    assert_eq!(connection.append::<_, _, i64>("name", "!").unwrap(), 9);
    assert_eq!(connection.del::<_, i64>(&["a", "b", "missing"]).unwrap(), 2);
}

fn binary_and_big_values(connection: &mut Connection) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let () = connection.set(&every_byte, &every_byte).unwrap();
    assert_eq!(
        connection.get::<_, Vec<u8>>(&every_byte).unwrap(),
        every_byte
    );
    let big: Vec<u8> = (0..8_000_000u32)
        .map(|number| (number * 31 >> 3) as u8)
        .collect();
    let () = connection.set("big", &big).unwrap();
    assert_eq!(connection.strlen::<_, usize>("big").unwrap(), big.len());
    assert!(
        connection.get::<_, Vec<u8>>("big").unwrap() == big,
        "8 MB came back changed"
    );
}

fn hashes_lists_and_sets(connection: &mut Connection) {
    let () = connection
        .hset_multiple("hash", &[("x", "1"), ("y", "2")])
        .unwrap();
    let hash: HashMap<String, i64> = connection.hgetall("hash").unwrap();
    assert_eq!(hash, HashMap::from([("x".into(), 1), ("y".into(), 2)]));
    assert_eq!(
        connection.hincr::<_, _, _, i64>("hash", "x", 9).unwrap(),
        10
    );
    assert!(connection.hexists::<_, _, bool>("hash", "y").unwrap());

    let () = connection.rpush("list", &["a", "b", "c"]).unwrap();
    assert_eq!(
        connection.lrange::<_, Vec<String>>("list", 0, -1).unwrap(),
        ["a", "b", "c"]
    );
    assert_eq!(
        connection.lpop::<_, Option<String>>("list", None).unwrap(),
        Some("a".into())
    );
    assert_eq!(connection.llen::<_, i64>("list").unwrap(), 2);

    let () = connection.sadd("set", &["a", "b"]).unwrap();
    let () = connection.sadd("other", &["b", "c"]).unwrap();
    let both: HashSet<String> = connection.sinter(&["set", "other"]).unwrap();
    assert_eq!(both, HashSet::from(["b".to_string()]));
    let all: HashSet<String> = connection.sunion(&["set", "other"]).unwrap();
    assert_eq!(all.len(), 3);
    assert!(connection.sismember::<_, _, bool>("set", "a").unwrap());
}

fn sorted_sets(connection: &mut Connection) {
    let () = connection
        .zadd_multiple("scores", &[(1.5, "one"), (2.0, "two"), (-3.25, "three")])
        .unwrap();
    let ranked: Vec<(String, f64)> = connection.zrange_withscores("scores", 0, -1).unwrap();
    let wanted = [("three", -3.25), ("one", 1.5), ("two", 2.0)];
    assert_eq!(
        ranked,
        wanted.map(|(member, score)| (member.to_string(), score))
    );
    assert_eq!(
        connection
            .zscore::<_, _, Option<f64>>("scores", "one")
            .unwrap(),
        Some(1.5)
    );
    assert_eq!(
        connection
            .zrank::<_, _, Option<i64>>("scores", "two")
            .unwrap(),
        Some(2)
    );
}

fn expiry(connection: &mut Connection) {
    let () = connection.pset_ex("soon", "gone", 30).unwrap();
    let () = connection.set_ex("later", "there", 1000).unwrap();
    sleep(Duration::from_millis(60));
    assert!(!connection.exists::<_, bool>("soon").unwrap());
    let left: i64 = connection.ttl("later").unwrap();
    assert!((990..=1000).contains(&left), "TTL of {left}");
    assert!(connection.persist::<_, bool>("later").unwrap());
}

fn pipelines(connection: &mut Connection) {
    let mut pipeline = redis::pipe();
    for number in 0..1000 {
        pipeline
            .cmd("SET")
            .arg(format!("pipe:{number}"))
            .arg(number)
            .ignore();
    }
    for number in 0..1000 {
        pipeline.cmd("GET").arg(format!("pipe:{number}"));
    }
    let values: Vec<i64> = pipeline.query(connection).unwrap();
    assert_eq!(values, (0..1000).collect::<Vec<_>>());
}

fn scanning(connection: &mut Connection) {
    let keys: HashSet<String> = connection
        .scan_match("pipe:*")
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(keys.len(), 1000);
    let members: HashSet<String> = connection
        .sscan("set")
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(members.len(), 2);
}

fn databases(url: &str, connection: &mut Connection) {
    let mut third = connect(&url.replace("/0?", "/3?")).expect("database 3");
    let () = third.set("only here", 1).unwrap();
    assert!(!connection.exists::<_, bool>("only here").unwrap());
    assert_eq!(redis::cmd("DBSIZE").query::<i64>(&mut third).unwrap(), 1);
}

fn errors(connection: &mut Connection) {
    let wrong_type: RedisResult<i64> = connection.llen("name");
    assert_eq!(wrong_type.unwrap_err().code(), Some("WRONGTYPE"));
    let unknown: RedisResult<i64> = redis::cmd("NOSUCHCOMMAND").query(connection);
    assert_eq!(
        unknown.unwrap_err().kind(),
        ErrorKind::Server(ServerErrorKind::ResponseError)
    );
}
