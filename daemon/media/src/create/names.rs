//! Judges what is to be added to media by its name: what Windows could not open, or would take for something else.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use formats::text;
use model::code::FailureCode;
use model::failure::Failure;

use crate::intake::names::is_of_the_volume;

/// The longest name on an NTFS volume, in units of UTF-16.
const LONGEST: usize = 255;
/// So many faults are told; the others are counted.
const TOLD: usize = 16;

/// What is wrong with a name, in words; `None` if Windows allows it.
pub(super) fn judge(name: &OsStr) -> Option<String> {
    let Some(name) = name.to_str() else {
        let half = name.as_bytes().windows(2).any(|two| matches!(two, [0xed, 0xa0..=0xbf]));
        let what = if half { "has half of a surrogate pair" } else { "is not UTF-8" };
        return Some(what.into());
    };
    let forbidden = |c: &char| c.is_ascii_control() || r#"<>:"|?*\/"#.contains(*c);
    if let Some(found) = name.chars().find(forbidden) {
        return Some(match found.is_ascii_control() {
            true => "has a control character".into(),
            false => format!("has {found}, which no name on Windows has"),
        });
    }
    if name.ends_with(['.', ' ']) {
        return Some("ends in a dot or a space, which Windows takes away".into());
    }
    if is_device(name) {
        return Some("is the name of a device on Windows".into());
    }
    let length = name.encode_utf16().count();
    (length > LONGEST).then(|| format!("has {length} UTF-16 units, and at most {LONGEST} may be"))
}

/// Whether Windows opens a device by this name, in whichever folder and with whatever extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ');
    let stem = stem.to_ascii_uppercase();
    if ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str()) {
        return true;
    }
    let number = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    number.is_some_and(|number| {
        let mut letters = number.chars();
        let one = letters.next().is_some_and(|c| "0123456789¹²³".contains(c));
        one && letters.next().is_none()
    })
}

/// A path as Windows compares it.
pub(super) fn capitals(path: &str) -> String {
    let capital = |c: char| {
        let mut upper = c.to_uppercase();
        match (upper.next(), upper.next()) {
            // NTFS compares unit by unit.
            (Some(one), None) if c.len_utf16() == 1 && one.len_utf16() == 1 => one,
            _ => c,
        }
    };
    path.chars().map(capital).collect()
}

/// What stands at a path of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Taken {
    path: String,
    is_folder: bool,
    /// Whether it is there only because something is to be added below it.
    is_implied: bool,
}

/// The places that additions take, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: HashMap<String, Taken>,
    faults: Vec<String>,
    count: usize,
}

impl Places {
    /// Something on this machine cannot be added.
    pub(super) fn fault(&mut self, shown: &Path, what: impl AsRef<str>) {
        let shown = text::of_wtf8(shown.as_os_str().as_bytes());
        self.tell(&shown, what.as_ref());
    }

    /// Something cannot be added at a place in the image.
    pub(super) fn tell(&mut self, shown: &str, what: &str) {
        self.count += 1;
        if self.faults.len() < TOLD {
            self.faults.push(format!("{shown} {what}"));
        }
    }

    /// Takes the way to a place that the recipe names; its own names are judged.
    pub(super) fn take_way(&mut self, names: &[String]) {
        for name in names {
            if let Some(what) = judge(OsStr::new(name)) {
                self.tell(name, &what);
            }
        }
        if let [first, ..] = names
            && is_of_the_volume(&capitals(first))
        {
            self.tell(first, "is a file of the volume's own");
        }
        let mut path = String::new();
        for name in &names[..names.len().saturating_sub(1)] {
            path = format!("{path}\\{name}");
            self.add(Taken { path: path.clone(), is_folder: true, is_implied: true });
        }
    }

    /// Takes a place in the image.
    pub(super) fn take(&mut self, path: &str, is_folder: bool) {
        self.add(Taken { path: path.to_owned(), is_folder, is_implied: false });
    }

    fn add(&mut self, new: Taken) {
        let Some(old) = self.taken.get_mut(&capitals(&new.path)) else {
            self.taken.insert(capitals(&new.path), new);
            return;
        };
        let fault = match (&*old, &new) {
            (old, new) if old.is_folder != new.is_folder => {
                Some("is a file in one place of the recipe and a folder in another".to_owned())
            }
            (old, new) if !old.is_folder && old.path == new.path => Some("is there twice".into()),
            (old, new) if old.path == new.path || old.is_implied || new.is_implied => None,
            (old, _) => Some(format!("differs from {} only in upper and lower case", old.path)),
        };
        match fault {
            Some(fault) => self.tell(&new.path, &fault),
            None => old.is_implied &= new.is_implied,
        }
    }

    /// Folders that are there only because something is added below them.
    pub(super) fn implied(&self) -> impl Iterator<Item = &str> {
        self.taken.values().filter(|taken| taken.is_implied).map(|taken| taken.path.as_str())
    }

    /// Fails if anything is wrong.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let Self { faults, count, .. } = self;
        if faults.is_empty() {
            return Ok(());
        }
        let more = match count - faults.len() {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let detail = format!("{count} names cannot be added: {}{more}", faults.join("; "));
        let hint = "rename or remove them; nothing is left out silently";
        Err(Failure::new(FailureCode::NamesInvalid, detail).with_hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_windows_has_no_use_for_are_refused() {
        for name in [
            "CON", "con", "nul.txt", "Aux .log", "COM1", "lpt9.inf", "COM0", "COM¹", "lpt².x",
            "CONIN$", "conout$", "PRN", "tail.", "tail ", "a:b", "a\\b", "a<b", "a>b", "a|b",
            "a?b", "a*b", "a\"b", "a\tb", "a\u{7f}b", "...",
        ] {
            assert!(judge(OsStr::new(name)).is_some(), "{name:?}");
        }
        for bytes in [&b"a\xed\xa0\xbd"[..], b"a\xff", b"\xe4"] {
            assert!(judge(OsStr::from_bytes(bytes)).is_some(), "{bytes:?}");
        }
        let long = "é".repeat(256);
        assert!(judge(OsStr::new(&long)).is_some_and(|what| what.contains("256")));
        for name in [
            "console",
            "COM10",
            "COM",
            "LPT",
            "nulls",
            "a.con",
            " a",
            ".a",
            "ü文.txt",
            "a b.c",
            "CO N",
        ] {
            assert_eq!(judge(OsStr::new(name)), None, "{name:?}");
        }
        assert_eq!(judge(OsStr::new(&long[..510])), None);
    }

    #[test]
    fn places_are_compared_as_windows_does() {
        let fault = |paths: &[(&str, bool)]| {
            let mut places = Places::default();
            paths.iter().for_each(|(path, is_folder)| places.take(path, *is_folder));
            places.check().err().map(|failure| failure.detail)
        };
        assert_eq!(fault(&[("\\a", true), ("\\a\\ß", false), ("\\a\\ẞ", false)]), None);
        assert_eq!(fault(&[("\\a", true), ("\\a", true)]), None);
        for (paths, what) in [
            (&[("\\a\\Ä", false), ("\\a\\ä", false)][..], "\\a\\ä differs from \\a\\Ä only in"),
            (&[("\\a", false), ("\\a", false)], "\\a is there twice"),
            (&[("\\a", false), ("\\A", true)], "a file in one place of the recipe and a folder"),
            (&[("\\a", true), ("\\A", true)], "only in upper and lower case"),
        ] {
            let detail = fault(paths).unwrap();
            assert!(detail.contains(what), "{detail}");
        }
        let mut way = Places::default();
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        way.take_way(&names(&["Windows", "x"]));
        way.take("\\Windows\\x", false);
        way.take_way(&names(&["windows", "y"]));
        assert_eq!(way.check(), Ok(()));
        assert_eq!(way.implied().collect::<Vec<_>>(), ["\\Windows"]);
        way.take_way(&names(&["$MFT"]));
        way.take_way(&names(&["nul", "x "]));
        assert!(way.check().unwrap_err().detail.starts_with("3 names cannot be added: $MFT"));
    }

    #[test]
    fn no_more_than_a_few_are_told() {
        let mut places = Places::default();
        (0..40).for_each(|number| places.fault(Path::new(&format!("/{number}")), "is a link"));
        let detail = places.check().unwrap_err().detail;
        assert!(
            detail.starts_with("40 names") && detail.ends_with("/15 is a link; and 24 more"),
            "{detail}"
        );
    }
}
