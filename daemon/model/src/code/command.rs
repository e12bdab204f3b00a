//! Why a command was not carried out, by prestagectl itself.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumMessage, EnumString, IntoStaticStr, VariantArray};

codes! {
    /// Why prestagectl did not do what it was told, where the daemon has given no code; each goes with an exit code.
    CommandCode {
        /// The drive, the media or the ledger is not as it should be.
        Failed,
        /// There is no such thing, or the station does not do it now; nothing was done.
        Refused,
        /// The command line is wrong.
        Usage,
        /// The daemon cannot be reached, or has ended meanwhile.
        Unavailable,
        /// Another attempt at the drive has begun, so the one that was waited for has no verdict.
        Overtaken,
        /// This user may not use the daemon, or not change the configuration.
        NotPermitted,
        /// The configuration is wrong, or cannot be written.
        Configuration,
        /// It was interrupted (Ctrl-C); what was begun on a drive goes on.
        Interrupted,
    }
}
