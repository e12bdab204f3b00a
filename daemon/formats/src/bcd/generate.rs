//! A boot configuration made from nothing: boot manager, loader of a boot image in memory, and the options of that.
//!
//! It says `[boot]` everywhere, as the one that Configuration Manager puts into media does; each drive's own partitions are
//! set when it is written ([`super::script`]). What a real boot manager makes of it could not be tried.

use uuid::Uuid;

use super::device::{boot, ramdisk};
use super::hive::{BINARY, DWORD, Key, MULTI_SZ, SZ};
use super::store::BOOT_MANAGER;

/// `{ramdiskoptions}`
const OPTIONS: Uuid = Uuid::from_u128(0xae5534e0_a924_466c_b836_758539a3ee3a);
/// The loader of the stores that Microsoft's deployment kit has.
const LOADER: Uuid = Uuid::from_u128(0x7619dcc9_fafe_11d9_b411_000476eba25f);

/// Where media has what the boot configuration names.
pub const BOOT_WIM: &str = "\\sources\\boot.wim";
/// Where media has the description of the memory disk.
pub const BOOT_SDI: &str = "\\boot\\boot.sdi";

/// A type and the data of that type.
type Data = (u32, Vec<u8>);

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn text(value: &str) -> Data {
    (SZ, utf16(&format!("{value}\0")))
}

fn number(value: u64) -> Data {
    (BINARY, value.to_le_bytes().to_vec())
}

fn switch(on: u8) -> Data {
    (BINARY, vec![on])
}

fn object(name: Uuid, kind: u32, elements: impl IntoIterator<Item = (u32, Data)>) -> Key {
    let description = Key::new("Description").with_value("Type", DWORD, kind.to_le_bytes().into());
    let element = |(number, (kind, data)): (u32, Data)| {
        Key::new(format!("{number:08x}")).with_value("Element", kind, data)
    };
    let elements =
        Key { keys: elements.into_iter().map(element).collect(), ..Key::new("Elements") };
    Key { keys: vec![description, elements], ..Key::new(format!("{{{name}}}")) }
}

/// A boot configuration that starts the image in [`BOOT_WIM`] through UEFI, by the loader with this path in the image.
pub fn generate(loader: &str) -> Vec<u8> {
    let device = || (BINARY, boot());
    let image = || (BINARY, ramdisk(OPTIONS, &boot()[16..], BOOT_WIM));
    let loader_name = format!("{{{LOADER}}}");
    let order = utf16(&format!("{loader_name}\0\0"));
    let objects = vec![
        object(
            BOOT_MANAGER,
            0x1010_0002,
            [
                (0x1100_0001, device()),
                (0x1200_0002, text("\\EFI\\Microsoft\\Boot\\bootmgfw.efi")),
                (0x1200_0004, text("Windows Boot Manager")),
                // The entry that is started, the entries that are shown, and for how many seconds.
                (0x2300_0003, text(&loader_name)),
                (0x2400_0001, (MULTI_SZ, order)),
                (0x2500_0004, number(0)),
            ],
        ),
        object(
            LOADER,
            0x1020_0003,
            [
                (0x1100_0001, image()),
                (0x1200_0002, text(loader)),
                (0x1200_0004, text("Prestaged media")),
                (0x2100_0001, image()),
                (0x2200_0002, text("\\windows")),
                // Data execution prevention as programs ask for it; the hardware is looked for; it is Windows PE.
                (0x2500_0020, number(0)),
                (0x2600_0010, switch(1)),
                (0x2600_0022, switch(1)),
            ],
        ),
        object(
            OPTIONS,
            0x3000_0000,
            [
                (0x1200_0004, text("Ramdisk options")),
                (0x3100_0003, device()),
                (0x3200_0004, text(BOOT_SDI)),
            ],
        ),
    ];
    let description = Key::new("Description").with_value("KeyName", SZ, utf16("BCD00000001\0"));
    let objects = Key { keys: objects, ..Key::new("Objects") };
    Key { keys: vec![description, objects], ..Key::new("NewStoreRoot") }.hive()
}

#[cfg(test)]
mod tests {
    use model::layout::Places;

    use super::super::device::Device;
    use super::super::store::Store;
    use super::super::{Start, check, script};
    use super::*;

    const WINLOAD: &str = "\\windows\\system32\\boot\\winload.efi";

    #[test]
    fn the_boot_manager_would_start_the_boot_image() {
        let bcd = generate(WINLOAD);
        assert_eq!(bcd.len() % 4096, 0);
        let store = Store::read(&bcd).unwrap();
        assert_eq!(store.0.len(), 3);
        let image = Device::parse(store.element(LOADER, 0x1100_0001).unwrap());
        assert_eq!(image, Device::Ramdisk { options: OPTIONS, path: BOOT_WIM.into() });
        assert!(Start::of(&bcd).is_ok());
        let places = Places { disk: Uuid::max(), esp: Uuid::nil(), windows: Uuid::max() };
        assert!(script(&bcd, &places).is_ok(), "it can be set to a drive's partitions");
        assert!(check(&bcd, &places).is_err(), "and names none of a drive's yet");
    }

    #[test]
    fn a_single_flipped_bit_in_its_head_is_seen() {
        let bcd = generate(WINLOAD);
        for at in 0..40 {
            let mut wrong = bcd.clone();
            wrong[at] ^= 1;
            // The time of the last writing is none of anybody's business, but for the checksum.
            assert!(Start::of(&wrong).is_err(), "byte {at}");
        }
    }
}
