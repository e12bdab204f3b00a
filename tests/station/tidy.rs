//! Rules of the house that no compiler checks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// The crates of the program, by folder.
const CRATES: [&str; 18] = [
    "model", "formats", "signing", "evidence", "config", "drives", "masters", "media", "parcel",
    "record", "imaging", "station", "view", "wire", "ctl", "gate", "lamps", "paper",
];

/// The compiler holds these crates to what they say; here they are held to go on saying it.
#[apply(test!)]
fn crates_that_need_no_unsafe_code_forbid_it() {
    for name in [
        "formats", "signing", "evidence", "config", "masters", "parcel", "record", "imaging",
        "station", "view", "ctl", "lamps", "paper",
    ] {
        let path = top().join("daemon").join(name).join("src/lib.rs");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("\n#![forbid(unsafe_code)]\n"), "{}", path.display());
    }
}

/// What a package of the workspace depends on, directly or not, without what only its tests need.
fn dependencies(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"];
    let output = Command::new(cargo)
        .args(arguments)
        .args(["--format", "{p}", "--package", package])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    let names: BTreeSet<String> = names.map(str::to_owned).collect();
    assert!(names.contains(package), "{text}");
    names
}

/// What must not be reached from where: Cargo sees to it, and this test sees to Cargo.toml.
#[apply(test!)]
fn arrows_never_point_back() {
    let pure = ["tokio-stream", "axum", "nix", "notify", "rusqlite", "udev", "libloading"];
    let forbidden: [(&str, &[&str]); 13] = [
        // The operators' program runs on a machine without libwim, SQLite and libudev.
        (
            "prestaged-ctl",
            &["prestaged-media", "libloading", "rusqlite", "udev", "libudev-sys", "libsqlite3-sys"],
        ),
        ("prestaged-model", &["tokio", "rustix", "tracing"]),
        ("prestaged-signing", &["tokio", "rustix", "tracing"]),
        // Packing and taking parcels in needs no libwim; where a parcel comes from is the caller's.
        (
            "prestaged-parcel",
            &["prestaged-media", "prestaged-drives", "tokio", "ureq", "libloading"],
        ),
        // What can be reached from outside knows neither drives nor ledger nor media.
        (
            "prestaged-gate",
            &[
                "prestaged-drives",
                "prestaged-record",
                "prestaged-media",
                "prestaged-masters",
                "prestaged-imaging",
                "prestaged-station",
                "rusqlite",
                "udev",
                "libloading",
            ],
        ),
        // What writes to sysfs is on no network, and knows no drive but by the name of its node.
        (
            "prestaged-lamps",
            &[
                "axum",
                "rustls",
                "prestaged-drives",
                "prestaged-record",
                "prestaged-media",
                "prestaged-station",
                "rusqlite",
                "udev",
                "libloading",
            ],
        ),
        ("prestaged-view", &["tokio", "rustix", "tracing", "axum"]),
        ("prestaged-station", &["rustix", "prestaged-drives", "prestaged-masters", "hyper"]),
        // What reads media cannot open a drive; what writes drives knows neither libwim nor the ledger.
        ("prestaged-media", &["prestaged-drives", "prestaged-imaging", "udev"]),
        ("prestaged-masters", &["prestaged-drives", "prestaged-media", "udev"]),
        ("prestaged-imaging", &["prestaged-media", "prestaged-record", "libloading", "rusqlite"]),
        ("prestaged-record", &["prestaged-drives", "prestaged-media", "prestaged-masters"]),
        ("prestaged-drives", &["prestaged-media", "prestaged-masters", "prestaged-record"]),
    ];
    for (package, others) in forbidden {
        let found = dependencies(package);
        for other in others {
            assert!(!found.contains(*other), "{package} depends on {other}");
        }
        if ["prestaged-model", "prestaged-station", "prestaged-view"].contains(&package) {
            let reached: Vec<_> = pure.iter().filter(|name| found.contains(**name)).collect();
            assert!(reached.is_empty(), "{package} depends on {reached:?}");
        }
    }
}

#[apply(test!)]
fn files_stay_readable() {
    for (path, text) in all(&["daemon", "tests"]) {
        let lines = text.lines().count();
        assert!(lines <= 500, "{} has {lines} lines", path.display());
        assert!(text.starts_with("//!"), "{} does not say what it is for", path.display());
    }
}

/// A crate, or a module of the package itself, that ARCHITECTURE.md does not name cannot be found by who reads it.
#[apply(test!)]
fn the_architecture_names_every_crate_and_module() {
    let text = fs::read_to_string(top().join("ARCHITECTURE.md")).unwrap();
    let named = |name: &str| text.contains(&format!("`{name}`"));
    let sources = CRATES.iter().map(|name| Path::new(name).join("src")).chain(["src".into()]);
    for source in sources {
        for entry in fs::read_dir(top().join("daemon").join(&source)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let name = name.trim_end_matches(".rs");
            let known = ["lib", "bin", "tests", "fixture", "snapshots", "schema1.json", "machines"];
            let listed = known.contains(&name) || source.starts_with("ctl") || named(name);
            assert!(listed, "{}: {name} is not in ARCHITECTURE.md", source.display());
        }
    }
    for name in CRATES {
        assert!(named(name), "{name} is not in ARCHITECTURE.md");
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
