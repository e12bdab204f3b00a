//! Where exactly a chunk on a drive differs from what was written there.

use std::io;

use masters::layers::{Image, ReadAt as _};
use model::digest::Digest;
use model::identity::{Fixup, Identity, stamp};
use model::manifest::{Chunk, Manifest};
use model::ranges::Range;
use model::units::Bytes;

use super::seen::Drive;

/// What is wrong with a range of a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Its bytes are others.
    Bytes,
    /// Something else of the record's identity should stand there.
    Identity(Fixup),
    /// It cannot be read.
    Unreadable(String),
    /// It was wrong when it was first read, and right afterwards.
    Unsteady,
}

/// A range of a drive that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) range: Range,
    pub(super) wrong: Wrong,
}

/// What differences are told by: no drive has smaller sectors.
const SECTOR: usize = 512;
/// What is read at a time of a chunk that cannot be read as a whole.
const PIECE: usize = 64 << 10;

/// Reads a chunk that seems to differ once more, and finds out where.
///
/// # Errors
/// If the drive is gone.
pub(super) fn refined(
    drive: &Drive,
    manifest: &Manifest,
    identity: &Identity,
    chunk: &Chunk,
    master: Option<&Image>,
) -> io::Result<Vec<Difference>> {
    let mut data = vec![0; chunk.length.as_usize()];
    let mut lost = Vec::new();
    if let Err(error) = drive.fill(&mut data, chunk.offset) {
        lost = in_pieces(drive, chunk.range(), &mut data)?;
        if lost.is_empty() {
            lost.push(unreadable(chunk.range(), &error));
        }
    }
    let mut should = vec![0; data.len()];
    let should = master
        .filter(|master| master.fill(&mut should, chunk.offset).is_ok())
        // A master that has rotted must not speak against a drive.
        .filter(|_| Digest::of(&should) == chunk.sha256)
        .map(|_| should.clone());
    match (&should, lost.first()) {
        // What can be read of it cannot be compared either.
        (None, Some(Difference { wrong, .. })) => {
            Ok(vec![Difference { range: chunk.range(), wrong: wrong.clone() }])
        }
        _ => {
            let found = compared(manifest, identity, chunk, &data, should, lost);
            Ok(found.unwrap_or_else(|| {
                vec![Difference { range: chunk.range(), wrong: Wrong::Unsteady }]
            }))
        }
    }
}

/// Reads as much of a range as can be read, and returns the pieces that cannot.
fn in_pieces(drive: &Drive, range: Range, data: &mut [u8]) -> io::Result<Vec<Difference>> {
    let mut lost = Vec::new();
    let mut at = range.start;
    for piece in data.chunks_mut(PIECE) {
        let own = Range::at(at, Bytes::of(piece.len()));
        if let Err(error) = drive.fill(piece, at) {
            if drive.is_gone() {
                return Err(error);
            }
            lost.push(unreadable(own, &error));
        }
        at = own.end;
    }
    Ok(lost)
}

fn unreadable(range: Range, error: &io::Error) -> Difference {
    Difference { range, wrong: Wrong::Unreadable(error.to_string()) }
}

/// How the bytes of a chunk differ from the master's, or from its digest; `None` if they do not. What is `lost` could not be
/// read, and is not compared.
fn compared(
    manifest: &Manifest,
    identity: &Identity,
    chunk: &Chunk,
    data: &[u8],
    master: Option<Vec<u8>>,
    lost: Vec<Difference>,
) -> Option<Vec<Difference>> {
    // A list of sites that does not fit was refused when the master was made.
    let stamped = |bytes: &[u8], identity: &Identity| {
        let mut bytes = bytes.to_vec();
        let _ = stamp(&mut bytes, chunk.offset, &manifest.sites, identity);
        bytes
    };
    // Whatever identity stands there: is it all that differs?
    let placeholder = Identity::placeholder(identity.partitions.len());
    let right = master.or_else(|| {
        let bare = stamped(data, &placeholder);
        (Digest::of(&bare) == chunk.sha256).then_some(bare)
    });
    let Some(right) = right else {
        return Some(vec![Difference { range: chunk.range(), wrong: Wrong::Bytes }]);
    };
    let right = stamped(&right, identity);
    let within = |range: Range| {
        let at = |offset: Bytes| offset.saturating_sub(chunk.offset).as_usize();
        at(range.start)..at(range.end)
    };
    let own = manifest.sites.iter().filter(|site| chunk.range().covers(site.range()));
    let mut rest = data.to_vec();
    for Difference { range, .. } in &lost {
        let place = within(*range);
        rest[place.clone()].copy_from_slice(&right[place]);
    }
    let mut found = lost;
    for site in own {
        let place = within(site.range());
        if rest[place.clone()] != right[place.clone()] {
            found.push(Difference { range: site.range(), wrong: Wrong::Identity(site.fixup) });
        }
        rest[place.clone()].copy_from_slice(&right[place]);
    }
    let mut last: Option<Range> = None;
    let sectors = rest.chunks(SECTOR).zip(right.chunks(SECTOR)).enumerate();
    for (number, (is, should)) in sectors {
        if is == should {
            continue;
        }
        let start = chunk.offset + Bytes::of(number * SECTOR);
        let range = Range::at(start, Bytes::of(is.len()));
        match &mut last {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => found.extend(last.replace(range).map(bytes)),
        }
    }
    found.extend(last.map(bytes));
    found.sort_by_key(|difference| difference.range);
    (!found.is_empty()).then_some(found)
}

fn bytes(range: Range) -> Difference {
    Difference { range, wrong: Wrong::Bytes }
}

#[cfg(test)]
mod tests {
    use model::drive::Geometry;
    use model::identity::Site;
    use model::layout::Layout;
    use model::manifest::{FORMAT, Recipe, Stage, root};
    use model::units::SectorSize;

    use super::*;

    const SITE: Site = Site { offset: Bytes(1000), length: Bytes(16), fixup: Fixup::DiskGuid };

    /// A manifest of one chunk of 4 KiB, at 0.
    fn manifest(bytes: &[u8]) -> Manifest {
        let geometry = Geometry { size: Bytes(8 << 30), sector: SectorSize::B512 };
        let layout = Layout::default();
        let (plan, media_sha256) = (layout.plan(geometry).unwrap(), Digest([0; 32]));
        let recipe = Recipe { media_name: "m".into(), media_sha256, image: 1, layout, geometry };
        let length = Bytes::of(bytes.len());
        let sha256 = Digest::of(bytes);
        let chunks = vec![Chunk { offset: Bytes(0), length, sha256, stage: Stage::Body }];
        Manifest {
            format: FORMAT,
            id: recipe.id(),
            recipe,
            plan,
            root_sha256: root(&chunks),
            seal_sha256: sha256,
            chunks,
            sites: vec![SITE],
            telltales: Vec::new(),
            pressed: jiff::Timestamp::UNIX_EPOCH,
            warnings: Vec::new(),
            boot_programs: Vec::new(),
            base: None,
        }
    }

    #[test]
    fn differences_are_told_by_the_sector_and_the_site_or_the_chunk() {
        let mut bare = vec![7; 4096];
        let site = [SITE];
        stamp(&mut bare, Bytes(0), &site, &Identity::placeholder(1)).unwrap();
        let manifest = manifest(&bare);
        let chunk = &manifest.chunks[0];
        let (own, other) = (Identity::random(1), Identity::random(1));
        let given = |identity: &Identity| {
            let mut data = bare.clone();
            stamp(&mut data, Bytes(0), &site, identity).unwrap();
            data
        };
        let by = |data: &[u8], master: Option<Vec<u8>>, lost| {
            compared(&manifest, &own, chunk, data, master, lost)
        };
        let master = || Some(bare.clone());
        assert_eq!(by(&given(&own), master(), Vec::new()), None);
        assert_eq!(by(&given(&own), None, Vec::new()), None);
        let identity = Difference { range: SITE.range(), wrong: Wrong::Identity(Fixup::DiskGuid) };
        // The master itself, without any identity, is no drive of ours.
        for data in [given(&other), bare.clone()] {
            assert_eq!(by(&data, master(), Vec::new()), Some(vec![identity.clone()]));
            assert_eq!(by(&data, None, Vec::new()), Some(vec![identity.clone()]));
        }
        let mut data = given(&own);
        (data[511], data[512], data[4095]) = (0, 0, 0);
        let ranges = [Range::new(Bytes(0), Bytes(1024)), Range::new(Bytes(3584), Bytes(4096))];
        assert_eq!(by(&data, master(), Vec::new()), Some(ranges.map(bytes).to_vec()));
        assert_eq!(by(&data, None, Vec::new()), Some(vec![bytes(chunk.range())]));
        let lost = unreadable(Range::new(Bytes(0), Bytes(2048)), &io::ErrorKind::Other.into());
        let found = by(&data, master(), vec![lost.clone()]);
        assert_eq!(found, Some(vec![lost, bytes(ranges[1])]));
    }
}
