//! Sorts.

use std::cmp::Ordering;

use super::options::{By, SortOptions};
use super::pattern::Pattern;
use crate::commands::{Call, CommandError};
use crate::protocol::parse_f64;
use crate::store::{Keyspace, ValueRef};

/// What decides an element's place.
enum Weight {
    Number(f64),
    /// `None`: the key that BY names is not there.
    Text(Option<Vec<u8>>),
    /// The element itself, as text.
    Element,
}

/// The rows of the answer: the elements, or what GET refers to for each.
pub fn sorted(
    keyspace: &Keyspace,
    call: &Call,
    options: &SortOptions<'_>,
) -> Result<Vec<Option<Vec<u8>>>, CommandError> {
    let value = keyspace.get(call.arg(1), call.now);
    let keeps_order = matches!(value, Some(ValueRef::List(_) | ValueRef::ZSet(_)));
    let mut elements = elements(value)?;
    match options.by {
        Some(By::Nothing) if keeps_order => {
            if options.descending {
                elements.reverse();
            }
        }
        // The order of a set is no property of its members: what is stored must not depend on it.
        Some(By::Nothing) if options.store.is_some() => {
            elements = ordered(elements, options.descending, |_| Ok(Weight::Element))?;
        }
        Some(By::Nothing) => {}
        _ => {
            let weigh = |element: &[u8]| weight(keyspace, call, options, element);
            elements = ordered(elements, options.descending, weigh)?;
        }
    }
    let range = options.range(elements.len());
    let chosen = &mut elements[range];
    Ok(match options.gets.is_empty() {
        true => chosen
            .iter_mut()
            .map(|element| Some(std::mem::take(element)))
            .collect(),
        false => rows(keyspace, call, &options.gets, chosen),
    })
}

fn rows(
    keyspace: &Keyspace,
    call: &Call,
    gets: &[Pattern<'_>],
    elements: &[Vec<u8>],
) -> Vec<Option<Vec<u8>>> {
    let look_up = |element| {
        gets.iter()
            .map(move |get| get.look_up(keyspace, element, call.now))
    };
    elements
        .iter()
        .flat_map(|element| look_up(element))
        .collect()
}

/// The elements of a list, set or sorted set in their own order; none where there is no key.
pub fn elements(value: Option<ValueRef<'_>>) -> Result<Vec<Vec<u8>>, CommandError> {
    Ok(match value {
        None => Vec::new(),
        Some(ValueRef::List(list)) => list.iter().map(|element| element.to_vec()).collect(),
        Some(ValueRef::Set(set)) => set.iter().map(|member| member.to_vec()).collect(),
        Some(ValueRef::ZSet(zset)) => zset.iter().map(|(member, _)| member.to_vec()).collect(),
        Some(_) => return Err(CommandError::WrongType),
    })
}

fn weight(
    keyspace: &Keyspace,
    call: &Call,
    options: &SortOptions<'_>,
    element: &[u8],
) -> Result<Weight, CommandError> {
    let text = match &options.by {
        Some(By::Key(pattern)) => pattern.look_up(keyspace, element, call.now),
        _ if options.alpha => return Ok(Weight::Element),
        _ => return number(element).map(Weight::Number),
    };
    match (text, options.alpha) {
        (text, true) => Ok(Weight::Text(text)),
        (None, false) => Ok(Weight::Number(0.0)),
        (Some(text), false) => number(&text).map(Weight::Number),
    }
}

/// A number as C's `strtod` reads the start of a string: blanks before it and, after a NUL, anything are
/// passed over; an empty text is 0.
fn number(text: &[u8]) -> Result<f64, CommandError> {
    let text = &text[..memchr::memchr(0, text).unwrap_or(text.len())];
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    let start = text.iter().position(|byte| !is_blank(byte)).unwrap_or(0);
    if text.is_empty() {
        return Ok(0.0);
    }
    parse_f64(&text[start..]).ok_or(CommandError::new(
        "ERR One or more scores can't be converted into double",
    ))
}

fn ordered(
    elements: Vec<Vec<u8>>,
    descending: bool,
    weigh: impl Fn(&[u8]) -> Result<Weight, CommandError>,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let mut weighed = elements
        .into_iter()
        .map(|element| Ok((weigh(&element)?, element)))
        .collect::<Result<Vec<_>, CommandError>>()?;
    weighed.sort_by(|a, b| match descending {
        true => compare(b, a),
        false => compare(a, b),
    });
    Ok(weighed.into_iter().map(|(_, element)| element).collect())
}

fn compare(a: &(Weight, Vec<u8>), b: &(Weight, Vec<u8>)) -> Ordering {
    match (&a.0, &b.0) {
        // Elements of the same weight in the order of their bytes, so that the answer is always the same.
        (Weight::Number(x), Weight::Number(y)) => {
            let by_number = x.partial_cmp(y).unwrap_or(Ordering::Equal);
            by_number.then_with(|| a.1.cmp(&b.1))
        }
        (Weight::Text(x), Weight::Text(y)) => x.cmp(y),
        _ => a.1.cmp(&b.1),
    }
}
