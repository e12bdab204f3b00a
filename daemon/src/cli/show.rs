//! Text for people: tables, sentences, CSV.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::audit::Report;
use crate::job::{State, Verdict};
use crate::record::Record;
use crate::station::snapshot::{
    DeviceView, DriveView, MasterView, MediaState, MediaView, PressState, PressView, Snapshot,
};
use crate::units::Bytes;

/// Columns as wide as their widest cell.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = heads.map(|head| head.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: [&str; N]| {
        let mut row = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(row, "{cell:width$}  ");
        }
        text.push_str(row.trim_end());
        text.push('\n');
    };
    line(heads);
    for row in rows {
        line(row.each_ref().map(String::as_str));
    }
    text
}

/// Verdicts that can be read from two metres away.
fn verdict_word(verdict: Verdict) -> String {
    let (word, colour) = match verdict {
        Verdict::Passed => ("PASS", "1;32"),
        Verdict::Failed => ("FAIL", "1;31"),
        Verdict::Refused => ("refused", "33"),
        Verdict::Stopped => ("STOPPED", "1;33"),
    };
    if std::io::stdout().is_terminal() {
        format!("\u{1b}[{colour}m{word}\u{1b}[0m")
    } else {
        word.to_owned()
    }
}

/// What a drive is doing, or how it ended and why.
pub(super) fn state_words(drive: &DriveView) -> String {
    if let Some(verdict) = drive.verdict {
        let mut text = verdict_word(verdict);
        if let Some(reason) = &drive.reason {
            let _ = write!(text, " {}: {}", reason.code, reason.detail);
        }
        if !drive.warnings.is_empty() {
            let _ = write!(text, " (warnings: {})", drive.warnings.join("; "));
        }
        return text;
    }
    match drive.state {
        State::WaitingForMaster => "waiting for its master",
        State::Judging => "being judged",
        State::WaitingForMedia => "waiting for the media to be verified",
        State::Claiming => "starting",
        State::Erasing => "erasing",
        State::Writing => "writing",
        State::ReadingBack => "reading back",
        State::Committing => "committing",
        State::Refused | State::Passed | State::Failed | State::Stopped => "done",
    }
    .to_owned()
}

pub(super) fn duration(left: Duration) -> String {
    let seconds = left.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

pub(super) fn status(snapshot: &Snapshot) -> String {
    let armed = match (snapshot.draining, snapshot.armed) {
        (true, _) => "ending: no new drives",
        (false, true) => "ARMED",
        (false, false) => "disarmed: watches and reports, writes to nothing",
    };
    let mut text = format!("station {}  {armed}\n\n", snapshot.station);
    text += &media_list(&snapshot.media);
    text += "\n";
    text += &masters(&snapshot.masters, &snapshot.presses);
    text += "\n";
    if snapshot.drives.is_empty() {
        text += "no drives in the station's bays\n";
        return text;
    }
    let rows: Vec<[String; 6]> = snapshot
        .drives
        .iter()
        .map(|drive| {
            let rate = drive.bytes_per_second.filter(|_| drive.verdict.is_none());
            let left = drive.eta_seconds.map(|s| duration(Duration::from_secs(s)));
            [
                drive.bay.to_string(),
                drive.serial.as_ref().map(ToString::to_string).unwrap_or_default(),
                drive.size_bytes.to_string(),
                format!("{:.0} %", drive.percent),
                [
                    rate.map(|r| r.to_string()),
                    left,
                    drive.limited_by.map(|by| format!("limited by {by}")),
                ]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(", "),
                state_words(drive),
            ]
        })
        .collect();
    text + &table(["BAY", "SERIAL", "SIZE", "DONE", "RATE", "STATE"], &rows)
}

pub(super) fn devices(devices: &[DeviceView]) -> String {
    let rows: Vec<[String; 7]> = devices
        .iter()
        .map(|device| {
            let decision = match &device.code {
                Some(code) => format!("refused: {code}"),
                None => format!("{:?}", device.decision).to_lowercase(),
            };
            [
                device.device.clone(),
                device.serial.as_ref().map(ToString::to_string).unwrap_or_default(),
                device.bus.to_string(),
                device.bay.to_string(),
                device.size_bytes.to_string(),
                decision,
                match &device.refusals[..] {
                    [] => device.detail.clone().unwrap_or_default(),
                    all => all.iter().map(|r| r.detail.as_str()).collect::<Vec<_>>().join("; "),
                },
            ]
        })
        .collect();
    table(["DEVICE", "SERIAL", "BUS", "BAY", "SIZE", "DECISION", "WHY"], &rows)
}

pub(super) fn media_state(media: &MediaView) -> String {
    match media.state {
        MediaState::Checking => {
            format!("being verified, {:.0} %", media.percent.unwrap_or_default())
        }
        MediaState::Valid => "valid".to_owned(),
        MediaState::Invalid => {
            let why: Vec<&str> = media.problems.iter().map(|p| p.detail.as_str()).collect();
            format!("INVALID: {}", why.join("; "))
        }
    }
}

pub(super) fn media_list(all: &[MediaView]) -> String {
    if all.is_empty() {
        return "no media in the inbox\n".into();
    }
    let rows: Vec<[String; 4]> = all
        .iter()
        .map(|media| {
            let short = media.sha256.map(|d| d.to_string()[..16].to_owned()).unwrap_or_default();
            [media.name.clone(), media.size_bytes.to_string(), short, media_state(media)]
        })
        .collect();
    table(["MEDIA", "SIZE", "SHA-256", "STATE"], &rows)
}

pub(super) fn media(media: &MediaView) -> String {
    let mut text = format!("{}: {}\n", media.name, media_state(media));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<16} {value}");
    };
    line("size", format!("{} bytes", media.size_bytes.0));
    if let Some(sha256) = media.sha256 {
        line("sha256", sha256.to_string());
    }
    if media.files.len() > 1 {
        for file in &media.files {
            line("part", format!("{} {}", file.name, file.sha256));
        }
    }
    if let Some(compression) = &media.compression {
        line("compression", compression.clone());
    }
    if let Some(table) = media.integrity_table {
        line("integrity table", if table { "yes, checked" } else { "none" }.into());
    }
    for image in &media.images {
        let used = if image.index == media.image { " (applied)" } else { "" };
        let Bytes(bytes) = image.bytes;
        let counts = format!("{} files, {} folders, {bytes} bytes", image.files, image.directories);
        line(&format!("image {}{used}", image.index), format!("{}: {counts}", image.name));
    }
    if let Some(found) = &media.inventory {
        line("root", found.root.join(", "));
        line("files", format!("{} and {} further hard links", found.files, found.extra_links));
        line("folders", found.directories.to_string());
        line(
            "NTFS extras",
            format!(
                "{} short names, {} named streams, {} reparse points, {} security descriptors",
                found.short_names, found.named_streams, found.reparse_points, found.secured
            ),
        );
        line("packages", found.packages.join(", "));
        let boot_wim = found.boot_wim_bytes.map_or("none".into(), |b| format!("{} bytes", b.0));
        line("boot.wim", boot_wim);
        line("needs at least", format!("{} bytes on the Windows volume", found.least_bytes.0));
    }
    if let Some(boot) = &media.boot_image {
        let unknown = || "unknown".to_owned();
        let architecture = boot.architecture.clone().unwrap_or_else(unknown);
        let build = boot.build.clone().unwrap_or_else(unknown);
        line("boot image", format!("{}, {architecture}, build {build}", boot.name));
        line("boot.wim sha256", boot.sha256.to_string());
    }
    for problem in &media.problems {
        line("PROBLEM", format!("{}: {}", problem.code, problem.detail));
    }
    for warning in &media.warnings {
        line("warning", format!("{}: {}", warning.code, warning.detail));
    }
    text
}

pub(super) fn masters(all: &[MasterView], presses: &[PressView]) -> String {
    if all.is_empty() && presses.is_empty() {
        return "no masters in the store\n".into();
    }
    let mut rows: Vec<[String; 6]> = all
        .iter()
        .map(|master| {
            [
                master.id.to_string(),
                master.media.clone(),
                master.layout.clone(),
                format!("{} / {}", master.size_bytes.0, master.logical_sector_bytes),
                master.payload_bytes.to_string(),
                "ready".into(),
            ]
        })
        .collect();
    rows.extend(presses.iter().map(|press| {
        let state = match (press.state, &press.error) {
            (PressState::Queued, _) => "queued".into(),
            (PressState::Running, _) => format!("{} {:.0} %", press.step, press.percent),
            (PressState::Failed, reason) => {
                let reason = reason.as_ref().map(|r| format!("{}: {}", r.code, r.detail));
                format!("FAILED {}", reason.unwrap_or_default())
            }
        };
        let geometry = press.geometry;
        let size = format!("{} / {}", geometry.size.0, geometry.sector.bytes());
        [press.id.to_string(), press.media.clone(), String::new(), size, String::new(), state]
    }));
    table(["MASTER", "MEDIA", "LAYOUT", "DRIVE / SECTOR", "PAYLOAD", "STATE"], &rows)
}

pub(super) fn records(all: &[Record]) -> String {
    if all.is_empty() {
        return "no records\n".into();
    }
    let mut text = String::new();
    for record in all {
        let verdict = record.verdict.map_or_else(|| "RUNNING".into(), verdict_word);
        let _ = writeln!(text, "{:.3}  {verdict}  {}", record.opened, record.sentence());
    }
    text
}

pub(super) fn csv(all: &[Record]) -> Result<String, String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let heads = [
        "job",
        "station",
        "serial",
        "wwn",
        "model",
        "firmware",
        "bus",
        "bay",
        "size_bytes",
        "logical_sector_bytes",
        "media",
        "media_sha256",
        "disk_guid",
        "verdict",
        "reason",
        "detail",
        "warnings",
        "written_bytes",
        "verified_bytes",
        "readback_sha256",
        "write_bytes_per_second",
        "verify_bytes_per_second",
        "write_limited_by",
        "verify_limited_by",
        "cpu_milliseconds",
        "opened",
        "closed",
        "prestaged_version",
    ];
    let failed = |e: csv::Error| e.to_string();
    writer.write_record(heads).map_err(failed)?;
    for r in all {
        let media = r.media.as_ref();
        let reason = r.reason.as_ref();
        let text = |value: Option<&dyn std::fmt::Display>| match value {
            Some(value) => value.to_string(),
            None => String::new(),
        };
        writer
            .write_record([
                r.job.to_string(),
                r.station.clone(),
                text(r.serial.as_ref().map(|v| v as _)),
                text(r.wwn.as_ref().map(|v| v as _)),
                text(r.model.as_ref().map(|v| v as _)),
                text(r.firmware.as_ref().map(|v| v as _)),
                r.bus.to_string(),
                r.bay.to_string(),
                r.size_bytes.0.to_string(),
                r.logical_sector_bytes.to_string(),
                text(media.map(|m| &m.name as _)),
                text(media.map(|m| &m.sha256 as _)),
                text(r.identity.as_ref().map(|i| &i.disk_guid as _)),
                text(r.verdict.as_ref().map(|v| v as _)),
                text(reason.map(|v| &v.code as _)),
                text(reason.map(|v| &v.detail as _)),
                r.warnings.join("; "),
                r.written_bytes.0.to_string(),
                r.verified_bytes.0.to_string(),
                text(r.readback_sha256.as_ref().map(|v| v as _)),
                text(r.write_bytes_per_second.as_ref().map(|v| &v.0 as _)),
                text(r.verify_bytes_per_second.as_ref().map(|v| &v.0 as _)),
                text(r.write_limited_by.as_ref().map(|v| v as _)),
                text(r.verify_limited_by.as_ref().map(|v| v as _)),
                r.cpu_milliseconds.to_string(),
                format!("{:.3}", r.opened),
                r.closed.map(|time| format!("{time:.3}")).unwrap_or_default(),
                r.prestaged_version.clone(),
            ])
            .map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|e| e.to_string())?;
    String::from_utf8(bytes).map_err(|e| e.to_string())
}

pub(super) fn audit(report: &Report) -> String {
    let mut text = String::new();
    for difference in &report.differences {
        let _ = writeln!(text, "{}: {}", difference.path, difference.what);
    }
    if report.more_differences > 0 {
        let _ = writeln!(text, "and {} more differences", report.more_differences);
    }
    let verdict = if report.is_same() { "SAME" } else { "DIFFERENT" };
    let _ = writeln!(
        text,
        "{verdict}: {} files and folders, {} streams, {} of data compared with {}",
        report.entries, report.streams, report.data_bytes, report.media
    );
    text
}

/// `8h`, `2026-11-22` or `2026-11-22T08:00:00Z` as an RFC 3339 time.
pub(super) fn parse_since(text: &str) -> Result<String, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.to_string());
    }
    if let Ok(date) = text.parse::<Date>() {
        let start = date.to_zoned(TimeZone::system()).map_err(|e| e.to_string())?;
        return Ok(start.timestamp().to_string());
    }
    let ago: SignedDuration = text.parse().map_err(|_| {
        format!("--since {text:?}: write a date, an RFC 3339 time, or how long ago, such as 8h")
    })?;
    let time = Timestamp::now().checked_sub(ago).map_err(|e| e.to_string())?;
    Ok(time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_survives_quotes_and_commas() {
        let mut record: Record =
            serde_json::from_str(include_str!("../record/schema1.json")).unwrap();
        record.model = Some("a \"b\", c".into());
        let text = csv(&[record]).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(&rows[0][4], "a \"b\", c");
        assert_eq!(&rows[0][13], "passed");
    }

    #[test]
    fn since_takes_dates_times_and_ages() {
        assert_eq!(parse_since("2026-11-22T08:00:00Z").unwrap(), "2026-11-22T08:00:00Z");
        assert!(parse_since("8h").is_ok() && parse_since("2026-11-22").is_ok());
        assert!(parse_since("yesterday").is_err());
    }

    #[test]
    fn tables_line_up() {
        let rows = [["a".to_owned(), "long cell".to_owned()], ["bb".to_owned(), String::new()]];
        assert_eq!(table(["X", "Y"], &rows), "X   Y\na   long cell\nbb\n");
    }
}
