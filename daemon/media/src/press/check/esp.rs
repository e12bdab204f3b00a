//! Compares the EFI system partition of a master with the media's boot files, by their SHA-1 in the media.
//!
//! The volume is read by another implementation of FAT (fatfs) than those that wrote it (mkfs.vfat and mtools). The BCD
//! is the one file that differs from the media: it must name the partitions of the drive.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read as _};

use fatfs::{Dir, FileSystem, FsOptions};
use formats::bcd;
use formats::pe::Program;
use model::api::audit::AuditReport as Report;
use model::layout::Places;
use sha1::{Digest as _, Sha1};

use crate::compare::Expected;
use crate::press::esp::{BCD, BOOT_MANAGER, SOURCES};
use crate::press::finished::Part;

/// The attribute of a folder.
const DIRECTORY: u32 = 0x10;

/// Digests that a file on the ESP may have: of each file of the media that is laid out to its place.
#[derive(Debug, Default)]
struct Wanted {
    sha1: Vec<[u8; 20]>,
    /// Whether the media has a reparse point there, whose contents only Windows knows.
    unclear: bool,
}

/// What must be on the ESP, by path in lower case.
fn wanted(media: &[Expected]) -> BTreeMap<String, Wanted> {
    let mut all: BTreeMap<String, Wanted> = BTreeMap::new();
    for entry in media.iter().filter(|entry| entry.attributes & DIRECTORY == 0) {
        let path = entry.path.to_lowercase();
        for (source, target) in SOURCES {
            let source = source.replace('\\', "/").to_lowercase() + "/";
            let Some(rest) = path.strip_prefix(&source) else { continue };
            let own = all.entry(format!("{}/{rest}", target.to_lowercase())).or_default();
            if entry.is_reparse() {
                own.unclear = true;
            } else if let Some(stream) = entry.streams.first() {
                own.sha1.push(if stream.size == 0 { Sha1::digest([]).into() } else { stream.sha1 });
            }
        }
    }
    all
}

/// Compares the ESP with the media. `places` are what the BCD must name; without them there must be no file at all.
pub(super) fn compare(
    volume: Part,
    media: &[Expected],
    places: Option<Places>,
    report: &mut Report,
) {
    let read = || -> io::Result<BTreeMap<String, Vec<u8>>> {
        let fat = FileSystem::new(volume, FsOptions::new())?;
        let mut files = BTreeMap::new();
        walk(&fat.root_dir(), "", &mut files)?;
        Ok(files)
    };
    let files = match read() {
        Ok(files) => files,
        Err(error) => return report.differs(SHOWN, format!("cannot be read: {error}")),
    };
    let mut wanted = match places {
        Some(_) => wanted(media),
        None => BTreeMap::new(),
    };
    copy_of_manager(&mut wanted, &files);
    let mut missing: HashSet<&String> = wanted.keys().collect();
    for (path, data) in &files {
        missing.remove(path);
        report.entries += 1;
        let shown = format!("{SHOWN}/{path}");
        if path.eq_ignore_ascii_case(BCD) {
            if let Some(Err(error)) = places.as_ref().map(|places| bcd::check(data, places)) {
                report.differs(&shown, error.to_string());
            }
            continue;
        }
        match wanted.get(path) {
            None => report.differs(&shown, "is not in the media"),
            Some(wanted) if wanted.sha1.contains(&Sha1::digest(data).into()) => {}
            Some(wanted) if wanted.unclear => {
                report.skips(&shown, "its contents lie behind a reparse point");
            }
            Some(_) => report.differs(&shown, "contents: the data differs"),
        }
    }
    for path in missing.into_iter().filter(|path| !wanted[*path].unclear) {
        report.differs(&format!("{SHOWN}/{path}"), "is missing");
    }
}

/// How the ESP is called in a path.
const SHOWN: &str = "ESP:";

/// The boot manager lies at the place where firmware looks by itself, too, under a name that depends on its machine. A
/// file of the media that lay there is replaced by it.
fn copy_of_manager(wanted: &mut BTreeMap<String, Wanted>, files: &BTreeMap<String, Vec<u8>>) {
    let manager = BOOT_MANAGER.to_lowercase();
    let (Some(own), Some(data)) = (wanted.get(&manager), files.get(&manager)) else { return };
    let Ok(Program { machine, .. }) = Program::parse(data) else { return };
    let copy = Wanted { sha1: own.sha1.clone(), unclear: own.unclear };
    wanted.insert(format!("efi/boot/{}", machine.fallback_name().to_lowercase()), copy);
}

/// Reads every file below a folder, by path in lower case.
fn walk(folder: &Dir<'_, Part>, at: &str, files: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    for entry in folder.iter() {
        let entry = entry?;
        let name = entry.file_name().to_lowercase();
        if name == "." || name == ".." {
            continue;
        }
        let path = if at.is_empty() { name } else { format!("{at}/{name}") };
        if entry.is_dir() {
            walk(&entry.to_dir(), &path, files)?;
        } else {
            let mut data = Vec::new();
            entry.to_file().read_to_end(&mut data)?;
            files.insert(path, data);
        }
    }
    Ok(())
}
