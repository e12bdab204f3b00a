//! What to do, in documents for programs too: where a reason has no hint of its own, it gets what people read for its code.

use model::api::snapshot::{DeviceView, Snapshot};
use model::drive::Serial;
use model::failure::Reason;
use model::record::Record;

/// Gives a reason about this drive a hint.
fn hint(reason: &mut Reason, drive: &str) {
    let now = reason.what_now_for(drive);
    reason.hint = Some(now);
}

/// A record as a document for programs.
pub(super) fn record(mut record: Record) -> Record {
    let drive = record.serial.as_ref().map_or("DRIVE", Serial::as_str).to_owned();
    if let Some(reason) = &mut record.reason {
        hint(reason, &drive);
    }
    record
}

/// Devices as documents for programs.
pub(super) fn devices(mut devices: Vec<DeviceView>) -> Vec<DeviceView> {
    for device in &mut devices {
        let drive = device.serial.as_ref().map_or(&*device.device, Serial::as_str).to_owned();
        for refusal in &mut device.refusals {
            hint(refusal, &drive);
        }
        if let Some(decisive) = device.refusals.first() {
            device.hint.clone_from(&decisive.hint);
        }
    }
    devices
}

/// The station as a document for programs.
pub(super) fn snapshot(mut snapshot: Snapshot) -> Snapshot {
    for drive in &mut snapshot.drives {
        let name = drive.name().to_string();
        if let Some(reason) = &mut drive.reason {
            hint(reason, &name);
        }
    }
    let reasons = snapshot.no_media.iter_mut().chain(&mut snapshot.ledger);
    reasons.for_each(|reason| hint(reason, "DRIVE"));
    snapshot.devices = devices(std::mem::take(&mut snapshot.devices));
    snapshot
}

#[cfg(test)]
mod tests {
    use model::code::ReasonCode;

    use super::*;
    use crate::fixture;

    #[test]
    fn wherever_text_has_a_hint_the_document_has_it() {
        let snapshot = snapshot(fixture::station());
        let drives = snapshot.drives.iter().filter_map(|drive| drive.reason.as_ref());
        let devices = snapshot.devices.iter().flat_map(|device| &device.refusals);
        let mut seen = 0;
        for reason in drives.chain(devices) {
            let hint = reason.hint.as_deref().unwrap_or_else(|| panic!("{reason:?}"));
            assert!(!hint.is_empty() && !hint.contains("DRIVE"), "{hint}");
            seen += 1;
        }
        assert!(seen > 3, "{seen}");
        for device in &snapshot.devices {
            assert_eq!(device.hint, device.refusals.first().and_then(|first| first.hint.clone()));
        }
    }

    #[test]
    fn a_hint_that_knows_the_case_stays() {
        let mut about = fixture::record();
        about.reason = Some(Reason::new(ReasonCode::TooSmall, "x"));
        let general = record(about.clone()).reason.unwrap().hint.unwrap();
        assert_eq!(Some(general), about.reason.map(|reason| reason.what_now_for("x")));
        about.reason = Some(Reason::new(ReasonCode::TooSmall, "x").with_hint("take that one"));
        assert_eq!(record(about).reason.unwrap().hint.unwrap(), "take that one");
    }
}
