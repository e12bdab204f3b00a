//! Paths through the station, event by event, without a drive or a runtime.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::*;
use crate::admission::{Code, Content, Overwrite, Usage};
use crate::digest::Digest;
use crate::drive::{Bay, Bus, DeviceNumber, Diskseq, Drive, Serial};
use crate::hotplug::Change;
use crate::job::Verdict;
use crate::layout::Layout;
use crate::master::store::{Master, Stamp};
use crate::master::{Manifest, Recipe};
use crate::media::intake::Outcome;
use crate::media::{Inventory, Media};
use crate::units::Bytes;

fn station() -> Station {
    let policy = Policy {
        armed: true,
        buses: vec!["usb".into()],
        bays: vec![glob::Pattern::new("*").unwrap()],
        min_size: None,
        max_size: None,
        overwrite: Overwrite::Any,
    };
    Station::new("test", policy, Layout::default(), 1, false)
}

fn drive(name: &str, diskseq: u64) -> Drive {
    Drive {
        name: name.into(),
        node: format!("/dev/{name}").into(),
        number: DeviceNumber { major: 8, minor: 0 },
        diskseq: Diskseq(diskseq),
        serial: Serial::new(&format!("S{diskseq}")),
        wwn: None,
        model: None,
        firmware: None,
        bus: Bus("usb".into()),
        bay: Bay("port-1".into()),
        size: Bytes(8 << 30),
        logical_sector_bytes: 512,
        read_only: false,
    }
}

fn facts() -> Result<Box<Facts>, String> {
    Ok(Box::new(Facts { usage: Usage::default(), content: Content::Unknown, previous: None }))
}

/// Media is in the inbox and found valid.
fn with_media(station: &mut Station) {
    let file = tempfile::tempfile().unwrap();
    let path = PathBuf::from("/inbox/win.wim");
    let listing = HashMap::from([(path.clone(), Stamp::of(&file).unwrap())]);
    let effects = station.apply(Event::Inbox(listing));
    assert!(matches!(&effects[..], [Effect::Intake(p)] if *p == path), "{effects:?}");
    let media = Media {
        name: "win.wim".into(),
        files: Vec::new(),
        sha256: Digest([7; 32]),
        size_bytes: Bytes(1),
        guid: String::new(),
        compression: String::new(),
        integrity_table: false,
        images: Vec::new(),
        image: 1,
        inventory: Inventory::default(),
        boot_image: None,
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    station.apply(Event::IntakeEnded(path, Ok(Outcome::Media(Box::new(media)))));
}

fn master(recipe: Recipe) -> Arc<Master> {
    let zero = Digest([0; 32]);
    let manifest = Manifest {
        format: 0,
        id: recipe.id(),
        plan: recipe.layout.plan(recipe.geometry).unwrap(),
        recipe,
        chunks: Vec::new(),
        sites: Vec::new(),
        root_sha256: zero,
        seal_sha256: zero,
        pressed: Timestamp::now(),
        warnings: Vec::new(),
    };
    Arc::new(Master { manifest, image: tempfile::tempfile().unwrap() })
}

/// The ticket of the one judgement asked for.
fn judge(effects: Vec<Effect>) -> Ticket {
    let mut tickets = effects.into_iter().filter_map(|effect| match effect {
        Effect::Judge(ticket, _) => Some(ticket),
        _ => None,
    });
    let ticket = tickets.next().expect("a judgement");
    assert!(tickets.next().is_none(), "one judgement");
    ticket
}

fn attach(station: &mut Station, name: &str, diskseq: u64) -> Ticket {
    judge(station.apply(Event::Drives(vec![Change::Present(drive(name, diskseq))])))
}

/// A drive up to the moment where its master is looked for.
fn waiting(station: &mut Station) -> (Ticket, Recipe) {
    let ticket = attach(station, "sdb", 1);
    let mut effects = station.apply(Event::Judged(ticket.clone(), facts()));
    match effects.pop() {
        Some(Effect::LookForMaster(recipe)) => (ticket, recipe),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_drive_is_judged_again_when_its_master_is_there() {
    let mut station = station();
    with_media(&mut station);
    let (_, recipe) = waiting(&mut station);
    let id = recipe.id();
    let effects = station.apply(Event::MasterLooked(recipe.clone(), Ok(None)));
    assert!(matches!(&effects[..], [Effect::Press { .. }]), "{effects:?}");
    let effects = station.apply(Event::PressEnded(id, Ok(())));
    assert!(matches!(&effects[..], [Effect::LookForMaster(_)]), "{effects:?}");
    let found = Ok(Some(master(recipe.clone())));
    let ticket = judge(station.apply(Event::MasterLooked(recipe, found)));
    let effects = station.apply(Event::Judged(ticket.clone(), facts()));
    assert!(matches!(&effects[..], [Effect::Job(_)]), "{effects:?}");
    // A second answer to the same question starts nothing.
    assert!(station.apply(Event::Judged(ticket, facts())).is_empty());
}

#[test]
fn mounted_meanwhile_it_is_refused() {
    let mut station = station();
    with_media(&mut station);
    let (_, recipe) = waiting(&mut station);
    let found = Ok(Some(master(recipe.clone())));
    let ticket = judge(station.apply(Event::MasterLooked(recipe, found)));
    let usage = Usage { mounts: vec!["/mnt".into()], ..Usage::default() };
    let facts = Facts { usage, content: Content::Unknown, previous: None };
    let effects = station.apply(Event::Judged(ticket, Ok(Box::new(facts))));
    match &effects[..] {
        [Effect::Record(record)] => {
            assert_eq!(record.reason.as_ref().unwrap().code, Code::Mounted.to_string());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_that_is_used_again_is_another_drive() {
    let mut station = station();
    with_media(&mut station);
    let (old, _) = waiting(&mut station);
    let gone = Change::Gone { name: "sdb".into(), diskseq: Diskseq(1) };
    let effects = station.apply(Event::Drives(vec![gone]));
    match &effects[..] {
        [Effect::Record(record)] => assert_eq!(record.verdict, Some(Verdict::Failed)),
        other => panic!("{other:?}"),
    }
    attach(&mut station, "sdb", 2);
    assert!(
        station.apply(Event::Judged(old, facts())).is_empty(),
        "the answer is about another drive"
    );
}

#[test]
fn without_media_nothing_starts_and_nothing_is_forgotten() {
    let mut station = station();
    let ticket = attach(&mut station, "sdb", 1);
    // The inbox has not been read yet: no decision, no record.
    assert!(station.apply(Event::Judged(ticket, facts())).is_empty());
    let ticket = judge(station.apply(Event::Inbox(HashMap::new())));
    let effects = station.apply(Event::Judged(ticket, facts()));
    let first = match &effects[..] {
        [Effect::Record(record)] => record.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(first.reason.unwrap().code, "no_media");
    let file = tempfile::tempfile().unwrap();
    let listing = HashMap::from([(PathBuf::from("/inbox/x.wim"), Stamp::of(&file).unwrap())]);
    let effects = station.apply(Event::Inbox(listing));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Judge(..))), "{effects:?}");
}

#[test]
fn draining_it_ends_when_nothing_runs() {
    let mut station = station();
    with_media(&mut station);
    let (_, recipe) = waiting(&mut station);
    let found = Ok(Some(master(recipe.clone())));
    let ticket = judge(station.apply(Event::MasterLooked(recipe, found)));
    let mut effects = station.apply(Event::Judged(ticket, facts()));
    let Some(Effect::Job(order)) = effects.pop() else { panic!("a job") };
    let exits = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Exit));
    assert!(!exits(&station.apply(Event::Drain)));
    assert_eq!(order.stop.reason(), None, "a running drive is finished");
    assert!(!exits(&station.apply(Event::Halt)));
    assert_eq!(order.stop.reason(), Some(StopReason::Shutdown));
    let record = order.record.closed_with(Verdict::Stopped, "station_shutdown", "x");
    assert!(exits(&station.apply(Event::JobEnded(order.ticket, Box::new(record)))));
}
