//! `prestagectl`: everything an operator does, over the daemon's socket.
//!
//! - Owns the command line and what it prints. A file per verb, but for the short ones; each makes its text from what the
//!   daemon answers, for a terminal of some width or for a pipe.
//! - May touch the daemon's socket, the terminal, and the drop-in with the names of bays, with its user's rights.
//! - May never open a drive, the ledger or media, nor compute a verdict: it shows the daemon's. It depends on `model` and
//!   `config` alone, so that it needs neither libwim nor SQLite nor libudev.

#![forbid(unsafe_code)]

mod absence;
mod arguments;
mod audit;
mod bays;
mod client;
mod csv;
mod drives;
pub mod exit;
mod explain;
#[cfg(test)]
mod fixture;
mod image;
mod master;
mod media;
mod output;
mod progress;
mod records;
mod since;
mod status;
mod table;
mod watch;
mod words;

use model::api::requests::DriveRequest;
use model::api::snapshot::Snapshot;
use model::code::DenialCode;
use model::failure::{Failure, chain};
use model::hint::Hint;
use serde_json::{Value, json};

pub use arguments::Arguments;
use arguments::Verb;
use client::{Client, ClientError, segment};
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

    fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
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
                | DenialCode::StoreError
                | DenialCode::InternalError => exit::FAILED,
                DenialCode::NoSuchPath
                | DenialCode::WrongMethod
                | DenialCode::NoSuchDrive
                | DenialCode::AmbiguousDrive
                | DenialCode::NoSuchMaster
                | DenialCode::NoSuchRecord
                | DenialCode::NoMedia
                | DenialCode::MediaInvalid
                | DenialCode::TooSmall
                | DenialCode::TooLarge
                | DenialCode::NotRunning
                | DenialCode::Busy
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
#[expect(clippy::print_stderr, reason = "errors go to standard error")]
pub async fn run(arguments: Arguments) -> u8 {
    let json = arguments.json;
    match perform(arguments).await {
        Ok(code) => code,
        Err(CommandError { exit, code, text, hint }) => {
            eprintln!("prestagectl: {text}");
            for line in hint.iter().flat_map(|hint| hint.lines()) {
                eprintln!("hint: {line}");
            }
            if json {
                let mut error = json!({ "exit": exit, "detail": text });
                if let Some(code) = code {
                    error["code"] = code.into();
                }
                if let Some(hint) = hint {
                    error["hint"] = hint.into();
                }
                put(&json!({ "error": error }).to_string());
            }
            exit
        }
    }
}

async fn perform(arguments: Arguments) -> Result<u8, CommandError> {
    let client = Client::new(&arguments.socket);
    let out = Output { json: arguments.json };
    match arguments.verb {
        Verb::Status => {
            let snapshot: Snapshot = client.get("/v1/status").await?;
            out.print(&snapshot, |terminal| status::render(&snapshot, terminal));
            Ok(exit::DONE)
        }
        Verb::Watch => {
            watch::perform(&client, out.json).await?;
            Ok(exit::DONE)
        }
        Verb::Arm => command(&client, &out, "/v1/arm", "armed").await,
        Verb::Disarm => command(&client, &out, "/v1/disarm", "disarmed").await,
        Verb::Drives(arguments) => drives::perform(&client, &out, &arguments).await,
        Verb::Bays(verb) => bays::perform(&client, &out, &verb).await,
        Verb::Media(verb) => media::perform(&client, &out, &verb).await,
        Verb::Master(verb) => master::perform(&client, &out, &verb).await,
        Verb::Image { device, media } => {
            image::image(&client, &out, &DriveRequest { device, media }).await
        }
        Verb::Audit { device, media } => {
            audit::perform(&client, &out, &DriveRequest { device, media }).await
        }
        Verb::Records(arguments) => records::perform(&client, &out, &arguments).await,
        Verb::Retry { drive } => image::retry(&client, &out, &drive).await,
        Verb::Explain { code } => explain::perform(&out, code.as_deref()),
        Verb::Stop { drive } => {
            let path = format!("/v1/drives/{}/stop", segment(&drive));
            command(&client, &out, &path, "told to stop").await
        }
        Verb::Release { bay } => {
            let path = format!("/v1/bays/{}/release", segment(&bay));
            command(&client, &out, &path, "released").await
        }
    }
}

/// Tells the daemon to do something that is done at once.
async fn command(
    client: &Client,
    out: &Output,
    path: &str,
    done: &str,
) -> Result<u8, CommandError> {
    let _: Value = client.post(path, &json!({})).await?;
    out.done(done)
}
