//! What is asked of a drive's health, and what has got worse.

use super::*;
use crate::code::ReasonCode;

fn good(kind: Kind) -> Health {
    Health {
        kind: Some(kind),
        self_assessment: Some(Assessment::Passed),
        power_on_hours: Some(10),
        ..Health::default()
    }
}

fn limit(counter: Counter, bound: Bound) -> HealthPolicy {
    let limits = vec![Limit { counter, bound, key: "health.KEY" }];
    HealthPolicy { limits, ..HealthPolicy::default() }
}

fn detail(policy: &HealthPolicy, health: &Health) -> Option<String> {
    policy.objection(Some(health)).map(|refusal| {
        assert_eq!(refusal.code, ReasonCode::Health);
        assert!(refusal.hint.is_some());
        refusal.detail
    })
}

#[test]
fn without_a_policy_nothing_is_refused() {
    let policy = HealthPolicy::default();
    let failed = Health { self_assessment: Some(Assessment::Failed), ..good(Kind::Nvme) };
    assert_eq!(policy.objection(None), None);
    for health in [Health::unknown("x"), failed, good(Kind::Ata)] {
        assert_eq!(policy.objection(Some(&health)), None);
    }
}

#[test]
fn a_limit_holds_to_the_last_one_and_names_both_numbers() {
    for counter in Counter::VARIANTS {
        let mut health = good(Kind::Nvme);
        let field = match counter {
            Counter::PowerOnHours => &mut health.power_on_hours,
            Counter::Reallocated => &mut health.reallocated,
            Counter::Pending => &mut health.pending,
            Counter::Uncorrectable => &mut health.uncorrectable,
            Counter::MediaErrors => &mut health.media_errors,
            Counter::CrcErrors => &mut health.crc_errors,
            Counter::PercentageUsed => &mut health.percentage_used,
            Counter::AvailableSpare => &mut health.available_spare,
            Counter::CriticalWarning => &mut health.critical_warning,
        };
        *field = Some(7);
        let (most, least) =
            (|n| limit(*counter, Bound::Most(n)), |n| limit(*counter, Bound::Least(n)));
        assert_eq!(detail(&most(7), &health), None);
        assert_eq!(detail(&least(7), &health), None);
        let words = counter.words();
        let said = detail(&most(6), &health).unwrap();
        assert_eq!(said, format!("{words}: 7, at most 6 (health.KEY)"));
        let said = detail(&least(8), &health).unwrap();
        assert_eq!(said, format!("{words}: 7, at least 8 (health.KEY)"));
    }
}

#[test]
fn what_is_unknown_is_refused_only_where_health_is_required() {
    let asked = |require| HealthPolicy { require, ..limit(Counter::Reallocated, Bound::Most(0)) };
    let unknown = Health::unknown("no answer");
    assert_eq!(detail(&asked(false), &unknown), None);
    let said = detail(&asked(true), &unknown).unwrap();
    assert_eq!(said, "the drive's health is unknown (health.require): no answer");
    assert!(asked(true).objection(None).is_some(), "nobody has asked");
    // A number that such drives tell is missed; one that they do not have is not.
    assert_eq!(detail(&asked(false), &good(Kind::AtaDisk)), None);
    let said = detail(&asked(true), &good(Kind::AtaDisk)).unwrap();
    assert_eq!(said, "reallocated sectors: unknown, has a limit (health.KEY, health.require)");
    assert_eq!(detail(&asked(true), &good(Kind::Nvme)), None);
    let nothing = Health { kind: Some(Kind::Nvme), power_on_hours: Some(1), ..Health::default() };
    assert!(detail(&asked(true), &nothing).unwrap().contains("self-assessment is unknown"));
}

#[test]
fn a_failed_assessment_is_one_reason_among_others() {
    let policy = HealthPolicy {
        refuse_failed_assessment: true,
        ..limit(Counter::Reallocated, Bound::Most(0))
    };
    let failed = Health {
        self_assessment: Some(Assessment::Failed),
        reallocated: Some(3),
        ..good(Kind::AtaDisk)
    };
    let said = detail(&policy, &failed).unwrap();
    assert!(said.contains("self-assessment failed") && said.contains(": 3, at most 0"), "{said}");
    assert_eq!(detail(&policy, &good(Kind::AtaDisk)), None);
}

#[test]
fn only_what_is_known_twice_can_have_risen() {
    let at = |reallocated, crc_errors| Health { reallocated, crc_errors, ..good(Kind::AtaDisk) };
    let worse = |before: &Health, after: &Health| after.worse_than(before);
    assert_eq!(worse(&at(Some(1), Some(0)), &at(Some(1), Some(0))), None);
    assert_eq!(worse(&at(Some(4), None), &at(Some(1), Some(9))), None, "fell, or was not known");
    assert_eq!(worse(&at(Some(4), None), &Health::unknown("gone")), None);
    let said = worse(&at(Some(0), Some(1)), &at(Some(8), Some(2))).unwrap();
    assert_eq!(said, "reallocated sectors rose from 0 to 8, CRC errors rose from 1 to 2");
    // Wear and hours rise on every good drive.
    let older = Health { power_on_hours: Some(11), percentage_used: Some(9), ..good(Kind::Nvme) };
    let younger = Health { percentage_used: Some(1), ..good(Kind::Nvme) };
    assert_eq!(worse(&younger, &older), None);
    let warned = |bits| Health { critical_warning: Some(bits), ..good(Kind::Nvme) };
    assert_eq!(worse(&warned(3), &warned(1)), None);
    assert!(worse(&warned(1), &warned(4)).unwrap().contains("from 0x1 to 0x4"));
    let failed = Health { self_assessment: Some(Assessment::Failed), ..good(Kind::Nvme) };
    assert!(worse(&good(Kind::Nvme), &failed).unwrap().contains("has failed after"));
}

#[test]
fn it_is_told_in_one_line() {
    let health = Health {
        temperature_celsius: Some(31),
        reallocated: Some(0),
        critical_warning: Some(0),
        ..good(Kind::AtaDisk)
    };
    let said = "self-assessment passed, 31 °C, 10 h powered on, reallocated 0";
    assert_eq!(health.to_string(), said);
    assert_eq!(Health::unknown("no answer").to_string(), "unknown: no answer");
    assert!(Health::default().is_silent() && !health.is_silent());
}
