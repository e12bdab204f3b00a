//! What came of a scan, in a sentence.

use jiff::Timestamp;
use model::api::scanned::Scanned;
use model::api::snapshot::DriveView;
use model::record::Record;
use model::verdict::Verdict;

/// How a view says what it also says elsewhere: with colours or without, by its reader's clock.
#[expect(missing_debug_implementations, reason = "it holds functions")]
pub struct Words<'a> {
    /// How it stands with a drive.
    pub drive: &'a dyn Fn(&DriveView) -> String,
    /// A verdict, or that there is none.
    pub verdict: &'a dyn Fn(Option<Verdict>) -> String,
    /// A time of today.
    pub clock: &'a dyn Fn(Timestamp) -> String,
    /// A time of any day.
    pub date: &'a dyn Fn(Timestamp) -> String,
}

/// What came of a scan, for who stands at the rack.
pub fn sentence(scanned: &Scanned, words: &Words<'_>) -> String {
    match scanned {
        Scanned::Order { order } => {
            let drive = match &order.bay {
                Some(bay) => format!("the next drive in bay {bay}"),
                None => "the next drive that is plugged in".to_owned(),
            };
            let until = (words.clock)(order.until);
            let waits = format!("order {}: for {drive}, until {until}", order.number);
            match &order.instead_of {
                Some(before) => format!("{waits}; order {before} waits no longer"),
                None => waits,
            }
        }
        Scanned::Attempt { attempt } => {
            format!("{}: judged now, and begun if nothing speaks against it", attempt.device)
        }
        Scanned::Drive { drive } => {
            format!("{} in bay {}: {}", drive.name(), drive.bay, (words.drive)(drive))
        }
        Scanned::Record { record } => recorded(record, words),
        Scanned::Bay { bay, drive: Some(drive) } => {
            format!("bay {bay}: {} {}", drive.name(), (words.drive)(drive))
        }
        Scanned::Bay { bay, drive: None } => format!("bay {bay}: empty"),
        Scanned::Stopped { stopped } => format!("told {} to stop", stopped.drive),
        Scanned::Disarmed { .. } => {
            "disarmed; drives that are being imaged are finished".to_owned()
        }
        Scanned::Released { bay } => format!("{bay}: released"),
        Scanned::Forgotten { orders } => match orders {
            0 => "no order was waiting for a drive".to_owned(),
            1 => "1 order forgotten: drives get what they get without a scan".to_owned(),
            more => format!("{more} orders forgotten: drives get what they get without a scan"),
        },
    }
}

/// A drive that is not here.
fn recorded(record: &Record, words: &Words<'_>) -> String {
    let serial = record.serial.as_ref().map(ToString::to_string).unwrap_or_default();
    let verdict = (words.verdict)(record.verdict);
    let at = (words.date)(record.closed.unwrap_or(record.opened));
    let mut text = format!("{serial} is not here; {verdict} at {at}");
    if let Some(media) = &record.media {
        text += &format!(", {}", media.name);
    }
    if let Some(order) = &record.order {
        text += &format!(", order {order}");
    }
    if let Some(reason) = &record.reason {
        text += &format!(": {}", reason.sentence());
    }
    text
}
