//! Gathers the facts that a decision about a drive is made from. It only reads.

use std::time::Duration;

use drives::content::{self, Seen};
use drives::usage::{self, UnknownUse};
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

/// Gathers the facts about a drive. The refusal says which fact cannot be found out. A drive that does not answer is
/// not waited for.
pub(super) async fn gather(services: Services, drive: Drive) -> Result<Box<DriveFacts>, Refusal> {
    let patience = services.limits.stall;
    // A thread that hangs in the kernel is left behind. It ends when the drive answers or is detached.
    let node = drive.node.display().to_string();
    let work = spawn_blocking(move || read(&services, &drive));
    match within(patience, work).await {
        Some(Ok(facts)) => facts,
        Some(Err(error)) => Err(Refusal::of(ReasonCode::InternalError, &error)),
        None => {
            let seconds = patience.as_secs();
            let detail = format!("{node} has not answered a read for {seconds} s");
            Err(Refusal::new(ReasonCode::Stalled, detail))
        }
    }
}

/// Waits for work for so long, in short spells: time in which the station itself does not run, because it was stopped or
/// its machine was, counts as one spell.
async fn within<T>(patience: Duration, work: impl Future<Output = T>) -> Option<T> {
    const SPELL: Duration = Duration::from_millis(500);
    let mut work = std::pin::pin!(work);
    let mut left = patience;
    while !left.is_zero() {
        let spell = SPELL.min(left);
        if let Ok(done) = timeout(spell, work.as_mut()).await {
            return Some(done);
        }
        left -= spell;
    }
    None
}

fn read(services: &Services, drive: &Drive) -> Result<Box<DriveFacts>, Refusal> {
    let look = || services.host.usage(&drive.name, &content::is_in_pool);
    let usage = usage::settled(look, &|| true);
    let usage = usage.map_err(|error| unknown_users(drive, &error))?;
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
        let node = drive.node.display();
        let detail = format!("cannot look up the records of {node}: {}", chain(&error));
        Refusal::new(ReasonCode::LedgerUnavailable, detail).with_hint_of(&error)
    })
}

/// The refusal of a drive whose users cannot be found out.
pub(super) fn unknown_users(drive: &Drive, error: &UnknownUse) -> Refusal {
    let node = drive.node.display();
    let detail = format!("cannot find out who uses {node}: {}", chain(error));
    Refusal::new(ReasonCode::UsageUnknown, detail).with_hint_of(error)
}

/// What a drive holds, if the policy depends on it.
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
