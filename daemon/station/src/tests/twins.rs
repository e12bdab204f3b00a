//! Drives with one serial number.

use super::*;

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
        assert_eq!(refusal(&effects), ReasonCode::DuplicateSerial);
    }
    let gone = Change::Gone { name: "sdc".into(), diskseq: Diskseq(2) };
    let ticket = judge(station.apply(Event::Drives(vec![gone])));
    let effects = station.apply(Event::Judged(ticket, facts()));
    assert!(matches!(&effects[..], [Effect::LookForMaster(_)]), "{effects:?}");
}

/// With two drives of one serial number nobody but the operator knows which one is meant.
#[test]
fn a_command_for_a_twin_names_the_one_that_is_meant() {
    let mut station = station();
    with_media(&mut station);
    let twin = |name: &str, diskseq| Drive { serial: Serial::new("SAME"), ..drive(name, diskseq) };
    for (name, diskseq) in [("sdb", 1), ("sdc", 2)] {
        let present = Change::Present(Box::new(twin(name, diskseq)));
        let ticket = judge(station.apply(Event::Drives(vec![present])));
        station.apply(Event::Judged(ticket, facts()));
    }
    let mut tell = |command| {
        let (reply, _) = tokio::sync::oneshot::channel();
        let effects = station.apply(Event::Command(command, reply));
        let answer = effects.into_iter().find_map(|effect| match effect {
            Effect::Answer(_, answer) => Some(answer.map(|_| ())),
            _ => None,
        });
        answer.unwrap()
    };
    for command in [
        Command::Stop { drive: "SAME".into() },
        Command::Retry { drive: "SAME".into(), by: somebody() },
    ] {
        let denial = tell(command).unwrap_err();
        assert_eq!(denial.code, DenialCode::AmbiguousDrive);
        assert!(denial.detail.contains("/dev/sdb") && denial.detail.contains("/dev/sdc"));
    }
    assert!(
        tell(Command::Stop { drive: "/dev/sdb".into() }).is_ok(),
        "the first waits for its master"
    );
    assert_eq!(
        tell(Command::Stop { drive: "sdc".into() }).unwrap_err().code,
        DenialCode::NotRunning,
        "the second is refused as its twin"
    );
    assert!(tell(Command::Retry { drive: "/dev/sdc".into(), by: somebody() }).is_ok());
    assert_eq!(
        tell(Command::Stop { drive: "SDX".into() }).unwrap_err().code,
        DenialCode::NoSuchDrive
    );
}
