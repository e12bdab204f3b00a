//! `key`: keys that sign. The secret one stays in its file. Lists of signers are [`signer_list`]'s.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use signing::SecretKey;

use super::arguments::name;
use super::output::{Output, put};
use super::signer_list::ListArguments;
use super::{CommandError, exit, signer_list};
use model::failure::chain;

#[derive(Debug, Subcommand)]
pub(super) enum KeyVerb {
    /// Draw a new Ed25519 key, and print its public part, which OpenSSL reads; needs no daemon.
    New {
        /// Whose key it is.
        #[arg(long, value_parser = name)]
        name: String,
        /// File that gets the secret key, readable to you alone; there must be none yet.
        file: PathBuf,
    },
    /// Make a list of signers that takes the place of the one before it on each station; needs no daemon.
    List(ListArguments),
    /// Add a signature to a list of signers, where several must sign; needs no daemon.
    Cosign {
        /// The list.
        list: PathBuf,
        /// File of a secret key that signs.
        #[arg(long, value_name = "FILE", required = true)]
        key: Vec<PathBuf>,
    },
}

pub(super) fn perform(out: &Output, verb: &KeyVerb) -> Result<u8, CommandError> {
    let (name, file) = match verb {
        KeyVerb::New { name, file } => (name, file),
        KeyVerb::List(arguments) => return signer_list::list(out, arguments),
        KeyVerb::Cosign { list, key } => return signer_list::cosign(out, list, key),
    };
    let failed = |error: &signing::KeyError| CommandError::of(exit::FAILED, error);
    let key = SecretKey::generate().map_err(|error| failed(&error))?;
    let pem = key.to_pem().map_err(|error| failed(&error))?;
    write(file, &pem)?;
    let (public, id) = (key.public().to_pem(), key.public().id());
    if out.json {
        let document = json!({ "name": name, "id": id, "public_key": public, "file": file });
        put(&serde_json::to_string_pretty(&document).unwrap_or_default());
    } else {
        put(public.trim_end());
        told(&format!("{} has the secret key of {name}; who has it can sign", file.display()));
        told("hint: the public key goes into media.signers of each station");
    }
    Ok(exit::DONE)
}

#[expect(clippy::print_stderr, reason = "standard output has the key alone")]
fn told(text: &str) {
    eprintln!("{text}");
}

/// Writes a file that only its owner may read, where there is none. An unfinished one is taken away.
#[expect(clippy::disallowed_methods, reason = "a new file, which is no drive")]
fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    let failed = |error: &std::io::Error| {
        CommandError::new(
            exit::FAILED,
            format!("cannot write {}: {}", path.display(), chain(error)),
        )
    };
    let mut file = match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let text = format!("{} is there already, and may be a key", path.display());
            return Err(CommandError::new(exit::REFUSED, text).with_hint("name another file"));
        }
        opened => opened.map_err(|error| failed(&error))?,
    };
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = std::fs::remove_file(path);
        failed(&error)
    })
}
