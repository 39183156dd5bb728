//! Decides whether two replies mean the same. Knows nothing of how they came about.

use crate::command::Check;
use crate::resp::Value;

/// Whether `ringfort` may answer so where `redis` answered so.
pub fn same(check: Check, redis: &Value, ringfort: &Value) -> bool {
    match check {
        Check::Exact | Check::Encoding => redis == ringfort,
        Check::Unordered => redis == ringfort || sorted(redis, 1) == sorted(ringfort, 1),
        Check::Pairs => redis == ringfort || sorted(redis, 2) == sorted(ringfort, 2),
        Check::Scores => same_scores(redis, ringfort),
        Check::Near(tolerance) => match (redis.int(), ringfort.int()) {
            (Some(a), Some(b)) if a > 0 && b > 0 => a.abs_diff(b) <= tolerance as u64,
            (Some(a), Some(b)) if tolerance == IDLE_SECONDS_MAX => {
                a >= 0 && b >= 0 && a.abs_diff(b) <= tolerance as u64
            }
            _ => redis == ringfort,
        },
        Check::Kind => same_kind(redis, ringfort),
    }
}

/// OBJECT IDLETIME may be 0 on one side and more on the other; a TTL may not.
const IDLE_SECONDS_MAX: i64 = 120;

/// The same RESP type without its elements sorted as they are: type, then elements by groups of `width`.
fn sorted(value: &Value, width: usize) -> (std::mem::Discriminant<Value>, Vec<&[Value]>) {
    let items = value.items().unwrap_or(std::slice::from_ref(value));
    let mut groups: Vec<&[Value]> = items.chunks(width).collect();
    groups.sort();
    (std::mem::discriminant(value), groups)
}

fn same_kind(redis: &Value, ringfort: &Value) -> bool {
    if redis.is_error() {
        return redis == ringfort;
    }
    std::mem::discriminant(redis) == std::mem::discriminant(ringfort)
}

/// Equal but for the digits of doubles, which must be those of Redis 7.2.
fn same_scores(redis: &Value, ringfort: &Value) -> bool {
    if redis == ringfort {
        return true;
    }
    match (redis, ringfort) {
        (Value::Array(a), Value::Array(b))
        | (Value::Set(a), Value::Set(b))
        | (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_scores(a, b))
        }
        (Value::Bulk(old), Value::Bulk(new)) => same_digits(old, new),
        (Value::Double(old), Value::Double(new)) => same_digits(old.as_bytes(), new.as_bytes()),
        _ => false,
    }
}

fn same_digits(old: &[u8], new: &[u8]) -> bool {
    let text = std::str::from_utf8(old).ok();
    let number = text.and_then(|text| text.parse::<f64>().ok());
    number.is_some_and(|number| shortest(number).as_bytes() == new)
}

/// A double as Redis 7.2 prints it (`d2string` and `fpconv_dtoa`): integers up to half of i64 plainly,
/// else the shortest digits that read back as the same double; plain where few zeros are needed.
pub fn shortest(value: f64) -> String {
    const PLAIN_MAX: f64 = (i64::MAX / 2) as f64;
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.into();
    }
    if value.fract() == 0.0 && value.abs() <= PLAIN_MAX {
        return (value as i64).to_string();
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let scientific = format!("{:e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').expect("LowerExp writes an e");
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().expect("LowerExp writes a number after e");
    // The value is `digits` times ten to this power.
    let power = exponent + 1 - digits.len() as i32;
    if power >= 0 && exponent < digits.len() as i32 + 7 {
        return format!("{sign}{digits}{}", "0".repeat(power as usize));
    }
    if power < 0 && (power > -7 || exponent.abs() < 4) {
        let point = digits.len() as i32 + power;
        return if point <= 0 {
            format!("{sign}0.{}{digits}", "0".repeat(-point as usize))
        } else {
            let (whole, fraction) = digits.split_at(point as usize);
            format!("{sign}{whole}.{fraction}")
        };
    }
    let fraction = &digits[1..];
    let point = if fraction.is_empty() { "" } else { "." };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    let first = &digits[..1];
    format!(
        "{sign}{first}{point}{fraction}e{exponent_sign}{}",
        exponent.abs()
    )
}
