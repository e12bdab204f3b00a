//! `prestagectl`: everything an operator does, over the daemon's socket.
//!
//! - Owns the command line and what it prints. A file per verb, but for the short ones; each makes its text from what the
//!   daemon answers, for a terminal of some width or for a pipe.
//! - May touch the daemon's socket, the terminal, the drop-in with the names of bays, the files and servers that its user
//!   names for parcels, keys and certificates, the system's fonts, and the folder in which media is made, with its user's rights. Media is made by the
//!   daemon's program as a worker ([`composing`]).
//! - May never open a drive or the ledger, nor compute a verdict: it shows the daemon's. It depends on `model`, `config`,
//!   `evidence`, `paper`, `parcel` and `signing` alone, so that it needs neither libwim nor SQLite nor libudev.

#![forbid(unsafe_code)]

mod absence;
mod arguments;
mod audit;
mod bays;
mod certificate;
pub mod completing;
mod composing;
mod csv;
mod drives;
pub mod exit;
mod explain;
#[cfg(test)]
mod fixture;
mod hinted;
mod image;
mod key;
mod label;
mod ledger_backup;
mod ledger_log;
mod master;
mod media;
mod order;
mod output;
mod parcel;
mod progress;
mod records;
mod remote;
mod scan;
mod schema;
mod signer_list;
mod since;
mod status;
mod table;
mod told;
mod top;
mod verify;
mod verify_record;
mod watch;
mod words;

use wire::client;

use model::api::answers::{ErrorBody, ErrorDocument};
use model::api::requests::{DriveRequest, VerifyRequest};
use model::api::snapshot::Snapshot;
use model::code::DenialCode;
use model::failure::{Failure, chain};
use model::hint::Hint;

pub use arguments::Arguments;
use arguments::Verb;
use client::{Client, ClientError};
use ledger_backup::LedgerVerb;
use output::{Output, put};

/// Why a verb did not end well, with the exit code it gives.
#[derive(Debug)]
struct CommandError {
    exit: u8,
    /// The daemon's code, if the daemon has said no, or something has failed in it.
    code: Option<String>,
    text: String,
    /// What would make it right, if anything is known to.
    hint: Option<String>,
}

impl CommandError {
    fn new(exit: u8, text: impl Into<String>) -> Self {
        Self { exit, code: None, text: text.into(), hint: None }
    }

    /// Something that the daemon has begun and that has failed.
    fn failed(what: &str, failure: Failure) -> Self {
        let text = format!("{what} failed: {}", failure.sentence());
        let code = Some(failure.code.to_string());
        Self { exit: exit::FAILED, code, text, hint: failure.hint }
    }

    /// An error with its causes and its hint.
    fn of(exit: u8, error: &impl Hint) -> Self {
        Self { exit, code: None, text: chain(error), hint: error.hint() }
    }

    /// The same with a code that says more than the exit code does.
    fn with_code(self, code: DenialCode) -> Self {
        Self { code: Some(code.to_string()), ..self }
    }

    fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Tells whoever has asked; a program that asked for JSON gets it as a document, too.
    #[expect(clippy::print_stderr, reason = "errors go to standard error")]
    fn tell(self, json: bool) {
        let Self { exit, code, text, hint } = self;
        let terminal = output::error_terminal();
        eprintln!("{}", output::paragraph(&format!("prestagectl: {text}"), terminal));
        if let Some(hint) = &hint {
            eprintln!("{}", output::hint(hint, terminal));
        }
        if json {
            let code = code.unwrap_or_else(|| exit::code(exit).to_string());
            put_error(ErrorBody { code, detail: text, hint, exit });
        }
    }
}

impl From<ClientError> for CommandError {
    fn from(error: ClientError) -> Self {
        if let ClientError::Unreachable { path, source } = &error {
            let absence::Absence { text, hint } = absence::explain(path, source);
            return Self::new(exit::UNAVAILABLE, text).with_hint(hint);
        }
        let code = match &error {
            ClientError::Unreachable { .. }
            | ClientError::Ended
            | ClientError::Silent
            | ClientError::Broken(_)
            | ClientError::Unreadable(_) => exit::UNAVAILABLE,
            ClientError::Forbidden(_) => exit::NOT_PERMITTED,
            ClientError::Refused(denial) => match denial.code {
                DenialCode::BadRequest => exit::USAGE,
                DenialCode::Draining | DenialCode::Overloaded | DenialCode::UnexpectedAnswer => {
                    exit::UNAVAILABLE
                }
                DenialCode::NotPermitted => exit::NOT_PERMITTED,
                DenialCode::LedgerUnavailable
                | DenialCode::LedgerTampered
                | DenialCode::StoreError
                | DenialCode::InternalError => exit::FAILED,
                DenialCode::NoSuchPath
                | DenialCode::WrongMethod
                | DenialCode::NoSuchDrive
                | DenialCode::AmbiguousDrive
                | DenialCode::NoSuchMaster
                | DenialCode::NoSuchRecord
                | DenialCode::DigestsMissing
                | DenialCode::NoMedia
                | DenialCode::MediaInvalid
                | DenialCode::MediaAmbiguous
                | DenialCode::NoSuchOrder
                | DenialCode::UnclearScan
                | DenialCode::OrderUnchangeable
                | DenialCode::TooSmall
                | DenialCode::TooLarge
                | DenialCode::NotRunning
                | DenialCode::AlreadyPassed
                | DenialCode::Busy
                | DenialCode::OutOfScope
                | DenialCode::Stalled => exit::REFUSED,
            },
        };
        let denial = match &error {
            ClientError::Refused(denial) => Some(denial.code.to_string()),
            _ => None,
        };
        Self { code: denial, ..Self::of(code, &error) }
    }
}

/// The daemon has ended before what it was asked for was done.
fn ended() -> CommandError {
    ClientError::Ended.into()
}

fn usage(text: impl Into<String>) -> CommandError {
    CommandError::new(exit::USAGE, text)
}

/// Does what the command line says; returns the exit code.
pub async fn run(arguments: Arguments) -> u8 {
    let json = arguments.json;
    match perform(arguments).await {
        Ok(code) => code,
        Err(error) => {
            let exit = error.exit;
            error.tell(json);
            exit
        }
    }
}

/// The error as the last document on standard output.
fn put_error(error: ErrorBody) {
    put(&serde_json::to_string(&ErrorDocument { error }).unwrap_or_default());
}

/// Tells what is wrong with the command line, or what was asked for instead of a verb; returns the exit code. A program
/// that asked for JSON gets the mistake as JSON, too.
pub fn misused(error: &clap::Error) -> u8 {
    // Fails only where nobody reads.
    let _ = error.print();
    if !error.use_stderr() {
        return exit::DONE;
    }
    let mut words = std::env::args_os().skip(1).take_while(|word| word != "--");
    if words.any(|word| word == "--json") {
        put_error(misuse(&error.render().to_string()));
    }
    exit::USAGE
}

/// What clap says, as an error of ours: its paragraphs are the mistake, the usage, and where to read more.
fn misuse(told: &str) -> ErrorBody {
    let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut parts = told.split("\n\n").map(str::trim);
    let detail = line(parts.next().unwrap_or_default().trim_start_matches("error: "));
    let usage = parts.find(|part| part.starts_with("Usage: "));
    let hint = usage.map_or_else(|| "see `prestagectl help`".to_owned(), line);
    let code = exit::code(exit::USAGE).to_string();
    ErrorBody { code, detail, hint: Some(hint), exit: exit::USAGE }
}

async fn perform(arguments: Arguments) -> Result<u8, CommandError> {
    let client = Client::new(&arguments.socket);
    let out = Output { json: arguments.json };
    match arguments.verb {
        Verb::Status => {
            let snapshot: Snapshot = client.get("/v1/status").await?;
            match out.json {
                true => out.print(&hinted::snapshot(snapshot), |_| String::new()),
                false => out.print(&snapshot, |terminal| status::render(&snapshot, terminal)),
            }
            Ok(exit::DONE)
        }
        Verb::Watch => {
            watch::perform(&client, out.json).await?;
            Ok(exit::DONE)
        }
        Verb::Top => top::perform(&client).await,
        Verb::Arm => told::arm(&client, &out, "/v1/arm").await,
        Verb::Disarm => told::arm(&client, &out, "/v1/disarm").await,
        Verb::Drives(arguments) => drives::perform(&client, &out, &arguments).await,
        Verb::Bays(verb) => bays::perform(&client, &out, &verb).await,
        Verb::Media(verb) => media::perform(&client, &out, &verb).await,
        Verb::Key(verb) => key::perform(&out, &verb),
        Verb::Order(verb) => order::perform(&client, &out, &verb).await,
        Verb::VerifyRecord(arguments) => verify_record::perform(&out, &arguments),
        Verb::Certificate(arguments) => certificate::perform(&client, &out, &arguments).await,
        Verb::Log(verb) => ledger_log::perform(&client, &out, &verb).await,
        Verb::Ledger(LedgerVerb::Backup { file }) => {
            ledger_backup::perform(&client, &out, &file).await
        }
        Verb::Master(verb) => master::perform(&client, &out, &verb).await,
        Verb::Image(arguments) => image::image(&client, &out, arguments).await,
        Verb::Audit { device, media } => {
            let device = node(&device);
            audit::perform(&client, &out, &DriveRequest { device, media }).await
        }
        Verb::Verify { device } => {
            let device = node(&device);
            verify::perform(&client, &out, &VerifyRequest { device }).await
        }
        Verb::Scan(arguments) => scan::perform(&client, &out, &arguments).await,
        Verb::Records(arguments) => records::perform(&client, &out, &arguments).await,
        Verb::Retry { drive } => image::retry(&client, &out, &node(&drive)).await,
        Verb::Schema { document } => schema::perform(&out, document),
        Verb::Explain { code } => explain::perform(&out, code.as_deref()),
        Verb::Stop { drive } => told::stop(&client, &out, &node(&drive)).await,
        Verb::Locate { bay, off } => told::locate(&client, &out, &bay, off).await,
        Verb::Release { bay } => told::release(&client, &out, &bay).await,
    }
}

/// The node that a link such as those in /dev/disk/by-id leads to; any other name as it is.
fn node(name: &str) -> String {
    if !name.contains('/') {
        return name.to_owned();
    }
    let target = std::fs::canonicalize(name).ok();
    let target = target.filter(|target| target.starts_with("/dev"));
    target.and_then(|node| node.to_str().map(str::to_owned)).unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{Arguments, misuse};

    #[test]
    fn what_is_wrong_with_the_command_line_is_an_error_like_any_other() {
        let mut text = String::new();
        for line in
            ["imagine /dev/sdb", "image", "image /dev/sdb --overwrite", "records --verdict maybe"]
        {
            let words = ["prestagectl"].into_iter().chain(line.split(' '));
            let error = Arguments::try_parse_from(words).unwrap_err();
            let body = misuse(&error.render().to_string());
            text += &format!("{}\n", serde_json::to_string(&body).unwrap());
        }
        crate::fixture::snapshot("misuse", &text);
    }
}
