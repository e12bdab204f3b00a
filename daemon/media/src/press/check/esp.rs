//! Compares the EFI system partition of a master with the media's boot files, by their SHA-1 in the media.
//!
//! The volume is read by another implementation of FAT (fatfs) than those that wrote it (mkfs.vfat and mtools). The BCD
//! is the one file that differs from the media: it must name the partitions of the drive.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read as _};

use fatfs::{Dir, FileSystem, FsOptions};
use formats::bcd;
use formats::pe::{self, Program};
use model::api::audit::AuditReport as Report;
use model::boot::BootProgram;
use model::layout::Places;
use sha1::{Digest as _, Sha1};

use crate::compare::Expected;
use crate::press::esp::{BCD, BOOT_MANAGER, SOURCES};
use crate::press::finished::Part;

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

/// Compares the ESP with the media, and returns the programs on it. `places` are what the BCD must name; without them there must be no file at all.
pub(super) fn compare(
    volume: Part,
    media: &[Expected],
    places: Option<Places>,
    report: &mut Report,
) -> Vec<BootProgram> {
    let read = || -> io::Result<BTreeMap<String, Vec<u8>>> {
        let fat = FileSystem::new(volume, FsOptions::new())?;
        let mut files = BTreeMap::new();
        walk(&fat.root_dir(), "", &mut files)?;
        Ok(files)
    };
    let files = match read() {
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
    let must_be = |path: &&String| wanted[*path].must_be && !wanted[*path].unclear;
    for path in missing.into_iter().filter(must_be) {
        report.differs(&format!("{SHOWN}/{path}"), "is missing");
    }
    programs(&files)
}

/// How the ESP is called in a path.
const SHOWN: &str = "ESP:";

/// The boot manager that was chosen lies at two places, wherever in the media it comes from. One of them has a name that
/// depends on its machine.
fn copies_of_manager(wanted: &mut BTreeMap<String, Wanted>, files: &BTreeMap<String, Vec<u8>>) {
    let manager = BOOT_MANAGER.to_lowercase();
    let Some(data) = files.get(&manager) else {
        wanted.entry(manager).or_default().must_be = true;
        return;
    };
    let Ok(Program { machine, .. }) = Program::parse(data) else { return };
    let fallback = format!("efi/boot/{}", machine.fallback_name().to_lowercase());
    let mut either = Wanted { must_be: true, ..Wanted::default() };
    for place in [&manager, &fallback] {
        if let Some(own) = wanted.get(place) {
            either.sha1.extend(&own.sha1);
            either.unclear |= own.unclear;
        }
    }
    // Both places hold the same bytes.
    let own: [u8; 20] = Sha1::digest(data).into();
    let copy = if either.sha1.contains(&own) { vec![own] } else { Vec::new() };
    let unclear = either.unclear;
    wanted.insert(fallback, Wanted { sha1: copy, unclear, must_be: true });
    wanted.insert(manager, either);
}

/// The programs on the ESP, and by whom they are signed.
fn programs(files: &BTreeMap<String, Vec<u8>>) -> Vec<BootProgram> {
    let is_program = |path: &str| path.rsplit('.').next() == Some("efi");
    let programs = files.iter().filter(|(path, _)| is_program(path));
    let told = |(path, data): (&String, &Vec<u8>)| BootProgram {
        path: format!("\\{}", path.replace('/', "\\")),
        certificates: pe::certificates(data),
    };
    programs.map(told).collect()
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
