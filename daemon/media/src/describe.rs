//! What media holds, for the manifest of a parcel. Runs in a worker, which prestagectl starts without any daemon.
//!
//! Everything is found in the way in which intake finds it, so that a station can compare the two.

use std::fs;
use std::path::Path;

use model::boot::BootManagerRule;
use model::code::{FailureCode, FindingCode};
use model::failure::{Failure, Finding};
use model::media::Stamp;
use model::parcel::{Contents, Describe, Described, ImageClaim};

use crate::boot;
use crate::intake::packages::Packages;
use crate::intake::text;
use crate::wim::{Entry, Flow, Wim, WimError};
use crate::worker::domain::Reach;
use crate::worker::{Given, Work};

impl Work for Describe {
    const NAME: &'static str = "describe";
    type Output = Described;

    fn reach(&self) -> Reach {
        let mut reach = Reach::to_read([self.wim.as_path()]);
        reach.write.push(self.folder.clone());
        reach
    }

    fn perform(self, _: Given) -> Result<Described, Failure> {
        let before = stamp(&self.wim)?;
        let damaged =
            |error: WimError| Failure::of(FailureCode::WimDamaged, &error).with_hint_of(&error);
        let mut wim = Wim::open(&self.wim, |_| Flow::Continue).map_err(damaged)?;
        let mut packages = Packages::default();
        wim.entries(self.image, |entry: &Entry<'_>| packages.add(entry)).map_err(damaged)?;
        // Which boot manager a station chooses says nothing about the boot image.
        let found = boot::examine(&mut wim, self.image, BootManagerRule::Newest);
        let unpacking = |problem: &&Finding| problem.code == FindingCode::UnpackFailed;
        if let Some(problem) = found.problems.iter().find(unpacking) {
            return Err(Failure::new(FailureCode::MediaUnreadable, problem.detail.clone()));
        }
        let name = text(&wim, self.image, "NAME");
        let image = Some(ImageClaim { index: self.image, name });
        let (packages, more_packages) = packages.listed();
        let contents = Contents { image, boot_image: found.image, packages, more_packages };
        let after = stamp(&self.wim)?;
        if after != before {
            let detail = format!("{} was changed while it was read", self.wim.display());
            return Err(Failure::new(FailureCode::MediaChanged, detail));
        }
        Ok(Described { contents, stamp: Some(before) })
    }
}

fn stamp(path: &Path) -> Result<Stamp, Failure> {
    let read = fs::metadata(path).map(|meta| Stamp::from(&meta));
    read.map_err(|error| Failure::of(FailureCode::MediaUnreadable, &error))
}
