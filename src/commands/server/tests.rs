//! Server commands against a made-up node.

use super::super::histogram::{bucket_of, Histogram, BUCKETS};
use super::super::host::{Pending, Shutdown};
use super::super::latency::Sample;
use super::super::report::{CommandUse, DatabaseSize, State, WorkerReport};
use super::super::testing::Shard;
use super::super::testing_host::Connection;
use crate::protocol::OwnedArgs;
use crate::store::Timestamp;

fn latency_of(durations: &[u64]) -> Histogram {
    let mut counts = vec![0; BUCKETS];
    durations.iter().for_each(|ns| counts[bucket_of(*ns)] += 1);
    Histogram::from_counts(counts)
}

fn used() -> Connection {
    let connection = Connection::new();
    let mut report = connection.host.report.borrow_mut();
    report.commands = vec![
        CommandUse {
            name: "get".into(),
            calls: 3,
            nanoseconds: 9_000,
            failed: 1,
            latency: latency_of(&[900, 3_000, 3_000]),
            ..CommandUse::default()
        },
        CommandUse {
            name: "config|set".into(),
            rejected: 2,
            ..CommandUse::default()
        },
    ];
    report.errors = vec![("ERR".into(), 4)];
    report.databases = vec![DatabaseSize {
        number: 3,
        keys: 10,
        expires: 2,
        ttl_ms_mean: 1_500,
    }];
    report.workers = vec![WorkerReport::default()];
    report.identity.started = Timestamp(1_699_999_900_000);
    report.identity.listeners = vec!["127.0.0.1:7001".parse().unwrap()];
    report.log.last_snapshot = Timestamp(1_600_000_000_000);
    report.memory.used = 2_078_024;
    drop(report);
    connection
}

fn sections(reply: &str) -> Vec<String> {
    let parts = reply.split("# ").skip(1);
    parts
        .map(|part| part.split(' ').next().unwrap().to_lowercase())
        .collect()
}

#[test]
fn info_shows_the_default_sections_in_redis_order() {
    let mut connection = used();
    let default = [
        "server",
        "clients",
        "memory",
        "persistence",
        "stats",
        "replication",
        "cpu",
        "modules",
        "errorstats",
        "cluster",
        "keyspace",
        "ringfort",
    ];
    assert_eq!(sections(&connection.run("INFO")), default);
    assert_eq!(sections(&connection.run("INFO default")), default);
    let all = sections(&connection.run("INFO all"));
    assert!(all.contains(&"commandstats".into()) && !all.contains(&"modules".into()));
    assert_eq!(sections(&connection.run("INFO everything")).len(), 14);
    assert_eq!(
        sections(&connection.run("INFO keyspace COMMANDSTATS nothing")),
        ["commandstats", "keyspace"]
    );
    assert_eq!(connection.run("INFO nothing"), "$0");
}

#[test]
fn info_is_verbatim_text_in_resp3() {
    let mut connection = used().resp3();
    assert_eq!(
        connection.run("INFO cluster"),
        "=34 txt:# Cluster cluster_enabled:0"
    );
}

#[test]
fn info_fields_follow_the_report() {
    let mut connection = used();
    let text = connection.run("INFO everything");
    for field in [
        "redis_version:7.2.5 ringfort_version:",
        " redis_mode:standalone ",
        " tcp_port:7001 ",
        " uptime_in_seconds:100 ",
        " listener0:name=tcp,bind=127.0.0.1,port=7001 ",
        " used_memory_human:1.98M ",
        " rdb_last_save_time:1600000000 ",
        " aof_enabled:1 ",
        " role:master ",
        " cmdstat_get:calls=3,usec=9,usec_per_call=3.00,rejected_calls=0,failed_calls=1 ",
        " cmdstat_config|set:calls=0,usec=0,usec_per_call=0.00,rejected_calls=2,failed_calls=0 ",
        " errorstat_ERR:count=4 ",
        " db3:keys=10,expires=2,avg_ttl=1500 ",
        " state:ready ",
        " worker0:shards=0,",
    ] {
        assert!(text.contains(field), "{field} is missing in {text}");
    }
    assert!(text.contains("latency_percentiles_usec_get:p50="));
    assert!(text.contains(",p99=") && text.contains(",p99.9="));
    assert!(!text.contains("latency_percentiles_usec_config"));
}

#[test]
fn refused_writes_show_with_their_reason() {
    let mut connection = used();
    connection.host.report.borrow_mut().state = State::WritesRefused("the disk is full".into());
    let text = connection.run("INFO ringfort persistence");
    assert!(text.contains("state:writes-refused state_reason:the disk is full"));
    assert!(text.contains("aof_last_write_status:err"));
}

#[test]
fn settings_are_read_and_changed() {
    let mut connection = Connection::new();
    assert_eq!(
        connection.run("CONFIG GET MaxMemory"),
        "*2 $9 MaxMemory $1 0"
    );
    assert_eq!(connection.run("CONFIG SET maxmemory 1kb timeout 5"), "+OK");
    assert_eq!(
        connection.run("CONFIG GET maxmemory timeou?"),
        "*4 $9 maxmemory $4 1024 $7 timeout $1 5"
    );
    assert_eq!(connection.run("CONFIG GET nothing"), "*0");
    for (line, error) in [
        ("CONFIG SET a", "-ERR wrong number of arguments for 'config|set' command"),
        ("CONFIG SET a b c", "-ERR syntax error"),
        ("CONFIG SET a b", "-ERR Unknown option or number of arguments for CONFIG SET - 'a'"),
        (
            "CONFIG SET port 1",
            "-ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable config",
        ),
        ("CONFIG REWRITE", "-ERR The server is running without a config file"),
        ("CONFIG FOO", "-ERR unknown subcommand 'FOO'. Try CONFIG HELP."),
        ("CONFIG", "-ERR wrong number of arguments for 'config' command"),
    ] {
        assert_eq!(connection.run(line), error);
    }
    assert_eq!(connection.run("CONFIG RESETSTAT"), "+OK");
    assert_eq!(connection.orders(), ["reset statistics"]);
}

#[test]
fn config_get_is_a_map_in_resp3() {
    let mut connection = Connection::new().resp3();
    assert_eq!(connection.run("CONFIG GET hz"), "%1 $2 hz $2 10");
}

#[test]
fn help_names_every_subcommand() {
    let mut connection = Connection::new();
    let help = connection.run("CONFIG HELP");
    assert!(help.starts_with(
        "*11 +CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are: +GET <parameter> [<parameter> ...] "
    ), "{help}");
    assert!(help.ends_with("+HELP +    Print this help."));
}

#[test]
fn commands_are_counted_and_listed() {
    let mut connection = Connection::new();
    let count: usize = connection.run("COMMAND COUNT")[1..].parse().unwrap();
    assert!(connection
        .run("COMMAND LIST")
        .starts_with(&format!("*{count} ")));
    assert!(connection.run("COMMAND").starts_with(&format!("*{count} ")));
    assert_eq!(
        connection.run("COMMAND LIST FILTERBY PATTERN Config|S*"),
        "*1 $10 config|set"
    );
    assert_eq!(connection.run("COMMAND LIST FILTERBY MODULE x"), "*0");
    assert!(connection
        .run("COMMAND LIST FILTERBY ACLCAT connection")
        .contains("client|list"));
    assert_eq!(
        connection.run("COMMAND LIST FILTERBY foo x"),
        "-ERR syntax error"
    );
    assert_eq!(connection.run("COMMAND LIST foo"), "-ERR syntax error");
}

#[test]
fn a_command_is_described_in_ten_fields() {
    let mut connection = Connection::new();
    assert_eq!(
        connection.run("COMMAND INFO get nothing"),
        "*2 *10 $3 get :2 *2 +readonly +fast :1 :1 :1 *3 +@read +@string +@fast *0 *1 \
         *6 $5 flags *2 +RO +access $12 begin_search *4 $4 type $5 index $4 spec *2 $5 index :1 \
         $9 find_keys *4 $4 type $5 range $4 spec *6 $7 lastkey :0 $7 keystep :1 $5 limit :0 *0 $-1"
    );
    let config = connection.run("COMMAND INFO config|set");
    assert!(config
        .starts_with("*1 *10 $10 config|set :-4 *4 +admin +noscript +loading +stale :0 :0 :0 "));
    assert!(connection
        .run("COMMAND INFO config")
        .contains("config|resetstat"));
    assert!(!connection.run("COMMAND INFO debug").contains("debug|sleep"));
}

#[test]
fn a_command_is_documented_with_its_arguments() {
    let mut connection = Connection::new().resp3();
    assert_eq!(
        connection.run("COMMAND DOCS echo nothing"),
        "%1 $4 echo %5 $7 summary $31 Answers with the given message. $5 since $5 1.0.0 \
         $5 group $10 connection $10 complexity $4 O(1) $9 arguments *1 \
         %3 $4 name $7 message $4 type $6 string $12 display_text $7 message"
    );
    let quit = connection.run("COMMAND DOCS quit");
    assert!(
        quit.contains("$9 doc_flags ~1 +deprecated $16 deprecated_since $5 7.2.0 $11 replaced_by")
    );
    let reply = connection.run("COMMAND DOCS client|reply");
    assert!(
        reply.contains("$4 type $10 pure-token $12 display_text $2 on $5 token $2 ON"),
        "{reply}"
    );
    assert!(connection
        .run("COMMAND DOCS config")
        .contains("$11 subcommands %5 $10 config|get"));
}

#[test]
fn keys_are_found_among_arguments() {
    let mut connection = Connection::new();
    assert_eq!(
        connection.run("COMMAND GETKEYS mset a 1 b 2"),
        "*2 $1 a $1 b"
    );
    assert_eq!(connection.run("COMMAND GETKEYS memory usage x"), "*1 $1 x");
    assert_eq!(
        connection.run("COMMAND GETKEYSANDFLAGS get k"),
        "*1 *2 $1 k *2 +RO +access"
    );
    for (line, error) in [
        ("COMMAND GETKEYS foo bar", "-ERR Invalid command specified"),
        (
            "COMMAND GETKEYS ping x",
            "-ERR The command has no key arguments",
        ),
        (
            "COMMAND GETKEYS config get x",
            "-ERR The command has no key arguments",
        ),
        (
            "COMMAND GETKEYS get a b",
            "-ERR Invalid number of arguments specified for command",
        ),
        (
            "COMMAND GETKEYS get",
            "-ERR wrong number of arguments for 'command|getkeys' command",
        ),
    ] {
        assert_eq!(connection.run(line), error);
    }
}

#[test]
fn the_slow_log_is_shown_newest_first() {
    let mut connection = Connection::new();
    for name in ["a", "b"] {
        let args = OwnedArgs::new([name, "x"]);
        let mut log = connection.host.slowlog.lock().unwrap();
        log.record(&args.as_args(), 7, 8, ("1.2.3.4:5", b"me"), 10);
    }
    assert_eq!(connection.run("SLOWLOG LEN"), ":2");
    let newest = "*6 :1 :7 :8 *2 $1 b $1 x $9 1.2.3.4:5 $2 me";
    assert_eq!(connection.run("SLOWLOG GET 1"), format!("*1 {newest}"));
    assert!(connection
        .run("SLOWLOG GET")
        .starts_with(&format!("*2 {newest}")));
    assert!(connection.run("SLOWLOG GET -1").starts_with("*2 "));
    let error = "-ERR count should be greater than or equal to -1";
    assert_eq!(connection.run("SLOWLOG GET -2"), error);
    assert_eq!(connection.run("SLOWLOG GET x"), error);
    assert_eq!(
        connection.run("SLOWLOG get 1 2"),
        "-ERR unknown subcommand or wrong number of arguments for 'get'. Try SLOWLOG HELP."
    );
    assert_eq!(connection.run("SLOWLOG RESET"), "+OK");
    assert_eq!(connection.run("SLOWLOG GET"), "*0");
}

#[test]
fn delays_are_shown_and_forgotten() {
    let mut connection = Connection::new();
    for (at_seconds, duration_ms) in [(1, 20), (2, 10)] {
        let mut log = connection.host.latency.lock().unwrap();
        log.record(
            "command",
            Sample {
                at_seconds,
                duration_ms,
            },
        );
    }
    assert_eq!(
        connection.run("LATENCY LATEST"),
        "*1 *4 $7 command :2 :10 :20"
    );
    assert_eq!(
        connection.run("LATENCY HISTORY command"),
        "*2 *2 :1 :20 *2 :2 :10"
    );
    assert_eq!(connection.run("LATENCY HISTORY nothing"), "*0");
    assert!(connection
        .run("LATENCY GRAPH command")
        .contains("command - high 20 ms, low 10 ms"));
    assert_eq!(
        connection.run("LATENCY GRAPH nothing"),
        "-ERR No samples available for event 'nothing'"
    );
    assert!(connection
        .run("LATENCY DOCTOR")
        .contains("Delays are not watched"));
    assert_eq!(connection.run("LATENCY RESET nothing"), ":0");
    assert_eq!(connection.run("LATENCY RESET"), ":1");
}

#[test]
fn histograms_are_shown_by_command_or_container() {
    let mut connection = used();
    let get = "$3 get *4 $5 calls :3 $14 histogram_usec *4 :1 :1 :4 :3";
    assert_eq!(connection.run("LATENCY HISTOGRAM"), format!("*2 {get}"));
    assert_eq!(
        connection.run("LATENCY HISTOGRAM GET set"),
        format!("*2 {get}")
    );
    assert_eq!(connection.run("LATENCY HISTOGRAM config"), "*0");
}

#[test]
fn memory_is_told_in_figures() {
    let mut connection = used().resp3();
    let stats = connection.run("MEMORY STATS");
    assert!(
        stats.starts_with("%28 $14 peak.allocated :0 $15 total.allocated :2078024 "),
        "{stats}"
    );
    assert!(stats.contains("$4 db.3 %3 $23 overhead.hashtable.main :0"));
    assert!(stats.contains("$10 keys.count :10 $18 keys.bytes-per-key :207802"));
    assert!(stats.contains("$15 peak.percentage ,0"));
    assert_eq!(connection.run("MEMORY PURGE"), "+OK");
    assert_eq!(connection.run("MEMORY MALLOC-STATS"), "=14 txt:allocator\n");
    assert!(connection.run("MEMORY DOCTOR").contains("hardly any data"));
}

#[test]
fn a_key_has_a_size() {
    let mut shard = Shard::new();
    shard.run("SET a 1");
    let bytes: i64 = shard.run("MEMORY USAGE a")[1..].parse().unwrap();
    assert!(bytes > 0);
    assert_eq!(shard.run("MEMORY USAGE a SAMPLES 0"), format!(":{bytes}"));
    assert_eq!(shard.run("MEMORY USAGE nothing"), "$-1");
    for line in [
        "MEMORY USAGE a foo",
        "MEMORY USAGE a SAMPLES",
        "MEMORY USAGE a SAMPLES -1",
    ] {
        assert_eq!(shard.run(line), "-ERR syntax error");
    }
}

#[test]
fn snapshots_are_begun_one_at_a_time() {
    let mut connection = used();
    assert_eq!(
        connection.run("BGSAVE SCHEDULE"),
        "+Background saving started"
    );
    assert_eq!(
        connection.run("BGSAVE"),
        "-ERR Background save already in progress"
    );
    assert_eq!(
        connection.run("BGREWRITEAOF"),
        "-ERR Background append only file rewriting already in progress"
    );
    connection.host.snapshot_running.set(false);
    assert_eq!(
        connection.run("BGREWRITEAOF"),
        "+Background append only file rewriting started"
    );
    assert_eq!(connection.run("BGSAVE foo"), "-ERR syntax error");
    assert_eq!(connection.run("LASTSAVE"), ":1600000000");
    assert_eq!(connection.run("SAVE"), "");
    assert_eq!(connection.session.pending, Some(Pending::Save));
}

#[test]
fn a_shutdown_is_left_to_the_node() {
    let mut connection = Connection::new();
    for line in ["SHUTDOWN foo", "SHUTDOWN SAVE NOSAVE", "SHUTDOWN ABORT NOW"] {
        assert_eq!(connection.run(line), "-ERR syntax error", "{line}");
    }
    assert_eq!(
        connection.run("SHUTDOWN ABORT"),
        "-ERR No shutdown in progress."
    );
    assert_eq!(connection.session.pending, None);
    assert_eq!(connection.run("SHUTDOWN nosave now FORCE"), "");
    assert_eq!(
        connection.session.pending,
        Some(Pending::Shutdown(Shutdown {
            save: Some(false),
            now: true,
            force: true,
        }))
    );
}

#[test]
fn small_questions_have_answers() {
    let mut connection = Connection::new();
    assert_eq!(connection.run("TIME"), "*2 $10 1700000000 $3 123");
    assert_eq!(connection.run("ROLE"), "*3 $6 master :0 *0");
    assert!(connection.run("LOLWUT").contains("Redis ver. 7.2.5\n"));
    assert_eq!(
        connection.run("LOLWUT VERSION x"),
        "-ERR value is not an integer or out of range"
    );
}

#[test]
fn there_is_one_user() {
    let mut connection = Connection::new();
    assert_eq!(connection.run("ACL WHOAMI"), "$7 default");
    assert_eq!(connection.run("ACL USERS"), "*1 $7 default");
    assert!(connection
        .run("ACL CAT")
        .starts_with("*21 $8 keyspace $4 read "));
    assert!(connection
        .run("ACL CAT Connection")
        .contains("$11 client|list"));
    assert_eq!(connection.run("ACL CAT foo"), "-ERR Unknown category 'foo'");
    assert!(!connection.run("ACL CAT admin").contains("debug|"));
}

#[test]
fn debug_orders_reach_the_node() {
    let mut connection = Connection::with_flags(&[("enable-debug-command", "yes")]);
    for line in [
        "DEBUG SLEEP 0.5",
        "DEBUG SLEEP x",
        "DEBUG SLEEP -1",
        "DEBUG SLEEP inf",
        "DEBUG SET-ACTIVE-EXPIRE 0",
        "DEBUG CHANGE-REPL-ID",
        "DEBUG QUICKLIST-PACKED-THRESHOLD 100b",
        "DEBUG LOG hello",
    ] {
        assert_eq!(connection.run(line), "+OK", "{line}");
    }
    let asleep = ["sleep 500ms", "sleep 0ns", "sleep 0ns", "sleep 0ns"];
    assert_eq!(connection.orders()[..4], asleep);
    assert_eq!(
        connection.orders()[4..],
        ["active expire false", "change replication id"]
    );
    assert_eq!(connection.run("DEBUG STRINGMATCH-LEN a* abc"), ":1");
    assert_eq!(connection.run("DEBUG STRINGMATCH-LEN b* abc"), ":0");
    assert_eq!(
        connection.run_args(["DEBUG", "ERROR", "ERR boo"]),
        "-ERR boo"
    );
    assert_eq!(connection.run("DEBUG RELOAD NOSAVE"), "");
    assert_eq!(connection.session.pending, Some(Pending::Reload));
}

#[test]
fn debug_answers_mistakes_in_redis_words() {
    let mut connection = Connection::with_flags(&[("enable-debug-command", "yes")]);
    for (line, error) in [
        (
            "DEBUG foo",
            "-ERR unknown subcommand or wrong number of arguments for 'foo'. Try DEBUG HELP.",
        ),
        (
            "DEBUG jmap",
            "-ERR unknown subcommand or wrong number of arguments for 'jmap'. Try DEBUG HELP.",
        ),
        (
            "debug sleep",
            "-ERR unknown subcommand or wrong number of arguments for 'sleep'. Try DEBUG HELP.",
        ),
        (
            "DEBUG RELOAD foo",
            "-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
        ),
        (
            "DEBUG QUICKLIST-PACKED-THRESHOLD x",
            "-ERR argument must be a memory value bigger than 1 and smaller than 4gb",
        ),
        (
            "DEBUG",
            "-ERR wrong number of arguments for 'debug' command",
        ),
    ] {
        assert_eq!(connection.run(line), error);
    }
}
