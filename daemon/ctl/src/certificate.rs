//! `certificate`: what proves to somebody else what became of a drive, as JSON, or on paper.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use model::api::evidence::Certificate;
use model::drive::Serial;
use model::failure::chain;
use paper::certificate::Printed;
use paper::fonts::{FOLDERS, Fonts};

use super::client::{Client, segment};
use super::label::{self, LabelArguments};
use super::output::{self, Output};
use super::{CommandError, completing, exit};

#[derive(Debug, Args)]
pub(super) struct CertificateArguments {
    /// Serial number of the drive.
    #[arg(required_unless_present = "from", add = completing::serials())]
    pub(super) serial: Option<String>,
    /// With --json: the file that gets the certificate, instead of standard output.
    #[arg(requires = "json")]
    pub(super) file: Option<PathBuf>,
    /// File that gets the certificate as a page of A4, with what proves it inside.
    #[arg(long, value_name = "FILE")]
    pub(super) pdf: Option<PathBuf>,
    /// Take the certificate that --json has written to this file; the daemon is not asked then.
    #[arg(long, value_name = "FILE", conflicts_with = "serial")]
    pub(super) from: Option<PathBuf>,
    /// Look for fonts in this folder before those of the system.
    #[arg(long, value_name = "FOLDER", requires = "pdf")]
    pub(super) fonts: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) label: LabelArguments,
}

pub(super) async fn perform(
    client: &Client,
    out: &Output,
    arguments: &CertificateArguments,
) -> Result<u8, CommandError> {
    let CertificateArguments { serial, file, pdf, from, fonts, label } = arguments;
    let certificate: Certificate = match from {
        Some(path) => saved(path)?,
        None => {
            let serial = segment(serial.as_deref().unwrap_or_default());
            client.get(&format!("/v1/certificates/{serial}")).await?
        }
    };
    if let Some(since) = &certificate.beside.since {
        warn(&format!("drive {} was {}", named(&certificate), since.sentence()));
    }
    let mut written = Vec::new();
    if let Some(path) = file {
        let mut text = serde_json::to_string_pretty(&certificate).unwrap_or_default();
        text.push('\n');
        write(path, text.as_bytes())?;
        written.push(path.display().to_string());
    }
    if let Some(path) = pdf {
        let Printed { pdf, missing } = page(&certificate, fonts)?;
        write(path, &pdf)?;
        tell_missing(&missing);
        written.push(path.display().to_string());
    }
    if label.label.is_some() {
        // A saved certificate does not know whether its label was printed.
        let station = from.is_none().then_some(client);
        return label::perform(station, out, &certificate, label).await;
    }
    match written.join(" and ") {
        files if files.is_empty() => {
            out.print(&certificate, |_| sentence(&certificate));
            Ok(exit::DONE)
        }
        files => out.done(&format!("written: {files}")),
    }
}

fn sentence(certificate: &Certificate) -> String {
    format!(
        "{}\n`prestagectl certificate SERIAL --json FILE` writes what proves it, `--pdf FILE` a page with it; `prestagectl verify-record` checks that.",
        certificate.record.sentence()
    )
}

fn named(certificate: &Certificate) -> &str {
    certificate.record.serial.as_ref().map_or("without a serial number", Serial::as_str)
}

/// Says what whoever makes a certificate should know before handing it on.
#[expect(clippy::print_stderr, reason = "the certificate is made all the same")]
fn warn(text: &str) {
    eprintln!("prestagectl: warning: {text}");
}

fn saved(path: &Path) -> Result<Certificate, CommandError> {
    let failed = |text: String| CommandError::new(exit::FAILED, text);
    let text = fs::read(path)
        .map_err(|error| failed(format!("cannot read {}: {}", path.display(), chain(&error))))?;
    serde_json::from_slice(&text).map_err(|error| {
        let text = format!("{}: not a certificate: {error}", path.display());
        failed(text).with_hint("`prestagectl certificate SERIAL --json FILE` writes one")
    })
}

fn page(certificate: &Certificate, first: &[PathBuf]) -> Result<Printed, CommandError> {
    let folders: Vec<PathBuf> = first.iter().cloned().chain(FOLDERS.map(PathBuf::from)).collect();
    let fonts = Fonts::find(&folders).map_err(|error| CommandError::of(exit::FAILED, &error))?;
    paper::certificate::print(certificate, &fonts)
        .map_err(|error| CommandError::of(exit::FAILED, &error))
}

/// Says which letters are on the page as their code points.
#[expect(clippy::print_stderr, reason = "the page is written all the same")]
fn tell_missing(missing: &BTreeSet<char>) {
    const MOST: usize = 8;
    if missing.is_empty() {
        return;
    }
    let named: Vec<String> =
        missing.iter().take(MOST).map(|letter| format!("U+{:04X}", u32::from(*letter))).collect();
    let more = match missing.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    eprintln!(
        "prestagectl: printed as code points, because no font has them or they cannot be seen: {}{more}",
        named.join(" ")
    );
    let hint = "fonts-noto-core and fonts-noto-cjk have the letters of nearly all languages";
    eprintln!("{}", output::hint(hint, output::error_terminal()));
}

#[expect(clippy::disallowed_methods, reason = "a file that the user names")]
pub(super) fn write(path: &Path, data: &[u8]) -> Result<(), CommandError> {
    fs::write(path, data).map_err(|error| {
        let text = format!("cannot write {}: {}", path.display(), chain(&error));
        CommandError::new(exit::FAILED, text)
    })
}
