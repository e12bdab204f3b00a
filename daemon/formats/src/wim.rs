//! The metadata of an image in a WIM: its tree of directory entries (Microsoft's "Windows Imaging File Format" paper, and
//! wimlib's include/wimlib/dentry.h). libwim reads WIMs; this is for what libwim does not tell.

use std::collections::HashSet;

use crate::text;

/// Metadata that contradicts the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the metadata is damaged at byte {0}")]
pub struct Damaged(usize);

/// A directory entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path with `/` between names, each as [`text`] writes it; `/` for the root.
    pub path: String,
    /// Windows file attributes.
    pub attributes: u32,
    /// Where the attributes stand, as four bytes.
    pub attributes_at: usize,
    /// The digests of the streams without a name: that of the reparse point first, if the entry is one. All zeros for
    /// an empty stream.
    pub unnamed: Vec<[u8; 20]>,
    /// Where the entries of a folder begin.
    below: usize,
}

/// The attribute of a reparse point.
const REPARSE: u32 = 0x400;
/// Bytes of an entry before its names.
const FIXED: usize = 102;
/// Bytes of a stream's entry before its name.
const STREAM: usize = 38;
/// How deep folders may nest; libwim takes no deeper ones.
const DEEPEST: usize = 16_384;

/// Numbers in the metadata.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn number<const N: usize>(&self, at: usize) -> Result<u64, Damaged> {
        let bytes: &[u8; N] = self.0.get(at..).and_then(<[u8]>::first_chunk).ok_or(Damaged(at))?;
        let mut whole = [0; 8];
        whole[..N].copy_from_slice(bytes);
        Ok(u64::from_le_bytes(whole))
    }

    fn place<const N: usize>(&self, at: usize) -> Result<usize, Damaged> {
        usize::try_from(self.number::<N>(at)?).map_err(|_| Damaged(at))
    }

    fn digest(&self, at: usize) -> Result<[u8; 20], Damaged> {
        self.0.get(at..).and_then(<[u8]>::first_chunk).copied().ok_or(Damaged(at))
    }

    fn text(&self, at: usize, length: usize) -> Result<String, Damaged> {
        let end = at.checked_add(length);
        end.and_then(|end| self.0.get(at..end)).map(text::of_utf16).ok_or(Damaged(at))
    }

    /// Reads the entry at a place, and finds the next one; `None` at the end of a folder.
    fn entry(&self, at: usize, folder: &str) -> Result<Option<(Entry, usize)>, Damaged> {
        let length = self.place::<8>(at)?;
        if length < FIXED {
            return if length <= 8 { Ok(None) } else { Err(Damaged(at)) };
        }
        let attributes = self.number::<4>(at + 8)?;
        let attributes = u32::try_from(attributes).map_err(|_| Damaged(at))?;
        let name = self.text(at + FIXED, self.place::<2>(at + 100)?)?;
        let first = self.digest(at + 64)?;
        let mut next = aligned(at, length)?;
        let mut further = Vec::new();
        for _ in 0..self.number::<2>(at + 96)? {
            let length = self.place::<8>(next)?;
            if length < STREAM {
                return Err(Damaged(next));
            }
            if self.number::<2>(next + 36)? == 0 {
                further.push(self.digest(next + 16)?);
            }
            next = aligned(next, length)?;
        }
        // The digest in the entry itself counts if it is not zero; otherwise it stands for what no other one does.
        let mut unnamed = Vec::new();
        if first != [0; 20] {
            unnamed.push(first);
        }
        unnamed.extend(further);
        if unnamed.is_empty() {
            unnamed.push(first);
        }
        let entry = Entry {
            path: format!("{folder}/{name}"),
            attributes,
            attributes_at: at + 8,
            unnamed,
            below: self.place::<8>(at + 16)?,
        };
        Ok(Some((entry, next)))
    }
}

/// The place of the next multiple of 8 behind `length` bytes.
fn aligned(at: usize, length: usize) -> Result<usize, Damaged> {
    let next = at.checked_add(length).and_then(|end| end.checked_next_multiple_of(8));
    next.ok_or(Damaged(at))
}

impl Entry {
    /// The digest of the contents that lie behind a reparse point; all zeros if they are empty. `None` if the entry is no
    /// reparse point, or has no contents.
    pub fn behind(&self) -> Option<[u8; 20]> {
        if self.attributes & REPARSE == 0 { None } else { self.unnamed.get(1).copied() }
    }
}

/// Calls `each` for every entry, parents first.
///
/// # Errors
/// [`Damaged`] if an entry is cut off, or two folders have the same entries.
pub fn entries(metadata: &[u8], mut each: impl FnMut(&Entry)) -> Result<(), Damaged> {
    let bytes = Bytes(metadata);
    let root = bytes.place::<4>(0)?.max(8);
    let root = root.checked_next_multiple_of(8).ok_or(Damaged(0))?;
    let Some((mut entry, _)) = bytes.entry(root, "")? else { return Ok(()) };
    entry.path = "/".into();
    each(&entry);
    let mut todo = vec![(String::new(), entry.below, 0)];
    let mut entered = HashSet::new();
    while let Some((folder, mut at, depth)) = todo.pop() {
        if at == 0 {
            continue;
        }
        if !entered.insert(at) || depth > DEEPEST {
            return Err(Damaged(at));
        }
        while let Some((entry, next)) = bytes.entry(at, &folder)? {
            each(&entry);
            at = next;
            if entry.below != 0 {
                todo.push((entry.path, entry.below, depth + 1));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, attributes: u32, below: u64, sha1: [u8; 20]) -> Vec<u8> {
        let mut data = vec![0; FIXED];
        data[8..12].copy_from_slice(&attributes.to_le_bytes());
        data[16..24].copy_from_slice(&below.to_le_bytes());
        data[64..84].copy_from_slice(&sha1);
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        data[100..102].copy_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
        data.extend(name);
        let length = u64::try_from(data.len()).unwrap();
        data[..8].copy_from_slice(&length.to_le_bytes());
        data.resize(data.len().next_multiple_of(8), 0);
        data
    }

    fn with_stream(mut data: Vec<u8>, sha1: [u8; 20]) -> Vec<u8> {
        data[96] += 1;
        let mut stream = vec![0; 40];
        stream[0] = 38;
        stream[16..36].copy_from_slice(&sha1);
        data.extend(stream);
        data
    }

    fn tree() -> Vec<u8> {
        let mut data = vec![8, 0, 0, 0, 0, 0, 0, 0];
        let root = entry("", 0x10, 0, [0; 20]);
        let below = u64::try_from(data.len() + root.len() + 8).unwrap();
        data.extend(entry("", 0x10, below, [0; 20]));
        data.extend([0; 8]);
        data.extend(entry("plain", 0x20, 0, [1; 20]));
        let stub = with_stream(entry("stub", 0x420, 0, [0; 20]), [2; 20]);
        data.extend(with_stream(stub, [3; 20]));
        data.extend(entry("point", 0x420, 0, [4; 20]));
        data.extend([0; 8]);
        data
    }

    type Seen = (String, Option<[u8; 20]>);

    fn seen(data: &[u8]) -> Result<Vec<Seen>, Damaged> {
        let mut all = Vec::new();
        entries(data, |entry| all.push((entry.path.clone(), entry.behind())))?;
        Ok(all)
    }

    #[test]
    fn what_lies_behind_a_reparse_point() {
        let right = [("/", None), ("/plain", None), ("/stub", Some([3; 20])), ("/point", None)];
        assert_eq!(seen(&tree()).unwrap(), right.map(|(path, sha1)| (path.to_owned(), sha1)));
    }

    #[test]
    fn cut_and_circular_metadata_is_an_error() {
        let whole = tree();
        for cut in 0..whole.len() - 8 {
            assert!(seen(&whole[..cut]).is_err(), "{cut}");
        }
        let mut circle = whole;
        let below = circle[24..32].to_vec();
        let plain = usize::try_from(u64::from_le_bytes(below.clone().try_into().unwrap())).unwrap();
        circle[plain + 16..plain + 24].copy_from_slice(&below);
        assert_eq!(seen(&circle), Err(Damaged(plain)));
    }
}
