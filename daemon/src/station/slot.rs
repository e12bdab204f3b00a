//! One inserted drive as the station knows it.

use std::sync::Arc;

use uuid::Uuid;

use super::snapshot::{Decision, DeviceView, DriveView};
use crate::admission::{Code, Refusal};
use crate::drive::{Diskseq, Drive};
use crate::job::Reason;
use crate::job::{State, Stop, Verdict};
use crate::master::{MasterId, Recipe};
use crate::record::Record;
use crate::replicate::progress::Progress;

/// Names an insertion: the kernel name alone is reused at once.
pub(super) type Key = (String, Diskseq);

/// One insertion.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) drive: Drive,
    /// Counts decisions asked for by an operator, from 1; results of earlier ones are stale.
    pub(super) attempt: u64,
    /// The operator asked for this attempt: an earlier verdict does not stand against it.
    pub(super) by_hand: bool,
    /// Media the operator asked for.
    pub(super) wish: Option<String>,
    pub(super) phase: Phase,
    /// Whether a job has touched the drive in this insertion: then only an operator starts another.
    pub(super) imaged: bool,
    /// The latest record of this insertion.
    pub(super) record: Option<Record>,
    /// Detached, but its job has not noticed yet.
    pub(super) departed: bool,
    /// Its job was closed while its thread was stuck in the kernel, where it still is.
    pub(super) stuck: bool,
}

/// Where an insertion stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// Its facts are being read.
    Judging,
    /// Nothing speaks against it, but the media is still being verified.
    AwaitingMedia,
    /// Not touched.
    Refused(Vec<Refusal>),
    /// Admitted; its master is being looked for or pressed.
    Waiting(Box<Recipe>),
    /// A job runs.
    Running { progress: Arc<Progress>, stop: Stop, job: Uuid, master: MasterId },
    /// Has its verdict.
    Done,
}

impl Slot {
    pub(super) fn new(drive: Drive) -> Self {
        Self {
            drive,
            attempt: 1,
            by_hand: false,
            imaged: false,
            wish: None,
            phase: Phase::Judging,
            record: None,
            departed: false,
            stuck: false,
        }
    }

    pub(super) fn key(&self) -> Key {
        (self.drive.name.clone(), self.drive.diskseq)
    }

    /// Starts over on behalf of an operator.
    pub(super) fn begin_anew(&mut self, wish: Option<String>) {
        self.attempt += 1;
        self.by_hand = true;
        self.wish = wish;
        self.phase = Phase::Judging;
    }

    /// Whether the drive is none of the station's business.
    pub(super) fn is_out_of_scope(&self) -> bool {
        match &self.phase {
            Phase::Refused(refusals) => refusals.iter().any(|r| r.code.is_out_of_scope()),
            _ => false,
        }
    }

    /// Whether the decision may change without anybody touching the drive.
    pub(super) fn is_waiting(&self) -> bool {
        match &self.phase {
            Phase::AwaitingMedia => true,
            Phase::Refused(refusals) if !self.imaged => {
                refusals.first().is_some_and(|r| r.code.is_waiting())
            }
            _ => false,
        }
    }

    /// Whether it was refused because another drive has its serial number, and may be judged anew when that goes.
    pub(super) fn is_refused_as_twin(&self) -> bool {
        match &self.phase {
            Phase::Refused(refusals) if !self.imaged => {
                refusals.first().is_some_and(|r| r.code == Code::DuplicateSerial)
            }
            _ => false,
        }
    }

    pub(super) fn device_view(&self) -> DeviceView {
        let drive = &self.drive;
        let (decision, refusals) = match &self.phase {
            Phase::Judging | Phase::AwaitingMedia => (Decision::Pending, Vec::new()),
            Phase::Refused(refusals) => (Decision::Refused, refusals.clone()),
            Phase::Done if self.verdict() == Some(Verdict::Refused) => {
                (Decision::Refused, Vec::new())
            }
            Phase::Waiting(_) | Phase::Running { .. } | Phase::Done => {
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
            bay: drive.bay.clone(),
            path: drive.path.clone(),
            size_bytes: drive.size,
            logical_sector_bytes: drive.logical_sector_bytes,
            attempt: self.attempt,
            decision,
            code: reason.as_ref().map(|r| r.code.clone()),
            detail: reason.map(|r| r.detail),
            refusals,
        }
    }

    fn verdict(&self) -> Option<Verdict> {
        match &self.phase {
            Phase::Refused(_) => Some(Verdict::Refused),
            Phase::Done => self.record.as_ref().and_then(|record| record.verdict),
            Phase::Judging | Phase::AwaitingMedia | Phase::Waiting(_) | Phase::Running { .. } => {
                None
            }
        }
    }

    fn reason(&self) -> Option<Reason> {
        match &self.phase {
            Phase::Refused(refusals) => refusals
                .first()
                .map(|r| Reason { code: r.code.to_string(), detail: r.detail.clone() }),
            Phase::Done => self.record.as_ref().and_then(|record| record.reason.clone()),
            Phase::Judging | Phase::AwaitingMedia | Phase::Waiting(_) | Phase::Running { .. } => {
                None
            }
        }
    }

    pub(super) fn drive_view(&self) -> DriveView {
        let drive = &self.drive;
        let reading = match &self.phase {
            Phase::Running { progress, .. } => Some(progress.read()),
            _ => None,
        };
        let verdict = self.verdict();
        let state = match (&self.phase, verdict) {
            (Phase::Judging, _) => State::Judging,
            (Phase::AwaitingMedia, _) => State::WaitingForMedia,
            (Phase::Waiting(_), _) => State::WaitingForMaster,
            (Phase::Running { .. }, _) => reading.map_or(State::Claiming, |r| r.state),
            (_, Some(Verdict::Passed)) => State::Passed,
            (_, Some(Verdict::Failed)) => State::Failed,
            (_, Some(Verdict::Stopped)) => State::Stopped,
            (_, Some(Verdict::Refused) | None) => State::Refused,
        };
        let done = if verdict == Some(Verdict::Passed) { 100.0 } else { 0.0 };
        let record = self.record.as_ref().filter(|_| matches!(self.phase, Phase::Done));
        DriveView {
            serial: drive.serial.clone(),
            bay: drive.bay.clone(),
            device: drive.node.display().to_string(),
            model: drive.model.clone(),
            bus: drive.bus.clone(),
            size_bytes: drive.size,
            state,
            attempt: self.attempt,
            percent: reading.map_or(done, |r| r.percent),
            bytes_per_second: reading.map(|r| r.rate),
            limited_by: match reading {
                Some(reading) => reading.bound,
                None => record.and_then(|record| record.verify_limited_by),
            },
            eta_seconds: reading.and_then(|r| r.left).map(|left| left.as_secs()),
            verdict,
            reason: self.reason(),
            warnings: record.map(|record| record.warnings.clone()).unwrap_or_default(),
            job: match &self.phase {
                Phase::Running { job, .. } => Some(*job),
                _ => record.map(|record| record.job),
            },
        }
    }
}
