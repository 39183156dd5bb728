//! The load of `scripts/elastic.sh`: a cluster-aware client that tries again, an even stream of commands whatever the answers, and a record
//! of what it felt and saw. Takes its orders from stdin, one a line, and answers with lines of JSON; `scripts/lib/elastic_load.py` speaks with it.
//!
//! | order | |
//! |---|---|
//! | `nodes HOST:PORT,...` | cluster ports that are asked for all nodes; the first order |
//! | `fill` | writes every key once |
//! | `closed N` | keeps N commands under way |
//! | `open N` | N commands a second, whether or not earlier ones are answered |
//! | `idle` | nothing new; says when everything is answered |
//! | `phase NAME` | reports on the phase before, and begins one |
//! | `check` | reads every key and says which lost what was acknowledged |
//! | `quit` | writes what was seen of the shared keys to the file of `--history`, and ends |

mod connection;
mod keys;
mod load;
mod record;
mod reply;
mod slots;

use std::collections::HashMap;
use std::io::{BufRead, Write};

use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver};
use tokio::task::{spawn_local, LocalSet};

pub use load::{Load, Operation};
use load::{Mode, Options};

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

async fn obey(load: &Load, orders: &mut UnboundedReceiver<String>, history: &str) {
    while let Some(order) = orders.recv().await {
        let (word, rest) = order.split_once(' ').unwrap_or((&order, ""));
        let number = || rest.parse::<u64>().unwrap_or_else(|_| usage(&order));
        match word {
            "nodes" => know(load, rest),
            "closed" => load.begin(Mode::Closed(number() as usize)),
            "open" => load.begin(Mode::Open(number().max(1), load.now(), 0)),
            "phase" => say(&load.next_phase(rest)),
            "idle" => {
                load.begin(Mode::Idle);
                load.until_idle().await;
                say("{\"idle\":true}");
            }
            "fill" => {
                load.walk_all(Mode::Fill).await;
                say(&format!("{{\"filled\":{}}}", load.keys.borrow().count()));
            }
            "check" => {
                load.walk_all(Mode::Check).await;
                say(&found(load));
            }
            "quit" => return write_history(load, history),
            _ => usage(&order),
        }
    }
}

fn know(load: &Load, nodes: &str) {
    *load.seeds.borrow_mut() = nodes.split(',').map(str::to_owned).collect();
    load.ask_for_map();
}

/// What reading every key has shown.
fn found(load: &Load) -> String {
    let keys = load.keys.borrow();
    let quoted = |text: &String| format!("\"{}\"", text.replace(['"', '\\'], "'"));
    let examples: Vec<String> = keys.examples.iter().map(quoted).collect();
    let (count, lost) = (keys.count(), keys.lost);
    format!(
        "{{\"checked\":{count},\"lost\":{lost},\"examples\":[{}]}}",
        examples.join(",")
    )
}

fn write_history(load: &Load, path: &str) {
    let mut lines = String::new();
    let keys = load.keys.borrow();
    keys.attempts.iter().for_each(|one| one.line(&mut lines));
    if let Err(error) = std::fs::write(path, lines) {
        eprintln!("elastic-load: {path}: {error}");
        std::process::exit(1);
    }
}

fn usage(what: &str) -> ! {
    eprintln!(
        "elastic-load: {what:?} is not understood\nusage: elastic-load --history FILE [--seed N] [--keys N] [--value-bytes N] \
         [--get-per-mille N] [--connections N] [--shards N]"
    );
    std::process::exit(2);
}

fn options() -> HashMap<String, String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let pair = |pair: &[String]| match pair {
        [name, value] if name.starts_with("--") => (name.clone(), value.clone()),
        other => usage(&other.join(" ")),
    };
    words.chunks(2).map(pair).collect()
}

fn main() {
    let options = options();
    let number = |name: &str, default: u64| match options.get(name) {
        None => default,
        Some(text) => text.parse().unwrap_or_else(|_| usage(text)),
    };
    let history = options.get("--history").cloned();
    let history = history.unwrap_or_else(|| usage("--history"));
    let load = Load::new(Options {
        seed: number("--seed", 1),
        keys: number("--keys", 100_000).max(1) as usize,
        value_bytes: number("--value-bytes", 1024) as usize,
        get_per_mille: number("--get-per-mille", 100),
        connections: number("--connections", 16).max(1) as usize,
        shards: number("--shards", 64).max(1) as usize,
    });
    let (sender, mut orders) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system gives what a runtime needs");
    LocalSet::new().block_on(&runtime, async {
        match orders.recv().await {
            Some(order) if order.starts_with("nodes ") => know(&load, &order["nodes ".len()..]),
            other => usage(&other.unwrap_or_default()),
        }
        spawn_local(load.clone().keep_map());
        spawn_local(load.clone().keep_pouring());
        obey(&load, &mut orders, &history).await;
    });
}
