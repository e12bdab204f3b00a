//! Who vouches for media: the manifest beside it is read and its signatures are checked, after intake has read the media.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::thread;
use std::time::Duration;

use jiff::{Timestamp, Unit};
use model::code::FindingCode as Code;
use model::failure::{Failure, Finding, chain};
use model::hint::Hint as _;
use model::media::{BootImage, CachedPackage, IntakeOutcome, Media, Signed};
use model::parcel::{BESIDE, Contents, LARGEST_MANIFEST, ParcelManifest};
use model::words::plural;
use parcel::{Distrust, Vouched};
use record::file::ordinary;
use record::ledger::LedgerError;
use signing::Envelope;
use station::{Acceptance, Answer, Event, Reply};
use tokio::sync::mpsc;

use super::{OpenMaster, Services};
use crate::clock::Ahead;

/// When it is tried again to note something.
const AGAIN: Duration = Duration::from_secs(1);

/// Adds to what intake has found who vouches for the media, and what is wrong with that. What was seen of a product is in
/// the ledger before the station can use the media.
pub(super) fn vouch(
    services: &Services,
    checked: Result<IntakeOutcome, Failure>,
) -> Result<IntakeOutcome, Failure> {
    let mut outcome = checked?;
    if let IntakeOutcome::Media(media) = &mut outcome {
        match signed(services, media) {
            Ok(signed) => media.signed = signed,
            Err(problem) => media.problems.push(problem),
        }
        if let Some(manifest) = station::vouched(media) {
            let ParcelManifest { product, sequence, created, .. } = manifest;
            let ahead = services.clock.signed_at(*created);
            if let Some(ahead) = ahead {
                tell(&media.name, *created, ahead);
            }
            // The ledger gives the clock its least time at the next start.
            let seen = match ahead {
                Some(Ahead { believed: false, .. }) => Timestamp::UNIX_EPOCH,
                _ => *created,
            };
            let noted = loop {
                match services.ledger.note_product(product, *sequence, seen) {
                    // Until a long log is verified, no drive gets the media anyway.
                    Err(LedgerError::Verifying { .. }) => thread::sleep(AGAIN),
                    noted => break noted,
                }
            };
            if let Err(error) = noted {
                tracing::error!("{product} {sequence} cannot be noted: {}", chain(&error));
            }
        }
    }
    Ok(outcome)
}

/// Says that media was signed at a time that is still to come here.
fn tell(media: &str, signed: Timestamp, ahead: Ahead) {
    let by = ahead.by.round(Unit::Second).unwrap_or(ahead.by);
    match ahead.believed {
        true => tracing::warn!(
            media,
            "{media} was signed on {signed:.0}, {by:#} ahead of this machine's clock; the station goes by that time until it has come"
        ),
        false => tracing::error!(
            media,
            hint = "one of the two clocks is wrong: compare with `timedatectl`",
            "{media} was signed on {signed:.0}, {by:#} ahead of this machine's clock; it is not used, and the station's time stays"
        ),
    }
}

/// What is signed about media; none where nothing is, and nobody asks for it.
fn signed(services: &Services, media: &Media) -> Result<Option<Signed>, Finding> {
    let needed = !services.signers.is_empty();
    let unsigned = |detail: String| {
        let hint = "get the media as a parcel, or put its manifest beside it";
        match needed {
            true => Err(Finding::new(Code::MediaUnsigned, detail).with_hint(hint)),
            false => Ok(None),
        }
    };
    // Parcels have one file; the parts of a split set have no manifest.
    let [file] = &media.files[..] else {
        return unsigned(format!("{} is a split set, which cannot be signed", media.name));
    };
    let note = format!("{}{BESIDE}", media.name);
    let data = match ordinary(&file.path.with_file_name(&note), LARGEST_MANIFEST.0) {
        Ok(data) => data,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return unsigned(format!("no {note} lies beside it"));
        }
        Err(error) => return unsigned(format!("{note} cannot be read: {}", chain(&error))),
    };
    let judged = Envelope::parse(&data).map_err(Distrust::from);
    let Vouched { manifest, by } = match judged.and_then(|e| services.signers.judge(&e)) {
        Ok(vouched) => vouched,
        Err(error @ (Distrust::Envelope(_) | Distrust::Manifest(_))) => {
            return unsigned(format!("{note} is no manifest: {}", chain(&error)));
        }
        Err(error) => {
            let finding = Finding::of(Code::SignerUnknown, &error);
            return Err(match error.hint() {
                Some(hint) => finding.with_hint(hint),
                None => finding,
            });
        }
    };
    if manifest.file.sha256 != media.sha256 {
        let digest = manifest.file.sha256;
        return unsigned(format!("{note} is that of other media, with SHA-256 {digest}"));
    }
    let differences = differences(&manifest, media);
    Ok(Some(Signed { manifest, by: by.into_iter().collect(), differences }))
}

/// What the manifest claims and intake has found otherwise. The file is the same, so its maker has claimed it wrongly.
fn differences(manifest: &ParcelManifest, media: &Media) -> Vec<String> {
    let mut told = Vec::new();
    let mut compare = |what: &str, claimed: String, found: String| {
        if claimed != found {
            told.push(format!("{what}: {claimed} is claimed, {found} was found"));
        }
    };
    let images = media.images.len().to_string();
    compare("images", manifest.images.to_string(), images);
    compare("GUID", plain(&manifest.guid), plain(&media.guid));
    compare("size", manifest.file.size_bytes.0.to_string(), media.size_bytes.0.to_string());
    let Contents { image, boot_image, packages, more_packages } = &manifest.contents;
    // Earlier programs have signed nothing of what media holds.
    let Some(image) = image else { return told };
    compare("image", image.index.to_string(), media.image.to_string());
    let found = media.images.iter().find(|found| found.index == image.index);
    compare(
        "image's name",
        image.name.clone(),
        found.map(|found| found.name.clone()).unwrap_or_default(),
    );
    // Intake looks for a boot image only if the layout has one started.
    if media.boot_image.is_some() {
        let [claimed, found] = [boot_image, &media.boot_image].map(|boot| match boot {
            Some(BootImage { name, architecture, build, sha256, size_bytes }) => {
                let unknown = || "unknown".to_owned();
                let architecture = architecture.clone().unwrap_or_else(unknown);
                let build = build.clone().unwrap_or_else(unknown);
                format!("{name}, {architecture}, build {build}, {} bytes, {sha256}", size_bytes.0)
            }
            None => "none".to_owned(),
        });
        compare("boot image", claimed, found);
    }
    if image.index == media.image {
        let inventory = &media.inventory;
        let [claimed, found] = [packages, &inventory.packages].map(|packages| {
            packages.iter().map(|package| (&package.id, package)).collect::<BTreeMap<_, _>>()
        });
        let ids: BTreeSet<_> = claimed.keys().chain(found.keys()).collect();
        for id in ids {
            let told = |package: Option<&&CachedPackage>| match package {
                Some(CachedPackage { files, size_bytes, sha256_of_list, .. }) => {
                    let files = plural(*files, "file", "files");
                    format!("{files}, {} bytes, {sha256_of_list}", size_bytes.0)
                }
                None => "none".to_owned(),
            };
            compare(&format!("package {id}"), told(claimed.get(*id)), told(found.get(*id)));
        }
        let more = |count: u64| count.to_string();
        compare("further packages", more(*more_packages), more(inventory.more_packages));
    }
    told
}

/// A GUID, however it is written.
fn plain(guid: &str) -> String {
    let digits = guid.trim_start_matches("0x").chars().filter(char::is_ascii_hexdigit);
    digits.map(|digit| digit.to_ascii_lowercase()).collect()
}

/// Notes in the ledger that older media may be used, then tells the station and the operator.
pub(super) fn accept(
    services: &Services,
    sender: &mpsc::Sender<Event<OpenMaster>>,
    accepted: &Acceptance,
    reply: Reply,
) {
    let Acceptance { sha256, product, sequence, reason, by } = accepted;
    let noted =
        services.ledger.note_accepted(*sha256, (product, *sequence), reason, &by.to_string());
    let answer = match noted {
        Ok(()) => {
            tracing::warn!(
                PRESTAGED_OPERATOR = by.to_string(),
                "{by} lets {product} {sequence} be used although it is older: {reason}"
            );
            // Fails only if the station has ended.
            let _ = sender.blocking_send(Event::MediaAccepted(*sha256));
            Ok(Answer::Done)
        }
        Err(error) => Err(error.denial()),
    };
    let _ = reply.send(answer);
}
