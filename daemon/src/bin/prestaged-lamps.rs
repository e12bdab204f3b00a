//! The lamps of the station's bays; see the crate `lamps`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use config::Config;
use lamps::{Arguments, LampsError};
use model::hint::Hint;
use prestaged::complaint;
use prestaged::log::{self, Log};

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;
/// `EX_CONFIG` of sysexits.h.
const CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    let Arguments { config } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let Err(error) = show(&config) else { return ExitCode::SUCCESS };
    let hint = |error: &anyhow::Error| {
        let hint = error.downcast_ref::<LampsError>().and_then(Hint::hint);
        hint.or_else(|| error.downcast_ref::<config::ConfigError>().and_then(Hint::hint))
    };
    log::say(complaint::text("prestaged-lamps", [error], hint));
    ExitCode::from(CONFIGURATION)
}

fn show(file: &Path) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("cannot start")?;
    let log = Log::start().context("cannot log")?;
    let ended = runtime.block_on(lamps::run(&config));
    runtime.shutdown_background();
    log.finish();
    Ok(ended?)
}
