//! The grammar of floating point text that C's `strtod` family accepts, before it becomes a binary number of
//! any precision.

/// A syntactically sound float.
#[derive(Debug)]
pub enum FloatText<'a> {
    Infinite { negative: bool },
    Decimal(DecimalFloat<'a>),
    Hex(HexFloat),
}

/// `whole.fraction * 10^exponent`, the parts being digits.
#[derive(Debug)]
pub struct DecimalFloat<'a> {
    pub negative: bool,
    pub whole: &'a [u8],
    pub fraction: &'a [u8],
    /// Saturated at +-10^18.
    pub exponent: i64,
}

/// `mantissa * 2^exponent`; `sticky` says that nonzero bits below were dropped.
#[derive(Debug)]
pub struct HexFloat {
    pub negative: bool,
    pub mantissa: u128,
    pub sticky: bool,
    pub exponent: i64,
}

const EXPONENT_MAX: i64 = 1_000_000_000_000_000_000;

impl<'a> FloatText<'a> {
    /// Takes the whole of `text` or nothing; NaN is nothing.
    pub fn scan(text: &'a [u8]) -> Option<Self> {
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
            return Some(Self::Infinite { negative });
        }
        if let [b'0', b'x' | b'X', digits @ ..] = unsigned {
            return scan_hex(negative, digits).map(Self::Hex);
        }
        scan_decimal(negative, unsigned).map(Self::Decimal)
    }
}

impl DecimalFloat<'_> {
    pub fn is_zero(&self) -> bool {
        self.digits().all(|digit| digit == b'0')
    }

    /// All digits, those before the point first.
    pub fn digits(&self) -> impl Iterator<Item = u8> + '_ {
        self.whole.iter().chain(self.fraction).copied()
    }
}

impl HexFloat {
    /// Rounds to nearest, ties to even, to at most `precision` bits and an exponent within the bounds.
    /// `None` when the value overflows or a nonzero one becomes zero.
    pub fn round(
        &self,
        precision: u32,
        exponent_min: i32,
        exponent_max: i32,
    ) -> Option<(u64, i32)> {
        round_bits(
            self.mantissa,
            self.sticky,
            self.exponent,
            precision,
            exponent_min,
            exponent_max,
        )
    }
}

/// Rounds `mantissa * 2^exponent` (and a bit more, when `sticky`) as [`HexFloat::round`] says.
pub fn round_bits(
    mantissa: u128,
    sticky: bool,
    exponent: i64,
    precision: u32,
    exponent_min: i32,
    exponent_max: i32,
) -> Option<(u64, i32)> {
    let bits = i64::from(128 - mantissa.leading_zeros());
    let excess = (bits - i64::from(precision)).max(i64::from(exponent_min) - exponent);
    let (mut rounded, mut exponent) = if excess <= 0 {
        // Move a short mantissa up so that exponents compare with exponent_max on equal terms.
        (mantissa << -excess, exponent + excess)
    } else if excess > 128 {
        (0, exponent + excess)
    } else {
        let kept = mantissa.checked_shr(excess as u32).unwrap_or(0);
        let half = 1u128 << (excess - 1);
        let dropped = mantissa & (half | (half - 1));
        let up = dropped > half || (dropped == half && (sticky || kept & 1 == 1));
        (kept + u128::from(up), exponent + excess)
    };
    if rounded >> precision != 0 {
        rounded >>= 1;
        exponent += 1;
    }
    let in_range = rounded != 0 && exponent <= i64::from(exponent_max);
    in_range.then_some((rounded as u64, exponent as i32))
}

fn scan_decimal(negative: bool, text: &[u8]) -> Option<DecimalFloat<'_>> {
    let (whole, rest) = split_digits(text, u8::is_ascii_digit);
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => split_digits(rest, u8::is_ascii_digit),
        rest => (&[][..], rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    Some(DecimalFloat {
        negative,
        whole,
        fraction,
        exponent: scan_exponent(rest, b'e')?,
    })
}

/// Text behind `0x`.
fn scan_hex(negative: bool, text: &[u8]) -> Option<HexFloat> {
    let (whole, rest) = split_digits(text, u8::is_ascii_hexdigit);
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => split_digits(rest, u8::is_ascii_hexdigit),
        rest => (&[][..], rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut hex = HexFloat {
        negative,
        mantissa: 0,
        sticky: false,
        exponent: scan_exponent(rest, b'p')? - 4 * fraction.len() as i64,
    };
    for &byte in whole.iter().chain(fraction) {
        let digit = char::from(byte).to_digit(16).unwrap_or(0);
        if hex.mantissa >> 120 == 0 {
            hex.mantissa = hex.mantissa << 4 | u128::from(digit);
        } else {
            hex.sticky |= digit != 0;
            hex.exponent += 4;
        }
    }
    Some(hex)
}

/// `e+12`, or nothing for 0; `marker` is in lower case.
fn scan_exponent(text: &[u8], marker: u8) -> Option<i64> {
    let Some((&first, rest)) = text.split_first() else {
        return Some(0);
    };
    if first.to_ascii_lowercase() != marker {
        return None;
    }
    let (negative, digits) = match rest {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0i64, |value, digit| {
        let next = value
            .saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'));
        next.min(EXPONENT_MAX)
    });
    Some(if negative { -magnitude } else { magnitude })
}

fn split_digits(text: &[u8], is_digit: fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|byte| !is_digit(byte))
        .unwrap_or(text.len());
    text.split_at(end)
}
