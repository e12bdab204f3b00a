//! Labels in ZPL II, from a template in which placeholders stand for what is known of a drive.
//!
//! A template is ZPL with `$serial`, or `${serial:20}` for at most 20 characters, in the data of fields (`^FD`) that take
//! hexadecimal digits (`^FH`). Whatever a value is, it goes there as digits, so no value is ever a command. A line that begins
//! with `@passed`, `@not_passed` or `@copy` is left out where that is not so.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use evidence::check::Checked;
use model::api::evidence::Certificate;
use model::hint::Hint;
use model::label::{Condition, Piece, Placeholder, Reader, Template};
use model::verdict::Verdict;

use crate::certificate::{CertificateError, prove};

/// The template where nobody has given another one: 3 by 2 inches at 203 dots per inch.
pub const BUILT_IN: &str = include_str!("label/built_in.zpl");

/// Why there is no label.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// What the certificate says is not what was signed.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Code 128 has ASCII alone.
    #[error("Code 128 has no letters for {0:?}")]
    Code128(String),
}

impl Hint for LabelError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Certificate(error) => error.hint(),
            Self::Code128(_) => Some("let the template print it as a DataMatrix (^BX)".into()),
        }
    }
}

/// Whether the label was printed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Print {
    First,
    Copy,
}

/// Makes the label of a drive.
///
/// # Errors
/// [`LabelError`]
pub fn label(
    certificate: &Certificate,
    template: &Template,
    print: Print,
) -> Result<String, LabelError> {
    let checked = prove(certificate)?.checked;
    let verdict = checked.record.verdict.ok_or(CertificateError::Open)?;
    let value = |what| value(&checked, certificate, what);
    fill(template, verdict, print, &value)
}

/// The label that a template makes of these values.
fn fill(
    template: &Template,
    verdict: Verdict,
    print: Print,
    value: &dyn Fn(Placeholder) -> String,
) -> Result<String, LabelError> {
    let mut zpl = String::new();
    for (condition, pieces) in &template.lines {
        let holds = match condition {
            None => true,
            Some(Condition::Passed) => verdict == Verdict::Passed,
            Some(Condition::NotPassed) => verdict != Verdict::Passed,
            Some(Condition::Copy) => print == Print::Copy,
        };
        if !holds {
            continue;
        }
        for piece in pieces {
            match piece {
                Piece::Zpl(text) => zpl += text,
                Piece::Value { what, most, digits, reader } => {
                    let text = cut(&value(*what), *most);
                    zpl += &hexadecimal(&escaped(*reader, &text)?, *digits);
                }
            }
        }
        zpl.push('\n');
    }
    Ok(zpl)
}

/// The text, so that what reads it takes it as it is.
fn escaped(reader: Reader, text: &str) -> Result<Vec<u8>, LabelError> {
    Ok(match reader {
        Reader::Text => text.into(),
        Reader::Block => text.replace('\\', "\\\\").into(),
        Reader::Code128 if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => {
            text.replace('>', ">0").into()
        }
        Reader::Code128 => return Err(LabelError::Code128(text.to_owned())),
        Reader::DataMatrix(escape) => {
            let mut escaped = String::new();
            for byte in text.bytes() {
                match byte {
                    b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b' ' => escaped.push(byte.into()),
                    _ => {
                        // Cannot fail: it goes into memory.
                        let _ = write!(escaped, "{escape}d{byte:03}");
                    }
                }
            }
            escaped.into()
        }
    })
}

/// At most so many characters; what is left out is told by three dots.
fn cut(text: &str, most: Option<usize>) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    match most {
        Some(most) if plain.chars().count() > most => {
            let head: String = plain.chars().take(most.saturating_sub(3)).collect();
            head + "..."
        }
        _ => plain,
    }
}

/// Bytes as the data of a field: letters and digits as they are, all others as digits after a sign.
fn hexadecimal(bytes: &[u8], sign: char) -> String {
    let mut text = String::new();
    for byte in bytes {
        let plain = byte.is_ascii_alphanumeric() || b" .:-/".contains(byte);
        if plain && char::from(*byte) != sign {
            text.push(char::from(*byte));
        } else {
            // Cannot fail: it goes into memory.
            let _ = write!(text, "{sign}{byte:02X}");
        }
    }
    text
}

fn value(checked: &Checked, certificate: &Certificate, what: Placeholder) -> String {
    let record = &checked.record;
    let beside = &certificate.beside;
    let time = |form: &str| record.closed.map(|at| at.strftime(form).to_string());
    let text = match what {
        Placeholder::Serial => record.serial.as_ref().map(ToString::to_string),
        Placeholder::Verdict => record.verdict.map(|verdict| word(verdict).to_owned()),
        Placeholder::Reason => record.reason.as_ref().map(|reason| reason.code.to_string()),
        Placeholder::Media => record.media.as_ref().map(|media| media.name.clone()),
        Placeholder::Version => beside.media_version.clone(),
        Placeholder::Date => time("%Y-%m-%d"),
        Placeholder::Time => time("%H:%M"),
        // A job's first digits are its time, and the same for all drives of a minute.
        Placeholder::Job => Some(record.job.simple().to_string().split_off(24)),
        Placeholder::Order => record.order.clone(),
        Placeholder::Part => beside.part.clone(),
        Placeholder::Customer => beside.customer.clone(),
        Placeholder::Operator => record.operator.clone(),
        Placeholder::Model => record.model.clone(),
        Placeholder::Capacity => Some(record.size_bytes.to_string()),
        Placeholder::Station => Some(record.station.clone()),
        Placeholder::Short => certificate.short.clone(),
    };
    text.unwrap_or_default()
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "PASS",
        Verdict::Failed => "FAIL",
        Verdict::Refused => "REFUSED",
        Verdict::Stopped => "STOPPED",
    }
}
