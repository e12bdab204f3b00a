//! `explain`: what a code means and what to do about it, without the daemon.

use std::collections::BTreeSet;

use model::advice::{self, Entry, Explained, Kind};
use model::api::answers::Explanation;
use model::failure::Reason;

use super::output::{Output, WIDTH, paragraph};
use super::table::{Cell, Keep, Table, fold};
use super::{CommandError, exit, usage};

pub(super) fn perform(out: &Output, code: Option<&str>) -> Result<u8, CommandError> {
    let mut entries = advice::all();
    let Some(code) = code else {
        out.print(&entries, |terminal| list(&entries, terminal));
        return Ok(exit::DONE);
    };
    // As people type it: `explain NOT-BLANK:` is copied from a line of text.
    let name = code.trim_end_matches(':').to_lowercase().replace('-', "_");
    if entries.iter().all(|entry| entry.code != name) {
        let known: Vec<&str> = entries.iter().map(|entry| entry.code).collect();
        let error = usage(format!("there is no code {code:?}"));
        return Err(error.with_hint(match config::keys::near(&name, &known) {
            Some(near) => format!("do you mean {near}? `prestagectl explain` lists all codes"),
            None => "`prestagectl explain` lists all codes".to_owned(),
        }));
    }
    entries.retain(|entry| entry.code == name);
    if let [entry, also @ ..] = &entries[..] {
        out.print(&Explanation { entry, also }, |terminal| {
            entries.iter().map(|entry| text(entry, terminal)).collect::<Vec<_>>().join("\n")
        });
    }
    Ok(exit::DONE)
}

fn list(entries: &[Entry], terminal: Option<usize>) -> String {
    let table = |kind: Kind| {
        let mut table =
            Table::new([("CODE", Keep::Always), ("OF", Keep::Spare), ("WHAT NOW", Keep::Text)]);
        for entry in entries.iter().filter(|entry| entry.kind == kind) {
            let now = Cell::new(entry.advice.now);
            table.row([Cell::new(entry.code), Cell::new(kind.word()), now]);
        }
        table.render(terminal)
    };
    Kind::ALL.map(table).join("\n")
}

/// One meaning of a code; every line fits the terminal.
fn text(entry: &Entry, terminal: Option<usize>) -> String {
    let width = terminal.unwrap_or(WIDTH).min(WIDTH);
    let verdicts: Vec<String> = entry.verdicts.iter().map(ToString::to_string).collect();
    let of = match verdicts.is_empty() {
        true => entry.kind.word().to_owned(),
        false => format!("{} {}", entry.kind.word(), verdicts.join(" or ")),
    };
    let mut table = Table::headless([Keep::Always, Keep::Text]);
    if let Some(meaning) = &entry.at_the_rack {
        let line = format!("{} ({})", meaning.line(), meaning.trouble);
        table.row([Cell::new("  at the rack"), Cell::new(line)]);
    }
    for (head, said) in [
        ("  means", entry.meaning),
        ("  what now", entry.advice.now),
        ("  operator", entry.advice.operator),
        ("  engineer", entry.advice.engineer),
    ] {
        table.row([Cell::new(head), Cell::new(said)]);
    }
    fold(&format!("{} ({of})\n", entry.code), width, "") + &table.render(Some(width))
}

/// What to do about each code among the reasons of a listing, a line for each; for a terminal.
pub(super) fn hints<'a>(
    reasons: impl Iterator<Item = &'a Reason>,
    terminal: Option<usize>,
) -> String {
    let mut told = BTreeSet::new();
    let line = |reason: &Reason| {
        let (code, now) = (reason.code, reason.code.advice().now);
        let short = code.at_the_rack().short;
        paragraph(&format!("hint for {code} ({short}): {now}\n"), terminal)
    };
    reasons.filter(|reason| told.insert(reason.code)).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{advice, hints, list, text};
    use crate::fixture;
    use model::code::ReasonCode;
    use model::failure::Reason;

    #[test]
    fn codes() {
        let entries = advice::all();
        for width in [60, 80, 120] {
            let text = list(&entries, Some(width));
            for line in anstream::adapter::strip_str(&text).to_string().lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
        let piped = list(&entries, None);
        for entry in &entries {
            let of = |line: &str| line.contains(entry.code) && line.contains(entry.advice.now);
            assert!(piped.lines().any(of), "{}", entry.code);
        }
    }

    #[test]
    fn a_listing_tells_once_what_to_do_about_each_code() {
        let reasons = [ReasonCode::Mismatch, ReasonCode::Unplugged, ReasonCode::Mismatch]
            .map(|code| Reason::new(code, "x"));
        let text = hints(reasons.iter(), Some(80));
        assert_eq!(text.matches("hint for ").count(), 2, "{text}");
        assert!(
            text.contains("hint for mismatch (reads back wrong): set the drive aside"),
            "{text}"
        );
    }

    #[test]
    fn every_line_of_an_explanation_fits() {
        for entry in advice::all() {
            for (terminal, most) in [(None, 100), (Some(60), 60), (Some(80), 80), (Some(200), 100)]
            {
                let text = text(&entry, terminal);
                assert!(text.lines().all(|line| line.chars().count() <= most), "{text}");
                let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
                assert!(said.contains(entry.advice.engineer), "{said}");
            }
        }
        let entries = advice::all();
        let twice = entries.iter().filter(|entry| entry.code == "too_small");
        let shown: String = twice.map(|entry| text(entry, Some(80))).collect();
        fixture::snapshot("explain", &shown);
    }
}
