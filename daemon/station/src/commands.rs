//! The commands of operators.

use jiff::Timestamp;
use model::admission::MaximumSize;
use model::api::audit::AuditTask;
use model::api::command::Command;
use model::code::{DenialCode, ReasonCode};
use model::drive::{Bay, Geometry};
use model::failure::{Denial, Reason, Refusal};
use model::job::StopReason;
use model::layout::LayoutError;
use model::verdict::Verdict;

use crate::Station;
use crate::insertion::{Insertion, Key, Phase};
use crate::message::{Answer, Effect, Reply};
use crate::press_queue::Priority;

fn detached() -> Denial {
    Denial::new(DenialCode::NoSuchDrive, "the drive has just been detached")
}

/// The answer to an operator if there is no media.
fn without_media(refusal: Refusal) -> Denial {
    let code = match refusal.code {
        ReasonCode::MediaInvalid => DenialCode::MediaInvalid,
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
            | Command::Image { .. }
            | Command::Press { .. }
                if self.draining =>
            {
                let detail = "the station is ending; it begins nothing new";
                Err(Denial::new(DenialCode::Draining, detail))
            }
            Command::Arm(armed) => Ok(self.arm(armed, &mut effects)),
            Command::Retry { drive } => {
                self.find_drive(&drive).and_then(|key| self.begin_anew(&key, None, &mut effects))
            }
            Command::Image { device, media } => {
                self.find_device(&device).and_then(|key| self.begin_anew(&key, media, &mut effects))
            }
            Command::Stop { drive } => self.stop(&drive, now, &mut effects),
            Command::Release { bay } => match self.departed.forget(&Bay(bay.clone())) {
                true => Ok(Answer::Done),
                false => {
                    let detail = format!("bay {bay:?} shows no drive that has been detached");
                    let denial = Denial::new(DenialCode::NoSuchDrive, detail);
                    Err(denial.with_hint("see `prestagectl status`"))
                }
            },
            Command::VerifyMedia { name } => match self.catalog.recheck(&name) {
                Some(path) => {
                    effects.push(Effect::Intake(path));
                    Ok(Answer::Done)
                }
                None => {
                    let detail = format!("no media named {name:?} is in the inbox");
                    let denial = Denial::new(DenialCode::NoMedia, detail);
                    Err(denial.with_hint("see `prestagectl media list`"))
                }
            },
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
            Command::Audit { device, media } => match self.audit_task(&device, media.as_deref()) {
                Ok(task) => return vec![Effect::Audit(task, reply)],
                Err(denial) => Err(denial),
            },
        };
        effects.push(Effect::Answer(reply, result));
        effects
    }

    fn arm(&mut self, armed: bool, effects: &mut Vec<Effect<M>>) -> Answer {
        let done = if armed { "armed" } else { "disarmed" };
        tracing::warn!(armed, "the operator {done} the station");
        self.setup.policy.armed = armed;
        effects.extend(self.judge_changeable());
        Answer::Done
    }

    fn stop(
        &mut self,
        drive: &str,
        now: Timestamp,
        effects: &mut Vec<Effect<M>>,
    ) -> Result<Answer, Denial> {
        let key = self.find_drive(drive)?;
        match self.insertions.get(&key).map(Insertion::phase) {
            Some(Phase::Running { stop, .. }) => {
                stop.request(StopReason::Operator);
                Ok(Answer::Done)
            }
            Some(Phase::AwaitingMaster(_)) => {
                let detail = "stopped before anything was written to the drive";
                let reason = Reason::new(ReasonCode::OperatorStop, detail);
                effects.extend(self.close_awaiting(&key, Verdict::Stopped, &reason, now));
                Ok(Answer::Done)
            }
            phase => {
                let detail = format!("drive {drive} is not being imaged");
                let denial = Denial::new(DenialCode::NotRunning, detail);
                let undecided = matches!(phase, Some(Phase::Judging | Phase::AwaitingMedia));
                Err(if undecided {
                    denial.with_hint("disarm the station, or detach the drive")
                } else {
                    denial
                })
            }
        }
    }

    fn find_device(&self, device: &str) -> Result<Key, Denial> {
        let name = device.strip_prefix("/dev/").unwrap_or(device);
        let mut found =
            self.insertions.values().filter(|one| one.drive.name == name && !one.departed);
        found.next().map(Insertion::key).ok_or_else(|| {
            let detail = format!("no drive {device:?} is attached");
            let denial = Denial::new(DenialCode::NoSuchDrive, detail);
            denial.with_hint("see `prestagectl drives`")
        })
    }

    /// The drive with this serial number; where none has it, the one with this node, or in this bay. Several are none:
    /// whoever gives the command means one, and nobody but him knows which.
    fn find_drive(&self, called: &str) -> Result<Key, Denial> {
        let attached = || self.insertions.values().filter(|one| !one.departed);
        let by_serial = |one: &&Insertion| {
            one.drive.serial.as_ref().is_some_and(|serial| serial.as_str() == called)
        };
        let node = called.strip_prefix("/dev/").unwrap_or(called);
        let found = [
            attached().filter(by_serial).collect::<Vec<_>>(),
            attached().filter(|one| one.drive.name == node).collect(),
            attached().filter(|one| one.drive.bay.0 == called).collect(),
        ];
        match found.iter().find(|those| !those.is_empty()).map(Vec::as_slice) {
            Some([one]) => Ok(one.key()),
            Some(several) => {
                let place = |one: &&Insertion| {
                    format!("{} in bay {}", one.drive.node.display(), one.drive.bay)
                };
                let places: Vec<String> = several.iter().map(place).collect();
                let detail = format!("{called:?} is {}", places.join(", and also "));
                let denial = Denial::new(DenialCode::AmbiguousDrive, detail);
                Err(denial.with_hint("name the one that is meant by its device"))
            }
            None => {
                let detail = format!("no drive with serial number {called:?} is attached");
                let denial = Denial::new(DenialCode::NoSuchDrive, detail);
                Err(denial.with_hint("see `prestagectl drives`"))
            }
        }
    }

    fn begin_anew(
        &mut self,
        key: &Key,
        requested_media: Option<String>,
        effects: &mut Vec<Effect<M>>,
    ) -> Result<Answer, Denial> {
        let insertion = self.insertions.get_mut(key).ok_or_else(detached)?;
        if insertion.stuck {
            let detail = format!("{} still does not answer", insertion.drive.node.display());
            return Err(Denial::new(DenialCode::Stalled, detail).with_hint("detach it"));
        }
        // A drive that is being imaged, or waits for its master, is not started again; the operator sees how it goes
        // on.
        let under_way =
            matches!(insertion.phase(), Phase::Running { .. } | Phase::AwaitingMaster(_));
        if under_way && requested_media.is_some() {
            let detail = format!("{} is being imaged", insertion.drive.node.display());
            return Err(Denial::new(DenialCode::Busy, detail).with_hint("stop it first"));
        }
        if !under_way {
            insertion.begin_anew(requested_media);
        }
        let (device, attempt) = (insertion.drive.node.display().to_string(), insertion.attempt);
        if !under_way {
            effects.extend(self.judge(key));
        }
        Ok(Answer::Attempt { device, attempt })
    }

    fn press_by_hand(&mut self, media: &str, geometry: Geometry) -> Result<Answer, Denial> {
        let media =
            self.catalog.choose(Some(media)).map_err(|error| without_media(error.refusal()))?;
        let recipe = self.recipe(&media, geometry);
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
            let detail = format!("drives of at most {} bytes can be imaged: {why}", most.0);
            return Err(Denial { hint, ..Denial::new(DenialCode::TooLarge, detail) });
        }
        let id = recipe.id();
        if !self.masters.iter().any(|master| master.id == id) {
            self.want_press(recipe, Priority::Operator);
        }
        Ok(Answer::Master(id))
    }

    fn audit_task(&self, device: &str, requested: Option<&str>) -> Result<AuditTask, Denial> {
        let key = self.find_device(device)?;
        let insertion = self.insertions.get(&key).ok_or_else(detached)?;
        if insertion.is_running() {
            let detail = format!("{} is being imaged", insertion.drive.node.display());
            return Err(Denial::new(DenialCode::Busy, detail).with_hint("wait until it is done"));
        }
        // What the drive holds is known by its digest: the file may have another name by now.
        let media = match (requested, &insertion.held) {
            (None, Some(held)) => self.catalog.valid_with(held.sha256).ok_or_else(|| {
                let detail = format!("{}, which the drive holds, is not in the inbox", held.name);
                let hint = format!(
                    "put the media with SHA-256 {} there, or name another one with --media",
                    held.sha256
                );
                Denial::new(DenialCode::NoMedia, detail).with_hint(hint)
            })?,
            (name, _) => {
                self.catalog.choose(name).map_err(|error| without_media(error.refusal()))?
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
