//! What will be made of a recipe, found out without writing any of the media.

use std::fs;
use std::path::{Path, PathBuf};

use formats::bcd;
use model::boot::BootManagerRule;
use model::code::FailureCode as Code;
use model::composition::{BootPart, Composition, Compression, PackageKind};
use model::failure::{Failure, chain};
use model::units::Bytes;
use strum::VariantArray as _;

use super::listing::Listing;
use super::names::capitals;
use super::room::Room;
use super::sources::Source;
use super::tree::Tree;
use super::{Meter, both, failed};
use crate::boot;
use crate::press::rehearsal::Rehearsal;
use crate::wim::{Draft, Flow, Start, Thing, Wim};

/// Where in Windows and in boot images boot.sdi lies that comes with them.
const OWN_SDI: &str = "\\Windows\\Boot\\DVD\\EFI\\boot.sdi";
/// The loaders of a boot image, the one for UEFI from a memory disk first.
const LOADERS: [&str; 2] =
    ["\\windows\\system32\\boot\\winload.efi", "\\windows\\system32\\winload.efi"];
/// What a boot image runs when it has started, and what it does not run where there is the other one.
const START: &str = "\\Windows\\System32\\startnet.cmd";
const SHELL: &str = "\\Windows\\System32\\winpeshl.ini";
/// What the customer's site has made.
const SITE_DATA: &str = "\\SMS\\data";

/// Everything that is known before the first byte of media is written.
pub(super) struct Plan {
    pub(super) os: Source,
    /// The index of its image.
    pub(super) index: u32,
    boot: Source,
    boot_index: u32,
    site: Option<Source>,
    pub(super) listing: Listing,
    /// The operating system image as it is; filled when it is verified.
    pub(super) before: Tree,
    /// Paths in it that give way.
    pub(super) removed: Vec<String>,
    pub(super) compression: Compression,
    scratch: Bytes,
    pub(super) notes: Vec<String>,
}

/// The names that lead to the folder of a package.
pub(super) fn package_place(id: &str) -> [String; 3] {
    ["_SMSTaskSequence", "Packages", id].map(str::to_owned)
}

fn names<const N: usize>(all: [&str; N]) -> [String; N] {
    all.map(str::to_owned)
}

/// The names in a path with backslashes.
fn names_of(path: &str) -> Vec<String> {
    path.split('\\').skip(1).map(str::to_owned).collect()
}

impl Plan {
    /// Opens all sources and lists what is added; scratch files go below `folder`.
    pub(super) fn of(parts: &Composition, folder: &Path) -> Result<Self, Failure> {
        let mut os = Source::open(&parts.os.wim, Meter::new("checking").report())?;
        let index = parts.os.index;
        os.check_index(index)?;
        let boot = Source::open(&parts.boot.wim, |_| Flow::Continue)?;
        let boot_index = boot_index(&boot, parts.boot.index)?;
        let site = parts.site.as_ref().map(|path| Source::open(path, |_| Flow::Continue));
        let site = site.transpose()?;
        let before = Tree::of(&mut os.wim, index).map_err(|error| failed(folder, &error))?;
        let (compression, note) = compression(&os, parts.compress);
        let mut plan = Self {
            os,
            index,
            boot,
            boot_index,
            site,
            listing: Listing::default(),
            before,
            removed: Vec::new(),
            compression,
            scratch: Bytes(0),
            notes: note.into_iter().collect(),
        };
        plan.list(parts)?;
        plan.check_architecture(folder)?;
        plan.list_boot_files(parts, folder)?;
        plan.scratch = plan.scratch_room(&parts.boot);
        plan.settle()?;
        Ok(plan)
    }

    /// Lists what is added of files that are there already.
    fn list(&mut self, parts: &Composition) -> Result<(), Failure> {
        for package in &parts.packages {
            let place = package_place(&package.id);
            let is_file = package.path.is_file();
            // A package is a folder; one that is a single file lies in it.
            let mut place = place.to_vec();
            if is_file && let Some(name) = package.path.file_name() {
                place.push(name.to_string_lossy().into_owned());
            }
            let first = self.listing.items.len();
            self.listing.add(&package.path, &place, true)?;
            let own = &self.listing.items[first..];
            let has_inf = own.iter().any(|item| item.to.to_ascii_lowercase().ends_with(".inf"));
            if package.kind == PackageKind::Driver && !has_inf {
                let detail =
                    format!("{} is no driver package: it has no .inf file", package.path.display());
                return Err(Failure::new(Code::SourceDamaged, detail));
            }
        }
        for file in &parts.files {
            self.listing.add(&file.from, &file.to, false)?;
        }
        self.listing.places.check()
    }

    /// Fails if the boot image is for another machine than the boot manager.
    fn check_architecture(&mut self, folder: &Path) -> Result<(), Failure> {
        let managers = folder.join("managers");
        fs::create_dir_all(&managers).map_err(scratch_failed(folder))?;
        let chosen =
            boot::choose(&mut self.os.wim, self.index, &managers, BootManagerRule::default());
        let text = self.boot.wim.property(self.boot_index, "WINDOWS/ARCH");
        // WINDOWS/ARCH is one of PROCESSOR_ARCHITECTURE_* (winnt.h).
        let known = [("0", "x86"), ("5", "arm"), ("9", "amd64"), ("12", "arm64")];
        let image = text.and_then(|text| known.iter().find(|(number, _)| *number == text.trim()));
        let (Some(manager), Some((_, image))) = (chosen, image) else { return Ok(()) };
        if manager.machine.architecture() == *image {
            return Ok(());
        }
        let detail = format!(
            "{} has a boot image for {image}, and the boot manager of {} is for {}",
            self.boot.path().display(),
            self.os.path().display(),
            manager.machine.architecture()
        );
        Err(Failure::new(Code::BootImageArchitecture, detail))
    }

    /// Verifies every source to its last byte, and reads everything that is added.
    pub(super) fn verify(&mut self) -> Result<(), Failure> {
        let (listing, os, boot, site) =
            (&mut self.listing, &mut self.os, &mut self.boot, &mut self.site);
        both(
            || listing.read(&mut |_| ()),
            || {
                os.verify(self.index)?;
                boot.verify(self.boot_index)?;
                site.iter_mut().try_for_each(|site| site.verify(1))
            },
        )
    }

    /// Lists boot.sdi and the boot configuration; what is small is made at once.
    fn list_boot_files(&mut self, parts: &Composition, folder: &Path) -> Result<(), Failure> {
        let made = folder.join("made");
        fs::create_dir_all(&made).map_err(scratch_failed(folder))?;
        let sdi = match &parts.boot.sdi {
            Some(path) => Some(path.clone()),
            None => self.own_sdi(&made)?,
        };
        if let Some(sdi) = sdi {
            self.listing.add(&sdi, &names_of(bcd::BOOT_SDI), true)?;
        }
        let bcd = match &parts.bcd {
            Some(path) => path.clone(),
            None => {
                let has = |loader: &&&str| {
                    matches!(self.boot.wim.thing(self.boot_index, loader), Some(Thing::File(_)))
                };
                let loader = LOADERS.iter().find(has).unwrap_or(&LOADERS[0]);
                let path = made.join("BCD");
                fs::write(&path, bcd::generate(loader)).map_err(scratch_failed(folder))?;
                path
            }
        };
        self.listing.add(&bcd, &names(["EFI", "Microsoft", "Boot", "BCD"]), true)?;
        if !self.boot_is_made(&parts.boot) {
            let path = self.boot.path().to_owned();
            self.listing.add(&path, &names_of(bcd::BOOT_WIM), true)?;
        }
        self.listing.places.check()
    }

    /// boot.sdi of the operating system or of the boot image, unpacked; `None` if it is in its place already.
    fn own_sdi(&mut self, folder: &Path) -> Result<Option<PathBuf>, Failure> {
        for (source, index) in [(&mut self.os, self.index), (&mut self.boot, self.boot_index)] {
            if !matches!(source.wim.thing(index, OWN_SDI), Some(Thing::File(1..))) {
                continue;
            }
            let unpacked = source.wim.extract_paths(index, folder, &[OWN_SDI]);
            unpacked.map_err(|error| failed(folder, &error))?;
            let below = OWN_SDI[1..].replace('\\', "/");
            let found = crate::caseless::find(folder, &below);
            return found.map_err(|error| Failure::of(Code::CreateFailed, &error));
        }
        if self.os.wim.has(self.index, bcd::BOOT_SDI) {
            return Ok(None);
        }
        let detail =
            format!("neither {} nor the boot image has {OWN_SDI}", self.os.path().display());
        let hint = "name the file in the recipe: sdi = \"boot.sdi\" in [boot]";
        Err(Failure::new(Code::SourceUnreadable, detail).with_hint(hint))
    }

    /// Whether the boot image cannot be taken as the file that it is.
    fn boot_is_made(&self, part: &BootPart) -> bool {
        let info = &self.boot.info;
        let is_alone = info.images == 1 && info.parts == 1 && info.boot_index == self.boot_index;
        part.start.is_some() || !is_alone
    }

    /// The room for files that are made for the media and do not stay.
    fn scratch_room(&mut self, part: &BootPart) -> Bytes {
        let mut room = Rehearsal::room(Bytes::of(self.before.len() + self.listing.items.len()).0);
        // Intake uses no more than half of what is free.
        room = room.saturating_add(room);
        if self.boot_is_made(part) {
            room += self.boot.size();
        }
        if let Some(site) = &mut self.site {
            site.wim.below(1, SITE_DATA, |entry| {
                room += Bytes(entry.streams.iter().map(|stream| stream.size).sum());
            });
        }
        room
    }

    fn room(&self) -> Room {
        let own = match self.os.info.compression.eq_ignore_ascii_case(&self.compression.to_string())
        {
            true => self.os.size(),
            // Compressed anew, it may come out as long as it is.
            false => {
                let total = self.os.wim.property(self.index, "TOTALBYTES");
                Bytes(total.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
            }
        };
        Room { media: own + self.listing.size(), scratch: self.scratch }
    }

    /// Fails, with figures, if there is no room; returns how much is needed at most.
    pub(super) fn check_room(&self, folder: &Path) -> Result<Bytes, Failure> {
        let room = self.room();
        room.check(folder)?;
        Ok(room.whole())
    }

    /// Makes and lists what is too large to be made before there is known to be room for it.
    pub(super) fn prepare(&mut self, parts: &Composition, folder: &Path) -> Result<(), Failure> {
        let first = self.listing.items.len();
        if self.boot_is_made(&parts.boot) {
            let path = folder.join("boot.wim");
            self.make_boot(&parts.boot, &path)?;
            self.listing.add(&path, &names_of(bcd::BOOT_WIM), true)?;
        }
        if let Some(site) = &mut self.site {
            let unpacked = folder.join("site");
            fs::create_dir_all(&unpacked).map_err(scratch_failed(folder))?;
            if !matches!(site.wim.thing(1, SITE_DATA), Some(Thing::Folder)) {
                let detail = format!(
                    "{} is no prestaged media: it has no {SITE_DATA}",
                    site.path().display()
                );
                return Err(Failure::new(Code::SourceDamaged, detail));
            }
            let done = site.wim.extract_paths(1, &unpacked, &[SITE_DATA]);
            done.map_err(|error| failed(folder, &error))?;
            let found = crate::caseless::find(&unpacked, "SMS/data");
            let found = found.map_err(|error| Failure::of(Code::CreateFailed, &error))?;
            let found = found.unwrap_or(unpacked);
            self.listing.add(&found, &names(["SMS", "data"]), true)?;
        }
        self.listing.places.check()?;
        self.listing.read_from(first, &mut |_| ())?;
        self.settle()
    }

    /// Writes a boot image of its own, marked as bootable, with the start script.
    fn make_boot(&self, part: &BootPart, target: &Path) -> Result<(), Failure> {
        let folder = target.parent().unwrap_or(target);
        let failed = |error| failed(folder, &error);
        let own = Compression::VARIANTS.iter();
        let own = own
            .copied()
            .find(|kind| self.boot.info.compression.eq_ignore_ascii_case(&kind.to_string()));
        let compression = own.unwrap_or(Compression::Lzx);
        let wim: Wim = self.boot.again(|_| Flow::Continue)?;
        let mut draft =
            Draft::of(wim, self.boot_index, compression, Start::Bootable, |_| Flow::Continue)
                .map_err(failed)?;
        if let Some(start) = &part.start {
            for path in [START, SHELL] {
                if draft.has(path) {
                    draft.remove(path).map_err(failed)?;
                }
            }
            draft.add(start, START).map_err(failed)?;
        }
        draft.write(target).map_err(failed)
    }

    /// Finds out what of the operating system image gives way, and fails if a file would take the place of a folder or the
    /// other way round.
    fn settle(&mut self) -> Result<(), Failure> {
        let held = self.before.by_capitals();
        let mut removed = Vec::new();
        let mut whole: Vec<String> = Vec::new();
        for root in self.listing.roots.iter().filter(|root| root.is_whole) {
            let key = capitals(&root.to);
            if held.contains_key(&key) {
                removed.push(root.to.clone());
            }
            whole.push(key);
        }
        let is_below = |key: &str, of: &String| {
            key.strip_prefix(of.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('\\'))
        };
        for item in &self.listing.items {
            let key = capitals(&item.to);
            if whole.iter().any(|of| is_below(&key, of)) {
                continue;
            }
            let above = key.match_indices('\\').map(|(at, _)| &key[..at]);
            if above.into_iter().any(|above| held.get(above) == Some(&false)) {
                let what = "lies below a file or a link of the operating system image";
                self.listing.places.tell(&item.to, what);
                continue;
            }
            match (held.get(&key), item.file.is_none()) {
                (Some(false), false) => removed.push(item.to.clone()),
                (None, _) | (Some(true), true) => {}
                (Some(true), false) => {
                    self.listing.places.tell(&item.to, "is a folder in the operating system image");
                }
                (Some(false), true) => {
                    self.listing
                        .places
                        .tell(&item.to, "is a file or a link in the operating system image");
                }
            }
        }
        self.removed = removed;
        self.listing.places.check()
    }
}

pub(super) fn scratch_failed(folder: &Path) -> impl Fn(std::io::Error) -> Failure {
    let shown = folder.display().to_string();
    move |error| {
        Failure::new(Code::CreateFailed, format!("cannot write in {shown}: {}", chain(&error)))
    }
}

/// The index of the boot image.
fn boot_index(boot: &Source, wanted: Option<u32>) -> Result<u32, Failure> {
    let index = match (wanted, boot.info.boot_index, boot.info.images) {
        (Some(index), ..) => index,
        (None, 0, 1) => 1,
        (None, 0, images) => {
            let detail = format!(
                "{} has {images} images, none of them marked as bootable",
                boot.path().display()
            );
            let hint = "name one in the recipe: index = 1 in [boot]";
            return Err(Failure::new(Code::ImageMissing, detail).with_hint(hint));
        }
        (None, index, _) => index,
    };
    boot.check_index(index)?;
    Ok(index)
}

/// How the media is compressed, and what is to be said about that.
fn compression(os: &Source, wanted: Option<Compression>) -> (Compression, Option<String>) {
    let own = Compression::VARIANTS.iter().copied();
    let own = own
        .filter(|_| !os.info.solid)
        .find(|kind| os.info.compression.eq_ignore_ascii_case(&kind.to_string()));
    let chosen = wanted.or(own).unwrap_or(Compression::Lzx);
    let note = (own != Some(chosen)).then(|| {
        let was = if os.info.solid { "solid" } else { os.info.compression.as_str() };
        format!("the operating system image is {was} and is compressed anew as {chosen}")
    });
    (chosen, note)
}
