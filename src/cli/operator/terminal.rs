//! Where the commands print: standard output and standard error, and what they can.

use std::io::{self, IsTerminal, Write};

use super::table::Paint;

/// Both outputs of a command.
pub(super) struct Terminal<'a> {
    pub(super) out: &'a mut dyn Write,
    pub(super) err: &'a mut dyn Write,
    /// Of `out`.
    pub(super) paint: Paint,
    pub(super) out_is_terminal: bool,
    pub(super) err_is_terminal: bool,
}

const CLEAR_TO_END_OF_LINE: &str = "\x1b[K";
const CLEAR_TO_END_OF_SCREEN: &str = "\x1b[J";
const CURSOR_HOME: &str = "\x1b[H";

impl<'a> Terminal<'a> {
    /// Colours where standard output is a terminal that has them, and nobody said NO_COLOR.
    pub(super) fn new(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        let out_is_terminal = io::stdout().is_terminal();
        Self {
            out,
            err,
            paint: Paint(out_is_terminal && has_colours()),
            out_is_terminal,
            err_is_terminal: io::stderr().is_terminal(),
        }
    }

    pub(super) fn print(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// A line beside the results.
    pub(super) fn note(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.err, "{line}")?;
        self.err.flush()
    }

    /// In the place of what was drawn last, on a terminal; else below it.
    pub(super) fn redraw(&mut self, text: &str) -> io::Result<()> {
        if !self.out_is_terminal {
            return self.print(&format!("{text}\n"));
        }
        let mut screen = String::from(CURSOR_HOME);
        for line in text.lines() {
            screen.push_str(line);
            screen.push_str(CLEAR_TO_END_OF_LINE);
            screen.push('\n');
        }
        screen.push_str(CLEAR_TO_END_OF_SCREEN);
        self.print(&screen)
    }
}

/// https://no-color.org: any value that is not empty.
fn has_colours() -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    !forbidden && !is_dumb
}
