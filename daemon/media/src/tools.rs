//! The external programs that a press runs, and the one that is asked what a drive holds. They are found once, in fixed folders, and their output is kept.
//!
//! `$PATH` is never searched: a station started by hand and one started by systemd must run the same programs.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use model::hint::Hint;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde::{Deserialize, Serialize};

/// The paths of the programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools {
    /// Formats NTFS.
    pub mkntfs: PathBuf,
    /// Formats FAT32.
    pub mkfs_vfat: PathBuf,
    /// Copies files into a FAT volume without mounting it.
    pub mcopy: PathBuf,
    /// Edits registry hives; a BCD is one.
    pub hivexsh: PathBuf,
    /// Knows file systems, RAID members and partition tables by their signatures.
    pub blkid: PathBuf,
}

/// A program that is missing or has failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ToolError {
    /// `package` is the Debian package that has the program.
    #[error("{name} is not in {}", folders.join(", "))]
    Missing { name: &'static str, package: &'static str, folders: Vec<String> },
    #[error("cannot run {command}")]
    Start {
        command: String,
        #[source]
        source: std::io::Error,
    },
    /// `stderr` is the end of the program's output, and may be empty.
    #[error("{command} failed ({status}){}", after_colon(stderr))]
    Failed { command: String, status: String, stderr: String },
    /// It was ended after so many seconds of computing.
    #[error("{name} came to no end in {seconds} seconds of computing")]
    Endless { name: String, seconds: u64 },
}

fn after_colon(text: &str) -> String {
    if text.is_empty() { " without a message".into() } else { format!(": {text}") }
}

impl Tools {
    /// Finds every program in one of the `folders`; the first folder that has it counts.
    ///
    /// # Errors
    /// [`ToolError::Missing`] names the program and its package.
    pub fn find(folders: &[String]) -> Result<Self, ToolError> {
        let find = |name: &'static str, package| {
            folders
                .iter()
                .map(|folder| Path::new(folder).join(name))
                .find(|path| path.is_file())
                .ok_or_else(|| ToolError::Missing { name, package, folders: folders.to_vec() })
        };
        Ok(Self {
            mkntfs: find("mkntfs", "ntfs-3g")?,
            mkfs_vfat: find("mkfs.vfat", "dosfstools")?,
            mcopy: find("mcopy", "mtools")?,
            hivexsh: find("hivexsh", "libhivex-bin")?,
            blkid: find("blkid", "util-linux")?,
        })
    }
}

impl Tools {
    /// The programs that a press runs.
    pub fn of_a_press(&self) -> Vec<PathBuf> {
        let Self { mkntfs, mkfs_vfat, mcopy, hivexsh, blkid: _ } = self.clone();
        vec![mkntfs, mkfs_vfat, mcopy, hivexsh]
    }
}

impl Hint for ToolError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { package, .. } => {
                Some(format!("install Debian's package {package}, or add a folder to tools.search"))
            }
            Self::Start { .. } | Self::Failed { .. } | Self::Endless { .. } => None,
        }
    }
}

/// How many bytes from the end of a program's output are kept.
const KEEP: usize = 1024;

/// Seconds that a program may compute; none needs more than a few, and one that goes round in circles would block its
/// worker. The kernel counts and ends it: a worker may not send signals. What waits for a disk is not counted.
const LONGEST: u64 = 20;

/// Runs a program to its end, with no environment but what it needs.
///
/// # Errors
/// [`ToolError::Endless`] after [`LONGEST`], or [`ToolError`] with the command line, the exit status, and the end of stderr, or of stdout if stderr is empty.
pub fn run<A: AsRef<OsStr>>(program: &Path, arguments: &[A]) -> Result<(), ToolError> {
    run_for(LONGEST, program, arguments)
}

fn run_for<A: AsRef<OsStr>>(
    seconds: u64,
    program: &Path,
    arguments: &[A],
) -> Result<(), ToolError> {
    let shown = || {
        let arguments = arguments.iter().map(|a| a.as_ref().to_string_lossy().into_owned());
        let all: Vec<String> =
            std::iter::once(program.display().to_string()).chain(arguments).collect();
        all.join(" ")
    };
    let failed = |source| ToolError::Start { command: shown(), source };
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        // Makes mtools skip its checks of a disk's geometry (mtools(5)).
        .env("MTOOLS_SKIP_CHECK", "1")
        // Makes the times in the ESP equal for equal media.
        .env("SOURCE_DATE_EPOCH", "1577836800")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let limit = Rlimit { current: Some(seconds), maximum: Some(seconds + 5) };
    // If it has ended already, it needs no limit.
    let _ = prlimit(Some(Pid::from_child(&child)), Resource::Cpu, limit);
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    if output.status.signal() == Some(libc::SIGXCPU) {
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
        return Err(ToolError::Endless { name: name.into_owned(), seconds });
    }
    let mut said = output.stderr;
    if said.is_empty() {
        said = output.stdout;
    }
    let tail = &said[said.len().saturating_sub(KEEP)..];
    Err(ToolError::Failed {
        command: shown(),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(tail).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mkntfs"), "").unwrap();
        let folders = [folder.path().display().to_string()];
        let error = Tools::find(&folders).unwrap_err();
        assert!(error.to_string().starts_with("mkfs.vfat is not in "), "{error}");
        let hint = error.hint().unwrap();
        assert!(hint.starts_with("install Debian's package dosfstools"), "{hint}");
    }

    #[test]
    fn a_program_that_goes_round_in_circles_is_ended() {
        let error = run_for(1, Path::new("/bin/sh"), &["-c", "while :; do :; done"]).unwrap_err();
        assert_eq!(error.to_string(), "sh came to no end in 1 seconds of computing");
    }

    #[test]
    fn a_failure_shows_command_and_complaint() {
        let error =
            run(Path::new("/bin/sh"), &["-c", "echo no >&2; exit 3"]).unwrap_err().to_string();
        assert!(
            error.contains("/bin/sh -c")
                && error.contains("exit status: 3")
                && error.ends_with("no")
        );
        let silent = run(Path::new("/bin/sh"), &["-c", "exit 1"]).unwrap_err().to_string();
        assert_eq!(silent, "/bin/sh -c exit 1 failed (exit status: 1) without a message");
    }
}
