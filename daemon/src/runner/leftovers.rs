//! What a station that was killed left on a drive: perhaps valid tables, though the record says `stopped`.
//!
//! They are taken away only with proof: the drive is admitted and claimed like any other, it is still the insertion that
//! the record is about, and the tables on it name the disk GUID that was drawn for that very job.

use std::thread;

use drives::buffer::Buffer;
use drives::claim::{Claim, IoClock};
use drives::content;
use drives::medium::{AccessError, Medium};
use model::admission::Admitted;
use model::code::WarningCode;
use model::failure::chain;
use model::layout::Plan;
use model::ranges::Range;
use model::record::Record;
use model::units::Bytes;
use uuid::Uuid;

use super::Services;

/// Begins to clean a drive, on a thread of its own.
pub(super) fn clean(services: &Services, admitted: Admitted, record: Record) {
    let services = services.clone();
    let label = admitted.drive().label();
    let work = move || {
        let label = admitted.drive().label();
        match take_away(&services, admitted, &record) {
            Ok(None) => {}
            Ok(Some(warning)) => {
                tracing::warn!(job = %record.job, "{label}: {warning}");
                let mut record = record;
                record.warnings.push(warning);
                services.writer.write(record);
            }
            Err(why) => {
                tracing::warn!("{label} may hold tables of a job that did not end: {why}");
            }
        }
    };
    if let Err(error) = thread::Builder::new().name(format!("drive/{label}")).spawn(work) {
        tracing::warn!("{label} may hold tables of a job that did not end: {error}");
    }
}

/// Takes the tables of the record's job from the drive. The text says that it was done; `None` if they are not there.
fn take_away(
    services: &Services,
    admitted: Admitted,
    record: &Record,
) -> Result<Option<String>, String> {
    let Some(own) = record.identity.as_ref().map(|identity| identity.disk_guid) else {
        return Ok(None);
    };
    let clock = IoClock::default();
    let claim = Claim::take(admitted, &clock, &|| true).map_err(|error| chain(&error))?;
    let usage = services.host.usage(&claim.drive().name, &content::is_in_pool);
    if let Some(refusal) = usage.map_err(|error| chain(&error))?.objection(claim.drive()) {
        return Err(refusal.detail);
    }
    // A drive that was imaged before may have been killed between its two old tables.
    let serial = record.serial.as_ref();
    let earlier = serial.map(|serial| services.ledger.imagings(serial)).transpose();
    let earlier = earlier.map_err(|error| chain(&error))?.unwrap_or_default();
    let earlier = earlier.iter().filter_map(|record| record.identity.as_ref());
    let earlier: Vec<Uuid> = earlier.map(|identity| identity.disk_guid).collect();
    let done = clean_tables(&claim, own, &earlier).map_err(|error| chain(&error))?;
    Ok(done.then(|| {
        WarningCode::TablesRemoved
            .says("the station was killed before the verdict, so the tables were taken away")
    }))
}

/// Whether the tables that were found are what a killed job has left.
fn is_left(found: &[Uuid], own: Uuid, earlier: &[Uuid]) -> bool {
    match found {
        [] => false,
        [only] => *only == own || earlier.contains(only),
        both => both.iter().all(|guid| *guid == own),
    }
}

/// Overwrites both tables with zeros if they are those of the disk with this GUID, or only one of them stands there; also if
/// only one stands there of an `earlier` job of this drive: its other table was erased, so it is not as that job left it.
fn clean_tables(medium: &impl Medium, own: Uuid, earlier: &[Uuid]) -> Result<bool, AccessError> {
    let geometry = medium.geometry();
    let sector = Bytes(geometry.sector.bytes());
    let (head, tail) = (Plan::primary_table(geometry), Plan::backup_table(geometry));
    let tables = [Range::at(Bytes(0), head), Range::new(geometry.size - tail, geometry.size)];
    let headers = [Range::at(sector, sector), Range::new(geometry.size - sector, geometry.size)];
    let mut found = Vec::new();
    for header in headers {
        let mut data = Buffer::zeroed(header.length());
        medium.read(header.start, &mut data)?;
        found.extend(disk_guid(&data));
    }
    if !is_left(&found, own, earlier) {
        return Ok(false);
    }
    for table in tables {
        medium.write(table.start, &Buffer::zeroed(table.length()))?;
    }
    medium.flush()?;
    medium.drop_cache();
    Ok(true)
}

/// The disk GUID in a GPT header (UEFI specification, 5.3.2).
fn disk_guid(header: &[u8]) -> Option<Uuid> {
    let guid = header.get(56..72)?.try_into().ok()?;
    header.starts_with(b"EFI PART").then(|| Uuid::from_bytes_le(guid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_killed_job_left_is_taken_away() {
        let [own, earlier, other] = [1, 2, 3].map(Uuid::from_u128);
        let left = |found: &[Uuid]| is_left(found, own, &[own, earlier]);
        for found in [&[own][..], &[own, own], &[earlier]] {
            assert!(left(found), "{found:?}");
        }
        for found in [&[][..], &[earlier, earlier], &[own, earlier], &[other, own], &[other]] {
            assert!(!left(found), "{found:?}");
        }
    }

    #[test]
    fn only_a_header_has_a_guid() {
        let mut header = [7; 512];
        assert_eq!(disk_guid(&header), None);
        header[..8].copy_from_slice(b"EFI PART");
        assert_eq!(disk_guid(&header), Some(Uuid::from_bytes_le([7; 16])));
        assert_eq!(disk_guid(&header[..60]), None);
    }
}
