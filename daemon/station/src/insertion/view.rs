//! An insertion as views show it.

use jiff::Timestamp;
use model::api::snapshot::{Decision, DeviceView, DriveView};
use model::code::ReasonCode;
use model::failure::Reason;
use model::job::Reading;
use model::manifest::MasterId;
use model::units::Bytes;
use model::verdict::Verdict;
use uuid::Uuid;

use super::{Insertion, Phase};
use crate::past;

impl Insertion {
    pub(crate) fn device_view(&self) -> DeviceView {
        let drive = &self.drive;
        let (decision, refusals) = match &self.phase {
            Phase::Judging | Phase::AwaitingMedia => (Decision::Pending, Vec::new()),
            Phase::Refused(refusals) => (Decision::Refused, refusals.clone()),
            Phase::Done(Verdict::Refused) => (Decision::Refused, Vec::new()),
            Phase::AwaitingMaster(_) | Phase::Running { .. } | Phase::Done(_) => {
                (Decision::Admitted, Vec::new())
            }
        };
        let reason = self.reason().filter(|_| decision == Decision::Refused);
        DeviceView {
            device: drive.node.display().to_string(),
            serial: drive.serial.clone(),
            wwn: drive.wwn.clone(),
            model: drive.model.clone(),
            bus: drive.bus.clone(),
            transport: drive.transport.clone(),
            bay: drive.bay.clone(),
            path: drive.path.clone(),
            size_bytes: drive.size,
            logical_sector_bytes: drive.logical_sector_bytes,
            attempt: self.attempt,
            decision,
            code: reason.as_ref().map(|reason| reason.code),
            detail: reason.as_ref().map(|reason| reason.detail.clone()),
            hint: reason.and_then(|reason| reason.hint),
            refusals,
        }
    }

    pub(super) fn verdict(&self) -> Option<Verdict> {
        match self.phase {
            Phase::Refused(_) => Some(Verdict::Refused),
            Phase::Done(verdict) => Some(verdict),
            Phase::Judging
            | Phase::AwaitingMedia
            | Phase::AwaitingMaster(_)
            | Phase::Running { .. } => None,
        }
    }

    /// The media that the drive gets or has got.
    fn media(&self) -> Option<&str> {
        match &self.phase {
            Phase::AwaitingMaster(recipe) => Some(&recipe.media_name),
            Phase::Running { media, .. } => Some(&media.name),
            Phase::Done(_) => self.record.as_ref()?.media.as_ref().map(|media| &*media.name),
            Phase::AwaitingMedia => self.requested_media.as_deref(),
            // What has passed before is shown as passed.
            Phase::Refused(_) if self.has_passed_before() => {
                self.held.as_ref().map(|media| &*media.name)
            }
            Phase::Judging | Phase::Refused(_) => None,
        }
    }

    /// Whether the drive is refused because it has passed in an earlier insertion.
    fn has_passed_before(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.code == ReasonCode::AlreadyPassed)
    }

    /// How much of the job is done once it has ended, 0 to 100: of the bytes of its master, each written and read back.
    #[expect(clippy::cast_precision_loss, reason = "for a progress bar")]
    fn reached(&self, payload: impl Fn(&MasterId) -> Option<Bytes>) -> f64 {
        if self.verdict() == Some(Verdict::Passed) || self.has_passed_before() {
            return 100.0;
        }
        let record = self.record.as_ref().filter(|_| matches!(self.phase, Phase::Done(_)));
        let master = record.and_then(|record| Some((record, record.master.as_ref()?)));
        match master.and_then(|(record, master)| Some((record, payload(&master.id)?))) {
            Some((record, payload)) if payload > Bytes(0) => {
                let moved = record.written_bytes + record.verified_bytes;
                // Not the end, whatever was read twice: the drive has not passed.
                (moved.0 as f64 / payload.0 as f64 * 50.0).min(99.0)
            }
            _ => 0.0,
        }
    }

    /// When the drive got its verdict, by the record of it.
    fn ended(&self) -> Option<Timestamp> {
        self.verdict().and(self.record.as_ref()).and_then(past::closed)
    }

    /// The order that the drive belongs to, and which job for it this is. A station that has been started anew decides nothing
    /// about a drive that has its verdict; the record knows.
    fn of_order(&self) -> Option<(String, Option<u32>)> {
        let decided = self.order.as_ref().map(|order| (order.number.clone(), Some(order.attempt)));
        let record = self.record.as_ref().filter(|_| matches!(self.phase, Phase::Done(_)));
        decided.or_else(|| record.and_then(|record| Some((record.order.clone()?, record.attempt))))
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        match &self.phase {
            Phase::Refused(refusals) => match &refusals[..] {
                // Who looks before arming must see which drives would be imaged.
                [first, next, ..] if first.code == ReasonCode::NotArmed => {
                    let detail = format!(
                        "{}; armed, it refuses the drive: {}",
                        first.detail,
                        next.sentence()
                    );
                    let hint = next.hint.clone();
                    Some(Reason { detail, hint, ..first.clone() })
                }
                [first, ..] => {
                    Some(match self.failed.as_ref().and_then(|one| one.reason.as_ref()) {
                        Some(failed) => {
                            let detail =
                                format!("{}; its last job failed: {}", first.detail, failed.code);
                            Reason { detail, ..first.clone() }
                        }
                        None => first.clone(),
                    })
                }
                [] => None,
            },
            Phase::Done(_) => self.record.as_ref().and_then(|record| record.reason.clone()),
            Phase::Judging
            | Phase::AwaitingMedia
            | Phase::AwaitingMaster(_)
            | Phase::Running { .. } => None,
        }
    }

    /// The drive as views show it. `reading` tells how far a running job has come, `payload` the bytes that a master
    /// writes.
    pub(crate) fn drive_view(
        &self,
        reading: &dyn Fn(Uuid) -> Option<Reading>,
        payload: impl Fn(&MasterId) -> Option<Bytes>,
    ) -> DriveView {
        let drive = &self.drive;
        let job = match self.phase {
            Phase::Running { job, .. } => Some(job),
            _ => None,
        };
        let reading = job.and_then(reading);
        let verdict = self.verdict();
        let record = self.record.as_ref().filter(|_| matches!(self.phase, Phase::Done(_)));
        let order = self.of_order();
        DriveView {
            serial: drive.serial.clone(),
            bay: drive.bay.clone(),
            device: drive.node.display().to_string(),
            model: drive.model.clone(),
            bus: drive.bus.clone(),
            size_bytes: drive.size,
            state: reading.map_or(self.phase.state(), |reading| reading.state),
            attempt: self.attempt,
            percent: reading.map_or_else(|| self.reached(payload), |reading| reading.percent),
            bytes_per_second: reading.map(|reading| reading.rate),
            limited_by: match reading {
                Some(reading) => reading.bottleneck,
                None => record.and_then(|record| record.verify_limited_by),
            },
            eta_seconds: reading.and_then(|reading| reading.left).map(|left| left.as_secs()),
            verdict,
            reason: self.reason(),
            ended: self.ended(),
            warnings: record.map(|record| record.warnings.clone()).unwrap_or_default(),
            job: job.or(record.map(|record| record.job)),
            order_attempt: order.as_ref().and_then(|(_, attempt)| *attempt),
            order: order.map(|(number, _)| number),
            media: self.media().map(str::to_owned),
        }
    }
}
