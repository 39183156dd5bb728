//! Reads a conformance file into steps.

use ringfort::commands::registry;
use ringfort::protocol::{Args, OwnedArgs, Parsed, RequestParser};

use super::expect::{Expected, Wanted};
use super::tokens::{depth, take_quoted, tokenize, Token};

/// A conformance file.
pub struct Script {
    pub name: String,
    pub steps: Vec<Step>,
}

pub struct Step {
    pub line: usize,
    pub action: Action,
    /// Which server the step is for.
    pub only: Only,
}

pub enum Action {
    /// `> command`, and the reply below it.
    Call(Vec<Vec<u8>>, Wanted),
    /// `!send "bytes"`, and the reply below it if there is one.
    Send(Vec<u8>, Option<Wanted>),
    /// `!read`: a reply that no command asked for.
    Read(Wanted),
    /// `!closed`: the server has closed this connection.
    Closed,
    /// `!as name`: go on with another connection.
    As(String),
    /// `!resp 2|3`.
    Resp(u8),
    /// `!sleep ms`.
    Sleep(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    All,
    Ringfort,
    Redis,
}

impl Script {
    /// `name` is what messages call the file.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut reader = LineReader {
            lines: text.lines().enumerate().peekable(),
        };
        let mut steps = Vec::new();
        let mut only = Only::All;
        while let Some((line, text)) = reader.next() {
            let failed = |error: String| format!("{name}:{line}: {error}");
            if let Some(scope) = text.strip_prefix("!only ") {
                only = scope_of(scope).map_err(failed)?;
                continue;
            }
            let action = reader.action(text).map_err(failed)?;
            steps.push(Step { line, action, only });
        }
        Ok(Self {
            name: name.to_owned(),
            steps,
        })
    }

    /// Full names of the commands that the file calls where ringfort answers.
    pub fn calls(&self) -> Vec<String> {
        let calls = self.steps.iter().filter(|step| step.only != Only::Redis);
        calls
            .filter_map(|step| match &step.action {
                Action::Call(args, _) => full_name(args),
                Action::Resp(_) => Some("hello".into()),
                _ => None,
            })
            .collect()
    }
}

/// By the registry, which knows what has subcommands.
fn full_name(args: &[Vec<u8>]) -> Option<String> {
    let owned = OwnedArgs::new(args);
    let found = registry().resolve(&owned.as_args()).ok();
    let registered = found.or_else(|| registry().find(args.first()?))?;
    Some(registered.full_name.clone())
}

fn scope_of(text: &str) -> Result<Only, String> {
    match text.trim() {
        "all" => Ok(Only::All),
        "ringfort" => Ok(Only::Ringfort),
        "redis" => Ok(Only::Redis),
        other => Err(format!("!only takes all, ringfort or redis, not {other}")),
    }
}

/// Lines with their numbers, without blank ones and comments.
struct LineReader<'a> {
    lines: std::iter::Peekable<std::iter::Enumerate<std::str::Lines<'a>>>,
}

impl<'a> LineReader<'a> {
    fn peek(&mut self) -> Option<(usize, &'a str)> {
        while let Some(&(at, line)) = self.lines.peek() {
            let text = line.trim();
            if !text.is_empty() && !is_comment(text) {
                return Some((at + 1, text));
            }
            self.lines.next();
        }
        None
    }

    fn next(&mut self) -> Option<(usize, &'a str)> {
        let found = self.peek();
        self.lines.next();
        found
    }

    fn action(&mut self, text: &str) -> Result<Action, String> {
        if let Some(command) = text.strip_prefix("> ") {
            let args = split_command(command)?;
            let reply = self.expected()?.ok_or("no reply below the command")?;
            return Ok(Action::Call(args, reply));
        }
        let (directive, argument) = text.split_once(' ').unwrap_or((text, ""));
        let argument = argument.trim();
        let number = || {
            argument
                .parse::<u64>()
                .map_err(|_| format!("{directive} takes a number"))
        };
        Ok(match directive {
            "!send" => {
                let mut rest = argument;
                Action::Send(take_quoted(&mut rest)?, self.expected()?)
            }
            "!read" => Action::Read(self.expected()?.ok_or("no reply below !read")?),
            "!closed" => Action::Closed,
            "!as" => Action::As(argument.to_owned()),
            "!resp" => Action::Resp(number()? as u8),
            "!sleep" => Action::Sleep(number()?),
            _ => return Err(format!("neither command, reply nor directive: {text}")),
        })
    }

    /// The reply on the following lines, if there is one.
    fn expected(&mut self) -> Result<Option<Wanted>, String> {
        let Some((_, first)) = self.peek().filter(|(_, text)| !is_step(text)) else {
            return Ok(None);
        };
        self.next();
        let mut text = first.to_owned();
        // Simple strings and errors are the whole line, unless they are quoted.
        let mut tokens = match first.split_at(1) {
            (sigil @ ("+" | "-"), line) if !line.starts_with('"') => {
                vec![Token::Quoted(sigil.chars().next(), line.into())]
            }
            _ => tokenize(first)?,
        };
        while depth(&tokens) > 0 {
            let (_, line) = self.next().ok_or("a bracket is not closed")?;
            tokens.extend(tokenize(line)?);
            text.extend([" ", line]);
        }
        let expected = Expected::parse(&tokens)?;
        Ok(Some(Wanted { text, expected }))
    }
}

/// `#t` and `#f` are replies, not comments.
fn is_comment(text: &str) -> bool {
    text.starts_with('#') && !matches!(text, "#t" | "#f")
}

fn is_step(text: &str) -> bool {
    text.starts_with("> ") || text.starts_with('!')
}

/// The words of a command, quoted as for redis-cli.
fn split_command(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut line = format!("{text}\n").into_bytes();
    let mut spans = Vec::new();
    // A name is never `*`: this is the inline form, whose quoting is redis-cli's.
    match RequestParser::default().parse(&mut line, &mut spans) {
        Parsed::Command { .. } => Ok(Args::new(&line, &spans)
            .from(0)
            .map(<[u8]>::to_vec)
            .collect()),
        Parsed::Error(error) => Err(error.to_string()),
        _ => Err("an empty command".into()),
    }
}
