//! Screens at every size, with colours and without.

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
    for (bays, size) in [
        (24, (132, 32)),
        (8, (80, 24)),
        (24, (80, 24)),
        (24, (60, 24)),
        (24, (200, 50)),
        (0, (80, 24)),
    ] {
        let mut station = fixture::rack(bays);
        station.bays.truncate(if bays == 8 { 8 } else { 24 });
        station.drives.retain(|drive| station.bays.iter().any(|bay| bay.name == drive.bay.0));
        let shown = text(&drawn(&station, &mut App::default(), None, size));
        all += &format!("-- {bays} drives on {} x {}\n{shown}\n", size.0, size.1);
    }
    let mut app = App { at: 5, screen: Screen::Bay, ..App::default() };
    all += &format!("-- a bay\n{}\n", text(&drawn(&fixture::rack(24), &mut app, None, (132, 20))));
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

/// What has no room is counted, and what has failed is not among it.
#[test]
fn what_does_not_fit_is_counted() {
    let station = fixture::rack(24);
    for rows in 6..=26 {
        for at in [0, 11, 23] {
            let mut app = App { at, size: Size::Lines, ..App::default() };
            let shown = text(&drawn(&station, &mut app, None, (60, rows)));
            let told = shown
                .split_once(" and ")
                .map_or(0, |(_, rest)| rest.split(' ').next().unwrap().parse::<usize>().unwrap());
            let bays = Rack::of(&station).tiles.len();
            let rows_of_bays = shown.lines().filter(|line| line.contains("bay ")).filter(|line| {
                // Neither the head nor the foot.
                !line.contains("NEED HANDS") && line.starts_with([' ', '▶'])
            });
            let is_bay = |line: &&str| line.trim_start_matches([' ', '▶', '◉']).starts_with("bay ");
            let listed = rows_of_bays.filter(is_bay).count();
            assert_eq!(listed + told, bays, "{rows} rows, {at}: {shown}");
            assert!(shown.contains('▶'), "the selected bay is among them: {shown}");
        }
        let mut app = App { size: Size::Lines, ..App::default() };
        app.at = Rack::of(&station).tiles.iter().position(|t| t.light() == Light::Failed).unwrap();
        let shown = text(&drawn(&station, &mut app, None, (60, rows)));
        assert!(shown.contains("FAIL"), "{rows}: {shown}");
    }
}

/// How many bays show what is decisive, and so is what a key does: they are there at every width.
#[test]
fn the_head_is_whole_at_every_width() {
    for width in [40, 60, 80, 100, 132, 200] {
        let shown = text(&drawn(&fixture::rack(24), &mut App::default(), None, (width, 24)));
        let head: String = shown.lines().take(3).collect::<Vec<_>>().join(" ");
        for part in ["rack-01", "ARMED", "NEED HANDS", "pass ", "fail ", "refused "] {
            assert!(head.contains(part), "{width}: {part}: {shown}");
        }
        let foot = shown.lines().rev().take(3).collect::<String>();
        assert!(foot.contains("? help") || foot.contains("acknowledge"), "{width}: {shown}");
        let mut app = App { screen: Screen::Help, ..App::default() };
        let help = text(&drawn(&fixture::rack(24), &mut app, None, (width, 24)));
        for word in ["retry the drive", "arm or disarm", "locate", "acknowledge"] {
            assert!(help.contains(word), "{width}: {word}: {help}");
        }
    }
}

/// Terminals have any size, or say that they have none.
#[test]
fn no_size_is_too_small() {
    let lost = Lost { since: Timestamp::UNIX_EPOCH, why: "the daemon has ended".into() };
    for (width, height) in (0..24).flat_map(|width| (0..14).map(move |height| (width, height))) {
        for screen in [Screen::Rack, Screen::Bay, Screen::Help] {
            for (bays, lost) in [(24, None), (24, Some(&lost)), (0, None)] {
                let mut app = App { screen, ..App::default() };
                drawn(&fixture::rack(bays), &mut app, lost, (width, height));
            }
        }
    }
}
