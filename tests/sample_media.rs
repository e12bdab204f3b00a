//! Makes the sample media of `scripts/demo`: `sample-media OUT.wim [FILES [MEBIBYTES]]`.

#![expect(clippy::disallowed_methods, reason = "writes files of its own, and drives that it made")]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a tool of the demo and the tests")]

use std::path::PathBuf;
use std::process::ExitCode;

use sample::Sample;

#[path = "harness/hive.rs"]
mod hive;
#[path = "harness/sample.rs"]
mod sample;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).map(|text| text.parse::<u64>().ok());
    let (files, size) = (number(1).unwrap_or(Some(8000)), number(2).unwrap_or(Some(900)));
    let (Some(path), Some(files), Some(size)) = (arguments.first(), files, size) else {
        eprintln!("usage: sample-media OUT.wim [FILES [MEBIBYTES]]");
        return ExitCode::from(64);
    };
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let sample = Sample { files, bytes: size << 20, ..Sample::default() };
    sample.make(&PathBuf::from(path), &["--compress=LZX"]);
    ExitCode::SUCCESS
}
