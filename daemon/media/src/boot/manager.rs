//! The boot managers of the media: programs that firmware starts.

use formats::pe::{self, Machine, Program};
use model::code::FindingCode as Code;
use model::failure::Finding;

use super::{Examined, Unpacker, WOF};
use crate::wim::Thing;

/// The paths at which the boot manager may lie that firmware starts; a press uses the first that exists. The programs
/// in `\EFI\Boot` come after them.
pub(super) const MANAGERS: [&str; 2] =
    ["\\Windows\\Boot\\EFI\\bootmgfw.efi", "\\EFI\\Microsoft\\Boot\\bootmgfw.efi"];

/// The path in the media of the program that firmware finds by its name.
fn fallback(machine: Machine) -> String {
    format!("\\EFI\\Boot\\{}", machine.fallback_name().to_lowercase())
}

/// Judges every boot manager that firmware may start, and returns the machine of the first.
pub(super) fn judge(media: &mut Unpacker<'_>, found: &mut Examined) -> Option<Machine> {
    // A link leads nowhere: what it names may not be the media's.
    let is_there = |media: &mut Unpacker<'_>, path: &str| match media.thing(path) {
        Some(Thing::Reparse(tag)) => tag == WOF,
        thing => thing.is_some(),
    };
    let manager = MANAGERS.into_iter().find(|path| is_there(media, path));
    let machine = manager.and_then(|path| judge_one(media, path, None, found));
    // The manager is copied to the place of its machine, over what lies there.
    let others =
        Machine::ALL.into_iter().filter(|other| manager.is_none() || machine != Some(*other));
    let others: Vec<Machine> = others.filter(|other| is_there(media, &fallback(*other))).collect();
    if manager.is_none() && others.is_empty() {
        let known = Machine::ALL.map(fallback).join(", ");
        let detail = format!("no boot manager: none of {}, {known}", MANAGERS.join(", "));
        found.problem(Code::BootFilesMissing, detail);
    }
    let mut first = machine;
    for other in others {
        let machine = judge_one(media, &fallback(other), Some(other), found);
        first = first.or(if manager.is_none() { machine } else { None });
    }
    first
}

/// Judges a program that is started by its place, on computers of this kind if the place says so.
fn judge_one(
    media: &mut Unpacker<'_>,
    path: &str,
    wanted: Option<Machine>,
    found: &mut Examined,
) -> Option<Machine> {
    let hint = "make the media with the boot manager of its Windows, bootmgfw.efi";
    if let Some(Thing::Reparse(_)) = media.thing(path) {
        // It was told of among the reparse points.
        return None;
    }
    let program = match media.read(path, Code::BootManagerInvalid) {
        Ok(program) => program,
        Err(problem) => {
            found.problems.push(problem);
            return None;
        }
    };
    let mut problem = |words: &str| {
        let detail = format!("{path} starts no computer: {words}");
        found.problems.push(Finding::new(Code::BootManagerInvalid, detail).with_hint(hint));
    };
    let Program { machine, is_clear } = match Program::parse(&program) {
        Ok(parsed) => parsed,
        Err(error) => {
            problem(&error.to_string());
            return None;
        }
    };
    if wanted.is_some_and(|wanted| wanted != machine) {
        problem(&format!("it is for {}, which its name is not", machine.architecture()));
        return None;
    }
    if !is_clear {
        let detail = format!("{path} does not say that it is an application for UEFI");
        found.warning(Code::BootManagerUnclear, detail);
    }
    judge_signer(path, &program, found);
    Some(machine)
}

fn judge_signer(path: &str, program: &[u8], found: &mut Examined) {
    if pe::is_signed_2011_only(program) {
        let detail = format!(
            "the boot manager {path} is signed by the certificate of 2011 only, which expires in 2026; computers that trust only that of 2023 will not start it"
        );
        let hint = "make the media with a boot manager that is signed by the certificate of 2023";
        found.warnings.push(Finding::new(Code::BootManager2011, detail).with_hint(hint));
    }
}
