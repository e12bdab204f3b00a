//! Writing the udev rules that keep others off the station's bays. udevd would notice the new file by itself, but only
//! within seconds, and a drive may be plugged in before.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};

use drives::udev_rules::rules;
use drives::watch::udevd_runs;
use model::admission::Policy;

/// Between 60-persistent-storage.rules, which finds `ID_PATH`, and the shipped 62-prestaged.rules.
const FILE: &str = "/run/udev/rules.d/61-prestaged-bays.rules";

/// Writes the rules where a udevd runs. Without them drives are only less protected from others, so it is no error
/// if they cannot be written.
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
        tracing::warn!(%error, "cannot write {FILE}; automounters may touch drives in the bays");
        return;
    }
    let reloaded = Command::new("udevadm").args(["control", "--reload"]).status();
    if !reloaded.as_ref().is_ok_and(ExitStatus::success) {
        tracing::debug!(?reloaded, "udevd reads the rules when it looks again");
    }
}
