//! Device elements: where the boot manager finds something.

use model::layout::Places;
use uuid::Uuid;

use super::store::text;

/// What a device element names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Device {
    /// A file that is loaded into memory, with the object of its options; nil if it has none.
    Ramdisk { options: Uuid, path: String },
    /// Anything else, in words.
    Other(String),
}

/// Types of devices, at 0x10 of an element and at 0x44 of a ramdisk's (ntloader, `bcd.h`).
const LOCAL: u32 = 0;
const BOOT: u32 = 5;
const PARTITION: u32 = 6;
const LOCATE: u32 = 8;
/// Types of local devices, at 0x20.
const RAMDISK: u32 = 3;
const FILE: u32 = 5;

/// Offset in a ramdisk device of the device on which its file lies.
const PARENT: usize = 0x44;
/// The shortest description of a device: type, flags, length and four bytes more.
const SHORTEST: usize = 0x10;

fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(data.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

impl Device {
    pub(super) fn parse(data: &[u8]) -> Self {
        Self::understand(data)
            .unwrap_or_else(|| Self::Other("one that cannot be understood".into()))
    }

    fn understand(data: &[u8]) -> Option<Self> {
        let words = match (word(data, 0x10)?, word(data, 0x20)) {
            (LOCAL, Some(RAMDISK)) => return parse_ramdisk(data),
            (LOCAL, Some(FILE)) => "a virtual disk".into(),
            (LOCAL, Some(local)) => format!("a local one of type {local}"),
            (BOOT, _) => "the partition from which the boot manager was started".into(),
            (PARTITION, _) => "a partition".into(),
            (LOCATE, _) => "a partition that is searched for".into(),
            (4, _) => "the network".into(),
            (other, _) => format!("one of type {other}"),
        };
        Some(Self::Other(words))
    }
}

/// The path follows the description of the device on which it lies, whose length depends on the kind of that device.
fn parse_ramdisk(data: &[u8]) -> Option<Device> {
    let options = Uuid::from_bytes_le(data.get(..16)?.try_into().ok()?);
    let length = usize::try_from(word(data, PARENT + 8)?).ok().filter(|n| *n >= SHORTEST)?;
    let units = data.get(PARENT.checked_add(length)?..)?;
    let end = units.as_chunks::<2>().0.iter().position(|unit| *unit == [0, 0])?;
    Some(Device::Ramdisk { options, path: text(&units[..2 * end])? })
}

/// The 72 bytes that name a GPT partition.
fn partition_block(disk: Uuid, partition: Uuid) -> Vec<u8> {
    let mut block = Vec::with_capacity(72);
    for number in [PARTITION, 0, 0x48, 0] {
        block.extend(number.to_le_bytes());
    }
    block.extend(partition.to_bytes_le());
    block.extend([0; 8]);
    block.extend(disk.to_bytes_le());
    block.extend([0; 16]);
    block
}

/// `partition=`
pub(super) fn partition(disk: Uuid, partition: Uuid) -> Vec<u8> {
    let mut data = vec![0; 16];
    data.extend(partition_block(disk, partition));
    data
}

/// `boot`: the partition from which the boot manager was started.
pub(super) fn boot() -> Vec<u8> {
    let mut data = vec![0; 16];
    for number in [BOOT, 0, 0x48, 0] {
        data.extend(number.to_le_bytes());
    }
    data.resize(16 + 72, 0);
    data
}

/// `ramdisk=[partition]path,options`
pub(super) fn ramdisk_on_windows(options: Uuid, places: &Places, path: &str) -> Vec<u8> {
    ramdisk(options, &partition_block(places.disk, places.windows), path)
}

/// `ramdisk=[…]path,options`, where `parent` describes the device on which the file lies.
pub(super) fn ramdisk(options: Uuid, parent: &[u8], path: &str) -> Vec<u8> {
    let path: Vec<u8> = path.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let length = u32::try_from(PARENT + parent.len() + path.len()).unwrap_or(u32::MAX);
    let mut data = options.to_bytes_le().to_vec();
    for number in [LOCAL, 1, length - 0x10, 0, RAMDISK, 0, 0, 0, 0, 0, 1, length - 0x38, 5] {
        data.extend(number.to_le_bytes());
    }
    data.extend(parent);
    data.extend(path);
    data
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
        let plain = partition(places().disk, places().esp);
        assert_eq!(plain.len(), 88);
        assert_eq!(plain[16..20], 6_u32.to_le_bytes());
        assert_eq!(plain[24..28], 0x48_u32.to_le_bytes());
        assert_eq!(plain[32..48], places().esp.to_bytes_le());
        assert_eq!(plain[56..72], places().disk.to_bytes_le());
        let (options, path) = (Uuid::from_u128(4), "\\sources\\boot.wim");
        let image = ramdisk_on_windows(options, &places(), path);
        assert_eq!(image[0x14..0x18], 1_u32.to_le_bytes());
        let length = u32::try_from(image.len()).unwrap();
        assert_eq!(image[0x18..0x1c], (length - 0x10).to_le_bytes());
        assert_eq!(image[0x3c..0x40], (length - 0x38).to_le_bytes());
        assert_eq!(image[0x40..0x44], 5_u32.to_le_bytes());
        assert_eq!(image[0x44 + 16..0x44 + 32], places().windows.to_bytes_le());
        assert_eq!(Device::parse(&image), Device::Ramdisk { options, path: path.into() });
        assert_eq!(Device::parse(&plain), Device::Other("a partition".into()));
    }

    #[test]
    fn whatever_is_cut_off_is_understood_or_not_but_never_read_beyond() {
        let image = ramdisk_on_windows(Uuid::from_u128(4), &places(), "\\a");
        for length in 0..image.len() - 1 {
            let Device::Other(_) = Device::parse(&image[..length]) else {
                panic!("a path without its end, cut at {length}");
            };
        }
        let mut wild = image;
        wild[0x4c..0x50].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Device::parse(&wild), Device::Other("one that cannot be understood".into()));
    }
}
