//! A value for every row of the table, and the typed views that the rest of the program reads.

use super::choices::{DebugCommand, Durability, LogFormat, LogLevel, MaxmemoryPolicy};
use super::cluster::ClusterSettings;
use super::forms::{parse_bind, parse_percentiles, BindAddress, OutputLimits};
use super::kind::{Kind, Value};
use super::table::{Id, Row, TABLE};
use std::path::PathBuf;

/// What `CONFIG GET` answers in place of a sealed secret.
const HIDDEN: &str = "(hidden)";

/// How far the other ports lie above `port`, so that several nodes on one machine need no more than ports of their own.
const CLUSTER_PORT_ABOVE: i64 = 1_000;
const PEER_PORT_ABOVE: i64 = 10_000;

/// The port that lies `above` a port, or that far below where there is none above. Without a port (0) there is none either.
fn port_above(port: i64, above: i64) -> i64 {
    match port {
        0 => 0,
        port if port + above <= i64::from(u16::MAX) => port + above,
        port => port - above,
    }
}

/// One value for each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Values(Vec<Value>);

impl Values {
    pub fn defaults() -> Self {
        let default = |row: &Row| match row.kind.parse(row.default, None) {
            Ok(value) => value,
            Err(reason) => unreachable!("the default of {} is refused: {reason}", row.name),
        };
        Self(TABLE.iter().map(default).collect())
    }

    pub fn get(&self, id: Id) -> &Value {
        &self.0[id as usize]
    }

    pub fn put(&mut self, id: Id, value: Value) {
        self.0[id as usize] = value;
    }

    /// As `CONFIG GET` shows the row's value.
    pub fn shown(&self, row: &Row) -> String {
        match self.text(row) {
            text if matches!(row.kind, Kind::Sealed) && !text.is_empty() => HIDDEN.into(),
            text => text,
        }
    }

    /// The row's value as an operator would write it.
    pub fn text(&self, row: &Row) -> String {
        row.kind.format(self.get(row.id))
    }

    /// Fills in what follows from other values or from the machine: worker threads, ports and compatibility rows.
    pub fn resolve(&mut self, is_given: impl Fn(Id) -> bool) {
        let port = self.number(Id::Port);
        for (id, above) in [
            (Id::ClusterPort, CLUSTER_PORT_ABOVE),
            (Id::PeerPort, PEER_PORT_ABOVE),
        ] {
            if !is_given(id) {
                self.put(id, Value::Number(port_above(port, above)));
            }
        }
        if self.number(Id::Threads) == 0 {
            let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
            self.put(Id::Threads, Value::Number(cores as i64));
        }
        let (appendonly, appendfsync) = match Durability::from_position(self.number(Id::Durability))
        {
            Durability::Everysec => (1, 0),
            Durability::Always => (1, 1),
            Durability::None => (0, 2),
        };
        self.put(Id::Appendonly, Value::Number(appendonly));
        self.put(Id::Appendfsync, Value::Number(appendfsync));
    }

    pub(super) fn number(&self, id: Id) -> i64 {
        match self.get(id) {
            Value::Number(number) => *number,
            Value::Text(text) => unreachable!("{id:?} holds the text {text:?}"),
        }
    }

    pub(super) fn string(&self, id: Id) -> &str {
        match self.get(id) {
            Value::Text(text) => text,
            Value::Number(number) => unreachable!("{id:?} holds the number {number}"),
        }
    }

    pub(super) fn addresses(&self, id: Id) -> Vec<BindAddress> {
        // The table let only addresses in.
        parse_bind(self.string(id)).unwrap_or_default()
    }
}

/// What holds from start to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    pub port: u16,
    pub bind: Vec<BindAddress>,
    /// 0: no HTTP port.
    pub http_port: u16,
    pub http_bind: Vec<BindAddress>,
    pub cluster: ClusterSettings,
    pub tcp_backlog: u32,
    /// At least 1.
    pub threads: usize,
    pub dir: PathBuf,
    pub shards: u16,
    pub databases: u32,
    pub durability: Durability,
    pub wal_segment_bytes: u64,
    pub accept_data_loss: bool,
    pub enable_debug_command: DebugCommand,
    pub log_format: LogFormat,
}

impl Startup {
    pub(super) fn from_values(values: &Values) -> Self {
        Self {
            port: values.number(Id::Port) as u16,
            bind: values.addresses(Id::Bind),
            http_port: values.number(Id::HttpPort) as u16,
            http_bind: values.addresses(Id::HttpBind),
            cluster: ClusterSettings::from_values(values),
            tcp_backlog: values.number(Id::TcpBacklog) as u32,
            threads: values.number(Id::Threads) as usize,
            dir: PathBuf::from(values.string(Id::Dir)),
            shards: values.number(Id::Shards) as u16,
            databases: values.number(Id::Databases) as u32,
            durability: Durability::from_position(values.number(Id::Durability)),
            wal_segment_bytes: values.number(Id::WalSegmentBytes) as u64,
            accept_data_loss: values.number(Id::AcceptDataLoss) != 0,
            enable_debug_command: DebugCommand::from_position(
                values.number(Id::EnableDebugCommand),
            ),
            log_format: LogFormat::from_position(values.number(Id::LogFormat)),
        }
    }
}

/// What may change while the node runs: one consistent view of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    pub tcp_keepalive_seconds: u32,
    pub wal_max_bytes: u64,
    pub snapshot_slice_us: u64,
    pub snapshot_send_bytes_per_sec: u64,
    /// 0: no limit.
    pub move_bytes_per_sec: u64,
    /// 0: no limit.
    pub maxmemory_bytes: u64,
    pub maxmemory_policy: MaxmemoryPolicy,
    pub maxmemory_samples: u32,
    pub lfu_log_factor: u32,
    pub lfu_decay_time_minutes: u32,
    pub maxclients: u32,
    /// 0: never.
    pub timeout_seconds: u32,
    pub proto_max_bulk_len_bytes: u64,
    pub client_query_buffer_limit_bytes: u64,
    pub client_output_buffer_limit: OutputLimits,
    pub hz: u32,
    /// Empty: no password.
    pub requirepass: String,
    pub protected_mode: bool,
    pub replace_after_seconds: u64,
    pub unavailable_wait_ms: u64,
    pub follower_read_staleness_ms: u64,
    pub hash_max_listpack_entries: u32,
    pub hash_max_listpack_value: u32,
    pub list_max_listpack_size: i32,
    pub set_max_intset_entries: u32,
    pub set_max_listpack_entries: u32,
    pub set_max_listpack_value: u32,
    pub zset_max_listpack_entries: u32,
    pub zset_max_listpack_value: u32,
    pub log_level: LogLevel,
    /// Microseconds; negative: never.
    pub slowlog_log_slower_than_us: i64,
    pub slowlog_max_len: usize,
    /// 0: never.
    pub latency_monitor_threshold_ms: u64,
    pub latency_tracking: bool,
    pub latency_tracking_info_percentiles: Vec<f64>,
}

impl Live {
    pub(super) fn from_values(values: &Values) -> Self {
        let u32 = |id| values.number(id) as u32;
        let u64 = |id| values.number(id) as u64;
        Self {
            tcp_keepalive_seconds: u32(Id::TcpKeepalive),
            wal_max_bytes: u64(Id::WalMaxBytes),
            snapshot_slice_us: u64(Id::SnapshotSliceUs),
            snapshot_send_bytes_per_sec: u64(Id::SnapshotSendBytesPerSec),
            move_bytes_per_sec: u64(Id::MoveBytesPerSec),
            maxmemory_bytes: u64(Id::Maxmemory),
            maxmemory_policy: MaxmemoryPolicy::from_position(values.number(Id::MaxmemoryPolicy)),
            maxmemory_samples: u32(Id::MaxmemorySamples),
            lfu_log_factor: u32(Id::LfuLogFactor),
            lfu_decay_time_minutes: u32(Id::LfuDecayTime),
            maxclients: u32(Id::Maxclients),
            timeout_seconds: u32(Id::Timeout),
            proto_max_bulk_len_bytes: u64(Id::ProtoMaxBulkLen),
            client_query_buffer_limit_bytes: u64(Id::ClientQueryBufferLimit),
            client_output_buffer_limit: OutputLimits::default()
                .merged(values.string(Id::ClientOutputBufferLimit))
                .unwrap_or_default(),
            hz: u32(Id::Hz),
            requirepass: values.string(Id::Requirepass).to_string(),
            protected_mode: values.number(Id::ProtectedMode) != 0,
            replace_after_seconds: u64(Id::ReplaceAfter),
            unavailable_wait_ms: u64(Id::UnavailableWaitMs),
            follower_read_staleness_ms: u64(Id::FollowerReadStalenessMs),
            hash_max_listpack_entries: u32(Id::HashMaxListpackEntries),
            hash_max_listpack_value: u32(Id::HashMaxListpackValue),
            list_max_listpack_size: values.number(Id::ListMaxListpackSize) as i32,
            set_max_intset_entries: u32(Id::SetMaxIntsetEntries),
            set_max_listpack_entries: u32(Id::SetMaxListpackEntries),
            set_max_listpack_value: u32(Id::SetMaxListpackValue),
            zset_max_listpack_entries: u32(Id::ZsetMaxListpackEntries),
            zset_max_listpack_value: u32(Id::ZsetMaxListpackValue),
            log_level: LogLevel::from_position(values.number(Id::LogLevel)),
            slowlog_log_slower_than_us: values.number(Id::SlowlogLogSlowerThan),
            slowlog_max_len: values.number(Id::SlowlogMaxLen) as usize,
            latency_monitor_threshold_ms: u64(Id::LatencyMonitorThreshold),
            latency_tracking: values.number(Id::LatencyTracking) != 0,
            latency_tracking_info_percentiles: parse_percentiles(
                values.string(Id::LatencyTrackingInfoPercentiles),
            )
            .unwrap_or_default(),
        }
    }
}
