//! Derives a master's image from that of its base, in a worker process: it reads the file systems of an image that was
//! filled from media.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;

use masters::IMAGE_FILE;
use masters::derive::{DeriveError, Derived, derive};
use model::code::FailureCode;
use model::failure::Failure;
use model::manifest::{Manifest, Recipe};
use serde::{Deserialize, Serialize};

use crate::worker::domain::Reach;
use crate::worker::{Given, Work};

/// The task of a deriving worker, which gets the base's image as an open file. It sees no media.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct DeriveTask {
    /// The manifest of the base.
    pub base: Manifest,
    pub recipe: Recipe,
    /// An empty folder in the store, into which the image is written.
    pub staging: PathBuf,
}

impl Work for DeriveTask {
    const NAME: &'static str = "derive";
    type Output = Derived;

    fn reach(&self) -> Reach {
        Reach { write: vec![self.staging.clone()], ..Reach::default() }
    }

    fn perform(self, given: Given) -> Result<Derived, Failure> {
        self.derived(given).map_err(|error| match &error {
            DeriveError::Io(source) if source.kind() == io::ErrorKind::FileTooLarge => {
                Failure::of(FailureCode::ImageTooLarge, &error)
            }
            DeriveError::Io(source) if source.kind() == io::ErrorKind::StorageFull => {
                Failure::of(FailureCode::StoreFull, &error)
            }
            _ => Failure::of(FailureCode::PressFailed, &error),
        })
    }
}

impl DeriveTask {
    fn derived(&self, given: Given) -> Result<Derived, DeriveError> {
        let base = given.files.into_iter().next().map(File::from);
        let base = base.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let path = self.staging.join(IMAGE_FILE);
        let own = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        let derived = derive(&base, &self.base, &self.recipe, &own)?;
        own.sync_all()?;
        Ok(derived)
    }
}
