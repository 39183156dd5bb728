//! `CONFIG REWRITE`: writes the values that hold now into the configuration file, keeping its comments.

use super::error::{RewriteError, SettingsError};
use super::file::FileText;
use super::kind::{Kind, Value};
use super::table::{find, Row, Scope, TABLE};
use super::values::Values;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

const HEADING: &str = "# Added by CONFIG REWRITE";

/// Replaces the file at `path` in one step. `is_explicit` says which settings somebody has set.
pub(super) fn rewrite(
    path: &Path,
    values: &Values,
    is_explicit: impl Fn(&Row) -> bool,
) -> Result<(), RewriteError> {
    let text = fs::read_to_string(path)?;
    let new = rewritten(path, &text, values, is_explicit)?;
    replace(path, new.as_bytes())?;
    Ok(())
}

/// The new text: values that differ replaced where they stand, missing ones appended.
fn rewritten(
    path: &Path,
    text: &str,
    values: &Values,
    is_explicit: impl Fn(&Row) -> bool,
) -> Result<String, SettingsError> {
    let file = FileText::parse(path, text)?;
    let mut present = Vec::new();
    let mut new = text.to_string();
    // Backwards, so that the places of earlier values stay right.
    for entry in file.entries.iter().rev() {
        let row = find(&entry.name)
            .ok_or_else(|| SettingsError::unknown(&entry.name, entry.origin.clone()))?;
        present.push(row.id);
        let unchanged = row
            .kind
            .parse(&entry.value, None)
            .is_ok_and(|value| value == *values.get(row.id));
        if !unchanged {
            new.replace_range(entry.span.clone(), &literal(row, values));
        }
    }
    let mut added = String::new();
    for row in TABLE {
        let writable = matches!(row.scope, Scope::Startup | Scope::Live);
        if writable && !present.contains(&row.id) && is_explicit(row) {
            added.push_str(&format!("{} = {}\n", row.name, literal(row, values)));
        }
    }
    if !added.is_empty() {
        if !new.is_empty() && !new.ends_with('\n') {
            new.push('\n');
        }
        if !new.contains(HEADING) {
            new.push_str(HEADING);
            new.push('\n');
        }
        new.push_str(&added);
    }
    Ok(new)
}

/// The value as TOML.
fn literal(row: &Row, values: &Values) -> String {
    match (row.kind, values.get(row.id)) {
        (Kind::Bool, Value::Number(number)) => (*number != 0).to_string(),
        (Kind::Integer { .. } | Kind::Clamped { .. } | Kind::Bytes { .. }, Value::Number(n)) => {
            n.to_string()
        }
        _ => toml::Value::String(values.text(row)).to_string(),
    }
}

/// Writes beside the file, syncs, renames: at any moment the whole old or the whole new file is there.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = dir.join(name);
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        // The file may hold a password: whoever could not read it before cannot now.
        file.set_permissions(fs::metadata(path)?.permissions())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // Best effort: the error that counts is the first one.
        let _ = fs::remove_file(&temporary);
        return written;
    }
    // The rename is not durable until the directory's entry is.
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use crate::settings::{Builder, Settings};
    use std::fs;
    use tempfile::TempDir;

    fn settings(text: &str, flags: &[(&str, &str)]) -> (TempDir, Settings) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ringfort.toml");
        fs::write(&path, text).unwrap();
        let builder = Builder::new().file(&path, text).unwrap();
        let settings = builder.flags(flags.iter().copied()).unwrap().build();
        (dir, settings)
    }

    fn file(dir: &TempDir) -> String {
        fs::read_to_string(dir.path().join("ringfort.toml")).unwrap()
    }

    #[test]
    fn rewriting_keeps_comments_and_untouched_forms() {
        let text = "# mine\nmaxmemory = '1gb' # plenty\nbind = [ '127.0.0.1' ]\ntimeout = 7\n";
        let (dir, settings) = settings(text, &[]);
        settings
            .set(&[("timeout", "9"), ("requirepass", "a\"b\\c")])
            .unwrap();
        settings.rewrite().unwrap();
        let expected = "# mine\nmaxmemory = '1gb' # plenty\nbind = [ '127.0.0.1' ]\ntimeout = 9\n\
             # Added by CONFIG REWRITE\nrequirepass = ";
        let new = file(&dir);
        assert!(new.starts_with(expected), "{new}");
        let again = Builder::new()
            .file(&dir.path().join("ringfort.toml"), &new)
            .unwrap()
            .build();
        assert_eq!(again.live().requirepass, "a\"b\\c");
        assert_eq!(again.live().timeout_seconds, 9);
    }

    #[test]
    fn rewriting_twice_changes_nothing_more() {
        let (dir, settings) = settings("", &[("port", "7000"), ("accept-data-loss", "yes")]);
        settings.rewrite().unwrap();
        let once = file(&dir);
        settings.rewrite().unwrap();
        assert_eq!(file(&dir), once);
        assert_eq!(once, "# Added by CONFIG REWRITE\nport = 7000\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_was_damaged_meanwhile_is_left_alone() {
        let (dir, settings) = settings("timeout = 1\n", &[]);
        fs::write(dir.path().join("ringfort.toml"), "timeout = = 1\n").unwrap();
        settings.set(&[("timeout", "2")]).unwrap();
        let error = settings.rewrite().unwrap_err().to_string();
        assert!(error.starts_with("ERR Rewriting config file: "), "{error}");
        assert_eq!(file(&dir), "timeout = = 1\n");
    }

    #[test]
    fn without_a_file_there_is_nothing_to_rewrite() {
        let error = Builder::new().build().rewrite().unwrap_err();
        assert_eq!(
            error.to_string(),
            "ERR The server is running without a config file"
        );
    }
}
