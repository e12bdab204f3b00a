//! Programs for UEFI (PE/COFF): the machine that a program is for, and the certificates that signed it.

/// `IMAGE_FILE_MACHINE_AMD64`
pub const MACHINE_AMD64: u16 = 0x8664;
/// `IMAGE_FILE_MACHINE_ARM64`
pub const MACHINE_ARM64: u16 = 0xaa64;
/// `IMAGE_FILE_MACHINE_I386`
pub const MACHINE_X86: u16 = 0x014c;

/// The name under which firmware finds a boot manager that has no NVRAM entry (UEFI 2.10, 3.5.1.1). It depends on the
/// machine in the boot manager's PE header.
pub fn fallback_name(program: &[u8]) -> &'static str {
    if machine(program) == Some(MACHINE_ARM64) { "BOOTAA64.EFI" } else { "BOOTX64.EFI" }
}

/// The machine that a program is for (PE format, COFF file header); `None` if the bytes are no program.
pub fn machine(program: &[u8]) -> Option<u16> {
    let start = u32::from_le_bytes(program.get(0x3c..0x40)?.try_into().ok()?);
    let header = program.get(usize::try_from(start).ok()?..)?;
    let machine = header.get(4..6)?.try_into().ok()?;
    header.starts_with(b"PE\0\0").then(|| u16::from_le_bytes(machine))
}

/// Whether a program is signed by Microsoft's certificate of 2011 but not by its successor. The former expires in 2026,
/// and some firmware will trust only the latter. The signature holds the certificates' names as plain text.
pub fn is_signed_2011_only(program: &[u8]) -> bool {
    let names = |wanted: &str| program.windows(wanted.len()).any(|part| part == wanted.as_bytes());
    names("Microsoft Windows Production PCA 2011") && !names("Windows UEFI CA 2023")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fallback_name_follows_the_machine() {
        let mut program = vec![0_u8; 0x100];
        program[0x3c] = 0x80;
        program[0x80..0x86].copy_from_slice(b"PE\0\0\x64\x86");
        assert_eq!(fallback_name(&program), "BOOTX64.EFI");
        program[0x84..0x86].copy_from_slice(&[0x64, 0xaa]);
        assert_eq!(fallback_name(&program), "BOOTAA64.EFI");
        assert_eq!(fallback_name(b"MZ"), "BOOTX64.EFI");
    }
}
