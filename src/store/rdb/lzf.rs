//! Reads LZF, the compression of strings in DUMP payloads. Written ones are not compressed.
//!
//! A control byte below 32 announces a run of that many plus one literal bytes. Else its top three bits are a
//! length (7: one more byte to add), the other five and the next byte a distance back into what was written.

/// Most bytes that one byte of input can turn into: a match of 264 bytes takes three.
pub const EXPANSION_MAX: usize = 88;

/// Unpacks to exactly `len` bytes; `None` when `packed` does not hold that.
pub fn decompress(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    // Before anything is allocated: the announced length must be within reach.
    if len > packed.len().checked_mul(EXPANSION_MAX)? {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    let mut rest = packed;
    while let Some((&control, tail)) = rest.split_first() {
        rest = tail;
        if control < 32 {
            let (literal, tail) = rest.split_at_checked(usize::from(control) + 1)?;
            if out.len() + literal.len() > len {
                return None;
            }
            out.extend_from_slice(literal);
            rest = tail;
            continue;
        }
        let mut run = usize::from(control >> 5) + 2;
        if run == 9 {
            run += usize::from(take_byte(&mut rest)?);
        }
        let distance = (usize::from(control & 31) << 8 | usize::from(take_byte(&mut rest)?)) + 1;
        let start = out.len().checked_sub(distance)?;
        if out.len() + run > len {
            return None;
        }
        // The run may reach into what it writes.
        for at in start..start + run {
            out.push(out[at]);
        }
    }
    (out.len() == len).then_some(out)
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, tail) = rest.split_first()?;
    *rest = tail;
    Some(byte)
}
