//! Which bays somebody looks for. It ends by itself: a lamp that blinks for good is one that nobody looks at.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::api::snapshot::LocatedView;
use model::code::DenialCode;
use model::drive::Bay;
use model::failure::Denial;
use model::naming::{self, Names};

use crate::Station;
use crate::message::Answer;

/// The bays that are looked for, each until when.
#[derive(Debug, Default)]
pub(crate) struct Located(BTreeMap<Bay, Timestamp>);

impl Located {
    pub(crate) fn expire(&mut self, now: Timestamp) {
        self.0.retain(|_, until| *until > now);
    }

    /// A drive has come into the bay or gone out of it: it was found, or it is another one.
    pub(crate) fn end(&mut self, bay: &Bay) -> bool {
        self.0.remove(bay).is_some()
    }

    pub(crate) fn views(&self) -> Vec<LocatedView> {
        let view =
            |(bay, until): (&Bay, &Timestamp)| LocatedView { bay: bay.clone(), until: *until };
        self.0.iter().map(view).collect()
    }
}

impl<M: Clone> Station<M> {
    /// Has a bay looked for, or no longer.
    pub(crate) fn locate(
        &mut self,
        called: &str,
        off: bool,
        now: Timestamp,
    ) -> Result<Answer, Denial> {
        let bay = self.bay_called(called)?;
        if off {
            self.located.end(&bay);
        } else {
            let until = now.checked_add(self.setup.locate_for).unwrap_or(Timestamp::MAX);
            self.located.0.insert(bay, until);
        }
        Ok(Answer::Done)
    }

    /// The bay that is called so, or in which the drive is, or was last, that is called so.
    fn bay_called(&self, called: &str) -> Result<Bay, Denial> {
        let attached = self.insertions.values().filter(|one| !one.departed);
        let attached: Vec<(Bay, Names<'_>)> =
            attached.map(|one| (one.drive.bay.clone(), one.names())).collect();
        let named = self.setup.policy.named.iter().map(|bay| bay.name.as_str());
        let views = self.departed.views();
        let departed = views.iter().filter(|view| !view.followed).map(|view| &view.drive);
        let of_departed = |bay_or_serial: &str| {
            departed.clone().find(|drive| {
                let serial = drive.serial.as_ref().map(model::drive::Serial::as_str);
                drive.bay.0 == bay_or_serial || serial == Some(bay_or_serial)
            })
        };
        if named.clone().any(|name| name == called) {
            return Ok(Bay(called.to_owned()));
        }
        match naming::those(called, &attached)[..] {
            [] => of_departed(called).map(|drive| drive.bay.clone()).ok_or_else(|| {
                let detail = format!("no bay and no drive is called {called:?}");
                Denial::new(DenialCode::NoSuchDrive, detail).with_hint("see `prestagectl status`")
            }),
            // Several drives in one place are one place.
            [(first, _), ref rest @ ..] if rest.iter().all(|(bay, _)| bay == first) => {
                Ok(first.clone())
            }
            _ => naming::find(called, &attached),
        }
    }
}
