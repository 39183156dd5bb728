//! Where log lines go and how they look: standard error, as text or as one JSON object a line.

use crate::settings::{LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{fmt, reload, Registry};

/// Changes the level while the program runs.
#[derive(Clone)]
pub struct LogControl(reload::Handle<LevelFilter, Registry>);

impl LogControl {
    /// Lines less severe than `level` are dropped from now on.
    pub fn set_level(&self, level: LogLevel) {
        // Fails only when the subscriber is gone, and then there is nothing to log to.
        let _ = self.0.modify(|filter| *filter = filter_of(level));
    }
}

/// Starts logging for the whole process. `None` when something else has done so before.
pub fn start(format: LogFormat, level: LogLevel) -> Option<LogControl> {
    let (subscriber, control) = subscriber(format, level, std::io::stderr);
    tracing::subscriber::set_global_default(subscriber).ok()?;
    Some(control)
}

/// A subscriber that writes to `writer`.
fn subscriber<W>(
    format: LogFormat,
    level: LogLevel,
    writer: W,
) -> (Box<dyn Subscriber + Send + Sync>, LogControl)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter_of(level));
    let registry = Registry::default().with(filter);
    let layer = fmt::layer().with_writer(writer).with_target(false);
    let subscriber: Box<dyn Subscriber + Send + Sync> = match format {
        LogFormat::Text => Box::new(registry.with(layer.with_ansi(false))),
        LogFormat::Json => Box::new(registry.with(layer.json().flatten_event(true))),
    };
    (subscriber, LogControl(handle))
}

fn filter_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Result, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, work: impl FnOnce(&LogControl)) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, control) = subscriber(format, LogLevel::Info, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || work(&control));
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_lines_hold_level_message_and_fields() {
        let text = logged(LogFormat::Text, |_| {
            tracing::info!(port = 6379, "listening");
            tracing::debug!("unseen");
        });
        assert!(text.contains("INFO listening port=6379"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn json_lines_are_one_object_each() {
        let text = logged(LogFormat::Json, |_| {
            tracing::warn!(path = "a\"b", "disk is full");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "disk is full");
        assert_eq!(line["path"], "a\"b");
    }

    #[test]
    fn the_level_changes_while_running() {
        let text = logged(LogFormat::Text, |control| {
            control.set_level(LogLevel::Debug);
            tracing::debug!("seen");
            control.set_level(LogLevel::Error);
            tracing::warn!("unseen");
        });
        assert!(text.contains("DEBUG seen"), "{text}");
        assert!(!text.contains("unseen"), "{text}");
    }
}
