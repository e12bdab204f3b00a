//! Whole pages, of whatever is on them.

use model::api::evidence::{Beside, Certificate, Since};
use model::code::ReasonCode;
use model::failure::Reason;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::certificate::{CertificateError, Printed, print, prove};
use crate::facts::Facts;
use crate::fixture::{certificate, fonts, key, record};
use crate::fonts::{Fonts, NoFont, Style};
use crate::text::Setter;

fn page(fields: Value) -> Printed {
    let beside = Beside { customer: Some("Contoso".into()), ..Beside::default() };
    print(&certificate(&record(fields), beside), &fonts()).unwrap()
}

/// A refusal because of the drive's health, with this detail.
fn since(detail: &str) -> Since {
    let (job, at) = (uuid::Uuid::from_u128(7), jiff::Timestamp::UNIX_EPOCH);
    Since { job, at, reason: Reason::new(ReasonCode::Health, detail) }
}

/// Whoever reads the page of a drive that was refused since reads that, too: nothing of a page is as large as its verdict.
#[test]
fn a_refusal_since_then_is_on_the_page() {
    let beside = Beside { since: Some(since("media errors: 9, at most 0")), ..Beside::default() };
    let made = certificate(&record(json!({})), beside);
    let of = |made: &Certificate| {
        let checked = prove(made).unwrap().checked;
        Facts::of(&checked, &made.beside, &key().public()).unwrap()
    };
    let facts = of(&made);
    let told = "refused since, at 1970-01-01T00:00:00Z: health: media errors: 9, at most 0 *";
    assert_eq!(facts.warnings[0], told);
    assert!(facts.meaning.ends_with("is right. It was refused since *"), "{}", facts.meaning);
    assert_ne!(print(&made, &fonts()).unwrap().pdf, page(json!({})).pdf);
    let facts = of(&certificate(&record(json!({})), Beside::default()));
    assert!(facts.meaning.ends_with("is right.") && !facts.warnings.contains(&told.to_owned()));
}

#[test]
fn the_same_certificate_is_the_same_page() {
    let pages = [(); 2].map(|()| page(json!({})).pdf);
    assert_eq!(pages[0], pages[1]);
    assert_ne!(pages[0], page(json!({ "serial": "S4EVNX0N" })).pdf);
}

/// A certificate in which a word was changed, and those that are of something else.
#[test]
fn what_is_not_proven_is_not_printed() {
    let fonts = fonts();
    let told = |change: &dyn Fn(&mut Certificate)| {
        let mut certificate = certificate(&record(json!({})), Beside::default());
        change(&mut certificate);
        print(&certificate, &fonts).map(|_| ()).unwrap_err()
    };
    let other = certificate(&record(json!({ "verdict": "failed" })), Beside::default());
    let payload = |c: &mut Certificate| {
        let text = c.envelope["payload"].as_str().unwrap().replacen("ey", "ez", 1);
        c.envelope["payload"] = text.into();
    };
    assert!(matches!(told(&payload), CertificateError::Doubt(_)));
    let envelope = |c: &mut Certificate| c.envelope = other.envelope.clone();
    assert!(matches!(told(&envelope), CertificateError::Doubt(_)));
    let short = |c: &mut Certificate| c.short = other.short.clone();
    assert!(matches!(told(&short), CertificateError::Other));
    let cut = |c: &mut Certificate| c.short = c.short.take().map(|text| text[..60].to_owned());
    assert!(matches!(told(&cut), CertificateError::Short(_)));
    let key_of_another = |c: &mut Certificate| {
        c.key = signing::SecretKey::generate().unwrap().public().to_pem();
    };
    assert!(matches!(told(&key_of_another), CertificateError::Doubt(_)));
    let secret = |c: &mut Certificate| c.key = key().to_pem().unwrap();
    assert!(matches!(told(&secret), CertificateError::Key(_)));
    // What stands beside the envelope is not what is printed.
    let mut shown = certificate(&record(json!({})), Beside::default());
    let page = print(&shown, &fonts).unwrap().pdf;
    shown.record = other.record.clone();
    assert_eq!(print(&shown, &fonts).unwrap().pdf, page);
}

#[test]
fn letters_that_no_font_has_are_told_and_not_lost() {
    // Characters of a private area, one that turns text around, and one that nobody sees.
    let printed = page(json!({ "model": "a\u{10fff0}b\u{202e}c\u{7}d" }));
    assert_eq!(printed.missing, ['\u{7}', '\u{202e}', '\u{10fff0}'].into());
    assert!(page(json!({ "model": "Δίσκος Диск" })).missing.is_empty());
    let fonts = fonts();
    let mut setter = Setter::new(&fonts);
    let lines = setter.lines("a\u{202e}b", Style::Regular, 100_000.0, 1);
    let text: String = lines[0].runs.iter().map(|run| run.text.as_str()).collect();
    assert_eq!(text, "a[U+202E]b");
}

#[test]
fn without_fonts_nothing_is_printed() {
    let nowhere = vec![std::path::PathBuf::from("/nonexistent")];
    assert_eq!(Fonts::find(&nowhere).unwrap_err(), NoFont { folders: nowhere });
}

/// Arabic is read from the right, and its letters are joined.
#[test]
fn scripts_are_set_as_they_are_read() {
    let fonts = fonts();
    let mut setter = Setter::new(&fonts);
    let lines = setter.lines("abc \u{633}\u{644}\u{645} 12", Style::Regular, 100_000.0, 1);
    let runs: Vec<(&str, bool)> =
        lines[0].runs.iter().map(|run| (run.text.as_str(), run.is_rightward)).collect();
    assert_eq!(runs, [("abc ", true), ("12", true), ("\u{633}\u{644}\u{645} ", false)]);
    let alone = setter.lines("\u{633}", Style::Regular, 100_000.0, 1);
    assert_ne!(alone[0].runs[0].glyphs[0].id, lines[0].runs[2].glyphs.last().unwrap().id);
}

/// Whatever is cut, the beginning is there, and the count is right.
#[test]
fn what_has_no_room_is_counted() {
    let fonts = fonts();
    let mut setter = Setter::new(&fonts);
    for (text, most) in [("x".repeat(200), 1), ("word ".repeat(60), 2), ("日本".repeat(90), 3)] {
        let lines = setter.lines(&text, Style::Regular, 20_000.0, most);
        assert!(lines.len() <= most && lines.iter().all(|line| line.width <= 20_000.0));
        let told: String =
            lines.iter().flat_map(|line| &line.runs).map(|run| run.text.as_str()).collect();
        let (head, count) = told.rsplit_once('+').unwrap();
        let kept = head.trim_end_matches([' ', '…', '.']);
        let letters = |text: &str| text.chars().filter(|c| *c != ' ').count();
        let rest: String = text.trim().chars().rev().take(count.parse().unwrap()).collect();
        assert_eq!(letters(kept) + letters(&rest), letters(&text), "{told}");
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,40}",
        "\\PC{0,30}",
        "[\u{600}-\u{6ff} ]{1,60}",
        "[\u{4e00}-\u{4fff}]{1,80}",
        Just("W".repeat(300)),
        Just("long words ".repeat(40)),
        ".{0,20}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// However long texts are, and however many: all of them stay on the page, which is checked as they are put there.
    #[test]
    fn nothing_leaves_the_page(
        texts in prop::collection::vec(text(), 8),
        warnings in prop::collection::vec(text(), 0..40),
        partitions in 0..12_usize,
        verdict in prop::sample::select(vec!["passed", "failed", "refused", "stopped"]),
    ) {
        let partition = json!({
            "name": texts[0], "type_guid": "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
            "guid": "7d9a1f06-5b2b-4a6c-8b0e-1e2f3a4b5c6d", "first_lba": u64::MAX - 1,
            "last_lba": u64::MAX, "attributes": "0x0", "volume_serial": "1a2b3c4d5e6f7a8b",
        });
        let partitions: Vec<Value> = (0..partitions).map(|_| partition.clone()).collect();
        let passed = verdict == "passed";
        let reason = json!({ "code": "mismatch", "detail": texts[1], "hint": null });
        let program = json!({ "path": texts[2], "certificates": ["2011", "2023"] });
        let fields = json!({
            "verdict": verdict,
            "reason": if passed { Value::Null } else { reason },
            "serial": if texts[3].trim().is_empty() { Value::Null } else { texts[3].clone().into() },
            "model": texts[4], "wwn": texts[5], "firmware": texts[6], "station": texts[7],
            "order": texts[0], "operator": texts[1], "bay": texts[2], "attempt": u32::MAX,
            "size_bytes": u64::MAX, "warnings": warnings, "boot_programs": vec![program; 5],
            "identity": { "disk_guid": "2f5a3f0e-0a51-4c0e-9d6c-4c2f0c1f6f11", "partitions": partitions },
        });
        let beside = Beside {
            customer: Some(texts[6].clone()),
            part: Some(texts[7].clone()),
            media_version: Some(texts[5].clone()),
            since: passed.then(|| since(&texts[4])),
        };
        let made = certificate(&record(fields), beside);
        let printed = print(&made, &fonts());
        prop_assert!(printed.is_ok(), "{printed:?}");
    }
}
