//! Audits tell the truth: what is the same is `SAME`, what differs is `DIFFERENT`, and what was not compared or not kept
//! is named and is neither.
//!
//! Each test makes a medium of a few odd files, images a drive with it, and then changes bytes on the drive.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use macro_rules_attribute::apply;
use serde_json::Value;

use crate::harness::odd_wim::{ARCHIVE, DIRECTORY, Entry, OddWim, file, folder};
use crate::harness::{Drive, Rig, Setup};

/// A station, its medium, and a drive that has passed.
pub(crate) struct Imaged {
    pub(crate) rig: Rig,
    pub(crate) drive: Drive,
    pub(crate) record: Value,
}

/// Exit codes of an audit.
pub(crate) const SAME: i32 = 0;
pub(crate) const DIFFERENT: i32 = 1;
const INCOMPLETE: i32 = 3;

impl Imaged {
    pub(crate) fn with(entries: impl Into<Vec<Entry>>) -> Self {
        Self::of(&OddWim::of(entries), 120)
    }

    fn of(medium: &OddWim, mib: u64) -> Self {
        let rig = Rig::new(Setup::default().content_only());
        medium.write(&rig.path("odd.wim"));
        rig.add_media(&rig.path("odd.wim"), "odd.wim");
        rig.start();
        rig.wait_media("odd.wim", "valid");
        let drive = rig.attached("A", mib, 512);
        let record = rig.wait_pass(&drive.serial);
        Self { rig, drive, record }
    }

    /// Audits the drive; returns exit code and text.
    fn audit(&self) -> (i32, String) {
        self.rig.ctl(&["audit", &self.drive.node()])
    }

    #[track_caller]
    pub(crate) fn is(&self, code: i32, told: &[&str]) {
        let (is, text) = self.audit();
        assert_eq!(is, code, "{text}");
        let word = ["SAME: ", "DIFFERENT: ", "", "INCOMPLETE: "][usize::try_from(code).unwrap()];
        assert!(text.contains(word), "{text}");
        for told in told {
            assert!(text.contains(told), "{told:?} is not in {text}");
        }
    }

    /// Replaces bytes wherever they stand on the drive, looks what an audit says, and puts them back.
    #[track_caller]
    fn changed(&self, old: &[u8], new: &[u8], told: &[&str]) {
        assert_eq!(old.len(), new.len());
        let file = File::options().read(true).write(true).open(&self.drive.file).unwrap();
        let data = self.drive.contents();
        let found = (0..data.len() - old.len()).filter(|at| data[*at..].starts_with(old));
        let places: Vec<u64> = found.map(|at| at as u64).collect();
        assert!(!places.is_empty(), "{} is not on the drive", String::from_utf8_lossy(old));
        let put = |bytes: &[u8]| {
            places.iter().for_each(|at| file.write_all_at(bytes, *at).unwrap());
            file.sync_all().unwrap();
        };
        put(new);
        self.is(DIFFERENT, told);
        put(old);
    }

    fn warnings(&self) -> Vec<String> {
        let all = self.record["warnings"].as_array().unwrap();
        all.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect()
    }
}

/// A name as NTFS holds it.
fn utf16(units: &[u16]) -> Vec<u8> {
    units.iter().flat_map(|unit| unit.to_le_bytes()).collect()
}

/// Bytes that do not get smaller, and are the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[apply(test!)]
#[needs(LOOP)]
fn halves_of_surrogate_pairs_are_told_apart() {
    let name = |unit: u16| [u16::from(b'c'), u16::from(b'u'), u16::from(b't'), unit];
    let imaged = Imaged::with([
        file(name(0xd83d), "high"),
        file(name(0xde00), "low"),
        file(name(0xfffd), "the character that stands for others"),
        file("cut\u{1f600}", "a whole pair"),
        folder(name(0xdbff), [file("in.txt", "below").stream(name(0xdc01), "a stream")]),
    ]);
    assert_eq!(imaged.warnings(), [""; 0]);
    imaged.is(SAME, &["7 files and folders"]);
    imaged.changed(
        &utf16(&name(0xd83d)),
        &utf16(&name(0xd83e)),
        &["/cut\u{fffd}d83d", "is missing"],
    );
    imaged.changed(
        &utf16(&name(0xfffd)),
        &utf16(&name(0xdfff)),
        &["/cut\u{fffd}fffd", "is missing"],
    );
    imaged.changed(
        &utf16(&name(0xdc01)),
        &utf16(&name(0xdc02)),
        &["cut\u{fffd}dc01: the stream is missing"],
    );
}

#[apply(test!)]
#[needs(LOOP)]
fn a_short_name_that_is_the_long_one_is_the_same() {
    let imaged = Imaged::with([
        file("Setup.exe", "1").short("SETUP.EXE"),
        file("README.TXT", "2").short("README.TXT"),
        file("a long name.text", "3").short("ALONGN~1.TEX"),
        folder("Program Files", [file("x", "4")]).short("PROGRA~1"),
        file("none.txt", "5"),
    ]);
    assert_eq!(imaged.warnings(), [""; 0]);
    imaged.is(SAME, &[]);
    let short: Vec<u16> = "ALONGN~1.TEX".encode_utf16().collect();
    let other: Vec<u16> = "ALONGN~2.TEX".encode_utf16().collect();
    imaged.changed(&utf16(&short), &utf16(&other), &["short name: \"ALONGN~2.TEX\" instead of"]);
    let long: Vec<u16> = "Setup.exe".encode_utf16().collect();
    let other: Vec<u16> = "setup.exe".encode_utf16().collect();
    imaged.changed(&utf16(&long), &utf16(&other), &["/Setup.exe", "is missing"]);
}

#[apply(test!)]
#[needs(LOOP)]
fn attributes_that_no_press_keeps_are_named() {
    let with = |name: &str, attribute| file(name, name).attributes(ARCHIVE | attribute);
    let imaged = Imaged::with([
        with("integrity", 0x8000),
        with("no scrub", 0x2_0000),
        with("recall on open", 0x4_0000),
        with("pinned", 0x8_0000),
        with("unpinned", 0x10_0000),
        with("recall", 0x40_0000),
        with("hidden and so on", 0x3107),
        file("dense", noise(1, 70_000)).attributes(ARCHIVE | 0x200),
        file("empty", "").attributes(ARCHIVE | 0x200),
        file("hole", vec![0; 1 << 20]).attributes(ARCHIVE | 0x200),
        folder("pinned folder", []).attributes(DIRECTORY | 0x8_0000),
        file("plain", "plain"),
    ]);
    let media = &imaged.rig.json(&["media", "list"])[0];
    let warning = &media["warnings"][0];
    assert_eq!(warning["code"], "attributes_not_kept", "{media:#}");
    assert!(warning["detail"].as_str().unwrap().contains("pinned, unpinned"), "{media:#}");
    let warnings = imaged.warnings();
    assert!(
        matches!(warnings.as_slice(), [one] if one.starts_with("not_kept: 9 ")),
        "{warnings:?}"
    );
    imaged.is(INCOMPLETE, &["/dense ", "/pinned folder ", "0x20 instead of 0x400020"]);
    let (_, text) = imaged.audit();
    assert!(!text.contains("/hole") && !text.contains("/hidden"), "{text}");
    let report = imaged.rig.ctl(&["--json", "audit", &imaged.drive.node()]).1;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["outcome"], "incomplete", "{report:#}");
    assert_eq!(report["not_kept"].as_array().unwrap().len(), 9, "{report:#}");
    // A difference is one, whatever else was not kept.
    imaged.changed(b"plain", b"plAin", &["/plain", "NOT KEPT", "/dense "]);
}

#[apply(test!)]
#[needs(LOOP)]
fn files_in_compressed_folders_are_read() {
    let text: Vec<u8> =
        (0..4000).flat_map(|i| format!("line {i:05} of a text\r\n").into_bytes()).collect();
    let mut mixed = text.clone();
    mixed.extend(noise(2, 200_000));
    mixed.extend(vec![0; 300_000]);
    mixed.extend(&text);
    let imaged = Imaged::with([
        folder(
            "packed",
            [
                file("text", text.clone()),
                file("noise", noise(3, 150_001)),
                file("mixed", mixed),
                file("zeros", vec![0; 200_000]),
                file("tiny", "tiny"),
                file("stream", "x").stream("more", text),
            ],
        )
        .attributes(DIRECTORY | 0x800),
        file("beside", noise(4, 5000)),
    ]);
    let (code, told) = imaged.audit();
    assert_ne!(code, DIFFERENT, "{told}");
    imaged.changed(b"line 0", b"line 9", &["/packed/text"]);
    imaged.changed(&noise(3, 32), &noise(9, 32), &["/packed/noise", "the data differs"]);
    // A unit of nothing but noise, which NTFS leaves as it is.
    imaged.changed(&noise(2, 60_032)[60_000..], &noise(9, 32), &["/packed/mixed"]);
}

#[apply(test!)]
#[needs(LOOP)]
fn files_of_several_records_are_whole() {
    let streams = |entry: Entry| {
        (0..120).fold(entry, |entry, i| {
            entry.stream(format!("stream {i:03}"), format!("what stream {i:03} holds"))
        })
    };
    let links = (0..1500).map(|i| file(format!("link {i:04}"), "linked").linked(7));
    let far = folder("far", [file("last link", "linked").linked(7)]);
    let imaged = Imaged::of(
        &OddWim::of([
            folder("links", links.collect::<Vec<_>>()),
            far,
            streams(file("streams", "many")),
            streams(folder("folder with streams", [file("in it", "1")])),
        ]),
        120,
    );
    imaged.is(SAME, &["1507 files and folders"]);
    imaged.changed(
        b"what stream 117 holds",
        b"what stream 117 Holds",
        &["/streams", "stream 117: the data differs"],
    );
    let link: Vec<u16> = "link 1499".encode_utf16().collect();
    let other: Vec<u16> = "link 1500".encode_utf16().collect();
    imaged.changed(
        &utf16(&link),
        &utf16(&other),
        &["/links/link 1499", "is missing", "/links/link 1500"],
    );
}

/// libwim lists the data of a reparse point in place of the contents beside it.
#[apply(test!)]
#[needs(LOOP)]
fn what_lies_behind_a_reparse_point_is_compared() {
    const CLOUD: u32 = 0x9000_601a;
    let imaged = Imaged::with([
        file("stub.bin", [&b"precious"[..], &noise(11, 108_000)].concat())
            .reparse(CLOUD, noise(7, 90)),
        file("small.bin", "a few bytes behind").reparse(CLOUD, noise(8, 40)),
        file("with stream", "behind a stream").reparse(CLOUD, "point").stream("more", "of it"),
        file("packed.bin", vec![b'z'; 50_000]).reparse(CLOUD, "packed").attributes(ARCHIVE | 0x600),
        file("nothing.bin", "").reparse(CLOUD, noise(9, 70)),
        folder("folder", []).reparse(CLOUD, "a folder"),
        file("again", "a few bytes behind").reparse(CLOUD, noise(8, 40)),
    ]);
    let (code, text) = imaged.audit();
    assert_ne!(code, DIFFERENT, "{text}");
    assert!(!text.contains("NOT COMPARED"), "{text}");
    imaged.changed(b"precious", b"previous", &["/stub.bin", "contents: the data differs"]);
    imaged.changed(b"a few bytes", b"a few Bytes", &["/small.bin", "/again"]);
    imaged.changed(b"behind a stream", b"beyond a stream", &["/with stream"]);
    imaged.changed(
        &noise(9, 70),
        &noise(10, 70),
        &["/nothing.bin", "reparse point: the data differs"],
    );
}

/// What an audit costs is what is there, however many files that is.
#[apply(test!)]
#[needs(LOOP)]
fn about_as_much_is_read_as_there_is() {
    const FOLDERS: u64 = 60;
    const FILES: u64 = 100;
    let folders = (0..FOLDERS).map(|at| {
        let files = (0..FILES).map(|i| {
            let length = 1000 + usize::try_from(i * 37 % 7000).unwrap();
            file(format!("file number {i:06}.txt"), noise(at * 1000 + i, length))
        });
        folder(format!("dir{at:05}"), files.collect::<Vec<_>>())
    });
    let large = file("large", noise(5, 9_000_000));
    let all = folders.chain([large]).collect::<Vec<_>>();
    let payload: u64 = 9_000_000
        + FOLDERS
            * (0..FILES).map(|i| (1000 + i * 37 % 7000_u64).next_multiple_of(4096)).sum::<u64>()
        + FOLDERS * FILES * 1024;
    let imaged = Imaged::of(&OddWim::of(all), 200);
    let node = imaged.drive.node();
    let read = || {
        let stat = format!("/sys/block/{}/stat", node.trim_start_matches("/dev/"));
        let stat = std::fs::read_to_string(stat).unwrap();
        512 * stat.split_whitespace().nth(2).unwrap().parse::<u64>().unwrap()
    };
    let before = read();
    imaged.is(SAME, &["6062 files and folders"]);
    let read = read() - before;
    // The MSR partition must be empty, which is looked at, too.
    let read = read - (16 << 20);
    assert!(read * 10 < payload * 13, "{read} bytes were read for {payload}");
}

/// A drive may say anything, and an audit of it ends.
#[apply(test!)]
#[needs(LOOP)]
fn a_folder_that_leads_to_itself_ends() {
    let imaged = Imaged::with([
        folder("outer", [folder("inner", [file("deep.txt", "deep")]), file("side.txt", "side")]),
        file("zz.txt", "beside"),
    ]);
    imaged.is(SAME, &[]);
    let file = File::options().read(true).write(true).open(&imaged.drive.file).unwrap();
    let data = imaged.drive.contents();
    let name = utf16(&"inner".encode_utf16().collect::<Vec<_>>());
    // An entry of an index is a reference and 8 bytes more, then the name's attribute: 66 bytes, and the name.
    let entry = (0..data.len() - name.len())
        .filter(|at| data[*at..].starts_with(&name))
        .find(|at| data[at - 82 + 10] == 66 + 10 && data[at - 82 + 11] == 0)
        .unwrap();
    let parent = data[entry - 66..entry - 58].to_vec();
    file.write_all_at(&parent, (entry - 82) as u64).unwrap();
    file.sync_all().unwrap();
    imaged.is(
        DIFFERENT,
        &["/outer/inner", "is a folder that has another path, too", "/outer/inner/deep.txt"],
    );
}

#[apply(test!)]
#[needs(LOOP)]
fn damaged_structures_are_differences() {
    let imaged = Imaged::with([
        file("a.txt", "first").stream("s", "one"),
        file("b.bin", noise(6, 20_000)),
        folder("c", [file("d.txt", "second")]),
    ]);
    let volume = imaged.drive.contents();
    let name = utf16(&"b.bin".encode_utf16().collect::<Vec<_>>());
    let record = volume
        .chunks_exact(1024)
        .position(|record| record.starts_with(b"FILE") && record.windows(10).any(|w| w == name))
        .unwrap();
    let record = &volume[record * 1024..][..1024];
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut other = record.to_vec();
        change(&mut other);
        other
    };
    for changed in [
        // Not written as a whole; not in use; of another file; without a signature.
        with(&|data| data[1023] ^= 1),
        with(&|data| data[22] = 0),
        with(&|data| data[16] ^= 1),
        with(&|data| data[0] = 0),
        // Cut off within the first attribute, which in the last case claims to be longer than the record.
        with(&|data| data[24..26].copy_from_slice(&[0x60, 0])),
        with(&|data| data[0x38 + 6] = 0xff),
    ] {
        imaged.changed(record, &changed, &["/b.bin"]);
    }
}

/// A folder that is compressed would have NTFS compress what is made in it, and the boot manager reads no such boot image.
#[apply(test!)]
#[needs(LOOP)]
fn compression_does_not_spread_to_files_that_lack_it() {
    let text: Vec<u8> =
        b"text that compresses well\r\n".iter().copied().cycle().take(200_000).collect();
    let packed = ARCHIVE | 0x800;
    let imaged = Imaged::with([
        folder(
            "sources",
            [file("boot.wim", text.clone()), folder("below", [file("b", text.clone())])],
        )
        .attributes(DIRECTORY | 0x800),
        folder("all packed", [file("a", text.clone()).attributes(packed)])
            .attributes(DIRECTORY | 0x800),
        folder("mixed", [file("a", text.clone()).attributes(packed), file("b", text.clone())])
            .attributes(DIRECTORY | 0x800),
        folder("plain", [file("a", text.clone()).attributes(packed), file("b", text)]),
    ]);
    let media = &imaged.rig.json(&["media", "list"])[0];
    assert_eq!(media["warnings"][0]["code"], "attributes_not_kept", "{media:#}");
    imaged.is(INCOMPLETE, &["/sources ", "/mixed/a ", "/plain/a "]);
    let (_, text) = imaged.audit();
    for kept in ["/sources/boot.wim", "/sources/below", "/all packed", "/mixed/b"] {
        assert!(!text.contains(kept), "{kept}: {text}");
    }
}

#[apply(test!)]
#[needs(LOOP)]
fn a_file_has_one_short_name() {
    let link = |name: &str, short: &str| file(name, "1").short(short).linked(9);
    let imaged = Imaged::with([
        link("link one of it.txt", "LINK1.TXT"),
        link("link two of it.txt", "LINK2.TXT"),
        folder("d", [link("link three.txt", "LINK3.TXT")]),
        file("some long name.txt", "2").short("FARTOOLONGNAME.TXT"),
        file("plain long name.txt", "3").short("PLAINL~1.TXT"),
    ]);
    let media = &imaged.rig.json(&["media", "list"])[0];
    assert_eq!(media["warnings"][0]["code"], "short_names_not_kept", "{media:#}");
    imaged.is(INCOMPLETE, &["\"FARTOOLONGNA\" instead of", "short name: none instead of"]);
    let (_, text) = imaged.audit();
    assert_eq!(text.matches("short name: ").count(), 3, "{text}");
    imaged.changed(
        b"P\0L\0A\0I\0N\0L\0~\0",
        b"P\0L\0A\0I\0N\0K\0~\0",
        &["\"PLAINK~1.TXT\" instead of"],
    );
}

/// A file has attributes, times and streams once; media that says two things of it is told, wherever it is looked at.
#[apply(test!)]
#[needs(LOOP)]
fn names_of_one_file_that_contradict_each_other() {
    let imaged = Imaged::with([
        file("first", "one file").linked(7),
        file("second", "one file").linked(7).attributes(ARCHIVE | 1).stream("zone", "lost"),
        file("same", "another").linked(8),
        file("again", "another").linked(8),
        file("other contents", "x").linked(9),
        file("of their own", "y").linked(9).attributes(ARCHIVE | 1),
    ]);
    let media = imaged.rig.json(&["media", "show", "odd.wim"]);
    let warnings = media["warnings"].as_array().unwrap();
    let differ: Vec<_> = warnings.iter().filter(|w| w["code"] == "links_differ").collect();
    assert!(differ.len() == 1, "{warnings:#?}");
    let detail = differ[0]["detail"].as_str().unwrap();
    assert!(detail.starts_with("1 names") && detail.contains("/second and /first"), "{detail}");
    assert!(imaged.warnings().iter().any(|warning| warning.starts_with("not_kept")));
    let told = imaged.record["media"]["warnings"].as_array().unwrap();
    assert!(told.contains(&"links_differ".into()), "{told:?}");
    imaged.is(INCOMPLETE, &["/second", "the media says something else of /first"]);
}
