//! What the station does when a press or the store fails a drive.

use super::*;

/// The drive is not to blame, so it is imaged once more by itself, from a master that was looked for anew. Only once: a
/// store that goes on failing would keep it busy for ever.
#[test]
fn a_drive_that_the_store_has_failed_is_imaged_once_more() {
    let mut station = station();
    with_media(&mut station);
    let end = |station: &mut Bench, ticket: Ticket, previous: Vec<Record>| {
        let facts = DriveFacts { previous, ..nothing_known() };
        let mut effects = station.apply(Event::Judged(ticket, Ok(Box::new(facts))));
        let Some(Effect::Job(order)) = effects.pop() else { panic!("a job: {effects:?}") };
        let reason = Reason::new(ReasonCode::StoreError, "x");
        let record = order.record.closed_with(Verdict::Failed, reason, NOW);
        (station.apply(Event::JobEnded(order.ticket, Box::new(record.clone()))), record)
    };
    let ticket = judged_again(&mut station);
    let (effects, first) = end(&mut station, ticket, Vec::new());
    let ticket = judge(effects);
    let facts = DriveFacts { previous: vec![first.clone()], ..nothing_known() };
    let mut effects = station.apply(Event::Judged(ticket, Ok(Box::new(facts))));
    let Some(Effect::LookForMaster(recipe)) = effects.pop() else { panic!("{effects:?}") };
    let id = recipe.id();
    station.apply(Event::MasterLooked(recipe, Ok(None)));
    let ticket = judge(station.apply(Event::PressEnded(id, Ok(MASTER))));
    let (effects, second) = end(&mut station, ticket, vec![first.clone()]);
    assert!(effects.is_empty(), "{effects:?}");
    assert_eq!(station.state(), State::Failed);
    assert_ne!(first.job, second.job, "each job has a record");
}

#[test]
fn one_look_serves_all_drives_that_wait_for_a_master() {
    let mut station = station();
    with_media(&mut station);
    let (_, recipe) = awaiting_master(&mut station);
    let other = attach(&mut station, "sdc", 2);
    assert!(station.apply(Event::Judged(other, facts())).is_empty());
    let effects = station.apply(Event::MasterLooked(recipe, Ok(Some(MASTER))));
    let judged = effects.iter().filter(|effect| matches!(effect, Effect::Judge(..))).count();
    assert_eq!(judged, 2);
}

#[test]
fn what_waits_for_a_press_ends_as_the_press_does() {
    use model::code::FailureCode as F;
    for (code, verdict, reason) in [
        (F::PressFailed, Verdict::Failed, ReasonCode::PressFailed),
        (F::StoreFull, Verdict::Failed, ReasonCode::PressFailed),
        (F::VolumeFull, Verdict::Refused, ReasonCode::TooSmall),
        (F::ImageTooLarge, Verdict::Refused, ReasonCode::TooLarge),
        (F::Cancelled, Verdict::Stopped, ReasonCode::OperatorStop),
    ] {
        let mut station = station();
        with_media(&mut station);
        let (_, recipe) = awaiting_master(&mut station);
        let id = recipe.id();
        station.apply(Event::MasterLooked(recipe, Ok(None)));
        let failure = Failure::new(code, "x").with_hint("y");
        let effects = station.apply(Event::PressEnded(id, Err(failure)));
        let [Effect::Record(record)] = &effects[..] else { panic!("{code}: {effects:?}") };
        assert_eq!(record.verdict, Some(verdict), "{code}");
        assert_eq!(record.reason.as_ref().unwrap().code, reason, "{code}");
    }
}
