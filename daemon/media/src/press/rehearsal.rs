//! Presses at intake what does not depend on the contents of files: the directory tree onto a small NTFS volume, and the
//! boot files onto an EFI system partition. It runs the code and the programs of the press, so what these refuse is known
//! before a drive is judged.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::api::audit::AuditReport;
use model::drive::Geometry;
use model::layout::{Boot, Layout, LayoutError, Plan, PlannedPartition, Role};
use model::units::{Bytes, Lba, SectorSize};
use ntfs::{KnownNtfsFileRecordNumber, Ntfs, NtfsError, NtfsReadSeek as _};

use super::build::{PressError, fill_esp, format_fat, format_ntfs};
use super::esp;
use crate::compare::{Source, VolumeError, compare, expected_in};
use crate::inheritance;
use crate::tools::Tools;
use crate::wim::{Flow, Wim, WimError};

/// Sectors of the volumes. What a file system refuses does not depend on them.
const SECTOR: SectorSize = SectorSize::B512;

/// Sizes of drives that are tried in turn until the layout fits one.
const DRIVES: [u64; 3] = [1 << 36, 1 << 41, 1 << 44];

/// Room on the NTFS volume for what mkntfs writes and a file system needs beside its files.
const SPARE: Bytes = Bytes::mib(64);
/// Room for a file: its record, its names in folders, and its security descriptor, with as much again to spare.
const EACH: u64 = 4096;
/// What of this is written, at most, for a file as files are.
const WRITTEN: u64 = 1536;

/// The volumes of a rehearsal, in a folder of their own.
pub(crate) struct Rehearsal<'a> {
    programs: &'a Tools,
    layout: &'a Layout,
    plan: Plan,
    folder: &'a Path,
}

impl<'a> Rehearsal<'a> {
    /// About how much a rehearsal of so many files and folders writes.
    pub(crate) fn room(entries: u64) -> Bytes {
        SPARE.saturating_add(Bytes(entries.saturating_mul(WRITTEN)))
    }

    /// Plans a rehearsal of `layout` in an empty folder.
    ///
    /// # Errors
    /// [`LayoutError`] if the layout fits no drive.
    pub(crate) fn of(
        layout: &'a Layout,
        programs: &'a Tools,
        folder: &'a Path,
    ) -> Result<Self, LayoutError> {
        let plan = |size| layout.plan(Geometry { size: Bytes(size), sector: SECTOR });
        let first = plan(DRIVES[0]);
        let plan = DRIVES[1..].iter().fold(first, |found, size| found.or_else(|_| plan(*size)))?;
        Ok(Self { programs, layout, plan, folder })
    }

    /// Formats a volume for so many files and folders, and contents of them, as the press does.
    pub(crate) fn volume(&self, entries: u64, contents: Bytes) -> Result<Windows, PressError> {
        let size = SPARE.saturating_add(Bytes(entries.saturating_mul(EACH)));
        let size = size.saturating_add(contents);
        let sectors = size.align_up(SPARE.0).0 / SECTOR.bytes();
        let (_, planned) = self
            .plan
            .find(Role::Windows)
            .ok_or(PressError::Volume { role: Role::Windows, what: "the layout has none" })?;
        let last = Lba(planned.first.0 + sectors - 1);
        let partition = PlannedPartition { last, ..planned.clone() };
        let path = self.folder.join("windows");
        format_ntfs(self.programs, &partition, SECTOR, &path)?;
        Ok(Windows(path))
    }

    /// Lays out the boot files of an image and copies them onto an ESP, if the layout has one that is to be filled.
    pub(crate) fn fill_esp(&self, wim: &mut Wim, image: u32) -> Result<(), PressError> {
        let Some((_, partition)) = self.plan.find(Role::Esp) else { return Ok(()) };
        if self.layout.boot != Boot::Prestaged {
            return Ok(());
        }
        let path = self.folder.join("esp");
        let fat = format_fat(self.programs, partition, SECTOR, &path)?;
        let contents =
            esp::lay_out(wim, image, &self.folder.join("boot"), self.layout.boot_manager)?;
        fill_esp(self.programs, &contents, &self.plan, &fat, &path)
    }
}

/// The NTFS volume of a rehearsal.
#[derive(Clone)]
pub(crate) struct Windows(PathBuf);

impl Windows {
    /// The capital of each unit of UTF-16, as the volume has them.
    pub(crate) fn capitals(&self) -> Result<Vec<u16>, NtfsError> {
        let mut volume = BufReader::new(File::open(&self.0)?);
        let ntfs = Ntfs::new(&mut volume)?;
        let upcase = ntfs.file(&mut volume, KnownNtfsFileRecordNumber::UpCase as u64)?;
        let mut data = vec![0; 1 << 17];
        if let Some(item) = upcase.data(&mut volume, "") {
            let item = item?;
            let attribute = item.to_attribute()?;
            attribute.value(&mut volume)?.read_exact(&mut volume, &mut data)?;
        }
        Ok(data.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect())
    }

    /// Applies the bare copy of an image; `files` are those of the media, for what is left in the copy. Calls `sign`
    /// whenever it has got on. Returns what libwim warns of.
    pub(crate) fn apply(
        &self,
        bare: &Path,
        files: &[impl AsRef<Path>],
        sign: impl Fn() + Clone + 'static,
    ) -> Result<Vec<String>, PressError> {
        let each = sign.clone();
        let mut wim = Wim::reopen(bare, move |_| {
            each();
            Flow::Continue
        })?;
        wim.reference(files)?;
        let warnings = wim.extract_to_volume(1, &self.0)?;
        sign();
        inheritance::complete(&mut wim, 1, &self.0)?;
        Ok(warnings)
    }

    /// Compares the volume with the bare copy that was applied to it, as the check of a press does.
    pub(crate) fn compare(
        &self,
        bare: &Path,
        files: &[impl AsRef<Path>],
    ) -> Result<AuditReport, CompareError> {
        let media = expected_in(bare, files, 1)?;
        let mut report = AuditReport::default();
        let file = Arc::new(File::open(&self.0)?);
        let open = || Box::new(Plain(Arc::clone(&file))) as Box<dyn Source>;
        compare(&media, &open, &mut report, &|_| ())?;
        Ok(report)
    }
}

/// A volume that cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompareError {
    #[error(transparent)]
    Wim(#[from] WimError),
    #[error("cannot open the volume of a rehearsal")]
    Open(#[from] io::Error),
    #[error("cannot read the volume of a rehearsal")]
    Volume(#[from] VolumeError),
}

/// A file that is a volume.
struct Plain(Arc<File>);

impl Source for Plain {
    fn read_exact_at(&mut self, data: &mut [u8], offset: Bytes) -> io::Result<()> {
        FileExt::read_exact_at(&*self.0, data, offset.0)
    }
}
