//! The 80-bit `long double` in which Redis computes INCRBYFLOAT and HINCRBYFLOAT, in integer arithmetic: the
//! same text as Redis gives on x86-64, and the same on every replica whatever its processor.

use super::float_text::{round_bits, DecimalFloat, FloatText};
use super::natural::Natural;

/// Redis refuses longer text.
const TEXT_BYTES_MAX: usize = 5 * 1024;
const PRECISION_BITS: u32 = 64;
/// Exponents of the lowest mantissa bit: of the smallest subnormal and of the largest finite number.
const EXPONENT_MIN: i32 = -16_445;
const EXPONENT_MAX: i32 = 16_320;
/// Decimal exponents beyond which every number overflows or vanishes.
const DECIMAL_EXPONENT_MAX: i64 = 5_000;

/// A binary floating point number with a 64-bit mantissa: `mantissa * 2^exponent`, or an infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Infinite,
    Finite { mantissa: u64, exponent: i32 },
}

const ZERO: Kind = Kind::Finite {
    mantissa: 0,
    exponent: 0,
};

impl LongDouble {
    /// Reads a number with the strictness of [`super::parse_f64`].
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= TEXT_BYTES_MAX {
            return None;
        }
        let (negative, kind) = match FloatText::scan(text)? {
            FloatText::Infinite { negative } => (negative, Kind::Infinite),
            FloatText::Hex(hex) if hex.mantissa == 0 => (hex.negative, ZERO),
            FloatText::Hex(hex) => {
                let rounded = hex.round(PRECISION_BITS, EXPONENT_MIN, EXPONENT_MAX)?;
                (hex.negative, Kind::from_parts(rounded))
            }
            FloatText::Decimal(decimal) => (decimal.negative, decimal_kind(&decimal)?),
        };
        Some(Self { negative, kind })
    }

    /// The sum, rounded to nearest; `None` when it is infinite or not a number: "increment would produce NaN
    /// or Infinity".
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let (Kind::Finite { .. }, Kind::Finite { .. }) = (self.kind, other.kind) else {
            return None;
        };
        let (large, small) = if self.magnitude_key() >= other.magnitude_key() {
            (self, other)
        } else {
            (other, self)
        };
        let (big, top) = large.parts();
        let (little, bottom) = small.parts();
        if little == 0 {
            return Some(if big == 0 {
                self.zero_sum(other)
            } else {
                large
            });
        }
        // 62 bits below the larger mantissa and one above it for the carry.
        let big = u128::from(big) << 62;
        let little = u128::from(little) << 62;
        let distance = (top - bottom) as u32;
        let (aligned, sticky) = match little.checked_shr(distance) {
            Some(aligned) => (aligned, aligned << distance != little),
            None => (0, true),
        };
        let sum = if large.negative == small.negative {
            big + aligned
        } else {
            // What was shifted out makes the smaller one a little larger.
            big - aligned - u128::from(sticky)
        };
        if sum == 0 {
            return Some(Self {
                negative: false,
                kind: ZERO,
            });
        }
        let exponent = i64::from(top) - 62;
        let rounded = round_bits(
            sum,
            sticky,
            exponent,
            PRECISION_BITS,
            EXPONENT_MIN,
            EXPONENT_MAX,
        )?;
        Some(Self {
            negative: large.negative,
            kind: Kind::from_parts(rounded),
        })
    }

    /// Plain decimal notation with up to 17 digits behind the point and no trailing zeros.
    pub fn to_text(self) -> String {
        const SCALE: u128 = 100_000_000_000_000_000;
        let (mantissa, exponent) = match self.kind {
            Kind::Infinite if self.negative => return "-inf".into(),
            Kind::Infinite => return "inf".into(),
            Kind::Finite { mantissa, exponent } => (mantissa, exponent),
        };
        let digits = if exponent >= 0 {
            whole_digits(mantissa, exponent as u32)
        } else {
            let scaled = shift_right_rounded(u128::from(mantissa) * SCALE, exponent.unsigned_abs());
            let (whole, fraction) = (scaled / SCALE, scaled % SCALE);
            let text = format!("{whole}.{fraction:017}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        let sign = if self.negative && digits != "0" {
            "-"
        } else {
            ""
        };
        format!("{sign}{digits}")
    }

    fn parts(self) -> (u64, i32) {
        match self.kind {
            Kind::Finite { mantissa, exponent } => (mantissa, exponent),
            Kind::Infinite => (0, 0),
        }
    }

    /// Orders finite numbers by magnitude: mantissas are normalised but for the smallest exponent.
    fn magnitude_key(self) -> (bool, i32, u64) {
        let (mantissa, exponent) = self.parts();
        (mantissa != 0, exponent, mantissa)
    }

    /// -0 only from two of them.
    fn zero_sum(self, other: Self) -> Self {
        Self {
            negative: self.negative && other.negative,
            kind: ZERO,
        }
    }
}

impl Kind {
    fn from_parts((mantissa, exponent): (u64, i32)) -> Self {
        Kind::Finite { mantissa, exponent }
    }
}

/// A double in the form that INCRBYFLOAT stores: its shortest decimal, taken as a long double.
///
/// To add as Redis adds, use [`LongDouble`]: a sum of doubles is not always the same.
pub fn format_incr_float(value: f64) -> String {
    match LongDouble::parse(format!("{value:e}").as_bytes()) {
        Some(number) => number.to_text(),
        None => "nan".into(),
    }
}

/// `numerator / 2^shift`, rounded to nearest, ties to even; the numerator is below 2^127.
fn shift_right_rounded(numerator: u128, shift: u32) -> u128 {
    if shift > 127 {
        return 0;
    }
    let kept = numerator >> shift;
    let dropped = numerator - (kept << shift);
    let half = 1u128 << (shift - 1);
    kept + u128::from(dropped > half || (dropped == half && kept & 1 == 1))
}

/// Nearest number to a decimal; `None` when that overflows or vanishes.
fn decimal_kind(decimal: &DecimalFloat<'_>) -> Option<Kind> {
    let mut digits: Vec<u8> = decimal
        .digits()
        .skip_while(|&digit| digit == b'0')
        .collect();
    if digits.is_empty() {
        return Some(ZERO);
    }
    let mut exponent = decimal.exponent - decimal.fraction.len() as i64;
    while digits.last() == Some(&b'0') {
        digits.pop();
        exponent += 1;
    }
    if (exponent + digits.len() as i64).abs() > DECIMAL_EXPONENT_MAX {
        return None;
    }
    let mut numerator = Natural::from_digits(&digits);
    let mut denominator = Natural::from_digits(b"1");
    // At most 2 * DECIMAL_EXPONENT_MAX, by the checks on length and exponent.
    let power = exponent.unsigned_abs() as u32;
    if exponent >= 0 {
        numerator.multiply_power_of_ten(power);
    } else {
        denominator.multiply_power_of_ten(power);
    }
    // A quotient of 66 or 67 bits holds the mantissa and a bit to round by; the remainder is sticky.
    let shift = denominator.bits() as i64 - numerator.bits() as i64 + 66;
    if shift >= 0 {
        numerator.shift_left(shift as usize);
    } else {
        denominator.shift_left(-shift as usize);
    }
    let (quotient, exact) = numerator.divide(&denominator);
    let rounded = round_bits(
        quotient,
        !exact,
        -shift,
        PRECISION_BITS,
        EXPONENT_MIN,
        EXPONENT_MAX,
    )?;
    Some(Kind::from_parts(rounded))
}

/// `mantissa * 2^exponent` in decimal digits.
fn whole_digits(mantissa: u64, exponent: u32) -> String {
    let mut number = Natural::from_u64(mantissa);
    number.shift_left(exponent as usize);
    number.into_digits()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What INCRBYFLOAT answers: `nan` for a text that is not a number, `inf` for a sum that is not finite.
    fn sum(a: &str, b: &str) -> String {
        let parsed = LongDouble::parse(a.as_bytes()).zip(LongDouble::parse(b.as_bytes()));
        match parsed.map(|(a, b)| a.checked_add(b)) {
            None => "nan".into(),
            Some(None) => "inf".into(),
            Some(Some(sum)) => sum.to_text(),
        }
    }

    /// Each line was answered by a Redis on x86-64.
    #[test]
    fn sums_have_the_digits_of_redis() {
        for (a, b, expected) in [
            ("10.5", "0.1", "10.6"),
            ("3.0e3", "200", "3200"),
            ("5.0e3", "0", "5000"),
            ("3200.1", "0", "3200.10000000000000009"),
            ("0.1", "0.2", "0.3"),
            ("1e17", "1", "100000000000000001"),
            ("1e30", "1", "1000000000000000000024696061952"),
            ("1", "-1", "0"),
            ("-1.5", "1.5", "0"),
            ("0", "-0.00000000000000000001", "0"),
            (
                "123456789.123456789",
                "0.000000001",
                "123456789.12345678999554366",
            ),
            ("1e-4940", "0", "0"),
            ("1e4932", "1e4932", "inf"),
            ("1e4933", "0", "nan"),
            ("1e-4960", "1", "nan"),
            ("inf", "1", "inf"),
            ("1", "-inf", "inf"),
            ("0x1p3", "1", "9"),
            ("0x1.8p-20", "0x10", "16.00000143051147461"),
            ("-0", "0", "0"),
            ("-0", "-0", "0"),
            ("1.00000000000000000001", "0", "1"),
            ("99999999999999999999", "1", "100000000000000000000"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("36893488147419103231", "0", "36893488147419103232"),
            ("36893488147419103233", "0", "36893488147419103232"),
            ("0.5e-17", "0", "0"),
            ("1.5e-17", "0", "0.00000000000000002"),
            ("2.5e-17", "0", "0.00000000000000002"),
            ("0.000000000000000005", "0", "0"),
            (" 1", "1", "nan"),
            ("1e", "1", "nan"),
            ("nan", "1", "nan"),
            (
                "-4.891099670263084e67",
                "-0x76ce87b0b125ec1d7da0p-1",
                "-48910996702630840001414041838760088225246382530956936721804075991040",
            ),
            ("3609.98", "801800.9835012455", "805410.96350124550002647"),
            (
                "-256413.28887538565",
                "-2014.93",
                "-258428.21887538565000852",
            ),
            (
                "-7.960511956521692e-45",
                "462367.43355884845",
                "462367.43355884844999082",
            ),
            (
                "262129972200332245.8323640562241",
                "8509151587420428943e3",
                "8509413717392629275136",
            ),
            (
                "-380084.1367937424",
                "2846677991095410117e-17",
                "-380055.67001383144588544",
            ),
            (
                "2040560865690702931375858471954.613",
                "1267779349581667177e-22",
                "2040560865690702931427302834176",
            ),
            (
                "-8301546538981224626e0",
                "4734772482429890300e-21",
                "-8301546538981224626",
            ),
            (
                "-0xf7b3d1ff297d0e4f2e84fcp-79",
                "-0xap33",
                "-85899346415.40484609454870224",
            ),
            ("8.47213631956101e-268", "5530.63", "5530.62999999999999989"),
            (
                "-3.123341973677947e-44",
                "200753292612652064279287757.476216827521748885",
                "200753292612652064279887872",
            ),
            (
                "572045.1592676605",
                "4012861395017210221e6",
                "4012861395017210221559808",
            ),
            (
                "4.089391480134061e-13",
                "45290784547485545.527558282357416299864984032",
                "45290784547485545.52734375",
            ),
            (
                "-1.1786316895377915e-115",
                "5917.32",
                "5917.31999999999999984",
            ),
            (
                "-0xa18061p-110",
                "202152738067569.93350",
                "202152738067569.933502197265625",
            ),
            (
                "7563266957611283554e12",
                "377710.69752231333",
                "7563266957611283553891175628800",
            ),
            ("-2.522406881396373e-264", "2.271281823721891e-203", "0"),
            (
                "-543319053747644356e-3",
                "-7617423114445346714e12",
                "-7617423114445347257387120066560",
            ),
            (
                "2.8459308353641113e78",
                "2969732915.6",
                "2845930835364111299934483014079867423209973324421000007842041725449771820253184",
            ),
            (
                "-347915.65588396776",
                "0.7884721667618262e33",
                "788472166761826199996440489492480",
            ),
        ] {
            assert_eq!(sum(a, b), expected, "{a} + {b}");
        }
    }

    #[test]
    fn a_double_is_stored_as_its_shortest_decimal() {
        for (value, text) in [
            (10.6, "10.6"),
            (3200.0, "3200"),
            (5e3, "5000"),
            (-0.5, "-0.5"),
            (-0.0, "0"),
            (1e-20, "0"),
            (3.0e22, "30000000000000000000000"),
        ] {
            assert_eq!(format_incr_float(value), text);
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]
        #[test]
        fn no_text_and_no_sum_panics(
            a in "-?(0x)?[0-9a-f]{0,60}[.]?[0-9]{0,60}([ep]-?[0-9]{0,7})?",
            b in "-?[0-9]{1,30}([.][0-9]{0,30})?e-?[0-9]{1,4}",
        ) {
            sum(&a, &b);
        }
    }
}
