//! The vocabulary in which a command is declared (DESIGN 4). Everything that the server knows of a command
//! follows from one [`Command`].

use crate::protocol::{Args, Reply};
use crate::store::{Databases, Keyspace};

use super::host::Host;
use super::session::Session;
use super::{Call, CommandError, CommandResult};

/// One command, or one subcommand of a container such as CONFIG.
pub struct Command {
    /// Upper case, without its container's name: `GETDEL`, or `GET` within CONFIG.
    pub name: &'static str,
    /// Version of Redis that brought it.
    pub since: &'static str,
    pub group: Group,
    pub complexity: &'static str,
    pub summary: &'static str,
    /// Arguments, the name (and the container's name) included.
    pub arity: Arity,
    pub keys: &'static [KeySpec],
    pub args: &'static [Arg],
    /// ACL categories beyond those that the flags imply (`@read`, `@write`, `@fast`, `@slow` ...).
    pub acl: Acl,
    pub flags: Flags,
    pub run: Run,
    pub spread: Spread,
    /// Keys beyond [`Command::keys`] that only the values tell (SORT's BY and GET).
    pub more_keys: Option<MoreKeys>,
    pub subcommands: &'static [Command],
    /// What changed in which version, for COMMAND DOCS.
    pub history: &'static [(&'static str, &'static str)],
    /// Version that deprecated it and what replaces it, for COMMAND DOCS.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Command tips, for COMMAND INFO.
    pub tips: &'static [&'static str],
}

impl Command {
    /// Defaults for the fields that most commands leave out.
    pub const BASE: Command = Command {
        name: "",
        since: "1.0.0",
        group: Group::Generic,
        complexity: "O(1)",
        summary: "",
        arity: Arity::AtLeast(1),
        keys: &[],
        args: &[],
        acl: Acl::NONE,
        flags: Flags::NONE,
        run: Run::Container,
        spread: Spread::Together,
        more_keys: None,
        subcommands: &[],
        history: &[],
        deprecated: None,
        tips: &[],
    };

    /// Whether it goes through the log.
    pub fn is_write(&self) -> bool {
        matches!(self.run, Run::Write(_) | Run::Databases(_) | Run::Meta)
    }

    /// All ACL categories, those included that follow from the flags.
    pub fn categories(&self) -> Acl {
        let implied = [
            (Flags::WRITE, Acl::WRITE),
            (Flags::READONLY, Acl::READ),
            (Flags::ADMIN, Acl::ADMIN.and(Acl::DANGEROUS)),
            (Flags::PUBSUB, Acl::PUBSUB),
            (Flags::FAST, Acl::FAST),
            (Flags::BLOCKING, Acl::BLOCKING),
        ];
        let mut categories = self.acl;
        for (flag, category) in implied {
            if self.flags.has(flag) {
                categories = categories.and(category);
            }
        }
        if self.flags.has(Flags::FAST) {
            return categories;
        }
        categories.and(Acl::SLOW)
    }

    /// Whether it runs against a shard's data, be it to read or to write.
    pub fn runs_on_shards(&self) -> bool {
        self.is_write() || matches!(self.run, Run::Read(_))
    }
}

/// How a command runs. The type of the function is its permission.
#[derive(Clone, Copy)]
pub enum Run {
    /// Reads one shard; runs at once at the leader.
    Read(fn(&Keyspace, &Call, &mut Reply) -> CommandResult),
    /// Changes one database of one shard; runs when its entry is applied.
    Write(fn(&mut Keyspace, &Call, &mut Reply) -> CommandResult),
    /// As `Write`, with all databases of the shard in reach (MOVE, SWAPDB, FLUSHALL).
    Databases(fn(&mut Databases, &Call, &mut Reply) -> CommandResult),
    /// Works on the connection's own state.
    Session(fn(&mut Session, &dyn Host, &Call, &mut Reply) -> CommandResult),
    /// Asks or changes the node.
    Admin(fn(&dyn Host, &Call, &mut Reply) -> CommandResult),
    /// Changes the topology: applied by the node, on the copy of the meta group.
    Meta,
    /// Only its subcommands run.
    Container,
}

/// Given the keyspace that holds the declared keys: the further keys that a call reads.
pub type MoreKeys = fn(&Keyspace, &Call) -> Result<Vec<Vec<u8>>, CommandError>;

/// What happens when the keys of a command lie in several shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// It needs all its keys in one place: their values are gathered in a scratch keyspace, the same
    /// handler runs there, and what it wrote to its written keys goes back to their shards.
    Together,
    /// Each shard runs the command with its own keys only (a key with the `step - 1` arguments behind it);
    /// the replies are merged.
    ByKey(Merge),
    /// Every shard runs it, whatever its arguments (DBSIZE, FLUSHALL); the replies are merged.
    Everywhere(Merge),
    /// Shard after shard, under a cursor that names shard and place (SCAN).
    Cursor,
    /// One shard, drawn by its number of keys (RANDOMKEY).
    Draw,
}

/// How the replies of several shards become one. An error of any part is the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Integers are added.
    Sum,
    /// All must be `+OK`.
    Ok,
    /// Arrays with one element a key, put back into the order of the keys (MGET).
    InKeyOrder,
    /// Arrays are joined (KEYS).
    Concat,
    /// Hexadecimal simple strings of 40 digits are combined by wrapping addition (DEBUG DIGEST).
    AddHex,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    Exact(usize),
    AtLeast(usize),
}

impl Arity {
    pub fn allows(self, arguments: usize) -> bool {
        match self {
            Arity::Exact(n) => arguments == n,
            Arity::AtLeast(n) => arguments >= n,
        }
    }

    /// Redis' notation: negative for a minimum.
    pub fn as_redis(self) -> i64 {
        match self {
            Arity::Exact(n) => n as i64,
            Arity::AtLeast(n) => -(n as i64),
        }
    }
}

/// Redis' command groups, as COMMAND DOCS names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Generic,
    String,
    List,
    Set,
    SortedSet,
    Hash,
    Bitmap,
    Connection,
    Server,
    Cluster,
}

impl Group {
    pub fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hash => "hash",
            Group::Bitmap => "bitmap",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Cluster => "cluster",
        }
    }
}

macro_rules! bit_set {
    ($(#[$meta:meta])* $type:ident: $($(#[$doc:meta])* $name:ident = $bit:expr, $text:expr;)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $type(u32);

        impl $type {
            pub const NONE: $type = $type(0);
            $($(#[$doc])* pub const $name: $type = $type(1 << $bit);)*

            pub const ALL: $type = $type(0 $(| 1 << $bit)*);

            /// Both sets together; `const`, so that tables can be declared with it.
            pub const fn and(self, other: $type) -> $type {
                $type(self.0 | other.0)
            }

            pub const fn has(self, other: $type) -> bool {
                self.0 & other.0 == other.0
            }

            /// Redis' names of what is in the set, in Redis' order.
            pub fn names(self) -> Vec<&'static str> {
                let all = [$(($type::$name, $text)),*];
                let here = all.iter().filter(|(bit, text)| self.has(*bit) && !text.is_empty());
                here.map(|(_, text)| *text).collect()
            }
        }
    };
}

bit_set! {
    /// Command flags. `write` and `readonly` are declared too, although [`Run`] implies them for commands
    /// on shards, because session commands can carry them.
    Flags:
    WRITE = 0, "write";
    READONLY = 1, "readonly";
    /// Refused when memory is full.
    DENYOOM = 2, "denyoom";
    ADMIN = 3, "admin";
    PUBSUB = 4, "pubsub";
    NOSCRIPT = 5, "noscript";
    BLOCKING = 6, "blocking";
    LOADING = 7, "loading";
    STALE = 8, "stale";
    SKIP_MONITOR = 9, "skip_monitor";
    SKIP_SLOWLOG = 10, "skip_slowlog";
    FAST = 11, "fast";
    /// Allowed before AUTH.
    NO_AUTH = 12, "no_auth";
    MOVABLE_KEYS = 13, "movablekeys";
    ALLOW_BUSY = 14, "allow_busy";
    NO_MULTI = 15, "no_multi";
    NO_ASYNC_LOADING = 16, "no_async_loading";
    /// Ours: a node makes it for its own log entries; clients cannot call it.
    INTERNAL = 24, "";
    /// Ours: a container whose subcommands COMMAND does not show (DEBUG).
    OPAQUE = 25, "";
    /// Ours: refused unless `enable-debug-command` allows it.
    DEBUG = 26, "";
    /// Ours: the cluster port refuses it, or some of its options (`cluster::port`).
    CLUSTER_LIMITED = 27, "";
}

bit_set! {
    /// ACL categories.
    Acl:
    KEYSPACE = 0, "keyspace";
    READ = 1, "read";
    WRITE = 2, "write";
    SET = 3, "set";
    SORTEDSET = 4, "sortedset";
    LIST = 5, "list";
    HASH = 6, "hash";
    STRING = 7, "string";
    BITMAP = 8, "bitmap";
    HYPERLOGLOG = 9, "hyperloglog";
    GEO = 10, "geo";
    STREAM = 11, "stream";
    PUBSUB = 12, "pubsub";
    ADMIN = 13, "admin";
    FAST = 14, "fast";
    SLOW = 15, "slow";
    BLOCKING = 16, "blocking";
    DANGEROUS = 17, "dangerous";
    CONNECTION = 18, "connection";
    TRANSACTION = 19, "transaction";
    SCRIPTING = 20, "scripting";
}

bit_set! {
    /// What a command does to the keys of one [`KeySpec`], in the terms of COMMAND INFO.
    KeyFlags:
    RO = 0, "RO";
    RW = 1, "RW";
    OW = 2, "OW";
    RM = 3, "RM";
    ACCESS = 4, "access";
    UPDATE = 5, "update";
    INSERT = 6, "insert";
    DELETE = 7, "delete";
    NOT_KEY = 8, "not_key";
    INCOMPLETE = 9, "incomplete";
    VARIABLE_FLAGS = 10, "variable_flags";
}

impl KeyFlags {
    pub const RO_ACCESS: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
    pub const RW_UPDATE: KeyFlags = KeyFlags::RW.and(KeyFlags::UPDATE);
    pub const RW_INSERT: KeyFlags = KeyFlags::RW.and(KeyFlags::INSERT);
    pub const RW_DELETE: KeyFlags = KeyFlags::RW.and(KeyFlags::DELETE);
    pub const RW_ACCESS_UPDATE: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE);
    pub const RW_ACCESS_DELETE: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE);
    pub const OW_UPDATE: KeyFlags = KeyFlags::OW.and(KeyFlags::UPDATE);
    pub const OW_INSERT: KeyFlags = KeyFlags::OW.and(KeyFlags::INSERT);
    pub const RM_DELETE: KeyFlags = KeyFlags::RM.and(KeyFlags::DELETE);

    /// Whether a command may change the key.
    pub fn writes(self) -> bool {
        self.has(KeyFlags::RW) || self.has(KeyFlags::OW) || self.has(KeyFlags::RM)
    }
}

/// Where keys stand among the arguments (Redis' key specifications).
#[derive(Clone, Copy)]
pub struct KeySpec {
    pub begin: Begin,
    pub find: Find,
    pub flags: KeyFlags,
    /// A word to the reader of COMMAND INFO.
    pub notes: Option<&'static str>,
}

#[derive(Clone, Copy)]
pub enum Begin {
    /// At this argument (the name is argument 0; for a subcommand the container's name is).
    Index(usize),
    /// Behind this word, searched for from an argument on (negative: from the end, backwards).
    Keyword { word: &'static str, from: i32 },
    /// Cannot be told from the arguments' places (SORT's BY and GET).
    Unknown,
    /// Only the command's own grammar tells (SORT's STORE); to clients it is as unknown as above.
    Found(fn(&Args) -> Option<usize>),
}

#[derive(Clone, Copy)]
pub enum Find {
    /// `last` relative to the first key; -1: to the last argument, -2: to the one before ...; `limit` 0 or 1: no
    /// limit; n: only the first n-th part of the rest.
    Range {
        last: i32,
        step: usize,
        limit: usize,
    },
    /// The number of keys stands at `count_at` and the first key at `first` (both relative to the begin).
    Count {
        count_at: usize,
        first: usize,
        step: usize,
    },
    Unknown,
}

impl KeySpec {
    /// One key at argument `index`.
    pub const fn one(index: usize, flags: KeyFlags) -> KeySpec {
        Self::range(index, 0, 1, flags)
    }

    /// From `first` on: `last` and `step` as in [`Find::Range`].
    pub const fn range(first: usize, last: i32, step: usize, flags: KeyFlags) -> KeySpec {
        KeySpec {
            begin: Begin::Index(first),
            find: Find::Range {
                last,
                step,
                limit: 0,
            },
            flags,
            notes: None,
        }
    }

    pub const fn noted(self, notes: &'static str) -> KeySpec {
        KeySpec {
            notes: Some(notes),
            ..self
        }
    }

    /// `numkeys key [key ...]` with `numkeys` at argument `index`.
    pub const fn counted(index: usize, flags: KeyFlags) -> KeySpec {
        KeySpec {
            begin: Begin::Index(index),
            find: Find::Count {
                count_at: 0,
                first: 1,
                step: 1,
            },
            flags,
            notes: None,
        }
    }
}

/// One argument, for COMMAND DOCS.
#[derive(Clone, Copy)]
pub struct Arg {
    pub name: &'static str,
    pub kind: ArgKind,
    pub token: Option<&'static str>,
    pub optional: bool,
    pub multiple: bool,
    pub multiple_token: bool,
    pub since: Option<&'static str>,
    /// Version that deprecated it.
    pub deprecated: Option<&'static str>,
    /// Which of the command's [`KeySpec`]s this key belongs to.
    pub key_spec: Option<usize>,
    pub args: &'static [Arg],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgKind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl ArgKind {
    pub fn name(self) -> &'static str {
        match self {
            ArgKind::String => "string",
            ArgKind::Integer => "integer",
            ArgKind::Double => "double",
            ArgKind::Key => "key",
            ArgKind::Pattern => "pattern",
            ArgKind::UnixTime => "unix-time",
            ArgKind::PureToken => "pure-token",
            ArgKind::OneOf => "oneof",
            ArgKind::Block => "block",
        }
    }
}

impl Arg {
    const fn new(name: &'static str, kind: ArgKind) -> Arg {
        Arg {
            name,
            kind,
            token: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            since: None,
            deprecated: None,
            key_spec: None,
            args: &[],
        }
    }

    /// A key of the command's first key specification; [`Arg::spec`] names another.
    pub const fn key(name: &'static str) -> Arg {
        Arg {
            key_spec: Some(0),
            ..Arg::new(name, ArgKind::Key)
        }
    }

    pub const fn string(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::String)
    }

    pub const fn int(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::Integer)
    }

    pub const fn double(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::Double)
    }

    pub const fn pattern(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::Pattern)
    }

    pub const fn unix_time(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::UnixTime)
    }

    /// A word without a value.
    pub const fn word(name: &'static str, token: &'static str) -> Arg {
        Arg {
            token: Some(token),
            ..Arg::new(name, ArgKind::PureToken)
        }
    }

    pub const fn one_of(name: &'static str, args: &'static [Arg]) -> Arg {
        Arg {
            args,
            ..Arg::new(name, ArgKind::OneOf)
        }
    }

    pub const fn block(name: &'static str, args: &'static [Arg]) -> Arg {
        Arg {
            args,
            ..Arg::new(name, ArgKind::Block)
        }
    }

    pub const fn optional(self) -> Arg {
        Arg {
            optional: true,
            ..self
        }
    }

    pub const fn multiple(self) -> Arg {
        Arg {
            multiple: true,
            ..self
        }
    }

    /// May repeat, each time with its word (`GET pattern GET pattern`).
    pub const fn multiple_token(self) -> Arg {
        Arg {
            multiple: true,
            multiple_token: true,
            ..self
        }
    }

    /// A value behind a word (`EX seconds`).
    pub const fn after(self, token: &'static str) -> Arg {
        Arg {
            token: Some(token),
            ..self
        }
    }

    pub const fn since(self, version: &'static str) -> Arg {
        Arg {
            since: Some(version),
            ..self
        }
    }

    pub const fn deprecated(self, version: &'static str) -> Arg {
        Arg {
            deprecated: Some(version),
            ..self
        }
    }

    pub const fn spec(self, index: usize) -> Arg {
        Arg {
            key_spec: Some(index),
            ..self
        }
    }
}
