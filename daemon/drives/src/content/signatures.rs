//! Asks libblkid what it knows on a drive, through the program `blkid` (util-linux): a process of its own, so that a drive
//! made to do harm, or one that hangs, harms no other.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use model::ranges::Range;

/// What libblkid knows in a range of a drive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// libblkid's name for the file system, RAID member or encrypted volume.
    pub kind: Option<String>,
    /// libblkid's name for the partition table.
    pub table: Option<String>,
    /// There are signatures of several kinds, which contradict each other.
    pub contradicts: bool,
}

impl Probed {
    /// Whether libblkid knows nothing there.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What it is, in words for an operator: "an NTFS volume".
    pub fn words(&self) -> String {
        if self.contradicts {
            return "signatures of several kinds".into();
        }
        match (self.kind.as_deref(), self.table.as_deref()) {
            (Some("ntfs"), _) => "an NTFS volume".into(),
            (Some("vfat" | "exfat"), _) => "a FAT volume".into(),
            (Some("xfs"), _) => "an XFS file system".into(),
            (Some(kind @ ("ext2" | "ext3" | "ext4")), _) => format!("an {kind} file system"),
            (Some("btrfs"), _) => "a btrfs file system".into(),
            (Some("crypto_LUKS"), _) => "a LUKS volume".into(),
            (Some("BitLocker"), _) => "a BitLocker volume".into(),
            (Some("LVM2_member"), _) => "an LVM volume".into(),
            (Some("linux_raid_member"), _) => "a member of a Linux RAID".into(),
            (Some("zfs_member"), _) => "a member of a ZFS pool".into(),
            (Some(kind), _) => format!("a signature of the kind {kind:?}"),
            (None, Some("gpt")) => "a partition table (GPT)".into(),
            (None, Some("dos" | "PMBR")) => "a partition table (MBR)".into(),
            (None, Some(table)) => format!("a partition table ({table})"),
            (None, None) => "data of an unknown kind".into(),
        }
    }
}

/// Exit code of `blkid -p` if it knows nothing there (blkid(8)).
const NOTHING: i32 = 2;
/// Exit code of `blkid -p` if what it knows contradicts itself.
const CONTRADICTION: i32 = 8;

pub(super) fn probe(device: &File, blkid: &Path, part: Option<Range>) -> io::Result<Probed> {
    let mut command = Command::new(blkid);
    command.env_clear().env("LC_ALL", "C").args(["-p", "-o", "export"]);
    if let Some(part) = part {
        let (offset, size) = (part.start.0.to_string(), part.length().0.to_string());
        command.args(["-O", &offset, "-S", &size]);
    }
    // It opens the device once more for itself, but by this name it cannot get another one.
    command.arg("/proc/self/fd/0").stdin(Stdio::from(device.try_clone()?));
    let output = command.output().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot run {}: {error}", blkid.display()))
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(parse(&String::from_utf8_lossy(&output.stdout))),
        Some(NOTHING) if said.trim().is_empty() => Ok(Probed::default()),
        Some(CONTRADICTION) => Ok(Probed { contradicts: true, ..Probed::default() }),
        _ => {
            let (program, status, said) = (blkid.display(), output.status, said.trim());
            Err(io::Error::other(format!("{program} failed ({status}): {said}")))
        }
    }
}

/// Reads lines of the form `TYPE=ntfs`. What comes after the `=` may be somebody's label; only two names count.
pub fn parse(text: &str) -> Probed {
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.replace(char::is_control, "?"))
    };
    let probed = Probed { kind: of("TYPE"), table: of("PTTYPE"), contradicts: false };
    // It knows something, but says nothing by which it could be told from nothing.
    Probed { contradicts: probed.is_nothing() && text.contains("USAGE="), ..probed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_are_read() {
        let text = "DEVNAME=/proc/self/fd/0\nLABEL=TYPE=x\nUUID=1\nTYPE=ntfs\nUSAGE=filesystem\n";
        let ntfs = parse(text);
        assert_eq!(ntfs.words(), "an NTFS volume");
        assert_eq!((ntfs.kind.as_deref(), ntfs.table), (Some("ntfs"), None));
        assert_eq!(parse("PTUUID=1\nPTTYPE=gpt\n").words(), "a partition table (GPT)");
        assert_eq!(parse("TYPE=nilfs2\n").words(), "a signature of the kind \"nilfs2\"");
        assert!(parse("").is_nothing() && parse("DEVNAME=/dev/x\nBLOCK_SIZE=512\n").is_nothing());
        assert!(!parse("USAGE=raid\n").is_nothing());
    }

    #[test]
    fn a_program_that_fails_is_no_answer() {
        let file = tempfile::tempfile().unwrap();
        let nothing = probe(&file, Path::new("/bin/false"), None);
        assert!(nothing.is_err(), "{nothing:?}");
        assert!(probe(&file, Path::new("/no/such/blkid"), None).is_err());
    }
}
