//! `image` and `retry`: one attempt at a drive, followed to its verdict.

use serde_json::json;
use uuid::Uuid;

use super::client::{Client, ClientError, segment};
use super::output::{Output, paragraph};
use super::progress::Progress;
use super::{CommandError, exit, watch};
use model::api::requests::{Attempt, DriveRequest};
use model::api::snapshot::{Decision, DeviceView, DriveView, Snapshot};
use model::code::DenialCode;
use model::drive::Serial;
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
}

pub(super) async fn image(
    client: &Client,
    out: &Output,
    request: &DriveRequest,
) -> Result<u8, CommandError> {
    let attempt: Attempt = client.post("/v1/image", request).await?;
    to_the_end(client, out, &attempt).await
}

pub(super) async fn retry(client: &Client, out: &Output, serial: &str) -> Result<u8, CommandError> {
    let path = format!("/v1/drives/{}/retry", segment(serial));
    let attempt: Attempt = client.post(&path, &json!({})).await?;
    to_the_end(client, out, &attempt).await
}

async fn to_the_end(client: &Client, out: &Output, attempt: &Attempt) -> Result<u8, CommandError> {
    let device = &attempt.device;
    match follow(client, attempt, !out.json).await? {
        Ended::Record(record) => {
            out.print(&record, |terminal| paragraph(&record.sentence(), terminal));
            Ok(exit_code(record.verdict.unwrap_or(Verdict::Failed)))
        }
        Ended::Unrecorded(verdict, reason) => {
            let why = reason.as_ref().map(|reason| format!(": {}", reason.sentence()));
            let text = format!("{device} {verdict}{}", why.unwrap_or_default());
            out.print(&json!({ "verdict": verdict, "reason": reason }), |terminal| {
                paragraph(&text, terminal)
            });
            Ok(exit_code(verdict))
        }
        Ended::Refused(refusals) => {
            out.print(&json!({ "verdict": "refused", "refusals": refusals }), |terminal| {
                paragraph(&refusal(device, &refusals), terminal)
            });
            Ok(exit::REFUSED)
        }
        Ended::Gone => Err(CommandError::new(exit::FAILED, format!("{device} was detached"))),
    }
}

/// The decisive reason, then each of the others on a line of its own.
fn refusal(device: &str, refusals: &[Refusal]) -> String {
    match refusals {
        [] => format!("{device} refused"),
        [first, others @ ..] => {
            let mut text = format!("{device} refused: {}", first.sentence());
            text.extend(first.hint.iter().map(|hint| format!("\nhint: {hint}")));
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

/// Waits until an attempt has ended.
async fn follow(client: &Client, attempt: &Attempt, shown: bool) -> Result<Ended, ClientError> {
    let mut events = client.events().await?;
    let progress = Progress::new(&attempt.device, shown);
    let mut serial = None;
    while let Some(snapshot) = events.next::<Snapshot>().await? {
        let Some(device) = device(&snapshot, attempt) else { break };
        serial = serial.or_else(|| device.serial.clone());
        let drive = snapshot.drives.iter().find(|drive| drive.device == attempt.device);
        if let Some(drive) = drive {
            progress.set(drive.percent, watch::message(drive, &snapshot));
        }
        match stage(device, drive) {
            Stage::Running => {}
            Stage::Refused(refusals) => return Ok(Ended::Refused(refusals)),
            Stage::Closed { job, verdict, reason } => {
                let record = record_of(client, job, verdict).await?;
                return Ok(record.unwrap_or(Ended::Unrecorded(verdict, reason)));
            }
        }
    }
    last_record(client, serial).await
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

/// The record of a job, if the ledger has it with the verdict that the station shows.
async fn record_of(
    client: &Client,
    job: Uuid,
    verdict: Verdict,
) -> Result<Option<Ended>, ClientError> {
    let found: Result<Record, ClientError> = client.get(&format!("/v1/records/{job}")).await;
    match found {
        Ok(record) if record.verdict == Some(verdict) => Ok(Some(Ended::Record(Box::new(record)))),
        Ok(_) => Ok(None),
        Err(ClientError::Refused(denial)) if denial.code == DenialCode::NoSuchRecord => Ok(None),
        Err(error) => Err(error),
    }
}

/// How the last job of a detached drive ended, if its record is closed.
async fn last_record(client: &Client, serial: Option<Serial>) -> Result<Ended, ClientError> {
    let Some(serial) = serial else { return Ok(Ended::Gone) };
    let path = format!("/v1/records?serial={}", segment(serial.as_str()));
    let records: Vec<Record> = client.get(&path).await?;
    let last = records.into_iter().next_back().filter(|record| record.verdict.is_some());
    Ok(last.map_or(Ended::Gone, |record| Ended::Record(Box::new(record))))
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
             also bay_not_allowed: bay x is not in admission.bays\n\
             also not_armed: the station is disarmed"
        );
    }
}
