//! What to do about a command that prestagectl itself did not carry out.

use super::{Advice, Explained};
use crate::code::CommandCode;

impl Explained for CommandCode {
    fn advice(self) -> Advice {
        match self {
            Self::Failed => Advice {
                now: "read the detail: it names what is not as it should be",
                operator: "Tell the engineer what the detail says.",
                engineer: "The daemon has answered, and what it was asked about is at fault.",
            },
            Self::Refused => Advice {
                now: "check the name, or wait until the station does it",
                operator: "Check the name of the drive or the media.",
                engineer: "Nothing was done, and nothing is on record.",
            },
            Self::Usage => Advice {
                now: "see `prestagectl help`, or `prestagectl VERB --help`",
                operator: "Look at `prestagectl VERB --help`.",
                engineer: "With `--json` a wrong command line is told on standard output, too.",
            },
            Self::Unavailable => Advice {
                now: "`systemctl status prestaged` says why the daemon is not there",
                operator: "Tell the engineer.",
                engineer: "`journalctl -u prestaged` has its last words. After a mistake in the configuration it \
                    ends with 78: `prestaged --check` names file, line and key.",
            },
            Self::Overtaken => Advice {
                now: "see `prestagectl status` for how the other attempt stands",
                operator: "Somebody else has begun another attempt at the drive. Look at its verdict.",
                engineer: "`prestagectl records --serial S` has both attempts, with who asked.",
            },
            Self::NotPermitted => Advice {
                now: "become root, or a member of the group in `control.group`",
                operator: "Ask the engineer to add you to the group `prestaged`; it counts from the next login on.",
                engineer: "`adduser USER prestaged`. Names of bays are written with the user's own rights: as root.",
            },
            Self::Configuration => Advice {
                now: "`prestaged --check` names file, line and key",
                operator: "Tell the engineer.",
                engineer: "Each file is checked on its own; `prestaged.toml`(5) has every key.",
            },
            Self::Interrupted => Advice {
                now: "see `prestagectl status` for how far the drive is",
                operator: "Nothing is to be done: the station goes on with the drive.",
                engineer: "`prestagectl stop DRIVE` stops the drive itself.",
            },
        }
    }
}
