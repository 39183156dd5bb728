//! The one table of settings. Flags, environment, file, `CONFIG` and help all follow from it.

use super::choices::{DebugCommand, Durability, LogFormat, LogLevel, MaxmemoryPolicy};
use super::kind::Kind;

/// When a setting may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read once at start.
    Startup,
    /// Read once at start, and an operator must say it anew each time: never from a file or the environment.
    FlagOnly,
    /// Also by `CONFIG SET` while running.
    Live,
    /// Shown because clients ask for it; the answer never changes.
    Fixed,
}

/// The heading under which help lists a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Network,
    Cluster,
    Data,
    Memory,
    Clients,
    Security,
    Encodings,
    Watching,
    Compatibility,
}

impl Group {
    pub fn heading(self) -> &'static str {
        match self {
            Group::Network => "Network",
            Group::Cluster => "Cluster",
            Group::Data => "Data and durability",
            Group::Memory => "Memory and eviction",
            Group::Clients => "Clients",
            Group::Security => "Security",
            Group::Encodings => "Compact encodings",
            Group::Watching => "Logs and measurements",
            Group::Compatibility => "Compatibility",
        }
    }
}

/// One setting.
pub struct Row {
    pub id: Id,
    /// As in files, flags and `CONFIG`.
    pub name: &'static str,
    /// An older name that Redis still knows.
    pub alias: Option<&'static str>,
    pub kind: Kind,
    pub default: &'static str,
    pub scope: Scope,
    pub group: Group,
    pub doc: &'static str,
}

impl Row {
    /// Whether `CONFIG SET` may change it.
    pub fn is_mutable(&self) -> bool {
        self.scope == Scope::Live
    }

    /// Whether an operator can set it at all.
    pub fn is_operable(&self) -> bool {
        self.scope != Scope::Fixed
    }

    /// The environment variable of this setting.
    pub fn variable(&self) -> String {
        format!("RINGFORT_{}", self.name.replace('-', "_").to_uppercase())
    }
}

/// The row of a name or alias, in any case of letters.
pub fn find(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| {
        row.name.eq_ignore_ascii_case(name)
            || row
                .alias
                .is_some_and(|alias| alias.eq_ignore_ascii_case(name))
    })
}

macro_rules! settings {
    ($($id:ident: $name:literal $(or $alias:literal)?, $kind:expr, $default:literal, $scope:ident, $group:ident, $doc:literal;)+) => {
        /// A setting, as the code names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Id { $($id),+ }

        /// All settings, in the order of help; `TABLE[id as usize]` is the row of `id`.
        pub static TABLE: &[Row] = &[$(Row {
            id: Id::$id,
            name: $name,
            alias: settings!(@alias $($alias)?),
            kind: $kind,
            default: $default,
            scope: Scope::$scope,
            group: Group::$group,
            doc: $doc,
        }),+];
    };
    (@alias) => { None };
    (@alias $alias:literal) => { Some($alias) };
}

const fn int(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

const fn bytes(min: i64, max: i64) -> Kind {
    Kind::Bytes { min, max }
}

const fn seconds(min: i64, max: i64) -> Kind {
    Kind::Seconds { min, max }
}

const fn word(bytes_max: usize) -> Kind {
    Kind::Word { bytes_max }
}

/// As long as what the cluster remembers of a node may be.
const HOST_BYTES_MAX: usize = 255;
const ZONE_BYTES_MAX: usize = 64;

const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;
const ANY: i64 = i64::MAX;
const I32: i64 = i32::MAX as i64;
const U32: i64 = u32::MAX as i64;

settings! {
    Port: "port", int(0, 65535), "6379", Startup, Network, "Port for clients; 0 listens on none.";
    Bind: "bind", Kind::Addresses, "127.0.0.1", Startup, Network, "Addresses to listen on for clients.";
    HttpPort: "http-port", int(0, 65535), "8379", Startup, Network, "Port for health checks and metrics; 0 turns it off.";
    HttpBind: "http-bind", Kind::Addresses, "127.0.0.1", Startup, Network, "Addresses to listen on for health checks and metrics.";
    TcpBacklog: "tcp-backlog", int(1, I32), "511", Startup, Network, "Connections that may wait to be accepted.";
    TcpKeepalive: "tcp-keepalive", int(0, I32), "300", Live, Network, "Seconds of silence before a connection is probed; 0: never.";
    Threads: "threads", int(0, 1024), "0", Startup, Network, "Worker threads; 0: one per core.";

    ClusterPort: "cluster-port", int(0, 65535), "7379", Startup, Cluster, "Port for cluster-aware clients; 0: none. Unless it is given, 1000 above port.";
    PeerPort: "peer-port", int(1, 65535), "16379", Startup, Cluster, "Port for other nodes. Unless it is given, 10000 above port.";
    PeerBind: "peer-bind", Kind::Addresses, "127.0.0.1", Startup, Cluster, "Addresses to listen on for other nodes.";
    AnnounceHost: "announce-host", word(HOST_BYTES_MAX), "", Startup, Cluster, "Name or address under which clients and other nodes reach this node; none: the first address of bind.";
    AnnouncePort: "announce-port", int(0, 65535), "0", Startup, Cluster, "Port under which plain clients reach this node; 0: port.";
    AnnounceClusterPort: "announce-cluster-port", int(0, 65535), "0", Startup, Cluster, "Port under which cluster-aware clients reach this node; 0: cluster-port.";
    AnnouncePeerPort: "announce-peer-port", int(0, 65535), "0", Startup, Cluster, "Port under which other nodes reach this node; 0: peer-port.";
    Join: "join", Kind::HostPorts, "", Startup, Cluster, "Peer ports of nodes whose cluster this one joins; the same list on every node is fine.";
    BootstrapExpect: "bootstrap-expect", int(0, 1024), "0", Startup, Cluster, "Nodes of join, this one included, that form a new cluster together; 0: this node forms one only without join.";
    ClusterSecret: "cluster-secret", Kind::Sealed, "", Startup, Cluster, "Secret that all nodes share; none: the peer port needs TLS or listens on loopback alone.";
    PeerTlsCertFile: "peer-tls-cert-file", Kind::Text, "", Startup, Cluster, "Certificate (PEM) that this node shows to other nodes.";
    PeerTlsKeyFile: "peer-tls-key-file", Kind::Text, "", Startup, Cluster, "Key (PEM) of that certificate.";
    PeerTlsCaFile: "peer-tls-ca-file", Kind::Text, "", Startup, Cluster, "Certificates (PEM) that sign those of other nodes.";
    Replicas: "replicas", int(1, 7), "3", Startup, Cluster, "Copies of each shard, as far as there are nodes; counts when a cluster is formed.";
    Zone: "zone", word(ZONE_BYTES_MAX), "", Startup, Cluster, "Nodes of one zone may fail together: copies are spread over zones; none: fails alone.";
    Weight: "weight", int(1, 65535), "100", Startup, Cluster, "How much this node holds, relative to the others.";
    ReplaceAfter: "replace-after", seconds(5, 30 * 86_400), "5m", Live, Cluster, "How long a node is down before its copies are made anew elsewhere, where there is room. The leader of the cluster's meta group decides by its own.";
    UnavailableWaitMs: "unavailable-wait-ms", int(0, 600_000), "2000", Live, Cluster, "Milliseconds that a command waits for a shard that has no leader.";
    FollowerReadStalenessMs: "follower-read-staleness-ms", int(0, 3_600_000), "1000", Live, Cluster, "How old, in milliseconds, what a READONLY connection reads may be.";

    Dir: "dir", Kind::Text, "./ringfort-data", Startup, Data, "Directory that holds the data of this node.";
    Shards: "shards", int(1, 16384), "64", Startup, Data, "Shards the keys are spread over; fixed once the data directory exists.";
    Databases: "databases", int(1, 65536), "16", Startup, Data, "Databases that SELECT can choose from.";
    Durability: "durability", Kind::Choice(Durability::NAMES), "everysec", Startup, Data, "When a write is on disk: before its acknowledgement, within a second, never.";
    WalSegmentBytes: "wal-segment-bytes", bytes(64 << 10, GIB), "16mb", Startup, Data, "Size of one file of the write-ahead log.";
    WalMaxBytes: "wal-max-bytes", bytes(MIB, ANY), "256mb", Live, Data, "Snapshot and shorten a worker's log once it is longer.";
    SnapshotSliceUs: "snapshot-slice-us", int(50, 5000), "1000", Live, Data, "Microseconds of one turn of a worker that writing a snapshot may take.";
    SnapshotSendBytesPerSec: "snapshot-send-bytes-per-sec", bytes(MIB, ANY), "256mb", Live, Data, "Bytes a second of each snapshot that is sent to another node.";
    MoveBytesPerSec: "move-bytes-per-sec", bytes(0, ANY), "64mb", Live, Data, "Bytes a second of all snapshots together that this node sends to others; less while clients' writes suffer; 0: no limit.";
    AcceptDataLoss: "accept-data-loss", Kind::Bool, "no", FlagOnly, Data, "Start although acknowledged writes are lost: the operator's explicit word.";

    Maxmemory: "maxmemory", bytes(0, ANY), "0", Live, Memory, "Bytes of data this node may hold; 0: no limit.";
    MaxmemoryPolicy: "maxmemory-policy", Kind::Choice(MaxmemoryPolicy::NAMES), "noeviction", Live, Memory, "What goes when maxmemory is reached.";
    MaxmemorySamples: "maxmemory-samples", int(1, 64), "5", Live, Memory, "Keys looked at for each that is evicted.";
    LfuLogFactor: "lfu-log-factor", int(0, I32), "10", Live, Memory, "How many hits a key's frequency counter takes for each step.";
    LfuDecayTime: "lfu-decay-time", int(0, I32), "1", Live, Memory, "Minutes until an idle key's frequency counter goes down by one.";

    Maxclients: "maxclients", int(1, U32), "10000", Live, Clients, "Connections at the same time.";
    Timeout: "timeout", int(0, I32), "0", Live, Clients, "Seconds until an idle client is disconnected; 0: never.";
    ProtoMaxBulkLen: "proto-max-bulk-len", bytes(MIB, GIB), "512mb", Live, Clients, "Length of the longest argument.";
    ClientQueryBufferLimit: "client-query-buffer-limit", bytes(MIB, 4 * GIB - 1), "1gb", Live, Clients, "Bytes of unfinished commands that one client may send.";
    ClientOutputBufferLimit: "client-output-buffer-limit", Kind::OutputLimits, "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60", Live, Clients, "When a client that reads too slowly is cut off.";
    Hz: "hz", Kind::Clamped { min: 1, max: 500 }, "10", Live, Clients, "Rounds a second of background work: expiry, idle clients, statistics.";

    Requirepass: "requirepass", Kind::Secret, "", Live, Security, "Password that clients must give; empty: none.";
    ProtectedMode: "protected-mode", Kind::Bool, "yes", Live, Security, "Without a password, serve this machine alone.";
    EnableDebugCommand: "enable-debug-command", Kind::Choice(DebugCommand::NAMES), "no", Startup, Security, "Whether DEBUG may be called: by nobody, everybody, local connections.";

    HashMaxListpackEntries: "hash-max-listpack-entries" or "hash-max-ziplist-entries", int(0, U32), "512", Live, Encodings, "Fields of the largest hash kept compact.";
    HashMaxListpackValue: "hash-max-listpack-value" or "hash-max-ziplist-value", int(0, U32), "64", Live, Encodings, "Bytes of the longest field or value in a compact hash.";
    ListMaxListpackSize: "list-max-listpack-size" or "list-max-ziplist-size", int(i32::MIN as i64, I32), "-2", Live, Encodings, "Entries a list node, or -1 to -5 for 4, 8, 16, 32, 64 KiB a node.";
    SetMaxIntsetEntries: "set-max-intset-entries", int(0, U32), "512", Live, Encodings, "Members of the largest set of integers kept as one.";
    SetMaxListpackEntries: "set-max-listpack-entries", int(0, U32), "128", Live, Encodings, "Members of the largest set kept compact.";
    SetMaxListpackValue: "set-max-listpack-value", int(0, U32), "64", Live, Encodings, "Bytes of the longest member in a compact set.";
    ZsetMaxListpackEntries: "zset-max-listpack-entries" or "zset-max-ziplist-entries", int(0, U32), "128", Live, Encodings, "Members of the largest sorted set kept compact.";
    ZsetMaxListpackValue: "zset-max-listpack-value" or "zset-max-ziplist-value", int(0, U32), "64", Live, Encodings, "Bytes of the longest member in a compact sorted set.";

    LogLevel: "log-level", Kind::Choice(LogLevel::NAMES), "info", Live, Watching, "The least severe line that is logged.";
    LogFormat: "log-format", Kind::Choice(LogFormat::NAMES), "text", Startup, Watching, "How a log line looks.";
    SlowlogLogSlowerThan: "slowlog-log-slower-than", int(-1, ANY), "10000", Live, Watching, "Microseconds from which a command is in SLOWLOG; -1: never, 0: always.";
    SlowlogMaxLen: "slowlog-max-len", int(0, 65536), "128", Live, Watching, "Commands that SLOWLOG remembers.";
    LatencyMonitorThreshold: "latency-monitor-threshold", int(0, ANY), "0", Live, Watching, "Milliseconds from which LATENCY remembers an event; 0: never.";
    LatencyTracking: "latency-tracking", Kind::Bool, "yes", Live, Watching, "Whether INFO latencystats and LATENCY HISTOGRAM have answers.";
    LatencyTrackingInfoPercentiles: "latency-tracking-info-percentiles", Kind::Percentiles, "50 99 99.9", Live, Watching, "Percentiles in INFO latencystats.";

    // What follows is read-only and stands here because clients, dashboards and test suites ask for it.
    // Where this server works otherwise than Redis, the answer is the one that misleads a client least.
    Save: "save", Kind::Text, "", Fixed, Compatibility, "No point-in-time dumps: the log and its snapshots keep the data.";
    Appendonly: "appendonly", Kind::Bool, "yes", Fixed, Compatibility, "Follows durability: no for none, else yes.";
    Appendfsync: "appendfsync", Kind::Choice(&["everysec", "always", "no"]), "everysec", Fixed, Compatibility, "Follows durability.";
    Appendfilename: "appendfilename", Kind::Text, "", Fixed, Compatibility, "There is no such file.";
    AofUseRdbPreamble: "aof-use-rdb-preamble", Kind::Bool, "no", Fixed, Compatibility, "There is no such file.";
    AutoAofRewritePercentage: "auto-aof-rewrite-percentage", int(0, I32), "0", Fixed, Compatibility, "See wal-max-bytes.";
    AutoAofRewriteMinSize: "auto-aof-rewrite-min-size", bytes(0, ANY), "0", Fixed, Compatibility, "See wal-max-bytes.";
    Dbfilename: "dbfilename", Kind::Text, "", Fixed, Compatibility, "There is no such file.";
    Rdbcompression: "rdbcompression", Kind::Bool, "no", Fixed, Compatibility, "There is no such file.";
    Rdbchecksum: "rdbchecksum", Kind::Bool, "yes", Fixed, Compatibility, "Everything on disk is checksummed.";
    StopWritesOnBgsaveError: "stop-writes-on-bgsave-error", Kind::Bool, "yes", Fixed, Compatibility, "Writes are refused while the log cannot be written.";
    LazyfreeLazyEviction: "lazyfree-lazy-eviction", Kind::Bool, "no", Fixed, Compatibility, "Memory is freed as a key goes.";
    LazyfreeLazyExpire: "lazyfree-lazy-expire", Kind::Bool, "no", Fixed, Compatibility, "Memory is freed as a key goes.";
    LazyfreeLazyServerDel: "lazyfree-lazy-server-del", Kind::Bool, "no", Fixed, Compatibility, "Memory is freed as a key goes.";
    LazyfreeLazyUserDel: "lazyfree-lazy-user-del", Kind::Bool, "no", Fixed, Compatibility, "Memory is freed as a key goes.";
    LazyfreeLazyUserFlush: "lazyfree-lazy-user-flush", Kind::Bool, "no", Fixed, Compatibility, "Memory is freed as a key goes.";
    ReplicaLazyFlush: "replica-lazy-flush" or "slave-lazy-flush", Kind::Bool, "no", Fixed, Compatibility, "Memory is freed as a key goes.";
    Activedefrag: "activedefrag", Kind::Bool, "no", Fixed, Compatibility, "Memory is not moved while it is in use.";
    Activerehashing: "activerehashing", Kind::Bool, "yes", Fixed, Compatibility, "Tables grow as they are used.";
    DynamicHz: "dynamic-hz", Kind::Bool, "no", Fixed, Compatibility, "hz stays as it is set.";
    ActiveExpireEffort: "active-expire-effort", int(1, 10), "1", Fixed, Compatibility, "Expiry works at one pace.";
    MaxmemoryClients: "maxmemory-clients", Kind::Text, "0", Fixed, Compatibility, "Clients are bounded one by one.";
    MaxmemoryEvictionTenacity: "maxmemory-eviction-tenacity", int(0, 100), "10", Fixed, Compatibility, "Eviction works at one pace.";
    ListCompressDepth: "list-compress-depth", int(0, I32), "0", Fixed, Compatibility, "Lists are not compressed.";
    HllSparseMaxBytes: "hll-sparse-max-bytes", bytes(0, ANY), "3000", Fixed, Compatibility, "As in Redis.";
    StreamNodeMaxBytes: "stream-node-max-bytes", bytes(0, ANY), "4096", Fixed, Compatibility, "As in Redis.";
    StreamNodeMaxEntries: "stream-node-max-entries", int(0, ANY), "100", Fixed, Compatibility, "As in Redis.";
    NotifyKeyspaceEvents: "notify-keyspace-events", Kind::Text, "", Fixed, Compatibility, "Keyspace events are not published.";
    BusyReplyThreshold: "busy-reply-threshold" or "lua-time-limit", int(0, ANY), "5000", Fixed, Compatibility, "Commands do not block a node.";
    ClusterEnabled: "cluster-enabled", Kind::Bool, "no", Fixed, Compatibility, "Yes on the cluster port, which serves cluster-aware clients.";
    Replicaof: "replicaof" or "slaveof", Kind::Text, "", Fixed, Compatibility, "Replication needs no such order.";
    ReplicaReadOnly: "replica-read-only" or "slave-read-only", Kind::Bool, "yes", Fixed, Compatibility, "Clients see leaders only.";
    ReplicaServeStaleData: "replica-serve-stale-data" or "slave-serve-stale-data", Kind::Bool, "no", Fixed, Compatibility, "Clients see leaders only.";
    MinReplicasToWrite: "min-replicas-to-write" or "min-slaves-to-write", int(0, I32), "0", Fixed, Compatibility, "A majority acknowledges each write.";
    MinReplicasMaxLag: "min-replicas-max-lag" or "min-slaves-max-lag", int(0, I32), "10", Fixed, Compatibility, "A majority acknowledges each write.";
    ReplBacklogSize: "repl-backlog-size", bytes(0, ANY), "0", Fixed, Compatibility, "Replicas read the log.";
    IoThreads: "io-threads", int(1, 128), "1", Fixed, Compatibility, "See threads.";
    IoThreadsDoReads: "io-threads-do-reads", Kind::Bool, "no", Fixed, Compatibility, "See threads.";
    TlsPort: "tls-port", int(0, 65535), "0", Fixed, Compatibility, "Connections are not encrypted.";
    Unixsocket: "unixsocket", Kind::Text, "", Fixed, Compatibility, "Connections are by TCP.";
    Aclfile: "aclfile", Kind::Text, "", Fixed, Compatibility, "There is no such file.";
    AcllogMaxLen: "acllog-max-len", int(0, ANY), "128", Fixed, Compatibility, "As in Redis.";
    TrackingTableMaxKeys: "tracking-table-max-keys", int(0, ANY), "1000000", Fixed, Compatibility, "As in Redis.";
    Loglevel: "loglevel", Kind::Choice(&["debug", "verbose", "notice", "warning"]), "notice", Fixed, Compatibility, "See log-level.";
    Logfile: "logfile", Kind::Text, "", Fixed, Compatibility, "Logs go to standard error.";
    Daemonize: "daemonize", Kind::Bool, "no", Fixed, Compatibility, "The program stays in the foreground.";
    Supervised: "supervised", Kind::Choice(&["no"]), "no", Fixed, Compatibility, "The program stays in the foreground.";
    Pidfile: "pidfile", Kind::Text, "", Fixed, Compatibility, "There is no such file.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_row_stands_at_its_id() {
        for (position, row) in TABLE.iter().enumerate() {
            assert_eq!(row.id as usize, position, "{}", row.name);
        }
    }

    #[test]
    fn names_and_aliases_are_kebab_case_and_unique() {
        let mut seen = HashSet::new();
        for name in TABLE.iter().flat_map(|row| [Some(row.name), row.alias]) {
            let Some(name) = name else { continue };
            assert!(seen.insert(name), "{name} stands twice");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
        }
    }

    #[test]
    fn every_default_is_a_value_its_kind_allows() {
        for row in TABLE {
            let parsed = row.kind.parse(row.default, None);
            assert!(parsed.is_ok(), "{}: {parsed:?}", row.name);
        }
    }

    #[test]
    fn documentation_is_a_sentence() {
        for row in TABLE {
            assert!(row.doc.ends_with('.') && row.doc.len() > 8, "{}", row.name);
        }
    }

    #[test]
    fn names_are_found_in_any_case_and_by_alias() {
        assert_eq!(find("MaxMemory").map(|row| row.id), Some(Id::Maxmemory));
        assert_eq!(
            find("hash-max-ziplist-value").map(|row| row.id),
            Some(Id::HashMaxListpackValue)
        );
        assert!(find("max-memory").is_none());
    }
}
