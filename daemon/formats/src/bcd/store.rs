//! A BCD as plain values: objects with their elements.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nt_hive::{Hive, KeyNode};
use uuid::Uuid;

use super::BcdError;

/// The boot manager's object.
pub(super) const BOOT_MANAGER: Uuid = Uuid::from_u128(0x9dea862c_5cdd_4e70_acc1_f32b344d4795);
/// `BcdLibraryObjectList_InheritedObjects`
const INHERITED: u32 = 0x1400_0006;

/// A BCD has a few dozen kilobytes, a few dozen objects and a few hundred elements. More than this is a hive made to do
/// harm: its cells can be listed again and again, so that a small file unfolds to anything.
const LARGEST_HIVE: usize = 4 << 20;
const MOST_OBJECTS: usize = 1024;
const MOST_ELEMENTS: usize = 16 << 10;
const MOST_VALUES: usize = 32;
const LARGEST_ELEMENT: usize = 64 << 10;

/// An object of a BCD.
#[derive(Debug, Default)]
pub(super) struct Object {
    /// `Description\Type`
    pub(super) kind: Option<u32>,
    /// Whether it has a key for elements.
    pub(super) has_elements: bool,
    pub(super) elements: BTreeMap<u32, Vec<u8>>,
}

/// All objects of a BCD.
#[derive(Debug, Default)]
pub(super) struct Store(pub(super) BTreeMap<Uuid, Object>);

type Node<'h> = KeyNode<'h, &'h [u8]>;

impl Store {
    /// Reads a hive. nt-hive panics on some damaged hives; such a hive in media must not end the station.
    pub(super) fn read(bcd: &[u8]) -> Result<Self, BcdError> {
        if bcd.len() > LARGEST_HIVE {
            return Err(BcdError::TooLarge("its file"));
        }
        let damaged = || BcdError::Hive("its structure contradicts itself".into());
        catch_unwind(AssertUnwindSafe(|| read(bcd))).unwrap_or_else(|_| Err(damaged()))
    }

    /// An element of an object, its own or else one that it inherits.
    pub(super) fn element(&self, object: Uuid, element: u32) -> Option<&[u8]> {
        let mut todo = vec![object];
        let mut seen = Vec::new();
        while let Some(next) = todo.pop() {
            if seen.contains(&next) || seen.len() > MOST_VALUES {
                continue;
            }
            seen.push(next);
            let Some(found) = self.0.get(&next) else { continue };
            if let Some(data) = found.elements.get(&element) {
                return Some(data);
            }
            if let Some(list) = found.elements.get(&INHERITED) {
                todo.extend(guids(list).into_iter().flatten().rev());
            }
        }
        None
    }
}

fn read(bcd: &[u8]) -> Result<Store, BcdError> {
    let hive = Hive::new(bcd)?;
    let root = hive.root_key_node()?;
    let objects = root.subkey("Objects").ok_or(BcdError::Missing("objects"))??;
    let mut store = Store::default();
    let mut left = MOST_ELEMENTS;
    let Some(nodes) = objects.subkeys() else { return Ok(store) };
    for (index, node) in nodes?.enumerate() {
        let node = node?;
        if index == MOST_OBJECTS {
            return Err(BcdError::TooLarge("its objects"));
        }
        let Some(name) = guid(&node.name()?.to_string_lossy()) else { continue };
        let object = object(&node, &mut left)?;
        if store.0.insert(name, object).is_some() {
            return Err(BcdError::Hive("it has an object twice".into()));
        }
    }
    Ok(store)
}

fn object(node: &Node<'_>, left: &mut usize) -> Result<Object, BcdError> {
    let mut object = Object::default();
    if let Some(description) = node.subkey("Description").transpose()? {
        let kind = value(&description, "Type")?;
        let kind = kind.and_then(|data| data.as_slice().try_into().ok());
        object.kind = kind.map(u32::from_le_bytes);
    }
    let Some(elements) = node.subkey("Elements").transpose()? else { return Ok(object) };
    object.has_elements = true;
    let Some(elements) = elements.subkeys() else { return Ok(object) };
    for element in elements? {
        *left = left.checked_sub(1).ok_or(BcdError::TooLarge("its elements"))?;
        let element = element?;
        let name = element.name()?.to_string_lossy();
        let is_number = name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some(number) = u32::from_str_radix(&name, 16).ok().filter(|_| is_number) else {
            continue;
        };
        let Some(data) = value(&element, "Element")? else { continue };
        match object.elements.entry(number) {
            Entry::Vacant(place) => place.insert(data),
            Entry::Occupied(_) => {
                return Err(BcdError::Hive("it has an element twice".into()));
            }
        };
    }
    Ok(object)
}

/// The data of a key's value.
fn value(key: &Node<'_>, wanted: &str) -> Result<Option<Vec<u8>>, BcdError> {
    let Some(values) = key.values() else { return Ok(None) };
    for (index, value) in values?.enumerate() {
        let value = value?;
        if index == MOST_VALUES {
            return Err(BcdError::TooLarge("the values of a key"));
        }
        if !value.name()?.to_string_lossy().eq_ignore_ascii_case(wanted) {
            continue;
        }
        if usize::try_from(value.data_size()).map_or(true, |size| size > LARGEST_ELEMENT) {
            return Err(BcdError::TooLarge("an element"));
        }
        return Ok(Some(value.data()?.into_vec()?));
    }
    Ok(None)
}

/// A GUID in braces, in the one form in which the hive has names.
pub(super) fn guid(text: &str) -> Option<Uuid> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    (inner.len() == 36).then(|| Uuid::parse_str(inner).ok())?
}

/// A list of GUIDs; `None` stands for a name that is none.
pub(super) fn guids(list: &[u8]) -> Vec<Option<Uuid>> {
    let text = text(list).unwrap_or_default();
    text.split('\0').filter(|name| !name.is_empty()).map(guid).collect()
}

/// UTF-16 as text, without the NULs at its end; `None` if it is no valid UTF-16.
pub(super) fn text(data: &[u8]) -> Option<String> {
    let units: Vec<u16> =
        data.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    String::from_utf16(&units).ok().map(|text| text.trim_end_matches('\0').to_owned())
}
