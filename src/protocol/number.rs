//! Numbers as text, with exactly the strictness and the forms of Redis 7.2. Knows no commands.

use super::float_text::{FloatText, HexFloat};

/// A decimal 64-bit integer as Redis takes it: digits with an optional `-`, nothing before, between or
/// behind them, no leading zeros, no `+`, no `-0`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // i64::MIN has 19 digits.
    if digits.is_empty() || digits.len() > 19 || !matches!(digits[0], b'1'..=b'9') {
        return None;
    }
    let mut value: u64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Nineteen digits stay below 10^19, which a u64 holds.
        value = value * 10 + u64::from(digit);
    }
    if negative {
        (value <= 1 << 63).then(|| (value as i64).wrapping_neg())
    } else {
        i64::try_from(value).ok()
    }
}

/// A double as C's `strtod` reads it when it must use the whole text: decimal, hexadecimal (`0x1.8p3`),
/// `inf` and `infinity` with or without sign. No blanks, no NaN; refused too when the value overflows or
/// vanishes to zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    const EXACT_INTEGER_MAX: i64 = 1 << 53;
    if let Some(integer) = parse_i64(text) {
        if (-EXACT_INTEGER_MAX..=EXACT_INTEGER_MAX).contains(&integer) {
            return Some(integer as f64);
        }
    }
    match FloatText::scan(text)? {
        FloatText::Infinite { negative: true } => Some(f64::NEG_INFINITY),
        FloatText::Infinite { negative: false } => Some(f64::INFINITY),
        FloatText::Decimal(decimal) => {
            let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
            let vanished = value == 0.0 && !decimal.is_zero();
            (value.is_finite() && !vanished).then_some(value)
        }
        FloatText::Hex(hex) => hex_to_f64(hex),
    }
}

fn hex_to_f64(hex: HexFloat) -> Option<f64> {
    let magnitude = if hex.mantissa == 0 {
        0.0
    } else {
        let (mantissa, exponent) = hex.round(53, -1074, 971)?;
        // Two steps: 2^-1074 is the smallest power that exists, and each product here is exact.
        let half = exponent / 2;
        mantissa as f64 * exp2(half) * exp2(exponent - half)
    };
    Some(if hex.negative { -magnitude } else { magnitude })
}

/// 2 to a power within the normal range, exactly.
fn exp2(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// A double as Redis 7.2 prints it in replies: integers up to 2^62 without a fraction, else the shortest
/// decimal that reads back as the same double, with an exponent where `fpconv` writes one:
/// `12345.6789012` is `1.23456789012e+4`.
pub fn format_double(value: f64) -> String {
    const PLAIN_INTEGER_MAX: f64 = (i64::MAX / 2) as f64;
    if value.is_nan() {
        return "nan".into();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value.is_infinite() {
        return format!("{sign}inf");
    }
    if value == 0.0 {
        return format!("{sign}0");
    }
    if value.fract() == 0.0 && value.abs() <= PLAIN_INTEGER_MAX {
        return itoa::Buffer::new().format(value as i64).to_owned();
    }
    let (digits, point) = shortest_digits(value.abs());
    let mut text = String::with_capacity(32);
    text.push_str(sign);
    lay_out(&mut text, &digits, point);
    text
}

/// Writes `0.d1d2d3... * 10^point`, following the layout rules of `fpconv`.
fn lay_out(text: &mut String, digits: &str, point: i32) {
    let count = digits.len() as i32;
    let scale = point - count;
    let exponent = point - 1;
    if scale >= 0 && exponent.abs() < count + 7 {
        text.push_str(digits);
        text.extend(std::iter::repeat_n('0', scale as usize));
    } else if scale < 0 && (scale > -7 || exponent.abs() < 4) {
        if point <= 0 {
            text.push_str("0.");
            text.extend(std::iter::repeat_n('0', -point as usize));
            text.push_str(digits);
        } else {
            let (whole, fraction) = digits.split_at(point as usize);
            text.extend([whole, ".", fraction]);
        }
    } else {
        let (first, rest) = digits.split_at(1);
        text.push_str(first);
        if !rest.is_empty() {
            text.extend([".", rest]);
        }
        text.extend(["e", if exponent < 0 { "-" } else { "+" }]);
        text.push_str(itoa::Buffer::new().format(exponent.abs()));
    }
}

/// The shortest digits (no zeros at either end) and the point's place such that `0.digits * 10^point` reads
/// back as `value`, which must be positive and finite.
fn shortest_digits(value: f64) -> (String, i32) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    let leading_zeros = (all.len() - significant.len()) as i32;
    let point = whole.len() as i32 + exponent - leading_zeros;
    (significant.trim_end_matches('0').to_owned(), point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_without_any_leniency() {
        for (text, value) in [
            ("0", 0),
            ("7", 7),
            ("-1", -1),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("1000000000000000000", 1_000_000_000_000_000_000),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), Some(value), "{text}");
        }
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            "-01",
            " 1",
            "1 ",
            "1.0",
            "1e3",
            "0x10",
            "a",
            "1a",
            "--1",
            "9223372036854775808",
            "-9223372036854775809",
            "10000000000000000000",
            "99999999999999999999",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn doubles_are_read_as_strtod_reads_a_whole_text() {
        for (text, value) in [
            ("1", 1.0),
            ("-1.5", -1.5),
            ("+1.5", 1.5),
            ("1.", 1.0),
            (".5", 0.5),
            ("1e3", 1000.0),
            ("1E-3", 0.001),
            ("007", 7.0),
            ("inf", f64::INFINITY),
            ("+INF", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
            ("Infinity", f64::INFINITY),
            ("0x10", 16.0),
            ("-0x1.8p1", -3.0),
            ("0X.8", 0.5),
            ("0x1p-1074", 5e-324),
            ("0x1.8p-1074", 1e-323),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.000000000000081p0", 1.0000000000000002),
            ("0x00000000000000000000000000000001p4", 16.0),
            ("4.9e-324", 5e-324),
            ("9007199254740993", 9007199254740992.0),
            ("0e99999", 0.0),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
        }
        assert!(parse_f64(b"-0").is_some_and(|zero| zero == 0.0 && zero.is_sign_negative()));
        for text in [
            "",
            " 1",
            "1 ",
            "nan",
            "-nan",
            "nan(1)",
            "1e",
            "1e+",
            "e5",
            ".",
            "+",
            "-",
            "--1",
            "1_0",
            "0x",
            "0x.",
            "0xg",
            "0x1p",
            "1e400",
            "-1e400",
            "1e-400",
            "0x1p1024",
            "0x1p-1075",
            "0x1p99999999999999999999",
            "infinit",
            "infx",
            "1,5",
            "1\0",
        ] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn doubles_are_printed_as_redis_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (3.5, "3.5"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e17, "100000000000000000"),
            (4e18, "4000000000000000000"),
            (-4e18, "-4000000000000000000"),
            (4611686018427387904.0, "4611686018427387904"),
            // Beyond 2^62 fpconv takes over: zeros are filled up while there are fewer than seven.
            (1e19, "1e+19"),
            (1.2345678901234567e19, "12345678901234567000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (-1e-5, "-0.00001"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.234e-4, "1.234e-4"),
            (0.0012345678, "0.0012345678"),
            (1.5e-10, "1.5e-10"),
            (12345.6789012, "1.23456789012e+4"),
            (1234.5678901, "1234.5678901"),
            (123456.789, "123456.789"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(format_double(value), text);
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]
        #[test]
        fn printed_doubles_read_back_as_the_same_double(bits: u64) {
            let value = f64::from_bits(bits);
            let text = format_double(value);
            if value.is_nan() {
                proptest::prop_assert_eq!(text, "nan");
            } else {
                proptest::prop_assert_eq!(parse_f64(text.as_bytes()).map(f64::to_bits), Some(bits));
            }
        }

        #[test]
        fn reading_a_number_never_panics(text: Vec<u8>, tail in "[-+]?(0x)?[0-9a-f]{0,40}[.]?[0-9]{0,40}([ep][-+]?[0-9]{0,30})?") {
            parse_f64(&text);
            parse_i64(&text);
            parse_f64(tail.as_bytes());
        }
    }
}
