//! The configuration: one file and its drop-ins, checked once, at start.
//!
//! `prestaged.toml`, then `prestaged.toml.d/*.toml` in order of name; later keys win, key by key. An unknown key is an
//! error that names the key and the nearest known one: a misspelt limit must not silently be no limit.
//!
//! Lists are replaced as a whole, but `[[bay]]` tables add up: what is named in one file must not take away the names in
//! another.

pub mod keys;
pub mod learned;
mod sections;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use sections::{
    Admission, Control, Ledger, Media, NamedPath, Replicate, Station, Store, Tools,
};

use crate::admission::{NamedBay, Policy};
use crate::layout::{Boot, Layout, LayoutError};
use crate::replicate::engine::Limits;
use crate::units::Bytes;

/// Where the configuration is unless the command line or the environment says otherwise.
pub const DEFAULT_PATH: &str = "/etc/prestaged/prestaged.toml";
/// The default layout as it is written in the file.
pub const DEFAULT_LAYOUT: &str = r#"[[layout]]
name = "uefi"
boot = "prestaged"
partitions = [ { type = "esp", size = "300MiB" }, { type = "msr", size = "16MiB" },
               { type = "windows", size = "rest" }, { type = "recovery", size = "990MiB" } ]
"#;
/// Environment variable that names another file.
pub const VARIABLE: &str = "PRESTAGED_CONFIG";
/// Control socket unless configured otherwise.
pub const DEFAULT_SOCKET: &str = "/run/prestaged/control.sock";

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// File.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not TOML.
    #[error("{path}: {text}")]
    Syntax {
        /// File.
        path: PathBuf,
        /// Where and why.
        text: String,
    },
    /// A key or a value is wrong.
    #[error("{text}{}", hint.as_ref().map(|h| format!("; did you mean {h:?}?")).unwrap_or_default())]
    Value {
        /// What is wrong.
        text: String,
        /// The nearest known key.
        hint: Option<String>,
    },
    /// A layout that cannot be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A pattern that is none.
    #[error("{key}: {pattern:?} is not a glob pattern")]
    Pattern {
        /// Where it stands.
        key: &'static str,
        /// The text.
        pattern: String,
        /// Why.
        #[source]
        source: glob::PatternError,
    },
}

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The file that was read, as an absolute path; empty if there was none.
    #[serde(skip)]
    pub file: PathBuf,
    /// `[station]`
    pub station: Station,
    /// `[media]`
    pub media: Media,
    /// `[store]`
    pub store: Store,
    /// `[ledger]`
    pub ledger: Ledger,
    /// `[control]`
    pub control: Control,
    /// `[admission]`
    pub admission: Admission,
    /// `[replicate]`
    pub replicate: Replicate,
    /// `[tools]`
    pub tools: Tools,
    /// `[[bay]]`
    pub bay: Vec<NamedPath>,
    /// `[[layout]]`
    pub layout: Vec<Layout>,
}

impl Config {
    /// Reads a file and its drop-ins.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the key, and the nearest known key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, None)
    }

    /// The same with another text for one of the drop-ins, to find out whether that may stand there.
    pub(crate) fn load_with(
        path: &Path,
        instead: Option<(&Path, &str)>,
    ) -> Result<Self, ConfigError> {
        let mut table = read(path)?;
        let mut files: Vec<PathBuf> = match std::fs::read_dir(drop_ins(path)) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(_) => Vec::new(),
        };
        files.retain(|file| file.extension().is_some_and(|e| e == "toml"));
        files.extend(instead.map(|(file, _)| file.to_owned()));
        files.sort();
        files.dedup();
        for file in files {
            let over = match instead {
                Some((replaced, text)) if replaced == file => parse(&file, text)?,
                _ => read(&file)?,
            };
            merge_bays(&mut table, over);
        }
        let file = std::path::absolute(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Ok(Self { file, ..Self::from_table(table)? })
    }

    pub(crate) fn from_table(table: toml::Table) -> Result<Self, ConfigError> {
        let mut config: Self = table.try_into().map_err(|error: toml::de::Error| {
            let text = error.to_string();
            ConfigError::Value { hint: nearest(&text), text: text.trim().replace('\n', " ") }
        })?;
        if config.layout.is_empty() {
            config.layout.push(Layout::default());
        }
        for layout in &config.layout {
            layout.check()?;
        }
        config.policy()?;
        config.socket_mode()?;
        let value = |text: &str| Err(ConfigError::Value { text: text.into(), hint: None });
        if config.media.image == 0 {
            return value("media.image counts from 1");
        }
        if config.replicate.memory < Bytes::mib(64) {
            return value("replicate.memory: at least 64MiB are needed to keep drives busy");
        }
        if let (Some(min), Some(max)) = (config.admission.min_size, config.admission.max_size)
            && min > max
        {
            return value("admission.min_size is larger than admission.max_size: no drive fits");
        }
        if config.replicate.rate_window.0.is_zero() || config.replicate.stall_timeout.0.is_zero() {
            return value("replicate: rate_window and stall_timeout must be longer than nothing");
        }
        let mut names: Vec<&str> = config.bay.iter().map(|bay| bay.name.trim()).collect();
        if names.iter().any(|name| name.is_empty() || name.contains(char::is_control)) {
            return value("[[bay]]: a name must be printable text");
        }
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let text = format!("[[bay]]: the name {:?} is given twice", twice[0]);
            return Err(ConfigError::Value { text, hint: None });
        }
        Ok(config)
    }

    /// The admission policy.
    ///
    /// # Errors
    /// [`ConfigError::Pattern`] for a pattern that is none.
    pub fn policy(&self) -> Result<Policy, ConfigError> {
        let admission = &self.admission;
        let named = |bay: &NamedPath| -> Result<NamedBay, ConfigError> {
            let path = pattern("bay.path", &bay.path)?;
            Ok(NamedBay { name: bay.name.trim().to_owned(), path })
        };
        let closed = Policy::closed();
        Ok(Policy {
            armed: admission.armed,
            buses: admission.buses.clone(),
            bays: patterns("admission.bays", &admission.bays)?,
            named: self.bay.iter().map(named).collect::<Result<_, _>>()?,
            models: patterns("admission.models", &admission.models)?,
            serials: patterns("admission.serials", &admission.serials)?,
            sizes: admission.sizes.clone(),
            size_tolerance: admission.size_tolerance.unwrap_or(closed.size_tolerance),
            min_size: admission.min_size,
            max_size: admission.max_size,
            overwrite: admission.overwrite,
            reimage: admission.reimage,
        })
    }

    /// The limits of jobs.
    pub fn limits(&self) -> Limits {
        Limits {
            min_rate: self.replicate.min_write_rate,
            min_batch_share: self.replicate.min_batch_share,
            window: self.replicate.rate_window.0,
            stall: self.replicate.stall_timeout.0,
            rewrites: self.replicate.rewrites,
        }
    }

    /// What is not wrong but probably not meant either.
    pub fn doubts(&self) -> Vec<String> {
        let known = |bus: &&String| !BUSES.contains(&bus.as_str());
        let unknown = self.admission.buses.iter().filter(known);
        let bus = |bus: &String| {
            format!(
                "admission.buses: no drive is known to be on {bus:?}; known are {}",
                BUSES.join(", ")
            )
        };
        let relative =
            [&self.media.inbox, &self.store.path, &self.ledger.path, &self.control.socket];
        let relative = relative.into_iter().filter(|path| path.is_relative());
        let path = |path: &PathBuf| {
            format!("{} depends on the folder the station is started in", path.display())
        };
        unknown.map(bus).chain(relative.map(path)).collect()
    }

    /// The layout drives get.
    pub fn chosen_layout(&self) -> Layout {
        self.layout.first().cloned().unwrap_or_default()
    }

    /// Whether media must bring boot files.
    pub fn needs_boot_files(&self) -> bool {
        self.chosen_layout().boot == Boot::Prestaged
    }

    /// Mode of the control socket.
    ///
    /// # Errors
    /// [`ConfigError::Value`] if it is not octal.
    pub fn socket_mode(&self) -> Result<u32, ConfigError> {
        let mode = u32::from_str_radix(&self.control.mode, 8).ok().filter(|mode| *mode <= 0o777);
        mode.ok_or_else(|| ConfigError::Value {
            text: format!(
                "control.mode: {:?} is not an octal mode such as \"0660\"",
                self.control.mode
            ),
            hint: None,
        })
    }
}

/// What [`crate::hotplug`] calls buses: udev's `ID_BUS`, and its own words where udev has none.
const BUSES: [&str; 9] =
    ["ata", "scsi", "usb", "nvme", "mmc", "virtio", "loop", "ieee1394", "cciss"];

fn pattern(key: &'static str, text: &str) -> Result<glob::Pattern, ConfigError> {
    glob::Pattern::new(text).map_err(|source| ConfigError::Pattern {
        key,
        pattern: text.to_owned(),
        source,
    })
}

fn patterns(key: &'static str, texts: &[String]) -> Result<Vec<glob::Pattern>, ConfigError> {
    texts.iter().map(|text| pattern(key, text)).collect()
}

/// The folder of a configuration file's drop-ins.
fn drop_ins(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.d", path.display()))
}

fn read(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<toml::Table, ConfigError> {
    text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: path.to_owned(),
        text: error.to_string().trim().to_owned(),
    })
}

/// A file over the ones before it. Its bays stand before theirs, because the first that matches gives the name, and in
/// place of those that have the same name or the same path.
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

/// For serde's "unknown field `x`, expected one of `a`, `b`": the expected name nearest to `x`.
fn nearest(text: &str) -> Option<String> {
    let (_, rest) =
        text.split_once("unknown field `").or_else(|| text.split_once("unknown variant `"))?;
    let mut quoted = rest.split('`');
    let wrong = quoted.next()?;
    let known: Vec<&str> = quoted.skip(1).step_by(2).collect();
    let near = known.into_iter().map(|k| (strsim::jaro_winkler(wrong, k), k));
    let best = near.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.7).then(|| best.1.to_owned())
}
