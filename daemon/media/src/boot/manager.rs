//! The boot managers of the media: programs that firmware starts, and which of them a drive gets.

use formats::pe::{self, Machine, PeError, Program};
use model::boot::{BootManagerRule, Certificate};
use model::code::FindingCode as Code;
use model::failure::Finding;

use super::sources::Origin;
use super::{Examined, Unpacker, WOF};
use crate::wim::Thing;

/// What is said of a program that is none.
const HINT: &str = "make the media with the boot manager of its Windows, bootmgfw.efi";

/// A boot manager of the media.
struct Candidate {
    origin: Origin,
    path: String,
    machine: Machine,
    is_clear: bool,
    /// `None` if it is not signed.
    certificates: Option<Vec<Certificate>>,
}

/// Reads a boot manager; a problem if it starts no computer.
fn read(media: &mut Unpacker<'_>, path: &str, origin: Origin) -> Result<Candidate, Finding> {
    let program = media.read(path, Code::BootManagerInvalid)?;
    let Program { machine, is_clear } =
        Program::parse(&program).map_err(|error: PeError| unusable(path, &error.to_string()))?;
    let certificates = pe::certificates(&program);
    Ok(Candidate { origin, path: path.to_owned(), machine, is_clear, certificates })
}

fn unusable(path: &str, words: &str) -> Finding {
    let detail = format!("{path} starts no computer: {words}");
    Finding::new(Code::BootManagerInvalid, detail).with_hint(HINT)
}

/// Whether there is something at a path that will be laid out. A link leads nowhere: what it names may not be the media's.
fn is_there(media: &mut Unpacker<'_>, path: &str) -> bool {
    match media.thing(path) {
        Some(Thing::Reparse(tag)) => tag == WOF,
        thing => thing.is_some(),
    }
}

/// What was found out about the boot managers.
#[derive(Clone, Copy)]
pub(crate) struct Chosen {
    /// Where the boot manager lies that drives get.
    pub(crate) origin: Origin,
    pub(crate) machine: Machine,
}

/// Judges every boot manager that firmware may start, and chooses the one that firmware finds by itself.
pub(super) fn judge(
    media: &mut Unpacker<'_>,
    rule: BootManagerRule,
    found: &mut Examined,
) -> Option<Chosen> {
    let mut all: Vec<Candidate> = Vec::new();
    let mut unusable_path = None;
    for origin in Origin::ALL {
        let path = origin.path();
        // What Windows has compressed was told of among the reparse points.
        if !is_there(media, &path) {
            continue;
        }
        if matches!(media.thing(&path), Some(Thing::Reparse(_))) {
            unusable_path.get_or_insert(path);
            continue;
        }
        match (read(media, &path, origin), origin) {
            (Ok(candidate), Origin::Fallback(machine)) if candidate.machine != machine => {}
            (Ok(candidate), _) => all.push(candidate),
            (Err(_), Origin::Fallback(_)) => {}
            (Err(problem), _) => {
                unusable_path.get_or_insert(path);
                found.problems.push(problem);
            }
        }
    }
    // Only boot managers of one machine stand for each other.
    let machine = all.first().map(|first| first.machine);
    let equals: Vec<&Candidate> =
        all.iter().filter(|other| Some(other.machine) == machine).collect();
    let certificates: Vec<_> =
        equals.iter().map(|other| other.certificates.clone().unwrap_or_default()).collect();
    let chosen = rule.choose(&certificates).map(|place| equals[place]);
    judge_remaining(media, chosen.map(|chosen| chosen.machine), found);
    let Some(chosen) = chosen else {
        found.problems.extend(none(media, rule, !equals.is_empty()));
        let words =
            "firmware finds no boot manager that could be taken; with one, this would follow";
        found.boot_manager = Some(words.into());
        return None;
    };
    if !chosen.is_clear {
        let detail = format!("{} does not say that it is an application for UEFI", chosen.path);
        found.warning(Code::BootManagerUnclear, detail);
    }
    judge_signer(chosen, found);
    found.boot_manager = Some(match unusable_path {
        // What is taken without it may not be what is taken once it is put right.
        Some(path) => format!("which boot manager firmware starts is open: {path} cannot be used"),
        None => starts(chosen),
    });
    Some(Chosen { origin: chosen.origin, machine: chosen.machine })
}

/// What firmware does first.
fn starts(chosen: &Candidate) -> String {
    format!(
        "firmware of {} starts {}, which is {} and {}",
        chosen.machine.architecture(),
        format_args!("\\EFI\\BOOT\\{}", chosen.machine.fallback_name()),
        chosen.path,
        signers(chosen.certificates.as_deref())
    )
}

fn signers(certificates: Option<&[Certificate]>) -> String {
    let Some(certificates) = certificates else { return "not signed".into() };
    let names: Vec<String> = certificates.iter().map(Certificate::to_string).collect();
    match &names[..] {
        [] => "signed, but by none of Microsoft's certificates".into(),
        names => format!("signed by Microsoft's certificate of {}", names.join(" and ")),
    }
}

/// The problem that no boot manager can be taken.
fn none(media: &mut Unpacker<'_>, rule: BootManagerRule, are_others: bool) -> Option<Finding> {
    if are_others {
        let BootManagerRule::Signed(wanted) = rule else { return None };
        let detail = format!("no boot manager is signed by Microsoft's certificate of {wanted}");
        let hint = "make the media with one, or set boot_manager = \"newest\" in the layout";
        return Some(Finding::new(Code::BootFilesMissing, detail).with_hint(hint));
    }
    let paths: Vec<String> = Origin::ALL.iter().map(|origin| origin.path()).collect();
    if paths.iter().any(|path| is_there(media, path)) {
        return None;
    }
    let detail = format!("no boot manager: none of {}", paths.join(", "));
    let hint =
        "make the media with the boot manager of its Windows, or set boot = \"none\" in the layout";
    Some(Finding::new(Code::BootFilesMissing, detail).with_hint(hint))
}

/// Judges the programs that firmware of other machines finds: the media's own, which stay where they are.
fn judge_remaining(media: &mut Unpacker<'_>, replaced: Option<Machine>, found: &mut Examined) {
    for machine in Machine::ALL.into_iter().filter(|machine| replaced != Some(*machine)) {
        let path = Origin::Fallback(machine).path();
        if !is_there(media, &path) || matches!(media.thing(&path), Some(Thing::Reparse(_))) {
            continue;
        }
        match read(media, &path, Origin::Fallback(machine)) {
            Ok(other) if other.machine == machine => {}
            Ok(other) => {
                let words =
                    format!("it is for {}, which its name is not", other.machine.architecture());
                found.problems.push(unusable(&path, &words));
            }
            Err(problem) => found.problems.push(problem),
        }
    }
}

fn judge_signer(chosen: &Candidate, found: &mut Examined) {
    let certificates = chosen.certificates.as_deref();
    if certificates.is_none_or(<[_]>::is_empty) {
        let detail = format!(
            "the boot manager {} is {}; firmware with Secure Boot does not start it",
            chosen.path,
            signers(certificates)
        );
        let hint =
            "make the media with the boot manager of its Windows, or see that Secure Boot is off";
        found.warnings.push(Finding::new(Code::BootManagerUnsigned, detail).with_hint(hint));
    }
    if certificates == Some(&[Certificate::Of2011]) {
        let detail = format!(
            "the boot manager {} is signed by the certificate of 2011 only, which expires in 2026; computers that trust only that of 2023 will not start it",
            chosen.path
        );
        let hint = "make the media with a boot manager that is signed by the certificate of 2023";
        found.warnings.push(Finding::new(Code::BootManager2011, detail).with_hint(hint));
    }
}
