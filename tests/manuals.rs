//! Writes the manual pages and shell completions that `scripts/package` packs: `manuals FOLDER`.

#![expect(clippy::disallowed_methods, reason = "writes files of its own, and drives that it made")]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a tool of the package")]

use std::path::PathBuf;
use std::process::ExitCode;

#[path = "harness/manuals.rs"]
mod manuals;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: manuals FOLDER");
        return ExitCode::from(64);
    };
    std::fs::create_dir_all(&folder).unwrap();
    manuals::write(&folder);
    ExitCode::SUCCESS
}
