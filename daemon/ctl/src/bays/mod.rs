//! `bays`: the names of bays, and giving them.

mod learn;
mod occupancy;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::client::Client;
use super::output::{Output, paragraph};
use super::table::{Cell, Keep, Table};
use super::{CommandError, exit};
use config::Config;
use model::api::snapshot::{BayView, Snapshot};
use model::drive::Serial;

/// Makes the station read its configuration anew, after it has finished the drives being written.
const RESTART: &str = "systemctl restart prestaged";

#[derive(Debug, Subcommand)]
pub(super) enum BaysVerb {
    /// List the bays that have names, and the drives in them.
    List,
    /// Name bays by plugging a drive into each; needs root and a disarmed station, and writes to no drive.
    Learn(LearnArguments),
}

/// How bays get their names.
#[derive(Debug, Args)]
pub(super) struct LearnArguments {
    /// Prefix of proposed names; a number follows it.
    #[arg(long, value_name = "TEXT", default_value = "bay-", conflicts_with = "names")]
    prefix: String,
    /// Give these names in this order, separated by commas, instead of asking for each.
    #[arg(long, value_delimiter = ',')]
    names: Option<Vec<String>>,
    /// Allow each bay as well, and the bus of the drive in it: drives there are imaged once the station is armed.
    #[arg(long)]
    allow: bool,
    /// Ask only for bays whose path matches this glob pattern, where drives come and go in other bays meanwhile.
    #[arg(long, value_name = "PATTERN")]
    only: Option<glob::Pattern>,
}

pub(super) async fn perform(
    client: &Client,
    out: &Output,
    verb: &BaysVerb,
) -> Result<u8, CommandError> {
    match verb {
        BaysVerb::List => {
            let snapshot: Snapshot = client.get("/v1/status").await?;
            let rows = rows(&snapshot);
            out.print(&rows, |terminal| list(&rows, &unread(&snapshot), terminal));
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

fn list(rows: &[Row], unread: &[String], terminal: Option<usize>) -> String {
    let mut text = String::new();
    if rows.is_empty() {
        let none = "no bay has a name; `prestagectl bays learn` gives names\n";
        text += &paragraph(none, terminal);
    } else {
        let mut table = Table::new([
            ("NAME", Keep::Always),
            ("PATH", Keep::Always),
            ("DEVICE", Keep::Always),
            ("SERIAL", Keep::Useful),
        ]);
        for row in rows {
            table.row([
                Cell::new(&row.name),
                Cell::new(&row.path),
                Cell::perhaps(row.device.as_ref()),
                Cell::perhaps(row.serial.as_ref()),
            ]);
        }
        text += &table.render(terminal);
    }
    if !unread.is_empty() {
        let names = format!("\nnot in effect before `{RESTART}`: {}\n", unread.join(", "));
        text += &paragraph(&names, terminal);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{list, rows};
    use crate::fixture;

    #[test]
    fn bays() {
        let rows = rows(&fixture::station());
        let unread = ["lower left".to_owned(), "lower right".to_owned()];
        fixture::outputs("bays-list", |terminal| list(&rows, &unread, terminal));
        fixture::outputs("bays-none", |terminal| list(&[], &[], terminal));
    }
}
