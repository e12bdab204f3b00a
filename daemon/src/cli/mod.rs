//! `prestagectl`: everything an operator does, over the daemon's socket.

mod bays;
pub mod client;
mod follow;
mod show;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use serde::Serialize;
use serde_json::json;

use crate::api::{Attempt, DriveRequest, PressRequest};
use crate::config;
use crate::job::Verdict;
use crate::record::Record;
use crate::station::snapshot::{MediaState, MediaView, Snapshot};
use crate::units::Bytes;
use client::{Client, ClientError, segment};
use follow::Ended;

/// Exit codes; 64 and above are those of sysexits.h.
pub mod exit {
    /// Done, passed, same.
    pub const DONE: u8 = 0;
    /// The drive or the media failed.
    pub const FAILED: u8 = 1;
    /// Refused before any byte was written.
    pub const REFUSED: u8 = 2;
    /// Wrong command line.
    pub const USAGE: u8 = 64;
    /// The daemon does not answer.
    pub const UNAVAILABLE: u8 = 69;
    /// The daemon may not be spoken to.
    pub const NOT_PERMITTED: u8 = 77;

    /// The configuration is wrong, or cannot be written.
    pub const CONFIGURATION: u8 = 78;

    /// All of them, for the manual.
    pub const MEANINGS: [(u8, &str); 7] = [
        (DONE, "done"),
        (FAILED, "the drive or the media failed"),
        (REFUSED, "refused before any byte was written"),
        (USAGE, "wrong command line"),
        (UNAVAILABLE, "the daemon does not answer"),
        (NOT_PERMITTED, "not permitted"),
        (CONFIGURATION, "the configuration is wrong, or cannot be written"),
    ];
}

/// Talks to a running prestaged.
#[derive(Debug, Parser)]
#[command(name = "prestagectl", version, subcommand_required = true)]
pub struct Arguments {
    /// Control socket of the daemon.
    #[arg(long, global = true, env = "PRESTAGED_SOCKET", default_value = config::DEFAULT_SOCKET)]
    socket: PathBuf,
    /// One JSON document instead of text (one per line with `watch`).
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the station: armed or not, media, masters, bays and drives.
    Status,
    /// The same, live, until interrupted.
    Watch,
    /// Allow the station to write to admitted drives.
    Arm,
    /// Forbid it; running drives finish.
    Disarm,
    /// List every block device seen, admitted or refused, and why.
    Drives,
    /// Names of bays.
    #[command(subcommand)]
    Bays(bays::BaysVerb),
    /// Media in the inbox.
    #[command(subcommand)]
    Media(MediaVerb),
    /// Masters in the store.
    #[command(subcommand)]
    Master(MasterVerb),
    /// Image one drive by hand, through the same admission as a plugged one.
    Image {
        /// Device, such as /dev/sdb.
        device: String,
        /// Media to use; the newest valid one if not given.
        #[arg(long)]
        media: Option<String>,
    },
    /// Compare every file, stream and attribute on a drive with the media. Reads only.
    Audit {
        /// Device, such as /dev/sdb.
        device: String,
        /// Media to compare with; the one the drive was imaged with if not given.
        #[arg(long)]
        media: Option<String>,
    },
    /// List the ledger, oldest first.
    Records {
        /// Only of this serial number.
        #[arg(long)]
        serial: Option<String>,
        /// Only since: a date, an RFC 3339 time, or how long ago (such as 8h).
        #[arg(long)]
        since: Option<String>,
        /// Only with this verdict: passed, failed, refused or stopped.
        #[arg(long)]
        verdict: Option<String>,
        /// Comma-separated values.
        #[arg(long, conflicts_with = "json")]
        csv: bool,
    },
    /// Image an attached drive once more.
    Retry {
        /// Serial number.
        serial: String,
    },
    /// Stop the job of a drive.
    Stop {
        /// Serial number.
        serial: String,
    },
}

#[derive(Debug, Subcommand)]
enum MediaVerb {
    /// List them.
    List,
    /// Show what is known of one.
    Show {
        /// File name.
        name: String,
    },
    /// Read and verify one again.
    Verify {
        /// File name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum MasterVerb {
    /// List them.
    List,
    /// Press one ahead of need.
    Press {
        /// Media to press.
        #[arg(long)]
        media: String,
        /// Drive size, such as 512110190592 or 500GB.
        #[arg(long)]
        size: Bytes,
        /// Logical sector size of the drive.
        #[arg(long, default_value = "512")]
        sector: u32,
    },
    /// Remove one, or cancel its press.
    Remove {
        /// Its name.
        id: String,
    },
}

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

/// Does what the command line says; returns the exit code.
#[expect(clippy::print_stderr, reason = "errors go to standard error")]
pub async fn run(arguments: Arguments) -> u8 {
    let json = arguments.json;
    match perform(&arguments).await {
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

async fn perform(arguments: &Arguments) -> Result<u8, Failure> {
    let client = Client::new(&arguments.socket);
    let out = Output { json: arguments.json };
    match &arguments.verb {
        Verb::Status => {
            let snapshot: Snapshot = client.get("/v1/status").await?;
            out.print(&snapshot, || show::status(&snapshot));
            Ok(exit::DONE)
        }
        Verb::Watch => {
            follow::watch(&client, arguments.json).await?;
            Ok(exit::DONE)
        }
        Verb::Arm => out.done(client.post("/v1/arm", &json!({})).await?, "armed"),
        Verb::Disarm => out.done(client.post("/v1/disarm", &json!({})).await?, "disarmed"),
        Verb::Drives => {
            let snapshot: Snapshot = client.get("/v1/status").await?;
            out.print(&snapshot.devices, || show::devices(&snapshot.devices));
            Ok(exit::DONE)
        }
        Verb::Bays(verb) => bays::perform(&client, &out, verb).await,
        Verb::Media(verb) => media(&client, &out, verb).await,
        Verb::Master(verb) => master(&client, &out, verb).await,
        Verb::Image { device, media } => {
            let request = DriveRequest { device: device.clone(), media: media.clone() };
            let attempt: Attempt = client.post("/v1/image", &request).await?;
            image(&client, &out, &attempt).await
        }
        Verb::Retry { serial } => {
            let path = format!("/v1/drives/{}/retry", segment(serial));
            let attempt: Attempt = client.post(&path, &json!({})).await?;
            image(&client, &out, &attempt).await
        }
        Verb::Stop { serial } => {
            let path = format!("/v1/drives/{}/stop", segment(serial));
            out.done(client.post(&path, &json!({})).await?, "told to stop")
        }
        Verb::Audit { device, media } => {
            let request = DriveRequest { device: device.clone(), media: media.clone() };
            let lines = client.post_lines("/v1/audit", &request).await?;
            let report = follow::audit(lines, arguments.json).await?;
            out.print(&report, || show::audit(&report));
            Ok(if report.is_same() { exit::DONE } else { exit::FAILED })
        }
        Verb::Records { serial, since, verdict, csv } => {
            let since = since.as_deref().map(show::parse_since).transpose().map_err(usage)?;
            let records: Vec<Record> = client
                .get(&records_path(serial.as_deref(), since.as_deref(), verdict.as_deref()))
                .await?;
            if *csv {
                let table =
                    show::csv(&records).map_err(|text| Failure { code: exit::FAILED, text })?;
                put(table.trim_end());
            } else {
                out.print(&records, || show::records(&records));
            }
            Ok(exit::DONE)
        }
    }
}

fn usage(text: String) -> Failure {
    Failure { code: exit::USAGE, text }
}

fn records_path(serial: Option<&str>, since: Option<&str>, verdict: Option<&str>) -> String {
    let pairs = [("serial", serial), ("since", since), ("verdict", verdict)];
    let query: Vec<String> = pairs
        .iter()
        .filter_map(|(key, value)| value.map(|value| format!("{key}={}", segment(value))))
        .collect();
    format!("/v1/records?{}", query.join("&"))
}

/// Writes a line to standard output. A reader that has seen enough (`| head`) is no error.
fn put(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        let closed = error.kind() == std::io::ErrorKind::BrokenPipe;
        std::process::exit(if closed { exit::DONE } else { exit::FAILED }.into());
    }
}

struct Output {
    json: bool,
}

impl Output {
    fn print(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        if self.json {
            put(&serde_json::to_string_pretty(value).unwrap_or_default());
        } else {
            put(text().trim_end());
        }
    }

    fn done(&self, _answer: serde_json::Value, text: &str) -> Result<u8, Failure> {
        self.print(&json!({ "done": text }), || text.to_owned());
        Ok(exit::DONE)
    }
}

/// Follows one attempt at a drive to its end.
async fn image(client: &Client, out: &Output, attempt: &Attempt) -> Result<u8, Failure> {
    let ended = follow::drive(client, attempt, !out.json).await?;
    let (verdict, record) = match ended {
        Ended::Record(record) => (record.verdict.unwrap_or(Verdict::Failed), Some(record)),
        Ended::Refused(refusals) => {
            let all: Vec<String> =
                refusals.iter().map(|r| format!("{}: {}", r.code, r.detail)).collect();
            out.print(&json!({ "verdict": "refused", "refusals": refusals }), || {
                format!("{} refused: {}", attempt.device, all.join("; "))
            });
            return Ok(exit::REFUSED);
        }
        Ended::Unrecorded(verdict, reason) => {
            let why = reason.as_ref().map(|r| format!(": {}: {}", r.code, r.detail));
            let text = format!("{} {verdict}{}", attempt.device, why.unwrap_or_default());
            out.print(&json!({ "verdict": verdict, "reason": reason }), || text);
            return Ok(exit_code(verdict));
        }
        Ended::Gone => {
            let text = format!("{} was detached", attempt.device);
            return Err(Failure { code: exit::FAILED, text });
        }
    };
    out.print(&record, || record.as_ref().map(|r| r.sentence()).unwrap_or_default());
    Ok(exit_code(verdict))
}

fn exit_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Passed => exit::DONE,
        Verdict::Failed | Verdict::Stopped => exit::FAILED,
        Verdict::Refused => exit::REFUSED,
    }
}

async fn find_media(client: &Client, name: &str) -> Result<MediaView, Failure> {
    let snapshot: Snapshot = client.get("/v1/status").await?;
    snapshot.media.into_iter().find(|media| media.name == name).ok_or_else(|| Failure {
        code: exit::REFUSED,
        text: format!("no media named {name:?} is in the inbox; see `prestagectl media list`"),
    })
}

async fn media(client: &Client, out: &Output, verb: &MediaVerb) -> Result<u8, Failure> {
    match verb {
        MediaVerb::List => {
            let snapshot: Snapshot = client.get("/v1/status").await?;
            out.print(&snapshot.media, || show::media_list(&snapshot.media));
            Ok(exit::DONE)
        }
        MediaVerb::Show { name } => {
            let media = find_media(client, name).await?;
            out.print(&media, || show::media(&media));
            Ok(exit::DONE)
        }
        MediaVerb::Verify { name } => {
            let path = format!("/v1/media/{}/verify", segment(name));
            let _: serde_json::Value = client.post(&path, &json!({})).await?;
            let media = follow::media(client, name, !out.json).await?;
            out.print(&media, || show::media(&media));
            Ok(if media.state == MediaState::Valid { exit::DONE } else { exit::FAILED })
        }
    }
}

async fn master(client: &Client, out: &Output, verb: &MasterVerb) -> Result<u8, Failure> {
    match verb {
        MasterVerb::List => {
            let snapshot: Snapshot = client.get("/v1/status").await?;
            let both = (&snapshot.masters, &snapshot.presses);
            out.print(&snapshot.masters, || show::masters(both.0, both.1));
            Ok(exit::DONE)
        }
        MasterVerb::Press { media, size, sector } => {
            let request = PressRequest {
                media: media.clone(),
                size_bytes: *size,
                logical_sector_bytes: *sector,
            };
            let answer: serde_json::Value = client.post("/v1/masters", &request).await?;
            let id = answer["id"].as_str().unwrap_or_default();
            match follow::press(client, id, !out.json).await? {
                Ok(master) => {
                    out.print(&master, || format!("{} pressed", master.id));
                    Ok(exit::DONE)
                }
                Err(reason) => {
                    let text = format!("press failed: {}: {}", reason.code, reason.detail);
                    Err(Failure { code: exit::FAILED, text })
                }
            }
        }
        MasterVerb::Remove { id } => {
            client.delete(&format!("/v1/masters/{}", segment(id))).await?;
            out.done(json!({}), "removed")
        }
    }
}
