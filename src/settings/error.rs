//! What can be wrong with settings, said so that an operator knows what to change.

use super::kind::Kind;
use super::table::{Row, TABLE};
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag(String),
    Environment(String),
    File { path: PathBuf, line: usize },
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Flag(flag) => write!(f, "flag {flag}"),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::File { path, line } => write!(f, "{}, line {line}", path.display()),
        }
    }
}

/// Why a node does not start with these settings.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("unknown setting '{name}' ({origin}){}", suggestion(.nearest))]
    Unknown {
        name: String,
        origin: Origin,
        nearest: Option<&'static str>,
    },
    #[error("setting '{name}' ({origin}){}: {reason}; allowed: {allowed}", shown(.value))]
    Refused {
        name: &'static str,
        origin: Origin,
        /// `None` for secrets.
        value: Option<String>,
        reason: String,
        allowed: String,
    },
    #[error("setting '{name}' ({origin}) must be given as flag --{name}, each time it is meant")]
    FlagOnly { name: &'static str, origin: Origin },
    #[error("setting '{name}' ({origin}) exists for compatibility alone and cannot be set: {doc}")]
    Fixed {
        name: &'static str,
        origin: Origin,
        doc: &'static str,
    },
    #[error("configuration file {}: {reason}", .path.display())]
    File { path: PathBuf, reason: String },
}

impl SettingsError {
    pub(super) fn unknown(name: &str, origin: Origin) -> Self {
        Self::Unknown {
            name: name.chars().take(100).collect(),
            origin,
            nearest: nearest(name),
        }
    }

    pub(super) fn refused(row: &Row, origin: Origin, value: &str, reason: String) -> Self {
        Self::Refused {
            name: row.name,
            origin,
            value: (!matches!(row.kind, Kind::Secret | Kind::Sealed))
                .then(|| value.chars().take(100).collect()),
            reason,
            allowed: row.kind.allowed(),
        }
    }
}

fn suggestion(nearest: &Option<&'static str>) -> String {
    nearest.map_or(String::new(), |name| format!("; did you mean '{name}'?"))
}

fn shown(value: &Option<String>) -> String {
    value
        .as_ref()
        .map_or(String::new(), |value| format!(" is '{value}'"))
}

/// The setting whose name is at most a few letters away.
fn nearest(name: &str) -> Option<&'static str> {
    const DISTANCE_MAX: usize = 3;
    const NAME_BYTES_MAX: usize = 64;
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let name = name.to_ascii_lowercase().replace('_', "-");
    TABLE
        .iter()
        .filter(|row| row.is_operable())
        .map(|row| (distance(&name, row.name), row.name))
        .filter(|(distance, _)| *distance <= DISTANCE_MAX)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Why `CONFIG SET` changed nothing; shown with the words of Redis.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    #[error("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")]
    Refused { name: String, reason: String },
}

/// Why `CONFIG REWRITE` wrote nothing.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    #[error("ERR The server is running without a config file")]
    NoFile,
    #[error("ERR Rewriting config file: {0}")]
    Io(#[from] std::io::Error),
    #[error("ERR Rewriting config file: it no longer reads as it did at start: {0}")]
    Damaged(#[from] SettingsError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_single_edits() {
        assert_eq!(distance("port", "port"), 0);
        assert_eq!(distance("prot", "port"), 2);
        assert_eq!(distance("", "port"), 4);
        assert_eq!(distance("maxmemory", "max-memory"), 1);
    }

    #[test]
    fn a_mistyped_name_is_answered_with_the_meant_one() {
        let error = SettingsError::unknown("max_memory", Origin::Flag("--max_memory".into()));
        assert_eq!(
            error.to_string(),
            "unknown setting 'max_memory' (flag --max_memory); did you mean 'maxmemory'?"
        );
    }
}
