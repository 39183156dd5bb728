//! Finds a short stream that still shows a mismatch: on fresh servers, within a time limit.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::command::{cmd, Command};
use crate::pair::{Mismatch, Pair, Told, Trouble};
use crate::server::Proto;

/// Commands before the mismatch that are considered at all.
const CANDIDATES_MAX: usize = 8000;

/// The commands of `history` that are needed to bring the mismatch about, its own command last; `None`
/// when it does not come again (then chance, time or an older command has a part in it).
pub fn shrink(
    start: &dyn Fn() -> std::io::Result<Pair>,
    history: &[Told],
    mismatch: &Mismatch,
    limit: Duration,
) -> Option<Vec<Told>> {
    let deadline = Instant::now() + limit;
    let mut shrinker = Shrinker {
        start,
        pair: start().ok()?,
    };
    let last = &mismatch.told;
    let related = related(history, last);
    let recent = &history[history.len().saturating_sub(CANDIDATES_MAX)..];
    let mut stream = [related, recent.to_vec()]
        .into_iter()
        .find(|stream| shrinker.repeats(stream, last))?;
    let mut piece = stream.len().div_ceil(2);
    while piece > 0 && !stream.is_empty() {
        let mut at = 0;
        while at < stream.len() && Instant::now() < deadline {
            let end = (at + piece).min(stream.len());
            let mut shorter = stream.clone();
            shorter.drain(at..end);
            if shrinker.repeats(&shorter, last) {
                stream = shorter;
            } else {
                at = end;
            }
        }
        piece /= 2;
    }
    stream.push(last.clone());
    Some(stream)
}

struct Shrinker<'a> {
    start: &'a dyn Fn() -> std::io::Result<Pair>,
    pair: Pair,
}

impl Shrinker<'_> {
    /// Whether `last` mismatches after `stream` on empty servers.
    fn repeats(&mut self, stream: &[Told], last: &Told) -> bool {
        match replay(&mut self.pair, stream, last) {
            Ok(repeated) => {
                if repeated == Repeated::Gone {
                    // A server that has ended is replaced by a fresh one.
                    if let Ok(pair) = (self.start)() {
                        self.pair = pair;
                    }
                }
                repeated != Repeated::No
            }
            Err(()) => {
                if let Ok(pair) = (self.start)() {
                    self.pair = pair;
                }
                false
            }
        }
    }
}

#[derive(PartialEq)]
enum Repeated {
    Yes,
    No,
    Gone,
}

fn replay(pair: &mut Pair, stream: &[Told], last: &Told) -> Result<Repeated, ()> {
    reset(pair).map_err(|_| ())?;
    let mut at = 0;
    while at < stream.len() {
        let first = &stream[at];
        let alike = |told: &&Told| told.database == first.database && told.proto == first.proto;
        let run: Vec<Command> = stream[at..]
            .iter()
            .take(500)
            .take_while(alike)
            .map(|told| told.command.clone())
            .collect();
        pair.select(first.proto, first.database).map_err(|_| ())?;
        match pair.batch(first.proto, &run) {
            // Only the last command's replies count.
            Ok(()) => {}
            Err(Trouble::Mismatch(mismatch)) if !no_reply(&mismatch) => {}
            Err(_) => return Err(()),
        }
        at += run.len();
    }
    pair.select(last.proto, last.database).map_err(|_| ())?;
    // A mismatch about an encoding needs the type before it.
    let key = last.command.args.last().cloned().unwrap_or_default();
    let batch = [cmd!("TYPE", key), last.command.clone()];
    match pair.batch(last.proto, &batch) {
        Ok(()) => Ok(Repeated::No),
        Err(Trouble::Mismatch(mismatch)) if no_reply(&mismatch) => Ok(Repeated::Gone),
        Err(Trouble::Mismatch(mismatch)) if mismatch.told.command.args == last.command.args => {
            Ok(Repeated::Yes)
        }
        Err(_) => Ok(Repeated::No),
    }
}

fn no_reply(mismatch: &Mismatch) -> bool {
    mismatch.ringfort.starts_with("no reply")
}

/// Empties both servers and puts the settings that the stream changes back.
pub fn reset(pair: &mut Pair) -> Result<(), Trouble> {
    pair.history.clear();
    pair.call_both(Proto::Resp2, &cmd!("FLUSHALL").args)?;
    for (name, value) in [
        ("hash-max-listpack-entries", "128"),
        ("hash-max-listpack-value", "64"),
        ("zset-max-listpack-entries", "128"),
        ("zset-max-listpack-value", "64"),
        ("set-max-intset-entries", "512"),
        ("list-max-listpack-size", "-2"),
    ] {
        pair.call_both(Proto::Resp2, &cmd!("CONFIG", "SET", name, value).args)?;
    }
    Ok(())
}

/// The commands that share a key with `last`, directly or over others, and those that concern all keys.
fn related(history: &[Told], last: &Told) -> Vec<Told> {
    let mut keys: HashSet<Vec<u8>> = keys_of(&last.command).cloned().collect();
    let mut chosen: Vec<Told> = Vec::new();
    for told in history.iter().rev() {
        let name = told.command.name();
        let global = ["FLUSHALL", "FLUSHDB", "SWAPDB", "CONFIG"].contains(&name.as_str());
        if global || keys_of(&told.command).any(|key| keys.contains(key)) {
            if chosen.len() == CANDIDATES_MAX {
                break;
            }
            // Whole families would come in over MSET and the like: a few steps back must do.
            if keys.len() < 40 {
                keys.extend(keys_of(&told.command).cloned());
            }
            chosen.push(told.clone());
        }
    }
    chosen.reverse();
    chosen
}

/// The generator's keys all hold a colon, as hardly any other argument does.
pub fn keys_of(command: &Command) -> impl Iterator<Item = &Vec<u8>> {
    command
        .args
        .iter()
        .skip(1)
        .filter(|arg| arg.contains(&b':'))
}
