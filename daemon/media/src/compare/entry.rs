//! One file or folder, compared with what the media says of it.

use std::collections::HashSet;

use formats::ntfs::Reference;
use model::api::audit::AuditReport as Report;
use model::units::Bytes;

use super::data::{Job, shown};
use super::extents::Sha1;
use super::file::{Contents, File, Stream};
use super::volume::{Node, Volume};
use super::{Behind, Expected, ExpectedStream, REPARSE, Source};

/// The attributes that tell how NTFS stores a file, or for what programs it is, and that do not survive on a volume that
/// libntfs-3g writes: sparse and compressed, which follow from how the data lies there; integrity stream, no scrub data,
/// and those of files in a cloud (recall on open, pinned, unpinned, recall on data access).
pub(crate) const NOT_KEPT: u32 =
    SPARSE | COMPRESSED | 0x8000 | 0x2_0000 | 0x4_0000 | 0x8_0000 | 0x10_0000 | 0x40_0000;
const SPARSE: u32 = 0x200;
const COMPRESSED: u32 = 0x800;
/// "Directory" stands elsewhere on NTFS, and "normal" means that no other attribute is set.
const NOT_COMPARED: u32 = 0x10 | 0x80;
const DIRECTORY: u32 = 0x10;

/// Compares everything but the data that lies in clusters, for which it returns jobs. `seen` knows the streams that other
/// links to the same file have led to.
pub(super) fn compare<'a>(
    (want, node, folder): (&'a Expected, &Node, u64),
    (volume, file): (&'a Volume, &'a File),
    source: &mut dyn Source,
    seen: &mut HashSet<(Reference, &'a str)>,
    report: &mut Report,
) -> Vec<Job<'a>> {
    let path = &want.path;
    names(want, (node, folder), file, report);
    attributes(want, file, report);
    for (name, is, should) in [
        ("creation", file.times[0], want.times[0]),
        ("last write", file.times[1], want.times[1]),
        ("last access", file.times[2], want.times[2]),
    ] {
        if is != should {
            let unit = "in units of 100 ns since 1601";
            report.differs(path, format!("time of {name}: {is} instead of {should}, {unit}"));
        }
    }
    if volume.security(file) != want.security {
        report.differs(path, "the security descriptor differs");
    }
    let object_id = Some(want.object_id).filter(|id| *id != [0; 16]);
    if file.object_id != object_id {
        report.differs(path, "the object ID differs");
    }
    if file.has_extended_attributes {
        report.differs(path, "has extended attributes, which no press writes");
    }
    if let Some(other) = &want.contradicts {
        let what = format!("the media says something else of {other}, which is the same file");
        report.loses(path, what);
    }
    let listed = |name: &str| want.streams.iter().any(|stream| stream.name == name);
    for stream in file.streams.iter().filter(|s| !s.name.is_empty() && !listed(&s.name)) {
        report.differs(path, format!("stream {:?} is not in the media", stream.name));
    }
    let mut jobs = Vec::new();
    for stream in &want.streams {
        report.streams += 1;
        report.data_bytes += Bytes(stream.size);
        // Hard links lead to one file, which is read once.
        if !seen.insert((node.file, &stream.name)) {
            continue;
        }
        if stream.name.is_empty() && want.is_reparse() {
            if let Some(what) = reparse(want, stream, file, volume, source) {
                report.differs(path, what);
            }
            continue;
        }
        match contents(stream, file) {
            Ok(None) => {}
            Ok(Some(extents)) => {
                let sha1 = stream.sha1;
                jobs.push(Job { path, stream: &stream.name, extents, sha1 });
            }
            Err(what) => report.differs(path, format!("{}: {what}", shown(&stream.name))),
        }
    }
    if let Some(job) = behind(want, node, file, seen, report) {
        jobs.push(job);
    }
    jobs
}

/// Compares the contents of a reparse point, which libwim does not list.
fn behind<'a>(
    want: &'a Expected,
    node: &Node,
    file: &'a File,
    seen: &mut HashSet<(Reference, &'a str)>,
    report: &mut Report,
) -> Option<Job<'a>> {
    let path = &want.path;
    let size = file.stream("").map_or(0, Stream::size);
    match &want.behind {
        _ if !want.is_reparse() => None,
        Behind::Nothing if size > 0 => {
            report.differs(path, format!("contents: {size} bytes instead of 0"));
            None
        }
        Behind::Unknown if size > 0 => {
            report.skips(path, "its contents lie behind a reparse point");
            None
        }
        Behind::Nothing | Behind::Unknown => None,
        Behind::Contents(stream) => {
            report.streams += 1;
            report.data_bytes += Bytes(stream.size);
            if !seen.insert((node.file, BEHIND)) {
                return None;
            }
            match contents(stream, file) {
                Ok(extents) => {
                    let sha1 = stream.sha1;
                    extents.map(|extents| Job { path, stream: &stream.name, extents, sha1 })
                }
                Err(what) => {
                    report.differs(path, format!("contents: {what}"));
                    None
                }
            }
        }
    }
}

/// What stands for the contents of a reparse point where streams have been seen: no stream has this name.
const BEHIND: &str = "/";

fn names(want: &Expected, (node, folder): (&Node, u64), file: &File, report: &mut Report) {
    let path = &want.path;
    if !is_same_short(want, node) {
        let name =
            |name: &Option<String>| name.as_ref().map_or("none".into(), |n| format!("{n:?}"));
        let (is, should) = (name(&node.short_name), name(&want.short_name));
        let text = format!("short name: {is} instead of {should}");
        if loses_short_name(want, node) {
            report.loses(path, text);
        } else {
            report.differs(path, text);
        }
    }
    if file.short_names > 1 {
        report.differs(path, format!("its file record has {} short names", file.short_names));
    }
    if !node.name.is_empty() && !file.has_name(folder, &node.name) {
        report.differs(path, "its file record has another name than its folder");
    }
    let links = want.links.max(1);
    if usize::try_from(links) != Ok(file.names.len()) {
        report.differs(path, format!("{} hard links instead of {links}", file.names.len()));
    }
}

/// A name that is its own short one, but for case, stands on the volume once, in the case of the long name.
fn is_same_short(want: &Expected, node: &Node) -> bool {
    match (&want.short_name, &node.short_name) {
        (Some(should), Some(is)) if *is == node.name => should.eq_ignore_ascii_case(is),
        (should, is) => should == is,
    }
}

/// Whether no press could have kept the short name: a file has one, whatever the number of its links, and NTFS cuts it
/// off after twelve letters.
fn loses_short_name(want: &Expected, node: &Node) -> bool {
    let Some(should) = &want.short_name else { return false };
    match &node.short_name {
        None => want.shares_short_name,
        Some(is) => {
            should.encode_utf16().count() > SHORT && should.starts_with(is) && is.len() == SHORT
        }
    }
}

/// The length of a short name, as 8.3 with its dot.
const SHORT: usize = 12;

fn attributes(want: &Expected, file: &File, report: &mut Report) {
    let path = &want.path;
    let (is, should) = (file.attributes & !NOT_COMPARED, want.attributes & !NOT_COMPARED);
    let differ = is ^ should;
    let text = format!("attributes: {is:#x} instead of {should:#x}");
    // Compression spreads from folders to what is in them.
    let lost = should & NOT_KEPT | COMPRESSED;
    if differ & !lost != 0 {
        report.differs(path, text);
    } else if differ != 0 {
        report.loses(path, text);
    }
    let is_folder = want.attributes & DIRECTORY != 0;
    if is_folder != file.is_folder {
        let kind = |is_folder| if is_folder { "a folder" } else { "a file" };
        let (is, should) = (kind(file.is_folder), kind(is_folder));
        report.differs(path, format!("is {is} instead of {should}"));
    }
    if (want.attributes & REPARSE != 0) != file.reparse.is_some() {
        report.differs(path, "only one of drive and media has a reparse point");
    }
}

/// Compares a stream as far as that can be done without its clusters; returns these if they must be read.
fn contents<'a>(
    stream: &ExpectedStream,
    file: &'a File,
) -> Result<Option<&'a super::extents::Extents>, String> {
    let Some(found) = file.stream(&stream.name) else {
        // The media lists an empty stream for directories and empty files, which may have none on the drive.
        return if stream.size == 0 { Ok(None) } else { Err("the stream is missing".into()) };
    };
    if found.size() != stream.size {
        return Err(format!("{} bytes instead of {}", found.size(), stream.size));
    }
    match &found.contents {
        _ if stream.size == 0 => Ok(None),
        Contents::Hashed(Sha1 { digest, .. }) if *digest == stream.sha1 => Ok(None),
        Contents::Hashed(_) => Err("the data differs".into()),
        Contents::Elsewhere(extents) => Ok(Some(extents)),
    }
}

/// What is wrong with a reparse point, in words. The media lists its data without the header.
fn reparse(
    want: &Expected,
    stream: &ExpectedStream,
    file: &File,
    volume: &Volume,
    source: &mut dyn Source,
) -> Option<String> {
    const HEADER: usize = 8;
    let data = match file.reparse.as_ref().map(|place| place.bytes(source, volume.cluster)) {
        None => return Some("the reparse point is missing".into()),
        Some(Err(error)) => return Some(format!("reparse point: cannot be read: {error}")),
        Some(Ok(data)) => data,
    };
    let Some((header, data)) = data.split_at_checked(HEADER) else {
        return Some("the reparse point is cut off".into());
    };
    if header[..4] != want.reparse_tag.to_le_bytes() {
        return Some("the reparse point has another tag".into());
    }
    let is = Sha1::of(data);
    let is_same = is.length == stream.size && (stream.size == 0 || is.digest == stream.sha1);
    (!is_same).then(|| "reparse point: the data differs".into())
}
