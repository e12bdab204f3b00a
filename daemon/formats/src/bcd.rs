//! The boot configuration (BCD): a registry hive that names the partitions that the boot manager uses.
//!
//! The BCD of media made for a single partition names `[boot]`. On a drive with a separate ESP, that is the wrong
//! volume. So the device elements of the boot manager, of the default loader and of the ramdisk options are set to the
//! drive's own partitions, whatever they were before, as bcdedit does with `partition=` and `ramdisk=`. The hive is
//! read with nt-hive and changed by hivexsh, with a script that this module writes.
//!
//! Byte layouts: ntloader's `bcd.h` and the BCD-SYS project's scripts, which agree; elements and objects: Microsoft's
//! BCD WMI provider documentation.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use model::hint::Hint;
use model::layout::Places;
use nt_hive::{Hive, KeyNode, NtHiveError};
use uuid::Uuid;

/// The boot manager's object.
const BOOT_MANAGER: &str = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}";
/// The usual object of ramdisk options.
const RAMDISK_OPTIONS: Uuid = Uuid::from_u128(0xae5534e0_a924_466c_b836_758539a3ee3a);
/// `BcdBootMgrObject_DefaultObject`, on the boot manager.
const DEFAULT_OBJECT: &str = "23000003";
/// `BcdLibraryDevice_ApplicationDevice`.
const DEVICE: &str = "11000001";
/// `BcdOSLoaderDevice_OSDevice`.
const OS_DEVICE: &str = "21000001";
/// `BcdDeviceData_SdiDevice`, on the ramdisk options.
const SDI_DEVICE: &str = "31000003";
/// `BcdDeviceData_SdiPath`, on the ramdisk options.
const SDI_PATH: &str = "32000004";
/// `Description\Type` of an operating system loader.
const TYPE_OS_LOADER: u32 = 0x1020_0003;

/// A boot configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BcdError {
    /// The bytes are not a sound registry hive.
    #[error("the BCD is not a sound registry hive: {0}")]
    Hive(String),
    /// Some changes are still in the hive's log and not in the hive.
    #[error("the BCD was not closed cleanly")]
    Dirty,
    /// An object or element that the boot manager needs is missing.
    #[error("the BCD has no {0}")]
    Missing(String),
    /// An element of a drive's BCD names other partitions.
    #[error(
        "element {element} of object {object} in the drive's BCD does not name the drive's own partitions"
    )]
    #[expect(missing_docs, reason = "the names say it")]
    Wrong { object: String, element: &'static str },
}

impl Hint for BcdError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Dirty => Some("open it once with bcdedit, and make the media anew".into()),
            Self::Hive(_) | Self::Missing(_) | Self::Wrong { .. } => None,
        }
    }
}

impl From<NtHiveError> for BcdError {
    fn from(error: NtHiveError) -> Self {
        match error {
            NtHiveError::SequenceNumberMismatch { .. } => Self::Dirty,
            other => Self::Hive(other.to_string()),
        }
    }
}

/// An element of an object, and the data that it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Element {
    object: String,
    name: &'static str,
    data: Vec<u8>,
    /// Whether the object has the element already, with whatever data.
    exists: bool,
}

type Node<'h> = KeyNode<'h, &'h [u8]>;

fn object<'h>(objects: &Node<'h>, name: &str) -> Result<Node<'h>, BcdError> {
    objects
        .subkey(name)
        .ok_or_else(|| BcdError::Missing(format!("object {name}")))?
        .map_err(Into::into)
}

/// The data of an element; `None` if the object has no such element.
fn element(object: &Node<'_>, name: &str) -> Result<Option<Vec<u8>>, BcdError> {
    let Some(key) = object.subpath(&format!("Elements\\{name}")) else { return Ok(None) };
    let Some(value) = key?.value("Element") else { return Ok(None) };
    Ok(Some(value?.data()?.into_vec()?))
}

fn text(data: &[u8]) -> String {
    let units: Vec<u16> =
        data.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// Reads with nt-hive, which panics on some damaged hives: such a hive in media must not end the station.
fn guarded<T>(read: impl FnOnce() -> Result<T, BcdError>) -> Result<T, BcdError> {
    let damaged = || BcdError::Hive("its structure contradicts itself".into());
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(damaged()))
}

/// The elements that must be set in this BCD.
fn elements(bcd: &[u8], places: &Places) -> Result<Vec<Element>, BcdError> {
    guarded(|| read_elements(bcd, places))
}

fn read_elements(bcd: &[u8], places: &Places) -> Result<Vec<Element>, BcdError> {
    let hive = Hive::new(bcd)?;
    let root = hive.root_key_node()?;
    let objects = root.subkey("Objects").ok_or_else(|| BcdError::Missing("objects".into()))??;
    let manager = object(&objects, BOOT_MANAGER)?;
    let loader_name = match element(&manager, DEFAULT_OBJECT)? {
        Some(data) => text(&data),
        None => only_loader(&objects)?,
    };
    // The name goes into the script, so nothing but a GUID in braces is accepted.
    let guid = loader_name.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
    if guid.is_none_or(|guid| guid.len() != 36 || Uuid::parse_str(guid).is_err()) {
        return Err(BcdError::Missing(format!("valid default loader, but {loader_name:?}")));
    }
    let loader = object(&objects, &loader_name)?;
    let present = element(&loader, DEVICE)?;
    let (options, path) = present
        .as_deref()
        .and_then(ramdisk)
        .unwrap_or((RAMDISK_OPTIONS, "\\sources\\boot.wim".to_owned()));
    let options_name = format!("{{{options}}}");
    let ramdisk_options = object(&objects, &options_name)?;
    if element(&ramdisk_options, SDI_PATH)?.is_none() {
        return Err(BcdError::Missing(format!("path of boot.sdi in object {options_name}")));
    }

    let on = |partition| plain_device(places.disk, partition);
    let image = ramdisk_device(options, places, &path);
    let set = |object: &Node<'_>, object_name: &str, name, data| {
        let exists = element(object, name)?.is_some();
        Ok(Element { object: object_name.to_owned(), name, data, exists })
    };
    [
        set(&manager, BOOT_MANAGER, DEVICE, on(places.esp)),
        set(&loader, &loader_name, DEVICE, image.clone()),
        set(&loader, &loader_name, OS_DEVICE, image),
        set(&ramdisk_options, &options_name, SDI_DEVICE, on(places.windows)),
    ]
    .into_iter()
    .collect()
}

/// The name of the only loader. The boot manager starts it if the BCD names no default.
fn only_loader(objects: &Node<'_>) -> Result<String, BcdError> {
    let mut loaders = Vec::new();
    for node in objects.subkeys().ok_or_else(|| BcdError::Missing("objects".into()))?? {
        let node = node?;
        let kind =
            node.subkey("Description").transpose()?.and_then(|d| d.value("Type")).transpose()?;
        if kind.map(|value| value.dword_data()).transpose()? == Some(TYPE_OS_LOADER) {
            loaders.push(node.name()?.to_string_lossy());
        }
    }
    match (loaders.pop(), loaders.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(BcdError::Missing("default among its several loaders".into())),
        (None, _) => Err(BcdError::Missing("operating system loader".into())),
    }
}

/// The 72 bytes that name a GPT partition.
fn partition_block(disk: Uuid, partition: Uuid) -> Vec<u8> {
    let mut block = Vec::with_capacity(72);
    for number in [6_u32, 0, 0x48, 0] {
        block.extend(number.to_le_bytes());
    }
    block.extend(partition.to_bytes_le());
    block.extend([0; 8]);
    block.extend(disk.to_bytes_le());
    block.extend([0; 16]);
    block
}

/// `partition=`
fn plain_device(disk: Uuid, partition: Uuid) -> Vec<u8> {
    let mut data = vec![0; 16];
    data.extend(partition_block(disk, partition));
    data
}

/// Offset of the path in a ramdisk device.
const RAMDISK_PATH: usize = 0x8c;

/// `ramdisk=[partition]path,options`
fn ramdisk_device(options: Uuid, places: &Places, path: &str) -> Vec<u8> {
    let path = utf16(path);
    let length = u32::try_from(RAMDISK_PATH + path.len()).unwrap_or(u32::MAX);
    let mut data = options.to_bytes_le().to_vec();
    for number in [0, 1, length - 0x10, 0, 3, 0, 0, 0, 0, 0, 1, length - 0x38, 5] {
        data.extend(number.to_le_bytes());
    }
    data.extend(partition_block(places.disk, places.windows));
    data.extend(path);
    data
}

/// Options object and path of a ramdisk device; `None` for any other kind of device.
fn ramdisk(data: &[u8]) -> Option<(Uuid, String)> {
    let options = Uuid::from_bytes_le(data.get(..16)?.try_into().ok()?);
    let kind = u32::from_le_bytes(data.get(0x20..0x24)?.try_into().ok()?);
    let path = text(data.get(RAMDISK_PATH..)?);
    let path = path.split('\0').next().unwrap_or_default().to_owned();
    (!options.is_nil() && kind == 3 && path.starts_with('\\')).then_some((options, path))
}

/// Writes a script for `hivexsh -w` that makes a BCD name these partitions.
///
/// # Errors
/// [`BcdError`] if the BCD cannot be used.
pub fn script(bcd: &[u8], places: &Places) -> Result<String, BcdError> {
    let mut script = String::new();
    for Element { object, name, data, exists } in elements(bcd, places)? {
        let _ = writeln!(script, "cd \\Objects\\{object}\\Elements");
        if !exists {
            let _ = writeln!(script, "add {name}");
        }
        let _ = writeln!(script, "cd {name}\nsetval 1\nElement");
        let hex: Vec<String> = data.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(script, "hex:3:{}", hex.join(","));
    }
    script.push_str("commit\n");
    Ok(script)
}

/// Checks that a BCD can be made to name a drive's partitions.
///
/// # Errors
/// [`BcdError`] if it cannot.
pub fn check_usable(bcd: &[u8]) -> Result<(), BcdError> {
    let anywhere = Places { disk: Uuid::nil(), esp: Uuid::nil(), windows: Uuid::nil() };
    elements(bcd, &anywhere).map(|_| ())
}

/// Checks that a BCD names exactly these partitions.
///
/// # Errors
/// [`BcdError::Wrong`] names the first element that does not.
pub fn check(bcd: &[u8], places: &Places) -> Result<(), BcdError> {
    guarded(|| {
        let hive = Hive::new(bcd)?;
        let root = hive.root_key_node()?;
        let objects =
            root.subkey("Objects").ok_or_else(|| BcdError::Missing("objects".into()))??;
        for Element { object: name, name: wanted, data, .. } in read_elements(bcd, places)? {
            if element(&object(&objects, &name)?, wanted)? != Some(data) {
                return Err(BcdError::Wrong { object: name, element: wanted });
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        let id = |n: u128| Uuid::from_u128(n << 64 | n);
        Places { disk: id(1), esp: id(2), windows: id(3) }
    }

    #[test]
    fn devices_have_the_published_layout() {
        let plain = plain_device(places().disk, places().esp);
        assert_eq!(plain.len(), 88);
        assert_eq!(plain[16..20], 6_u32.to_le_bytes());
        assert_eq!(plain[24..28], 0x48_u32.to_le_bytes());
        assert_eq!(plain[32..48], places().esp.to_bytes_le());
        assert_eq!(plain[56..72], places().disk.to_bytes_le());
        let path = "\\sources\\boot.wim";
        let image = ramdisk_device(RAMDISK_OPTIONS, &places(), path);
        assert_eq!(image[0x14..0x18], 1_u32.to_le_bytes());
        let length = u32::try_from(image.len()).unwrap();
        assert_eq!(image[0x18..0x1c], (length - 0x10).to_le_bytes());
        assert_eq!(image[0x3c..0x40], (length - 0x38).to_le_bytes());
        assert_eq!(image[0x40..0x44], 5_u32.to_le_bytes());
        assert_eq!(image[0x44 + 16..0x44 + 32], places().windows.to_bytes_le());
        assert_eq!(ramdisk(&image), Some((RAMDISK_OPTIONS, path.to_owned())));
        assert_eq!(ramdisk(&plain), None);
    }

    #[test]
    fn what_is_no_hive_is_an_error_not_a_panic() {
        assert!(check_usable(b"").is_err());
        assert!(check_usable(&[0x55; 8192]).is_err());
        let mut hive = vec![0; 8192];
        hive[..4].copy_from_slice(b"regf");
        assert!(check_usable(&hive).is_err());
    }
}
