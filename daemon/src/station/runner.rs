//! Carries out what the station decides, and tells it what has come of it.
//!
//! tokio at the edges; whatever can block (the store, the ledger, sysfs, drives) runs on threads of its own. Each
//! effect ends in at most one event.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use super::jobs::Jobs;
use super::snapshot::{MasterView, Snapshot};
use super::{Answer, CANCELLED, Denial, Effect, Event, Reply, Station, Ticket, facts};
use crate::admission::Overwrite;
use crate::audit::AuditTask;
use crate::drive::Drive;
use crate::hotplug::host::Host;
use crate::master::store::{Store, StoreError};
use crate::master::{Manifest, MasterId, Recipe};
use crate::media::MediaFile;
use crate::media::intake::{IntakeTask, Outcome};
use crate::press::PressTask;
use crate::record::ledger::Ledger;
use crate::record::scribe::Scribe;
use crate::replicate::Replicator;
use crate::replicate::engine::Limits;
use crate::task::Task;
use crate::tools::Tools;
use crate::units::Bytes;
use crate::worker::{Failure, Line, Workers};

/// How often views are refreshed while something moves.
const REFRESH: Duration = Duration::from_millis(200);

/// What effects are carried out with.
#[derive(Clone, Debug)]
pub struct Means {
    /// Masters.
    pub store: Arc<Store>,
    /// Records.
    pub ledger: Ledger,
    /// Writes records that no drive's thread waits for.
    pub scribe: Scribe,
    /// Engine.
    pub replicator: Arc<Replicator>,
    /// Child processes.
    pub workers: Workers,
    /// Formatting programs.
    pub tools: Tools,
    /// This machine.
    pub host: Host,
    /// Limits of jobs.
    pub limits: Limits,
    /// What may be overwritten: only where that depends on it is a drive's content looked at.
    pub overwrite: Overwrite,
    /// Index of the image that is applied.
    pub image: u32,
    /// Whether media must bring boot files.
    pub boot: bool,
}

/// Runs the station until it has nothing left to do. `tick` is called several times a second, from the loop itself: a
/// watchdog fed there notices a station that hangs.
pub async fn run(
    mut station: Station,
    means: Means,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    snapshot: watch::Sender<Arc<Snapshot>>,
    mut tick: impl FnMut(&Snapshot),
) {
    let (sender, mut receiver) = events;
    let intakes = Arc::new(Semaphore::new(1));
    let jobs = Jobs::default();
    let mut performer = Performer { means, sender, intakes, press: None, jobs };
    performer.list_masters();
    let mut clock = interval(REFRESH);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            event = receiver.recv() => event,
            _ = clock.tick() => {
                tick(&snapshot.borrow());
                match performer.jobs.stuck(&performer.means) {
                    Some(event) => Some(event),
                    None => {
                        if station.is_busy() {
                            snapshot.send_replace(Arc::new(performer.look(&station)));
                        }
                        continue;
                    }
                }
            }
        };
        let Some(event) = event else { return };
        let effects = station.apply(event);
        snapshot.send_replace(Arc::new(performer.look(&station)));
        for effect in effects {
            if matches!(effect, Effect::Exit) {
                return;
            }
            performer.perform(effect);
        }
    }
}

struct Performer {
    means: Means,
    sender: mpsc::Sender<Event>,
    /// One check of media at a time: each uses a core and the inbox's disk.
    intakes: Arc<Semaphore>,
    press: Option<(MasterId, JoinHandle<()>)>,
    jobs: Jobs,
}

impl Performer {
    fn look(&self, station: &Station) -> Snapshot {
        let store_read_bytes = self.means.replicator.bytes_read();
        Snapshot { store_read_bytes, ..station.snapshot() }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Judge(ticket, drive) => self.judge(ticket, *drive),
            Effect::Intake(path) => self.intake(path),
            Effect::LookForMaster(recipe) => self.look_for_master(recipe),
            Effect::Press { recipe, files, room, in_use } => {
                self.start_press(recipe, files, room, in_use);
            }
            Effect::CancelPress => self.cancel_press(),
            Effect::RemoveMaster(id, reply) => self.remove_master(id, reply),
            Effect::Record(record) => self.means.scribe.write(*record),
            Effect::LookForGeometries(media) => {
                let ledger = self.means.ledger.clone();
                self.in_background(move || match ledger.geometries() {
                    Ok(geometries) => Some(Event::Geometries(media, geometries)),
                    Err(error) => {
                        tracing::error!("{}", crate::worker::chain(&error));
                        None
                    }
                });
            }
            Effect::Job(order) => self.jobs.start(&self.means, &self.sender, *order),
            Effect::Audit(task, reply) => self.audit(task, reply),
            Effect::Answer(reply, answer) => {
                // The operator may have gone away.
                let _ = reply.send(answer);
            }
            Effect::Exit => {}
        }
    }

    /// Does something that blocks and sends what has come of it.
    fn in_background(&self, work: impl FnOnce() -> Option<Event> + Send + 'static) {
        let sender = self.sender.clone();
        spawn_blocking(move || {
            if let Some(event) = work() {
                // Nobody listens any more only when the station has ended.
                let _ = sender.blocking_send(event);
            }
        });
    }

    fn judge(&self, ticket: Ticket, drive: Drive) {
        let (means, sender) = (self.means.clone(), self.sender.clone());
        tokio::spawn(async move {
            let facts = facts::gather(means, drive).await;
            let _ = sender.send(Event::Judged(ticket, facts)).await;
        });
    }

    fn intake(&self, path: PathBuf) {
        let (sender, workers) = (self.sender.clone(), self.means.workers.clone());
        let permits = Arc::clone(&self.intakes);
        let Means { image, boot, .. } = self.means;
        if path.to_str().is_none() {
            let detail = "its name is not UTF-8; rename the file".to_owned();
            let failure = Failure { code: "media_unreadable".into(), detail };
            return self.in_background(move || Some(Event::IntakeEnded(path, Err(failure))));
        }
        tokio::spawn(async move {
            let Ok(_permit) = permits.acquire().await else { return };
            let task = Task::Intake(IntakeTask { path: path.clone(), image, boot });
            let report = {
                let (sender, path) = (sender.clone(), path.clone());
                move |progress: crate::worker::Progress| {
                    // Progress may be lost when the station is busy; the end is not.
                    let _ = sender.try_send(Event::IntakeProgress(path.clone(), progress.fraction));
                }
            };
            let result = workers.run::<Outcome>(&task, report).await;
            let _ = sender.send(Event::IntakeEnded(path, result)).await;
        });
    }

    fn look_for_master(&self, recipe: Recipe) {
        let store = Arc::clone(&self.means.store);
        self.in_background(move || {
            let id = recipe.id();
            let found = match store.load(&id) {
                Err(error @ (StoreError::Damaged { .. } | StoreError::Unreadable { .. })) => {
                    // It is pressed anew from verified media; no drive has been touched.
                    let error = crate::worker::chain(&error);
                    tracing::error!(master = %id, "{error}; it is removed and pressed anew");
                    store.remove(&id).map(|_| None)
                }
                other => other,
            };
            let found = found.map_err(|error| Failure::of("store_error", &error));
            Some(Event::MasterLooked(recipe, found))
        });
    }

    fn start_press(
        &mut self,
        recipe: Recipe,
        files: Vec<MediaFile>,
        room: Bytes,
        in_use: HashSet<MasterId>,
    ) {
        let id = recipe.id();
        let (means, sender) = (self.means.clone(), self.sender.clone());
        let master = id.clone();
        tracing::info!(%master, media = recipe.media_name, geometry = %recipe.geometry, "pressing a master");
        let press = tokio::spawn(async move {
            let result = press(&means, &sender, recipe, files, room, in_use).await;
            list_masters(&means.store, &sender).await;
            let _ = sender.send(Event::PressEnded(master, result)).await;
        });
        self.press = Some((id, press));
    }

    fn cancel_press(&mut self) {
        let Some((id, press)) = self.press.take() else { return };
        // Dropping the future kills the worker. What it leaves in the store is cleared away by the next press or start.
        press.abort();
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let ended = press.await;
            if ended.is_err() {
                let detail = "the press was cancelled".to_owned();
                let failure = Failure { code: CANCELLED.to_owned(), detail };
                let _ = sender.send(Event::PressEnded(id, Err(failure))).await;
            }
        });
    }

    fn remove_master(&self, id: MasterId, reply: Reply) {
        let (store, sender) = (Arc::clone(&self.means.store), self.sender.clone());
        tokio::spawn(async move {
            let name = id.to_string();
            let remover = Arc::clone(&store);
            let removed = spawn_blocking(move || remover.remove(&id)).await;
            let answer = match removed {
                Ok(Ok(true)) => Ok(Answer::Done),
                Ok(Ok(false)) => {
                    Err(Denial::new("no_such_master", format!("no master named {name:?}")))
                }
                Ok(Err(error)) => Err(Denial::new("store_error", crate::worker::chain(&error))),
                Err(error) => Err(Denial::new("internal_error", error.to_string())),
            };
            list_masters(&store, &sender).await;
            let _ = reply.send(answer);
        });
    }

    fn list_masters(&self) {
        let (store, sender) = (Arc::clone(&self.means.store), self.sender.clone());
        tokio::spawn(async move { list_masters(&store, &sender).await });
    }

    fn audit(&self, task: AuditTask, reply: Reply) {
        let workers = self.means.workers.clone();
        tokio::spawn(async move {
            let (lines, receiver) = mpsc::channel(16);
            if reply.send(Ok(Answer::Audit(receiver))).is_err() {
                return;
            }
            let report = |progress| {
                let _ = lines.try_send(Line::Progress(progress));
            };
            let task = Task::Audit(task);
            let audit = workers.run(&task, report);
            let last = tokio::select! {
                result = audit => match result {
                    Ok(value) => Line::Done(value),
                    Err(failure) => Line::Failed(failure),
                },
                () = lines.closed() => return,
            };
            let _ = lines.send(last).await;
        });
    }
}

async fn list_masters(store: &Arc<Store>, sender: &mpsc::Sender<Event>) {
    let store = Arc::clone(store);
    let listed = spawn_blocking(move || store.list()).await;
    match listed {
        Ok(Ok(masters)) => {
            let view = |m: crate::master::store::Listed| MasterView {
                id: m.id,
                media: m.recipe.media_name,
                media_sha256: m.recipe.media_sha256,
                layout: m.recipe.layout.name,
                size_bytes: m.recipe.geometry.size,
                logical_sector_bytes: m.recipe.geometry.sector.into(),
                payload_bytes: m.payload,
                allocated_bytes: m.allocated,
                root_sha256: m.root,
            };
            let _ = sender.send(Event::Masters(masters.into_iter().map(view).collect())).await;
        }
        Ok(Err(error)) => tracing::error!("{}", crate::worker::chain(&error)),
        Err(error) => tracing::error!(%error, "cannot list the store"),
    }
}

/// What file systems, partition tables and NTFS's own files take beyond the content.
const OVERHEAD: Bytes = Bytes::mib(96);

async fn press(
    means: &Means,
    sender: &mpsc::Sender<Event>,
    recipe: Recipe,
    files: Vec<MediaFile>,
    room: Bytes,
    in_use: HashSet<MasterId>,
) -> Result<(), Failure> {
    let id = recipe.id();
    let store = Arc::clone(&means.store);
    let own = id.clone();
    let prepared = spawn_blocking(move || {
        let needed = Bytes(room.0.saturating_add(OVERHEAD.0));
        store.make_room(needed, &in_use)?;
        store.check_space(needed)?;
        store.staging(&own)
    });
    let staging = match prepared.await {
        Ok(Ok(staging)) => staging,
        Ok(Err(error)) => return Err(Failure::of(error.code(), &error)),
        Err(error) => return Err(Failure::of("internal_error", &error)),
    };
    let tools = means.tools.clone();
    let task = PressTask { files, recipe, tools, staging: staging.clone() };
    let report = |progress| {
        let _ = sender.try_send(Event::PressProgress(id.clone(), progress));
    };
    let result = means.workers.run::<Manifest>(&Task::Press(Box::new(task)), report).await;
    let store = Arc::clone(&means.store);
    let master = id.clone();
    let kept = spawn_blocking(move || match result {
        Ok(_) => store.adopt(&staging, &master).map_err(|e| Failure::of(e.code(), &e)),
        Err(failure) => {
            if let Err(error) = store.discard(&staging) {
                tracing::error!("{}", crate::worker::chain(&error));
            }
            Err(failure)
        }
    });
    kept.await.unwrap_or_else(|error| Err(Failure::of("internal_error", &error)))
}
