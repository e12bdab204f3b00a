//! The commands of operators.

use jiff::Timestamp;
use model::admission::MaximumSize;
use model::api::audit::AuditTask;
use model::api::command::{Command, ImageOrder};
use model::api::requests::{Armed, LampsReport, Stopped};
use model::api::snapshot::LampsView;
use model::code::{DenialCode, ReasonCode};
use model::drive::Geometry;
use model::failure::{Denial, Reason, Refusal};
use model::job::StopReason;
use model::layout::LayoutError;
use model::naming;
use model::offer::OfferChange;
use model::operator::Operator;
use model::verdict::Verdict;

use crate::Station;
use crate::catalog::MediaUnavailable;
use crate::drives::recipe;
use crate::history::vouched;
use crate::insertion::{Insertion, Key, Lack, Phase};
use crate::message::{Acceptance, Answer, Effect, Reply};
use crate::press_queue::Priority;
use crate::wish::Wish;

fn detached() -> Denial {
    Denial::new(DenialCode::NoSuchDrive, "the drive has just been detached")
}

fn no_such_media(name: &str) -> Denial {
    let detail = format!("no media named {name:?} is in the inbox");
    Denial::new(DenialCode::NoMedia, detail).with_hint("see `prestagectl media list --all`")
}

/// The answer to an operator if there is no media.
fn without_media(refusal: Refusal) -> Denial {
    let code = match refusal.code {
        ReasonCode::MediaInvalid => DenialCode::MediaInvalid,
        ReasonCode::MediaAmbiguous => DenialCode::MediaAmbiguous,
        _ => DenialCode::NoMedia,
    };
    Denial { code, detail: refusal.detail, hint: refusal.hint }
}

impl<M: Clone> Station<M> {
    pub(crate) fn command(
        &mut self,
        command: Command,
        reply: Reply,
        now: Timestamp,
    ) -> Vec<Effect<M>> {
        let mut effects = Vec::new();
        let result = match command {
            Command::Arm(true)
            | Command::Retry { .. }
            | Command::Image(_)
            | Command::Scan { .. }
            | Command::ScanBay { .. }
            | Command::Press { .. }
                if self.draining =>
            {
                let detail = "the station is ending; it begins nothing new";
                Err(Denial::new(DenialCode::Draining, detail))
            }
            Command::Arm(armed) => match self.tampering().filter(|_| armed).cloned() {
                Some(Refusal { detail, hint, .. }) => {
                    Err(Denial { code: DenialCode::LedgerTampered, detail, hint })
                }
                None => Ok(self.arm(armed, &mut effects)),
            },
            Command::Retry { drive, by } => self.find(&drive).and_then(|key| {
                // Under way, it is left alone, and nothing is asked for.
                let repeated = self.insertions.get(&key).filter(|one| !one.is_under_way());
                let (media, order) = repeated.map(Insertion::repeated).unwrap_or_default();
                let wish = Wish { media, order, even_if_passed: true, consent: None, by };
                self.begin_anew(&key, wish, &mut effects)
            }),
            Command::Image(order) => self.image(order, &mut effects),
            Command::Scan { order, bay, by } => self.scan(order, bay, by, now, &mut effects),
            Command::ScanBay { bay, by } => self.scan_bay(bay, by, now, &mut effects),
            Command::ForgetScans => Ok(self.forget_scans()),
            Command::Stop { drive } => self.stop(&drive, now, &mut effects),
            Command::Release { bay } => match self.departed.forget(&bay) {
                true => Ok(Answer::Done),
                false => Err(self.nothing_to_release(&bay)),
            },
            Command::Locate { called, off } => self.locate(&called, off, now),
            Command::Lamps(LampsReport { bays, troubles }) => {
                self.lamps = Some(LampsView { at: now, bays, troubles });
                Ok(Answer::Done)
            }
            Command::VerifyMedia { name } => match self.catalog.recheck(&name) {
                Some(path) => {
                    effects.push(Effect::Intake(path));
                    Ok(Answer::Done)
                }
                None => Err(no_such_media(&name)),
            },
            Command::Offer { media, offer, by } => match self.catalog.known(&media) {
                Some(sha256) => {
                    let Operator { uid, .. } = by;
                    let change =
                        OfferChange { media, sha256, offer, by: by.to_string(), uid, at: now };
                    return vec![Effect::Offer(change, reply)];
                }
                None => Err(no_such_media(&media)),
            },
            Command::AcceptMedia { name, reason, by } => match self.acceptance(&name, reason, by) {
                Ok(accepted) => return vec![Effect::AcceptMedia(Box::new(accepted), reply)],
                Err(denial) => Err(denial),
            },
            Command::Orders(changes) => return vec![self.change_orders(changes, reply)],
            Command::Press { media, geometry } => self.press_by_hand(&media, geometry),
            Command::RemoveMaster { id } if !id.is_valid() => {
                let detail = format!("there is no master {:?}", id.0);
                let denial = Denial::new(DenialCode::NoSuchMaster, detail);
                Err(denial.with_hint("see `prestagectl master list`"))
            }
            Command::RemoveMaster { id } if self.presses.is_running_for(&id) => {
                effects.push(Effect::CancelPress);
                Ok(Answer::Done)
            }
            Command::RemoveMaster { id } => return vec![Effect::RemoveMaster(id, reply)],
            Command::Audit { drive, media } => match self.audit_task(&drive, media.as_deref()) {
                Ok(task) => return vec![Effect::Audit(task, reply)],
                Err(denial) => Err(denial),
            },
            Command::Verify { drive } => match self.to_read(&drive) {
                Ok(insertion) => {
                    return vec![Effect::Verify(Box::new(insertion.drive.clone()), reply)];
                }
                Err(denial) => Err(denial),
            },
        };
        effects.push(Effect::Answer(reply, result));
        effects
    }

    /// What is accepted of media that is older than others were.
    fn acceptance(&self, name: &str, reason: String, by: Operator) -> Result<Acceptance, Denial> {
        let media = self.catalog.checked_media(name).ok_or_else(|| {
            let detail = format!("no media named {name:?} is in the inbox and checked");
            Denial::new(DenialCode::NoMedia, detail).with_hint("see `prestagectl media list`")
        })?;
        let manifest = vouched(&media).ok_or_else(|| {
            let detail = format!("nobody vouches for {name}, so it has no sequence to go back to");
            Denial::new(DenialCode::MediaInvalid, detail)
        })?;
        let (product, sequence) = (manifest.product.clone(), manifest.sequence);
        Ok(Acceptance { sha256: media.sha256, product, sequence, reason, by })
    }

    fn arm(&mut self, armed: bool, effects: &mut Vec<Effect<M>>) -> Answer {
        let done = if armed { "armed" } else { "disarmed" };
        tracing::warn!(armed, "the operator {done} the station");
        let labels = |which: &dyn Fn(&Insertion) -> bool| -> Vec<String> {
            let those = self.insertions.values().filter(|one| !one.departed && which(one));
            those.map(|one| one.drive.label()).collect()
        };
        let report = Armed {
            armed,
            already: self.setup.policy.armed == armed,
            starting: labels(&|one| armed && one.lacks(Lack::Arming)),
            waiting: labels(&|one| armed && one.lacks(Lack::ArmingAndMedia)),
            no_media: self
                .catalog
                .choose(None)
                .err()
                .and_then(MediaUnavailable::missing)
                .map(|refusal| format!("{}: {}", refusal.code, refusal.detail)),
            judging: labels(&|one| {
                armed && one.is_being_judged() && self.setup.policy.may_hold(&one.drive)
            }),
            running: labels(&Insertion::is_running),
            idle: self.idle(),
        };
        self.setup.policy.armed = armed;
        effects.extend(self.judge_changeable());
        Answer::Armed(report)
    }

    /// Why there is no verdict of a pulled drive that could be taken off the bay or serial number that was said.
    fn nothing_to_release(&self, said: &str) -> Denial {
        if let Some(there) = self.find(said).ok().and_then(|key| self.insertions.get(&key)) {
            let (label, bay) = (there.drive.label(), &there.drive.bay);
            let detail = format!("{label} is still in the bay {bay}");
            return Denial::new(DenialCode::NoSuchDrive, detail)
                .with_hint("pull the drive, and release its verdict then");
        }
        let detail =
            format!("no bay {said:?} and no serial number shows a drive that has been detached");
        Denial::new(DenialCode::NoSuchDrive, detail).with_hint("see `prestagectl status`")
    }

    /// Why no drive can be begun, whichever is plugged in.
    fn idle(&self) -> Option<String> {
        let policy = &self.setup.policy;
        let lacking = match (policy.buses.is_empty(), policy.bays.is_empty()) {
            (true, true) => "no bus and no bay is allowed (admission.buses, admission.bays)",
            (true, false) => "no bus is allowed (admission.buses)",
            (false, true) => "no bay is allowed (admission.bays)",
            (false, false) => return None,
        };
        Some(format!("{lacking}; `prestagectl bays learn --allow` writes what is needed"))
    }

    fn stop(
        &mut self,
        drive: &str,
        now: Timestamp,
        effects: &mut Vec<Effect<M>>,
    ) -> Result<Answer, Denial> {
        let key = self.find(drive)?;
        let stopped = |one: &Insertion, running| {
            let (device, drive) = (one.drive.node.display().to_string(), one.drive.label());
            let consented = one.consent.is_some();
            Ok(Answer::Stopped(Stopped { device, drive, running, consented }))
        };
        let insertion = self.insertions.get(&key).ok_or_else(detached)?;
        match insertion.phase() {
            Phase::Running { stop, .. } => {
                stop.request(StopReason::Operator);
                stopped(insertion, true)
            }
            Phase::AwaitingMaster(_) => {
                let answer = stopped(insertion, false);
                let detail = "stopped before anything was written to the drive";
                let reason = Reason::new(ReasonCode::OperatorStop, detail);
                effects.extend(self.close_awaiting(&key, Verdict::Stopped, &reason, now));
                answer
            }
            phase => {
                let detail = format!("drive {drive} is not being imaged");
                let denial = Denial::new(DenialCode::NotRunning, detail);
                let undecided = matches!(phase, Phase::Judging | Phase::AwaitingMedia);
                Err(if undecided {
                    denial.with_hint("disarm the station, or detach the drive")
                } else {
                    denial
                })
            }
        }
    }

    /// The attached drive that is called so.
    pub(crate) fn find(&self, called: &str) -> Result<Key, Denial> {
        let attached = self.insertions.values().filter(|one| !one.departed);
        let named: Vec<_> = attached.map(|one| (one.key(), one.names())).collect();
        let is_bay = self.setup.policy.named.iter().any(|bay| bay.name == called);
        naming::find(called, &named).map_err(|denial| match denial.code {
            DenialCode::NoSuchDrive if is_bay => {
                Denial::new(denial.code, format!("the bay {called:?} is empty"))
            }
            _ => denial,
        })
    }

    /// Begins an attempt that was ordered; what is mistyped begins none.
    pub(crate) fn image(
        &mut self,
        order: ImageOrder,
        effects: &mut Vec<Effect<M>>,
    ) -> Result<Answer, Denial> {
        let ImageOrder { drive, media, order, again, consent, by } = order;
        let key = self.find(&drive)?;
        let named = order.as_deref().map(|number| self.open_order(number)).transpose()?;
        let named = named.map(|order| order.media);
        let wanted = self.catalog.choose(media.as_deref());
        if let (Some(_), Err(MediaUnavailable::Missing(refusal))) = (&media, &wanted) {
            return Err(without_media(refusal.clone()));
        }
        let insertion = self.insertions.get(&key).ok_or_else(detached)?;
        let wanted = named.or_else(|| wanted.ok().map(|media| media.sha256));
        let again = again || self.setup.policy.reimage || insertion.holds_other(wanted);
        let (node, label) = (insertion.drive.node.display(), insertion.drive.label());
        if insertion.has_passed() && !again {
            let detail = format!("{label} has passed, and is still attached as {node}");
            let denial = Denial::new(DenialCode::AlreadyPassed, detail);
            return Err(denial.with_hint(format!(
                "take it out: it is done. `prestagectl image {node} --again` images it once more"
            )));
        }
        let (asked, agreed) = (by.to_string(), consent.clone());
        let wish = Wish { media, order, even_if_passed: again, consent, by };
        let answer = self.begin_anew(&key, wish, effects)?;
        if let Some(consent) = agreed {
            tracing::warn!(
                PRESTAGED_SERIAL = label,
                PRESTAGED_OPERATOR = asked,
                PRESTAGED_CONSENT = consent.reason,
                "{asked} consents that what drive {label} holds is lost: {}",
                consent.reason
            );
        }
        Ok(answer)
    }

    fn begin_anew(
        &mut self,
        key: &Key,
        wish: Wish,
        effects: &mut Vec<Effect<M>>,
    ) -> Result<Answer, Denial> {
        let insertion = self.insertions.get_mut(key).ok_or_else(detached)?;
        if insertion.stuck {
            let detail = format!("{} still does not answer", insertion.drive.node.display());
            return Err(Denial::new(DenialCode::Stalled, detail).with_hint("detach it"));
        }
        // A drive that is being imaged, or waits for its master, is not started again; the operator sees how it goes
        // on.
        let under_way = insertion.is_under_way();
        if under_way && (wish.media.is_some() || wish.order.is_some() || wish.consent.is_some()) {
            let detail = format!("{} is being imaged", insertion.drive.node.display());
            return Err(Denial::new(DenialCode::Busy, detail).with_hint("stop it first"));
        }
        if !under_way {
            insertion.begin_anew(wish);
        }
        let (device, attempt) = (insertion.drive.node.display().to_string(), insertion.attempt);
        if !under_way {
            effects.extend(self.judge(key));
        }
        Ok(Answer::Attempt { device, attempt })
    }

    fn press_by_hand(&mut self, media: &str, geometry: Geometry) -> Result<Answer, Denial> {
        let media = self.catalog.named(media).map_err(|error| without_media(error.refusal()))?;
        let recipe = recipe(&self.usual(media), geometry);
        let planned = recipe.layout.plan(geometry);
        planned.map_err(|error| {
            let code = match &error {
                LayoutError::DriveTooSmall { .. } => DenialCode::TooSmall,
                LayoutError::Large { .. } => DenialCode::TooLarge,
                // The layout does not work with sectors of this size.
                _ => DenialCode::BadRequest,
            };
            Denial::of(code, &error).with_hint_of(&error)
        })?;
        let MaximumSize { most, why, hint } = self.limit();
        if geometry.size > most {
            let detail = format!("drives of at most {most} can be imaged: {why}");
            return Err(Denial { hint, ..Denial::new(DenialCode::TooLarge, detail) });
        }
        let id = recipe.id();
        if !self.masters.iter().any(|master| master.id == id) {
            self.want_press(recipe, Priority::Operator);
        }
        Ok(Answer::Master(id))
    }

    /// The drive that is to be read from end to end: one of the station's bays that is not being imaged.
    fn to_read(&self, drive: &str) -> Result<&Insertion, Denial> {
        let key = self.find(drive)?;
        let insertion = self.insertions.get(&key).ok_or_else(detached)?;
        if insertion.is_running() {
            let detail = format!("{} is being imaged", insertion.drive.node.display());
            return Err(Denial::new(DenialCode::Busy, detail).with_hint("wait until it is done"));
        }
        if !self.setup.policy.may_hold(&insertion.drive) {
            let bay = &insertion.drive.bay;
            let detail = format!("bay {bay}, or its bus, does not belong to the station");
            return Err(Denial::new(DenialCode::OutOfScope, detail));
        }
        Ok(insertion)
    }

    fn audit_task(&self, drive: &str, requested: Option<&str>) -> Result<AuditTask, Denial> {
        let insertion = self.to_read(drive)?;
        // What the drive holds is known by its digest: the file may have another name by now.
        let media = match (requested, &insertion.held) {
            (None, Some(held)) => self.catalog.valid_with(held.sha256).ok_or_else(|| {
                if self.catalog.is_being_read() {
                    return without_media(MediaUnavailable::Undecided.refusal());
                }
                let detail = format!("{}, which the drive holds, is not in the inbox", held.name);
                let hint = format!(
                    "put the media with SHA-256 {} there, or name another one with --media",
                    held.sha256
                );
                Denial::new(DenialCode::NoMedia, detail).with_hint(hint)
            })?,
            (name, _) => {
                // To compare gives nobody anything, so hidden media can be named, too.
                let media =
                    name.map_or_else(|| self.catalog.choose(None), |n| self.catalog.named(n));
                media.map_err(|error| without_media(error.refusal()))?
            }
        };
        Ok(AuditTask {
            node: insertion.drive.node.clone(),
            size: insertion.drive.size,
            logical_sector_bytes: insertion.drive.logical_sector_bytes,
            files: media.files.clone(),
            image: media.image,
            layout: self.setup.layout.clone(),
        })
    }
}
