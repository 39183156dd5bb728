//! The differential test: one random stream of commands to redis-server and to ringfort, replies compared.
//!
//!     cargo test --test differential -- [--commands N] [--seed S] [--threads T] [--mismatches M]
//!         [--pipeline P]
//!
//! RINGFORT_BIN and REDIS_SERVER name the programs. README.md lists the differences that are meant.
//! A mismatch prints the seed, both replies and a short stream that brings it about; exit code 1.

mod command;
mod compare;
mod differences;
mod generate;
mod keyspace;
mod pair;
#[path = "../support/ports.rs"]
mod ports;
mod random;
mod resp;
mod server;
mod shrink;
mod steps;
mod table;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use command::{cmd, Check, Command};
use generate::{Generator, DATABASES};
use pair::{Mismatch, Pair, Told, Trouble};
use server::Proto;

/// Bytes of a batch: less than the socket buffers hold, so that sending never waits for reading.
const BATCH_BYTES_MAX: usize = 48 * 1024;
/// All data is compared after so many commands.
const KEYSPACE_EVERY: usize = 20_000;
const SHRINK_LIMIT: Duration = Duration::from_secs(10);

struct Options {
    commands: usize,
    seed: u64,
    threads: usize,
    /// Different mismatches to collect before giving up.
    mismatches: usize,
    /// Commands sent at once, at most; 1 tells a wrong reply from a wrong order.
    pipeline: usize,
    redis: String,
    ringfort: String,
}

fn main() -> ExitCode {
    let options = match parse_options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("differential: {error}");
            return ExitCode::from(2);
        }
    };
    differences::assert_documented();
    println!(
        "differential: {} commands, seed {}",
        options.commands, options.seed
    );
    let mut run = match Run::new(&options) {
        Ok(run) => run,
        Err(error) => {
            eprintln!("differential: {error}");
            return ExitCode::from(2);
        }
    };
    let outcome = run.all();
    if let Err(error) = &outcome {
        eprintln!(
            "differential: {error}\nringfort's log:\n{}",
            run.pair.ringfort.log_tail()
        );
    }
    run.summary();
    if outcome.is_ok() && run.found.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn parse_options() -> Result<Options, String> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut options = Options {
        commands: 200_000,
        seed: time.map_or(1, |time| time.as_millis() as u64),
        threads: 2,
        mismatches: 20,
        pipeline: 150,
        redis: std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".into()),
        ringfort: std::env::var("RINGFORT_BIN")
            .unwrap_or_else(|_| env!("CARGO_BIN_EXE_ringfort").into()),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} needs a number"))?;
        let number: u64 = value
            .parse()
            .map_err(|_| format!("{word}: {value} is no number"))?;
        match word.as_str() {
            "--commands" => options.commands = number as usize,
            "--seed" => options.seed = number,
            "--threads" => options.threads = number as usize,
            "--pipeline" => options.pipeline = number.max(1) as usize,
            "--mismatches" => options.mismatches = number as usize,
            _ => return Err(format!("unknown option {word}")),
        }
    }
    Ok(options)
}

struct Run<'a> {
    options: &'a Options,
    generator: Generator,
    pair: Pair,
    done: usize,
    by_name: BTreeMap<String, usize>,
    errors: usize,
    /// Signatures of the mismatches and how often each came.
    found: BTreeMap<String, usize>,
    started: Instant,
}

impl<'a> Run<'a> {
    fn new(options: &'a Options) -> Result<Self, String> {
        let pair = start(options).map_err(|error| error.to_string())?;
        Ok(Self {
            options,
            generator: Generator::new(options.seed),
            pair,
            done: 0,
            by_name: BTreeMap::new(),
            errors: 0,
            found: BTreeMap::new(),
            started: Instant::now(),
        })
    }

    /// The whole stream; an error is a server that cannot be used any more.
    fn all(&mut self) -> Result<(), String> {
        let outcome = table::compare(&mut self.pair);
        self.settle(outcome)?;
        let mut next_keyspace = KEYSPACE_EVERY;
        while self.done < self.options.commands {
            let outcome = self.round();
            self.settle(outcome)?;
            if self.done >= next_keyspace {
                next_keyspace += KEYSPACE_EVERY;
                let outcome = keyspace::compare_all(&mut self.pair, true).map(|_| ());
                self.settle(outcome)?;
            }
            if self.found.len() >= self.options.mismatches {
                println!(
                    "differential: enough mismatches after {} commands",
                    self.done
                );
                return Ok(());
            }
        }
        let outcome = keyspace::compare_all(&mut self.pair, true).map(|_| ());
        self.settle(outcome)?;
        self.after_a_crash()
    }

    /// A batch on one connection, then perhaps a step.
    fn round(&mut self) -> Result<(), Trouble> {
        let random = &mut self.generator.random;
        let proto = if random.one_in(2) {
            Proto::Resp2
        } else {
            Proto::Resp3
        };
        let database = if random.one_in(4) {
            random.below(DATABASES)
        } else {
            0
        };
        let count = 1 + random.below(self.options.pipeline);
        let step = random.one_in(2);
        self.pair.select(proto, database)?;
        let batch = self.batch(count);
        self.done += batch.len();
        for command in &batch {
            *self.by_name.entry(command.name()).or_default() += 1;
        }
        self.pair.batch(proto, &batch)?;
        if step {
            let step = self.generator.step();
            self.done += 1;
            steps::run(&mut self.pair, proto, step)?;
        }
        Ok(())
    }

    fn batch(&mut self, count: usize) -> Vec<Command> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < count && bytes < BATCH_BYTES_MAX {
            let command = self.generator.command();
            bytes += command.args.iter().map(|arg| arg.len() + 16).sum::<usize>();
            if command.check == Check::Encoding {
                // The type before the encoding tells which differences are meant.
                let key = command.args.last().cloned().unwrap_or_default();
                batch.push(cmd!("TYPE", key));
            }
            batch.push(command);
        }
        batch
    }

    /// Reports a mismatch and puts both servers back to nothing, so that one mistake is told once.
    fn settle(&mut self, outcome: Result<(), Trouble>) -> Result<(), String> {
        let mismatch = match outcome {
            Ok(()) => return Ok(()),
            Err(Trouble::Gone(error)) => return Err(error),
            Err(Trouble::Mismatch(mismatch)) => mismatch,
        };
        self.errors += 1;
        let signature = signature(&mismatch);
        let seen = self.found.entry(signature).or_default();
        *seen += 1;
        let gone = mismatch.ringfort.starts_with("no reply");
        if *seen == 1 {
            self.report(&mismatch);
        }
        if gone {
            let explained = std::mem::take(&mut self.pair.explained);
            self.pair = start(self.options).map_err(|error| error.to_string())?;
            self.pair.explained = explained;
            return Ok(());
        }
        shrink::reset(&mut self.pair).map_err(|_| "a server does not answer".to_string())
    }

    fn report(&self, mismatch: &Mismatch) {
        println!(
            "\n=== mismatch {} (seed {}, after {} commands, database {}, {:?})",
            self.found.len(),
            self.options.seed,
            self.done,
            mismatch.told.database,
            mismatch.told.proto
        );
        println!("command:  {}", mismatch.told.command.shown());
        println!("redis:    {}", shortened(&mismatch.redis));
        println!("ringfort: {}", shortened(&mismatch.ringfort));
        if mismatch.ringfort.starts_with("no reply") {
            println!("ringfort's log:\n{}", self.pair.ringfort.log_tail());
        }
        let history = &self.pair.history[..mismatch.before];
        let short = mismatch
            .shrinkable
            .then(|| shrink::shrink(&|| start(self.options), history, mismatch, SHRINK_LIMIT))
            .flatten();
        match short {
            Some(stream) => print_stream("it takes:", &stream),
            None => {
                let keys: Vec<_> = shrink::keys_of(&mismatch.told.command).collect();
                let shares =
                    |told: &&Told| shrink::keys_of(&told.command).any(|key| keys.contains(&key));
                let mut last: Vec<Told> = history
                    .iter()
                    .rev()
                    .filter(shares)
                    .take(12)
                    .cloned()
                    .collect();
                last.reverse();
                print_stream("the last commands for its keys (not shrunk):", &last);
            }
        }
    }

    /// Kills ringfort without warning and compares everything with what Redis still holds.
    fn after_a_crash(&mut self) -> Result<(), String> {
        if server::is_redis(&self.options.ringfort) {
            // Its append-only file forgets a negative zero and what BITFIELD ... FAIL has grown.
            return Ok(());
        }
        let restarted = self.pair.ringfort.crash_and_restart();
        restarted.map_err(|error| format!("no restart after SIGKILL: {error}"))?;
        self.pair.forget_databases();
        // Redis' connections did not restart with it: bring both to the same database.
        let outcome = self.after_a_crash_compare();
        let keys = match outcome {
            Ok(keys) => keys,
            Err(trouble) => {
                println!("\nafter SIGKILL and restart:");
                return self.settle(Err(trouble));
            }
        };
        println!("differential: {keys} keys compared after SIGKILL and restart");
        Ok(())
    }

    fn after_a_crash_compare(&mut self) -> Result<usize, Trouble> {
        for proto in [Proto::Resp2, Proto::Resp3] {
            self.pair.call_both(proto, &cmd!("SELECT", "0").args)?;
        }
        keyspace::compare_all(&mut self.pair, false)
    }

    fn summary(&self) {
        println!(
            "\ndifferential: {} commands of {} names in {:.0} s, seed {}",
            self.done,
            self.by_name.len(),
            self.started.elapsed().as_secs_f64(),
            self.options.seed
        );
        for (id, count) in &self.pair.explained {
            println!("  meant difference {id}: {count} times");
        }
        if self.found.is_empty() {
            println!("differential: no unexplained difference");
            return;
        }
        println!(
            "differential: {} mismatches of {} sorts:",
            self.errors,
            self.found.len()
        );
        for (signature, count) in &self.found {
            println!("  {count:5} x {signature}");
        }
        println!(
            "again: scripts/differential.sh {} {}",
            self.options.commands, self.options.seed
        );
    }
}

fn start(options: &Options) -> std::io::Result<Pair> {
    Pair::start(&options.redis, &options.ringfort, options.threads)
}

/// As much of a reply as anyone reads.
fn shortened(reply: &str) -> String {
    const SHOWN_MAX: usize = 2000;
    match reply.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}... ({} bytes)", &reply[..end], reply.len()),
        None => reply.into(),
    }
}

/// What makes two mismatches the same for the reader: the command and the sort of replies.
fn signature(mismatch: &Mismatch) -> String {
    let sort = |reply: &str| -> String {
        let end = if reply.starts_with('-') || reply.starts_with('n') {
            60
        } else {
            1
        };
        reply
            .chars()
            .take(end)
            .filter(|c| !c.is_ascii_digit())
            .collect()
    };
    format!(
        "{}: {} / {}",
        mismatch.told.command.name(),
        sort(&mismatch.redis),
        sort(&mismatch.ringfort)
    )
}

fn print_stream(title: &str, stream: &[Told]) {
    println!("{title}");
    for told in stream {
        let database = match told.database {
            0 => String::new(),
            number => format!("[{number}] "),
        };
        println!("  {database}{}", told.command.shown());
    }
}
