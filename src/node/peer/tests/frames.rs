//! Frames without a network: every cut of the bytes gives the same frames, and no bytes do harm.

use std::future::poll_fn;

use proptest::prelude::*;

use super::super::frame::{put_frame, FrameReader, HEAD_BYTES};
use super::*;

/// Feeds a reader with pieces, as a socket would, and takes all frames out after each.
fn read_in_pieces(pieces: &[Vec<u8>], bytes_max: usize) -> Result<Vec<Bytes>, FrameError> {
    let mut reader = FrameReader::new(bytes_max);
    let mut frames = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        for piece in pieces {
            let mut rest = &piece[..];
            while !rest.is_empty() {
                poll_fn(|cx| reader.poll_fill(cx, &mut rest)).await?;
                while let Some(frame) = reader.next()? {
                    frames.push(frame);
                }
            }
        }
        Ok(frames)
    })
}

#[test]
fn a_large_frame_comes_whole_and_leaves_what_follows() {
    let large = vec![7; 3 << 20];
    let mut bytes = Vec::new();
    put_frame(&mut bytes, &large);
    put_frame(&mut bytes, b"behind");
    let pieces: Vec<_> = bytes.chunks(100_001).map(<[u8]>::to_vec).collect();
    let frames = read_in_pieces(&pieces, FRAME_BYTES_MAX).unwrap();
    assert!(frames[0] == large);
    assert_eq!(frames[1..], [&b"behind"[..]]);
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_its_bytes_come() {
    let mut bytes = Vec::new();
    put_frame(&mut bytes, &[1; 101]);
    bytes.truncate(HEAD_BYTES);
    let refused = read_in_pieces(&[bytes], 100);
    assert!(matches!(
        refused,
        Err(FrameError::TooLong {
            bytes: 101,
            bytes_max: 100
        })
    ));
}

proptest! {
    #[test]
    fn every_cut_gives_the_same_frames(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12),
        piece_bytes in 1usize..500,
    ) {
        let mut bytes = Vec::new();
        for payload in &payloads {
            put_frame(&mut bytes, payload);
        }
        let pieces: Vec<_> = bytes.chunks(piece_bytes).map(<[u8]>::to_vec).collect();
        let frames = read_in_pieces(&pieces, 300).unwrap();
        prop_assert_eq!(frames, payloads);
    }

    #[test]
    fn a_flipped_bit_never_goes_unnoticed(
        payload in prop::collection::vec(any::<u8>(), 1..200),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, &payload);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // A length that became larger waits for bytes that do not come; anything else is an error.
        let frames = read_in_pieces(&[bytes], 1000);
        prop_assert!(!matches!(frames, Ok(frames) if !frames.is_empty()));
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = read_in_pieces(&[bytes], 1 << 20);
    }
}
