//! Answers of drives of many makers, of bridges, and of nothing.

use std::fmt::Write as _;

use model::health::Counter;
use proptest::prelude::*;
use strum::VariantArray as _;

use super::*;

macro_rules! answers {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("answers/", $name, ".json")))),*]
    };
}

/// As such drives answer, with other numbers.
const ANSWERS: [(&str, &str); 34] = answers![
    "samsung-870-evo",
    "samsung-980-pro",
    "samsung-pm9a3",
    "wd-red-plus",
    "wd-blue-worn",
    "wd-black-sn850x",
    "seagate-exos",
    "seagate-barracuda-failing",
    "seagate-exos-sas",
    "toshiba-mg08",
    "toshiba-p300-packed",
    "toshiba-kioxia-pm6",
    "crucial-mx500",
    "micron-5300",
    "micron-7450",
    "intel-s4510",
    "intel-p3700-worn",
    "kingston-a400",
    "kingston-v300-foreign",
    "kingston-nv2",
    "hgst-ultrastar-he8",
    "hgst-ultrastar-sas",
    "sas-failing",
    "usb-bridge-unknown",
    "usb-bridge-mute",
    "usb-bridge-zeros",
    "usb-bridge-ones",
    "usb-bridge-half",
    "checksum",
    "odd-units",
    "virtual",
    "in-vain",
    "qemu-nvme",
    "future",
];

fn answer(name: &str) -> Value {
    let text = ANSWERS.iter().find(|(known, _)| *known == name).unwrap().1;
    serde_json::from_str(text).unwrap()
}

fn told(answer: &Value) -> Health {
    health(answer.to_string().as_bytes())
}

#[test]
fn drives_of_many_makers_are_understood() {
    let mut all = String::new();
    for (name, text) in ANSWERS {
        let health = health(text.as_bytes());
        let kind = health.kind.map(|kind| format!(" ({kind})")).unwrap_or_default();
        writeln!(all, "{name}{kind}\n    {health}").unwrap();
    }
    insta::assert_snapshot!("what_drives_tell", all);
}

#[test]
fn what_is_no_answer_is_unknown() {
    let deep = "[".repeat(100_000);
    let long = format!("[{}]", " ".repeat(LONGEST));
    for (wrong, why) in [
        ("", "no JSON"),
        ("smartctl: command not found", "no JSON"),
        ("{\"smartctl\": {\"exit_status\": 0}", "no JSON"),
        (&deep, "no JSON"),
        (&long, "more than"),
        ("[]", "not smartctl's"),
        ("null", "not smartctl's"),
        ("{}", "not smartctl's"),
        ("{\"smartctl\": {\"exit_status\": \"0\"}}", "not smartctl's"),
        ("{\"smartctl\": {\"exit_status\": 256}}", "not smartctl's"),
        ("{\"smartctl\": {\"exit_status\": 0}}", "what kind of drive"),
        (
            "{\"smartctl\": {\"exit_status\": 0}, \"device\": {\"protocol\": \"NVMe\"}}",
            "no health log",
        ),
        (
            "{\"smartctl\": {\"exit_status\": 0}, \"device\": {\"protocol\": \"ATA\"}}",
            "tells nothing",
        ),
    ] {
        let unknown = health(wrong.as_bytes()).unknown.unwrap();
        assert!(unknown.contains(why), "{unknown}");
    }
    assert!(health(&[0xff, 0xfe, 0]).unknown.is_some());
}

/// A message cannot forge a line, and has an end.
#[test]
fn what_the_program_says_is_printable_and_short() {
    let mut odd = answer("in-vain");
    odd["smartctl"]["messages"][0]["string"] = format!("\u{1b}[2J\n{}", "x".repeat(10_000)).into();
    let unknown = told(&odd).unknown.unwrap();
    assert!(unknown.len() < 300 && !unknown.contains(char::is_control), "{unknown:?}");
}

/// ATA's own statistics count more than an attribute; one that the drive calls invalid counts nothing.
#[test]
fn statistics_count_more_than_attributes_if_they_are_valid() {
    let mut drive = answer("hgst-ultrastar-he8");
    assert_eq!((told(&drive).reallocated, told(&drive).crc_errors), (Some(16), Some(5)));
    let pages = drive["ata_device_statistics"]["pages"].as_array_mut().unwrap();
    for row in pages.iter_mut().flat_map(|page| page["table"].as_array_mut().unwrap()) {
        row["flags"]["valid"] = false.into();
    }
    assert_eq!((told(&drive).reallocated, told(&drive).crc_errors), (Some(0), Some(0)));
    drive["ata_smart_attributes"]["table"] = Value::Array(Vec::new());
    assert_eq!((told(&drive).reallocated, told(&drive).crc_errors), (None, None));
}

/// The same number under another name is something else.
#[test]
fn an_attribute_of_another_name_is_not_counted() {
    let known = told(&answer("wd-blue-worn"));
    assert_eq!((known.reallocated, known.pending), (Some(214), Some(88)));
    for at in 0..6 {
        let mut other = answer("wd-blue-worn");
        other["ata_smart_attributes"]["table"][at]["name"] = "Unknown_Attribute".into();
        let other = told(&other);
        assert!(
            Counter::VARIANTS.iter().all(|counter| {
                other.of(*counter).is_none() || other.of(*counter) == known.of(*counter)
            }),
            "{other}"
        );
        let named = [Some(0), None, None, Some(3), Some(4), Some(5)];
        let lost =
            Counter::VARIANTS.iter().filter(|counter| other.of(**counter) != known.of(**counter));
        assert_eq!(lost.count(), usize::from(named.contains(&Some(at))), "{at}: {other}");
    }
    let mut twice = answer("wd-blue-worn");
    let again = twice["ata_smart_attributes"]["table"][0].clone();
    twice["ata_smart_attributes"]["table"].as_array_mut().unwrap().push(again);
    assert_eq!(told(&twice).reallocated, None, "which of both?");
}

/// Any value, anywhere.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_u64..400).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        "[0-9]{1,6}( \\([0-9]{1,3}\\))?".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z_]{1,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Puts something else in the place of the `at`th value of an answer.
fn replace(value: &mut Value, at: &mut usize, other: &Value) {
    if *at == 0 {
        *value = other.clone();
    }
    *at = at.wrapping_sub(1);
    match value {
        Value::Array(list) => list.iter_mut().for_each(|one| replace(one, at, other)),
        Value::Object(map) => map.values_mut().for_each(|one| replace(one, at, other)),
        _ => {}
    }
}

/// Whether a number stands anywhere in an answer, also as the first of a text.
fn stands_in(value: &Value, number: u64) -> bool {
    match value {
        Value::Array(list) => list.iter().any(|one| stands_in(one, number)),
        Value::Object(map) => map.values().any(|one| stands_in(one, number)),
        Value::String(text) => text.split(' ').next() == Some(&number.to_string()),
        other => other.as_u64() == Some(number),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever stands where it should not: no panic, and each number that is told stands in the answer. Where the place
    /// of a number is changed, no zero takes its place that the drive has not told.
    #[test]
    fn nothing_is_invented(
        which in 0..ANSWERS.len(),
        changes in prop::collection::vec((0_usize..300, any_value()), 0..4),
    ) {
        let mut answer: Value = serde_json::from_str(ANSWERS[which].1).unwrap();
        for (at, other) in changes {
            replace(&mut answer, &mut at.clone(), &other);
        }
        let health = told(&answer);
        if health.unknown.is_some() {
            let empty = Health { unknown: health.unknown.clone(), ..Health::default() };
            prop_assert_eq!(&health, &empty, "unknown, and yet known");
        }
        let numbers = Counter::VARIANTS.iter().filter_map(|counter| health.of(*counter));
        for number in numbers.chain(health.temperature_celsius) {
            // What a SCSI drive could not correct is a sum.
            let sum = health.kind == Some(Kind::Scsi) && health.media_errors == Some(number);
            prop_assert!(sum || stands_in(&answer, number), "{number}: {answer}");
        }
        if let Some(temperature) = health.temperature_celsius {
            prop_assert!((1..=125).contains(&temperature));
        }
    }

    #[test]
    fn bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(health(&bytes).unknown.is_some());
    }

    /// A counter of zeros that is taken away is unknown, and not zero.
    #[test]
    fn what_is_taken_away_is_unknown(which in 0..ANSWERS.len(), at in 1_usize..300) {
        let whole: Value = serde_json::from_str(ANSWERS[which].1).unwrap();
        let mut less = whole.clone();
        replace(&mut less, &mut at.clone(), &Value::Null);
        let (whole, less) = (told(&whole), told(&less));
        // Without what says that it is damaged, an answer is believed.
        prop_assume!(whole.is_known());
        for counter in Counter::VARIANTS {
            if whole.of(*counter).is_none() {
                prop_assert_eq!(less.of(*counter), None, "{:?}", counter);
            }
        }
    }
}
