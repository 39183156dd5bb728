//! Makes the stream of commands from a seed. Knows what arguments are interesting, not what they do.
//!
//! Keys come from small pools by type, so that commands meet each other's data; a few go to a key of
//! another type. Every deadline is far away (or in the past): expiry itself is tested in `steps`.

mod bitmaps;
mod generic;
mod hashes;
mod lists;
mod mutate;
mod server;
mod sets;
mod strings;
mod zsets;

use crate::command::Command;
use crate::random::Random;
use crate::steps::Step;

/// Keys of each type.
const KEYS_PER_KIND: usize = 12;
/// A database other than 0 is used now and then.
pub const DATABASES: usize = 4;

/// In 2096, as Unix time.
const FUTURE_SECONDS: i64 = 4_000_000_000;

/// What a command expects its key to hold; also the prefix of the keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Str,
    Num,
    Bit,
    List,
    Hash,
    Set,
    Zset,
    /// Sorted sets whose scores are all 0: the order by member is defined for no others. Never `Any`.
    Lex,
    /// Whatever lies there.
    Any,
}

const KINDS: [Kind; 7] = [
    Kind::Str,
    Kind::Num,
    Kind::Bit,
    Kind::List,
    Kind::Hash,
    Kind::Set,
    Kind::Zset,
];

type Maker = fn(&mut Generator) -> Command;
/// Commands of a family with their weights.
type Family = &'static [(usize, Maker)];

const FAMILIES: &[(usize, Family)] = &[
    (20, strings::COMMANDS),
    (7, bitmaps::COMMANDS),
    (16, lists::COMMANDS),
    (14, hashes::COMMANDS),
    (16, sets::COMMANDS),
    (20, zsets::COMMANDS),
    (20, generic::COMMANDS),
    (3, server::COMMANDS),
];

pub struct Generator {
    pub random: Random,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
        }
    }

    /// The next command of the stream.
    pub fn command(&mut self) -> Command {
        let family = self.weighted(FAMILIES);
        let maker = self.weighted(family);
        let mut command = maker(self);
        if command.mutable && self.random.one_in(16) {
            mutate::mutate(&mut self.random, &mut command.args);
        }
        if self.random.one_in(8) {
            mutate::recase(&mut self.random, &mut command.args[0]);
        }
        command
    }

    /// What runs between two batches.
    pub fn step(&mut self) -> Step {
        generic::step(self)
    }

    fn weighted<T: Copy>(&mut self, choices: &[(usize, T)]) -> T {
        let total = choices.iter().map(|(weight, _)| weight).sum();
        let mut left = self.random.below(total);
        for (weight, choice) in choices {
            if left < *weight {
                return *choice;
            }
            left -= weight;
        }
        unreachable!("the weights sum up to the total")
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.random.one_in(n)
    }

    /// A key that mostly holds `kind`.
    pub fn key(&mut self, kind: Kind) -> String {
        if self.one_in(60) {
            // Apart for `Lex`: ZADD may bring such a key into being.
            let word = if kind == Kind::Lex { "nolex" } else { "none" };
            return format!("{word}:{}", self.random.below(5));
        }
        let kind = match kind {
            Kind::Any => *self.random.pick(&KINDS),
            // Another sorted set would have scores that differ.
            Kind::Lex if self.one_in(40) => Kind::Set,
            kind if self.one_in(40) && kind != Kind::Lex => *self.random.pick(&KINDS),
            kind => kind,
        };
        let index = self.random.below(KEYS_PER_KIND);
        let prefix = match kind {
            Kind::Str => "s",
            Kind::Num => "n",
            Kind::Bit => "b",
            Kind::List => "l",
            Kind::Hash => "h",
            Kind::Set => "t",
            Kind::Zset => "z",
            Kind::Lex => "y",
            Kind::Any => unreachable!("replaced above"),
        };
        // Some keys share a shard by their hash tag, most do not.
        if index % 4 == 0 {
            format!("{{tag}}{prefix}:{index}")
        } else {
            format!("{prefix}:{index}")
        }
    }

    pub fn keys(&mut self, kind: Kind, most: usize) -> Vec<Vec<u8>> {
        let count = 1 + self.random.below(most);
        (0..count).map(|_| self.key(kind).into_bytes()).collect()
    }

    /// An element, field or member: from a pool small enough that they meet.
    pub fn member(&mut self) -> Vec<u8> {
        let number = self.random.below(60);
        match self.random.below(40) {
            0..=15 => number.to_string().into_bytes(),
            16..=27 => format!("m{number}").into_bytes(),
            28 | 29 => format!("{}.5", number % 10).into_bytes(),
            30 | 31 => format!("{}{}", "long".repeat(17), number % 10).into_bytes(),
            32 => Vec::new(),
            33 => format!("\r\n\u{1}{}\0", number % 4).into_bytes(),
            34 => vec![0xff, 0xfe, (number % 4) as u8],
            35 => b"9223372036854775807".to_vec(),
            36 => b"-9223372036854775808".to_vec(),
            37 => b"007".to_vec(),
            38 => format!("{}", 100_000 + number).into_bytes(),
            _ => format!("-{number}").into_bytes(),
        }
    }

    /// A few members, now and then enough to outgrow a compact encoding.
    pub fn members(&mut self, most: usize) -> Vec<Vec<u8>> {
        if self.one_in(60) {
            let first = self.random.below(200);
            let count = 100 + self.random.below(500);
            let prefix = *self.random.pick(&["", "", "many"]);
            return (first..first + count)
                .map(|number| format!("{prefix}{number}").into_bytes())
                .collect();
        }
        let count = 1 + self.random.below(most);
        (0..count).map(|_| self.member()).collect()
    }

    /// A string value: like a member, or longer.
    pub fn value(&mut self) -> Vec<u8> {
        match self.random.below(24) {
            0 => {
                let len = self.random.below(3000);
                let byte = b'a' + self.random.below(26) as u8;
                vec![byte; len]
            }
            1 => {
                let len = 40 + self.random.below(10);
                vec![b'e'; len]
            }
            2 => "3.0".into(),
            3 => "-1.5e3".into(),
            4 => (0..self.random.below(64))
                .map(|_| self.random.below(256) as u8)
                .collect(),
            _ => self.member(),
        }
    }

    /// A small integer, positive or negative, as list and string indexes are.
    pub fn index(&mut self) -> i64 {
        match self.random.below(12) {
            0 => *self.random.pick(&[
                -1_000_000,
                1_000_000,
                i64::MAX,
                i64::MIN,
                i64::from(i32::MAX),
            ]),
            1..=4 => -self.random.range(1, 12),
            _ => self.random.range(0, 15),
        }
    }

    /// An increment.
    pub fn delta(&mut self) -> String {
        match self.random.below(20) {
            0 => "9223372036854775807".into(),
            1 => "-9223372036854775808".into(),
            2 => "9223372036854775808".into(),
            3 => "1.5".into(),
            4 => "abc".into(),
            _ => self.random.range(-100, 100).to_string(),
        }
    }

    /// A number with a fraction, for the INCRBYFLOAT family.
    pub fn float(&mut self) -> String {
        match self.random.below(24) {
            0 => (*self
                .random
                .pick(&["inf", "-inf", "nan", "abc", "", " 1", "1 "]))
            .into(),
            1 => (*self
                .random
                .pick(&["5.0e3", "1e17", "-1e-5", "1e10", "0x10"]))
            .into(),
            2..=7 => self.random.range(-50, 50).to_string(),
            8..=15 => {
                let digits = self.random.range(-5000, 5000) as f64 / 10.0;
                format!("{digits}")
            }
            _ => {
                let digits = self.random.range(-500_000, 500_000) as f64 / 1000.0;
                format!("{digits}")
            }
        }
    }

    /// Seconds or milliseconds so far away, in either unit, that they never pass during a run; no two
    /// alike, so that GT and LT never depend on a millisecond.
    pub fn far(&mut self) -> i64 {
        100_000 * self.random.range(10, 1_000_000)
    }

    /// An absolute deadline in seconds, from 2096 on; now and then long past.
    pub fn deadline_seconds(&mut self) -> i64 {
        if self.one_in(12) {
            *self.random.pick(&[0, 1, 1_000_000, -5])
        } else {
            FUTURE_SECONDS + 1000 * self.random.range(0, 1_000_000)
        }
    }

    /// An absolute deadline in milliseconds.
    pub fn deadline_ms(&mut self) -> i64 {
        if self.one_in(12) {
            *self.random.pick(&[0, 1, 1_000_000, -5])
        } else {
            1000 * FUTURE_SECONDS + self.random.range(0, 1_000_000_000)
        }
    }

    /// A choice of words as the tail of a command: each one once in `n` times.
    pub fn options(&mut self, words: &[&str], n: usize) -> Vec<Vec<u8>> {
        let mut chosen = Vec::new();
        for word in words {
            if self.one_in(n) {
                chosen.push(word.as_bytes().to_vec());
            }
        }
        chosen
    }

    /// One of several command tails, its words separated by blanks.
    pub fn words(&mut self, tails: &[&str]) -> Vec<Vec<u8>> {
        let tail = self.random.pick(tails);
        tail.split(' ').map(|word| word.into()).collect()
    }

    /// A glob pattern for keys and members.
    pub fn pattern(&mut self) -> String {
        let digit = self.random.below(10);
        match self.random.below(10) {
            0 | 1 => "*".into(),
            2 => format!("*{digit}"),
            3 => format!("m{digit}*"),
            4 => "[st]:*".into(),
            5 => "?:[0-4]".into(),
            6 => "[^m]*".into(),
            7 => "\\{tag\\}*".into(),
            8 => "".into(),
            _ => format!("s:{digit}"),
        }
    }
}
