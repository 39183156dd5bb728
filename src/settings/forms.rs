//! Settings with a form of their own: addresses, output buffer limits, percentiles.

use super::units::{parse_bytes, parse_integer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// More addresses than this to listen on are a mistake.
pub const BIND_ADDRESSES_MAX: usize = 16;

/// More nodes than this to be found by are a mistake: a few that are reachable are enough.
pub const HOST_PORTS_MAX: usize = 64;

/// Names of the internet are not longer.
const HOST_BYTES_MAX: usize = 255;

/// More percentiles than this in one INFO line are a mistake.
pub const PERCENTILES_MAX: usize = 32;

/// One address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindAddress {
    pub ip: IpAddr,
    /// Written with a leading `-`: start even when this machine does not have the address.
    pub optional: bool,
}

/// The addresses in a `bind` text; `Err` says what is wrong.
pub fn parse_bind(text: &str) -> Result<Vec<BindAddress>, String> {
    let addresses = text
        .split([' ', ','])
        .filter(|part| !part.is_empty())
        .map(parse_address)
        .collect::<Result<Vec<_>, _>>()?;
    match addresses.len() {
        0 => Err("at least one address is needed, for example 127.0.0.1".into()),
        n if n > BIND_ADDRESSES_MAX => Err(format!("at most {BIND_ADDRESSES_MAX} addresses")),
        _ => Ok(addresses),
    }
}

fn parse_address(part: &str) -> Result<BindAddress, String> {
    let (optional, name) = match part.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, part),
    };
    let ip = match name {
        "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "::*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => name
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .map_err(|_| format!("'{name}' is not an IP address (nor * nor ::*)"))?,
    };
    Ok(BindAddress { ip, optional })
}

/// Where another node is reached; its name is looked up each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, one of IPv6 without its brackets.
    pub host: String,
    pub port: u16,
}

/// The places in a `join` text; `Err` says what is wrong.
pub fn parse_host_ports(text: &str) -> Result<Vec<HostPort>, String> {
    let places = text
        .split([' ', ','])
        .filter(|part| !part.is_empty())
        .map(parse_host_port)
        .collect::<Result<Vec<_>, _>>()?;
    match places.len() {
        n if n > HOST_PORTS_MAX => Err(format!("at most {HOST_PORTS_MAX} nodes")),
        _ => Ok(places),
    }
}

fn parse_host_port(part: &str) -> Result<HostPort, String> {
    let wrong = || format!("'{part}' is not HOST:PORT, for example 10.0.0.7:16379");
    let (host, port) = part.rsplit_once(':').ok_or_else(wrong)?;
    let in_brackets = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let port = parse_integer(port).and_then(|port| u16::try_from(port).ok());
    let port = port.filter(|&port| port > 0).ok_or_else(wrong)?;
    // Without brackets nobody can tell where an address of IPv6 ends.
    let host = match in_brackets {
        Some(host) => host,
        None if host.contains(':') => return Err(wrong()),
        None => host,
    };
    if host.is_empty() || host.len() > HOST_BYTES_MAX || host.chars().any(char::is_control) {
        return Err(wrong());
    }
    Ok(HostPort {
        host: host.into(),
        port,
    })
}

/// When a client that reads too slowly is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// Cut at once beyond this many bytes; 0: no limit.
    pub hard_bytes: u64,
    /// Cut when longer than `soft_seconds` beyond this many bytes; 0: no limit.
    pub soft_bytes: u64,
    pub soft_seconds: u64,
}

/// `client-output-buffer-limit`: a limit for each class of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    pub normal: OutputLimit,
    pub replica: OutputLimit,
    pub pubsub: OutputLimit,
}

impl Default for OutputLimits {
    fn default() -> Self {
        let limit = |hard_bytes, soft_bytes, soft_seconds| OutputLimit {
            hard_bytes,
            soft_bytes,
            soft_seconds,
        };
        Self {
            normal: limit(0, 0, 0),
            replica: limit(256 << 20, 64 << 20, 60),
            pubsub: limit(32 << 20, 8 << 20, 60),
        }
    }
}

impl OutputLimits {
    /// These limits, with those that `text` names replaced: `normal 0 0 0 pubsub 32mb 8mb 60`.
    pub fn merged(mut self, text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        if words.is_empty() || words.len() % 4 != 0 {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        for four in words.chunks_exact(4) {
            let class = match four[0].to_ascii_lowercase().as_str() {
                "normal" => &mut self.normal,
                "slave" | "replica" => &mut self.replica,
                "pubsub" => &mut self.pubsub,
                _ => {
                    return Err(
                        "Invalid client class specified in buffer limit configuration.".into(),
                    )
                }
            };
            *class = parse_limit(&four[1..]).ok_or(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            )?;
        }
        Ok(self)
    }

    /// As `CONFIG GET` shows them.
    pub fn text(&self) -> String {
        let class = |name: &str, limit: &OutputLimit| {
            format!(
                "{name} {} {} {}",
                limit.hard_bytes, limit.soft_bytes, limit.soft_seconds
            )
        };
        [
            class("normal", &self.normal),
            class("slave", &self.replica),
            class("pubsub", &self.pubsub),
        ]
        .join(" ")
    }
}

fn parse_limit(words: &[&str]) -> Option<OutputLimit> {
    let soft_seconds = parse_integer(words[2]).and_then(|n| u64::try_from(n).ok())?;
    Some(OutputLimit {
        hard_bytes: parse_bytes(words[0])? as u64,
        soft_bytes: parse_bytes(words[1])? as u64,
        soft_seconds,
    })
}

/// The numbers in a `latency-tracking-info-percentiles` text.
pub fn parse_percentiles(text: &str) -> Result<Vec<f64>, String> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    if words.len() > PERCENTILES_MAX {
        return Err(format!("at most {PERCENTILES_MAX} percentiles"));
    }
    words
        .into_iter()
        .map(|word| match word.parse::<f64>() {
            Ok(number) if (0.0..=100.0).contains(&number) => Ok(number),
            Ok(_) => Err(
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
                    .into(),
            ),
            Err(_) => Err("Invalid latency-tracking-info-percentiles parameters".into()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bind_takes_several_addresses_and_stars() {
        let found = parse_bind("127.0.0.1 -::1,* [::]").unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|a| (a.ip.to_string(), a.optional))
            .collect();
        assert_eq!(
            shown,
            [
                ("127.0.0.1".to_string(), false),
                ("::1".to_string(), true),
                ("0.0.0.0".to_string(), false),
                ("::".to_string(), false),
            ]
        );
    }

    #[test]
    fn bind_refuses_names_and_nothing() {
        assert!(parse_bind("").is_err());
        assert!(parse_bind("example.org")
            .unwrap_err()
            .contains("example.org"));
        assert!(parse_bind(&"* ".repeat(BIND_ADDRESSES_MAX + 1)).is_err());
    }

    #[test]
    fn output_limits_change_only_the_class_they_name() {
        let limits = OutputLimits::default()
            .merged("Pubsub 1mb 2k 3 replica 7 8 9")
            .unwrap();
        assert_eq!(
            limits.text(),
            "normal 0 0 0 slave 7 8 9 pubsub 1048576 2000 3"
        );
    }

    #[test]
    fn output_limits_answer_mistakes_in_redis_words() {
        for (text, expected) in [
            ("normal 1 2", "Wrong number of arguments"),
            ("", "Wrong number of arguments"),
            ("foo 1 2 3", "Invalid client class"),
            ("normal x 1 1", "Error in hard, soft"),
            ("normal 1 1 -1", "Error in hard, soft"),
        ] {
            let error = OutputLimits::default().merged(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn percentiles_lie_between_0_and_100() {
        assert_eq!(parse_percentiles("50 99 99.9").unwrap(), [50.0, 99.0, 99.9]);
        assert!(parse_percentiles("").unwrap().is_empty());
        for bad in ["101", "-1", "nan", "x"] {
            assert!(parse_percentiles(bad).is_err(), "{bad}");
        }
    }
}
