//! How much room media takes while it is made, and whether it is there.

use std::path::Path;

use model::code::FailureCode as Code;
use model::failure::Failure;
use model::units::Bytes;

/// The magic number of FAT in statfs(2).
const FAT: i64 = 0x4d44;
/// The largest file on FAT32.
const FAT32: Bytes = Bytes((4 << 30) - 1);
/// For lookup table, XML, integrity table and the file system's own.
const SPARE: Bytes = Bytes::mib(16);

/// What is written, at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// The media itself.
    pub(super) media: Bytes,
    /// What is there beside it for a while.
    pub(super) scratch: Bytes,
}

impl Room {
    /// All of it.
    pub(super) fn whole(self) -> Bytes {
        self.media.saturating_add(self.scratch).saturating_add(SPARE)
    }

    /// Fails, with figures, if so much is not free in a folder.
    pub(super) fn check(self, folder: &Path) -> Result<(), Failure> {
        let shown = folder.parent().unwrap_or(folder).display();
        let kind = rustix::fs::statfs(folder).map(|about| about.f_type);
        if kind == Ok(FAT) && self.media > FAT32 {
            let detail = format!(
                "the media needs up to {}, and FAT in {shown} takes no file of 4 GiB",
                self.media
            );
            let hint =
                "write it elsewhere, and bring it to the stick with `prestagectl media split`";
            return Err(Failure::new(Code::NoRoom, detail).with_hint(hint));
        }
        let (needed, free) = (self.whole(), free(folder).unwrap_or(Bytes(u64::MAX)));
        if needed <= free {
            return Ok(());
        }
        let detail =
            format!("the media needs up to {needed} while it is made, and {shown} has {free} free");
        Err(Failure::new(Code::NoRoom, detail))
    }
}

/// What is free in a folder; `None` if that cannot be found out.
pub(super) fn free(folder: &Path) -> Option<Bytes> {
    let about = rustix::fs::statvfs(folder).ok()?;
    Some(Bytes(about.f_bavail.saturating_mul(about.f_frsize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_told_in_figures() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Room::default().check(folder.path()), Ok(()));
        let vast = Room { media: Bytes(1 << 60), scratch: Bytes(1 << 60) };
        let failure = vast.check(folder.path()).unwrap_err();
        assert_eq!(failure.code, Code::NoRoom);
        assert!(
            failure.detail.contains("needs up to") && failure.detail.contains("free"),
            "{failure}"
        );
    }
}
