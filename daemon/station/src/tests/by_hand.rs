//! What an operator asks for: another attempt, consent to a loss, arming.

use model::admission::{Content, Overwrite};
use model::api::command::ImageOrder;
use model::failure::Denial;
use model::operator::Consent;

use super::*;

fn order(drive: &str) -> ImageOrder {
    ImageOrder {
        drive: drive.into(),
        media: None,
        order: None,
        again: false,
        consent: None,
        by: somebody(),
    }
}

fn consented(drive: &str) -> ImageOrder {
    let consent = Consent::new("returned lease", &somebody()).unwrap();
    ImageOrder { consent: Some(consent), ..order(drive) }
}

pub(crate) fn give(station: &mut Bench, command: Command) -> (Effects, Result<Answer, Denial>) {
    let (reply, _) = tokio::sync::oneshot::channel();
    let mut answer = None;
    let mut others = Vec::new();
    for effect in station.apply(Event::Command(command, reply)) {
        match effect {
            Effect::Answer(_, given) => answer = Some(given),
            other => others.push(other),
        }
    }
    (others, answer.expect("every command is answered"))
}

fn holds(content: Content) -> Result<Box<DriveFacts>, Refusal> {
    Ok(Box::new(DriveFacts { content, ..nothing_known() }))
}

fn used() -> Result<Box<DriveFacts>, Refusal> {
    holds(Content::Foreign("an ext4 file system".into()))
}

/// The decisive reason against the only drive.
fn why(station: &Bench) -> ReasonCode {
    station.0.snapshot(&|_| None).drives[0].reason.as_ref().unwrap().code
}

fn careful() -> Bench {
    let mut station = station();
    station.0.setup.policy.overwrite = Overwrite::BlankOrOurs;
    with_media(&mut station);
    station
}

#[test]
fn consent_lets_one_drive_go_and_is_on_record() {
    let mut station = careful();
    let ticket = attach(&mut station, "sdb", 1);
    assert_eq!(refusal(&station.apply(Event::Judged(ticket, used()))), ReasonCode::NotBlank);
    let (effects, answer) = give(&mut station, Command::Image(consented("S1")));
    assert!(matches!(answer, Ok(Answer::Attempt { .. })), "{answer:?}");
    let ticket = judge(effects);
    station.apply(Event::Judged(ticket, used()));
    assert_eq!(station.state(), State::WaitingForMaster);
    let key = ("sdb".to_owned(), Diskseq(1));
    let record = station.0.record_for(&key, NOW).unwrap();
    assert_eq!(record.operator.as_deref(), Some("anna"));
    let consent = record.consent.unwrap();
    assert_eq!((consent.reason.as_str(), consent.uid), ("returned lease", 1000));
    // The next insertion of the same drive is another matter.
    station.apply(Event::Drives(vec![Change::Gone { name: "sdb".into(), diskseq: Diskseq(1) }]));
    let again = Drive { serial: Serial::new("S1"), ..drive("sdb", 2) };
    let ticket = judge(station.apply(Event::Drives(vec![Change::Present(Box::new(again))])));
    assert_eq!(refusal(&station.apply(Event::Judged(ticket, used()))), ReasonCode::NotBlank);
}

#[test]
fn consent_waives_nothing_but_what_the_drive_holds() {
    let facts = |usage| Ok(Box::new(DriveFacts { usage, ..*used().unwrap() }));
    let mounted = || Usage { mounts: vec!["/mnt".into()], ..Usage::default() };
    let system = || Usage { system: vec!["/".into()], ..Usage::default() };
    let held = || Usage { holders: vec!["md0".into()], ..Usage::default() };
    for (facts, code) in [
        (facts(mounted()), ReasonCode::Mounted),
        (facts(system()), ReasonCode::SystemDisk),
        (facts(held()), ReasonCode::InUse),
        (holds(Content::Unreadable("I/O error".into())), ReasonCode::ReadError),
    ] {
        let mut station = careful();
        let ticket = attach(&mut station, "sdb", 1);
        station.apply(Event::Judged(ticket, used()));
        let ticket = judge(give(&mut station, Command::Image(consented("S1"))).0);
        station.apply(Event::Judged(ticket, facts));
        assert_eq!(why(&station), code);
        // The attempt was refused, and with it goes the consent.
        let retry = Command::Retry { drive: "S1".into(), by: somebody() };
        let ticket = judge(give(&mut station, retry).0);
        station.apply(Event::Judged(ticket, used()));
        assert_eq!(why(&station), ReasonCode::NotBlank);
    }
    for protected in [true, false] {
        let mut station = careful();
        let one = Drive { read_only: protected, ..drive("sdb", 1) };
        station.0.setup.policy.armed = protected;
        let ticket = judge(station.apply(Event::Drives(vec![Change::Present(Box::new(one))])));
        station.apply(Event::Judged(ticket, used()));
        let ticket = judge(give(&mut station, Command::Image(consented("S1"))).0);
        station.apply(Event::Judged(ticket, used()));
        assert_eq!(
            why(&station),
            if protected { ReasonCode::ReadOnly } else { ReasonCode::NotArmed }
        );
    }
}

/// A drive that has passed is imaged once more only for whoever says so; one that is plugged in again, too.
#[test]
fn a_passed_drive_is_asked_for_again() {
    let mut station = careful();
    let ticket = attach(&mut station, "sdb", 1);
    let passed =
        Record { verdict: Some(Verdict::Passed), ..Record::open("rack", &drive("sdb", 1), NOW) };
    let content = Content::Ours(passed.job);
    let facts = DriveFacts { previous: vec![passed], content, ..nothing_known() };
    station.apply(Event::Judged(ticket, Ok(Box::new(facts))));
    assert_eq!(station.state(), State::Passed);
    for order in [order("S1"), consented("S1")] {
        let (effects, answer) = give(&mut station, Command::Image(order));
        let denial = answer.unwrap_err();
        assert_eq!((effects.len(), denial.code), (0, DenialCode::AlreadyPassed));
        let hint = denial.hint.unwrap();
        assert!(hint.contains("`prestagectl image /dev/sdb --again`"), "{hint}");
    }
    assert_eq!(station.state(), State::Passed);
    let again = ImageOrder { again: true, ..order("sdb") };
    let (effects, answer) = give(&mut station, Command::Image(again));
    assert!(answer.is_ok() && matches!(effects[..], [Effect::Judge(..)]));
}

#[test]
fn what_is_mistyped_begins_nothing() {
    let mut station = careful();
    let ticket = attach(&mut station, "sdb", 1);
    station.apply(Event::Judged(ticket, used()));
    let wrong_media = ImageOrder { media: Some("wni.wim".into()), ..consented("sdb") };
    for (order, code, hint) in [
        (wrong_media, DenialCode::NoMedia, "win.wim"),
        (order("/dev/sdx"), DenialCode::NoSuchDrive, "/dev/sdb (S1, bay port-1)"),
        (order("/dev/sdb2"), DenialCode::NoSuchDrive, "name its drive, /dev/sdb"),
    ] {
        let (effects, answer) = give(&mut station, Command::Image(order));
        let denial = answer.unwrap_err();
        assert!(effects.is_empty() && denial.code == code, "{denial:?}");
        assert!(denial.hint.as_ref().unwrap().contains(hint), "{denial:?}");
    }
    assert_eq!(station.state(), State::Refused);
}

#[test]
fn who_arms_hears_what_starts() {
    let mut station = careful();
    give(&mut station, Command::Arm(false)).1.unwrap();
    for (name, diskseq, facts) in
        [("sdb", 1, holds(Content::Blank)), ("sdc", 2, used()), ("sdd", 3, holds(Content::Blank))]
    {
        let ticket = attach(&mut station, name, diskseq);
        station.apply(Event::Judged(ticket, facts));
    }
    let (effects, answer) = give(&mut station, Command::Arm(true));
    let Ok(Answer::Armed(report)) = answer else { panic!("{answer:?}") };
    assert_eq!((report.starting, report.already), (vec!["S1".to_owned(), "S3".to_owned()], false));
    assert!(report.waiting.is_empty() && report.running.is_empty());
    assert_eq!(effects.len(), 3, "all are judged anew");
    let (_, answer) = give(&mut station, Command::Arm(true));
    assert!(matches!(answer, Ok(Answer::Armed(report)) if report.already));
}

/// Nobody has watched a drive while the station was not there: a pass of before counts only for the drive that still has
/// what it was given.
#[test]
fn a_pass_from_before_the_start_counts_for_the_drive_that_is_as_it_was_left() {
    let shown = |changed: fn(&mut Record), content: fn(Uuid) -> Content| {
        let mut station = careful();
        let ticket = attach(&mut station, "sdb", 1);
        let mut record = Record::open("rack", &drive("sdb", 1), NOW);
        record.verdict = Some(Verdict::Passed);
        changed(&mut record);
        let content = content(record.job);
        let facts = DriveFacts { previous: vec![record], content, ..nothing_known() };
        station.apply(Event::Judged(ticket, Ok(Box::new(facts))));
        station.state()
    };
    let same = |_: &mut Record| {};
    assert_eq!(shown(same, Content::Ours), State::Passed);
    assert_eq!(shown(same, |_| Content::Ours(Uuid::from_u128(9))), State::WaitingForMaster);
    assert_eq!(shown(same, |_| Content::Blank), State::WaitingForMaster, "wiped");
    for other in [|_| Content::Unknown, |_| Content::Foreign("data".into())] {
        assert_eq!(shown(same, other), State::Refused);
    }
    assert_ne!(shown(|record| record.serial = Serial::new("S2"), Content::Ours), State::Passed);
    assert_ne!(shown(|record| record.size_bytes += Bytes(512), Content::Ours), State::Passed);
}
