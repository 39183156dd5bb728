//! The metrics page: a node's report under the names that redis_exporter gives to what Redis has, and under
//! `ringfort_` for what is ours. Names of redis_exporter: <https://github.com/oliver006/redis_exporter>.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::series::{SINGLE, WORKER};
use crate::node::report::{CommandUse, NodeReport, REDIS_VERSION, RINGFORT_VERSION};
use crate::settings::{Live, Settings};

/// The page as text.
pub fn page(report: NodeReport, settings: &Settings) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page {
        live: settings.live(),
        durability: settings.startup().durability.name(),
        report,
    }));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// What the page is called: OpenMetrics for who knows it, else the older text format, as which the page
/// reads too.
pub fn content_type(accept: Option<&[u8]>) -> &'static str {
    let wanted = b"application/openmetrics-text";
    match accept {
        Some(accept) if accept.windows(wanted.len()).any(|part| part == wanted) => {
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        }
        _ => "text/plain; version=0.0.4; charset=utf-8",
    }
}

/// What the page shows.
#[derive(Debug)]
pub(super) struct Page {
    pub report: NodeReport,
    pub live: std::sync::Arc<Live>,
    pub durability: &'static str,
}

/// Whether a figure only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    /// The page writes its name with `_total` behind it.
    Counter,
}

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Writer(encoder);
        for (name, kind, help, figure) in SINGLE {
            page.single(name, *kind, help, figure(self))?;
        }
        self.encode_info(&mut page)?;
        self.encode_commands(&mut page)?;
        self.encode_databases(&mut page)?;
        self.encode_workers(&mut page)
    }
}

impl Page {
    fn encode_info(&self, page: &mut Writer) -> fmt::Result {
        let identity = &self.report.identity;
        let port = identity.listeners.first().map_or(0, |at| at.port());
        let redis = [
            ("role", "master".to_string()),
            ("redis_version", REDIS_VERSION.to_string()),
            ("redis_build_id", identity.build_id()),
            ("redis_mode", "standalone".to_string()),
            ("os", identity.os.clone()),
            (
                "maxmemory_policy",
                self.live.maxmemory_policy.name().to_string(),
            ),
            ("tcp_port", port.to_string()),
            ("run_id", identity.run_id.clone()),
            ("process_id", identity.process_id.to_string()),
            ("master_replid", identity.replication_id.clone()),
        ];
        let help = "The server, in the words of Redis";
        page.family("redis_instance_info", Kind::Gauge, help, [(redis, 1.0)])?;
        let own = [
            ("version", RINGFORT_VERSION.to_string()),
            ("durability", self.durability.to_string()),
        ];
        page.family(
            "ringfort_build_info",
            Kind::Gauge,
            "This program",
            [(own, 1.0)],
        )
    }

    fn encode_commands(&self, page: &mut Writer) -> fmt::Result {
        type Figure = fn(&CommandUse) -> f64;
        let figures: [(&str, &str, Figure); 4] = [
            ("redis_commands", "Calls by command", |used| {
                used.calls as f64
            }),
            (
                "redis_commands_duration_seconds",
                "Time spent by command",
                |used| used.nanoseconds as f64 / 1e9,
            ),
            (
                "redis_commands_rejected_calls",
                "Calls refused before they ran",
                |used| used.rejected as f64,
            ),
            (
                "redis_commands_failed_calls",
                "Calls answered with an error",
                |used| used.failed as f64,
            ),
        ];
        for (name, help, figure) in figures {
            let used = self.report.commands.iter();
            let values = used.map(|used| ([("cmd", used.name.clone())], figure(used)));
            page.family(name, Kind::Counter, help, values)?;
        }
        let errors = self.report.errors.iter();
        let errors = errors.map(|(kind, count)| ([("err", kind.clone())], *count as f64));
        page.family(
            "redis_errors",
            Kind::Counter,
            "Error replies by kind",
            errors,
        )?;
        self.encode_latencies(page)
    }

    fn encode_latencies(&self, page: &mut Writer) -> fmt::Result {
        let help = "How long commands took, in microseconds";
        let name = "redis_commands_latencies_usec";
        let mut family = page
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        for used in self.report.commands.iter().filter(|used| used.calls > 0) {
            let mut buckets: Vec<(f64, u64)> = used
                .latency
                .cumulative_us()
                .into_iter()
                .scan(0, |before, (bound, count)| {
                    let added = count - *before;
                    *before = count;
                    Some((bound as f64, added))
                })
                .collect();
            // The writer adds the buckets up itself.
            buckets.push((f64::INFINITY, 0));
            let labels = [("cmd", used.name.clone())];
            family
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(
                    used.microseconds() as f64,
                    used.latency.count(),
                    &buckets,
                    None,
                )?;
        }
        Ok(())
    }

    fn encode_databases(&self, page: &mut Writer) -> fmt::Result {
        let databases = &self.report.databases;
        let label = |number: u32| [("db", format!("db{number}"))];
        let keys = databases
            .iter()
            .map(|db| (label(db.number), db.keys as f64));
        page.family("redis_db_keys", Kind::Gauge, "Keys by database", keys)?;
        let expiring = databases
            .iter()
            .map(|db| (label(db.number), db.expires as f64));
        let help = "Keys with a time to live by database";
        page.family("redis_db_keys_expiring", Kind::Gauge, help, expiring)?;
        let ttl = databases
            .iter()
            .map(|db| (label(db.number), db.ttl_ms_mean as f64 / 1e3));
        let help = "Mean time to live by database";
        page.family("redis_db_avg_ttl_seconds", Kind::Gauge, help, ttl)
    }

    fn encode_workers(&self, page: &mut Writer) -> fmt::Result {
        for (name, kind, help, figure) in WORKER {
            let workers = self.report.workers.iter().enumerate();
            let values = workers.map(|(at, worker)| ([("worker", at.to_string())], figure(worker)));
            page.family(name, *kind, help, values)?;
        }
        Ok(())
    }
}

/// Writes families of figures.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn single(&mut self, name: &str, kind: Kind, help: &str, value: f64) -> fmt::Result {
        let family = self
            .0
            .encode_descriptor(name, help, None, metric_type(kind))?;
        write_value(family, kind, value)
    }

    fn family<I, const N: usize>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        values: I,
    ) -> fmt::Result
    where
        I: IntoIterator<Item = ([(&'static str, String); N], f64)>,
    {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, metric_type(kind))?;
        for (labels, value) in values {
            write_value(family.encode_family(&labels)?, kind, value)?;
        }
        Ok(())
    }
}

fn metric_type(kind: Kind) -> MetricType {
    match kind {
        Kind::Gauge => MetricType::Gauge,
        Kind::Counter => MetricType::Counter,
    }
}

fn write_value(mut encoder: MetricEncoder, kind: Kind, value: f64) -> fmt::Result {
    match kind {
        Kind::Gauge => encoder.encode_gauge(&value),
        Kind::Counter => encoder.encode_counter::<NoLabelSet, _, f64>(&value, None),
    }
}
