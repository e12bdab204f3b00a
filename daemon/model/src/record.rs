//! The verification record: one for each attempt at a drive that came to a decision.
//!
//! The ledger's copy is the one that counts, and it is durable before the first byte of the drive is destroyed; the
//! journal gets another copy. Factory systems read records, so the names of the fields are an interface (schema 2; records of schema 1 lack `order`,
//! `attempt` and `health`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::admission::Content;
use crate::boot::BootProgram;
use crate::code::{FindingCode, WarningCode};
use crate::digest::Digest;
use crate::drive::{Bay, Bus, Diskseq, Drive, Serial};
use crate::failure::{Reason, Refusal};
use crate::health::{Health, HealthRecord};
use crate::identity::{Identity, PartitionIdentity};
use crate::job::{Bottleneck, Mismatch, Outcome};
use crate::layout::Plan;
use crate::manifest::{Manifest, MasterId, Recipe};
use crate::old_data::OldData;
use crate::operator::Consent;
use crate::units::{ByteRate, Bytes, Lba};
use crate::verdict::Verdict;

/// Writes times with three digits of milliseconds, always, so that sorting the text sorts the times.
mod time {
    use jiff::Timestamp;
    use serde::Serializer;

    pub(super) fn moment<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{time:.3}"))
    }

    pub(super) fn perhaps<S: Serializer>(
        time: &Option<Timestamp>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => moment(time, to),
            None => to.serialize_none(),
        }
    }
}

/// Version of the record's fields.
pub const SCHEMA: u32 = 2;

/// The media that a drive was imaged with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct MediaRef {
    pub name: String,
    /// Digest of the file; for a split set, of the bytes of all parts.
    pub sha256: Digest,
    /// Index of the image, counted from 1.
    pub image: u32,
    /// The codes of what intake has warned of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<FindingCode>,
}

impl From<&Recipe> for MediaRef {
    fn from(recipe: &Recipe) -> Self {
        let name = recipe.media_name.clone();
        Self { name, sha256: recipe.media_sha256, image: recipe.image, warnings: Vec::new() }
    }
}

/// The master that a drive was written from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct MasterRef {
    pub id: MasterId,
    /// Root digest over the master's bytes, before fix-ups.
    pub root_sha256: Digest,
}

/// One partition as it was written to the drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct PartitionRecord {
    /// GPT name.
    pub name: String,
    pub type_guid: Uuid,
    /// Unique GUID of the partition.
    pub guid: Uuid,
    pub first_lba: Lba,
    /// The last sector that belongs to the partition.
    pub last_lba: Lba,
    /// GPT attribute bits in hexadecimal.
    pub attributes: String,
    /// Serial number of the volume in hexadecimal; absent if there is no file system.
    pub volume_serial: Option<String>,
}

/// The identity that was written to a drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct IdentityRecord {
    pub disk_guid: Uuid,
    pub partitions: Vec<PartitionRecord>,
}

impl IdentityRecord {
    /// The entry for a drive with this plan and this identity.
    pub fn new(plan: &Plan, identity: &Identity) -> Self {
        use crate::layout::Role;
        let partitions = plan
            .partitions
            .iter()
            .zip(&identity.partitions)
            .map(|(planned, own)| PartitionRecord {
                name: planned.name.clone(),
                type_guid: planned.role.type_guid(),
                guid: own.guid,
                first_lba: planned.first,
                last_lba: planned.last,
                attributes: planned.attributes.into(),
                volume_serial: match planned.role {
                    Role::Msr => None,
                    Role::Esp => Some(format!("{:08x}", own.volume_serial & 0xffff_ffff)),
                    Role::Windows | Role::Recovery => Some(format!("{:016x}", own.volume_serial)),
                },
            })
            .collect();
        Self { disk_guid: identity.disk, partitions }
    }
}

impl IdentityRecord {
    /// The identity as it was stamped; `None` if the record's text for it cannot be read. A partition without a file
    /// system has no volume serial number, and FAT has only half of one; nothing else of it was ever stamped.
    pub fn identity(&self) -> Option<Identity> {
        let own = |partition: &PartitionRecord| {
            let serial = partition
                .volume_serial
                .as_deref()
                .map_or(Ok(0), |text| u64::from_str_radix(text, 16));
            Some(PartitionIdentity { guid: partition.guid, volume_serial: serial.ok()? })
        };
        let partitions = self.partitions.iter().map(own).collect::<Option<_>>()?;
        Some(Identity { disk: self.disk_guid, partitions })
    }
}

/// The name of a new job. Names sort by the time at which their jobs were opened.
pub fn job_id(now: Timestamp) -> Uuid {
    let (seconds, nanoseconds) = (now.as_second(), now.subsec_nanosecond());
    // Negative before 1970: a clock that is so wrong gives names that sort first.
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let nanoseconds = u32::try_from(nanoseconds).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds))
}

/// The record of one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the job; names sort by time.
    pub job: Uuid,
    /// Name of the station.
    pub station: String,
    pub serial: Option<Serial>,
    pub wwn: Option<String>,
    pub model: Option<String>,
    pub firmware: Option<String>,
    pub bus: Bus,
    pub bay: Bay,
    pub diskseq: Diskseq,
    pub size_bytes: Bytes,
    pub logical_sector_bytes: u32,
    /// Absent if the drive was refused before a media was chosen.
    pub media: Option<MediaRef>,
    /// Absent if the drive was refused before its master was at hand.
    pub master: Option<MasterRef>,
    /// Absent if the drive was given no identity.
    pub identity: Option<IdentityRecord>,
    /// Absent while the job runs.
    pub verdict: Option<Verdict>,
    /// Absent if the drive passed.
    pub reason: Option<Reason>,
    /// What an operator should know even if the drive passed.
    pub warnings: Vec<String>,
    pub written_bytes: Bytes,
    /// Bytes read back and found right.
    pub verified_bytes: Bytes,
    /// Root digest over all bytes read back.
    pub readback_sha256: Option<Digest>,
    pub mismatches: Vec<Mismatch>,
    /// Mean rate of the write phase.
    pub write_bytes_per_second: Option<ByteRate>,
    /// Mean rate of the read-back phase.
    pub verify_bytes_per_second: Option<ByteRate>,
    #[serde(default)]
    pub write_limited_by: Option<Bottleneck>,
    #[serde(default)]
    pub verify_limited_by: Option<Bottleneck>,
    /// Processor time spent on the drive.
    #[serde(default)]
    pub cpu_milliseconds: u64,
    /// What became of what the drive held where the master writes nothing; absent if the drive was not touched.
    #[serde(default)]
    pub old_data: Option<OldData>,
    /// The programs on the drive's EFI system partition; none if it is not made bootable.
    #[serde(default)]
    pub boot_programs: Vec<BootProgram>,
    /// The number of the order that the drive belongs to.
    #[serde(default)]
    pub order: Option<String>,
    /// Which job of this serial number for this order it is, counted from 1.
    #[serde(default)]
    pub attempt: Option<u32>,
    /// Who asked for the attempt, where somebody did.
    #[serde(default)]
    pub operator: Option<String>,
    /// The consent that what the drive held is lost, where somebody gave it.
    #[serde(default)]
    pub consent: Option<Consent>,
    /// The drive's health before and after the job; absent if nobody has asked for it.
    #[serde(default)]
    pub health: Option<HealthRecord>,
    #[serde(serialize_with = "time::moment")]
    #[schemars(with = "Timestamp")]
    pub opened: Timestamp,
    #[serde(serialize_with = "time::perhaps")]
    #[schemars(with = "Option<Timestamp>")]
    pub closed: Option<Timestamp>,
    /// Version of the program that opened the record.
    pub prestaged_version: String,
}

impl Record {
    /// Opens a record of a drive about which nothing is decided yet.
    pub fn open(station: &str, drive: &Drive, now: Timestamp) -> Self {
        Self {
            schema: SCHEMA,
            job: job_id(now),
            station: station.to_owned(),
            serial: drive.serial.clone(),
            wwn: drive.wwn.clone(),
            model: drive.model.clone(),
            firmware: drive.firmware.clone(),
            bus: drive.bus.clone(),
            bay: drive.bay.clone(),
            diskseq: drive.diskseq,
            size_bytes: drive.size,
            logical_sector_bytes: drive.logical_sector_bytes,
            media: None,
            master: None,
            identity: None,
            verdict: None,
            reason: None,
            warnings: Vec::new(),
            written_bytes: Bytes(0),
            verified_bytes: Bytes(0),
            readback_sha256: None,
            mismatches: Vec::new(),
            write_bytes_per_second: None,
            verify_bytes_per_second: None,
            write_limited_by: None,
            verify_limited_by: None,
            cpu_milliseconds: 0,
            old_data: None,
            boot_programs: Vec::new(),
            order: None,
            attempt: None,
            operator: None,
            consent: None,
            health: None,
            opened: now,
            closed: None,
            prestaged_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Whether the drive was refused: then nothing was written to it.
    pub fn is_refusal(&self) -> bool {
        self.verdict == Some(Verdict::Refused)
    }

    /// Adds the media and the master that the drive is imaged with, and the master's warnings.
    #[must_use]
    pub fn with_master(mut self, manifest: &Manifest) -> Self {
        let recipe = &manifest.recipe;
        // The master may have been pressed from a file that has got another name since.
        let named = self.media.take().filter(|media| media.sha256 == recipe.media_sha256);
        self.media = Some(named.unwrap_or_else(|| recipe.into()));
        self.master =
            Some(MasterRef { id: manifest.id.clone(), root_sha256: manifest.root_sha256 });
        self.warnings.extend(manifest.warnings.iter().cloned());
        self.boot_programs.clone_from(&manifest.boot_programs);
        self
    }

    /// Adds to the consent what the drive held.
    #[must_use]
    pub fn with_consent_to(mut self, content: &Content) -> Self {
        if let Some(consent) = &mut self.consent {
            consent.held = match content {
                Content::Foreign(what) => Some(what.clone()),
                Content::Ours(job) => Some(format!("what job {job} has left on it")),
                Content::Unknown | Content::Blank | Content::Unreadable(_) => None,
            };
        }
        self
    }

    /// Adds the drive's health after the job, with a warning if it is worse than before.
    #[must_use]
    pub fn with_health_after(mut self, after: Option<Health>) -> Self {
        if let (Some(health), Some(after)) = (&mut self.health, after) {
            let worse = after.worse_than(&health.before);
            self.warnings.extend(worse.map(|what| WarningCode::HealthWorse.says(what)));
            health.after = Some(after);
        }
        self
    }

    /// Adds the identity that the drive is given.
    #[must_use]
    pub fn with_identity(mut self, plan: &Plan, identity: &Identity) -> Self {
        self.identity = Some(IdentityRecord::new(plan, identity));
        self
    }

    /// Closes the record with the outcome of its job.
    #[must_use]
    pub fn closed_by(mut self, outcome: Outcome, now: Timestamp) -> Self {
        let report = outcome.report;
        self.verdict = Some(outcome.verdict);
        self.reason = outcome.reason;
        self.warnings.extend(report.warnings);
        self.written_bytes = report.written;
        self.verified_bytes = report.verified;
        self.readback_sha256 = report.readback;
        self.mismatches = report.mismatches;
        self.write_bytes_per_second = report.write_rate;
        self.verify_bytes_per_second = report.verify_rate;
        self.write_limited_by = report.write_bottleneck;
        self.verify_limited_by = report.verify_bottleneck;
        self.cpu_milliseconds = u64::try_from(report.cpu.as_millis()).unwrap_or(u64::MAX);
        self.old_data = report.old_data;
        self.closed = Some(now);
        self
    }

    /// Closes the record of a job that has no outcome: it wrote nothing, or was interrupted.
    #[must_use]
    pub fn closed_with(mut self, verdict: Verdict, reason: Reason, now: Timestamp) -> Self {
        debug_assert!(reason.code.verdicts().contains(&verdict), "{verdict}: {}", reason.code);
        self.verdict = Some(verdict);
        self.reason = Some(reason);
        self.closed = Some(now);
        self
    }

    /// Closes the record with the verdict `refused`.
    #[must_use]
    pub fn refused(self, refusal: Refusal, now: Timestamp) -> Self {
        self.closed_with(Verdict::Refused, refusal, now)
    }

    /// The record as one line for a person:
    /// `S4EVNX0M passed: win11.wim, 18.2 GB at 512.0 MB/s, read back at 530.0 MB/s`.
    pub fn sentence(&self) -> String {
        let serial = self.serial.as_ref().map_or("(no serial)", Serial::as_str);
        let Some(verdict) = self.verdict else {
            let media = self.media.as_ref().map_or("unknown media", |m| &m.name);
            return format!("{serial} started: {media}, bay {}", self.bay);
        };
        match (verdict, &self.reason) {
            (Verdict::Passed, _) | (_, None) => {
                let media = self.media.as_ref().map_or("unknown media", |m| &m.name);
                let rate = |rate: Option<ByteRate>| rate.unwrap_or_default();
                let mut text = format!(
                    "{serial} {verdict}: {media}, {} at {}, read back at {}",
                    self.written_bytes,
                    rate(self.write_bytes_per_second),
                    rate(self.verify_bytes_per_second)
                );
                if !self.warnings.is_empty() {
                    text += &format!("; with warnings: {}", self.warnings.join("; "));
                }
                text
            }
            (_, Some(reason)) => format!("{serial} {verdict}: {}", reason.sentence()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::ReasonCode;

    fn sample() -> Record {
        serde_json::from_str(include_str!("schema1.json")).unwrap()
    }

    /// Records are kept for years and read by other programs: records like the one in the fixture must be read for
    /// ever, and written as they were read.
    #[test]
    fn schema_1_reads_and_writes_unchanged() {
        let text = include_str!("schema1.json");
        let before: serde_json::Value = serde_json::from_str(text).unwrap();
        let mut after = serde_json::to_value(sample()).unwrap();
        // Schema 2 has more.
        for added in ["order", "attempt", "health"] {
            assert!(after.as_object_mut().unwrap().remove(added).unwrap().is_null(), "{added}");
        }
        assert_eq!(before, after);
        // Fields that were added later may be missing.
        let mut older = before;
        for added in [
            "write_limited_by",
            "verify_limited_by",
            "cpu_milliseconds",
            "old_data",
            "boot_programs",
            "operator",
            "consent",
        ] {
            older.as_object_mut().unwrap().remove(added).unwrap();
        }
        serde_json::from_value::<Record>(older).unwrap();
    }

    #[test]
    fn an_identity_comes_back_from_its_record() {
        use crate::identity::{Fixup, Site, stamp};
        use crate::layout::Layout;
        let geometry =
            crate::drive::Geometry { size: Bytes(8 << 30), sector: crate::units::SectorSize::B512 };
        let plan = Layout::default().plan(geometry).unwrap();
        let own = Identity::random(plan.partitions.len());
        let back = IdentityRecord::new(&plan, &own).identity().unwrap();
        let sites = [
            (0, 16, Fixup::DiskGuid),
            (16, 16, Fixup::PartitionGuid(1)),
            (32, 4, Fixup::FatSerial(0)),
            (40, 8, Fixup::NtfsSerial(2)),
            (48, 8, Fixup::NtfsSerial(3)),
        ];
        let sites = sites.map(|(at, length, fixup)| Site {
            offset: Bytes(at),
            length: Bytes(length),
            fixup,
        });
        let stamped = |identity: &Identity| {
            let mut data = [0; 56];
            stamp(&mut data, Bytes(0), &sites, identity).unwrap();
            data
        };
        assert_eq!(stamped(&own), stamped(&back));
    }

    #[test]
    fn the_sentence_says_it_all() {
        assert_eq!(
            sample().sentence(),
            "S4EVNX0M passed: win11.wim, 18.2 GB at 512.0 MB/s, read back at 530.0 MB/s"
        );
        let reason = Reason::new(ReasonCode::Mismatch, "1 range differs");
        let failed = sample().closed_with(Verdict::Failed, reason, Timestamp::UNIX_EPOCH);
        assert_eq!(failed.sentence(), "S4EVNX0M failed: mismatch: 1 range differs");
    }
}
