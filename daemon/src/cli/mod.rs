//! `prestagectl`: everything an operator does, over the daemon's socket. A file per verb; each makes its text from what
//! the daemon answers, for a terminal of some width or for a pipe, and prints nothing itself.

mod arguments;
mod audit;
mod bays;
mod client;
mod csv;
mod drives;
pub mod exit;
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

use serde_json::{Value, json};

use crate::api::DriveRequest;
use crate::station::snapshot::Snapshot;
pub use arguments::Arguments;
use arguments::Verb;
use client::{Client, ClientError, segment};
use output::{Output, put};

/// Why a verb did not end well, with the exit code it gives.
#[derive(Debug)]
struct Failure {
    code: u8,
    text: String,
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::Unreachable { .. }
            | ClientError::Broken(_)
            | ClientError::Unreadable(_) => exit::UNAVAILABLE,
            ClientError::Forbidden(_) => exit::NOT_PERMITTED,
            ClientError::Refused(refusal) => match refusal.code.as_str() {
                "bad_request" => exit::USAGE,
                "ending" => exit::UNAVAILABLE,
                "not_permitted" => exit::NOT_PERMITTED,
                "ledger_unavailable" => exit::FAILED,
                _ => exit::REFUSED,
            },
        };
        Self { code, text: crate::worker::chain(&error) }
    }
}

fn usage(text: String) -> Failure {
    Failure { code: exit::USAGE, text }
}

/// Does what the command line says; returns the exit code.
#[expect(clippy::print_stderr, reason = "errors go to standard error")]
pub async fn run(arguments: Arguments) -> u8 {
    let json = arguments.json;
    match perform(arguments).await {
        Ok(code) => code,
        Err(Failure { code, text }) => {
            eprintln!("prestagectl: {text}");
            if json {
                put(&json!({ "error": { "exit": code, "detail": text } }).to_string());
            }
            code
        }
    }
}

async fn perform(arguments: Arguments) -> Result<u8, Failure> {
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
        Verb::Retry { serial } => image::retry(&client, &out, &serial).await,
        Verb::Stop { serial } => {
            let path = format!("/v1/drives/{}/stop", segment(&serial));
            command(&client, &out, &path, "told to stop").await
        }
    }
}

/// Tells the daemon to do something that is done at once.
async fn command(client: &Client, out: &Output, path: &str, done: &str) -> Result<u8, Failure> {
    let _: Value = client.post(path, &json!({})).await?;
    out.done(done)
}
