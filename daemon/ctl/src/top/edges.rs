//! What stands above and below the bays: how the station is, what keys do, what is being typed. It is wrapped where a line is
//! too short, because what is cut off here is what decides.

use jiff::Timestamp;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use view::rack::{Rack, ago};
use view::tile::{Light, Tile};

use super::state::{App, Ask, Typing};
use crate::watch::Lost;

/// Keys and what they do.
const KEYS: [(&str, &str); 13] = [
    ("arrows", "select a bay"),
    ("4 Enter", "the fourth bay"),
    ("h, Enter", "the selected bay, with its history"),
    ("n", "who needs hands next"),
    ("f", "only bays that need hands"),
    ("/", "find a serial number by its end, and locate it"),
    ("l", "locate the bay: its lamp blinks"),
    ("Space", "acknowledge what was pulled"),
    ("+ -", "large letters, or a line each"),
    ("q", "end"),
    ("R", "retry the drive (type the bay's name)"),
    ("X", "stop it (type the bay's name)"),
    ("A", "arm or disarm (type the station's name)"),
];

/// What keys do, in as many columns as there is room for.
pub(super) fn help(area: Rect) -> Vec<Line<'static>> {
    const COLUMN: usize = 58;
    let columns = (usize::from(area.width) / COLUMN).clamp(1, 2);
    let rows = KEYS.len().div_ceil(columns);
    let line = |row: usize| -> String {
        let of_row = KEYS.iter().skip(row).step_by(rows);
        of_row.map(|(key, what)| format!("{:<COLUMN$}", format!(" {key:<9} {what}"))).collect()
    };
    (0..rows).map(|row| Line::raw(line(row).trim_end().to_owned())).collect()
}

/// Spans side by side, on further lines where one is full; what has no line is cut off.
fn wrapped(parts: Vec<Span<'static>>, width: u16, most: usize) -> Vec<Line<'static>> {
    let mut lines: Vec<Vec<Span<'static>>> = vec![Vec::new()];
    let mut used = 0;
    for part in parts {
        let length = part.content.trim_end().chars().count();
        if used > 0 && used + length > usize::from(width) && lines.len() < most {
            lines.push(vec![Span::raw(" ")]);
            used = 1;
        }
        used += part.content.chars().count();
        if let Some(last) = lines.last_mut() {
            last.push(part);
        }
    }
    lines.into_iter().map(Line::from).collect()
}

/// How the station is: what decides comes first.
pub(super) fn head(
    rack: &Rack<'_>,
    lost: Option<&Lost>,
    now: Timestamp,
    width: u16,
    most: usize,
) -> Vec<Line<'static>> {
    let snapshot = rack.snapshot;
    if let Some(lost) = lost {
        let text = format!(" NO DATA {}: {} ", ago(lost.since, now), lost.why);
        let style = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
        return vec![Line::styled(text, style)];
    }
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut parts = Vec::new();
    if let Some(reason) = &snapshot.ledger {
        let text = format!(" NO RECORDS: {} ", reason.detail);
        parts.push(Span::styled(text, bold.fg(Color::Red)));
    }
    parts.push(Span::styled(format!(" {} ", snapshot.station), bold));
    let (state, style) = match (snapshot.draining, snapshot.armed) {
        (true, _) => ("ENDING", bold),
        (_, true) => ("● ARMED", bold.fg(Color::Yellow)),
        _ => ("○ disarmed", Style::new()),
    };
    parts.push(Span::styled(format!("{state}  "), style));
    let hands = rack.hands();
    if let Some(next) = hands.first() {
        let text = format!("{} NEED HANDS, next {}  ", hands.len(), next.bay);
        parts.push(Span::styled(text, bold));
    }
    let counts = [(Light::Passed, "pass"), (Light::Failed, "fail"), (Light::Refused, "refused")];
    for (light, name) in counts {
        parts.push(Span::raw(format!("{name} {}  ", rack.count(light))));
    }
    parts.extend(rack.orders().into_iter().map(|order| Span::raw(format!("Order {order}  "))));
    parts.push(Span::raw(rack.media().to_owned()));
    wrapped(parts, width, most)
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
        Ask::Locate(bay) | Ask::Unlocate(bay) => format!("locate {bay}"),
        Ask::Release(bay) => format!("acknowledge {bay}"),
        Ask::Arm => "arm the station".into(),
        Ask::Disarm => "disarm the station".into(),
    }
}

/// What is being typed; what became of what was asked; what is to be said of the rack; or what keys do.
pub(super) fn foot(app: &App, rack: &Rack<'_>, width: u16, most: usize) -> Vec<Line<'static>> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let typing = app.typing.as_ref().map(|typing| match typing {
        Typing::Number(text) => format!("bay {text}_"),
        Typing::Serial(text) => format!("serial number ends in {text}_"),
        Typing::Confirm { expected, typed, ask } => {
            format!("{}: type {expected:?} and Enter, or Esc: {typed}_", asked(ask, rack))
        }
    });
    let unseen = rack.unseen();
    let remark = || match unseen.first() {
        Some(view) => {
            Some(format!("{} failed in {}: acknowledge it", view.drive.name(), view.drive.bay))
        }
        None => rack.suspicions().into_iter().next(),
    };
    let said = Some(app.said.clone()).filter(|said| !said.is_empty());
    if let Some(text) = typing.or(said).or_else(remark) {
        let room = usize::from(width).saturating_sub(1).max(1);
        let lines = textwrap::wrap(&text, room);
        // The end is what is being typed.
        let first = lines.len().saturating_sub(most);
        let lines = lines[first..].iter();
        return lines.map(|line| Line::styled(format!(" {line}"), bold)).collect();
    }
    let keys = [
        "? help  ",
        "q end  ",
        "Enter bay  ",
        "n next  ",
        "l locate  ",
        "R retry  ",
        "X stop  ",
        "A arm",
    ];
    let mut parts = vec![Span::raw(" ")];
    parts.extend(keys.map(Span::raw));
    wrapped(parts, width, 1)
}
