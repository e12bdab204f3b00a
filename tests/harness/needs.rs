//! What tests need of the machine they run on: root, loop devices, programs.
//!
//! Each need is probed at most once, by the first test that has it. A test whose need is missing is ignored, with the
//! reason; it fails instead if `PRESTAGED_REQUIRE` names the need (`loop,fuse`, or `all`).

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::twin::Twin;

/// What a probe says: nothing, or why the need is not met.
type Probed = Result<(), String>;

/// Something that not every machine has.
pub(crate) struct Need {
    /// Its name in `PRESTAGED_REQUIRE`.
    pub(crate) name: &'static str,
    probe: fn() -> Probed,
    probed: OnceLock<Probed>,
    /// A person chooses whether to meet it, so `PRESTAGED_REQUIRE=all` does not mean it.
    is_choice: bool,
}

impl Need {
    const fn new(name: &'static str, probe: fn() -> Probed) -> Self {
        Self { name, probe, probed: OnceLock::new(), is_choice: false }
    }

    const fn choice(name: &'static str, probe: fn() -> Probed) -> Self {
        Self { name, probe, probed: OnceLock::new(), is_choice: true }
    }

    /// Why tests that need it cannot run here, if they cannot.
    pub(crate) fn missing(&self) -> Option<&str> {
        self.probed.get_or_init(self.probe).as_ref().err().map(String::as_str)
    }

    /// How a test that lacks it is reported.
    pub(crate) fn report(&self) -> &'static str {
        if self.is_choice { "left out" } else { "cannot run" }
    }

    /// Whether a test that lacks it fails.
    pub(crate) fn is_required(&self) -> bool {
        let required = std::env::var("PRESTAGED_REQUIRE").unwrap_or_default();
        required.split(',').any(|name| name == self.name || (name == "all" && !self.is_choice))
    }
}

/// Becoming other users, hiding files from a program.
pub(crate) static ROOT: Need = Need::new("root", || root("becoming another user"));

/// Loop devices.
pub(crate) static LOOP: Need = Need::new("loop", || {
    root("making loop devices")?;
    File::open("/dev/loop-control").map(drop).map_err(|e| format!("/dev/loop-control: {e}"))
});

/// FUSE file systems, for drives with faults.
pub(crate) static FUSE: Need =
    Need::new("fuse", || File::open("/dev/fuse").map(drop).map_err(|e| format!("/dev/fuse: {e}")));

/// The path of systemd's journald.
pub(crate) const JOURNALD_PATH: &str = "/lib/systemd/systemd-journald";
/// journald itself, without systemd.
pub(crate) static JOURNALD: Need = Need::new("journald", || installed(JOURNALD_PATH, "systemd"));

/// The path of udevd.
pub(crate) const UDEVD_PATH: &str = "/lib/systemd/systemd-udevd";
/// udevd itself, without systemd.
pub(crate) static UDEVD: Need = Need::new("udevd", || installed(UDEVD_PATH, "udev"));

/// The library that fakes the clock of a program.
pub(crate) const FAKETIME_PATH: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
/// A clock that can be set for one program.
pub(crate) static FAKETIME: Need =
    Need::new("faketime", || installed(FAKETIME_PATH, "libfaketime"));

/// What reads pages, and fonts for names of all kinds on them.
pub(crate) static POPPLER: Need = Need::new("poppler", || {
    installed("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "fonts-dejavu-core")?;
    installed("/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf", "fonts-droid-fallback")?;
    program("pdftoppm", "poppler-utils")
});

/// UEFI firmware for QEMU.
pub(crate) const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// A computer with UEFI firmware, and a boot manager for it.
pub(crate) static QEMU: Need = Need::new("qemu", || {
    installed(FIRMWARE, "ovmf")?;
    program("qemu-system-x86_64", "qemu-system-x86")?;
    program("grub-mkstandalone", "grub-common")
});

/// A browser, and what drives it.
pub(crate) static BROWSER: Need = Need::new("browser", || {
    program("chromium", "chromium")?;
    program("chromedriver", "chromium-driver")
});

/// A broker of MQTT, and who listens there.
pub(crate) static MOSQUITTO: Need = Need::new("mosquitto", || {
    installed(MOSQUITTO_PATH, "mosquitto")?;
    program("mosquitto_sub", "mosquitto-clients")
});
/// The path of the broker, which is not in everybody's `PATH`.
pub(crate) const MOSQUITTO_PATH: &str = "/usr/sbin/mosquitto";

/// A terminal that can be looked at.
pub(crate) static TMUX: Need = Need::new("tmux", || program("tmux", "tmux"));

/// What shows one program on a whole screen; it and what it starts are large, so nothing installs them.
pub(crate) static CAGE: Need = Need::choice("cage", || {
    program("cage", "cage")?;
    program("Xwayland", "xwayland")
});

/// axe-core, which looks for what bars people from a page: its `axe.min.js` from npm, in `PRESTAGED_AXE`.
pub(crate) static AXE: Need = Need::choice("axe", || {
    let named = std::env::var_os(AXE_PATH).is_some();
    named.then_some(()).ok_or_else(|| format!("{AXE_PATH} does not name axe-core's axe.min.js"))
});
/// The variable that says where it is.
pub(crate) const AXE_PATH: &str = "PRESTAGED_AXE";

/// Prometheus' checker of rules and metrics; it is large, so nothing installs it.
pub(crate) static PROMTOOL: Need = Need::choice("promtool", || program("promtool", "prometheus"));

/// What asks an API for all that its description allows, and what it does not; nothing installs them.
pub(crate) static SCHEMATHESIS: Need = Need::choice("schemathesis", || {
    program("schemathesis", "schemathesis of PyPI")?;
    program("openapi-spec-validator", "openapi-spec-validator of PyPI")
});

/// `systemd-analyze security`.
pub(crate) static SYSTEMD_ANALYZE: Need =
    Need::new("systemd-analyze", || program("systemd-analyze", "systemd"));

/// The Debian package, and a twin of this machine to install it on.
pub(crate) static DEB: Need = Need::new("deb", || {
    packaging("installing packages")?;
    program("man", "man-db")?;
    let empty = tempfile::tempdir().map_err(|error| error.to_string())?;
    Twin::new(empty.path()).map(drop)
});

/// Debian's checker of packages; it is large, so nothing installs it.
pub(crate) static LINTIAN: Need = Need::choice("lintian", || program("lintian", "lintian"));

/// The rack: a machine with the package in QEMU.
pub(crate) static RACK: Need = Need::new("rack", || {
    packaging("building the guest")?;
    let needed = [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("qemu-img", "qemu-utils"),
        ("mmdebstrap", "mmdebstrap"),
        ("depmod", "kmod"),
        ("sgdisk", "gdisk"),
        ("mke2fs", "e2fsprogs"),
    ];
    needed.iter().try_for_each(|(name, package)| program(name, package))
});

/// The minutes that long scenarios take.
pub(crate) static LONG: Need = Need::choice("long", || {
    let asked = std::env::var_os("PRESTAGED_LONG").is_some();
    asked.then_some(()).ok_or_else(|| "it takes minutes; PRESTAGED_LONG=1 runs it".into())
});

fn root(what: &str) -> Probed {
    let is_root = rustix::process::geteuid().is_root();
    is_root.then_some(()).ok_or_else(|| format!("{what} needs root"))
}

/// What making the Debian package takes, and root for what it is made for.
fn packaging(what: &str) -> Probed {
    root(what)?;
    let built = Path::new(env!("CARGO_BIN_EXE_prestaged")).parent();
    if !built.is_some_and(|folder| folder.ends_with("release")) {
        return Err("the package is made of the release build, and this is another".into());
    }
    program("dpkg-deb", "dpkg")?;
    let found = "PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin cargo deb --version";
    match Command::new("bash").args(["-c", found]).output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("cargo-deb is not installed".into()),
    }
}

fn installed(path: &str, package: &str) -> Probed {
    let exists = Path::new(path).exists();
    exists.then_some(()).ok_or_else(|| format!("{path} is not installed (package {package})"))
}

fn program(name: &str, package: &str) -> Probed {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path.split(':').any(|folder| Path::new(folder).join(name).exists());
    found.then_some(()).ok_or_else(|| format!("{name} is not installed (package {package})"))
}
