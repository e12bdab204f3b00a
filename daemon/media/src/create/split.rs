//! Splitting media into parts that a FAT32 stick can hold.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use formats::wim_table::{HEADER, Header};
use model::code::FailureCode as Code;
use model::composition::{Parts, Split};
use model::failure::{Failure, chain};
use model::units::Bytes;

use super::sources::Source;
use super::{Meter, failed};
use crate::worker::domain::Reach;
use crate::worker::{Given, Work};

impl Work for Split {
    const NAME: &'static str = "split";
    type Output = Parts;

    fn reach(&self) -> Reach {
        Reach { write: vec![self.folder.clone()], ..Reach::to_read([self.wim.as_path()]) }
    }

    fn perform(self, _: Given) -> Result<Parts, Failure> {
        let mut source = Source::open(&self.wim, Meter::new("checking").report())?;
        if source.info.parts > 1 {
            let detail = format!("{} is a split set already", self.wim.display());
            return Err(Failure::new(Code::SourceDamaged, detail).with_hint("name a whole WIM"));
        }
        let share = share(&self)?;
        (1..=source.info.images).try_for_each(|index| source.verify(index))?;
        let mut wim = source.again(Meter::new("writing").report())?;
        let first = self.folder.join(format!("{}.swm", self.stem));
        wim.split(&first, share).map_err(|error| failed(&self.folder, &error))?;
        judge(&self)
    }
}

/// How many bytes of files a part may hold, so that the part as a whole is no larger than asked for: libwim counts only
/// them. Besides, each part has a header, the XML, a table with an entry for each of its files, and digests for its
/// integrity.
///
/// # Errors
/// [`Failure`] if nothing would be left.
fn share(task: &Split) -> Result<Bytes, Failure> {
    let mut start = [0; HEADER];
    let read = File::open(&task.wim).and_then(|mut wim| wim.read_exact(&mut start));
    let header = read.ok().and_then(|()| Header::parse(&start).ok()).ok_or_else(|| {
        let detail = format!("{} has no header of a WIM", task.wim.display());
        Failure::new(Code::SourceDamaged, detail)
    })?;
    // The integrity table has 20 bytes for each 10 MiB, and the XML gets some digits more.
    let integrity = Bytes(task.size.0 / (10 << 20) * 20 + 64);
    let beside = header.table.size + header.others[0].size + integrity + Bytes(4096);
    match task.size.0.checked_sub(beside.0) {
        Some(share) if share > 0 => Ok(Bytes(share)),
        _ => {
            let detail = format!(
                "parts of {} would hold no file: the table of this media alone takes {beside}",
                task.size
            );
            Err(Failure::new(Code::CreateFailed, detail).with_hint("use larger parts"))
        }
    }
}

/// Counts and checks the parts that were written.
fn judge(task: &Split) -> Result<Parts, Failure> {
    let mut files = Vec::new();
    let mut size_bytes = Bytes(0);
    for number in 1_u32.. {
        let number = if number == 1 { String::new() } else { number.to_string() };
        let name = format!("{}{number}.swm", task.stem);
        let path = task.folder.join(&name);
        let Ok(about) = fs::metadata(&path) else { break };
        let size = Bytes(about.len());
        if size > task.size {
            let detail = format!(
                "part {name} would have {size}: a single file in the media is too large for parts of {}",
                task.size
            );
            let failure = Failure::new(Code::CreateFailed, detail);
            return Err(failure.with_hint("use larger parts, and a stick with exFAT or NTFS"));
        }
        sync(&path)?;
        size_bytes += size;
        files.push(name);
    }
    let first = task.folder.join(&files[0]);
    let mut whole = Source::open(&first, Meter::new("verifying").report())?;
    (1..=whole.info.images).try_for_each(|index| whole.verify(index))?;
    Ok(Parts { files, size_bytes })
}

/// Waits until a file is on the disk.
pub(super) fn sync(path: &Path) -> Result<(), Failure> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| {
        let detail = format!("cannot write {}: {}", path.display(), chain(&error));
        Failure::new(Code::CreateFailed, detail)
    })
}
