//! The insertion of a drive: what the station knows of it from its being attached to its being detached.

mod view;

use model::code::ReasonCode;
use model::drive::{Diskseq, Drive, Serial};
use model::failure::Refusal;
use model::health::Health;
use model::job::{State, Stop};
use model::manifest::{MasterId, Recipe};
use model::naming::Names;
use model::operator::{Consent, Operator};
use model::record::{MediaRef, Record};
use model::verdict::Verdict;
use uuid::Uuid;

use crate::earlier::telling;
use crate::wish::Wish;

/// Names an insertion. The kernel name alone does not: another drive may get it at once.
pub(crate) type Key = (String, Diskseq);

/// Names one decision about one insertion of a drive. A decision that is no longer the current one is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) key: Key,
    pub(crate) attempt: u64,
}

/// The place of a drive in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OfOrder {
    pub(crate) number: String,
    /// Which job of this serial number it is, or would be.
    pub(crate) attempt: u32,
}

/// What keeps a drive from being begun, beside nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// The station is disarmed.
    Arming,
    /// The station is disarmed, and there is no media yet.
    ArmingAndMedia,
}

/// One insertion.
#[derive(Debug)]
pub(crate) struct Insertion {
    pub(crate) drive: Drive,
    /// Number of the current attempt. The first, 1, begins by itself, each other one by an operator's command. Results
    /// of earlier attempts are ignored.
    pub(crate) attempt: u64,
    /// An operator asked for the current attempt, so an earlier verdict does not prevent it.
    pub(crate) by_hand: bool,
    /// The store has failed a job of the current attempt, and the station has begun another one.
    again: bool,
    /// The drive is imaged even if it has passed: the operator has asked for that.
    pub(crate) even_if_passed: bool,
    /// Who asked for the current attempt.
    pub(crate) operator: Option<Operator>,
    /// Consent to lose what the drive holds. It is good for the current attempt, until that is refused.
    pub(crate) consent: Option<Consent>,
    /// Name of the media that the operator asked for.
    pub(crate) requested_media: Option<String>,
    /// Number of the order that the operator asked for.
    pub(crate) requested_order: Option<String>,
    /// The order that the drive belongs to, by the latest decision.
    pub(crate) order: Option<OfOrder>,
    /// What the drive told of its health when it was judged last.
    pub(crate) health: Option<Health>,
    phase: Phase,
    /// The insertion has a verdict other than `refused`: only an operator can begin another attempt.
    pub(crate) settled: bool,
    /// The latest record of this insertion.
    pub(crate) record: Option<Record>,
    /// The record of the last job that failed in this insertion, if the drive has not passed since.
    failed: Option<Record>,
    /// The media that a job has written to a drive with this serial number last, in any insertion.
    pub(crate) held: Option<MediaRef>,
    /// The drive is detached, but its job has not ended yet.
    pub(crate) departed: bool,
    /// The job's record is closed, but its thread still hangs in the kernel.
    pub(crate) stuck: bool,
}

/// The phase of an insertion.
#[derive(Debug)]
pub(crate) enum Phase {
    /// The facts about the drive are being gathered.
    Judging,
    /// Nothing speaks against the drive, but the media is still being verified.
    AwaitingMedia,
    /// The drive is not touched.
    Refused(Vec<Refusal>),
    /// The drive is admitted; its master is being looked for or pressed.
    AwaitingMaster(Box<Recipe>),
    /// A job runs.
    Running { stop: Stop, job: Uuid, master: MasterId, media: MediaRef },
    /// The drive has its verdict.
    Done(Verdict),
}

impl Phase {
    /// The state that views show for this phase. While a job runs, they show the job's own state instead.
    fn state(&self) -> State {
        match self {
            Self::Judging => State::Judging,
            Self::AwaitingMedia => State::WaitingForMedia,
            Self::Refused(_) | Self::Done(Verdict::Refused) => State::Refused,
            Self::AwaitingMaster(_) => State::WaitingForMaster,
            Self::Running { .. } => State::Claiming,
            Self::Done(Verdict::Passed) => State::Passed,
            Self::Done(Verdict::Failed) => State::Failed,
            Self::Done(Verdict::Stopped) => State::Stopped,
        }
    }
}

impl Insertion {
    pub(crate) fn new(drive: Drive) -> Self {
        Self {
            drive,
            attempt: 1,
            by_hand: false,
            again: false,
            settled: false,
            even_if_passed: false,
            operator: None,
            consent: None,
            requested_media: None,
            requested_order: None,
            order: None,
            health: None,
            phase: Phase::Judging,
            record: None,
            failed: None,
            held: None,
            departed: false,
            stuck: false,
        }
    }

    pub(crate) fn key(&self) -> Key {
        (self.drive.name.clone(), self.drive.diskseq)
    }

    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The ticket of the decision that is due.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { key: self.key(), attempt: self.attempt }
    }

    /// Goes on to another phase. If the table of states does not allow that, the station has made a mistake: it is
    /// logged, and the insertion stays in its phase.
    pub(crate) fn enter(&mut self, phase: Phase) {
        let (now, next) = (self.phase.state(), phase.state());
        if now != next
            && let Err(error) = now.advance(next)
        {
            if cfg!(test) {
                panic!("{error}");
            }
            let serial = self.drive.label();
            tracing::error!(serial, "the station made a mistake with drive {serial}: {error}");
            return;
        }
        self.phase = phase;
    }

    /// Takes up the closed record of a job. The states that the job went through were checked by the job.
    pub(crate) fn finish(&mut self, record: Record) {
        if let Some(verdict) = record.verdict {
            if verdict == Verdict::Refused {
                self.consent = None;
            }
            self.settled |= verdict != Verdict::Refused;
            self.note_failure(&record);
            self.held = record.media.clone().or(self.held.take());
            self.phase = Phase::Done(verdict);
        }
        self.record = Some(record);
    }

    fn note_failure(&mut self, record: &Record) {
        match record.verdict {
            Some(Verdict::Failed) => self.failed = Some(record.clone()),
            Some(Verdict::Passed) => self.failed = None,
            Some(Verdict::Refused | Verdict::Stopped) | None => {}
        }
    }

    /// What becomes of it when the drive is detached: one that has failed goes as such, whatever was refused or stopped
    /// since.
    pub(crate) fn detached(mut self) -> Self {
        if let Some(failed) = self.failed.take() {
            self.phase = Phase::Done(Verdict::Failed);
            self.record = Some(failed);
        }
        self
    }

    /// Takes up the ledger's records of this insertion, the oldest first. Returns whether the insertion has its verdict
    /// already, and no operator has asked for another attempt.
    ///
    /// An order that somebody has named for the drive stays its order over a restart: it is in the record.
    pub(crate) fn recall(&mut self, previous: Vec<Record>) -> bool {
        let named = previous.last().filter(|record| record.operator.is_some());
        if let Some(order) = named.and_then(|record| record.order.clone())
            && !self.by_hand
            && self.requested_order.is_none()
        {
            self.requested_order = Some(order);
        }
        if !self.settled {
            previous.iter().for_each(|record| self.note_failure(record));
            // A verdict from before the station's start still counts, whatever was refused since.
            let settled =
                previous.iter().any(|record| !record.is_refusal() && record.verdict.is_some());
            if settled || self.record.is_none() {
                (self.record, self.settled) = (telling(previous), settled);
            }
        }
        let verdict = self.record.as_ref().and_then(|record| record.verdict);
        match verdict {
            Some(verdict) if self.settled && !self.by_hand && !self.again => {
                self.phase = Phase::Done(verdict);
                true
            }
            _ => false,
        }
    }

    /// Begins another attempt, by an operator's command.
    pub(crate) fn begin_anew(&mut self, wish: Wish) {
        let Wish { media, order, even_if_passed, consent, by } = wish;
        self.attempt += 1;
        self.by_hand = true;
        self.again = false;
        self.even_if_passed = even_if_passed;
        self.operator = Some(by);
        self.consent = consent;
        self.requested_media = media;
        self.requested_order = order;
        self.order = None;
        self.phase = Phase::Judging;
    }

    /// Whether the drive is done: it has passed in this insertion, and nobody has asked for another attempt since.
    pub(crate) fn has_passed(&self) -> bool {
        matches!(self.phase, Phase::Done(Verdict::Passed))
    }

    /// All that the drive can be called.
    pub(crate) fn names(&self) -> Names<'_> {
        Names {
            serial: self.drive.serial.as_ref().map(Serial::as_str),
            kernel: &self.drive.name,
            bay: &self.drive.bay.0,
        }
    }

    /// Begins the current attempt again, after a job that the store has failed; returns whether that may be: it may once.
    pub(crate) fn begin_again(&mut self) -> bool {
        if self.again {
            return false;
        }
        self.again = true;
        self.phase = Phase::Judging;
        true
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    /// Whether the drive is being imaged, or waits for its master.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.phase, Phase::Running { .. } | Phase::AwaitingMaster(_))
    }

    /// Whether the facts about the drive are still needed: for its first decision, or for the second one when its
    /// master is at hand.
    pub(crate) fn is_being_judged(&self) -> bool {
        matches!(self.phase, Phase::Judging | Phase::AwaitingMaster(_))
    }

    /// Whether the drive waits for the master with this name.
    pub(crate) fn awaits(&self, id: &MasterId) -> bool {
        matches!(&self.phase, Phase::AwaitingMaster(recipe) if recipe.id() == *id)
    }

    /// The decisive refusal, while the drive is refused.
    fn refusal(&self) -> Option<&Refusal> {
        match &self.phase {
            Phase::Refused(refusals) => refusals.first(),
            _ => None,
        }
    }

    /// Whether the drive does not belong to the station, by its bus or its bay.
    pub(crate) fn is_out_of_scope(&self) -> bool {
        match &self.phase {
            Phase::Refused(refusals) => refusals.iter().any(|r| r.code.is_out_of_scope()),
            _ => false,
        }
    }

    /// Whether the decision may change when the station is armed, or its media or its ledger changes.
    pub(crate) fn may_change(&self) -> bool {
        match &self.phase {
            Phase::AwaitingMedia => true,
            // Every reason is shown, so none may be out of date.
            Phase::Refused(refusals) => {
                !self.settled && refusals.iter().any(|refusal| refusal.code.lies_with_station())
            }
            // Refused when it was claimed.
            Phase::Done(Verdict::Refused) => {
                !self.settled && self.reason().is_some_and(|reason| reason.code.lies_with_station())
            }
            _ => false,
        }
    }

    /// Whether the drive was refused because no record can be kept, and only the ledger's being back changes that: whenever
    /// it was claimed, or while that is `known` to lack.
    pub(crate) fn awaits_ledger(&self, known: bool) -> bool {
        let claimed = matches!(self.phase, Phase::Done(_));
        let code = self.reason().map(|reason| reason.code);
        code == Some(ReasonCode::LedgerUnavailable) && (claimed || known)
    }

    /// Whether the drive is refused for exactly this, and nothing that a drive could be blamed for.
    pub(crate) fn lacks(&self, lack: Lack) -> bool {
        let Phase::Refused(refusals) = &self.phase else { return false };
        let is = |refusal: &Refusal| match lack {
            Lack::Arming => refusal.code == ReasonCode::NotArmed,
            Lack::ArmingAndMedia => {
                matches!(refusal.code, ReasonCode::NotArmed | ReasonCode::NoMedia)
            }
        };
        let only_arming = refusals.iter().all(|one| one.code == ReasonCode::NotArmed);
        !self.settled
            && refusals.iter().all(is)
            && (lack == Lack::Arming || !only_arming)
            && refusals.iter().any(|one| one.code == ReasonCode::NotArmed)
    }

    /// Whether the drive was refused because another one has its serial number. It is judged again when that one is
    /// detached.
    pub(crate) fn is_refused_as_twin(&self) -> bool {
        !self.settled && self.refusal().is_some_and(|r| r.code == ReasonCode::DuplicateSerial)
    }
}
