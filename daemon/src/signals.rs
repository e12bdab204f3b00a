//! What signals mean to the station. None of them ends it while drives are being written, but those that say so twice.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use station::Event;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::runner::OpenMaster;

/// How long the station waits for jobs that it has stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// Signals that would end a process by default and mean nothing to the station. One that somebody sends by mistake, or a
/// limit of the system (`SIGXFSZ`, whose write then fails with `EFBIG`), must not cost a good drive.
const MEANINGLESS: [libc::c_int; 9] = [
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGPWR,
    libc::SIGSTKFLT,
];

/// Turns signals into events. `SIGTERM`, `SIGINT` and `SIGQUIT`: after the first one, running jobs are finished; after
/// the second, they are stopped. After the third the station ends without waiting for them, and so it does when
/// [`PATIENCE`] is over, because a job that hangs in the kernel never ends. `SIGHUP` counts with them only where the
/// station belongs to a terminal, which is gone then; elsewhere people send it for a configuration to be read again,
/// which this station does not do. The others are ignored.
///
/// # Errors
/// If the system takes no handler for one of the signals.
pub(crate) fn watch(sender: mpsc::Sender<Event<OpenMaster>>) -> io::Result<()> {
    let has_terminal = io::stderr().is_terminal();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    for number in MEANINGLESS.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX()) {
        tokio::spawn(ignore(number, signal(SignalKind::from_raw(number))?));
    }
    let mut told_to_end = async move || loop {
        tokio::select! {
            _ = terminate.recv() => return,
            _ = interrupt.recv() => return,
            _ = quit.recv() => return,
            _ = hang_up.recv() => {
                if has_terminal {
                    return;
                }
                tracing::warn!("SIGHUP is ignored: the configuration is read when the station starts, and never again");
            }
        }
    };
    tokio::spawn(async move {
        // To send fails only if the station has ended.
        told_to_end().await;
        tracing::info!("told to end: running jobs are finished first");
        let _ = sender.send(Event::Drain).await;
        told_to_end().await;
        tracing::info!("told to end again: running jobs are stopped");
        let _ = sender.send(Event::Halt).await;
        let _ = timeout(PATIENCE, told_to_end()).await;
        tracing::info!("ending without waiting for jobs that have not stopped");
        let _ = sender.send(Event::Abandon).await;
    });
    Ok(())
}

/// Takes a signal that means nothing, and says so once.
async fn ignore(number: libc::c_int, mut signal: Signal) {
    if signal.recv().await.is_some() {
        tracing::warn!("signal {number} is ignored: it means nothing to the station");
    }
    while signal.recv().await.is_some() {}
}
