//! What a shell completes beside verbs and options: what drives, bays, media, orders and masters there are at this moment,
//! as the station says, and codes. A station that does not answer at once has no names to offer.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::CommandFactory as _;
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use model::advice;
use model::api::line::RecordLine;
use model::api::orders::OrderView;
use model::api::snapshot::{DriveView, MediaView, Snapshot};
use model::record::Record;

use super::Arguments;
use super::client::{Client, ClientError};

/// The shell asks for completions by this variable. Its name is ours alone: under clap's own, `COMPLETE`, a
/// variable that is set for something else would turn every command into a completion.
pub const VARIABLE: &str = "PRESTAGECTL_COMPLETE";
/// How long a person who has pressed Tab is kept waiting.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many of the latest records are looked at for serial numbers of drives that have gone.
const LATEST: u32 = 200;

/// Answers a shell that asks for completions, and ends the program then; else it does nothing.
pub fn complete() {
    CompleteEnv::with_factory(Arguments::command).var(VARIABLE).complete();
}

/// What a drive can be called: serial numbers, bays, devices.
pub(super) fn drives() -> ArgValueCandidates {
    of_station(|station| {
        let named = station.drives.iter().flat_map(|drive| {
            let serial = drive.serial.as_ref().map(ToString::to_string);
            let bay = Some(drive.bay.0.clone());
            let told = [&drive.bay.0, drive.model.as_deref().unwrap_or_default()].join(" ");
            [
                (serial, told),
                (bay, drive.name().to_owned()),
                (Some(drive.device.clone()), String::new()),
            ]
        });
        named.filter_map(|(name, told)| Some(candidate(name?, &told))).collect()
    })
}

/// Names of bays: those of the configuration, and those in which there is a drive, or was.
pub(super) fn bays() -> ArgValueCandidates {
    of_station(|station| {
        let there = station.drives.iter().chain(station.departed.iter().map(|gone| &gone.drive));
        let held = |drive: &DriveView| candidate(drive.bay.0.clone(), drive.name());
        let named = station.bays.iter().map(|bay| candidate(bay.name.clone(), &bay.path));
        // A bay that has a name is told once; the first of equal ones is kept.
        there.map(held).chain(named).collect()
    })
}

/// File names of media in the inbox.
pub(super) fn media() -> ArgValueCandidates {
    of_station(|station| {
        let one = |media: &MediaView| candidate(media.name.clone(), &media.offer.to_string());
        station.media.iter().map(one).collect()
    })
}

/// Names of masters.
pub(super) fn masters() -> ArgValueCandidates {
    of_station(|station| {
        let there = station.masters.iter().map(|master| (&master.id, &master.media));
        let pressed = station.presses.iter().map(|press| (&press.id, &press.media));
        there.chain(pressed).map(|(id, media)| candidate(id.to_string(), media)).collect()
    })
}

/// Numbers of orders, also of those that are closed.
pub(super) fn orders() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let orders: Vec<OrderView> = ask("/v1/orders?all=true").unwrap_or_default();
        orders
            .into_iter()
            .map(|order| candidate(order.number, &order.customer.unwrap_or_default()))
            .collect()
    })
}

/// Serial numbers of drives with a record, the latest first.
pub(super) fn serials() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let path = format!("/v1/records?last={LATEST}");
        let records = asked(async |client| {
            let (mut rows, mut records) = (client.records(&path).await?, Vec::new());
            while let Some(row) = rows.next().await? {
                if let RecordLine::Record(record) = row {
                    records.push(*record);
                }
            }
            Ok(records)
        });
        let one = |record: &Record| {
            let verdict = record.verdict.map(|verdict| verdict.to_string()).unwrap_or_default();
            Some(candidate(record.serial.as_ref()?.to_string(), &verdict))
        };
        unique(records.unwrap_or_default().iter().rev().filter_map(one).collect())
    })
}

/// All codes, with what they mean.
pub(super) fn codes() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let all = advice::all();
        unique(all.iter().map(|entry| candidate(entry.code.to_owned(), entry.meaning)).collect())
    })
}

fn candidate(name: String, told: &str) -> CompletionCandidate {
    let told = told.trim();
    CompletionCandidate::new(name).help((!told.is_empty()).then(|| told.to_owned().into()))
}

/// The first of those with one name.
fn unique(mut all: Vec<CompletionCandidate>) -> Vec<CompletionCandidate> {
    let mut seen = HashSet::new();
    all.retain(|one| seen.insert(one.get_value().to_owned()));
    all
}

fn of_station(names: fn(&Snapshot) -> Vec<CompletionCandidate>) -> ArgValueCandidates {
    ArgValueCandidates::new(move || {
        let station: Option<Snapshot> = ask("/v1/status");
        unique(station.as_ref().map(names).unwrap_or_default())
    })
}

/// What the station answers, if it does so soon.
fn ask<T: serde::de::DeserializeOwned>(path: &str) -> Option<T> {
    asked(async |client| client.get(path).await)
}

/// What comes of asking the station, if it comes soon.
fn asked<T>(ask: impl AsyncFnOnce(Client) -> Result<T, ClientError>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let client = Client::new(&socket(std::env::args_os()));
        tokio::time::timeout(PATIENCE, ask(client)).await.ok()?.ok()
    })
}

/// The socket that the words on the command line so far name, else that of the environment, else the usual one.
fn socket(words: impl Iterator<Item = OsString>) -> PathBuf {
    let mut words = words.skip_while(|word| word != OsStr::new("--")).skip(1);
    let mut named = None;
    while let Some(word) = words.next() {
        if word == "--socket" {
            named = words.next();
        } else if let Some(path) = word.to_str().and_then(|word| word.strip_prefix("--socket=")) {
            named = Some(path.into());
        }
    }
    let usual =
        || std::env::var_os("PRESTAGED_SOCKET").unwrap_or_else(|| config::DEFAULT_SOCKET.into());
    named.filter(|path| !path.is_empty()).unwrap_or_else(usual).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_the_one_on_the_command_line() {
        let of = |line: &str| socket(line.split(' ').map(Into::into));
        assert_eq!(
            of("prestagectl -- prestagectl --socket /run/a image "),
            PathBuf::from("/run/a")
        );
        assert_eq!(
            of("prestagectl -- prestagectl image --socket=/run/b "),
            PathBuf::from("/run/b")
        );
        // Words before the dashes are the shell's.
        assert_ne!(of("prestagectl --socket /run/c -- prestagectl image"), PathBuf::from("/run/c"));
    }

    #[test]
    fn each_name_is_offered_once_with_what_it_means() {
        let all = unique(codes().candidates());
        let one: Vec<_> = all.iter().filter(|one| one.get_value() == "not_blank").collect();
        assert!(matches!(&one[..], [one] if one.get_help().is_some()));
        assert!(all.len() > 50);
    }
}
