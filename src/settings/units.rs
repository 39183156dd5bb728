//! Numbers as operators write them: integers, byte counts with Redis' units, and times. Knows no setting.

/// A decimal integer, strictly: no sign but `-`, no blanks, no leading zeros.
pub fn parse_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (digits == "0" && !text.starts_with('-') || !digits.starts_with('0'));
    if canonical {
        text.parse().ok()
    } else {
        None
    }
}

/// A byte count: digits and one of the units `b`, `k`, `kb`, `m`, `mb`, `g`, `gb` in any case. As in Redis,
/// `k` is 1,000 and `kb` 1,024. The empty text is 0. `None` also for what does not fit an `i64`.
pub fn parse_bytes(text: &str) -> Option<i64> {
    let split = text
        .bytes()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor: i64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    if digits.is_empty() {
        return unit.is_empty().then_some(0);
    }
    digits.parse::<i64>().ok()?.checked_mul(factor)
}

/// A byte count for people: the largest unit that divides it (`256mb`), or plain digits.
pub fn format_bytes(bytes: i64) -> String {
    for (shift, unit) in [(30, "gb"), (20, "mb"), (10, "kb")] {
        if bytes > 0 && bytes % (1 << shift) == 0 {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// A time in seconds: digits and one of the units `s`, `m`, `h`, `d` in any case; seconds without. `None` also for what does not fit
/// an `i64`.
pub fn parse_seconds(text: &str) -> Option<i64> {
    let split = text.find(|c: char| !c.is_ascii_digit());
    let (digits, unit) = text.split_at(split.unwrap_or(text.len()));
    let factor: i64 = match unit.to_ascii_lowercase().as_str() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(factor)
}

/// Seconds for people: the largest unit that divides them (`5m`).
pub fn format_seconds(seconds: i64) -> String {
    for (factor, unit) in [(86_400, "d"), (3_600, "h"), (60, "m")] {
        if seconds > 0 && seconds % factor == 0 {
            return format!("{}{unit}", seconds / factor);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_strictly_as_redis_reads_them() {
        assert_eq!(parse_integer("0"), Some(0));
        assert_eq!(parse_integer("-12"), Some(-12));
        assert_eq!(parse_integer("9223372036854775807"), Some(i64::MAX));
        assert_eq!(parse_integer("-9223372036854775808"), Some(i64::MIN));
        for bad in [
            "",
            "-",
            "+1",
            " 1",
            "1 ",
            "01",
            "-0",
            "1.5",
            "0x1",
            "9223372036854775808",
        ] {
            assert_eq!(parse_integer(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn byte_counts_know_decimal_and_binary_units() {
        for (text, bytes) in [
            ("", 0),
            ("17", 17),
            ("17b", 17),
            ("1k", 1_000),
            ("1KB", 1_024),
            ("2m", 2_000_000),
            ("100mb", 100 << 20),
            ("1g", 1_000_000_000),
            ("1Gb", 1 << 30),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text:?}");
        }
        for bad in ["-1", "1x", "1.5gb", " 1", "gb", "1 gb", "9999999999999gb"] {
            assert_eq!(parse_bytes(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn times_know_their_units_and_are_shown_in_the_largest() {
        for (text, seconds, shown) in [
            ("0", 0, "0s"),
            ("90", 90, "90s"),
            ("300s", 300, "5m"),
            ("5M", 300, "5m"),
            ("2h", 7_200, "2h"),
            ("7d", 604_800, "7d"),
        ] {
            assert_eq!(parse_seconds(text), Some(seconds), "{text:?}");
            assert_eq!(format_seconds(seconds), shown);
        }
        for bad in [
            "",
            "m",
            "-1",
            "1.5h",
            "5 m",
            "5ms",
            "9223372036854775807d",
            "5µ",
        ] {
            assert_eq!(parse_seconds(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn byte_counts_are_shown_in_the_largest_exact_unit() {
        assert_eq!(format_bytes(0), "0");
        assert_eq!(format_bytes(1000), "1000");
        assert_eq!(format_bytes(64 << 10), "64kb");
        assert_eq!(format_bytes(256 << 20), "256mb");
        assert_eq!(format_bytes(1 << 30), "1gb");
    }
}
