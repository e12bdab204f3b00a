//! Which names a folder of a FAT volume can hold, and which of them it takes for one.

use std::collections::HashMap;

/// The longest name on a FAT volume, in units of UTF-16 (Microsoft FAT specification 1.03, page 27).
const LONGEST: usize = 255;

/// Names of devices, which are no names of files on FAT, whatever follows a dot.
const DEVICES: [&str; 5] = ["CON", "PRN", "AUX", "NUL", "CLOCK$"];

/// Whether FAT holds a name as it is: Windows cuts dots and spaces off its end, and allows some characters in none.
pub(super) fn is_kept(name: &str) -> bool {
    let never = |letter: char| letter < ' ' || "\"*/:<>?\\|\u{7f}".contains(letter);
    let stem = name.split('.').next().unwrap_or_default();
    !name.contains(never)
        && !name.ends_with(['.', ' '])
        && name.encode_utf16().count() <= LONGEST
        && !DEVICES.iter().any(|device| stem.eq_ignore_ascii_case(device))
}

/// The letter to which all are reduced that any reader of FAT may take for the same: Windows, Linux, mtools and firmware
/// compare by capitals, by small letters, or by both, and of ASCII alone.
fn reduced(letter: char) -> char {
    let up = |letter: char| only(letter.to_uppercase()).unwrap_or(letter);
    let down = |letter: char| match letter {
        'İ' => 'i',
        _ => only(letter.to_lowercase()).unwrap_or(letter),
    };
    up(down(up(letter)))
}

/// The letter, if there is one and no more.
fn only(mut letters: impl ExactSizeIterator<Item = char>) -> Option<char> {
    if letters.len() == 1 { letters.next() } else { None }
}

/// A name in the form that is equal for all that may be taken for it.
pub(super) fn folded(name: &str) -> String {
    let plain: String = name.chars().map(reduced).collect();
    plain.to_lowercase().to_uppercase()
}

/// Whether a letter stands in short names as it is (Microsoft FAT specification 1.03, page 24).
fn is_short(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "$%'-_@~`!(){}^#&".contains(letter)
}

/// Name and extension, if a name has the form of a short one.
fn short(name: &str) -> Option<(&str, &str)> {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let fits = (1..=8).contains(&stem.len()) && extension.len() <= 3;
    (fits && stem.chars().chain(extension.chars()).all(is_short)).then_some((stem, extension))
}

/// Whether `name` may be the short name that is made for `other`: its first letters, a tilde and a number. What stands for
/// other letters is not known.
fn may_be_alias(name: &str, other: &str) -> bool {
    let Some((stem, extension)) = short(name) else { return false };
    let Some((start, number)) = stem.rsplit_once('~') else { return false };
    if number.is_empty()
        || !number.bytes().all(|byte| byte.is_ascii_digit())
        || short(other).is_some()
    {
        return false;
    }
    let plain = |text: &str| -> Vec<char> { text.chars().filter(|c| !" .".contains(*c)).collect() };
    let (long, ending) = other.trim_start_matches('.').rsplit_once('.').unwrap_or((other, ""));
    let same = |short: &str, long: &[char]| {
        let alike = |(a, b): (char, &char)| match *b {
            b if is_short(b) => a.eq_ignore_ascii_case(&b),
            // Latin letters may lose their accents.
            '\u{80}'..'\u{250}' => true,
            _ => a == '_',
        };
        short.chars().zip(long).all(alike)
    };
    let (long, ending) = (plain(long), plain(ending));
    start.chars().count() <= long.len()
        && same(start, &long)
        && extension.chars().count() == ending.len().min(3)
        && same(extension, &ending)
}

/// Two of the names, if a folder on FAT cannot hold both.
pub(super) fn clash(names: &[String]) -> Option<(&str, &str)> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for name in names {
        if let Some(first) = seen.insert(folded(name), name) {
            return Some((first, name));
        }
    }
    let aliases = names.iter().filter(|name| name.contains('~') && short(name).is_some());
    aliases
        .flat_map(|alias| names.iter().map(move |other| (alias, other)))
        .find(|(alias, other)| may_be_alias(alias, other))
        .map(|(alias, other)| (&alias[..], &other[..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clashes(first: &str, second: &str) -> bool {
        let names = [first, second].map(str::to_owned);
        let back = [second, first].map(str::to_owned);
        assert_eq!(clash(&names).is_some(), clash(&back).is_some(), "{first} {second}");
        clash(&names).is_some()
    }

    #[test]
    fn names_that_change_on_fat_are_told() {
        for name in ["BOOTX64.EFI", "a long name.txt", "ünïcödé", "x.y.z", ".hidden", "console"]
        {
            assert!(is_kept(name), "{name}");
        }
        for name in
            ["a:b", "what?", "star*", "dot.", "space ", "tab\t", "con", "NUL.txt", &"n".repeat(256)]
        {
            assert!(!is_kept(name), "{name}");
        }
    }

    #[test]
    fn names_that_any_reader_takes_for_one_clash() {
        for (first, second) in [
            ("a.txt", "A.TXT"),
            ("ü.txt", "Ü.txt"),
            ("\u{212a}.txt", "k.txt"),
            ("\u{212a}.txt", "K.txt"),
            ("ſ.txt", "s.txt"),
            ("ς", "Σ"),
            ("ς", "σ"),
            ("İ.txt", "i.txt"),
            ("ı.txt", "i.txt"),
            ("µ", "μ"),
            ("\u{2126}", "ω"),
            ("\u{212b}", "å"),
            ("ǅ", "ǆ"),
            ("ẞ", "ß"),
            ("ß.txt", "ss.txt"),
            ("longfi~1.txt", "longfilename.txt"),
            ("LONGFI~2.TXT", "longfilename.txt"),
            ("ab~1.txt", "a b.txt"),
            ("a_b~1.txt", "a+b.txt"),
            ("_~1.txt", "日.txt"),
            ("name~1", "name.with.dots.and more than three"),
            ("long~1.tex", "long.text"),
        ] {
            let expected = (first, second) != ("name~1", "name.with.dots.and more than three");
            assert_eq!(clashes(first, second), expected, "{first} {second}");
        }
        for (first, second) in [
            ("ü.txt", "u.txt"),
            ("a b.txt", "a_b.txt"),
            ("日.txt", "本.txt"),
            ("longfi~1.txt", "longname.txt"),
            ("other~1.txt", "longfilename.txt"),
            ("longfi~1.txt", "longfilename.dat"),
            ("longfi~x.txt", "longfilename.txt"),
            ("a~1.txt", "a.txt"),
            ("a+b.txt", "a_b.txt"),
        ] {
            assert!(!clashes(first, second), "{first} {second}");
        }
    }
}
