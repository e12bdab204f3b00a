//! What to do about media with a problem or a warning. The operator's part is mostly the same: it is the engineer who
//! makes media.

use super::{Advice, Explained};
use crate::code::FindingCode;

const TELL: &str = "Tell the engineer. Drives wait or are refused until there is valid media; nothing is wrong with them.";
const NOTHING: &str = "Nothing is to be done; the media is used.";

impl Explained for FindingCode {
    fn advice(self) -> Advice {
        match self {
            Self::WimDamaged => Advice {
                now: "copy the file again from where it was made, and compare the checksums",
                operator: "Copy the media again. If it is still damaged, tell the engineer.",
                engineer: "If a fresh copy is damaged, too, the original is, or it is no WIM: create the prestaged media \
                    anew. Set the store of the copy aside if this happens twice.",
            },
            Self::WimUnfinished => Advice {
                now: "let the program that writes the file finish it, or create the media anew",
                operator: TELL,
                engineer: "The header still says that a writer is at work: a capture that was cut off, or a copy \
                    of a file that was being written.",
            },
            Self::WimIncomplete => Advice {
                now: "export the image with all its contents into one WIM",
                operator: TELL,
                engineer: "A delta WIM, or one whose resources are in another file. `wimexport` or `dism /Export-Image` \
                    with the other file as reference makes it whole.",
            },
            Self::MediaUnreadable => Advice {
                now: "make file and folders readable to the user in `tools.user`, then `media verify NAME`",
                operator: TELL,
                engineer: "`chmod o+r` the file, and `o+x` each folder above it. A change of a folder's permissions \
                    is not noticed: `prestagectl media verify NAME` looks again. The detail has the cause.",
            },
            Self::CheckFailed => Advice {
                now: "`prestagectl media verify NAME` checks it once more",
                operator: "Verify the media once more. If it fails again, tell the engineer.",
                engineer: "The checking process crashed, was killed, or its file did not answer. The detail and the \
                    log have more; too little memory is the usual cause.",
            },
            Self::SplitPartMissing => Advice {
                now: "copy the missing part to the inbox",
                operator: "Copy all parts (`.swm`) of the set to the inbox; the detail says which one is missing.",
                engineer: "Parts are known by their headers, not their names: parts of another capture do not count.",
            },
            Self::ImageMissing => Advice {
                now: "set `media.image` to an image that the media has",
                operator: TELL,
                engineer: "`prestagectl media show NAME` lists the images with their indices.",
            },
            Self::EncryptedFiles => Advice {
                now: "decrypt the files on the reference computer and capture it again",
                operator: TELL,
                engineer: "`cipher /d` on the reference computer. The keys are not in the media, so nobody could read \
                    the files on a new computer either.",
            },
            Self::NamesInvalid => Advice {
                now: "rename the files that the detail names, and make the media again",
                operator: TELL,
                engineer: "Such names come from captures on Linux. Windows can neither open nor delete such files.",
            },
            Self::NamesTwice => Advice {
                now: "keep one of the files that the detail names, and make the media again",
                operator: TELL,
                engineer: "Windows takes upper and lower case for the same. Such names come from captures on Linux or \
                    of case-sensitive folders.",
            },
            Self::NotApplicable => Advice {
                now: "take out of the image what the detail names, and make the media again",
                operator: TELL,
                engineer: "A press was rehearsed and failed. The detail has libwim's own words and the file.",
            },
            Self::EspTooSmall => Advice {
                now: "make the `esp` partition in `[[layout]]` larger",
                operator: TELL,
                engineer: "The detail has the size that is needed. Fonts and languages of the boot manager take most.",
            },
            Self::EspNamesInvalid => Advice {
                now: "rename the boot files that the detail names, and make the media again",
                operator: TELL,
                engineer: "FAT takes neither all characters nor all lengths that NTFS does.",
            },
            Self::BootFilesMissing => Advice {
                now: "create the prestaged media anew, with a boot image",
                operator: TELL,
                engineer: "The media needs a boot manager (`bootmgfw.efi`) in one of its usual places. For media that \
                    is not to start, use a layout with `boot = \"none\"`.",
            },
            Self::BootFilesCompressed => Advice {
                now: "uncompress the boot files (`compact /u /exe`) and make the media again",
                operator: TELL,
                engineer: "Neither firmware nor FAT knows CompactOS, so the files must be in the media as they are.",
            },
            Self::BootManagerInvalid => Advice {
                now: "create the prestaged media anew; the boot manager is damaged or for no UEFI",
                operator: TELL,
                engineer: "`prestagectl media show NAME` says which file. It is cut off, damaged, or for a BIOS.",
            },
            Self::BcdMissing => Advice {
                now: "create the prestaged media anew, with a boot image",
                operator: TELL,
                engineer: "The boot configuration is looked for in `\\EFI\\Microsoft\\Boot\\BCD` and beside the boot \
                    manager. Without it nothing says what to start.",
            },
            Self::BcdInvalid => Advice {
                now: "create the prestaged media anew; the detail says what is wrong in its BCD",
                operator: TELL,
                engineer: "`bcdedit /store BCD /enum all` shows it on Windows. A BCD that was not closed cleanly must be \
                    unloaded before the capture.",
            },
            Self::BootImageMissing => Advice {
                now: "create the prestaged media anew, with a boot image",
                operator: TELL,
                engineer: "The detail has the path that the BCD starts. The boot image of the task sequence must be in \
                    the media.",
            },
            Self::BootImageDamaged => Advice {
                now: "update the boot image on its distribution points and create the media anew",
                operator: TELL,
                engineer: "boot.wim itself was damaged before it was put into the media; copying the media again does \
                    not help.",
            },
            Self::BootImageArchitecture => Advice {
                now: "create the media with a boot image for the computers' architecture",
                operator: TELL,
                engineer: "Boot manager and boot image must both be for x64, or both for ARM64.",
            },
            Self::UnpackFailed => Advice {
                now: "make room in the folder for temporary files, then `media verify NAME`",
                operator: TELL,
                engineer: "The detail names the folder. It needs room for boot.wim.",
            },
            Self::BootSdiMissing => Advice {
                now: "create the prestaged media anew: it lacks boot.sdi",
                operator: TELL,
                engineer: "The detail has the path that the BCD names. The boot image cannot be unpacked into memory \
                    without it.",
            },
            Self::MediaUnsigned => Advice {
                now: "get the media as a parcel (`media receive`), or with its manifest beside it",
                operator: TELL,
                engineer: "`media.signers` lists who must vouch for media. The manifest is `NAME.wim.manifest.json`; it \
                    must be of this very file.",
            },
            Self::SignerUnknown => Advice {
                now: "have it signed by one who is listed, or list the maker's public key",
                operator: TELL,
                engineer: "The detail names who has signed. Do not list a key that you did not get from its owner.",
            },
            Self::MediaRollback => Advice {
                now: "use the latest version of the product, or `media accept NAME --reason TEXT`",
                operator: TELL,
                engineer: "The ledger keeps the highest sequence of each product that the station has had.",
            },
            Self::SplitPartCopies => Advice {
                now: "take the copies out of the inbox",
                operator: "Take the copies out of the inbox; the detail names them.",
                engineer: "One of them is used, and all were found to be the same part of the same set.",
            },
            Self::CountsDiffer => Advice {
                now: "nothing, if the media was edited after its capture; or else capture it again",
                operator: NOTHING,
                engineer: "The counts in the XML are for people; the directory tree is what is applied.",
            },
            Self::NoSecurityDescriptor => Advice {
                now: "see in `media show NAME` who may change these files; capture on Windows if it matters",
                operator: NOTHING,
                engineer: "Files that were added on Linux have none. They get what Windows would give them in their \
                    folders.",
            },
            Self::ExtendedAttributes => Advice {
                now: "nothing, unless a program in the image needs them",
                operator: NOTHING,
                engineer: "Extended attributes are used by the Windows Subsystem for Linux and few other programs.",
            },
            Self::AttributesNotKept => Advice {
                now: "nothing, unless a program in the image needs them",
                operator: NOTHING,
                engineer: "prestaged-media(7) lists these attributes. Drives get the warning `not_kept` in their records.",
            },
            Self::ShortNamesNotKept => Advice {
                now: "nothing, unless a program uses the short names of files with several names",
                operator: NOTHING,
                engineer: "NTFS keeps one short name per file here. Old installers may store paths with short names.",
            },
            Self::LinksDiffer => Advice {
                now: "nothing, if the files that it names do not matter; look at them on one drive",
                operator: NOTHING,
                engineer: "A file has its attributes, times, streams and descriptor once, whatever the number of its \
                           names. In this media the names say different things of it. Windows applies the media in \
                           the same way. Capture the media anew if that was not meant.",
            },
            Self::BootLoaderMissing => Advice {
                now: "start one drive of this media before you ship others",
                operator: NOTHING,
                engineer: "The loader that the BCD starts was not found in boot.wim. If it does not start, create the \
                    media anew.",
            },
            Self::BootManagerUnclear => Advice {
                now: "start one drive of this media before you ship others",
                operator: NOTHING,
                engineer: "The program's header does not name the UEFI subsystem. Firmware may refuse it.",
            },
            Self::BootImageUnknown => Advice {
                now: "start one drive of this media before you ship others",
                operator: NOTHING,
                engineer: "An SDI image is started as it is; what is in it was not looked into.",
            },
            Self::BootImageArchitectureUnknown => Advice {
                now: "start one drive of this media before you ship others",
                operator: NOTHING,
                engineer: "The XML of boot.wim has no architecture. It must be that of the boot manager.",
            },
            Self::BootManager2011 => Advice {
                now: "use a boot image with the boot manager of 2023 if the computers trust only that",
                operator: NOTHING,
                engineer: "Computers whose firmware has revoked the certificate of 2011 do not start it with Secure \
                    Boot. Update the boot image, or set `boot_manager` in `[[layout]]`.",
            },
            Self::BootManagerUnsigned => Advice {
                now: "make the media with the boot manager of its Windows if the computers have Secure Boot",
                operator: NOTHING,
                engineer: "`prestagectl media show NAME` says which file it is. With Secure Boot, firmware starts only what \
                    is signed by a certificate that it trusts.",
            },
            Self::BootImageCompression => Advice {
                now: "export boot.wim with LZX or XPRESS, and start one drive before you ship others",
                operator: NOTHING,
                engineer: "Windows' boot manager reads XPRESS and LZX in chunks of 32 KiB. `wimlib-imagex export boot.wim all \
                    NEW.wim --compress=LZX --boot` makes such a file, as does `dism /Export-Image`.",
            },
            Self::BootOsDevice => Advice {
                now: "set `osdevice` of the entry to its `device` with bcdedit, and make the media again",
                operator: NOTHING,
                engineer: "Boot manager and Windows PE must start from the same ramdisk. Each drive's BCD gets `device` for \
                    both.",
            },
            Self::BootSystemRootMissing => Advice {
                now: "set `systemroot` of the entry to `\\windows` with bcdedit, and make the media again",
                operator: NOTHING,
                engineer: "The loader looks for Windows PE in this folder of boot.wim. `bcdedit /store BCD /set {default} \
                    systemroot \\windows` sets it.",
            },
            Self::ExpiryName => Advice {
                now: "write the file's name in `media.expires` exactly as it is",
                operator: NOTHING,
                engineer: "The day does not count for the media as long as the names differ.",
            },
        }
    }
}
