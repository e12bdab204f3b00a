//! The health of a drive, as the drive itself tells it: what is known, what is asked of it before a drive is written, and
//! what has got worse while it was.
//!
//! A drive need not tell anything, and many tell nonsense. What is not known is never a number: a zero is a good drive.

mod policy;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use strum::{Display, VariantArray};

pub use policy::{Bound, HealthPolicy, Limit};

/// What a drive says about itself as a whole.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Display, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Assessment {
    /// The drive does not expect to fail.
    Passed,
    /// The drive expects to fail soon, or has failed.
    Failed,
}

/// What kind of drive has answered; each counts other things.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Display,
    VariantArray,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// An NVMe drive.
    Nvme,
    /// An ATA drive with rotating media.
    AtaDisk,
    /// An ATA drive without.
    AtaSsd,
    /// An ATA drive that does not say whether anything in it rotates.
    Ata,
    /// A SCSI or SAS drive.
    Scsi,
}

/// A number that a drive tells about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
#[expect(missing_docs, reason = "the fields of `Health` say it")]
pub enum Counter {
    PowerOnHours,
    Reallocated,
    Pending,
    Uncorrectable,
    MediaErrors,
    CrcErrors,
    PercentageUsed,
    AvailableSpare,
    CriticalWarning,
}

impl Counter {
    /// Those that stand still on a good drive.
    const ERRORS: [Self; 5] =
        [Self::Reallocated, Self::Pending, Self::Uncorrectable, Self::MediaErrors, Self::CrcErrors];

    /// In a few words.
    pub fn words(self) -> &'static str {
        match self {
            Self::PowerOnHours => "power-on hours",
            Self::Reallocated => "reallocated sectors",
            Self::Pending => "pending sectors",
            Self::Uncorrectable => "uncorrectable sectors",
            Self::MediaErrors => "media errors",
            Self::CrcErrors => "CRC errors",
            Self::PercentageUsed => "percentage used",
            Self::AvailableSpare => "available spare",
            Self::CriticalWarning => "critical warning",
        }
    }
}

impl Kind {
    /// Whether drives of this kind tell this number, so that one which does not is less well known than it should be.
    /// ATA drives without rotating media have no pending sectors, as others have no spare.
    pub fn tells(self, counter: Counter) -> bool {
        use Counter as C;
        match self {
            Self::Nvme => matches!(
                counter,
                C::PowerOnHours
                    | C::MediaErrors
                    | C::PercentageUsed
                    | C::AvailableSpare
                    | C::CriticalWarning
            ),
            Self::AtaDisk => {
                matches!(counter, C::PowerOnHours | C::Reallocated | C::Pending | C::Uncorrectable)
            }
            Self::AtaSsd => {
                matches!(counter, C::PowerOnHours | C::Reallocated | C::PercentageUsed)
            }
            Self::Ata | Self::Scsi => matches!(counter, C::PowerOnHours | C::Reallocated),
        }
    }
}

/// What is known of a drive's health at one moment. What the drive does not tell, or tells as nonsense, is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Health {
    /// Why nothing is known of it; then everything else is absent.
    pub unknown: Option<String>,
    /// What has answered.
    pub kind: Option<Kind>,
    /// What the drive says about itself as a whole.
    pub self_assessment: Option<Assessment>,
    /// In degrees Celsius.
    pub temperature_celsius: Option<u64>,
    /// How long it has been running in all its life.
    pub power_on_hours: Option<u64>,
    /// Sectors, or blocks of flash memory, that were replaced because they are worn or broken.
    pub reallocated: Option<u64>,
    /// Sectors that could not be read and may be replaced.
    pub pending: Option<u64>,
    /// Sectors that the drive's own scan could not read.
    pub uncorrectable: Option<u64>,
    /// Requests that the drive could not answer with right data.
    pub media_errors: Option<u64>,
    /// Transfers that were damaged between drive and controller; often a cable's.
    pub crc_errors: Option<u64>,
    /// Of the wear that the maker allows for; may be more than 100.
    pub percentage_used: Option<u64>,
    /// In percent of what it was.
    pub available_spare: Option<u64>,
    /// The bits of NVMe's critical warning; 0 is none.
    pub critical_warning: Option<u64>,
}

impl Health {
    /// Nothing is known, for this reason.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self { unknown: Some(why.into()), ..Self::default() }
    }

    /// Whether anything is known.
    pub fn is_known(&self) -> bool {
        self.unknown.is_none()
    }

    /// Whether a drive has told no number and no assessment.
    pub fn is_silent(&self) -> bool {
        self.self_assessment.is_none()
            && self.temperature_celsius.is_none()
            && Counter::VARIANTS.iter().all(|counter| self.of(*counter).is_none())
    }

    /// This number, if it is known.
    pub fn of(&self, counter: Counter) -> Option<u64> {
        match counter {
            Counter::PowerOnHours => self.power_on_hours,
            Counter::Reallocated => self.reallocated,
            Counter::Pending => self.pending,
            Counter::Uncorrectable => self.uncorrectable,
            Counter::MediaErrors => self.media_errors,
            Counter::CrcErrors => self.crc_errors,
            Counter::PercentageUsed => self.percentage_used,
            Counter::AvailableSpare => self.available_spare,
            Counter::CriticalWarning => self.critical_warning,
        }
    }

    /// What has got worse since an earlier look, in words; nothing if nothing is known to have. What was not known at one
    /// of both times has not risen.
    pub fn worse_than(&self, before: &Self) -> Option<String> {
        let mut all = Vec::new();
        if (before.self_assessment, self.self_assessment)
            == (Some(Assessment::Passed), Some(Assessment::Failed))
        {
            all.push("its self-assessment passed before and has failed after".to_owned());
        }
        for counter in Counter::ERRORS {
            if let (Some(was), Some(is)) = (before.of(counter), self.of(counter))
                && is > was
            {
                all.push(format!("{} rose from {was} to {is}", counter.words()));
            }
        }
        if let (Some(was), Some(is)) = (before.critical_warning, self.critical_warning)
            && is & !was != 0
        {
            all.push(format!("its critical warning went from {was:#x} to {is:#x}"));
        }
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// All that is known, a thing each, for people.
    pub fn words(&self) -> Vec<String> {
        let with = |text: &str, value: Option<u64>, unit: &str| {
            value.map(|value| format!("{text}{value}{unit}"))
        };
        let assessment = self.self_assessment.map(|found| format!("self-assessment {found}"));
        let warning = self.critical_warning.map(|bits| format!("critical warning {bits:#x}"));
        let all = [
            assessment,
            warning.filter(|_| self.critical_warning != Some(0)),
            with("", self.temperature_celsius, " °C"),
            with("", self.power_on_hours, " h powered on"),
            with("reallocated ", self.reallocated, ""),
            with("pending ", self.pending, ""),
            with("uncorrectable ", self.uncorrectable, ""),
            with("media errors ", self.media_errors, ""),
            with("CRC errors ", self.crc_errors, ""),
            with("used ", self.percentage_used, " %"),
            with("spare ", self.available_spare, " %"),
        ];
        all.into_iter().flatten().collect()
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unknown {
            Some(why) => write!(f, "unknown: {why}"),
            None => f.write_str(&self.words().join(", ")),
        }
    }
}

/// A drive's health around a job, as it stands in the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HealthRecord {
    /// When it was decided whether the drive may be written.
    pub before: Health,
    /// When the job was done; absent if there was none, or none was ended.
    pub after: Option<Health>,
}
