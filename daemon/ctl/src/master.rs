//! `master`: the store, and pressing into it.

use anstyle::Style;

use super::arguments::MasterVerb;
use super::client::{Client, segment};
use super::output::{Output, paragraph};
use super::progress::Progress;
use super::table::{Cell, Keep, Table};
use super::{CommandError, ended, exit, usage, words};
use model::api::requests::PressRequest;
use model::api::snapshot::{MasterView, PressState, PressView, Snapshot};
use model::failure::Failure;
use model::manifest::MasterId;
use model::units::{Bytes, SectorSize};

pub(super) async fn perform(
    client: &Client,
    out: &Output,
    verb: &MasterVerb,
) -> Result<u8, CommandError> {
    match verb {
        MasterVerb::List => {
            let snapshot: Snapshot = client.get("/v1/status").await?;
            let Snapshot { masters, presses, .. } = &snapshot;
            out.print(masters, |terminal| list(masters, presses, terminal));
            Ok(exit::DONE)
        }
        MasterVerb::Press { media, size, sector } => {
            let request = request(media, *size, *sector)?;
            press(client, out, &request).await
        }
        MasterVerb::Remove { id } => {
            client.delete(&format!("/v1/masters/{}", segment(id))).await?;
            out.done("removed")
        }
    }
}

fn request(media: &str, size: Bytes, sector: SectorSize) -> Result<PressRequest, CommandError> {
    if !size.0.is_multiple_of(sector.bytes()) {
        let text = format!(
            "--size is {} bytes, no whole number of {}-byte sectors",
            size.0,
            sector.bytes()
        );
        return Err(usage(text).with_hint("`prestagectl drives --json` gives the exact sizes"));
    }
    // The kernel counts the bytes of a device in a signed number.
    if i64::try_from(size.0).is_err() {
        return Err(usage(format!("--size is {} bytes, more than a drive can have", size.0)));
    }
    Ok(PressRequest {
        media: media.to_owned(),
        size_bytes: size,
        logical_sector_bytes: sector.into(),
    })
}

async fn press(client: &Client, out: &Output, request: &PressRequest) -> Result<u8, CommandError> {
    let answer: serde_json::Value = client.post("/v1/masters", request).await?;
    let id = MasterId(answer["id"].as_str().unwrap_or_default().to_owned());
    match follow(client, id, !out.json).await? {
        Ok(master) => {
            out.print(&master, |_| format!("{} pressed", master.id));
            Ok(exit::DONE)
        }
        Err(failure) => Err(CommandError::failed("press", failure)),
    }
}

/// Waits until a master is in the store or its press has failed.
async fn follow(
    client: &Client,
    id: MasterId,
    shown: bool,
) -> Result<Result<MasterView, Failure>, CommandError> {
    let mut events = client.events().await?;
    let progress = Progress::new(&id.to_string(), shown);
    while let Some(snapshot) = events.next::<Snapshot>().await? {
        if let Some(press) = snapshot.presses.into_iter().find(|press| press.id == id) {
            progress.set(press.percent, press.step);
            if let Some(reason) = press.error {
                return Ok(Err(reason));
            }
            continue;
        }
        let master = snapshot.masters.into_iter().find(|master| master.id == id);
        return master.map(Ok).ok_or_else(|| {
            CommandError::new(exit::FAILED, format!("the press of {id} was cancelled"))
        });
    }
    Err(ended())
}

pub(super) fn list(
    masters: &[MasterView],
    presses: &[PressView],
    terminal: Option<usize>,
) -> String {
    if masters.is_empty() && presses.is_empty() {
        return paragraph("no masters in the store\n", terminal);
    }
    let mut table = Table::new([
        ("MASTER", Keep::Always),
        ("MEDIA", Keep::Always),
        ("STATE", Keep::Always),
        ("DRIVE BYTES", Keep::Useful),
        ("SECTOR", Keep::Useful),
        ("LAYOUT", Keep::Spare),
        ("PAYLOAD", Keep::Spare),
        ("WHY", Keep::Text),
    ]);
    for master in masters {
        table.row([
            Cell::new(&master.id),
            Cell::new(&master.media),
            Cell::styled("ready", words::GOOD),
            Cell::new(master.size_bytes.0),
            Cell::new(master.logical_sector_bytes),
            Cell::new(&master.layout),
            Cell::new(master.payload_bytes),
            Cell::default(),
        ]);
    }
    for press in presses {
        let (state, style, why) = match press.state {
            PressState::Queued => ("queued", Style::new(), String::new()),
            PressState::Running => {
                ("pressing", Style::new(), format!("{:.0}% {}", press.percent, press.step))
            }
            PressState::Failed => ("FAILED", words::BAD, words::why(press.error.as_ref(), &[])),
        };
        table.row([
            Cell::new(&press.id),
            Cell::new(&press.media),
            Cell::styled(state, style),
            Cell::new(press.geometry.size.0),
            Cell::new(press.geometry.sector.bytes()),
            Cell::default(),
            Cell::default(),
            Cell::new(why),
        ]);
    }
    table.render(terminal)
}

#[cfg(test)]
mod tests {
    use super::{list, request};
    use crate::{exit, fixture};
    use model::units::{Bytes, SectorSize};

    #[test]
    fn masters() {
        let station = fixture::station();
        fixture::outputs("master-list", |terminal| {
            list(&station.masters, &station.presses, terminal)
        });
    }

    #[test]
    fn sizes_are_whole_sectors() {
        let refused = request("win.wim", Bytes(1000), SectorSize::B512).unwrap_err();
        assert_eq!(refused.text, "--size is 1000 bytes, no whole number of 512-byte sectors");
        assert_eq!(refused.exit, exit::USAGE);
        assert!(request("win.wim", Bytes(512_000), SectorSize::B512).is_ok());
        assert!(request("win.wim", Bytes(512_000), SectorSize::B4096).is_ok());
        assert!(request("win.wim", Bytes(512 * 1001), SectorSize::B4096).is_err());
    }
}
