//! Bitmaps: strings seen as bits, the highest bit of the first byte being bit 0. Every command of the family; the
//! handlers are beside.

mod bits;
mod combine;
mod count;
mod field;
mod integer;
#[cfg(test)]
mod tests;

use super::spec::{Acl, Arg, Arity, Command, Flags, Group, KeyFlags, KeySpec, Run};
use super::{Call, CommandError};
use crate::store::{Keyspace, StrRef};
use std::borrow::Cow;

const KEY: Arg = Arg::key("key");
const UNIT: Arg = Arg::one_of(
    "unit",
    &[Arg::word("byte", "BYTE"), Arg::word("bit", "BIT")],
)
.since("7.0.0")
.optional();
const ENCODING: Arg = Arg::string("encoding");
const OFFSET: Arg = Arg::int("offset");

pub static COMMANDS: &[Command] = &[
    Command {
        name: "BITCOUNT",
        since: "2.6.0",
        group: Group::Bitmap,
        complexity: "O(N)",
        summary: "Counts the number of set bits (population counting) in a string.",
        arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[
            KEY,
            Arg::block("range", &[Arg::int("start"), Arg::int("end"), UNIT]).optional(),
        ],
        acl: Acl::BITMAP,
        flags: Flags::READONLY,
        run: Run::Read(count::bitcount),
        history: &[("7.0.0", "Added the `BYTE|BIT` option.")],
        ..Command::BASE
    },
    Command {
        name: "BITFIELD",
        since: "3.2.0",
        group: Group::Bitmap,
        complexity: "O(1) for each subcommand specified",
        summary: "Performs arbitrary bitfield integer operations on strings.",
        arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE.and(KeyFlags::VARIABLE_FLAGS))
            .noted("This command allows both access and modification of the key")],
        args: &[
            KEY,
            Arg::one_of(
                "operation",
                &[
                    Arg::block("get-block", &[ENCODING, OFFSET]).after("GET"),
                    Arg::block(
                        "write",
                        &[
                            Arg::one_of(
                                "overflow-block",
                                &[
                                    Arg::word("wrap", "WRAP"),
                                    Arg::word("sat", "SAT"),
                                    Arg::word("fail", "FAIL"),
                                ],
                            )
                            .after("OVERFLOW")
                            .optional(),
                            Arg::one_of(
                                "write-operation",
                                &[
                                    Arg::block("set-block", &[ENCODING, OFFSET, Arg::int("value")])
                                        .after("SET"),
                                    Arg::block(
                                        "incrby-block",
                                        &[ENCODING, OFFSET, Arg::int("increment")],
                                    )
                                    .after("INCRBY"),
                                ],
                            ),
                        ],
                    ),
                ],
            )
            .multiple()
            .optional(),
        ],
        acl: Acl::BITMAP,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        run: Run::Write(field::bitfield),
        ..Command::BASE
    },
    Command {
        name: "BITFIELD_RO",
        since: "6.0.0",
        group: Group::Bitmap,
        complexity: "O(1) for each subcommand specified",
        summary: "Performs arbitrary read-only bitfield integer operations on strings.",
        arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[
            KEY,
            Arg::block("get-block", &[ENCODING, OFFSET])
                .after("GET")
                .multiple_token()
                .optional(),
        ],
        acl: Acl::BITMAP,
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Read(field::bitfield_ro),
        ..Command::BASE
    },
    Command {
        name: "BITOP",
        since: "2.6.0",
        group: Group::Bitmap,
        complexity: "O(N)",
        summary: "Performs bitwise operations on multiple strings, and stores the result.",
        arity: Arity::AtLeast(4),
        keys: &[
            KeySpec::one(2, KeyFlags::OW_UPDATE),
            KeySpec::range(3, -1, 1, KeyFlags::RO_ACCESS),
        ],
        args: &[
            Arg::one_of(
                "operation",
                &[
                    Arg::word("and", "AND"),
                    Arg::word("or", "OR"),
                    Arg::word("xor", "XOR"),
                    Arg::word("not", "NOT"),
                ],
            ),
            Arg::key("destkey"),
            Arg::key("key").spec(1).multiple(),
        ],
        acl: Acl::BITMAP,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        run: Run::Write(combine::bitop),
        ..Command::BASE
    },
    Command {
        name: "BITPOS",
        since: "2.8.7",
        group: Group::Bitmap,
        complexity: "O(N)",
        summary: "Finds the first set (1) or clear (0) bit in a string.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[
            KEY,
            Arg::int("bit"),
            Arg::block(
                "range",
                &[
                    Arg::int("start"),
                    Arg::block("end-unit-block", &[Arg::int("end"), UNIT]).optional(),
                ],
            )
            .optional(),
        ],
        acl: Acl::BITMAP,
        flags: Flags::READONLY,
        run: Run::Read(count::bitpos),
        history: &[("7.0.0", "Added the `BYTE|BIT` option.")],
        ..Command::BASE
    },
    Command {
        name: "GETBIT",
        since: "2.2.0",
        group: Group::Bitmap,
        complexity: "O(1)",
        summary: "Returns a bit value by offset.",
        arity: Arity::Exact(3),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[KEY, OFFSET],
        acl: Acl::BITMAP,
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Read(bits::getbit),
        ..Command::BASE
    },
    Command {
        name: "SETBIT",
        since: "2.2.0",
        group: Group::Bitmap,
        complexity: "O(1)",
        summary: "Sets or clears the bit at offset of the string value. Creates the key if it doesn't exist.",
        arity: Arity::Exact(4),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)],
        args: &[KEY, OFFSET, Arg::int("value")],
        acl: Acl::BITMAP,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        run: Run::Write(bits::setbit),
        ..Command::BASE
    },
];

/// The bytes of a string, an integer's digits among them; `None` for an absent key.
fn bytes<'a>(
    keyspace: &'a Keyspace,
    call: &Call,
    index: usize,
) -> Result<Option<Cow<'a, [u8]>>, CommandError> {
    Ok(keyspace
        .get_str(call.arg(index), call.now)?
        .map(|string| match string {
            StrRef::Bytes(bytes) => Cow::Borrowed(bytes),
            integer => Cow::Owned(integer.to_vec()),
        }))
}

/// The offset of a bit, within what a string may hold. BITFIELD's form `#n` counts integers of `width` bits.
fn bit_offset(keyspace: &Keyspace, text: &[u8], width: Option<u32>) -> Result<u64, CommandError> {
    let parse = crate::store::canonical_int;
    let offset = match (text, width) {
        ([b'#', number @ ..], Some(width)) => {
            parse(number).and_then(|number| number.checked_mul(width.into()))
        }
        _ => parse(text),
    };
    offset
        .and_then(|offset| u64::try_from(offset).ok())
        .filter(|offset| offset / 8 < keyspace.limits().bulk_len_max)
        .ok_or(CommandError::new(
            "ERR bit offset is not an integer or out of range",
        ))
}
