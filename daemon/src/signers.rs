//! Whose signatures media needs: the signers of the configuration, or those of the last of the signed lists that have taken
//! their place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use config::{Config, ConfigError};
use model::digest::Digest;
use model::failure::chain;
use model::hint::Hint as _;
use model::signers::{LARGEST_LIST, ListMistake, ListedSigner, SignerList};
use parcel::{Roster, RosterError, SuccessionError};
use record::file::ordinary;
use record::ledger::Ledger;
use record::signer_list::{InForce, Known};
use signing::{Envelope, EnvelopeError};

/// When it is tried again to note which signers are in force.
const AGAIN: Duration = Duration::from_secs(1);
/// How PEM begins.
const PEM: &str = "-----BEGIN";
/// No key is longer.
const LONGEST: u64 = 64 << 10;

/// The signers in force.
#[derive(Clone, Debug)]
pub struct Trust {
    /// They themselves.
    pub roster: Roster,
    /// The list that they come from, as the ledger notes it.
    pub in_force: InForce,
}

impl Trust {
    /// Their names, each with the beginning of its key's name.
    pub fn names(&self) -> Vec<String> {
        let name = |(name, key): (&str, Digest)| {
            let key = key.to_string();
            format!("{name} (key {})", key.get(..16).unwrap_or(&key))
        };
        self.roster.keys().map(name).collect()
    }

    /// The number of the signed list that they come from; `None` if they are the configuration's.
    pub fn number(&self) -> Option<u64> {
        Some(self.in_force.number()).filter(|number| *number > 0)
    }

    /// What is to be told where lists begin anew, and keys may count again that were given up.
    pub fn begins_anew(&self, known: Option<&Known>) -> Option<String> {
        let number = self.in_force.begins_anew(known?)?;
        Some(format!(
            "list {number} of signers was in force; [[media.signers]] is another now, so lists begin anew, and these are trusted"
        ))
    }

    /// Whether the list that was in force before is among those that are followed.
    ///
    /// # Errors
    /// [`ConfigError`] if not.
    pub fn goes_on_from(&self, config: &Config, known: Option<&Known>) -> Result<(), ConfigError> {
        known.map_or(Ok(()), |known| self.in_force.follows(known)).map_err(|error| {
            let hint = "put the lists back that were in media.signer_lists; or begin anew with the signers whom you \
                        trust now, in [[media.signers]]";
            config.mistake_at("media.signer_lists", "[media] signer_lists", error.to_string(), hint)
        })
    }

    /// Has the ledger know which signers are in force, so that no earlier ones are again. It is written as soon as the ledger
    /// can be.
    ///
    /// # Errors
    /// If later ones were in force before.
    pub fn keep_in(&self, config: &Config, ledger: &Ledger) -> anyhow::Result<()> {
        let (now, known) = (self.in_force.clone(), ledger.signers_in_force()?);
        self.goes_on_from(config, known.as_ref())?;
        if let Some(told) = self.begins_anew(known.as_ref()) {
            tracing::warn!("{told}: {}", self.names().join(", "));
        }
        // Nobody was listed, and nobody is.
        let is_nothing = known.is_none() && self.roster.listed().is_empty();
        if is_nothing || known.is_some_and(|known| now.is(&known)) {
            return Ok(());
        }
        let (ledger, listed) = (ledger.clone(), serde_json::json!(self.roster.listed()));
        let note = move || {
            let mut is_told = false;
            while let Err(error) = ledger.note_signers(&now, &listed) {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::info!("which signers are in force is noted later: {}", chain(&error));
                }
                thread::sleep(AGAIN);
            }
        };
        thread::Builder::new().name("signers".into()).spawn(note)?;
        Ok(())
    }
}

/// A signed list that is not followed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ListError {
    #[error("cannot read the folder {path}")]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read {path}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is not signed")]
    Envelope {
        path: PathBuf,
        #[source]
        source: EnvelopeError,
    },
    #[error("{path} cannot be used")]
    List {
        path: PathBuf,
        #[source]
        source: ListMistake,
    },
    #[error("{path} and {other} are both list {number}")]
    Twice { path: PathBuf, other: PathBuf, number: u64 },
    #[error("{path} does not take the place of the signers before it")]
    Succession {
        path: PathBuf,
        #[source]
        source: Box<SuccessionError>,
    },
}

impl ListError {
    fn hint(&self) -> String {
        match self {
            Self::Folder { .. } | Self::File { .. } => {
                "the folder has lists of signers, and the station must be able to read them".into()
            }
            Self::Envelope { .. } => {
                "get the list again from its maker, or take out of the folder what is none".into()
            }
            Self::List { source, .. } => source.hint().unwrap_or_default(),
            Self::Twice { .. } => "take the one out that the others do not follow".into(),
            Self::Succession { source, .. } => source.hint().unwrap_or_default(),
        }
    }
}

/// Reads the signers of the configuration, and the lists that have taken their place.
///
/// # Errors
/// [`ConfigError`] if a key cannot be read, or is none, or is listed twice; or if a list does not follow the one before it.
pub fn read(config: &Config) -> Result<Trust, ConfigError> {
    let first = configured(config)?;
    let base = first.digest();
    let mut trust = Trust { roster: first, in_force: InForce { base, lists: Vec::new() } };
    let Some(folder) = &config.media.signer_lists else { return Ok(trust) };
    let follow = |trust: &mut Trust| -> Result<(), ListError> {
        for Listed { path, envelope, digest, .. } in lists(folder)? {
            let next = trust.in_force.number() + 1;
            let followed = trust.roster.succeeded_by(&envelope, next);
            let failed = |source| ListError::Succession { path, source: Box::new(source) };
            (trust.roster, _) = followed.map_err(failed)?;
            trust.in_force.lists.push(digest);
        }
        Ok(())
    };
    follow(&mut trust).map_err(|error| {
        let (what, hint) = (chain(&error), error.hint());
        config.mistake_at("media.signer_lists", "[media] signer_lists", what, &hint)
    })?;
    Ok(trust)
}

/// A list in the folder of lists. Nobody's signature is checked yet.
struct Listed {
    path: PathBuf,
    number: u64,
    envelope: Envelope,
    /// Of what is signed.
    digest: Digest,
}

/// The lists in a folder, by their numbers.
fn lists(folder: &Path) -> Result<Vec<Listed>, ListError> {
    let failed = |source| ListError::Folder { path: folder.to_owned(), source };
    let mut all: Vec<Listed> = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_list = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
        let is_hidden =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_list || is_hidden {
            continue;
        }
        let data = ordinary(&path, LARGEST_LIST.0);
        let data = data.map_err(|source| ListError::File { path: path.clone(), source })?;
        let failed = |source| ListError::Envelope { path: path.clone(), source };
        let envelope = Envelope::parse(&data).map_err(failed)?;
        let payload = envelope.unverified_payload().map_err(failed)?;
        let list = SignerList::parse(&payload);
        let list = list.map_err(|source| ListError::List { path: path.clone(), source })?;
        let number = list.number;
        if let Some(other) = all.iter().find(|other| other.number == number) {
            return Err(ListError::Twice { path, other: other.path.clone(), number });
        }
        all.push(Listed { path, number, envelope, digest: Digest::of(&payload) });
    }
    all.sort_by_key(|list| list.number);
    Ok(all)
}

/// The signers of the configuration, with their keys.
fn configured(config: &Config) -> Result<Roster, ConfigError> {
    let mut all = Vec::new();
    let wrong = |index: usize, what: String, hint: &str| {
        let at = format!("media.signers.{index}.key");
        config.mistake_at(&at, "[[media.signers]] key", what, hint)
    };
    for (index, signer) in config.media.signers.iter().enumerate() {
        let key = match signer.key.trim_start().starts_with(PEM) {
            true => signer.key.clone(),
            false => file(Path::new(&signer.key)).map_err(|error| {
                let what = format!("cannot read {:?}: {}", signer.key, chain(&error));
                let hint = "write the public key itself, or the path of a file that holds it";
                wrong(index, what, hint)
            })?,
        };
        let (name, products) = (signer.name.clone(), signer.products.clone());
        all.push(ListedSigner { name, key, products, threshold: signer.threshold });
    }
    let place = |name: &String| all_at(config, name);
    Roster::new(all).map_err(|error| {
        let index = match &error {
            RosterError::Key { name, .. } | RosterError::SameKey(_, name) => place(name),
        };
        let what = match &error {
            RosterError::Key { source, .. } => source.to_string(),
            RosterError::SameKey(..) => error.to_string(),
        };
        wrong(index, what, &error.hint().unwrap_or_default())
    })
}

/// Where the configuration has a signer.
fn all_at(config: &Config, name: &str) -> usize {
    config.media.signers.iter().position(|signer| signer.name == name).unwrap_or_default()
}

fn file(path: &Path) -> io::Result<String> {
    let meta = fs::metadata(path)?;
    if !meta.is_file() || meta.len() > LONGEST {
        return Err(io::Error::other("it is no file with a key"));
    }
    fs::read_to_string(path)
}
