//! Doubts, each with its whole text.

use super::super::*;
use super::mistakes::written;

/// What is doubtful in these files, with paths as seen from their folder.
fn doubts(files: &[(&str, &str)]) -> Vec<String> {
    let (folder, path) = written(files);
    let config = Config::load(&path).unwrap();
    let seen =
        |doubt: &Doubt| doubt.to_string().replace(&format!("{}/", folder.path().display()), "");
    config.doubts().iter().map(seen).collect()
}

#[test]
fn what_is_probably_not_meant_is_told_with_its_place() {
    let partition = |size: &str| {
        format!(
            "[[layout]]\nname = \"x\"\npartitions = [\n{{ type = \"esp\", size = \"{size}\" }},\n\
             {{ type = \"windows\", size = \"rest\" }} ]\n"
        )
    };
    let second = partition("300MiB") + &partition("300MiB").replace("\"x\"", "\"y\"");
    let named =
        |rest: &str| format!("[[bay]]\nname = \"left 1\"\npath = \"pci-1\"\n[admission]\n{rest}");
    for (text, expected) in [
        (
            "[media]\ninbox = \"here\"",
            "a.toml:2: media.inbox: \"here\" depends on the folder in which the station is started",
        ),
        (
            "[store]\npath = \"/x\"\n[ledger]\npath = \"/x/ledger.db\"",
            "a.toml:4: ledger.path: /x/ledger.db lies in the store, /x, where only masters should",
        ),
        (
            "[media.expires]\n\"in/a.wim\" = \"2030-01-01\"",
            "a.toml:1: media.expires: \"in/a.wim\": write the name of the file alone, without its folder",
        ),
        (
            "[admission]\nserials = [\"a\", \" \"]",
            "a.toml:2: admission.serials: an empty pattern matches no drive",
        ),
        (
            "[admission]\nbuses = [\"usb\"]\narmed = true",
            "a.toml:3: admission.armed: the station is armed from its start, and admission.bays allows no drive",
        ),
        (
            "[admission]\nbays = [\"bay-1\"]",
            "a.toml:2: admission.bays: no bay has the name \"bay-1\"; `prestagectl bays learn` gives names",
        ),
        (
            &named("bays = [\n\"left 1\",\n\"left1\" ]"),
            "a.toml:7: admission.bays: no bay has the name \"left1\"; did you mean \"left 1\"?",
        ),
        (
            &named("bays = [\"Left 1\"]"),
            "a.toml:5: admission.bays: no bay has the name \"Left 1\"; did you mean \"left 1\"?",
        ),
        (
            &named("bays = [\"right*\"]"),
            "a.toml:5: admission.bays: no bay has a name like \"right*\", and no path of udev begins so",
        ),
        (
            "[admission]\nbays = [\"/dev/disk/by-path/pci-0000:03:00.0-sas-1\"]",
            "a.toml:2: admission.bays: \"/dev/disk/by-path/pci-0000:03:00.0-sas-1\" is no bay: write the path as udev's ID_PATH has it, without its folder",
        ),
        (
            "[[bay]]\nname = \"all\"\npath = \"pci-*\"\n[[bay]]\nname = \"one\"\npath = \"pci-1\"",
            "a.toml:6: [[bay]] path: \"one\" is never used, because \"all\" before it has the path pci-*, which matches",
        ),
        (
            &second,
            "a.toml:7: [[layout]] name: \"y\" is never used: drives get the first layout, \"x\"",
        ),
        (
            &partition("20GiB"),
            "a.toml:4: [[layout]] partitions.size: 21.5 GB for the esp partition; hardly one needs more than 4096MiB",
        ),
        (
            "[replicate]\nmin_write_rate = 5",
            "a.toml:2: replicate.min_write_rate: every drive is faster than 5 B/s; write 30MB/s or the like",
        ),
        (
            "[replicate]\nmin_write_rate = \"50GB/s\"",
            "a.toml:2: replicate.min_write_rate: hardly a drive reaches 50.0 GB/s, so all would fail",
        ),
        (
            "[replicate]\nmin_batch_share = \"100%\"",
            "a.toml:2: replicate.min_batch_share: 100% fails drives that are as good as the others; write 50% or less",
        ),
    ] {
        assert_eq!(doubts(&[("a.toml", text)]), [expected], "{text}");
    }
}

#[test]
fn what_is_sound_raises_no_doubt() {
    for text in [
        "",
        "[admission]\nbays = [\"*\", \"pci-0000:03:00.0-*\", \"p*\", \"loop-a*\", \"[lp]*\", \"?ci-1\"]",
        "[[bay]]\nname = \"left 1\"\npath = \"usb-1*\"\n[admission]\nbays = [\"left*\", \"left 1\", \"usb-1*\"]",
        "[[bay]]\nname = \"one\"\npath = \"pci-1\"\n[[bay]]\nname = \"rest\"\npath = \"pci-*\"",
        "[replicate]\nmin_write_rate = \"30MB/s\"\nmin_batch_share = \"50%\"",
        "[media.expires]\n\"a.wim\" = \"2020-01-01\"",
    ] {
        assert!(
            doubts(&[("a.toml", text)]).is_empty(),
            "{text}: {:?}",
            doubts(&[("a.toml", text)])
        );
    }
}

#[test]
fn files_that_are_not_read_and_lists_without_effect_are_told() {
    let found = doubts(&[
        ("a.toml", "[admission]\nbuses = [\"usb\", \"ata\"]\nbays = []\n"),
        ("a.toml.d/10.toml", "\n[admission]\nbuses = [\"usb\"]\nbays = [\"pci-1\"]\n"),
        ("a.toml.d/20.conf", "[admission]\narmed = true\n"),
        ("a.toml.d/30.toml~", ""),
        ("a.toml.d/.bays.toml.new", ""),
        ("a.toml.d/b.TOML", ""),
    ]);
    let expected = [
        "a.toml.d/20.conf: is ignored: names of drop-ins end in .toml",
        "a.toml.d/30.toml~: is ignored: names of drop-ins end in .toml",
        "a.toml.d/b.TOML: is ignored: names of drop-ins end in .toml",
        "a.toml:2: admission.buses: \"ata\" has no effect, because a.toml.d/10.toml:3 gives the whole list anew and leaves it out",
    ];
    assert_eq!(found, expected);
}
