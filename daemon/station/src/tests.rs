//! Paths through the station, event by event, without a drive or a runtime.

pub(crate) mod by_hand;
mod dated;
mod departed;
mod store;
mod twins;

use std::collections::HashMap;

use jiff::Timestamp;
use model::admission::{Content, Overwrite, Usage};
use model::api::command::Command;
use model::code::{DenialCode, ReasonCode};
use model::digest::Digest;
use model::drive::{Bay, Bus, Change, DeviceNumber, Diskseq, Drive, Geometry, Serial};
use model::failure::{Failure, Reason, Refusal};
use model::job::State;
use model::manifest::{Manifest, Recipe};
use model::media::{IntakeOutcome, Inventory, Media, Stamp};
use model::now::{Now, Time};
use model::operator::Operator;
use model::record::{IdentityRecord, Record};
use model::units::SectorSize;
use model::verdict::Verdict;

use super::*;

/// Stands for a master that was found whole.
pub(crate) const MASTER: &str = "master";
pub(crate) const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

pub(crate) type Effects = Vec<Effect<&'static str>>;

/// The same moment on this day.
fn on(day: Date) -> Now {
    Now::at(Time { at: NOW, day })
}

/// A station on which every event happens at the same moment.
pub(crate) struct Bench(pub(crate) Station<&'static str>);

impl Bench {
    pub(crate) fn apply(&mut self, event: Event<&'static str>) -> Effects {
        self.0.apply(event, on(Date::constant(2027, 6, 30)))
    }

    fn state(&self) -> State {
        self.0.snapshot(&|_| None).drives[0].state
    }
}

/// Whoever gives the commands.
pub(crate) fn somebody() -> Operator {
    Operator { uid: 1000, name: Some("anna".into()) }
}

pub(crate) fn station() -> Bench {
    let policy = Policy {
        armed: true,
        buses: vec!["usb".into()],
        bays: vec![glob::Pattern::new("*").unwrap()],
        overwrite: Overwrite::Any,
        ..Policy::closed()
    };
    Bench(Station::new(Setup {
        name: "test".into(),
        file: PathBuf::new(),
        policy,
        layout: Layout::default(),
        image: 1,
        inbox: PathBuf::new(),
        offers: Offers::default(),
        articles: Articles { layouts: vec![Layout::default()], image: 1 },
        orders: Vec::new(),
        expires: BTreeMap::from([("win.wim".into(), Date::constant(2027, 6, 30))]),
        signers: Vec::new(),
        signer_list: None,
        history: crate::History::default(),
        last_jobs: Vec::new(),
        largest_image: Bytes(16 << 40),
        press_ahead: true,
        derive: false,
        locate_for: std::time::Duration::from_secs(120),
        now: on(Date::constant(2027, 6, 30)),
    }))
}

pub(crate) fn drive(name: &str, diskseq: u64) -> Drive {
    Drive {
        name: name.into(),
        node: format!("/dev/{name}").into(),
        number: DeviceNumber { major: 8, minor: 0 },
        diskseq: Diskseq(diskseq),
        serial: Serial::new(&format!("S{diskseq}")),
        placeholder: None,
        transport: None,
        unit: None,
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

pub(crate) fn nothing_known() -> DriveFacts {
    DriveFacts {
        look: Look::Inside,
        usage: Usage::default(),
        content: Content::Unknown,
        previous: Vec::new(),
        last: None,
        orders: BTreeMap::new(),
        units: BTreeMap::new(),
        health: None,
    }
}

pub(crate) fn facts() -> Result<Box<DriveFacts>, Refusal> {
    Ok(Box::new(nothing_known()))
}

pub(crate) const STAMP: Stamp =
    Stamp { device: 1, inode: 1, size: 1, modified_ns: 1, changed_ns: 1 };

/// Media is in the inbox and found valid.
pub(crate) fn with_media(station: &mut Bench) {
    let path = PathBuf::from("/inbox/win.wim");
    let listing = HashMap::from([(path.clone(), STAMP)]);
    let effects = station.apply(Event::Inbox(listing.into()));
    assert!(matches!(&effects[..], [Effect::Intake(p)] if *p == path), "{effects:?}");
    let outcome = IntakeOutcome::Media(Box::new(media()));
    let effects = station.apply(Event::IntakeEnded(path, Ok(outcome)));
    assert!(matches!(effects[..], [Effect::LookForGeometries(Digest([7, ..]))]), "{effects:?}");
}

pub(crate) fn media() -> Media {
    Media {
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
        first_start: Vec::new(),
        problems: Vec::new(),
        warnings: Vec::new(),
        signed: None,
    }
}

fn manifest(recipe: Recipe) -> Manifest {
    let zero = Digest([0; 32]);
    Manifest {
        format: 0,
        id: recipe.id(),
        plan: recipe.layout.plan(recipe.geometry).unwrap(),
        recipe,
        chunks: Vec::new(),
        sites: Vec::new(),
        telltales: Vec::new(),
        root_sha256: zero,
        seal_sha256: zero,
        pressed: NOW,
        warnings: Vec::new(),
        boot_programs: Vec::new(),
        base: None,
    }
}

/// The ticket of the one judgement asked for.
pub(crate) fn judge(effects: Effects) -> Ticket {
    let mut tickets = effects.into_iter().filter_map(|effect| match effect {
        Effect::Judge(ticket, ..) => Some(ticket),
        _ => None,
    });
    let ticket = tickets.next().expect("a judgement");
    assert!(tickets.next().is_none(), "one judgement");
    ticket
}

pub(crate) fn attach(station: &mut Bench, name: &str, diskseq: u64) -> Ticket {
    judge(station.apply(Event::Drives(vec![Change::Present(Box::new(drive(name, diskseq)))])))
}

/// A drive up to the moment where its master is looked for.
fn awaiting_master(station: &mut Bench) -> (Ticket, Recipe) {
    let ticket = attach(station, "sdb", 1);
    let mut effects = station.apply(Event::Judged(ticket.clone(), facts()));
    match effects.pop() {
        Some(Effect::LookForMaster(recipe)) => (ticket, recipe),
        other => panic!("{other:?}"),
    }
}

/// The same up to its second judgement, with its master at hand.
pub(crate) fn judged_again(station: &mut Bench) -> Ticket {
    let (_, recipe) = awaiting_master(station);
    let found = Ok(Some(MASTER));
    judge(station.apply(Event::MasterLooked(recipe, found)))
}

#[test]
fn a_drive_is_judged_again_when_its_master_is_there() {
    let mut station = station();
    with_media(&mut station);
    let (_, recipe) = awaiting_master(&mut station);
    let id = recipe.id();
    let effects = station.apply(Event::MasterLooked(recipe.clone(), Ok(None)));
    assert!(matches!(&effects[..], [Effect::Press { .. }]), "{effects:?}");
    // The press hands the master over: nobody looks for it again.
    let ticket = judge(station.apply(Event::PressEnded(id, Ok(MASTER))));
    let effects = station.apply(Event::Judged(ticket.clone(), facts()));
    assert!(matches!(&effects[..], [Effect::Job(_)]), "{effects:?}");
    // A second answer to the same question starts nothing.
    assert!(station.apply(Event::Judged(ticket, facts())).is_empty());
}

#[test]
fn views_follow_a_drive_from_its_insertion_to_its_verdict() {
    let mut station = station();
    with_media(&mut station);
    let (ticket, recipe) = awaiting_master(&mut station);
    assert_eq!(station.state(), State::WaitingForMaster);
    station.apply(Event::MasterLooked(recipe, Ok(Some(MASTER))));
    let mut effects = station.apply(Event::Judged(ticket, facts()));
    let Some(Effect::Job(order)) = effects.pop() else { panic!("a job") };
    assert_eq!((order.master, station.state()), (MASTER, State::Claiming));
    let record = Record { verdict: Some(Verdict::Passed), ..order.record };
    station.apply(Event::JobEnded(order.ticket, Box::new(record)));
    assert_eq!(station.state(), State::Passed);
}

#[test]
fn media_that_leaves_takes_its_press_along() {
    let mut station = station();
    with_media(&mut station);
    let (_, recipe) = awaiting_master(&mut station);
    station.apply(Event::MasterLooked(recipe, Ok(None)));
    let effects = station.apply(Event::Inbox(HashMap::new().into()));
    assert!(matches!(&effects[..], [Effect::Judge(..), Effect::CancelPress]), "{effects:?}");
    assert_eq!(station.state(), State::Judging);
}

/// Drives that wait come before what an operator asked for, and that before what may be needed later.
#[test]
fn presses_run_in_order_of_their_urgency() {
    let mut station = station();
    with_media(&mut station);
    let sizes =
        [16_u64, 32, 48].map(|gib| Geometry { size: Bytes(gib << 30), sector: SectorSize::B512 });
    let pressed = |effects: &Effects| match &effects[..] {
        [Effect::Press { recipe, .. }] => Some(recipe.clone()),
        _ => None,
    };
    // One runs at once; another one waits behind it.
    let effects = station.apply(Event::Geometries(Digest([7; 32]), sizes[..2].to_vec()));
    let running = pressed(&effects).unwrap();
    assert_eq!(running.geometry, sizes[0]);
    let (reply, _answer) = tokio::sync::oneshot::channel();
    let press = Command::Press { media: "win.wim".into(), geometry: sizes[2] };
    assert!(matches!(&station.apply(Event::Command(press, reply))[..], [Effect::Answer(_, Ok(_))]));
    let (_, awaited) = awaiting_master(&mut station);
    station.apply(Event::MasterLooked(awaited.clone(), Ok(None)));
    let mut order = Vec::new();
    let mut running = Some(running);
    while let Some(recipe) = running {
        let effects = station.apply(Event::PressEnded(recipe.id(), Ok(MASTER)));
        order.push(recipe.geometry.size);
        running = effects.into_iter().find_map(|effect| match effect {
            Effect::Press { recipe, .. } => Some(recipe),
            _ => None,
        });
    }
    let expected = [sizes[0].size, awaited.geometry.size, sizes[2].size, sizes[1].size];
    assert_eq!(order, expected);
}

#[test]
fn mounted_meanwhile_it_is_refused() {
    let mut station = station();
    with_media(&mut station);
    let ticket = judged_again(&mut station);
    let usage = Usage { mounts: vec!["/mnt".into()], ..Usage::default() };
    let facts = DriveFacts { usage, ..nothing_known() };
    let effects = station.apply(Event::Judged(ticket, Ok(Box::new(facts))));
    match &effects[..] {
        [Effect::Record(record)] => {
            assert_eq!(record.reason.as_ref().unwrap().code, ReasonCode::Mounted);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_that_is_used_again_is_another_drive() {
    let mut station = station();
    with_media(&mut station);
    let (old, _) = awaiting_master(&mut station);
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
    let ticket = judge(station.apply(Event::Inbox(HashMap::new().into())));
    let effects = station.apply(Event::Judged(ticket, facts()));
    let first = match &effects[..] {
        [Effect::Record(record)] => record.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(first.reason.unwrap().code, ReasonCode::NoMedia);
    let listing = HashMap::from([(PathBuf::from("/inbox/x.wim"), STAMP)]);
    let effects = station.apply(Event::Inbox(listing.into()));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Judge(..))), "{effects:?}");
}

#[test]
fn draining_it_ends_when_nothing_runs() {
    let mut station = station();
    with_media(&mut station);
    let ticket = judged_again(&mut station);
    let mut effects = station.apply(Event::Judged(ticket, facts()));
    let Some(Effect::Job(order)) = effects.pop() else { panic!("a job") };
    let exits =
        |effects: &[Effect<&str>]| effects.iter().any(|effect| matches!(effect, Effect::Exit));
    assert!(!exits(&station.apply(Event::Drain)));
    assert_eq!(order.stop.reason(), None, "a running drive is finished");
    let late = Change::Present(Box::new(drive("sdc", 2)));
    assert!(station.apply(Event::Drives(vec![late])).is_empty(), "the next station's drive");
    assert!(!exits(&station.apply(Event::Halt)));
    assert_eq!(order.stop.reason(), Some(StopReason::Shutdown));
    let reason = Reason::new(ReasonCode::StationShutdown, "x");
    let record = order.record.closed_with(Verdict::Stopped, reason, NOW);
    assert!(exits(&station.apply(Event::JobEnded(order.ticket, Box::new(record)))));
}

/// The code of the one refusal that was recorded.
pub(crate) fn refusal(effects: &[Effect<&str>]) -> ReasonCode {
    match effects {
        [Effect::Record(record)] => {
            assert_eq!(record.verdict, Some(Verdict::Refused));
            record.reason.as_ref().unwrap().code
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_drive_that_has_passed_is_imaged_again_only_if_asked_for() {
    let mut station = station();
    with_media(&mut station);
    let (_, recipe) = awaiting_master(&mut station);
    let passed = |recipe: &Recipe| {
        let record = Record::open("test", &drive("sdb", 1), NOW);
        let record = record.with_master(&manifest(recipe.clone()));
        let last = Record { verdict: Some(Verdict::Passed), closed: Some(NOW), ..record };
        let content = Content::Ours(last.job);
        Ok(Box::new(DriveFacts { content, last: Some(last), ..nothing_known() }))
    };
    let ticket = attach(&mut station, "sdc", 2);
    let effects = station.apply(Event::Judged(ticket, passed(&recipe)));
    assert_eq!(refusal(&effects), ReasonCode::AlreadyPassed);
    // With other media it is a new job.
    let ticket = attach(&mut station, "sdd", 3);
    let other = Recipe { media_sha256: Digest([8; 32]), ..recipe.clone() };
    station.apply(Event::Judged(ticket, passed(&other)));
    let waits = |station: &Bench, name: &str, diskseq| {
        station.0.insertions[&(name.to_owned(), Diskseq(diskseq))].awaits(&recipe.id())
    };
    assert!(waits(&station, "sdd", 3));
    // What the record says of a drive that does not hold it any more, or of another drive with its serial number, does
    // not count.
    let ticket = attach(&mut station, "sde", 4);
    let wiped = passed(&recipe).map(|facts| DriveFacts { content: Content::Blank, ..*facts });
    station.apply(Event::Judged(ticket, wiped.map(Box::new)));
    assert!(waits(&station, "sde", 4));
    let (reply, _answer) = tokio::sync::oneshot::channel();
    let retry = Command::Retry { drive: "S2".into(), by: somebody() };
    let ticket = judge(station.apply(Event::Command(retry, reply)));
    station.apply(Event::Judged(ticket, passed(&recipe)));
    assert!(waits(&station, "sdc", 2));
}

#[test]
fn a_drive_of_somebody_else_is_not_looked_into() {
    let mut station = station();
    with_media(&mut station);
    let mut look = |drive| {
        let effects = station.apply(Event::Drives(vec![Change::Present(Box::new(drive))]));
        let [Effect::Judge(ticket, _, look, _)] = &effects[..] else { panic!("{effects:?}") };
        (ticket.clone(), *look)
    };
    assert_eq!(look(drive("sdb", 1)).1, Look::Inside);
    assert_eq!(look(Drive { bus: Bus("ata".into()), ..drive("sdc", 2) }).1, Look::Outside);
    assert_eq!(look(Drive { read_only: true, ..drive("sdd", 3) }).1, Look::Outside);
    let twin = |name: &str, number| Drive { serial: Serial::new("SAME"), ..drive(name, number) };
    look(twin("sde", 4));
    let (ticket, closed) = look(twin("sdf", 5));
    assert_eq!(closed, Look::Outside);
    // The twin goes before the answer comes: now the drive may be looked into, and is.
    let gone = Change::Gone { name: "sde".into(), diskseq: Diskseq(4) };
    station.apply(Event::Drives(vec![gone]));
    let outside = DriveFacts { look: Look::Outside, ..nothing_known() };
    let effects = station.apply(Event::Judged(ticket, Ok(Box::new(outside))));
    assert!(matches!(&effects[..], [Effect::Judge(_, _, Look::Inside, _)]), "{effects:?}");
}

#[test]
fn a_stuck_drive_holds_neither_the_end_nor_a_retry_forever() {
    let mut station = station();
    with_media(&mut station);
    let ticket = judged_again(&mut station);
    let mut effects = station.apply(Event::Judged(ticket, facts()));
    let Some(Effect::Job(order)) = effects.pop() else { panic!("a job") };
    let reason = Reason::new(ReasonCode::Stalled, "x");
    let record = order.record.closed_with(Verdict::Failed, reason, NOW);
    station.apply(Event::JobStuck(order.ticket.clone(), Box::new(record)));
    let retry = |station: &mut Bench| {
        let (reply, _answer) = tokio::sync::oneshot::channel();
        station.apply(Event::Command(Command::Retry { drive: "S1".into(), by: somebody() }, reply))
    };
    assert!(matches!(&retry(&mut station)[..], [Effect::Answer(_, Err(_))]), "its thread is there");
    station.apply(Event::DriveAnswered(order.ticket));
    assert!(matches!(&retry(&mut station)[..], [Effect::Judge(..), Effect::Answer(_, Ok(_))]));
    assert!(matches!(station.apply(Event::Drain)[..], [.., Effect::Exit]));
}

/// A drive whose job ended with the station keeps its verdict, and is cleaned; one with any other verdict is left alone.
#[test]
fn what_a_killed_station_left_is_cleaned() {
    let cleaned = |code: ReasonCode, serial: &str| {
        let mut station = station();
        with_media(&mut station);
        let ticket = attach(&mut station, "sdb", 1);
        let identity = IdentityRecord { disk_guid: Uuid::nil(), partitions: Vec::new() };
        let previous = Record {
            serial: Serial::new(serial),
            identity: Some(identity),
            ..Record::open("rack", &drive("sdb", 1), NOW)
        };
        let previous = previous.closed_with(code.verdicts()[0], Reason::new(code, "x"), NOW);
        let facts = DriveFacts { previous: vec![previous], ..nothing_known() };
        let effects = station.apply(Event::Judged(ticket, Ok(Box::new(facts))));
        effects.iter().any(|effect| matches!(effect, Effect::Clean(..)))
    };
    assert!(cleaned(ReasonCode::StationInterrupted, "S1"));
    assert!(!cleaned(ReasonCode::StationInterrupted, "S2"), "the serial number of another");
    for code in [ReasonCode::OperatorStop, ReasonCode::Mismatch, ReasonCode::Unplugged] {
        assert!(!cleaned(code, "S1"), "{code}");
    }
}

/// After a restart a drive is shown as it was before: as its latest record says, unless that only says what the station
/// lacked.
#[test]
fn what_was_refused_after_a_pass_is_shown_after_a_restart() {
    let shown = |refused: ReasonCode| {
        let mut station = station();
        with_media(&mut station);
        let ticket = attach(&mut station, "sdb", 1);
        let open = || Record::open("rack", &drive("sdb", 1), NOW);
        let passed = Record { verdict: Some(Verdict::Passed), ..open() };
        let refused = open().refused(Refusal::new(refused, "x"), NOW);
        let content = Content::Ours(passed.job);
        let facts = DriveFacts { previous: vec![passed, refused], content, ..nothing_known() };
        assert!(station.apply(Event::Judged(ticket, Ok(Box::new(facts)))).is_empty(), "no job");
        station.state()
    };
    assert_eq!(shown(ReasonCode::NotBlank), State::Refused);
    assert_eq!(shown(ReasonCode::LedgerUnavailable), State::Passed);
}
