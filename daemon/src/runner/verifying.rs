//! A second look at a drive: finds the drive's own last record that has passed, and what is left of what it was given, and
//! lets a worker compare them.

use std::sync::Arc;

use drives::direct;
use masters::store::Master;
use model::api::line::Progress;
use model::api::verify::{ComparedRecord, Comparison, LaterJob, VerifyReport};
use model::code::{DenialCode, FailureCode};
use model::drive::{Drive, Serial};
use model::failure::{Denial, Failure, chain};
use model::identity::Identity;
use model::manifest::{Manifest, MasterId};
use model::record::Record;
use station::Reply;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::{Services, in_turn};
use crate::verify::Verify;

/// What a drive is compared with.
struct Past {
    serial: Serial,
    record: Record,
    later: Option<Record>,
    manifest: Manifest,
    identity: Identity,
}

/// Compares a drive with its record as soon as one of `permits` is free; the lines that tell of it are the answer.
pub(super) fn start(services: Services, permits: Arc<Semaphore>, drive: Drive, reply: Reply) {
    tokio::spawn(async move {
        let (known, asked) = (services.clone(), drive.clone());
        let past = spawn_blocking(move || past(&known, &asked)).await;
        let past = past.unwrap_or_else(|error| Err(Denial::of(DenialCode::InternalError, &error)));
        let past = match past {
            Ok(past) => past,
            Err(denial) => {
                let _ = reply.send(Err(denial));
                return;
            }
        };
        in_turn(&permits, reply, |report| verified(&services, &drive, past, report)).await;
    });
}

/// Finds what the drive was given when it last passed.
fn past(services: &Services, drive: &Drive) -> Result<Past, Denial> {
    let node = drive.node.display();
    let Some(serial) = drive.serial.clone() else {
        let detail = format!("{node} has no serial number, so no record is its own");
        return Err(Denial::new(DenialCode::NoSuchRecord, detail));
    };
    let Some((record, later)) =
        services.ledger.last_passed(&serial).map_err(|error| error.denial())?
    else {
        let detail = format!("no record says that drive {serial} has passed");
        let hint = format!(
            "see `prestagectl records --serial {serial}`; another station may have made it"
        );
        return Err(Denial::new(DenialCode::NoSuchRecord, detail).with_hint(hint));
    };
    let job = record.job;
    let missing =
        |what: &str| Denial::new(DenialCode::DigestsMissing, format!("job {job}: {what}"));
    let identity = record.identity.as_ref().and_then(|identity| identity.identity());
    let identity =
        identity.ok_or_else(|| missing("its record has no identity that can be read"))?;
    let manifest = record.master.as_ref().and_then(|master| services.store.manifest_of(master));
    let manifest = manifest.ok_or_else(|| {
        missing("the digests of what was written to the drive are not kept any more")
    })?;
    Ok(Past { serial, record, later, manifest, identity })
}

async fn verified(
    services: &Services,
    drive: &Drive,
    past: Past,
    report: impl Fn(Progress),
) -> Result<VerifyReport, Failure> {
    let Past { serial, record, later, manifest, identity } = past;
    let panicked = |error| Failure::of(FailureCode::InternalError, &error);
    report(Progress { step: "looking for the master".into(), fraction: 0.0 });
    let node = drive.node.clone();
    let opened = spawn_blocking(move || direct::open(&node)).await.map_err(panicked)?;
    let opened = opened.map_err(|error| {
        Failure::new(FailureCode::ReadError, format!("cannot open the drive: {}", chain(&error)))
    })?;
    let mut files = vec![opened.into()];
    let (known, id, root) = (services.clone(), manifest.id.clone(), manifest.root_sha256);
    let master = spawn_blocking(move || master(&known, &id)).await.map_err(panicked)?;
    if let Some(master) = master.filter(|master| master.manifest.root_sha256 == root) {
        let own = master.image.files();
        let own = own.map_err(|error| Failure::of(FailureCode::StoreError, &error))?;
        files.extend(own.into_iter().map(Into::into));
    }
    let (size, logical_sector_bytes) = (drive.size, drive.logical_sector_bytes);
    let task = Verify { size, logical_sector_bytes, manifest, identity };
    let comparison: Comparison = services.workers.run_with(&task, &files, report).await?;
    // Whoever has begun to image the drive meanwhile has made it differ.
    let (ledger, latest) = (services.ledger.clone(), later.as_ref().unwrap_or(&record).job);
    let now = spawn_blocking(move || ledger.last_passed(&serial)).await.map_err(panicked)?;
    let now = now.map_err(|error| Failure::of(FailureCode::InternalError, &error))?;
    let newest = now.map(|(passed, later)| later.unwrap_or(passed).job);
    if newest != Some(latest) {
        let detail = "the drive was imaged while it was read";
        let failure = Failure::new(FailureCode::ReadError, detail);
        return Err(failure.with_hint("verify it again when its job has ended"));
    }
    let later = later.map(|later| LaterJob {
        job: later.job,
        verdict: later.verdict,
        opened: later.opened,
    });
    let (outcome, record) = (comparison.outcome(), ComparedRecord::from(&record));
    Ok(VerifyReport { outcome, record, later, comparison })
}

/// The master, if it is in the store and whole. Without it the drive is compared by digests.
fn master(services: &Services, id: &MasterId) -> Option<Arc<Master>> {
    services.store.load(id).unwrap_or_else(|error| {
        tracing::warn!(master = %id, "compared by digests alone: {}", chain(&error));
        None
    })
}
