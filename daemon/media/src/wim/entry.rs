//! What libwim tells of each file and folder in an image.

/// A directory entry of an image, borrowed for the length of the callback.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Path in the image with `/` between names; `/` for the root.
    pub path: &'a str,
    /// File name; empty for the root.
    pub name: &'a str,
    /// The same as libwim has it: UTF-8 in which half of a surrogate pair stands as three bytes.
    pub raw_name: &'a [u8],
    /// 8.3 name, if it has one.
    pub short_name: Option<&'a str>,
    /// Windows file attributes (`FILE_ATTRIBUTE_*`).
    pub attributes: u32,
    /// Reparse tag, or 0.
    pub reparse_tag: u32,
    /// Self-relative security descriptor; empty if there is none.
    pub security: &'a [u8],
    /// The number of hard links to the file.
    pub links: u32,
    /// The same number for all links to one file; may be 0 for a file with a single link.
    pub link_group: u64,
    /// Creation, last write, last access: 100 ns since 1601, as NTFS counts.
    pub times: [u64; 3],
    /// Object ID, all zero if none.
    pub object_id: [u8; 16],
    /// First the unnamed (or reparse, or encrypted) stream, then the named ones.
    pub streams: Vec<Stream<'a>>,
}

impl Entry<'_> {
    /// The file name as NTFS has it.
    pub fn units(&self) -> Vec<u16> {
        units(self.raw_name)
    }
}

/// UTF-16 of a name in which half of a surrogate pair stands as three bytes.
fn units(name: &[u8]) -> Vec<u16> {
    if let Ok(text) = std::str::from_utf8(name) {
        return text.encode_utf16().collect();
    }
    let mut all = Vec::with_capacity(name.len());
    let mut rest = name;
    while !rest.is_empty() {
        let half = rest.windows(3).position(|part| matches!(part, [0xed, 0xa0..=0xbf, _]));
        let (text, after) = rest.split_at(half.unwrap_or(rest.len()));
        all.extend(String::from_utf8_lossy(text).encode_utf16());
        rest = after;
        if let [0xed, second, third, after @ ..] = rest {
            let low = u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f);
            all.push(0xd000 | low);
            rest = after;
        }
    }
    all
}

/// A stream of a file.
#[derive(Debug)]
pub struct Stream<'a> {
    /// Empty for the unnamed stream.
    pub name: &'a str,
    /// Uncompressed length in bytes.
    pub size: u64,
    /// SHA-1 of the contents; all zero for an empty stream.
    pub sha1: [u8; 20],
    /// Whether the blob is neither in the WIM nor in a referenced part.
    pub missing: bool,
}

#[cfg(test)]
mod tests {
    use super::units;

    #[test]
    fn a_name_is_as_on_ntfs() {
        let utf16 = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
        assert_eq!(units("Ünï \u{1f600}".as_bytes()), utf16("Ünï \u{1f600}"));
        assert_eq!(units(b"a\xed\xa0\xbd!"), [0x61, 0xd83d, 0x21]);
        assert_eq!(units(b"\xed\xb8\x80\xed\xa0\xbd"), [0xde00, 0xd83d]);
        assert_eq!(units("\u{d7ff}".as_bytes()), [0xd7ff]);
    }
}
