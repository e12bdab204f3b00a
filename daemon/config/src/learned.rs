//! The drop-in with the names of bays that were learned, how a name is added to it, and how its bay is allowed.
//!
//! Names are kept in the configuration, not in the daemon's own state, because they take part in admission:
//! `admission.bays` may list them, so whoever moves a name moves what may be written. Naming bays therefore takes the
//! right to change the configuration. The daemon does not have it, and takes no part in learning; it reads the names at
//! its next start, which a new station needs anyway before its bays are allowed.
//!
//! Bays are allowed by lists in this same file. A list of a later file takes the place of an earlier one, so these begin
//! with all that the other files allow. Nothing is written with which the daemon would not start.

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
pub(super) const UNFINISHED: &str = ".bays.toml.new";
const HEAD: &str = "# Written by `prestagectl bays learn`. Names, paths and lists can be changed here; other text is not kept.\n\n";
/// Longest name in characters: what fits a table and a label.
const LONGEST: usize = 40;
/// How udev's paths begin.
pub(super) const PLACES: [&str; 6] = ["pci-", "platform-", "acpi-", "ccw-", "loop-", "unknown-"];

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
    #[error("{0:?} would be taken for a device, or for none")]
    Device(String),
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
            Self::Device(_) => "choose a name that is neither - nor begins with /".into(),
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
    #[error("{path}: {key}: only bays and what allows them may stand in this file")]
    Foreign { path: PathBuf, key: String },
    /// A later file gives the list anew.
    #[error("{key} in {path} would have no effect: {winner} gives the whole list anew")]
    Shadowed { path: PathBuf, key: &'static str, item: String, winner: String },
    /// A later file calls the bay something else.
    #[error("the name {name:?} would have no effect: a later file calls the bay {called:?}")]
    Overruled { path: PathBuf, name: String, called: String },
}

impl Hint for LearnedError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Name(error) => error.hint(),
            Self::Config(error) => error.hint(),
            Self::NotPermitted { .. } => {
                Some("naming bays changes the configuration: sudo prestagectl bays learn".into())
            }
            Self::Write { path, source } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Some(format!("make the file system of {} writable first", path.display()))
            }
            Self::Write { .. } => None,
            Self::Shadowed { item, winner, .. } => {
                Some(format!("add {item:?} to the list at {winner}, or remove the list there"))
            }
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
    #[serde(default, skip_serializing_if = "Allowed::is_silent")]
    admission: Allowed,
}

/// The lists that allow bays; what is absent is left to other files.
#[derive(Default, Serialize, Deserialize)]
struct Allowed {
    #[serde(skip_serializing_if = "Option::is_none")]
    buses: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bays: Option<Vec<String>>,
}

impl Allowed {
    fn is_silent(&self) -> bool {
        self.buses.is_none() && self.bays.is_none()
    }
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
        learned.content()?;
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
        Ok(self.content()?.bay)
    }

    fn content(&self) -> Result<Content, LearnedError> {
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::default()),
            Err(source) => return Err(self.unusable(Mistake::Read(source))),
        };
        let (_, table) = Source::parse(&self.file, text)?;
        let foreign = |key: String| LearnedError::Foreign { path: self.file.clone(), key };
        for (key, value) in &table {
            match (key.as_str(), value) {
                ("bay", _) => {}
                ("admission", toml::Value::Table(lists)) => {
                    if let Some(other) =
                        lists.keys().find(|key| !["bays", "buses"].contains(&key.as_str()))
                    {
                        return Err(foreign(format!("admission.{other}")));
                    }
                }
                _ => return Err(foreign(key.clone())),
            }
        }
        table.try_into().map_err(|error: toml::de::Error| {
            self.unusable(Mistake::Toml(error.message().to_owned()))
        })
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
            Some(NamedPath { name, path, .. }) => {
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
        let Content { bay: mut bays, mut admission } = self.content()?;
        // Whoever allowed the bay by its old name meant the bay.
        let old: Option<String> =
            bays.iter().find(|bay| bay.path == pattern).map(|bay| bay.name.trim().to_owned());
        let listed = admission.bays.iter_mut().flatten();
        for item in listed.filter(|item| old.as_deref() == Some(item)) {
            name.clone_into(item);
        }
        // The bay has another name, and the same lamps.
        let lamp = bays.iter().find(|bay| bay.path == pattern).and_then(|bay| bay.lamp.clone());
        bays.retain(|bay| bay.path != pattern);
        // A pattern that somebody wrote into this file must not win over the exact path.
        let matches =
            |bay: &NamedPath| glob::Pattern::new(&bay.path).is_ok_and(|p| p.matches(path));
        let at = bays.iter().position(matches).unwrap_or(bays.len());
        bays.insert(at, NamedPath { name: name.to_owned(), path: pattern, lamp });
        let (config, text) = self.tried(&Content { bay: bays, admission })?;
        let called = config.policy()?.name_of(path).unwrap_or_default().to_owned();
        if called != name {
            let path = self.file.clone();
            return Err(LearnedError::Overruled { path, name: name.to_owned(), called });
        }
        self.replace(&text).map_err(|source| failed(&self.file, source))
    }

    /// Allows drives on a bus in the bay of this name and path, beside all that the configuration allows already.
    ///
    /// # Errors
    /// [`LearnedError`]; then the file is as it was.
    pub fn allow(&self, name: &str, path: &str, bus: &str) -> Result<(), LearnedError> {
        let config = self.config()?;
        let mut content = self.content()?;
        let mut added = Vec::new();
        if !config.policy()?.allows(path, name) {
            let name = glob::Pattern::escape(name);
            content.admission.bays = Some([config.admission.bays, vec![name.clone()]].concat());
            added.push(("admission.bays", name));
        }
        if !config.admission.buses.iter().any(|listed| listed == bus) {
            let bus = bus.to_owned();
            content.admission.buses = Some([config.admission.buses, vec![bus.clone()]].concat());
            added.push(("admission.buses", bus));
        }
        if added.is_empty() {
            return Ok(());
        }
        let (config, text) = self.tried(&content)?;
        for (key, item) in added {
            let winner = config.origin.place(key).unwrap_or_default();
            if winner.file != self.file {
                let (path, winner) = (self.file.clone(), winner.to_string());
                return Err(LearnedError::Shadowed { path, key, item, winner });
            }
        }
        self.replace(&text).map_err(|source| failed(&self.file, source))
    }

    /// The text of a content, and the configuration with it.
    fn tried(&self, content: &Content) -> Result<(Config, String), LearnedError> {
        let text = toml::to_string(content).map_err(io::Error::other);
        let text = HEAD.to_owned() + &text.map_err(|source| failed(&self.file, source))?;
        let config = Config::load_with(&self.config, Some((&self.file, &text)))?;
        Ok((config, text))
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
        io::ErrorKind::PermissionDenied => LearnedError::NotPermitted { path, source },
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
    // Commands take both for a drive, and a bay of that name would have them mean another.
    if name.starts_with('/') || name == "-" {
        return Err(NameError::Device(text()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
