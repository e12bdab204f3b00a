//! The audit of a drive: it compares the drive with media, in a worker process, and only reads. The worker gets the
//! drive open for reading, and could not open it itself.
//!
//! Every file, stream and attribute of the drive's Windows volume is compared with the media's directory tree. The
//! volume is read by another NTFS implementation (the `ntfs` crate) than the one that wrote it (libntfs-3g), so that no
//! mistake of one can hide a difference; and it is read through O_DIRECT, so that the page cache cannot hide one.

mod folder;
mod volume;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::PathBuf;

use drives::direct::DirectReader;
use formats::gpt::{self, TableError, Tables};
use media::unchanged::{MediaChanged, check_unchanged};
use media::wim::{Entry, Flow, Wim, WimError};
use media::worker::domain::Reach;
use media::worker::protocol::Reporter;
use media::worker::{Given, Work};
use model::api::audit::{AuditReport as Report, AuditTask};
use model::code::FailureCode;
use model::drive::Geometry;
use model::failure::Failure;
use model::layout::{Plan, Role};
use model::units::{Bytes, SectorSize, UnitError};
use serde::{Deserialize, Serialize};

use volume::{Node, Volume, VolumeError};

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

/// An entry of the media's directory tree.
struct Expected {
    path: String,
    short_name: Option<String>,
    attributes: u32,
    reparse_tag: u32,
    security: Vec<u8>,
    links: u32,
    link_group: u64,
    /// Creation, last write and last access, in units of 100 ns since 1601.
    times: [u64; 3],
    /// All zeros if the entry has none.
    object_id: [u8; 16],
    /// Name, size and SHA-1 of each data stream; the unnamed one has the empty name.
    streams: Vec<(String, u64, [u8; 20])>,
}

impl Expected {
    fn of(entry: &Entry<'_>) -> Self {
        let streams = entry.streams.iter().map(|s| (s.name.to_owned(), s.size, s.sha1));
        Self {
            path: entry.path.to_owned(),
            short_name: entry.short_name.map(str::to_owned),
            attributes: entry.attributes,
            reparse_tag: entry.reparse_tag,
            security: entry.security.to_owned(),
            links: entry.links,
            link_group: entry.link_group,
            times: entry.times,
            object_id: entry.object_id,
            streams: streams.collect(),
        }
    }
}

fn audit(task: &AuditTask, given: Given) -> Result<Report, AuditError> {
    let mut expected: Vec<Expected> = Vec::new();
    let mut report = Report::default();
    if let Some((first, others)) = task.files.split_first() {
        task.files.iter().try_for_each(check_unchanged)?;
        let name = first.path.file_name().unwrap_or_default().to_string_lossy();
        report.media = name.replace(char::is_control, "?");
        let mut wim = Wim::open(&first.path, |_| Flow::Continue)?;
        let others: Vec<&PathBuf> = others.iter().map(|file| &file.path).collect();
        wim.reference(&others)?;
        wim.entries(task.image, |entry| expected.push(Expected::of(entry)))?;
    }
    let drive = given.files.into_iter().next().ok_or(AuditError::NoDrive)?;
    let mut drive = DirectReader::over(File::from(drive), task.size);
    let (offset, size) = windows_partition(task, &mut drive)?;
    let mut volume = Volume::open(drive.slice(offset, size))?;
    compare(&expected, &mut volume, &mut report)?;
    Ok(report)
}

/// Offset and size of the Windows volume, by the drive's own partition tables.
fn windows_partition(
    task: &AuditTask,
    drive: &mut DirectReader<'_>,
) -> Result<(Bytes, Bytes), AuditError> {
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
    Ok((windows.first.offset(sector), Bytes(length * sector.bytes())))
}

fn compare(
    expected: &[Expected],
    volume: &mut Volume,
    report: &mut Report,
) -> Result<(), AuditError> {
    let mut reporter = Reporter::default();
    reporter.report("walking the volume", 0.0);
    let mut found: BTreeMap<String, Node> = BTreeMap::new();
    volume.walk(&mut |path, node| {
        found.insert(path, node);
    })?;
    let total: u64 = expected.iter().flat_map(|e| &e.streams).map(|s| s.1).sum();
    // The file record that the hard links of a group lead to, by group, and the group by file record.
    let mut groups: HashMap<u64, u64> = HashMap::new();
    let mut owners: HashMap<u64, u64> = HashMap::new();
    for want in expected {
        report.entries += 1;
        let Some(node) = found.remove(&want.path) else {
            report.differs(&want.path, "is missing on the drive");
            continue;
        };
        if want.links > 1 {
            let record = *groups.entry(want.link_group).or_insert(node.record);
            let group = *owners.entry(node.record).or_insert(want.link_group);
            if record != node.record || group != want.link_group {
                report.differs(&want.path, "is hard-linked to other files than in the media");
            }
        }
        compare_entry(want, &node, volume, report)?;
        let done = report.data_bytes.0;
        #[expect(clippy::cast_precision_loss, reason = "a progress bar has a hundred steps")]
        reporter.report("comparing", done as f64 / total.max(1) as f64);
    }
    for path in found.keys() {
        report.differs(path, "is on the drive, but not in the media");
    }
    Ok(())
}

/// The attributes that are compared. Not among them are "directory", which NTFS keeps elsewhere, and "normal", which
/// means that no other is set.
const COMPARED_ATTRIBUTES: u32 = 0x3f27;
/// The attribute of a reparse point.
const REPARSE: u32 = 0x400;

fn compare_entry(
    want: &Expected,
    node: &Node,
    volume: &mut Volume,
    report: &mut Report,
) -> Result<(), AuditError> {
    let path = &want.path;
    if want.short_name != node.short_name {
        let name =
            |name: &Option<String>| name.as_ref().map_or("none".into(), |n| format!("{n:?}"));
        let (is, should) = (name(&node.short_name), name(&want.short_name));
        report.differs(path, format!("short name: {is} instead of {should}"));
    }
    let details = volume.details(node)?;
    let (is, should) =
        (details.attributes & COMPARED_ATTRIBUTES, want.attributes & COMPARED_ATTRIBUTES);
    if is != should {
        report.differs(path, format!("attributes: {is:#x} instead of {should:#x}"));
    }
    for (name, is, should) in [
        ("creation", details.times[0], want.times[0]),
        ("last write", details.times[1], want.times[1]),
        ("last access", details.times[2], want.times[2]),
    ] {
        if is != should {
            let unit = "in units of 100 ns since 1601";
            report.differs(path, format!("time of {name}: {is} instead of {should}, {unit}"));
        }
    }
    if !want.security.is_empty() && details.security != want.security {
        report.differs(path, "the security descriptor differs");
    }
    if want.object_id != [0; 16] && details.object_id != Some(want.object_id) {
        report.differs(path, "the object ID differs");
    }
    if want.links == 1 && details.links != 1 {
        report.differs(path, format!("{} hard links instead of 1", details.links));
    }
    let mut named: Vec<String> = details.streams;
    for (name, size, sha1) in &want.streams {
        named.retain(|n| n != name);
        let is_reparse = name.is_empty() && want.attributes & REPARSE != 0;
        let is = if is_reparse {
            volume.hash_reparse(node, want.reparse_tag)?
        } else {
            volume.hash_stream(node, name)?
        };
        report.streams += 1;
        report.data_bytes += Bytes(*size);
        let shown = if name.is_empty() { "contents" } else { name.as_str() };
        match is {
            // The media lists an empty stream for directories and empty files, which may have none on the drive.
            None if *size == 0 => {}
            None => report.differs(path, format!("{shown}: the stream is missing")),
            Some((length, _)) if length != *size => {
                report.differs(path, format!("{shown}: {length} bytes instead of {size}"));
            }
            Some((_, digest)) if *size > 0 && digest != *sha1 => {
                report.differs(path, format!("{shown}: the data differs"));
            }
            Some(_) => {}
        }
    }
    for name in named.iter().filter(|name| !name.is_empty()) {
        report.differs(path, format!("stream {name:?} is not in the media"));
    }
    Ok(())
}
