//! The command line: reads arguments, environment and file into settings. Starts nothing itself.

pub mod demo;
mod flags;
pub mod logging;
pub mod operator;

use crate::settings::{Builder, Settings, SettingsError, CONFIG_VARIABLE};
use clap::{ArgMatches, Command};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What the operator asked for.
pub enum Invocation {
    /// Run a node.
    Serve(Box<Settings>),
    /// Run a cluster on this machine.
    Demo(demo::Demo),
    /// Ask a cluster, or order it something.
    Operate(Box<operator::Operation>),
    /// Print this (help, version) and end well.
    Print(String),
}

/// What is wrong with the command line, or with a setting from anywhere.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}")]
    Usage(String),
    #[error("ringfort: {0}")]
    Settings(#[from] SettingsError),
}

impl CliError {
    /// For every mistake of the operator.
    pub const EXIT_CODE: i32 = 2;
}

/// Configuration files are small; a larger one is something else by mistake.
const CONFIG_FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a command line. `args` starts with the program's name; `env` is the whole environment.
pub fn parse<A, E>(args: A, env: E) -> Result<Invocation, CliError>
where
    A: IntoIterator<Item = OsString>,
    E: IntoIterator<Item = (OsString, OsString)>,
{
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => {
            return Err(CliError::Usage(error.to_string().trim_end().to_string()))
        }
        Err(error) => return Ok(Invocation::Print(error.to_string())),
    };
    if let Some(matches) = matches.subcommand_matches("demo") {
        return Ok(Invocation::Demo(demo::Demo::from_matches(matches)));
    }
    let env: Vec<(OsString, OsString)> = env.into_iter().collect();
    if let Some(operation) = operator::from_matches(&matches, &env) {
        let operation =
            operation.map_err(|reason| CliError::Usage(format!("ringfort: {reason}")))?;
        return Ok(Invocation::Operate(Box::new(operation)));
    }
    let matches = matches.subcommand_matches("serve").unwrap_or(&matches);
    let has_operator_password = env
        .iter()
        .any(|(name, value)| name == operator::PASSWORD_VARIABLE && !value.is_empty());
    let settings = settings(matches, own_variables(env)?)?;
    // Taken in silence, it would look as if the node had a password.
    if has_operator_password && settings.live().requirepass.is_empty() {
        return Err(CliError::Usage(PASSWORD_OF_OPERATOR.into()));
    }
    Ok(Invocation::Serve(Box::new(settings)))
}

const PASSWORD_OF_OPERATOR: &str =
    "ringfort: RINGFORT_PASSWORD is what the operator's commands send; a node's own password is \
     RINGFORT_REQUIREPASS (setting requirepass): set that too, or unset RINGFORT_PASSWORD";

fn command() -> Command {
    let about = "A Redis-protocol-compatible cache and key-value tier";
    let serve = flags::add(
        Command::new("serve")
            .about("Run a node (what `ringfort` alone does, too)")
            .after_help(
                "Example:\n  ringfort serve --port 7000 --maxmemory 2gb\n\n\
                 Each setting can also be an environment variable (RINGFORT_PORT for --port) or a line \
                 of a TOML file (--config). Flags win over the environment, the environment over the file.",
            ),
        flags::Listing::Shown,
    );
    flags::add(Command::new("ringfort").about(about), flags::Listing::Hidden)
        .version(env!("CARGO_PKG_VERSION"))
        .args_conflicts_with_subcommands(true)
        .after_help("`ringfort` runs a node. `ringfort serve --help` lists its settings; they may follow `ringfort` directly.")
        .subcommand(serve)
        .subcommand(demo::command())
        .subcommands(operator::commands())
}

fn settings(matches: &ArgMatches, env: Vec<(String, String)>) -> Result<Settings, CliError> {
    let mut builder = Builder::new();
    if let Some(path) = config_path(matches, &env) {
        builder = builder.file(&path, &read_config(&path)?)?;
    }
    let given = flags::given(matches);
    let given = given
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    Ok(builder.environment(env)?.flags(given)?.build())
}

fn config_path(matches: &ArgMatches, env: &[(String, String)]) -> Option<PathBuf> {
    let from_env = || {
        env.iter()
            .find(|(name, value)| name == CONFIG_VARIABLE && !value.is_empty())
            .map(|(_, value)| PathBuf::from(value))
    };
    flags::config(matches).or_else(from_env)
}

fn read_config(path: &Path) -> Result<String, SettingsError> {
    let failed = |reason: String| SettingsError::File {
        path: path.to_path_buf(),
        reason,
    };
    let length = std::fs::metadata(path)
        .map_err(|error| failed(error.to_string()))?
        .len();
    if length > CONFIG_FILE_BYTES_MAX {
        return Err(failed(format!("longer than {CONFIG_FILE_BYTES_MAX} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))
}

/// The variables that are meant for this program, as text.
fn own_variables<E>(env: E) -> Result<Vec<(String, String)>, CliError>
where
    E: IntoIterator<Item = (OsString, OsString)>,
{
    let mut own = Vec::new();
    for (name, value) in env {
        let Some(name) = name.to_str().filter(|name| is_setting(name)) else {
            continue;
        };
        let value = value.into_string().map_err(|_| {
            CliError::Usage(format!(
                "ringfort: environment variable {name} is not valid UTF-8"
            ))
        })?;
        own.push((name.to_string(), value));
    }
    // The environment comes in no order; messages about it should always be the same.
    own.sort();
    Ok(own)
}

/// Settings of a node have the prefix too, but these are for the commands that ask one.
fn is_setting(variable: &str) -> bool {
    variable.starts_with("RINGFORT_")
        && ![operator::HTTP_VARIABLE, operator::PASSWORD_VARIABLE].contains(&variable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TABLE;

    fn run(args: &[&str], env: &[(&str, &str)]) -> Result<Invocation, CliError> {
        parse(
            std::iter::once("ringfort")
                .chain(args.iter().copied())
                .map(OsString::from),
            env.iter()
                .map(|(n, v)| (OsString::from(n), OsString::from(v))),
        )
    }

    fn served(args: &[&str], env: &[(&str, &str)]) -> Settings {
        match run(args, env) {
            Ok(Invocation::Serve(settings)) => *settings,
            Ok(Invocation::Print(text)) => panic!("printed {text}"),
            Ok(Invocation::Demo(demo)) => panic!("{demo:?}"),
            Ok(Invocation::Operate(operation)) => panic!("{operation:?}"),
            Err(error) => panic!("{error}"),
        }
    }

    fn printed(args: &[&str]) -> String {
        match run(args, &[]) {
            Ok(Invocation::Print(text)) => text,
            Ok(_) => panic!("served"),
            Err(error) => panic!("{error}"),
        }
    }

    fn refused(args: &[&str]) -> String {
        match run(args, &[]) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{args:?} was taken"),
        }
    }

    #[test]
    fn a_node_is_served_with_and_without_the_word() {
        assert_eq!(served(&[], &[]).startup().port, 6379);
        assert_eq!(served(&["serve"], &[]).startup().port, 6379);
        assert_eq!(served(&["--port", "7"], &[]).startup().port, 7);
        assert_eq!(served(&["serve", "--port=7"], &[]).startup().port, 7);
    }

    #[test]
    fn a_demo_has_three_nodes_unless_told_otherwise() {
        let demo = |args: &[&str]| match run(args, &[]) {
            Ok(Invocation::Demo(demo)) => demo,
            _ => panic!("no demo"),
        };
        let usual = demo(&["demo"]);
        assert_eq!((usual.nodes, usual.port, usual.dir), (3, 6379, None));
        assert_eq!(demo(&["demo", "--nodes", "5", "--port", "7001"]).nodes, 5);
        assert!(refused(&["demo", "--nodes", "0"]).contains("--nodes"));
        assert!(refused(&["demo", "--port", "65535"]).contains("--port"));
    }

    #[test]
    fn flags_take_negative_numbers_and_several_addresses() {
        let settings = served(
            &[
                "--slowlog-log-slower-than",
                "-1",
                "--bind",
                "127.0.0.1",
                "--bind",
                "-::1",
                "--hash-max-ziplist-value",
                "7",
                "--accept-data-loss",
            ],
            &[],
        );
        assert_eq!(settings.live().slowlog_log_slower_than_us, -1);
        assert_eq!(settings.live().hash_max_listpack_value, 7);
        assert_eq!(settings.startup().bind.len(), 2);
        assert!(settings.startup().accept_data_loss);
    }

    #[test]
    fn the_file_is_found_by_flag_or_variable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        std::fs::write(&path, "port = 7\nhttp-port = 8\n").unwrap();
        let path = path.to_str().unwrap();
        let env = [("RINGFORT_CONFIG", path), ("RINGFORT_HTTP_PORT", "9")];
        let settings = served(&[], &env);
        assert_eq!(
            (settings.startup().port, settings.startup().http_port),
            (7, 9)
        );
        let settings = served(&["--config", path], &[]);
        assert_eq!(settings.file().unwrap().to_str(), Some(path));
        assert_eq!(settings.startup().http_port, 8);
    }

    #[test]
    fn mistakes_name_what_is_wrong() {
        assert!(refused(&["--port", "70000"]).contains("setting 'port' (flag --port) is '70000'"));
        assert!(refused(&["--prot", "7"]).contains("--port"));
        assert!(refused(&["--save", "x"]).contains("--save"));
        assert!(refused(&["--config", "/nonexistent/x.toml"]).contains("/nonexistent/x.toml"));
        assert!(refused(&["sevre"]).contains("serve"));
        assert!(!refused(&["--requirepass", "hush", "--hz", "x"]).contains("hush"));
    }

    #[test]
    fn variables_that_are_no_text_are_refused() {
        use std::os::unix::ffi::OsStringExt;
        let bad = (
            OsString::from("RINGFORT_DIR"),
            OsString::from_vec(vec![0xff]),
        );
        let error = parse([OsString::from("ringfort")], [bad]).err().unwrap();
        assert!(error.to_string().contains("RINGFORT_DIR"));
    }

    #[test]
    fn help_lists_every_setting_that_can_be_set() {
        let help = printed(&["serve", "--help"]);
        for row in TABLE {
            let flag = format!("--{} ", row.name);
            let flag_alone = format!("--{}\n", row.name);
            let listed = help.contains(&flag) || help.contains(&flag_alone);
            assert_eq!(listed, row.is_operable(), "{}\n{help}", row.name);
            if row.is_operable() {
                assert!(help.contains(row.group.heading()));
            }
        }
        assert!(help.contains("RINGFORT_MAXMEMORY"));
    }

    #[test]
    fn variables_of_the_operator_s_commands_are_no_settings() {
        let http = ("RINGFORT_HTTP", "h:1");
        assert_eq!(served(&[], &[http]).startup().port, 6379);
        let password = ("RINGFORT_PASSWORD", "hush");
        let with_own = [http, password, ("RINGFORT_REQUIREPASS", "hush")];
        assert_eq!(served(&[], &with_own).live().requirepass, "hush");
        let error = run(&[], &[password]).err().unwrap().to_string();
        assert!(error.contains("RINGFORT_REQUIREPASS") && !error.contains("hush"));
        assert!(matches!(
            run(&["status"], &[http, password, ("RINGFORT_NONSENSE", "1")]),
            Ok(Invocation::Operate(_))
        ));
    }

    #[test]
    fn every_command_s_help_has_an_example() {
        fn walk(command: &Command, words: &mut Vec<String>, seen: &mut usize) {
            for child in command.get_subcommands() {
                words.push(child.get_name().to_string());
                for flag in ["--help", "-h"] {
                    let args: Vec<&str> = words.iter().map(String::as_str).chain([flag]).collect();
                    let help = printed(&args);
                    assert!(help.contains("Example"), "{args:?}\n{help}");
                    *seen += 1;
                }
                walk(child, words, seen);
                words.pop();
            }
        }
        let mut seen = 0;
        walk(&command(), &mut Vec::new(), &mut seen);
        assert!(seen >= 36, "{seen}");
    }

    #[test]
    fn the_short_help_names_the_long_one() {
        let help = printed(&["--help"]);
        assert!(help.contains("serve --help"));
        assert!(!help.contains("--maxmemory"));
        assert!(printed(&["--version"]).contains(env!("CARGO_PKG_VERSION")));
    }
}
