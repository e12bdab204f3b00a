//! `arm`, `disarm` and `stop`: what the station does at once, and what that means for the drives.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Client, segment};
use super::output::{Output, narrow};
use super::{CommandError, exit};
use model::api::answers::Done;
use model::api::requests::{Armed, LocateRequest, Stopped};
use model::api::snapshot::{LampsView, Snapshot};

/// How many drives are named.
const NAMED: usize = 8;

pub(super) async fn arm(client: &Client, out: &Output, path: &str) -> Result<u8, CommandError> {
    let report: Armed = client.post(path, &json!({})).await?;
    let done = if report.armed { "armed" } else { "disarmed" };
    out.print(&Done { done, report: &report }, |terminal| narrow(&armed(&report), terminal));
    Ok(exit::DONE)
}

pub(super) async fn stop(client: &Client, out: &Output, drive: &str) -> Result<u8, CommandError> {
    let path = format!("/v1/drives/{}/stop", segment(drive));
    let report: Stopped = client.post(&path, &json!({})).await?;
    out.print(&Done { done: "told to stop", report: &report }, |terminal| {
        narrow(&stopped(&report), terminal)
    });
    Ok(exit::DONE)
}

/// Takes the verdict of a pulled drive off its bay.
pub(super) async fn release(client: &Client, out: &Output, bay: &str) -> Result<u8, CommandError> {
    let path = format!("/v1/bays/{}/release", segment(bay));
    let _: Value = client.post(&path, &json!({})).await?;
    out.done("released")
}

/// Has the lamp of a bay blink, or no longer.
pub(super) async fn locate(
    client: &Client,
    out: &Output,
    bay: &str,
    off: bool,
) -> Result<u8, CommandError> {
    let path = format!("/v1/bays/{}/locate", segment(bay));
    let _: Value = client.post(&path, &LocateRequest { off }).await?;
    if off {
        return out.done("not located any more");
    }
    let snapshot: Snapshot = client.get("/v1/status").await?;
    out.done(located(snapshot.lamps.as_ref(), Timestamp::now()))
}

/// What is said to somebody who looks for a bay: without lamps, nothing blinks.
fn located(lamps: Option<&LampsView>, now: Timestamp) -> &'static str {
    match lamps {
        None => "located, and no lamp blinks: prestaged-lamps has not said anything",
        Some(lamps) if !lamps.is_fresh(now) => {
            "located, and no lamp may blink: prestaged-lamps has not said anything lately"
        }
        Some(LampsView { bays: 0, .. }) => {
            "located, and no lamp blinks: prestaged-lamps knows none of any bay"
        }
        Some(_) => "located",
    }
}

fn armed(report: &Armed) -> String {
    let Armed { armed, already, starting, waiting, no_media, judging, running, idle } = report;
    let mut lines = vec![match (armed, already) {
        (true, true) => "armed, as it was before".to_owned(),
        (true, false) => "armed".to_owned(),
        (false, _) => "disarmed".to_owned(),
    }];
    if let (true, Some(why)) = (armed, idle) {
        lines.push(format!("no drive can be begun: {why}"));
    } else if *armed {
        lines.push(match starting.len() {
            0 => "no drive starts now".to_owned(),
            _ => format!("{} now: {}", starts(starting), named(starting)),
        });
        if !judging.is_empty() {
            let are = if judging.len() == 1 { "drive is" } else { "drives are" };
            let count = judging.len();
            let those = named(judging);
            lines.push(format!(
                "{count} {are} still being judged, and what is admitted starts: {those}"
            ));
        }
        if !waiting.is_empty() {
            let what = starts(waiting);
            let when =
                if no_media.is_some() { "there is media for it" } else { "the media is verified" };
            lines.push(format!("{what} when {when}: {}", named(waiting)));
        }
        if let Some(why) = no_media {
            lines.push(format!("a drive that is of no order gets no media: {why}"));
        }
        lines.push(
            "from now on every admitted drive that is plugged in is imaged, until `prestagectl disarm` or the \
             station's restart"
                .to_owned(),
        );
    } else if !running.is_empty() {
        let what = if running.len() == 1 { "drive is" } else { "drives are" };
        let count = running.len();
        lines.push(format!("{count} {what} being imaged, and finished: {}", named(running)));
    }
    lines.join("\n")
}

fn starts(those: &[String]) -> String {
    match those.len() {
        1 => "1 drive starts".to_owned(),
        count => format!("{count} drives start"),
    }
}

fn named(those: &[String]) -> String {
    let shown = those[..those.len().min(NAMED)].join(", ");
    match those.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn stopped(report: &Stopped) -> String {
    let Stopped { device, drive, running, consented } = report;
    let called = if drive == device { device.clone() } else { format!("{drive} ({device})") };
    // A consent is used up by the attempt that it was for.
    let again = match consented {
        true => format!("`prestagectl image {drive} --overwrite --reason TEXT`"),
        false => format!("`prestagectl retry {drive}`"),
    };
    match running {
        true => format!(
            "told {called} to stop: it is left without a partition table, and {again} images it anew"
        ),
        false => {
            format!("stopped {called} before anything was written to it; {again} begins it anew")
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use model::api::snapshot::LampsView;

    use super::{Armed, Stopped, armed, located, narrow, stopped};

    #[test]
    fn who_looks_for_a_bay_hears_whether_a_lamp_blinks() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let lamps = |bays, age| LampsView {
            at: now - SignedDuration::from_secs(age),
            bays,
            troubles: Vec::new(),
        };
        assert_eq!(located(Some(&lamps(8, 60)), now), "located");
        for none in [None, Some(lamps(8, 600)), Some(lamps(0, 60))] {
            let told = located(none.as_ref(), now);
            assert!(told.starts_with("located, and no lamp"), "{told}");
        }
    }

    #[test]
    fn who_arms_hears_what_begins_and_until_when() {
        let drive = |n: usize| format!("S4EV{n:04}");
        let mut text = String::new();
        let empty = Some("no_media: no media is in the inbox");
        for (is_armed, already, starting, waiting, no_media, judging, running, idle) in [
            (true, false, 0, 0, None, 0, 0, None),
            (true, false, 1, 0, None, 1, 2, None),
            (true, false, 2, 1, None, 0, 0, None),
            (true, true, 0, 13, None, 2, 0, None),
            (true, false, 0, 3, empty, 0, 0, None),
            (false, false, 0, 0, None, 0, 0, None),
            (false, false, 0, 0, None, 0, 1, None),
            (false, true, 0, 0, None, 0, 24, None),
            (true, false, 0, 0, None, 0, 0, Some("no bay is allowed (admission.bays)")),
        ] {
            let those = |count: usize| (1..=count).map(drive).collect::<Vec<_>>();
            let report = Armed {
                armed: is_armed,
                already,
                starting: those(starting),
                waiting: those(waiting),
                no_media: no_media.map(str::to_owned),
                judging: those(judging),
                running: those(running),
                idle: idle.map(str::to_owned),
            };
            text += &format!("{}\n\n", narrow(&armed(&report), None));
        }
        for (drive, running, consented) in [
            ("S4EV0001", true, false),
            ("S4EV0001", false, false),
            ("/dev/sdb", true, false),
            ("S4EV0001", true, true),
        ] {
            let device = "/dev/sdb".into();
            let report = Stopped { device, drive: drive.into(), running, consented };
            text += &format!("{}\n", narrow(&stopped(&report), None));
        }
        crate::fixture::snapshot("told", &text);
    }
}
