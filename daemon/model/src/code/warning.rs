//! What an operator should know about a drive that has passed.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumMessage, EnumString, IntoStaticStr, VariantArray};

codes! {
    /// What an operator should know about a drive even if it has passed. In a record's `warnings` each text begins with
    /// its code.
    WarningCode {
        /// A range had to be written again.
        Rewritten,
        /// Some files of the master could not be compared with the media.
        NotCompared,
        /// Some attributes of files are not on the drive, because no press can keep them.
        NotKept,
        /// The drive was less than half as fast as the others of its model beside it.
        SlowForItsBatch,
        /// The kernel does not count what is written to the drive, so nobody else who writes would be noticed.
        WritersNotCounted,
        /// A loop device could not be read around the page cache.
        CachedReadBack,
        /// Old data was left where it should have been discarded.
        OldDataLeft,
        /// The station was killed before the verdict, and has taken the tables off the drive at its next start.
        TablesRemoved,
        /// Numbers by which the drive tells its own errors have risen during the job, or it says now that it fails.
        HealthWorse,
    }
}

impl WarningCode {
    /// The warning as it stands in a record.
    pub fn says(self, text: impl std::fmt::Display) -> String {
        format!("{self}: {text}")
    }
}
