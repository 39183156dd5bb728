//! CRC16 in its XMODEM form: polynomial 0x1021, start 0, not reflected. Pure arithmetic: knows nothing of keys.

/// CRC16/XMODEM of `bytes`.
#[inline]
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("pclmulqdq") {
        // SAFETY: the processor has what the function needs.
        return unsafe { carry_less::by_multiplying(bytes) };
    }
    by_tables(bytes)
}

/// `TABLES[k][b]` is the CRC of byte `b` followed by `k` zero bytes: eight bytes of input fold in one
/// step of eight independent look-ups instead of eight that wait for each other.
static TABLES: [[u16; 256]; 8] = tables();

const fn tables() -> [[u16; 256]; 8] {
    const POLYNOMIAL: u16 = 0x1021;
    let mut tables = [[0u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 {
                (crc << 1) ^ POLYNOMIAL
            } else {
                crc << 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[zeros - 1][byte];
            tables[zeros][byte] = (crc << 8) ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// As [`crc16`], on any processor.
fn by_tables(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = <[u8; 8]>::try_from(chunk).expect("eight bytes");
        let [high, low] = crc.to_be_bytes();
        // The six that do not wait for the step before come first.
        let free = (TABLES[5][b2 as usize] ^ TABLES[4][b3 as usize])
            ^ (TABLES[3][b4 as usize] ^ TABLES[2][b5 as usize])
            ^ (TABLES[1][b6 as usize] ^ TABLES[0][b7 as usize]);
        crc = free ^ (TABLES[7][(b0 ^ high) as usize] ^ TABLES[6][(b1 ^ low) as usize]);
    }
    for &byte in chunks.remainder() {
        crc = (crc << 8) ^ TABLES[0][((crc >> 8) as u8 ^ byte) as usize];
    }
    crc
}

/// Sixteen bytes a step, by multiplying polynomials over GF(2): a remainder is found as in Barrett's reduction of numbers, with a
/// multiplication by the precomputed inverse.
#[cfg(target_arch = "x86_64")]
mod carry_less {
    use std::arch::x86_64::{
        _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_unpackhi_epi64,
    };

    /// The polynomial with its highest term, which the usual notation leaves out.
    const POLYNOMIAL: u64 = 0x1_1021;
    /// Remainders of `x^80` and `x^64`, and the quotient of `x^64`, by the polynomial.
    const X80: u64 = 0xeb23;
    const X64: u64 = 0xb861;
    const INVERSE: u64 = 0x0001_1130_3471_a041;

    /// The product of two polynomials: its upper and its lower 64 coefficients.
    #[target_feature(enable = "pclmulqdq")]
    #[inline]
    fn product(one: u64, other: u64) -> (u64, u64) {
        let one = _mm_set_epi64x(0, one as i64);
        let other = _mm_set_epi64x(0, other as i64);
        let product = _mm_clmulepi64_si128::<0>(one, other);
        let high = _mm_unpackhi_epi64(product, product);
        (
            _mm_cvtsi128_si64(high) as u64,
            _mm_cvtsi128_si64(product) as u64,
        )
    }

    /// The CRC of sixteen bytes, the first ones in `high`.
    #[target_feature(enable = "pclmulqdq")]
    #[inline]
    fn of_block(high: u64, low: u64) -> u16 {
        // (high x^64 + low) x^16, of which what lies above x^80 is brought below, then what lies above x^64.
        let (top, rest) = product(high, X80);
        let (top, rest) = (top ^ (low >> 48), rest ^ (low << 16));
        let rest = rest ^ product(top, X64).1;
        let (quotient_high, quotient_low) = product(rest >> 16, INVERSE);
        let quotient = (quotient_high << 16) | (quotient_low >> 48);
        (rest ^ product(quotient, POLYNOMIAL).1) as u16
    }

    #[target_feature(enable = "pclmulqdq")]
    pub fn by_multiplying(bytes: &[u8]) -> u16 {
        // Zeros at the beginning change nothing, so what does not fill a block comes first.
        let (first, blocks) = bytes.split_at(bytes.len() % 16);
        let mut crc = match first.len() {
            0 => 0,
            1..8 => of_block(0, number(first)),
            _ => {
                let (start, end) = first.split_at(first.len() - 8);
                of_block(number(start), number(end))
            }
        };
        for block in blocks.chunks_exact(16) {
            let (high, low) = block.split_at(8);
            crc = of_block(number(high) ^ (u64::from(crc) << 48), number(low));
        }
        crc
    }

    /// At most eight bytes as a big-endian number.
    #[inline]
    fn number(bytes: &[u8]) -> u64 {
        match <[u8; 8]>::try_from(bytes) {
            Ok(bytes) => u64::from_be_bytes(bytes),
            Err(_) => (bytes.iter()).fold(0, |number, &byte| (number << 8) | u64::from(byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, one bit at a time.
    fn crc16_slow(bytes: &[u8]) -> u16 {
        let mut crc = 0u16;
        for &byte in bytes {
            crc ^= u16::from(byte) << 8;
            for _ in 0..8 {
                crc = if crc & 0x8000 != 0 {
                    (crc << 1) ^ 0x1021
                } else {
                    crc << 1
                };
            }
        }
        crc
    }

    #[test]
    fn the_check_value_of_the_catalogue_comes_out() {
        // <https://reveng.sourceforge.io/crc-catalogue/16.htm>, CRC-16/XMODEM.
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(by_tables(b"123456789"), 0x31C3);
        assert_eq!(crc16(b""), 0);
    }

    proptest! {
        #[test]
        fn every_processor_reckons_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(crc16(&bytes), crc16_slow(&bytes));
            prop_assert_eq!(by_tables(&bytes), crc16_slow(&bytes));
        }
    }
}
