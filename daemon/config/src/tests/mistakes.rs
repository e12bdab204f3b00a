//! Mistakes in the configuration, each with its whole message and its hint.

use std::fs;
use std::path::{Path, PathBuf};

use model::hint::Hint as _;

use super::super::*;

pub(super) fn written(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("a.toml.d")).unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let path = folder.path().join("a.toml");
    (folder, path)
}

/// Message, causes and hint, with paths as seen from the folder.
fn said(folder: &Path, error: &ConfigError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    (text + &hint).replace(&format!("{}/", folder.display()), "")
}

/// What loading these files says.
pub(super) fn mistake(files: &[(&str, &str)]) -> String {
    let (folder, path) = written(files);
    said(folder.path(), &Config::load(&path).unwrap_err())
}

fn windows(extra: &str) -> String {
    format!(
        "[[layout]]\nname = \"x\"\nboot = \"none\"\n\
         partitions = [{{ type = \"windows\", size = \"rest\", {extra} }}]"
    )
}

pub(super) fn partitions(list: &str) -> String {
    format!("[[layout]]\nname = \"x\"\npartitions = [{list}]")
}

#[test]
fn mistakes_name_file_line_and_key_and_the_hint_says_how_to_mend_them() {
    for (text, expected) in [
        (
            "[admission]\narmd = true",
            "a.toml:2: admission.armd: no such key\n\
             hint: did you mean \"armed\"?",
        ),
        (
            "[admision]\narmed = true",
            "a.toml:1: admision: no such key\n\
             hint: did you mean \"admission\"?",
        ),
        (
            "armed = true",
            "a.toml:1: armed: no such key\n\
             hint: did you mean \"admission.armed\"?",
        ),
        (
            "[store]\ninbox = \"/x\"",
            "a.toml:2: store.inbox: no such key\n\
             hint: did you mean \"media.inbox\"?",
        ),
        (
            "[[bay]]\nname = \"1\"\npath = \"x\"\nlabel = \"x\"",
            "a.toml:4: [[bay]] label: no such key\n\
             hint: did you mean \"[[layout]] partitions.label\"?",
        ),
        ("[zzz]", "a.toml:1: zzz: no such key"),
        ("\"a\\u0007b\" = 1", "a.toml:1: \"a\\u{7}b\": no such key"),
        (
            "[store]\nbudget = \"many\"",
            "a.toml:2: store.budget: \"many\" is not a size\n\
             hint: write for example \"20GiB\" or \"512GB\"",
        ),
        (
            "store.budget = \"many\"",
            "a.toml:1: store.budget: \"many\" is not a size\n\
             hint: write for example \"20GiB\" or \"512GB\"",
        ),
        (
            "[store]\nbudget = -5",
            "a.toml:2: store.budget: -5 is not a size\n\
             hint: write for example \"20GiB\" or \"512GB\"",
        ),
        (
            "[store]\nbudget = [1,\n2]",
            "a.toml:2: store.budget: [1,… is not a size\n\
             hint: write for example \"20GiB\" or \"512GB\"",
        ),
        (
            "[replicate]\nmin_write_rate = \"5MB\"",
            "a.toml:2: replicate.min_write_rate: \"5MB\" is not a rate\n\
             hint: write for example \"5MB/s\"",
        ),
        (
            "[replicate]\nmemory = \"1MiB\"",
            "a.toml:2: replicate.memory: 1048576 bytes are too few to keep drives busy\n\
             hint: write \"64MiB\" or more",
        ),
        (
            "[replicate]\nrewrites = \"3\"",
            "a.toml:2: replicate.rewrites: \"3\" is not a whole number from 0 to 4294967295\n\
             hint: write for example 1, without quotes",
        ),
        (
            "[control]\nmode = \"rw\"",
            "a.toml:2: control.mode: \"rw\" is not a file mode in octal\n\
             hint: write for example \"0660\"",
        ),
        (
            "[control]\nmode = 660",
            "a.toml:2: control.mode: 660 is not a file mode in octal\n\
             hint: write for example \"0660\"",
        ),
        (
            "[admission]\narmed = \"yes\"",
            "a.toml:2: admission.armed: \"yes\" is not true or false\n\
             hint: write true or false, without quotes",
        ),
        (
            "[admission]\nbuses = \"usb\"",
            "a.toml:2: admission.buses: \"usb\" is not a list of texts\n\
             hint: write [\"usb\"]",
        ),
        (
            "[admission]\nbuses = [\n\"usb\",\n3]",
            "a.toml:4: admission.buses: 3 is not text\n\
             hint: text stands in double quotes",
        ),
        (
            "[admission]\nbuses = [\"usb\",\n\"sata\"]",
            "a.toml:3: admission.buses: no drive is on a bus \"sata\"\n\
             hint: write \"ata\"; buses are ata, scsi, usb, nvme, mmc, virtio, loop, ieee1394, iscsi, fc, nvme-tcp, nvme-rdma, nvme-fc",
        ),
        (
            "[admission]\nbuses = [\"NVMe\"]",
            "a.toml:2: admission.buses: no drive is on a bus \"NVMe\"\n\
             hint: write \"nvme\"; buses are ata, scsi, usb, nvme, mmc, virtio, loop, ieee1394, iscsi, fc, nvme-tcp, nvme-rdma, nvme-fc",
        ),
        (
            "[admission]\nbuses = [\"\"]",
            "a.toml:2: admission.buses: no drive is on a bus \"\"\n\
             hint: buses are ata, scsi, usb, nvme, mmc, virtio, loop, ieee1394, iscsi, fc, nvme-tcp, nvme-rdma, nvme-fc",
        ),
        (
            "[station]\nname = \" \"",
            "a.toml:2: station.name: \" \" is not a name\n\
             hint: write for example \"rack-01\"",
        ),
        (
            "[admission]\nbays = [\"ok\",\n\"a[\"]",
            "a.toml:3: admission.bays: \"a[\" is not a glob pattern: Pattern syntax error near position 1: invalid range pattern\n\
             hint: * stands for any text, ? for one character, [ab] for a or b, and [[] for a bracket",
        ),
        (
            "[admission]\nmodels = [\"a[\"]",
            "a.toml:2: admission.models: \"a[\" is not a glob pattern: Pattern syntax error near position 1: invalid range pattern\n\
             hint: * stands for any text, ? for one character, [ab] for a or b, and [[] for a bracket",
        ),
        (
            "[admission]\noverwrite = \"blank\"",
            "a.toml:2: admission.overwrite: \"blank\" is not one of \"blank_or_ours\", \"blank_only\", \"any\"\n\
             hint: did you mean \"blank_only\"?",
        ),
        (
            "[admission]\noverwrite = \"?\"",
            "a.toml:2: admission.overwrite: \"?\" is not one of \"blank_or_ours\", \"blank_only\", \"any\"",
        ),
        (
            "[admission]\nsizes = [\"512GB\", \"big\"]",
            "a.toml:2: admission.sizes: \"big\" is not a size\n\
             hint: write for example \"20GiB\" or \"512GB\"",
        ),
        (
            "[admission]\nsizes = [\"512GB\"]\nsize_tolerance = \"2\"",
            "a.toml:3: admission.size_tolerance: \"2\" is not a share\n\
             hint: write for example \"2.5%\"",
        ),
        (
            "[replicate]\nstall_timeout = \"soon\"",
            "a.toml:2: replicate.stall_timeout: \"soon\" is not a length of time\n\
             hint: write for example \"90s\" or \"2m\"",
        ),
        (
            "[replicate]\nstall_timeout = \"0s\"",
            "a.toml:2: replicate.stall_timeout: it must be longer than zero\n\
             hint: write for example \"90s\" or \"2m\"",
        ),
        ("[media]\nimage = 0", "a.toml:2: media.image = 0: images are counted from 1"),
        (
            "[media]\nimage = -1",
            "a.toml:2: media.image: -1 is not a whole number from 0 to 4294967295\n\
             hint: write for example 1, without quotes",
        ),
        (
            "[media.expires]\n\"a.wim\" = \"soon\"",
            "a.toml:2: media.expires.\"a.wim\": \"soon\" is not a date\n\
             hint: write for example \"2027-06-30\"",
        ),
        (
            "[media]\nexpires = \"soon\"",
            "a.toml:2: media.expires: \"soon\" is not a table of dates\n\
             hint: write for example { \"win11.wim\" = \"2027-06-30\" }",
        ),
        (
            "[[bay]]\nname = \"1\"",
            "a.toml:1: [[bay]] path: missing\n\
             hint: each table [[bay]] needs name and path",
        ),
        ("[[bay]]\nname = \" \"\npath = \"x\"", "a.toml:2: [[bay]] name: it is blank"),
        (
            "[[bay]]\nname = \"a\\u0007\"\npath = \"x\"",
            "a.toml:2: [[bay]] name: \"a\\u{7}\" has control characters",
        ),
        (
            "[[bay]]\nname = \"1\"\npath = \"x\"\n[[bay]]\nname = \"1\"\npath = \"y\"",
            "a.toml:5: [[bay]] name: two bays have the name \"1\"\n\
             hint: give one of them another name, or remove it",
        ),
        (
            "[[bay]]\nname = \"1\"\npath = \"x\"\n[[bay]]\nname = \"2\"\npath = \"x\"",
            "a.toml:6: [[bay]] path: two bays have the path \"x\"\n\
             hint: a bay has one name; remove the other",
        ),
        (
            "[[bay]]\nname = \"1\"\npath = \"[\"",
            "a.toml:3: [[bay]] path: \"[\" is not a glob pattern: Pattern syntax error near position 0: invalid range pattern\n\
             hint: * stands for any text, ? for one character, [ab] for a or b, and [[] for a bracket",
        ),
        (
            "[bay]\nname = \"1\"\npath = \"x\"",
            "a.toml:1: bay: [bay] does not begin a table of this name\n\
             hint: write [[bay]], and its keys on the lines below",
        ),
        (
            "[[store]]\nbudget = 1",
            "a.toml:1: store: [[store]] does not begin a table of this name\n\
             hint: write [store], and its keys on the lines below",
        ),
        (
            "admission = 3",
            "a.toml:1: admission: 3 does not begin a table of this name\n\
             hint: write [admission], and its keys on the lines below",
        ),
        (
            "bay = [3]",
            "a.toml:1: bay: 3 does not begin a table of this name\n\
             hint: write [[bay]], and its keys on the lines below",
        ),
        ("[store", "a.toml:1: unclosed table, expected `]`"),
        ("[store]\nbudget = 1\nbudget = 2", "a.toml:3: budget: duplicate key"),
        (
            "[store]\nbudget = many",
            "a.toml:2: many: string values must be quoted, expected literal string",
        ),
        (
            &partitions(""),
            "a.toml:1: layout \"x\" has no windows partition, to which the media is applied\n\
             hint: add { type = \"windows\", size = \"rest\" }",
        ),
        (
            &partitions("{ type = \"windows\", size = \"rest\" }"),
            "a.toml:1: layout \"x\" has no esp partition, to which boot = \"prestaged\" writes the boot files\n\
             hint: add { type = \"esp\", size = \"300MiB\" }, or set boot = \"none\"",
        ),
        (
            &partitions(
                "{ type = \"windows\", size = \"rest\" }, { type = \"esp\", size = \"300MiB\" }",
            ),
            "a.toml:1: layout \"x\" has its partitions in another order than Windows expects\n\
             hint: put them in the order esp, msr, windows, recovery",
        ),
        (
            &partitions(
                "{ type = \"esp\", size = \"300MiB\" }, { type = \"windows\", size = \"64GiB\" }",
            ),
            "a.toml:1: layout \"x\" has 0 partitions with size \"rest\", and needs exactly one\n\
             hint: one partition takes what the others leave, usually windows; give the others sizes",
        ),
        (
            &partitions(
                "{ type = \"esp\", size = \"1MiB\" }, { type = \"windows\", size = \"rest\" }",
            ),
            "a.toml:1: layout \"x\": the esp partition has 1048576 bytes; with these sectors, its file system needs 34603008\n\
             hint: set its size to \"33MiB\" or more",
        ),
        (
            &partitions(
                "{ type = \"esp\", size = \"300MiB\" }, { type = \"esp\", size = \"300MiB\" }",
            ),
            "a.toml:1: layout \"x\" has more than one esp partition\n\
             hint: a layout has each type of partition at most once",
        ),
        (
            &partitions("{ type = \"efi\", size = \"300MiB\" }"),
            "a.toml:3: [[layout]] partitions.type: \"efi\" is not one of \"esp\", \"msr\", \"windows\", \"recovery\"",
        ),
        (
            &partitions("{ size = \"300MiB\" }"),
            "a.toml:3: [[layout]] partitions.type: missing\n\
             hint: each table of partitions needs type and size",
        ),
        (
            &partitions("{ type = \"windows\", size = \"most\" }"),
            "a.toml:3: [[layout]] partitions.size: \"most\" is not a partition size\n\
             hint: write for example \"300MiB\", or \"rest\" for what the other partitions leave",
        ),
        (
            &partitions("3"),
            "a.toml:3: [[layout]] partitions: 3 is not a table\n\
             hint: write for example { type = \"windows\", size = \"rest\" }",
        ),
        (
            &windows("attributes = \"0x8000000000000000\""),
            "a.toml:1: layout \"x\": bit 63 of the windows partition's attributes takes the drive letter away, without which Windows does not start\n\
             hint: clear bit 63, or leave attributes out",
        ),
        (
            &windows("attributes = \"hidden\""),
            "a.toml:4: [[layout]] partitions.attributes: \"hidden\" is not a set of attribute bits\n\
             hint: write for example \"0x8000000000000001\"",
        ),
        (
            &windows("file_system = \"fat32\""),
            "a.toml:1: layout \"x\": the windows partition cannot have that file system\n\
             hint: leave file_system out, or write \"ntfs\"",
        ),
        (
            &windows("name = \"a name that is far too long for a GPT entry\""),
            "a.toml:1: layout \"x\": the windows partition cannot have the name \"a name that is far too long for a GPT entry\"\n\
             hint: a name has at most 36 characters and no control characters",
        ),
        (
            &windows("label = \"a label that is longer than NTFS lets it be\""),
            "a.toml:1: layout \"x\": the windows partition cannot have the label \"a label that is longer than NTFS lets it be\"\n\
             hint: a label has at most 32 characters and no control characters",
        ),
        (
            &(windows("") + "\n" + &windows("")),
            "a.toml:6: [[layout]] name: two layouts have the name \"x\"\n\
             hint: give one of them another name, or remove it",
        ),
    ] {
        assert_eq!(mistake(&[("a.toml", text)]), expected, "{text}");
        if let Ok(table) = text.parse() {
            assert!(Config::from_table(table).is_err(), "{text}");
        }
    }
}

#[test]
fn a_mistake_in_a_drop_in_names_the_drop_in() {
    let good = ("a.toml", "[store]\nbudget = \"1GiB\"\n");
    for (text, expected) in [
        (
            "[admission]\narmd = true",
            "a.toml.d/10.toml:2: admission.armd: no such key\nhint: did you mean \"armed\"?",
        ),
        (
            "\n[store]\nbudget = \"many\"",
            "a.toml.d/10.toml:3: store.budget: \"many\" is not a size\n\
             hint: write for example \"20GiB\" or \"512GB\"",
        ),
        ("[media]\nimage = 0", "a.toml.d/10.toml:2: media.image = 0: images are counted from 1"),
    ] {
        assert_eq!(mistake(&[good, ("a.toml.d/10.toml", text)]), expected);
        // A later file does not hide it.
        let later = ("a.toml.d/20.toml", "[store]\nbudget = \"2GiB\"\n[media]\nimage = 1");
        assert_eq!(mistake(&[good, ("a.toml.d/10.toml", text), later]), expected);
    }
}

#[test]
fn sizes_that_exclude_each_other_name_both_files() {
    let files = [
        ("a.toml", "[admission]\nmin_size = \"2TB\""),
        ("a.toml.d/10.toml", "[station]\nname = \"x\"\n[admission]\nmax_size = \"1TB\""),
    ];
    let expected = "a.toml:2: admission.min_size: 2000000000000 bytes are more than the 1000000000000 of \
                    admission.max_size (a.toml.d/10.toml:4)\n\
                    hint: no drive can be admitted; change one of them";
    assert_eq!(mistake(&files), expected);
    let last = ("a.toml.d/20.toml", "[admission]\nmin_size = \"3TB\"");
    let expected = expected.replace("a.toml:2", "a.toml.d/20.toml:2").replace(" 2000", " 3000");
    assert_eq!(mistake(&[files[0], files[1], last]), expected);
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_cause() {
    let (folder, path) = written(&[]);
    assert_eq!(
        said(folder.path(), &Config::load(&path).unwrap_err()),
        "a.toml: cannot be read: No such file or directory (os error 2)\n\
         hint: name the right file with --config or PRESTAGED_CONFIG"
    );
    // A link that leads nowhere, a folder that is none.
    let (folder, path) = written(&[("a.toml", "")]);
    std::os::unix::fs::symlink("nowhere", folder.path().join("a.toml.d/x.toml")).unwrap();
    assert_eq!(
        said(folder.path(), &Config::load(&path).unwrap_err()),
        "a.toml.d/x.toml: cannot be read: No such file or directory (os error 2)\n\
         hint: it is a link that leads nowhere: mend or remove it"
    );
    fs::remove_dir_all(folder.path().join("a.toml.d")).unwrap();
    assert!(Config::load(&path).is_ok());
    fs::write(folder.path().join("a.toml.d"), "").unwrap();
    assert_eq!(
        said(folder.path(), &Config::load(&path).unwrap_err()),
        "a.toml.d: cannot be read: Not a directory (os error 20)"
    );
}

#[test]
fn a_file_alone_is_judged_like_the_table_it_makes() {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let top = folders.find(|folder| folder.join("tests/fuzz").is_dir()).unwrap();
    let seeds = fs::read_dir(top.join("tests/fuzz/corpus/config")).unwrap();
    let mut files: Vec<PathBuf> = seeds.map(|seed| seed.unwrap().path()).collect();
    files.push(top.join("systemd/prestaged.toml"));
    for file in files {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        for left_out in 0..=lines.len() {
            let mut lines = lines.clone();
            if left_out < lines.len() {
                lines.remove(left_out);
            }
            let text = lines.join("\n");
            let Ok(table) = text.parse() else { continue };
            let alone = file::Source::parse(&file, text).map(|_| ());
            let merged = Config::from_table(table).map(|_| ());
            assert_eq!(alone.is_ok(), merged.is_ok(), "{alone:?} {merged:?}");
        }
    }
}
