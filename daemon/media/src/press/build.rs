//! Presses a master, in a worker process: formats the volumes, fills them, then maps the image.
//!
//! Everything happens in one folder of the store. The station takes the image over when the worker has ended; until
//! then the folder may be removed at any time, so no step needs to be undone.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use formats::fat32::{Fat32, FatError};
use formats::gpt::{self, TableError};
use masters::IMAGE_FILE;
use masters::allocation::{self, MapError};
use masters::image::Outline;
use model::code::FailureCode;
use model::failure::{Failure, chain};
use model::hint::Hint;
use model::identity::{Fixup, Identity, MisplacedSite, Site, stamp};
use model::layout::{
    Boot, LayoutError, Plan, PlannedPartition, Role, esp_cluster_sectors, ntfs_cluster,
};
use model::units::{Bytes, SectorSize};

use super::esp::{self, EspError};
use super::fits::FitError;
use super::{PressTask, fits, long_names};
use crate::inheritance;
use crate::tools::{self, ToolError, Tools};
use crate::unchanged::{MediaChanged, check_unchanged};
use crate::wim::{BareError, Flow, Phase, Wim, WimError, volume};
use crate::worker::domain::Reach;
use crate::worker::protocol::Reporter;
use crate::worker::{Given, Work};

/// A press that failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PressError {
    /// The layout does not fit the drive.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The media is not what was verified.
    #[error(transparent)]
    Changed(#[from] MediaChanged),
    /// libwim could not read or apply the media.
    #[error(transparent)]
    Wim(#[from] WimError),
    /// The directory tree could not be copied.
    #[error(transparent)]
    Tree(#[from] BareError),
    /// A program could not format or fill a volume.
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error("cannot prepare the EFI system partition")]
    Esp(#[from] EspError),
    #[error(transparent)]
    Table(#[from] TableError),
    /// The freshly formatted EFI system partition is not FAT32.
    #[error(transparent)]
    Fat(#[from] FatError),
    #[error(transparent)]
    Map(#[from] MapError),
    #[error(transparent)]
    Site(#[from] MisplacedSite),
    #[error("the new {role} volume is not as expected: {what}")]
    Volume { role: Role, what: &'static str },
    #[error("cannot {doing} in the store")]
    Store {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
}

impl PressError {
    fn code(&self) -> FailureCode {
        match self {
            Self::Changed(_) => FailureCode::MediaChanged,
            Self::Wim(error) if error.is_full() => FailureCode::VolumeFull,
            Self::Esp(EspError::Bcd(_) | EspError::Missing(_)) => FailureCode::MediaInvalid,
            Self::Tool(ToolError::Missing { .. }) => FailureCode::ToolMissing,
            Self::Store { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => {
                FailureCode::ImageTooLarge
            }
            _ => FailureCode::PressFailed,
        }
    }
}

impl Hint for PressError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Layout(error) => error.hint(),
            Self::Changed(error) => error.hint(),
            Self::Wim(error) => error.hint(),
            Self::Tool(error) => error.hint(),
            Self::Esp(error) => error.hint(),
            Self::Store { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => Some(
                "put the store on a file system with larger files, such as XFS or btrfs (store.path)"
                    .into(),
            ),
            Self::Store { .. } => {
                Some("check that the store's file system is there and writable (store.path)".into())
            }
            Self::Tree(BareError::Wim(error)) => error.hint(),
            Self::Tree(_) | Self::Table(_) | Self::Fat(_) | Self::Map(_) | Self::Site(_) | Self::Volume { .. } => {
                None
            }
        }
    }
}

fn store(doing: &'static str) -> impl FnOnce(io::Error) -> PressError {
    move |source| PressError::Store { doing, source }
}

/// With fewer free bytes than this, any failed press is reported as a full store.
const NEARLY_FULL: u64 = 1 << 20;

impl Work for PressTask {
    const NAME: &'static str = "press";
    /// libwim unpacks a blob that very many files share into a temporary file first.
    const NEEDS_SCRATCH: bool = true;
    /// What matters of the image in the staging folder.
    type Output = Outline;

    /// The media, the folder to press into, and the programs.
    fn reach(&self) -> Reach {
        Reach {
            write: vec![self.staging.clone()],
            run: self.tools.of_a_press(),
            ..Reach::to_read(self.files.iter().map(|file| file.path.as_path()))
        }
    }

    /// Presses. Fails with a code that the station can act on: `store_full`, `volume_full`, `media_changed`,
    /// `media_invalid`, `tool_missing`, `image_too_large` or `press_failed`.
    fn perform(self, _: Given) -> Result<Outline, Failure> {
        press(&self).map_err(|error| {
            // Media that is being overwritten fails in any way.
            let error = self.check_media().err().map_or(error, PressError::from);
            let stat = rustix::fs::statvfs(&self.staging);
            let free = stat.map_or(u64::MAX, |stat| stat.f_bavail * stat.f_frsize);
            if free < NEARLY_FULL {
                let detail = format!("the store is full ({free} bytes free): {}", chain(&error));
                let hint = "make room, or move the store to a larger file system (store.path)";
                return Failure::new(FailureCode::StoreFull, detail).with_hint(hint);
            }
            Failure::of(error.code(), &error).with_hint_of(&error)
        })
    }
}

fn press(task: &PressTask) -> Result<Outline, PressError> {
    let recipe = &task.recipe;
    let plan = recipe.layout.plan(recipe.geometry)?;
    let sector = recipe.geometry.sector;
    let path = task.staging.join(IMAGE_FILE);
    let image = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|file| file.set_len(recipe.geometry.size.0).map(|()| file))
        .map_err(store("create the image"))?;

    let mut wim = open(task)?;
    let mut sites = gpt::sites(&plan);
    for (index, partition) in plan.partitions.iter().enumerate() {
        let volume = task.staging.join("volume");
        match partition.role {
            Role::Msr => continue,
            Role::Esp => {
                let fat = format_fat(&task.tools, partition, sector, &volume)?;
                if recipe.layout.boot == Boot::Prestaged {
                    let work = task.staging.join("boot");
                    let contents =
                        esp::lay_out(&mut wim, recipe.image, &work, recipe.layout.boot_manager)?;
                    fill_esp(&task.tools, &contents, &plan, &fat, &volume)?;
                    fs::remove_dir_all(&work).map_err(store("remove scratch files"))?;
                    sites.extend(guid_sites(&volume, &plan, partition.offset(sector))?);
                }
            }
            Role::Windows | Role::Recovery => {
                format_ntfs(&task.tools, partition, sector, &volume)?;
            }
        }
        splice(&volume, &image, partition.offset(sector)).map_err(store("copy a volume"))?;
        fs::remove_file(&volume).map_err(store("remove a scratch file"))?;
        sites.extend(serial_sites(&image, partition, index, sector)?);
    }

    if let Some((_, windows)) = plan.find(Role::Windows) {
        volume::shift(windows.offset(sector), windows.size(sector))?;
        match unspread(task, &mut wim)? {
            Some(mut altered) => altered.extract_to_volume(1, &path)?,
            None => wim.extract_to_volume(recipe.image, &path)?,
        };
        inheritance::complete(&mut wim, recipe.image, &path)?;
    }
    drop(wim);
    task.check_media()?;

    write_tables(&image, &plan)?;
    set_placeholder(&image, &plan, &sites)?;
    image.sync_all().map_err(store("flush the image"))?;
    Ok(Outline::of(&image, &plan, sites)?)
}

impl PressTask {
    fn check_media(&self) -> Result<(), MediaChanged> {
        self.files.iter().try_for_each(check_unchanged)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a progress bar has a hundred steps")]
fn fraction(done: u64, total: u64) -> f64 {
    if total == 0 { 1.0 } else { done as f64 / total as f64 }
}

/// `FILE_ATTRIBUTE_COMPRESSED`, of a folder if that of a directory is set as well.
const COMPRESSED_FOLDER: u32 = 0x810;

/// The image without folders that would make NTFS compress files which are not compressed in the media, such as a boot
/// image, which the boot manager could not read then; `None` if no folder is compressed.
fn unspread(task: &PressTask, wim: &mut Wim) -> Result<Option<Wim>, PressError> {
    let mut spreads = false;
    wim.entries(task.recipe.image, |entry| {
        spreads |= entry.attributes & COMPRESSED_FOLDER == COMPRESSED_FOLDER;
    })?;
    if !spreads {
        return Ok(None);
    }
    let tree = task.staging.join("tree.wim");
    wim.write_unspread(task.recipe.image, &tree)?;
    let mut altered = Wim::open(&tree, reported())?;
    let files: Vec<&Path> = task.files.iter().map(|file| file.path.as_path()).collect();
    altered.reference(&files)?;
    fs::remove_file(&tree).map_err(store("remove a scratch file"))?;
    Ok(Some(altered))
}

fn open(task: &PressTask) -> Result<Wim, PressError> {
    task.check_media()?;
    let Some((first, others)) = task.files.split_first() else {
        let doing = "open the media".into();
        return Err(WimError::Refused { doing, reason: "the task names no file" }.into());
    };
    let mut wim = Wim::open(&first.path, reported())?;
    let others: Vec<&Path> = others.iter().map(|file| file.path.as_path()).collect();
    wim.reference(&others)?;
    Ok(wim)
}

/// Reports how far libwim has come.
fn reported() -> impl FnMut(crate::wim::Progress) -> Flow + 'static {
    let mut reporter = Reporter::default();
    move |progress: crate::wim::Progress| {
        let part = fraction(progress.done, progress.total);
        match progress.phase {
            Phase::Begin | Phase::Write | Phase::Table | Phase::Split => {}
            Phase::Integrity | Phase::Verify => reporter.report("checking", 0.02 * part),
            Phase::Structure => reporter.report("applying", 0.02 + 0.18 * part),
            Phase::Data => reporter.report("applying", 0.20 + 0.60 * part),
            Phase::Metadata => reporter.report("applying", 0.80 + 0.05 * part),
        }
        Flow::Continue
    }
}

pub(super) fn format_fat(
    programs: &Tools,
    partition: &PlannedPartition,
    sector: SectorSize,
    volume: &Path,
) -> Result<Fat32, PressError> {
    let size = partition.size(sector);
    let file = File::create_new(volume)
        .and_then(|file| file.set_len(size.0).map(|()| file))
        .map_err(store("create a volume"))?;
    tools::run(
        &programs.mkfs_vfat,
        &[
            "-F32",
            "-S",
            &sector.bytes().to_string(),
            "-s",
            &esp_cluster_sectors(size, sector).to_string(),
            "-h",
            &partition.first.0.to_string(),
            "-n",
            &partition.label,
            "--invariant",
            &volume.to_string_lossy(),
        ],
    )?;
    drop(file);
    // mkfs.vfat only warns if it makes so few clusters that every reader takes the volume for FAT16.
    let file = File::open(volume).map_err(store("read a volume"))?;
    let mut boot = [0_u8; 512];
    file.read_exact_at(&mut boot, 0).map_err(store("read a volume"))?;
    Ok(Fat32::parse(&boot, size)?)
}

/// Copies the files laid out in the folder `contents` onto an ESP, with a BCD that names the placeholder's partitions.
pub(super) fn fill_esp(
    programs: &Tools,
    contents: &Path,
    plan: &Plan,
    fat: &Fat32,
    volume: &Path,
) -> Result<(), PressError> {
    fits::check_before(contents, fat).map_err(EspError::from)?;
    if let Some(places) = plan.places(&Identity::placeholder(plan.partitions.len())) {
        esp::set_places(contents, &programs.hivexsh, &places)?;
    }
    // It skips a name that it takes for one that is there, where it would ask for ever; the check afterwards tells of it.
    let options = ["-s", "-Q", "-D", "s", "-i"];
    let mut arguments: Vec<OsString> = options.map(OsString::from).into();
    arguments.push(volume.as_os_str().to_owned());
    for entry in fs::read_dir(contents).map_err(store("read the boot files"))? {
        arguments.push(entry.map_err(store("read the boot files"))?.path().into_os_string());
    }
    arguments.push("::/".into());
    tools::run(&programs.mcopy, &arguments)?;
    long_names::complete(contents, volume).map_err(FitError::from).map_err(EspError::from)?;
    Ok(fits::check_after(contents, volume).map_err(EspError::from)?)
}

/// Formats an NTFS volume. mkntfs must be told where the volume will lie, or Windows cannot boot from it (mkntfs(8));
/// 255 heads of 63 sectors is the geometry that every BIOS and Windows itself assume.
///
/// The boot sector has 32 bits for the place. What needs it is the volume's own boot code, which only a BIOS runs, and a
/// BIOS cannot start from such a drive beyond the first 2^32 sectors at all. mkntfs refuses a place that does not fit if
/// it is given one; if it finds the place itself, it writes 0 (`mkntfs_override_vol_params` in ntfs-3g), as here.
pub(super) fn format_ntfs(
    programs: &Tools,
    partition: &PlannedPartition,
    sector: SectorSize,
    volume: &Path,
) -> Result<(), PressError> {
    let size = partition.size(sector);
    let place = u32::try_from(partition.first.0).unwrap_or(0);
    File::create_new(volume)
        .and_then(|file| file.set_len(size.0))
        .map_err(store("create a volume"))?;
    tools::run(
        &programs.mkntfs,
        &[
            "-Q",
            "-F",
            "-q",
            "-s",
            &sector.bytes().to_string(),
            "-c",
            &ntfs_cluster(size).0.to_string(),
            "-p",
            &place.to_string(),
            "-H",
            "255",
            "-S",
            "63",
            "-L",
            &partition.label,
            &volume.to_string_lossy(),
        ],
    )?;
    Ok(())
}

/// The piece in which [`splice`] looks for something else than zeros.
const SPLICE_BLOCK: usize = 64 << 10;

/// Copies what a volume's file holds into the image, from byte `offset` on. Holes and zeros stay holes: the bitmap of a
/// large volume, half a gibibyte at 15 TiB, is next to nothing but zeros.
fn splice(volume: &Path, image: &File, offset: Bytes) -> io::Result<()> {
    use rustix::fs::{SeekFrom, seek};
    let volume = File::open(volume)?;
    let size = volume.metadata()?.len();
    let mut buffer = vec![0_u8; 1 << 20];
    let mut at = 0;
    while at < size {
        let start = match seek(&volume, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(&volume, SeekFrom::Hole(start))?;
        at = start;
        while at < end {
            let count = Bytes(end - at).as_usize().min(buffer.len());
            volume.read_exact_at(&mut buffer[..count], at)?;
            for block in buffer[..count].chunks(SPLICE_BLOCK) {
                if block.iter().any(|byte| *byte != 0) {
                    image.write_all_at(block, offset.0 + at)?;
                }
                at += Bytes::of(block.len()).0;
            }
        }
    }
    Ok(())
}

/// Finds where the ESP holds the placeholder's GUIDs, which nothing else on an ESP resembles: in the BCD, and in the
/// hive's unused cells. Stale copies in those do no harm, but must not be alike on all drives either.
fn guid_sites(volume: &Path, plan: &Plan, offset: Bytes) -> Result<Vec<Site>, PressError> {
    let placeholder = Identity::placeholder(plan.partitions.len());
    let mut wanted = vec![(placeholder.disk.to_bytes_le(), Fixup::DiskGuid)];
    for (index, partition) in placeholder.partitions.iter().enumerate() {
        wanted.push((partition.guid.to_bytes_le(), Fixup::PartitionGuid(index)));
    }
    let data = fs::read(volume).map_err(store("read a volume"))?;
    // All GUIDs of the placeholder begin alike, which makes the search quick.
    let start = &wanted[0].0[..4];
    let mut sites = Vec::new();
    for at in 0..data.len().saturating_sub(16) {
        if !data[at..].starts_with(start) {
            continue;
        }
        if let Some((_, fixup)) = wanted.iter().find(|(guid, _)| data[at..at + 16] == *guid) {
            let offset = Bytes(offset.0 + Bytes::of(at).0);
            sites.push(Site { offset, length: Bytes(16), fixup: *fixup });
        }
    }
    Ok(sites)
}

/// Where a volume holds its serial number: FAT32 at 0x43 of the boot sector and of its copy in sector 6, NTFS at 0x48
/// of the boot sector and of its copy in the last sector. Fails if the formatter has put no boot sector there.
fn serial_sites(
    image: &File,
    partition: &PlannedPartition,
    index: usize,
    sector: SectorSize,
) -> Result<Vec<Site>, PressError> {
    let start = partition.offset(sector).0;
    let last = start + partition.size(sector).0 - sector.bytes();
    let (name_at, name, serial_at, copy, length, fixup): (u64, &[u8], _, _, _, _) =
        match partition.role {
            Role::Esp => {
                let copy = start + 6 * sector.bytes();
                (0x52, b"FAT32   ", 0x43, copy, 4, Fixup::FatSerial(index))
            }
            _ => (0x03, b"NTFS    ", 0x48, last, 8, Fixup::NtfsSerial(index)),
        };
    let mut sites = Vec::new();
    for boot in [start, copy] {
        let mut found = vec![0_u8; name.len()];
        image.read_exact_at(&mut found, boot + name_at).map_err(store("read the image"))?;
        if found != name {
            let what = "a boot sector or its copy is not where the format puts it";
            return Err(PressError::Volume { role: partition.role, what });
        }
        sites.push(Site { offset: Bytes(boot + serial_at), length: Bytes(length), fixup });
    }
    Ok(sites)
}

fn write_tables(image: &File, plan: &Plan) -> Result<(), PressError> {
    let tables = gpt::render(plan, &Identity::placeholder(plan.partitions.len()))?;
    let backup = plan.geometry.size.0 - Bytes::of(tables.backup.len()).0;
    image.write_all_at(&tables.primary, 0).map_err(store("write the partition table"))?;
    image.write_all_at(&tables.backup, backup).map_err(store("write the partition table"))
}

/// Writes the placeholder's identity into the image. Formatters choose serial numbers at random; with the
/// placeholder's, equal recipes give equal boot sectors.
fn set_placeholder(image: &File, plan: &Plan, sites: &[Site]) -> Result<(), PressError> {
    let placeholder = Identity::placeholder(plan.partitions.len());
    for range in allocation::commit(plan).ranges() {
        let mut data = vec![0_u8; range.length().as_usize()];
        image.read_exact_at(&mut data, range.start.0).map_err(store("read the image"))?;
        stamp(&mut data, range.start, sites, &placeholder)?;
        image.write_all_at(&data, range.start.0).map_err(store("write the image"))?;
    }
    Ok(())
}
