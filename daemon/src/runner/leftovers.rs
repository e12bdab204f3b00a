//! What a station that was killed left on a drive: perhaps valid tables, though the record says `stopped`.
//!
//! They are taken away only with proof: the drive is admitted and claimed like any other, it is still the insertion that
//! the record is about, the tables on it name the disk GUID that was drawn for that very job, and its volumes are as the
//! job left them. A drive that somebody has used in between keeps its tables.

use std::collections::BTreeMap;
use std::thread;

use drives::buffer::Buffer;
use drives::claim::{Claim, IoClock};
use drives::content;
use drives::medium::{AccessError, Medium};
use model::admission::Admitted;
use model::code::WarningCode;
use model::failure::chain;
use model::layout::Plan;
use model::record::Record;
use model::units::Bytes;
use uuid::Uuid;

use super::{Services, survey};

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
    let earlier = earlier.iter().filter_map(|one| Some((one.identity.as_ref()?.disk_guid, one)));
    let earlier: BTreeMap<Uuid, &Record> = earlier.collect();
    let view = claim.view(&services.tools.blkid).map_err(|error| chain(&error))?;
    let tables = view.disk_guids().map_err(|error| chain(&error))?;
    if tables == [None, None] {
        return Ok(None);
    }
    let Some(left) = left(tables, own, &|guid| earlier.contains_key(&guid)) else {
        return Err(format!("its tables are not what job {} left", record.job));
    };
    let job = if left == own { record } else { earlier[&left] };
    survey::prove_volumes(services, &view, job)?;
    zero(&claim).map_err(|error| chain(&error))?;
    Ok(Some(
        WarningCode::TablesRemoved
            .says("the station was killed before the verdict, so the tables were taken away"),
    ))
}

/// Whose tables were found, if they are what a killed job has left: its own, or only one of an `earlier` job of this drive,
/// whose other table was erased, so that the drive is not as that job left it.
fn left(tables: [Option<Uuid>; 2], own: Uuid, earlier: &dyn Fn(Uuid) -> bool) -> Option<Uuid> {
    match tables {
        [None, None] => None,
        [Some(only), None] | [None, Some(only)] => (only == own || earlier(only)).then_some(only),
        [Some(one), Some(other)] => (one == own && other == own).then_some(own),
    }
}

/// Overwrites both tables with zeros.
fn zero(medium: &impl Medium) -> Result<(), AccessError> {
    let geometry = medium.geometry();
    let (head, tail) = (Plan::primary_table(geometry), Plan::backup_table(geometry));
    for (start, length) in [(Bytes(0), head), (geometry.size - tail, tail)] {
        medium.write(start, &Buffer::zeroed(length))?;
    }
    medium.flush()?;
    medium.drop_cache();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_killed_job_left_is_taken_away() {
        let [own, earlier, other] = [1, 2, 3].map(Uuid::from_u128);
        let left = |tables| left(tables, own, &|guid| guid == own || guid == earlier);
        for (head, tail, whose) in [
            (Some(own), None, own),
            (None, Some(own), own),
            (Some(own), Some(own), own),
            (Some(earlier), None, earlier),
        ] {
            assert_eq!(left([head, tail]), Some(whose));
        }
        for tables in [
            [None, None],
            [Some(earlier), Some(earlier)],
            [Some(own), Some(earlier)],
            [Some(other), Some(own)],
            [Some(other), None],
        ] {
            assert_eq!(left(tables), None, "{tables:?}");
        }
    }
}
