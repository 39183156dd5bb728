//! The table entries of CLUSTER, READONLY, READWRITE and ASKING.

use super::super::help::help;
use super::super::spec::{Acl, Arg, Arity, Command, Flags, Group, Run};
use super::refused;

const NODE: Arg = Arg::string("node-id");
const SLOT: Arg = Arg::int("slot");
const RANGE: &[Arg] =
    &[Arg::block("range", &[Arg::int("start-slot"), Arg::int("end-slot")]).multiple()];
const OF_NODES: &str = "O(N) where N is the total number of cluster nodes";
const OF_SLOTS: &str = "O(N) where N is the total number of hash slot arguments";
const OF_RANGES: &str =
    "O(N) where N is the total number of the slots between the start slot and end slot arguments.";
const VARYING: &[&str] = &["nondeterministic_output"];

/// A subcommand that shows something.
const SHOWS: Command = Command {
    since: "3.0.0",
    group: Group::Cluster,
    arity: Arity::Exact(2),
    flags: Flags::STALE,
    ..Command::BASE
};

/// One that shows something to operators alone.
const SHOWS_OPERATORS: Command = Command {
    arity: Arity::Exact(3),
    args: &[NODE],
    flags: Flags::ADMIN.and(Flags::STALE),
    tips: VARYING,
    ..SHOWS
};

/// One that would change the cluster.
const CHANGES: Command = Command {
    flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
    ..SHOWS
};

/// A command on the connection.
const CONNECTION: Command = Command {
    since: "3.0.0",
    group: Group::Cluster,
    arity: Arity::Exact(1),
    acl: Acl::CONNECTION,
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
    ..Command::BASE
};

pub static COMMANDS: &[Command] = &[
    Command {
        name: "ASKING",
        summary: "Accepted, and without effect: no slot is ever on its way between two nodes.",
        flags: Flags::FAST,
        run: Run::Session(super::asking),
        ..CONNECTION
    },
    Command {
        name: "CLUSTER",
        since: "3.0.0",
        group: Group::Cluster,
        complexity: "Depends on subcommand.",
        summary: "Container for commands about the cluster.",
        arity: Arity::AtLeast(2),
        run: Run::Container,
        subcommands: SUBCOMMANDS,
        ..Command::BASE
    },
    Command {
        name: "READONLY",
        summary: "Allows replicas to answer the reads of this connection.",
        run: Run::Session(super::readonly),
        ..CONNECTION
    },
    Command {
        name: "READWRITE",
        summary: "Has the leaders answer all commands of this connection again.",
        run: Run::Session(super::readwrite),
        ..CONNECTION
    },
];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "ADDSLOTS",
        complexity: OF_SLOTS,
        summary: "Refused: slots are placed by the cluster itself.",
        arity: Arity::AtLeast(3),
        args: &[SLOT.multiple()],
        run: Run::Session(refused::slots),
        ..CHANGES
    },
    Command {
        name: "ADDSLOTSRANGE",
        since: "7.0.0",
        complexity: OF_RANGES,
        summary: "Refused: slots are placed by the cluster itself.",
        arity: Arity::AtLeast(4),
        args: RANGE,
        run: Run::Session(refused::slots),
        ..CHANGES
    },
    Command {
        name: "BUMPEPOCH",
        summary: "Refused: the cluster numbers its topology itself.",
        run: Run::Session(refused::epochs),
        tips: VARYING,
        ..CHANGES
    },
    Command {
        name: "COUNT-FAILURE-REPORTS",
        complexity: "O(N) where N is the number of failure reports",
        summary: "Returns 0 for any node: failures are found by election, not by reports.",
        run: Run::Session(super::failure_reports),
        ..SHOWS_OPERATORS
    },
    Command {
        name: "COUNTKEYSINSLOT",
        complexity: "O(N) where N is the number of keys in the shard of the slot",
        summary: "Returns the number of keys in a slot on this node.",
        arity: Arity::Exact(3),
        args: &[SLOT],
        run: Run::Session(super::count_keys),
        ..SHOWS
    },
    Command {
        name: "DELSLOTS",
        complexity: OF_SLOTS,
        summary: "Refused: slots are placed by the cluster itself.",
        arity: Arity::AtLeast(3),
        args: &[SLOT.multiple()],
        run: Run::Session(refused::slots),
        ..CHANGES
    },
    Command {
        name: "DELSLOTSRANGE",
        since: "7.0.0",
        complexity: OF_RANGES,
        summary: "Refused: slots are placed by the cluster itself.",
        arity: Arity::AtLeast(4),
        args: RANGE,
        run: Run::Session(refused::slots),
        ..CHANGES
    },
    Command {
        name: "FAILOVER",
        summary: "Refused: each shard elects its leader itself.",
        arity: Arity::AtLeast(2),
        args: &[Arg::one_of(
            "options",
            &[
                Arg::word("force", "FORCE"),
                Arg::word("takeover", "TAKEOVER"),
            ],
        )
        .optional()],
        run: Run::Session(refused::roles),
        ..CHANGES
    },
    Command {
        name: "FLUSHSLOTS",
        summary: "Refused: slots are placed by the cluster itself.",
        run: Run::Session(refused::slots),
        ..CHANGES
    },
    Command {
        name: "FORGET",
        summary: "Refused: nodes that stay away are replaced by the cluster itself.",
        arity: Arity::Exact(3),
        args: &[NODE],
        run: Run::Session(refused::forget),
        ..CHANGES
    },
    Command {
        name: "GETKEYSINSLOT",
        complexity: "O(N) where N is the number of keys in the shard of the slot",
        summary: "Returns keys of a slot on this node.",
        arity: Arity::Exact(4),
        args: &[SLOT, Arg::int("count")],
        run: Run::Session(super::get_keys),
        tips: VARYING,
        ..SHOWS
    },
    Command {
        name: "HELP",
        since: "5.0.0",
        summary: "Shows what the subcommands do.",
        flags: Flags::LOADING.and(Flags::STALE),
        run: Run::Admin(help),
        ..SHOWS
    },
    Command {
        name: "INFO",
        summary: "Returns whether the cluster serves all slots, and its size.",
        run: Run::Session(super::info),
        tips: VARYING,
        ..SHOWS
    },
    Command {
        name: "KEYSLOT",
        complexity: "O(N) where N is the number of bytes in the key",
        summary: "Returns the slot of a key.",
        arity: Arity::Exact(3),
        args: &[Arg::string("key")],
        run: Run::Admin(super::keyslot),
        ..SHOWS
    },
    Command {
        name: "LINKS",
        since: "7.0.0",
        complexity: OF_NODES,
        summary: "Returns the connections to and from other nodes, several for each.",
        run: Run::Session(super::links),
        tips: VARYING,
        ..SHOWS
    },
    Command {
        name: "MEET",
        summary: "Refused: nodes join by the settings they are started with.",
        arity: Arity::AtLeast(4),
        args: &[
            Arg::string("ip"),
            Arg::int("port"),
            Arg::int("cluster-bus-port").optional().since("4.0.0"),
        ],
        run: Run::Session(refused::meet),
        history: &[("4.0.0", "Added the optional `cluster_bus_port` argument.")],
        ..CHANGES
    },
    Command {
        name: "MYID",
        summary: "Returns the id of this node.",
        run: Run::Session(super::myid),
        ..SHOWS
    },
    Command {
        name: "MYSHARDID",
        since: "7.2.0",
        summary: "Returns the id of this node, which is all there is to its entry in SHARDS.",
        run: Run::Session(super::myid),
        tips: VARYING,
        ..SHOWS
    },
    Command {
        name: "NODES",
        complexity: OF_NODES,
        summary: "Returns the nodes and what they lead, a line each.",
        run: Run::Session(super::nodes),
        tips: VARYING,
        ..SHOWS
    },
    Command {
        name: "REPLICAS",
        since: "5.0.0",
        summary: "Returns an empty list: copies are not shown to clients.",
        run: Run::Session(super::replicas),
        ..SHOWS_OPERATORS
    },
    Command {
        name: "REPLICATE",
        summary: "Refused: the cluster places the copies of each shard itself.",
        arity: Arity::Exact(3),
        args: &[NODE],
        run: Run::Session(refused::roles),
        ..CHANGES
    },
    Command {
        name: "RESET",
        complexity: OF_NODES,
        summary: "Refused: a node begins anew with an empty data directory.",
        arity: Arity::AtLeast(2),
        args: &[Arg::one_of(
            "reset-type",
            &[Arg::word("hard", "HARD"), Arg::word("soft", "SOFT")],
        )
        .optional()],
        flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NOSCRIPT),
        run: Run::Session(refused::reset),
        ..CHANGES
    },
    Command {
        name: "SAVECONFIG",
        summary: "Refused: the cluster stores its topology itself.",
        run: Run::Session(refused::epochs),
        ..CHANGES
    },
    Command {
        name: "SET-CONFIG-EPOCH",
        summary: "Refused: the cluster numbers its topology itself.",
        arity: Arity::Exact(3),
        args: &[Arg::int("config-epoch")],
        run: Run::Session(refused::epochs),
        ..CHANGES
    },
    Command {
        name: "SETSLOT",
        summary: "Refused: slots are placed by the cluster itself.",
        arity: Arity::AtLeast(4),
        args: &[
            SLOT,
            Arg::one_of(
                "subcommand",
                &[
                    NODE.after("IMPORTING"),
                    NODE.after("MIGRATING"),
                    NODE.after("NODE"),
                    Arg::word("stable", "STABLE"),
                ],
            ),
        ],
        run: Run::Session(refused::slots),
        ..CHANGES
    },
    Command {
        name: "SHARDS",
        since: "7.0.0",
        complexity: OF_NODES,
        summary: "Returns the nodes and what they lead, as nested lists.",
        run: Run::Session(super::shards),
        tips: VARYING,
        ..SHOWS
    },
    Command {
        name: "SLAVES",
        summary: "Returns an empty list: copies are not shown to clients.",
        run: Run::Session(super::replicas),
        deprecated: Some(("5.0.0", "`CLUSTER REPLICAS`")),
        ..SHOWS_OPERATORS
    },
    Command {
        name: "SLOTS",
        complexity: OF_NODES,
        summary: "Returns ranges of slots with their leaders.",
        run: Run::Session(super::slots),
        history: &[
            ("4.0.0", "Added node IDs."),
            ("7.0.0", "Added additional networking metadata field."),
        ],
        deprecated: Some(("7.0.0", "`CLUSTER SHARDS`")),
        tips: VARYING,
        ..SHOWS
    },
];
