//! What must be set in a BCD so that it names a drive's own partitions.

use std::fmt::Write as _;

use model::layout::Places;
use uuid::Uuid;

use super::BcdError;
use super::device::{partition, ramdisk_on_windows};
use super::start::{DEVICE, OS_DEVICE, Start};
use super::store::{BOOT_MANAGER, Store};

/// `BcdDeviceData_SdiDevice`, on the ramdisk options.
const SDI_DEVICE: u32 = 0x3100_0003;

/// An element of an object, and the data that it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Element {
    object: Uuid,
    name: u32,
    data: Vec<u8>,
}

/// The elements that must be set in this BCD, each once.
fn elements(store: &Store, places: &Places) -> Result<Vec<Element>, BcdError> {
    let mut all: Vec<Element> = Vec::new();
    let mut set = |object, name, data| {
        if !all.iter().any(|element| element.object == object && element.name == name) {
            all.push(Element { object, name, data });
        }
    };
    set(BOOT_MANAGER, DEVICE, partition(places.disk, places.esp));
    for entry in Start::in_store(store)?.entries {
        let image = ramdisk_on_windows(entry.options, places, &entry.image);
        set(entry.object, DEVICE, image.clone());
        set(entry.object, OS_DEVICE, image);
        set(entry.options, SDI_DEVICE, partition(places.disk, places.windows));
    }
    Ok(all)
}

/// Writes a script for `hivexsh -w` that makes a BCD name these partitions.
///
/// # Errors
/// [`BcdError`] if the BCD cannot be used.
pub fn script(bcd: &[u8], places: &Places) -> Result<String, BcdError> {
    let mut store = Store::read(bcd)?;
    let mut script = String::new();
    for Element { object, name, data } in elements(&store, places)? {
        let is = store.0.entry(object).or_default();
        if !is.has_elements {
            let _ = writeln!(script, "cd \\Objects\\{{{object}}}\nadd Elements");
            is.has_elements = true;
        }
        let _ = writeln!(script, "cd \\Objects\\{{{object}}}\\Elements");
        if !is.elements.contains_key(&name) {
            let _ = writeln!(script, "add {name:08x}");
        }
        let _ = writeln!(script, "cd {name:08x}\nsetval 1\nElement");
        let hex: Vec<String> = data.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(script, "hex:3:{}", hex.join(","));
    }
    script.push_str("commit\n");
    Ok(script)
}

/// Checks that a BCD names exactly these partitions.
///
/// # Errors
/// [`BcdError::Wrong`] names the first element that does not.
pub fn check(bcd: &[u8], places: &Places) -> Result<(), BcdError> {
    let store = Store::read(bcd)?;
    for Element { object, name, data } in elements(&store, places)? {
        let is = store.0.get(&object).and_then(|object| object.elements.get(&name));
        if is != Some(&data) {
            return Err(BcdError::Wrong { object, element: name });
        }
    }
    Ok(())
}
