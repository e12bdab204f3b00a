//! The boot image: boot.wim, or whatever file the BCD names in its place.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use model::digest::Digest;
use model::failure::chain;
use model::media::BootImage;
use model::units::Bytes;
use sha2::{Digest as _, Sha256};

use crate::intake::text;
use crate::wim::{self, Flow, Info, Thing, Wim};

/// How a system deployment image begins, which is no WIM and can be a ramdisk all the same.
const SDI_MAGIC: &[u8] = b"$SDI0001";

/// What a file is that the BCD makes a ramdisk of.
pub(super) enum Examined {
    /// A WIM that is whole, open at its bootable image.
    Wim {
        /// What it is, for people.
        about: BootImage,
        wim: Wim,
        index: u32,
        /// How it is compressed, in words, if no boot manager is known to read that.
        odd: Option<String>,
    },
    /// A ramdisk that is no WIM.
    Other,
}

impl Examined {
    /// What its bootable image has at a path.
    pub(super) fn thing(&mut self, path: &str) -> Option<Thing> {
        match self {
            Self::Wim { wim, index, .. } => wim
                .thing(*index, path)
                .or_else(|| wim.long(*index, path).and_then(|long| wim.thing(*index, &long))),
            Self::Other => None,
        }
    }
}

/// Examines an unpacked boot image to its last blob, a piece at a time. It is described so that the customer can compare
/// it with the boot image of the deployed task sequence: both must be the same. An error, in words, if a boot manager
/// could not start it.
pub(super) fn examine(path: &Path) -> Result<Examined, String> {
    let unreadable = |error: io::Error| format!("cannot be read once it is unpacked: {error}");
    let mut start = Vec::new();
    let mut file = File::open(path).map_err(unreadable)?;
    (&mut file).take(8).read_to_end(&mut start).map_err(unreadable)?;
    if start.is_empty() {
        return Err("is empty".into());
    }
    if start == SDI_MAGIC {
        return Ok(Examined::Other);
    }
    if start != wim::MAGIC {
        return Err("is no WIM file".into());
    }
    // Where it was unpacked to says nothing to anybody.
    let own = path.display().to_string();
    let damaged = |error| format!("is damaged: {}", chain(&error).replace(&own, "it"));
    let mut wim = Wim::open(path, |_| Flow::Continue).map_err(damaged)?;
    let info = wim.info().map_err(damaged)?;
    if info.write_in_progress {
        return Err("is damaged: its header says that its writer has not finished".into());
    }
    if info.parts > 1 {
        return Err(format!("is part {} of a split set", info.part));
    }
    let index = info.boot_index;
    if index == 0 {
        return Err("has no image that is marked as bootable".into());
    }
    wim.verify().map_err(damaged)?;
    let (sha256, size_bytes) = hash(path).map_err(unreadable)?;
    let text = |name: &str| Some(text(&wim, index, name)).filter(|text| !text.is_empty());
    let number = |name: &str| text(name).and_then(|text| text.parse::<u32>().ok());
    let about = BootImage {
        name: text("NAME").unwrap_or_default(),
        // WINDOWS/ARCH is one of PROCESSOR_ARCHITECTURE_* (winnt.h).
        architecture: number("WINDOWS/ARCH").map(|arch| match arch {
            0 => "x86".to_owned(),
            5 => "arm".to_owned(),
            9 => "amd64".to_owned(),
            12 => "arm64".to_owned(),
            other => format!("unknown ({other})"),
        }),
        build: text("WINDOWS/VERSION/BUILD"),
        sha256,
        size_bytes,
    };
    Ok(Examined::Wim { about, wim, index, odd: odd(&info) })
}

/// A chunk of what Windows' own programs write.
const CHUNK: u32 = 32 << 10;

/// How a WIM is compressed, if not as Windows' boot manager is known to read it. Microsoft's own boot images are LZX or
/// XPRESS in chunks of 32 KiB, as DISM's `/Compress:max` and `fast` make them. wimlib says of solid archives, LZMS and other
/// chunks that Microsoft's software has "limited support" for them, which grows with its version (wimcapture(1),
/// `--chunk-size` and NOTES).
fn odd(info: &Info) -> Option<String> {
    if info.solid {
        return Some("LZMS or solid".into());
    }
    match info.compression.as_str() {
        "None" => None,
        "XPRESS" | "LZX" if info.chunk <= CHUNK => None,
        other => Some(format!("{other} in chunks of {} KiB", info.chunk >> 10)),
    }
}

/// The digest and the length of a file.
fn hash(path: &Path) -> io::Result<(Digest, Bytes)> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let (mut hash, mut size) = (Sha256::new(), 0);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((Digest(hash.finalize().into()), Bytes(size)));
        }
        hash.update(&buffer[..count]);
        size += Bytes::of(count).0;
    }
}
