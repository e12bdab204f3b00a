//! Where a WIM is cut: at its resources' ends, and wherever a segment would be too long.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use formats::wim_table::{self, HEADER, Header};
use model::parcel::LARGEST_PIECE;
use model::units::Bytes;

/// A longer table of blobs is not read: one of ten million blobs is half as long. The file is cut blindly then.
const LARGEST_TABLE: Bytes = Bytes(1 << 30);

/// A file that cannot be cut.
#[derive(Debug, thiserror::Error)]
pub enum WimError {
    /// The system's error.
    #[error("cannot read it")]
    Read(#[from] io::Error),
    /// It does not begin as a WIM.
    #[error("it is not a WIM file")]
    NotAWim(#[from] wim_table::NotAWim),
    /// It needs others beside it.
    #[error("it is part {0} of a set of {1} parts")]
    Part(u16, u16),
}

/// A WIM's segments, which cover it from its first byte to its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// What the header says.
    pub header: Header,
    /// The size of the file.
    pub size: Bytes,
    /// Where each segment ends; ascending, the last one is the size.
    pub ends: Vec<Bytes>,
}

impl Cut {
    /// Cuts a file that is a whole WIM.
    ///
    /// # Errors
    /// [`WimError`]
    pub fn of(file: &File) -> Result<Self, WimError> {
        let size = Bytes(file.metadata()?.len());
        let mut start = [0; HEADER];
        match file.read_exact_at(&mut start, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(wim_table::NotAWim.into());
            }
            read => read?,
        }
        let header = Header::parse(&start)?;
        let (part, parts) = header.part;
        if parts > 1 {
            return Err(WimError::Part(part, parts));
        }
        let table = header.table;
        let fits = table.size <= LARGEST_TABLE && table.offset.saturating_add(table.size) <= size;
        let mut blobs = vec![0; if fits { table.size.as_usize() } else { 0 }];
        file.read_exact_at(&mut blobs, table.offset.0)?;
        let ends = ends(size, wim_table::bounds(&header, &blobs));
        Ok(Self { header, size, ends })
    }
}

/// Where segments end that are cut at these places and are never too long.
fn ends(size: Bytes, bounds: Vec<Bytes>) -> Vec<Bytes> {
    let mut ends = Vec::with_capacity(bounds.len());
    let mut at = Bytes(0);
    for bound in bounds.into_iter().filter(|bound| *bound < size).chain([size]) {
        while bound.saturating_sub(at) > LARGEST_PIECE {
            at += LARGEST_PIECE;
            ends.push(at);
        }
        if bound > at {
            ends.push(bound);
            at = bound;
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However wrong the places are, each byte is in one segment.
        #[test]
        fn segments_cover_the_file(size in 0..10_000_000_u64, mut bounds in prop::collection::vec(0..12_000_000_u64, 0..50)) {
            bounds.sort_unstable();
            let bounds: Vec<Bytes> = bounds.into_iter().map(Bytes).collect();
            let found = ends(Bytes(size), bounds.clone());
            let mut at = Bytes(0);
            for end in &found {
                prop_assert!(*end > at && *end - at <= LARGEST_PIECE);
                at = *end;
            }
            prop_assert_eq!(at, Bytes(size));
            for bound in bounds.iter().filter(|bound| (1..size).contains(&bound.0)) {
                prop_assert!(found.contains(bound));
            }
        }
    }
}
