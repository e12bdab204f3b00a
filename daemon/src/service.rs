//! Putting the daemon together: configuration, log, store, ledger, watchers, socket, station.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use config::{Config, ConfigError};
use drives::usage::Host;
use drives::watch::Listener;
use imaging::Replicator;
use masters::store::{Store, StoreError};
use media::inbox::{self, InboxError};
use media::lease;
use media::tools::{ToolError, Tools};
use media::worker::Probe;
use media::worker::account::{self, NoAccount};
use media::worker::pool::Workers;
use model::drive::Change;
use model::failure::{Failure, Hint};
use record::ledger::{Ledger, LedgerError};
use record::writer::RecordWriter;
use station::{Event, Setup, Station};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
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

/// Sends the log to the journal, and to standard error unless that is the journal already.
pub fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let journal = tracing_journald::layer().map(|layer| layer.with_field_prefix(None));
    let no_journal = journal.as_ref().err().map(ToString::to_string);
    let stderr_is_journal = std::env::var_os("JOURNAL_STREAM").is_some() && no_journal.is_none();
    let stderr = (!stderr_is_journal)
        .then(|| tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false));
    tracing_subscriber::registry().with(filter).with(journal.ok()).with(stderr).init();
    if let Some(error) = no_journal {
        tracing::warn!(
            "no journal socket ({error}): the log and the records' copies go to standard error"
        );
    }
}

/// What can be found out without touching anything: programs, libwim, what would be watched.
///
/// # Errors
/// The first thing that is missing, with the package to install.
pub async fn check(config: &Config) -> Result<(Tools, Workers, String)> {
    let tools = Tools::find(&config.tools.search)?;
    let workers = Workers::new(account::for_workers(config.tools.user.as_deref())?);
    let libwim: String = workers.run(&Probe {}, |_| ()).await?;
    Ok((tools, workers, libwim))
}

/// For `--check`: the configuration in words.
pub fn summary(config: &Config, tools: &Tools, libwim: &str) -> String {
    let list = |items: &[String]| if items.is_empty() { "none".into() } else { items.join(", ") };
    let layout = config.chosen_layout();
    let partitions: Vec<String> =
        layout.partitions.iter().map(|p| format!("{:?}", p.role).to_lowercase()).collect();
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
        format!("libwim    {libwim}"),
        format!("mkntfs    {}", tools.mkntfs.display()),
        format!("mkfs.vfat {}", tools.mkfs_vfat.display()),
        format!("mcopy     {}", tools.mcopy.display()),
        format!("hivexsh   {}", tools.hivexsh.display()),
    ]
    .into_iter()
    .chain(config.doubts().iter().map(|doubt| format!("warning   {doubt}")))
    .collect::<Vec<_>>()
    .join("\n")
}

/// Runs the daemon until it is told to end.
///
/// # Errors
/// Whatever keeps it from starting; nothing has been written to any drive then.
pub async fn run(config: Config) -> Result<()> {
    let (tools, workers, libwim) = check(&config).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), libwim, "prestaged starts");
    lease::ignore_lease_breaks();
    for doubt in config.doubts() {
        tracing::warn!("{doubt}");
    }
    let policy = config.policy()?;
    let layout = config.chosen_layout();
    let host = Host::default();
    if !host.counts_attachments() || host.boot_id().is_empty() {
        bail!(
            "this kernel does not count attachments of disks (diskseq); Linux 5.15 or later is needed"
        );
    }

    std::fs::create_dir_all(&config.media.inbox).with_context(|| {
        format!("cannot create the media inbox {}", config.media.inbox.display())
    })?;
    let store = Arc::new(Store::open(&config.store.path, config.store.budget, workers.account())?);
    if let Some(folder) = config.ledger.path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the ledger's folder {}", folder.display()))?;
    }
    let ledger = Ledger::open(&config.ledger.path, &host.boot_id())?;
    for record in ledger.close_interrupted()? {
        tracing::warn!(job = %record.job, "found open: {}", record.sentence());
    }
    let writer = RecordWriter::start(ledger.clone())?;
    let group = config.control.group.as_deref();
    let group = group.map(|name| account::group("control.group", name)).transpose()?;
    let listener = listen(&config, group).await?;

    let (sender, receiver) = mpsc::channel(256);
    let station = Station::new(Setup {
        name: config.station.name.clone(),
        file: config.file.clone(),
        policy: policy.clone(),
        layout,
        image: config.media.image,
        expires: config.media.expires.clone(),
        press_ahead: config.store.press_ahead,
    });
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

    let inbox_events = sender.clone();
    inbox::watch(&config.media.inbox, move |listing| {
        inbox_events.blocking_send(Event::Inbox(listing)).is_ok()
    })?;
    udev_rules::install(&policy);
    drives::watch::watch(DriveEvents(sender.clone()))?;
    let context = api::Context { snapshot, commands: sender.clone(), ledger, group };
    let service = api::router(context).into_make_service_with_connect_info::<Peer>();
    let server = tokio::spawn(async move { axum::serve(listener, service).await });
    tokio::spawn(watch_signals(sender.clone())?);

    notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(armed = policy.armed, "watching for drives and media");
    let beat = |_: &_| notify(&[sd_notify::NotifyState::Watchdog]);
    runner::run(station, services, (sender, receiver), publish, beat).await;
    notify(&[sd_notify::NotifyState::Stopping]);
    server.abort();
    tokio::task::spawn_blocking(move || writer.finish()).await?;
    let _ = std::fs::remove_file(&config.control.socket);
    // A thread stuck in a dead drive keeps the process and its files; the next station must not wait for it.
    store.unlock();
    tracing::info!("prestaged ends");
    Ok(())
}

/// Sends what changes among the drives to the station.
struct DriveEvents(mpsc::Sender<Event<OpenMaster>>);

impl Listener for DriveEvents {
    fn changed(&mut self, changes: Vec<Change>) -> bool {
        self.0.blocking_send(Event::Drives(changes)).is_ok()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// What would mend a failed start: the hint of the first error in the chain that has one.
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
            .or_else(|| error.downcast_ref::<Failure>().and_then(|failure| failure.hint.clone()))
    })
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    // Not being started by systemd is no error.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify systemd");
    }
}

/// How long stopped drives may take to notice before the station ends without them.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first signal lets running drives finish, the second stops them. The third does not wait for them; nor does the
/// station wait longer than a while, because a drive that hangs in the kernel never notices.
fn watch_signals(sender: mpsc::Sender<Event<OpenMaster>>) -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut told = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(async move {
        // Nobody listens any more when the station has ended.
        told().await;
        tracing::info!("told to end: drives being written are finished");
        let _ = sender.send(Event::Drain).await;
        told().await;
        tracing::info!("told to end again: drives are stopped");
        let _ = sender.send(Event::Halt).await;
        let _ = timeout(PATIENCE, told()).await;
        tracing::info!("ending without the drives that have not noticed");
        let _ = sender.send(Event::Abandon).await;
    })
}

async fn listen(config: &Config, group: Option<u32>) -> Result<UnixListener> {
    let path = &config.control.socket;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the socket's folder {}", folder.display()))?;
    }
    if UnixStream::connect(path).is_ok() {
        bail!("another prestaged answers on {}", path.display());
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
