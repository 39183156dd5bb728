//! What a node offers to the commands that ask or change it: the seam between the command table, which knows
//! no node, and the node, which knows the table.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::protocol::Proto;
use crate::settings::Settings;
use crate::store::Timestamp;

use super::acl_log::AclLog;
use super::cluster::ClusterView;
use super::latency::LatencyLog;
use super::report::{CommandUse, Report};
use super::slowlog::SlowLog;

/// Services of a node. Every call returns at once, but for [`Host::sleep`].
pub trait Host {
    /// The node's clock.
    fn now(&self) -> Timestamp;

    /// Microseconds since the Unix epoch.
    fn now_us(&self) -> u64;

    fn settings(&self) -> &Settings;

    /// All that INFO shows.
    fn report(&self) -> Report;

    /// [`Report::commands`] alone.
    fn command_use(&self) -> Vec<CommandUse>;

    /// Sets the counters to nothing (CONFIG RESETSTAT); gauges stay.
    fn reset_statistics(&self);

    /// Counts a failed attempt to log in.
    fn count_auth_denied(&self);

    fn slowlog(&self) -> &Mutex<SlowLog>;

    fn latency(&self) -> &Mutex<LatencyLog>;

    fn acl_log(&self) -> &Mutex<AclLog>;

    /// Fills `bytes` with what nobody can guess.
    ///
    /// # Errors
    /// When the system gives none.
    fn fill_random(&self, bytes: &mut [u8]) -> std::io::Result<()>;

    /// All connections of this node, in no promised order.
    fn clients(&self) -> Vec<ClientReport>;

    /// One connection of this node.
    fn client(&self, id: u64) -> Option<ClientReport>;

    /// Closes a connection; false if there is none of this number. Commands that it sent before are still
    /// applied; their replies are dropped.
    fn kill_client(&self, id: u64) -> bool;

    /// Holds clients' commands back until the pause is over. A pause replaces the one before unless that one
    /// is stricter or longer.
    fn pause_clients(&self, pause: Pause);

    fn unpause_clients(&self);

    /// Begins a snapshot of all shards; false if one is running.
    fn begin_snapshot(&self) -> bool;

    /// Stops the calling worker (DEBUG SLEEP).
    fn sleep(&self, duration: Duration);

    /// Whether keys that are due are removed before anybody asks for them.
    fn set_active_expire(&self, on: bool);

    /// A new `master_replid`.
    fn change_replication_id(&self);

    /// Gives memory that is free back to the system (MEMORY PURGE).
    fn purge_memory(&self);

    /// The allocator's own report, as text.
    fn allocator_report(&self) -> String;

    /// The cluster as this node knows it now.
    fn cluster_view(&self) -> Arc<ClusterView>;

    /// A connection will read at followers.
    fn want_follower_reads(&self) {}

    /// The slot of a key, below [`super::cluster::view::SLOTS`].
    fn slot_of(&self, key: &[u8]) -> u16;

    /// Revokes a shutdown that waits for something; false if there is none.
    fn abort_shutdown(&self) -> bool;
}

/// CLIENT PAUSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    pub until: Timestamp,
    /// Reads go on.
    pub writes_only: bool,
}

/// What a handler leaves to the node because it takes time. The handler has written no reply: the node writes it when
/// the work is done, and until then takes no further command from the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// SAVE: `+OK` once all shards have a new snapshot, an error when that fails.
    Save,
    /// DEBUG RELOAD: `+OK` once all shards were read back from a fresh snapshot.
    Reload,
    /// CLUSTER COUNTKEYSINSLOT: the number of keys.
    CountKeysInSlot(u16),
    /// The connections to and from other nodes.
    Links(Proto),
    /// CLUSTER GETKEYSINSLOT: at most `count` keys.
    KeysInSlot { slot: u16, count: usize },
    /// SHUTDOWN: no reply, the process ends; or an error.
    Shutdown(Shutdown),
}

/// SHUTDOWN's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Shutdown {
    /// `Some(false)`: without a last snapshot (NOSAVE); the log is synced in any case.
    pub save: Option<bool>,
    /// Wait for nothing.
    pub now: bool,
    /// Go down even if the last snapshot fails.
    pub force: bool,
}

/// One connection, as CLIENT LIST shows it.
#[derive(Clone, Debug, Default)]
pub struct ClientReport {
    pub id: u64,
    /// `ip:port` of the peer and of our end.
    pub address: String,
    pub local_address: String,
    pub fd: i32,
    pub name: Vec<u8>,
    pub age_seconds: u64,
    pub idle_seconds: u64,
    pub database: u16,
    /// Subscribed channels and patterns.
    pub channels: u32,
    pub patterns: u32,
    /// Waits in a blocking command.
    pub blocked: bool,
    /// Unread bytes of commands, and room for more.
    pub query_bytes: u64,
    pub query_free_bytes: u64,
    pub argument_bytes: u64,
    /// Unsent bytes of replies.
    pub output_bytes: u64,
    pub memory_bytes: u64,
    /// Its last command: `get`, `client|list`.
    pub command: &'static str,
    pub resp: u8,
    pub lib_name: Vec<u8>,
    pub lib_version: Vec<u8>,
    pub no_evict: bool,
    pub no_touch: bool,
    /// READONLY.
    pub readonly: bool,
    /// Will be closed once its replies are out.
    pub closing: bool,
}
