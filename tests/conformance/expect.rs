//! Expected replies: exact ones, and patterns for what is not the same each time.

use std::collections::HashMap;

use super::reply::Reply;
use super::tokens::{take_quoted, Token};

/// Values that a file has saved, by name.
pub type Saved = HashMap<String, Vec<u8>>;

/// An expected reply and how the file says it.
pub struct Wanted {
    pub text: String,
    pub expected: Expected,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    Exactly(Leaf),
    Aggregate(Kind, Order, Vec<Expected>),
    OneOf(Vec<Expected>),
    Any,
    Int(Option<(i64, i64)>),
    AnyBulk,
    AnyArray(Option<usize>),
    /// A bulk, simple or verbatim string.
    Match(Vec<u8>),
    Error(Vec<u8>),
    Near(f64, f64),
    Save(String),
}

/// A reply without parts; text may hold `%{...}`.
#[derive(Clone, Debug, PartialEq)]
pub enum Leaf {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Bulk(Vec<u8>),
    Verbatim(Vec<u8>),
    Other(Reply),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Array,
    Set,
    Push,
    Map,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    Given,
    /// The elements (of a map the pairs) in any order.
    Any,
    /// An array of names and values in turn, pairs in any order.
    AnyPairs,
}

impl Expected {
    /// Reads what stands behind a command; every token must be used.
    pub fn parse(tokens: &[Token]) -> Result<Self, String> {
        let mut rest = tokens;
        let expected = parse_one(&mut rest)?;
        match rest {
            [] => Ok(expected),
            _ => Err("more than one reply for one command".into()),
        }
    }

    /// Whether `reply` is what was expected; saves what is to be saved.
    pub fn matches(&self, reply: &Reply, saved: &mut Saved) -> bool {
        match (self, reply) {
            (Expected::Any, _) => true,
            (Expected::Exactly(leaf), reply) => leaf.matches(reply, saved),
            (Expected::OneOf(all), reply) => all.iter().any(|one| one.matches(reply, saved)),
            (Expected::Int(None), Reply::Int(_)) => true,
            (Expected::Int(Some((low, high))), Reply::Int(value)) => (low..=high).contains(&value),
            (Expected::AnyBulk, Reply::Bulk(_)) => true,
            (Expected::AnyArray(None), Reply::Array(_)) => true,
            (Expected::AnyArray(Some(len)), Reply::Array(items)) => items.len() == *len,
            (
                Expected::Match(glob),
                Reply::Bulk(text) | Reply::Simple(text) | Reply::Verbatim(text),
            ) => is_match(&expand(glob, saved), text),
            (Expected::Error(glob), Reply::Error(text)) => is_match(&expand(glob, saved), text),
            (Expected::Near(value, margin), Reply::Bulk(text) | Reply::Double(text)) => {
                let got = std::str::from_utf8(text)
                    .ok()
                    .and_then(|text| text.parse::<f64>().ok());
                got.is_some_and(|got| (got - value).abs() <= *margin)
            }
            (Expected::Save(name), Reply::Bulk(bytes)) => {
                saved.insert(name.clone(), bytes.clone());
                true
            }
            (Expected::Save(name), Reply::Int(value)) => {
                saved.insert(name.clone(), value.to_string().into_bytes());
                true
            }
            (Expected::Aggregate(Kind::Array, order, expected), Reply::Array(items))
            | (Expected::Aggregate(Kind::Set, order, expected), Reply::Set(items))
            | (Expected::Aggregate(Kind::Push, order, expected), Reply::Push(items)) => {
                let size = if *order == Order::AnyPairs { 2 } else { 1 };
                all_match(expected, items, size, *order != Order::Given, saved)
            }
            (Expected::Aggregate(Kind::Map, order, expected), Reply::Map(items)) => {
                all_match(expected, items, 2, *order != Order::Given, saved)
            }
            _ => false,
        }
    }
}

impl Leaf {
    fn matches(&self, reply: &Reply, saved: &Saved) -> bool {
        match (self, reply) {
            (Leaf::Simple(text), Reply::Simple(got))
            | (Leaf::Error(text), Reply::Error(got))
            | (Leaf::Bulk(text), Reply::Bulk(got))
            | (Leaf::Verbatim(text), Reply::Verbatim(got)) => expand(text, saved) == *got,
            (Leaf::Other(expected), got) => expected == got,
            _ => false,
        }
    }
}

/// Compares groups of `size` elements, in order or each with the first that fits and is still free.
fn all_match(
    expected: &[Expected],
    items: &[Reply],
    size: usize,
    any_order: bool,
    saved: &mut Saved,
) -> bool {
    if expected.len() != items.len() || items.len() % size != 0 {
        return false;
    }
    let mut free: Vec<&[Reply]> = items.chunks(size).collect();
    expected.chunks(size).all(|wanted| {
        let candidates = if any_order { free.len() } else { 1 };
        let found = (0..candidates).find(|&at| {
            let mut pairs = wanted.iter().zip(free[at]);
            pairs.all(|(expected, reply)| expected.matches(reply, saved))
        });
        found.map(|at| free.remove(at)).is_some()
    })
}

/// Resolves `%{name}` to what was saved and `%{text*count}` to a repetition.
pub fn expand(text: &[u8], saved: &Saved) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(start) = find(rest, b"%{") {
        let Some(len) = find(&rest[start..], b"}") else {
            break;
        };
        out.extend_from_slice(&rest[..start]);
        let body = &rest[start + 2..start + len];
        match saved.get(&*String::from_utf8_lossy(body)) {
            Some(value) => out.extend_from_slice(value),
            None => match repetition(body) {
                Some(repeated) => out.extend_from_slice(&repeated),
                None => out.extend_from_slice(&rest[start..=start + len]),
            },
        }
        rest = &rest[start + len + 1..];
    }
    out.extend_from_slice(rest);
    out
}

fn repetition(body: &[u8]) -> Option<Vec<u8>> {
    let star = body.iter().rposition(|&byte| byte == b'*')?;
    let count: usize = std::str::from_utf8(&body[star + 1..]).ok()?.parse().ok()?;
    Some(body[..star].repeat(count))
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}

/// Globs with `*` and `?` only.
fn is_match(glob: &[u8], text: &[u8]) -> bool {
    match (glob, text) {
        ([], []) => true,
        ([b'*', glob @ ..], text) => (0..=text.len()).any(|skip| is_match(glob, &text[skip..])),
        ([b'?', glob @ ..], [_, text @ ..]) => is_match(glob, text),
        ([wanted, glob @ ..], [byte, text @ ..]) => wanted == byte && is_match(glob, text),
        _ => false,
    }
}

fn parse_one(rest: &mut &[Token]) -> Result<Expected, String> {
    let (token, tail) = rest.split_first().ok_or("a reply is missing")?;
    *rest = tail;
    match token {
        Token::Close => Err("a bracket closes that was not opened".into()),
        Token::Quoted(sigil, text) => Ok(Expected::Exactly(match sigil {
            Some('+') => Leaf::Simple(text.clone()),
            Some('-') => Leaf::Error(text.clone()),
            Some(_) => Leaf::Verbatim(text.clone()),
            None => Leaf::Bulk(text.clone()),
        })),
        Token::Word(word) => parse_word(word),
        Token::Open(open) => {
            let mut items = Vec::new();
            while rest.first().is_some_and(|token| *token != Token::Close) {
                items.push(parse_one(rest)?);
            }
            let (_, tail) = rest.split_first().ok_or("a bracket is not closed")?;
            *rest = tail;
            aggregate(open, items)
        }
    }
}

fn aggregate(open: &str, items: Vec<Expected>) -> Result<Expected, String> {
    let (kind, order) = match open {
        "[" => (Kind::Array, Order::Given),
        "~[" => (Kind::Set, Order::Given),
        ">[" => (Kind::Push, Order::Given),
        "{" => (Kind::Map, Order::Given),
        "unordered[" => (Kind::Array, Order::Any),
        "unordered~[" => (Kind::Set, Order::Any),
        "unordered{" => (Kind::Map, Order::Any),
        "pairs[" => (Kind::Array, Order::AnyPairs),
        "one-of[" => return Ok(Expected::OneOf(items)),
        _ => return Err(format!("`{open}` opens nothing that is known")),
    };
    Ok(Expected::Aggregate(kind, order, items))
}

fn parse_word(word: &str) -> Result<Expected, String> {
    let unknown = || format!("`{word}` is no reply and no pattern");
    let other = |reply| Ok(Expected::Exactly(Leaf::Other(reply)));
    if let Some((name, argument)) = word.split_once('(').filter(|(name, _)| !name.is_empty()) {
        return parse_pattern(name, argument.trim_end_matches(')')).ok_or_else(unknown);
    }
    match word {
        "nil" => return other(Reply::NullBulk),
        "nil-array" => return other(Reply::NullArray),
        "null" => return other(Reply::Null),
        "#t" => return other(Reply::Boolean(true)),
        "#f" => return other(Reply::Boolean(false)),
        "any" => return Ok(Expected::Any),
        "int" => return Ok(Expected::Int(None)),
        "bulk" => return Ok(Expected::AnyBulk),
        "array" => return Ok(Expected::AnyArray(None)),
        _ => {}
    }
    let text = word.get(1..).unwrap_or("");
    match word.as_bytes().first() {
        Some(b'+') => Ok(Expected::Exactly(Leaf::Simple(text.into()))),
        Some(b'-') => Ok(Expected::Exactly(Leaf::Error(text.into()))),
        Some(b':') => other(Reply::Int(text.parse().map_err(|_| unknown())?)),
        Some(b',') => other(Reply::Double(text.into())),
        Some(b'(') => other(Reply::BigNumber(text.into())),
        _ => Err(unknown()),
    }
}

fn parse_pattern(name: &str, argument: &str) -> Option<Expected> {
    let text = || {
        let mut rest = argument;
        take_quoted(&mut rest).ok()
    };
    Some(match name {
        "int" => {
            let (low, high) = argument.split_once("..")?;
            Expected::Int(Some((low.parse().ok()?, high.parse().ok()?)))
        }
        "array" => Expected::AnyArray(Some(argument.parse().ok()?)),
        "match" => Expected::Match(text()?),
        "error" => Expected::Error(text()?),
        "near" => {
            let (value, margin) = argument.split_once(',')?;
            Expected::Near(value.trim().parse().ok()?, margin.trim().parse().ok()?)
        }
        "save" => Expected::Save(argument.to_owned()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tokens::tokenize;
    use super::*;

    fn matches(expected: &str, reply: &Reply) -> bool {
        let tokens = tokenize(expected).expect("tokens");
        let expected = Expected::parse(&tokens).expect("an expected reply");
        expected.matches(reply, &mut Saved::new())
    }

    fn bulks(texts: &[&str]) -> Vec<Reply> {
        texts
            .iter()
            .map(|text| Reply::Bulk(text.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn types_that_look_alike_are_told_apart() {
        assert!(matches("nil", &Reply::NullBulk));
        assert!(!matches("nil", &Reply::NullArray));
        assert!(!matches("nil", &Reply::Null));
        assert!(!matches("\"1\"", &Reply::Int(1)));
        assert!(!matches("\"OK\"", &Reply::Simple(b"OK".to_vec())));
        assert!(!matches("[\"a\"]", &Reply::Set(bulks(&["a"]))));
        assert!(!matches(",1.0", &Reply::Double(b"1".to_vec())));
    }

    #[test]
    fn order_and_number_of_elements_count_unless_the_file_says_otherwise() {
        let reply = Reply::Array(bulks(&["a", "b", "b", "c"]));
        assert!(matches("[\"a\" \"b\" \"b\" \"c\"]", &reply));
        assert!(!matches("[\"b\" \"a\" \"b\" \"c\"]", &reply));
        assert!(matches("unordered[\"b\" \"a\" \"b\" \"c\"]", &reply));
        assert!(!matches("unordered[\"b\" \"a\" \"c\" \"c\"]", &reply));
        assert!(!matches("unordered[\"b\" \"a\" \"c\"]", &reply));
        assert!(matches("pairs[\"b\" \"c\" \"a\" \"b\"]", &reply));
        assert!(!matches("pairs[\"a\" \"c\" \"b\" \"b\"]", &reply));
    }

    #[test]
    fn patterns_match_what_they_say_and_no_more() {
        assert!(matches("int(1..5)", &Reply::Int(5)));
        assert!(!matches("int(1..5)", &Reply::Int(6)));
        assert!(!matches("int", &Reply::Bulk(b"1".to_vec())));
        assert!(matches(
            "match(\"a ] * ?)\")",
            &Reply::Bulk(b"a ] bc d)".to_vec())
        ));
        assert!(!matches("match(\"a?\")", &Reply::Bulk(b"a".to_vec())));
        assert!(!matches(
            "error(\"ERR *\")",
            &Reply::Error(b"WRONGTYPE".to_vec())
        ));
        assert!(matches("near(1.5,0.1)", &Reply::Double(b"1.59".to_vec())));
        assert!(!matches("array(2)", &Reply::Array(bulks(&["a"]))));
        assert!(matches("one-of[:1 :2]", &Reply::Int(2)));
        assert!(!matches("one-of[:1 :2]", &Reply::Int(3)));
    }

    #[test]
    fn what_was_saved_and_repetitions_are_put_in() {
        let mut saved = Saved::new();
        assert!(Expected::Save("x".into()).matches(&Reply::Bulk(b"\x00}".to_vec()), &mut saved));
        assert_eq!(
            expand(b"<%{x}|%{ab*3}|%{other}>", &saved),
            b"<\x00}|ababab|%{other}>"
        );
    }
}
