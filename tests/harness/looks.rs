//! How pages look in a browser: what tiles can show, what is measured of them, and how colours differ.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::api::snapshot::{BayHistory, BayView, DriveView, EndedView, Snapshot};
use model::code::ReasonCode;
use model::drive::{Bay, Bus, Serial};
use model::failure::Reason;
use model::job::State;
use model::units::{ByteRate, Bytes};
use model::verdict::Verdict;
use serde::Deserialize;
use serde_json::json;
use strum::VariantArray as _;
use uuid::Uuid;

use super::browser::Browser;

/// What a tile shows.
#[derive(Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) state: State,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) code: Option<ReasonCode>,
}

/// All that tiles can show beside an empty bay, the lights first.
pub(crate) fn everything() -> Vec<Shown> {
    let runs = |state| Shown { state, verdict: None, code: None };
    let ended = |verdict, code| Shown {
        state: match verdict {
            Verdict::Passed => State::Passed,
            Verdict::Failed => State::Failed,
            Verdict::Refused => State::Refused,
            Verdict::Stopped => State::Stopped,
        },
        verdict: Some(verdict),
        code,
    };
    let mut all = vec![
        runs(State::Writing),
        runs(State::ReadingBack),
        ended(Verdict::Passed, None),
        ended(Verdict::Failed, Some(ReasonCode::Mismatch)),
        ended(Verdict::Refused, Some(ReasonCode::NotBlank)),
        ended(Verdict::Stopped, Some(ReasonCode::OperatorStop)),
        ended(Verdict::Failed, Some(ReasonCode::PressFailed)),
    ];
    let states = [
        State::Judging,
        State::WaitingForMedia,
        State::WaitingForMaster,
        State::Claiming,
        State::Checking,
        State::Erasing,
        State::Committing,
    ];
    all.extend(states.map(runs));
    for code in ReasonCode::VARIANTS.iter().copied() {
        all.extend(code.verdicts().iter().map(|verdict| ended(*verdict, Some(code))));
    }
    all
}

/// What 24 bays show on a usual day, and each light among it.
pub(crate) fn usual() -> Vec<Shown> {
    let all = everything();
    let lights = [0, 0, 1, 3, 2, 0, 1, 1, 2, 4, 0, 0, 2, 0, 6, 1, 0, 2, 5, 0, 1, 0, 2];
    lights.map(|light: usize| all[light]).into()
}

/// A station with so many bays, of which the last one is empty and the others show this.
pub(crate) fn station(bays: usize, shown: &[Shown]) -> Snapshot {
    let name = |at: usize| format!("bay {}", at + 1);
    let at = |second: usize| Timestamp::from_second(1_764_000_000 + i64::try_from(second).unwrap());
    let drive = |(bay, shown): (usize, &Shown)| DriveView {
        serial: Serial::new(&format!("S4EVNX0MA0{:02X}", bay * 37 % 256)),
        bay: Bay(name(bay)),
        device: format!("/dev/sd{bay}"),
        model: Some("Samsung SSD 870 EVO 500GB".into()),
        bus: Bus("ata".into()),
        size_bytes: Bytes(500_107_862_016),
        state: shown.state,
        attempt: 1,
        percent: if shown.verdict.is_none() {
            37.0 + f64::from(u32::try_from(bay).unwrap())
        } else {
            100.0
        },
        bytes_per_second: shown.verdict.is_none().then_some(ByteRate(521_000_000)),
        limited_by: None,
        eta_seconds: shown.verdict.is_none().then_some(31),
        verdict: shown.verdict,
        reason: shown.code.map(|code| Reason::new(code, "details")),
        ended: shown.verdict.map(|_| at(bay).unwrap()),
        warnings: Vec::new(),
        job: Some(Uuid::from_u128(u128::try_from(bay).unwrap())),
        order: None,
        order_attempt: None,
        media: Some("win11-24h2.wim".into()),
    };
    let history = |bay: usize| BayHistory {
        bay: Bay(name(bay)),
        ended: (0..10)
            .map(|job| EndedView {
                job: Uuid::from_u128(7),
                serial: Serial::new(&format!("OLD{job}")),
                verdict: if job == bay % 13 { Verdict::Failed } else { Verdict::Passed },
                code: None,
                at: at(job).unwrap(),
            })
            .collect(),
    };
    Snapshot {
        station: "rack-03".into(),
        armed: true,
        bays: (0..bays)
            .map(|bay| BayView { name: name(bay), path: format!("pci-{bay}") })
            .collect(),
        drives: shown.iter().take(bays - 1).enumerate().map(drive).collect(),
        history: (0..bays).map(history).collect(),
        media: serde_json::from_value(json!([{
            "name": "win11-24h2.wim", "state": "valid", "current": true, "size_bytes": 0, "files": [], "images": [],
            "image": 1, "problems": [], "warnings": []
        }]))
        .unwrap(),
        orders: serde_json::from_value(json!([{
            "number": "4711", "media": "0".repeat(64), "quantity": 500, "overrun": 0, "first_article": 0,
            "offer": "automatic", "state": "open", "passed": 312, "running": 9, "awaits_approval": false
        }]))
        .unwrap(),
        ..Snapshot::default()
    }
}

/// How a light's tile is told from others.
#[derive(Debug, Deserialize)]
pub(crate) struct Look {
    pub(crate) paper: [f64; 3],
    pub(crate) edge: String,
    pub(crate) mark: String,
    /// The contrast of its rim with what is around.
    pub(crate) rim: f64,
}

/// What was measured of a page.
#[derive(Debug, Deserialize)]
pub(crate) struct Looks {
    pub(crate) complaints: Vec<String>,
    pub(crate) least: f64,
    pub(crate) capitals: BTreeMap<String, f64>,
    pub(crate) looks: BTreeMap<String, Look>,
}

/// Measures the page, and keeps a picture of it.
#[track_caller]
pub(crate) fn look(browser: &Browser, name: &str) -> Looks {
    let looks = browser.run(include_str!("looks.js"));
    let looks: Looks = serde_json::from_value(looks).unwrap();
    let picture = browser.keep(name);
    assert_eq!(looks.complaints, [""; 0], "{}", picture.display());
    assert!(looks.least >= 4.5, "{looks:?}");
    looks
}

/// How somebody sees colours.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Eyes {
    Usual,
    /// Without the cones for green light, the most frequent kind.
    Deuteranope,
    /// Without those for red light.
    Protanope,
    /// Or a screen in shades of grey.
    Achromat,
}

impl Eyes {
    /// Those to whom all lights have colours of their own; in grey, words, signs and edges tell them apart.
    pub(crate) const COLOURED: [Self; 3] = [Self::Usual, Self::Deuteranope, Self::Protanope];

    /// What is seen of linear red, green and blue. The matrices are those of Machado and others (2009), at full severity.
    fn see(self, [r, g, b]: [f64; 3]) -> [f64; 3] {
        let rows = match self {
            Self::Usual => return [r, g, b],
            Self::Deuteranope => [
                [0.367_322, 0.860_646, -0.227_968],
                [0.280_085, 0.672_501, 0.047_413],
                [-0.011_820, 0.042_940, 0.968_881],
            ],
            Self::Protanope => [
                [0.152_286, 1.052_583, -0.204_868],
                [0.114_503, 0.786_281, 0.099_216],
                [-0.003_882, -0.048_116, 1.051_998],
            ],
            Self::Achromat => [[0.2126, 0.7152, 0.0722]; 3],
        };
        rows.map(|[x, y, z]| (x * r + y * g + z * b).clamp(0.0, 1.0))
    }

    /// In CIE 1976 L*a*b*, for daylight of 6500 K.
    fn lab(self, paper: [f64; 3]) -> [f64; 3] {
        let linear = paper.map(|part| part / 255.0).map(|part| match part {
            ..=0.040_45 => part / 12.92,
            part => ((part + 0.055) / 1.055).powf(2.4),
        });
        let [r, g, b] = self.see(linear);
        let x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505;
        let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        let z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.0890;
        let [x, y, z] = [x, y, z].map(|part| match part {
            ..=0.008_856 => 7.787 * part + 16.0 / 116.0,
            part => part.cbrt(),
        });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    /// How different two colours are; what differs by two is just told apart side by side.
    pub(crate) fn distance(self, one: [f64; 3], other: [f64; 3]) -> f64 {
        let (one, other) = (self.lab(one), self.lab(other));
        one.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    }
}
