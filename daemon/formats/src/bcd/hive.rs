//! Writes registry hives from nothing (layout: the regf format specification of the msuhanov project).

use crate::security;

const NONE: u32 = u32::MAX;
/// Types of values.
pub(super) const SZ: u32 = 1;
pub(super) const BINARY: u32 = 3;
pub(super) const DWORD: u32 = 4;
pub(super) const MULTI_SZ: u32 = 7;
/// Bytes of a hive's base block, and of the unit in which it grows.
const BLOCK: usize = 4096;
/// Bytes of a bin before its first cell.
const BIN: usize = 32;
/// Flags of a key: its name is ASCII; it is the root, which cannot be deleted.
const ASCII: u16 = 0x20;
const ROOT: u16 = 0x0c;

/// A key of a hive. Names are ASCII.
#[derive(Clone, Debug, Default)]
pub(super) struct Key {
    pub(super) name: String,
    /// Name, type and data of each.
    pub(super) values: Vec<(String, u32, Vec<u8>)>,
    pub(super) keys: Vec<Key>,
}

impl Key {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    pub(super) fn with_value(mut self, name: &str, kind: u32, data: Vec<u8>) -> Self {
        self.values.push((name.into(), kind, data));
        self
    }

    /// This key and all below it.
    fn count(&self) -> usize {
        1 + self.keys.iter().map(Self::count).sum::<usize>()
    }

    /// The hive with this root.
    pub(super) fn hive(&self) -> Vec<u8> {
        let mut bin = Bin(vec![0; BIN]);
        bin.security(self.count());
        let root = bin.key(self, NONE);
        let used = bin.0.len();
        let length = (used + 8).next_multiple_of(BLOCK);
        bin.0.extend(number(length - used).to_le_bytes());
        bin.0.resize(length, 0);
        bin.put(0, u32::from_le_bytes(*b"hbin"));
        bin.put(8, number(length));
        let mut base = b"regf".to_vec();
        for field in [1, 1, 0, 0, 1, 3, 0, 1, root, number(length), 1] {
            base.extend(u32::to_le_bytes(field));
        }
        base.resize(BLOCK, 0);
        let words = base[..508].as_chunks::<4>().0.iter();
        let sum = words.fold(0, |sum, word| sum ^ u32::from_le_bytes(*word));
        base[508..512].copy_from_slice(&sum.to_le_bytes());
        base.extend(bin.0);
        base
    }
}

/// A length or a place as a hive has it. No hive that is written here comes near the limit.
fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The bytes of a key's text in UTF-16, of which a key tells the longest.
fn longest<'a>(names: impl Iterator<Item = &'a String>) -> u32 {
    number(names.map(|name| 2 * name.len()).max().unwrap_or(0))
}

/// The one bin of the hive, which holds all cells. The security descriptor's is the first.
struct Bin(Vec<u8>);

impl Bin {
    fn cell(&mut self, body: &[u8]) -> u32 {
        let offset = self.0.len();
        let size = (4 + body.len()).next_multiple_of(8);
        // A cell in use has a negative length.
        self.0.extend(number(size).wrapping_neg().to_le_bytes());
        self.0.extend(body);
        self.0.resize(offset + size, 0);
        number(offset)
    }

    fn put(&mut self, at: usize, field: u32) {
        self.0[at..at + 4].copy_from_slice(&field.to_le_bytes());
    }

    /// Sets a field of a cell.
    fn set(&mut self, cell: u32, field: usize, value: u32) {
        if let Ok(cell) = usize::try_from(cell) {
            self.put(cell + 4 + field, value);
        }
    }

    /// The security descriptor that so many keys share, alone in the ring of descriptors.
    fn security(&mut self, keys: usize) {
        let descriptor = security::registry_key();
        let mut body = b"sk\0\0".to_vec();
        for field in [number(BIN), number(BIN), number(keys), number(descriptor.len())] {
            body.extend(field.to_le_bytes());
        }
        body.extend(descriptor);
        self.cell(&body);
    }

    fn key(&mut self, key: &Key, parent: u32) -> u32 {
        let flags = if parent == NONE { ASCII | ROOT } else { ASCII };
        let mut body = b"nk".to_vec();
        body.extend(flags.to_le_bytes());
        body.extend([0; 8]);
        let data = key.values.iter().map(|(_, _, data)| data.len()).max().unwrap_or(0);
        let fields = [
            0,
            parent,
            number(key.keys.len()),
            0,
            NONE,
            NONE,
            number(key.values.len()),
            NONE,
            number(BIN),
            NONE,
            longest(key.keys.iter().map(|key| &key.name)),
            0,
            longest(key.values.iter().map(|(name, _, _)| name)),
            number(data),
            0,
        ];
        body.extend(fields.into_iter().flat_map(u32::to_le_bytes));
        body.extend(u16::try_from(key.name.len()).unwrap_or(0).to_le_bytes());
        body.extend([0; 2]);
        body.extend(key.name.as_bytes());
        let at = self.cell(&body);
        let values: Vec<u32> =
            key.values.iter().map(|(name, kind, data)| self.value(name, *kind, data)).collect();
        if !values.is_empty() {
            let list: Vec<u8> = values.into_iter().flat_map(u32::to_le_bytes).collect();
            let list = self.cell(&list);
            self.set(at, 40, list);
        }
        let mut keys: Vec<&Key> = key.keys.iter().collect();
        // The list is searched by halves.
        keys.sort_by_key(|key| key.name.to_uppercase());
        let mut list = b"lf".to_vec();
        list.extend(u16::try_from(keys.len()).unwrap_or(0).to_le_bytes());
        for key in keys {
            list.extend(self.key(key, at).to_le_bytes());
            let mut hint = key.name.as_bytes().to_vec();
            hint.resize(4, 0);
            list.extend(hint);
        }
        if list.len() > 4 {
            let list = self.cell(&list);
            self.set(at, 28, list);
        }
        at
    }

    fn value(&mut self, name: &str, kind: u32, data: &[u8]) -> u32 {
        let (size, offset) = match <[u8; 4]>::try_from(data) {
            // Four bytes stand in the place of their offset.
            Ok(inside) => (4 | 1 << 31, u32::from_le_bytes(inside)),
            Err(_) => (number(data.len()), self.cell(data)),
        };
        let mut body = b"vk".to_vec();
        body.extend(u16::try_from(name.len()).unwrap_or(0).to_le_bytes());
        for field in [size, offset, kind] {
            body.extend(u32::to_le_bytes(field));
        }
        // The name is ASCII.
        body.extend([1, 0, 0, 0]);
        body.extend(name.as_bytes());
        self.cell(&body)
    }
}
