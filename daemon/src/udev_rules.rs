//! Writes the udev rules that keep other programs off the drives in the station's bays, and tells udevd to read them.
//! udevd would find the new file by itself, but not for some seconds, in which a drive may be plugged in.

use std::fs;
use std::path::Path;
use std::process::Command;

use drives::udev_rules::rules;
use drives::watch::udevd_runs;
use model::admission::Policy;

/// Its number puts it after 60-persistent-storage.rules, which finds `ID_PATH`, and before 62-prestaged.rules, which
/// uses its mark.
const FILE: &str = "/run/udev/rules.d/61-prestaged-bays.rules";

/// Writes the rules if udevd runs. If they cannot be written, drives are less protected from other programs, but still
/// imaged rightly, so that is only a warning.
pub(crate) fn install(policy: &Policy) {
    if !udevd_runs() {
        return;
    }
    let path = Path::new(FILE);
    let folder = path.parent().unwrap_or(path);
    #[expect(
        clippy::disallowed_methods,
        reason = "a file under /run, at a place that nobody chooses"
    )]
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, rules(policy)));
    if let Err(error) = written {
        tracing::warn!(
            "cannot write {FILE}, so automounters may touch drives in the bays: {error}"
        );
        return;
    }
    let reloaded = Command::new("udevadm").args(["control", "--reload"]).status();
    let problem = match reloaded {
        Ok(status) if status.success() => return,
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::debug!("`udevadm control --reload` failed, so udevd reads {FILE} later: {problem}");
}
