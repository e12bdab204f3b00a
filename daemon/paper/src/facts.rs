//! What a certificate says, as words. All of it is read from the record that the station has signed, but for what is marked.

use evidence::check::Checked;
use jiff::Timestamp;
use model::api::evidence::Beside;
use model::drive::Serial;
use model::job::Bottleneck;
use model::old_data::{OldData, OldDataFate};
use model::record::Record;
use model::units::{ByteRate, Bytes};
use model::verdict::Verdict;
use signing::PublicKey;

/// What is not known of a drive, or was not recorded.
const UNKNOWN: &str = "unknown";
/// What there is none of.
const NONE: &str = "none";
/// Stands beside what is not part of the signed record.
pub(crate) const MARK: &str = " *";

/// One thing that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) kind: Kind,
}

/// How a value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    /// A digest or another number that is compared digit by digit.
    Digits,
}

/// A partition: its name, its GUID, its volume's serial number, its sectors.
pub(crate) type Partition = [String; 4];

/// Everything that a certificate says.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) verdict: Verdict,
    pub(crate) serial: String,
    pub(crate) model: String,
    pub(crate) station: String,
    /// What the verdict means, in a sentence.
    pub(crate) meaning: String,
    /// Why the drive has not passed.
    pub(crate) reason: Option<String>,
    pub(crate) closed: String,
    pub(crate) order: Vec<Fact>,
    pub(crate) media: Vec<Fact>,
    pub(crate) drive: Vec<Fact>,
    pub(crate) verification: Vec<Fact>,
    pub(crate) health: Vec<Fact>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) warnings: Vec<String>,
    pub(crate) proof: Vec<Fact>,
}

fn plain(name: &str, value: impl Into<String>) -> Fact {
    Fact { name: name.to_owned(), value: value.into(), kind: Kind::Plain }
}

fn digits(name: &str, value: impl Into<String>) -> Fact {
    Fact { name: name.to_owned(), value: value.into(), kind: Kind::Digits }
}

/// What may be absent.
fn known(name: &str, value: Option<impl ToString>, otherwise: &str) -> Fact {
    plain(name, value.map_or_else(|| otherwise.to_owned(), |value| value.to_string()))
}

/// A digest in two halves, so that lines break between them.
fn digest(name: &str, digest: Option<impl ToString>, otherwise: &str) -> Fact {
    let halves = |text: String| match text.split_at_checked(32) {
        Some((first, second)) if !second.is_empty() => format!("{first} {second}"),
        _ => text,
    };
    match digest {
        Some(digest) => digits(name, halves(digest.to_string())),
        None => plain(name, otherwise),
    }
}

impl Facts {
    /// What a closed record says; `None` if it is not closed.
    pub(crate) fn of(checked: &Checked, beside: &Beside, key: &PublicKey) -> Option<Self> {
        let record = &checked.record;
        let (verdict, closed) = (record.verdict?, record.closed?);
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        let serial = record.serial.as_ref().map(Serial::as_str).unwrap_or("(no serial number)");
        let since = beside.since.as_ref().map(|since| since.sentence() + MARK);
        let refused_since = since.as_ref().map(|_| format!(" It was refused since{MARK}"));
        let refused_since = refused_since.unwrap_or_default();
        Some(Self {
            verdict,
            serial: serial.to_owned(),
            model: text(&record.model),
            station: record.station.clone(),
            meaning: meaning(verdict, record) + &refused_since,
            reason: record.reason.as_ref().map(|reason| reason.sentence()),
            closed: time(closed),
            order: order(record, beside),
            media: media(record, beside),
            drive: vec![
                plain("Maker and model", text(&record.model)),
                plain("Serial number", serial),
                known("WWN", record.wwn.as_ref(), UNKNOWN),
                known("Firmware", record.firmware.as_ref(), UNKNOWN),
                plain("Capacity", amount(record.size_bytes)),
                plain("Logical sectors", format!("{} bytes", record.logical_sector_bytes)),
                plain("Bus, bay", format!("{}, {}", record.bus, record.bay)),
            ],
            verification: verification(record, closed),
            health: health(record),
            partitions: partitions(record),
            warnings: since.into_iter().chain(record.warnings.iter().cloned()).collect(),
            proof: proof(checked, key),
        })
    }

    /// The document's title. Whoever reads nothing else reads the verdict.
    pub(crate) fn title(&self) -> String {
        format!("{}: drive {}, {}", word(self.verdict), self.serial, self.closed)
    }
}

/// The verdict in capital letters.
pub(crate) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "PASSED",
        Verdict::Failed => "FAILED",
        Verdict::Refused => "REFUSED",
        Verdict::Stopped => "STOPPED",
    }
}

fn meaning(verdict: Verdict, record: &Record) -> String {
    match (verdict, record.warnings.len()) {
        (Verdict::Passed, 0) => {
            "Every byte that was written was read back from the drive and is right.".to_owned()
        }
        (Verdict::Passed, count) => {
            let plural = if count == 1 { "" } else { "s" };
            format!(
                "Every byte that was written was read back and is right; with {count} warning{plural}."
            )
        }
        (Verdict::Failed, _) => {
            "This drive was not imaged as asked for. It must not be used.".to_owned()
        }
        (Verdict::Refused, _) => "This drive was not imaged. No byte was written to it.".to_owned(),
        (Verdict::Stopped, _) => {
            "The job was ended early: the drive is neither good nor bad.".to_owned()
        }
    }
}

fn order(record: &Record, beside: &Beside) -> Vec<Fact> {
    let marked = |name: &str| format!("{name}{MARK}");
    let consent = record.consent.as_ref().map(|consent| {
        let held = consent.held.as_deref().map(|held| format!(" (it held {held})"));
        format!("{}: {}{}", consent.user, consent.reason, held.unwrap_or_default())
    });
    let mut facts = vec![
        known(&marked("Customer"), beside.customer.as_ref(), UNKNOWN),
        known("Order", record.order.as_ref(), NONE),
    ];
    if let Some(part) = &beside.part {
        facts.push(plain(&marked("Part"), part));
    }
    if let Some(attempt) = record.attempt {
        facts.push(plain("Attempt", attempt.to_string()));
    }
    facts.push(known("Operator", record.operator.as_ref(), "nobody; by the station itself"));
    if let Some(consent) = consent {
        facts.push(plain("Consent", consent));
    }
    facts.push(digits("Job", record.job.to_string()));
    facts
}

fn media(record: &Record, beside: &Beside) -> Vec<Fact> {
    let media = record.media.as_ref();
    let mut facts = vec![
        known("Name", media.map(|media| &media.name), NONE),
        known(&format!("Version{MARK}"), beside.media_version.as_ref(), UNKNOWN),
    ];
    let Some(media) = media else { return facts };
    facts.push(plain("Image", media.image.to_string()));
    facts.push(digest("SHA-256", Some(media.sha256), NONE));
    if let Some(master) = &record.master {
        facts.push(digits("Master", master.id.to_string()));
    }
    let programs: Vec<String> = record.boot_programs.iter().map(ToString::to_string).collect();
    if !programs.is_empty() {
        facts.push(plain("Boot programs", programs.join("; ")));
    }
    facts
}

fn verification(record: &Record, closed: Timestamp) -> Vec<Fact> {
    let (written, verified) = (record.written_bytes, record.verified_bytes);
    let share = match written.0 {
        0 => String::new(),
        _ if written == verified => ", all".to_owned(),
        // Rounded down, so that a byte that is missing shows.
        of => {
            let thousandths = u128::from(verified.0) * 1000 / u128::from(of);
            format!("; {}.{} % of what was written", thousandths / 10, thousandths % 10)
        }
    };
    let mut facts = vec![
        plain("Written", amount(written)),
        plain("Read back, right", format!("{}{share}", amount(verified))),
        digest("SHA-256 of that", record.readback_sha256, NONE),
    ];
    if !record.mismatches.is_empty() {
        let count = record.mismatches.len();
        let ranges = if count == 1 { "range, in" } else { "ranges, in" };
        facts.push(plain("Wrong", format!("{count} {ranges} the attached record")));
    }
    facts.push(plain("Rest of the drive", rest(record.old_data)));
    facts.push(plain("Begun", time(record.opened)));
    facts.push(plain("Ended", time(closed)));
    facts.push(plain("Took", duration(record.opened, closed)));
    let rates = [
        ("Write rate", record.write_bytes_per_second, record.write_limited_by),
        ("Read-back rate", record.verify_bytes_per_second, record.verify_limited_by),
    ];
    facts.extend(rates.map(|(name, rate, by)| plain(name, rate_by(rate, by))));
    facts
}

/// As the drive told it. A job that was not begun has no health after it.
fn health(record: &Record) -> Vec<Fact> {
    let known_of = record.health.as_ref();
    let after = known_of.and_then(|health| health.after.as_ref());
    vec![
        known("Before", known_of.map(|health| &health.before), UNKNOWN),
        known("After", after, UNKNOWN),
    ]
}

fn rate_by(rate: Option<ByteRate>, by: Option<Bottleneck>) -> String {
    let Some(rate) = rate else { return NONE.to_owned() };
    match by {
        Some(by) => format!("{rate}, limited by {by}"),
        None => rate.to_string(),
    }
}

/// What became of what no byte was written to.
fn rest(old_data: Option<OldData>) -> String {
    let Some(OldData { fate, bytes, sampled_places, places_with_data, .. }) = old_data else {
        return "not touched".to_owned();
    };
    let fate = match fate {
        Some(OldDataFate::Discarded) => "discarded",
        Some(OldDataFate::Overwritten) => "overwritten with zeros",
        Some(OldDataFate::Left) => "left as it was",
        None => UNKNOWN,
    };
    format!("{bytes}: {fate}; {places_with_data} of {sampled_places} places looked at hold data")
}

fn partitions(record: &Record) -> Vec<Partition> {
    let Some(identity) = &record.identity else { return Vec::new() };
    let disk = ["Disk".to_owned(), identity.disk_guid.to_string(), String::new(), String::new()];
    let own = identity.partitions.iter().map(|partition| {
        [
            partition.name.clone(),
            partition.guid.to_string(),
            partition.volume_serial.clone().unwrap_or_default(),
            format!("{}\u{2013}{}", partition.first_lba.0, partition.last_lba.0),
        ]
    });
    [disk].into_iter().chain(own).collect()
}

fn proof(checked: &Checked, key: &PublicKey) -> Vec<Fact> {
    let record = &checked.record;
    let mut facts = vec![
        plain(
            "Station, program",
            format!("{}, prestaged {}", record.station, record.prestaged_version),
        ),
        digits("Ledger", checked.place.ledger.to_string()),
    ];
    if let Some(checkpoint) = &checked.checkpoint {
        let (seq, size) = (checked.place.seq, checkpoint.size);
        facts.push(plain("Checkpoint", format!("entry {seq} of {size} in the log, whose root is")));
        facts.push(digits("", checkpoint.root.to_string()));
    }
    facts.push(digits("Record's SHA-256", checked.digest.to_string()));
    facts.push(digits("Station's key", key.id().to_string()));
    facts
}

/// `512,110,190,592 bytes (512.1 GB)`
fn amount(bytes: Bytes) -> String {
    match bytes.0 {
        0..1000 => format!("{} bytes", bytes.0),
        _ => format!("{} bytes ({bytes})", grouped(bytes.0)),
    }
}

fn grouped(number: u64) -> String {
    let text = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in text.chars().enumerate() {
        if at > 0 && (text.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The same on every machine, whatever its time zone.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn duration(from: Timestamp, to: Timestamp) -> String {
    // A clock that was set back in between says nothing.
    let Ok(seconds) = u64::try_from(to.as_second() - from.as_second()) else {
        return UNKNOWN.to_owned();
    };
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}
