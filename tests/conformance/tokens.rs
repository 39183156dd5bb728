//! Cuts the notation of expected replies into tokens.

/// A token of an expected reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// `[`, `~[`, `>[`, `{`, or a word with one of them behind it: `unordered[`.
    Open(String),
    Close,
    /// A quoted string; the sigil that stood before it, if any (`+`, `-`, `=`).
    Quoted(Option<char>, Vec<u8>),
    /// Anything else up to a blank or bracket: `:5`, `nil`, `int(1..3)`.
    Word(String),
}

/// All tokens of `text`, or what is wrong with it.
pub fn tokenize(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let token = match first {
            ']' | '}' => {
                rest = &rest[1..];
                Token::Close
            }
            '"' => Token::Quoted(None, take_quoted(&mut rest)?),
            '+' | '-' | '=' if rest[1..].starts_with('"') => {
                rest = &rest[1..];
                Token::Quoted(Some(first), take_quoted(&mut rest)?)
            }
            _ => take_word(&mut rest)?,
        };
        tokens.push(token);
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// How many aggregates `text` opens and does not close.
pub fn depth(tokens: &[Token]) -> i32 {
    let change = |token: &Token| match token {
        Token::Open(_) => 1,
        Token::Close => -1,
        _ => 0,
    };
    tokens.iter().map(change).sum()
}

fn take_word(rest: &mut &str) -> Result<Token, String> {
    let mut end = 0;
    while let Some(next) = rest[end..].chars().next() {
        match next {
            '[' | '{' => {
                let word = rest[..=end].to_owned();
                *rest = &rest[end + 1..];
                return Ok(Token::Open(word));
            }
            // What a pattern is given stands in parentheses and may hold anything: match("a ] b").
            '(' if end > 0 => end += parenthesised(&rest[end..])?,
            ']' | '}' | ' ' | '\t' | '\n' => break,
            _ => end += next.len_utf8(),
        }
    }
    let word = rest[..end].to_owned();
    *rest = &rest[end..];
    Ok(Token::Word(word))
}

/// Length of the text from `(` to its `)`.
fn parenthesised(text: &str) -> Result<usize, String> {
    let mut rest = &text[1..];
    while let Some(next) = rest.chars().next() {
        match next {
            ')' => return Ok(text.len() - rest.len() + 1),
            '"' => drop(take_quoted(&mut rest)?),
            _ => rest = &rest[next.len_utf8()..],
        }
    }
    Err(format!("`)` is missing in {text}"))
}

/// Reads a string in double quotes with the escapes of redis-cli.
pub fn take_quoted(rest: &mut &str) -> Result<Vec<u8>, String> {
    let bytes = rest.as_bytes();
    let mut out = Vec::new();
    let mut at = 1;
    loop {
        match bytes.get(at..) {
            None | Some([]) => return Err(format!("a quote is not closed: {rest}")),
            Some([b'"', ..]) => break,
            Some([b'\\', b'x', high, low, ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
                out.push(digit(*high) * 16 + digit(*low));
                at += 4;
            }
            Some([b'\\', escape, ..]) => {
                out.push(match escape {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                at += 2;
            }
            Some([byte, ..]) => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    *rest = &rest[at + 1..];
    Ok(out)
}
