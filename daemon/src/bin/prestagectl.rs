//! The operator's program; see the crate `ctl`.

use std::process::ExitCode;

use clap::Parser;
use ctl::{Arguments, exit};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::DONE });
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => ExitCode::from(runtime.block_on(ctl::run(arguments))),
        Err(_) => ExitCode::FAILURE,
    }
}
