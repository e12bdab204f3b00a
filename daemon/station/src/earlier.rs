//! What the records of an insertion say that were written before: in an earlier attempt, or before the station's start.

use model::admission::Content;
use model::drive::Drive;
use model::record::Record;
use model::verdict::Verdict;

/// The record that says how things stand with the drive: the latest one. A refusal for something that the station lacked
/// says nothing of the drive.
pub(crate) fn telling(mut records: Vec<Record>) -> Option<Record> {
    let of_drive = |record: &Record| {
        let station = record.reason.as_ref().is_some_and(|r| r.code.lies_with_station());
        !(record.is_refusal() && station)
    };
    match records.iter().rposition(of_drive) {
        Some(at) => Some(records.swap_remove(at)),
        None => records.pop(),
    }
}

/// The records of an insertion that still hold when the station starts: those of this very drive, and a pass only if the
/// drive is as the job has left it. Nobody watched meanwhile: the drive may have been wiped, or what it is made of may be
/// another. It is judged anew then, like one that has just come.
pub(crate) fn believed(mut records: Vec<Record>, drive: &Drive, content: &Content) -> Vec<Record> {
    records.retain(|record| record.serial == drive.serial && record.size_bytes == drive.size);
    let passed = telling(records.clone()).filter(|last| last.verdict == Some(Verdict::Passed));
    match passed {
        Some(last) if *content != Content::Ours(last.job) => {
            let (drive, job) = (drive.label(), last.job);
            tracing::warn!("{drive} has passed and is not as job {job} left it: it is judged anew");
            Vec::new()
        }
        _ => records,
    }
}
