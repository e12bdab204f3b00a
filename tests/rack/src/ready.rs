//! A machine that is ready for a test: started, prepared, and saved, so that each test has its own in a second.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::image::{Image, lock, name_of};
use crate::machine::{self, Machine, Start};
use crate::programs::{self, say};

/// What comes with the machine, on a disk that is mounted at `/mnt/cargo`.
#[derive(Clone, Debug, Default)]
pub struct Cargo {
    files: Vec<(String, PathBuf)>,
}

impl Cargo {
    /// With a file more, under a name.
    pub fn with(mut self, name: &str, file: &Path) -> Self {
        self.files.push((name.to_owned(), file.to_owned()));
        self
    }

    fn hash(&self, hash: &mut Sha256) -> Result<()> {
        for (name, file) in &self.files {
            hash.update(name);
            hash.update(fs::read(file).with_context(|| format!("read {}", file.display()))?);
        }
        Ok(())
    }

    /// Makes the disk.
    fn load(&self, disk: &Path) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut size = 16 << 20;
        for (name, file) in &self.files {
            size += fs::copy(file, folder.path().join(name))?;
        }
        fs::File::create(disk)?.set_len(size + size / 8)?;
        let status = Command::new("mke2fs")
            .args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d"])
            .args([folder.path(), disk])
            .status()
            .context("start mke2fs")?;
        ensure!(status.success(), "mke2fs cannot make {}", disk.display());
        Ok(())
    }
}

/// The name of the package in the cargo.
pub const PACKAGE: &str = "prestaged.deb";

/// The name of the media.
pub const MEDIA: &str = "win.wim";

/// The station's configuration: everything that is plugged is its own, what is on it may go. The guest's own disk is on
/// an allowed bus and in an allowed bay like any other. The ESP is large enough for FAT32 with sectors of 4096 bytes.
const CONFIGURATION: &str = r#"
[admission]
armed = true
buses = ["nvme", "scsi", "ata", "usb"]
bays = ["*"]
overwrite = "any"
[replicate]
memory = "64MiB"
[[layout]]
name = "rack"
partitions = [ { type = "esp", size = "300MiB" }, { type = "msr", size = "16MiB" },
    { type = "windows", size = "rest" }, { type = "recovery", size = "20MiB" } ]
"#;

/// Installs the package and configures the station, adds media to it, and presses a master for drives of 512 MiB.
fn prepare() -> String {
    format!(
        r#"
        set -e
        DEBIAN_FRONTEND=noninteractive dpkg --force-unsafe-io -i /mnt/cargo/{PACKAGE}
        cat >/etc/prestaged/prestaged.toml.d/10-rack.toml <<'END'
{CONFIGURATION}
END
        cp /mnt/cargo/{MEDIA} /srv/prestaged/media/
        # To ask each drive takes longer here than all the rest; a scenario of its own does.
        systemctl disable --now prestaged-health.socket
        systemctl restart prestaged
        until prestagectl --json media list | jq -e '.[0].state == "valid"'; do sleep 0.2; done
        prestagectl master press --media {MEDIA} --size $((512 << 20))
        "#
    )
}

/// Installs the package and does nothing else: the media stays where it came with the machine.
fn install() -> String {
    format!("DEBIAN_FRONTEND=noninteractive dpkg --force-unsafe-io -i /mnt/cargo/{PACKAGE}")
}

/// What every machine does after its first start: SATA drives are there from the start, and are let go; modules that
/// the first drive of a kind would bring are loaded.
const FIRST: &str = "
    systemctl is-system-running --wait || { systemctl --failed; exit 1; }
    mount -o ro /dev/disk/by-id/virtio-CARGO /mnt/cargo
    for disk in /sys/block/sd*; do
        case $(udevadm info -q property $disk) in *ID_SERIAL_SHORT=SATA*) echo 1 >$disk/device/delete ;; esac
    done
    modprobe -a nvme virtio_scsi sd_mod usb_storage uas sg
    udevadm settle";

/// A saved machine.
#[derive(Clone, Debug)]
pub struct Ready {
    image: Image,
    folder: PathBuf,
}

impl Ready {
    /// A machine with a station from `cargo`, which must have a [`PACKAGE`] and [`MEDIA`]; made if it is not in `cache`.
    /// Others of this name go.
    ///
    /// # Errors
    /// It does not start, or the package cannot be installed; what was said is in the error.
    pub fn made(cache: &Path, name: &str, cargo: &Cargo) -> Result<Self> {
        Self::prepared(cache, name, cargo, &prepare())
    }

    /// A machine on which the package was installed a moment ago: disarmed, without bays, with an empty inbox.
    ///
    /// # Errors
    /// As with [`Self::made`].
    pub fn fresh(cache: &Path, name: &str, cargo: &Cargo) -> Result<Self> {
        Self::prepared(cache, name, cargo, &install())
    }

    fn prepared(cache: &Path, name: &str, cargo: &Cargo, prepare: &str) -> Result<Self> {
        programs::check()?;
        fs::create_dir_all(cache)?;
        // Disks name the disks that they lie on top of.
        let cache = &cache.canonicalize()?;
        let image = Image::built(cache)?;
        let _lock = lock(cache)?;
        let mut hash = Sha256::new();
        let version = Command::new("qemu-system-x86_64").arg("--version").output();
        hash.update(version.context("start QEMU")?.stdout);
        hash.update(machine::hardware().join(" "));
        hash.update(image.folder().to_string_lossy().as_bytes());
        hash.update(FIRST);
        hash.update(prepare);
        cargo.hash(&mut hash)?;
        let prefix = format!("ready-{name}-");
        let ready = Self { image, folder: cache.join(prefix.clone() + &name_of(hash)) };
        if ready.folder.exists() {
            return Ok(ready);
        }
        for entry in fs::read_dir(cache)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let making = cache.join(prefix + "making");
        fs::create_dir_all(&making)?;
        cargo.load(&making.join("cargo.img"))?;
        let system = ready.image.folder().join("system.img");
        say("the guest is started for the first time (a minute or two, once for each package)");
        let start = Start::Cold;
        let mut machine = Machine::start(&ready.image, &system, &making.join("cargo.img"), &start)?;
        machine.guest().done(FIRST)?;
        say("it has started; the package is installed in it");
        machine.guest().done(prepare)?;
        machine.guest().done("sync; fstrim / 2>/dev/null; true")?;
        machine.save(&making.join("state"), &making.join("system.qcow2"))?;
        fs::rename(making, &ready.folder)?;
        Ok(ready)
    }

    /// A machine of one's own, as it was when it was saved.
    ///
    /// # Errors
    /// It cannot be restored.
    pub fn machine(&self) -> Result<Machine> {
        let at = |name: &str| self.folder.join(name);
        let start = Start::Saved(at("state"));
        Machine::start(&self.image, &at("system.qcow2"), &at("cargo.img"), &start)
    }
}
