//! The station as web pages; see the crate `gate`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use config::Config;
use gate::{Arguments, GateError, Verb, accounts};
use model::hint::Hint;
use prestaged::complaint;
use prestaged::log::{self, Log};

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;
/// `EX_CONFIG` of sysexits.h.
const CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    let Arguments { config, verb } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match verb {
        Some(Verb::Account { name, role }) => {
            let made = accounts::ask().and_then(|password| accounts::line(&name, role, &password));
            report(made.map_err(Into::into).and_then(|line| say(&line)))
        }
        Some(Verb::Openapi) => report(say(&format!("{:#}", gate::openapi()))),
        None => report(show(&config)),
    }
}

fn show(file: &std::path::Path) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    if config.gate.listen.is_none() {
        return Err(GateError::Off.into());
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.context("cannot start")?;
    let log = Log::start().context("cannot log")?;
    let ended = runtime.block_on(gate::run(&config));
    runtime.shutdown_background();
    log.finish();
    Ok(ended?)
}

fn say(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

fn report(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let hint = |error: &anyhow::Error| {
        let hint = error.downcast_ref::<GateError>().and_then(Hint::hint);
        hint.or_else(|| error.downcast_ref::<config::ConfigError>().and_then(Hint::hint))
    };
    log::say(complaint::text("prestaged-gate", [error], hint));
    ExitCode::from(CONFIGURATION)
}
