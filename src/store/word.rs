//! Byte strings as words, so that short ones are compared and moved at once. Knows nothing of what they mean.

/// At most eight bytes as a little-endian number; what is missing is zero.
#[inline(always)]
pub fn word(bytes: &[u8]) -> u64 {
    let four = |at: usize| {
        u64::from(u32::from_le_bytes(
            bytes[at..at + 4].try_into().expect("four bytes"),
        ))
    };
    let one = |at: usize| u64::from(bytes[at]) << (8 * at);
    match bytes.len() {
        0 => 0,
        // Bytes that are read twice come to lie on themselves.
        len @ 1..=3 => one(0) | one(len / 2) | one(len - 1),
        len @ 4..=7 => four(0) | four(len - 4) << (8 * (len - 4)),
        _ => u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")),
    }
}

/// Longest byte strings that [`same_bytes`] compares here.
const SAME_HERE_MAX: usize = 64;

/// Whether two byte strings are the same; for keys, which are short, faster than a call to `memcmp`.
#[inline]
pub fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    let len = one.len();
    if len != other.len() {
        return false;
    }
    if len < 8 {
        return word(one) == word(other);
    }
    if len > SAME_HERE_MAX {
        return one == other;
    }
    let differs = |at: usize| word(&one[at..at + 8]) ^ word(&other[at..at + 8]);
    // The last word overlaps the one before it unless the length is a multiple of eight.
    let mut difference = differs(len - 8);
    let mut at = 0;
    while at + 8 < len {
        difference |= differs(at);
        at += 8;
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_the_same_only_when_every_byte_is() {
        for len in 0..200 {
            let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
            assert!(same_bytes(&bytes, &bytes.clone()), "{len}");
            for at in 0..len {
                let mut other = bytes.clone();
                other[at] ^= 0x80;
                assert!(!same_bytes(&bytes, &other), "{at} of {len}");
                assert!(!same_bytes(&bytes, &bytes[..at]), "{at} of {len}");
            }
        }
    }

    #[test]
    fn every_length_up_to_eight_gives_its_bytes() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        for len in 0..=8 {
            let mut expected = [0; 8];
            expected[..len].copy_from_slice(&bytes[..len]);
            assert_eq!(word(&bytes[..len]), u64::from_le_bytes(expected), "{len}");
        }
    }
}
