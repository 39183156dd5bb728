//! Tables with aligned columns, and colours where they are wanted. Pure: text in, lines out.

use console::{measure_text_width, Style};

/// What a colour is to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mood {
    #[default]
    Plain,
    Good,
    Doubtful,
    Bad,
    /// Headings.
    Quiet,
}

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    pub(super) fn apply(self, text: &str, mood: Mood) -> String {
        let style = Style::new().force_styling(true);
        let style = match mood {
            _ if !self.0 => return text.to_string(),
            Mood::Plain => return text.to_string(),
            Mood::Good => style.green(),
            Mood::Doubtful => style.yellow(),
            Mood::Bad => style.red().bold(),
            Mood::Quiet => style.dim(),
        };
        style.apply_to(text).to_string()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// One field. Its text must be clean.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    mood: Mood,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>, mood: Mood) -> Self {
        let text = text.into();
        Self { text, mood }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Mood::Plain)
    }
}

/// Rows under headings.
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
}

const GAP: usize = 2;

impl Table {
    pub(super) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Columns that hold nothing, in no row, are left out. Lines end without blanks and with a line's end.
    pub(super) fn render(&self, paint: Paint) -> String {
        let widths: Vec<Option<usize>> = (0..self.columns.len()).map(|at| self.width(at)).collect();
        let mut text = String::new();
        let headings = self
            .columns
            .iter()
            .map(|(heading, _)| Cell::new(*heading, Mood::Quiet));
        self.line(&headings.collect::<Vec<_>>(), &widths, paint, &mut text);
        for row in &self.rows {
            self.line(row, &widths, paint, &mut text);
        }
        text
    }

    /// None for a column without anything in it.
    fn width(&self, at: usize) -> Option<usize> {
        let cells = self.rows.iter().filter_map(|row| row.get(at));
        let widest = cells
            .map(|cell| measure_text_width(&cell.text))
            .max()
            .unwrap_or(0);
        let (heading, _) = self.columns[at];
        (widest > 0 || self.rows.is_empty()).then_some(widest.max(heading.len()))
    }

    fn line(&self, cells: &[Cell], widths: &[Option<usize>], paint: Paint, text: &mut String) {
        let mut blanks = 0;
        for ((cell, width), (_, align)) in cells.iter().zip(widths).zip(&self.columns) {
            let Some(width) = width else { continue };
            let missing = width.saturating_sub(measure_text_width(&cell.text));
            if *align == Align::Right {
                blanks += missing;
            }
            if !cell.text.is_empty() {
                text.extend(std::iter::repeat_n(' ', blanks));
                text.push_str(&paint.apply(&cell.text, cell.mood));
                blanks = 0;
            }
            if *align == Align::Left {
                blanks += missing;
            }
            blanks += GAP;
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[
            ("NODE", Align::Left),
            ("ZONE", Align::Left),
            ("OPS/S", Align::Right),
            ("STATE", Align::Left),
        ]);
        table.row(vec![
            "a".into(),
            "".into(),
            "81,200".into(),
            Cell::new("up", Mood::Good),
        ]);
        table.row(vec![
            "längst".into(),
            "".into(),
            "3".into(),
            Cell::default(),
        ]);
        table
    }

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        assert_eq!(
            table().render(Paint(false)),
            "NODE     OPS/S  STATE\n\
             a       81,200  up\n\
             längst       3\n"
        );
    }

    #[test]
    fn colours_do_not_disturb_the_columns() {
        let text = table().render(Paint(true));
        assert!(text.contains("\x1b[32mup\x1b[0m"), "{text:?}");
        let plain = console::strip_ansi_codes(&text).into_owned();
        assert_eq!(plain, table().render(Paint(false)));
    }
}
