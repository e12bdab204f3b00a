//! Paths through the station, event by event, without a drive or a runtime.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::*;
use crate::admission::{Code, Content, Overwrite, Policy, Refusal, Usage};
use crate::digest::Digest;
use crate::drive::{Bay, Bus, DeviceNumber, Diskseq, Drive, Serial};
use crate::hotplug::Change;
use crate::job::Verdict;
use crate::layout::Layout;
use crate::master::store::{Master, Stamp};
use crate::master::{Manifest, Recipe};
use crate::media::intake::Outcome;
use crate::media::{Inventory, Media};
use crate::record::Record;
use crate::units::Bytes;

fn station() -> Station {
    let policy = Policy {
        armed: true,
        buses: vec!["usb".into()],
        bays: vec![glob::Pattern::new("*").unwrap()],
        overwrite: Overwrite::Any,
        ..Policy::closed()
    };
    Station::new(Setup {
        name: "test".into(),
        file: PathBuf::new(),
        policy,
        layout: Layout::default(),
        image: 1,
        expires: BTreeMap::from([("win.wim".into(), Date::constant(2027, 6, 30))]),
        press_ahead: false,
    })
}

fn drive(name: &str, diskseq: u64) -> Drive {
    Drive {
        name: name.into(),
        node: format!("/dev/{name}").into(),
        number: DeviceNumber { major: 8, minor: 0 },
        diskseq: Diskseq(diskseq),
        serial: Serial::new(&format!("S{diskseq}")),
        placeholder: None,
        wwn: None,
        model: None,
        firmware: None,
        bus: Bus("usb".into()),
        path: "port-1".into(),
        bay: Bay("port-1".into()),
        size: Bytes(8 << 30),
        logical_sector_bytes: 512,
        read_only: false,
    }
}

fn nothing_known() -> Facts {
    Facts {
        usage: Usage::default(),
        content: Content::Unknown,
        previous: None,
        last: None,
        today: Date::constant(2027, 6, 30),
    }
}

fn facts() -> Result<Box<Facts>, Refusal> {
    Ok(Box::new(nothing_known()))
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
    judge(station.apply(Event::Drives(vec![Change::Present(Box::new(drive(name, diskseq)))])))
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

/// The same up to its second judgement, with its master at hand.
fn judged_again(station: &mut Station) -> Ticket {
    let (_, recipe) = waiting(station);
    let found = Ok(Some(master(recipe.clone())));
    judge(station.apply(Event::MasterLooked(recipe, found)))
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
    let ticket = judged_again(&mut station);
    let usage = Usage { mounts: vec!["/mnt".into()], ..Usage::default() };
    let facts = Facts { usage, ..nothing_known() };
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
    let ticket = judged_again(&mut station);
    let mut effects = station.apply(Event::Judged(ticket, facts()));
    let Some(Effect::Job(order)) = effects.pop() else { panic!("a job") };
    let exits = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Exit));
    assert!(!exits(&station.apply(Event::Drain)));
    assert_eq!(order.stop.reason(), None, "a running drive is finished");
    let late = Change::Present(Box::new(drive("sdc", 2)));
    assert!(station.apply(Event::Drives(vec![late])).is_empty(), "the next station's drive");
    assert!(!exits(&station.apply(Event::Halt)));
    assert_eq!(order.stop.reason(), Some(StopReason::Shutdown));
    let record = order.record.closed_with(Verdict::Stopped, "station_shutdown", "x");
    assert!(exits(&station.apply(Event::JobEnded(order.ticket, Box::new(record)))));
}

/// The code of the one refusal that was recorded.
fn refusal(effects: &[Effect]) -> String {
    match effects {
        [Effect::Record(record)] => {
            assert_eq!(record.verdict, Some(Verdict::Refused));
            record.reason.as_ref().unwrap().code.clone()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn media_past_its_day_is_not_used() {
    let mut station = station();
    with_media(&mut station);
    let ticket = attach(&mut station, "sdb", 1);
    let tomorrow = Facts { today: Date::constant(2027, 7, 1), ..nothing_known() };
    let effects = station.apply(Event::Judged(ticket, Ok(Box::new(tomorrow))));
    assert_eq!(refusal(&effects), "media_expired");
}

#[test]
fn a_drive_that_has_passed_is_imaged_again_only_if_asked_for() {
    let mut station = station();
    with_media(&mut station);
    let (_, recipe) = waiting(&mut station);
    let passed = |recipe: &Recipe| {
        let record =
            Record::open("test", &drive("sdb", 1)).with_master(&master(recipe.clone()).manifest);
        let record = record.closed_with(Verdict::Passed, "", "");
        Ok(Box::new(Facts { last: Some(Record { reason: None, ..record }), ..nothing_known() }))
    };
    let ticket = attach(&mut station, "sdc", 2);
    let effects = station.apply(Event::Judged(ticket, passed(&recipe)));
    assert_eq!(refusal(&effects), "already_passed");
    // With other media it is a new job.
    let ticket = attach(&mut station, "sdd", 3);
    let other = Recipe { media_sha256: Digest([8; 32]), ..recipe.clone() };
    let effects = station.apply(Event::Judged(ticket, passed(&other)));
    assert!(matches!(&effects[..], [Effect::LookForMaster(_)]), "{effects:?}");
    let (reply, _answer) = tokio::sync::oneshot::channel();
    let retry = Command::Retry { serial: "S2".into() };
    let ticket = judge(station.apply(Event::Command(retry, reply)));
    let effects = station.apply(Event::Judged(ticket, passed(&recipe)));
    assert!(matches!(&effects[..], [Effect::LookForMaster(_)]), "{effects:?}");
}

#[test]
fn a_twin_that_goes_leaves_the_other_admissible() {
    let mut station = station();
    with_media(&mut station);
    let twin = |name: &str, diskseq| Drive { serial: Serial::new("SAME"), ..drive(name, diskseq) };
    let present = |drive| Event::Drives(vec![Change::Present(Box::new(drive))]);
    let first = judge(station.apply(present(twin("sdb", 1))));
    let second = judge(station.apply(present(twin("sdc", 2))));
    for ticket in [first, second] {
        let effects = station.apply(Event::Judged(ticket, facts()));
        assert_eq!(refusal(&effects), "duplicate_serial");
    }
    let gone = Change::Gone { name: "sdc".into(), diskseq: Diskseq(2) };
    let ticket = judge(station.apply(Event::Drives(vec![gone])));
    let effects = station.apply(Event::Judged(ticket, facts()));
    assert!(matches!(&effects[..], [Effect::LookForMaster(_)]), "{effects:?}");
}

#[test]
fn a_stuck_drive_holds_neither_the_end_nor_a_retry_forever() {
    let mut station = station();
    with_media(&mut station);
    let ticket = judged_again(&mut station);
    let mut effects = station.apply(Event::Judged(ticket, facts()));
    let Some(Effect::Job(order)) = effects.pop() else { panic!("a job") };
    let record = order.record.closed_with(Verdict::Failed, "stalled", "x");
    station.apply(Event::JobStuck(order.ticket.clone(), Box::new(record)));
    let retry = |station: &mut Station| {
        let (reply, _answer) = tokio::sync::oneshot::channel();
        station.apply(Event::Command(Command::Retry { serial: "S1".into() }, reply))
    };
    assert!(matches!(&retry(&mut station)[..], [Effect::Answer(_, Err(_))]), "its thread is there");
    station.apply(Event::DriveAnswered(order.ticket));
    assert!(matches!(&retry(&mut station)[..], [Effect::Judge(..), Effect::Answer(_, Ok(_))]));
    assert!(matches!(station.apply(Event::Drain)[..], [.., Effect::Exit]));
}
