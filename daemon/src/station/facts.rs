//! Gathering what a decision about a drive rests on. Reads only.

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::message::Facts;
use super::runner::Means;
use crate::admission::{Code, Content, Overwrite, Refusal};
use crate::drive::Drive;
use crate::hotplug::probe::{self, Seen};
use crate::record::ledger::{Ledger, LedgerError};
use crate::units::Bytes;

/// Gathers them, or says why nothing can be decided. A drive that does not answer is not waited for.
pub(super) async fn gather(means: Means, drive: Drive) -> Result<Box<Facts>, Refusal> {
    let patience = means.limits.stall;
    // A thread that is stuck in the kernel is left behind; it ends when the drive answers or goes.
    let work = spawn_blocking(move || read(&means, &drive));
    match timeout(patience, work).await {
        Ok(Ok(facts)) => facts,
        Ok(Err(error)) => Err(Refusal::new(Code::InUse, format!("cannot be judged: {error}"))),
        Err(_) => {
            let detail = format!("the drive has not answered a read for {} s", patience.as_secs());
            Err(Refusal::new(Code::Stalled, detail))
        }
    }
}

fn read(means: &Means, drive: &Drive) -> Result<Box<Facts>, Refusal> {
    let unknown = |why: String| Refusal::new(Code::InUse, format!("cannot be judged: {why}"));
    let usage = means
        .host
        .usage(&drive.name, &probe::is_in_pool)
        .map_err(|error| unknown(format!("who uses it? {error}")))?;
    let ledger = &means.ledger;
    let known = || {
        Ok(Facts {
            usage,
            content: content(drive, means.overwrite, ledger)?,
            previous: ledger.of_insertion(drive.diskseq)?,
            last: match &drive.serial {
                Some(serial) => ledger.last_imaging(serial)?,
                None => None,
            },
            today: jiff::Zoned::now().date(),
        })
    };
    known().map(Box::new).map_err(|error: LedgerError| unknown(crate::worker::chain(&error)))
}

/// What a drive holds, as far as the policy cares.
fn content(drive: &Drive, overwrite: Overwrite, ledger: &Ledger) -> Result<Content, LedgerError> {
    if overwrite == Overwrite::Any || drive.size == Bytes(0) {
        return Ok(Content::Unknown);
    }
    Ok(match probe::look(drive) {
        Ok(Seen::Blank) => Content::Blank,
        Ok(Seen::Gpt(guid)) if ledger.knows_disk(&guid)? => Content::Ours,
        Ok(Seen::Gpt(_)) => Content::Foreign("a partition table (GPT)".into()),
        Ok(Seen::Other(what)) => Content::Foreign(what.into()),
        Err(error) => Content::Foreign(format!("what cannot be read ({error})")),
    })
}
