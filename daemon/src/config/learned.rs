//! The drop-in with the names of bays that were learned, and how one is added to it.
//!
//! Names stand in the configuration, and not in the daemon's own state, because they take part in admission:
//! `admission.bays` may list them, and whoever could move a name could move what may be written. So the one who names
//! bays is the one who may change the configuration, and the daemon, which may not, has nothing to do with it. It
//! knows them from its next start, which a new station needs anyway before its bays are allowed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{Config, ConfigError, NamedPath, drop_ins, parse};

/// Name of the drop-in.
pub const FILE: &str = "bays.toml";
/// Not read by the loader, which goes by the extension.
const UNFINISHED: &str = ".bays.toml.new";
const HEAD: &str = "# Written by `prestagectl bays learn`. Names and paths can be changed here; other text is not kept.\n\n";
/// As many characters as fit a table and a label.
const LONGEST: usize = 40;
/// How paths begin.
const PLACES: [&str; 6] = ["pci-", "platform-", "acpi-", "ccw-", "loop-", "unknown-"];

/// Why a name cannot be given.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing but blanks.
    #[error("a name must not be empty")]
    Empty,
    /// It cannot be printed.
    #[error("{0:?} holds control characters")]
    Control(String),
    /// Too long.
    #[error("{0:?} is longer than {LONGEST} characters")]
    Long(String),
    /// In `admission.bays` it would be a pattern.
    #[error("{0:?} holds one of *, ?, [ and ], which would make it a pattern in admission.bays")]
    Pattern(String),
    /// In `admission.bays` it would pass for a path.
    #[error("{0:?} looks like a path; admission.bays could not tell them apart")]
    Place(String),
    /// Another place has it.
    #[error("{name:?} is the name of the bay at {path} already")]
    Taken {
        /// The name that is there.
        name: String,
        /// Where.
        path: String,
    },
}

/// Why a name was not learned.
#[derive(Debug, thiserror::Error)]
pub enum LearnedError {
    /// The name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The drop-in must not be written.
    #[error("no permission to write {path}")]
    NotPermitted {
        /// File.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The drop-in cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// File.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else is writing it.
    #[error("bays are being learned already; {0} is in use")]
    Busy(PathBuf),
    /// Writing it would lose something.
    #[error("{path} holds more than names of bays; move {key:?} to another file")]
    Foreign {
        /// File.
        path: PathBuf,
        /// What it holds.
        key: String,
    },
    /// A later file has another name for the place.
    #[error(
        "the name {name:?} would be without effect: a file behind {path} calls the place {called:?}"
    )]
    Overruled {
        /// File.
        path: PathBuf,
        /// What was to be learned.
        name: String,
        /// What holds.
        called: String,
    },
}

/// What the drop-in holds.
#[derive(Default, Serialize, Deserialize)]
struct Content {
    #[serde(default)]
    bay: Vec<NamedPath>,
}

/// The drop-in, held against others who learn.
#[derive(Debug)]
pub struct Learned {
    config: PathBuf,
    file: PathBuf,
    folder: File,
}

impl Learned {
    /// Takes hold of a configuration file's drop-in and finds out whether it can be written.
    ///
    /// # Errors
    /// [`LearnedError`]; then no name can be learned.
    pub fn open(config: &Path) -> Result<Self, LearnedError> {
        Config::load(config)?;
        let folder = drop_ins(config);
        let file = folder.join(FILE);
        let failed = |source| failed(&file, source);
        fs::create_dir_all(&folder).map_err(failed)?;
        let held = File::open(&folder).map_err(failed)?;
        match flock(&held, FlockOperation::NonBlockingLockExclusive) {
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                return Err(LearnedError::Busy(file));
            }
            result => result.map_err(|error| failed(error.into()))?,
        }
        let unfinished = folder.join(UNFINISHED);
        File::create(&unfinished).and_then(|_| fs::remove_file(&unfinished)).map_err(failed)?;
        let learned = Self { config: config.to_owned(), file, folder: held };
        learned.bays()?;
        Ok(learned)
    }

    /// The drop-in.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The bays in it.
    ///
    /// # Errors
    /// [`LearnedError`] if it cannot be read, or holds something else.
    pub fn bays(&self) -> Result<Vec<NamedPath>, LearnedError> {
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(ConfigError::Read { path: self.file.clone(), source }.into()),
        };
        let table = parse(&self.file, &text)?;
        if let Some(key) = table.keys().find(|key| *key != "bay") {
            return Err(LearnedError::Foreign { path: self.file.clone(), key: key.clone() });
        }
        let content: Content = table.try_into().map_err(|error: toml::de::Error| {
            ConfigError::Syntax { path: self.file.clone(), text: error.to_string() }
        })?;
        Ok(content.bay)
    }

    /// The configuration as it stands now.
    ///
    /// # Errors
    /// [`LearnedError::Config`]
    pub fn config(&self) -> Result<Config, LearnedError> {
        Ok(Config::load(&self.config)?)
    }

    /// Whether a name may be given to the place at a path; `None`: to any place that has none.
    ///
    /// # Errors
    /// [`LearnedError::Name`] says why not.
    pub fn check(&self, name: &str, path: Option<&str>) -> Result<(), LearnedError> {
        let config = self.config()?;
        well_formed(name)?;
        let here = path.map(glob::Pattern::escape);
        let same = |bay: &&NamedPath| {
            bay.name.trim().to_lowercase() == name.to_lowercase()
                && Some(bay.path.as_str()) != here.as_deref()
        };
        match config.bay.iter().find(same) {
            Some(NamedPath { name, path }) => {
                Err(NameError::Taken { name: name.clone(), path: path.clone() }.into())
            }
            None => Ok(()),
        }
    }

    /// Gives a name to the place at a path, in place of the one it has. The file is replaced as a whole, once the
    /// configuration has been read with it and does call the place so.
    ///
    /// # Errors
    /// [`LearnedError`]; then everything is as before.
    pub fn name(&self, name: &str, path: &str) -> Result<(), LearnedError> {
        let name = name.trim();
        self.check(name, Some(path))?;
        let pattern = glob::Pattern::escape(path);
        let mut bays = self.bays()?;
        bays.retain(|bay| bay.path != pattern);
        // A pattern that somebody wrote here must not win over this very place.
        let matches =
            |bay: &NamedPath| glob::Pattern::new(&bay.path).is_ok_and(|p| p.matches(path));
        let at = bays.iter().position(matches).unwrap_or(bays.len());
        bays.insert(at, NamedPath { name: name.to_owned(), path: pattern });
        let text = toml::to_string(&Content { bay: bays }).map_err(io::Error::other);
        let text = HEAD.to_owned() + &text.map_err(|source| failed(&self.file, source))?;
        let config = Config::load_with(&self.config, Some((&self.file, &text)))?;
        let called = config.policy()?.name_of(path).unwrap_or_default().to_owned();
        if called != name {
            let path = self.file.clone();
            return Err(LearnedError::Overruled { path, name: name.to_owned(), called });
        }
        self.replace(&text).map_err(|source| failed(&self.file, source))
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let unfinished = self.file.with_file_name(UNFINISHED);
        let mut file = File::create(&unfinished)?;
        file.write_all(text.as_bytes())?;
        // Whatever the umask of who learns: it holds no secret, and `bays list` reads it.
        file.set_permissions(PermissionsExt::from_mode(0o644))?;
        file.sync_all()?;
        fs::rename(&unfinished, &self.file)?;
        self.folder.sync_all()
    }
}

fn failed(path: &Path, source: io::Error) -> LearnedError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            LearnedError::NotPermitted { path, source }
        }
        _ => LearnedError::Write { path, source },
    }
}

/// Whether a name can stand in tables, records and `admission.bays`.
fn well_formed(name: &str) -> Result<(), NameError> {
    let text = || name.to_owned();
    if name.trim().is_empty() {
        return Err(NameError::Empty);
    }
    if name.contains(char::is_control) {
        return Err(NameError::Control(text()));
    }
    if name.chars().count() > LONGEST {
        return Err(NameError::Long(text()));
    }
    if name.contains(['*', '?', '[', ']']) {
        return Err(NameError::Pattern(text()));
    }
    if PLACES.iter().any(|place| name.starts_with(place)) {
        return Err(NameError::Place(text()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prestaged.toml");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn name_of(config: &Path, path: &str) -> Option<String> {
        Config::load(config).unwrap().policy().unwrap().name_of(path).map(str::to_owned)
    }

    #[test]
    fn a_name_is_for_its_very_place() {
        let (_folder, config) = configured("");
        let learned = Learned::open(&config).unwrap();
        let paths = [
            "pci-0000:01:00.0-nvme-1",
            "pci-0000:00:05.0-usb-0:3:1.0-scsi-0:0:0:0",
            "pci-0000:00:05.0-usb-0:3.1:1.0-scsi-0:0:0:0",
            "pci-0000:00:05.0-usb-0:3:1.0-scsi-0:0:0:1",
            "pci-0000:00:04.0-scsi-0:0:3:0",
            "loop-a*[b]?.img",
            "loop-a1b2.img",
        ];
        for (at, path) in paths.iter().enumerate() {
            learned.name(&format!("bay-{at}"), path).unwrap();
        }
        for (at, path) in paths.iter().enumerate() {
            assert_eq!(name_of(&config, path), Some(format!("bay-{at}")), "{path}");
            assert_eq!(name_of(&config, &format!("{path}0")), None, "{path}");
        }
        assert_eq!(learned.bays().unwrap().len(), paths.len());
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let (_folder, config) = configured("[[bay]]\nname = \"left\"\npath = \"usb-1*\"\n");
        let learned = Learned::open(&config).unwrap();
        learned.name("right", "usb-2").unwrap();
        for (name, expected) in [
            ("", "empty"),
            ("a\u{7}", "control"),
            ("bay*", "pattern"),
            ("pci-0000:01:00.0-nvme-1", "path"),
            (&"x".repeat(41), "longer"),
            ("left", "usb-1*"),
            ("LEFT", "usb-1*"),
            ("right", "usb-2"),
        ] {
            let error = learned.name(name, "usb-3").unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
        assert_eq!(name_of(&config, "usb-3"), None);
        learned.name("right", "usb-2").unwrap();
        learned.name("middle", "usb-2").unwrap();
        learned.name("right", "usb-3").unwrap();
        learned.name("far left", "usb-10").unwrap();
        let names = ["usb-2", "usb-3", "usb-10", "usb-11"].map(|path| name_of(&config, path));
        assert_eq!(names.map(Option::unwrap), ["middle", "right", "far left", "left"]);
    }

    #[test]
    fn nothing_is_replaced_by_what_would_not_work() {
        let (_folder, config) = configured("");
        let learned = Learned::open(&config).unwrap();
        assert!(matches!(Learned::open(&config), Err(LearnedError::Busy(_))), "held");
        learned.name("a", "usb-1").unwrap();
        let before = fs::read(learned.file()).unwrap();
        let later = learned.file().with_file_name("z.toml");
        fs::write(&later, "[[bay]]\nname = \"z\"\npath = \"usb-*\"\n").unwrap();
        let error = learned.name("b", "usb-2").unwrap_err().to_string();
        assert!(error.contains("\"z\"") && error.contains(FILE), "{error}");
        fs::write(&later, "[admision]\n").unwrap();
        assert!(matches!(learned.name("b", "usb-2"), Err(LearnedError::Config(_))));
        assert_eq!(fs::read(learned.file()).unwrap(), before);
        fs::remove_file(&later).unwrap();
        fs::write(learned.file(), "[admission]\narmed = true\n").unwrap();
        let error = learned.name("b", "usb-2").unwrap_err().to_string();
        assert!(error.contains("\"admission\"") && error.contains("another file"), "{error}");
    }
}
