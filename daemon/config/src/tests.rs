//! What is read from the file and its drop-ins.

use super::*;
use model::admission::Overwrite;
use model::layout::Boot;
use model::units::{ByteRate, Bytes};

mod doubts;
mod every_key;
mod limits;
mod mistakes;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::from_table(text.parse().unwrap())
}

#[test]
fn a_fresh_install_is_disarmed_and_allows_nothing() {
    let policy = parse("").unwrap().policy().unwrap();
    assert!(!policy.armed && policy.buses.is_empty() && policy.bays.is_empty());
    assert_eq!(policy.overwrite, Overwrite::BlankOrOurs);
}

#[test]
fn the_contract_s_example_is_read() {
    let config = parse(
        r#"
        [station]
        name = "ci"
        [media]
        inbox = "/x/inbox"
        [store]
        path = "/x/store"
        budget = "20GiB"
        [ledger]
        path = "/x/ledger.db"
        [control]
        socket = "/x/control.sock"
        [admission]
        armed = true
        buses = ["loop"]
        bays = ["*"]
        overwrite = "any"
        [replicate]
        memory = "512MiB"
        min_write_rate = "5MB/s"
        rewrites = 0
        [[layout]]
        name = "uefi"
        boot = "none"
        partitions = [ { type = "esp", size = "300MiB" }, { type = "msr", size = "16MiB" },
            { type = "windows", size = "rest" }, { type = "recovery", size = "990MiB" } ]
        "#,
    )
    .unwrap();
    assert_eq!(config.store.budget, Bytes(20 << 30));
    assert_eq!(config.replicate.min_write_rate, Some(ByteRate(5_000_000)));
    assert_eq!(config.chosen_layout().boot, Boot::None);
}

#[test]
fn drop_ins_win_key_by_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prestaged.toml");
    let drop_ins = folder.path().join("prestaged.toml.d");
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::write(&path, "[admission]\nbuses = [\"usb\"]\nbays = [\"*\"]").unwrap();
    std::fs::write(drop_ins.join("10.toml"), "[admission]\nbuses = [\"loop\"]").unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(
        (config.admission.buses, config.admission.bays),
        (vec!["loop".into()], vec!["*".into()])
    );
}

#[test]
fn bays_of_several_files_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prestaged.toml");
    let drop_ins = folder.path().join("prestaged.toml.d");
    std::fs::create_dir(&drop_ins).unwrap();
    let bays = |pairs: &[(&str, &str)]| -> String {
        let table = |(name, path): &(&str, &str)| {
            format!("[[bay]]\nname = \"{name}\"\npath = \"{path}\"\n")
        };
        pairs.iter().map(table).collect()
    };
    std::fs::write(&path, bays(&[("left", "usb-*"), ("old", "usb-2"), ("moved", "usb-9")]))
        .unwrap();
    let text = bays(&[("two", "usb-2"), ("moved", "usb-3")]);
    std::fs::write(drop_ins.join("a.toml"), &text).unwrap();
    let policy = Config::load(&path).unwrap().policy().unwrap();
    let names = ["usb-1", "usb-2", "usb-3", "usb-9", "ata-1"].map(|path| policy.name_of(path));
    let expected = [Some("left"), Some("two"), Some("moved"), Some("left"), None];
    assert_eq!(names, expected, "the later file's come first, and replace by name and by path");
    // Twice in one file is a mistake all the same.
    let twice = drop_ins.join("b.toml");
    std::fs::write(&twice, bays(&[("x", "1"), ("x", "2")])).unwrap();
    let error = Config::load(&path).unwrap_err().to_string();
    assert_eq!(error, format!("{}:5: [[bay]] name: two bays have the name \"x\"", twice.display()));
}

/// What serde knows in a table, from the error about a key that it does not know.
fn known(text: &str) -> Vec<String> {
    let error = toml::from_str::<Config>(text).unwrap_err().to_string();
    let (_, expected) = error.split_once("expected ").unwrap_or_else(|| panic!("{error}"));
    // Behind the names may stand where they were expected.
    let names = expected.split(" in `").next().unwrap();
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_table_of_keys_is_complete() {
    let mut sections = known("no_such_key = 1");
    let listed = |section: &str| -> Vec<&str> {
        keys::KEYS.iter().filter(|key| key.section == section).map(|key| key.name).collect()
    };
    for section in &sections {
        let repeated = keys::KEYS.iter().any(|key| key.section == *section && key.is_repeated());
        let mut found = match repeated {
            true => known(&format!("[[{section}]]\nno_such_key = 1")),
            false => known(&format!("[{section}]\nno_such_key = 1")),
        };
        found.sort();
        let mut listed = listed(section);
        listed.sort_unstable();
        assert_eq!(found, listed, "{section}");
    }
    let mut found = known("[[layout]]\nname = \"x\"\npartitions = [{ no_such_key = 1 }]");
    found.sort();
    let mut partitions = listed("layout.partitions");
    partitions.sort_unstable();
    assert_eq!(found, partitions);
    let mut found = known("[[media.signers]]\nno_such_key = 1");
    found.sort();
    let mut signers = listed("media.signers");
    signers.sort_unstable();
    assert_eq!(found, signers);
    let mut found = known("[[gate.webhooks]]\nno_such_key = 1");
    found.sort();
    let mut webhooks = listed("gate.webhooks");
    webhooks.sort_unstable();
    assert_eq!(found, webhooks);
    let mut found = known("[[gate.brokers]]\nno_such_key = 1");
    found.sort();
    let mut brokers = listed("gate.brokers");
    brokers.sort_unstable();
    assert_eq!(found, brokers);
    sections.push("layout.partitions".into());
    sections.push("gate.webhooks".into());
    sections.push("gate.brokers".into());
    sections.push("media.signers".into());
    assert!(keys::KEYS.iter().all(|key| sections.iter().any(|section| section == key.section)));
}

#[test]
fn the_defaults_in_the_table_are_the_real_ones() {
    let silent = format!("{:?}", parse("").unwrap());
    for key in keys::KEYS {
        if let keys::Fallback::Value(value) = key.fallback
            && !key.is_repeated()
        {
            let text = format!("[{}]\n{} = {value}", key.section, key.name);
            let said = format!("{:?}", parse(&text).unwrap());
            // Known to be the policy's default, which stands where the key is absent.
            let said = said.replace("size_tolerance: Some(Share(100))", "size_tolerance: None");
            assert_eq!(said, silent, "{}", key.path());
        }
    }
    assert_eq!(parse(DEFAULT_LAYOUT).unwrap().layout, [Layout::default()]);
}
