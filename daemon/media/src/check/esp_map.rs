//! Which file lies where on an EFI system partition. The library for FAT does not tell, so what it reads is looked at.

use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use fatfs::{Dir, FileSystem, FsOptions};
use formats::fat32::Fat32;
use model::ranges::Range;
use model::units::Bytes;

use super::drive::Stream;
use super::esp::DEEPEST;
use crate::compare::file_map::{FileMap, Keeper, Owner};

/// The places that were read since somebody asked.
type Places = Rc<RefCell<Vec<Range>>>;

/// A volume that notes where it is read.
struct Noting {
    volume: Box<dyn Stream>,
    at: u64,
    places: Places,
}

impl Read for Noting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.volume.read(buffer)?;
        self.places.borrow_mut().push(Range::at(Bytes(self.at), Bytes::of(count)));
        self.at += Bytes::of(count).0;
        Ok(count)
    }
}

impl Write for Noting {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.volume.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.volume.flush()
    }
}

impl Seek for Noting {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.volume.seek(to)?;
        Ok(self.at)
    }
}

/// The map of an EFI system partition in this range of its drive.
///
/// # Errors
/// If it cannot be read, or is no FAT32 volume.
pub fn of_esp(mut volume: Box<dyn Stream>, range: Range) -> io::Result<FileMap> {
    let mut boot = [0; 512];
    volume.read_exact(&mut boot)?;
    volume.seek(SeekFrom::Start(0))?;
    let fat = Fat32::parse(&boot, range.length())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let places = Places::default();
    let noting = Noting { volume, at: 0, places: Rc::clone(&places) };
    let system = FileSystem::new(noting, FsOptions::new())?;
    let mut map = FileMap::default();
    let clusters = |read: &Range| {
        // Tables lie before the clusters.
        let from = read.start.0.checked_sub(fat.data)? / fat.cluster * fat.cluster;
        let to = (read.end.0 - fat.data).next_multiple_of(fat.cluster);
        let place = |at| range.start.saturating_add(Bytes(fat.data + at));
        Some(Range::new(place(from), place(to)))
    };
    let mut add = |path: String| {
        let owner = Owner { path, record: None, keeper: Keeper::People };
        let read = std::mem::take(&mut *places.borrow_mut());
        map.add(owner, read.iter().filter_map(clusters).collect());
    };
    walk(&system.root_dir(), "ESP:", DEEPEST, &places, &mut add)?;
    Ok(map.sorted())
}

fn walk(
    folder: &Dir<'_, Noting>,
    at: &str,
    deepest: usize,
    places: &Places,
    add: &mut dyn FnMut(String),
) -> io::Result<()> {
    let Some(next) = deepest.checked_sub(1) else { return Ok(()) };
    places.borrow_mut().clear();
    let entries = folder.iter().collect::<io::Result<Vec<_>>>()?;
    add(format!("{at}/"));
    for entry in entries {
        let name = entry.file_name();
        if name == "." || name == ".." {
            continue;
        }
        let path = format!("{at}/{name}");
        if entry.is_dir() {
            walk(&entry.to_dir(), &path, next, places, add)?;
            continue;
        }
        places.borrow_mut().clear();
        io::copy(&mut entry.to_file(), &mut io::sink())?;
        add(path);
    }
    Ok(())
}
