//! A station with something of everything, and whole outputs as snapshots in `snapshots/`.

use uuid::Uuid;

use model::api::orders::OrderView;
use model::api::snapshot::{
    BayView, Decision, DepartedView, DeviceView, DriveView, FileView, MasterView, MediaState,
    MediaView, OfferedView, PressState, PressView, Snapshot,
};
use model::code::{FailureCode, FindingCode, ReasonCode as Code};
use model::digest::Digest;
use model::drive::{Bay, Bus, Geometry, Serial};
use model::failure::{Failure, Finding, Reason, Refusal};
use model::job::{Bottleneck, State};
use model::manifest::MasterId;
use model::media::{BootImage, CachedPackage, Image, Inventory};
use model::offer::Offer;
use model::orders::OrderStage;
use model::record::Record;
use model::units::{ByteRate, Bytes, SectorSize};
use model::verdict::Verdict;

/// Compares a text with the one in `snapshots/`; `INSTA_UPDATE=always` writes it anew.
pub(super) fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Compares an output on terminals 60, 80 and 120 columns wide, in a pipe, and with its colours (`<bold red>` and so on
/// are where the escape sequences are).
pub(super) fn outputs(name: &str, render: impl Fn(Option<usize>) -> String) {
    let mut all = String::new();
    for width in [60, 80, 120] {
        let text = plain(&render(Some(width)));
        for line in text.lines() {
            assert!(textwrap::core::display_width(line) <= width, "{name}, {width}: {line:?}");
        }
        all += &format!("-- {width} columns\n{text}");
    }
    let piped = plain(&render(None));
    assert!(!piped.contains('\u{1b}'), "{piped:?}");
    all += &format!("-- piped\n{piped}-- colours\n{}", colours(&render(Some(80))));
    snapshot(name, &all);
}

pub(super) fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

pub(super) fn colours(text: &str) -> String {
    let mut text = text.to_owned();
    let names = [
        ("0", "/"),
        ("1", "bold"),
        ("2", "dimmed"),
        ("30", "black"),
        ("31", "red"),
        ("32", "green"),
        ("33", "yellow"),
        ("36", "cyan"),
        ("41", "on red"),
        ("42", "on green"),
        ("43", "on yellow"),
        ("46", "on cyan"),
    ];
    for (code, name) in names {
        text = text.replace(&format!("\u{1b}[{code}m"), &format!("<{name}>"));
    }
    assert!(!text.contains('\u{1b}'), "{text:?}");
    text
}

pub(super) fn record() -> Record {
    serde_json::from_str(include_str!("../../model/src/schema1.json")).unwrap()
}

pub(super) fn refused() -> Record {
    let mut record = record();
    record.serial = None;
    record.bay = Bay("rack-1-bay-12".into());
    (record.media, record.master, record.identity) = (None, None, None);
    (record.written_bytes, record.verified_bytes) = (Bytes(0), Bytes(0));
    (record.readback_sha256, record.cpu_milliseconds) = (None, 0);
    (record.write_bytes_per_second, record.verify_bytes_per_second) = (None, None);
    (record.write_limited_by, record.verify_limited_by) = (None, None);
    record.old_data = None;
    record.boot_programs = Vec::new();
    (record.verdict, record.reason) =
        (Some(Verdict::Refused), Some(reason(Code::NoSerial, NO_SERIAL)));
    record
}

const NO_SERIAL: &str = "the drive reports no serial number";

pub(super) fn records() -> Vec<Record> {
    let mut warned = record();
    warned.serial = Some(serial("WD-WXC1A80L5432"));
    warned.warnings = vec!["rewritten: 4096 bytes at 73400320 were wrong at first".into()];
    let mut failed = record();
    failed.serial = Some(serial("S4EV0004"));
    failed.verdict = Some(Verdict::Failed);
    failed.reason = Some(mismatch());
    let mut running = record();
    running.serial = Some(serial("S4EV0005"));
    (running.verdict, running.closed) = (None, None);
    vec![record(), warned, failed, refused(), running]
}

fn serial(text: &str) -> Serial {
    Serial::new(text).unwrap()
}

fn reason(code: Code, detail: &str) -> Reason {
    Reason::new(code, detail)
}

fn mismatch() -> Reason {
    reason(Code::Mismatch, "1 range of 4096 bytes at 73400320 does not hold what was written")
}

fn digest(seed: &str) -> Digest {
    Digest::of(seed.as_bytes())
}

pub(super) fn station() -> Snapshot {
    Snapshot {
        station: "rack-01".into(),
        version: "0.1.0".into(),
        armed: true,
        media: vec![media(), checking(), damaged()],
        orders: orders(),
        masters: vec![master()],
        presses: presses(),
        drives: drives(),
        devices: devices(),
        bays: [("upper left", "pci-0000:03:00.0-ata-1"), ("spare", "pci-0000:03:00.0-ata-6")]
            .map(|(name, path)| BayView { name: name.into(), path: path.into() })
            .into(),
        ..Snapshot::default()
    }
}

/// A station with 24 bays and so many drives, in all states that there are.
pub(super) fn rack(count: usize) -> Snapshot {
    let bays = (1..=24).map(|at| BayView {
        name: format!("bay {at}"),
        path: format!("pci-0000:03:00.0-ata-{at}"),
    });
    let standing: Vec<DriveView> = drives();
    let refused = |code, detail: &str| DriveView {
        verdict: Some(Verdict::Refused),
        reason: Some(reason(code, detail)),
        percent: 0.0,
        ..standing[2].clone()
    };
    let all = [
        standing[0].clone(),
        standing[3].clone(),
        standing[1].clone(),
        standing[2].clone(),
        refused(Code::NotBlank, "/dev/sdc holds ext4: wipe it, or allow it with --overwrite"),
        DriveView {
            percent: 100.0,
            ..refused(Code::AlreadyPassed, "passed at 2026-11-25T08:00:00Z, job 01989a3c")
        },
        DriveView {
            verdict: Some(Verdict::Stopped),
            reason: Some(reason(Code::OperatorStop, "stopped by an operator")),
            percent: 12.0,
            ..standing[2].clone()
        },
        DriveView { state: State::ReadingBack, percent: 61.0, ..standing[0].clone() },
        DriveView { state: State::Judging, media: None, ..standing[2].clone() },
    ];
    let drives = (0..count).map(|at| DriveView {
        bay: Bay(format!("bay {}", (at * 7) % 24 + 1)),
        serial: Some(serial(&format!("S4EV{at:04}"))),
        device: format!("/dev/sd{at}"),
        ..all[at % all.len()].clone()
    });
    let drives: Vec<DriveView> = drives.collect();
    // The last drive but one was pulled, if any bay is empty.
    let departed = match count {
        13 => vec![DepartedView {
            drive: DriveView { bay: Bay("bay 24".into()), ..standing[3].clone() },
            since: jiff::Timestamp::UNIX_EPOCH,
            followed: false,
        }],
        _ => Vec::new(),
    };
    let (bays, devices, orders) = (bays.collect(), Vec::new(), Vec::new());
    Snapshot { drives, departed, bays, devices, orders, ..station() }
}

/// A station with eight bays at work.
pub(super) fn small_rack() -> Snapshot {
    let station = rack(24);
    let bays: Vec<BayView> = station.bays.into_iter().take(8).collect();
    let here = |drive: &DriveView| bays.iter().any(|bay| bay.name == drive.bay.0);
    Snapshot {
        drives: station.drives.into_iter().filter(here).collect(),
        media: vec![media()],
        presses: Vec::new(),
        bays,
        ..rack(0)
    }
}

fn orders() -> Vec<OrderView> {
    let order = |number: &str, passed, running, state, reason: Option<&str>| OrderView {
        number: number.into(),
        customer: Some("Contoso".into()),
        part: None,
        media: digest("win11"),
        media_name: Some("win11-23h2-factory.wim".into()),
        quantity: 500,
        overrun: 0,
        first_article: 1,
        not_before: None,
        expires: None,
        offer: Offer::Automatic,
        state,
        reason: reason.map(str::to_owned),
        passed,
        running,
        not_as_passed: None,
    };
    vec![
        order("PO-4711", 312, 1, OrderStage::Open, None),
        order("PO-4712", 1, 0, OrderStage::AwaitsApproval, None),
        order("PO-4713", 7, 0, OrderStage::Held, Some("wrong label")),
    ]
}

fn media() -> MediaView {
    MediaView {
        name: "win11-23h2-factory.wim".into(),
        state: MediaState::Valid,
        current: true,
        refused: None,
        last_day: Some(jiff::civil::date(2027, 6, 30)),
        offer: Offer::Automatic,
        offered: Some(OfferedView { by: "anna".into(), at: jiff::Timestamp::UNIX_EPOCH }),
        percent: None,
        checking_since: None,
        sha256: Some(digest("win11")),
        size_bytes: Bytes(9_123_456_789),
        files: ["win11-23h2-factory.wim", "win11-23h2-factory2.swm"]
            .map(|name| FileView { name: name.into(), sha256: digest(name) })
            .into(),
        compression: Some("LZX".into()),
        integrity_table: Some(true),
        images: vec![image(1, "Windows 11 Enterprise"), image(2, "Windows 11 Pro")],
        image: 1,
        inventory: Some(Inventory {
            root: ["Windows", "Users", "Program Files", "_SMSTaskSequence", "sources"]
                .map(str::to_owned)
                .into(),
            directories: 28_000,
            files: 154_340,
            extra_links: 41_772,
            short_names: 12,
            named_streams: 340,
            reparse_points: 66,
            secured: 2100,
            encrypted: 0,
            packages: [("PRE00001", 3), ("PRE00002", 41)].map(package).into(),
            more_packages: 0,
            boot_wim_bytes: Some(Bytes(412_345_678)),
            least_bytes: Bytes(19_300_000_000),
        }),
        boot_image: Some(BootImage {
            name: "WinPE".into(),
            architecture: Some("amd64".into()),
            build: None,
            sha256: digest("boot"),
            size_bytes: Bytes(412_345_678),
        }),
        signed: None,
        first_start: vec![
            "firmware of amd64 starts \\EFI\\BOOT\\BOOTX64.EFI".into(),
            "the boot manager takes the default entry \"Windows Setup\"".into(),
            "it loads \\sources\\boot.wim into memory, by \\boot\\boot.sdi".into(),
            "it starts \\windows\\system32\\boot\\winload.efi from there".into(),
        ],
        problems: Vec::new(),
        warnings: vec![Finding::new(
            FindingCode::BootManager2011,
            "the boot manager is signed only by Microsoft's certificate of 2011",
        )],
    }
}

fn package((id, files): (&str, u64)) -> CachedPackage {
    CachedPackage {
        id: id.into(),
        files,
        size_bytes: Bytes(files * 1_234_567),
        sha256_of_list: digest(id),
    }
}

fn image(index: u32, name: &str) -> Image {
    Image {
        index,
        name: name.into(),
        description: String::new(),
        directories: 28_000,
        files: 154_340,
        bytes: Bytes(18_200_000_000),
    }
}

fn blank(name: &str, state: MediaState) -> MediaView {
    MediaView {
        name: name.into(),
        state,
        current: false,
        refused: None,
        last_day: None,
        offer: Offer::ByHand,
        offered: None,
        percent: None,
        checking_since: None,
        sha256: None,
        size_bytes: Bytes(4_700_000_000),
        files: Vec::new(),
        compression: None,
        integrity_table: None,
        images: Vec::new(),
        image: 1,
        inventory: None,
        boot_image: None,
        first_start: Vec::new(),
        signed: None,
        problems: Vec::new(),
        warnings: Vec::new(),
    }
}

fn checking() -> MediaView {
    MediaView { percent: Some(41.2), ..blank("win11-24h2-factory.wim", MediaState::Checking) }
}

fn damaged() -> MediaView {
    let problems = vec![
        Finding::new(
            FindingCode::WimDamaged,
            "the integrity table does not match chunk 17; copy it again",
        ),
        Finding::new(FindingCode::BootFilesMissing, "there is no /Windows/Boot/EFI/bootmgfw.efi"),
    ];
    MediaView { problems, ..blank("cut.wim", MediaState::Invalid) }
}

fn master() -> MasterView {
    MasterView {
        id: MasterId("0123456789abcdef".into()),
        media: "win11-23h2-factory.wim".into(),
        media_sha256: digest("win11"),
        layout: "uefi".into(),
        size_bytes: Bytes(512_110_190_592),
        logical_sector_bytes: 512,
        payload_bytes: Bytes(18_200_000_000),
        allocated_bytes: Bytes(18_300_000_000),
        root_sha256: digest("root"),
    }
}

fn presses() -> Vec<PressView> {
    let press = |id: &str, size, sector, state, step: &str, percent, error| PressView {
        id: MasterId(id.into()),
        media: "win11-23h2-factory.wim".into(),
        geometry: Geometry { size: Bytes(size), sector },
        state,
        step: step.into(),
        percent,
        error,
    };
    let full =
        Failure::new(FailureCode::StoreFull, "the store needs 18.3 GB and has room for 2.1 GB");
    vec![
        press(
            "1111222233334444",
            1_024_209_543_168,
            SectorSize::B512,
            PressState::Running,
            "applying the image",
            62.0,
            None,
        ),
        press(
            "5555666677778888",
            2_048_408_248_320,
            SectorSize::B4096,
            PressState::Failed,
            "",
            0.0,
            Some(full),
        ),
    ]
}

fn drives() -> Vec<DriveView> {
    let drive = |at: usize, bay: &str, state, percent| DriveView {
        serial: Some(serial(&format!("S4EV000{at}"))),
        bay: Bay(bay.into()),
        device: format!("/dev/sd{}", ["a", "b", "c", "d", "e", "f"][at - 1]),
        model: Some("Samsung SSD 970 EVO Plus".into()),
        bus: Bus("ata".into()),
        size_bytes: Bytes(512_110_190_592),
        state,
        attempt: 1,
        percent,
        bytes_per_second: None,
        limited_by: None,
        eta_seconds: None,
        verdict: None,
        reason: None,
        ended: None,
        warnings: Vec::new(),
        job: Some(Uuid::nil()),
        order: (at == 3).then(|| "PO-4711".into()),
        order_attempt: (at == 3).then_some(2),
        media: Some("win11-23h2-factory.wim".into()),
    };
    vec![
        DriveView {
            bytes_per_second: Some(ByteRate(512_300_000)),
            eta_seconds: Some(95),
            limited_by: Some(Bottleneck::Drive),
            ..drive(3, "upper left", State::Writing, 43.7)
        },
        DriveView {
            verdict: Some(Verdict::Failed),
            reason: Some(mismatch()),
            ..drive(4, "pci-0000:03:00.0-ata-2", State::Failed, 81.0)
        },
        DriveView { ..drive(5, "pci-0000:03:00.0-ata-3", State::WaitingForMaster, 0.0) },
        DriveView {
            verdict: Some(Verdict::Passed),
            serial: Some(serial("WD-WXC1A80L5432")),
            ..drive(6, "pci-0000:03:00.0-ata-4", State::Passed, 100.0)
        },
    ]
}

fn devices() -> Vec<DeviceView> {
    let device = |at: &str, name: Option<&str>, bay: &str, decision| DeviceView {
        device: format!("/dev/sd{at}"),
        serial: name.map(serial),
        wwn: None,
        model: Some("Samsung SSD 970 EVO Plus".into()),
        bus: Bus("ata".into()),
        transport: Some("sas".into()),
        bay: Bay(bay.into()),
        path: bay.into(),
        size_bytes: Bytes(512_110_190_592),
        logical_sector_bytes: 512,
        attempt: 1,
        decision,
        code: None,
        detail: None,
        hint: None,
        refusals: Vec::new(),
    };
    let system = vec![
        Refusal::new(Code::SystemDisk, "the running system is on it: / is mounted from /dev/sda2"),
        Refusal::new(Code::BusNotAllowed, "bus ata is not in admission.buses"),
        Refusal::new(Code::BayNotAllowed, "bay pci-0000:00:17.0-ata-1 is not in admission.bays"),
    ];
    let nameless = vec![Refusal::new(Code::NoSerial, NO_SERIAL)];
    let refused = |view: DeviceView, refusals: Vec<Refusal>| DeviceView {
        code: refusals.first().map(|refusal| refusal.code),
        detail: refusals.first().map(|refusal| refusal.detail.clone()),
        hint: None,
        refusals,
        ..view
    };
    let by = Decision::Refused;
    vec![
        refused(device("a", Some("S2RBNX0H600001"), "pci-0000:00:17.0-ata-1", by), system),
        refused(device("b", None, "pci-0000:03:00.0-ata-5", by), nameless),
        device("c", Some("S4EV0003"), "upper left", Decision::Admitted),
        device("g", Some("S4EV0007"), "pci-0000:03:00.0-ata-7", Decision::Pending),
    ]
}
