//! `scan`: what a barcode scanner reads, one text or line after line.

mod keyboard;

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::client::{Client, ClientError};
use super::output::{Output, narrow, put_part, put_styled};
use super::words::{Standing, clock, order, verdict};
use super::{CommandError, completing, exit};
use keyboard::Keyboard;
use model::api::requests::ScanRequest;
use model::api::scanned::Scanned;
use model::api::snapshot::DriveView;
use model::verdict::Verdict;
use view::scanned::{Words, sentence};

#[derive(Debug, Args)]
pub(super) struct ScanArguments {
    /// What was scanned; without it, each line of standard input.
    pub(super) text: Option<String>,
    /// The order is for the drive in this bay; without it, for the next drive that is plugged in.
    #[arg(long, add = completing::bays())]
    pub(super) bay: Option<String>,
    /// Reads this input device, which nothing else reads meanwhile: a scanner that is a keyboard, such as
    /// /dev/input/by-id/usb-…-event-kbd.
    #[arg(long, value_name = "PATH", conflicts_with = "text")]
    pub(super) device: Option<PathBuf>,
}

pub(super) async fn perform(
    client: &Client,
    out: &Output,
    arguments: &ScanArguments,
) -> Result<u8, CommandError> {
    if let Some(text) = &arguments.text {
        let scanned = ask(client, text.clone(), arguments).await?;
        out.print(&scanned, |terminal| narrow(&said(&scanned), terminal));
        return Ok(exit::DONE);
    }
    let mut worst = exit::DONE;
    let mut texts = Texts::open(arguments.device.as_deref())?;
    while let Some(text) = texts.next()? {
        match ask(client, text, arguments).await {
            Ok(scanned) => out.print_line(&scanned, |terminal| narrow(&said(&scanned), terminal)),
            // The next text may be right. Who scans looks at the drive, and not at the screen.
            Err(error @ ClientError::Refused(_)) => {
                let error = CommandError::from(error);
                worst = error.exit;
                if io::stdout().is_terminal() {
                    put_part("\u{7}");
                }
                error.tell(out.json);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(worst)
}

async fn ask(
    client: &Client,
    text: String,
    arguments: &ScanArguments,
) -> Result<Scanned, ClientError> {
    let request = ScanRequest { text, bay: arguments.bay.clone() };
    client.post("/v1/scan", &request).await
}

/// Where texts come from, one after the other.
enum Texts {
    Keyboard(Box<Keyboard>),
    Input(io::Lines<io::StdinLock<'static>>),
}

impl Texts {
    fn open(device: Option<&Path>) -> Result<Self, CommandError> {
        let Some(path) = device else {
            if io::stdin().is_terminal() {
                put_styled("scan an order, a serial number, a bay or a command card; Ctrl-D ends");
            }
            return Ok(Self::Input(io::stdin().lines()));
        };
        let opened = Keyboard::open(path);
        opened
            .map(Box::new)
            .map(Self::Keyboard)
            .map_err(|error| CommandError::of(exit::REFUSED, &error))
    }

    /// The next text that is not empty. Nothing else is to be done meanwhile, so this blocks.
    fn next(&mut self) -> Result<Option<String>, CommandError> {
        loop {
            let text = match self {
                Self::Keyboard(keyboard) => {
                    keyboard.line().map_err(|error| CommandError::of(exit::FAILED, &error))?
                }
                Self::Input(lines) => match lines.next() {
                    Some(line) => {
                        line.map_err(|error| super::usage(format!("standard input: {error}")))?
                    }
                    None => return Ok(None),
                },
            };
            if !text.trim().is_empty() {
                return Ok(Some(text));
            }
        }
    }
}

/// What came of it, for who stands at the rack.
fn said(scanned: &Scanned) -> String {
    let verdict = |ended: Option<Verdict>| {
        let (word, style) = ended.map_or(("not closed", anstyle::Style::new()), verdict);
        format!("{style}{word}{style:#}")
    };
    let date =
        |at: Timestamp| at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string();
    let words = Words { drive: &stands, verdict: &verdict, clock: &clock, date: &date };
    let text = sentence(scanned, &words);
    match scanned {
        Scanned::Attempt { .. } => format!("{text}; `prestagectl watch` shows how it goes on"),
        _ => text,
    }
}

fn stands(drive: &DriveView) -> String {
    let line = Standing::of(drive).line();
    match order(drive) {
        Some(order) => format!("{line} (order {order})"),
        None => line,
    }
}
