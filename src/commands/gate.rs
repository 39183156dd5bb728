//! Who may run a command: asked by the node before it runs one.

use std::net::IpAddr;

use crate::settings::DebugCommand;

use super::spec::{Command, Flags};
use super::{CommandError, Host, Session};

const NO_AUTH: &str = "NOAUTH Authentication required.";

const NO_DEBUG: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", \
    you can run it from a local connection, otherwise you need to set this option in the configuration file, \
    and then restart the server.";

/// Why this session may not run this command; `None` if it may.
#[inline]
pub fn refusal(command: &Command, session: &Session, host: &dyn Host) -> Option<CommandError> {
    if !session.authenticated && !command.flags.has(Flags::NO_AUTH) {
        return Some(CommandError::new(NO_AUTH));
    }
    if command.flags.has(Flags::DEBUG) && !debug_allowed(session, host) {
        return Some(CommandError::new(NO_DEBUG));
    }
    None
}

fn debug_allowed(session: &Session, host: &dyn Host) -> bool {
    match host.settings().startup().enable_debug_command {
        DebugCommand::No => false,
        DebugCommand::Yes => true,
        DebugCommand::Local => is_local(&session.address),
    }
}

/// Whether `ip:port` is an address of this machine alone.
pub fn is_local(address: &str) -> bool {
    let ip = address.rsplit_once(':').map_or(address, |(ip, _)| ip);
    let ip = ip.trim_start_matches('[').trim_end_matches(']');
    ip.parse()
        .is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing_host::Connection;

    #[test]
    fn loopback_is_local_in_all_its_forms() {
        for local in [
            "127.0.0.1:1",
            "127.3.2.1:1",
            "[::1]:1",
            "::1:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_local(local), "{local}");
        }
        for remote in ["10.0.0.1:1", "[fe80::1]:1", "", "x:1"] {
            assert!(!is_local(remote), "{remote}");
        }
    }

    #[test]
    fn debug_follows_its_setting() {
        for (setting, address, allowed) in [
            ("no", "127.0.0.1:1", false),
            ("yes", "10.0.0.1:1", true),
            ("local", "127.0.0.1:1", true),
            ("local", "10.0.0.1:1", false),
        ] {
            let mut connection = Connection::with_flags(&[("enable-debug-command", setting)]);
            connection.session.address = address.into();
            let reply = connection.run("DEBUG SET-ACTIVE-EXPIRE 1");
            assert_eq!(reply == "+OK", allowed, "{setting} {address}: {reply}");
            assert!(allowed || reply.starts_with("-ERR DEBUG command not allowed."));
        }
    }

    #[test]
    fn without_a_password_only_logging_in_is_allowed() {
        let mut connection = Connection::with_flags(&[("requirepass", "secret")]);
        connection.session.authenticated = false;
        assert_eq!(connection.run("PING"), "-NOAUTH Authentication required.");
        assert_eq!(connection.run("AUTH secret"), "+OK");
        assert_eq!(connection.run("PING"), "+PONG");
    }
}
