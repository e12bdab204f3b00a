//! The WIM files that a recipe names: opened, judged and verified before anything is made of them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use model::code::FailureCode as Code;
use model::failure::{Failure, chain};
use model::units::Bytes;

use crate::intake;
use crate::wim::{Flow, Info, Progress, Wim, WimError};

/// A WIM file, or all parts of a split set.
pub(super) struct Source {
    pub(super) wim: Wim,
    pub(super) info: Info,
    /// The first part first.
    pub(super) files: Vec<PathBuf>,
}

fn damaged(path: &Path, what: &str) -> Failure {
    Failure::new(Code::SourceDamaged, format!("{}: {what}", path.display()))
}

/// An error of libwim about a source. It names the file already, where it has opened it.
fn refused(path: &Path, error: &WimError) -> Failure {
    if error.is_encrypted() {
        let failure = damaged(path, "it is encrypted, as ESD files of Windows Update are");
        return failure
            .with_hint("decrypt it on Windows, or take install.wim of installation media");
    }
    let words = chain(error).replace(&path.display().to_string(), "it");
    let failure = damaged(path, &words);
    failure.with_hint("get the file anew, and compare its checksum")
}

impl Source {
    /// Opens a WIM with all its parts.
    pub(super) fn open(
        path: &Path,
        report: impl FnMut(Progress) -> Flow + 'static,
    ) -> Result<Self, Failure> {
        // libwim waits for the writer of a FIFO, and so would opening it.
        let opened = match fs::metadata(path) {
            Ok(about) if !about.is_file() => Err(io::Error::other("it is no ordinary file")),
            Ok(_) => File::open(path).map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = opened {
            let detail = format!("cannot read {}: {}", path.display(), chain(&error));
            return Err(Failure::new(Code::SourceUnreadable, detail));
        }
        let wim = Wim::open(path, report).map_err(|error| refused(path, &error))?;
        let info = wim.info().map_err(|error| refused(path, &error))?;
        if info.part > 1 {
            let failure = damaged(path, &format!("it is part {} of a split set", info.part));
            return Err(failure.with_hint("name the first part; the others are found beside it"));
        }
        if info.write_in_progress {
            return Err(damaged(path, "its header says that its writer has not finished"));
        }
        let files = intake::parts::all(path, &info).map_err(|what| damaged(path, &what))?;
        let mut source = Self { wim, info, files };
        source.wim.reference(&source.files[1..]).map_err(|error| source.blame(&error))?;
        Ok(source)
    }

    /// The same file once more, for a second use of it.
    pub(super) fn again(
        &self,
        report: impl FnMut(Progress) -> Flow + 'static,
    ) -> Result<Wim, Failure> {
        let path = &self.files[0];
        let mut wim = Wim::reopen(path, report).map_err(|error| refused(path, &error))?;
        wim.reference(&self.files[1..]).map_err(|error| self.blame(&error))?;
        Ok(wim)
    }

    /// Names the part of the set that is damaged, if one says so itself.
    fn blame(&self, error: &WimError) -> Failure {
        let own = |file: &PathBuf| {
            let error = Wim::open(file, |_| Flow::Continue).err()?;
            Some(refused(file, &error))
        };
        self.files.iter().find_map(own).unwrap_or_else(|| refused(&self.files[0], error))
    }

    /// The path of the first file.
    pub(super) fn path(&self) -> &Path {
        &self.files[0]
    }

    /// Fails if there is no image with this index.
    pub(super) fn check_index(&self, index: u32) -> Result<(), Failure> {
        let images = self.info.images;
        if (1..=images).contains(&index) {
            return Ok(());
        }
        let detail =
            format!("{} has {images} images, none with index {index}", self.path().display());
        Err(Failure::new(Code::ImageMissing, detail))
    }

    /// Decompresses every blob and compares its digest; the contents of every file of the image must be there, and so must
    /// every entry of its tree.
    pub(super) fn verify(&mut self, index: u32) -> Result<(), Failure> {
        self.wim.verify().map_err(|error| self.blame(&error))?;
        let (mut lacking, mut shown) = (0_u64, 0);
        let path = self.path().to_owned();
        let listed = self.wim.entries(index, |entry| {
            shown += 1;
            lacking += u64::from(entry.streams.iter().any(|stream| stream.missing));
        });
        listed.map_err(|error| refused(&path, &error))?;
        if lacking > 0 {
            return Err(damaged(&path, &format!("it lacks the contents of {lacking} files")));
        }
        // libwim leaves out what no volume can hold, and says nothing.
        let tree = self.wim.metadata(index, &path).ok();
        let tree = tree.and_then(|(data, _)| formats::wim_tree::Tree::parse(&data).ok());
        match tree.map(|tree| Bytes::of(tree.entries.len()).0) {
            Some(all) if all != shown => {
                let what =
                    format!("its directory tree has {all} entries, of which {shown} can be used");
                Err(damaged(&path, &what))
            }
            _ => Ok(()),
        }
    }

    /// The size of all its files.
    pub(super) fn size(&self) -> Bytes {
        let size = |file: &PathBuf| Bytes(file.metadata().map_or(0, |about| about.len()));
        self.files.iter().map(size).sum()
    }
}
