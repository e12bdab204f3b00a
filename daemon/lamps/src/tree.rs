//! The files of lamps in sysfs: where they are, what they say, and whether they take what is written.
//!
//! - **SES** (module `ses`, Linux `drivers/misc/enclosure.c`): `class/enclosure/<h:c:t:l>/<slot>/{locate,fault}`, 0 or 1. The
//!   slot is there without a drive, too. `fault` reads as 2 where it was asked for, and 4 where the enclosure itself sees one
//!   (`drivers/scsi/ses.c`, `ses_get_fault`).
//! - **AHCI** (`drivers/ata/libahci.c`): `class/scsi_host/hostN/em_message` takes a number, and reads as the last one in
//!   hexadecimal. Only that the driver has sent it can be read, not whether anything is wired to it.
//! - **NPEM** (Linux 6.12, `drivers/pci/npem.c`): `class/leds/<address>:enclosure:{ok,locate,fail}/brightness`.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use model::lamp::Place;
use strum::{Display, VariantArray};

/// One of a bay's lamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Which {
    Fault,
    Locate,
    Ok,
}

/// Which lamps of a place are lit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lit {
    pub(crate) fault: bool,
    pub(crate) locate: bool,
    pub(crate) ok: bool,
}

impl Lit {
    fn of(self, which: Which) -> bool {
        match which {
            Which::Fault => self.fault,
            Which::Locate => self.locate,
            Which::Ok => self.ok,
        }
    }
}

/// Why lamps are not as they were told to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LampError {
    #[error("no such enclosure or slot is there")]
    NoSlot,
    #[error("no such port with lamps is there")]
    NoPort,
    #[error("it has no lamps")]
    None,
    #[error("it has no {0} lamp")]
    Missing(Which),
    #[error("the {0} lamp does not take what it is told")]
    Ignored(Which),
    #[error("the controller sends nothing to lamps")]
    Mute,
    #[error("the {which} lamp cannot be used: {source}")]
    Io {
        which: Which,
        #[source]
        source: io::Error,
    },
}

/// The bits of an AHCI message: see `ledmon`, `src/lib/ahci.c`.
const AHCI_LOCATE: u32 = 0x0008_0000;
const AHCI_FAULT: u32 = 0x0040_0000;
/// A controller sends one message at a time. `ledmon` leaves it this long for the one before.
const AHCI_PAUSE: Duration = Duration::from_micros(1500);
const AHCI_TRIES: usize = 5;

/// The fault that an enclosure sees by itself, which nobody has asked for.
const SENSED: u32 = 4;

/// The files of one place's lamps.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Files {
    /// A file for each lamp, as far as there is one.
    Each([(Which, Option<PathBuf>); 3]),
    /// One file that takes messages.
    Message(PathBuf),
}

/// A folder like `/sys`.
#[derive(Clone, Debug)]
pub(crate) struct Tree(PathBuf);

impl Tree {
    /// The folder; links in it must not lead out of it.
    pub(crate) fn of(root: &Path) -> Self {
        Self(fs::canonicalize(root).unwrap_or_else(|_| root.to_owned()))
    }

    /// Where a link in the tree leads, within the tree.
    fn follow(&self, path: &Path) -> Option<PathBuf> {
        fs::canonicalize(path).ok().filter(|path| path.starts_with(&self.0))
    }

    fn class(&self, class: &str) -> PathBuf {
        self.0.join("class").join(class)
    }

    /// The lamps of the place in which a drive is, by its node.
    pub(crate) fn of_drive(&self, node: &str) -> Option<Place> {
        let name = node.rsplit('/').next().filter(|name| !name.is_empty())?;
        let block = self.class("block").join(name);
        let device = self.follow(&block.join("device"))?;
        // With multipath, a namespace belongs to a subsystem, whose controllers are links in it.
        let controller = || {
            let mut links = names(&device).into_iter().filter(|name| is_controller(name));
            let first = links.next()?;
            links.next().is_none().then(|| self.follow(&device.join(first))).flatten()
        };
        self.ses_of(&device)
            .or_else(|| self.on_the_way(&device))
            .or_else(|| self.on_the_way(&controller()?))
    }

    fn ses_of(&self, device: &Path) -> Option<Place> {
        let link = names(device).into_iter().find(|name| name.starts_with("enclosure_device:"))?;
        let slot = self.follow(&device.join(link))?;
        let enclosure = slot.parent()?;
        let id = text(&enclosure.join("id")).filter(|id| !id.trim_matches(['0', 'x']).is_empty());
        let enclosure = id.or_else(|| name(enclosure))?;
        format!("ses:{enclosure}/{}", name(&slot)?).parse().ok()
    }

    /// The first port with lamps between a drive and the root of the tree.
    fn on_the_way(&self, device: &Path) -> Option<Place> {
        let above = device.ancestors().take_while(|path| **path != self.0);
        above.filter_map(|path| self.port(path)).find(|place| self.files(place).is_ok())
    }

    fn port(&self, path: &Path) -> Option<Place> {
        let name = name(path)?;
        if name.strip_prefix("ata").is_some_and(|number| number.parse::<u32>().is_ok()) {
            let port = text(&path.join("ata_port").join(&name).join("port_no"))?;
            let controller = self::name(path.parent()?)?;
            return format!("ahci:{controller}/{port}").parse().ok();
        }
        format!("npem:{name}").parse().ok()
    }

    fn files(&self, place: &Place) -> Result<Files, LampError> {
        match place {
            Place::Ses { enclosure, slot } => {
                let slot = self.slot(enclosure, slot).ok_or(LampError::NoSlot)?;
                let file = |name: &str| Some(slot.join(name)).filter(|file| file.is_file());
                some([
                    (Which::Fault, file("fault")),
                    (Which::Locate, file("locate")),
                    (Which::Ok, None),
                ])
            }
            Place::Ahci { controller, port } => {
                let message = self.message(controller, *port).ok_or(LampError::NoPort)?;
                let kind = message.with_file_name("em_message_type");
                match text(&kind).is_some_and(|kind| kind == "0") {
                    true => Err(LampError::Mute),
                    false => Ok(Files::Message(message)),
                }
            }
            Place::Npem { address } => {
                let file = |name: &str| {
                    let led = self.class("leds").join(format!("{address}:enclosure:{name}"));
                    self.follow(&led).map(|led| led.join("brightness")).filter(|f| f.is_file())
                };
                some([
                    (Which::Fault, file("fail")),
                    (Which::Locate, file("locate")),
                    (Which::Ok, file("ok")),
                ])
            }
        }
    }

    /// The folder of a slot: by the enclosure's identifier or address, and by the slot's name or number.
    fn slot(&self, enclosure: &str, slot: &str) -> Option<PathBuf> {
        let class = self.class("enclosure");
        let is = |at: &PathBuf, called: &str| {
            called == enclosure || text(&at.join("id")).is_some_and(|id| id == enclosure)
        };
        // Two ways to one enclosure show the same slots; either of them does.
        names(&class).into_iter().find_map(|called| {
            let at = self.follow(&class.join(&called)).filter(|at| is(at, &called))?;
            let named = at.join(slot);
            if named.join("locate").exists() || named.join("fault").exists() {
                return Some(named);
            }
            slot.parse::<u32>().ok()?;
            let mut slots = names(&at).into_iter().map(|name| at.join(name));
            slots.find(|one| text(&one.join("slot")).is_some_and(|number| number == slot))
        })
    }

    fn message(&self, controller: &str, port: u32) -> Option<PathBuf> {
        let class = self.class("ata_port");
        let port = port.to_string();
        names(&class).into_iter().find_map(|called| {
            let at = self.follow(&class.join(&called))?;
            // .../<controller>/ata3/ata_port/ata3
            let ata = at.parent()?.parent()?;
            let here = name(ata.parent()?).as_deref() == Some(controller)
                && text(&at.join("port_no")).is_some_and(|number| number == port);
            let host = names(ata).into_iter().find(|name| here && name.starts_with("host"))?;
            let host = self.follow(&self.class("scsi_host").join(host))?;
            Some(host.join("em_message")).filter(|file| file.is_file())
        })
    }

    /// Has the lamps of a place lit or not; returns what they do not do.
    pub(crate) fn show(&self, place: &Place, lit: Lit) -> Vec<LampError> {
        match self.files(place) {
            Err(error) => vec![error],
            Ok(Files::Each(files)) => {
                files.into_iter().filter_map(|(which, file)| each(which, file, lit).err()).collect()
            }
            Ok(Files::Message(file)) => {
                let missing = lit.ok.then_some(LampError::Missing(Which::Ok));
                missing.into_iter().chain(message(&file, lit).err()).collect()
            }
        }
    }
}

/// Files of which there is at least one.
fn some(files: [(Which, Option<PathBuf>); 3]) -> Result<Files, LampError> {
    match files.iter().any(|(_, file)| file.is_some()) {
        true => Ok(Files::Each(files)),
        false => Err(LampError::None),
    }
}

fn each(which: Which, file: Option<PathBuf>, lit: Lit) -> Result<(), LampError> {
    let wanted = lit.of(which);
    let Some(file) = file else {
        return if wanted { Err(LampError::Missing(which)) } else { Ok(()) };
    };
    let io = |source| LampError::Io { which, source };
    let is = || -> io::Result<bool> {
        let said = read(&file)?;
        let number: u32 = said.trim().parse().map_err(|_| garbled(&said))?;
        Ok(number & !SENSED != 0)
    };
    if is().map_err(io)? == wanted {
        return Ok(());
    }
    write(&file, if wanted { "1" } else { "0" }).map_err(io)?;
    match is().map_err(io)? == wanted {
        true => Ok(()),
        false => Err(LampError::Ignored(which)),
    }
}

/// Both lamps in one message. Where both are wanted, the one that somebody waits for: together they mean "rebuilds".
fn message(file: &Path, lit: Lit) -> Result<(), LampError> {
    let (which, wanted) = match lit {
        Lit { locate: true, .. } => (Which::Locate, AHCI_LOCATE),
        Lit { fault: true, .. } => (Which::Fault, AHCI_FAULT),
        Lit { .. } => (Which::Fault, 0),
    };
    let io = |source| LampError::Io { which, source };
    let is = || -> io::Result<u32> {
        let said = read(file)?;
        // The driver adds and takes away the bits of activity as it likes.
        let digits = said.trim().trim_start_matches("0x");
        let number = u32::from_str_radix(digits, 16).map_err(|_| garbled(&said))?;
        Ok(number & (AHCI_LOCATE | AHCI_FAULT))
    };
    if is().map_err(io)? == wanted {
        return Ok(());
    }
    for left in (0..AHCI_TRIES).rev() {
        thread::sleep(AHCI_PAUSE);
        match write(file, &format!("{wanted:#x}")) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy && left > 0 => {}
            Err(error) => return Err(io(error)),
            Ok(()) => break,
        }
    }
    match is().map_err(io)? == wanted {
        true => Ok(()),
        false => Err(LampError::Ignored(which)),
    }
}

fn garbled(said: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("it says {:?}", said.trim()))
}

/// The names in a folder, in order; none if there is no such folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn name(path: &Path) -> Option<String> {
    path.file_name()?.to_str().map(str::to_owned)
}

/// Whether it is a controller of NVMe: `nvme0`, but not `nvme0n1`.
fn is_controller(name: &str) -> bool {
    name.strip_prefix("nvme").is_some_and(|number| number.parse::<u32>().is_ok())
}

/// An attribute's text; `None` if there is none.
fn text(file: &Path) -> Option<String> {
    read(file).ok().map(|text| text.trim().to_owned())
}

/// An attribute has a page at most.
fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(file)?;
    file.take(4096).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes to a file that is there, in one piece, as attributes want it.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    options.write(true).truncate(true).custom_flags(flags);
    options.open(file)?.write_all(format!("{text}\n").as_bytes())
}

#[cfg(test)]
#[path = "tree/tests.rs"]
mod tests;
