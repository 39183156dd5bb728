//! The one place that knows `bincode`. Everything that is encoded here starts with a version byte, so that
//! the encoding can be exchanged; everything that is decoded here is bounded and never panics.
//!
//! Integers have a fixed width, little-endian, so a value without collections always has the same length.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};

/// The first byte of everything encoded here.
pub const FORMAT_VERSION: u8 = 1;

/// The largest value that is read or written, in bytes. Values here are headers and small tables; bulk
/// data travels beside them in framings of its own.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<VALUE_BYTES_MAX>> =
    bincode::config::standard()
        .with_fixed_int_encoding()
        .with_limit::<VALUE_BYTES_MAX>();

/// Why bytes could not be read or a value not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes are empty.
    #[error("nothing there to decode")]
    Empty,
    /// Written by a version of this program that we do not know.
    #[error("format version {0}, but this program knows only version {FORMAT_VERSION}: it was written by a newer ringfort")]
    Version(u8),
    /// The bytes do not hold such a value.
    #[error("damaged value: {0}")]
    Damaged(String),
    /// The bytes go on after the value.
    #[error("{0} bytes too many after the value")]
    Trailing(usize),
    /// The value does not fit where it should be written to.
    #[error("value cannot be encoded: {0}")]
    Unencodable(String),
    /// The value is larger than [`VALUE_BYTES_MAX`].
    #[error("value of {0} bytes is larger than the limit of {VALUE_BYTES_MAX}")]
    TooLarge(usize),
}

/// Encodes a value, version byte first.
///
/// # Errors
/// When it is larger than [`VALUE_BYTES_MAX`].
pub fn encode<T: Encode>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    encode_into(value, &mut bytes)?;
    Ok(bytes)
}

/// Encodes a value at the end of `bytes`, which stay as they were when that fails.
///
/// # Errors
/// As [`encode`].
pub fn encode_into<T: Encode>(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = bytes.len();
    bytes.push(FORMAT_VERSION);
    let result = bincode::encode_into_std_write(value, bytes, CONFIG)
        .map_err(|error| CodecError::Unencodable(error.to_string()));
    let length = bytes.len() - start - 1;
    match result {
        Ok(_) if length <= VALUE_BYTES_MAX => Ok(()),
        failed => {
            bytes.truncate(start);
            failed.and(Err(CodecError::TooLarge(length)))
        }
    }
}

/// Encodes a value into a slice and tells how many bytes it took.
///
/// # Errors
/// When the slice is too short.
pub fn encode_into_slice<T: Encode>(value: &T, bytes: &mut [u8]) -> Result<usize, CodecError> {
    let Some((version, rest)) = bytes.split_first_mut() else {
        return Err(CodecError::Unencodable("no room".into()));
    };
    *version = FORMAT_VERSION;
    bincode::encode_into_slice(value, rest, CONFIG)
        .map(|written| written + 1)
        .map_err(|error| CodecError::Unencodable(error.to_string()))
}

/// Decodes a value that fills `bytes` exactly.
///
/// # Errors
/// Anything but the encoding of such a value.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, length) = decode_prefix(bytes)?;
    match bytes.len() - length {
        0 => Ok(value),
        trailing => Err(CodecError::Trailing(trailing)),
    }
}

/// Decodes a value from the start of `bytes` and tells how many of them it took.
///
/// # Errors
/// When `bytes` do not start with the encoding of such a value.
pub fn decode_prefix<T: Decode<()>>(bytes: &[u8]) -> Result<(T, usize), CodecError> {
    let (&version, rest) = bytes.split_first().ok_or(CodecError::Empty)?;
    if version != FORMAT_VERSION {
        return Err(CodecError::Version(version));
    }
    bincode::decode_from_slice(rest, CONFIG)
        .map(|(value, length)| (value, length + 1))
        .map_err(|error| CodecError::Damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Index, ShardId, Term};
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq, Encode, Decode)]
    struct Sample {
        shard: ShardId,
        term: Term,
        index: Option<Index>,
        name: String,
        list: Vec<Vec<u8>>,
    }

    fn sample() -> impl Strategy<Value = Sample> {
        (
            any::<u16>(),
            any::<u64>(),
            any::<Option<u64>>(),
            ".{0,20}",
            proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..5),
        )
            .prop_map(|(shard, term, index, name, list)| Sample {
                shard: ShardId(shard),
                term: Term(term),
                index: index.map(Index),
                name,
                list,
            })
    }

    #[test]
    fn a_number_has_a_fixed_width_behind_the_version() {
        assert_eq!(encode(&Term(258)).unwrap(), [1, 2, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn another_version_is_named_and_not_read() {
        assert_eq!(decode::<Term>(&[9, 0]), Err(CodecError::Version(9)));
        assert_eq!(decode::<Term>(&[]), Err(CodecError::Empty));
    }

    #[test]
    fn a_length_beyond_all_bounds_is_refused_without_allocating() {
        let mut bytes = vec![FORMAT_VERSION];
        bytes.extend_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(
            decode::<Vec<u8>>(&bytes),
            Err(CodecError::Damaged(_))
        ));
    }

    #[test]
    fn a_value_beyond_the_limit_is_not_written() {
        let mut bytes = b"before".to_vec();
        let large = vec![0u8; VALUE_BYTES_MAX + 1];
        let error = encode_into(&large, &mut bytes).unwrap_err();
        assert!(matches!(error, CodecError::TooLarge(_)), "{error}");
        assert_eq!(bytes, b"before");
    }

    #[test]
    fn a_slice_too_short_is_an_error() {
        assert!(encode_into_slice(&Term(1), &mut [0; 8]).is_err());
        assert!(encode_into_slice(&Term(1), &mut []).is_err());
        assert_eq!(encode_into_slice(&Term(1), &mut [0; 9]), Ok(9));
    }

    proptest! {
        #[test]
        fn values_come_back_as_they_went(value in sample()) {
            let mut bytes = encode(&value).unwrap();
            prop_assert_eq!(&decode::<Sample>(&bytes).unwrap(), &value);
            bytes.push(0);
            prop_assert_eq!(decode::<Sample>(&bytes), Err(CodecError::Trailing(1)));
        }

        #[test]
        fn garbage_is_an_error_or_a_value_but_no_panic(mut bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            bytes[0] = FORMAT_VERSION;
            let _ = decode::<Sample>(&bytes);
        }
    }
}
