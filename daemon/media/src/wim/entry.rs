//! What libwim tells of each file and folder in an image.

/// A directory entry of an image, borrowed for the length of the callback.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Path in the image with `/` between names; `/` for the root.
    pub path: &'a str,
    /// File name; empty for the root.
    pub name: &'a str,
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
