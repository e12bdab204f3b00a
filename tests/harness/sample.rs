//! Sample prestaged media: a WIM with everything that makes real media difficult.
//!
//! The tree is built on a real NTFS volume (mkntfs, ntfs-3g) and captured with wimlib-imagex in NTFS mode, so the WIM
//! holds security descriptors, hard links, short names, named streams, attributes and reparse points as
//! one made by Windows does. The contents are made up.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{XattrFlags, setxattr};

use super::hive;

/// What to make.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// About how many files to make below `\Windows`.
    pub(crate) files: usize,
    /// About how many bytes they hold.
    pub(crate) bytes: u64,
    /// Media with different seeds have different contents.
    pub(crate) seed: u64,
    /// Whether there are boot files and a BCD.
    pub(crate) boot: bool,
    /// A boot manager that a computer can start; otherwise it is made up.
    pub(crate) manager: Option<Vec<u8>>,
    /// Another boot configuration than the good one.
    pub(crate) bcd: Option<Vec<u8>>,
    /// Whether there is a folder whose files NTFS compresses.
    pub(crate) packed: bool,
    /// Architecture that boot.wim claims, as in winnt.h: 9 is amd64.
    pub(crate) architecture: u32,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            files: 300,
            bytes: 24 << 20,
            seed: 1,
            boot: true,
            manager: None,
            bcd: None,
            packed: false,
            architecture: 9,
        }
    }
}

/// Runs a program; its output is shown only if it fails.
///
/// # Panics
/// If it cannot be started or fails.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("cannot start {program}: {e}; is its package installed?"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {} failed ({}):\n{text}{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// A mounted NTFS volume; unmounted when dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(&self.0).status();
        assert!(status.is_ok_and(|s| s.success()), "cannot unmount {}", self.0.display());
    }
}

/// Fast, repeatable, half compressible bytes.
pub(crate) struct Noise(u64);

impl Noise {
    /// A generator; equal seeds give equal bytes.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next 64 bits (xorshift64*).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Fills with noise.
    pub(crate) fn fill(&mut self, data: &mut [u8]) {
        for part in data.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
    }

    /// A file's contents: blocks of noise between blocks of text.
    fn contents(&mut self, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        for (number, block) in data.chunks_mut(4096).enumerate() {
            if number % 2 == 0 {
                self.fill(block);
            } else {
                let text = format!("block {number} of a sample file\r\n");
                block.iter_mut().zip(text.bytes().cycle()).for_each(|(to, from)| *to = from);
            }
        }
        data
    }
}

/// Self-relative security descriptor: owner and group SYSTEM, full access for SYSTEM, and read access for Users or
/// nothing more (MS-DTYP 2.4.6).
fn descriptor(users: bool) -> Vec<u8> {
    const SYSTEM: [u8; 12] = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
    const USERS: [u8; 16] = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x21, 2, 0, 0];
    let ace = |sid: &[u8], mask: u32| {
        let mut ace = vec![0, 0];
        ace.extend(u16::try_from(8 + sid.len()).unwrap().to_le_bytes());
        ace.extend(mask.to_le_bytes());
        ace.extend(sid);
        ace
    };
    let mut aces = ace(&SYSTEM, 0x001f_01ff);
    let mut count = 1_u16;
    if users {
        aces.extend(ace(&USERS, 0x0012_00a9));
        count += 1;
    }
    let mut acl = vec![2, 0];
    acl.extend(u16::try_from(8 + aces.len()).unwrap().to_le_bytes());
    acl.extend(count.to_le_bytes());
    acl.extend([0, 0]);
    acl.extend(aces);
    let (owner, group, dacl) = (20_u32, 32_u32, 44_u32);
    let mut all = vec![1, 0, 0x04, 0x80];
    for offset in [owner, group, 0, dacl] {
        all.extend(offset.to_le_bytes());
    }
    all.extend(SYSTEM);
    all.extend(SYSTEM);
    all.extend(acl);
    all
}

/// A junction's reparse data (MS-FSCC 2.1.2.5).
fn junction(target: &str) -> Vec<u8> {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let (substitute, print) = (utf16(&format!("\\??\\{target}")), utf16(target));
    let length = |data: &[u8]| u16::try_from(data.len()).unwrap();
    let mut body = Vec::new();
    for number in [0, length(&substitute), length(&substitute) + 2, length(&print)] {
        body.extend(number.to_le_bytes());
    }
    body.extend(&substitute);
    body.extend([0, 0]);
    body.extend(&print);
    body.extend([0, 0]);
    let mut data = 0xA000_0003_u32.to_le_bytes().to_vec();
    data.extend(length(&body).to_le_bytes());
    data.extend([0, 0]);
    data.extend(body);
    data
}

fn set(path: &Path, name: &str, value: &[u8]) {
    setxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|e| panic!("set {name} on {}: {e}", path.display()));
}

fn write(path: &Path, data: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, data).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
}

/// `IMAGE_FILE_MACHINE_AMD64`
pub(crate) const AMD64: u16 = 0x8664;

/// Makes data begin as a program for this machine and subsystem does, 10 being an application for UEFI.
pub(crate) fn head(data: &mut [u8], machine: u16, subsystem: u16) {
    data[..2].copy_from_slice(b"MZ");
    data[0x3c..0x40].copy_from_slice(&0x80_u32.to_le_bytes());
    data[0x80..0x84].copy_from_slice(b"PE\0\0");
    for (at, number) in [(0x84, machine), (0x98, 0x20b), (0xdc, subsystem)] {
        data[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }
}

const COMPRESSED: u32 = 0x800;
const HIDDEN_SYSTEM: u32 = 0x2 | 0x4;
const READ_ONLY_ARCHIVE: u32 = 0x1 | 0x20;

impl Sample {
    /// Makes the WIM with wimlib-imagex's own arguments for compression, such as `--compress=LZX` or `--solid`.
    pub(crate) fn make(&self, wim: &Path, compression: &[&str]) {
        let work = tempfile::tempdir_in(wim.parent().unwrap()).unwrap();
        let image = work.path().join("volume.ntfs");
        File::create(&image).unwrap().set_len(self.bytes * 2 + (192 << 20)).unwrap();
        let image = image.to_str().unwrap();
        run(
            "mkntfs",
            &["-Q", "-F", "-q", "-p", "2048", "-H", "255", "-S", "63", "-s", "512", image],
        );
        let mount = work.path().join("mount");
        fs::create_dir(&mount).unwrap();
        let options = "streams_interface=windows,permissions,big_writes,compression";
        run("ntfs-3g", &["-o", options, image, mount.to_str().unwrap()]);
        let mounted = Mounted(mount.clone());
        self.fill(&mount, work.path());
        drop(mounted);
        let mut arguments = vec!["capture", image, wim.to_str().unwrap(), "Prestaged sample"];
        arguments.extend(compression);
        run("wimlib-imagex", &arguments);
    }

    fn fill(&self, root: &Path, work: &Path) {
        let mut noise = Noise::new(self.seed);
        self.fill_windows(root, &mut noise);
        let at = |path: &str| root.join(path);
        if self.boot {
            let manager = self.manager.clone().unwrap_or_else(|| {
                let mut made_up = noise.contents(1_500_000);
                head(&mut made_up, AMD64, 10);
                made_up
            });
            write(&at("Windows/Boot/EFI/bootmgfw.efi"), &manager);
            write(&at("Windows/Boot/EFI/memtest.efi"), &noise.contents(900_000));
            write(&at("Windows/Boot/Fonts/segoe_slboot.ttf"), &noise.contents(80_000));
            write(&at("Windows/Boot/Resources/bootres.dll"), &noise.contents(90_000));
            let bcd = self.bcd.clone().unwrap_or_else(|| hive::bcd(work));
            write(&at("EFI/Microsoft/Boot/BCD"), &bcd);
            write(&at("EFI/Boot/bootx64.efi"), &manager);
            write(&at("bootmgr.efi"), &manager);
        }
        write(&at("boot/boot.sdi"), &noise.contents(3_170_304));
        let boot_wim = at("sources/boot.wim");
        let tree = work.join("winpe");
        let loader = noise.contents(1_200_000);
        write(&tree.join("Windows/System32/winload.efi"), &loader);
        write(&tree.join("Windows/System32/Boot/winload.efi"), &loader);
        write(&tree.join("Windows/System32/winpeshl.ini"), b"[LaunchApps]\r\n");
        fs::create_dir_all(boot_wim.parent().unwrap()).unwrap();
        let captured = work.join("boot.wim");
        run(
            "wimlib-imagex",
            &["capture", tree.to_str().unwrap(), captured.to_str().unwrap(), "WinPE", "--boot"],
        );
        let (arch, build) =
            (format!("WINDOWS/ARCH={}", self.architecture), "WINDOWS/VERSION/BUILD=26100");
        run(
            "wimlib-imagex",
            &[
                "info",
                captured.to_str().unwrap(),
                "1",
                "--image-property",
                &arch,
                "--image-property",
                build,
            ],
        );
        fs::copy(&captured, &boot_wim).unwrap();
        write(&at("SMS/data/TsmBootstrap.ini"), b"[TSMBootstrap]\r\nMediaType=OEMMedia\r\n");
        write(&at("SMS/data/variables.dat"), &noise.contents(9_000));
        let packages = at("_SMSTaskSequence/Packages");
        write(&packages.join("PRE00001/setup.exe"), &noise.contents(700_000));
        write(&packages.join("PRE00002/drivers/net/e1r.inf"), b"[Version]\r\n");
        // The first start of prestaged media checks these.
        let listed = "sources/boot.wim boot/boot.sdi _SMSTaskSequence/Packages/PRE00001/setup.exe";
        let script = format!("cd \"$0\" && sha256sum {listed} > hashes.sha256");
        run("sh", &["-c", &script, root.to_str().unwrap()]);
    }

    fn fill_windows(&self, root: &Path, noise: &mut Noise) {
        let mut left = self.bytes;
        let (mut previous, system) = (None::<PathBuf>, root.join("Windows/System32"));
        for number in 0..self.files {
            let mean = left / u64::try_from(self.files - number).unwrap();
            // A few large files, many small ones, and some so small that NTFS keeps them in the file table.
            let size = match noise.next() % 16 {
                0..3 => noise.next() % 600,
                3..14 => noise.next() % (mean + 1),
                _ => mean + noise.next() % (4 * mean + 1),
            };
            let size = size.min(left);
            left -= size;
            let folder = system.join(format!("component-{:03}", number / 64));
            let path = folder.join(format!("a rather long file name {number:05}.dll"));
            write(&path, &noise.contents(usize::try_from(size).unwrap()));
            if number % 20 == 7
                && let Some(previous) = &previous
            {
                let link = root.join(format!("Windows/WinSxS/amd64_component_{number}.dll"));
                fs::create_dir_all(link.parent().unwrap()).unwrap();
                fs::hard_link(previous, link).unwrap();
            }
            match number % 10 {
                1 => set(&path, "system.ntfs_acl", &descriptor(true)),
                2 => set(&path, "system.ntfs_acl", &descriptor(false)),
                3 => set(&path, "system.ntfs_attrib", &READ_ONLY_ARCHIVE.to_le_bytes()),
                4 => set(&path, "system.ntfs_dos_name", format!("LONG{number:04}.DLL").as_bytes()),
                5 => stream(&path, "Zone.Identifier", b"[ZoneTransfer]\r\nZoneId=3\r\n"),
                6 => stream(&path, "large", &noise.contents(20_000)),
                _ => {}
            }
            previous = Some(path);
        }
        // A file of zeros, which a store could turn into a hole.
        write(&system.join("zeros.bin"), &vec![0; 6 << 20]);
        write(&system.join("empty.txt"), b"");
        write(&root.join("Windows/Ünïcödé – 文字.txt"), b"text");
        if self.packed {
            let folder = root.join("Windows/packed");
            fs::create_dir(&folder).unwrap();
            set(&folder, "system.ntfs_attrib", &COMPRESSED.to_le_bytes());
            let text: String =
                (0..30_000).map(|n| format!("{n:07} text that packs well\r\n")).collect();
            for (name, length) in [("long", text.len()), ("short", 5000), ("tiny", 20)] {
                write(&folder.join(format!("{name}.txt")), &text.as_bytes()[..length]);
            }
            let mut mixed = noise.contents(150_000);
            mixed.extend(&text.as_bytes()[..150_000]);
            mixed.extend(vec![0; 150_000]);
            write(&folder.join("mixed.bin"), &mixed);
        }
        let users = root.join("Users");
        fs::create_dir_all(users.join("Default")).unwrap();
        let old = root.join("Documents and Settings");
        fs::create_dir(&old).unwrap();
        set(&old, "system.ntfs_reparse_data", &junction("C:\\Users"));
        let programs = root.join("Program Files");
        fs::create_dir(&programs).unwrap();
        set(&programs, "system.ntfs_dos_name", b"PROGRA~1");
        set(&programs, "system.ntfs_acl", &descriptor(true));
        let hidden = root.join("Windows/hidden.sys");
        write(&hidden, b"hidden");
        set(&hidden, "system.ntfs_attrib", &HIDDEN_SYSTEM.to_le_bytes());
    }
}

fn stream(path: &Path, name: &str, data: &[u8]) {
    let mut full = path.as_os_str().to_owned();
    full.push(format!(":{name}"));
    let written = File::create(PathBuf::from(full)).and_then(|mut file| file.write_all(data));
    let _: () = written.unwrap_or_else(|e: io::Error| panic!("stream {name}: {e}"));
}
