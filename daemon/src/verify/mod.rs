//! A second look at a drive: it compares the drive with what its own record says that it was given, in a worker process,
//! and only reads. The worker gets the drive and the master's files open for reading, and could open neither.
//!
//! First every chunk of the master is read and hashed, with the record's identity taken out of it: that needs the manifest
//! alone. What differs is read once more and compared with the master's bytes, if they are there ([`differences`]). What
//! lies there, and whether using the drive explains it, is decided at last ([`judge`]).

mod differences;
mod judge;
mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::sync::Arc;

use masters::image;
use masters::layers::{Image, ReadAt};
use media::check::esp_map::of_esp;
use media::compare::file_map::FileMap;
use media::worker::protocol::Reporter;
use media::worker::{Given, Work};
use model::api::verify::{ComparedBy, Comparison};
use model::code::FailureCode;
use model::failure::{Failure, chain};
use model::identity::Identity;
use model::layout::{PlannedPartition, Role};
use model::manifest::Manifest;
use model::units::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use differences::{Difference, refined};
use judge::Judged;
use seen::{Drive, Portion, Seen};

/// Why a drive could not be compared with its record.
#[derive(Debug, thiserror::Error)]
enum VerifyError {
    #[error("the station has sent no drive")]
    NoDrive,
    #[error("the drive is gone")]
    Gone(#[source] io::Error),
    #[error("cannot read the drive")]
    Drive(#[source] io::Error),
    #[error("cannot read the master")]
    Master(#[source] io::Error),
}

/// The task of a worker that compares a drive with its record. Drive and master come open, the drive first.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Verify {
    /// Capacity of the drive now.
    pub size: Bytes,
    pub logical_sector_bytes: u32,
    /// What it was written by.
    pub manifest: Manifest,
    /// What it was given of its own.
    pub identity: Identity,
}

impl Work for Verify {
    const NAME: &'static str = "verify";
    type Output = Comparison;

    /// Compares a drive. The task fails if the drive is gone; differences are its result, and so is what cannot be read.
    fn perform(self, given: Given) -> Result<Comparison, Failure> {
        self.verified(given).map_err(|error| {
            let code = match &error {
                VerifyError::NoDrive => FailureCode::InternalError,
                VerifyError::Gone(_) | VerifyError::Drive(_) => FailureCode::ReadError,
                VerifyError::Master(_) => FailureCode::StoreError,
            };
            Failure::of(code, &error)
        })
    }
}

impl Verify {
    fn verified(&self, given: Given) -> Result<Comparison, VerifyError> {
        let Self { size, logical_sector_bytes, manifest, identity } = self;
        let mut files = given.files.into_iter().map(File::from);
        let drive = Arc::new(files.next().ok_or(VerifyError::NoDrive)?);
        let drive = Arc::new(Drive::new(drive, *size));
        let master = Image::of_files(manifest, files).map_err(VerifyError::Master)?.map(Arc::new);
        let compared_by = if master.is_some() { ComparedBy::Master } else { ComparedBy::Digests };
        let failed = |error| match drive.is_gone() {
            true => VerifyError::Gone(error),
            false => VerifyError::Drive(error),
        };
        let seen = Seen::new(&drive, manifest, identity);
        let reporter = Mutex::new(Reporter::default());
        let report = |done: Bytes, total: Bytes| {
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let fraction = done.0 as f64 / total.0.max(1) as f64;
            reporter.lock().report("reading", fraction);
        };
        let paths = imaging::hash::measured(None);
        let differing = image::differing(manifest, &seen, &paths, &report).map_err(&failed)?;
        let suspects: BTreeSet<usize> = differing.into_iter().chain(seen.doubted()).collect();
        let mut differences = Vec::new();
        for index in suspects {
            let chunk = &manifest.chunks[index];
            let found = refined(&drive, manifest, identity, chunk, master.as_deref());
            differences.extend(found.map_err(&failed)?);
        }
        let maps = maps(manifest, &differences, &drive, master.as_ref());
        let judged = Judged { manifest, differences, maps, compared_by };
        Ok(judged.comparison(*size, *logical_sector_bytes))
    }
}

/// What lies where in the partitions that have differences: as the master has it or, without the master, as it is on the
/// drive. What cannot be read has no map.
fn maps(
    manifest: &Manifest,
    differences: &[Difference],
    drive: &Arc<Drive>,
    master: Option<&Arc<Image>>,
) -> BTreeMap<usize, FileMap> {
    let plan = &manifest.plan;
    let map = |partition: &PlannedPartition| {
        let range = partition.range(plan.geometry.sector);
        if !differences.iter().any(|difference| difference.range.overlaps(range)) {
            return None;
        }
        let from: Arc<dyn ReadAt> = match master {
            Some(master) => Arc::<Image>::clone(master),
            None => Arc::<Drive>::clone(drive),
        };
        let portion = Portion::new(from, range);
        let map = match partition.role {
            Role::Msr => return None,
            Role::Esp => of_esp(Box::new(portion), range).map_err(|error| chain(&error)),
            Role::Windows | Role::Recovery => {
                let mut portion = portion;
                FileMap::of_ntfs(&mut portion, range.start).map_err(|error| chain(&error))
            }
        };
        map.inspect_err(|error| tracing::debug!(%error, "no files are named")).ok()
    };
    let all = plan.partitions.iter().enumerate();
    all.filter_map(|(index, partition)| Some((index, map(partition)?))).collect()
}
