//! Changes to a BCD that [`super::hive`] has made, by hivexsh.

use std::fs;
use std::path::Path;

use super::hive::{boot_device, hex, ramdisk_device};
use super::sample::run;

/// A list of objects.
pub(crate) fn list(objects: &[&str]) -> String {
    let all: String = objects.iter().map(|object| format!("{object}\0")).collect();
    let data: Vec<u8> = all.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    hex(7, &data)
}

/// The device `ramdisk=[boot]path,{ramdiskoptions}`.
pub(crate) fn ramdisk(path: &str) -> String {
    hex(3, &ramdisk_device(path))
}

/// The device `[boot]`.
pub(crate) fn on_boot() -> String {
    hex(3, &boot_device())
}

/// The BCD after hivexsh has carried out `add` among the elements of an object, and set one of them to a value.
fn changed(bcd: &[u8], object: &str, element: &str, add: &str, value: &str) -> Vec<u8> {
    let work = tempfile::tempdir().unwrap();
    let (hive, commands) = (work.path().join("hive"), work.path().join("commands"));
    let script = format!(
        "cd \\Objects\\{object}\\Elements\n{add}cd {element}\nsetval 1\nElement\n{value}\ncommit\n"
    );
    fs::write(&hive, bcd).unwrap();
    fs::write(&commands, script).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    run("hivexsh", &["-w", "-f", &text(&commands), &text(&hive)]);
    fs::read(hive).unwrap()
}

/// The BCD with another value of an element that an object has.
pub(crate) fn set(bcd: &[u8], object: &str, element: &str, value: &str) -> Vec<u8> {
    changed(bcd, object, element, "", value)
}

/// The BCD with one more element of an object.
pub(crate) fn add(bcd: &[u8], object: &str, element: &str, value: &str) -> Vec<u8> {
    changed(bcd, object, element, &format!("add {element}\n"), value)
}
