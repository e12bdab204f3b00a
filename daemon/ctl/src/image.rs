//! `image` and `retry`: one attempt at a drive, followed to its verdict.

use serde_json::json;
use uuid::Uuid;

use super::arguments::ImageArguments;
use super::client::{Client, ClientError, segment};
use super::output::{self, Output, paragraph};
use super::progress::Progress;
use super::{CommandError, ended, exit, node, watch};
use model::api::answers::Unrecorded;
use model::api::requests::{Attempt, ImageRequest};
use model::api::snapshot::{Decision, DeviceView, DriveView, Snapshot};
use model::code::DenialCode;
use model::failure::{Reason, Refusal};
use model::record::Record;
use model::verdict::Verdict;

/// How an attempt at a drive ended.
#[derive(Debug)]
enum Ended {
    Record(Box<Record>),
    /// With a verdict that is not in the ledger.
    Unrecorded(Verdict, Option<Reason>),
    /// Before a job was opened.
    Refused(Vec<Refusal>),
    /// The drive was detached, and no record tells how its job ended.
    Gone,
    /// Another attempt has begun, and no record tells how this one ended.
    Overtaken,
}

pub(super) async fn image(
    client: &Client,
    out: &Output,
    arguments: ImageArguments,
) -> Result<u8, CommandError> {
    let ImageArguments { device, media, order, again, overwrite, reason } = arguments;
    let overwrite = reason.filter(|_| overwrite);
    let request = ImageRequest { device: node(&device), media, order, again, overwrite };
    let attempt: Attempt = client.post("/v1/image", &request).await?;
    to_the_end(client, out, &attempt).await
}

pub(super) async fn retry(client: &Client, out: &Output, drive: &str) -> Result<u8, CommandError> {
    let path = format!("/v1/drives/{}/retry", segment(drive));
    let attempt: Attempt = client.post(&path, &json!({})).await?;
    to_the_end(client, out, &attempt).await
}

async fn to_the_end(client: &Client, out: &Output, attempt: &Attempt) -> Result<u8, CommandError> {
    let device = &attempt.device;
    let ended = tokio::select! {
        ended = follow(client, attempt, !out.json) => ended?,
        Ok(()) = tokio::signal::ctrl_c() => return Err(interrupted(device)),
    };
    match ended {
        Ended::Record(record) => {
            let hint = record.reason.as_ref().map(|reason| reason.what_now_for(device));
            let text = with_hint(record.sentence(), hint);
            out.print(&record, |terminal| paragraph(&text, terminal));
            Ok(exit_code(record.verdict.unwrap_or(Verdict::Failed)))
        }
        Ended::Unrecorded(verdict, reason) => {
            let why = reason.as_ref().map(|reason| format!(": {}", reason.sentence()));
            let hint = reason.as_ref().map(|reason| reason.what_now_for(device));
            let text = with_hint(format!("{device} {verdict}{}", why.unwrap_or_default()), hint);
            let ended = Unrecorded { verdict, reason, refusals: Vec::new() };
            out.print(&ended, |terminal| paragraph(&text, terminal));
            Ok(exit_code(verdict))
        }
        Ended::Refused(refusals) => {
            let text = refusal(device, &refusals);
            let reason = refusals.first().cloned();
            let ended = Unrecorded { verdict: Verdict::Refused, reason, refusals };
            out.print(&ended, |terminal| paragraph(&text, terminal));
            Ok(exit::REFUSED)
        }
        Ended::Gone => Err(CommandError::new(exit::FAILED, format!("{device} was detached"))),
        Ended::Overtaken => {
            let text = format!("another attempt at {device} has begun, so this one has no verdict");
            let error = CommandError::new(exit::OVERTAKEN, text);
            Err(error.with_hint(format!("`prestagectl drives {device}` tells how that one stands")))
        }
    }
}

/// Whoever ends prestagectl does not end what it has begun.
fn interrupted(device: &str) -> CommandError {
    let text = format!("no longer waits for {device}; the station goes on with it");
    CommandError::new(exit::INTERRUPTED, text).with_hint(format!(
        "`prestagectl status` shows how far it is, `prestagectl stop {device}` stops it"
    ))
}

fn with_hint(mut text: String, hint: Option<String>) -> String {
    text.extend(hint.map(|text| format!("\n{}", output::hint(&text, None))));
    text
}

/// The decisive reason, then each of the others on a line of its own.
fn refusal(device: &str, refusals: &[Refusal]) -> String {
    match refusals {
        [] => format!("{device} refused"),
        [first, others @ ..] => {
            let text = format!("{device} refused: {}", first.sentence());
            let mut text = with_hint(text, Some(first.what_now_for(device)));
            text.extend(others.iter().map(|other| format!("\nalso {}", other.sentence())));
            text
        }
    }
}

fn exit_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Passed => exit::DONE,
        Verdict::Failed | Verdict::Stopped => exit::FAILED,
        Verdict::Refused => exit::REFUSED,
    }
}

/// Waits until an attempt has ended. Only a record of this attempt's own job tells how: an earlier one of the same drive
/// may well say passed.
async fn follow(client: &Client, attempt: &Attempt, shown: bool) -> Result<Ended, CommandError> {
    let mut events = client.events().await?;
    let progress = Progress::new(&attempt.device, shown);
    let mut job = None;
    loop {
        let snapshot: Snapshot = match events.next().await {
            Ok(Some(snapshot)) => snapshot,
            Ok(None) | Err(ClientError::Broken(_)) => {
                let hint = "once it runs again, `prestagectl records` tells how the drive ended";
                return Err(ended().with_hint(hint));
            }
            Err(error) => return Err(error.into()),
        };
        let Some(device) = device(&snapshot, attempt) else {
            let there = snapshot.devices.iter().any(|device| device.device == attempt.device);
            let otherwise = if there { Ended::Overtaken } else { Ended::Gone };
            let Some(job) = job else { return Ok(otherwise) };
            let record = record_of(client, job).await?;
            return Ok(record.map_or(otherwise, |record| Ended::Record(Box::new(record))));
        };
        let drive = snapshot.drives.iter().find(|drive| drive.device == attempt.device);
        if let Some(drive) = drive {
            progress.set(drive.percent, watch::message(drive, &snapshot));
            job = drive.job.or(job);
        }
        match stage(device, drive) {
            Stage::Running => {}
            Stage::Refused(refusals) => return Ok(Ended::Refused(refusals)),
            Stage::Closed { job, verdict, reason } => {
                let record = match record_of(client, job).await {
                    Ok(record) => record.filter(|record| record.verdict == Some(verdict)),
                    // The station has ended with this job; it has told the verdict.
                    Err(ClientError::Unreachable { .. } | ClientError::Broken(_)) => None,
                    Err(error) => return Err(error.into()),
                };
                return Ok(record.map_or(Ended::Unrecorded(verdict, reason), |record| {
                    Ended::Record(Box::new(record))
                }));
            }
        }
    }
}

/// The attempt's device; none once it was detached or another attempt has begun.
fn device<'a>(snapshot: &'a Snapshot, attempt: &Attempt) -> Option<&'a DeviceView> {
    let device = snapshot.devices.iter().find(|device| device.device == attempt.device);
    device.filter(|device| device.attempt == attempt.attempt)
}

/// How far an attempt has come.
#[derive(Debug, PartialEq)]
enum Stage {
    Running,
    Refused(Vec<Refusal>),
    Closed { job: Uuid, verdict: Verdict, reason: Option<Reason> },
}

fn stage(device: &DeviceView, drive: Option<&DriveView>) -> Stage {
    if let Some(drive) = drive
        && let (Some(verdict), Some(job)) = (drive.verdict, drive.job)
    {
        return Stage::Closed { job, verdict, reason: drive.reason.clone() };
    }
    match device.decision {
        Decision::Refused => Stage::Refused(device.refusals.clone()),
        Decision::Pending | Decision::Admitted => Stage::Running,
    }
}

/// The record of a job, if the ledger has it and it is closed.
async fn record_of(client: &Client, job: Uuid) -> Result<Option<Record>, ClientError> {
    match client.get::<Record>(&format!("/v1/records/{job}")).await {
        Ok(record) => Ok(Some(record).filter(|record| record.verdict.is_some())),
        Err(ClientError::Refused(denial)) if denial.code == DenialCode::NoSuchRecord => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{Attempt, Stage, device, exit_code, refusal, stage};
    use crate::{exit, fixture};
    use model::code::ReasonCode as Code;
    use model::failure::Refusal;
    use model::verdict::Verdict;

    #[test]
    fn only_this_attempt_counts() {
        let station = fixture::station();
        let attempt = |attempt| Attempt { device: "/dev/sdc".into(), attempt };
        assert!(device(&station, &attempt(1)).is_some());
        assert!(device(&station, &attempt(2)).is_none(), "another attempt");
        let gone = Attempt { device: "/dev/sdz".into(), attempt: 1 };
        assert!(device(&station, &gone).is_none());
    }

    #[test]
    fn stages() {
        let station = fixture::station();
        let (mut device, mut drive) = (station.devices[2].clone(), station.drives[0].clone());
        assert_eq!(stage(&device, Some(&drive)), Stage::Running);
        assert_eq!(stage(&device, None), Stage::Running, "not shown as a drive yet");
        drive.verdict = Some(Verdict::Stopped);
        drive.job = None;
        assert_eq!(stage(&device, Some(&drive)), Stage::Running, "no job was opened");
        device.decision = model::api::snapshot::Decision::Refused;
        device.refusals = vec![Refusal::new(Code::Mounted, "mounted at /mnt")];
        assert_eq!(stage(&device, Some(&drive)), Stage::Refused(device.refusals.clone()));
        let job = uuid::Uuid::nil();
        drive.job = Some(job);
        let closed = Stage::Closed { job, verdict: Verdict::Stopped, reason: None };
        assert_eq!(stage(&device, Some(&drive)), closed, "the verdict counts first");
    }

    #[test]
    fn exit_codes() {
        let codes = [Verdict::Passed, Verdict::Failed, Verdict::Stopped, Verdict::Refused];
        assert_eq!(codes.map(exit_code), [exit::DONE, exit::FAILED, exit::FAILED, exit::REFUSED]);
    }

    #[test]
    fn the_decisive_reason_comes_first() {
        let refusals = [
            Refusal::new(Code::SystemDisk, "the running system is on it"),
            Refusal::new(Code::BayNotAllowed, "bay x is not in admission.bays"),
            Refusal::new(Code::NotArmed, "the station is disarmed"),
        ];
        assert_eq!(
            refusal("/dev/sda", &refusals),
            "/dev/sda refused: system_disk: the running system is on it\n\
             hint: leave it alone: the station itself runs from this drive\n\
             also bay_not_allowed: bay x is not in admission.bays\n\
             also not_armed: the station is disarmed"
        );
    }
}
