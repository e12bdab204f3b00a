//! Drives for the tests of this crate.

use jiff::Timestamp;
use model::api::snapshot::{DepartedView, DriveView};
use model::drive::{Bay, Bus, Serial};
use model::job::State;
use model::units::Bytes;
use model::verdict::Verdict;

pub(crate) fn drive(bay: &str, verdict: Option<Verdict>) -> DriveView {
    DriveView {
        serial: Serial::new(&format!("S-{bay}")),
        bay: Bay(bay.into()),
        device: "/dev/sda".into(),
        model: None,
        bus: Bus("ata".into()),
        size_bytes: Bytes(1 << 30),
        state: State::Judging,
        attempt: 1,
        percent: 0.0,
        bytes_per_second: None,
        limited_by: None,
        eta_seconds: None,
        verdict,
        reason: None,
        ended: None,
        warnings: Vec::new(),
        job: None,
        order: None,
        order_attempt: None,
        media: None,
    }
}

pub(crate) fn departed(drive: DriveView) -> DepartedView {
    DepartedView { drive, since: Timestamp::UNIX_EPOCH, followed: false }
}
