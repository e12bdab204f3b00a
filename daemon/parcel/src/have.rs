//! What a receiver has: the segments of its media, so that a parcel need not bring them.

use std::collections::HashMap;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::cut::{Cut, WimError};
use crate::source::open_file;
use crate::whole::Whole;
use model::digest::Digest;
use model::units::Bytes;

/// Bytes of a segment in the list: its length, and its SHA-256.
const ENTRY: usize = 36;

/// The list of what a receiver has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// The media that it has.
    pub media: Vec<HaveFile>,
}

/// One media that a receiver has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct HaveFile {
    pub name: String,
    pub sha256: Digest,
    pub size_bytes: Bytes,
    /// Its segments, in base64: 4 bytes of length, little-endian, and 32 of SHA-256 each.
    segments: String,
}

/// A list that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HaveError {
    /// Not the JSON of a list.
    #[error("it is no list of what a receiver has")]
    Json(#[from] serde_json::Error),
    /// Its segments are not in base64, or do not make the file.
    #[error("the list of segments of {0} is damaged")]
    Segments(String),
}

/// Where a receiver has a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) base: u16,
    pub(crate) offset: Bytes,
}

impl HaveFile {
    /// Reads a whole WIM.
    ///
    /// # Errors
    /// [`WimError`]
    pub fn of(path: &Path, mut report: impl FnMut(Bytes, Bytes)) -> Result<Self, WimError> {
        let file = open_file(path)?;
        let cut = Cut::of(&file)?;
        let (whole, mut segments) = (Whole::start(), Vec::new());
        let mut at = Bytes(0);
        for end in &cut.ends {
            let mut segment = vec![0; (*end - at).as_usize()];
            file.read_exact_at(&mut segment, at.0)?;
            let length = u32::try_from(segment.len()).unwrap_or(u32::MAX);
            segments.extend(length.to_le_bytes());
            segments.extend(Digest::of(&segment).0);
            whole.add(segment);
            at = *end;
            report(at, cut.size);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let segments = STANDARD.encode(segments);
        Ok(Self { name, sha256: whole.finish(), size_bytes: cut.size, segments })
    }

    /// Calls `each` with offset, length and digest of each segment.
    fn each(&self, mut each: impl FnMut(Bytes, Bytes, Digest)) -> Result<(), HaveError> {
        let damaged = || HaveError::Segments(self.name.clone());
        let segments = STANDARD.decode(&self.segments).map_err(|_| damaged())?;
        let mut at = Bytes(0);
        for entry in segments.chunks(ENTRY) {
            let (length, sha256) = entry.split_first_chunk::<4>().ok_or_else(damaged)?;
            let length = Bytes(u32::from_le_bytes(*length).into());
            let sha256 = sha256.try_into().map_err(|_| damaged())?;
            each(at, length, Digest(sha256));
            at = at.saturating_add(length);
        }
        if at == self.size_bytes { Ok(()) } else { Err(damaged()) }
    }
}

impl Have {
    /// Reads a list.
    ///
    /// # Errors
    /// [`HaveError`]
    pub fn parse(data: &[u8]) -> Result<Self, HaveError> {
        let have: Self = serde_json::from_slice(data)?;
        have.places()?;
        Ok(have)
    }

    /// Where each segment is, by its digest.
    pub(crate) fn places(&self) -> Result<HashMap<Digest, Held>, HaveError> {
        let mut places = HashMap::new();
        for (base, file) in (0..).zip(&self.media) {
            file.each(|offset, _, sha256| {
                places.entry(sha256).or_insert(Held { base, offset });
            })?;
        }
        Ok(places)
    }
}
