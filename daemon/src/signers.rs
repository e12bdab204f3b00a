//! The signers of the configuration, with their keys.

use std::path::Path;

use config::{Config, ConfigError};
use model::api::snapshot::SignerView;
use model::failure::chain;
use model::hint::Hint as _;
use parcel::{Signer, Signers};
use signing::PublicKey;

/// How PEM begins.
const PEM: &str = "-----BEGIN";
/// No key is longer.
const LONGEST: u64 = 64 << 10;

/// Reads the keys of all signers.
///
/// # Errors
/// [`ConfigError`] if a key cannot be read, or is none, or is listed twice.
pub fn read(config: &Config) -> Result<(Signers, Vec<SignerView>), ConfigError> {
    let mut all: Vec<Signer> = Vec::new();
    let mut views = Vec::new();
    for (index, signer) in config.media.signers.iter().enumerate() {
        let wrong = |what: String, hint: &str| {
            let at = format!("media.signers.{index}.key");
            config.mistake_at(&at, "[[media.signers]] key", what, hint)
        };
        let text = match signer.key.trim_start().starts_with(PEM) {
            true => signer.key.clone(),
            false => file(Path::new(&signer.key)).map_err(|error| {
                let what = format!("cannot read {:?}: {}", signer.key, chain(&error));
                wrong(what, "write the public key itself, or the path of a file that holds it")
            })?,
        };
        let key = PublicKey::from_pem(text.trim())
            .map_err(|error| wrong(error.to_string(), &error.hint().unwrap_or_default()))?;
        if let Some(other) = all.iter().find(|other| other.key == key) {
            let what = format!("{} and {} have the same key", other.name, signer.name);
            return Err(wrong(what, "each signer has a key of its own"));
        }
        let products = signer.products.iter().filter_map(|text| glob::Pattern::new(text).ok());
        views.push(SignerView {
            name: signer.name.clone(),
            key: key.to_pem(),
            products: signer.products.clone(),
            threshold: signer.threshold,
        });
        let (name, threshold) = (signer.name.clone(), signer.threshold);
        all.push(Signer { name, key, products: products.collect(), threshold });
    }
    Ok((Signers::new(all), views))
}

fn file(path: &Path) -> std::io::Result<String> {
    let meta = std::fs::metadata(path)?;
    if !meta.is_file() || meta.len() > LONGEST {
        return Err(std::io::Error::other("it is no file with a key"));
    }
    std::fs::read_to_string(path)
}
