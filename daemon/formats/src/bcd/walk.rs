//! The walk of the boot manager through the media, told in words.

use super::start::{OsDevice, Start, Started, Turn};

/// Where a file is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// On the Windows volume, which holds the media.
    Media,
    /// In the bootable image of this file of the media.
    Image(&'a str),
}

/// What is at a path, whatever the case of its letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// A file with data in it.
    File,
    /// A file without data.
    Empty,
    /// A folder.
    Folder,
    /// A file whose contents lie behind a reparse point.
    Reparse,
    /// Nothing.
    Nothing,
    /// It cannot be found out, because what holds it cannot be read.
    Unknown,
}

/// A file that the boot manager needs and does not find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// The file that becomes the ramdisk.
    Image(String),
    /// boot.sdi.
    Sdi(String),
    /// The file of the ramdisk that `osdevice` names, where `device` names another.
    OsImage {
        /// Whose `osdevice` it is.
        turn: Turn,
        /// The file.
        path: String,
    },
    /// The folder in the ramdisk in which the loader looks for Windows.
    SystemRoot {
        /// The folder.
        path: String,
        /// The ramdisk's file.
        image: String,
    },
    /// The loader in the ramdisk.
    Loader {
        /// The loader's path.
        path: String,
        /// The ramdisk's.
        image: String,
    },
}

/// A walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// What happens, in order, a sentence each.
    pub steps: Vec<String>,
    /// What the walk does not find, each once.
    pub lacking: Vec<Lacking>,
    /// Each entry whose `osdevice` is something else than its `device`, a sentence each.
    pub differing: Vec<String>,
}

impl Walk {
    fn lacks(&mut self, what: Lacking) {
        if !self.lacking.contains(&what) {
            self.lacking.push(what);
        }
    }
}

/// What is wrong with what was found at a path; nothing if it is a file with data.
fn but(found: Lookup) -> &'static str {
    match found {
        Lookup::File => "",
        Lookup::Empty => " (EMPTY)",
        Lookup::Folder => " (a FOLDER)",
        Lookup::Reparse => " (behind a REPARSE POINT)",
        Lookup::Nothing => " (MISSING)",
        Lookup::Unknown => " (not looked up)",
    }
}

/// Whether there is a file; what is behind a reparse point is told of by itself.
fn suffices(found: Lookup) -> bool {
    matches!(found, Lookup::File | Lookup::Reparse | Lookup::Unknown)
}

impl Start {
    /// Follows each entry to its loader. `look` says what is where.
    pub fn walk(&self, look: &mut dyn FnMut(Place<'_>, &str) -> Lookup) -> Walk {
        let mut walk = Walk::default();
        for entry in &self.entries {
            self.follow(entry, look, &mut walk);
        }
        walk
    }

    fn follow(
        &self,
        entry: &Started,
        look: &mut dyn FnMut(Place<'_>, &str) -> Lookup,
        walk: &mut Walk,
    ) {
        let Started { turn, title, image, sdi, loader, system_root, .. } = entry;
        let named = title.as_ref().map(|title| format!(" {title:?}")).unwrap_or_default();
        let once = match turn {
            Turn::Sequence(1) => "at the first start only, the boot manager takes",
            Turn::Sequence(_) => "if that does not start, it takes",
            _ if self.entries.len() > 1 => "from then on, the boot manager takes",
            _ => "the boot manager takes",
        };
        let menu = match (turn, self.menu) {
            (Turn::Sequence(_), _) | (_, (0 | 1, _)) => String::new(),
            (_, (count, Some(seconds))) if seconds < u64::from(u32::MAX) => {
                format!(", after {seconds} s of a menu with {count} entries")
            }
            (_, (count, _)) => format!(" of a menu with {count} entries"),
        };
        walk.steps.push(format!("{once} {turn}{named}{menu}"));

        let (found, found_sdi) = (look(Place::Media, image), look(Place::Media, sdi));
        let (bad, bad_sdi) = (but(found), but(found_sdi));
        walk.steps.push(format!("it loads {image}{bad} into memory, by {sdi}{bad_sdi}"));
        if !suffices(found) {
            walk.lacks(Lacking::Image(image.clone()));
        }
        if !suffices(found_sdi) {
            walk.lacks(Lacking::Sdi(sdi.clone()));
        }
        match &entry.os_device {
            None => {}
            Some(OsDevice::Ramdisk(path)) if !suffices(look(Place::Media, path)) => {
                walk.lacks(Lacking::OsImage { turn: *turn, path: path.clone() });
            }
            Some(OsDevice::Ramdisk(other) | OsDevice::Other(other)) => walk.differing.push(format!(
                "osdevice of {turn} is {other}, and its device is a ramdisk of {image}; drives get the latter for both"
            )),
        }
        let is_open = found == Lookup::File;
        let mut inside = |path: &str| {
            if is_open { look(Place::Image(image), path) } else { Lookup::Unknown }
        };
        let found = inside(loader);
        walk.steps.push(format!("it starts {loader} from there{}", but(found)));
        if !suffices(found) {
            walk.lacks(Lacking::Loader { path: loader.clone(), image: image.clone() });
        }
        let Some(root) = system_root else { return };
        let found = inside(root.trim_end_matches('\\'));
        if !matches!(found, Lookup::Folder | Lookup::Unknown) {
            walk.steps.push(format!("it finds no Windows there: {root} is missing or no folder"));
            walk.lacks(Lacking::SystemRoot { path: root.clone(), image: image.clone() });
        }
    }
}
