//! The parts of which media is made: an operating system image with NTFS metadata, a boot image, packages, drivers, and
//! media of a customer's site.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::sample::{Noise, Sample, run};
use super::{sample_of, told};

/// A folder with parts and a recipe; removed when dropped.
pub(crate) struct Workshop {
    folder: tempfile::TempDir,
}

/// What the recipes of most tests begin with.
const RECIPE: &str = "[os]\nwim = \"os.wim\"\n[boot]\nwim = \"boot.wim\"\nsdi = \"boot.sdi\"\n";

impl Workshop {
    /// The parts of a small Windows: `os.wim` without boot configuration, `boot.wim`, `boot.sdi`, and the folders
    /// `app`, `pack` and `net`.
    pub(crate) fn new() -> Self {
        Self::of(&Sample { files: 60, bytes: 4 << 20, ..Sample::default() })
    }

    /// The parts into which media of this sample can be taken apart.
    pub(crate) fn of(sample: &Sample) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shop = Self { folder };
        let whole = sample_of(sample, &[]);
        shop.copy(&whole, "site.wim");
        shop.copy(&whole, "os.wim");
        let commands = "delete --force --recursive /EFI\ndelete --force --recursive /SMS\n\
                        delete --force --recursive /_SMSTaskSequence\n\
                        delete --force --recursive /sources\ndelete --force --recursive /boot\n";
        let script = shop.path("commands");
        fs::write(&script, commands).unwrap();
        let update =
            format!("wimlib-imagex update {} < {}", shop.shown("os.wim"), script.display());
        run("sh", &["-c", &update]);
        run("wimlib-imagex", &["optimize", &shop.shown("os.wim")]);
        let into = format!("--dest-dir={}", shop.path("").display());
        let files = ["/sources/boot.wim", "/boot/boot.sdi"];
        run(
            "wimlib-imagex",
            &[&["extract", &shop.shown("site.wim"), "1"], &files[..], &[&into]].concat(),
        );
        let mut noise = Noise::new(sample.seed + 7);
        let mut data = vec![0; 300_000];
        noise.fill(&mut data);
        shop.write("app/setup.exe", &data);
        shop.write("app/Data/deep/er/readme – 文.txt", b"text");
        // What libwim leaves out of its own accord.
        shop.write("app/pagefile.sys", b"kept");
        shop.write("app/System Volume Information/x", b"kept");
        shop.write("app/$Recycle.Bin/y", b"kept");
        shop.write("app/empty", b"");
        fs::create_dir(shop.path("app/empty folder")).unwrap();
        shop.write("pack/run.cmd", b"@echo off\r\n");
        shop.write("net/e1r.inf", b"[Version]\r\n");
        shop.write("net/e1r.sys", &data[..90_000]);
        shop.write("unattend.xml", b"<unattend/>");
        shop
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn copy(&self, from: &Path, name: &str) {
        fs::copy(from, self.path(name)).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }

    pub(crate) fn write(&self, name: &str, data: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }

    /// A recipe with these further lines.
    pub(crate) fn recipe(&self, more: &str) {
        self.write("recipe.toml", format!("{RECIPE}{more}").as_bytes());
    }

    /// A recipe with all packages and a file.
    pub(crate) fn full_recipe(&self, more: &str) {
        let mut text = String::new();
        for (id, path, kind) in [
            ("ACM00001", "app", "application"),
            ("ACM00002", "pack", "package"),
            ("ACM00003", "net", "driver"),
        ] {
            let _ =
                writeln!(text, "[[package]]\nid = \"{id}\"\npath = \"{path}\"\nkind = \"{kind}\"");
        }
        text.push_str(
            "[[file]]\nfrom = \"unattend.xml\"\nto = '\\windows\\Panther\\unattend.xml'\n",
        );
        self.recipe(&format!("{text}{more}"));
    }

    /// `prestagectl media create` by the recipe.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prestagectl"));
        let recipe = self.path("recipe.toml");
        command.args(["--socket", "/nonexistent", "media", "create"]).arg(recipe);
        command.arg("--out").arg(self.path("out.wim")).args(arguments);
        command.stdin(std::process::Stdio::null());
        command
    }

    /// Runs it, which must exit with this code; returns what it printed.
    #[track_caller]
    pub(crate) fn create(&self, code: i32, arguments: &[&str]) -> String {
        let (found, text) = told(&mut self.command(arguments));
        assert_eq!(found, code, "{text}");
        if code != 0 {
            assert!(!self.path("out.wim").exists() || text.contains("there already"), "{text}");
        }
        assert!(!self.path(".out.wim.prestaged").exists(), "{text}");
        text
    }
}
