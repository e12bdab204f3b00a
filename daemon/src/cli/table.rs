//! Tables that fit the terminal they are shown on.
//!
//! On a terminal, what does not fit goes in this order, until everything fits: columns without a single entry, then
//! those that matter least ([`Keep::Spare`]), the last one first; then the text of each row goes below its row; then the
//! columns of [`Keep::Useful`] go; then the widest columns that are left are wrapped. In a pipe nothing goes and nothing is
//! wrapped: every row is one line with all columns, and `-` where there is no entry.

use anstyle::Style;
use tabled::builder::Builder;
use tabled::settings::style::Style as Borders;
use tabled::settings::{Alignment, Color, Padding};

/// Text is wrapped beside its row while so many columns are left for it.
const LEAST_TEXT: usize = 32;
/// Narrower than this no column is wrapped.
const LEAST_COLUMN: usize = 4;
const GAP: usize = 2;
const HEAD: Style = Style::new().bold();

/// How long a column stays where there is little room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Always,
    Useful,
    Spare,
    /// Sentences, which may be wrapped. Only the last column.
    Text,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(super) fn new(text: impl ToString) -> Self {
        Self::styled(text, Style::new())
    }

    pub(super) fn styled(text: impl ToString, style: Style) -> Self {
        Self { text: text.to_string().replace(char::is_control, "?"), style }
    }

    pub(super) fn perhaps(text: Option<impl ToString>) -> Self {
        text.map(Self::new).unwrap_or_default()
    }
}

/// A table of `N` columns.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    heads: Option<[&'static str; N]>,
    keep: [Keep; N],
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(columns: [(&'static str, Keep); N]) -> Self {
        let heads = Some(columns.map(|(head, _)| head));
        Self { heads, keep: columns.map(|(_, keep)| keep), rows: Vec::new() }
    }

    pub(super) fn headless(keep: [Keep; N]) -> Self {
        Self { heads: None, keep, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    /// The table as lines, for a terminal so many columns wide, or for a pipe.
    pub(super) fn render(&self, terminal: Option<usize>) -> String {
        let fit = match terminal {
            Some(room) => self.fit(room),
            None => Fit { columns: (0..N).map(|at| (at, usize::MAX)).collect(), below: None },
        };
        let heads = self.heads.map(|heads| heads.map(|head| Cell::styled(head, HEAD)));
        let rows: Vec<&[Cell; N]> = heads.iter().chain(&self.rows).collect();
        let mut heights = Vec::new();
        let mut grid = Builder::new();
        for row in &rows {
            let cells: Vec<String> = fit
                .columns
                .iter()
                .map(|&(at, width)| match (terminal, row[at].text.as_str()) {
                    (None, "") => "-".to_owned(),
                    (None, text) => text.to_owned(),
                    (Some(_), text) => fold(text, width, ""),
                })
                .collect();
            heights.push(cells.iter().map(|cell| cell.lines().count()).max().unwrap_or(1).max(1));
            grid.push_record(cells);
        }
        let mut grid = grid.build();
        grid.with(Borders::empty()).with(Padding::new(0, GAP, 0, 0)).with(Alignment::left());
        for (line, row) in rows.iter().enumerate() {
            for (column, &(at, _)) in fit.columns.iter().enumerate() {
                let style = row[at].style;
                if style != Style::new() {
                    let colour =
                        Color::new(style.render().to_string(), style.render_reset().to_string());
                    grid.modify((line, column), colour);
                }
            }
        }
        let grid = grid.to_string();
        let mut lines = grid.lines();
        let mut text = String::new();
        for (at, (row, height)) in rows.iter().zip(heights).enumerate() {
            let is_head = at == 0 && self.heads.is_some();
            let below = fit.below.filter(|_| !is_head).map(|(column, room)| (&row[column], room));
            let below = below.filter(|(cell, _)| !cell.text.is_empty());
            for line in lines.by_ref().take(height).map(str::trim_end) {
                // A row that has nothing but its text goes on with the one above.
                if below.is_none() || !line.is_empty() {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            if let Some((cell, room)) = below {
                text.push_str(&fold(&cell.text, room, "  "));
                text.push('\n');
            }
        }
        text
    }

    fn fit(&self, room: usize) -> Fit {
        let mut columns: Vec<(usize, usize)> = (0..N)
            .filter(|&at| {
                self.keep[at] == Keep::Always
                    || self.rows.iter().any(|row| !row[at].text.is_empty())
            })
            .map(|at| (at, self.natural(at)))
            .collect();
        let is_text = |&(at, _): &(usize, usize)| self.keep[at] == Keep::Text;
        let taken = |columns: &[(usize, usize)]| {
            let widths = columns.iter().map(|column| match is_text(column) {
                true => column.1.min(LEAST_TEXT),
                false => column.1,
            });
            widths.sum::<usize>() + GAP * columns.len().saturating_sub(1)
        };
        let drop_last = |columns: &mut Vec<(usize, usize)>, kind: Keep| {
            let last = columns.iter().rposition(|&(at, _)| self.keep[at] == kind);
            last.map(|last| columns.remove(last)).is_some()
        };
        while taken(&columns) > room && drop_last(&mut columns, Keep::Spare) {}
        let mut below = None;
        if taken(&columns) > room
            && let Some(text) = columns.iter().position(is_text)
        {
            below = Some((columns.remove(text).0, room));
        }
        while taken(&columns) > room && drop_last(&mut columns, Keep::Useful) {}
        let others = |columns: &[(usize, usize)], but: usize| {
            let widths = columns.iter().filter(|(at, _)| *at != but).map(|(_, width)| width);
            widths.sum::<usize>() + GAP * columns.len().saturating_sub(1)
        };
        if let Some(text) = columns.iter().position(is_text) {
            let left = room.saturating_sub(others(&columns, columns[text].0));
            columns[text].1 = columns[text].1.min(left);
        }
        while others(&columns, usize::MAX) > room
            && let Some(widest) = columns.iter_mut().max_by_key(|(_, width)| *width)
            && widest.1 > LEAST_COLUMN
        {
            widest.1 -= 1;
        }
        Fit { columns, below }
    }

    /// How wide a column is where there is room for everything.
    fn natural(&self, at: usize) -> usize {
        let head = self.heads.map_or("", |heads| heads[at]);
        let cells = self.rows.iter().map(|row| row[at].text.as_str());
        cells.chain([head]).map(textwrap::core::display_width).max().unwrap_or(0)
    }
}

/// Text in lines that are no wider than this; broken inside a word, such as a path, only where that is longer.
pub(super) fn fold(text: &str, width: usize, indent: &str) -> String {
    let options = textwrap::Options::new(width)
        .initial_indent(indent)
        .subsequent_indent(indent)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}

/// How a table fits a terminal.
struct Fit {
    /// Columns that are shown, and their widths.
    columns: Vec<(usize, usize)>,
    /// The column whose text goes below its row, and how wide it may be there.
    below: Option<(usize, usize)>,
}

#[cfg(test)]
mod tests {
    use super::{Cell, Keep, Table};
    use crate::cli::fixture;

    fn sample() -> Table<5> {
        let mut table = Table::new([
            ("BAY", Keep::Always),
            ("DONE", Keep::Useful),
            ("SIZE", Keep::Spare),
            ("LIMIT", Keep::Spare),
            ("WHY", Keep::Text),
        ]);
        table.row(["upper left", "40%", "512.1 GB", "", ""].map(Cell::new));
        let why = "mismatch: one range of 4096 bytes differs from what was written";
        table.row(["lower right", "100%", "512.1 GB", "", why].map(Cell::new));
        table
    }

    fn plain(width: Option<usize>) -> String {
        anstream::adapter::strip_str(&sample().render(width)).to_string()
    }

    #[test]
    fn what_matters_least_goes_first() {
        let widths = [Some(120), Some(60), Some(48), Some(20), Some(12), None];
        let all = widths.map(|width| format!("-- {width:?}\n{}", plain(width)));
        fixture::snapshot("table", &all.concat());
    }

    /// Whatever the width, no line is wider, and nothing that always stays is lost.
    #[test]
    fn no_line_is_torn() {
        for width in 8..130 {
            let text = plain(Some(width));
            for line in text.lines() {
                assert!(textwrap::core::display_width(line) <= width, "{width}: {line:?}");
            }
            assert!(width < 12 || text.contains("lower right"), "{width}:\n{text}");
        }
    }

    #[test]
    fn names_cannot_reach_the_terminal() {
        let mut table = Table::new([("NAME", Keep::Always)]);
        table.row([Cell::new("a\u{1b}[31m\nb")]);
        for width in [None, Some(80)] {
            assert!(table.render(width).contains("a?[31m?b"));
        }
    }
}
