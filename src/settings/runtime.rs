//! The settings of a running node: an immutable part, and a part that `CONFIG SET` changes as a whole.

use super::error::{RewriteError, SetError};
use super::glob;
use super::rewrite;
use super::table::{find, Id, Row, Scope, TABLE};
use super::values::{Live, Startup, Values};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// All settings of a node. Workers read them through a [`LiveView`], which takes no lock while nothing changes.
pub struct Settings {
    startup: Arc<Startup>,
    /// Grows by one with each change of `live`.
    version: AtomicU64,
    live: RwLock<Arc<Live>>,
    state: Mutex<State>,
    file: Option<PathBuf>,
}

/// What `CONFIG` reads and changes.
struct State {
    values: Values,
    /// Set by somebody, as opposed to by default.
    explicit: Vec<Id>,
}

impl Settings {
    pub(super) fn new(values: Values, explicit: Vec<Id>, file: Option<PathBuf>) -> Self {
        Self {
            startup: Arc::new(Startup::from_values(&values)),
            version: AtomicU64::new(1),
            live: RwLock::new(Arc::new(Live::from_values(&values))),
            state: Mutex::new(State { values, explicit }),
            file,
        }
    }

    /// What holds from start to end.
    pub fn startup(&self) -> &Arc<Startup> {
        &self.startup
    }

    /// What holds now.
    pub fn live(&self) -> Arc<Live> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes with every `CONFIG SET`.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The configuration file the node was started with.
    pub fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }

    /// Names and values that match any of the patterns, each name once. A plain name is given back as asked.
    pub fn get<P: AsRef<[u8]>>(&self, patterns: &[P]) -> Vec<(String, String)> {
        let state = self.state();
        let mut found: Vec<(String, String)> = Vec::new();
        for pattern in patterns.iter().map(AsRef::as_ref) {
            if !glob::is_pattern(pattern) {
                let name = String::from_utf8_lossy(pattern);
                if let Some(row) = find(&name) {
                    add(&mut found, &name, &state.values, row);
                }
                continue;
            }
            for row in TABLE {
                for name in [Some(row.name), row.alias].into_iter().flatten() {
                    if glob::matches_in_any_case(pattern, name.as_bytes()) {
                        add(&mut found, name, &state.values, row);
                    }
                }
            }
        }
        found
    }

    /// Changes all of the named settings, or none when one of them is refused.
    pub fn set(&self, pairs: &[(&str, &str)]) -> Result<(), SetError> {
        let mut state = self.state();
        let rows = changeable(pairs, &state.values)?;
        let mut values = state.values.clone();
        for (row, (name, text)) in rows.iter().zip(pairs) {
            if row.scope == Scope::Fixed {
                continue;
            }
            let value = row
                .kind
                .parse(text, Some(values.get(row.id)))
                .map_err(|reason| refused(row, name, &reason))?;
            values.put(row.id, value);
        }
        let live = Arc::new(Live::from_values(&values));
        state.values = values;
        for row in rows {
            if row.scope != Scope::Fixed && !state.explicit.contains(&row.id) {
                state.explicit.push(row.id);
            }
        }
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
        // After the new values are there: whoever sees the new version finds at least them.
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Writes what holds now into the configuration file.
    pub fn rewrite(&self) -> Result<(), RewriteError> {
        let path = self.file.as_ref().ok_or(RewriteError::NoFile)?;
        let state = self.state();
        rewrite::rewrite(path, &state.values, |row| state.explicit.contains(&row.id))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(found: &mut Vec<(String, String)>, name: &str, values: &Values, row: &Row) {
    if !found
        .iter()
        .any(|(known, _)| known.eq_ignore_ascii_case(name))
    {
        found.push((name.to_string(), values.shown(row)));
    }
}

/// The rows of the named settings, when all may be changed and none stands twice.
fn changeable(pairs: &[(&str, &str)], values: &Values) -> Result<Vec<&'static Row>, SetError> {
    let mut rows: Vec<&'static Row> = Vec::with_capacity(pairs.len());
    let mut names: Vec<&str> = Vec::with_capacity(pairs.len());
    for (asked, text) in pairs {
        let name = *asked;
        let row = find(name).ok_or_else(|| SetError::Unknown(name.to_string()))?;
        match row.scope {
            Scope::Live => {}
            // Test suites and tools set these to what they already are.
            Scope::Fixed if values.text(row).eq_ignore_ascii_case(text) => {}
            Scope::Fixed => {
                let reason = format!(
                    "this server has '{}' alone here: {}",
                    values.text(row),
                    row.doc
                );
                return Err(refused(row, name, &reason));
            }
            Scope::Startup | Scope::FlagOnly => {
                return Err(refused(row, name, "can't set immutable config"))
            }
        }
        let name = asked_name(row, name);
        if names.contains(&name) {
            return Err(SetError::Refused {
                name: asked.to_string(),
                reason: "duplicate parameter".into(),
            });
        }
        names.push(name);
        rows.push(row);
    }
    Ok(rows)
}

fn refused(row: &Row, name: &str, reason: &str) -> SetError {
    SetError::Refused {
        name: asked_name(row, name).into(),
        reason: reason.into(),
    }
}

/// The name or the alias, whichever was asked for, as the table writes it.
fn asked_name(row: &Row, name: &str) -> &'static str {
    match row.alias {
        Some(alias) if alias.eq_ignore_ascii_case(name) => alias,
        _ => row.name,
    }
}

/// A reader's own copy of the live settings: asking whether it is current costs one load.
pub struct LiveView {
    settings: Arc<Settings>,
    version: u64,
    live: Arc<Live>,
}

impl LiveView {
    pub fn new(settings: Arc<Settings>) -> Self {
        let version = settings.version();
        let live = settings.live();
        Self {
            settings,
            version,
            live,
        }
    }

    /// Takes up what changed since the last call; call once a turn. Says whether anything did.
    pub fn refresh(&mut self) -> bool {
        let version = self.settings.version();
        if version == self.version {
            return false;
        }
        self.version = version;
        self.live = self.settings.live();
        true
    }

    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }
}

impl std::ops::Deref for LiveView {
    type Target = Live;
    fn deref(&self) -> &Live {
        &self.live
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Builder, MaxmemoryPolicy};

    fn settings() -> Settings {
        Builder::new().build()
    }

    fn get(settings: &Settings, pattern: &str) -> Vec<(String, String)> {
        settings.get(&[pattern])
    }

    fn refusal(settings: &Settings, pairs: &[(&str, &str)]) -> String {
        settings.set(pairs).unwrap_err().to_string()
    }

    #[test]
    fn several_settings_change_together_or_not_at_all() {
        let settings = settings();
        settings
            .set(&[("maxmemory", "1gb"), ("maxmemory-policy", "allkeys-lru")])
            .unwrap();
        let live = settings.live();
        assert_eq!(live.maxmemory_bytes, 1 << 30);
        assert_eq!(live.maxmemory_policy, MaxmemoryPolicy::AllkeysLru);
        assert_eq!(
            refusal(&settings, &[("maxmemory", "5"), ("hz", "x")]),
            "ERR CONFIG SET failed (possibly related to argument 'hz') - argument couldn't be parsed into an integer"
        );
        assert_eq!(settings.live().maxmemory_bytes, 1 << 30);
    }

    #[test]
    fn refusals_carry_the_words_of_redis() {
        let settings = settings();
        for (pairs, expected) in [
            (
                &[("FOO", "1")][..],
                "ERR Unknown option or number of arguments for CONFIG SET - 'FOO'",
            ),
            (
                &[("DataBases", "3")],
                "ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config",
            ),
            (
                &[("hz", "1"), ("HZ", "2")],
                "ERR CONFIG SET failed (possibly related to argument 'HZ') - duplicate parameter",
            ),
            (
                &[("HASH-max-ziplist-entries", "x")],
                "ERR CONFIG SET failed (possibly related to argument 'hash-max-ziplist-entries') - argument couldn't be parsed into an integer",
            ),
        ] {
            assert_eq!(refusal(&settings, pairs), expected);
        }
    }

    #[test]
    fn compatibility_rows_take_the_value_they_have_and_no_other() {
        let settings = settings();
        settings
            .set(&[("save", ""), ("appendonly", "yes")])
            .unwrap();
        assert!(refusal(&settings, &[("save", "900 1")]).contains("argument 'save'"));
        assert_eq!(
            get(&settings, "save"),
            [("save".to_string(), String::new())]
        );
    }

    #[test]
    fn appendonly_and_appendfsync_follow_durability() {
        for (durability, appendonly, appendfsync) in [
            ("always", "yes", "always"),
            ("everysec", "yes", "everysec"),
            ("none", "no", "no"),
        ] {
            let settings = Builder::new()
                .flags([("durability", durability)])
                .unwrap()
                .build();
            assert_eq!(get(&settings, "appendonly")[0].1, appendonly);
            assert_eq!(get(&settings, "appendfsync")[0].1, appendfsync);
        }
    }

    #[test]
    fn get_answers_names_patterns_and_aliases() {
        let settings = settings();
        assert_eq!(
            get(&settings, "PORT"),
            [("PORT".to_string(), "6379".to_string())]
        );
        assert_eq!(get(&settings, "nothing"), []);
        let names: Vec<_> = get(&settings, "hash-max-?????????value")
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["hash-max-listpack-value"]);
        assert_eq!(get(&settings, "Hash-max-zip*").len(), 2);
        assert_eq!(settings.get(&["port", "po?t", "PORT"]).len(), 1);
    }

    #[test]
    fn output_limits_merge_into_those_that_hold() {
        let settings = settings();
        settings
            .set(&[("client-output-buffer-limit", "normal 1mb 2mb 3")])
            .unwrap();
        assert_eq!(
            get(&settings, "client-output-buffer-limit")[0].1,
            "normal 1048576 2097152 3 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
        );
    }

    #[test]
    fn a_view_notices_a_change_once() {
        let settings = Arc::new(settings());
        let mut view = LiveView::new(settings.clone());
        assert!(!view.refresh());
        settings.set(&[("timeout", "5")]).unwrap();
        assert_eq!(view.timeout_seconds, 0);
        assert!(view.refresh());
        assert_eq!(view.timeout_seconds, 5);
        assert!(!view.refresh());
    }
}
