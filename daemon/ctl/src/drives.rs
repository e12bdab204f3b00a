//! `drives`: every block device, admitted or refused, and why.

use anstyle::AnsiColor;

use super::arguments::DrivesArguments;
use super::client::{Client, ClientError};
use super::output::{self, Output, paragraph};
use super::table::{Cell, Keep, Table};
use super::words::Standing;
use super::{CommandError, exit, explain, hinted, node};
use model::api::snapshot::{Decision, DeviceView, DriveView, Snapshot};
use model::drive::Serial;
use model::failure::Refusal;
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
    if out.json {
        out.print(&hinted::devices(devices), |_| String::new());
        return Ok(exit::DONE);
    }
    let detail = match (&arguments.drive, arguments.verbose) {
        (Some(_), _) => Detail::OneDrive,
        (None, true) => Detail::AllReasons,
        (None, false) => Detail::Decisive,
    };
    out.print(&devices, |terminal| {
        render(&devices, detail, terminal) + &ended(&devices, &drives, terminal)
    });
    Ok(exit::DONE)
}

/// How much is told of each device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    /// The reason that decides.
    Decisive,
    /// Every reason.
    AllReasons,
    /// Every reason, and what to do about this very drive, with the commands.
    OneDrive,
}

/// What to do about a reason against a device; nothing about one that is no business of the station's.
fn now(device: &DeviceView, refusal: &Refusal) -> Option<String> {
    let drive = device.serial.as_ref().map_or(&*device.device, Serial::as_str);
    (!refusal.code.is_out_of_scope()).then(|| refusal.what_now_for(drive))
}

/// How the jobs of these drives have ended, and what to do now: an admitted drive may have failed since.
fn ended(devices: &[DeviceView], drives: &[DriveView], terminal: Option<usize>) -> String {
    let those = drives.iter().filter(|drive| {
        let begun = !matches!(drive.verdict, None | Some(Verdict::Refused));
        begun && devices.iter().any(|device| device.device == drive.device)
    });
    let told = those.map(|drive| {
        let standing = Standing::of(drive);
        let hint = standing
            .now()
            .map(|now| paragraph(&format!("{}\n", output::hint(now, terminal)), terminal));
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

fn render(devices: &[DeviceView], detail: Detail, terminal: Option<usize>) -> String {
    let all_reasons = detail != Detail::Decisive;
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
        // In a pipe each line stands for itself, so it also says what to do.
        let told = |refusal: &Refusal| match now(device, refusal).filter(|_| terminal.is_none()) {
            Some(now) => format!("{}; hint: {now}", refusal.detail),
            None => refusal.detail.clone(),
        };
        let why = device.refusals.first().map(told);
        let why = Cell::perhaps(why.as_ref().or(device.detail.as_ref()));
        table.row(row(Cell::perhaps(device.code.as_ref()), why));
        for further in device.refusals.iter().skip(1) {
            if !all_reasons {
                hidden += 1;
                continue;
            }
            let mut row = row(Cell::new(further.code), Cell::new(told(further)));
            if terminal.is_some() {
                // For the eye; in a pipe each line stands for itself.
                row = Default::default();
                row[8] = Cell::new(format!("also {}: {}", further.code, further.detail));
            }
            table.row(row);
        }
    }
    let mut text = table.render(terminal);
    if terminal.is_some() && detail == Detail::OneDrive {
        let decisive = devices.iter().filter_map(|device| now(device, device.refusals.first()?));
        let told =
            decisive.map(|now| paragraph(&format!("{}\n", output::hint(&now, terminal)), terminal));
        let hints: String = told.collect();
        text += if hints.is_empty() { "" } else { "\n" };
        text += &hints;
    } else if terminal.is_some() {
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
    use super::{Detail, called, render};
    use crate::fixture;
    use model::advice::Explained as _;
    use model::code::ReasonCode;
    use model::failure::Refusal;

    #[test]
    fn drives() {
        let devices = fixture::station().devices;
        fixture::outputs("drives", |terminal| render(&devices, Detail::Decisive, terminal));
        fixture::outputs("drives-verbose", |terminal| {
            render(&devices, Detail::AllReasons, terminal)
        });
    }

    /// On a terminal and in a pipe, and what this very drive needs rather than what its code needs in general.
    #[test]
    fn one_drive_s_hint_has_the_commands() {
        let mut device = fixture::station().devices.swap_remove(0);
        let command = "`blkdiscard -f /dev/sdz`";
        let refusal = Refusal::new(ReasonCode::NotBlank, "it holds ext4").with_hint(command);
        device.refusals = vec![refusal];
        for terminal in [None, Some(60), Some(120)] {
            let text = render(std::slice::from_ref(&device), Detail::OneDrive, terminal);
            let text = anstream::adapter::strip_str(&text).to_string();
            assert!(text.contains(&format!("hint: {command}")), "{terminal:?}: {text}");
        }
        device.refusals = vec![Refusal::new(ReasonCode::TooSmall, "too small")];
        let text = render(&[device], Detail::OneDrive, None);
        let now = ReasonCode::TooSmall.advice().now;
        assert!(text.contains(&format!("too small; hint: {now}")), "{text}");
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
