//! The screens: tiles with the word in large letters, a line for each bay where there is no room for that, one bay, help.
//!
//! Words and edges tell bays apart where there are no colours: plain for PASS, double for FAIL, thick for REFUSED.

use jiff::Timestamp;
use model::api::snapshot::DriveView;
use model::meaning::Trouble;
use model::verdict::Verdict;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Gauge, Paragraph, Sparkline, Wrap};
use tui_big_text::{BigText, PixelSize};
use view::history::strip;
use view::rack::{Rack, ago};
use view::tile::{self, Light, Tile};

use super::edges;
use super::state::{App, Screen, Shown, Size};
use crate::watch::Lost;
use crate::words;

/// A tile that is smaller says too little.
const LEAST: (u16, u16) = (18, 5);
/// Letters take so many cells each way.
const LETTER: u16 = 4;

/// Everything.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    app: &mut App,
    rack: &Rack<'_>,
    lost: Option<&Lost>,
    now: Timestamp,
) {
    let area = frame.area();
    // At the head stands what is decisive, so it goes before the last bays.
    let most = if area.height < 12 { 1 } else { 3 };
    let head_lines = edges::head(rack, lost, now, area.width, most);
    let foot_lines = edges::foot(app, rack, area.width, most);
    let rows = |lines: &[Line<'_>]| u16::try_from(lines.len()).unwrap_or(1);
    let [head, body, foot] = Layout::vertical([
        Constraint::Length(rows(&head_lines)),
        Constraint::Min(0),
        Constraint::Length(rows(&foot_lines)),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head_lines), head);
    frame.render_widget(Paragraph::new(foot_lines), foot);
    match (app.screen, lost) {
        (Screen::Help, _) => frame.render_widget(Paragraph::new(edges::help(body)), body),
        (Screen::Bay, None) => one_bay(frame, body, app, rack, now),
        _ => bays(frame, body, app, rack, lost.is_some(), now),
    }
}

/// The bays as tiles, if each has room enough; else as lines.
fn bays(
    frame: &mut Frame<'_>,
    area: Rect,
    app: &mut App,
    rack: &Rack<'_>,
    lost: bool,
    now: Timestamp,
) {
    let shown: Vec<(usize, &Tile<'_>)> = rack
        .tiles
        .iter()
        .enumerate()
        .filter(|(_, tile)| app.shown == Shown::All || tile.needs_hands())
        .collect();
    if shown.is_empty() {
        app.columns = 1;
        frame.render_widget(Paragraph::new(" nothing to show"), area);
        return;
    }
    let wanted: u16 = if shown.len() <= 8 { 4 } else { 6 };
    let columns = wanted.min(area.width / LEAST.0).max(1);
    let rows = u16::try_from(shown.len()).unwrap_or(u16::MAX).div_ceil(columns);
    let (width, height) = (area.width / columns, area.height / rows.max(1));
    if app.size == Size::Lines || height < LEAST.1 || width < LEAST.0 {
        app.columns = 1;
        lines(frame, area, app, &shown, lost, now);
        return;
    }
    app.columns = usize::from(columns);
    app.order = shown.iter().map(|(place, _)| *place).collect();
    for ((place, tile), slot) in shown.iter().zip(0_u16..) {
        let (x, y) = (slot % columns * width, slot / columns * height);
        let area = Rect::new(area.x + x, area.y + y, width, height);
        one(frame, area, tile, *place == app.at, lost, now);
    }
}

/// How a bay looks: colours of its ground, and its edge.
fn look(tile: &Tile<'_>, lost: bool) -> (Style, BorderType) {
    if lost {
        return (Style::new().fg(Color::DarkGray), BorderType::Plain);
    }
    let station = tile.trouble() == Some(Trouble::Station);
    let ground = |ground, ink| Style::new().bg(ground).fg(ink);
    match tile.light() {
        Light::Failed if station => (ground(Color::Cyan, Color::Black), BorderType::Double),
        Light::Failed => (ground(Color::Red, Color::White), BorderType::Double),
        Light::Refused if station => (ground(Color::Cyan, Color::Black), BorderType::Thick),
        Light::Refused => (ground(Color::Yellow, Color::Black), BorderType::Thick),
        Light::Stopped => (ground(Color::White, Color::Black), BorderType::QuadrantOutside),
        Light::Passed => (ground(Color::Green, Color::Black), BorderType::Plain),
        Light::Running => (Style::new(), BorderType::Plain),
        Light::Empty => (Style::new().fg(Color::DarkGray), BorderType::LightDoubleDashed),
    }
}

/// The last letters of a serial number, which people compare.
fn tail(name: &str, room: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    match letters.len() > room {
        true => format!(
            "…{}",
            letters[letters.len() - room.saturating_sub(1)..].iter().collect::<String>()
        ),
        false => name.to_owned(),
    }
}

fn one(
    frame: &mut Frame<'_>,
    area: Rect,
    tile: &Tile<'_>,
    selected: bool,
    lost: bool,
    now: Timestamp,
) {
    let (style, edge) = look(tile, lost);
    let name = tile.drive().map(DriveView::name).unwrap_or_default();
    let mark = if tile.is_located(now) && !lost { "◉ " } else { "" };
    let select = if selected { '▶' } else { ' ' };
    let bay = format!("{select}{mark}{} ", tile.bay);
    let room = usize::from(area.width).saturating_sub(bay.chars().count() + 4);
    let block = Block::bordered()
        .border_type(edge)
        .style(style)
        .title(Span::styled(bay, style.add_modifier(Modifier::BOLD)))
        .title_top(Line::raw(tail(name, room.min(9))).right_aligned());
    // What is to be done stands on the edge, or in the tile if it is longer: half of it is no help.
    let action = if lost { "" } else { tile.action() };
    let on_edge = action.chars().count() + 4 <= usize::from(area.width);
    let block = match action {
        "" => block,
        action if on_edge => block.title_bottom(Line::raw(format!(" {action} "))),
        _ => block,
    };
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let bold = style.add_modifier(Modifier::BOLD);
    if lost {
        frame.render_widget(Paragraph::new("NO DATA").style(bold).centered(), inner);
        return;
    }
    let mut below: Vec<Line<'_>> =
        below(tile, now).iter().flat_map(|text| folded(text, inner.width)).map(Line::raw).collect();
    if !on_edge {
        below.extend(folded(action, inner.width).into_iter().map(|text| Line::styled(text, bold)));
    }
    let word = tile.word();
    let letters = u16::try_from(word.chars().count()).unwrap_or(u16::MAX).saturating_mul(LETTER);
    let lines = u16::try_from(below.len()).unwrap_or(0);
    if letters <= inner.width
        && LETTER + lines <= inner.height
        && word.is_ascii()
        && tile.light() != Light::Empty
    {
        let [large, rest] =
            Layout::vertical([Constraint::Length(LETTER), Constraint::Min(0)]).areas(inner);
        let big = BigText::builder()
            .pixel_size(PixelSize::Quadrant)
            .style(bold)
            .lines(vec![Line::raw(word.to_owned())])
            .centered()
            .build();
        frame.render_widget(big, large);
        frame.render_widget(Paragraph::new(below).centered(), rest);
        return;
    }
    let mark = tile.light().mark();
    let first = if mark.is_empty() { word.to_owned() } else { format!("{mark} {word}") };
    let mut all = vec![Line::styled(first, bold)];
    all.extend(below);
    frame.render_widget(Paragraph::new(all).centered(), inner);
}

/// A text as lines of a tile.
fn folded(text: &str, width: u16) -> Vec<String> {
    let lines = textwrap::wrap(text, usize::from(width.max(1)));
    lines.into_iter().map(std::borrow::Cow::into_owned).collect()
}

/// What stands below the word.
fn below(tile: &Tile<'_>, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Light::Running, Some(drive)) = (tile.light(), tile.drive()) {
        let going = words::Going::of(Some(drive));
        let parts = [going.done, going.rate.map(|rate| rate.to_string()), going.left];
        lines.push(parts.into_iter().flatten().collect::<Vec<_>>().join(" "));
    }
    if let Some(meaning) = tile.meaning() {
        let whose = if tile.trouble() == Some(Trouble::Station) { "STATION: " } else { "" };
        lines.push(format!("{whose}{}", meaning.short));
    }
    if let Some(pulled) = tile.pulled() {
        lines.push(format!("pulled {}", ago(pulled, now)));
    }
    lines
}

/// A line for each bay. Where there is no room for all, those that need somebody most come first, and the others are counted.
fn lines(
    frame: &mut Frame<'_>,
    area: Rect,
    app: &mut App,
    shown: &[(usize, &Tile<'_>)],
    lost: bool,
    now: Timestamp,
) {
    let room = usize::from(area.height);
    let mut order: Vec<_> = shown.to_vec();
    let mut hidden = Vec::new();
    if order.len() > room {
        order.sort_by_key(|(place, tile)| (tile.light(), *place));
        app.order = order.iter().map(|(place, _)| *place).collect();
        // The window moves with the selection; the last line says what is outside of it.
        let rows = room.saturating_sub(1);
        let at = order.iter().position(|(place, _)| *place == app.at).unwrap_or(0);
        let first = (at + 1).saturating_sub(rows);
        hidden = order.split_off((first + rows).min(order.len()));
        hidden.extend(order.drain(..first));
    } else {
        app.order = order.iter().map(|(place, _)| *place).collect();
    }
    if let (false, Some(last)) = (hidden.is_empty(), area.height.checked_sub(1)) {
        let counts = tile::count(hidden.iter().map(|(_, tile)| *tile));
        let counts = counts.iter().map(|(light, count)| format!("{count} {light}"));
        let what = if lost { String::new() } else { counts.collect::<Vec<_>>().join(", ") };
        let more = format!(" and {} more: {what}", hidden.len());
        let more = more.trim_end_matches(": ").to_owned();
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let row = Rect::new(area.x, area.y + last, area.width, 1);
        frame.render_widget(Paragraph::new(Line::styled(more, bold)), row);
    }
    // What is to be done must fit beside bay and serial number, so they get no more room than they need.
    let bays = shown.iter().map(|(_, tile)| tile.bay.chars().count()).max().unwrap_or(0).min(12);
    let serials = if area.width < 80 { 6 } else { 10 };
    let left = usize::from(area.width).saturating_sub(bays + serials + 19);
    for ((place, tile), y) in order.into_iter().zip(0_u16..) {
        let (style, _) = look(tile, lost);
        let (mark, word) = if lost { ("", "NO DATA") } else { (tile.light().mark(), tile.word()) };
        let select = if place == app.at { '▶' } else { ' ' };
        let located = if tile.is_located(now) && !lost { '◉' } else { ' ' };
        let name = tile.drive().map(DriveView::name).unwrap_or_default();
        let going =
            words::Going::of(tile.drive().filter(|_| !lost && tile.light() == Light::Running));
        let going = [going.done, going.rate.map(|rate| rate.to_string())];
        let said = match tile.meaning() {
            _ if lost => String::new(),
            // Where only one of both fits, what is to be done.
            Some(meaning) => Some(format!("{}. {}", meaning.short, tile.action()))
                .filter(|both| both.chars().count() <= left)
                .unwrap_or_else(|| tile.action().to_owned()),
            None if !tile.action().is_empty() => tile.action().to_owned(),
            None => going.into_iter().flatten().collect::<Vec<_>>().join(" "),
        };
        let line = Line::from(vec![
            Span::raw(format!("{select}{located}{:<bays$} ", tail(tile.bay, bays))),
            Span::styled(format!(" {mark:<1} {word:<9} "), style.add_modifier(Modifier::BOLD)),
            Span::raw(format!(" {:<serials$} {said}", tail(name, serials))),
        ]);
        frame.render_widget(Paragraph::new(line), Rect::new(area.x, area.y + y, area.width, 1));
    }
}

/// All that is known of the selected bay.
fn one_bay(frame: &mut Frame<'_>, area: Rect, app: &App, rack: &Rack<'_>, now: Timestamp) {
    let Some(tile) = app.selected(rack) else { return };
    let [left, right] =
        Layout::horizontal([Constraint::Length(area.width.min(36)), Constraint::Min(0)])
            .areas(area);
    let height = left.height.min(9);
    one(frame, Rect { height, ..left }, tile, true, false, now);
    let history = strip(tile.history);
    let below = Rect { y: left.y + height, height: left.height - height, ..left };
    frame.render_widget(Paragraph::new(format!(" last verdicts {history}")), below);
    let mut text: Vec<Line<'_>> = Vec::new();
    if let Some(drive) = tile.drive() {
        let model = drive.model.as_deref().unwrap_or_default();
        text.push(Line::raw(format!(
            "{} {model} {} {}",
            drive.name(),
            drive.size_bytes,
            drive.device
        )));
        if let Some(reason) = &drive.reason {
            text.push(Line::raw(reason.sentence()));
            text.push(Line::raw(format!("now: {}", reason.what_now_for(drive.name()))));
        }
        text.extend(drive.warnings.iter().map(|warning| Line::raw(format!("warning: {warning}"))));
        if let (Some(Verdict::Passed), Some(serial)) = (drive.verdict, &drive.serial) {
            text.push(Line::raw(format!("label: prestagectl certificate {serial} --label zpl")));
        }
        if let Some(part) = drive.limited_by {
            text.push(Line::raw(format!("limited by: {part}")));
        }
        if let Some(order) = words::order(drive) {
            text.push(Line::raw(format!("order {order}")));
        }
    }
    text.extend(rack.suspect(tile).sentence(tile.bay).map(Line::raw));
    for ended in tile.history.iter().flat_map(|history| history.ended.iter().rev()) {
        let serial = ended.serial.as_ref().map_or("-", |serial| serial.as_str());
        let why = ended.code.map(|code| code.to_string()).unwrap_or_default();
        let (mark, word) = (ended.verdict.mark(), ended.verdict.word());
        text.push(Line::raw(format!("{} {mark} {word} {serial} {why}", words::clock(ended.at))));
    }
    frame.render_widget(Clear, right);
    let [progress, curve, rest] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(4), Constraint::Min(0)])
            .areas(right);
    if let Some(drive) = tile.drive().filter(|_| tile.light() == Light::Running) {
        let ratio = (drive.percent / 100.0).clamp(0.0, 1.0);
        frame.render_widget(Gauge::default().ratio(ratio), progress);
    }
    let rates = app.rates(tile);
    if rates.len() > 1 {
        frame.render_widget(Sparkline::default().data(rates), curve);
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), rest);
    } else {
        let rest = Rect { y: right.y + 1, height: right.height.saturating_sub(1), ..right };
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), rest);
    }
}

#[cfg(test)]
#[path = "draw/tests.rs"]
mod tests;
