//! A twin of this machine, to install packages on: the machine's root file system under an overlay in memory, in a mount
//! namespace of its own, with its dpkg, its packages and its users. All changes are lost with the twin. systemd does not
//! run there, so packages start nothing.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Makes the twin below `$0`, with the folder `$1` as its `/run/packages`, and stays.
const MAKE: &str = r#"
set -e
mount -t tmpfs -o mode=755 none "$0"
mkdir "$0/upper" "$0/work" "$0/root"
mount -t overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" none "$0/root"
cd "$0/root"
mount -t proc none proc
mount --rbind /dev dev
mount --rbind /sys sys
mount -t tmpfs -o mode=755 none run
mount -t tmpfs -o mode=1777 none tmp
mkdir run/packages
mount --bind "$1" run/packages
# Images for containers leave manuals out, and keep services from starting.
rm -f etc/dpkg/dpkg.cfg.d/* usr/sbin/policy-rc.d
# Indexing all manuals of the machine at every step takes most of the time.
rm -f var/lib/man-db/auto-update
chroot . dpkg --version >/dev/null
chroot . sh -c 'DEBIAN_FRONTEND=noninteractive dpkg --purge prestaged; rm -rf /var/lib/prestaged /srv/prestaged' >/dev/null 2>&1
exec chroot . sh -c 'echo ready; exec sleep infinity'
"#;

/// A twin of this machine.
pub(crate) struct Twin {
    holder: Child,
    /// Mounted only in the twin's namespace; on the machine it is empty.
    _folder: tempfile::TempDir,
}

impl Twin {
    /// Makes a twin in which a folder stands as `/run/packages`.
    pub(crate) fn new(packages: &Path) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", MAKE])
            .args([folder.path(), packages])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        let out = holder.stdout.take().unwrap();
        let read = BufReader::new(out).read_line(&mut said);
        let twin = Self { holder, _folder: folder };
        match read {
            Ok(_) if said == "ready\n" => Ok(twin),
            _ => Err("this machine's root cannot be put under an overlay".into()),
        }
    }

    /// Runs a shell script as root; returns its exit code, and what it printed.
    pub(crate) fn run(&self, script: &str) -> (i32, String) {
        let output = Command::new("nsenter")
            .args(["--target", &self.holder.id().to_string(), "--mount", "--root"])
            // If the namespace were missing, the script would run on the machine itself.
            .args([
                "bash",
                "-c",
                &format!("cd / && test -d run/packages || exit 99; exec 2>&1; {script}"),
            ])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code().unwrap(), text)
    }

    /// Runs a script, which must exit with 0; returns what it printed.
    pub(crate) fn done(&self, script: &str) -> String {
        let (code, text) = self.run(script);
        assert_eq!(code, 0, "{script}: {text}");
        text
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
