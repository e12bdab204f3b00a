//! Codes of requests that are not carried out.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumMessage, EnumString, IntoStaticStr, VariantArray};

codes! {
    /// Why a request was not carried out.
    DenialCode {
        /// The request cannot be read.
        BadRequest,
        /// There is no such path.
        NoSuchPath,
        /// The path takes another method.
        WrongMethod,
        /// Whoever asks may not control the station.
        NotPermitted,
        /// The station is ending.
        Draining,
        /// The station has as many connections as it takes.
        Overloaded,
        /// There is no such order.
        NoSuchOrder,
        /// The order does not allow this change.
        OrderUnchangeable,
        /// What was scanned is nothing that the station knows, or may be one of several things.
        UnclearScan,
        /// No such drive is attached.
        NoSuchDrive,
        /// Several attached drives are called so.
        AmbiguousDrive,
        /// There is no such master.
        NoSuchMaster,
        /// There is no record of this job, or none of this drive that has passed.
        NoSuchRecord,
        /// The digests of what the drive was given are not kept any more.
        DigestsMissing,
        /// There is no such media.
        NoMedia,
        /// Several media are offered automatically, and none was named.
        MediaAmbiguous,
        /// The media has a problem.
        MediaInvalid,
        /// The layout does not fit a drive of this size.
        TooSmall,
        /// No master can be made for a drive of this size.
        TooLarge,
        /// The drive is not being imaged.
        NotRunning,
        /// The drive has passed.
        AlreadyPassed,
        /// The drive is being imaged.
        Busy,
        /// The drive is on a bus or in a bay that does not belong to the station.
        OutOfScope,
        /// The drive still does not answer.
        Stalled,
        /// The store cannot be changed.
        StoreError,
        /// The ledger cannot be read.
        LedgerUnavailable,
        /// Somebody has changed the ledger or its log.
        LedgerTampered,
        /// The station itself made a mistake; the log has more.
        InternalError,
        /// The answer is not one of prestaged's.
        UnexpectedAnswer,
    }
}

impl DenialCode {
    /// The status of an HTTP answer with this code.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::NotPermitted => 403,
            Self::NoSuchPath
            | Self::NoSuchDrive
            | Self::NoSuchMaster
            | Self::NoSuchRecord
            | Self::DigestsMissing
            | Self::NoSuchOrder
            | Self::UnclearScan
            | Self::NoMedia => 404,
            Self::WrongMethod => 405,
            Self::MediaInvalid
            | Self::MediaAmbiguous
            | Self::OrderUnchangeable
            | Self::TooSmall
            | Self::TooLarge
            | Self::NotRunning
            | Self::AlreadyPassed
            | Self::Busy
            | Self::OutOfScope
            | Self::AmbiguousDrive
            | Self::Stalled
            | Self::LedgerTampered
            | Self::StoreError => 409,
            Self::LedgerUnavailable | Self::InternalError | Self::UnexpectedAnswer => 500,
            Self::Draining | Self::Overloaded => 503,
        }
    }
}
