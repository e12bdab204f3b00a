//! Finds and makes files by paths whose case does not matter, as in a WIM, in folders on Linux, where it does.
//!
//! Names match without regard to ASCII case.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use model::hint::Hint;

/// Folders that cannot be read, made or merged.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum CaselessError {
    #[error("{0} is a folder in one place of the media and a file in another")]
    Clash(String),
    #[error("the name {0:?} of a boot file is no valid Unicode")]
    Name(String),
    #[error("cannot lay out the boot files in {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Hint for CaselessError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Clash(_) => Some("make the media anew without one of the two".into()),
            Self::Name(_) => Some("make the media anew without it".into()),
            Self::Io { .. } => None,
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CaselessError {
    let path = path.to_owned();
    move |source| CaselessError::Io { path, source }
}

/// The entry of `folder` with this name, whatever its case. Links do not count: a link in media can lead to any file on
/// the station, which would then be read in place of the media's own.
///
/// # Errors
/// [`CaselessError`] if the folder cannot be read.
pub fn entry(folder: &Path, name: &str) -> Result<Option<PathBuf>, CaselessError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(at(folder))?,
    };
    for found in entries {
        let found = found.map_err(at(folder))?;
        if found.file_type().map_err(at(folder))?.is_symlink() {
            continue;
        }
        if found.file_name().to_string_lossy().eq_ignore_ascii_case(name) {
            return Ok(Some(found.path()));
        }
    }
    Ok(None)
}

/// The file or folder at a path below `root`, whatever its case.
///
/// # Errors
/// [`CaselessError`] if a folder cannot be read.
pub fn find(root: &Path, path: &str) -> Result<Option<PathBuf>, CaselessError> {
    let mut place = root.to_owned();
    for name in path.split('/') {
        match entry(&place, name)? {
            Some(next) => place = next,
            None => return Ok(None),
        }
    }
    Ok(Some(place))
}

/// The folder at a path below `root`. Creates every folder of the path that is missing.
///
/// # Errors
/// [`CaselessError`] if a folder cannot be created, or a file is in its place.
pub fn make(root: &Path, path: &str) -> Result<PathBuf, CaselessError> {
    let mut place = root.to_owned();
    for name in path.split('/') {
        place = match entry(&place, name)? {
            Some(next) => next,
            None => {
                let next = place.join(name);
                fs::create_dir(&next).map_err(at(&next))?;
                next
            }
        };
        if !place.is_dir() {
            return Err(CaselessError::Clash(path.into()));
        }
    }
    Ok(place)
}

/// Copies the contents of one folder over another. `rename` says under which name a file goes there, or that it does not.
/// Links are left out: boot files are plain files, and a link in media
/// can lead to any file on the station.
///
/// # Errors
/// [`CaselessError`] if a name is a folder in one and a file in the other, or is no text, or a file cannot be copied.
pub fn merge(
    from: &Path,
    to: &Path,
    rename: &dyn Fn(&str) -> Option<String>,
) -> Result<(), CaselessError> {
    for found in fs::read_dir(from).map_err(at(from))? {
        let found = found.map_err(at(from))?;
        let kind = found.file_type().map_err(at(&found.path()))?;
        let name = found
            .file_name()
            .into_string()
            .map_err(|name| CaselessError::Name(name.to_string_lossy().into_owned()))?;
        if kind.is_dir() {
            merge(&found.path(), &make(to, &name)?, rename)?;
        } else if kind.is_file()
            && let Some(name) = rename(&name)
        {
            let place = entry(to, &name)?.unwrap_or_else(|| to.join(&name));
            if place.is_dir() {
                return Err(CaselessError::Clash(name));
            }
            fs::copy(found.path(), &place).map_err(at(&place))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_ignores_case_and_links() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        fs::create_dir_all(from.join("MICROSOFT/boot")).unwrap();
        fs::create_dir_all(to.join("Microsoft/Boot")).unwrap();
        fs::write(to.join("Microsoft/Boot/bcd"), "old").unwrap();
        fs::write(from.join("MICROSOFT/boot/BCD"), "new").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
        merge(&from, &to, &|name| Some(name.to_owned())).unwrap();
        assert_eq!(fs::read(to.join("Microsoft/Boot/bcd")).unwrap(), b"new");
        assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
        assert_eq!(find(&from, "link").unwrap(), None);
        assert_eq!(
            find(&to, "microsoft/BOOT/Bcd").unwrap().unwrap(),
            to.join("Microsoft/Boot/bcd")
        );
    }
}
