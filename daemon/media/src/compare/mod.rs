//! Compares an NTFS volume with the media that was applied to it: every file, stream, attribute and security descriptor.
//!
//! The volume is read by another implementation of NTFS ([`formats::ntfs`]) than the one that wrote it (libntfs-3g), so
//! that no mistake of one can hide a difference. First the volume is read but for the data in clusters ([`volume`]), then
//! each entry is compared ([`entry`]), and at last the data, in the order in which it lies there ([`data`]). So about as
//! much is read as there is, whatever the number of files.

mod data;
pub(crate) mod entry;
mod extents;
mod file;
pub mod file_map;
mod lznt1;
mod volume;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;

use formats::ntfs::Reference;
use formats::wim_tree::Tree;
use model::api::audit::AuditReport as Report;
use model::media::MediaFile;
use model::units::Bytes;

use crate::inheritance::Inheritance;
use crate::wim::{Entry, Flow, Sizes, Wim, WimError};
use volume::{Node, ROOT, Volume};

pub use volume::VolumeError;

/// A volume that can be read at any place; offset 0 is its first byte.
pub trait Source {
    /// Fills `data` with the bytes from `offset` on.
    ///
    /// # Errors
    /// If the volume cannot be read there, or ends before.
    fn read_exact_at(&mut self, data: &mut [u8], offset: Bytes) -> io::Result<()>;
}

/// Opens the same volume for one thread.
pub type Open<'a> = dyn Fn() -> Box<dyn Source> + Sync + 'a;

/// An entry of the media's directory tree.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Path with `/` between names, each as [`formats::text`] writes it.
    pub path: String,
    short_name: Option<String>,
    /// Windows file attributes.
    pub attributes: u32,
    reparse_tag: u32,
    /// The media's, or what is given to what has none.
    security: Vec<u8>,
    links: u32,
    link_group: u64,
    /// Whether another link to the same file has a short name as well; a file has only one.
    shares_short_name: bool,
    /// An earlier name of the same file, of which the media says something else.
    contradicts: Option<String>,
    /// Creation, last write and last access, in units of 100 ns since 1601.
    times: [u64; 3],
    /// All zeros if the entry has none.
    object_id: [u8; 16],
    /// The unnamed stream comes first.
    pub streams: Vec<ExpectedStream>,
    /// The contents of a reparse point, which lie beside its data.
    behind: Behind,
}

/// What the media says of the contents of a reparse point.
#[derive(Clone, Debug)]
enum Behind {
    /// Nothing can be said of them.
    Unknown,
    /// There are none, as with everything that is no reparse point.
    Nothing,
    Contents(ExpectedStream),
}

/// A stream of an entry.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ExpectedStream {
    /// Empty for the unnamed stream.
    pub name: String,
    pub size: u64,
    /// All zeros for an empty stream.
    pub sha1: [u8; 20],
}

impl Expected {
    fn of(entry: &Entry<'_>, inheritance: &mut Inheritance) -> Self {
        let given = inheritance.of(entry);
        let streams = entry.streams.iter().map(|s| ExpectedStream {
            name: s.name.to_owned(),
            size: s.size,
            sha1: s.sha1,
        });
        Self {
            path: entry.path.to_owned(),
            short_name: entry.short_name.map(str::to_owned),
            attributes: entry.attributes,
            reparse_tag: entry.reparse_tag,
            security: given.as_deref().unwrap_or(entry.security).to_owned(),
            links: entry.links,
            link_group: entry.link_group,
            shares_short_name: false,
            contradicts: None,
            times: entry.times,
            object_id: entry.object_id,
            streams: streams.collect(),
            behind: if entry.attributes & REPARSE == 0 { Behind::Nothing } else { Behind::Unknown },
        }
    }

    /// Whether the entry is a reparse point; its unnamed stream is the reparse point's data.
    pub fn is_reparse(&self) -> bool {
        self.attributes & REPARSE != 0
    }
}

/// The attribute of a reparse point.
const REPARSE: u32 = 0x400;

/// The entries of an image of media that has been verified.
///
/// # Errors
/// [`WimError`] if the media cannot be read.
pub fn expected(files: &[MediaFile], image: u32) -> Result<Vec<Expected>, WimError> {
    let Some((first, others)) = files.split_first() else { return Ok(Vec::new()) };
    let others: Vec<&Path> = others.iter().map(|file| file.path.as_path()).collect();
    expected_in(&first.path, &others, image)
}

/// The entries of an image of the WIM `first`, whose blobs may be in `others`, too.
///
/// # Errors
/// [`WimError`] if one of them cannot be read.
pub(crate) fn expected_in(
    first: &Path,
    others: &[impl AsRef<Path>],
    image: u32,
) -> Result<Vec<Expected>, WimError> {
    let mut all = Vec::new();
    let mut wim = Wim::reopen(first, |_| Flow::Continue)?;
    wim.reference(others)?;
    let mut inheritance = Inheritance::default();
    let mut short_names: HashMap<u64, u32> = HashMap::new();
    wim.entries(image, |entry| {
        if entry.links > 1 && entry.short_name.is_some() {
            *short_names.entry(entry.link_group).or_default() += 1;
        }
        all.push(Expected::of(entry, &mut inheritance));
    })?;
    for want in all.iter_mut().filter(|want| want.links > 1) {
        want.shares_short_name = short_names.get(&want.link_group).is_some_and(|count| *count > 1);
    }
    if all.iter().any(|want| want.is_reparse() || want.links > 1)
        && let Ok((metadata, sizes)) = wim.metadata(image, first)
        && let Ok(tree) = Tree::parse(&metadata)
    {
        look_behind(&mut all, &tree, &sizes);
        contradict(&mut all, &tree);
    }
    Ok(all)
}

/// Adds what libwim does not tell of reparse points. What the metadata does not say, either, stays unknown.
fn look_behind(all: &mut [Expected], tree: &Tree, sizes: &Sizes) {
    let points = tree.entries.iter().enumerate().filter(|(_, entry)| entry.is_reparse());
    let found: HashMap<String, Option<[u8; 20]>> =
        points.map(|(place, entry)| (tree.path(place), entry.behind())).collect();
    for want in all.iter_mut().filter(|want| want.is_reparse()) {
        want.behind = match found.get(&want.path) {
            Some(None | Some(NOTHING)) => Behind::Nothing,
            Some(Some(sha1)) => match sizes.get(sha1) {
                Some(size) => {
                    let name = String::new();
                    Behind::Contents(ExpectedStream { name, size: *size, sha1: *sha1 })
                }
                None => Behind::Unknown,
            },
            None => Behind::Unknown,
        };
    }
}

/// Notes which names of files say something else of their file than another name of it.
fn contradict(all: &mut [Expected], tree: &Tree) {
    let found = tree.contradictions();
    let mut found: HashMap<String, String> =
        found.into_iter().map(|(place, other)| (tree.path(place), tree.path(other))).collect();
    for want in all.iter_mut().filter(|want| want.links > 1) {
        want.contradicts = found.remove(&want.path);
    }
}

/// The digest that stands for an empty stream.
const NOTHING: [u8; 20] = [0; 20];

/// Compares a volume with what it should hold, nothing more and nothing less. `progress` gets the share that is done.
///
/// # Errors
/// [`VolumeError`] if the volume as a whole cannot be read. A file that cannot be read is a difference.
pub fn compare(
    expected: &[Expected],
    open: &Open<'_>,
    report: &mut Report,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<(), VolumeError> {
    let mut source = open();
    let volume = Volume::read(&mut *source)?;
    let mut jobs = Vec::new();
    let mut seen = HashSet::new();
    for Pair { want, node, folder } in pair(expected, &volume, report) {
        match volume.file(node.file) {
            Ok(file) => jobs.extend(entry::compare(
                (want, &node, folder),
                (&volume, file),
                &mut *source,
                &mut seen,
                report,
            )),
            Err(error) => report.differs(&want.path, format!("cannot be read: {error}")),
        }
    }
    drop(source);
    data::compare(jobs, volume.cluster, open, report, progress);
    Ok(())
}

/// An entry of the media, and the name on the volume that has its path.
struct Pair<'a> {
    want: &'a Expected,
    node: Node,
    /// The file record of the folder in which the name stands.
    folder: u64,
}

/// Finds each entry on the volume, and tells what is missing, what is there besides, and links that lead elsewhere.
fn pair<'a>(expected: &'a [Expected], volume: &Volume, report: &mut Report) -> Vec<Pair<'a>> {
    let mut found = walk(expected, volume, report);
    // The file that the hard links of a group lead to, by group, and the group by file.
    let mut groups: HashMap<u64, Reference> = HashMap::new();
    let mut owners: HashMap<Reference, u64> = HashMap::new();
    let mut pairs = Vec::with_capacity(expected.len());
    for want in expected {
        report.entries += 1;
        let Some((node, folder)) = found.remove(want.path.as_str()) else {
            report.differs(&want.path, "is missing on the drive");
            continue;
        };
        if want.links > 1 {
            let file = *groups.entry(want.link_group).or_insert(node.file);
            let group = *owners.entry(node.file).or_insert(want.link_group);
            if file != node.file || group != want.link_group {
                report.differs(&want.path, "is hard-linked to other files than in the media");
            }
        }
        pairs.push(Pair { want, node, folder });
    }
    pairs
}

/// Walks through the folders that the media has, and returns what has a path of the media, with the folder that it is in.
/// What else is there is told, but not entered, and no folder is entered twice.
fn walk<'a>(
    expected: &'a [Expected],
    volume: &Volume,
    report: &mut Report,
) -> HashMap<&'a str, (Node, u64)> {
    let paths: HashSet<&str> = expected.iter().map(|want| want.path.as_str()).collect();
    let mut found = HashMap::with_capacity(expected.len());
    let mut others = Vec::new();
    let mut entered = HashSet::from([ROOT]);
    let mut todo = vec![(String::new(), ROOT)];
    match paths.get("/") {
        Some(root) => drop(found.insert(*root, (volume.root(), ROOT))),
        None => others.push(("/".to_owned(), "is on the drive, but not in the media")),
    }
    while let Some((folder, record)) = todo.pop() {
        let names = volume.folder(record).unwrap_or_else(|error| {
            let path = if folder.is_empty() { "/" } else { &folder };
            report.differs(path, format!("cannot be listed: {error}"));
            &[]
        });
        for node in names {
            let path = format!("{folder}/{}", node.name);
            let known = paths.get(path.as_str()).copied().filter(|path| !found.contains_key(path));
            let Some(known) = known else {
                others.push((path, "is on the drive, but not in the media"));
                continue;
            };
            found.insert(known, (node.clone(), record));
            if volume.file(node.file).is_ok_and(|file| file.is_folder) {
                if entered.insert(node.file.record) {
                    todo.push((path, node.file.record));
                } else {
                    others.push((path, "is a folder that has another path, too"));
                }
            }
        }
    }
    others.sort_unstable();
    for (path, what) in others {
        report.differs(&path, what);
    }
    found
}
