//! Writes the udev rules that keep other programs off the drives in the station's bays, and tells udevd to read them.
//! udevd would find the new file by itself, but not for some seconds, in which a drive may be plugged in.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

use drives::udev_rules::{HEAD, rules};
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
    let written = write(path, &rules(policy));
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

/// Writes a rules file, in the place of an earlier one at most: what does not begin as ours do is left alone.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)?;
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.is_file() || !fs::read_to_string(path)?.starts_with(HEAD) => {
            return Err(io::Error::other("something else has this name"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // udevd never sees half a file. It reads only files whose names end in `.rules`.
    let unfinished = path.with_extension("unfinished");
    #[expect(clippy::disallowed_methods, reason = "a file in a folder of rules, and no drive")]
    let mut file = match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => File::create_new(&unfinished)?,
    };
    file.write_all(text.as_bytes())?;
    fs::rename(unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_of_ours_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.d/61.rules");
        let (first, second) = (format!("{HEAD}one\n"), format!("{HEAD}two\n"));
        write(&path, &first).unwrap();
        write(&path, &second).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), second);
        let precious = folder.path().join("precious");
        fs::rename(&path, &precious).unwrap();
        std::os::unix::fs::symlink(&precious, &path).unwrap();
        assert!(write(&path, &first).is_err());
        assert_eq!(fs::read_to_string(&precious).unwrap(), second);
        fs::remove_file(&path).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a file of the test")]
        fs::write(&path, "# an administrator's rules\n").unwrap();
        assert!(write(&path, &first).is_err());
    }
}
