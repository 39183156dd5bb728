//! What the cluster port refuses although the keys of the command are in place: Redis Cluster has one database, and a
//! command reads the keys that it names and no others. Where a key belongs is the node's business.

use crate::protocol::Args;
use crate::store::canonical_int;

use super::super::registry::Registered;

/// Why a command that is marked with [`super::super::Flags::CLUSTER_LIMITED`] may not run on the cluster port; `None` if it may.
/// `databases` counts those there are.
pub fn refusal(command: &Registered, args: &Args, databases: u32) -> Option<&'static str> {
    match command.command.name {
        "MOVE" => Some("ERR MOVE is not allowed in cluster mode"),
        "SWAPDB" => Some("ERR SWAPDB is not allowed in cluster mode"),
        "COPY" if names_other_database(args, databases) => {
            Some("ERR Copying to another database is not allowed in cluster mode")
        }
        "SORT" | "SORT_RO" => sort_refusal(args),
        _ => None,
    }
}

/// Whether COPY goes to a database that exists and is not the first. Any other number is the command's own error.
fn names_other_database(args: &Args, databases: u32) -> bool {
    let number_behind = (3..args.len().saturating_sub(1))
        .find(|&at| args.at(at).eq_ignore_ascii_case(b"DB"))
        .and_then(|at| canonical_int(args.at(at + 1)));
    number_behind.is_some_and(|number| (1..i64::from(databases)).contains(&number))
}

/// The first option that makes keys of elements. A mistake before it is the command's own error.
fn sort_refusal(args: &Args) -> Option<&'static str> {
    let mut at = 2;
    while at < args.len() {
        let is = |word: &[u8]| args.at(at).eq_ignore_ascii_case(word);
        let more = args.len() - at - 1;
        at += match () {
            () if is(b"BY") && more >= 1 && args.at(at + 1).contains(&b'*') => {
                return Some("ERR BY option of SORT denied in Cluster mode.");
            }
            () if is(b"GET") && more >= 1 => {
                return Some("ERR GET option of SORT denied in Cluster mode.");
            }
            () if is(b"BY") || is(b"STORE") => 2,
            () if is(b"LIMIT") => 3,
            () if is(b"ASC") || is(b"DESC") || is(b"ALPHA") => 1,
            () => return None,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::super::registry;
    use super::*;
    use crate::protocol::OwnedArgs;

    fn refused(line: &str) -> Option<&'static str> {
        let args = OwnedArgs::new(line.split(' '));
        let command = registry().resolve(&args.as_args()).expect("a command");
        refusal(command, &args.as_args(), 16)
    }

    #[test]
    fn there_is_one_database() {
        assert!(refused("MOVE k 1").is_some_and(|text| text.contains("MOVE is not allowed")));
        assert!(refused("SWAPDB 0 1").is_some_and(|text| text.contains("SWAPDB is not allowed")));
        let other = Some("ERR Copying to another database is not allowed in cluster mode");
        assert_eq!(refused("COPY a b db 1 REPLACE"), other);
        assert_eq!(refused("COPY a b REPLACE DB 15"), other);
        for fine in [
            "COPY a b",
            "COPY a b DB 0",
            "COPY a b DB 16",
            "COPY a b DB x",
            "COPY a b DB",
        ] {
            assert_eq!(refused(fine), None, "{fine}");
        }
    }

    #[test]
    fn sort_makes_no_keys_of_elements() {
        let by = Some("ERR BY option of SORT denied in Cluster mode.");
        let get = Some("ERR GET option of SORT denied in Cluster mode.");
        for (line, expected) in [
            ("SORT l BY w_*", by),
            ("SORT_RO l DESC by w_* GET #", by),
            ("SORT l LIMIT 0 1 ALPHA GET #", get),
            ("SORT l BY nosort GET x", get),
            ("SORT l BY nosort STORE d", None),
            ("SORT l LIMIT BY GET", None),
            ("SORT l nonsense BY w_*", None),
            ("SORT l GET", None),
        ] {
            assert_eq!(refused(line), expected, "{line}");
        }
    }
}
