//! Recipes: of which parts media is composed. `prestagectl media create` reads them, the daemon never does.
//!
//! Paths are relative to the recipe's folder. Nothing that a recipe names is looked at here.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use model::composition::{
    About, BootPart, Composition, Compression, OsPart, Package, PackageKind, PlacedFile,
};
use serde::Deserialize;

use super::check::Wrong;
use super::error::{ConfigError, Mistake, Place};
use super::file::Source;
use super::keys::Fallback::{Absent, Required, Value};
use super::keys::Kind::{Count, OneOf, Path as PathKind, Text};
use super::keys::{Key, key};

/// Every key of a recipe, in the order in which they are explained.
pub const KEYS: [Key; 19] = [
    key(
        "os",
        "wim",
        PathKind,
        Required,
        "WIM file with the operating system image; of a split set, the first part",
    ),
    key("os", "index", Count, Value("1"), "index of the image in it, counted from 1"),
    key(
        "boot",
        "wim",
        PathKind,
        Required,
        "WIM file with the boot image, which becomes `\\sources\\boot.wim`. If the image is its only one and marked as bootable, the file is taken byte for byte",
    ),
    key(
        "boot",
        "index",
        Count,
        Absent("the image that is marked as bootable, or the only one"),
        "index of the boot image in it",
    ),
    key(
        "boot",
        "sdi",
        PathKind,
        Absent("`\\Windows\\Boot\\DVD\\EFI\\boot.sdi` of the operating system image"),
        "the file that becomes `\\boot\\boot.sdi`",
    ),
    key(
        "boot",
        "start",
        PathKind,
        Absent("the boot image starts as it is"),
        "script that the boot image runs once it has started, as its `startnet.cmd`; its `winpeshl.ini` is taken out. Only without `[site]`",
    ),
    key(
        "site",
        "from",
        PathKind,
        Absent("stand-alone media"),
        "prestaged media that the customer's site made; its `\\SMS\\data` is taken byte for byte",
    ),
    key(
        "package",
        "id",
        Text,
        Required,
        "the package's ID, such as `PRE00001`; the folder below `\\_SMSTaskSequence\\Packages`",
    ),
    key(
        "package",
        "path",
        PathKind,
        Required,
        "folder with the package's content, or its only file",
    ),
    key(
        "package",
        "kind",
        OneOf(&["application", "package", "driver"]),
        Value("\"package\""),
        "what it is to Configuration Manager; a driver package must have an `.inf` file",
    ),
    key("file", "from", PathKind, Required, "a file or folder to be added"),
    key(
        "file",
        "to",
        Text,
        Required,
        "its own path on the Windows volume, such as `\\Windows\\Panther\\unattend.xml`; a file that is there gives way",
    ),
    key("image", "name", Text, Absent("as in `os.wim`"), "name of the image in the media"),
    key("image", "description", Text, Absent("as in `os.wim`"), "its description"),
    key("image", "version", Text, Absent("none"), "version of the media, up to 32 characters"),
    key("image", "comment", Text, Absent("none"), "a comment, up to 127 characters"),
    key("image", "created_by", Text, Absent("none"), "who made it, up to 50 characters"),
    key(
        "",
        "bcd",
        PathKind,
        Value("\"generate\""),
        "`\"generate\"` makes a boot configuration that starts the boot image through UEFI; a path names one",
    ),
    key(
        "",
        "compress",
        OneOf(&["lzx", "xpress", "none"]),
        Absent("as `os.wim` is; `lzx` if that is solid"),
        "how the media is compressed. Another compression than that of `os.wim` compresses all of it anew",
    ),
];

/// The longest texts that the wizard takes, by key.
const LONGEST: [(&str, usize); 5] =
    [("name", 255), ("description", 1024), ("version", 32), ("comment", 127), ("created_by", 50)];

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    os: Os,
    boot: Boot,
    site: Option<Site>,
    #[serde(default)]
    package: Vec<PackageTable>,
    #[serde(default)]
    file: Vec<FileTable>,
    #[serde(default)]
    image: Image,
    bcd: Option<PathBuf>,
    compress: Option<Compression>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Os {
    wim: PathBuf,
    #[serde(default = "first")]
    index: u32,
}

fn first() -> u32 {
    1
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Boot {
    wim: PathBuf,
    index: Option<u32>,
    sdi: Option<PathBuf>,
    start: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Site {
    from: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PackageTable {
    id: String,
    path: PathBuf,
    #[serde(default = "plain")]
    kind: PackageKind,
}

fn plain() -> PackageKind {
    PackageKind::Package
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTable {
    from: PathBuf,
    to: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Image {
    name: Option<String>,
    description: Option<String>,
    version: Option<String>,
    comment: Option<String>,
    created_by: Option<String>,
}

impl Image {
    fn texts(&self) -> [Option<&String>; 5] {
        let Self { name, description, version, comment, created_by } = self;
        [name, description, version, comment, created_by].map(Option::as_ref)
    }
}

/// Reads a recipe.
///
/// # Errors
/// [`ConfigError`] names the file, the line and the key.
pub fn load(path: &Path) -> Result<Composition, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError::new(Place { file: path.to_owned(), line: None }, Mistake::Recipe(error))
    })?;
    parse(path, text)
}

/// Reads the text of a recipe that is, or could be, at `path`.
///
/// # Errors
/// As [`load`].
pub fn parse(path: &Path, text: String) -> Result<Composition, ConfigError> {
    let recipe: Recipe = Source::new(path, &text, &KEYS)
        .read_as(|recipe: &Recipe| recipe.check().err().into_iter().collect())?;
    let absolute = std::path::absolute(path).map_err(|error| {
        ConfigError::new(Place { file: path.to_owned(), line: None }, Mistake::Read(error))
    })?;
    Ok(recipe.resolved(absolute.parent().unwrap_or(Path::new("/"))))
}

impl Recipe {
    fn check(&self) -> Result<(), Wrong> {
        let indices = [("os.index", Some(self.os.index)), ("boot.index", self.boot.index)];
        if let Some((key, _)) = indices.into_iter().find(|(_, index)| *index == Some(0)) {
            let what = "images are counted from 1";
            return Err(Wrong::value(key, what, "`wimlib-imagex info FILE` lists the images"));
        }
        if self.site.is_some() && self.boot.start.is_some() {
            let what = "a boot image that goes on with the site must stay as it is";
            return Err(Wrong::value("boot.start", what, "leave it out, or leave [site] out"));
        }
        if self.site.as_ref().is_some_and(|site| site.from.is_none()) {
            let mistake = Mistake::unusable("site.from", "missing", "the table [site] needs from");
            return Err(Wrong::new("site", mistake));
        }
        self.check_packages()?;
        for (place, file) in self.file.iter().enumerate() {
            if names_of(&file.to).is_none() {
                let what = format!("{:?} is not a path on the volume", file.to);
                let hint = "write it from the root of the volume, such as '\\Windows\\Panther\\unattend.xml'";
                let mistake = Mistake::unusable("[[file]] to", what, hint);
                return Err(Wrong::new(format!("file.{place}.to"), mistake));
            }
        }
        self.check_texts()
    }

    fn check_packages(&self) -> Result<(), Wrong> {
        let mut seen = HashSet::new();
        for (place, package) in self.package.iter().enumerate() {
            let wrong = |what: String, hint: &str| {
                let mistake = Mistake::unusable("[[package]] id", what, hint);
                Err(Wrong::new(format!("package.{place}.id"), mistake))
            };
            let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            let id = &package.id;
            if id.is_empty() || id.len() > 64 || !id.chars().all(allowed) {
                let what = format!("{id:?} is not a package ID");
                return wrong(what, "write up to 64 letters, digits, - and _");
            }
            if !seen.insert(id.to_ascii_uppercase()) {
                let what = format!("{id:?} is there twice; upper and lower case do not count");
                return wrong(what, "give each package an ID of its own");
            }
        }
        Ok(())
    }

    fn check_texts(&self) -> Result<(), Wrong> {
        for ((name, longest), text) in LONGEST.into_iter().zip(self.image.texts()) {
            let Some(text) = text else { continue };
            let (key, length) = (format!("image.{name}"), text.chars().count());
            if length > longest {
                let what = format!("has {length} characters, and at most {longest} may be");
                return Err(Wrong::value(&key, &what, "write less"));
            }
            // XML 1.0, section 2.2, has no place for the last two.
            let wrong = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
            if text.contains(wrong) || text.trim().is_empty() {
                let what = "is empty, or has control characters";
                return Err(Wrong::value(&key, what, "write it on one line, or leave it out"));
            }
        }
        Ok(())
    }

    /// With paths that are relative to this folder.
    fn resolved(self, folder: &Path) -> Composition {
        let at = |path: PathBuf| folder.join(path);
        let Self { os, boot, site, package, file, image, bcd, compress } = self;
        let Image { name, description, version, comment, created_by } = image;
        let packages = package.into_iter();
        let packages = packages.map(|package| Package {
            id: package.id,
            path: at(package.path),
            kind: package.kind,
        });
        Composition {
            os: OsPart { wim: at(os.wim), index: os.index },
            boot: BootPart {
                wim: at(boot.wim),
                index: boot.index,
                sdi: boot.sdi.map(at),
                start: boot.start.map(at),
            },
            site: site.and_then(|site| site.from).map(at),
            packages: packages.collect(),
            files: file
                .into_iter()
                .map(|file| PlacedFile {
                    from: at(file.from),
                    to: names_of(&file.to).unwrap_or_default(),
                })
                .collect(),
            about: About { name, description, version, comment, created_by },
            bcd: bcd.filter(|path| path != Path::new("generate")).map(at),
            compress,
        }
    }
}

/// The names in a path from the root of a volume, with slashes or backslashes.
fn names_of(path: &str) -> Option<Vec<String>> {
    let below = path.strip_prefix(['\\', '/'])?;
    let names: Vec<String> = below.split(['\\', '/']).map(str::to_owned).collect();
    let sound = |name: &String| !matches!(name.as_str(), "" | "." | "..");
    names.iter().all(sound).then_some(names)
}

#[cfg(test)]
mod tests {
    use model::failure::chain;
    use model::hint::Hint as _;

    use super::*;

    const LEAST: &str = "[os]\nwim = \"os.wim\"\n[boot]\nwim = '/parts/boot.wim'\n";

    #[test]
    fn a_recipe_that_is_not_there_is_not_the_configuration() {
        let error = load(Path::new("/no/such/recipe.toml")).unwrap_err();
        assert!(chain(&error).starts_with("/no/such/recipe.toml: cannot be read: No such file"));
        let hint = error.hint().unwrap();
        assert!(hint.contains("the file with the recipe") && !hint.contains("--config"), "{hint}");
    }

    fn read(text: &str) -> Result<Composition, String> {
        parse(Path::new("/orders/acme.toml"), text.to_owned()).map_err(|error| {
            let hint = error.hint().map(|hint| format!(" [{hint}]")).unwrap_or_default();
            chain(&error) + &hint
        })
    }

    #[test]
    fn paths_are_relative_to_the_recipe() {
        let least = read(LEAST).unwrap();
        assert_eq!(least.os, OsPart { wim: "/orders/os.wim".into(), index: 1 });
        assert_eq!(least.boot.wim, Path::new("/parts/boot.wim"));
        assert_eq!((least.bcd, least.compress, least.site), (None, None, None));
        let all = format!(
            "bcd = \"my/BCD\"\ncompress = \"xpress\"\n{LEAST}index = 2\nsdi = \"boot.sdi\"\n\
             [site]\nfrom = \"../site.wim\"\n\
             [[package]]\nid = \"PRE00001\"\npath = \"p\"\nkind = \"driver\"\n\
             [[file]]\nfrom = \"u.xml\"\nto = '\\Windows/Panther\\unattend.xml'\n\
             [image]\nname = \"Acme\"\ncreated_by = \"{}\"\n",
            "x".repeat(50)
        );
        let all = read(&all).unwrap();
        assert_eq!(all.bcd.as_deref(), Some(Path::new("/orders/my/BCD")));
        assert_eq!(all.site.as_deref(), Some(Path::new("/orders/../site.wim")));
        assert_eq!(all.files[0].to, ["Windows", "Panther", "unattend.xml"]);
        assert_eq!(all.packages[0].kind, PackageKind::Driver);
        assert_eq!((all.boot.index, all.compress), (Some(2), Some(Compression::Xpress)));
        assert_eq!(read(&format!("bcd = \"generate\"\n{LEAST}")).unwrap().bcd, None);
    }

    /// Each mistake with the line that it is on.
    #[test]
    fn mistakes_are_told_where_they_stand() {
        let package = |id: &str| format!("{LEAST}[[package]]\nid = \"{id}\"\npath = \"p\"\n");
        let file = |to: &str| format!("{LEAST}[[file]]\nfrom = \"f\"\nto = '{to}'\n");
        for (text, told) in [
            (LEAST.replace("[os]", "[oss]"), ":1: oss: no such key [did you mean \"os\"?]"),
            (
                LEAST.replace("wim = \"os.wim\"", "wmi = \"x\""),
                ":1: os.wim: missing [the table [os] needs wim]",
            ),
            ("[os]\nwim = \"a\"\n".into(), ": boot.wim: missing [the table [boot] needs wim]"),
            (format!("{LEAST}indx = 1\n"), ":5: boot.indx: no such key [did you mean \"index\"?]"),
            (format!("{LEAST}index = 0\n"), ":5: boot.index: images are counted from 1"),
            (format!("{LEAST}index = \"1\"\n"), ":5: boot.index: \"1\" is not a whole number"),
            (format!("compress = \"lzms\"\n{LEAST}"), ":1: compress: \"lzms\" is not one of"),
            (format!("bcd = 3\n{LEAST}"), ":1: bcd: 3 is not a path"),
            (
                format!("{}[[package]]\nid = \"pre1\"\npath = \"q\"\n", package("PRE1")),
                ":9: [[package]] id",
            ),
            (package("A/B"), "\"A/B\" is not a package ID"),
            (package(""), "\"\" is not a package ID"),
            (
                format!("{}kind = \"app\"\n", package("A")),
                ":8: [[package]] kind: \"app\" is not one of",
            ),
            (format!("{LEAST}[[package]]\nid = \"A\"\n"), ":5: [[package]] path: missing"),
            (file("Windows\\x"), "\"Windows\\\\x\" is not a path on the volume"),
            (file("\\a\\..\\b"), "is not a path on the volume"),
            (file("\\"), "is not a path on the volume"),
            (
                format!("{LEAST}[image]\nversion = \"{}\"\n", "v".repeat(33)),
                ":6: image.version: has 33",
            ),
            (
                format!("{LEAST}[image]\ncomment = \"{}\"\n", "é".repeat(128)),
                "image.comment: has 128",
            ),
            (format!("{LEAST}[image]\nname = \"a\\nb\"\n"), "image.name: is empty, or has control"),
            (
                format!("{LEAST}start = \"s.cmd\"\n[site]\nfrom = \"s.wim\"\n"),
                ":5: boot.start: a boot image that goes on with the site must stay as it is",
            ),
            (format!("{LEAST}[site]\n"), ":5: site.from: missing"),
            (format!("{LEAST}[file]\nfrom = \"a\"\nto = '\\b'\n"), "[[file]]"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.starts_with("/orders/acme.toml"), "{error}");
            assert!(error.contains(told), "{text}\n{error}\nnot {told}");
        }
    }

    /// What is shown as a default is the default.
    #[test]
    fn every_key_is_known() {
        for key in KEYS {
            assert!(!key.text.ends_with('.') && key.text.len() > 5, "{}", key.path());
        }
        let all: Vec<String> = KEYS.iter().map(Key::path).collect();
        assert!(all.contains(&"[[package]] id".to_owned()) && all.contains(&"bcd".to_owned()));
    }
}
