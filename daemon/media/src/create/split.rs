//! Splitting media into parts that a FAT32 stick can hold.

use std::fs::{self, File};
use std::path::Path;

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
        (1..=source.info.images).try_for_each(|index| source.verify(index))?;
        let mut wim = source.again(Meter::new("writing").report())?;
        let first = self.folder.join(format!("{}.swm", self.stem));
        wim.split(&first, self.size).map_err(|error| failed(&self.folder, &error))?;
        judge(&self)
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
        // A part has a header, a lookup table and the XML besides its share.
        if size > task.size.saturating_add(Bytes::mib(64)) || size.0 > FAT32 && task.size.0 <= FAT32
        {
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

/// The largest file on FAT32.
const FAT32: u64 = (4 << 30) - 1;

/// Waits until a file is on the disk.
pub(super) fn sync(path: &Path) -> Result<(), Failure> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| {
        let detail = format!("cannot write {}: {}", path.display(), chain(&error));
        Failure::new(Code::CreateFailed, detail)
    })
}
