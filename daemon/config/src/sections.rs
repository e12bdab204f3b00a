//! The sections of the configuration file and their defaults. What each key does is said in [`super::keys`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::brokers::Broker;
use super::webhooks::Webhook;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::DEFAULT_SOCKET;
use model::admission::{BlankCheck, Overwrite};
use model::digest::HashPath;
use model::offer::Offer;
use model::old_data::OldDataPolicy;
use model::units::{ByteRate, Bytes, Period, Share};

/// Where Debian installs programs. Never `$PATH`: a station started by hand and one started by systemd must run the same
/// programs.
const TOOL_FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// `[station]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in `keys`")]
pub struct Station {
    pub name: String,
}

/// `[media]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in `keys`")]
pub struct Media {
    pub inbox: PathBuf,
    pub image: u32,
    /// The offer of media that nothing else is said of.
    pub offer: Offer,
    /// By file name, to which drives the media is made available.
    pub offers: BTreeMap<String, Offer>,
    /// By file name, the last day on which the media's certificate is valid. The certificate is encrypted inside the
    /// media, so the station cannot read the day from it.
    pub expires: BTreeMap<String, Date>,
    /// Whose signatures count; if there is nobody, media needs none.
    pub signers: Vec<SignerKey>,
    /// A folder with signed lists of signers.
    pub signer_lists: Option<PathBuf>,
}

/// `[[media.signers]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in `keys`")]
pub struct SignerKey {
    pub name: String,
    /// A public key as PEM, or the path of a file that holds one.
    pub key: String,
    /// Glob patterns; all products if empty.
    #[serde(default)]
    pub products: Vec<String>,
    #[serde(default = "one")]
    pub threshold: u32,
}

fn one() -> u32 {
    1
}

/// `[store]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in `keys`")]
pub struct Store {
    pub path: PathBuf,
    pub budget: Bytes,
    pub press_ahead: bool,
    pub derive: bool,
}

/// `[ledger]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in `keys`")]
pub struct Ledger {
    pub path: PathBuf,
    pub key: Option<PathBuf>,
}

/// `[orders]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in `keys`")]
pub struct Orders {
    pub inbox: Option<PathBuf>,
    pub results: Option<PathBuf>,
}

/// `[labels]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in `keys`")]
pub struct Labels {
    pub template: Option<PathBuf>,
}

/// `[control]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in `keys`")]
pub struct Control {
    pub socket: PathBuf,
    /// In octal.
    pub mode: String,
    pub group: Option<String>,
    /// On which nothing can be asked for.
    pub view_socket: Option<PathBuf>,
    pub view_group: Option<String>,
}

/// `[gate]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in `keys`")]
pub struct Gate {
    /// The gate does not start without it.
    pub listen: Option<String>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub accounts: Option<PathBuf>,
    pub guests: Guests,
    pub hosts: Vec<String>,
    pub origins: Vec<String>,
    pub operate: bool,
    pub arming: bool,
    /// As whom it runs; [`super::GATE_USER`] if absent.
    pub user: Option<String>,
    pub state: PathBuf,
    /// Who is told what has happened.
    pub webhooks: Vec<Webhook>,
    /// Who passes on what has happened.
    pub brokers: Vec<Broker>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            listen: None,
            certificate: None,
            key: None,
            accounts: None,
            guests: Guests::default(),
            hosts: Vec::new(),
            origins: Vec::new(),
            operate: false,
            arming: false,
            user: None,
            state: "/var/lib/prestaged-gate".into(),
            webhooks: Vec::new(),
            brokers: Vec::new(),
        }
    }
}

/// Who may look without signing in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Guests {
    Nobody,
    #[default]
    Loopback,
    Everybody,
}

/// `[lamps]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in `keys`")]
pub struct Lamps {
    pub passed: PassedLamp,
    pub locate_for: Period,
    pub sysfs: PathBuf,
    /// Where it is kept which lamps were lit.
    pub state: PathBuf,
    /// As whom the lamps are switched; [`super::LAMPS_USER`] if absent.
    pub user: Option<String>,
}

/// Which lamp of a bay shows that its drive has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum PassedLamp {
    #[default]
    Off,
    Ok,
    Locate,
}

/// `[admission]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in `keys`")]
pub struct Admission {
    pub armed: bool,
    pub buses: Vec<String>,
    /// Names of bays, or glob patterns over udev's `ID_PATH`.
    pub bays: Vec<String>,
    pub min_size: Option<Bytes>,
    pub max_size: Option<Bytes>,
    pub overwrite: Overwrite,
    pub blank_check: BlankCheck,
    /// Glob patterns; all models if empty.
    pub models: Vec<String>,
    /// Glob patterns; all serial numbers if empty.
    pub serials: Vec<String>,
    /// All capacities if empty.
    pub sizes: Vec<Bytes>,
    /// How far a capacity may differ from a listed one.
    pub size_tolerance: Option<Share>,
    /// Whether a drive that has passed with the same media is imaged again.
    pub reimage: bool,
}

/// `[health]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in `keys`")]
pub struct Health {
    /// On which the program answers that asks drives; without it, none is asked.
    pub socket: Option<PathBuf>,
    pub timeout: Period,
    pub require: bool,
    pub refuse_failed_assessment: bool,
    pub max_hours: Option<u32>,
    pub max_reallocated: Option<u32>,
    pub max_pending: Option<u32>,
    pub max_uncorrectable: Option<u32>,
    pub max_media_errors: Option<u32>,
    pub max_percentage_used: Option<u32>,
    pub min_available_spare: Option<u32>,
}

/// `[[bay]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in `keys`")]
pub struct NamedPath {
    pub name: String,
    /// Glob pattern over udev's `ID_PATH`.
    pub path: String,
    /// Where its lamps are; found by the drive in it if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lamp: Option<String>,
}

/// `[replicate]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Replicate {
    /// Memory for the data in flight to all drives together.
    pub memory: Bytes,
    /// A drive that writes or reads more slowly fails.
    pub min_write_rate: Option<ByteRate>,
    /// A drive whose rate is below this share of the median of the other drives of its model fails.
    pub min_batch_share: Option<Share>,
    /// Time over which the rate is measured for both.
    pub rate_window: Period,
    /// A drive that leaves one request unanswered for this long fails.
    pub stall_timeout: Period,
    /// How often a range that reads back wrong may be written again.
    pub rewrites: u32,
    /// What is done about what a drive held where the master writes nothing.
    pub old_data: OldDataPolicy,
    /// How chunks are hashed; what is fastest if absent.
    pub hashing: Option<HashPath>,
}

/// `[tools]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tools {
    /// Folders in which mkntfs, mkfs.vfat, mcopy, hivexsh and blkid are looked for.
    pub search: Vec<String>,
    /// User that reads media and presses masters; `prestaged`, or else `nobody`, if absent.
    pub user: Option<String>,
}

impl Default for Station {
    fn default() -> Self {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { name }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            inbox: "/srv/prestaged/media".into(),
            image: 1,
            offer: Offer::Automatic,
            offers: BTreeMap::new(),
            expires: BTreeMap::new(),
            signers: Vec::new(),
            signer_lists: None,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            path: "/var/lib/prestaged/masters".into(),
            budget: Bytes(100 << 30),
            press_ahead: true,
            derive: true,
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self { path: "/var/lib/prestaged/ledger.db".into(), key: None }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: DEFAULT_SOCKET.into(),
            mode: "0660".into(),
            group: None,
            view_socket: None,
            view_group: None,
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            socket: None,
            timeout: Period::seconds(5),
            require: false,
            // No customer wants a drive that says itself that it fails; every other limit is a customer's choice.
            refuse_failed_assessment: true,
            max_hours: None,
            max_reallocated: None,
            max_pending: None,
            max_uncorrectable: None,
            max_media_errors: None,
            max_percentage_used: None,
            min_available_spare: None,
        }
    }
}

impl Default for Lamps {
    fn default() -> Self {
        Self {
            passed: PassedLamp::Off,
            // Time to walk to the rack and look.
            locate_for: Period::seconds(120),
            sysfs: "/sys".into(),
            state: "/var/lib/prestaged-lamps/lamps.json".into(),
            user: None,
        }
    }
}

impl Default for Replicate {
    fn default() -> Self {
        Self {
            memory: Bytes(1 << 30),
            min_write_rate: None,
            min_batch_share: None,
            rate_window: Period::seconds(10),
            // Longer than the kernel's own patience with a SCSI or NVMe command, 30 s, and one retry.
            stall_timeout: Period::seconds(120),
            rewrites: 0,
            old_data: OldDataPolicy::Discard,
            hashing: None,
        }
    }
}

impl Default for Tools {
    fn default() -> Self {
        Self { search: TOOL_FOLDERS.map(str::to_owned).to_vec(), user: None }
    }
}
