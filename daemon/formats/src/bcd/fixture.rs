//! Boot configurations for tests, written from nothing: registry hives (layout: the regf format specification of the
//! msuhanov project) and the elements that entries of a BCD have.

use uuid::Uuid;

use super::device::partition;

const NONE: u32 = u32::MAX;
const SZ: u32 = 1;
const BINARY: u32 = 3;
const DWORD: u32 = 4;
const MULTI_SZ: u32 = 7;

/// A key of a hive.
#[derive(Clone, Debug, Default)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) values: Vec<(String, u32, Vec<u8>)>,
    pub(super) keys: Vec<Key>,
}

impl Key {
    fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    fn with_value(mut self, name: &str, kind: u32, data: Vec<u8>) -> Self {
        self.values.push((name.into(), kind, data));
        self
    }

    /// The hive with this root.
    pub(super) fn hive(&self) -> Vec<u8> {
        let mut bin = Bin(vec![0; 32]);
        let root = bin.key(self, NONE);
        let used = bin.0.len();
        let length = (used + 8).next_multiple_of(4096);
        bin.0.extend(i32::try_from(length - used).unwrap().to_le_bytes());
        bin.0.resize(length, 0);
        let length = u32::try_from(length).unwrap();
        for (at, number) in (0..).step_by(4).zip([u32::from_le_bytes(*b"hbin"), 0, length]) {
            bin.0[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        let mut base = b"regf".to_vec();
        for number in [1, 1, 0, 0, 1, 3, 0, 1, root, length, 1] {
            base.extend(number.to_le_bytes());
        }
        base.resize(4096, 0);
        let words = base[..508].as_chunks::<4>().0.iter();
        let sum = words.fold(0, |sum, word| sum ^ u32::from_le_bytes(*word));
        base[508..512].copy_from_slice(&sum.to_le_bytes());
        base.extend(bin.0);
        base
    }
}

struct Bin(Vec<u8>);

impl Bin {
    fn cell(&mut self, body: &[u8]) -> u32 {
        let offset = self.0.len();
        let size = (4 + body.len()).next_multiple_of(8);
        self.0.extend((-i32::try_from(size).unwrap()).to_le_bytes());
        self.0.extend(body);
        self.0.resize(offset + size, 0);
        u32::try_from(offset).unwrap()
    }

    fn put(&mut self, at: u32, number: u32) {
        let at = usize::try_from(at).unwrap();
        self.0[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }

    fn key(&mut self, key: &Key, parent: u32) -> u32 {
        let count = |length: usize| u32::try_from(length).unwrap();
        let mut body = b"nk".to_vec();
        let root = if parent == NONE { 0x2c_u16 } else { 0x20 };
        body.extend(root.to_le_bytes());
        body.extend([0; 8]);
        let numbers = [0, parent, count(key.keys.len()), 0, NONE, NONE, count(key.values.len())];
        for number in numbers.into_iter().chain([NONE, NONE, NONE, 0, 0, 0, 0, 0]) {
            body.extend(number.to_le_bytes());
        }
        body.extend(u16::try_from(key.name.len()).unwrap().to_le_bytes());
        body.extend([0; 2]);
        body.extend(key.name.as_bytes());
        let at = self.cell(&body);
        let mut list = Vec::new();
        for (name, kind, data) in &key.values {
            let value = self.value(name, *kind, data);
            list.extend(value.to_le_bytes());
        }
        if !list.is_empty() {
            let list = self.cell(&list);
            self.put(at + 4 + 40, list);
        }
        let mut keys: Vec<&Key> = key.keys.iter().collect();
        keys.sort_by_key(|key| key.name.to_uppercase());
        let mut list = b"lf".to_vec();
        list.extend(u16::try_from(keys.len()).unwrap().to_le_bytes());
        for key in keys {
            let offset = self.key(key, at);
            list.extend(offset.to_le_bytes());
            let mut hint = key.name.as_bytes().to_vec();
            hint.resize(4, 0);
            list.extend(hint);
        }
        if list.len() > 4 {
            let list = self.cell(&list);
            self.put(at + 4 + 28, list);
        }
        at
    }

    fn value(&mut self, name: &str, kind: u32, data: &[u8]) -> u32 {
        let length = u32::try_from(data.len()).unwrap();
        let (size, offset) = match <[u8; 4]>::try_from(data) {
            Ok(inside) => (length | 1 << 31, u32::from_le_bytes(inside)),
            Err(_) => (length, self.cell(data)),
        };
        let mut body = b"vk".to_vec();
        body.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        for number in [size, offset, kind] {
            body.extend(number.to_le_bytes());
        }
        body.extend([1, 0, 0, 0]);
        body.extend(name.as_bytes());
        self.cell(&body)
    }
}

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
