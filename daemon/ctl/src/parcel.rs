//! `media pack`, `media have`, `media receive`: media as signed parcels. They work with files that their user may read and
//! write; the daemon is asked only where its inbox is and whom it trusts.

use std::fs;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use parcel::{
    Distrust, Folder, Have, HaveFile, Order, PackError, ReceiveError, Received, Receiver, Roster,
    Signer, Signers, Source, Unsigned,
};
use signing::{Envelope, PublicKey, SecretKey};
use tokio::sync::oneshot;

use super::arguments::{PackArguments, ReceiveArguments};
use super::client::Client;
use super::composing::{Ends, Run, WorkFolder};
use super::output::{Output, put};
use super::progress::Progress;
use super::remote::{self, Remote};
use super::{CommandError, exit};
use model::api::snapshot::{MediaState, Snapshot};
use model::digest::Digest;
use model::failure::chain;
use model::parcel::{BESIDE, Contents, Describe, Described, ParcelManifest, Product};
use model::units::Bytes;
use model::words::plural;

/// The program that packs, as manifests name it.
const PROGRAM: &str = concat!("prestagectl ", env!("CARGO_PKG_VERSION"));

pub(super) fn read(path: &Path) -> Result<String, CommandError> {
    fs::read_to_string(path).map_err(|error| {
        CommandError::new(
            exit::FAILED,
            format!("cannot read {}: {}", path.display(), chain(&error)),
        )
    })
}

/// An error about a file, with its name.
pub(super) fn about(path: &Path, error: &impl model::hint::Hint) -> CommandError {
    let text = format!("{}: {}", path.display(), chain(error));
    CommandError { hint: error.hint(), ..CommandError::new(exit::FAILED, text) }
}

pub(super) fn secret(path: &Path) -> Result<SecretKey, CommandError> {
    SecretKey::from_pem(&read(path)?).map_err(|error| about(path, &error))
}

fn public(path: &Path) -> Result<PublicKey, CommandError> {
    PublicKey::from_pem(&read(path)?).map_err(|error| about(path, &error))
}

/// A bar that tells bytes.
fn bar(name: &str, shown: bool) -> impl FnMut(Bytes, Bytes) {
    let progress = Progress::new(name, shown);
    move |done, all| progress.set(percent(done, all), format!("{done} of {all}"))
}

#[expect(clippy::cast_precision_loss, reason = "a progress bar has a hundred steps")]
fn percent(part: Bytes, all: Bytes) -> f64 {
    part.0 as f64 * 100.0 / all.0.max(1) as f64
}

pub(super) fn pack(out: &Output, arguments: &PackArguments) -> Result<u8, CommandError> {
    let keys: Vec<SecretKey> =
        arguments.key.iter().map(|path| secret(path)).collect::<Result<_, _>>()?;
    let have = match &arguments.against {
        Some(path) => Have::parse(read(path)?.as_bytes()).map_err(|error| {
            let text = format!("{}: {}", path.display(), chain(&error));
            CommandError::new(exit::FAILED, text)
                .with_hint("make it with `prestagectl media have` where the parcel is to go")
        })?,
        None => Have::default(),
    };
    let order = Order {
        file: &arguments.file,
        keys: &keys,
        product: arguments.product.clone(),
        sequence: arguments.sequence,
        version: arguments.version.clone(),
        not_before: arguments.not_before,
        expires: arguments.expires,
        offer: arguments.offer.clone(),
        against: &have,
        to: &arguments.to,
        most_per_pack: arguments.pack_size,
        now: Timestamp::now(),
        made_by: PROGRAM.to_owned(),
    };
    let name = arguments.file.file_name().unwrap_or_default().to_string_lossy();
    let stopped = AtomicBool::new(false);
    let mut bar = bar(&name, !out.json);
    let report = |done, all| {
        bar(done, all);
        match stopped.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    // What the media holds is looked up beside the reading.
    let (unsigned, described) = thread::scope(|scope| {
        let (reading, is_read) = oneshot::channel();
        let describing = scope.spawn(|| {
            let described = describe(arguments, &name, is_read);
            stopped.fetch_or(described.is_err(), Ordering::Relaxed);
            described
        });
        let unsigned = Unsigned::read(&order, report);
        drop(reading);
        (unsigned, describing.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let failed = |error| CommandError::of(exit::FAILED, &error);
    let packed = match unsigned {
        Err(error) if !matches!(error, PackError::Interrupted) => Err(error),
        unsigned => {
            let described = described?;
            unsigned.and_then(|unsigned| unsigned.sign(described))
        }
    };
    let packed = packed.map_err(failed)?;
    let document = json!({
        "parcel": packed.folder, "packed_bytes": packed.packed, "manifest": packed.manifest,
    });
    out.print(&document, |_| {
        let ParcelManifest { file, product, sequence, packs, index, contents, .. } =
            &packed.manifest;
        let share = percent(packed.packed, file.size_bytes);
        let packs = plural(packs.len(), "pack", "packs");
        let folder = packed.folder.display();
        let pieces = plural(index.pieces, "piece", "pieces");
        format!(
            "{folder}: {product} {sequence}, {pieces}, {} of {} ({share:.0} %) in {packs}\n{}",
            packed.packed,
            file.size_bytes,
            held(contents)
        )
    });
    Ok(exit::DONE)
}

/// What is signed of what media holds, in a line.
fn held(contents: &Contents) -> String {
    let boot = contents.boot_image.as_ref().map_or_else(
        || "no boot image that a first start could run".to_owned(),
        |boot| format!("boot image {}", boot.name),
    );
    let packages = Bytes::of(contents.packages.len()).0 + contents.more_packages;
    let packages = plural(packages, "package", "packages");
    format!("it holds {boot}, and {packages}")
}

/// What media holds, found by a worker. Returns when the media is read, too, or somebody interrupts that.
fn describe(
    arguments: &PackArguments,
    name: &str,
    is_read: oneshot::Receiver<()>,
) -> Result<Described, CommandError> {
    let PackArguments { file, to, image, by, .. } = arguments;
    // The worker has another working folder.
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (wim, to) = (absolute(file), absolute(to));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        CommandError::new(exit::FAILED, format!("cannot wait for a worker: {error}"))
    })?;
    runtime.block_on(async {
        let mut ends = Ends::watched()?;
        let folder = WorkFolder::beside(&to.join(name))?;
        let task = Describe { wim, image: *image, folder: folder.path().to_owned() };
        let program = by.program.as_deref();
        let run = Run { program, task: "describe", name, doing: "reading", bar: false };
        let work = async {
            let described = run.of(&task, None).await?;
            // It ends without a word.
            let _ = is_read.await;
            Ok(described)
        };
        tokio::select! {
            described = work => described,
            () = ends.one() => {
                let text = "interrupted; there is no parcel, and nothing is left of it";
                Err(CommandError::new(exit::INTERRUPTED, text))
            }
        }
    })
}

/// Signs a parcel that others have made, and says what was signed.
pub(super) fn sign(out: &Output, folder: &Path, keys: &[PathBuf]) -> Result<u8, CommandError> {
    let keys: Vec<SecretKey> = keys.iter().map(|path| secret(path)).collect::<Result<_, _>>()?;
    let manifest = parcel::sign(folder, &keys).map_err(|error| {
        CommandError::new(exit::FAILED, format!("{}: {}", folder.display(), chain(&error)))
    })?;
    out.print(&manifest, |_| {
        let ParcelManifest { product, sequence, file, .. } = &manifest;
        format!("signed: {product} {sequence}, {} with SHA-256 {}", file.name, file.sha256)
    });
    Ok(exit::DONE)
}

/// Where the station has its inbox.
fn inbox(snapshot: &Snapshot) -> Result<PathBuf, CommandError> {
    let folder = &snapshot.inbox.folder;
    if folder.as_os_str().is_empty() {
        let text = "the daemon does not say where its inbox is";
        return Err(CommandError::new(exit::FAILED, text).with_hint("it is of another version"));
    }
    Ok(folder.clone())
}

/// The product of media with a manifest beside it; that manifest is not verified here.
fn product(media: &Path) -> Option<Product> {
    let name = media.file_name()?.to_str()?;
    let note = fs::read(media.with_file_name(format!("{name}{BESIDE}"))).ok()?;
    let payload = Envelope::parse(&note).ok()?.unverified_payload().ok()?;
    ParcelManifest::parse(&payload).ok().map(|manifest| manifest.product)
}

fn read_media(out: &Output, path: &Path) -> Result<HaveFile, CommandError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    HaveFile::of(path, bar(&name, !out.json)).map_err(|error| {
        CommandError::new(exit::FAILED, format!("{}: {}", path.display(), chain(&error)))
    })
}

/// What somebody has who has these media.
pub(super) fn have_files(out: &Output, files: &[PathBuf]) -> Result<u8, CommandError> {
    let media = files.iter().map(|path| read_media(out, path)).collect::<Result<_, _>>()?;
    put(&serde_json::to_string(&Have { media }).unwrap_or_default());
    Ok(exit::DONE)
}

pub(super) async fn have(
    client: &Client,
    out: &Output,
    wanted: Option<&Product>,
) -> Result<u8, CommandError> {
    let snapshot: Snapshot = client.get("/v1/status").await?;
    let folder = inbox(&snapshot)?;
    let mut list = Have::default();
    for media in &snapshot.media {
        let path = folder.join(&media.name);
        let other = wanted.is_some() && product(&path).is_some_and(|own| Some(&own) != wanted);
        if media.state != MediaState::Valid || media.files.len() != 1 || other {
            continue;
        }
        let file = read_media(out, &path)?;
        // What was read must be what the station has verified.
        if media.sha256 != Some(file.sha256) {
            let text = format!("{} was changed after it was verified", path.display());
            return Err(CommandError::new(exit::FAILED, text));
        }
        list.media.push(file);
    }
    put(&serde_json::to_string(&list).unwrap_or_default());
    Ok(exit::DONE)
}

/// What `receive` prints with `--json`.
#[derive(Debug, Serialize)]
struct Receipt<'a> {
    media: &'a str,
    file: &'a Path,
    sha256: Digest,
    product: &'a Product,
    sequence: u64,
    signed_by: Vec<&'a String>,
    loaded_bytes: Bytes,
    kept_bytes: Bytes,
    copied_bytes: Bytes,
}

pub(super) async fn receive(
    client: &Client,
    out: &Output,
    arguments: &ReceiveArguments,
) -> Result<u8, CommandError> {
    let keys: Vec<Signer> =
        arguments.key.iter().map(|path| listed(path)).collect::<Result<_, _>>()?;
    let (inbox, signers) = match (&arguments.to, keys.is_empty()) {
        (Some(folder), _) => (folder.clone(), Signers::new(keys)),
        (None, no_keys) => {
            let snapshot: Snapshot = client.get("/v1/status").await?;
            let signers = if no_keys { trusted(&snapshot)? } else { Signers::new(keys) };
            (inbox(&snapshot)?, signers)
        }
    };
    let source: Box<dyn Source> = match remote::is_address(&arguments.from) {
        true => Box::new(Remote::new(&arguments.from)),
        false => Box::new(Folder::new(Path::new(&arguments.from))),
    };
    let receiver = Receiver { source: &*source, signers: &signers, inbox: &inbox };
    let name = arguments.from.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let received =
        receiver.run(bar(name, !out.json)).map_err(|error| refused(&arguments.from, &error))?;
    let Received { vouched, file, loaded, kept, copied } = &received;
    let manifest = &vouched.manifest;
    let receipt = Receipt {
        media: &manifest.file.name,
        file,
        sha256: manifest.file.sha256,
        product: &manifest.product,
        sequence: manifest.sequence,
        signed_by: vouched.by.iter().collect(),
        loaded_bytes: *loaded,
        kept_bytes: *kept,
        copied_bytes: *copied,
    };
    out.print(&receipt, |_| {
        let by = match &receipt.signed_by[..] {
            [] => "no signature was asked for".to_owned(),
            names => format!(
                "signed by {}",
                names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
            ),
        };
        format!(
            "{} is in the inbox ({} {}): {loaded} loaded, {kept} there before, {copied} from other media; {by}",
            receipt.media, receipt.product, receipt.sequence
        )
    });
    Ok(exit::DONE)
}

/// A signer whose key is in a file, for all products.
fn listed(path: &Path) -> Result<Signer, CommandError> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Signer { name, key: public(path)?, products: Vec::new(), threshold: 1 })
}

/// Whom the station trusts.
fn trusted(snapshot: &Snapshot) -> Result<Signers, CommandError> {
    let roster = Roster::new(snapshot.signers.clone()).map_err(|error| {
        let text = format!("the daemon's signers cannot be used: {}", chain(&error));
        CommandError::new(exit::FAILED, text).with_hint("name a public key with --key")
    })?;
    Ok(roster.signers())
}

/// A parcel that is not taken in, with exit code and code.
fn refused(from: &str, error: &ReceiveError) -> CommandError {
    let exit = match error {
        ReceiveError::Distrust(Distrust::Unknown { .. } | Distrust::TooFew { .. })
        | ReceiveError::NameTaken { .. }
        | ReceiveError::Older { .. }
        | ReceiveError::OtherProduct { .. }
        | ReceiveError::Busy => exit::REFUSED,
        _ => exit::FAILED,
    };
    let text = format!("{from}: {}", chain(error));
    let code = Some(error.code().to_string());
    CommandError { code, text, ..CommandError::of(exit, error) }
}
