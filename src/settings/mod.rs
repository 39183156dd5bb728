//! The settings of a node: one table, from which flags, environment, file and `CONFIG` follow. Knows no
//! other room.

mod choices;
mod cluster;
mod error;
mod file;
mod forms;
pub mod glob;
mod kind;
mod rewrite;
mod runtime;
mod sources;
mod table;
mod units;
mod values;

pub use choices::{DebugCommand, Durability, LogFormat, LogLevel, MaxmemoryPolicy};
pub use cluster::ClusterSettings;
pub use error::{Origin, RewriteError, SetError, SettingsError};
pub use forms::{BindAddress, HostPort, OutputLimit, OutputLimits};
pub use kind::{Kind, Value};
pub use runtime::{LiveView, Settings};
pub use sources::{Builder, CONFIG_VARIABLE};
pub use table::{find, Group, Id, Row, Scope, TABLE};
pub use units::parse_bytes;
pub use values::{Live, Startup};
