//! The daemon. The same program also runs as its worker: see [`prestaged::worker_main`]; and, started by systemd, asks
//! drives for their health: see [`prestaged::health::answer`].

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Error};
use clap::Parser;
use config::Config;
use media::worker;
use prestaged::log::{self, Log};
use prestaged::service::{self, Arguments};
use prestaged::{check, complaint, health, worker_main};
use record::ledger::LedgerError;

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;
/// `EX_CONFIG` of sysexits.h.
const CONFIGURATION: u8 = 78;
/// `EX_TEMPFAIL`: whoever starts the station may try it again.
const PASSING: u8 = 75;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == worker::ARGUMENT) {
        return report(worker_main::main(), 1, Path::new(""));
    }
    if std::env::args_os().nth(1).is_some_and(|first| first == health::answer::ARGUMENT) {
        return report(health::answer::main(), 1, Path::new(""));
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(Err(error.into()), 1, &arguments.config),
    };
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => return report(Err(error.into()), CONFIGURATION, &arguments.config),
    };
    if arguments.check {
        let found = runtime.block_on(check::check(&config));
        // What would end the gate is a mistake here; the station itself starts without it.
        let ends_the_gate = gate::mistakes(&config).into_iter().map(Error::from);
        let shown = match found {
            Ok(found) => say(&check::summary(&config, &found))
                .err()
                .into_iter()
                .chain(ends_the_gate)
                .collect(),
            Err(mistakes) => mistakes.into_iter().chain(ends_the_gate).collect(),
        };
        return report_all(shown, CONFIGURATION, &arguments.config);
    }
    if let Some(choice) = arguments.ledger {
        let settled = service::settle_ledger(&config, choice).and_then(|done| say(&done));
        return report(settled, CONFIGURATION, &arguments.config);
    }
    let log = match Log::start() {
        Ok(log) => log,
        Err(error) => return report(Err(error.into()), 1, &arguments.config),
    };
    let ended = runtime.block_on(async {
        let found = check::check(&config).await?;
        service::run(config, found).await.map_err(|error| vec![error])
    });
    // A thread that hangs in the kernel with a dead drive must not keep the station from ending.
    runtime.shutdown_background();
    log.finish();
    report_all(ended.err().unwrap_or_default(), CONFIGURATION, &arguments.config)
}

/// Writes to standard output. Who reads no further, such as `head`, has seen enough.
fn say(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// The exit code of what has ended so with this configuration file. An error is told on standard error.
fn report(result: anyhow::Result<()>, code: u8, file: &Path) -> ExitCode {
    report_all(result.err().into_iter().collect(), code, file)
}

/// The same with several errors, or none.
fn report_all(errors: Vec<Error>, code: u8, file: &Path) -> ExitCode {
    if errors.is_empty() {
        return ExitCode::SUCCESS;
    }
    let is_passing =
        |error: &Error| error.downcast_ref::<LedgerError>().is_some_and(LedgerError::is_passing);
    let code = if errors.iter().all(is_passing) { PASSING } else { code };
    log::say(complaint::text("prestaged", errors, |error| service::hint(error, file)));
    ExitCode::from(code)
}
