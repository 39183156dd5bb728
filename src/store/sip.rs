//! SipHash-1-3 of a byte string in one go: the keyed hash that orders keyspaces. Knows nothing of them.
//!
//! After Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012), with one round a word and three at the end. The
//! `siphasher` crate computes the same; taking its input in pieces costs it twice the time for a key.

use super::word;

/// What keys the hash of a keyspace: the same on all replicas of a cluster, unknown to clients.
pub type HashSeed = (u64, u64);

/// The hash that orders the keys of a keyspace.
#[inline]
pub fn hash_key(seed: HashSeed, key: &[u8]) -> u64 {
    sip13(seed, key)
}

/// The hash of `bytes` under a key of two words.
#[inline]
fn sip13((k0, k1): HashSeed, bytes: &[u8]) -> u64 {
    let mut state = State {
        a: k0 ^ 0x736f_6d65_7073_6575,
        b: k1 ^ 0x646f_7261_6e64_6f6d,
        c: k0 ^ 0x6c79_6765_6e65_7261,
        d: k1 ^ 0x7465_6462_7974_6573,
    };
    let mut words = bytes.chunks_exact(8);
    for eight in &mut words {
        state.take(u64::from_le_bytes(eight.try_into().expect("eight bytes")));
    }
    // The last word: what is left, and the length in the highest byte.
    state.take(word(words.remainder()) | (bytes.len() as u64) << 56);
    state.c ^= 0xff;
    state.round();
    state.round();
    state.round();
    state.a ^ state.b ^ state.c ^ state.d
}

struct State {
    a: u64,
    b: u64,
    c: u64,
    d: u64,
}

impl State {
    #[inline]
    fn take(&mut self, word: u64) {
        self.d ^= word;
        self.round();
        self.a ^= word;
    }

    #[inline]
    fn round(&mut self) {
        self.a = self.a.wrapping_add(self.b);
        self.b = self.b.rotate_left(13) ^ self.a;
        self.a = self.a.rotate_left(32);
        self.c = self.c.wrapping_add(self.d);
        self.d = self.d.rotate_left(16) ^ self.c;
        self.a = self.a.wrapping_add(self.d);
        self.d = self.d.rotate_left(21) ^ self.a;
        self.c = self.c.wrapping_add(self.b);
        self.b = self.b.rotate_left(17) ^ self.c;
        self.c = self.c.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_the_siphasher_crate(
            k0: u64, k1: u64, bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut hasher = SipHasher13::new_with_keys(k0, k1);
            hasher.write(&bytes);
            prop_assert_eq!(sip13((k0, k1), &bytes), hasher.finish());
        }
    }
}
