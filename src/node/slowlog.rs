//! Decides which commands, and what else, are slow and writes them down, for SLOWLOG and LATENCY.

use std::sync::{Arc, PoisonError};

use crate::commands::latency::Sample;
use crate::commands::{Flags, Registered};
use crate::protocol::Args;

use super::clients::Client;
use super::worker::wall_clock;
use super::Shared;

/// A worker's view of the thresholds.
pub struct Slow {
    shared: Arc<Shared>,
    /// Microseconds; negative: never.
    pub threshold_us: i64,
    pub len_max: usize,
    /// Milliseconds; 0: never.
    pub latency_ms: u64,
}

impl Slow {
    pub fn new(shared: Arc<Shared>) -> Self {
        let live = shared.settings.live();
        Self {
            shared,
            threshold_us: live.slowlog_log_slower_than_us,
            len_max: live.slowlog_max_len,
            latency_ms: live.latency_monitor_threshold_ms,
        }
    }

    /// Whether a command that took this long is to be noted anywhere.
    #[inline]
    pub fn is_slow(&self, nanoseconds: u64) -> bool {
        let slow = self.threshold_us >= 0 && nanoseconds >= self.threshold_us as u64 * 1_000;
        slow || (self.latency_ms > 0 && nanoseconds >= self.latency_ms * 1_000_000)
    }

    /// The connection at a place of another worker; walks over all of them, so for slow commands alone.
    pub fn client_at(&self, worker: u16, place: u32) -> Option<Arc<Client>> {
        let is_there = |client: &Arc<Client>| {
            client.worker == worker && client.conn().is_some_and(|conn| conn.place == place)
        };
        self.shared.clients.all().into_iter().find(is_there)
    }

    /// Notes a command for which [`Slow::is_slow`] was true.
    #[cold]
    pub fn note(
        &self,
        command: &Registered,
        args: &Args,
        nanoseconds: u64,
        client: Option<&Client>,
    ) {
        let at_seconds = wall_clock().0 / 1000;
        let flags = command.command.flags;
        let logged = self.threshold_us >= 0 && nanoseconds >= self.threshold_us as u64 * 1_000;
        if logged && !flags.has(Flags::SKIP_SLOWLOG) && !args.is_empty() {
            let name = client.map(Client::name).unwrap_or_default();
            let client = (
                client.map_or("", |client| client.address.as_str()),
                &name[..],
            );
            let mut slowlog = self
                .shared
                .slowlog
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            slowlog.record(args, at_seconds, nanoseconds / 1_000, client, self.len_max);
        }
        let event = match flags.has(Flags::FAST) {
            true => "fast-command",
            false => "command",
        };
        self.note_event(event, nanoseconds);
    }

    /// Something beside commands took this long; by Redis' name for it.
    #[inline]
    pub fn note_event(&self, event: &'static str, nanoseconds: u64) {
        if self.latency_ms > 0 && nanoseconds >= self.latency_ms * 1_000_000 {
            self.record_event(event, nanoseconds);
        }
    }

    #[cold]
    fn record_event(&self, event: &'static str, nanoseconds: u64) {
        let sample = Sample {
            at_seconds: wall_clock().0 / 1000,
            duration_ms: nanoseconds / 1_000_000,
        };
        let mut latency = self
            .shared
            .latency
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        latency.record(event, sample);
    }
}
