//! SORT and SORT_RO: declarations, and what becomes of the sorted elements.

mod options;
mod pattern;
mod run;

use pattern::pattern_keys;

use crate::commands::spec::{
    Acl, Arg, Arity, Begin, Command, Find, Flags, Group, KeyFlags, KeySpec, Run,
};
use crate::commands::{Call, CommandResult};
use crate::protocol::{Args, Reply};
use crate::store::{Deadline, Keyspace, List, Value};
use options::SortOptions;

const BY: Arg = Arg::pattern("by-pattern").after("BY").spec(1).optional();
const LIMIT: Arg = Arg::block("limit", &[Arg::int("offset"), Arg::int("count")])
    .after("LIMIT")
    .optional();
const GET: Arg = Arg::pattern("get-pattern")
    .after("GET")
    .spec(1)
    .optional()
    .multiple_token();
const ORDER: Arg = Arg::one_of(
    "order",
    &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")],
)
.optional();
const SORTING: Arg = Arg::word("sorting", "ALPHA").optional();
const STORE: Arg = Arg::key("destination").after("STORE").spec(2).optional();

const SORTED_KEY: KeySpec = KeySpec::one(1, KeyFlags::RO_ACCESS);
/// The keys of BY and GET follow from the elements; see [`pattern_keys`].
const PATTERN_KEYS: KeySpec = KeySpec {
    begin: Begin::Unknown,
    find: Find::Unknown,
    flags: KeyFlags::RO_ACCESS,
    notes: Some(
        "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of \
         the key we sort",
    ),
};
const STORED_KEY: KeySpec = KeySpec {
    begin: Begin::Found(stored_key_at),
    find: Find::Range {
        last: 0,
        step: 1,
        limit: 0,
    },
    flags: KeyFlags::OW_UPDATE,
    notes: Some(
        "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the \
         argument array",
    ),
};

const COMPLEXITY: &str =
    "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number \
    of returned elements. When the elements are not sorted, complexity is O(N).";
const CATEGORIES: Acl = Acl::SET
    .and(Acl::SORTEDSET)
    .and(Acl::LIST)
    .and(Acl::DANGEROUS);

pub static COMMANDS: &[Command] = &[
    Command {
        name: "SORT",
        since: "1.0.0",
        group: Group::Generic,
        complexity: COMPLEXITY,
        summary:
            "Sorts the elements in a list, a set, or a sorted set, optionally storing the result.",
        arity: Arity::AtLeast(2),
        keys: &[SORTED_KEY, PATTERN_KEYS, STORED_KEY],
        args: &[Arg::key("key"), BY, LIMIT, GET, ORDER, SORTING, STORE],
        acl: CATEGORIES,
        flags: Flags::WRITE
            .and(Flags::DENYOOM)
            .and(Flags::MOVABLE_KEYS)
            .and(Flags::CLUSTER_LIMITED),
        run: Run::Write(sort),
        more_keys: Some(pattern_keys),
        ..Command::BASE
    },
    Command {
        name: "SORT_RO",
        since: "7.0.0",
        group: Group::Generic,
        complexity: COMPLEXITY,
        summary: "Returns the sorted elements of a list, a set, or a sorted set.",
        arity: Arity::AtLeast(2),
        keys: &[SORTED_KEY, PATTERN_KEYS],
        args: &[Arg::key("key"), BY, LIMIT, GET, ORDER, SORTING],
        acl: CATEGORIES,
        flags: Flags::READONLY
            .and(Flags::MOVABLE_KEYS)
            .and(Flags::CLUSTER_LIMITED),
        run: Run::Read(sort_ro),
        more_keys: Some(pattern_keys),
        ..Command::BASE
    },
];

fn sort(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let options = SortOptions::parse(call, true)?;
    let rows = run::sorted(keyspace, call, &options)?;
    let Some(target) = options.store else {
        show(&rows, reply);
        return Ok(());
    };
    let values = rows.iter().map(|row| row.as_deref().unwrap_or_default());
    let list = List::from_values(values, keyspace.limits());
    // An empty list removes the key.
    keyspace.set(target, Value::List(list), Deadline::None, call.now);
    reply.int(rows.len() as i64);
    Ok(())
}

fn sort_ro(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let options = SortOptions::parse(call, false)?;
    show(&run::sorted(keyspace, call, &options)?, reply);
    Ok(())
}

fn show(rows: &[Option<Vec<u8>>], reply: &mut Reply) {
    reply.array(rows.len());
    for row in rows {
        reply.bulk_or_null(row.as_deref());
    }
}

/// The argument of the last STORE, other options' values passed over.
fn stored_key_at(args: &Args) -> Option<usize> {
    let mut found = None;
    let mut index = 2;
    while index < args.len() {
        let is = |word: &[u8]| args.at(index).eq_ignore_ascii_case(word);
        if is(b"STORE") {
            found = Some(index + 1);
        }
        index += match () {
            _ if is(b"LIMIT") => 3,
            _ if is(b"GET") || is(b"BY") || is(b"STORE") => 2,
            _ => 1,
        };
    }
    found
}
