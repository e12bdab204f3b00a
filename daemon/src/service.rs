//! Putting the daemon together: configuration, log, store, ledger, watchers, socket, station.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::account;
use crate::api::{self, peer::Peer};
use crate::config::{self, Config};
use crate::hotplug::{self, host::Host, rules};
use crate::master::store::Store;
use crate::media::inbox;
use crate::record::ledger::Ledger;
use crate::record::scribe::Scribe;
use crate::replicate::Replicator;
use crate::station::runner::{self, Means};
use crate::station::{Event, Setup, Station};
use crate::task::Task;
use crate::tools::Tools;
use crate::worker::Workers;

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
    let libwim: String = workers.run(&Task::Probe, |_| ()).await?;
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
    crate::sys::ignore_lease_breaks();
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
    let scribe = Scribe::start(ledger.clone())?;
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
    let (publish, snapshot) = watch::channel(Arc::new(station.snapshot()));
    let means = Means {
        store: Arc::clone(&store),
        ledger: ledger.clone(),
        scribe: scribe.clone(),
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
    rules::install(&policy);
    let drive_events = sender.clone();
    hotplug::watch(move |changes| {
        if changes.is_empty() {
            return !drive_events.is_closed();
        }
        drive_events.blocking_send(Event::Drives(changes)).is_ok()
    })?;
    let context = api::Context { snapshot, commands: sender.clone(), ledger, group };
    let service = api::router(context).into_make_service_with_connect_info::<Peer>();
    let server = tokio::spawn(async move { axum::serve(listener, service).await });
    tokio::spawn(watch_signals(sender.clone())?);

    notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(armed = policy.armed, "watching for drives and media");
    let beat = |_: &_| notify(&[sd_notify::NotifyState::Watchdog]);
    runner::run(station, means, (sender, receiver), publish, beat).await;
    notify(&[sd_notify::NotifyState::Stopping]);
    server.abort();
    tokio::task::spawn_blocking(move || scribe.finish()).await?;
    let _ = std::fs::remove_file(&config.control.socket);
    // A thread stuck in a dead drive keeps the process and its files; the next station must not wait for it.
    store.unlock();
    tracing::info!("prestaged ends");
    Ok(())
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    // Not being started by systemd is no error.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify systemd");
    }
}

/// How long a stopped drive may take to notice before the station ends without it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first signal lets running drives finish, the second stops them, the third does not wait for them.
fn watch_signals(sender: mpsc::Sender<Event>) -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        for event in [Event::Drain, Event::Halt, Event::Abandon] {
            // After the second signal drives have so long to notice; one that hangs in the kernel never does.
            let patience = match event {
                Event::Abandon => PATIENCE,
                _ => Duration::MAX,
            };
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = tokio::time::sleep(patience) => {}
            }
            tracing::info!(?event, "told to end");
            if sender.send(event).await.is_err() {
                return;
            }
        }
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
