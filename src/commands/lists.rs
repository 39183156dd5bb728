//! Lists: the commands of the family that do not block. The handlers are beside, by what they do.

mod pop;
mod read;
#[cfg(test)]
mod tests;
mod write;

use super::spec::{Acl, Arg, Arity, Command, Flags, Group, KeyFlags, KeySpec, Run};
use super::{Call, CommandError};
use crate::store::list::Side;

const SIDES: &[Arg] = &[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")];

pub static COMMANDS: &[Command] = &[
    Command {
        name: "LINDEX",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(N) where N is the number of elements to traverse to get to the element at index. This makes asking for the first or the last element of the list O(1).",
        summary: "Returns an element from a list by its index.",
        arity: Arity::Exact(3),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key"), Arg::int("index")],
        acl: Acl::LIST,
        flags: Flags::READONLY,
        run: Run::Read(read::lindex),
        ..Command::BASE
    },
    Command {
        name: "LINSERT",
        since: "2.2.0",
        group: Group::List,
        complexity: "O(N) where N is the number of elements to traverse before seeing the value pivot. This means that inserting somewhere on the left end on the list (head) can be considered O(1) and inserting somewhere on the right end (tail) is O(N).",
        summary: "Inserts an element before or after another element in a list.",
        arity: Arity::Exact(5),
        keys: &[KeySpec::one(1, KeyFlags::RW_INSERT)],
        args: &[Arg::key("key"), Arg::one_of("where", &[Arg::word("before", "BEFORE"), Arg::word("after", "AFTER")]), Arg::string("pivot"), Arg::string("element")],
        acl: Acl::LIST,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        run: Run::Write(write::linsert),
        ..Command::BASE
    },
    Command {
        name: "LLEN",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(1)",
        summary: "Returns the length of a list.",
        arity: Arity::Exact(2),
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        args: &[Arg::key("key")],
        acl: Acl::LIST,
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Read(read::llen),
        ..Command::BASE
    },
    Command {
        name: "LMOVE",
        since: "6.2.0",
        group: Group::List,
        complexity: "O(1)",
        summary: "Returns an element after popping it from one list and pushing it to another. Deletes the list if the last element was moved.",
        arity: Arity::Exact(5),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_DELETE), KeySpec::one(2, KeyFlags::RW_INSERT)],
        args: &[Arg::key("source"), Arg::key("destination").spec(1), Arg::one_of("wherefrom", SIDES), Arg::one_of("whereto", SIDES)],
        acl: Acl::LIST,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        run: Run::Write(write::lmove),
        ..Command::BASE
    },
    Command {
        name: "LMPOP",
        since: "7.0.0",
        group: Group::List,
        complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        summary: "Returns multiple elements from a list after removing them. Deletes the list if the last element was popped.",
        arity: Arity::AtLeast(4),
        keys: &[KeySpec::counted(1, KeyFlags::RW_ACCESS_DELETE)],
        args: &[Arg::int("numkeys"), Arg::key("key").multiple(), Arg::one_of("where", SIDES), Arg::int("count").after("COUNT").optional()],
        acl: Acl::LIST,
        flags: Flags::WRITE.and(Flags::MOVABLE_KEYS),
        run: Run::Write(pop::lmpop),
        ..Command::BASE
    },
    Command {
        name: "LPOP",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(N) where N is the number of elements returned",
        summary: "Returns the first elements in a list after removing it. Deletes the list if the last element was popped.",
        arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_DELETE)],
        args: &[Arg::key("key"), Arg::int("count").optional().since("6.2.0")],
        acl: Acl::LIST,
        flags: Flags::WRITE.and(Flags::FAST),
        run: Run::Write(pop::lpop),
        history: &[("6.2.0", "Added the `count` argument.")],
        ..Command::BASE
    },
    Command {
        name: "LPOS",
        since: "6.0.6",
        group: Group::List,
        complexity: "O(N) where N is the number of elements in the list, for the average case. When searching for elements near the head or the tail of the list, or when the MAXLEN option is provided, the command may run in constant time.",
        summary: "Returns the index of matching elements in a list.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key"), Arg::string("element"), Arg::int("rank").after("RANK").optional(), Arg::int("num-matches").after("COUNT").optional(), Arg::int("len").after("MAXLEN").optional()],
        acl: Acl::LIST,
        flags: Flags::READONLY,
        run: Run::Read(read::lpos),
        ..Command::BASE
    },
    Command {
        name: "LPUSH",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
        summary: "Prepends one or more elements to a list. Creates the key if it doesn't exist.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::RW_INSERT)],
        args: &[Arg::key("key"), Arg::string("element").multiple()],
        acl: Acl::LIST,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        run: Run::Write(write::lpush),
        history: &[("2.4.0", "Accepts multiple `element` arguments.")],
        ..Command::BASE
    },
    Command {
        name: "LPUSHX",
        since: "2.2.0",
        group: Group::List,
        complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
        summary: "Prepends one or more elements to a list only when the list exists.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::RW_INSERT)],
        args: &[Arg::key("key"), Arg::string("element").multiple()],
        acl: Acl::LIST,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        run: Run::Write(write::lpushx),
        history: &[("4.0.0", "Accepts multiple `element` arguments.")],
        ..Command::BASE
    },
    Command {
        name: "LRANGE",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest end (HEAD or TAIL) for large lists; and N is the number of elements in the specified range.",
        summary: "Returns a range of elements from a list.",
        arity: Arity::Exact(4),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key"), Arg::int("start"), Arg::int("stop")],
        acl: Acl::LIST,
        flags: Flags::READONLY,
        run: Run::Read(read::lrange),
        ..Command::BASE
    },
    Command {
        name: "LREM",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(N+M) where N is the length of the list and M is the number of elements removed.",
        summary: "Removes elements from a list. Deletes the list if the last element was removed.",
        arity: Arity::Exact(4),
        keys: &[KeySpec::one(1, KeyFlags::RW_DELETE)],
        args: &[Arg::key("key"), Arg::int("count"), Arg::string("element")],
        acl: Acl::LIST,
        flags: Flags::WRITE,
        run: Run::Write(write::lrem),
        ..Command::BASE
    },
    Command {
        name: "LSET",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(N) where N is the length of the list. Setting either the first or the last element of the list is O(1).",
        summary: "Sets the value of an element in a list by its index.",
        arity: Arity::Exact(4),
        keys: &[KeySpec::one(1, KeyFlags::RW_UPDATE)],
        args: &[Arg::key("key"), Arg::int("index"), Arg::string("element")],
        acl: Acl::LIST,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        run: Run::Write(write::lset),
        ..Command::BASE
    },
    Command {
        name: "LTRIM",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(N) where N is the number of elements to be removed by the operation.",
        summary: "Removes elements from both ends a list. Deletes the list if all elements were trimmed.",
        arity: Arity::Exact(4),
        keys: &[KeySpec::one(1, KeyFlags::RW_DELETE)],
        args: &[Arg::key("key"), Arg::int("start"), Arg::int("stop")],
        acl: Acl::LIST,
        flags: Flags::WRITE,
        run: Run::Write(write::ltrim),
        ..Command::BASE
    },
    Command {
        name: "RPOP",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(N) where N is the number of elements returned",
        summary: "Returns and removes the last elements of a list. Deletes the list if the last element was popped.",
        arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_DELETE)],
        args: &[Arg::key("key"), Arg::int("count").optional().since("6.2.0")],
        acl: Acl::LIST,
        flags: Flags::WRITE.and(Flags::FAST),
        run: Run::Write(pop::rpop),
        history: &[("6.2.0", "Added the `count` argument.")],
        ..Command::BASE
    },
    Command {
        name: "RPOPLPUSH",
        since: "1.2.0",
        group: Group::List,
        complexity: "O(1)",
        summary: "Returns the last element of a list after removing and pushing it to another list. Deletes the list if the last element was popped.",
        arity: Arity::Exact(3),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_DELETE), KeySpec::one(2, KeyFlags::RW_INSERT)],
        args: &[Arg::key("source"), Arg::key("destination").spec(1)],
        acl: Acl::LIST,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        run: Run::Write(write::rpoplpush),
        deprecated: Some(("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments")),
        ..Command::BASE
    },
    Command {
        name: "RPUSH",
        since: "1.0.0",
        group: Group::List,
        complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
        summary: "Appends one or more elements to a list. Creates the key if it doesn't exist.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::RW_INSERT)],
        args: &[Arg::key("key"), Arg::string("element").multiple()],
        acl: Acl::LIST,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        run: Run::Write(write::rpush),
        history: &[("2.4.0", "Accepts multiple `element` arguments.")],
        ..Command::BASE
    },
    Command {
        name: "RPUSHX",
        since: "2.2.0",
        group: Group::List,
        complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
        summary: "Appends an element to a list only when the list exists.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::RW_INSERT)],
        args: &[Arg::key("key"), Arg::string("element").multiple()],
        acl: Acl::LIST,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        run: Run::Write(write::rpushx),
        history: &[("4.0.0", "Accepts multiple `element` arguments.")],
        ..Command::BASE
    },
];

/// Argument `index` as an end of a list: LEFT or RIGHT.
fn side(call: &Call, index: usize) -> Result<Side, CommandError> {
    if call.is_word(index, "LEFT") {
        Ok(Side::Head)
    } else if call.is_word(index, "RIGHT") {
        Ok(Side::Tail)
    } else {
        Err(CommandError::Syntax)
    }
}

/// First index and length of the part of `len` elements that `start` and `stop` name, both inclusive and
/// negative from the end.
fn span(start: i64, stop: i64, len: usize) -> (usize, usize) {
    let len = len as i64;
    let from_end = |index: i64| if index < 0 { index + len } else { index };
    let start = from_end(start).max(0);
    let stop = from_end(stop).min(len - 1);
    if start > stop {
        return (0, 0);
    }
    (start as usize, (stop - start + 1) as usize)
}
