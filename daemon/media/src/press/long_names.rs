//! Gives every file on a freshly filled FAT volume a name that all readers understand alike.
//!
//! mcopy writes a name such as `ü.txt` as a short name alone, in the code page of DOS (850); which letter that byte is, is for
//! each reader to guess, and firmware guesses wrong. A long name is UTF-16 (Microsoft FAT specification 1.03, page 27).

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use fatfs::{Dir, FileSystem, FsOptions, OemCpConverter, ReadWriteSeek};

use super::fat_names;

/// The upper half of code page 850, in which mcopy writes short names (mtools.conf(5), `codepage`).
const UPPER: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}";

/// What a file is called while it gets its name anew; no name that FAT holds has these signs.
const MEANWHILE: &str = "~prestaged~";

#[derive(Debug)]
struct CodePage850;

impl OemCpConverter for CodePage850 {
    fn decode(&self, byte: u8) -> char {
        match byte.checked_sub(0x80) {
            None => char::from(byte),
            Some(place) => UPPER.chars().nth(usize::from(place)).unwrap_or('\u{fffd}'),
        }
    }

    fn encode(&self, letter: char) -> Option<u8> {
        // Short names that are made here have nothing but ASCII.
        u8::try_from(letter).ok().filter(u8::is_ascii)
    }
}

/// Gives each file and folder whose short name is not plain ASCII the name that it has below `contents`.
pub(super) fn complete(contents: &Path, volume: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(volume)?;
    let options = FsOptions::new().update_accessed_date(false).oem_cp_converter(&CodePage850);
    let volume = FileSystem::new(file, options)?;
    complete_in(contents, &volume.root_dir())
}

fn complete_in<T: ReadWriteSeek>(contents: &Path, folder: &Dir<'_, T>) -> io::Result<()> {
    let mut names = HashMap::new();
    for entry in fs::read_dir(contents)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.insert(fat_names::folded(&name), name);
    }
    let all: Vec<_> = folder.iter().collect::<io::Result<_>>()?;
    for entry in all {
        let name = entry.file_name();
        if name == "." || name == ".." {
            continue;
        }
        if entry.is_dir() {
            let own = names.get(&fat_names::folded(&name)).unwrap_or(&name);
            complete_in(&contents.join(own), &entry.to_dir())?;
        }
        if !entry.short_file_name_as_bytes().is_ascii() {
            folder.rename(&name, folder, MEANWHILE)?;
            let own = names.get(&fat_names::folded(&name)).unwrap_or(&name);
            folder.rename(MEANWHILE, folder, own)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_page_is_complete() {
        assert_eq!(UPPER.chars().count(), 128);
        for (byte, letter) in [(b'A', 'A'), (0x81, 'ü'), (0x9a, 'Ü'), (0xe1, 'ß'), (0xff, '\u{a0}')]
        {
            assert_eq!(CodePage850.decode(byte), letter);
        }
    }
}
