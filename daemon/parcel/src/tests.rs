//! The whole way of a parcel, with a WIM of noise.

use std::cell::Cell;
use std::fs;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use signing::{Envelope, SecretKey};
use tempfile::TempDir;

use super::{
    Folder, Have, HaveFile, Order, PackError, Packed, ReceiveError, Received, Receiver, Signer,
    Signers, Source, SourceError, Unsigned,
};
use model::parcel::{Described, INDEX, LARGEST_PIECE, MANIFEST, MANIFEST_TYPE, ParcelManifest};
use model::units::Bytes;

/// A WIM with blobs of these sizes, and a table of them; the bytes of each blob depend on its seed.
fn wim(blobs: &[(u64, usize)]) -> Vec<u8> {
    let (mut file, mut table) = (vec![0; 208], Vec::new());
    for (seed, size) in blobs {
        let mut noise = fastrand::Rng::with_seed(*seed);
        let offset = file.len();
        file.extend(std::iter::repeat_with(|| noise.u8(..)).take(*size));
        table.extend(resource(*size, offset));
        table.extend([0; 26]);
    }
    let (at, size) = (file.len(), table.len());
    file.extend(table);
    file[..8].copy_from_slice(b"MSWIM\0\0\0");
    (file[40], file[42], file[44]) = (1, 1, 1);
    file[48..72].copy_from_slice(&resource(size, at));
    file
}

fn resource(size: usize, offset: usize) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&u64::try_from(size).unwrap().to_le_bytes());
    bytes[8..16].copy_from_slice(&u64::try_from(offset).unwrap().to_le_bytes());
    bytes
}

/// Blobs of many sizes.
fn blobs(from: u64) -> Vec<(u64, usize)> {
    let mut random = fastrand::Rng::with_seed(from);
    (from..from + 60).map(|seed| (seed, random.usize(1..120_000))).collect()
}

/// Noise holds nothing that could be told.
fn pack(order: &Order<'_>) -> Result<Packed, PackError> {
    Unsigned::read(order, |_, _| ControlFlow::Continue(()))?.sign(Described::default())
}

struct Place {
    folder: TempDir,
    key: SecretKey,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inbox")).unwrap();
        Self { folder, key: SecretKey::generate().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, data: &[u8]) -> PathBuf {
        fs::write(self.path(name), data).unwrap();
        self.path(name)
    }

    fn pack(&self, file: &Path, have: &Have) -> Result<Packed, PackError> {
        pack(&self.order(file, have))
    }

    fn order<'a>(&'a self, file: &'a Path, have: &'a Have) -> Order<'a> {
        Order {
            file,
            keys: std::slice::from_ref(&self.key),
            product: "win11".parse().unwrap(),
            sequence: 7,
            version: None,
            not_before: None,
            expires: None,
            offer: None,
            against: have,
            to: self.folder.path(),
            most_per_pack: LARGEST_PIECE,
            now: jiff::Timestamp::UNIX_EPOCH,
            made_by: "test".into(),
        }
    }

    /// A parcel of its own folder, of this sequence.
    fn pack_as(&self, file: &Path, sequence: u64, folder: &str) -> Packed {
        let to = self.path(folder);
        fs::create_dir(&to).unwrap();
        let have = Have::default();
        let order = Order { sequence, to: &to, ..self.order(file, &have) };
        pack(&order).unwrap()
    }

    fn receive(&self, source: &dyn Source) -> Result<Received, ReceiveError> {
        let signer = Signer {
            name: "maker".into(),
            key: self.key.public(),
            products: Vec::new(),
            threshold: 1,
        };
        let inbox = self.path("inbox");
        Receiver { source, signers: &Signers::new(vec![signer]), inbox: &inbox }.run(|_, _| ())
    }

    /// What stands in the inbox, hidden things too.
    fn inbox(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("inbox")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A folder that fails after so many bytes, and counts them.
struct Failing {
    folder: Folder,
    left: Cell<u64>,
    given: Cell<u64>,
}

struct Cut<'a> {
    reader: Box<dyn Read + 'a>,
    of: &'a Failing,
}

impl Read for Cut<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.of.left.get();
        if left == 0 {
            return Err(io::Error::other("pulled"));
        }
        let most = buffer.len().min(usize::try_from(left).unwrap());
        let count = self.reader.read(&mut buffer[..most])?;
        let bytes = u64::try_from(count).unwrap();
        self.of.left.set(left - bytes);
        self.of.given.set(self.of.given.get() + bytes);
        Ok(count)
    }
}

impl Source for Failing {
    fn whole(&self, name: &str, most: Bytes) -> Result<Vec<u8>, SourceError> {
        self.folder.whole(name, most)
    }

    fn part(
        &self,
        name: &str,
        from: Bytes,
        length: Bytes,
    ) -> Result<Box<dyn Read + '_>, SourceError> {
        let reader = self.folder.part(name, from, length)?;
        Ok(Box::new(Cut { reader, of: self }))
    }
}

#[test]
fn what_is_packed_arrives() {
    let place = Place::new();
    let data = wim(&blobs(1));
    let packed = place.pack(&place.put("a.wim", &data), &Have::default()).unwrap();
    assert_eq!(packed.packed, Bytes::of(data.len()), "all of it");
    assert!(packed.manifest.packs.len() > 2, "{:?}", packed.manifest.packs);
    let received = place.receive(&Folder::new(&packed.folder)).unwrap();
    assert_eq!(received.loaded, Bytes::of(data.len()));
    assert_eq!(fs::read(&received.file).unwrap(), data);
    assert_eq!(place.inbox(), ["a.wim", "a.wim.manifest.json"]);
    let again = place.receive(&Folder::new(&packed.folder)).unwrap();
    assert_eq!((again.loaded, again.kept), (Bytes(0), Bytes::of(data.len())));
    assert!(matches!(
        place.pack(&place.path("a.wim"), &Have::default()),
        Err(PackError::Exists(_))
    ));
    // Another file of this name stays.
    fs::write(&received.file, "other").unwrap();
    let taken = place.receive(&Folder::new(&packed.folder)).unwrap_err();
    assert!(matches!(taken, ReceiveError::NameTaken { .. }), "{taken}");
    assert_eq!(fs::read(&received.file).unwrap(), b"other");
    // So does a link that leads nowhere, and no manifest is left beside it.
    for left in ["a.wim", "a.wim.manifest.json"] {
        fs::remove_file(place.path("inbox").join(left)).unwrap();
    }
    std::os::unix::fs::symlink("/nowhere", place.path("inbox").join("a.wim")).unwrap();
    let taken = place.receive(&Folder::new(&packed.folder)).unwrap_err();
    assert!(matches!(taken, ReceiveError::NameTaken { .. }), "{taken}");
    assert_eq!(place.inbox(), ["a.wim"]);
}

/// An older parcel of the same file, left in the inbox or sent once more, leaves the later manifest where it is.
#[test]
fn an_older_manifest_takes_no_later_one_s_place() {
    let place = Place::new();
    let file = place.put("a.wim", &wim(&blobs(1)));
    let older = place.pack_as(&file, 5, "older");
    let later = place.pack_as(&file, 9, "later");
    place.receive(&Folder::new(&older.folder)).unwrap();
    let note = || fs::read(place.path("inbox").join("a.wim.manifest.json")).unwrap();
    let first = note();
    place.receive(&Folder::new(&later.folder)).unwrap();
    let second = note();
    assert_ne!(first, second);
    let error = place.receive(&Folder::new(&older.folder)).unwrap_err();
    assert!(matches!(error, ReceiveError::Older { .. }), "{error}");
    assert_eq!(note(), second);
    assert_eq!(place.inbox(), ["a.wim", "a.wim.manifest.json"], "nothing else is left");
    place.receive(&Folder::new(&later.folder)).unwrap();
    // Nor does one of the same sequence that was signed before, or one of another product; who signs it once more does.
    let signed = |order: Order<'_>, folder: &str| {
        let to = place.path(folder);
        fs::create_dir(&to).unwrap();
        pack(&Order { to: &to, ..order }).unwrap()
    };
    let have = Have::default();
    let order = || Order { sequence: 9, ..place.order(&file, &have) };
    let before = jiff::Timestamp::UNIX_EPOCH - jiff::SignedDuration::from_secs(1);
    let earlier = signed(Order { now: before, ..order() }, "earlier");
    let error = place.receive(&Folder::new(&earlier.folder)).unwrap_err();
    assert!(matches!(error, ReceiveError::Older { .. }), "{error}");
    let other = signed(Order { product: "other".parse().unwrap(), ..order() }, "other");
    let error = place.receive(&Folder::new(&other.folder)).unwrap_err();
    assert!(matches!(error, ReceiveError::OtherProduct { .. }), "{error}");
    assert_eq!(note(), second);
    crate::sign(&later.folder, &[SecretKey::generate().unwrap()]).unwrap();
    place.receive(&Folder::new(&later.folder)).unwrap();
    assert_ne!(note(), second);
    // What is no manifest is in nobody's way.
    fs::write(place.path("inbox").join("a.wim.manifest.json"), "{}").unwrap();
    place.receive(&Folder::new(&older.folder)).unwrap();
    assert_eq!(note(), first);
}

#[test]
fn a_delta_brings_what_is_new_and_no_more() {
    let place = Place::new();
    let old = blobs(1);
    let mut new: Vec<(u64, usize)> = old.clone();
    // Some blobs change, all others only move.
    let mut changed = 0;
    for at in [3, 20, 41] {
        new[at] = (1000 + u64::try_from(at).unwrap(), new[at].1 + 77);
        changed += new[at].1;
    }
    let base = place.put("inbox/old.wim", &wim(&old));
    let have = Have { media: vec![HaveFile::of(&base, |_, _| ()).unwrap()] };
    let have = Have::parse(&serde_json::to_vec(&have).unwrap()).unwrap();
    let data = wim(&new);
    let packed = place.pack(&place.put("new.wim", &data), &have).unwrap();
    let rest = packed.packed.0 - u64::try_from(changed).unwrap();
    assert!(rest < 10_000, "header and table: {rest}");
    let received = place.receive(&Folder::new(&packed.folder)).unwrap();
    assert_eq!(fs::read(&received.file).unwrap(), data);
    assert_eq!(received.loaded, packed.packed);
    assert_eq!(received.copied.0 + received.loaded.0, u64::try_from(data.len()).unwrap());
    // Without the base, or with one that was changed, its digest is told, and what came is kept.
    fs::remove_file(&received.file).unwrap();
    let changes: [fn(&mut Vec<u8>); 2] =
        [|data| data.truncate(data.len() - 1), |data| data[5000] ^= 1];
    for change in changes {
        let mut other = wim(&old);
        change(&mut other);
        fs::write(&base, other).unwrap();
        let missing = place.receive(&Folder::new(&packed.folder)).unwrap_err();
        let ReceiveError::BaseMissing { name, sha256, .. } = &missing else { panic!("{missing}") };
        assert_eq!((&**name, *sha256), ("old.wim", have.media[0].sha256));
    }
    fs::write(&base, wim(&old)).unwrap();
    let received = place.receive(&Folder::new(&packed.folder)).unwrap();
    assert_eq!((received.loaded, fs::read(&received.file).unwrap()), (Bytes(0), data));
}

/// Cut again and again, and nothing is asked for twice but the piece that was cut.
#[test]
fn a_transfer_goes_on_where_it_was_cut() {
    let place = Place::new();
    let data = wim(&blobs(1));
    let packed = place.pack(&place.put("a.wim", &data), &Have::default()).unwrap();
    let (mut given, mut cuts) = (0, 0);
    let received = loop {
        let source = Failing {
            folder: Folder::new(&packed.folder),
            left: Cell::new(1_300_000),
            given: Cell::new(0),
        };
        let received = place.receive(&source);
        given += source.given.get();
        match received {
            Ok(received) => break received,
            Err(ReceiveError::Incomplete(incomplete)) => {
                assert!(incomplete.cause.contains("pulled"), "{incomplete:?}");
                assert_eq!(place.inbox().len(), 1, "{:?}", place.inbox());
                cuts += 1;
            }
            Err(other) => panic!("{other}"),
        }
        assert!(cuts < 20);
    };
    assert!(cuts > 1 && received.kept > Bytes(0), "{received:?}");
    assert!(given < u64::try_from(data.len()).unwrap() + cuts * LARGEST_PIECE.0, "{given}");
    assert_eq!(fs::read(&received.file).unwrap(), data);
}

/// Packs may come in any order, each on a stick of its own.
#[test]
fn packs_come_in_any_order() {
    let place = Place::new();
    let data = wim(&blobs(1));
    let packed = place.pack(&place.put("a.wim", &data), &Have::default()).unwrap();
    let stick = place.path("stick");
    fs::create_dir(&stick).unwrap();
    for part in [MANIFEST, INDEX] {
        fs::copy(packed.folder.join(part), stick.join(part)).unwrap();
    }
    let count = packed.manifest.packs.len();
    for number in (0..count).rev() {
        let name = model::parcel::pack(number);
        fs::copy(packed.folder.join(&name), stick.join(&name)).unwrap();
        let received = place.receive(&Folder::new(&stick));
        assert_eq!(received.is_ok(), number == 0, "{received:?}");
        fs::remove_file(stick.join(&name)).unwrap();
    }
    assert_eq!(fs::read(place.path("inbox/a.wim")).unwrap(), data);
}

/// What an earlier attempt has left is not believed.
#[test]
fn what_was_kept_is_verified_again() {
    let place = Place::new();
    let data = wim(&blobs(1));
    let packed = place.pack(&place.put("a.wim", &data), &Have::default()).unwrap();
    let source = Failing {
        folder: Folder::new(&packed.folder),
        left: Cell::new(2_000_000),
        given: Cell::new(0),
    };
    place.receive(&source).unwrap_err();
    let user = rustix::process::geteuid().as_raw();
    let kept = place.path(&format!("inbox/.receiving-{user}/{}/file", packed.manifest.file.sha256));
    let mut left = fs::read(&kept).unwrap();
    left[1_000_000] ^= 1;
    fs::write(&kept, left).unwrap();
    let received = place.receive(&Folder::new(&packed.folder)).unwrap();
    assert_eq!(fs::read(&received.file).unwrap(), data);
}

/// A link where the folder should be leads nowhere.
#[test]
fn nobody_leads_what_is_written_elsewhere() {
    let place = Place::new();
    let packed = place.pack(&place.put("a.wim", &wim(&blobs(1))), &Have::default()).unwrap();
    let user = rustix::process::geteuid().as_raw();
    fs::create_dir(place.path("elsewhere")).unwrap();
    let trap = place.path(&format!("inbox/.receiving-{user}"));
    std::os::unix::fs::symlink(place.path("elsewhere"), &trap).unwrap();
    let refused = place.receive(&Folder::new(&packed.folder)).unwrap_err();
    assert!(matches!(refused, ReceiveError::Foreign(_)), "{refused}");
    assert_eq!(fs::read_dir(place.path("elsewhere")).unwrap().count(), 0);
}

/// A maker who signs a wrong digest is caught at the end.
#[test]
fn right_pieces_of_a_wrong_file_are_not_delivered() {
    let place = Place::new();
    let packed = place.pack(&place.put("a.wim", &wim(&blobs(1))), &Have::default()).unwrap();
    let mut manifest: ParcelManifest = packed.manifest;
    manifest.file.sha256 = manifest.index.sha256;
    let payload = serde_json::to_vec(&manifest).unwrap();
    let envelope = Envelope::sign(MANIFEST_TYPE, &payload, [&place.key]).to_bytes();
    fs::write(packed.folder.join(MANIFEST), envelope).unwrap();
    let wrong = place.receive(&Folder::new(&packed.folder)).unwrap_err();
    assert!(matches!(wrong, ReceiveError::Contradiction), "{wrong}");
    assert!(place.inbox().is_empty());
}

#[test]
fn what_is_no_whole_wim_is_not_packed() {
    let place = Place::new();
    let mut part = wim(&blobs(1));
    part[42] = 2;
    let told = |name: &str, data: &[u8]| {
        place.pack(&place.put(name, data), &Have::default()).unwrap_err().to_string()
    };
    assert!(matches!(
        place.pack(&place.put("part.wim", &part), &Have::default()),
        Err(PackError::File { source: crate::WimError::Part(1, 2), .. })
    ));
    told("short.wim", b"MSWIM");
    told("text.wim", &[b'x'; 1000]);
    assert!(told("a.swm", &wim(&blobs(1))).contains("a.swm"));
    assert!(
        !place
            .folder
            .path()
            .read_dir()
            .unwrap()
            .any(|entry| { entry.unwrap().file_name().to_string_lossy().ends_with(".parcel") })
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// One flipped byte anywhere, or a part that is cut: nothing is delivered, and the part is named.
    #[test]
    fn no_change_goes_unnoticed(part in 0..4_usize, at in any::<prop::sample::Index>(), cut in any::<bool>()) {
        let place = Place::new();
        let packed = place.pack(&place.put("a.wim", &wim(&blobs(1))), &Have::default()).unwrap();
        let name = [MANIFEST, INDEX, "pack.000", "pack.002"][part];
        let path = packed.folder.join(name);
        let mut data = fs::read(&path).unwrap();
        let at = at.index(data.len() - 1);
        if cut { data.truncate(at) } else { data[at] ^= 0x10 }
        fs::write(&path, data).unwrap();
        let refused = place.receive(&Folder::new(&packed.folder)).unwrap_err();
        let told = model::failure::chain(&refused);
        let named = if part == 0 { "manifest" } else { name };
        prop_assert!(told.contains(named), "{}: {}", name, told);
        prop_assert!(place.inbox().iter().all(|name| name.starts_with('.')));
    }
}
