//! What operators ask for.

use super::Station;
use super::message::{Answer, Command, Denial, Effect, Reply};
use super::press_queue::Wish;
use super::slot::{Key, Phase, Slot};
use crate::audit::AuditTask;
use crate::drive::Geometry;
use crate::job::StopReason;
impl Station {
    pub(super) fn command(&mut self, command: Command, reply: Reply) -> Vec<Effect> {
        let answer = |reply, result| vec![Effect::Answer(reply, result)];
        let mut effects = Vec::new();
        let result = match command {
            Command::Arm(_) if self.draining => {
                Err(Denial::new("draining", "the station is ending; it takes no more drives"))
            }
            Command::Arm(armed) => {
                tracing::warn!(
                    armed,
                    "the operator {} the station",
                    if armed { "armed" } else { "disarmed" }
                );
                self.setup.policy.armed = armed;
                effects = self.judge_waiting();
                Ok(Answer::Done)
            }
            Command::Retry { serial } => {
                self.find_serial(&serial).and_then(|key| self.begin_anew(&key, None, &mut effects))
            }
            Command::Image { device, media } => {
                self.find_device(&device).and_then(|key| self.begin_anew(&key, media, &mut effects))
            }
            Command::Stop { serial } => self.find_serial(&serial).and_then(|key| {
                match self.slots.get(&key).map(|slot| &slot.phase) {
                    Some(Phase::Running { stop, .. }) => {
                        stop.request(StopReason::Operator);
                        Ok(Answer::Done)
                    }
                    _ => Err(Denial::new("not_running", format!("{serial} is not being imaged"))),
                }
            }),
            Command::VerifyMedia { name } => match self.shelf.recheck(&name) {
                Some(path) => {
                    effects.push(Effect::Intake(path));
                    Ok(Answer::Done)
                }
                None => {
                    Err(Denial::new("no_media", format!("no media named {name:?} is in the inbox")))
                }
            },
            Command::Press { media, geometry } => self.press_by_hand(&media, geometry),
            Command::RemoveMaster { id } if !id.is_valid() => {
                Err(Denial::new("no_such_master", format!("no master named {:?}", id.0)))
            }
            Command::RemoveMaster { id } => {
                if self.presses.is_running_for(&id) {
                    self.presses.cancel(&id);
                    return vec![Effect::CancelPress, Effect::Answer(reply, Ok(Answer::Done))];
                }
                return vec![Effect::RemoveMaster(id, reply)];
            }
            Command::Audit { device, media } => match self.audit_task(&device, media.as_deref()) {
                Ok(task) => return vec![Effect::Audit(task, reply)],
                Err(denial) => Err(denial),
            },
        };
        effects.extend(answer(reply, result));
        effects
    }

    pub(super) fn find_device(&self, device: &str) -> Result<Key, Denial> {
        let name = device.strip_prefix("/dev/").unwrap_or(device);
        let mut found =
            self.slots.values().filter(|slot| slot.drive.name == name && !slot.departed);
        found.next().map(Slot::key).ok_or_else(|| {
            let detail = format!("no drive {device:?} is attached; see `prestagectl drives`");
            Denial::new("no_such_drive", detail)
        })
    }

    pub(super) fn find_serial(&self, serial: &str) -> Result<Key, Denial> {
        let fits = |slot: &&Slot| {
            slot.drive.serial.as_ref().is_some_and(|s| s.as_str() == serial) && !slot.departed
        };
        self.slots.values().find(fits).map(Slot::key).ok_or_else(|| {
            let detail = format!("no drive with serial number {serial:?} is attached");
            Denial::new("no_such_drive", detail)
        })
    }

    pub(super) fn begin_anew(
        &mut self,
        key: &Key,
        wish: Option<String>,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Denial> {
        let Some(slot) = self.slots.get_mut(key) else {
            return Err(Denial::new("no_such_drive", "the drive has just been detached"));
        };
        if slot.stuck {
            let detail = "the drive still does not answer; detach it";
            return Err(Denial::new("stalled", detail));
        }
        // A drive that is already on its way is not started again; the operator gets to see it.
        let under_way = matches!(slot.phase, Phase::Running { .. } | Phase::Waiting(_));
        if under_way && wish.is_some() {
            return Err(Denial::new("busy", "the drive is being imaged; stop it first"));
        }
        if !under_way {
            slot.begin_anew(wish);
        }
        let (device, attempt) = (slot.drive.node.display().to_string(), slot.attempt);
        if !under_way {
            effects.extend(self.judge(key));
        }
        Ok(Answer::Attempt { device, attempt })
    }

    pub(super) fn press_by_hand(
        &mut self,
        media: &str,
        geometry: Geometry,
    ) -> Result<Answer, Denial> {
        let media =
            self.shelf.choose(Some(media)).map_err(|lacking| Denial::from(lacking.refusal()))?;
        let recipe = self.recipe(&media, geometry);
        recipe.layout.plan(geometry).map_err(|e| Denial::new("too_small", e.to_string()))?;
        let id = recipe.id();
        if !self.masters.iter().any(|master| master.id == id) {
            self.want_press(recipe, Wish::Operator);
        }
        Ok(Answer::Master(id))
    }

    pub(super) fn audit_task(&self, device: &str, wish: Option<&str>) -> Result<AuditTask, Denial> {
        let key = self.find_device(device)?;
        let Some(slot) = self.slots.get(&key) else {
            return Err(Denial::new("no_such_drive", "the drive has just been detached"));
        };
        if matches!(slot.phase, Phase::Running { .. }) {
            return Err(Denial::new("busy", "the drive is being imaged; wait until it is done"));
        }
        let recorded = slot.record.as_ref().and_then(|record| record.media.as_ref());
        let recorded = recorded.map(|media| media.name.clone());
        let media = self
            .shelf
            .choose(wish.or(recorded.as_deref()))
            .map_err(|lacking| Denial::from(lacking.refusal()))?;
        Ok(AuditTask {
            node: slot.drive.node.clone(),
            size: slot.drive.size,
            logical_sector_bytes: slot.drive.logical_sector_bytes,
            files: media.files.clone(),
            image: media.image,
        })
    }
}
