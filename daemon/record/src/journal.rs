//! Writes one journal entry per record, through tracing-journald, with the fields that factory systems search by.
//!
//! The `tracing` field names below become the journal's field names, because the subscriber is set up without a prefix.

use model::drive::Serial;
use model::record::Record;
use model::verdict::Verdict;

/// `MESSAGE_ID` of a job's start.
pub const OPENED: &str = "5b0b5e3d3f0c4f6c9a5a3c1c0f5d8a01";
/// `MESSAGE_ID` of a drive that passed.
pub const PASSED: &str = "5b0b5e3d3f0c4f6c9a5a3c1c0f5d8a02";
/// `MESSAGE_ID` of a drive that failed.
pub const FAILED: &str = "5b0b5e3d3f0c4f6c9a5a3c1c0f5d8a03";
/// `MESSAGE_ID` of a drive that was refused.
pub const REFUSED: &str = "5b0b5e3d3f0c4f6c9a5a3c1c0f5d8a04";
/// `MESSAGE_ID` of a job that was stopped.
pub const STOPPED: &str = "5b0b5e3d3f0c4f6c9a5a3c1c0f5d8a05";

/// Writes the journal entry of a record, opened or closed, with the checkpoint of the ledger's log that has it.
pub fn record(record: &Record, checkpoint: Option<&str>) {
    let checkpoint = checkpoint.filter(|_| record.verdict.is_some()).unwrap_or_default();
    let serial = record.serial.as_ref().map_or("", Serial::as_str);
    let verdict = record.verdict.map(|v| v.to_string()).unwrap_or_default();
    let reason = record.reason.as_ref().map_or("", |reason| reason.code.into());
    let media = record.media.as_ref().map(|m| m.sha256.to_string()).unwrap_or_default();
    let readback = record.readback_sha256.map(|d| d.to_string()).unwrap_or_default();
    let sentence = record.sentence();
    let operator = record.operator.as_deref().unwrap_or_default();
    let consent = record.consent.as_ref().map_or("", |consent| consent.reason.as_str());
    let write_rate = record.write_bytes_per_second.unwrap_or_default().0;
    let verify_rate = record.verify_bytes_per_second.unwrap_or_default().0;
    // `tracing` fixes the level of an entry at the call, so every level is a call of its own with the same fields.
    macro_rules! entry {
        ($level:ident, $id:expr) => {
            tracing::$level!(
                target: "prestaged::record",
                MESSAGE_ID = $id,
                PRESTAGED_SERIAL = serial,
                PRESTAGED_VERDICT = verdict,
                PRESTAGED_REASON = reason,
                PRESTAGED_JOB = %record.job,
                PRESTAGED_BAY = %record.bay,
                PRESTAGED_STATION = record.station,
                PRESTAGED_MEDIA_SHA256 = media,
                PRESTAGED_READBACK_SHA256 = readback,
                PRESTAGED_WRITE_BPS = write_rate,
                PRESTAGED_VERIFY_BPS = verify_rate,
                PRESTAGED_OPERATOR = operator,
                PRESTAGED_CONSENT = consent,
                PRESTAGED_CHECKPOINT = checkpoint,
                "{sentence}"
            )
        };
    }
    match record.verdict {
        None => entry!(info, OPENED),
        Some(Verdict::Passed) => entry!(info, PASSED),
        Some(Verdict::Refused) => entry!(info, REFUSED),
        Some(Verdict::Failed) => entry!(error, FAILED),
        Some(Verdict::Stopped) => entry!(error, STOPPED),
    }
}
