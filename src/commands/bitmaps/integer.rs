//! The integers of BITFIELD: any width up to 64 bits at any bit, with three ways to treat what does not fit.

/// How an integer lies in the bits: `i1` to `i64`, `u1` to `u63`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    pub signed: bool,
    pub bits: u32,
}

/// What happens to a result that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

impl Encoding {
    pub fn parse(text: &[u8]) -> Option<Encoding> {
        let (signed, bits) = match text {
            [b'i', bits @ ..] => (true, bits),
            [b'u', bits @ ..] => (false, bits),
            _ => return None,
        };
        let bits_max = if signed { 64 } else { 63 };
        crate::store::canonical_int(bits)
            .filter(|bits| (1..=bits_max).contains(bits))
            .map(|bits| Encoding {
                signed,
                bits: bits as u32,
            })
    }

    /// The least and the greatest number.
    fn bounds(self) -> (i128, i128) {
        match self.signed {
            true => (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1),
            false => (0, (1 << self.bits) - 1),
        }
    }

    /// The integer whose highest bit is at `offset`; bits beyond the end are clear.
    pub fn read(self, bytes: &[u8], offset: u64) -> i64 {
        let first = (offset / 8) as usize;
        let mut window = [0u8; 16];
        if let Some(tail) = bytes.get(first..) {
            // 64 bits at an odd place touch nine bytes.
            let length = tail.len().min(9);
            window[..length].copy_from_slice(&tail[..length]);
        }
        let window = u128::from_be_bytes(window) << (offset % 8);
        let raw = (window >> 64) as u64;
        match self.signed {
            true => (raw as i64) >> (64 - self.bits),
            false => (raw >> (64 - self.bits)) as i64,
        }
    }

    /// Writes the lowest bits of `value`, its highest one at `offset`. The bytes must reach that far.
    pub fn write(self, bytes: &mut [u8], offset: u64, value: i64) {
        for bit in 0..u64::from(self.bits) {
            let on = value >> (u64::from(self.bits) - 1 - bit) & 1 != 0;
            let place = ((offset + bit) / 8) as usize;
            let mask = 0x80 >> ((offset + bit) % 8);
            if on {
                bytes[place] |= mask;
            } else {
                bytes[place] &= !mask;
            }
        }
    }

    /// A number as this encoding holds it; `None` when it does not fit and `overflow` is to fail.
    pub fn fit(self, number: i128, overflow: Overflow) -> Option<i64> {
        let (least, greatest) = self.bounds();
        if (least..=greatest).contains(&number) {
            return Some(number as i64);
        }
        match overflow {
            Overflow::Fail => None,
            Overflow::Saturate if number < least => Some(least as i64),
            Overflow::Saturate => Some(greatest as i64),
            Overflow::Wrap => {
                let spare = 64 - self.bits;
                let raw = number as u64;
                Some(match self.signed {
                    true => ((raw << spare) as i64) >> spare,
                    false => ((raw << spare) >> spare) as i64,
                })
            }
        }
    }

    /// A client's number for SET as this encoding holds it; see [`Encoding::fit`]. Two things are as Redis does
    /// them: an unsigned integer takes a negative number for the 64 bits that it is made of; and since Redis
    /// reckons the room above a signed number in 64 bits, the lowest numbers overflow upwards.
    pub fn fit_argument(self, value: i64, overflow: Overflow) -> Option<i64> {
        let (_, greatest) = self.bounds();
        let upwards =
            self.signed && self.bits < 64 && (greatest as i64).checked_sub(value).is_none();
        match overflow {
            Overflow::Saturate if upwards => Some(greatest as i64),
            _ if self.signed => self.fit(i128::from(value), overflow),
            _ => self.fit(i128::from(value as u64), overflow),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoding() -> impl Strategy<Value = Encoding> {
        (any::<bool>(), 1u32..=64).prop_map(|(signed, bits)| Encoding {
            signed,
            bits: if signed { bits } else { bits.min(63) },
        })
    }

    #[test]
    fn encodings_are_letters_with_a_width() {
        let parse = |text: &str| Encoding::parse(text.as_bytes()).map(|e| (e.signed, e.bits));
        assert_eq!(parse("i1"), Some((true, 1)));
        assert_eq!(parse("i64"), Some((true, 64)));
        assert_eq!(parse("u63"), Some((false, 63)));
        for text in [
            "", "i", "u", "i0", "u0", "i65", "u64", "I8", "U8", "x8", "8", "i-1", "u08", "i8 ",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_wraps_saturates_or_fails() {
        let i8 = Encoding {
            signed: true,
            bits: 8,
        };
        let u8 = Encoding {
            signed: false,
            bits: 8,
        };
        for (encoding, number, wrapped, saturated) in [
            (i8, 128, -128, 127),
            (i8, -129, 127, -128),
            (i8, 1000, -24, 127),
            (u8, 256, 0, 255),
            (u8, -1, 255, 0),
        ] {
            assert_eq!(encoding.fit(number, Overflow::Wrap), Some(wrapped));
            assert_eq!(encoding.fit(number, Overflow::Saturate), Some(saturated));
            assert_eq!(encoding.fit(number, Overflow::Fail), None);
        }
        assert_eq!(i8.fit(-128, Overflow::Fail), Some(-128));
    }

    #[test]
    fn what_a_client_sets_saturates_as_in_redis() {
        let encoding = |signed| Encoding { signed, bits: 8 };
        let saturated = |signed, value| encoding(signed).fit_argument(value, Overflow::Saturate);
        assert_eq!(saturated(false, -1), Some(255));
        assert_eq!(saturated(true, -1000), Some(-128));
        assert_eq!(saturated(true, i64::MIN), Some(127));
        assert_eq!(saturated(true, i64::MIN + 127), Some(127));
        assert_eq!(saturated(true, i64::MIN + 128), Some(-128));
        assert_eq!(
            encoding(true).fit_argument(i64::MIN, Overflow::Wrap),
            Some(0)
        );
        assert_eq!(encoding(true).fit_argument(i64::MIN, Overflow::Fail), None);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_nothing_else_changes(
            encoding in encoding(),
            offset in 0u64..100,
            value: i64,
            mut bytes in proptest::collection::vec(any::<u8>(), 24),
        ) {
            let before = bytes.clone();
            let value = encoding.fit(i128::from(value), Overflow::Wrap).unwrap();
            encoding.write(&mut bytes, offset, value);
            prop_assert_eq!(encoding.read(&bytes, offset), value);
            let old = encoding.read(&before, offset);
            encoding.write(&mut bytes, offset, old);
            prop_assert_eq!(bytes, before);
        }

        #[test]
        fn bits_beyond_the_end_read_as_clear(
            encoding in encoding(),
            offset in 0u64..100,
            mut bytes in proptest::collection::vec(any::<u8>(), 0..12),
        ) {
            let short = encoding.read(&bytes, offset);
            bytes.resize(32, 0);
            prop_assert_eq!(encoding.read(&bytes, offset), short);
        }
    }
}
