//! Compares an NTFS volume with the media that was applied to it: every file, stream, attribute and security descriptor.
//!
//! The volume is read by another implementation of NTFS (the `ntfs` crate) than the one that wrote it (libntfs-3g), so
//! that no mistake of one can hide a difference. First the file records are read in their order, then the data in the
//! order in which it lies on the medium, by several threads.

mod lznt1;
mod volume;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Read, Seek};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use model::api::audit::AuditReport as Report;
use model::media::MediaFile;
use model::units::Bytes;
use parking_lot::Mutex;

use crate::wim::{Entry, Flow, Wim, WimError};
use volume::{Details, Node, Sha1, Volume};

pub use volume::VolumeError;

/// A volume as a reader; offset 0 is its first byte.
pub trait Source: Read + Seek {}

impl<T: Read + Seek> Source for T {}

/// Opens the same volume for one thread.
pub type Open<'a> = dyn Fn() -> Box<dyn Source> + Sync + 'a;

/// An entry of the media's directory tree.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Path with `/` between names. Half of a surrogate pair, which a name on NTFS may hold, is U+FFFD.
    pub path: String,
    short_name: Option<String>,
    /// Windows file attributes.
    pub attributes: u32,
    reparse_tag: u32,
    security: Vec<u8>,
    links: u32,
    link_group: u64,
    /// Creation, last write and last access, in units of 100 ns since 1601.
    times: [u64; 3],
    /// All zeros if the entry has none.
    object_id: [u8; 16],
    /// The unnamed stream comes first.
    pub streams: Vec<ExpectedStream>,
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
    fn of(entry: &Entry<'_>) -> Self {
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
            security: entry.security.to_owned(),
            links: entry.links,
            link_group: entry.link_group,
            times: entry.times,
            object_id: entry.object_id,
            streams: streams.collect(),
        }
    }

    /// Whether the entry is a reparse point; its unnamed stream is the reparse point's data.
    pub fn is_reparse(&self) -> bool {
        self.attributes & REPARSE != 0
    }

    /// Whether the name of the entry does not survive as text: two such names may look alike.
    fn is_unclear(&self) -> bool {
        is_unclear(&self.path)
    }
}

fn is_unclear(path: &str) -> bool {
    path.contains(char::REPLACEMENT_CHARACTER)
}

/// The entries of an image of media that has been verified.
///
/// # Errors
/// [`WimError`] if the media cannot be read.
pub fn expected(files: &[MediaFile], image: u32) -> Result<Vec<Expected>, WimError> {
    let mut all = Vec::new();
    let Some((first, others)) = files.split_first() else { return Ok(all) };
    let mut wim = Wim::reopen(&first.path, |_| Flow::Continue)?;
    let others: Vec<&Path> = others.iter().map(|file| file.path.as_path()).collect();
    wim.reference(&others)?;
    wim.entries(image, |entry| all.push(Expected::of(entry)))?;
    Ok(all)
}

/// A stream to be read and compared.
struct Job<'a> {
    want: &'a Expected,
    stream: &'a ExpectedStream,
    record: u64,
    /// Where its data begins on the volume; 0 if it lies in the file record.
    position: u64,
}

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
    let mut volume = Volume::open(open())?;
    let nodes = pair(expected, &mut volume, report)?;
    let mut details: HashMap<u64, Details> = HashMap::new();
    let mut records: Vec<u64> = nodes.iter().map(|(_, node)| node.record).collect();
    records.sort_unstable();
    records.dedup();
    for record in records {
        // What cannot be read is told with the first path that leads there.
        if let Ok(found) = volume.details(record) {
            details.insert(record, found);
        }
    }
    let mut jobs = Vec::new();
    let mut seen = HashSet::new();
    for (want, node) in nodes {
        let Some(details) = details.get(&node.record) else {
            let error = volume.details(node.record).err();
            report.differs(&want.path, unreadable(error));
            continue;
        };
        compare_entry(want, &node, details, report);
        for stream in &want.streams {
            report.streams += 1;
            report.data_bytes += Bytes(stream.size);
            // Hard links lead to one file, which is read once.
            if seen.insert((node.record, stream.name.clone())) {
                let position = details.position(&stream.name);
                jobs.push(Job { want, stream, record: node.record, position });
            }
        }
    }
    jobs.sort_by_key(|job| (job.position, job.record));
    compare_data(&jobs, volume, open, report, progress)
}

fn unreadable(error: Option<VolumeError>) -> String {
    let text = error.map(|error| model::failure::chain(&error)).unwrap_or_default();
    format!("cannot be read: {text}")
}

/// Finds each entry on the volume, and tells what is missing, what is there besides, and links that lead elsewhere.
fn pair<'a>(
    expected: &'a [Expected],
    volume: &mut Volume,
    report: &mut Report,
) -> Result<Vec<(&'a Expected, Node)>, VolumeError> {
    let mut found: BTreeMap<String, Node> = BTreeMap::new();
    volume.walk(&mut |path, node| {
        found.insert(path, node);
    })?;
    // The file record that the hard links of a group lead to, by group, and the group by file record.
    let mut groups: HashMap<u64, u64> = HashMap::new();
    let mut owners: HashMap<u64, u64> = HashMap::new();
    let mut nodes = Vec::with_capacity(expected.len());
    for want in expected {
        report.entries += 1;
        let Some(node) = found.remove(&want.path) else {
            if want.is_unclear() {
                report.skips(&want.path, "its name is no valid Unicode, and looks like another's");
            } else {
                report.differs(&want.path, "is missing on the drive");
            }
            continue;
        };
        if want.links > 1 {
            let record = *groups.entry(want.link_group).or_insert(node.record);
            let group = *owners.entry(node.record).or_insert(want.link_group);
            if record != node.record || group != want.link_group {
                report.differs(&want.path, "is hard-linked to other files than in the media");
            }
        }
        nodes.push((want, node));
    }
    for path in found.keys() {
        if is_unclear(path) {
            report.skips(path, "its name is no valid Unicode, and looks like another's");
        } else {
            report.differs(path, "is on the drive, but not in the media");
        }
    }
    Ok(nodes)
}

/// The attributes that are compared. Not among them are "directory", which NTFS keeps elsewhere, and "normal", which
/// means that no other is set.
const COMPARED_ATTRIBUTES: u32 = 0x3f27;
/// The attributes "sparse" and "compressed" say how NTFS stores a file, not what is in it. libntfs-3g keeps the former only
/// where there is a hole, and gives the latter to files whose folder has it.
const STORAGE: u32 = 0x200 | 0x800;
/// The attribute of a reparse point.
const REPARSE: u32 = 0x400;

fn compare_entry(want: &Expected, node: &Node, details: &Details, report: &mut Report) {
    let path = &want.path;
    if want.short_name != node.short_name {
        let name =
            |name: &Option<String>| name.as_ref().map_or("none".into(), |n| format!("{n:?}"));
        let (is, should) = (name(&node.short_name), name(&want.short_name));
        report.differs(path, format!("short name: {is} instead of {should}"));
    }
    let (is, should) =
        (details.attributes & COMPARED_ATTRIBUTES, want.attributes & COMPARED_ATTRIBUTES);
    if is != should && (is ^ should) & !STORAGE == 0 {
        report.skips(
            path,
            format!("attributes: {is:#x} instead of {should:#x}, for its clusters only"),
        );
    } else if is != should {
        report.differs(path, format!("attributes: {is:#x} instead of {should:#x}"));
    }
    for (name, is, should) in [
        ("creation", details.times[0], want.times[0]),
        ("last write", details.times[1], want.times[1]),
        ("last access", details.times[2], want.times[2]),
    ] {
        if is != should {
            let unit = "in units of 100 ns since 1601";
            report.differs(path, format!("time of {name}: {is} instead of {should}, {unit}"));
        }
    }
    if !want.security.is_empty() && details.security != want.security {
        report.differs(path, "the security descriptor differs");
    }
    if want.object_id != [0; 16] && details.object_id != Some(want.object_id) {
        report.differs(path, "the object ID differs");
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    if !name.is_empty() && !details.names.iter().any(|found| found == name) {
        report.differs(path, "its file record has another name than its folder");
    }
    if want.links == 1 && details.links != 1 {
        report.differs(path, format!("{} hard links instead of 1", details.links));
    }
    let listed = |name: &str| want.streams.iter().any(|stream| stream.name == name);
    for stream in details.streams.iter().filter(|s| !s.name.is_empty() && !listed(&s.name)) {
        if is_unclear(&stream.name) {
            report.skips(path, format!("stream {:?}: its name is no valid Unicode", stream.name));
        } else {
            report.differs(path, format!("stream {:?} is not in the media", stream.name));
        }
    }
    // libwim lists the data of the reparse point in place of that of the file.
    let behind = details.streams.iter().any(|s| s.name.is_empty() && s.size > 0);
    if want.is_reparse() && behind {
        report.skips(path, "its contents lie behind a reparse point");
    }
}

/// How many bytes of streams a thread takes at a time.
const SHARE: u64 = 8 << 20;

/// Cuts the jobs into shares of about equal length, so that each thread reads one stretch of the medium after another.
fn shares<'a, 'b>(jobs: &'b [Job<'a>]) -> Vec<&'b [Job<'a>]> {
    let mut shares = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (index, job) in jobs.iter().enumerate() {
        // A small file costs about as much as some kilobytes of data.
        bytes += job.stream.size + (16 << 10);
        if bytes >= SHARE {
            shares.push(&jobs[from..=index]);
            (from, bytes) = (index + 1, 0);
        }
    }
    shares.push(&jobs[from..]);
    shares
}

fn compare_data(
    jobs: &[Job<'_>],
    mut volume: Volume,
    open: &Open<'_>,
    report: &mut Report,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<(), VolumeError> {
    let shares = shares(jobs);
    let threads = thread::available_parallelism().map_or(1, usize::from).min(shares.len());
    let next = AtomicUsize::new(0);
    let report = Mutex::new(report);
    let work = |volume: &mut Volume| {
        let mut buffer = vec![0_u8; 1 << 20];
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(share) = shares.get(index) else { return };
            for job in *share {
                if let Some(what) = compare_stream(job, volume, &mut buffer) {
                    report.lock().differs(&job.want.path, what);
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "a progress bar has a hundred steps")]
            progress((index + 1) as f64 / shares.len() as f64);
        }
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|_| scope.spawn(|| Volume::open(open()).map(|mut volume| work(&mut volume))))
            .collect();
        work(&mut volume);
        others.into_iter().try_for_each(|other| match other.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// What is wrong with a stream, in words.
fn compare_stream(job: &Job<'_>, volume: &mut Volume, buffer: &mut [u8]) -> Option<String> {
    let Job { want, stream, record, .. } = job;
    let is = if stream.name.is_empty() && want.is_reparse() {
        volume.hash_reparse(*record, want.reparse_tag)
    } else {
        volume.hash_stream(*record, &stream.name, buffer)
    };
    let shown = if stream.name.is_empty() { "contents" } else { stream.name.as_str() };
    match is {
        Err(error) => Some(format!("{shown}: {}", unreadable(Some(error)))),
        // The media lists an empty stream for directories and empty files, which may have none on the drive.
        Ok(None) if stream.size == 0 => None,
        Ok(None) => Some(format!("{shown}: the stream is missing")),
        Ok(Some(Sha1 { length, .. })) if length != stream.size => {
            Some(format!("{shown}: {length} bytes instead of {}", stream.size))
        }
        Ok(Some(Sha1 { digest, .. })) if stream.size > 0 && digest != stream.sha1 => {
            Some(format!("{shown}: the data differs"))
        }
        Ok(Some(_)) => None,
    }
}
