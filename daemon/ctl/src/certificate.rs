//! `certificate`: what proves to somebody else what became of a drive.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use model::api::evidence::Certificate;
use model::failure::chain;

use super::client::{Client, segment};
use super::output::Output;
use super::{CommandError, exit};

#[derive(Debug, Args)]
pub(super) struct CertificateArguments {
    /// Serial number of the drive.
    pub(super) serial: String,
    /// With --json: the file that gets the certificate, instead of standard output.
    #[arg(requires = "json")]
    pub(super) file: Option<PathBuf>,
}

pub(super) async fn perform(
    client: &Client,
    out: &Output,
    arguments: &CertificateArguments,
) -> Result<u8, CommandError> {
    let CertificateArguments { serial, file } = arguments;
    let certificate: Certificate =
        client.get(&format!("/v1/certificates/{}", segment(serial))).await?;
    let Some(file) = file else {
        out.print(&certificate, |_| sentence(&certificate));
        return Ok(exit::DONE);
    };
    let mut text = serde_json::to_string_pretty(&certificate).unwrap_or_default();
    text.push('\n');
    write(file, &text)?;
    out.done(&format!("{} is written", file.display()))
}

fn sentence(certificate: &Certificate) -> String {
    format!(
        "{}\n`prestagectl certificate SERIAL --json FILE` writes what proves it; `prestagectl verify-record` checks that.",
        certificate.record.sentence()
    )
}

#[expect(clippy::disallowed_methods, reason = "a file that the user names")]
fn write(path: &std::path::Path, text: &str) -> Result<(), CommandError> {
    fs::write(path, text).map_err(|error| {
        let text = format!("cannot write {}: {}", path.display(), chain(&error));
        CommandError::new(exit::FAILED, text)
    })
}
