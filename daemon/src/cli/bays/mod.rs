//! `bays`: the names of places, and giving them.

mod learn;
mod seats;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::client::Client;
use super::{Failure, Output, exit, show};
use crate::config::Config;
use crate::drive::Serial;
use crate::station::snapshot::{BayView, Snapshot};

/// What makes the station read its configuration anew. It finishes the drives it writes before.
const RESTART: &str = "systemctl restart prestaged";

#[derive(Debug, Subcommand)]
pub(super) enum BaysVerb {
    /// List bays that have names, and the drives in them.
    List,
    /// Name bays by plugging a drive into each. Writes to no drive; needs root, and a station that is disarmed.
    Learn(LearnArguments),
}

/// How bays get their names.
#[derive(Debug, Args)]
pub(super) struct LearnArguments {
    /// How names begin that are proposed; a number follows.
    #[arg(long, default_value = "bay-", conflicts_with = "names")]
    prefix: String,
    /// Names to give in this order, with commas between them, instead of asking for each.
    #[arg(long, value_delimiter = ',')]
    names: Option<Vec<String>>,
    /// Only places whose path matches this glob pattern, where other drives may come and go meanwhile.
    #[arg(long, value_name = "PATTERN")]
    only: Option<glob::Pattern>,
}

pub(super) async fn perform(client: &Client, out: &Output, verb: &BaysVerb) -> Result<u8, Failure> {
    match verb {
        BaysVerb::List => {
            let snapshot: Snapshot = client.get("/v1/status").await?;
            let rows = rows(&snapshot);
            out.print(&rows, || list(&rows, &unread(&snapshot)));
            Ok(exit::DONE)
        }
        BaysVerb::Learn(arguments) => learn::learn(client, out, arguments).await,
    }
}

/// A bay, and a drive in it; one row for each where its pattern covers several.
#[derive(Serialize)]
struct Row {
    name: String,
    path: String,
    device: Option<String>,
    serial: Option<Serial>,
}

fn rows(snapshot: &Snapshot) -> Vec<Row> {
    let of = |bay: &BayView| {
        let drives = snapshot.devices.iter().filter(|device| device.bay.0 == bay.name);
        let row = |device: Option<String>, serial| Row {
            name: bay.name.clone(),
            path: bay.path.clone(),
            device,
            serial,
        };
        let mut rows: Vec<Row> =
            drives.map(|drive| row(Some(drive.device.clone()), drive.serial.clone())).collect();
        if rows.is_empty() {
            rows.push(row(None, None));
        }
        rows
    };
    snapshot.bays.iter().flat_map(of).collect()
}

/// Names that the configuration has and the running station has not.
fn unread(snapshot: &Snapshot) -> Vec<String> {
    // Who may not read it is not told.
    let config = Config::load(&snapshot.config).unwrap_or_default();
    let known = |name: &str, path: &str| {
        snapshot.bays.iter().any(|bay| bay.name == name && bay.path == path)
    };
    let bays = config.bay.iter().filter(|bay| !known(bay.name.trim(), &bay.path));
    bays.map(|bay| bay.name.trim().to_owned()).collect()
}

fn list(rows: &[Row], unread: &[String]) -> String {
    let cells: Vec<[String; 4]> = rows
        .iter()
        .map(|row| {
            [
                row.name.clone(),
                row.path.clone(),
                row.device.clone().unwrap_or_default(),
                row.serial.as_ref().map(ToString::to_string).unwrap_or_default(),
            ]
        })
        .collect();
    let mut text = if cells.is_empty() {
        "no bay has a name; `prestagectl bays learn` gives names\n".to_owned()
    } else {
        show::table(["NAME", "PATH", "DEVICE", "SERIAL"], &cells)
    };
    if !unread.is_empty() {
        text += &format!("\nnot in effect before `{RESTART}`: {}\n", unread.join(", "));
    }
    text
}
