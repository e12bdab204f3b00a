//! The certificate of one drive: a page of A4 that says what became of it, with what proves that inside.
//!
//! What is printed is read from the envelope, after its signature and its proof were checked by the certificate's own key: a
//! certificate in which somebody has changed a word is not printed. Whether the key is the station's is for the reader to
//! say, who has it from somewhere else.

use std::collections::BTreeSet;

use evidence::check::{self, Checked, Doubt};
use evidence::short::{Short, ShortError};
use model::api::evidence::Certificate;
use model::hint::Hint;
use qrcodegen::{QrCode, QrCodeEcc};
use signing::{Envelope, EnvelopeError, KeyError, PublicKey};

use crate::facts::Facts;
use crate::fonts::Fonts;
use crate::page;
use crate::pdf::{self, About, Attachment, Unembeddable};
use crate::sheet::Sheet;

/// The attached envelope.
pub const ENVELOPE: &str = "record.dsse.json";
/// The attached proof that the log has it.
pub const PROOF: &str = "record.tlog-proof";

/// A page, ready to be written to a file.
#[derive(Clone, Debug)]
pub struct Printed {
    /// The PDF.
    pub pdf: Vec<u8>,
    /// The letters that are on it as code points: no font has them, or they cannot be seen.
    pub missing: BTreeSet<char>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// What the certificate says is not what was signed.
    #[error("the certificate proves nothing")]
    Doubt(#[from] Doubt),
    /// Its envelope is none.
    #[error("the certificate proves nothing")]
    Envelope(#[from] EnvelopeError),
    /// Its key is none.
    #[error("the certificate's key cannot be used")]
    Key(#[from] KeyError),
    /// Its short form is another record's.
    #[error("the short form in the certificate is not of its record")]
    Other,
    /// Its short form is wrong.
    #[error("the short form in the certificate proves nothing")]
    Short(#[from] ShortError),
    /// There is no verdict yet.
    #[error("the record is not closed")]
    Open,
    /// The short form has no room in a code.
    #[error("the serial number is too long for a code")]
    Long,
    /// Something would stand beside the page.
    #[error("there is no room on the page")]
    Room,
    /// A font has let us down.
    #[error(transparent)]
    Font(#[from] Unembeddable),
}

impl Hint for CertificateError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Font(_) => Some("take that font away, or name a folder with others".into()),
            Self::Open | Self::Long | Self::Room => None,
            _ => Some("let the station give it once more, and do not change it".into()),
        }
    }
}

/// A certificate that is what was signed.
pub(crate) struct Proven {
    pub(crate) checked: Checked,
    key: PublicKey,
    envelope: Vec<u8>,
}

/// Checks a certificate by its own key: nothing in it is printed before.
pub(crate) fn prove(certificate: &Certificate) -> Result<Proven, CertificateError> {
    let key = PublicKey::from_pem(&certificate.key)?;
    let envelope = Envelope::parse(certificate.envelope.to_string().as_bytes())?.to_bytes();
    let checked = check::check(&envelope, &key, Some(&certificate.tlog_proof), None)?;
    if let Some(text) = &certificate.short {
        let short = Short::open(text, &key)?;
        if Some(&short) != Short::of(&checked.record, checked.digest).as_ref() {
            return Err(CertificateError::Other);
        }
    }
    Ok(Proven { checked, key, envelope })
}

/// Prints a certificate.
///
/// # Errors
/// [`CertificateError`]
pub fn print(certificate: &Certificate, fonts: &Fonts) -> Result<Printed, CertificateError> {
    let Proven { checked, key, envelope } = prove(certificate)?;
    let proof = certificate.tlog_proof.as_str();
    let code = certificate.short.as_ref().map(|text| QrCode::encode_text(text, QrCodeEcc::Medium));
    let code = code.transpose().map_err(|_| CertificateError::Long)?;
    let facts = Facts::of(&checked, &certificate.beside, &key).ok_or(CertificateError::Open)?;

    let mut sheet = Sheet::new(fonts);
    // Cut texts are no wider than their places; a slip of ours must not lose what is beyond the edge.
    if !page::fill(&mut sheet, &facts, code.as_ref()) {
        return Err(CertificateError::Room);
    }
    let missing = sheet.setter.missing().clone();
    let title = facts.title();
    let producer = format!("prestaged {}", env!("CARGO_PKG_VERSION"));
    let about = About { title: &title, author: &facts.station, producer: &producer };
    let attachments = [
        Attachment {
            name: ENVELOPE,
            about: "The record as the station has signed it",
            kind: "application#2Fvnd.dsse+json",
            data: &envelope,
        },
        Attachment {
            name: PROOF,
            about: "The proof that the station's log has it",
            kind: "text#2Fplain",
            data: proof.as_bytes(),
        },
    ];
    Ok(Printed { pdf: pdf::document(sheet, about, &attachments)?, missing })
}
