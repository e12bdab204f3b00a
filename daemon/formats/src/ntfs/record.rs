//! File records.

use super::attribute::{Attribute, kind};
use super::{Damage, length, restore, u16_at, u32_at, u64_at};

/// Which file record, and of which file: a record that is used again has another sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Reference {
    pub record: u64,
    pub sequence: u16,
}

impl Reference {
    /// A reference as NTFS writes it: 48 bits of number, 16 of sequence.
    pub(super) fn of(number: u64) -> Self {
        let [.., low, high] = number.to_le_bytes();
        Self { record: number & 0xffff_ffff_ffff, sequence: u16::from_le_bytes([low, high]) }
    }
}

/// A file record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Changes when the record is used again.
    pub sequence: u16,
    /// Whether the record belongs to a file; otherwise it is free.
    pub in_use: bool,
    /// Whether the file is a folder.
    pub is_folder: bool,
    /// The file whose attributes are continued here; `None` for a record that a file begins with.
    pub base: Option<Reference>,
    attributes: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads a file record, and puts back in `data` what NTFS keeps elsewhere.
    ///
    /// # Errors
    /// [`Damage`] if the bytes are not a whole file record.
    pub fn parse(data: &'a mut [u8]) -> Result<Self, Damage> {
        restore(data, *b"FILE")?;
        let read = |data: &'a [u8]| {
            let used = length(u32_at(data, 24)?);
            let flags = u16_at(data, 22)?;
            let base = u64_at(data, 32)?;
            Some(Self {
                sequence: u16_at(data, 16)?,
                in_use: flags & 1 != 0,
                is_folder: flags & 2 != 0,
                base: (base != 0).then(|| Reference::of(base)),
                attributes: data.get(u16_at(data, 20)?.into()..used)?,
            })
        };
        read(data).ok_or(Damage::Record)
    }

    /// The attributes, sorted by kind and name. Ends with the first one that is damaged, or where the end mark is missing.
    pub fn attributes(&self) -> impl Iterator<Item = Result<Attribute<'a>, Damage>> + use<'a> {
        let mut rest = Some(self.attributes);
        std::iter::from_fn(move || {
            let data = rest.take().filter(|data| u32_at(data, 0) != Some(kind::END))?;
            let size = u32_at(data, 4).map(length).filter(|size| *size >= 16);
            let Some((data, after)) = size.and_then(|size| data.split_at_checked(size)) else {
                return Some(Err(Damage::Attribute));
            };
            let attribute = Attribute::parse(data);
            rest = attribute.is_ok().then_some(after);
            Some(attribute)
        })
    }
}
