//! Udev rules, made from the configuration, that keep other programs off the drives in the station's bays.
//!
//! Desktops mount every drive that is plugged in, and udev's own rules assemble RAIDs and activate volume groups. The
//! shipped `62-prestaged.rules` forbids both for block devices that carry a mark. Which devices carry it depends on the
//! configured bays, so the rules that set the mark are written at every start, and udevd is told of them: by itself it
//! notices a new file only after seconds, and a drive may be plugged in before.

use model::admission::Policy;

/// The first line of the rules file.
pub const HEAD: &str = "# Made by prestaged from its configuration, at every start.\n";

/// The text of a rules file that marks every block device in the station's bays.
pub fn rules(policy: &Policy) -> String {
    let own = |name: &str| policy.bays.iter().any(|bay| bay.matches(name));
    let named = policy.named.iter().filter(|bay| own(&bay.name)).map(|bay| &bay.path);
    let mut text = String::from(HEAD);
    for path in policy.bays.iter().chain(named).map(glob::Pattern::as_str) {
        // In a rule, these characters would end the pattern, begin another one or be substituted (udev(7)).
        if path.contains(['"', '\\', '|', '$', '%']) || path.contains(char::is_control) {
            tracing::warn!(
                "no udev rule keeps other programs off bay {path:?}: the pattern has a character that udev rules cannot hold"
            );
            continue;
        }
        let mark = "ENV{PRESTAGED_BAY}=\"1\"";
        text += &format!("SUBSYSTEM==\"block\", ENV{{ID_PATH}}==\"{path}\", {mark}\n");
        if let Some(file) = path.strip_prefix("loop-") {
            let file = format!("ATTR{{loop/backing_file}}==\"*/{file}\"");
            text += &format!("SUBSYSTEM==\"block\", KERNEL==\"loop*\", {file}, {mark}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::admission::NamedBay;

    #[test]
    fn bays_are_marked_by_path_by_name_and_by_file() {
        let pattern = |text: &str| glob::Pattern::new(text).unwrap();
        let named = |name: &str, path: &str| NamedBay { name: name.into(), path: pattern(path) };
        let policy = Policy {
            bays: vec![
                pattern("pci-*-sas-*"),
                pattern("left*"),
                pattern("loop-CI*"),
                pattern("a\"b"),
            ],
            named: vec![named("left 1", "pci-*-usb-0:1:*"), named("right", "pci-*-usb-0:2:*")],
            ..Policy::closed()
        };
        let text = rules(&policy);
        for part in ["ENV{ID_PATH}==\"pci-*-sas-*\"", "pci-*-usb-0:1:*", "\"*/CI*\""] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("usb-0:2") && !text.contains("a\"b"), "{text}");
    }
}
