//! The last commands that took long: what SLOWLOG shows. Bounded in entries and in bytes an entry.

use std::collections::VecDeque;

use crate::protocol::Args;

/// Arguments kept of one command.
pub const ARGUMENTS_MAX: usize = 32;

/// Bytes kept of one argument.
pub const ARGUMENT_BYTES_MAX: usize = 128;

/// One slow command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowEntry {
    pub id: u64,
    /// When it ran, in seconds since the Unix epoch.
    pub at_seconds: u64,
    pub duration_us: u64,
    pub arguments: Vec<Vec<u8>>,
    pub client_address: String,
    pub client_name: Vec<u8>,
}

/// The newest slow commands.
#[derive(Debug, Default)]
pub struct SlowLog {
    /// The newest first.
    entries: VecDeque<SlowEntry>,
    next_id: u64,
}

impl SlowLog {
    /// Takes a command in; keeps at most `len_max`. Whether it was slow enough is the caller's decision.
    pub fn record(
        &mut self,
        args: &Args,
        at_seconds: u64,
        duration_us: u64,
        client: (&str, &[u8]),
        len_max: usize,
    ) {
        if len_max == 0 {
            return self.entries.clear();
        }
        self.entries.truncate(len_max - 1);
        self.entries.push_front(SlowEntry {
            id: self.next_id,
            at_seconds,
            duration_us,
            arguments: shortened(args),
            client_address: client.0.to_string(),
            client_name: client.1.to_vec(),
        });
        self.next_id += 1;
    }

    pub fn newest(&self) -> impl ExactSizeIterator<Item = &SlowEntry> {
        self.entries.iter()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn reset(&mut self) {
        self.entries.clear();
    }
}

/// The arguments as Redis shortens them: what is left out is said in words.
fn shortened(args: &Args) -> Vec<Vec<u8>> {
    let shown = match args.len() {
        n if n > ARGUMENTS_MAX => ARGUMENTS_MAX - 1,
        n => n,
    };
    let mut arguments: Vec<Vec<u8>> = (0..shown).map(|at| shortened_one(args.at(at))).collect();
    if shown < args.len() {
        arguments.push(format!("... ({} more arguments)", args.len() - shown).into_bytes());
    }
    arguments
}

fn shortened_one(argument: &[u8]) -> Vec<u8> {
    if argument.len() <= ARGUMENT_BYTES_MAX {
        return argument.to_vec();
    }
    let mut text = argument[..ARGUMENT_BYTES_MAX].to_vec();
    let more = argument.len() - ARGUMENT_BYTES_MAX;
    text.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::OwnedArgs;

    fn record(log: &mut SlowLog, args: &[&str], len_max: usize) {
        let args = OwnedArgs::new(args);
        log.record(&args.as_args(), 7, 8, ("1.2.3.4:5", b"me"), len_max);
    }

    #[test]
    fn the_newest_come_first_and_the_oldest_go() {
        let mut log = SlowLog::default();
        for name in ["a", "b", "c"] {
            record(&mut log, &[name], 2);
        }
        let names: Vec<_> = log
            .newest()
            .map(|e| (e.id, e.arguments[0].clone()))
            .collect();
        assert_eq!(names, [(2, b"c".to_vec()), (1, b"b".to_vec())]);
        log.reset();
        assert!(log.is_empty());
        record(&mut log, &["d"], 2);
        assert_eq!(log.newest().next().unwrap().id, 3);
    }

    #[test]
    fn a_length_of_zero_keeps_nothing() {
        let mut log = SlowLog::default();
        record(&mut log, &["a"], 2);
        record(&mut log, &["b"], 0);
        assert_eq!(log.len(), 0);
    }

    #[test]
    fn long_commands_are_cut_in_words() {
        let mut log = SlowLog::default();
        let long = "x".repeat(200);
        let many: Vec<&str> = std::iter::repeat_n(long.as_str(), 40).collect();
        record(&mut log, &many, 1);
        let arguments = &log.newest().next().unwrap().arguments;
        assert_eq!(arguments.len(), 32);
        assert_eq!(arguments[31], b"... (9 more arguments)");
        assert!(arguments[0].ends_with(b"x... (72 more bytes)"));
    }
}
