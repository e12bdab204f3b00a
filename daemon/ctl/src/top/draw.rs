//! The screens: tiles with the word in large letters, a line for each bay where there is no room for that, one bay, help.
//!
//! Words and edges tell bays apart where there are no colours: plain for PASS, double for FAIL, thick for REFUSED.

use jiff::Timestamp;
use model::api::snapshot::DriveView;
use model::meaning::Trouble;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Gauge, Paragraph, Sparkline, Wrap};
use tui_big_text::{BigText, PixelSize};
use view::history::strip;
use view::rack::{Rack, ago};
use view::tile::{Light, Tile};

use super::state::{App, Ask, Screen, Shown, Size, Typing};
use crate::watch::Lost;
use crate::words;

/// A tile that is smaller says too little.
const LEAST: (u16, u16) = (18, 5);
/// Letters take so many cells each way.
const LETTER: u16 = 4;

const HELP: &str = "arrows, number + Enter   select a bay, show it      n   who needs hands next
h, Enter   the selected bay, with its history        f   only bays that need hands
/          find a serial number by its end            +/- large letters, or a line each
Space      acknowledge what was pulled                q   end

R   retry the drive      X   stop it      A   arm or disarm
Each wants the name of the bay, or of the station, typed.";

/// Everything.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    app: &mut App,
    rack: &Rack<'_>,
    lost: Option<&Lost>,
    now: Timestamp,
) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(head_line(rack, lost, now)), head);
    frame.render_widget(Paragraph::new(foot_line(app, rack)), foot);
    match (app.screen, lost) {
        (Screen::Help, _) => frame.render_widget(Paragraph::new(HELP), body),
        (Screen::Bay, None) => one_bay(frame, body, app, rack, now),
        _ => bays(frame, body, app, rack, lost.is_some(), now),
    }
}

fn head_line(rack: &Rack<'_>, lost: Option<&Lost>, now: Timestamp) -> Line<'static> {
    let snapshot = rack.snapshot;
    if let Some(lost) = lost {
        let text = format!(" NO DATA {}: {} ", ago(lost.since, now), lost.why);
        return Line::styled(text, Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD));
    }
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut parts = vec![Span::styled(format!(" {} ", snapshot.station), bold)];
    let (state, style) = match (snapshot.draining, snapshot.armed) {
        (true, _) => ("ENDING", bold),
        (_, true) => ("● ARMED", bold.fg(Color::Yellow)),
        _ => ("○ disarmed", Style::new()),
    };
    parts.push(Span::styled(format!("{state}  "), style));
    parts.extend(rack.orders().into_iter().map(|order| Span::raw(format!("Order {order}  "))));
    parts.push(Span::raw(format!("{}  ", rack.media())));
    let hands = rack.hands();
    if let Some(next) = hands.first() {
        let text = format!("{} NEED HANDS, next {}  ", hands.len(), next.bay);
        parts.push(Span::styled(text, bold));
    }
    let counts = [(Light::Passed, "pass"), (Light::Failed, "fail"), (Light::Refused, "refused")];
    for (light, name) in counts {
        parts.push(Span::raw(format!("{name} {} ", rack.count(light))));
    }
    if let Some(reason) = &snapshot.ledger {
        parts.insert(
            0,
            Span::styled(format!(" NO RECORDS: {} ", reason.detail), bold.fg(Color::Red)),
        );
    }
    Line::from(parts)
}

/// What a confirmation is for, in words.
fn asked(ask: &Ask, rack: &Rack<'_>) -> String {
    let name = |device: &String| {
        let mut drives = rack.tiles.iter().filter_map(Tile::drive);
        let drive = drives.find(|drive| drive.device == *device);
        drive.map_or_else(|| device.clone(), |drive| drive.name().to_owned())
    };
    match ask {
        Ask::Retry(device) => format!("image {} once more", name(device)),
        Ask::Stop(device) => format!("stop {}", name(device)),
        Ask::Release(bay) => format!("acknowledge {bay}"),
        Ask::Arm => "arm the station".into(),
        Ask::Disarm => "disarm the station".into(),
    }
}

fn foot_line(app: &App, rack: &Rack<'_>) -> Line<'static> {
    let typing = app.typing.as_ref().map(|typing| match typing {
        Typing::Number(text) => format!(" bay {text}_"),
        Typing::Serial(text) => format!(" serial number ends in {text}_"),
        Typing::Confirm { expected, typed, ask } => {
            format!(" {}: type {expected:?} and Enter, or Esc: {typed}_", asked(ask, rack))
        }
    });
    let bold = Style::new().add_modifier(Modifier::BOLD);
    if let Some(text) = typing {
        return Line::styled(text, bold);
    }
    if !app.said.is_empty() {
        return Line::styled(format!(" {}", app.said), bold);
    }
    let unseen = rack.unseen();
    let remark = match unseen.first() {
        Some(view) => {
            Some(format!("{} failed in {}: acknowledge it", view.drive.name(), view.drive.bay))
        }
        None => rack.suspicions().into_iter().next(),
    };
    match remark {
        Some(remark) => Line::styled(format!(" {remark}"), bold),
        None => Line::raw(" ? help  q end  Enter bay  n next  R retry  X stop  A arm"),
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
        lines(frame, area, app, &shown, lost);
        return;
    }
    app.columns = usize::from(columns);
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
    let bay = if selected { format!("▶{} ", tile.bay) } else { format!(" {} ", tile.bay) };
    let room = usize::from(area.width).saturating_sub(bay.chars().count() + 4);
    let block = Block::bordered()
        .border_type(edge)
        .style(style)
        .title(Span::styled(bay, style.add_modifier(Modifier::BOLD)))
        .title_top(Line::raw(tail(name, room.min(9))).right_aligned());
    let block = match (lost, tile.action()) {
        (false, action) if !action.is_empty() => {
            block.title_bottom(Line::raw(format!(" {action} ")))
        }
        _ => block,
    };
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let bold = style.add_modifier(Modifier::BOLD);
    if lost {
        frame.render_widget(Paragraph::new("NO DATA").style(bold).centered(), inner);
        return;
    }
    let below = below(tile, now);
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

/// What stands below the word.
fn below(tile: &Tile<'_>, now: Timestamp) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let (Light::Running, Some(drive)) = (tile.light(), tile.drive()) {
        let going = words::Going::of(Some(drive));
        let parts = [going.done, going.rate.map(|rate| rate.to_string()), going.left];
        lines.push(Line::raw(parts.into_iter().flatten().collect::<Vec<_>>().join(" ")));
    }
    if let Some(meaning) = tile.meaning() {
        let whose = if tile.trouble() == Some(Trouble::Station) { "STATION: " } else { "" };
        lines.push(Line::raw(format!("{whose}{}", meaning.short)));
    }
    if let Some(pulled) = tile.pulled() {
        lines.push(Line::raw(format!("pulled {}", ago(pulled, now))));
    }
    lines
}

/// A line for each bay; where there is no room for all, those that need somebody most.
fn lines(frame: &mut Frame<'_>, area: Rect, app: &App, shown: &[(usize, &Tile<'_>)], lost: bool) {
    let room = usize::from(area.height);
    let mut order: Vec<_> = shown.to_vec();
    if order.len() > room {
        order.sort_by_key(|(place, tile)| (*place != app.at, tile.light()));
        order.truncate(room);
        order.sort_by_key(|(place, _)| *place);
    }
    for ((place, tile), y) in order.into_iter().zip(0_u16..) {
        let (style, _) = look(tile, lost);
        let (mark, word) = if lost { ("", "NO DATA") } else { (tile.light().mark(), tile.word()) };
        let select = if place == app.at { '▶' } else { ' ' };
        let name = tile.drive().map(DriveView::name).unwrap_or_default();
        let going =
            words::Going::of(tile.drive().filter(|_| !lost && tile.light() == Light::Running));
        let going = [going.done, going.rate.map(|rate| rate.to_string())];
        let said = match tile.meaning().filter(|_| !lost) {
            Some(meaning) => format!("{}. {}", meaning.short, tile.action()),
            None if lost => String::new(),
            None => going.into_iter().flatten().collect::<Vec<_>>().join(" "),
        };
        let line = Line::from(vec![
            Span::raw(format!("{select}{:<12} ", tail(tile.bay, 12))),
            Span::styled(format!(" {mark:<1} {word:<9} "), style.add_modifier(Modifier::BOLD)),
            Span::raw(format!(" {:<10} {said}", tail(name, 10))),
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
mod tests {
    use model::api::snapshot::Snapshot;
    use model::code::ReasonCode;
    use model::failure::Reason;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;

    use super::*;
    use crate::fixture;

    fn drawn(station: &Snapshot, app: &mut App, lost: Option<&Lost>, size: (u16, u16)) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        terminal.draw(|frame| draw(frame, app, &Rack::of(station), lost, now)).unwrap();
        terminal.backend().buffer().clone()
    }

    fn text(buffer: &Buffer) -> String {
        let area = buffer.area;
        let line = |y| (0..area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        let lines: Vec<String> = (0..area.height).map(|y| line(y).trim_end().to_owned()).collect();
        lines.join("\n")
    }

    #[test]
    fn the_rack_at_every_size() {
        let mut all = String::new();
        for (bays, size) in
            [(24, (132, 32)), (8, (80, 24)), (24, (60, 24)), (24, (200, 50)), (0, (80, 24))]
        {
            let mut station = fixture::rack(bays);
            station.bays.truncate(if bays == 8 { 8 } else { 24 });
            station.drives.retain(|drive| station.bays.iter().any(|bay| bay.name == drive.bay.0));
            let shown = text(&drawn(&station, &mut App::default(), None, size));
            all += &format!("-- {bays} drives on {} x {}\n{shown}\n", size.0, size.1);
        }
        let mut app = App { at: 5, screen: Screen::Bay, ..App::default() };
        all +=
            &format!("-- a bay\n{}\n", text(&drawn(&fixture::rack(24), &mut app, None, (132, 20))));
        fixture::snapshot("top", &all);
    }

    /// Each state has its ground and its edge, and no two of them the same edge where there are no colours.
    #[test]
    fn states_are_told_apart_with_and_without_colours() {
        let mut station = fixture::rack(24);
        let pressed = station.drives.iter_mut().find(|drive| drive.bay.0 == "bay 6").unwrap();
        pressed.reason = Some(Reason::new(ReasonCode::PressFailed, "x"));
        let buffer = drawn(&station, &mut App::default(), None, (132, 32));
        let rack = Rack::of(&station);
        let mut seen = std::collections::BTreeMap::new();
        for (tile, at) in rack.tiles.iter().zip(0_u16..) {
            let corner = &buffer[(at % 6 * 22, 1 + at / 6 * 7)];
            let ground = match (tile.light(), tile.trouble()) {
                (_, Some(Trouble::Station)) => Color::Cyan,
                (Light::Failed, _) => Color::Red,
                (Light::Refused, _) => Color::Yellow,
                (Light::Stopped, _) => Color::White,
                (Light::Passed, _) => Color::Green,
                (Light::Running | Light::Empty, _) => Color::Reset,
            };
            assert_eq!(corner.bg, ground, "{} is {}", tile.bay, tile.light());
            seen.insert(tile.light(), corner.symbol().to_owned());
        }
        let edge = |light| seen[&light].as_str();
        assert_eq!([Light::Passed, Light::Failed, Light::Refused].map(edge), ["┌", "╔", "┏"]);
        assert_eq!(edge(Light::Stopped), "▛");
        assert!(seen.len() >= 5, "{seen:?}");
    }

    /// A daemon that has ended must not leave a green screen.
    #[test]
    fn what_is_old_shows_no_verdict() {
        let lost = Lost { since: Timestamp::UNIX_EPOCH, why: "the daemon has ended".into() };
        for (screen, size) in
            [(Screen::Rack, Size::Large), (Screen::Rack, Size::Lines), (Screen::Bay, Size::Large)]
        {
            let mut app = App { screen, size, ..App::default() };
            let buffer = drawn(&fixture::rack(24), &mut app, Some(&lost), (132, 32));
            let shown = text(&buffer);
            assert!(shown.starts_with(" NO DATA 0 s ago: the daemon has ended"), "{shown}");
            assert!(shown.matches("NO DATA").count() >= 24, "{shown}");
            for verdict in ["✓", "✕", "PASS", "FAIL", "REFUSED"] {
                assert!(!shown.contains(verdict), "{verdict}: {shown}");
            }
            let colours = [Color::Green, Color::Red, Color::Yellow, Color::Cyan];
            let coloured = buffer.content.iter().any(|cell| colours.contains(&cell.bg));
            assert!(!coloured, "{shown}");
        }
    }
}
