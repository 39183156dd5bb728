//! Finds commands by name, and keys among arguments. Built once from the families' tables.

use std::sync::LazyLock;

use crate::protocol::Args;
use crate::store::word;

use super::spec::{Begin, Command, Find, Flags, KeyFlags, Run};
use super::FAMILIES;

/// A command with what the registry adds.
pub struct Registered {
    pub command: &'static Command,
    /// Dense number, for per-command counters; not stable over versions, never stored.
    pub id: usize,
    /// Lower case, as Redis prints it: `getdel`, `config|get`.
    pub full_name: String,
    pub subcommands: Vec<&'static Registered>,
    /// Whether a call costs the container's name before its own (`CONFIG GET`).
    pub is_subcommand: bool,
    /// Where the key is, for a command that has exactly one.
    pub single_key: Option<usize>,
    /// Copies of what every call asks: [`Command::is_write`], [`Command::runs_on_shards`].
    pub is_write: bool,
    pub runs_on_shards: bool,
    /// Nothing is left to be looked up behind the name, and the command is one.
    is_plain: bool,
    name: Name,
    /// As in [`Slot`].
    letters: u64,
}

/// All commands, ordered by table.
pub struct Registry {
    pub commands: Vec<&'static Registered>,
    /// Commands and subcommands by id.
    pub by_id: Vec<&'static Registered>,
    /// Open addressing by [`Name::slot`].
    slots: Box<[Option<Slot>; SLOTS]>,
}

/// Places of the table of names, a power of two far above the number of commands.
const SLOTS: usize = 1024;

/// A command by its name.
#[derive(Clone, Copy)]
struct Slot {
    name: Name,
    /// `0x20` at each letter of the name's beginning: the one bit in which `a` and `A` differ.
    letters: u64,
    command: &'static Registered,
}

/// What is compared of a name first: its length and its first eight bytes, the first one lowest.
#[derive(Clone, Copy)]
struct Name {
    start: u64,
    len: usize,
}

impl Slot {
    /// Compares what [`Name`] does not hold.
    fn has_end_of(&self, name: &[u8]) -> bool {
        self.command.command.name.as_bytes()[8..].eq_ignore_ascii_case(&name[8..])
    }
}

impl Registered {
    /// Whether a command of a short name is called so.
    #[inline]
    fn is_called(&self, name: &[u8]) -> bool {
        name.len() == self.name.len
            && name.len() <= 8
            && (word(name) ^ self.name.start) & !self.letters == 0
            && !self.is_subcommand
    }
}

impl Name {
    #[inline]
    fn of(name: &[u8]) -> Self {
        let start = word(&name[..name.len().min(8)]);
        Self {
            start,
            len: name.len(),
        }
    }

    /// Where a name of any case is looked for first.
    #[inline]
    fn slot(self) -> usize {
        let folded = (self.start | 0x2020_2020_2020_2020) ^ self.len as u64;
        (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48) as usize % SLOTS
    }

    /// `0x20` at each byte that is a letter.
    fn letters(self) -> u64 {
        let bytes = self.start.to_le_bytes();
        u64::from_le_bytes(bytes.map(|byte| if byte.is_ascii_alphabetic() { 0x20 } else { 0 }))
    }
}

/// Why there is nothing to run: the text of the error reply.
pub type Unresolved = String;

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::build);

/// The registry of this program.
#[inline]
pub fn registry() -> &'static Registry {
    &REGISTRY
}

impl Registry {
    fn build() -> Registry {
        let mut registry = Registry {
            commands: Vec::new(),
            by_id: Vec::new(),
            slots: Box::new([None; SLOTS]),
        };
        for command in FAMILIES.iter().flat_map(|family| family.iter()) {
            let registered = registry.register(command, None);
            registry.commands.push(registered);
            registry.place(registered);
        }
        registry
    }

    fn place(&mut self, registered: &'static Registered) {
        let name = Name::of(registered.command.name.as_bytes());
        let mut slot = name.slot();
        while let Some(taken) = self.slots[slot] {
            assert!(
                taken.command.command.name != registered.command.name,
                "{} is declared twice",
                registered.command.name
            );
            slot = (slot + 1) % SLOTS;
        }
        self.slots[slot] = Some(Slot {
            name,
            letters: name.letters(),
            command: registered,
        });
    }

    fn register(
        &mut self,
        command: &'static Command,
        container: Option<&str>,
    ) -> &'static Registered {
        let name = command.name.to_ascii_lowercase();
        let full_name = container.map_or(name.clone(), |container| format!("{container}|{name}"));
        let subcommands: Vec<_> = command
            .subcommands
            .iter()
            .map(|sub| self.register(sub, Some(&full_name)))
            .collect();
        let is_subcommand = container.is_some();
        let id = self.by_id.len();
        let name = Name::of(command.name.as_bytes());
        let registered = Box::leak(Box::new(Registered {
            command,
            name,
            letters: name.letters(),
            id,
            full_name,
            subcommands,
            is_subcommand,
            single_key: single_key(command),
            is_write: command.is_write(),
            runs_on_shards: command.runs_on_shards(),
            is_plain: command.subcommands.is_empty() && !matches!(command.run, Run::Container),
        }));
        self.by_id.push(registered);
        registered
    }

    /// The command of this name, in any case; internal ones included.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&'static Registered> {
        let wanted = Name::of(name);
        let mut at = wanted.slot();
        while let Some(slot) = &self.slots[at] {
            let is_it = slot.name.len == wanted.len
                && (slot.name.start ^ wanted.start) & !slot.letters == 0
                && (wanted.len <= 8 || slot.has_end_of(name));
            if is_it {
                return Some(slot.command);
            }
            at = (at + 1) % SLOTS;
        }
        None
    }

    /// As [`Registry::resolve`] where that succeeds; without the text of an error. `guess`: what it may well be, since pipelines
    /// mostly call one command over and over.
    #[inline]
    pub fn called(
        &self,
        args: &Args,
        guess: Option<&'static Registered>,
    ) -> Option<&'static Registered> {
        let name = args.at(0);
        let found = match guess.filter(|guess| guess.is_called(name)) {
            Some(guess) => guess,
            None => self.find(name)?,
        };
        if found.is_plain {
            return Some(found).filter(|found| found.command.arity.allows(args.len()));
        }
        self.resolve(args).ok()
    }

    /// The command or subcommand that `args` call, its arity checked; or Redis' error text.
    #[inline]
    pub fn resolve(&self, args: &Args) -> Result<&'static Registered, Unresolved> {
        let found = self.find(args.at(0)).ok_or_else(|| unknown_command(args))?;
        if !found.subcommands.is_empty() && args.len() > 1 {
            return self.resolve_subcommand(found, args);
        }
        if !found.command.arity.allows(args.len()) {
            return Err(wrong_arity(found));
        }
        match found.command.run {
            Run::Container => Err(wrong_arity(found)),
            _ => Ok(found),
        }
    }

    /// What a client hears that calls a command it may not know of.
    pub fn unknown(&self, args: &Args) -> Unresolved {
        unknown_command(args)
    }

    fn resolve_subcommand(
        &self,
        container: &'static Registered,
        args: &Args,
    ) -> Result<&'static Registered, Unresolved> {
        let named =
            |sub: &&&Registered| sub.command.name.as_bytes().eq_ignore_ascii_case(args.at(1));
        match container.subcommands.iter().find(named) {
            Some(sub) if sub.command.arity.allows(args.len()) => Ok(sub),
            _ if container.command.flags.has(Flags::OPAQUE) => Err(subcommand_syntax(args)),
            Some(sub) => Err(wrong_arity(sub)),
            // A container that runs by itself takes other first arguments too (COMMAND takes none).
            None => Err(format!(
                "ERR unknown subcommand '{}'. Try {} HELP.",
                printable(args.at(1), 128),
                container.command.name
            )),
        }
    }
}

/// `ERR wrong number of arguments for 'get' command`.
pub fn wrong_arity(registered: &Registered) -> String {
    format!(
        "ERR wrong number of arguments for '{}' command",
        registered.full_name
    )
}

/// How containers answer a mistake behind the name of their subcommand.
pub fn subcommand_syntax(args: &Args) -> String {
    format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try {} HELP.",
        printable(args.at(1), 128),
        printable(args.at(0), 128).to_ascii_uppercase()
    )
}

fn unknown_command(args: &Args) -> String {
    let mut text = format!(
        "ERR unknown command '{}', with args beginning with: ",
        printable(args.at(0), 128)
    );
    let start = text.len();
    for arg in args.from(1) {
        if text.len() - start >= 128 {
            break;
        }
        let room = 128 - (text.len() - start);
        text.push_str(&format!("'{}' ", printable(arg, room)));
    }
    text
}

fn printable(bytes: &[u8], bytes_max: usize) -> String {
    // Redis prints names as C strings: nothing behind a NUL.
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end.min(bytes_max)]).into_owned()
}

fn single_key(command: &Command) -> Option<usize> {
    match command.keys {
        [spec] if !spec.flags.has(KeyFlags::NOT_KEY) && command.more_keys.is_none() => {
            match (spec.begin, spec.find) {
                (Begin::Index(index), Find::Range { last: 0, .. }) => Some(index),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Calls `visit` with the argument index and flags of every key of a call whose arity was checked.
///
/// Counts that are no numbers or reach beyond the arguments yield no keys: the handler answers the error.
#[inline]
pub fn for_each_key(command: &Command, args: &Args, mut visit: impl FnMut(usize, KeyFlags)) {
    for spec in command.keys {
        if spec.flags.has(KeyFlags::NOT_KEY) {
            continue;
        }
        let Some(begin) = begin_of(spec.begin, args) else {
            continue;
        };
        let (first, last, step) = match spec.find {
            Find::Unknown => continue,
            Find::Range { last, step, limit } => {
                let end = match last {
                    0.. => begin + last as usize,
                    _ if limit > 1 => begin + (args.len() - begin) / limit - 1,
                    _ => (args.len() as i64 + i64::from(last)).max(0) as usize,
                };
                (begin, end, step)
            }
            Find::Count {
                count_at,
                first,
                step,
            } => {
                let count = args
                    .get(begin + count_at)
                    .and_then(crate::store::canonical_int)
                    .unwrap_or(0);
                let room = args.len().saturating_sub(begin + first) as i64;
                if count <= 0 || count > room {
                    continue;
                }
                (
                    begin + first,
                    begin + first + (count as usize - 1) * step,
                    step,
                )
            }
        };
        (first..=last)
            .step_by(step)
            .take_while(|&at| at < args.len())
            .for_each(|at| visit(at, spec.flags));
    }
}

fn begin_of(begin: Begin, args: &Args) -> Option<usize> {
    match begin {
        Begin::Index(index) => (index < args.len()).then_some(index),
        Begin::Unknown => None,
        Begin::Found(find) => find(args).filter(|&index| index < args.len()),
        Begin::Keyword { word, from } => {
            let is_word = |&index: &usize| args.at(index).eq_ignore_ascii_case(word.as_bytes());
            let found = match from {
                0.. => (from as usize..args.len()).find(is_word),
                _ => (0..=args.len().checked_sub(from.unsigned_abs() as usize)?)
                    .rev()
                    .find(is_word),
            };
            found
                .map(|index| index + 1)
                .filter(|&index| index < args.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_in_any_case() {
        for &registered in &registry().commands {
            let name = registered.command.name;
            let mixed: String = name
                .char_indices()
                .map(|(at, c)| match at % 2 {
                    0 => c.to_ascii_lowercase(),
                    _ => c.to_ascii_uppercase(),
                })
                .collect();
            for spelled in [name, &name.to_ascii_lowercase(), &mixed] {
                let found = registry().find(spelled.as_bytes());
                assert!(
                    found.is_some_and(|found| std::ptr::eq(found, registered)),
                    "{spelled}"
                );
            }
        }
    }

    #[test]
    fn a_name_that_differs_in_one_bit_or_byte_is_not_found() {
        let is_known = |name: &[u8]| {
            let folded = name.to_ascii_uppercase();
            registry()
                .commands
                .iter()
                .any(|known| known.command.name.as_bytes() == folded)
        };
        for registered in &registry().commands {
            let name = registered.command.name.as_bytes();
            for bit in 0..name.len() * 8 {
                let mut changed = name.to_vec();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(registry().find(&changed).is_some(), is_known(&changed));
            }
            for end in 0..name.len() {
                assert_eq!(
                    registry().find(&name[..end]).is_some(),
                    is_known(&name[..end])
                );
            }
        }
    }
}
