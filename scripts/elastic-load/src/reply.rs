//! Replies of a server, as far as this load asks for any.

/// One reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    Status,
    Nothing,
    Bytes(&'a [u8]),
    Error(&'a str),
}

/// The first reply in `bytes` and its length; none while it is not whole.
///
/// # Errors
/// What no server of this protocol sends to these commands.
pub fn first(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>, String> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let line = &bytes[1..end];
    let text = std::str::from_utf8(line).unwrap_or("?");
    let len = end + 2;
    match bytes[0] {
        b'+' | b':' => Ok(Some((Reply::Status, len))),
        b'-' => Ok(Some((Reply::Error(text), len))),
        b'$' if line == b"-1" => Ok(Some((Reply::Nothing, len))),
        b'$' => {
            let size: usize = text.parse().map_err(|_| format!("a length of {text:?}"))?;
            let whole = len + size + 2;
            Ok((bytes.len() >= whole).then(|| (Reply::Bytes(&bytes[len..len + size]), whole)))
        }
        other => Err(format!("a reply that begins with {:?}", char::from(other))),
    }
}

/// One command, appended to `out`.
pub fn encode(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_taken_one_by_one_and_only_whole() {
        let bytes = b"+OK\r\n$3\r\na\r\n\r\n$-1\r\n-TRYAGAIN later\r\n";
        let wanted = [
            Reply::Status,
            Reply::Bytes(b"a\r\n"),
            Reply::Nothing,
            Reply::Error("TRYAGAIN later"),
        ];
        let mut rest = &bytes[..];
        for reply in wanted {
            let (found, len) = first(rest).unwrap().unwrap();
            assert_eq!(found, reply);
            for short in 0..len {
                assert_eq!(first(&rest[..short]), Ok(None));
            }
            rest = &rest[len..];
        }
        assert!(rest.is_empty());
        assert!(first(b"hello\r\n").is_err());
    }
}
