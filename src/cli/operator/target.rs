//! Where the commands turn to, and with what password: flags, then the environment, then defaults. Opens no connection.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{value_parser, Arg, ArgAction, ArgMatches, Command};

/// Addresses of nodes' HTTP ports.
pub const HTTP_VARIABLE: &str = "RINGFORT_HTTP";
pub const PASSWORD_VARIABLE: &str = "RINGFORT_PASSWORD";
const HTTP_DEFAULT: &str = "127.0.0.1:8379";
const HTTP_PORT_DEFAULT: u16 = 8379;
const ADDRESSES_MAX: usize = 64;
const PASSWORD_BYTES_MAX: u64 = 64 << 10;

const HTTP: &str = "http";
const PASSWORD: &str = "password";
const PASSWORD_FILE: &str = "password-file";

/// Whom to ask.
#[derive(Clone, Default)]
pub struct Target {
    /// As `host:port`, with a path behind it where a proxy wants one; never empty.
    pub(super) addresses: Vec<String>,
    pub(super) password: Option<Vec<u8>>,
    /// The password was visible to everybody on the machine.
    pub(super) is_password_shown: bool,
}

/// Never shows the password.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// Adds the flags that every command has.
pub(super) fn add_flags(command: Command) -> Command {
    let heading = "Where to";
    command
        .arg(
            Arg::new(HTTP)
                .long(HTTP)
                .value_name("HOST:PORT")
                .action(ArgAction::Append)
                .value_delimiter(',')
                .global(true)
                .help_heading(heading)
                .help("HTTP port of a node; of several the next is tried when one cannot be reached [env: RINGFORT_HTTP] [default: 127.0.0.1:8379]"),
        )
        .arg(
            Arg::new(PASSWORD_FILE)
                .long(PASSWORD_FILE)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .conflicts_with(PASSWORD)
                .global(true)
                .help_heading(heading)
                .help("File with the nodes' password [env: RINGFORT_PASSWORD has the password itself]"),
        )
        .arg(
            Arg::new(PASSWORD)
                .short('a')
                .long(PASSWORD)
                .value_name("PASSWORD")
                .allow_hyphen_values(true)
                .global(true)
                .help_heading(heading)
                .help("The nodes' password; everybody on this machine can read it here"),
        )
}

impl Target {
    /// # Errors
    /// What is wrong with an address, or that the password cannot be read.
    pub(super) fn read(matches: &ArgMatches, env: &[(OsString, OsString)]) -> Result<Self, String> {
        let variable = |name: &str| {
            let found = env
                .iter()
                .find(|(key, value)| key == name && !value.is_empty());
            found.map(|(_, value)| value)
        };
        let given: Vec<String> = match matches.get_many::<String>(HTTP) {
            Some(given) => given.cloned().collect(),
            None => match variable(HTTP_VARIABLE) {
                Some(value) => value
                    .to_str()
                    .ok_or(format!("{HTTP_VARIABLE} is not valid UTF-8"))?
                    .split(',')
                    .map(str::to_string)
                    .collect(),
                None => vec![HTTP_DEFAULT.to_string()],
            },
        };
        let wanted = given
            .iter()
            .map(|text| text.trim())
            .filter(|text| !text.is_empty());
        let addresses = wanted.map(address).collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() || addresses.len() > ADDRESSES_MAX {
            return Err(format!("--http: 1 to {ADDRESSES_MAX} addresses are needed"));
        }
        let shown = matches.get_one::<String>(PASSWORD);
        let file = matches.get_one::<PathBuf>(PASSWORD_FILE);
        let password = match (file, shown) {
            (Some(file), _) => Some(read_password(file)?),
            (None, Some(password)) => Some(password.as_bytes().to_vec()),
            (None, None) => variable(PASSWORD_VARIABLE).map(|value| {
                use std::os::unix::ffi::OsStrExt;
                value.as_bytes().to_vec()
            }),
        };
        Ok(Self {
            addresses,
            password,
            is_password_shown: shown.is_some(),
        })
    }
}

/// `host:port` of an address as operators write it: with or without `http://`, with or without a port.
fn address(text: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("--http '{text}': {why}"));
    if text
        .get(..8)
        .is_some_and(|start| start.eq_ignore_ascii_case("https://"))
    {
        return wrong("the nodes' HTTP port speaks no TLS; give http://HOST:PORT of a node or of a tunnel to one");
    }
    let plain = match text.get(..7) {
        Some(start) if start.eq_ignore_ascii_case("http://") => &text[7..],
        _ => text,
    };
    let whole = format!("http://{plain}");
    let Ok(uri) = whole.parse::<ureq::http::Uri>() else {
        return wrong("HOST:PORT or http://HOST:PORT is needed");
    };
    let Some(authority) = uri
        .authority()
        .filter(|authority| !authority.host().is_empty())
    else {
        return wrong("the host is missing");
    };
    if authority.as_str().contains('@') {
        return wrong("give the password with --password-file or RINGFORT_PASSWORD");
    }
    if uri.query().is_some() || plain.contains('#') {
        return wrong("HOST:PORT or http://HOST:PORT is needed");
    }
    let after_host = &authority.as_str()[authority.host().len()..];
    let port = match after_host.strip_prefix(':') {
        None => HTTP_PORT_DEFAULT,
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => port,
            _ => return wrong("the port must be a number from 1 to 65535"),
        },
    };
    Ok(format!(
        "{}:{port}{}",
        authority.host(),
        uri.path().trim_end_matches('/')
    ))
}

/// The first line of the file.
fn read_password(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let failed = |reason: String| format!("--password-file {}: {reason}", path.display());
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut text = Vec::new();
    file.take(PASSWORD_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > PASSWORD_BYTES_MAX {
        return Err(failed(format!("longer than {PASSWORD_BYTES_MAX} bytes")));
    }
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(failed(
            "the first line is empty; it should be the password".into(),
        ));
    }
    Ok(line.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str], env: &[(&str, &str)]) -> Result<Target, String> {
        let args = std::iter::once("status").chain(args.iter().copied());
        let matches = add_flags(Command::new("status"))
            .try_get_matches_from(args)
            .map_err(|e| e.to_string())?;
        let env: Vec<_> = env
            .iter()
            .map(|(n, v)| (OsString::from(n), OsString::from(v)))
            .collect();
        Target::read(&matches, &env)
    }

    #[test]
    fn flags_stand_over_the_environment_and_that_over_the_default() {
        let env = [(HTTP_VARIABLE, "b:1, c:2,"), (PASSWORD_VARIABLE, "secret")];
        assert_eq!(read(&[], &[]).unwrap().addresses, ["127.0.0.1:8379"]);
        assert_eq!(read(&[], &env).unwrap().addresses, ["b:1", "c:2"]);
        let target = read(&["--http", "d:3,e:4", "--http", "f"], &env).unwrap();
        assert_eq!(target.addresses, ["d:3", "e:4", "f:8379"]);
        assert_eq!(target.password.as_deref(), Some(&b"secret"[..]));
        assert!(!target.is_password_shown);
        let target = read(&["-a", "-x"], &env).unwrap();
        assert_eq!(target.password.as_deref(), Some(&b"-x"[..]));
        assert!(target.is_password_shown);
        assert!(!format!("{target:?}").contains("-x"));
    }

    #[test]
    fn addresses_are_taken_in_all_usual_forms() {
        let taken = [
            "h",
            "h:1",
            "http://h",
            "HTTP://h:1/",
            "[::1]:9",
            "[::1]",
            "h:1/ring/",
        ]
        .map(|text| address(text).unwrap());
        assert_eq!(
            taken,
            [
                "h:8379",
                "h:1",
                "h:8379",
                "h:1",
                "[::1]:9",
                "[::1]:8379",
                "h:1/ring"
            ]
        );
        for wrong in [
            "https://h:1",
            "h:0",
            "h:70000",
            "h:x",
            "u:p@h:1",
            "h:1?a=b",
            ":1",
            "h h",
            "ftp://h",
            "h:1#x",
            "::1",
        ] {
            let error = address(wrong).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
        assert!(read(&["--http", ","], &[]).is_err());
    }

    #[test]
    fn the_password_is_the_file_s_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let from = |text: &[u8]| {
            std::fs::write(&path, text).unwrap();
            read(
                &["--password-file", path.to_str().unwrap()],
                &[(PASSWORD_VARIABLE, "other")],
            )
        };
        assert_eq!(from(b"s e\xff\r\n").unwrap().password.unwrap(), b"s e\xff");
        assert!(from(b"\nx").unwrap_err().contains("first line"));
        assert!(from(&[b'x'; 70_000]).unwrap_err().contains("longer"));
        assert!(read(&["--password-file", "/nonexistent/p"], &[])
            .unwrap_err()
            .contains("/nonexistent/p"));
        assert!(read(&["--password-file", "p", "-a", "q"], &[]).is_err());
    }
}
