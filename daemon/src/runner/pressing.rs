//! One press: makes room in the store, runs the worker, takes the image over from it, hashes it, lets another worker
//! compare it with the media, and makes it a master.
//!
//! The order matters. What is compared after it was hashed is what was hashed, or the comparison finds the difference;
//! and what changes after the comparison has other digests when it is written to a drive.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use masters::image::{self, Outline};
use masters::store::{Staging, Store, StoreError, Taken};
use media::check::{CheckTask, Checked};
use media::lease::{Writers, writers};
use media::press::PressTask;
use model::api::audit::{AuditReport, Difference, Outcome};
use model::api::line::Progress;
use model::code::{FailureCode, WarningCode};
use model::digest::HashPaths;
use model::failure::{Failure, chain};
use model::layout::ntfs_bitmap;
use model::manifest::{Manifest, MasterId, Recipe};
use model::media::MediaFile;
use model::units::Bytes;
use parking_lot::Mutex;
use station::Event;
use tokio::sync::mpsc;
use tokio::task::{JoinError, spawn_blocking};

use super::{OpenMaster, Services};

mod deriving;

/// Room that partition tables, file systems and NTFS's own files take beyond the content, but for the bitmaps of the
/// volumes.
const OVERHEAD: Bytes = Bytes::mib(96);

/// The making of one master.
pub(super) struct Press {
    pub(super) recipe: Recipe,
    /// The files of the media.
    pub(super) files: Vec<MediaFile>,
    /// About how much room the content will take.
    pub(super) room: Bytes,
    /// Masters that must not be removed to make room.
    pub(super) in_use: HashSet<MasterId>,
}

fn store_failed(error: &StoreError) -> Failure {
    Failure::of(error.code(), error).with_hint_of(error)
}

fn panicked(error: &JoinError) -> Failure {
    Failure::of(FailureCode::InternalError, error)
}

impl Press {
    pub(super) async fn run(
        self,
        services: &Services,
        sender: &mpsc::Sender<Event<OpenMaster>>,
    ) -> Result<OpenMaster, Failure> {
        let (sender, id) = (sender.clone(), self.recipe.id());
        let report: Report = Arc::new(move |progress| {
            // A busy station may miss progress; only the end must reach it.
            let _ = sender.try_send(Event::PressProgress(id.clone(), progress));
        });
        // While it was queued, it may have been pressed as a base.
        let Some(base) = self.base(services) else {
            return self.found_or_pressed(self.recipe.clone(), services, &report).await;
        };
        let base = match self.found_or_pressed(base, services, &report).await {
            Ok(base) => base,
            // The content is larger than it seemed.
            Err(failure) if failure.code == FailureCode::VolumeFull => {
                return self.press(services, &report).await;
            }
            Err(failure) => return Err(failure),
        };
        let recipe = self.recipe.clone();
        match deriving::derive(&base, recipe, &self.in_use, services, &report).await {
            // A volume is not as expected, or the base has just been removed.
            Err(failure)
                if matches!(
                    failure.code,
                    FailureCode::PressFailed | FailureCode::MasterDamaged
                ) =>
            {
                let (master, why) = (self.recipe.id(), failure.sentence());
                tracing::warn!(%master, "master {master} is not derived but pressed: {why}");
                self.press(services, &report).await
            }
            other => other,
        }
    }

    /// The recipe of the master from which this one can be derived.
    fn base(&self, services: &Services) -> Option<Recipe> {
        let Recipe { layout, geometry, .. } = &self.recipe;
        let base = layout.base_drive(self.room, geometry.sector).filter(|_| services.derive)?;
        let plan = layout.plan(*geometry).ok()?;
        let derivable = base != *geometry && plan.moved_from(&layout.plan(base).ok()?).is_some();
        derivable.then(|| Recipe { geometry: base, ..self.recipe.clone() })
    }

    /// A master that is not derived, from the store if it has one that is whole.
    async fn found_or_pressed(
        &self,
        base: Recipe,
        services: &Services,
        report: &Report,
    ) -> Result<OpenMaster, Failure> {
        let (store, id) = (services.store.clone(), base.id());
        let look = spawn_blocking(move || match store.load(&id) {
            Err(error @ (StoreError::Damaged { .. } | StoreError::Unreadable { .. })) => {
                let why = chain(&error);
                tracing::error!(master = %id, "master {id} is removed and pressed anew: {why}");
                store.remove(&id).map(|_| None)
            }
            other => other,
        });
        let found = look.await.map_err(|error| panicked(&error))?;
        if let Some(base) = found.map_err(|error| store_failed(&error))? {
            return Ok(base);
        }
        let press = Self {
            recipe: base,
            files: self.files.clone(),
            room: self.room,
            in_use: self.in_use.clone(),
        };
        press.press(services, report).await
    }

    /// Presses the master.
    async fn press(&self, services: &Services, report: &Report) -> Result<OpenMaster, Failure> {
        let Self { recipe, files, room, in_use } = self;
        let (store, own) = (services.store.clone(), recipe.id());
        // Every byte of the largest volume's bitmap is written once, by mkntfs.
        let bitmap = ntfs_bitmap(recipe.geometry.size);
        let needed = room.saturating_add(OVERHEAD).saturating_add(bitmap);
        let staging = prepared(store, own, needed, in_use.clone()).await?;
        let (tools, folder) = (services.tools.clone(), staging.path().to_owned());
        let (files, recipe) = (files.clone(), recipe.clone());
        let task = PressTask { files, recipe, tools, staging: folder };
        let made = pressed(services, task, staging, report).await;
        kept(services.store.clone(), made).await
    }
}

/// Makes room in the store for about `needed` bytes, and a folder to press into.
async fn prepared(
    store: Arc<Store>,
    id: MasterId,
    needed: Bytes,
    in_use: HashSet<MasterId>,
) -> Result<Staging, Failure> {
    let prepare = spawn_blocking(move || {
        store.make_room(needed, &in_use)?;
        store.check_space(needed)?;
        store.staging(&id)
    });
    let prepared = prepare.await.map_err(|error| panicked(&error))?;
    prepared.map_err(|error| store_failed(&error))
}

/// Makes what was taken over a master; removes what is left of it if that fails.
async fn kept(
    store: Arc<Store>,
    made: Result<(Taken, Manifest), Failure>,
) -> Result<OpenMaster, Failure> {
    let keep = spawn_blocking(move || {
        let kept = made.and_then(|(taken, manifest)| {
            store.keep(taken, &manifest).map_err(|error| store_failed(&error))
        });
        if kept.is_err()
            && let Err(error) = store.clear_presses()
        {
            tracing::error!("{}", chain(&error));
        }
        kept
    });
    keep.await.unwrap_or_else(|error| Err(panicked(&error)))
}

/// Where the progress of a press goes.
type Report = Arc<dyn Fn(Progress) + Send + Sync>;

/// Presses an image, and lets another worker than the one that pressed it compare it with the media.
async fn pressed(
    services: &Services,
    task: PressTask,
    staging: Staging,
    report: &Report,
) -> Result<(Taken, Manifest), Failure> {
    let outline = services.workers.run(&task, |progress| report(progress)).await?;
    let PressTask { files, recipe, .. } = task;
    let (store, reporter) = (services.store.clone(), Arc::clone(report));
    let paths = services.replicator.hashing().paths().clone();
    let hash = spawn_blocking(move || hash(&store, &staging, (recipe, outline), &paths, &reporter));
    let (taken, manifest) = hash.await.unwrap_or_else(|error| Err(panicked(&error)))?;
    let manifest = compare(services, files, &taken, manifest, report).await?;
    Ok((taken, manifest))
}

/// Takes the image over from its press, and hashes it.
fn hash(
    store: &Store,
    staging: &Staging,
    (recipe, outline): (Recipe, Outline),
    paths: &HashPaths,
    report: &Report,
) -> Result<(Taken, Manifest), Failure> {
    let (id, size) = (recipe.id(), recipe.geometry.size);
    let taken = store.take_over(staging, &id, size).map_err(|error| store_failed(&error))?;
    wait_for_writers(&taken.image)?;
    let plan = recipe
        .layout
        .plan(recipe.geometry)
        .map_err(|error| Failure::of(FailureCode::PressFailed, &error).with_hint_of(&error))?;
    let last = Mutex::new(None);
    let hashing = |done: Bytes, total: Bytes| {
        if due(&mut last.lock()) {
            let fraction = PRESSED + (HASHED - PRESSED) * share(done, total);
            report(Progress { step: "hashing".into(), fraction });
        }
    };
    let manifest = image::describe(&taken.image, recipe, plan, outline, paths, &hashing)
        .map_err(|error| Failure::of(FailureCode::PressFailed, &error))?;
    Ok((taken, manifest))
}

/// Compares the master-to-be with the media. What cannot be compared becomes a warning of every drive.
async fn compare(
    services: &Services,
    files: Vec<MediaFile>,
    taken: &Taken,
    manifest: Manifest,
    report: &Report,
) -> Result<Manifest, Failure> {
    let image = taken.image.try_clone().map_err(|error| {
        Failure::new(FailureCode::StoreError, format!("cannot open the pressed image: {error}"))
    })?;
    let task = CheckTask { files, manifest };
    let comparing = |progress: Progress| {
        report(Progress { fraction: HASHED + (1.0 - HASHED) * progress.fraction, ..progress });
    };
    let checked = services.workers.run_with(&task, &[image.into()], comparing).await?;
    let Checked { report: found, boot_programs } = checked;
    let mut manifest = task.manifest;
    manifest.boot_programs = boot_programs;
    if found.outcome() == Outcome::Different {
        for Difference { path, what } in &found.differences {
            tracing::error!(master = %manifest.id, "the pressed image differs from the media: {path}: {what}");
        }
        return Err(differs(&found));
    }
    for (code, first, count, is) in [
        (
            WarningCode::NotKept,
            found.not_kept.first(),
            found.not_kept(),
            "are not on the master as in",
        ),
        (
            WarningCode::NotCompared,
            found.not_compared.first(),
            found.not_compared(),
            "of the master could not be compared with",
        ),
    ] {
        if let Some(Difference { path, what }) = first {
            let warning =
                code.says(format_args!("{count} files {is} the media, first {path}: {what}"));
            tracing::warn!(master = %manifest.id, "{warning}");
            manifest.warnings.push(warning);
        }
    }
    Ok(manifest.sealed())
}

/// The failure of a press whose image differs from the media.
fn differs(found: &AuditReport) -> Failure {
    let count = Bytes::of(found.differences.len()).0 + found.more_differences;
    let first = found.differences.first();
    let first = first.map(|first| format!("{}: {}", first.path, first.what)).unwrap_or_default();
    let detail =
        format!("the pressed image differs from the media in {count} places, first {first}");
    let hint = "press it once more; if it differs again, the station's memory or store is at fault, \
                or the media holds what cannot be applied: the log lists the differences";
    Failure::new(FailureCode::PressFailed, detail).with_hint(hint)
}

/// How much of a press is done when the image is there.
const PRESSED: f64 = 0.85;
/// How much of a press is done when the image is hashed.
const HASHED: f64 = 0.9;

/// Whether progress is to be reported again, at most ten times a second.
fn due(last: &mut Option<Instant>) -> bool {
    let due = last.is_none_or(|last| last.elapsed() >= Duration::from_millis(100));
    if due {
        *last = Some(Instant::now());
    }
    due
}

#[expect(clippy::cast_precision_loss, reason = "a progress bar has a hundred steps")]
fn share(done: Bytes, total: Bytes) -> f64 {
    done.0 as f64 / total.0.max(1) as f64
}

/// How long a killed process may take to let go of its files.
const LETTING_GO: Duration = Duration::from_secs(10);

/// Waits until nobody has the image open for writing. The station owns it, so nobody can open it for writing any more;
/// but who did before could still change it after it was hashed. A mapping in memory counts as well.
fn wait_for_writers(image: &File) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        match writers(image) {
            Writers::None => return Ok(()),
            Writers::Unknown => {
                tracing::warn!(
                    "the store's file system cannot tell whether a process still writes to a pressed image"
                );
                return Ok(());
            }
            Writers::Some if start.elapsed() < LETTING_GO => {
                thread::sleep(Duration::from_millis(10));
            }
            Writers::Some => {
                let detail = "a process still has the pressed image open for writing";
                let hint = "find out which process of the user tools.user it is, and end it";
                return Err(Failure::new(FailureCode::PressFailed, detail).with_hint(hint));
            }
        }
    }
}
