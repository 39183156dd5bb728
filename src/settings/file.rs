//! The TOML file: a flat list of settings, with the place of each value so that it can be rewritten.

use super::error::{Origin, SettingsError};
use std::ops::Range;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// One `name = value` of the file.
pub(super) struct Entry {
    pub name: String,
    /// As the table's kinds read it.
    pub value: String,
    pub origin: Origin,
    /// Where the value stands, in bytes.
    pub span: Range<usize>,
}

/// A parsed file.
pub(super) struct FileText {
    pub entries: Vec<Entry>,
}

impl FileText {
    pub fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let table = DeTable::parse(text).map_err(|error| {
            let line = line_of(text, error.span().map_or(0, |span| span.start));
            SettingsError::File {
                path: path.to_path_buf(),
                reason: format!("line {line}: {}", error.message()),
            }
        })?;
        let mut entries = Vec::new();
        for (name, value) in table.into_inner() {
            let origin = Origin::File {
                path: path.to_path_buf(),
                line: line_of(text, name.span().start),
            };
            let span = value.span();
            let name = name.into_inner().into_owned();
            let value = scalar(value.get_ref()).ok_or_else(|| SettingsError::File {
                path: path.to_path_buf(),
                reason: format!(
                    "setting '{name}' ({origin}) must be a number, a string, true or false, or a list of those"
                ),
            })?;
            entries.push(Entry {
                name,
                value,
                origin,
                span,
            });
        }
        entries.sort_by_key(|entry| entry.span.start);
        Ok(Self { entries })
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(yes) => Some(if *yes { "yes" } else { "no" }.into()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|n| n.to_string()),
        DeValue::Array(items) => items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::Array(_) => None,
                single => scalar(single),
            })
            .collect::<Option<Vec<_>>>()
            .map(|items| items.join(" ")),
        _ => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|&&b| b == b'\n').count()
}
