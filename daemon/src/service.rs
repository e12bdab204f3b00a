//! Starts and ends the daemon: puts together log, store, ledger, station, watchers and control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use config::{Config, ConfigError};
use drives::usage::Host;
use drives::watch::{HotplugError, Listener};
use imaging::Replicator;
use masters::marker;
use masters::store::{Store, StoreError};
use media::inbox::{self, InboxError};
use media::lease;
use media::tools::ToolError;
use media::worker::Probed;
use model::admission::Policy;
use model::drive::Change;
use model::failure::{Failure, Refusal, chain};
use model::hint::Hint;
use model::now::Now;
use model::offer::Offers;
use model::orders::{Articles, Order, Standing};
use model::record::Record;
use model::units::Bytes;
use record::ledger::{Ledger, LedgerError, Location, Outbox};
use record::log::Begin;
use record::writer::RecordWriter;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use station::{Event, History, Setup, Station};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::api::{self, GateRights};
use crate::check::{self, Found, control_group};
use crate::clock::Clock;
use crate::doors::{Doors, Visitors};
use crate::health::HealthReader;
use crate::order_inbox;
use crate::parcels;
use crate::results;
use crate::runner::{self, OpenMaster, Services, open_orders};
use crate::signals;
use crate::signers::{self, Trust};
use crate::socket::SocketError;
use crate::station_key::{self, KeyFileError};
use crate::suitability;
use crate::udev_rules;

/// Images newly attached drives with Configuration Manager prestaged media.
#[derive(Debug, Parser)]
#[command(name = "prestaged", version)]
pub struct Arguments {
    /// Configuration file.
    #[arg(long, env = config::VARIABLE, default_value = config::DEFAULT_PATH)]
    pub config: PathBuf,
    /// Check the configuration and the programs needed, print what would be watched, and end.
    #[arg(long)]
    pub check: bool,
    /// Decide what to do about a ledger that is missing or lacks records, and end: `new` sets what is there aside, and the
    /// next start begins a new one; `found` takes what is there as it is.
    #[arg(long, value_name = "CHOICE", conflicts_with = "check")]
    pub ledger: Option<LedgerChoice>,
}

/// What to do about a ledger that is not the one that the station remembers.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum LedgerChoice {
    /// Begin a new one.
    New,
    /// Take the one that is there.
    Found,
}

/// Runs the daemon until it is told to end.
///
/// # Errors
/// Whatever keeps the daemon from starting. No drive has been written then.
pub async fn run(config: Config, found: Found) -> Result<()> {
    let Found { tools, workers, probed: Probed { libwim, lacking } } = found;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), libwim, "prestaged starts");
    for lacking in lacking {
        tracing::warn!("{} {lacking}", check::LACKING);
    }
    lease::ignore_lease_breaks();
    lease::keep_low_descriptors()?;
    let descriptors = raise_descriptors();
    for doubt in suitability::doubts(&config) {
        tracing::warn!("{doubt}");
    }
    // The station writes drives without its gate; the gate will say the same and end.
    for mistake in gate::mistakes(&config) {
        tracing::warn!("{}", chain(&mistake));
    }
    let policy = config.policy()?;
    let trust = signers::read(&config)?;
    let host = supported_host()?;

    Doors::refuse_second(&config).await?;
    create_folder("the media inbox", &config.media.inbox)?;
    let hashing = config.replicate.hashing;
    let paths = tokio::task::spawn_blocking(move || imaging::hash::measured(hashing)).await?;
    let (path, budget) = (&config.store.path, config.store.budget);
    let store = Arc::new(Store::open(path, budget, workers.account(), paths.clone())?);
    let visitors = Visitors::of(&config)?;
    let ledger = open_ledger(&config, &host)?;
    let doors = Doors::make(&config, visitors).await?;

    let (sender, receiver) = mpsc::channel(256);
    let writer = {
        let sender = sender.clone();
        // Fails only if the station has ended.
        let report = move |trouble| drop(sender.blocking_send(Event::Ledger(trouble)));
        RecordWriter::start(ledger.clone(), report)?
    };
    if let Some(error) = ledger.distrust() {
        let refusal = Refusal::of(error.code(), &error).with_hint_of(&error);
        sender.send(Event::Ledger(Some(refusal))).await?;
    }
    let articles = Articles { layouts: config.layout.clone(), image: config.media.image };
    let known = known(&config, &ledger, &articles).map_err(|error| ledger.blame(error))?;
    let Known { offers, history, latest, last_jobs, orders } = known;
    let clock = Clock::new(latest);
    trust.keep_in(&config, &ledger)?;
    let known = (offers, trust.clone(), history, last_jobs);
    let setup = new_setup(&config, policy.clone(), store.largest_file(), known, clock.now());
    let station = Station::new(Setup { articles: articles.clone(), orders, ..setup });
    let (publish, snapshot) = watch::channel(Arc::new(station.snapshot(&|_| None)));
    let services = Services {
        store: Arc::clone(&store),
        ledger: ledger.clone(),
        writer: writer.clone(),
        replicator: Arc::new(Replicator::new(config.replicate.memory, paths)),
        workers,
        tools,
        host,
        limits: config.limits(),
        old_data: config.replicate.old_data,
        overwrite: policy.overwrite,
        blank_check: config.admission.blank_check,
        signers: Arc::new(trust.roster.signers()),
        clock: clock.clone(),
        health: HealthReader::new(config.health.socket.as_deref(), config.health.timeout.0),
        derive: config.store.derive,
        image: config.media.image,
        layout: config.chosen_layout(),
        articles: articles.clone(),
    };

    watch_inbox(&config.media.inbox, sender.clone())?;
    let told = sender.clone();
    let tell = move |parcels| told.blocking_send(Event::Parcels(parcels)).is_ok();
    parcels::watch(config.media.inbox.clone(), Arc::clone(&services.signers), tell)?;
    exchange(&config, &ledger, &sender)?;
    udev_rules::install(&policy);
    drives::watch::watch(DriveEvents(sender.clone()))?;
    let context = api::Context {
        snapshot,
        commands: sender.clone(),
        ledger: ledger.clone(),
        clock: clock.clone(),
        visitors,
        rights: GateRights { operate: config.gate.operate, arming: config.gate.arming },
        articles,
        size_tolerance: policy.size_tolerance,
        label_template: config.labels.template.clone(),
    };
    let doors = doors.open(&context, api::server::Limits::of(descriptors));
    signals::watch(sender.clone())?;

    notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(armed = policy.armed, "watching for drives and media");
    let feed_watchdog = |_: &_| notify(&[sd_notify::NotifyState::Watchdog]);
    runner::run(station, services, (sender, receiver), publish, feed_watchdog).await;
    notify(&[sd_notify::NotifyState::Stopping]);
    tokio::task::spawn_blocking(move || writer.finish()).await?;
    if timeout(TIDYING, tokio::task::spawn_blocking(move || ledger.finish())).await.is_err() {
        tracing::warn!("the ledger does not answer; it was not brought into its one file");
    }
    doors.close().await;
    // A thread that hangs in the kernel with a dead drive keeps this process and its files open. The next station must
    // not have to wait for it.
    store.unlock();
    tracing::info!("prestaged ends");
    Ok(())
}

/// Why the station cannot start on this machine.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("this kernel does not count attachments of disks (diskseq)")]
    Kernel,
}

impl Hint for StartError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Kernel => "prestaged needs Linux 5.15 or later".into(),
        })
    }
}

/// The machine, if its kernel can tell one attachment of a disk from the next.
fn supported_host() -> Result<Host> {
    let host = Host::default();
    if !host.counts_attachments() || host.boot_id().is_empty() {
        return Err(StartError::Kernel.into());
    }
    Ok(host)
}

/// Creates a folder with all its parents, unless it exists. Messages call it `name`.
fn create_folder(name: &str, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create {name} {}", folder.display()))
}

/// Where the ledger is. The store's folder remembers it, too.
fn ledger_location(config: &Config) -> Result<Location> {
    let location = Location::new(&config.ledger.path, station_key::read_or_make(config)?)
        .remembered_as(config.store.path.join(marker::COUNTERFOIL));
    let outbox = if config.orders.results.is_some() { Outbox::On } else { Outbox::Off };
    Ok(location.for_group(control_group(config)?).with_outbox(outbox))
}

/// Opens the ledger, and closes the records that an interrupted station has left open.
fn open_ledger(config: &Config, host: &Host) -> Result<Ledger> {
    if let Some(folder) = config.ledger.path.parent() {
        create_folder("the ledger's folder", folder)?;
    }
    let ledger = Ledger::open(&ledger_location(config)?, &host.boot_id())?;
    ledger.close_interrupted()?;
    Ok(ledger)
}

/// Carries out what an operator has decided about the ledger; says what was done.
///
/// # Errors
/// If a station uses the ledger, or the files cannot be changed.
pub fn settle_ledger(config: &Config, choice: LedgerChoice) -> Result<String> {
    let location = ledger_location(config)?;
    let path = config.ledger.path.display();
    Ok(match choice {
        LedgerChoice::New => match Ledger::set_aside(&location, jiff::Timestamp::now())? {
            Some(aside) => {
                format!(
                    "set aside as {}; the next start begins a new ledger {path}\n\
                     the new one does not know what drives have passed, what operators have said of media (offer, \
                     accept), which list of signers is in force, which orders were added by hand, and how many drives of \
                     each order are done: say all of that anew before the station is armed",
                    aside.display()
                )
            }
            None => format!("the next start begins a new ledger {path}"),
        },
        LedgerChoice::Found => {
            let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
            Ledger::accept(
                &location,
                Begin {
                    at: jiff::Timestamp::now(),
                    operator: user.map(|user| user.name),
                    reason: Some("taken as it was found (prestaged --ledger found)".into()),
                    found: None,
                },
            )?;
            format!("the next start takes the ledger {path} as it is")
        }
    })
}

/// What a station that starts is told by its ledger.
struct Known {
    offers: Offers,
    history: History,
    /// When the ledger was last written to.
    latest: jiff::Timestamp,
    last_jobs: Vec<Record>,
    orders: Vec<(Order, Standing)>,
}

fn known(config: &Config, ledger: &Ledger, articles: &Articles) -> Result<Known, LedgerError> {
    Ok(Known {
        offers: known_offers(config, ledger)?,
        history: History {
            highest: ledger.sequences()?,
            accepted: ledger.accepted()?.into_iter().collect(),
        },
        latest: ledger.latest()?,
        last_jobs: ledger.last_jobs()?,
        orders: open_orders(ledger, articles)?,
    })
}

/// What the configuration and operators have said of media.
fn known_offers(config: &Config, ledger: &Ledger) -> Result<Offers, LedgerError> {
    let mut offers = Offers::configured(config.media.offer, config.media.offers.clone());
    ledger.offers()?.into_iter().for_each(|change| offers.take(change));
    Ok(offers)
}

fn new_setup(
    config: &Config,
    policy: Policy,
    largest_image: Bytes,
    (offers, trust, history, last_jobs): (Offers, Trust, History, Vec<Record>),
    now: Now,
) -> Setup {
    Setup {
        name: config.station.name.clone(),
        file: config.file.clone(),
        policy,
        layout: config.chosen_layout(),
        image: config.media.image,
        inbox: config.media.inbox.clone(),
        offers,
        articles: Articles::default(),
        orders: Vec::new(),
        expires: config.media.expires.clone(),
        signers: trust.roster.listed().to_vec(),
        signer_list: trust.number(),
        history,
        last_jobs,
        largest_image,
        press_ahead: config.store.press_ahead,
        derive: config.store.derive,
        locate_for: config.lamps.locate_for.0,
        now,
    }
}

/// Sends the inbox's listing to the station, now and whenever it changes.
fn watch_inbox(inbox: &Path, sender: mpsc::Sender<Event<OpenMaster>>) -> Result<()> {
    inbox::watch(inbox, move |seen| sender.blocking_send(Event::Inbox(seen)).is_ok())?;
    Ok(())
}

/// Takes orders from their folder, and hands results on, where the configuration has folders for that.
fn exchange(
    config: &Config,
    ledger: &Ledger,
    sender: &mpsc::Sender<Event<OpenMaster>>,
) -> Result<()> {
    if let Some(folder) = &config.orders.inbox {
        create_folder("the folder of orders", folder)?;
        order_inbox::watch(folder.clone(), sender.clone())?;
    }
    if let Some(folder) = &config.orders.results {
        create_folder("the folder of results", folder)?;
        let sender = sender.clone();
        let report = move |trouble| sender.blocking_send(Event::Results(trouble)).is_ok();
        results::start(ledger.clone(), folder.clone(), report)?;
    }
    Ok(())
}

/// The most descriptors that the station takes.
const DESCRIPTORS: u64 = 65_536;

/// Raises the number of descriptors that this process may have, as far as it may; returns it. Drives, workers, files and
/// clients share them.
fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let (current, most) =
        (limit.current.unwrap_or(DESCRIPTORS), limit.maximum.unwrap_or(DESCRIPTORS));
    let wanted = most.min(DESCRIPTORS).max(current);
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => wanted,
        Err(_) => current,
    }
}

/// Sends changes among the attached drives to the station.
struct DriveEvents(mpsc::Sender<Event<OpenMaster>>);

impl Listener for DriveEvents {
    fn changed(&mut self, changes: Vec<Change>) -> bool {
        self.0.blocking_send(Event::Drives(changes)).is_ok()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// How to mend a failed start with this configuration file: what its causes say, or else the hint of the first error in
/// the chain that has one.
pub fn hint(error: &anyhow::Error, file: &Path) -> Option<String> {
    let kind =
        error.chain().find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
    // systemd gives each start of a service a name.
    let is_service = std::env::var_os("INVOCATION_ID").is_some();
    match kind {
        Some(io::ErrorKind::ReadOnlyFilesystem) if is_service => {
            let folder = Path::new("FOLDER");
            Some(format!(
                "if only the service may not write there: {}",
                suitability::open_up(folder)
            ))
        }
        Some(io::ErrorKind::PermissionDenied) if !rustix::process::geteuid().is_root() => {
            Some("the station needs root: sudo systemctl start prestaged, or sudo prestaged".into())
        }
        _ => own_hint(error),
    }
    .map(|hint| with_file(&hint, file))
}

/// A hint whose commands are about the configuration in use.
fn with_file(hint: &str, file: &Path) -> String {
    if file == Path::new(config::DEFAULT_PATH) {
        return hint.to_owned();
    }
    hint.replace("prestaged --ledger", &format!("prestaged --config {} --ledger", file.display()))
}

fn own_hint(error: &anyhow::Error) -> Option<String> {
    fn of<E: Hint + Send + Sync + 'static>(
        error: &(dyn std::error::Error + 'static),
    ) -> Option<String> {
        error.downcast_ref::<E>().and_then(Hint::hint)
    }
    error.chain().find_map(|error| {
        of::<ConfigError>(error)
            .or_else(|| of::<ToolError>(error))
            .or_else(|| of::<StoreError>(error))
            .or_else(|| of::<LedgerError>(error))
            .or_else(|| of::<InboxError>(error))
            .or_else(|| of::<HotplugError>(error))
            .or_else(|| of::<StartError>(error))
            .or_else(|| of::<SocketError>(error))
            .or_else(|| of::<KeyFileError>(error))
            .or_else(|| error.downcast_ref::<Failure>().and_then(|failure| failure.hint.clone()))
    })
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    // This fails if systemd has not started the daemon, which is no error.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot notify systemd: {error}");
    }
}

/// How long a station that ends waits for its ledger to become one file.
const TIDYING: Duration = Duration::from_secs(5);
