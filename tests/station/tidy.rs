//! Rules of the house that no compiler checks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use macro_rules_attribute::apply;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(folder: &Path, into: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // cargo-fuzz builds into the folder of its sources.
            if !path.ends_with("target") {
                sources(&path, into);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push((path.clone(), fs::read_to_string(path).unwrap()));
        }
    }
}

fn all(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    folders.iter().for_each(|folder| sources(&top().join(folder), &mut found));
    assert!(found.len() > 10, "found only {} sources", found.len());
    found
}

#[apply(test!)]
fn unsafe_stays_where_it_is_allowed() {
    for (path, text) in all(&["daemon/src"]) {
        let allowed = path.ends_with("sys.rs")
            || path.ends_with("digest/lanes.rs")
            || path.to_string_lossy().contains("/wim/");
        let word = ["unsafe ", "{"].concat();
        let found = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains(&word) || code.contains("expect(unsafe_code")
        });
        assert!(allowed || !found, "unsafe code in {}", path.display());
    }
}

#[apply(test!)]
fn only_target_opens_a_drive_for_writing() {
    for (path, text) in all(&["daemon/src"]) {
        let direct = text.contains("OFlags::EXCL");
        assert_eq!(direct, path.ends_with("target.rs"), "{}", path.display());
    }
}

#[apply(test!)]
fn pure_modules_do_no_io() {
    for name in [
        "admission/mod.rs",
        "admission/policy.rs",
        "drive.rs",
        "layout/mod.rs",
        "identity.rs",
        "job.rs",
    ] {
        let text = fs::read_to_string(top().join("daemon/src").join(name)).unwrap();
        for word in ["std::fs", "std::net", "std::process", "SystemTime", "rustix"] {
            assert!(!text.contains(word), "{name} uses {word}");
        }
    }
}

#[apply(test!)]
fn files_stay_readable() {
    for (path, text) in all(&["daemon/src", "tests"]) {
        let lines = text.lines().count();
        assert!(lines <= 500, "{} has {lines} lines", path.display());
        assert!(text.starts_with("//!"), "{} does not say what it is for", path.display());
    }
}

#[apply(test!)]
fn the_architecture_names_every_module() {
    let text = fs::read_to_string(top().join("ARCHITECTURE.md")).unwrap();
    for entry in fs::read_dir(top().join("daemon/src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = name.trim_end_matches(".rs");
        if name != "lib" && name != "bin" {
            assert!(text.contains(&format!("`{name}`")), "{name} is not in ARCHITECTURE.md");
        }
    }
}

/// The built-in runner does not run here, so a `#[test]` would be dropped without a word.
#[apply(test!)]
fn every_test_is_registered() {
    for (path, text) in all(&["tests/station", "tests/harness"]) {
        let found = text.lines().any(|line| line.trim() == "#[test]");
        assert!(!found, "{} has a #[test], not an #[apply(test!)]", path.display());
    }
}

/// The codes that README.md lists for a verdict.
fn documented(verdict: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(top().join("README.md")).unwrap();
    let (_, item) = text.split_once(&format!("\n- `{verdict}`")).unwrap();
    let (_, list) = item.split_once(": ").unwrap();
    // Up to the list's end, without what stands in brackets.
    let list = list.split(&['.', ';']).next().unwrap();
    let listed = list.split('(').map(|part| part.split_once(')').map_or(part, |(_, rest)| rest));
    let words = listed.flat_map(|part| part.split('`').skip(1).step_by(2));
    words.map(str::to_owned).collect()
}

#[apply(test!)]
fn the_contract_s_codes_are_documented() {
    // serde names every code when it meets one that it does not know.
    let error =
        serde_json::from_str::<prestaged::admission::Code>("\"?\"").unwrap_err().to_string();
    let (_, known) = error.split_once("expected one of").unwrap();
    let mut refused: BTreeSet<String> =
        known.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    // Not a decision on a drive: its record cannot be written.
    refused.insert("ledger_unavailable".into());
    assert_eq!(documented("refused"), refused);
    let failed = [
        "boot_configuration",
        "internal_error",
        "mismatch",
        "press_failed",
        "read_error",
        "stalled",
        "store_error",
        "too_slow",
        "unplugged",
        "write_error",
    ];
    assert_eq!(documented("failed"), failed.map(str::to_owned).into());
    let stopped = ["operator_stop", "station_interrupted", "station_shutdown"];
    assert_eq!(documented("stopped"), stopped.map(str::to_owned).into());
}

#[apply(test!)]
fn the_readme_has_every_key() {
    let text = fs::read_to_string(top().join("README.md")).unwrap();
    let table = |line: &&str| line.starts_with("| `") && line.matches(" | ").count() == 2;
    let (_, after) = text.split_once("## Configuration\n").unwrap();
    let found: Vec<&str> = after.split("\n## ").next().unwrap().lines().filter(table).collect();
    let expected: Vec<String> = prestaged::config::keys::KEYS.iter().map(|key| key.row()).collect();
    assert_eq!(found, expected, "the table should be\n{}", expected.join("\n"));
    assert!(text.contains(prestaged::config::DEFAULT_LAYOUT.replace('\n', "\n    ").trim_end()));
}
