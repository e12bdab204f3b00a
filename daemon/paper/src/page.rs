//! Where everything stands on the page of one drive: the verdict, what is said below it in two columns, tables, and what
//! proves it at the foot.

use model::verdict::Verdict;
use qrcodegen::QrCode;

use crate::certificate::{ENVELOPE, PROOF};
use crate::facts::{Fact, Facts, Kind, MARK, word};
use crate::fonts::Style;
use crate::sheet::{BLACK, GREY, HAIR, Ink, Look, PAGE, Sheet, WHITE};
use crate::text::{Line, Setter};

/// The space around everything.
const MARGIN: f32 = 42.0;
const WIDTH: f32 = PAGE.0 - 2.0 * MARGIN;
const GAP: f32 = 24.0;
/// Two columns stand side by side.
const COLUMN: f32 = (WIDTH - GAP) / 2.0;
const RIGHT: f32 = MARGIN + COLUMN + GAP;
/// How wide the names of facts are.
const NAMES: f32 = 82.0;
/// The verdict on its colour.
const BAND: f32 = MARGIN + 17.0;
const BAND_HEIGHT: f32 = 84.0;
/// From the foot of one line to the next.
const LEADING: f32 = 11.4;
/// The height of a section's heading, with the space before it.
const HEADING: f32 = 23.0;
/// The side of the code.
const CODE: f32 = 122.0;
/// Where what proves it begins.
const FOOT: f32 = PAGE.1 - MARGIN - CODE - 26.0;

const NAME: Look = Look { style: Style::Regular, size: 7.6, ink: GREY };
const VALUE: Look = Look { style: Style::Regular, size: 8.2, ink: BLACK };
const DIGITS: Look = Look { style: Style::Mono, size: 6.9, ink: BLACK };
const HEAD: Look = Look { style: Style::Bold, size: 7.6, ink: BLACK };
const SMALL: Look = Look { style: Style::Regular, size: 7.0, ink: GREY };

fn look(kind: Kind) -> Look {
    match kind {
        Kind::Plain => VALUE,
        Kind::Digits => DIGITS,
    }
}

fn ink(verdict: Verdict) -> Ink {
    match verdict {
        Verdict::Passed => Ink(0.05, 0.42, 0.25),
        Verdict::Failed => Ink(0.70, 0.09, 0.11),
        Verdict::Refused | Verdict::Stopped => Ink(0.33, 0.35, 0.39),
    }
}

/// Fills a page; tells whether all of it stands inside of the margins.
pub(crate) fn fill(sheet: &mut Sheet<'_>, facts: &Facts, code: Option<&QrCode>) -> bool {
    band(sheet, facts);
    let end = body(sheet, facts);
    foot(sheet, facts, code);
    let (right, low) = sheet.reach;
    right <= PAGE.0 - MARGIN + 1.0 && low <= PAGE.1 - MARGIN + 1.0 && end <= FOOT + 8.0
}

/// What is read from two metres, and which drive it is about.
fn band(sheet: &mut Sheet<'_>, facts: &Facts) {
    let bold = |size| Look { style: Style::Bold, size, ink: BLACK };
    let wide = sheet.put("prestaged", bold(10.0), (MARGIN, MARGIN + 8.0), 100.0);
    let what = Look { size: 8.6, ..SMALL };
    sheet.put("Record of one drive", what, (MARGIN + wide + 7.0, MARGIN + 8.0), 200.0);
    sheet.put_before(&facts.station, what, (MARGIN + WIDTH, MARGIN + 8.0), WIDTH / 2.0);

    let (top, height) = (BAND, BAND_HEIGHT);
    sheet.fill((MARGIN, top), (WIDTH, height), ink(facts.verdict));
    let (left, right) = (MARGIN + 18.0, MARGIN + WIDTH - 18.0);
    sign(sheet, facts.verdict, (left, top + 17.0));
    let white = |style, size| Look { style, size, ink: WHITE };
    let large = white(Style::Bold, 37.0);
    sheet.put(word(facts.verdict), large, (left + 45.0, top + 47.0), 210.0);
    sheet.put(
        &facts.meaning,
        white(Style::Regular, 8.8),
        (left, top + height - 14.0),
        right - left,
    );
    let room = 205.0;
    sheet.put_before(&facts.serial, white(Style::Bold, 15.0), (right, top + 26.0), room);
    sheet.put_before(&facts.model, white(Style::Regular, 8.8), (right, top + 40.0), room);
    sheet.put_before(&facts.closed, white(Style::Regular, 8.8), (right, top + 52.0), room);
}

/// A sign for who does not read the word: a tick, a cross, a bar, a square.
fn sign(sheet: &mut Sheet<'_>, verdict: Verdict, (x, y): (f32, f32)) {
    let side = 32.0;
    let place = |(across, down): (f32, f32)| (x + across * side, y + down * side);
    let mut line = |places: &[(f32, f32)]| {
        let places: Vec<(f32, f32)> = places.iter().map(|at| place(*at)).collect();
        sheet.stroke(&places, 6.0, WHITE);
    };
    match verdict {
        Verdict::Passed => line(&[(0.04, 0.55), (0.36, 0.86), (0.96, 0.14)]),
        Verdict::Failed => {
            line(&[(0.1, 0.1), (0.9, 0.9)]);
            line(&[(0.9, 0.1), (0.1, 0.9)]);
        }
        Verdict::Refused => line(&[(0.05, 0.5), (0.95, 0.5)]),
        Verdict::Stopped => sheet.fill((x + 3.0, y + 3.0), (side - 6.0, side - 6.0), WHITE),
    }
}

/// A fact, broken into lines.
type Set<'a> = (&'a Fact, Vec<Line>);

/// Sections below each other.
struct Stack<'a> {
    sections: Vec<(&'static str, Vec<Set<'a>>)>,
}

impl<'a> Stack<'a> {
    /// Breaks facts into lines, at most so many for each.
    fn new(
        setter: &mut Setter<'_>,
        sections: Vec<(&'static str, &'a [Fact])>,
        most: usize,
    ) -> Self {
        let mut set = |facts: &'a [Fact]| -> Vec<Set<'a>> {
            facts.iter().map(|fact| (fact, broken(setter, fact, COLUMN - NAMES, most))).collect()
        };
        Self { sections: sections.into_iter().map(|(head, facts)| (head, set(facts))).collect() }
    }

    fn height(&self) -> f32 {
        let lines = |facts: &[Set<'_>]| -> f32 {
            facts.iter().map(|(_, lines)| count(lines.len().max(1)) * LEADING).sum()
        };
        self.sections.iter().map(|(_, facts)| HEADING + lines(facts)).sum()
    }

    fn draw(&self, sheet: &mut Sheet<'_>, (x, mut y): (f32, f32)) {
        for (head, facts) in &self.sections {
            heading(sheet, head, (x, y), COLUMN);
            y += HEADING;
            for set in facts {
                y = fact(sheet, set, (x, y), COLUMN);
            }
        }
    }
}

fn broken(setter: &mut Setter<'_>, fact: &Fact, width: f32, most: usize) -> Vec<Line> {
    let Look { style, size, .. } = look(fact.kind);
    // Half a digest is none.
    let most = if fact.kind == Kind::Digits { most.max(2) } else { most };
    setter.lines(&fact.value, style, width / size * 1000.0, most)
}

/// A small number as a length.
fn count(number: usize) -> f32 {
    u16::try_from(number).map_or(f32::from(u16::MAX), f32::from)
}

fn heading(sheet: &mut Sheet<'_>, text: &str, (x, y): (f32, f32), width: f32) {
    sheet.put(text, HEAD, (x, y + HEADING - 8.4), width);
    sheet.fill((x, y + HEADING - 4.2), (width, 0.6), HAIR);
}

/// Puts a fact below `y`, and returns where the next one goes.
fn fact(sheet: &mut Sheet<'_>, (fact, lines): &Set<'_>, (x, mut y): (f32, f32), width: f32) -> f32 {
    sheet.put(&fact.name, NAME, (x, y + 8.0), NAMES.min(width));
    for line in lines {
        sheet.put_line(line, look(fact.kind), (x + NAMES, y + 8.0));
        y += LEADING;
    }
    if lines.is_empty() { y + LEADING } else { y }
}

/// Everything between the verdict and the proof. Values get as many lines as there is room for all of them, and what room is
/// left then sets sections apart. Returns where it ends.
fn body(sheet: &mut Sheet<'_>, facts: &Facts) -> f32 {
    let mut y = BAND + BAND_HEIGHT;
    let rows = facts.partitions.len().clamp(1, PARTITIONS + 1);
    let warned: Vec<Vec<Line>> =
        facts.warnings.iter().map(|text| warning(&mut sheet.setter, text)).collect();
    let warned_lines = warned.iter().map(Vec::len).sum::<usize>().max(1);
    for most in [4, 3, 2, 1] {
        let Look { style, size, .. } = REASON;
        let reason = facts.reason.as_deref().unwrap_or_default();
        let reason = sheet.setter.lines(reason, style, WIDTH / size * 1000.0, most.min(3));
        let mut stack = |sections| Stack::new(&mut sheet.setter, sections, most);
        let pairs = [
            [stack(vec![("ORDER", &facts.order[..])]), stack(vec![("MEDIA", &facts.media[..])])],
            [
                stack(vec![("DRIVE", &facts.drive[..]), ("HEALTH", &facts.health[..])]),
                stack(vec![("VERIFICATION", &facts.verification[..])]),
            ],
        ];
        let height = |[left, right]: &[Stack<'_>; 2]| left.height().max(right.height());
        let above =
            if reason.is_empty() { 0.0 } else { 8.0 + count(reason.len()) * REASON_LEADING };
        let tables = 2.0 * HEADING + count(rows + warned_lines.min(3)) * LEADING;
        let needed = above + pairs.iter().map(height).sum::<f32>() + tables;
        if most > 1 && y + needed > FOOT {
            continue;
        }
        let more = count(warned_lines.saturating_sub(3)) * LEADING;
        let apart = ((FOOT - y - needed - more) / 5.0).clamp(0.0, 9.0);
        let red = Look { ink: ink(facts.verdict), ..REASON };
        for (at, line) in reason.iter().enumerate() {
            sheet.put_line(line, red, (MARGIN, y + 17.0 + count(at) * REASON_LEADING));
        }
        y += above;
        for pair in pairs {
            y += apart;
            pair[0].draw(sheet, (MARGIN, y));
            pair[1].draw(sheet, (RIGHT, y));
            y += height(&pair);
        }
        y = identity(sheet, facts, y + apart);
        return warnings(sheet, &warned, y + apart);
    }
    y
}

const REASON: Look = Look { style: Style::Bold, size: 9.0, ink: BLACK };
const REASON_LEADING: f32 = 12.5;
/// So many rows are printed; more partitions are rare.
const PARTITIONS: usize = 6;

/// The table of what is unique on the drive. Returns where it ends.
fn identity(sheet: &mut Sheet<'_>, facts: &Facts, mut y: f32) -> f32 {
    heading(sheet, "IDENTITY", (MARGIN, y), WIDTH);
    let columns = [(0.0, 135.0, VALUE), (143.0, 160.0, DIGITS), (311.0, 82.0, DIGITS)];
    let heads = ["", "GUID", "Volume serial number", "Sectors"];
    let last = MARGIN + WIDTH;
    for (head, (x, _, _)) in heads.iter().zip(columns).skip(1) {
        sheet.put(head, SMALL, (MARGIN + x, y + HEADING - 8.4), 100.0);
    }
    sheet.put_before(heads[3], SMALL, (last, y + HEADING - 8.4), 100.0);
    y += HEADING;
    if facts.partitions.is_empty() {
        sheet.put("The drive was given none.", VALUE, (MARGIN, y + 8.0), WIDTH);
        return y + LEADING;
    }
    for row in facts.partitions.iter().take(PARTITIONS) {
        for (text, (x, width, look)) in row.iter().zip(columns) {
            sheet.put(text, look, (MARGIN + x, y + 8.0), width);
        }
        sheet.put_before(&row[3], DIGITS, (last, y + 8.0), 110.0);
        y += LEADING;
    }
    let more = facts.partitions.len().saturating_sub(PARTITIONS);
    if more > 0 {
        let text = format!("and {more} more, in the attached record");
        sheet.put(&text, SMALL, (MARGIN, y + 8.0), WIDTH);
        y += LEADING;
    }
    y
}

/// A warning on at most two lines.
fn warning(setter: &mut Setter<'_>, text: &str) -> Vec<Line> {
    setter.lines(text, VALUE.style, (WIDTH - NUMBERS) / VALUE.size * 1000.0, 2)
}

/// How wide the numbers of warnings are.
const NUMBERS: f32 = 20.0;

/// As many warnings as there is room for, and how many there are else. Returns where they end.
fn warnings(sheet: &mut Sheet<'_>, warnings: &[Vec<Line>], mut y: f32) -> f32 {
    heading(sheet, "WARNINGS", (MARGIN, y), WIDTH);
    y += HEADING;
    if warnings.is_empty() {
        sheet.put("none", VALUE, (MARGIN, y + 8.0), WIDTH);
        y += LEADING;
    }
    for (at, lines) in warnings.iter().enumerate() {
        let left = warnings.len() - at;
        // The last line that there is room for tells what else there is.
        let also = usize::from(left > 1);
        if y + count(lines.len() + also) * LEADING > FOOT {
            let plural = if left == 1 { "" } else { "s" };
            let text = match at {
                0 => format!("{left} warning{plural}, in the attached record"),
                _ => format!("and {left} more warning{plural}, in the attached record"),
            };
            sheet.put(&text, VALUE, (MARGIN, y + 8.0), WIDTH);
            return y + LEADING;
        }
        sheet.put(&format!("{}.", at + 1), NAME, (MARGIN, y + 8.0), NUMBERS);
        for line in lines {
            sheet.put_line(line, VALUE, (MARGIN + NUMBERS, y + 8.0));
            y += LEADING;
        }
    }
    y
}

/// What proves it, and how that is checked.
fn foot(sheet: &mut Sheet<'_>, facts: &Facts, code: Option<&QrCode>) {
    let top = PAGE.1 - MARGIN - CODE;
    sheet.fill((MARGIN, FOOT + 9.0), (WIDTH, 1.4), BLACK);
    let x = match code {
        Some(code) => {
            sheet.code(code, (MARGIN, top), CODE);
            MARGIN + CODE + GAP
        }
        None => MARGIN,
    };
    let width = MARGIN + WIDTH - x;
    sheet.put("PROOF", HEAD, (x, top + 6.0), width);
    let mut y = top + 10.0;
    for one in &facts.proof {
        let lines = broken(&mut sheet.setter, one, width - NAMES, 1);
        y = fact(sheet, &(one, lines), (x, y), width);
    }
    let marked = facts.order.iter().chain(&facts.media).any(|fact| fact.name.ends_with(MARK));
    let command = format!("prestagectl verify-record {ENVELOPE} --proof {PROOF} --key station.pub");
    let mut notes = vec![(
        "Attached are the signed record and its proof, which anybody can check who has the station's key:",
        SMALL,
    )];
    notes.push((&command, Look { style: Style::Mono, size: 6.2, ..SMALL }));
    if code.is_some() {
        notes.push(("The code has serial number, verdict, time and the record's SHA-256, signed by the same key.", SMALL));
    }
    if marked {
        notes.push((
            "* As the station knew it when this was made; not part of the signed record.",
            SMALL,
        ));
    }
    let first = PAGE.1 - MARGIN - count(notes.len() - 1) * 8.8;
    for (at, (text, look)) in notes.into_iter().enumerate() {
        sheet.put(text, look, (x, first + count(at) * 8.8), width);
    }
}
