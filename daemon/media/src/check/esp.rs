//! Compares the EFI system partition of a drive with the media's boot files, by their SHA-1 in the media.
//!
//! The volume is read by another implementation of FAT (fatfs) than those that wrote it (mkfs.vfat and mtools). The BCD
//! is the one file that differs from the media: it must name the partitions of the drive.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read};

use fatfs::{Dir, FileSystem, FsOptions};
use formats::bcd;
use formats::pe::{self, Machine, Program};
use model::api::audit::AuditReport as Report;
use model::boot::BootProgram;
use model::layout::Places;
use model::units::Bytes;
use sha1::{Digest as _, Sha1};

use super::drive::Stream;
use crate::boot::sources::{BCD, BOOT_MANAGER, SOURCES};
use crate::compare::Expected;

/// The attribute of a folder.
const DIRECTORY: u32 = 0x10;

/// Digests that a file on the ESP may have: of each file of the media that can be laid out to its place.
#[derive(Debug, Default)]
struct Wanted {
    sha1: Vec<[u8; 20]>,
    /// Whether the file must be there, whichever boot manager was chosen.
    must_be: bool,
    /// Whether the media has a reparse point there, whose contents only Windows knows.
    unclear: bool,
}

/// What must be on the ESP, by path in lower case.
fn wanted(media: &[Expected]) -> BTreeMap<String, Wanted> {
    let mut all: BTreeMap<String, Wanted> = BTreeMap::new();
    for entry in media.iter().filter(|entry| entry.attributes & DIRECTORY == 0) {
        let path = entry.path.to_lowercase();
        for source in SOURCES {
            let from = source.from.replace('\\', "/").to_lowercase() + "/";
            let Some(rest) = path.strip_prefix(&from) else { continue };
            let (folder, name) = rest.rsplit_once('/').map_or(("", rest), |(f, n)| (f, n));
            let Some(name) = source.name(name) else { continue };
            let rest = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let own = all.entry(format!("{}/{rest}", source.to.to_lowercase())).or_default();
            own.must_be |= !source.is_ex;
            if entry.is_reparse() {
                own.unclear = true;
            } else if let Some(stream) = entry.streams.first() {
                own.sha1.push(if stream.size == 0 { Sha1::digest([]).into() } else { stream.sha1 });
            }
        }
    }
    all
}

/// A file on the ESP.
#[derive(Debug)]
struct Found {
    sha1: [u8; 20],
    /// The file's bytes, of the BCD alone.
    bcd: Option<Vec<u8>>,
    /// The machine that a program is for.
    machine: Option<Machine>,
    /// By whom a program is signed; absent for what is no program by its name.
    program: Option<BootProgram>,
}

impl Found {
    fn of(path: &str, data: Vec<u8>) -> Self {
        let is_program = path.rsplit('.').next() == Some("efi");
        Self {
            sha1: Sha1::digest(&data).into(),
            machine: Program::parse(&data).ok().map(|program| program.machine),
            program: is_program.then(|| BootProgram {
                path: format!("\\{}", path.replace('/', "\\")),
                certificates: pe::certificates(&data).unwrap_or_default(),
            }),
            bcd: path.eq_ignore_ascii_case(BCD).then_some(data),
        }
    }
}

/// The files on the ESP, by path in lower case.
type Files = BTreeMap<String, Found>;

/// Compares the ESP with the media, and returns the programs on it. `places` are what the BCD must name; without them
/// there must be no file at all.
pub(super) fn compare(
    volume: Box<dyn Stream>,
    media: &[Expected],
    places: Option<Places>,
    report: &mut Report,
) -> Vec<BootProgram> {
    let files = match read(volume) {
        Ok(files) => files,
        Err(error) => {
            report.differs(SHOWN, format!("cannot be read: {error}"));
            return Vec::new();
        }
    };
    let mut wanted = match places {
        Some(_) => wanted(media),
        None => BTreeMap::new(),
    };
    if places.is_some() {
        copies_of_manager(&mut wanted, &files);
    }
    let mut missing: HashSet<&String> = wanted.keys().collect();
    for (path, found) in &files {
        missing.remove(path);
        report.entries += 1;
        let shown = format!("{SHOWN}/{path}");
        if let (Some(data), Some(places)) = (&found.bcd, &places) {
            if let Err(error) = bcd::check(data, places) {
                report.differs(&shown, error.to_string());
            }
            continue;
        }
        match wanted.get(path) {
            None => report.differs(&shown, "is not in the media"),
            Some(wanted) if wanted.sha1.contains(&found.sha1) => {}
            Some(wanted) if wanted.unclear => {
                report.skips(&shown, "its contents lie behind a reparse point");
            }
            Some(_) => report.differs(&shown, "contents: the data differs"),
        }
    }
    let must_be = |path: &&String| wanted[*path].must_be && !wanted[*path].unclear;
    for path in missing.into_iter().filter(must_be) {
        report.differs(&format!("{SHOWN}/{path}"), "is missing");
    }
    files.into_values().filter_map(|found| found.program).collect()
}

/// How the ESP is called in a path.
const SHOWN: &str = "ESP:";

/// The boot manager that was chosen lies at two places, wherever in the media it comes from. One of them has a name that
/// depends on its machine.
fn copies_of_manager(wanted: &mut BTreeMap<String, Wanted>, files: &Files) {
    let manager = BOOT_MANAGER.to_lowercase();
    let Some(found) = files.get(&manager) else {
        wanted.entry(manager).or_default().must_be = true;
        return;
    };
    let Some(machine) = found.machine else { return };
    let fallback = format!("efi/boot/{}", machine.fallback_name().to_lowercase());
    let mut either = Wanted { must_be: true, ..Wanted::default() };
    for place in [&manager, &fallback] {
        if let Some(own) = wanted.get(place) {
            either.sha1.extend(&own.sha1);
            either.unclear |= own.unclear;
        }
    }
    // Both places hold the same bytes.
    let copy = if either.sha1.contains(&found.sha1) { vec![found.sha1] } else { Vec::new() };
    let unclear = either.unclear;
    wanted.insert(fallback, Wanted { sha1: copy, unclear, must_be: true });
    wanted.insert(manager, either);
}

/// Folders lie no deeper; on a damaged volume, one can lie in itself.
pub(super) const DEEPEST: usize = 32;
/// No file of a first start is larger.
const LARGEST: u64 = 256 << 20;

fn read(volume: Box<dyn Stream>) -> io::Result<Files> {
    let fat = FileSystem::new(volume, FsOptions::new())?;
    let mut files = BTreeMap::new();
    walk(&fat.root_dir(), "", DEEPEST, &mut files)?;
    Ok(files)
}

/// Reads every file below a folder.
fn walk(
    folder: &Dir<'_, Box<dyn Stream>>,
    at: &str,
    deepest: usize,
    files: &mut Files,
) -> io::Result<()> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let next = deepest.checked_sub(1).ok_or_else(|| invalid(format!("{at} lies too deep")))?;
    for entry in folder.iter() {
        let entry = entry?;
        let name = entry.file_name().to_lowercase();
        if name == "." || name == ".." {
            continue;
        }
        let path = if at.is_empty() { name } else { format!("{at}/{name}") };
        if entry.is_dir() {
            walk(&entry.to_dir(), &path, next, files)?;
            continue;
        }
        let mut data = Vec::new();
        entry.to_file().take(LARGEST).read_to_end(&mut data)?;
        if Bytes::of(data.len()) == Bytes(LARGEST) {
            return Err(invalid(format!("{path} is too large")));
        }
        let found = Found::of(&path, data);
        files.insert(path, found);
    }
    Ok(())
}
