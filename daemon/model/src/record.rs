//! The verification record: one per drive insertion that reached a decision.
//!
//! The ledger is the record of truth, durable before the first destructive byte; the journal gets a copy. Field names
//! are an interface (schema 1): factory systems read them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Digest;
use crate::drive::{Bay, Bus, Diskseq, Drive, Serial};
use crate::failure::{Reason, Refusal};
use crate::identity::Identity;
use crate::job::{Bottleneck, Mismatch, Outcome, Verdict};
use crate::layout::Plan;
use crate::manifest::{Manifest, MasterId};
use crate::units::{ByteRate, Bytes, Lba};

/// Times in milliseconds, always with three digits, so that text sorts as time does.
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

/// Version of the record's form.
pub const SCHEMA: u32 = 1;

/// The media a drive was imaged with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaRef {
    /// File name.
    pub name: String,
    /// SHA-256 of the file, or of all parts.
    pub sha256: Digest,
    /// Image index.
    pub image: u32,
}

/// The master it was written from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterRef {
    /// Its name.
    pub id: MasterId,
    /// Root digest before fix-ups.
    pub root_sha256: Digest,
}

/// One partition as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRecord {
    /// GPT name.
    pub name: String,
    /// Type GUID.
    pub type_guid: Uuid,
    /// Unique GUID.
    pub guid: Uuid,
    /// First sector.
    pub first_lba: Lba,
    /// Last sector.
    pub last_lba: Lba,
    /// Attribute bits in hexadecimal.
    pub attributes: String,
    /// Volume serial in hexadecimal; none where there is no file system.
    pub volume_serial: Option<String>,
}

/// What is unique about a drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityRecord {
    /// GPT disk GUID.
    pub disk_guid: Uuid,
    /// Partitions in order.
    pub partitions: Vec<PartitionRecord>,
}

impl IdentityRecord {
    /// What a drive with this plan and identity says of itself.
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

/// A new job's name, which sorts by the time at which the job was opened.
pub fn job_id(now: Timestamp) -> Uuid {
    let (seconds, nanoseconds) = (now.as_second(), now.subsec_nanosecond());
    // Not before 1970; a clock that is wrong by so much gives names that sort first.
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let nanoseconds = u32::try_from(nanoseconds).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds))
}

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the job; sorts by time.
    pub job: Uuid,
    /// Station's name.
    pub station: String,
    /// Serial number.
    pub serial: Option<Serial>,
    /// World-wide name.
    pub wwn: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Firmware.
    pub firmware: Option<String>,
    /// Bus.
    pub bus: Bus,
    /// Bay.
    pub bay: Bay,
    /// Attachment count since the machine's start.
    pub diskseq: Diskseq,
    /// Capacity.
    pub size_bytes: Bytes,
    /// Logical sector size.
    pub logical_sector_bytes: u32,
    /// Media, unless refused before one was chosen.
    pub media: Option<MediaRef>,
    /// Master, unless refused before one was there.
    pub master: Option<MasterRef>,
    /// Identity, once one was given.
    pub identity: Option<IdentityRecord>,
    /// Verdict; absent while the job runs.
    pub verdict: Option<Verdict>,
    /// Reason; absent if passed.
    pub reason: Option<Reason>,
    /// What an operator should know.
    pub warnings: Vec<String>,
    /// Bytes written.
    pub written_bytes: Bytes,
    /// Bytes read back and found right.
    pub verified_bytes: Bytes,
    /// Root digest over what was read back.
    pub readback_sha256: Option<Digest>,
    /// Ranges that differ.
    pub mismatches: Vec<Mismatch>,
    /// Mean rate of writing.
    pub write_bytes_per_second: Option<ByteRate>,
    /// Mean rate of reading back.
    pub verify_bytes_per_second: Option<ByteRate>,
    /// What limited writing.
    #[serde(default)]
    pub write_limited_by: Option<Bottleneck>,
    /// What limited reading back.
    #[serde(default)]
    pub verify_limited_by: Option<Bottleneck>,
    /// Processor time that the drive took, in milliseconds.
    #[serde(default)]
    pub cpu_milliseconds: u64,
    /// When the job was opened.
    #[serde(serialize_with = "time::moment")]
    pub opened: Timestamp,
    /// When it was closed.
    #[serde(serialize_with = "time::perhaps")]
    pub closed: Option<Timestamp>,
    /// Version of this program.
    pub prestaged_version: String,
}

impl Record {
    /// A record of a drive with nothing decided yet.
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
            opened: now,
            closed: None,
            prestaged_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Adds what the drive is imaged with.
    #[must_use]
    pub fn with_master(mut self, manifest: &Manifest) -> Self {
        self.media = Some(MediaRef {
            name: manifest.recipe.media_name.clone(),
            sha256: manifest.recipe.media_sha256,
            image: manifest.recipe.image,
        });
        self.master =
            Some(MasterRef { id: manifest.id.clone(), root_sha256: manifest.root_sha256 });
        self.warnings.extend(manifest.warnings.iter().cloned());
        self
    }

    /// Adds the identity the drive is given.
    #[must_use]
    pub fn with_identity(mut self, plan: &Plan, identity: &Identity) -> Self {
        self.identity = Some(IdentityRecord::new(plan, identity));
        self
    }

    /// Closes it with the outcome of a job.
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
        self.closed = Some(now);
        self
    }

    /// Closes it without a byte having been written, or after an interruption.
    #[must_use]
    pub fn closed_with(mut self, verdict: Verdict, reason: Reason, now: Timestamp) -> Self {
        debug_assert!(reason.code.verdicts().contains(&verdict), "{verdict}: {}", reason.code);
        self.verdict = Some(verdict);
        self.reason = Some(reason);
        self.closed = Some(now);
        self
    }

    /// Closes it as refused.
    #[must_use]
    pub fn refused(self, refusal: Refusal, now: Timestamp) -> Self {
        self.closed_with(Verdict::Refused, refusal, now)
    }

    /// One line for a person: `S4EVNX0M passed: win11.wim, 18.2 GB at 512.0 MB/s, read back at 530.0 MB/s`.
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

    /// Records are kept for years and read by other programs: the form in the fixture must go on being read, and
    /// what is read must be written the same.
    #[test]
    fn schema_1_reads_and_writes_unchanged() {
        let text = include_str!("schema1.json");
        let before: serde_json::Value = serde_json::from_str(text).unwrap();
        let after = serde_json::to_value(sample()).unwrap();
        assert_eq!(before, after);
        // What was added later may be missing.
        let mut older = before;
        for added in ["write_limited_by", "verify_limited_by", "cpu_milliseconds"] {
            older.as_object_mut().unwrap().remove(added).unwrap();
        }
        serde_json::from_value::<Record>(older).unwrap();
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
