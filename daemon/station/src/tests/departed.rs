//! What a bay goes on showing of a drive that has been pulled.

use model::api::snapshot::{DriveView, Snapshot};

use super::*;

fn shown(station: &Bench) -> Snapshot {
    station.0.snapshot(&|_| None)
}

/// A drive in the bay has failed, after it was written whole and read back by half.
fn failed(station: &mut Bench) -> DriveView {
    with_media(station);
    let ticket = judged_again(station);
    let mut effects = station.apply(Event::Judged(ticket, facts()));
    let Some(Effect::Job(order)) = effects.pop() else { panic!("a job") };
    let master = order.record.media.clone().map(|media| {
        let recipe = crate::drives::recipe(
            &station.0.usual(std::sync::Arc::new(super::media())),
            drive("sdb", 1).geometry().unwrap(),
        );
        assert_eq!(media.name, "win.wim", "the record names its media from the start");
        manifest(recipe)
    });
    let record = order.record.with_master(&master.unwrap());
    let reason = Reason::new(ReasonCode::Mismatch, "x");
    let record = Record { written_bytes: Bytes(1000), verified_bytes: Bytes(500), ..record };
    let record = record.closed_with(Verdict::Failed, reason, NOW);
    let id = record.master.as_ref().unwrap().id.clone();
    let master = MasterView {
        id,
        media: "win.wim".into(),
        media_sha256: Digest([7; 32]),
        layout: String::new(),
        size_bytes: Bytes(8 << 30),
        logical_sector_bytes: 512,
        payload_bytes: Bytes(1000),
        allocated_bytes: Bytes(1000),
        root_sha256: Digest([0; 32]),
    };
    station.apply(Event::Masters(vec![master]));
    station.apply(Event::JobEnded(order.ticket, Box::new(record)));
    shown(station).drives[0].clone()
}

fn pull(station: &mut Bench, name: &str, diskseq: u64) {
    let gone = Change::Gone { name: name.into(), diskseq: Diskseq(diskseq) };
    station.apply(Event::Drives(vec![gone]));
}

#[test]
fn a_verdict_stays_on_its_bay_until_another_drive_comes() {
    let mut station = station();
    let view = failed(&mut station);
    assert_eq!((view.verdict, view.percent), (Some(Verdict::Failed), 75.0), "what was reached");
    assert_eq!(view.media.as_deref(), Some("win.wim"));
    pull(&mut station, "sdb", 1);
    let after = shown(&station);
    assert!(after.drives.is_empty());
    assert_eq!(after.departed.iter().map(|view| &view.drive).collect::<Vec<_>>(), [&view]);
    let ticket = attach(&mut station, "sdb", 2);
    let [kept] = &shown(&station).departed[..] else { panic!("a failure is kept") };
    assert!(kept.followed, "off its bay before anything is known of the new drive");
    drop(ticket);
    // This one leaves no verdict, and the failure before it does not come back.
    pull(&mut station, "sdb", 2);
    let [kept] = &shown(&station).departed[..] else { panic!("a failure is kept") };
    assert!(kept.followed);
}

/// The drive lies somewhere and must not be mixed up with others; only a person can say that it is in the red bin.
#[test]
fn a_failure_is_kept_until_somebody_acknowledges_it() {
    let mut station = station();
    failed(&mut station);
    pull(&mut station, "sdb", 1);
    for at in 2..9 {
        attach(&mut station, "sdb", at);
        pull(&mut station, "sdb", at);
    }
    assert_eq!(shown(&station).departed.len(), 1);
    let (reply, _answer) = tokio::sync::oneshot::channel();
    station.apply(Event::Command(Command::Release { bay: "S1".into() }, reply));
    assert!(shown(&station).departed.is_empty(), "by its serial number, too");
}

/// A drive that passes later does not lie in the red bin.
#[test]
fn a_failure_is_settled_by_a_pass() {
    let mut station = station();
    failed(&mut station);
    pull(&mut station, "sdb", 1);
    let ticket = attach(&mut station, "sdb", 2);
    assert_eq!(shown(&station).departed.len(), 1);
    let pass = |station: &mut Bench, drive: &Drive| {
        let open = Record::open("station", drive, NOW);
        let record = Record { verdict: Some(Verdict::Passed), closed: Some(NOW), ..open };
        station.apply(Event::JobEnded(ticket.clone(), Box::new(record)));
    };
    pass(&mut station, &drive("sdb", 2));
    assert_eq!(shown(&station).departed.len(), 1, "it was another one");
    pass(&mut station, &drive("sdb", 1));
    assert!(shown(&station).departed.is_empty());
}

/// What an operator tries in vain with a drive that has failed does not make it one that never failed.
#[test]
fn a_failure_outlives_a_retry_that_is_refused() {
    for judged in [true, false] {
        let mut station = station();
        failed(&mut station);
        station.0.setup.policy.overwrite = Overwrite::BlankOrOurs;
        let (reply, _answer) = tokio::sync::oneshot::channel();
        let retry = Command::Retry { drive: "S1".into(), by: somebody() };
        let effects = station.apply(Event::Command(retry, reply));
        if judged {
            let content = Content::Foreign("an ext4 file system".into());
            let facts = DriveFacts { content, ..nothing_known() };
            station.apply(Event::Judged(judge(effects), Ok(Box::new(facts))));
            let reason = shown(&station).drives[0].reason.clone().unwrap();
            assert_eq!(reason.code, ReasonCode::NotBlank);
            assert!(reason.detail.ends_with("its last job failed: mismatch"), "{reason:?}");
        }
        pull(&mut station, "sdb", 1);
        let [kept] = &shown(&station).departed[..] else { panic!("a failure is kept") };
        assert_eq!(kept.drive.verdict, Some(Verdict::Failed));
        assert_eq!(kept.drive.reason.as_ref().unwrap().code, ReasonCode::Mismatch);
    }
}

#[test]
fn a_bay_remembers_how_its_jobs_have_ended() {
    let mut station = station();
    let view = failed(&mut station);
    pull(&mut station, "sdb", 1);
    attach(&mut station, "sdb", 2);
    let history = shown(&station).history;
    let [bay] = &history[..] else { panic!("{history:?}") };
    let [ended] = &bay.ended[..] else { panic!("{history:?}") };
    assert_eq!((ended.verdict, ended.code), (Verdict::Failed, Some(ReasonCode::Mismatch)));
    assert_eq!((Some(ended.at), Some(ended.job)), (view.ended, view.job));
}

#[test]
fn an_operator_releases_a_bay() {
    let mut station = station();
    failed(&mut station);
    let release = |station: &mut Bench, bay: &str| {
        let (reply, _answer) = tokio::sync::oneshot::channel();
        let effects = station.apply(Event::Command(Command::Release { bay: bay.into() }, reply));
        let [Effect::Answer(_, answer)] = &effects[..] else { panic!("{effects:?}") };
        answer.as_ref().map(|_| ()).map_err(|denial| denial.code)
    };
    assert_eq!(release(&mut station, "port-1"), Err(DenialCode::NoSuchDrive), "it is in the bay");
    pull(&mut station, "sdb", 1);
    assert_eq!(release(&mut station, "port-2"), Err(DenialCode::NoSuchDrive));
    assert_eq!(release(&mut station, "port-1"), Ok(()));
    assert!(shown(&station).departed.is_empty());
}

#[test]
fn bays_without_names_are_not_remembered_for_ever() {
    let mut station = station();
    for at in 1..200 {
        let port = format!("port-{at}");
        let read_only =
            Drive { path: port.clone(), bay: Bay(port), read_only: true, ..drive("sdb", at) };
        let effects = station.apply(Event::Drives(vec![Change::Present(Box::new(read_only))]));
        let ticket = judge(effects);
        station.apply(Event::Judged(ticket, facts()));
        pull(&mut station, "sdb", at);
    }
    assert_eq!(shown(&station).departed.len(), 32);
}
