//! Compares everything on a drive with media: each partition, by its role.

use std::io::{self, Read, Seek, Write};

use model::api::audit::AuditReport as Report;
use model::boot::BootProgram;
use model::layout::{Places, Role};
use model::ranges::Range;

use super::esp;
use crate::compare::{self, Expected, Source, VolumeError};

/// A drive, or what stands for one.
pub trait Drive: Sync {
    /// A part of it that is read at any place; offset 0 is the part's first byte.
    fn part(&self, range: Range) -> Box<dyn Source>;
    /// The same for a library that reads from a stream.
    fn stream(&self, range: Range) -> Box<dyn Stream>;
}

/// What the library for FAT asks for, even to read. Every write fails.
pub trait Stream: Read + Write + Seek {}

impl<T: Read + Write + Seek> Stream for T {}

/// A partition and what it is for.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Part {
    pub role: Role,
    pub range: Range,
}

/// Why a drive could not be compared to its end.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum CompareError {
    #[error("cannot read the {role} partition")]
    Read {
        role: Role,
        #[source]
        source: io::Error,
    },
    #[error("cannot read the {role} volume")]
    Volume {
        role: Role,
        #[source]
        source: VolumeError,
    },
}

/// Compares the partitions of a drive with the media, and returns the programs on the ESP. `places` are what the BCD must
/// name; without them the ESP must be empty.
///
/// # Errors
/// [`CompareError`] if a partition cannot be read; differences are no errors.
pub fn compare(
    drive: &dyn Drive,
    parts: &[Part],
    places: Option<Places>,
    media: &[Expected],
    report: &mut Report,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Vec<BootProgram>, CompareError> {
    let mut programs = Vec::new();
    for &Part { role, range } in parts {
        let open = || drive.part(range);
        let volume = |source| CompareError::Volume { role, source };
        match role {
            Role::Msr => {
                let read = zeros(&mut *open(), range, report);
                read.map_err(|source| CompareError::Read { role, source })?;
            }
            Role::Esp => {
                let media = if places.is_some() { media } else { &[] };
                programs = esp::compare(drive.stream(range), media, places, report);
            }
            Role::Windows => {
                compare::compare(media, &open, report, progress).map_err(volume)?;
            }
            Role::Recovery => {
                let mut own = Report::default();
                compare::compare(&[], &open, &mut own, &|_| ()).map_err(volume)?;
                for difference in own.differences.iter().filter(|found| found.path != "/") {
                    report.differs(&difference.path, format!("{role}: {}", difference.what));
                }
            }
        }
    }
    Ok(programs)
}

/// Tells where a range that must be empty is not.
fn zeros(part: &mut dyn Source, range: Range, report: &mut Report) -> io::Result<()> {
    let mut data = vec![0; range.length().as_usize()];
    part.read_exact_at(&mut data, model::units::Bytes(0))?;
    if let Some(at) = data.iter().position(|byte| *byte != 0) {
        report.differs("the MSR partition", format!("is not empty at byte {at}"));
    }
    Ok(())
}
