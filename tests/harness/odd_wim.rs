//! A writer of uncompressed WIMs that writes whatever it is told, also what no capture makes: two files of one name, names
//! that no volume can hold, security descriptors that contradict themselves, counts that lie (layout: Microsoft's "Windows
//! Imaging File Format" paper, and wimlib's include/wimlib/dentry.h). A medium of a few files takes less than a millisecond.
//!
//! ```ignore
//! let medium = OddWim::of([file("a.txt", b"data").short("A~1"), folder("dir", [file("b", b"")])]);
//! medium.write(&path);
//! ```

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::Path;

use sha1::{Digest as _, Sha1};

use super::wim::Raw;

/// `FILE_ATTRIBUTE_DIRECTORY`.
pub(crate) const DIRECTORY: u32 = 0x10;
/// `FILE_ATTRIBUTE_ARCHIVE`.
pub(crate) const ARCHIVE: u32 = 0x20;
/// `FILE_ATTRIBUTE_REPARSE_POINT`.
pub(crate) const REPARSE: u32 = 0x400;

/// Noon of some day of 2022, in 100 ns since 1601.
const TIME: u64 = 133_000_000_000_000_000;

/// A name in UTF-16, which need not be valid.
pub(crate) trait Name {
    fn units(&self) -> Vec<u16>;
}

impl Name for str {
    fn units(&self) -> Vec<u16> {
        self.encode_utf16().collect()
    }
}

impl Name for String {
    fn units(&self) -> Vec<u16> {
        self.as_str().units()
    }
}

impl Name for [u16] {
    fn units(&self) -> Vec<u16> {
        self.to_vec()
    }
}

impl<const N: usize> Name for [u16; N] {
    fn units(&self) -> Vec<u16> {
        self.to_vec()
    }
}

impl Name for Vec<u16> {
    fn units(&self) -> Vec<u16> {
        self.clone()
    }
}

impl<T: Name + ?Sized> Name for &T {
    fn units(&self) -> Vec<u16> {
        (**self).units()
    }
}

/// A file or a folder as it stands in an image. Files and folders have a security descriptor, [`security::plain`], unless
/// a test says otherwise.
#[derive(Clone)]
pub(crate) struct Entry {
    name: Vec<u16>,
    short: Vec<u16>,
    attributes: u32,
    security: Option<Vec<u8>>,
    /// Creation, last access, last write.
    times: [u64; 3],
    data: Option<Vec<u8>>,
    /// Stands in place of the digest of `data`, which then is not in the WIM.
    sha1: Option<[u8; 20]>,
    streams: Vec<(Vec<u16>, Vec<u8>)>,
    reparse: Option<(u32, Vec<u8>)>,
    link_group: u64,
    /// Tagged items, as they stand behind the names.
    tagged: Vec<u8>,
    children: Option<Vec<Entry>>,
}

/// A file.
pub(crate) fn file(name: impl Name, data: impl Into<Vec<u8>>) -> Entry {
    Entry {
        name: name.units(),
        short: Vec::new(),
        attributes: ARCHIVE,
        security: Some(security::plain()),
        times: [TIME; 3],
        data: Some(data.into()),
        sha1: None,
        streams: Vec::new(),
        reparse: None,
        link_group: 0,
        tagged: Vec::new(),
        children: None,
    }
}

/// A folder.
pub(crate) fn folder(name: impl Name, children: impl Into<Vec<Entry>>) -> Entry {
    let children = Some(children.into());
    Entry { attributes: DIRECTORY, data: None, children, ..file(name, "") }
}

impl Entry {
    /// With an 8.3 name.
    pub(crate) fn short(self, name: impl Name) -> Self {
        Self { short: name.units(), ..self }
    }

    /// With these attributes, and none but these.
    pub(crate) fn attributes(self, attributes: u32) -> Self {
        Self { attributes, ..self }
    }

    /// With a security descriptor of these bytes.
    pub(crate) fn secured(self, descriptor: impl Into<Vec<u8>>) -> Self {
        Self { security: Some(descriptor.into()), ..self }
    }

    /// Without a security descriptor.
    pub(crate) fn unsecured(self) -> Self {
        Self { security: None, ..self }
    }

    /// With these times of creation, last access and last write, in 100 ns since 1601.
    pub(crate) fn times(self, times: [u64; 3]) -> Self {
        Self { times, ..self }
    }

    /// With one more named stream.
    pub(crate) fn stream(mut self, name: impl Name, data: impl Into<Vec<u8>>) -> Self {
        self.streams.push((name.units(), data.into()));
        self
    }

    /// A reparse point of this tag, with the data that follows tag and length. A file's own data stays beside it unless
    /// that is empty.
    pub(crate) fn reparse(self, tag: u32, data: impl Into<Vec<u8>>) -> Self {
        let attributes = self.attributes | REPARSE;
        Self { reparse: Some((tag, data.into())), attributes, ..self }
    }

    /// One of the names of the file with this number, which is not 0. All of them must have the same streams.
    pub(crate) fn linked(self, group: u64) -> Self {
        Self { link_group: group, ..self }
    }

    /// With an object ID: 16 bytes, or 64 with the IDs of its birth.
    pub(crate) fn object_id(self, id: &[u8]) -> Self {
        self.tagged(1, id)
    }

    /// With one more tagged item of metadata.
    pub(crate) fn tagged(mut self, tag: u32, data: &[u8]) -> Self {
        self.tagged.extend(tag.to_le_bytes());
        self.tagged.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        self.tagged.extend(data);
        pad(&mut self.tagged);
        self
    }

    /// With data that has this SHA-1 and is not in the WIM.
    pub(crate) fn missing(self, sha1: [u8; 20]) -> Self {
        Self { sha1: Some(sha1), ..self }
    }

    /// How many folders and names of files there are, itself among them.
    fn count(&self) -> (u64, u64) {
        let Some(children) = &self.children else { return (0, 1) };
        let below = children.iter().map(Self::count);
        below.fold((1, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    }

    /// Appends the directory entry, but for the place of its children, which is the 8 bytes from 16 on.
    fn write(&self, out: &mut Vec<u8>, image: &mut Image<'_>) {
        let mut unnamed = Vec::new();
        if let Some((_, data)) = &self.reparse {
            unnamed.push(image.blobs.add(data));
        }
        if let Some(sha1) = self.sha1 {
            unnamed.push(sha1);
        } else if let Some(data) = &self.data
            && !(data.is_empty() && self.reparse.is_some())
        {
            unnamed.push(image.blobs.add(data));
        }
        let mut streams: Vec<(&[u16], [u8; 20])> = Vec::new();
        if !self.streams.is_empty() || unnamed.len() > 1 {
            let first =
                if unnamed.is_empty() { vec![NOTHING] } else { std::mem::take(&mut unnamed) };
            streams.extend(first.into_iter().map(|sha1| (&[][..], sha1)));
        }
        for (name, data) in &self.streams {
            streams.push((name, image.blobs.add(data)));
        }
        let security = self.security.as_ref().map_or(-1, |own| image.security_id(own));

        let start = out.len();
        out.extend([0; 8]);
        out.extend(self.attributes.to_le_bytes());
        out.extend(security.to_le_bytes());
        out.extend([0; 24]);
        self.times.iter().for_each(|time| out.extend(time.to_le_bytes()));
        out.extend(unnamed.first().unwrap_or(&NOTHING));
        out.extend([0; 4]);
        match &self.reparse {
            // The last flag says that libwim need not change where the link points to.
            Some((tag, _)) => out.extend((u64::from(*tag) | 1 << 48).to_le_bytes()),
            None => out.extend(self.link_group.to_le_bytes()),
        }
        out.extend(u16::try_from(streams.len()).unwrap().to_le_bytes());
        for name in [&self.short, &self.name] {
            out.extend(u16::try_from(name.len() * 2).unwrap().to_le_bytes());
        }
        for name in [&self.name, &self.short] {
            text(out, name);
        }
        pad(out);
        out.extend(&self.tagged);
        let length = u64::try_from(out.len() - start).unwrap();
        out[start..start + 8].copy_from_slice(&length.to_le_bytes());

        for (name, sha1) in streams {
            let start = out.len();
            out.extend([0; 16]);
            out.extend(sha1);
            out.extend(u16::try_from(name.len() * 2).unwrap().to_le_bytes());
            text(out, name);
            pad(out);
            let length = u64::try_from(out.len() - start).unwrap();
            out[start..start + 8].copy_from_slice(&length.to_le_bytes());
        }
    }
}

/// Appends a name and its end, or nothing.
fn text(out: &mut Vec<u8>, name: &[u16]) {
    if !name.is_empty() {
        name.iter().chain(&[0]).for_each(|unit| out.extend(unit.to_le_bytes()));
    }
}

/// Fills with zeros up to the next multiple of 8 bytes.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(8), 0);
}

/// The digest that stands for an empty stream.
const NOTHING: [u8; 20] = [0; 20];

/// The contents of all files, each once.
#[derive(Default)]
struct Blobs {
    places: HashMap<[u8; 20], usize>,
    all: Vec<([u8; 20], Vec<u8>, u32)>,
}

impl Blobs {
    fn add(&mut self, data: &[u8]) -> [u8; 20] {
        if data.is_empty() {
            return NOTHING;
        }
        let sha1 = Sha1::digest(data).into();
        let place = *self.places.entry(sha1).or_insert_with(|| {
            self.all.push((sha1, data.to_vec(), 0));
            self.all.len() - 1
        });
        self.all[place].2 += 1;
        sha1
    }
}

/// The metadata of an image that is being written.
struct Image<'a> {
    blobs: &'a mut Blobs,
    security: Vec<Vec<u8>>,
}

impl Image<'_> {
    fn security_id(&mut self, descriptor: &[u8]) -> i32 {
        let known = self.security.iter().position(|other| other == descriptor);
        let id = known.unwrap_or_else(|| {
            self.security.push(descriptor.to_vec());
            self.security.len() - 1
        });
        i32::try_from(id).unwrap()
    }

    /// The metadata resource. Entries of one folder stand together, and a folder points to them.
    fn metadata(mut self, root: &Entry) -> Vec<u8> {
        fn collect(entry: &Entry, image: &mut Image<'_>) {
            if let Some(own) = &entry.security {
                image.security_id(own);
            }
            entry.children.iter().flatten().for_each(|child| collect(child, image));
        }
        collect(root, &mut self);
        let mut out = vec![0; 4];
        out.extend(u32::try_from(self.security.len()).unwrap().to_le_bytes());
        for descriptor in &self.security {
            out.extend(u64::try_from(descriptor.len()).unwrap().to_le_bytes());
        }
        self.security.iter().for_each(|descriptor| out.extend(descriptor));
        pad(&mut out);
        let length = u32::try_from(out.len()).unwrap();
        out[..4].copy_from_slice(&length.to_le_bytes());

        let mut folders = VecDeque::from([(root, out.len() + 16)]);
        root.write(&mut out, &mut self);
        out.extend([0; 8]);
        while let Some((folder, pointer)) = folders.pop_front() {
            let Some(children @ [_, ..]) = folder.children.as_deref() else { continue };
            let place = u64::try_from(out.len()).unwrap();
            out[pointer..pointer + 8].copy_from_slice(&place.to_le_bytes());
            for child in children {
                folders.push_back((child, out.len() + 16));
                child.write(&mut out, &mut self);
            }
            out.extend([0; 8]);
        }
        out
    }
}

/// A WIM that is to be written.
#[derive(Clone)]
pub(crate) struct OddWim {
    images: Vec<Entry>,
    /// The counts of folders and files that the XML claims for every image; the true ones if there are none.
    counts: Option<(u64, u64)>,
    /// XML within the element of every image.
    described: String,
    boot: u32,
    guid: [u8; 16],
}

impl OddWim {
    /// A WIM of one image with these entries in its root folder.
    pub(crate) fn of(entries: impl Into<Vec<Entry>>) -> Self {
        Self::of_root(folder("", entries))
    }

    /// A WIM of one image with this root folder.
    pub(crate) fn of_root(root: Entry) -> Self {
        let (described, guid) = (String::new(), *b"an odd WIM's own");
        Self { images: vec![root], counts: None, described, boot: 0, guid }
    }

    /// With one more image.
    pub(crate) fn and(mut self, entries: impl Into<Vec<Entry>>) -> Self {
        self.images.push(folder("", entries));
        self
    }

    /// Claims these counts of folders, the root among them, and of files, each name of a linked one.
    pub(crate) fn counts(self, folders: u64, files: u64) -> Self {
        Self { counts: Some((folders, files)), ..self }
    }

    /// With this XML in the element of every image, such as `<WINDOWS><ARCH>9</ARCH></WINDOWS>`.
    pub(crate) fn described(self, xml: &str) -> Self {
        Self { described: xml.to_owned(), ..self }
    }

    /// Bootable, from the image with this index.
    pub(crate) fn boot(self, index: u32) -> Self {
        Self { boot: index, ..self }
    }

    /// The bytes, which can be patched further.
    pub(crate) fn raw(&self) -> Raw {
        let mut wim = Raw(vec![0; 208]);
        wim.0[..8].copy_from_slice(b"MSWIM\0\0\0");
        wim.put(8, 4, 208);
        wim.put(12, 4, 0x10d00);
        wim.0[24..40].copy_from_slice(&self.guid);
        wim.put(40, 2, 1);
        wim.put(42, 2, 1);
        wim.put(44, 4, u64::try_from(self.images.len()).unwrap());
        wim.put(120, 4, self.boot.into());

        let mut blobs = Blobs::default();
        let mut table = Raw(Vec::new());
        let mut xml = String::from("<WIM>");
        for (index, root) in (1..).zip(&self.images) {
            let image = Image { blobs: &mut blobs, security: Vec::new() };
            let metadata = image.metadata(root);
            if index == self.boot {
                wim.append(96, &metadata, metadata.len() as u64);
                wim.0[103] = 2;
            }
            wim.resource(&mut table, &metadata, 2, 1);
            let (folders, files) = self.counts.unwrap_or_else(|| root.count());
            xml += &format!(
                "<IMAGE INDEX=\"{index}\"><NAME>Odd {index}</NAME><DIRCOUNT>{folders}</DIRCOUNT>\
                 <FILECOUNT>{files}</FILECOUNT>{}</IMAGE>",
                self.described
            );
        }
        for (_, data, count) in &blobs.all {
            wim.resource(&mut table, data, 0, *count);
        }
        wim.append(48, &table.0, table.0.len() as u64);
        wim.with_xml(&(xml + "</WIM>"))
    }

    /// Writes it to a file.
    pub(crate) fn write(&self, path: &Path) {
        fs::write(path, self.raw().0).unwrap();
    }
}

impl Raw {
    /// Appends a resource with these flags, and its entry to a lookup table.
    fn resource(&mut self, table: &mut Self, data: &[u8], flags: u8, count: u32) {
        let (entry, offset) = (table.0.len(), self.0.len() as u64);
        let length = data.len() as u64;
        table.0.extend((length | u64::from(flags) << 56).to_le_bytes());
        table.0.extend(offset.to_le_bytes());
        table.0.extend(length.to_le_bytes());
        table.0.extend([1, 0]);
        table.0.extend(count.to_le_bytes());
        table.0.extend(Sha1::digest(data));
        assert_eq!(table.0.len(), entry + super::wim::ENTRY);
        self.0.extend(data);
    }
}

/// Security descriptors, sound or not.
pub(crate) mod security {
    /// `NT AUTHORITY\SYSTEM`.
    pub(crate) const SYSTEM: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
    /// `BUILTIN\Users`.
    pub(crate) const USERS: &[u8] = &[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x21, 2, 0, 0];

    /// An entry of an access control list: its type (0 allows, 1 denies), flags, access mask and SID.
    pub(crate) fn ace(kind: u8, flags: u8, mask: u32, sid: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + sid.len()).unwrap().to_le_bytes();
        [&[kind, flags], &length[..], &mask.to_le_bytes(), sid].concat()
    }

    /// An access control list.
    pub(crate) fn acl(entries: &[Vec<u8>]) -> Vec<u8> {
        let entries_bytes = entries.concat();
        let length = u16::try_from(8 + entries_bytes.len()).unwrap().to_le_bytes();
        let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
        [&[2, 0], &length[..], &count, &[0, 0], &entries_bytes].concat()
    }

    /// A self-relative descriptor.
    pub(crate) fn descriptor(
        owner: Option<&[u8]>,
        group: Option<&[u8]>,
        dacl: Option<&[u8]>,
    ) -> Vec<u8> {
        let control: u16 = 0x8000 | if dacl.is_some() { 4 } else { 0 };
        let mut head = [&[1, 0], &control.to_le_bytes()[..]].concat();
        let mut body = Vec::new();
        let [dacl_at, owner_at, group_at] = [dacl, owner, group].map(|part| {
            let at = if part.is_some() { u32::try_from(20 + body.len()).unwrap() } else { 0 };
            body.extend(part.unwrap_or_default());
            at
        });
        for place in [owner_at, group_at, 0, dacl_at] {
            head.extend(place.to_le_bytes());
        }
        [head, body].concat()
    }

    /// What most entries have: the system may do everything, users may read.
    pub(crate) fn plain() -> Vec<u8> {
        let dacl = acl(&[ace(0, 0, 0x1f_01ff, SYSTEM), ace(0, 0, 0x12_00a9, USERS)]);
        descriptor(Some(SYSTEM), Some(SYSTEM), Some(&dacl))
    }
}
