//! The terminal as a canvas: the screen that was there comes back on whatever way out, and keys are read without Enter. Knows nothing of
//! what is drawn.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use console::{truncate_str, Term};
use rustix::termios::{tcgetattr, tcsetattr, OptionalActions, SpecialCodeIndex, Termios};

const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// How long a key is waited for, in tenths of a second as terminals count.
const KEY_WAIT_TENTHS: u8 = 1;
const KEY_WAIT: Duration = Duration::from_millis(100);

/// The terminal, taken; given back when dropped.
pub(super) struct Screen {
    out: Term,
    keys: Option<Keys>,
}

/// Where keys come from, and how that was set before.
struct Keys {
    input: OwnedFd,
    before: Termios,
}

impl Screen {
    /// # Errors
    /// When the terminal cannot be drawn on.
    pub(super) fn enter() -> io::Result<Self> {
        let keys = Keys::take().ok();
        if let Some(keys) = &keys {
            give_back_on_panic(keys)?;
        }
        let screen = Self {
            out: Term::stdout(),
            keys,
        };
        screen.out.write_str(ENTER)?;
        Ok(screen)
    }

    /// Rows and columns.
    pub(super) fn size(&self) -> (usize, usize) {
        let (rows, columns) = self.out.size();
        (rows.into(), columns.into())
    }

    /// As many of the lines as there is room for.
    pub(super) fn draw(&self, lines: &[String]) -> io::Result<()> {
        let (rows, columns) = self.size();
        let mut text = String::new();
        for (row, line) in lines.iter().take(rows).enumerate() {
            text.push_str(&format!(
                "\x1b[{};1H{}\x1b[0m\x1b[K",
                row + 1,
                truncate_str(line, columns, "")
            ));
        }
        if lines.len() < rows {
            text.push_str(&format!("\x1b[{};1H\x1b[J", lines.len() + 1));
        }
        self.out.write_str(&text)
    }

    /// The key that was pressed, if one was in a moment. Arrows and the like are none.
    pub(super) fn key(&self) -> Option<u8> {
        let began = Instant::now();
        let mut bytes = [0; 16];
        let read = self
            .keys
            .as_ref()
            .and_then(|keys| rustix::io::read(&keys.input, &mut bytes).ok());
        match read {
            Some(1) => Some(bytes[0]),
            // Nothing, or a terminal that has gone away, which answers at once.
            None | Some(0) => {
                std::thread::sleep(KEY_WAIT.saturating_sub(began.elapsed()));
                None
            }
            // Many keys at once, or one that sends an order.
            Some(_) => bytes
                .first()
                .copied()
                .filter(|first| first.is_ascii_alphabetic()),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // On the way out nobody is left to be told.
        let _ = self.out.write_str(LEAVE);
        if let Some(keys) = &self.keys {
            let _ = tcsetattr(&keys.input, OptionalActions::Flush, &keys.before);
        }
    }
}

impl Keys {
    /// From standard input, or where that is something else from the terminal itself.
    fn take() -> io::Result<Self> {
        let stdin = io::stdin();
        let input = match rustix::termios::isatty(&stdin) {
            true => stdin.as_fd().try_clone_to_owned()?,
            false => File::open("/dev/tty")?.into(),
        };
        let before = tcgetattr(&input)?;
        let mut raw = before.clone();
        raw.make_raw();
        raw.special_codes[SpecialCodeIndex::VMIN] = 0;
        raw.special_codes[SpecialCodeIndex::VTIME] = KEY_WAIT_TENTHS;
        tcsetattr(&input, OptionalActions::Now, &raw)?;
        Ok(Self { input, before })
    }
}

/// A panic ends the process without dropping anything.
fn give_back_on_panic(keys: &Keys) -> io::Result<()> {
    let input = keys.input.try_clone()?;
    let before = keys.before.clone();
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let _ = Term::stdout().write_str(LEAVE);
        let _ = tcsetattr(&input, OptionalActions::Flush, &before);
        tell(panic);
    }));
    Ok(())
}
