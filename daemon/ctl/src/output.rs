//! What goes to standard output: text for people, as wide and as colourful as the terminal allows, or JSON.

use std::io::{self, Write};

use model::api::answers::DoneDocument;
use serde::Serialize;

use super::table::fold;
use super::{CommandError, exit};

/// Writes lines to standard output as they are.
pub(super) fn put(text: &str) {
    put_to(io::stdout().lock(), text);
}

/// Writes a part of a longer output as it is.
pub(super) fn put_part(text: &str) {
    let mut out = io::stdout().lock();
    end_unless(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Writes text for people to standard output. Its colours are dropped in a pipe, on a terminal without colours, and
/// with `NO_COLOR`.
pub(super) fn put_styled(text: &str) {
    put_to(anstream::stdout().lock(), text);
}

fn put_to(mut out: impl Write, text: &str) {
    end_unless(writeln!(out, "{text}").and_then(|()| out.flush()));
}

/// Ends the program where nobody reads on; that is no error (`| head`).
fn end_unless(written: io::Result<()>) {
    if let Err(error) = written {
        let closed = error.kind() == io::ErrorKind::BrokenPipe;
        std::process::exit(if closed { exit::DONE } else { exit::FAILED }.into());
    }
}

/// The width of the terminal that standard output is; none in a pipe.
pub(super) fn terminal() -> Option<usize> {
    let size = terminal_size::terminal_size_of(io::stdout());
    size.map(|(width, _)| width.0.into())
}

/// Wraps sentences to the width of a terminal.
pub(super) fn paragraph(text: &str, terminal: Option<usize>) -> String {
    terminal.map_or_else(|| text.to_owned(), |width| fold(text, width, ""))
}

/// The width of the terminal that errors go to; none in a pipe.
pub(super) fn error_terminal() -> Option<usize> {
    let size = terminal_size::terminal_size_of(io::stderr());
    size.map(|(width, _)| width.0.into())
}

/// A hint as lines that each begin with `hint:`, a line for each part of a long one.
pub(super) fn hint(text: &str, terminal: Option<usize>) -> String {
    let head = "hint: ";
    let room = terminal.unwrap_or(WIDTH).clamp(LEAST, WIDTH) - head.len();
    let parts: Vec<&str> = match text.chars().count() > room {
        true => text.split("; ").collect(),
        false => vec![text],
    };
    let lines: Vec<String> = parts.iter().map(|part| narrow(part, Some(room))).collect();
    let lines = lines.iter().flat_map(|lines| lines.lines());
    lines.map(|line| format!("{head}{line}")).collect::<Vec<_>>().join("\n")
}

/// No line is wider than this where nobody says how wide the terminal is.
pub(super) const WIDTH: usize = 100;

/// On a terminal that is narrower, errors are broken by it.
const LEAST: usize = 40;

/// Wraps sentences also in a pipe. What stands between back quotes, such as a command, stays on one line.
pub(super) fn narrow(text: &str, terminal: Option<usize>) -> String {
    // A space that no line breaks at, which nobody types.
    const HELD: &str = "\u{a0}";
    let parts = text.split('`').enumerate();
    let held: Vec<String> = parts
        .map(|(at, part)| if at % 2 == 1 { part.replace(' ', HELD) } else { part.to_owned() })
        .collect();
    fold(&held.join("`"), terminal.unwrap_or(WIDTH).min(WIDTH), "").replace(HELD, " ")
}

pub(super) struct Output {
    pub(super) json: bool,
}

impl Output {
    /// Prints a value as JSON, or the text that `text` makes for a terminal of some width, or for a pipe.
    pub(super) fn print(&self, value: &impl Serialize, text: impl FnOnce(Option<usize>) -> String) {
        if self.json {
            put(&serde_json::to_string_pretty(value).unwrap_or_default());
        } else {
            put_styled(text(terminal()).trim_end());
        }
    }

    /// Prints one of many values, as JSON on one line, or as text.
    pub(super) fn print_line(
        &self,
        value: &impl Serialize,
        text: impl FnOnce(Option<usize>) -> String,
    ) {
        if self.json {
            put(&serde_json::to_string(value).unwrap_or_default());
        } else {
            put_styled(text(terminal()).trim_end());
        }
    }

    /// Prints that something was done.
    pub(super) fn done(&self, text: &str) -> Result<u8, CommandError> {
        let plain = anstream::adapter::strip_str(text).to_string();
        self.print(&DoneDocument { done: plain }, |_| text.to_owned());
        Ok(exit::DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::{hint, narrow};

    #[test]
    fn a_long_hint_is_told_part_by_part_and_a_command_stays_whole() {
        let command = format!("`prestagectl image /dev/sdb {}`", "--again ".repeat(6));
        let long = format!("do one thing; or do another and then another {command} and so on");
        let text = hint(&long, None);
        assert!(text.lines().all(|line| line.starts_with("hint: ") && line.len() <= 100), "{text}");
        assert!(
            text.starts_with("hint: do one thing\nhint: or do") && text.contains(&command),
            "{text}"
        );
        assert_eq!(hint("a; b", None), "hint: a; b");
        assert_eq!(narrow("a `b c` d", Some(5)), "a\n`b c`\nd");
    }
}
