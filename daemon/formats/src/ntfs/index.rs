//! Indexes of folders: a tree of nodes, the first one in the folder's file record, the others in blocks of clusters.

use super::{Damage, FileName, Reference, length, restore, u16_at, u32_at, u64_at};
use model::units::Bytes;

/// The name of a folder's index attributes.
pub const NAME: &str = "$I30";

/// An entry of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name and the file that it leads to; the last entry of a node has none.
    pub name: Option<(Reference, FileName)>,
    /// The block that holds what comes before this entry.
    pub below: Option<u64>,
}

/// Reads the value of a [`super::kind::INDEX_ROOT`]: the size of the other blocks, and the entries of the first node.
///
/// # Errors
/// [`Damage::Index`] if it is cut off.
pub fn root(data: &[u8]) -> Result<(Bytes, Vec<Entry>), Damage> {
    let size = u32_at(data, 8).ok_or(Damage::Index)?;
    Ok((Bytes(size.into()), entries(data.get(16..).unwrap_or_default())?))
}

/// A block of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its number, by which other nodes refer to it: its place in the index, in clusters, or in sectors of 512 bytes if it
    /// is smaller than a cluster.
    pub number: u64,
    #[expect(missing_docs, reason = "the name says it")]
    pub entries: Vec<Entry>,
}

impl Block {
    /// Reads a block, and puts back in `data` what NTFS keeps elsewhere.
    ///
    /// # Errors
    /// [`Damage`] if the bytes are not a whole block.
    pub fn parse(data: &mut [u8]) -> Result<Self, Damage> {
        restore(data, *b"INDX")?;
        let number = u64_at(data, 16).ok_or(Damage::Index)?;
        Ok(Self { number, entries: entries(data.get(24..).unwrap_or_default())? })
    }
}

/// Reads the entries of a node, which begins with its header.
fn entries(node: &[u8]) -> Result<Vec<Entry>, Damage> {
    let list = || node.get(length(u32_at(node, 0)?)..length(u32_at(node, 4)?));
    let mut rest = list().ok_or(Damage::Index)?;
    let mut all = Vec::new();
    loop {
        let (entry, is_last, size) = entry(rest)?;
        all.push(entry);
        if is_last {
            return Ok(all);
        }
        rest = rest.get(size..).ok_or(Damage::Index)?;
    }
}

/// Reads one entry: with whether it is the last one, and its size.
fn entry(data: &[u8]) -> Result<(Entry, bool, usize), Damage> {
    let read = || {
        let size = usize::from(u16_at(data, 8)?);
        let key = usize::from(u16_at(data, 10)?);
        let flags = u16_at(data, 12)?;
        let data = data.get(..size).filter(|_| size >= 16)?;
        let below = match flags & 1 {
            0 => None,
            _ => Some(u64_at(data, size - 8)?),
        };
        Some((data, key, below, flags & 2 != 0, size))
    };
    let (data, key, below, is_last, size) = read().ok_or(Damage::Index)?;
    if is_last {
        return Ok((Entry { name: None, below }, true, size));
    }
    let file = Reference::of(u64_at(data, 0).ok_or(Damage::Index)?);
    let key = data.get(16..16 + key).ok_or(Damage::Index)?;
    let name = FileName::parse(key).map_err(|_| Damage::Index)?;
    Ok((Entry { name: Some((file, name)), below }, false, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntfs::Namespace;

    fn named(file: u8, name: u8, below: Option<u64>) -> Vec<u8> {
        let mut data = vec![0; 16 + 66];
        data[0] = file;
        data[16] = 5;
        (data[16 + 64], data[16 + 65]) = (1, 1);
        data.extend([name, 0]);
        data.resize(data.len().next_multiple_of(8), 0);
        data.extend(below.iter().flat_map(|below| below.to_le_bytes()));
        let size = u16::try_from(data.len()).unwrap();
        data[8..10].copy_from_slice(&size.to_le_bytes());
        data[10] = 68;
        data[12] = u8::from(below.is_some());
        data
    }

    #[test]
    fn a_root() {
        let mut data = vec![0; 32];
        data[8..12].copy_from_slice(&4096_u32.to_le_bytes());
        data.extend(named(64, b'a', Some(3)));
        data.extend(named(65, b'b', None));
        data.extend([0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 2, 0, 0, 0]);
        let end = u32::try_from(data.len() - 16).unwrap();
        data[16] = 16;
        data[20..24].copy_from_slice(&end.to_le_bytes());
        let (size, entries) = root(&data).unwrap();
        assert_eq!(size, Bytes(4096));
        let name = |entry: &Entry| {
            entry.name.as_ref().map(|(file, name)| {
                assert_eq!((name.parent.record, name.namespace), (5, Namespace::Win32));
                (file.record, name.name.clone())
            })
        };
        let seen: Vec<_> = entries.iter().map(|entry| (name(entry), entry.below)).collect();
        let right =
            [(Some((64, "a".into())), Some(3)), (Some((65, "b".into())), None), (None, None)];
        assert_eq!(seen, right);
        for cut in 0..data.len() {
            assert_eq!(root(&data[..cut]), Err(Damage::Index), "{cut}");
        }
    }
}
