//! One look at the whole inbox after the other: which files are complete, and which of them are taken up.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use masters::stamp;
use model::media::{Inbox, Listing, Stamp};
use model::parcel::{BESIDE, FOLDER};

use super::look::Looker;
use crate::lease::{Writers, writers};
use crate::wim::MAGICS;

/// How long a file may take to answer before the others are looked at without it. One that takes longer, because its
/// disk has to spin up, is seen by a later scan.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many names are looked at, so that one look at the inbox is over in a second or two.
const NAMES: usize = 20_000;
/// So many files are taken up.
const FILES: usize = 1000;
/// So many files that are no WIMs are told.
const STRANGERS: usize = 100;

/// So many names of what is ignored are told.
const IGNORED: usize = 10;

/// What was seen at a path.
#[derive(Clone, Copy, Debug)]
enum Seen {
    /// No file, or none that can be read.
    Nothing,
    Unchanged,
    File {
        stamp: Stamp,
        writers: Writers,
        is_wim: bool,
    },
}

/// The files that the last scan of the inbox has found.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) known: Inbox,
    /// Files that were not complete, or not known to be.
    pending: Listing,
    looker: Looker,
}

impl Default for Scan {
    fn default() -> Self {
        Self::patient(PATIENCE)
    }
}

impl Scan {
    /// A scan that waits so long for each file.
    fn patient(patience: Duration) -> Self {
        let (known, pending) = (Inbox::default(), Listing::new());
        Self { known, pending, looker: Looker::new(patience) }
    }

    /// Scans the inbox again; returns whether there is anything new.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub(super) fn run(&mut self, inbox: &Path) -> io::Result<bool> {
        let Some(listed) = self.looker.at(inbox, list) else {
            return Ok(self.replace(Inbox { silent: self.looker.silent(), ..self.known.clone() }));
        };
        let Listed { mut paths, mut ignored, manifests } = match listed {
            Ok(listed) => listed,
            Err(error) => {
                let trouble = Some(format!("{}: {error}", inbox.display()));
                return Ok(self.replace(Inbox { trouble, ..self.known.clone() }));
            }
        };
        // Those that are in use are looked at first.
        paths.sort_by_cached_key(|path| (Reverse(self.stamp_of(path).is_some()), path.clone()));
        let beyond = paths.len().saturating_sub(NAMES);
        paths.truncate(NAMES);
        let mut pending = Listing::new();
        let (mut files, mut strangers) = (Vec::new(), Vec::new());
        let known: HashMap<PathBuf, Stamp> =
            paths.iter().filter_map(|path| Some((path.clone(), self.stamp_of(path)?))).collect();
        let known = Arc::new(known);
        let look = move |path: &Path| look(path, known.get(path).copied());
        for (path, seen) in self.looker.all(paths, look) {
            let known = self.stamp_of(&path);
            let was_wim = self.known.files.contains_key(&path);
            match (seen, known) {
                (Some(Seen::Unchanged), Some(stamp)) if was_wim => files.push((path, stamp)),
                (Some(Seen::Unchanged), Some(stamp)) => strangers.push((path, stamp)),
                (Some(Seen::File { stamp, writers, is_wim }), _) => {
                    let settled = match writers {
                        Writers::None => true,
                        Writers::Some => false,
                        Writers::Unknown => self.pending.get(&path) == Some(&stamp),
                    };
                    if !settled {
                        pending.insert(path, stamp);
                    } else if is_wim {
                        files.push((path, stamp));
                    } else {
                        strangers.push((path, stamp));
                    }
                }
                // What is known of a file that does not answer stays; a worker finds out whether it can be read.
                (None, Some(stamp)) if was_wim => files.push((path, stamp)),
                (Some(Seen::Nothing), _) => ignored.push(name(&path)),
                _ => {}
            }
        }
        self.pending = pending;
        let mut growing: Vec<String> = self.pending.keys().map(|path| name(path)).collect();
        growing.sort();
        ignored.sort();
        let count = u64::try_from(ignored.len()).unwrap_or(u64::MAX);
        ignored.truncate(IGNORED);
        let waiting =
            beyond + self.oldest(&mut files, FILES) + self.oldest(&mut strangers, STRANGERS);
        Ok(self.replace(Inbox {
            files: files.into_iter().collect(),
            manifests,
            strangers: strangers.into_iter().collect(),
            waiting: u64::try_from(waiting).unwrap_or(u64::MAX),
            silent: self.looker.silent(),
            growing,
            ignored: (count, ignored),
            trouble: None,
        }))
    }

    fn stamp_of(&self, path: &Path) -> Option<Stamp> {
        self.known.files.get(path).or_else(|| self.known.strangers.get(path)).copied()
    }

    fn replace(&mut self, now: Inbox) -> bool {
        let changed = now != self.known;
        self.known = now;
        changed
    }

    /// Keeps so many files: those that were taken up before, then the oldest. Returns how many are left out.
    fn oldest(&self, files: &mut Vec<(PathBuf, Stamp)>, most: usize) -> usize {
        files.sort_by_cached_key(|(path, stamp)| {
            let is_new = self.stamp_of(path) != Some(*stamp);
            (is_new, stamp.modified_ns, path.clone())
        });
        let beyond = files.len().saturating_sub(most);
        files.truncate(most);
        beyond
    }
}

/// What is in a folder.
#[derive(Debug, Default)]
struct Listed {
    /// What has a WIM's name.
    paths: Vec<PathBuf>,
    /// The names of everything else that is not hidden.
    ignored: Vec<String>,
    /// The manifests beside media, by the paths of the media.
    manifests: Listing,
}

fn list(folder: &Path) -> io::Result<Listed> {
    let mut listed = Listed::default();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(media) = media_of_manifest(&path) {
            // One that cannot be looked at is there all the same: whoever needs it is told why it cannot be read.
            let stamp = fs::metadata(&path).map(|meta| stamp::in_metadata(&meta));
            let nothing = Stamp { device: 0, inode: 0, size: 0, modified_ns: 0, changed_ns: 0 };
            if listed.manifests.len() < NAMES {
                listed.manifests.insert(media, stamp.unwrap_or(nothing));
            }
        } else if is_wim(&path) {
            listed.paths.push(path);
        } else if !is_hidden(&path) && !is_parcel(&path) && listed.ignored.len() < NAMES {
            listed.ignored.push(name(&path));
        }
    }
    Ok(listed)
}

/// A file's name as it is shown.
fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.replace(char::is_control, "?")
}

/// Looks at a file. It may vanish at any moment; the next scan will show it.
fn look(path: &Path, known: Option<Stamp>) -> Seen {
    // Opening a FIFO would wait for a writer.
    match fs::metadata(path) {
        Ok(meta) if known == Some(stamp::in_metadata(&meta)) => return Seen::Unchanged,
        Ok(meta) if meta.is_file() => {}
        _ => return Seen::Nothing,
    }
    let open = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let Ok(mut file) = open else { return Seen::Nothing };
    let Ok(meta) = file.metadata() else { return Seen::Nothing };
    if !meta.is_file() {
        return Seen::Nothing;
    }
    let writers = writers(&file);
    let mut start = [0; MAGICS[0].len()];
    let is_wim = match file.read_exact(&mut start) {
        Ok(()) => MAGICS.contains(&&start),
        // What cannot be read is for intake to tell.
        Err(error) => error.kind() != io::ErrorKind::UnexpectedEof,
    };
    Seen::File { stamp: stamp::in_metadata(&meta), writers, is_wim }
}

/// Whether a file is a WIM, or a part of one, by its name. Hidden files do not count: programs that copy write into
/// them.
fn is_wim(path: &Path) -> bool {
    let known = |e: &std::ffi::OsStr| {
        ["wim", "swm", "esd"].iter().any(|known| e.eq_ignore_ascii_case(known))
    };
    !is_hidden(path) && path.extension().is_some_and(known)
}

/// The media beside which a manifest lies, if the file is called as one.
fn media_of_manifest(path: &Path) -> Option<PathBuf> {
    let media = path.file_name()?.to_str()?.strip_suffix(BESIDE)?;
    let media = path.with_file_name(media);
    is_wim(&media).then_some(media)
}

/// Whether a folder is a parcel, by its name; others look after those.
fn is_parcel(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.ends_with(FOLDER)) && path.is_dir()
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::mpsc::channel;

    use super::*;

    /// As a WIM begins, and no more.
    const WIM: &[u8] = b"MSWIM\0\0\0...";

    #[test]
    fn a_growing_file_is_not_listed() {
        let inbox = tempfile::tempdir().unwrap();
        let path = inbox.path().join("win.wim");
        let mut scan = Scan::default();
        let mut file = File::create(&path).unwrap();
        file.write_all(&WIM[..5]).unwrap();
        assert!(scan.run(inbox.path()).unwrap());
        assert!(scan.known.files.is_empty());
        assert_eq!(scan.known.growing.len(), 1);
        assert!(!scan.run(inbox.path()).unwrap(), "not even if it rests");
        file.write_all(&WIM[5..]).unwrap();
        drop(file);
        assert!(scan.run(inbox.path()).unwrap());
        assert!(scan.known.files.contains_key(&path));
        assert!(!scan.run(inbox.path()).unwrap(), "listed once");
        let again = fs::OpenOptions::new().append(true).open(&path).unwrap();
        (&again).write_all(b"more").unwrap();
        assert!(scan.run(inbox.path()).unwrap(), "a file that grows again is withdrawn");
        assert!(scan.known.files.is_empty());
    }

    #[test]
    fn a_fifo_holds_nothing_up() {
        let inbox = tempfile::tempdir().unwrap();
        let path = inbox.path().join("fifo.wim");
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        fs::create_dir(inbox.path().join("folder.wim")).unwrap();
        let mut scan = Scan::default();
        assert!(scan.run(inbox.path()).unwrap());
        assert!(scan.known.files.is_empty() && scan.pending.is_empty());
        let ignored = ["fifo.wim", "folder.wim"].map(str::to_owned).into();
        assert_eq!(scan.known.ignored, (2, ignored));
    }

    #[test]
    fn a_manifest_is_seen_with_its_media_and_is_not_ignored() {
        let inbox = tempfile::tempdir().unwrap();
        let put = |name: &str| fs::write(inbox.path().join(name), WIM).unwrap();
        ["win.wim", "win.wim.manifest.json", "a.manifest.json"].iter().for_each(|name| put(name));
        let mut scan = Scan::default();
        assert!(scan.run(inbox.path()).unwrap());
        let media: Vec<_> = scan.known.manifests.keys().collect();
        assert_eq!(media, [&inbox.path().join("win.wim")]);
        assert_eq!(scan.known.ignored, (1, vec!["a.manifest.json".into()]));
        put("win.wim.manifest.json");
        assert!(scan.run(inbox.path()).unwrap(), "written anew");
    }

    #[test]
    fn only_wim_files_count() {
        for (name, expected) in [
            ("a.wim", true),
            ("A.WIM", true),
            ("a2.swm", true),
            (".a.wim", false),
            ("a.iso", false),
        ] {
            assert_eq!(is_wim(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn files_beyond_the_limits_wait_and_the_oldest_come_first() {
        let inbox = tempfile::tempdir().unwrap();
        let put = |name: &str, content: &[u8], age: u64| {
            let path = inbox.path().join(name);
            fs::write(&path, content).unwrap();
            let time = std::time::SystemTime::now() - Duration::from_secs(age);
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            path
        };
        let junk = u64::try_from(STRANGERS).unwrap() + 50;
        (0..junk).for_each(|age| drop(put(&format!("junk{age}.wim"), b"not a WIM", age)));
        let good = put("good.wim", WIM, 0);
        let mut scan = Scan::default();
        assert!(scan.run(inbox.path()).unwrap());
        assert_eq!((scan.known.files.len(), scan.known.strangers.len()), (1, STRANGERS));
        assert_eq!(scan.known.waiting, 50);
        assert!(scan.known.files.contains_key(&good), "junk does not keep media from being read");
        let oldest = inbox.path().join(format!("junk{}.wim", junk - 1));
        assert!(scan.known.strangers.contains_key(&oldest));
        (0..FILES).for_each(|age| drop(put(&format!("old{age}.wim"), WIM, 1000)));
        assert!(scan.run(inbox.path()).unwrap());
        assert_eq!((scan.known.files.len(), scan.known.waiting), (FILES, 51));
        assert!(scan.known.files.contains_key(&good), "what was taken up stays");
        assert!(!scan.run(inbox.path()).unwrap(), "and nothing changes by itself");
    }

    #[test]
    fn an_inbox_that_does_not_answer_keeps_what_is_known() {
        let inbox = tempfile::tempdir().unwrap();
        let path = inbox.path().join("win.wim");
        fs::write(&path, WIM).unwrap();
        let mut scan = Scan::patient(Duration::from_millis(100));
        assert!(scan.run(inbox.path()).unwrap());
        let (open, gate) = channel::<()>();
        let gate = std::sync::Arc::new(parking_lot::Mutex::new(gate));
        assert!(scan.looker.at(inbox.path(), move |_| gate.lock().recv().is_err()).is_none());
        assert!(scan.run(inbox.path()).unwrap(), "that it is silent is news");
        assert!(scan.known.files.contains_key(&path));
        assert!(scan.known.silent.contains_key(inbox.path()));
        drop(open);
        while !scan.looker.silent().is_empty() {
            std::thread::yield_now();
        }
        assert!(scan.run(inbox.path()).unwrap());
        assert!(scan.known.silent.is_empty() && scan.known.files.contains_key(&path));
    }
}
