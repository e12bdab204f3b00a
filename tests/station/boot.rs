//! A computer starts from an imaged drive: UEFI firmware in QEMU, with no other disk and no kernel given to QEMU.
//!
//! The sample media's boot manager is GRUB. From firmware alone it finds the Windows volume, reads boot.wim and the package
//! cache through NTFS, and compares their SHA-256 with the list that the media carries, as the first start of
//! prestaged media checks a hash before anything else. It says what it found on the serial console. This
//! proves firmware, ESP, boot manager and the Windows volume's contents; it does not prove that Windows starts.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use macro_rules_attribute::apply;

use crate::harness::needs::FIRMWARE;
use crate::harness::sample::{Sample, run};
use crate::harness::{Drive, Rig, Setup, partitions, wait_for};

const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
const GRUB_MODULES: &str =
    "part_gpt fat ntfs hashsum gcry_sha256 search search_label halt echo test normal serial";
const GRUB_SCRIPT: &str = "serial --unit=0 --speed=115200
terminal_output serial
echo PRESTAGED: boot manager started
search --no-floppy --set=win --label Windows
if hashsum --hash sha256 --prefix ($win) --check ($win)/hashes.sha256; then
  echo PRESTAGED: HASH-OK
else
  echo PRESTAGED: HASH-BAD
fi
halt
";

/// A boot manager that a computer can start; `folder` is for scratch files.
pub(crate) fn manager(folder: &Path) -> Vec<u8> {
    let (script, manager) = (folder.join("grub.cfg"), folder.join("grub.efi"));
    fs::write(&script, GRUB_SCRIPT).unwrap();
    let modules = format!("--modules={GRUB_MODULES}");
    let config = format!("boot/grub/grub.cfg={}", script.display());
    let output = format!("--output={}", manager.display());
    run(
        "grub-mkstandalone",
        &["-O", "x86_64-efi", &output, &modules, "--fonts=", "--locales=", "--themes=", &config],
    );
    fs::read(manager).unwrap()
}

/// Starts a station whose media has a boot manager that a computer can start.
fn rig(esp_mib: u32) -> Rig {
    let rig = Rig::new(Setup::default().esp_mib(esp_mib));
    let wim = rig.path("bootable.wim");
    let manager = Some(manager(&rig.path("")));
    Sample { manager, ..Sample::default() }.make(&wim, &["--compress=XPRESS"]);
    rig.add_media(&wim, "bootable.wim");
    rig.start();
    rig.wait_media("bootable.wim", "valid");
    rig
}

/// A running QEMU; killed when dropped.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a computer from a drive, and waits until its console says how that went; returns the console's text.
pub(crate) fn start(rig: &Rig, drive: &Drive, device: &str) -> String {
    let variables = rig.path("variables.fd");
    fs::copy(VARIABLES, &variables).unwrap();
    let console = rig.path("console");
    let _ = fs::remove_file(&console);
    let disk = format!("if=none,id=disk,format=raw,snapshot=on,file={}", drive.file.display());
    let code = format!("if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE}");
    let store = format!("if=pflash,format=raw,unit=1,file={}", variables.display());
    let serial = format!("file:{}", console.display());
    let child = Command::new("qemu-system-x86_64")
        .args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "qemu64", "-m", "512"])
        .args(["-nodefaults", "-display", "none", "-net", "none", "-serial", &serial])
        .args(["-drive", &code, "-drive", &store, "-drive", &disk, "-device", device])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut machine = Machine(child);
    let markers = ["HASH-OK", "HASH-BAD", "failed to load Boot0001", "No bootable option"];
    wait_for("the computer to start", || {
        let ended = machine.0.try_wait().unwrap().is_some();
        let text = String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).into_owned();
        let clear = markers.iter().any(|marker| text.contains(marker));
        (clear || ended).then_some(text)
    })
}

pub(crate) fn nvme(sector: u32) -> String {
    format!("nvme,drive=disk,serial=X,logical_block_size={sector},physical_block_size={sector}")
}

fn flip(drive: &Drive, at: u64) {
    let file = File::options().read(true).write(true).open(&drive.file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// Finds bytes on a drive, searching from an offset on.
fn find(drive: &Drive, from: u64, wanted: &[u8]) -> u64 {
    let data = fs::read(&drive.file).unwrap();
    let from = usize::try_from(from).unwrap();
    let at = data[from..].windows(wanted.len()).position(|part| part == wanted).unwrap();
    u64::try_from(from + at).unwrap()
}

#[apply(test!)]
#[needs(LOOP, QEMU)]
fn firmware_starts_a_drive_and_its_hashes_are_right() {
    let rig = rig(40);
    let drive = rig.attached("A", 480, 512);
    let record = rig.wait_pass(&drive.serial);
    drive.detach();
    for device in [nvme(512), "ide-hd,drive=disk,bus=ide.0".to_owned()] {
        let console = start(&rig, &drive, &device);
        assert!(console.contains("HASH-OK"), "{device}: {console}");
    }
    // The check of hashes can fail: one bit of boot.wim is flipped.
    let windows = partitions(&record)[2].1;
    let boot_wim = find(&drive, windows, b"MSWIM\0\0\0");
    flip(&drive, boot_wim + 100_000);
    let console = start(&rig, &drive, &nvme(512));
    assert!(console.contains("HASH-BAD"), "{console}");
    flip(&drive, boot_wim + 100_000);
    // The start can fail too: the boot manager is replaced by a text.
    let esp = partitions(&record)[0].1;
    let image = format!("{}@@{esp}", drive.file.display());
    let empty = rig.path("empty");
    fs::write(&empty, "no program").unwrap();
    run("mcopy", &["-o", "-i", &image, empty.to_str().unwrap(), "::/EFI/BOOT/BOOTX64.EFI"]);
    let console = start(&rig, &drive, &nvme(512));
    assert!(console.contains("failed to load"), "{console}");
}

#[apply(test!)]
#[needs(LOOP, QEMU)]
fn firmware_starts_a_drive_with_4096_byte_sectors() {
    let rig = rig(300);
    let drive = rig.attached("A", 760, 4096);
    rig.wait_pass(&drive.serial);
    drive.detach();
    let console = start(&rig, &drive, &nvme(4096));
    assert!(console.contains("HASH-OK"), "{console}");
}
