//! All codes of prestaged, with their meanings. Factory systems compare codes, so they are an interface and are never
//! renamed.
//!
//! The doc comment of a code is its entry in `daemon/manual`, and a test compares the two. The wire names are pinned by the
//! test at the end of this file.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumMessage, EnumString, IntoStaticStr, VariantArray};

use crate::verdict::Verdict;

/// Declares an enum of codes, whose wire names are the variants' names in snake_case.
macro_rules! codes {
    ($(#[$about:meta])* $name:ident { $($(#[$meaning:meta])* $code:ident,)* }) => {
        $(#[$about])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            Display, EnumMessage, EnumString, IntoStaticStr, VariantArray, schemars::JsonSchema,
        )]
        #[serde(rename_all = "snake_case")]
        #[strum(serialize_all = "snake_case")]
        pub enum $name { $($(#[$meaning])* $code,)* }

        impl $name {
            /// What the code means, in one sentence.
            pub fn meaning(self) -> &'static str {
                self.get_documentation().unwrap_or_default()
            }
        }
    };
}

mod command;
mod denial;
mod warning;

pub use command::CommandCode;
pub use denial::DenialCode;
pub use warning::WarningCode;

codes! {
    /// Why a drive did not pass. Which codes go with which verdict: [`ReasonCode::verdicts`].
    ReasonCode {
        /// The station is disarmed.
        NotArmed,
        /// The drive's bus is not in `admission.buses`.
        BusNotAllowed,
        /// The drive's bay is not in `admission.bays`.
        BayNotAllowed,
        /// The drive's model is not in `admission.models`.
        ModelNotAllowed,
        /// The drive's serial number is not in `admission.serials`, or not among those of its order.
        SerialNotAllowed,
        /// The drive has none of the capacities in `admission.sizes`.
        SizeNotAllowed,
        /// The drive's sectors have a size that the layout does not work with.
        SectorSize,
        /// There is no medium in the drive: an empty slot of a card reader, or a drive that reports 0 bytes.
        NoMedium,
        /// The drive is too small for `admission.min_size`, the layout or the content.
        TooSmall,
        /// The drive is larger than `admission.max_size`, than the layout's file systems can be, or than a file in the store.
        TooLarge,
        /// The running system needs the drive.
        SystemDisk,
        /// A file system on the drive is mounted.
        Mounted,
        /// Something else uses the drive.
        InUse,
        /// Who uses the drive cannot be found out.
        UsageUnknown,
        /// The drive is write-protected.
        ReadOnly,
        /// The drive reports no serial number of its own, and no WWN that could stand in.
        NoSerial,
        /// Another attached drive has the same serial number.
        DuplicateSerial,
        /// The drive has passed with the same media, layout and geometry before, and is as it was then.
        AlreadyPassed,
        /// The drive holds something that `admission.overwrite` does not give up.
        NotBlank,
        /// No media is in the inbox, none is offered to the drive, or none has the name that was asked for.
        NoMedia,
        /// Several media are offered automatically, and nothing decides between them.
        MediaAmbiguous,
        /// The media has a problem.
        MediaInvalid,
        /// The media is past its last day, by its signed manifest or `media.expires`.
        MediaExpired,
        /// The media's first day, by its signed manifest, has not come, or it was signed later than tomorrow.
        MediaNotYetValid,
        /// No manifest lies beside the media, or it is none of this media.
        MediaUnsigned,
        /// Nobody whom the station trusts for the product has signed the media's manifest, or too few have.
        SignerUnknown,
        /// A later version of the product has been seen.
        MediaRollback,
        /// The drive belongs to no order, and no media is offered to drives without one.
        NoOrder,
        /// The drive belongs to several orders.
        OrderAmbiguous,
        /// The order has all the drives that it may have.
        OrderComplete,
        /// The order is held.
        OrderHeld,
        /// The time of the order has not come.
        OrderNotYetValid,
        /// The time of the order is over.
        OrderExpired,
        /// The first drives of the order wait for approval.
        FirstArticlePending,
        /// The drive has failed as often as its order allows.
        AttemptsExhausted,
        /// The drive's health is below what `health` in the configuration asks for, or unknown where it is required.
        Health,
        /// The drive is not the one that was judged any more.
        DriveChanged,
        /// The record cannot be written, so the drive is not touched.
        LedgerUnavailable,
        /// Somebody has changed the ledger or its log; nothing is written until a person acknowledges it.
        LedgerTampered,
        /// The drive did not answer a request for longer than `replicate.stall_timeout`.
        Stalled,
        /// Writing to the drive failed.
        WriteError,
        /// Reading the drive failed, before anything was written or when it was read back.
        ReadError,
        /// The drive does not hold what was written; `mismatches` lists the sectors.
        Mismatch,
        /// Something else wrote to the drive while it was imaged.
        ForeignWrite,
        /// The drive was pulled, or its capacity has changed.
        Unplugged,
        /// The drive stayed below `replicate.min_write_rate` or `replicate.min_batch_share`.
        TooSlow,
        /// The boot configuration on the drive does not name the drive's own partitions.
        BootConfiguration,
        /// The master for the drive could not be made.
        PressFailed,
        /// The master could not be read from the store, or has changed there.
        StoreError,
        /// The system gave the station no memory for the job; nothing wrong with the drive is known.
        OutOfMemory,
        /// The station itself made a mistake; the log has more.
        InternalError,
        /// An operator stopped the job.
        OperatorStop,
        /// The station was told to end.
        StationShutdown,
        /// The station was killed while it imaged the drive.
        StationInterrupted,
    }
}

impl ReasonCode {
    /// The verdicts that can have this code as their reason.
    pub fn verdicts(self) -> &'static [Verdict] {
        use ReasonCode as C;
        match self {
            C::NotArmed
            | C::BusNotAllowed
            | C::BayNotAllowed
            | C::ModelNotAllowed
            | C::SerialNotAllowed
            | C::SizeNotAllowed
            | C::SectorSize
            | C::NoMedium
            | C::TooSmall
            | C::TooLarge
            | C::SystemDisk
            | C::Mounted
            | C::InUse
            | C::UsageUnknown
            | C::ReadOnly
            | C::NoSerial
            | C::DuplicateSerial
            | C::AlreadyPassed
            | C::NotBlank
            | C::NoMedia
            | C::MediaAmbiguous
            | C::MediaInvalid
            | C::MediaExpired
            | C::MediaNotYetValid
            | C::MediaUnsigned
            | C::SignerUnknown
            | C::MediaRollback
            | C::NoOrder
            | C::OrderAmbiguous
            | C::OrderComplete
            | C::OrderHeld
            | C::OrderNotYetValid
            | C::OrderExpired
            | C::FirstArticlePending
            | C::AttemptsExhausted
            | C::Health
            | C::DriveChanged
            | C::LedgerUnavailable
            | C::LedgerTampered => &[Verdict::Refused],
            C::Stalled | C::ReadError | C::OutOfMemory | C::InternalError => {
                &[Verdict::Refused, Verdict::Failed]
            }
            C::WriteError
            | C::Mismatch
            | C::ForeignWrite
            | C::Unplugged
            | C::TooSlow
            | C::BootConfiguration
            | C::PressFailed
            | C::StoreError => &[Verdict::Failed],
            C::OperatorStop | C::StationShutdown | C::StationInterrupted => &[Verdict::Stopped],
        }
    }

    /// Whether the refusal is due to the state of the station and not to the drive. The drive is judged again when the
    /// station is armed, its media changes, or its ledger can be used again.
    pub fn lies_with_station(self) -> bool {
        matches!(
            self,
            Self::NotArmed
                | Self::NoMedia
                | Self::MediaAmbiguous
                | Self::MediaInvalid
                | Self::MediaExpired
                | Self::MediaNotYetValid
                | Self::MediaUnsigned
                | Self::SignerUnknown
                | Self::MediaRollback
                | Self::NoOrder
                | Self::OrderAmbiguous
                | Self::OrderComplete
                | Self::OrderHeld
                | Self::OrderNotYetValid
                | Self::OrderExpired
                | Self::FirstArticlePending
                | Self::AttemptsExhausted
                | Self::LedgerUnavailable
                | Self::LedgerTampered
        )
    }

    /// Whether a failure with this code counts against the drive, and not against the station.
    pub fn is_of_drive(self) -> bool {
        !matches!(
            self,
            Self::PressFailed | Self::StoreError | Self::OutOfMemory | Self::InternalError
        )
    }

    /// Whether there is no drive that belongs to the station: no record is made of it, and views list it only as a device.
    pub fn is_out_of_scope(self) -> bool {
        matches!(self, Self::BusNotAllowed | Self::BayNotAllowed | Self::NoMedium)
    }
}

codes! {
    /// What intake found in media: problems, with which it is never used, and warnings.
    FindingCode {
        /// The file is no WIM, its digests contradict its content, or its structure cannot be read.
        WimDamaged,
        /// The file's writer has not finished it.
        WimUnfinished,
        /// The contents of some files are not in the WIM.
        WimIncomplete,
        /// The file cannot be read.
        MediaUnreadable,
        /// The check itself failed; `prestagectl media verify` tries it once more.
        CheckFailed,
        /// A part of a split set is not in the inbox.
        SplitPartMissing,
        /// The media has no image with the index of `media.image`.
        ImageMissing,
        /// Files are encrypted with EFS, which cannot be restored.
        EncryptedFiles,
        /// Names of files or streams hold what Windows allows in none (`/`, `\`, `:`, control characters), are longer than 255 letters, `.`, `..` or empty.
        NamesInvalid,
        /// Names are twice in one folder, or differ only in upper and lower case.
        NamesTwice,
        /// A press would fail: libwim or NTFS refuses or loses something that the image holds.
        NotApplicable,
        /// The boot files do not fit onto the EFI system partition of the layout.
        EspTooSmall,
        /// FAT, the file system of the EFI system partition, cannot hold the names of boot files.
        EspNamesInvalid,
        /// The media has no boot manager.
        BootFilesMissing,
        /// Boot files are compressed by Windows (CompactOS) or other reparse points, so their contents cannot be laid out.
        BootFilesCompressed,
        /// A boot manager is no program that UEFI firmware of its machine starts.
        BootManagerInvalid,
        /// The media has no boot configuration.
        BcdMissing,
        /// The BCD is damaged, was not closed cleanly, or does not start a boot image of the media through UEFI.
        BcdInvalid,
        /// The media has no boot.wim, or not the file that the BCD starts in its place.
        BootImageMissing,
        /// boot.wim is damaged, also inside, or is nothing that a boot manager could start.
        BootImageDamaged,
        /// boot.wim is for another architecture than the boot manager.
        BootImageArchitecture,
        /// There is no room to unpack the boot files in the temporary folder.
        UnpackFailed,
        /// There is no boot.sdi where the BCD looks for it, without which the boot image cannot be started.
        BootSdiMissing,
        /// No manifest lies beside the media, or it is none of this media; the station lists signers, so it needs one.
        MediaUnsigned,
        /// Nobody whom the station trusts for the product has signed the media's manifest, or too few have.
        SignerUnknown,
        /// A later version of the product has been seen.
        MediaRollback,
        /// Warning: several files in the inbox are the same part of a split set; one is used.
        SplitPartCopies,
        /// Warning: the counts of files and folders in the media's XML are not those of its directory tree.
        CountsDiffer,
        /// Warning: files have no security descriptor, and get what Windows would give them in their folders.
        NoSecurityDescriptor,
        /// Warning: extended attributes are not restored.
        ExtendedAttributes,
        /// Warning: files or folders have attributes that no press keeps.
        AttributesNotKept,
        /// Warning: short names of files are not kept, because a file with several names has one.
        ShortNamesNotKept,
        /// Warning: names of one file have attributes, times, streams or descriptors that are not the same; the file gets those of one of them.
        LinksDiffer,
        /// Warning: boot.wim does not have the loader that the BCD starts.
        BootLoaderMissing,
        /// Warning: a boot manager does not say that it is an application for UEFI.
        BootManagerUnclear,
        /// Warning: boot.wim is an SDI image and no WIM file, so nothing about it was checked.
        BootImageUnknown,
        /// Warning: boot.wim does not say for which architecture it is.
        BootImageArchitectureUnknown,
        /// Warning: the boot manager is signed only by Microsoft's certificate of 2011.
        #[serde(rename = "boot_manager_2011")]
        #[strum(serialize = "boot_manager_2011")]
        BootManager2011,
        /// Warning: the boot manager is not signed, or by none of Microsoft's certificates.
        BootManagerUnsigned,
        /// Warning: boot.wim is compressed in a way that Windows' boot manager is not known to read.
        BootImageCompression,
        /// Warning: `osdevice` of an entry of the BCD is not its `device`; drives get `device` for both.
        BootOsDevice,
        /// Warning: boot.wim does not have the folder that the BCD names as its Windows (`systemroot`).
        BootSystemRootMissing,
        /// Warning: `media.expires` has the file's name in other upper and lower case.
        ExpiryName,
    }
}

impl FindingCode {
    /// Whether media with this finding may be used.
    pub fn is_warning(self) -> bool {
        matches!(
            self,
            Self::SplitPartCopies
                | Self::CountsDiffer
                | Self::NoSecurityDescriptor
                | Self::ExtendedAttributes
                | Self::AttributesNotKept
                | Self::ShortNamesNotKept
                | Self::LinksDiffer
                | Self::BootLoaderMissing
                | Self::BootManagerUnclear
                | Self::BootImageUnknown
                | Self::BootImageArchitectureUnknown
                | Self::BootManager2011
                | Self::BootManagerUnsigned
                | Self::BootImageCompression
                | Self::BootOsDevice
                | Self::BootSystemRootMissing
                | Self::ExpiryName
        )
    }
}

codes! {
    /// Why a worker, a press or the store could not do its task.
    FailureCode {
        /// The media was changed or taken away; it is verified again.
        MediaChanged,
        /// The media cannot be read.
        MediaUnreadable,
        /// libwim cannot read the media.
        WimDamaged,
        /// The media's boot files cannot be used.
        MediaInvalid,
        /// The content does not fit the volume.
        VolumeFull,
        /// The store's file system takes no file as large as the drive.
        ImageTooLarge,
        /// The store's file system is full.
        StoreFull,
        /// The master does not fit the store's budget.
        StoreBudget,
        /// The store cannot be read or written.
        StoreError,
        /// A master in the store is not what was pressed.
        MasterDamaged,
        /// A program that a press needs is not installed.
        ToolMissing,
        /// The press failed.
        PressFailed,
        /// The press was cancelled on purpose.
        Cancelled,
        /// The drive cannot be read.
        ReadError,
        /// The drive has no partition tables of a finished drive.
        NotImaged,
        /// The Windows volume on the drive cannot be read.
        VolumeDamaged,
        /// A file or folder that the recipe names is not there, or cannot be read.
        SourceUnreadable,
        /// A file that the recipe names is damaged, incomplete, or not of the kind that it must be.
        SourceDamaged,
        /// A file or folder that the recipe names was changed while media was made of it.
        SourceChanged,
        /// A WIM file that the recipe names has no image with this index.
        ImageMissing,
        /// Names are not allowed on Windows, are links or special files, or differ from others only in upper and lower case.
        NamesInvalid,
        /// The boot image is for another architecture than the boot manager of the operating system image.
        BootImageArchitecture,
        /// There is no room for the media.
        NoRoom,
        /// What was made is not what the recipe asks for, or intake would refuse it.
        CreateFailed,
        /// libwim cannot be loaded.
        Libwim,
        /// The worker process crashed or was killed.
        WorkerFailed,
        /// The station itself made a mistake; the log has more.
        InternalError,
        /// Parts of a parcel are missing; what came is kept.
        ParcelIncomplete,
        /// A part of a parcel is not what its manifest says, or the manifest was changed.
        ParcelDamaged,
        /// A parcel leaves out what other media has, and that media is not in the inbox.
        BaseMissing,
        /// Nobody whom the station trusts for the product has signed the parcel, or too few have.
        SignerUnknown,
        /// The inbox does not take the media: there is no room, or other media of its name is there.
        InboxError,
    }
}

#[cfg(test)]
mod tests;
