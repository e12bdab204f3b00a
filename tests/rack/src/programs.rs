//! The programs that a rack is built and run with, looked for before anything that takes minutes is begun.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Result, bail};

/// Each program with Debian's package.
const PROGRAMS: [(&str, &str); 9] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
    ("setpriv", "util-linux"),
    ("mke2fs", "e2fsprogs"),
    ("mmdebstrap", "mmdebstrap"),
    ("depmod", "kmod"),
    ("sgdisk", "gdisk"),
    ("dpkg-deb", "dpkg"),
    ("apt-get", "apt"),
];

/// Finds all of them.
///
/// # Errors
/// The first that is missing, with its package.
pub fn check() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let is_there = |program: &str| folders.iter().any(|folder| folder.join(program).is_file());
    for (program, package) in PROGRAMS {
        let is_there = is_there(program) || Path::new("/usr/sbin").join(program).is_file();
        if !is_there {
            bail!("there is no program {program}; install it with: apt-get install {package}");
        }
    }
    Ok(())
}

/// Says what takes long, on standard error.
pub(crate) fn say(text: &str) {
    // Whoever does not listen waits all the same.
    let _ = writeln!(std::io::stderr(), "rack: {text}");
}
