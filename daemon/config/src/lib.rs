//! The configuration: one file and its drop-ins, checked once, at start.
//!
//! - Owns the keys, their defaults and their manual ([`keys`]), the drop-in with the names of bays ([`learned`]), and the
//!   recipes of media ([`recipe`]), which are checked in the same way.
//! - May touch the configuration file and its drop-ins; [`learned`] writes one of them.
//! - May never be read again by a running daemon, nor act on a key.
//!
//! `prestaged.toml`, then `prestaged.toml.d/*.toml` in order of name; later keys win, key by key. Each file is checked on
//! its own before it is merged, so that a mistake names its file and line. An unknown key is a mistake: a misspelt limit
//! must not silently be no limit.
//!
//! Later lists replace earlier ones as a whole, because a list that a later file could only lengthen could not be
//! narrowed by it, and most lists say what may be erased. But `[[bay]]` tables add up: a file that names one bay must not
//! take away the names in another file. What cannot work is an error; what works and is probably not meant is a [`Doubt`].

#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "writes the drop-in with names of bays, and knows no drive"
)]

mod brokers;
mod check;
mod dates;
mod doubts;
mod error;
mod file;
mod gate;
mod health;
pub mod keys;
mod lamps;
pub mod learned;
pub mod orders;
pub mod recipe;
mod sections;
#[cfg(test)]
mod tests;
mod webhooks;

use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use brokers::Broker;
pub use error::{ConfigError, Doubt};
pub use gate::GATE_USER;
pub use lamps::LAMPS_USER;
pub use sections::{
    Admission, Control, Gate, Guests, Health, Labels, Lamps, Ledger, Media, NamedPath, Orders,
    PassedLamp, Replicate, SignerKey, Station, Store, Tools,
};
pub use webhooks::Webhook;

use check::Wrong;
use error::{Mistake, Place};
use file::Source;
use model::admission::Policy;
use model::job::Limits;
use model::layout::Layout;

/// The file that is read unless the command line or the environment names another.
pub const DEFAULT_PATH: &str = "/etc/prestaged/prestaged.toml";
/// The default layout, written as in a file.
pub const DEFAULT_LAYOUT: &str = r#"[[layout]]
name = "uefi"
boot = "prestaged"
partitions = [ { type = "esp", size = "300MiB" }, { type = "msr", size = "16MiB" },
               { type = "windows", size = "rest" }, { type = "recovery", size = "990MiB" } ]
"#;
/// Environment variable that names another file.
pub const VARIABLE: &str = "PRESTAGED_CONFIG";
/// The control socket unless the configuration names another.
pub const DEFAULT_SOCKET: &str = "/run/prestaged/control.sock";

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "a section each")]
pub struct Config {
    /// Absolute path of the file that was read; empty if there was none.
    #[serde(skip)]
    pub file: PathBuf,
    #[serde(skip)]
    origin: Origin,
    pub station: Station,
    pub media: Media,
    pub store: Store,
    pub ledger: Ledger,
    pub orders: Orders,
    pub labels: Labels,
    pub control: Control,
    pub gate: Gate,
    pub lamps: Lamps,
    pub admission: Admission,
    pub health: Health,
    pub replicate: Replicate,
    pub tools: Tools,
    pub bay: Vec<NamedPath>,
    pub layout: Vec<Layout>,
}

/// The files that a configuration was read from, each before those that win over it.
#[derive(Clone, Debug, Default)]
struct Origin {
    sources: Vec<Source>,
    /// What else lies among the drop-ins.
    ignored: Vec<PathBuf>,
}

impl Origin {
    /// Where a key such as `admission.bays` or `layout.1.name` is given: in the last file that gives it.
    fn place(&self, key: &str) -> Option<Place> {
        self.sources.iter().rev().find_map(|source| source.place_of(key))
    }

    /// Where a key of the bay of this name is given.
    fn place_in_bay(&self, name: &str, key: &str) -> Option<Place> {
        self.sources
            .iter()
            .rev()
            .find_map(|source| source.place_of(&format!("bay.{}.{key}", source.bay(name)?)))
    }
}

impl Config {
    /// Reads a file and its drop-ins.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the line and the key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, None)
    }

    /// Reads them with another text for one of the drop-ins, to find out whether that text can be used.
    pub(crate) fn load_with(
        path: &Path,
        instead: Option<(&Path, &str)>,
    ) -> Result<Self, ConfigError> {
        let mut mistakes = Vec::new();
        let mut sources = Vec::new();
        let mut table = toml::Table::new();
        match Source::read(path) {
            Ok((main, read)) => {
                sources.push(main);
                table = read;
            }
            Err(error) => mistakes.push(error),
        }
        let DropIns { mut files, ignored } = DropIns::beside(path)?;
        files.extend(instead.map(|(file, _)| file.to_owned()));
        files.sort();
        files.dedup();
        for file in files {
            let read = match instead {
                Some((replaced, text)) if replaced == file => Source::parse(&file, text.into()),
                _ => Source::read(&file),
            };
            match read {
                Ok((source, over)) => {
                    merge_bays(&mut table, over);
                    sources.push(source);
                }
                Err(error) => mistakes.push(error),
            }
        }
        ConfigError::joined(mistakes)?;
        let file = std::path::absolute(path).map_err(|error| {
            let place = Place { file: path.to_owned(), line: None };
            ConfigError::new(place, Mistake::Read(error))
        })?;
        let config = Self::merged(table, Origin { sources, ignored })?;
        Ok(Self { file, ..config })
    }

    /// The configuration that a single table makes.
    ///
    /// # Errors
    /// [`ConfigError`] names the key.
    pub fn from_table(table: toml::Table) -> Result<Self, ConfigError> {
        Self::merged(table, Origin::default())
    }

    fn merged(table: toml::Table, origin: Origin) -> Result<Self, ConfigError> {
        let mut config: Self = table.try_into().map_err(|error: toml::de::Error| {
            ConfigError::new(Place::default(), Mistake::Toml(error.message().to_owned()))
        })?;
        config.origin = origin;
        let placed = |wrong: Wrong| {
            let place = config.origin.place(&wrong.at).unwrap_or_default();
            ConfigError::new(place, wrong.mistake)
        };
        ConfigError::joined(config.check().into_iter().map(placed).collect())?;
        config.check_together()?;
        if config.layout.is_empty() {
            config.layout.push(Layout::default());
        }
        Ok(config)
    }

    /// Where a key such as `admission.bays` is given, as `FILE:LINE`; `None` where its default holds.
    pub fn place(&self, key: &str) -> Option<String> {
        self.origin.place(key).map(|place| place.to_string())
    }

    /// A mistake in a value that only a look at the machine shows.
    pub fn mistake(&self, key: &str, what: impl Into<String>, hint: &str) -> ConfigError {
        let place = self.origin.place(key).unwrap_or_default();
        ConfigError::new(place, Mistake::unusable(key, what, hint))
    }

    /// The same about a value in a list: `at` says where, such as `media.signers.0.key`.
    pub fn mistake_at(
        &self,
        at: &str,
        key: &str,
        what: impl Into<String>,
        hint: &str,
    ) -> ConfigError {
        let place = self.origin.place(at).unwrap_or_default();
        ConfigError::new(place, Mistake::unusable(key, what, hint))
    }

    /// A doubt about a value.
    pub fn doubt(&self, key: &str, what: impl Into<String>) -> Doubt {
        Doubt::new(self.origin.place(key), key, what)
    }

    /// The admission policy.
    ///
    /// # Errors
    /// [`ConfigError`] for a pattern that is not a glob pattern.
    pub fn policy(&self) -> Result<Policy, ConfigError> {
        self.check_policy().map_err(|wrong| ConfigError::new(Place::default(), wrong.mistake))
    }

    /// When a drive is given up, and how often it is written again.
    pub fn limits(&self) -> Limits {
        Limits {
            min_rate: self.replicate.min_write_rate,
            min_batch_share: self.replicate.min_batch_share,
            window: self.replicate.rate_window.0,
            stall: self.replicate.stall_timeout.0,
            rewrites: self.replicate.rewrites,
        }
    }

    /// The layout that drives get.
    pub fn chosen_layout(&self) -> Layout {
        self.layout.first().cloned().unwrap_or_default()
    }

    /// The permissions of the control socket.
    ///
    /// # Errors
    /// [`ConfigError`] if they are not octal.
    pub fn socket_mode(&self) -> Result<u32, ConfigError> {
        self.check_mode().map_err(|wrong| ConfigError::new(Place::default(), wrong.mistake))
    }
}

/// The folder of a configuration file's drop-ins.
fn drop_ins(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.d", path.display()))
}

/// What lies in the folder of drop-ins.
struct DropIns {
    files: Vec<PathBuf>,
    ignored: Vec<PathBuf>,
}

impl DropIns {
    /// Lists the folder beside a configuration file; there need not be one.
    fn beside(path: &Path) -> Result<Self, ConfigError> {
        let folder = drop_ins(path);
        let unreadable = |error| {
            ConfigError::new(Place { file: folder.clone(), line: None }, Mistake::Read(error))
        };
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            entries => entries
                .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
                .map_err(unreadable)?,
        };
        let (files, mut ignored): (Vec<PathBuf>, Vec<PathBuf>) =
            entries.into_iter().partition(|file| file.extension().is_some_and(|e| e == "toml"));
        ignored.sort();
        Ok(Self { files, ignored })
    }
}

/// Merges a file into the ones before it. Its bays stand before theirs, because the first bay that matches gives the
/// name, and they replace those with the same name or the same path.
fn merge_bays(base: &mut toml::Table, mut over: toml::Table) {
    if let (Some(toml::Value::Array(earlier)), Some(toml::Value::Array(later))) =
        (base.get("bay"), over.get_mut("bay"))
    {
        let same = |a: &toml::Value, b: &toml::Value, key: &str| {
            let text =
                |bay: &toml::Value| bay.get(key)?.as_str().map(|text| text.trim().to_owned());
            text(a).is_some() && text(a) == text(b)
        };
        let replaced = |old: &toml::Value| {
            later.iter().any(|new| same(old, new, "name") || same(old, new, "path"))
        };
        let kept: Vec<toml::Value> = earlier.iter().filter(|old| !replaced(old)).cloned().collect();
        later.extend(kept);
    }
    merge(base, over);
}

/// Later tables win key by key; arrays are replaced as a whole.
fn merge(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(value)) => merge(below, value),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}
