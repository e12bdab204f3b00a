//! The configuration: one file and its drop-ins, checked once, at start.
//!
//! `prestaged.toml`, then `prestaged.toml.d/*.toml` in order of name; later keys win, key by key. An unknown key is an
//! error that names the key and the nearest known one: a misspelt limit must not silently be no limit.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::admission::{Overwrite, Policy};
use crate::layout::{Boot, Layout, LayoutError};
use crate::tools;
use crate::units::{ByteRate, Bytes};

/// Where the configuration is unless the command line or the environment says otherwise.
pub const DEFAULT_PATH: &str = "/etc/prestaged/prestaged.toml";
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
    /// A bay pattern that is none.
    #[error("admission.bays: {pattern:?} is not a glob pattern")]
    Pattern {
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
    /// `[[layout]]`
    pub layout: Vec<Layout>,
}

/// `[station]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Station {
    /// Name in every record.
    pub name: String,
}

/// `[media]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// Watched folder.
    pub inbox: PathBuf,
    /// Index of the image that is applied.
    pub image: u32,
}

/// `[store]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Folder of the masters.
    pub path: PathBuf,
    /// Disk space they may take.
    pub budget: Bytes,
    /// Press new media ahead for drive sizes already seen.
    pub press_ahead: bool,
}

/// `[ledger]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ledger {
    /// Database file.
    pub path: PathBuf,
}

/// `[control]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Unix socket of the HTTP API.
    pub socket: PathBuf,
    /// Its mode, in octal as text.
    pub mode: String,
    /// Its group, by name.
    pub group: Option<String>,
}

/// `[admission]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admission {
    /// Whether the station may write from the start.
    pub armed: bool,
    /// Buses whose drives may be imaged.
    pub buses: Vec<String>,
    /// Bays that belong to the station, as glob patterns.
    pub bays: Vec<String>,
    /// Smallest drive.
    pub min_size: Option<Bytes>,
    /// Largest drive.
    pub max_size: Option<Bytes>,
    /// What may be overwritten.
    pub overwrite: Overwrite,
}

/// `[replicate]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Replicate {
    /// Memory for chunks that drives share.
    pub memory: Bytes,
    /// A drive that stays below this fails.
    pub min_write_rate: Option<ByteRate>,
    /// How often a range that reads back wrong may be written again.
    pub rewrites: u32,
}

/// `[tools]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tools {
    /// Folders where mkntfs, mkfs.vfat and mcopy are looked for.
    pub search: Vec<String>,
}

impl Default for Station {
    fn default() -> Self {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { name }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self { inbox: "/srv/prestaged/media".into(), image: 1 }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            path: "/var/lib/prestaged/masters".into(),
            budget: Bytes(100 << 30),
            press_ahead: true,
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self { path: "/var/lib/prestaged/ledger.db".into() }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self { socket: DEFAULT_SOCKET.into(), mode: "0660".into(), group: None }
    }
}

impl Default for Replicate {
    fn default() -> Self {
        Self { memory: Bytes(1 << 30), min_write_rate: None, rewrites: 0 }
    }
}

impl Default for Tools {
    fn default() -> Self {
        Self { search: tools::FOLDERS.map(str::to_owned).to_vec() }
    }
}

impl Config {
    /// Reads a file and its drop-ins.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the key, and the nearest known key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let mut table = read(path)?;
        let drop_ins = PathBuf::from(format!("{}.d", path.display()));
        let mut files: Vec<PathBuf> = match std::fs::read_dir(&drop_ins) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(_) => Vec::new(),
        };
        files.retain(|file| file.extension().is_some_and(|e| e == "toml"));
        files.sort();
        for file in files {
            merge(&mut table, read(&file)?);
        }
        Self::from_table(table)
    }

    fn from_table(table: toml::Table) -> Result<Self, ConfigError> {
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
        Ok(config)
    }

    /// The admission policy.
    ///
    /// # Errors
    /// [`ConfigError::Pattern`] for a bay pattern that is none.
    pub fn policy(&self) -> Result<Policy, ConfigError> {
        let Admission { armed, buses, bays, min_size, max_size, overwrite } = &self.admission;
        let bays = bays
            .iter()
            .map(|pattern| {
                glob::Pattern::new(pattern)
                    .map_err(|source| ConfigError::Pattern { pattern: pattern.clone(), source })
            })
            .collect::<Result<_, _>>()?;
        Ok(Policy {
            armed: *armed,
            buses: buses.clone(),
            bays,
            min_size: *min_size,
            max_size: *max_size,
            overwrite: *overwrite,
        })
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

fn read(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: path.to_owned(),
        text: error.to_string().trim().to_owned(),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::from_table(text.parse().unwrap())
    }

    #[test]
    fn a_fresh_install_is_disarmed_and_allows_nothing() {
        let policy = parse("").unwrap().policy().unwrap();
        assert!(!policy.armed && policy.buses.is_empty() && policy.bays.is_empty());
        assert_eq!(policy.overwrite, Overwrite::BlankOrOurs);
    }

    #[test]
    fn the_contract_s_example_is_read() {
        let config = parse(
            r#"
            [station]
            name = "ci"
            [media]
            inbox = "/x/inbox"
            [store]
            path = "/x/store"
            budget = "20GiB"
            [ledger]
            path = "/x/ledger.db"
            [control]
            socket = "/x/control.sock"
            [admission]
            armed = true
            buses = ["loop"]
            bays = ["*"]
            overwrite = "any"
            [replicate]
            memory = "512MiB"
            min_write_rate = "5MB/s"
            rewrites = 0
            [[layout]]
            name = "uefi"
            boot = "none"
            partitions = [ { type = "esp", size = "300MiB" }, { type = "msr", size = "16MiB" },
                { type = "windows", size = "rest" }, { type = "recovery", size = "990MiB" } ]
            "#,
        )
        .unwrap();
        assert_eq!(config.store.budget, Bytes(20 << 30));
        assert_eq!(config.replicate.min_write_rate, Some(ByteRate(5_000_000)));
        assert!(!config.needs_boot_files());
    }

    fn windows(extra: &str) -> String {
        format!(
            "[[layout]]\nname = \"x\"\nboot = \"none\"\n\
             partitions = [{{ type = \"windows\", size = \"rest\", {extra} }}]"
        )
    }

    #[test]
    fn mistakes_name_the_key_and_the_cure() {
        for (text, expected) in [
            ("[admission]\narmd = true", "\"armed\""),
            ("[admision]\narmed = true", "\"admission\""),
            ("[store]\nbudget = \"many\"", "many"),
            ("[replicate]\nmin_write_rate = \"5MB\"", "5MB/s"),
            ("[replicate]\nmemory = \"1MiB\"", "64MiB"),
            ("[control]\nmode = \"rw\"", "octal"),
            ("[admission]\nbays = [\"a[\"]", "glob"),
            ("[[layout]]\nname = \"x\"\npartitions = []", "windows"),
            (&windows("attributes = \"0x8000000000000000\""), "drive letter"),
            (&windows("attributes = \"hidden\""), "attribute bits"),
            (&windows("file_system = \"fat32\""), "ntfs"),
            (&windows("name = \"a name that is far too long for a GPT entry\""), "36"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            let (found, wanted) = (error.to_lowercase(), expected.to_lowercase());
            assert!(found.contains(&wanted), "{text}: {error}");
        }
    }

    #[test]
    fn drop_ins_win_key_by_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prestaged.toml");
        let drop_ins = folder.path().join("prestaged.toml.d");
        std::fs::create_dir(&drop_ins).unwrap();
        std::fs::write(&path, "[admission]\nbuses = [\"usb\"]\nbays = [\"*\"]").unwrap();
        std::fs::write(drop_ins.join("10.toml"), "[admission]\nbuses = [\"loop\"]").unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(
            (config.admission.buses, config.admission.bays),
            (vec!["loop".into()], vec!["*".into()])
        );
    }
}
