//! Strings: every command of the family. The handlers are beside, by what they do.

mod counters;
mod lcs;
mod many;
mod options;
mod ranges;
#[cfg(test)]
mod tests;
mod values;

use super::spec::{Acl, Arg, Arity, Command, Flags, Group, KeyFlags, KeySpec, Merge, Run, Spread};
use super::CommandError;

/// What would make a string longer than `proto-max-bulk-len`.
const TOO_LONG: CommandError = CommandError::Other(std::borrow::Cow::Borrowed(
    "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
));

const KEY: Arg = Arg::key("key");
const VALUE: Arg = Arg::string("value");
const WRITE_FAST: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);
const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);
const KEYS_AND_VALUES: &[Arg] = &[Arg::block("data", &[KEY, VALUE]).multiple()];
const RANGE_COMPLEXITY: &str = "O(N) where N is the length of the returned string. The complexity is ultimately determined by the returned length, but because creating a substring from an existing string is very cheap, it can be considered O(1) for small strings.";

pub static COMMANDS: &[Command] = &[
    Command {
        name: "APPEND",
        since: "2.0.0",
        group: Group::String,
        complexity: "O(1). The amortized time complexity is O(1) assuming the appended value is small and the already present value is of any size, since the dynamic string library used by Redis will double the free space available on every reallocation.",
        summary: "Appends a string to the value of a key. Creates the key if it doesn't exist.",
        arity: Arity::Exact(3),
        keys: &[KeySpec::one(1, KeyFlags::RW_INSERT)],
        args: &[KEY, VALUE],
        acl: Acl::STRING,
        flags: WRITE_FAST,
        run: Run::Write(ranges::append),
        ..Command::BASE
    },
    Command {
        name: "DECR",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        arity: Arity::Exact(2),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)],
        args: &[KEY],
        acl: Acl::STRING,
        flags: WRITE_FAST,
        run: Run::Write(counters::decr),
        ..Command::BASE
    },
    Command {
        name: "DECRBY",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist.",
        arity: Arity::Exact(3),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)],
        args: &[KEY, Arg::int("decrement")],
        acl: Acl::STRING,
        flags: WRITE_FAST,
        run: Run::Write(counters::decrby),
        ..Command::BASE
    },
    Command {
        name: "GET",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Returns the string value of a key.",
        arity: Arity::Exact(2),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[KEY],
        acl: Acl::STRING,
        flags: READ_FAST,
        run: Run::Read(values::get),
        ..Command::BASE
    },
    Command {
        name: "GETDEL",
        since: "6.2.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Returns the string value of a key after deleting the key.",
        arity: Arity::Exact(2),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_DELETE)],
        args: &[KEY],
        acl: Acl::STRING,
        flags: Flags::WRITE.and(Flags::FAST),
        run: Run::Write(values::getdel),
        ..Command::BASE
    },
    Command {
        name: "GETEX",
        since: "6.2.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Returns the string value of a key after setting its expiration time.",
        arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)
            .noted("RW and UPDATE because it changes the TTL")],
        args: &[
            KEY,
            Arg::one_of(
                "expiration",
                &[
                    Arg::int("seconds").after("EX"),
                    Arg::int("milliseconds").after("PX"),
                    Arg::unix_time("unix-time-seconds").after("EXAT"),
                    Arg::unix_time("unix-time-milliseconds").after("PXAT"),
                    Arg::word("persist", "PERSIST"),
                ],
            )
            .optional(),
        ],
        acl: Acl::STRING,
        flags: Flags::WRITE.and(Flags::FAST),
        run: Run::Write(values::getex),
        ..Command::BASE
    },
    Command {
        name: "GETRANGE",
        since: "2.4.0",
        group: Group::String,
        complexity: RANGE_COMPLEXITY,
        summary: "Returns a substring of the string stored at a key.",
        arity: Arity::Exact(4),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[KEY, Arg::int("start"), Arg::int("end")],
        acl: Acl::STRING,
        flags: Flags::READONLY,
        run: Run::Read(ranges::getrange),
        ..Command::BASE
    },
    Command {
        name: "GETSET",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Returns the previous string value of a key after setting it to a new value.",
        arity: Arity::Exact(3),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)],
        args: &[KEY, VALUE],
        acl: Acl::STRING,
        flags: WRITE_FAST,
        run: Run::Write(values::getset),
        deprecated: Some(("6.2.0", "`SET` with the `!GET` argument")),
        ..Command::BASE
    },
    Command {
        name: "INCR",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        arity: Arity::Exact(2),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)],
        args: &[KEY],
        acl: Acl::STRING,
        flags: WRITE_FAST,
        run: Run::Write(counters::incr),
        ..Command::BASE
    },
    Command {
        name: "INCRBY",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
        arity: Arity::Exact(3),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)],
        args: &[KEY, Arg::int("increment")],
        acl: Acl::STRING,
        flags: WRITE_FAST,
        run: Run::Write(counters::incrby),
        ..Command::BASE
    },
    Command {
        name: "INCRBYFLOAT",
        since: "2.6.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Increment the floating point value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
        arity: Arity::Exact(3),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)],
        args: &[KEY, Arg::double("increment")],
        acl: Acl::STRING,
        flags: WRITE_FAST,
        run: Run::Write(counters::incrbyfloat),
        ..Command::BASE
    },
    Command {
        name: "LCS",
        since: "7.0.0",
        group: Group::String,
        complexity: "O(N*M) where N and M are the lengths of s1 and s2, respectively",
        summary: "Finds the longest common substring.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::range(1, 1, 1, KeyFlags::RO_ACCESS)],
        args: &[
            Arg::key("key1"),
            Arg::key("key2"),
            Arg::word("len", "LEN").optional(),
            Arg::word("idx", "IDX").optional(),
            Arg::int("min-match-len").after("MINMATCHLEN").optional(),
            Arg::word("withmatchlen", "WITHMATCHLEN").optional(),
        ],
        acl: Acl::STRING,
        flags: Flags::READONLY,
        run: Run::Read(lcs::lcs),
        ..Command::BASE
    },
    Command {
        name: "MGET",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(N) where N is the number of keys to retrieve.",
        summary: "Atomically returns the string values of one or more keys.",
        arity: Arity::AtLeast(2),
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO_ACCESS)],
        args: &[KEY.multiple()],
        acl: Acl::STRING,
        flags: READ_FAST,
        run: Run::Read(many::mget),
        spread: Spread::ByKey(Merge::InKeyOrder),
        tips: &["request_policy:multi_shard"],
        ..Command::BASE
    },
    Command {
        name: "MSET",
        since: "1.0.1",
        group: Group::String,
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Atomically creates or modifies the string values of one or more keys.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::range(1, -1, 2, KeyFlags::OW_UPDATE)],
        args: KEYS_AND_VALUES,
        acl: Acl::STRING,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        run: Run::Write(many::mset),
        spread: Spread::ByKey(Merge::Ok),
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        ..Command::BASE
    },
    Command {
        name: "MSETNX",
        since: "1.0.1",
        group: Group::String,
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Atomically modifies the string values of one or more keys only when all keys don't exist.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::range(1, -1, 2, KeyFlags::OW_INSERT)],
        args: KEYS_AND_VALUES,
        acl: Acl::STRING,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        run: Run::Write(many::msetnx),
        tips: &["request_policy:multi_shard", "response_policy:agg_min"],
        ..Command::BASE
    },
    Command {
        name: "PSETEX",
        since: "2.6.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Sets both string value and expiration time in milliseconds of a key. The key is created if it doesn't exist.",
        arity: Arity::Exact(4),
        keys: &[KeySpec::one(1, KeyFlags::OW_UPDATE)],
        args: &[KEY, Arg::int("milliseconds"), VALUE],
        acl: Acl::STRING,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        run: Run::Write(values::psetex),
        deprecated: Some(("2.6.12", "`SET` with the `PX` argument")),
        ..Command::BASE
    },
    Command {
        name: "SET",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE.and(KeyFlags::VARIABLE_FLAGS))
            .noted("RW and ACCESS due to the optional `GET` argument")],
        args: &[
            KEY,
            VALUE,
            Arg::one_of("condition", &[Arg::word("nx", "NX"), Arg::word("xx", "XX")])
                .since("2.6.12")
                .optional(),
            Arg::word("get", "GET").since("6.2.0").optional(),
            Arg::one_of(
                "expiration",
                &[
                    Arg::int("seconds").after("EX").since("2.6.12"),
                    Arg::int("milliseconds").after("PX").since("2.6.12"),
                    Arg::unix_time("unix-time-seconds").after("EXAT").since("6.2.0"),
                    Arg::unix_time("unix-time-milliseconds").after("PXAT").since("6.2.0"),
                    Arg::word("keepttl", "KEEPTTL").since("6.0.0"),
                ],
            )
            .optional(),
        ],
        acl: Acl::STRING,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        run: Run::Write(values::set),
        history: &[
            ("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."),
            ("6.0.0", "Added the `KEEPTTL` option."),
            ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."),
            ("7.0.0", "Allowed the `NX` and `GET` options to be used together."),
        ],
        ..Command::BASE
    },
    Command {
        name: "SETEX",
        since: "2.0.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Sets the string value and expiration time of a key. Creates the key if it doesn't exist.",
        arity: Arity::Exact(4),
        keys: &[KeySpec::one(1, KeyFlags::OW_UPDATE)],
        args: &[KEY, Arg::int("seconds"), VALUE],
        acl: Acl::STRING,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        run: Run::Write(values::setex),
        deprecated: Some(("2.6.12", "`SET` with the `EX` argument")),
        ..Command::BASE
    },
    Command {
        name: "SETNX",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Set the string value of a key only when the key doesn't exist.",
        arity: Arity::Exact(3),
        keys: &[KeySpec::one(1, KeyFlags::OW_INSERT)],
        args: &[KEY, VALUE],
        acl: Acl::STRING,
        flags: WRITE_FAST,
        run: Run::Write(values::setnx),
        deprecated: Some(("2.6.12", "`SET` with the `NX` argument")),
        ..Command::BASE
    },
    Command {
        name: "SETRANGE",
        since: "2.2.0",
        group: Group::String,
        complexity: "O(1), not counting the time taken to copy the new string in place. Usually, this string is very small so the amortized complexity is O(1). Otherwise, complexity is O(M) with M being the length of the value argument.",
        summary: "Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist.",
        arity: Arity::Exact(4),
        keys: &[KeySpec::one(1, KeyFlags::RW_UPDATE)],
        args: &[KEY, Arg::int("offset"), VALUE],
        acl: Acl::STRING,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        run: Run::Write(ranges::setrange),
        ..Command::BASE
    },
    Command {
        name: "STRLEN",
        since: "2.2.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Returns the length of a string value.",
        arity: Arity::Exact(2),
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        args: &[KEY],
        acl: Acl::STRING,
        flags: READ_FAST,
        run: Run::Read(ranges::strlen),
        ..Command::BASE
    },
    Command {
        name: "SUBSTR",
        since: "1.0.0",
        group: Group::String,
        complexity: RANGE_COMPLEXITY,
        summary: "Returns a substring from a string value.",
        arity: Arity::Exact(4),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[KEY, Arg::int("start"), Arg::int("end")],
        acl: Acl::STRING,
        flags: Flags::READONLY,
        run: Run::Read(ranges::getrange),
        deprecated: Some(("2.0.0", "`GETRANGE`")),
        ..Command::BASE
    },
];
