//! What the boot manager starts, by its BCD alone.

use std::fmt;

use uuid::Uuid;

use super::BcdError;
use super::device::Device;
use super::store::{BOOT_MANAGER, Object, Store, guid, guids, text};

/// `BcdBootMgrObject_DefaultObject`, on the boot manager.
const DEFAULT: u32 = 0x2300_0003;
/// `BcdBootMgrObjectList_DisplayOrder`, on the boot manager.
const DISPLAY_ORDER: u32 = 0x2400_0001;
/// `BcdBootMgrObjectList_BootSequence`, on the boot manager.
const BOOT_SEQUENCE: u32 = 0x2400_0002;
/// `BcdBootMgrInteger_Timeout`, on the boot manager.
const TIMEOUT: u32 = 0x2500_0004;
/// `BcdLibraryDevice_ApplicationDevice`
pub(super) const DEVICE: u32 = 0x1100_0001;
/// `BcdOSLoaderDevice_OSDevice`
pub(super) const OS_DEVICE: u32 = 0x2100_0001;
/// `BcdOSLoaderString_SystemRoot`
const SYSTEM_ROOT: u32 = 0x2200_0002;
/// `BcdLibraryString_ApplicationPath`
const PATH: u32 = 0x1200_0002;
/// `BcdLibraryString_Description`
const DESCRIPTION: u32 = 0x1200_0004;
/// `BcdDeviceData_SdiPath`, on the ramdisk options.
const SDI_PATH: u32 = 0x3200_0004;
/// `Description\Type` of an operating system loader.
const OS_LOADER: u32 = 0x1020_0003;

/// More entries than this are in no boot sequence.
const LONGEST_SEQUENCE: usize = 16;
/// No path of a boot file is longer, in bytes.
const LONGEST_PATH: usize = 1024;
/// Of a title, so many characters are kept.
const LONGEST_TITLE: usize = 128;

/// How an entry comes to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It has this place in the boot sequence, from 1, which is gone through once, before anything else.
    Sequence(usize),
    /// The boot manager's default.
    Default,
    /// The menu's first entry: the default where none is named.
    Shown,
    /// The only loader, where neither a default nor a menu is named.
    Only,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequence(place) => write!(f, "entry {place} of the boot sequence"),
            Self::Default => f.write_str("the default entry"),
            Self::Shown => f.write_str("the first entry of the menu"),
            Self::Only => f.write_str("the only loader"),
        }
    }
}

/// An entry that the boot manager starts: an operating system loader in a ramdisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    pub(super) object: Uuid,
    /// The object of its ramdisk's options.
    pub(super) options: Uuid,
    /// How it comes to be started.
    pub turn: Turn,
    /// Its name in the menu.
    pub title: Option<String>,
    /// The file on the Windows volume that becomes the ramdisk, with backslashes.
    pub image: String,
    /// The file on the Windows volume by which a WIM becomes a ramdisk.
    pub sdi: String,
    /// The program in the ramdisk that is started.
    pub loader: String,
    /// What `osdevice` names, if that is not the same ramdisk.
    pub(super) os_device: Option<OsDevice>,
    /// The folder of the ramdisk in which the loader looks for Windows; the path as it stands.
    pub system_root: Option<String>,
}

/// What `osdevice` names in place of the ramdisk in `device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OsDevice {
    /// A ramdisk of this file.
    Ramdisk(String),
    /// Something else, in words.
    Other(String),
}

/// What the boot manager starts: the boot sequence's entries, then the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// In their order; the first one is what the first start runs.
    pub entries: Vec<Started>,
    /// Entries of the menu, and the seconds for which it is shown.
    pub(super) menu: (usize, Option<u64>),
}

impl Start {
    /// Follows a BCD as the boot manager would.
    ///
    /// # Errors
    /// [`BcdError`] if it would start no ramdisk of the media at each turn.
    pub fn of(bcd: &[u8]) -> Result<Self, BcdError> {
        Self::in_store(&Store::read(bcd)?)
    }

    pub(super) fn in_store(store: &Store) -> Result<Self, BcdError> {
        if !store.0.contains_key(&BOOT_MANAGER) {
            return Err(BcdError::Missing("boot manager"));
        }
        let list = |element| store.element(BOOT_MANAGER, element).map(guids).unwrap_or_default();
        let sequence = list(BOOT_SEQUENCE);
        if sequence.len() > LONGEST_SEQUENCE {
            return Err(BcdError::TooLarge("its boot sequence"));
        }
        let mut entries = Vec::new();
        for (place, object) in (1..).zip(sequence) {
            entries.push(started(store, object, Turn::Sequence(place))?);
        }
        let shown = list(DISPLAY_ORDER);
        let (object, turn) = default(store, shown.first().copied())?;
        entries.push(started(store, object, turn)?);
        let seconds = store.element(BOOT_MANAGER, TIMEOUT);
        let seconds = seconds.and_then(|data| data.try_into().ok()).map(u64::from_le_bytes);
        Ok(Self { entries, menu: (shown.len(), seconds) })
    }
}

/// The entry that the boot manager starts by itself.
fn default(store: &Store, shown: Option<Option<Uuid>>) -> Result<(Option<Uuid>, Turn), BcdError> {
    if let Some(data) = store.element(BOOT_MANAGER, DEFAULT) {
        return Ok((text(data).as_deref().and_then(guid), Turn::Default));
    }
    if let Some(first) = shown {
        return Ok((first, Turn::Shown));
    }
    let loader = |(_, object): &(&Uuid, &Object)| object.kind == Some(OS_LOADER);
    let mut loaders = store.0.iter().filter(loader).map(|(name, _)| *name);
    match (loaders.next(), loaders.count()) {
        (Some(only), 0) => Ok((Some(only), Turn::Only)),
        (Some(_), others) => Err(BcdError::NoDefault(1 + others)),
        (None, _) => Err(BcdError::Missing("operating system loader")),
    }
}

/// Whether a text is a path of a file; boot managers know no other form.
fn is_path(text: &str) -> bool {
    text.starts_with('\\') && (2..=LONGEST_PATH).contains(&text.len())
}

fn file(data: &[u8]) -> Option<String> {
    text(data).filter(|text| is_path(text))
}

fn started(store: &Store, object: Option<Uuid>, turn: Turn) -> Result<Started, BcdError> {
    let there = object.and_then(|object| Some((object, store.0.get(&object)?)));
    let (object, found) = there.ok_or(BcdError::NoEntry(turn))?;
    if found.kind != Some(OS_LOADER) {
        return Err(BcdError::NotLoader { turn, kind: kind(found.kind) });
    }
    let device = store.element(object, DEVICE).map(Device::parse);
    let (options, image) = match device {
        Some(Device::Ramdisk { options, path }) if is_path(&path) => (options, path),
        Some(Device::Ramdisk { .. }) => {
            return Err(BcdError::NoRamdisk { turn, device: "a ramdisk without a file".into() });
        }
        Some(Device::Other(device)) => return Err(BcdError::NoRamdisk { turn, device }),
        None => return Err(BcdError::NoRamdisk { turn, device: "not named".into() }),
    };
    let loader = store.element(object, PATH).and_then(file).ok_or(BcdError::NoLoader(turn))?;
    if !loader.to_ascii_lowercase().ends_with(".efi") {
        return Err(BcdError::NotEfi { turn, path: loader });
    }
    if !store.0.contains_key(&options) {
        return Err(BcdError::NoOptions(turn));
    }
    let sdi = store.element(options, SDI_PATH).and_then(file).ok_or(BcdError::NoSdi(turn))?;
    let title = store.element(object, DESCRIPTION).and_then(text);
    let title = title.map(|title| title.chars().take(LONGEST_TITLE).collect());
    let os_device = match store.element(object, OS_DEVICE).map(Device::parse) {
        Some(Device::Ramdisk { path, .. }) if path.to_lowercase() == image.to_lowercase() => None,
        Some(Device::Ramdisk { path, .. }) if is_path(&path) => Some(OsDevice::Ramdisk(path)),
        Some(Device::Ramdisk { .. }) => Some(OsDevice::Other("a ramdisk without a file".into())),
        Some(Device::Other(words)) => Some(OsDevice::Other(words)),
        None => None,
    };
    let system_root = store.element(object, SYSTEM_ROOT).and_then(text);
    Ok(Started { object, options, turn, title, image, sdi, loader, os_device, system_root })
}

/// The kind of an object, in words (`Description\Type`: kind of object, of image, of application).
fn kind(number: Option<u32>) -> String {
    let words = match number {
        None => "of no kind that it tells",
        Some(0x1010_0001) => "the firmware's boot manager",
        Some(0x1010_0002) => "a boot manager",
        Some(0x1020_0004) => "a return from hibernation",
        Some(0x1020_0005 | 0x1010_0005) => "a memory test",
        Some(0x1030_0006 | 0x1030_0007) => "the loader of an older Windows",
        Some(0x1040_0008) => "a boot sector",
        Some(0x1040_0009) => "a program for BIOS",
        Some(number) if number >> 28 == 2 => "a group of settings",
        Some(number) if number >> 28 == 3 => "the options of a device",
        Some(number) => return format!("of kind {number:#x}"),
    };
    words.into()
}
