//! Metrics as Prometheus reads them, and that alerts, dashboard and manual name those that there are.

use std::collections::{BTreeMap, BTreeSet};

use model::api::snapshot::{BayView, DriveView, LampsView};

use super::*;

/// A metric's kind, and its values by their labels.
#[derive(Debug, Default)]
struct Found {
    kind: String,
    values: BTreeMap<Vec<(String, String)>, f64>,
}

/// Reads the text format; panics at whatever Prometheus would not take.
fn read(text: &str) -> BTreeMap<String, Found> {
    let mut found = BTreeMap::<String, Found>::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(help.ends_with('.') && help.len() > 8, "{line}");
            last = name.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, last, "{line}");
            let new = found.insert(last.clone(), Found { kind: kind.into(), ..Found::default() });
            assert!(new.is_none(), "{name} is there twice");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let parts = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            assert!(name == last || parts == Some(last.as_str()), "{line} below {last}");
            let mut pairs = Vec::from([("".to_owned(), name.to_owned())]);
            let mut rest = labels.strip_suffix('}').unwrap();
            while !rest.is_empty() {
                let (label, after) = rest.split_once("=\"").unwrap();
                let mut value = String::new();
                let mut letters = after.char_indices();
                let end = loop {
                    match letters.next().unwrap() {
                        (_, '\\') => value.push(letters.next().unwrap().1),
                        (at, '"') => break at,
                        (_, letter) => value.push(letter),
                    }
                };
                pairs.push((label.to_owned(), value));
                rest = after[end + 1..].trim_start_matches(',');
            }
            let value: f64 = value.parse().unwrap();
            let values = &mut found.get_mut(&last).unwrap().values;
            assert!(values.insert(pairs, value).is_none(), "twice: {line}");
        }
    }
    found
}

fn drive(bay: &str, state: State, verdict: Option<Verdict>) -> DriveView {
    serde_json::from_value(serde_json::json!({
        "serial": "SECRET-1", "bay": bay, "device": "/dev/sdx", "bus": "ata", "size_bytes": 1, "state": state, "attempt": 1,
        "percent": 0.0, "warnings": [], "verdict": verdict, "bytes_per_second": 500, "order": "SECRET-2",
        "job": "01900000-0000-7000-8000-00000000beef"
    }))
    .unwrap()
}

fn snapshot() -> Snapshot {
    let bay = |name: &str| BayView { name: name.into(), path: "x".into() };
    Snapshot {
        station: "rack \"03\"\\".into(),
        armed: true,
        lamps: Some(LampsView { at: Timestamp::now(), bays: 3, troubles: Vec::new() }),
        bays: ["left", "right", "third"].map(bay).into(),
        drives: vec![
            drive("left", State::Writing, None),
            drive("right", State::Writing, None),
            drive("third", State::Passed, Some(Verdict::Passed)),
        ],
        ..Snapshot::default()
    }
}

fn all() -> BTreeMap<String, Found> {
    let station = snapshot();
    let mut text = text(Some(&station), Some(&station), &Counts::default(), 3);
    receivers(&mut text, &[Standing::new("mes")]);
    read(&text.0)
}

#[test]
fn the_text_follows_the_conventions() {
    let station = snapshot();
    let mut text = text(Some(&station), Some(&station), &Counts::default(), 3);
    receivers(&mut text, &[Standing::new("mes")]);
    let text = text.0;
    assert!(!text.contains("SECRET") && !text.contains("beef"), "{text}");
    let labels = [
        "", "version", "station", "light", "state", "way", "verdict", "reason", "bay", "le",
        "receiver",
    ];
    for (name, Found { kind, values }) in read(&text) {
        let right = name.strip_prefix("prestaged_").unwrap();
        assert!(
            right.bytes().all(|letter| letter == b'_' || letter.is_ascii_lowercase()),
            "{name}"
        );
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}: {kind}");
        assert_eq!(kind == "histogram", name.ends_with("_duration_seconds"), "{name}: {kind}");
        assert!(!values.is_empty(), "{name}");
        for label in values.keys().flatten().map(|(label, _)| label.as_str()) {
            assert!(labels.contains(&label), "{name}: {label}");
        }
    }
}

#[test]
fn what_is_so_is_told() {
    let all = all();
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels = [&[("", name)], labels].concat();
        let labels = labels.into_iter().map(|(label, value)| (label.into(), value.into()));
        all[name].values[&labels.collect::<Vec<_>>()]
    };
    let told = [
        ("prestaged_build_info", &[("station", "rack \"03\"\\"), ("version", "")][..], 1.0),
        ("prestaged_gate_connected", &[], 1.0),
        ("prestaged_gate_pages", &[], 3.0),
        ("prestaged_armed", &[], 1.0),
        ("prestaged_drives", &[("state", "writing")], 2.0),
        ("prestaged_drives", &[("state", "erasing")], 0.0),
        ("prestaged_bays", &[("light", "passed")], 1.0),
        ("prestaged_bays", &[("light", "empty")], 0.0),
        ("prestaged_bays_needing_hands", &[], 1.0),
        ("prestaged_transfer_bytes_per_second", &[("way", "write")], 1000.0),
        ("prestaged_jobs_total", &[("verdict", "failed"), ("reason", "mismatch")], 0.0),
        ("prestaged_bay_jobs_total", &[("bay", "left"), ("verdict", "failed")], 0.0),
    ];
    for (name, labels, expected) in told {
        assert_eq!(value(name, labels), expected, "{name} {labels:?}");
    }
}

/// A graph must not go on with what was so before the station was lost.
#[test]
fn what_is_not_known_is_not_told() {
    let station = snapshot();
    let found = read(&text(None, Some(&station), &Counts::default(), 0).0);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    let expected = [
        "prestaged_bay_jobs_total",
        "prestaged_gate_connected",
        "prestaged_gate_info",
        "prestaged_gate_pages",
        "prestaged_job_duration_seconds",
        "prestaged_jobs_total",
    ];
    assert_eq!(names, expected);
    assert_eq!(found["prestaged_gate_connected"].values.values().sum::<f64>(), 0.0);
}

/// The names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| letter != '_' && !letter.is_ascii_lowercase());
    let words = words.filter(|word| word.starts_with("prestaged_"));
    words.map(|word| word.trim_end_matches("_bucket").to_owned()).collect()
}

#[test]
fn alerts_dashboard_and_manual_name_what_there_is() {
    let there: BTreeSet<String> = all().into_keys().collect();
    let alerts = include_str!("../../monitoring/prestaged.rules.yml");
    let dashboard = include_str!("../../monitoring/dashboard.json");
    for (file, text) in [("alerts", alerts), ("dashboard", dashboard)] {
        let named = named(text);
        let missing: Vec<_> = named.difference(&there).collect();
        assert!(named.len() > 4 && missing.is_empty(), "{file}: {missing:?}");
    }
    let _: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let manual = include_str!("../../../manual/gate.md");
    for name in there {
        assert!(manual.contains(&format!("`{}`", &name["prestaged_".len()..])), "gate.md: {name}");
    }
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(manual.contains(&format!("`{alert}`")), "gate.md: {alert}");
    }
}
