//! The operator's commands as the command line has them: names, flags, help. Carries nothing out.

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{value_parser, Arg, ArgAction, ArgMatches, Command};

use super::failure::EXIT_CODES;
use super::text::parse_duration;
use super::{target, Format, Leave, Operation, Order, Target};

const WATCH_DEFAULT: &str = "2";
const VERIFY_WITHIN: &str = "1h";
/// Nodes that one plan may add.
const ADDED_MAX: i64 = 1000;
const LOST_MAX: usize = 1000;

/// All of them, for the root command.
pub(in crate::cli) fn commands() -> [Command; 9] {
    [
        status(),
        top(),
        shards(),
        shard(),
        node(),
        plan(),
        rebalance(),
        verify(),
        recover(),
    ]
}

/// Help that every command has: what it is for, examples, exit codes.
fn command(name: &'static str, about: &'static str, example: &'static str) -> Command {
    let short = format!("Example:\n{example}");
    Command::new(name)
        .about(about)
        .after_long_help(format!("{short}\n\n{EXIT_CODES}"))
        .after_help(short)
}

/// One that asks a cluster.
fn asking(name: &'static str, about: &'static str, example: &'static str) -> Command {
    target::add_flags(command(name, about, example))
}

fn family(name: &'static str, about: &'static str, example: &'static str) -> Command {
    asking(name, about, example)
        .subcommand_required(true)
        .arg_required_else_help(true)
}

fn status() -> Command {
    asking(
        "status",
        "Show the cluster: nodes, what they lead and hold, what moves, what is wrong",
        "  ringfort status\n  ringfort status --watch 5\n  ringfort status --check -o json --http host1:8379,host2:8379",
    )
    .arg(
        Arg::new("watch")
            .long("watch")
            .value_name("SECONDS")
            .num_args(0..=1)
            .default_missing_value(WATCH_DEFAULT)
            .value_parser(value_parser!(u16).range(1..=3600))
            .help("Show it again and again, until Ctrl-C [default: every 2 seconds]"),
    )
    .arg(
        Arg::new("check")
            .long("check")
            .action(ArgAction::SetTrue)
            .conflicts_with("watch")
            .help("Exit with 1 where something is wrong"),
    )
    .arg(output())
}

fn top() -> Command {
    asking(
        "top",
        "Show live what the nodes do: operations, latency, memory, the busiest shards; q ends it, s sorts",
        "  ringfort top --http host1:8379",
    )
}

fn shards() -> Command {
    asking(
        "shards",
        "Show all shards, or one with its copies",
        "  ringfort shards\n  ringfort shards 17",
    )
    .arg(
        number("shard")
            .required(false)
            .help("Show the copies of this one"),
    )
    .arg(output())
}

fn shard() -> Command {
    family(
        "shard",
        "Order something for a single shard",
        "  ringfort shard transfer 17 3f2a91b0",
    )
    .subcommand(
        command(
            "transfer",
            "Have the shard led by that node, which must have a copy that votes",
            "  ringfort shard transfer 17 3f2a91b0\n  ringfort shard transfer 17 host2:6379",
        )
        .arg(number("shard").help("Its number"))
        .arg(node_argument())
        .arg(output()),
    )
}

fn node() -> Command {
    let example = "  ringfort node list\n  ringfort node remove 3f2a91b0\n\nA node that is to be added needs no command here: start it with --join.";
    family("node", "Show, remove, drain nodes", example)
        .subcommand(command("list", "List the nodes", "  ringfort node list").arg(output()))
        .subcommand(
            command("show", "Show all that is known of a node", "  ringfort node show 3f2a91b0\n  ringfort node show host2:6379")
                .arg(node_argument())
                .arg(output()),
        )
        .subcommand(leave(command(
            "remove",
            "Move everything off a node and let it go for good; shows how far it is. A run that was interrupted can be repeated",
            "  ringfort plan remove 3f2a91b0\n  ringfort node remove 3f2a91b0\n  ringfort node remove host2:6379 --timeout 2h",
        )))
        .subcommand(leave(command(
            "drain",
            "Move everything off a node, which stays in the cluster: for maintenance",
            "  ringfort node drain 3f2a91b0\n  ringfort node undrain 3f2a91b0",
        )))
        .subcommand(
            command("undrain", "Let a drained node hold shards again", "  ringfort node undrain 3f2a91b0")
                .arg(node_argument())
                .arg(output()),
        )
}

fn leave(command: Command) -> Command {
    command
        .arg(node_argument())
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .help("Even where too few nodes remain for all copies that there should be"),
        )
        .arg(
            Arg::new("no-wait")
                .long("no-wait")
                .action(ArgAction::SetTrue)
                .help("Only give the order; do not wait until the node holds nothing"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("DURATION")
                .value_parser(parse_duration)
                .help("Wait no longer than this (90s, 10m, 2h); what has begun goes on"),
        )
        // Nothing is asked; scripts that are used to such a flag may say it.
        .arg(
            Arg::new("yes")
                .long("yes")
                .short('y')
                .action(ArgAction::SetTrue)
                .hide(true),
        )
}

fn plan() -> Command {
    let example = "  ringfort plan add --count 2\n  ringfort plan remove 3f2a91b0";
    family(
        "plan",
        "Show what would move, before anything does",
        example,
    )
    .subcommand(
        command(
            "add",
            "What would move if nodes were added",
            "  ringfort plan add\n  ringfort plan add --count 2 --weight 200 --zone b",
        )
        .arg(
            Arg::new("count")
                .long("count")
                .value_name("NUMBER")
                .value_parser(value_parser!(u16).range(1..=ADDED_MAX))
                .default_value("1")
                .help("How many nodes"),
        )
        .arg(
            Arg::new("weight")
                .long("weight")
                .value_name("NUMBER")
                .value_parser(value_parser!(u16).range(1..))
                .default_value("100")
                .help("Their --weight"),
        )
        .arg(
            Arg::new("zone")
                .long("zone")
                .value_name("ZONE")
                .default_value("")
                .help("Their --zone"),
        )
        .arg(output()),
    )
    .subcommand(
        command(
            "remove",
            "What would move if a node were removed",
            "  ringfort plan remove 3f2a91b0",
        )
        .arg(node_argument())
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .help("As if `node remove --force` were said"),
        )
        .arg(output()),
    )
}

fn rebalance() -> Command {
    asking(
        "rebalance",
        "Spread copies and leaders evenly again, beyond what happens by itself",
        "  ringfort rebalance\n  ringfort status --watch",
    )
    .arg(output())
}

fn verify() -> Command {
    asking(
        "verify",
        "Compare the digests of all copies of all shards, or of one, each at one index",
        "  ringfort verify\n  ringfort verify 17",
    )
    .arg(number("shard").required(false).help("This one alone"))
    .arg(
        Arg::new("timeout")
            .long("timeout")
            .value_name("DURATION")
            .value_parser(parse_duration)
            .default_value(VERIFY_WITHIN)
            .help("Wait no longer than this"),
    )
    .arg(output())
}

fn recover() -> Command {
    asking(
        "recover",
        "After most copies of shards are lost for good: go on with what is left, and accept what is missing",
        "  ringfort recover --lost 3f2a91b0 --lost 5e1c77aa                       (says what it would mean)\n  \
         ringfort recover --lost 3f2a91b0 --lost 5e1c77aa --accept-data-loss",
    )
    .arg(
        Arg::new("lost")
            .long("lost")
            .value_name("NODE")
            .value_parser(NonEmptyStringValueParser::new())
            .num_args(1..)
            .action(ArgAction::Append)
            .value_delimiter(',')
            .required(true)
            .help("A node that will never come back; all of them must be named"),
    )
    .arg(
        Arg::new("accept-data-loss")
            .long("accept-data-loss")
            .action(ArgAction::SetTrue)
            .help("Acknowledged writes may be lost"),
    )
    .arg(output())
}

fn output() -> Arg {
    Arg::new("output")
        .short('o')
        .long("output")
        .value_name("FORMAT")
        .value_parser(["text", "json"])
        .default_value("text")
        .help("text for people, json for programs: the answer of the HTTP API as it is")
}

fn node_argument() -> Arg {
    Arg::new("node")
        .value_name("NODE")
        .required(true)
        .value_parser(NonEmptyStringValueParser::new())
        .help("Its id, the beginning of its id, or HOST:PORT of one of its ports")
}

fn number(name: &'static str) -> Arg {
    Arg::new(name)
        .value_name("SHARD")
        .required(true)
        .value_parser(value_parser!(u32))
}

/// The command that was given, if it is one of these.
pub(in crate::cli) fn from_matches(
    matches: &ArgMatches,
    env: &[(OsString, OsString)],
) -> Option<Result<Operation, String>> {
    let (name, matches) = matches.subcommand()?;
    let (order, matches) = match (name, matches.subcommand()) {
        ("shard" | "node" | "plan", Some((second, matches))) => {
            (order(name, second, matches)?, matches)
        }
        _ => (order(name, "", matches)?, matches),
    };
    let format = match matches.try_get_one::<String>("output") {
        Ok(Some(format)) if format == "json" => Format::Json,
        _ => Format::Text,
    };
    Some(Target::read(matches, env).map(|target| Operation {
        target,
        format,
        order,
    }))
}

fn order(first: &str, second: &str, matches: &ArgMatches) -> Option<Order> {
    let flag = |name| matches.get_flag(name);
    let shard = || matches.get_one::<u32>("shard").copied();
    let node = || text(matches, "node");
    Some(match (first, second) {
        ("status", _) => Order::Status {
            watch: matches
                .get_one::<u16>("watch")
                .map(|seconds| Duration::from_secs((*seconds).into())),
            is_check: flag("check"),
        },
        ("top", _) => Order::Top,
        ("shards", _) => Order::Shards { shard: shard() },
        ("shard", "transfer") => Order::Transfer {
            shard: shard()?,
            to: node(),
        },
        ("node", "list") => Order::NodeList,
        ("node", "show") => Order::NodeShow { node: node() },
        ("node", "remove") => Order::NodeRemove(leaving(matches)),
        ("node", "drain") => Order::NodeDrain(leaving(matches)),
        ("node", "undrain") => Order::NodeUndrain { node: node() },
        ("plan", "add") => Order::PlanAdd {
            count: *matches.get_one("count")?,
            weight: *matches.get_one("weight")?,
            zone: text(matches, "zone"),
        },
        ("plan", "remove") => Order::PlanRemove {
            node: node(),
            is_forced: flag("force"),
        },
        ("rebalance", _) => Order::Rebalance,
        ("verify", _) => Order::Verify {
            shard: shard(),
            within: *matches.get_one("timeout")?,
        },
        ("recover", _) => Order::Recover {
            lost: matches
                .get_many::<String>("lost")?
                .take(LOST_MAX)
                .cloned()
                .collect(),
            has_consent: flag("accept-data-loss"),
        },
        _ => return None,
    })
}

fn leaving(matches: &ArgMatches) -> Leave {
    Leave {
        node: text(matches, "node"),
        is_forced: matches.get_flag("force"),
        waits: !matches.get_flag("no-wait"),
        within: matches.get_one::<Duration>("timeout").copied(),
    }
}

fn text(matches: &ArgMatches, name: &str) -> String {
    matches.get_one::<String>(name).cloned().unwrap_or_default()
}
