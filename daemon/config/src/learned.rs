//! The drop-in with the names of bays that were learned, and how a name is added to it.
//!
//! Names are kept in the configuration, not in the daemon's own state, because they take part in admission:
//! `admission.bays` may list them, so whoever moves a name moves what may be written. Naming bays therefore takes the
//! right to change the configuration. The daemon does not have it, and takes no part in learning; it reads the names at
//! its next start, which a new station needs anyway before its bays are allowed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model::hint::Hint;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::error::{Mistake, Place};
use super::file::Source;
use super::{Config, ConfigError, NamedPath, drop_ins};

/// Name of the drop-in.
pub const FILE: &str = "bays.toml";
/// The loader skips it, because its extension is not `toml`.
const UNFINISHED: &str = ".bays.toml.new";
const HEAD: &str = "# Written by `prestagectl bays learn`. Names and paths can be changed here; other text is not kept.\n\n";
/// Longest name in characters: what fits a table and a label.
const LONGEST: usize = 40;
/// How udev's paths begin.
const PLACES: [&str; 6] = ["pci-", "platform-", "acpi-", "ccw-", "loop-", "unknown-"];

/// Why a bay cannot have a name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum NameError {
    #[error("the name of a bay must not be blank")]
    Empty,
    #[error("{0:?} has control characters")]
    Control(String),
    #[error("{0:?} is longer than {LONGEST} characters")]
    Long(String),
    #[error("{0:?} would be a pattern in admission.bays")]
    Pattern(String),
    #[error("{0:?} would be taken for a path in admission.bays")]
    Place(String),
    #[error("{name:?} is the name of the bay at {path}")]
    Taken { name: String, path: String },
}

impl Hint for NameError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Empty | Self::Control(_) | Self::Long(_) => return None,
            Self::Pattern(_) => "choose a name without *, ?, [ and ]".into(),
            Self::Place(_) => {
                format!("choose a name that begins with none of {}", PLACES.join(", "))
            }
            Self::Taken { .. } => "choose another name, or rename that bay first".into(),
        })
    }
}

/// Why a name was not learned.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum LearnedError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("no permission to write {path}")]
    NotPermitted {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Somebody else holds the drop-in.
    #[error("bays are being learned already")]
    Busy(PathBuf),
    /// To write the file would lose this key.
    #[error("{path}: {key}: only names of bays may stand in this file")]
    Foreign { path: PathBuf, key: String },
    /// A later file calls the bay something else.
    #[error("the name {name:?} would have no effect: a later file calls the bay {called:?}")]
    Overruled { path: PathBuf, name: String, called: String },
}

impl Hint for LearnedError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Name(error) => error.hint(),
            Self::Config(error) => error.hint(),
            Self::NotPermitted { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some("naming bays changes the configuration: sudo prestagectl bays learn".into())
            }
            Self::NotPermitted { .. } | Self::Write { .. } => None,
            Self::Busy(path) => Some(format!(
                "wait for the other prestagectl bays learn; it holds {}",
                path.display()
            )),
            Self::Foreign { key, .. } => {
                Some(format!("move {key} to another file in the same folder"))
            }
            Self::Overruled { path, .. } => Some(format!(
                "change the name there: it is one of the files in {} that sort after {FILE}",
                path.parent().unwrap_or(path).display()
            )),
        }
    }
}

/// The content of the drop-in.
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
    /// Locks the drop-in of a configuration file and checks that it can be written.
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
        create(&unfinished).and_then(|_| fs::remove_file(&unfinished)).map_err(failed)?;
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
    /// [`LearnedError`] if it cannot be read, or has other keys.
    pub fn bays(&self) -> Result<Vec<NamedPath>, LearnedError> {
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.unusable(Mistake::Read(source))),
        };
        let (_, table) = Source::parse(&self.file, text)?;
        if let Some(key) = table.keys().find(|key| *key != "bay") {
            return Err(LearnedError::Foreign { path: self.file.clone(), key: key.clone() });
        }
        let content: Content = table.try_into().map_err(|error: toml::de::Error| {
            self.unusable(Mistake::Toml(error.message().to_owned()))
        })?;
        Ok(content.bay)
    }

    fn unusable(&self, mistake: Mistake) -> LearnedError {
        ConfigError::new(Place { file: self.file.clone(), line: None }, mistake).into()
    }

    /// The configuration as it stands now.
    ///
    /// # Errors
    /// [`LearnedError::Config`]
    pub fn config(&self) -> Result<Config, LearnedError> {
        Ok(Config::load(&self.config)?)
    }

    /// Whether the bay at a path may have a name. Without a path: whether a bay that has no name yet may have it.
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

    /// Names the bay at a path; an earlier name is replaced. The file is replaced as a whole, after the configuration has
    /// been read with the new text and gives the bay this name.
    ///
    /// # Errors
    /// [`LearnedError`]; then the file is as it was.
    pub fn name(&self, name: &str, path: &str) -> Result<(), LearnedError> {
        let name = name.trim();
        self.check(name, Some(path))?;
        let pattern = glob::Pattern::escape(path);
        let mut bays = self.bays()?;
        bays.retain(|bay| bay.path != pattern);
        // A pattern that somebody wrote into this file must not win over the exact path.
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
        let mut file = create(&unfinished)?;
        file.write_all(text.as_bytes())?;
        // Whatever the umask: the file holds no secret, and `bays list` reads it without rights.
        file.set_permissions(PermissionsExt::from_mode(0o644))?;
        file.sync_all()?;
        fs::rename(&unfinished, &self.file)?;
        self.folder.sync_all()
    }
}

/// Creates the unfinished drop-in. What an interrupted run has left is removed, and a link of that name not followed.
fn create(unfinished: &Path) -> io::Result<File> {
    match fs::remove_file(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::create_new(unfinished),
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

/// Checks that a name can be used in tables, records and `admission.bays`.
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
        let long = "x".repeat(41);
        let place =
            "choose a name that begins with none of pci-, platform-, acpi-, ccw-, loop-, unknown-";
        let (pattern, other) = (
            "choose a name without *, ?, [ and ]",
            "choose another name, or rename that bay first",
        );
        for (name, expected, hint) in [
            ("", "the name of a bay must not be blank", None),
            ("a\u{7}", "\"a\\u{7}\" has control characters", None),
            (&long, &*format!("{long:?} is longer than 40 characters"), None),
            ("bay*", "\"bay*\" would be a pattern in admission.bays", Some(pattern)),
            (
                "pci-0000:01:00.0-nvme-1",
                "\"pci-0000:01:00.0-nvme-1\" would be taken for a path in admission.bays",
                Some(place),
            ),
            ("left", "\"left\" is the name of the bay at usb-1*", Some(other)),
            ("LEFT", "\"left\" is the name of the bay at usb-1*", Some(other)),
            ("right", "\"right\" is the name of the bay at usb-2", Some(other)),
        ] {
            let error = learned.name(name, "usb-3").unwrap_err();
            assert_eq!((&*error.to_string(), error.hint().as_deref()), (expected, hint));
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
        let folder = later.parent().unwrap().display();
        let error = learned.name("b", "usb-2").unwrap_err();
        let expected = "the name \"b\" would have no effect: a later file calls the bay \"z\"";
        assert_eq!(error.to_string(), expected);
        let hint = format!(
            "change the name there: it is one of the files in {folder} that sort after bays.toml"
        );
        assert_eq!(error.hint(), Some(hint));
        fs::write(&later, "[admision]\n").unwrap();
        assert!(matches!(learned.name("b", "usb-2"), Err(LearnedError::Config(_))));
        assert_eq!(fs::read(learned.file()).unwrap(), before);
        fs::remove_file(&later).unwrap();
        fs::write(learned.file(), "[admission]\narmed = true\n").unwrap();
        let error = learned.name("b", "usb-2").unwrap_err();
        let expected =
            format!("{folder}/bays.toml: admission: only names of bays may stand in this file");
        assert_eq!(error.to_string(), expected);
        let hint = "move admission to another file in the same folder";
        assert_eq!(error.hint().as_deref(), Some(hint));
    }
}
