//! `media`: what is in the inbox, whether it may be used, and what it contains.

use anstyle::Style;
use jiff::civil::Date;
use jiff::{Timestamp, Unit};
use serde_json::json;

use super::arguments::MediaVerb;
use super::client::{Client, segment};
use super::output::{Output, paragraph};
use super::progress::Progress;
use super::table::{Cell, Keep, Table};
use super::{CommandError, composing, ended, exit, parcel, words};
use model::api::requests::{AcceptRequest, OfferRequest};
use model::api::snapshot::{MediaState, MediaView, Snapshot};
use model::code::DenialCode;
use model::failure::Finding;
use model::media::{CachedPackage, Signed};
use model::offer::Offer;
use model::units::Bytes;

pub(super) async fn perform(
    client: &Client,
    out: &Output,
    verb: &MediaVerb,
) -> Result<u8, CommandError> {
    match verb {
        MediaVerb::List { all } => {
            let snapshot: Snapshot = client.get("/v1/status").await?;
            let count = snapshot.media.len();
            let media = if *all { snapshot.media } else { shown(snapshot.media) };
            let hidden = count - media.len();
            let no_media = snapshot.no_media;
            out.print(&media, |terminal| {
                let mut text = list(&media, terminal);
                if let Some(why) = no_media.filter(|_| count > 0) {
                    let why =
                        format!("drives get no media unless it is named: {}\n", why.sentence());
                    text += &paragraph(&why, terminal);
                }
                if hidden > 0 {
                    text += &paragraph(&format!("{hidden} hidden: see --all\n"), terminal);
                }
                text
            });
            Ok(exit::DONE)
        }
        MediaVerb::Offer { name, offer } => {
            let path = format!("/v1/media/{}/offer", segment(name));
            let request = OfferRequest { offer: *offer };
            let _: serde_json::Value = client.post(&path, &request).await?;
            let snapshot: Snapshot = client.get("/v1/status").await?;
            let sha256 = snapshot.media.iter().find(|media| media.name == *name);
            let sha256 = sha256.and_then(|media| media.sha256);
            let same = |media: &&MediaView| media.name != *name && media.sha256 == sha256;
            let others = snapshot.media.iter().filter(|media| sha256.is_some() && same(media));
            let others: Vec<&str> = others.map(|media| media.name.as_str()).collect();
            out.done(&match others.is_empty() {
                true => format!("offered {name}: {offer}"),
                false => format!(
                    "offered {name}: {offer}; {}, too, which has the same content",
                    others.join(", ")
                ),
            })
        }
        MediaVerb::Show { name } => {
            let media = find(client, name).await?;
            out.print(&media, |terminal| show(&media, terminal));
            Ok(exit::DONE)
        }
        MediaVerb::Accept { name, reason } => {
            let path = format!("/v1/media/{}/accept", segment(name));
            let request = AcceptRequest { reason: reason.clone() };
            let _: serde_json::Value = client.post(&path, &request).await?;
            out.done("accepted")
        }
        MediaVerb::Pack(arguments) => parcel::pack(out, arguments),
        MediaVerb::Sign { parcel, key } => parcel::sign(out, parcel, key),
        MediaVerb::Have { files, .. } if !files.is_empty() => parcel::have_files(out, files),
        MediaVerb::Have { product, .. } => parcel::have(client, out, product.as_ref()).await,
        MediaVerb::Receive(arguments) => parcel::receive(client, out, arguments).await,
        MediaVerb::Verify { name } => {
            let path = format!("/v1/media/{}/verify", segment(name));
            let _: serde_json::Value = client.post(&path, &json!({})).await?;
            let media = follow(client, name, !out.json).await?;
            out.print(&media, |terminal| show(&media, terminal));
            Ok(if media.state == MediaState::Valid { exit::DONE } else { exit::FAILED })
        }
        MediaVerb::Create(arguments) => composing::create(out, arguments).await,
        MediaVerb::Split(arguments) => composing::split(out, arguments).await,
    }
}

/// Media without what is hidden.
pub(super) fn shown(mut all: Vec<MediaView>) -> Vec<MediaView> {
    all.retain(|media| media.offer != Offer::Hidden);
    all
}

async fn find(client: &Client, name: &str) -> Result<MediaView, CommandError> {
    let snapshot: Snapshot = client.get("/v1/status").await?;
    snapshot.media.into_iter().find(|media| media.name == name).ok_or_else(|| {
        let text = format!("no media named {name:?} is in the inbox");
        let error = CommandError::new(exit::REFUSED, text).with_code(DenialCode::NoMedia);
        error.with_hint("see `prestagectl media list`")
    })
}

/// Waits until media has been verified.
async fn follow(client: &Client, name: &str, shown: bool) -> Result<MediaView, CommandError> {
    let mut events = client.events().await?;
    let progress = Progress::new(name, shown);
    while let Some(snapshot) = events.next::<Snapshot>().await? {
        let media = snapshot.media.into_iter().find(|media| media.name == name);
        let Some(media) = media else {
            return Err(CommandError::new(exit::FAILED, format!("{name} has left the inbox")));
        };
        progress.set(media.percent.unwrap_or(100.0), line(&media));
        if media.state != MediaState::Checking {
            return Ok(media);
        }
    }
    Err(ended())
}

fn state(media: &MediaView) -> (&'static str, Style) {
    match media.state {
        MediaState::Checking => ("checking", Style::new()),
        MediaState::Valid => ("valid", words::GOOD),
        MediaState::Invalid => ("INVALID", words::BAD),
    }
}

/// What speaks against media: the first problem, where there are several, or the codes of its warnings.
fn why(media: &MediaView) -> String {
    match &media.problems[..] {
        [] if media.warnings.is_empty() => String::new(),
        [] => {
            let count = words::plural(media.warnings.len(), "warning", "warnings");
            let codes: Vec<String> = media.warnings.iter().map(|w| w.code.to_string()).collect();
            format!("{count}: {}", codes.join(", "))
        }
        [only] => only.sentence(),
        [first, rest @ ..] => format!("{} (and {} more)", first.sentence(), rest.len()),
    }
}

/// Media's state on one line, without its progress.
pub(super) fn line(media: &MediaView) -> String {
    let (word, style) = state(media);
    format!("{style}{word}{style:#} {}", why(media)).trim_end().to_owned()
}

pub(super) fn list(all: &[MediaView], terminal: Option<usize>) -> String {
    if all.is_empty() {
        return paragraph("no media in the inbox\n", terminal);
    }
    let mut table = Table::new([
        ("MEDIA", Keep::Always),
        ("STATE", Keep::Always),
        ("OFFER", Keep::Useful),
        ("FOR", Keep::Useful),
        ("SIZE", Keep::Useful),
        ("SHA-256", Keep::Spare),
        ("WHY", Keep::Text),
    ]);
    for media in all {
        let digest = media.sha256.map(|digest| digest.to_string());
        let (state, style) = state(media);
        table.row([
            Cell::new(&media.name),
            Cell::styled(state, style),
            Cell::new(media.offer),
            Cell::perhaps(match &media.refused {
                Some(refused) => Some(refused.code.into()),
                None => media.current.then_some("new drives"),
            }),
            Cell::new(media.size_bytes),
            Cell::perhaps(digest.as_deref().and_then(|digest| digest.get(..16))),
            Cell::new(match media.percent {
                Some(percent) if media.state == MediaState::Checking => {
                    format!("{percent:.0}% verified")
                }
                _ => why(media),
            }),
        ]);
    }
    table.render(terminal)
}

/// What is said of media that was signed at a time that is still to come.
fn ahead(signed: Timestamp) -> String {
    let by = signed.duration_since(Timestamp::now());
    match by.is_positive() {
        true => {
            format!(", {:#} ahead of this machine's clock", by.round(Unit::Second).unwrap_or(by))
        }
        false => String::new(),
    }
}

fn show(media: &MediaView, terminal: Option<usize>) -> String {
    let mut table = Table::headless([Keep::Always, Keep::Text]);
    let bytes = |Bytes(bytes): Bytes| format!("{bytes} bytes");
    let (state, style) = state(media);
    table.row([Cell::new("media"), Cell::new(&media.name)]);
    table.row([Cell::new("state"), Cell::styled(state, style)]);
    let by = media.offered.as_ref();
    let by = by.map(|offered| format!(", by {} at {:.0}", offered.by, offered.at));
    let offer = format!("{}{}", media.offer, by.unwrap_or_default());
    table.row([Cell::new("offer"), Cell::new(offer)]);
    let current = media.current.then_some("drives that come now get it");
    let refused = media.refused.as_ref().map(|refused| refused.detail.as_str());
    let uses = current.into_iter().chain(refused);
    uses.for_each(|text| table.row([Cell::new("use"), Cell::new(text)]));
    if let Some(day) = media.last_day {
        table.row([Cell::new("last day"), Cell::new(day.to_string())]);
    }
    let mut line = |name: &str, value: String| table.row([Cell::new(name), Cell::new(value)]);
    line("size", bytes(media.size_bytes));
    if let Some(sha256) = media.sha256 {
        line("SHA-256", sha256.to_string());
    }
    if media.files.len() > 1 {
        for file in &media.files {
            line("part", format!("{} {}", file.name, file.sha256));
        }
    }
    if let Some(Signed { manifest, by, differences }) = &media.signed {
        let version = manifest.version.as_ref().map(|version| format!(", version {version}"));
        let text =
            format!("{} {}{}", manifest.product, manifest.sequence, version.unwrap_or_default());
        line("product", text);
        // Where no signers are asked for, whoever has signed it is not looked up.
        let names = if by.is_empty() {
            "somebody whom this station does not ask for".to_owned()
        } else {
            by.join(", ")
        };
        line(
            "signed by",
            format!("{names}, on {:.0}{}", manifest.created, ahead(manifest.created)),
        );
        let day = |day: Option<Date>| day.map_or_else(|| "any day".into(), |day| day.to_string());
        let days = [manifest.not_before, manifest.expires].map(day);
        line("may be used", format!("from {} to {}, by its manifest", days[0], days[1]));
        let claims = match &differences[..] {
            [] => "the same as intake has found".to_owned(),
            told => told.join("; "),
        };
        line("claims", claims);
        manifest.offer.iter().for_each(|offer| line("maker's offer", offer.clone()));
    }
    if let Some(compression) = &media.compression {
        line("compression", compression.clone());
    }
    if let Some(table) = media.integrity_table {
        line("integrity", if table { "table, checked" } else { "no table" }.into());
    }
    for image in &media.images {
        let applied = if image.index == media.image { " (applied)" } else { "" };
        let files = words::plural(image.files, "file", "files");
        let counts = format!("{files}, {}", words::plural(image.directories, "folder", "folders"));
        let text = format!("{}{applied}: {counts}, {}", image.name, bytes(image.bytes));
        line(&format!("image {}", image.index), text);
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
        for package in &found.packages {
            let CachedPackage { id, files, size_bytes, sha256_of_list } = package;
            let files = words::plural(*files, "file", "files");
            let text = format!("{files}, {}, {sha256_of_list}", bytes(*size_bytes));
            line(&format!("package {id}"), text);
        }
        if found.more_packages > 0 {
            line("packages", format!("{} more, which are not listed", found.more_packages));
        }
        line("boot.wim", found.boot_wim_bytes.map_or_else(|| "none".into(), bytes));
        line("needs", format!("{} or more on the Windows volume", bytes(found.least_bytes)));
    }
    if let Some(boot) = &media.boot_image {
        let unknown = || "unknown".to_owned();
        let architecture = boot.architecture.clone().unwrap_or_else(unknown);
        let build = boot.build.clone().unwrap_or_else(unknown);
        line("boot image", format!("{}, {architecture}, build {build}", boot.name));
        line("boot SHA-256", boot.sha256.to_string());
    }
    for (number, step) in (1..).zip(&media.first_start) {
        line(&format!("start step {number}"), step.clone());
    }
    let mut finding = |name: &str, style: Style, finding: &Finding| {
        table.row([Cell::styled(name, style), Cell::new(finding.sentence())]);
        if let Some(hint) = &finding.hint {
            table.row([Cell::new("hint"), Cell::new(hint)]);
        }
    };
    media.problems.iter().for_each(|problem| finding("PROBLEM", words::BAD, problem));
    media.warnings.iter().for_each(|warning| finding("warning", words::NOTICE, warning));
    table.render(terminal)
}

#[cfg(test)]
mod tests {
    use crate::fixture;

    #[test]
    fn media() {
        let all = fixture::station().media;
        fixture::outputs("media-list", |terminal| super::list(&all, terminal));
        fixture::outputs("media-show", |terminal| super::show(&all[0], terminal));
        fixture::outputs("media-show-invalid", |terminal| super::show(&all[2], terminal));
        assert_eq!(super::line(&all[1]), "checking");
    }
}
