//! Values that can be read and still cannot be used, alone or beside each other.

use std::time::Duration;

use super::error::{ConfigError, Mistake};
use super::sections::Replicate;
use super::{Config, NamedPath};
use model::admission::{NamedBay, Policy};
use model::layout::Extent;
use model::units::{ByteRate, Bytes, UnitError};

/// Less memory does not keep drives busy.
const LEAST_MEMORY: Bytes = Bytes::mib(64);
/// No master is smaller.
const LEAST_BUDGET: Bytes = Bytes::mib(64);
/// No drive that anything could be written to is smaller.
const LEAST_DRIVE: Bytes = Bytes::mib(1);
/// No drive, partition or store is larger: whoever writes more has mistaken the unit.
const LARGEST: Bytes = Bytes(1 << 50);
/// No drive is faster.
const FASTEST: ByteRate = ByteRate(100_000_000_000);
/// Drives that work answer well within the least time to wait for one, and nobody waits for longer than the most.
const STALL: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(24 * 60 * 60)];
/// In less time than the least, a rate is chance.
const WINDOW: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(60 * 60)];
/// A drive that needs more is not worth it.
const MOST_REWRITES: u32 = 100;

/// The names that the crate `drives` has for buses: udev's `ID_BUS`, its own where udev has none, and the transports that
/// lead out of the machine.
const BUSES: [&str; 13] = [
    "ata",
    "scsi",
    "usb",
    "nvme",
    "mmc",
    "virtio",
    "loop",
    "ieee1394",
    "iscsi",
    "fc",
    "nvme-tcp",
    "nvme-rdma",
    "nvme-fc",
];
/// Buses that are not worth naming to everybody; `unknown` is what nothing is known of.
const RARE_BUSES: [&str; 4] = ["cciss", "ccw", "nvme-loop", "unknown"];
/// What people write, and the bus that such drives are on.
const MEANT: [(&str, &str); 11] = [
    ("sata", "ata"),
    ("pata", "ata"),
    ("ide", "ata"),
    ("ahci", "ata"),
    ("sas", "scsi"),
    ("pci", "nvme"),
    ("pcie", "nvme"),
    ("m.2", "nvme"),
    ("sd", "mmc"),
    ("usb3", "usb"),
    ("firewire", "ieee1394"),
];

/// A mistake and the key that has it, with the indices of lists: `bay.1.path`.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: String,
    pub(super) mistake: Mistake,
}

impl Wrong {
    pub(super) fn new(at: impl Into<String>, mistake: Mistake) -> Self {
        Self { at: at.into(), mistake }
    }

    pub(super) fn value(key: &str, what: &str, hint: &str) -> Self {
        Self::new(key, Mistake::unusable(key, what, hint))
    }
}

impl Config {
    /// Checks all that does not need a second file. Of each kind the first mistake is told.
    pub(super) fn check(&self) -> Vec<Wrong> {
        let checks = [
            self.check_station(),
            self.check_buses(),
            self.check_policy().map(drop),
            self.check_mode().map(drop),
            self.check_gate(),
            self.check_webhooks(),
            self.check_brokers(),
            self.check_lamps(),
            self.check_limits(),
            self.check_health(),
            self.check_bays(),
            self.check_signers(),
            self.check_layouts(),
        ];
        checks.into_iter().filter_map(Result::err).collect()
    }

    /// Checks what may stand in several files, each of which is right alone.
    pub(super) fn check_together(&self) -> Result<(), ConfigError> {
        let checks = [self.check_sizes(), self.check_health_is_asked(), self.check_room()];
        ConfigError::joined(checks.into_iter().filter_map(Result::err).collect())
    }

    /// Checks that a drive of the largest capacity holds the layout.
    fn check_room(&self) -> Result<(), ConfigError> {
        let Some(max) = self.admission.max_size else { return Ok(()) };
        let layout = self.chosen_layout();
        let fixed = layout.partitions.iter().map(|partition| match partition.size {
            Extent::Fixed(size) => size.0,
            Extent::Rest => 0,
        });
        let needed = Bytes(fixed.fold(0, u64::saturating_add));
        if needed < max {
            return Ok(());
        }
        let what = format!(
            "{} bytes do not hold the layout {:?}, whose partitions have {} and more",
            max.0, layout.name, needed.0
        );
        Err(self.mistake(
            "admission.max_size",
            what,
            "no drive can be admitted; change one of them",
        ))
    }

    /// Checks the sizes of drives against each other.
    fn check_sizes(&self) -> Result<(), ConfigError> {
        let (Some(min), Some(max)) = (self.admission.min_size, self.admission.max_size) else {
            return Ok(());
        };
        if min <= max {
            return Ok(());
        }
        let place = |key: &str| self.origin.place(key);
        let other = place("admission.max_size").map(|place| format!(" ({place})"));
        let what = format!(
            "{} bytes are more than the {} of admission.max_size{}",
            min.0,
            max.0,
            other.unwrap_or_default()
        );
        Err(self.mistake(
            "admission.min_size",
            what,
            "no drive can be admitted; change one of them",
        ))
    }

    fn check_station(&self) -> Result<(), Wrong> {
        let name = &self.station.name;
        // The name stands in every record and in lines of text.
        if name.trim().is_empty() || name.contains(char::is_control) {
            let what = format!("{name:?} is not a name");
            return Err(Wrong::value("station.name", &what, "write for example \"rack-01\""));
        }
        Ok(())
    }

    /// Checks that each bus is one that a drive can be on: a misspelt one would quietly allow nothing.
    fn check_buses(&self) -> Result<(), Wrong> {
        let known = |bus: &str| BUSES.contains(&bus) || RARE_BUSES.contains(&bus);
        let mut buses = self.admission.buses.iter().enumerate();
        let Some((index, bus)) = buses.find(|(_, bus)| !known(bus)) else { return Ok(()) };
        let lower = bus.trim().to_lowercase();
        let meant = match MEANT.iter().find(|(word, _)| *word == lower) {
            Some((_, bus)) => Some(*bus),
            None => BUSES.iter().find(|bus| **bus == lower).copied(),
        };
        let meant = meant.map(|bus| format!("write {bus:?}; ")).unwrap_or_default();
        let hint = format!("{meant}buses are {}", BUSES.join(", "));
        let wrong =
            Wrong::value("admission.buses", &format!("no drive is on a bus {bus:?}"), &hint);
        Err(Wrong { at: format!("admission.buses.{index}"), ..wrong })
    }

    /// The admission policy, if all of its patterns are glob patterns.
    pub(super) fn check_policy(&self) -> Result<Policy, Wrong> {
        let admission = &self.admission;
        let named = |(index, bay): (usize, &NamedPath)| -> Result<NamedBay, Wrong> {
            let path = pattern("[[bay]] path", format!("bay.{index}.path"), &bay.path)?;
            Ok(NamedBay { name: bay.name.trim().to_owned(), path })
        };
        let closed = Policy::closed();
        Ok(Policy {
            armed: admission.armed,
            buses: admission.buses.clone(),
            bays: patterns("admission.bays", &admission.bays)?,
            named: self.bay.iter().enumerate().map(named).collect::<Result<_, _>>()?,
            models: patterns("admission.models", &admission.models)?,
            serials: patterns("admission.serials", &admission.serials)?,
            sizes: admission.sizes.clone(),
            size_tolerance: admission.size_tolerance.unwrap_or(closed.size_tolerance),
            min_size: admission.min_size,
            max_size: admission.max_size,
            overwrite: admission.overwrite,
            reimage: admission.reimage,
            health: self.health.policy(),
        })
    }

    /// The permissions of the control socket, if they are octal.
    pub(super) fn check_mode(&self) -> Result<u32, Wrong> {
        let text = &self.control.mode;
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.ok_or_else(|| {
            let what = format!("{text:?} is not a file mode in octal");
            Wrong::value("control.mode", &what, "write for example \"0660\"")
        })
    }

    fn check_limits(&self) -> Result<(), Wrong> {
        if self.media.image == 0 {
            let mistake = Mistake::unusable("media.image = 0", "images are counted from 1", "");
            return Err(Wrong::new("media.image", mistake));
        }
        let replicate = &self.replicate;
        if replicate.memory < LEAST_MEMORY {
            let what = format!("{} bytes are too few to keep drives busy", replicate.memory.0);
            return Err(Wrong::value("replicate.memory", &what, "write \"64MiB\" or more"));
        }
        let machine = memory_of_machine().max(Replicate::default().memory);
        if replicate.memory > machine {
            let (wanted, has) = (replicate.memory.0, machine.0);
            let what = format!("{wanted} bytes are more than this machine has ({has})");
            return Err(Wrong::value("replicate.memory", &what, "write for example \"1GiB\""));
        }
        check_size("store.budget", self.store.budget, LEAST_BUDGET)?;
        for (key, period, [least, most]) in [
            ("replicate.rate_window", replicate.rate_window, WINDOW),
            ("replicate.stall_timeout", replicate.stall_timeout, STALL),
        ] {
            let hint = format!("write a time from \"{}\" to \"{}\"", words(least), words(most));
            if period.0.is_zero() {
                return Err(Wrong::value(key, "it must be longer than zero", UnitError::PERIOD));
            }
            if period.0 < least {
                return Err(Wrong::value(key, &format!("{:?} are too short", period.0), &hint));
            }
            if period.0 > most {
                return Err(Wrong::value(key, &format!("{:?} are too long", period.0), &hint));
            }
        }
        if replicate.rewrites > MOST_REWRITES {
            let what = format!("{} are too many", replicate.rewrites);
            let hint = format!("write a number from 0 to {MOST_REWRITES}");
            return Err(Wrong::value("replicate.rewrites", &what, &hint));
        }
        if let Some(path) = replicate.hashing.filter(|path| !path.is_available()) {
            let what = format!("this processor does not have what \"{path}\" needs");
            return Err(Wrong::value("replicate.hashing", &what, "leave it out"));
        }
        if let Some(rate) = replicate.min_write_rate.filter(|rate| *rate > FASTEST) {
            let what = format!("no drive writes {} bytes in a second", rate.0);
            return Err(Wrong::value("replicate.min_write_rate", &what, UnitError::RATE));
        }
        self.check_capacities()
    }

    /// Checks the capacities of drives, each alone.
    fn check_capacities(&self) -> Result<(), Wrong> {
        let admission = &self.admission;
        for (key, size) in
            [("admission.min_size", admission.min_size), ("admission.max_size", admission.max_size)]
        {
            size.map_or(Ok(()), |size| check_size(key, size, LEAST_DRIVE))?;
        }
        for (index, size) in admission.sizes.iter().enumerate() {
            check_size("admission.sizes", *size, LEAST_DRIVE)
                .map_err(|wrong| Wrong { at: format!("admission.sizes.{index}"), ..wrong })?;
        }
        Ok(())
    }

    fn check_bays(&self) -> Result<(), Wrong> {
        for (index, bay) in self.bay.iter().enumerate() {
            let wrong = |name: &str, what: String, hint: &str| {
                let mistake = Mistake::unusable(&format!("[[bay]] {name}"), what, hint);
                Err(Wrong::new(format!("bay.{index}.{name}"), mistake))
            };
            let name = bay.name.trim();
            if name.is_empty() {
                return wrong("name", "it is blank".into(), "");
            }
            if name.contains(char::is_control) {
                return wrong("name", format!("{name:?} has control characters"), "");
            }
            let earlier = &self.bay[..index];
            if earlier.iter().any(|other| other.name.trim() == name) {
                let what = format!("two bays have the name {name:?}");
                return wrong("name", what, "give one of them another name, or remove it");
            }
            if earlier.iter().any(|other| other.path.trim() == bay.path.trim()) {
                let what = format!("two bays have the path {:?}", bay.path);
                return wrong("path", what, "a bay has one name; remove the other");
            }
        }
        Ok(())
    }

    /// Checks what can be known of signers without their keys.
    fn check_signers(&self) -> Result<(), Wrong> {
        let signers = &self.media.signers;
        for (index, signer) in signers.iter().enumerate() {
            let at = |name: &str| format!("media.signers.{index}.{name}");
            let wrong = |name: &str, what: String, hint: &str| {
                let mistake = Mistake::unusable(&format!("[[media.signers]] {name}"), what, hint);
                Err(Wrong::new(at(name), mistake))
            };
            if signer.name.trim().is_empty() || signer.name.contains(char::is_control) {
                return wrong("name", format!("{:?} is not a name", signer.name), "");
            }
            if signers[..index].iter().any(|other| other.name == signer.name) {
                let what = format!("two signers have the name {:?}", signer.name);
                return wrong("name", what, "give one of them another name, or remove it");
            }
            for (number, text) in signer.products.iter().enumerate() {
                let at = format!("media.signers.{index}.products.{number}");
                pattern("[[media.signers]] products", at, text)?;
            }
            let most = u32::try_from(signers.len()).unwrap_or(u32::MAX);
            if !(1..=most).contains(&signer.threshold) {
                let what = format!("{} of {most} signers cannot be met", signer.threshold);
                return wrong("threshold", what, &format!("write 1 to {most}"));
            }
        }
        Ok(())
    }

    fn check_layouts(&self) -> Result<(), Wrong> {
        for (index, layout) in self.layout.iter().enumerate() {
            for (number, partition) in layout.partitions.iter().enumerate() {
                if let Extent::Fixed(size) = partition.size {
                    check_size("[[layout]] partitions.size", size, Bytes(0)).map_err(|wrong| {
                        Wrong { at: format!("layout.{index}.partitions.{number}.size"), ..wrong }
                    })?;
                }
            }
            layout
                .check()
                .map_err(|error| Wrong::new(format!("layout.{index}"), Mistake::Layout(error)))?;
            if self.layout[..index].iter().any(|other| other.name == layout.name) {
                let what = format!("two layouts have the name {:?}", layout.name);
                let hint = "give one of them another name, or remove it";
                let mistake = Mistake::unusable("[[layout]] name", what, hint);
                return Err(Wrong::new(format!("layout.{index}.name"), mistake));
            }
        }
        Ok(())
    }
}

/// Checks that a size is between `least` and [`LARGEST`].
fn check_size(key: &str, size: Bytes, least: Bytes) -> Result<(), Wrong> {
    if size < least {
        let what = format!("{} bytes are too few", size.0);
        return Err(Wrong::value(key, &what, &format!("write \"{}MiB\" or more", least.0 >> 20)));
    }
    if size > LARGEST {
        let what = format!("{} bytes are too many", size.0);
        return Err(Wrong::value(key, &what, "write \"1PiB\" or less"));
    }
    Ok(())
}

/// The memory of this machine.
fn memory_of_machine() -> Bytes {
    let machine = rustix::system::sysinfo();
    Bytes(machine.totalram.saturating_mul(machine.mem_unit.into()))
}

/// A length of time as people write it.
fn words(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{}ms", time.as_millis()),
        seconds if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        seconds => format!("{seconds}s"),
    }
}

pub(super) fn pattern(key: &'static str, at: String, text: &str) -> Result<glob::Pattern, Wrong> {
    glob::Pattern::new(text).map_err(|source| {
        Wrong::new(at, Mistake::Pattern { key, pattern: text.to_owned(), source })
    })
}

fn patterns(key: &'static str, texts: &[String]) -> Result<Vec<glob::Pattern>, Wrong> {
    let texts = texts.iter().enumerate();
    texts.map(|(index, text)| pattern(key, format!("{key}.{index}"), text)).collect()
}
