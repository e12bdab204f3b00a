//! `drives`: every block device, admitted or refused, and why.

use anstyle::AnsiColor;

use super::arguments::DrivesArguments;
use super::client::{Client, ClientError};
use super::output::{self, Output, paragraph};
use super::table::{Cell, Keep, Table};
use super::words::Standing;
use super::{CommandError, exit, explain, node};
use model::api::snapshot::{Decision, DeviceView, DriveView, Snapshot};
use model::drive::Serial;
use model::naming::{self, Names};
use model::verdict::Verdict;

pub(super) async fn perform(
    client: &Client,
    out: &Output,
    arguments: &DrivesArguments,
) -> Result<u8, CommandError> {
    let snapshot: Snapshot = client.get("/v1/status").await?;
    let mut devices = snapshot.devices;
    let mut drives = snapshot.drives;
    match &arguments.drive {
        Some(name) => devices = called(devices, &node(name))?,
        None => drives.clear(),
    }
    let all_reasons = arguments.verbose || arguments.drive.is_some();
    out.print(&devices, |terminal| {
        render(&devices, all_reasons, terminal) + &ended(&devices, &drives, terminal)
    });
    Ok(exit::DONE)
}

/// How the jobs of these drives have ended, and what to do now: an admitted drive may have failed since.
fn ended(devices: &[DeviceView], drives: &[DriveView], terminal: Option<usize>) -> String {
    let those = drives.iter().filter(|drive| {
        let begun = !matches!(drive.verdict, None | Some(Verdict::Refused));
        begun && devices.iter().any(|device| device.device == drive.device)
    });
    let told = those.map(|drive| {
        let standing = Standing::of(drive);
        let hint =
            standing.now().map(|now| paragraph(&format!("{}\n", output::hint(now)), terminal));
        let line = format!("{}: {}\n", drive.name(), standing.line());
        paragraph(&line, terminal) + &hint.unwrap_or_default()
    });
    told.collect()
}

/// The drives that are called so: several may have one serial number, or be in one bay.
fn called(devices: Vec<DeviceView>, name: &str) -> Result<Vec<DeviceView>, CommandError> {
    let named: Vec<_> = devices.iter().map(|device| (device, names(device))).collect();
    let found = naming::those(name, &named);
    if found.is_empty() {
        let error = CommandError::from(ClientError::from(naming::nobody(name, &named)));
        let attached = error.hint.as_ref().map(|hint| format!("{hint}; ")).unwrap_or_default();
        let before = "`prestagectl records --serial NUMBER` shows what has become of others";
        return Err(error.with_hint(format!("{attached}{before}")));
    }
    Ok(found.into_iter().map(|(device, _)| (*device).clone()).collect())
}

fn names(device: &DeviceView) -> Names<'_> {
    Names {
        serial: device.serial.as_ref().map(Serial::as_str),
        kernel: device.device.strip_prefix("/dev/").unwrap_or(&device.device),
        bay: &device.bay.0,
    }
}

fn render(devices: &[DeviceView], all_reasons: bool, terminal: Option<usize>) -> String {
    if devices.is_empty() {
        return paragraph("no block devices\n", terminal);
    }
    let mut table = Table::new([
        ("BAY", Keep::Always),
        ("DEVICE", Keep::Always),
        ("SERIAL", Keep::Useful),
        ("SIZE", Keep::Spare),
        ("BUS", Keep::Spare),
        ("MODEL", Keep::Spare),
        ("DECISION", Keep::Always),
        ("CODE", Keep::Always),
        ("WHY", Keep::Text),
    ]);
    let mut hidden = 0;
    for device in devices {
        let (decision, style) = match device.decision {
            Decision::Pending => ("pending", anstyle::Style::new()),
            Decision::Admitted => ("admitted", AnsiColor::Green.on_default()),
            Decision::Refused => ("refused", AnsiColor::Yellow.on_default()),
        };
        let transport =
            device.transport.as_ref().filter(|name| all_reasons && **name != device.bus.0);
        let bus = match transport {
            Some(transport) => format!("{} ({transport})", device.bus),
            None => device.bus.to_string(),
        };
        let row = |code: Cell, why: Cell| {
            [
                Cell::new(&device.bay),
                Cell::new(&device.device),
                Cell::perhaps(device.serial.as_ref()),
                Cell::new(device.size_bytes),
                Cell::new(&bus),
                Cell::perhaps(device.model.as_ref()),
                Cell::styled(decision, style),
                code,
                why,
            ]
        };
        let why = device.refusals.first().map(|refusal| &refusal.detail);
        let why = Cell::perhaps(why.or(device.detail.as_ref()));
        table.row(row(Cell::perhaps(device.code.as_ref()), why));
        for further in device.refusals.iter().skip(1) {
            if !all_reasons {
                hidden += 1;
                continue;
            }
            let mut row = row(Cell::new(further.code), Cell::new(&further.detail));
            if terminal.is_some() {
                // For the eye; in a pipe each line stands for itself.
                row = Default::default();
                row[8] = Cell::new(format!("also {}: {}", further.code, further.detail));
            }
            table.row(row);
        }
    }
    let mut text = table.render(terminal);
    if terminal.is_some() {
        let decisive = devices.iter().filter_map(|device| device.refusals.first());
        let ours = decisive.filter(|reason| !reason.code.is_out_of_scope());
        let hints = explain::hints(ours, terminal);
        text += if hints.is_empty() { "" } else { "\n" };
        text += &hints;
    }
    if hidden > 0 && terminal.is_some() {
        let reasons = if hidden == 1 { "reason" } else { "reasons" };
        let more = format!("\n{hidden} further {reasons} with --verbose\n");
        text += &paragraph(&more, terminal);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{called, render};
    use crate::fixture;

    #[test]
    fn drives() {
        let devices = fixture::station().devices;
        fixture::outputs("drives", |terminal| render(&devices, false, terminal));
        fixture::outputs("drives-verbose", |terminal| render(&devices, true, terminal));
    }

    #[test]
    fn a_drive_is_found_by_node_kernel_name_serial_and_bay() {
        let devices = fixture::station().devices;
        let bay = devices.iter().find(|device| device.device == "/dev/sdc").unwrap().bay.0.clone();
        for name in ["/dev/sdc", "sdc", "S4EV0003", &bay] {
            let found = called(devices.clone(), name).unwrap();
            assert!(found.len() == 1 && found[0].device == "/dev/sdc", "{name}");
        }
        let error = called(devices, "sdx").unwrap_err();
        assert_eq!(error.text, "no drive \"sdx\" is attached");
        assert!(error.hint.unwrap().starts_with("attached: /dev/"));
    }
}
