//! What a setting may hold, and how that is read from and written as text.

use super::forms::{parse_bind, parse_host_ports, parse_percentiles, OutputLimits};
use super::units::{format_bytes, format_seconds, parse_bytes, parse_integer, parse_seconds};

/// The kind of value a setting has.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number in a range, both ends included.
    Integer {
        min: i64,
        max: i64,
    },
    /// A whole number that is silently pulled into the range, as Redis does with `hz`.
    Clamped {
        min: i64,
        max: i64,
    },
    /// A number of bytes in a range, with Redis' units.
    Bytes {
        min: i64,
        max: i64,
    },
    /// A number of seconds in a range, with units of time.
    Seconds {
        min: i64,
        max: i64,
    },
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    Text,
    /// A text without blanks.
    Word {
        bytes_max: usize,
    },
    /// A text that no message repeats.
    Secret,
    /// A secret that `CONFIG GET` does not show either.
    Sealed,
    /// `HOST:PORT` of other machines.
    HostPorts,
    /// Addresses to listen on.
    Addresses,
    /// A triple of limits for each class of client; those not named stay.
    OutputLimits,
    /// Numbers between 0 and 100.
    Percentiles,
}

/// A setting's value. Everything countable is a number: bytes, `yes` as 1, a choice as its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Number(i64),
    Text(String),
}

impl Kind {
    /// Reads `text`; `current` is the value that holds now. `Err` is the reason in Redis' words.
    pub fn parse(&self, text: &str, current: Option<&Value>) -> Result<Value, String> {
        match *self {
            Kind::Integer { min, max } => parse_number(text, min, max).map(Value::Number),
            Kind::Clamped { min, max } => {
                parse_number(text, 0, i64::from(i32::MAX)).map(|n| Value::Number(n.clamp(min, max)))
            }
            Kind::Bytes { min, max } => parse_bytes(text)
                .ok_or_else(|| "argument must be a memory value".to_string())
                .and_then(|n| in_range(n, min, max))
                .map(Value::Number),
            Kind::Seconds { min, max } => parse_seconds(text)
                .ok_or_else(|| "argument must be a time, for example 90s or 5m".to_string())
                .and_then(|n| in_range(n, min, max))
                .map(Value::Number),
            Kind::Bool => match text.to_ascii_lowercase().as_str() {
                "yes" => Ok(Value::Number(1)),
                "no" => Ok(Value::Number(0)),
                _ => Err("argument must be 'yes' or 'no'".into()),
            },
            Kind::Choice(names) => names
                .iter()
                .position(|name| name.eq_ignore_ascii_case(text))
                .map(|position| Value::Number(position as i64))
                .ok_or_else(|| {
                    format!(
                        "argument(s) must be one of the following: {}",
                        names.join(", ")
                    )
                }),
            Kind::Text | Kind::Secret | Kind::Sealed => Ok(Value::Text(text.into())),
            Kind::Word { bytes_max } => parse_word(text, bytes_max),
            Kind::HostPorts => parse_host_ports(text).map(|_| Value::Text(text.replace(',', " "))),
            Kind::Addresses => parse_bind(text).map(|_| Value::Text(text.replace(',', " "))),
            Kind::OutputLimits => {
                let before = match current {
                    Some(Value::Text(text)) => OutputLimits::default().merged(text)?,
                    _ => OutputLimits::default(),
                };
                before.merged(text).map(|limits| Value::Text(limits.text()))
            }
            Kind::Percentiles => parse_percentiles(text).map(|_| Value::Text(text.into())),
        }
    }

    /// As `CONFIG GET` shows a value.
    pub fn format(&self, value: &Value) -> String {
        match (self, value) {
            (Kind::Bool, Value::Number(n)) => if *n == 0 { "no" } else { "yes" }.into(),
            (Kind::Choice(names), Value::Number(n)) => names[*n as usize].into(),
            (_, Value::Number(n)) => n.to_string(),
            (_, Value::Text(text)) => text.clone(),
        }
    }

    /// What an operator may write, for help and messages.
    pub fn allowed(&self) -> String {
        match self {
            Kind::Integer { min, max } | Kind::Clamped { min, max } if *max == i64::MAX => {
                format!("an integer from {min} on")
            }
            Kind::Integer { min, max } | Kind::Clamped { min, max } => {
                format!("an integer from {min} to {max}")
            }
            Kind::Bytes { min, max } if *max == i64::MAX && *min == 0 => {
                "bytes, for example 100mb or 1gb".into()
            }
            Kind::Bytes { min, max } => format!(
                "bytes, for example 100mb, from {} to {}",
                format_bytes(*min),
                format_bytes(*max)
            ),
            Kind::Seconds { min, max } => format!(
                "a time, for example 90s or 5m, from {} to {}",
                format_seconds(*min),
                format_seconds(*max)
            ),
            Kind::Bool => "yes or no".into(),
            Kind::Choice(names) => names.join(", "),
            Kind::Text | Kind::Secret | Kind::Sealed => "a text".into(),
            Kind::Word { bytes_max } => format!("a text without blanks, at most {bytes_max} bytes"),
            Kind::HostPorts => "HOST:PORT, several with commas or blanks between them".into(),
            Kind::Addresses => "IP addresses, * or ::*, a leading - for optional ones".into(),
            Kind::OutputLimits => {
                "<normal|replica|pubsub> <hard bytes> <soft bytes> <soft seconds>, repeated".into()
            }
            Kind::Percentiles => "numbers from 0 to 100".into(),
        }
    }
}

fn parse_word(text: &str, bytes_max: usize) -> Result<Value, String> {
    if text.len() > bytes_max {
        return Err(format!("at most {bytes_max} bytes"));
    }
    match text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        true => Err("no blanks and no control characters".into()),
        false => Ok(Value::Text(text.into())),
    }
}

fn parse_number(text: &str, min: i64, max: i64) -> Result<i64, String> {
    parse_integer(text)
        .ok_or_else(|| "argument couldn't be parsed into an integer".to_string())
        .and_then(|n| in_range(n, min, max))
}

fn in_range(number: i64, min: i64, max: i64) -> Result<i64, String> {
    if (min..=max).contains(&number) {
        Ok(number)
    } else {
        Err(format!(
            "argument must be between {min} and {max} inclusive"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: Kind, input: &str) -> Result<String, String> {
        kind.parse(input, None).map(|value| kind.format(&value))
    }

    #[test]
    fn values_come_back_as_config_get_shows_them() {
        let max = i64::MAX;
        assert_eq!(text(Kind::Integer { min: 0, max: 9 }, "7").unwrap(), "7");
        assert_eq!(text(Kind::Bytes { min: 0, max }, "1KB").unwrap(), "1024");
        assert_eq!(text(Kind::Seconds { min: 1, max }, "5m").unwrap(), "300");
        assert_eq!(text(Kind::Bool, "YES").unwrap(), "yes");
        assert_eq!(text(Kind::Choice(&["a", "b"]), "B").unwrap(), "b");
        assert_eq!(text(Kind::Addresses, "::1,*").unwrap(), "::1 *");
        assert_eq!(text(Kind::Clamped { min: 1, max: 500 }, "0").unwrap(), "1");
        assert_eq!(text(Kind::HostPorts, "a:1,b:2").unwrap(), "a:1 b:2");
        assert_eq!(text(Kind::Word { bytes_max: 3 }, "a.b").unwrap(), "a.b");
    }

    #[test]
    fn mistakes_are_answered_in_redis_words() {
        let max = i64::MAX;
        for (kind, input, reason) in [
            (
                Kind::Integer { min: 0, max: 9 },
                "x",
                "argument couldn't be parsed into an integer",
            ),
            (
                Kind::Integer { min: 0, max: 9 },
                "10",
                "argument must be between 0 and 9 inclusive",
            ),
            (
                Kind::Bytes { min: 0, max },
                "-1",
                "argument must be a memory value",
            ),
            (
                Kind::Seconds { min: 0, max },
                "5 m",
                "argument must be a time, for example 90s or 5m",
            ),
            (
                Kind::Seconds { min: 5, max: 60 },
                "2m",
                "argument must be between 5 and 60 inclusive",
            ),
            (Kind::Bool, "1", "argument must be 'yes' or 'no'"),
            (Kind::Word { bytes_max: 3 }, "abcd", "at most 3 bytes"),
            (
                Kind::Word { bytes_max: 9 },
                "a b",
                "no blanks and no control characters",
            ),
            (
                Kind::Choice(&["a", "b"]),
                "c",
                "argument(s) must be one of the following: a, b",
            ),
        ] {
            assert_eq!(text(kind, input).unwrap_err(), reason);
        }
    }
}
