//! `certificate --label`: the label of a drive, for a printer that speaks ZPL.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use clap::{Args, ValueEnum};
use model::api::evidence::{Certificate, LabelAsked};
use model::failure::chain;
use model::label::Template;
use paper::label::{BUILT_IN, Print, label};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;

use super::certificate::write;
use super::client::Client;
use super::output::{Output, put_part};
use super::{CommandError, exit};

/// A printer that takes nothing for so long is not there.
const PATIENCE: Duration = Duration::from_secs(10);

// Which label, and where it goes. A doc comment would become what the verb is said to do.
#[derive(Debug, Args)]
pub(super) struct LabelArguments {
    /// Print the label of the drive; one that was printed before says COPY.
    #[arg(long, value_name = "LANGUAGE", conflicts_with_all = ["file", "pdf"])]
    pub(super) label: Option<Language>,
    /// Template of the label, instead of the order's or the station's.
    #[arg(long, value_name = "FILE", requires = "label")]
    pub(super) template: Option<PathBuf>,
    /// File or device that gets the label, such as /dev/usb/lp0, instead of standard output.
    #[arg(long, value_name = "FILE", requires = "label")]
    pub(super) out: Option<PathBuf>,
    /// Printer on the network that gets the label, such as printer.example:9100.
    #[arg(long, value_name = "HOST:PORT", requires = "label", conflicts_with = "out")]
    pub(super) to: Option<String>,
    /// Command that gets the label on its standard input, such as `lp -o raw`.
    #[arg(long, value_name = "COMMAND", requires = "label", conflicts_with_all = ["out", "to"])]
    pub(super) pipe: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Language {
    Zpl,
}

/// Prints the label of a certificate. A station remembers that it was printed; where none is asked, it is a copy.
pub(super) async fn perform(
    station: Option<&Client>,
    out: &Output,
    certificate: &Certificate,
    arguments: &LabelArguments,
) -> Result<u8, CommandError> {
    let own = arguments.template.as_ref().map(read).transpose()?;
    // What cannot be made must not count as printed.
    if let Some((name, text)) = &own {
        make(certificate, name, text, Print::First)?;
    }
    let asked = match station {
        Some(client) => {
            let path = format!("/v1/records/{}/label", certificate.record.job);
            client.post(&path, &json!({})).await?
        }
        None => LabelAsked { printed: 1, template: None, template_of_order: None },
    };
    let (name, text) = match (own, asked.template) {
        (Some(own), _) => own,
        (None, Some(text)) => {
            let name = asked.template_of_order.map(|number| format!("order {number}"));
            (name.unwrap_or_else(|| "labels.template".to_owned()), text)
        }
        (None, None) => ("the built-in template".to_owned(), BUILT_IN.to_owned()),
    };
    let print = if asked.printed == 0 { Print::First } else { Print::Copy };
    let zpl = make(certificate, &name, &text, print)?;
    let to = match arguments {
        LabelArguments { out: Some(path), .. } => {
            write(path, zpl.as_bytes())?;
            path.display().to_string()
        }
        LabelArguments { to: Some(address), .. } => {
            send(address, &zpl).await?;
            address.clone()
        }
        LabelArguments { pipe: Some(command), .. } => {
            pipe(command, &zpl).await?;
            format!("`{command}`")
        }
        _ if out.json => {
            out.print(&json!({ "label": zpl, "copy": print == Print::Copy }), |_| String::new());
            return Ok(exit::DONE);
        }
        _ => {
            put_part(&zpl);
            return Ok(exit::DONE);
        }
    };
    let copy = if print == Print::Copy { ", a copy," } else { "" };
    out.done(&format!("the label{copy} went to {to}"))
}

fn make(
    certificate: &Certificate,
    name: &str,
    template: &str,
    print: Print,
) -> Result<String, CommandError> {
    let template: Template = template.parse().map_err(|error| {
        let error = CommandError::of(exit::CONFIGURATION, &error);
        CommandError { text: format!("{name}, {}", error.text), ..error }
    })?;
    label(certificate, &template, print).map_err(|error| CommandError::of(exit::FAILED, &error))
}

fn read(path: &PathBuf) -> Result<(String, String), CommandError> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| {
        CommandError::new(exit::FAILED, format!("cannot read {name}: {}", chain(&error)))
    })?;
    Ok((name, text))
}

/// Sends a label to a printer's port, which says nothing in return.
async fn send(address: &str, zpl: &str) -> Result<(), CommandError> {
    let sending = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(zpl.as_bytes()).await?;
        stream.shutdown().await
    };
    let sent = tokio::time::timeout(PATIENCE, sending).await;
    let sent = sent.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    sent.map_err(|error| {
        let text = format!("the printer {address} does not take the label: {}", chain(&error));
        CommandError::new(exit::FAILED, text).with_hint(
            "is it switched on, and is this its raw port, such as 9100? the next label says COPY",
        )
    })
}

async fn pipe(command: &str, zpl: &str) -> Result<(), CommandError> {
    let run = async {
        let mut shell = Command::new("sh");
        let mut child = shell.args(["-c", command]).stdin(Stdio::piped()).spawn()?;
        if let Some(mut into) = child.stdin.take() {
            into.write_all(zpl.as_bytes()).await?;
        }
        child.wait().await
    };
    let ended = run.await.map_err(|error| chain(&error));
    let ended = ended.and_then(|status| match status.success() {
        true => Ok(()),
        false => Err(status.to_string()),
    });
    ended.map_err(|error| {
        CommandError::new(exit::FAILED, format!("`{command}` has not taken the label: {error}"))
            .with_hint("the next label says COPY")
    })
}
