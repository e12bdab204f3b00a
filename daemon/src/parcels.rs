//! Parcels that are copied into the inbox: they are taken in there, on a thread of their own.
//!
//! A parcel is looked at when two looks have found it the same, so not while it is being copied, and once more whenever it
//! has changed. Reading it needs no worker: nothing in it is parsed but the manifest, whose signatures are checked first,
//! and the index, whose digest the manifest has.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use model::api::snapshot::ParcelView;
use model::failure::Failure;
use model::parcel::FOLDER;
use parcel::{Folder, Receiver, Signers};

/// How often the inbox is looked at.
const PAUSE: Duration = Duration::from_secs(2);
/// So many parcels are taken up; who fills an inbox may fill it with anything.
const MOST: usize = 100;

/// What is known of a parcel by its files: names, sizes and times.
type Print = Vec<(std::ffi::OsString, u64, i64, i64)>;

/// A parcel in the inbox.
#[derive(Debug, Default)]
struct Known {
    print: Print,
    /// Whether it was tried as it is.
    tried: bool,
    problem: Option<Failure>,
}

/// Takes in what parcels come into an inbox, until `changed` returns `false`. It is called with all that are there whenever
/// that changes.
///
/// # Errors
/// If there can be no thread.
pub fn watch(
    inbox: PathBuf,
    signers: Arc<Signers>,
    mut changed: impl FnMut(Vec<ParcelView>) -> bool + Send + 'static,
) -> io::Result<()> {
    let work = move || {
        let (mut known, mut told) = (BTreeMap::new(), Vec::new());
        loop {
            look(&inbox, &signers, &mut known);
            let views: Vec<ParcelView> = known
                .iter()
                .map(|(path, parcel): (&PathBuf, &Known)| ParcelView {
                    name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                    done: parcel.tried && parcel.problem.is_none(),
                    problem: parcel.problem.clone(),
                })
                .collect();
            if views != told {
                told.clone_from(&views);
                if !changed(views) {
                    return;
                }
            }
            thread::sleep(PAUSE);
        }
    };
    thread::Builder::new().name("parcels".into()).spawn(work).map(|_| ())
}

/// One look at the inbox.
fn look(inbox: &Path, signers: &Signers, known: &mut BTreeMap<PathBuf, Known>) {
    let entries = fs::read_dir(inbox).into_iter().flatten().flatten();
    let mut there = BTreeMap::new();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && name.ends_with(FOLDER) && !name.starts_with('.') && there.len() < MOST {
            there.insert(entry.path(), print(&entry.path()));
        }
    }
    known.retain(|path, _| there.contains_key(path));
    for (path, print) in there {
        let parcel = known.entry(path.clone()).or_default();
        if parcel.print != print {
            *parcel = Known { print, ..Known::default() };
        } else if !parcel.tried {
            parcel.tried = true;
            parcel.problem = take_in(&path, inbox, signers);
        }
    }
}

/// The files of a parcel.
fn print(folder: &Path) -> Print {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut print: Print = entries
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            Some((entry.file_name(), meta.len(), meta.mtime(), meta.mtime_nsec()))
        })
        .collect();
    print.sort();
    print
}

/// Takes a parcel in; returns why it cannot be.
fn take_in(folder: &Path, inbox: &Path, signers: &Signers) -> Option<Failure> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let receiver = Receiver { source: &Folder::new(folder), signers, inbox };
    match receiver.run(|_, _| ()) {
        Ok(received) => {
            let manifest = &received.vouched.manifest;
            let (media, product, sequence) =
                (&manifest.file.name, &manifest.product, manifest.sequence);
            tracing::info!(media, "parcel {name} is in the inbox as {media}, {product} {sequence}");
            None
        }
        Err(error) => {
            let failure = Failure::of(error.code(), &error).with_hint_of(&error);
            tracing::warn!("parcel {name}: {}", failure.sentence());
            Some(failure)
        }
    }
}
