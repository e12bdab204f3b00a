//! Attributes of files: everything that a file consists of.

use model::units::Bytes;

use super::{Damage, Reference, length, u16_at, u32_at, u64_at};
use crate::text;

/// The kinds of attributes.
#[expect(missing_docs, reason = "the names say it")]
pub mod kind {
    pub const STANDARD_INFORMATION: u32 = 0x10;
    pub const ATTRIBUTE_LIST: u32 = 0x20;
    pub const FILE_NAME: u32 = 0x30;
    pub const OBJECT_ID: u32 = 0x40;
    pub const SECURITY_DESCRIPTOR: u32 = 0x50;
    pub const DATA: u32 = 0x80;
    pub const INDEX_ROOT: u32 = 0x90;
    pub const INDEX_ALLOCATION: u32 = 0xa0;
    pub const REPARSE_POINT: u32 = 0xc0;
    pub const EA_INFORMATION: u32 = 0xd0;
    pub const EA: u32 = 0xe0;
    pub(crate) const END: u32 = 0xffff_ffff;
}

/// An attribute, or one stretch of an attribute whose list of clusters does not fit into one file record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// One of [`kind`].
    pub kind: u32,
    /// Empty for most.
    pub name: String,
    /// Whether the value is compressed, in units of 16 clusters.
    pub is_compressed: bool,
    #[expect(missing_docs, reason = "the name says it")]
    pub value: Value<'a>,
}

/// Where the value of an attribute is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// In the file record itself.
    Here(&'a [u8]),
    /// In clusters of the volume.
    Clusters {
        /// The first cluster of the value that this stretch has.
        first: u64,
        /// Bytes of all its clusters; counts in the first stretch only.
        allocated: u64,
        /// Bytes of the whole value; counts in the first stretch only.
        size: u64,
        /// Bytes of the value that have been written; the others are zeros. Counts in the first stretch only.
        written: u64,
        #[expect(missing_docs, reason = "the name says it")]
        runs: Vec<Run>,
    },
}

/// Clusters that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The number of the first cluster on the volume; `None` for a hole, whose bytes are zeros.
    pub at: Option<u64>,
    /// How many clusters.
    pub count: u64,
}

impl<'a> Attribute<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Result<Self, Damage> {
        let header = || {
            let from = usize::from(u16_at(data, 10)?);
            let name = data.get(from..from + 2 * usize::from(*data.get(9)?))?;
            Some((u32_at(data, 0)?, name, u16_at(data, 12)?, *data.get(8)? != 0))
        };
        let (kind, name, flags, is_elsewhere) = header().ok_or(Damage::Attribute)?;
        let value = match is_elsewhere {
            false => Value::Here(here(data).ok_or(Damage::Attribute)?),
            true => clusters(data)?,
        };
        Ok(Self { kind, name: text::of_utf16(name), is_compressed: flags & 0xff != 0, value })
    }
}

fn here(data: &[u8]) -> Option<&[u8]> {
    let from = usize::from(u16_at(data, 20)?);
    data.get(from..from.checked_add(length(u32_at(data, 16)?))?)
}

fn clusters(data: &[u8]) -> Result<Value<'_>, Damage> {
    let header = || {
        let runs = data.get(usize::from(u16_at(data, 32)?)..)?;
        let [first, last, allocated, size, written] =
            [16, 24, 40, 48, 56].map(|at| u64_at(data, at));
        Some((first?, last?, [allocated?, size?, written?], runs))
    };
    let (first, last, [allocated, size, written], list) = header().ok_or(Damage::Attribute)?;
    let runs = runs(list).ok_or(Damage::Runs)?;
    // The last cluster is -1 if there is none.
    let count = runs.iter().try_fold(0_u64, |sum, run| sum.checked_add(run.count));
    if count.and_then(|count| first.checked_add(count)) != Some(last.wrapping_add(1)) {
        return Err(Damage::Runs);
    }
    Ok(Value::Clusters { first, allocated, size, written, runs })
}

/// Decodes a list of runs: each a byte that says how long its two numbers are, the count of clusters, and the distance to
/// the first cluster of the run before.
fn runs(mut list: &[u8]) -> Option<Vec<Run>> {
    let mut all = Vec::new();
    let mut at = 0_i64;
    loop {
        let (&header, rest) = list.split_first()?;
        if header == 0 {
            return Some(all);
        }
        let (count, rest) = rest.split_at_checked(usize::from(header & 0xf))?;
        let (step, rest) = rest.split_at_checked(usize::from(header >> 4))?;
        let count = u64::try_from(signed(count)?).ok().filter(|count| *count > 0)?;
        let place = match step {
            [] => None,
            step => {
                at = at.checked_add(signed(step)?)?;
                Some(u64::try_from(at).ok()?)
            }
        };
        all.push(Run { at: place, count });
        list = rest;
    }
}

/// A signed little-endian number of up to eight bytes.
fn signed(bytes: &[u8]) -> Option<i64> {
    let filler = if bytes.last()? & 0x80 == 0 { 0 } else { 0xff };
    let mut whole = [filler; 8];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(whole))
}

/// A value in clusters, as one file record describes all of it.
#[derive(Clone, Debug)]
pub(super) struct Clusters {
    pub(super) size: u64,
    pub(super) runs: Vec<Run>,
}

impl Clusters {
    pub(super) fn count(&self) -> u64 {
        self.runs.iter().map(|run| run.count).sum()
    }

    /// Where a byte of the value lies on the volume.
    pub(super) fn place(&self, at: u64, cluster: Bytes) -> Option<Bytes> {
        let mut vcn = at / cluster.0;
        for run in &self.runs {
            if vcn < run.count {
                return Some(Bytes((run.at? + vcn) * cluster.0 + at % cluster.0));
            }
            vcn -= run.count;
        }
        None
    }
}

/// Reads the value of a [`kind::ATTRIBUTE_LIST`]: the file records that hold the attributes of a file.
///
/// # Errors
/// [`Damage::Attribute`] if it is cut off.
pub fn listed(mut data: &[u8]) -> Result<Vec<Reference>, Damage> {
    let mut all = Vec::new();
    while !data.is_empty() {
        let size = usize::from(u16_at(data, 4).ok_or(Damage::Attribute)?);
        let entry = data.get(..size).filter(|_| size >= 24).ok_or(Damage::Attribute)?;
        all.push(Reference::of(u64_at(entry, 16).ok_or(Damage::Attribute)?));
        data = &data[size..];
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// For whom a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// Any name, that no short one belongs to.
    Posix,
    /// The long name of a file that has a short one.
    Win32,
    /// A short name.
    Dos,
    /// A name that is both.
    Both,
}

/// A name of a file: an attribute of it, and the key of its folder's index.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct FileName {
    /// The folder.
    pub parent: Reference,
    pub namespace: Namespace,
    pub name: String,
}

impl FileName {
    /// Reads the value of a [`kind::FILE_NAME`].
    ///
    /// # Errors
    /// [`Damage::Attribute`] if it is cut off.
    pub fn parse(data: &[u8]) -> Result<Self, Damage> {
        let read = || {
            let name = data.get(66..66 + 2 * usize::from(*data.get(64)?))?;
            let namespace = match data.get(65)? {
                0 => Namespace::Posix,
                1 => Namespace::Win32,
                2 => Namespace::Dos,
                3 => Namespace::Both,
                _ => return None,
            };
            let parent = Reference::of(u64_at(data, 0)?);
            Some(Self { parent, namespace, name: text::of_utf16(name) })
        };
        read().ok_or(Damage::Attribute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_runs() {
        // Documentation of the Linux-NTFS project, "Data Runs", examples 1 to 4.
        let decoded = |list: &[u8]| {
            runs(list).map(|runs| runs.iter().map(|run| (run.at, run.count)).collect::<Vec<_>>())
        };
        assert_eq!(decoded(&[0x21, 0x18, 0x34, 0x56, 0]), Some(vec![(Some(0x5634), 0x18)]));
        assert_eq!(
            decoded(&[
                0x31, 0x38, 0x73, 0x25, 0x34, 0x32, 0x14, 0x01, 0xe5, 0x11, 0x02, 0x31, 0x42, 0xaa,
                0, 0x03, 0
            ]),
            Some(vec![(Some(0x34_2573), 0x38), (Some(0x36_3758), 0x114), (Some(0x39_3802), 0x42)])
        );
        assert_eq!(
            decoded(&[0x11, 0x30, 0x60, 0x01, 0x10, 0x11, 0x20, 0xe0, 0]),
            Some(vec![(Some(0x60), 0x30), (None, 0x10), (Some(0x40), 0x20)])
        );
        for bad in [&[][..], &[0x21, 1, 2], &[0x11, 0, 1, 0], &[0x11, 1, 0x80, 0], &[0x1f, 1, 0]] {
            assert_eq!(decoded(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn names() {
        let mut data = vec![0; 66];
        data[..8].copy_from_slice(&[5, 0, 0, 0, 0, 0, 7, 0]);
        (data[64], data[65]) = (2, 3);
        data.extend([0x61, 0, 0x3d, 0xd8]);
        let parent = Reference { record: 5, sequence: 7 };
        let name = "a\u{fffd}d83d".into();
        assert_eq!(
            FileName::parse(&data),
            Ok(FileName { parent, namespace: Namespace::Both, name })
        );
        data[64] = 3;
        assert_eq!(FileName::parse(&data), Err(Damage::Attribute));
    }
}
