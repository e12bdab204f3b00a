//! The daemon's program as the one that asks a drive for its health: `prestaged health`, started by systemd for each
//! connection to its socket, with the rights to send commands to drives, which the daemon does not have.
//!
//! It does as little as can be: it reads a kernel name and an attachment count, looks whether that is a whole disk that is
//! attached now, runs smartctl with arguments that nobody else chooses, and passes on what that prints. It opens no
//! drive, reads no configuration, and understands nothing of the answer. systemd's device rules let it and smartctl
//! open drives for reading only.

use std::fs;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Parser;
use formats::smart;
use model::drive::Diskseq;

use super::{FOUND, UNKNOWN};

/// The first argument that makes the program this one.
pub const ARGUMENT: &str = "health";

/// The longest question: a kernel name and a number.
const LONGEST_QUESTION: u64 = 64;
/// The longest kernel name of a disk.
const LONGEST_NAME: usize = 32;

/// What smartctl is asked for: all that [`formats::smart`] reads. Nothing here changes a drive or starts a test.
const ARGUMENTS: [&str; 7] =
    ["--json=c", "--info", "--health", "--attributes", "--log=error", "--log=devstat", "--log=ssd"];

/// Reads the name of a drive from standard input and prints what smartctl says of it.
#[derive(Debug, Parser)]
#[command(name = "prestaged health")]
struct Answering {
    /// The program that asks the drive
    #[arg(long, default_value = "/usr/sbin/smartctl")]
    smartctl: PathBuf,
}

/// Answers one question.
///
/// # Errors
/// If the question cannot be read or the answer not be written. A drive that tells nothing is no error.
pub fn main() -> anyhow::Result<()> {
    // The first argument is this program's name for itself.
    let Answering { smartctl } = match Answering::try_parse_from(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => anyhow::bail!("{error}"),
    };
    let mut question = String::new();
    io::stdin().lock().take(LONGEST_QUESTION).read_line(&mut question)?;
    let mut out = io::stdout().lock();
    match Machine::at(Path::new("/")).ask(&question, &smartctl) {
        Ok(answer) => {
            out.write_all(format!("{FOUND}{}\n", answer.len()).as_bytes())?;
            out.write_all(&answer)?;
        }
        Err(why) => out.write_all(format!("{UNKNOWN}{}\n", why.replace('\n', " ")).as_bytes())?,
    }
    Ok(out.flush()?)
}

/// Where the kernel shows its disks.
struct Machine<'a> {
    root: &'a Path,
}

impl<'a> Machine<'a> {
    fn at(root: &'a Path) -> Self {
        Self { root }
    }

    /// What smartctl prints about the drive that is asked for. The error says in words why there is nothing.
    fn ask(&self, question: &str, smartctl: &Path) -> Result<Vec<u8>, String> {
        let (name, diskseq) = parsed(question).ok_or("this is no question about a drive")?;
        let node = self.node(name, diskseq)?;
        let answer = run(smartctl, &node)?;
        // Another drive may have got the name meanwhile, and its health be told for this one's.
        self.node(name, diskseq)?;
        Ok(answer)
    }

    /// The node of a whole disk that is attached now.
    fn node(&self, name: &str, diskseq: Diskseq) -> Result<PathBuf, String> {
        // Partitions stand in the folders of their disks.
        let disk = self.root.join("sys/block").join(name);
        let read = |file: &str| fs::read_to_string(disk.join(file)).ok();
        let gone = || "the drive is not attached any more".to_owned();
        let attached: u64 =
            read("diskseq").and_then(|text| text.trim().parse().ok()).ok_or_else(gone)?;
        let number = read("dev").ok_or_else(gone)?;
        if attached != diskseq.0 {
            return Err(gone());
        }
        let node = self.root.join("dev").join(name);
        let found = fs::symlink_metadata(&node).map_err(|_| gone())?;
        let rdev = found.rdev();
        let same =
            format!("{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev)) == number.trim();
        match found.file_type().is_block_device() && same {
            true => Ok(node),
            false => Err(format!("/dev/{name} is not this drive")),
        }
    }
}

/// The kernel name and the attachment count of a question. A name of small letters and digits is no path, and no option.
fn parsed(question: &str) -> Option<(&str, Diskseq)> {
    let (name, diskseq) = question.strip_suffix('\n')?.split_once(' ')?;
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let digits = diskseq.bytes().all(|byte| byte.is_ascii_digit());
    let diskseq = diskseq.parse().ok().filter(|_| digits)?;
    (letters && begins && name.len() <= LONGEST_NAME).then_some((name, Diskseq(diskseq)))
}

fn run(smartctl: &Path, node: &Path) -> Result<Vec<u8>, String> {
    let mut child = Command::new(smartctl)
        .args(ARGUMENTS)
        .arg(node)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                format!("{} is not there; install smartmontools", smartctl.display())
            }
            _ => format!("cannot run {}: {error}", smartctl.display()),
        })?;
    let mut answer = Vec::new();
    let limit = u64::try_from(smart::LONGEST).unwrap_or(u64::MAX).saturating_add(1);
    let read = child.stdout.take().map(|out| out.take(limit).read_to_end(&mut answer));
    let fits = answer.len() <= smart::LONGEST;
    if !fits {
        // It would go on printing.
        let _ = child.kill();
    }
    // Its exit code says how the drive is; the answer says that, too.
    child.wait().map_err(|error| error.to_string())?;
    match read {
        Some(Ok(_)) if fits => Ok(answer),
        Some(Ok(_)) => Err("smartctl prints too much".into()),
        Some(Err(error)) => Err(format!("cannot read what smartctl prints: {error}")),
        None => Err("smartctl has no output".into()),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a machine of the test's own")]
mod tests {
    use super::*;

    #[test]
    fn only_a_kernel_name_and_a_count_are_a_question() {
        assert_eq!(parsed("sda 17\n"), Some(("sda", Diskseq(17))));
        assert_eq!(parsed("nvme0n1 1\n"), Some(("nvme0n1", Diskseq(1))));
        for wrong in [
            "",
            "\n",
            "sda\n",
            "sda 17",
            "sda 17 \n",
            "sda -1\n",
            "sda +1\n",
            "sda x\n",
            " sda 1\n",
            "-sda 1\n",
            "--device=scsi 1\n",
            "../sda 1\n",
            "/dev/sda 1\n",
            "sda/sda1 1\n",
            "sda\0 1\n",
            ". 1\n",
            "SDA 1\n",
            "sd;a 1\n",
            "1sda 1\n",
            "sda 99999999999999999999999\n",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong:?}");
        }
        let long = "a".repeat(33);
        assert_eq!(parsed(&format!("{long} 1\n")), None);
    }

    /// No disk of this machine is asked: what smartctl would be is a file that is not there.
    #[test]
    fn only_a_whole_disk_that_is_attached_now_is_asked() {
        let root = tempfile::tempdir().unwrap();
        let disk = root.path().join("sys/block/sda");
        fs::create_dir_all(disk.join("sda1")).unwrap();
        fs::create_dir_all(root.path().join("dev")).unwrap();
        fs::write(disk.join("dev"), "8:0\n").unwrap();
        fs::write(disk.join("diskseq"), "17\n").unwrap();
        for file in ["partition", "dev", "diskseq"] {
            fs::write(disk.join("sda1").join(file), "17\n").unwrap();
        }
        let ask = |question: &str| {
            Machine::at(root.path()).ask(question, Path::new("/no/smartctl")).unwrap_err()
        };
        let gone = "the drive is not attached any more";
        assert_eq!(ask("sda 17\n"), gone, "it has no node");
        fs::write(root.path().join("dev/sda"), "").unwrap();
        assert_eq!(ask("sda 17\n"), "/dev/sda is not this drive", "a file");
        assert_eq!(ask("sda 16\n"), gone);
        assert_eq!(ask("sda1 17\n"), gone, "a partition");
        assert_eq!(ask("sdb 17\n"), gone);
        std::os::unix::fs::symlink("/dev/null", root.path().join("dev/sdb")).unwrap();
        fs::create_dir_all(root.path().join("sys/block/sdb")).unwrap();
        fs::write(root.path().join("sys/block/sdb/dev"), "1:3\n").unwrap();
        fs::write(root.path().join("sys/block/sdb/diskseq"), "1\n").unwrap();
        assert_eq!(ask("sdb 1\n"), "/dev/sdb is not this drive", "a link");
    }

    #[test]
    fn what_a_program_prints_has_a_limit_and_needs_no_good_exit_code() {
        let folder = tempfile::tempdir().unwrap();
        let program = |text: &str| {
            let path = folder.path().join("smartctl");
            let _ = fs::remove_file(&path);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .unwrap();
            run(&path, Path::new("/dev/sda"))
        };
        let said = program("echo \"$*\"; exit 8").unwrap();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(said.trim(), format!("{} /dev/sda", ARGUMENTS.join(" ")));
        assert_eq!(program("exec cat /dev/zero").unwrap_err(), "smartctl prints too much");
        assert!(program("exit 3").unwrap().is_empty());
        let missing = run(Path::new("/no/smartctl"), Path::new("/dev/sda")).unwrap_err();
        assert!(missing.contains("install smartmontools"), "{missing}");
    }
}
