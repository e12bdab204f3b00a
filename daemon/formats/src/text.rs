//! Names in UTF-16 as text, without loss.
//!
//! NTFS and WIM take any 16-bit numbers for a name, so half of a surrogate pair may stand alone, which no Rust string can
//! hold. It becomes U+FFFD and its four hexadecimal digits. A U+FFFD that is in the name itself gets its own digits, so
//! that no two names become the same text.

use std::fmt::Write as _;

/// The text of a name.
pub fn of_units(name: impl IntoIterator<Item = u16>) -> String {
    let mut text = String::new();
    for unit in char::decode_utf16(name) {
        push(&mut text, unit.map_err(|lone| lone.unpaired_surrogate()));
    }
    text
}

/// The text of a name in UTF-16LE; an odd byte at the end is no part of it.
pub fn of_utf16(name: &[u8]) -> String {
    of_units(name.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])))
}

/// The text of a name in UTF-8 in which half of a surrogate pair is encoded like any other number, as three bytes.
/// Anything else that is no UTF-8 becomes U+FFFD without digits.
pub fn of_wtf8(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while !rest.is_empty() {
        if let [0xed, second @ 0xa0..=0xbf, third @ 0x80..=0xbf, after @ ..] = rest {
            let unit = 0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f);
            push(&mut text, Err(unit));
            rest = after;
            continue;
        }
        let (valid, after) = match std::str::from_utf8(rest) {
            Ok(valid) => (valid, &rest[rest.len()..]),
            Err(error) => {
                let (valid, after) = rest.split_at(error.valid_up_to());
                (std::str::from_utf8(valid).unwrap_or_default(), after)
            }
        };
        if valid.is_empty() && !after.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            rest = &after[1..];
            continue;
        }
        valid.chars().for_each(|char| push(&mut text, Ok(char)));
        rest = after;
    }
    text
}

fn push(text: &mut String, char: Result<char, u16>) {
    match char {
        Ok(char::REPLACEMENT_CHARACTER) => push(text, Err(0xfffd)),
        Ok(char) => text.push(char),
        Err(unit) => {
            text.push(char::REPLACEMENT_CHARACTER);
            // Writing to a string cannot fail.
            let _ = write!(text, "{unit:04x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_surrogate_keeps_its_number() {
        assert_eq!(of_units("plain \u{1f600}".encode_utf16()), "plain \u{1f600}");
        assert_eq!(of_units([0x61, 0xd83d, 0x2e]), "a\u{fffd}d83d.");
        assert_eq!(of_units([0xde00, 0xd83d]), "\u{fffd}de00\u{fffd}d83d");
        assert_eq!(of_units([0xfffd]), "\u{fffd}fffd");
        assert_eq!(of_utf16(&[0x61, 0, 0x3d, 0xd8, 7]), "a\u{fffd}d83d");
    }

    #[test]
    fn both_encodings_give_the_same_text() {
        assert_eq!(of_wtf8("plain \u{1f600}".as_bytes()), "plain \u{1f600}");
        assert_eq!(of_wtf8(b"a\xed\xa0\xbd.txt"), of_units([0x61, 0xd83d, 0x2e, 0x74, 0x78, 0x74]));
        assert_eq!(of_wtf8(b"\xed\xb8\x80\xed\xa0\xbd"), of_units([0xde00, 0xd83d]));
        assert_eq!(of_wtf8("\u{fffd}".as_bytes()), of_units([0xfffd]));
        assert_eq!(of_wtf8(b"\xed\xa0"), "\u{fffd}\u{fffd}");
        assert_eq!(of_wtf8(b"x\xff\xedy"), "x\u{fffd}\u{fffd}y");
    }

    proptest::proptest! {
        #[test]
        fn no_two_names_are_the_same_text(
            a in proptest::collection::vec(0xd7fe_u16..=0xffff, 0..4),
            b in proptest::collection::vec(0xd7fe_u16..=0xffff, 0..4),
        ) {
            proptest::prop_assert_eq!(
                of_units(a.iter().copied()) == of_units(b.iter().copied()),
                a == b
            );
        }
    }
}
