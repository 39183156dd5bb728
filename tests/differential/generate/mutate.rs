//! Turns a good command into a doubtful one: wrong counts, bad numbers, misplaced options.

use crate::random::Random;

/// No positive number between 1 and a billion: as a deadline it would pass during the run, as a bit
/// offset it would need too much memory.
const JUNK: [&str; 24] = [
    "",
    " ",
    "abc",
    "0",
    "-1",
    "-0",
    "1.5",
    "1e3",
    "nan",
    "inf",
    "-inf",
    "(",
    "[",
    "+1",
    " 1",
    "1 ",
    "0x10",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "1\r\n2",
    "x\0",
];

const OPTION_WORDS: [&str; 25] = [
    "NX",
    "XX",
    "GT",
    "LT",
    "CH",
    "INCR",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "KEEPTTL",
    "GET",
    "WITHSCORES",
    "LIMIT",
    "COUNT",
    "MATCH",
    "BYSCORE",
    "REV",
    "LEFT",
    "RIGHT",
    "BEFORE",
    "REPLACE",
    "DB",
    "AGGREGATE",
    "WEIGHTS",
];

/// Changes one thing about `args`; the command's name stays.
pub fn mutate(random: &mut Random, args: &mut Vec<Vec<u8>>) {
    match random.below(8) {
        0 => {
            if args.len() > 1 {
                args.pop();
            }
        }
        1 => args.push(junk(random)),
        2 => args.push((*random.pick(&OPTION_WORDS)).into()),
        3 => args.truncate(1 + random.below(args.len())),
        4 => {
            if args.len() > 1 {
                let at = 1 + random.below(args.len() - 1);
                let copy = args[at].clone();
                args.insert(at, copy);
            }
        }
        5 => {
            if args.len() > 2 {
                let at = 1 + random.below(args.len() - 2);
                args.swap(at, at + 1);
            }
        }
        _ => {
            if args.len() > 1 {
                let at = 1 + random.below(args.len() - 1);
                args[at] = if random.one_in(3) {
                    (*random.pick(&OPTION_WORDS)).into()
                } else {
                    junk(random)
                };
            }
        }
    }
}

/// Writes a word in another case.
pub fn recase(random: &mut Random, word: &mut [u8]) {
    match random.below(3) {
        0 => word.make_ascii_lowercase(),
        1 => word.make_ascii_uppercase(),
        _ => {
            for (at, byte) in word.iter_mut().enumerate() {
                if at % 2 == 0 {
                    byte.make_ascii_lowercase();
                }
            }
        }
    }
}

fn junk(random: &mut Random) -> Vec<u8> {
    (*random.pick(&JUNK)).into()
}
