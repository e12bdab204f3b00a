//! Gathering what a decision about a drive rests on. Reads only.

use std::io;

use drives::content::{self, Seen};
use model::admission::{Content, Overwrite};
use model::code::ReasonCode;
use model::drive::Drive;
use model::failure::{Refusal, chain};
use model::units::Bytes;
use record::ledger::{Ledger, LedgerError};
use station::DriveFacts;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Services;

/// Gathers them, or says why nothing can be decided. A drive that does not answer is not waited for.
pub(super) async fn gather(services: Services, drive: Drive) -> Result<Box<DriveFacts>, Refusal> {
    let patience = services.limits.stall;
    // A thread that is stuck in the kernel is left behind; it ends when the drive answers or goes.
    let work = spawn_blocking(move || read(&services, &drive));
    match timeout(patience, work).await {
        Ok(Ok(facts)) => facts,
        Ok(Err(error)) => Err(Refusal::of(ReasonCode::InternalError, &error)),
        Err(_) => {
            let detail = format!("the drive has not answered a read for {} s", patience.as_secs());
            Err(Refusal::new(ReasonCode::Stalled, detail))
        }
    }
}

fn read(services: &Services, drive: &Drive) -> Result<Box<DriveFacts>, Refusal> {
    let usage = services.host.usage(&drive.name, &content::is_in_pool);
    let usage = usage.map_err(|error| unknown_users(&error))?;
    let ledger = &services.ledger;
    let known = || {
        Ok(DriveFacts {
            usage,
            content: content_of(drive, services.overwrite, ledger)?,
            previous: ledger.of_insertion(drive.diskseq)?,
            last: match &drive.serial {
                Some(serial) => ledger.last_imaging(serial)?,
                None => None,
            },
            today: jiff::Zoned::now().date(),
        })
    };
    known().map(Box::new).map_err(|error: LedgerError| {
        let detail = format!("cannot find out what was done to the drive: {}", chain(&error));
        Refusal::new(ReasonCode::InUse, detail).with_hint_of(&error)
    })
}

/// A drive whose users are not known is not touched.
pub(super) fn unknown_users(error: &io::Error) -> Refusal {
    Refusal::new(ReasonCode::InUse, format!("cannot find out who uses the drive: {error}"))
}

/// What a drive holds, as far as the policy cares.
fn content_of(
    drive: &Drive,
    overwrite: Overwrite,
    ledger: &Ledger,
) -> Result<Content, LedgerError> {
    if overwrite == Overwrite::Any || drive.size == Bytes(0) {
        return Ok(Content::Unknown);
    }
    Ok(match content::look(drive) {
        Ok(Seen::Blank) => Content::Blank,
        Ok(Seen::Gpt(guid)) if ledger.knows_disk(&guid)? => Content::Ours,
        Ok(Seen::Gpt(_)) => Content::Foreign("a partition table (GPT)".into()),
        Ok(Seen::Other(what)) => Content::Foreign(what.into()),
        Err(error) => Content::Unreadable(error.to_string()),
    })
}
