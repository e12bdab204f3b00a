//! Programs for UEFI (PE/COFF): the machine that a program is for, and the certificates that signed it.

#[cfg(test)]
mod fixture;
mod signature;

pub use signature::certificates;

/// The machines with UEFI firmware for which Windows has a boot manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Machine {
    Amd64,
    Arm64,
    X86,
    Arm,
}

impl Machine {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Amd64, Self::Arm64, Self::X86, Self::Arm];

    /// By `IMAGE_FILE_MACHINE_*`; 32-bit ARM has a number for its Thumb code and one for Windows' (ARMNT).
    fn of(number: u16) -> Option<Self> {
        match number {
            0x8664 => Some(Self::Amd64),
            0xaa64 => Some(Self::Arm64),
            0x014c => Some(Self::X86),
            0x01c2 | 0x01c4 => Some(Self::Arm),
            _ => None,
        }
    }

    /// The name under which firmware finds a boot manager that has no NVRAM entry (UEFI 2.10, 3.5.1.1).
    pub fn fallback_name(self) -> &'static str {
        match self {
            Self::Amd64 => "BOOTX64.EFI",
            Self::Arm64 => "BOOTAA64.EFI",
            Self::X86 => "BOOTIA32.EFI",
            Self::Arm => "BOOTARM.EFI",
        }
    }

    /// The architecture, as Windows calls it.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::X86 => "x86",
            Self::Arm => "arm",
        }
    }
}

/// A program that firmware can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// The machine that it is for.
    pub machine: Machine,
    /// Whether its optional header says that it is an application for UEFI. Without such a header nothing is known of
    /// what it is, and firmware may refuse it.
    pub is_clear: bool,
}

/// What is no program that firmware can start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PeError {
    #[error("it is empty")]
    Empty,
    #[error("it holds nothing but zeros")]
    Zeros,
    #[error("it is no program: it has no PE header")]
    NoProgram,
    #[error("it is for a machine that is not known ({0:#06x})")]
    Machine(u16),
    #[error("it is {0}, not an application for UEFI")]
    Subsystem(String),
}

fn half(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(data.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(data.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// `IMAGE_SUBSYSTEM_EFI_APPLICATION`
const EFI_APPLICATION: u16 = 10;
/// Offset of the optional header after the signature "PE\0\0".
const OPTIONAL: usize = 24;
/// Offset of the subsystem in the optional header, of either kind.
const SUBSYSTEM: usize = 68;

impl Program {
    /// Reads a program's headers (Microsoft's PE format).
    ///
    /// # Errors
    /// [`PeError`] if firmware could not start it.
    pub fn parse(data: &[u8]) -> Result<Self, PeError> {
        if data.is_empty() {
            return Err(PeError::Empty);
        }
        if data.iter().all(|byte| *byte == 0) {
            return Err(PeError::Zeros);
        }
        let header = header(data).ok_or(PeError::NoProgram)?;
        let number = half(header, 4).ok_or(PeError::NoProgram)?;
        let machine = Machine::of(number).ok_or(PeError::Machine(number))?;
        // PE32 and PE32+.
        let is_known = matches!(half(header, OPTIONAL), Some(0x010b | 0x020b));
        match half(header, OPTIONAL + SUBSYSTEM) {
            Some(EFI_APPLICATION) if is_known => Ok(Self { machine, is_clear: true }),
            Some(other) if is_known => Err(PeError::Subsystem(subsystem(other))),
            _ => Ok(Self { machine, is_clear: false }),
        }
    }
}

/// From the signature on.
fn header(data: &[u8]) -> Option<&[u8]> {
    let header = data.get(usize::try_from(word(data, 0x3c)?).ok()?..)?;
    (data.starts_with(b"MZ") && header.starts_with(b"PE\0\0")).then_some(header)
}

fn subsystem(number: u16) -> String {
    match number {
        1 => "a driver of Windows".into(),
        2 | 3 => "a program for Windows".into(),
        11 | 12 => "a driver for UEFI".into(),
        16 => "a program that a boot manager starts".into(),
        other => format!("of subsystem {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::program;
    use super::*;

    #[test]
    fn the_fallback_name_follows_the_machine() {
        for (number, name) in [
            (0x8664, "BOOTX64.EFI"),
            (0xaa64, "BOOTAA64.EFI"),
            (0x014c, "BOOTIA32.EFI"),
            (0x01c2, "BOOTARM.EFI"),
            (0x01c4, "BOOTARM.EFI"),
        ] {
            let found = Program::parse(&program(number, 0x20b, 10)).unwrap();
            assert_eq!(found.machine.fallback_name(), name);
            assert!(found.is_clear);
        }
        assert_eq!(Program::parse(&program(0x200, 0x20b, 10)), Err(PeError::Machine(0x200)));
    }

    #[test]
    fn only_applications_for_uefi_are_started() {
        for (number, words) in [
            (2, "a program for Windows"),
            (3, "a program for Windows"),
            (11, "a driver for UEFI"),
            (16, "a program that a boot manager starts"),
            (0, "of subsystem 0"),
        ] {
            let found = Program::parse(&program(0x8664, 0x10b, number));
            assert_eq!(found, Err(PeError::Subsystem(words.into())));
        }
        let unclear = Program { machine: Machine::Amd64, is_clear: false };
        assert_eq!(Program::parse(&program(0x8664, 0x6d6d, 10)), Ok(unclear));
        assert_eq!(Program::parse(&program(0x8664, 0x20b, 10)[..0x90]), Ok(unclear));
    }

    #[test]
    fn what_is_no_program_is_told() {
        assert_eq!(Program::parse(b""), Err(PeError::Empty));
        assert_eq!(Program::parse(&[0; 5000]), Err(PeError::Zeros));
        for text in [&b"404 not found"[..], b"MZ", &[0xff; 100]] {
            assert_eq!(Program::parse(text), Err(PeError::NoProgram));
        }
        let mut without = program(0x8664, 0x20b, 10);
        without[..2].copy_from_slice(b"ZM");
        assert_eq!(Program::parse(&without), Err(PeError::NoProgram));
        let good = program(0x8664, 0x20b, 10);
        for length in 0..0x86 {
            assert!(Program::parse(&good[..length]).is_err(), "cut at {length}");
        }
    }
}
