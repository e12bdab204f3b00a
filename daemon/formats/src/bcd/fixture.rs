//! Boot configurations for tests: the elements that entries of a BCD have, written from nothing.

use uuid::Uuid;

use super::device::partition;
use super::hive::{BINARY, DWORD, Key, MULTI_SZ, SZ};

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

pub(super) fn text(value: &str) -> (u32, Vec<u8>) {
    (SZ, utf16(&format!("{value}\0")))
}

pub(super) fn list(objects: &[&str]) -> (u32, Vec<u8>) {
    let all: String = objects.iter().map(|object| format!("{object}\0")).collect();
    (MULTI_SZ, utf16(&format!("{all}\0")))
}

pub(super) fn number(value: u64) -> (u32, Vec<u8>) {
    (BINARY, value.to_le_bytes().to_vec())
}

pub(super) fn bytes(data: &[u8]) -> (u32, Vec<u8>) {
    (BINARY, data.to_vec())
}

/// `[boot]`, as the description of a device.
fn boot_block() -> Vec<u8> {
    let mut data: Vec<u8> = [5_u32, 0, 0x48, 0].iter().flat_map(|n| n.to_le_bytes()).collect();
    data.resize(0x48, 0);
    data
}

/// `locate=`: a partition that holds a file.
pub(super) fn locate_block(path: &str) -> Vec<u8> {
    let path = utf16(&format!("{path}\0"));
    let length = u32::try_from(0x24 + path.len()).unwrap();
    let mut data: Vec<u8> = [8_u32, 0, length, 0].iter().flat_map(|n| n.to_le_bytes()).collect();
    data.resize(0x24, 0);
    data.extend(path);
    data
}

/// A device that is described so.
fn plain(block: &[u8]) -> (u32, Vec<u8>) {
    (BINARY, [&[0; 16], block].concat())
}

pub(super) fn boot() -> (u32, Vec<u8>) {
    plain(&boot_block())
}

pub(super) fn locate(path: &str) -> (u32, Vec<u8>) {
    plain(&locate_block(path))
}

pub(super) fn on_partition() -> (u32, Vec<u8>) {
    (BINARY, partition(Uuid::from_u128(7), Uuid::from_u128(8)))
}

/// `ramdisk=[…]path,options`, on a device that is described so.
pub(super) fn ramdisk_in(block: &[u8], path: &str, options: &str) -> (u32, Vec<u8>) {
    let path = utf16(&format!("{path}\0"));
    let length = u32::try_from(0x44 + block.len() + path.len()).unwrap();
    let mut data = Uuid::parse_str(options).unwrap().to_bytes_le().to_vec();
    for number in [0, 1, length - 0x10, 0, 3, 0, 0, 0, 0, 0, 1, length - 0x38, 5] {
        data.extend(number.to_le_bytes());
    }
    data.extend(block);
    data.extend(path);
    (BINARY, data)
}

/// `ramdisk=[boot]path,options`
pub(super) fn ramdisk(path: &str, options: &str) -> (u32, Vec<u8>) {
    ramdisk_in(&boot_block(), path, options)
}

/// `vhd=[boot]path`
pub(super) fn virtual_disk(path: &str) -> (u32, Vec<u8>) {
    let (kind, mut data) = ramdisk(path, &Uuid::nil().to_string());
    data[0x20] = 5;
    (kind, data)
}

/// A boot configuration, object by object.
#[derive(Clone, Debug, Default)]
pub(super) struct Bcd(pub(super) Vec<(String, Option<u32>, Vec<Element>)>);

/// An element with its type and data.
pub(super) type Element = (u32, (u32, Vec<u8>));

impl Bcd {
    pub(super) fn object(mut self, name: &str, kind: u32, elements: Vec<Element>) -> Self {
        self.0.push((name.into(), Some(kind), elements));
        self
    }

    /// With an element of an object that is there.
    pub(super) fn with(mut self, object: &str, element: u32, value: (u32, Vec<u8>)) -> Self {
        let found = self.0.iter_mut().find(|(name, ..)| name == object).unwrap();
        found.2.retain(|(number, _)| *number != element);
        found.2.push((element, value));
        self
    }

    /// Without an element of an object.
    pub(super) fn without(mut self, object: &str, element: u32) -> Self {
        let found = self.0.iter_mut().find(|(name, ..)| name == object).unwrap();
        found.2.retain(|(number, _)| *number != element);
        self
    }

    /// Without an object.
    pub(super) fn lacking(mut self, object: &str) -> Self {
        self.0.retain(|(name, ..)| name != object);
        self
    }

    /// As the root key of a hive.
    pub(super) fn root(&self) -> Key {
        let mut objects = Key::new("Objects");
        for (name, kind, elements) in &self.0 {
            let mut object = Key::new(name);
            if let Some(kind) = kind {
                let kind = kind.to_le_bytes().to_vec();
                object.keys.push(Key::new("Description").with_value("Type", DWORD, kind));
            }
            let mut all = Key::new("Elements");
            for (element, (kind, data)) in elements {
                let key = Key::new(format!("{element:08x}"));
                all.keys.push(key.with_value("Element", *kind, data.clone()));
            }
            object.keys.push(all);
            objects.keys.push(object);
        }
        let name = utf16("BCD00000001\0");
        let description = Key::new("Description").with_value("KeyName", SZ, name);
        Key { keys: vec![description, objects], ..Key::new("NewStoreRoot") }
    }

    pub(super) fn hive(&self) -> Vec<u8> {
        self.root().hive()
    }
}
