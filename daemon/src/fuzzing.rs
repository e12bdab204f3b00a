//! Entry points for fuzzing: one for each kind of foreign bytes that the station parses with its own code.
//!
//! Each reads bytes as the station does, and panics if a parser panics or a result breaks an invariant. `tests/fuzz`
//! has a libFuzzer target for each, and the station tests replay the corpus.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use config::Config;
use drives::{content::signatures, usage::Host};
use formats::gpt::{self, Tables};
use formats::ntfs::{Block, Boot, Record, listed, root, security};
use formats::wim_table::{self, Header};
use formats::wim_tree::Tree;
use formats::{bcd, pe, smart as answers, text};
use masters::allocation::{self, Slice};
use media::intake::IntakeTask;
use media::worker::{Probe, Task};
use model::api::line::Line;
use model::digest::Digest;
use model::drive::Geometry;
use model::identity::{GPT_HEADER_BYTES, Identity};
use model::layout::{Layout, Places, Plan, Role};
use model::manifest::Manifest;
use model::media::IntakeOutcome;
use model::parcel::{Contents, FileClaim, IndexClaim, PackClaim, ParcelManifest};
use model::ranges::Range;
use model::units::{ByteRate, Bytes, MIB, SectorSize};
use parcel::{Distrust, Have, Index, Signers};
use signing::Envelope;
use uuid::Uuid;

/// A function that reads hostile bytes.
pub type Target = fn(&[u8]);

/// Every target with its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("bcd", bcd),
    ("config", config),
    ("fat", fat),
    ("gpt", gpt),
    ("host", host),
    ("manifest", manifest),
    ("ntfs", ntfs),
    ("parcel_index", parcel_index),
    ("parcel_manifest", parcel_manifest),
    ("orders", orders),
    ("pe", pe),
    ("probe", probe),
    ("recipe", recipe),
    ("smart", smart),
    ("units", units),
    ("wim_table", wim_table),
    ("wim_tree", wim_tree),
    ("worker", worker),
];

/// Reads the bytes as a boot configuration from media.
pub fn bcd(data: &[u8]) {
    let places = Places { disk: Uuid::max(), esp: Uuid::nil(), windows: Uuid::max() };
    let usable = bcd::Start::of(data);
    let _ = bcd::check(data, &places);
    let script = bcd::script(data, &places);
    assert_eq!(usable.is_ok(), script.is_ok());
    // The script must have no other commands for hivexsh.
    for line in script.iter().flat_map(|text| text.lines()) {
        let known = ["cd ", "add ", "setval 1", "Element", "hex:3:", "commit"];
        assert!(known.iter().any(|word| line.starts_with(word)) && line.is_ascii(), "{line}");
    }
}

/// Reads the bytes as what smartctl says of a drive.
pub fn smart(data: &[u8]) {
    let health = answers::health(data);
    assert_eq!(health.unknown.is_some(), health.is_silent(), "unknown, and yet known");
    assert!(health.temperature_celsius.is_none_or(|celsius| (1..=125).contains(&celsius)));
}

/// Reads the bytes as the configuration.
pub fn config(data: &[u8]) {
    let Ok(table) = String::from_utf8_lossy(data).parse::<toml::Table>() else { return };
    let Ok(config) = Config::from_table(table) else { return };
    for (size, sector) in [
        (0, SectorSize::B512),
        (64 << 30, SectorSize::B512),
        (20 << 40, SectorSize::B4096),
        (u64::MAX - 4095, SectorSize::B4096),
    ] {
        let geometry = Geometry { size: Bytes(size), sector };
        let _ = config.chosen_layout().least_drive(Bytes(size), sector);
        if let Ok(plan) = config.chosen_layout().plan(geometry) {
            check_plan(&plan);
        }
    }
}

/// Checks that partitions are in order, on whole mebibytes, and between the tables.
fn check_plan(plan: &Plan) {
    let sector = plan.geometry.sector;
    let mut at = Plan::primary_table(plan.geometry).0;
    for partition in &plan.partitions {
        let (start, size) = (partition.offset(sector), partition.size(sector));
        assert!(start.0 >= at && start.0.is_multiple_of(MIB.0) && size.0.is_multiple_of(MIB.0));
        at = start.0 + size.0;
    }
    assert!(at <= plan.geometry.size.0 - Plan::backup_table(plan.geometry).0);
}

/// Makes a file in memory that begins with `data`.
fn file(data: &[u8], size: Bytes) -> Option<File> {
    let kept = &data[..data.len().min(size.as_usize())];
    let file = rustix::fs::memfd_create("fuzz", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
    let file = File::from(file);
    file.set_len(size.0).and_then(|()| file.write_all_at(kept, 0)).ok()?;
    Some(file)
}

/// Makes a volume of `size` bytes that begins with `data`, a mebibyte into a file; checks that `read` finds no range
/// outside it.
fn volume(data: &[u8], size: Bytes, read: impl Fn(&mut Slice<'_>, &mut Vec<Range>) -> bool) {
    let mut whole = vec![0; MIB.as_usize()];
    whole.extend(&data[..data.len().min(size.as_usize())]);
    let Some(file) = file(&whole, Bytes(MIB.0 + size.0)) else { return };
    let mut ranges = Vec::new();
    if read(&mut Slice::new(&file, MIB, size), &mut ranges) {
        let within = Range::at(MIB, size);
        assert_eq!(ranges.iter().find(|range| !within.covers(**range)), None);
    }
}

/// Reads the bytes as the start of an EFI system partition.
pub fn fat(data: &[u8]) {
    volume(data, Bytes::mib(40), |slice, ranges| allocation::fat_allocated(slice, ranges).is_ok());
}

/// Reads the bytes as the start of an NTFS volume, as each of its records, as a name, and as the metadata of a WIM.
pub fn ntfs(data: &[u8]) {
    let _ = (Boot::parse(data), listed(data), root(data), security::table(data));
    for size in [1024, 4096] {
        let mut record = data[..data.len().min(size)].to_vec();
        record.resize(size, 0);
        let _ = Block::parse(&mut record.clone());
        if let Ok(record) = Record::parse(&mut record) {
            assert!(record.attributes().count() <= size);
        }
    }
    let units: Vec<u16> =
        data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    assert_eq!(text::of_utf16(data), text::of_units(units));
    let _ = text::of_wtf8(data);
    volume(data, Bytes::mib(2), |slice, ranges| {
        allocation::ntfs_allocated(slice, Role::Windows, ranges).is_ok()
    });
}

/// Reads the bytes as a drive's primary partition table, followed by its backup.
pub fn gpt(data: &[u8]) {
    let geometry = Geometry { size: Bytes(8 << 30), sector: SectorSize::B512 };
    let Ok(plan) = Layout::default().plan(geometry) else { return };
    let (head, tail) = (Plan::primary_table(geometry), Plan::backup_table(geometry));
    let mut both = data.to_vec();
    both.resize(head.as_usize() + tail.as_usize(), 0);
    let backup = both.split_off(head.as_usize());
    let mut tables = Tables { primary: both, backup };
    let own = Identity::placeholder(plan.partitions.len());
    let _ = gpt::check(&plan, &own, &tables);
    // Once more with right checksums: without them, parsing ends early.
    seal(&mut tables.primary, 512, 1024);
    let header = tables.backup.len() - 512;
    seal(&mut tables.backup, header, 0);
    let _ = gpt::check(&plan, &own, &tables);
}

/// Sets the checksums of a GPT header and of its 128 entries.
fn seal(table: &mut [u8], header: usize, entries: usize) {
    let sum = crc32fast::hash(&table[entries..entries + 128 * 128]);
    table[header + 88..header + 92].copy_from_slice(&sum.to_le_bytes());
    table[header + 16..header + 20].fill(0);
    let sum = crc32fast::hash(&table[header..header + GPT_HEADER_BYTES]);
    table[header + 16..header + 20].copy_from_slice(&sum.to_le_bytes());
}

/// Reads the bytes as the kernel's lists of mounts and swap.
pub fn host(data: &[u8]) {
    let _ = Host::at("/nonexistent".into()).read_lists(&String::from_utf8_lossy(data));
}

/// Reads the bytes as a master's manifest.
pub fn manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::parse(data) {
        check_plan(&manifest.plan);
        let _ = manifest.payload();
    }
}

/// Reads the bytes as the index of a parcel with a pack and a base, signed whatever it says.
pub fn parcel_index(data: &[u8]) {
    let file = |size_bytes| FileClaim { name: "a.wim".into(), sha256: Digest::of(b""), size_bytes };
    let Ok(product) = "p".parse() else { return };
    let entry = |data: &[u8]| data.try_into().map(u32::from_le_bytes).unwrap_or_default();
    let sizes = data.chunks_exact(48).map(|e| (e[4], u64::from(entry(&e[..4]))));
    let sum = |kind| Bytes(sizes.clone().filter(|(k, _)| kind == *k).map(|(_, s)| s).sum());
    let manifest = ParcelManifest {
        product,
        sequence: 1,
        version: None,
        created: jiff::Timestamp::UNIX_EPOCH,
        not_before: None,
        expires: None,
        offer: None,
        file: file(sum(0).saturating_add(sum(1))),
        guid: String::new(),
        images: 1,
        contents: Contents::default(),
        index: IndexClaim {
            sha256: Digest::of(data),
            pieces: Bytes::of(data.chunks_exact(48).len()).0,
        },
        packs: vec![PackClaim { size_bytes: sum(0) }],
        bases: vec![file(Bytes(1 << 40))],
        made_by: String::new(),
    };
    if let Ok(index) = Index::parse(data, &manifest) {
        assert_eq!(index.to_bytes(), data);
        let total: Bytes = index.pieces().iter().map(|piece| piece.length).sum();
        assert_eq!(total, manifest.file.size_bytes);
        assert_eq!(index.offsets().len(), index.pieces().len());
    }
}

/// Reads the bytes as the manifest of a parcel that nobody vouches for, and as a list of what a receiver has.
pub fn parcel_manifest(data: &[u8]) {
    let vouched = Envelope::parse(data).map_err(Distrust::from);
    if let Ok(vouched) = vouched.and_then(|envelope| Signers::default().judge(&envelope)) {
        assert!(model::parcel::is_media_name(&vouched.manifest.file.name) && vouched.by.is_empty());
    }
    let _ = (ParcelManifest::parse(data).is_ok(), Have::parse(data).is_ok());
}

/// Reads the bytes as a boot manager.
pub fn pe(data: &[u8]) {
    let _ = (pe::Program::parse(data), pe::certificates(data));
}

/// Reads the bytes as the output of blkid about a drive that somebody made.
pub fn probe(data: &[u8]) {
    let probed = signatures::parse(&String::from_utf8_lossy(data));
    let words = probed.words();
    assert!(!words.contains(char::is_control), "{words:?}");
}

/// Reads the bytes as a recipe of media.
pub fn recipe(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    match config::recipe::parse(Path::new("/recipes/x.toml"), text) {
        Ok(parts) => {
            assert!(
                parts.os.index > 0 && parts.os.wim.is_absolute() && parts.boot.wim.is_absolute()
            );
            assert!(parts.files.iter().all(|file| !file.to.is_empty()));
        }
        Err(error) => assert!(error.to_string().starts_with("/recipes/x.toml"), "{error}"),
    }
}

/// Reads the bytes as the text of a size and of a rate.
pub fn units(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(size) = text.parse::<Bytes>() {
        let _ = (size.to_string(), size.align_down(MIB.0));
        assert!(size.align_up(MIB.0) >= size);
        assert_eq!(size.0.to_string().parse::<Bytes>().ok(), Some(size));
    }
    if let Ok(rate) = text.parse::<ByteRate>() {
        let _ = rate.to_string();
    }
}

/// Reads the bytes as the header of a WIM, and what follows it as its table of blobs.
pub fn wim_table(data: &[u8]) {
    if let Ok(header) = Header::parse(data) {
        let bounds = wim_table::bounds(&header, &data[wim_table::HEADER..]);
        assert!(bounds.is_sorted() && !bounds.is_empty());
    }
}

/// Reads the bytes as the metadata of an image in media.
pub fn wim_tree(data: &[u8]) {
    if let Ok(tree) = Tree::parse(data) {
        assert!(tree.contents.iter().all(|found| found.place + 20 <= data.len()));
        let last = tree.entries.len() - 1;
        assert!(tree.entries[last].folder.is_none_or(|folder| folder < last));
        assert!(tree.path(last).starts_with('/'));
        let _ = (tree.contradictions(), tree.spreading());
    }
}

/// Reads the bytes as a worker's task, and as a line of a worker's output.
pub fn worker(data: &[u8]) {
    let _ = serde_json::from_slice::<Task<IntakeTask>>(data);
    let _ = serde_json::from_slice::<Task<Probe>>(data);
    if let Ok(Line::Done(value)) = serde_json::from_slice(data) {
        let _ = serde_json::from_value::<IntakeOutcome>(value);
    }
}

/// Orders, in both forms: whatever is accepted passes its own check, and is read again as it was.
fn orders(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let list = |_: &str| Ok("S1\nS2\n".to_owned());
    for form in [config::orders::Form::Toml, config::orders::Form::Csv] {
        let Ok(orders) = config::orders::parse(&text, form, &list) else { continue };
        for order in orders {
            assert_eq!(order.check(), Ok(()));
            let sent = serde_json::to_string(&order).unwrap_or_default();
            let read = serde_json::from_str::<model::orders::Order>(&sent).ok();
            assert_eq!(read, Some(order));
        }
    }
}
