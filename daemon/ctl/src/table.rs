//! Tables that fit the terminal they are shown on.
//!
//! On a terminal, what does not fit goes in this order, until everything fits: columns without a single entry, then
//! those that matter least ([`Keep::Spare`]), the last one first; then the text of each row goes below its row; then the
//! columns of [`Keep::Useful`] go; then the widest columns that are left are wrapped. In a pipe nothing goes and nothing is
//! wrapped: every row is one line with all columns, and `-` where there is no entry.
//!
//! A table that must stay as high as it is ([`Table::cut`]) is not wrapped: what does not fit into a line is cut off.

use anstyle::Style;
use tabled::builder::Builder;
use tabled::settings::style::Style as Borders;
use tabled::settings::{Alignment, Color, Padding};

/// Text is wrapped beside its row while so many columns are left for it.
const LEAST_TEXT: usize = 32;
/// So many are left for it where it is cut: a reason has no more (`model::meaning`), so it is whole while anything else can
/// go.
const LEAST_CUT: usize = 28;
/// Narrower than this no column is wrapped.
const LEAST_COLUMN: usize = 4;
const GAP: usize = 2;
const HEAD: Style = Style::new().bold();

/// How readily a column is dropped where there is little room.
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
        Self { text: text.to_string().replace(is_unprintable, "?"), style }
    }

    pub(super) fn perhaps(text: Option<impl ToString>) -> Self {
        text.map(Self::new).unwrap_or_default()
    }
}

/// Whether a letter could reach for the terminal, or turn the order of those after it around (Unicode's explicit
/// directional formatting).
fn is_unprintable(letter: char) -> bool {
    let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    letter.is_control() || turns
}

/// A table of `N` columns.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    heads: Option<[&'static str; N]>,
    keep: [Keep; N],
    rows: Vec<[Cell; N]>,
    overflow: Overflow,
}

/// What becomes of entries that are too wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Cut,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(columns: [(&'static str, Keep); N]) -> Self {
        let heads = Some(columns.map(|(head, _)| head));
        Self { heads, ..Self::headless(columns.map(|(_, keep)| keep)) }
    }

    pub(super) fn headless(keep: [Keep; N]) -> Self {
        Self { heads: None, keep, rows: Vec::new(), overflow: Overflow::Wrap }
    }

    /// One line a row, whatever the terminal's width.
    pub(super) fn cut(self) -> Self {
        Self { overflow: Overflow::Cut, ..self }
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
        let cells: Vec<Vec<String>> =
            rows.iter().map(|row| fit.cells(row.as_slice(), terminal, self.overflow)).collect();
        let grid = fit.grid(&rows, &cells);
        let mut lines = grid.lines().map(str::trim_end);
        let mut text = String::new();
        for (at, row) in rows.iter().enumerate() {
            let is_head = at == 0 && heads.is_some();
            let below = fit.below.filter(|_| !is_head).map(|(column, room)| (&row[column], room));
            let below = below.filter(|(cell, _)| !cell.text.is_empty());
            let height = cells[at].iter().map(|cell| cell.lines().count()).max().unwrap_or(1);
            // A row that has nothing but its text goes on with the one above.
            let own = lines.by_ref().take(height.max(1));
            own.filter(|line| below.is_none() || !line.is_empty()).for_each(|line| {
                text.push_str(line);
                text.push('\n');
            });
            if let Some((cell, room)) = below {
                text.push_str(&fold(&cell.text, room, "  "));
                text.push('\n');
            }
        }
        text
    }

    /// Decides which columns are shown on a terminal, and how wide.
    fn fit(&self, room: usize) -> Fit {
        let used = |at: &usize| {
            self.keep[*at] == Keep::Always || self.rows.iter().any(|row| !row[*at].text.is_empty())
        };
        let columns = (0..N).filter(used).map(|at| (at, self.natural(at))).collect();
        let mut fit = Fit { columns, below: None };
        // A text that is cut may lose what to do, which counts for more than what a column has that can be spared.
        let wanted = |fit: &Fit| match self.overflow {
            Overflow::Wrap => self.least(fit),
            Overflow::Cut => fit.width(),
        };
        while wanted(&fit) > room && self.drop_last(&mut fit, Keep::Spare) {}
        if self.overflow == Overflow::Wrap
            && self.least(&fit) > room
            && let Some(text) = self.last(&fit, Keep::Text)
        {
            fit.below = Some((fit.columns.remove(text).0, room));
        }
        while self.least(&fit) > room && self.drop_last(&mut fit, Keep::Useful) {}
        if let Some(text) = self.last(&fit, Keep::Text) {
            let excess = fit.width().saturating_sub(room);
            fit.columns[text].1 -= excess.min(fit.columns[text].1);
        }
        while fit.width() > room
            && let Some(widest) = fit.columns.iter_mut().max_by_key(|(_, width)| *width)
            && widest.1 > LEAST_COLUMN
        {
            widest.1 -= 1;
        }
        fit
    }

    /// How wide the table is at least, with its text wrapped and nothing else.
    fn least(&self, fit: &Fit) -> usize {
        let text = self.last(fit, Keep::Text).map_or(0, |text| fit.columns[text].1);
        let least = match self.overflow {
            Overflow::Wrap => LEAST_TEXT,
            Overflow::Cut => LEAST_CUT,
        };
        fit.width() - text.saturating_sub(least)
    }

    fn last(&self, fit: &Fit, keep: Keep) -> Option<usize> {
        fit.columns.iter().rposition(|&(at, _)| self.keep[at] == keep)
    }

    fn drop_last(&self, fit: &mut Fit, keep: Keep) -> bool {
        self.last(fit, keep).map(|last| fit.columns.remove(last)).is_some()
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

/// Text that is no wider than this; the end says if something is missing.
pub(super) fn cut(text: &str, width: usize) -> String {
    use textwrap::core::display_width;
    if display_width(text) <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for letter in text.chars() {
        let longer = format!("{short}{letter}");
        if display_width(&longer) >= width {
            break;
        }
        short = longer;
    }
    if width > 0 { short + "…" } else { short }
}

/// How a table fits a terminal.
struct Fit {
    /// Columns that are shown, and their widths.
    columns: Vec<(usize, usize)>,
    /// The column whose text goes below its row, and how wide it may be there.
    below: Option<(usize, usize)>,
}

impl Fit {
    fn width(&self) -> usize {
        let widths = self.columns.iter().map(|(_, width)| width);
        widths.sum::<usize>() + GAP * self.columns.len().saturating_sub(1)
    }

    /// What a row shows in each column.
    fn cells(&self, row: &[Cell], terminal: Option<usize>, overflow: Overflow) -> Vec<String> {
        let show = |&(at, width): &(usize, usize)| match (terminal, row[at].text.as_str()) {
            (None, "") => "-".to_owned(),
            (None, text) => text.to_owned(),
            (Some(_), text) if overflow == Overflow::Cut => cut(text, width),
            (Some(_), text) => fold(text, width, ""),
        };
        self.columns.iter().map(show).collect()
    }

    /// All rows in columns, with their colours.
    fn grid<const N: usize>(&self, rows: &[&[Cell; N]], cells: &[Vec<String>]) -> String {
        let mut grid = Builder::from_iter(cells).build();
        grid.with(Borders::empty()).with(Padding::new(0, GAP, 0, 0)).with(Alignment::left());
        for (line, row) in rows.iter().enumerate() {
            for (column, &(at, _)) in self.columns.iter().enumerate() {
                let style = row[at].style;
                if style != Style::new() {
                    let (start, end) = (style.render(), style.render_reset());
                    grid.modify((line, column), Color::new(start.to_string(), end.to_string()));
                }
            }
        }
        grid.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Keep, Table};
    use crate::fixture;

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

    /// A table that is cut has one line a row, none too wide, at any width.
    #[test]
    fn cut_rows_are_lines() {
        for width in 1..130 {
            let text = sample().cut().render(Some(width));
            let text = anstream::adapter::strip_str(&text).to_string();
            assert_eq!(text.lines().count(), 3, "{width}:\n{text}");
            let wide = |line: &str| textwrap::core::display_width(line) > width;
            assert!(width < 12 || !text.lines().any(wide), "{width}:\n{text}");
        }
    }

    #[test]
    fn names_cannot_reach_the_terminal() {
        let mut table = Table::new([("NAME", Keep::Always)]);
        table.row([Cell::new("a\u{1b}[31m\n\u{202e}b")]);
        for width in [None, Some(80)] {
            assert!(table.render(width).contains("a?[31m??b"));
        }
    }
}
