//! Gathers the facts that a decision about a drive is made from. It only reads.

use std::collections::BTreeMap;
use std::time::Duration;

use drives::claim::{Claim, IoClock};
use drives::content::{self, View, blank, ours};
use drives::medium::Medium as _;
use drives::usage::{self, UnknownUse};
use imaging::engine::JobContext;
use imaging::error::JobError;
use model::admission::{Content, Overwrite, Usage, content_objection};
use model::code::ReasonCode;
use model::drive::{Drive, Serial};
use model::failure::{Refusal, chain};
use model::identity::Identity;
use model::manifest::Manifest;
use model::operator::Consent;
use model::orders::Standing;
use model::record::Record;
use model::verdict::Verdict;
use record::ledger::{Ledger, LedgerError};
use station::{AskedOrder, DriveFacts, Look};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use uuid::Uuid;

use super::Services;

/// How often it is looked whether a drive still answers. Time in which the station itself does not run, because it was
/// stopped or its machine was, counts as one spell.
const SPELL: Duration = Duration::from_millis(500);

/// Gathers the facts about a drive. The refusal says which fact cannot be found out. A drive that does not answer is
/// not waited for.
pub(super) async fn gather(
    services: Services,
    drive: Drive,
    look: Look,
    orders: Vec<AskedOrder>,
) -> Result<Box<DriveFacts>, Refusal> {
    let patience = services.limits.stall;
    let clock = IoClock::default();
    // A thread that hangs in the kernel is left behind. It ends when the drive answers or is detached.
    let mut work = {
        let (services, drive, clock) = (services.clone(), drive.clone(), clock.clone());
        spawn_blocking(move || read(&services, &drive, look, &orders, &clock))
    };
    let mut left = patience;
    while !left.is_zero() {
        match timeout(SPELL, &mut work).await {
            Ok(Ok(facts)) => return facts,
            Ok(Err(error)) => return Err(Refusal::of(ReasonCode::InternalError, &error)),
            Err(_) => {
                if let Some(error) = services.ledger.silence() {
                    return Err(no_records(&drive, &error));
                }
                let hangs = clock.waiting().is_some_and(|time| time >= SPELL);
                left = if hangs { left.saturating_sub(SPELL) } else { patience };
            }
        }
    }
    let node = drive.node.display();
    let detail = format!("{node} has not answered a read for {} s", patience.as_secs());
    Err(Refusal::new(ReasonCode::Stalled, detail))
}

fn read(
    services: &Services,
    drive: &Drive,
    look: Look,
    asked: &[AskedOrder],
    clock: &IoClock,
) -> Result<Box<DriveFacts>, Refusal> {
    let users = || {
        clock.during(|| match look {
            Look::Inside => services.host.usage(&drive.name, &content::is_in_pool),
            Look::Outside => services.host.usage(&drive.name, &|_| false),
        })
    };
    let usage = usage::settled(users, &|| true);
    let usage = usage.map_err(|error| unknown_users(drive, &error))?;
    let known = || {
        let content = seen(services, drive, look, &usage, clock)?;
        let last = match &content {
            Content::Ours(job) => services.ledger.of_job(*job)?,
            _ => None,
        };
        let previous = services.ledger.of_insertion(drive.diskseq)?;
        let orders = standings(&services.ledger, asked)?;
        let units = match &drive.serial {
            Some(serial) if !asked.is_empty() => services.ledger.units(serial)?,
            _ => BTreeMap::new(),
        };
        let asked = look == Look::Inside && usage.objection(drive).is_none();
        let health = asked.then(|| services.health.of(drive)).flatten();
        Ok(DriveFacts { look, usage, content, previous, last, orders, units, health })
    };
    known().map(Box::new).map_err(|error: LedgerError| no_records(drive, &error))
}

/// How these orders stand; those that the ledger has.
pub(super) fn standings(
    ledger: &Ledger,
    asked: &[AskedOrder],
) -> Result<BTreeMap<String, Standing>, LedgerError> {
    let mut all = BTreeMap::new();
    for AskedOrder { number, article } in asked {
        if let Some(standing) = ledger.standing(number, article.as_ref())? {
            all.insert(number.clone(), standing);
        }
    }
    Ok(all)
}

/// What the drive holds, if it may be opened and its use does not decide already.
fn seen(
    services: &Services,
    drive: &Drive,
    look: Look,
    usage: &Usage,
    clock: &IoClock,
) -> Result<Content, LedgerError> {
    let Some(geometry) = drive.geometry() else { return Ok(Content::Unknown) };
    if look == Look::Outside || usage.objection(drive).is_some() {
        return Ok(Content::Unknown);
    }
    let Some(past) = Past::of(services, drive)? else { return Ok(Content::Unknown) };
    match View::open(drive, geometry, &services.tools.blkid, clock) {
        Ok(view) => past.content(services, &view),
        Err(error) => Ok(Content::Unreadable(error.to_string())),
    }
}

/// What a drive holds that is held: the last look at it, when nobody else can take it any more.
///
/// # Errors
/// What speaks against overwriting it.
pub(super) fn last_look(
    services: &Services,
    claim: &Claim,
    consent: Option<&Consent>,
) -> Result<Content, Refusal> {
    let drive = claim.drive();
    if services.overwrite == Overwrite::Any {
        return Ok(Content::Unknown);
    }
    let look = || match (Past::of(services, drive)?, claim.view(&services.tools.blkid)) {
        (None, _) => Ok(Content::Unknown),
        (Some(past), Ok(view)) => past.content(services, &view),
        (_, Err(error)) => Ok(Content::Unreadable(error.to_string())),
    };
    match look() {
        Ok(Content::Unreadable(_)) if claim.check_present().is_err() => Err(gone()),
        Ok(content) => {
            content_objection(drive, &content, services.overwrite, consent).map_or(Ok(content), Err)
        }
        Err(error) => Err(no_records(drive, &error)),
    }
}

/// What speaks against overwriting a drive that seems blank, once all of it is read; nothing if it is blank.
///
/// # Errors
/// [`JobError`] if it was not read to its end for a reason that does not lie in the drive.
pub(super) fn deep_objection(
    services: &Services,
    claim: &Claim,
    context: &JobContext<'_>,
) -> Result<Option<Refusal>, JobError> {
    let content = match context.find_data(claim) {
        Ok(None) => return Ok(None),
        Ok(Some(at)) => Content::Foreign(blank::unknown_data(at)),
        Err(JobError::Gone) => return Ok(Some(gone())),
        Err(JobError::Read(error)) => Content::Unreadable(chain(&error)),
        Err(error) => return Err(error),
    };
    Ok(content_objection(claim.drive(), &content, services.overwrite, None))
}

fn gone() -> Refusal {
    Refusal::new(ReasonCode::DriveChanged, "the drive is gone")
}

/// The refusal of a drive whose users cannot be found out.
pub(super) fn unknown_users(drive: &Drive, error: &UnknownUse) -> Refusal {
    let node = drive.node.display();
    let detail = format!("cannot find out who uses {node}: {}", chain(error));
    Refusal::new(ReasonCode::UsageUnknown, detail).with_hint_of(error)
}

fn no_records(drive: &Drive, error: &LedgerError) -> Refusal {
    let node = drive.node.display();
    let detail = format!("cannot look up the records of {node}: {}", chain(error));
    Refusal::new(error.code(), detail).with_hint_of(error)
}

/// What the ledger knows of a drive before it is opened.
struct Past<'a> {
    drive: &'a Drive,
    /// The records of jobs that gave a drive with this serial number an identity, the latest first.
    imagings: Vec<Record>,
}

impl<'a> Past<'a> {
    /// `None` if nothing depends on what the drive holds: anything may be overwritten, and no drive with this serial
    /// number has passed.
    fn of(services: &Services, drive: &'a Drive) -> Result<Option<Self>, LedgerError> {
        let of = |serial: &Serial| services.ledger.imagings(serial);
        let imagings = drive.serial.as_ref().map(of).transpose()?.unwrap_or_default();
        let matters = services.overwrite != Overwrite::Any || !imagings.is_empty();
        Ok(matters.then_some(Self { drive, imagings }))
    }

    /// What the drive holds.
    fn content(&self, services: &Services, view: &View) -> Result<Content, LedgerError> {
        let guid = match view.disk_guids() {
            Ok([head, tail]) => head.or(tail),
            Err(error) => return Ok(Content::Unreadable(error.to_string())),
        };
        let record = self.record(guid);
        let doubt = match record.map(|record| prove(services, view, record, guid)) {
            Some(Ok(job)) => return Ok(Content::Ours(job)),
            Some(Err(doubt)) => Some(doubt),
            None => None,
        };
        if services.overwrite == Overwrite::Any {
            return Ok(Content::Unknown);
        }
        let what = match blank::sample(view) {
            Ok(blank::Finding::Blank(_)) => return Ok(Content::Blank),
            Ok(blank::Finding::Holds(what)) => what,
            Err(error) => return Ok(Content::Unreadable(error.to_string())),
        };
        Ok(Content::Foreign(match (record, doubt, guid) {
            (Some(record), Some(doubt), _) => self.changed(&what, record, &doubt),
            (_, _, Some(guid)) => match services.ledger.of_disk(&guid)? {
                Some(record) => {
                    let serial = record.serial.as_ref().map_or("(no serial)", Serial::as_str);
                    let job = record.job;
                    format!(
                        "{what}, copied from drive {serial}, which this station imaged (job {job})"
                    )
                }
                None => what,
            },
            _ => what,
        }))
    }

    /// The record of the job that has left what the drive seems to hold: the one with its disk GUID, or the latest if
    /// there is no partition table.
    fn record(&self, guid: Option<Uuid>) -> Option<&Record> {
        let has = |record: &&Record, guid| {
            record.identity.as_ref().is_some_and(|identity| identity.disk_guid == guid)
        };
        match guid {
            Some(guid) => self.imagings.iter().find(|record| has(record, guid)),
            None => self.imagings.first(),
        }
    }

    fn changed(&self, what: &str, record: &Record, doubt: &str) -> String {
        let job = record.job;
        let text = format!("{what}, and is not as job {job} of this station left it: {doubt}");
        let other = record.size_bytes != self.drive.size || record.model != self.drive.model;
        if other {
            text + "; that job's drive had another capacity or model, so several drives may share the serial number"
        } else {
            text
        }
    }
}

/// Proves that a drive is as the job of a record has left it; returns the job. The error says in words what speaks
/// against it.
fn prove(
    services: &Services,
    view: &View,
    record: &Record,
    guid: Option<Uuid>,
) -> Result<Uuid, String> {
    let (manifest, identity) = written(services, record)?;
    match (guid, record.verdict) {
        (Some(_), _) => ours::prove(view, &manifest, &identity),
        (None, Some(Verdict::Passed)) => return Err("its partition tables are gone".into()),
        (None, _) => ours::prove_unfinished(view, &manifest, &identity),
    }
    .map(|()| record.job)
    .map_err(|doubt| chain(&doubt))
}

/// Proves that a drive's volumes are as the job of a record has left them, whatever has become of the tables. The error says
/// in words what speaks against it.
pub(super) fn prove_volumes(
    services: &Services,
    view: &View,
    record: &Record,
) -> Result<(), String> {
    let (manifest, identity) = written(services, record)?;
    ours::prove_without_tables(view, &manifest, &identity).map_err(|doubt| chain(&doubt))
}

/// What the job of a record has written, as far as that is still known.
fn written(services: &Services, record: &Record) -> Result<(Manifest, Identity), String> {
    let identity = record.identity.as_ref().and_then(|identity| identity.identity());
    let identity = identity.ok_or("its record does not say which identity it was given")?;
    let manifest = record.master.as_ref().and_then(|master| services.store.manifest_of(master));
    let manifest = manifest.ok_or("the digests of what was written to it are not kept any more")?;
    Ok((manifest, identity))
}
