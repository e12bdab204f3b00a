//! What to do about a request that was not carried out.

use super::{Advice, Explained};
use crate::code::DenialCode;

impl Explained for DenialCode {
    fn advice(self) -> Advice {
        match self {
            Self::BadRequest => Advice {
                now: "correct the request as the detail says",
                operator: "Look at `prestagectl help VERB`.",
                engineer: "The body must be the JSON that the route takes; prestaged-api(7) lists the routes.",
            },
            Self::NoSuchPath => Advice {
                now: "use a path of this version; are program and daemon of the same version?",
                operator: "Tell the engineer.",
                engineer: "After an upgrade the old daemon runs until its drives are done.",
            },
            Self::WrongMethod => Advice {
                now: "use the method that the path takes",
                operator: "Tell the engineer.",
                engineer: "GET reads, POST changes; DELETE is for masters.",
            },
            Self::NotPermitted => Advice {
                now: "become root, or a member of the group in `control.group`",
                operator: "Ask the engineer to add you to the group `prestaged`; it counts from the next login on.",
                engineer: "`adduser USER prestaged`. The socket's mode alone does not decide.",
            },
            Self::Draining => Advice {
                now: "wait until the station has ended and runs again",
                operator: "Wait. Drives that are being written are finished.",
                engineer: "The station was told to end, or waits to be restarted after an upgrade.",
            },
            Self::Overloaded => Advice {
                now: "close connections that are not needed, and try again",
                operator: "Try again in a moment; close what shows `prestagectl watch` and nobody looks at.",
                engineer: "256 connections at once, half of them of one user. A program that opens one per drive and \
                    forgets it is the usual cause.",
            },
            Self::NoSuchOrder => Advice {
                now: "see `prestagectl order list --all`",
                operator: "Check the number of the order.",
                engineer: "Orders come by `prestagectl order add` or the folder of `orders.inbox`.",
            },
            Self::OrderUnchangeable => Advice {
                now: "see `prestagectl order show NUMBER` for how the order stands",
                operator: "Ask the engineer.",
                engineer: "A closed order stays closed; only what has failed can be released, only what waits approved.",
            },
            Self::UnclearScan => Advice {
                now: "scan an order, a serial number, a bay's name or a command card",
                operator: "Scan again. If it goes on, look whether the label is one of this station's.",
                engineer: "Orders must be open, drives attached or in the ledger. A scanner with another keyboard layout \
                           sends other letters; `prestagectl scan` without a text shows what it sends.",
            },
            Self::NoSuchDrive => Advice {
                now: "see `prestagectl drives` for the drives that are attached",
                operator: "Check the name: a device, a serial number or a bay.",
                engineer: "The drive may have been pulled, or not be seen by the kernel: `lsblk`.",
            },
            Self::AmbiguousDrive => Advice {
                now: "name one of the drives by its device",
                operator: "Use the device (`/dev/…`) of the drive that is meant.",
                engineer: "Several drives have this serial number or are in this bay.",
            },
            Self::NoSuchMaster => Advice {
                now: "see `prestagectl master list`",
                operator: "Check the name; the beginning of an ID is not enough.",
                engineer: "The master may have been removed for the budget.",
            },
            Self::NoSuchRecord => Advice {
                now: "see `prestagectl records`",
                operator: "Check the name of the job or of the drive.",
                engineer: "Records are never removed by the station; another ledger may be in use.",
            },
            Self::DigestsMissing => Advice {
                now: "compare it with the media instead: `prestagectl audit DEVICE --media NAME`",
                operator: "Tell the engineer.",
                engineer: "The store keeps the manifests of masters that drives passed with, the latest 512 MiB of them; \
                           those of another store, or of a program of another format, it does not have.",
            },
            Self::NoMedia => Advice {
                now: "see `prestagectl media list` for what is in the inbox",
                operator: "Check the name of the media.",
                engineer: "Media is named by its file; of a split set, by the first part.",
            },
            Self::MediaAmbiguous => Advice {
                now: "name the media with `--media NAME`",
                operator: "Name the media. `prestagectl media list` shows what is in the inbox.",
                engineer: "`prestagectl media offer NAME by_hand` for all but one makes that one the media of drives.",
            },
            Self::MediaInvalid => Advice {
                now: "see `prestagectl media show NAME` for what to mend",
                operator: "Tell the engineer.",
                engineer: "Media with a problem is never used, also not by name.",
            },
            Self::TooSmall => Advice {
                now: "give the capacity of a larger drive, as `prestagectl drives --json` shows it",
                operator: "Check the size.",
                engineer: "The detail has the sum of what is needed.",
            },
            Self::TooLarge => Advice {
                now: "give the capacity of a smaller drive, or lift the limit that the detail names",
                operator: "Check the size.",
                engineer: "The detail names the limit.",
            },
            Self::NotRunning => Advice {
                now: "nothing: there is nothing to stop",
                operator: "See in `prestagectl status` what the drive is doing.",
                engineer: "Only a drive that waits for its master or is being written can be stopped.",
            },
            Self::AlreadyPassed => Advice {
                now: "take it out: it is done. `prestagectl image DEVICE --again` images it once more",
                operator: "The drive is finished. Take it out and put it with the good ones.",
                engineer: "Only a drive that somebody asks for again is imaged once more.",
            },
            Self::Busy => Advice {
                now: "wait until it is done, or stop it first",
                operator: "Wait for the drive's verdict, or use `prestagectl stop DRIVE`.",
                engineer: "A drive has one job at a time, media one check.",
            },
            Self::OutOfScope => Advice {
                now: "put the drive into a bay of the station",
                operator: "The station opens no drive on other buses and in other bays, not even to read it. \
                           Put the drive into a bay of the station.",
                engineer: "admission.buses and admission.bays say which those are.",
            },
            Self::Stalled => Advice {
                now: "take the drive out",
                operator: "Take the drive out; it still does not answer.",
                engineer: "The kernel still waits for the drive's answer to an earlier request.",
            },
            Self::StoreError => Advice {
                now: "look at the disk of `store.path` and its permissions",
                operator: "Tell the engineer.",
                engineer: "The detail has the system's error.",
            },
            Self::LedgerUnavailable => Advice {
                now: "make the ledger usable again, as `prestagectl status` says",
                operator: "Tell the engineer.",
                engineer: "The detail has the cause; the log has more.",
            },
            Self::LedgerTampered => Advice {
                now: "find out who has changed the ledger; then `prestagectl log acknowledge --reason TEXT`",
                operator: "Call the engineer, and leave everything as it is.",
                engineer: "The detail says what is not as the station has signed it. Keep a copy of the ledger.",
            },
            Self::InternalError => Advice {
                now: "try again; keep the log (`journalctl -u prestaged`) for a report",
                operator: "Tell the engineer.",
                engineer: "This is a mistake in prestaged. The log has what is needed to report it.",
            },
            Self::UnexpectedAnswer => Advice {
                now: "check with `--socket` that it is prestaged that answers",
                operator: "Tell the engineer.",
                engineer: "Another program, or another version of prestaged, answers on this socket.",
            },
        }
    }
}
