//! CRC-64/Jones, the checksum at the end of a DUMP payload. Not for our own files: those use CRC-32.
//!
//! Reflected polynomial 0xAD93D23594C935A9, start value 0, no final inversion.

const REVERSED_POLYNOMIAL: u64 = 0xAD93_D235_94C9_35A9_u64.reverse_bits();

/// `TABLES[k][b]`: what byte `b` adds to the checksum when `k` more bytes follow it.
static TABLES: [[u64; 256]; 8] = tables();

/// The checksum of `bytes`.
pub fn crc64(bytes: &[u8]) -> u64 {
    let mut crc = 0u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mixed =
            (crc ^ u64::from_le_bytes(chunk.try_into().expect("a chunk of 8"))).to_le_bytes();
        crc = (0..8).fold(0, |sum, at| sum ^ TABLES[7 - at][usize::from(mixed[at])]);
    }
    for &byte in chunks.remainder() {
        crc = TABLES[0][usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
    }
    crc
}

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0u64; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (REVERSED_POLYNOMIAL * (crc & 1));
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut distance = 1;
    while distance < 8 {
        let mut byte = 0;
        while byte < 256 {
            let shorter = tables[distance - 1][byte];
            tables[distance][byte] = tables[0][(shorter & 0xFF) as usize] ^ (shorter >> 8);
            byte += 1;
        }
        distance += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue_comes_out() {
        assert_eq!(crc64(b"123456789"), 0xE9C6_D914_C4B8_D9CA);
        assert_eq!(crc64(b""), 0);
    }

    #[test]
    fn eight_bytes_at_once_give_what_single_bytes_give() {
        let bytes: Vec<u8> = (0..100u8).map(|n| n.wrapping_mul(37)).collect();
        for len in 0..bytes.len() {
            let slow = bytes[..len].iter().fold(0u64, |crc, &byte| {
                TABLES[0][usize::from(crc as u8 ^ byte)] ^ (crc >> 8)
            });
            assert_eq!(crc64(&bytes[..len]), slow, "{len} bytes");
        }
    }
}
