//! Values as text for people: sizes, counts, durations, and text from the server made harmless for a terminal. Pure.

use std::time::Duration;

/// Text of the server that is printed in one go; what is longer is cut.
pub(super) const CLEAN_CHARS_MAX: usize = 4096;

/// Text from elsewhere, harmless for a terminal and on one line: what would move the cursor, change colours or turn the direction of
/// writing is replaced.
pub(super) fn clean(text: &str) -> String {
    let harmless = |c: char| match c {
        '\n' | '\t' => ' ',
        c if is_harmful(c) => '?',
        c => c,
    };
    text.chars().take(CLEAN_CHARS_MAX).map(harmless).collect()
}

/// A JSON text as it came, but with whatever a terminal might take as an order written as JSON's own escapes.
pub(super) fn clean_json(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            // Sound JSON has these between its values alone.
            '\n' | '\t' | '\r' => clean.push(' '),
            c if is_harmful(c) => clean.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => clean.push(c),
        }
    }
    clean
}

fn is_harmful(c: char) -> bool {
    let turns_direction =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks_line = matches!(c, '\u{2028}' | '\u{2029}');
    c.is_control() || turns_direction || breaks_line
}

/// How many digits of ids are enough to tell them apart, for people; at least eight.
pub(super) fn digits_to_tell_apart<'a>(ids: impl Iterator<Item = &'a str>) -> usize {
    const DIGITS_MIN: usize = 8;
    let mut ids: Vec<&str> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    let same = |pair: &[&str]| {
        pair[0]
            .chars()
            .zip(pair[1].chars())
            .take_while(|(a, b)| a == b)
            .count()
    };
    ids.windows(2)
        .map(|pair| same(pair) + 1)
        .max()
        .unwrap_or(0)
        .max(DIGITS_MIN)
}

/// The beginning of an id.
pub(super) fn short(id: &str, digits: usize) -> String {
    clean(id).chars().take(digits).collect()
}

/// `740 B`, `1.2 KiB`, `98 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would be rounded to 1024 is one of the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(value < 9.95);
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// `81,200`.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 copy`, `12 copies`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `12 s`, `3 min 5 s`, `2 h 5 min`, `3 d 4 h`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(minutes, "min", seconds % 60, "s"),
        3600..86_400 => two(hours, "h", minutes % 60, "min"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

/// `870 us`, `1.2 ms`, `12 ms`, `2.0 s`.
pub(super) fn micros(micros: u64) -> String {
    match micros {
        0..1000 => format!("{micros} us"),
        1000..9950 => format!("{:.1} ms", micros as f64 / 1e3),
        9950..999_500 => format!("{:.0} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

/// `90`, `90s`, `10m`, `2h`: as operators write durations.
///
/// # Errors
/// When it is nothing of the kind, or none at all, or longer than a month.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    const SECONDS_MAX: u64 = 31 * 86_400;
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => 0,
    };
    let seconds = digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor));
    match seconds {
        Some(seconds @ 1..=SECONDS_MAX) => Ok(Duration::from_secs(seconds)),
        _ => Err("a duration like 90s, 10m or 2h is needed".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_or_three_digits_that_count() {
        let sizes = [
            0,
            1023,
            1024,
            10_240,
            1_048_000,
            1_048_576,
            1_288_490_189,
            u64::MAX,
        ]
        .map(bytes);
        let expected = [
            "0 B", "1023 B", "1.0 KiB", "10 KiB", "1023 KiB", "1.0 MiB", "1.2 GiB", "16 EiB",
        ];
        assert_eq!(sizes, expected);
        assert_eq!(bytes(1_048_570), "1.0 MiB");
    }

    #[test]
    fn counts_are_set_in_groups_of_three() {
        let counts = [0, 999, 1000, 1_234_567, u64::MAX].map(count);
        assert_eq!(
            counts,
            [
                "0",
                "999",
                "1,000",
                "1,234,567",
                "18,446,744,073,709,551,615"
            ]
        );
        assert_eq!(counted(1, "copy", "copies"), "1 copy");
        assert_eq!(counted(1200, "copy", "copies"), "1,200 copies");
    }

    #[test]
    fn durations_name_their_two_largest_units() {
        let durations =
            [0, 59, 60, 185, 3600, 7500, 86_400, 273_600].map(|s| duration(Duration::from_secs(s)));
        assert_eq!(
            durations,
            [
                "0 s",
                "59 s",
                "1 min",
                "3 min 5 s",
                "1 h",
                "2 h 5 min",
                "1 d",
                "3 d 4 h"
            ]
        );
        let times = [
            0, 999, 1000, 1200, 9949, 9950, 12_000, 999_499, 1_000_000, 2_000_000,
        ]
        .map(micros);
        assert_eq!(
            times,
            [
                "0 us", "999 us", "1.0 ms", "1.2 ms", "9.9 ms", "10 ms", "12 ms", "999 ms",
                "1.0 s", "2.0 s"
            ]
        );
    }

    #[test]
    fn durations_are_read_as_operators_write_them() {
        let read =
            ["90", "90s", "10m", "2h", "1d"].map(|text| parse_duration(text).unwrap().as_secs());
        assert_eq!(read, [90, 90, 600, 7200, 86_400]);
        for wrong in [
            "",
            "0",
            "s",
            "-1s",
            "1.5h",
            "5 m",
            "9999999999999999999h",
            "99999d",
            "5µ",
            "1w",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_order_to_the_terminal_gets_through() {
        assert_eq!(
            clean("a\x1b[31mb\x07\u{9b}1mc\nd\te\u{202e}f\u{2028}é漢"),
            "a?[31mb??1mc d e?f?é漢"
        );
        assert_eq!(clean(&"x".repeat(5000)).len(), CLEAN_CHARS_MAX);
        assert_eq!(
            clean_json("{\"a\":\n\"\u{9b}\u{202e}b\"}\n"),
            "{\"a\": \"\\u009b\\u202eb\"}"
        );
    }

    #[test]
    fn ids_are_shortened_as_far_as_they_differ() {
        let ids = ["3f2a91b0aa", "3f2a91b0ab", "5e1c77aa00"];
        assert_eq!(digits_to_tell_apart(ids.into_iter()), 10);
        assert_eq!(digits_to_tell_apart(ids[1..].iter().copied()), 8);
        assert_eq!(digits_to_tell_apart(["a", "a"].into_iter()), 8);
        assert_eq!(short("3f2a\x1b91b0aa", 6), "3f2a?9");
    }
}
