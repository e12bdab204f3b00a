//! What in the store's folder is the store's own. Nothing else is ever removed, whatever its name.
//!
//! A folder that the store has made holds a file, the marker: the store's folder itself, that of every press, before
//! anything else gets into it, and so that of every master, which is the folder of its press under another name. The
//! marker is removed last, so what is left of an interrupted removal is still known as the store's.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use model::manifest::MasterId;

use crate::{IMAGE_FILE, MANIFEST_FILE};

/// File name of the marker.
pub const MARKER: &str = ".prestaged";
/// What the marker says to people.
const TEXT: &str = "prestaged made this folder, and removes what is in it.\n";
/// What a new file system has in its root.
const LOST_AND_FOUND: &str = "lost+found";
/// File name of the lock in the store's folder.
pub(crate) const LOCK: &str = "lock";
/// The folder of all masters in the store's folder.
pub(crate) const MASTERS: &str = "masters";
/// The folder of the manifests of masters that are gone.
pub(crate) const MANIFESTS: &str = "manifests";
/// What the station remembers of its ledger; the crate `record` writes it.
pub const COUNTERFOIL: &str = "ledger-counterfoil";
/// What lies beside that: the last checkpoint of the ledger's log.
const CHECKPOINT: &str = "ledger-counterfoil-checkpoint";

/// The entries of a folder, in order of their names.
///
/// # Errors
/// If the folder cannot be listed.
pub(crate) fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let listed = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut listed = listed.collect::<io::Result<Vec<PathBuf>>>()?;
    listed.sort();
    Ok(listed)
}

/// Whether a path is a folder itself, and no link to one.
pub(crate) fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
}

/// Whether a folder, not a link to one, holds the marker. One that was cut off by a crash or a full disk counts.
pub(crate) fn is_marked(folder: &Path) -> bool {
    let marker = folder.join(MARKER);
    let text = || {
        let mut text = String::new();
        File::open(&marker)?.take(1024).read_to_string(&mut text)?;
        io::Result::Ok(text)
    };
    is_folder(folder) && is_file(&marker) && text().is_ok_and(|text| TEXT.starts_with(&text))
}

/// Puts the marker into a folder.
///
/// # Errors
/// If something of that name is there, or the file cannot be made.
pub(crate) fn mark(folder: &Path) -> io::Result<()> {
    let mut file = File::create_new(folder.join(MARKER))?;
    // A full disk may take the file and not its text, which is for people.
    let _ = file.write_all(TEXT.as_bytes());
    File::open(folder)?.sync_all()
}

/// Makes a folder that is marked, and cannot be entered by others before.
///
/// # Errors
/// If something of that name is there, or it cannot be made.
pub(crate) fn create(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    mark(folder)
}

/// Removes a marked folder: the marker last.
///
/// # Errors
/// If anything cannot be removed. What is left is still marked.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    let marker = folder.join(MARKER);
    // Without its manifest, a folder is no master.
    let manifest = folder.join(MANIFEST_FILE);
    for path in [manifest].into_iter().chain(entries(folder)?).filter(|path| *path != marker) {
        let removed =
            if is_folder(&path) { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::remove_file(marker)?;
    fs::remove_dir(folder)
}

/// Whether a marked folder can be a master of the store: it has a master's name, and nothing in it that no press made.
pub(crate) fn is_master(folder: &Path) -> bool {
    has_master_s_name(folder)
        && is_marked(folder)
        && entries(folder).is_ok_and(|entries| {
            let known = [MARKER, IMAGE_FILE, MANIFEST_FILE].map(OsStr::new);
            entries.iter().all(|path| {
                is_file(path) && path.file_name().is_some_and(|name| known.contains(&name))
            })
        })
}

fn has_master_s_name(folder: &Path) -> bool {
    let name = folder.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| MasterId(name.to_owned()).is_valid())
}

/// Whether a folder was made by a version that did not mark its masters: image and manifest are there and nothing else,
/// and the manifest, of whatever format, begins with the folder's name.
fn is_unmarked_master(folder: &Path) -> bool {
    let (image, manifest) = (folder.join(IMAGE_FILE), folder.join(MANIFEST_FILE));
    let shaped = has_master_s_name(folder)
        && is_folder(folder)
        && is_file(&image)
        && is_file(&manifest)
        && entries(folder).is_ok_and(|entries| entries == [image, manifest.clone()]);
    let begin = || {
        let mut begin = Vec::new();
        File::open(&manifest)?.take(256).read_to_end(&mut begin)?;
        io::Result::Ok(begin)
    };
    shaped
        && begin().is_ok_and(|begin| {
            let mut text = String::from_utf8_lossy(&begin).into_owned();
            text.retain(|c| !c.is_whitespace());
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            text.starts_with("{\"format\":") && text.contains(&format!("\"id\":\"{name}\""))
        })
}

/// A folder that is not the store's, and what shows it.
#[derive(Debug)]
pub(crate) struct Foreign(pub(crate) Vec<PathBuf>);

/// Finds out whether a folder may be the store, and marks it if it may: it is empty, or marked, or was the store of a
/// version that did not mark it. Changes nothing in any other.
///
/// # Errors
/// If the folder cannot be read or marked.
pub(crate) fn claim(folder: &Path) -> io::Result<Result<(), Foreign>> {
    let masters = folder.join(MASTERS);
    if fs::symlink_metadata(&masters).is_ok() && !is_folder(&masters) {
        return Ok(Err(Foreign(vec![masters])));
    }
    if is_marked(folder) {
        return Ok(Ok(()));
    }
    let pressed = if is_folder(&masters) { entries(&masters)? } else { Vec::new() };
    let (own, mut foreign): (Vec<PathBuf>, Vec<PathBuf>) =
        pressed.into_iter().partition(|path| is_marked(path) || is_unmarked_master(path));
    let known = [LOCK, MASTERS, MANIFESTS, COUNTERFOIL, CHECKPOINT, LOST_AND_FOUND].map(OsStr::new);
    let other = |path: &PathBuf| path.file_name().is_none_or(|name| !known.contains(&name));
    foreign.extend(entries(folder)?.into_iter().filter(other));
    if own.is_empty() && !foreign.is_empty() {
        return Ok(Err(Foreign(foreign)));
    }
    for master in own.iter().filter(|master| !is_marked(master)) {
        mark(master)?;
    }
    mark(folder)?;
    Ok(Ok(()))
}

/// What lies in the store's folders and is not the store's, though its place or its name could make people think so.
///
/// # Errors
/// If a folder cannot be listed.
pub(crate) fn strangers(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let known =
        [MARKER, LOCK, MASTERS, MANIFESTS, COUNTERFOIL, CHECKPOINT, LOST_AND_FOUND].map(OsStr::new);
    let own = |path: &Path| {
        path.file_name().is_some_and(|name| known.contains(&name))
            || (is_press(path) && is_marked(path))
    };
    let mut strangers = entries(folder)?;
    strangers.retain(|path| !own(path));
    let mut masters = entries(&folder.join(MASTERS))?;
    masters.retain(|path| !is_master(path));
    strangers.extend(masters);
    Ok(strangers)
}

/// Whether a path has the name that the store gives to the folder of a press: `press-`, a master's name, and a number
/// where that was taken, or `image` for the folder into which an image is taken over.
pub(crate) fn is_press(path: &Path) -> bool {
    let name =
        path.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_prefix("press-"));
    name.is_some_and(|name| {
        let (id, number) = name.split_once('-').unwrap_or((name, "2"));
        MasterId(id.to_owned()).is_valid() && (number == "image" || number.parse::<u8>().is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef";

    fn older_master(masters: &Path, id: &str) -> PathBuf {
        let folder = masters.join(id);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(IMAGE_FILE), "image").unwrap();
        fs::write(folder.join(MANIFEST_FILE), format!("{{\"format\":2,\"id\":\"{id}\",")).unwrap();
        folder
    }

    fn refused(folder: &Path) -> bool {
        let before = (entries(folder).unwrap(), is_marked(folder));
        let refused = claim(folder).unwrap().is_err();
        assert!(!refused || (entries(folder).unwrap(), is_marked(folder)) == before);
        refused
    }

    #[test]
    fn only_empty_marked_and_older_stores_are_claimed() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let folder = scratch.path().join(name);
            fs::create_dir(&folder).unwrap();
            folder
        };
        let empty = folder("empty");
        assert!(!refused(&empty) && is_marked(&empty) && !refused(&empty));
        let fresh = folder("fresh");
        fs::create_dir(fresh.join(LOST_AND_FOUND)).unwrap();
        assert!(!refused(&fresh), "the root of a new file system");
        let early = folder("early");
        fs::create_dir(early.join(MASTERS)).unwrap();
        fs::write(early.join(LOCK), "").unwrap();
        assert!(!refused(&early), "an older store without a master");
        let old = folder("old");
        let master = older_master(&old.join(MASTERS), ID);
        let golden = old.join(MASTERS).join("golden");
        fs::create_dir(&golden).unwrap();
        assert!(!refused(&old) && is_master(&master) && !is_marked(&golden));
        assert_eq!(strangers(&old).unwrap(), [golden]);
        for (name, path) in [
            ("photos", "press-kit/photo.jpg"),
            ("depot", "masters/golden/image.wim"),
            ("notes", "masters/README.txt"),
            ("claims", &format!("masters/{ID}/disk.raw")),
            ("home", ".bashrc"),
        ] {
            let foreign = folder(name);
            fs::create_dir_all(foreign.join(path).parent().unwrap()).unwrap();
            fs::write(foreign.join(path), "x").unwrap();
            assert!(refused(&foreign), "{path}");
        }
        let linked = folder("linked");
        std::os::unix::fs::symlink(&old, linked.join(MASTERS)).unwrap();
        assert!(refused(&linked), "the masters are a link");
    }

    #[test]
    fn a_marker_is_a_file_with_our_text() {
        let scratch = tempfile::tempdir().unwrap();
        let marker = scratch.path().join(MARKER);
        assert!(!is_marked(scratch.path()));
        for (text, expected) in [("", true), (&TEXT[..20], true), (TEXT, true), ("mine", false)] {
            fs::write(&marker, text).unwrap();
            assert_eq!(is_marked(scratch.path()), expected, "{text:?}");
        }
        fs::remove_file(&marker).unwrap();
        fs::create_dir(&marker).unwrap();
        assert!(!is_marked(scratch.path()));
    }

    #[test]
    fn a_master_with_something_of_others_in_it_is_no_master() {
        let scratch = tempfile::tempdir().unwrap();
        let master = scratch.path().join(ID);
        create(&master).unwrap();
        assert!(is_master(&master));
        fs::write(master.join("notes"), "mine").unwrap();
        assert!(!is_master(&master));
        let other = scratch.path().join("golden");
        create(&other).unwrap();
        assert!(!is_master(&other), "no master has this name");
    }

    #[test]
    fn a_folder_is_removed_whole() {
        let scratch = tempfile::tempdir().unwrap();
        let press = scratch.path().join("press-1");
        create(&press).unwrap();
        fs::create_dir_all(press.join("work/deep")).unwrap();
        fs::write(press.join("work/deep/file"), "x").unwrap();
        let precious = scratch.path().join("precious");
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(&precious, press.join("link")).unwrap();
        remove(&press).unwrap();
        assert!(!press.exists() && precious.join("file").exists());
    }
}
