//! One command as COMMAND INFO shows it: ten fields.

use crate::protocol::Reply;

use super::super::super::spec::{Begin, Find, Flags, KeyFlags, KeySpec};
use super::super::super::Registered;
use super::visible_subcommands;

pub fn write(registered: &Registered, reply: &mut Reply) {
    let command = registered.command;
    let (first, last, step) = key_range(command.keys);
    let mut flags = command.flags;
    if has_movable_keys(command.keys) {
        flags = flags.and(Flags::MOVABLE_KEYS);
    }
    reply.array(10);
    reply.bulk(registered.full_name.as_bytes());
    reply.int(command.arity.as_redis());
    words(flags.names().into_iter(), "", reply);
    reply.int(first);
    reply.int(last);
    reply.int(step);
    words(command.categories().names().into_iter(), "@", reply);
    reply.set(command.tips.len());
    command
        .tips
        .iter()
        .for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(command.keys.len());
    command.keys.iter().for_each(|spec| key_spec(spec, reply));
    let subcommands = visible_subcommands(registered);
    reply.set(subcommands.len());
    subcommands.iter().for_each(|sub| write(sub, reply));
}

fn words(names: impl ExactSizeIterator<Item = &'static str>, prefix: &str, reply: &mut Reply) {
    reply.set(names.len());
    names.for_each(|name| reply.simple(&format!("{prefix}{name}")));
}

/// First key, last key and step: what clients knew before there were key specifications.
fn key_range(specs: &[KeySpec]) -> (i64, i64, i64) {
    let mut range: Option<(i64, i64, i64)> = None;
    for spec in specs
        .iter()
        .filter(|spec| !spec.flags.has(KeyFlags::NOT_KEY))
    {
        let (Begin::Index(begin), Find::Range { last, step, .. }) = (spec.begin, spec.find) else {
            continue;
        };
        let begin = begin as i64;
        let last = match last {
            0.. => begin + i64::from(last),
            _ => i64::from(last),
        };
        range = match range {
            None => Some((begin, last, step as i64)),
            // Neighbours become one range.
            Some((first, before, _)) if before + 1 == begin => Some((first, last, step as i64)),
            other => other,
        };
    }
    range.unwrap_or((0, 0, 0))
}

/// Whether [`key_range`] leaves keys out.
fn has_movable_keys(specs: &[KeySpec]) -> bool {
    specs.iter().any(|spec| {
        let plain = matches!(
            (spec.begin, spec.find),
            (Begin::Index(_), Find::Range { limit: 0 | 1, .. })
        );
        !plain || spec.flags.has(KeyFlags::INCOMPLETE)
    })
}

fn key_spec(spec: &KeySpec, reply: &mut Reply) {
    reply.map(3 + usize::from(spec.notes.is_some()));
    if let Some(notes) = spec.notes {
        reply.bulk(b"notes");
        reply.bulk(notes.as_bytes());
    }
    reply.bulk(b"flags");
    words(spec.flags.names().into_iter(), "", reply);
    reply.bulk(b"begin_search");
    begin_search(spec.begin, reply);
    reply.bulk(b"find_keys");
    find_keys(shown_find(spec), reply);
}

fn begin_search(begin: Begin, reply: &mut Reply) {
    match begin {
        Begin::Index(index) => {
            typed("index", 1, reply);
            number("index", index as i64, reply);
        }
        Begin::Keyword { word, from } => {
            typed("keyword", 2, reply);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            number("startfrom", i64::from(from), reply);
        }
        Begin::Unknown | Begin::Found(_) => typed("unknown", 0, reply),
    }
}

/// Where keys begin unknown to clients, they end unknown too.
fn shown_find(spec: &KeySpec) -> Find {
    match spec.begin {
        Begin::Found(_) => Find::Unknown,
        _ => spec.find,
    }
}

fn find_keys(find: Find, reply: &mut Reply) {
    match find {
        Find::Range { last, step, limit } => {
            typed("range", 3, reply);
            number("lastkey", i64::from(last), reply);
            number("keystep", step as i64, reply);
            number("limit", limit as i64, reply);
        }
        Find::Count {
            count_at,
            first,
            step,
        } => {
            typed("keynum", 3, reply);
            number("keynumidx", count_at as i64, reply);
            number("firstkey", first as i64, reply);
            number("keystep", step as i64, reply);
        }
        Find::Unknown => typed("unknown", 0, reply),
    }
}

/// `type` and the head of `spec`, whose fields follow.
fn typed(name: &str, fields: usize, reply: &mut Reply) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(name.as_bytes());
    reply.bulk(b"spec");
    reply.map(fields);
}

fn number(name: &str, value: i64, reply: &mut Reply) {
    reply.bulk(name.as_bytes());
    reply.int(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RO: KeyFlags = KeyFlags::RO_ACCESS;

    #[test]
    fn neighbouring_keys_are_one_range() {
        let two = [KeySpec::one(1, RO), KeySpec::one(2, RO)];
        assert_eq!(key_range(&two), (1, 2, 1));
        let target_and_sources = [KeySpec::one(1, RO), KeySpec::range(2, -1, 1, RO)];
        assert_eq!(key_range(&target_and_sources), (1, -1, 1));
        assert_eq!(key_range(&[KeySpec::range(1, -1, 2, RO)]), (1, -1, 2));
        assert_eq!(key_range(&[KeySpec::counted(1, RO)]), (0, 0, 0));
        assert_eq!(key_range(&[]), (0, 0, 0));
    }

    #[test]
    fn keys_that_a_range_cannot_name_are_movable() {
        assert!(has_movable_keys(&[
            KeySpec::one(1, RO),
            KeySpec::counted(2, RO)
        ]));
        assert!(!has_movable_keys(&[KeySpec::range(1, -1, 2, RO)]));
        assert!(!has_movable_keys(&[]));
    }
}
