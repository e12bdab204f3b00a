//! Follows the first start through the media, from the boot manager to the loader in the boot image.

use std::collections::HashMap;

use formats::bcd::{Lacking, Lookup, Place, Start};
use formats::pe::Machine;
use model::code::FindingCode as Code;
use model::failure::Finding;

use super::image::{self, Examined as Image};
use super::{
    BOOT_WIM, Examined, NotUnpacked, Unpacker, WOF, behind_reparse_point, judge_architecture,
};
use crate::wim::Thing;

fn lookup(thing: Option<Thing>) -> Lookup {
    match thing {
        None => Lookup::Nothing,
        Some(Thing::Folder) => Lookup::Folder,
        Some(Thing::File(0)) => Lookup::Empty,
        Some(Thing::File(_)) => Lookup::File,
        Some(Thing::Reparse(_)) => Lookup::Reparse,
    }
}

/// Examines the boot images that the BCD names, or boot.wim where it cannot be used, and follows the first start.
pub(super) fn follow(
    media: &mut Unpacker<'_>,
    start: Option<&Start>,
    machine: Option<Machine>,
    found: &mut Examined,
) {
    let mut paths: Vec<&str> = Vec::new();
    for entry in start.iter().flat_map(|start| &start.entries) {
        if !paths.iter().any(|path| path.eq_ignore_ascii_case(&entry.image)) {
            paths.push(&entry.image);
        }
    }
    if paths.is_empty() {
        paths.push(BOOT_WIM);
    }
    let mut images: HashMap<String, Image> = HashMap::new();
    for path in paths {
        if let Some(image) = examine(media, path, machine, found) {
            images.insert(path.to_lowercase(), image);
        }
    }
    let Some(start) = start else { return };
    let mut points: Vec<(String, u32)> = Vec::new();
    let walk = start.walk(&mut |place, path| match place {
        Place::Media => {
            let thing = media.thing(path);
            let point = thing.and_then(|thing| match thing {
                Thing::Reparse(tag) => Some((path.to_owned(), tag)),
                _ => None,
            });
            if let Some(point) = point.filter(|point| !points.contains(point)) {
                points.push(point);
            }
            lookup(thing)
        }
        Place::Image(image) => match images.get_mut(&image.to_lowercase()) {
            Some(opened @ Image::Wim { .. }) => lookup(opened.thing(path)),
            Some(Image::Other) | None => Lookup::Unknown,
        },
    });
    for (path, tag) in points {
        found.problems.push(behind_reparse_point(&path, tag, 0));
    }
    for words in walk.differing {
        let hint = "set osdevice of the entry to its device with bcdedit";
        found.warnings.push(Finding::new(Code::BootOsDevice, words).with_hint(hint));
    }
    for lacking in walk.lacking {
        judge_lacking(&lacking, found);
    }
    found.first_start.extend(found.boot_manager.take());
    let plain = |step: String| step.replace(char::is_control, "?");
    found.first_start.extend(walk.steps.into_iter().map(plain));
}

/// Examines a boot image; it is that of the first start if there was none before.
fn examine(
    media: &mut Unpacker<'_>,
    path: &str,
    machine: Option<Machine>,
    found: &mut Examined,
) -> Option<Image> {
    let place = match (media.thing(path), media.unpack(path)) {
        (Some(Thing::Reparse(WOF)), _) => return None,
        (Some(Thing::Reparse(_)), _) => {
            found.problem(Code::BootImageDamaged, format!("{path} is a link"));
            return None;
        }
        (_, Ok(place)) => place,
        (_, Err(NotUnpacked::Failed(problem))) => {
            found.problems.push(problem);
            return None;
        }
        // The walk tells of what it does not find; without one, this does.
        (thing, Err(NotUnpacked::Missing)) => {
            if thing.is_none() && path == BOOT_WIM {
                let detail = format!("no boot image: {path} is missing");
                let hint = "make the media with the boot image of its task sequence";
                found.problems.push(Finding::new(Code::BootImageMissing, detail).with_hint(hint));
            }
            return None;
        }
    };
    match image::examine(&place) {
        Err(words) => {
            let hint = "make the media anew with the boot image of its task sequence";
            let finding = Finding::new(Code::BootImageDamaged, format!("{path} {words}"));
            found.problems.push(finding.with_hint(hint));
            None
        }
        Ok(Image::Other) => {
            let detail = format!("{path} is not a WIM file; nothing about it was checked");
            found.warning(Code::BootImageUnknown, detail);
            Some(Image::Other)
        }
        Ok(Image::Wim { about, wim, index, odd }) => {
            if let Some(words) = &odd {
                let detail = format!(
                    "{path} is compressed as {words}; Windows' boot manager is known to read XPRESS and LZX in chunks of 32 KiB"
                );
                let hint = "export it with `wimlib-imagex export --compress=LZX --boot`, or `dism /Export-Image`";
                let finding = Finding::new(Code::BootImageCompression, detail);
                found.warnings.push(finding.with_hint(hint));
            }
            judge_architecture(&about, machine, found);
            found.image.get_or_insert_with(|| about.clone());
            Some(Image::Wim { about, wim, index, odd })
        }
    }
}

fn judge_lacking(lacking: &Lacking, found: &mut Examined) {
    match lacking {
        Lacking::Image(path) => {
            let told = |problem: &Finding| {
                matches!(problem.code, Code::BootImageMissing | Code::BootImageDamaged)
                    && problem.detail.contains(path.as_str())
            };
            if !found.problems.iter().any(told) {
                let detail = format!("the BCD starts {path}, which is no file of the media");
                let hint = "put the boot image there, or name its place in the BCD";
                let finding = Finding::new(Code::BootImageMissing, detail).with_hint(hint);
                found.problems.push(finding);
            }
        }
        Lacking::Sdi(path) => {
            let detail = format!(
                "the BCD loads the boot image by {path}, which is no file of the media or has no data"
            );
            let hint = "put boot.sdi there, or name its place in the BCD (ramdisksdipath)";
            found.problems.push(Finding::new(Code::BootSdiMissing, detail).with_hint(hint));
        }
        Lacking::OsImage { turn, path } => {
            let detail = format!("osdevice of {turn} names {path}, which is no file of the media");
            let hint = "set osdevice of the entry to its device with bcdedit";
            let finding = Finding::new(Code::BootImageMissing, detail).with_hint(hint);
            found.problems.push(finding);
        }
        Lacking::SystemRoot { path, image } => {
            let detail = format!(
                "the BCD names {path} as systemroot, which the bootable image of {image} does not have as a folder"
            );
            let hint = "set systemroot of the entry to \\windows with bcdedit";
            found.warnings.push(Finding::new(Code::BootSystemRootMissing, detail).with_hint(hint));
        }
        Lacking::Loader { path, image } => {
            let detail =
                format!("the BCD starts {path}, which the bootable image of {image} lacks");
            let hint =
                "name the loader's place in the BCD, or make the media with another boot image";
            found.warnings.push(Finding::new(Code::BootLoaderMissing, detail).with_hint(hint));
        }
    }
}
