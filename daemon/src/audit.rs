//! The audit of a drive: it compares the drive with media, in a worker process, and only reads. The worker gets the
//! drive open for reading, and could not open it itself.
//!
//! Everything is compared that a drive must hold: its partition tables, the boot files and the BCD on its EFI system
//! partition, every file, stream and attribute of its Windows volume ([`media::check::drive`]), and that nothing else is
//! there. The drive is read through O_DIRECT, so that the page cache cannot hide a difference.

use std::fs::File;
use std::io;
use std::sync::Arc;

use drives::direct::{DirectPart, DirectReader};
use formats::gpt::{self, Parsed, ParsedPartition, TableError, Tables};
use media::check::drive::{self, CompareError, Drive, Part, Stream};
use media::compare::{Source, expected};
use media::unchanged::{MediaChanged, check_unchanged};
use media::wim::WimError;
use media::worker::domain::Reach;
use media::worker::protocol::Reporter;
use media::worker::{Given, Work};
use model::api::audit::{AuditReport as Report, AuditTask};
use model::code::FailureCode;
use model::drive::Geometry;
use model::failure::{Failure, chain};
use model::identity::{Identity, PartitionIdentity};
use model::layout::{Boot, Layout, Places, Plan, Role};
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
    #[error(transparent)]
    Compare(#[from] CompareError),
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
                AuditError::Compare(CompareError::Read { .. }) => FailureCode::ReadError,
                AuditError::Compare(CompareError::Volume { .. }) => FailureCode::VolumeDamaged,
            };
            let failure = Failure::of(code, &error);
            match &error {
                AuditError::Media(error) => failure.with_hint_of(error),
                AuditError::Wim(error) => failure.with_hint_of(error),
                _ if code == FailureCode::NotImaged => {
                    let device = self.0.node.display();
                    failure.with_hint(format!(
                        "`prestagectl image {device}` images it if the station admits it, which \
                         `prestagectl drives {device}` shows"
                    ))
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
    let file = given.files.into_iter().next().ok_or(AuditError::NoDrive)?;
    let drive = Audited { file: Arc::new(File::from(file)), size: task.size };
    let geometry =
        Geometry { size: task.size, sector: SectorSize::try_from(task.logical_sector_bytes)? };
    let tables = drive.tables(geometry)?;
    let parsed = gpt::read(geometry, &tables)?;
    let parts = parts(&parsed, geometry.sector);
    if !parts.iter().any(|part| part.role == Role::Windows) {
        return Err(AuditError::NoWindows);
    }
    if let Some(difference) = strange(&tables, &parsed, &task.layout, geometry) {
        report.differs("the partition tables", difference);
    }
    let reporter = Mutex::new(Reporter::default());
    reporter.lock().report("walking the volume", 0.0);
    let progress = |part| reporter.lock().report("comparing", part);
    let places = places(&parsed).filter(|_| task.layout.boot == Boot::Prestaged);
    drive::compare(&drive, &parts, places, &media, &mut report, &progress)?;
    Ok(report)
}

/// The drive, open for reading.
struct Audited {
    file: Arc<File>,
    size: Bytes,
}

impl Audited {
    fn tables(&self, geometry: Geometry) -> io::Result<Tables> {
        let mut reader = DirectReader::over(Arc::clone(&self.file), self.size);
        let (head, tail) = (Plan::primary_table(geometry), Plan::backup_table(geometry));
        Ok(Tables {
            primary: reader.bytes(Bytes(0), head)?,
            backup: reader.bytes(self.size.saturating_sub(tail), tail)?,
        })
    }
}

impl Drive for Audited {
    fn part(&self, range: Range) -> Box<dyn Source> {
        Box::new(Volume(DirectPart::new(Arc::clone(&self.file), self.size, range)))
    }

    /// Folders of a damaged volume can lead in a circle, so it may be read twice at most.
    fn stream(&self, range: Range) -> Box<dyn Stream> {
        let reader = DirectReader::over(Arc::clone(&self.file), self.size);
        let length = range.length();
        Box::new(reader.slice(range.start, length).within(length.saturating_add(length)))
    }
}

/// A part of the drive that is read at any place.
struct Volume(DirectPart);

impl Source for Volume {
    fn read_exact_at(&mut self, data: &mut [u8], offset: Bytes) -> io::Result<()> {
        self.0.read_exact_at(data, offset)
    }
}

/// The partitions that a layout can have, by the drive's own tables.
fn parts(parsed: &Parsed, sector: SectorSize) -> Vec<Part> {
    let part = |own: &ParsedPartition| {
        let role = Role::of(own.type_guid)?;
        let length = (own.last.0 + 1).saturating_sub(own.first.0);
        let range = Range::at(own.first.offset(sector), Bytes(length * sector.bytes()));
        Some(Part { role, range })
    };
    parsed.partitions.iter().filter_map(part).collect()
}

/// The GUIDs that the BCD must name.
fn places(parsed: &Parsed) -> Option<Places> {
    let guid = |role: Role| {
        let own = parsed.partitions.iter().find(|own| own.type_guid == role.type_guid());
        own.map(|own| own.guid)
    };
    Some(Places { disk: parsed.disk, esp: guid(Role::Esp)?, windows: guid(Role::Windows)? })
}

/// How the tables differ from those that the station writes, but for the drive's own GUIDs.
fn strange(
    tables: &Tables,
    parsed: &Parsed,
    layout: &Layout,
    geometry: Geometry,
) -> Option<String> {
    let plan = match layout.plan(geometry) {
        Ok(plan) => plan,
        Err(error) => return Some(chain(&error)),
    };
    let own = |own: &ParsedPartition| PartitionIdentity { guid: own.guid, volume_serial: 0 };
    let identity =
        Identity { disk: parsed.disk, partitions: parsed.partitions.iter().map(own).collect() };
    if let Err(error) = gpt::check(&plan, &identity, tables) {
        return Some(error.to_string());
    }
    match gpt::render(&plan, &identity) {
        Ok(rendered) if rendered == *tables => None,
        Ok(_) => Some("the protective MBR is not as it is written".into()),
        Err(error) => Some(chain(&error)),
    }
}
