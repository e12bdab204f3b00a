//! Every objection to a drive, one at a time.

use super::*;
use crate::drive::{Bay, Bus, DeviceNumber, Diskseq, Serial, Unit};
use crate::units::Share;

fn candidate() -> Candidate {
    Candidate {
        consent: None,
        drive: Drive {
            name: "sdb".into(),
            node: "/dev/sdb".into(),
            number: DeviceNumber { major: 8, minor: 16 },
            diskseq: Diskseq(17),
            serial: Serial::new("S4EV"),
            placeholder: None,
            transport: None,
            unit: None,
            wwn: None,
            model: Some("Samsung SSD 870".into()),
            firmware: None,
            bus: Bus("sata".into()),
            path: "pci-0000:00:1f.2-ata-1".into(),
            bay: Bay("pci-0000:00:1f.2-ata-1".into()),
            size: Bytes(64 << 30),
            logical_sector_bytes: 512,
            read_only: false,
        },
        usage: Usage::default(),
        content: Content::Blank,
        twins: Vec::new(),
        passed: None,
        wanted: Wanted::Known(MinimumSize { least: Bytes(8 << 30), arithmetic: "content".into() }),
        limit: MaximumSize::unlimited(),
        health: None,
    }
}

fn pattern(text: &str) -> glob::Pattern {
    glob::Pattern::new(text).unwrap()
}

fn policy() -> Policy {
    Policy {
        armed: true,
        buses: vec!["sata".into()],
        bays: vec![pattern("pci-0000:00:1f.2-ata-*")],
        overwrite: Overwrite::BlankOrOurs,
        ..Policy::closed()
    }
}

fn code(change: impl FnOnce(&mut Candidate, &mut Policy)) -> Option<Code> {
    let (mut candidate, mut policy) = (candidate(), policy());
    change(&mut candidate, &mut policy);
    match admit(candidate, &policy) {
        Admission::Refused(refusals) => Some(refusals[0].code),
        Admission::Admitted(_) | Admission::Pending => None,
    }
}

fn twin(node: &str, kinship: Kinship) -> Twin {
    Twin { node: node.into(), kinship }
}

#[test]
fn each_objection_has_its_code() {
    assert_eq!(code(|_, _| ()), None);
    assert_eq!(code(|_, p| p.armed = false), Some(Code::NotArmed));
    assert_eq!(code(|_, p| p.buses.clear()), Some(Code::BusNotAllowed));
    assert_eq!(code(|_, p| p.bays.clear()), Some(Code::BayNotAllowed));
    assert_eq!(code(|c, _| c.drive.logical_sector_bytes = 520), Some(Code::SectorSize));
    assert_eq!(code(|c, _| c.drive.size = Bytes(0)), Some(Code::NoMedium));
    assert_eq!(code(|c, _| c.drive.size = Bytes(4 << 30)), Some(Code::TooSmall));
    assert_eq!(code(|_, p| p.min_size = Some(Bytes(1 << 40))), Some(Code::TooSmall));
    assert_eq!(code(|_, p| p.max_size = Some(Bytes(1 << 30))), Some(Code::TooLarge));
    assert_eq!(code(|c, _| c.limit.most = Bytes((64 << 30) - 1)), Some(Code::TooLarge));
    assert_eq!(code(|c, _| c.limit.most = Bytes(64 << 30)), None);
    assert_eq!(code(|_, p| p.models = vec![pattern("WDC*")]), Some(Code::ModelNotAllowed));
    assert_eq!(code(|_, p| p.models = vec![pattern("Samsung*")]), None);
    let unknown = |c: &mut Candidate, p: &mut Policy| {
        (c.drive.model, p.models) = (None, vec![pattern("*")]);
    };
    assert_eq!(code(unknown), Some(Code::ModelNotAllowed), "what is unknown is in no list");
    assert_eq!(code(|_, p| p.serials = vec![pattern("X*")]), Some(Code::SerialNotAllowed));
    assert_eq!(code(|_, p| p.serials = vec![pattern("S4*")]), None);
    let sized = |size, tolerance| {
        code(|_, p| (p.sizes, p.size_tolerance) = (vec![Bytes(size)], Share::percent(tolerance)))
    };
    assert_eq!(sized(64 << 30, 0), None);
    assert_eq!(sized((64 << 30) + 1, 0), Some(Code::SizeNotAllowed));
    assert_eq!((sized(65 << 30, 2), sized(65 << 30, 1)), (None, Some(Code::SizeNotAllowed)));
    assert_eq!(code(|c, _| c.usage.system = vec!["/".into()]), Some(Code::SystemDisk));
    assert_eq!(code(|c, _| c.usage.mounts = vec!["/mnt".into()]), Some(Code::Mounted));
    assert_eq!(code(|c, _| c.usage.holders = vec!["md0".into()]), Some(Code::InUse));
    assert_eq!(code(|c, _| c.usage.writers = vec!["dd".into()]), Some(Code::InUse));
    assert_eq!(code(|c, _| c.drive.read_only = true), Some(Code::ReadOnly));
    assert_eq!(code(|c, _| c.drive.serial = None), Some(Code::NoSerial));
    assert_eq!(
        code(|c, _| c.twins = vec![twin("/dev/sdc", Kinship::Stranger)]),
        Some(Code::DuplicateSerial)
    );
    let passed = |c: &mut Candidate| c.passed = Some("2026-01-01".into());
    assert_eq!(code(|c, _| passed(c)), Some(Code::AlreadyPassed));
    let again = |c: &mut Candidate, p: &mut Policy| {
        passed(c);
        p.reimage = true;
    };
    assert_eq!(code(again), None);
    assert_eq!(code(|c, _| c.content = Content::Unknown), Some(Code::NotBlank));
    let unreadable = Content::Unreadable("Input/output error".into());
    assert_eq!(code(|c, _| c.content = unreadable), Some(Code::ReadError));
    assert_eq!(code(|c, _| c.content = Content::Foreign("ext4".into())), Some(Code::NotBlank));
    let ours = Content::Ours(Uuid::nil());
    assert_eq!(code(|c, _| c.content = ours.clone()), None);
    assert_eq!(
        code(|c, p| {
            c.content = ours.clone();
            p.overwrite = Overwrite::BlankOnly;
        }),
        Some(Code::NotBlank)
    );
    assert_eq!(
        code(|c, p| {
            c.content = Content::Unknown;
            p.overwrite = Overwrite::Any;
        }),
        None
    );
    for missing in [Code::NoMedia, Code::MediaInvalid, Code::MediaExpired] {
        let refusal = Refusal::new(missing, "x");
        assert_eq!(code(|c, _| c.wanted = Wanted::Missing(refusal)), Some(missing));
    }
}

#[test]
fn a_drive_is_read_only_if_nothing_else_decides() {
    let may = |change: &dyn Fn(&mut Candidate, &mut Policy)| {
        let (mut c, mut p) = (candidate(), policy());
        change(&mut c, &mut p);
        may_be_read(&c.drive, &c.twins, &c.wanted, &c.limit, &p)
    };
    assert!(may(&|_, _| ()));
    assert!(may(&|_, p| p.armed = false), "operators look before they arm");
    assert!(may(&|c, _| c.wanted = Wanted::Undecided));
    assert!(!may(&|_, p| p.buses.clear()));
    assert!(!may(&|_, p| p.bays.clear()));
    assert!(!may(&|_, p| p.models = vec![pattern("WDC*")]));
    assert!(!may(&|_, p| p.serials = vec![pattern("X*")]));
    assert!(!may(&|_, p| p.max_size = Some(Bytes(1 << 30))));
    assert!(!may(&|c, _| c.drive.size = Bytes(0)));
    assert!(!may(&|c, _| c.drive.size = Bytes(4 << 30)), "too small for the content");
    assert!(!may(&|c, _| c.drive.read_only = true));
    assert!(!may(&|c, _| c.drive.serial = None));
    assert!(!may(&|c, _| c.twins = vec![twin("/dev/sdc", Kinship::Stranger)]));
}

#[test]
fn what_nobody_looked_at_is_no_second_reason() {
    let unknown = Candidate { content: Content::Unknown, ..candidate() };
    let codes = |policy: &Policy| {
        let Admission::Refused(refusals) = admit(unknown.clone(), policy) else {
            panic!("refused")
        };
        refusals.iter().map(|refusal| refusal.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(&Policy { bays: Vec::new(), ..policy() }), [Code::BayNotAllowed]);
    assert_eq!(codes(&policy()), [Code::NotBlank]);
    assert_eq!(codes(&Policy { armed: false, ..policy() }), [Code::NotArmed, Code::NotBlank]);
}

#[test]
fn a_drive_waits_for_media_only_if_nothing_else_speaks_against_it() {
    let undecided = Candidate { wanted: Wanted::Undecided, ..candidate() };
    assert!(matches!(admit(undecided.clone(), &policy()), Admission::Pending));
    let disarmed = Policy { armed: false, ..policy() };
    let Admission::Refused(refusals) = admit(undecided, &disarmed) else { panic!("refused") };
    let codes: Vec<Code> = refusals.iter().map(|refusal| refusal.code).collect();
    assert_eq!(codes, [Code::NotArmed, Code::NoMedia]);
}

#[test]
fn the_system_disk_is_named_before_anything_else() {
    let system = |c: &mut Candidate, p: &mut Policy| {
        c.usage.system = vec!["/".into()];
        c.usage.mounts = vec!["/".into()];
        p.armed = false;
    };
    assert_eq!(code(system), Some(Code::SystemDisk));
}

#[test]
fn a_bay_is_known_by_its_path_and_by_its_name() {
    let named = |allowed: &str| {
        let allowed = allowed.to_owned();
        code(move |c, p| {
            p.named = vec![NamedBay { name: "left 1".into(), path: pattern("*-ata-1") }];
            p.bays = vec![pattern(&allowed)];
            c.drive = p.placed(c.drive.clone());
        })
    };
    assert_eq!((named("left*"), named("pci-*-ata-1")), (None, None));
    assert_eq!(named("right*"), Some(Code::BayNotAllowed));
}

#[test]
fn a_placeholder_is_shown() {
    let mut candidate = candidate();
    candidate.drive.placeholder = Serial::new("0000");
    candidate.drive.serial = None;
    let Admission::Refused(refusals) = admit(candidate, &policy()) else { panic!("refused") };
    let expected =
        "the drive reports \"0000\", as many drives do, and no WWN; no record could name it";
    assert_eq!(refusals[0].detail, expected);
}

/// "Detach one of them" is no help where they cannot be detached from each other.
#[test]
fn a_twin_is_told_for_what_it_is() {
    let (mut one, mut two) = (candidate().drive, candidate().drive);
    let unit = |kind, number, device: &str| Some(Unit { kind, number, device: device.into() });
    let said = |one: &Drive, two: &Drive| {
        let found = Twin { node: "/dev/x".into(), kinship: one.kinship(two) };
        let refusal = twin_objection(&[found]).unwrap();
        assert!(refusal.hint.is_some());
        refusal.detail
    };
    assert_eq!(said(&one, &two), "/dev/x has the same serial number");
    for kind in [UnitKind::Namespace, UnitKind::Lun] {
        (one.unit, two.unit) = (unit(kind, 1, "/sys/a"), unit(kind, 2, "/sys/a"));
        assert!(said(&one, &two).starts_with("/dev/x is another "), "{}", said(&one, &two));
        two.unit = unit(kind, 2, "/sys/b");
        assert_eq!(said(&one, &two), "/dev/x has the same serial number", "another device's");
    }
    (one.wwn, two.wwn) = (Some("0x5000c500a1b2c3d4".into()), Some("0x5000c500a1b2c3d4".into()));
    assert_eq!(said(&one, &two), "/dev/x is the same drive on a second path");
}

/// Health is one objection among others, and only a drive that nothing else speaks against must have been asked.
#[test]
fn health_is_asked_for_where_nothing_else_decides() {
    use crate::health::{Assessment, Bound, Counter, Health, HealthPolicy, Kind, Limit};
    let limit = Limit {
        counter: Counter::Reallocated,
        bound: Bound::Most(4),
        key: "health.max_reallocated",
    };
    let strict = HealthPolicy { require: true, limits: vec![limit], ..HealthPolicy::default() };
    let told = |reallocated| Health {
        kind: Some(Kind::AtaDisk),
        self_assessment: Some(Assessment::Passed),
        reallocated: Some(reallocated),
        ..Health::default()
    };
    let codes = |health: Option<Health>, change: &dyn Fn(&mut Candidate, &mut Policy)| {
        let mut candidate = Candidate { health, ..candidate() };
        let mut policy = Policy { health: strict.clone(), ..policy() };
        change(&mut candidate, &mut policy);
        match admit(candidate, &policy) {
            Admission::Refused(all) => all.iter().map(|one| one.code).collect(),
            Admission::Admitted(_) | Admission::Pending => Vec::new(),
        }
    };
    assert_eq!(codes(Some(told(4)), &|_, _| ()), []);
    assert_eq!(codes(Some(told(5)), &|_, _| ()), [Code::Health]);
    assert_eq!(codes(Some(Health::unknown("no answer")), &|_, _| ()), [Code::Health]);
    assert_eq!(codes(None, &|_, _| ()), [Code::Health], "admitted by nobody's oversight");
    assert_eq!(codes(None, &|c, _| c.drive.read_only = true), [Code::ReadOnly]);
    let disarmed = |_: &mut Candidate, p: &mut Policy| p.armed = false;
    assert_eq!(codes(Some(told(5)), &disarmed), [Code::NotArmed, Code::Health]);
    assert_eq!(codes(None, &|_, p| p.health = HealthPolicy::default()), []);
}
