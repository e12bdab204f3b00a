//! `key list`, `key cosign`: signed lists of signers, by which stations exchange keys.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use model::failure::chain;
use model::signers::{ListedSigner, SIGNERS_TYPE, SignerList};
use parcel::{Roster, SuccessionError};
use serde::Deserialize;
use serde_json::json;
use signing::{Envelope, SecretKey};

use super::output::Output;
use super::parcel::{about, read, secret};
use super::{CommandError, exit, words};

/// A file with tables `[[media.signers]]`, such as a station's configuration.
#[derive(Debug, Deserialize)]
struct Configuration {
    media: Media,
}

#[derive(Debug, Deserialize)]
struct Media {
    signers: Vec<ListedSigner>,
}

/// What goes into a new list.
#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// A file with a table `[[media.signers]]` for each signer, as in the configuration.
    file: PathBuf,
    /// Counted from 1: the list that takes the place of the configuration's signers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    number: u64,
    /// Why, for people.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// File of a secret key that signs: of those who are listed now. Several sign together.
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    /// File that gets the list, `*.json`; there must be none yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn secrets(paths: &[PathBuf]) -> Result<Vec<SecretKey>, CommandError> {
    paths.iter().map(|path| secret(path)).collect()
}

/// Makes a list and signs it.
pub(super) fn list(out: &Output, arguments: &ListArguments) -> Result<u8, CommandError> {
    let ListArguments { file, number, reason, key, out: to } = arguments;
    let Configuration { media } = toml::from_str(&read(file)?).map_err(|error| {
        CommandError::new(exit::FAILED, format!("{}: {}", file.display(), chain(&error)))
            .with_hint("write a table [[media.signers]] for each signer, with name and key")
    })?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let with_key = |signer: ListedSigner| {
        let is_pem = signer.key.trim_start().starts_with("-----BEGIN");
        let key = if is_pem { signer.key.clone() } else { read(&folder.join(&signer.key))? };
        Ok::<_, CommandError>(ListedSigner { key, ..signer })
    };
    let signers = media.signers.into_iter().map(with_key).collect::<Result<Vec<_>, _>>()?;
    let list =
        SignerList { number: *number, created: Timestamp::now(), reason: reason.clone(), signers };
    list.check().map_err(|error| about(file, &error))?;
    Roster::new(list.signers.clone()).map_err(|error| about(file, &error))?;
    let payload = serde_json::to_vec(&list).unwrap_or_default();
    let envelope = Envelope::sign(SIGNERS_TYPE, &payload, &secrets(key)?);
    let written = write(to, &envelope);
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            CommandError::new(exit::REFUSED, format!("{} is there already", to.display()))
                .with_hint("name another file")
        }
        _ => CommandError::new(
            exit::FAILED,
            format!("cannot write {}: {}", to.display(), chain(&error)),
        ),
    })?;
    told(out, to, &list, &envelope)
}

/// Adds signatures to a list.
pub(super) fn cosign(out: &Output, path: &Path, keys: &[PathBuf]) -> Result<u8, CommandError> {
    let text = read(path)?;
    let wrong = |error| about(path, &SuccessionError::from(error));
    let mut envelope = Envelope::parse(text.as_bytes()).map_err(wrong)?;
    // Nobody's signature is asked for but that it is a list.
    let verified = envelope.verify(SIGNERS_TYPE, []).map_err(wrong)?;
    let list = SignerList::parse(&verified.payload).map_err(|error| about(path, &error))?;
    for key in secrets(keys)? {
        envelope.add(&key).map_err(wrong)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = write(&fresh, &envelope).and_then(|()| fs::rename(&fresh, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&fresh);
        CommandError::new(
            exit::FAILED,
            format!("cannot write {}: {}", path.display(), chain(&error)),
        )
    })?;
    told(out, path, &list, &envelope)
}

#[expect(clippy::disallowed_methods, reason = "a new file, which is no drive")]
fn write(path: &Path, envelope: &Envelope) -> std::io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.write_all(&envelope.to_bytes())?;
    file.sync_all()
}

fn told(
    out: &Output,
    path: &Path,
    list: &SignerList,
    envelope: &Envelope,
) -> Result<u8, CommandError> {
    let keys = envelope.key_ids();
    out.print(&json!({ "file": path, "list": list, "signed_by": keys }), |_| {
        let names: Vec<&str> = list.signers.iter().map(|signer| &*signer.name).collect();
        let signatures = words::plural(keys.len(), "signature", "signatures");
        let short = |id: &&str| id.get(..16).unwrap_or(id).to_owned();
        let by: Vec<String> = keys.iter().map(|id| short(&&**id)).collect();
        format!(
            "{}: list {} of signers, {}; {signatures}, by key {}\n\
             hint: copy it to media.signer_lists of each station; `prestaged --check` there says whether it is followed\n",
            path.display(),
            list.number,
            names.join(", "),
            by.join(", ")
        )
    });
    Ok(exit::DONE)
}
