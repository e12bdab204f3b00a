//! Names that are learned, and bays that are allowed, beside what other files say.

use super::*;

fn configured(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prestaged.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn name_of(config: &Path, path: &str) -> Option<String> {
    Config::load(config).unwrap().policy().unwrap().name_of(path).map(str::to_owned)
}

#[test]
fn a_name_is_for_its_very_place() {
    let (_folder, config) = configured("");
    let learned = Learned::open(&config).unwrap();
    let paths = [
        "pci-0000:01:00.0-nvme-1",
        "pci-0000:00:05.0-usb-0:3:1.0-scsi-0:0:0:0",
        "pci-0000:00:05.0-usb-0:3.1:1.0-scsi-0:0:0:0",
        "pci-0000:00:05.0-usb-0:3:1.0-scsi-0:0:0:1",
        "pci-0000:00:04.0-scsi-0:0:3:0",
        "loop-a*[b]?.img",
        "loop-a1b2.img",
    ];
    for (at, path) in paths.iter().enumerate() {
        learned.name(&format!("bay-{at}"), path).unwrap();
    }
    for (at, path) in paths.iter().enumerate() {
        assert_eq!(name_of(&config, path), Some(format!("bay-{at}")), "{path}");
        assert_eq!(name_of(&config, &format!("{path}0")), None, "{path}");
    }
    assert_eq!(learned.bays().unwrap().len(), paths.len());
}

#[test]
fn names_that_cannot_be_are_refused() {
    let (_folder, config) = configured("[[bay]]\nname = \"left\"\npath = \"usb-1*\"\n");
    let learned = Learned::open(&config).unwrap();
    learned.name("right", "usb-2").unwrap();
    let long = "x".repeat(41);
    let place =
        "choose a name that begins with none of pci-, platform-, acpi-, ccw-, loop-, unknown-";
    let (pattern, other) =
        ("choose a name without *, ?, [ and ]", "choose another name, or rename that bay first");
    for (name, expected, hint) in [
        ("", "the name of a bay must not be blank", None),
        ("a\u{7}", "\"a\\u{7}\" has control characters", None),
        (&long, &*format!("{long:?} is longer than 40 characters"), None),
        ("bay*", "\"bay*\" would be a pattern in admission.bays", Some(pattern)),
        (
            "pci-0000:01:00.0-nvme-1",
            "\"pci-0000:01:00.0-nvme-1\" would be taken for a path in admission.bays",
            Some(place),
        ),
        ("left", "\"left\" is the name of the bay at usb-1*", Some(other)),
        ("LEFT", "\"left\" is the name of the bay at usb-1*", Some(other)),
        ("right", "\"right\" is the name of the bay at usb-2", Some(other)),
    ] {
        let error = learned.name(name, "usb-3").unwrap_err();
        assert_eq!((&*error.to_string(), error.hint().as_deref()), (expected, hint));
    }
    assert_eq!(name_of(&config, "usb-3"), None);
    learned.name("right", "usb-2").unwrap();
    learned.name("middle", "usb-2").unwrap();
    learned.name("right", "usb-3").unwrap();
    learned.name("far left", "usb-10").unwrap();
    let names = ["usb-2", "usb-3", "usb-10", "usb-11"].map(|path| name_of(&config, path));
    assert_eq!(names.map(Option::unwrap), ["middle", "right", "far left", "left"]);
}

#[test]
fn nothing_is_replaced_by_what_would_not_work() {
    let (_folder, config) = configured("");
    let learned = Learned::open(&config).unwrap();
    assert!(matches!(Learned::open(&config), Err(LearnedError::Busy(_))), "held");
    learned.name("a", "usb-1").unwrap();
    let before = fs::read(learned.file()).unwrap();
    let later = learned.file().with_file_name("z.toml");
    fs::write(&later, "[[bay]]\nname = \"z\"\npath = \"usb-*\"\n").unwrap();
    let folder = later.parent().unwrap().display();
    let error = learned.name("b", "usb-2").unwrap_err();
    let expected = "the name \"b\" would have no effect: a later file calls the bay \"z\"";
    assert_eq!(error.to_string(), expected);
    let hint = format!(
        "change the name there: it is one of the files in {folder} that sort after bays.toml"
    );
    assert_eq!(error.hint(), Some(hint));
    fs::write(&later, "[admision]\n").unwrap();
    assert!(matches!(learned.name("b", "usb-2"), Err(LearnedError::Config(_))));
    assert_eq!(fs::read(learned.file()).unwrap(), before);
    fs::remove_file(&later).unwrap();
    fs::write(learned.file(), "[admission]\narmed = true\n").unwrap();
    let error = learned.name("b", "usb-2").unwrap_err();
    let expected = format!(
        "{folder}/bays.toml: admission.armed: only bays and what allows them may stand in this file"
    );
    assert_eq!(error.to_string(), expected);
    let hint = "move admission.armed to another file in the same folder";
    assert_eq!(error.hint().as_deref(), Some(hint));
}

#[test]
fn bays_are_allowed_beside_what_other_files_allow() {
    let (_folder, config) = configured("[admission]\nbuses = [\"usb\"]\nbays = [\"pci-7*\"]\n");
    let learned = Learned::open(&config).unwrap();
    learned.name("left", "pci-1").unwrap();
    assert!(!fs::read_to_string(learned.file()).unwrap().contains("[admission]"));
    learned.allow("left", "pci-1", "nvme").unwrap();
    learned.name("right", "pci-2").unwrap();
    learned.allow("right", "pci-2", "nvme").unwrap();
    // One that is allowed already.
    learned.name("seventh", "pci-77").unwrap();
    learned.allow("seventh", "pci-77", "usb").unwrap();
    let lists = |config: &Path| {
        let admission = Config::load(config).unwrap().admission;
        (admission.buses, admission.bays)
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let expected = (words(&["usb", "nvme"]), words(&["pci-7*", "left", "right"]));
    assert_eq!(lists(&config), expected);
    // Another name for an allowed bay: it stays allowed, under that name alone.
    learned.name("west", "pci-1").unwrap();
    assert_eq!(lists(&config).1, words(&["pci-7*", "west", "right"]));
    assert!(Config::load(&config).unwrap().doubts().is_empty());
    // What is written is never taken away by naming, and nothing is written that has no effect.
    let before = fs::read(learned.file()).unwrap();
    let later = learned.file().with_file_name("z.toml");
    fs::write(&later, "\n[admission]\nbays = []\n").unwrap();
    learned.name("third", "pci-3").unwrap();
    let error = learned.allow("third", "pci-3", "nvme").unwrap_err();
    let (file, z) = (learned.file().display(), later.display());
    let expected =
        format!("admission.bays in {file} would have no effect: {z}:3 gives the whole list anew");
    assert_eq!(error.to_string(), expected);
    let hint = format!("add \"third\" to the list at {z}:3, or remove the list there");
    assert_eq!(error.hint(), Some(hint));
    fs::remove_file(later).unwrap();
    let text = String::from_utf8(before).unwrap();
    let (kept, now) = (text.matches("west").count(), fs::read_to_string(learned.file()).unwrap());
    assert_eq!((now.matches("west").count(), now.matches("third").count()), (kept, 1));
}
