//! The last day on which media may be used. Its certificate is encrypted, so the day is not found in the media; the
//! configuration has it, by the name of the file.

use std::collections::BTreeMap;

use jiff::civil::Date;
use model::api::snapshot::MediaView;
use model::code::{FindingCode, ReasonCode};
use model::failure::{Finding, Refusal};
use model::media::Media;
use model::now::Now;
use model::parcel::OutOfDate;

use crate::history::vouched;

/// The last day of the media of this name, and the name under which the configuration has it. If that has it under no
/// name but some that differ in upper and lower case, the earliest of their days counts: a renamed file is not fresher
/// than it was.
pub(crate) fn last_day<'a>(
    expires: &'a BTreeMap<String, Date>,
    media: &str,
) -> Option<(&'a str, Date)> {
    if let Some((name, day)) = expires.get_key_value(media) {
        return Some((name, *day));
    }
    let media = media.to_lowercase();
    let alike = expires.iter().filter(|(name, _)| name.to_lowercase() == media);
    alike.min_by_key(|(_, day)| **day).map(|(name, day)| (name.as_str(), *day))
}

/// The last day of media as views show it: by its manifest, where somebody vouches for that, or else by the configuration.
pub(crate) fn last_day_of(expires: &BTreeMap<String, Date>, view: &MediaView) -> Option<Date> {
    let signed = view.signed.as_ref().filter(|signed| !signed.by.is_empty());
    let signed = signed.and_then(|signed| signed.manifest.expires);
    signed.or_else(|| last_day(expires, &view.name).map(|(_, day)| day))
}

/// Why media is not used now, if its time has not come or is over: by its signed manifest, or else by the
/// configuration.
pub(crate) fn check(
    expires: &BTreeMap<String, Date>,
    media: &Media,
    now: Now,
) -> Result<(), Refusal> {
    let name = &media.name;
    let manifest = media.signed.as_ref().map(|signed| &signed.manifest);
    match manifest.and_then(|manifest| manifest.out_of_date(now)) {
        Some(OutOfDate::Expired(last)) => {
            let beside = now.beside_an_end();
            let detail = format!("{name} could be used until {last}, by its manifest{beside}");
            let refusal = Refusal::new(ReasonCode::MediaExpired, detail);
            return Err(refusal.with_hint("get a later version of the media"));
        }
        Some(OutOfDate::NotYet(first)) => {
            let detail = format!("{name} may be used from {first} on, by its manifest");
            let refusal = Refusal::new(ReasonCode::MediaNotYetValid, detail);
            return Err(
                refusal.with_hint(format!("wait for that day; here it is {}", now.clock.day))
            );
        }
        Some(OutOfDate::Ahead(signed)) => {
            let today = now.clock.day;
            let detail =
                format!("by its manifest {name} was signed on {signed:.0}, and here it is {today}");
            let refusal = Refusal::new(ReasonCode::MediaNotYetValid, detail);
            return Err(refusal.with_hint(
                "one of the two clocks is wrong: compare with `timedatectl` here; if it is the sender's, have it signed anew",
            ));
        }
        None => {}
    }
    // What is signed counts instead of what is kept by hand.
    if vouched(media).is_some_and(|manifest| manifest.expires.is_some()) {
        return Ok(());
    }
    match last_day(expires, name) {
        Some((_, last)) if now.latest.day > last => {
            let beside = now.beside_an_end();
            let detail = format!("the certificate in {name} was valid until {last}{beside}");
            let refusal = Refusal::new(ReasonCode::MediaExpired, detail);
            Err(refusal.with_hint("order new media, or correct media.expires"))
        }
        _ => Ok(()),
    }
}

/// A warning if the day of this media stands under another name.
pub(crate) fn doubt(expires: &BTreeMap<String, Date>, media: &str) -> Option<Finding> {
    let (name, day) = last_day(expires, media).filter(|(name, _)| *name != media)?;
    let detail = format!(
        "media.expires has {name:?}, and the file is {media:?}; it counts as valid until {day}"
    );
    let hint = format!("write \"{media}\" in media.expires, or rename the file");
    Some(Finding::new(FindingCode::ExpiryName, detail).with_hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_another_case_counts_and_is_told() {
        let days = |names: &[(&str, i16)]| {
            let day =
                |(name, year): &(&str, i16)| ((*name).to_owned(), Date::constant(*year, 1, 1));
            names.iter().map(day).collect::<BTreeMap<_, _>>()
        };
        let expires = days(&[("WIN.wim", 2028), ("win.wim", 2027), ("Ä.wim", 2026)]);
        let found = |name| last_day(&expires, name).map(|(name, day)| (name, day.year()));
        assert_eq!(found("win.wim"), Some(("win.wim", 2027)));
        assert_eq!(found("WIN.wim"), Some(("WIN.wim", 2028)));
        assert_eq!(found("Win.WIM"), Some(("win.wim", 2027)), "the earliest");
        assert_eq!(found("ä.WIM"), Some(("Ä.wim", 2026)));
        assert_eq!(found("win2.wim"), None);
        assert!(doubt(&expires, "win.wim").is_none() && doubt(&expires, "win2.wim").is_none());
        let told = doubt(&expires, "Win.wim").unwrap();
        assert!(told.detail.contains("\"win.wim\"") && told.code.is_warning(), "{told:?}");
    }
}
