//! Shows how far a node is that gives everything away: a bar on a terminal, else lines, so that logs stay readable.

use std::io;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::terminal::Terminal;
use super::text::{bytes, count, counted, duration};
use crate::admin::api::{MovesView, NodeView};

/// Without a change, a line comes as often as this.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How far a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) leads: u32,
    pub(super) holds: u32,
    pub(super) needed_by: u32,
    pub(super) bytes_left: u64,
}

impl Step {
    pub(super) fn of(node: &NodeView, moves: &MovesView) -> Self {
        Self {
            leads: node.leads,
            holds: node.holds,
            needed_by: node.needed_by,
            bytes_left: moves.bytes_left,
        }
    }

    /// It holds nothing, and nobody needs it.
    pub(super) fn is_last(&self) -> bool {
        (self.leads, self.holds, self.needed_by) == (0, 0, 0)
    }

    /// But for the bytes, which change all the time.
    fn is_like(&self, other: &Self) -> bool {
        (self.leads, self.holds, self.needed_by) == (other.leads, other.holds, other.needed_by)
    }

    /// In words; `copies` is what the node held at most, `elapsed` since it began.
    pub(super) fn text(&self, copies: u32, elapsed: Duration) -> String {
        let mut parts = Vec::new();
        if self.leads > 0 {
            parts.push(counted(self.leads.into(), "leader", "leaders"));
        }
        if self.holds > 0 {
            let of = counted(copies.into(), "copy", "copies");
            parts.push(format!("{} of {of}", count(self.holds.into())));
        }
        if self.bytes_left > 0 {
            parts.push(bytes(self.bytes_left));
        }
        let left = match (parts.is_empty(), self.needed_by) {
            (false, _) => format!("{} left", parts.join(", ")),
            (true, 0) => "nothing left".into(),
            (true, groups) => format!(
                "empty; {} still counts on it",
                counted(groups.into(), "group", "groups")
            ),
        };
        match self.time_left(copies, elapsed) {
            Some(time) => format!(
                "{left}; {} so far, {} to go",
                duration(elapsed),
                duration(time)
            ),
            None => format!("{left}; {} so far", duration(elapsed)),
        }
    }

    /// As the copies that are gone promise.
    fn time_left(&self, copies: u32, elapsed: Duration) -> Option<Duration> {
        let gone = copies.saturating_sub(self.holds);
        let seconds = elapsed
            .as_secs()
            .checked_mul(self.holds.into())?
            .checked_div(gone.into())?;
        (seconds > 0).then_some(Duration::from_secs(seconds))
    }
}

/// The way from what the node holds to nothing.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    copies: u32,
    began: Instant,
    last: Option<(Step, Instant)>,
    changed: Instant,
}

impl Progress {
    pub(super) fn new(terminal: &Terminal, now: Instant) -> Self {
        let bar = terminal.err_is_terminal.then(|| {
            let style = ProgressStyle::with_template("{bar:12} {wide_msg}")
                .map(|style| style.progress_chars("##-"));
            ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self {
            bar,
            copies: 0,
            began: now,
            last: None,
            changed: now,
        }
    }

    /// # Errors
    /// When standard error cannot be written to.
    pub(super) fn show(
        &mut self,
        terminal: &mut Terminal,
        step: Step,
        now: Instant,
    ) -> io::Result<()> {
        self.copies = self.copies.max(step.holds);
        let is_like = self.last.is_some_and(|(last, _)| last.is_like(&step));
        if !is_like {
            self.changed = now;
        }
        let text = step.text(self.copies, now.duration_since(self.began));
        if let Some(bar) = &self.bar {
            bar.set_length(u64::from(self.copies).max(1));
            bar.set_position(self.copies.saturating_sub(step.holds).into());
            bar.set_message(text);
            self.last = Some((step, now));
            return Ok(());
        }
        let is_due = self
            .last
            .is_none_or(|(_, shown)| now.duration_since(shown) >= LINE_EVERY);
        if is_like && !is_due {
            return Ok(());
        }
        self.last = Some((step, now));
        terminal.note(&text)
    }

    /// For how long nothing but bytes has changed.
    pub(super) fn still_for(&self, now: Instant) -> Duration {
        now.duration_since(self.changed)
    }

    /// A line that stays.
    pub(super) fn note(&self, terminal: &mut Terminal, line: &str) -> io::Result<()> {
        match &self.bar {
            Some(bar) => bar.suspend(|| terminal.note(line)),
            None => terminal.note(line),
        }
    }

    /// The bar goes; lines stay.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Printed;
    use super::*;

    fn step(leads: u32, holds: u32, needed_by: u32, bytes_left: u64) -> Step {
        Step {
            leads,
            holds,
            needed_by,
            bytes_left,
        }
    }

    #[test]
    fn what_is_left_is_told_in_words() {
        let seconds = Duration::from_secs;
        assert_eq!(
            step(5, 12, 13, 3 << 30).text(16, seconds(60)),
            "5 leaders, 12 of 16 copies, 3.0 GiB left; 1 min so far, 3 min to go"
        );
        assert_eq!(
            step(1, 1, 2, 0).text(1, seconds(2)),
            "1 leader, 1 of 1 copy left; 2 s so far"
        );
        assert_eq!(
            step(0, 0, 1, 0).text(16, seconds(2)),
            "empty; 1 group still counts on it; 2 s so far"
        );
        assert_eq!(
            step(0, 0, 0, 0).text(16, seconds(2)),
            "nothing left; 2 s so far"
        );
        assert!(step(0, u32::MAX, 0, 0)
            .text(0, Duration::MAX)
            .contains("left"));
    }

    #[test]
    fn lines_come_when_something_changed_and_every_ten_seconds() {
        let mut printed = Printed::default();
        let mut terminal = printed.terminal();
        let began = Instant::now();
        let mut progress = Progress::new(&terminal, began);
        let mut show = |second: u64, step: Step| {
            progress
                .show(&mut terminal, step, began + Duration::from_secs(second))
                .unwrap()
        };
        show(0, step(2, 4, 5, 100));
        show(1, step(2, 4, 5, 90));
        show(2, step(1, 4, 5, 80));
        show(11, step(1, 4, 5, 70));
        show(12, step(1, 4, 5, 60));
        show(13, step(1, 4, 5, 50));
        assert_eq!(
            progress.still_for(began + Duration::from_secs(13)),
            Duration::from_secs(11)
        );
        assert_eq!(
            printed.err(),
            "2 leaders, 4 of 4 copies, 100 B left; 0 s so far\n\
             1 leader, 4 of 4 copies, 80 B left; 2 s so far\n\
             1 leader, 4 of 4 copies, 60 B left; 12 s so far\n"
        );
    }
}
