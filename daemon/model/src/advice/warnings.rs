//! What to do about a warning in the record of a drive.

use super::{Advice, Explained};
use crate::code::WarningCode;

impl Explained for WarningCode {
    fn advice(self) -> Advice {
        match self {
            Self::Rewritten => Advice {
                now: "ship it only if your rules allow a drive that was rewritten",
                operator: "The drive passed, but not at once. Follow the rule of your line for such drives.",
                engineer: "The record names the range. `replicate.rewrites = 0` makes such drives fail.",
            },
            Self::NotCompared => Advice {
                now: "nothing at the drive: some files of the media cannot be compared",
                operator: "Nothing is to be done at the drive.",
                engineer: "`prestagectl audit` lists the files: contents behind reparse points of a pipable WIM. \
                    Export the media as an ordinary WIM to have them compared.",
            },
            Self::NotKept => Advice {
                now: "nothing at the drive: no press can keep some attributes of the media",
                operator: "Nothing is to be done at the drive.",
                engineer: "`prestagectl media show NAME` counts the attributes and short names; `prestagectl audit` \
                    lists them. Programs that need them will miss them.",
            },
            Self::SlowForItsBatch => Advice {
                now: "try the drive in another bay, and watch how it ages",
                operator: "The drive passed, but was less than half as fast as others of its model. Tell the engineer \
                    if it is always the same bay.",
                engineer: "The same bay each time: link speed, cable, backplane. Different bays: the drives. \
                    `replicate.min_batch_share` makes such drives fail.",
            },
            Self::WritersNotCounted => Advice {
                now: "nothing at the drive: this kernel does not count what others write",
                operator: "Nothing is to be done at the drive.",
                engineer: "The device's `iostats` are off (`/sys/block/*/queue/iostats`), or the kernel has none, so \
                    `foreign_write` cannot be noticed.",
            },
            Self::CachedReadBack => Advice {
                now: "do not count this pass: the loop device was read from memory",
                operator: "This is a loop device for training. Its pass proves nothing about a medium.",
                engineer: "Put the backing file on a file system that has direct I/O.",
            },
            Self::OldDataLeft => Advice {
                now: "if old data must go, set `replicate.old_data = \"overwrite\"` and image it again",
                operator: "The drive is good, but old data may still be on it. Ask whether it may be shipped so.",
                engineer: "`old_data` in the record has the figures. `replicate.old_data = \"overwrite\"` writes \
                    zeros to all of the rest.",
            },
            Self::TablesRemoved => Advice {
                now: "`prestagectl retry DRIVE` images it once more",
                operator: "The station was killed just before the verdict. Retry the drive.",
                engineer: "The tables were taken away so that the drive does not look done.",
            },
            Self::HealthWorse => Advice {
                now: "ship it only if your rules allow a drive whose own errors have risen",
                operator: "The drive passed, but has counted errors of its own meanwhile. Tell the engineer.",
                engineer: "`health` in the record has the numbers before and after. CRC errors alone are a cable's or a \
                    backplane's; anything else is the drive's.",
            },
        }
    }
}
