//! Everyday operations through redis-rs' cluster client. Ends with a panic at the first reply that is not what a Redis
//! Cluster would answer.

use redis::cluster::{ClusterClient, ClusterConnection};
use redis::{Commands, RedisResult};

pub fn run(port: &str, password: &str) {
    let url = format!("redis://:{password}@127.0.0.1:{port}/");
    let client = ClusterClient::new(vec![url]).expect("a client");
    let mut connection = client.get_connection().expect("a connection");
    let () = redis::cmd("FLUSHALL")
        .query(&mut connection)
        .expect("FLUSHALL");
    keys(&mut connection);
    pipelines(&mut connection);
    errors(&mut connection);
    println!("redis-rs cluster: ok");
}

fn keys(connection: &mut ClusterConnection) {
    for number in 0..1000 {
        let () = connection.set(format!("key:{number}"), number).unwrap();
    }
    for number in 0..1000 {
        let found: i64 = connection.get(format!("key:{number}")).unwrap();
        assert_eq!(found, number);
    }
    assert_eq!(connection.incr::<_, _, i64>("counter", 42).unwrap(), 42);
    assert_eq!(connection.rpush::<_, _, i64>("list", &["a", "b"]).unwrap(), 2);
    let () = connection.mset(&[("{tag}a", 1), ("{tag}b", 2)]).unwrap();
    let both: Vec<i64> = connection.mget(&["{tag}a", "{tag}b"]).unwrap();
    assert_eq!(both, [1, 2]);
    // Split by the client, a part for each slot.
    let spread: Vec<Option<i64>> = connection.mget(&["key:1", "missing", "key:999"]).unwrap();
    assert_eq!(spread, [Some(1), None, Some(999)]);
}

fn pipelines(connection: &mut ClusterConnection) {
    let mut pipeline = redis::cluster::cluster_pipe();
    for number in 0..500 {
        pipeline.set(format!("pipe:{number}"), number).ignore();
    }
    for number in 0..500 {
        pipeline.get(format!("pipe:{number}"));
    }
    let found: Vec<i64> = pipeline.query(connection).unwrap();
    assert_eq!(found, (0..500).collect::<Vec<_>>());
}

fn errors(connection: &mut ClusterConnection) {
    let refused: RedisResult<()> = connection.rename("key:1", "key:2");
    let error = refused.unwrap_err().to_string().to_lowercase();
    assert!(error.contains("slot"), "{error}");
    let refused: RedisResult<i64> = connection.llen("counter");
    assert_eq!(refused.unwrap_err().code(), Some("WRONGTYPE"));
}
