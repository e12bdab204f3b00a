//! What `smartctl --json` says of a drive, as numbers that can be believed.
//!
//! The program passes on what a drive tells, and drives tell nonsense: bridges answer with zeros, vendors count other
//! things under the same number, counters are packed into others. A number is taken only where its place, its name and
//! its size all fit; what is left is `None`. ATA's own statistics (ACS-4, 9.5) have one meaning for all vendors, so they
//! count more than attributes do.

use std::ops::RangeInclusive;

use model::drive::printable;
use model::health::{Assessment, Health, Kind};
use serde_json::Value;

/// The longest answer that is read. What a drive can tell takes a tenth of that.
pub const LONGEST: usize = 512 << 10;

/// The longest text of the program's that is passed on, in characters.
const LONGEST_TEXT: usize = 160;
/// Bits of the exit status that say that the drive was not asked at all: the command line, or opening the drive.
const NOT_ASKED: u64 = 0b11;

/// No drive works outside of these temperatures; 0 is what those tell that do not measure it.
const TEMPERATURES: RangeInclusive<u64> = 1..=125;
/// Forty years.
const HOURS: RangeInclusive<u64> = 0..=350_000;
/// Counters have 32 bits; more is something else, packed into one number.
const COUNTS: RangeInclusive<u64> = 0..=u32::MAX as u64;
/// NVMe's own limit: a byte.
const PERCENT_USED: RangeInclusive<u64> = 0..=255;
const PERCENT: RangeInclusive<u64> = 0..=100;
/// Six bits have a meaning.
const WARNINGS: RangeInclusive<u64> = 0..=0x3f;

/// What the answer says of the drive's health. Never fails: what cannot be believed is unknown, and says why.
pub fn health(answer: &[u8]) -> Health {
    read(answer).unwrap_or_else(Health::unknown)
}

fn read(answer: &[u8]) -> Result<Health, String> {
    if answer.len() > LONGEST {
        return Err(format!("smartctl has answered with more than {LONGEST} bytes"));
    }
    // serde_json ends at a depth of 128.
    let answer: Value = serde_json::from_slice(answer)
        .map_err(|error| format!("smartctl's answer is no JSON: {error}"))?;
    let status = number(answer.pointer("/smartctl/exit_status"), 0..=255);
    let status = status.ok_or("the answer is not smartctl's")?;
    let messages = messages(&answer);
    if status & NOT_ASKED != 0 {
        let why = messages.first().map_or("it says not why", String::as_str);
        return Err(format!("smartctl cannot ask the drive: {why}"));
    }
    if let Some(wrong) = messages.iter().find(|text| text.to_lowercase().contains("checksum")) {
        return Err(format!("the drive's answer was damaged: {wrong}"));
    }
    let health = match answer.pointer("/device/protocol").and_then(Value::as_str) {
        Some("NVMe") => nvme(&answer)?,
        Some("ATA") => ata(&answer),
        Some("SCSI") => scsi(&answer),
        _ => return Err("smartctl does not know what kind of drive it is".into()),
    };
    match health.is_silent() {
        true => {
            let why = messages.first().map(|text| format!(": {text}")).unwrap_or_default();
            Err(format!("the drive tells nothing about its health{why}"))
        }
        false => Ok(health),
    }
}

/// What the program has to say, errors first.
fn messages(answer: &Value) -> Vec<String> {
    let list = answer.pointer("/smartctl/messages").and_then(Value::as_array);
    let mut all: Vec<(bool, String)> = list
        .into_iter()
        .flatten()
        .filter_map(|message| {
            let is_error = message["severity"] == "error";
            let text: String = message["string"].as_str()?.chars().take(LONGEST_TEXT).collect();
            Some((is_error, printable(&text)?))
        })
        .collect();
    all.sort_by_key(|(is_error, _)| !is_error);
    all.into_iter().map(|(_, text)| text).collect()
}

/// A whole number in a range; anything else is nothing.
fn number(value: Option<&Value>, within: RangeInclusive<u64>) -> Option<u64> {
    value?.as_u64().filter(|value| within.contains(value))
}

fn assessment(answer: &Value) -> Option<Assessment> {
    let by_another = |text: &String| {
        let text = text.to_lowercase();
        NOT_ASSESSED.iter().any(|words| text.contains(words))
    };
    if messages(answer).iter().any(by_another) {
        return None;
    }
    let passed = answer.pointer("/smart_status/passed")?.as_bool()?;
    Some(if passed { Assessment::Passed } else { Assessment::Failed })
}

/// Words by which smartctl says that the drive itself has not assessed anything.
const NOT_ASSESSED: [&str; 3] = ["smart status", "attribute check", "incomplete response"];

fn common(answer: &Value, kind: Kind) -> Health {
    Health {
        kind: Some(kind),
        self_assessment: assessment(answer),
        temperature_celsius: number(answer.pointer("/temperature/current"), TEMPERATURES),
        power_on_hours: number(answer.pointer("/power_on_time/hours"), HOURS),
        ..Health::default()
    }
}

/// NVM Express 2.0, 5.16.1.3: a log of fixed form. A page full of zeros or of ones shows by the temperature, which is in
/// kelvin and never 0, and by the bits of the warning that have no meaning; then nothing of it counts.
fn nvme(answer: &Value) -> Result<Health, String> {
    let log = answer.pointer("/nvme_smart_health_information_log");
    let log = log.ok_or("the drive has no health log")?;
    let of = |name: &str, within| number(log.get(name), within);
    let (temperature, warning) =
        (of("temperature", TEMPERATURES), of("critical_warning", WARNINGS));
    if temperature.is_none() || warning.is_none() {
        return Err("the drive's health log holds nonsense".into());
    }
    Ok(Health {
        temperature_celsius: temperature,
        power_on_hours: of("power_on_hours", HOURS),
        media_errors: of("media_errors", COUNTS),
        percentage_used: of("percentage_used", PERCENT_USED),
        available_spare: of("available_spare", PERCENT),
        critical_warning: warning,
        ..common(answer, Kind::Nvme)
    })
}

fn ata(answer: &Value) -> Health {
    let kind = match number(answer.get("rotation_rate"), 0..=100_000) {
        Some(0) => Kind::AtaSsd,
        Some(_) => Kind::AtaDisk,
        None => Kind::Ata,
    };
    let by = |page, offset, id, names: &[&str]| {
        statistic(answer, page, offset, COUNTS).or_else(|| attribute(answer, id, names))
    };
    Health {
        reallocated: by(3, 0x20, 5, &REALLOCATED),
        pending: by(3, 0x38, 197, &PENDING),
        uncorrectable: attribute(answer, 198, &UNCORRECTABLE),
        media_errors: by(4, 0x08, 187, &REPORTED),
        crc_errors: by(6, 0x18, 199, &CRC),
        percentage_used: statistic(answer, 7, 0x08, PERCENT_USED),
        ..common(answer, kind)
    }
}

/// The names under which smartctl's database has these attributes where they mean this. Under others, the same number
/// means something else: 197 and 199 are bytes read and written with some vendors.
const REALLOCATED: [&str; 5] = [
    "Reallocated_Sector_Ct",
    "Reallocated_Sector_Count",
    "Reallocated_Block_Count",
    "Reallocate_NAND_Blk_Cnt",
    "Retired_Block_Count",
];
const PENDING: [&str; 2] = ["Current_Pending_Sector", "Pending_Sector_Count"];
const UNCORRECTABLE: [&str; 2] = ["Offline_Uncorrectable", "Uncorrectable_Sector_Ct"];
const REPORTED: [&str; 4] =
    ["Reported_Uncorrect", "Uncorrectable_Error_Cnt", "Uncorrectable_ECC_Ct", "Reported_UE_Counts"];
const CRC: [&str; 4] =
    ["UDMA_CRC_Error_Count", "CRC_Error_Count", "SATA_CRC_Error_Count", "SATA_CRC_Error"];

/// A number of ATA's device statistics, by its page and its offset there, if the drive says that it is valid.
fn statistic(answer: &Value, page: u64, offset: u64, within: RangeInclusive<u64>) -> Option<u64> {
    let is = |value: &Value, name: &str, expected| value[name].as_u64() == Some(expected);
    let pages = answer.pointer("/ata_device_statistics/pages")?.as_array()?;
    let table = pages.iter().find(|one| is(one, "number", page))?["table"].as_array()?;
    let entry = table.iter().find(|one| is(one, "offset", offset))?;
    let valid = entry.pointer("/flags/valid").and_then(Value::as_bool) == Some(true);
    number(entry.get("value").filter(|_| valid), within)
}

/// The raw value of an attribute, if it has one of these names, once.
fn attribute(answer: &Value, id: u64, names: &[&str]) -> Option<u64> {
    let table = answer.pointer("/ata_smart_attributes/table")?.as_array()?;
    let mut those = table.iter().filter(|one| one["id"].as_u64() == Some(id));
    let (one, other) = (those.next()?, those.next());
    let named = one["name"].as_str().is_some_and(|name| names.contains(&name));
    if !named || other.is_some() {
        return None;
    }
    let value = one.pointer("/raw/value")?.as_u64()?;
    let text = one.pointer("/raw/string")?.as_str()?;
    // Most are one number of 48 bits. Reallocated sectors are often 16 bits with others above them: `12 (3 0)`.
    let (digits, above) = text.split_once(' ').unwrap_or((text, ""));
    let count: u64 = digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))?;
    let fits = match above.is_empty() {
        true => count == value,
        false => id == 5 && !above.contains("65535") && count == value & 0xffff,
    };
    Some(count).filter(|count| fits && COUNTS.contains(count))
}

fn scsi(answer: &Value) -> Health {
    let common = common(answer, Kind::Scsi);
    let environment = "/scsi_environmental_reports/temperature_1/current";
    Health {
        temperature_celsius: common
            .temperature_celsius
            .or_else(|| number(answer.pointer(environment), TEMPERATURES)),
        reallocated: number(answer.get("scsi_grown_defect_list"), COUNTS),
        media_errors: uncorrected(answer),
        percentage_used: number(
            answer.get("scsi_percentage_used_endurance_indicator"),
            PERCENT_USED,
        ),
        ..common
    }
}

/// What a SCSI drive could not correct, in all directions that it counts; nothing if one of them is nonsense.
fn uncorrected(answer: &Value) -> Option<u64> {
    let log = answer.get("scsi_error_counter_log")?.as_object()?;
    let counts: Vec<u64> = ["read", "write", "verify"]
        .iter()
        .filter_map(|direction| log.get(*direction))
        .map(|one| number(one.get("total_uncorrected_errors"), COUNTS))
        .collect::<Option<_>>()?;
    (!counts.is_empty()).then(|| counts.iter().sum())
}

#[cfg(test)]
mod tests;
