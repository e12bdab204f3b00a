//! A boot configuration as media carries it: a registry hive with boot manager, a ramdisk loader and its options, all
//! of them saying `[boot]`. Made with hivexsh from an empty hive.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::sample::run;

/// An empty hive: base block, one bin with the root key and its security descriptor (layout: the regf
/// format specification of the msuhanov project).
fn empty() -> Vec<u8> {
    const NONE: u32 = u32::MAX;
    let mut bin = b"hbin".to_vec();
    for number in [0_u32, 4096, 0, 0, 0, 0, 0] {
        bin.extend(number.to_le_bytes());
    }
    let mut cell = |body: &[u8]| {
        let offset = u32::try_from(bin.len()).unwrap();
        let size = (4 + body.len()).next_multiple_of(8);
        bin.extend((-i32::try_from(size).unwrap()).to_le_bytes());
        bin.extend(body);
        bin.resize(usize::try_from(offset).unwrap() + size, 0);
        offset
    };
    let name = b"NewStoreRoot";
    let key_size = (4 + 76 + name.len()).next_multiple_of(8);
    let security = u32::try_from(32 + key_size).unwrap();
    let mut key = b"nk".to_vec();
    key.extend(0x2c_u16.to_le_bytes());
    key.extend([0; 8]);
    for number in [0, NONE, 0, 0, NONE, NONE, 0, NONE, security, NONE, 0, 0, 0, 0, 0] {
        key.extend(number.to_le_bytes());
    }
    key.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
    key.extend([0; 2]);
    key.extend(name);
    let root = cell(&key);
    let descriptor = [1, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut sk = b"sk\0\0".to_vec();
    for number in [security, security, 1, 20] {
        sk.extend(number.to_le_bytes());
    }
    sk.extend(descriptor);
    assert_eq!(cell(&sk), security);
    let free = 4096 - bin.len();
    bin.extend(i32::try_from(free).unwrap().to_le_bytes());
    bin.resize(4096, 0);

    let mut base = b"regf".to_vec();
    for number in [1_u32, 1, 0, 0, 1, 3, 0, 1, root, 4096, 1] {
        base.extend(number.to_le_bytes());
    }
    base.resize(4096, 0);
    let words = base[..508].as_chunks::<4>().0.iter();
    let sum = words.fold(0, |sum, word| sum ^ u32::from_le_bytes(*word));
    base[508..512].copy_from_slice(&sum.to_le_bytes());
    base.extend(bin);
    base
}

/// `[boot]`: a block of type 5 that names nothing.
pub(crate) fn boot_device() -> Vec<u8> {
    let mut data = vec![0; 16];
    for number in [5_u32, 0, 0x48, 0] {
        data.extend(number.to_le_bytes());
    }
    data.resize(88, 0);
    data
}

/// `ramdisk=[boot]path,{ramdiskoptions}`
pub(crate) fn ramdisk_device(path: &str) -> Vec<u8> {
    let options = [
        0xe0, 0x34, 0x55, 0xae, 0x24, 0xa9, 0x6c, 0x46, 0xb8, 0x36, 0x75, 0x85, 0x39, 0xa3, 0xee,
        0x3a,
    ];
    let path: Vec<u8> = path.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let length = u32::try_from(0x8c + path.len()).unwrap();
    let mut data = options.to_vec();
    for number in [0, 1, length - 0x10, 0, 3, 0, 0, 0, 0, 0, 1, length - 0x38, 5] {
        data.extend(number.to_le_bytes());
    }
    data.extend(&boot_device()[16..]);
    data.extend(path);
    data
}

/// Bytes of this registry type, as hivexsh takes the value of an element.
pub(crate) fn hex(kind: u32, data: &[u8]) -> String {
    let bytes: Vec<String> = data.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("hex:{kind}:{}", bytes.join(","))
}

/// A text, as hivexsh takes the value of an element.
pub(crate) fn text(value: &str) -> String {
    let data: Vec<u8> = value.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    hex(1, &data)
}

/// The objects of the BCD that [`bcd`] makes.
pub(crate) const MANAGER: &str = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}";
pub(crate) const LOADER: &str = "{7619dcc9-fafe-11d9-b411-000476eba25f}";
pub(crate) const OPTIONS: &str = "{ae5534e0-a924-466c-b836-758539a3ee3a}";

/// Makes a BCD; `work` is for scratch files.
pub(crate) fn bcd(work: &Path) -> Vec<u8> {
    let (manager, loader, options) = (MANAGER, LOADER, OPTIONS);
    let (boot, ramdisk) = (hex(3, &boot_device()), hex(3, &ramdisk_device("\\sources\\boot.wim")));
    type Elements = Vec<(&'static str, String)>;
    let objects: [(&str, u32, Elements); 3] = [
        (
            manager,
            0x1010_0002,
            vec![
                ("11000001", boot.clone()),
                ("12000002", text("\\EFI\\Microsoft\\Boot\\bootmgfw.efi")),
                ("23000003", text(loader)),
                ("25000004", hex(3, &10_u64.to_le_bytes())),
            ],
        ),
        (
            loader,
            0x1020_0003,
            vec![
                ("11000001", ramdisk.clone()),
                ("12000002", text("\\windows\\system32\\boot\\winload.efi")),
                ("21000001", ramdisk),
                ("22000002", text("\\windows")),
                ("26000022", hex(3, &[1])),
            ],
        ),
        // The device element is missing here and must be added.
        (options, 0x3000_0000, vec![("32000004", text("\\boot\\boot.sdi"))]),
    ];
    let mut script = String::from("add Description\ncd Description\nsetval 1\nKeyName\n");
    let _ = writeln!(script, "{}\ncd \\\nadd Objects", text("BCD00000001"));
    for (object, kind, elements) in objects {
        let _ = writeln!(script, "cd \\Objects\nadd {object}\ncd {object}\nadd Description");
        let _ = writeln!(script, "cd Description\nsetval 1\nType\ndword:{kind:#x}");
        let _ = writeln!(script, "cd \\Objects\\{object}\nadd Elements");
        for (element, value) in elements {
            let _ = writeln!(script, "cd \\Objects\\{object}\\Elements\nadd {element}");
            let _ = writeln!(script, "cd {element}\nsetval 1\nElement\n{value}");
        }
    }
    script.push_str("commit\n");
    let (hive, commands) = (work.join("bcd"), work.join("bcd.hivexsh"));
    fs::write(&hive, empty()).unwrap();
    fs::write(&commands, script).unwrap();
    run("hivexsh", &["-w", "-f", commands.to_str().unwrap(), hive.to_str().unwrap()]);
    fs::read(hive).unwrap()
}
