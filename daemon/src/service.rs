//! Starts and ends the daemon: puts together log, store, ledger, station, watchers and control socket.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use config::{Config, ConfigError};
use drives::usage::Host;
use drives::watch::{HotplugError, Listener};
use imaging::Replicator;
use masters::store::{Store, StoreError};
use media::inbox::{self, InboxError};
use media::lease;
use media::tools::{ToolError, Tools};
use media::worker::account::{self, NoAccount};
use media::worker::pool::Workers;
use media::worker::{Probe, Probed};
use model::admission::Policy;
use model::drive::Change;
use model::failure::Failure;
use model::hint::Hint;
use model::units::Bytes;
use record::ledger::{Ledger, LedgerError};
use record::writer::RecordWriter;
use station::{Event, Setup, Station};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::api::{self, peer::Peer};
use crate::runner::{self, OpenMaster, Services};
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
}

/// Sends the log to the journal, and also to standard error unless systemd connects that to the journal.
pub fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let journal = tracing_journald::layer().map(|layer| layer.with_field_prefix(None));
    let no_journal = journal.as_ref().err().map(ToString::to_string);
    let stderr_is_journal = std::env::var_os("JOURNAL_STREAM").is_some() && no_journal.is_none();
    let stderr = (!stderr_is_journal)
        .then(|| tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false));
    tracing_subscriber::registry().with(filter).with(journal.ok()).with(stderr).init();
    if let Some(error) = no_journal {
        let instead = "the log and the copies of records go to standard error";
        tracing::warn!("cannot reach the journal, so {instead}: {error}");
    }
}

/// What is said of a kernel before the name of what it lacks.
const LACKING: &str = "workers are not fully kept apart: this kernel lacks";

/// Finds the programs, the accounts and libwim, and what workers have on this machine, without changing anything.
///
/// # Errors
/// The first of them that is missing, with a hint how to get it.
pub async fn check(config: &Config) -> Result<(Tools, Workers, Probed)> {
    let tools = Tools::find(&config.tools.search)?;
    control_group(config)?;
    let workers = Workers::new(account::for_workers(config.tools.user.as_deref())?);
    let probed = workers.run(&Probe {}, |_| ()).await?;
    Ok((tools, workers, probed))
}

/// The number of the group whose members may control the station.
fn control_group(config: &Config) -> Result<Option<u32>, NoAccount> {
    let group = config.control.group.as_deref();
    group.map(|name| account::group("control.group", name)).transpose()
}

/// The output of `--check`: the configuration in words.
pub fn summary(config: &Config, tools: &Tools, probed: &Probed) -> String {
    let list = |items: &[String]| if items.is_empty() { "none".into() } else { items.join(", ") };
    let layout = config.chosen_layout();
    let partitions: Vec<String> = layout.partitions.iter().map(|p| p.role.to_string()).collect();
    let admission = &config.admission;
    let names: Vec<String> =
        config.bay.iter().map(|bay| format!("{} ({})", bay.name.trim(), bay.path)).collect();
    [
        format!("station   {}", config.station.name),
        format!("armed     {}", if admission.armed { "yes" } else { "no" }),
        format!("buses     {}", list(&admission.buses)),
        format!("bays      {}", list(&admission.bays)),
        format!("names     {}", list(&names)),
        format!("inbox     {}", config.media.inbox.display()),
        format!("store     {} (budget {})", config.store.path.display(), config.store.budget),
        format!("ledger    {}", config.ledger.path.display()),
        format!("socket    {}", config.control.socket.display()),
        format!("layout    {} ({})", layout.name, partitions.join(", ")),
        format!("libwim    {}", probed.libwim),
        format!("mkntfs    {}", tools.mkntfs.display()),
        format!("mkfs.vfat {}", tools.mkfs_vfat.display()),
        format!("mcopy     {}", tools.mcopy.display()),
        format!("hivexsh   {}", tools.hivexsh.display()),
    ]
    .into_iter()
    .chain(config.doubts().iter().map(|doubt| format!("warning   {doubt}")))
    .chain(probed.lacking.iter().map(|what| format!("warning   {LACKING} {what}")))
    .collect::<Vec<_>>()
    .join("\n")
}

/// Runs the daemon until it is told to end.
///
/// # Errors
/// Whatever keeps the daemon from starting. No drive has been written then.
pub async fn run(config: Config) -> Result<()> {
    let (tools, workers, Probed { libwim, lacking }) = check(&config).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), libwim, "prestaged starts");
    for lacking in lacking {
        tracing::warn!("{LACKING} {lacking}");
    }
    lease::ignore_lease_breaks();
    for doubt in config.doubts() {
        tracing::warn!("{doubt}");
    }
    let policy = config.policy()?;
    let host = supported_host()?;

    create_folder("the media inbox", &config.media.inbox)?;
    let store = Arc::new(Store::open(&config.store.path, config.store.budget, workers.account())?);
    let ledger = open_ledger(&config, &host)?;
    let writer = RecordWriter::start(ledger.clone())?;
    let group = control_group(&config)?;
    let listener = listen(&config, group).await?;

    let (sender, receiver) = mpsc::channel(256);
    let station = new_station(&config, policy.clone(), store.largest_file());
    let (publish, snapshot) = watch::channel(Arc::new(station.snapshot(&|_| None)));
    let services = Services {
        store: Arc::clone(&store),
        ledger: ledger.clone(),
        writer: writer.clone(),
        replicator: Arc::new(Replicator::new(config.replicate.memory)),
        workers,
        tools,
        host,
        limits: config.limits(),
        overwrite: policy.overwrite,
        image: config.media.image,
        boot: config.needs_boot_files(),
    };

    watch_inbox(&config.media.inbox, sender.clone())?;
    udev_rules::install(&policy);
    drives::watch::watch(DriveEvents(sender.clone()))?;
    let ending = Arc::new(Notify::new());
    let context = api::Context { snapshot, commands: sender.clone(), ledger, group };
    let mut server = serve(listener, context, Arc::clone(&ending));
    tokio::spawn(watch_signals(sender.clone())?);

    notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(armed = policy.armed, "watching for drives and media");
    let feed_watchdog = |_: &_| notify(&[sd_notify::NotifyState::Watchdog]);
    runner::run(station, services, (sender, receiver), publish, feed_watchdog).await;
    notify(&[sd_notify::NotifyState::Stopping]);
    tokio::task::spawn_blocking(move || writer.finish()).await?;
    // Whoever follows a drive gets its verdict before the connection ends.
    ending.notify_one();
    if timeout(FAREWELL, &mut server).await.is_err() {
        server.abort();
    }
    let _ = std::fs::remove_file(&config.control.socket);
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
    #[error("another prestaged answers on {0}")]
    SocketInUse(String),
}

impl Hint for StartError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Kernel => "prestaged needs Linux 5.15 or later".into(),
            Self::SocketInUse(_) => {
                "end the other one, or give this one its own [control] socket".into()
            }
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

/// Opens the ledger, and closes the records that an interrupted station has left open.
fn open_ledger(config: &Config, host: &Host) -> Result<Ledger> {
    if let Some(folder) = config.ledger.path.parent() {
        create_folder("the ledger's folder", folder)?;
    }
    let ledger = Ledger::open(&config.ledger.path, &host.boot_id())?;
    for record in ledger.close_interrupted()? {
        tracing::warn!(job = %record.job, "a record was still open: {}", record.sentence());
    }
    Ok(ledger)
}

fn new_station(config: &Config, policy: Policy, largest_image: Bytes) -> Station<OpenMaster> {
    Station::new(Setup {
        name: config.station.name.clone(),
        file: config.file.clone(),
        policy,
        layout: config.chosen_layout(),
        image: config.media.image,
        expires: config.media.expires.clone(),
        largest_image,
        press_ahead: config.store.press_ahead,
    })
}

/// Sends the inbox's listing to the station, now and whenever it changes.
fn watch_inbox(inbox: &Path, sender: mpsc::Sender<Event<OpenMaster>>) -> Result<()> {
    inbox::watch(inbox, move |listing| sender.blocking_send(Event::Inbox(listing)).is_ok())?;
    Ok(())
}

/// Serves the API on the control socket until `ending`, and then what was asked before.
fn serve(
    listener: UnixListener,
    context: api::Context,
    ending: Arc<Notify>,
) -> JoinHandle<std::io::Result<()>> {
    let service = api::router(context).into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(listener, service)
        .with_graceful_shutdown(async move { ending.notified().await });
    tokio::spawn(server.into_future())
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

/// How to mend a failed start: the hint of the first error in the chain that has one.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    fn of<E: Hint + Send + Sync + 'static>(
        error: &(dyn std::error::Error + 'static),
    ) -> Option<String> {
        error.downcast_ref::<E>().and_then(Hint::hint)
    }
    error.chain().find_map(|error| {
        of::<ConfigError>(error)
            .or_else(|| of::<ToolError>(error))
            .or_else(|| of::<NoAccount>(error))
            .or_else(|| of::<StoreError>(error))
            .or_else(|| of::<LedgerError>(error))
            .or_else(|| of::<InboxError>(error))
            .or_else(|| of::<HotplugError>(error))
            .or_else(|| of::<StartError>(error))
            .or_else(|| error.downcast_ref::<Failure>().and_then(|failure| failure.hint.clone()))
    })
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    // This fails if systemd has not started the daemon, which is no error.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot notify systemd: {error}");
    }
}

/// How long a station that ends waits for its clients to take their last answers.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long the station waits for jobs that it has stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// Turns signals into events. After the first signal, running jobs are finished; after the second, they are stopped.
/// After the third the station ends without waiting for them, and so it does when [`PATIENCE`] is over, because a job
/// that hangs in the kernel never ends.
fn watch_signals(sender: mpsc::Sender<Event<OpenMaster>>) -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut signalled = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(async move {
        // To send fails only if the station has ended.
        signalled().await;
        tracing::info!("told to end: running jobs are finished first");
        let _ = sender.send(Event::Drain).await;
        signalled().await;
        tracing::info!("told to end again: running jobs are stopped");
        let _ = sender.send(Event::Halt).await;
        let _ = timeout(PATIENCE, signalled()).await;
        tracing::info!("ending without waiting for jobs that have not stopped");
        let _ = sender.send(Event::Abandon).await;
    })
}

/// Makes the control socket, and gives it its group and mode.
async fn listen(config: &Config, group: Option<u32>) -> Result<UnixListener> {
    let path = &config.control.socket;
    if let Some(folder) = path.parent() {
        create_folder("the control socket's folder", folder)?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(StartError::SocketInUse(path.display().to_string()).into());
    }
    let _ = std::fs::remove_file(path);
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group))
            .with_context(|| format!("cannot give {} to group {group}", path.display()))?;
    }
    std::fs::set_permissions(path, PermissionsExt::from_mode(config.socket_mode()?))
        .with_context(|| format!("cannot set the mode of {}", path.display()))?;
    Ok(listener)
}
