//! What to do about a drive that has not passed.

use super::{Advice, Explained};
use crate::code::ReasonCode;

impl Explained for ReasonCode {
    fn advice(self) -> Advice {
        match self {
            Self::NotArmed => Advice {
                now: "arm the station with `prestagectl arm`",
                operator: "Look at `prestagectl status` first: arming images every drive that it lists and nothing \
                    else speaks against. Take out drives that must keep their data, then arm.",
                engineer: "Arming is forgotten when the station is restarted. `admission.armed = true` arms it from \
                    its start.",
            },
            Self::BusNotAllowed => Advice {
                now: "use a bay on an allowed bus, or add the bus to `admission.buses`",
                operator: "This is not a drive for this station. If it should be, move it to a bay of the station or \
                    ask the engineer.",
                engineer: "Add the bus that `prestagectl drives` shows to `admission.buses` and restart the station. \
                    Allow `usb` only where every USB drive in an allowed bay may be erased.",
            },
            Self::BayNotAllowed => Advice {
                now: "move the drive to a bay of the station, or add its bay to `admission.bays`",
                operator: "Plug the drive into one of the station's bays: `prestagectl bays list` names them.",
                engineer: "Add the bay's name, or the path that `prestagectl drives` shows, to `admission.bays` and \
                    restart the station. `prestagectl bays learn` gives names to bays.",
            },
            Self::ModelNotAllowed => Advice {
                now: "use a model that is allowed, or add this one to `admission.models`",
                operator: "Check that it is the drive that the order asks for, and use the right one.",
                engineer: "Compare the model that `prestagectl drives --json` shows with the patterns in \
                    `admission.models`; makers append capacities and suffixes to model names.",
            },
            Self::SerialNotAllowed => Advice {
                now: "use a drive whose serial number is allowed, or add it to `admission.serials`",
                operator: "Check the label of the drive against the list of drives for this order.",
                engineer: "Add the serial number, or a pattern for it, to `admission.serials` and restart the station.",
            },
            Self::SizeNotAllowed => Advice {
                now: "use a drive of a listed capacity, or add this one to `admission.sizes`",
                operator: "Check that it is the drive that the order asks for, and use the right one.",
                engineer: "Add the capacity as it is sold to `admission.sizes`, or widen `admission.size_tolerance`, \
                    and restart the station.",
            },
            Self::SectorSize => Advice {
                now: "use a drive with sectors of 512 or 4096 bytes that the layout can take",
                operator: "Use another drive. The engineer may be able to reformat this one.",
                engineer: "Sectors of 520 or 528 bytes come from storage arrays: `sg_format --format --size=512` makes \
                    such a drive usable, and erases it. The detail says if it is the layout that does not fit.",
            },
            Self::NoMedium => Advice {
                now: "put a card in, or replace the drive if it reports 0 bytes",
                operator: "An empty slot of a card reader needs nothing. Take a drive that is shown so out, wait ten \
                    seconds and plug it in again; if it is still so, set it aside as defective.",
                engineer: "A drive that reports 0 bytes has lost its firmware's tables or is locked by its maker; the \
                    kernel's log (`dmesg`) has more.",
            },
            Self::TooSmall => Advice {
                now: "use a larger drive",
                operator: "Use a drive with the capacity that the order asks for.",
                engineer: "The detail has the sum: partitions of the layout and the media's content, or \
                    `admission.min_size`. Smaller partitions in `[[layout]]` or smaller media make it fit.",
            },
            Self::TooLarge => Advice {
                now: "use a smaller drive, or lift the limit that the detail names",
                operator: "Use a drive with the capacity that the order asks for.",
                engineer: "The detail names the limit: `admission.max_size`, a FAT32 partition that takes the rest of \
                    the drive, or the largest file of the store's file system (on ext4 16 TiB; XFS has none that \
                    matters).",
            },
            Self::SystemDisk => Advice {
                now: "leave it alone: the station itself runs from this drive",
                operator: "Do nothing. The drive belongs to the station's own computer and is never written.",
                engineer: "If it is in a bay that is meant for customers' drives, move the system to a drive outside \
                    of the bays, or take the bay out of `admission.bays`.",
            },
            Self::Mounted => Advice {
                now: "unmount it if nobody needs it, then `prestagectl retry DRIVE`",
                operator: "Ask who mounted the drive; it is in use on this computer. When it is free, retry it.",
                engineer: "The detail names the mount points. Desktops mount what udev rules do not hide: check that \
                    `62-prestaged.rules` is installed.",
            },
            Self::InUse => Advice {
                now: "end that use if nobody needs it, then `prestagectl retry DRIVE`",
                operator: "Ask the engineer: something on this computer uses the drive.",
                engineer: "The detail names the user: swap (`swapoff`), MD (`mdadm --stop`), LVM (`vgchange -an`), \
                    dm-crypt (`cryptsetup close`), ZFS (`zpool export`), multipath (blacklist the bays) or a program.",
            },
            Self::UsageUnknown => Advice {
                now: "mend what the detail names, then `prestagectl retry DRIVE`",
                operator: "Ask the engineer. The drive has not been touched.",
                engineer: "Something in /proc or /sys could not be read, so nobody can say that the drive is free. \
                    The detail names it; a container or a hardened unit often hides it.",
            },
            Self::ReadOnly => Advice {
                now: "take the write protection off, or use another drive",
                operator: "Look for a switch on the card or the adapter. Without one, set the drive aside.",
                engineer: "`blockdev --getro DEVICE` says what the kernel believes. A worn-out SSD makes itself \
                    read-only for good: look at `smartctl -a`.",
            },
            Self::NoSerial => Advice {
                now: "use another adapter or another drive: no record could name this one",
                operator: "Plug the drive into a bay without an adapter or dock, which often hides the serial number. \
                    If it is still so, set it aside.",
                engineer: "`udevadm info DEVICE` shows what the drive reports. Placeholders such as 0123456789ABCDEF \
                    do not count; a registered WWN would.",
            },
            Self::DuplicateSerial => Advice {
                now: "take one of the two drives out",
                operator: "Take one of the drives out; the other one is judged again by itself. Image the second one \
                    when the first is done and gone.",
                engineer: "Docks report a number of their own, one for all drives; multipath shows one drive twice; \
                    NVMe namespaces and LUNs share a number. The detail says which it is.",
            },
            Self::AlreadyPassed => Advice {
                now: "take it out: it is done. `prestagectl image DRIVE --again` images it once more",
                operator: "The drive is finished and as it was then. Take it out and put it with the good ones.",
                engineer: "`admission.reimage = true` images such drives again without being asked.",
            },
            Self::NotBlank => Advice {
                now: "if nobody needs the data: `prestagectl image DRIVE --overwrite --reason TEXT`",
                operator: "The drive holds data. Find out whose it is. If nobody needs it, and you may decide that, \
                    consent to its loss: `prestagectl image DRIVE --overwrite --reason TEXT`. Your name and the \
                    reason are kept in the record.",
                engineer: "`wipefs` and `sgdisk -Z` take tables and signatures away and leave the data, which still \
                    counts: blank is looked for all over the drive. `blkdiscard -f DEVICE`, or `blkdiscard -f -z \
                    DEVICE` where the drive does not discard, removes it all. `admission.overwrite` sets what \
                    every drive may lose, `image --overwrite` what one may.",
            },
            Self::NoMedia => Advice {
                now: "copy a prestaged WIM to the inbox; the drive is then taken up by itself",
                operator: "Ask the engineer for the media. `prestagectl media list` shows what is in the inbox.",
                engineer: "If it is there, see with `prestagectl media list --all` to which drives it is offered. Copy the WIM, or all parts of a split set, to `media.inbox`, readable to the user in \
                    `tools.user`. Media is taken up when it has been read to its end without a problem.",
            },
            Self::MediaAmbiguous => Advice {
                now: "`prestagectl media offer NAME by_hand` for all but one; drives are then taken up by themselves",
                operator: "Ask the engineer which media it is. For one drive: `prestagectl image DRIVE --media NAME`.",
                engineer: "Take media that is not needed out of the inbox, or offer it by hand \
                    (`prestagectl media offer NAME by_hand`). The age of a file decides nothing.",
            },
            Self::MediaInvalid => Advice {
                now: "see `prestagectl media list`, and put mended media into the inbox",
                operator: "Ask the engineer: the media has a problem, not the drive. The drive can stay plugged in.",
                engineer: "`prestagectl media show NAME` lists the problems and what would mend each. Drives are taken \
                    up by themselves when there is valid media.",
            },
            Self::MediaExpired => Advice {
                now: "put media with a valid certificate into the inbox, or correct `media.expires`",
                operator: "Ask the engineer for current media. The drive can stay plugged in.",
                engineer: "The day stands in `media.expires`. Create the prestaged media anew in Configuration \
                    Manager; a computer that starts from expired media cannot go on with its task sequence.",
            },
            Self::MediaNotYetValid => Advice {
                now: "wait for the day that the detail names, or use other media",
                operator: "Tell the engineer. Nothing is wrong with the drive.",
                engineer: "The maker has signed a first day (`not_before`), or the manifest itself was signed later \
                    than tomorrow. If that time has come, the station's clock is wrong: `timedatectl`; if not, \
                    perhaps the maker's.",
            },
            Self::MediaUnsigned => Advice {
                now: "get the media as a parcel (`media receive`), or with its manifest beside it",
                operator: "Tell the engineer. Nothing is wrong with the drive.",
                engineer: "`media.signers` lists who must vouch for media. The manifest is `NAME.wim.manifest.json`, \
                    which `media receive` lays there; it must be of this very file.",
            },
            Self::SignerUnknown => Advice {
                now: "have it signed by one who is listed, or list the maker's public key",
                operator: "Tell the engineer. Nothing is wrong with the drive.",
                engineer: "`prestagectl media show NAME` says who has signed and who is needed. Do not list a key that \
                    you did not get from its owner.",
            },
            Self::MediaRollback => Advice {
                now: "use the latest version of the product, or `media accept NAME --reason TEXT`",
                operator: "Tell the engineer: this is older than media that the station has had.",
                engineer: "The ledger keeps the highest sequence of each product. `prestagectl media accept` lets one \
                    older media be used; the reason and your name are kept.",
            },
            Self::NoOrder => Advice {
                now: "see `prestagectl order list`; `prestagectl order show NUMBER` says why the drive differs",
                operator: "Check that the drive is in the right bay. If it is, ask the engineer for its order.",
                engineer: "Add the order, or widen its `[match]`. `prestagectl order show NUMBER` compares every \
                    attached drive with it. `prestagectl image DRIVE --order NUMBER` names an order for one drive.",
            },
            Self::OrderAmbiguous => Advice {
                now: "close the order that is done, or narrow its `[match]`",
                operator: "Ask the engineer which order it is. `prestagectl image DRIVE --order NUMBER` names it.",
                engineer: "`prestagectl order close NUMBER --reason TEXT`, or give the orders different bays or \
                    serial numbers. A full order still counts until it is closed.",
            },
            Self::OrderComplete => Advice {
                now: "take the drive out: its order is full",
                operator: "The order has all its drives. Take this one out, and ask for the next order.",
                engineer: "`prestagectl order quantity NUMBER N --reason TEXT` raises it, `order close` ends it. \
                    Drives that are being imaged have their places until they are done.",
            },
            Self::OrderHeld => Advice {
                now: "`prestagectl order resume NUMBER`, once what it is held for is mended",
                operator: "Wait, or ask who has held the order. The drive can stay plugged in.",
                engineer: "`prestagectl order show NUMBER` says who has held it, when and why.",
            },
            Self::OrderNotYetValid => Advice {
                now: "keep the drive until the order begins, then `prestagectl retry DRIVE`",
                operator: "The order begins later. Ask the engineer.",
                engineer: "`not_before` in the order has the time. The station's clock decides, not Windows PE.",
            },
            Self::OrderExpired => Advice {
                now: "add the order again with a later `expires`, or close it",
                operator: "Ask the engineer: the order is over.",
                engineer: "`expires` in the order has the time. A clock that is set back does not bring it back.",
            },
            Self::FirstArticlePending => Advice {
                now: "have the first drives checked, then `prestagectl order approve NUMBER`",
                operator: "The first drives of the order are done. Have them checked; the others wait for that.",
                engineer: "`prestagectl order approve NUMBER` records who, when and which drives. Other media, another \
                    layout or another version of prestaged asks once more.",
            },
            Self::AttemptsExhausted => Advice {
                now: "set the drive aside; `prestagectl order release NUMBER SERIAL --reason TEXT` allows it again",
                operator: "Set the drive aside as defective.",
                engineer: "`prestagectl records --serial SERIAL` has its failures. Release it if they were not the drive's.",
            },
            Self::Health => Advice {
                now: "use another drive; the record has its numbers and the limits",
                operator: "Set the drive aside and use another one. Ask the lead what becomes of it.",
                engineer: "`health` in the record has what the drive told; `[health]` in the configuration has the \
                    limits. Where health is required and unknown, the detail says why: smartmontools, the unit \
                    prestaged-health.socket, or an adapter that passes nothing on. `prestagectl retry` asks once more.",
            },
            Self::DriveChanged => Advice {
                now: "plug the drive in again",
                operator: "Take the drive out, wait ten seconds and plug it in again.",
                engineer: "Between judging and claiming, the drive was pulled or its capacity, sectors, serial number \
                    or write protection changed. If it happens again, suspect cable, backplane or adapter.",
            },
            Self::LedgerUnavailable => Advice {
                now: "make the ledger usable again, as `prestagectl status` says; no drive is touched before",
                operator: "Ask the engineer. Nothing is lost: drives that are done wait for their verdict, others \
                    are taken up by themselves.",
                engineer: "The file system of `ledger.path` is full, read-only or gone, or the file was moved or \
                    overwritten. `prestagectl status` and the log have the cause.",
            },
            Self::LedgerTampered => Advice {
                now: "call the engineer; no drive is touched before `prestagectl log acknowledge`",
                operator: "Call the engineer, and leave everything as it is.",
                engineer: "A row or the log of `ledger.path` is not what the station has signed. `prestagectl log verify` \
                    says what. Keep a copy, compare it with the results and certificates that others have; then \
                    `prestagectl log acknowledge --reason TEXT`, and arm the station again.",
            },
            Self::Stalled => Advice {
                now: "take the drive out; if it stalls again in another bay, set it aside",
                operator: "Take the drive out and try it once more in another bay. If it stalls there, too, set it \
                    aside as defective.",
                engineer: "A request was not answered for `replicate.stall_timeout`. `dmesg` shows resets and \
                    timeouts; several drives at once point to controller, power or backplane.",
            },
            Self::WriteError => Advice {
                now: "set the drive aside; if others fail in the same bay, look at the bay",
                operator: "Set the drive aside as defective. If the next drive fails in the same bay, tell the engineer.",
                engineer: "`dmesg` and `smartctl -a DEVICE` tell a bad medium from a bad link: CRC errors point to \
                    cable or backplane.",
            },
            Self::ReadError => Advice {
                now: "set the drive aside; if others fail in the same bay, look at the bay",
                operator: "Set the drive aside as defective. If the next drive fails in the same bay, tell the engineer.",
                engineer: "A drive that cannot be read before it is written may be locked with a password, or have \
                    less room than it reports. `dmesg` and `smartctl -a DEVICE` have more.",
            },
            Self::Mismatch => Advice {
                now: "set the drive aside: it does not keep what is written to it",
                operator: "Never ship this drive. Set it aside as defective.",
                engineer: "`mismatches` in the record lists the sectors. Many drives at once point to the computer's \
                    memory or the controller; a whole range at a power of two points to a false capacity.",
            },
            Self::ForeignWrite => Advice {
                now: "find out what wrote to the drive, then `prestagectl retry DRIVE`",
                operator: "Tell the engineer. Nothing is wrong with the drive itself.",
                engineer: "Another program on this computer wrote to the drive while it was imaged: a desktop, \
                    multipathd, a monitoring agent. Check that `62-prestaged.rules` is installed and see what runs as root.",
            },
            Self::Unplugged => Advice {
                now: "plug it in again; if nobody has pulled it, look at bay and cable",
                operator: "Plug the drive in again: it is imaged from the start. If nobody has pulled it, try another \
                    bay.",
                engineer: "A drive that vanishes by itself has lost its link or its power: see `dmesg`, and suspect \
                    backplane, cable, power supply or the drive's firmware, in this order.",
            },
            Self::TooSlow => Advice {
                now: "try it in another bay; if it is slow there, too, set it aside",
                operator: "Try the drive in another bay. If it is too slow there, too, set it aside as defective.",
                engineer: "`write_limited_by` and `verify_limited_by` in the record say what held it up. If it is \
                    `store` or `cpu`, the station is at its limit and not the drive; check \
                    `replicate.min_write_rate` and `min_batch_share`.",
            },
            Self::BootConfiguration => Advice {
                now: "`prestagectl retry DRIVE`; if it fails again, keep drive and log for the engineer",
                operator: "Retry the drive. If it fails again, tell the engineer.",
                engineer: "The BCD that was read back from the ESP does not parse or names other partitions. That is \
                    a mistake of the station or of the media's BCD; `prestagectl media show NAME` tells the first start.",
            },
            Self::PressFailed => Advice {
                now: "see `prestagectl master list` for the cause; nothing is wrong with the drive",
                operator: "Tell the engineer. The drive is not defective and has not been touched.",
                engineer: "The detail has the failure's own code: `prestagectl explain` knows it, too. Room in the \
                    store, a missing program and unreadable media are the usual causes.",
            },
            Self::StoreError => Advice {
                now: "look at the store's disk; the drive is imaged once more by itself",
                operator: "Tell the engineer. Nothing is known against the drive.",
                engineer: "A master could not be read or is not what was pressed. It is hashed and pressed anew once. \
                    Look at `dmesg` and the disk below `store.path`; without a fault there, suspect memory.",
            },
            Self::OutOfMemory => Advice {
                now: "free memory on the station, then `prestagectl retry DRIVE`",
                operator: "Retry the drive. If it happens again, tell the engineer.",
                engineer: "Lower `replicate.memory` or end other programs; masters and ledger take little memory.",
            },
            Self::InternalError => Advice {
                now: "`prestagectl retry DRIVE`; keep the log (`journalctl -u prestaged`) for a report",
                operator: "Retry the drive. If it happens again, tell the engineer.",
                engineer: "This is a mistake in prestaged. The log around the record's time has what is needed to \
                    report it.",
            },
            Self::OperatorStop => Advice {
                now: "`prestagectl retry DRIVE` begins again; what was begun has no partition table",
                operator: "Somebody stopped the drive on purpose. Do not ship it; retry it if it is needed.",
                engineer: "The journal says when. A stopped drive is neither good nor bad.",
            },
            Self::StationShutdown => Advice {
                now: "`prestagectl retry DRIVE` once the station runs again",
                operator: "The station was switched off. Do not ship the drive; retry it.",
                engineer: "A station that is ended once finishes its drives; this one was told twice, or \
                    `TimeoutStopSec` ran out.",
            },
            Self::StationInterrupted => Advice {
                now: "do not ship it; `prestagectl retry DRIVE` images it once more",
                operator: "The station lost power or was killed. Do not ship the drive, even if it starts; retry it.",
                engineer: "If the station was killed, find out by what: `journalctl -b -1`, the kernel's out-of-memory \
                    killer, the watchdog.",
            },
        }
    }
}
