//! The daemon. The same program also runs as its worker: see [`prestaged::worker_main`]; and, started by systemd, asks
//! drives for their health: see [`prestaged::health::answer`].

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use config::Config;
use media::worker;
use prestaged::health;
use prestaged::log::{self, Log};
use prestaged::service::{self, Arguments};
use prestaged::worker_main;

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;
/// `EX_CONFIG` of sysexits.h.
const CONFIGURATION: u8 = 78;

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
        let checked = runtime.block_on(service::check(&config));
        let shown =
            checked.and_then(|(tools, _, probed)| say(&service::summary(&config, &tools, &probed)));
        return report(shown, CONFIGURATION, &arguments.config);
    }
    if let Some(choice) = arguments.ledger {
        let settled = service::settle_ledger(&config, choice).and_then(|done| say(&done));
        return report(settled, CONFIGURATION, &arguments.config);
    }
    let log = match Log::start() {
        Ok(log) => log,
        Err(error) => return report(Err(error.into()), 1, &arguments.config),
    };
    let ended = runtime.block_on(service::run(config));
    // A thread that hangs in the kernel with a dead drive must not keep the station from ending.
    runtime.shutdown_background();
    log.finish();
    report(ended, CONFIGURATION, &arguments.config)
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{text}").context("cannot write to standard output")
}

/// The exit code of what has ended so with this configuration file. An error is told on standard error.
fn report(result: anyhow::Result<()>, code: u8, file: &Path) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let hint = service::hint(&error, file);
    let hints = hint.iter().flat_map(|hint| hint.lines()).map(|line| format!("hint: {line}\n"));
    log::say(format!("prestaged: {error:#}\n{}", hints.collect::<String>()));
    ExitCode::from(code)
}
