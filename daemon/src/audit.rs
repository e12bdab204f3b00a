//! The audit of a drive: it compares the drive with media, in a worker process, and only reads. The worker gets the
//! drive open for reading, and could not open it itself.
//!
//! Every file, stream and attribute of the drive's Windows volume is compared with the media's directory tree
//! ([`media::compare`]). The drive is read through O_DIRECT, so that the page cache cannot hide a difference.

use std::fs::File;
use std::io;
use std::sync::Arc;

use drives::direct::{DirectPart, DirectReader};
use formats::gpt::{self, TableError, Tables};
use media::compare::{Source, VolumeError, compare, expected};
use media::unchanged::{MediaChanged, check_unchanged};
use media::wim::WimError;
use media::worker::domain::Reach;
use media::worker::protocol::Reporter;
use media::worker::{Given, Work};
use model::api::audit::{AuditReport as Report, AuditTask};
use model::code::FailureCode;
use model::drive::Geometry;
use model::failure::Failure;
use model::layout::{Plan, Role};
use model::ranges::Range;
use model::units::{Bytes, SectorSize, UnitError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Why an audit could not be made.
#[derive(Debug, thiserror::Error)]
enum AuditError {
    #[error(transparent)]
    Media(#[from] MediaChanged),
    #[error(transparent)]
    Wim(#[from] WimError),
    #[error("cannot read the drive")]
    Drive(#[from] io::Error),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Sector(#[from] UnitError),
    #[error("the station has sent no drive")]
    NoDrive,
    #[error("the drive has no Windows partition")]
    NoWindows,
    #[error("cannot read the Windows volume")]
    Volume(#[from] VolumeError),
}

/// The task of an audit worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Audit(pub AuditTask);

impl Work for Audit {
    const NAME: &'static str = "audit";
    type Output = Report;

    /// The media. The drive comes open, for reading.
    fn reach(&self) -> Reach {
        Reach::to_read(self.0.files.iter().map(|file| file.path.as_path()))
    }

    /// Audits a drive. The task fails if drive or media cannot be read; differences are its result, not a failure.
    fn perform(self, given: Given) -> Result<Report, Failure> {
        audit(&self.0, given).map_err(|error| {
            let code = match &error {
                AuditError::Media(_) | AuditError::Wim(_) => FailureCode::MediaUnreadable,
                AuditError::Drive(_) => FailureCode::ReadError,
                AuditError::NoDrive => FailureCode::InternalError,
                AuditError::Table(_) | AuditError::Sector(_) | AuditError::NoWindows => {
                    FailureCode::NotImaged
                }
                AuditError::Volume(_) => FailureCode::VolumeDamaged,
            };
            let failure = Failure::of(code, &error);
            match &error {
                AuditError::Media(error) => failure.with_hint_of(error),
                AuditError::Wim(error) => failure.with_hint_of(error),
                _ if code == FailureCode::NotImaged => {
                    let device = self.0.node.display();
                    failure.with_hint(format!("`prestagectl image {device}` images it"))
                }
                _ => failure,
            }
        })
    }
}

fn audit(task: &AuditTask, given: Given) -> Result<Report, AuditError> {
    let mut report = Report::default();
    if let Some(first) = task.files.first() {
        let name = first.path.file_name().unwrap_or_default().to_string_lossy();
        report.media = name.replace(char::is_control, "?");
    }
    task.files.iter().try_for_each(check_unchanged)?;
    let media = expected(&task.files, task.image)?;
    let drive = given.files.into_iter().next().ok_or(AuditError::NoDrive)?;
    let drive = Arc::new(File::from(drive));
    let mut tables = DirectReader::over(Arc::clone(&drive), task.size);
    let range = windows_partition(task, &mut tables)?;
    drop(tables);
    let part = || Volume(DirectPart::new(Arc::clone(&drive), task.size, range));
    let open = || Box::new(part()) as Box<dyn Source>;
    let reporter = Mutex::new(Reporter::default());
    reporter.lock().report("walking the volume", 0.0);
    let progress = |part| reporter.lock().report("comparing", part);
    compare(&media, &open, &mut report, &progress)?;
    Ok(report)
}

/// The Windows volume of the drive.
struct Volume(DirectPart);

impl Source for Volume {
    fn read_exact_at(&mut self, data: &mut [u8], offset: Bytes) -> io::Result<()> {
        self.0.read_exact_at(data, offset)
    }
}

/// The place of the Windows volume, by the drive's own partition tables.
fn windows_partition(task: &AuditTask, drive: &mut DirectReader<'_>) -> Result<Range, AuditError> {
    let sector = SectorSize::try_from(task.logical_sector_bytes)?;
    let geometry = Geometry { size: task.size, sector };
    let (head, tail) = (Plan::primary_table(geometry), Plan::backup_table(geometry));
    let tables = Tables {
        primary: drive.bytes(Bytes(0), head)?,
        backup: drive.bytes(Bytes(task.size.0.saturating_sub(tail.0)), tail)?,
    };
    let parsed = gpt::read(geometry, &tables)?;
    let windows = parsed.partitions.iter().find(|p| p.type_guid == Role::Windows.type_guid());
    let windows = windows.ok_or(AuditError::NoWindows)?;
    let length = (windows.last.0 + 1).saturating_sub(windows.first.0);
    Ok(Range::at(windows.first.offset(sector), Bytes(length * sector.bytes())))
}
