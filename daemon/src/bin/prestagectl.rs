//! The operator's program; see the crate `ctl`.

use std::process::ExitCode;

use clap::Parser;
use ctl::Arguments;

fn main() -> ExitCode {
    ctl::completing::complete();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return ExitCode::from(ctl::misused(&error)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => ExitCode::from(runtime.block_on(ctl::run(arguments))),
        Err(_) => ExitCode::FAILURE,
    }
}
