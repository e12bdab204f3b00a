//! What goes to standard output: text for people, as wide and as colourful as the terminal allows, or JSON.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;

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

    /// Prints that something was done.
    pub(super) fn done(&self, text: &str) -> Result<u8, CommandError> {
        self.print(&json!({ "done": text }), |_| text.to_owned());
        Ok(exit::DONE)
    }
}
