//! What to do about a worker, a press or a store that has failed.

use super::{Advice, Explained};
use crate::code::FailureCode;

const MADE_OUTSIDE: &str = "Nothing: media is made away from the rack. Tell the engineer.";
const DRIVE_IS_FINE: &str = "Tell the engineer. Nothing is wrong with the drive.";

impl Explained for FailureCode {
    fn advice(self) -> Advice {
        match self {
            Self::MediaChanged => Advice {
                now: "leave media in the inbox alone while it is used; it is verified again by itself",
                operator: "Wait until the media is verified again.",
                engineer: "Copy media under another name and rename it, so that nobody meets it half written.",
            },
            Self::MediaUnreadable => Advice {
                now: "make file and folders readable to the user in `tools.user`, then `media verify NAME`",
                operator: DRIVE_IS_FINE,
                engineer: "The detail has the cause: permissions, or the file system that the media lies on.",
            },
            Self::WimDamaged => Advice {
                now: "copy the media again, and compare the checksums",
                operator: DRIVE_IS_FINE,
                engineer: "The media was sound at intake, so the file system below the inbox is in doubt.",
            },
            Self::MediaInvalid => Advice {
                now: "see `prestagectl media show NAME` for what to mend",
                operator: DRIVE_IS_FINE,
                engineer: "The boot files cannot be laid out as the layout asks.",
            },
            Self::VolumeFull => Advice {
                now: "use larger drives, or make the other partitions in `[[layout]]` smaller",
                operator: "Use a drive with the capacity that the order asks for.",
                engineer: "The media's content does not fit the Windows volume of drives of this size.",
            },
            Self::ImageTooLarge => Advice {
                now: "put the store on XFS or btrfs, or use smaller drives",
                operator: DRIVE_IS_FINE,
                engineer: "A master is a file as long as the drive; ext4 ends files at 16 TiB.",
            },
            Self::StoreFull => Advice {
                now: "make room on the disk of `store.path`",
                operator: DRIVE_IS_FINE,
                engineer: "`prestagectl master list` shows what masters take, `master remove ID` removes one. Lower \
                    `store.budget` so that the station makes room by itself.",
            },
            Self::StoreBudget => Advice {
                now: "raise `store.budget`, or remove a master with `prestagectl master remove ID`",
                operator: DRIVE_IS_FINE,
                engineer: "Masters in use are not removed for the budget; the new one does not fit beside them.",
            },
            Self::StoreError => Advice {
                now: "look at the disk of `store.path` and its permissions",
                operator: DRIVE_IS_FINE,
                engineer: "The detail has the system's error. `dmesg` tells of a failing disk.",
            },
            Self::MasterDamaged => Advice {
                now: "nothing: the master is pressed anew; if it happens again, replace the store's disk",
                operator: DRIVE_IS_FINE,
                engineer: "A file in the store changed or rotted after it was pressed. Suspect the disk, then memory.",
            },
            Self::ToolMissing => Advice {
                now: "install the program that the detail names; `prestaged --check` finds all of them",
                operator: DRIVE_IS_FINE,
                engineer: "ntfs-3g, dosfstools, mtools, libhivex-bin and util-linux have the programs; `tools.search` \
                    says where they are looked for.",
            },
            Self::PressFailed => Advice {
                now: "`prestagectl retry DRIVE` presses once more; the log has all of the program's output",
                operator: DRIVE_IS_FINE,
                engineer: "The detail has the step and what was said. A result that differs from the media is never \
                    used.",
            },
            Self::Cancelled => Advice {
                now: "`prestagectl master press`, or a drive that needs it, begins it again",
                operator: "Somebody cancelled the press on purpose.",
                engineer: "A press ends when its master is removed, its drive stopped, or its media taken away.",
            },
            Self::ReadError => Advice {
                now: "set the drive aside; if others fail in the same bay, look at the bay",
                operator: "Set the drive aside as defective. If the next drive fails in the same bay, tell the engineer.",
                engineer: "`dmesg` and `smartctl -a DEVICE` have more.",
            },
            Self::NotImaged => Advice {
                now: "image the drive first; an audit needs one that has passed",
                operator: "See in `prestagectl records --serial S` how the drive ended.",
                engineer: "The partition table is missing or is not that of a finished drive of this station.",
            },
            Self::VolumeDamaged => Advice {
                now: "`prestagectl image DEVICE` images the drive anew",
                operator: "Do not ship the drive; image it again.",
                engineer: "The NTFS volume is not what was written: the drive was used, or does not keep its data.",
            },
            Self::SourceUnreadable => Advice {
                now: "correct the path in the recipe, or let your user read what it names",
                operator: MADE_OUTSIDE,
                engineer: "Paths in a recipe are relative to its folder. The detail has the system's error.",
            },
            Self::SourceDamaged => Advice {
                now: "get the file that the detail names anew, and compare its checksum",
                operator: MADE_OUTSIDE,
                engineer: "Every blob of each WIM is verified before anything is written, because copying would keep the \
                    damage. An encrypted ESD is decrypted on Windows first.",
            },
            Self::SourceChanged => Advice {
                now: "create the media once more, while nobody writes to its parts",
                operator: MADE_OUTSIDE,
                engineer: "Each file is hashed when it is listed; what went into the media has another digest.",
            },
            Self::ImageMissing => Advice {
                now: "name an index that `wimlib-imagex info FILE` lists",
                operator: MADE_OUTSIDE,
                engineer: "Images are counted from 1. Without `boot.index`, the image that is marked as bootable is taken.",
            },
            Self::NamesInvalid => Advice {
                now: "rename or remove what the detail lists",
                operator: MADE_OUTSIDE,
                engineer: "Windows could not open these files, or would show one of two. Nothing is left out on purpose: a \
                    package that lacks a file fails its hash check.",
            },
            Self::BootImageArchitecture => Advice {
                now: "name the boot image for the computer's architecture",
                operator: MADE_OUTSIDE,
                engineer: "The boot manager comes from \\Windows\\Boot\\EFI of the operating system image.",
            },
            Self::NoRoom => Advice {
                now: "make room where the media is written, or name another folder with `--out`",
                operator: MADE_OUTSIDE,
                engineer: "What is needed is computed as if nothing of what is added could be compressed.",
            },
            Self::CreateFailed => Advice {
                now: "mend in the recipe or its parts what the detail says",
                operator: MADE_OUTSIDE,
                engineer: "What was written is verified, compared with the parts, and taken through intake before it gets \
                    its name. `prestagectl explain` knows the codes in the detail.",
            },
            Self::Libwim => Advice {
                now: "install libwim15 (or libwim15t64)",
                operator: DRIVE_IS_FINE,
                engineer: "The detail has the loader's error; the package depends on libwim.",
            },
            Self::WorkerFailed => Advice {
                now: "look at the log (`journalctl -u prestaged`) and at free memory; then try again",
                operator: DRIVE_IS_FINE,
                engineer: "The process crashed, was killed, or its files did not answer. The detail has its last words.",
            },
            Self::InternalError => Advice {
                now: "try again; keep the log (`journalctl -u prestaged`) for a report",
                operator: DRIVE_IS_FINE,
                engineer: "This is a mistake in prestaged. The log has what is needed to report it.",
            },
            Self::ParcelIncomplete => Advice {
                now: "put the parcel there again, and run the same command: it goes on where it was cut",
                operator: "Plug the stick in again, or wait for the network, and run the same command.",
                engineer: "The detail names the first piece that is missing and why. What came is kept in a hidden \
                    folder of the inbox, and is verified again before it is used.",
            },
            Self::ParcelDamaged => Advice {
                now: "get the part that the detail names again, and run the same command",
                operator: "Tell the engineer. Nothing of it has reached the inbox.",
                engineer: "A byte was flipped, a file was cut, or parts of two parcels were mixed. If a fresh copy from \
                    the maker is the same, somebody has changed it on purpose.",
            },
            Self::BaseMissing => Advice {
                now: "put the media that the detail names into the inbox, or get a whole parcel",
                operator: "Tell the engineer which media the detail names.",
                engineer: "The parcel was packed with `--against` for a station that has this media. \
                    `prestagectl media have` tells a maker what this station has.",
            },
            Self::SignerUnknown => Advice {
                now: "have it signed by one who is listed, or list the maker's public key",
                operator: "Tell the engineer. Do not use media from a source that nobody knows.",
                engineer: "The detail names the keys that have signed. `media.signers` lists whose signatures count, for \
                    which products, and how many are needed.",
            },
            Self::InboxError => Advice {
                now: "make room in the inbox, or take the other media out, as the detail says",
                operator: "Tell the engineer. What came of the parcel is kept.",
                engineer: "`df` on `media.inbox`. Media that is there already is never replaced: take it out, or have \
                    the new one packed under another name.",
            },
        }
    }
}
