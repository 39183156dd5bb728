//! Gathers values from the file, the environment and the flags, each later one over those before.

use super::error::{Origin, SettingsError};
use super::file::FileText;
use super::table::{find, Id, Row, Scope};
use super::values::Values;
use super::Settings;
use std::path::{Path, PathBuf};

/// Prefix of the environment variables that are settings.
const PREFIX: &str = "RINGFORT_";

/// Names the configuration file, like the flag `--config`.
pub const CONFIG_VARIABLE: &str = "RINGFORT_CONFIG";

/// Settings under construction. Give the sources in the order of precedence: file, environment, flags.
pub struct Builder {
    values: Values,
    explicit: Vec<Id>,
    file: Option<PathBuf>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    pub fn new() -> Self {
        Self {
            values: Values::defaults(),
            explicit: Vec::new(),
            file: None,
        }
    }

    /// Takes the TOML text of a configuration file; `CONFIG REWRITE` will write to `path`.
    pub fn file(mut self, path: &Path, text: &str) -> Result<Self, SettingsError> {
        for entry in FileText::parse(path, text)?.entries {
            self.put(&entry.name, &entry.value, entry.origin)?;
        }
        self.file = Some(path.to_path_buf());
        Ok(self)
    }

    /// Takes those of the given variables that are settings.
    pub fn environment<I>(mut self, variables: I) -> Result<Self, SettingsError>
    where
        I: IntoIterator<Item = (String, String)>,
    {
        for (variable, value) in variables {
            let Some(rest) = variable.strip_prefix(PREFIX) else {
                continue;
            };
            if variable == CONFIG_VARIABLE || is_kubernetes_link(rest, &value) {
                continue;
            }
            let name = rest.to_ascii_lowercase().replace('_', "-");
            self.put(&name, &value, Origin::Environment(variable))?;
        }
        Ok(self)
    }

    /// Takes flags, as pairs of a setting's name (without dashes) and its value.
    pub fn flags<'a, I>(mut self, flags: I) -> Result<Self, SettingsError>
    where
        I: IntoIterator<Item = (&'a str, &'a str)>,
    {
        for (name, value) in flags {
            self.put(name, value, Origin::Flag(format!("--{name}")))?;
        }
        Ok(self)
    }

    /// The settings to start with.
    pub fn build(mut self) -> Settings {
        let explicit = self.explicit.clone();
        self.values.resolve(|id| explicit.contains(&id));
        Settings::new(self.values, self.explicit, self.file)
    }

    fn put(&mut self, name: &str, text: &str, origin: Origin) -> Result<(), SettingsError> {
        let row = settable(name, &origin)?;
        // A source replaces what an earlier one said as a whole: no merging across sources.
        let value = row
            .kind
            .parse(text, None)
            .and_then(|value| match row.id {
                Id::Dir if text.is_empty() => Err("a directory is needed".into()),
                _ => Ok(value),
            })
            .map_err(|reason| SettingsError::refused(row, origin, text, reason))?;
        self.values.put(row.id, value);
        if !self.explicit.contains(&row.id) {
            self.explicit.push(row.id);
        }
        Ok(())
    }
}

/// The row that this source may set under this name.
fn settable(name: &str, origin: &Origin) -> Result<&'static Row, SettingsError> {
    let row = find(name).ok_or_else(|| SettingsError::unknown(name, origin.clone()))?;
    match row.scope {
        Scope::Startup | Scope::Live => Ok(row),
        Scope::FlagOnly if matches!(origin, Origin::Flag(_)) => Ok(row),
        Scope::FlagOnly => Err(SettingsError::FlagOnly {
            name: row.name,
            origin: origin.clone(),
        }),
        Scope::Fixed => Err(SettingsError::Fixed {
            name: row.name,
            origin: origin.clone(),
            doc: row.doc,
        }),
    }
}

/// Kubernetes describes every service of a namespace by variables: next to a service called `ringfort`
/// each pod finds `RINGFORT_PORT=tcp://10.0.0.7:6379`, `RINGFORT_SERVICE_HOST` and their like.
fn is_kubernetes_link(rest: &str, value: &str) -> bool {
    rest.starts_with("SERVICE_")
        || rest.starts_with("PORT_")
        || rest == "PORT" && value.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> &'static Path {
        Path::new("/etc/ringfort.toml")
    }

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    fn refused(text: &str) -> String {
        match Builder::new().file(path(), text) {
            Ok(_) => panic!("{text} was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn flags_stand_over_environment_over_file_over_default() {
        let settings = Builder::new()
            .file(path(), "port = 1\nshards = 2\ndatabases = 3\n")
            .unwrap()
            .environment(env(&[("RINGFORT_PORT", "11"), ("RINGFORT_SHARDS", "12")]))
            .unwrap()
            .flags([("port", "111")])
            .unwrap()
            .build();
        let startup = settings.startup();
        assert_eq!(
            (
                startup.port,
                startup.shards,
                startup.databases,
                startup.http_port
            ),
            (111, 12, 3, 8379)
        );
    }

    #[test]
    fn a_file_may_use_the_types_of_toml() {
        let settings = Builder::new()
            .file(
                path(),
                "bind = ['127.0.0.1', \"::1\"]\nmaxmemory = '1gb'\nwal-max-bytes = 33_554_432\nprotected-mode = false\n",
            )
            .unwrap()
            .build();
        let live = settings.live();
        assert_eq!(settings.startup().bind.len(), 2);
        assert_eq!(live.maxmemory_bytes, 1 << 30);
        assert_eq!(live.wal_max_bytes, 32 << 20);
        assert!(!live.protected_mode);
    }

    #[test]
    fn a_refusal_names_setting_origin_and_what_is_allowed() {
        assert_eq!(
            refused("timeout = 5\n\nport = 70000\n"),
            "setting 'port' (/etc/ringfort.toml, line 3) is '70000': argument must be between 0 and 65535 \
             inclusive; allowed: an integer from 0 to 65535"
        );
        assert_eq!(
            refused("prot = 1"),
            "unknown setting 'prot' (/etc/ringfort.toml, line 1); did you mean 'port'?"
        );
        assert!(refused("port = 1.5").contains("'port' (/etc/ringfort.toml, line 1)"));
        assert!(refused("[port]\nx = 1").contains("'port'"));
        assert!(refused("port = ").contains("line 1"));
        assert!(refused("save = ''").contains("compatibility"));
    }

    #[test]
    fn unknown_variables_are_refused_and_those_of_kubernetes_passed_over() {
        let error = Builder::new()
            .environment(env(&[("RINGFORT_PROT", "1")]))
            .err()
            .unwrap();
        assert!(error
            .to_string()
            .contains("environment variable RINGFORT_PROT"));
        let settings = Builder::new()
            .environment(env(&[
                ("RINGFORT_PORT", "tcp://10.0.0.7:6379"),
                ("RINGFORT_PORT_6379_TCP_ADDR", "10.0.0.7"),
                ("RINGFORT_SERVICE_HOST", "10.0.0.7"),
                ("RINGFORT_CONFIG", "/etc/ringfort.toml"),
                ("PATH", "/bin"),
            ]))
            .unwrap()
            .build();
        assert_eq!(settings.startup().port, 6379);
    }

    #[test]
    fn data_loss_is_accepted_by_flag_alone() {
        assert!(refused("accept-data-loss = true").contains("flag --accept-data-loss"));
        assert!(Builder::new()
            .environment(env(&[("RINGFORT_ACCEPT_DATA_LOSS", "yes")]))
            .is_err());
        let settings = Builder::new()
            .flags([("accept-data-loss", "yes")])
            .unwrap()
            .build();
        assert!(settings.startup().accept_data_loss);
    }

    #[test]
    fn one_thread_per_core_unless_told_otherwise() {
        let settings = Builder::new().build();
        assert!(settings.startup().threads >= 1);
        let settings = Builder::new().flags([("threads", "3")]).unwrap().build();
        assert_eq!(settings.startup().threads, 3);
    }
}
