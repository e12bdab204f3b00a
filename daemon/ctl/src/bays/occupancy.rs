//! Which places hold drives, and which have got one.

use std::collections::BTreeSet;

use model::api::snapshot::DeviceView;
use model::units::Bytes;

/// The places that held a drive at the last look.
#[derive(Debug, Default)]
pub(super) struct Occupancy {
    occupied: BTreeSet<String>,
    only: Option<glob::Pattern>,
    loops: bool,
}

impl Occupancy {
    /// Places whose path matches a pattern, if there is one. Loop devices, of which a machine may make many for
    /// purposes of its own, have places only where the station may image them, or the pattern asks for them.
    pub(super) fn new(only: Option<glob::Pattern>, loops: bool) -> Self {
        Self { occupied: BTreeSet::new(), only, loops }
    }

    /// Looks again: the drives at places that were free before. A drive that is put into another place counts there,
    /// and one that is put back counts again.
    pub(super) fn look(&mut self, devices: &[DeviceView]) -> Vec<DeviceView> {
        // The slot of a card reader is there before its card is.
        let there = devices.iter().filter(|device| {
            device.size_bytes > Bytes(0)
                && (self.loops || !device.bus.is_loop())
                && self.only.as_ref().is_none_or(|only| only.matches(&device.path))
        });
        let mut now = BTreeSet::new();
        let mut new = Vec::new();
        for device in there {
            if now.insert(device.path.clone()) && !self.occupied.contains(&device.path) {
                new.push(device.clone());
            }
        }
        self.occupied = now;
        new
    }

    /// How many places are occupied.
    pub(super) fn count(&self) -> usize {
        self.occupied.len()
    }
}

/// Why a drive's path does not tell where it is plugged in.
pub(super) fn placeless(device: &DeviceView) -> Option<&'static str> {
    if device.path.starts_with("unknown-") {
        return Some("udev knows no path for it");
    }
    // Some controllers tell the address of the drive's port, which is its own name up to the last digit.
    let wwn = device.wwn.as_deref().unwrap_or_default().to_lowercase();
    let digits = ["0x", "naa.", "eui."].iter().find_map(|form| wwn.strip_prefix(form));
    let stem = digits.and_then(|digits| digits.get(..15));
    let own = stem.is_some_and(|stem| device.path.to_lowercase().contains(stem));
    (own && !device.bus.is_loop()).then_some("its path tells which drive it is, and goes with it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::api::snapshot::Decision;
    use model::drive::{Bay, Bus};

    fn device(path: &str) -> DeviceView {
        DeviceView {
            device: "/dev/sdb".into(),
            serial: None,
            wwn: Some("0x5000c500a1b2c3d4".into()),
            model: None,
            bus: Bus("scsi".into()),
            transport: None,
            bay: Bay(path.into()),
            path: path.into(),
            size_bytes: Bytes(1 << 30),
            logical_sector_bytes: 512,
            attempt: 1,
            decision: Decision::Pending,
            code: None,
            detail: None,
            hint: None,
            refusals: Vec::new(),
        }
    }

    #[test]
    fn only_what_comes_to_a_free_place_is_new() {
        let mut occupancy = Occupancy::default();
        let mut look = |devices: &[DeviceView]| -> Vec<String> {
            occupancy.look(devices).into_iter().map(|device| device.path).collect()
        };
        assert_eq!(look(&[device("a")]), ["a"]);
        assert!(look(&[device("a")]).is_empty());
        assert_eq!(look(&[device("a"), device("b")]), ["b"]);
        assert!(look(&[]).is_empty());
        assert_eq!(look(&[device("a"), device("a")]), ["a"], "put back");
        let empty = DeviceView { size_bytes: Bytes(0), ..device("reader") };
        assert!(look(std::slice::from_ref(&empty)).is_empty());
        assert_eq!(look(&[DeviceView { size_bytes: Bytes(8), ..empty }]), ["reader"]);
    }

    #[test]
    fn other_places_can_be_left_out() {
        let disk = device("loop-a.img");
        let file = DeviceView { bus: Bus(Bus::LOOP.into()), ..disk.clone() };
        for (only, loops, count) in [
            (None, true, 1),
            (None, false, 0),
            (Some("loop-a*"), true, 1),
            (Some("pci-*"), true, 0),
        ] {
            let only = only.map(|only| glob::Pattern::new(only).unwrap());
            let mut occupancy = Occupancy::new(only.clone(), loops);
            assert_eq!(
                occupancy.look(std::slice::from_ref(&file)).len(),
                count,
                "{only:?} {loops}"
            );
        }
        assert_eq!(Occupancy::new(None, false).look(&[disk]).len(), 1);
    }

    #[test]
    fn a_path_that_goes_with_the_drive_is_no_place() {
        for path in ["pci-0000:03:00.0-sas-0x5000c500a1b2c3d5-lun-0", "unknown-sdb"] {
            assert!(placeless(&device(path)).is_some(), "{path}");
        }
        for path in ["pci-0000:03:00.0-sas-phy3-lun-0", "pci-0000:00:04.0-scsi-0:0:3:0"] {
            assert!(placeless(&device(path)).is_none(), "{path}");
        }
    }
}
