//! Carries out the effects that the station decides on, and sends it their results as events.
//!
//! Work that can block (on the store, the ledger, sysfs, drives) runs on threads of its own, not on tokio's. Each
//! effect ends with at most one event, not counting progress.

mod jobs;
mod leftovers;
mod pressing;
mod services;
mod survey;
mod verifying;
mod vouching;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drives::direct;
use masters::store::{Listed, Master, Store, StoreError};
use media::intake::IntakeTask;
use model::api::audit::AuditTask;
use model::api::line::{Line, Progress};
use model::api::snapshot::{HashingView, MasterView, Snapshot};
use model::code::{DenialCode, FailureCode};
use model::digest::Digest;
use model::drive::Drive;
use model::failure::{Denial, Failure, chain};
use model::manifest::{MasterId, Recipe};
use model::offer::OfferChange;
use model::orders::{Order, OrderChange};
use serde::Serialize;
use station::{Answer, AskedOrder, Effect, Event, Look, Reply, Station, Ticket};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::audit::Audit;
use jobs::Jobs;
use pressing::Press;
pub use services::{Services, open_orders};

/// A master that was found complete in the store, shared by the drives that are written from it.
pub type OpenMaster = Arc<Master>;

/// How many audits run at once. Each reads a drive from end to end and may take a core; drives that are being imaged go
/// first.
const AUDITS: usize = 2;

/// How often the snapshot is refreshed while a check, a press or a job runs.
const REFRESH: Duration = Duration::from_millis(200);

/// Runs the station until nothing is left to do. `tick` is called several times a second from the loop itself, so a
/// watchdog that is fed by it notices a station that hangs.
pub async fn run(
    mut station: Station<OpenMaster>,
    services: Services,
    events: (mpsc::Sender<Event<OpenMaster>>, mpsc::Receiver<Event<OpenMaster>>),
    snapshot: watch::Sender<Arc<Snapshot>>,
    mut tick: impl FnMut(&Snapshot),
) {
    let (sender, mut receiver) = events;
    let intakes = Arc::new(Semaphore::new(1));
    let audits = Arc::new(Semaphore::new(AUDITS));
    let jobs = Jobs::new();
    let mut performer = Performer { services, sender, intakes, audits, press: None, jobs };
    performer.list_masters();
    let mut clock = interval(REFRESH);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // When the snapshot was last refreshed, and whether something has happened since.
    let (mut shown, mut is_stale) = (Instant::now(), false);
    loop {
        let event = tokio::select! {
            event = receiver.recv() => event,
            _ = clock.tick() => {
                tick(&snapshot.borrow());
                match performer.jobs.stuck(&performer.services) {
                    Some(event) => Some(event),
                    None => {
                        if station.is_busy() || is_stale {
                            snapshot.send_replace(Arc::new(performer.snapshot(&station)));
                            is_stale = false;
                        }
                        continue;
                    }
                }
            }
        };
        let Some(event) = event else { return };
        if let Event::JobEnded(_, record) | Event::JobStuck(_, record) = &event {
            performer.jobs.forget(record.job);
        }
        let effects = station.apply(event, performer.services.clock.now());
        // Whoever is answered must find in the snapshot what it has asked for. Otherwise a flood of events is shown now
        // and then: a snapshot costs as much as everything there is to show.
        let is_due = |effect: &Effect<_>| matches!(effect, Effect::Answer(..) | Effect::Exit);
        let is_due = effects.iter().any(is_due);
        is_stale = !(is_due || receiver.is_empty() || shown.elapsed() >= REFRESH);
        if !is_stale {
            snapshot.send_replace(Arc::new(performer.snapshot(&station)));
            shown = Instant::now();
        }
        for effect in effects {
            if matches!(effect, Effect::Exit) {
                return;
            }
            performer.perform(effect);
        }
    }
}

struct Performer {
    services: Services,
    sender: mpsc::Sender<Event<OpenMaster>>,
    /// Allows one check of media at a time: each takes a core and the disk of the inbox.
    intakes: Arc<Semaphore>,
    /// Allows [`AUDITS`] audits at a time.
    audits: Arc<Semaphore>,
    press: Option<(MasterId, JoinHandle<()>)>,
    jobs: Jobs,
}

impl Performer {
    fn snapshot(&self, station: &Station<OpenMaster>) -> Snapshot {
        let store_read_bytes = self.services.replicator.bytes_read();
        let (path, rate) = self.services.replicator.hashing().paths().fastest();
        let hashing = Some(HashingView { path, at_once: path.lanes(), rate });
        Snapshot { store_read_bytes, hashing, ..station.snapshot(&|job| self.jobs.reading(job)) }
    }

    fn perform(&mut self, effect: Effect<OpenMaster>) {
        match effect {
            Effect::Judge(ticket, drive, look, orders) => self.judge(ticket, *drive, look, orders),
            Effect::Intake(path) => self.intake(path),
            Effect::LookForMaster(recipe) => self.look_for_master(recipe),
            Effect::Press { recipe, files, room, in_use } => {
                self.start_press(Press { recipe, files, room, in_use });
            }
            Effect::CancelPress => self.cancel_press(),
            Effect::RemoveMaster(id, reply) => self.remove_master(id, reply),
            Effect::Record(record) => self.services.writer.write(*record),
            Effect::Orders(changes, reply) => self.change_orders(changes, reply),
            Effect::LookAtOrders(asked) => self.look_at_orders(asked),
            Effect::Offer(change, reply) => self.note_offer(change, reply),
            Effect::LookForGeometries(media) => self.look_for_geometries(media),
            Effect::Job(order) => self.jobs.start(&self.services, &self.sender, *order),
            Effect::Clean(admitted, record) => {
                leftovers::clean(&self.services, *admitted, *record);
            }
            Effect::AcceptMedia(accepted, reply) => {
                let (services, sender) = (self.services.clone(), self.sender.clone());
                spawn_blocking(move || vouching::accept(&services, &sender, &accepted, reply));
            }
            Effect::Audit(task, reply) => self.audit(task, reply),
            Effect::Verify(drive, reply) => {
                verifying::start(self.services.clone(), Arc::clone(&self.audits), *drive, reply);
            }
            Effect::Answer(reply, answer) => {
                // The operator may have gone away.
                let _ = reply.send(answer);
            }
            Effect::Exit => {}
        }
    }

    /// Does work that blocks on a thread of its own, and sends the event that it returns.
    fn in_background(&self, work: impl FnOnce() -> Option<Event<OpenMaster>> + Send + 'static) {
        let sender = self.sender.clone();
        spawn_blocking(move || {
            if let Some(event) = work() {
                // Fails only if the station has ended.
                let _ = sender.blocking_send(event);
            }
        });
    }

    fn change_orders(&self, changes: Vec<OrderChange>, reply: Reply) {
        let services = self.services.clone();
        self.in_background(move || {
            let article = |order: &Order| services.articles.of(order);
            let made = services.ledger.change_orders(&changes, &article);
            let known = made.and_then(|made| match made {
                Ok(()) => services.open_orders().map(Ok),
                Err(denial) => Ok(Err(denial)),
            });
            let denial = match known {
                Ok(Ok(orders)) => {
                    for change in &changes {
                        let (number, act, by) = (&change.number, change.act.word(), &change.by);
                        tracing::warn!(
                            PRESTAGED_ORDER = number,
                            PRESTAGED_OPERATOR = %by,
                            "{by}: {act} order {number}{}",
                            change.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default()
                        );
                    }
                    return Some(Event::Orders(orders, Some(reply)));
                }
                Ok(Err(denial)) => denial,
                Err(error) => error.denial(),
            };
            // The operator may have gone away.
            let _ = reply.send(Err(denial));
            None
        });
    }

    fn look_at_orders(&self, asked: Vec<AskedOrder>) {
        let ledger = self.services.ledger.clone();
        self.in_background(move || match survey::standings(&ledger, &asked) {
            Ok(standings) => Some(Event::Standings(standings.into_iter().collect())),
            Err(error) => {
                tracing::error!("cannot look at orders: {}", chain(&error));
                None
            }
        });
    }

    fn note_offer(&self, change: OfferChange, reply: Reply) {
        let ledger = self.services.ledger.clone();
        self.in_background(move || match ledger.note_offer(&change) {
            Ok(()) => Some(Event::Offered(change, reply)),
            Err(error) => {
                // The operator may have gone away.
                let _ = reply.send(Err(error.denial()));
                None
            }
        });
    }

    fn look_for_geometries(&self, media: Digest) {
        let ledger = self.services.ledger.clone();
        self.in_background(move || match ledger.geometries() {
            Ok(geometries) => Some(Event::Geometries(media, geometries)),
            Err(error) => {
                tracing::error!("cannot press masters ahead: {}", chain(&error));
                None
            }
        });
    }

    fn judge(&self, ticket: Ticket, drive: Drive, look: Look, orders: Vec<AskedOrder>) {
        let (services, sender) = (self.services.clone(), self.sender.clone());
        tokio::spawn(async move {
            let facts = survey::gather(services, drive, look, orders).await;
            let _ = sender.send(Event::Judged(ticket, facts)).await;
        });
    }

    fn intake(&self, path: PathBuf) {
        let (sender, services) = (self.sender.clone(), self.services.clone());
        let permits = Arc::clone(&self.intakes);
        let Services { image, ref layout, ref tools, .. } = self.services;
        let (layout, tools) = (layout.clone(), tools.clone());
        if path.to_str().is_none() {
            let detail = "the name of the file is not UTF-8";
            let failure = Failure::new(FailureCode::MediaUnreadable, detail);
            let failure = failure.with_hint("rename the file");
            return self.in_background(move || Some(Event::IntakeEnded(path, Err(failure))));
        }
        tokio::spawn(async move {
            let Ok(_permit) = permits.acquire().await else { return };
            let _ = sender.send(Event::IntakeBegan(path.clone())).await;
            let task = IntakeTask { path: path.clone(), image, layout, tools };
            let report = {
                let (sender, path) = (sender.clone(), path.clone());
                move |progress: Progress| {
                    // A busy station may miss progress; only the end must reach it.
                    let _ = sender.try_send(Event::IntakeProgress(path.clone(), progress.fraction));
                }
            };
            let result = services.workers.run(&task, report).await;
            let vouched = spawn_blocking(move || vouching::vouch(&services, result)).await;
            let result = vouched
                .unwrap_or_else(|error| Err(Failure::of(FailureCode::InternalError, &error)));
            let _ = sender.send(Event::IntakeEnded(path, result)).await;
        });
    }

    fn look_for_master(&self, recipe: Recipe) {
        let store = Arc::clone(&self.services.store);
        self.in_background(move || {
            let id = recipe.id();
            let found = match store.load(&id) {
                Err(error @ (StoreError::Damaged { .. } | StoreError::Unreadable { .. })) => {
                    // No drive has been written from it, and it can be pressed anew from verified media.
                    let error = chain(&error);
                    tracing::error!(master = %id, "master {id} is removed and pressed anew: {error}");
                    store.remove(&id).map(|_| None)
                }
                other => other,
            };
            let found = found
                .map_err(|error| Failure::of(FailureCode::StoreError, &error).with_hint_of(&error));
            Some(Event::MasterLooked(recipe, found))
        });
    }

    fn start_press(&mut self, press: Press) {
        let id = press.recipe.id();
        let (services, sender) = (self.services.clone(), self.sender.clone());
        let master = id.clone();
        let Recipe { media_name, geometry, .. } = &press.recipe;
        tracing::info!(
            %master, media = media_name, %geometry,
            "pressing a master of {media_name} for drives of {geometry}"
        );
        let running = tokio::spawn(async move {
            let result = press.run(&services, &sender).await;
            list_masters(&services.store, &sender).await;
            let _ = sender.send(Event::PressEnded(master, result)).await;
        });
        self.press = Some((id, running));
    }

    fn cancel_press(&mut self) {
        let Some((id, press)) = self.press.take() else { return };
        // This drops the future, which kills the worker. The next press or start removes the worker's files from the
        // store.
        press.abort();
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let ended = press.await;
            if ended.is_err() {
                let failure = Failure::new(FailureCode::Cancelled, "the press was cancelled");
                let _ = sender.send(Event::PressEnded(id, Err(failure))).await;
            }
        });
    }

    fn remove_master(&self, id: MasterId, reply: Reply) {
        let (store, sender) = (Arc::clone(&self.services.store), self.sender.clone());
        tokio::spawn(async move {
            let name = id.to_string();
            let remover = Arc::clone(&store);
            let removed = spawn_blocking(move || remover.remove(&id)).await;
            let answer = match removed {
                Ok(Ok(true)) => Ok(Answer::Done),
                Ok(Ok(false)) => {
                    let detail = format!("there is no master {name:?}");
                    let denial = Denial::new(DenialCode::NoSuchMaster, detail);
                    Err(denial.with_hint("see `prestagectl master list`"))
                }
                Ok(Err(error)) => {
                    Err(Denial::of(DenialCode::StoreError, &error).with_hint_of(&error))
                }
                Err(error) => Err(Denial::of(DenialCode::InternalError, &error)),
            };
            list_masters(&store, &sender).await;
            let _ = reply.send(answer);
        });
    }

    fn list_masters(&self) {
        let (store, sender) = (Arc::clone(&self.services.store), self.sender.clone());
        tokio::spawn(async move { list_masters(&store, &sender).await });
    }

    fn audit(&self, task: AuditTask, reply: Reply) {
        let (workers, permits) = (self.services.workers.clone(), Arc::clone(&self.audits));
        tokio::spawn(async move {
            let audit = |report| async move {
                let node = task.node.clone();
                let opened = spawn_blocking(move || direct::open(&node)).await;
                let drive = opened
                    .map_err(|error| Failure::of(FailureCode::InternalError, &error))?
                    .map_err(|error| {
                        let what = format!("cannot open the drive: {}", chain(&error));
                        Failure::new(FailureCode::ReadError, what)
                    })?;
                workers.run_with(&Audit(task), &[drive.into()], report).await
            };
            in_turn(&permits, reply, audit).await;
        });
    }
}

/// Answers with lines, and looks at a drive as soon as one of `permits` is free; ends that when nobody reads the lines.
async fn in_turn<T: Serialize, F: Future<Output = Result<T, Failure>>>(
    permits: &Semaphore,
    reply: Reply,
    look: impl FnOnce(Box<dyn Fn(Progress) + Send + Sync>) -> F,
) {
    let (lines, receiver) = mpsc::channel(16);
    if reply.send(Ok(Answer::Lines(receiver))).is_err() {
        return;
    }
    let told = lines.clone();
    let report = Box::new(move |progress| {
        let _ = told.try_send(Line::Progress(progress));
    });
    let run = async {
        if permits.available_permits() == 0 {
            report(Progress { step: "waiting for other audits".into(), fraction: 0.0 });
        }
        let _permit = permits.acquire().await;
        look(report).await
    };
    let last = tokio::select! {
        result = run => Line::of(result),
        () = lines.closed() => return,
    };
    let _ = lines.send(last).await;
}

async fn list_masters(store: &Arc<Store>, sender: &mpsc::Sender<Event<OpenMaster>>) {
    let store = Arc::clone(store);
    let listed = spawn_blocking(move || store.list()).await;
    match listed {
        Ok(Ok(masters)) => {
            let view = |m: Listed| MasterView {
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
            let masters = masters.into_iter().map(view).collect();
            let _ = sender.send(Event::Masters(masters)).await;
        }
        Ok(Err(error)) => tracing::error!("cannot list the masters: {}", chain(&error)),
        Err(error) => tracing::error!("cannot list the masters: {error}"),
    }
}
