//! The ledger as comma-separated values. Factory systems read the columns by name: add at the end, rename nothing.

use std::fmt::Display;

use model::boot::BootProgram;
use model::record::Record;

/// A column's name, and what stands in it.
type Column = (&'static str, fn(&Record) -> String);

const COLUMNS: [Column; 38] = [
    ("job", |r| r.job.to_string()),
    ("station", |r| r.station.clone()),
    ("serial", |r| perhaps(r.serial.as_ref())),
    ("wwn", |r| perhaps(r.wwn.as_ref())),
    ("model", |r| perhaps(r.model.as_ref())),
    ("firmware", |r| perhaps(r.firmware.as_ref())),
    ("bus", |r| r.bus.to_string()),
    ("bay", |r| r.bay.to_string()),
    ("size_bytes", |r| r.size_bytes.0.to_string()),
    ("logical_sector_bytes", |r| r.logical_sector_bytes.to_string()),
    ("media", |r| perhaps(r.media.as_ref().map(|media| &media.name))),
    ("media_sha256", |r| perhaps(r.media.as_ref().map(|media| media.sha256))),
    ("disk_guid", |r| perhaps(r.identity.as_ref().map(|identity| identity.disk_guid))),
    ("verdict", |r| perhaps(r.verdict)),
    ("reason", |r| perhaps(r.reason.as_ref().map(|reason| &reason.code))),
    ("detail", |r| perhaps(r.reason.as_ref().map(|reason| &reason.detail))),
    ("warnings", |r| r.warnings.join("; ")),
    ("written_bytes", |r| r.written_bytes.0.to_string()),
    ("verified_bytes", |r| r.verified_bytes.0.to_string()),
    ("readback_sha256", |r| perhaps(r.readback_sha256)),
    ("write_bytes_per_second", |r| perhaps(r.write_bytes_per_second.map(|rate| rate.0))),
    ("verify_bytes_per_second", |r| perhaps(r.verify_bytes_per_second.map(|rate| rate.0))),
    ("write_limited_by", |r| perhaps(r.write_limited_by)),
    ("verify_limited_by", |r| perhaps(r.verify_limited_by)),
    ("cpu_milliseconds", |r| r.cpu_milliseconds.to_string()),
    ("opened", |r| format!("{:.3}", r.opened)),
    ("closed", |r| r.closed.map(|time| format!("{time:.3}")).unwrap_or_default()),
    ("prestaged_version", |r| r.prestaged_version.clone()),
    ("old_data", |r| perhaps(r.old_data.and_then(|old_data| old_data.fate))),
    ("old_data_sampled_places", |r| perhaps(r.old_data.map(|old_data| old_data.sampled_places))),
    ("old_data_places_with_data", |r| {
        perhaps(r.old_data.map(|old_data| old_data.places_with_data))
    }),
    ("boot_programs", |r| {
        let programs: Vec<String> = r.boot_programs.iter().map(BootProgram::to_string).collect();
        programs.join("; ")
    }),
    ("operator", |r| perhaps(r.operator.as_ref())),
    ("consent_reason", |r| perhaps(r.consent.as_ref().map(|consent| &consent.reason))),
    ("order", |r| perhaps(r.order.as_ref())),
    ("attempt", |r| perhaps(r.attempt)),
    ("health_before", |r| perhaps(r.health.as_ref().map(|health| &health.before))),
    ("health_after", |r| perhaps(r.health.as_ref().and_then(|health| health.after.as_ref()))),
];

fn perhaps(value: Option<impl Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// The line of column names.
pub(super) fn heads() -> Result<String, csv::Error> {
    line(COLUMNS.map(|(name, _)| name.to_owned()))
}

/// The line of a record.
pub(super) fn row(record: &Record) -> Result<String, csv::Error> {
    line(COLUMNS.map(|(_, cell)| cell(record)))
}

fn line(cells: [String; COLUMNS.len()]) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells)?;
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{heads, row};
    use crate::fixture;
    use jiff::Timestamp;
    use model::code::ReasonCode;
    use model::failure::Reason;
    use model::record::Record;
    use model::verdict::Verdict;

    fn render(records: &[Record]) -> String {
        records.iter().fold(heads().unwrap(), |text, record| text + &row(record).unwrap())
    }

    #[test]
    fn all_columns_and_whole_rows() {
        let mut passed = fixture::record();
        passed.model = Some("a \"b\", c".into());
        passed.wwn = Some("0x5000c500a1b2c3d4".into());
        passed.warnings = vec!["rewritten: one range".into(), "slow_for_its_batch".into()];
        let refused = fixture::refused();
        let text = render(&[passed, refused]);
        fixture::snapshot("records-csv", &text);
    }

    /// Each cell under its own name, whatever it holds.
    #[test]
    fn cells_stand_under_their_names() {
        let reason = Reason::new(ReasonCode::Mismatch, "one range differs");
        let record = fixture::record().closed_with(Verdict::Failed, reason, Timestamp::UNIX_EPOCH);
        let text = render(std::slice::from_ref(&record));
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let heads = reader.headers().unwrap().clone();
        let row = reader.records().next().unwrap().unwrap();
        let json = serde_json::to_value(&record).unwrap();
        let programs = serde_json::Value::from("\\efi\\boot\\bootx64.efi: 2023");
        for (head, cell) in heads.iter().zip(&row) {
            let expected = match head {
                "media" => &json["media"]["name"],
                "media_sha256" => &json["media"]["sha256"],
                "disk_guid" => &json["identity"]["disk_guid"],
                "reason" => &json["reason"]["code"],
                "detail" => &json["reason"]["detail"],
                "warnings" => &json["no warnings"],
                "old_data" => &json["old_data"]["fate"],
                "old_data_sampled_places" => &json["old_data"]["sampled_places"],
                "boot_programs" => &programs,
                "old_data_places_with_data" => &json["old_data"]["places_with_data"],
                "consent_reason" => &json["consent"]["reason"],
                "health_before" | "health_after" => &json["no health"],
                name => json.get(name).unwrap(),
            };
            let expected = match expected {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert_eq!(cell, expected, "{head}");
        }
        assert_eq!((heads.len(), row.len()), (38, 38));
    }
}
