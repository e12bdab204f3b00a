//! The station on a terminal: a row for each bay, always in its place, as many as there is room for.

use std::io::{self, Write as _};

use anstream::{AutoStream, ColorChoice};
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen,
};
use crossterm::{execute, queue};
use model::api::snapshot::{MediaState, PressState, Snapshot};
use model::orders::OrderStage;
use view::rack::Rack;
use view::tile::{self, Tile};

use super::{Lost, press_line};
use crate::output::put;
use crate::table::{Cell, Keep, Table, cut};
use crate::words::{self, Going, Standing};
use crate::{media, order};

/// Where a terminal does not say how large it is.
const USUAL: (usize, usize) = (80, 24);
/// One line of so many may tell of media and presses.
const NOTES_SHARE: usize = 10;

/// The terminal while it shows the station. When dropped, it shows again what it showed before, and the last frame below.
#[derive(Debug)]
pub(super) struct Screen {
    frame: String,
}

impl Screen {
    pub(super) fn open() -> Self {
        // A terminal that takes no commands shows the frames one below the other.
        let _ = execute!(io::stdout(), EnterAlternateScreen, Hide);
        Self { frame: String::new() }
    }

    pub(super) fn show(&mut self, snapshot: &Snapshot, lost: Option<&Lost>) {
        let size = terminal_size::terminal_size_of(io::stdout());
        let size = size.map_or(USUAL, |(width, height)| (width.0.into(), height.0.into()));
        self.frame = frame(snapshot, lost, size);
        if AutoStream::choice(&io::stdout()) == ColorChoice::Never {
            self.frame = anstream::adapter::strip_str(&self.frame).to_string();
        }
        // Nobody who looks can be told that the terminal has gone.
        let _ = self.draw();
    }

    fn draw(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        queue!(out, BeginSynchronizedUpdate)?;
        for (row, line) in (0..).zip(self.frame.lines()) {
            queue!(out, MoveTo(0, row))?;
            out.write_all(line.as_bytes())?;
            queue!(out, Clear(ClearType::UntilNewLine))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        put(&self.frame);
    }
}

/// Everything on a terminal so many columns wide and lines high. No line is wider, and there are not more.
fn frame(snapshot: &Snapshot, lost: Option<&Lost>, (width, height): (usize, usize)) -> String {
    let rack = Rack::of(snapshot);
    let tiles = &rack.tiles;
    let mut lines = head(&rack, lost, width);
    lines.extend(some(&words::remarks(&rack), width, height / NOTES_SHARE));
    let orders = orders(snapshot);
    lines.extend(some(&orders, width, height / NOTES_SHARE));
    lines.extend(notes(snapshot, width, height / NOTES_SHARE));
    lines.push(String::new());
    // The table's head, and the line that counts what is not shown.
    let room = height.saturating_sub(lines.len() + 1);
    let shown = most_urgent(tiles, room);
    lines.extend(table(&shown, width).lines().map(str::to_owned));
    if shown.len() < tiles.len() {
        let hidden: Vec<Tile<'_>> =
            tiles.iter().filter(|tile| !shown.iter().any(|one| one.is(tile))).copied().collect();
        let bays = words::plural(hidden.len(), "bay more", "bays more");
        lines
            .push(styled_line(&format!("{bays}: {}", words::counts(&tile::count(&hidden))), width));
    }
    lines.truncate(height);
    match lost {
        // What is old must not look like what is so.
        Some(_) => grey(lines),
        None => lines.join("\n"),
    }
}

/// The station, what drives get, how many bays show what, and what is wrong.
fn head(rack: &Rack<'_>, lost: Option<&Lost>, width: usize) -> Vec<String> {
    let snapshot = rack.snapshot;
    let (state, style) = words::station(snapshot);
    let station = format!("{}  {style}{state}{style:#}  {}", snapshot.station, rack.media());
    let counts = match &rack.tiles[..] {
        [] => "no drives in the station's bays".to_owned(),
        tiles => words::counts(&tile::count(tiles)),
    };
    let mut lines = vec![styled_line(&station, width), styled_line(&counts, width)];
    if let Some(Lost { since, why }) = lost {
        let text = format!("NO DATA since {}: {why}", words::clock(*since));
        lines.insert(0, cut(&text, width));
    }
    if let Some(trouble) = &snapshot.inbox.trouble {
        let bad = words::BAD;
        let text = cut(&format!("inbox: cannot be read: {trouble}"), width);
        lines.push(format!("{bad}{text}{bad:#}"));
    }
    if let Some(reason) = &snapshot.ledger {
        let bad = words::BAD;
        let text = cut(&format!("no records: {}", reason.detail), width);
        lines.push(format!("{bad}{text}{bad:#}"));
    }
    lines
}

/// Orders that are not closed, those first that wait for somebody.
fn orders(snapshot: &Snapshot) -> Vec<String> {
    let mut all: Vec<_> = snapshot.orders.iter().collect();
    all.sort_by_key(|order| order.state == OrderStage::Open);
    all.into_iter().map(order::line).collect()
}

/// Media that is not ready to be used, and presses.
fn notes(snapshot: &Snapshot, width: usize, most: usize) -> Vec<String> {
    let media = snapshot.media.iter().filter(|media| media.state != MediaState::Valid);
    let media = media.map(|media| match media.percent {
        Some(percent) => format!("media {}: {} {percent:.0}%", media.name, media::line(media)),
        None => format!("media {}: {}", media.name, media::line(media)),
    });
    let presses = snapshot.presses.iter().map(|press| match press.state {
        PressState::Running => {
            format!(
                "master for {}: {} {:.0}%",
                press.geometry.size,
                press_line(press),
                press.percent
            )
        }
        _ => format!("master for {}: {}", press.geometry.size, press_line(press)),
    });
    some(&presses.chain(media).collect::<Vec<_>>(), width, most)
}

/// The first lines, and how many more there are.
fn some(notes: &[String], width: usize, most: usize) -> Vec<String> {
    let mut notes = notes.to_vec();
    if notes.len() > most {
        let kept = most.saturating_sub(1);
        let more = notes.len() - kept;
        notes.truncate(kept);
        notes.push(format!("{more} more in `prestagectl status`"));
    }
    notes.iter().map(|note| styled_line(note, width)).collect()
}

/// The tiles that need somebody most, in their own order, where there is no room for all.
fn most_urgent<'a>(tiles: &[Tile<'a>], room: usize) -> Vec<Tile<'a>> {
    if tiles.len() <= room {
        return tiles.to_vec();
    }
    let mut order: Vec<usize> = (0..tiles.len()).collect();
    order.sort_by_key(|at| tiles[*at].light());
    order.truncate(room.saturating_sub(1));
    order.sort_unstable();
    order.into_iter().map(|at| tiles[at]).collect()
}

fn table(tiles: &[Tile<'_>], width: usize) -> String {
    if tiles.is_empty() {
        return String::new();
    }
    let mut table = Table::new([
        ("BAY", Keep::Always),
        ("STATE", Keep::Always),
        ("DONE", Keep::Useful),
        ("LEFT", Keep::Useful),
        ("RATE", Keep::Spare),
        ("SERIAL", Keep::Spare),
        ("MEDIA", Keep::Spare),
        ("NOW", Keep::Text),
    ])
    .cut();
    for tile in tiles {
        let standing = Standing::of_tile(tile);
        let drive = tile.drive();
        let Going { done, left, rate } = Going::of(drive);
        table.row([
            Cell::new(tile.bay),
            standing.block(),
            Cell::perhaps(done),
            Cell::perhaps(left),
            Cell::perhaps(rate),
            Cell::perhaps(drive.map(|drive| drive.name())),
            Cell::perhaps(drive.and_then(|drive| drive.media.as_ref())),
            Cell::new(standing.in_short()),
        ]);
    }
    table.render(Some(width))
}

/// A line with colours in it, without them where it would be too wide.
fn styled_line(text: &str, width: usize) -> String {
    let plain = anstream::adapter::strip_str(text).to_string();
    let short = cut(&plain, width);
    if short == plain { text.to_owned() } else { short }
}

/// Everything without colours.
fn grey(lines: Vec<String>) -> String {
    let dimmed = anstyle::Style::new().dimmed();
    let plain = |line: String| anstream::adapter::strip_str(&line).to_string();
    let mut lines = lines.into_iter().map(plain);
    let first = lines.next().unwrap_or_default();
    let first = format!("{}{first}{:#}", words::BAD, words::BAD);
    let rest = lines.map(|line| format!("{dimmed}{line}{dimmed:#}"));
    [first].into_iter().chain(rest).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use model::api::snapshot::Snapshot;
    use textwrap::core::display_width;

    use super::{Lost, frame};
    use crate::fixture;

    /// On every terminal nothing is wider or higher than it.
    fn frames(station: &Snapshot, lost: Option<&Lost>) -> String {
        let mut all = String::new();
        for size in [(60, 24), (80, 24), (132, 32)] {
            let (width, height) = size;
            let text = fixture::plain(&frame(station, lost, size));
            assert!(text.lines().count() <= height, "{size:?}:\n{text}");
            for line in text.lines() {
                assert!(display_width(line) <= width, "{size:?}: {line:?}");
            }
            all += &format!("-- {width} x {height}\n{text}\n");
        }
        all
    }

    #[test]
    fn the_screen_at_every_size_and_with_every_number_of_drives() {
        for drives in [0, 1, 13, 24] {
            let text = frames(&fixture::rack(drives), None);
            fixture::snapshot(&format!("watch-{drives}"), &text);
        }
    }

    #[test]
    fn the_screen_s_colours() {
        let text = frame(&fixture::rack(13), None, (80, 24));
        fixture::snapshot("watch-colours", &fixture::colours(&text));
    }

    /// README.md shows this screen; `scripts/architecture/watch` draws it.
    #[test]
    fn the_screen_in_the_readme() {
        let text = frame(&fixture::small_rack(), None, (132, 16));
        fixture::snapshot("watch-readme", &fixture::colours(&text));
    }

    /// A daemon that has ended must not leave a green screen.
    #[test]
    fn what_is_old_is_not_green() {
        let lost = Lost { since: Timestamp::UNIX_EPOCH, why: "the daemon has ended".into() };
        let text = frame(&fixture::rack(13), Some(&lost), (80, 24));
        let first = text.lines().next().unwrap();
        assert!(first.contains("NO DATA since"), "{first}");
        assert!(first.contains("the daemon has ended"), "{first}");
        assert!(!text.contains("\u{1b}[32") && !text.contains("\u{1b}[42"), "{text}");
        assert!(text.contains("PASS"), "what was last known is still there");
    }

    #[test]
    fn a_fail_is_shown_wherever_there_is_room_for_one_bay() {
        let station = fixture::rack(24);
        for height in 8..40 {
            let text = fixture::plain(&frame(&station, None, (80, height)));
            let row = text.lines().any(|line| line.contains("FAIL") && line.contains("bay"));
            assert!(row && text.lines().count() <= height, "{height}:\n{text}");
        }
    }
}
