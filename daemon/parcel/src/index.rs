//! The index of a parcel: its pieces in the order of the file, 48 bytes each.
//!
//! | bytes | |
//! |---|---|
//! | 4 | length of the piece, little-endian as all numbers |
//! | 1 | 0: the piece is in a pack; 1: it is in a base |
//! | 1 | 0 |
//! | 2 | number of the pack or base, from 0 |
//! | 8 | where it begins there |
//! | 32 | SHA-256 of the piece |

use model::digest::Digest;
use model::parcel::{LARGEST_PIECE, ParcelManifest, pack};
use model::units::Bytes;

/// Bytes of an entry.
const ENTRY: usize = 48;

/// Where a piece is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Place {
    /// In a pack of the parcel.
    Pack { number: u16, offset: Bytes },
    /// In a file that the receiver has.
    Base { number: u16, offset: Bytes },
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Piece {
    pub length: Bytes,
    pub sha256: Digest,
    pub place: Place,
}

/// An index that is not the one of its manifest, or contradicts it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It is of another parcel, or was changed.
    #[error("the index is not the one of the manifest")]
    Digest,
    /// Its maker has made it wrong.
    #[error("piece {0} of the index is wrong: {1}")]
    Piece(usize, &'static str),
    /// Its maker has made it wrong.
    #[error("the index is wrong: {0}")]
    Whole(&'static str),
}

/// All pieces of a file, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index(Vec<Piece>);

impl Index {
    /// An index of these pieces.
    pub fn new(pieces: Vec<Piece>) -> Self {
        Self(pieces)
    }

    /// The pieces in the order of the file.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The index as a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * ENTRY);
        for Piece { length, sha256, place } in &self.0 {
            let (kind, number, offset) = match place {
                Place::Pack { number, offset } => (0, number, offset),
                Place::Base { number, offset } => (1, number, offset),
            };
            bytes.extend(u32::try_from(length.0).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend([kind, 0]);
            bytes.extend(number.to_le_bytes());
            bytes.extend(offset.0.to_le_bytes());
            bytes.extend(sha256.0);
        }
        bytes
    }

    /// How long the index of a manifest is.
    pub fn size(manifest: &ParcelManifest) -> Bytes {
        Bytes(manifest.index.pieces.saturating_mul(Bytes::of(ENTRY).0))
    }

    /// Reads the index of a manifest, and checks that its pieces make the file, and that packs have them one after the other.
    ///
    /// # Errors
    /// [`IndexError`]
    pub fn parse(data: &[u8], manifest: &ParcelManifest) -> Result<Self, IndexError> {
        if Digest::of(data) != manifest.index.sha256 {
            return Err(IndexError::Digest);
        }
        if Bytes::of(data.len()) != Self::size(manifest) {
            return Err(IndexError::Whole("it has another number of pieces than the manifest"));
        }
        let pieces = data.chunks_exact(ENTRY).enumerate();
        let pieces: Vec<Piece> = pieces
            .map(|(at, entry)| piece(entry).map_err(|what| IndexError::Piece(at, what)))
            .collect::<Result<_, _>>()?;
        let mut filled = vec![Bytes(0); manifest.packs.len()];
        let mut total = Bytes(0);
        let mut last = 0;
        for (at, piece) in pieces.iter().enumerate() {
            let wrong = |what| Err(IndexError::Piece(at, what));
            if piece.length == Bytes(0) || piece.length > LARGEST_PIECE {
                return wrong("no piece is so long");
            }
            total = total.saturating_add(piece.length);
            match piece.place {
                Place::Pack { number, offset } => match filled.get_mut(usize::from(number)) {
                    Some(end) if *end == offset && number >= last => {
                        *end += piece.length;
                        last = number;
                    }
                    _ => return wrong("it does not follow the one before it in a pack"),
                },
                Place::Base { number, offset } => match manifest.bases.get(usize::from(number)) {
                    Some(base) if offset.saturating_add(piece.length) <= base.size_bytes => {}
                    _ => return wrong("it lies outside of its base"),
                },
            }
        }
        if total != manifest.file.size_bytes {
            return Err(IndexError::Whole("its pieces are not as long as the file"));
        }
        let sizes = manifest.packs.iter().map(|pack| pack.size_bytes);
        if !sizes.eq(filled) {
            return Err(IndexError::Whole("packs are not as long as their pieces"));
        }
        Ok(Self(pieces))
    }

    /// Where each piece begins in the file.
    pub fn offsets(&self) -> Vec<Bytes> {
        let mut at = Bytes(0);
        let begin = |piece: &Piece| {
            let begin = at;
            at += piece.length;
            begin
        };
        self.0.iter().map(begin).collect()
    }

    /// A piece in words.
    pub fn name(&self, at: usize) -> String {
        match self.0.get(at).map(|piece| piece.place) {
            Some(Place::Pack { number, offset }) => {
                format!("piece {at} ({} at byte {})", pack(number.into()), offset.0)
            }
            Some(Place::Base { number, offset }) => {
                format!("piece {at} (base {number} at byte {})", offset.0)
            }
            None => format!("piece {at}"),
        }
    }
}

fn piece(entry: &[u8]) -> Result<Piece, &'static str> {
    let number = |bytes: &[u8]| {
        let mut all = [0; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(all)
    };
    let (length, offset) = (Bytes(number(&entry[..4])), Bytes(number(&entry[8..16])));
    let number = u16::from_le_bytes([entry[6], entry[7]]);
    let place = match entry[4..6] {
        [0, 0] => Place::Pack { number, offset },
        [1, 0] => Place::Base { number, offset },
        _ => return Err("it is in neither a pack nor a base"),
    };
    let sha256 = Digest(entry[16..].try_into().map_err(|_| "it is cut off")?);
    Ok(Piece { length, sha256, place })
}

#[cfg(test)]
mod tests {
    use model::parcel::{Contents, FileClaim, IndexClaim, PackClaim};

    use super::*;

    fn example() -> (Index, ParcelManifest) {
        let piece =
            |length, place| Piece { length: Bytes(length), sha256: Digest::of(b"x"), place };
        let in_pack = |number, offset| Place::Pack { number, offset: Bytes(offset) };
        let index = Index::new(vec![
            piece(100, in_pack(0, 0)),
            piece(50, Place::Base { number: 0, offset: Bytes(950) }),
            piece(7, in_pack(0, 100)),
            piece(9, in_pack(1, 0)),
        ]);
        let file = |name: &str, size| FileClaim {
            name: name.into(),
            sha256: Digest::of(b""),
            size_bytes: Bytes(size),
        };
        let manifest = ParcelManifest {
            product: "p".parse().unwrap(),
            sequence: 1,
            version: None,
            created: jiff::Timestamp::UNIX_EPOCH,
            not_before: None,
            expires: None,
            offer: None,
            file: file("a.wim", 166),
            guid: String::new(),
            images: 1,
            contents: Contents::default(),
            index: IndexClaim { sha256: Digest::of(&index.to_bytes()), pieces: 4 },
            packs: [107, 9].map(|size| PackClaim { size_bytes: Bytes(size) }).into(),
            bases: vec![file("b.wim", 1000)],
            made_by: String::new(),
        };
        (index, manifest)
    }

    #[test]
    fn an_index_is_read_as_it_was_written() {
        let (index, manifest) = example();
        assert_eq!(Index::parse(&index.to_bytes(), &manifest), Ok(index.clone()));
        assert_eq!(index.offsets(), [0, 100, 150, 157].map(Bytes));
        assert_eq!(index.name(2), "piece 2 (pack.000 at byte 100)");
    }

    /// Also a signed index is not believed: its maker may have been wrong.
    #[test]
    fn an_index_that_contradicts_its_manifest_is_refused() {
        let (index, manifest) = example();
        let refused = |change: &dyn Fn(&mut Vec<Piece>, &mut ParcelManifest)| {
            let (mut pieces, mut manifest) = (index.0.clone(), manifest.clone());
            change(&mut pieces, &mut manifest);
            let bytes = Index::new(pieces).to_bytes();
            manifest.index.sha256 = Digest::of(&bytes);
            Index::parse(&bytes, &manifest).unwrap_err().to_string()
        };
        let offset = |at| Place::Pack { number: 0, offset: Bytes(at) };
        for (change, text) in [
            (
                &(|p: &mut Vec<Piece>, _: &mut ParcelManifest| p[0].length = Bytes(0))
                    as &dyn Fn(&mut Vec<Piece>, &mut ParcelManifest),
                "piece 0 of the index is wrong: no piece is so long",
            ),
            (&|p, _| p[0].length = LARGEST_PIECE + Bytes(1), "piece 0"),
            (&|p, _| p[2].place = offset(99), "piece 2"),
            (&|p, _| p[2].place = Place::Pack { number: 9, offset: Bytes(0) }, "piece 2"),
            (&|p, _| p[1].place = Place::Base { number: 0, offset: Bytes(951) }, "piece 1"),
            (&|p, _| p[1].place = Place::Base { number: 1, offset: Bytes(0) }, "piece 1"),
            (&|p, _| p[1].place = Place::Base { number: 0, offset: Bytes(u64::MAX) }, "piece 1"),
            (&|p, _| p[1].length = Bytes(49), "its pieces are not as long as the file"),
            (&|_, m| m.packs[1].size_bytes = Bytes(10), "packs are not as long"),
            (&|_, m| m.index.pieces = 5, "another number of pieces"),
            (&|p, _| p.truncate(3), "another number of pieces"),
        ] {
            let told = refused(change);
            assert!(told.contains(text), "{told}, not {text}");
        }
        let mut bytes = index.to_bytes();
        bytes[47] ^= 1;
        assert_eq!(Index::parse(&bytes, &manifest), Err(IndexError::Digest));
        let mut odd = index.to_bytes();
        odd[5] = 1;
        let manifest = ParcelManifest {
            index: IndexClaim { sha256: Digest::of(&odd), pieces: 4 },
            ..manifest
        };
        assert!(matches!(Index::parse(&odd, &manifest), Err(IndexError::Piece(0, _))));
    }
}
