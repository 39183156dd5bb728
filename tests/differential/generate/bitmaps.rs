//! Bitmaps: every command of the family. Offsets stay small: a bitmap is as long as its last bit.

use super::{Family, Generator, Kind};
use crate::command::{cmd, Command};

pub const COMMANDS: Family = &[
    (6, |g| {
        let (offset, bit) = (offset(g), g.random.range(0, 1));
        cmd!("SETBIT", bit_key(g), offset, bit)
    }),
    (4, |g| {
        let offset = offset(g);
        cmd!("GETBIT", bit_key(g), offset)
    }),
    (5, |g| {
        let command = cmd!("BITCOUNT", bit_key(g));
        range(g, command)
    }),
    (5, |g| {
        let bit = g.random.range(0, 1);
        let command = cmd!("BITPOS", bit_key(g), bit);
        if g.one_in(4) {
            return command.arg(g.index());
        }
        range(g, command)
    }),
    (4, |g| {
        let operation = *g.random.pick(&["AND", "or", "XOR", "NOT", "BAD"]);
        let most = if operation == "NOT" { 2 } else { 4 };
        cmd!("BITOP", operation, g.key(Kind::Bit)).with(g.keys(Kind::Bit, most))
    }),
    (7, |g| {
        let command = cmd!("BITFIELD", bit_key(g));
        bitfield(g, command, false)
    }),
    (3, |g| {
        let command = cmd!("BITFIELD_RO", bit_key(g));
        let read_only = !g.one_in(8);
        bitfield(g, command, read_only)
    }),
];

fn bit_key(g: &mut Generator) -> String {
    let kind = *g.random.pick(&[Kind::Bit, Kind::Bit, Kind::Bit, Kind::Str]);
    g.key(kind)
}

fn offset(g: &mut Generator) -> String {
    match g.random.below(20) {
        0 => "4294967296".into(),
        1 => "-1".into(),
        2 => g.random.range(0, 40_000).to_string(),
        _ => g.random.range(0, 200).to_string(),
    }
}

fn range(g: &mut Generator, command: Command) -> Command {
    if g.one_in(3) {
        return command;
    }
    let command = command.arg(g.index()).arg(g.index());
    match g.random.below(4) {
        0 => command.arg("BYTE"),
        1 => command.arg("bit"),
        _ => command,
    }
}

fn bitfield(g: &mut Generator, mut command: Command, read_only: bool) -> Command {
    for _ in 0..1 + g.random.below(3) {
        let (width, offset) = (width(g), field_offset(g));
        let operation = if read_only { 0 } else { g.random.below(5) };
        command = match operation {
            0 | 1 => command.arg("GET").arg(width).arg(offset),
            2 => {
                let value = number(g);
                command.arg("SET").arg(width).arg(offset).arg(value)
            }
            3 => {
                let value = number(g);
                command.arg("INCRBY").arg(width).arg(offset).arg(value)
            }
            _ => {
                let mode = *g.random.pick(&["WRAP", "SAT", "FAIL", "BAD"]);
                let value = number(g);
                command
                    .arg("OVERFLOW")
                    .arg(mode)
                    .arg("INCRBY")
                    .arg(width)
                    .arg(offset)
                    .arg(value)
            }
        };
    }
    command
}

fn width(g: &mut Generator) -> String {
    let sign = *g.random.pick(&["u", "i", "i"]);
    let bits = match g.random.below(12) {
        0 => *g.random.pick(&[0, 63, 64, 65]),
        _ => g.random.range(1, 32),
    };
    format!("{sign}{bits}")
}

fn field_offset(g: &mut Generator) -> String {
    match g.random.below(10) {
        0 => "-1".into(),
        1 => "#-1".into(),
        2..=4 => format!("#{}", g.random.range(0, 12)),
        _ => g.random.range(0, 150).to_string(),
    }
}

fn number(g: &mut Generator) -> i64 {
    match g.random.below(6) {
        0 => *g.random.pick(&[i64::MAX, i64::MIN, -1]),
        _ => g.random.range(-300, 300),
    }
}
