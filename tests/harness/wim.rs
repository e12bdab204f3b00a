//! A WIM taken apart and put together wrong: uncompressed, small, and patched byte by byte (layout: Microsoft's "Windows
//! Imaging File Format" paper).

use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use super::sample::run;

/// The header's fields by name, offset and length.
pub(crate) const FIELDS: [(&str, usize, usize); 22] = [
    ("magic", 0, 8),
    ("header size", 8, 4),
    ("version", 12, 4),
    ("flags", 16, 4),
    ("chunk size", 20, 4),
    ("part", 40, 2),
    ("parts", 42, 2),
    ("images", 44, 4),
    ("table size", 48, 7),
    ("table flags", 55, 1),
    ("table offset", 56, 8),
    ("table length", 64, 8),
    ("XML size", 72, 7),
    ("XML flags", 79, 1),
    ("XML offset", 80, 8),
    ("XML length", 88, 8),
    ("boot metadata size", 96, 7),
    ("boot metadata length", 112, 8),
    ("boot index", 120, 4),
    ("integrity size", 124, 7),
    ("integrity offset", 132, 8),
    ("integrity length", 140, 8),
];

/// Bytes of an entry of the lookup table.
pub(crate) const ENTRY: usize = 50;

/// A WIM in memory.
#[derive(Clone)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl Raw {
    /// Captures a folder.
    pub(crate) fn capture(tree: &Path, wim: &Path, options: &[&str]) -> Self {
        let paths = [tree.to_str().unwrap(), wim.to_str().unwrap(), "Small"];
        run("wimlib-imagex", &[&["capture"], &paths[..], options].concat());
        Self(fs::read(wim).unwrap())
    }

    pub(crate) fn get(&self, at: usize, length: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(&self.0[at..at + length]);
        u64::from_le_bytes(bytes)
    }

    pub(crate) fn put(&mut self, at: usize, length: usize, value: u64) {
        self.0[at..at + length].copy_from_slice(&value.to_le_bytes()[..length]);
    }

    fn range(&self, at: usize) -> Range<usize> {
        let [size, offset] = [self.get(at, 7), self.get(at + 8, 8)].map(|n| n.try_into().unwrap());
        offset..offset + size
    }

    /// Where the entries of the lookup table stand, the metadata's first.
    pub(crate) fn entries(&self) -> Vec<usize> {
        let mut all: Vec<usize> = self.range(48).step_by(ENTRY).collect();
        all.sort_by_key(|at| self.0[at + 7] & 2 == 0);
        all
    }

    /// Lets a header of a resource point to new bytes, which come to stand at the end.
    pub(crate) fn append(&mut self, at: usize, data: &[u8], length: u64) {
        self.put(at, 7, data.len() as u64);
        self.put(at + 8, 8, self.0.len() as u64);
        self.put(at + 16, 8, length);
        self.0.extend(data);
    }

    /// The XML without its byte order mark.
    pub(crate) fn xml(&self) -> String {
        let range = self.range(72);
        let units = self.0[range.start + 2..range.end].as_chunks::<2>().0.iter();
        String::from_utf16(&units.map(|unit| u16::from_le_bytes(*unit)).collect::<Vec<_>>())
            .unwrap()
    }

    /// With another XML.
    pub(crate) fn with_xml(&self, xml: &str) -> Self {
        let mut data = vec![0xff, 0xfe];
        data.extend(xml.encode_utf16().flat_map(u16::to_le_bytes));
        let mut wim = self.clone();
        wim.append(72, &data, data.len() as u64);
        wim
    }

    /// With a name in the metadata replaced by one of the same length, and the metadata's digest made right.
    pub(crate) fn renamed(&self, old: &str, new: &str) -> Self {
        let utf16 =
            |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let (old, new) = (utf16(old), utf16(new));
        assert_eq!(old.len(), new.len());
        let mut wim = self.clone();
        let entry = wim.entries()[0];
        let metadata = wim.range(entry);
        let mut found = metadata.clone().filter(|at| wim.0[*at..].starts_with(&old));
        let at = found.next().unwrap();
        assert_eq!(found.next(), None, "the name is there once");
        wim.0[at..at + new.len()].copy_from_slice(&new);
        let digest = Sha1::digest(&wim.0[metadata]);
        wim.0[entry + 30..entry + ENTRY].copy_from_slice(&digest);
        wim
    }

    /// With `count` images, all of them the first.
    pub(crate) fn multiplied(&self, count: u64) -> Self {
        let all = self.entries();
        let mut table = Vec::new();
        for _ in 0..count {
            table.extend(&self.0[all[0]..all[0] + ENTRY]);
        }
        all[1..].iter().for_each(|at| table.extend(&self.0[*at..at + ENTRY]));
        let xml = self.xml();
        let image = &xml[xml.find("<IMAGE").unwrap()..xml.rfind("</IMAGE>").unwrap() + 8];
        let images: String = (1..=count)
            .map(|n| image.replace("INDEX=\"1\"", &format!("INDEX=\"{n}\"")))
            .map(|image| image.replace("<NAME>Small</NAME>", ""))
            .collect();
        let mut wim = self.with_xml(&format!("<WIM>{images}</WIM>"));
        wim.append(48, &table, table.len() as u64);
        wim.put(44, 4, count);
        wim
    }

    /// Makes its last resource, a file of two full chunks of zeros, one of so many chunks. The digest stays wrong.
    pub(crate) fn inflated(&self, chunk: u64, count: usize) -> Self {
        let mut wim = self.clone();
        let large = |at: &usize| wim.get(at + 16, 8) == 2 * chunk;
        let entry = wim.entries().into_iter().find(large).unwrap();
        let start = wim.range(entry).start;
        let length = usize::try_from(wim.get(start, 4)).unwrap();
        let one = wim.0[start + 4..start + 4 + length].to_vec();
        let mut data = Vec::new();
        for number in 1..count {
            data.extend(u64::try_from(number * length).unwrap().to_le_bytes());
        }
        data.extend(one.repeat(count));
        wim.append(entry, &data, chunk * count as u64);
        wim
    }
}

/// What an intake worker says of a file, for the layout of the stations under test: its last line. It must end well by
/// itself.
pub(crate) fn intake(path: &Path, image: u32, boot: bool) -> Value {
    intake_for(path, image, &layout(if boot { "prestaged" } else { "none" }, 40))
}

/// A layout with an ESP of so many mebibytes.
pub(crate) fn layout(boot: &str, esp: u32) -> Value {
    let partition = |role: &str, size: &str| json!({ "type": role, "size": size });
    let partitions = [
        partition("esp", &format!("{esp}MiB")),
        partition("msr", "16MiB"),
        partition("windows", "rest"),
        partition("recovery", "20MiB"),
    ];
    json!({ "name": "test", "boot": boot, "partitions": partitions })
}

/// The task of an intake worker.
pub(crate) fn intake_task(path: &Path, image: u32, layout: &Value) -> Value {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(str::to_owned);
    let tools = media::tools::Tools::find(&folders).unwrap();
    json!({ "task": "intake", "path": path, "image": image, "layout": layout, "tools": tools })
}

/// As [`intake`], for a layout.
pub(crate) fn intake_for(path: &Path, image: u32, layout: &Value) -> Value {
    try_intake(path, image, layout).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// As [`intake_for`]; an error if the worker crashes.
pub(crate) fn try_intake(path: &Path, image: u32, layout: &Value) -> Result<Value, String> {
    let mut child = Command::new("timeout")
        .args(["-s", "KILL", "300", env!("CARGO_BIN_EXE_prestaged"), "worker"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let task = intake_task(path, image, layout);
    child.stdin.take().unwrap().write_all(task.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{}: {text}{errors}", output.status));
    }
    assert!(text.len() < 200_000, "{}: {} bytes of output", path.display(), text.len());
    Ok(serde_json::from_str(text.lines().last().unwrap()).unwrap())
}
